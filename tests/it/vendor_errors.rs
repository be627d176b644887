//! What the clients make of answers that no documentation shows: proxies' pages, answers cut
//! short, dropped connections, silence. And whatever happens, no error tells a token.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roasd::clock::{Clock, SteppedClock, SystemClock};
use roasd::domain::change::Target;
use roasd::domain::ids::{AdAccountId, AdSetId, ContactId, DealId, PortalId, TenantId};
use roasd::domain::money::{Currency, Money};
use roasd::domain::structure::{EntityRef, RunStatus};
use roasd::domain::time::{self, SignedDuration, Timestamp};
use roasd::vendors::hubspot::client::{HubSpotClient, HubSpotClientConfig};
use roasd::vendors::hubspot::limits::PortalLimits;
use roasd::vendors::hubspot::{ClickProperties, FoundDeals, HubSpot};
use roasd::vendors::meta::MetaAds;
use roasd::vendors::meta::client::{MetaClient, MetaClientConfig};
use roasd::vendors::meta::throttle::{CallKind, Caller, Closed, GateConfig, MetaGate, Permit};
use roasd::vendors::{Refusal, VendorError, http_client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const TOKEN: &str = "EAAB-test-token";
const APP_SECRET: &str = "app-secret-0123456789abcdef";

/// What the server does with a request.
#[derive(Clone)]
enum Reply {
    /// Answers in full.
    Whole(u16, &'static str, String),
    /// Breaks off in the middle of the body.
    Half(u16, &'static str, String),
    /// Closes the connection without a word.
    Drop,
    /// Never answers.
    Silence,
}

fn ok(body: Value) -> Reply {
    Reply::Whole(200, "", body.to_string())
}

struct Server {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let task = tokio::spawn({
        let (seen, reply) = (seen.clone(), Arc::new(reply));
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, reply) = (seen.clone(), reply.clone());
                tokio::spawn(async move { answer(stream, &seen, &*reply).await });
            }
        }
    });
    Server { url, seen, task }
}

/// Answers one request and closes.
async fn answer(
    mut stream: TcpStream,
    seen: &Mutex<Vec<String>>,
    reply: &(dyn Fn(&str) -> Reply + Send + Sync),
) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let request = loop {
        let n = stream.read(&mut chunk).await.unwrap_or(0);
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                break text;
            }
        }
        if n == 0 {
            return;
        }
    };
    let reply = reply(&request);
    seen.lock().unwrap().push(request);
    let (status, headers, body, sent) = match reply {
        Reply::Drop => return,
        Reply::Silence => {
            // Ends when the client has lost its patience and hangs up.
            let _ = stream.read(&mut chunk).await;
            return;
        }
        Reply::Whole(status, headers, body) => (status, headers, body.clone(), body.len()),
        Reply::Half(status, headers, body) => (status, headers, body.clone(), body.len() / 2),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body.as_bytes()[..sent]).await;
    let _ = stream.shutdown().await;
}

struct Rig {
    server: Server,
    clock: SteppedClock,
    gate: Arc<MetaGate>,
    client: MetaClient,
}

fn account(n: u32) -> AdAccountId {
    AdAccountId::new(n.to_string()).unwrap()
}

fn ad_set() -> EntityRef {
    EntityRef::AdSet(AdSetId::new("77").unwrap())
}

