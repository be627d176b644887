//! Decides for one tenant and proposes. Gathers what is in the store, asks the policy, writes down
//! inputs, decisions and reasons, and queues the changes that the tenant's autonomy allows. Never
//! touches the network.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::context::{Context, weather};
use super::stage::{Broken, Progress, Stage, Work};
use super::versions;
use crate::domain::autonomy::{ActionKind, Autonomy};
use crate::domain::change::{BudgetMove, Origin, PastAction, ProposedChange, Target};
use crate::domain::ids::{AdId, RunId};
use crate::domain::model::{Candidate, VersionName};
use crate::domain::money::{Money, Rounding};
use crate::domain::policy::{
    Action, AdEvidence, AdState, Bucket, BudgetEntity, BudgetLimits, DealEvidence, Decision,
    HeldBudgets, Move, PolicyInputs, Record, Stage as FunnelStage,
};
use crate::domain::stages::{self, StageTable};
use crate::domain::structure::{Ad, Budget, EntityRef, RunStatus, Structure};
use crate::domain::time::{self, SignedDuration, TimeZone, Timestamp};
use crate::store::StoreError;
use crate::store::changes::Proposal;
use crate::store::crm::CreditedDeal;
use crate::store::decisions::{DecisionRecord, RunRecord, inputs_json, rationale_json};
use crate::store::models::ShadowRun;

/// How far back evidence is gathered: beyond it every discount is small.
const EVIDENCE: SignedDuration = time::days(120);
/// A budget that may move again within this time is decided on now and sent when it may.
const SOON: SignedDuration = time::hours(1);
/// A change that has not been executed for so long is decided anew instead.
const CHANGE_LIFE: SignedDuration = time::hours(24);

/// The work of the optimizer stage.
pub struct OptimizerWork {
    context: Arc<Context>,
    next: Timestamp,
}

impl OptimizerWork {
    /// The work of one tenant.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let next = time::add(context.clock.now(), context.tenant.schedule.decide_every);
        Self { context, next }
    }
}

#[async_trait]
impl Work for OptimizerWork {
    fn stage(&self) -> Stage {
        Stage::Optimizer
    }

    async fn look(&mut self) -> Result<Progress, Broken> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context.as_ref();
        let now = clock.now();
        let every = tenant.schedule.decide_every;
        let last = match store.latest_run_at(&tenant.id).await {
            Ok(last) => last,
            Err(error) => return weather(&error),
        };
        // A little early is in time: what nudges us comes with the sync, a little spread.
        if let Some(due) = last.map(|at| time::add(at, every - every / 20))
            && now < due
        {
            self.next = time::add(due, time::minutes(1));
            return Ok(Progress::Idle);
        }
        self.next = time::add(now, every);
        match self.decide(last).await {
            Ok(progress) => Ok(progress),
            Err(error) => weather(&error),
        }
    }

    fn next_tick(&self) -> Timestamp {
        self.next
            .max(time::add(self.context.clock.now(), time::seconds(1)))
    }
}

