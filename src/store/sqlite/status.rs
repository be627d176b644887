//! What the store tells of itself, and how it is closed.

use async_trait::async_trait;

use super::faults::fault;
use super::{SqliteStore, schema};
use crate::domain::change::ChangeState;
use crate::domain::ids::TenantId;
use crate::store::StoreError;
use crate::store::sql::status::change_counts;
use crate::store::sql::values::uncount;
use crate::store::status::{StatusStore, StoreStatus};

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
