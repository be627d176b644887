//! What may be read, held against the served document.

use std::collections::BTreeSet;

use reqwest::Method;
use roasd::clock::Clock as _;
use roasd::domain::api_token::Scope;
use roasd::domain::attribution::{Attempt, Attribution, Credit, Method as Layer};
use roasd::domain::change::{Origin, ProposedChange, Target};
use roasd::domain::deal::{CrmAmount, Deal, StageChange};
use roasd::domain::ids::{AdId, ChangeId, DealId, DecisionId, RunId, TenantId};
use roasd::domain::insight::{AdInsight, ReportWindow};
use roasd::domain::money::{Currency, Money};
use roasd::domain::revenue::{EntryKind, RevenueEntry};
use roasd::domain::structure::EntityRef;
use roasd::domain::time::{self, Timestamp};
use roasd::store::changes::Settlement;
use roasd::store::decisions::{DecisionRecord, RunRecord};
use roasd::store::inbox::Delivery;
use roasd::store::revenue::SettledDeal;
use serde_json::Value;

use super::{World, on_both_stores, tenant};

on_both_stores! {
    every_read_is_as_described,
    lists_go_on_where_they_stopped,
    what_is_anothers_is_not_there,
    a_question_that_is_not_understood_is_refused,
}

pub(super) fn at(s: i64) -> Timestamp {
    time::from_seconds(1_790_000_000 + s)
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::USD)
}

pub(super) fn proposal(of: &TenantId, id: &str, set: &str, s: i64) -> ProposedChange {
    ProposedChange {
        id: ChangeId::new(id).unwrap(),
        tenant: of.clone(),
        entity: EntityRef::AdSet(set.parse().unwrap()),
        entity_name: "Früh \u{1f3cb} \u{202e}משה".to_owned(),
        campaign: "c1".parse().unwrap(),
        expected: Target::DailyBudget(usd(10_000)),
        requested: Target::DailyBudget(usd(12_000)),
        reason: "it earns".to_owned(),
        origin: Origin::Decision(DecisionId::new("d-1").unwrap()),
        confidence: 0.9,
        needs_approval: true,
        rank: 1,
        earliest_at: at(s),
        expires_at: at(86_400),
        proposed_at: at(s),
    }
}

pub(super) async fn complete(world: &World, of: &TenantId, id: &str, set: &str) {
    let proposed = ProposedChange {
        needs_approval: false,
        ..proposal(of, id, set, 0)
    };
    let store = &world.store;
    store.propose(&proposed, at(0)).await.unwrap();
    let claimed = store
        .claim_change(of, at(1), at(60))
        .await
        .unwrap()
        .unwrap();
    let (id, attempt) = (claimed.change.proposed.id, claimed.change.attempt);
    let (before, after) = (proposed.expected, proposed.requested);
    store
        .mark_executing(of, &id, attempt, before, after, at(2))
        .await
        .unwrap();
    let done = Settlement::Completed {
        before,
        after,
        was_sent: true,
        vendor_request: Some("trace".to_owned()),
        clipped_by: None,
    };
    store
        .settle_change(of, &id, attempt, &done, at(3))
        .await
        .unwrap();
}

async fn decide(world: &World, of: &TenantId, run: &str, ids: &[&str]) {
    let record = RunRecord {
        id: RunId::new(run).unwrap(),
        at: at(0),
        seed: u64::MAX,
        policy: "roasd".to_owned(),
        version: "1".to_owned(),
        inputs_json: "{}".to_owned(),
        flags: vec!["nothing_live".to_owned()],
    };
    let decisions: Vec<DecisionRecord> = ids
        .iter()
        .map(|id| DecisionRecord {
            id: DecisionId::new(id).unwrap(),
            run: record.id.clone(),
            entity: EntityRef::AdSet("s1".parse().unwrap()),
            entity_name: "Morning".to_owned(),
            action: "raise".to_owned(),
            from: "100.00 USD".to_owned(),
            to: "120.00 USD".to_owned(),
            paragraph: "It earns.".to_owned(),
            rationale_json: r#"{"rule":{"name":"water_level"}}"#.to_owned(),
            change: Some(ChangeId::new("wait-1").unwrap()),
            at: at(0),
        })
        .collect();
    let recorded = world.store.record_run(of, &record, &decisions).await;
    recorded.unwrap();
}

