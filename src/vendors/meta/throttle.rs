//! The gate: every call to Meta, read or write, spends a [`Permit`], and only [`MetaGate::permit`]
//! makes one. One gate per app at Meta, shared by all tenants of the process that use this app.
//!
//! A call waits for tokens of its ad account's bucket and of the app's, each with a share for
//! reads, for writes and for safety writes (pauses), then for its jitter. The buckets know the
//! points that Meta publishes (read 1, write 3, over 300 s); beside them the app has a number of
//! calls an hour, which is its owner's. Meta's own limits by the hour depend on how many ads are
//! active and on processor time, which only its usage headers know: as they climb, calls cost more,
//! then reads and ordinary writes are refused; safety writes never are. After a throttle nothing
//! passes, since calls made while blocked lengthen the block.
//! Source: Meta, "Rate limiting" (Marketing API).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use tokio::sync::Notify;

use super::limits::{
    self, HOUR, MUTATIONS_PER_SECOND, Meter, READ_POINTS, UseCase, WRITE_POINTS, score,
};
use super::usage::{Share, Usage};
use crate::clock::{self, Clock};
use crate::domain::ids::{AdAccountId, TenantId};
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::vendors::pace::Pace;

pub use super::usage::AccessTier;

/// No bucket gives more at once: half of the writes that Meta takes within a second.
const BURST_MAX: u32 = MUTATIONS_PER_SECOND / 2 * WRITE_POINTS;
/// The span over which Meta's account score decays.
const SPAN: SignedDuration = score(AccessTier::Full).decay;
/// The span of the limit on bursts of writes.
const SECOND: SignedDuration = time::seconds(1);
/// Syncs of accounts follow each other no faster, where [`GateConfig::sync_spread`] leaves the room.
const SYNC_SPACING: SignedDuration = time::millis(600);
/// The part of an hour's calls that may be made at once: syncs begin together at the full hour.
const HOUR_BURST: u32 = 4;
/// Idle buckets are forgotten once in so many permits.
const FORGET_EVERY: u32 = 4_096;
/// What is told of a bucket that is empty.
const ACCOUNT_SHARE: &str = "this account's share of calls is used up for now";
const APP_SHARE: &str = "the app's share of calls is used up for now";
const APP_HOUR: &str = "the app's calls of this hour (meta.limits.app_calls_per_hour) are used up";
/// No cool-down is longer.
const LONGEST: SignedDuration = time::hours(24);

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallKind {
    /// Reads structure and settings.
    Read,
    /// Reads figures.
    Insights,
    /// Reads leads of lead forms.
    Leads,
    /// Changes something.
    Write,
    /// Stops money: a pause, or the read of the settings that goes before it.
    SafetyWrite,
}

impl CallKind {
    /// The name logged and measured.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insights => "insights",
            Self::Leads => "leads",
            Self::Write => "write",
            Self::SafetyWrite => "safety_write",
        }
    }

    /// The use case that Meta counts it under.
    #[must_use]
    pub const fn use_case(self) -> UseCase {
        match self {
            Self::Read | Self::Write | Self::SafetyWrite => UseCase::Management,
            Self::Insights => UseCase::Insights,
            Self::Leads => UseCase::Leads,
        }
    }

    /// Whether it changes something.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Write | Self::SafetyWrite)
    }
}

/// On whose behalf a call is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The ad account called.
    pub account: AdAccountId,
    /// The tenant, for logs.
    pub tenant: TenantId,
}

