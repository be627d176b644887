//! What is believed of each ad (ALGORITHM 3): from delayed and few results, by way of the account,
//! its family and similar ads, to a Gamma belief per rate and a log-normal one for ROAS.
//!
//! Everything is closed form. Ads are taken in the order of their ids, so that sums of floats come
//! out the same whatever order they arrived in.

pub mod damping;
pub mod delay;
pub mod family;
pub mod funnel;
pub mod gamma;
pub mod ledger;
pub mod special;

use std::collections::HashMap;

use crate::domain::ids::AdId;
use crate::domain::policy::{AdEvidence, PolicyInputs, PolicyParams, outlook};
use crate::domain::rationale::{AdReading, Belief, Evidence, PriorReading, StageEvidence};
use crate::domain::retrieval;
use crate::domain::score;
use crate::domain::verdicts;

use damping::{Damping, Witness};
use family::{Account, Family};
use funnel::Funnel;
use gamma::{Gamma, LogNormal};
use ledger::{AdLedger, Instants};

/// What is believed of the whole account and of each ad.
#[derive(Debug, Clone, PartialEq)]
pub struct Beliefs {
    /// The funnel used.
    pub funnel: Funnel,
    /// The account's rates.
    pub account: Account,
    /// The damping of early signals.
    pub damping: Damping,
    /// Value of a win, main units (V). 0 when neither configuration nor deals tell.
    pub value_of_win: f64,
    /// Share of deals attributed (eta).
    pub eta: f64,
    /// Whether any lead (direct: purchase) was seen at all.
    pub has_leads: bool,
    /// Each ad, by id.
    pub ads: Vec<AdBelief>,
}

/// What is believed of one ad.
#[derive(Debug, Clone, PartialEq)]
pub struct AdBelief {
    /// What was counted.
    pub ledger: AdLedger,
    /// Clicks per currency unit.
    pub cost: Gamma,
    /// Rate of each stage from the one before.
    pub rates: Vec<Gamma>,
    /// Prior rate of each stage, all factors included.
    pub prior: Vec<f64>,
    /// Family mean of each stage.
    pub family: Vec<f64>,
    /// Look-alike factor of each stage.
    pub look_alike: Vec<f64>,
    /// The nearest ads and the similarity of each, at most three.
    pub nearest: Vec<(AdId, f64)>,
    /// Early signal (x).
    pub signal: f64,
    /// Factor of the damping on the quality stage.
    pub damping_factor: f64,
    /// Share of the quality belief that rests on the prior.
    pub early_share: f64,
    /// Posterior mean ROAS.
    pub mean_roas: f64,
    /// ROAS.
    pub roas: LogNormal,
}

/// Beliefs about `ads`, which are sorted by id and free of repeats. `params` are sanitized.
#[must_use]
pub fn believe(inputs: &PolicyInputs, ads: &[&AdEvidence], params: &PolicyParams) -> Beliefs {
    let mut funnel = Funnel::new(inputs, params);
    let deals: Vec<_> = ads
        .iter()
        .map(|ad| ledger::deals_of(ad, &funnel, inputs.now))
        .collect();
    if params.fit_delays {
        let all = deals.iter().flat_map(|(deals, _)| deals);
        let delays = delay::refined(&funnel, all);
        funnel = funnel.with_delays(&delays);
    }
    let mut instants = Instants::new(&funnel, params, inputs.now);
    let ledgers: Vec<AdLedger> = ads
        .iter()
        .zip(&deals)
        .map(|(ad, (deals, bad))| {
            let mut ledger = ledger::count(ad, deals, &mut instants);
            ledger.bad_inputs += bad;
            ledger
        })
        .collect();

    let account = Account::of(&ledgers, &funnel, params);
    let family = Family::of(ads, &ledgers, &account, params);
    let q = funnel.quality();
    let has_signal_stage = q > 0;

    let early: Vec<(Vec<f64>, f64, f64)> = ads
        .iter()
        .zip(&ledgers)
        .map(|(ad, ledger)| {
            let means = family.means(ad, &account);
            let cost_prior = family.clicks_per_unit(ad, &account);
            let x = early_signal(ledger, &means, cost_prior, &account, &funnel, params);
            (means, cost_prior, x)
        })
        .collect();
    let witnesses: Vec<Witness> = ledgers
        .iter()
        .zip(&early)
        .map(|(ledger, (_, _, signal))| Witness {
            successes: at(&ledger.successes, q),
            expected: at(&account.rates, q) * at(&ledger.exposure, q),
            signal: *signal,
        })
        .collect();
    let damping = damping::estimate(&witnesses, params.delta0, params.delta_sd);

    // Prior before look-alikes: family, and the damping at the quality stage.
    let priors: Vec<Vec<f64>> = early
        .iter()
        .map(|(means, _, signal)| {
            let mut prior = means.clone();
            if let Some(rate) = prior.get_mut(q) {
                *rate *= damping.factor(*signal);
            }
            prior
        })
        .collect();

    let places: HashMap<&str, usize> = ads
        .iter()
        .enumerate()
        .map(|(place, ad)| (ad.ad.as_str(), place))
        .collect();
    let (value_of_win, eta) = (value_of_win(&ledgers, &funnel), eta(inputs));
    let looked_at = if has_signal_stage { 2 } else { 1 };
    let beliefs = ads
        .iter()
        .enumerate()
        .filter_map(|(i, ad)| {
            let (means, cost_prior, signal) = early.get(i)?;
            let near = neighbours(ad, &places, params.k_text);
            let (prior, look_alike) =
                look_alike(priors.get(i)?, &near, &ledgers, &priors, looked_at, params);
            Some(one(OneAd {
                ledger: ledgers.get(i)?,
                family: means,
                prior,
                look_alike,
                cost_prior: *cost_prior,
                signal: *signal,
                damping_factor: damping.factor(*signal),
                nearest: near
                    .iter()
                    .take(3)
                    .filter_map(|(j, s)| Some((ads.get(*j)?.ad.clone(), *s)))
                    .collect(),
                funnel: &funnel,
                params,
                worth: value_of_win / eta,
            }))
        })
        .collect();
    Beliefs {
        has_leads: ledgers.iter().any(|l| l.reached.iter().any(|r| *r > 0.0)),
        funnel,
        account,
        damping,
        value_of_win,
        eta,
        ads: beliefs,
    }
}

