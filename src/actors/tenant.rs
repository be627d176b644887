//! One tenant: starts its stages, passes the word from one to the next, and starts a failed one
//! again. The order of the stages lives here alone.
//!
//! A stage has at most one message to answer; another one is remembered and sent when the first is
//! answered, so mailboxes cannot grow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::context::Context;
use super::handle::HealthBoard;
use super::restart::{Failures, RestartPolicy, Verdict};
use super::root::RootMsg;
use super::stage::{Cause, Progress, Stage, StageActor, StageArgs, StageMsg, StageReport, wake_at};
use super::{attribution, executor, optimizer, sync, winners};
use crate::clock::Hold;
use crate::domain::time;

/// What a tenant can be told.
#[derive(Debug)]
pub enum TenantMsg {
    /// Something came into the inbox, or into the queue of changes.
    Intake(Hold),
    /// A sync is asked for.
    Sync(Hold),
    /// A stage has looked.
    Report(StageReport),
    /// A stage's own timer.
    Timer(Stage, Hold),
    /// The wait after a failure is over.
    Respawn(Stage, Hold),
    /// A stage is failing; the word of it comes after this, or came before.
    Fell(Stage, Hold),
}

/// What a tenant is started with.
pub struct TenantArgs {
    /// What its children share.
    pub context: Arc<Context>,
    /// Where its health is shown.
    pub board: Arc<HealthBoard>,
    /// Who supervises it.
    pub root: ActorRef<RootMsg>,
    /// The random part of restart delays.
    pub rng: ChaCha12Rng,
    /// Held until its stages have armed their timers.
    pub hold: Hold,
}

struct Child {
    actor: Option<ActorRef<StageMsg>>,
    failures: Failures,
    is_busy: bool,
    again: Option<Cause>,
    /// Keeps stepped time still until its failure is seen to.
    fell: Option<Hold>,
}

/// The tenant's state.
pub struct TenantState {
    context: Arc<Context>,
    board: Arc<HealthBoard>,
    root: ActorRef<RootMsg>,
    rng: ChaCha12Rng,
    children: BTreeMap<Stage, Child>,
    timers: Vec<tokio::task::JoinHandle<()>>,
}

/// The actor of one tenant.
pub struct TenantActor;

