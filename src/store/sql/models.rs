//! Rows of `model_registry`.

use super::cells::{Cells, Columns};
use crate::store::StoreError;
use crate::store::models::ModelVersion;

/// Reads a version of a policy.
pub(in crate::store) fn read(row: &impl Cells) -> Result<ModelVersion, StoreError> {
    let row = Columns::of("model_registry", row);
    Ok(ModelVersion {
        name: row.get("name")?,
        version: row.get("version")?,
        params_json: row.get("params_json")?,
        revision: row.get("revision")?,
        is_champion: row.flag("is_champion")?,
        registered_at: row.at("registered_at")?,
    })
}
