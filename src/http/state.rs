//! What the handlers share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use secrecy::SecretString;

use super::auth::Tokens;
use super::pace::{ApiPace, Pace};
use super::snapshot::Memory;
use super::{ApiLimits, ClickLimits, FormFields};
use crate::actors::handle::{Handle, LikeAds, Reported, Single, StageHealth, TenantHealth};
use crate::clock::Clock;
use crate::domain::attribution::AttributionRules;
use crate::domain::ids::{AdAccountId, PageId, PortalId, StageName, TenantId};
use crate::domain::keyed_hash::KeyedHasher;
use crate::domain::money::Currency;
use crate::domain::policy::{Mode, PolicyParams};
use crate::domain::stages::StageTable;
use crate::domain::time::{SignedDuration, Timestamp};
use crate::store::Store;
use crate::telemetry::Metrics;

/// What HTTP may ask of the tree of actors.
pub trait Tree: Send + Sync {
    /// Tells a tenant that something came in; may be lost.
    fn nudge_intake(&self, tenant: &TenantId);

    /// The health of every tenant that was started.
    fn health(&self) -> BTreeMap<TenantId, TenantHealth>;

    /// The health of what a node has one of.
    fn single(&self, single: Single) -> StageHealth;

    /// The health of the one that places tenants.
    fn placement(&self) -> StageHealth;

    /// Whether the root of the tree is alive.
    fn is_alive(&self) -> bool;
}

impl Tree for Handle {
    fn nudge_intake(&self, tenant: &TenantId) {
        Self::nudge_intake(self, tenant);
    }

    fn health(&self) -> BTreeMap<TenantId, TenantHealth> {
        Self::health(self)
    }

    fn single(&self, single: Single) -> StageHealth {
        Self::single(self, single)
    }

    fn placement(&self) -> StageHealth {
        Self::placement(self)
    }

    fn is_alive(&self) -> bool {
        Self::is_alive(self)
    }
}

/// What HTTP needs to know of the configuration; replaced as a whole when that is read anew.
#[derive(Debug, Clone, Default)]
pub struct HttpSettings {
    /// The tenants.
    pub tenants: BTreeMap<TenantId, TenantHttp>,
    /// The address that HubSpot calls and signs.
    pub public_url: Option<String>,
    /// The secret that signs webhooks of tenants without an app of their own.
    pub client_secret: Option<SecretString>,
    /// The secret that signs Meta's webhooks, for tenants without an app of their own there.
    pub app_secret: Option<SecretString>,
    /// What Meta says when it checks the address of its webhooks.
    pub verify_token: Option<SecretString>,
    /// How fast clicks are taken.
    pub clicks: ClickLimits,
    /// How fast the API is used.
    pub api: ApiLimits,
}

/// What HTTP needs to know of a tenant.
#[derive(Debug, Clone)]
pub struct TenantHttp {
    /// Its HubSpot account.
    pub portal: Option<PortalId>,
    /// The secret that signs its webhooks, when it has an app of its own.
    pub client_secret: Option<SecretString>,
    /// Its pages at Facebook.
    pub pages: Vec<PageId>,
    /// The secret that signs Meta's webhooks of it, when it has an app of its own.
    pub app_secret: Option<SecretString>,
    /// Pages that may report clicks.
    pub click_origins: Vec<String>,
    /// Fields of forms that the script of its pages fills.
    pub form_fields: FormFields,
    /// How long after an ad's click it still counts, and the script remembers it.
    pub click_window: SignedDuration,
    /// Its ad account.
    pub ad_account: AdAccountId,
    /// How long it may be down before health says so by its status.
    pub health_grace: SignedDuration,
    /// Whether devices are hashed only with consent; else silence counts as one, a no never does.
    pub requires_consent: bool,
    /// What the API tells of it and reckons with.
    pub api: Arc<TenantApi>,
}

/// What the API tells of a tenant and reckons with.
#[derive(Debug, Clone)]
pub struct TenantApi {
    /// What people call it.
    pub name: String,
    /// The ad account's currency.
    pub currency: Currency,
    /// Its stages and what they are worth.
    pub stages: StageTable,
    /// What the stages mean, for people.
    pub descriptions: BTreeMap<StageName, String>,
    /// The windows of attribution.
    pub attribution: AttributionRules,
    /// How it earns.
    pub mode: Mode,
    /// The model's numbers.
    pub params: PolicyParams,
    /// Prior rates of the funnel's stages, in order, where the owner states them.
    pub prior_rates: Vec<f64>,
    /// Which of Meta's actions is its result.
    pub result_action: String,
}

/// How much room the gate to Meta has, as health shows it.
#[derive(Debug, Clone, Default)]
pub struct GateRoom {
    /// Percent used of the closest limit.
    pub used_percent: f64,
    /// The same of each of Meta's limits: the app's, the account's, and those by use case.
    pub by_limit: Vec<(&'static str, f64)>,
    /// The tier in words.
    pub tier: &'static str,
    /// Why and until when it is closed, if it is.
    pub closed: Option<String>,
}

/// Asks the gate about an ad account.
pub type GateProbe = Arc<dyn Fn(&AdAccountId) -> GateRoom + Send + Sync>;

/// Tells whether the emergency file is there, which stops every write.
pub type PauseFileProbe = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the state is made of.
pub struct HttpParts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The actors.
    pub tree: Arc<dyn Tree>,
    /// The settings in force.
    pub settings: Arc<ArcSwap<HttpSettings>>,
    /// Makes keyed hashes.
    pub hasher: KeyedHasher,
    /// Credits conversions that are reported.
    pub reported: Reported,
    /// Finds what is like a vector or a text.
    pub like: LikeAds,
    /// Asks the gate.
    pub gate: GateProbe,
    /// Looks for the emergency file.
    pub pause_file: PauseFileProbe,
    /// The metrics.
    pub metrics: &'static Metrics,
}

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct HttpState(Arc<Inner>);

/// The state itself.
pub struct Inner {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tree: Arc<dyn Tree>,
    pub(super) settings: Arc<ArcSwap<HttpSettings>>,
    pub(super) hasher: KeyedHasher,
    pub(super) reported: Reported,
    pub(super) like: LikeAds,
    pub(super) gate: GateProbe,
    pub(super) pause_file: PauseFileProbe,
    pub(super) metrics: &'static Metrics,
    pub(super) started_at: Timestamp,
    pub(super) memory: tokio::sync::Mutex<Memory>,
    pub(super) was_ready: AtomicBool,
    pub(super) click_pace: ArcSwap<Pace>,
    pub(super) api_pace: ArcSwap<ApiPace>,
    pub(super) tokens: Tokens,
}

impl HttpState {
    /// The state of a daemon that starts now.
    #[must_use]
    pub fn new(parts: HttpParts) -> Self {
        Self(Arc::new(Inner {
            started_at: parts.clock.wall(),
            click_pace: ArcSwap::from_pointee(Pace::new(
                parts.settings.load().clicks,
                parts.clock.clone(),
            )),
            api_pace: ArcSwap::from_pointee(ApiPace::new(
                parts.settings.load().api,
                parts.clock.clone(),
            )),
            tokens: Tokens::default(),
            store: parts.store,
            clock: parts.clock,
            tree: parts.tree,
            settings: parts.settings,
            hasher: parts.hasher,
            reported: parts.reported,
            like: parts.like,
            gate: parts.gate,
            pause_file: parts.pause_file,
            metrics: parts.metrics,
            memory: tokio::sync::Mutex::default(),
            was_ready: AtomicBool::new(false),
        }))
    }
}

impl std::ops::Deref for HttpState {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}
