use super::*;
use roasd::domain::audit::AuditEvent;
use roasd::domain::change::ChangeState;
use roasd::domain::model::{BUDGETS, Constants, Event, Role};
use roasd::domain::safety::{Breaker, Trip};
use roasd::store::decisions::{DecisionRecord, RunRecord};
use roasd::store::gate::GateRow;
use roasd::store::jobs::JobOutcome;
use roasd::store::models::{ModelVersion, RoleChange, RoleChanged, ShadowRun};
use roasd::store::status::TenantOverview;
use roasd::store::tenants::{Held, TenantHolds};
use roasd::store::winners::PastAd;

fn run(id: &str, s: i64) -> RunRecord {
    RunRecord {
        id: id.parse().unwrap(),
        at: at(s),
        seed: u64::MAX - 1,
        policy: "roasd".to_owned(),
        version: "1".to_owned(),
        inputs_json: "{\"a\":1}".to_owned(),
        flags: vec!["cap_unreachable".to_owned()],
    }
}

pub(super) fn decision(id: &str, run: &str, ad_name: &str, action: &str, s: i64) -> DecisionRecord {
    DecisionRecord {
        id: id.parse().unwrap(),
        run: run.parse().unwrap(),
        entity: EntityRef::Ad(ad(ad_name)),
        entity_name: "Video".to_owned(),
        action: action.to_owned(),
        from: "ACTIVE".to_owned(),
        to: "PAUSED".to_owned(),
        paragraph: "It spent and sold nothing.".to_owned(),
        rationale_json: "{}".to_owned(),
        change: Some(change_id("x")),
        at: at(s),
    }
}

pub(super) async fn decide(db: &Db, tenant: &TenantId, id: &str, s: i64, all: &[(&str, &str)]) {
    let decisions: Vec<_> = all
        .iter()
        .map(|(name, action)| decision(&format!("{id}-{name}"), id, name, action, s))
        .collect();
    db.record_run(tenant, &run(id, s), &decisions)
        .await
        .unwrap();
}

pub(super) async fn decisions_read_back(db: Db) {
    decide(&db, &acme(), "r1", 1, &[("b", "hold"), ("a", "kill")]).await;
    let (tenant, found_run, found) = db.decision("r1-a").await.unwrap().unwrap();
    assert_eq!(tenant, acme());
    assert_eq!(found_run, run("r1", 1));
    assert_eq!(found, decision("r1-a", "r1", "a", "kill", 1));
    assert!(db.decision("r1").await.unwrap().is_none(), "two fit");
    assert!(db.decision("").await.unwrap().is_none());
    assert!(db.decision("x").await.unwrap().is_none());
    let twice = db.record_run(&acme(), &run("r1", 1), &[]).await;
    assert!(matches!(twice, Err(StoreError::Broken { .. })), "{twice:?}");
}

pub(super) async fn the_newest_run_is_the_newest(db: Db) {
    assert_eq!(db.latest_run_at(&acme()).await.unwrap(), None);
    decide(&db, &acme(), "r2", 9, &[("b", "hold"), ("a", "raise")]).await;
    decide(&db, &acme(), "r1", 5, &[("c", "hold")]).await;
    assert_eq!(db.latest_run_at(&acme()).await.unwrap(), Some(at(9)));
    let latest = db.latest_decisions(&acme()).await.unwrap();
    let ids: Vec<_> = latest.iter().map(|d| d.id.to_string()).collect();
    assert_eq!(ids, ["r2-a", "r2-b"], "by object");
}

pub(super) async fn runs_are_walked_in_the_order_of_time(db: Db) {
    decide(&db, &acme(), "r2", 9, &[("b", "hold"), ("a", "raise")]).await;
    decide(&db, &acme(), "r1", 5, &[("c", "hold")]).await;
    let next = |after, until| {
        let db = &db;
        async move { db.run_after(&acme(), at(after), at(until)).await.unwrap() }
    };
    assert_eq!(next(0, 20).await, Some(run("r1", 5)));
    assert_eq!(next(5, 20).await, Some(run("r2", 9)), "after, not at");
    assert_eq!(next(5, 9).await, Some(run("r2", 9)), "until includes");
    assert_eq!(next(5, 8).await, None);
    assert_eq!(next(9, 20).await, None);
    let of_r2 = db.decisions_of(&acme(), &run("r2", 9).id).await.unwrap();
    let ids: Vec<_> = of_r2.iter().map(|d| d.id.to_string()).collect();
    assert_eq!(ids, ["r2-a", "r2-b"], "by object");
    let none = db.decisions_of(&acme(), &run("r9", 9).id).await.unwrap();
    assert!(none.is_empty());
}

