//! Runs of the stages, and where each sync left off.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// It did its work.
    Succeeded,
    /// It met weather and will try again.
    Degraded,
    /// It failed.
    Failed,
}

/// The last of a stage's runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    /// The stage's name.
    pub job: String,
    /// When it last succeeded.
    pub last_success: Option<Timestamp>,
    /// When it last ended, however.
    pub last_end: Option<Timestamp>,
    /// What it last said.
    pub detail: String,
}

/// Runs and cursors.
#[async_trait]
pub trait JobStore {
    /// Records a run.
    async fn record_job(
        &self,
        tenant: &TenantId,
        job: &str,
        started_at: Timestamp,
        ended_at: Timestamp,
        outcome: &JobOutcome,
        detail: &str,
    ) -> Result<(), StoreError>;

    /// The last of each stage's runs, by stage.
    async fn job_status(&self, tenant: &TenantId) -> Result<Vec<JobStatus>, StoreError>;

    /// Where a sync left off.
    async fn cursor(&self, tenant: &TenantId, name: &str) -> Result<Option<String>, StoreError>;

    /// Moves a cursor.
    async fn set_cursor(
        &self,
        tenant: &TenantId,
        name: &str,
        value: &str,
        now: Timestamp,
    ) -> Result<(), StoreError>;
}
