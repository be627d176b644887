//! The world that journeys are made in: the real daemon, its actors and SQLite in a directory of
//! their own, joined to the sandbox over HTTP, in stepped time.
//!
//! A world is finished by [`World::finish`], which stops everything and then asks what must hold
//! whatever the test was about: nobody lives on, no change is left unsettled, the audit chain
//! verifies, the invariants hold, and what Meta accepted is what the audit log says was sent. A test
//! that forgets to finish its world fails.

pub(crate) mod browser;
pub(crate) mod checks;
pub(crate) mod cluster;
pub(crate) mod fleet;
pub(crate) mod postgres;

use std::path::Path;
use std::sync::Arc;

use roasd::cli::demo;
use roasd::clock::{Clock, SteppedClock};
use roasd::config::{Config, Environment};
use roasd::daemon::{Daemon, Parts};
use roasd::domain::audit::{AuditEvent, ChainedEntry};
use roasd::domain::change::PendingChange;
use roasd::domain::ids::TenantId;
use roasd::domain::time::{self, SignedDuration, Timestamp};
use roasd::sandbox::journal::AcceptedWrite;
use roasd::sandbox::{DeliverTo, Entry, Journal, Sandbox, SandboxConfig, TenantSpec};
use roasd::store::changes::ChangeFilter;
use roasd::store::{Durability, Store};
use serde_json::Value;

/// All rows there may be in a test.
pub(crate) const ALL: u32 = 1_000_000;

/// The number of the newest migration.
pub(crate) fn newest_schema() -> i64 {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite");
    let numbers = std::fs::read_dir(folder).unwrap().map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.split('_').next().unwrap().parse::<i64>().unwrap()
    });
    numbers.max().unwrap()
}

/// What differs between worlds.
pub(crate) struct Setup {
    /// Seeds the market, the vendors and every draw of roasd.
    pub(crate) seed: u64,
    /// Those of `gym`, `shop` and `clinic` that are there.
    pub(crate) tenants: &'static [&'static str],
    /// Settings in place of those that the demo has, as paths and values.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// A panic on cue; see [`Daemon::rehearse`].
    pub(crate) panic: Option<&'static str>,
    /// Changes the sandbox before it starts.
    pub(crate) vendors: fn(&mut SandboxConfig),
}

impl Setup {
    /// The gym alone.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            tenants: &["gym"],
            settings: Vec::new(),
            panic: None,
            vendors: |_| {},
        }
    }

    /// One setting in place of the demo's.
    pub(crate) fn set(mut self, path: &'static str, value: &str) -> Self {
        self.settings.push((path, value.to_owned()));
        self
    }
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

/// What Meta accepted from roasd, by the journal in `dir`; what people wrote is left out.
pub(crate) fn writes_of_roasd(dir: &Path, config: &Config) -> Vec<AcceptedWrite> {
    let mut writes = Journal::accepted_writes(&Journal::path(dir)).unwrap();
    let ours = config.meta.app_id.as_ref().unwrap();
    writes.retain(|write| write.application_id == *ours);
    writes
}

/// A world; see the module's page.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: SteppedClock,
    pub(crate) start: Timestamp,
    pub(crate) sandbox: Option<Sandbox>,
    daemon: Option<Daemon>,
    client: reqwest::Client,
    config: Config,
    seed: u64,
    is_finished: bool,
}

async fn started(
    config: &Config,
    clock: &SteppedClock,
    seed: u64,
    cue: Option<&'static str>,
) -> Daemon {
    let (clock, look) = (Arc::new(clock.clone()), time::minutes(1));
    let cue = cue.map(str::to_owned);
    let daemon = Daemon::rehearse(config.clone(), clock, seed, look, Durability::Process, cue);
    daemon.await.unwrap()
}

impl World {
    /// The gym, with this seed.
    pub(crate) async fn new(seed: u64) -> Self {
        Self::of(Setup::new(seed)).await
    }