impl OptimizerWork {
    async fn decide(&self, last: Option<Timestamp>) -> Result<Progress, StoreError> {
        let Context {
            store,
            tenant,
            clock,
            policy,
            ..
        } = self.context.as_ref();
        let now = clock.now();
        let Some((structure, _)) = store.structure(&tenant.id).await? else {
            return Ok(Progress::Idle);
        };
        let Some(zone) = structure.account.time_zone() else {
            return Ok(Progress::Idle);
        };
        if store.insights_watermark(&tenant.id).await?.is_none() {
            return Ok(Progress::Idle);
        }
        let gathered = self.gather(&structure, &zone, last).await?;
        let versions = versions::in_force(store.as_ref(), *policy).await?;
        // Stored as the champion saw them: a replay needs nothing besides.
        let inputs = versions.champion.inputs(&gathered);
        let seed = inputs.seed;
        let stored_inputs = inputs_json(&inputs);
        let outcome = versions.champion.policy.decide(&inputs);
        let run_id = self.context.naming().run();
        let run = RunRecord {
            id: run_id.clone(),
            at: now,
            seed,
            policy: outcome.policy.to_owned(),
            version: outcome.version.to_string(),
            inputs_json: stored_inputs,
            flags: outcome
                .flags
                .iter()
                .map(|flag| flag.as_str().to_owned())
                .collect(),
        };
        let actions = store
            .past_actions(&tenant.id, time::sub(now, time::days(1)))
            .await?;
        let mut records = Vec::with_capacity(outcome.decisions.len());
        let mut proposals = Vec::new();
        for decision in &outcome.decisions {
            let mut record = self.record(&run_id, decision, now);
            if let Some(proposed) = self.proposal(decision, &record, &actions, &structure, now) {
                record.change = Some(proposed.id.clone());
                proposals.push(proposed);
            }
            metrics::counter!(
                crate::telemetry::names::DECISIONS_TOTAL,
                "tenant" => tenant.id.to_string(), "action" => decision.action.as_str()
            )
            .increment(1);
            records.push(record);
        }
        store.record_run(&tenant.id, &run, &records).await?;
        let changed = outcome.changes().count();
        tracing::info!(
            tenant.id = %tenant.id, run.id = %run_id, decisions = records.len(), changes = changed,
            proposed = proposals.len(), budget.before = %outcome.budget_before,
            budget.after = %outcome.budget_after,
            "decided on {} objects of {}: {changed} to change, {} proposed",
            records.len(), tenant.id, proposals.len()
        );
        let mut queued = 0;
        for proposed in proposals {
            match store.propose(&proposed, now).await? {
                Proposal::Queued | Proposal::Superseded(_) => queued += 1,
                Proposal::SameAsOpen(_) | Proposal::Busy(_) => {}
            }
        }
        // Last, and after all that is sent: whatever becomes of a challenger changes nothing.
        if tenant.challengers && !versions.challengers.is_empty() {
            let beside = |(version, candidate): &(VersionName, Candidate)| {
                versions::shadow(
                    version,
                    &run_id,
                    &outcome,
                    &candidate.decide(&gathered),
                    now,
                )
            };
            let shadows: Vec<ShadowRun> = versions.challengers.iter().map(beside).collect();
            store.record_shadows(&tenant.id, &shadows).await?;
        }
        Ok(if queued > 0 {
            Progress::Advanced
        } else {
            Progress::Idle
        })
    }

    async fn gather(
        &self,
        structure: &Structure,
        zone: &TimeZone,
        last: Option<Timestamp>,
    ) -> Result<PolicyInputs, StoreError> {
        let Context {
            store,
            tenant,
            clock,
            ..
        } = self.context.as_ref();
        let id = &tenant.id;
        let now = clock.now();
        let since = time::sub(now, EVIDENCE);
        let since_day = time::day_of(since, zone);
        let deals = store.deals_since(id, since).await?;
        let counted: Vec<&CreditedDeal> =
            deals.iter().filter(|deal| !deal.deal.is_archived).collect();
        let attributed = counted
            .iter()
            .filter(|deal| deal.attribution.is_some())
            .count();
        let moves = store
            .budget_moves(id, time::sub(now, time::days(2)))
            .await?;
        let actions = store
            .past_actions(id, time::sub(now, time::days(1)))
            .await?;
        let frozen = store.frozen(id, now).await?;
        let references: BTreeMap<EntityRef, Money> =
            store.first_budgets(id).await?.into_iter().collect();
        let limits = &tenant.limits;
        Ok(PolicyInputs {
            now,
            seed: self.context.seed,
            mode: tenant.mode,
            currency: tenant.currency,
            stages: funnel(&tenant.stages, &tenant.prior_rates),
            params: tenant.params,
            limits: BudgetLimits {
                daily_cap: limits.daily_cap,
                min_budget: self.least_budget(structure),
                max_change: limits.max_change,
                calm_raise: limits.max_raise_per_day,
                calm_cut: limits.max_cut_per_day,
                fuzz: limits.fuzz,
                min_useful_change: limits.min_change,
                actions_per_campaign_per_hour: limits.actions_per_campaign_per_hour,
            },
            first_decision_of_day: last.is_none_or(|last| {
                time::day_of(last, &TimeZone::UTC) != time::day_of(now, &TimeZone::UTC)
            }),
            entities: self.entities(structure, &moves, &actions, &frozen, &references, now),
            ads: self
                .ads(structure, zone, since_day, &counted, &frozen, now)
                .await?,
            deals_total: counted.len() as f64,
            deals_attributed: attributed as f64,
        })
    }

    fn least_budget(&self, structure: &Structure) -> Money {
        let ours = self.context.tenant.limits.min_per_ad_set;
        match structure.account.min_daily_budget {
            Some(theirs) if theirs.currency() == ours.currency() => {
                if theirs.minor() > ours.minor() {
                    theirs
                } else {
                    ours
                }
            }
            _ => ours,
        }
    }

