//! The predecessor's endpoints: its paths and JSON, with a token.

use reqwest::Method;
use roasd::domain::api_token::Scope;
use roasd::domain::ids::VisitId;
use serde_json::{Value, json};

use super::{World, on_both_stores, tenant};

on_both_stores! {
    stages_are_valued_as_configured,
    a_token_names_the_tenant,
    what_cannot_be_reckoned_with_is_refused,
    an_event_of_hubspot_enters_the_inbox_once,
    clicks_are_kept_and_conversions_credited,
    clicks_that_cannot_be_used_are_refused,
    totals_are_kept_as_reported,
    budgets_are_recommended_of_totals,
    feedback_is_used,
    a_tired_audience_is_told,
}

impl World {
    /// Posts to an endpoint of the predecessor's, and holds the answer against the document.
    pub(super) async fn ml(&self, path: &str, token: &str, body: &Value) -> Value {
        let path = format!("/api/ml/{path}");
        let body = body.to_string();
        self.asked(Method::POST, &path, &path, token, &body).await
    }

    /// The detail of the problem that a body comes to.
    pub(super) async fn ml_problem(
        &self,
        path: &str,
        token: &str,
        body: &str,
        status: u16,
    ) -> String {
        let path = format!("/api/ml/{path}");
        let answer = self.send(Method::POST, &path, token, body).await;
        answer.problem(status)
    }
}

async fn stages_are_valued_as_configured(world: World) {
    let token = world.token(Some("gym"), &[Scope::Read]).await;
    let step = async |body: Value| world.ml("synthetic-revenue/calculate", &token, &body).await;
    let first = step(json!({ "tenant_id": "gym", "stage_to": "appointment_scheduled" })).await;
    assert_eq!(first["synthetic_value"], 2_250.0);
    assert_eq!(first["calculated_value"], 2_250.0);
    assert_eq!(first["confidence"], 0.6);
    assert_eq!(first["stage_from"], Value::Null);
    let sold = step(json!({
        "tenant_id": "gym", "stage_from": "appointment_scheduled", "stage_to": "closed_won",
        "deal_value": 4_999.99, "anything_else": [1, 2],
    }))
    .await;
    assert_eq!(sold["synthetic_value"], 4_999.99);
    assert_eq!(sold["calculated_value"], 2_749.99);
    let lost =
        step(json!({ "stage_from": "appointment_scheduled", "stage_to": "closed_lost" })).await;
    assert_eq!(lost["calculated_value"], -2_250.0);

    let roas = async |spend: f64, changes: Value| {
        let body = json!({ "tenant_id": "gym", "ad_spend": spend, "stage_changes": changes });
        world.ml("synthetic-revenue/ad-roas", &token, &body).await
    };
    let two = json!([
        { "stage_to": "lead" },
        { "stage_from": "lead", "stage_to": "appointment_scheduled" },
    ]);
    let found = roas(450.0, two).await;
    assert_eq!(found["pipeline_value"], 2_250.0);
    assert_eq!(found["pipeline_roas"], 5.0);
    assert_eq!(found["num_stage_changes"], 2);
    assert!((found["avg_confidence"].as_f64().unwrap() - 0.35).abs() < 1e-9);
    let nothing = roas(0.0, json!([])).await;
    assert_eq!(nothing["pipeline_roas"], Value::Null, "and not infinity");

    let listed = world
        .ml(
            "synthetic-revenue/get-stages",
            &token,
            &json!({ "tenant_id": "gym" }),
        )
        .await;
    assert_eq!(listed["tenant_id"], "gym");
    assert_eq!(listed["num_stages"], 4);
    let names: Vec<&str> = listed["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage["stage_name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["closed_lost", "lead", "appointment_scheduled", "closed_won"]
    );
}

