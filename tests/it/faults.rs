//! Vendors that fail in every way they know: each is survived, shows in health for as long as it
//! lasts, and leads to no write that is sent twice. What must hold in the end is asked by
//! `World::finish`.

use roasd::clock::Clock as _;
use roasd::domain::audit::AuditEvent;
use roasd::domain::change::{ChangeState, PendingChange, Target};
use roasd::domain::structure::EntityRef;
use roasd::domain::time;
use roasd::sandbox::{Fault, FaultAction, HumanEdit, Vendor};
use serde_json::Value;

use crate::support::{Setup, World, tenant};

/// With this seed the first deal, and with it the first decision, comes nearly an hour and a half
/// after the beginning; what was decided is sent at once.
const SEED: u64 = 8;
const DECIDED: time::SignedDuration = time::hours(3);

/// One decision, so that nothing but its changes is sent.
async fn world() -> World {
    World::of(Setup::new(SEED).set("tenants.gym.schedule.decide_every", "7d")).await
}

/// The next calls of this method (any, when it is empty) meet this; all of them, when `times` is 0.
fn strike(world: &World, vendor: Vendor, method: &str, times: u64, action: FaultAction) {
    let any = Fault::next(vendor, method, "", action);
    world.sandbox().add_fault(Fault {
        method: any.method.clone().filter(|method| !method.is_empty()),
        times,
        ..any
    });
}

/// The first write is carried out without an answer, and then no object can be read by its id.
fn lose_the_first_write(world: &World) {
    strike(world, Vendor::Meta, "POST", 1, FaultAction::DropAfter);
    let unread = FaultAction::Status { status: 503 };
    world.sandbox().add_fault(Fault {
        skip: 1, // what is in force is read before it is written
        times: 0,
        ..Fault::next(Vendor::Meta, "GET", "/v25.0/1202", unread)
    });
}

/// What health says of the gym.
async fn gym(world: &World) -> Value {
    world.health().await["tenants"]["gym"].clone()
}

/// The words in which a stage's trouble is told; none when it has none.
async fn trouble(world: &World, stage: &str) -> Option<String> {
    let told = &gym(world).await["stages"][stage]["trouble"];
    told.as_str().map(str::to_owned)
}

async fn is_well(world: &World) -> bool {
    world.health().await["status"] == "ok"
}

fn state(changes: &[PendingChange], state: ChangeState) -> usize {
    changes.iter().filter(|c| c.state == state).count()
}

/// The rules that held changes back.
async fn held_by(world: &World) -> Vec<String> {
    let lines = world.audit("gym").await.into_iter();
    let held = lines.filter(|line| line.entry.event == AuditEvent::Deferred);
    held.filter_map(|line| line.entry.rule).collect()
}

// ---- reads of Meta ----