pub(super) async fn an_ad_is_put_aside_until_returned(db: Db) {
    let first = [("a", "kill"), ("b", "rotate"), ("c", "kill"), ("d", "cut")];
    decide(&db, &acme(), "r1", 1, &first).await;
    decide(&db, &acme(), "r2", 2, &[("a", "hold"), ("c", "return")]).await;
    decide(&db, &acme(), "r3", 3, &[("b", "kill")]).await;
    let aside = db.ads_put_aside(&acme()).await.unwrap();
    let wanted = [
        (EntityRef::Ad(ad("a")), "kill".to_owned(), at(1)),
        (EntityRef::Ad(ad("b")), "kill".to_owned(), at(3)),
    ];
    assert_eq!(aside, wanted);
}

pub(super) fn model(version: &str, s: i64) -> ModelVersion {
    ModelVersion {
        model: BUDGETS.to_owned(),
        version: version.parse().unwrap(),
        policy: "roasd".to_owned(),
        policy_version: 7,
        constants: Constants::parse([("kappa_mult", 2.5), ("hierarchy", 1.0)]).unwrap(),
        revision: "0.1.0".to_owned(),
        role: Role::Resting,
        evaluation_json: None,
        registered_at: at(s),
    }
}

pub(super) fn role(version: &str, role: Role, s: i64) -> RoleChange {
    RoleChange {
        model: BUDGETS.to_owned(),
        version: version.parse().unwrap(),
        role,
        event: match role {
            Role::Champion => Event::Promoted,
            Role::Challenger => Event::Challenged,
            Role::Resting => Event::Rested,
        },
        actor: "cli:eve".to_owned(),
        reason: "it earns more".to_owned(),
        evidence_json: Some("{}".to_owned()),
        at: at(s),
    }
}

async fn roles(db: &Db) -> Vec<(String, Role)> {
    let found = db.models().await.unwrap();
    let each = found.into_iter().map(|v| (v.version.to_string(), v.role));
    each.collect()
}

pub(super) async fn the_first_model_is_champion(db: Db) {
    for (version, s) in [("b", 2), ("a", 3), ("b", 9)] {
        db.register_model(&model(version, s)).await.unwrap();
    }
    let wanted = ModelVersion {
        role: Role::Champion,
        ..model("c", 4)
    };
    db.register_model(&wanted).await.unwrap();
    let beside = ModelVersion {
        role: Role::Challenger,
        ..model("d", 5)
    };
    db.register_model(&beside).await.unwrap();
    let of_another = ModelVersion {
        model: "bids".to_owned(),
        ..model("b", 9)
    };
    db.register_model(&of_another).await.unwrap();
    let crowned = |model: ModelVersion| ModelVersion {
        role: Role::Champion,
        ..model
    };
    let expected = [
        crowned(of_another),
        crowned(model("b", 2)),
        model("a", 3),
        model("c", 4),
        beside,
    ];
    assert_eq!(db.models().await.unwrap(), expected);
    let told = db.model_history(BUDGETS).await.unwrap();
    let told: Vec<_> = told.iter().map(|l| (l.version.as_str(), l.event)).collect();
    let entered = |version| (version, Event::Registered);
    assert_eq!(told, ["b", "a", "c", "d"].map(entered), "once each");
}