    fn entities(
        &self,
        structure: &Structure,
        moves: &[BudgetMove],
        actions: &[PastAction],
        frozen: &[(EntityRef, Timestamp, String)],
        references: &BTreeMap<EntityRef, Money>,
        now: Timestamp,
    ) -> Vec<BudgetEntity> {
        let limits = &self.context.tenant.limits;
        let manage = &self.context.tenant.manage;
        let campaigns = structure
            .campaigns
            .values()
            .map(|c| (EntityRef::Campaign(c.id.clone()), &c.id));
        let ad_sets = structure
            .ad_sets
            .values()
            .map(|s| (EntityRef::AdSet(s.id.clone()), &s.campaign));
        let mut entities = Vec::new();
        for (entity, campaign) in campaigns.chain(ad_sets) {
            let Some((Budget::Daily(budget), name, _)) = structure.settings(&entity) else {
                continue;
            };
            let hands_off = manage.budget_hands_off(structure, &entity);
            if hands_off == Some(crate::domain::structure::HandsOff::Ended) {
                continue;
            }
            let may_move_at = next_allowed(&entity, actions, limits.changes_per_ad_set_per_day);
            let untouchable =
                hands_off
                    .map(|reason| reason.to_string())
                    .or_else(|| {
                        let (_, until, why) = frozen.iter().find(|(e, ..)| *e == entity)?;
                        Some(format!("{why} (until {until:.0})"))
                    })
                    .or_else(|| {
                        may_move_at.filter(|at| *at > time::add(now, SOON)).map(|at| {
                        format!(
                            "its budget was changed within the last day and may change again \
                             at {at:.0}"
                        )
                    })
                    });
            // The windows are those at the time when the change can be sent.
            let as_of = may_move_at.map_or(now, |at| at.max(now));
            let held = |window| held_budgets(&entity, budget, moves, time::sub(as_of, window));
            let hour_ago = time::sub(now, time::hours(1));
            let recent = actions
                .iter()
                .filter(|a| a.campaign == *campaign && a.at > hour_ago);
            entities.push(BudgetEntity {
                entity: entity.clone(),
                name: name.to_owned(),
                campaign: campaign.clone(),
                budget,
                held_6h: held(limits.velocity_window),
                held_24h: held(time::hours(24)),
                reference_budget: references.get(&entity).copied(),
                untouchable,
                actions_in_last_hour: u32::try_from(recent.count()).unwrap_or(u32::MAX),
            });
        }
        entities
    }

    async fn ads(
        &self,
        structure: &Structure,
        zone: &TimeZone,
        since: time::Date,
        deals: &[&CreditedDeal],
        frozen: &[(EntityRef, Timestamp, String)],
        now: Timestamp,
    ) -> Result<Vec<AdEvidence>, StoreError> {
        let Context { store, tenant, .. } = self.context.as_ref();
        let id = &tenant.id;
        let daily = store.daily_insights(id, since).await?;
        let hourly_from = time::add_days(time::day_of(now, zone), -1);
        let hourly = store.hourly_insights(id, hourly_from).await?;
        let aside: BTreeMap<EntityRef, String> = store
            .ads_put_aside(id)
            .await?
            .into_iter()
            .map(|(entity, action, _)| (entity, action))
            .collect();
        let mut buckets: BTreeMap<AdId, Vec<Bucket>> = BTreeMap::new();
        // Hours where we have them whole, days elsewhere; never both for one day of an ad.
        let by_hour: std::collections::BTreeSet<_> = hourly
            .iter()
            .map(|row| (row.ad.clone(), row.window.day()))
            .collect();
        let days = daily
            .iter()
            .filter(|row| !by_hour.contains(&(row.ad.clone(), row.window.day())));
        for row in days.chain(&hourly) {
            let begins = row.window.begins(zone);
            let ends = row.window.ends(zone).min(now).max(begins);
            let at = time::add(begins, time::between(begins, ends) / 2);
            buckets.entry(row.ad.clone()).or_default().push(Bucket {
                at,
                impressions: row.impressions as f64,
                clicks: row.clicks as f64,
                spend: row.spend.to_f64(),
            });
        }
        let mut credited: BTreeMap<AdId, Vec<DealEvidence>> = BTreeMap::new();
        for deal in deals {
            if let Some(attribution) = &deal.attribution {
                let evidence = self.evidence(deal, attribution.confidence);
                credited
                    .entry(attribution.credit.ad.clone())
                    .or_default()
                    .push(evidence);
            }
        }
        let neighbours = self.context.neighbours.load();
        Ok(structure
            .ads
            .values()
            .map(|ad| {
                let entity = EntityRef::Ad(ad.id.clone());
                let untouchable = self
                    .context
                    .tenant
                    .manage
                    .status_hands_off(structure, &entity)
                    .map(|reason| reason.to_string())
                    .or_else(|| {
                        let (_, until, why) = frozen.iter().find(|(e, ..)| *e == entity)?;
                        Some(format!("{why} (until {until:.0})"))
                    });
                AdEvidence {
                    ad: ad.id.clone(),
                    name: ad.name.clone(),
                    ad_set: ad.ad_set.clone(),
                    campaign: ad.campaign.clone(),
                    created_at: Some(ad.created_at),
                    state: ad_state(structure, ad, aside.get(&entity).map(String::as_str)),
                    untouchable,
                    record: Record::Dated {
                        buckets: buckets.remove(&ad.id).unwrap_or_default(),
                        deals: credited.remove(&ad.id).unwrap_or_default(),
                    },
                    neighbours: neighbours.get(&ad.id).cloned().unwrap_or_default(),
                }
            })
            .collect())
    }

