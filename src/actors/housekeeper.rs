//! Keeps the store as large as it need be: once a day it forgets what is older than it may be kept,
//! of every tenant that the store knows, and folds the metrics that nobody came for. One per node.
//!
//! What it has done is in the store, so nodes that share one do not do it twice and a restart does
//! not begin anew. Forgetting is idempotent: two that do meet do no harm.

pub mod worth;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::context::{TenantSettings, chain, weather};
use super::handle::{HealthBoard, Single};
use super::root::RootMsg;
use super::stage::{Lifeline, Progress, wake_at};
use crate::clock::{Clock, Hold};
use crate::domain::ids::TenantId;
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::store::jobs::JobOutcome;
use crate::store::privacy::Forgettable;
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

/// How often the house is kept: at midnight, UTC.
const EVERY: SignedDuration = time::days(1);
/// The wait after a look that met weather.
const RETRY: SignedDuration = time::hours(1);
/// Rows forgotten at a time, since others write in between; inputs may be megabytes each.
const BATCH: u32 = 1_000;
const INPUTS_BATCH: u32 = 20;
/// How long hourly figures are kept. Decisions look at those of two days, and Meta restates what it
/// said for four weeks.
const HOURS_KEPT: SignedDuration = time::days(60);
/// How long restated figures are kept: Meta restates for 28 days, and a decision is looked at again
/// within a quarter.
pub(crate) const PAST_KEPT: SignedDuration = time::days(90);
/// How long a decision can be replayed; it can be explained for ever.
const INPUTS_KEPT: SignedDuration = time::days(365);
/// How long the runs of the stages are kept, besides the last of each.
const RUNS_KEPT: SignedDuration = time::days(90);
/// How long it can be looked up what people were told.
const MESSAGES_KEPT: SignedDuration = time::days(90);
/// The run's name in the history, and of the cursor that tells the day it was for.
const JOB: &str = "housekeeper";

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Visits, and what was made of them.
    pub visits: SignedDuration,
    /// Deliveries that are settled or dropped.
    pub deliveries: SignedDuration,
}

impl Retention {
    const fn of(&self, what: Forgettable) -> SignedDuration {
        match what {
            Forgettable::Visits | Forgettable::Leads | Forgettable::Attempts => self.visits,
            Forgettable::Deliveries => self.deliveries,
            Forgettable::HourlyInsights => HOURS_KEPT,
            Forgettable::PastInsights => PAST_KEPT,
            Forgettable::Inputs => INPUTS_KEPT,
            Forgettable::Runs => RUNS_KEPT,
            Forgettable::Messages => MESSAGES_KEPT,
        }
    }
}

/// What keeping the house takes, besides the tree's own.
#[derive(Clone)]
pub struct Housekeeping {
    /// How long things are kept; replaced when the configuration is read anew.
    pub retention: Arc<ArcSwap<Retention>>,
    /// The configured tenants, whose stages are judged; replaced likewise.
    pub tenants: Arc<ArcSwap<BTreeMap<TenantId, TenantSettings>>>,
    /// The metrics.
    pub metrics: &'static Metrics,
}

/// What the housekeeper can be told.
#[derive(Debug)]
pub enum HousekeeperMsg {
    /// Its timer: look what is over.
    Look(Hold),
}

/// What the housekeeper is started with.
pub struct HousekeeperArgs {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where its health is shown.
    pub board: Arc<HealthBoard>,
    /// What it takes.
    pub housekeeping: Housekeeping,
    /// Who supervises it.
    pub root: ActorRef<RootMsg>,
    /// Held until its timer is armed.
    pub hold: Hold,
}

/// The housekeeper's state.
pub struct HousekeeperState {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    board: Arc<HealthBoard>,
    housekeeping: Housekeeping,
    root: ActorRef<RootMsg>,
    timer: tokio::task::JoinHandle<()>,
}

/// The actor that keeps the house.
pub struct HousekeeperActor;