pub(super) async fn a_champion_gives_way_in_one_step(db: Db) {
    for (version, s) in [("a", 1), ("b", 2), ("c", 3)] {
        db.register_model(&model(version, s)).await.unwrap();
    }
    let of = |version: &str, role| (version.to_owned(), role);
    let change = async |change: RoleChange| db.change_role(&change).await.unwrap();
    let unknown = change(role("x", Role::Champion, 4)).await;
    assert_eq!(unknown, RoleChanged::Unknown);
    let still = change(role("c", Role::Resting, 4)).await;
    assert_eq!(still, RoleChanged::Already);
    let left = change(role("a", Role::Resting, 4)).await;
    assert_eq!(left, RoleChanged::IsChampion);
    let beside = change(role("c", Role::Challenger, 5)).await;
    assert_eq!(beside, RoleChanged::Done(None));
    let crowned = change(role("c", Role::Champion, 6)).await;
    assert_eq!(crowned, RoleChanged::Done(Some("a".parse().unwrap())));
    let expected = [
        of("a", Role::Challenger),
        of("b", Role::Resting),
        of("c", Role::Champion),
    ];
    assert_eq!(roles(&db).await, expected);
    let told = db.model_history(BUDGETS).await.unwrap();
    assert_eq!(told.len(), 5, "what changed nothing is not told: {told:?}");
    let last = told.last().unwrap();
    assert_eq!((last.event, last.at), (Event::Promoted, at(6)));
    assert_eq!(last.before, Some("a".parse().unwrap()));
    assert_eq!(
        (last.actor.as_str(), last.reason.as_str()),
        ("cli:eve", "it earns more")
    );
    let eva = "{\"mean\":1}";
    let version = "b".parse().unwrap();
    let kept = db.record_evaluation(BUDGETS, &version, eva, "cli:eve", at(7));
    assert!(kept.await.unwrap());
    let version = "x".parse().unwrap();
    let kept = db.record_evaluation(BUDGETS, &version, eva, "cli:eve", at(8));
    assert!(!kept.await.unwrap(), "there is none");
    let found = db.models().await.unwrap();
    assert_eq!(found[1].evaluation_json.as_deref(), Some(eva));
    assert_eq!(db.model_history(BUDGETS).await.unwrap().len(), 6);
}

/// Of many that become champion at once one is it, and the history says in whose place each came.
pub(super) async fn there_is_one_champion_at_every_time(db: Db) {
    let db = std::sync::Arc::new(db);
    let names: Vec<String> = (0..8).map(|i| format!("v{i}")).collect();
    for (i, name) in names.iter().enumerate() {
        db.register_model(&model(name, i as i64)).await.unwrap();
    }
    let mut tasks = Vec::new();
    for name in names.iter().skip(1) {
        let (db, crowned) = (db.clone(), role(name, Role::Champion, 20));
        tasks.push(tokio::spawn(async move { db.change_role(&crowned).await }));
    }
    for task in tasks {
        let done = task.await.unwrap().unwrap();
        assert!(matches!(done, RoleChanged::Done(Some(_))), "{done:?}");
    }
    let found = roles(&db).await;
    let champions = found.iter().filter(|(_, role)| *role == Role::Champion);
    assert_eq!(champions.count(), 1, "{found:?}");
    let told = db.model_history(BUDGETS).await.unwrap();
    let mut before: Vec<_> = told.iter().filter_map(|line| line.before.clone()).collect();
    before.sort();
    before.dedup();
    assert_eq!(before.len(), 7, "each gave way once: {told:?}");
}

pub(super) async fn what_a_challenger_decided_stays(db: Db) {
    let run = |run: &str, version: &str, s| ShadowRun {
        run: run.parse().unwrap(),
        version: version.parse().unwrap(),
        at: at(s),
        changes_json: "[[\"ad 1\",\"KILL\",\"PAUSED\"]]".to_owned(),
        changes: 1,
        shared: 0,
    };
    let all = [run("r2", "a", 5), run("r1", "a", 3), run("r1", "b", 3)];
    db.record_shadows(&acme(), &all).await.unwrap();
    let again = ShadowRun {
        changes: 9,
        ..run("r1", "a", 3)
    };
    db.record_shadows(&acme(), &[again]).await.unwrap();
    let of = async |s| {
        let found = db.shadows(&acme(), &"a".parse().unwrap(), at(s)).await;
        found.unwrap()
    };
    assert_eq!(of(0).await, [run("r1", "a", 3), run("r2", "a", 5)]);
    assert_eq!(of(4).await, [run("r2", "a", 5)]);
    let other = TenantId::new("other").unwrap();
    let none = db.shadows(&other, &"a".parse().unwrap(), at(0)).await;
    assert!(none.unwrap().is_empty());
}

pub(super) async fn gate_rows_are_replaced(db: Db) {
    let row = |scope: &str, usage| GateRow {
        scope: scope.to_owned(),
        blocked_until: (usage > 90.0).then(|| at(60)),
        reason: "usage".to_owned(),
        usage_percent: usage,
        tier: Some("standard_access".to_owned()),
        seen_at: at(1),
    };
    let save = async |rows: &[GateRow]| db.save_gate(rows).await.unwrap();
    save(&[row("app", 10.5), row("act_1", 95.0)]).await;
    save(&[row("act_1", 20.0)]).await;
    let found = db.load_gate().await.unwrap();
    assert_eq!(found, [row("act_1", 20.0), row("app", 10.5)]);
}

