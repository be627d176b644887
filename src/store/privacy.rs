//! What is forgotten when its time is over, so that a store that runs for years stays as large as
//! its business is, and nothing is kept of people for longer than was said.
//!
//! What roasd must be able to explain is not forgotten: decisions with their reasons, the revenue
//! ledger, changes and the audit log grow by what was decided and sold, and hold no personal data.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{ContactId, TenantId};
use crate::domain::time::Timestamp;
use crate::domain::visit::KeyedHash;

/// What can be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forgettable {
    /// Visits, by when they were made.
    Visits,
    /// Leads of lead forms, by when they were told of.
    Leads,
    /// What the layers of attribution answered, by when they were asked.
    Attempts,
    /// Settled and dropped deliveries, by when they came. What waits, is claimed or is in quarantine
    /// stays.
    Deliveries,
    /// Hourly figures, by their day. Daily ones stay.
    HourlyInsights,
    /// What daily figures were before they were restated, by when they were.
    PastInsights,
    /// What the policy saw, by when it decided: `inputs_json` is empty then. What it decided and why
    /// stays.
    Inputs,
    /// Runs of the stages, by when they ended. The last run of each stage stays known.
    Runs,
    /// Messages to people, sent or not, by when they were made.
    Messages,
}

impl Forgettable {
    /// Everything that can be forgotten.
    pub const ALL: [Self; 9] = [
        Self::Visits,
        Self::Leads,
        Self::Attempts,
        Self::Deliveries,
        Self::HourlyInsights,
        Self::PastInsights,
        Self::Inputs,
        Self::Runs,
        Self::Messages,
    ];

    /// The name told and logged.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Visits => "visits",
            Self::Leads => "leads",
            Self::Attempts => "attribution attempts",
            Self::Deliveries => "deliveries",
            Self::HourlyInsights => "hourly figures",
            Self::PastInsights => "restated figures",
            Self::Inputs => "inputs of decisions",
            Self::Runs => "runs",
            Self::Messages => "messages",
        }
    }
}

/// What the erasure of one contact came to: the proof of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// The contact.
    pub contact: ContactId,
    /// When it was erased last.
    pub at: Timestamp,
    /// Who asked for it first.
    pub asked_by: String,
    /// Rows of the contact, with click ids, first page and hashes.
    pub contacts: u64,
    /// Deals that no longer name the person or lead to the contact. Stages, amounts and credit stay.
    pub deals: u64,
    /// Visits that lost their hashes and click ids. The ad they came from stays.
    pub visits: u64,
    /// Leads of lead forms.
    pub leads: u64,
    /// Deliveries that lost their bytes.
    pub deliveries: u64,
}

/// Erasing one person on request.
#[async_trait]
pub trait ErasureStore {
    /// Erases a contact: its row, its links to deals and those deals' names, the hashes and click ids
    /// of its visits, its leads, and the bytes of settled and quarantined deliveries that name it.
    /// What the business earned stays, with the ad it is credited to. From then on the contact is
    /// left out when deals and contacts are recorded. Erasing again finds what came since, and adds
    /// it to the receipt.
    async fn erase_contact(
        &self,
        tenant: &TenantId,
        contact: &ContactId,
        asked_by: &str,
        now: Timestamp,
    ) -> Result<Erasure, StoreError>;

    /// The receipt of a contact's erasure.
    async fn erasure(
        &self,
        tenant: &TenantId,
        contact: &ContactId,
    ) -> Result<Option<Erasure>, StoreError>;

    /// Contacts with that mail address, in order of id.
    async fn contacts_of(
        &self,
        tenant: &TenantId,
        email: &KeyedHash,
    ) -> Result<Vec<ContactId>, StoreError>;

    /// Erases the leads with that mail address, whose contact may not be known. Returns how many.
    async fn erase_leads(&self, tenant: &TenantId, email: &KeyedHash) -> Result<u64, StoreError>;
}

/// Forgetting.
#[async_trait]
pub trait RetentionStore {
    /// Forgets up to `limit` of a tenant's rows from before `before`, the oldest first, and returns
    /// how many: fewer than `limit` means that no more are left. Rows of `before` itself stay.
    async fn forget(
        &self,
        tenant: &TenantId,
        what: Forgettable,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError>;
}
