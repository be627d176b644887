//! Advice on ads known by their totals alone: what roasd's policy would do with them. Nothing is queued.

use std::collections::{BTreeMap, BTreeSet};

use super::LARGE_BODY_MAX;
use super::revenue::amount;
use crate::domain::api_token::Scope;
use crate::domain::ids::{AdId, AdSetId, CampaignId};
use crate::domain::money::{Money, Rounding};
use crate::domain::policy::{
    Action, AdEvidence, BudgetEntity, BudgetLimits, Decision, LifetimeTotals, Mode, Move,
    Policy as _, PolicyInputs, RoasdPolicy, Stage,
};
use crate::domain::structure::EntityRef;
use crate::domain::time;
use crate::http::Problem;
use crate::http::api::route::{Body, Call, Reply, Route, Verb, Whose, bad_field, serve};
use crate::http::api::shape::{Shape, answer, request};
use crate::http::state::TenantApi;
use crate::store::reports::{ReportSource, ReportedResult};

/// Ads taken at most.
const ADS_MAX: usize = 10_000;
/// Any seed will do: the same ads must always come to the same advice.
const SEED: u64 = 0x7365_6c65_6374;

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Post,
    path: "/api/ml/battle-hardened/select",
    scope: Scope::Read,
    whose: Whose::Token,
    about: "Recommends a budget for each ad, of lifetime totals. One step at a time: 19.9 % up or 19 % \
            down at most. Nothing is sent to Meta.",
    query: &[],
    body: Some(Body {
        schema: Selection::schema,
        max: LARGE_BODY_MAX,
        is_optional: false,
    }),
    answer: Selected::schema,
    serve: serve!(select),
}];

request! {
    /// Ads, and what they may cost together.
    Selection {
        /// The ads.
        ad_states: Vec<AdTotals>,
        /// What all daily budgets may come to, in main units.
        total_budget: f64,
    }

    /// An ad's totals over its life, taken as fully mature.
    AdTotals {
        /// The ad.
        ad_id: String,
        /// Impressions.
        impressions: f64,
        /// Clicks.
        clicks: f64,
        /// Spend in main units. Over its age it stands for the daily budget in force.
        spend: f64,
        /// The value of its pipeline, in main units.
        pipeline_value: Option<f64>,
        /// What it earned, in main units; counts where the tenant sells directly, or no pipeline is
        /// given.
        cash_revenue: Option<f64>,
        /// Its age.
        age_hours: f64,
    }
}

answer! {
    /// Budgets.
    Selected {
        /// What all may come to.
        total_budget: f64,
        /// In the order in which the ads were given.
        recommendations: Vec<Recommendation>,
        /// How many ads.
        num_ads: u64,
    }

    /// A budget.
    Recommendation {
        /// The ad.
        ad_id: String,
        /// The daily budget that its spend stands for, in main units.
        current_budget: f64,
        /// The one recommended; zero for an ad that should be paused.
        recommended_budget: f64,
        /// The difference in percent of the current one; 0 where that is zero.
        change_percentage: f64,
        /// How sure, 0 to 1.
        confidence: f64,
        /// Why, in a sentence.
        reason: String,
        /// What it rests on.
        metrics: SelectMetrics,
    }

    /// What a recommendation rests on.
    SelectMetrics {
        /// Clicks per impression.
        ctr: f64,
        /// Value over spend as given; null where nothing was spent.
        pipeline_roas: Option<f64>,
        /// The return believed in; null where nothing is.
        expected_roas: Option<f64>,
        /// One chance in ten that it is lower.
        roas_q10: Option<f64>,
        /// One chance in ten that it is higher.
        roas_q90: Option<f64>,
        /// `RAISE`, `CUT`, `HOLD` or `KILL`.
        action: String,
        /// Whether what was reported by feedback took the place of the totals given.
        used_feedback: bool,
    }
}

/// An ad as it is judged.
struct Judged {
    id: AdId,
    ctr: f64,
    spend: f64,
    value: Option<f64>,
    budget: Money,
    used_feedback: bool,
    evidence: AdEvidence,
}

