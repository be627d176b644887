//! What the store tells of itself, and how it is closed.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::faults::fault;
use super::{SqliteStore, schema};
use crate::domain::change::ChangeState;
use crate::domain::ids::TenantId;
use crate::store::StoreError;
use crate::store::sql::status::{OverviewRows, change_counts, overview};
use crate::store::sql::values::uncount;
use crate::store::status::{StatusStore, StoreStatus, TenantOverview};

#[async_trait]
impl StatusStore for SqliteStore {
    async fn store_status(&self) -> Result<StoreStatus, StoreError> {
        let doing = "asking the database";
        let mut tx = self.snapshot(doing).await?;
        let schema_version = schema::version(&mut tx).await.map_err(fault(doing))?;
        let pages: i64 = sqlx::query_scalar("pragma page_count")
            .fetch_one(&mut *tx)
            .await
            .map_err(fault(doing))?;
        let page: i64 = sqlx::query_scalar("pragma page_size")
            .fetch_one(&mut *tx)
            .await
            .map_err(fault(doing))?;
        Ok(StoreStatus {
            backend: "sqlite",
            place: format!("sqlite:{}", self.path.display()),
            schema_version,
            bytes: uncount(pages).saturating_mul(uncount(page)),
        })
    }

    async fn change_counts(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(ChangeState, u64)>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "select status, count(*) from pending_ad_changes where tenant = $1 group by status",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("counting changes"))?;
        change_counts(&rows)
    }

    async fn overview(
        &self,
        tenants: &[TenantId],
    ) -> Result<BTreeMap<TenantId, TenantOverview>, StoreError> {
        let doing = "looking over the tenants";
        let names: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
        let names = serde_json::json!(names).to_string();
        let mut tx = self.snapshot(doing).await?;
        let daemon = sqlx::query("select * from daemon_state where id = 1");
        let states = sqlx::query(
            "select tenant, paused_by, paused_reason, paused_since, parked_by, parked_reason,
                 parked_since, suspended_by, suspended_reason, suspended_since
             from tenant_state where tenant in (select value from json_each($1))",
        );
        let inboxes = sqlx::query(
            "select tenant, sum(is_open) as waiting,
                 min(case when is_open = 1 then received_at end) as oldest_at,
                 sum(1 - is_open) as quarantined
             from (
                 select tenant, received_at, 1 as is_open from inbox
                 where tenant in (select value from json_each($1))
                     and settled_at is null and status in ('waiting', 'claimed')
                 union all
                 select tenant, received_at, 0 from inbox
                 where tenant in (select value from json_each($1))
                     and reason is not null and status = 'quarantined') as entries
             group by tenant",
        );
        let changes = sqlx::query(
            "select tenant, status, count(*) as found from pending_ad_changes
             where tenant in (select value from json_each($1)) group by tenant, status",
        );
        let jobs = sqlx::query(
            "select tenant, job, last_success_at, last_end_at, detail from job_status
             where tenant in (select value from json_each($1)) order by tenant, job",
        );
        let breakers = sqlx::query(
            "select tenant, breaker, tripped_at, tripped_until, reason from breakers
             where tenant in (select value from json_each($1)) order by tenant, breaker",
        );
        let told = fault(doing);
        let rows = OverviewRows {
            daemon: daemon.fetch_one(&mut *tx).await.map_err(told)?,
            states: states
                .bind(&names)
                .fetch_all(&mut *tx)
                .await
                .map_err(told)?,
            inboxes: inboxes
                .bind(&names)
                .fetch_all(&mut *tx)
                .await
                .map_err(told)?,
            changes: changes
                .bind(&names)
                .fetch_all(&mut *tx)
                .await
                .map_err(told)?,
            jobs: jobs.bind(&names).fetch_all(&mut *tx).await.map_err(told)?,
            breakers: breakers
                .bind(&names)
                .fetch_all(&mut *tx)
                .await
                .map_err(told)?,
        };
        overview(tenants, &rows)
    }

    async fn close(&self) {
        self.nudges.close();
        self.readers.close().await;
        // The last connection to close folds the log into the file by itself; doing it here too
        // leaves a whole file even while another process still has it open. Failing costs nothing:
        // the log is read at the next start.
        if let Ok(mut conn) = self.writer.acquire().await {
            let _ = sqlx::query("pragma wal_checkpoint(truncate)")
                .execute(&mut *conn)
                .await;
        }
        self.writer.close().await;
    }
}
