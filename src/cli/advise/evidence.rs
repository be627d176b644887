//! An exported account as what a policy is given. An export says less than the daemon knows: what
//! stands for the missing part is told in `assumptions`.

use std::collections::{BTreeMap, BTreeSet};

use super::records::{dated, totals};
use crate::domain::ids::{AdId, AdSetId, CampaignId, StageName};
use crate::domain::money::{Currency, Money, Rounding};
use crate::domain::policy::{
    AdEvidence, AdState, BudgetEntity, BudgetLimits, LifetimeTotals, Mode, PolicyInputs,
    PolicyParams, Stage,
};
use crate::domain::structure::EntityRef;
use crate::domain::time::{self, Date, TimeZone, Timestamp};
use crate::import::{AccountExport, AdRow, DealsExport, Decimal, Delivery, JoinedDeals, join};

/// Days whose spend stands for the daily budget.
const RECENT_DAYS: i64 = 7;
/// Any seed will do: the same file must always give the same advice.
const SEED: u64 = 0x0061_6476_6973_6500;

/// What a stage is worth, as stated.
pub(super) type Worth = (StageName, Decimal);

/// The inputs of a decision and what was assumed to make them.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) inputs: PolicyInputs,
    pub(super) assumptions: Vec<String>,
    /// Stages with their worth, in the funnel's order.
    pub(super) funnel: Vec<Worth>,
}

/// Why no decision can be made of a file that was read.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotEnough {
    /// Nothing says what a result is worth.
    #[error(
        "nothing says what a result is worth: give --value for the stages that count, such as \
         --value lead=10 --value closed_won=100"
    )]
    NoValues,
    /// A stage has a worth and no count.
    #[error(
        "no column and no deal counts the stage {stage}: the files count {counted}; give --value for one of these, or \
         --deals FILE"
    )]
    NotCounted {
        /// The stage.
        stage: StageName,
        /// The stages counted.
        counted: String,
    },
    /// A number that cannot be right.
    #[error("line {line}: {count} results of one ad on one day are more than can be believed")]
    TooMany {
        /// The line of the file.
        line: u64,
        /// How many.
        count: Decimal,
    },
}

/// One ad, its rows put together.
pub(super) struct AdSum<'a> {
    pub(super) last: &'a AdRow,
    pub(super) impressions: Decimal,
    pub(super) clicks: Decimal,
    pub(super) spend: Decimal,
    pub(super) counts: BTreeMap<StageName, Decimal>,
    pub(super) value: Option<Decimal>,
    /// Spend per day, where the file says how many days a row covers.
    pub(super) per_day: f64,
    pub(super) days: Option<f64>,
    pub(super) by_day: BTreeMap<Date, Vec<&'a AdRow>>,
}

