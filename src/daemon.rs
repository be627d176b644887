//! Joins the parts: configuration → store → vendors → actors → HTTP; and takes them down again.
//!
//! `run`, `demo` and the tests all start the daemon here: only configuration and clock differ.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use secrecy::SecretString;

use crate::actors::context::{Context, RehearsedPanic, Schedule, TenantSettings};
use crate::actors::handle::{Handle, HealthBoard};
use crate::actors::root::{self, RootArgs, RootMsg};
use crate::actors::stage::Stage;
use crate::clock::Clock;
use crate::config::{self, Config, Tenant};
use crate::domain::attribution::AttributionRules;
use crate::domain::fx::FxTable;
use crate::domain::ids::TenantId;
use crate::domain::policy::{IgnoranceJoin, KillRule, Mode, Policy, PolicyParams, RoasdPolicy};
use crate::domain::stages::StageTable;
use crate::domain::time::{self, SignedDuration};
use crate::store::Store;
use crate::store::gate::GateRow;
use crate::store::models::ModelVersion;
use crate::vendors::embedder::Embedder;
use crate::vendors::embedder::lexical::Lexical;
use crate::vendors::hubspot::ClickProperties;
use crate::vendors::hubspot::HubSpot;
use crate::vendors::hubspot::client::{HubSpotClient, HubSpotClientConfig};
use crate::vendors::hubspot::limits::PortalLimits;
use crate::vendors::meta::client::{MetaClient, MetaClientConfig};
use crate::vendors::meta::throttle::{GateConfig, MetaGate};
use crate::vendors::meta::usage::AccessTier;

/// Keys draws and names of an installation: made from its data directory's key at the first start.
///
/// # Errors
/// When the key cannot be read or made.
pub fn installation_seed(config: &Config) -> anyhow::Result<u64> {
    use secrecy::ExposeSecret as _;
    use sha2::Digest as _;
    let key = hash_key(config, &data_dir(config)?)?;
    let digest = sha2::Sha256::new()
        .chain_update("seed")
        .chain_update(key.expose_secret())
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    Ok(u64::from_be_bytes(first))
}

/// The file in `data_dir` that stops every write while it exists.
pub const PAUSE_FILE: &str = "PAUSE";

/// What every tenant shares.
#[derive(Clone)]
struct Shared {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    gate: Arc<MetaGate>,
    http: reqwest::Client,
    embedder: Arc<dyn Embedder>,
    policy: Arc<dyn Policy>,
    seed: u64,
}

/// A daemon that runs.
pub struct Daemon {
    shared: Shared,
    config: ArcSwap<Config>,
    handle: Handle,
    root: ractor::ActorRef<RootMsg>,
    root_task: tokio::task::JoinHandle<()>,
    http_tenants: Arc<ArcSwap<BTreeMap<TenantId, crate::http::TenantHttp>>>,
    http_stop: tokio::sync::watch::Sender<bool>,
    http_task: tokio::task::JoinHandle<std::io::Result<()>>,
    address: SocketAddr,
}

/// The directory that state is kept in, made if need be.
///
/// # Errors
/// When it cannot be made or written.
pub fn data_dir(config: &Config) -> anyhow::Result<PathBuf> {
    let dir = config.daemon.data_dir.clone();
    std::fs::create_dir_all(&dir).with_context(|| {
        format!(
            "the data directory {} cannot be made; set daemon.data_dir to one that can be written",
            dir.display()
        )
    })?;
    Ok(dir)
}

/// The address of the database.
#[must_use]
pub fn database_url(config: &Config) -> String {
    match &config.daemon.database_url {
        Some(url) => url.0.expose().to_owned(),
        None => format!(
            "sqlite://{}",
            config.daemon.data_dir.join("roasd.db").display()
        ),
    }
}

