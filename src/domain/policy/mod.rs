//! What decides: a policy takes plain inputs and answers with decisions that explain themselves.

pub mod baselines;
pub mod blended_v1;
mod budgets;
pub mod inputs;
pub mod outlook;
pub mod params;
mod planned;
pub mod roasd;
mod statuses;

use std::fmt;

use crate::domain::ids::{CampaignId, StageName};
use crate::domain::money::Money;
use crate::domain::rationale::{AdReading, Rationale};
use crate::domain::structure::EntityRef;
use crate::domain::time::Timestamp;

pub use baselines::{BetaThompson, LeftAlone, RulesEngine};
pub use blended_v1::BlendedV1;
pub use inputs::{
    AdEvidence, AdState, Bucket, BudgetEntity, BudgetLimits, DealEvidence, HeldBudgets,
    LifetimeTotals, Mode, PolicyInputs, Record, Stage,
};
pub use params::{IgnoranceJoin, KillRule, PolicyParams};
pub use roasd::RoasdPolicy;

/// A way to decide. Pure: equal inputs give bit-identical outcomes.
pub trait Policy: Send + Sync + fmt::Debug {
    /// Its name in the model registry.
    fn name(&self) -> &'static str;
    /// Its version; changes whenever equal inputs may give another outcome.
    fn version(&self) -> u32;
    /// What to do now.
    fn decide(&self, inputs: &PolicyInputs) -> Outcome;
}

/// The policy of this name; `None` for a name that no policy has.
#[must_use]
pub fn named(name: &str) -> Option<&'static dyn Policy> {
    const ALL: [&dyn Policy; 5] = [
        &RoasdPolicy,
        &BlendedV1 { kills: true },
        &LeftAlone,
        &RulesEngine,
        &BetaThompson,
    ];
    ALL.into_iter().find(|policy| policy.name() == name)
}

/// What is done with an entity or an ad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// A higher daily budget.
    Raise,
    /// A lower daily budget.
    Cut,
    /// Left as it is.
    Hold,
    /// An ad paused for good.
    Kill,
    /// An ad paused in favour of a sibling; may return.
    Rotate,
    /// A rotated ad set live again.
    Return,
}

impl Action {
    /// As a word for reports: `RAISE`, `CUT` …
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raise => "RAISE",
            Self::Cut => "CUT",
            Self::Hold => "HOLD",
            Self::Kill => "KILL",
            Self::Rotate => "ROTATE",
            Self::Return => "RETURN",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The value a decision moves from and to. Equal ends mean that nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// A daily budget.
    Budget {
        /// In force now.
        from: Money,
        /// To be set; dither included.
        to: Money,
    },
    /// Whether an ad may deliver.
    Status {
        /// Now.
        from: AdState,
        /// To be set.
        to: AdState,
    },
}

impl Move {
    /// Both ends as they are shown: from, to.
    #[must_use]
    pub fn told(&self) -> (String, String) {
        match self {
            Self::Budget { from, to } => (from.to_string(), to.to_string()),
            Self::Status { from, to } => (from.as_str().to_owned(), to.as_str().to_owned()),
        }
    }
}

/// One decision about one entity or ad.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// About what.
    pub subject: EntityRef,
    /// The campaign it is in, or is.
    pub campaign: CampaignId,
    /// What is done. `Hold` sends nothing.
    pub action: Action,
    /// Whether the entity is marked SCALE: first in line when actions are rationed.
    pub scale: bool,
    /// From which value to which.
    pub change: Move,
    /// Why, with every number.
    pub rationale: Rationale,
}

/// What holds for the decision as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// No entity has a live ad.
    NothingLive,
    /// The cap cannot be kept within the velocity limits; nothing was raised.
    CapUnreachable,
    /// Some input was not a usable number; what it belongs to is held.
    BadInput,
    /// The account has no lead (direct: no purchase) yet; the blended score orders ads.
    NoLeadYet,
    /// Some ads are known by lifetime totals only: taken as mature, spend standing for budget.
    TotalsOnly,
    /// Some actions wait for the next hour.
    Rationed,
}

impl Flag {
    /// As a word for reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NothingLive => "nothing_live",
            Self::CapUnreachable => "cap_unreachable",
            Self::BadInput => "bad_input",
            Self::NoLeadYet => "no_lead_yet",
            Self::TotalsOnly => "totals_only",
            Self::Rationed => "rationed",
        }
    }
}

/// What the account as a whole is believed to do.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountReading {
    /// Stage and believed rate from the stage before (from clicks, for the first).
    pub rates: Vec<(StageName, f64)>,
    /// Clicks per currency unit.
    pub clicks_per_unit: f64,
    /// Early-signal damping: 0 when a cheap lead is as good as any, above 1 when it is a bad sign.
    pub damping_delta: f64,
    /// Value of a win, main units.
    pub value_of_win: f64,
    /// Share of deals believed to be attributed.
    pub eta: f64,
    /// Raw impressions, clicks, spend of all ads.
    pub impressions: f64,
    /// Raw clicks of all ads.
    pub clicks: f64,
    /// Raw spend of all ads, main units.
    pub spend: f64,
}

/// The answer of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The policy's name.
    pub policy: &'static str,
    /// Its version.
    pub version: u32,
    /// The instant decided for.
    pub decided_at: Timestamp,
    /// Status changes first, then one decision per budget entity; each group by id.
    pub decisions: Vec<Decision>,
    /// What is believed of every ad, by id.
    pub readings: Vec<AdReading>,
    /// What holds for the whole, sorted.
    pub flags: Vec<Flag>,
    /// How many inputs were dropped as unusable.
    pub bad_inputs: usize,
    /// Sum of budgets in force of everything that can deliver.
    pub budget_before: Money,
    /// The same after this decision.
    pub budget_after: Money,
    /// The cap.
    pub cap: Money,
    /// Marginal return at which budgets level out; `None` when none was needed.
    pub water_level: Option<f64>,
    /// What is believed of the account.
    pub account: AccountReading,
}

impl Outcome {
    /// Decisions that change something.
    pub fn changes(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().filter(|d| d.action != Action::Hold)
    }
}

#[cfg(test)]
pub(crate) mod tests_support;