/// A deal that is credited to ad 77 and won.
async fn sell(world: &World, of: &TenantId) {
    let stage = "closed_won".parse().unwrap();
    let deal = Deal {
        id: DealId::new("500").unwrap(),
        name: "Ana's membership".to_owned(),
        pipeline: "default".parse().unwrap(),
        stage,
        amount: Some(CrmAmount {
            decimal: "900".to_owned(),
            currency: None,
        }),
        history: vec![StageChange {
            at: at(0),
            stage: "closed_won".parse().unwrap(),
        }],
        contacts: Vec::new(),
        created_at: at(-50),
        updated_at: at(0),
        is_archived: false,
    };
    let store = &world.store;
    store
        .record_deals(of, std::slice::from_ref(&deal), &[], at(1))
        .await
        .unwrap();
    let unsettled = store.unsettled_deals(of, at(2), 9).await.unwrap().remove(0);
    let credit = Credit {
        ad: AdId::new("77").unwrap(),
        ad_set: Some("7".parse().unwrap()),
        campaign: None,
    };
    let settled = SettledDeal {
        deal: deal.id.clone(),
        revision: unsettled.revision,
        attribution: Some(Attribution {
            method: Layer::UrlParam,
            confidence: 1.0,
            credit: credit.clone(),
            visit: None,
            clicked_at: Some(at(-100)),
            reason: "the ad's id in the link".to_owned(),
        }),
        gap: None,
        attempts: vec![Attempt {
            method: Layer::UrlParam,
            succeeded: true,
            confidence: 1.0,
            reason: "the ad's id in the link".to_owned(),
            runners_up: vec![(AdId::new("78").unwrap(), 0.1)],
        }],
        conversions: Vec::new(),
        entries: vec![RevenueEntry {
            deal: deal.id,
            credit: Some(credit),
            method: Some(Layer::UrlParam),
            confidence: 1.0,
            kind: EntryKind::Stage,
            stage: Some("closed_won".parse().unwrap()),
            amount: usd(90_000),
            is_cash: true,
            occurred_at: at(0),
        }],
        retry_at: None,
        fault: None,
    };
    store.settle_deal(of, &settled, at(3)).await.unwrap();
}

async fn spend(world: &World, of: &TenantId, ad: &str, minor: i64, days_ago: i64) {
    let today = time::day_of(world.clock.now(), &time::TimeZone::UTC);
    let day = time::add_days(today, -days_ago);
    let row = AdInsight {
        ad: AdId::new(ad).unwrap(),
        ad_set: "7".parse().unwrap(),
        campaign: "c1".parse().unwrap(),
        window: ReportWindow::Day(day),
        impressions: 1_000,
        clicks: 10,
        spend: usd(minor),
        reach: None,
        actions: Vec::new(),
    };
    let store = &world.store;
    store
        .record_insights(of, &[row], day, day, false, world.clock.now())
        .await
        .unwrap();
}

async fn quarantine(world: &World, of: &TenantId, body: &str) -> i64 {
    let delivery = Delivery {
        source: "hubspot.webhook".to_owned(),
        dedup_key: body.to_owned(),
        body: body.as_bytes().to_vec(),
    };
    let store = &world.store;
    store.append_delivery(of, &delivery, at(0)).await.unwrap();
    let claimed = store.claim_deliveries(of, at(1), at(60), 1).await.unwrap();
    let id = claimed[0].id;
    store
        .quarantine_delivery(of, id, 1, "not JSON", at(2))
        .await
        .unwrap();
    id
}

/// Something of everything, of the gym.
pub(super) async fn history(world: &World) -> i64 {
    let gym = tenant("gym");
    decide(world, &gym, "run-1", &["d-1", "d-2"]).await;
    let waits = proposal(&gym, "wait-1", "s1", 0);
    world.store.propose(&waits, at(0)).await.unwrap();
    complete(world, &gym, "done-1", "s9").await;
    sell(world, &gym).await;
    spend(world, &gym, "77", 2_500, 0).await;
    spend(world, &gym, "79", 1_000, 1).await;
    quarantine(world, &gym, "{not json \u{1f3cb}").await
}