/// The limits of one app.
#[derive(Debug, Clone, PartialEq)]
pub struct GateConfig {
    /// The app's id, when it is not the installation's own app.
    pub app: Option<String>,
    /// The access Meta granted; a header that tells of a lower one wins.
    pub tier: AccessTier,
    /// The part of the limits left to other software that uses the app, 0 to 0.9.
    pub headroom: f64,
    /// The part of the rest for reads.
    pub read_share: f64,
    /// The part of the rest for writes; what remains is for safety writes.
    pub write_share: f64,
    /// How many times an account's limit the whole app may use. Meta publishes none.
    pub app_factor: u32,
    /// Calls of the whole app in an hour. What remains beside the shares for reads and writes is
    /// kept for safety writes here too.
    pub app_calls_per_hour: u32,
    /// From this percentage of a limit on, as Meta reports it, a call costs twice; from half way to
    /// [`GateConfig::stop_at`] on, four times.
    pub slow_at: f64,
    /// From this percentage on reads and ordinary writes are refused. An ordinary write reads
    /// before and after it, so it could not be made without reads.
    pub stop_at: f64,
    /// A call that would wait longer is answered with [`Closed`].
    pub max_wait: SignedDuration,
    /// How long a permit is good for, in the machine's time.
    pub permit_life: SignedDuration,
    /// Over how much of each period the syncs of many accounts are spread.
    pub sync_spread: SignedDuration,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            app: None,
            tier: AccessTier::Development,
            headroom: 0.2,
            read_share: 0.5,
            write_share: 0.3,
            app_factor: 20,
            app_calls_per_hour: 4_000,
            slow_at: 50.0,
            stop_at: 90.0,
            max_wait: time::minutes(2),
            permit_life: time::seconds(60),
            sync_spread: time::minutes(10),
        }
    }
}

/// Leave to make one call, or several that travel together. Cannot be copied, and is used up by the
/// call.
#[derive(Debug)]
#[must_use = "a permit has cost tokens"]
pub struct Permit {
    account: AdAccountId,
    kind: CallKind,
    calls: u32,
    made_at: Timestamp,
    good_until: Timestamp,
}

impl Permit {
    /// The account it is for.
    #[must_use]
    pub fn account(&self) -> &AdAccountId {
        &self.account
    }

    /// What it allows.
    #[must_use]
    pub const fn kind(&self) -> CallKind {
        self.kind
    }

    /// How many calls it allows; Meta counts each one of a batch.
    #[must_use]
    pub const fn calls(&self) -> u32 {
        self.calls
    }

    /// When it was made, in the machine's time.
    #[must_use]
    pub const fn made_at(&self) -> Timestamp {
        self.made_at
    }

    /// Whether it has gone stale at `wall`: what Meta's limits were then says little now. A clock
    /// that was set back makes it stale as well.
    #[must_use]
    pub fn is_stale(&self, wall: Timestamp) -> bool {
        wall > self.good_until || wall < self.made_at
    }
}

/// No permit now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no call to Meta before {until}: {reason}")]
pub struct Closed {
    /// When to ask again.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

/// Whom a cool-down or a reading holds for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every account.
    App,
    /// One account.
    Account(AdAccountId),
    /// One account's calls of one use case.
    UseCase(AdAccountId, UseCase),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App => f.write_str("app"),
            Self::Account(account) => account.fmt(f),
            Self::UseCase(account, case) => write!(f, "{account}/{}", case.as_str()),
        }
    }
}

/// A time in which nothing passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoolDown {
    /// For whom.
    pub scope: Scope,
    /// Until when.
    pub until: Timestamp,
    /// What Meta said.
    pub reason: String,
}

/// A percentage as last reported.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageReading {
    /// Whose limit.
    pub scope: Scope,
    /// Which limit.
    pub kind: String,
    /// Percent used when it was reported.
    pub percent: f64,
    /// When that was.
    pub at: Timestamp,
    /// The span after which nothing of it is left.
    pub horizon: SignedDuration,
}

impl UsageReading {
    /// Whether it concerns calls of a use case. Meta's systems count each for itself: figures that
    /// are read too often stop no pause.
    fn concerns(&self, case: UseCase) -> bool {
        UseCase::of_limit(&self.kind).is_none_or(|of| of == case)
    }

    /// What is left of it at `now`. Use falls out of Meta's window as time goes by; and reads that
    /// are refused bring no newer reading, so an old one must not stand for ever.
    fn at(&self, now: Timestamp) -> f64 {
        let age = time::between(self.at, now).as_secs_f64();
        let horizon = self.horizon.as_secs_f64().max(1.0);
        self.percent * (1.0 - age / horizon).clamp(0.0, 1.0)
    }

