//! A change to the ad account, from proposal to audit, and the only legal moves between its states.
//!
//! ```text
//! (awaiting_approval) → pending → claimed → executing → completed | failed
//!                          └─ held back ─┘      └─ no answer → read back → completed | pending
//! cancelled, rejected, refused, expired: from any state before executing
//! ```

use std::fmt;

use super::autonomy::{ActionKind, Autonomy, AutonomyRules, TrackRecord};
use super::ids::{CampaignId, ChangeId, DecisionId, TenantId};
use super::money::Money;
use super::structure::{EntityRef, RunStatus};
use super::time::{self, SignedDuration, Timestamp};

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
                    Self::Claimed
                        | Self::Cancelled
                        | Self::Rejected
                        | Self::Refused
                        | Self::Expired
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
                    | Self::Expired
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
    /// A person, stopping all spend: it is sent while the tenant is paused, and nothing else is.
    Stop,
}

impl Origin {
    /// Whether a person asked for it.
    #[must_use]
    pub const fn is_person(&self) -> bool {
        matches!(self, Self::Undo(_) | Self::Stop)
    }
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

/// For how long an undo stands open before it lapses.
pub const UNDO_LIFE: SignedDuration = time::days(7);

/// What a change does: the kind of action that autonomy is granted for.
#[must_use]
pub const fn action_kind(expected: Target, requested: Target) -> ActionKind {
    match (expected, requested) {
        (Target::DailyBudget(from), Target::DailyBudget(to)) => {
            if to.minor() > from.minor() {
                ActionKind::Raise
            } else {
                ActionKind::Cut
            }
        }
        (_, Target::Status(RunStatus::Active)) => ActionKind::Resume,
        (_, Target::Status(_)) => ActionKind::Pause,
        // A budget where none was: as grave as a raise.
        (Target::Status(_), Target::DailyBudget(_)) => ActionKind::Raise,
    }
}

/// The state in which the policy's change enters the queue; `None` when the tenant only observes
/// this kind of action, so that the decision is recorded and nothing is queued.
#[must_use]
pub const fn initial_state(rules: &AutonomyRules, kind: ActionKind) -> Option<ChangeState> {
    match rules.for_action(kind) {
        Autonomy::Observe => None,
        Autonomy::Approve => Some(ChangeState::AwaitingApproval),
        Autonomy::Auto => Some(ChangeState::Pending),
    }
}

/// How a person decided since `since` on changes of this kind that waited for them. What nobody
/// decided, or what something newer overtook, says nothing.
#[must_use]
pub fn track_record(changes: &[PendingChange], kind: ActionKind, since: Timestamp) -> TrackRecord {
    let mut record = TrackRecord::default();
    let waited = changes.iter().filter(|change| {
        let proposed = &change.proposed;
        proposed.needs_approval
            && proposed.proposed_at >= since
            && action_kind(proposed.expected, proposed.requested) == kind
    });
    for change in waited {
        match change.state {
            ChangeState::Rejected => record.rejected += 1,
            // Only what was approved gets this far.
            ChangeState::Pending
            | ChangeState::Claimed
            | ChangeState::Executing
            | ChangeState::Completed
            | ChangeState::Failed
            | ChangeState::Refused => record.approved += 1,
            ChangeState::AwaitingApproval | ChangeState::Cancelled | ChangeState::Expired => {}
        }
    }
    record
}

/// Why a change cannot be undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotUndo {
    /// Nothing was set.
    #[error("change {change} is {state}; only a completed change can be undone")]
    NotCompleted {
        /// The change.
        change: ChangeId,
        /// Its state.
        state: ChangeState,
    },
    /// It was in force before.
    #[error("change {0} changed nothing: its value was in force already")]
    ChangedNothing(ChangeId),
}

/// The change that restores the value before `change`. It goes through the same gate and guards;
/// that a person asked for it exempts it from approval and from doubts about the data only.
///
/// # Errors
/// When `change` set nothing that could be restored.
pub fn undo_of(
    change: &PendingChange,
    id: ChangeId,
    now: Timestamp,
) -> Result<ProposedChange, CannotUndo> {
    let done = &change.proposed;
    if change.state != ChangeState::Completed {
        return Err(CannotUndo::NotCompleted {
            change: done.id.clone(),
            state: change.state,
        });
    }
    // What was sent may have been clipped: the intent is what is in force.
    let in_force = change.intent.unwrap_or(done.requested);
    if change.intent.is_none() || in_force == done.expected {
        return Err(CannotUndo::ChangedNothing(done.id.clone()));
    }
    Ok(ProposedChange {
        id,
        tenant: done.tenant.clone(),
        entity: done.entity.clone(),
        entity_name: done.entity_name.clone(),
        campaign: done.campaign.clone(),
        expected: in_force,
        requested: done.expected,
        reason: format!("undo of change {}: back to {}", done.id, done.expected),
        origin: Origin::Undo(done.id.clone()),
        confidence: 1.0,
        needs_approval: false,
        rank: 0,
        earliest_at: now,
        expires_at: time::add(now, UNDO_LIFE),
        proposed_at: now,
    })
}

