//! Syncs that a person asks for, scans of the CRM's whole list, and merged deals.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::attribution::Attribution;
use crate::domain::ids::{DealId, TenantId, VendorStageId};
use crate::domain::time::Timestamp;

/// What a sync has read of the CRM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncCounts {
    /// Deals that the whole list named.
    pub listed: u64,
    /// Deals that the search found changed.
    pub searched: u64,
    /// Deals read with their history.
    pub deals: u64,
    /// Of these, those that differed from what was known.
    pub changed: u64,
    /// Deals asked for that the CRM does not have any more.
    pub missing: u64,
    /// Contacts read.
    pub contacts: u64,
}

/// How far a sync that was asked for has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncProgress {
    /// What it is at, for people.
    pub phase: String,
    /// What it has read.
    pub counts: SyncCounts,
    /// Whether it is done.
    pub is_done: bool,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// A sync that a person asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// When; names the request too.
    pub asked_at: Timestamp,
    /// Who.
    pub asked_by: String,
    /// Whether the CRM's whole list is to be read, however old its deals.
    pub is_full: bool,
    /// When progress was last told; `None` while nobody has taken it up.
    pub told_at: Option<Timestamp>,
    /// When it was done.
    pub done_at: Option<Timestamp>,
    /// How far it is.
    pub progress: SyncProgress,
}

/// A deal as the CRM's list names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDeal {
    /// The deal.
    pub id: DealId,
    /// When it last changed.
    pub modified_at: Timestamp,
}

/// One page of the CRM's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedPage<'a> {
    /// Its deals.
    pub deals: &'a [ListedDeal],
    /// Whether it lists archived deals.
    pub is_archived: bool,
    /// When the scan began; names the scan too.
    pub scan: Timestamp,
    /// Unknown deals that last changed before this are of no interest.
    pub horizon: Timestamp,
}

/// Where to go on in a list by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'a> {
    /// Ids above this one; all without.
    pub after: Option<&'a DealId>,
    /// So many at most.
    pub limit: u32,
}

/// What syncs need besides the deals themselves.
#[async_trait]
pub trait SyncStore {
    /// Asks for a sync and returns the request's name. Asked for while one waits or runs, it is to be
    /// done once more from the beginning, and is full if either was.
    async fn ask_sync(
        &self,
        tenant: &TenantId,
        by: &str,
        is_full: bool,
        now: Timestamp,
    ) -> Result<Timestamp, StoreError>;

    /// The last request of a tenant, if there ever was one.
    async fn sync_request(&self, tenant: &TenantId) -> Result<Option<SyncRequest>, StoreError>;

    /// Tenants with a request that nobody has taken up yet, by id.
    async fn asked_syncs(&self) -> Result<Vec<TenantId>, StoreError>;

    /// Tells how far the request of this name is; `false`, and nothing written, when there is a newer
    /// one or it is done already.
    async fn tell_sync(
        &self,
        tenant: &TenantId,
        asked_at: Timestamp,
        progress: &SyncProgress,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Notes which deals the CRM's list names, and gives those to be read, by id: of a list of deals
    /// that are there the unknown ones, and those kept as archived or with another time of change; of
    /// a list of archived ones those kept as there.
    async fn note_listed(
        &self,
        tenant: &TenantId,
        page: &ListedPage<'_>,
    ) -> Result<Vec<DealId>, StoreError>;

    /// Deals kept as there that the scan begun at `scan` has not named and that were not read since,
    /// in order of id.
    async fn unlisted_deals(
        &self,
        tenant: &TenantId,
        scan: Timestamp,
        span: Span<'_>,
    ) -> Result<Vec<DealId>, StoreError>;

    /// Deals that are there, changed at or after `since` and stand in none of the stages `closed`, in
    /// order of id.
    async fn open_deals(
        &self,
        tenant: &TenantId,
        closed: &[VendorStageId],
        since: Timestamp,
        span: Span<'_>,
    ) -> Result<Vec<DealId>, StoreError>;

    /// Notes that deals became another one, as pairs of what was and what it is part of now. What is
    /// part of itself is passed over. The deal that is left becomes unsettled, once for each deal
    /// that became part of it.
    async fn record_merges(
        &self,
        tenant: &TenantId,
        merges: &[(DealId, DealId)],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// The credits of deals that became part of these, directly or by others, by the deal that is left
    /// and the one that was.
    async fn merged_credits(
        &self,
        tenant: &TenantId,
        deals: &[DealId],
    ) -> Result<Vec<(DealId, Attribution)>, StoreError>;

    /// Unsettles the deals that these became part of.
    async fn unsettle_merged(&self, tenant: &TenantId, deals: &[DealId]) -> Result<(), StoreError>;
}
