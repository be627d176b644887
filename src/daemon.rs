//! Joins the parts: configuration → store → vendors → actors → HTTP; and takes them down again.
//!
//! `run`, `demo` and the tests all start the daemon here: only configuration and clock differ.

mod alerts;
mod gates;
mod models;
mod parts;
mod pause_file;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use secrecy::{ExposeSecret as _, SecretString};

use crate::actors::context::{Blueprint, RehearsedPanic, TenantSettings};
use crate::actors::handle::{Handle, HealthBoard, LikeAds, Reported};
use crate::actors::housekeeper::{Housekeeping, Retention};
use crate::actors::lease::LeaseSlot;
use crate::actors::outbox::Alerting;
use crate::actors::placement::Placing;
use crate::actors::root::{self, RootArgs, RootMsg};
use crate::actors::stage::Stage;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::domain::ids::{NodeId, TenantId};
use crate::domain::keyed_hash::KeyedHasher;
use crate::domain::policy::{Policy, RoasdPolicy};
use crate::domain::time::{self, SignedDuration};
use crate::http::HttpSettings;
use crate::store::nodes::NodeInfo;
use crate::store::{Durability, Store};
use crate::vendors::embedder::Embedder;
use crate::vendors::embedder::lexical::Lexical;
use crate::vendors::hubspot::HubSpot;
use crate::vendors::hubspot::client::HubSpotClient;
use crate::vendors::meta::client::{Leave, MetaClient};
use crate::vendors::meta::throttle::MetaGate;
pub use alerts::{AlertParts, TenantAlertParts};
use gates::Gates;
pub use parts::{App, Parts, TenantParts};

/// Keys draws and names of an installation: made from its data directory's key at the first start.
///
/// # Errors
/// When the key cannot be read or made.
pub fn installation_seed(config: &Config) -> anyhow::Result<u64> {
    let configured = config.privacy.hash_key.as_ref();
    let dir = made(&config.daemon.data_dir)?;
    let key = hash_key(configured.map(config::Secret::value), &dir)?;
    let digest = keyed("seed", &key);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    Ok(u64::from_be_bytes(first))
}

/// The hasher that the daemon of this configuration has.
///
/// # Errors
/// When there is no key yet, or it cannot be read.
pub fn hasher_of(config: &Config) -> anyhow::Result<KeyedHasher> {
    let configured = config.privacy.hash_key.as_ref();
    let dir = &config.daemon.data_dir;
    if configured.is_none() && !dir.join("hash.key").exists() {
        anyhow::bail!(
            "there is no key of hashes in {}, so no person can be found by address; name the \
             daemon's configuration by --config FILE, or set privacy.hash_key",
            dir.display()
        );
    }
    let key = hash_key(configured.map(config::Secret::value), dir)?;
    Ok(KeyedHasher::new(key.expose_secret().as_bytes()))
}

/// What a key comes to for one use; says nothing of the key, nor of another use.
fn keyed(purpose: &str, key: &SecretString) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::new()
        .chain_update(purpose)
        .chain_update(key.expose_secret())
        .finalize()
        .into()
}

/// The file in `data_dir` that stops every write while it exists.
pub const PAUSE_FILE: &str = "PAUSE";

/// The folder in `data_dir` for the links of large winner indices: a cache, safe to delete.
const LINKS_FOLDER: &str = "winners";

/// What every tenant shares.
#[derive(Clone)]
struct Shared {
    hasher: KeyedHasher,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    gates: Arc<Gates>,
    http: reqwest::Client,
    embedder: Arc<dyn Embedder>,
    policy: &'static dyn Policy,
    seed: u64,
    data_dir: PathBuf,
    panic_cue: Option<String>,
}

/// A daemon that runs.
pub struct Daemon {
    shared: Shared,
    config: ArcSwap<Config>,
    handle: Handle,
    root: ractor::ActorRef<RootMsg>,
    root_task: tokio::task::JoinHandle<()>,
    http_settings: Arc<ArcSwap<HttpSettings>>,
    retention: Arc<ArcSwap<Retention>>,
    /// The tenants as the housekeeper knows them.
    judged: Arc<ArcSwap<BTreeMap<TenantId, TenantSettings>>>,
    alerting: Arc<ArcSwap<Alerting>>,
    http_stop: tokio::sync::watch::Sender<bool>,
    http_task: tokio::task::JoinHandle<std::io::Result<()>>,
    keeper: tokio::task::JoinHandle<()>,
    watcher: tokio::task::JoinHandle<()>,
    ear: tokio::task::JoinHandle<()>,
    address: SocketAddr,
    /// Held while the daemon lives, and let go by the system however it ends.
    _lock: Option<std::fs::File>,
}

