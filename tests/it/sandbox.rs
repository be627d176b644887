//! The sandbox from outside, over HTTP as roasd sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Client;
use serde_json::{Value, json};
use sha2::Sha256;

use roasd::clock::{Clock as _, SteppedClock};
use roasd::domain::ids::TenantId;
use roasd::domain::time;
use roasd::sandbox::{
    Business, DeliverTo, Fault, FaultAction, Journal, Sandbox, SandboxConfig, SandboxError,
    TenantSpec, Vendor,
};

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

/// A running sandbox with a client for it.
struct Lab {
    sandbox: Sandbox,
    clock: SteppedClock,
    client: Client,
}

impl Lab {
    async fn start(config: SandboxConfig) -> Self {
        let clock = SteppedClock::new(config.start);
        Self::resume(config, clock).await
    }

    async fn resume(config: SandboxConfig, clock: SteppedClock) -> Self {
        let sandbox = Sandbox::start(config, Arc::new(clock.clone()))
            .await
            .unwrap();
        Self {
            sandbox,
            clock,
            client: client(),
        }
    }

    fn spec(&self, name: &str) -> TenantSpec {
        let tenants = &self.sandbox.config().tenants;
        tenants
            .iter()
            .find(|t| t.tenant.as_str() == name)
            .unwrap()
            .clone()
    }

