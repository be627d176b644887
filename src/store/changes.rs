//! The queue of pending changes. Each move of a change writes its audit line with it.

use async_trait::async_trait;

use super::{Store, StoreError};
use crate::domain::change::{
    CannotUndo, ChangeState, PastAction, PendingChange, ProposedChange, Target, undo_of,
};
use crate::domain::ids::{ChangeId, TenantId};
use crate::domain::naming::Naming;
use crate::domain::time::Timestamp;

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposal {
    /// It is in the queue.
    Queued,
    /// It is in the queue in place of an older one, which is cancelled.
    Superseded(ChangeId),
    /// An older one asks for the same value: that one stays.
    SameAsOpen(ChangeId),
    /// An older one is being sent just now: nothing was queued.
    Busy(ChangeId),
}

/// A claim on a change: proof that no other executor holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedChange {
    /// The change; its `attempt` is the fencing token.
    pub change: PendingChange,
    /// Until when it is held.
    pub lease_until: Timestamp,
}

/// How a claimed or executing change ends, or goes back.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// It is in force. `before` is the value it replaced, `after` what was read back; with
    /// `was_sent` false it was in force already.
    Completed {
        /// The value before.
        before: Target,
        /// The value read back.
        after: Target,
        /// Whether Meta was called.
        was_sent: bool,
        /// Meta's number of the call.
        vendor_request: Option<String>,
        /// The guard that clipped it.
        clipped_by: Option<String>,
    },
    /// It failed for good.
    Failed {
        /// Why.
        detail: String,
        /// Meta's number of the call.
        vendor_request: Option<String>,
    },
    /// Somebody else was there first.
    Cancelled {
        /// The value found.
        found: Option<Target>,
        /// Why.
        detail: String,
    },
    /// A guard holds it back until a later time; it is pending again.
    Deferred {
        /// Not before.
        until: Timestamp,
        /// The guard.
        rule: String,
        /// Why.
        detail: String,
        /// Whether the attempt counts toward the three after which it fails.
        counts: bool,
    },
    /// A guard refuses it.
    Refused {
        /// The guard.
        rule: String,
        /// Why.
        detail: String,
    },
}

/// Which changes to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeFilter {
    /// Of this tenant; of all when `None`.
    pub tenant: Option<TenantId>,
    /// In one of these states; in any when empty.
    pub states: Vec<ChangeState>,
    /// This many at most, newest first.
    pub limit: u32,
}

/// The queue. At most one change is open per object and kind.
#[async_trait]
pub trait ChangeStore {
    /// Queues a change, `awaiting_approval` or `pending` as it says. An open change of the same
    /// object and kind is cancelled in its favour, unless it asks for the same value (then it
    /// stays) or is being executed (then nothing is queued, whatever it asks for). A change whose id
    /// is in the queue already, open or closed, changes nothing and is `SameAsOpen` with itself, so
    /// that a proposal can be repeated.
    async fn propose(
        &self,
        proposed: &ProposedChange,
        now: Timestamp,
    ) -> Result<Proposal, StoreError>;

    /// Claims the next due change: lowest rank, then oldest. Counts an attempt. A claimed change
    /// whose lease ran out is due again; an executing one never is, nor one that has lapsed. While the
    /// tenant or the daemon is paused only stops are claimed.
    async fn claim_change(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<ClaimedChange>, StoreError>;

    /// Commits the intent to send `target`. Refused with `WrongCount` when the claim was lost, the
    /// tenant or the daemon is paused (unless it is a stop), the tenant is suspended, or the change
    /// moved.
    async fn mark_executing(
        &self,
        tenant: &TenantId,
        id: &ChangeId,
        attempt: i64,
        before: Target,
        target: Target,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Ends a claimed or executing change, or sends it back. A completed budget or status
    /// that was sent also enters the object's history as our move, and its known settings; what
    /// was in force already is left for the next read of the structure to find. An executing
    /// change cannot be refused. `WrongCount` when the claim was lost.
    async fn settle_change(
        &self,
        tenant: &TenantId,
        id: &ChangeId,
        attempt: i64,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Changes whose sending was committed and whose effect is not settled, oldest first.
    async fn executing_changes(&self, tenant: &TenantId) -> Result<Vec<PendingChange>, StoreError>;

    /// A person approves a waiting change, of whichever tenant; `None` when it is not waiting or has lapsed. It
    /// becomes due at once and is judged again before it is sent.
    async fn approve_change(
        &self,
        id: &ChangeId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Option<PendingChange>, StoreError>;

    /// A person rejects a change that is not being executed; `None` when there is none such.
    async fn reject_change(
        &self,
        id: &ChangeId,
        actor: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<PendingChange>, StoreError>;

    /// Lets changes lapse whose time is over: awaiting ones expire, pending ones and those whose
    /// claim ran out are cancelled.
    async fn expire_changes(&self, tenant: &TenantId, now: Timestamp) -> Result<u64, StoreError>;

    /// One change, of whichever tenant; `id` may be a prefix that fits only one.
    async fn change(&self, id: &str) -> Result<Option<PendingChange>, StoreError>;

    /// Changes that fit, newest first.
    async fn changes(&self, filter: &ChangeFilter) -> Result<Vec<PendingChange>, StoreError> {
        self.changes_before(filter, None).await
    }

    /// Changes that fit, newest first, from behind the one that was proposed then and has that id; a
    /// change that comes meanwhile shifts none of them.
    async fn changes_before(
        &self,
        filter: &ChangeFilter,
        before: Option<&(Timestamp, ChangeId)>,
    ) -> Result<Vec<PendingChange>, StoreError>;

    /// When the tenant's queue wants to be looked at next: a pending change at its time or when it
    /// lapses, a waiting one when it lapses, a claimed one when its lease runs out, an executing one
    /// at once (its time is past). `None` when no change is open.
    async fn next_due(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError>;

    /// What was sent to Meta from `since` on, oldest first: also when its effect is not known, but
    /// not what is known to have had none, since it was sent back or failed.
    async fn past_actions(
        &self,
        tenant: &TenantId,
        since: Timestamp,
    ) -> Result<Vec<PastAction>, StoreError>;
}

/// Queues the change that restores the value before `change`, as `actor` asks for, and nudges the
/// tenant. Returns it with what became of it, or why there is nothing to undo. `seed` tells processes
/// apart that undo at one instant.
///
/// # Errors
/// When the store does not answer.
pub async fn propose_undo(
    store: &dyn Store,
    change: &PendingChange,
    actor: &str,
    seed: u64,
    now: Timestamp,
) -> Result<Result<(ProposedChange, Proposal), CannotUndo>, StoreError> {
    let id = change.proposed.id.as_str();
    // Made from the change, so that undoing two at one instant names two.
    let counter = id
        .bytes()
        .fold(0_u64, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
    let naming = Naming {
        seed,
        tenant: &change.proposed.tenant,
        at: now,
        counter,
    };
    let mut proposed = match undo_of(change, naming.change(), now) {
        Ok(proposed) => proposed,
        Err(why) => return Ok(Err(why)),
    };
    proposed.reason = format!("{}, asked for by {actor}", proposed.reason);
    let outcome = store.propose(&proposed, now).await?;
    store.nudge(&proposed.tenant);
    Ok(Ok((proposed, outcome)))
}