/// The directory that state is kept in, made if need be.
fn made(dir: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(dir).with_context(|| {
        format!(
            "the data directory {} cannot be made; set daemon.data_dir to one that can be written",
            dir.display()
        )
    })?;
    Ok(dir.to_owned())
}

/// Takes the lock on a database that serves one daemon alone, until the file is dropped. Two daemons
/// on it would each think that they are the only writer of an ad account.
///
/// # Errors
/// When another process has it, or the file of the lock cannot be made.
pub(crate) fn lock_database(database_url: &str) -> anyhow::Result<Option<std::fs::File>> {
    let Some(database) = crate::store::file_of(database_url) else {
        return Ok(None);
    };
    let mut path = database.into_os_string();
    path.push(".lock");
    let path = PathBuf::from(path);
    let file = std::fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| {
            format!(
                "{} cannot be made; check the owner and mode of its directory",
                path.display()
            )
        })?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => anyhow::bail!(
            "another roasd works on this database (it holds {}); stop that one first, or give \
             this one a daemon.data_dir of its own",
            path.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", path.display()))
        }
    }
}

/// Whether a daemon holds the lock on a database that serves one daemon alone.
pub(crate) fn is_database_held(database_url: &str) -> bool {
    let Some(database) = crate::store::file_of(database_url) else {
        return false;
    };
    let mut path = database.into_os_string();
    path.push(".lock");
    // A shared lock is let go when the file is dropped, at once.
    std::fs::File::open(PathBuf::from(path)).is_ok_and(|file| {
        matches!(
            file.try_lock_shared(),
            Err(std::fs::TryLockError::WouldBlock)
        )
    })
}

/// How often it is looked whether somebody asked for a sync in a file that no other process can nudge
/// through: one statement for all tenants.
const EAR: Duration = Duration::from_secs(1);

/// Hears of syncs that are asked for by commands, where the store is a file.
async fn hear_asked(store: Arc<dyn Store>, clock: Arc<dyn Clock>, root: ractor::ActorRef<RootMsg>) {
    if store.is_shared() {
        return;
    }
    loop {
        crate::clock::wall_sleep(EAR).await;
        // A store that is out is told of by whoever has work there.
        for tenant in store.asked_syncs().await.unwrap_or_default() {
            let _ = root.cast(RootMsg::Sync(tenant, clock.hold()));
        }
    }
}

