//! Reads the vendors for all stages of one tenant: the account's structure, its figures, and the
//! deals. Writes nothing to either vendor.
//!
//! Each part has a schedule of its own, kept in the store, so that a restart goes on where it was;
//! each part may fail without the others. How figures are read stands in `figures.rs`, how the CRM is
//! walked in `crm.rs`, how its whole list is read in `scan.rs`, how leads are in `leads.rs`; `asked.rs`
//! answers whoever does not want to wait.

mod asked;
mod crm;
mod figures;
mod leads;
mod scan;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::context::{Context, chain, weather};
use super::stage::{Broken, Progress, Stage, Work};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::change::Target;
use crate::domain::structure::{Account, Structure};
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::store::StoreError;
use crate::store::entities::Drift;
use crate::store::syncs::SyncCounts;
use crate::vendors::VendorError;
use crate::vendors::meta::throttle::CallKind;
use crate::vendors::meta::{Activity, Cursor, Page};
use asked::Asked;
use crm::{Crm, Reached};
use figures::Figures;

/// Rows a page of structure and figures is asked for.
const PAGE: u32 = 500;
/// The fewest rows a page is shrunk to when Meta says that it is too much.
const PAGE_MIN: u32 = 25;
/// Pages read of one list; more is a loop on Meta's side.
const PAGES: usize = 2_000;
/// How far back figures are read at first.
const FIRST_INSIGHTS_DAYS: i64 = 28;
/// The wait after a look that met weather.
const RETRY: SignedDuration = time::minutes(5);

/// What went wrong in one part.
enum Trouble {
    Vendor(&'static str, VendorError),
    Store(StoreError),
    Hold(String),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn meta(error: VendorError) -> Trouble {
    Trouble::Vendor("Meta", error)
}

/// The parts of a sync, each with its own schedule, in the order in which they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Structure,
    Pipelines,
    InsightsWeekly,
    InsightsDaily,
    InsightsOften,
    InsightsHours,
    Crm,
    OpenDeals,
    Scan,
}

/// How far a part got.
enum Ran {
    /// It was not due.
    Not,
    /// To its end.
    Whole,
    /// It goes on at once, behind what waits.
    Part,
    /// It goes on then.
    Later(Timestamp),
}

impl Part {
    const ALL: [Self; 9] = [
        Self::Structure,
        Self::Pipelines,
        Self::InsightsWeekly,
        Self::InsightsDaily,
        Self::InsightsOften,
        Self::InsightsHours,
        Self::Crm,
        Self::OpenDeals,
        Self::Scan,
    ];

    /// The cursor that tells when it was last read to its end.
    fn cursor_name(self) -> String {
        let part = match self {
            Self::Structure => "structure",
            Self::InsightsOften => "insights.3d",
            Self::InsightsHours => "insights.hours",
            Self::InsightsDaily => "insights.7d",
            Self::InsightsWeekly => "insights.28d",
            Self::Crm => "crm",
            Self::Pipelines => "pipelines",
            Self::OpenDeals => "crm.open",
            Self::Scan => "crm.scan",
        };
        format!("sync.{part}")
    }

    /// What a person is told that it is.
    const fn told(self) -> &'static str {
        match self {
            Self::Structure => "the ad account",
            Self::InsightsOften
            | Self::InsightsHours
            | Self::InsightsDaily
            | Self::InsightsWeekly => "ad figures",
            Self::Crm => "changed deals",
            Self::Pipelines => "pipelines",
            Self::OpenDeals => "open deals",
            Self::Scan => "the list of all deals",
        }
    }

    /// Whether it is part of a sync that a person asks for.
    const fn is_asked(self, is_full: bool) -> bool {
        match self {
            Self::Structure
            | Self::Pipelines
            | Self::InsightsDaily
            | Self::InsightsOften
            | Self::InsightsHours
            | Self::Crm => true,
            Self::InsightsWeekly | Self::OpenDeals | Self::Scan => is_full,
        }
    }

