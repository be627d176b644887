//! Rows of `nodes` and `tenant_leases`, and what a fence says.

use super::cells::{Cells, Columns};
use crate::domain::ids::TenantId;
use crate::domain::time::{self, SignedDuration};
use crate::store::StoreError;
use crate::store::nodes::{Claim, Fence, Lease, NodeInfo, SeenNode};

const NODES: &str = "nodes";
const LEASES: &str = "tenant_leases";

/// A span as it is added to an instant that is kept.
pub(in crate::store) fn span_micros(span: SignedDuration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Reads a node; `now` is a column of the same clock.
pub(in crate::store) fn read_node(row: &impl Cells) -> Result<SeenNode, StoreError> {
    let row = Columns::of(NODES, row);
    let heartbeat_at = row.at("heartbeat_at")?;
    Ok(SeenNode {
        node: NodeInfo {
            id: row.id("id")?,
            host: row.get("host")?,
            version: row.get("version")?,
        },
        started_at: row.at("started_at")?,
        heartbeat_at,
        silent_for: time::between(heartbeat_at, row.at("now")?).max(SignedDuration::ZERO),
    })
}

/// Reads a lease; `now` is a column of the same clock.
pub(in crate::store) fn read_lease(row: &impl Cells) -> Result<Lease, StoreError> {
    let row = Columns::of(LEASES, row);
    let until = row.at("lease_until")?;
    Ok(Lease {
        fence: read_fence(row)?,
        until,
        left: time::between(row.at("now")?, until).max(SignedDuration::ZERO),
    })
}

fn read_fence(row: Columns<'_>) -> Result<Fence, StoreError> {
    Ok(Fence {
        tenant: row.id("tenant")?,
        node: row.id("node_id")?,
        token: row.get("fence")?,
    })
}

/// Reads the fences of rows, by tenant.
pub(in crate::store) fn fences<R: Cells>(rows: &[R]) -> Result<Vec<Fence>, StoreError> {
    let mut fences = rows
        .iter()
        .map(|row| read_fence(Columns::of(LEASES, row)))
        .collect::<Result<Vec<_>, _>>()?;
    fences.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    Ok(fences)
}

/// Reads the claims of rows, by tenant.
pub(in crate::store) fn claims<R: Cells>(rows: &[R]) -> Result<Vec<Claim>, StoreError> {
    let mut claims = rows
        .iter()
        .map(|row| {
            let row = Columns::of(LEASES, row);
            Ok(Claim {
                fence: read_fence(row)?,
                was_free: row.flag("was_free")?,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    claims.sort_by(|a, b| a.fence.tenant.cmp(&b.fence.tenant));
    Ok(claims)
}

/// That the lease is another one by now.
pub(in crate::store) fn deposed(fence: &Fence, doing: &'static str) -> StoreError {
    StoreError::Deposed {
        doing,
        tenant: fence.tenant.clone(),
    }
}

/// Refuses to write for a tenant under another's fence.
pub(in crate::store) fn check_own(
    fence: Option<&Fence>,
    tenant: &TenantId,
    doing: &'static str,
) -> Result<(), StoreError> {
    match fence {
        Some(fence) if fence.tenant != *tenant => Err(StoreError::Broken {
            doing,
            cause: format!(
                "it was to be written for tenant {tenant} under the fence of {}",
                fence.tenant
            )
            .into(),
        }),
        _ => Ok(()),
    }
}