/// What a newer proposal does to an open change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supersede {
    /// They do not concern the same object and kind: both stand.
    Unrelated,
    /// The open change is cancelled and the newer one takes its place.
    Replace,
    /// The open change stands and the newer one is dropped, for this reason.
    Keep(&'static str),
}

/// Says what a newer proposal does to an open change: one change per object and kind is open.
#[must_use]
pub fn supersede(open: &PendingChange, newer: &ProposedChange) -> Supersede {
    let old = &open.proposed;
    let same = old.tenant == newer.tenant
        && old.entity == newer.entity
        && old.requested.kind() == newer.requested.kind();
    if !same || !open.state.is_open() {
        return Supersede::Unrelated;
    }
    if matches!(open.state, ChangeState::Claimed | ChangeState::Executing) {
        return Supersede::Keep("the open change is being executed");
    }
    if old.origin.is_person() && !newer.origin.is_person() {
        return Supersede::Keep("a person asked for the open change");
    }
    if old.requested == newer.requested && old.expected == newer.expected {
        return Supersede::Keep("the open change asks for the same");
    }
    Supersede::Replace
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::*;
    use crate::domain::ids::{AdAccountId, AdSetId};
    use crate::domain::money::Currency;
    use crate::domain::structure::{
        Account, AccountStatus, AdSet, Budget, Campaign, EffectiveStatus, Structure,
    };

    pub(crate) fn usd(main: i64) -> Target {
        Target::DailyBudget(Money::from_minor(main * 100, Currency::USD))
    }

    /// A change of ad set 5 that was sent and completed.
    pub(crate) fn completed(id: &str, expected: Target, requested: Target) -> PendingChange {
        let at = time::from_seconds(1_790_000_000);
        PendingChange {
            proposed: ProposedChange {
                id: ChangeId::new(id).unwrap(),
                tenant: TenantId::new("gym").unwrap(),
                entity: EntityRef::AdSet(AdSetId::new("5").unwrap()),
                entity_name: "Women 25-45".into(),
                campaign: CampaignId::new("1").unwrap(),
                expected,
                requested,
                reason: "it earns more".into(),
                origin: Origin::Decision(DecisionId::new("d1").unwrap()),
                confidence: 0.7,
                needs_approval: false,
                rank: 0,
                earliest_at: at,
                expires_at: time::add(at, time::days(1)),
                proposed_at: at,
            },
            state: ChangeState::Completed,
            attempt: 1,
            note: String::new(),
            rule: None,
            intent: Some(requested),
            updated_at: at,
        }
    }

    /// An account of campaign 1 and ad set 5, with this budget in main units.
    pub(crate) fn account(budget: i64, status: RunStatus) -> Structure {
        let at = time::from_seconds(1_780_000_000);
        let effective = EffectiveStatus("ACTIVE".into());
        let (campaign, set) = (CampaignId::new("1").unwrap(), AdSetId::new("5").unwrap());
        Structure {
            account: Account {
                id: AdAccountId::new("act_1").unwrap(),
                name: "Gym".into(),
                status: AccountStatus::Active,
                currency: Currency::USD,
                time_zone_name: "UTC".into(),
                min_daily_budget: None,
            },
            campaigns: [(
                campaign.clone(),
                Campaign {
                    id: campaign.clone(),
                    name: "Leads".into(),
                    status: RunStatus::Active,
                    effective: effective.clone(),
                    budget: Budget::None,
                    objective: "OUTCOME_LEADS".into(),
                    shares_budgets: false,
                    has_budget_schedule: false,
                    smart_promotion: None,
                    created_at: at,
                    updated_at: at,
                },
            )]
            .into(),
            ad_sets: [(
                set.clone(),
                AdSet {
                    id: set,
                    campaign,
                    name: "Women 25-45".into(),
                    status,
                    effective,
                    budget: Budget::Daily(Money::from_minor(budget * 100, Currency::USD)),
                    learning: None,
                    created_at: at,
                    updated_at: at,
                },
            )]
            .into(),
            ads: [].into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::AdSetId;
    use crate::domain::money::Currency;

    fn usd(main: i64) -> Target {
        Target::DailyBudget(Money::from_minor(main * 100, Currency::USD))
    }

    fn change(expected: Target, requested: Target, state: ChangeState) -> PendingChange {
        let at = time::from_seconds(1_790_000_000);
        PendingChange {
            proposed: ProposedChange {
                id: ChangeId::new("c1").unwrap(),
                tenant: TenantId::new("gym").unwrap(),
                entity: EntityRef::AdSet(AdSetId::new("5").unwrap()),
                entity_name: "Women 25-45".into(),
                campaign: CampaignId::new("1").unwrap(),
                expected,
                requested,
                reason: "it earns more".into(),
                origin: Origin::Decision(DecisionId::new("d1").unwrap()),
                confidence: 0.7,
                needs_approval: false,
                rank: 0,
                earliest_at: at,
                expires_at: time::add(at, time::days(1)),
                proposed_at: at,
            },
            state,
            attempt: 1,
            note: String::new(),
            rule: None,
            intent: Some(requested),
            updated_at: at,
        }
    }

    #[test]
    fn an_undo_restores_the_value_before_from_the_value_that_was_sent() {
        let now = time::from_seconds(1_790_003_600);
        let mut done = change(usd(100), usd(120), ChangeState::Completed);
        done.intent = Some(usd(115)); // clipped by a guard
        let undo = undo_of(&done, ChangeId::new("c2").unwrap(), now).unwrap();
        assert_eq!((undo.expected, undo.requested), (usd(115), usd(100)));
        assert_eq!(undo.origin, Origin::Undo(ChangeId::new("c1").unwrap()));
        assert!(!undo.needs_approval);
        // And the undo can be undone.
        let mut undone = done.clone();
        (undone.state, undone.intent) = (ChangeState::Completed, Some(undo.requested));
        undone.proposed = undo;
        let redo = undo_of(&undone, ChangeId::new("c3").unwrap(), now).unwrap();
        assert_eq!((redo.expected, redo.requested), (usd(100), usd(115)));
    }

    #[test]
    fn only_what_was_set_can_be_undone() {
        let id = ChangeId::new("c2").unwrap();
        let now = time::from_seconds(0);
        for state in ChangeState::ALL {
            let undone = undo_of(&change(usd(1), usd(2), state), id.clone(), now).is_ok();
            assert_eq!(undone, state == ChangeState::Completed, "{state}");
        }
        let mut already = change(usd(1), usd(2), ChangeState::Completed);
        already.intent = None;
        assert!(undo_of(&already, id, now).is_err());
    }

    #[test]
    fn a_newer_decision_replaces_an_older_one_that_nobody_holds() {
        let newer = change(usd(100), usd(110), ChangeState::Pending).proposed;
        for state in ChangeState::ALL {
            let said = supersede(&change(usd(100), usd(120), state), &newer);
            match state {
                ChangeState::AwaitingApproval | ChangeState::Pending => {
                    assert_eq!(said, Supersede::Replace, "{state}");
                }
                ChangeState::Claimed | ChangeState::Executing => {
                    assert!(matches!(said, Supersede::Keep(_)), "{state}");
                }
                _ => assert_eq!(said, Supersede::Unrelated, "{state}"),
            }
        }
    }

    #[test]
    fn a_person_goes_before_the_policy_and_repeats_change_nothing() {
        let mut undo = change(usd(120), usd(100), ChangeState::Pending);
        undo.proposed.origin = Origin::Undo(ChangeId::new("c0").unwrap());
        let newer = change(usd(120), usd(130), ChangeState::Pending).proposed;
        assert!(matches!(supersede(&undo, &newer), Supersede::Keep(_)));
        let open = change(usd(120), usd(130), ChangeState::AwaitingApproval);
        assert!(matches!(supersede(&open, &newer), Supersede::Keep(_)));
        assert_eq!(supersede(&open, &undo.proposed), Supersede::Replace);
        let mut other = newer;
        other.requested = Target::Status(RunStatus::Paused);
        assert_eq!(supersede(&open, &other), Supersede::Unrelated);
    }

    #[test]
    fn a_track_record_counts_what_a_person_decided() {
        let waited = |state, requested| {
            let mut change = change(usd(100), requested, state);
            change.proposed.needs_approval = true;
            change
        };
        let mut all: Vec<PendingChange> = ChangeState::ALL
            .into_iter()
            .map(|state| waited(state, usd(120)))
            .collect();
        all.push(waited(ChangeState::Completed, usd(80)));
        all.push(change(usd(100), usd(120), ChangeState::Completed));
        let since = all[0].proposed.proposed_at;
        let record = track_record(&all, ActionKind::Raise, since);
        assert_eq!((record.approved, record.rejected), (6, 1));
        assert_eq!(track_record(&all, ActionKind::Cut, since).approved, 1);
        let later = time::add(since, time::seconds(1));
        assert_eq!(track_record(&all, ActionKind::Raise, later).decided(), 0);
    }

    #[test]
    fn autonomy_decides_where_a_change_enters() {
        let rules = AutonomyRules {
            pause: Autonomy::Auto,
            raise: Autonomy::Observe,
            ..AutonomyRules::uniform(Autonomy::Approve)
        };
        let paused = Target::Status(RunStatus::Paused);
        let active = Target::Status(RunStatus::Active);
        for (from, to, kind, state) in [
            (usd(1), usd(2), ActionKind::Raise, None),
            (
                usd(2),
                usd(1),
                ActionKind::Cut,
                Some(ChangeState::AwaitingApproval),
            ),
            (
                active,
                paused,
                ActionKind::Pause,
                Some(ChangeState::Pending),
            ),
            (
                paused,
                active,
                ActionKind::Resume,
                Some(ChangeState::AwaitingApproval),
            ),
        ] {
            assert_eq!(action_kind(from, to), kind);
            assert_eq!(initial_state(&rules, kind), state, "{kind}");
        }
    }

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
