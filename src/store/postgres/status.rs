//! What the store tells of itself, and how it is closed.

use async_trait::async_trait;

use super::faults::fault;
use super::{PostgresStore, schema};
use crate::domain::change::ChangeState;
use crate::domain::ids::TenantId;
use crate::store::StoreError;
use crate::store::sql::status::change_counts;
use crate::store::sql::values::uncount;
use crate::store::status::{StatusStore, StoreStatus};

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

    async fn close(&self) {
        self.nudger.flush().await;
        self.pool.close().await;
        self.upkeep.close().await;
    }
}
