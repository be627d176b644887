//! What a policy was given, as JSON and back. Delivery and deals are rows without keys: they are
//! most of the text.

use serde::{Deserialize, Serialize};

use super::BadInputs;
use super::exact::{At, Exact, Timestamp8601, present};
use crate::domain::ids::{AdId, AdSetId, BadId, CampaignId, StageName};
use crate::domain::money::{Currency, Money, Percentage};
use crate::domain::policy::{
    AdEvidence, AdState, Bucket, BudgetEntity, BudgetLimits, DealEvidence, HeldBudgets,
    IgnoranceJoin, KillRule, LifetimeTotals, Mode, PolicyInputs, PolicyParams, Record, Stage,
};
use crate::domain::structure::{EntityKind, EntityRef};
use crate::domain::time::{Timestamp, to_micros};

/// All inputs of a decision as JSON, from which [`inputs_from_json`] makes them again.
#[must_use]
pub fn inputs_json(inputs: &PolicyInputs) -> String {
    // Structs of text and numbers always serialize; an empty text would be told as damaged.
    serde_json::to_string(&InputsRow::from(inputs)).unwrap_or_default()
}

/// The inputs that [`inputs_json`] wrote.
///
/// # Errors
/// When the text has another form, or holds an id, currency or word that the domain does not know.
pub fn inputs_from_json(json: &str) -> Result<PolicyInputs, BadInputs> {
    let row: InputsRow = serde_json::from_str(json).map_err(BadInputs::Form)?;
    row.read()
}

fn bad(what: &'static str, value: &str) -> BadInputs {
    BadInputs::Value {
        what,
        value: value.chars().take(64).collect(),
    }
}

fn bad_id(cause: &BadId) -> BadInputs {
    bad("id", &cause.to_string())
}

#[derive(Serialize, Deserialize)]
struct InputsRow {
    now: Timestamp8601,
    now_us: i64,
    seed: u64,
    mode: String,
    currency: String,
    stages: Vec<StageRow>,
    params: ParamsRow,
    limits: LimitsRow,
    first_of_day: bool,
    entities: Vec<EntityRow>,
    ads: Vec<AdRow>,
    deals_total: Exact,
    deals_attributed: Exact,
}

impl From<&PolicyInputs> for InputsRow {
    fn from(inputs: &PolicyInputs) -> Self {
        let PolicyInputs {
            now,
            seed,
            mode,
            currency,
            stages,
            params,
            limits,
            first_decision_of_day,
            entities,
            ads,
            deals_total,
            deals_attributed,
        } = inputs;
        Self {
            now: Timestamp8601(*now),
            now_us: to_micros(*now),
            seed: *seed,
            mode: mode_word(*mode).to_owned(),
            currency: currency.code().to_owned(),
            stages: stages.iter().map(StageRow::from).collect(),
            params: ParamsRow::from(params),
            limits: LimitsRow::from(limits),
            first_of_day: *first_decision_of_day,
            entities: entities.iter().map(EntityRow::from).collect(),
            ads: ads.iter().map(AdRow::from).collect(),
            deals_total: Exact(*deals_total),
            deals_attributed: Exact(*deals_attributed),
        }
    }
}

impl InputsRow {
    fn read(self) -> Result<PolicyInputs, BadInputs> {
        Ok(PolicyInputs {
            now: self.now.0,
            seed: self.seed,
            mode: match self.mode.as_str() {
                "pipeline" => Mode::Pipeline,
                "direct" => Mode::Direct,
                other => return Err(bad("mode", other)),
            },
            currency: currency(&self.currency)?,
            stages: read_all(self.stages, StageRow::read)?,
            params: self.params.read()?,
            limits: self.limits.read()?,
            first_decision_of_day: self.first_of_day,
            entities: read_all(self.entities, EntityRow::read)?,
            ads: read_all(self.ads, AdRow::read)?,
            deals_total: self.deals_total.0,
            deals_attributed: self.deals_attributed.0,
        })
    }
}

