//! Which ads change their status (ALGORITHM 6): kills, then rotation and return.

use std::collections::{BTreeMap, BTreeSet};

use super::roasd::{Entity, Run};
use crate::domain::ids::{AdSetId, CampaignId};
use crate::domain::policy::{Action, AdState, KillRule};
use crate::domain::rationale::Rule;
use crate::domain::verdicts::{self, Subject};

/// A change of one ad's status, or one that was due and has to wait.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StatusChange {
    /// Place of the ad.
    pub(super) ad: usize,
    /// What is, or would be, done.
    pub(super) action: Action,
    /// Why.
    pub(super) rule: Rule,
    /// No action is left in this hour.
    pub(super) waits: bool,
}

/// The statuses after this decision.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statuses {
    /// Each ad's, by place.
    pub(super) states: Vec<AdState>,
    /// What changed or waits, in order of execution.
    pub(super) changes: Vec<StatusChange>,
    /// Entities that had no live ad and now have: the most they may take of the cap, minor units.
    pub(super) room: BTreeMap<usize, i64>,
}

/// Decides every status. Takes what it uses from `allowance`.
pub(super) fn decide(run: &Run<'_>, allowance: &mut BTreeMap<CampaignId, u32>) -> Statuses {
    let mut s = Statuses {
        states: run.ads.iter().map(|ad| ad.state).collect(),
        changes: Vec::new(),
        room: BTreeMap::new(),
    };
    if run.unbelievable {
        return s;
    }
    kill(run, &mut s, allowance);
    if run.inputs.first_decision_of_day {
        rotate(run, &mut s, allowance);
    }
    s
}

/// The statuses of a plan made elsewhere: each ad is paused for good, the costliest first, where it
/// may be.
pub(super) fn planned(
    run: &Run<'_>,
    kills: Vec<(usize, Rule)>,
    allowance: &mut BTreeMap<CampaignId, u32>,
) -> Statuses {
    let mut s = Statuses {
        states: run.ads.iter().map(|ad| ad.state).collect(),
        changes: Vec::new(),
        room: BTreeMap::new(),
    };
    let spend = |ad: usize| run.beliefs.ads.get(ad).map_or(0.0, |b| b.ledger.spend);
    let mut due: Vec<(usize, Rule)> = kills
        .into_iter()
        .filter(|(ad, _)| {
            s.states.get(*ad) == Some(&AdState::Live) && run.changeable(*ad).is_some()
        })
        .collect();
    due.sort_by(|a, b| spend(b.0).total_cmp(&spend(a.0)).then(a.0.cmp(&b.0)));
    for (ad, rule) in due {
        apply(run, &mut s, allowance, ad, Action::Kill, rule, 1);
    }
    s
}

impl Run<'_> {
    pub(super) fn subject(&self, ad: usize) -> Option<Subject> {
        let belief = self.beliefs.ads.get(ad)?;
        Some(Subject {
            age_days: belief.ledger.age_days,
            spend: belief.ledger.spend,
            raw_roas: belief.ledger.raw_roas(),
            blended_score: self.scores.get(ad).copied().unwrap_or(0.0),
            roas: belief.roas,
        })
    }

    /// The entity whose ads may change status, if `ad` may.
    fn changeable(&self, ad: usize) -> Option<(usize, &Entity<'_>)> {
        let evidence = self.ads.get(ad)?;
        let place = (*self.entity_of.get(ad)?)?;
        let entity = self.entities.get(place)?;
        (evidence.untouchable.is_none()
            && entity.given.untouchable.is_none()
            && entity.bounds.is_some()
            && !entity.is_bad)
            .then_some((place, entity))
    }
}

fn kill(run: &Run<'_>, s: &mut Statuses, allowance: &mut BTreeMap<CampaignId, u32>) {
    let live: Vec<f64> = run
        .scores
        .iter()
        .zip(&s.states)
        .filter(|(_, state)| **state == AdState::Live)
        .map(|(score, _)| *score)
        .collect();
    let average = live.iter().sum::<f64>() / (live.len().max(1)) as f64;
    let rule = match run.params.kill_rule {
        KillRule::Posterior => Rule::KillPosterior,
        KillRule::Raw => Rule::KillRaw,
        KillRule::HalfAverage => Rule::KillHalfAverage,
    };
    let mut due: Vec<(usize, f64)> = (0..run.ads.len())
        .filter(|ad| s.states.get(*ad) == Some(&AdState::Live) && run.changeable(*ad).is_some())
        .filter_map(|ad| Some((ad, run.subject(ad)?)))
        .filter(|(_, subject)| verdicts::kills(&run.params, subject, average))
        .map(|(ad, subject)| (ad, subject.spend))
        .collect();
    // The costliest first, should the hour not have room for all.
    due.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    for (ad, _) in due {
        apply(run, s, allowance, ad, Action::Kill, rule.clone(), 1);
    }
}

