//! The root of the tree: starts the tenants, starts a failed one again, parks one that fails too
//! often, and takes a parked one back when an operator resumes it. One tenant's trouble is never
//! another's. The housekeeper and the outbox stand beside the tenants; one that fails too often rests
//! for a day, since nothing waits for it. Where several nodes share the store, the placement says which tenants
//! run here; without it all do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::context::{Blueprint, Context};
use super::handle::{Handle, HealthBoard};
use super::housekeeper::{HousekeeperActor, HousekeeperArgs, Housekeeping, next_day};
use super::lease::Lease;
use super::outbox::{Alerting, OutboxActor, OutboxArgs};
use super::placement::{Held, PlacementActor, PlacementArgs, PlacementMsg, Placing};
use super::restart::{Failures, RestartPolicy, Verdict};
use super::stage::wake_at;
use super::tenant::{TenantActor, TenantArgs, TenantMsg};
use crate::clock::{Clock, Hold};
use crate::domain::ids::TenantId;
use crate::domain::time::{self, Timestamp};
use crate::store::Store;
use crate::store::tenants::Held as HeldBy;

/// What the root can be told.
#[derive(Debug)]
pub enum RootMsg {
    /// Something came into a tenant's inbox, or its queue.
    Intake(TenantId, Hold),
    /// The same, said by another node.
    Heard(TenantId, Hold),
    /// A sync of a tenant is asked for, here or at another node.
    Sync(TenantId, Hold),
    /// The wait after a tenant's failure is over.
    Respawn(TenantId, Hold),
    /// The wait after the failure of what a node has one of is over.
    RespawnSingle(Single, Hold),
    /// A tenant is failing; the word of it comes after this, or came before.
    Fell(TenantId, Hold),
    /// What a node has one of is failing, likewise.
    SingleFell(Single, Hold),
    /// Time to look for resumed tenants.
    Look(Hold),
    /// These tenants are this node's from now on.
    Take(Vec<Held>, Hold),
    /// These are to be handed over: they stop softly, then their leases are released.
    Give(Vec<TenantId>, Hold),
    /// These are another node's by now: they are cut off.
    Lost(Vec<TenantId>, Hold),
    /// A tenant that was to stop has stopped.
    Stopped(TenantId, Hold),
    /// There may be something to do for every tenant.
    IntakeAll(Hold),
    /// The wait after the placement's failure is over.
    RespawnPlacement(Hold),
    /// The configuration of these tenants changed: new, changed (`Some`) or gone (`None`).
    Reload(Vec<(TenantId, Option<Arc<Blueprint>>)>, Hold),
}

/// What a node has one of, beside its tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Single {
    /// Forgets what is over.
    Housekeeper,
    /// Tells people.
    Outbox,
}

impl Single {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Housekeeper, Self::Outbox];

    /// The name used in logs and health.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Housekeeper => "housekeeper",
            Self::Outbox => "outbox",
        }
    }
}

impl std::fmt::Display for Single {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One of them, as the root sees it.
struct Standing {
    actor: Option<ActorCell>,
    failures: Failures,
    fell: Option<Hold>,
}

impl Standing {
    fn new() -> Self {
        Self {
            actor: None,
            failures: Failures::new(RestartPolicy::TENANT),
            fell: None,
        }
    }
}

/// What the root is started with.
pub struct RootArgs {
    /// Every tenant that may run here.
    pub tenants: Vec<Arc<Blueprint>>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Seeds the random part of restart delays.
    pub seed: u64,
    /// How often the root looks whether an operator has resumed a parked tenant.
    pub look_every: time::SignedDuration,
    /// Where health is shown.
    pub board: Arc<HealthBoard>,
    /// What the housekeeper is given.
    pub housekeeping: Housekeeping,
    /// What the outbox is given.
    pub alerting: Arc<ArcSwap<Alerting>>,
    /// How tenants are placed where several nodes share the store; `None` where all run here.
    pub placing: Option<Placing>,
    /// Held until every tenant is started.
    pub hold: Hold,
}

/// How long what a node has one of is waited for when it is told to stop: a batch takes far less,
/// and a message that was cut off is sent again.
const SINGLE_PATIENCE: Duration = Duration::from_secs(5);
/// How long the placement is waited for: leases that are not released run out.
const PLACEMENT_PATIENCE: Duration = Duration::from_secs(5);

/// What comes after a tenant has stopped, the weightier of two orders last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Then {
    /// It starts again, with what is configured by then.
    Again,
    /// Its lease is released.
    Release,
    /// It is forgotten.
    Forget,
}

