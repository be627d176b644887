//! Figures over many markets, and differences between two contenders in the same ones.

use super::{Board, CLAIRVOYANT, Contender, LEFT_ALONE, OURS, Played};
use crate::domain::bandit::KeyedStream;

/// Resamples behind an interval.
const RESAMPLES: usize = 1_000;

/// What one contender reached on one kind of market. Revenues are in hundredths of what the budgets
/// left alone brought in the same market.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The contender.
    pub name: &'static str,
    /// Mean.
    pub mean: f64,
    /// One market in ten is below.
    pub p10: f64,
    /// Median.
    pub p50: f64,
    /// One market in ten is above.
    pub p90: f64,
    /// Mean share of the clairvoyant's revenue, percent; `None` where it does not take part.
    pub of_bound: Option<f64>,
    /// What is missing to the clairvoyant's revenue, a day, main units, in the mean.
    pub regret_a_day: Option<f64>,
    /// Revenue per unit spent, in the mean.
    pub roas: f64,
    /// Changes per market.
    pub changes: f64,
    /// Ads stopped for good, per market, and the share of them that was wrong.
    pub kills: f64,
    /// See [`Self::kills`].
    pub wrong_kills: f64,
    /// The same of rotations.
    pub rotations: f64,
    /// See [`Self::rotations`].
    pub wrong_rotations: f64,
    /// Decisions beyond a guard, in all markets.
    pub broken: u32,
    /// Ours less this one's in the same markets; `None` for ourselves.
    pub ours_less: Option<Difference>,
}

/// A difference with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Of the means.
    pub mean: f64,
    /// 95 % interval of it.
    pub mean_interval: (f64, f64),
    /// Of the 10th percentiles.
    pub p10: f64,
    /// 95 % interval of it.
    pub p10_interval: (f64, f64),
}

/// What a difference says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Ours is above, beyond the noise.
    Above,
    /// Within the noise.
    Tie,
    /// Ours is below, beyond the noise.
    Below,
}

impl Verdict {
    /// What an interval says.
    #[must_use]
    pub fn of((low, high): (f64, f64)) -> Self {
        if low > 0.0 {
            Self::Above
        } else if high < 0.0 {
            Self::Below
        } else {
            Self::Tie
        }
    }

    /// As a word for reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::Tie => "tie",
            Self::Below => "below",
        }
    }
}

/// The value below which a share `p` of the sorted `values` lies, between neighbours by proportion.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let at = p * (sorted.len().saturating_sub(1)) as f64;
    let (low, part) = (at.floor(), at.fract());
    let value = |i: f64| sorted.get(i as usize).copied();
    let first = value(low).unwrap_or(0.0);
    first + part * (value(low + 1.0).unwrap_or(first) - first)
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Every contender's score on a board.
#[must_use]
pub fn scores(board: &Board, contenders: &[Contender]) -> Vec<Score> {
    let of = |name: &str| {
        let place = contenders.iter().position(|c| c.name == name)?;
        board.played.get(place)
    };
    let Some(base) = of(LEFT_ALONE) else {
        return Vec::new();
    };
    let relative = |played: &[Played]| -> Vec<f64> {
        let pairs = played.iter().zip(base);
        pairs
            .map(|(p, b)| 100.0 * p.revenue / b.revenue.max(1e-9))
            .collect()
    };
    let ours = of(OURS).map(|played| relative(played.as_slice()));
    let bound = of(CLAIRVOYANT);
    contenders
        .iter()
        .zip(&board.played)
        .map(|(contender, played)| {
            let values = relative(played);
            let order = sorted(values.iter().copied());
            let n = played.len().max(1) as f64;
            let sum = |f: fn(&Played) -> f64| played.iter().map(f).sum::<f64>();
            let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
            let (kills, rotations) = (sum(|p| f64::from(p.kills)), sum(|p| f64::from(p.rotations)));
            Score {
                name: contender.name,
                mean: mean(&values),
                p10: quantile(&order, 0.1),
                p50: quantile(&order, 0.5),
                p90: quantile(&order, 0.9),
                of_bound: bound.map(|bound| {
                    let pairs = played.iter().zip(bound);
                    100.0
                        * pairs
                            .map(|(p, b)| p.revenue / b.revenue.max(1e-9))
                            .sum::<f64>()
                        / n
                }),
                regret_a_day: bound.map(|bound| {
                    let pairs = played.iter().zip(bound);
                    pairs.map(|(p, b)| b.revenue - p.revenue).sum::<f64>() / n / board.days as f64
                }),
                roas: share(sum(|p| p.revenue), sum(|p| p.spend)),
                changes: sum(|p| f64::from(p.changes)) / n,
                kills: kills / n,
                wrong_kills: share(sum(|p| f64::from(p.wrong_kills)), kills),
                rotations: rotations / n,
                wrong_rotations: share(sum(|p| f64::from(p.wrong_rotations)), rotations),
                broken: played.iter().map(|p| p.broken).sum(),
                ours_less: ours
                    .as_ref()
                    .filter(|_| contender.name != OURS)
                    .map(|ours| difference(ours, &values)),
            }
        })
        .collect()
}

