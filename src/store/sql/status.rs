//! What is counted for the store's own report.

use std::collections::BTreeMap;

use super::cells::{Cells, Columns};
use super::values::{corrupt, uncount};
use super::{inbox, jobs, tenants};
use crate::domain::change::ChangeState;
use crate::domain::ids::TenantId;
use crate::store::StoreError;
use crate::store::status::TenantOverview;

fn state_of(name: &str) -> Result<ChangeState, StoreError> {
    ChangeState::parse(name)
        .ok_or_else(|| corrupt("pending_ad_changes", format!("{name:?} is no state")))
}

/// Counts from rows of state and changes, by state.
pub(in crate::store) fn change_counts(
    rows: &[(String, i64)],
) -> Result<Vec<(ChangeState, u64)>, StoreError> {
    let mut counts = rows
        .iter()
        .map(|(name, found)| Ok((state_of(name)?, uncount(*found))))
        .collect::<Result<Vec<_>, StoreError>>()?;
    counts.sort_unstable();
    Ok(counts)
}

/// Rows of several tenants, each with its `tenant`.
pub(in crate::store) struct OverviewRows<R> {
    /// The one row of `daemon_state`.
    pub(in crate::store) daemon: R,
    /// Of `tenant_state`.
    pub(in crate::store) states: Vec<R>,
    /// `waiting`, `oldest_at` and `quarantined`.
    pub(in crate::store) inboxes: Vec<R>,
    /// `status` and `found`.
    pub(in crate::store) changes: Vec<R>,
    /// Of `job_status`, by job.
    pub(in crate::store) jobs: Vec<R>,
    /// Of `breakers`, by breaker.
    pub(in crate::store) breakers: Vec<R>,
}

/// Puts together what there is to say of each of `asked`.
pub(in crate::store) fn overview<R: Cells>(
    asked: &[TenantId],
    rows: &OverviewRows<R>,
) -> Result<BTreeMap<TenantId, TenantOverview>, StoreError> {
    let whose = |row: &R| Columns::of("tenant_state", row).id::<TenantId>("tenant");
    let empty = TenantOverview {
        holds: tenants::holds(&rows.daemon, None)?,
        ..TenantOverview::default()
    };
    let mut all: BTreeMap<TenantId, TenantOverview> = asked
        .iter()
        .map(|tenant| (tenant.clone(), empty.clone()))
        .collect();
    for row in &rows.states {
        if let Some(one) = all.get_mut(&whose(row)?) {
            one.holds = tenants::holds(&rows.daemon, Some(row))?;
        }
    }
    for row in &rows.inboxes {
        if let Some(one) = all.get_mut(&whose(row)?) {
            one.inbox = inbox::depth(row)?;
        }
    }
    for row in &rows.changes {
        if let Some(one) = all.get_mut(&whose(row)?) {
            let row = Columns::of("pending_ad_changes", row);
            let state = state_of(row.get("status")?)?;
            one.changes.push((state, row.count("found")?));
        }
    }
    for row in &rows.jobs {
        if let Some(one) = all.get_mut(&whose(row)?) {
            one.jobs.push(jobs::read(row)?);
        }
    }
    for row in &rows.breakers {
        if let Some(one) = all.get_mut(&whose(row)?) {
            one.breakers.push(tenants::trip(row)?);
        }
    }
    for one in all.values_mut() {
        one.changes.sort_unstable();
    }
    Ok(all)
}
