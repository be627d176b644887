//! Nudges within this process: there is no other node.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use super::SqliteStore;
use crate::domain::ids::TenantId;
use crate::store::nudges::{NUDGES_KEPT, Nudge, NudgeStore, Nudges};

/// What the clones of a store nudge and listen by, until it is closed.
#[derive(Debug, Clone)]
pub(super) struct Bell(Arc<Mutex<Option<broadcast::Sender<Nudge>>>>);

impl Default for Bell {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(broadcast::Sender::new(
            NUDGES_KEPT,
        )))))
    }
}

impl Bell {
    fn sender(&self) -> Option<broadcast::Sender<Nudge>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn ring(&self, nudge: Nudge) {
        if let Some(sender) = self.sender() {
            let _ = sender.send(nudge); // nobody may be listening
        }
    }

    /// Ends what listeners hear.
    pub(super) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl NudgeStore for SqliteStore {
    fn nudge(&self, tenant: &TenantId) {
        self.nudges.ring(Nudge::Tenant(tenant.clone()));
    }

    fn nudge_sync(&self, tenant: &TenantId) {
        self.nudges.ring(Nudge::Sync(tenant.clone()));
    }

    fn nudge_everyone(&self) {
        self.nudges.ring(Nudge::Any);
    }

    fn nudges(&self) -> Nudges {
        let sender = self
            .nudges
            .sender()
            .unwrap_or_else(|| broadcast::Sender::new(1));
        Nudges::new(Some(Nudge::Any), sender.subscribe())
    }
}
