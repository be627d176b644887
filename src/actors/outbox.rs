//! Tells people. Finds in the store what is worth telling, puts it into the outbox once for each
//! channel, and sends what is due, grouped by tenant, until it has arrived. One per node.
//!
//! Nobody has to remember to tell it anything: it reads the audit log from where it left off, and
//! what tenants are held by. What it has told stands in the store under a key of its own, so that
//! neither a restart nor a second node tells it again. A message whose answer is lost, or that a
//! killed process had just sent, arrives twice: better than never.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::context::weather;
use super::handle::{HealthBoard, Single, TenantHealth};
use super::root::RootMsg;
use super::stage::{Lifeline, Progress, wake_at};
use crate::clock::{Clock, Hold};
use crate::domain::alert::{self, Alert, AlertKind, DayFigures, Message, Severity, Worth};
use crate::domain::change::ChangeState;
use crate::domain::ids::TenantId;
use crate::domain::time::{self, Date, SignedDuration, TimeZone, Timestamp};
use crate::store::outbox::{ClaimedMessage, Delivery, NewMessage};
use crate::store::status::TenantOverview;
use crate::store::{Store, StoreError};
use crate::telemetry::names;
use crate::vendors::notify::{Notifier, NotifyError};

/// How often it looks for news.
const EVERY: SignedDuration = time::minutes(1);
/// How often it looks while nobody is to be told anything: a reload may bring a channel.
const IDLE: SignedDuration = time::minutes(10);
/// Lines of the audit log read at a time.
const LINES: u32 = 500;
/// Messages claimed at a time, and how long they are this node's.
const BATCH: u32 = 64;
const LEASE: SignedDuration = time::minutes(5);
/// Channels spoken to at once: a slow one holds few others up.
const AT_ONCE: usize = 8;
/// The wait after the first failed attempt, doubling; the longest wait; and after how many attempts,
/// about a day, a message is given up.
const FIRST_RETRY: SignedDuration = time::minutes(1);
const LONGEST_RETRY: SignedDuration = time::hours(1);
const ATTEMPTS: i64 = 30;
/// The cursor of the audit log.
const CURSOR: &str = "alerts";

/// A channel and what goes into it.
#[derive(Clone)]
pub struct Channel {
    /// Its name: what the outbox knows it by, so that it must not change.
    pub name: String,
    /// The tenant that it is for; `None` for all and for the installation.
    pub tenant: Option<TenantId>,
    /// What is less urgent is not sent.
    pub from: Severity,
    /// The channel itself.
    pub notifier: Arc<dyn Notifier>,
}

impl Channel {
    fn takes(&self, alert: &Alert) -> bool {
        let is_its = self.tenant.is_none() || self.tenant == alert.tenant;
        is_its && alert.kind.severity() >= self.from
    }
}

/// What is worth telling of a tenant.
#[derive(Debug, Clone)]
pub struct TenantAlerting {
    /// What people call it.
    pub name: String,
    /// What of the audit log.
    pub worth: Worth,
}

/// Who is told what.
#[derive(Clone, Default)]
pub struct Alerting {
    /// The channels.
    pub channels: Vec<Channel>,
    /// The tenants.
    pub tenants: BTreeMap<TenantId, TenantAlerting>,
    /// How long what is not critical waits for more of its kind.
    pub group_for: SignedDuration,
    /// From which hour of the account's day on the digest of the day before is sent.
    pub digest_hour: Option<u8>,
    /// How long a stage may be in trouble before it is told.
    pub grace: SignedDuration,
    /// The version of Meta's API in use, and when it ends, where that is published.
    pub version: Option<(String, Timestamp)>,
}

/// What the outbox can be told.
#[derive(Debug)]
pub enum OutboxMsg {
    /// Its timer: look for news and send.
    Look(Hold),
}

