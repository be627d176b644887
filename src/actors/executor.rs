//! The only writer of one tenant: takes a due change, waits for its permits, reads the value in
//! force, asks the guards, commits the intent, calls Meta, reads back, and settles.
//!
//! An unanswered call is never repeated blindly: what was being sent when the process ended, or
//! when no answer came, is settled by reading Meta first, before anything new is claimed.

use std::cmp::Ordering;
use std::sync::Arc;

use async_trait::async_trait;

use super::breakers;
use super::context::{Context, chain, weather};
use super::stage::{Broken, Progress, Stage, Work};
use crate::clock;
use crate::domain::audit::AuditEvent;
use crate::domain::change::{Origin, PendingChange, Target};
use crate::domain::coverage::Coverage;
use crate::domain::money::{Money, Rounding};
use crate::domain::safety::{
    self, AccountSums, ChangeContext, DataQuality, LiveSettings, Rule, Silence, Stops, Verdict,
    worst_day_factor,
};
use crate::domain::structure::{EntityRef, HandsOff, RunStatus, Structure};
use crate::domain::time::{self, SignedDuration, TimeZone, Timestamp};
use crate::store::StoreError;
use crate::store::changes::{ClaimedChange, Settlement};
use crate::store::tenants::TenantHolds;
use crate::vendors::meta::throttle::CallKind;
use crate::vendors::meta::{self, Permit, WriteReceipt};
use crate::vendors::{Refusal, VendorError};

/// How long a claim is held. Waiting for permits, reading, calling and reading back take less.
const LEASE: SignedDuration = time::minutes(15);
/// Read-backs of one write, and the wait between them: Meta may take minutes to show a new value,
/// but most often takes none.
const READ_BACKS: u32 = 3;
const READ_BACK_WAIT: SignedDuration = time::seconds(20);
/// Attempts after which a change that keeps failing is given up.
const ATTEMPTS_MAX: i64 = 3;
/// A permit older than this is taken anew before judging: it is good for a minute.
const PERMIT_AGE: SignedDuration = time::seconds(20);
/// Meta locks a budget for an hour after four changes.
const LOCKED: SignedDuration = time::hours(1);
/// The wait before another try after weather.
const RETRY: SignedDuration = time::minutes(5);

/// The work of the executor stage.
pub struct ExecutorWork {
    context: Arc<Context>,
    next: Timestamp,
}

impl ExecutorWork {
    /// The work of one tenant. It looks at once: a crash may have left something unsettled.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let next = time::add(context.clock.now(), time::millis(1));
        Self { context, next }
    }
}

#[async_trait]
impl Work for ExecutorWork {
    fn stage(&self) -> Stage {
        Stage::Executor
    }

    async fn look(&mut self) -> Result<Progress, Broken> {
        let (outcome, due) = match self.turn().await {
            Ok((progress, due)) => (Ok(progress), due),
            Err(error) => (weather(&error), None),
        };
        let now = self.context.clock.now();
        let poll = time::add(now, self.context.tenant.schedule.executor_poll);
        self.next = due
            .filter(|due| *due > now)
            .map_or(poll, |due| due.min(poll));
        outcome
    }

    fn next_tick(&self) -> Timestamp {
        self.next
            .max(time::add(self.context.clock.now(), time::millis(1)))
    }
}

/// What reading Meta said about a write whose effect is not known.
enum Found {
    Value(Target),
    Gone,
    NoAnswer(VendorError),
}

