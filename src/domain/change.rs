//! A change to the ad account, from proposal to audit, and the only legal moves between its states.
//!
//! ```text
//! (awaiting_approval) → pending → claimed → executing → completed | failed
//!                          └─ held back ─┘      └─ no answer → read back → completed | pending
//! cancelled, rejected, refused, expired: from any state before executing
//! ```

use std::fmt;

use super::ids::{CampaignId, ChangeId, DecisionId, TenantId};
use super::money::Money;
use super::structure::{EntityRef, RunStatus};
use super::time::Timestamp;

/// What is to be set: an absolute value, so that setting it twice is the same as once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The daily budget.
    DailyBudget(Money),
    /// The status; only `Active` and `Paused` are ever requested.
    Status(RunStatus),
}

impl Target {
    /// The kind of change: at most one of a kind is open per object.
    #[must_use]
    pub const fn kind(self) -> ChangeKind {
        match self {
            Self::DailyBudget(_) => ChangeKind::Budget,
            Self::Status(_) => ChangeKind::Status,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DailyBudget(money) => f.pad(&money.to_string()),
            Self::Status(status) => f.pad(status.as_str()),
        }
    }
}

/// The kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// A daily budget.
    Budget,
    /// A status.
    Status,
}

impl ChangeKind {
    /// The name stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Status => "status",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "budget" => Some(Self::Budget),
            "status" => Some(Self::Status),
            _ => None,
        }
    }
}

/// Where a change is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeState {
    /// A person has yet to say yes.
    AwaitingApproval,
    /// Waits for its time.
    Pending,
    /// An executor holds it and has not decided yet.
    Claimed,
    /// The intent to send is committed; Meta may or may not have heard it.
    Executing,
    /// Set, and read back.
    Completed,
    /// Meta refused it, or it could not be settled.
    Failed,
    /// Overtaken by a person's edit or by a newer change.
    Cancelled,
    /// A person said no.
    Rejected,
    /// A guard refused it, and waiting cannot satisfy the guard.
    Refused,
    /// Nobody approved it in time.
    Expired,
}

impl ChangeState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::AwaitingApproval,
        Self::Pending,
        Self::Claimed,
        Self::Executing,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Rejected,
        Self::Refused,
        Self::Expired,
    ];

    /// The name stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "awaiting_approval",
            Self::Pending => "pending",
            Self::Claimed => "claimed",
            Self::Executing => "executing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Expired => "expired",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether the change can still come to something.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::AwaitingApproval | Self::Pending | Self::Claimed | Self::Executing
        )
    }

    /// Whether a change may move from this state to `next`.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::AwaitingApproval => matches!(
                next,
                Self::Pending | Self::Cancelled | Self::Rejected | Self::Refused | Self::Expired
            ),
            Self::Pending => {
                matches!(
                    next,
                    Self::Claimed | Self::Cancelled | Self::Rejected | Self::Refused
                )
            }
            Self::Claimed => matches!(
                next,
                Self::Pending
                    | Self::Executing
                    | Self::Cancelled
                    | Self::Rejected
                    | Self::Refused
                    | Self::Failed
                    | Self::Completed // the value is in force already
            ),
            Self::Executing => {
                matches!(
                    next,
                    Self::Completed | Self::Failed | Self::Pending | Self::Cancelled
                )
            }
            Self::Completed
            | Self::Failed
            | Self::Cancelled
            | Self::Rejected
            | Self::Refused
            | Self::Expired => false,
        }
    }
}

impl fmt::Display for ChangeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who asked for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A decision of the policy.
    Decision(DecisionId),
    /// A person, undoing a change.
    Undo(ChangeId),
}

/// A change as it is proposed.
#[derive(Debug, Clone, PartialEq)]
pub struct ProposedChange {
    /// Its id.
    pub id: ChangeId,
    /// The tenant.
    pub tenant: TenantId,
    /// The object to change.
    pub entity: EntityRef,
    /// The object's name, for people.
    pub entity_name: String,
    /// The campaign whose hourly actions it counts toward.
    pub campaign: CampaignId,
    /// The value in force when it was proposed; another value at execution means that somebody
    /// else changed it, and the change is cancelled.
    pub expected: Target,
    /// The value to set.
    pub requested: Target,
    /// Why, in a sentence.
    pub reason: String,
    /// Who asked.
    pub origin: Origin,
    /// How sure the decision is, 0 to 1.
    pub confidence: f64,
    /// Whether a person must approve it first.
    pub needs_approval: bool,
    /// Its rank within its plan: lower goes first (decreases before increases).
    pub rank: i64,
    /// Not before this time.
    pub earliest_at: Timestamp,
    /// An unapproved or unexecuted change lapses then.
    pub expires_at: Timestamp,
    /// When it was proposed.
    pub proposed_at: Timestamp,
}

/// A change as it stands in the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingChange {
    /// What was proposed.
    pub proposed: ProposedChange,
    /// Where it is.
    pub state: ChangeState,
    /// Times it was claimed for real work; also the fencing token of its present claim.
    pub attempt: i64,
    /// The last thing that happened to it, in words.
    pub note: String,
    /// The guard that last held it back or refused it.
    pub rule: Option<String>,
    /// The value committed for sending, once executing.
    pub intent: Option<Target>,
    /// When it last moved.
    pub updated_at: Timestamp,
}

/// A budget that an object held from a point in time on: what the velocity guard looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetMove {
    /// The object.
    pub entity: EntityRef,
    /// Its campaign.
    pub campaign: CampaignId,
    /// When the budget came into force.
    pub at: Timestamp,
    /// The budget before.
    pub from: Money,
    /// The budget after.
    pub to: Money,
    /// Whether roasd made it (a person's move counts for velocity as well).
    pub is_ours: bool,
}

/// An action of ours on an object, for the guards that count actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastAction {
    /// The object.
    pub entity: EntityRef,
    /// Its campaign.
    pub campaign: CampaignId,
    /// When it was sent.
    pub at: Timestamp,
    /// What it set.
    pub target: Target,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_round_trip() {
        for state in ChangeState::ALL {
            assert_eq!(ChangeState::parse(state.as_str()), Some(state));
        }
    }

    #[test]
    fn a_closed_change_stays_closed() {
        for from in ChangeState::ALL.into_iter().filter(|s| !s.is_open()) {
            assert!(
                ChangeState::ALL.into_iter().all(|to| !from.may_become(to)),
                "{from}"
            );
        }
    }

    #[test]
    fn nothing_is_sent_without_a_claim_and_nothing_sent_is_forgotten() {
        for from in ChangeState::ALL {
            let may = from.may_become(ChangeState::Executing);
            assert_eq!(may, from == ChangeState::Claimed, "{from}");
        }
        assert!(!ChangeState::Executing.may_become(ChangeState::Refused));
        assert!(!ChangeState::Executing.may_become(ChangeState::Expired));
    }
}
