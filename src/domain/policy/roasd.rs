//! The house policy, `roasd`, in the order of ALGORITHM 6: beliefs, kill, rotation and return on the
//! first decision of the UTC day, then budgets over what is still live.

use std::collections::BTreeMap;

use super::budgets::{self, Aim, Budgets};
use super::statuses::{self, StatusChange, Statuses};
use super::{
    AccountReading, Action, AdEvidence, BudgetEntity, Decision, Flag, Move, Outcome, Policy,
    PolicyInputs, PolicyParams, outlook,
};
use crate::domain::allocation::{Bounds, bounds};
use crate::domain::bandit;
use crate::domain::ids::{AdId, CampaignId};
use crate::domain::posterior::{Beliefs, believe};
use crate::domain::rationale::{AdReading, Rationale, Rule, Thresholds};
use crate::domain::score;
use crate::domain::structure::EntityRef;

const IDENTITY: Identity = Identity {
    name: "roasd",
    version: 1,
};

/// An ad's score may move its draw by this factor while there is no lead to go by.
const SCORE_RANGE: std::ops::RangeInclusive<f64> = 0.5..=2.0;

/// The decision model of this project.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoasdPolicy;

impl Policy for RoasdPolicy {
    fn name(&self) -> &'static str {
        IDENTITY.name
    }

    fn version(&self) -> u32 {
        IDENTITY.version
    }

    fn decide(&self, inputs: &PolicyInputs) -> Outcome {
        let run = Run::new(inputs, IDENTITY);
        let mut allowance = run.allowance();
        let statuses = statuses::decide(&run, &mut allowance);
        let budgets = budgets::decide(&run, &statuses, &mut allowance, Aim::WaterLevel);
        run.outcome(&statuses, budgets)
    }
}

/// Which policy decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) name: &'static str,
    pub(super) version: u32,
}

/// One entity with its ads.
#[derive(Debug)]
pub(super) struct Entity<'a> {
    pub(super) given: &'a BudgetEntity,
    /// How far its budget may move; `None` when its budgets are not usable.
    pub(super) bounds: Option<Bounds>,
    /// Places of its ads.
    pub(super) ads: Vec<usize>,
    /// Some input of it is not usable, so it is held.
    pub(super) is_bad: bool,
}

/// One decision under way: inputs in order, beliefs and draws.
#[derive(Debug)]
pub(super) struct Run<'a> {
    identity: Identity,
    pub(super) inputs: &'a PolicyInputs,
    pub(super) params: PolicyParams,
    /// By id, without repeats.
    pub(super) ads: Vec<&'a AdEvidence>,
    /// Place of each ad's entity.
    pub(super) entity_of: Vec<Option<usize>>,
    /// By id, without repeats.
    pub(super) entities: Vec<Entity<'a>>,
    pub(super) beliefs: Beliefs,
    /// Thompson draw of each ad.
    pub(super) draws: Vec<f64>,
    /// Blended score of each ad.
    pub(super) scores: Vec<f64>,
    pub(super) readings: Vec<AdReading>,
    /// Nothing can be believed: no funnel, a win without value, or a cap in another currency.
    pub(super) unbelievable: bool,
    bad_inputs: usize,
}

