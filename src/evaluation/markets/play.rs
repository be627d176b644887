//! One policy in one market: what it is shown, what it does, what comes of it.

use std::collections::BTreeMap;

use super::settings::Setting;
use super::view::{Memory, View};
use crate::domain::allocation::{self, Candidate, Response, bounds, fill, fit};
use crate::domain::ids::CampaignId;
use crate::domain::model::Candidate as Version;
use crate::domain::policy::{AdState, BudgetEntity, Move, Outcome, Policy, PolicyInputs};
use crate::domain::structure::EntityRef;
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::sandbox::lone::Lone;

/// How often it is decided.
const EVERY: SignedDuration = time::hours(6);

/// Who decides.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is a handful of players, and each plays for seconds"
)]
pub(super) enum Player {
    /// A policy, with what is changed in its inputs first.
    Policy(&'static dyn Policy, fn(&mut PolicyInputs)),
    /// A version of the registry's.
    Version(Version),
    /// One that knows every return as it truly is, under the same guards.
    Clairvoyant,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Played {
    /// Spend, main units.
    pub spend: f64,
    /// Revenue of the clicks bought, followed to their end, luck of single deals left out.
    pub revenue: f64,
    /// The same with that luck.
    pub lucky: f64,
    /// Budget and status changes.
    pub changes: u32,
    /// Ads stopped for good, and those of them that truly earn more than the account's mean.
    pub kills: u32,
    /// See [`Self::kills`].
    pub wrong_kills: u32,
    /// Ads rotated out, and those of them that are truly better than what runs instead.
    pub rotations: u32,
    /// See [`Self::rotations`].
    pub wrong_rotations: u32,
    /// Raises that were held back when their turn came, since a cut before them was refused: a
    /// budget cannot fall below what is spent already on the day.
    pub held_back: u32,
    /// Decisions beyond a guard: none, or the figures mean nothing.
    pub broken: u32,
}

/// One change, whoever decided on it.
enum Deed {
    Budget(String, i64),
    Status(String, AdState),
}

/// Lets `player` run `market` to the setting's end.
pub(super) fn play(mut market: Lone, setting: &Setting, seed: u64, player: Player) -> Played {
    let view = View::new(*setting, seed, &market);
    let mut memory = Memory::default();
    for holder in market.holders() {
        memory.first.insert(holder.id, holder.budget_minor);
    }
    let mut played = Played::default();
    let (mut now, end) = (setting.start(), setting.end());
    let mut last_day = i64::MIN;
    while now < end {
        let day = time::to_micros(now).div_euclid(86_400_000_000);
        let inputs = view.inputs(&market, &memory, setting.params(), now, day != last_day);
        last_day = day;
        let deeds = match player {
            Player::Policy(policy, tweak) => {
                let mut given = inputs.clone();
                tweak(&mut given);
                deeds_of(&policy.decide(&given))
            }
            Player::Version(version) => deeds_of(&version.decide(&inputs)),
            Player::Clairvoyant => clairvoyant(&market, &inputs),
        };
        apply(&mut market, &mut memory, &inputs, deeds, &mut played, now);
        now = time::add(now, EVERY).min(end);
        market.advance(now);
    }
    let totals = market.totals(end);
    played.spend = totals.spend.to_f64();
    played.revenue = totals.revenue_expected.to_f64();
    played.lucky = totals.revenue_final.to_f64();
    played
}

fn deeds_of(outcome: &Outcome) -> Vec<Deed> {
    outcome
        .changes()
        .map(|d| match d.change {
            Move::Budget { to, .. } => Deed::Budget(d.subject.id().to_owned(), to.minor()),
            Move::Status { to, .. } => Deed::Status(d.subject.id().to_owned(), to),
        })
        .collect()
}

/// Carries out what was decided, what stops money first, as the executor does, and counts what goes
/// beyond the guards.
fn apply(
    market: &mut Lone,
    memory: &mut Memory,
    inputs: &PolicyInputs,
    mut deeds: Vec<Deed>,
    played: &mut Played,
    now: Timestamp,
) {
    if deeds.is_empty() {
        return;
    }
    let entity = |id: &str| inputs.entities.iter().find(|e| e.entity.id() == id);
    let rank = |deed: &Deed| match deed {
        Deed::Status(_, AdState::Live) => 2,
        Deed::Status(..) => 0,
        Deed::Budget(id, to) => {
            let is_cut = entity(id).is_some_and(|e| *to < e.budget.minor());
            if is_cut { 1 } else { 3 }
        }
    };
    deeds.sort_by_key(rank);
    let truth = market.true_returns();
    let cap = inputs.limits.daily_cap.minor();
    let mut actions: BTreeMap<CampaignId, u32> = BTreeMap::new();
    for deed in deeds {
        let campaign = match &deed {
            Deed::Budget(id, to) => {
                let Some(given) = entity(id) else { continue };
                let from = given.budget.minor();
                let allowed = bounds(given, &inputs.limits)
                    .is_some_and(|b| (b.lowest..=b.highest).contains(to));
                if !allowed || given.untouchable.is_some() {
                    played.broken += 1;
                    continue;
                }
                if *to > from && delivering(market) + to - from > cap {
                    played.held_back += 1;
                    continue;
                }
                if market.set_budget(id, *to, now) {
                    let moves = memory.moves.entry(id.clone()).or_default();
                    moves.push((now, from, *to));
                    played.changes += 1;
                }
                given.campaign.clone()
            }
            Deed::Status(id, to) => {
                let Some(place) = inputs.ads.iter().position(|ad| ad.ad.as_str() == id) else {
                    continue;
                };
                let Some(ad) = inputs.ads.get(place) else {
                    continue;
                };
                judge(inputs, &truth, place, *to, played);
                market.set_live(id, *to == AdState::Live, now);
                memory.aside.insert(ad.ad.clone(), *to);
                played.changes += 1;
                ad.campaign.clone()
            }
        };
        *actions.entry(campaign).or_default() += 1;
    }
    played.broken += actions
        .values()
        .map(|n| n.saturating_sub(inputs.limits.actions_per_campaign_per_hour))
        .sum::<u32>();
}

/// The sum of budgets that can deliver, minor units.
fn delivering(market: &Lone) -> i64 {
    let ads = market.ads();
    let is_on = |id: &str| {
        let live = ads.iter().filter(|ad| ad.is_live);
        live.flat_map(|ad| &ad.path).any(|part| part == id)
    };
    let holders = market.holders();
    let on = holders.iter().filter(|h| is_on(&h.id));
    on.map(|h| h.budget_minor).sum()
}

/// Whether stopping an ad was right, by what only the market knows.
fn judge(inputs: &PolicyInputs, truth: &[f64], place: usize, to: AdState, played: &mut Played) {
    let own = truth.get(place).copied().unwrap_or(0.0);
    let others = |same_set: bool| {
        let own = inputs.ads.get(place);
        inputs
            .ads
            .iter()
            .zip(truth)
            .enumerate()
            .filter(move |(i, (ad, _))| {
                ad.state == AdState::Live
                    && (!same_set || (*i != place && own.is_some_and(|o| o.ad_set == ad.ad_set)))
            })
            .map(|(_, (_, roas))| *roas)
    };
    match to {
        AdState::Killed => {
            let (sum, n) = others(false).fold((0.0, 0.0), |(s, n), r| (s + r, n + 1.0));
            played.kills += 1;
            played.wrong_kills += u32::from(own * n > sum);
        }
        AdState::Rotated => {
            played.rotations += 1;
            played.wrong_rotations += u32::from(own > others(true).fold(0.0, f64::max));
        }
        AdState::Live | AdState::PausedByOwner | AdState::Ended => {}
    }
}

/// Keeps the truly best ad of each ad set live, and fills budgets by true returns.
fn clairvoyant(market: &Lone, inputs: &PolicyInputs) -> Vec<Deed> {
    let returns = market.true_returns();
    let mut best: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for (place, (ad, roas)) in inputs.ads.iter().zip(&returns).enumerate() {
        let slot = best.entry(ad.ad_set.as_str()).or_insert((place, *roas));
        if *roas > slot.1 {
            *slot = (place, *roas);
        }
    }
    let live: Vec<bool> = inputs
        .ads
        .iter()
        .enumerate()
        .map(|(place, ad)| {
            best.get(ad.ad_set.as_str())
                .is_some_and(|(b, _)| *b == place)
        })
        .collect();
    let mut deeds = Vec::new();
    for (ad, on) in inputs.ads.iter().zip(&live) {
        let to = if *on { AdState::Live } else { AdState::Rotated };
        if (ad.state == AdState::Live) != *on {
            deeds.push(Deed::Status(ad.ad.as_str().to_owned(), to));
        }
    }
    let responses = market.true_responses(&live);
    let offset = inputs.currency.offset() as f64;
    let movable: Vec<(&BudgetEntity, Response, allocation::Bounds)> = inputs
        .entities
        .iter()
        .zip(&responses)
        .filter(|(entity, _)| entity.untouchable.is_none())
        .filter_map(|(entity, truth)| {
            let response = Response {
                r0: truth.r0,
                kappa: truth.kappa,
            };
            Some((entity, response, bounds(entity, &inputs.limits)?))
        })
        .collect();
    let fixed: i64 = inputs
        .entities
        .iter()
        .filter(|e| e.untouchable.is_some())
        .map(|e| e.budget.minor())
        .sum();
    let cap = inputs.limits.daily_cap.minor();
    let bounded: Vec<(Response, f64, f64)> = movable
        .iter()
        .map(|(_, r, b)| (*r, b.lowest as f64 / offset, b.highest as f64 / offset))
        .collect();
    let water = fill(&bounded, (cap - fixed) as f64 / offset);
    let candidates: Vec<Candidate> = movable
        .iter()
        .zip(&water.budgets)
        .map(|((entity, _, bounds), target)| Candidate {
            campaign: entity.campaign.clone(),
            bounds: *bounds,
            target: target * offset,
            dither: 0.0,
            scale: false,
            prepaid: false,
        })
        .collect();
    let left = inputs.limits.actions_per_campaign_per_hour;
    let taken = |campaign: &CampaignId| {
        let ads = inputs.ads.iter().filter(|ad| ad.campaign == *campaign);
        let ids: Vec<&str> = ads.map(|ad| ad.ad.as_str()).collect();
        let own = deeds
            .iter()
            .filter(|d| matches!(d, Deed::Status(id, _) if ids.contains(&id.as_str())));
        u32::try_from(own.count()).unwrap_or(u32::MAX)
    };
    let mut allowance: BTreeMap<CampaignId, u32> = inputs
        .entities
        .iter()
        .map(|e| (e.campaign.clone(), left.saturating_sub(taken(&e.campaign))))
        .collect();
    let useful = inputs.limits.min_useful_change.fraction();
    let fitted = fit(&candidates, i128::from(fixed), cap, useful, &mut allowance);
    for ((entity, ..), placed) in movable.iter().zip(&fitted.placed) {
        if placed.budget != entity.budget.minor() {
            let id = match &entity.entity {
                EntityRef::Campaign(id) => id.as_str(),
                EntityRef::AdSet(id) => id.as_str(),
                EntityRef::Ad(id) => id.as_str(),
            };
            deeds.push(Deed::Budget(id.to_owned(), placed.budget));
        }
    }
    deeds
}
