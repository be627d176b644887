//! How likely it is that a click and a form came from the same person: Bayes over the clicks of a
//! window, in which a rare value weighs more than a shared one.
//!
//! The hypotheses are "this click brought them", one for each ad click of the window, and "no ad
//! click did". A click's prior is its part of [`Prior::ad_share`], more for a recent one; its
//! likelihood is that of the traits it shares with the form against the chance of sharing them
//! with a stranger. What was not found among the clicks of the window counts too, as clicks whose
//! traits differ: with a thousand clicks a shared value proves less than with three.

use crate::domain::time::{self, SignedDuration};
use crate::domain::visit::ValueFrequency;

/// How often a trait stays the same from click to form, and how often strangers share it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trait {
    /// The chance that one person's two visits agree in it, above 0 and below 1.
    pub stays: f64,
    /// How common the form's value is.
    pub frequency: ValueFrequency,
}

impl Trait {
    /// The chance that a stranger's visit has the form's value: Laplace's rule, so that a value
    /// never seen before is rare but not impossible.
    #[must_use]
    pub fn chance(self) -> f64 {
        let of = self.frequency.of.max(self.frequency.with_value) as f64;
        (self.frequency.with_value as f64 + 1.0) / (of + 2.0)
    }

    /// ln of the likelihood ratio when both visits have the value. Never negative: agreement in
    /// a value that everybody has says nothing, not the opposite.
    #[must_use]
    pub fn agrees(self) -> f64 {
        libm::log(self.stays / self.chance()).max(0.0)
    }

    /// ln of the likelihood ratio when they differ.
    #[must_use]
    pub fn differs(self) -> f64 {
        libm::log((1.0 - self.stays) / (1.0 - self.chance())).min(0.0)
    }
}

/// What is believed before the traits are looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// The chance that a form without an id came from an ad click of the window at all.
    pub ad_share: f64,
    /// Ad clicks in the window, found or not.
    pub clicks_in_window: u64,
    /// How far back clicks count.
    pub window: SignedDuration,
    /// A click's weight halves with this age.
    pub half_life: SignedDuration,
}

impl Prior {
    /// The prior of a click `age` before the form; over clicks spread evenly over the window these
    /// sum to `ad_share`.
    #[must_use]
    pub fn of_click(self, age: SignedDuration, found: usize) -> f64 {
        let clicks = self.clicks(found);
        let ratio = |span: SignedDuration| {
            span.as_secs_f64() / self.half_life.max(time::seconds(1)).as_secs_f64()
        };
        let decay = libm::exp2(-ratio(age).max(0.0));
        let lives = ratio(self.window).max(1e-9);
        let mean = (1.0 - libm::exp2(-lives)) / (lives * std::f64::consts::LN_2);
        self.ad_share / clicks * decay / mean
    }

    fn clicks(self, found: usize) -> f64 {
        (self.clicks_in_window as f64).max(found as f64).max(1.0)
    }
}

/// The posterior of each click found, given the age and the ln likelihood ratio of each, and the
/// ln likelihood ratio of a click that was not found. They sum to less than 1; the rest is "no ad
/// click, or one that was not found".
#[must_use]
pub fn posterior(prior: Prior, found: &[(SignedDuration, f64)], not_found: f64) -> Vec<f64> {
    let weights: Vec<f64> = found
        .iter()
        .map(|(age, log_ratio)| prior.of_click(*age, found.len()) * libm::exp(log_ratio.min(60.0)))
        .collect();
    let clicks = prior.clicks(found.len());
    let unseen = (clicks - found.len() as f64).max(0.0) / clicks * prior.ad_share;
    let rest = (1.0 - prior.ad_share) + unseen * libm::exp(not_found);
    let total: f64 = weights.iter().sum::<f64>() + rest;
    weights.into_iter().map(|w| w / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn freq(with_value: u64, of: u64) -> ValueFrequency {
        ValueFrequency { with_value, of }
    }

    fn prior(clicks: u64) -> Prior {
        Prior {
            ad_share: 0.5,
            clicks_in_window: clicks,
            window: time::hours(24),
            half_life: time::hours(6),
        }
    }

    #[test]
    fn a_rare_value_weighs_more_than_a_shared_one() {
        let rare = Trait {
            stays: 0.8,
            frequency: freq(2, 1_000),
        };
        let shared = Trait {
            stays: 0.8,
            frequency: freq(300, 1_000),
        };
        assert!(rare.agrees() > shared.agrees() + 4.0);
        // Worked by hand: ln(0.8 / (3 / 1002)).
        assert!(
            (rare.agrees() - 5.587_999).abs() < 1e-5,
            "{}",
            rare.agrees()
        );
    }

    #[test]
    fn a_value_that_everybody_has_proves_nothing() {
        let common = Trait {
            stays: 0.8,
            frequency: freq(1_000, 1_000),
        };
        assert_eq!(common.agrees(), 0.0);
        assert!(common.differs() <= 0.0);
    }

    #[test]
    fn priors_over_an_evenly_filled_window_sum_to_the_share_of_ads() {
        let p = prior(2_400);
        let sum: f64 = (0..2_400)
            .map(|i| p.of_click(time::seconds(i * 36 + 18), 2_400))
            .sum();
        assert!((sum - 0.5).abs() < 1e-3, "{sum}");
    }

    #[test]
    fn the_same_evidence_proves_less_among_more_clicks() {
        let evidence = [(time::hours(1), libm::log(300.0))];
        let few = posterior(prior(3), &evidence, -1.0)[0];
        let many = posterior(prior(3_000), &evidence, -1.0)[0];
        assert!(few > 0.95 && many < 0.5, "{few} {many}");
    }

    #[test]
    fn the_later_of_two_equal_clicks_is_likelier() {
        let p = posterior(
            prior(2),
            &[(time::hours(12), 3.0), (time::hours(1), 3.0)],
            0.0,
        );
        assert!(p[1] > 3.0 * p[0]);
    }

    proptest! {
        #[test]
        fn posteriors_are_a_distribution(
            clicks in 0u64..5_000,
            found in proptest::collection::vec((0i64..86_400, -20.0f64..80.0), 0..12),
            not_found in -5.0f64..0.0,
        ) {
            let found: Vec<_> = found.into_iter().map(|(s, r)| (time::seconds(s), r)).collect();
            let p = posterior(prior(clicks), &found, not_found);
            prop_assert_eq!(p.len(), found.len());
            prop_assert!(p.iter().all(|x| x.is_finite() && *x >= 0.0));
            prop_assert!(p.iter().sum::<f64>() <= 1.0 + 1e-12);
        }
    }
}
