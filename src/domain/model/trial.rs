//! Two versions held against what came: each said what an ad's spend would bring, and the ad then
//! spent. The comparison is of forecasts, not of decisions: what the other version's decisions would
//! have brought nobody knows.

/// What one ad spent in one week was expected to bring, and what it brought. Main units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// The week of the tenant that it belongs to: the luck of one week is shared by its ads.
    pub block: usize,
    /// What each of the two expected, not negative.
    pub expected: [f64; 2],
    /// What came: the present value of the deals that began in that week.
    pub came: f64,
    /// What one deal is worth when it is won: the unit in which luck comes.
    pub unit: f64,
}

/// How two versions forecast the same weeks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Weeks of tenants.
    pub blocks: usize,
    /// Ads in those weeks.
    pub cases: usize,
    /// What each expected in all, over what came; 1 is right. `None` when nothing came.
    pub bias: [Option<f64>; 2],
    /// Mean deviance of a week, each; less is better.
    pub deviance: [f64; 2],
    /// The second's deviance less the first's, in the mean of the weeks.
    pub difference: f64,
    /// 90 % interval of it; endless on both sides with fewer than two weeks.
    pub interval: (f64, f64),
}

/// Half a deal in a thousand: an expectation of nothing would be refuted for ever by one deal.
const LEAST: f64 = 5e-4;

/// Deals of one ad in one week, and what one is worth, that can be meant.
const DEALS_MAX: f64 = 1e9;
const UNIT_MIN: f64 = 1e-3;
const UNIT_MAX: f64 = 1e12;

/// Poisson deviance of `came` deals where `expected` were: 0 where both agree, and least in the mean
/// for whoever says the true mean, whatever the distribution (it is a Bregman function).
fn deviance(expected: f64, came: f64) -> f64 {
    let mean = expected.max(LEAST);
    let gained = if came > 0.0 {
        came * libm::log(came / mean)
    } else {
        0.0
    };
    2.0 * (gained - (came - mean))
}

/// Holds two versions against what came. Cases that are not usable numbers count for nothing.
#[must_use]
pub fn compare(cases: &[Case]) -> Comparison {
    let mut weeks: std::collections::BTreeMap<usize, [f64; 2]> = std::collections::BTreeMap::new();
    let (mut said, mut came, mut counted) = ([0.0; 2], 0.0, 0);
    for case in cases {
        let deals = case.came.max(0.0) / case.unit;
        let means = case.expected.map(|expected| expected / case.unit);
        let [a, b] = means;
        let is_usable = [a, b, deals].iter().all(|n| (0.0..=DEALS_MAX).contains(n));
        if !is_usable || case.came.is_nan() || !(UNIT_MIN..=UNIT_MAX).contains(&case.unit) {
            continue;
        }
        let week = weeks.entry(case.block).or_default();
        for (sum, mean) in week.iter_mut().zip(means) {
            *sum += deviance(mean, deals);
        }
        for (sum, expected) in said.iter_mut().zip(case.expected) {
            *sum += expected;
        }
        came += case.came.max(0.0);
        counted += 1;
    }
    let blocks = weeks.len();
    let n = blocks.max(1) as f64;
    let total = |of: usize| weeks.values().filter_map(|week| week.get(of)).sum::<f64>() / n;
    let differences: Vec<f64> = weeks.values().map(|[a, b]| b - a).collect();
    let mean = differences.iter().sum::<f64>() / n;
    let interval = if blocks < 2 {
        (f64::NEG_INFINITY, f64::INFINITY)
    } else {
        let squares = differences.iter().map(|d| (d - mean) * (d - mean));
        let error = libm::sqrt(squares.sum::<f64>() / (n - 1.0) / n);
        let half = quantile_95(blocks - 1) * error;
        (mean - half, mean + half)
    };
    let share = |said: f64| Some(said / came).filter(|share| share.is_finite());
    let [a, b] = said;
    Comparison {
        blocks,
        cases: counted,
        bias: [share(a), share(b)],
        deviance: [total(0), total(1)],
        difference: mean,
        interval,
    }
}