pub(super) async fn the_last_run_of_each_stage_is_told(db: Db) {
    let runs = [
        ("sync", 1, JobOutcome::Succeeded, "fine"),
        ("sync", 3, JobOutcome::Degraded, "Meta is slow"),
        ("sync", 2, JobOutcome::Failed, "late news"),
        ("optimizer", 1, JobOutcome::Failed, "no"),
    ];
    for (job, s, outcome, detail) in runs {
        db.record_job(&acme(), job, at(s), at(s), &outcome, detail)
            .await
            .unwrap();
    }
    let found = db.job_status(&acme()).await.unwrap();
    let plain: Vec<_> = found
        .iter()
        .map(|s| {
            (
                s.job.as_str(),
                s.last_success,
                s.last_end,
                s.detail.as_str(),
            )
        })
        .collect();
    assert_eq!(
        plain,
        [
            ("optimizer", None, Some(at(1)), "no"),
            ("sync", Some(at(1)), Some(at(3)), "Meta is slow"),
        ]
    );
}

pub(super) async fn a_cursor_moves(db: Db) {
    assert_eq!(db.cursor(&acme(), "deals").await.unwrap(), None);
    for value in ["1", "2"] {
        db.set_cursor(&acme(), "deals", value, at(0)).await.unwrap();
        let found = db.cursor(&acme(), "deals").await.unwrap();
        assert_eq!(found.as_deref(), Some(value));
    }
    assert_eq!(db.cursor(&acme(), "other").await.unwrap(), None);
}

pub(super) fn past_ad(name: &str, model: &str, clicks: u64) -> PastAd {
    PastAd {
        ad: ad(name),
        name: "Video".to_owned(),
        text: "Get fit".to_owned(),
        format: "video".to_owned(),
        call_to_action: "SIGN_UP".to_owned(),
        theme: "free trial".to_owned(),
        made_at: (clicks > 1).then(|| at(-5)),
        model: model.to_owned(),
        vector: vec![0.6, -0.8, f32::MIN_POSITIVE],
        impressions: 100,
        clicks,
        spend: usd(5),
        pipeline: usd(-7),
        is_winner: true,
        is_mature: clicks > 1,
        is_by_hand: clicks == 3,
        is_left_out: false,
        updated_at: at(1),
    }
}

pub(super) async fn past_ads_are_replaced_by_ad_and_model(db: Db) {
    let first = [
        past_ad("b", "m", 1),
        past_ad("a", "m", 1),
        past_ad("a", "n", 1),
    ];
    db.record_past_ads(&acme(), &first).await.unwrap();
    db.record_past_ads(&acme(), &[past_ad("a", "m", 2)])
        .await
        .unwrap();
    let found = db.past_ads(&acme(), "m").await.unwrap();
    assert_eq!(found, [past_ad("a", "m", 2), past_ad("b", "m", 1)]);
}

pub(super) async fn a_past_ad_that_is_left_out_stays_so(db: Db) {
    let first = [past_ad("a", "m", 1), past_ad("b", "m", 1)];
    db.record_past_ads(&acme(), &first).await.unwrap();
    assert!(db.leave_out(&acme(), &ad("a"), true).await.unwrap());
    for stranger in [(acme(), "z"), (globex(), "a")] {
        let (tenant, name) = stranger;
        assert!(!db.leave_out(&tenant, &ad(name), true).await.unwrap());
    }
    // Neither newer figures nor another model let it in.
    let later = [
        past_ad("a", "m", 2),
        past_ad("a", "n", 2),
        past_ad("b", "n", 2),
    ];
    db.record_past_ads(&acme(), &later).await.unwrap();
    for model in ["m", "n"] {
        let found = db.past_ads(&acme(), model).await.unwrap();
        let left_out: Vec<bool> = found.iter().map(|past| past.is_left_out).collect();
        assert_eq!(left_out, [true, false], "{model}");
    }
    assert_eq!(db.past_ads(&acme(), "m").await.unwrap()[0].clicks, 2);
    assert!(db.leave_out(&acme(), &ad("a"), false).await.unwrap());
    let found = db.past_ads(&acme(), "n").await.unwrap();
    assert_eq!(found, [past_ad("a", "n", 2), past_ad("b", "n", 2)]);
}

