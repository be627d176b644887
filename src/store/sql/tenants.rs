//! Rows of `tenant_state` and `daemon_state`.

use super::cells::{Cells, Columns};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::tenants::{Held, TenantHolds};

/// Reads the hold whose columns begin with a word.
fn held(row: &impl Cells, by: &str, reason: &str, since: &str) -> Result<Option<Held>, StoreError> {
    let row = Columns::of("tenant_state", row);
    let Some(since) = row.at_opt(since)? else {
        return Ok(None);
    };
    Ok(Some(Held {
        by: row.text(by)?.unwrap_or_default().to_owned(),
        reason: row.text(reason)?.unwrap_or_default().to_owned(),
        since,
    }))
}

/// Reads what holds a tenant; one that was never named is held by the daemon's pause alone.
pub(in crate::store) fn holds<R: Cells>(
    daemon: &R,
    tenant: Option<&R>,
) -> Result<TenantHolds, StoreError> {
    let mut holds = TenantHolds {
        daemon_paused: held(daemon, "paused_by", "paused_reason", "paused_since")?,
        ..TenantHolds::default()
    };
    if let Some(row) = tenant {
        holds.paused = held(row, "paused_by", "paused_reason", "paused_since")?;
        holds.parked = held(row, "parked_by", "parked_reason", "parked_since")?;
        holds.suspended = held(row, "suspended_by", "suspended_reason", "suspended_since")?;
    }
    Ok(holds)
}

/// The line that tells a tenant of a pause or of its end.
pub(in crate::store) fn line(
    tenant: TenantId,
    event: AuditEvent,
    actor: &str,
    detail: &str,
    at: Timestamp,
) -> AuditEntry {
    AuditEntry {
        tenant,
        at,
        event,
        actor: actor.to_owned(),
        change: None,
        entity: None,
        campaign: None,
        before: None,
        after: None,
        rule: None,
        detail: detail.to_owned(),
        vendor_request: None,
    }
}

/// What the line says when a tenant, or with `None` the daemon, is resumed.
pub(in crate::store) fn resumed(tenant: Option<&TenantId>) -> &'static str {
    match tenant {
        Some(_) => "the tenant was resumed",
        None => "the daemon was resumed",
    }
}
