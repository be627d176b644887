//! Lines of `ad_change_history`.

use super::cells::{Cells, Columns};
use super::values::{clean, corrupt, target};
use crate::domain::audit::{self, AuditEntry, AuditEvent, ChainedEntry};
use crate::domain::time::{from_micros, to_micros};
use crate::store::StoreError;

const TABLE: &str = "ad_change_history";

/// The line that follows `last`, the sequence and hash of its tenant's newest line.
pub(in crate::store) fn next_line(entry: &AuditEntry, last: Option<(i64, String)>) -> ChainedEntry {
    let (sequence, previous) = last.unwrap_or((0, audit::GENESIS_HASH.to_owned()));
    audit::chain(as_kept(entry), sequence + 1, &previous)
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

/// Reads a line.
pub(in crate::store) fn read(row: &impl Cells) -> Result<ChainedEntry, StoreError> {
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