fn held(by: &str) -> Held {
    Held {
        by: by.to_owned(),
        reason: "trouble".to_owned(),
        since: at(1),
    }
}

async fn told(db: &Db, tenant: &TenantId) -> Vec<AuditEvent> {
    let lines = db.audit_lines(tenant, 0, 100).await.unwrap();
    lines.into_iter().map(|line| line.entry.event).collect()
}

pub(super) async fn a_tenant_is_known_once(db: Db) {
    for name in ["Globex", "Other"] {
        db.ensure_tenant(&globex(), name, at(0)).await.unwrap();
    }
    db.ensure_tenant(&acme(), "Acme", at(0)).await.unwrap();
    assert_eq!(db.tenants().await.unwrap(), [acme(), globex()]);
    assert_eq!(db.holds(&acme()).await.unwrap(), TenantHolds::default());
}

pub(super) async fn a_pause_is_told_once_and_ends(db: Db) {
    assert!(db.pause(Some(&acme()), &held("cli")).await.unwrap());
    assert!(!db.pause(Some(&acme()), &held("api")).await.unwrap());
    let holds = db.holds(&acme()).await.unwrap();
    assert_eq!(holds.paused, Some(held("cli")), "the first stands");
    assert!(db.resume(Some(&acme()), "cli", at(2)).await.unwrap());
    assert!(!db.resume(Some(&acme()), "cli", at(3)).await.unwrap());
    assert_eq!(db.holds(&acme()).await.unwrap(), TenantHolds::default());
    let wanted = [AuditEvent::Paused, AuditEvent::Resumed];
    assert_eq!(told(&db, &acme()).await, wanted);
}

pub(super) async fn a_daemon_pause_is_told_to_every_tenant(db: Db) {
    for tenant in [acme(), globex()] {
        db.ensure_tenant(&tenant, "x", at(0)).await.unwrap();
    }
    assert!(db.pause(None, &held("cli")).await.unwrap());
    assert!(!db.pause(None, &held("cli")).await.unwrap());
    for tenant in [acme(), globex()] {
        let holds = db.holds(&tenant).await.unwrap();
        assert_eq!(holds.daemon_paused, Some(held("cli")));
        assert_eq!(holds.paused, None);
    }
    assert!(!db.resume(Some(&acme()), "cli", at(2)).await.unwrap());
    assert!(db.resume(None, "cli", at(2)).await.unwrap());
    assert!(!db.resume(None, "cli", at(2)).await.unwrap());
    for tenant in [acme(), globex()] {
        let wanted = [AuditEvent::Paused, AuditEvent::Resumed];
        assert_eq!(told(&db, &tenant).await, wanted);
    }
}

pub(super) async fn parking_ends_by_resuming(db: Db) {
    db.set_parked(&acme(), Some(&held("root"))).await.unwrap();
    db.set_suspended(&acme(), Some(&held("sync")))
        .await
        .unwrap();
    let holds = db.holds(&acme()).await.unwrap();
    assert_eq!(holds.parked, Some(held("root")));
    assert_eq!(holds.suspended, Some(held("sync")));
    assert!(db.resume(Some(&acme()), "cli", at(2)).await.unwrap());
    let holds = db.holds(&acme()).await.unwrap();
    assert_eq!((holds.parked, holds.suspended), (None, Some(held("sync"))));
    db.set_parked(&acme(), Some(&held("root"))).await.unwrap();
    db.set_parked(&acme(), None).await.unwrap();
    db.set_suspended(&acme(), None).await.unwrap();
    assert_eq!(db.holds(&acme()).await.unwrap(), TenantHolds::default());
}

fn trip(breaker: Breaker, since: i64, until: i64) -> Trip {
    Trip {
        breaker,
        since: at(since),
        until: at(until),
        reason: format!("since {since}"),
    }
}