impl Actor for HousekeeperActor {
    type Msg = HousekeeperMsg;
    type State = HousekeeperState;
    type Arguments = HousekeeperArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<HousekeeperMsg>,
        args: HousekeeperArgs,
    ) -> Result<HousekeeperState, ActorProcessingErr> {
        let HousekeeperArgs {
            store,
            clock,
            board,
            housekeeping,
            root,
            hold,
        } = args;
        // At once: a daemon that is restarted every evening would never see midnight.
        let timer = arm(&clock, time::add(clock.now(), time::seconds(1)), &myself);
        drop(hold);
        Ok(HousekeeperState {
            store,
            clock,
            board,
            housekeeping,
            root,
            timer,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<HousekeeperMsg>,
        message: HousekeeperMsg,
        state: &mut HousekeeperState,
    ) -> Result<(), ActorProcessingErr> {
        let HousekeeperMsg::Look(hold) = message;
        let lifeline = Lifeline::new(hold, &state.root, |hold| {
            RootMsg::SingleFell(Single::Housekeeper, hold)
        });
        let now = state.clock.now();
        state.housekeeping.metrics.upkeep();
        let trouble = match state.keep_house(now).await {
            Ok(()) => None,
            Err(error) => match weather(&error)? {
                Progress::Degraded(why) => Some(why),
                Progress::Advanced | Progress::Idle | Progress::NeedsSync => None,
            },
        };
        let next = match &trouble {
            None => next_day(now),
            Some(why) => {
                tracing::warn!(reason = %why, "the house cannot be kept now: {why}");
                time::add(now, RETRY)
            }
        };
        state
            .board
            .update_single(Single::Housekeeper, |health| health.report(now, trouble));
        state.timer.abort();
        state.timer = arm(&state.clock, next, &myself);
        drop(lifeline.untie());
        Ok(())
    }
}

impl HousekeeperState {
    async fn keep_house(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for tenant in self.store.tenants().await? {
            match self.keep_if_due(&tenant, now).await {
                Ok(()) => {}
                // The store is out for everyone.
                Err(error @ StoreError::Unavailable { .. }) => return Err(error),
                // What is broken of one tenant is told when the others have been seen to.
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    async fn keep_if_due(&self, tenant: &TenantId, now: Timestamp) -> Result<(), StoreError> {
        let done = self.store.cursor(tenant, JOB).await?;
        let done = done.and_then(|text| text.parse::<i64>().ok());
        if done.is_some_and(|at| next_day(time::from_micros(at)) > now) {
            return Ok(());
        }
        let retention = self.housekeeping.retention.load();
        let mut told = Vec::new();
        let mut drifts = String::new();
        let mut outcome = Ok(());
        for what in Forgettable::ALL {
            let before = time::sub(now, retention.of(what));
            match self.forget(tenant, what, before).await {
                Ok(0) => {}
                Ok(count) => told.push(format!("{count} {}", what.as_str())),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        let configured = self.housekeeping.tenants.load();
        if let (Ok(()), Some(settings)) = (&outcome, configured.get(tenant)) {
            match worth::keep(self.store.as_ref(), settings, now).await {
                Ok(0) => {}
                Ok(drifting) => drifts = format!("; {drifting} stages drift from their value"),
                Err(error) => outcome = Err(error),
            }
        }
        let mut detail = if told.is_empty() {
            "nothing was old enough to be forgotten".to_owned()
        } else {
            format!("forgot {}", told.join(", "))
        };
        detail.push_str(&drifts);
        let kind = match &outcome {
            Ok(()) => JobOutcome::Succeeded,
            Err(error) => {
                detail = format!("{detail}; then: {}", chain(error));
                JobOutcome::Failed
            }
        };
        let ended = self.clock.now();
        let recorded = self
            .store
            .record_job(tenant, JOB, now, ended, &kind, &detail)
            .await;
        outcome?;
        recorded?;
        tracing::info!(tenant.id = %tenant, detail = %detail, "kept the house of {tenant}: {detail}");
        let done = time::to_micros(now).to_string();
        self.store.set_cursor(tenant, JOB, &done, ended).await
    }

    /// Forgets in batches until nothing is left.
    async fn forget(
        &self,
        tenant: &TenantId,
        what: Forgettable,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        let batch = match what {
            Forgettable::Inputs => INPUTS_BATCH,
            Forgettable::Visits
            | Forgettable::Leads
            | Forgettable::Attempts
            | Forgettable::Deliveries
            | Forgettable::HourlyInsights
            | Forgettable::PastInsights
            | Forgettable::Runs
            | Forgettable::Messages => BATCH,
        };
        let mut count = 0;
        loop {
            let forgotten = self.store.forget(tenant, what, before, batch).await?;
            count += forgotten;
            if forgotten < u64::from(batch) {
                return Ok(count);
            }
        }
    }
}

impl Drop for HousekeeperState {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

fn arm(
    clock: &Arc<dyn Clock>,
    at: Timestamp,
    myself: &ActorRef<HousekeeperMsg>,
) -> tokio::task::JoinHandle<()> {
    let myself = myself.clone();
    wake_at(clock, at, JOB.to_owned(), move |hold| {
        let _ = myself.cast(HousekeeperMsg::Look(hold));
    })
}

/// The first midnight after `at`, UTC.
pub(super) fn next_day(at: Timestamp) -> Timestamp {
    let every = i64::try_from(EVERY.as_micros()).unwrap_or(i64::MAX);
    let day = time::to_micros(at).div_euclid(every) + 1;
    time::from_micros(day.saturating_mul(every))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_kept_at_midnight() {
        let day = 86_400;
        for (at, next) in [(0, day), (1, day), (day - 1, day), (day, 2 * day), (-1, 0)] {
            let next = time::from_seconds(next);
            assert_eq!(next_day(time::from_seconds(at)), next, "{at}");
        }
    }

    #[test]
    fn everything_that_can_be_forgotten_is_kept_for_a_day_at_least() {
        let retention = Retention {
            visits: time::days(90),
            deliveries: time::days(30),
        };
        let kept = Forgettable::ALL.map(|what| retention.of(what));
        let days = [90, 90, 90, 30, 60, 90, 365, 90, 90].map(time::days);
        assert_eq!(kept, days);
    }
}