/// The settings of each tenant.
fn settings_of(parts: &Parts) -> BTreeMap<TenantId, TenantSettings> {
    let tenants = parts.tenants.iter();
    tenants
        .map(|(id, tenant)| (id.clone(), tenant.settings.clone()))
        .collect()
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
        durability: Durability,
    ) -> anyhow::Result<Self> {
        let cue = std::env::var("ROASD_REHEARSE_PANIC").ok();
        Self::rehearse(config, clock, seed, root_look, durability, cue).await
    }

    /// Starts everything as [`Daemon::start`] does, with a panic on cue: `tenant/stage@from..to`
    /// counts the looks of a stage, and is heeded only where every vendor is a sandbox on this
    /// machine.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub async fn rehearse(
        config: Config,
        clock: Arc<dyn Clock>,
        seed: u64,
        root_look: SignedDuration,
        durability: Durability,
        panic_cue: Option<String>,
    ) -> anyhow::Result<Self> {
        let hold = clock.hold();
        let parts = Parts::of(&config)?;
        let dir = made(&parts.data_dir)?;
        // Address and lock first: a second daemon on one database is told so before it touches it.
        let listener = tokio::net::TcpListener::bind(parts.listen)
            .await
            .with_context(|| {
                format!(
                    "{} cannot be listened on; is another roasd running? else change \
                     daemon.listen",
                    parts.listen
                )
            })?;
        let address = listener.local_addr()?;
        let lock = lock_database(parts.database_url.expose_secret())?;
        let connections = parts.database_connections;
        let url = parts.database_url.expose_secret();
        let store = crate::store::open_pooled(url, connections, durability).await?;
        let metrics = crate::telemetry::Metrics::install()?;
        let gates = Arc::new(Gates::new(clock.clone()));
        gates.configure(&parts);
        gates.restore(&store.load_gate().await?);
        let policy: &'static dyn Policy = &RoasdPolicy;
        let hash_key = hash_key(parts.hash_key.as_ref(), &dir)?;
        let hasher = KeyedHasher::new(hash_key.expose_secret().as_bytes());
        let shared = Shared {
            hasher: hasher.clone(),
            store: store.clone(),
            clock: clock.clone(),
            gates: gates.clone(),
            http: crate::vendors::http_client(Duration::from_secs(10))?,
            embedder: Arc::new(Lexical),
            policy,
            seed,
            data_dir: dir.clone(),
            panic_cue,
        };
        models::enter(store.as_ref(), policy, clock.now()).await?;
        let placing = match store.is_shared() {
            true => Some(placing(&parts, store.as_ref(), &hash_key, &gates).await?),
            false => None,
        };
        let mut blueprints = Vec::new();
        for tenant in parts.tenants.values() {
            blueprints.push(shared.blueprint(tenant, parts.is_rehearsal)?);
        }
        let retention = Arc::new(ArcSwap::from_pointee(parts.retention));
        let judged = Arc::new(ArcSwap::from_pointee(settings_of(&parts)));
        let alerting = Arc::new(ArcSwap::from_pointee(parts.alerting(&shared.http)?));
        let (handle, root, root_task) = root::start(RootArgs {
            tenants: blueprints,
            store: store.clone(),
            clock: clock.clone(),
            seed,
            look_every: root_look,
            board: Arc::new(HealthBoard::default()),
            housekeeping: Housekeeping {
                retention: retention.clone(),
                tenants: judged.clone(),
                metrics,
            },
            alerting: alerting.clone(),
            placing,
            hold: hold.clone(),
        })
        .await?;
        let http_settings = Arc::new(ArcSwap::from_pointee(parts.http));
        let (http_stop, mut stopped) = tokio::sync::watch::channel(false);
        let state = crate::http::HttpState::new(crate::http::HttpParts {
            reported: Reported::new(store.clone(), clock.clone()),
            like: LikeAds::new(store.clone(), clock.clone(), shared.embedder.clone()),
            store,
            clock: clock.clone(),
            tree: Arc::new(handle.clone()),
            settings: http_settings.clone(),
            hasher,
            gate: gates::probe(gates),
            pause_file: pause_file_probe(dir.join(PAUSE_FILE)),
            metrics,
        });
        let http_task = tokio::spawn(crate::http::serve(listener, state, async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        }));
        let keeper = tokio::spawn({
            let shared = shared.clone();
            async move { shared.gates.keep(shared.store.as_ref()).await }
        });
        let watcher = tokio::spawn(pause_file::watch(
            dir.join(PAUSE_FILE),
            shared.store.clone(),
            clock.clone(),
        ));
        let ear = tokio::spawn(hear_asked(
            shared.store.clone(),
            clock.clone(),
            root.clone(),
        ));
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
            http_settings,
            retention,
            judged,
            alerting,
            http_stop,
            http_task,
            keeper,
            watcher,
            ear,
            address,
            _lock: lock,
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
        let parts = Parts::of(&new)?;
        let alerting = parts.alerting(&self.shared.http)?;
        // What a tenant's clients are made with must be there; limits in force change only when
        // nothing can be refused any more.
        self.shared.gates.make_missing(&parts);
        let mut reload = Vec::new();
        for id in changes.tenants_added.iter().chain(&changes.tenants_changed) {
            if let Some(tenant) = parts.tenants.get(id) {
                let blueprint = self.shared.blueprint(tenant, parts.is_rehearsal)?;
                reload.push((id.clone(), Some(blueprint)));
            }
        }
        reload.extend(changes.tenants_removed.iter().map(|id| (id.clone(), None)));
        self.shared.gates.configure(&parts);
        self.judged.store(Arc::new(settings_of(&parts)));
        self.http_settings.store(Arc::new(parts.http));
        self.retention.store(Arc::new(parts.retention));
        self.alerting.store(Arc::new(alerting));
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
        self.keeper.abort();
        self.watcher.abort();
        let _ = self.watcher.await;
        self.ear.abort();
        if let Err(error) = self.shared.save_gate().await {
            tracing::warn!(%error, "the gate's state was not saved");
        }
        self.shared.store.close().await;
        tracing::info!("roasd has stopped");
    }
}

/// One tenant's clients.
pub struct Vendors {
    /// Meta.
    pub meta: MetaClient,
    /// HubSpot; a tenant may do without.
    pub hubspot: Option<Arc<dyn HubSpot>>,
}

