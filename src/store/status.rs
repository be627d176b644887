//! What the store tells of itself, and how it is closed.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::StoreError;
use super::inbox::InboxDepth;
use super::jobs::JobStatus;
use super::tenants::TenantHolds;
use crate::domain::change::ChangeState;
use crate::domain::ids::TenantId;
use crate::domain::safety::Trip;

/// A store that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// `sqlite` or `postgres`.
    pub backend: &'static str,
    /// Where it lies, without a password.
    pub place: String,
    /// The version of its schema.
    pub schema_version: i64,
    /// How large it is on disk, in bytes.
    pub bytes: u64,
}

/// What the store says of a tenant at a glance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantOverview {
    /// What it is held by.
    pub holds: TenantHolds,
    /// Its inbox.
    pub inbox: InboxDepth,
    /// Its changes by state; states without any are left out.
    pub changes: Vec<(ChangeState, u64)>,
    /// The last runs of its stages, by name.
    pub jobs: Vec<JobStatus>,
    /// The last trip of each breaker, by name, whether it is still on or not.
    pub breakers: Vec<Trip>,
}

/// The store itself.
#[async_trait]
pub trait StatusStore {
    /// Asks the database for an answer; an error means that it does not give one.
    async fn store_status(&self) -> Result<StoreStatus, StoreError>;

    /// How many changes of the tenant are in each state, by state; states without any are left out.
    async fn change_counts(&self, tenant: &TenantId)
    -> Result<Vec<(ChangeState, u64)>, StoreError>;

    /// What there is to say of each of `tenants` at one moment, by a handful of statements however
    /// many they are. One that the store knows nothing of is there too.
    async fn overview(
        &self,
        tenants: &[TenantId],
    ) -> Result<BTreeMap<TenantId, TenantOverview>, StoreError>;

    /// Ends work that was begun, folds the log into the database and closes it. Every later call is
    /// `Unavailable`.
    async fn close(&self);
}
