//! Several real daemons on one PostgreSQL and one sandbox: tenants are spread, move when their node
//! ends however it ends, and what one node hears another does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use roasd::cli::demo::{PUBLIC_URL, Settings, write_config};
use roasd::clock::{Clock, SystemClock, since_boot};
use roasd::domain::ids::TenantId;
use roasd::domain::time;
use roasd::sandbox::{Journal, Sandbox, SandboxConfig};
use roasd::store::Store;
use roasd::store::nodes::Lease;

use crate::support::postgres::Database;

/// How often a look is taken while something is waited for, and for how long.
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes of one installation.
struct Fleet {
    dir: tempfile::TempDir,
    database: Database,
    sandbox: Option<Sandbox>,
    /// The time that vendors and nodes live by.
    now: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    nodes: BTreeMap<&'static str, Node>,
}

/// One process.
struct Node {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Fleet {
    /// A sandbox of so many tenants, whose market runs `speed` times as fast, and no node yet.
    async fn new(tenants: u32, speed: f64) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let vendors = SandboxConfig::demo(dir.path(), 7).with_tenants(tenants);
        let begin = vendors.start;
        let anchor = SystemClock::real().now();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::scaled(speed, begin, anchor));
        let sandbox = Sandbox::start(vendors, clock.clone()).await.unwrap();
        let settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            clock: Some((speed, begin, anchor)),
            poll: time::minutes(5),
        };
        write_config(dir.path(), &sandbox, &settings).unwrap();
        let database = Database::migrated().await;
        let store = roasd::store::open(database.url()).await.unwrap();
        Self {
            dir,
            database,
            sandbox: Some(sandbox),
            now: clock,
            store,
            nodes: BTreeMap::new(),
        }
    }

    /// Starts a node and returns when it serves.
    async fn start(&mut self, name: &'static str) {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let log = self.dir.path().join(format!("{name}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_roasd"))
            .arg("--config")
            .arg(self.dir.path().join("config.toml"))
            .arg("run")
            .env("ROASD__DAEMON__DATABASE_URL", self.database.url())
            .env("ROASD__DAEMON__LISTEN", format!("127.0.0.1:{port}"))
            .env("ROASD__DAEMON__NODE", name)
            .env("ROASD__DAEMON__LEASE", "2s")
            .env(
                "ROASD__DAEMON__DATA_DIR",
                self.dir.path().join(format!("{name}-data")),
            )
            .env(
                "ROASD__PRIVACY__HASH_KEY",
                "0123456789abcdef0123456789abcdef",
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        self.nodes.insert(name, Node { child, port, log });
        let port = self.nodes[name].port;
        self.until(&format!("{name} serves"), async || {
            reqwest::get(format!("http://127.0.0.1:{port}/livez"))
                .await
                .is_ok()
        })
        .await;
    }

    /// Waits until `is_so`, and returns how long that took.
    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) -> Duration {
        let begin = since_boot();
        while !is_so().await {
            let waited = since_boot() - begin;
            assert!(waited < PATIENCE, "{what} did not happen: {}", self.logs());
            pause(LOOK).await;
        }
        since_boot() - begin
    }

    fn logs(&self) -> String {
        let mut all = String::new();
        for (name, node) in &self.nodes {
            all.push_str(&format!("---- {name}\n"));
            let mut file = std::fs::File::open(&node.log).unwrap();
            file.read_to_string(&mut all).unwrap();
        }
        all
    }

    async fn leases(&self) -> Vec<Lease> {
        let leases = self.store.leases(time::from_seconds(0)).await.unwrap();
        leases
            .into_iter()
            .filter(|lease| lease.left.is_positive())
            .collect()
    }

    /// How many tenants each node holds.
    async fn spread(&self) -> BTreeMap<String, usize> {
        let mut spread = BTreeMap::new();
        for lease in self.leases().await {
            *spread.entry(lease.fence.node.to_string()).or_default() += 1;
        }
        spread
    }

    /// Waits until the tenants are spread so.
    async fn until_spread(&self, wanted: &[(&str, usize)]) -> Duration {
        let wanted: BTreeMap<String, usize> = wanted
            .iter()
            .map(|(name, n)| ((*name).to_owned(), *n))
            .collect();
        self.until(&format!("{wanted:?}"), async || {
            self.spread().await == wanted
        })
        .await
    }

    fn signal(&self, node: &str, signal: &str) {
        let id = self.nodes[node].child.id().to_string();
        let told = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(told.success());
    }

    /// Posts a webhook of HubSpot's, rightly signed, to a node.
    async fn webhook(&self, node: &str, tenant: &TenantId) -> reqwest::StatusCode {
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

    /// What the nodes hold of the vendors' promises: no write twice, each by an audited change.
    async fn finish(mut self) {
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
        check_writes(self.dir.path(), self.store.as_ref()).await;
        self.store.close().await;
    }
}