/// What was told by the route that ends so.
fn told_of<'a>(told: &'a [(String, Value)], end: &str) -> &'a Value {
    let found = told.iter().find(|(path, _)| path.ends_with(end));
    &found.unwrap().1
}

async fn every_read_is_as_described(world: World) {
    let number = history(&world).await;
    let token = world.token(None, &[Scope::Admin]).await;
    let of = "/v1/tenants/{tenant}";
    let mut told = Vec::new();
    for (described, path) in [
        ("/v1/tenants".to_owned(), "/v1/tenants".to_owned()),
        (format!("{of}/status"), "/v1/tenants/gym/status".to_owned()),
        (format!("{of}/stages"), "/v1/tenants/gym/stages".to_owned()),
        (
            format!("{of}/decisions"),
            "/v1/tenants/gym/decisions".to_owned(),
        ),
        (
            format!("{of}/decisions/{{id}}"),
            "/v1/tenants/gym/decisions/d-1".to_owned(),
        ),
        (
            format!("{of}/changes"),
            "/v1/tenants/gym/changes?state=open".to_owned(),
        ),
        (
            format!("{of}/changes/{{id}}"),
            "/v1/tenants/gym/changes/done-1".to_owned(),
        ),
        (
            format!("{of}/deals/{{id}}"),
            "/v1/tenants/gym/deals/500".to_owned(),
        ),
        (format!("{of}/ledger"), "/v1/tenants/gym/ledger".to_owned()),
        (
            format!("{of}/quarantine"),
            "/v1/tenants/gym/quarantine".to_owned(),
        ),
        (
            format!("{of}/quarantine/{{id}}"),
            format!("/v1/tenants/gym/quarantine/{number}"),
        ),
        (
            format!("{of}/coverage"),
            "/v1/tenants/gym/coverage?days=3".to_owned(),
        ),
        (
            format!("{of}/reported/conversions"),
            "/v1/tenants/gym/reported/conversions".to_owned(),
        ),
        (
            format!("{of}/reported/ads"),
            "/v1/tenants/gym/reported/ads".to_owned(),
        ),
    ] {
        let answer = world
            .asked(Method::GET, &described, &path, &token, "")
            .await;
        told.push((described, answer));
    }
    let described: BTreeSet<&str> = told.iter().map(|(path, _)| path.as_str()).collect();
    let paths = world.schema["paths"].as_object().unwrap();
    for (path, verbs) in paths {
        assert!(
            verbs.get("get").is_none() || described.contains(path.as_str()),
            "GET {path} is described and not tried"
        );
    }
    let find = |end: &str| told_of(&told, end);
    assert_eq!(find("/status")["inbox"]["quarantined"], 1);
    assert_eq!(find("/decisions/{id}")["change"]["id"], "wait-1");
    assert_eq!(find("/decisions/{id}")["seed"], u64::MAX.to_string());
    assert_eq!(
        find("/changes")["changes"][0]["object"]["name"],
        "Früh \u{1f3cb} \u{202e}משה"
    );
    assert_eq!(find("/changes/{id}")["paragraph"], "It earns.");
    assert!(find("/changes/{id}")["audit"].as_array().unwrap().len() >= 3);
    let deal = find("/deals/{id}");
    assert_eq!(deal["credit"]["ad"]["id"], "77");
    assert_eq!(deal["attempts"][0]["runners_up"][0]["ad"], "78");
    assert!(
        !deal.to_string().contains("Ana"),
        "names of people are not told"
    );
    let days = &find("/ledger")["days"];
    assert_eq!(days.as_array().unwrap().len(), 2, "{days}");
    assert_eq!(days[0]["ad"], "77");
    assert_eq!(days[0]["spend"]["decimal"], "25.00");
    assert_eq!(days[0]["cash"]["minor"], 90_000);
    assert_eq!(days[1]["pipeline"]["minor"], 0);
    assert_eq!(find("/coverage")["total"]["url_param"], 1);
    assert_eq!(find("/coverage")["days"].as_array().unwrap().len(), 3);
    assert_eq!(find("/stages")["stages"][0]["description"], "Asked");
    assert_eq!(find("/quarantine/{id}")["body"], "{not json \u{1f3cb}");
}