struct Tenant {
    blueprint: Arc<Blueprint>,
    /// What its actors share while this node works for it.
    context: Option<Arc<Context>>,
    actor: Option<ActorRef<TenantMsg>>,
    failures: Failures,
    is_parked: bool,
    /// Set while it stops.
    stopping: Option<Then>,
    /// Keeps stepped time still until its failure is seen to.
    fell: Option<Hold>,
}

impl Tenant {
    fn new(blueprint: Arc<Blueprint>) -> Self {
        Self {
            blueprint,
            context: None,
            actor: None,
            failures: Failures::new(RestartPolicy::TENANT),
            is_parked: false,
            stopping: None,
            fell: None,
        }
    }
}

/// The root's state.
pub struct RootState {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    board: Arc<HealthBoard>,
    rng: ChaCha12Rng,
    look_every: time::SignedDuration,
    tenants: BTreeMap<TenantId, Tenant>,
    housekeeping: Housekeeping,
    alerting: Arc<ArcSwap<Alerting>>,
    singles: BTreeMap<Single, Standing>,
    placing: Option<Placing>,
    placement: Option<ActorRef<PlacementMsg>>,
    placement_failures: Failures,
    timers: Vec<tokio::task::JoinHandle<()>>,
}

/// The actor at the root.
pub struct RootActor;

/// Starts the tree and returns a handle on it, and the task that ends when the root has.
///
/// # Errors
/// When the root itself cannot start.
pub async fn start(
    args: RootArgs,
) -> Result<(Handle, ActorRef<RootMsg>, tokio::task::JoinHandle<()>), ractor::SpawnErr> {
    let board = args.board.clone();
    let clock = args.clock.clone();
    let (root, task) = Actor::spawn(None, RootActor, args).await?;
    Ok((
        Handle {
            root: root.clone(),
            board,
            clock,
        },
        root,
        task,
    ))
}

