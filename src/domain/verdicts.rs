//! Rules for the status of an ad (ALGORITHM 6): the ignorance zone, kill, rotation, return, scale.

use crate::domain::policy::{IgnoranceJoin, KillRule, PolicyParams};
use crate::domain::posterior::gamma::LogNormal;

/// Hours in which the rule against half the average kills nothing.
const HALF_AVERAGE_GRACE_HOURS: f64 = 6.0;

/// Whether an ad is too young or too cheap to kill.
#[must_use]
pub fn in_ignorance_zone(params: &PolicyParams, age_days: f64, spend: f64) -> bool {
    let young = age_days < params.ignorance_days;
    let cheap = spend < params.ignorance_spend;
    match params.ignorance_join {
        IgnoranceJoin::Or => young || cheap,
        IgnoranceJoin::And => young && cheap,
    }
}

/// What the rules look at in one ad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Subject {
    /// Days since creation.
    pub age_days: f64,
    /// Raw spend, main units.
    pub spend: f64,
    /// Raw pipeline ROAS.
    pub raw_roas: Option<f64>,
    /// The blended score.
    pub blended_score: f64,
    /// What is believed of its ROAS.
    pub roas: LogNormal,
}

/// Whether the configured kill rule fires. `average_score` is the account's mean blended score.
#[must_use]
pub fn kills(params: &PolicyParams, ad: &Subject, average_score: f64) -> bool {
    if in_ignorance_zone(params, ad.age_days, ad.spend) {
        return false;
    }
    let spent_enough = ad.spend > params.min_spend_for_kill;
    match params.kill_rule {
        KillRule::Posterior => spent_enough && ad.roas.p_below(params.kill_roas) >= params.p_kill,
        KillRule::Raw => {
            // A negative pipeline scores as nothing.
            spent_enough
                && ad
                    .raw_roas
                    .is_some_and(|roas| roas.max(0.0) < params.kill_roas)
        }
        KillRule::HalfAverage => {
            ad.age_days * 24.0 >= HALF_AVERAGE_GRACE_HOURS && ad.blended_score < 0.5 * average_score
        }
    }
}

/// Whether an entity is marked SCALE.
#[must_use]
pub fn scales(params: &PolicyParams, spend: f64, roas: LogNormal) -> bool {
    spend > params.min_spend_for_kill && roas.p_above(params.scale_roas) >= params.p_scale
}

/// The place of the ad with the highest median, the first of equals.
#[must_use]
pub fn best(ads: &[Subject]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (i, ad) in ads.iter().enumerate() {
        if best.is_none_or(|(_, mu)| ad.roas.mu > mu) {
            best = Some((i, ad.roas.mu));
        }
    }
    best.map(|(i, _)| i)
}

/// The chance that `best` is better than `ad`, when that is enough to pause `ad` in its favour.
/// The best itself is never paused, so the last live ad is not either.
#[must_use]
pub fn rotates(params: &PolicyParams, ad: &Subject, best: &Subject) -> Option<f64> {
    if ad.age_days < params.ignorance_days || ad.spend < params.rotate_spend {
        return None;
    }
    let p = best.roas.p_better_than(ad.roas);
    (p >= params.p_rotate).then_some(p)
}

/// The chance that `best` is better than the rotated `ad`, when `ad` may return.
#[must_use]
pub fn returns(params: &PolicyParams, ad: &Subject, best: &Subject) -> Option<f64> {
    let p = best.roas.p_better_than(ad.roas);
    (p <= params.p_return).then_some(p)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ad(age_days: f64, spend: f64, mean: f64, sigma: f64) -> Subject {
        Subject {
            age_days,
            spend,
            raw_roas: Some(mean),
            blended_score: 0.1,
            roas: LogNormal {
                mu: libm::log(mean),
                sigma,
            },
        }
    }

    #[test]
    fn the_zone_joins_its_gates_by_or_unless_told() {
        let or = PolicyParams::default();
        let and = PolicyParams {
            ignorance_join: IgnoranceJoin::And,
            ..or
        };
        for (age, spend, by_or, by_and) in [
            (0.5, 500.0, true, false),
            (5.0, 50.0, true, false),
            (0.5, 50.0, true, true),
            (2.0, 100.0, false, false),
        ] {
            assert_eq!(in_ignorance_zone(&or, age, spend), by_or, "{age} {spend}");
            assert_eq!(in_ignorance_zone(&and, age, spend), by_and, "{age} {spend}");
        }
    }

    #[test]
    fn a_kill_needs_certainty_spend_and_age() {
        let p = PolicyParams::default();
        for (subject, killed) in [
            (ad(10.0, 500.0, 0.2, 0.6), true),
            (ad(10.0, 500.0, 0.2, 0.8), false),
            (ad(10.0, 200.0, 0.2, 0.6), false),
            (ad(1.0, 500.0, 0.2, 0.6), false),
        ] {
            assert_eq!(kills(&p, &subject, 1.0), killed, "{subject:?}");
        }
    }

    #[test]
    fn the_older_rules_stay_available() {
        let raw = PolicyParams {
            kill_rule: KillRule::Raw,
            ..PolicyParams::default()
        };
        assert!(kills(&raw, &ad(10.0, 500.0, 0.4, 5.0), 1.0));
        assert!(!kills(&raw, &ad(10.0, 500.0, 0.6, 5.0), 1.0));
        let half = PolicyParams {
            kill_rule: KillRule::HalfAverage,
            ignorance_days: 0.0,
            ..PolicyParams::default()
        };
        assert!(kills(&half, &ad(1.0, 500.0, 1.0, 0.5), 0.3));
        assert!(!kills(&half, &ad(1.0, 500.0, 1.0, 0.5), 0.2));
        assert!(!kills(&half, &ad(0.2, 500.0, 1.0, 0.5), 0.3), "first 6 h");
    }

    #[test]
    fn rotation_of_the_worked_example() {
        let p = PolicyParams::default();
        let (best, other) = (ad(9.0, 99.0, 2.0, 0.6), ad(9.0, 99.0, 0.8, 0.7));
        let found = rotates(&p, &other, &best).unwrap();
        assert!((found - 0.839_854).abs() < 1e-6);
        assert_eq!(rotates(&p, &best, &best), None);
        assert_eq!(rotates(&p, &ad(1.0, 99.0, 0.8, 0.7), &best), None, "young");
        assert_eq!(rotates(&p, &ad(9.0, 59.0, 0.8, 0.7), &best), None, "cheap");
        assert_eq!(returns(&p, &other, &best), None);
        assert!(returns(&p, &best, &other).is_some());
    }

    #[test]
    fn the_first_of_equals_is_best() {
        let ads = [
            ad(1.0, 1.0, 1.0, 0.5),
            ad(1.0, 1.0, 2.0, 0.5),
            ad(1.0, 1.0, 2.0, 0.1),
        ];
        assert_eq!(best(&ads), Some(1));
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn scale_needs_spend_and_some_certainty() {
        let p = PolicyParams::default();
        let good = ad(9.0, 500.0, 4.0, 0.5).roas;
        assert!(scales(&p, 500.0, good));
        assert!(!scales(&p, 200.0, good));
        assert!(!scales(&p, 500.0, ad(9.0, 500.0, 3.0, 0.5).roas));
    }
}
