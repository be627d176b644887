//! What the daemon serves, over real sockets: webhooks, clicks and health, with SQLite behind them
//! and a stand-in for the actors.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Method, RequestBuilder};
use roasd::actors::handle::{LikeAds, Reported, Single, Stage, StageHealth, TenantHealth};
use roasd::clock::{Clock, SteppedClock};
use roasd::domain::attribution::AttributionRules;
use roasd::domain::deal::StageValue;
use roasd::domain::ids::{AdAccountId, PageId, PortalId, StageName, TenantId, VisitId};
use roasd::domain::keyed_hash::KeyedHasher;
use roasd::domain::money::{Currency, Money};
use roasd::domain::policy::{Mode, PolicyParams};
use roasd::domain::stages::StageTable;
use roasd::domain::time::{self, Timestamp};
use roasd::domain::visit::Visit;
use roasd::http::{
    self, ApiLimits, ClickLimits, FormFields, GateRoom, HttpParts, HttpSettings, HttpState,
    TenantApi, TenantHttp, Tree,
};
use roasd::store::Store;
use roasd::store::inbox::{ClaimedDelivery, Delivery};
use roasd::store::tenants::Held;
use roasd::telemetry::Metrics;
use roasd::vendors::embedder::lexical::Lexical;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SECRET: &str = "roasd-test-client-secret";
const OWN_SECRET: &str = "the secret of the spa's own app";
const APP_SECRET: &str = "the app's secret";
const OWN_APP_SECRET: &str = "the secret of the spa's own app at Meta";
const PUBLIC: &str = "https://hooks.example.com";
const HASH_KEY: &str = "the key of the keyed hashes";
const SHOP: &str = "https://shop.example";
/// When the known answers were signed.
const STAMP: i64 = 1_790_000_000_123;
const BODY: &str = r#"[{"eventId":3816279340,"subscriptionId":25,"portalId":33,"appId":1160452,"occurredAt":1790000000000,"subscriptionType":"deal.propertyChange","attemptNumber":0,"objectId":1246965,"propertyName":"dealstage","propertyValue":"closedwon","changeSource":"CRM_UI"}]"#;

#[derive(Default)]
pub(crate) struct FakeTree {
    pub(crate) nudges: Mutex<Vec<String>>,
    pub(crate) health: Mutex<BTreeMap<TenantId, TenantHealth>>,
    housekeeper: Mutex<StageHealth>,
    has_ended: AtomicBool,
}

impl Tree for FakeTree {
    fn nudge_intake(&self, tenant: &TenantId) {
        self.nudges.lock().unwrap().push(tenant.to_string());
    }

    fn health(&self) -> BTreeMap<TenantId, TenantHealth> {
        self.health.lock().unwrap().clone()
    }

    fn single(&self, single: Single) -> StageHealth {
        match single {
            Single::Housekeeper => self.housekeeper.lock().unwrap().clone(),
            Single::Outbox => StageHealth::default(),
        }
    }

    fn placement(&self) -> StageHealth {
        StageHealth::default()
    }

    fn is_alive(&self) -> bool {
        !self.has_ended.load(Ordering::Relaxed)
    }
}

/// What differs between the tests' daemons.
pub(crate) struct Setup {
    public_url: Option<&'static str>,
    shared_secret: Option<&'static str>,
    only_gym: bool,
    requires_consent: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            public_url: Some(PUBLIC),
            shared_secret: Some(SECRET),
            only_gym: false,
            requires_consent: true,
        }
    }
}

pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) store: Arc<dyn Store>,
    clock: SteppedClock,
    tree: Arc<FakeTree>,
    pub(crate) settings: Arc<ArcSwap<HttpSettings>>,
    pause_file: Arc<AtomicBool>,
    client: reqwest::Client,
    pub(crate) address: SocketAddr,
    stop: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that this is a problem document of that status, and returns its detail.
    fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["type"].is_string());
        problem["detail"].as_str().unwrap().to_owned()
    }
}

