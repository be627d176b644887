//! What is forgotten when its time is over, so that a store that runs for years stays as large as
//! its business is, and nothing is kept of people for longer than was said.
//!
//! What roasd must be able to explain is not forgotten: decisions with their reasons, the revenue
//! ledger, changes and the audit log grow by what was decided and sold, and hold no personal data.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;

/// What can be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forgettable {
    /// Visits, by when they were made.
    Visits,
    /// What the layers of attribution answered, by when they were asked.
    Attempts,
    /// Settled and dropped deliveries, by when they came. What waits, is claimed or is in quarantine
    /// stays.
    Deliveries,
    /// Hourly figures, by their day. Daily ones stay.
    HourlyInsights,
    /// What the policy saw, by when it decided: `inputs_json` is empty then. What it decided and why
    /// stays.
    Inputs,
    /// Runs of the stages, by when they ended. The last run of each stage stays known.
    Runs,
}

impl Forgettable {
    /// Everything that can be forgotten.
    pub const ALL: [Self; 6] = [
        Self::Visits,
        Self::Attempts,
        Self::Deliveries,
        Self::HourlyInsights,
        Self::Inputs,
        Self::Runs,
    ];

    /// The name told and logged.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Visits => "visits",
            Self::Attempts => "attribution attempts",
            Self::Deliveries => "deliveries",
            Self::HourlyInsights => "hourly figures",
            Self::Inputs => "inputs of decisions",
            Self::Runs => "runs",
        }
    }
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
