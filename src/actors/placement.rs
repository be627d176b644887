//! Which tenants this node works for, where several nodes share one store. Renews its leases, takes
//! free tenants, hands over what balance asks for, and takes note of what it has lost. One per node.
//!
//! Everybody decides alone, by the same pure plan on the same rows (see [`plan`]); the store sees to
//! it that a tenant is claimed once. The root starts and stops the tenants; what is held is kept
//! in [`Holdings`], so that a placement that fails and is started again has lost nothing.

pub mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::context::chain;
use super::handle::HealthBoard;
use super::lease::Lease;
use super::root::RootMsg;
use crate::clock::{Clock, Hold, since_boot, wall_sleep};
use crate::domain::ids::{NodeId, TenantId};
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::store::gate::GateRow;
use crate::store::nodes::{Fence, NodeInfo};
use crate::store::nudges::Nudge;
use crate::store::{Store, StoreError};
use plan::View;

/// A lease ends for us a little before it ends for others.
const MARGIN: Duration = Duration::from_millis(500);
/// How long after a call's time-out it is taken for ended.
const CALLS_END: SignedDuration = time::seconds(2);
/// A look shortly after a lease of another node runs out, if it is not renewed.
const AFTER_LAPSE: SignedDuration = time::millis(100);

/// A tenant that this node holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// The claim.
    pub fence: Fence,
    /// Its lease, as the tenant's actors see it.
    pub lease: Arc<Lease>,
    /// Whether its actors have stopped for a handover, so that it can be released.
    pub is_over: bool,
}

/// What a node holds; shared by the root and the placement.
#[derive(Debug, Default)]
pub struct Holdings(Mutex<BTreeMap<TenantId, Held>>);

impl Holdings {
    /// What is held of a tenant.
    #[must_use]
    pub fn get(&self, tenant: &TenantId) -> Option<Held> {
        self.lock().get(tenant).cloned()
    }

    fn all(&self) -> Vec<Held> {
        self.lock().values().cloned().collect()
    }

    fn insert(&self, held: Held) {
        self.lock().insert(held.fence.tenant.clone(), held);
    }

    /// Ends a lease for good; its actors' calls leave no more from this instant on.
    fn end(&self, tenant: &TenantId) {
        if let Some(held) = self.lock().remove(tenant) {
            held.lease.end();
        }
    }