impl<'a> Run<'a> {
    pub(super) fn new(inputs: &'a PolicyInputs, identity: Identity) -> Self {
        let params = inputs.params.sanitized();
        let (ads, repeated) = unique_ads(&inputs.ads);
        let beliefs = believe(inputs, &ads, &params);
        let worth = beliefs.value_of_win;
        let unbelievable = beliefs.funnel.is_empty()
            || !(worth.is_finite() && worth > 0.0)
            || inputs.limits.daily_cap.currency() != inputs.currency;

        let (mut entities, places, repeated_entities) = unique_entities(inputs);
        let place = |ad: &AdEvidence| {
            places
                .get(&EntityRef::AdSet(ad.ad_set.clone()))
                .or_else(|| places.get(&EntityRef::Campaign(ad.campaign.clone())))
                .copied()
        };
        let entity_of: Vec<Option<usize>> = ads.iter().map(|ad| place(ad)).collect();
        for (i, (entity, belief)) in entity_of.iter().zip(&beliefs.ads).enumerate() {
            if let Some(entity) = entity.and_then(|e| entities.get_mut(e)) {
                entity.ads.push(i);
                entity.is_bad |= belief.ledger.bad_inputs > 0;
            }
        }
        for ad in &repeated {
            if let Some(entity) = place(ad).and_then(|e| entities.get_mut(e)) {
                entity.is_bad = true;
            }
        }
        let unusable = entities.iter().filter(|e| e.bounds.is_none()).count();
        for entity in &mut entities {
            entity.is_bad |= unbelievable || entity.bounds.is_none();
        }

        let period = bandit::period(inputs.now, params.hold_hours);
        let drawn: Vec<f64> = ads
            .iter()
            .zip(&beliefs.ads)
            .map(|(ad, belief)| {
                bandit::thompson(
                    inputs.seed,
                    ad.ad.as_str(),
                    period,
                    params.draws,
                    belief.roas,
                )
            })
            .collect();
        let scores: Vec<f64> = beliefs.ads.iter().map(|b| blended(&b.ledger)).collect();
        let draws = if beliefs.has_leads {
            drawn
        } else {
            ordered_by_score(&drawn, &scores, &beliefs)
        };
        let readings: Vec<AdReading> = ads
            .iter()
            .zip(&beliefs.ads)
            .zip(&draws)
            .map(|((ad, belief), draw)| beliefs.reading(ad, belief, *draw, &params))
            .collect();
        let dropped: usize = beliefs.ads.iter().map(|b| b.ledger.bad_inputs).sum();
        Self {
            identity,
            inputs,
            params,
            entity_of,
            draws,
            scores,
            readings,
            unbelievable,
            bad_inputs: dropped
                + repeated.len()
                + repeated_entities
                + unusable
                + usize::from(unbelievable),
            ads,
            entities,
            beliefs,
        }
    }

    /// Actions left in this hour, by campaign.
    pub(super) fn allowance(&self) -> BTreeMap<CampaignId, u32> {
        let mut used: BTreeMap<CampaignId, u32> = BTreeMap::new();
        for entity in &self.entities {
            let slot = used.entry(entity.given.campaign.clone()).or_default();
            *slot = (*slot).max(entity.given.actions_in_last_hour);
        }
        let limit = self.inputs.limits.actions_per_campaign_per_hour;
        used.into_iter()
            .map(|(campaign, used)| (campaign, limit.saturating_sub(used)))
            .collect()
    }

    /// What a win is worth to the posterior: V / eta.
    pub(super) fn worth(&self) -> f64 {
        (self.beliefs.value_of_win / self.beliefs.eta).max(1e-9)
    }

    pub(super) fn outcome(self, statuses: &Statuses, budgets: Budgets) -> Outcome {
        let mut decisions: Vec<Decision> = statuses
            .changes
            .iter()
            .filter_map(|change| self.status_decision(change))
            .collect();
        let waiting = statuses.changes.iter().any(|c| c.waits) || budgets.rationed;
        decisions.extend(budgets.decisions);
        let flags = [
            (Flag::NothingLive, budgets.nothing_live),
            (Flag::CapUnreachable, budgets.unreachable),
            (Flag::BadInput, self.bad_inputs > 0),
            (Flag::NoLeadYet, !self.beliefs.has_leads),
            (
                Flag::TotalsOnly,
                self.beliefs.ads.iter().any(|a| a.ledger.totals_only),
            ),
            (Flag::Rationed, waiting),
        ]
        .into_iter()
        .filter_map(|(flag, holds)| holds.then_some(flag))
        .collect();
        let total = |of: fn(&AdReading) -> f64| self.readings.iter().map(of).sum();
        let account = AccountReading {
            rates: self
                .beliefs
                .funnel
                .stages()
                .iter()
                .zip(&self.beliefs.account.rates)
                .map(|(stage, rate)| (stage.name.clone(), *rate))
                .collect(),
            clicks_per_unit: self.beliefs.account.clicks_per_unit,
            damping_delta: self.beliefs.damping.delta,
            value_of_win: self.beliefs.value_of_win,
            eta: self.beliefs.eta,
            impressions: total(|r| r.evidence.impressions),
            clicks: total(|r| r.evidence.clicks),
            spend: total(|r| r.evidence.spend),
        };
        Outcome {
            policy: self.identity.name,
            version: self.identity.version,
            decided_at: self.inputs.now,
            decisions,
            flags,
            bad_inputs: self.bad_inputs,
            budget_before: budgets.before,
            budget_after: budgets.after,
            cap: self.inputs.limits.daily_cap,
            water_level: budgets.level,
            account,
            readings: self.readings,
        }
    }

