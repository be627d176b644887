use super::*;
use roasd::domain::ids::{NodeId, RunId, VisitId};
use roasd::domain::time::SignedDuration;
use roasd::store::decisions::RunRecord;
use roasd::store::gate::GateRow;
use roasd::store::inbox::DeliveryOutcome;
use roasd::store::jobs::JobOutcome;
use roasd::store::nodes::{Fence, NodeInfo};
use roasd::store::nudges::Nudge;
use roasd::store::tenants::Held;

/// A lease that lapses as it is given: what an hour of silence comes to, at once.
const LAPSED: SignedDuration = SignedDuration::ZERO;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn node(id: &str) -> NodeId {
    id.parse().unwrap()
}

fn info(id: &str) -> NodeInfo {
    NodeInfo {
        id: node(id),
        host: "a machine".to_owned(),
        version: "1.2.3".to_owned(),
    }
}

pub(super) async fn claim(db: &Db, by: &str, ttl: SignedDuration) -> Option<Fence> {
    let mut claimed = db
        .claim_leases(&node(by), &[acme()], ttl, at(0))
        .await
        .unwrap();
    assert!(claimed.len() < 2);
    claimed.pop().map(|claim| claim.fence)
}

/// Whether the tenant was free when `by` claimed it.
async fn was_free(db: &Db, by: &str) -> bool {
    let claimed = db.claim_leases(&node(by), &[acme()], LAPSED, at(0)).await;
    claimed.unwrap()[0].was_free
}

pub(super) async fn a_claim_tells_whether_the_tenant_was_free(db: Db) {
    assert!(was_free(&db, "a").await, "never held");
    assert!(!was_free(&db, "b").await, "its holder fell silent");
    assert!(!was_free(&db, "b").await, "by its own name, after a crash");
    let held = claim(&db, "b", HOUR).await.unwrap();
    assert!(release(&db, &held).await);
    assert!(was_free(&db, "a").await, "handed over");
    assert!(!was_free(&db, "b").await, "and silent again");
}

pub(super) async fn the_first_key_is_the_one(db: Db) {
    assert!(db.agree_on_key("one").await.unwrap());
    assert!(db.agree_on_key("one").await.unwrap());
    assert!(!db.agree_on_key("two").await.unwrap());
    assert!(db.agree_on_key("one").await.unwrap());
}

async fn renew(db: &Db, fence: &Fence, ttl: SignedDuration) -> bool {
    let held = std::slice::from_ref(fence);
    let kept = db.renew_leases(held, ttl, at(0)).await.unwrap();
    !kept.is_empty()
}

async fn release(db: &Db, fence: &Fence) -> bool {
    let held = std::slice::from_ref(fence);
    let released = db.release_leases(held, at(0)).await.unwrap();
    !released.is_empty()
}

#[track_caller]
fn assert_deposed<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(&result, Err(StoreError::Deposed { tenant, .. }) if *tenant == acme()),
        "{result:?}"
    );
}

pub(super) async fn a_node_is_known_by_name_until_it_is_forgotten(db: Db) {
    let started = db.register_node(&info("b"), at(0)).await.unwrap();
    db.register_node(&info("a"), at(0)).await.unwrap();
    let names = async || -> Vec<String> {
        let nodes = db.nodes(at(0)).await.unwrap();
        nodes.iter().map(|seen| seen.node.id.to_string()).collect()
    };
    assert_eq!(names().await, ["a", "b"]);
    assert!(db.heartbeat(&node("b"), started, at(0)).await.unwrap());
    let seen = db.nodes(at(0)).await.unwrap().remove(1);
    assert_eq!((&seen.node, seen.started_at), (&info("b"), started));
    assert!(seen.heartbeat_at >= started);
    assert!(seen.silent_for < SignedDuration::from_secs(30));
    assert!(db.forget_node(&node("b"), started).await.unwrap());
    assert!(!db.forget_node(&node("b"), started).await.unwrap());
    assert!(!db.heartbeat(&node("b"), started, at(0)).await.unwrap());
    assert_eq!(names().await, ["a"]);
}