    fn evidence(&self, deal: &CreditedDeal, confidence: f64) -> DealEvidence {
        let tenant = &self.context.tenant;
        let progress = stages::progress(&deal.deal, &tenant.stages);
        // An amount without a rate is told where the deal is settled; here it is unknown.
        let amount = progress
            .won_amount
            .and_then(|amount| tenant.fx.convert(&amount, Rounding::Nearest).ok().flatten())
            .map(Money::to_f64);
        DealEvidence {
            weight: confidence,
            reached: progress.entered_at,
            lost_at: progress.lost_at,
            amount,
        }
    }

    fn record(&self, run: &RunId, decision: &Decision, now: Timestamp) -> DecisionRecord {
        let (from, to) = decision.change.told();
        DecisionRecord {
            id: self.context.naming().decision(),
            run: run.clone(),
            entity: decision.subject.clone(),
            entity_name: decision.rationale.name.clone(),
            action: decision.action.as_str().to_lowercase(),
            from,
            to,
            paragraph: decision.rationale.paragraph(),
            rationale_json: rationale_json(&decision.rationale),
            change: None,
            at: now,
        }
    }

    /// The change that a decision asks for; `None` when it holds, or when the tenant only watches.
    fn proposal(
        &self,
        decision: &Decision,
        record: &DecisionRecord,
        actions: &[PastAction],
        structure: &Structure,
        now: Timestamp,
    ) -> Option<ProposedChange> {
        let tenant = &self.context.tenant;
        let (kind, rank) = match decision.action {
            Action::Hold => return None,
            Action::Kill | Action::Rotate => (ActionKind::Pause, 0),
            Action::Cut => (ActionKind::Cut, 1),
            Action::Return => (ActionKind::Resume, 2),
            Action::Raise => (ActionKind::Raise, 3),
        };
        let level = tenant.autonomy.for_action(kind);
        if level == Autonomy::Observe {
            return None;
        }
        let (expected, requested) = match decision.change {
            Move::Budget { from, to } => (Target::DailyBudget(from), Target::DailyBudget(to)),
            Move::Status { to, .. } => {
                let wanted = if to == AdState::Live {
                    RunStatus::Active
                } else {
                    RunStatus::Paused
                };
                let (_, _, present) = structure.settings(&decision.subject)?;
                (Target::Status(present), Target::Status(wanted))
            }
        };
        if expected == requested {
            return None;
        }
        let cadence = tenant.limits.changes_per_ad_set_per_day;
        let earliest = match requested {
            Target::DailyBudget(_) => next_allowed(&decision.subject, actions, cadence),
            Target::Status(_) => None,
        };
        let needs_approval = level == Autonomy::Approve;
        let life = if needs_approval {
            tenant.approval_expiry
        } else {
            CHANGE_LIFE
        };
        Some(ProposedChange {
            id: self.context.naming().change(),
            tenant: tenant.id.clone(),
            entity: decision.subject.clone(),
            entity_name: decision.rationale.name.clone(),
            campaign: decision.campaign.clone(),
            expected,
            requested,
            reason: record.paragraph.clone(),
            origin: Origin::Decision(record.id.clone()),
            confidence: decision_confidence(decision),
            needs_approval,
            rank,
            earliest_at: earliest.map_or(now, |at| at.max(now)),
            expires_at: time::add(now, life),
            proposed_at: now,
        })
    }
}

