//! Meta and HubSpot as they behave, over HTTP on this machine alone, with a market behind them.
//!
//! The market ([`market`]) is a pure model: what an ad delivers, who clicks, who becomes a customer
//! days later. Its draws are keyed by entity and time, never by the order of calls, so that the same
//! seed gives the same world whoever asks and however often. [`meta`] and [`hubspot`] are two skins
//! over it, written from the vendors' documentation and strict where the vendors are; nothing here
//! shares code with roasd's clients, because a mistake shared would be a mistake hidden.
//! [`delivery`] plays the visitors' browsers and HubSpot's webhooks. [`journal`] keeps what happened
//! on disk before it is answered, so that a kill at any instant leaves a true record from which the
//! same world resumes. [`faults`] breaks things on purpose.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::ids::{AdAccountId, PageId, PortalId, TenantId};
use crate::domain::money::Money;
use crate::domain::time::{self, SignedDuration, Timestamp};

pub mod business;
pub mod delivery;
mod draw;
pub mod edits;
pub mod faults;
pub mod hubspot;
pub mod journal;
pub mod lone;
pub mod market;
pub mod meta;
pub mod origins;
mod server;
mod world;

pub use business::{Business, Character, StageSpec};
pub use edits::{CrmDeal, CrmEdit};
pub use faults::{Fault, FaultAction, HumanEdit, ReportFate, Vendor};
pub use journal::{Entry, Journal};
pub use origins::{Credits, LayerCredits, Origins};

/// One tenant's account at both vendors.
#[derive(Debug, Clone)]
pub struct TenantSpec {
    /// The tenant, as roasd's configuration names it; part of the webhook and click URLs.
    pub tenant: TenantId,
    /// What it sells, and so how its market behaves.
    pub business: Business,
    /// Its ad account at Meta.
    pub ad_account: AdAccountId,
    /// Its HubSpot account.
    pub portal: PortalId,
    /// The access token that Meta accepts for it.
    pub meta_token: String,
    /// The access token that HubSpot accepts for it.
    pub hubspot_token: String,
    /// Deals without any trace of an ad that are in the CRM when the world begins; for tests of
    /// the search cap. All were modified at most 200 days before the start.
    pub backlog_deals: u32,
    /// Whether all backlog deals were modified in the same millisecond, as a bulk import does.
    pub backlog_in_one_instant: bool,
    /// Whether the backlog is a business's past instead: spread over the 80 days before the start, each
    /// deal with a contact, two of three with their ad.
    pub backlog_as_lived: bool,
    /// The page whose lead forms its ads show.
    pub page: PageId,
    /// Share of the leads from ads that fill in a lead form at Meta and see no landing page, from 0
    /// to 1: their contact carries a mail address and nothing of the ad.
    pub lead_forms: f64,
    /// Contacts of the first backlog deal (needs one), for tests of inner paging; 0 for one.
    pub crowded_deal_contacts: u32,
}

impl TenantSpec {
    /// A tenant with ids and tokens made from its name, for demos and tests.
    #[must_use]
    pub fn new(tenant: TenantId, business: Business) -> Self {
        let number = u64::from(draw::key_of(tenant.as_str()) as u32);
        let account = format!("1{number:010}");
        Self {
            business,
            ad_account: AdAccountId::new(&account).unwrap_or_else(|_| unreachable!()),
            portal: PortalId(40_000_000 + number % 9_999_999),
            meta_token: format!("EAAB-sandbox-{tenant}"),
            hubspot_token: format!("pat-na1-sandbox-{tenant}"),
            page: PageId::new(format!("2{number:010}")).unwrap_or_else(|_| unreachable!()),
            lead_forms: 0.0,
            backlog_deals: 0,
            backlog_in_one_instant: false,
            backlog_as_lived: false,
            crowded_deal_contacts: 0,
            tenant,
        }
    }
}

/// How far an app may go at Meta; the header values stay `development_access`, `standard_access`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessTier {
    /// 60 points that decay over 300 s, a block of 300 s.
    Development,
    /// 9000 points that decay over 300 s, a block of 60 s.
    Full,
}