fn rotate(run: &Run<'_>, s: &mut Statuses, allowance: &mut BTreeMap<CampaignId, u32>) {
    let mut sets: BTreeMap<(&CampaignId, &AdSetId), Vec<usize>> = BTreeMap::new();
    for (i, ad) in run.ads.iter().enumerate() {
        sets.entry((&ad.campaign, &ad.ad_set)).or_default().push(i);
    }
    let mut pauses: Vec<(usize, f64, Rule)> = Vec::new();
    let mut returns: Vec<(usize, Rule)> = Vec::new();
    for members in sets.values() {
        let of = |state: AdState| -> Vec<(usize, Subject)> {
            members
                .iter()
                .filter(|ad| s.states.get(**ad) == Some(&state))
                .filter_map(|ad| Some((*ad, run.subject(*ad)?)))
                .collect()
        };
        let (live, rotated) = (of(AdState::Live), of(AdState::Rotated));
        let best_of = |ads: &[(usize, Subject)]| {
            let subjects: Vec<Subject> = ads.iter().map(|(_, subject)| *subject).collect();
            verdicts::best(&subjects).and_then(|i| ads.get(i).copied())
        };
        let Some((best, best_subject)) = best_of(&live) else {
            // What it was paused for no longer runs.
            if let Some((ad, _)) = best_of(&rotated)
                && run.changeable(ad).is_some()
            {
                returns.push((
                    ad,
                    Rule::Returned {
                        best: None,
                        p_better: 0.0,
                    },
                ));
            }
            continue;
        };
        let Some(best_id) = run.ads.get(best).map(|ad| ad.ad.clone()) else {
            continue;
        };
        for (ad, subject) in live.iter().filter(|(ad, _)| *ad != best) {
            if run.changeable(*ad).is_some()
                && let Some(p_better) = verdicts::rotates(&run.params, subject, &best_subject)
            {
                let best = best_id.clone();
                pauses.push((*ad, subject.spend, Rule::Rotation { best, p_better }));
            }
        }
        for (ad, subject) in &rotated {
            if run.changeable(*ad).is_some()
                && let Some(p_better) = verdicts::returns(&run.params, subject, &best_subject)
            {
                let best = Some(best_id.clone());
                returns.push((*ad, Rule::Returned { best, p_better }));
            }
        }
    }
    pauses.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    for (ad, _, rule) in pauses {
        apply(run, s, allowance, ad, Action::Rotate, rule, 1);
    }
    returns.sort_by_key(|(ad, _)| *ad);
    for (ad, rule) in returns {
        bring_back(run, s, allowance, ad, rule);
    }
}

/// Sets `ad` live again. An entity without a live ad has freed its budget, so it gets only the room
/// left under the cap; where that is less than it may fall to, the ad stays out.
fn bring_back(
    run: &Run<'_>,
    s: &mut Statuses,
    allowance: &mut BTreeMap<CampaignId, u32>,
    ad: usize,
    rule: Rule,
) {
    let Some((place, entity)) = run.changeable(ad) else {
        return;
    };
    let Some(bounds) = entity.bounds else { return };
    let delivering = run.delivering(&s.states);
    if delivering.contains(&place) {
        apply(run, s, allowance, ad, Action::Return, rule, 1);
        return;
    }
    let taken: i128 = delivering
        .iter()
        .filter_map(|e| Some((e, run.entities.get(*e)?)))
        .map(|(e, entity)| {
            let full = i128::from(entity.given.budget.minor().max(0));
            s.room
                .get(e)
                .map_or(full, |room| full.min(i128::from(*room)))
        })
        .sum();
    let room = i128::from(run.inputs.limits.daily_cap.minor()) - taken;
    if room < i128::from(bounds.lowest) {
        return;
    }
    let room = i64::try_from(room.min(i128::from(bounds.current))).unwrap_or(0);
    let actions = if room < bounds.current { 2 } else { 1 };
    if apply(run, s, allowance, ad, Action::Return, rule, actions) {
        s.room.insert(place, room);
    }
}

fn apply(
    run: &Run<'_>,
    s: &mut Statuses,
    allowance: &mut BTreeMap<CampaignId, u32>,
    ad: usize,
    action: Action,
    rule: Rule,
    actions: u32,
) -> bool {
    let Some(campaign) = run.ads.get(ad).map(|ad| &ad.campaign) else {
        return false;
    };
    let left = allowance.get(campaign).copied().unwrap_or(0);
    let waits = left < actions;
    if !waits {
        allowance.insert(campaign.clone(), left - actions);
        if let Some(state) = s.states.get_mut(ad) {
            *state = after(action);
        }
    }
    s.changes.push(StatusChange {
        ad,
        action,
        rule,
        waits,
    });
    !waits
}

/// The state an action leaves an ad in.
pub(super) const fn after(action: Action) -> AdState {
    match action {
        Action::Kill => AdState::Killed,
        Action::Rotate => AdState::Rotated,
        Action::Return | Action::Raise | Action::Cut | Action::Hold => AdState::Live,
    }
}

impl Run<'_> {
    /// Places of the entities with a live ad.
    pub(super) fn delivering(&self, states: &[AdState]) -> BTreeSet<usize> {
        self.entity_of
            .iter()
            .zip(states)
            .filter(|(_, state)| **state == AdState::Live)
            .filter_map(|(entity, _)| *entity)
            .collect()
    }
}
