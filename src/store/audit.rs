//! The audit log of each tenant: a chain, only ever added to.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::audit::{AuditEntry, ChainedEntry};
use crate::domain::ids::{ChangeId, TenantId};

/// The audit log.
#[async_trait]
pub trait AuditStore {
    /// Adds a line to its tenant's chain.
    async fn append_audit(&self, entry: &AuditEntry) -> Result<ChainedEntry, StoreError>;

    /// Lines of a tenant with a sequence above `after`, oldest first.
    async fn audit_lines(
        &self,
        tenant: &TenantId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<ChainedEntry>, StoreError>;

    /// The lines of one change, oldest first.
    async fn audit_of_change(
        &self,
        tenant: &TenantId,
        change: &ChangeId,
    ) -> Result<Vec<ChainedEntry>, StoreError>;
}
