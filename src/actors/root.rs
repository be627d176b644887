//! The root of the tree: starts the tenants, starts a failed one again, parks one that fails too
//! often, and takes a parked one back when an operator resumes it. One tenant's trouble is never
//! another's. The housekeeper stands beside the tenants; one that fails too often rests for a day,
//! since nothing waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::context::Context;
use super::handle::{Handle, HealthBoard};
use super::housekeeper::{
    HousekeeperActor, HousekeeperArgs, HousekeeperMsg, Housekeeping, next_day,
};
use super::restart::{Failures, RestartPolicy, Verdict};
use super::stage::wake_at;
use super::tenant::{TenantActor, TenantArgs, TenantMsg};
use crate::clock::{Clock, Hold};
use crate::domain::ids::TenantId;
use crate::domain::time::{self, Timestamp};
use crate::store::Store;
use crate::store::tenants::Held;

/// What the root can be told.
#[derive(Debug)]
pub enum RootMsg {
    /// Something came into a tenant's inbox.
    Intake(TenantId, Hold),
    /// The wait after a tenant's failure is over.
    Respawn(TenantId, Hold),
    /// The wait after the housekeeper's failure is over.
    RespawnHousekeeper(Hold),
    /// A tenant is failing; the word of it comes after this, or came before.
    Fell(TenantId, Hold),
    /// The housekeeper is failing, likewise.
    HousekeeperFell(Hold),
    /// Time to look for resumed tenants.
    Look(Hold),
    /// The configuration of these tenants changed: new, changed (`Some`) or gone (`None`).
    Reload(Vec<(TenantId, Option<Arc<Context>>)>, Hold),
}

/// What the root is started with.
pub struct RootArgs {
    /// One context per tenant.
    pub tenants: Vec<Arc<Context>>,
    /// The store, for parking.
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
    /// Held until every tenant is started.
    pub hold: Hold,
}

/// How long the housekeeper is waited for when it is told to stop: a batch takes far less, and the
/// next one can wait.
const HOUSEKEEPER_PATIENCE: Duration = Duration::from_secs(5);

struct Tenant {
    context: Arc<Context>,
    actor: Option<ActorRef<TenantMsg>>,
    failures: Failures,
    is_parked: bool,
    /// Keeps stepped time still until its failure is seen to.
    fell: Option<Hold>,
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
    housekeeper: Option<ActorRef<HousekeeperMsg>>,
    housekeeper_failures: Failures,
    housekeeper_fell: Option<Hold>,
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
            housekeeper: None,
            housekeeper_failures: Failures::new(RestartPolicy::TENANT),
            housekeeper_fell: None,
            timers: Vec::new(),
        };
        for context in tenants {
            state.add(context, &myself, hold.clone()).await;
        }
        state.spawn_housekeeper(&myself, hold).await;
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
                if let Some(actor) = state.tenants.get(&tenant).and_then(|t| t.actor.as_ref()) {
                    let _ = actor.cast(TenantMsg::Intake(hold));
                }
            }
            RootMsg::Respawn(tenant, hold) => state.spawn(&tenant, &myself, hold).await,
            RootMsg::RespawnHousekeeper(hold) => state.spawn_housekeeper(&myself, hold).await,
            RootMsg::Fell(tenant, hold) => {
                if let Some(tenant) = state.tenants.get_mut(&tenant) {
                    tenant.fell = Some(hold).filter(|_| tenant.actor.is_some());
                }
            }
            RootMsg::HousekeeperFell(hold) => {
                state.housekeeper_fell = Some(hold).filter(|_| state.housekeeper.is_some());
            }
            RootMsg::Look(hold) => {
                state.unpark_resumed(&myself, &hold).await;
                state.arm_look(&myself);
            }
            RootMsg::Reload(changes, hold) => {
                for (tenant, context) in changes {
                    state.remove(&tenant).await;
                    match context {
                        Some(context) => state.add(context, &myself, hold.clone()).await,
                        None => state.board.remove(&tenant),
                    }
                }
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
                state.on_end(&who, &error.to_string(), &myself).await;
            }
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                let why = reason.unwrap_or_else(|| "it ended by itself".to_owned());
                state.on_end(&who, &why, &myself).await;
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
        // All at once: each waits for its own executor to hear Meta's answer out.
        let stops = state.tenants.values_mut().filter_map(|tenant| {
            let actor = tenant.actor.take()?;
            let patience = tenant.context.tenant_stop_patience();
            Some(async move {
                if actor.stop_and_wait(None, Some(patience)).await.is_err() {
                    actor.kill();
                }
            })
        });
        futures_util::future::join_all(stops).await;
        if let Some(housekeeper) = state.housekeeper.take() {
            let patience = Some(HOUSEKEEPER_PATIENCE);
            if housekeeper.stop_and_wait(None, patience).await.is_err() {
                housekeeper.kill();
            }
        }
        Ok(())
    }
}

