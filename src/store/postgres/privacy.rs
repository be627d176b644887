//! What is forgotten when its time is over.

use async_trait::async_trait;

use super::PostgresStore;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::privacy::{Forgettable, RetentionStore};
use crate::store::sql::privacy::{Bound, bound, forgets};

/// Deliveries that are over, by the index that a claim does not touch.
const FORGET_DELIVERIES: &str = "delete from inbox where id in (
     select id from inbox
     where tenant = $1 and settled_at is not null and status in ('settled', 'dropped')
       and received_at < $2
     order by received_at limit $3)";

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
        let statement = match what {
            Forgettable::Deliveries => FORGET_DELIVERIES,
            other => forgets(other),
        };
        let query = sqlx::query(statement).bind(tenant.as_str());
        let query = match bound(what, before) {
            Bound::Day(day) => query.bind(day),
            Bound::Instant(micros) => query.bind(micros),
        };
        let forgotten = tx.run(query.bind(i64::from(limit))).await?;
        tx.commit().await?;
        Ok(forgotten)
    }
}