/// Meta answers every read so from the second hour to the sixth.
async fn reads_meet(action: FaultAction, word: &str) {
    let world = world().await;
    world.run_to(time::minutes(90)).await;
    assert!(is_well(&world).await);
    strike(&world, Vendor::Meta, "GET", 0, action);
    world.run_to(time::hours(6)).await;
    let told = trouble(&world, "sync").await.unwrap_or_default();
    assert!(told.contains(word), "{word:?} is not in {told:?}");
    assert_eq!(world.get("/healthz").await.0, 503, "it lasts");
    let restarts = &gym(&world).await["stages"]["sync"]["restarts"];
    assert_eq!(restarts, 0, "weather is no failure");
    world.end_faults().await;
    world.run_for(time::minutes(10)).await;
    assert!(is_well(&world).await, "{:#}", world.health().await);
    world.run_for(time::hours(1)).await;
    let changes = world.changes("gym").await;
    assert!(state(&changes, ChangeState::Completed) > 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_fail_with_503_are_made_again() {
    reads_meet(FaultAction::Status { status: 503 }, "HTTP 503").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_are_answered_in_html_are_made_again() {
    reads_meet(FaultAction::Html, "something else than JSON").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_are_cut_short_are_made_again() {
    reads_meet(FaultAction::Truncate, "something else than JSON").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_break_off_are_made_again() {
    reads_meet(FaultAction::BreakBody, "broke within the answer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_are_never_answered_are_made_again() {
    reads_meet(FaultAction::DropBefore, "the connection broke").await;
}

// ---- writes to Meta ----

/// The first write meets this. In the end every change of the decision is in force, sent once.
async fn a_write_meets(action: FaultAction, is_applied: bool, rule: Option<&str>) {
    let world = world().await;
    strike(&world, Vendor::Meta, "POST", 1, action.clone());
    world.run_to(DECIDED).await;
    let changes = world.changes("gym").await;
    assert!(changes.len() > 3, "{}", changes.len());
    let done = state(&changes, ChangeState::Completed);
    assert_eq!(done, changes.len(), "{changes:#?}");
    assert_eq!(world.writes().len(), done, "one write each");
    // What was carried out is found by reading and not sent again; what was not, is.
    let sent = world.count("gym", AuditEvent::Executing).await;
    assert_eq!(sent, done + usize::from(!is_applied), "{action:?}");
    let held: Vec<String> = rule.into_iter().map(str::to_owned).collect();
    assert_eq!(held_by(&world).await, held);
    assert!(is_well(&world).await);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_refused_with_500_is_sent_again() {
    a_write_meets(
        FaultAction::Status { status: 500 },
        false,
        Some("no_effect"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_meta_cannot_do_just_now_is_sent_again() {
    let action = FaultAction::Error {
        code: 2,
        subcode: 0,
    };
    a_write_meets(action, false, Some("no_effect")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_throttled_waits_and_is_sent_again() {
    a_write_meets(FaultAction::Throttle, false, Some("gate")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_answered_in_html_is_read_back_and_sent_again() {
    a_write_meets(FaultAction::Html, false, Some("no_effect")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_cut_short_is_not_sent_again() {
    a_write_meets(FaultAction::Truncate, true, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_breaks_off_is_not_sent_again() {
    a_write_meets(FaultAction::BreakBody, true, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_never_arrived_is_sent_again() {
    a_write_meets(FaultAction::DropBefore, false, Some("no_effect")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_done_without_an_answer_is_not_sent_again() {
    a_write_meets(FaultAction::DropAfter, true, None).await;
}

/// The answer to a write is lost and Meta cannot be read for hours after it: nothing new is sent
/// meanwhile, and then the effect is found by reading.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_effect_holds_all_else_until_it_is_known() {
    let world = world().await;
    lose_the_first_write(&world);
    world.run_to(time::hours(4)).await;
    assert_eq!(world.writes().len(), 1);
    let told = trouble(&world, "executor").await.unwrap();
    assert!(told.contains("is not known yet"), "{told}");
    let changes = world.changes("gym").await;
    assert_eq!(state(&changes, ChangeState::Executing), 1);
    world.end_faults().await;
    world.run_to(time::hours(6)).await;
    let changes = world.changes("gym").await;
    assert_eq!(state(&changes, ChangeState::Completed), changes.len());
    assert!(is_well(&world).await);
    world.finish().await;
}

/// The same over a restart: what was being sent is settled before anything new is claimed.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_effect_outlives_a_restart() {
    let mut world = world().await;
    lose_the_first_write(&world);
    world.run_to(time::hours(2)).await;
    let changes = world.changes("gym").await;
    assert_eq!(state(&changes, ChangeState::Executing), 1);
    world.restart().await;
    world.end_faults().await;
    world.run_to(time::hours(4)).await;
    let changes = world.changes("gym").await;
    assert_eq!(state(&changes, ChangeState::Completed), changes.len());
    assert_eq!(world.writes().len(), changes.len());
    world.finish().await;
}

// ---- limits, tokens, accounts ----

/// A throttle of the account, 17 with subcode 2446079, closes the gate: until it opens again not
/// one call is made, not by any stage.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_while_a_throttle_cools_down() {
    let world = world().await;
    world.run_to(time::minutes(110)).await;
    strike(&world, Vendor::Meta, "GET", 1, FaultAction::Throttle);
    let closed = async || gym(&world).await["gate"]["closed"].is_string();
    world
        .run_until("a throttle", time::seconds(1), time::minutes(30), closed)
        .await;
    let told = gym(&world).await["gate"]["closed"].to_string();
    assert!(told.contains("17/2446079"), "{told}");
    let account = world.spec("gym").ad_account.to_string();
    let kept = async || {
        let rows = world.store().load_gate().await.unwrap();
        let row = rows.into_iter().find(|row| row.scope == account);
        row.and_then(|row| row.blocked_until)
    };
    // It is written down by a task of its own, which asks the stepped clock nothing.
    let is_kept = async || kept().await.is_some();
    world
        .run_until("keeping", time::millis(1), time::seconds(5), is_kept)
        .await;
    let until = kept().await.unwrap();
    assert!(until >= time::add(world.clock.now(), time::seconds(50)));
    // Whatever call is made meanwhile loses its token, and that would show.
    strike(&world, Vendor::Meta, "", 0, FaultAction::RevokeToken);
    world
        .clock
        .run_until(time::sub(until, time::millis(1)))
        .await;
    world.end_faults().await;
    assert!(closed().await);
    world.run_for(time::minutes(2)).await;
    assert!(!closed().await);
    assert_eq!(
        gym(&world).await["suspended"],
        Value::Null,
        "a call was made"
    );
    // The sync waited at the gate and went on by itself.
    world.run_for(time::minutes(10)).await;
    assert!(is_well(&world).await, "{:#}", world.health().await);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_suspends_its_tenant_until_it_is_renewed() {
    let world = world().await;
    world.run_to(time::minutes(80)).await;
    strike(&world, Vendor::Meta, "GET", 1, FaultAction::RevokeToken);
    world.run_to(time::hours(5)).await;
    assert!(world.writes().is_empty());
    let report = gym(&world).await;
    assert_eq!(report["state"], "suspended", "{report:#}");
    assert!(report["suspended"]["reason"].to_string().contains("190"));
    assert_eq!(world.get("/healthz").await.0, 503);
    let told = trouble(&world, "executor").await;
    assert!(told.is_none_or(|told| told.contains("Meta")), "it says why");

    strike(&world, Vendor::Meta, "GET", 1, FaultAction::RenewToken);
    world.run_to(time::hours(9)).await;
    assert!(is_well(&world).await, "{:#}", world.health().await);
    let changes = world.changes("gym").await;
    assert!(state(&changes, ChangeState::Completed) > 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_in_another_currency_is_not_written_to() {
    let setup = Setup::new(7).set("tenants.gym.currency", "EUR");
    let world = World::of(setup).await;
    world.run_to(time::hours(5)).await;
    assert!(world.writes().is_empty());
    assert!(world.changes("gym").await.is_empty());
    let report = gym(&world).await;
    assert_eq!(report["state"], "suspended", "{report:#}");
    let told = trouble(&world, "sync").await.unwrap();
    assert!(told.contains("bills in USD"), "{told}");
    assert!(told.contains("tenants.gym.currency"), "it says what to do");
    assert_eq!(world.get("/healthz").await.0, 503);
    world.finish().await;
}

// ---- people ----

/// A person sets a budget between the reading it was decided on and its write.
#[tokio::test(flavor = "multi_thread")]
async fn a_persons_edit_wins_over_a_decision_made_before_it() {
    let world = world().await;
    let is_decided = async || world.changes("gym").await.len() > 3;
    world.run_to(time::minutes(85)).await;
    world
        .run_until(
            "a decision",
            time::millis(500),
            time::minutes(9),
            is_decided,
        )
        .await;
    let changes = world.changes("gym").await;
    let waiting = changes.iter().rfind(|c| c.state == ChangeState::Pending);
    let waiting = waiting.unwrap().proposed.clone();
    let edit = HumanEdit {
        tenant: tenant("gym"),
        at: None,
        entity: waiting.entity.id().to_owned(),
        field: "daily_budget".to_owned(),
        value: "7777".to_owned(),
        application_id: "119211728144504".to_owned(),
    };
    world.sandbox().human_edit(&edit).unwrap();
    world.run_to(DECIDED).await;
    let store = world.store();
    let ended = store.change(waiting.id.as_str()).await.unwrap().unwrap();
    assert_eq!(ended.state, ChangeState::Cancelled);
    let lines = store.audit_of_change(&tenant("gym"), &waiting.id).await;
    let end = lines.unwrap().pop().unwrap().entry;
    assert!(end.detail.contains("theirs wins"), "{}", end.detail);
    let touched = |entity: &EntityRef| {
        let writes = world.writes();
        writes.iter().any(|write| write.entity == entity.id())
    };
    assert!(!touched(&waiting.entity), "nothing was sent for it");
    // What a person edited is left alone for a day, and the others are not.
    let frozen = store.frozen(&tenant("gym"), world.clock.now()).await;
    let frozen = frozen.unwrap();
    assert_eq!(frozen.len(), 1, "{frozen:?}");
    assert_eq!(frozen[0].0, waiting.entity);
    let (structure, _) = store.structure(&tenant("gym")).await.unwrap().unwrap();
    let (budget, ..) = structure.settings(&waiting.entity).unwrap();
    let budget = budget.daily().map(Target::DailyBudget);
    assert_eq!(budget.unwrap().to_string(), "77.77 USD");
    let others = changes.iter().filter(|c| c.proposed.id != waiting.id);
    assert!(others.map(|c| &c.proposed.entity).all(touched));
    drop(store);
    world.finish().await;
}

// ---- HubSpot ----

#[tokio::test(flavor = "multi_thread")]
async fn a_crm_that_is_busy_for_a_moment_is_asked_again_unseen() {
    let world = world().await;
    world.run_to(time::minutes(90)).await;
    strike(&world, Vendor::Hubspot, "POST", 2, FaultAction::Throttle);
    world.run_to(time::minutes(130)).await;
    assert!(is_well(&world).await, "{:#}", world.health().await);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crm_that_stays_busy_shows_and_holds_no_reading_of_meta() {
    let world = world().await;
    world.run_to(time::minutes(90)).await;
    let before = world.store().insights_watermark(&tenant("gym")).await;
    strike(&world, Vendor::Hubspot, "", 0, FaultAction::Throttle);
    world.run_to(time::hours(6)).await;
    let told = trouble(&world, "sync").await.unwrap();
    assert!(told.contains("HubSpot"), "{told}");
    assert_eq!(world.get("/healthz").await.0, 503);
    let after = world.store().insights_watermark(&tenant("gym")).await;
    assert!(after.unwrap() > before.unwrap(), "Meta is read");
    // Budgets are not moved on deals that nobody has seen.
    let moved = world.writes().len();
    world.run_to(time::hours(7)).await;
    assert_eq!(world.writes().len(), moved);
    world.end_faults().await;
    world.run_for(time::minutes(10)).await;
    assert!(is_well(&world).await, "{:#}", world.health().await);
    world.finish().await;
}
