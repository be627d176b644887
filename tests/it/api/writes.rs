//! What may be done, and what is said of what may not.

use reqwest::Method;
use roasd::domain::api_token::Scope;
use roasd::domain::change::ChangeState;
use roasd::domain::ids::ChangeId;
use serde_json::{Value, json};

use super::reads::{at, complete, history, proposal};
use super::{World, on_both_stores, tenant};

const OF: &str = "/v1/tenants/{tenant}";

on_both_stores! {
    changes_are_approved_rejected_and_undone,
    a_pause_stops_and_a_resume_goes_on,
    the_quarantine_is_settled,
    bodies_that_cannot_be_used_are_refused,
}

impl World {
    async fn done(&self, described: &str, path: &str, token: &str, body: &str) -> Value {
        let described = format!("{OF}/{described}");
        let path = format!("/v1/tenants/gym/{path}");
        self.asked(Method::POST, &described, &path, token, body)
            .await
    }

    async fn state(&self, id: &str) -> ChangeState {
        self.store.change(id).await.unwrap().unwrap().state
    }
}

async fn changes_are_approved_rejected_and_undone(world: World) {
    let gym = tenant("gym");
    for (id, set) in [("a", "s1"), ("b", "s2"), ("c", "s3")] {
        let waits = proposal(&gym, id, set, 0);
        world.store.propose(&waits, at(0)).await.unwrap();
    }
    complete(&world, &gym, "d", "s4").await;
    let (kept, token) = world.keep(Some("gym"), &[Scope::Approve], |_| {}).await;
    let approved = world
        .done("changes/{id}/approve", "changes/a/approve", &token, "")
        .await;
    assert_eq!(
        approved["state"], "pending",
        "it is judged anew before it is sent"
    );
    assert_eq!(world.state("a").await, ChangeState::Pending);
    let again = world
        .post("/v1/tenants/gym/changes/a/approve", &token, &json!({}))
        .await;
    let detail = again.problem(409);
    assert!(detail.contains("it is pending"), "{detail}");

    let body = json!({ "reason": "das Angebot endet \u{1f3cb}" }).to_string();
    let rejected = world
        .done("changes/{id}/reject", "changes/b/reject", &token, &body)
        .await;
    assert_eq!(rejected["state"], "rejected");
    world
        .done("changes/{id}/reject", "changes/c/reject", &token, "")
        .await;
    let lines = world
        .store
        .audit_of_change(&gym, &ChangeId::new("b").unwrap())
        .await
        .unwrap();
    let last = &lines.last().unwrap().entry;
    assert_eq!(last.actor, format!("api:{}", kept.id));
    assert!(last.detail.contains('\u{1f3cb}'), "{}", last.detail);

    let undone = world
        .done("changes/{id}/undo", "changes/d/undo", &token, "")
        .await;
    let id = undone["change"].as_str().unwrap();
    assert_eq!(undone["to"]["daily_budget"]["minor"], 10_000);
    assert_eq!(world.state(id).await, ChangeState::Pending);
    let again = world
        .done("changes/{id}/undo", "changes/d/undo", &token, "")
        .await;
    assert_eq!(again["change"], Value::Null);
    let nothing = world
        .post("/v1/tenants/gym/changes/b/undo", &token, &json!({}))
        .await;
    let detail = nothing.problem(409);
    assert!(detail.contains("only a completed change"), "{detail}");
}

async fn a_pause_stops_and_a_resume_goes_on(world: World) {
    let token = world.token(Some("gym"), &[Scope::Approve]).await;
    let admin = world.token(None, &[Scope::Admin]).await;
    let body = json!({ "reason": "the page is down" }).to_string();
    let paused = world.done("pause", "pause", &token, &body).await;
    assert_eq!(paused["changed"], true);
    assert_eq!(paused["paused"]["reason"], "the page is down");
    let holds = world.store.holds(&tenant("gym")).await.unwrap();
    assert!(holds.paused.is_some());
    let other = world.store.holds(&tenant("spa")).await.unwrap();
    assert_eq!(other.paused, None);
    assert_eq!(
        world.done("pause", "pause", &token, "").await["changed"],
        false
    );
    let resume = world
        .post("/v1/tenants/gym/resume", &token, &json!({}))
        .await;
    resume.problem(403);
    let resumed = world.done("resume", "resume", &admin, "").await;
    assert_eq!(
        (&resumed["changed"], &resumed["paused"]),
        (&json!(true), &Value::Null)
    );
}

async fn the_quarantine_is_settled(world: World) {
    let number = history(&world).await;
    let token = world.token(Some("gym"), &[Scope::Admin]).await;
    let path = format!("quarantine/{number}/retry");
    let retried = world.done("quarantine/{id}/retry", &path, &token, "").await;
    assert_eq!(retried["id"], number);
    let gone = format!("/v1/tenants/gym/{path}");
    world.post(&gone, &token, &json!({})).await.problem(404);
    let gym = tenant("gym");
    let claimed = world
        .store
        .claim_deliveries(&gym, at(3), at(60), 1)
        .await
        .unwrap();
    let put_back = world
        .store
        .quarantine_delivery(&gym, number, claimed[0].attempt, "x", at(4));
    put_back.await.unwrap();
    let path = format!("quarantine/{number}/drop");
    world.done("quarantine/{id}/drop", &path, &token, "").await;
    let listed = world.get("/v1/tenants/gym/quarantine", &token).await.json();
    assert_eq!(
        (&listed["total"], &listed["quarantine"]),
        (&json!(0), &json!([]))
    );
}

async fn bodies_that_cannot_be_used_are_refused(world: World) {
    let gym = tenant("gym");
    world
        .store
        .propose(&proposal(&gym, "a", "s1", 0), at(0))
        .await
        .unwrap();
    let token = world.token(Some("gym"), &[Scope::Approve]).await;
    let path = "/v1/tenants/gym/changes/a/reject";
    for bad in ["{", "[]", r#"{"reason":7}"#, "nonsense", "\u{0}"] {
        let answer = world.send(Method::POST, path, &token, bad).await;
        let detail = answer.problem(422);
        assert!(detail.contains("/openapi.json"), "{bad}: {detail}");
    }
    let large = json!({ "reason": "x".repeat(5_000) });
    let detail = world.post(path, &token, &large).await.problem(413);
    assert!(detail.contains("4096"), "{detail}");
    assert_eq!(world.state("a").await, ChangeState::AwaitingApproval);
}