/// Puts the inputs together.
///
/// # Errors
/// When nothing says what a result is worth, or a figure cannot be right.
pub(super) fn prepare(
    account: &AccountExport,
    deals: Option<&DealsExport>,
    values: &[Worth],
    cap: Option<Money>,
) -> Result<Prepared, NotEnough> {
    let mut assumptions = Vec::new();
    let (mode, funnel) = funnel_of(account, deals.is_some(), values, &mut assumptions)?;
    let ads = sums(account);
    let last_day = account.rows.iter().filter_map(|r| r.day).max();
    let first_day = account.rows.iter().filter_map(|r| r.day).min();
    let now = last_day.map_or(Timestamp::UNIX_EPOCH, |day| {
        time::day_start(time::add_days(day, 1), &TimeZone::UTC)
    });
    let joined = deals.map(|d| join(account, &d.deals));
    let window = first_day.zip(last_day).map(|(first, last)| {
        let covered = time::days_between(at_noon(first), at_noon(last)).round() as i64 + 1;
        (
            time::add_days(last, 1 - RECENT_DAYS.min(covered)),
            RECENT_DAYS.min(covered),
        )
    });
    say_basis(account, window, last_day, deals.is_some(), &mut assumptions);

    let credited = credits(&joined, deals);
    let mut evidence = Vec::with_capacity(ads.len());
    let mut budgets: BTreeMap<&AdSetId, (f64, &AdRow)> = BTreeMap::new();
    let mut resting = 0_usize;
    for (ad, sum) in &ads {
        let of_ad = credited.get(ad).map_or(&[][..], Vec::as_slice);
        let record = match window {
            Some(_) => dated(sum, &funnel, deals.zip(Some(of_ad)), now)?,
            None => totals(sum, &funnel, deals.zip(Some(of_ad))),
        };
        let recent = window.map(|(from, days)| recent_spend(sum, from) / days as f64);
        let state = state_of(sum, window.map(|(from, _)| from));
        resting += usize::from(state != AdState::Live);
        let budget = recent.unwrap_or(sum.per_day);
        budgets.entry(&sum.last.ad_set).or_insert((0.0, sum.last)).0 += budget;
        let row = sum.last;
        let mut one = AdEvidence::from_totals(
            row.ad.clone(),
            row.ad_name.clone(),
            row.ad_set.clone(),
            row.campaign.clone(),
            LifetimeTotals::default(),
        );
        one.record = record;
        one.state = state;
        evidence.push(one);
    }
    if resting > 0 {
        assumptions.push(format!(
            "{resting} of {} ads do not deliver now; they inform the others and are not moved",
            ads.len()
        ));
    }
    let currency = account.currency;
    let entities: Vec<BudgetEntity> = budgets
        .into_values()
        .map(|(budget, row)| entity(budget, row, currency))
        .collect();
    let live: BTreeSet<&AdSetId> = evidence
        .iter()
        .filter(|e| e.state == AdState::Live)
        .map(|e| &e.ad_set)
        .collect();
    let in_force: i64 = entities
        .iter()
        .filter(|e| matches!(&e.entity, EntityRef::AdSet(id) if live.contains(id)))
        .map(|e| e.budget.minor())
        .fold(0, i64::saturating_add);
    let cap = cap.unwrap_or_else(|| {
        assumptions.push(
            "the cap is what is spent now: money is moved, not added (--cap states another)"
                .to_owned(),
        );
        Money::from_minor(in_force, currency)
    });
    let mut limits = BudgetLimits::under_cap(cap, Money::zero(currency));
    // Nothing is sent: the limit on actions in an hour is for the daemon.
    limits.actions_per_campaign_per_hour = u32::MAX;
    let (deals_total, deals_attributed) =
        attributed(account, deals, joined.as_ref(), &funnel, &mut assumptions);
    let inputs = PolicyInputs {
        now,
        seed: SEED,
        mode,
        currency,
        stages: funnel
            .iter()
            .map(|(name, value)| Stage::new(name.clone(), value.to_f64()))
            .collect(),
        params: PolicyParams::for_mode(mode),
        limits,
        first_decision_of_day: true,
        entities,
        ads: evidence,
        deals_total,
        deals_attributed,
    };
    Ok(Prepared {
        inputs,
        assumptions,
        funnel,
    })
}

pub(super) fn at_noon(day: Date) -> Timestamp {
    time::hour_start(day, 12, &TimeZone::UTC)
}

