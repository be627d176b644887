//! Budgets over what is still live (ALGORITHM 5), and the explanation of each.

use std::collections::BTreeMap;

use super::roasd::{Entity, Run};
use super::statuses::Statuses;
use super::{Action, AdState, Decision, Move, outlook};
use crate::domain::allocation::fit::Held;
use crate::domain::allocation::{Candidate, Placed, Response, Water, fill, fit};
use crate::domain::bandit;
use crate::domain::ids::CampaignId;
use crate::domain::money::Money;
use crate::domain::posterior::gamma::LogNormal;
use crate::domain::rationale::paragraph::{amount, short};
use crate::domain::rationale::{Belief, Bound, BudgetTrail, Evidence, Rule};
use crate::domain::verdicts;

/// Share of an entity's spend that is taken as evenly spread over its live ads.
const EVEN_SHARE: f64 = 0.10;

/// Half-life of spend per day, days.
const PACE_DAYS: f64 = 5.0;

/// How many live ads an explanation names.
const NAMED_ADS: usize = 10;

/// A kill further away than this multiple of what the ad has spent is not worth naming.
const NEAR: f64 = 5.0;

/// What was decided about budgets.
#[derive(Debug)]
pub(super) struct Budgets {
    /// One per entity with a live ad, by id.
    pub(super) decisions: Vec<Decision>,
    pub(super) before: Money,
    pub(super) after: Money,
    pub(super) level: Option<f64>,
    pub(super) unreachable: bool,
    pub(super) nothing_live: bool,
    pub(super) rationed: bool,
}

/// One entity that takes part.
struct Part {
    /// Its place.
    place: usize,
    /// Its live ads and each one's share of its spend.
    shares: Vec<(usize, f64)>,
    draw: f64,
    spend_per_day: f64,
    response: Response,
    scale: bool,
    belief: Option<LogNormal>,
}

/// Where budgets are meant to go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Aim<'a> {
    /// Where the next unit earns the same everywhere.
    WaterLevel,
    /// To these, main units by place of the entity, for this reason; the others stay.
    At(&'a BTreeMap<usize, f64>, &'static str),
}

/// Decides every budget. Takes what it uses from `allowance`.
pub(super) fn decide(
    run: &Run<'_>,
    statuses: &Statuses,
    allowance: &mut BTreeMap<CampaignId, u32>,
    aim: Aim<'_>,
) -> Budgets {
    let delivering = run.delivering(&statuses.states);
    let offset = run.inputs.currency.offset() as f64;
    let mut parts: Vec<Part> = Vec::new();
    let mut fixed: i128 = 0;
    for place in &delivering {
        let Some(entity) = run.entities.get(*place) else {
            continue;
        };
        if entity.given.untouchable.is_some() || entity.is_bad || entity.bounds.is_none() {
            fixed += i128::from(entity.given.budget.minor().max(0));
        } else {
            parts.push(part(run, statuses, *place, entity));
        }
    }
    let cap = run.inputs.limits.daily_cap.minor();
    let bounded: Vec<(Response, f64, f64)> = parts
        .iter()
        .filter_map(|p| {
            let b = limits(run, statuses, p.place)?;
            Some((
                p.response,
                b.lowest as f64 / offset,
                b.highest as f64 / offset,
            ))
        })
        .collect();
    let water = match aim {
        Aim::WaterLevel => fill(&bounded, (i128::from(cap) - fixed) as f64 / offset),
        Aim::At(targets, _) => Water {
            budgets: parts.iter().map(|p| aimed(run, p, targets)).collect(),
            level: None,
            unreachable: false,
        },
    };
    let fuzz = run.inputs.limits.fuzz.fraction();
    let candidates: Vec<Candidate> = parts
        .iter()
        .zip(&water.budgets)
        .filter_map(|(p, target)| {
            let entity = run.entities.get(p.place)?;
            Some(Candidate {
                campaign: entity.given.campaign.clone(),
                bounds: limits(run, statuses, p.place)?,
                target: target * offset,
                dither: fuzz
                    * bandit::dither(
                        run.inputs.seed,
                        &entity.given.entity.to_string(),
                        run.inputs.now,
                    ),
                scale: p.scale,
                prepaid: statuses
                    .room
                    .get(&p.place)
                    .is_some_and(|room| *room < entity.given.budget.minor()),
            })
        })
        .collect();
    let fitted = fit(
        &candidates,
        fixed,
        cap,
        run.inputs.limits.min_useful_change.fraction(),
        allowance,
    );
    let unreachable = fitted.unreachable || water.unreachable;
    let mut decisions: BTreeMap<usize, Decision> = BTreeMap::new();
    for (i, part) in parts.iter().enumerate() {
        if let (Some(candidate), Some(placed)) = (candidates.get(i), fitted.placed.get(i))
            && let Some(d) =
                budget_decision(run, part, candidate, *placed, &water, unreachable, aim)
        {
            decisions.insert(part.place, d);
        }
    }
    for place in delivering
        .iter()
        .filter(|p| !parts.iter().any(|q| q.place == **p))
    {
        if let Some(entity) = run.entities.get(*place) {
            decisions.insert(*place, held_decision(run, statuses, *place, entity));
        }
    }
    let currency = run.inputs.limits.daily_cap.currency();
    let money = |minor: i128| Money::from_minor(i64::try_from(minor).unwrap_or(i64::MAX), currency);
    let deliver_now: Vec<AdState> = run.ads.iter().map(|ad| ad.state).collect();
    let before: i128 = run
        .delivering(&deliver_now)
        .iter()
        .filter_map(|place| run.entities.get(*place))
        .map(|entity| i128::from(entity.given.budget.minor().max(0)))
        .sum();
    let after: i128 = fitted.placed.iter().map(|p| i128::from(p.budget)).sum();
    Budgets {
        nothing_live: delivering.is_empty(),
        rationed: fitted.placed.iter().any(|p| p.held == Some(Held::Rationed)),
        before: money(before),
        after: money(after + fixed),
        level: water.level,
        unreachable,
        decisions: decisions.into_values().collect(),
    }
}

