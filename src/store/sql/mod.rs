//! What both databases share: how values lie in columns and come back, and what a method decides
//! between its reading and its writing. The statements themselves stand in `sqlite/` and `postgres/`.

pub(in crate::store) mod audit;
pub(in crate::store) mod bodies;
pub(in crate::store) mod brought;
pub(in crate::store) mod cells;
pub(in crate::store) mod changes;
pub(in crate::store) mod crm;
pub(in crate::store) mod decisions;
pub(in crate::store) mod entities;
pub(in crate::store) mod erasure;
pub(in crate::store) mod gate;
pub(in crate::store) mod inbox;
pub(in crate::store) mod insights;
pub(in crate::store) mod jobs;
pub(in crate::store) mod lane;
pub(in crate::store) mod leads;
pub(in crate::store) mod learned;
pub(in crate::store) mod models;
pub(in crate::store) mod nodes;
pub(in crate::store) mod outbox;
pub(in crate::store) mod privacy;
pub(in crate::store) mod recording;
pub(in crate::store) mod reports;
pub(in crate::store) mod revenue;
pub(in crate::store) mod schema;
pub(in crate::store) mod status;
pub(in crate::store) mod syncs;
pub(in crate::store) mod tenants;
pub(in crate::store) mod tokens;
pub(in crate::store) mod values;
pub(in crate::store) mod visits;
pub(in crate::store) mod winners;

use super::StoreError;

/// That a write touched `found` rows and not just one.
pub(in crate::store) const fn not_one(doing: &'static str, found: u64) -> StoreError {
    StoreError::WrongCount {
        doing,
        expected: 1,
        found,
    }
}

/// A value as JSON text.
pub(in crate::store) fn json(
    value: &(impl serde::Serialize + ?Sized),
    doing: &'static str,
) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|cause| StoreError::Broken {
        doing,
        cause: Box::new(cause),
    })
}

/// Of rows with the same key the last one, by key: one statement may not write a row twice.
pub(in crate::store) fn last_of_each<'r, T, K: Ord>(
    rows: &'r [T],
    key: impl Fn(&'r T) -> K,
) -> Vec<&'r T> {
    let mut last = std::collections::BTreeMap::new();
    for row in rows {
        last.insert(key(row), row);
    }
    last.into_values().collect()
}