fn tenant(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

pub(crate) fn entry(portal: u64, own_secret: Option<&str>, setup: &Setup) -> TenantHttp {
    TenantHttp {
        portal: Some(PortalId(portal)),
        client_secret: own_secret.map(SecretString::from),
        pages: vec![PageId::new(format!("10{portal}")).unwrap()],
        app_secret: own_secret.map(|_| SecretString::from(OWN_APP_SECRET)),
        click_origins: vec![SHOP.to_owned()],
        form_fields: FormFields::default(),
        click_window: time::days(90),
        ad_account: AdAccountId::new(format!("act_{portal}")).unwrap(),
        health_grace: time::minutes(15),
        requires_consent: setup.requires_consent,
        api: Arc::new(tenant_api()),
    }
}

/// A funnel of three stages, in dollars.
fn tenant_api() -> TenantApi {
    let stage = |name: &str, minor, confidence| StageValue {
        name: StageName::new(name).unwrap(),
        value: Money::from_minor(minor, Currency::USD),
        confidence,
        vendor_ids: Vec::new(),
        is_won: name == "closed_won",
        is_lost: name == "closed_lost",
    };
    let stages = vec![
        stage("lead", 0, 0.1),
        stage("appointment_scheduled", 225_000, 0.6),
        stage("closed_won", 1_500_000, 1.0),
        stage("closed_lost", 0, 1.0),
    ];
    TenantApi {
        name: "Gym \u{1f3cb}".to_owned(),
        currency: Currency::USD,
        stages: StageTable::new(stages, Currency::USD).unwrap(),
        descriptions: BTreeMap::from([(StageName::new("lead").unwrap(), "Asked".to_owned())]),
        attribution: AttributionRules::default(),
        mode: Mode::Pipeline,
        params: PolicyParams::for_mode(Mode::Pipeline),
        prior_rates: Vec::new(),
        result_action: "lead".to_owned(),
    }
}

pub(crate) fn running() -> TenantHealth {
    TenantHealth {
        is_running: true,
        ..TenantHealth::default()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    /// The file of the store.
    pub(crate) fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("roasd.db")
    }

    async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("roasd.db").display());
        let store = roasd::store::open(&url).await.unwrap();
        let clock = SteppedClock::new(time::from_millis(STAMP));
        let mut tenants = BTreeMap::from([(tenant("gym"), entry(33, None, &setup))]);
        if !setup.only_gym {
            tenants.insert(tenant("club"), entry(34, None, &setup));
            tenants.insert(tenant("spa"), entry(35, Some(OWN_SECRET), &setup));
        }
        let tree = Arc::new(FakeTree::default());
        for id in tenants.keys() {
            store
                .ensure_tenant(id, id.as_str(), clock.now())
                .await
                .unwrap();
            tree.health.lock().unwrap().insert(id.clone(), running());
        }
        let pause_file = Arc::new(AtomicBool::new(false));
        let settings = Arc::new(ArcSwap::from_pointee(HttpSettings {
            tenants,
            public_url: setup.public_url.map(str::to_owned),
            client_secret: setup.shared_secret.map(SecretString::from),
            app_secret: setup.shared_secret.map(|_| APP_SECRET.into()),
            verify_token: setup.shared_secret.map(|_| "the word".into()),
            clicks: ClickLimits::default(),
            api: ApiLimits::default(),
        }));
        let state = HttpState::new(HttpParts {
            reported: Reported::new(store.clone(), Arc::new(clock.clone())),
            like: LikeAds::new(store.clone(), Arc::new(clock.clone()), Arc::new(Lexical)),
            store: store.clone(),
            clock: Arc::new(clock.clone()),
            tree: tree.clone(),
            settings: settings.clone(),
            hasher: KeyedHasher::new(HASH_KEY.as_bytes()),
            gate: Arc::new(|_| GateRoom {
                used_percent: 25.0,
                by_limit: vec![("app", 5.0), ("ads_insights", 25.0)],
                tier: "standard",
                closed: None,
            }),
            pause_file: Arc::new({
                let pause_file = pause_file.clone();
                move || pause_file.load(Ordering::Relaxed)
            }),
            metrics: Metrics::install().unwrap(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let task = tokio::spawn(http::serve(listener, state, async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        }));
        let client = roasd::vendors::http_client(Duration::from_secs(5)).unwrap();
        Self {
            folder,
            store,
            clock,
            tree,
            settings,
            pause_file,
            client,
            address,
            stop,
            task,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    async fn send(&self, request: RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            text: answer.text().await.unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Posts a delivery with these headers' values.
    async fn post(&self, path: &str, body: &[u8], stamp: &str, signature: &str) -> Answer {
        let request = self
            .request(Method::POST, path)
            .header("x-hubspot-request-timestamp", stamp)
            .header("x-hubspot-signature-v3", signature)
            .body(body.to_vec());
        self.send(request).await
    }

    /// Posts a delivery as HubSpot does: signed with `secret` at the clock's present.
    async fn deliver(&self, path: &str, body: impl AsRef<[u8]>, secret: &str) -> Answer {
        let stamp = self.clock.now().as_millisecond().to_string();
        let signature = sign(secret, path, body.as_ref(), &stamp);
        self.post(path, body.as_ref(), &stamp, &signature).await
    }

    async fn inbox(&self, of: &str) -> Vec<ClaimedDelivery> {
        let now = self.clock.now();
        let lease = time::add(now, time::minutes(1));
        self.store
            .claim_deliveries(&tenant(of), now, lease, 100)
            .await
            .unwrap()
    }

    async fn waiting(&self, of: &str) -> u64 {
        self.store.inbox_depth(&tenant(of)).await.unwrap().waiting
    }

    fn nudges(&self) -> Vec<String> {
        self.tree.nudges.lock().unwrap().clone()
    }

    fn set_health(&self, of: &str, change: impl FnOnce(&mut TenantHealth)) {
        let mut health = self.tree.health.lock().unwrap();
        change(health.get_mut(&tenant(of)).unwrap());
    }

    fn click(&self, report: &Value) -> RequestBuilder {
        self.request(Method::POST, "/t/gym/click")
            .header("user-agent", "Mozilla/5.0 (iPhone)")
            .header("x-forwarded-for", "203.0.113.7")
            .body(report.to_string())
    }

    async fn visit(&self, id: &str) -> Option<Visit> {
        let id = VisitId::new(id).unwrap();
        self.store.visit(&tenant("gym"), &id).await.unwrap()
    }
}

fn sign(secret: &str, path: &str, body: &[u8], stamp: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("POST{PUBLIC}{path}").as_bytes());
    mac.update(body);
    mac.update(stamp.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

fn event(portal: u64, id: u64, attempt: u64) -> Value {
    json!({"eventId": id, "subscriptionId": 25, "portalId": portal, "objectId": 7,
        "occurredAt": 1_790_000_000_000_i64, "subscriptionType": "deal.creation",
        "attemptNumber": attempt})
}

// ---- webhooks ----

#[tokio::test]
async fn a_delivery_that_hubspot_signed_is_kept_to_the_byte_and_then_acknowledged() {
    let world = World::new().await;
    let known = "CX2N9Z3dFMylsi8oAyBxcQ51nHqufxwStWjunF8WXes=";
    let answer = world
        .post(
            "/webhooks/hubspot",
            BODY.as_bytes(),
            &STAMP.to_string(),
            known,
        )
        .await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    // Its query is signed too, with some escapes decoded first.
    let known = "PT7e1pZPPzFuyP/CripHaFUyutr9e9raqc7ZF3k5JBg=";
    let path = "/webhooks/hubspot?tenant=acme%2Fwest&t=a%20b";
    let answer = world
        .post(path, BODY.as_bytes(), &STAMP.to_string(), known)
        .await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    let kept = world.inbox("gym").await;
    assert_eq!(kept.len(), 1, "the second was a repeat of the first");
    assert_eq!(kept[0].body, BODY.as_bytes());
    assert_eq!(kept[0].source, "hubspot.webhook");
    assert_eq!(kept[0].received_at, time::from_millis(STAMP));
    assert_eq!(world.nudges(), ["gym", "gym"]);
}

#[tokio::test]
async fn a_wrong_signature_is_refused_alike_whoever_is_called() {
    let world = World::new().await;
    let body = json!([event(33, 1, 0)]).to_string();
    let stamp = STAMP.to_string();
    let mut details = Vec::new();
    for path in [
        "/webhooks/hubspot/gym",
        "/webhooks/hubspot/spa",
        "/webhooks/hubspot/nobody",
        "/webhooks/hubspot",
    ] {
        let forged = sign("a guess", path, body.as_bytes(), &stamp);
        for signature in [forged.as_str(), "", "no base64!"] {
            let answer = world.post(path, body.as_bytes(), &stamp, signature).await;
            details.push(answer.problem(401));
        }
        // What is signed for one address is nothing at another.
        let elsewhere = sign(SECRET, "/elsewhere", body.as_bytes(), &stamp);
        details.push(
            world
                .post(path, body.as_bytes(), &stamp, &elsewhere)
                .await
                .problem(401),
        );
    }
    details.dedup();
    assert_eq!(details.len(), 1, "{details:?}");
    assert_eq!(world.waiting("gym").await, 0);
    assert!(world.nudges().is_empty());
}

#[tokio::test]
async fn a_replay_is_refused_after_five_minutes() {
    let world = World::new().await;
    let (path, stamp) = ("/webhooks/hubspot/gym", STAMP.to_string());
    let signature = sign(SECRET, path, BODY.as_bytes(), &stamp);
    let check = async |expected| {
        let answer = world.post(path, BODY.as_bytes(), &stamp, &signature).await;
        assert_eq!(answer.status, expected, "at {}", world.clock.now());
    };
    world.clock.advance(time::minutes(5)).await;
    check(204).await;
    world.clock.advance(time::millis(1)).await;
    check(401).await;
    let early = (world.clock.now().as_millisecond() + 300_001).to_string();
    let signature = sign(SECRET, path, BODY.as_bytes(), &early);
    world
        .post(path, BODY.as_bytes(), &early, &signature)
        .await
        .problem(401);
}

#[tokio::test]
async fn the_portal_must_be_the_tenants() {
    let world = World::new().await;
    let check = async |path: &str, body: Value, secret: &str, expected: u16| {
        let answer = world.deliver(path, body.to_string(), secret).await;
        assert_eq!(answer.status, expected, "{path} {body}: {}", answer.text);
    };
    check(
        "/webhooks/hubspot/gym",
        json!([event(34, 1, 0)]),
        SECRET,
        403,
    )
    .await;
    check(
        "/webhooks/hubspot/gym",
        json!([event(33, 1, 0), event(34, 1, 0)]),
        SECRET,
        403,
    )
    .await;
    check(
        "/webhooks/hubspot/nobody",
        json!([event(33, 1, 0)]),
        SECRET,
        403,
    )
    .await;
    check("/webhooks/hubspot", json!([event(99, 1, 0)]), SECRET, 403).await;
    // A tenant with an app of its own is spoken to by that one alone.
    check(
        "/webhooks/hubspot/spa",
        json!([event(35, 1, 0)]),
        SECRET,
        401,
    )
    .await;
    check("/webhooks/hubspot", json!([event(35, 1, 0)]), SECRET, 401).await;
    check(
        "/webhooks/hubspot/gym",
        json!([event(33, 1, 0)]),
        OWN_SECRET,
        401,
    )
    .await;
    assert!(world.nudges().is_empty());
    check(
        "/webhooks/hubspot/spa",
        json!([event(35, 1, 0)]),
        OWN_SECRET,
        204,
    )
    .await;
    check(
        "/webhooks/hubspot",
        json!([event(35, 2, 0)]),
        OWN_SECRET,
        204,
    )
    .await;
    check(
        "/webhooks/hubspot/gym",
        json!([event(33, 1, 0)]),
        SECRET,
        204,
    )
    .await;
    assert_eq!(world.nudges(), ["spa", "spa", "gym"]);
    assert_eq!(world.waiting("club").await, 0);
}

#[tokio::test]
async fn a_delivery_of_several_accounts_is_shared_out() {
    let world = World::new().await;
    let body = json!([
        event(34, 1, 0),
        event(33, 2, 0),
        event(99, 3, 0),
        event(35, 4, 0),
        event(34, 5, 0)
    ]);
    let answer = world
        .deliver("/webhooks/hubspot", body.to_string(), SECRET)
        .await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    let bodies = async |of: &str| -> Vec<Value> {
        let kept = world.inbox(of).await;
        kept.iter()
            .map(|one| serde_json::from_slice(&one.body).unwrap())
            .collect()
    };
    assert_eq!(bodies("gym").await, [json!([event(33, 2, 0)])]);
    assert_eq!(
        bodies("club").await,
        [json!([event(34, 1, 0), event(34, 5, 0)])]
    );
    assert!(bodies("spa").await.is_empty(), "it has an app of its own");
}

#[tokio::test]
async fn a_repeat_is_kept_once_whatever_its_attempt_says() {
    let world = World::new().await;
    let path = "/webhooks/hubspot/gym";
    for body in [
        json!([event(33, 1, 0), event(33, 2, 0)]),
        json!([event(33, 2, 1), event(33, 1, 1)]),
        json!([event(33, 3, 0)]),
    ] {
        assert_eq!(
            world.deliver(path, body.to_string(), SECRET).await.status,
            204
        );
    }
    assert_eq!(world.waiting("gym").await, 2);
}

#[tokio::test]
async fn what_is_signed_is_kept_even_when_it_cannot_be_read() {
    let world = World::new().await;
    for (garbage, count) in [
        (&b"[{\"portalId\":33,"[..], 1),
        (b"\xff\xfe<html>", 2),
        (b"", 3),
    ] {
        let answer = world
            .deliver("/webhooks/hubspot/gym", garbage, SECRET)
            .await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        assert_eq!(world.waiting("gym").await, count);
    }
    let bodies: Vec<_> = world
        .inbox("gym")
        .await
        .into_iter()
        .map(|one| one.body)
        .collect();
    assert_eq!(bodies, [&b"[{\"portalId\":33,"[..], b"\xff\xfe<html>", b""]);
    // Without a tenant in the path nobody knows whose it is, unless there is only one.
    let answer = world.deliver("/webhooks/hubspot", "[{", SECRET).await;
    assert!(answer.problem(400).contains("portalId"));
    let alone = World::with(Setup {
        only_gym: true,
        ..Setup::default()
    })
    .await;
    assert_eq!(
        alone
            .deliver("/webhooks/hubspot", "[{", SECRET)
            .await
            .status,
        204
    );
    assert_eq!(alone.waiting("gym").await, 1);
}

#[tokio::test]
async fn nothing_is_acknowledged_that_is_not_on_disk() {
    let world = World::new().await;
    world.store.close().await;
    let answer = world.deliver("/webhooks/hubspot/gym", BODY, SECRET).await;
    answer.problem(503);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    let answer = world.send(world.click(&json!({"url": SHOP}))).await;
    answer.problem(503);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    assert!(world.nudges().is_empty());
}

#[tokio::test]
async fn a_missing_setting_is_named() {
    let check = async |setup: Setup, key: &str| {
        let world = World::with(setup).await;
        for path in ["/webhooks/hubspot/gym", "/webhooks/hubspot"] {
            let detail = world.deliver(path, BODY, SECRET).await.problem(503);
            assert!(detail.contains(key), "{detail}");
        }
        assert_eq!(world.waiting("gym").await, 0);
        // Whether a tenant is there is still not told.
        let unknown = world
            .deliver("/webhooks/hubspot/nobody", BODY, SECRET)
            .await;
        assert_ne!(unknown.status, 404);
    };
    check(
        Setup {
            shared_secret: None,
            ..Setup::default()
        },
        "hubspot.client_secret",
    )
    .await;
    check(
        Setup {
            public_url: None,
            ..Setup::default()
        },
        "daemon.public_url",
    )
    .await;
}

#[tokio::test]
async fn settings_that_are_read_anew_are_in_force_at_once() {
    let world = World::new().await;
    let body = json!([event(33, 1, 0)]).to_string();
    let path = "/webhooks/hubspot/gym";
    let status = async |secret| world.deliver(path, &body, secret).await.status;
    assert_eq!(status("the new secret").await, 401);
    let mut settings = HttpSettings::clone(&world.settings.load());
    settings.client_secret = Some("the new secret".into());
    world.settings.store(Arc::new(settings.clone()));
    assert_eq!(status(SECRET).await, 401);
    assert_eq!(status("the new secret").await, 204);
    settings.public_url = Some("https://elsewhere.example.com".to_owned());
    world.settings.store(Arc::new(settings));
    assert_eq!(
        status("the new secret").await,
        401,
        "another address is signed"
    );
}

/// Announces a body of that length and sends none of it, so that no answer is lost in a reset.
async fn announce(world: &World, path: &str, length: usize) -> String {
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64 * 1024];
    let read = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let world = World::new().await;
    for (path, max) in [
        ("/webhooks/hubspot/gym", 1024 * 1024),
        ("/webhooks/hubspot", 1024 * 1024),
        ("/t/gym/click", 16 * 1024),
    ] {
        let answer = announce(&world, path, max + 1).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{path}: {answer}");
        assert!(
            answer.contains("application/problem+json"),
            "{path}: {answer}"
        );
    }
    let body = vec![b' '; 1024 * 1024];
    let answer = world.deliver("/webhooks/hubspot/gym", &body, SECRET).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
}

#[tokio::test]
async fn what_is_not_served_is_a_problem_too() {
    let world = World::new().await;
    for path in [
        "/",
        "/t.js",
        "/webhooks",
        "/t/gym",
        "/t/nobody.js",
        "/v1/tenants/gym",
    ] {
        world.get(path).await.problem(404);
    }
    let answer = world.get("/webhooks/hubspot/gym").await;
    answer.problem(405);
    assert_eq!(answer.header("allow"), "POST");
    world
        .send(world.request(Method::POST, "/healthz"))
        .await
        .problem(405);
}

// ---- Meta's webhooks ----

/// A delivery about one lead of each of these pages.
fn leads(pages: &[&str]) -> String {
    let entries = pages.iter().enumerate().map(|(n, page)| {
        json!({"id": page, "time": 1_790_000_000, "changes": [{"field": "leadgen",
            "value": {"leadgen_id": format!("44{n}"), "page_id": page, "ad_id": "120001"}}]})
    });
    json!({"object": "page", "entry": entries.collect::<Vec<_>>()}).to_string()
}

async fn tell(world: &World, body: &str, secret: &str) -> Answer {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signed = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let request = world
        .request(Method::POST, "/webhooks/meta")
        .header("x-hub-signature-256", signed);
    world.send(request.body(body.to_owned())).await
}

#[tokio::test]
async fn meta_is_told_the_challenge_for_the_word_alone() {
    let world = World::new().await;
    let asked = async |token: &str, challenge: &str| {
        let path = format!(
            "/webhooks/meta?hub.mode=subscribe&hub.verify_token={token}&hub.challenge={challenge}"
        );
        world.get(&path).await
    };
    let answer = asked("the%20word", "1158201444").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "1158201444"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    asked("another", "1158201444").await.problem(403);
    asked("the%20word", "%3Cscript%3E").await.problem(403);
    world.get("/webhooks/meta").await.problem(403);
    let unready = World::with(Setup {
        shared_secret: None,
        ..Setup::default()
    })
    .await;
    let detail = unready.get("/webhooks/meta?hub.mode=subscribe").await;
    assert!(detail.problem(503).contains("meta.verify_token"));
    let detail = tell(&unready, &leads(&["1033"]), "x").await;
    assert!(detail.problem(503).contains("meta.app_secret"));
}

#[tokio::test]
async fn a_lead_that_meta_signed_is_kept_for_its_pages_tenant() {
    let world = World::new().await;
    let body = leads(&["1033"]);
    for _ in 0..2 {
        let answer = tell(&world, &body, APP_SECRET).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let kept = world.inbox("gym").await;
    assert_eq!(kept.len(), 1, "the second was a repeat");
    assert_eq!(kept[0].body, body.as_bytes());
    assert_eq!(kept[0].source, "meta.webhook");
    assert_eq!(world.nudges(), ["gym", "gym"]);

    // Several pages in one delivery: to each its own, and what is nobody's is let go.
    let answer = tell(&world, &leads(&["1034", "999", "1033"]), APP_SECRET).await;
    assert_eq!(answer.status, 200);
    for (of, lead, page) in [("club", "440", "1034"), ("gym", "442", "1033")] {
        let kept = world.inbox(of).await;
        assert_eq!(kept.len(), 1, "{of}");
        let text = String::from_utf8(kept[0].body.clone()).unwrap();
        assert!(
            text.contains(lead) && text.contains(page) && !text.contains("999"),
            "{text}"
        );
    }
    assert_eq!(tell(&world, &leads(&["999"]), APP_SECRET).await.status, 200);
    assert_eq!(
        tell(&world, r#"{"object":"user","entry":[]}"#, APP_SECRET)
            .await
            .status,
        200
    );
    assert_eq!(world.nudges().len(), 4);
}

#[tokio::test]
async fn a_lead_that_somebody_else_signed_is_refused() {
    let world = World::new().await;
    let body = leads(&["1033"]);
    tell(&world, &body, "another secret").await.problem(401);
    let unsigned = world
        .request(Method::POST, "/webhooks/meta")
        .body(body.clone());
    world.send(unsigned).await.problem(401);
    assert_eq!(world.waiting("gym").await, 0);
    // A tenant with an app of its own is spoken for by that app, and by no other.
    assert_eq!(
        tell(&world, &leads(&["1035"]), APP_SECRET).await.status,
        200
    );
    assert_eq!(world.waiting("spa").await, 0);
    let both = leads(&["1033", "1035"]);
    assert_eq!(tell(&world, &both, OWN_APP_SECRET).await.status, 200);
    assert_eq!(
        (world.waiting("spa").await, world.waiting("gym").await),
        (1, 0)
    );
}

// ---- clicks ----

fn report(id: &str, consent: Option<bool>) -> Value {
    json!({"visit_id": id, "consent": consent, "referrer": "https://l.facebook.com/",
        "url": "https://shop.example/?fbclid=AbC&utm_content=120001&utm_source=fb",
        "device": {"screen": "390x844", "time_zone": "Europe/Berlin", "utc_offset_minutes": 60,
            "device_type": "mobile", "os": "iOS 17.5", "browser": "Safari 17.5"}})
}

#[tokio::test]
async fn a_visit_is_kept_with_hashes_only() {
    let world = World::new().await;
    let answer = world
        .send(world.click(&report("visit-0001", Some(true))))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.json(), json!({"visit_id": "visit-0001"}));
    let visit = world.visit("visit-0001").await.unwrap();
    assert_eq!(visit.at, time::from_millis(STAMP));
    assert_eq!(visit.ad.fbclid.as_deref(), Some("AbC"));
    assert_eq!(visit.ad.ad.as_ref().map(|id| id.as_str()), Some("120001"));
    assert_eq!(visit.ad.utm_source.as_deref(), Some("fb"));
    assert!(visit.has_consent);
    let hasher = KeyedHasher::new(HASH_KEY.as_bytes());
    assert_eq!(visit.ip, Some(hasher.hash("ip", "203.0.113.7")));
    assert_eq!(
        visit.user_agent,
        Some(hasher.hash("user_agent", "Mozilla/5.0 (iPhone)"))
    );
    assert_eq!(visit.fingerprint.unwrap().0.len(), 32);
    assert!(world.nudges().is_empty(), "a click starts no work");
}

#[tokio::test]
async fn without_consent_nobody_is_recognised() {
    let check = async |requires_consent: bool, consent: Option<bool>, recognised: bool| {
        let world = World::with(Setup {
            requires_consent,
            ..Setup::default()
        })
        .await;
        let answer = world
            .send(world.click(&report("visit-0001", consent)))
            .await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let visit = world.visit("visit-0001").await.unwrap();
        assert_eq!(visit.has_consent, recognised);
        for kept in [&visit.ip, &visit.user_agent, &visit.fingerprint] {
            assert_eq!(kept.is_some(), recognised, "{requires_consent} {consent:?}");
        }
        assert!(
            visit.ad.fbclid.is_some(),
            "the ad is in the link, not in the person"
        );
    };
    check(true, None, false).await;
    check(true, Some(false), false).await;
    check(true, Some(true), true).await;
    check(false, None, true).await;
    check(false, Some(false), false).await;
    check(false, Some(true), true).await;
}

#[tokio::test]
async fn a_visit_gets_an_id_of_its_own_when_the_page_gives_none() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let answer = world.send(world.click(&json!({"url": SHOP}))).await;
        assert_eq!(answer.status, 202);
        let id = answer.json()["visit_id"].as_str().unwrap().to_owned();
        assert!(world.visit(&id).await.is_some());
        ids.push(id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    // A second report of one visit changes nothing.
    world
        .send(world.click(&report("visit-0001", Some(true))))
        .await;
    world.clock.advance(time::minutes(1)).await;
    let again = world
        .send(world.click(&report("visit-0001", Some(false))))
        .await;
    assert_eq!(again.status, 202);
    assert_eq!(
        world.visit("visit-0001").await.unwrap().at,
        time::from_millis(STAMP)
    );
}

#[tokio::test]
async fn a_report_that_cannot_be_read_is_refused() {
    let world = World::new().await;
    for bad in [
        json!({}),
        json!([]),
        json!({"url": 7}),
        report("short", None),
        report("has space", None),
        report(&"x".repeat(65), None),
    ] {
        world.send(world.click(&bad)).await.problem(400);
    }
    let request = world.request(Method::POST, "/t/nobody/click").body("{}");
    world.send(request).await.problem(404);
}

#[tokio::test]
async fn only_the_tenants_pages_may_report() {
    let world = World::new().await;
    let from = |origin: &str| world.click(&json!({"url": SHOP})).header("origin", origin);
    let answer = world.send(from(SHOP)).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("access-control-allow-origin"), SHOP);
    assert_eq!(answer.header("vary"), "origin");
    for origin in [
        "https://evil.example",
        "https://shop.example.evil.example",
        "null",
    ] {
        let answer = world.send(from(origin)).await;
        answer.problem(403);
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    let preflight = |origin: &str| {
        world
            .request(Method::OPTIONS, "/t/gym/click")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
    };
    let answer = world.send(preflight(SHOP)).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), SHOP);
    assert_eq!(answer.header("access-control-allow-methods"), "POST");
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "content-type"
    );
    world
        .send(preflight("https://evil.example"))
        .await
        .problem(403);
}

/// The counter of reports, as the metrics show it; other tests of the process count too.
async fn counted(world: &World, outcome: &str) -> u64 {
    let wanted = format!("roasd_clicks_total{{tenant=\"gym\",outcome=\"{outcome}\"}} ");
    let metrics = world.get("/metrics").await.text;
    let line = metrics.lines().find_map(|line| line.strip_prefix(&wanted));
    line.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn the_script_is_small_and_kept_by_browsers() {
    let world = World::new().await;
    let answer = world.get("/t/gym.js").await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.len() < 3 * 1024, "{} bytes", answer.text.len());
    assert_eq!(
        answer.header("content-type"),
        "text/javascript; charset=utf-8"
    );
    assert_eq!(
        answer.header("cross-origin-resource-policy"),
        "cross-origin"
    );
    assert!(answer.header("cache-control").contains("max-age=86400"));
    assert!(
        answer.text.contains(r#""js":"/t/gym.js""#),
        "{}",
        answer.text
    );
    let tag = answer.header("etag").to_owned();
    let asked = |tag: &str| {
        world
            .request(Method::GET, "/t/gym.js")
            .header("if-none-match", tag)
    };
    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"x\", {tag}"),
        "*".to_owned(),
    ] {
        let answer = world.send(asked(&known)).await;
        assert_eq!((answer.status, answer.text.as_str()), (304, ""), "{known}");
        assert_eq!(answer.header("etag"), tag);
    }
    assert_eq!(world.send(asked("\"old\"")).await.status, 200);
    // A change of the configuration is a change of the script.
    let mut settings = HttpSettings::clone(&world.settings.load());
    settings
        .tenants
        .get_mut(&tenant("gym"))
        .unwrap()
        .form_fields
        .click_id = "other".to_owned();
    world.settings.store(Arc::new(settings));
    let answer = world.send(asked(&tag)).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.text.contains(r#"["roasd_click_id","other"]"#),
        "{}",
        answer.text
    );
    assert!(answer.text.len() < 3 * 1024);
    let head = world.send(world.request(Method::HEAD, "/t/gym.js")).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn a_browser_that_says_no_for_all_sites_is_believed() {
    let world = World::new().await;
    let request = world
        .click(&report("visit-0001", Some(true)))
        .header("sec-gpc", "1");
    assert_eq!(world.send(request).await.status, 202);
    let visit = world.visit("visit-0001").await.unwrap();
    assert!(!visit.has_consent && visit.ip.is_none() && visit.fingerprint.is_none());
}

#[tokio::test]
async fn an_answer_that_comes_later_is_taken_over() {
    let world = World::new().await;
    let mut said = report("visit-0001", None);
    world.send(world.click(&said)).await;
    assert!(world.visit("visit-0001").await.unwrap().ip.is_none());
    for (answer, is_kept) in [(true, true), (false, false), (true, true)] {
        said["consent"] = json!(answer);
        world.send(world.click(&said)).await;
        let visit = world.visit("visit-0001").await.unwrap();
        assert_eq!(visit.has_consent, is_kept);
        assert_eq!(visit.fingerprint.is_some(), is_kept);
        assert_eq!(visit.ad.ad.as_ref().map(|id| id.as_str()), Some("120001"));
    }
    // A repeat that says nothing is no answer.
    said["consent"] = Value::Null;
    world.send(world.click(&said)).await;
    assert!(world.visit("visit-0001").await.unwrap().has_consent);
}

#[tokio::test]
async fn the_pixels_cookie_is_read_with_consent_only() {
    let world = World::new().await;
    for (id, consent, expected) in [
        ("visit-0001", Some(true), Some("FromCookie")),
        ("visit-0002", None, None),
    ] {
        let said = json!({"visit_id": id, "url": "", "consent": consent,
            "fbc": "fb.1.1789000000000.FromCookie"});
        world.send(world.click(&said)).await;
        let visit = world.visit(id).await.unwrap();
        assert_eq!(visit.ad.fbclid.as_deref(), expected);
    }
    let mut said = report("visit-0003", Some(true));
    said["fbc"] = json!("fb.1.1789000000000.FromCookie");
    world.send(world.click(&said)).await;
    let visit = world.visit("visit-0003").await.unwrap();
    assert_eq!(visit.ad.fbclid.as_deref(), Some("AbC"), "the link's own");
}

#[tokio::test]
async fn the_limits_are_those_of_the_configuration_in_force() {
    let world = World::new().await;
    let mut settings = HttpSettings::clone(&world.settings.load());
    settings.clicks = ClickLimits {
        per_address_per_minute: 1_000,
        per_tenant_per_second: 2,
    };
    world.settings.store(Arc::new(settings));
    let before = counted(&world, "tenant_too_fast").await;
    let mut refused = 0;
    for n in 0..6 {
        let request = world
            .request(Method::POST, "/t/gym/click")
            .header("origin", SHOP)
            .header("x-forwarded-for", format!("203.0.113.{n}"))
            .body(json!({"url": SHOP}).to_string());
        let answer = world.send(request).await;
        assert_eq!(answer.header("access-control-allow-origin"), SHOP);
        if answer.status != 202 {
            answer.problem(429);
            assert_eq!(answer.header("retry-after"), "1");
            refused += 1;
        }
    }
    assert_eq!(refused, 2);
    assert_eq!(counted(&world, "tenant_too_fast").await, before + 2);
}

#[tokio::test]
async fn bots_are_thanked_and_forgotten() {
    let world = World::new().await;
    let before = counted(&world, "bot").await;
    for (n, agent) in ["Googlebot/2.1", "facebookexternalhit/1.1", "curl/8"]
        .iter()
        .enumerate()
    {
        let id = format!("visit-000{n}");
        let request = world
            .request(Method::POST, "/t/gym/click")
            .header("user-agent", *agent)
            .body(report(&id, Some(true)).to_string());
        assert_eq!(world.send(request).await.status, 202);
        assert_eq!(world.visit(&id).await, None, "{agent}");
    }
    assert_eq!(counted(&world, "bot").await, before + 3);
}

#[tokio::test]
async fn one_address_reports_so_fast_and_no_faster() {
    let world = World::new().await;
    let click = async |ip: &str| {
        let request = world
            .request(Method::POST, "/t/gym/click")
            .header("x-forwarded-for", ip);
        world
            .send(request.body(json!({"url": SHOP}).to_string()))
            .await
    };
    for _ in 0..30 {
        assert_eq!(click("203.0.113.7").await.status, 202);
    }
    let answer = click("203.0.113.7").await;
    answer.problem(429);
    assert_eq!(answer.header("retry-after"), "1");
    // What a visitor adds in front of the proxy's word makes no other visitor.
    click("198.51.100.9, 203.0.113.7").await.problem(429);
    assert_eq!(click("203.0.113.7, 198.51.100.9").await.status, 202);
    world.clock.advance(time::seconds(1)).await;
    assert_eq!(click("203.0.113.7").await.status, 202);
    click("203.0.113.7").await.problem(429);
}

// ---- health ----

#[tokio::test]
async fn health_tells_all_there_is_to_know() {
    let world = World::new().await;
    let gym = tenant("gym");
    let now = world.clock.now();
    world.set_health("gym", |health| {
        health.restarts = 2;
        let sync = StageHealth {
            last_success: Some(now),
            restarts: 1,
            ..StageHealth::default()
        };
        health.stages.insert(Stage::Sync, sync);
    });
    let delivery = Delivery {
        source: "hubspot.webhook".into(),
        dedup_key: "1".into(),
        body: b"[]".to_vec(),
    };
    world
        .store
        .append_delivery(&gym, &delivery, now)
        .await
        .unwrap();
    let outcome = roasd::store::jobs::JobOutcome::Succeeded;
    world
        .store
        .record_job(&gym, "optimizer", now, now, &outcome, "3 changes")
        .await
        .unwrap();
    let held = Held {
        by: "ada".into(),
        reason: "budget review".into(),
        since: now,
    };
    world.store.pause(Some(&gym), &held).await.unwrap();
    world.clock.advance(time::seconds(90)).await;

    let answer = world.get("/healthz").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/json");
    let health = answer.json();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(health["uptime_seconds"], 90);
    assert_eq!(health["store"]["state"], "ok");
    assert_eq!(health["store"]["backend"], "sqlite");
    assert_eq!(health["paused"], Value::Null);
    assert_eq!(health["pause_file"], false);
    let gym = &health["tenants"]["gym"];
    let since = now.to_string();
    assert_eq!(gym["state"], "paused");
    assert_eq!(
        gym["paused"],
        json!({"by": "ada", "reason": "budget review", "since": since})
    );
    assert_eq!(gym["restarts"], 2);
    assert_eq!(gym["stages"]["sync"]["last_success"], *since);
    assert_eq!(gym["stages"]["sync"]["restarts"], 1);
    assert_eq!(gym["stages"]["optimizer"]["last_success"], *since);
    assert_eq!(gym["stages"]["optimizer"]["said"], "3 changes");
    assert_eq!(gym["stages"]["executor"]["last_success"], Value::Null);
    assert_eq!(
        gym["inbox"],
        json!({"waiting": 1, "quarantined": 0, "oldest": since})
    );
    assert_eq!(gym["queue"]["pending"], 0);
    assert_eq!(gym["gate"]["headroom_percent"], 75.0);
    let limits = json!({"app": 95.0, "ads_insights": 75.0});
    assert_eq!(gym["gate"]["limits"], limits);
    assert_eq!(gym["troubles"], json!([]));
    assert_eq!(health["tenants"]["spa"]["state"], "running");
    assert!(!answer.text.contains(SECRET) && !answer.text.contains(OWN_SECRET));
}

#[tokio::test]
async fn a_pause_of_all_and_the_emergency_file_show() {
    let world = World::new().await;
    let held = Held {
        by: "ada".into(),
        reason: "fire".into(),
        since: world.clock.now(),
    };
    world.pause_file.store(true, Ordering::Relaxed);
    let health = world.get("/healthz").await.json();
    assert_eq!(health["pause_file"], true);
    assert_eq!(health["tenants"]["gym"]["state"], "paused");
    world.pause_file.store(false, Ordering::Relaxed);
    world.store.pause(None, &held).await.unwrap();
    // What a probe was told a moment ago is told again.
    assert_eq!(world.get("/healthz").await.json(), health);
    world.clock.advance(time::seconds(1)).await;
    let health = world.get("/healthz").await.json();
    assert_eq!(health["pause_file"], false);
    assert_eq!(health["paused"]["reason"], "fire");
    assert_eq!(health["tenants"]["spa"]["state"], "paused");
    assert_eq!(health["status"], "ok", "paused is not broken");
}

#[tokio::test]
async fn a_house_that_is_not_kept_shows_and_stops_nobody() {
    let world = World::new().await;
    let since = world.clock.now();
    *world.tree.housekeeper.lock().unwrap() = StageHealth {
        trouble: Some("the disk is full".into()),
        trouble_since: Some(since),
        restarts: 2,
        is_down: true,
        ..StageHealth::default()
    };
    world.clock.advance(time::days(3)).await;
    let answer = world.get("/healthz").await;
    assert_eq!(answer.status, 200, "tenants go on: {}", answer.text);
    let health = answer.json();
    assert_eq!(health["status"], "degraded");
    let told = json!({"last_success": null, "restarts": 2, "is_down": true,
        "trouble": "the disk is full", "trouble_since": since.to_string()});
    assert_eq!(health["housekeeper"], told);
}

/// Breaks the gym in one way and asserts that health says so, and after the grace by its status.
async fn check_grace(break_it: impl AsyncFnOnce(&World, Timestamp), state: &str, word: &str) {
    let world = World::new().await;
    break_it(&world, world.clock.now()).await;
    let check = async |status: u16, overall: &str, is_down: bool| {
        let answer = world.get("/healthz").await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let health = answer.json();
        assert_eq!(health["status"], overall);
        let gym = &health["tenants"]["gym"];
        assert_eq!(gym["state"], state);
        assert_eq!(gym["is_down"], is_down);
        let what = gym["troubles"][0]["what"].as_str().unwrap();
        assert!(what.contains(word), "{what}");
        assert_eq!(health["tenants"]["spa"]["is_down"], false);
    };
    check(200, "degraded", false).await;
    world.clock.advance(time::minutes(15)).await;
    check(200, "degraded", false).await;
    world.clock.advance(time::seconds(2)).await;
    check(503, "down", true).await;
}

#[tokio::test]
async fn a_tenant_that_is_down_for_longer_than_its_grace_makes_health_fail() {
    let held = |since| Held {
        by: "roasd".into(),
        reason: "it broke".into(),
        since,
    };
    check_grace(
        async |world, _| world.set_health("gym", |health| health.is_running = false),
        "stopped",
        "do not run",
    )
    .await;
    check_grace(
        async |world, now| {
            world
                .store
                .set_parked(&tenant("gym"), Some(&held(now)))
                .await
                .unwrap();
        },
        "parked",
        "it broke",
    )
    .await;
    check_grace(
        async |world, now| {
            world
                .store
                .set_suspended(&tenant("gym"), Some(&held(now)))
                .await
                .unwrap();
        },
        "suspended",
        "it broke",
    )
    .await;
    check_grace(
        async |world, now| {
            let broken = StageHealth {
                trouble: Some("no answer from Meta".into()),
                trouble_since: Some(now),
                ..StageHealth::default()
            };
            world.set_health("gym", |health| {
                health.stages.insert(Stage::Executor, broken);
            });
        },
        "running",
        "executor: no answer from Meta",
    )
    .await;
}

#[tokio::test]
async fn the_grace_begins_anew_when_a_tenant_ran_again() {
    let world = World::new().await;
    let run = |runs| world.set_health("gym", |health| health.is_running = runs);
    for runs in [false, true, false] {
        run(runs);
        assert_eq!(world.get("/healthz").await.status, 200);
        world.clock.advance(time::minutes(10)).await;
    }
    assert_eq!(world.get("/healthz").await.status, 200);
    world.clock.advance(time::minutes(6)).await;
    assert_eq!(world.get("/healthz").await.status, 503);
}

#[tokio::test]
async fn the_probes_of_a_service_manager() {
    let world = World::new().await;
    world.tree.health.lock().unwrap().remove(&tenant("spa"));
    assert_eq!(world.get("/livez").await.text, "ok\n");
    let answer = world.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text.contains("spa"), "{}", answer.text);
    world
        .tree
        .health
        .lock()
        .unwrap()
        .insert(tenant("spa"), running());
    assert_eq!(world.get("/readyz").await.status, 200);
    // One tenant's later trouble takes no traffic from the others.
    world.set_health("gym", |health| *health = TenantHealth::default());
    assert_eq!(world.get("/readyz").await.status, 200);
    world.tree.has_ended.store(true, Ordering::Relaxed);
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(world.get(path).await.status, 503, "{path}");
    }
    world.tree.has_ended.store(false, Ordering::Relaxed);
    world.clock.advance(time::seconds(1)).await;
    world.store.close().await;
    assert_eq!(world.get("/livez").await.status, 200);
    assert_eq!(world.get("/readyz").await.status, 503);
    let answer = world.get("/healthz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["store"]["state"], "unavailable");
    assert_eq!(answer.json()["tenants"]["gym"]["gate"]["tier"], "standard");
}

#[tokio::test]
async fn metrics_are_as_of_this_second() {
    let world = World::new().await;
    assert_eq!(
        world
            .deliver("/webhooks/hubspot/gym", BODY, SECRET)
            .await
            .status,
        204
    );
    let metrics = world.get("/metrics").await;
    assert_eq!(
        metrics.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    // Other tests of this process may count too, so only what is always so is asserted.
    for part in [
        "roasd_webhooks_total{outcome=\"kept\"}",
        "roasd_webhook_ack_seconds_bucket",
        "roasd_inbox_depth{tenant=\"gym\"}",
        "roasd_queue_depth{tenant=\"gym\",state=\"pending\"} 0",
        "roasd_tenant_parked{tenant=\"club\"} 0",
        "roasd_gate_headroom_ratio{tenant=\"gym\",kind=\"meta\"} 0.75",
        "roasd_gate_headroom_ratio{tenant=\"gym\",kind=\"meta_app\"} 0.95",
        "roasd_gate_closed{tenant=\"gym\"} 0",
        "roasd_gate_full_tier{tenant=\"gym\"} 1",
    ] {
        assert!(
            metrics.text.contains(part),
            "{part} is not in\n{}",
            metrics.text
        );
    }
}

#[tokio::test]
async fn it_stops_when_told() {
    let world = World::new().await;
    assert_eq!(world.get("/livez").await.status, 200);
    let World {
        stop, task, client, ..
    } = world;
    stop.send(true).unwrap();
    drop(client);
    task.await.unwrap().unwrap();
}
