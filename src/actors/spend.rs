//! Stops all spend of a tenant at Meta, and starts it again: what `roasd pause --stop-spend` and
//! `roasd resume` do besides the pause itself. The changes go through the queue, the gate and the
//! executor as all others; a pause lets only them through.

use sha2::{Digest as _, Sha256};

use crate::domain::change::PendingChange;
use crate::domain::ids::{ChangeId, TenantId};
use crate::domain::manage::Manage;
use crate::domain::naming::Naming;
use crate::domain::stop;
use crate::domain::structure::{EntityRef, HandsOff};
use crate::domain::time::Timestamp;
use crate::store::changes::ChangeFilter;
use crate::store::{Store, StoreError};

/// What stopping came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stopped {
    /// Campaigns that are being paused.
    pub campaigns: u64,
    /// Campaigns that may spend and that roasd must not pause: which, by name, and why.
    pub left: Vec<(EntityRef, String, HandsOff)>,
    /// Whether the account's structure is known at all; if not, nothing was stopped.
    pub is_known: bool,
}

/// Names changes that a person asks for: apart from each other and from what anybody else names at
/// this instant.
struct Names<'a> {
    tenant: &'a TenantId,
    actor: &'a str,
    /// So that what is stopped and started again at one instant is not taken for the same.
    purpose: &'static str,
    at: Timestamp,
    counter: u64,
}

impl Names<'_> {
    fn next(&mut self) -> ChangeId {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(self.purpose)
            .chain_update(self.actor)
            .finalize()
            .into();
        let mut seed = [0; 8];
        seed.copy_from_slice(&digest[..8]);
        self.counter += 1;
        Naming {
            seed: u64::from_be_bytes(seed) ^ u64::from(std::process::id()),
            tenant: self.tenant,
            at: self.at,
            counter: self.counter,
        }
        .change()
    }
}

/// Queues the changes that pause every campaign of the tenant that may spend, and tells its node.
/// The tenant should be paused first, or the policy goes on beside them.
///
/// # Errors
/// When the store does not take it.
pub async fn stop(
    store: &dyn Store,
    tenant: &TenantId,
    manage: &Manage,
    actor: &str,
    now: Timestamp,
) -> Result<Stopped, StoreError> {
    let Some((structure, _)) = store.structure(tenant).await? else {
        return Ok(Stopped::default());
    };
    let mut names = Names {
        tenant,
        actor,
        purpose: "stop ",
        at: now,
        counter: 0,
    };
    let reason = format!("{actor} stopped all spend");
    let stops = stop::stops(&structure, manage, tenant, &reason, now, || names.next());
    let campaigns = stops.changes.len() as u64;
    for change in &stops.changes {
        store.propose(change, now).await?;
    }
    store.nudge(tenant);
    Ok(Stopped {
        campaigns,
        left: stops.left,
        is_known: true,
    })
}

/// What starting again came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restarted {
    /// Campaigns that are being resumed.
    pub campaigns: u64,
    /// Stops that had not been sent and are withdrawn.
    pub withdrawn: u64,
    /// Stops that are being sent just now: to be started again later.
    pub under_way: u64,
}

/// Queues the changes that resume what [`stop()`] has paused and nobody has resumed since. Without such
/// a stop it does nothing.
///
/// # Errors
/// When the store does not take it.
pub async fn restart(
    store: &dyn Store,
    tenant: &TenantId,
    actor: &str,
    now: Timestamp,
) -> Result<Restarted, StoreError> {
    let filter = ChangeFilter {
        tenant: Some(tenant.clone()),
        states: Vec::new(),
        limit: u32::MAX,
    };
    let changes: Vec<PendingChange> = store.changes(&filter).await?;
    let mut names = Names {
        tenant,
        actor,
        purpose: "restart ",
        at: now,
        counter: 0,
    };
    let reason = format!("{actor} resumed what was stopped");
    let restart = stop::restart(&changes, &reason, now, || names.next());
    for change in &restart.changes {
        store.propose(change, now).await?;
    }
    let mut withdrawn = 0;
    for id in &restart.withdrawn {
        let done = store.reject_change(id, actor, &reason, now).await?;
        withdrawn += u64::from(done.is_some());
    }
    store.nudge(tenant);
    Ok(Restarted {
        campaigns: restart.changes.len() as u64,
        withdrawn,
        under_way: restart.under_way.len() as u64,
    })
}
