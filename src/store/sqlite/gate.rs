//! The gate's memory.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::store::StoreError;
use crate::store::gate::{GateRow, GateStore};
use crate::store::sql::gate::read;
use crate::store::sql::values::{clean, clean_opt, micros, micros_opt};

#[async_trait]
impl GateStore for SqliteStore {
    async fn save_gate(&self, rows: &[GateRow]) -> Result<(), StoreError> {
        let doing = "keeping the gate's state";
        let mut tx = self.write(doing).await?;
        for row in rows {
            sqlx::query(
                "insert into gate_state (scope, blocked_until, reason, usage_percent, tier, seen_at)
                 values ($1, $2, $3, $4, $5, $6)
                 on conflict (scope) do update set
                     blocked_until = excluded.blocked_until, reason = excluded.reason,
                     usage_percent = excluded.usage_percent, tier = excluded.tier,
                     seen_at = excluded.seen_at",
            )
            .bind(clean(&row.scope))
            .bind(micros_opt(row.blocked_until))
            .bind(clean(&row.reason))
            .bind(row.usage_percent)
            .bind(clean_opt(row.tier.as_deref()))
            .bind(micros(row.seen_at))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn load_gate(&self) -> Result<Vec<GateRow>, StoreError> {
        let rows = sqlx::query("select * from gate_state order by scope")
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading the gate's state"))?;
        rows.iter().map(read).collect()
    }
}