impl Actor for RootActor {
    type Msg = RootMsg;
    type State = RootState;
    type Arguments = RootArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<RootMsg>,
        args: RootArgs,
    ) -> Result<RootState, ActorProcessingErr> {
        let RootArgs {
            tenants,
            store,
            clock,
            seed,
            look_every,
            board,
            housekeeping,
            alerting,
            placing,
            hold,
        } = args;
        let mut state = RootState {
            store,
            clock,
            board,
            rng: ChaCha12Rng::seed_from_u64(seed),
            look_every,
            tenants: BTreeMap::new(),
            housekeeping,
            alerting,
            singles: Single::ALL.map(|single| (single, Standing::new())).into(),
            placing,
            placement: None,
            placement_failures: Failures::new(RestartPolicy::TENANT),
            timers: Vec::new(),
        };
        for blueprint in tenants {
            state.add(blueprint, &myself, &hold).await;
        }
        state.spawn_placement(&myself, &hold).await?;
        for single in Single::ALL {
            state.spawn_single(single, &myself, hold.clone()).await;
        }
        state.arm_look(&myself);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMsg>,
        message: RootMsg,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMsg::Intake(tenant, hold) => {
                if !state.tell_intake(&tenant, &hold) {
                    // The node that works for it is told.
                    state.store.nudge(&tenant);
                }
            }
            RootMsg::Heard(tenant, hold) => {
                state.tell_intake(&tenant, &hold);
            }
            RootMsg::Sync(tenant, hold) => {
                // Whoever takes the tenant over looks for it at the start.
                if let Some(actor) = state.tenants.get(&tenant).and_then(|t| t.actor.as_ref()) {
                    let _ = actor.cast(TenantMsg::Sync(hold));
                }
            }
            RootMsg::IntakeAll(hold) => {
                let all: Vec<TenantId> = state.tenants.keys().cloned().collect();
                for tenant in all {
                    state.tell_intake(&tenant, &hold);
                }
            }
            RootMsg::Take(taken, hold) => {
                for held in taken {
                    state.take(held, &myself, &hold).await;
                }
            }
            RootMsg::Give(tenants, hold) => {
                for tenant in tenants {
                    state.stop(&tenant, Then::Release, &myself, hold.clone());
                }
            }
            RootMsg::Lost(tenants, _hold) => {
                for tenant in tenants {
                    state.cut_off(&tenant);
                }
            }
            RootMsg::Stopped(tenant, hold) => state.on_stopped(&tenant, &myself, hold).await,
            RootMsg::RespawnPlacement(hold) => state.spawn_placement(&myself, &hold).await?,
            RootMsg::Respawn(tenant, hold) => state.spawn(&tenant, &myself, hold).await,
            RootMsg::RespawnSingle(single, hold) => {
                state.spawn_single(single, &myself, hold).await;
            }
            RootMsg::Fell(tenant, hold) => {
                if let Some(tenant) = state.tenants.get_mut(&tenant) {
                    tenant.fell = Some(hold).filter(|_| tenant.actor.is_some());
                }
            }
            RootMsg::SingleFell(single, hold) => {
                let standing = state.standing(single);
                standing.fell = Some(hold).filter(|_| standing.actor.is_some());
            }
            RootMsg::Look(hold) => {
                state.unpark_resumed(&myself, &hold).await;
                state.arm_look(&myself);
            }
            RootMsg::Reload(changes, hold) => {
                for (tenant, blueprint) in changes {
                    state.reload(tenant, blueprint, &myself, &hold).await;
                }
                state.tell_tenants(hold);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMsg>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(who, error) => {
                state.on_end(&who, &error.to_string(), &myself).await?;
            }
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                let why = reason.unwrap_or_else(|| "it ended by itself".to_owned());
                state.on_end(&who, &why, &myself).await?;
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<RootMsg>,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        for timer in &state.timers {
            timer.abort();
        }
        let placement = state.placement.take();
        if let Some(placement) = &placement {
            // Others may take over from now on, each tenant as it has stopped here.
            let _ = placement.cast(PlacementMsg::Drain(state.clock.hold()));
        }
        // All at once: each waits for its own executor to hear Meta's answer out.
        let stops = state.tenants.iter_mut().filter_map(|(id, tenant)| {
            let actor = tenant.actor.take();
            let context = tenant.context.take()?;
            let (placement, hold) = (placement.clone(), state.clock.hold());
            Some(async move {
                if let Some(actor) = actor {
                    let patience = context.tenant_stop_patience();
                    if actor.stop_and_wait(None, Some(patience)).await.is_err() {
                        actor.kill();
                    }
                }
                if let Some(placement) = placement {
                    let _ = placement.cast(PlacementMsg::Over(id.clone(), hold));
                }
            })
        });
        futures_util::future::join_all(stops).await;
        if let Some(placement) = placement {
            // What it was told is done first.
            let patience = Some(PLACEMENT_PATIENCE);
            if placement.drain_and_wait(patience).await.is_err() {
                placement.kill();
            }
        }
        for standing in state.singles.values_mut() {
            if let Some(actor) = standing.actor.take() {
                let patience = Some(SINGLE_PATIENCE);
                if actor.stop_and_wait(None, patience).await.is_err() {
                    actor.kill();
                }
            }
        }
        Ok(())
    }
}