async fn a_token_names_the_tenant(world: World) {
    let gym = world.token(Some("gym"), &[Scope::Read]).await;
    let all = world.token(None, &[Scope::Read]).await;
    let ingest = world.token(Some("gym"), &[Scope::Ingest]).await;
    let path = "synthetic-revenue/get-stages";
    let body = |tenant: &str| json!({ "tenant_id": tenant }).to_string();
    let detail = world.ml_problem(path, &gym, &body("spa"), 403).await;
    assert!(detail.contains("gym"), "{detail}");
    world.ml_problem(path, &ingest, &body("gym"), 403).await;
    world.ml_problem(path, "roasd_x", &body("gym"), 401).await;
    world.ml_problem(path, &all, &body("nobody"), 404).await;
    let detail = world.ml_problem(path, &all, "{}", 422).await;
    assert!(detail.contains("tenant_id"), "{detail}");
    let of_spa = world.ml(path, &all, &json!({ "tenant_id": "spa" })).await;
    assert_eq!(of_spa["tenant_id"], "spa");
}

async fn what_cannot_be_reckoned_with_is_refused(world: World) {
    let token = world.token(Some("gym"), &[Scope::Read]).await;
    let path = "synthetic-revenue/calculate";
    for (body, word) in [
        ("", "EOF"),
        ("{}", "stage_to"),
        (r#"{"stage_to":7}"#, "string"),
        (r#"{"stage_to":"sold"}"#, "appointment_scheduled"),
        (r#"{"stage_to":"💪"}"#, "closed_won"),
        (r#"{"stage_to":"lead","stage_from":""}"#, "stage_from"),
        (r#"{"stage_to":"closed_won","deal_value":-1}"#, "deal_value"),
        (r#"{"stage_to":"closed_won","deal_value":NaN}"#, "openapi"),
        (r#"{"stage_to":"closed_won","deal_value":1e999}"#, "openapi"),
        (
            r#"{"stage_to":"closed_won","deal_value":1e300}"#,
            "deal_value",
        ),
        (r#"{"stage_to":"closed_won","deal_value":"9"}"#, "string"),
    ] {
        let detail = world.ml_problem(path, &token, body, 422).await;
        assert!(detail.contains(word), "{body}: {detail}");
    }
    let nested = r#"{"ad_spend":1,"stage_changes":[{"stage_to":"lead"},{"stage_to":"sold"}]}"#;
    let detail = world
        .ml_problem("synthetic-revenue/ad-roas", &token, nested, 422)
        .await;
    assert!(detail.contains("stage_changes[1]"), "{detail}");
    let large = json!({ "stage_to": "x".repeat(70_000) }).to_string();
    world.ml_problem(path, &token, &large, 413).await;
}

async fn an_event_of_hubspot_enters_the_inbox_once(world: World) {
    let token = world.token(Some("gym"), &[Scope::Ingest]).await;
    let event = |portal: u64| {
        json!({
            "eventId": 1, "subscriptionId": 2, "portalId": portal, "occurredAt": 1_789_999_999_000_i64,
            "subscriptionType": "deal.propertyChange", "attemptNumber": 0, "objectId": 500,
            "propertyName": "dealstage", "propertyValue": "closedwon",
        })
    };
    let path = "process-hubspot-event";
    let taken = world.ml(path, &token, &event(33)).await;
    assert_eq!(
        (&taken["status"], &taken["deal_id"]),
        (&json!("queued"), &json!("500"))
    );
    let depth = world.store.inbox_depth(&tenant("gym")).await.unwrap();
    assert_eq!(depth.waiting, 1, "it is on disk when it is answered");
    assert_eq!(*world.tree.nudges.lock().unwrap(), ["gym"]);
    let again = world.ml(path, &token, &event(33)).await;
    assert_eq!(again["status"], "already_known");
    world
        .ml_problem(path, &token, &event(35).to_string(), 403)
        .await;
    let several = json!([event(33), event(33)]).to_string();
    for bad in ["{}", "[]", "7", "{", &several] {
        let detail = world.ml_problem(path, &token, bad, 422).await;
        assert!(detail.contains("HubSpot"), "{bad}: {detail}");
    }
    let depth = world.store.inbox_depth(&tenant("gym")).await.unwrap();
    assert_eq!(depth.waiting, 1);
}

fn click(id: &str) -> Value {
    json!({
        "tenant_id": "gym", "ad_id": "120001", "campaign_id": "130001", "adset_id": "140001",
        "click_id": id, "ip_address": "203.0.113.7", "user_agent": "Mozilla/5.0 (iPhone)",
        "fbclid": format!("Fb.{id}"), "utm_source": "fb", "utm_medium": "paid_social",
        "device_type": "mobile", "fingerprint_components": {
            "screen_resolution": "390x844", "timezone": "Europe/Berlin", "os": "iOS 17.5",
            "browser": "Safari", "canvas": [1, 2],
        },
    })
}

fn conversion(id: &str, more: &Value) -> Value {
    let mut body = json!({
        "tenant_id": "gym", "conversion_id": id, "conversion_type": "purchase \u{1f3cb}",
        "conversion_value": 49.99, "conversion_timestamp": "2026-09-21T14:14:00",
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn clicks_are_kept_and_conversions_credited(world: World) {
    let token = world.token(Some("gym"), &[Scope::Ingest]).await;
    let track = async |body: Value| world.ml("attribution/track-click", &token, &body).await;
    let kept = track(click("click-0001")).await;
    assert_eq!(kept["status"], "click_tracked");
    assert_eq!(kept["click_id"], "click-0001");
    assert_eq!(kept["attribution_window_days"], 90.0);
    assert_eq!(
        kept["fingerprint_hash"],
        Value::Null,
        "silence is no consent here"
    );
    let visit = async |id: &str| {
        let id = VisitId::new(id).unwrap();
        world
            .store
            .visit(&tenant("gym"), &id)
            .await
            .unwrap()
            .unwrap()
    };
    let first = visit("click-0001").await;
    assert!(first.ip.is_none() && first.fingerprint.is_none() && first.user_agent.is_none());
    assert_eq!(first.ad.ad.unwrap().as_str(), "120001");
    let mut consented = click("click-0002");
    consented["consent"] = json!(true);
    let kept = track(consented.clone()).await;
    let second = visit("click-0002").await;
    assert_eq!(kept["fingerprint_hash"], second.fingerprint.unwrap().0);
    assert!(second.ip.is_some() && second.user_agent.is_some());
    consented["ad_id"] = json!("9");
    track(consented).await;
    assert_eq!(visit("click-0002").await.ad.ad.unwrap().as_str(), "120001");
    let mut bare = click("");
    bare.as_object_mut().unwrap().remove("click_id");
    assert!(track(bare).await["click_id"].as_str().unwrap().len() > 8);

    let path = "attribution/attribute-conversion";
    let credit = async |id: &str, more: Value| world.ml(path, &token, &conversion(id, &more)).await;
    for (id, more) in [
        ("by-click", json!({ "click_id": "click-0001" })),
        ("by-fbclid", json!({ "fbclid": "Fb.click-0002" })),
    ] {
        let found = credit(id, more).await;
        assert_eq!(found["success"], true, "{id}: {found}");
        assert_eq!(found["attribution_method"], "url_param");
        assert_eq!(found["attribution_confidence"], 1.0);
        assert_eq!(found["attribution_window_hours"], 2_160.0);
        assert_eq!(found["ad_id"], "120001");
        assert_eq!(found["campaign_id"], "130001");
    }
    let nothing = credit("by-nothing", json!({ "fbclid": "Fb.other" })).await;
    assert_eq!(nothing["success"], false);
    assert_eq!(nothing["attribution_confidence"], 0.0);
    assert!(nothing["reason"].as_str().unwrap().contains("url_param"));
    // A device is compared, and what is unusual about it decides; that it is answered is held here.
    let device = json!({ "fingerprint_hash": kept["fingerprint_hash"], "consent": true,
        "ip_address": "203.0.113.7", "user_agent": "Mozilla/5.0 (iPhone)" });
    credit("by-device", device).await;

    let reader = world.token(Some("gym"), &[Scope::Read]).await;
    let path = "/v1/tenants/gym/reported/conversions";
    let listed = world.get(path, &reader).await.json();
    let rows = listed["conversions"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    let by_click = rows.iter().find(|row| row["id"] == "by-click").unwrap();
    assert_eq!(by_click["value"]["minor"], 4_999);
    assert_eq!(by_click["credit"]["ad"]["id"], "120001");
    assert!(
        !listed.to_string().contains("click-0001"),
        "no visit is kept with it"
    );
    let ledger = world.get("/v1/tenants/gym/ledger", &reader).await.json();
    assert_eq!(ledger["days"], json!([]), "it is no entry of the ledger");
    let first = world.get(&format!("{path}?limit=3"), &reader).await.json();
    let next = first["next"].as_str().unwrap();
    let rest = world
        .get(&format!("{path}?limit=3&cursor={next}"), &reader)
        .await;
    assert_eq!(rest.json()["conversions"].as_array().unwrap().len(), 1);
}

async fn clicks_that_cannot_be_used_are_refused(world: World) {
    let token = world.token(Some("gym"), &[Scope::Ingest]).await;
    let changed = |name: &str, value: Value| {
        let mut body = click("click-0001");
        body[name] = value;
        body.to_string()
    };
    for (body, word) in [
        (json!({ "campaign_id": "1" }).to_string(), "ad_id"),
        (changed("ad_id", json!("")), "ad_id"),
        (changed("ad_id", json!(7)), "string"),
        (changed("adset_id", json!("\u{7}")), "adset_id"),
        (changed("click_id", json!("no spaces")), "click_id"),
        (changed("ip_address", json!("somewhere")), "ip_address"),
        (changed("tenant_id", json!(7)), "tenant_id"),
    ] {
        let path = "/api/ml/attribution/track-click";
        let answer = world.send(Method::POST, path, &token, &body).await;
        let detail = answer.problem(422);
        assert!(detail.contains(word), "{body}: {detail}");
    }
    let path = "attribution/attribute-conversion";
    for (name, value) in [
        ("conversion_timestamp", json!("yesterday")),
        ("conversion_value", json!(-1)),
        ("conversion_value", json!(null)),
        ("conversion_id", json!("")),
        ("conversion_id", json!("x".repeat(300))),
        ("conversion_type", json!("a\u{0}b")),
    ] {
        let body = conversion("c", &json!({ name: value })).to_string();
        world.ml_problem(path, &token, &body, 422).await;
    }
    let reader = world.token(Some("gym"), &[Scope::Read]).await;
    world
        .ml_problem(path, &reader, &conversion("c", &json!({})).to_string(), 403)
        .await;
}

async fn totals_are_kept_as_reported(world: World) {
    let token = world
        .token(Some("gym"), &[Scope::Ingest, Scope::Read])
        .await;
    let path = "ingest-crm-data";
    let body =
        json!({ "tenant_id": "gym", "ad_performances": { "1": 2250.5, "2": -3, "\u{1f3cb}": 0 } });
    let taken = world.ml(path, &token, &body).await;
    assert_eq!(
        taken,
        json!({ "status": "ok", "updated_ads": 3, "total_received": 3 })
    );
    let shown = world
        .get("/v1/tenants/gym/reported/ads", &token)
        .await
        .json();
    assert_eq!(shown["ads"][0]["value"]["minor"], 225_050);
    let ledger = world.get("/v1/tenants/gym/ledger", &token).await.json();
    assert_eq!(ledger["days"], json!([]), "totals are no deals");
    for bad in [
        r#"{"ad_performances":{"1":1e300}}"#,
        r#"{"ad_performances":{"1":1e999}}"#,
        r#"{"ad_performances":{"1":NaN}}"#,
        r#"{"ad_performances":{"":1}}"#,
        r#"{"ad_performances":{"1":"2"}}"#,
        r#"{"ad_performances":[]}"#,
        "{}",
    ] {
        world.ml_problem(path, &token, bad, 422).await;
    }
}

fn ad_totals(id: &str, value: Option<f64>) -> Value {
    json!({
        "ad_id": id, "impressions": 40_000, "clicks": 600, "spend": 700.0,
        "pipeline_value": value, "age_hours": 168.0,
    })
}

async fn budgets_are_recommended_of_totals(world: World) {
    let token = world.token(Some("gym"), &[Scope::Read]).await;
    let path = "battle-hardened/select";
    let good = ad_totals("good", Some(27_000.0));
    let poor = ad_totals("poor", Some(0.0));
    let body = json!({ "ad_states": [poor, good], "total_budget": 200.0,
        "creative_dna_scores": { "good": 0.1 } });
    let found = world.ml(path, &token, &body).await;
    assert_eq!(found["num_ads"], 2);
    assert_eq!(found["total_budget"], 200.0);
    let recommended = found["recommendations"].as_array().unwrap();
    assert_eq!(recommended[0]["ad_id"], "poor", "in the order given");
    let budget = |n: usize| recommended[n]["recommended_budget"].as_f64().unwrap();
    assert_eq!(recommended[1]["current_budget"], 100.0);
    assert!(budget(1) > 100.0 && budget(0) < 100.0, "{found:#}");
    assert!(budget(0) + budget(1) <= 200.0 + 1e-9);
    assert!(budget(1) <= 119.9 + 1e-9, "one step at a time");
    assert_eq!(
        world.ml(path, &token, &body).await,
        found,
        "the same comes to the same"
    );
    let nothing = json!({ "ad_states": [], "total_budget": 0 });
    assert_eq!(
        world.ml(path, &token, &nothing).await["recommendations"],
        json!([])
    );
    let blank = json!({ "ad_states": [{
        "ad_id": "new", "impressions": 0, "clicks": 0, "spend": 0, "age_hours": 0,
    }], "total_budget": 50 });
    let blank = world.ml(path, &token, &blank).await;
    let metrics = &blank["recommendations"][0]["metrics"];
    assert_eq!(metrics["pipeline_roas"], Value::Null);
    let twice = json!({ "ad_states": [good, good], "total_budget": 1 }).to_string();
    let detail = world.ml_problem(path, &token, &twice, 422).await;
    assert!(detail.contains("ad_states[1]"), "{detail}");
    for (name, value) in [
        ("spend", -1.0),
        ("clicks", -1.0),
        ("impressions", 1e300),
        ("age_hours", -1.0),
    ] {
        let mut ad = ad_totals("a", None);
        ad[name] = json!(value);
        let body = json!({ "ad_states": [ad], "total_budget": 1 }).to_string();
        let detail = world.ml_problem(path, &token, &body, 422).await;
        assert!(detail.contains(name), "{detail}");
    }
}

async fn a_tired_audience_is_told(world: World) {
    let token = world.token(Some("gym"), &[Scope::Read]).await;
    let path = "fatigue/check";
    let day = |ctr: f64, frequency: f64, cpm: f64, impressions: u64| json!({ "ctr": ctr, "frequency": frequency, "cpm": cpm, "impressions": impressions });
    let steady: Vec<Value> = (0..10)
        .map(|i| day(0.02, 1.5, 10.0, 5_000 + 200 * i))
        .collect();
    let with = |last: Value| {
        let mut days = steady.clone();
        days.push(last);
        json!({ "ad_id": "a", "metrics_history": days })
    };
    for (last, status, next) in [
        (day(0.02, 1.6, 10.0, 7_100), "HEALTHY", "CONTINUE"),
        (
            day(0.015, 1.6, 10.0, 7_100),
            "FATIGUING",
            "REFRESH_CREATIVE",
        ),
        (day(0.02, 3.6, 10.0, 7_100), "SATURATED", "REFRESH_CREATIVE"),
        (
            day(0.02, 1.6, 15.1, 7_100),
            "AUDIENCE_EXHAUSTED",
            "REFRESH_CREATIVE",
        ),
        (day(0.02, 1.6, 10.0, 5_400), "FATIGUING", "REFRESH_CREATIVE"),
    ] {
        let found = world.ml(path, &token, &with(last.clone())).await;
        assert_eq!(found["ad_id"], "a");
        let told = [found["status"].clone(), found["recommendation"].clone()];
        assert_eq!(told, [json!(status), json!(next)], "{last} {found}");
        assert_eq!(found["days_until_critical"] == 0.0, status != "HEALTHY");
    }
    // In percent, as Ads Manager shows it, the answer is the same.
    let percent: Vec<Value> = [2.0, 2.0, 2.0, 1.5]
        .iter()
        .map(|ctr| day(*ctr, 1.5, 10.0, 5_000))
        .collect();
    let body = json!({ "ad_id": "a", "metrics_history": percent });
    assert_eq!(world.ml(path, &token, &body).await["status"], "FATIGUING");
    // A dozen clicks a day fall by a third for no reason; the posterior says so.
    let few: Vec<Value> = [0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.013]
        .iter()
        .map(|ctr| day(*ctr, 1.5, 10.0, 600))
        .collect();
    let mut body = json!({ "ad_id": "a", "metrics_history": few });
    assert_eq!(world.ml(path, &token, &body).await["status"], "FATIGUING");
    body["method"] = json!("posterior");
    assert_eq!(world.ml(path, &token, &body).await["status"], "HEALTHY");
    let nothing = json!({ "ad_id": "a", "metrics_history": [] });
    assert_eq!(world.ml(path, &token, &nothing).await["status"], "HEALTHY");
    for (bad, name) in [
        (with(day(-0.1, 1.0, 1.0, 1)), "metrics_history[10].ctr"),
        (with(day(0.1, 1.0, 1e300, 1)), "metrics_history[10].cpm"),
        (json!({ "ad_id": "", "metrics_history": [] }), "ad_id"),
        (
            json!({ "ad_id": "a", "metrics_history": [], "method": "guess" }),
            "method",
        ),
    ] {
        let detail = world.ml_problem(path, &token, &bad.to_string(), 422).await;
        assert!(detail.contains(name), "{detail}");
    }
}

async fn feedback_is_used(world: World) {
    let token = world
        .token(Some("gym"), &[Scope::Read, Scope::Ingest])
        .await;
    let body =
        json!({ "ad_states": [ad_totals("a", None), ad_totals("b", None)], "total_budget": 200.0 });
    let expected = async || {
        let found = world.ml("battle-hardened/select", &token, &body).await;
        let metrics = &found["recommendations"][0]["metrics"];
        (
            metrics["used_feedback"] == true,
            metrics["expected_roas"].as_f64().unwrap(),
        )
    };
    let (used, before) = expected().await;
    assert!(!used);
    let said = json!({ "ad_id": "a", "actual_pipeline_value": 27_000.0, "actual_spend": 700.0 });
    let taken = world.ml("battle-hardened/feedback", &token, &said).await;
    assert_eq!(taken["status"], "feedback_registered");
    assert!((taken["actual_roas"].as_f64().unwrap() - 27_000.0 / 700.0).abs() < 1e-9);
    let (used, after) = expected().await;
    assert!(used && after > before * 1.5, "{before} then {after}");
    let free = json!({ "ad_id": "a", "actual_pipeline_value": 5, "actual_spend": 0 });
    let taken = world.ml("battle-hardened/feedback", &token, &free).await;
    assert_eq!(taken["actual_roas"], Value::Null);
    for bad in [
        r#"{"ad_id":"a","actual_pipeline_value":1}"#,
        r#"{"ad_id":"a","actual_pipeline_value":1,"actual_spend":-1}"#,
        r#"{"ad_id":"","actual_pipeline_value":1,"actual_spend":1}"#,
    ] {
        world
            .ml_problem("battle-hardened/feedback", &token, bad, 422)
            .await;
    }
}