impl Actor for TenantActor {
    type Msg = TenantMsg;
    type State = TenantState;
    type Arguments = TenantArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<TenantMsg>,
        args: TenantArgs,
    ) -> Result<TenantState, ActorProcessingErr> {
        let TenantArgs {
            context,
            board,
            root,
            rng,
            hold,
        } = args;
        let mut state = TenantState {
            context,
            board,
            root,
            rng,
            children: BTreeMap::new(),
            timers: Vec::new(),
        };
        for stage in Stage::ALL {
            let child = Child {
                actor: None,
                failures: Failures::new(RestartPolicy::STAGE),
                is_busy: false,
                again: None,
                fell: None,
            };
            state.children.insert(stage, child);
        }
        // The executor settles what a crash left open before anything new is decided.
        for stage in [
            Stage::Executor,
            Stage::Winners,
            Stage::Attribution,
            Stage::Optimizer,
            Stage::Sync,
        ] {
            state.spawn(stage, &myself, hold.clone()).await?;
        }
        state
            .board
            .update(&state.context.tenant.id, |health| health.is_running = true);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<TenantMsg>,
        message: TenantMsg,
        state: &mut TenantState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            TenantMsg::Intake(hold) => {
                // A delivery came, or a person approved something.
                state.tell(Stage::Executor, Cause::Nudge, hold.clone());
                state.tell(Stage::Attribution, Cause::Nudge, hold);
            }
            TenantMsg::Sync(hold) => {
                state.context.sync_asked.store(true, Ordering::Relaxed);
                state.nudge(Stage::Sync, hold);
            }
            TenantMsg::Timer(stage, hold) => state.tell(stage, Cause::Timer, hold),
            TenantMsg::Report(report) => state.pass_on(report),
            TenantMsg::Fell(stage, hold) => {
                if let Some(child) = state.children.get_mut(&stage) {
                    child.fell = Some(hold).filter(|_| child.actor.is_some());
                }
            }
            TenantMsg::Respawn(stage, hold) => {
                if let Err(error) = state.spawn(stage, &myself, hold).await {
                    // A start that fails is a failure like any other, with no event of its own.
                    state.on_failure(stage, &error.to_string(), &myself).await?;
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<TenantMsg>,
        event: SupervisionEvent,
        state: &mut TenantState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(who, error) => {
                if let Some(stage) = state.stage_of(&who) {
                    state.on_failure(stage, &error.to_string(), &myself).await?;
                }
            }
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                if let Some(stage) = state.stage_of(&who) {
                    let why = reason.unwrap_or_else(|| "it ended by itself".to_owned());
                    state.on_failure(stage, &why, &myself).await?;
                }
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        myself: ActorRef<TenantMsg>,
        state: &mut TenantState,
    ) -> Result<(), ActorProcessingErr> {
        for timer in &state.timers {
            timer.abort();
        }
        // The executor last: it may be waiting for Meta's answer to a call already made.
        for stage in Stage::ALL {
            let actor = state
                .children
                .get_mut(&stage)
                .and_then(|child| child.actor.take());
            if let Some(actor) = actor {
                let patience = state.context.stop_patience(stage);
                if actor.stop_and_wait(None, Some(patience)).await.is_err() {
                    tracing::warn!(
                        tenant.id = %state.context.tenant.id, stage = %stage,
                        "{stage} did not stop within {patience:?} and is cut off; its work is in the store"
                    );
                    actor.kill();
                }
            }
        }
        state
            .board
            .update(&state.context.tenant.id, |health| health.is_running = false);
        drop(myself);
        Ok(())
    }
}

impl TenantState {
    async fn spawn(
        &mut self,
        stage: Stage,
        myself: &ActorRef<TenantMsg>,
        hold: Hold,
    ) -> Result<(), ActorProcessingErr> {
        let context = self.context.clone();
        let work: Box<dyn super::stage::Work> = match stage {
            Stage::Sync => Box::new(sync::SyncWork::new(context.clone())),
            Stage::Attribution => Box::new(attribution::AttributionWork::new(context.clone())),
            Stage::Winners => Box::new(winners::WinnersWork::new(context.clone())),
            Stage::Optimizer => Box::new(optimizer::OptimizerWork::new(context.clone())),
            Stage::Executor => Box::new(executor::ExecutorWork::new(context.clone())),
        };
        let args = StageArgs {
            context,
            work,
            tenant: myself.clone(),
            hold,
        };
        let (actor, _task) =
            StageActor::spawn_linked(None, StageActor, args, myself.get_cell()).await?;
        if let Some(child) = self.children.get_mut(&stage) {
            child.actor = Some(actor);
            child.is_busy = false;
            child.again = None;
        }
        self.board
            .update_stage(&self.context.tenant.id, stage, |health| {
                health.is_down = false
            });
        Ok(())
    }

    fn stage_of(&self, who: &ActorCell) -> Option<Stage> {
        let is = |child: &Child| {
            child
                .actor
                .as_ref()
                .is_some_and(|actor| actor.get_id() == who.get_id())
        };
        self.children
            .iter()
            .find(|(_, child)| is(child))
            .map(|(stage, _)| *stage)
    }

    fn tell(&mut self, stage: Stage, cause: Cause, hold: Hold) {
        let Some(child) = self.children.get_mut(&stage) else {
            return;
        };
        if child.is_busy {
            child.again = child.again.max(Some(cause));
        } else if let Some(actor) = &child.actor {
            child.is_busy = actor.cast(StageMsg::Look(cause, hold)).is_ok();
        }
        // A stage that is down looks by itself when it is back.
    }

    fn nudge(&mut self, stage: Stage, hold: Hold) {
        self.tell(stage, Cause::Nudge, hold);
    }

    /// sync → attribution → winners → optimizer → executor; attribution may ask for a sync first.
    fn pass_on(&mut self, report: StageReport) {
        let StageReport {
            stage,
            progress,
            cause,
            hold,
        } = report;
        let now = self.context.clock.now();
        let trouble = match &progress {
            Progress::Degraded(why) => Some(why.clone()),
            Progress::Advanced | Progress::Idle | Progress::NeedsSync => None,
        };
        self.board
            .update_stage(&self.context.tenant.id, stage, |health| {
                health.report(now, trouble);
            });
        if let Some(child) = self.children.get_mut(&stage) {
            child.is_busy = false;
            if let Some(cause) = child.again.take() {
                self.tell(stage, cause, hold.clone());
            }
        }
        match (stage, progress) {
            (Stage::Sync, Progress::Advanced) => self.nudge(Stage::Attribution, hold),
            (Stage::Attribution, Progress::NeedsSync) => self.nudge(Stage::Sync, hold),
            (Stage::Attribution, Progress::Advanced) => self.nudge(Stage::Winners, hold),
            (Stage::Winners, Progress::Advanced | Progress::Idle) if cause == Cause::Nudge => {
                self.nudge(Stage::Optimizer, hold);
            }
            (Stage::Optimizer, Progress::Advanced) => self.nudge(Stage::Executor, hold),
            _ => {}
        }
    }

    async fn on_failure(
        &mut self,
        stage: Stage,
        why: &str,
        myself: &ActorRef<TenantMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let tenant = self.context.tenant.id.clone();
        let now = self.context.clock.now();
        let share = self.rng.random::<f64>();
        let Some(child) = self.children.get_mut(&stage) else {
            return Ok(());
        };
        child.actor = None;
        let fell = child.fell.take();
        let verdict = child.failures.record(now, share);
        let restarts = child.failures.total();
        self.board.update_stage(&tenant, stage, |health| {
            health.is_down = true;
            health.restarts = restarts;
            health.trouble = Some(why.to_owned());
            health.trouble_since.get_or_insert(now);
        });
        metrics::counter!(
            crate::telemetry::names::STAGE_RESTARTS_TOTAL,
            "tenant" => tenant.to_string(), "stage" => stage.as_str()
        )
        .increment(1);
        match verdict {
            Verdict::RestartAfter(delay) => {
                tracing::error!(
                    tenant.id = %tenant, stage = %stage, reason = why, failures = restarts,
                    delay_ms = %delay.as_millis(),
                    "{stage} of {tenant} failed and is started again: {why}"
                );
                let myself = myself.clone();
                let at = time::add(now, delay);
                self.timers.retain(|timer| !timer.is_finished());
                self.timers.push(wake_at(
                    &self.context.clock,
                    at,
                    format!("{tenant}/{stage}/respawn"),
                    move |hold| {
                        let _ = myself.cast(TenantMsg::Respawn(stage, hold));
                    },
                ));
                Ok(())
            }
            Verdict::Escalate => {
                // Writing must end before anything else does.
                let executor = self
                    .children
                    .get_mut(&Stage::Executor)
                    .and_then(|child| child.actor.take());
                if let Some(executor) = executor {
                    let patience = self.context.stop_patience(Stage::Executor);
                    let _ = executor.stop_and_wait(None, Some(patience)).await;
                }
                // The word that the stage fell may still be waiting to be read, and goes with us.
                let hold = fell.unwrap_or_else(|| self.context.clock.hold());
                let _ = self.root.cast(RootMsg::Fell(tenant.clone(), hold));
                Err(format!("{stage} of {tenant} failed too often: {why}").into())
            }
        }
    }
}

impl Drop for TenantState {
    fn drop(&mut self) {
        for timer in &self.timers {
            timer.abort();
        }
    }
}