/// The bounds of an entity, with the room it was given when its first ad came back.
fn limits(
    run: &Run<'_>,
    statuses: &Statuses,
    place: usize,
) -> Option<crate::domain::allocation::Bounds> {
    let mut b = run.entities.get(place)?.bounds?;
    if let Some(room) = statuses.room.get(&place) {
        b.highest = b.highest.min(*room);
        b.highest_by = Bound::Cap;
    }
    Some(b)
}

fn part(run: &Run<'_>, statuses: &Statuses, place: usize, entity: &Entity<'_>) -> Part {
    let live: Vec<usize> = live_ads(entity, statuses);
    let shares = shares(run, &live);
    let draw = shares
        .iter()
        .map(|(ad, share)| share * run.draws.get(*ad).copied().unwrap_or(0.0))
        .sum();
    let spend_per_day = spend_per_day(run, entity);
    let reference = entity
        .given
        .reference_budget
        .filter(|m| m.currency() == run.inputs.currency && m.minor() > 0)
        .unwrap_or(entity.given.budget)
        .to_f64()
        .max(run.inputs.limits.min_budget.to_f64());
    let mix: Vec<(f64, LogNormal)> = shares
        .iter()
        .filter_map(|(ad, share)| Some((*share, run.beliefs.ads.get(*ad)?.roas)))
        .collect();
    let belief = LogNormal::mix(&mix);
    let spend: f64 = live
        .iter()
        .filter_map(|ad| Some(run.beliefs.ads.get(*ad)?.ledger.spend))
        .sum();
    Part {
        place,
        draw,
        spend_per_day,
        response: Response::new(draw, spend_per_day, run.params.kappa_mult * reference),
        scale: belief.is_some_and(|roas| verdicts::scales(&run.params, spend, roas)),
        belief,
        shares,
    }
}

/// The target of a part, or what it has.
fn aimed(run: &Run<'_>, part: &Part, targets: &BTreeMap<usize, f64>) -> f64 {
    targets
        .get(&part.place)
        .copied()
        .filter(|target| target.is_finite() && *target >= 0.0)
        .unwrap_or_else(|| {
            run.entities
                .get(part.place)
                .map_or(0.0, |entity| entity.given.budget.to_f64())
        })
}

fn live_ads(entity: &Entity<'_>, statuses: &Statuses) -> Vec<usize> {
    entity
        .ads
        .iter()
        .copied()
        .filter(|ad| statuses.states.get(*ad) == Some(&AdState::Live))
        .collect()
}