impl RootState {
    async fn add(&mut self, blueprint: Arc<Blueprint>, myself: &ActorRef<RootMsg>, hold: &Hold) {
        let id = blueprint.tenant.id.clone();
        let mut tenant = Tenant::new(blueprint);
        if self.placing.is_none() {
            let lease = Arc::new(Lease::for_ever());
            tenant.context = Some(tenant.blueprint.context(self.store.clone(), lease));
        }
        self.tenants.insert(id.clone(), tenant);
        self.start(&id, myself, hold).await;
    }

    /// Starts a tenant that this node works for, unless it is parked.
    async fn start(&mut self, id: &TenantId, myself: &ActorRef<RootMsg>, hold: &Hold) {
        if self.tenants.get(id).is_none_or(|t| t.context.is_none()) {
            return;
        }
        let parked = match self.store.holds(id).await {
            Ok(holds) => holds.parked,
            // Unknown is not parked: the tenant's own stages meet the weather and wait.
            Err(_) => None,
        };
        match parked {
            Some(held) => self.show_parked(id, &held.reason),
            None => self.spawn(id, myself, hold.clone()).await,
        }
    }

    /// Takes a tenant that the placement has claimed.
    async fn take(&mut self, held: Held, myself: &ActorRef<RootMsg>, hold: &Hold) {
        let id = held.fence.tenant.clone();
        // Whoever still works for it does so under an older claim.
        self.cut_off(&id);
        let Some(tenant) = self.tenants.get_mut(&id) else {
            // Gone from the configuration meanwhile.
            self.tell_over(&id, hold.clone());
            return;
        };
        let store = self.store.fenced(held.fence);
        tenant.context = Some(tenant.blueprint.context(store, held.lease));
        tenant.failures = Failures::new(RestartPolicy::TENANT);
        tenant.stopping = None;
        self.start(&id, myself, hold).await;
    }

    /// Stops a tenant softly, and not in the way of others: its executor may be hearing Meta out.
    fn stop(&mut self, id: &TenantId, then: Then, myself: &ActorRef<RootMsg>, hold: Hold) {
        let Some(tenant) = self.tenants.get_mut(id) else {
            self.tell_over(id, hold);
            return;
        };
        let is_stopping = tenant.stopping.is_some();
        tenant.stopping = tenant.stopping.max(Some(then));
        if is_stopping {
            return;
        }
        let actor = tenant.actor.take();
        let patience = tenant.context.as_ref().map(|c| c.tenant_stop_patience());
        let (id, myself) = (id.clone(), myself.clone());
        tokio::spawn(async move {
            if let Some(actor) = actor
                && actor.stop_and_wait(None, patience).await.is_err()
            {
                actor.kill();
            }
            let _ = myself.cast(RootMsg::Stopped(id, hold));
        });
    }

    async fn on_stopped(&mut self, id: &TenantId, myself: &ActorRef<RootMsg>, hold: Hold) {
        let Some(tenant) = self.tenants.get_mut(id) else {
            return;
        };
        self.board.update(id, |health| health.is_running = false);
        match tenant.stopping.take() {
            Some(Then::Again) => {
                // The lease and the fence stay; the rest is what is configured now.
                let kept = tenant.context.take();
                tenant.context = kept.map(|old| {
                    tenant
                        .blueprint
                        .context(old.store.clone(), old.lease.clone())
                });
                tenant.is_parked = false;
                tenant.failures = Failures::new(RestartPolicy::TENANT);
                self.start(id, myself, &hold).await;
            }
            Some(Then::Release) => {
                tenant.context = None;
                tenant.is_parked = false;
                self.tell_over(id, hold);
            }
            Some(Then::Forget) => {
                self.tenants.remove(id);
                self.board.remove(id);
                self.tell_over(id, hold);
            }
            // It was taken anew meanwhile.
            None => {}
        }
    }

    /// Ends a tenant at once that this node works for no more, or under a newer claim: whatever it
    /// still does here comes to nothing.
    fn cut_off(&mut self, id: &TenantId) {
        if let Some(tenant) = self.tenants.get_mut(id) {
            if let Some(actor) = tenant.actor.take() {
                actor.kill();
            }
            tenant.context = None;
            tenant.is_parked = false;
            self.board.update(id, |health| health.is_running = false);
        }
    }