/// A number of things that is finite and not negative.
fn count(field: &str, n: f64) -> Result<f64, Problem> {
    let is_fit = n.is_finite() && (0.0..=1e15).contains(&n);
    is_fit
        .then_some(n)
        .ok_or_else(|| bad_field(field, "give a number from 0 to 1e15"))
}

fn judged(
    tenant: &TenantApi,
    said: &AdTotals,
    feedback: Option<&ReportedResult>,
) -> Result<Judged, Problem> {
    let id = AdId::new(&said.ad_id).map_err(|bad| bad_field("ad_id", bad))?;
    let ad_set = AdSetId::new(&said.ad_id).map_err(|bad| bad_field("ad_id", bad))?;
    let campaign = CampaignId::new(&said.ad_id).map_err(|bad| bad_field("ad_id", bad))?;
    let (impressions, clicks) = (
        count("impressions", said.impressions)?,
        count("clicks", said.clicks)?,
    );
    let stated_spend = amount(tenant, "spend", said.spend)?.to_f64();
    let days = count("age_hours", said.age_hours)? / 24.0;
    let finite = |field: &'static str, value: Option<f64>| match value {
        Some(value) if value.abs() > 1e15 => Err(bad_field(field, "give an amount in main units")),
        value => Ok(value),
    };
    let pipeline = finite("pipeline_value", said.pipeline_value)?;
    let cash = finite("cash_revenue", said.cash_revenue)?;
    let stated = match tenant.mode {
        Mode::Pipeline => pipeline.or(cash),
        Mode::Direct => cash.or(pipeline),
    };
    // What an ad turned out to bring is newer than totals that had spent no more by then.
    let newer = feedback.and_then(|found| {
        let spend = found.spend?.to_f64();
        (spend >= stated_spend || stated.is_none()).then(|| (found.value.to_f64(), spend))
    });
    let (value, spend) = match newer {
        Some((value, spend)) => (Some(value), spend.max(stated_spend)),
        None => (stated, stated_spend),
    };
    // Spend by day; of an ad not a day old all of it is a day's.
    let budget = stated_spend / days.max(1.0);
    let totals = LifetimeTotals {
        impressions,
        clicks,
        spend,
        pipeline_value: value,
        days: Some(days),
        ..LifetimeTotals::default()
    };
    let name = said.ad_id.clone();
    Ok(Judged {
        ctr: if impressions > 0.0 {
            clicks / impressions
        } else {
            0.0
        },
        spend,
        value,
        budget: Money::from_f64(budget, tenant.currency, Rounding::Nearest)
            .map_err(|_| bad_field("spend", "it is more than can be reckoned with"))?,
        used_feedback: newer.is_some(),
        evidence: AdEvidence::from_totals(id.clone(), name, ad_set, campaign, totals),
        id,
    })
}

