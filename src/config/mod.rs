//! The configuration: one TOML file, more tenants in `tenants.d` beside it, overrides from the
//! environment. Read as a whole, with every fault reported at once, and refused as a whole.
//!
//! Each table is declared once (`read.rs`); the shipped `config.toml` is written from those
//! declarations (`reference.rs`). Nothing outside of `cli` and `daemon` sees [`Config`]: others
//! receive narrow values, such as [`Tenant::guard_limits`].

mod address;
mod alerts;
mod amount;
mod check;
mod daemon;
mod fault;
mod read;
pub mod reference;
pub mod reload;
mod secret;
mod span;
mod stages;
mod tenant;
mod tree;
mod value;

use std::path::{Path, PathBuf};

use crate::domain::ids::TenantId;
use crate::domain::money::Currency;
pub use address::{BaseUrl, DatabaseUrl, Origin};
pub use alerts::{AlertLevel, Alerts, MailAddress, MailEncryption, TenantAlerts};
pub use amount::FxRates;
pub use daemon::{
    AccessTier, Api, ApiVersion, Clicks, ClockSettings, Daemon, DatedVersion, HubSpotSettings,
    LogFormat, MetaAppLimits, MetaReports, MetaSettings, Privacy,
};
pub use fault::{ConfigFaults, Fault, FaultKind, Place};
use read::{Context, FromNode, nearest};
pub use read::{Default, Key};
pub use secret::{Secret, SecretSource};
pub use span::UnixSeconds;
pub(crate) use span::parse_duration;
pub use stages::{Stage, StageEntry, StageIds, StageSettings, Template};
pub use tenant::{
    AttributionSettings, AutonomyByAction, BudgetSettings, CurrencyCode, HalfLives, IgnoranceZone,
    Join, KillRule, LimitSettings, Mode, PageNumber, PriorStrengths, PropertyName, QualitySettings,
    Rules, Schedule, Share, Tenant, TenantHubSpot, TenantMeta, TenantSettings, Tenants,
};
pub use tree::Environment;
use tree::{Entry, Node, Value, join, overlay};
pub use value::LogFilter;

/// The shipped `config.toml`: every key, its default and its why.
pub const SHIPPED: &str = include_str!("../../config.toml");

/// Where a configuration is looked for when none is named, in this order.
pub const PLACES: [&str; 2] = ["config.toml", "/etc/roasd/config.toml"];

/// The whole configuration, valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The process.
    pub daemon: Daemon,
    /// The clock, for rehearsals.
    pub clock: ClockSettings,
    /// What is kept of people.
    pub privacy: Privacy,
    /// How fast visits are taken.
    pub clicks: Clicks,
    /// How fast the API is used.
    pub api: Api,
    /// Meta's API.
    pub meta: MetaSettings,
    /// HubSpot's API.
    pub hubspot: HubSpotSettings,
    /// Who is told what.
    pub alerts: Alerts,
    /// The tenants.
    pub tenants: Tenants,
    /// The files that were read, the main one first.
    pub files: Vec<PathBuf>,
    /// What is not wrong and still not good, such as a secret that everyone can read.
    pub warnings: Vec<Fault>,
}