/// Every write that Meta accepted changed something, and is a completed change of the audit log or
/// one whose node was cut off before it could say so.
async fn check_writes(dir: &Path, store: &dyn Store) {
    let writes = Journal::accepted_writes(&Journal::path(dir)).unwrap();
    let mut last: BTreeMap<(String, String), String> = BTreeMap::new();
    for write in &writes {
        assert_ne!(write.old, write.new, "sent twice: {write:?}");
        let key = (write.entity.clone(), write.field.clone());
        if let Some(before) = last.insert(key, write.new.clone()) {
            assert_eq!(before, write.old, "a write between is missing: {write:?}");
        }
    }
    for tenant in store.tenants().await.unwrap() {
        let lines = store.audit_lines(&tenant, 0, 1_000_000).await.unwrap();
        roasd::domain::audit::verify(&lines).unwrap();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "other processes are waited for, and they live by the machine's time"
)]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_spread_and_move_when_a_node_ends() {
    let mut fleet = Fleet::new(6, 1.0).await;
    fleet.start("a").await;
    fleet.until_spread(&[("a", 6)]).await;
    // A new node takes its share, and no more than that moves.
    let before: BTreeSet<TenantId> = held_by(&fleet.leases().await, "a");
    fleet.start("b").await;
    fleet.until_spread(&[("a", 3), ("b", 3)]).await;
    let kept = held_by(&fleet.leases().await, "a");
    assert!(kept.is_subset(&before));
    fleet.start("c").await;
    fleet.until_spread(&[("a", 2), ("b", 2), ("c", 2)]).await;
    // One that is told to stop hands over what it holds.
    fleet.signal("b", "-TERM");
    fleet.until_spread(&[("a", 3), ("c", 3)]).await;
    // One that is killed is missed.
    fleet.signal("c", "-KILL");
    fleet.until_spread(&[("a", 6)]).await;
    let health = reqwest::get(format!(
        "http://127.0.0.1:{}/healthz",
        fleet.nodes["a"].port
    ))
    .await
    .unwrap();
    let health: serde_json::Value = health.json().await.unwrap();
    assert_eq!(health["placement"]["trouble"], serde_json::Value::Null);
    for tenant in health["tenants"].as_object().unwrap().values() {
        assert_eq!(tenant["node"], serde_json::Value::Null, "{tenant:#}");
    }
    fleet.finish().await;
}

fn held_by(leases: &[Lease], node: &str) -> BTreeSet<TenantId> {
    let held = leases.iter().filter(|l| l.fence.node.as_str() == node);
    held.map(|lease| lease.fence.tenant.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_stopped_past_its_lease_writes_nothing_more() {
    // Fast enough that changes are made all the time.
    let mut fleet = Fleet::new(3, 2_000.0).await;
    fleet.start("a").await;
    fleet.start("b").await;
    fleet
        .until("tenants on both", async || fleet.spread().await.len() == 2)
        .await;
    fleet
        .until("a write", async || {
            !Journal::accepted_writes(&Journal::path(fleet.dir.path()))
                .unwrap_or_default()
                .is_empty()
        })
        .await;
    fleet.signal("a", "-STOP");
    fleet.until_spread(&[("b", 3)]).await;
    let taken: BTreeMap<TenantId, i64> = fleet
        .leases()
        .await
        .into_iter()
        .map(|lease| (lease.fence.tenant, lease.fence.token))
        .collect();
    fleet.signal("a", "-CONT");
    // It finds out, and takes a share again, by new claims.
    fleet
        .until("a takes part again", async || {
            fleet.leases().await.iter().any(|lease| {
                lease.fence.node.as_str() == "a" && lease.fence.token > taken[&lease.fence.tenant]
            })
        })
        .await;
    let log = fleet.logs();
    assert!(log.contains("is another node's by now"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    fleet.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_hears_another_does() {
    let mut fleet = Fleet::new(2, 1.0).await;
    fleet.start("a").await;
    fleet.start("b").await;
    fleet.until_spread(&[("a", 1), ("b", 1)]).await;
    let gym = TenantId::new("gym").unwrap();
    let holder = fleet.leases().await;
    let holder = holder.iter().find(|l| l.fence.tenant == gym).unwrap();
    let other = if holder.fence.node.as_str() == "a" {
        "b"
    } else {
        "a"
    };
    // The webhook comes to the node that does not work for the gym.
    let answer = fleet.webhook(other, &gym).await;
    assert!(answer.is_success(), "{answer}: {}", fleet.logs());
    let took = fleet
        .until("the delivery is read", async || {
            fleet.store.inbox_depth(&gym).await.unwrap().waiting == 0
        })
        .await;
    // The poll of a stage by itself comes after minutes.
    assert!(took < Duration::from_secs(10), "{took:?}");
    fleet.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_key_is_refused() {
    let mut fleet = Fleet::new(1, 1.0).await;
    fleet.start("a").await;
    let refused = Command::new(env!("CARGO_BIN_EXE_roasd"))
        .arg("--config")
        .arg(fleet.dir.path().join("config.toml"))
        .arg("run")
        .env("ROASD__DAEMON__DATABASE_URL", fleet.database.url())
        .env("ROASD__DAEMON__DATA_DIR", fleet.dir.path().join("z-data"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("privacy.hash_key"), "{told}");
    fleet.finish().await;
}