    /// A rationale with everything that is the same for every decision of this run.
    pub(super) fn rationale(
        &self,
        subject: EntityRef,
        name: String,
        action: Action,
        change: Move,
        rule: Rule,
    ) -> Rationale {
        Rationale {
            policy: self.identity.name,
            version: self.identity.version,
            decided_at: self.inputs.now,
            seed: self.inputs.seed,
            mode: self.inputs.mode,
            currency: self.inputs.currency,
            subject,
            name,
            action,
            scale: false,
            change,
            rule,
            evidence: crate::domain::rationale::Evidence::default(),
            belief: None,
            prior: None,
            budget: None,
            ctr_weight: None,
            blended_score: None,
            in_ignorance_zone: false,
            live_ads: Vec::new(),
            would_change: Vec::new(),
            thresholds: Thresholds::of(&self.params),
        }
    }

    fn status_decision(&self, change: &StatusChange) -> Option<Decision> {
        let ad = self.ads.get(change.ad)?;
        let reading = self.readings.get(change.ad)?;
        let (action, rule, to) = if change.waits {
            (Action::Hold, Rule::RateLimited, ad.state)
        } else {
            let to = statuses::after(change.action);
            (change.action, change.rule.clone(), to)
        };
        let moved = Move::Status { from: ad.state, to };
        let subject = EntityRef::Ad(ad.ad.clone());
        let mut rationale = self.rationale(subject.clone(), ad.name.clone(), action, moved, rule);
        rationale.evidence = reading.evidence.clone();
        rationale.belief = Some(reading.belief.clone());
        rationale.prior = Some(reading.prior.clone());
        rationale.ctr_weight = Some(reading.ctr_weight);
        rationale.blended_score = Some(reading.blended_score);
        rationale.in_ignorance_zone = reading.in_ignorance_zone;
        rationale.would_change = self.status_outlook(change);
        Some(Decision {
            subject,
            campaign: ad.campaign.clone(),
            action,
            scale: false,
            change: moved,
            rationale,
        })
    }

    fn status_outlook(&self, change: &StatusChange) -> Vec<String> {
        let Some(own) = self.beliefs.ads.get(change.ad) else {
            return Vec::new();
        };
        let belief_of = |id: &AdId| {
            let place = self.ads.binary_search_by(|ad| ad.ad.cmp(id)).ok()?;
            self.beliefs.ads.get(place)
        };
        let p = &self.params;
        let sales = |n: u32| {
            if n == 1 {
                "1 more sale".to_owned()
            } else {
                format!("{n} more sales")
            }
        };
        let line = match &change.rule {
            Rule::KillPosterior => outlook::sales_until(own, self.worth(), |roas| {
                roas.p_below(p.kill_roas) < p.p_kill
            })
            .map(|n| format!("with {} credited to it, it would have been kept", sales(n))),
            Rule::KillRaw => Some(format!(
                "with {} more of pipeline it would have been kept",
                crate::domain::rationale::paragraph::amount(
                    (own.ledger.spend * p.kill_roas - own.ledger.pipeline_value).max(0.0),
                    self.inputs.currency
                )
            )),
            Rule::Rotation { best, .. } => belief_of(best).and_then(|best| {
                outlook::sales_until(own, self.worth(), |roas| {
                    best.roas.p_better_than(roas) < p.p_rotate
                })
                .map(|n| format!("with {} credited to it, it would have stayed", sales(n)))
            }),
            Rule::Returned {
                best: Some(best), ..
            } => belief_of(best).and_then(|best| {
                outlook::sales_until(best, self.worth(), |roas| {
                    roas.p_better_than(own.roas) > p.p_return
                })
                .map(|n| {
                    format!(
                        "with {} of the ad in its place, it would stay paused",
                        sales(n)
                    )
                })
            }),
            _ => None,
        };
        let mut lines: Vec<String> = line.into_iter().collect();
        if change.waits {
            lines.push("it is up again when the hour has passed".to_owned());
        }
        if change.action == Action::Rotate {
            lines.push("it is compared again every day and may return".to_owned());
        }
        if change.action == Action::Kill {
            lines.push("only a person brings it back".to_owned());
        }
        lines
    }
}