impl Daemon {
    /// Starts everything. `seed` keys draws and names; `root_look` is how often the root looks for
    /// resumed tenants.
    ///
    /// # Errors
    /// When the database, the address or a tenant's settings cannot be used; nothing is left
    /// running.
    pub async fn start(
        config: Config,
        clock: Arc<dyn Clock>,
        seed: u64,
        root_look: SignedDuration,
    ) -> anyhow::Result<Self> {
        let hold = clock.hold();
        let dir = data_dir(&config)?;
        // The address first: a second daemon on one database is told so before it touches it.
        let listener = tokio::net::TcpListener::bind(config.daemon.listen)
            .await
            .with_context(|| {
                format!(
                    "{} cannot be listened on; is another roasd running? else change \
                     daemon.listen",
                    config.daemon.listen
                )
            })?;
        let address = listener.local_addr()?;
        let connections = config.daemon.database_connections;
        let store = crate::store::open_pooled(&database_url(&config), connections).await?;
        let metrics = crate::telemetry::Metrics::install()?;
        let http = crate::vendors::http_client(Duration::from_secs(10))?;
        let gate = Arc::new(MetaGate::new(gate_config(&config), clock.clone()));
        restore_gate(&gate, store.load_gate().await?);
        let policy: Arc<dyn Policy> = Arc::new(RoasdPolicy);
        let shared = Shared {
            store: store.clone(),
            clock: clock.clone(),
            gate,
            http,
            embedder: Arc::new(Lexical),
            policy: policy.clone(),
            seed,
        };
        store
            .register_model(&ModelVersion {
                name: policy.name().to_owned(),
                version: policy.version().to_string(),
                params_json: "{}".to_owned(),
                revision: env!("CARGO_PKG_VERSION").to_owned(),
                is_champion: true,
                registered_at: clock.now(),
            })
            .await?;
        let mut contexts = Vec::new();
        for tenant in config.tenants.values() {
            contexts.push(shared.context(&config, tenant).await?);
        }
        let hash_key = hash_key(&config, &dir)?;
        let board = Arc::new(HealthBoard::default());
        let (handle, root, root_task) = root::start(RootArgs {
            tenants: contexts,
            store: store.clone(),
            clock: clock.clone(),
            seed,
            look_every: root_look,
            board,
            hold: hold.clone(),
        })
        .await?;
        let http_tenants = Arc::new(ArcSwap::from_pointee(http_tenants(&config)));
        let (http_stop, mut stopped) = tokio::sync::watch::channel(false);
        let state = crate::http::HttpState::new(crate::http::HttpParts {
            store,
            clock: clock.clone(),
            tree: Arc::new(handle.clone()),
            tenants: http_tenants.clone(),
            hash_key,
            public_url: config
                .daemon
                .public_url
                .as_ref()
                .map(|url| url.as_str().to_owned()),
            client_secret: config
                .hubspot
                .client_secret
                .as_ref()
                .map(|s| s.value().clone()),
            gate: gate_probe(shared.gate.clone()),
            pause_file: pause_file_probe(dir.join(PAUSE_FILE)),
            metrics,
        });
        let http_task = tokio::spawn(crate::http::serve(listener, state, async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        }));
        drop(hold);
        tracing::info!(
            address = %address, tenants = config.tenants.len(), version = env!("CARGO_PKG_VERSION"),
            "roasd is ready on {address} with {} tenants", config.tenants.len()
        );
        Ok(Self {
            shared,
            config: ArcSwap::from_pointee(config),
            handle,
            root,
            root_task,
            http_tenants,
            http_stop,
            http_task,
            address,
        })
    }

    /// Where HTTP is served.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        self.shared.store.clone()
    }

    /// A handle on the actors.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until the root of the actors has ended, which it does of itself only when it fails.
    pub async fn root_ended(&mut self) {
        let _ = (&mut self.root_task).await;
    }

    /// Puts a new configuration in force: only tenants that changed are started anew. Returns the
    /// keys that need a restart of the process.
    ///
    /// # Errors
    /// When a tenant's settings cannot be used; the old configuration stays in force whole.
    pub async fn reload(&self, new: Config) -> anyhow::Result<Vec<String>> {
        let old = self.config.load_full();
        let changes = config::reload::diff(&old, &new);
        let mut reload = Vec::new();
        // Keys of the installation that apply at once concern every tenant.
        let all: Vec<TenantId> = if changes.applied_live.is_empty() {
            Vec::new()
        } else {
            new.tenants.keys().cloned().collect()
        };
        let mut concerned: Vec<&TenantId> = changes
            .tenants_added
            .iter()
            .chain(&changes.tenants_changed)
            .chain(&all)
            .collect();
        concerned.sort();
        concerned.dedup();
        for id in concerned {
            if let Some(tenant) = new.tenants.get(id) {
                reload.push((id.clone(), Some(self.shared.context(&new, tenant).await?)));
            }
        }
        reload.extend(changes.tenants_removed.iter().map(|id| (id.clone(), None)));
        self.http_tenants.store(Arc::new(http_tenants(&new)));
        self.root
            .cast(RootMsg::Reload(reload, self.shared.clock.hold()))
            .context("the actors have ended")?;
        tracing::info!(
            added = changes.tenants_added.len(),
            changed = changes.tenants_changed.len(),
            removed = changes.tenants_removed.len(),
            "the configuration was read anew: {} tenants added, {} changed, {} removed",
            changes.tenants_added.len(),
            changes.tenants_changed.len(),
            changes.tenants_removed.len()
        );
        self.config.store(Arc::new(new));
        Ok(changes.daemon_restart_needed)
    }

    /// Stops softly: no new work, what is on its way to Meta is heard out, then HTTP and the store.
    pub async fn stop(self) {
        let _ = self.http_stop.send(true);
        let grace = self.config.load().daemon.shutdown_grace.unsigned_abs();
        // The root waits for its tenants, and they for their executors.
        if self.root.stop_and_wait(None, Some(grace)).await.is_err() {
            tracing::warn!(
                "the actors did not stop within {grace:?} and are cut off; what was on its way is \
                 settled at the next start"
            );
            self.root.kill();
        }
        let _ = tokio::time::timeout(Duration::from_secs(5), self.http_task).await;
        if let Err(error) = self.shared.save_gate().await {
            tracing::warn!(%error, "the gate's state was not saved");
        }
        self.shared.store.close().await;
        tracing::info!("roasd has stopped");
    }
}

