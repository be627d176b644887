//! Several real daemons on one PostgreSQL and one sandbox, behind one address.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roasd::cli::demo::{PUBLIC_URL, Settings, write_config};
use roasd::clock::{Clock, SystemClock, since_boot};
use roasd::config::{Config, Environment};
use roasd::domain::audit::AuditEvent;
use roasd::domain::change::ChangeState;
use roasd::domain::ids::TenantId;
use roasd::domain::time;
use roasd::sandbox::{DeliverTo, Entry, Journal, Sandbox, SandboxConfig};
use roasd::store::Store;
use roasd::store::changes::ChangeFilter;
use roasd::store::nodes::Lease;
use sqlx::{Connection as _, PgConnection};
use tokio::net::{TcpListener, TcpStream};

use super::checks;
use super::cluster::{Cluster, Stop};
use super::postgres::Database;

/// How often a look is taken while something is waited for, and for how long.
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the nodes' database is.
enum Place {
    /// On the server that all tests share.
    Shared(Database),
    /// On a server of the fleet's own, which may be restarted.
    Own(Cluster),
}

/// Nodes of one installation.
pub(crate) struct Fleet {
    pub(crate) dir: tempfile::TempDir,
    place: Place,
    lease: String,
    sandbox: Option<Sandbox>,
    /// The time that vendors and nodes live by.
    now: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) nodes: BTreeMap<&'static str, Node>,
    /// Of every node that was started; one that is gone refuses.
    ports: Arc<Mutex<Vec<u16>>>,
}

/// One process.
pub(crate) struct Node {
    child: Child,
    pub(crate) port: u16,
    log: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Place {
    fn url(&self) -> String {
        match self {
            Self::Shared(database) => database.url().to_owned(),
            Self::Own(cluster) => cluster.url(),
        }
    }
}

impl Fleet {
    /// The database's address.
    pub(crate) fn url(&self) -> String {
        self.place.url()
    }

    /// A sandbox of so many tenants, whose market runs `speed` times as fast, and no node yet.
    pub(crate) async fn new(tenants: u32, speed: f64) -> Self {
        let database = Database::migrated().await;
        Self::on(Place::Shared(database), tenants, speed, "2s").await
    }

    /// The same on a server of its own, with leases of `lease`.
    pub(crate) async fn on_a_server_of_its_own(tenants: u32, speed: f64, lease: &str) -> Self {
        let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
        Self::on(Place::Own(cluster), tenants, speed, lease).await
    }

