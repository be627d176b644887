//! What the actors of one tenant share: its settings, the store, the vendors, the clock, and the
//! neighbours that the winners stage has published.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::lease::{Lease, LeaseSlot};
use super::stage::{Progress, Stage};
use crate::clock::Clock;
use crate::domain::attribution::AttributionRules;
use crate::domain::autonomy::AutonomyRules;
use crate::domain::fx::FxTable;
use crate::domain::ids::{AdAccountId, AdId, TenantId};
use crate::domain::limits::{DurationRange, GuardLimits};
use crate::domain::manage::Manage;
use crate::domain::money::Currency;
use crate::domain::naming::Naming;
use crate::domain::policy::{Mode, Policy, PolicyParams};
use crate::domain::stages::StageTable;
use crate::domain::time::{SignedDuration, Timestamp};
use crate::store::gate::GateRow;
use crate::store::tenants::Held;
use crate::store::{Store, StoreError};
use crate::vendors::embedder::Embedder;
use crate::vendors::hubspot::HubSpot;
use crate::vendors::meta::MetaAds;
use crate::vendors::meta::limits::UseCase;
use crate::vendors::meta::reports::ReportLimits;
use crate::vendors::meta::throttle::{
    AccessTier, CallKind, Caller, CoolDown, GateSnapshot, MetaGate, Permit, Scope, UsageReading,
};
use crate::vendors::{Refusal, VendorError};

/// How often the stages look by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// The vendors are read.
    pub sync_every: SignedDuration,
    /// The policy decides.
    pub decide_every: SignedDuration,
    /// The executor looks for approvals and due changes that nobody told it of.
    pub executor_poll: SignedDuration,
}

/// A tenant's settings, as the actors need them.
#[derive(Debug, Clone)]
pub struct TenantSettings {
    /// The tenant.
    pub id: TenantId,
    /// Its name, for people.
    pub name: String,
    /// How it earns.
    pub mode: Mode,
    /// The ad account's currency.
    pub currency: Currency,
    /// What bounds every change.
    pub limits: GuardLimits,
    /// How far roasd may act on its own.
    pub autonomy: AutonomyRules,
    /// Whether challengers decide beside the champion.
    pub challengers: bool,
    /// The campaigns that it works on.
    pub manage: Manage,
    /// How long a proposal waits for a person.
    pub approval_expiry: SignedDuration,
    /// The funnel.
    pub stages: StageTable,
    /// The CRM's currencies.
    pub fx: FxTable,
    /// The model's numbers.
    pub params: PolicyParams,
    /// Prior rates of the funnel's stages, in order, where the owner states them.
    pub prior_rates: Vec<f64>,
    /// The windows of attribution.
    pub attribution: AttributionRules,
    /// How often the stages look.
    pub schedule: Schedule,
    /// The kind of action whose counts by Meta conversions are held against.
    pub result_action: String,
    /// When figures are ordered as reports.
    pub reports: ReportLimits,
    /// Our application's id at Meta: edits by another are a person's.
    pub app_id: Option<String>,
}

/// The nearest past ads of each ad, with the cosine of their texts.
pub type Neighbours = BTreeMap<AdId, Vec<(AdId, f64)>>;

/// A panic on cue, for rehearsals of the supervision: only ever set when every vendor is a sandbox
/// on this machine.
#[derive(Debug)]
pub struct RehearsedPanic {
    /// In which stage.
    pub stage: Stage,
    /// At which looks, counted from 1: from the first number to the second.
    pub looks: (u64, u64),
    /// Looks so far.
    pub seen: AtomicU64,
}

