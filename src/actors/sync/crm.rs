//! Reads one tenant's CRM: its pipelines, the deals that changed, those that webhooks asked for and
//! those that are open, each with its contacts.
//!
//! Long reads are done in parts, each short enough that what waits behind it does not wait long. The
//! place of a read is in the store, behind what it has brought there, so that a read that was broken
//! off goes on where it was.

use std::collections::BTreeSet;

use super::Trouble;
use crate::actors::context::Context;
use crate::clock::together;
use crate::domain::ids::{ContactId, DealId, VendorStageId};
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::store::syncs::{Span, SyncCounts};
use crate::vendors::VendorError;
use crate::vendors::hubspot::HubSpot;
use crate::vendors::hubspot::walk::Walk;

/// Deals read at a time.
pub(super) const DEALS: u32 = 500;
/// Deals that one part of a long read brings, about.
pub(super) const PART: u64 = 2_000;
/// The walk looks back this far behind its watermark: HubSpot's search index lags.
const OVERLAP: SignedDuration = time::minutes(10);
/// The walk stops this long before now, for the same reason.
const SETTLE: SignedDuration = time::minutes(2);
/// How far back a first walk goes.
const FIRST_WALK: SignedDuration = time::days(90);
/// The cursor that tells how far the walks have come.
const WATERMARK: &str = "crm.watermark";
/// The cursor of a walk that is under way; empty without one.
const WALK: &str = "crm.walk";
/// The cursor of a reading of open deals that is under way; empty without one.
const OPEN: &str = "crm.open";

pub(super) fn hubspot(error: VendorError) -> Trouble {
    Trouble::Vendor("HubSpot", error)
}

/// The beginning of what is of interest at `now`: deals that did not change since are read only when
/// somebody asks for all.
pub(super) fn horizon(now: Timestamp) -> Timestamp {
    time::sub(now, FIRST_WALK)
}

/// Whether a read has come to its end, or to the end of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// There is no more.
    End,
    /// There is more to be read.
    Part,
}

/// The CRM of a tenant that has one.
pub(super) struct Crm<'a> {
    pub(super) context: &'a Context,
    pub(super) client: &'a dyn HubSpot,
}

impl<'a> Crm<'a> {
    /// The CRM of the tenant; it may do without.
    pub(super) fn of(context: &'a Context) -> Option<Self> {
        let client = context.hubspot.as_deref()?;
        Some(Self { context, client })
    }

    pub(super) async fn read_pipelines(&self) -> Result<(), Trouble> {
        let Context { store, tenant, .. } = self.context;
        let stages = self.client.pipeline_stages().await.map_err(hubspot)?;
        self.context.note_vendor("HubSpot", Ok(())).await?;
        let now = self.context.clock.now();
        store
            .record_pipeline_stages(&tenant.id, &stages, now)
            .await?;
        Ok(())
    }

    /// Finds the deals that changed since the last walk and reads them page by page, the next page
    /// searched while one is read. The watermark moves when the window is finished and stored.
    pub(super) async fn walk(&self, counts: &mut SyncCounts) -> Result<Reached, Trouble> {
        let clock = &*self.context.clock;
        let resumed = self.place(WALK).await?.as_deref().and_then(Walk::resumed);
        let mut is_noted = resumed.is_some();
        let mut walk = match resumed {
            Some(walk) => walk,
            None => self.new_walk().await?,
        };
        let begun = counts.searched;
        let mut search = walk.next();
        let mut page = match &search {
            Some(search) => Some(self.client.search_deals(search).await.map_err(hubspot)?),
            None => None,
        };
        while let Some(found) = page.take() {
            let ids = walk.feed(&found);
            counts.searched += ids.len() as u64;
            let is_part = counts.searched - begun >= PART;
            search = walk.next();
            let ahead = async {
                match &search {
                    Some(search) if !is_part => self.client.search_deals(search).await.map(Some),
                    Some(_) | None => Ok(None),
                }
            };
            let read = self.read_deals(&ids, counts);
            let (read, ahead) = together::both(clock, read, ahead).await;
            read?;
            if let Some(place) = walk.place() {
                self.set_place(WALK, &place).await?;
                is_noted = true;
            }
            page = ahead.map_err(hubspot)?;
        }
        if search.is_some() {
            return Ok(Reached::Part);
        }
        let to = time::to_micros(walk.end()).to_string();
        self.set_place(WATERMARK, &to).await?;
        if is_noted {
            self.set_place(WALK, "").await?;
        }
        self.context.note_vendor("HubSpot", Ok(())).await?;
        Ok(Reached::End)
    }

    async fn new_walk(&self) -> Result<Walk, Trouble> {
        let now = self.context.clock.now();
        let watermark = self.place(WATERMARK).await?;
        let from = match watermark.and_then(|text| text.parse::<i64>().ok()) {
            Some(micros) => time::sub(time::from_micros(micros), OVERLAP),
            None => horizon(now),
        };
        Ok(Walk::new(from, time::sub(now, SETTLE)))
    }