    /// When it will have fallen below `percent`.
    fn falls_below(&self, percent: f64) -> Timestamp {
        let part = (1.0 - percent / self.percent.max(percent)).clamp(0.0, 1.0);
        let span = SignedDuration::try_from_secs_f64(self.horizon.as_secs_f64() * part)
            .unwrap_or(self.horizon);
        time::add(time::add(self.at, span), time::seconds(1))
    }
}

/// What the gate must not forget over a restart, as plain data.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GateSnapshot {
    /// Cool-downs in force.
    pub cool_downs: Vec<CoolDown>,
    /// Percentages that still count.
    pub readings: Vec<UsageReading>,
    /// The tier that Meta's headers told.
    pub tier: Option<AccessTier>,
}

/// How much room there is for one account.
#[derive(Debug, Clone, PartialEq)]
pub struct Headroom {
    /// The tier that limits are counted by.
    pub tier: AccessTier,
    /// Percent used of the account's closest limit.
    pub account_percent: f64,
    /// Percent used of the app's closest limit.
    pub app_percent: f64,
    /// Percent used of the closest limit that concerns a use case, whosever it is.
    pub by_case: [(UseCase, f64); 3],
    /// How many times its points a call costs.
    pub cost_factor: u32,
    /// Whether reads and ordinary writes pass.
    pub is_open: bool,
    /// The cool-down in force, the longest.
    pub cool_down: Option<CoolDown>,
}

impl GateConfig {
    /// The shares of reads, writes and safety writes, each with something in it.
    fn shares(&self) -> [f64; 3] {
        let read = self.read_share.clamp(0.05, 0.9);
        let write = self.write_share.clamp(0.05, (0.95 - read).max(0.05));
        [read, write, 1.0 - read - write]
    }

    fn cost_factor(&self, percent: f64) -> u32 {
        if percent >= self.slow_at.midpoint(self.stop_at) {
            4
        } else if percent >= self.slow_at {
            2
        } else {
            1
        }
    }
}

/// The buckets of one tier.
#[derive(Debug)]
struct Buckets {
    account: Arc<[Pace<AdAccountId>; 3]>,
    app: [Pace<()>; 3],
}

impl Buckets {
    fn new(tier: AccessTier, config: &GateConfig, nodes: u32, clock: &Arc<dyn Clock>) -> Self {
        let account = |at| {
            let (limit, burst) = points(tier, config, at, 1.0);
            Pace::new(limit, SPAN, burst.min(BURST_MAX), clock.clone())
        };
        Self {
            account: Arc::new([account(0), account(1), account(2)]),
            app: Self::app(tier, config, nodes, clock),
        }
    }

    fn app(
        tier: AccessTier,
        config: &GateConfig,
        nodes: u32,
        clock: &Arc<dyn Clock>,
    ) -> [Pace<()>; 3] {
        let factor = f64::from(config.app_factor.max(1)) / f64::from(nodes.max(1));
        [0, 1, 2].map(|at| {
            let (limit, burst) = points(tier, config, at, factor);
            Pace::new(limit.max(1), SPAN, burst, clock.clone())
        })
    }
}

/// The points of one kind of call in the span of Meta's score, and how many may go at once.
fn points(tier: AccessTier, config: &GateConfig, at: usize, times: f64) -> (u32, u32) {
    // A reserve is for the moment: most of it may go at once. The others flow.
    const BURSTS: [(u32, u32); 3] = [(4, READ_POINTS), (4, WRITE_POINTS), (1, WRITE_POINTS)];
    let limit = score(tier).points;
    let usable = f64::from(limit) * (1.0 - config.headroom.clamp(0.0, 0.95));
    let points = (usable * config.shares()[at] * times).floor() as u32;
    let (part, least) = BURSTS[at];
    (points, (points / part).min(points * 2 / 3).max(least))
}

/// The writes that one account may have within a second.
fn mutations(config: &GateConfig, clock: &Arc<dyn Clock>) -> Pace<AdAccountId> {
    let usable = f64::from(MUTATIONS_PER_SECOND) * (1.0 - config.headroom.clamp(0.0, 0.95));
    let writes = usable.floor() as u32;
    Pace::new(writes, SECOND, writes / 2, clock.clone())
}

/// The app's calls of an hour: those of every kind, and those that only safety writes may make.
#[derive(Debug)]
struct Hour {
    any: Pace<()>,
    safety: Pace<()>,
}