    /// Whether a first sync leaves it for later, since it repeats what the other parts have just
    /// read.
    const fn may_wait(self) -> bool {
        matches!(self, Self::OpenDeals | Self::Scan)
    }

    fn every(self, sync_every: SignedDuration) -> SignedDuration {
        match self {
            Self::Structure | Self::InsightsOften | Self::InsightsHours | Self::Crm => sync_every,
            Self::InsightsDaily | Self::Pipelines | Self::OpenDeals => {
                sync_every.max(time::days(1))
            }
            Self::InsightsWeekly | Self::Scan => sync_every.max(time::days(7)),
        }
    }

    /// The figures that it reads, if it reads some.
    const fn figures(self) -> Option<Figures> {
        let (name, days, is_hourly) = match self {
            Self::InsightsOften => ("3d", 3, false),
            Self::InsightsHours => ("hours", 2, true),
            Self::InsightsDaily => ("7d", 7, false),
            Self::InsightsWeekly => ("28d", FIRST_INSIGHTS_DAYS, false),
            Self::Structure | Self::Pipelines | Self::Crm | Self::OpenDeals | Self::Scan => {
                return None;
            }
        };
        Some(Figures {
            name,
            days,
            is_hourly,
        })
    }
}

/// The work of the sync stage.
pub struct SyncWork {
    context: Arc<Context>,
    next: Timestamp,
    page: u32,
    /// Figures that Meta cannot give, told with this look.
    given_up: Vec<String>,
    is_introduced: bool,
    /// The sync that a person asked for, while it is under way.
    asked: Option<Asked>,
    counts: SyncCounts,
    /// When each part was last read to its end, as the store has it. Nobody else moves that while these
    /// actors have the tenant.
    last: BTreeMap<Part, Option<Timestamp>>,
}

impl SyncWork {
    /// The work of one tenant. The first look is spread, so that many tenants that start together
    /// do not call together.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let jitter = context.draw(context.tenant.limits.read_jitter);
        let offset = context.gate.sync_offset(context.meta.ad_account());
        let next = time::add(context.clock.now(), offset + jitter);
        Self {
            context,
            next,
            page: PAGE,
            given_up: Vec::new(),
            is_introduced: false,
            asked: None,
            counts: SyncCounts::default(),
            last: BTreeMap::new(),
        }
    }

    /// Makes the tenant and what its stages are worth known to the store, once for each start of
    /// its actors: under the tenant's fence, and when the store is there to take it.
    async fn introduce(&mut self) -> Result<(), StoreError> {
        if self.is_introduced {
            return Ok(());
        }
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context.as_ref();
        let now = clock.now();
        store.ensure_tenant(&tenant.id, &tenant.name, now).await?;
        store
            .record_stage_values(&tenant.id, tenant.stages.all(), now)
            .await?;
        self.is_introduced = true;
        Ok(())
    }
}

#[async_trait]
impl Work for SyncWork {
    fn stage(&self) -> Stage {
        Stage::Sync
    }