    async fn reload(
        &mut self,
        id: TenantId,
        blueprint: Option<Arc<Blueprint>>,
        myself: &ActorRef<RootMsg>,
        hold: &Hold,
    ) {
        match (blueprint, self.tenants.get_mut(&id)) {
            (Some(blueprint), Some(tenant)) => {
                tenant.blueprint = blueprint;
                if tenant.context.is_some() {
                    self.stop(&id, Then::Again, myself, hold.clone());
                }
            }
            (Some(blueprint), None) => self.add(blueprint, myself, hold).await,
            (None, _) => self.stop(&id, Then::Forget, myself, hold.clone()),
        }
    }

    /// Tells a tenant that something came; `false` when it does not run here.
    fn tell_intake(&self, id: &TenantId, hold: &Hold) -> bool {
        match self.tenants.get(id).and_then(|t| t.actor.as_ref()) {
            Some(actor) => {
                let _ = actor.cast(TenantMsg::Intake(hold.clone()));
                true
            }
            None => false,
        }
    }

    fn tell_over(&self, id: &TenantId, hold: Hold) {
        if let Some(placement) = &self.placement {
            let _ = placement.cast(PlacementMsg::Over(id.clone(), hold));
        }
    }

    /// The tenants that may run here, with how long their calls may be on their way.
    fn placeable(&self) -> BTreeMap<TenantId, Duration> {
        let tenants = self
            .tenants
            .iter()
            .filter(|(_, t)| t.stopping != Some(Then::Forget));
        tenants
            .map(|(id, t)| (id.clone(), t.blueprint.call_timeout))
            .collect()
    }

    fn tell_tenants(&self, hold: Hold) {
        if let Some(placement) = &self.placement {
            let _ = placement.cast(PlacementMsg::Tenants(self.placeable(), hold));
        }
    }

    async fn spawn_placement(
        &mut self,
        myself: &ActorRef<RootMsg>,
        hold: &Hold,
    ) -> Result<(), ActorProcessingErr> {
        let Some(placing) = self.placing.clone() else {
            return Ok(());
        };
        let args = PlacementArgs {
            store: self.store.clone(),
            clock: self.clock.clone(),
            board: self.board.clone(),
            placing,
            tenants: self.placeable(),
            root: myself.clone(),
            hold: hold.clone(),
        };
        match Actor::spawn_linked(None, PlacementActor, args, myself.get_cell()).await {
            Ok((actor, _task)) => {
                self.placement = Some(actor);
                self.board.update_placement(|health| health.is_down = false);
                Ok(())
            }
            Err(error) => self.on_placement_failure(&error.to_string(), myself),
        }
    }

    /// Without a placement leases run out and nothing is written: it is started again soon, and one
    /// that keeps failing ends the process, which the service manager starts anew.
    fn on_placement_failure(
        &mut self,
        why: &str,
        myself: &ActorRef<RootMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let now = self.clock.now();
        self.placement = None;
        let verdict = self.placement_failures.record(now, 0.0);
        self.board.update_placement(|health| {
            health.is_down = true;
            health.restarts += 1;
            health.trouble = Some(why.to_owned());
            health.trouble_since.get_or_insert(now);
        });
        tracing::error!(reason = why, "the placement of tenants failed: {why}");
        match verdict {
            Verdict::RestartAfter(_) => {
                let at = time::add(now, self.clock.stretch(time::seconds(1)));
                self.tell_at(
                    at,
                    "placement/respawn".to_owned(),
                    myself,
                    RootMsg::RespawnPlacement,
                );
                Ok(())
            }
            Verdict::Escalate => Err(format!("the placement failed too often: {why}").into()),
        }
    }

