//! A simulated year of trouble, from a seed: decisions, people's edits, throttles, lost answers,
//! crashes between any two steps, leases that end while Meta is slow, clocks that jump, two nodes.
//! The executor and the store are the real ones; Meta is `meta`, which does what its script says
//! and remembers everything. After every step the invariants and each guard are asked.
//!
//! A process ends between two commits or calls, wherever that is: each store method is one
//! transaction, and `meta` ends the process before or after any call. So every state that a crash can
//! leave is reached.
//!
//! `ROASD_SIM_SEEDS=100000` runs so many, `ROASD_SIM_SEED=17` that one alone. A seed that fails is
//! named, with the step, and fails again in the same way.

mod guards;
mod meta;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use roasd::actors::context::{Blueprint, Context, TenantSettings};
use roasd::actors::executor::ExecutorWork;
use roasd::actors::lease::{Lease, LeaseSlot};
use roasd::actors::stage::Work as _;
use roasd::clock::{Clock, Hold, since_boot};
use roasd::config::{Config, Environment};
use roasd::daemon::Parts;
use roasd::domain::change::{
    ChangeState, Origin, PendingChange, ProposedChange, Target, action_kind, initial_state, undo_of,
};
use roasd::domain::ids::{CampaignId, ChangeId, DecisionId, NodeId, TenantId};
use roasd::domain::money::{Currency, Money};
use roasd::domain::policy::RoasdPolicy;
use roasd::domain::structure::{EntityRef, RunStatus};
use roasd::domain::time::{self, SignedDuration, Timestamp};
use roasd::store::Store;
use roasd::store::changes::{ChangeFilter, Proposal};
use roasd::store::nodes::NodeInfo;
use roasd::store::sqlite::{OpenOptions, SqliteStore};
use roasd::store::tenants::Held;
use roasd::vendors::embedder::lexical::Lexical;
use roasd::vendors::meta::throttle::{GateConfig, MetaGate};
use tokio::sync::Notify;

use meta::{Interruption, SimMeta};

/// Seeds of an ordinary test run: a few seconds.
const SEEDS: u64 = 12;
/// Steps of one seed.
const STEPS: usize = 60;
const LEASE: SignedDuration = time::seconds(6);

/// A clock that a sleeper moves on: nobody else lives meanwhile.
#[derive(Debug)]
pub(crate) struct SimClock(Mutex<Timestamp>);

impl SimClock {
    fn jump(&self, by: SignedDuration) {
        let mut now = self.0.lock().unwrap();
        *now = time::add(*now, by);
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn wall(&self) -> Timestamp {
        self.now()
    }

    async fn sleep_until(&self, at: Timestamp, _key: &str) {
        let mut now = self.0.lock().unwrap();
        *now = (*now).max(at);
    }

    fn hold(&self) -> Hold {
        Hold::none()
    }
}

fn gym() -> TenantId {
    TenantId::new("gym").unwrap()
}

pub(crate) fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::USD)
}

