//! What other programs report of conversions and ads. It stands beside the ledger of deals.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::attribution::Attribution;
use crate::domain::ids::{AdId, TenantId};
use crate::domain::money::Money;
use crate::domain::time::Timestamp;

/// A conversion that somebody reported.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportedConversion {
    /// Its id, in the words of whoever reported it.
    pub id: String,
    /// What it is, likewise.
    pub kind: String,
    /// What it is said to be worth.
    pub value: Money,
    /// When it happened.
    pub at: Timestamp,
    /// When it was reported.
    pub reported_at: Timestamp,
    /// The credit; `None` while no ad has it. The visit is not kept.
    pub attribution: Option<Attribution>,
}

/// Who says what an ad brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportSource {
    /// A job that sums up a CRM.
    Crm,
    /// How a recommendation turned out.
    Feedback,
}

impl ReportSource {
    /// The name stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crm => "crm",
            Self::Feedback => "feedback",
        }
    }
}

/// What an ad is said to have brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedResult {
    /// The ad.
    pub ad: AdId,
    /// What it brought.
    pub value: Money,
    /// What it spent, where that is said; in the same currency.
    pub spend: Option<Money>,
    /// When it was reported.
    pub reported_at: Timestamp,
}

/// Reports.
#[async_trait]
pub trait ReportStore {
    /// Keeps a conversion; reported again it takes the place of the older report. The visit of its
    /// credit is left out.
    async fn record_reported_conversion(
        &self,
        tenant: &TenantId,
        conversion: &ReportedConversion,
    ) -> Result<(), StoreError>;

    /// Conversions, newest report first, `limit` at most; from behind the one that was reported then
    /// and has that id.
    async fn reported_conversions(
        &self,
        tenant: &TenantId,
        before: Option<&(Timestamp, String)>,
        limit: u32,
    ) -> Result<Vec<ReportedConversion>, StoreError>;

    /// Keeps what ads are said to have brought; of an ad and source the newest report stands. All of
    /// them or none.
    async fn record_reported_results(
        &self,
        tenant: &TenantId,
        source: ReportSource,
        results: &[ReportedResult],
    ) -> Result<(), StoreError>;

    /// What ads are said to have brought, by ad.
    async fn reported_results(
        &self,
        tenant: &TenantId,
        source: ReportSource,
    ) -> Result<Vec<ReportedResult>, StoreError>;
}
