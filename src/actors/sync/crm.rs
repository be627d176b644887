//! Reads one tenant's CRM: its pipelines, the deals that changed, and those that webhooks asked for,
//! each with its contacts.

use std::collections::BTreeSet;

use super::Trouble;
use crate::actors::context::Context;
use crate::domain::deal::Deal;
use crate::domain::ids::{ContactId, DealId};
use crate::domain::time::{self, SignedDuration};
use crate::vendors::VendorError;
use crate::vendors::hubspot::HubSpot;
use crate::vendors::hubspot::walk::Walk;

/// Deals read at a time.
const DEALS: u32 = 500;
/// The walk looks back this far behind its watermark: HubSpot's search index lags.
const OVERLAP: SignedDuration = time::minutes(10);
/// The walk stops this long before now, for the same reason.
const SETTLE: SignedDuration = time::minutes(2);
/// How far back a first walk goes.
const FIRST_WALK: SignedDuration = time::days(90);
/// The cursor that tells how far the walk has come.
const WATERMARK: &str = "crm.watermark";

fn hubspot(error: VendorError) -> Trouble {
    Trouble::Vendor("HubSpot", error)
}

/// The CRM of a tenant that has one.
pub(super) struct Crm<'a> {
    context: &'a Context,
    client: &'a dyn HubSpot,
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

    /// Finds every deal that changed since the last walk, and reads it. The watermark moves when
    /// the window is finished and stored, never before.
    pub(super) async fn walk(&self) -> Result<(), Trouble> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context;
        let now = clock.now();
        let watermark = store.cursor(&tenant.id, WATERMARK).await?;
        let from = match watermark.and_then(|text| text.parse::<i64>().ok()) {
            Some(micros) => time::sub(time::from_micros(micros), OVERLAP),
            None => time::sub(now, FIRST_WALK),
        };
        let to = time::sub(now, SETTLE);
        let mut walk = Walk::new(from, to);
        let mut changed = BTreeSet::new();
        while let Some(search) = walk.next() {
            let page = self.client.search_deals(&search).await.map_err(hubspot)?;
            changed.extend(walk.feed(&page));
        }
        let changed: Vec<DealId> = changed.into_iter().collect();
        for chunk in changed.chunks(DEALS as usize) {
            self.read_deals(chunk).await?;
        }
        let to = time::to_micros(to).to_string();
        store
            .set_cursor(&tenant.id, WATERMARK, &to, clock.now())
            .await?;
        self.context.note_vendor("HubSpot", Ok(())).await?;
        Ok(())
    }

    /// Reads the deals that webhooks asked for. Returns how many.
    pub(super) async fn read_requested(&self) -> Result<usize, Trouble> {
        let Context { store, tenant, .. } = self.context;
        let mut count = 0;
        loop {
            let wanted = store.requested_deals(&tenant.id, DEALS).await?;
            if wanted.is_empty() {
                return Ok(count);
            }
            count += wanted.len();
            self.read_deals(&wanted).await?;
        }
    }

    /// Contacts are kept before their deals: a deal that is in the store may be settled at once, and
    /// is credited by its contacts.
    async fn read_deals(&self, ids: &[DealId]) -> Result<(), Trouble> {
        let Context { store, tenant, .. } = self.context;
        let read_at = self.context.clock.now();
        let (deals, missing) = self.client.deals(ids).await.map_err(hubspot)?;
        let contacts: BTreeSet<ContactId> = deals
            .iter()
            .flat_map(|deal: &Deal| deal.contacts.iter().cloned())
            .collect();
        let contacts: Vec<ContactId> = contacts.into_iter().collect();
        if !contacts.is_empty() {
            let (contacts, _gone) = self.client.contacts(&contacts).await.map_err(hubspot)?;
            store
                .record_contacts(&tenant.id, &contacts, read_at)
                .await?;
        }
        store
            .record_deals(&tenant.id, &deals, &missing, read_at)
            .await?;
        Ok(())
    }
}