impl Hour {
    fn new(config: &GateConfig, nodes: u32, clock: &Arc<dyn Clock>) -> Self {
        let [_, _, kept] = config.shares();
        let calls = config.app_calls_per_hour / nodes.max(1);
        let safety = (f64::from(calls) * kept).floor() as u32;
        let any = calls.saturating_sub(safety);
        let pace = |calls: u32| Pace::new(calls, HOUR, calls / HOUR_BURST, clock.clone());
        Self {
            any: pace(any),
            safety: pace(safety),
        }
    }
}

/// The limits in force, with their buckets.
#[derive(Debug)]
struct Limits {
    config: GateConfig,
    /// How many nodes share the app's limits.
    nodes: u32,
    development: Buckets,
    full: Buckets,
    /// Writes of an account within a second, whatever their kind.
    mutations: Arc<Pace<AdAccountId>>,
    hour: Hour,
}

impl Limits {
    fn new(config: GateConfig, nodes: u32, clock: &Arc<dyn Clock>) -> Self {
        Self {
            development: Buckets::new(AccessTier::Development, &config, nodes, clock),
            full: Buckets::new(AccessTier::Full, &config, nodes, clock),
            mutations: Arc::new(mutations(&config, clock)),
            hour: Hour::new(&config, nodes, clock),
            config,
            nodes,
        }
    }

    /// The same with another number of nodes: what accounts have used up stays used up.
    fn shared_by(&self, nodes: u32, clock: &Arc<dyn Clock>) -> Self {
        let buckets = |tier, own: &Buckets| Buckets {
            account: own.account.clone(),
            app: Buckets::app(tier, &self.config, nodes, clock),
        };
        Self {
            development: buckets(AccessTier::Development, &self.development),
            full: buckets(AccessTier::Full, &self.full),
            mutations: self.mutations.clone(),
            hour: Hour::new(&self.config, nodes, clock),
            config: self.config.clone(),
            nodes,
        }
    }

    /// The tier that limits are counted by: the lower one of what is configured and what Meta says.
    fn tier(&self, state: &State) -> AccessTier {
        state
            .tier
            .map_or(self.config.tier, |seen| seen.min(self.config.tier))
    }

