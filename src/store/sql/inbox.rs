//! Rows of `inbox`.

use super::bodies::unpacked;
use super::cells::{Cells, Columns};
use super::values::corrupt;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::inbox::{ClaimedDelivery, Delivery, DeliveryOutcome, InboxDepth, Quarantined};

const TABLE: &str = "inbox";

/// A delivery to keep.
#[derive(Debug)]
pub(in crate::store) struct Keep {
    pub(in crate::store) tenant: TenantId,
    pub(in crate::store) delivery: Delivery,
    pub(in crate::store) now: Timestamp,
}

/// Deliveries to claim.
#[derive(Debug)]
pub(in crate::store) struct Claim {
    pub(in crate::store) tenant: TenantId,
    pub(in crate::store) now: Timestamp,
    pub(in crate::store) lease_until: Timestamp,
    pub(in crate::store) limit: u32,
}

/// A delivery to settle.
#[derive(Debug)]
pub(in crate::store) struct Settle {
    pub(in crate::store) tenant: TenantId,
    pub(in crate::store) id: i64,
    pub(in crate::store) attempt: i64,
    pub(in crate::store) outcome: DeliveryOutcome,
    pub(in crate::store) now: Timestamp,
}

/// Reads a delivery's bytes.
fn body(row: Columns<'_>) -> Result<Vec<u8>, StoreError> {
    let body = unpacked(row.get("body")?).map_err(|error| corrupt(TABLE, error))?;
    Ok(body.into_owned())
}

/// Reads a claimed delivery.
pub(in crate::store) fn claimed(row: &impl Cells) -> Result<ClaimedDelivery, StoreError> {
    let row = Columns::of(TABLE, row);
    Ok(ClaimedDelivery {
        id: row.get("id")?,
        source: row.get("source")?,
        body: body(row)?,
        received_at: row.at("received_at")?,
        attempt: row.get("attempt")?,
    })
}

/// Reads what is in quarantine.
pub(in crate::store) fn quarantined(row: &impl Cells) -> Result<Quarantined, StoreError> {
    let row = Columns::of(TABLE, row);
    Ok(Quarantined {
        id: row.get("id")?,
        tenant: row.id("tenant")?,
        source: row.get("source")?,
        body: body(row)?,
        reason: row.text("reason")?.unwrap_or_default().to_owned(),
        received_at: row.at("received_at")?,
    })
}

/// Reads how full the inbox is.
pub(in crate::store) fn depth(row: &impl Cells) -> Result<InboxDepth, StoreError> {
    let row = Columns::of(TABLE, row);
    Ok(InboxDepth {
        waiting: row.count("waiting")?,
        oldest_at: row.at_opt("oldest_at")?,
        quarantined: row.count("quarantined")?,
    })
}