pub(super) async fn the_later_of_two_of_one_name_is_the_node(db: Db) {
    let first = db.register_node(&info("a"), at(0)).await.unwrap();
    let second = db.register_node(&info("a"), at(0)).await.unwrap();
    assert!(second > first);
    assert!(!db.heartbeat(&node("a"), first, at(0)).await.unwrap());
    assert!(!db.forget_node(&node("a"), first).await.unwrap());
    assert!(db.heartbeat(&node("a"), second, at(0)).await.unwrap());
    assert_eq!(db.nodes(at(0)).await.unwrap().len(), 1);
}

pub(super) async fn a_tenant_is_claimed_once_by_eight(db: Db) {
    let tenants: Vec<TenantId> = (0..20)
        .map(|n| TenantId::new(format!("t{n}")).unwrap())
        .collect();
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let (db, tenants) = (db.clone(), tenants.clone());
            tokio::spawn(async move {
                let id = node(&n.to_string());
                db.claim_leases(&id, &tenants, HOUR, at(0)).await.unwrap()
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        let claims = task.await.unwrap();
        all.extend(claims.into_iter().map(|claim| claim.fence.tenant));
    }
    all.sort();
    let mut wanted = tenants;
    wanted.sort();
    assert_eq!(all, wanted);
}

pub(super) async fn a_held_lease_is_left_and_a_lapsed_one_taken(db: Db) {
    let first = claim(&db, "a", HOUR).await.unwrap();
    assert_eq!(
        (first.tenant.clone(), first.node.clone()),
        (acme(), node("a"))
    );
    assert_eq!(claim(&db, "b", HOUR).await, None);
    assert!(renew(&db, &first, LAPSED).await);
    let second = claim(&db, "b", HOUR).await.unwrap();
    assert_eq!(second.node, node("b"));
    assert!(second.token > first.token);
    assert_eq!(claim(&db, "a", HOUR).await, None);
}

pub(super) async fn tokens_grow_whoever_claims(db: Db) {
    let mut last = 0;
    for by in ["a", "b", "b", "a", "c"] {
        let fence = claim(&db, by, LAPSED).await.unwrap();
        assert!(fence.token > last, "{by}");
        last = fence.token;
        if by == "a" {
            assert!(release(&db, &fence).await);
        }
    }
}

pub(super) async fn a_node_takes_its_own_leases_anew(db: Db) {
    let before = claim(&db, "a", HOUR).await.unwrap();
    let after = claim(&db, "a", HOUR).await.unwrap();
    assert!(after.token > before.token);
    assert!(!renew(&db, &before, HOUR).await);
    assert!(renew(&db, &after, HOUR).await);
}

pub(super) async fn renewing_fails_after_a_takeover(db: Db) {
    let late = claim(&db, "a", LAPSED).await.unwrap();
    assert!(renew(&db, &late, LAPSED).await, "nobody took it yet");
    let taken = claim(&db, "b", HOUR).await.unwrap();
    assert!(!renew(&db, &late, HOUR).await);
    assert!(!release(&db, &late).await);
    let kept = db
        .renew_leases(&[late, taken.clone()], HOUR, at(0))
        .await
        .unwrap();
    assert_eq!(kept, [taken]);
}

pub(super) async fn a_released_lease_is_free_and_its_token_dead(db: Db) {
    let fence = claim(&db, "a", HOUR).await.unwrap();
    assert!(release(&db, &fence).await);
    assert!(!release(&db, &fence).await);
    assert!(!renew(&db, &fence, HOUR).await);
    let held = db.fenced(fence);
    assert_deposed(held.set_cursor(&acme(), "c", "1", at(0)).await);
    assert!(claim(&db, "b", HOUR).await.is_some());
}

pub(super) async fn leases_are_listed_with_what_is_left(db: Db) {
    let acmes = claim(&db, "a", HOUR).await.unwrap();
    let others = db
        .claim_leases(&node("b"), &[globex()], LAPSED, at(0))
        .await
        .unwrap();
    let found = db.leases(at(0)).await.unwrap();
    let fences: Vec<_> = found.iter().map(|lease| lease.fence.clone()).collect();
    assert_eq!(fences, [acmes, others[0].fence.clone()]);
    assert!(found[0].left > SignedDuration::from_mins(59));
    assert!(found[0].left <= HOUR);
    assert_eq!(found[1].left, SignedDuration::ZERO);
}

pub(super) async fn a_holder_writes_and_reads(db: Db) {
    let fence = claim(&db, "a", HOUR).await.unwrap();
    let held = db.fenced(fence.clone());
    changes::executing(&held, "x", "s1").await;
    held.append_delivery(&acme(), &inbox::delivery("1"), at(0))
        .await
        .unwrap();
    held.record_visit(&acme(), &visits::visit("v1", 0))
        .await
        .unwrap();
    crm::record(&held, &[deal("d", "lead", 1)], 5).await;
    // A lease that lapsed is still the holder's while nobody takes it.
    assert!(renew(&db, &fence, LAPSED).await);
    held.set_cursor(&acme(), "c", "1", at(0)).await.unwrap();
    assert_eq!(held.inbox_depth(&acme()).await.unwrap().waiting, 1);
    assert_eq!(db.executing_changes(&acme()).await.unwrap().len(), 1);
}

pub(super) async fn a_fence_is_for_one_tenant(db: Db) {
    let held = db.fenced(claim(&db, "a", HOUR).await.unwrap());
    let g = globex();
    for error in [
        held.set_cursor(&g, "c", "1", at(0)).await.unwrap_err(),
        held.append_audit(&audit::entry(&g, "x")).await.unwrap_err(),
        held.append_delivery(&g, &inbox::delivery("1"), at(0))
            .await
            .unwrap_err(),
        held.record_visit(&g, &visits::visit("v1", 0))
            .await
            .unwrap_err(),
        held.propose(&proposal(&g, "x", "s1", 1), at(0))
            .await
            .unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Broken { .. }), "{error:?}");
    }
    assert!(db.audit_lines(&g, 0, 9).await.unwrap().is_empty());
}