    fn buckets(&self, tier: AccessTier) -> &Buckets {
        match tier {
            AccessTier::Development => &self.development,
            AccessTier::Full => &self.full,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    cool_downs: BTreeMap<Scope, (Timestamp, String)>,
    readings: BTreeMap<(Scope, String), UsageReading>,
    tier: Option<AccessTier>,
    meters: BTreeMap<(AdAccountId, UseCase), Meter>,
    active_ads: BTreeMap<AdAccountId, u64>,
}

/// The gate; see the module's page.
#[derive(Debug)]
pub struct MetaGate {
    limits: ArcSwap<Limits>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    made: AtomicU32,
    accounts: AtomicU32,
    alarm: Arc<Notify>,
}

impl MetaGate {
    /// A gate with full buckets and no cool-down; see [`MetaGate::restore`].
    #[must_use]
    pub fn new(config: GateConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            limits: ArcSwap::from_pointee(Limits::new(config, 1, &clock)),
            clock,
            state: Mutex::default(),
            made: AtomicU32::new(0),
            accounts: AtomicU32::new(1),
            alarm: Arc::default(),
        }
    }

    /// Rings `alarm` at each new cool-down, so that somebody writes it down before the process may
    /// end: calls made while blocked lengthen the block.
    #[must_use]
    pub fn with_alarm(mut self, alarm: Arc<Notify>) -> Self {
        self.alarm = alarm;
        self
    }

    /// Takes this node's part of the app's limits, which `nodes` share. An account's are whole.
    pub fn share_among(&self, nodes: u32) {
        let limits = self.limits.load();
        if limits.nodes != nodes.max(1) {
            let new = limits.shared_by(nodes.max(1), &self.clock);
            self.limits.store(Arc::new(new));
        }
    }

    /// Puts other limits in force for the calls that come; cool-downs and readings stay. Buckets
    /// that change begin full, as after a restart: what is left over of Meta's limits covers that.
    pub fn configure(&self, config: GateConfig) {
        let limits = self.limits.load();
        if limits.config != config {
            let new = Limits::new(config, limits.nodes, &self.clock);
            self.limits.store(Arc::new(new));
        }
    }

    /// Takes note of how many accounts are behind this app, whose syncs are then spread.
    pub fn expect_accounts(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.accounts.store(count.max(1), Ordering::Relaxed);
    }

    /// How long after the others' common hour an account syncs: always the same for an account, and
    /// the later the more accounts there are, so that a few wait for nothing and a thousand do not
    /// wake together.
    #[must_use]
    pub fn sync_offset(&self, account: &AdAccountId) -> SignedDuration {
        let accounts = self.accounts.load(Ordering::Relaxed);
        let few = accounts.saturating_sub(1).min(1_000_000);
        let span = SYNC_SPACING * i32::try_from(few).unwrap_or(i32::MAX);
        let span = span.min(self.limits.load().config.sync_spread);
        let place = limits::place(account.digits()) * span.as_secs_f64();
        SignedDuration::try_from_secs_f64(place).unwrap_or(SignedDuration::ZERO)
    }

    /// Takes note of how many ads of an account are active, on which its quotas depend.
    pub fn learn_active_ads(&self, account: &AdAccountId, active: u64) {
        self.lock().active_ads.insert(account.clone(), active);
    }

    /// Takes note of an error of ours, which takes something off an account's quota.
    pub fn user_error(&self, account: &AdAccountId, case: UseCase) {
        let now = self.clock.now();
        let mut state = self.lock();
        let meter = state.meters.entry((account.clone(), case));
        meter.or_default().user_error(now);
    }

    /// The id of the app it stands before, when that is not the installation's own.
    #[must_use]
    pub fn app(&self) -> Option<String> {
        self.limits.load().config.app.clone()
    }

    /// Waits until a call may be made, then for `jitter`, which the caller draws from its seeded
    /// generator. To be called under a hold, as [`Clock::sleep_until`].
    ///
    /// # Errors
    /// [`Closed`] when the wait (without the jitter) would be longer than
    /// [`GateConfig::max_wait`].
    pub async fn permit(
        &self,
        caller: &Caller,
        kind: CallKind,
        jitter: SignedDuration,
    ) -> Result<Permit, Closed> {
        self.permit_many(caller, kind, 1, jitter).await
    }

    /// The same for up to `most` calls that travel together: one is waited for, and as many more are
    /// allowed as there is room for now.
    ///
    /// # Errors
    /// As [`MetaGate::permit`].
    pub async fn permit_many(
        &self,
        caller: &Caller,
        kind: CallKind,
        most: u32,
        jitter: SignedDuration,
    ) -> Result<Permit, Closed> {
        let limits = self.limits.load_full();
        let deadline = time::add(self.clock.now(), limits.config.max_wait);
        self.wait_open(caller, kind, deadline).await?;
        self.take_tokens(&limits, caller, kind, deadline).await?;
        let mut calls = 1;
        while calls < most && self.takes_one_more(&limits, &caller.account, kind) {
            calls += 1;
        }
        if jitter.is_positive() {
            clock::sleep(&*self.clock, jitter, &key(caller)).await;
        }
        // Another call may have been throttled while this one waited.
        let deadline = deadline.max(self.clock.now());
        self.wait_open(caller, kind, deadline).await?;
        if self.made.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            let accounts = limits.development.account.iter();
            for pace in accounts.chain(limits.full.account.iter()) {
                pace.forget_idle();
            }
            limits.mutations.forget_idle();
            let now = self.clock.now();
            self.lock().meters.retain(|_, meter| !meter.is_idle(now));
        }
        let made_at = self.clock.wall();
        Ok(Permit {
            account: caller.account.clone(),
            kind,
            calls,
            made_at,
            good_until: time::add(made_at, limits.config.permit_life),
        })
    }

    async fn wait_open(
        &self,
        caller: &Caller,
        kind: CallKind,
        deadline: Timestamp,
    ) -> Result<(), Closed> {
        while let Some(closed) = self.closed(&caller.account, kind) {
            self.wait(caller, closed, deadline).await?;
        }
        Ok(())
    }

