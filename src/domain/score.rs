//! The blended CTR and ROAS score (ALGORITHM 4): the early reading of an ad, kept beside every
//! decision. It orders ads only while the account has no lead at all, since its CTR share rewards
//! clickbait.

/// CTR's weight in the blend, `hours` after creation: 1 at first, handing over to ROAS with age.
#[must_use]
pub fn ctr_weight(hours: f64) -> f64 {
    let h = if hours.is_nan() { 0.0 } else { hours };
    if h <= 6.0 {
        1.0
    } else if h <= 24.0 {
        1.0 - 0.3 * (h - 6.0) / 18.0
    } else if h <= 72.0 {
        0.7 - 0.4 * (h - 24.0) / 48.0
    } else {
        (0.3 * libm::exp(-0.1 * (h - 72.0) / 24.0)).max(0.1)
    }
}

/// The blended score, 0 to 1: CTR against 5 %, ROAS against 3, faded by impressions. A negative
/// ROAS counts as 0, as does a value that is not a number.
#[must_use]
pub fn blended(ctr: f64, roas: f64, hours: f64, impressions: f64) -> f64 {
    let w = ctr_weight(hours);
    let clicks = (ctr.max(0.0) / 0.05).min(1.0);
    let money = (roas.max(0.0) / 3.0).min(1.0);
    (w * clicks + (1.0 - w) * money) * fatigue(impressions)
}

/// What is left of an ad's pull after `impressions`.
#[must_use]
pub fn fatigue(impressions: f64) -> f64 {
    libm::exp(-1e-4 * impressions.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(actual: f64, expected: f64) {
        assert!(
            (actual - expected).abs() <= 1e-6 * expected.abs().max(1e-300) + 5e-7,
            "{actual} is not {expected}"
        );
    }

    #[test]
    fn ctr_hands_over_to_roas_with_age() {
        for (hours, weight) in [
            (0.0, 1.0),
            (6.0, 1.0),
            (15.0, 0.85),
            (24.0, 0.7),
            (48.0, 0.5),
            (72.0, 0.3),
            (96.0, 0.271_451),
            (240.0, 0.148_976),
            (480.0, 0.1),
        ] {
            check(ctr_weight(hours), weight);
        }
    }

    #[test]
    fn the_blend_of_the_worked_example() {
        check(blended(0.02, 1.5, 48.0, 2_000.0), 0.368_429);
    }

    #[test]
    fn nothing_known_scores_nothing() {
        check(blended(0.0, 0.0, 0.0, 0.0), 0.0);
        check(blended(0.0, -5.0, 500.0, 0.0), 0.0);
        check(blended(f64::NAN, f64::NAN, f64::NAN, f64::NAN), 0.0);
        check(blended(1.0, 1e9, 1e9, 0.0), 1.0);
    }
}
