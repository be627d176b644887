//! The audit log of each tenant.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::faults::fault;
use super::values::{Columns, TargetColumns, clean, corrupt, micros, target};
use crate::domain::audit::{self, AuditEntry, AuditEvent, ChainedEntry};
use crate::domain::ids::{ChangeId, TenantId};
use crate::domain::time::{from_micros, to_micros};
use crate::store::StoreError;
use crate::store::audit::AuditStore;

const TABLE: &str = "ad_change_history";

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
    let (sequence, previous) = last.unwrap_or((0, audit::GENESIS_HASH.to_owned()));
    let line = audit::chain(as_kept(entry), sequence + 1, &previous);

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

/// The entry just as it will be read back: the hash is over what is kept.
fn as_kept(entry: &AuditEntry) -> AuditEntry {
    let clean = |text: &str| clean(text).into_owned();
    AuditEntry {
        at: from_micros(to_micros(entry.at)),
        actor: clean(&entry.actor),
        rule: entry.rule.as_deref().map(clean),
        detail: clean(&entry.detail),
        vendor_request: entry.vendor_request.as_deref().map(clean),
        ..entry.clone()
    }
}

fn read(row: &SqliteRow) -> Result<ChainedEntry, StoreError> {
    let row = Columns::of(TABLE, row);
    let event: &str = row.get("event")?;
    let side = |minor: &str, currency: &str, status: &str| {
        target(
            TABLE,
            row.get(minor)?,
            row.text(currency)?,
            row.text(status)?,
        )
    };
    Ok(ChainedEntry {
        sequence: row.get("sequence")?,
        entry: AuditEntry {
            tenant: row.id("tenant")?,
            at: row.at("at")?,
            event: AuditEvent::parse(event)
                .ok_or_else(|| corrupt(TABLE, format!("{event:?} is no event")))?,
            actor: row.get("actor")?,
            change: row.id_opt("change_id")?,
            entity: match row.text("entity_type")? {
                Some(_) => Some(row.entity()?),
                None => None,
            },
            campaign: row.id_opt("campaign_id")?,
            before: side("before_minor", "before_currency", "before_status")?,
            after: side("after_minor", "after_currency", "after_status")?,
            rule: row.get("rule")?,
            detail: row.get("detail")?,
            vendor_request: row.get("vendor_request")?,
        },
        previous_hash: row.get("previous_hash")?,
        hash: row.get("hash")?,
    })
}

#[async_trait]
impl AuditStore for SqliteStore {
    async fn append_audit(&self, entry: &AuditEntry) -> Result<ChainedEntry, StoreError> {
        let doing = "writing the audit log";
        let mut tx = self.write(doing).await?;
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