    async fn wait(
        &self,
        caller: &Caller,
        closed: Closed,
        deadline: Timestamp,
    ) -> Result<(), Closed> {
        if closed.until > deadline {
            tracing::debug!(
                tenant.id = %caller.tenant,
                account = %caller.account,
                "the gate is closed until {}: {}", closed.until, closed.reason
            );
            return Err(closed);
        }
        self.clock.sleep_until(closed.until, &key(caller)).await;
        Ok(())
    }

    async fn take_tokens(
        &self,
        limits: &Limits,
        caller: &Caller,
        kind: CallKind,
        deadline: Timestamp,
    ) -> Result<(), Closed> {
        let account = &caller.account;
        let tier = limits.tier(&self.lock());
        let buckets = limits.buckets(tier);
        let factor = self.cost_factor(limits, account, kind);
        if kind.is_write() {
            let pace = &limits.mutations;
            self.drain(caller, pace, account, 1, ACCOUNT_SHARE, deadline)
                .await?;
        }
        let (points, at) = match kind {
            CallKind::Read | CallKind::Insights | CallKind::Leads => (READ_POINTS * factor, 0),
            CallKind::Write => (WRITE_POINTS * factor, 1),
            // A pause costs what it costs: it is what the reserve is for, and takes from it only
            // what ordinary calls have not left over.
            CallKind::SafetyWrite => {
                if limits.hour.any.take(&(), 1).is_err() {
                    let hour = &limits.hour.safety;
                    self.drain(caller, hour, &(), 1, APP_HOUR, deadline).await?;
                }
                self.count(account, kind);
                let left_over = buckets.account[1].take(account, WRITE_POINTS).is_ok();
                if left_over && buckets.app[1].take(&(), WRITE_POINTS).is_ok() {
                    return Ok(());
                }
                (WRITE_POINTS, 2)
            }
        };
        // The account's bucket first: a crowded account then takes nothing from the app's.
        let own = &buckets.account[at];
        self.drain(caller, own, account, points, ACCOUNT_SHARE, deadline)
            .await?;
        let app = &buckets.app[at];
        self.drain(caller, app, &(), points, APP_SHARE, deadline)
            .await?;
        if kind != CallKind::SafetyWrite {
            let hour = &limits.hour.any;
            self.drain(caller, hour, &(), 1, APP_HOUR, deadline).await?;
            self.count(account, kind);
        }
        Ok(())
    }

    /// Takes the tokens of one more read without waiting; `false` when there are none.
    fn takes_one_more(&self, limits: &Limits, account: &AdAccountId, kind: CallKind) -> bool {
        if kind.is_write() || self.closed(account, kind).is_some() {
            return false;
        }
        let buckets = limits.buckets(limits.tier(&self.lock()));
        let points = READ_POINTS * self.cost_factor(limits, account, kind);
        let [own, app] = [buckets.account[0].burst(), buckets.app[0].burst()];
        let is_there = points <= own.min(app)
            && buckets.account[0].take(account, points).is_ok()
            && buckets.app[0].take(&(), points).is_ok()
            && limits.hour.any.take(&(), 1).is_ok();
        if is_there {
            self.count(account, kind);
        }
        is_there
    }

    /// Counts a call for its use case.
    fn count(&self, account: &AdAccountId, kind: CallKind) {
        let now = self.clock.now();
        let mut state = self.lock();
        let meter = state.meters.entry((account.clone(), kind.use_case()));
        meter.or_default().call(now);
    }

    fn cost_factor(&self, limits: &Limits, account: &AdAccountId, kind: CallKind) -> u32 {
        let now = self.clock.now();
        let percent = self.lock().percent(limits, account, kind.use_case(), now);
        limits.config.cost_factor(percent)
    }

    /// Takes tokens one burst at a time, since no more are ever there at once.
    async fn drain<K: std::hash::Hash + Eq + Clone>(
        &self,
        caller: &Caller,
        pace: &Pace<K>,
        key: &K,
        points: u32,
        used_up: &str,
        deadline: Timestamp,
    ) -> Result<(), Closed> {
        let mut left = points;
        while left > 0 {
            let part = left.min(pace.burst());
            match pace.take(key, part) {
                Ok(()) => left -= part,
                Err(wait) => {
                    let closed = Closed {
                        until: time::add(self.clock.now(), wait),
                        reason: used_up.to_owned(),
                    };
                    self.wait(caller, closed, deadline).await?;
                }
            }
        }
        Ok(())
    }

