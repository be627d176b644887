//! Why a decision was taken: every number, and a paragraph a media buyer reads in ten seconds.

pub mod paragraph;
pub mod standing;

use std::sync::LazyLock;

use crate::domain::ids::{AdId, AdSetId, CampaignId, StageName};
use crate::domain::money::Currency;
use crate::domain::policy::{Action, AdState, Mode, Move, PolicyParams};
use crate::domain::posterior::gamma::LogNormal;
use crate::domain::posterior::special::normal_quantile;
use crate::domain::structure::EntityRef;
use crate::domain::time::Timestamp;

/// What was counted, before any belief.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// Impressions.
    pub impressions: f64,
    /// Clicks.
    pub clicks: f64,
    /// Spend, main units.
    pub spend: f64,
    /// Clicks per impression; 0 without impressions.
    pub ctr: f64,
    /// Per stage, in the funnel's order.
    pub stages: Vec<StageEvidence>,
    /// Value of the pipeline as it stands, signed, main units.
    pub pipeline_value: f64,
    /// That value per unit of spend; `None` without spend.
    pub raw_roas: Option<f64>,
    /// Age, hours.
    pub age_hours: f64,
    /// Whether only lifetime totals are known.
    pub totals_only: bool,
}

impl Evidence {
    /// Adds what another ad of the same entity counted.
    pub fn add(&mut self, other: &Self) {
        self.impressions += other.impressions;
        self.clicks += other.clicks;
        self.spend += other.spend;
        self.pipeline_value += other.pipeline_value;
        self.ctr = ratio(self.clicks, self.impressions).unwrap_or(0.0);
        self.raw_roas = ratio(self.pipeline_value, self.spend);
        self.age_hours = self.age_hours.max(other.age_hours);
        self.totals_only |= other.totals_only;
        if self.stages.is_empty() {
            self.stages.clone_from(&other.stages);
        } else {
            for (own, more) in self.stages.iter_mut().zip(&other.stages) {
                own.reached += more.reached;
                own.successes += more.successes;
                own.mature_exposure += more.mature_exposure;
            }
        }
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// What was counted at one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageEvidence {
    /// The stage.
    pub stage: StageName,
    /// How many reached it, weighted by confidence, undiscounted.
    pub reached: f64,
    /// Discounted successes (N).
    pub successes: f64,
    /// Discounted exposure old enough to show an effect (E).
    pub mature_exposure: f64,
}

/// What is believed of an ad's or an entity's return.
#[derive(Debug, Clone, PartialEq)]
pub struct Belief {
    /// Posterior mean ROAS.
    pub mean_roas: f64,
    /// Mean of ln ROAS.
    pub mu: f64,
    /// Standard deviation of ln ROAS.
    pub sigma: f64,
    /// One chance in ten that ROAS is below.
    pub q10: f64,
    /// As likely above as below.
    pub q50: f64,
    /// One chance in ten that ROAS is above.
    pub q90: f64,
    /// P(ROAS < kill threshold).
    pub p_below_kill: f64,
    /// P(ROAS > scale threshold).
    pub p_above_scale: f64,
    /// The Thompson draw.
    pub draw: f64,
}

/// Standard normal quantiles at 10, 50 and 90 %: every ad is told by them.
static TENTHS: LazyLock<[f64; 3]> = LazyLock::new(|| [0.1, 0.5, 0.9].map(normal_quantile));

impl Belief {
    /// The belief `roas` with its posterior mean and draw, told against the thresholds.
    #[must_use]
    pub fn of(roas: LogNormal, mean_roas: f64, draw: f64, params: &PolicyParams) -> Self {
        let [z10, z50, z90] = *TENTHS;
        Self {
            mean_roas,
            mu: roas.mu,
            sigma: roas.sigma,
            q10: roas.at(z10),
            q50: roas.at(z50),
            q90: roas.at(z90),
            p_below_kill: roas.p_below(params.kill_roas),
            p_above_scale: roas.p_above(params.scale_roas),
            draw,
        }
    }
}

/// Where an ad's prior comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct PriorReading {
    /// Stage and family mean.
    pub family: Vec<(StageName, f64)>,
    /// Stage and the prior rate in force, all factors included.
    pub prior: Vec<(StageName, f64)>,
    /// Stage and posterior rate.
    pub rate: Vec<(StageName, f64)>,
    /// Clicks per currency unit.
    pub clicks_per_unit: f64,
    /// ln of the ad's leads per unit over the account's.
    pub early_signal: f64,
    /// Early-signal damping of the account.
    pub damping_delta: f64,
    /// Its factor on this ad's quality rate.
    pub damping_factor: f64,
    /// Stage and look-alike factor.
    pub look_alike: Vec<(StageName, f64)>,
    /// The nearest ads and the similarity of each, at most three.
    pub nearest: Vec<(AdId, f64)>,
    /// Share of the quality belief that still rests on the prior.
    pub early_share: f64,
    /// Share of deals believed to be attributed.
    pub eta: f64,
}