    async fn look(&mut self) -> Result<Progress, Broken> {
        let mut troubles = Vec::new();
        let (mut has_advanced, mut has_more) = (false, false);
        if let Err(error) = self.introduce().await {
            self.note(error.into(), &mut troubles).await?;
        }
        let at_work = self.asked.take();
        match Asked::look_for(&self.context, at_work).await {
            Ok(asked) => self.asked = asked,
            Err(error) => self.note(error.into(), &mut troubles).await?,
        }
        self.counts = SyncCounts::default();
        if let Some(asked) = &self.asked {
            self.counts = asked.counts;
        }
        let mut goes_on = Timestamp::MAX;
        for part in Part::ALL {
            match self.run_if_due(part).await {
                Ok(Ran::Not) => {}
                Ok(Ran::Whole) => has_advanced = true,
                Ok(Ran::Part) => (has_advanced, has_more) = (true, true),
                Ok(Ran::Later(at)) => goes_on = goes_on.min(at),
                Err(trouble) => self.note(trouble, &mut troubles).await?,
            }
        }
        if let Some(crm) = Crm::of(&self.context) {
            match crm.read_requested(&mut self.counts).await {
                Ok(count) => has_advanced |= count > 0,
                Err(trouble) => self.note(trouble, &mut troubles).await?,
            }
        }
        troubles.append(&mut self.given_up);
        match leads::read_requested(&self.context).await {
            Ok(count) => has_advanced |= count > 0,
            Err(trouble) => self.note(trouble, &mut troubles).await?,
        }
        if let Some(mut asked) = self.asked.take() {
            asked.counts = self.counts;
            match asked.told(&self.context, &troubles).await {
                Ok(asked) => self.asked = asked,
                Err(error) => self.note(error.into(), &mut troubles).await?,
            }
        }
        let now = self.context.clock.now();
        let every = self.context.tenant.schedule.sync_every;
        if troubles.is_empty() && has_more {
            // At once, but behind what waits: the other stages have something to do meanwhile.
            self.next = now;
            Ok(Progress::Advanced)
        } else if troubles.is_empty() {
            // Aligned to the period, so that the stages of a tenant keep their rhythm, and spread
            // over the tenants.
            self.next = self.next_due(now, every).min(goes_on);
            Ok(if has_advanced {
                Progress::Advanced
            } else {
                Progress::Idle
            })
        } else {
            self.next = time::add(now, RETRY.min(every)).min(goes_on);
            Ok(Progress::Degraded(troubles.join("; ")))
        }
    }

    fn next_tick(&self) -> Timestamp {
        self.next
            .max(time::add(self.context.clock.now(), time::millis(1)))
    }
}

impl SyncWork {
    fn next_due(&self, now: Timestamp, every: SignedDuration) -> Timestamp {
        let every = time_micros(every).max(1);
        let slot = time::to_micros(now).div_euclid(every) + 1;
        let context = &self.context;
        let jitter = context.draw(context.tenant.limits.read_jitter);
        let offset = context.gate.sync_offset(context.meta.ad_account());
        let at = time::from_micros(slot.saturating_mul(every));
        // Never a whole period late.
        let period = SignedDuration::from_micros(every);
        time::add(at, offset.min(period / 2) + jitter)
    }

    /// Sorts out what went wrong: weather is told, a broken store is not borne.
    async fn note(&self, trouble: Trouble, troubles: &mut Vec<String>) -> Result<(), Broken> {
        let told = match trouble {
            Trouble::Store(error) => match weather(&error)? {
                Progress::Degraded(why) => why,
                _ => chain(&error),
            },
            Trouble::Vendor(vendor, error) => {
                if let Err(error) = self.context.note_vendor(vendor, Err(&error)).await {
                    weather(&error)?;
                }
                chain(&error)
            }
            Trouble::Hold(why) => why,
        };
        if !troubles.contains(&told) {
            troubles.push(told);
        }
        Ok(())
    }

