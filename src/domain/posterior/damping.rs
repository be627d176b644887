//! Early-signal damping (ALGORITHM 3.5): how much a cheap lead is worth, learnt from the account.

/// ln of an early signal against the account's is kept within this.
const SIGNAL_MAX: f64 = 1.5;

/// What one ad says about the worth of cheap leads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Witness {
    /// Discounted successes at the quality stage (N).
    pub successes: f64,
    /// Successes the account's rate expects there (M = r E).
    pub expected: f64,
    /// ln of its early signal over the account's (x), clamped.
    pub signal: f64,
}

/// The damping in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Damping {
    /// 0: a cheap lead is as good as any; 1: its price says nothing about value per unit spent;
    /// above 1: a low price is a bad sign.
    pub delta: f64,
    /// The level that keeps the sum of expected successes (g).
    pub level: f64,
}

impl Damping {
    /// The factor on the quality rate of an ad with early signal `signal`.
    #[must_use]
    pub fn factor(self, signal: f64) -> f64 {
        self.level * libm::exp(-self.delta * signal)
    }
}

/// The early signal `ln(own / account)`, clamped to ±1.5.
#[must_use]
pub fn signal(own: f64, account: f64) -> f64 {
    let ratio = libm::log(own / account);
    if ratio.is_nan() {
        0.0
    } else {
        ratio.clamp(-SIGNAL_MAX, SIGNAL_MAX)
    }
}

/// The delta most likely under `N_i ~ Poisson(M_i g e^(-delta x_i))` and
/// `delta ~ Normal(delta0, sd²)`: six damped Newton steps from `delta0`.
#[must_use]
pub fn estimate(witnesses: &[Witness], delta0: f64, sd: f64) -> Damping {
    let precision = 1.0 / (sd * sd);
    let seen: f64 = witnesses.iter().map(|w| w.successes).sum();
    let pull: f64 = witnesses.iter().map(|w| w.successes * w.signal).sum();
    let mut delta = delta0;
    for _ in 0..6 {
        let (sum, first, _) = moments(witnesses, delta);
        let level = (seen + 2.0) / (sum + 2.0);
        let mean = if sum > 0.0 { first / sum } else { 0.0 };
        let spread: f64 = witnesses
            .iter()
            .map(|w| {
                let off = w.signal - mean;
                weight(*w, delta) * off * off
            })
            .sum();
        let step =
            (level * first - pull - (delta - delta0) * precision) / (level * spread + precision);
        delta = (delta + step.clamp(-0.5, 0.5)).clamp(-0.5, 2.0);
    }
    let (sum, _, _) = moments(witnesses, delta);
    Damping {
        delta,
        level: (seen + 2.0) / (sum + 2.0),
    }
}

fn weight(w: Witness, delta: f64) -> f64 {
    w.expected * libm::exp(-delta * w.signal)
}

fn moments(witnesses: &[Witness], delta: f64) -> (f64, f64, usize) {
    witnesses.iter().fold((0.0, 0.0, 0), |(sum, first, n), w| {
        let weight = weight(*w, delta);
        (sum + weight, first + weight * w.signal, n + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn market(delta: f64) -> Vec<Witness> {
        (-10..=10)
            .map(|i| {
                let signal = f64::from(i) / 8.0;
                Witness {
                    successes: 200.0 * libm::exp(-delta * signal),
                    expected: 200.0,
                    signal,
                }
            })
            .collect()
    }

    #[test]
    fn a_large_account_says_itself_what_cheap_leads_are_worth() {
        for truth in [0.0, 0.5, 1.0, 1.5] {
            let found = estimate(&market(truth), 0.5, 0.5);
            assert!(
                (found.delta - truth).abs() < 0.01,
                "{found:?} is not {truth}"
            );
            assert!((found.level - 1.0).abs() < 0.05, "{found:?}");
        }
    }

    #[test]
    fn an_account_without_results_keeps_the_prior() {
        assert_eq!(estimate(&[], 0.5, 0.5).delta, 0.5);
        let silent = [Witness {
            successes: 0.0,
            expected: 0.0,
            signal: 1.0,
        }];
        let found = estimate(&silent, 0.5, 0.5);
        assert_eq!((found.delta, found.level), (0.5, 1.0));
    }

    #[test]
    fn the_signal_is_bounded() {
        assert_eq!(signal(100.0, 1.0), 1.5);
        assert_eq!(signal(0.0, 1.0), -1.5);
        assert_eq!(signal(f64::NAN, 1.0), 0.0);
        assert_eq!(signal(2.0, 2.0), 0.0);
    }
}
