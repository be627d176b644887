//! The two distributions of the model: Gamma for rates, log-normal for their product.

use super::special::{digamma, normal_cdf, normal_quantile, trigamma};

/// ln ROAS is kept within this of 0, so that no exponential overflows.
const MU_MAX: f64 = 300.0;

/// A belief about a rate: Gamma(shape, rate).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gamma {
    /// Shape: pseudo-successes and successes.
    pub shape: f64,
    /// Rate: pseudo-exposure and exposure.
    pub rate: f64,
}

impl Gamma {
    /// A prior of strength `strength` around `mean`, with `successes` in `exposure` seen.
    #[must_use]
    pub fn updated(strength: f64, mean: f64, successes: f64, exposure: f64) -> Self {
        Self {
            shape: strength + successes,
            rate: strength / mean + exposure,
        }
    }

    /// Its mean.
    #[must_use]
    pub fn mean(self) -> f64 {
        self.shape / self.rate
    }

    /// Mean of its logarithm.
    #[must_use]
    pub fn mean_ln(self) -> f64 {
        digamma(self.shape) - libm::log(self.rate)
    }

    /// Variance of its logarithm.
    #[must_use]
    pub fn variance_ln(self) -> f64 {
        trigamma(self.shape)
    }
}

/// The shrunk rate `(A + N) / (A / prior + E)`.
#[must_use]
pub fn shrunk(strength: f64, prior: f64, successes: f64, exposure: f64) -> f64 {
    Gamma::updated(strength, prior, successes, exposure).mean()
}

/// A belief about ROAS: its logarithm is normal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogNormal {
    /// Mean of the logarithm.
    pub mu: f64,
    /// Standard deviation of the logarithm.
    pub sigma: f64,
}

impl LogNormal {
    /// The product of independent Gammas and a constant.
    #[must_use]
    pub fn of_product(factors: impl Iterator<Item = Gamma>, constant: f64) -> Self {
        let (mu, variance) = factors.fold((libm::log(constant), 0.0), |(mu, variance), g| {
            (mu + g.mean_ln(), variance + g.variance_ln())
        });
        Self {
            mu: mu.clamp(-MU_MAX, MU_MAX),
            sigma: libm::sqrt(variance).min(MU_MAX / 10.0),
        }
    }

    /// P(ROAS < t). A step where sigma is 0.
    #[must_use]
    pub fn p_below(self, t: f64) -> f64 {
        if t <= 0.0 || t.is_nan() {
            0.0
        } else if self.sigma > 0.0 {
            normal_cdf((libm::log(t) - self.mu) / self.sigma)
        } else if self.mu < libm::log(t) {
            1.0
        } else {
            0.0
        }
    }

    /// P(ROAS > t).
    #[must_use]
    pub fn p_above(self, t: f64) -> f64 {
        if t <= 0.0 || t.is_nan() {
            1.0
        } else if self.sigma > 0.0 {
            normal_cdf((self.mu - libm::log(t)) / self.sigma)
        } else if self.mu > libm::log(t) {
            1.0
        } else {
            0.0
        }
    }

    /// The value below which ROAS lies with chance `p`.
    #[must_use]
    pub fn quantile(self, p: f64) -> f64 {
        self.at(normal_quantile(p))
    }

    /// The value `z` standard deviations above the median.
    #[must_use]
    pub fn at(self, z: f64) -> f64 {
        libm::exp((self.mu + self.sigma * z).clamp(-2.0 * MU_MAX, 2.0 * MU_MAX))
    }

    /// Its mean.
    #[must_use]
    pub fn mean(self) -> f64 {
        self.at(0.5 * self.sigma)
    }

    /// P(self > other) for two independent beliefs.
    #[must_use]
    pub fn p_better_than(self, other: Self) -> f64 {
        let spread = libm::sqrt(self.sigma * self.sigma + other.sigma * other.sigma);
        let lead = self.mu - other.mu;
        if spread > 0.0 {
            normal_cdf(lead / spread)
        } else if lead > 0.0 {
            1.0
        } else {
            0.5
        }
    }