    /// Reads a part that is due, or that somebody asked for.
    async fn run_if_due(&mut self, part: Part) -> Result<Ran, Trouble> {
        let context = self.context.clone();
        let Context { tenant, clock, .. } = context.as_ref();
        let started = clock.now();
        let last = self.last_read(part).await?;
        let every = part.every(tenant.schedule.sync_every);
        let is_asked = self.asked.as_ref().is_some_and(|asked| asked.wants(part));
        let is_full = self.asked.as_ref().is_some_and(|asked| asked.is_full);
        // A little early is in time: the tick that woke us is spread around the hour.
        let due = last.map(|last| time::add(last, every - every / 10));
        if !is_asked && due.is_some_and(|due| started < due) {
            return Ok(Ran::Not);
        }
        if !is_asked && due.is_none() && part.may_wait() {
            self.set_last_read(part, started).await?;
            return Ok(Ran::Not);
        }
        if let Some(figures) = part.figures()
            && let figures::Reached::Later(at) = self.read_figures(&figures).await?
        {
            return Ok(Ran::Later(at));
        }
        let mut reached = Reached::End;
        let counts = &mut self.counts;
        match part {
            Part::Structure => self.read_structure().await?,
            // They are read.
            Part::InsightsOften
            | Part::InsightsHours
            | Part::InsightsDaily
            | Part::InsightsWeekly => {}
            Part::Crm => {
                if let Some(crm) = Crm::of(&context) {
                    reached = crm.walk(counts).await?;
                }
            }
            Part::OpenDeals => {
                if let Some(crm) = Crm::of(&context) {
                    reached = crm.read_open(counts).await?;
                }
            }
            Part::Scan => {
                if let Some(crm) = Crm::of(&context) {
                    reached = crm.scan(is_full, counts).await?;
                }
            }
            Part::Pipelines => {
                if let Some(crm) = Crm::of(&context) {
                    crm.read_pipelines().await?;
                }
            }
        }
        if reached == Reached::Part {
            return Ok(Ran::Part);
        }
        self.set_last_read(part, started).await?;
        if let Some(asked) = &mut self.asked {
            asked.is_through(part);
        }
        Ok(Ran::Whole)
    }

    /// When a part was last read to its end.
    async fn last_read(&mut self, part: Part) -> Result<Option<Timestamp>, StoreError> {
        if let Some(last) = self.last.get(&part) {
            return Ok(*last);
        }
        let Context { store, tenant, .. } = self.context.as_ref();
        let last = store.cursor(&tenant.id, &part.cursor_name()).await?;
        let last = last.and_then(|text| text.parse().ok());
        let last = last.map(time::from_micros);
        self.last.insert(part, last);
        Ok(last)
    }