    /// Why a call of this kind may not be made now; `None` when it may, tokens aside.
    #[must_use]
    pub fn closed(&self, account: &AdAccountId, kind: CallKind) -> Option<Closed> {
        let now = self.clock.now();
        let state = self.lock();
        let case = kind.use_case();
        if let Some(cool_down) = state.cool_down(account, Some(case), now) {
            return Some(Closed {
                until: cool_down.until,
                reason: cool_down.reason,
            });
        }
        if kind == CallKind::SafetyWrite {
            return None;
        }
        let limits = self.limits.load();
        let stop_at = limits.config.stop_at;
        let told = state
            .of(account)
            .filter(|reading| reading.concerns(case) && reading.at(now) >= stop_at)
            .map(|reading| {
                let until = reading.falls_below(stop_at);
                (until, reading.percent, reading.kind.as_str())
            });
        let (percent, until) = state.own_use(&limits, account, case, now);
        let counted = (percent >= stop_at).then_some((until, percent, case.as_str()));
        let (until, percent, limit) = told.chain(counted).max_by_key(|(until, ..)| *until)?;
        Some(Closed {
            until: until.max(time::add(now, time::seconds(1))),
            reason: format!(
                "{percent:.0} % of Meta's limit {limit} is used, {}s stop at {stop_at:.0} %",
                kind.as_str()
            ),
        })
    }

    /// Takes note of what an answer's headers say; to be called for errors too.
    pub fn observe(&self, account: &AdAccountId, usage: &Usage) {
        let at = self.clock.now();
        let mut state = self.lock();
        if usage.tier.is_some() {
            state.tier = usage.tier;
        }
        for reading in &usage.readings {
            let scope = match reading.share {
                Share::App => Scope::App,
                Share::Account => Scope::Account(account.clone()),
            };
            state.readings.insert(
                (scope.clone(), reading.kind.clone()),
                UsageReading {
                    scope,
                    kind: reading.kind.clone(),
                    percent: reading.percent,
                    at,
                    horizon: reading.horizon,
                },
            );
        }
        state.readings.retain(|_, reading| reading.at(at) > 0.0);
        for (case, percent) in &usage.calls {
            if let Some(meter) = state.meters.get_mut(&(account.clone(), *case)) {
                meter.learn(*percent, at);
            }
        }
        drop(state);
        for (case, regain) in &usage.regains {
            let until = time::add(at, *regain);
            let reason = "Meta says that calls are not let in yet";
            self.cool_down(Scope::UseCase(account.clone(), *case), until, reason);
        }
    }

    /// Lets nothing of `scope` pass before `until` (a day at most). A longer cool-down in force
    /// stays.
    pub fn cool_down(&self, scope: Scope, until: Timestamp, reason: &str) {
        let now = self.clock.now();
        let until = until.min(time::add(now, LONGEST));
        let mut state = self.lock();
        state.cool_downs.retain(|_, (until, _)| *until > now);
        let known = state.cool_downs.get(&scope).map(|(until, _)| *until);
        if until > now && known.is_none_or(|known| known < until) {
            tracing::warn!(%scope, %until, "calls to Meta stop: {reason}");
            state.cool_downs.insert(scope, (until, reason.to_owned()));
            self.alarm.notify_one();
        }
    }

    /// How much room there is for an account.
    #[must_use]
    pub fn headroom(&self, account: &AdAccountId) -> Headroom {
        let now = self.clock.now();
        let state = self.lock();
        let limits = self.limits.load();
        let most = |of_app: bool| {
            state
                .of(account)
                .filter(|reading| (reading.scope == Scope::App) == of_app)
                .map(|reading| reading.at(now))
                .fold(0.0, f64::max)
        };
        let by_case = UseCase::ALL.map(|case| (case, state.percent(&limits, account, case, now)));
        let own = UseCase::ALL.map(|case| state.own_use(&limits, account, case, now).0);
        let account_percent = own.into_iter().fold(most(false), f64::max);
        let app_percent = most(true);
        let percent = account_percent.max(app_percent);
        let cool_down = state.cool_down(account, None, now);
        Headroom {
            tier: limits.tier(&state),
            account_percent,
            app_percent,
            by_case,
            cost_factor: limits.config.cost_factor(percent),
            is_open: cool_down.is_none() && percent < limits.config.stop_at,
            cool_down,
        }
    }

