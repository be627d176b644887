//! Delay between stages (ALGORITHM 3.1): how much of what will happen has had time to happen.

use super::funnel::Funnel;
use super::ledger::Deal;

/// The chance that an event due has happened by `age_days` when its mean delay is `mean_days`: the
/// Erlang-2 distribution function. 0 at a negative age.
#[must_use]
pub fn matured(age_days: f64, mean_days: f64) -> f64 {
    if age_days.is_nan() || age_days <= 0.0 {
        return 0.0;
    }
    if mean_days <= 0.0 {
        return 1.0;
    }
    let t = 2.0 * age_days / mean_days;
    if t > 700.0 {
        return 1.0;
    }
    // 1 - e^-t (1 + t), written so that a small t keeps its digits.
    (-libm::expm1(-t) - t * libm::exp(-t)).clamp(0.0, 1.0)
}

/// 2^(-age / half-life): the discount of old evidence. Ages below 0 count as 0.
#[must_use]
pub fn discount(age_days: f64, half_life_days: f64) -> f64 {
    libm::exp2(-age_days.max(0.0) / half_life_days)
}

/// Mean delays refined by what was observed: `(20 m + sum) / (20 + count)`.
///
/// Only deals that entered the stage before more than three mean delays ago count; younger ones
/// show only the fast delays (right truncation).
#[must_use]
pub fn refined<'a>(funnel: &Funnel, deals: impl Iterator<Item = &'a Deal>) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); funnel.len()];
    for deal in deals {
        for (k, sum) in sums.iter_mut().enumerate().skip(1) {
            let (Some(from), Some(mean)) = (deal.age_at(k - 1), funnel.delay(k)) else {
                continue;
            };
            if from > 3.0 * mean
                && let Some(to) = deal.age_at(k)
            {
                sum.0 += (from - to).max(0.0);
                sum.1 += 1.0;
            }
        }
    }
    funnel
        .stages()
        .iter()
        .zip(sums)
        .map(|(stage, (sum, count))| (20.0 * stage.delay_days + sum) / (20.0 + count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(actual: f64, expected: f64) {
        assert!(
            (actual - expected).abs() < 1e-6,
            "{actual} is not {expected}"
        );
    }

    #[test]
    fn open_leads_are_partly_observed() {
        for (age, share) in [(0.5, 0.144_305), (2.0, 0.745_227), (10.0, 0.999_977)] {
            check(matured(age, 1.5), share);
        }
        check(
            matured(0.5, 1.5) + matured(2.0, 1.5) + matured(10.0, 1.5),
            1.889_509,
        );
    }

    #[test]
    fn nothing_has_matured_before_it_began() {
        check(matured(-1.0, 1.5), 0.0);
        check(matured(0.0, 1.5), 0.0);
        check(matured(f64::NAN, 1.5), 0.0);
        check(matured(1e9, 1.5), 1.0);
        check(matured(f64::INFINITY, 1.5), 1.0);
    }

    #[test]
    fn a_half_life_halves() {
        check(discount(0.0, 5.0), 1.0);
        check(discount(5.0, 5.0), 0.5);
        check(discount(-3.0, 5.0), 1.0);
    }
}
