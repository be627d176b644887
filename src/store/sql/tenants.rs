//! Rows of `tenant_state` and `daemon_state`.

use super::cells::{Cells, Columns};
use super::values::corrupt;
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::ids::TenantId;
use crate::domain::safety::{Breaker, Trip};
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

/// What a trip of a breaker does to its row.
pub(in crate::store) enum Tripping {
    /// Nothing: it rests, or is on for longer already.
    Nothing,
    /// It is on already and stays on until the later end.
    Longer,
    /// It trips anew.
    Anew,
}

/// Decides what `trip` does to the row of its breaker, which is `(tripped_until, rests_until)`.
pub(in crate::store) fn tripping(
    row: Option<(i64, Option<i64>)>,
    since: i64,
    until: i64,
) -> Tripping {
    match row {
        Some((_, Some(rests_until))) if rests_until > since => Tripping::Nothing,
        Some((on_until, _)) if on_until >= until && on_until > since => Tripping::Nothing,
        Some((on_until, _)) if on_until > since => Tripping::Longer,
        _ => Tripping::Anew,
    }
}

/// The breakers of a tenant that are on at `$2`.
pub(in crate::store) const BREAKERS: &str =
    "select tenant, breaker, tripped_at, tripped_until, reason from breakers
     where tenant = $1 and tripped_until > $2 order by breaker";

/// Ends the breakers of a tenant that are on at `$2`.
pub(in crate::store) const END_BREAKERS: &str =
    "update breakers set rests_until = tripped_until, tripped_until = $2
     where tenant = $1 and tripped_until > $2";

/// Trips a breaker.
pub(in crate::store) const TRIP: &str =
    "insert into breakers (tenant, breaker, tripped_at, tripped_until, reason)
     values ($1, $2, $3, $4, $5)
     on conflict (tenant, breaker) do update set
         tripped_at = excluded.tripped_at, tripped_until = excluded.tripped_until,
         reason = excluded.reason, rests_until = null";

/// Keeps a breaker on that is on.
pub(in crate::store) const TRIP_LONGER: &str =
    "update breakers set tripped_until = $3 where tenant = $1 and breaker = $2";

/// Reads a breaker that tripped.
pub(in crate::store) fn trip(row: &impl Cells) -> Result<Trip, StoreError> {
    const TABLE: &str = "breakers";
    let row = Columns::of(TABLE, row);
    let name: &str = row.get("breaker")?;
    Ok(Trip {
        breaker: Breaker::parse(name)
            .ok_or_else(|| corrupt(TABLE, format!("{name:?} is no breaker")))?,
        since: row.at("tripped_at")?,
        until: row.at("tripped_until")?,
        reason: row.get("reason")?,
    })
}

/// The line that tells of a breaker that tripped.
pub(in crate::store) fn trip_line(tenant: &TenantId, trip: &Trip, actor: &str) -> AuditEntry {
    let detail = &trip.reason;
    AuditEntry {
        rule: Some(trip.breaker.rule().as_str().to_owned()),
        ..line(
            tenant.clone(),
            AuditEvent::BreakerTripped,
            actor,
            detail,
            trip.since,
        )
    }
}