impl Shared {
    async fn save_gate(&self) -> Result<(), crate::store::StoreError> {
        self.store
            .save_gate(&crate::actors::context::gate_rows(
                &self.gate,
                self.clock.now(),
            ))
            .await
    }

    async fn context(&self, config: &Config, tenant: &Tenant) -> anyhow::Result<Arc<Context>> {
        let settings = tenant_settings(config, tenant)
            .with_context(|| format!("the settings of tenant {} cannot be used", tenant.id))?;
        let meta = &tenant.settings.meta;
        let client = MetaClient::new(
            MetaClientConfig {
                base_url: config.meta.base_url.as_str().to_owned(),
                api_version: meta
                    .api_version
                    .as_ref()
                    .unwrap_or(&config.meta.api_version)
                    .as_str()
                    .to_owned(),
                ad_account: meta.ad_account.clone(),
                token: meta.access_token.value().clone(),
                app_id: settings.app_id.clone(),
                app_secret: meta
                    .app_secret
                    .as_ref()
                    .or(config.meta.app_secret.as_ref())
                    .map(|secret| secret.value().clone()),
                timeout: config.meta.request_timeout.unsigned_abs(),
            },
            self.gate.clone(),
            self.clock.clone(),
            self.http.clone(),
        )
        .with_context(|| format!("tenants.{}.meta cannot be used", tenant.id))?;
        let hubspot = hubspot_client(config, tenant, self)?;
        self.store
            .ensure_tenant(&tenant.id, &settings.name, self.clock.now())
            .await?;
        self.store
            .record_stage_values(&tenant.id, settings.stages.all(), self.clock.now())
            .await?;
        let seed = tenant_seed(self.seed, &tenant.id);
        Ok(Arc::new(Context {
            pause_file: Some(config.daemon.data_dir.join(PAUSE_FILE)),
            rehearsed_panic: rehearsed_panic(config, &tenant.id),
            jitter: Context::jitter_rng(seed),
            tenant: settings,
            store: self.store.clone(),
            meta: Arc::new(client),
            gate: self.gate.clone(),
            hubspot,
            clock: self.clock.clone(),
            embedder: self.embedder.clone(),
            policy: self.policy.clone(),
            neighbours: ArcSwap::default(),
            seed,
            named: AtomicU64::new(0),
        }))
    }
}

fn hubspot_client(
    config: &Config,
    tenant: &Tenant,
    shared: &Shared,
) -> anyhow::Result<Option<Arc<dyn HubSpot>>> {
    let Some(hubspot) = &tenant.settings.hubspot else {
        return Ok(None);
    };
    let client = HubSpotClient::new(
        HubSpotClientConfig {
            base_url: config.hubspot.base_url.as_str().to_owned(),
            api_version: config.hubspot.api_version.as_str().to_owned(),
            portal: hubspot.portal_id,
            token: hubspot.access_token.value().clone(),
            pipelines: hubspot.pipelines.clone(),
            properties: ClickProperties {
                roasd_click_id: hubspot.click_id_property.as_str().to_owned(),
                facebook_click_id: hubspot.fbclid_property.as_str().to_owned(),
                meta_lead_id: hubspot.lead_id_property.as_str().to_owned(),
                ad_id: vec![
                    hubspot.ad_id_property.as_str().to_owned(),
                    hubspot.utm_content_property.as_str().to_owned(),
                ],
                ad_set_id: vec![hubspot.ad_set_id_property.as_str().to_owned()],
                campaign_id: vec![hubspot.campaign_id_property.as_str().to_owned()],
                first_url: hubspot.first_url_property.as_str().to_owned(),
            },
            limits: PortalLimits {
                per_ten_seconds: config.hubspot.calls_per_10s,
                searches_per_second: config.hubspot.searches_per_second,
            },
            timeout: config.hubspot.request_timeout.unsigned_abs(),
        },
        shared.clock.clone(),
        shared.http.clone(),
    )
    .with_context(|| format!("tenants.{}.hubspot cannot be used", tenant.id))?;
    Ok(Some(Arc::new(client)))
}

