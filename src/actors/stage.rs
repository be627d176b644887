//! The words between a tenant and its stages, and the one shell that every stage runs in.
//!
//! A stage is told to look; it does all the work it finds in the store, says how far it got, and
//! arms its timer again. What it must not forget is in the store, so a stage that is killed and
//! started again has lost nothing but time.
//!
//! The timer, too, tells the tenant and not the stage: so a stage has at most one message to answer
//! at any time. A second one would wait in the mailbox with its hold while the stage sleeps out a
//! limit, and stepped time would stand still for ever.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::context::Context;
use super::tenant::TenantMsg;
use crate::clock::{Clock, Hold};
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::store::jobs::JobOutcome;

/// Of a stage's successes that follow each other faster than this, the first is recorded: what is
/// shown of a stage is at most this old.
const RECORD_EVERY: SignedDuration = time::minutes(5);

/// A stage that met weather rests for so long, on the wall: the store and the vendors take no less
/// to come back when a rehearsal's time runs fast.
const REST: SignedDuration = time::seconds(1);

/// The stages of a tenant, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Reads the vendors for all.
    Sync,
    /// Drains the inbox; attributes; values.
    Attribution,
    /// Keeps the winner index.
    Winners,
    /// Decides and proposes.
    Optimizer,
    /// The only writer.
    Executor,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 5] = [
        Self::Sync,
        Self::Attribution,
        Self::Winners,
        Self::Optimizer,
        Self::Executor,
    ];

    /// The name used in logs, health and actor names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Attribution => "attribution",
            Self::Winners => "winners",
            Self::Optimizer => "optimizer",
            Self::Executor => "executor",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a stage can be told. Carries no facts: they are in the store.
#[derive(Debug)]
pub enum StageMsg {
    /// Look again.
    Look(Cause, Hold),
}

/// Why a stage looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The stage's own timer.
    Timer,
    /// Another stage, or the outside, has something for it.
    Nudge,
}

/// How far a stage got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Something changed that the next stage should look at.
    Advanced,
    /// Nothing to do.
    Idle,
    /// The CRM must be read before this stage can go on.
    NeedsSync,
    /// Weather: a vendor or the store is out; it will be tried again.
    Degraded(String),
}

/// What a stage tells its tenant after each look.
#[derive(Debug)]
pub struct StageReport {
    /// Which stage.
    pub stage: Stage,
    /// How far it got.
    pub progress: Progress,
    /// Why it looked.
    pub cause: Cause,
    /// Keeps stepped time still until the tenant has passed the word on.
    pub hold: Hold,
}

/// A broken promise: the stage no longer trusts its own state and wants to be started again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// The work of one stage.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// Which stage this is.
    fn stage(&self) -> Stage;

    /// Does what there is to do. Expected trouble is `Progress::Degraded`, never an error.
    async fn look(&mut self) -> Result<Progress, Broken>;

    /// When the stage wants to look by itself again.
    fn next_tick(&self) -> Timestamp;
}

/// A hold that goes to the supervisor when whoever has it fails. Between a failure and the
/// supervisor's hearing of it nothing else may be in flight, and stepped time would run on.
pub struct Lifeline<M: ractor::Message, F: FnOnce(Hold) -> M> {
    hold: Option<(Hold, F)>,
    to: ActorRef<M>,
}

impl<M: ractor::Message, F: FnOnce(Hold) -> M> Lifeline<M, F> {
    /// Ties `hold` to a supervisor, which is told `word` if it comes to that.
    pub fn new(hold: Hold, to: &ActorRef<M>, word: F) -> Self {
        Self {
            hold: Some((hold, word)),
            to: to.clone(),
        }
    }

    /// Unties it: nothing failed.
    #[must_use]
    pub fn untie(mut self) -> Hold {
        self.hold.take().map_or_else(Hold::none, |(hold, _)| hold)
    }
}

impl<M: ractor::Message, F: FnOnce(Hold) -> M> Drop for Lifeline<M, F> {
    fn drop(&mut self) {
        if let Some((hold, word)) = self.hold.take() {
            // A supervisor that has ended holds nothing up either.
            let _ = self.to.cast(word(hold));
        }
    }
}

/// The shell around a stage's work.
pub struct StageActor;

/// What a stage is started with.
pub struct StageArgs {
    /// What every child of the tenant shares.
    pub context: Arc<Context>,
    /// Its work.
    pub work: Box<dyn Work>,
    /// Its tenant.
    pub tenant: ActorRef<TenantMsg>,
    /// Held until the first tick is armed.
    pub hold: Hold,
}