/// The stages in order. Leads that are counted take part even without a worth: how many become a
/// sale is what tells ads apart.
fn funnel_of(
    account: &AccountExport,
    has_deals: bool,
    values: &[Worth],
    assumptions: &mut Vec<String>,
) -> Result<(Mode, Vec<Worth>), NotEnough> {
    let counted = |name: &str| account.stages.iter().find(|s| s.as_str() == name);
    if values.is_empty() {
        let (mut sum, mut sales) = (Decimal::ZERO, Decimal::ZERO);
        let won = counted(crate::import::ads::CLOSED_WON).ok_or(NotEnough::NoValues)?;
        for row in &account.rows {
            sum += row.value.unwrap_or_default();
            sales += row.counts.get(won).copied().unwrap_or_default();
        }
        if sum.is_zero() || sum.is_negative() || sales.is_zero() || has_deals {
            return Err(NotEnough::NoValues);
        }
        let mean = sum.to_f64() / sales.to_f64();
        let worth = Money::from_f64(mean, account.currency, Rounding::Nearest)
            .ok()
            .and_then(|m| Decimal::parse_plain(&m.to_decimal()))
            .ok_or(NotEnough::NoValues)?;
        assumptions.push(format!(
            "no --value was given, so purchases are judged by their amounts in the file, {worth} {} on average",
            account.currency
        ));
        return Ok((Mode::Direct, vec![(won.clone(), worth)]));
    }
    if !has_deals && let Some((stage, _)) = values.iter().find(|(s, _)| !account.stages.contains(s))
    {
        let names: Vec<&str> = account.stages.iter().map(StageName::as_str).collect();
        return Err(NotEnough::NotCounted {
            stage: stage.clone(),
            counted: if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            },
        });
    }
    let order =
        crate::import::deals::in_funnel_order(values.iter().map(|(s, _)| s.clone()).collect());
    let mut funnel: Vec<Worth> = order
        .into_iter()
        .filter_map(|stage| values.iter().find(|(s, _)| *s == stage).cloned())
        .collect();
    let lead = crate::import::ads::LEAD;
    if let Some(stage) = counted(lead)
        && !funnel.iter().any(|(s, _)| s.as_str() == lead)
    {
        funnel.insert(0, (stage.clone(), Decimal::ZERO));
        assumptions.push("leads are counted and worth nothing by themselves (--value lead=AMOUNT states otherwise)".to_owned());
    }
    Ok((Mode::Pipeline, funnel))
}

fn say_basis(
    account: &AccountExport,
    window: Option<(Date, i64)>,
    last_day: Option<Date>,
    has_deals: bool,
    assumptions: &mut Vec<String>,
) {
    match (window, last_day) {
        (Some((_, days)), Some(last)) => {
            assumptions.push(format!(
                "the file holds no budgets: the mean spend of its last {days} day(s), up to {last}, stands for the daily budget"
            ));
            assumptions.push(format!("the advice is for the morning after {last}; results of late days are still expected"));
        }
        _ => {
            let days = account.rows.iter().any(|r| r.days.is_some());
            assumptions.push(
                "the file has lifetime totals and no days: all of it is treated as mature, and old figures weigh as much as new ones"
                    .to_owned(),
            );
            assumptions.push(if days {
                "the file holds no budgets: spend per day covered stands for the daily budget"
                    .to_owned()
            } else {
                "the file holds no budgets: spend stands for the budget".to_owned()
            });
        }
    }
    assumptions.push(
        "a budget moves one step, at most 20 % up or 19 % down, as it would in a day; export again before the next step"
            .to_owned(),
    );
    if !has_deals {
        assumptions.push("results are those the file counts; --deals FILE would judge ads by the CRM's own deals".to_owned());
    }
}

fn sums(account: &AccountExport) -> BTreeMap<&AdId, AdSum<'_>> {
    let mut ads: BTreeMap<&AdId, AdSum<'_>> = BTreeMap::new();
    for row in &account.rows {
        let sum = ads.entry(&row.ad).or_insert_with(|| AdSum {
            last: row,
            impressions: Decimal::ZERO,
            clicks: Decimal::ZERO,
            spend: Decimal::ZERO,
            counts: BTreeMap::new(),
            value: None,
            per_day: 0.0,
            days: None,
            by_day: BTreeMap::new(),
        });
        if row.day >= sum.last.day {
            sum.last = row;
        }
        sum.impressions += row.impressions;
        sum.clicks += row.clicks;
        sum.spend += row.spend;
        for (stage, count) in &row.counts {
            *sum.counts.entry(stage.clone()).or_default() += *count;
        }
        if let Some(value) = row.value {
            sum.value = Some(sum.value.unwrap_or_default() + value);
        }
        sum.per_day += row.spend.to_f64() / row.days.unwrap_or(1.0);
        sum.days = match (sum.days, row.days) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        if let Some(day) = row.day {
            sum.by_day.entry(day).or_default().push(row);
        }
    }
    ads
}

fn entity(budget: f64, row: &AdRow, currency: Currency) -> BudgetEntity {
    let budget =
        Money::from_f64(budget, currency, Rounding::Nearest).unwrap_or(Money::zero(currency));
    BudgetEntity::steady(
        EntityRef::AdSet(row.ad_set.clone()),
        row.ad_set_name.clone(),
        row.campaign.clone(),
        budget,
    )
}

