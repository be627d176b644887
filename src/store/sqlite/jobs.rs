//! Runs of the stages, and where each sync left off.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::jobs::{JobOutcome, JobStatus, JobStore};
use crate::store::sql::jobs::{PRUNE_EVERY, RUNS_KEPT, outcome_name, read};
use crate::store::sql::values::{clean, micros};

#[async_trait]
impl JobStore for SqliteStore {
    async fn record_job(
        &self,
        tenant: &TenantId,
        job: &str,
        started_at: Timestamp,
        ended_at: Timestamp,
        outcome: &JobOutcome,
        detail: &str,
    ) -> Result<(), StoreError> {
        let doing = "recording a run";
        let success = (*outcome == JobOutcome::Succeeded).then(|| micros(ended_at));
        let mut tx = self.write_for(tenant, doing).await?;
        let id: i64 = sqlx::query_scalar(
            "insert into job_execution_history (tenant, job, started_at, ended_at, outcome, detail)
             values ($1, $2, $3, $4, $5, $6) returning id",
        )
        .bind(tenant.as_str())
        .bind(job)
        .bind(micros(started_at))
        .bind(micros(ended_at))
        .bind(outcome_name(outcome))
        .bind(clean(detail))
        .fetch_one(&mut *tx)
        .await
        .map_err(fault(doing))?;
        sqlx::query(
            "insert into job_status (tenant, job, last_success_at, last_end_at, detail)
             values ($1, $2, $3, $4, $5)
             on conflict (tenant, job) do update set
                 last_success_at = case
                     when excluded.last_success_at is null then job_status.last_success_at
                     when job_status.last_success_at > excluded.last_success_at
                         then job_status.last_success_at
                     else excluded.last_success_at end,
                 detail = case when job_status.last_end_at > excluded.last_end_at
                     then job_status.detail else excluded.detail end,
                 last_end_at = case when job_status.last_end_at > excluded.last_end_at
                     then job_status.last_end_at else excluded.last_end_at end",
        )
        .bind(tenant.as_str())
        .bind(job)
        .bind(success)
        .bind(micros(ended_at))
        .bind(clean(detail))
        .execute(&mut *tx)
        .await
        .map_err(fault(doing))?;
        if id % PRUNE_EVERY == 0 {
            sqlx::query(
                "delete from job_execution_history
                 where tenant = $1 and job = $2 and id < (
                     select id from job_execution_history where tenant = $1 and job = $2
                     order by id desc limit 1 offset $3)",
            )
            .bind(tenant.as_str())
            .bind(job)
            .bind(RUNS_KEPT - 1)
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn job_status(&self, tenant: &TenantId) -> Result<Vec<JobStatus>, StoreError> {
        let rows = sqlx::query(
            "select job, last_success_at, last_end_at, detail from job_status
             where tenant = $1 order by job",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading the last runs"))?;
        rows.iter().map(read).collect()
    }

    async fn cursor(&self, tenant: &TenantId, name: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("select value from sync_cursors where tenant = $1 and name = $2")
            .bind(tenant.as_str())
            .bind(name)
            .fetch_optional(&self.readers)
            .await
            .map_err(fault("reading a cursor"))
    }

    async fn set_cursor(
        &self,
        tenant: &TenantId,
        name: &str,
        value: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(
            "insert into sync_cursors (tenant, name, value, updated_at) values ($1, $2, $3, $4)
             on conflict (tenant, name) do update set
                 value = excluded.value, updated_at = excluded.updated_at",
        )
        .bind(tenant.as_str())
        .bind(name)
        .bind(clean(value))
        .bind(micros(now));
        self.write_one(tenant, "moving a cursor", query).await?;
        Ok(())
    }
}
