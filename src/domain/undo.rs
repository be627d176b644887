//! Taking a tenant back to a time: for every object that roasd has changed since, one change to the
//! value it had then.

use std::collections::BTreeMap;

use super::change::{
    ChangeKind, ChangeState, Origin, PendingChange, ProposedChange, Target, UNDO_LIFE,
};
use super::ids::ChangeId;
use super::structure::{Budget, EntityRef, Structure};
use super::time::{self, Timestamp};

/// What taking a tenant back comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct BackTo {
    /// A change for each object that is to get an earlier value back.
    pub changes: Vec<ProposedChange>,
    /// Changes that cannot be taken back, and why.
    pub cannot: Vec<(PendingChange, String)>,
    /// Objects that were changed and have their value of then already.
    pub as_then: usize,
}

/// The changes that give every object the value it had at `to`, by what roasd completed since. What
/// somebody else has set since is theirs and stays. `name` gives each change an id of its own.
#[must_use]
pub fn back_to(
    changes: &[PendingChange],
    structure: &Structure,
    to: Timestamp,
    now: Timestamp,
    mut name: impl FnMut() -> ChangeId,
) -> BackTo {
    let mut back = BackTo {
        changes: Vec::new(),
        cannot: Vec::new(),
        as_then: 0,
    };
    let mut by_object: BTreeMap<(&EntityRef, ChangeKind), Vec<&PendingChange>> = BTreeMap::new();
    for change in changes.iter().filter(|c| c.updated_at > to) {
        match change.state {
            ChangeState::Completed if change.intent.is_some() => {
                let kind = change.proposed.requested.kind();
                let key = (&change.proposed.entity, kind);
                by_object.entry(key).or_default().push(change);
            }
            ChangeState::Executing => {
                let why = "it is being sent just now; try again in a minute";
                back.cannot.push((change.clone(), why.to_owned()));
            }
            _ => {}
        }
    }
    for ((entity, kind), mut done) in by_object {
        done.sort_by_key(|c| (c.updated_at, c.proposed.proposed_at));
        let (Some(first), Some(last)) = (done.first(), done.last()) else {
            continue;
        };
        let then = first.proposed.expected;
        let ours = last.intent.unwrap_or(last.proposed.requested);
        if then == ours {
            back.as_then += 1;
            continue;
        }
        let is_let_alone = match kind {
            ChangeKind::Budget => structure.budget_hands_off(entity),
            ChangeKind::Status => structure.status_hands_off(entity),
        };
        if let Some(why) = is_let_alone {
            back.cannot.push(((*last).clone(), why.to_string()));
            continue;
        }
        match value(structure, entity, kind) {
            Some(found) if found == ours => {}
            Some(found) if found == then => {
                back.as_then += 1;
                continue;
            }
            Some(found) => {
                let why = format!("somebody has set it to {found} since, and theirs stays");
                back.cannot.push(((*last).clone(), why));
                continue;
            }
            None => {
                let why = "its value is not known".to_owned();
                back.cannot.push(((*last).clone(), why));
                continue;
            }
        }
        back.changes.push(ProposedChange {
            id: name(),
            expected: ours,
            requested: then,
            reason: format!("back to {then}, its value of {to:.0}"),
            origin: Origin::Undo(last.proposed.id.clone()),
            confidence: 1.0,
            needs_approval: false,
            rank: 0,
            earliest_at: now,
            expires_at: time::add(now, UNDO_LIFE),
            proposed_at: now,
            ..last.proposed.clone()
        });
    }
    back
}

fn value(structure: &Structure, entity: &EntityRef, kind: ChangeKind) -> Option<Target> {
    let (budget, _, status) = structure.settings(entity)?;
    match (kind, budget) {
        (ChangeKind::Status, _) => Some(Target::Status(status)),
        (ChangeKind::Budget, Budget::Daily(money)) => Some(Target::DailyBudget(money)),
        (ChangeKind::Budget, Budget::Lifetime(_) | Budget::None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::tests_support::{account, completed, usd};
    use crate::domain::structure::RunStatus;

    const T: i64 = 1_790_000_000;

    fn done(id: &str, at: i64, from: i64, to: i64) -> PendingChange {
        let mut change = completed(id, usd(from), usd(to));
        change.updated_at = time::from_seconds(T + at);
        change
    }

    fn go(changes: &[PendingChange], in_force: i64, to: i64) -> BackTo {
        let structure = account(in_force, RunStatus::Active);
        let now = time::from_seconds(T + 9_000);
        let mut n = 0;
        back_to(changes, &structure, time::from_seconds(T + to), now, || {
            n += 1;
            ChangeId::new(format!("new{n}")).unwrap()
        })
    }

    #[test]
    fn every_object_gets_the_value_of_then_in_one_change() {
        let all = [
            done("a", 10, 100, 120),
            done("c", 30, 130, 140),
            done("b", 20, 120, 130),
        ];
        let back = go(&all, 140, 5);
        assert_eq!((back.cannot.len(), back.as_then), (0, 0));
        let [one] = &back.changes[..] else {
            panic!("{back:?}")
        };
        assert_eq!((one.expected, one.requested), (usd(140), usd(100)));
        assert_eq!(one.origin, Origin::Undo(ChangeId::new("c").unwrap()));
        // Only what came after the time.
        let back = go(&all, 140, 10);
        assert_eq!(back.changes[0].requested, usd(120));
        assert_eq!(go(&all, 140, 30).changes, []);
        // There and back again.
        let round = [done("a", 10, 100, 120), done("b", 20, 120, 100)];
        assert_eq!(
            (go(&round, 100, 5).changes.len(), go(&round, 100, 5).as_then),
            (0, 1)
        );
    }

    #[test]
    fn what_cannot_be_taken_back_is_listed_with_its_reason() {
        let all = [done("a", 10, 100, 120)];
        let theirs = go(&all, 150, 5);
        assert_eq!(theirs.changes, []);
        assert!(theirs.cannot[0].1.contains("somebody"), "{theirs:?}");
        assert_eq!(go(&all, 100, 5).as_then, 1, "somebody took it back already");
        let mut sending = done("b", 10, 100, 120);
        sending.state = ChangeState::Executing;
        assert!(go(&[sending], 100, 5).cannot[0].1.contains("being sent"));
        let ended = account(120, RunStatus::Archived);
        let now = time::from_seconds(T + 9_000);
        let name = || ChangeId::new("n").unwrap();
        let back = back_to(&all, &ended, time::from_seconds(T), now, name);
        assert!(back.cannot[0].1.contains("archived"), "{back:?}");
        // Nothing was sent: nothing to take back.
        let mut already = done("a", 10, 100, 120);
        already.intent = None;
        assert_eq!(go(&[already], 120, 5).changes, []);
    }
}
