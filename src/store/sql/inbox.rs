//! Rows of `inbox`.

use super::cells::{Cells, Columns};
use crate::store::StoreError;
use crate::store::inbox::{ClaimedDelivery, InboxDepth, Quarantined};

const TABLE: &str = "inbox";

/// Reads what was claimed, oldest first: the statement that claims promises no order.
pub(in crate::store) fn claimed<R: Cells>(rows: &[R]) -> Result<Vec<ClaimedDelivery>, StoreError> {
    let mut claimed = rows
        .iter()
        .map(|row| {
            let row = Columns::of(TABLE, row);
            Ok(ClaimedDelivery {
                id: row.get("id")?,
                source: row.get("source")?,
                body: row.get("body")?,
                received_at: row.at("received_at")?,
                attempt: row.get("attempt")?,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    claimed.sort_unstable_by_key(|delivery| delivery.id);
    Ok(claimed)
}

/// Reads what is in quarantine.
pub(in crate::store) fn quarantined(row: &impl Cells) -> Result<Quarantined, StoreError> {
    let row = Columns::of(TABLE, row);
    Ok(Quarantined {
        id: row.get("id")?,
        tenant: row.id("tenant")?,
        source: row.get("source")?,
        body: row.get("body")?,
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
