//! Small accounts for tests.

use super::{
    AdEvidence, AdState, Bucket, BudgetEntity, BudgetLimits, DealEvidence, Mode, PolicyInputs,
    PolicyParams, Record, Stage,
};
use crate::domain::ids::{AdId, AdSetId, CampaignId, StageName};
use crate::domain::money::{Currency, Money};
use crate::domain::structure::EntityRef;
use crate::domain::time::{SignedDuration, Timestamp, from_seconds, sub};

/// The instant all small accounts are decided at.
pub(crate) fn now() -> Timestamp {
    from_seconds(1_790_000_000)
}

/// `days` before [`now`].
pub(crate) fn ago(days: f64) -> Timestamp {
    sub(now(), SignedDuration::from_secs_f64(days * 86_400.0))
}

pub(crate) fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::USD)
}

/// An account without entities or ads, with the default stages of its mode.
pub(crate) fn inputs(mode: Mode) -> PolicyInputs {
    let stage = |name: &str, value| Stage::new(StageName::new(name).unwrap(), value);
    PolicyInputs {
        now: now(),
        seed: 7,
        mode,
        currency: Currency::USD,
        stages: match mode {
            Mode::Pipeline => vec![
                stage("lead", 0.0),
                stage("appointment_scheduled", 2_250.0),
                stage("show_up", 9_000.0),
                stage("closed_won", 15_000.0),
            ],
            Mode::Direct => vec![stage("purchase", 60.0)],
        },
        params: PolicyParams::for_mode(mode),
        limits: BudgetLimits::under_cap(usd(50_000), usd(500)),
        first_decision_of_day: true,
        entities: Vec::new(),
        ads: Vec::new(),
        deals_total: 0.0,
        deals_attributed: 0.0,
    }
}

/// An ad set in campaign `c`.
pub(crate) fn ad_set(id: &str, budget: i64) -> BudgetEntity {
    BudgetEntity::steady(
        EntityRef::AdSet(AdSetId::new(id).unwrap()),
        format!("Set {id}"),
        CampaignId::new("c").unwrap(),
        usd(budget),
    )
}

/// A live ad, ten days old, with one bucket a day.
pub(crate) fn ad(id: &str, set: &str, clicks: f64, spend: f64) -> AdEvidence {
    let days = 10;
    AdEvidence {
        ad: AdId::new(id).unwrap(),
        name: format!("Ad {id}"),
        ad_set: AdSetId::new(set).unwrap(),
        campaign: CampaignId::new("c").unwrap(),
        created_at: Some(ago(f64::from(days))),
        state: AdState::Live,
        untouchable: None,
        record: Record::Dated {
            buckets: (0..days)
                .map(|d| Bucket {
                    at: ago(f64::from(d) + 0.5),
                    impressions: clicks * 5.0,
                    clicks: clicks / f64::from(days),
                    spend: spend / f64::from(days),
                })
                .collect(),
            deals: Vec::new(),
        },
        neighbours: Vec::new(),
    }
}

/// A deal whose stages were reached so many days ago.
pub(crate) fn deal(reached: &[Option<f64>]) -> DealEvidence {
    DealEvidence {
        weight: 1.0,
        reached: reached.iter().map(|d| d.map(ago)).collect(),
        lost_at: None,
        amount: None,
    }
}

/// The same ad with deals.
pub(crate) fn with_deals(mut ad: AdEvidence, more: Vec<DealEvidence>) -> AdEvidence {
    if let Record::Dated { deals, .. } = &mut ad.record {
        deals.extend(more);
    }
    ad
}
