//! How much the look-alikes of an ad are worth as a first guess, judged where the truth is known.
//!
//! Each past ad is left out in turn and foretold twice: by the mean of all others, and by that mean
//! moved toward what its look-alikes had. The look-alikes' evidence counts with a weight between 0
//! and 1, and the weight is the one that foretells best; where none beats 0 by more than chance
//! would, it is 0, and look-alikes lend nothing. What is foretold is a count, and it is scored by
//! how likely it was.

/// Weights that are tried.
const WEIGHTS: [f64; 5] = [0.0, 0.125, 0.25, 0.5, 1.0];
/// Strengths of a first guess that are tried, in expected events.
const STRENGTHS: [f64; 9] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
/// With fewer ads nothing can be told.
pub const CASES_MIN: usize = 12;
/// A gain must be so many times its own standard error to be believed: chance reaches it once in ten.
const STANDARD_ERRORS: f64 = 1.28;
/// And so many nats over all cases: what a number that was chosen for its fit costs.
const GAIN_MIN: f64 = 1.0;

/// A cosine up to this says nothing.
const COSINE_FLOOR: f64 = 0.15;

/// Similarity from a cosine: nothing under the floor, 1 for the same text.
#[must_use]
pub fn similarity(cosine: f64) -> f64 {
    if cosine.is_nan() {
        0.0
    } else {
        ((cosine - COSINE_FLOOR) / (1.0 - COSINE_FLOOR)).clamp(0.0, 1.0)
    }
}

/// The cosine whose similarity is `weight` times that of `cosine`; the same one at weight 1.
#[must_use]
pub fn weighed(cosine: f64, weight: f64) -> f64 {
    if weight >= 1.0 {
        cosine
    } else {
        COSINE_FLOOR + (1.0 - COSINE_FLOOR) * similarity(cosine) * weight.max(0.0)
    }
}

/// A past ad to be foretold.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What happened: clicks, conversions.
    pub events: f64,
    /// What it had the chance to happen in: impressions, clicks, money.
    pub exposure: f64,
    /// Its look-alikes among the cases, each with a similarity from 0 to 1.
    pub near: Vec<(usize, f64)>,
}

impl Case {
    /// Whether it can be foretold, and lend: nothing can be learned without exposure.
    fn is_usable(&self) -> bool {
        self.exposure > 0.0 && self.events >= 0.0
    }
}

/// What look-alikes are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// Ads that were left out in turn.
    pub cases: usize,
    /// Share of the look-alikes' evidence that is believed, 0 to 1.
    pub weight: f64,
    /// What the best weight gains for each ad, in nats of likelihood; it is not believed where this
    /// is no more than a few of its standard errors.
    pub gain: f64,
    /// The standard error of that.
    pub gain_error: f64,
    /// Mean absolute error of the rate foretold by the mean, as a share of the mean, weighted by
    /// exposure.
    pub error_without: f64,
    /// The same with look-alikes at `weight`.
    pub error_with: f64,
    /// How many expected events a first guess by the mean is worth.
    pub strength_without: f64,
    /// The same with look-alikes at `weight`.
    pub strength_with: f64,
}

/// One way to foretell, on all cases.
struct Trial {
    strength: f64,
    /// Logarithm of the likelihood of each case.
    scores: Vec<f64>,
    error: f64,
}

impl Trial {
    fn total(&self) -> f64 {
        self.scores.iter().sum()
    }
}

/// Judges look-alikes by leaving each case out. `anchor` is how many expected events the mean is
/// worth beside them. `None` when there are too few cases, or nothing happened in them.
#[must_use]
pub fn judge(cases: &[Case], anchor: f64) -> Option<Judgement> {
    let count = cases.iter().filter(|case| case.is_usable()).count();
    if count < CASES_MIN || totals(cases).0 <= 0.0 {
        return None;
    }
    let without = best_trial(cases, anchor, 0.0)?;
    let mut best = (0.0, None, 0.0, 0.0);
    for weight in WEIGHTS.into_iter().skip(1) {
        let trial = best_trial(cases, anchor, weight)?;
        let gains: Vec<f64> = trial
            .scores
            .iter()
            .zip(&without.scores)
            .map(|(with, without)| with - without)
            .collect();
        let (gain, error) = mean_and_error(&gains);
        if best.1.is_none() || gain > best.2 {
            best = (weight, Some(trial), gain, error);
        }
    }
    let (weight, trial, gain, gain_error) = best;
    let is_believed = gain > STANDARD_ERRORS * gain_error && gain * count as f64 > GAIN_MIN;
    let believed = trial.filter(|_| is_believed);
    Some(Judgement {
        cases: count,
        weight: if believed.is_some() { weight } else { 0.0 },
        gain,
        gain_error,
        error_without: without.error,
        error_with: believed.as_ref().map_or(without.error, |trial| trial.error),
        strength_without: without.strength,
        strength_with: believed.map_or(without.strength, |trial| trial.strength),
    })
}

/// The strength under which the guesses at one weight score best.
fn best_trial(cases: &[Case], anchor: f64, weight: f64) -> Option<Trial> {
    let guesses = guesses(cases, anchor, weight);
    let mean = {
        let (events, exposure) = totals(cases);
        events / exposure
    };
    let error: f64 = guesses
        .iter()
        .map(|(case, guess)| (case.events / case.exposure - guess).abs() * case.exposure)
        .sum::<f64>()
        / guesses.iter().map(|(case, _)| case.exposure).sum::<f64>()
        / mean;
    STRENGTHS
        .into_iter()
        .map(|strength| Trial {
            strength,
            scores: guesses
                .iter()
                .map(|(case, guess)| likelihood(case.events, guess * case.exposure, strength))
                .collect(),
            error,
        })
        .max_by(|a, b| a.total().total_cmp(&b.total()))
}