impl Config {
    /// Reads the file at `path`, or else the first of [`PLACES`] that is there, with `tenants.d`
    /// beside it and the overrides in `environment`.
    ///
    /// # Errors
    /// With every fault that was found.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Self, ConfigFaults> {
        let found = match path {
            Some(path) => Some(path.to_owned()),
            None => PLACES.iter().map(PathBuf::from).find(|path| path.exists()),
        };
        let Some(main) = found else {
            return Err(ConfigFaults::new(vec![Fault {
                place: Place::whole("roasd"),
                key: String::new(),
                kind: FaultKind::File,
                problem: format!(
                    "there is no configuration: neither {} nor {}",
                    PLACES[0], PLACES[1]
                ),
                remedy: "name one by --config FILE, or begin with \
                         `roasd check --print-defaults > config.toml`"
                    .to_owned(),
            }]));
        };
        let base = main.parent().map(Path::to_owned).unwrap_or_default();
        let mut sources = Vec::new();
        let mut faults = Vec::new();
        let mut files = vec![main];
        files.extend(drop_ins(&base.join("tenants.d"), &mut faults));
        for file in &files {
            match std::fs::read_to_string(file) {
                Ok(text) => sources.push((file.display().to_string(), text)),
                Err(error) => faults.push(Fault {
                    place: Place::whole(&file.display().to_string()),
                    key: String::new(),
                    kind: FaultKind::File,
                    problem: format!("it cannot be read: {error}"),
                    remedy: "check the path and who may read it".to_owned(),
                }),
            }
        }
        if !faults.is_empty() {
            return Err(ConfigFaults::new(faults));
        }
        let borrowed: Vec<(&str, &str)> = sources
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let mut config = Self::from_sources(&borrowed, &base, environment)?;
        config.files = files;
        Ok(config)
    }

    /// Reads a configuration from text, which faults call `name`; relative paths in it are relative
    /// to the working directory.
    ///
    /// # Errors
    /// With every fault that was found.
    pub fn from_text(
        name: &str,
        text: &str,
        environment: &Environment,
    ) -> Result<Self, ConfigFaults> {
        Self::from_sources(&[(name, text)], Path::new(""), environment)
    }

    /// The address of the database: as configured, else the SQLite file in the data directory.
    #[must_use]
    pub fn database_url(&self) -> Secret {
        match &self.daemon.database_url {
            Some(url) => url.0.clone(),
            None => {
                let file = self.daemon.data_dir.join("roasd.db");
                Secret::new(format!("sqlite://{}", file.display()), SecretSource::Plain)
            }
        }
    }

    fn from_sources(
        sources: &[(&str, &str)],
        base: &Path,
        environment: &Environment,
    ) -> Result<Self, ConfigFaults> {
        let mut cx = Context::new(environment, base.to_owned());
        let mut root = merge(sources, &mut cx);
        let is_toml = cx.faults.is_empty();
        tree::put_environment(&mut root, environment);
        unknown_tables(&root, &mut cx);
        let daemon = top::<Daemon>(&root, "daemon", &mut cx);
        let clock = top::<ClockSettings>(&root, "clock", &mut cx);
        let privacy = top::<Privacy>(&root, "privacy", &mut cx);
        let clicks = top::<Clicks>(&root, "clicks", &mut cx);
        let api = top::<Api>(&root, "api", &mut cx);
        let meta = top::<MetaSettings>(&root, "meta", &mut cx);
        let hubspot = top::<HubSpotSettings>(&root, "hubspot", &mut cx);
        let alerts = top::<Alerts>(&root, "alerts", &mut cx);
        let tenants = read_tenants(&root, &mut cx);
        if let (
            Some(mut daemon),
            Some(clock),
            Some(privacy),
            Some(clicks),
            Some(api),
            Some(meta),
            Some(hubspot),
            Some(alerts),
        ) = (daemon, clock, privacy, clicks, api, meta, hubspot, alerts)
        {
            let state = environment
                .get("STATE_DIRECTORY")
                .filter(|dir| !dir.is_empty());
            if let Some(state) = state
                && !cx.places.contains_key("daemon.data_dir")
            {
                // systemd gives several directories in one variable, between colons.
                daemon.data_dir = PathBuf::from(state.split(':').next().unwrap_or(state));
            }
            let mut config = Self {
                daemon,
                clock,
                privacy,
                clicks,
                api,
                meta,
                hubspot,
                alerts,
                tenants,
                files: Vec::new(),
                warnings: Vec::new(),
            };
            check::together(&config, &mut cx);
            if cx.faults.is_empty() {
                cx.warnings.sort();
                cx.warnings.dedup();
                config.warnings = cx.warnings;
                return Ok(config);
            }
        }
        if !is_toml {
            // What the parser stumbled over may hold what seems to be missing.
            cx.faults.retain(|fault| fault.kind != FaultKind::Missing);
        }
        Err(ConfigFaults::new(cx.faults))
    }
}

/// The files of `tenants.d`, by name.
fn drop_ins(directory: &Path, faults: &mut Vec<Fault>) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            faults.push(Fault {
                place: Place::whole(&directory.display().to_string()),
                key: String::new(),
                kind: FaultKind::File,
                problem: format!("it cannot be listed: {error}"),
                remedy: "let the user that runs roasd read it".to_owned(),
            });
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .collect();
    files.sort();
    files
}

/// Joins the files into one tree: the first whole, of the others the tenants.
fn merge(sources: &[(&str, &str)], cx: &mut Context<'_>) -> Node {
    let mut root = Node::empty(Place::whole("roasd"), "");
    for (i, (name, text)) in sources.iter().enumerate() {
        let (tree, faults) = tree::parse(name, text);
        cx.faults.extend(faults);
        if i == 0 {
            root = tree;
            continue;
        }
        for entry in tree.entries() {
            if entry.name == "tenants" && matches!(entry.node.value, Value::Table(_)) {
                for tenant in entry.node.entries() {
                    add_tenant(&mut root, entry, tenant, cx);
                }
            } else {
                cx.faults.push(Fault {
                    place: entry.place.clone(),
                    key: entry.name.clone(),
                    kind: FaultKind::UnknownKey,
                    problem: "a file in tenants.d holds tenants and nothing else".to_owned(),
                    remedy: "move it to the main file, or write [tenants.<id>]".to_owned(),
                });
            }
        }
    }
    root
}

