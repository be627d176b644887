//! Nudges between nodes: "look at this tenant". What there is to do is in the store; a nudge only
//! saves waiting for the next timer.

use tokio::sync::broadcast::{self, error::RecvError};

use crate::domain::ids::TenantId;

/// Nudges that a slow listener may fall behind before it is told to look everywhere.
pub(in crate::store) const NUDGES_KEPT: usize = 1_024;

/// What a listener is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nudge {
    /// There is something to do for a tenant.
    Tenant(TenantId),
    /// A sync of a tenant is asked for.
    Sync(TenantId),
    /// Nudges may have been missed: there may be something to do for any tenant.
    Any,
}

/// What is told from now on. The first is [`Nudge::Any`], as soon as nothing can be missed any more.
#[derive(Debug)]
pub struct Nudges {
    first: Option<Nudge>,
    receiver: broadcast::Receiver<Nudge>,
}

impl Nudges {
    /// What a receiver hears, after `first`.
    pub(in crate::store) const fn new(
        first: Option<Nudge>,
        receiver: broadcast::Receiver<Nudge>,
    ) -> Self {
        Self { first, receiver }
    }

    /// The next nudge; `None` when the store is closed.
    pub async fn next(&mut self) -> Option<Nudge> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match self.receiver.recv().await {
            Ok(nudge) => Some(nudge),
            Err(RecvError::Lagged(_)) => Some(Nudge::Any),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Nudges.
pub trait NudgeStore {
    /// Tells every listener on every node, this one's too, that there is something to do for a
    /// tenant. Returns at once; a nudge that is lost costs time and nothing else.
    fn nudge(&self, tenant: &TenantId);

    /// Tells every listener on every node that a sync of a tenant is asked for. Nobody hears it beyond
    /// the process where a file is the store.
    fn nudge_sync(&self, tenant: &TenantId);

    /// Tells every listener that there may be something to do for any tenant.
    fn nudge_everyone(&self);

    /// Listens. After a lost connection it listens again by itself and says [`Nudge::Any`].
    fn nudges(&self) -> Nudges;
}