pub(super) async fn a_breaker_trips_once_and_rests_when_a_person_ended_it(db: Db) {
    let trips = async |breaker, since, until| {
        let trip = trip(breaker, since, until);
        db.trip_breaker(&acme(), &trip, "roasd").await.unwrap()
    };
    let on = async |s| db.breakers(&acme(), at(s)).await.unwrap();
    assert!(trips(Breaker::SpendRate, 10, 100).await);
    assert!(
        !trips(Breaker::SpendRate, 20, 90).await,
        "the later end stands"
    );
    assert_eq!(on(20).await, [trip(Breaker::SpendRate, 10, 100)]);
    assert!(!trips(Breaker::SpendRate, 20, 110).await, "it is on");
    let longer = Trip {
        until: at(110),
        ..trip(Breaker::SpendRate, 10, 100)
    };
    assert_eq!(on(109).await, [longer]);
    assert_eq!(on(110).await, []);
    assert!(trips(Breaker::SpendRate, 110, 200).await, "it was over");
    assert!(trips(Breaker::Errors, 120, 150).await);
    let both = [
        trip(Breaker::Errors, 120, 150),
        trip(Breaker::SpendRate, 110, 200),
    ];
    assert_eq!(on(120).await, both);
    assert_eq!(db.breakers(&globex(), at(120)).await.unwrap(), []);

    assert!(db.resume(Some(&acme()), "cli", at(130)).await.unwrap());
    assert!(!db.resume(Some(&acme()), "cli", at(131)).await.unwrap());
    assert_eq!(on(130).await, []);
    assert!(
        !trips(Breaker::SpendRate, 199, 300).await,
        "a person has looked"
    );
    assert!(
        !trips(Breaker::Errors, 149, 300).await,
        "a person has looked"
    );
    assert_eq!(on(199).await, []);
    assert!(trips(Breaker::SpendRate, 200, 300).await);
    assert_eq!(on(200).await, [trip(Breaker::SpendRate, 200, 300)]);
    let (tripped, resumed) = (AuditEvent::BreakerTripped, AuditEvent::Resumed);
    let wanted = [tripped, tripped, tripped, resumed, tripped];
    assert_eq!(told(&db, &acme()).await, wanted);
    let lines = db.audit_lines(&acme(), 0, 1).await.unwrap();
    assert_eq!(lines[0].entry.rule.as_deref(), Some("breaker_spend_rate"));
    assert_eq!(lines[0].entry.detail, "since 10");
}

pub(super) async fn the_later_freeze_stands(db: Db) {
    for (set, s, reason) in [
        ("s2", 10, "a"),
        ("s1", 20, "b"),
        ("s1", 15, "c"),
        ("s2", 30, "d"),
    ] {
        db.freeze(&acme(), &ad_set(set), at(s), reason)
            .await
            .unwrap();
    }
    let all = db.frozen(&acme(), at(0)).await.unwrap();
    let wanted = [
        (ad_set("s1"), at(20), "b".to_owned()),
        (ad_set("s2"), at(30), "d".to_owned()),
    ];
    assert_eq!(all, wanted);
    assert_eq!(db.frozen(&acme(), at(20)).await.unwrap(), wanted[1..]);
}

pub(super) async fn nul_characters_are_left_out(db: Db) {
    let named = Deal {
        name: "a\0b".to_owned(),
        ..deal("a", "lead", 1)
    };
    for differs in [1, 0] {
        let found = db
            .record_deals(&acme(), std::slice::from_ref(&named), &[], at(5))
            .await;
        assert_eq!(found.unwrap(), differs);
    }
    let found = db.deal(&acme(), &deal_id("a")).await.unwrap().unwrap();
    assert_eq!(found.deal.name, "ab");
}

pub(super) async fn counts_and_status_answer(db: Db) {
    assert!(db.change_counts(&acme()).await.unwrap().is_empty());
    for id in ["x", "y"] {
        let change = ProposedChange {
            needs_approval: id == "y",
            ..proposal(&acme(), id, id, 11_000)
        };
        db.propose(&change, at(0)).await.unwrap();
    }
    let counts = db.change_counts(&acme()).await.unwrap();
    let wanted = [
        (ChangeState::AwaitingApproval, 1),
        (ChangeState::Pending, 1),
    ];
    assert_eq!(counts, wanted);
    let status = db.store_status().await.unwrap();
    assert!(status.schema_version >= 1);
    assert!(status.bytes > 0);
}