/// Every method that writes, each on rows that it could write to.
pub(super) async fn a_deposed_holder_cannot_write_by_any_method(db: Db) {
    let late = claim(&db, "a", LAPSED).await.unwrap();
    let held = db.fenced(late);
    let (a, tenant) = (acme(), &acme());
    held.append_delivery(tenant, &inbox::delivery("1"), at(0))
        .await
        .unwrap();
    held.append_delivery(tenant, &inbox::delivery("2"), at(0))
        .await
        .unwrap();
    held.claim_deliveries(tenant, at(0), at(60), 1)
        .await
        .unwrap();
    let bad = held.claim_deliveries(tenant, at(0), at(60), 1).await;
    let bad = bad.unwrap().remove(0).id;
    held.quarantine_delivery(tenant, bad, 1, "x", at(1))
        .await
        .unwrap();
    let one = bad - 1;
    changes::executing(&held, "x", "s1").await;
    held.propose(&proposal(tenant, "y", "s2", 12_000), at(0))
        .await
        .unwrap();
    held.claim_change(tenant, at(1), at(60)).await.unwrap();
    let waiting = ProposedChange {
        needs_approval: true,
        ..proposal(tenant, "z", "s3", 12_000)
    };
    held.propose(&waiting, at(0)).await.unwrap();
    crm::record(&held, &[deal("d", "lead", 1)], 5).await;
    let revision = crm::unsettled(&db, 5).await[0].1;
    let before = everything(&db).await;

    claim(&db, "b", HOUR).await.unwrap();

    let h = Held {
        by: "cli".to_owned(),
        reason: "x".to_owned(),
        since: at(0),
    };
    let v = budget(12_000);
    let day = insights::day(0);
    let run = RunRecord {
        id: RunId::new("r1").unwrap(),
        at: at(1),
        seed: 1,
        policy: "roasd".to_owned(),
        version: "1".to_owned(),
        inputs_json: "{}".to_owned(),
        flags: Vec::new(),
    };
    let gate = GateRow {
        scope: "app".to_owned(),
        blocked_until: None,
        reason: String::new(),
        usage_percent: 1.0,
        tier: None,
        seen_at: at(1),
    };
    let model = rest::model("a", 1);
    let nothing = DeliveryOutcome::default();
    let settle = revenue::settled("d", revision, vec![revenue::entry("d", None, 100, 1)]);
    let s = &held;
    assert_deposed(s.append_audit(&audit::entry(tenant, "x")).await);
    assert_deposed(s.propose(&proposal(tenant, "n", "s9", 1), at(1)).await);
    assert_deposed(s.claim_change(tenant, at(70), at(99)).await);
    assert_deposed(
        s.mark_executing(tenant, &change_id("y"), 1, v, v, at(2))
            .await,
    );
    assert_deposed(
        s.settle_change(tenant, &change_id("x"), 1, &changes::completed(), at(3))
            .await,
    );
    assert_deposed(s.approve_change(&change_id("z"), "cli", at(2)).await);
    assert_deposed(s.reject_change(&change_id("z"), "cli", "no", at(2)).await);
    assert_deposed(s.expire_changes(tenant, at(999_999)).await);
    assert_deposed(s.request_deals(tenant, &[deal_id("e")], at(9)).await);
    let deals = [deal("d", "won", 9)];
    assert_deposed(s.record_deals(tenant, &deals, &[], at(9)).await);
    let contacts = [crm::contact("contact-d", "l")];
    assert_deposed(s.record_contacts(tenant, &contacts, at(9)).await);
    assert_deposed(s.record_pipeline_stages(tenant, &[], at(9)).await);
    assert_deposed(s.record_run(tenant, &run, &[]).await);
    let structure = entities::structure(10_000);
    assert_deposed(s.record_structure(tenant, &structure, at(9)).await);
    assert_deposed(s.save_gate(&[gate]).await);
    assert_deposed(
        s.append_delivery(tenant, &inbox::delivery("9"), at(9))
            .await,
    );
    assert_deposed(s.claim_deliveries(tenant, at(99), at(199), 9).await);
    assert_deposed(s.settle_delivery(tenant, one, 1, &nothing, at(9)).await);
    assert_deposed(s.quarantine_delivery(tenant, one, 1, "x", at(9)).await);
    assert_deposed(s.retry_quarantined(bad, at(9)).await);
    assert_deposed(s.drop_quarantined(bad).await);
    let rows = [insights::daily("a1", 0, 5)];
    assert_deposed(
        s.record_insights(tenant, &rows, day, day, false, at(1))
            .await,
    );
    let ended = &JobOutcome::Succeeded;
    assert_deposed(s.record_job(tenant, "sync", at(0), at(1), ended, "").await);
    assert_deposed(s.set_cursor(tenant, "c", "1", at(0)).await);
    assert_deposed(s.register_model(&model).await);
    let crowned = rest::role("a", roasd::domain::model::Role::Champion, 9);
    assert_deposed(s.change_role(&crowned).await);
    let version = &model.version;
    assert_deposed(
        s.record_evaluation("budgets", version, "{}", "x", at(9))
            .await,
    );
    assert_deposed(s.record_shadows(tenant, &[]).await);
    assert_deposed(s.settle_deal(tenant, &settle, at(9)).await);
    let page = roasd::store::syncs::ListedPage {
        deals: &[],
        is_archived: false,
        scan: at(9),
        horizon: at(0),
    };
    let progress = roasd::store::syncs::SyncProgress::default();
    assert_deposed(s.note_listed(tenant, &page).await);
    assert_deposed(s.tell_sync(tenant, at(1), &progress, at(9)).await);
    assert_deposed(s.record_merges(tenant, &[], at(9)).await);
    assert_deposed(s.unsettle_merged(tenant, &[deal_id("d")]).await);
    assert_deposed(s.record_stage_values(tenant, &[], at(9)).await);
    assert_deposed(s.unsettle_deals(tenant, None, 9).await);
    assert_deposed(s.record_learned_stages(tenant, &[], at(9)).await);
    assert_deposed(s.record_reliability(tenant, &[], at(9)).await);
    assert_deposed(s.ensure_tenant(tenant, "Acme", at(9)).await);
    assert_deposed(s.pause(Some(tenant), &h).await);
    assert_deposed(s.pause(None, &h).await);
    assert_deposed(s.resume(Some(tenant), "cli", at(9)).await);
    assert_deposed(s.resume(None, "cli", at(9)).await);
    assert_deposed(s.set_parked(tenant, Some(&h)).await);
    assert_deposed(s.set_suspended(tenant, Some(&h)).await);
    assert_deposed(s.freeze(tenant, &ad_set("s1"), at(99), "x").await);
    assert_deposed(s.record_visit(tenant, &visits::visit("v1", 0)).await);
    let past = [rest::past_ad("a1", "m", 1)];
    assert_deposed(s.record_past_ads(tenant, &past).await);
    assert_deposed(s.leave_out(tenant, &past[0].ad, true).await);
    let vector = brought::vector("a1", &[1.0, 0.0]);
    assert_deposed(s.bring_vector(tenant, &vector, 9).await);

    assert_eq!(everything(&db).await, before, "nothing was written");
    assert!(db.tenants().await.unwrap().is_empty());
    assert!(db.models().await.unwrap().is_empty());
    assert!(db.load_gate().await.unwrap().is_empty());
    let visit = VisitId::new("v1").unwrap();
    assert!(db.visit(&a, &visit).await.unwrap().is_none());
    // Reading is free.
    assert_eq!(held.inbox_depth(&a).await.unwrap().waiting, 1);
}