/// Where the entity's next unit goes: by recent spend, a tenth spread evenly. An ad without recent
/// spend counts with the mean of those that have some.
fn shares(run: &Run<'_>, live: &[usize]) -> Vec<(usize, f64)> {
    let recent = |ad: &usize| {
        run.beliefs
            .ads
            .get(*ad)
            .map_or(0.0, |b| b.ledger.recent_spend)
    };
    let (sum, spending) = live
        .iter()
        .map(recent)
        .filter(|s| *s > 0.0)
        .fold((0.0, 0.0), |(sum, n), s| (sum + s, n + 1.0));
    let even = 1.0 / (live.len().max(1)) as f64;
    if spending <= 0.0 {
        return live.iter().map(|ad| (*ad, even)).collect();
    }
    let weight = |ad: &usize| {
        let own = recent(ad);
        if own > 0.0 { own } else { sum / spending }
    };
    let total: f64 = live.iter().map(weight).sum();
    live.iter()
        .map(|ad| {
            (
                *ad,
                (1.0 - EVEN_SHARE) * weight(ad) / total + EVEN_SHARE * even,
            )
        })
        .collect()
}

/// Discounted spend per day of the whole entity, paused ads included.
fn spend_per_day(run: &Run<'_>, entity: &Entity<'_>) -> f64 {
    let ledgers = || {
        entity
            .ads
            .iter()
            .filter_map(|ad| run.beliefs.ads.get(*ad))
            .map(|b| &b.ledger)
    };
    let per_day: f64 = ledgers()
        .filter(|l| l.totals_only)
        .map(|l| l.pace_spend)
        .sum();
    let dated: f64 = ledgers()
        .filter(|l| !l.totals_only)
        .map(|l| l.pace_spend)
        .sum();
    let days = ledgers().filter_map(|l| l.pace_days).fold(0.0, f64::max);
    if days <= 0.0 {
        return per_day;
    }
    // The discounted length of the days observed.
    let length = PACE_DAYS / std::f64::consts::LN_2 * (1.0 - libm::exp2(-days / PACE_DAYS));
    per_day + dated / length
}

fn budget_decision(
    run: &Run<'_>,
    part: &Part,
    candidate: &Candidate,
    placed: Placed,
    water: &Water,
    unreachable: bool,
    aim: Aim<'_>,
) -> Option<Decision> {
    let entity = run.entities.get(part.place)?;
    let currency = run.inputs.currency;
    let money = |minor| Money::from_minor(minor, currency);
    let (from, to) = (candidate.bounds.current, placed.budget);
    let action = match to.cmp(&from) {
        std::cmp::Ordering::Greater => Action::Raise,
        std::cmp::Ordering::Less => Action::Cut,
        std::cmp::Ordering::Equal => Action::Hold,
    };
    let rule = match placed.held {
        Some(Held::Rationed) => Rule::RateLimited,
        _ if unreachable => Rule::CapUnreachable,
        Some(Held::TooSmall) if placed.bound != Bound::Cap => Rule::TooSmall,
        _ => match aim {
            Aim::WaterLevel => Rule::WaterLevel,
            Aim::At(_, why) => Rule::Compared(why),
        },
    };
    let change = Move::Budget {
        from: money(from),
        to: money(to),
    };
    let trail = BudgetTrail {
        kappa: part.response.kappa,
        spend_per_day: part.spend_per_day,
        draw: part.draw,
        lowest: money(candidate.bounds.lowest).to_f64(),
        highest: money(candidate.bounds.highest).to_f64(),
        target: candidate.target / currency.offset() as f64,
        dither: placed.dither,
        marginal_before: part.response.marginal(money(from).to_f64()),
        marginal_after: part.response.marginal(money(to).to_f64()),
        water_level: water.level,
        bound: placed.bound,
    };
    let given = entity.given;
    let mut rationale = run.rationale(
        given.entity.clone(),
        given.name.clone(),
        action,
        change,
        rule,
    );
    rationale.scale = part.scale;
    rationale.would_change = outlook_of(run, part, &trail, action, given.budget);
    rationale.budget = Some(trail);
    rationale.evidence = evidence(run, entity);
    rationale.belief = part.belief.map(|roas| {
        let mean = part
            .shares
            .iter()
            .filter_map(|(ad, share)| Some(share * run.beliefs.ads.get(*ad)?.mean_roas))
            .sum();
        Belief::of(roas, mean, part.draw, &run.params)
    });
    rationale.in_ignorance_zone = part
        .shares
        .iter()
        .all(|(ad, _)| run.readings.get(*ad).is_some_and(|r| r.in_ignorance_zone));
    let mut named = part.shares.clone();
    named.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    rationale.live_ads = named
        .into_iter()
        .take(NAMED_ADS)
        .filter_map(|(ad, share)| Some((run.ads.get(ad)?.ad.clone(), share)))
        .collect();
    Some(Decision {
        subject: given.entity.clone(),
        campaign: given.campaign.clone(),
        action,
        scale: part.scale,
        change,
        rationale,
    })
}

