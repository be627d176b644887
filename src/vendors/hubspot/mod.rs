//! HubSpot's CRM API, as far as roasd reads it; nothing is written to the CRM.

pub mod client;
pub mod events;
mod fields;
pub mod limits;
pub mod signature;
pub mod walk;
mod wire;

use async_trait::async_trait;

use super::VendorError;
use crate::domain::deal::{Contact, Deal, PipelineStage};
use crate::domain::ids::{ContactId, DealId};
use crate::domain::time::Timestamp;
pub use wire::ClickProperties;

/// A deal id with the time it last changed, as a search gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedDeal {
    /// The deal.
    pub id: DealId,
    /// `hs_lastmodifieddate`.
    pub modified_at: Timestamp,
}

/// One answer of the search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPage {
    /// Hits in all, also those beyond the first 10,000.
    pub total: u64,
    /// This page's hits, in the order asked for.
    pub hits: Vec<ChangedDeal>,
    /// Where the next page begins.
    pub after: Option<String>,
}

/// One page of the list of all deals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// Its deals.
    pub deals: Vec<ChangedDeal>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<String>,
}

/// A deal became part of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Merge {
    /// The deal that is no more.
    pub from: DealId,
    /// What it is part of; it can be a third deal that was made for it.
    pub into: DealId,
}

/// What came of deals that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundDeals {
    /// Deals with their stage history and contacts.
    pub deals: Vec<Deal>,
    /// Asked ids that HubSpot does not have.
    pub missing: Vec<DealId>,
    /// Merges that the deals tell of.
    pub merged: Vec<Merge>,
}

/// One tenant's HubSpot account. Each method keeps HubSpot's limits by itself (burst, search
/// per second), makes as many calls at once as goes well, and follows inner paging; asked ids that did
/// not come back are named.
#[async_trait]
pub trait HubSpot: Send + Sync {
    /// Reads the stages of every pipeline.
    async fn pipeline_stages(&self) -> Result<Vec<PipelineStage>, VendorError>;

    /// Makes one search call; [`walk`] decides which.
    async fn search_deals(&self, search: &walk::Search) -> Result<SearchPage, VendorError>;

    /// Reads one page of the list of all deals, of those that are there or of those that are
    /// archived; no cap ends it.
    async fn list_deals(
        &self,
        after: Option<&str>,
        is_archived: bool,
    ) -> Result<ListPage, VendorError>;

    /// Reads up to any number of deals.
    async fn deals(&self, ids: &[DealId]) -> Result<FoundDeals, VendorError>;

    /// Reads the click facts of contacts. The second list holds asked ids that HubSpot does not
    /// have.
    async fn contacts(
        &self,
        ids: &[ContactId],
    ) -> Result<(Vec<Contact>, Vec<ContactId>), VendorError>;
}

/// The time at which a search's hits were last changed at the latest.
#[must_use]
pub fn latest(page: &SearchPage) -> Option<Timestamp> {
    page.hits.iter().map(|hit| hit.modified_at).max()
}