fn read_all<R, T>(
    rows: Vec<R>,
    read: impl FnMut(R) -> Result<T, BadInputs>,
) -> Result<Vec<T>, BadInputs> {
    rows.into_iter().map(read).collect()
}

/// The word that a mode is stored by.
pub(super) const fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Pipeline => "pipeline",
        Mode::Direct => "direct",
    }
}

fn currency(code: &str) -> Result<Currency, BadInputs> {
    Currency::new(code).map_err(|_| bad("currency", code))
}

/// An amount: minor units and currency.
#[derive(Serialize, Deserialize)]
pub(super) struct MoneyRow {
    minor: i64,
    currency: String,
}

impl From<Money> for MoneyRow {
    fn from(money: Money) -> Self {
        Self {
            minor: money.minor(),
            currency: money.currency().code().to_owned(),
        }
    }
}

impl MoneyRow {
    fn read(&self) -> Result<Money, BadInputs> {
        Ok(Money::from_minor(self.minor, currency(&self.currency)?))
    }
}

#[derive(Serialize, Deserialize)]
struct StageRow {
    name: String,
    value: Exact,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    prior_rate: Option<Exact>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pull: Option<Exact>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    delay_days: Option<Exact>,
}

impl From<&Stage> for StageRow {
    fn from(stage: &Stage) -> Self {
        let Stage {
            name,
            value,
            prior_rate,
            pull,
            mean_delay_days,
        } = stage;
        Self {
            name: name.to_string(),
            value: Exact(*value),
            prior_rate: prior_rate.map(Exact),
            pull: pull.map(Exact),
            delay_days: mean_delay_days.map(Exact),
        }
    }
}

impl StageRow {
    fn read(self) -> Result<Stage, BadInputs> {
        Ok(Stage {
            name: StageName::new(&self.name).map_err(|e| bad_id(&e))?,
            value: self.value.0,
            prior_rate: self.prior_rate.map(|n| n.0),
            pull: self.pull.map(|n| n.0),
            mean_delay_days: self.delay_days.map(|n| n.0),
        })
    }
}

/// Declares the row of the parameters: a field that is missing here does not compile.
macro_rules! params_row {
    ($($number:ident),+ $(,)?) => {
        #[derive(Serialize, Deserialize)]
        struct ParamsRow {
            $($number: Exact,)+
            k_text: usize,
            hierarchy: bool,
            fit_delays: bool,
            ignorance_join: String,
            kill_rule: String,
            draws: u32,
        }

        impl From<&PolicyParams> for ParamsRow {
            fn from(params: &PolicyParams) -> Self {
                let PolicyParams {
                    $($number,)+
                    k_text,
                    hierarchy,
                    fit_delays,
                    ignorance_join,
                    kill_rule,
                    draws,
                } = params;
                Self {
                    $($number: Exact(*$number),)+
                    k_text: *k_text,
                    hierarchy: *hierarchy,
                    fit_delays: *fit_delays,
                    ignorance_join: match ignorance_join {
                        IgnoranceJoin::Or => "or",
                        IgnoranceJoin::And => "and",
                    }
                    .to_owned(),
                    kill_rule: match kill_rule {
                        KillRule::Posterior => "posterior",
                        KillRule::Raw => "raw",
                        KillRule::HalfAverage => "half_average",
                    }
                    .to_owned(),
                    draws: *draws,
                }
            }
        }

        impl ParamsRow {
            fn read(self) -> Result<PolicyParams, BadInputs> {
                Ok(PolicyParams {
                    $($number: self.$number.0,)+
                    k_text: self.k_text,
                    hierarchy: self.hierarchy,
                    fit_delays: self.fit_delays,
                    ignorance_join: match self.ignorance_join.as_str() {
                        "or" => IgnoranceJoin::Or,
                        "and" => IgnoranceJoin::And,
                        other => return Err(bad("join of the ignorance zone", other)),
                    },
                    kill_rule: match self.kill_rule.as_str() {
                        "posterior" => KillRule::Posterior,
                        "raw" => KillRule::Raw,
                        "half_average" => KillRule::HalfAverage,
                        other => return Err(bad("kill rule", other)),
                    },
                    draws: self.draws,
                })
            }
        }
    };
}

