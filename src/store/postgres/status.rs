//! What the store tells of itself, and how it is closed.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::faults::fault;
use super::{PostgresStore, column, schema};
use crate::domain::change::ChangeState;
use crate::domain::ids::TenantId;
use crate::store::StoreError;
use crate::store::sql::status::{OverviewRows, change_counts, overview};
use crate::store::sql::values::{corrupt, uncount};
use crate::store::status::{StatusStore, StoreStatus, TenantOverview};

#[async_trait]
impl StatusStore for PostgresStore {
    async fn store_status(&self) -> Result<StoreStatus, StoreError> {
        let doing = "asking the database";
        let mut tx = self.snapshot(doing).await?;
        let schema_version = schema::version(tx.raw()).await.map_err(fault(doing))?;
        let (bytes,): (i64,) = tx
            .one(sqlx::query_as(
                "select pg_database_size(current_database())",
            ))
            .await?;
        Ok(StoreStatus {
            backend: "postgres",
            place: self.server.place.clone(),
            schema_version,
            bytes: uncount(bytes),
        })
    }

    async fn change_counts(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(ChangeState, u64)>, StoreError> {
        let select = sqlx::query_as(
            "select status, count(*) from pending_ad_changes where tenant = $1 group by status",
        )
        .bind(tenant.as_str());
        let rows: Vec<(String, i64)> = self.list("counting changes", select).await?;
        change_counts(&rows)
    }

    async fn overview(
        &self,
        tenants: &[TenantId],
    ) -> Result<BTreeMap<TenantId, TenantOverview>, StoreError> {
        let names = column(tenants, TenantId::as_str);
        let mut tx = self.snapshot("looking over the tenants").await?;
        let daemon = sqlx::query(
            "select paused_by, paused_reason, paused_since from daemon_state where id = 1",
        );
        let states = sqlx::query(
            "select tenant, paused_by, paused_reason, paused_since, parked_by, parked_reason,
                 parked_since, suspended_by, suspended_reason, suspended_since
             from tenant_state where tenant = any ($1)",
        );
        let inboxes = sqlx::query(
            "select tenant, sum(is_open) as waiting,
                 min(case when is_open = 1 then received_at end) as oldest_at,
                 sum(1 - is_open) as quarantined
             from (
                 select tenant, received_at, 1 as is_open from inbox
                 where tenant = any ($1)
                     and settled_at is null and status in ('waiting', 'claimed')
                 union all
                 select tenant, received_at, 0 from inbox
                 where tenant = any ($1)
                     and reason is not null and status = 'quarantined') as entries
             group by tenant",
        );
        let changes = sqlx::query(
            "select tenant, status, count(*) as found from pending_ad_changes
             where tenant = any ($1) group by tenant, status",
        );
        let jobs = sqlx::query(
            "select tenant, job, last_success_at, last_end_at, detail from job_status
             where tenant = any ($1) order by tenant, job",
        );
        let breakers = sqlx::query(
            "select tenant, breaker, tripped_at, tripped_until, reason from breakers
             where tenant = any ($1) order by tenant, breaker",
        );
        let rows = OverviewRows {
            daemon: tx
                .row(daemon)
                .await?
                .ok_or_else(|| corrupt("daemon_state", "its one row is gone"))?,
            states: tx.rows(states.bind(&names)).await?,
            inboxes: tx.rows(inboxes.bind(&names)).await?,
            changes: tx.rows(changes.bind(&names)).await?,
            jobs: tx.rows(jobs.bind(&names)).await?,
            breakers: tx.rows(breakers.bind(&names)).await?,
        };
        overview(tenants, &rows)
    }

    async fn close(&self) {
        self.nudger.flush().await;
        self.pool.close().await;
        self.upkeep.close().await;
    }
}