    async fn hubspot(&self, path: &str, body: Option<Value>) -> (u16, Value) {
        let token = self.sandbox.config().tenants[0].hubspot_token.clone();
        let url = format!("{}/{path}", self.sandbox.hubspot_base());
        let request = match body {
            None => self.client.get(url),
            Some(body) => self.client.post(url).json(&body),
        };
        let answer = request.bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    fn proof(&self, token: &str) -> String {
        let secret = self.sandbox.config().app_secret.clone().unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(token.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    async fn meta(
        &self,
        name: &str,
        path: &str,
        form: Option<&[(&str, &str)]>,
    ) -> reqwest::Result<(u16, Value)> {
        let token = self.spec(name).meta_token;
        let sign = if path.contains('?') { '&' } else { '?' };
        let proof = self.proof(&token);
        let base = self.sandbox.meta_base();
        let url = format!("{base}/v25.0/{path}{sign}appsecret_proof={proof}");
        let request = match form {
            None => self.client.get(url),
            Some(form) => self.client.post(url).form(form),
        };
        let answer = request.bearer_auth(token).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await?))
    }

    async fn ad_sets(&self, name: &str) -> Vec<String> {
        let account = self.spec(name).ad_account;
        let path = format!("{account}/adsets?fields=id,daily_budget&limit=100");
        let (status, body) = self.meta(name, &path, None).await.unwrap();
        assert_eq!(status, 200, "{body}");
        let rows = body["data"].as_array().unwrap();
        rows.iter()
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn only(dir: &tempfile::TempDir, business: Business) -> SandboxConfig {
    let mut config = SandboxConfig::demo(dir.path(), 7);
    config.tenants.retain(|t| t.business == business);
    config
}

/// What roasd would have received, by tenant: path, body, signature.
type Seen = Arc<Mutex<BTreeMap<String, Vec<(String, String, String)>>>>;

/// What a sink keeps, and which of the calls to it are refused.
type Sink = (Seen, fn(usize) -> bool);

async fn sink(seen: Seen, refuse: fn(usize) -> bool) -> String {
    async fn take(
        State((seen, refuse)): State<Sink>,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> StatusCode {
        let path = uri.path().to_owned();
        let signature = headers
            .get("x-hubspot-signature-v3")
            .map_or(String::new(), |v| v.to_str().unwrap().to_owned());
        let who = if path.starts_with("/t/") {
            path.split('/').nth(2)
        } else {
            path.split('/').nth(3)
        };
        let who = who.unwrap().to_owned();
        let mut seen = seen.lock().unwrap();
        let all = seen.entry(who).or_default();
        all.push((path, String::from_utf8(body.to_vec()).unwrap(), signature));
        if refuse(all.len()) {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::NO_CONTENT
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(take).with_state((seen, refuse));
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

fn to(base: String) -> DeliverTo {
    DeliverTo {
        base,
        public_url: "https://roasd.example.com".to_owned(),
    }
}

/// The distinct webhook events of a tenant by what they say.
fn events(seen: &Seen, name: &str) -> std::collections::BTreeSet<String> {
    let seen = seen.lock().unwrap();
    let posts = seen.get(name).into_iter().flatten();
    posts
        .filter(|(path, ..)| path.starts_with("/webhooks/"))
        .flat_map(|(_, body, _)| serde_json::from_str::<Vec<Value>>(body).unwrap())
        .map(|event| {
            format!(
                "{} {} {}",
                event["subscriptionType"], event["eventId"], event["occurredAt"]
            )
        })
        .collect()
}

#[tokio::test]
async fn the_same_seed_sends_the_same_requests() {
    let run = async || {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::start(SandboxConfig::demo(dir.path(), 11)).await;
        let seen = Seen::default();
        let base = sink(seen.clone(), |_| false).await;
        lab.sandbox.start_deliveries(to(base)).unwrap();
        lab.clock.advance(time::days(2)).await;
        lab.sandbox.stop().await;
        seen.lock().unwrap().clone()
    };
    let (one, two) = (run().await, run().await);
    assert_eq!(one, two);
    assert_eq!(one.len(), 3, "all tenants send");
    for (name, posts) in &one {
        let visits = posts.iter().filter(|p| p.0 == format!("/t/{name}/click"));
        assert!(visits.count() > 3, "{name}");
        let hooks = posts.iter().filter(|p| !p.2.is_empty());
        assert!(hooks.count() > 3, "{name}");
    }
}

#[tokio::test]
async fn webhooks_are_signed_and_come_again_until_they_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = only(&dir, Business::Shop);
    config.weather.lost = 0.0;
    config.weather.duplicated = 0.0;
    let lab = Lab::start(config).await;
    let seen = Seen::default();
    // Every second request is refused.
    let base = sink(seen.clone(), |n| n % 2 == 0).await;
    lab.sandbox.start_deliveries(to(base)).unwrap();
    lab.clock.advance(time::days(1)).await;
    let path = lab.sandbox.journal_path();
    let delivered: Vec<String> = std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .filter(|line| line.contains("\"delivered\""))
        .map(str::to_owned)
        .collect();
    let unique: std::collections::BTreeSet<_> = delivered.iter().collect();
    assert_eq!(unique.len(), delivered.len(), "each is acknowledged once");
    let said = events(&seen, "shop");
    assert!(said.len() > 20, "{}", said.len());
    assert!(
        delivered.len() + 5 >= said.len(),
        "{} {}",
        delivered.len(),
        said.len()
    );
    let retried = seen.lock().unwrap()["shop"]
        .iter()
        .any(|(_, body, _)| body.contains("\"attemptNumber\":1"));
    assert!(retried);
    for (_, _, signature) in &seen.lock().unwrap()["shop"] {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(signature)
            .unwrap();
        assert!(signature.is_empty() || bytes.len() == 32, "{signature}");
    }
    lab.sandbox.stop().await;
}

#[tokio::test]
async fn a_resumed_world_is_the_one_that_never_stopped() {
    let whole = {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::start(only(&dir, Business::Gym)).await;
        let set = lab.ad_sets("gym").await[0].clone();
        let seen = Seen::default();
        let base = sink(seen.clone(), |_| false).await;
        lab.sandbox.start_deliveries(to(base)).unwrap();
        lab.clock.advance(time::hours(20)).await;
        let form = [("daily_budget", "21500")];
        let (status, body) = lab.meta("gym", &set, Some(&form)).await.unwrap();
        assert_eq!(status, 200, "{body}");
        lab.clock.advance(time::days(4)).await;
        let now = lab.clock.now();
        let truth = lab.sandbox.truth(&tenant("gym"), now).unwrap();
        lab.sandbox.stop().await;
        (truth, events(&seen, "gym"))
    };
    let dir = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let base = sink(seen.clone(), |_| false).await;
    let config = only(&dir, Business::Gym);
    let end = time::add(config.start, time::hours(20 + 96));
    let lab = Lab::start(config.clone()).await;
    let set = lab.ad_sets("gym").await[0].clone();
    lab.sandbox.start_deliveries(to(base.clone())).unwrap();
    lab.clock.advance(time::hours(20)).await;
    let form = [("daily_budget", "21500")];
    lab.meta("gym", &set, Some(&form)).await.unwrap();
    lab.clock.advance(time::hours(31)).await;
    lab.sandbox.stop().await;
    // A line that was not written to its end.
    let path = Journal::path(dir.path());
    let mut text = std::fs::read(&path).unwrap();
    text.extend(b"{\"kind\":\"wri");
    std::fs::write(&path, text).unwrap();

    let from = Sandbox::resume_time(dir.path()).unwrap().unwrap();
    let lab = Lab::resume(config, SteppedClock::new(from)).await;
    lab.sandbox.start_deliveries(to(base)).unwrap();
    lab.clock.run_until(end).await;
    let truth = lab.sandbox.truth(&tenant("gym"), end).unwrap();
    lab.sandbox.stop().await;
    assert_eq!((truth, events(&seen, "gym")), whole);
    let writes = Journal::accepted_writes(&path).unwrap();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].new, "21500");
}

#[tokio::test]
async fn writes_move_the_truth_and_not_the_baseline() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start(only(&dir, Business::Gym)).await;
    let name = tenant("gym");
    let sets = lab.ad_sets("gym").await;
    for set in sets.iter().take(3) {
        let (status, body) = lab
            .meta("gym", set, Some(&[("status", "PAUSED")]))
            .await
            .unwrap();
        assert_eq!(status, 200, "{body}");
    }
    lab.clock.advance(time::days(5)).await;
    let now = lab.clock.now();
    let truth = lab.sandbox.truth(&name, now).unwrap();
    let baseline = lab.sandbox.baseline(&name, now).unwrap();
    assert!(truth.spend.to_f64() < baseline.spend.to_f64() * 0.7);

    let other = tempfile::tempdir().unwrap();
    let idle = Lab::start(only(&other, Business::Gym)).await;
    idle.clock.advance(time::days(5)).await;
    assert_eq!(idle.sandbox.truth(&name, now), Some(baseline));
    assert_eq!(idle.sandbox.baseline(&name, now), Some(baseline));
}

#[tokio::test]
async fn meta_refuses_the_fifth_budget_change_of_an_hour() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start(only(&dir, Business::Gym)).await;
    let set = lab.ad_sets("gym").await[0].clone();
    for n in 0..5 {
        let budget = (8_100 + n).to_string();
        let form = [("daily_budget", budget.as_str())];
        let (status, body) = lab.meta("gym", &set, Some(&form)).await.unwrap();
        let want = if n < 4 { 200 } else { 400 };
        assert_eq!(status, want, "{n}: {body}");
    }
    let writes = Journal::accepted_writes(&lab.sandbox.journal_path()).unwrap();
    assert_eq!(writes.len(), 4);
}

#[tokio::test]
async fn a_search_ends_at_ten_thousand_and_at_five_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = only(&dir, Business::Gym);
    config.tenants[0].backlog_deals = 10_500;
    config.tenants[0].backlog_in_one_instant = true;
    config.tenants[0].crowded_deal_contacts = 250;
    let lab = Lab::start(config).await;
    lab.clock.advance(time::minutes(1)).await;
    let search = "crm/objects/2026-09/deals/search";
    let ask = |after: u64| {
        json!({
            "filterGroups": [{"filters": [
                {"propertyName": "hs_lastmodifieddate", "operator": "BETWEEN",
                 "value": "0", "highValue": "1799999999999"}]}],
            "sorts": [{"propertyName": "hs_lastmodifieddate", "direction": "ASCENDING"}],
            "limit": 200, "after": after.to_string()})
    };
    let (status, first) = lab.hubspot(search, Some(ask(0))).await;
    assert_eq!(status, 200, "{first}");
    assert!(
        first["total"].as_u64().unwrap() >= 10_500,
        "{}",
        first["total"]
    );
    assert_eq!(first["results"].as_array().unwrap().len(), 200);
    assert_eq!(first["paging"]["next"]["after"], "200");
    assert_eq!(lab.hubspot(search, Some(ask(9_800))).await.0, 200);
    assert_eq!(lab.hubspot(search, Some(ask(10_000))).await.0, 400);
    // One millisecond holds them all: by id, then.
    let at = &first["results"][0]["properties"]["hs_lastmodifieddate"];
    let at: time::Timestamp = at.as_str().unwrap().parse().unwrap();
    let (status, rest) = lab
        .hubspot(
            search,
            Some(json!({
                "filterGroups": [{"filters": [
                    {"propertyName": "hs_lastmodifieddate", "operator": "EQ",
                     "value": (time::to_micros(at) / 1_000).to_string()},
                    {"propertyName": "hs_object_id", "operator": "GT", "value": "10000009799"}]}],
                "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
                "limit": 200})),
        )
        .await;
    assert_eq!(status, 200, "{rest}");
    assert_eq!(rest["total"], 700);
    assert_eq!(rest["results"][0]["id"], "10000009800");
    assert_eq!(
        lab.hubspot(search, Some(json!({"limit": 201}))).await.0,
        400
    );
    let (status, body) = lab.hubspot(search, Some(ask(0))).await;
    assert_eq!(status, 429);
    assert_eq!(body["policyName"], "SECONDLY");
    lab.clock.advance(time::seconds(1)).await;
    let long = json!({"properties": vec!["a_long_property_name"; 200]});
    assert_eq!(lab.hubspot(search, Some(long)).await.0, 400);
}

#[tokio::test]
async fn a_crowded_deal_comes_in_inner_pages() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = only(&dir, Business::Gym);
    config.tenants[0].backlog_deals = 2;
    config.tenants[0].crowded_deal_contacts = 250;
    let lab = Lab::start(config).await;
    let path = "crm/associations/2026-09/deals/contacts/batch/read";
    let (mut found, mut pages, mut after) = (std::collections::BTreeSet::new(), 0, Value::Null);
    loop {
        let mut inputs = vec![json!({"id": "10000000000", "after": after})];
        if pages == 0 {
            inputs.push(json!({"id": "10000000001"}));
        }
        let (status, body) = lab.hubspot(path, Some(json!({ "inputs": inputs }))).await;
        assert_eq!(status, 200, "{body}");
        if pages == 0 {
            assert_eq!(body["numErrors"], 1, "a deal without contacts is an error");
        }
        pages += 1;
        let result = &body["results"][0];
        for to in result["to"].as_array().unwrap() {
            found.insert(to["toObjectId"].as_str().unwrap().to_owned());
        }
        after = result["paging"]["next"]["after"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!((found.len(), pages), (250, 3));
}

#[tokio::test]
async fn hubspot_shows_deals_contacts_and_pipelines() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start(only(&dir, Business::Shop)).await;
    lab.clock.advance(time::days(2)).await;
    let (status, body) = lab.hubspot("crm/pipelines/2026-09/deals", None).await;
    assert_eq!(status, 200);
    let stage = &body["results"][0]["stages"][0];
    assert_eq!(
        stage["metadata"],
        json!({"isClosed": "true", "probability": "1.0"})
    );

    let (status, list) = lab
        .hubspot(
            "crm/objects/2026-09/deals?limit=5&associations=contacts",
            None,
        )
        .await;
    assert_eq!(status, 200, "{list}");
    let deal = list["results"][0]["id"].as_str().unwrap().to_owned();
    assert!(list["results"][0]["associations"]["contacts"]["results"].is_array());
    let after = list["paging"]["next"]["after"].as_str().unwrap().to_owned();
    let next = format!("crm/objects/2026-09/deals?limit=5&after={after}");
    let (_, next) = lab.hubspot(&next, None).await;
    assert_ne!(next["results"][0]["id"], list["results"][0]["id"]);

    let ask = json!({"properties": ["amount", "dealstage", "nonsense"],
        "propertiesWithHistory": ["dealstage"], "inputs": [{"id": deal}, {"id": "9"}]});
    let (status, batch) = lab
        .hubspot("crm/objects/2026-09/deals/batch/read", Some(ask.clone()))
        .await;
    assert_eq!(status, 200, "{batch}");
    let record = &batch["results"][0];
    assert!(record["properties"]["amount"].is_string());
    assert!(record["properties"].get("nonsense").is_none());
    assert!(record["propertiesWithHistory"]["dealstage"][0]["timestamp"].is_string());
    assert_eq!(batch["errors"][0]["category"], "OBJECT_NOT_FOUND");
    assert_eq!(batch["errors"][0]["context"]["ids"], json!(["9"]));
    let (status, _) = lab
        .hubspot("crm/v3/objects/deals/batch/read", Some(ask))
        .await;
    assert_eq!(status, 207);

    let many: Vec<Value> = (0..101).map(|n| json!({"id": n.to_string()})).collect();
    let body = json!({ "inputs": many });
    let (status, _) = lab
        .hubspot("crm/objects/2026-09/contacts/batch/read", Some(body))
        .await;
    assert_eq!(status, 400);
    let answer = lab
        .client
        .get(format!(
            "{}/crm/pipelines/2026-09/deals",
            lab.sandbox.hubspot_base()
        ))
        .bearer_auth("pat-wrong")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn faults_strike_before_after_and_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::start(only(&dir, Business::Gym)).await;
    let set = lab.ad_sets("gym").await[0].clone();
    let accepted = || {
        Journal::accepted_writes(&lab.sandbox.journal_path())
            .unwrap()
            .len()
    };
    let strike = |action| {
        lab.sandbox
            .add_fault(Fault::next(Vendor::Meta, "POST", &set, action));
    };
    let form = |value: &'static str| [("daily_budget", value)];
    strike(FaultAction::DropBefore);
    assert!(lab.meta("gym", &set, Some(&form("8100"))).await.is_err());
    assert_eq!(accepted(), 0);
    strike(FaultAction::DropAfter);
    assert!(lab.meta("gym", &set, Some(&form("8101"))).await.is_err());
    assert_eq!(accepted(), 1, "carried out, though nobody was told");
    strike(FaultAction::Truncate);
    assert!(lab.meta("gym", &set, Some(&form("8102"))).await.is_err());
    assert_eq!(accepted(), 2);
    strike(FaultAction::BreakBody);
    assert!(lab.meta("gym", &set, Some(&form("8103"))).await.is_err());
    assert_eq!(accepted(), 3);
    strike(FaultAction::RevokeToken);
    let (status, body) = lab.meta("gym", &set, Some(&form("8104"))).await.unwrap();
    assert_eq!((status, &body["error"]["code"]), (400, &json!(190)));
    assert_eq!(accepted(), 3);
    strike(FaultAction::RenewToken);
    let (status, _) = lab.meta("gym", &set, Some(&form("8105"))).await.unwrap();
    assert_eq!((status, accepted()), (200, 4));
}

#[tokio::test]
async fn it_stays_on_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = only(&dir, Business::Gym);
    let clock = Arc::new(SteppedClock::new(config.start));
    config.listen = "0.0.0.0:0".parse().unwrap();
    let refused = Sandbox::start(config.clone(), clock.clone()).await;
    assert!(matches!(refused, Err(SandboxError::NotLoopback(_))));
    config.listen = "127.0.0.1:0".parse().unwrap();
    let sandbox = Sandbox::start(config, clock).await.unwrap();
    for url in ["http://10.0.0.1:80", "https://example.com", "nonsense"] {
        let refused = sandbox.start_deliveries(to(url.to_owned()));
        assert!(
            matches!(refused, Err(SandboxError::DeliveryNotLoopback(_))),
            "{url}"
        );
    }
    assert!(
        sandbox
            .start_deliveries(to("http://[::1]:9".to_owned()))
            .is_ok()
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn the_journal_belongs_to_one_world() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = only(&dir, Business::Gym);
    let clock = Arc::new(SteppedClock::new(config.start));
    let sandbox = Sandbox::start(config.clone(), clock.clone()).await.unwrap();
    sandbox.stop().await;
    config.seed += 1;
    let other = Sandbox::start(config, clock).await;
    assert!(matches!(other, Err(SandboxError::Config(_))));
}