/// Where roasd listens, for visits and webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliverTo {
    /// Where to connect, such as `http://127.0.0.1:8787`.
    pub base: String,
    /// The URL that HubSpot signs: `public_url` of roasd's configuration.
    pub public_url: String,
}

/// What becomes of webhooks under way; shares of all events, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WebhookWeather {
    /// Never sent, so that only a sync finds the change.
    pub lost: f64,
    /// Sent again a little later.
    pub duplicated: f64,
    /// Sent up to 40 minutes late, and so out of order.
    pub late: f64,
}

/// Share of the visits that led to nothing that a demo posts. On a real page the script sees about
/// two of three, but each is a request that the demo waits for. With fewer, strangers with the same
/// device or address are missing and recognition looks easier than it is: with a quarter of them
/// fingerprints are right a few points more often than with two thirds.
pub(crate) const VISIT_SAMPLE: f64 = 0.25;

/// All that a sandbox is made from; the same configuration and the same calls give the same world.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Where the journal is kept (`journal.jsonl`); made when missing.
    pub dir: PathBuf,
    /// Seed of every draw.
    pub seed: u64,
    /// When the world begins. Truth and baseline count from here.
    pub start: Timestamp,
    /// How long the accounts have run before `start`; nothing of it is delivered, all of it can be read.
    pub history: SignedDuration,
    /// Where to listen: a loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The tenants.
    pub tenants: Vec<TenantSpec>,
    /// roasd's app at Meta.
    pub app_id: String,
    /// Its secret; when given, every call must carry a right `appsecret_proof`.
    pub app_secret: Option<String>,
    /// The Graph versions that are alive, such as `v25.0`.
    pub versions: Vec<String>,
    /// The app's limits at Meta.
    pub tier: AccessTier,
    /// Secret of HubSpot's webhook signatures.
    pub client_secret: String,
    /// What becomes of webhooks.
    pub weather: WebhookWeather,
    /// Share of the visits that led to nothing that are posted, from 0 to 1.
    pub visit_sample: f64,
    /// How long HubSpot's search is behind.
    pub search_lag: SignedDuration,
    /// Whether HubSpot takes any number of calls, and says so.
    pub is_unlimited: bool,
    /// How many associations HubSpot puts on one inner page.
    pub association_page: usize,
    /// Faults in force from the start.
    pub faults: Vec<Fault>,
    /// Edits that people will make in Ads Manager.
    pub human_edits: Vec<HumanEdit>,
    /// Where roasd listens, if it already does; else see [`Sandbox::start_deliveries`].
    pub deliver_to: Option<DeliverTo>,
}

impl SandboxConfig {
    /// The three tenants `gym`, `shop` and `clinic` from 2026-10-05 on, which brings both changes
    /// from summer time into the 30 days that follow.
    #[must_use]
    pub fn demo(dir: impl Into<PathBuf>, seed: u64) -> Self {
        let tenant = |name: &str, business| {
            let name = TenantId::new(name).unwrap_or_else(|_| unreachable!());
            TenantSpec::new(name, business)
        };
        Self {
            dir: dir.into(),
            seed,
            start: time::from_seconds(1_791_158_400),
            history: SignedDuration::ZERO,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tenants: vec![
                tenant("gym", Business::Gym),
                tenant("shop", Business::Shop),
                tenant("clinic", Business::Clinic),
            ],
            app_id: "1160452000001".to_owned(),
            app_secret: Some("sandbox-app-secret".to_owned()),
            versions: vec!["v25.0".to_owned(), "v26.0".to_owned()],
            tier: AccessTier::Full,
            client_secret: "sandbox-client-secret".to_owned(),
            weather: WebhookWeather {
                lost: 0.03,
                duplicated: 0.05,
                late: 0.05,
            },
            visit_sample: VISIT_SAMPLE,
            search_lag: time::seconds(15),
            is_unlimited: false,
            association_page: 100,
            faults: Vec::new(),
            human_edits: Vec::new(),
            deliver_to: None,
        }
    }

