//! Rows of decisions and of the runs they belong to.

use super::cells::{Cells, Columns};
use super::values::{corrupt, entity};
use crate::domain::ids::TenantId;
use crate::domain::structure::EntityRef;
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::decisions::{DecisionRecord, RunRecord};

const TABLE: &str = "decisions";
const RUNS: &str = "decision_runs";

/// Reads a run.
pub(in crate::store) fn read_run(row: &impl Cells) -> Result<RunRecord, StoreError> {
    let row = Columns::of(RUNS, row);
    let flags: &str = row.get("flags_json")?;
    Ok(RunRecord {
        id: row.id("id")?,
        at: row.at("at")?,
        seed: row.get::<i64>("seed")?.cast_unsigned(),
        policy: row.get("policy")?,
        version: row.get("version")?,
        inputs_json: row.get("inputs_json")?,
        flags: serde_json::from_str(flags).map_err(|cause| corrupt(RUNS, cause))?,
    })
}

/// Reads a decision.
pub(in crate::store) fn read(row: &impl Cells) -> Result<DecisionRecord, StoreError> {
    let row = Columns::of(TABLE, row);
    Ok(DecisionRecord {
        id: row.id("id")?,
        run: row.id("run_id")?,
        entity: row.entity()?,
        entity_name: row.get("entity_name")?,
        action: row.get("action")?,
        from: row.get("value_from")?,
        to: row.get("value_to")?,
        paragraph: row.get("paragraph")?,
        rationale_json: row.get("rationale_json")?,
        change: row.id_opt("change_id")?,
        at: row.at("at")?,
    })
}

/// The one of up to two decisions whose ids begin with `id` that it names, with its tenant: an id
/// that is the beginning of another is still itself.
pub(in crate::store) fn only<R: Cells>(
    rows: &[R],
    id: &str,
) -> Result<Option<(TenantId, DecisionRecord)>, StoreError> {
    let row = match rows {
        [only] => only,
        [first, _] if Columns::of(TABLE, first).get::<&str>("id")? == id => first,
        _ => return Ok(None),
    };
    Ok(Some((Columns::of(TABLE, row).id("tenant")?, read(row)?)))
}

/// Reads decisions with their sequence.
pub(in crate::store) fn in_sequence<R: Cells>(
    rows: &[R],
) -> Result<Vec<(i64, DecisionRecord)>, StoreError> {
    let numbered = |row: &R| Ok((Columns::of(TABLE, row).get("sequence")?, read(row)?));
    rows.iter().map(numbered).collect()
}

/// Ads put aside from rows of kind, id, action and time, by object.
pub(in crate::store) fn put_aside(
    rows: Vec<(String, String, String, i64)>,
) -> Result<Vec<(EntityRef, String, Timestamp)>, StoreError> {
    let mut aside = rows
        .into_iter()
        .map(|(kind, id, action, at)| Ok((entity(TABLE, &kind, &id)?, action, from_micros(at))))
        .collect::<Result<Vec<_>, StoreError>>()?;
    aside.sort();
    Ok(aside)
}