/// The clients of one tenant, which call Meta through `gate`. Without a hasher they read nothing of
/// people.
///
/// # Errors
/// When an address, a version or a token cannot be used as it stands; names the table of the
/// configuration.
pub fn vendors(
    tenant: &TenantParts,
    gate: &Arc<MetaGate>,
    clock: &Arc<dyn Clock>,
    http: &reqwest::Client,
    hasher: Option<&KeyedHasher>,
) -> anyhow::Result<Vendors> {
    let id = &tenant.settings.id;
    let (gate, clock, http) = (gate.clone(), clock.clone(), http.clone());
    let meta = MetaClient::new(tenant.meta.clone(), gate, clock.clone(), http.clone())
        .with_context(|| format!("tenants.{id}.meta cannot be used"))?
        .with_hasher(hasher.cloned());
    let hubspot = tenant.hubspot.clone().map(|config| {
        HubSpotClient::new(config, clock, http)
            .map(|client| Arc::new(client.with_hasher(hasher.cloned())) as Arc<dyn HubSpot>)
            .with_context(|| format!("tenants.{id}.hubspot cannot be used"))
    });
    Ok(Vendors {
        meta,
        hubspot: hubspot.transpose()?,
    })
}

impl Shared {
    async fn save_gate(&self) -> Result<(), crate::store::StoreError> {
        self.store.save_gate(&self.gates.rows()).await
    }

    fn blueprint(
        &self,
        tenant: &TenantParts,
        is_rehearsal: bool,
    ) -> anyhow::Result<Arc<Blueprint>> {
        let settings = tenant.settings.clone();
        let id = settings.id.clone();
        let gate = self.gates.of(&tenant.app);
        let gate = gate.with_context(|| format!("tenants.{id} has an app without a gate"))?;
        let slot = Arc::new(LeaseSlot::default());
        let leave: Leave = {
            let slot = slot.clone();
            Arc::new(move || slot.is_good())
        };
        let Vendors { meta, hubspot } =
            vendors(tenant, &gate, &self.clock, &self.http, Some(&self.hasher))?;
        Ok(Arc::new(Blueprint {
            pause_file: Some(self.data_dir.join(PAUSE_FILE)),
            links_folder: Some(self.data_dir.join(LINKS_FOLDER)),
            rehearsed_panic: rehearsed_panic(self.panic_cue.as_deref(), &id)
                .filter(|_| is_rehearsal)
                .map(Arc::new),
            call_timeout: tenant.meta.timeout,
            seed: tenant_seed(self.seed, &id),
            tenant: settings,
            meta: Arc::new(meta.with_leave(leave)),
            gate,
            hubspot,
            clock: self.clock.clone(),
            embedder: self.embedder.clone(),
            policy: self.policy,
            slot,
        }))
    }
}

/// How this node shares the tenants with others.
async fn placing(
    parts: &Parts,
    store: &dyn Store,
    hash_key: &SecretString,
    gates: &Arc<Gates>,
) -> anyhow::Result<Placing> {
    let check = keyed("check", hash_key);
    if !store.agree_on_key(&hex::encode(&check[..8])).await? {
        anyhow::bail!(
            "another node on this database has another key of hashes, and neither would recognise the \
             other's visitors; give all of them the same privacy.hash_key (that of the first is in \
             the file hash.key of its data_dir)"
        );
    }
    let id = match &parts.node {
        Some(name) => NodeId::new(name)?,
        None => unnamed_node()?,
    };
    Ok(Placing {
        node: NodeInfo {
            id,
            host: host(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        ttl: parts.lease,
        holdings: Arc::default(),
        gates: gates.clone(),
    })
}

fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// A name that no other process has: the machine's, as far as it can be part of one, and chance.
fn unnamed_node() -> anyhow::Result<NodeId> {
    let host: String = host()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(24)
        .collect();
    let chance = hex::encode(random_bytes::<4>()?);
    Ok(NodeId::new(format!("{host}-{chance}"))?)
}

fn pause_file_probe(path: PathBuf) -> crate::http::PauseFileProbe {
    Arc::new(move || path.exists())
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
fn hash_key(configured: Option<&SecretString>, dir: &Path) -> anyhow::Result<SecretString> {
    if let Some(secret) = configured {
        return Ok(secret.clone());
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
            let key = hex::encode(random_bytes::<32>()?);
            write_private(&path, &key)
                .with_context(|| format!("{} cannot be written", path.display()))?;
            Ok(SecretString::from(key))
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Bytes of chance, from the system.
///
/// # Errors
/// When the system gives none.
pub fn random_bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    use std::io::Read as _;
    let mut bytes = [0; N];
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

/// What a cue, `tenant/stage@from..to`, means for a tenant.
fn rehearsed_panic(cue: Option<&str>, tenant: &TenantId) -> Option<RehearsedPanic> {
    let (who, looks) = cue?.split_once('@')?;
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