    /// Reads the open deals anew: that a contact was put to a deal, or learned of its click, need
    /// not have changed the deal.
    pub(super) async fn read_open(&self, counts: &mut SyncCounts) -> Result<Reached, Trouble> {
        let Context { store, tenant, .. } = self.context;
        let stages = store.pipeline_stages(&tenant.id).await?;
        let by_crm = stages.into_iter().filter(|s| s.is_won || s.is_lost);
        let by_owner = tenant.stages.all().iter().filter(|s| s.is_won || s.is_lost);
        let closed: BTreeSet<VendorStageId> = by_crm
            .map(|stage| stage.id)
            .chain(by_owner.flat_map(|stage| stage.vendor_ids.clone()))
            .collect();
        let closed: Vec<VendorStageId> = closed.into_iter().collect();
        let since = horizon(self.context.clock.now());
        let mut after = self.place(OPEN).await?.and_then(|id| DealId::new(id).ok());
        let begun = counts.deals;
        while counts.deals - begun < PART {
            let span = Span {
                after: after.as_ref(),
                limit: DEALS,
            };
            let ids = store.open_deals(&tenant.id, &closed, since, span).await?;
            let Some(last) = ids.last() else {
                self.set_place(OPEN, "").await?;
                return Ok(Reached::End);
            };
            self.read_deals(&ids, counts).await?;
            self.set_place(OPEN, last.as_str()).await?;
            after = Some(last.clone());
        }
        Ok(Reached::Part)
    }

    /// Reads the deals that webhooks asked for. Returns how many.
    pub(super) async fn read_requested(&self, counts: &mut SyncCounts) -> Result<usize, Trouble> {
        let Context { store, tenant, .. } = self.context;
        let mut count = 0;
        loop {
            let wanted = store.requested_deals(&tenant.id, DEALS).await?;
            if wanted.is_empty() {
                return Ok(count);
            }
            count += wanted.len();
            self.read_deals(&wanted, counts).await?;
        }
    }

    /// Contacts are kept before their deals: a deal that is in the store may be settled at once, and
    /// is credited by its contacts.
    pub(super) async fn read_deals(
        &self,
        ids: &[DealId],
        counts: &mut SyncCounts,
    ) -> Result<(), Trouble> {
        if ids.is_empty() {
            return Ok(());
        }
        let Context { store, tenant, .. } = self.context;
        let read_at = self.context.clock.now();
        let found = self.client.deals(ids).await.map_err(hubspot)?;
        let contacts: BTreeSet<ContactId> = found
            .deals
            .iter()
            .flat_map(|deal| deal.contacts.iter().cloned())
            .collect();
        let contacts: Vec<ContactId> = contacts.into_iter().collect();
        if !contacts.is_empty() {
            let (contacts, _gone) = self.client.contacts(&contacts).await.map_err(hubspot)?;
            store
                .record_contacts(&tenant.id, &contacts, read_at)
                .await?;
            counts.contacts += contacts.len() as u64;
        }
        counts.changed += store
            .record_deals(&tenant.id, &found.deals, &found.missing, read_at)
            .await?;
        counts.deals += found.deals.len() as u64;
        counts.missing += found.missing.len() as u64;
        if !found.merged.is_empty() {
            let merges = found.merged.into_iter().map(|m| (m.from, m.into));
            let merges: Vec<_> = merges.collect();
            store.record_merges(&tenant.id, &merges, read_at).await?;
            // What was merged is gone, whatever became of the word of it.
            let gone = merges.into_iter().map(|(from, _)| from);
            let gone: Vec<DealId> = gone.filter(|id| !ids.contains(id)).collect();
            self.archive_merged(&gone).await?;
        }
        Ok(())
    }

    /// Reads what was merged, of which most often nothing is there any more.
    async fn archive_merged(&self, ids: &[DealId]) -> Result<(), Trouble> {
        let Context { store, tenant, .. } = self.context;
        if ids.is_empty() {
            return Ok(());
        }
        let read_at = self.context.clock.now();
        let found = self.client.deals(ids).await.map_err(hubspot)?;
        store
            .record_deals(&tenant.id, &found.deals, &found.missing, read_at)
            .await?;
        Ok(())
    }

    /// What a cursor says; `None` for one that is empty too.
    pub(super) async fn place(&self, name: &str) -> Result<Option<String>, Trouble> {
        let Context { store, tenant, .. } = self.context;
        let place = store.cursor(&tenant.id, name).await?;
        Ok(place.filter(|text| !text.is_empty()))
    }

    pub(super) async fn set_place(&self, name: &str, place: &str) -> Result<(), Trouble> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context;
        store
            .set_cursor(&tenant.id, name, place, clock.now())
            .await?;
        Ok(())
    }
}