fn at(values: &[f64], k: usize) -> f64 {
    values.get(k).copied().unwrap_or(0.0)
}

/// Value of a win: `(5 v_won + sum of amounts) / (5 + count)`.
fn value_of_win(ledgers: &[AdLedger], funnel: &Funnel) -> f64 {
    let (sum, count) = ledgers.iter().fold((0.0, 0.0), |(sum, count), l| {
        (sum + l.amounts.0, count + l.amounts.1)
    });
    (5.0 * funnel.value(funnel.win()) + sum) / (5.0 + count)
}

/// Share of deals that are attributed: `(4 + attributed) / (5 + all)`.
fn eta(inputs: &PolicyInputs) -> f64 {
    let usable = |v: f64| if (0.0..=1e12).contains(&v) { v } else { 0.0 };
    let attributed = usable(inputs.deals_attributed);
    // More attributed than there are is a miscount, not a reason to shrink returns.
    let all = usable(inputs.deals_total).max(attributed);
    (4.0 + attributed) / (5.0 + all)
}

/// ln of the ad's leads per unit of spend over the account's (with one stage: of clicks per unit).
fn early_signal(
    ledger: &AdLedger,
    family: &[f64],
    cost_prior: f64,
    account: &Account,
    funnel: &Funnel,
    params: &PolicyParams,
) -> f64 {
    let by_leads = funnel.quality() > 0;
    let of_account = if by_leads {
        account.clicks_per_unit * at(&account.rates, 0)
    } else {
        account.clicks_per_unit
    };
    let own = if ledger.ended {
        let seen = if by_leads {
            at(&ledger.reached, 0)
        } else {
            ledger.clicks
        };
        (seen + 2.0) / (ledger.spend + 2.0 / of_account)
    } else {
        let half = params.a_cost / 2.0;
        let clicks = gamma::shrunk(half, cost_prior, ledger.clicks_now, ledger.spend_now);
        let leads = match funnel.stages().first() {
            Some(first) if by_leads => gamma::shrunk(
                first.pull,
                at(family, 0),
                at(&ledger.successes, 0),
                at(&ledger.exposure, 0),
            ),
            _ => 1.0,
        };
        clicks * leads
    };
    damping::signal(own, of_account)
}

/// The `most` nearest other ads as places, with similarities, nearest first. Ids are only looked up in
/// `places`, never walked, so its order does not matter.
fn neighbours(ad: &AdEvidence, places: &HashMap<&str, usize>, most: usize) -> Vec<(usize, f64)> {
    let mut near: Vec<(usize, f64)> = ad
        .neighbours
        .iter()
        .filter_map(|(id, cosine)| {
            Some((id, retrieval::similarity(*cosine))).filter(|(_, s)| *s > 0.0)
        })
        .filter(|(id, _)| *id != &ad.ad)
        .filter_map(|(id, s)| Some((*places.get(id.as_str())?, s)))
        .collect();
    near.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut kept: Vec<(usize, f64)> = Vec::with_capacity(near.len().min(most));
    for (place, s) in near {
        if kept.len() == most {
            break;
        }
        if kept.iter().all(|(seen, _)| *seen != place) {
            kept.push((place, s));
        }
    }
    kept
}

/// Prior and factor per stage: `t = (A + sum s N) / (A + sum s M)` at the first `stages` stages.
fn look_alike(
    own: &[f64],
    near: &[(usize, f64)],
    ledgers: &[AdLedger],
    priors: &[Vec<f64>],
    stages: usize,
    params: &PolicyParams,
) -> (Vec<f64>, Vec<f64>) {
    let factors: Vec<f64> = (0..own.len())
        .map(|k| {
            if k >= stages {
                return 1.0;
            }
            let (seen, expected) =
                near.iter().fold((0.0, 0.0), |(seen, expected), (j, s)| {
                    match (ledgers.get(*j), priors.get(*j)) {
                        (Some(ledger), Some(prior)) => (
                            seen + s * at(&ledger.successes, k),
                            expected + s * at(prior, k) * at(&ledger.exposure, k),
                        ),
                        _ => (seen, expected),
                    }
                });
            (params.a_text + seen) / (params.a_text + expected)
        })
        .collect();
    let prior = own.iter().zip(&factors).map(|(p, t)| p * t).collect();
    (prior, factors)
}

