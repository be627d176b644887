//! How the ads of an ad set stand beside each other, worked out when somebody asks: a decision does
//! not wait for it.

use std::collections::BTreeSet;

use super::AdReading;
use crate::domain::fatigue::{self, Fatigue};
use crate::domain::ids::{AdId, AdSetId};
use crate::domain::policy::{AdState, Outcome, PolicyInputs, Record};
use crate::domain::posterior::gamma::LogNormal;
use crate::domain::posterior::special::{normal_cdf, normal_quantile};

/// Points at which a belief is looked at.
const POINTS: u32 = 64;

/// One ad beside the others of its ad set.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The ad.
    pub ad: AdId,
    /// What its owner calls it.
    pub name: String,
    /// Its state before the decision.
    pub state: AdState,
    /// Posterior mean ROAS.
    pub mean_roas: f64,
    /// ROAS lies in it nine times in ten.
    pub interval_90: (f64, f64),
    /// The chance that it is the best live ad of its ad set; 0 while it is not live.
    pub p_best: f64,
    /// The chance that it returns less than the kill line.
    pub p_below_kill: f64,
    /// Past ads that lent it a prior, nearest first.
    pub similar: Vec<(AdId, f64)>,
    /// Whether its audience tires.
    pub fatigue: Option<Fatigue>,
}

/// The ads of `ad_sets` as they stood at this decision, best first.
#[must_use]
pub fn standings(
    inputs: &PolicyInputs,
    outcome: &Outcome,
    ad_sets: &BTreeSet<AdSetId>,
) -> Vec<Standing> {
    let mut all = Vec::new();
    for ad_set in ad_sets {
        let of_set = outcome.readings.iter().filter(|r| r.ad_set == *ad_set);
        let readings: Vec<&AdReading> = of_set.collect();
        let live: Vec<(usize, LogNormal)> = readings
            .iter()
            .enumerate()
            .filter(|(_, r)| r.state == AdState::Live)
            .map(|(i, r)| (i, belief(r)))
            .collect();
        let beliefs: Vec<LogNormal> = live.iter().map(|(_, b)| *b).collect();
        let chances = p_best(&beliefs);
        for (i, reading) in readings.iter().enumerate() {
            let place = live.iter().position(|(of, _)| *of == i);
            let roas = belief(reading);
            all.push(Standing {
                ad: reading.ad.clone(),
                name: reading.name.clone(),
                state: reading.state,
                mean_roas: reading.belief.mean_roas,
                interval_90: (roas.quantile(0.05), roas.quantile(0.95)),
                p_best: place.and_then(|p| chances.get(p)).copied().unwrap_or(0.0),
                p_below_kill: reading.belief.p_below_kill,
                similar: reading.prior.nearest.clone(),
                fatigue: tired(inputs, &reading.ad),
            });
        }
    }
    all.sort_by(|a, b| b.mean_roas.total_cmp(&a.mean_roas).then(a.ad.cmp(&b.ad)));
    all
}

fn belief(reading: &AdReading) -> LogNormal {
    LogNormal {
        mu: reading.belief.mu,
        sigma: reading.belief.sigma,
    }
}

fn tired(inputs: &PolicyInputs, ad: &AdId) -> Option<Fatigue> {
    let evidence = inputs.ads.iter().find(|given| given.ad == *ad)?;
    match &evidence.record {
        Record::Dated { buckets, .. } => {
            let days = fatigue::days_of(buckets, inputs.now);
            // Today is not over: its few hours are no day.
            let whole = days.get(..days.len().saturating_sub(1))?;
            Some(fatigue::by_posterior(whole))
        }
        Record::Totals(_) => None,
    }
}

/// The chance of each of several independent beliefs to be the greatest; they sum to 1.
#[must_use]
pub fn p_best(beliefs: &[LogNormal]) -> Vec<f64> {
    let chances: Vec<f64> = beliefs
        .iter()
        .enumerate()
        .map(|(i, own)| {
            let at = |point: u32| {
                let u = (f64::from(point) + 0.5) / f64::from(POINTS);
                let ln = own.mu + own.sigma * normal_quantile(u);
                let below = |(j, other): (usize, &LogNormal)| {
                    if j == i {
                        1.0
                    } else {
                        normal_cdf((ln - other.mu) / other.sigma.max(1e-9))
                    }
                };
                beliefs.iter().enumerate().map(below).product::<f64>()
            };
            (0..POINTS).map(at).sum::<f64>() / f64::from(POINTS)
        })
        .collect();
    let sum: f64 = chances.iter().sum();
    if sum > 0.0 {
        chances.iter().map(|p| p / sum).collect()
    } else {
        vec![1.0 / beliefs.len().max(1) as f64; beliefs.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::tests_support::{ad, ad_set, deal, inputs, with_deals};
    use crate::domain::policy::{Mode, Policy as _, RoasdPolicy};
    use proptest::prelude::*;

    #[test]
    fn of_two_the_better_is_best_as_often_as_it_is_better() {
        let (a, b) = (
            LogNormal {
                mu: 0.7,
                sigma: 0.6,
            },
            LogNormal {
                mu: -0.2,
                sigma: 0.7,
            },
        );
        let chances = p_best(&[a, b]);
        assert!(
            (chances[0] - a.p_better_than(b)).abs() < 2e-3,
            "{chances:?}"
        );
        assert_eq!(p_best(&[a]), [1.0]);
        assert!(p_best(&[]).is_empty());
    }

    #[test]
    fn the_ads_of_a_set_stand_in_order_with_their_chances() {
        let won = || deal(&[Some(9.0), Some(8.0), Some(7.0), Some(6.0)]);
        let mut given = inputs(Mode::Pipeline);
        given.ads = vec![
            ad("1", "s", 300.0, 400.0),
            with_deals(ad("2", "s", 300.0, 400.0), vec![won(); 4]),
            ad("3", "other", 300.0, 400.0),
        ];
        given.ads[0].state = AdState::Rotated;
        given.entities = vec![ad_set("s", 5_000)];
        let outcome = RoasdPolicy.decide(&given);
        let sets = BTreeSet::from([AdSetId::new("s").unwrap()]);
        let all = standings(&given, &outcome, &sets);
        let ids: Vec<&str> = all.iter().map(|s| s.ad.as_str()).collect();
        assert_eq!(ids, ["2", "1"]);
        assert_eq!((all[0].p_best, all[1].p_best), (1.0, 0.0));
        assert!(all[0].interval_90.0 < all[0].mean_roas && all[0].mean_roas < all[0].interval_90.1);
        assert!(all[0].fatigue.is_some());
    }

    proptest! {
        #[test]
        fn chances_are_chances(beliefs in prop::collection::vec((-300.0..300.0_f64, 0.0..30.0_f64), 1..12)) {
            let beliefs: Vec<LogNormal> = beliefs.into_iter().map(|(mu, sigma)| LogNormal { mu, sigma }).collect();
            let chances = p_best(&beliefs);
            prop_assert!(chances.iter().all(|p| (0.0..=1.0 + 1e-12).contains(p)), "{chances:?}");
            prop_assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{chances:?}");
        }
    }
}
