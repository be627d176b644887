//! The root of the tree: starts the tenants, starts a failed one again, parks one that fails too
//! often, and takes a parked one back when an operator resumes it. One tenant's trouble is never
//! another's.

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::context::Context;
use super::handle::{Handle, HealthBoard};
use super::restart::{Failures, RestartPolicy, Verdict};
use super::stage::wake_at;
use super::tenant::{TenantActor, TenantArgs, TenantMsg};
use crate::clock::{Clock, Hold};
use crate::domain::ids::TenantId;
use crate::domain::time;
use crate::store::Store;
use crate::store::tenants::Held;

/// What the root can be told.
#[derive(Debug)]
pub enum RootMsg {
    /// Something came into a tenant's inbox.
    Intake(TenantId, Hold),
    /// The wait after a tenant's failure is over.
    Respawn(TenantId, Hold),
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
    /// Held until every tenant is started.
    pub hold: Hold,
}

struct Tenant {
    context: Arc<Context>,
    actor: Option<ActorRef<TenantMsg>>,
    failures: Failures,
    is_parked: bool,
}

/// The root's state.
pub struct RootState {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    board: Arc<HealthBoard>,
    rng: ChaCha12Rng,
    look_every: time::SignedDuration,
    tenants: BTreeMap<TenantId, Tenant>,
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
            hold,
        } = args;
        let mut state = RootState {
            store,
            clock,
            board,
            rng: ChaCha12Rng::seed_from_u64(seed),
            look_every,
            tenants: BTreeMap::new(),
            timers: Vec::new(),
        };
        for context in tenants {
            state.add(context, &myself, hold.clone()).await;
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
                if let Some(actor) = state.tenants.get(&tenant).and_then(|t| t.actor.as_ref()) {
                    let _ = actor.cast(TenantMsg::Intake(hold));
                }
            }
            RootMsg::Respawn(tenant, hold) => state.spawn(&tenant, &myself, hold).await,
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
                if let Some(tenant) = state.tenant_of(&who) {
                    state.on_failure(&tenant, &error.to_string(), &myself).await;
                }
            }
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                if let Some(tenant) = state.tenant_of(&who) {
                    let why = reason.unwrap_or_else(|| "it ended by itself".to_owned());
                    state.on_failure(&tenant, &why, &myself).await;
                }
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
                let (myself, tenant) = (myself.clone(), id.clone());
                let timer = wake_at(
                    &self.clock,
                    time::add(now, delay),
                    format!("{id}/respawn"),
                    move |hold| {
                        let _ = myself.cast(RootMsg::Respawn(tenant, hold));
                    },
                );
                self.timers.retain(|timer| !timer.is_finished());
                self.timers.push(timer);
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
        let myself = myself.clone();
        let at = time::add(self.clock.now(), self.look_every);
        let timer = wake_at(&self.clock, at, "root".to_owned(), move |hold| {
            let _ = myself.cast(RootMsg::Look(hold));
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
