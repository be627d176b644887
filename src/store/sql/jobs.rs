//! Rows of `job_execution_history` and `job_status`.

use super::cells::{Cells, Columns};
use crate::store::StoreError;
use crate::store::jobs::{JobOutcome, JobStatus};

/// Runs of one stage that are kept, so that the history has a bound.
pub(in crate::store) const RUNS_KEPT: i64 = 1_000;

/// How often the history is pruned, in rows: seldom, since counting off the newest takes a while.
pub(in crate::store) const PRUNE_EVERY: i64 = 128;

/// How an outcome is kept.
pub(in crate::store) const fn outcome_name(outcome: &JobOutcome) -> &'static str {
    match outcome {
        JobOutcome::Succeeded => "succeeded",
        JobOutcome::Degraded => "degraded",
        JobOutcome::Failed => "failed",
    }
}

/// Reads the last of a stage's runs.
pub(in crate::store) fn read(row: &impl Cells) -> Result<JobStatus, StoreError> {
    let row = Columns::of("job_status", row);
    Ok(JobStatus {
        job: row.get("job")?,
        last_success: row.at_opt("last_success_at")?,
        last_end: row.at_opt("last_end_at")?,
        detail: row.get("detail")?,
    })
}