    async fn on(place: Place, tenants: u32, speed: f64, lease: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let vendors = SandboxConfig::demo(dir.path(), 7).with_tenants(tenants);
        let begin = vendors.start;
        // The configuration takes whole seconds.
        let anchor = time::from_seconds(SystemClock::real().now().as_second());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::scaled(speed, begin, anchor));
        let sandbox = Sandbox::start(vendors, clock.clone()).await.unwrap();
        let settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            clock: Some((speed, begin, anchor)),
            poll: time::minutes(5),
        };
        write_config(dir.path(), &sandbox, &settings).unwrap();
        let store = roasd::store::open(&place.url()).await.unwrap();
        Self {
            dir,
            place,
            lease: lease.to_owned(),
            sandbox: Some(sandbox),
            now: clock,
            store,
            nodes: BTreeMap::new(),
            ports: Arc::default(),
        }
    }

    /// Starts a node and returns when it serves.
    pub(crate) async fn start(&mut self, name: &'static str) {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let log = self.dir.path().join(format!("{name}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_roasd"))
            .arg("--config")
            .arg(self.dir.path().join("config.toml"))
            .arg("run")
            .envs(self.environment())
            .env("ROASD__DAEMON__LISTEN", format!("127.0.0.1:{port}"))
            .env("ROASD__DAEMON__NODE", name)
            .env(
                "ROASD__DAEMON__DATA_DIR",
                self.dir.path().join(format!("{name}-data")),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        self.nodes.insert(name, Node { child, port, log });
        self.ports.lock().unwrap().push(port);
        self.until(&format!("{name} serves"), async || {
            reqwest::get(format!("http://127.0.0.1:{port}/livez"))
                .await
                .is_ok()
        })
        .await;
    }

    /// Waits until `is_so`, and returns how long that took.
    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) -> Duration {
        let begin = since_boot();
        while !is_so().await {
            let waited = since_boot() - begin;
            assert!(waited < PATIENCE, "{what} did not happen: {}", self.logs());
            pause(LOOK).await;
        }
        since_boot() - begin
    }

    pub(crate) fn logs(&self) -> String {
        let mut all = String::new();
        for (name, node) in &self.nodes {
            all.push_str(&format!("---- {name}\n"));
            let mut file = std::fs::File::open(&node.log).unwrap();
            file.read_to_string(&mut all).unwrap();
        }
        all
    }

    pub(crate) async fn leases(&self) -> Vec<Lease> {
        let leases = self.store.leases(time::from_seconds(0)).await.unwrap();
        leases
            .into_iter()
            .filter(|lease| lease.left.is_positive())
            .collect()
    }

    /// How many tenants each node holds.
    pub(crate) async fn spread(&self) -> BTreeMap<String, usize> {
        let mut spread = BTreeMap::new();
        for lease in self.leases().await {
            *spread.entry(lease.fence.node.to_string()).or_default() += 1;
        }
        spread
    }

    /// Waits until the tenants are spread so.
    pub(crate) async fn until_spread(&self, wanted: &[(&str, usize)]) -> Duration {
        let wanted: BTreeMap<String, usize> = wanted
            .iter()
            .map(|(name, n)| ((*name).to_owned(), *n))
            .collect();
        self.until(&format!("{wanted:?}"), async || {
            self.spread().await == wanted
        })
        .await
    }

    pub(crate) fn signal(&self, node: &str, signal: &str) {
        let id = self.nodes[node].child.id().to_string();
        let told = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(told.success());
    }

    /// Posts a webhook of HubSpot's, rightly signed, to a node.
    pub(crate) async fn webhook(&self, node: &str, tenant: &TenantId) -> reqwest::StatusCode {
        use base64::Engine as _;
        use hmac::{KeyInit as _, Mac as _};
        let sandbox = self.sandbox.as_ref().unwrap().config();
        let spec = sandbox
            .tenants
            .iter()
            .find(|t| t.tenant == *tenant)
            .unwrap();
        let stamp = self.now.now().as_millisecond().to_string();
        let path = format!("/webhooks/hubspot/{tenant}");
        let body = format!(
            r#"[{{"eventId":1,"subscriptionId":1,"portalId":{},"appId":1,"occurredAt":{stamp},
                "subscriptionType":"deal.creation","attemptNumber":0,"objectId":4711}}]"#,
            spec.portal.0
        );
        let mut mac =
            hmac::Hmac::<sha2::Sha256>::new_from_slice(sandbox.client_secret.as_bytes()).unwrap();
        for part in ["POST", PUBLIC_URL, &path, &body, &stamp] {
            mac.update(part.as_bytes());
        }
        let signature =
            base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
        let url = format!("http://127.0.0.1:{}{path}", self.nodes[node].port);
        let request = reqwest::Client::new()
            .post(url)
            .header("x-hubspot-signature-v3", signature)
            .header("x-hubspot-request-timestamp", stamp)
            .body(body);
        request.send().await.unwrap().status()
    }

    /// Stops all nodes and asks what must hold: of each tenant all that must hold at the end of any
    /// world, and that limits and leases held across the nodes.
    pub(crate) async fn finish(mut self) {
        for name in self.nodes.keys() {
            self.signal(name, "-TERM");
        }
        for (name, node) in &mut self.nodes {
            let ended = node.child.wait().unwrap();
            assert!(
                ended.success() || ended.code().is_none(),
                "{name}: {ended:?}"
            );
        }
        self.sandbox.take().unwrap().stop().await;
        let config = self.config();
        // What a killed node had claimed and not sent yet rests until its claim runs out.
        let unsettled = [ChangeState::Executing];
        checks::all(self.dir.path(), &config, self.now.now(), &unsettled).await;
        self.check_limits(&config);
        self.check_nodes(&config).await;
        self.store.close().await;
    }

    /// The configuration that all nodes share.
    fn config(&self) -> Config {
        let environment: Environment = self.environment().into_iter().collect();
        Config::load(Some(&self.dir.path().join("config.toml")), &environment)
            .unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn environment(&self) -> [(String, String); 4] {
        [
            ("ROASD__DAEMON__DATABASE_URL", self.url()),
            ("ROASD__DAEMON__LEASE", self.lease.clone()),
            // A takeover waits for the calls of the one before.
            ("ROASD__META__REQUEST_TIMEOUT", "5s".to_owned()),
            (
                "ROASD__PRIVACY__HASH_KEY",
                "0123456789abcdef0123456789abcdef".to_owned(),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }

    /// An ad set's budget is moved once a day, whichever nodes its tenant was on meanwhile.
    fn check_limits(&self, config: &Config) {
        // A call arrives a little after it was judged, and the market's time runs fast.
        let day = time::hours(22);
        let mut last = BTreeMap::new();
        for write in super::writes_of_roasd(self.dir.path(), config) {
            if write.field == "daily_budget"
                && let Some(before) = last.insert(write.entity.clone(), write.at)
            {
                assert!(write.at.duration_since(before) >= day, "{write:?}");
            }
        }
    }

    /// Once another node has worked for a tenant, no call of the one before arrives any more.
    async fn check_nodes(&self, config: &Config) {
        let writes = super::writes_of_roasd(self.dir.path(), config);
        for tenant in config.tenants.keys() {
            let lines = self.store.audit_lines(tenant, 0, super::ALL).await.unwrap();
            let lines: Vec<_> = lines.into_iter().map(|line| line.entry).collect();
            for write in writes.iter().filter(|w| w.tenant == tenant.as_str()) {
                let intent = lines
                    .iter()
                    .rposition(|line| {
                        line.event == AuditEvent::Executing
                            && line.entity.as_ref().unwrap().id() == write.entity
                            && line.at <= write.at
                    })
                    .unwrap();
                let node = &lines[intent].actor;
                assert!(node.starts_with("roasd@"), "{node}");
                let other = lines[intent..].iter().find(|line| {
                    line.at < write.at && line.actor.starts_with("roasd@") && line.actor != *node
                });
                assert!(other.is_none(), "{write:?} came after {other:?}");
            }
        }
    }

    /// How many writes Meta has accepted of the nodes so far.
    pub(crate) fn writes(&self) -> usize {
        super::writes_of_roasd(self.dir.path(), &self.config()).len()
    }

    /// Waits until so many more writes were accepted.
    pub(crate) async fn until_writes(&self, more: usize) {
        let enough = self.writes() + more;
        self.until("writes", async || self.writes() >= enough).await;
    }

    /// Waits until no change is on its way to Meta.
    pub(crate) async fn until_settled(&self) {
        let filter = ChangeFilter {
            tenant: None,
            states: vec![ChangeState::Executing],
            limit: 1,
        };
        self.until("all changes are settled", async || {
            self.store.changes(&filter).await.unwrap().is_empty()
        })
        .await;
    }

    /// Waits until every tenant's actors run on one of these nodes, as these say themselves.
    pub(crate) async fn until_all_run_on(&self, nodes: &[&str]) -> Duration {
        let tenants = self.config().tenants.len();
        self.until(&format!("{tenants} tenants run on {nodes:?}"), async || {
            let mut here = 0;
            for node in nodes {
                let url = format!("http://127.0.0.1:{}/healthz", self.nodes[node].port);
                let Ok(answer) = reqwest::get(url).await else {
                    return false;
                };
                let health: serde_json::Value = answer.json().await.unwrap();
                // Absent while the store cannot be asked.
                let Some(states) = health["tenants"].as_object() else {
                    return false;
                };
                let own = states.values().filter(|tenant| tenant["node"].is_null());
                here += own.count();
            }
            here == tenants
        })
        .await
    }

    /// Ends a node as a power cut would, and forgets it.
    pub(crate) fn kill(&mut self, node: &str) {
        self.nodes.remove(node);
    }

    /// Restarts the database's server, as after a crash.
    pub(crate) async fn crash_the_server(&mut self) {
        let Place::Own(cluster) = &self.place else {
            panic!("the server is not this fleet's");
        };
        tokio::task::block_in_place(|| {
            cluster.stop(Stop::Immediate);
            cluster.again();
        });
        self.until("the server answers again", async || {
            self.store.tenants().await.is_ok()
        })
        .await;
    }

    /// Lets the sandbox post visits and webhooks to whichever node is there.
    pub(crate) async fn deliver(&self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(share_out(listener, self.ports.clone()));
        let to = DeliverTo {
            base,
            public_url: PUBLIC_URL.to_owned(),
        };
        self.sandbox.as_ref().unwrap().start_deliveries(to).unwrap();
    }

    /// Every webhook that was acknowledged is in the inbox: with its bytes, or as a row that lost them
    /// when it was settled, since it told of a person.
    pub(crate) async fn check_inbox(&self) {
        let mut kept: BTreeSet<(String, String, String)> = BTreeSet::new();
        let mut emptied: BTreeMap<String, usize> = BTreeMap::new();
        for (tenant, body) in self.bodies().await {
            if body.is_empty() {
                *emptied.entry(tenant).or_default() += 1;
                continue;
            }
            let events: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
            for event in events {
                // An association has two objects; its deal is the first.
                let object = event.get("objectId").unwrap_or(&event["fromObjectId"]);
                let at = event["occurredAt"].to_string();
                kept.insert((tenant.clone(), object.to_string(), at));
            }
        }
        let mut told = 0;
        let mut missing: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        for entry in Journal::read(&Journal::path(self.dir.path())).unwrap() {
            if let Entry::Delivered { at, tenant, id } = entry {
                told += 1;
                // DEAL/TIME/WHAT.
                let mut parts = id.split('/').map(ToOwned::to_owned);
                let (object, occurred) = (parts.next().unwrap(), parts.next().unwrap());
                if !kept.contains(&(tenant.clone(), object, occurred)) {
                    missing.entry(tenant).or_default().insert(at);
                }
            }
        }
        assert!(told > 0, "no webhook was acknowledged");
        for (tenant, deliveries) in missing {
            let rows = emptied.get(&tenant).copied().unwrap_or_default();
            let lost = deliveries.len();
            assert!(
                lost <= rows,
                "{tenant}: {lost} deliveries are not among {rows} emptied ones"
            );
        }
    }

    async fn bodies(&self) -> Vec<(String, Vec<u8>)> {
        let mut conn = PgConnection::connect(&self.url()).await.unwrap();
        sqlx::query_as("select tenant, body from inbox where source like 'hubspot%'")
            .fetch_all(&mut conn)
            .await
            .unwrap()
    }
}

/// Hands each connection to the next of the nodes that takes it, as a load balancer does.
async fn share_out(listener: TcpListener, ports: Arc<Mutex<Vec<u16>>>) {
    let next = AtomicUsize::new(0);
    loop {
        let Ok((mut from, _)) = listener.accept().await else {
            continue;
        };
        let mut ports = ports.lock().unwrap().clone();
        if !ports.is_empty() {
            let first = next.fetch_add(1, Ordering::Relaxed) % ports.len();
            ports.rotate_left(first);
        }
        tokio::spawn(async move {
            for port in ports {
                let to = SocketAddr::from(([127, 0, 0, 1], port));
                if let Ok(mut to) = TcpStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                    return;
                }
            }
        });
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "other processes are waited for, and they live by the machine's time"
)]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}
