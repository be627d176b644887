//! The world that both vendors show: the tenants' markets, moved to the clock's time whenever
//! somebody looks, and the journal that remembers what was done to them.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::clock::Clock;
use crate::domain::ids::TenantId;
use crate::domain::time::{self, Timestamp};

use super::draw::Draw;
use super::edits::{CrmDeal, CrmEdit};
use super::faults::{Faults, HumanEdit};
use super::journal::{Entry, Journal};
use super::market::{Applied, Event, Field, Market, MarketPlan, Write};
use super::origins::Origins;
use super::{SandboxConfig, SandboxError, TenantSpec, Totals, hubspot, meta};

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    pub config: SandboxConfig,
    pub clock: Arc<dyn Clock>,
    pub tenants: Vec<Tenant>,
    pub app: Mutex<meta::limits::AppUsage>,
    journal: Mutex<Journal>,
    faults: Faults,
    addr: OnceLock<SocketAddr>,
    hour: AtomicI64,
    calls: AtomicU64,
}

/// One tenant.
#[derive(Debug)]
pub(super) struct Tenant {
    pub spec: TenantSpec,
    state: Mutex<State>,
    baseline: Mutex<Option<Market>>,
}

/// What of a tenant changes.
#[derive(Debug)]
pub(super) struct State {
    pub market: Market,
    pub usage: meta::limits::AccountUsage,
    pub meta_token: meta::TokenState,
    pub reports: BTreeMap<String, meta::Report>,
    pub limits: hubspot::Limits,
    pub hubspot_token_is_valid: bool,
    /// Webhook events that were acknowledged.
    pub delivered: HashSet<String>,
    /// Until when the world had been moved when it resumed: visits before it are gone.
    pub resumed_at: Timestamp,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tenant {
    fn plan(&self, config: &SandboxConfig) -> MarketPlan {
        plan_of(&self.spec, config)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn plan_of(spec: &TenantSpec, config: &SandboxConfig) -> MarketPlan {
    MarketPlan {
        seed: config.seed,
        tenant: spec.tenant.as_str().to_owned(),
        business: spec.business,
        character: super::business::Character::USUAL,
        stride: 1,
        account: spec.ad_account.digits().to_owned(),
        start: config.start,
        history: config.history,
        visit_sample: config.visit_sample,
        lead_forms: spec.lead_forms,
        backlog_deals: spec.backlog_deals,
        backlog_in_one_instant: spec.backlog_in_one_instant,
        backlog_as_lived: spec.backlog_as_lived,
        crowded_deal_contacts: spec.crowded_deal_contacts,
    }
}

impl World {
    /// Opens the journal and brings every market to where it was.
    pub(super) fn open(config: SandboxConfig, clock: Arc<dyn Clock>) -> Result<Self, SandboxError> {
        let path = Journal::path(&config.dir);
        let broken = |cause| SandboxError::Journal {
            path: path.clone(),
            cause,
        };
        let (journal, entries) = Journal::open(&config.dir).map_err(broken)?;
        check(&config, &entries)?;
        let mut tenants = Vec::new();
        for spec in &config.tenants {
            let mut market = Market::new(&plan_of(spec, &config));
            let edits: Vec<HumanEdit> = config
                .human_edits
                .iter()
                .filter(|e| e.tenant == spec.tenant)
                .cloned()
                .collect();
            market.schedule(&edits);
            let mut delivered = HashSet::new();
            replay(&mut market, spec.tenant.as_str(), &entries, &mut delivered);
            let resumed_at = entries.iter().map(Entry::time).max();
            let resumed_at = resumed_at.unwrap_or(config.start);
            market.advance(resumed_at);
            tenants.push(Tenant {
                spec: spec.clone(),
                state: Mutex::new(State {
                    market,
                    usage: meta::limits::AccountUsage::new(config.tier),
                    meta_token: meta::TokenState::Valid,
                    reports: BTreeMap::new(),
                    limits: hubspot::Limits::default(),
                    hubspot_token_is_valid: true,
                    delivered,
                    resumed_at,
                }),
                baseline: Mutex::new(None),
            });
        }
        let world = Self {
            app: Mutex::new(meta::limits::AppUsage::new(config.tier)),
            faults: Faults::new(config.seed, &config.faults),
            journal: Mutex::new(journal),
            addr: OnceLock::new(),
            hour: AtomicI64::new(0),
            calls: AtomicU64::new(0),
            tenants,
            clock,
            config,
        };
        let started = Entry::Started {
            at: time::to_micros(world.clock.now().max(world.config.start)),
            seed: world.config.seed,
        };
        world.record_durably(&started).map_err(broken)?;
        Ok(world)
    }

    pub(super) fn set_addr(&self, addr: SocketAddr) {
        let _ = self.addr.set(addr);
    }

    /// `http://127.0.0.1:port`.
    pub(super) fn base(&self) -> String {
        self.addr
            .get()
            .map_or_else(String::new, |addr| format!("http://{addr}"))
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(super) fn tenant(&self, tenant: &TenantId) -> Option<&Tenant> {
        self.tenants.iter().find(|t| t.spec.tenant == *tenant)
    }

    /// A tenant's state, its market moved to now.
    pub(super) fn at_now<'a>(&self, tenant: &'a Tenant) -> (MutexGuard<'a, State>, Timestamp) {
        let now = self.clock.now();
        self.beat(now);
        let mut state = tenant.lock();
        state.market.advance(now);
        (state, now)
    }

    /// Notes the hour in the journal when a new one has begun.
    fn beat(&self, now: Timestamp) {
        let hour = time::to_micros(now).div_euclid(3_600_000_000);
        if self.hour.swap(hour, Ordering::Relaxed) != hour {
            self.record(&Entry::Hour {
                at: time::to_micros(now),
            });
        }
    }

    /// Appends to the journal, safe from the end of this process.
    pub(super) fn record(&self, entry: &Entry) {
        if let Err(cause) = lock(&self.journal).append(entry) {
            tracing::error!(%cause, "the sandbox cannot write its journal");
        }
    }

    /// Appends to the journal, safe from the end of this machine.
    pub(super) fn record_durably(&self, entry: &Entry) -> std::io::Result<()> {
        let mut journal = lock(&self.journal);
        journal.append(entry)?;
        journal.sync()
    }

    /// Appends several, with one wait for the disk.
    pub(super) fn record_all_durably(&self, entries: &[Entry]) -> std::io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut journal = lock(&self.journal);
        for entry in entries {
            journal.append(entry)?;
        }
        journal.sync()
    }

    pub(super) fn flush(&self) {
        let _ = lock(&self.journal).sync();
    }

    /// A name for a call, as Meta gives one to each.
    pub(super) fn trace(&self, now: Timestamp) -> String {
        let n = self.calls.fetch_add(1, Ordering::Relaxed);
        let draw = Draw::seeded(self.config.seed)
            .named("trace")
            .of(time::to_micros(now).unsigned_abs())
            .of(n);
        format!(
            "A{:015x}{:06x}",
            draw.bits() >> 4,
            draw.of(1).bits() & 0xFF_FFFF
        )
    }

    pub(super) fn truth(&self, tenant: &TenantId, until: Timestamp) -> Option<Totals> {
        let tenant = self.tenant(tenant)?;
        let (state, now) = self.at_now(tenant);
        Some(state.market.totals(until.min(now)))
    }

    pub(super) fn origins(&self, tenant: &TenantId, until: Timestamp) -> Option<Origins> {
        let tenant = self.tenant(tenant)?;
        let (state, now) = self.at_now(tenant);
        Some(state.market.origins(until.min(now)))
    }

    pub(super) fn baseline(&self, tenant: &TenantId, until: Timestamp) -> Option<Totals> {
        let tenant = self.tenant(tenant)?;
        let until = until.min(self.clock.now());
        let mut kept = lock(&tenant.baseline);
        let market = kept.get_or_insert_with(|| Market::new(&tenant.plan(&self.config)));
        market.advance(until);
        market.take_events(until);
        Some(market.totals(until))
    }

    /// Makes a person's edit now.
    pub(super) fn human_edit(&self, edit: &HumanEdit) -> Result<(), String> {
        let tenant = self
            .tenant(&edit.tenant)
            .ok_or_else(|| format!("no tenant {}", edit.tenant))?;
        let (mut state, now) = self.at_now(tenant);
        let refused = |refusal| format!("Ads Manager refuses the edit: {refusal:?}");
        let write = state.market.write_of(edit).map_err(refused)?;
        let applied = state.market.apply(&write, now).map_err(refused)?;
        let trace = self.trace(now);
        let entry = self.entry(&state.market, &tenant.spec, &write, &applied, now, &trace);
        self.record_durably(&entry)
            .map_err(|cause| cause.to_string())
    }

    /// Does what a person does in the CRM, now.
    pub(super) fn crm_edit(&self, tenant: &TenantId, edit: &CrmEdit) -> Result<(), String> {
        let found = self
            .tenant(tenant)
            .ok_or_else(|| format!("no tenant {tenant}"))?;
        let (mut state, now) = self.at_now(found);
        state.market.edit(edit, now)?;
        let entry = Entry::CrmEdit {
            at: time::to_micros(now),
            tenant: tenant.as_str().to_owned(),
            edit: edit.clone(),
        };
        self.record_durably(&entry)
            .map_err(|cause| cause.to_string())
    }

    /// The CRM as it is now.
    pub(super) fn crm(&self, tenant: &TenantId) -> Option<Vec<CrmDeal>> {
        let (state, now) = self.at_now(self.tenant(tenant)?);
        Some(state.market.crm(now))
    }

    /// The line for an accepted write.
    pub(super) fn entry(
        &self,
        market: &Market,
        spec: &TenantSpec,
        write: &Write,
        applied: &Applied,
        now: Timestamp,
        trace: &str,
    ) -> Entry {
        let node = market.nodes.get(write.node);
        Entry::Write {
            at: time::to_micros(now),
            tenant: spec.tenant.as_str().to_owned(),
            entity: node.map_or_else(String::new, |n| n.id.clone()),
            field: write.field.as_str().to_owned(),
            old: applied.old.clone(),
            new: applied.new.clone(),
            application_id: write.application_id.clone(),
            fbtrace_id: trace.to_owned(),
        }
    }

    /// What is due for roasd by now, and when to look again.
    pub(super) fn due(&self, tenant: &Tenant) -> (Vec<(Timestamp, Event)>, Timestamp) {
        let (mut state, now) = self.at_now(tenant);
        let events = state.market.take_events(now);
        (events, state.market.next_due())
    }
}

fn check(config: &SandboxConfig, entries: &[Entry]) -> Result<(), SandboxError> {
    let wrong = |text: String| Err(SandboxError::Config(text));
    for (i, spec) in config.tenants.iter().enumerate() {
        for other in config.tenants.iter().take(i) {
            if spec.tenant == other.tenant
                || spec.ad_account == other.ad_account
                || spec.portal == other.portal
                || spec.meta_token == other.meta_token
                || spec.hubspot_token == other.hubspot_token
            {
                return wrong(format!(
                    "tenants {} and {} share a name, an account, a portal or a token",
                    other.tenant, spec.tenant
                ));
            }
        }
        if spec.crowded_deal_contacts >= 1_000 {
            return wrong("a crowded deal has fewer than 1000 contacts".to_owned());
        }
    }
    for entry in entries {
        if let Entry::Started { seed, .. } = entry
            && *seed != config.seed
        {
            return wrong(format!(
                "the journal is of a world with seed {seed}, not {}; use another folder",
                config.seed
            ));
        }
    }
    Ok(())
}

/// Does to a fresh market what was done to the one of the journal.
fn replay(market: &mut Market, tenant: &str, entries: &[Entry], delivered: &mut HashSet<String>) {
    for entry in entries {
        let (at, entity, field, value, application_id) = match entry {
            Entry::Write {
                at,
                tenant: whose,
                entity,
                field,
                new,
                application_id,
                ..
            } if whose == tenant => (at, entity, field, new, application_id),
            // A refusal may have locked a budget.
            Entry::Refused {
                at,
                tenant: whose,
                entity,
                field,
                value,
                application_id,
                ..
            } if whose == tenant => (at, entity, field, value, application_id),
            Entry::CrmEdit {
                at,
                tenant: whose,
                edit,
            } if whose == tenant => {
                let at = time::from_micros(*at);
                market.advance(at);
                // It was done then, so it can be done now.
                let _ = market.edit(edit, at);
                continue;
            }
            Entry::Delivered {
                tenant: whose, id, ..
            } if whose == tenant => {
                delivered.insert(id.clone());
                continue;
            }
            _ => continue,
        };
        let at = time::from_micros(*at);
        market.advance(at);
        let (Some(node), Some(field)) = (market.find(entity), Field::parse(field)) else {
            continue;
        };
        let write = Write {
            node,
            field,
            value: value.clone(),
            application_id: application_id.clone(),
            validate_only: false,
        };
        let _ = market.apply(&write, at);
    }
}
