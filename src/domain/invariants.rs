//! What must always hold, as named predicates over plain data: the simulation, the suites and the
//! tests of single parts ask the same questions.

use std::collections::{BTreeMap, BTreeSet};

use super::audit::{AuditEntry, AuditEvent};
use super::change::{BudgetMove, ChangeKind, ChangeState, PendingChange, Target};
use super::ids::{ChangeId, DealId, TenantId};
use super::limits::GuardLimits;
use super::money::Money;
use super::revenue::{EntryKind, RevenueEntry};
use super::safety::budget_bounds;
use super::structure::EntityRef;
use super::time::Timestamp;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} is violated: {what}")]
pub struct Violation {
    /// `INV-1` to `INV-7`.
    pub invariant: &'static str,
    /// What violates it.
    pub what: String,
}

fn violated<T>(invariant: &'static str, what: String) -> Result<T, Violation> {
    Err(Violation { invariant, what })
}

/// INV-1: a stage entry is valued once, expected and earned money apart.
///
/// # Errors
/// Names the entry that is there twice.
pub fn a_stage_entry_is_valued_once(entries: &[RevenueEntry]) -> Result<(), Violation> {
    let mut seen = BTreeSet::new();
    for entry in entries.iter().filter(|e| e.kind == EntryKind::Stage) {
        let ad = entry.credit.as_ref().map(|c| &c.ad);
        let key = (
            &entry.deal,
            &entry.stage,
            entry.occurred_at,
            entry.is_cash,
            ad,
        );
        if !seen.insert(key) {
            let what = format!(
                "deal {} entered {:?} at {} twice",
                entry.deal, entry.stage, entry.occurred_at
            );
            return violated("INV-1", what);
        }
    }
    Ok(())
}

/// INV-2: a deal's entries sum to its present stage's value.
///
/// # Errors
/// Names the deal and both amounts.
pub fn entries_sum_to_the_stage_value(
    entries: &[RevenueEntry],
    deal: &DealId,
    value: Money,
) -> Result<(), Violation> {
    let mut sum = Money::zero(value.currency());
    for entry in entries.iter().filter(|e| e.deal == *deal) {
        sum = match sum.checked_add(entry.amount) {
            Ok(sum) => sum,
            Err(error) => return violated("INV-2", format!("deal {deal}: {error}")),
        };
    }
    if sum == value {
        Ok(())
    } else {
        violated(
            "INV-2",
            format!("deal {deal} sums to {sum}, its stage is worth {value}"),
        )
    }
}

/// INV-3: one open change per ad object and kind.
///
/// # Errors
/// Names the object and the kind.
pub fn one_change_is_open_per_object_and_kind(changes: &[PendingChange]) -> Result<(), Violation> {
    let mut open: BTreeSet<(&TenantId, &EntityRef, ChangeKind)> = BTreeSet::new();
    for change in changes.iter().filter(|c| c.state.is_open()) {
        let proposed = &change.proposed;
        let kind = proposed.requested.kind();
        if !open.insert((&proposed.tenant, &proposed.entity, kind)) {
            let what = format!(
                "{} has two open changes of its {}",
                proposed.entity,
                kind.as_str()
            );
            return violated("INV-3", what);
        }
    }
    Ok(())
}

/// A value on its way to Meta, or the committed intent to send one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// The change.
    pub change: ChangeId,
    /// The object.
    pub entity: EntityRef,
    /// The value.
    pub target: Target,
    /// When it was committed or sent.
    pub at: Timestamp,
}

/// INV-4: no call without a committed intent to send that value.
///
/// # Errors
/// Names the call.
pub fn every_call_has_a_committed_intent(
    calls: &[Sending],
    intents: &[Sending],
) -> Result<(), Violation> {
    for call in calls {
        let meant = intents.iter().any(|intent| {
            intent.change == call.change
                && intent.entity == call.entity
                && intent.target == call.target
                && intent.at <= call.at
        });
        if !meant {
            let what = format!(
                "{} was set to {} without an intent",
                call.entity, call.target
            );
            return violated("INV-4", what);
        }
    }
    Ok(())
}

/// INV-5: no budget strays past the limit from any value it held within the window, however the
/// moves were cut up. Judged for our moves; a person's are history that ours are held against.
///
/// # Errors
/// Names the move.
pub fn budget_velocity_holds(moves: &[BudgetMove], limits: &GuardLimits) -> Result<(), Violation> {
    let mut sorted: Vec<&BudgetMove> = moves.iter().collect();
    sorted.sort_by_key(|m| m.at);
    for (i, m) in sorted.iter().enumerate().filter(|(_, m)| m.is_ours) {
        let before: Vec<BudgetMove> = sorted.iter().take(i).map(|m| (*m).clone()).collect();
        let bounds = budget_bounds(&before, &m.entity, m.from, limits, m.at);
        let (lo, hi) = (bounds.lo().minor(), bounds.hi().minor());
        let (from, to) = (m.from.minor(), m.to.minor());
        if (to > from && to > hi) || (to < from && to < lo) {
            let what = format!(
                "the budget of {} went from {} to {} at {}, outside of {lo} to {hi}",
                m.entity, m.from, m.to, m.at
            );
            return violated("INV-5", what);
        }
    }
    Ok(())
}

/// INV-6: a settled change has exactly one closing audit line, and an open one has none.
///
/// # Errors
/// Names the change.
pub fn settled_changes_are_closed_once(
    changes: &[PendingChange],
    audit: &[AuditEntry],
) -> Result<(), Violation> {
    let mut closings: BTreeMap<&ChangeId, Vec<AuditEvent>> = BTreeMap::new();
    for line in audit.iter().filter(|line| line.event.is_closing()) {
        if let Some(change) = &line.change {
            closings.entry(change).or_default().push(line.event);
        }
    }
    for change in changes {
        let id = &change.proposed.id;
        let lines = closings.get(id).map_or(&[][..], Vec::as_slice);
        let expected = closing_event(change.state);
        if lines != expected.as_slice() {
            let what = format!(
                "change {id} is {}, its closing lines are {lines:?}",
                change.state
            );
            return violated("INV-6", what);
        }
    }
    Ok(())
}

fn closing_event(state: ChangeState) -> Vec<AuditEvent> {
    match state {
        ChangeState::AwaitingApproval
        | ChangeState::Pending
        | ChangeState::Claimed
        | ChangeState::Executing => Vec::new(),
        ChangeState::Completed => vec![AuditEvent::Completed],
        ChangeState::Failed => vec![AuditEvent::Failed],
        ChangeState::Cancelled => vec![AuditEvent::Cancelled],
        ChangeState::Rejected => vec![AuditEvent::Rejected],
        ChangeState::Refused => vec![AuditEvent::Refused],
        ChangeState::Expired => vec![AuditEvent::Expired],
    }
}

/// INV-7: nothing of one tenant is read for another: pairs of who asked and whose it was.
///
/// # Errors
/// Names both tenants.
pub fn tenants_read_only_their_own<'a>(
    reads: impl IntoIterator<Item = (&'a TenantId, &'a TenantId)>,
) -> Result<(), Violation> {
    for (asked, owner) in reads {
        if asked != owner {
            return violated("INV-7", format!("{asked} was given what is {owner}'s"));
        }
    }
    Ok(())
}
