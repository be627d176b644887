use super::*;
use roasd::domain::audit::{AuditEvent, verify};
use roasd::domain::change::{ChangeState, PendingChange};
use roasd::domain::structure::RunStatus;
use roasd::store::changes::{ChangeFilter, ClaimedChange, Proposal, Settlement};
use roasd::store::tenants::Held;

async fn propose(db: &Db, id: &str, set: &str, minor: i64) -> Proposal {
    db.propose(&proposal(&acme(), id, set, minor), at(0))
        .await
        .unwrap()
}

async fn claim(db: &Db, s: i64) -> Option<ClaimedChange> {
    db.claim_change(&acme(), at(s), at(s + 60)).await.unwrap()
}

async fn find(db: &Db, id: &str) -> PendingChange {
    db.change(id).await.unwrap().unwrap()
}

async fn state(db: &Db, id: &str) -> ChangeState {
    find(db, id).await.state
}

async fn mark(db: &Db, id: &str, attempt: i64, s: i64) -> Result<(), StoreError> {
    db.mark_executing(
        &acme(),
        &change_id(id),
        attempt,
        budget(10_000),
        budget(12_000),
        at(s),
    )
    .await
}

async fn settle(db: &Db, id: &str, attempt: i64, how: &Settlement) -> Result<(), StoreError> {
    db.settle_change(&acme(), &change_id(id), attempt, how, at(50))
        .await
}

/// Proposes, claims and commits the intent.
pub(super) async fn executing(db: &Db, id: &str, set: &str) {
    assert_eq!(propose(db, id, set, 12_000).await, Proposal::Queued);
    let claimed = claim(db, 1).await.unwrap();
    assert_eq!(claimed.change.proposed.id, change_id(id));
    mark(db, id, 1, 2).await.unwrap();
}

pub(super) fn completed() -> Settlement {
    Settlement::Completed {
        before: budget(10_000),
        after: budget(12_000),
        was_sent: true,
        vendor_request: Some("trace".to_owned()),
        clipped_by: Some("velocity".to_owned()),
    }
}

fn deferred(counts: bool) -> Settlement {
    Settlement::Deferred {
        until: at(500),
        rule: "cadence".to_owned(),
        detail: "15 actions this hour".to_owned(),
        counts,
    }
}

fn refused() -> Settlement {
    Settlement::Refused {
        rule: "ceiling".to_owned(),
        detail: "above the cap".to_owned(),
    }
}

fn held() -> Held {
    Held {
        by: "cli".to_owned(),
        reason: "holiday".to_owned(),
        since: at(0),
    }
}

async fn events(db: &Db, id: &str) -> Vec<AuditEvent> {
    db.audit_of_change(&acme(), &change_id(id))
        .await
        .unwrap()
        .into_iter()
        .map(|line| line.entry.event)
        .collect()
}

pub(super) async fn a_change_reads_back_as_proposed(db: Db) {
    let proposed = ProposedChange {
        needs_approval: true,
        origin: Origin::Undo(change_id("old")),
        ..proposal(&acme(), "x", "s1", 12_000)
    };
    assert_eq!(
        db.propose(&proposed, at(3)).await.unwrap(),
        Proposal::Queued
    );
    let found = find(&db, "x").await;
    assert_eq!(found.proposed, proposed);
    assert_eq!(found.state, ChangeState::AwaitingApproval);
    assert_eq!((found.attempt, found.intent), (0, None));
    assert_eq!(found.updated_at, at(3));
}

pub(super) async fn a_status_change_reads_back_as_proposed(db: Db) {
    let proposed = ProposedChange {
        entity: EntityRef::Ad(ad("a1")),
        expected: Target::Status(RunStatus::Active),
        requested: Target::Status(RunStatus::Paused),
        ..proposal(&acme(), "x", "s1", 0)
    };
    db.propose(&proposed, at(0)).await.unwrap();
    assert_eq!(find(&db, "x").await.proposed, proposed);
}