params_row!(
    sales_cycle_days,
    a_account,
    a_campaign,
    a_ad_set,
    a_first,
    a_quality,
    a_later,
    a_cost,
    half_life_cost,
    half_life_lead,
    half_life_appointment,
    half_life_late,
    delta0,
    delta_sd,
    a_text,
    ended_weight,
    kappa_mult,
    ignorance_days,
    ignorance_spend,
    min_spend_for_kill,
    kill_roas,
    p_kill,
    scale_roas,
    p_scale,
    p_rotate,
    p_return,
    rotate_spend,
    hold_hours,
);

#[derive(Serialize, Deserialize)]
struct LimitsRow {
    daily_cap: MoneyRow,
    min_budget: MoneyRow,
    max_change: Exact,
    calm_raise: Exact,
    calm_cut: Exact,
    fuzz: Exact,
    min_useful_change: Exact,
    actions_per_hour: u32,
}

impl From<&BudgetLimits> for LimitsRow {
    fn from(limits: &BudgetLimits) -> Self {
        let BudgetLimits {
            daily_cap,
            min_budget,
            max_change,
            calm_raise,
            calm_cut,
            fuzz,
            min_useful_change,
            actions_per_campaign_per_hour,
        } = *limits;
        Self {
            daily_cap: daily_cap.into(),
            min_budget: min_budget.into(),
            max_change: Exact(max_change.fraction()),
            calm_raise: Exact(calm_raise.fraction()),
            calm_cut: Exact(calm_cut.fraction()),
            fuzz: Exact(fuzz.fraction()),
            min_useful_change: Exact(min_useful_change.fraction()),
            actions_per_hour: actions_per_campaign_per_hour,
        }
    }
}