fn gate_config(config: &Config) -> GateConfig {
    let limits = &config.meta.limits;
    let headroom = 1.0 - limits.account_share.fraction();
    let reserve = limits.write_reserve.fraction();
    GateConfig {
        tier: match config.meta.access_tier {
            config::AccessTier::Development => AccessTier::Development,
            config::AccessTier::Standard => AccessTier::Full,
        },
        headroom,
        // What reads may not touch is shared by ordinary writes and pauses.
        read_share: 1.0 - 2.0 * reserve,
        write_share: reserve,
        ..GateConfig::default()
    }
}

fn gate_probe(gate: Arc<MetaGate>) -> crate::http::GateProbe {
    Arc::new(move |account| {
        let room = gate.headroom(account);
        crate::http::GateRoom {
            used_percent: room.account_percent.max(room.app_percent),
            tier: match room.tier {
                AccessTier::Development => "development",
                AccessTier::Full => "standard",
            },
            closed: room
                .cool_down
                .map(|c| format!("until {:.0}: {}", c.until, c.reason)),
        }
    })
}

fn pause_file_probe(path: PathBuf) -> crate::http::PauseFileProbe {
    Arc::new(move || path.exists())
}

fn restore_gate(gate: &MetaGate, rows: Vec<GateRow>) {
    gate.restore(crate::actors::context::gate_snapshot(rows));
}

fn http_tenants(config: &Config) -> BTreeMap<TenantId, crate::http::TenantHttp> {
    config
        .tenants
        .values()
        .map(|tenant| {
            let hubspot = tenant.settings.hubspot.as_ref();
            let secret = hubspot.and_then(|h| h.client_secret.as_ref());
            let entry = crate::http::TenantHttp {
                portal: hubspot.map(|h| h.portal_id),
                client_secret: secret.map(|s| s.value().clone()),
                ad_account: tenant.settings.meta.ad_account.clone(),
                click_origins: tenant
                    .settings
                    .click_origins
                    .iter()
                    .map(|origin| origin.as_str().to_owned())
                    .collect(),
                health_grace: config.daemon.health_grace,
                requires_consent: config.privacy.consent,
            };
            (tenant.id.clone(), entry)
        })
        .collect()
}

/// The settings that the actors need, from the configuration.
///
/// # Errors
/// When stages or rates do not fit together.
pub fn tenant_settings(config: &Config, tenant: &Tenant) -> anyhow::Result<TenantSettings> {
    let settings = &tenant.settings;
    let stages = tenant
        .stages
        .iter()
        .map(|stage| stage.value.clone())
        .collect();
    let mut fx = FxTable::new(settings.currency).with_company_currency(&tenant.crm_currency());
    for (code, rate) in &settings.fx {
        fx = fx.with_rate(code, &rate.to_string())?;
    }
    let attribution = &settings.attribution;
    Ok(TenantSettings {
        id: tenant.id.clone(),
        name: settings.name.clone(),
        mode: match settings.mode {
            config::Mode::Pipeline => Mode::Pipeline,
            config::Mode::Direct => Mode::Direct,
        },
        currency: settings.currency,
        limits: tenant.guard_limits(),
        autonomy: settings.autonomy,
        approval_expiry: settings.approvals_expire,
        stages: StageTable::new(stages, settings.currency)?,
        fx,
        params: policy_params(tenant),
        prior_rates: settings
            .rules
            .prior_rates
            .iter()
            .flatten()
            .map(|share| share.0)
            .collect(),
        attribution: AttributionRules {
            needs_consent: config.privacy.consent,
            fingerprint_window: attribution.fingerprint_window,
            probabilistic_window: attribution.probabilistic_window,
            min_confidence: attribution.min_confidence,
            retry_window: attribution.retry_for,
            ..AttributionRules::default()
        },
        schedule: Schedule {
            sync_every: settings.schedule.sync_every,
            decide_every: settings.schedule.decide_every,
            executor_poll: settings.schedule.executor_poll,
        },
        app_id: settings
            .meta
            .app_id
            .clone()
            .or_else(|| config.meta.app_id.clone()),
    })
}