fn held_decision(
    run: &Run<'_>,
    statuses: &Statuses,
    place: usize,
    entity: &Entity<'_>,
) -> Decision {
    let given = entity.given;
    let rule = given
        .untouchable
        .clone()
        .map_or(Rule::BadInput, Rule::Untouchable);
    let change = Move::Budget {
        from: given.budget,
        to: given.budget,
    };
    let mut rationale = run.rationale(
        given.entity.clone(),
        given.name.clone(),
        Action::Hold,
        change,
        rule,
    );
    rationale.evidence = evidence(run, entity);
    if !run.unbelievable {
        let part = part(run, statuses, place, entity);
        rationale.belief = part
            .belief
            .map(|roas| Belief::of(roas, roas.mean(), part.draw, &run.params));
    }
    Decision {
        subject: given.entity.clone(),
        campaign: given.campaign.clone(),
        action: Action::Hold,
        scale: false,
        change,
        rationale,
    }
}

fn evidence(run: &Run<'_>, entity: &Entity<'_>) -> Evidence {
    let mut sum = Evidence::default();
    for reading in entity.ads.iter().filter_map(|ad| run.readings.get(*ad)) {
        sum.add(&reading.evidence);
    }
    sum
}

fn outlook_of(
    run: &Run<'_>,
    part: &Part,
    trail: &BudgetTrail,
    action: Action,
    budget: Money,
) -> Vec<String> {
    let code = run.inputs.currency.code();
    let mut lines = Vec::new();
    // The draw at which the next unit at the present budget returns just the water level.
    if let Some(level) = trail.water_level {
        let fullness = 1.0 + budget.to_f64() / trail.kappa;
        let even = level * fullness * fullness / (1.0 + part.spend_per_day / trail.kappa);
        let (even, now) = (short(even), short(part.draw));
        match action {
            Action::Raise => lines.push(format!(
                "at {even} {code} per {code} instead of the {now} drawn from that range it would stay \
                 as it is"
            )),
            Action::Cut => lines.push(format!(
                "at {even} {code} per {code} instead of the {now} drawn from that range it would keep \
                 its budget"
            )),
            Action::Hold | Action::Kill | Action::Rotate | Action::Return => {}
        }
    }
    match trail.bound {
        Bound::Velocity6h => lines.push("more may follow when 6 hours have passed".to_owned()),
        Bound::Calm24h => lines.push("more may follow when 24 hours have passed".to_owned()),
        Bound::Cap => lines.push("a higher daily cap would leave it more".to_owned()),
        Bound::RateLimit => lines.push("it is up again when the hour has passed".to_owned()),
        Bound::Min | Bound::None => {}
    }
    // The ad that takes the largest share decides most of what comes next.
    let main = part
        .shares
        .iter()
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
        .and_then(|(ad, _)| Some((run.beliefs.ads.get(*ad)?, run.ads.get(*ad)?)));
    if let Some((belief, ad)) = main {
        if let Some(spend) = outlook::spend_until_kill(belief, &run.params)
            && spend <= NEAR * belief.ledger.spend
        {
            lines.push(format!(
                "ad {} would be stopped after about {} more without another {}",
                ad.ad,
                amount(spend, run.inputs.currency),
                run.beliefs.funnel.stages().first().map_or_else(
                    || "result".to_owned(),
                    |s| s.name.as_str().replace('_', " ")
                ),
            ));
        }
        if !part.scale
            && let Some(n) = outlook::sales_until(belief, run.worth(), |roas| {
                verdicts::scales(&run.params, f64::INFINITY, roas)
            })
        {
            lines.push(format!(
                "about {n} more {} of that ad would mark it to scale",
                if n == 1 { "sale" } else { "sales" }
            ));
        }
    }
    lines
}