    /// The same with `count` tenants: gyms, shops and clinics by turns, named `gym`, `shop`,
    /// `clinic`, `gym-2`, `shop-2` and so on.
    #[must_use]
    pub fn with_tenants(mut self, count: u32) -> Self {
        let kinds = [
            ("gym", Business::Gym),
            ("shop", Business::Shop),
            ("clinic", Business::Clinic),
        ];
        self.tenants = (1..)
            .flat_map(|round| kinds.map(|(name, business)| (round, name, business)))
            .take(count as usize)
            .map(|(round, name, business)| {
                let name = match round {
                    1 => name.to_owned(),
                    _ => format!("{name}-{round}"),
                };
                let name = TenantId::new(&name).unwrap_or_else(|_| unreachable!());
                TenantSpec::new(name, business)
            })
            .collect();
        self
    }
}

/// What really happened in a market since its start; nobody but the sandbox knows the last three.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Totals {
    /// Money spent on ads.
    pub spend: Money,
    /// Times an ad was shown.
    pub impressions: u64,
    /// Clicks on ads.
    pub clicks: u64,
    /// Leads (in a shop: orders) that came from ads, by the time of their form.
    pub leads: u64,
    /// Sales won by then, from ads.
    pub wins: u64,
    /// Value of the stages that leads from ads stand in: the stage's value, the amount once won.
    pub pipeline_value: Money,
    /// Revenue from ads that was won by then.
    pub revenue_seen: Money,
    /// Revenue from all clicks until then, followed to their end.
    pub revenue_final: Money,
    /// What those clicks were worth in expectation: [`Totals::revenue_final`] without its luck.
    pub revenue_expected: Money,
}

