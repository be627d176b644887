//! Orders changes that belong together, so that however far a plan gets, the account never spends
//! more than before or than its cap: pauses, then cuts, then what returns, then raises.

use super::autonomy::ActionKind;
use super::change::{ProposedChange, Target, action_kind};
use super::money::{Currency, Money};

/// A set of changes in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The changes in order; `rank` is each one's place, from 0.
    pub steps: Vec<ProposedChange>,
    /// Raises for which there is no room under the cap even after every cut.
    pub left_out: Vec<ProposedChange>,
    /// The sum of deliverable daily budgets once all steps are done.
    pub total_after: Money,
}

/// Orders `changes` to an account whose deliverable daily budgets sum to `total`.
///
/// Within a kind the order is that of the ranks given, then of the objects. A raise that does not
/// fit under `cap` is left out whole; those after it may still fit. Above the cap nothing is raised.
/// A change in another currency than the cap's is left out.
#[must_use]
pub fn plan(mut changes: Vec<ProposedChange>, total: Money, cap: Money) -> Plan {
    changes.sort_by(|a, b| {
        (order(a), a.rank, &a.entity, &a.id).cmp(&(order(b), b.rank, &b.entity, &b.id))
    });
    let currency = cap.currency();
    let mut sum = total.minor();
    let (mut steps, mut left_out) = (Vec::new(), Vec::new());
    for mut change in changes {
        let Some(by) = difference(&change, currency) else {
            left_out.push(change);
            continue;
        };
        let after = sum.saturating_add(by);
        if by > 0 && (total.currency() != currency || after > cap.minor()) {
            left_out.push(change);
            continue;
        }
        sum = after;
        change.rank = i64::try_from(steps.len()).unwrap_or(i64::MAX);
        steps.push(change);
    }
    Plan {
        steps,
        left_out,
        total_after: Money::from_minor(sum, total.currency()),
    }
}

const fn order(change: &ProposedChange) -> u8 {
    match action_kind(change.expected, change.requested) {
        ActionKind::Pause => 0,
        ActionKind::Cut => 1,
        ActionKind::Resume => 2,
        ActionKind::Raise => 3,
    }
}

/// By how much a change moves the sum of budgets; a status moves none that is known here. `None`
/// when it is in another currency.
fn difference(change: &ProposedChange, currency: Currency) -> Option<i64> {
    match (change.expected, change.requested) {
        (Target::DailyBudget(from), Target::DailyBudget(to)) => (from.currency() == currency
            && to.currency() == currency)
            .then(|| to.minor().saturating_sub(from.minor())),
        (Target::Status(_), Target::DailyBudget(to)) => {
            (to.currency() == currency).then(|| to.minor())
        }
        (_, Target::Status(_)) => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::Origin;
    use crate::domain::ids::{AdId, AdSetId, CampaignId, ChangeId, DecisionId, TenantId};
    use crate::domain::structure::{EntityRef, RunStatus};
    use crate::domain::time;
    use proptest::prelude::*;

    fn usd(minor: i64) -> Money {
        Money::from_minor(minor, Currency::USD)
    }

    fn change(n: usize, expected: Target, requested: Target) -> ProposedChange {
        let at = time::from_seconds(0);
        let entity = match requested {
            Target::DailyBudget(_) => EntityRef::AdSet(AdSetId::new(format!("{n:03}")).unwrap()),
            Target::Status(_) => EntityRef::Ad(AdId::new(format!("{n:03}")).unwrap()),
        };
        ProposedChange {
            id: ChangeId::new(format!("c{n}")).unwrap(),
            tenant: TenantId::new("gym").unwrap(),
            entity,
            entity_name: String::new(),
            campaign: CampaignId::new("1").unwrap(),
            expected,
            requested,
            reason: String::new(),
            origin: Origin::Decision(DecisionId::new("d").unwrap()),
            confidence: 0.5,
            needs_approval: false,
            rank: 0,
            earliest_at: at,
            expires_at: at,
            proposed_at: at,
        }
    }

    fn budget(n: usize, from: i64, to: i64) -> ProposedChange {
        change(
            n,
            Target::DailyBudget(usd(from)),
            Target::DailyBudget(usd(to)),
        )
    }

    fn ids(changes: &[ProposedChange]) -> Vec<&str> {
        changes.iter().map(|c| c.id.as_str()).collect()
    }

    #[test]
    fn money_is_freed_before_it_is_given() {
        let (on, off) = (
            Target::Status(RunStatus::Active),
            Target::Status(RunStatus::Paused),
        );
        let p = plan(
            vec![
                budget(1, 100, 120),
                change(2, off, on),
                budget(3, 100, 80),
                change(4, on, off),
            ],
            usd(200),
            usd(200),
        );
        assert_eq!(ids(&p.steps), ["c4", "c3", "c2", "c1"]);
        assert_eq!(
            p.steps.iter().map(|c| c.rank).collect::<Vec<_>>(),
            [0, 1, 2, 3]
        );
        assert_eq!(p.total_after, usd(200));
    }

    #[test]
    fn a_raise_without_room_is_left_out() {
        let p = plan(
            vec![budget(1, 100, 150), budget(2, 100, 120)],
            usd(200),
            usd(230),
        );
        assert_eq!((ids(&p.steps), ids(&p.left_out)), (vec!["c2"], vec!["c1"]));
        let over = plan(
            vec![budget(1, 100, 101), budget(2, 100, 90)],
            usd(400),
            usd(300),
        );
        assert_eq!(
            (ids(&over.steps), ids(&over.left_out)),
            (vec!["c2"], vec!["c1"])
        );
        let euros = plan(
            vec![budget(1, 100, 101)],
            usd(100),
            Money::from_minor(900, Currency::EUR),
        );
        assert!(euros.steps.is_empty());
    }

    proptest! {
        #[test]
        fn however_far_a_plan_gets_it_stays_under_the_cap_or_below_where_it_was(
            moves in proptest::collection::vec((1i64..1_000, 1i64..1_000), 0..20),
            cap in 0i64..20_000,
        ) {
            let total: i64 = moves.iter().map(|m| m.0).sum();
            let changes = moves.iter().enumerate().map(|(n, m)| budget(n, m.0, m.1)).collect();
            let p = plan(changes, usd(total), usd(cap));
            prop_assert_eq!(p.steps.len() + p.left_out.len(), moves.len());
            let mut sum = total;
            for step in &p.steps {
                sum += difference(step, Currency::USD).unwrap();
                prop_assert!(sum <= cap.max(total), "{} at {}", sum, step.id);
            }
            prop_assert_eq!(p.total_after, usd(sum));
        }
    }
}