fn settings(seed: u64, rng: &mut ChaCha12Rng) -> TenantSettings {
    let raises = ["auto", "approve"][rng.random_range(0..2)];
    let calendar = ["[]", r#"["Sat 06:00..Sun 18:00"]"#][rng.random_range(0..2)];
    let per_day = rng.random_range(1..=3);
    let asks = seed.is_multiple_of(2);
    let text = format!(
        r#"
[tenants.gym]
name = "Gym"
template = "service"
currency = "USD"
autonomy = {{ default = "auto", raise = "{raises}" }}
meta = {{ ad_account = "act_1", access_token = {{ env = "TOKEN" }} }}
hubspot = {{ portal_id = 1, access_token = {{ env = "TOKEN" }} }}
budget = {{ daily_cap = "1000.00", max_spend_per_day = "1900.00" }}
limits = {{ changes_per_ad_set_per_day = {per_day}, kills_per_day = 2, actions_per_campaign_per_hour = 3, changes_per_day = 6, ask_before_raise = {asks} }}
calendar = {{ blackouts = {calendar} }}
quality = {{ min_coverage = "0%", max_insight_age = "7d", max_crm_age = "7d" }}
"#
    );
    let environment = Environment::from([("TOKEN", "EAAB-token")]);
    let config = Config::from_text("config.toml", &text, &environment)
        .unwrap_or_else(|faults| panic!("{faults}"));
    Parts::of(&config).unwrap().tenants[&gym()].settings.clone()
}

/// One process that works for the gym.
struct Process {
    lease: Arc<Lease>,
    store: Arc<dyn Store>,
    work: ExecutorWork,
}

/// What the driver knows besides the store.
pub(crate) struct Sim {
    seed: u64,
    rng: ChaCha12Rng,
    clock: Arc<SimClock>,
    store: Arc<dyn Store>,
    meta: Arc<SimMeta>,
    settings: TenantSettings,
    node: u64,
    counter: u64,
    /// People's edits that were noticed: of what, after how many writes of ours, and until when it is
    /// left alone.
    frozen: Vec<(EntityRef, usize, Timestamp)>,
    log: Vec<String>,
    _dir: tempfile::TempDir,
}

impl Sim {
    async fn new(seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        // In memory where there is such a place: thousands of seeds sync to no disk.
        let shm = std::path::Path::new("/dev/shm");
        let dir = if shm.is_dir() {
            tempfile::tempdir_in(shm)
        } else {
            tempfile::tempdir()
        };
        let dir = dir.unwrap();
        let file = dir.path().join("sim.db");
        let store = SqliteStore::open(file.to_str().unwrap(), OpenOptions::default());
        let store: Arc<dyn Store> = Arc::new(store.await.unwrap());
        let start = "2026-10-20T08:00:00Z".parse().unwrap();
        let clock = Arc::new(SimClock(Mutex::new(start)));
        let settings = settings(seed, &mut rng);
        let meta = Arc::new(SimMeta::new(seed, clock.clone()));
        store.ensure_tenant(&gym(), "Gym", start).await.unwrap();
        let mut sim = Self {
            seed,
            rng,
            clock,
            store,
            meta,
            settings,
            node: 0,
            counter: 0,
            frozen: Vec::new(),
            log: Vec::new(),
            _dir: dir,
        };
        sim.refresh().await;
        sim.read_structure().await;
        sim
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn note(&mut self, what: impl Into<String>) {
        let line = format!("{:.0} {}", self.now(), what.into());
        self.log.push(line);
    }

    /// A process of a node that takes the tenant over now.
    async fn process(&mut self) -> Process {
        self.node += 1;
        let name = NodeId::new(format!("n{}", self.node % 2)).unwrap();
        let info = NodeInfo {
            id: name.clone(),
            host: "sim".to_owned(),
            version: "1".to_owned(),
        };
        // Whoever had it has fallen silent.
        self.clock.jump(LEASE + time::seconds(1));
        let now = self.now();
        self.store.register_node(&info, now).await.unwrap();
        let claims = self.store.claim_leases(&name, &[gym()], LEASE, now).await;
        let claim = claims.unwrap().remove(0);
        let settled_after = if claim.was_free {
            Timestamp::MIN
        } else {
            time::add(now, time::seconds(32))
        };
        let far = since_boot() + Duration::from_secs(3_600);
        let lease = Arc::new(Lease::until(far, settled_after));
        let store = self.store.fenced(claim.fence);
        let config = GateConfig {
            tier: roasd::vendors::meta::usage::AccessTier::Full,
            ..GateConfig::default()
        };
        let clock: Arc<dyn Clock> = self.clock.clone();
        let blueprint = Blueprint {
            tenant: self.settings.clone(),
            meta: self.meta.clone(),
            gate: Arc::new(MetaGate::new(config, clock.clone())),
            hubspot: None,
            clock,
            embedder: Arc::new(Lexical),
            policy: &RoasdPolicy,
            seed: self.seed ^ self.node,
            pause_file: None,
            links_folder: None,
            rehearsed_panic: None,
            call_timeout: Duration::from_secs(30),
            slot: Arc::new(LeaseSlot::default()),
        };
        let context: Arc<Context> = blueprint.context(store.clone(), lease.clone());
        Process {
            lease,
            store,
            work: ExecutorWork::new(context),
        }
    }

    /// Runs the executor once. `false` when its process ended.
    async fn look(&mut self, process: &mut Process) -> bool {
        self.note("the executor looks");
        let meta = self.meta.clone();
        meta.set_lease(process.lease.clone());
        let mut look = Box::pin(process.work.look());
        let interruption = tokio::select! {
            biased;
            what = meta.interrupted() => what,
            outcome = &mut look => {
                outcome.unwrap_or_else(|broken| panic!("{broken}"));
                return true;
            }
        };
        match interruption {
            Interruption::Crash => {
                drop(look);
                self.note("the process ended");
                false
            }
            Interruption::Slow => {
                // The lease ends while Meta is slow; another node takes over and does all it can,
                // also more than once, before the late answer comes.
                process.lease.end();
                self.note("the lease ends while a call is under way");
                let mut heir = self.process_boxed().await;
                for _ in 0..2 {
                    meta.be_good(true);
                    meta.set_lease(heir.lease.clone());
                    heir.work.look().await.unwrap();
                    self.clock.jump(time::seconds(40));
                }
                meta.be_good(false);
                meta.answer_late();
                // The late one is deposed: it says so, and writes nothing more.
                tokio::select! {
                    biased;
                    _ = meta.interrupted() => {}
                    outcome = &mut look => {
                        outcome.unwrap_or_else(|broken| panic!("{broken}"));
                    }
                }
                drop(look);
                *process = heir;
                true
            }
        }
    }

    async fn process_boxed(&mut self) -> Process {
        Box::pin(self.process()).await
    }

    async fn changes(&self) -> Vec<PendingChange> {
        let filter = ChangeFilter {
            tenant: Some(gym()),
            states: Vec::new(),
            limit: u32::MAX,
        };
        self.store.changes(&filter).await.unwrap()
    }

    /// Proposes what a policy might: from the values that roasd knows.
    async fn propose(&mut self) {
        let (structure, _) = self.store.structure(&gym()).await.unwrap().unwrap();
        let entities: Vec<EntityRef> = structure
            .ad_sets
            .keys()
            .map(|id| EntityRef::AdSet(id.clone()))
            .chain(structure.ads.keys().map(|id| EntityRef::Ad(id.clone())))
            .collect();
        let entity = entities[self.rng.random_range(0..entities.len())].clone();
        let (budget, name, status) = structure.settings(&entity).unwrap();
        let (expected, requested) = match budget.daily() {
            Some(live) => {
                let share = self.rng.random_range(0.5..1.6);
                let wanted = usd((live.minor() as f64 * share) as i64);
                (Target::DailyBudget(live), Target::DailyBudget(wanted))
            }
            None => {
                let other = match status {
                    RunStatus::Active => RunStatus::Paused,
                    _ => RunStatus::Active,
                };
                (Target::Status(status), Target::Status(other))
            }
        };
        if expected == requested {
            return;
        }
        let kind = action_kind(expected, requested);
        let Some(state) = initial_state(&self.settings.autonomy, kind) else {
            return;
        };
        self.counter += 1;
        let now = self.now();
        let late = time::minutes(self.rng.random_range(0..240));
        let proposed = ProposedChange {
            id: ChangeId::new(format!("c{:05}", self.counter)).unwrap(),
            tenant: gym(),
            entity_name: name.to_owned(),
            campaign: structure.campaign_of(&entity).unwrap().id.clone(),
            entity,
            expected,
            requested,
            reason: "the simulation wants it".to_owned(),
            origin: Origin::Decision(DecisionId::new("d1").unwrap()),
            confidence: 0.8,
            needs_approval: state == ChangeState::AwaitingApproval,
            rank: self.rng.random_range(0..4),
            earliest_at: time::add(now, late),
            expires_at: time::add(now, time::hours(self.rng.random_range(2..40))),
            proposed_at: now,
        };
        self.note(format!(
            "{} proposed: {} {expected} -> {requested}",
            proposed.id, proposed.entity
        ));
        self.store.propose(&proposed, now).await.unwrap();
    }

    async fn person_decides(&mut self) {
        let now = self.now();
        for change in self.changes().await {
            if change.state != ChangeState::AwaitingApproval {
                continue;
            }
            let id = &change.proposed.id;
            if self.rng.random_bool(0.7) {
                self.store.approve_change(id, "cli:sim", now).await.unwrap();
            } else {
                let store = &self.store;
                store.reject_change(id, "cli:sim", "no", now).await.unwrap();
            }
        }
    }

    async fn undo_something(&mut self) {
        let now = self.now();
        let changes = self.changes().await;
        let done: Vec<&PendingChange> = changes
            .iter()
            .filter(|c| c.state == ChangeState::Completed)
            .collect();
        if done.is_empty() {
            return;
        }
        let change = done[self.rng.random_range(0..done.len())];
        self.counter += 1;
        let id = ChangeId::new(format!("c{:05}", self.counter)).unwrap();
        if let Ok(undo) = undo_of(change, id, now) {
            let outcome: Proposal = self.store.propose(&undo, now).await.unwrap();
            self.note(format!(
                "a person undoes {}: {outcome:?}",
                change.proposed.id
            ));
        }
    }

    /// What the sync stage does with the structure.
    async fn read_structure(&mut self) {
        let now = self.now();
        let structure = self.meta.structure();
        let drifts = self
            .store
            .record_structure(&gym(), &structure, now)
            .await
            .unwrap();
        let until = time::add(now, self.settings.limits.human_edit_quiet);
        for drift in drifts {
            self.note(format!("{} was edited by somebody", drift.entity));
            self.store
                .freeze(&gym(), &drift.entity, until, "an edit")
                .await
                .unwrap();
            let ours = self.meta.journal().iter().filter(|w| w.is_ours).count();
            self.frozen.push((drift.entity, ours, until));
        }
        self.meta.set_synced();
    }

    /// Fresh figures and a fresh CRM.
    async fn refresh(&mut self) {
        let now = self.now();
        let day = time::day_of(now, &time::TimeZone::UTC);
        let rows = self.meta.figures(day);
        let from = time::add_days(day, -6);
        let store = &self.store;
        store
            .record_insights(&gym(), &rows, from, day, false, now)
            .await
            .unwrap();
        let micros = time::to_micros(now).to_string();
        store
            .set_cursor(&gym(), "crm.watermark", &micros, now)
            .await
            .unwrap();
    }

    async fn step(&mut self, process: &mut Process) {
        match self.rng.random_range(0..100) {
            0..=34 => self.propose().await,
            35..=44 => self.person_decides().await,
            45..=49 => self.undo_something().await,
            50..=57 => {
                let told = self.meta.somebody_edits(&mut self.rng);
                self.note(told);
            }
            58..=69 => self.read_structure().await,
            70..=79 => self.refresh().await,
            80..=84 => {
                let tenant = self.rng.random_bool(0.5).then(gym);
                let held = Held {
                    by: "cli:sim".to_owned(),
                    reason: "a look".to_owned(),
                    since: self.now(),
                };
                self.store.pause(tenant.as_ref(), &held).await.unwrap();
                self.meta.set_paused(true);
                self.note("paused");
            }
            85..=92 => {
                let now = self.now();
                self.store.resume(None, "cli:sim", now).await.unwrap();
                self.store
                    .resume(Some(&gym()), "cli:sim", now)
                    .await
                    .unwrap();
                self.meta.set_paused(false);
                self.note("resumed");
            }
            93..=95 => {
                let hours = [-1, 1, 30][self.rng.random_range(0..3)];
                self.clock.jump(time::hours(hours));
                self.note("the clock jumped");
            }
            _ => {
                process.lease.end();
                *process = self.process_boxed().await;
                self.note("another process took over");
            }
        }
    }

    async fn run(&mut self) {
        let mut process = self.process().await;
        for _ in 0..STEPS {
            let minutes = self.rng.random_range(1..120);
            self.clock.jump(time::minutes(minutes));
            self.step(&mut process).await;
            self.refresh_if_old().await;
            self.clock.jump(time::seconds(40));
            if !self.look(&mut process).await {
                process = self.process_boxed().await;
                self.clock.jump(time::seconds(40));
            }
            guards::check(self).await;
        }
        // At the end Meta is well: whatever was on its way comes to rest.
        self.meta.be_good(true);
        self.store
            .resume(None, "cli:sim", self.now())
            .await
            .unwrap();
        self.store
            .resume(Some(&gym()), "cli:sim", self.now())
            .await
            .unwrap();
        self.meta.set_paused(false);
        for _ in 0..3 {
            self.clock.jump(time::minutes(20));
            self.meta.set_lease(process.lease.clone());
            process.work.look().await.unwrap();
        }
        guards::check(self).await;
        for change in self.changes().await {
            let is_settled = !matches!(change.state, ChangeState::Claimed | ChangeState::Executing);
            assert!(is_settled, "left unsettled: {change:?}");
        }
        drop(process.store);
    }

    async fn refresh_if_old(&mut self) {
        if self.rng.random_bool(0.5) {
            self.refresh().await;
        }
    }
}

/// The campaign that everything of the simulated account is in.
pub(crate) fn campaign(n: u64) -> CampaignId {
    CampaignId::new(format!("{}", 1_000 + n)).unwrap()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

async fn simulate(seed: u64) {
    let mut sim = Sim::new(seed).await;
    if let Err(panic) = caught(sim.run()).await {
        let told = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_default();
        let lines = sim.log.join("\n  ");
        panic!("seed {seed} failed (ROASD_SIM_SEED={seed} repeats it): {told}\n  {lines}");
    }
}

/// Polls a future to its end, and gives a panic back as a value.
async fn caught(run: impl Future<Output = ()>) -> Result<(), Box<dyn std::any::Any + Send>> {
    let mut run = Box::pin(run);
    std::future::poll_fn(move |cx| {
        let polled =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.as_mut().poll(cx)));
        match polled {
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Ok(std::task::Poll::Ready(())) => std::task::Poll::Ready(Ok(())),
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        }
    })
    .await
}

#[tokio::test]
async fn whatever_happens_no_guard_is_broken_and_nothing_is_lost_or_doubled() {
    if let Some(seed) = number("ROASD_SIM_SEED") {
        return simulate(seed).await;
    }
    let first = number("ROASD_SIM_FIRST").unwrap_or(1);
    let seeds = number("ROASD_SIM_SEEDS").unwrap_or(SEEDS);
    let mut accepted = 0;
    for seed in first..first + seeds {
        simulate(seed).await;
        accepted += 1;
        if accepted % 1_000 == 0 {
            println!("{accepted} seeds hold");
        }
    }
}

#[tokio::test]
async fn a_seed_repeats_itself() {
    let run = async || {
        let mut sim = Sim::new(3).await;
        sim.run().await;
        (sim.log.clone(), sim.meta.journal())
    };
    let (first, second) = (run().await, run().await);
    assert_eq!(first, second);
    assert!(!first.1.is_empty(), "something was written");
}

#[tokio::test]
async fn a_change_that_ends_every_process_is_given_up_after_three() {
    let mut sim = Sim::new(5).await;
    sim.meta.be_good(true);
    sim.meta.be_deadly();
    let mut process = sim.process().await;
    while sim.changes().await.is_empty() {
        sim.propose().await;
    }
    sim.person_decides().await;
    let mut ends = 0;
    for _ in 0..8 {
        sim.clock.jump(time::hours(5));
        if !sim.look(&mut process).await {
            ends += 1;
            process = sim.process().await;
        }
    }
    let changes = sim.changes().await;
    let worst = changes.iter().map(|change| change.attempt).max();
    assert!(ends <= 3 && worst <= Some(4), "{ends} ends: {changes:?}");
    guards::check(&mut sim).await;
}

pub(crate) type Bell = Arc<Notify>;
