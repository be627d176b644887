//! What a policy is given: one plain struct, complete enough to replay the decision from it.

use crate::domain::ids::{AdId, AdSetId, CampaignId, StageName};
use crate::domain::money::{Currency, Money, Percentage};
use crate::domain::policy::params::PolicyParams;
use crate::domain::structure::EntityRef;
use crate::domain::time::Timestamp;

/// Everything one decision rests on. Two equal values give bit-identical outcomes; the order of the
/// lists does not matter.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyInputs {
    /// The instant of the decision.
    pub now: Timestamp,
    /// Keys every draw and dither; one per tenant is enough.
    pub seed: u64,
    /// Pipeline with stages, or purchases with amounts.
    pub mode: Mode,
    /// The account's currency; every amount below is in it.
    pub currency: Currency,
    /// The funnel in order, the win last. In [`Mode::Direct`] only the last one is used.
    pub stages: Vec<Stage>,
    /// The model's numbers.
    pub params: PolicyParams,
    /// The caps on what may be changed.
    pub limits: BudgetLimits,
    /// Whether this is the first decision of the UTC day: ads rotate and return only then.
    pub first_decision_of_day: bool,
    /// What carries a budget: ad sets, or campaigns where the budget sits there.
    pub entities: Vec<BudgetEntity>,
    /// Every ad with evidence, also those paused or ended: they inform the others.
    pub ads: Vec<AdEvidence>,
    /// Deals of the CRM in the period the evidence covers, attributed or not.
    pub deals_total: f64,
    /// Of those, the ones credited to an ad.
    pub deals_attributed: f64,
}

/// How an account earns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Leads pass stages with values before they are won.
    Pipeline,
    /// Purchases with amounts.
    Direct,
}

/// One stage of the funnel.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name in the configuration.
    pub name: StageName,
    /// What reaching it is worth, in main units: already the expectation.
    pub value: f64,
    /// Share of the stage before (of clicks, for the first) that reaches it, where an operator
    /// overrides the model's prior.
    pub prior_rate: Option<f64>,
    /// Pull of an ad toward its prior in pseudo-successes, where overridden.
    pub pull: Option<f64>,
    /// Mean days from the stage before (from the click, for the first), where known.
    pub mean_delay_days: Option<f64>,
}

impl Stage {
    /// A stage with the model's own priors.
    #[must_use]
    pub const fn new(name: StageName, value: f64) -> Self {
        Self {
            name,
            value,
            prior_rate: None,
            pull: None,
            mean_delay_days: None,
        }
    }
}

/// The caps a decision keeps. The executor judges again by its own history; this only spares it
/// proposals it would refuse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetLimits {
    /// Sum of daily budgets of everything that can deliver.
    pub daily_cap: Money,
    /// Least daily budget of one entity.
    pub min_budget: Money,
    /// Largest change against any budget held in the short window (6 h).
    pub max_change: Percentage,
    /// Largest raise against any budget held in 24 h: more restarts the learning phase.
    pub calm_raise: Percentage,
    /// Largest cut against any budget held in 24 h.
    pub calm_cut: Percentage,
    /// Largest dither around the target.
    pub fuzz: Percentage,
    /// A change smaller than this share of the budget is not sent.
    pub min_useful_change: Percentage,
    /// Budget and status changes in one campaign and hour.
    pub actions_per_campaign_per_hour: u32,
}

impl BudgetLimits {
    /// The defaults under a daily cap: 20 % in 6 h, 19.9 % up and 19 % down in 24 h, changes from
    /// 1 %, 15 actions per campaign and hour, no dither.
    #[must_use]
    pub fn under_cap(daily_cap: Money, min_budget: Money) -> Self {
        Self {
            daily_cap,
            min_budget,
            max_change: percent(0.20),
            calm_raise: percent(0.199),
            calm_cut: percent(0.19),
            fuzz: percent(0.0),
            min_useful_change: percent(0.01),
            actions_per_campaign_per_hour: 15,
        }
    }
}

fn percent(fraction: f64) -> Percentage {
    // The constants above are valid; nothing is the safe reading of one that were not.
    Percentage::from_fraction(fraction)
        .or_else(|_| Percentage::parse("0%"))
        .unwrap_or_else(|_| unreachable!("0% is a percentage"))
}

/// The least and the greatest budget held in a trailing window, the one in force when it opened
/// included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBudgets {
    /// The least.
    pub min: Money,
    /// The greatest.
    pub max: Money,
}

impl HeldBudgets {
    /// One budget held all the time.
    #[must_use]
    pub const fn steady(budget: Money) -> Self {
        Self {
            min: budget,
            max: budget,
        }
    }
}

