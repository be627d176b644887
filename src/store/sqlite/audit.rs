//! The audit log of each tenant.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::audit::{AuditEntry, ChainedEntry};
use crate::domain::ids::{ChangeId, TenantId};
use crate::store::StoreError;
use crate::store::audit::AuditStore;
use crate::store::sql::audit::{next_line, read};
use crate::store::sql::values::{TargetColumns, micros};

/// Adds a line to its tenant's chain, within the transaction of what it tells.
pub(super) async fn append(
    conn: &mut SqliteConnection,
    entry: &AuditEntry,
) -> Result<ChainedEntry, StoreError> {
    let doing = "writing the audit log";
    let last: Option<(i64, String)> = sqlx::query_as(
        "select sequence, hash from ad_change_history where tenant = $1
         order by sequence desc limit 1",
    )
    .bind(entry.tenant.as_str())
    .fetch_optional(&mut *conn)
    .await
    .map_err(fault(doing))?;
    let line = next_line(entry, last);
    let before = TargetColumns::of(line.entry.before);
    let after = TargetColumns::of(line.entry.after);
    sqlx::query(
        "insert into ad_change_history (tenant, sequence, at, event, actor, change_id, entity_type,
             entity_id, campaign_id, before_minor, before_currency, before_status, after_minor,
             after_currency, after_status, rule, detail, vendor_request, previous_hash, hash)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, $20)",
    )
    .bind(line.entry.tenant.as_str())
    .bind(line.sequence)
    .bind(micros(line.entry.at))
    .bind(line.entry.event.as_str())
    .bind(&line.entry.actor)
    .bind(line.entry.change.as_ref().map(|id| id.as_str()))
    .bind(line.entry.entity.as_ref().map(|e| e.kind().as_str()))
    .bind(line.entry.entity.as_ref().map(|e| e.id()))
    .bind(line.entry.campaign.as_ref().map(|id| id.as_str()))
    .bind(before.minor)
    .bind(before.currency)
    .bind(before.status)
    .bind(after.minor)
    .bind(after.currency)
    .bind(after.status)
    .bind(&line.entry.rule)
    .bind(&line.entry.detail)
    .bind(&line.entry.vendor_request)
    .bind(&line.previous_hash)
    .bind(&line.hash)
    .execute(conn)
    .await
    .map_err(fault(doing))?;
    Ok(line)
}

#[async_trait]
impl AuditStore for SqliteStore {
    async fn append_audit(&self, entry: &AuditEntry) -> Result<ChainedEntry, StoreError> {
        let doing = "writing the audit log";
        let mut tx = self.write_for(&entry.tenant, doing).await?;
        let line = append(&mut tx, entry).await?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(line)
    }

    async fn audit_lines(
        &self,
        tenant: &TenantId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<ChainedEntry>, StoreError> {
        let rows = sqlx::query(
            "select * from ad_change_history where tenant = $1 and sequence > $2
             order by sequence limit $3",
        )
        .bind(tenant.as_str())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading the audit log"))?;
        rows.iter().map(read).collect()
    }

    async fn audit_of_change(
        &self,
        tenant: &TenantId,
        change: &ChangeId,
    ) -> Result<Vec<ChainedEntry>, StoreError> {
        let rows = sqlx::query(
            "select * from ad_change_history where tenant = $1 and change_id = $2
             order by sequence",
        )
        .bind(tenant.as_str())
        .bind(change.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading the audit log"))?;
        rows.iter().map(read).collect()
    }
}
