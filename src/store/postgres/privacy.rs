//! What is forgotten when its time is over.

use async_trait::async_trait;

use super::PostgresStore;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::privacy::{Forgettable, RetentionStore};
use crate::store::sql::privacy::{Bound, bound, forgets};

#[async_trait]
impl RetentionStore for PostgresStore {
    async fn forget(
        &self,
        tenant: &TenantId,
        what: Forgettable,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let mut tx = self.write_for(tenant, "forgetting what is old").await?;
        let query = sqlx::query(forgets(what)).bind(tenant.as_str());
        let query = match bound(what, before) {
            Bound::Day(day) => query.bind(day),
            Bound::Instant(micros) => query.bind(micros),
        };
        let forgotten = tx.run(query.bind(i64::from(limit))).await?;
        tx.commit().await?;
        Ok(forgotten)
    }
}