/// Something with a daily budget of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetEntity {
    /// Which; an ad set or a campaign.
    pub entity: EntityRef,
    /// What its owner calls it.
    pub name: String,
    /// The campaign it is in, or is.
    pub campaign: CampaignId,
    /// The daily budget in force.
    pub budget: Money,
    /// Budgets held in the trailing 6 h.
    pub held_6h: HeldBudgets,
    /// Budgets held in the trailing 24 h.
    pub held_24h: HeldBudgets,
    /// The budget when first seen, or the 30 day median; `None` takes the one in force.
    pub reference_budget: Option<Money>,
    /// Why it must not be touched, when it must not. It takes no part, yet counts toward the cap
    /// while it can deliver.
    pub untouchable: Option<String>,
    /// Actions taken in its campaign in the trailing hour.
    pub actions_in_last_hour: u32,
}

impl BudgetEntity {
    /// An entity whose budget has not moved lately and that may be touched.
    #[must_use]
    pub fn steady(entity: EntityRef, name: String, campaign: CampaignId, budget: Money) -> Self {
        Self {
            entity,
            name,
            campaign,
            budget,
            held_6h: HeldBudgets::steady(budget),
            held_24h: HeldBudgets::steady(budget),
            reference_budget: None,
            untouchable: None,
            actions_in_last_hour: 0,
        }
    }
}

/// Whether an ad may deliver, and who decided otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdState {
    /// It can deliver: it, its ad set and its campaign are active.
    Live,
    /// Paused by rotation; may return.
    Rotated,
    /// Paused for good by the kill rule; only a human brings it back.
    Killed,
    /// Paused by someone else, at any level.
    PausedByOwner,
    /// Ended, archived or deleted.
    Ended,
}

impl AdState {
    /// As a word for reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Rotated => "rotated",
            Self::Killed => "killed",
            Self::PausedByOwner => "paused_by_owner",
            Self::Ended => "ended",
        }
    }
}

/// What is known about one ad.
#[derive(Debug, Clone, PartialEq)]
pub struct AdEvidence {
    /// The ad.
    pub ad: AdId,
    /// What its owner calls it.
    pub name: String,
    /// Its ad set.
    pub ad_set: AdSetId,
    /// Its campaign.
    pub campaign: CampaignId,
    /// When it was created; `None` takes the first bucket, and an ad without either is old.
    pub created_at: Option<Timestamp>,
    /// Whether it may deliver.
    pub state: AdState,
    /// Why it must not be paused or returned, when it must not.
    pub untouchable: Option<String>,
    /// What it did.
    pub record: Record,
    /// Ads with similar text and the cosine of each; the nearest ones suffice.
    pub neighbours: Vec<(AdId, f64)>,
}

impl AdEvidence {
    /// A live ad known by lifetime totals only.
    #[must_use]
    pub fn from_totals(
        ad: AdId,
        name: String,
        ad_set: AdSetId,
        campaign: CampaignId,
        totals: LifetimeTotals,
    ) -> Self {
        Self {
            ad,
            name,
            ad_set,
            campaign,
            created_at: None,
            state: AdState::Live,
            untouchable: None,
            record: Record::Totals(totals),
            neighbours: Vec::new(),
        }
    }
}

/// What an ad did.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// By day or hour, and deal by deal.
    Dated {
        /// Delivery.
        buckets: Vec<Bucket>,
        /// Deals credited to the ad.
        deals: Vec<DealEvidence>,
    },
    /// Totals only: taken as fully mature and not discounted (ALGORITHM 3.9).
    Totals(LifetimeTotals),
}

/// Delivery in one day or shorter span.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// The instant the span is dated by: its middle, or its end.
    pub at: Timestamp,
    /// Impressions.
    pub impressions: f64,
    /// Clicks.
    pub clicks: f64,
    /// Spend in main units.
    pub spend: f64,
}

/// One deal credited to an ad.
#[derive(Debug, Clone, PartialEq)]
pub struct DealEvidence {
    /// Confidence of the credit, 0 to 1.
    pub weight: f64,
    /// When each stage of the funnel was reached, in the funnel's order.
    pub reached: Vec<Option<Timestamp>>,
    /// When it was lost, if it is lost now.
    pub lost_at: Option<Timestamp>,
    /// The latest amount in main units, if known; may be negative.
    pub amount: Option<f64>,
}

/// Totals over an ad's whole life.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LifetimeTotals {
    /// Impressions.
    pub impressions: f64,
    /// Clicks.
    pub clicks: f64,
    /// Spend in main units.
    pub spend: f64,
    /// How many reached each stage, in the funnel's order; may be fractional. Empty when no counts
    /// are known.
    pub reached: Vec<f64>,
    /// Sum of the known amounts of wins, in main units, and how many wins it sums.
    pub amounts: Option<(f64, f64)>,
    /// Value of the pipeline in main units where no counts are known.
    pub pipeline_value: Option<f64>,
    /// Days the totals cover, if known.
    pub days: Option<f64>,
}