struct OneAd<'a> {
    ledger: &'a AdLedger,
    family: &'a [f64],
    prior: Vec<f64>,
    look_alike: Vec<f64>,
    cost_prior: f64,
    signal: f64,
    damping_factor: f64,
    nearest: Vec<(AdId, f64)>,
    funnel: &'a Funnel,
    params: &'a PolicyParams,
    /// V / eta.
    worth: f64,
}

fn one(ad: OneAd<'_>) -> AdBelief {
    let ledger = ad.ledger;
    let cost = Gamma::updated(
        ad.params.a_cost / 2.0,
        ad.cost_prior,
        ledger.clicks_now,
        ledger.spend_now,
    );
    let rates: Vec<Gamma> = ad
        .funnel
        .stages()
        .iter()
        .enumerate()
        .map(|(k, stage)| {
            Gamma::updated(
                stage.pull,
                at(&ad.prior, k),
                at(&ledger.successes, k),
                at(&ledger.exposure, k),
            )
        })
        .collect();
    // Nothing is worth nothing is a question for the caller; a floor keeps the logarithm finite.
    let worth = ad.worth.max(1e-9);
    let mean_roas = rates.iter().fold(cost.mean() * worth, |p, g| p * g.mean());
    let roas = LogNormal::of_product(std::iter::once(cost).chain(rates.iter().copied()), worth);
    let q = ad.funnel.quality();
    let early_share = ad.funnel.stages().get(q).map_or(1.0, |stage| {
        stage.pull / (stage.pull + at(&ad.prior, q) * at(&ledger.exposure, q))
    });
    AdBelief {
        ledger: ledger.clone(),
        cost,
        rates,
        prior: ad.prior,
        family: ad.family.to_vec(),
        look_alike: ad.look_alike,
        nearest: ad.nearest,
        signal: ad.signal,
        damping_factor: ad.damping_factor,
        early_share,
        mean_roas: if mean_roas.is_finite() {
            mean_roas
        } else {
            roas.mean()
        },
        roas,
    }
}

impl Beliefs {
    /// All that is known and believed of one ad, for its explanation.
    #[must_use]
    pub fn reading(
        &self,
        evidence: &AdEvidence,
        belief: &AdBelief,
        draw: f64,
        params: &PolicyParams,
    ) -> AdReading {
        let named = |values: &[f64]| {
            self.funnel
                .stages()
                .iter()
                .zip(values)
                .map(|(stage, value)| (stage.name.clone(), *value))
                .collect::<Vec<_>>()
        };
        let ledger = &belief.ledger;
        let hours = ledger.age_days * 24.0;
        let raw_roas = ledger.raw_roas();
        AdReading {
            ad: evidence.ad.clone(),
            name: evidence.name.clone(),
            ad_set: evidence.ad_set.clone(),
            campaign: evidence.campaign.clone(),
            state: evidence.state,
            evidence: Evidence {
                impressions: ledger.impressions,
                clicks: ledger.clicks,
                spend: ledger.spend,
                ctr: ledger.ctr(),
                stages: self
                    .funnel
                    .stages()
                    .iter()
                    .enumerate()
                    .map(|(k, stage)| StageEvidence {
                        stage: stage.name.clone(),
                        reached: at(&ledger.reached, k),
                        successes: at(&ledger.successes, k),
                        mature_exposure: at(&ledger.exposure, k),
                    })
                    .collect(),
                pipeline_value: ledger.pipeline_value,
                raw_roas,
                age_hours: hours,
                totals_only: ledger.totals_only,
            },
            belief: Belief::of(belief.roas, belief.mean_roas, draw, params),
            prior: PriorReading {
                family: named(&belief.family),
                prior: named(&belief.prior),
                rate: named(&belief.rates.iter().map(|g| g.mean()).collect::<Vec<_>>()),
                clicks_per_unit: belief.cost.mean(),
                early_signal: belief.signal,
                damping_delta: self.damping.delta,
                damping_factor: belief.damping_factor,
                look_alike: named(&belief.look_alike),
                nearest: belief.nearest.clone(),
                early_share: belief.early_share,
                eta: self.eta,
            },
            ctr_weight: score::ctr_weight(hours),
            blended_score: score::blended(
                ledger.ctr(),
                raw_roas.unwrap_or(0.0),
                hours,
                ledger.impressions,
            ),
            spend_until_kill: outlook::spend_until_kill(belief, params),
            in_ignorance_zone: verdicts::in_ignorance_zone(params, ledger.age_days, ledger.spend),
            bad_inputs: ledger.bad_inputs,
        }
    }
}

#[cfg(test)]
mod tests;
