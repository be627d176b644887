//! The gate's memory.

use async_trait::async_trait;

use super::{PostgresStore, column};
use crate::store::StoreError;
use crate::store::gate::{GateRow, GateStore};
use crate::store::sql::gate::read;
use crate::store::sql::last_of_each;
use crate::store::sql::values::{clean, clean_opt, micros, micros_opt};

#[async_trait]
impl GateStore for PostgresStore {
    async fn save_gate(&self, rows: &[GateRow]) -> Result<(), StoreError> {
        let rows = last_of_each(rows, |row| clean(&row.scope));
        let mut tx = self.write("keeping the gate's state").await?;
        tx.run(
            sqlx::query(
                "insert into gate_state (scope, blocked_until, reason, usage_percent, tier, seen_at)
                 select * from unnest($1::text[], $2::bigint[], $3::text[],
                     $4::double precision[], $5::text[], $6::bigint[]) as new (scope)
                 order by scope
                 on conflict (scope) do update set
                     blocked_until = excluded.blocked_until, reason = excluded.reason,
                     usage_percent = excluded.usage_percent, tier = excluded.tier,
                     seen_at = excluded.seen_at",
            )
            .bind(column(&rows, |row| clean(&row.scope)))
            .bind(column(&rows, |row| micros_opt(row.blocked_until)))
            .bind(column(&rows, |row| clean(&row.reason)))
            .bind(column(&rows, |row| row.usage_percent))
            .bind(column(&rows, |row| clean_opt(row.tier.as_deref())))
            .bind(column(&rows, |row| micros(row.seen_at))),
        )
        .await?;
        tx.commit().await
    }

    async fn load_gate(&self) -> Result<Vec<GateRow>, StoreError> {
        let query = sqlx::query(
            "select scope, blocked_until, reason, usage_percent, tier, seen_at from gate_state
             order by scope",
        );
        let rows = self.rows("reading the gate's state", query).await?;
        rows.iter().map(read).collect()
    }
}