fn policy_params(tenant: &Tenant) -> PolicyParams {
    let rules = &tenant.settings.rules;
    let priors = &rules.priors;
    let half_lives = &rules.half_lives;
    PolicyParams {
        sales_cycle_days: tenant.sales_cycle_days(),
        a_account: priors.account,
        a_campaign: priors.campaign,
        a_ad_set: priors.ad_set,
        a_first: priors.lead,
        a_quality: priors.appointment,
        a_later: priors.show,
        a_cost: priors.clicks,
        half_life_cost: half_lives.cost,
        half_life_lead: half_lives.lead,
        half_life_appointment: half_lives.appointment,
        half_life_late: half_lives.late,
        delta0: priors.damping,
        delta_sd: priors.damping_sd,
        a_text: priors.text,
        k_text: rules.look_alikes as usize,
        hierarchy: rules.hierarchy,
        kappa_mult: rules.kappa_mult,
        ignorance_join: match rules.ignorance_zone.join {
            config::Join::Or => IgnoranceJoin::Or,
            config::Join::And => IgnoranceJoin::And,
        },
        ignorance_days: rules.ignorance_zone.days,
        ignorance_spend: rules.ignorance_zone.spend.to_f64(),
        kill_rule: match rules.kill_rule {
            config::KillRule::Posterior => KillRule::Posterior,
            config::KillRule::Raw => KillRule::Raw,
            config::KillRule::HalfAverage => KillRule::HalfAverage,
        },
        min_spend_for_kill: rules.min_spend_for_kill.to_f64(),
        kill_roas: rules.kill_roas,
        p_kill: rules.p_kill,
        scale_roas: rules.scale_roas,
        p_scale: rules.p_scale,
        p_rotate: rules.p_rotate,
        p_return: rules.p_return,
        rotate_spend: rules.rotate_spend.to_f64(),
        draws: rules.draws,
        hold_hours: rules.draws_hold.as_secs_f64() / 3_600.0,
        ..PolicyParams::default()
    }
}

/// A tenant's seed: the installation's and the tenant's name, so that adding a tenant changes no
/// other's draws.
fn tenant_seed(seed: u64, tenant: &TenantId) -> u64 {
    use sha2::Digest as _;
    let digest = sha2::Sha256::new()
        .chain_update(seed.to_be_bytes())
        .chain_update(tenant.as_str())
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// The key of all keyed hashes: configured, or made in the data directory at the first start.
fn hash_key(config: &Config, dir: &Path) -> anyhow::Result<SecretString> {
    if let Some(secret) = &config.privacy.hash_key {
        return Ok(secret.value().clone());
    }
    let path = dir.join("hash.key");
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= 32 => Ok(SecretString::from(text.trim().to_owned())),
        Ok(_) => anyhow::bail!(
            "{} is damaged; restore it from a backup, or remove it to begin with a new key (old \
             visits can then no longer be matched)",
            path.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = hex::encode(random_bytes()?);
            write_private(&path, &key)
                .with_context(|| format!("{} cannot be written", path.display()))?;
            Ok(SecretString::from(key))
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn random_bytes() -> anyhow::Result<[u8; 32]> {
    use std::io::Read as _;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("the system gives no random bytes")?;
    Ok(bytes)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// `ROASD_REHEARSE_PANIC=tenant/stage@from..to`: a panic on cue, heeded only where every vendor is
/// a sandbox on this machine.
fn rehearsed_panic(config: &Config, tenant: &TenantId) -> Option<RehearsedPanic> {
    let is_rehearsal = config.meta.base_url.is_loopback() && config.hubspot.base_url.is_loopback();
    let cue = std::env::var("ROASD_REHEARSE_PANIC")
        .ok()
        .filter(|_| is_rehearsal)?;
    let (who, looks) = cue.split_once('@')?;
    let (of, stage) = who.split_once('/')?;
    let stage = Stage::ALL.into_iter().find(|s| s.as_str() == stage)?;
    let (from, to) = looks.split_once("..").unwrap_or((looks, looks));
    (of == tenant.as_str()).then_some(RehearsedPanic {
        stage,
        looks: (from.parse().ok()?, to.parse().ok()?),
        seen: AtomicU64::new(0),
    })
}

/// The root's default look for resumed tenants.
pub const ROOT_LOOK: SignedDuration = time::seconds(15);
