//! Runs of the stages, and where each sync left off.

use async_trait::async_trait;

use super::PostgresStore;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::jobs::{JobOutcome, JobStatus, JobStore};
use crate::store::sql::jobs::{PRUNE_EVERY, RUNS_KEPT, outcome_name, read};
use crate::store::sql::values::{clean, micros};

#[async_trait]
impl JobStore for PostgresStore {
    async fn record_job(
        &self,
        tenant: &TenantId,
        job: &str,
        started_at: Timestamp,
        ended_at: Timestamp,
        outcome: &JobOutcome,
        detail: &str,
    ) -> Result<(), StoreError> {
        let success = (*outcome == JobOutcome::Succeeded).then(|| micros(ended_at));
        let mut tx = self.write_for(tenant, "recording a run").await?;
        let (id,): (i64,) = tx
            .one(
                sqlx::query_as(
                    "insert into job_execution_history (tenant, job, started_at, ended_at, outcome,
                         detail)
                     values ($1, $2, $3, $4, $5, $6) returning id",
                )
                .bind(tenant.as_str())
                .bind(clean(job))
                .bind(micros(started_at))
                .bind(micros(ended_at))
                .bind(outcome_name(outcome))
                .bind(clean(detail)),
            )
            .await?;
        tx.run(
            sqlx::query(
                "insert into job_status (tenant, job, last_success_at, last_end_at, detail)
                 values ($1, $2, $3, $4, $5)
                 on conflict (tenant, job) do update set
                     last_success_at = greatest(job_status.last_success_at,
                         excluded.last_success_at),
                     detail = case when job_status.last_end_at > excluded.last_end_at
                         then job_status.detail else excluded.detail end,
                     last_end_at = greatest(job_status.last_end_at, excluded.last_end_at)",
            )
            .bind(tenant.as_str())
            .bind(clean(job))
            .bind(success)
            .bind(micros(ended_at))
            .bind(clean(detail)),
        )
        .await?;
        if id % PRUNE_EVERY == 0 {
            tx.run(
                sqlx::query(
                    "delete from job_execution_history
                     where tenant = $1 and job = $2 and id < (
                         select id from job_execution_history where tenant = $1 and job = $2
                         order by id desc limit 1 offset $3)",
                )
                .bind(tenant.as_str())
                .bind(clean(job))
                .bind(RUNS_KEPT - 1),
            )
            .await?;
        }
        tx.commit().await
    }

    async fn job_status(&self, tenant: &TenantId) -> Result<Vec<JobStatus>, StoreError> {
        let query = sqlx::query(
            "select job, last_success_at, last_end_at, detail from job_status
             where tenant = $1 order by job",
        )
        .bind(tenant.as_str());
        let rows = self.rows("reading the last runs", query).await?;
        rows.iter().map(read).collect()
    }

    async fn cursor(&self, tenant: &TenantId, name: &str) -> Result<Option<String>, StoreError> {
        let select =
            sqlx::query_as("select value from sync_cursors where tenant = $1 and name = $2")
                .bind(tenant.as_str())
                .bind(clean(name));
        let found: Vec<(String,)> = self.list("reading a cursor", select).await?;
        Ok(found.into_iter().next().map(|(value,)| value))
    }

    async fn set_cursor(
        &self,
        tenant: &TenantId,
        name: &str,
        value: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write_for(tenant, "moving a cursor").await?;
        tx.run(
            sqlx::query(
                "insert into sync_cursors (tenant, name, value, updated_at) values ($1, $2, $3, $4)
                 on conflict (tenant, name) do update set
                     value = excluded.value, updated_at = excluded.updated_at",
            )
            .bind(tenant.as_str())
            .bind(clean(name))
            .bind(clean(value))
            .bind(micros(now)),
        )
        .await?;
        tx.commit().await
    }
}
