//! Nudges within this process: there is no other node.

use super::SqliteStore;
use crate::domain::ids::TenantId;
use crate::store::nudges::{Nudge, NudgeStore, Nudges};

impl NudgeStore for SqliteStore {
    fn nudge(&self, tenant: &TenantId) {
        let _ = self.nudges.send(Nudge::Tenant(tenant.clone())); // nobody may be listening
    }

    fn nudges(&self) -> Nudges {
        Nudges::new(Some(Nudge::Any), self.nudges.subscribe())
    }
}