/// What a late writer could have changed, as far as it can be compared.
async fn everything(db: &Db) -> String {
    let a = acme();
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        db.audit_lines(&a, 0, 999).await.unwrap(),
        db.changes(&roasd::store::changes::ChangeFilter {
            limit: 99,
            ..Default::default()
        })
        .await
        .unwrap(),
        db.inbox_depth(&a).await.unwrap(),
        db.requested_deals(&a, 99).await.unwrap(),
        db.unsettled_deals(&a, at(99), 99).await.unwrap(),
        db.job_status(&a).await.unwrap(),
        db.holds(&a).await.unwrap(),
        db.frozen(&a, at(0)).await.unwrap(),
    )
}

/// Holders write as fast as they can while the tenant goes from node to node. The token is in each
/// line, so the log itself shows whether one came after its time.
pub(super) async fn nothing_is_written_after_a_takeover(db: Db) {
    let mut writers = Vec::new();
    let mut fence = claim(&db, "n0", HOUR).await.unwrap();
    for round in 1..6 {
        for task in 0..3 {
            let (held, token) = (db.fenced(fence.clone()), fence.token);
            writers.push(tokio::spawn(async move {
                for n in 0.. {
                    let detail = format!("{token}/{task}");
                    let done = if n % 2 == 0 {
                        let entry = audit::entry(&acme(), &detail);
                        held.append_audit(&entry).await.map(|_| ())
                    } else {
                        let key = format!("{detail}/{n}");
                        let delivery = inbox::delivery(&key);
                        held.append_delivery(&acme(), &delivery, at(token))
                            .await
                            .map(|_| ())
                    };
                    if let Err(error) = done {
                        assert!(matches!(error, StoreError::Deposed { .. }), "{error:?}");
                        return;
                    }
                }
            }));
        }
        // Let them begin.
        let begun = async || db.audit_lines(&acme(), 0, 9_999).await.unwrap();
        let mine = |lines: &[roasd::domain::audit::ChainedEntry]| {
            let prefix = format!("{}/", fence.token);
            lines.iter().any(|l| l.entry.detail.starts_with(&prefix))
        };
        while !mine(&begun().await) {
            tokio::task::yield_now().await;
        }
        assert!(renew(&db, &fence, LAPSED).await);
        let by = format!("n{round}");
        // One that is being written for just now is left for another time.
        fence = loop {
            if let Some(fence) = claim(&db, &by, HOUR).await {
                break fence;
            }
            tokio::task::yield_now().await;
        };
        let lines = db.audit_lines(&acme(), 0, 9_999).await.unwrap().len();
        let waiting = db.inbox_depth(&acme()).await.unwrap().waiting;
        for writer in writers.drain(..) {
            writer.await.unwrap();
        }
        let after = db.audit_lines(&acme(), 0, 9_999).await.unwrap();
        assert_eq!(after.len(), lines, "round {round}");
        assert_eq!(db.inbox_depth(&acme()).await.unwrap().waiting, waiting);
        roasd::domain::audit::verify(&after).unwrap();
    }
}

pub(super) async fn a_nudge_is_heard_by_all_who_listen(db: Db) {
    let (mut one, mut two) = (db.nudges(), db.nudges());
    assert_eq!(one.next().await, Some(Nudge::Any), "what came before");
    assert_eq!(two.next().await, Some(Nudge::Any));
    db.nudge(&globex());
    for heard in [&mut one, &mut two] {
        assert_eq!(heard.next().await, Some(Nudge::Tenant(globex())));
    }
    db.nudge(&acme());
    assert_eq!(one.next().await, Some(Nudge::Tenant(acme())));
    db.nudge_sync(&acme());
    assert_eq!(one.next().await, Some(Nudge::Sync(acme())));
    db.nudge_everyone();
    assert_eq!(one.next().await, Some(Nudge::Any));
    db.close().await;
    assert_eq!(one.next().await, None);
}
