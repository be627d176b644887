//! The predecessor's endpoints: its paths and JSON, with a token.

use reqwest::Method;
use roasd::domain::api_token::Scope;
use serde_json::{Value, json};

use super::{World, on_both_stores, tenant};

on_both_stores! {
    stages_are_valued_as_configured,
    a_token_names_the_tenant,
    what_cannot_be_reckoned_with_is_refused,
    an_event_of_hubspot_enters_the_inbox_once,
}

impl World {
    /// Posts to an endpoint of the predecessor's, and holds the answer against the document.
    async fn ml(&self, path: &str, token: &str, body: &Value) -> Value {
        let path = format!("/api/ml/{path}");
        let body = body.to_string();
        self.asked(Method::POST, &path, &path, token, &body).await
    }

    /// The detail of the problem that a body comes to.
    async fn ml_problem(&self, path: &str, token: &str, body: &str, status: u16) -> String {
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