pub(super) async fn an_overview_says_of_each_tenant_what_is_said_of_it_alone(db: Db) {
    for (n, tenant) in [acme(), globex()].into_iter().enumerate() {
        for id in ["1", "2", "3"].into_iter().take(n + 2) {
            let delivery = inbox::delivery(id);
            db.append_delivery(&tenant, &delivery, at(0)).await.unwrap();
        }
        let claimed = db
            .claim_deliveries(&tenant, at(1), at(60), 1)
            .await
            .unwrap();
        let reason = "not JSON";
        db.quarantine_delivery(&tenant, claimed[0].id, 1, reason, at(2))
            .await
            .unwrap();
        for id in ["x", "y"].into_iter().take(2 - n) {
            let id = format!("{tenant}-{id}");
            let change = proposal(&tenant, &id, &id, 11_000);
            db.propose(&change, at(0)).await.unwrap();
        }
        for job in ["sync", "executor"] {
            db.record_job(&tenant, job, at(3), at(4), &JobOutcome::Succeeded, "")
                .await
                .unwrap();
        }
    }
    let held = Held {
        by: "cli".to_owned(),
        reason: "a look".to_owned(),
        since: at(5),
    };
    db.trip_breaker(&globex(), &trip(Breaker::Errors, 1, 9), "roasd")
        .await
        .unwrap();
    db.pause(Some(&globex()), &held).await.unwrap();
    db.pause(None, &held).await.unwrap();
    let nobody = TenantId::new("nobody").unwrap();
    let asked = [acme(), globex(), nobody];
    let mut overview = db.overview(&asked).await.unwrap();
    for tenant in asked {
        let wanted = TenantOverview {
            holds: db.holds(&tenant).await.unwrap(),
            inbox: db.inbox_depth(&tenant).await.unwrap(),
            changes: db.change_counts(&tenant).await.unwrap(),
            jobs: db.job_status(&tenant).await.unwrap(),
            breakers: db.breakers(&tenant, at(0)).await.unwrap(),
        };
        assert_eq!(overview.remove(&tenant), Some(wanted), "{tenant}");
    }
    assert!(overview.is_empty());
    let one = db.overview(&[globex()]).await.unwrap();
    assert_eq!(one.keys().collect::<Vec<_>>(), [&globex()]);
    assert_eq!(one[&globex()].inbox.quarantined, 1);
    assert_eq!(one[&globex()].inbox.waiting, 2);
    assert_eq!(one[&globex()].holds.paused, Some(held));
    let tripped = [trip(Breaker::Errors, 1, 9)];
    assert_eq!(one[&globex()].breakers, tripped, "also when it is over");
}

pub(super) async fn a_closed_store_is_unavailable(db: Db) {
    db.close().await;
    let unavailable = |error: &StoreError| matches!(error, StoreError::Unavailable { .. });
    assert!(unavailable(&db.tenants().await.unwrap_err()));
    let append = db
        .append_delivery(&acme(), &inbox::delivery("1"), at(0))
        .await;
    assert!(unavailable(&append.unwrap_err()));
    let propose = db.propose(&proposal(&acme(), "x", "s1", 1), at(0)).await;
    assert!(unavailable(&propose.unwrap_err()));
}

pub(super) async fn decisions_are_listed_newest_first(db: Db) {
    decide(&db, &acme(), "r1", 1, &[("a", "hold"), ("b", "kill")]).await;
    decide(&db, &globex(), "g1", 2, &[("a", "hold")]).await;
    decide(&db, &acme(), "r2", 3, &[("a", "raise"), ("b", "hold")]).await;
    let page = async |object: Option<&str>, before: Option<i64>, limit: u32| {
        let found = db.decisions_before(&acme(), object, before, limit).await;
        found.unwrap()
    };
    let ids = |found: &[(i64, DecisionRecord)]| -> Vec<String> {
        found.iter().map(|(_, d)| d.id.to_string()).collect()
    };
    let first = page(None, None, 3).await;
    assert_eq!(ids(&first), ["r2-b", "r2-a", "r1-b"]);
    assert_eq!(first[1].1, decision("r2-a", "r2", "a", "raise", 3));
    let last = first.last().map(|(sequence, _)| *sequence);
    assert_eq!(ids(&page(None, last, 3).await), ["r1-a"]);
    assert_eq!(ids(&page(Some("a"), None, 9).await), ["r2-a", "r1-a"]);
    assert_eq!(ids(&page(Some("a"), last, 9).await), ["r1-a"]);
    assert!(page(Some("c"), None, 9).await.is_empty());
}