async fn lists_go_on_where_they_stopped(world: World) {
    let gym = tenant("gym");
    for n in 0..5_i64 {
        let id = format!("c-{n}");
        let waits = proposal(&gym, &id, &format!("s{n}"), n / 2);
        world.store.propose(&waits, at(n)).await.unwrap();
        decide(&world, &gym, &format!("run-{n}"), &[&format!("d-{n}")]).await;
        spend(&world, &gym, &format!("ad-{n}"), 100, n).await;
    }
    let token = world.token(Some("gym"), &[Scope::Read]).await;
    for (list, field) in [("changes", "id"), ("decisions", "id"), ("ledger", "ad")] {
        let whole = world
            .get(&format!("/v1/tenants/gym/{list}"), &token)
            .await
            .json();
        let rows = if list == "ledger" { "days" } else { list };
        let names = |page: &Value| -> Vec<String> {
            let rows = page[rows].as_array().unwrap().iter();
            rows.map(|row| row[field].as_str().unwrap().to_owned())
                .collect()
        };
        let expected = names(&whole);
        assert!(expected.len() >= 5, "{list}");
        assert_eq!(whole["next"], Value::Null);
        let mut path = format!("/v1/tenants/gym/{list}?limit=2");
        let mut found = Vec::new();
        for page_number in 0..4 {
            let page = world.get(&path, &token).await.json();
            found.extend(names(&page));
            if page_number == 0 {
                // What comes meanwhile shifts nothing.
                let late = proposal(&gym, &format!("late-{list}"), &format!("l-{list}"), 50);
                world.store.propose(&late, at(50)).await.unwrap();
                let late = format!("late-{list}");
                decide(&world, &gym, &late, &[&late]).await;
            }
            match page["next"].as_str() {
                Some(next) => path = format!("/v1/tenants/gym/{list}?limit=2&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, expected, "{list}");
    }
}

async fn what_is_anothers_is_not_there(world: World) {
    let number = history(&world).await;
    let spa = world.token(Some("spa"), &[Scope::Admin]).await;
    for path in [
        "decisions/d-1",
        "changes/wait-1",
        "deals/500",
        &format!("quarantine/{number}"),
    ] {
        world
            .get(&format!("/v1/tenants/spa/{path}"), &spa)
            .await
            .problem(404);
    }
    let (drop, retry) = (
        format!("quarantine/{number}/drop"),
        format!("quarantine/{number}/retry"),
    );
    for (path, body) in [
        ("changes/wait-1/approve", ""),
        ("changes/wait-1/reject", "{}"),
        ("changes/done-1/undo", ""),
        (drop.as_str(), ""),
        (retry.as_str(), ""),
    ] {
        let path = format!("/v1/tenants/spa/{path}");
        world
            .send(Method::POST, &path, &spa, body)
            .await
            .problem(404);
    }
    for list in ["decisions", "changes", "ledger", "quarantine"] {
        let answer = world.get(&format!("/v1/tenants/spa/{list}"), &spa).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.text.contains("77"), "{}", answer.text);
    }
}

async fn a_question_that_is_not_understood_is_refused(world: World) {
    let token = world.token(Some("gym"), &[Scope::Read]).await;
    for (query, word) in [
        ("changes?limit=0", "limit"),
        ("changes?limit=501", "limit"),
        ("changes?limit=x", "limit"),
        ("changes?state=done", "awaiting_approval"),
        ("changes?cursor=x", "cursor"),
        ("changes?cursor=1.", "cursor"),
        ("changes?stat=open", "stat"),
        ("decisions?cursor=-", "cursor"),
        ("ledger?from=yesterday", "2026-11-30"),
        ("ledger?from=2026-11-30&to=2026-11-01", "from"),
        ("ledger?from=2020-01-01&to=2026-11-01", "91"),
        ("status?verbose=1", "none"),
    ] {
        let answer = world.get(&format!("/v1/tenants/gym/{query}"), &token).await;
        let detail = answer.problem(400);
        assert!(detail.contains(word), "{query}: {detail}");
    }
    for path in [
        "deals/%00",
        "decisions/%F0%9F%8F%8B",
        "changes/x",
        "deals/999",
    ] {
        world
            .get(&format!("/v1/tenants/gym/{path}"), &token)
            .await
            .problem(404);
    }
}