/// Days since 1970-01-01.
fn epoch_day(day: time::Date) -> i64 {
    time::to_micros(time::day_start(day, &time::TimeZone::UTC)).div_euclid(86_400_000_000)
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address is reachable from outside.
    #[error("the sandbox listens on loopback only, not on {0}; use 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    /// roasd's URL is not on this machine.
    #[error("the sandbox delivers to loopback only, not to {0:?}")]
    DeliveryNotLoopback(String),
    /// The port is taken, or the like.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The journal cannot be read or written.
    #[error("the journal {path} cannot be used")]
    Journal {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The configuration contradicts itself.
    #[error("the sandbox cannot be set up: {0}")]
    Config(String),
    /// The HTTP client for deliveries cannot be built.
    #[error("no HTTP client for deliveries")]
    Client(#[source] reqwest::Error),
}

/// The two vendors, running.
#[derive(Debug)]
pub struct Sandbox {
    world: Arc<world::World>,
    addr: SocketAddr,
    server: tokio::task::JoinHandle<()>,
    deliveries: std::sync::Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

impl Sandbox {
    /// Opens the journal, replays it if it holds anything, and listens.
    ///
    /// # Errors
    /// When an address is not loopback or taken, the journal cannot be used or the configuration
    /// contradicts itself.
    pub async fn start(config: SandboxConfig, clock: Arc<dyn Clock>) -> Result<Self, SandboxError> {
        if !config.listen.ip().is_loopback() {
            return Err(SandboxError::NotLoopback(config.listen));
        }
        let listen = config.listen;
        let deliver_to = config.deliver_to.clone();
        let world = Arc::new(world::World::open(config, clock)?);
        let failed = |cause| SandboxError::Listen {
            addr: listen,
            cause,
        };
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        world.set_addr(addr);
        let server = tokio::spawn(server::serve(listener, world.clone()));
        let sandbox = Self {
            world,
            addr,
            server,
            deliveries: std::sync::Mutex::new(Vec::new()),
        };
        if let Some(to) = deliver_to {
            sandbox.start_deliveries(to)?;
        }
        Ok(sandbox)
    }

    /// The last time that the journal in `dir` knows of: where a clock has to begin so that the
    /// world resumes. `None` when there is no journal yet.
    ///
    /// # Errors
    /// When the journal exists and cannot be read.
    pub fn resume_time(dir: &std::path::Path) -> Result<Option<Timestamp>, SandboxError> {
        let path = Journal::path(dir);
        if !path.exists() {
            return Ok(None);
        }
        let entries =
            Journal::read(&path).map_err(|cause| SandboxError::Journal { path, cause })?;
        Ok(entries.iter().map(Entry::time).max())
    }

    /// Where the sandbox listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stands for `https://graph.facebook.com`: append `/v25.0/…`.
    #[must_use]
    pub fn meta_base(&self) -> String {
        format!("http://{}/meta", self.addr)
    }

    /// Stands for `https://api.hubapi.com`: append `/crm/…`.
    #[must_use]
    pub fn hubspot_base(&self) -> String {
        format!("http://{}/hubspot", self.addr)
    }

    /// The configuration it was started with.
    #[must_use]
    pub fn config(&self) -> &SandboxConfig {
        &self.world.config
    }

    /// The journal's file.
    #[must_use]
    pub fn journal_path(&self) -> PathBuf {
        Journal::path(&self.world.config.dir)
    }

    /// What really happened to `tenant` from the start until `until` (at most now); `None` for a
    /// tenant that is not here.
    #[must_use]
    pub fn truth(&self, tenant: &TenantId, until: Timestamp) -> Option<Totals> {
        self.world.truth(tenant, until)
    }

    /// Which ad really won each deal that `tenant` has in its CRM by `until` (at most now); `None`
    /// for a tenant that is not here.
    #[must_use]
    pub fn origins(&self, tenant: &TenantId, until: Timestamp) -> Option<Origins> {
        self.world.origins(tenant, until)
    }

    /// What would have happened had nobody touched the account: the same market, the same seed,
    /// no write and no human edit.
    #[must_use]
    pub fn baseline(&self, tenant: &TenantId, until: Timestamp) -> Option<Totals> {
        self.world.baseline(tenant, until)
    }

    /// Adds a fault at run time.
    pub fn add_fault(&self, fault: Fault) {
        self.world.faults().add(fault);
    }

    /// Lets the answers go that a [`FaultAction::Hold`] holds back.
    pub fn release_held(&self) {
        self.world.faults().release();
    }

    /// Makes an edit in Ads Manager now, as a person would.
    ///
    /// # Errors
    /// With Meta's message when the edit is not valid.
    pub fn human_edit(&self, edit: &HumanEdit) -> Result<(), String> {
        self.world.human_edit(edit)
    }

    /// Does what a person does in HubSpot, now; HubSpot tells of it.
    ///
    /// # Errors
    /// With what is wrong when it cannot be done.
    pub fn crm_edit(&self, tenant: &TenantId, edit: &CrmEdit) -> Result<(), String> {
        self.world.crm_edit(tenant, edit)
    }

    /// The deals of `tenant` as HubSpot has them now, archived ones too, by id; `None` for a tenant that
    /// is not here.
    #[must_use]
    pub fn crm(&self, tenant: &TenantId) -> Option<Vec<CrmDeal>> {
        self.world.crm(tenant)
    }

    /// Starts to post visits and webhooks to roasd, one task for each tenant.
    /// Everything that is due and was not acknowledged yet comes first.
    ///
    /// # Errors
    /// When the URL is not on this machine or no client can be built.
    pub fn start_deliveries(&self, to: DeliverTo) -> Result<(), SandboxError> {
        let tasks = delivery::start(&self.world, to)?;
        self.deliveries
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .extend(tasks);
        Ok(())
    }

    /// Stops to deliver and to listen. What was acknowledged is on disk already.
    pub async fn stop(self) {
        let tasks = std::mem::take(
            &mut *self
                .deliveries
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        self.world.faults().release();
        for task in tasks.into_iter().chain([self.server]) {
            task.abort();
            let _ = task.await;
        }
        self.world.flush();
    }
}