/// The shell's state.
pub struct StageState {
    context: Arc<Context>,
    work: Box<dyn Work>,
    tenant: ActorRef<TenantMsg>,
    timer: tokio::task::JoinHandle<()>,
    /// When a success was last recorded, if nothing else was since.
    recorded: Option<Timestamp>,
}

impl StageState {
    /// Whether a run is recorded. Idle looks are not worth a row each, but a sync that found nothing
    /// is news; and one delivery makes every stage look within a second, so that of successes that
    /// follow each other closely the first one tells.
    fn is_worth_a_row(&self, progress: &Progress, ended: Timestamp) -> bool {
        let is_told = || {
            self.recorded
                .is_some_and(|at| time::between(at, ended) < RECORD_EVERY)
        };
        match progress {
            Progress::Degraded(_) => true,
            Progress::Idle if self.work.stage() != Stage::Sync => false,
            Progress::Idle | Progress::Advanced | Progress::NeedsSync => !is_told(),
        }
    }
}

impl Actor for StageActor {
    type Msg = StageMsg;
    type State = StageState;
    type Arguments = StageArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<StageMsg>,
        args: StageArgs,
    ) -> Result<StageState, ActorProcessingErr> {
        let StageArgs {
            context,
            work,
            tenant,
            hold,
        } = args;
        let timer = arm(&context, work.as_ref(), &tenant, Timestamp::MIN);
        drop(hold);
        Ok(StageState {
            context,
            work,
            tenant,
            timer,
            recorded: None,
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<StageMsg>,
        message: StageMsg,
        state: &mut StageState,
    ) -> Result<(), ActorProcessingErr> {
        let StageMsg::Look(cause, hold) = message;
        let stage = state.work.stage();
        let lifeline = Lifeline::new(hold, &state.tenant, |hold| TenantMsg::Fell(stage, hold));
        let started = state.context.clock.now();
        state.context.rehearse_panic(stage);
        let progress = state.work.look().await?;
        let ended = state.context.clock.now();
        let (outcome, detail) = match &progress {
            Progress::Degraded(why) => (JobOutcome::Degraded, why.as_str()),
            Progress::Advanced | Progress::Idle | Progress::NeedsSync => {
                (JobOutcome::Succeeded, "")
            }
        };
        if let Progress::Degraded(why) = &progress {
            tracing::warn!(
                tenant.id = %state.context.tenant.id, stage = %stage, reason = %why,
                "{stage} cannot go on now and will try again: {why}"
            );
        }
        if state.is_worth_a_row(&progress, ended) {
            let tenant = &state.context.tenant.id;
            let recorded = state
                .context
                .store
                .record_job(tenant, stage.as_str(), started, ended, &outcome, detail)
                .await;
            match recorded {
                Ok(()) => {
                    state.recorded = (outcome == JobOutcome::Succeeded).then_some(ended);
                }
                Err(error) => {
                    tracing::warn!(tenant.id = %tenant, stage = %stage, %error, "the run of {stage} was not recorded");
                }
            }
        }
        state.timer.abort();
        let rested = match outcome {
            JobOutcome::Degraded => time::add(ended, state.context.clock.stretch(REST)),
            _ => ended,
        };
        state.timer = arm(&state.context, state.work.as_ref(), &state.tenant, rested);
        let report = StageReport {
            stage,
            progress,
            cause,
            hold: lifeline.untie(),
        };
        // A tenant that is gone takes this stage with it.
        let _ = state.tenant.cast(TenantMsg::Report(report));
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<StageMsg>,
        state: &mut StageState,
    ) -> Result<(), ActorProcessingErr> {
        state.timer.abort();
        Ok(())
    }
}

impl Drop for StageState {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

fn arm(
    context: &Context,
    work: &dyn Work,
    tenant: &ActorRef<TenantMsg>,
    earliest: Timestamp,
) -> tokio::task::JoinHandle<()> {
    let stage = work.stage();
    let key = format!("{}/{stage}", context.tenant.id);
    let tenant = tenant.clone();
    wake_at(
        &context.clock,
        work.next_tick().max(earliest),
        key,
        move |hold| {
            let _ = tenant.cast(TenantMsg::Timer(stage, hold));
        },
    )
}

/// Calls `then` at `at` on `clock`, under a hold that it hands on. The task may be aborted.
pub fn wake_at(
    clock: &Arc<dyn Clock>,
    at: Timestamp,
    key: String,
    then: impl FnOnce(Hold) + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    let clock = clock.clone();
    let hold = clock.hold();
    tokio::spawn(async move {
        clock.sleep_until(at, &key).await;
        then(hold);
    })
}