/// The 95 % quantile of Student's t, from the table for few degrees and its limit's expansion
/// (Abramowitz and Stegun 26.7.5) for more.
fn quantile_95(degrees: usize) -> f64 {
    const FEW: [f64; 5] = [6.314, 2.920, 2.353, 2.132, 2.015];
    if let Some(value) = degrees.checked_sub(1).and_then(|at| FEW.get(at)) {
        return *value;
    }
    let (z, n) = (1.644_853_627_f64, degrees.max(1) as f64);
    let z2 = z * z;
    let third = (z2 + 1.0) * z / 4.0;
    let fifth = ((5.0 * z2 + 16.0) * z2 + 3.0) * z / 96.0;
    let seventh = (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) * z / 384.0;
    z + third / n + fifth / (n * n) + seventh / (n * n * n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn case(block: usize, expected: [f64; 2], came: f64) -> Case {
        Case {
            block,
            expected,
            came,
            unit: 1_000.0,
        }
    }

    #[test]
    fn whoever_is_nearer_to_what_came_has_less_deviance() {
        let cases: Vec<Case> = (0..10)
            .map(|week| case(week, [500.0 + week as f64, 2_000.0], 2_000.0))
            .collect();
        let found = compare(&cases);
        assert_eq!((found.blocks, found.cases), (10, 10));
        assert!(found.deviance[1].abs() < 1e-12 && found.deviance[0] > 0.5);
        assert!(
            found.difference < 0.0 && found.interval.1 < 0.0,
            "{found:?}"
        );
        assert_eq!(found.bias[1], Some(1.0));
        // Nobody learns from one week.
        let one = compare(&cases[..1]);
        assert_eq!(one.interval, (f64::NEG_INFINITY, f64::INFINITY));
        assert_eq!(compare(&[]).bias, [None, None]);
    }

    /// Deals come as luck has it; who says the mean fares better than who says half or twice of it,
    /// and so does not gain by saying the median, which is nothing.
    #[test]
    fn the_mean_is_what_it_pays_to_say() {
        let came = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3_000.0, 1_000.0, 0.0];
        let mean = 400.0;
        for other in [0.0, 200.0, 800.0, 3_000.0] {
            let cases: Vec<Case> = came
                .iter()
                .enumerate()
                .map(|(i, came)| case(i, [mean, other], *came))
                .collect();
            assert!(compare(&cases).difference > 0.0, "{other}");
        }
    }

    #[test]
    fn quantiles_are_students() {
        for (degrees, expected) in [(1, 6.314), (5, 2.015), (6, 1.943), (13, 1.771), (30, 1.697)] {
            assert!((quantile_95(degrees) - expected).abs() < 2e-3, "{degrees}");
        }
    }

    proptest! {
        #[test]
        fn every_figure_is_a_number(cases in prop::collection::vec(
            (0..4_usize, any::<f64>(), any::<f64>(), any::<f64>(), any::<f64>()), 0..20))
        {
            let cases: Vec<Case> = cases
                .into_iter()
                .map(|(block, a, b, came, unit)| Case { block, expected: [a, b], came, unit })
                .collect();
            let found = compare(&cases);
            prop_assert!(found.difference.is_finite(), "{found:?}");
            prop_assert!(found.deviance.iter().all(|d| d.is_finite()), "{found:?}");
            prop_assert!(!found.interval.0.is_nan() && !found.interval.1.is_nan());
            prop_assert!(found.bias.iter().flatten().all(|b| b.is_finite()), "{found:?}");
            prop_assert!(found.blocks <= 4 && found.cases <= cases.len());
        }

        #[test]
        fn nothing_is_better_than_the_truth(came in 0.0..50.0_f64, other in 0.0..50.0_f64) {
            prop_assert!(deviance(other, came) >= deviance(came.max(LEAST), came) - 1e-9);
        }
    }
}