impl LimitsRow {
    fn read(self) -> Result<BudgetLimits, BadInputs> {
        let share = |number: Exact| {
            Percentage::from_fraction(number.0).map_err(|_| bad("share", &number.0.to_string()))
        };
        Ok(BudgetLimits {
            daily_cap: self.daily_cap.read()?,
            min_budget: self.min_budget.read()?,
            max_change: share(self.max_change)?,
            calm_raise: share(self.calm_raise)?,
            calm_cut: share(self.calm_cut)?,
            fuzz: share(self.fuzz)?,
            min_useful_change: share(self.min_useful_change)?,
            actions_per_campaign_per_hour: self.actions_per_hour,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct HeldRow {
    min: MoneyRow,
    max: MoneyRow,
}

impl From<HeldBudgets> for HeldRow {
    fn from(held: HeldBudgets) -> Self {
        let HeldBudgets { min, max } = held;
        Self {
            min: min.into(),
            max: max.into(),
        }
    }
}

impl HeldRow {
    fn read(&self) -> Result<HeldBudgets, BadInputs> {
        Ok(HeldBudgets {
            min: self.min.read()?,
            max: self.max.read()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct EntityRow {
    kind: String,
    id: String,
    name: String,
    campaign: String,
    budget: MoneyRow,
    held_6h: HeldRow,
    held_24h: HeldRow,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<MoneyRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    untouchable: Option<String>,
    actions: u32,
}

impl From<&BudgetEntity> for EntityRow {
    fn from(entity: &BudgetEntity) -> Self {
        let BudgetEntity {
            entity,
            name,
            campaign,
            budget,
            held_6h,
            held_24h,
            reference_budget,
            untouchable,
            actions_in_last_hour,
        } = entity;
        Self {
            kind: entity.kind().as_str().to_owned(),
            id: entity.id().to_owned(),
            name: name.clone(),
            campaign: campaign.to_string(),
            budget: (*budget).into(),
            held_6h: (*held_6h).into(),
            held_24h: (*held_24h).into(),
            reference: reference_budget.map(MoneyRow::from),
            untouchable: untouchable.clone(),
            actions: *actions_in_last_hour,
        }
    }
}

impl EntityRow {
    fn read(self) -> Result<BudgetEntity, BadInputs> {
        let kind = [EntityKind::Campaign, EntityKind::AdSet, EntityKind::Ad]
            .into_iter()
            .find(|kind| kind.as_str() == self.kind)
            .ok_or_else(|| bad("kind of object", &self.kind))?;
        Ok(BudgetEntity {
            entity: EntityRef::new(kind, &self.id).map_err(|e| bad_id(&e))?,
            name: self.name,
            campaign: CampaignId::new(&self.campaign).map_err(|e| bad_id(&e))?,
            budget: self.budget.read()?,
            held_6h: self.held_6h.read()?,
            held_24h: self.held_24h.read()?,
            reference_budget: self.reference.map(|money| money.read()).transpose()?,
            untouchable: self.untouchable,
            actions_in_last_hour: self.actions,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct AdRow {
    ad: String,
    name: String,
    ad_set: String,
    campaign: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<At>,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    untouchable: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dated: Option<DatedRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    totals: Option<TotalsRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    neighbours: Vec<(String, Exact)>,
}

impl From<&AdEvidence> for AdRow {
    fn from(evidence: &AdEvidence) -> Self {
        let AdEvidence {
            ad,
            name,
            ad_set,
            campaign,
            created_at,
            state,
            untouchable,
            record,
            neighbours,
        } = evidence;
        let (dated, totals) = match record {
            Record::Dated { buckets, deals } => (Some(DatedRow::new(buckets, deals)), None),
            Record::Totals(totals) => (None, Some(TotalsRow::from(totals))),
        };
        Self {
            ad: ad.to_string(),
            name: name.clone(),
            ad_set: ad_set.to_string(),
            campaign: campaign.to_string(),
            created: created_at.map(At::from),
            state: state.as_str().to_owned(),
            untouchable: untouchable.clone(),
            dated,
            totals,
            neighbours: neighbours
                .iter()
                .map(|(ad, cosine)| (ad.to_string(), Exact(*cosine)))
                .collect(),
        }
    }
}

impl AdRow {
    fn read(self) -> Result<AdEvidence, BadInputs> {
        let state = [
            AdState::Live,
            AdState::Rotated,
            AdState::Killed,
            AdState::PausedByOwner,
            AdState::Ended,
        ]
        .into_iter()
        .find(|state| state.as_str() == self.state)
        .ok_or_else(|| bad("state of an ad", &self.state))?;
        let record = match (self.dated, self.totals) {
            (Some(dated), None) => dated.read(),
            (None, Some(totals)) => Record::Totals(totals.read()),
            _ => return Err(bad("record of an ad", &self.ad)),
        };
        Ok(AdEvidence {
            ad: AdId::new(&self.ad).map_err(|e| bad_id(&e))?,
            name: self.name,
            ad_set: AdSetId::new(&self.ad_set).map_err(|e| bad_id(&e))?,
            campaign: CampaignId::new(&self.campaign).map_err(|e| bad_id(&e))?,
            created_at: self.created.map(Timestamp::from),
            state,
            untouchable: self.untouchable,
            record,
            neighbours: read_all(self.neighbours, |(ad, cosine)| {
                Ok((AdId::new(&ad).map_err(|e| bad_id(&e))?, cosine.0))
            })?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct DatedRow {
    /// At, impressions, clicks, spend.
    buckets: Vec<(At, Exact, Exact, Exact)>,
    deals: Vec<DealRow>,
}

impl DatedRow {
    fn new(buckets: &[Bucket], deals: &[DealEvidence]) -> Self {
        let bucket = |bucket: &Bucket| {
            let Bucket {
                at,
                impressions,
                clicks,
                spend,
            } = *bucket;
            (
                At::from(at),
                Exact(impressions),
                Exact(clicks),
                Exact(spend),
            )
        };
        Self {
            buckets: buckets.iter().map(bucket).collect(),
            deals: deals.iter().map(DealRow::from).collect(),
        }
    }

    fn read(self) -> Record {
        let bucket = |(at, impressions, clicks, spend): (At, Exact, Exact, Exact)| Bucket {
            at: at.into(),
            impressions: impressions.0,
            clicks: clicks.0,
            spend: spend.0,
        };
        Record::Dated {
            buckets: self.buckets.into_iter().map(bucket).collect(),
            deals: self.deals.into_iter().map(DealRow::read).collect(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct DealRow {
    w: Exact,
    reached: Vec<Option<At>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<At>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    amount: Option<Exact>,
}

impl From<&DealEvidence> for DealRow {
    fn from(deal: &DealEvidence) -> Self {
        let DealEvidence {
            weight,
            reached,
            lost_at,
            amount,
        } = deal;
        Self {
            w: Exact(*weight),
            reached: reached.iter().map(|at| at.map(At::from)).collect(),
            lost: lost_at.map(At::from),
            amount: amount.map(Exact),
        }
    }
}

impl DealRow {
    fn read(self) -> DealEvidence {
        DealEvidence {
            weight: self.w.0,
            reached: self
                .reached
                .into_iter()
                .map(|at| at.map(Timestamp::from))
                .collect(),
            lost_at: self.lost.map(Timestamp::from),
            amount: self.amount.map(|n| n.0),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct TotalsRow {
    impressions: Exact,
    clicks: Exact,
    spend: Exact,
    reached: Vec<Exact>,
    /// Sum of the amounts of wins, and how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amounts: Option<(Exact, Exact)>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pipeline: Option<Exact>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    days: Option<Exact>,
}

impl From<&LifetimeTotals> for TotalsRow {
    fn from(totals: &LifetimeTotals) -> Self {
        let LifetimeTotals {
            impressions,
            clicks,
            spend,
            reached,
            amounts,
            pipeline_value,
            days,
        } = totals;
        Self {
            impressions: Exact(*impressions),
            clicks: Exact(*clicks),
            spend: Exact(*spend),
            reached: reached.iter().copied().map(Exact).collect(),
            amounts: amounts.map(|(sum, wins)| (Exact(sum), Exact(wins))),
            pipeline: pipeline_value.map(Exact),
            days: days.map(Exact),
        }
    }
}

impl TotalsRow {
    fn read(self) -> LifetimeTotals {
        LifetimeTotals {
            impressions: self.impressions.0,
            clicks: self.clicks.0,
            spend: self.spend.0,
            reached: self.reached.into_iter().map(|n| n.0).collect(),
            amounts: self.amounts.map(|(sum, wins)| (sum.0, wins.0)),
            pipeline_value: self.pipeline.map(|n| n.0),
            days: self.days.map(|n| n.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::tests_support::{
        ad, ad_set, ago, deal, inputs, now, usd, with_deals,
    };
    use crate::domain::policy::{Policy, RoasdPolicy};
    use crate::domain::time::{SignedDuration, add};
    use crate::store::decision_json::rationale_json;

    /// Three ad sets, ads in every form, deals won, lost and open, numbers with long tails.
    fn account(mode: Mode) -> PolicyInputs {
        let mut inputs = inputs(mode);
        inputs.seed = u64::MAX - 3;
        inputs.now = add(now(), SignedDuration::from_nanos(123_456_789));
        inputs.deals_total = 10.0 / 3.0;
        inputs.deals_attributed = 0.1 + 0.2;
        inputs.params.hierarchy = true;
        inputs.entities = vec![
            ad_set("s1", 10_000),
            ad_set("s2", 8_033),
            ad_set("s3", 5_000),
        ];
        inputs.entities[0].reference_budget = Some(usd(9_999));
        inputs.entities[1].held_24h.max = usd(9_000);
        inputs.entities[2].untouchable = Some("its owner said \"no\"".to_owned());
        let reached = |days: f64| -> Vec<Option<f64>> {
            match mode {
                Mode::Pipeline => vec![Some(days), Some(days / 2.0), None, None],
                Mode::Direct => vec![Some(days)],
            }
        };
        let mut sold = deal(&reached(3.7));
        sold.amount = Some(71.3);
        sold.weight = 0.7;
        let mut lost = deal(&reached(6.0));
        lost.lost_at = Some(ago(1.0));
        let mut first = with_deals(ad("a1", "s1", 301.0, 333.33), vec![sold, lost]);
        first.neighbours = vec![(AdId::new("a2").unwrap(), 0.912_345_678_9)];
        let second = with_deals(ad("a2", "s2", 90.0, 777.7), vec![deal(&reached(5.1))]);
        let mut third = ad("a3", "s2", 400.0, 1_234.56);
        third.state = AdState::Rotated;
        let mut totals = AdEvidence::from_totals(
            AdId::new("a4").unwrap(),
            "Ad \u{1f3cb} four".to_owned(),
            AdSetId::new("s3").unwrap(),
            CampaignId::new("c").unwrap(),
            LifetimeTotals {
                impressions: 1e7,
                clicks: 2_000.1,
                spend: 1.0 / 3.0,
                reached: vec![3.0; inputs.stages.len()],
                amounts: Some((5_000.0, 2.0)),
                pipeline_value: None,
                days: Some(30.5),
            },
        );
        totals.untouchable = Some("archived".to_owned());
        inputs.ads = vec![first, second, third, totals];
        inputs
    }

    #[test]
    fn stored_inputs_give_the_same_decision_bit_for_bit() {
        for mode in [Mode::Pipeline, Mode::Direct] {
            let inputs = account(mode);
            let back = inputs_from_json(&inputs_json(&inputs)).unwrap();
            assert_eq!(back, inputs, "{mode:?}");
            let policy = RoasdPolicy;
            let (then, now) = (policy.decide(&inputs), policy.decide(&back));
            assert!(!then.decisions.is_empty());
            assert_eq!(then, now, "{mode:?}");
            // Debug prints a float's shortest form, so equal text is equal bits, zeros' signs too.
            assert_eq!(format!("{then:?}"), format!("{now:?}"));
        }
    }

    #[test]
    fn a_number_that_is_none_stays_one_and_does_not_become_an_absence() {
        let mut inputs = account(Mode::Direct);
        let Record::Dated { buckets, deals } = &mut inputs.ads[0].record else {
            panic!("a1 is dated")
        };
        buckets[0].spend = f64::NAN;
        deals[0].amount = Some(f64::INFINITY);
        deals[1].amount = None;
        let back = inputs_from_json(&inputs_json(&inputs)).unwrap();
        let Record::Dated { buckets, deals } = &back.ads[0].record else {
            panic!("a1 is dated")
        };
        assert!(buckets[0].spend.is_nan());
        assert!(deals[0].amount.is_some_and(f64::is_nan));
        assert_eq!(deals[1].amount, None);
        let (then, now) = (RoasdPolicy.decide(&inputs), RoasdPolicy.decide(&back));
        assert_eq!(format!("{then:?}"), format!("{now:?}"));
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let good = inputs_json(&account(Mode::Pipeline));
        for (from, to) in [
            ("\"pipeline\"", "\"both\""),
            ("\"USD\"", "\"XXX\""),
            ("\"live\"", "\"alive\""),
            ("\"posterior\"", "\"whim\""),
            ("\"adset\"", "\"account\""),
            ("\"seed\":", "\"seeds\":"),
        ] {
            assert!(good.contains(from), "{from}");
            let damaged = good.replace(from, to);
            assert!(inputs_from_json(&damaged).is_err(), "{to}");
        }
        assert!(inputs_from_json("").is_err());
        assert!(inputs_from_json(&good[..good.len() - 1]).is_err());
    }

    #[test]
    fn every_rationale_is_json_with_its_numbers() {
        for mode in [Mode::Pipeline, Mode::Direct] {
            for decision in RoasdPolicy.decide(&account(mode)).decisions {
                let json = rationale_json(&decision.rationale);
                let value: serde_json::Value = serde_json::from_str(&json).unwrap();
                assert_eq!(value["action"], decision.action.as_str());
                assert_eq!(value["subject"]["id"], decision.subject.id());
                assert!(value["evidence"]["spend"].is_number(), "{json}");
                assert!(value["rule"]["name"].is_string(), "{json}");
            }
        }
    }
}