/// A tenant that may run here: all that its actors share, but the store and the right to work.
pub struct Blueprint {
    /// The tenant's settings.
    pub tenant: TenantSettings,
    /// Meta. Its calls leave while `slot` holds a good lease.
    pub meta: Arc<dyn MetaAds>,
    /// The gate to Meta.
    pub gate: Arc<MetaGate>,
    /// HubSpot; a tenant may do without.
    pub hubspot: Option<Arc<dyn HubSpot>>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Turns a creative's text into a vector.
    pub embedder: Arc<dyn Embedder>,
    /// What decides where the registry names nothing that this program has.
    pub policy: &'static dyn Policy,
    /// Keys draws and names.
    pub seed: u64,
    /// While this file exists nothing is written to Meta, whatever else is broken.
    pub pause_file: Option<PathBuf>,
    /// Where the links of large indices are kept; without it every start builds them.
    pub links_folder: Option<PathBuf>,
    /// A panic on cue.
    pub rehearsed_panic: Option<Arc<RehearsedPanic>>,
    /// How long a call to Meta may be on its way.
    pub call_timeout: Duration,
    /// Where the tenant's clients find the lease in force.
    pub slot: Arc<LeaseSlot>,
}

impl std::fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blueprint({})", self.tenant.id)
    }
}

impl Blueprint {
    /// What the actors share while `lease` is theirs; `store` is fenced by it where several nodes
    /// share one.
    #[must_use]
    pub fn context(&self, store: Arc<dyn Store>, lease: Arc<Lease>) -> Arc<Context> {
        self.slot.set(Some(lease.clone()));
        Arc::new(Context {
            tenant: self.tenant.clone(),
            store,
            lease,
            meta: self.meta.clone(),
            gate: self.gate.clone(),
            hubspot: self.hubspot.clone(),
            clock: self.clock.clone(),
            embedder: self.embedder.clone(),
            policy: self.policy,
            neighbours: ArcSwap::default(),
            seed: self.seed,
            pause_file: self.pause_file.clone(),
            links_folder: self.links_folder.clone(),
            rehearsed_panic: self.rehearsed_panic.clone(),
            jitter: Context::jitter_rng(self.seed),
            named: AtomicU64::new(0),
            // What was asked for before, and not answered, is looked for once.
            sync_asked: AtomicBool::new(true),
        })
    }
}

/// What the actors of one tenant share.
pub struct Context {
    /// The tenant's settings.
    pub tenant: TenantSettings,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The right to work for the tenant.
    pub lease: Arc<Lease>,
    /// Meta.
    pub meta: Arc<dyn MetaAds>,
    /// The gate to Meta.
    pub gate: Arc<MetaGate>,
    /// HubSpot; a tenant may do without.
    pub hubspot: Option<Arc<dyn HubSpot>>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Turns a creative's text into a vector.
    pub embedder: Arc<dyn Embedder>,
    /// What decides where the registry names nothing that this program has.
    pub policy: &'static dyn Policy,
    /// Look-alikes, published by the winners stage. A dead stage leaves old ones here.
    pub neighbours: ArcSwap<Neighbours>,
    /// Keys draws and names.
    pub seed: u64,
    /// While this file exists nothing is written to Meta, whatever else is broken.
    pub pause_file: Option<PathBuf>,
    /// Where the links of large indices are kept; without it every start builds them.
    pub links_folder: Option<PathBuf>,
    /// A panic on cue.
    pub rehearsed_panic: Option<Arc<RehearsedPanic>>,
    /// Draws jitter.
    pub jitter: Mutex<ChaCha12Rng>,
    /// Counts things named, so that two of one instant differ.
    pub named: AtomicU64,
    /// Whether a sync may have been asked for since the sync stage last looked.
    pub sync_asked: AtomicBool,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({})", self.tenant.id)
    }
}

impl Context {
    /// The generator that jitter is drawn from.
    #[must_use]
    pub fn jitter_rng(seed: u64) -> Mutex<ChaCha12Rng> {
        Mutex::new(ChaCha12Rng::seed_from_u64(seed))
    }

    /// Draws from a range of spans.
    #[must_use]
    pub fn draw(&self, range: DurationRange) -> SignedDuration {
        let mut rng = self.jitter.lock().unwrap_or_else(PoisonError::into_inner);
        range.at(rng.random::<f64>())
    }