async fn rig(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Rig {
    let server = serve(reply).await;
    let clock = SteppedClock::new(time::from_seconds(1_800_000_000));
    let gate = Arc::new(MetaGate::new(
        GateConfig::default(),
        Arc::new(clock.clone()),
    ));
    let config = MetaClientConfig {
        base_url: server.url.clone(),
        api_version: "v25.0".to_owned(),
        ad_account: account(12),
        token: TOKEN.into(),
        app_id: Some("99".to_owned()),
        app_secret: Some(APP_SECRET.into()),
        timeout: Duration::from_millis(300),
    };
    let http = http_client(Duration::from_secs(1)).unwrap();
    let client = MetaClient::new(config, gate.clone(), Arc::new(clock.clone()), http).unwrap();
    Rig {
        server,
        clock,
        gate,
        client,
    }
}

impl Rig {
    async fn permit_of(&self, n: u32, kind: CallKind) -> Permit {
        let caller = Caller {
            account: account(n),
            tenant: TenantId::new("acme").unwrap(),
        };
        let permit = self.gate.permit(&caller, kind, SignedDuration::ZERO).await;
        permit.unwrap()
    }

    async fn permit(&self, kind: CallKind) -> Permit {
        self.permit_of(12, kind).await
    }

    async fn read(&self) -> VendorError {
        let permit = self.permit(CallKind::Read).await;
        told(
            self.client
                .campaigns(permit, Currency::USD, None)
                .await
                .unwrap_err(),
        )
    }

    async fn write(&self) -> VendorError {
        let permit = self.permit(CallKind::Write).await;
        let target = Target::DailyBudget(Money::from_minor(2500, Currency::USD));
        told(
            self.client
                .write(permit, &ad_set(), target)
                .await
                .unwrap_err(),
        )
    }

    fn closed(&self) -> Option<Closed> {
        self.gate.closed(&account(12), CallKind::SafetyWrite)
    }

    fn seconds_closed(&self) -> Option<i64> {
        let until = self.closed()?.until;
        Some(time::between(self.clock.now(), until).as_secs())
    }

    fn seen(&self) -> Vec<String> {
        self.server.seen.lock().unwrap().clone()
    }
}

/// Passes an error on once it is clear that it tells no secret, in any of its layers.
fn told(error: VendorError) -> VendorError {
    let mut texts = vec![
        error.to_string(),
        format!("{error:?}"),
        format!("{error:#?}"),
    ];
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(format!("{cause} {cause:?}"));
        source = cause.source();
    }
    let proof = "914b32b6b55876b4b399e5142dc56b43cd63536c5e79b4f06794e4c30e6b9175";
    for text in &texts {
        for secret in [TOKEN, APP_SECRET, proof, "pat-test-token"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    error
}

fn class(error: &VendorError) -> &'static str {
    match error {
        VendorError::Retry { .. } => "retry",
        VendorError::Throttled { .. } => "throttled",
        VendorError::TooMuch { .. } => "too much",
        VendorError::Refused { .. } => "refused",
        VendorError::Unauthorized { .. } => "unauthorized",
        VendorError::Unknown { .. } => "unknown",
    }
}

fn error(code: i64, subcode: i64, message: &str) -> String {
    json!({"error": {"message": message, "code": code, "error_subcode": subcode,
        "fbtrace_id": "Trace"}})
    .to_string()
}

async fn check(reply: Reply, read: &str, write: &str) {
    let rig = rig(move |_| reply.clone()).await;
    let (of_read, of_write) = (rig.read().await, rig.write().await);
    assert_eq!(class(&of_read), read, "{of_read}");
    assert_eq!(class(&of_write), write, "{of_write}");
    assert_eq!(rig.seen().len(), 2, "nothing is tried twice");
}

#[tokio::test]
async fn an_answer_that_is_none_leaves_a_write_unknown() {
    let html = "<html>Bad gateway EAAB-test-token</html>".to_owned();
    check(Reply::Whole(502, "", html.clone()), "retry", "unknown").await;
    check(Reply::Whole(200, "", html), "retry", "unknown").await;
    let page = json!({"data": [], "padding": "x".repeat(200)}).to_string();
    check(Reply::Half(200, "", page), "retry", "unknown").await;
    check(
        Reply::Whole(200, "", "{\"data\": [".to_owned()),
        "retry",
        "unknown",
    )
    .await;
    check(Reply::Whole(200, "", String::new()), "retry", "unknown").await;
    check(Reply::Whole(500, "", "{}".to_owned()), "retry", "unknown").await;
    check(
        Reply::Whole(302, "Location: https://evil.example/\r\n", String::new()),
        "retry",
        "unknown",
    )
    .await;
    check(
        Reply::Whole(200, "", json!({"success": false}).to_string()),
        "retry",
        "unknown",
    )
    .await;
    check(Reply::Drop, "retry", "unknown").await;
    check(Reply::Silence, "retry", "unknown").await;
}

#[tokio::test]
async fn an_error_of_metas_is_what_the_table_says() {
    let reply = |status, code, subcode| Reply::Whole(status, "", error(code, subcode, "m"));
    check(reply(500, 2, 0), "retry", "unknown").await;
    check(reply(400, 100, 1_885_272), "refused", "refused").await;
    check(reply(401, 190, 463), "unauthorized", "unauthorized").await;
    let long = "Please reduce the amount of data you're asking for, then retry your request";
    check(
        Reply::Whole(500, "", error(1, 0, long)),
        "too much",
        "too much",
    )
    .await;
}

#[tokio::test]
async fn what_was_never_sent_had_no_effect() {
    let rig = rig(|_| Reply::Drop).await;
    rig.server.task.abort();
    // Wait until the listener is gone and its port refuses.
    while TcpStream::connect(rig.server.url.trim_start_matches("http://"))
        .await
        .is_ok()
    {
        tokio::task::yield_now().await;
    }
    assert_eq!(class(&rig.write().await), "retry");
}

#[tokio::test]
async fn a_throttle_closes_the_gate_for_as_long_as_its_headers_say() {
    const ACCOUNT: &str = "X-Ad-Account-Usage: {\"acc_id_util_pct\":100,\
        \"reset_time_duration\":400,\"ads_api_access_tier\":\"development_access\"}\r\n";
    const CASES: &str = "X-Business-Use-Case-Usage: {\"1\":[{\"type\":\"ads_management\",\
        \"call_count\":101,\"estimated_time_to_regain_access\":19}]}\r\n";
    for (headers, code, subcode, seconds) in [
        (ACCOUNT, 17, 2_446_079, 400),
        ("", 613, 1_487_742, 300),
        (CASES, 80_004, 0, 19 * 60),
        ("", 4, 1_504_022, 300),
        ("", 613, 0, 3_600),
    ] {
        let rig = rig(move |_| Reply::Whole(400, headers, error(code, subcode, "slow"))).await;
        let found = rig.read().await;
        let expected = if code == 613 && subcode == 0 {
            "refused"
        } else {
            "throttled"
        };
        assert_eq!(class(&found), expected, "{found}");
        assert_eq!(rig.seconds_closed(), Some(seconds), "{code}/{subcode}");
        let other = rig.gate.closed(&account(13), CallKind::Read);
        assert_eq!(other.is_some(), code == 4, "only code 4 is the whole app's");
    }
}

#[tokio::test]
async fn usage_is_read_of_errors_and_of_halves_too() {
    const USAGE: &str = "X-App-Usage: {\"call_count\":80,\"total_time\":2}\r\n";
    for reply in [
        Reply::Whole(400, USAGE, error(100, 0, "m")),
        Reply::Half(200, USAGE, "x".repeat(100)),
        Reply::Whole(502, USAGE, "<html>".to_owned()),
    ] {
        let rig = rig(move |_| reply.clone()).await;
        rig.read().await;
        assert_eq!(rig.gate.headroom(&account(12)).cost_factor, 4);
    }
}

#[tokio::test]
async fn a_budget_locked_for_an_hour_locks_nothing_else() {
    let rig = rig(|_| Reply::Whole(400, "", error(613, 1_487_632, "4 an hour"))).await;
    let VendorError::Refused { kind, request, .. } = rig.write().await else {
        panic!("another class");
    };
    assert_eq!(kind, Refusal::ObjectLocked);
    assert_eq!(request.as_deref(), Some("Trace"));
    assert_eq!(rig.closed(), None);
}

#[tokio::test]
async fn no_error_tells_the_token() {
    let message = format!("Malformed access token {TOKEN} of {APP_SECRET}");
    let rig = rig(move |_| Reply::Whole(400, "", error(190, 0, &message))).await;
    assert!(rig.read().await.to_string().contains("[secret]"));
    for reply in [
        Reply::Drop,
        Reply::Silence,
        Reply::Whole(500, "", String::new()),
    ] {
        let rig = self::rig(move |_| reply.clone()).await;
        let permit = rig.permit(CallKind::Read).await;
        told(rig.client.token_state(permit).await.unwrap_err());
        assert!(!format!("{:?}", rig.client).contains(TOKEN));
    }
}

#[tokio::test]
async fn the_token_is_a_header_and_its_proof_a_parameter() {
    let rig = rig(|_| {
        ok(json!({"data": [], "success": true,
            "paging": {"cursors": {"after": "c1"}, "next": "http://127.0.0.1:1/?access_token=T"}}))
    })
    .await;
    let permit = rig.permit(CallKind::Read).await;
    let page = rig
        .client
        .campaigns(permit, Currency::USD, None)
        .await
        .unwrap();
    let permit = rig.permit(CallKind::Read).await;
    let after = roasd::vendors::meta::Cursor("c0".to_owned());
    rig.client
        .campaigns(permit, Currency::USD, Some(&after))
        .await
        .unwrap();
    assert_eq!(page.next.unwrap().0, "c1");
    let permit = rig.permit(CallKind::SafetyWrite).await;
    let target = Target::Status(RunStatus::Paused);
    rig.client.write(permit, &ad_set(), target).await.unwrap();
    let seen = rig.seen();
    let proof = "appsecret_proof=914b32b6b55876b4b399e5142dc56b43cd63536c5e79b4f06794e4c30e6b9175";
    for request in &seen {
        let line = request.lines().next().unwrap();
        assert!(!line.contains(TOKEN), "{line}");
        assert!(
            request
                .to_lowercase()
                .contains("authorization: bearer eaab-test-token")
        );
        assert!(request.contains(proof), "{request}");
    }
    assert!(seen[0].starts_with("GET /v25.0/act_12/campaigns?"));
    assert!(seen[1].lines().next().unwrap().contains("after=c0"));
    assert!(seen[2].starts_with("POST /v25.0/77 "));
    assert!(seen[2].contains("status=PAUSED"));
}

#[tokio::test]
async fn a_permit_that_does_not_fit_sends_nothing() {
    let rig = rig(|_| ok(json!({"success": true}))).await;
    let client = &rig.client;
    let (pause, active) = (
        Target::Status(RunStatus::Paused),
        Target::Status(RunStatus::Active),
    );
    let other = rig.permit_of(13, CallKind::Write).await;
    let refused = client.write(other, &ad_set(), pause).await.unwrap_err();
    assert_eq!(class(&refused), "refused");
    let read = rig.permit(CallKind::Read).await;
    let refused = client.write(read, &ad_set(), pause).await.unwrap_err();
    assert_eq!(class(&refused), "refused");
    // Each permit has its tokens by then, so that none is waited for.
    rig.clock.advance(time::minutes(5)).await;
    let safety = rig.permit(CallKind::SafetyWrite).await;
    let refused = client.write(safety, &ad_set(), active).await.unwrap_err();
    assert_eq!(class(&refused), "refused", "the reserve is for pauses");
    rig.clock.advance(time::minutes(5)).await;
    let write = rig.permit(CallKind::Write).await;
    let outside = EntityRef::AdSet(AdSetId::new("7/../me").unwrap());
    let refused = client.write(write, &outside, pause).await.unwrap_err();
    assert_eq!(class(&refused), "refused");
    rig.clock.advance(time::minutes(5)).await;
    let stale = rig.permit(CallKind::Write).await;
    rig.clock.advance(time::seconds(61)).await;
    let retry = client.write(stale, &ad_set(), pause).await.unwrap_err();
    assert_eq!(class(&retry), "retry");
    assert!(rig.seen().is_empty());
}

#[tokio::test]
async fn an_object_that_is_not_there_has_no_settings() {
    let rig = rig(|_| Reply::Whole(400, "", error(100, 33, "does not exist"))).await;
    let permit = rig.permit(CallKind::SafetyWrite).await;
    let found = rig.client.settings(permit, Currency::USD, &ad_set()).await;
    assert_eq!(found.unwrap(), None);
}

fn hubspot(server: &Server) -> HubSpotClient {
    // Its waits are short in this time, and stay in proportion.
    let real = SystemClock::real().now();
    let clock = SystemClock::scaled(2_000.0, time::from_seconds(1_800_000_000), real);
    let config = HubSpotClientConfig {
        base_url: server.url.clone(),
        api_version: "2026-09".to_owned(),
        portal: PortalId(33),
        token: "pat-test-token".into(),
        pipelines: Vec::new(),
        properties: ClickProperties::default(),
        limits: PortalLimits::default(),
        timeout: Duration::from_millis(300),
    };
    let http = http_client(Duration::from_secs(1)).unwrap();
    HubSpotClient::new(config, Arc::new(clock), http).unwrap()
}

fn body(request: &str) -> Value {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn a_deal_with_250_contacts_has_them_all() {
    let server = serve(|request| {
        let inputs = body(request)["inputs"].as_array().unwrap().clone();
        if request.starts_with("POST /crm/objects/2026-09/deals/batch/read ") {
            assert!(inputs.len() <= 50);
            let found: Vec<Value> = inputs
                .iter()
                .filter(|input| input["id"] != "9")
                .map(|input| {
                    json!({"id": input["id"], "updatedAt": "2026-11-02T00:00:00Z",
                        "createdAt": "2026-11-01T00:00:00Z",
                        "properties": {"dealstage": "a", "pipeline": "default"}})
                })
                .collect();
            return Reply::Whole(
                207,
                "",
                json!({"status": "COMPLETE", "results": found, "numErrors": 1, "errors": [
                    {"category": "OBJECT_NOT_FOUND", "context": {"ids": ["9"]}}]})
                .to_string(),
            );
        }
        assert!(request.starts_with("POST /crm/associations/2026-09/deals/contacts/batch/read "));
        let results: Vec<Value> = inputs
            .iter()
            .filter(|input| input["id"] == "1")
            .map(|input| {
                let from = input["after"]
                    .as_str()
                    .map_or(0, |after| after.parse().unwrap());
                let to: Vec<Value> = (from..(from + 100).min(250))
                    .map(|n: u64| json!({"toObjectId": 1000 + n}))
                    .collect();
                let mut result = json!({"from": {"id": "1"}, "to": to});
                if from + 100 < 250 {
                    result["paging"] = json!({"next": {"after": (from + 100).to_string()}});
                }
                result
            })
            .collect();
        ok(json!({"status": "COMPLETE", "results": results}))
    })
    .await;
    let ids: Vec<DealId> = (1..=120)
        .map(|n: u32| DealId::new(n.to_string()).unwrap())
        .collect();
    let FoundDeals { deals, missing, .. } = hubspot(&server).deals(&ids).await.unwrap();
    assert_eq!(deals.len(), 119);
    assert_eq!(missing, [DealId::new("9").unwrap()]);
    for deal in &deals {
        let expected = if deal.id.as_str() == "1" { 250 } else { 0 };
        assert_eq!(deal.contacts.len(), expected, "{}", deal.id);
    }
}

#[tokio::test]
async fn hubspot_is_asked_again_where_that_helps() {
    let daily = json!({"policyName": "DAILY", "message": "You have reached your daily limit."});
    let rolling = json!({"policyName": "TEN_SECONDLY_ROLLING"});
    let bad = json!({"category": "EXPIRED_AUTHENTICATION", "message": "pat-test-token is expired"});
    let whole = |status, body: &Value| Reply::Whole(status, "", body.to_string());
    for (reply, expected, calls) in [
        (whole(429, &daily), "throttled", 1),
        (whole(429, &rolling), "throttled", 4),
        (whole(401, &bad), "unauthorized", 1),
        (whole(400, &json!({"message": "no"})), "refused", 1),
        (Reply::Whole(503, "", "<html>".to_owned()), "retry", 4),
        (
            Reply::Whole(477, "Retry-After: 600\r\n", "{}".to_owned()),
            "retry",
            1,
        ),
        (Reply::Drop, "retry", 4),
        (Reply::Half(200, "", "x".repeat(50)), "retry", 4),
    ] {
        let server = serve(move |_| reply.clone()).await;
        let ids = [ContactId::new("1").unwrap()];
        let found = told(hubspot(&server).contacts(&ids).await.unwrap_err());
        assert_eq!(class(&found), expected, "{found}");
        assert_eq!(server.seen.lock().unwrap().len(), calls, "{found}");
    }
}

#[tokio::test]
async fn hubspot_is_read_after_a_passing_fault() {
    let calls = Mutex::new(0);
    let server = serve(move |request| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        match *calls {
            1 => Reply::Whole(502, "", String::new()),
            2 => Reply::Whole(429, "", json!({"policyName": "SECONDLY"}).to_string()),
            _ => {
                assert!(request.starts_with("POST /crm/objects/2026-09/deals/search "));
                ok(json!({"total": 0, "results": []}))
            }
        }
    })
    .await;
    let walk =
        roasd::vendors::hubspot::walk::Walk::new(Timestamp::UNIX_EPOCH, time::from_seconds(1));
    let page = hubspot(&server).search_deals(&walk.next().unwrap()).await;
    assert_eq!(page.unwrap().total, 0);
}

#[tokio::test]
async fn each_call_of_a_batch_is_answered_by_itself() {
    let lead =
        json!({"id": "100000000000001", "created_time": "2026-10-05T09:30:00+0000", "ad_id": "5"});
    let part = |code: u16, headers: Value, body: String| json!({"code": code, "headers": headers, "body": body});
    let usage = json!([{"name": "X-App-Usage", "value": "{\"call_count\":80}"}]);
    let answers = json!([
        part(200, json!([]), lead.to_string()),
        null,
        part(400, usage, error(100, 33, "gone")),
        part(400, json!([]), error(80_005, 0, "too many")),
    ]);
    let rig = rig(move |_| ok(answers.clone())).await;
    let ids = [
        "100000000000001",
        "100000000000002",
        "100000000000003",
        "100000000000004",
        "100000000000005",
    ]
    .map(|id| id.parse().unwrap());
    let caller = Caller {
        account: account(12),
        tenant: TenantId::new("acme").unwrap(),
    };
    let other = rig.permit(CallKind::Read).await;
    let zero = SignedDuration::ZERO;
    let permit = rig
        .gate
        .permit_many(&caller, CallKind::Leads, 4, zero)
        .await;
    let permit = permit.unwrap();
    assert_eq!(permit.calls(), 4);
    let found = rig.client.leads(permit, &ids).await.unwrap();
    assert_eq!(found.len(), 4, "as many as the permit allows");
    let id = found[0].as_ref().unwrap().as_ref().unwrap().id.clone();
    assert_eq!(id, ids[0]);
    assert_eq!(class(found[1].as_ref().unwrap_err()), "retry", "not run");
    assert!(matches!(found[2], Ok(None)), "not there");
    assert_eq!(class(found[3].as_ref().unwrap_err()), "throttled");
    let closed = |kind| rig.gate.closed(&account(12), kind).is_some();
    assert!(closed(CallKind::Leads) && !closed(CallKind::Read));
    assert_eq!(
        rig.gate.headroom(&account(12)).cost_factor,
        4,
        "its headers"
    );
    let seen = rig.seen();
    assert_eq!(seen.len(), 1, "one round trip");
    assert!(seen[0].starts_with("POST / "), "{}", seen[0]);
    assert!(!seen[0].lines().next().unwrap().contains(TOKEN));
    // A permit of another kind is none.
    assert!(rig.client.leads(other, &ids).await.is_err());
    assert_eq!(rig.seen().len(), 1);
}
