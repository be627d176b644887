//! The audit log of each tenant.

use std::collections::HashMap;

use async_trait::async_trait;

use super::session::Tx;
use super::{PostgresStore, Section, column};
use crate::domain::audit::{AuditEntry, ChainedEntry};
use crate::domain::ids::{ChangeId, TenantId};
use crate::store::StoreError;
use crate::store::audit::AuditStore;
use crate::store::sql::audit::{next_line, read};
use crate::store::sql::values::{TargetColumns, micros};

/// The columns of a line. A `*` would break prepared statements when a later release adds one.
macro_rules! columns {
    () => {
        "tenant, sequence, at, event, actor, change_id, entity_type, entity_id, campaign_id,
         before_minor, before_currency, before_status, after_minor, after_currency, after_status,
         rule, detail, vendor_request, previous_hash, hash"
    };
}

/// Adds lines to their tenants' chains in their order, within the transaction of what they tell. The
/// tenants' queues are locked by the caller: a line that follows the same one as another is refused
/// by the table's key.
pub(super) async fn append(
    tx: &mut Tx,
    entries: &[AuditEntry],
) -> Result<Vec<ChainedEntry>, StoreError> {
    let mut tenants = column(entries, |entry| entry.tenant.as_str());
    tenants.sort_unstable();
    tenants.dedup();
    let last: Vec<(String, i64, String)> = tx
        .list(
            sqlx::query_as(
                "select asked.tenant, last.sequence, last.hash
                 from unnest($1::text[]) as asked (tenant)
                 cross join lateral (
                     select sequence, hash from ad_change_history
                     where tenant = asked.tenant order by sequence desc limit 1) as last",
            )
            .bind(&tenants),
        )
        .await?;
    let mut last: HashMap<String, (i64, String)> = last
        .into_iter()
        .map(|(tenant, sequence, hash)| (tenant, (sequence, hash)))
        .collect();
    let mut lines = Vec::with_capacity(entries.len());
    for entry in entries {
        let line = next_line(entry, last.remove(entry.tenant.as_str()));
        last.insert(
            entry.tenant.as_str().to_owned(),
            (line.sequence, line.hash.clone()),
        );
        lines.push(line);
    }
    insert(tx, &lines).await?;
    Ok(lines)
}

async fn insert(tx: &mut Tx, lines: &[ChainedEntry]) -> Result<(), StoreError> {
    let before = column(lines, |line| TargetColumns::of(line.entry.before));
    let after = column(lines, |line| TargetColumns::of(line.entry.after));
    tx.run(
        sqlx::query(concat!(
            "insert into ad_change_history (",
            columns!(),
            ")
             select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[],
                 $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::text[],
                 $12::text[], $13::bigint[], $14::text[], $15::text[], $16::text[], $17::text[],
                 $18::text[], $19::text[], $20::text[])"
        ))
        .bind(column(lines, |line| line.entry.tenant.as_str()))
        .bind(column(lines, |line| line.sequence))
        .bind(column(lines, |line| micros(line.entry.at)))
        .bind(column(lines, |line| line.entry.event.as_str()))
        .bind(column(lines, |line| line.entry.actor.as_str()))
        .bind(column(lines, |line| {
            line.entry.change.as_ref().map(|id| id.as_str())
        }))
        .bind(column(lines, |line| {
            line.entry.entity.as_ref().map(|e| e.kind().as_str())
        }))
        .bind(column(lines, |line| {
            line.entry.entity.as_ref().map(|e| e.id())
        }))
        .bind(column(lines, |line| {
            line.entry.campaign.as_ref().map(|id| id.as_str())
        }))
        .bind(column(&before, |side| side.minor))
        .bind(column(&before, |side| side.currency.as_deref()))
        .bind(column(&before, |side| side.status))
        .bind(column(&after, |side| side.minor))
        .bind(column(&after, |side| side.currency.as_deref()))
        .bind(column(&after, |side| side.status))
        .bind(column(lines, |line| line.entry.rule.as_deref()))
        .bind(column(lines, |line| line.entry.detail.as_str()))
        .bind(column(lines, |line| line.entry.vendor_request.as_deref()))
        .bind(column(lines, |line| line.previous_hash.as_str()))
        .bind(column(lines, |line| line.hash.as_str())),
    )
    .await?;
    Ok(())
}

#[async_trait]
impl AuditStore for PostgresStore {
    async fn append_audit(&self, entry: &AuditEntry) -> Result<ChainedEntry, StoreError> {
        let doing = "writing the audit log";
        let mut tx = self.write_in(Section::Queue, &entry.tenant, doing).await?;
        let line = append(&mut tx, std::slice::from_ref(entry)).await?.pop();
        tx.commit().await?;
        line.ok_or_else(|| StoreError::Broken {
            doing,
            cause: "no line was written".into(),
        })
    }

    async fn audit_lines(
        &self,
        tenant: &TenantId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<ChainedEntry>, StoreError> {
        let query = sqlx::query(concat!(
            "select ",
            columns!(),
            " from ad_change_history where tenant = $1 and sequence > $2
             order by sequence limit $3"
        ))
        .bind(tenant.as_str())
        .bind(after)
        .bind(i64::from(limit));
        let rows = self.rows("reading the audit log", query).await?;
        rows.iter().map(read).collect()
    }

    async fn audit_of_change(
        &self,
        tenant: &TenantId,
        change: &ChangeId,
    ) -> Result<Vec<ChainedEntry>, StoreError> {
        let query = sqlx::query(concat!(
            "select ",
            columns!(),
            " from ad_change_history where tenant = $1 and change_id = $2 order by sequence"
        ))
        .bind(tenant.as_str())
        .bind(change.as_str());
        let rows = self.rows("reading the audit log", query).await?;
        rows.iter().map(read).collect()
    }
}