    /// Names a new thing.
    #[must_use]
    pub fn naming(&self) -> Naming<'_> {
        Naming {
            seed: self.seed,
            tenant: &self.tenant.id,
            at: self.clock.now(),
            counter: self.named.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Waits for leave to make one call to Meta.
    ///
    /// # Errors
    /// When the gate is closed for longer than is worth waiting.
    pub async fn permit(&self, kind: CallKind) -> Result<Permit, VendorError> {
        self.permit_many(kind, 1).await
    }

    /// The same for up to `most` calls that travel together.
    ///
    /// # Errors
    /// As [`Context::permit`].
    pub async fn permit_many(&self, kind: CallKind, most: u32) -> Result<Permit, VendorError> {
        let caller = Caller {
            account: self.meta.ad_account().clone(),
            tenant: self.tenant.id.clone(),
        };
        let range = match kind {
            CallKind::Read | CallKind::Insights | CallKind::Leads => self.tenant.limits.read_jitter,
            CallKind::Write | CallKind::SafetyWrite => self.tenant.limits.jitter,
        };
        let jitter = self.draw(range);
        self.gate
            .permit_many(&caller, kind, most, jitter)
            .await
            .map_err(|closed| VendorError::Throttled {
                vendor: "Meta",
                detail: closed.reason,
                wait: crate::domain::time::between(self.clock.now(), closed.until),
            })
    }

    /// Whether the emergency file is there.
    #[must_use]
    pub fn is_pause_file_there(&self) -> bool {
        self.pause_file.as_ref().is_some_and(|path| path.exists())
    }

    /// Notes a vendor's answer: a token that is not accepted, or an account in trouble, suspends
    /// the tenant's writes until the vendor accepts it again.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn note_vendor(
        &self,
        vendor: &'static str,
        outcome: Result<(), &VendorError>,
    ) -> Result<(), StoreError> {
        let id = &self.tenant.id;
        match outcome {
            Ok(()) => {
                let holds = self.store.holds(id).await?;
                if holds.suspended.is_some_and(|held| held.by == vendor) {
                    tracing::info!(tenant.id = %id, vendor, "{vendor} accepts {id} again");
                    self.store.set_suspended(id, None).await?;
                }
            }
            Err(
                error @ (VendorError::Unauthorized { .. }
                | VendorError::Refused {
                    kind: Refusal::AccountTrouble | Refusal::DeadVersion,
                    ..
                }),
            ) => {
                self.suspend(vendor, &error.to_string()).await?;
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Suspends the tenant's writes, unless they are already.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn suspend(&self, vendor: &'static str, reason: &str) -> Result<(), StoreError> {
        let id = &self.tenant.id;
        if self.store.holds(id).await?.suspended.is_some() {
            return Ok(());
        }
        tracing::error!(
            tenant.id = %id, vendor, reason,
            "nothing is written for {id} until this is mended: {reason}"
        );
        let held = Held {
            by: vendor.to_owned(),
            reason: reason.to_owned(),
            since: self.clock.now(),
        };
        self.store.set_suspended(id, Some(&held)).await
    }

    /// How long a stage is waited for when it is told to stop.
    #[must_use]
    pub fn stop_patience(&self, stage: Stage) -> Duration {
        match stage {
            // Longer than the client's own time-out: Meta's answer is heard out.
            Stage::Executor => Duration::from_secs(40),
            Stage::Sync => Duration::from_secs(5),
            Stage::Attribution | Stage::Winners | Stage::Optimizer => Duration::from_secs(5),
        }
    }

    /// How long a tenant is waited for when it is told to stop.
    #[must_use]
    pub fn tenant_stop_patience(&self) -> Duration {
        Stage::ALL
            .iter()
            .map(|stage| self.stop_patience(*stage))
            .sum()
    }

    /// Panics if a rehearsal asked for it here and now.
    #[expect(clippy::panic, reason = "that is what the rehearsal asks for")]
    pub fn rehearse_panic(&self, stage: Stage) {
        if let Some(cue) = self
            .rehearsed_panic
            .as_ref()
            .filter(|cue| cue.stage == stage)
        {
            let look = cue.seen.fetch_add(1, Ordering::Relaxed) + 1;
            if (cue.looks.0..=cue.looks.1).contains(&look) {
                panic!("rehearsed panic of {stage} at look {look}");
            }
        }
    }
}

/// The scope of an app's own rows: the installation's app, or a tenant's own.
fn app_scope(app: Option<&str>) -> String {
    app.map_or_else(|| "app".to_owned(), |id| format!("app:{id}"))
}

/// What a gate must not forget over a restart, as rows of the store: one for the app, one for each
/// account, and one for each use case of these of which something is known.
#[must_use]
pub fn gate_rows(gate: &MetaGate, now: Timestamp) -> Vec<GateRow> {
    let snapshot = gate.snapshot();
    let app = gate.app();
    let name = |scope: &Scope| match scope {
        Scope::App => app_scope(app.as_deref()),
        Scope::Account(_) | Scope::UseCase(..) => scope.to_string(),
    };
    let tier = snapshot.tier.map(|tier| tier.header().to_owned());
    let mut rows: BTreeMap<String, GateRow> = BTreeMap::new();
    let empty = |scope: &str| GateRow {
        scope: scope.to_owned(),
        blocked_until: None,
        reason: String::new(),
        usage_percent: 0.0,
        tier: tier.clone(),
        seen_at: now,
    };
    for cool_down in snapshot.cool_downs {
        let scope = name(&cool_down.scope);
        let row = rows.entry(scope.clone()).or_insert_with(|| empty(&scope));
        row.blocked_until = Some(cool_down.until);
        row.reason = cool_down.reason;
    }
    for reading in snapshot.readings {
        let mut scope = name(&reading.scope);
        if let Some(case) = UseCase::of_limit(&reading.kind) {
            scope = format!("{scope}/{}", case.as_str());
        }
        let row = rows.entry(scope.clone()).or_insert_with(|| empty(&scope));
        if reading.percent >= row.usage_percent {
            row.usage_percent = reading.percent;
            row.seen_at = reading.at;
        }
    }
    rows.into_values().collect()
}

/// The same, read back: what concerns an app and these accounts of it.
#[must_use]
pub fn gate_snapshot(
    rows: &[GateRow],
    app: Option<&str>,
    accounts: &[&AdAccountId],
) -> GateSnapshot {
    let mut snapshot = GateSnapshot::default();
    let app = app_scope(app);
    for row in rows {
        let (whose, case) = match row.scope.rsplit_once('/') {
            Some((whose, case)) => (whose, UseCase::of_limit(case)),
            None => (row.scope.as_str(), None),
        };
        let account = || AdAccountId::new(whose).ok();
        let scope = if whose == app {
            Scope::App
        } else if let Some(account) = account().filter(|account| accounts.contains(&account)) {
            Scope::Account(account)
        } else {
            continue;
        };
        let told = row.tier.as_deref().and_then(AccessTier::of_header);
        snapshot.tier = match (snapshot.tier, told) {
            (Some(known), Some(told)) => Some(known.min(told)),
            (known, told) => known.or(told),
        };
        if let Some(until) = row.blocked_until {
            snapshot.cool_downs.push(CoolDown {
                scope: match (&scope, case) {
                    (Scope::Account(account), Some(case)) => Scope::UseCase(account.clone(), case),
                    _ => scope.clone(),
                },
                until,
                reason: row.reason.clone(),
            });
        }
        if row.usage_percent > 0.0 {
            snapshot.readings.push(UsageReading {
                scope,
                kind: case.map_or("stored", UseCase::as_str).to_owned(),
                percent: row.usage_percent,
                at: row.seen_at,
                horizon: crate::domain::time::hours(1),
            });
        }
    }
    snapshot
}

/// A store that is out is weather, and so is a tenant that went to another node: its actors here
/// wait to be stopped. A row that cannot be read or a bug is a broken promise.
///
/// # Errors
/// [`super::stage::Broken`] for all but weather.
pub fn weather(error: &StoreError) -> Result<Progress, super::stage::Broken> {
    match error {
        // Deposed: the placement ends these actors as soon as it hears of it.
        StoreError::Unavailable { .. } | StoreError::Deposed { .. } => {
            Ok(Progress::Degraded(chain(error)))
        }
        _ => Err(super::stage::Broken(chain(error))),
    }
}

/// An error with its causes, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
