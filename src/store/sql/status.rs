//! What is counted for the store's own report.

use super::values::{corrupt, uncount};
use crate::domain::change::ChangeState;
use crate::store::StoreError;

/// Counts from rows of state and changes, by state.
pub(in crate::store) fn change_counts(
    rows: &[(String, i64)],
) -> Result<Vec<(ChangeState, u64)>, StoreError> {
    let mut counts = rows
        .iter()
        .map(|(name, found)| {
            ChangeState::parse(name)
                .map(|state| (state, uncount(*found)))
                .ok_or_else(|| corrupt("pending_ad_changes", format!("{name:?} is no state")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    counts.sort_unstable();
    Ok(counts)
}