/// How sure a decision is: for a pause the probability that the ad is below its line, else how
/// little the return's interval spreads.
fn decision_confidence(decision: &Decision) -> f64 {
    let Some(belief) = &decision.rationale.belief else {
        return 0.0;
    };
    let confidence = match decision.action {
        Action::Kill => belief.p_below_kill,
        Action::Raise | Action::Cut | Action::Hold | Action::Rotate | Action::Return => {
            1.0 / (1.0 + belief.sigma)
        }
    };
    if confidence.is_finite() {
        confidence.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

fn funnel(table: &StageTable, prior_rates: &[f64]) -> Vec<FunnelStage> {
    let stated = prior_rates
        .iter()
        .copied()
        .map(Some)
        .chain(std::iter::repeat(None));
    table
        .funnel()
        .zip(stated)
        .map(|(stage, prior_rate)| FunnelStage {
            prior_rate,
            ..FunnelStage::new(stage.name.clone(), stage.value.to_f64())
        })
        .collect()
}

/// When the budget of an object may be changed again; `None` when it may at any time.
fn next_allowed(entity: &EntityRef, actions: &[PastAction], per_day: u32) -> Option<Timestamp> {
    let mut sent: Vec<Timestamp> = actions
        .iter()
        .filter(|a| a.entity == *entity && matches!(a.target, Target::DailyBudget(_)))
        .map(|a| a.at)
        .collect();
    sent.sort();
    let allowed = usize::try_from(per_day).unwrap_or(usize::MAX);
    let index = sent.len().checked_sub(allowed)?;
    sent.get(index).map(|at| time::add(*at, time::days(1)))
}

/// The least and greatest budget an object held since `since`, the one in force then included.
fn held_budgets(
    entity: &EntityRef,
    budget: Money,
    moves: &[BudgetMove],
    since: Timestamp,
) -> HeldBudgets {
    let mut held = HeldBudgets::steady(budget);
    for step in moves.iter().filter(|m| m.entity == *entity && m.at > since) {
        for value in [step.from, step.to] {
            if value.compare(held.min) == Some(std::cmp::Ordering::Less) {
                held.min = value;
            }
            if value.compare(held.max) == Some(std::cmp::Ordering::Greater) {
                held.max = value;
            }
        }
    }
    held
}

fn ad_state(structure: &Structure, ad: &Ad, put_aside: Option<&str>) -> AdState {
    let parents = structure
        .ad_sets
        .get(&ad.ad_set)
        .map(|set| set.status)
        .into_iter()
        .chain(
            structure
                .campaigns
                .get(&ad.campaign)
                .map(|campaign| campaign.status),
        );
    let ended = |status| matches!(status, RunStatus::Archived | RunStatus::Deleted);
    if ended(ad.status) || parents.clone().any(ended) {
        return AdState::Ended;
    }
    if ad.status == RunStatus::Active {
        return if parents.clone().count() == 2 && parents.clone().all(|s| s == RunStatus::Active) {
            AdState::Live
        } else {
            AdState::PausedByOwner
        };
    }
    match put_aside {
        Some("rotate") => AdState::Rotated,
        Some("kill") => AdState::Killed,
        _ => AdState::PausedByOwner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{AdSetId, CampaignId};
    use crate::domain::money::Currency;

    fn set(id: &str) -> EntityRef {
        EntityRef::AdSet(AdSetId::new(id).unwrap())
    }

    fn usd(minor: i64) -> Money {
        Money::from_minor(minor, Currency::USD)
    }

    fn at(h: i64) -> Timestamp {
        time::from_seconds(h * 3_600)
    }

    #[test]
    fn a_budget_may_move_again_a_day_after_its_last_move() {
        let sent = |h| PastAction {
            entity: set("1"),
            campaign: CampaignId::new("9").unwrap(),
            at: at(h),
            target: Target::DailyBudget(usd(1)),
        };
        assert_eq!(next_allowed(&set("1"), &[], 1), None);
        assert_eq!(next_allowed(&set("2"), &[sent(5)], 1), None);
        assert_eq!(next_allowed(&set("1"), &[sent(5)], 1), Some(at(29)));
        assert_eq!(
            next_allowed(&set("1"), &[sent(7), sent(5)], 2),
            Some(at(29))
        );
        assert_eq!(next_allowed(&set("1"), &[sent(5)], 2), None);
    }

    #[test]
    fn held_budgets_include_the_one_in_force_when_the_window_opened() {
        let step = |h, from, to| BudgetMove {
            entity: set("1"),
            campaign: CampaignId::new("9").unwrap(),
            at: at(h),
            from: usd(from),
            to: usd(to),
            is_ours: true,
        };
        let moves = [
            step(1, 500, 900),
            step(10, 900, 1_000),
            step(12, 1_000, 1_100),
        ];
        let held = held_budgets(&set("1"), usd(1_100), &moves, at(6));
        assert_eq!((held.min, held.max), (usd(900), usd(1_100)));
        let held = held_budgets(&set("1"), usd(1_100), &moves, at(20));
        assert_eq!((held.min, held.max), (usd(1_100), usd(1_100)));
    }
}