/// What the outbox is started with.
pub struct OutboxArgs {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where tenants' health is found and its own is shown.
    pub board: Arc<HealthBoard>,
    /// Who is told what; replaced when the configuration is read anew.
    pub alerting: Arc<ArcSwap<Alerting>>,
    /// Who supervises it.
    pub root: ActorRef<RootMsg>,
    /// Held until its timer is armed.
    pub hold: Hold,
}

/// The outbox's state.
pub struct OutboxState {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    board: Arc<HealthBoard>,
    alerting: Arc<ArcSwap<Alerting>>,
    root: ActorRef<RootMsg>,
    timer: tokio::task::JoinHandle<()>,
    /// Up to where each tenant's audit log was read.
    read: BTreeMap<TenantId, i64>,
    /// What each channel that is out last had against a message.
    troubles: BTreeMap<String, String>,
    /// Each account's time zone, and the last day it had a digest of.
    zones: BTreeMap<TenantId, TimeZone>,
    digested: BTreeMap<TenantId, Date>,
}

/// The actor that tells people.
pub struct OutboxActor;

impl Actor for OutboxActor {
    type Msg = OutboxMsg;
    type State = OutboxState;
    type Arguments = OutboxArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<OutboxMsg>,
        args: OutboxArgs,
    ) -> Result<OutboxState, ActorProcessingErr> {
        let OutboxArgs {
            store,
            clock,
            board,
            alerting,
            root,
            hold,
        } = args;
        let timer = arm(&clock, time::add(clock.now(), EVERY), &myself);
        drop(hold);
        Ok(OutboxState {
            store,
            clock,
            board,
            alerting,
            root,
            timer,
            read: BTreeMap::new(),
            troubles: BTreeMap::new(),
            zones: BTreeMap::new(),
            digested: BTreeMap::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<OutboxMsg>,
        message: OutboxMsg,
        state: &mut OutboxState,
    ) -> Result<(), ActorProcessingErr> {
        let OutboxMsg::Look(hold) = message;
        let lifeline = Lifeline::new(hold, &state.root, |hold| {
            RootMsg::SingleFell(Single::Outbox, hold)
        });
        let alerting = state.alerting.load_full();
        let now = state.clock.now();
        let (trouble, next) = if alerting.channels.is_empty() {
            (None, time::add(now, IDLE))
        } else {
            match state.look(&alerting).await {
                Ok(outcome) => outcome,
                Err(error) => match weather(&error)? {
                    Progress::Degraded(why) => (Some(why), time::add(now, EVERY)),
                    Progress::Advanced | Progress::Idle | Progress::NeedsSync => {
                        (None, time::add(now, EVERY))
                    }
                },
            }
        };
        state
            .board
            .update_single(Single::Outbox, |health| health.report(now, trouble));
        state.timer.abort();
        state.timer = arm(&state.clock, next, &myself);
        drop(lifeline.untie());
        Ok(())
    }
}

impl OutboxState {
    /// Finds news and sends what is due. Returns what a channel had against it, and when to look
    /// again.
    async fn look(
        &mut self,
        alerting: &Alerting,
    ) -> Result<(Option<String>, Timestamp), StoreError> {
        let outcome = self.gather(alerting, self.clock.now()).await;
        // An outage is everyone's; what is broken of one tenant keeps no message of others back.
        if let Err(error @ StoreError::Unavailable { .. }) = outcome {
            return Err(error);
        }
        self.send(alerting).await?;
        outcome?;
        let names = channel_names(alerting);
        self.troubles.retain(|channel, _| names.contains(channel));
        let trouble = self.troubles.values().next().cloned();
        let soon = time::add(self.clock.now(), EVERY);
        let due = self.store.next_message_at(&names).await?;
        // One that was just put off is not looked at before its time, and nothing twice a second.
        let earliest = time::add(self.clock.now(), time::seconds(1));
        Ok((trouble, due.map_or(soon, |due| due.max(earliest).min(soon))))
    }

    /// Puts what is new into the outbox.
    async fn gather(&mut self, alerting: &Alerting, now: Timestamp) -> Result<(), StoreError> {
        let board = self.board.read();
        let is_ours = |health: &TenantHealth| {
            health.elsewhere.is_none() && (health.is_running || health.parked.is_some())
        };
        let tenants: Vec<(&TenantId, &TenantAlerting, &TenantHealth)> = alerting
            .tenants
            .iter()
            .filter_map(|(id, settings)| Some((id, settings, board.get(id)?)))
            .filter(|(_, _, health)| is_ours(health))
            .collect();
        let ids: Vec<TenantId> = tenants.iter().map(|(id, ..)| (*id).clone()).collect();
        let overview = self.store.overview(&ids).await?;
        let nothing = TenantOverview::default();
        let mut outcome = Ok(());
        for (id, settings, health) in tenants {
            let rows = overview.get(id).unwrap_or(&nothing);
            let mut alerts = standing(id, health, rows, alerting.grace, now);
            let found = self.tell_of(id, settings, rows, alerting, now, &mut alerts);
            match found.await {
                Ok(()) => {}
                Err(error @ StoreError::Unavailable { .. }) => return Err(error),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        if let Some((version, ends)) = &alerting.version
            && let Some(alert) = alert::version_ends(version, *ends, now)
        {
            self.enqueue(vec![alert], alerting, now).await?;
        }
        outcome
    }

    /// Tells of one tenant: what stands against it, and what its audit log has new.
    async fn tell_of(
        &mut self,
        id: &TenantId,
        settings: &TenantAlerting,
        rows: &TenantOverview,
        alerting: &Alerting,
        now: Timestamp,
        standing: &mut Vec<Alert>,
    ) -> Result<(), StoreError> {
        if let Some(digest) = self.digest(id, rows, alerting, now).await? {
            standing.push(digest);
        }
        self.enqueue(std::mem::take(standing), alerting, now)
            .await?;
        let mut read = match self.read.get(id) {
            Some(read) => *read,
            None => {
                let stored = self.store.cursor(id, CURSOR).await?;
                stored.and_then(|text| text.parse().ok()).unwrap_or(0)
            }
        };
        loop {
            let lines = self.store.audit_lines(id, read, LINES).await?;
            let Some(last) = lines.last() else {
                break;
            };
            read = last.sequence;
            let is_whole = lines.len() < LINES as usize;
            let news = lines
                .iter()
                .filter(|line| time::between(line.entry.at, now) <= alert::NEWS)
                .filter_map(|line| alert::of_audit_line(line, &settings.worth))
                .collect();
            self.enqueue(news, alerting, now).await?;
            // Told first, then passed: whoever is killed between tells it again, under the same key.
            self.store
                .set_cursor(id, CURSOR, &read.to_string(), now)
                .await?;
            if is_whole {
                break;
            }
        }
        self.read.insert(id.clone(), read);
        Ok(())
    }

    async fn enqueue(
        &self,
        alerts: Vec<Alert>,
        alerting: &Alerting,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let messages: Vec<NewMessage> = alerts
            .iter()
            .flat_map(|alert| {
                let channels = alerting.channels.iter();
                let takers = channels.filter(|channel| channel.takes(alert));
                takers.map(move |channel| NewMessage {
                    channel: channel.name.clone(),
                    alert: alert.clone(),
                    due_at: match alert.kind.severity() {
                        Severity::Critical => now,
                        Severity::Warning | Severity::Notice => time::add(now, alerting.group_for),
                    },
                })
            })
            .collect();
        if messages.is_empty() {
            return Ok(());
        }
        self.store.enqueue(&messages, now).await?;
        Ok(())
    }

    /// The digest of the day before, when its hour has come and it was not made since this node's
    /// start; the outbox knows whether it was sent before.
    async fn digest(
        &mut self,
        id: &TenantId,
        rows: &TenantOverview,
        alerting: &Alerting,
        now: Timestamp,
    ) -> Result<Option<Alert>, StoreError> {
        let Some(hour) = alerting.digest_hour else {
            return Ok(None);
        };
        if !self.zones.contains_key(id) {
            let structure = self.store.structure(id).await?;
            let Some(zone) = structure.and_then(|(structure, _)| structure.account.time_zone())
            else {
                return Ok(None);
            };
            self.zones.insert(id.clone(), zone);
        }
        let Some(zone) = self.zones.get(id) else {
            return Ok(None);
        };
        let today = time::day_of(now, zone);
        let day = time::add_days(today, -1);
        if time::hour_of(now, zone) < hour || self.digested.get(id) == Some(&day) {
            return Ok(None);
        }
        let (from, until) = (time::day_start(day, zone), time::day_start(today, zone));
        let changes = self.store.change_figures(id, from, until).await?;
        let spend = self.store.spend_by_day(id, day).await?;
        let spend = spend.iter().find(|(of, _)| *of == day);
        let credited = self.store.credited_between(id, from, until).await?;
        let figures = DayFigures {
            day,
            spend: spend.map(|(_, spend)| *spend),
            // Sums in two currencies are not added up.
            pipeline: match (credited.as_slice(), spend) {
                ([sum], _) => Some(*sum),
                ([], Some((_, spend))) => Some(crate::domain::money::Money::zero(spend.currency())),
                _ => None,
            },
            raised: changes.raised,
            lowered: changes.lowered,
            paused: changes.paused,
            resumed: changes.resumed,
            failed: changes.failed,
            held: changes.held,
            waiting: waiting(rows),
        };
        self.digested.insert(id.clone(), day);
        Ok(Some(alert::digest(id, &figures, now)))
    }

    /// Sends what is due, and notes which channels are out.
    async fn send(&mut self, alerting: &Alerting) -> Result<(), StoreError> {
        let names = channel_names(alerting);
        loop {
            let now = self.clock.now();
            let until = time::add(now, self.clock.stretch(LEASE));
            let claimed = self.store.claim_messages(&names, now, until, BATCH).await?;
            if claimed.is_empty() {
                return Ok(());
            }
            let mut groups: BTreeMap<(String, Option<TenantId>), Vec<ClaimedMessage>> =
                BTreeMap::new();
            for message in claimed {
                let key = (message.channel.clone(), message.alert.tenant.clone());
                groups.entry(key).or_default().push(message);
            }
            let sends = groups
                .into_iter()
                .map(|(key, messages)| self.send_one(alerting, key, messages));
            let mut sent = futures_util::stream::iter(sends).buffer_unordered(AT_ONCE);
            let mut told = Vec::new();
            while let Some(outcome) = sent.next().await {
                told.push(outcome?);
            }
            drop(sent);
            for (channel, trouble) in told {
                match trouble {
                    Some(why) => self.troubles.insert(channel, why),
                    None => self.troubles.remove(&channel),
                };
            }
        }
    }

    /// Sends what one channel is to hear of one tenant; returns the channel and what it had against
    /// the message.
    async fn send_one(
        &self,
        alerting: &Alerting,
        (channel, tenant): (String, Option<TenantId>),
        messages: Vec<ClaimedMessage>,
    ) -> Result<(String, Option<String>), StoreError> {
        let claims: Vec<(i64, i64)> = messages.iter().map(|m| (m.id, m.attempt)).collect();
        let attempt = messages.iter().map(|m| m.attempt).max().unwrap_or(1);
        let name = match &tenant {
            Some(id) => alerting
                .tenants
                .get(id)
                .map_or(id.as_str(), |settings| settings.name.as_str()),
            None => "this installation",
        };
        let alerts = messages.into_iter().map(|m| m.alert).collect();
        let found = alerting.channels.iter().find(|c| c.name == channel);
        let (Some(to), Some(message)) = (found, alert::compose(name, alerts)) else {
            return Ok((channel, None));
        };
        let sent = self.deliver(to, &message).await;
        let now = self.clock.now();
        let (delivery, outcome) = match &sent {
            Ok(()) => (Delivery::Sent, "sent"),
            Err(error @ NotifyError::Retry { .. }) if attempt < ATTEMPTS => (
                Delivery::Retry {
                    at: time::add(now, retry_after(attempt)),
                    error: error.to_string(),
                },
                "retried",
            ),
            Err(error) => (
                Delivery::Failed {
                    error: error.to_string(),
                },
                "failed",
            ),
        };
        metrics::counter!(names::ALERTS_TOTAL, "channel" => channel.clone(), "outcome" => outcome)
            .increment(1);
        self.store.settle_messages(&claims, &delivery, now).await?;
        let trouble = sent.err().map(|error| {
            tracing::warn!(
                channel = %channel, attempt, outcome, %error,
                "{} alerts did not go out by {channel}: {error}", claims.len()
            );
            format!("{channel}: {error}; run: roasd alerts test")
        });
        Ok((channel, trouble))
    }

    async fn deliver(&self, channel: &Channel, message: &Message) -> Result<(), NotifyError> {
        channel.notifier.send(message, self.clock.now()).await
    }
}

/// What stands against a tenant now.
fn standing(
    id: &TenantId,
    health: &TenantHealth,
    rows: &TenantOverview,
    grace: SignedDuration,
    now: Timestamp,
) -> Vec<Alert> {
    let mut alerts = Vec::new();
    if let Some(held) = &rows.holds.suspended {
        alerts.push(alert::suspended(id, held.since, &held.reason));
    }
    if let Some(held) = &rows.holds.parked {
        alerts.push(alert::parked(id, held.since, &held.reason));
    }
    for (stage, state) in &health.stages {
        if let (Some(why), Some(since)) = (&state.trouble, state.trouble_since)
            && time::between(since, now) > grace
        {
            alerts.push(alert::down(id, stage.as_str(), since, why));
        }
    }
    alerts.extend(alert::waiting(id, waiting(rows), now));
    alerts
}

fn waiting(rows: &TenantOverview) -> u64 {
    rows.changes
        .iter()
        .find(|(state, _)| *state == ChangeState::AwaitingApproval)
        .map_or(0, |(_, count)| *count)
}

fn channel_names(alerting: &Alerting) -> Vec<String> {
    alerting.channels.iter().map(|c| c.name.clone()).collect()
}

/// The wait after an attempt that failed.
fn retry_after(attempt: i64) -> SignedDuration {
    let doublings = u32::try_from(attempt.clamp(1, 10) - 1).unwrap_or(0);
    (FIRST_RETRY * 2_i32.pow(doublings)).min(LONGEST_RETRY)
}

/// A message that only asks whether it arrives.
#[must_use]
pub fn trial(now: Timestamp) -> Alert {
    Alert {
        tenant: None,
        kind: AlertKind::Trial,
        key: format!("trial/{}", time::to_micros(now)),
        at: now,
        text: "alerts arrive here".to_owned(),
        next_step: "nothing is to be done".to_owned(),
    }
}

impl Drop for OutboxState {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

fn arm(
    clock: &Arc<dyn Clock>,
    at: Timestamp,
    myself: &ActorRef<OutboxMsg>,
) -> tokio::task::JoinHandle<()> {
    let myself = myself.clone();
    wake_at(clock, at, "outbox".to_owned(), move |hold| {
        let _ = myself.cast(OutboxMsg::Look(hold));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_tried_for_about_a_day() {
        assert_eq!(retry_after(1), time::minutes(1));
        assert_eq!(retry_after(2), time::minutes(2));
        assert_eq!(retry_after(7), time::hours(1));
        let all = (1..ATTEMPTS).map(retry_after);
        let tried: SignedDuration = all.fold(SignedDuration::ZERO, |sum, wait| sum + wait);
        assert!(tried > time::hours(20), "{tried:#}");
        assert!(tried < time::hours(30), "{tried:#}");
    }
}
