//! Deals, contacts and the stages they passed.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::attribution::Attribution;
use crate::domain::deal::{Contact, Deal, PipelineStage};
use crate::domain::ids::{ContactId, DealId, TenantId};
use crate::domain::time::Timestamp;

/// A deal whose ledger may not say what the deal says.
#[derive(Debug, Clone, PartialEq)]
pub struct UnsettledDeal {
    /// The deal.
    pub deal: Deal,
    /// Which state of the deal this is; settling names it, so that a newer one is not missed.
    pub revision: i64,
    /// The credit it has so far.
    pub attribution: Option<Attribution>,
}

/// A deal with its credit, for the decision model.
#[derive(Debug, Clone, PartialEq)]
pub struct CreditedDeal {
    /// The deal.
    pub deal: Deal,
    /// Its credit, if any.
    pub attribution: Option<Attribution>,
}

/// The CRM's deals, as last read.
#[async_trait]
pub trait CrmStore {
    /// Asks for deals to be read from the CRM; asking twice is asking once.
    async fn request_deals(
        &self,
        tenant: &TenantId,
        deals: &[DealId],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Deals asked for and not yet recorded, longest waiting first.
    async fn requested_deals(
        &self,
        tenant: &TenantId,
        limit: u32,
    ) -> Result<Vec<DealId>, StoreError>;

    /// Records deals as the CRM has them now, with every stage they passed (a stage entered at a
    /// time is kept once, whatever brought it), and strikes them off the requests made up to
    /// `read_at` (when the reading began). `missing` are asked-for deals that the CRM does not have: known ones are marked
    /// archived. Returns how many deals differ from before
    /// in more than the time of their last change. A read older than the one kept changes
    /// nothing.
    async fn record_deals(
        &self,
        tenant: &TenantId,
        deals: &[Deal],
        missing: &[DealId],
        read_at: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Records contacts as the CRM has them now. The deals of a contact whose facts changed become
    /// unsettled.
    async fn record_contacts(
        &self,
        tenant: &TenantId,
        contacts: &[Contact],
        read_at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Deals of these contacts, in order of id.
    async fn deals_of(
        &self,
        tenant: &TenantId,
        contacts: &[ContactId],
    ) -> Result<Vec<DealId>, StoreError>;

    /// Contacts of the ids asked for that are known, in order of id.
    async fn contacts(
        &self,
        tenant: &TenantId,
        ids: &[ContactId],
    ) -> Result<Vec<Contact>, StoreError>;

    /// Deals that changed since they were settled, or whose retry is due, in order of id.
    async fn unsettled_deals(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<UnsettledDeal>, StoreError>;

    /// Makes the deals after `after` (from the first on without one) unsettled, in order of id,
    /// `limit` at most; those that are unsettled already stay so. Returns the last of them; `None`
    /// when none comes after.
    async fn unsettle_deals(
        &self,
        tenant: &TenantId,
        after: Option<&DealId>,
        limit: u32,
    ) -> Result<Option<DealId>, StoreError>;

    /// One deal with its credit.
    async fn deal(
        &self,
        tenant: &TenantId,
        id: &DealId,
    ) -> Result<Option<CreditedDeal>, StoreError>;

    /// Deals made at or after `since`, with their credit, in order of id.
    async fn deals_since(
        &self,
        tenant: &TenantId,
        since: Timestamp,
    ) -> Result<Vec<CreditedDeal>, StoreError>;

    /// When the deals that were made at or after `since` and are not archived were made, in order of
    /// time.
    async fn deals_made_since(
        &self,
        tenant: &TenantId,
        since: Timestamp,
    ) -> Result<Vec<Timestamp>, StoreError>;

    /// Replaces what is known of the pipelines' stages.
    async fn record_pipeline_stages(
        &self,
        tenant: &TenantId,
        stages: &[PipelineStage],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// The pipelines' stages, as last read, by pipeline and order.
    async fn pipeline_stages(&self, tenant: &TenantId) -> Result<Vec<PipelineStage>, StoreError>;
}