    /// Notes that a part was read to its end by a reading that began at `started`.
    async fn set_last_read(&mut self, part: Part, started: Timestamp) -> Result<(), StoreError> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context.as_ref();
        let at = time::to_micros(started).to_string();
        store
            .set_cursor(&tenant.id, &part.cursor_name(), &at, clock.now())
            .await?;
        self.last.insert(part, Some(started));
        Ok(())
    }

    async fn read_structure(&self) -> Result<(), Trouble> {
        let Context {
            store,
            tenant,
            clock,
            meta: client,
            ..
        } = self.context.as_ref();
        let id = &tenant.id;
        let read_at = clock.now();
        let permit = self.context.permit(CallKind::Read).await.map_err(meta)?;
        let account = client.account(permit).await.map_err(meta)?;
        self.judge_account(&account).await?;
        let currency = account.currency;
        let campaigns = self
            .pages(CallKind::Read, |permit, after| async move {
                client.campaigns(permit, currency, after.as_ref()).await
            })
            .await?;
        let ad_sets = self
            .pages(CallKind::Read, |permit, after| async move {
                client.ad_sets(permit, currency, after.as_ref()).await
            })
            .await?;
        let ads = self
            .pages(CallKind::Read, |permit, after| async move {
                client.ads(permit, after.as_ref()).await
            })
            .await?;
        let structure = Structure {
            account,
            campaigns: campaigns.into_iter().map(|c| (c.id.clone(), c)).collect(),
            ad_sets: ad_sets.into_iter().map(|s| (s.id.clone(), s)).collect(),
            ads: ads.into_iter().map(|a| (a.id.clone(), a)).collect(),
        };
        let active = structure.ads.values().filter(|ad| ad.effective.delivers());
        let active = active.count() as u64;
        self.context
            .gate
            .learn_active_ads(client.ad_account(), active);
        let drifts = store.record_structure(id, &structure, read_at).await?;
        if !drifts.is_empty() {
            self.freeze_edited(&structure, drifts, read_at).await?;
        }
        Ok(())
    }

    /// An account that bills in another currency, or may not advertise, is not written to.
    async fn judge_account(&self, account: &Account) -> Result<(), Trouble> {
        let tenant = &self.context.tenant;
        let trouble = account.trouble(&tenant.id, tenant.currency);
        let Some(reason) = trouble else {
            self.context.note_vendor("Meta", Ok(())).await?;
            return Ok(());
        };
        self.context.suspend("Meta", &reason).await?;
        Err(Trouble::Hold(reason))
    }

    /// What somebody else changed is theirs: it is noted and left alone for a time.
    async fn freeze_edited(
        &self,
        structure: &Structure,
        drifts: Vec<Drift>,
        read_at: Timestamp,
    ) -> Result<(), Trouble> {
        let Context { store, tenant, .. } = self.context.as_ref();
        let activities = self.read_activities(read_at).await.unwrap_or_default();
        let until = time::add(read_at, tenant.limits.human_edit_quiet);
        for drift in drifts {
            let by = activities
                .iter()
                .filter(|a| a.object_id == drift.entity.id())
                .filter(|a| a.application_id.is_none() || a.application_id != tenant.app_id)
                .max_by_key(|a| a.at);
            let who = by.map_or("somebody", |a| a.actor.as_str());
            let (before, after) = match (&drift.budget, &drift.status) {
                (Some((before, after)), _) => (
                    before.map(Target::DailyBudget),
                    after.map(Target::DailyBudget),
                ),
                (None, Some((before, after))) => {
                    (Some(Target::Status(*before)), Some(Target::Status(*after)))
                }
                (None, None) => (None, None),
            };
            let show = |t: &Option<Target>| t.map_or_else(|| "none".to_owned(), |t| t.to_string());
            let detail = format!(
                "{who} changed it from {} to {}; left alone until {until:.0}",
                show(&before),
                show(&after)
            );
            tracing::info!(
                tenant.id = %tenant.id, entity = %drift.entity, detail = %detail,
                "{} was edited outside roasd: {detail}", drift.entity
            );
            store
                .freeze(&tenant.id, &drift.entity, until, &detail)
                .await?;
            let campaign = structure.campaign_of(&drift.entity).map(|c| c.id.clone());
            store
                .append_audit(&AuditEntry {
                    tenant: tenant.id.clone(),
                    at: read_at,
                    event: AuditEvent::ForeignEdit,
                    actor: by.map_or_else(|| "meta".to_owned(), |a| format!("meta:{}", a.actor)),
                    change: None,
                    entity: Some(drift.entity),
                    campaign,
                    before,
                    after,
                    rule: None,
                    detail,
                    vendor_request: None,
                })
                .await?;
        }
        Ok(())
    }

    async fn read_activities(&self, until: Timestamp) -> Result<Vec<Activity>, Trouble> {
        let client = &self.context.meta;
        let since = time::sub(until, self.context.tenant.schedule.sync_every * 3);
        self.pages(CallKind::Read, |permit, after| async move {
            client
                .activities(permit, since, until, after.as_ref())
                .await
        })
        .await
    }

    /// Reads a list to its end, one permit a page.
    async fn pages<T, F, Fut>(&self, kind: CallKind, read: F) -> Result<Vec<T>, Trouble>
    where
        F: Fn(crate::vendors::meta::Permit, Option<Cursor>) -> Fut,
        Fut: Future<Output = Result<Page<T>, VendorError>>,
    {
        let tenant = &self.context.tenant.id;
        let mut rows = Vec::new();
        let mut after = None;
        for _ in 0..PAGES {
            let permit = self.context.permit(kind).await.map_err(meta)?;
            let page = read(permit, after).await.map_err(meta)?;
            for fault in &page.faults {
                tracing::warn!(tenant.id = %tenant, %fault, "a row from Meta was left out: {fault}");
            }
            rows.extend(page.rows);
            after = page.next;
            if after.is_none() {
                return Ok(rows);
            }
        }
        Err(Trouble::Hold(format!(
            "a list from Meta did not end after {PAGES} pages"
        )))
    }
}

fn time_micros(span: SignedDuration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