/// What is believed of one ad.
#[derive(Debug, Clone, PartialEq)]
pub struct AdReading {
    /// The ad.
    pub ad: AdId,
    /// What its owner calls it.
    pub name: String,
    /// Its ad set.
    pub ad_set: AdSetId,
    /// Its campaign.
    pub campaign: CampaignId,
    /// Its state before this decision.
    pub state: AdState,
    /// What was counted.
    pub evidence: Evidence,
    /// What is believed.
    pub belief: Belief,
    /// Where the belief starts from.
    pub prior: PriorReading,
    /// CTR's weight in the blended score.
    pub ctr_weight: f64,
    /// The blended score.
    pub blended_score: f64,
    /// Whether it is too young or too cheap to kill.
    pub in_ignorance_zone: bool,
    /// Further spend without another lead (direct: purchase) after which it would be killed, main
    /// units; `None` beyond reason.
    pub spend_until_kill: Option<f64>,
    /// Inputs of this ad that were dropped as unusable.
    pub bad_inputs: usize,
}

/// Which bound a budget came to rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// None: the water level alone.
    None,
    /// The short velocity window.
    Velocity6h,
    /// The 24 h window.
    Calm24h,
    /// The least budget.
    Min,
    /// The daily cap.
    Cap,
    /// The actions of the hour are used up.
    RateLimit,
}

/// How a budget was found.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetTrail {
    /// The reference budget's half-saturation spend, main units.
    pub kappa: f64,
    /// Discounted spend per day, main units.
    pub spend_per_day: f64,
    /// The draw that stands for the entity: its live ads' by share of spend.
    pub draw: f64,
    /// Least budget allowed, main units.
    pub lowest: f64,
    /// Greatest budget allowed, main units.
    pub highest: f64,
    /// Where the water level puts it, before dither, rationing and cap.
    pub target: f64,
    /// The dither added, as a fraction of the target.
    pub dither: f64,
    /// Return of the next unit at the old budget.
    pub marginal_before: f64,
    /// The same at the new budget.
    pub marginal_after: f64,
    /// The marginal return at which budgets level out.
    pub water_level: Option<f64>,
    /// Which bound bit.
    pub bound: Bound,
}

/// The rule that fired.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Budgets level out where the next unit earns the same everywhere.
    WaterLevel,
    /// The change would be too small to send.
    TooSmall,
    /// The actions of this hour are used up; it waits.
    RateLimited,
    /// Some of its inputs are not usable numbers.
    BadInput,
    /// The owner's or Meta's reason not to touch it.
    Untouchable(String),
    /// The budgets are over the cap and cannot come down faster.
    CapUnreachable,
    /// P(ROAS < kill) is high enough.
    KillPosterior,
    /// Raw ROAS is under the kill threshold.
    KillRaw,
    /// The blended score is under half the account's average.
    KillHalfAverage,
    /// What a policy for comparison goes by, as a sentence.
    Compared(&'static str),
    /// A sibling is probably better.
    Rotation {
        /// The sibling.
        best: AdId,
        /// The chance that it is better.
        p_better: f64,
    },
    /// The live sibling is no longer clearly better.
    Returned {
        /// The sibling, if any is live.
        best: Option<AdId>,
        /// The chance that it is better.
        p_better: f64,
    },
}

/// Why one decision was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Rationale {
    /// The policy's name.
    pub policy: &'static str,
    /// Its version.
    pub version: u32,
    /// The instant decided for.
    pub decided_at: Timestamp,
    /// The seed.
    pub seed: u64,
    /// The mode.
    pub mode: Mode,
    /// The currency of all amounts.
    pub currency: Currency,
    /// About what.
    pub subject: EntityRef,
    /// What its owner calls it.
    pub name: String,
    /// What is done.
    pub action: Action,
    /// Whether it is marked SCALE.
    pub scale: bool,
    /// From which value to which.
    pub change: Move,
    /// The rule that fired.
    pub rule: Rule,
    /// What was counted: the ad's, or the sum over the entity's ads.
    pub evidence: Evidence,
    /// What is believed: the ad's, or the mix of the entity's live ads. `None` without a live ad.
    pub belief: Option<Belief>,
    /// For an ad: where its belief starts from.
    pub prior: Option<PriorReading>,
    /// For an entity: how the budget was found.
    pub budget: Option<BudgetTrail>,
    /// CTR's weight in the blended score; for an ad.
    pub ctr_weight: Option<f64>,
    /// The blended score; for an ad.
    pub blended_score: Option<f64>,
    /// Whether an ad is too young or too cheap to kill; for an entity, whether all live ones are.
    pub in_ignorance_zone: bool,
    /// The live ads of the entity and each one's share of its spend, largest first; at most ten.
    pub live_ads: Vec<(AdId, f64)>,
    /// What would change the decision, in plain words.
    pub would_change: Vec<String>,
    /// The thresholds in force.
    pub thresholds: Thresholds,
}

/// The thresholds a rationale is told against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// ROAS below which an ad is not worth running.
    pub kill_roas: f64,
    /// How sure a kill must be.
    pub p_kill: f64,
    /// ROAS above which an entity is marked to scale.
    pub scale_roas: f64,
    /// How sure that mark must be.
    pub p_scale: f64,
    /// How sure rotation must be.
    pub p_rotate: f64,
    /// At most this sure for a return.
    pub p_return: f64,
}

impl Thresholds {
    /// Those of `params`.
    #[must_use]
    pub const fn of(params: &PolicyParams) -> Self {
        Self {
            kill_roas: params.kill_roas,
            p_kill: params.p_kill,
            scale_roas: params.scale_roas,
            p_scale: params.p_scale,
            p_rotate: params.p_rotate,
            p_return: params.p_return,
        }
    }
}