fn add_tenant(root: &mut Node, table: &Entry, tenant: &Entry, cx: &mut Context<'_>) {
    let Value::Table(top) = &mut root.value else {
        return;
    };
    if !top.iter().any(|entry| entry.name == "tenants") {
        top.push(Entry {
            name: "tenants".to_owned(),
            place: table.place.clone(),
            node: Node::empty(table.place.clone(), "tenants"),
        });
    }
    let tenants = top.iter_mut().find(|entry| entry.name == "tenants");
    let Some(Value::Table(known)) = tenants.map(|entry| &mut entry.node.value) else {
        return;
    };
    match known.iter().find(|entry| entry.name == tenant.name) {
        Some(first) => cx.faults.push(Fault {
            place: tenant.place.clone(),
            key: tenant.node.key.clone(),
            kind: FaultKind::Conflict,
            problem: format!("the tenant stands in {} already", first.place),
            remedy: "give each tenant one place".to_owned(),
        }),
        None => known.push(tenant.clone()),
    }
}

fn unknown_tables(root: &Node, cx: &mut Context<'_>) {
    const NAMES: [&str; 10] = [
        "daemon", "clock", "privacy", "clicks", "api", "meta", "hubspot", "alerts", "defaults",
        "tenants",
    ];
    for entry in root.entries() {
        if NAMES.contains(&entry.name.as_str()) {
            continue;
        }
        let near = nearest(&entry.name, &NAMES);
        cx.faults.push(Fault {
            place: entry.place.clone(),
            key: entry.node.key.clone(),
            kind: FaultKind::UnknownKey,
            problem: format!("there is no setting {:?} here", entry.name),
            remedy: near.map_or_else(
                || format!("the tables are {}", NAMES.join(", ")),
                |near| format!("did you mean {near:?}?"),
            ),
        });
    }
}

fn top<T: FromNode>(root: &Node, name: &str, cx: &mut Context<'_>) -> Option<T> {
    match root.get(name) {
        Some(node) => {
            cx.places.insert(name.to_owned(), node.place.clone());
            T::read(node, name, cx)
        }
        None => T::read(&Node::empty(root.place.clone(), name), name, cx),
    }
}

fn read_tenants(root: &Node, cx: &mut Context<'_>) -> Tenants {
    let nothing = Node::empty(root.place.clone(), "defaults");
    let mut defaults = root.get("defaults").unwrap_or(&nothing);
    if !matches!(defaults.value, Value::Table(_)) {
        cx.wrong_type(defaults, "a table", "[defaults]");
        defaults = &nothing;
    }
    let tenants = root.get("tenants");
    if let Some(node) = tenants
        && !matches!(node.value, Value::Table(_))
    {
        cx.wrong_type(node, "a table of tenants", "[tenants.<id>]");
    }
    let entries = tenants.map(Node::entries).unwrap_or_default();
    if entries.is_empty() {
        // Nobody reads the defaults; they are read here so that a mistake in them shows.
        let before = cx.faults.len();
        cx.currency = Some(Currency::USD);
        let _ = TenantSettings::read(defaults, "defaults", cx);
        let mut own = cx.faults.split_off(before);
        own.retain(|fault| fault.kind != FaultKind::Missing);
        cx.faults.extend(own);
    }
    let mut read = Tenants::new();
    for entry in entries {
        let id = match TenantId::new(&entry.name) {
            Ok(id) => Some(id),
            Err(error) => {
                let remedy = "rename the tenant";
                cx.fault(FaultKind::BadValue, &entry.node, error.to_string(), remedy);
                None
            }
        };
        if let Some((settings, stages)) = read_tenant(&entry.node, defaults, &entry.name, cx)
            && let Some(id) = id
        {
            read.insert(
                id.clone(),
                Tenant {
                    id,
                    settings,
                    stages,
                },
            );
        }
    }
    cx.owner = None;
    read
}

fn read_tenant(
    stated: &Node,
    defaults: &Node,
    name: &str,
    cx: &mut Context<'_>,
) -> Option<(TenantSettings, Vec<Stage>)> {
    let path = join("tenants", name);
    cx.owner = Some(stated.place.clone());
    let mut merged = overlay(defaults, stated);
    // What the defaults say of HubSpot gives no one an account.
    let has_account = |node: &Node| node.get("portal_id").or(node.get("access_token")).is_some();
    if stated.get("hubspot").is_none()
        && !merged.get("hubspot").is_some_and(has_account)
        && let Value::Table(entries) = &mut merged.value
    {
        entries.retain(|entry| entry.name != "hubspot");
    }
    cx.currency = match merged.get("currency").map(|node| &node.value) {
        Some(Value::Text(code)) => Currency::new(code).ok(),
        _ => None,
    };
    let settings = TenantSettings::read(&merged, &path, cx)?;
    let stages = check::stages(&settings, &path, cx)?;
    check::tenant(&settings, &path, cx);
    Some((settings, stages))
}