    async fn spawn(&mut self, id: &TenantId, myself: &ActorRef<RootMsg>, hold: Hold) {
        let rng = ChaCha12Rng::seed_from_u64(self.rng.random());
        let Some(tenant) = self.tenants.get_mut(id) else {
            return;
        };
        // Handed over, or stopping, since this was booked.
        let Some(context) = tenant.context.clone().filter(|_| tenant.stopping.is_none()) else {
            return;
        };
        let args = TenantArgs {
            context,
            board: self.board.clone(),
            root: myself.clone(),
            rng,
            hold,
        };
        match Actor::spawn_linked(None, TenantActor, args, myself.get_cell()).await {
            Ok((actor, _task)) => {
                tenant.actor = Some(actor);
                tenant.is_parked = false;
                self.board.update(id, |health| {
                    health.is_running = true;
                    health.parked = None;
                });
            }
            Err(error) => self.on_failure(id, &error.to_string(), myself).await,
        }
    }

    async fn spawn_single(&mut self, single: Single, myself: &ActorRef<RootMsg>, hold: Hold) {
        let parent = myself.get_cell();
        let (store, clock, board) = (self.store.clone(), self.clock.clone(), self.board.clone());
        let root = myself.clone();
        let spawned = match single {
            Single::Housekeeper => {
                let args = HousekeeperArgs {
                    store,
                    clock,
                    board,
                    housekeeping: self.housekeeping.clone(),
                    root,
                    hold,
                };
                let spawned = Actor::spawn_linked(None, HousekeeperActor, args, parent).await;
                spawned.map(|(actor, _task)| actor.get_cell())
            }
            Single::Outbox => {
                let args = OutboxArgs {
                    store,
                    clock,
                    board,
                    alerting: self.alerting.clone(),
                    root,
                    hold,
                };
                let spawned = Actor::spawn_linked(None, OutboxActor, args, parent).await;
                spawned.map(|(actor, _task)| actor.get_cell())
            }
        };
        match spawned {
            Ok(actor) => {
                self.standing(single).actor = Some(actor);
                self.board
                    .update_single(single, |health| health.is_down = false);
            }
            Err(error) => self.on_single_failure(single, &error.to_string(), myself),
        }
    }

    fn standing(&mut self, single: Single) -> &mut Standing {
        self.singles.entry(single).or_insert_with(Standing::new)
    }

    fn single_of(&self, who: &ActorCell) -> Option<Single> {
        let is_it = |standing: &Standing| {
            standing
                .actor
                .as_ref()
                .is_some_and(|actor| actor.get_id() == who.get_id())
        };
        self.singles
            .iter()
            .find_map(|(single, standing)| is_it(standing).then_some(*single))
    }

    /// A child has ended that was not told to.
    async fn on_end(
        &mut self,
        who: &ActorCell,
        why: &str,
        myself: &ActorRef<RootMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let placement = self.placement.as_ref().map(|actor| actor.get_id());
        if let Some(single) = self.single_of(who) {
            self.on_single_failure(single, why, myself);
        } else if placement == Some(who.get_id()) {
            return self.on_placement_failure(why, myself);
        } else if let Some(tenant) = self.tenant_of(who) {
            self.on_failure(&tenant, why, myself).await;
        }
        Ok(())
    }

    fn on_single_failure(&mut self, single: Single, why: &str, myself: &ActorRef<RootMsg>) {
        let now = self.clock.now();
        let share = self.rng.random::<f64>();
        let standing = self.standing(single);
        standing.actor = None;
        let _held = standing.fell.take();
        let at = match standing.failures.record(now, share) {
            Verdict::RestartAfter(delay) => time::add(now, delay),
            Verdict::Escalate => {
                standing.failures = Failures::new(RestartPolicy::TENANT);
                next_day(now)
            }
        };
        self.board.update_single(single, |health| {
            health.is_down = true;
            health.restarts += 1;
            health.trouble = Some(why.to_owned());
            health.trouble_since.get_or_insert(now);
        });
        tracing::error!(
            reason = why, until = %at,
            "the {single} failed and is started again at {at:.0}: {why}"
        );
        let key = format!("{single}/respawn");
        self.tell_at(at, key, myself, move |hold| {
            RootMsg::RespawnSingle(single, hold)
        });
    }