    /// The log-normal with mean and variance of the share-weighted sum of independent ones
    /// (Fenton and Wilkinson's approximation); exact for one. `None` without shares.
    #[must_use]
    pub fn mix(parts: &[(f64, Self)]) -> Option<Self> {
        let parts: Vec<&(f64, Self)> = parts.iter().filter(|(share, _)| *share > 0.0).collect();
        if let [(share, only)] = parts.as_slice() {
            return Some(Self {
                mu: (only.mu + libm::log(*share)).clamp(-MU_MAX, MU_MAX),
                sigma: only.sigma,
            });
        }
        // Relative to the largest mean, so that squares stay finite.
        let top = parts
            .iter()
            .map(|(_, p)| p.mu + 0.5 * p.sigma * p.sigma)
            .fold(f64::NEG_INFINITY, f64::max);
        let (mut mean, mut variance) = (0.0, 0.0);
        for (share, part) in parts {
            let m = share * libm::exp(part.mu + 0.5 * part.sigma * part.sigma - top);
            mean += m;
            variance += m * m * libm::expm1((part.sigma * part.sigma).min(600.0));
        }
        if mean > 0.0 {
            let spread = libm::log1p(variance / (mean * mean));
            Some(Self {
                mu: (top + libm::log(mean) - 0.5 * spread).clamp(-MU_MAX, MU_MAX),
                sigma: libm::sqrt(spread),
            })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(actual: f64, expected: f64) {
        assert!(
            (actual - expected).abs() <= 1e-6 * expected.abs(),
            "{actual} is not {expected}"
        );
    }

    #[test]
    fn the_cascade_of_the_worked_example() {
        let account = shrunk(4.0, 0.12, 20.0, 200.0);
        check(account, 24.0 / (4.0 / 0.12 + 200.0));
        assert!((account - 0.102_857).abs() < 5e-7);
        let campaign = shrunk(10.0, account, 8.0, 60.0);
        assert!((campaign - 0.114_488).abs() < 5e-7);
        let ad_set = shrunk(6.0, campaign, 2.0, 25.0);
        assert!((ad_set - 0.103_349).abs() < 5e-7);
    }

    #[test]
    fn the_posterior_of_the_worked_example() {
        let cost = Gamma {
            shape: 15.0 + 60.0,
            rate: 15.0 / 0.4 + 180.0,
        };
        check(cost.rate, 217.5);
        let lead = Gamma::updated(6.0, 0.06, 5.0, 58.0);
        check(lead.rate, 158.0);
        let appointment = Gamma::updated(3.0, 0.08, 1.0, 3.2);
        check(appointment.rate, 40.7);
        let show = Gamma {
            shape: 15.0,
            rate: 50.0,
        };
        let won = Gamma {
            shape: 15.0,
            rate: 15.0 / 0.55,
        };
        let eta = (4.0 + 40.0) / (5.0 + 50.0);
        check(eta, 0.8);
        let all = [cost, lead, appointment, show, won];
        let mean = all.iter().map(|g| g.mean()).product::<f64>() * 15_000.0 / eta;
        check(mean, 7.299_421);
        let roas = LogNormal::of_product(all.into_iter(), 15_000.0 / eta);
        check(roas.mu, 1.737_387);
        check(roas.sigma, 0.728_209);
        check(roas.p_below(0.5), 0.000_422_393);
        check(roas.p_above(3.0), 0.809_807);
        check(roas.p_below(roas.quantile(0.1)), 0.1);
    }

    #[test]
    fn the_tests_of_the_worked_example() {
        let at = |mean: f64, sigma| LogNormal {
            mu: libm::log(mean),
            sigma,
        };
        check(at(0.2, 0.6).p_below(0.5), 0.936_638);
        check(at(0.2, 0.8).p_below(0.5), 0.873_971);
        check(at(2.0, 0.6).p_better_than(at(0.8, 0.7)), 0.839_854);
    }

    #[test]
    fn certainty_is_a_step() {
        let sure = LogNormal {
            mu: 0.0,
            sigma: 0.0,
        };
        assert_eq!((sure.p_below(2.0), sure.p_below(0.5)), (1.0, 0.0));
        assert_eq!((sure.p_above(2.0), sure.p_above(0.5)), (0.0, 1.0));
        assert_eq!(sure.p_better_than(sure), 0.5);
    }

    #[test]
    fn a_mix_of_one_is_itself_and_of_twins_is_surer() {
        let one = LogNormal {
            mu: 0.7,
            sigma: 0.9,
        };
        assert_eq!(LogNormal::mix(&[(1.0, one)]), Some(one));
        let two = LogNormal::mix(&[(0.5, one), (0.5, one)]).unwrap();
        check(two.mean(), one.mean());
        assert!(two.sigma < one.sigma);
        assert_eq!(LogNormal::mix(&[]), None);
    }
}