pub(super) async fn one_change_is_open_per_object_and_kind(db: Db) {
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let db = db.clone();
            tokio::spawn(async move {
                let proposed = proposal(&acme(), &format!("x{n}"), "s1", 11_000 + n);
                db.propose(&proposed, at(0)).await.unwrap()
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let all = ChangeFilter {
        limit: 100,
        ..ChangeFilter::default()
    };
    let open = db.changes(&all).await.unwrap();
    assert_eq!(open.len(), 8);
    assert_eq!(open.iter().filter(|c| c.state.is_open()).count(), 1);
    // Another object and another kind are not in its way.
    assert_eq!(propose(&db, "y", "s2", 12_000).await, Proposal::Queued);
    let pause = ProposedChange {
        expected: Target::Status(RunStatus::Active),
        requested: Target::Status(RunStatus::Paused),
        ..proposal(&acme(), "z", "s1", 0)
    };
    assert_eq!(db.propose(&pause, at(0)).await.unwrap(), Proposal::Queued);
}

pub(super) async fn the_same_value_stays(db: Db) {
    propose(&db, "x", "s1", 12_000).await;
    let again = propose(&db, "y", "s1", 12_000).await;
    assert_eq!(again, Proposal::SameAsOpen(change_id("x")));
    assert_eq!(state(&db, "x").await, ChangeState::Pending);
    assert!(db.change("y").await.unwrap().is_none());
}

pub(super) async fn a_newer_value_supersedes(db: Db) {
    propose(&db, "x", "s1", 12_000).await;
    let newer = propose(&db, "y", "s1", 13_000).await;
    assert_eq!(newer, Proposal::Superseded(change_id("x")));
    assert_eq!(state(&db, "x").await, ChangeState::Cancelled);
    assert_eq!(state(&db, "y").await, ChangeState::Pending);
    assert_eq!(
        events(&db, "x").await,
        [AuditEvent::Proposed, AuditEvent::Cancelled]
    );
}

pub(super) async fn what_is_being_sent_is_not_superseded(db: Db) {
    executing(&db, "x", "s1").await;
    for minor in [12_000, 13_000] {
        let newer = propose(&db, "y", "s1", minor).await;
        assert_eq!(newer, Proposal::Busy(change_id("x")));
    }
    assert!(db.change("y").await.unwrap().is_none());
}

pub(super) async fn proposing_again_changes_nothing(db: Db) {
    executing(&db, "x", "s1").await;
    settle(&db, "x", 1, &completed()).await.unwrap();
    let again = propose(&db, "x", "s1", 12_000).await;
    assert_eq!(again, Proposal::SameAsOpen(change_id("x")));
    assert_eq!(state(&db, "x").await, ChangeState::Completed);
}

pub(super) async fn lowest_rank_goes_first_then_oldest(db: Db) {
    for (id, rank, proposed) in [("a", 2, 0), ("b", 1, 20), ("c", 1, 10)] {
        let change = ProposedChange {
            rank,
            proposed_at: at(proposed),
            ..proposal(&acme(), id, id, 12_000)
        };
        db.propose(&change, at(0)).await.unwrap();
    }
    let mut order = Vec::new();
    while let Some(claimed) = claim(&db, 30).await {
        order.push(claimed.change.proposed.id.to_string());
    }
    assert_eq!(order, ["c", "b", "a"]);
}

pub(super) async fn a_change_is_not_claimed_early(db: Db) {
    let later = ProposedChange {
        earliest_at: at(100),
        ..proposal(&acme(), "x", "s1", 12_000)
    };
    db.propose(&later, at(0)).await.unwrap();
    assert_eq!(claim(&db, 99).await, None);
    let claimed = claim(&db, 100).await.unwrap();
    assert_eq!(claimed.lease_until, at(160));
    assert_eq!(claimed.change.state, ChangeState::Claimed);
    assert_eq!(claimed.change.attempt, 1);
}

pub(super) async fn a_change_is_claimed_once_by_eight(db: Db) {
    for n in 0..20 {
        propose(&db, &format!("x{n}"), &format!("s{n}"), 12_000).await;
    }
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                while let Some(claimed) = claim(&db, 1).await {
                    mine.push(claimed.change.proposed.id.to_string());
                }
                mine
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all.sort();
    let found = all.len();
    all.dedup();
    assert_eq!((found, all.len()), (20, 20));
}

pub(super) async fn a_lapsed_claim_is_due_again_and_the_old_one_is_lost(db: Db) {
    propose(&db, "x", "s1", 12_000).await;
    let first = claim(&db, 0).await.unwrap();
    assert_eq!(claim(&db, 59).await, None);
    let second = claim(&db, 60).await.unwrap();
    assert_eq!((first.change.attempt, second.change.attempt), (1, 2));
    assert_lost(mark(&db, "x", 1, 61).await);
    assert_lost(settle(&db, "x", 1, &refused()).await);
    mark(&db, "x", 2, 61).await.unwrap();
}

pub(super) async fn an_executing_change_is_never_claimed(db: Db) {
    executing(&db, "x", "s1").await;
    assert_eq!(claim(&db, 80_000).await, None);
    assert_lost(mark(&db, "x", 1, 3).await);
    let found = find(&db, "x").await;
    assert_eq!(found.intent, Some(budget(12_000)));
    assert_eq!(db.executing_changes(&acme()).await.unwrap(), [found]);
}

async fn blocks_the_intent(db: &Db) {
    propose(db, "x", "s1", 12_000).await;
    claim(db, 1).await.unwrap();
}

pub(super) async fn a_pause_of_the_tenant_blocks_the_intent(db: Db) {
    blocks_the_intent(&db).await;
    assert!(db.pause(Some(&acme()), &held()).await.unwrap());
    assert_lost(mark(&db, "x", 1, 2).await);
    assert_eq!(state(&db, "x").await, ChangeState::Claimed);
    assert!(db.resume(Some(&acme()), "cli", at(3)).await.unwrap());
    mark(&db, "x", 1, 4).await.unwrap();
}

pub(super) async fn a_pause_of_the_daemon_blocks_the_intent(db: Db) {
    blocks_the_intent(&db).await;
    assert!(db.pause(None, &held()).await.unwrap());
    assert_lost(mark(&db, "x", 1, 2).await);
    assert!(db.resume(None, "cli", at(3)).await.unwrap());
    mark(&db, "x", 1, 4).await.unwrap();
}

pub(super) async fn a_suspension_blocks_the_intent(db: Db) {
    blocks_the_intent(&db).await;
    db.set_suspended(&acme(), Some(&held())).await.unwrap();
    assert_lost(mark(&db, "x", 1, 2).await);
    db.set_suspended(&acme(), None).await.unwrap();
    mark(&db, "x", 1, 4).await.unwrap();
}

pub(super) async fn a_completed_budget_is_our_move_and_known(db: Db) {
    let structure = entities::structure(10_000);
    db.record_structure(&acme(), &structure, at(0))
        .await
        .unwrap();
    executing(&db, "x", "s1").await;
    settle(&db, "x", 1, &completed()).await.unwrap();
    let moves = db.budget_moves(&acme(), at(0)).await.unwrap();
    assert_eq!(moves.len(), 1);
    assert!(moves[0].is_ours);
    assert_eq!((moves[0].from, moves[0].to), (usd(10_000), usd(12_000)));
    assert_eq!(moves[0].at, at(50));
    let (kept, _) = db.structure(&acme()).await.unwrap().unwrap();
    let set = kept.ad_sets.values().next().unwrap();
    assert_eq!(set.budget.daily(), Some(usd(12_000)));
    let found = find(&db, "x").await;
    assert_eq!(found.rule.as_deref(), Some("velocity"));
    assert_lost(settle(&db, "x", 1, &completed()).await);
}

pub(super) async fn what_was_in_force_already_is_not_our_move(db: Db) {
    let structure = entities::structure(10_000);
    db.record_structure(&acme(), &structure, at(0))
        .await
        .unwrap();
    propose(&db, "x", "s1", 12_000).await;
    claim(&db, 1).await.unwrap();
    let already = Settlement::Completed {
        before: budget(12_000),
        after: budget(12_000),
        was_sent: false,
        vendor_request: None,
        clipped_by: None,
    };
    settle(&db, "x", 1, &already).await.unwrap();
    assert_eq!(state(&db, "x").await, ChangeState::Completed);
    assert!(db.budget_moves(&acme(), at(0)).await.unwrap().is_empty());
    let found = entities::structure(12_000);
    let drift = db.record_structure(&acme(), &found, at(60)).await.unwrap();
    assert_eq!(drift.len(), 1, "somebody else set it");
}

pub(super) async fn a_deferred_change_is_pending_and_may_not_count(db: Db) {
    propose(&db, "x", "s1", 12_000).await;
    claim(&db, 1).await.unwrap();
    settle(&db, "x", 1, &deferred(false)).await.unwrap();
    let found = find(&db, "x").await;
    assert_eq!((found.state, found.attempt), (ChangeState::Pending, 0));
    assert_eq!(found.rule.as_deref(), Some("cadence"));
    assert_eq!(found.note, "15 actions this hour");
    assert_eq!(claim(&db, 499).await, None);
    assert_eq!(claim(&db, 500).await.unwrap().change.attempt, 1);
    settle(&db, "x", 1, &deferred(true)).await.unwrap();
    assert_eq!(claim(&db, 500).await.unwrap().change.attempt, 2);
}

pub(super) async fn a_refused_change_stays_refused(db: Db) {
    propose(&db, "x", "s1", 12_000).await;
    claim(&db, 1).await.unwrap();
    settle(&db, "x", 1, &refused()).await.unwrap();
    let found = find(&db, "x").await;
    assert_eq!(found.state, ChangeState::Refused);
    assert_eq!(found.rule.as_deref(), Some("ceiling"));
    assert_lost(settle(&db, "x", 1, &completed()).await);
    assert_eq!(claim(&db, 1_000).await, None);
}

pub(super) async fn what_was_sent_cannot_be_refused(db: Db) {
    executing(&db, "x", "s1").await;
    assert_lost(settle(&db, "x", 1, &refused()).await);
    assert_eq!(state(&db, "x").await, ChangeState::Executing);
}

pub(super) async fn a_failed_and_a_cancelled_change_close_once(db: Db) {
    executing(&db, "x", "s1").await;
    let failed = Settlement::Failed {
        detail: "Meta said no".to_owned(),
        vendor_request: Some("t".to_owned()),
    };
    settle(&db, "x", 1, &failed).await.unwrap();
    assert_lost(settle(&db, "x", 1, &failed).await);
    executing(&db, "y", "s2").await;
    let cancelled = Settlement::Cancelled {
        found: Some(budget(9_000)),
        detail: "a person set it".to_owned(),
    };
    settle(&db, "y", 1, &cancelled).await.unwrap();
    let lines = db.audit_of_change(&acme(), &change_id("y")).await.unwrap();
    assert_eq!(lines.last().unwrap().entry.before, Some(budget(9_000)));
    for id in ["x", "y"] {
        let closing = events(&db, id).await;
        assert_eq!(closing.iter().filter(|e| e.is_closing()).count(), 1, "{id}");
    }
}

pub(super) async fn an_unanswered_call_can_go_back(db: Db) {
    executing(&db, "x", "s1").await;
    settle(&db, "x", 1, &deferred(true)).await.unwrap();
    let found = find(&db, "x").await;
    assert_eq!((found.state, found.intent), (ChangeState::Pending, None));
    assert_eq!(claim(&db, 600).await.unwrap().change.attempt, 2);
}

pub(super) async fn executing_changes_are_listed_oldest_first(db: Db) {
    for (id, s) in [("b", 5), ("a", 9)] {
        propose(&db, id, id, 12_000).await;
        claim(&db, 1).await.unwrap();
        mark(&db, id, 1, s).await.unwrap();
    }
    let found = db.executing_changes(&acme()).await.unwrap();
    let ids: Vec<_> = found.iter().map(|c| c.proposed.id.to_string()).collect();
    assert_eq!(ids, ["b", "a"]);
}

pub(super) async fn approval_makes_it_due_at_once(db: Db) {
    let waiting = ProposedChange {
        needs_approval: true,
        earliest_at: at(5_000),
        ..proposal(&acme(), "x", "s1", 12_000)
    };
    db.propose(&waiting, at(0)).await.unwrap();
    assert_eq!(claim(&db, 6_000).await, None);
    let approved = db.approve_change(&change_id("x"), "cli", at(10)).await;
    let approved = approved.unwrap().unwrap();
    assert_eq!(approved.state, ChangeState::Pending);
    assert_eq!(approved.proposed.earliest_at, at(10));
    assert!(claim(&db, 10).await.is_some());
    let lines = db.audit_of_change(&acme(), &change_id("x")).await.unwrap();
    assert_eq!(lines[1].entry.event, AuditEvent::Approved);
    assert_eq!(lines[1].entry.actor, "cli");
}

pub(super) async fn nobody_approves_what_does_not_wait(db: Db) {
    propose(&db, "x", "s1", 12_000).await;
    let late = ProposedChange {
        needs_approval: true,
        expires_at: at(10),
        ..proposal(&acme(), "y", "s2", 12_000)
    };
    db.propose(&late, at(0)).await.unwrap();
    for id in ["x", "y", "none"] {
        let approved = db.approve_change(&change_id(id), "cli", at(10)).await;
        assert_eq!(approved.unwrap(), None, "{id}");
    }
}

pub(super) async fn a_person_rejects_what_is_not_sent(db: Db) {
    propose(&db, "x", "s1", 12_000).await;
    let rejected = db
        .reject_change(&change_id("x"), "api:ann", "not now", at(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rejected.state, ChangeState::Rejected);
    assert_eq!(rejected.note, "not now");
    executing(&db, "y", "s2").await;
    for id in ["x", "y", "none"] {
        let again = db.reject_change(&change_id(id), "cli", "no", at(6)).await;
        assert_eq!(again.unwrap(), None, "{id}");
    }
    assert_eq!(
        events(&db, "x").await,
        [AuditEvent::Proposed, AuditEvent::Rejected]
    );
}

pub(super) async fn changes_lapse(db: Db) {
    for (id, needs_approval) in [
        ("wait", true),
        ("pend", false),
        ("held", false),
        ("sent", false),
    ] {
        let change = ProposedChange {
            needs_approval,
            expires_at: at(100),
            rank: i64::from(id == "pend"),
            ..proposal(&acme(), id, id, 12_000)
        };
        db.propose(&change, at(0)).await.unwrap();
    }
    for _ in 0..2 {
        let claimed = claim(&db, 1).await.unwrap();
        if claimed.change.proposed.id == change_id("sent") {
            mark(&db, "sent", 1, 2).await.unwrap();
        }
    }
    assert_eq!(db.expire_changes(&acme(), at(99)).await.unwrap(), 0);
    assert_eq!(db.expire_changes(&acme(), at(100)).await.unwrap(), 3);
    for (id, wanted) in [
        ("wait", ChangeState::Expired),
        ("pend", ChangeState::Cancelled),
        ("held", ChangeState::Cancelled),
        ("sent", ChangeState::Executing),
    ] {
        assert_eq!(state(&db, id).await, wanted, "{id}");
    }
    assert_eq!(claim(&db, 101).await, None);
}

pub(super) async fn a_prefix_finds_the_only_one(db: Db) {
    for (id, set) in [("abc", "s1"), ("abd", "s2"), ("ab", "s3")] {
        propose(&db, id, set, 12_000).await;
    }
    for (prefix, wanted) in [
        ("abc", Some("abc")),
        ("abd", Some("abd")),
        ("ab", Some("ab")),
        ("a", None),
        ("", None),
        ("x", None),
    ] {
        let found = db.change(prefix).await.unwrap();
        let found = found.map(|c| c.proposed.id.to_string());
        assert_eq!(found.as_deref(), wanted, "{prefix}");
    }
}

pub(super) async fn changes_are_listed_newest_first(db: Db) {
    for (id, s) in [("a", 3), ("b", 1), ("c", 2)] {
        let change = ProposedChange {
            proposed_at: at(s),
            needs_approval: id == "b",
            ..proposal(&acme(), id, id, 12_000)
        };
        db.propose(&change, at(s)).await.unwrap();
    }
    db.propose(&proposal(&globex(), "g", "s1", 11_000), at(0))
        .await
        .unwrap();
    let list = async |filter: ChangeFilter| -> Vec<String> {
        let found = db.changes(&filter).await.unwrap();
        found.iter().map(|c| c.proposed.id.to_string()).collect()
    };
    let of_acme = ChangeFilter {
        tenant: Some(acme()),
        states: Vec::new(),
        limit: 10,
    };
    assert_eq!(list(of_acme.clone()).await, ["a", "c", "b"]);
    let two = ChangeFilter {
        limit: 2,
        ..of_acme.clone()
    };
    assert_eq!(list(two).await, ["a", "c"]);
    let waiting = ChangeFilter {
        states: vec![ChangeState::AwaitingApproval, ChangeState::Failed],
        ..of_acme
    };
    assert_eq!(list(waiting).await, ["b"]);
    let all = ChangeFilter {
        tenant: None,
        states: Vec::new(),
        limit: 10,
    };
    assert_eq!(list(all).await.len(), 4);
}

pub(super) async fn next_due_is_the_earliest(db: Db) {
    assert_eq!(db.next_due(&acme()).await.unwrap(), None);
    for (id, s) in [("a", 300), ("b", 200)] {
        let change = ProposedChange {
            earliest_at: at(s),
            ..proposal(&acme(), id, id, 12_000)
        };
        db.propose(&change, at(0)).await.unwrap();
    }
    assert_eq!(db.next_due(&acme()).await.unwrap(), Some(at(200)));
    claim(&db, 200).await.unwrap();
    // A claim that is never settled falls due when its lease runs out.
    assert_eq!(db.next_due(&acme()).await.unwrap(), Some(at(260)));
}

pub(super) async fn next_due_includes_what_lapses_and_what_is_unsettled(db: Db) {
    let waiting = ProposedChange {
        needs_approval: true,
        ..proposal(&acme(), "a", "a", 12_000)
    };
    db.propose(&waiting, at(0)).await.unwrap();
    assert_eq!(
        db.next_due(&acme()).await.unwrap(),
        Some(waiting.expires_at)
    );
    let lapses = ProposedChange {
        earliest_at: at(90_000),
        expires_at: at(500),
        ..proposal(&acme(), "b", "b", 12_000)
    };
    db.propose(&lapses, at(0)).await.unwrap();
    assert_eq!(db.next_due(&acme()).await.unwrap(), Some(at(500)));
    // What was being sent when the process ended is settled at once: its time is past.
    executing(&db, "x", "s1").await;
    assert_eq!(db.next_due(&acme()).await.unwrap(), Some(at(2)));
}

pub(super) async fn past_actions_are_what_was_sent(db: Db) {
    executing(&db, "x", "s1").await;
    executing(&db, "y", "s2").await;
    settle(&db, "y", 1, &completed()).await.unwrap();
    propose(&db, "z", "s3", 12_000).await;
    let actions = db.past_actions(&acme(), at(2)).await.unwrap();
    let objects: Vec<_> = actions.iter().map(|a| a.entity.clone()).collect();
    assert_eq!(objects, [ad_set("s1"), ad_set("s2")]);
    assert_eq!(actions[0].at, at(2));
    assert_eq!(actions[0].target, budget(12_000));
    assert!(db.past_actions(&acme(), at(3)).await.unwrap().is_empty());
}

pub(super) async fn what_had_no_effect_is_no_past_action(db: Db) {
    let count = async || db.past_actions(&acme(), at(0)).await.unwrap().len();
    executing(&db, "x", "s1").await;
    assert_eq!(count().await, 1, "its effect is not known");
    settle(&db, "x", 1, &deferred(true)).await.unwrap();
    assert_eq!(count().await, 0, "it was sent back");
    claim(&db, 500).await.unwrap();
    mark(&db, "x", 2, 501).await.unwrap();
    assert_eq!(count().await, 1, "it is sent again");
    settle(&db, "x", 2, &completed()).await.unwrap();
    assert_eq!(count().await, 1);
    executing(&db, "y", "s2").await;
    let failed = Settlement::Failed {
        detail: "refused".to_owned(),
        vendor_request: None,
    };
    settle(&db, "y", 1, &failed).await.unwrap();
    assert_eq!(count().await, 1, "it failed");
}

pub(super) async fn each_move_writes_its_line(db: Db) {
    executing(&db, "x", "s1").await;
    settle(&db, "x", 1, &deferred(true)).await.unwrap();
    claim(&db, 500).await.unwrap();
    mark(&db, "x", 2, 501).await.unwrap();
    settle(&db, "x", 2, &completed()).await.unwrap();
    assert_eq!(
        events(&db, "x").await,
        [
            AuditEvent::Proposed,
            AuditEvent::Executing,
            AuditEvent::Deferred,
            AuditEvent::Executing,
            AuditEvent::Completed,
        ]
    );
    let lines = db.audit_lines(&acme(), 0, 100).await.unwrap();
    verify(&lines).unwrap();
    let last = &lines.last().unwrap().entry;
    assert_eq!(last.before, Some(budget(10_000)));
    assert_eq!(last.after, Some(budget(12_000)));
    assert_eq!(last.vendor_request.as_deref(), Some("trace"));
    assert_eq!(last.rule.as_deref(), Some("velocity"));
}

pub(super) async fn two_currencies_are_refused(db: Db) {
    let mixed = ProposedChange {
        requested: Target::DailyBudget(Money::from_minor(5, Currency::EUR)),
        ..proposal(&acme(), "x", "s1", 0)
    };
    let error = db.propose(&mixed, at(0)).await.unwrap_err();
    assert!(matches!(error, StoreError::Broken { .. }), "{error:?}");
    assert!(db.change("x").await.unwrap().is_none());
    assert!(db.audit_lines(&acme(), 0, 9).await.unwrap().is_empty());
}

pub(super) async fn a_list_goes_on_behind_a_change(db: Db) {
    for (id, s) in [("a", 1), ("b", 2), ("c", 2), ("d", 3)] {
        let change = ProposedChange {
            proposed_at: at(s),
            ..proposal(&acme(), id, id, 12_000)
        };
        db.propose(&change, at(s)).await.unwrap();
    }
    db.propose(&proposal(&globex(), "g", "s1", 11_000), at(0))
        .await
        .unwrap();
    let page = async |tenant: Option<TenantId>, before: Option<(Timestamp, ChangeId)>| {
        let filter = ChangeFilter {
            tenant,
            states: Vec::new(),
            limit: 2,
        };
        let found = db.changes_before(&filter, before.as_ref()).await.unwrap();
        let ids = found.iter().map(|c| c.proposed.id.to_string());
        ids.collect::<Vec<_>>()
    };
    let behind = |id: &str, s: i64| Some((at(s), change_id(id)));
    assert_eq!(page(Some(acme()), None).await, ["d", "c"]);
    assert_eq!(page(Some(acme()), behind("c", 2)).await, ["b", "a"]);
    assert!(page(Some(acme()), behind("a", 1)).await.is_empty());
    assert_eq!(page(None, behind("b", 2)).await, ["a", "g"]);
}
