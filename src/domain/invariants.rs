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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::attribution::{Credit, Method};
    use crate::domain::change::{Origin, ProposedChange};
    use crate::domain::ids::{AdId, AdSetId, CampaignId, DecisionId, StageName};
    use crate::domain::limits::{BreakerLimits, DurationRange, QualityLimits};
    use crate::domain::money::{Currency, Percentage};
    use crate::domain::safety::Calendar;
    use crate::domain::structure::RunStatus;
    use crate::domain::time;

    fn usd(minor: i64) -> Money {
        Money::from_minor(minor, Currency::USD)
    }

    fn at(hours: i64) -> Timestamp {
        time::from_seconds(1_790_000_000 + hours * 3_600)
    }

    /// The predicate holds for the good data and names itself for the bad.
    fn check(number: &str, good: Result<(), Violation>, bad: Result<(), Violation>) {
        assert_eq!(good, Ok(()), "{number}");
        assert_eq!(bad.unwrap_err().invariant, number);
    }

    fn entry(minor: i64, hours: i64, is_cash: bool) -> RevenueEntry {
        RevenueEntry {
            deal: DealId::new("d").unwrap(),
            credit: Some(Credit {
                ad: AdId::new("1").unwrap(),
                ad_set: None,
                campaign: None,
            }),
            method: Some(Method::UrlParam),
            confidence: 1.0,
            kind: EntryKind::Stage,
            stage: Some(StageName::new("show_up").unwrap()),
            amount: usd(minor),
            is_cash,
            occurred_at: at(hours),
        }
    }

    fn change(id: &str, object: &str, state: ChangeState) -> PendingChange {
        PendingChange {
            proposed: ProposedChange {
                id: ChangeId::new(id).unwrap(),
                tenant: TenantId::new("gym").unwrap(),
                entity: EntityRef::AdSet(AdSetId::new(object).unwrap()),
                entity_name: String::new(),
                campaign: CampaignId::new("1").unwrap(),
                expected: Target::DailyBudget(usd(100)),
                requested: Target::DailyBudget(usd(120)),
                reason: String::new(),
                origin: Origin::Decision(DecisionId::new("d").unwrap()),
                confidence: 1.0,
                needs_approval: false,
                rank: 0,
                earliest_at: at(0),
                expires_at: at(9),
                proposed_at: at(0),
            },
            state,
            attempt: 1,
            note: String::new(),
            rule: None,
            intent: None,
            updated_at: at(0),
        }
    }

    #[test]
    fn inv_1_sees_a_stage_that_was_valued_twice() {
        let good = [entry(5, 1, false), entry(5, 1, true), entry(5, 2, false)];
        let bad = [entry(5, 1, false), entry(7, 1, false)];
        check(
            "INV-1",
            a_stage_entry_is_valued_once(&good),
            a_stage_entry_is_valued_once(&bad),
        );
    }

    #[test]
    fn inv_2_sees_a_sum_that_is_not_the_value() {
        let entries = [entry(225_000, 1, false), entry(675_000, 2, false)];
        let deal = DealId::new("d").unwrap();
        check(
            "INV-2",
            entries_sum_to_the_stage_value(&entries, &deal, usd(900_000)),
            entries_sum_to_the_stage_value(&entries, &deal, usd(900_001)),
        );
        let euros = Money::from_minor(900_000, Currency::EUR);
        assert!(entries_sum_to_the_stage_value(&entries, &deal, euros).is_err());
    }

    #[test]
    fn inv_3_sees_a_second_open_change() {
        let one = change("a", "1", ChangeState::Pending);
        let mut status = change("b", "1", ChangeState::Executing);
        status.proposed.requested = Target::Status(RunStatus::Paused);
        let closed = change("c", "1", ChangeState::Completed);
        let other = change("d", "2", ChangeState::Claimed);
        let second = change("e", "1", ChangeState::AwaitingApproval);
        check(
            "INV-3",
            one_change_is_open_per_object_and_kind(&[one.clone(), status, closed, other]),
            one_change_is_open_per_object_and_kind(&[one, second]),
        );
    }

    #[test]
    fn inv_4_sees_a_call_nobody_meant() {
        let sending = |minor, hours| Sending {
            change: ChangeId::new("a").unwrap(),
            entity: EntityRef::AdSet(AdSetId::new("1").unwrap()),
            target: Target::DailyBudget(usd(minor)),
            at: at(hours),
        };
        let intents = [sending(120, 1)];
        check(
            "INV-4",
            every_call_has_a_committed_intent(&[sending(120, 1), sending(120, 2)], &intents),
            every_call_has_a_committed_intent(&[sending(121, 2)], &intents),
        );
        assert!(every_call_has_a_committed_intent(&[sending(120, 0)], &intents).is_err());
    }

    fn limits() -> GuardLimits {
        let share = |f| Percentage::from_fraction(f).unwrap();
        GuardLimits {
            daily_cap: usd(100_000),
            min_per_ad_set: usd(1),
            max_per_ad_set: None,
            max_per_campaign: None,
            max_spend_per_day: None,
            max_spend_per_week: None,
            max_change: share(0.2),
            velocity_window: time::hours(6),
            max_raise_per_day: share(0.3),
            max_cut_per_day: share(0.3),
            min_change: share(0.01),
            fuzz: share(0.0),
            actions_per_campaign_per_hour: 15,
            changes_per_ad_set_per_day: 9,
            changes_per_day: 200,
            kills_per_day: 9,
            may_pause_last_ad: false,
            significant_edit_quiet: time::hours(24),
            human_edit_quiet: time::hours(1),
            ask_before_raise: false,
            jitter: DurationRange::ZERO,
            read_jitter: DurationRange::ZERO,
            quality: QualityLimits {
                max_insight_age: time::hours(1),
                max_crm_age: time::hours(1),
                min_coverage: share(0.0),
                coverage_window: time::days(1),
                coverage_min_conversions: 1,
                silence_window: time::days(1),
                silence_expected: 1.0,
            },
            calendar: Calendar::default(),
            breakers: BreakerLimits {
                spend_rate: 3.0,
                spend_window: time::hours(3),
                spend_least: Percentage::from_fraction(0.10).unwrap(),
                cost_jump: 4.0,
                cost_window: time::hours(48),
                cost_leads: 12.0,
                errors: 5,
                error_window: time::hours(1),
                hold: time::hours(6),
            },
        }
    }

    #[test]
    fn inv_5_sees_a_jump_however_it_is_cut_up() {
        let step = |hours, from, to, is_ours| BudgetMove {
            entity: EntityRef::AdSet(AdSetId::new("1").unwrap()),
            campaign: CampaignId::new("1").unwrap(),
            at: at(hours),
            from: usd(from),
            to: usd(to),
            is_ours,
        };
        let holds = |moves: &[BudgetMove]| budget_velocity_holds(moves, &limits());
        check(
            "INV-5",
            holds(&[step(0, 1_000, 1_100, true), step(1, 1_100, 1_200, true)]),
            holds(&[step(0, 1_000, 1_100, true), step(1, 1_100, 1_210, true)]),
        );
        check(
            "INV-5",
            holds(&[step(0, 1_000, 1_200, true), step(7, 1_200, 1_300, true)]),
            holds(&[step(0, 1_000, 1_200, true), step(7, 1_200, 1_310, true)]),
        );
        check(
            "INV-5",
            holds(&[step(0, 1_000, 800, true)]),
            holds(&[step(0, 1_000, 799, true)]),
        );
        // A person may jump; what follows is held against it.
        check(
            "INV-5",
            holds(&[step(0, 1_000, 3_000, false), step(1, 3_000, 2_400, true)]),
            holds(&[step(0, 1_000, 3_000, false), step(1, 3_000, 3_100, true)]),
        );
    }

    #[test]
    fn inv_6_sees_a_missing_a_double_and_a_wrong_closing_line() {
        let line = |event| AuditEntry {
            tenant: TenantId::new("gym").unwrap(),
            at: at(1),
            event,
            actor: "roasd".into(),
            change: Some(ChangeId::new("a").unwrap()),
            entity: None,
            campaign: None,
            before: None,
            after: None,
            rule: None,
            detail: String::new(),
            vendor_request: None,
        };
        let done = [change("a", "1", ChangeState::Completed)];
        let holds = |audit: &[AuditEntry]| settled_changes_are_closed_once(&done, audit);
        let lines = [line(AuditEvent::Executing), line(AuditEvent::Completed)];
        check("INV-6", holds(&lines), holds(&lines[..1]));
        assert!(holds(&[line(AuditEvent::Completed), line(AuditEvent::Completed)]).is_err());
        assert!(holds(&[line(AuditEvent::Failed)]).is_err());
        let open = [change("a", "1", ChangeState::Executing)];
        assert!(settled_changes_are_closed_once(&open, &lines[..1]).is_ok());
        assert!(settled_changes_are_closed_once(&open, &lines).is_err());
    }

    #[test]
    fn inv_7_sees_another_tenants_row() {
        let (gym, spa) = (TenantId::new("gym").unwrap(), TenantId::new("spa").unwrap());
        check(
            "INV-7",
            tenants_read_only_their_own([(&gym, &gym), (&spa, &spa)]),
            tenants_read_only_their_own([(&gym, &gym), (&gym, &spa)]),
        );
    }
}