    fn tenant_of(&self, who: &ActorCell) -> Option<TenantId> {
        self.tenants
            .iter()
            .find(|(_, t)| t.actor.as_ref().is_some_and(|a| a.get_id() == who.get_id()))
            .map(|(id, _)| id.clone())
    }

    async fn on_failure(&mut self, id: &TenantId, why: &str, myself: &ActorRef<RootMsg>) {
        let now = self.clock.now();
        let share = self.rng.random::<f64>();
        let Some(tenant) = self.tenants.get_mut(id) else {
            return;
        };
        tenant.actor = None;
        let _held = tenant.fell.take();
        let verdict = tenant.failures.record(now, share);
        let restarts = tenant.failures.total();
        self.board.update(id, |health| {
            health.is_running = false;
            health.restarts = restarts;
        });
        match verdict {
            Verdict::RestartAfter(delay) => {
                tracing::error!(
                    tenant.id = %id, reason = why, failures = restarts, delay_ms = %delay.as_millis(),
                    "tenant {id} failed and is started again: {why}"
                );
                let (at, tenant) = (time::add(now, delay), id.clone());
                self.tell_at(at, format!("{id}/respawn"), myself, |hold| {
                    RootMsg::Respawn(tenant, hold)
                });
            }
            Verdict::Escalate => {
                tracing::error!(
                    tenant.id = %id, reason = why,
                    "tenant {id} failed too often and is parked; when the cause is mended, \
                     run: roasd resume {id}"
                );
                let held = HeldBy {
                    by: "roasd".to_owned(),
                    reason: why.to_owned(),
                    since: now,
                };
                let store = tenant
                    .context
                    .as_ref()
                    .map_or(&self.store, |c| &c.store)
                    .clone();
                if let Err(error) = store.set_parked(id, Some(&held)).await {
                    tracing::error!(tenant.id = %id, %error, "the parking of {id} was not stored");
                }
                self.show_parked(id, why);
            }
        }
    }

    fn show_parked(&mut self, id: &TenantId, why: &str) {
        if let Some(tenant) = self.tenants.get_mut(id) {
            tenant.is_parked = true;
        }
        self.board.update(id, |health| {
            health.is_running = false;
            health.parked = Some(why.to_owned());
        });
    }

    async fn unpark_resumed(&mut self, myself: &ActorRef<RootMsg>, hold: &Hold) {
        let parked: Vec<_> = self
            .tenants
            .iter()
            .filter(|(_, t)| t.is_parked)
            .map(|(id, _)| id.clone())
            .collect();
        for id in parked {
            if let Ok(holds) = self.store.holds(&id).await
                && holds.parked.is_none()
            {
                tracing::info!(tenant.id = %id, "tenant {id} was resumed by an operator");
                if let Some(tenant) = self.tenants.get_mut(&id) {
                    tenant.failures = Failures::new(RestartPolicy::TENANT);
                }
                self.spawn(&id, myself, hold.clone()).await;
            }
        }
    }

    fn arm_look(&mut self, myself: &ActorRef<RootMsg>) {
        let at = time::add(self.clock.now(), self.look_every);
        self.tell_at(at, "root".to_owned(), myself, RootMsg::Look);
    }

    /// Tells itself something at a later time.
    fn tell_at(
        &mut self,
        at: Timestamp,
        key: String,
        myself: &ActorRef<RootMsg>,
        word: impl FnOnce(Hold) -> RootMsg + Send + 'static,
    ) {
        let myself = myself.clone();
        let timer = wake_at(&self.clock, at, key, move |hold| {
            let _ = myself.cast(word(hold));
        });
        self.timers.retain(|timer| !timer.is_finished());
        self.timers.push(timer);
    }
}

impl Drop for RootState {
    fn drop(&mut self) {
        for timer in &self.timers {
            timer.abort();
        }
    }
}