    fn set_over(&self, tenant: &TenantId) {
        if let Some(held) = self.lock().get_mut(tenant) {
            held.lease.end();
            held.is_over = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TenantId, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What placing takes, besides the tree's own.
#[derive(Clone)]
pub struct Placing {
    /// This node.
    pub node: NodeInfo,
    /// How long a lease lasts without being renewed.
    pub ttl: SignedDuration,
    /// What is held.
    pub holdings: Arc<Holdings>,
    /// The gates to Meta.
    pub gates: Arc<dyn SharedGates>,
}

/// The gates to Meta, as far as nodes have to do with each other's.
pub trait SharedGates: Send + Sync {
    /// Takes over cool-downs and usage that other nodes have written down.
    fn take_over(&self, rows: &[GateRow]);

    /// Takes this node's part of what so many nodes share.
    fn share_among(&self, nodes: u32);
}

/// What the placement can be told.
#[derive(Debug)]
pub enum PlacementMsg {
    /// Look at the store.
    Look(Hold),
    /// Word from another node.
    Heard(Nudge, Hold),
    /// These tenants may run here; how long their calls may be on their way.
    Tenants(BTreeMap<TenantId, Duration>, Hold),
    /// The actors of a tenant have stopped for a handover.
    Over(TenantId, Hold),
    /// This node ends: others may take all of its tenants.
    Drain(Hold),
}

/// What the placement is started with.
pub struct PlacementArgs {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where health is shown.
    pub board: Arc<HealthBoard>,
    /// What it takes.
    pub placing: Placing,
    /// The tenants that may run here.
    pub tenants: BTreeMap<TenantId, Duration>,
    /// Who supervises it.
    pub root: ActorRef<RootMsg>,
    /// Held until it has looked.
    pub hold: Hold,
}

/// The placement's state.
pub struct PlacementState {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    board: Arc<HealthBoard>,
    placing: Placing,
    tenants: BTreeMap<TenantId, Duration>,
    root: ActorRef<RootMsg>,
    registered: Option<Timestamp>,
    is_draining: bool,
    /// Tenants that are stopping for a handover.
    given: BTreeSet<TenantId>,
    /// Who held what at the last look.
    elsewhere: BTreeMap<TenantId, NodeId>,
    timer: tokio::task::JoinHandle<()>,
    ear: tokio::task::JoinHandle<()>,
}

/// The actor that places tenants.
pub struct PlacementActor;

impl Actor for PlacementActor {
    type Msg = PlacementMsg;
    type State = PlacementState;
    type Arguments = PlacementArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<PlacementMsg>,
        args: PlacementArgs,
    ) -> Result<PlacementState, ActorProcessingErr> {
        let PlacementArgs {
            store,
            clock,
            board,
            placing,
            tenants,
            root,
            hold,
        } = args;
        let ear = tokio::spawn(listen(store.clone(), clock.clone(), myself.clone()));
        let _ = myself.cast(PlacementMsg::Look(hold));
        Ok(PlacementState {
            timer: tokio::spawn(async {}),
            ear,
            store,
            clock,
            board,
            placing,
            tenants,
            root,
            registered: None,
            is_draining: false,
            given: BTreeSet::new(),
            elsewhere: BTreeMap::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<PlacementMsg>,
        message: PlacementMsg,
        state: &mut PlacementState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PlacementMsg::Look(hold) => state.look_and_arm(&myself, &hold).await?,
            PlacementMsg::Heard(Nudge::Any, hold) => {
                let _ = state.root.cast(RootMsg::IntakeAll(hold.clone()));
                // A nudge of a sync may have been missed.
                for tenant in state.store.asked_syncs().await.unwrap_or_default() {
                    let _ = state.root.cast(RootMsg::Sync(tenant, hold.clone()));
                }
                state.look_and_arm(&myself, &hold).await?;
            }
            PlacementMsg::Heard(Nudge::Tenant(tenant), hold) => {
                let _ = state.root.cast(RootMsg::Heard(tenant, hold));
            }
            PlacementMsg::Heard(Nudge::Sync(tenant), hold) => {
                let _ = state.root.cast(RootMsg::Sync(tenant, hold));
            }
            PlacementMsg::Tenants(tenants, hold) => {
                state.tenants = tenants;
                state.look_and_arm(&myself, &hold).await?;
            }
            PlacementMsg::Over(tenant, _hold) => {
                state.placing.holdings.set_over(&tenant);
                state.release().await;
            }
            PlacementMsg::Drain(_hold) => {
                state.is_draining = true;
                state.timer.abort();
                if let Some(started_at) = state.registered {
                    let node = &state.placing.node.id;
                    // Without it others wait for this node's silence.
                    let _ = state.store.forget_node(node, started_at).await;
                }
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<PlacementMsg>,
        state: &mut PlacementState,
    ) -> Result<(), ActorProcessingErr> {
        state.timer.abort();
        state.ear.abort();
        Ok(())
    }
}

/// Hears what other nodes say, until the store is closed.
async fn listen(store: Arc<dyn Store>, clock: Arc<dyn Clock>, to: ActorRef<PlacementMsg>) {
    let mut nudges = store.nudges();
    while let Some(nudge) = nudges.next().await {
        if to.cast(PlacementMsg::Heard(nudge, clock.hold())).is_err() {
            return;
        }
    }
}

impl PlacementState {
    /// Looks, and looks again in a third of a lease's time, or when a lease of another node runs
    /// out. A store that is out is weather: leases run out by themselves, here and there.
    async fn look_and_arm(
        &mut self,
        myself: &ActorRef<PlacementMsg>,
        hold: &Hold,
    ) -> Result<(), ActorProcessingErr> {
        if self.is_draining {
            return Ok(());
        }
        let beat = self.placing.ttl / 3;
        let wait = match self.look(hold).await {
            Ok(lapse) => {
                self.board.update_placement(|health| {
                    health.last_success = Some(self.clock.now());
                    health.trouble = None;
                    health.trouble_since = None;
                });
                lapse.map_or(beat, |lapse| beat.min(lapse + AFTER_LAPSE))
            }
            Err(Trouble::Weather(why)) => {
                let now = self.clock.now();
                tracing::warn!(reason = %why, "the leases of this node cannot be renewed now: {why}");
                self.board.update_placement(|health| {
                    health.trouble = Some(why);
                    health.trouble_since.get_or_insert(now);
                });
                beat
            }
            Err(Trouble::Broken(why)) => return Err(why.into()),
        };
        self.timer.abort();
        let (me, clock) = (myself.clone(), self.clock.clone());
        self.timer = tokio::spawn(async move {
            wall_sleep(wait.unsigned_abs()).await;
            let _ = me.cast(PlacementMsg::Look(clock.hold()));
        });
        Ok(())
    }

    /// Returns when the next lease of another node runs out.
    async fn look(&mut self, hold: &Hold) -> Result<Option<SignedDuration>, Trouble> {
        let now = self.clock.now();
        let node = self.placing.node.id.clone();
        let started_at = match self.registered {
            Some(at) => at,
            None => self.store.register_node(&self.placing.node, now).await?,
        };
        self.registered = Some(started_at);
        self.renew(hold).await?;
        if !self.store.heartbeat(&node, started_at, now).await? {
            return Err(Trouble::Broken(format!(
                "another process runs as node {node}; give each node a daemon.node of its own"
            )));
        }
        self.release().await;
        let nodes = self.store.nodes(now).await?;
        let leases = self.store.leases(now).await?;
        let mut view = View {
            nodes: nodes
                .into_iter()
                .filter(|seen| seen.silent_for < self.placing.ttl)
                .map(|seen| seen.node.id)
                .collect(),
            tenants: self.tenants.keys().cloned().collect(),
            leases: BTreeMap::new(),
        };
        let mut next = None;
        for lease in leases.into_iter().filter(|lease| lease.left.is_positive()) {
            if lease.fence.node != node {
                let sooner = |known: SignedDuration| known.min(lease.left);
                next = Some(next.map_or(lease.left, sooner));
            }
            view.leases.insert(lease.fence.tenant, lease.fence.node);
        }
        // One of ours that ran out since it was renewed, on a slow machine, is ours until somebody
        // else takes it: to claim it anew would depose our own actors.
        for held in self.placing.holdings.all() {
            view.leases.entry(held.fence.tenant).or_insert(node.clone());
        }
        let gates = &self.placing.gates;
        gates.share_among(u32::try_from(view.nodes.len()).unwrap_or(u32::MAX));
        // Work goes on without: the account's own answers say the same a call later.
        match self.store.load_gate().await {
            Ok(rows) => gates.take_over(&rows),
            Err(error) => tracing::warn!(
                error = %chain(&error),
                "what other nodes know of Meta's limits was not read: {}", chain(&error)
            ),
        }
        let plan = view.plan(&node);
        self.take(plan.take, hold).await?;
        self.give(plan.give, hold);
        self.show(view);
        Ok(next)
    }

    async fn renew(&mut self, hold: &Hold) -> Result<(), Trouble> {
        let held: Vec<Held> = self.placing.holdings.all();
        let fences: Vec<Fence> = held
            .iter()
            .filter(|held| !held.is_over)
            .map(|held| held.fence.clone())
            .collect();
        if fences.is_empty() {
            return Ok(());
        }
        // Counted from before the call: the store counts from when it came.
        let from = since_boot();
        let ttl = self.placing.ttl;
        let kept = self.store.renew_leases(&fences, ttl, self.clock.now());
        let kept = kept.await?;
        let until = good_until(from, ttl);
        let mut lost = Vec::new();
        for held in held.iter().filter(|held| !held.is_over) {
            if kept.contains(&held.fence) {
                held.lease.renew(until);
            } else {
                let tenant = &held.fence.tenant;
                tracing::warn!(
                    tenant.id = %tenant, fence = held.fence.token,
                    "tenant {tenant} is another node's by now; its actors here are cut off"
                );
                self.placing.holdings.end(tenant);
                lost.push(tenant.clone());
            }
        }
        if !lost.is_empty() {
            let _ = self.root.cast(RootMsg::Lost(lost, hold.clone()));
        }
        Ok(())
    }

    async fn take(&mut self, tenants: Vec<TenantId>, hold: &Hold) -> Result<(), Trouble> {
        if tenants.is_empty() {
            return Ok(());
        }
        let from = since_boot();
        let (node, ttl) = (&self.placing.node.id, self.placing.ttl);
        let now = self.clock.now();
        let claims = self.store.claim_leases(node, &tenants, ttl, now).await?;
        let mut taken = Vec::new();
        for claim in claims {
            let tenant = &claim.fence.tenant;
            let timeout = self.tenants.get(tenant).copied().unwrap_or_default();
            let settled_after = if claim.was_free {
                Timestamp::MIN
            } else {
                let timeout = SignedDuration::try_from(timeout).unwrap_or(CALLS_END);
                time::add(now, self.clock.stretch(timeout + CALLS_END))
            };
            tracing::info!(
                tenant.id = %tenant, fence = claim.fence.token, after_a_lapse = !claim.was_free,
                "this node works for tenant {tenant} from now on"
            );
            let lease = Arc::new(Lease::until(good_until(from, ttl), settled_after));
            let held = Held {
                fence: claim.fence,
                lease,
                is_over: false,
            };
            self.placing.holdings.insert(held.clone());
            taken.push(held);
        }
        let _ = self.root.cast(RootMsg::Take(taken, hold.clone()));
        Ok(())
    }

    fn give(&mut self, tenants: Vec<TenantId>, hold: &Hold) {
        let fresh: Vec<TenantId> = tenants
            .into_iter()
            .filter(|tenant| self.given.insert(tenant.clone()))
            .collect();
        if !fresh.is_empty() {
            let _ = self.root.cast(RootMsg::Give(fresh, hold.clone()));
        }
    }

    /// Releases what is over. Fails silently: a lease that is not released runs out.
    async fn release(&mut self) {
        let over: Vec<Fence> = self
            .placing
            .holdings
            .all()
            .into_iter()
            .filter(|held| held.is_over)
            .map(|held| held.fence)
            .collect();
        if over.is_empty() {
            return;
        }
        match self.store.release_leases(&over, self.clock.now()).await {
            Ok(_) => {
                for fence in over {
                    tracing::info!(tenant.id = %fence.tenant, "tenant {} is handed over", fence.tenant);
                    self.given.remove(&fence.tenant);
                    self.placing.holdings.end(&fence.tenant);
                }
                self.store.nudge_everyone();
            }
            Err(error) => tracing::warn!(
                error = %chain(&error),
                "leases were not released and run out by themselves: {}", chain(&error)
            ),
        }
    }

    fn show(&mut self, view: View) {
        let node = &self.placing.node.id;
        let held = self.placing.holdings.all().len();
        metrics::gauge!(crate::telemetry::names::NODE_TENANTS).set(held as f64);
        metrics::gauge!(crate::telemetry::names::NODES_LIVE).set(view.nodes.len() as f64);
        self.elsewhere = view.leases;
        self.elsewhere.retain(|_, holder| holder != node);
        for tenant in self.tenants.keys() {
            let elsewhere = self.elsewhere.get(tenant).map(ToString::to_string);
            self.board
                .update(tenant, |health| health.elsewhere = elsewhere);
        }
    }
}

/// Until when a lease of `ttl` is good that was asked for at `from`.
fn good_until(from: Duration, ttl: SignedDuration) -> Duration {
    (from + ttl.unsigned_abs()).saturating_sub(MARGIN)
}

/// What went wrong in a look.
enum Trouble {
    Weather(String),
    Broken(String),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match super::context::weather(&error) {
            Ok(_) => Self::Weather(chain(&error)),
            Err(broken) => Self::Broken(broken.0),
        }
    }
}
