//! Thompson draws: a chance for each ad in proportion to the chance that it is the best, from a
//! seed that is handed in, the same on every machine.

use sha2::{Digest, Sha256};

use crate::domain::posterior::gamma::LogNormal;
use crate::domain::posterior::special::normal_quantile;
use crate::domain::time::{Timestamp, to_micros};

/// A source of uniform numbers that belongs to one thing and one purpose: SHA-256 of what it is
/// keyed by, then SplitMix64 (Steele, Lea, Flood 2014). Adding an ad does not disturb the draws of
/// the others.
#[derive(Debug, Clone)]
pub struct KeyedStream(u64);

impl KeyedStream {
    /// The stream of `purpose` for `subject` in `period`.
    #[must_use]
    pub fn new(seed: u64, purpose: &str, subject: &str, period: i64) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        // Lengths go in too, so that no two keys run together to the same bytes.
        for text in [purpose, subject] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(period.to_le_bytes());
        let digest = hash.finalize();
        let state = digest
            .iter()
            .take(8)
            .fold(0_u64, |state, byte| (state << 8) | u64::from(*byte));
        Self(state)
    }

    /// A stream of the `n`th part of its subject, without hashing again.
    #[must_use]
    pub const fn part(&self, n: u64) -> Self {
        Self(scrambled(self.0 ^ scrambled(n)))
    }

    /// The next number, strictly between 0 and 1.
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = scrambled(self.0);
        ((z >> 12) as f64 + 0.5) * (1.0 / (1_u64 << 52) as f64)
    }

    /// A draw from Gamma(shape, 1) (Marsaglia and Tsang 2000). A shape that is none is taken as 1.
    fn gamma(&mut self, shape: f64) -> f64 {
        if !(1e-6..=1e12).contains(&shape) {
            return self.gamma(1.0);
        }
        if shape < 1.0 {
            let boost = libm::pow(self.uniform(), 1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        // Nineteen of twenty tries hit, so a run of misses this long does not happen.
        for _ in 0..200 {
            let z = normal_quantile(self.uniform());
            let t = 1.0 + c * z;
            let v = t * t * t;
            if v > 0.0 && libm::log(self.uniform()) < 0.5 * z * z + d - d * v + d * libm::log(v) {
                return d * v;
            }
        }
        d
    }

    /// A draw from Beta(a, b), strictly between 0 and 1 but for rounding.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (x, y) = (self.gamma(a), self.gamma(b));
        if x + y > 0.0 { x / (x + y) } else { 0.5 }
    }
}

const fn scrambled(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The number of the span of `hold_hours` that `now` lies in: draws are kept for its length.
#[must_use]
pub fn period(now: Timestamp, hold_hours: f64) -> i64 {
    let span = (hold_hours * 3_600_000_000.0).max(1.0) as i64;
    to_micros(now).div_euclid(span.max(1))
}

/// The mean of `draws` draws from what is believed of the ad `ad`; of no draw, the belief's mean.
#[must_use]
pub fn thompson(seed: u64, ad: &str, period: i64, draws: u32, roas: LogNormal) -> f64 {
    if draws == 0 {
        return roas.mean();
    }
    let mut stream = KeyedStream::new(seed, "thompson", ad, period);
    let sum: f64 = (0..draws)
        .map(|_| roas.at(normal_quantile(stream.uniform())))
        .sum();
    sum / f64::from(draws)
}

/// A dither in [-1, 1] for the budget of `entity`, decided at `now`.
#[must_use]
pub fn dither(seed: u64, entity: &str, now: Timestamp) -> f64 {
    2.0 * KeyedStream::new(seed, "fuzz", entity, to_micros(now)).uniform() - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{add, from_seconds, hours};

    const BELIEF: LogNormal = LogNormal {
        mu: 0.5,
        sigma: 0.7,
    };

    #[test]
    fn draws_are_kept_for_the_hold_and_then_change() {
        let start = from_seconds(1_790_000_000 / 86_400 * 86_400);
        let draw = |at| thompson(7, "1", period(at, 24.0), 8, BELIEF);
        assert_eq!(draw(start), draw(add(start, hours(23))));
        assert_ne!(draw(start), draw(add(start, hours(24))));
    }

    #[test]
    fn draws_differ_by_seed_and_ad() {
        let base = thompson(1, "1", 0, 8, BELIEF);
        assert_ne!(base, thompson(2, "1", 0, 8, BELIEF));
        assert_ne!(base, thompson(1, "2", 0, 8, BELIEF));
    }

    #[test]
    fn many_draws_have_the_mean_of_the_belief() {
        let mean = thompson(3, "ad", 0, 200_000, BELIEF);
        assert!((mean / BELIEF.mean() - 1.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn uniform_numbers_fill_their_range_and_never_touch_its_ends() {
        let mut stream = KeyedStream::new(1, "test", "x", 0);
        let numbers: Vec<f64> = (0..10_000).map(|_| stream.uniform()).collect();
        assert!(numbers.iter().all(|u| *u > 0.0 && *u < 1.0));
        let mean = numbers.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }

    #[test]
    fn beta_draws_have_the_moments_of_beta() {
        for (a, b) in [(1.0, 1.0), (3.0, 40.0), (0.5, 0.5), (200.0, 9.0)] {
            let mut stream = KeyedStream::new(5, "beta", "x", 1);
            let draws: Vec<f64> = (0..40_000).map(|_| stream.beta(a, b)).collect();
            let mean = draws.iter().sum::<f64>() / 40_000.0;
            let variance = draws.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / 40_000.0;
            let want = a / (a + b);
            let spread = want * (1.0 - want) / (a + b + 1.0);
            assert!(
                (mean - want).abs() < 0.01 * want.max(0.3),
                "{mean} is not {want}"
            );
            assert!(
                (variance / spread - 1.0).abs() < 0.05,
                "{variance} is not {spread}"
            );
        }
        let mut stream = KeyedStream::new(5, "beta", "x", 1);
        for bad in [f64::NAN, -1.0, 0.0, f64::INFINITY] {
            assert!((0.0..=1.0).contains(&stream.beta(bad, bad)));
        }
    }

    #[test]
    fn no_draw_is_the_mean() {
        assert_eq!(thompson(3, "ad", 0, 0, BELIEF), BELIEF.mean());
    }

    #[test]
    fn the_stream_is_the_same_on_every_machine() {
        let mut stream = KeyedStream::new(42, "thompson", "708746", 20_000);
        let first = stream.uniform();
        assert_eq!(first.to_bits(), FIRST_BITS, "{:#x}", first.to_bits());
    }

    /// Written down once; a change of it is a change of every recorded decision.
    const FIRST_BITS: u64 = 0x3fd5_d90a_0fba_bf46;
}