/// Paired by market, with intervals by resampling the markets.
fn difference(ours: &[f64], theirs: &[f64]) -> Difference {
    let pairs: Vec<(f64, f64)> = ours.iter().copied().zip(theirs.iter().copied()).collect();
    let of = |pairs: &[(f64, f64)]| {
        let n = pairs.len().max(1) as f64;
        let gap = pairs.iter().map(|(a, b)| a - b).sum::<f64>() / n;
        let low = |f: fn(&(f64, f64)) -> f64| quantile(&sorted(pairs.iter().map(f)), 0.1);
        (gap, low(|p| p.0) - low(|p| p.1))
    };
    let (mean, p10) = of(&pairs);
    let mut chance = KeyedStream::new(1, "resample", "markets", pairs.len() as i64);
    let (mut means, mut tens) = (Vec::new(), Vec::new());
    for _ in 0..RESAMPLES {
        let again: Vec<(f64, f64)> = (0..pairs.len())
            .filter_map(|_| {
                let place = (chance.uniform() * pairs.len() as f64) as usize;
                pairs.get(place).copied()
            })
            .collect();
        let (m, t) = of(&again);
        means.push(m);
        tens.push(t);
    }
    let interval = |values: Vec<f64>| {
        let order = sorted(values.into_iter());
        (quantile(&order, 0.025), quantile(&order, 0.975))
    };
    Difference {
        mean,
        mean_interval: interval(means),
        p10,
        p10_interval: interval(tens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(quantile(&values, 0.5), 3.0);
        assert_eq!(quantile(&values, 0.1), 1.4);
        assert_eq!(quantile(&[], 0.1), 0.0);
    }

    #[test]
    fn a_steady_lead_is_above_and_none_is_a_tie() {
        let theirs: Vec<f64> = (0..40).map(|i| 90.0 + f64::from(i % 7)).collect();
        let ahead: Vec<f64> = theirs.iter().map(|v| v + 2.0).collect();
        let d = difference(&ahead, &theirs);
        assert!((d.mean - 2.0).abs() < 1e-9 && (d.p10 - 2.0).abs() < 1e-9);
        assert_eq!(Verdict::of(d.mean_interval), Verdict::Above);
        assert_eq!(Verdict::of(d.p10_interval), Verdict::Above);
        let noisy: Vec<f64> = theirs
            .iter()
            .enumerate()
            .map(|(i, v)| v + if i % 2 == 0 { 9.0 } else { -9.0 })
            .collect();
        assert_eq!(
            Verdict::of(difference(&noisy, &theirs).mean_interval),
            Verdict::Tie
        );
        assert_eq!(Verdict::of((-3.0, -1.0)), Verdict::Below);
    }
}
