//! All that may be asked of the tree of actors from outside: nudges, health, and stopping all spend.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ractor::ActorRef;

pub use super::attribution::reported::{Reported, Traces};
use super::root::RootMsg;
pub use super::root::Single;
pub use super::spend;
pub use super::stage::Stage;
pub use super::winners::like::{Like, LikeAds, LikeError};
use crate::clock::Clock;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;

/// What is known of one stage's health.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StageHealth {
    /// When it last did its work without trouble.
    pub last_success: Option<Timestamp>,
    /// When it last reported at all.
    pub last_report: Option<Timestamp>,
    /// Why it cannot go on, if it cannot.
    pub trouble: Option<String>,
    /// Since when it cannot.
    pub trouble_since: Option<Timestamp>,
    /// How often it was started again.
    pub restarts: u64,
    /// Whether it waits to be started again.
    pub is_down: bool,
}

impl StageHealth {
    /// Takes in a report of `now`: what stood in the way, or that nothing did.
    pub fn report(&mut self, now: Timestamp, trouble: Option<String>) {
        self.last_report = Some(now);
        match trouble {
            None => {
                self.last_success = Some(now);
                self.trouble = None;
                self.trouble_since = None;
            }
            Some(why) => {
                self.trouble = Some(why);
                self.trouble_since.get_or_insert(now);
            }
        }
    }
}

/// What is known of one tenant's health.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantHealth {
    /// By stage.
    pub stages: BTreeMap<Stage, StageHealth>,
    /// How often the tenant as a whole was started again.
    pub restarts: u64,
    /// Why it is parked, if it is.
    pub parked: Option<String>,
    /// Whether its actors run.
    pub is_running: bool,
    /// The other node that works for it, where several share the store.
    pub elsewhere: Option<String>,
}

/// The health of every tenant, and of what a node has one of; the actors write, the outside reads.
#[derive(Debug, Default)]
pub struct HealthBoard {
    tenants: Mutex<BTreeMap<TenantId, TenantHealth>>,
    singles: [Mutex<StageHealth>; Single::ALL.len()],
    placement: Mutex<StageHealth>,
}

impl HealthBoard {
    /// A copy of the board.
    #[must_use]
    pub fn read(&self) -> BTreeMap<TenantId, TenantHealth> {
        self.lock().clone()
    }

    /// Changes one tenant's entry.
    pub fn update(&self, tenant: &TenantId, change: impl FnOnce(&mut TenantHealth)) {
        change(self.lock().entry(tenant.clone()).or_default());
    }

    /// Changes one stage's entry.
    pub fn update_stage(
        &self,
        tenant: &TenantId,
        stage: Stage,
        change: impl FnOnce(&mut StageHealth),
    ) {
        self.update(tenant, |health| {
            change(health.stages.entry(stage).or_default())
        });
    }

    /// Takes a tenant off the board.
    pub fn remove(&self, tenant: &TenantId) {
        self.lock().remove(tenant);
    }

    /// A copy of the entry of what a node has one of.
    #[must_use]
    pub fn single(&self, single: Single) -> StageHealth {
        self.lock_single(single).clone()
    }

    /// Changes the entry of what a node has one of.
    pub fn update_single(&self, single: Single, change: impl FnOnce(&mut StageHealth)) {
        change(&mut self.lock_single(single));
    }

    fn lock_single(&self, single: Single) -> MutexGuard<'_, StageHealth> {
        let entry = match single {
            Single::Housekeeper => &self.singles[0],
            Single::Outbox => &self.singles[1],
        };
        entry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the placement's entry.
    #[must_use]
    pub fn placement(&self) -> StageHealth {
        let entry = self.placement.lock();
        entry.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the placement's entry.
    pub fn update_placement(&self, change: impl FnOnce(&mut StageHealth)) {
        let entry = self.placement.lock();
        change(&mut entry.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TenantId, TenantHealth>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle on the tree. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) root: ActorRef<RootMsg>,
    pub(super) board: Arc<HealthBoard>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Handle {
    /// Tells a tenant that something came in. Lost nudges delay and never lose: the stages also
    /// look by themselves.
    pub fn nudge_intake(&self, tenant: &TenantId) {
        let _ = self
            .root
            .cast(RootMsg::Intake(tenant.clone(), self.clock.hold()));
    }

    /// Tells a tenant that a sync is asked for.
    pub fn nudge_sync(&self, tenant: &TenantId) {
        let _ = self
            .root
            .cast(RootMsg::Sync(tenant.clone(), self.clock.hold()));
    }

    /// The health of every tenant.
    #[must_use]
    pub fn health(&self) -> BTreeMap<TenantId, TenantHealth> {
        self.board.read()
    }

    /// The health of the placement, where several nodes share the store.
    #[must_use]
    pub fn placement(&self) -> StageHealth {
        self.board.placement()
    }

    /// The health of what a node has one of.
    #[must_use]
    pub fn single(&self, single: Single) -> StageHealth {
        self.board.single(single)
    }

    /// Whether the root of the tree is alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(self.root.get_status(), ractor::ActorStatus::Running)
    }
}