impl RootState {
    async fn add(&mut self, context: Arc<Context>, myself: &ActorRef<RootMsg>, hold: Hold) {
        let id = context.tenant.id.clone();
        let tenant = Tenant {
            context,
            actor: None,
            failures: Failures::new(RestartPolicy::TENANT),
            is_parked: false,
            fell: None,
        };
        self.tenants.insert(id.clone(), tenant);
        let parked = match self.store.holds(&id).await {
            Ok(holds) => holds.parked,
            // Unknown is not parked: the tenant's own stages meet the weather and wait.
            Err(_) => None,
        };
        match parked {
            Some(held) => self.show_parked(&id, &held.reason),
            None => self.spawn(&id, myself, hold).await,
        }
    }

    async fn remove(&mut self, id: &TenantId) {
        let Some(mut tenant) = self.tenants.remove(id) else {
            return;
        };
        if let Some(actor) = tenant.actor.take() {
            let patience = tenant.context.tenant_stop_patience();
            let _ = actor.stop_and_wait(None, Some(patience)).await;
        }
    }

    async fn spawn(&mut self, id: &TenantId, myself: &ActorRef<RootMsg>, hold: Hold) {
        let rng = ChaCha12Rng::seed_from_u64(self.rng.random());
        let Some(tenant) = self.tenants.get_mut(id) else {
            return;
        };
        let args = TenantArgs {
            context: tenant.context.clone(),
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

    async fn spawn_housekeeper(&mut self, myself: &ActorRef<RootMsg>, hold: Hold) {
        let args = HousekeeperArgs {
            store: self.store.clone(),
            clock: self.clock.clone(),
            board: self.board.clone(),
            housekeeping: self.housekeeping.clone(),
            root: myself.clone(),
            hold,
        };
        match Actor::spawn_linked(None, HousekeeperActor, args, myself.get_cell()).await {
            Ok((actor, _task)) => {
                self.housekeeper = Some(actor);
                self.board
                    .update_housekeeper(|health| health.is_down = false);
            }
            Err(error) => self.on_housekeeper_failure(&error.to_string(), myself),
        }
    }

    /// A child has ended that was not told to.
    async fn on_end(&mut self, who: &ActorCell, why: &str, myself: &ActorRef<RootMsg>) {
        let housekeeper = self.housekeeper.as_ref().map(|actor| actor.get_id());
        if housekeeper == Some(who.get_id()) {
            self.on_housekeeper_failure(why, myself);
        } else if let Some(tenant) = self.tenant_of(who) {
            self.on_failure(&tenant, why, myself).await;
        }
    }

    fn on_housekeeper_failure(&mut self, why: &str, myself: &ActorRef<RootMsg>) {
        let now = self.clock.now();
        let share = self.rng.random::<f64>();
        self.housekeeper = None;
        let _held = self.housekeeper_fell.take();
        let verdict = self.housekeeper_failures.record(now, share);
        self.board.update_housekeeper(|health| {
            health.is_down = true;
            health.restarts += 1;
            health.trouble = Some(why.to_owned());
            health.trouble_since.get_or_insert(now);
        });
        let at = match verdict {
            Verdict::RestartAfter(delay) => time::add(now, delay),
            Verdict::Escalate => {
                self.housekeeper_failures = Failures::new(RestartPolicy::TENANT);
                next_day(now)
            }
        };
        tracing::error!(
            reason = why, until = %at,
            "the housekeeper failed and is started again at {at:.0}: {why}"
        );
        let key = "housekeeper/respawn".to_owned();
        self.tell_at(at, key, myself, RootMsg::RespawnHousekeeper);
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
                let held = Held {
                    by: "roasd".to_owned(),
                    reason: why.to_owned(),
                    since: now,
                };
                if let Err(error) = self.store.set_parked(id, Some(&held)).await {
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
