//! What the store tells of itself, and how it is closed.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::change::ChangeState;
use crate::domain::ids::TenantId;

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

/// The store itself.
#[async_trait]
pub trait StatusStore {
    /// Asks the database for an answer; an error means that it does not give one.
    async fn store_status(&self) -> Result<StoreStatus, StoreError>;

    /// How many changes of the tenant are in each state, by state; states without any are left out.
    async fn change_counts(&self, tenant: &TenantId)
    -> Result<Vec<(ChangeState, u64)>, StoreError>;

    /// Ends work that was begun, folds the log into the database and closes it. Every later call is
    /// `Unavailable`.
    async fn close(&self);
}