async fn select(call: Call) -> Result<Reply, Problem> {
    let (tenant, entry) = call.tenant()?;
    let said: Selection = call.read()?;
    if said.ad_states.len() > ADS_MAX {
        return Err(bad_field(
            "ad_states",
            format!("give {ADS_MAX} ads at most"),
        ));
    }
    let total = amount(&entry.api, "total_budget", said.total_budget)?;
    let store = &call.state.store;
    let feedback = store
        .reported_results(tenant, ReportSource::Feedback)
        .await?;
    let feedback: BTreeMap<&str, &ReportedResult> = feedback
        .iter()
        .filter(|found| found.value.currency() == entry.api.currency)
        .map(|found| (found.ad.as_str(), found))
        .collect();
    let mut seen = BTreeSet::new();
    let mut ads = Vec::with_capacity(said.ad_states.len());
    for (place, state) in said.ad_states.iter().enumerate() {
        let within = |problem: Problem| problem.within(&format!("ad_states[{place}]"));
        let found = feedback.get(state.ad_id.as_str()).copied();
        let ad = judged(&entry.api, state, found).map_err(within)?;
        if !seen.insert(ad.id.clone()) {
            return Err(within(bad_field("ad_id", "it is there twice")));
        }
        ads.push(ad);
    }
    let api = &entry.api;
    let mut limits = BudgetLimits::under_cap(total, Money::zero(api.currency));
    // Nothing is sent: the limit on actions in an hour is for the daemon.
    limits.actions_per_campaign_per_hour = u32::MAX;
    let funnel = api.stages.funnel().zip(
        api.prior_rates
            .iter()
            .copied()
            .map(Some)
            .chain(std::iter::repeat(None)),
    );
    let inputs = PolicyInputs {
        // Totals have no dates, so that the same ads come to the same advice at any time.
        now: time::from_seconds(0),
        seed: SEED,
        mode: api.mode,
        currency: api.currency,
        stages: funnel
            .map(|(stage, prior_rate)| Stage {
                prior_rate,
                ..Stage::new(stage.name.clone(), stage.value.to_f64())
            })
            .collect(),
        params: api.params,
        limits,
        first_decision_of_day: true,
        entities: ads
            .iter()
            .map(|ad| {
                let evidence = &ad.evidence;
                let entity = EntityRef::AdSet(evidence.ad_set.clone());
                let (name, campaign) = (evidence.name.clone(), evidence.campaign.clone());
                BudgetEntity::steady(entity, name, campaign, ad.budget)
            })
            .collect(),
        ads: ads.iter().map(|ad| ad.evidence.clone()).collect(),
        deals_total: 0.0,
        deals_attributed: 0.0,
    };
    let outcome = RoasdPolicy.decide(&inputs);
    let by_subject: BTreeMap<&EntityRef, &Decision> = outcome
        .decisions
        .iter()
        .map(|decision| (&decision.subject, decision))
        .collect();
    let recommendations = ads.iter().map(|ad| recommendation(ad, &by_subject));
    Reply::json(&Selected {
        total_budget: total.to_f64(),
        num_ads: ads.len() as u64,
        recommendations: recommendations.collect(),
    })
}

fn recommendation(ad: &Judged, decisions: &BTreeMap<&EntityRef, &Decision>) -> Recommendation {
    let of_ad = EntityRef::Ad(ad.id.clone());
    let of_set = EntityRef::AdSet(ad.evidence.ad_set.clone());
    // A pause of the ad is a decision of its own beside that on its budget.
    let paused = decisions.get(&of_ad).filter(|d| d.action == Action::Kill);
    let decision = paused.or_else(|| decisions.get(&of_set)).copied();
    let current = ad.budget.to_f64();
    let recommended = match decision.map(|decision| &decision.change) {
        _ if paused.is_some() => 0.0,
        Some(Move::Budget { to, .. }) => to.to_f64(),
        Some(Move::Status { .. }) | None => current,
    };
    let belief = decision.and_then(|decision| decision.rationale.belief.as_ref());
    let told = |number: f64| Some(number).filter(|number| number.is_finite());
    let confidence = belief.map_or(0.0, |belief| {
        if paused.is_some() {
            belief.p_below_kill
        } else {
            1.0 / (1.0 + belief.sigma)
        }
    });
    let change = (recommended - current) / current * 100.0;
    let roas = ad.value.map(|value| value / ad.spend);
    Recommendation {
        ad_id: ad.id.to_string(),
        current_budget: current,
        recommended_budget: recommended,
        change_percentage: told(change).unwrap_or(0.0),
        confidence: told(confidence).unwrap_or(0.0).clamp(0.0, 1.0),
        reason: decision.map_or_else(
            || "nothing was decided on it".to_owned(),
            |decision| decision.rationale.reason(),
        ),
        metrics: SelectMetrics {
            ctr: ad.ctr,
            pipeline_roas: roas.and_then(told),
            expected_roas: belief.and_then(|belief| told(belief.mean_roas)),
            roas_q10: belief.and_then(|belief| told(belief.q10)),
            roas_q90: belief.and_then(|belief| told(belief.q90)),
            action: decision
                .map_or("HOLD", |decision| decision.action.as_str())
                .to_owned(),
            used_feedback: ad.used_feedback,
        },
    }
}