impl ExecutorWork {
    /// Does what is due, and says when something will be. Most turns find nothing: they cost one
    /// read and take no lock.
    async fn turn(&self) -> Result<(Progress, Option<Timestamp>), StoreError> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context.as_ref();
        let due = store.next_due(&tenant.id).await?;
        // A call of a node that lost the tenant may still be on its way.
        let due = due.map(|due| due.max(self.context.lease.settled_after));
        if due.is_none_or(|due| due > clock.now()) {
            return Ok((Progress::Idle, due));
        }
        let progress = self.drain().await?;
        Ok((progress, store.next_due(&tenant.id).await?))
    }

    async fn drain(&self) -> Result<Progress, StoreError> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context.as_ref();
        for change in store.executing_changes(&tenant.id).await? {
            let is_settled = self.settle_unknown(&change, None, None).await?;
            if !is_settled {
                let why = format!(
                    "the effect of change {} is not known yet",
                    change.proposed.id
                );
                return Ok(Progress::Degraded(why));
            }
        }
        store.expire_changes(&tenant.id, clock.now()).await?;
        let mut done = 0;
        loop {
            let holds = store.holds(&tenant.id).await?;
            if let Some(why) = self.why_held(&holds) {
                return Ok(match why {
                    Some(trouble) => Progress::Degraded(trouble),
                    None => Progress::Idle,
                });
            }
            let now = clock.now();
            let lease_until = time::add(now, clock.stretch(LEASE));
            let Some(claimed) = store.claim_change(&tenant.id, now, lease_until).await? else {
                return Ok(if done > 0 {
                    Progress::Advanced
                } else {
                    Progress::Idle
                });
            };
            done += 1;
            if !self.execute(claimed).await? {
                return Ok(Progress::Degraded("Meta cannot be called now".to_owned()));
            }
        }
    }

    /// `Some` when nothing may be written; with words when that is trouble. A pause lets stops through,
    /// and the store gives out nothing else; the emergency file holds all until it is in the store too.
    fn why_held(&self, holds: &TenantHolds) -> Option<Option<String>> {
        let is_told = holds.daemon_paused.is_some() || holds.paused.is_some();
        if holds.parked.is_some() || (self.context.is_pause_file_there() && !is_told) {
            return Some(None);
        }
        holds
            .suspended
            .as_ref()
            .map(|held| Some(format!("{}: {}", held.by, held.reason)))
    }

    /// Carries one claimed change as far as it gets. `false` when Meta cannot be called at all.
    async fn execute(&self, claimed: ClaimedChange) -> Result<bool, StoreError> {
        let change = &claimed.change;
        if change.attempt > ATTEMPTS_MAX {
            // Whoever tried it did not live to settle it: it is not tried for ever.
            let detail =
                format!("{ATTEMPTS_MAX} attempts at it ended without a word; it is given up");
            let vendor_request = None;
            self.settle(
                change,
                Settlement::Failed {
                    detail,
                    vendor_request,
                },
            )
            .await?;
            return Ok(true);
        }
        self.attempt(change, false).await
    }

    /// Reads, judges and sends. A raise that Meta has to be asked about is asked about once it is
    /// allowed, and then read and judged anew: no call comes between judging and writing.
    async fn attempt(&self, change: &PendingChange, is_asked: bool) -> Result<bool, StoreError> {
        let proposed = &change.proposed;
        let is_pause = proposed.requested == Target::Status(RunStatus::Paused);
        let (write, read) = if is_pause {
            (CallKind::SafetyWrite, CallKind::SafetyWrite)
        } else {
            (CallKind::Write, CallKind::Read)
        };
        // Permits first, the write's before the read's, so that nothing waits between judging and
        // calling but the answer to the read itself.
        let permits = async {
            let mut write_permit = self.context.permit(write).await?;
            let read_permit = self.context.permit(read).await?;
            // While the read waited its turn the write's permit may have aged.
            let clock = &self.context.clock;
            if time::between(write_permit.made_at(), clock.wall()) > PERMIT_AGE {
                write_permit = self.context.permit(write).await?;
            }
            Ok::<_, VendorError>((write_permit, read_permit))
        };
        let (write_permit, read_permit) = match permits.await {
            Ok(permits) => permits,
            Err(error) => {
                self.defer(change, "gate", &error, RETRY, false).await?;
                return Ok(false);
            }
        };
        let live = match self.read(read_permit, &proposed.entity).await {
            Ok(live) => live,
            Err(error) => {
                self.note(Err(&error)).await?;
                self.defer(change, "unknown_state", &error, RETRY, false)
                    .await?;
                return Ok(!is_out(&error));
            }
        };
        self.note(Ok(())).await?;
        let Some(live) = live else {
            self.settle(
                change,
                Settlement::Cancelled {
                    found: None,
                    detail: "it is not there any more, or not visible to the token".to_owned(),
                },
            )
            .await?;
            return Ok(true);
        };
        match self.judge(change, &live).await? {
            Ok(Verdict::Allow { target, clipped_by }) => {
                if let Some(rule) = clipped_by {
                    self.count_guard(rule.as_str());
                }
                let asks = self.context.tenant.limits.ask_before_raise;
                if asks && !is_asked && is_raise(&live, target) {
                    return self.ask(change, target, write_permit).await;
                }
                self.send(change, &live, target, clipped_by, write_permit)
                    .await
            }
            Ok(Verdict::AlreadyInForce) => {
                self.settle(
                    change,
                    Settlement::Completed {
                        before: proposed.requested,
                        after: proposed.requested,
                        was_sent: false,
                        vendor_request: None,
                        clipped_by: None,
                    },
                )
                .await?;
                Ok(true)
            }
            Ok(Verdict::Overtaken { found }) => {
                let until = time::add(
                    self.context.clock.now(),
                    self.context.tenant.limits.human_edit_quiet,
                );
                let detail = format!(
                    "somebody set it to {found} since {} was decided; theirs wins",
                    proposed.requested
                );
                let store = &self.context.store;
                store
                    .freeze(&proposed.tenant, &proposed.entity, until, &detail)
                    .await?;
                self.settle(
                    change,
                    Settlement::Cancelled {
                        found: Some(found),
                        detail,
                    },
                )
                .await?;
                Ok(true)
            }
            Ok(Verdict::Defer {
                rule,
                until,
                reason,
            }) => {
                self.count_guard(rule.as_str());
                self.settle(
                    change,
                    Settlement::Deferred {
                        until,
                        rule: rule.as_str().to_owned(),
                        detail: reason,
                        counts: false,
                    },
                )
                .await?;
                Ok(true)
            }
            Ok(Verdict::Refuse { rule, reason }) => {
                self.count_guard(rule.as_str());
                let rule = rule.as_str().to_owned();
                self.settle(
                    change,
                    Settlement::Refused {
                        rule,
                        detail: reason,
                    },
                )
                .await?;
                Ok(true)
            }
            Err(missing) => {
                self.settle(
                    change,
                    Settlement::Deferred {
                        until: time::add(self.context.clock.now(), safety::RECHECK),
                        rule: Rule::UnknownState.as_str().to_owned(),
                        detail: missing.to_owned(),
                        counts: false,
                    },
                )
                .await?;
                Ok(true)
            }
        }
    }

    /// Asks Meta whether it would do it, and goes on if so.
    async fn ask(
        &self,
        change: &PendingChange,
        target: Target,
        permit: Permit,
    ) -> Result<bool, StoreError> {
        let meta = &self.context.meta;
        match meta.rehearse(permit, &change.proposed.entity, target).await {
            Ok(()) => Box::pin(self.attempt(change, true)).await,
            Err(error) => {
                self.note(Err(&error)).await?;
                self.settle_refusal(change, &error).await?;
                Ok(!is_out(&error))
            }
        }
    }

    /// Commits the intent, calls, and settles by what Meta then shows.
    async fn send(
        &self,
        change: &PendingChange,
        live: &meta::LiveSettings,
        target: Target,
        clipped_by: Option<Rule>,
        permit: Permit,
    ) -> Result<bool, StoreError> {
        let Context {
            store,
            tenant,
            clock,
            meta: client,
            ..
        } = self.context.as_ref();
        let proposed = &change.proposed;
        let before = value_of(live, target).unwrap_or(proposed.expected);
        // The emergency file is looked at last: the store is asked in the same statement below.
        if self.context.is_pause_file_there() && proposed.origin != Origin::Stop {
            self.release_paused(change).await?;
            return Ok(true);
        }
        let marked = store
            .mark_executing(
                &tenant.id,
                &proposed.id,
                change.attempt,
                before,
                target,
                clock.now(),
            )
            .await;
        match marked {
            Ok(()) => {}
            Err(StoreError::WrongCount { .. }) => {
                self.release_paused(change).await?;
                return Ok(true);
            }
            Err(error) => return Err(error),
        }
        let answer = client.write(permit, &proposed.entity, target).await;
        let mut sent = change.clone();
        sent.intent = Some(target);
        match answer {
            Ok(receipt) => {
                self.note(Ok(())).await?;
                self.settle_unknown(&sent, Some((before, receipt)), clipped_by)
                    .await
            }
            Err(VendorError::Unknown { detail, .. }) => {
                tracing::warn!(
                    tenant.id = %tenant.id, change.id = %proposed.id, %detail,
                    "no answer on change {}; Meta is read before anything else: {detail}",
                    proposed.id
                );
                self.settle_unknown(&sent, None, clipped_by).await
            }
            Err(error) => {
                self.note(Err(&error)).await?;
                self.settle_refusal(change, &error).await?;
                Ok(!is_out(&error))
            }
        }
    }

    /// Meta answered, and did not do it.
    async fn settle_refusal(
        &self,
        change: &PendingChange,
        error: &VendorError,
    ) -> Result<(), StoreError> {
        match error {
            VendorError::Refused {
                kind: Refusal::ObjectLocked,
                ..
            } => {
                self.defer(change, Rule::MetaCadence.as_str(), error, LOCKED, false)
                    .await
            }
            VendorError::Refused {
                kind: Refusal::AccountTrouble | Refusal::DeadVersion,
                ..
            }
            | VendorError::Unauthorized { .. } => {
                self.defer(
                    change,
                    Rule::AccountTrouble.as_str(),
                    error,
                    safety::RECHECK,
                    false,
                )
                .await
            }
            VendorError::Refused { request, .. } => {
                self.settle(
                    change,
                    Settlement::Failed {
                        detail: chain(error),
                        vendor_request: request.clone(),
                    },
                )
                .await
            }
            VendorError::Throttled { wait, .. } => {
                self.defer(change, "gate", error, *wait, false).await
            }
            VendorError::Retry { after, .. } => {
                self.defer(
                    change,
                    "meta_unavailable",
                    error,
                    after.unwrap_or(RETRY),
                    true,
                )
                .await
            }
            VendorError::TooMuch { .. } | VendorError::Unknown { .. } => {
                self.defer(change, "meta_unavailable", error, RETRY, true)
                    .await
            }
        }
    }

    /// Settles a change that was, or may have been, sent by what Meta shows. `false` when Meta
    /// cannot be read either: it stays `executing` and is looked at first next time.
    async fn settle_unknown(
        &self,
        change: &PendingChange,
        accepted: Option<(Target, WriteReceipt)>,
        clipped_by: Option<Rule>,
    ) -> Result<bool, StoreError> {
        let proposed = &change.proposed;
        let target = change.intent.unwrap_or(proposed.requested);
        let clipped_by = clipped_by.map(|rule| rule.as_str().to_owned());
        let before = match &accepted {
            Some((before, _)) => *before,
            None => self
                .value_before(change)
                .await?
                .unwrap_or(proposed.expected),
        };
        let request = accepted
            .as_ref()
            .and_then(|(_, receipt)| receipt.request.clone());
        for look in 1..=READ_BACKS {
            match self.read_back(&proposed.entity, target).await {
                Found::Value(after) if after == target => {
                    self.settle(
                        change,
                        Settlement::Completed {
                            before,
                            after,
                            was_sent: true,
                            vendor_request: request,
                            clipped_by,
                        },
                    )
                    .await?;
                    return Ok(true);
                }
                Found::Value(found) if found == before => {
                    // Not shown yet, or not done.
                    if look < READ_BACKS {
                        let clock = self.context.clock.as_ref();
                        clock::sleep(clock, READ_BACK_WAIT, &self.key()).await;
                        continue;
                    }
                    let detail = format!("Meta still shows {found}");
                    self.give_back(change, &detail).await?;
                    return Ok(true);
                }
                Found::Value(found) => {
                    let detail = format!("{found} was found instead of {target}: somebody's edit");
                    self.settle(
                        change,
                        Settlement::Cancelled {
                            found: Some(found),
                            detail,
                        },
                    )
                    .await?;
                    return Ok(true);
                }
                Found::Gone => {
                    let detail = "it is not there any more, or not visible to the token".to_owned();
                    self.settle(
                        change,
                        Settlement::Cancelled {
                            found: None,
                            detail,
                        },
                    )
                    .await?;
                    return Ok(true);
                }
                Found::NoAnswer(error) => {
                    self.note(Err(&error)).await?;
                    tracing::warn!(
                        tenant.id = %proposed.tenant, change.id = %proposed.id,
                        error = %chain(&error),
                        "the effect of change {} is not known and Meta cannot be read: {}",
                        proposed.id, chain(&error)
                    );
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    /// A write without effect is tried again, a few times.
    async fn give_back(&self, change: &PendingChange, why: &str) -> Result<(), StoreError> {
        let settlement = if change.attempt >= ATTEMPTS_MAX {
            Settlement::Failed {
                detail: format!("{why} after {} attempts", change.attempt),
                vendor_request: None,
            }
        } else {
            Settlement::Deferred {
                until: time::add(self.context.clock.now(), RETRY),
                rule: "no_effect".to_owned(),
                detail: why.to_owned(),
                counts: true,
            }
        };
        self.settle(change, settlement).await
    }

    /// The value in force before the intent was committed, from its audit line.
    async fn value_before(&self, change: &PendingChange) -> Result<Option<Target>, StoreError> {
        let proposed = &change.proposed;
        let lines = self
            .context
            .store
            .audit_of_change(&proposed.tenant, &proposed.id)
            .await?;
        let intent = lines
            .iter()
            .rev()
            .find(|line| line.entry.event == AuditEvent::Executing);
        Ok(intent.and_then(|line| line.entry.before))
    }

    async fn read_back(&self, entity: &EntityRef, target: Target) -> Found {
        let kind = if target == Target::Status(RunStatus::Paused) {
            CallKind::SafetyWrite
        } else {
            CallKind::Read
        };
        let read = async {
            let permit = self.context.permit(kind).await?;
            self.read(permit, entity).await
        };
        match read.await {
            Ok(Some(live)) => match value_of(&live, target) {
                Some(value) => Found::Value(value),
                None => Found::Gone,
            },
            Ok(None) => Found::Gone,
            Err(error) => Found::NoAnswer(error),
        }
    }

    async fn read(
        &self,
        permit: Permit,
        entity: &EntityRef,
    ) -> Result<Option<meta::LiveSettings>, VendorError> {
        self.context
            .meta
            .settings(permit, self.context.tenant.currency, entity)
            .await
    }

    /// Gathers what the guards look at and asks them. The inner error names a fact that is missing.
    async fn judge(
        &self,
        change: &PendingChange,
        live: &meta::LiveSettings,
    ) -> Result<Result<Verdict, &'static str>, StoreError> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context.as_ref();
        let id = &tenant.id;
        let now = clock.now();
        let proposed = &change.proposed;
        let entity = &proposed.entity;
        let Some((structure, _)) = store.structure(id).await? else {
            return Ok(Err("the account's structure has not been read yet"));
        };
        let Some(zone) = structure.account.time_zone() else {
            return Ok(Err("the account's time zone is not known here"));
        };
        let window = tenant.limits.velocity_window.max(time::hours(24)) * 2;
        let history = store.budget_moves(id, time::sub(now, window)).await?;
        let actions = store
            .past_actions(id, time::sub(now, time::hours(25)))
            .await?;
        let frozen = store.frozen(id, now).await?;
        let quiet = tenant.limits.human_edit_quiet;
        let foreign_edit_at = frozen
            .iter()
            .find(|(e, ..)| e == entity)
            .map(|(_, until, _)| time::sub(*until, quiet));
        let holds = store.holds(id).await?;
        let (sums, spent_today) = self.sums(&structure, &zone, entity, live, now).await?;
        let quality = self.quality(&structure, now).await?;
        let tripped = breakers::look(&self.context, &zone, now).await?;
        let hands_off = match proposed.requested {
            Target::DailyBudget(_) => tenant.manage.budget_hands_off(&structure, entity),
            Target::Status(_) => tenant.manage.status_hands_off(&structure, entity),
        };
        let live_ads_in_ad_set = match entity {
            EntityRef::Ad(ad) => structure.ads.get(ad).map(|ad| live_ads(&structure, ad)),
            EntityRef::Campaign(_) | EntityRef::AdSet(_) => None,
        };
        let settings = LiveSettings {
            value: value_of(live, proposed.requested),
            status: live.status,
            spent_today: live.spent_today.unwrap_or(spent_today),
            last_significant_edit: live.last_significant_edit,
        };
        let context = ChangeContext {
            change,
            live: &settings,
            history: &history,
            actions: &actions,
            foreign_edit_at,
            hands_off: hands_off
                .as_ref()
                .filter(|reason| **reason != HandsOff::UnknownParent),
            live_ads_in_ad_set,
            sums,
            limits: &tenant.limits,
            min_daily_budget: structure.account.min_daily_budget,
            autonomy: &tenant.autonomy,
            quality: &quality,
            breakers: &tripped,
            stops: Stops {
                daemon_paused: holds.daemon_paused.is_some(),
                tenant_paused: holds.paused.is_some(),
                tenant_parked: holds.parked.is_some(),
            },
            account: structure.account.status,
            now,
            zone: &zone,
        };
        Ok(Ok(safety::judge(&context)))
    }

    async fn sums(
        &self,
        structure: &Structure,
        zone: &TimeZone,
        entity: &EntityRef,
        live: &meta::LiveSettings,
        now: Timestamp,
    ) -> Result<(AccountSums, Money), StoreError> {
        let Context { store, tenant, .. } = self.context.as_ref();
        let zero = Money::zero(tenant.currency);
        let today = time::day_of(now, zone);
        // Meta's weeks begin on Sunday.
        let week_start = time::add_days(today, -i64::from(today.weekday().to_sunday_zero_offset()));
        let mut spent_week = zero;
        let mut spent_today_all = zero;
        let mut spent_today = zero;
        for row in store.daily_insights(&tenant.id, week_start).await? {
            spent_week = add(spent_week, row.spend);
            if row.window.day() == today {
                spent_today_all = add(spent_today_all, row.spend);
                let is_its = match entity {
                    EntityRef::Campaign(id) => row.campaign == *id,
                    EntityRef::AdSet(id) => row.ad_set == *id,
                    EntityRef::Ad(id) => row.ad == *id,
                };
                if is_its {
                    spent_today = add(spent_today, row.spend);
                }
            }
        }
        let budgets = delivering_budgets(structure, entity, live);
        let campaign = structure.campaign_of(entity).map(|c| c.id.clone());
        let in_campaign = budgets.iter().filter(|(owner, _)| match owner {
            EntityRef::AdSet(id) => {
                structure.ad_sets.get(id).map(|s| &s.campaign) == campaign.as_ref()
            }
            EntityRef::Campaign(_) | EntityRef::Ad(_) => false,
        });
        let in_campaign: Vec<Money> = in_campaign.map(|(_, money)| *money).collect();
        let worst_day = budgets.iter().fold(zero, |sum, (owner, money)| {
            let factor = worst_day_factor(shares(structure, owner));
            add(sum, money.scale(factor, Rounding::Up).unwrap_or(*money))
        });
        let sums = AccountSums {
            daily_budgets: budgets
                .iter()
                .fold(zero, |sum, (_, money)| add(sum, *money)),
            includes_this: budgets.iter().any(|(owner, _)| owner == entity),
            in_campaign: (!in_campaign.is_empty()).then(|| in_campaign.into_iter().fold(zero, add)),
            resume_adds: resume_adds(structure, entity, &budgets),
            spent_today: spent_today_all,
            spent_this_week: spent_week,
            worst_day,
            shares_budgets: shares(structure, entity),
        };
        Ok((sums, spent_today))
    }

    async fn quality(
        &self,
        structure: &Structure,
        now: Timestamp,
    ) -> Result<DataQuality, StoreError> {
        let Context { store, tenant, .. } = self.context.as_ref();
        let id = &tenant.id;
        let limits = &tenant.limits.quality;
        let age = |at: Option<Timestamp>| at.map(|at| time::between(at, now));
        let insight_age = age(store.insights_watermark(id).await?);
        let crm = store.cursor(id, "crm.watermark").await?;
        let crm_age = age(crm
            .and_then(|t| t.parse::<i64>().ok())
            .map(time::from_micros));
        let deals = store.deals_since(id, Silence::since(limits, now)).await?;
        let made = deals.iter().map(|deal| deal.deal.created_at);
        let silence = Silence::of(made, limits, now);
        let coverage_from = time::sub(now, limits.coverage_window);
        let cohorts = store.coverage(id, coverage_from, tenant.currency).await?;
        let coverage = Coverage::of(&cohorts);
        let faulty = store.faulty_deals(id, 1).await?;
        Ok(DataQuality {
            insight_age,
            crm_age,
            coverage,
            recent_conversions: silence.recent,
            expected_conversions: silence.expected,
            currency_agrees: structure.account.currency == tenant.currency && faulty.is_empty(),
            time_zone_agrees: structure.account.time_zone().is_some(),
        })
    }

    async fn release_paused(&self, change: &PendingChange) -> Result<(), StoreError> {
        let until = time::add(self.context.clock.now(), safety::RECHECK);
        let outcome = self
            .context
            .store
            .settle_change(
                &change.proposed.tenant,
                &change.proposed.id,
                change.attempt,
                &Settlement::Deferred {
                    until,
                    rule: Rule::Paused.as_str().to_owned(),
                    detail: "a pause came between judging and sending".to_owned(),
                    counts: false,
                },
                self.context.clock.now(),
            )
            .await;
        match outcome {
            // The claim itself is gone: whoever took it settles it.
            Err(StoreError::WrongCount { .. }) => Ok(()),
            other => other,
        }
    }

    async fn defer(
        &self,
        change: &PendingChange,
        rule: &str,
        error: &VendorError,
        wait: SignedDuration,
        counts: bool,
    ) -> Result<(), StoreError> {
        self.count_guard(rule);
        if counts && change.attempt >= ATTEMPTS_MAX {
            let detail = format!("{} ({} attempts)", chain(error), change.attempt);
            return self
                .settle(
                    change,
                    Settlement::Failed {
                        detail,
                        vendor_request: None,
                    },
                )
                .await;
        }
        let wait = wait.max(time::seconds(1));
        self.settle(
            change,
            Settlement::Deferred {
                until: time::add(self.context.clock.now(), wait),
                rule: rule.to_owned(),
                detail: chain(error),
                counts,
            },
        )
        .await
    }

    async fn settle(&self, change: &PendingChange, how: Settlement) -> Result<(), StoreError> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context.as_ref();
        let id = &change.proposed.id;
        let (outcome, words) = match &how {
            Settlement::Completed {
                before,
                after,
                was_sent: true,
                ..
            } => ("completed", format!("set from {before} to {after}")),
            Settlement::Completed { after, .. } => {
                ("completed", format!("{after} was in force already"))
            }
            Settlement::Failed { detail, .. } => ("failed", detail.clone()),
            Settlement::Cancelled { detail, .. } => ("cancelled", detail.clone()),
            Settlement::Deferred {
                rule,
                until,
                detail,
                ..
            } => (
                "deferred",
                format!("held by {rule} until {until:.0}: {detail}"),
            ),
            Settlement::Refused { rule, detail } => {
                ("refused", format!("refused by {rule}: {detail}"))
            }
        };
        match store
            .settle_change(&tenant.id, id, change.attempt, &how, clock.now())
            .await
        {
            Ok(()) => {}
            // The lease ran out and whoever took the claim settles the change, after reading Meta.
            // This stage did nothing wrong by being slow and has nothing left to do here.
            Err(StoreError::WrongCount { .. }) => {
                metrics::counter!(
                    crate::telemetry::names::CHANGES_TOTAL,
                    "tenant" => tenant.id.to_string(), "outcome" => "claim_lost"
                )
                .increment(1);
                tracing::warn!(
                    tenant.id = %tenant.id, change.id = %id, entity = %change.proposed.entity,
                    "the claim on change {id} was lost before it could be settled ({outcome}: \
                     {words}); whoever holds it now settles it"
                );
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        metrics::counter!(
            crate::telemetry::names::CHANGES_TOTAL,
            "tenant" => tenant.id.to_string(), "outcome" => outcome
        )
        .increment(1);
        tracing::info!(
            tenant.id = %tenant.id, change.id = %id, entity = %change.proposed.entity, outcome,
            "change {id} of {} {outcome}: {words}", change.proposed.entity
        );
        Ok(())
    }

    async fn note(&self, outcome: Result<(), &VendorError>) -> Result<(), StoreError> {
        self.context.note_vendor("Meta", outcome).await
    }

    fn count_guard(&self, rule: &str) {
        metrics::counter!(
            crate::telemetry::names::GUARD_HELD_TOTAL,
            "tenant" => self.context.tenant.id.to_string(), "rule" => rule.to_owned()
        )
        .increment(1);
    }

    fn key(&self) -> String {
        format!("{}/executor", self.context.tenant.id)
    }
}

/// Whether a target is a larger daily budget than the one in force.
fn is_raise(live: &meta::LiveSettings, target: Target) -> bool {
    match (value_of(live, target), target) {
        (Some(Target::DailyBudget(from)), Target::DailyBudget(to)) => {
            to.compare(from).is_none_or(Ordering::is_gt)
        }
        _ => false,
    }
}

/// Whether an error says that further calls would fare no better just now.
fn is_out(error: &VendorError) -> bool {
    match error {
        VendorError::Retry { .. }
        | VendorError::Throttled { .. }
        | VendorError::Unauthorized { .. }
        | VendorError::Unknown { .. } => true,
        VendorError::Refused { kind, .. } => {
            matches!(kind, Refusal::AccountTrouble | Refusal::DeadVersion)
        }
        VendorError::TooMuch { .. } => false,
    }
}

/// The value in force of the kind that `target` is of.
fn value_of(live: &meta::LiveSettings, target: Target) -> Option<Target> {
    match target {
        Target::DailyBudget(_) => live.budget.daily().map(Target::DailyBudget),
        Target::Status(_) => Some(Target::Status(live.status)),
    }
}

fn add(a: Money, b: Money) -> Money {
    // Currencies were checked where the rows were read; an overflow is no sum of budgets.
    a.checked_add(b).unwrap_or(a)
}

/// Whether ad sets of the object's campaign may use each other's budgets.
fn shares(structure: &Structure, entity: &EntityRef) -> bool {
    structure
        .campaign_of(entity)
        .is_some_and(|campaign| campaign.shares_budgets)
}

fn live_ads(structure: &Structure, ad: &crate::domain::structure::Ad) -> u32 {
    let siblings = structure
        .ads
        .values()
        .filter(|other| other.ad_set == ad.ad_set && other.status == RunStatus::Active);
    u32::try_from(siblings.count()).unwrap_or(u32::MAX)
}

/// The daily budget of everything that can deliver, with the value in force of the one object that
/// was just read.
fn delivering_budgets(
    structure: &Structure,
    entity: &EntityRef,
    live: &meta::LiveSettings,
) -> Vec<(EntityRef, Money)> {
    structure
        .delivering_owners()
        .into_iter()
        .filter_map(|owner| {
            let (budget, ..) = structure.settings(&owner)?;
            let budget = if owner == *entity {
                live.budget
            } else {
                budget
            };
            budget.daily().map(|money| (owner, money))
        })
        .collect()
}

/// The budget that begins to count when an ad is resumed in an ad set without a live one.
fn resume_adds(
    structure: &Structure,
    entity: &EntityRef,
    budgets: &[(EntityRef, Money)],
) -> Option<Money> {
    let owner = match entity {
        EntityRef::Ad(ad) => {
            let set = structure.ad_sets.get(&structure.ads.get(ad)?.ad_set)?;
            structure.budget_owner(set)
        }
        EntityRef::AdSet(id) => structure.budget_owner(structure.ad_sets.get(id)?),
        EntityRef::Campaign(_) => entity.clone(),
    };
    if budgets.iter().any(|(counted, _)| *counted == owner) {
        return None;
    }
    structure
        .settings(&owner)
        .and_then(|(budget, ..)| budget.daily())
}