    /// What must be kept over a restart.
    #[must_use]
    pub fn snapshot(&self) -> GateSnapshot {
        let now = self.clock.now();
        let state = self.lock();
        let cool_downs = state.cool_downs.iter().filter(|(_, (at, _))| *at > now);
        GateSnapshot {
            cool_downs: cool_downs
                .map(|(scope, (until, reason))| CoolDown {
                    scope: scope.clone(),
                    until: *until,
                    reason: reason.clone(),
                })
                .collect(),
            readings: state
                .readings
                .values()
                .filter(|reading| reading.at(now) > 0.0)
                .cloned()
                .collect(),
            tier: state.tier,
        }
    }

    /// Takes over what was kept, also by another process; the stricter of two stands.
    pub fn restore(&self, snapshot: GateSnapshot) {
        for cool_down in snapshot.cool_downs {
            self.cool_down(cool_down.scope, cool_down.until, &cool_down.reason);
        }
        let now = self.clock.now();
        let mut state = self.lock();
        // What this process has heard itself is newer.
        state.tier = state.tier.or(snapshot.tier);
        for reading in snapshot.readings {
            let key = (reading.scope.clone(), reading.kind.clone());
            let known = state.readings.get(&key).map_or(0.0, |known| known.at(now));
            // One from the future was written under another clock.
            if reading.at <= now && reading.at(now) > known {
                state.readings.insert(key, reading);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The readings that concern an account: its own and the app's.
    fn of<'a>(&'a self, account: &'a AdAccountId) -> impl Iterator<Item = &'a UsageReading> {
        self.readings
            .values()
            .filter(move |reading| match &reading.scope {
                Scope::App => true,
                Scope::Account(own) | Scope::UseCase(own, _) => own == account,
            })
    }

    /// Percent used of the closest limit that concerns a use case.
    fn percent(
        &self,
        limits: &Limits,
        account: &AdAccountId,
        case: UseCase,
        now: Timestamp,
    ) -> f64 {
        self.of(account)
            .filter(|reading| reading.concerns(case))
            .map(|reading| reading.at(now))
            .fold(self.own_use(limits, account, case, now).0, f64::max)
    }

    /// Percent used of an account's quota by own calls, and until when that is too much.
    fn own_use(
        &self,
        limits: &Limits,
        account: &AdAccountId,
        case: UseCase,
        now: Timestamp,
    ) -> (f64, Timestamp) {
        let Some(meter) = self.meters.get(&(account.clone(), case)) else {
            return (0.0, now);
        };
        let active = self.active_ads.get(account).copied().unwrap_or(0);
        let quota = meter.quota(case, limits.tier(self), active, now);
        meter.used(quota, limits.config.stop_at, now)
    }

    /// The longest cool-down that concerns calls of a use case, or of any.
    fn cool_down(
        &self,
        account: &AdAccountId,
        case: Option<UseCase>,
        now: Timestamp,
    ) -> Option<CoolDown> {
        let cases = UseCase::ALL
            .into_iter()
            .filter(|of| case.is_none_or(|case| case == *of))
            .map(|case| Scope::UseCase(account.clone(), case));
        [Scope::App, Scope::Account(account.clone())]
            .into_iter()
            .chain(cases)
            .filter_map(|scope| {
                let (until, reason) = self.cool_downs.get(&scope)?;
                (*until > now).then(|| CoolDown {
                    scope,
                    until: *until,
                    reason: reason.clone(),
                })
            })
            .max_by_key(|cool_down| cool_down.until)
    }
}

fn key(caller: &Caller) -> String {
    format!("gate/{}", caller.account)
}

#[cfg(test)]
#[path = "throttle_tests.rs"]
mod tests;