fn blended(ledger: &crate::domain::posterior::ledger::AdLedger) -> f64 {
    score::blended(
        ledger.ctr(),
        ledger.raw_roas().unwrap_or(0.0),
        ledger.age_days * 24.0,
        ledger.impressions,
    )
}

/// Without any lead the score orders the ads: each gets the mean draw, moved by its score against
/// the mean score. An ad without impressions has no score to speak of and counts as average.
fn ordered_by_score(drawn: &[f64], scores: &[f64], beliefs: &Beliefs) -> Vec<f64> {
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, n) = values.fold((0.0, 0.0), |(sum, n), v| (sum + v, n + 1.0));
        if n > 0.0 { sum / n } else { 0.0 }
    };
    let shown = |i: usize| {
        beliefs
            .ads
            .get(i)
            .is_some_and(|b| b.ledger.impressions > 0.0)
    };
    let draw = mean(&mut drawn.iter().copied());
    let score = mean(
        &mut scores
            .iter()
            .enumerate()
            .filter(|(i, _)| shown(*i))
            .map(|(_, s)| *s),
    );
    scores
        .iter()
        .enumerate()
        .map(|(i, own)| {
            if score > 0.0 && shown(i) {
                draw * (own / score).clamp(*SCORE_RANGE.start(), *SCORE_RANGE.end())
            } else {
                draw
            }
        })
        .collect()
}

/// Ads by id; one that occurs twice is ambiguous, so all of its occurrences are left out.
fn unique_ads(given: &[AdEvidence]) -> (Vec<&AdEvidence>, Vec<&AdEvidence>) {
    let mut count: BTreeMap<&AdId, usize> = BTreeMap::new();
    for ad in given {
        *count.entry(&ad.ad).or_default() += 1;
    }
    let (mut ads, repeated): (Vec<_>, Vec<_>) = given
        .iter()
        .partition(|ad| count.get(&ad.ad).copied() == Some(1));
    ads.sort_by(|a, b| a.ad.cmp(&b.ad));
    (ads, repeated)
}

/// Entities by id, where each is, and how many occurrences were left out. Of a repeated one the
/// greatest budget stands, and it is held.
fn unique_entities(inputs: &PolicyInputs) -> (Vec<Entity<'_>>, BTreeMap<EntityRef, usize>, usize) {
    let mut sorted: Vec<&BudgetEntity> = inputs.entities.iter().collect();
    let key = |e: &BudgetEntity| {
        (
            e.budget.currency(),
            e.budget.minor(),
            e.campaign.clone(),
            e.name.clone(),
        )
    };
    sorted.sort_by(|a, b| a.entity.cmp(&b.entity).then_with(|| key(b).cmp(&key(a))));
    let mut entities: Vec<Entity<'_>> = Vec::with_capacity(sorted.len());
    let mut repeats = 0;
    for given in sorted {
        match entities.last_mut() {
            Some(last) if last.given.entity == given.entity => {
                last.is_bad = true;
                repeats += 1;
            }
            _ => entities.push(Entity {
                given,
                bounds: bounds(given, &inputs.limits),
                ads: Vec::new(),
                is_bad: false,
            }),
        }
    }
    let places = entities
        .iter()
        .enumerate()
        .map(|(i, e)| (e.given.entity.clone(), i))
        .collect();
    (entities, places, repeats)
}

#[cfg(test)]
mod tests;
