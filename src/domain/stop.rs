//! Stopping all spend at Meta, and starting again only what was stopped.
//!
//! A stop pauses campaigns: that is one write for all below them, and leaves their own statuses as
//! they are, so that starting again brings back just what ran.

use super::change::{
    ChangeState, Origin, PendingChange, ProposedChange, Target, UNDO_LIFE, undo_of,
};
use super::ids::{ChangeId, TenantId};
use super::manage::Manage;
use super::structure::{EntityRef, HandsOff, RunStatus, Structure};
use super::time::{self, Timestamp};

/// What stopping an account takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Stops {
    /// A change for each campaign that may spend.
    pub changes: Vec<ProposedChange>,
    /// Campaigns that may spend and that roasd must not pause: by name, and why.
    pub left: Vec<(EntityRef, String, HandsOff)>,
}

/// The changes that stop everything that roasd may pause. `name` gives each an id of its own.
#[must_use]
pub fn stops(
    structure: &Structure,
    manage: &Manage,
    tenant: &TenantId,
    reason: &str,
    now: Timestamp,
    mut name: impl FnMut() -> ChangeId,
) -> Stops {
    let (mut changes, mut left) = (Vec::new(), Vec::new());
    let running = structure
        .campaigns
        .values()
        .filter(|campaign| campaign.status == RunStatus::Active);
    for campaign in running {
        let entity = EntityRef::Campaign(campaign.id.clone());
        if let Some(why) = manage.status_hands_off(structure, &entity) {
            left.push((entity, campaign.name.clone(), why));
            continue;
        }
        changes.push(ProposedChange {
            id: name(),
            tenant: tenant.clone(),
            entity,
            entity_name: campaign.name.clone(),
            campaign: campaign.id.clone(),
            expected: Target::Status(RunStatus::Active),
            requested: Target::Status(RunStatus::Paused),
            reason: reason.to_owned(),
            origin: Origin::Stop,
            confidence: 1.0,
            needs_approval: false,
            // Before anything else.
            rank: i64::MIN,
            earliest_at: now,
            expires_at: time::add(now, UNDO_LIFE),
            proposed_at: now,
        });
    }
    Stops { changes, left }
}

/// What starting again takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Restart {
    /// Changes that start what was stopped.
    pub changes: Vec<ProposedChange>,
    /// Stops that were not sent yet: they are withdrawn.
    pub withdrawn: Vec<ChangeId>,
    /// Stops that are being sent just now: they can be taken back when they are through.
    pub under_way: Vec<ChangeId>,
}

/// The changes that start again what stops have stopped and nobody has started since. What was paused
/// already when it was to be stopped stays paused.
#[must_use]
pub fn restart(
    changes: &[PendingChange],
    reason: &str,
    now: Timestamp,
    mut name: impl FnMut() -> ChangeId,
) -> Restart {
    let is_taken_back = |stop: &ChangeId| {
        changes.iter().any(|change| {
            change.proposed.origin == Origin::Undo(stop.clone())
                && (change.state.is_open() || change.state == ChangeState::Completed)
        })
    };
    let mut restart = Restart {
        changes: Vec::new(),
        withdrawn: Vec::new(),
        under_way: Vec::new(),
    };
    for stop in changes.iter().filter(|c| c.proposed.origin == Origin::Stop) {
        let id = &stop.proposed.id;
        match stop.state {
            ChangeState::AwaitingApproval | ChangeState::Pending => {
                restart.withdrawn.push(id.clone());
            }
            ChangeState::Claimed | ChangeState::Executing => restart.under_way.push(id.clone()),
            ChangeState::Completed if !is_taken_back(id) => {
                if let Ok(mut undo) = undo_of(stop, name(), now) {
                    undo.reason = reason.to_owned();
                    restart.changes.push(undo);
                }
            }
            ChangeState::Completed
            | ChangeState::Failed
            | ChangeState::Cancelled
            | ChangeState::Rejected
            | ChangeState::Refused
            | ChangeState::Expired => {}
        }
    }
    restart
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::tests_support::completed;

    fn named() -> impl FnMut() -> ChangeId {
        let mut n = 0;
        move || {
            n += 1;
            ChangeId::new(format!("new{n}")).unwrap()
        }
    }

    fn stop(id: &str, state: ChangeState) -> PendingChange {
        let (on, off) = (
            Target::Status(RunStatus::Active),
            Target::Status(RunStatus::Paused),
        );
        let mut change = completed(id, on, off);
        change.proposed.origin = Origin::Stop;
        change.state = state;
        change
    }

    #[test]
    fn only_what_was_stopped_starts_again_and_only_once() {
        let mut was_paused = stop("b", ChangeState::Completed);
        was_paused.intent = None;
        let mut taken_back = completed(
            "u",
            Target::Status(RunStatus::Paused),
            Target::Status(RunStatus::Active),
        );
        taken_back.proposed.origin = Origin::Undo(ChangeId::new("c").unwrap());
        let all = [
            stop("a", ChangeState::Completed),
            was_paused,
            stop("c", ChangeState::Completed),
            taken_back.clone(),
            stop("d", ChangeState::Pending),
            stop("e", ChangeState::Executing),
            stop("f", ChangeState::Cancelled),
        ];
        let now = time::from_seconds(1_790_009_000);
        let found = restart(&all, "resumed", now, named());
        let undone: Vec<_> = found.changes.iter().map(|c| c.origin.clone()).collect();
        assert_eq!(undone, [Origin::Undo(ChangeId::new("a").unwrap())]);
        assert_eq!(
            found.changes[0].requested,
            Target::Status(RunStatus::Active)
        );
        assert_eq!(found.withdrawn, [ChangeId::new("d").unwrap()]);
        assert_eq!(found.under_way, [ChangeId::new("e").unwrap()]);
        // A restart that failed is tried again.
        let mut failed = taken_back;
        failed.state = ChangeState::Failed;
        let again = restart(
            &[stop("c", ChangeState::Completed), failed],
            "",
            now,
            named(),
        );
        assert_eq!(again.changes.len(), 1);
    }
}