    pub(crate) async fn of(setup: Setup) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let mut vendors = SandboxConfig::demo(dir.path(), setup.seed);
        let is_there = |spec: &TenantSpec| setup.tenants.contains(&spec.tenant.as_str());
        vendors.tenants.retain(is_there);
        (setup.vendors)(&mut vendors);
        let start = vendors.start;
        let clock = SteppedClock::new(start);
        // Time stands still until every part is in place.
        let hold = clock.hold();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let sandbox = Sandbox::start(vendors, shared).await.unwrap();
        let settings = demo::Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            clock: None,
            poll: time::minutes(30),
        };
        let file = demo::write_config(dir.path(), &sandbox, &settings).unwrap();
        let overrides = setup.settings.iter().map(|(path, value)| {
            let name = format!("ROASD__{}", path.replace('.', "__").to_uppercase());
            (name, value.clone())
        });
        let config = Config::load(Some(&file), &overrides.collect::<Environment>())
            .unwrap_or_else(|faults| panic!("{faults}"));
        let daemon = started(&config, &clock, setup.seed, setup.panic).await;
        sandbox
            .start_deliveries(DeliverTo {
                base: format!("http://{}", daemon.address()),
                public_url: demo::PUBLIC_URL.to_owned(),
            })
            .unwrap();
        drop(hold);
        Self {
            dir,
            clock,
            start,
            sandbox: Some(sandbox),
            daemon: Some(daemon),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            config,
            seed: setup.seed,
            is_finished: false,
        }
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        self.sandbox.as_ref().unwrap()
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.daemon().store()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Puts a changed configuration in force, as a reload does.
    pub(crate) async fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = self.config.clone();
        change(&mut config);
        self.daemon().reload(config.clone()).await.unwrap();
        self.config = config;
    }

    /// What the parts of the daemon were given.
    pub(crate) fn parts(&self) -> Parts {
        Parts::of(&self.config).unwrap()
    }

    pub(crate) fn spec(&self, name: &str) -> TenantSpec {
        let tenants = &self.sandbox().config().tenants;
        let found = tenants.iter().find(|t| t.tenant.as_str() == name);
        found.unwrap().clone()
    }

    pub(crate) async fn run_for(&self, span: SignedDuration) {
        self.clock.advance(span).await;
    }

    /// Runs until this long after the beginning.
    pub(crate) async fn run_to(&self, since_start: SignedDuration) {
        self.clock
            .run_until(time::add(self.start, since_start))
            .await;
    }

    /// Runs, `step` at a time, until `is_so`; fails when it is not after `most`.
    pub(crate) async fn run_until(
        &self,
        what: &str,
        step: SignedDuration,
        most: SignedDuration,
        is_so: impl AsyncFn() -> bool,
    ) {
        let last = time::add(self.clock.now(), most);
        while !is_so().await {
            let now = self.clock.now();
            assert!(now < last, "{what} did not happen within {most:#}");
            self.run_for(step).await;
        }
    }

    /// Status and body of a `GET` to the daemon.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.daemon().address());
        let answer = self.client.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Ends every fault that is in force at the vendors.
    pub(crate) async fn end_faults(&self) {
        let url = format!("http://{}/_sandbox/faults", self.sandbox().addr());
        let answer = self.client.delete(url).send().await.unwrap();
        assert!(answer.status().is_success());
    }

    /// The daemon's health, as it tells it.
    pub(crate) async fn health(&self) -> Value {
        let (_, text) = self.get("/healthz").await;
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
    }

    /// Every line of a tenant's audit log.
    pub(crate) async fn audit(&self, name: &str) -> Vec<ChainedEntry> {
        let store = self.store();
        store.audit_lines(&tenant(name), 0, ALL).await.unwrap()
    }

    /// How many lines tell of this event.
    pub(crate) async fn count(&self, name: &str, event: AuditEvent) -> usize {
        let lines = self.audit(name).await;
        lines
            .iter()
            .filter(|line| line.entry.event == event)
            .count()
    }

    /// Every change of a tenant, newest first.
    pub(crate) async fn changes(&self, name: &str) -> Vec<PendingChange> {
        let filter = ChangeFilter {
            tenant: Some(tenant(name)),
            states: Vec::new(),
            limit: ALL,
        };
        self.store().changes(&filter).await.unwrap()
    }

    pub(crate) fn journal(&self) -> Vec<Entry> {
        Journal::read(&Journal::path(self.dir.path())).unwrap()
    }

    /// What Meta accepted from roasd.
    pub(crate) fn writes(&self) -> Vec<AcceptedWrite> {
        writes_of_roasd(self.dir.path(), &self.config)
    }

    /// Stops the daemon softly and starts it again on what it left behind, without a cue to fail.
    /// Both vendors go on.
    pub(crate) async fn restart(&mut self) {
        let hold = self.clock.hold();
        // Where it was, since that is where the vendors deliver to.
        self.config.daemon.listen = self.daemon().address();
        self.stop_daemon().await;
        self.daemon = Some(started(&self.config, &self.clock, self.seed, None).await);
        drop(hold);
    }

    /// Stops the daemon; fails if anything of it lives on.
    async fn stop_daemon(&mut self) {
        let daemon = self.daemon.take().unwrap();
        let store = Arc::downgrade(&daemon.store());
        daemon.stop().await;
        // The actors, the servers and their requests each have the store: it is gone when they are.
        for _ in 0..100_000 {
            if store.strong_count() == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(store.strong_count(), 0, "something lives on");
    }

    /// Stops everything and asks what must hold; see the module's page.
    pub(crate) async fn finish(mut self) {
        self.is_finished = true;
        self.stop_daemon().await;
        let sandbox = self.sandbox.take().unwrap();
        sandbox.stop().await;
        checks::all(
            self.dir.path(),
            &self.config,
            self.clock.now(),
            &checks::HELD,
        )
        .await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        assert!(
            self.is_finished || std::thread::panicking(),
            "a world that is not finished has checked nothing"
        );
    }
}

mod tests {
    use super::*;
    use roasd::sandbox::{Fault, FaultAction, Vendor};

    #[tokio::test(flavor = "multi_thread")]
    #[should_panic(expected = "left unsettled")]
    async fn an_unsettled_change_is_not_overlooked() {
        let world = World::new(8).await;
        for (method, path, skip, action) in [
            ("POST", "", 0, FaultAction::DropAfter),
            ("GET", "/v25.0/1202", 1, FaultAction::DropBefore),
        ] {
            world.sandbox().add_fault(Fault {
                skip,
                times: 0,
                ..Fault::next(Vendor::Meta, method, path, action)
            });
        }
        world.run_to(time::hours(2)).await;
        world.finish().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[should_panic(expected = "something lives on")]
    async fn whoever_lives_on_is_not_overlooked() {
        let world = World::new(7).await;
        let _kept = world.store();
        world.finish().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[should_panic(expected = "has checked nothing")]
    async fn a_world_is_finished_by_its_test() {
        let _world = World::new(7).await;
    }
}