fn recent_spend(sum: &AdSum<'_>, from: Date) -> f64 {
    let recent: Decimal = sum
        .by_day
        .range(from..)
        .flat_map(|(_, rows)| rows)
        .map(|r| r.spend)
        .sum();
    recent.to_f64()
}

/// What the file says of delivery; where it says nothing and has days, an ad that was not shown
/// lately does not deliver.
fn state_of(sum: &AdSum<'_>, recent_from: Option<Date>) -> AdState {
    match sum.last.delivery {
        Delivery::Live => AdState::Live,
        Delivery::Off => AdState::PausedByOwner,
        Delivery::Ended => AdState::Ended,
        Delivery::Unknown => match recent_from {
            Some(from)
                if sum
                    .by_day
                    .range(from..)
                    .flat_map(|(_, rows)| rows)
                    .all(|r| r.spend.is_zero() && r.impressions.is_zero()) =>
            {
                AdState::PausedByOwner
            }
            _ => AdState::Live,
        },
    }
}

/// A deal's place in the file and its share of the credit, by ad.
type Credits<'a> = BTreeMap<&'a AdId, Vec<(usize, f64)>>;

fn credits<'a>(joined: &'a Option<JoinedDeals>, deals: Option<&DealsExport>) -> Credits<'a> {
    let mut by_ad = Credits::new();
    if deals.is_some() {
        for (at, ad, share) in joined.iter().flat_map(|j| &j.credits) {
            by_ad.entry(ad).or_default().push((*at, *share));
        }
    }
    by_ad
}

/// All deals that ads can have brought, and those credited to one.
fn attributed(
    account: &AccountExport,
    deals: Option<&DealsExport>,
    joined: Option<&JoinedDeals>,
    funnel: &[Worth],
    assumptions: &mut Vec<String>,
) -> (f64, f64) {
    let (Some(export), Some(joined)) = (deals, joined) else {
        // The network credits every result that it counts to an ad.
        let counted: Decimal = account
            .rows
            .iter()
            .flat_map(|r| funnel.iter().filter_map(|(stage, _)| r.counts.get(stage)))
            .copied()
            .sum();
        return (counted.to_f64(), counted.to_f64());
    };
    let credited: BTreeSet<usize> = joined.credits.iter().map(|(at, _, _)| *at).collect();
    let from_elsewhere = export
        .deals
        .iter()
        .enumerate()
        .filter(|(at, deal)| {
            !credited.contains(at)
                && deal.names_nothing()
                && deal.source.as_deref().is_some_and(is_other_source)
        })
        .count();
    let matched = joined.matched();
    let total = export.deals.len() - from_elsewhere;
    assumptions.push(format!(
        "the deals file decides every stage; what Ads Manager counts as results is shown and not used. Of {} deals {} name an ad, {} only an \
         ad set, {} only a campaign (shared between its ads by clicks); {} name something the ads file does not have, {} name nothing, of \
         which {from_elsewhere} came by other ways than ads",
        export.deals.len(),
        joined.by_ad,
        joined.by_ad_set,
        joined.by_campaign,
        joined.unknown,
        joined.unnamed,
    ));
    if !joined.unknown_examples.is_empty() {
        assumptions.push(format!(
            "not found in the ads file: {}",
            joined.unknown_examples.join(", ")
        ));
    }
    (total as f64, matched as f64)
}

/// A source of the CRM's that is not paid social. Source: HubSpot, "Original source" values.
fn is_other_source(source: &str) -> bool {
    let name = source.to_lowercase().replace('_', " ");
    [
        "organic",
        "direct",
        "referral",
        "email",
        "offline",
        "paid search",
    ]
    .iter()
    .any(|s| name.contains(s))
}

/// The campaigns' names by id, for reports.
pub(super) fn campaign_names(account: &AccountExport) -> BTreeMap<CampaignId, String> {
    account
        .rows
        .iter()
        .map(|r| (r.campaign.clone(), r.campaign_name.clone()))
        .collect()
}
