//! What is forgotten when its time is over.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::privacy::{Forgettable, RetentionStore};
use crate::store::sql::privacy::{Bound, bound, forgets};

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn forget(
        &self,
        tenant: &TenantId,
        what: Forgettable,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let doing = "forgetting what is old";
        let mut tx = self.write_for(tenant, doing).await?;
        let query = sqlx::query(forgets(what)).bind(tenant.as_str());
        let query = match bound(what, before) {
            Bound::Day(day) => query.bind(day),
            Bound::Instant(micros) => query.bind(micros),
        };
        let done = query
            .bind(i64::from(limit))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(done.rows_affected())
    }
}