fn totals(cases: &[Case]) -> (f64, f64) {
    cases
        .iter()
        .filter(|case| case.is_usable())
        .fold((0.0, 0.0), |(events, exposure), case| {
            (events + case.events, exposure + case.exposure)
        })
}

/// The rate foretold for each case from all others.
fn guesses(cases: &[Case], anchor: f64, weight: f64) -> Vec<(&Case, f64)> {
    let (events, exposure) = totals(cases);
    cases
        .iter()
        .enumerate()
        .filter(|(_, case)| case.is_usable())
        .map(|(i, case)| {
            // Half an event more, at the rate of all: a mean of nothing would make any event
            // impossible, and one that is too high would make look-alikes seem wise.
            let others = (exposure - case.exposure) + 0.5 * exposure / events;
            let mean = (events - case.events + 0.5) / others;
            let near = case.near.iter().filter(|(j, _)| *j != i);
            let (seen, expected) = near
                .filter_map(|(j, similarity)| Some((cases.get(*j)?, similarity)))
                .filter(|(other, _)| other.is_usable())
                .fold((0.0, 0.0), |(seen, expected), (other, similarity)| {
                    (
                        seen + similarity * weight * other.events,
                        expected + similarity * weight * other.exposure * mean,
                    )
                });
            (case, mean * (anchor + seen) / (anchor + expected))
        })
        .collect()
}

/// Logarithm of how likely a count is whose rate has a Gamma belief of this strength around the
/// mean: the negative binomial. What depends on the count alone is left out.
fn likelihood(events: f64, mean: f64, strength: f64) -> f64 {
    let mean = mean.max(1e-12);
    libm::lgamma(events + strength) - libm::lgamma(strength)
        + strength * libm::log(strength / (strength + mean))
        + events * libm::log(mean / (strength + mean))
}

fn mean_and_error(numbers: &[f64]) -> (f64, f64) {
    let n = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / n;
    let square: f64 = numbers.iter().map(|x| (x - mean) * (x - mean)).sum();
    (mean, (square / (n - 1.0).max(1.0) / n).sqrt())
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha12Rng;
    use rand_distr::{Distribution as _, Poisson};

    use super::*;

    const THEMES: usize = 6;

    /// Ads of some themes; the rate of each is 1 % times what its theme makes of it.
    fn account(seed: u64, ads: usize, effect: f64) -> Vec<Case> {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let themes: Vec<f64> = (0..THEMES)
            .map(|theme| libm::exp(effect * (theme as f64 / (THEMES - 1) as f64 - 0.5)))
            .collect();
        (0..ads)
            .map(|i| {
                let own = libm::exp(0.3 * (rng.random::<f64>() - 0.5));
                let exposure = 500.0 + 3_000.0 * rng.random::<f64>();
                let mean = 0.01 * exposure * own * themes[i % THEMES];
                let like = (0..ads).filter(|j| *j != i && j % THEMES == i % THEMES);
                Case {
                    events: Poisson::new(mean).unwrap().sample(&mut rng),
                    exposure,
                    near: like.map(|j| (j, 0.7)).collect(),
                }
            })
            .collect()
    }

    #[test]
    fn look_alikes_are_believed_where_themes_matter() {
        for seed in 0..20 {
            let found = judge(&account(seed, 60, 3.0), 3.0).unwrap();
            assert!(found.weight > 0.0, "seed {seed}: {found:?}");
            assert!(found.error_with < 0.7 * found.error_without, "{found:?}");
            assert!(found.strength_with > 2.0 * found.strength_without);
        }
    }

    #[test]
    fn look_alikes_lend_nothing_where_themes_do_not_matter() {
        let believed = (0..60)
            .filter(|seed| {
                let found = judge(&account(*seed, 60, 0.0), 3.0).unwrap();
                assert!(found.weight > 0.0 || found.error_with == found.error_without);
                found.weight > 0.0
            })
            .count();
        // By chance alone one in ten would pass; look-alikes also cost what they scatter.
        assert!(believed <= 6, "{believed} of 60");
    }

    #[test]
    fn a_weight_scales_the_similarity() {
        for (cosine, weight) in [(1.0, 0.5), (0.6, 0.125), (0.1, 0.5), (0.9, 0.0), (0.7, 1.0)] {
            let found = similarity(weighed(cosine, weight));
            assert!(
                (found - weight * similarity(cosine)).abs() < 1e-12,
                "{cosine} {weight}"
            );
        }
        assert_eq!(weighed(0.123_456, 1.0), 0.123_456);
        assert_eq!(similarity(f64::NAN), 0.0);
    }

    #[test]
    fn with_too_little_nothing_is_told() {
        assert_eq!(judge(&account(1, CASES_MIN - 1, 3.0), 3.0), None);
        let mut silent = account(1, 40, 0.0);
        silent.iter_mut().for_each(|case| case.events = 0.0);
        assert_eq!(judge(&silent, 3.0), None);
        assert_eq!(judge(&[], 3.0), None);
    }

    #[test]
    fn an_ad_never_foretells_itself() {
        let mut cases = account(3, 40, 0.0);
        let before = judge(&cases, 3.0).unwrap();
        for (i, case) in cases.iter_mut().enumerate() {
            case.near.push((i, 1.0));
            case.near.push((99_999, 1.0));
        }
        assert_eq!(judge(&cases, 3.0).unwrap(), before);
    }
}
