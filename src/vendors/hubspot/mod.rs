//! HubSpot's CRM API, as far as roasd reads it; nothing is written to the CRM.

use async_trait::async_trait;

use super::VendorError;
use crate::domain::deal::{Contact, Deal, PipelineStage};
use crate::domain::ids::{ContactId, DealId};
use crate::domain::time::Timestamp;

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

/// One tenant's HubSpot account. Each method keeps HubSpot's limits by itself (burst, search
/// per second) and follows inner paging; asked ids that did not come back are named.
#[async_trait]
pub trait HubSpot: Send + Sync {
    /// Reads the stages of every pipeline.
    async fn pipeline_stages(&self) -> Result<Vec<PipelineStage>, VendorError>;

    /// Makes one search call; [`walk`] decides which.
    async fn search_deals(&self, search: &walk::Search) -> Result<SearchPage, VendorError>;

    /// Reads up to any number of deals with their stage history and contacts. The second list
    /// holds asked ids that HubSpot does not have.
    async fn deals(&self, ids: &[DealId]) -> Result<(Vec<Deal>, Vec<DealId>), VendorError>;

    /// Reads the click facts of contacts. The second list holds asked ids that HubSpot does not
    /// have.
    async fn contacts(
        &self,
        ids: &[ContactId],
    ) -> Result<(Vec<Contact>, Vec<ContactId>), VendorError>;
}

/// Walks the search past its cap of 10,000 hits; pure.
pub mod walk {
    use crate::domain::ids::DealId;
    use crate::domain::time::Timestamp;

    /// One search to make.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Search {
        /// Deals changed between two times (both inclusive), oldest first.
        Window {
            /// From.
            from: Timestamp,
            /// To.
            to: Timestamp,
            /// Page cursor.
            after: Option<String>,
        },
        /// Deals changed at exactly one millisecond, with an id above one, by id.
        Instant {
            /// The millisecond.
            at: Timestamp,
            /// Ids above this one.
            above: Option<DealId>,
            /// Page cursor.
            after: Option<String>,
        },
    }
}

/// The time at which a search's hits were last changed at the latest.
#[must_use]
pub fn latest(page: &SearchPage) -> Option<Timestamp> {
    page.hits.iter().map(|hit| hit.modified_at).max()
}
