//! Rows of `gate_state`.

use super::cells::{Cells, Columns};
use crate::store::StoreError;
use crate::store::gate::GateRow;

/// Reads what is known of a scope.
pub(in crate::store) fn read(row: &impl Cells) -> Result<GateRow, StoreError> {
    let row = Columns::of("gate_state", row);
    Ok(GateRow {
        scope: row.get("scope")?,
        blocked_until: row.at_opt("blocked_until")?,
        reason: row.get("reason")?,
        usage_percent: row.get("usage_percent")?,
        tier: row.get("tier")?,
        seen_at: row.at("seen_at")?,
    })
}
