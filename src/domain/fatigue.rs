//! Whether an audience has tired of an ad: by the contract's four rules, and by a posterior that
//! asks whether the fall could be chance.
//!
//! The rules: click-through down by a fifth in three days, shown more than 3.5 times to each person,
//! a thousand impressions dearer by half, impressions grown by less than a tenth in a week. On a
//! dozen clicks the first of them is true of every other healthy ad, and the last of every ad whose
//! budget stands still; [`by_posterior`] says so, [`by_rule`] does not.

use crate::domain::policy::Bucket;
use crate::domain::posterior::gamma::Gamma;
use crate::domain::posterior::special::normal_cdf;
use crate::domain::time::{Timestamp, days_between};

/// A fall of click-through by this share is a sign.
const CTR_FALL: f64 = 0.20;
/// The days it falls in.
const CTR_DAYS: usize = 3;
/// Times each person may have seen the ad.
const FREQUENCY_MAX: f64 = 3.5;
/// A rise of the price of a thousand impressions by this share is a sign.
const CPM_RISE: f64 = 0.50;
/// Growth of impressions in a week below this is a sign.
const GROWTH_MIN: f64 = 0.10;
/// The days it grows in.
const GROWTH_DAYS: usize = 7;

/// How sure the posterior must be.
const SURE: f64 = 0.90;
/// Pseudo-clicks that hold a rate at the mean of the whole time.
const PULL: f64 = 5.0;
/// Spread of a day's price, and of a day's impressions, about its mean that is believed before
/// anything is seen (standard deviation of the logarithm), and the days that belief weighs.
const DAY_SPREAD: f64 = 0.20;
const DAY_SPREAD_WEIGHT: f64 = 4.0;
/// A trend is not carried further than this.
const HORIZON_DAYS: f64 = 60.0;
/// Days from which a trend is read.
const TREND_DAYS: usize = 7;
/// Above this a click-through rate can only be meant in percent: as a ratio it would be one click
/// in seven impressions.
const RATIO_MAX: f64 = 0.15;

/// One day of one ad. What is not a number, or negative, counts as not known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DailyMetrics {
    /// Clicks per impression, as a ratio.
    pub ctr: f64,
    /// Impressions per person reached; `None` where reach is not known.
    pub frequency: Option<f64>,
    /// Price of a thousand impressions, in any currency, the same every day.
    pub cpm: f64,
    /// Impressions.
    pub impressions: f64,
}

/// How tired an audience is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// No sign.
    Healthy,
    /// It clicks less, or sees the ad less.
    Fatiguing,
    /// Each person has seen the ad often.
    Saturated,
    /// Those who are left are dear to reach.
    AudienceExhausted,
}

impl Status {
    /// As a word for reports: `HEALTHY`, `FATIGUING` …
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Fatiguing => "FATIGUING",
            Self::Saturated => "SATURATED",
            Self::AudienceExhausted => "AUDIENCE_EXHAUSTED",
        }
    }
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recommendation {
    /// Show something new.
    RefreshCreative,
    /// Go on.
    Continue,
}

impl Recommendation {
    /// As a word for reports: `REFRESH_CREATIVE`, `CONTINUE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RefreshCreative => "REFRESH_CREATIVE",
            Self::Continue => "CONTINUE",
        }
    }
}

/// The answer about one ad.
#[derive(Debug, Clone, PartialEq)]
pub struct Fatigue {
    /// The gravest sign found.
    pub status: Status,
    /// How sure that status is, 0 to 1.
    pub confidence: f64,
    /// Why, in one sentence.
    pub reason: String,
    /// Days until the first sign shows, if things go on as in the last week: 0 where one does
    /// already, `None` where none is in sight within two months.
    pub days_until_critical: Option<f64>,
    /// What to do.
    pub recommendation: Recommendation,
}

/// The same history with click-through as a ratio. Callers send it as a ratio or, as Ads Manager
/// shows it, in percent; a history in which it is above 15 % on most days is taken to be in percent.
#[must_use]
pub fn with_ctr_as_ratio(history: &[DailyMetrics]) -> Vec<DailyMetrics> {
    let mut rates: Vec<f64> = history.iter().map(|d| d.ctr).filter(|c| *c > 0.0).collect();
    rates.sort_by(f64::total_cmp);
    let middle = rates.get(rates.len() / 2).copied().unwrap_or(0.0);
    let factor = if middle > RATIO_MAX { 0.01 } else { 1.0 };
    let scaled = |day: &DailyMetrics| DailyMetrics {
        ctr: day.ctr * factor,
        ..*day
    };
    history.iter().map(scaled).collect()
}

/// An ad's delivery as whole days back from `now`, oldest first; a day without delivery is left
/// out at both ends and kept, empty, between.
#[must_use]
pub fn days_of(buckets: &[Bucket], now: Timestamp) -> Vec<DailyMetrics> {
    let day = |b: &Bucket| days_between(b.at, now).max(0.0) as usize;
    let usable = |b: &&Bucket| {
        [b.impressions, b.clicks, b.spend]
            .iter()
            .all(|v| v.is_finite() && *v >= 0.0)
            && days_between(b.at, now) < 400.0
    };
    let seen = || {
        buckets
            .iter()
            .filter(usable)
            .filter(|b| b.impressions > 0.0)
    };
    let (Some(first), Some(last)) = (seen().map(day).max(), seen().map(day).min()) else {
        return Vec::new();
    };
    let mut sums = vec![(0.0, 0.0, 0.0); first - last + 1];
    for bucket in seen() {
        if let Some(sum) = sums.get_mut(first - day(bucket)) {
            sum.0 += bucket.impressions;
            sum.1 += bucket.clicks;
            sum.2 += bucket.spend;
        }
    }
    sums.into_iter()
        .map(|(impressions, clicks, spend)| DailyMetrics {
            ctr: ratio(clicks, impressions).unwrap_or(0.0),
            frequency: None,
            cpm: ratio(1_000.0 * spend, impressions).unwrap_or(0.0),
            impressions,
        })
        .collect()
}

/// The contract's rules to the letter, on days oldest first. The newest day is set against the one
/// three days before it (price and click-through), or seven (impressions).
#[must_use]
pub fn by_rule(history: &[DailyMetrics]) -> Fatigue {
    let days = History::read(history);
    let mut signs = Vec::new();
    if let Some(frequency) = days.frequency().filter(|f| *f > FREQUENCY_MAX) {
        signs.push(often(frequency));
    }
    if let Some(change) = days.change(|d| d.cpm, CTR_DAYS).filter(|c| *c > CPM_RISE) {
        signs.push(Sign {
            status: Status::AudienceExhausted,
            confidence: past(change, CPM_RISE),
            reason: format!(
                "a thousand impressions cost {} more than three days ago",
                percent(change)
            ),
        });
    }
    if let Some(change) = days.change(|d| d.ctr, CTR_DAYS).filter(|c| *c < -CTR_FALL) {
        signs.push(Sign {
            status: Status::Fatiguing,
            confidence: past(-change, CTR_FALL),
            reason: format!("click-through fell by {} in three days", percent(-change)),
        });
    }
    if let Some(growth) = days
        .change(|d| d.impressions, GROWTH_DAYS)
        .filter(|g| *g < GROWTH_MIN)
    {
        signs.push(Sign {
            status: Status::Fatiguing,
            confidence: 0.5,
            reason: format!("impressions grew by {} in a week", percent(growth)),
        });
    }
    days.answer(signs)
}

/// The same signs where they are not chance: falls and rises between the last three days and the
/// three before them, each by the probability that it is as large as the rule says. Slow impressions
/// count only beside another sign in the making, since a budget that stands still shows the same.
#[must_use]
pub fn by_posterior(history: &[DailyMetrics]) -> Fatigue {
    let days = History::read(history);
    let fall = days.p_ctr_fell();
    let rise = days.p_rose(|d| d.cpm, CTR_DAYS, CPM_RISE);
    let slow = days
        .p_rose(|d| d.impressions, GROWTH_DAYS / 2, GROWTH_MIN)
        .map(|p| 1.0 - p);
    let mut signs = Vec::new();
    if let Some(frequency) = days.frequency().filter(|f| *f > FREQUENCY_MAX) {
        signs.push(often(frequency));
    }
    if let Some(p) = rise.filter(|p| *p >= SURE) {
        signs.push(Sign {
            status: Status::AudienceExhausted,
            confidence: p,
            reason: "a thousand impressions have become dearer by more than half within three days"
                .to_owned(),
        });
    }
    if let Some(p) = fall.filter(|p| *p >= SURE) {
        signs.push(Sign {
            status: Status::Fatiguing,
            confidence: p,
            reason: "click-through fell by more than a fifth within three days".to_owned(),
        });
    }
    let making = |p: Option<f64>| p.is_some_and(|p| p >= 0.5);
    if let Some(p) = slow.filter(|p| *p >= SURE && (making(fall) || making(rise))) {
        let other = fall.into_iter().chain(rise).fold(0.0, f64::max);
        signs.push(Sign {
            status: Status::Fatiguing,
            confidence: p * other,
            reason: "impressions have stopped growing while clicks or prices get worse".to_owned(),
        });
    }
    if signs.is_empty()
        && let Some(p) = fall
    {
        let mut calm = days.answer(signs);
        // The surer a fall is excluded, the surer is "healthy".
        calm.confidence = 1.0 - p.max(rise.unwrap_or(0.0));
        if days
            .change(|d| d.ctr, CTR_DAYS)
            .is_some_and(|c| c < -CTR_FALL)
        {
            calm.reason = format!(
                "click-through fell, but on so few clicks that may be chance (probability of a \
                 real fall {})",
                percent(p)
            );
        }
        return calm;
    }
    days.answer(signs)
}

/// One sign of fatigue.
#[derive(Debug)]
struct Sign {
    status: Status,
    confidence: f64,
    reason: String,
}

fn often(frequency: f64) -> Sign {
    Sign {
        status: Status::Saturated,
        confidence: past(frequency, FREQUENCY_MAX),
        reason: format!("each person has seen it {frequency:.1} times"),
    }
}

/// How sure a figure past its line is: half at the line, sure at one and a half times it.
fn past(value: f64, line: f64) -> f64 {
    (value / line - 0.5).clamp(0.5, 1.0)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// Days of use, oldest first.
struct History {
    days: Vec<DailyMetrics>,
}

impl History {
    fn read(history: &[DailyMetrics]) -> Self {
        let known = |v: f64| {
            if (0.0..=1e12).contains(&v) { v } else { 0.0 }
        };
        Self {
            days: history
                .iter()
                .map(|d| DailyMetrics {
                    ctr: known(d.ctr).min(1.0),
                    frequency: d.frequency.map(known).filter(|f| *f > 0.0),
                    cpm: known(d.cpm),
                    impressions: known(d.impressions),
                })
                .collect(),
        }
    }

    fn frequency(&self) -> Option<f64> {
        self.days.last()?.frequency
    }

    /// Relative change of a figure from `back` days ago to the newest day.
    fn change(&self, figure: impl Fn(&DailyMetrics) -> f64, back: usize) -> Option<f64> {
        let newest = self.days.last()?;
        let before = self.days.get(self.days.len().checked_sub(back + 1)?)?;
        ratio(figure(newest), figure(before))
            .filter(|r| r.is_finite())
            .map(|r| r - 1.0)
    }

    /// The last `n` days, and the `n` before them.
    fn halves(&self, n: usize) -> Option<(&[DailyMetrics], &[DailyMetrics])> {
        let split = self.days.len().checked_sub(n).filter(|_| n > 0)?;
        let start = split.checked_sub(n)?;
        Some((self.days.get(split..)?, self.days.get(start..split)?))
    }

    /// P(click-through of the last three days < 0.8 of that of the three before): two Gamma beliefs
    /// held by the same prior, their ratio log-normal.
    fn p_ctr_fell(&self) -> Option<f64> {
        let (now, before) = self.halves(CTR_DAYS)?;
        let count = |days: &[DailyMetrics]| {
            days.iter().fold((0.0, 0.0), |(clicks, shown), d| {
                (clicks + d.ctr * d.impressions, shown + d.impressions)
            })
        };
        let (clicks, shown) = count(now);
        let (clicks_before, shown_before) = count(before);
        let mean = ratio(clicks + clicks_before, shown + shown_before).filter(|m| *m > 0.0)?;
        let belief = |clicks, shown| Gamma::updated(PULL, mean, clicks, shown);
        let (a, b) = (belief(clicks, shown), belief(clicks_before, shown_before));
        let fallen = a.mean_ln() - b.mean_ln();
        let spread = libm::sqrt(a.variance_ln() + b.variance_ln());
        let p = normal_cdf((libm::log(1.0 - CTR_FALL) - fallen) / spread);
        p.is_finite().then_some(p)
    }

    /// P(a figure's mean of the last `n` days is more than `1 + by` times that of the `n` before),
    /// from how much its logarithm differs from day to day.
    fn p_rose(&self, figure: impl Fn(&DailyMetrics) -> f64, n: usize, by: f64) -> Option<f64> {
        let (now, before) = self.halves(n)?;
        let logs = |days: &[DailyMetrics]| -> Option<Vec<f64>> {
            let all = days.iter().map(&figure);
            all.map(|v| (v > 0.0).then(|| libm::log(v))).collect()
        };
        let (now, before) = (logs(now)?, logs(before)?);
        let n = n as f64;
        let mean = |logs: &[f64]| logs.iter().sum::<f64>() / n;
        let (a, b) = (mean(&now), mean(&before));
        let squares =
            |logs: &[f64], mean: f64| -> f64 { logs.iter().map(|l| (l - mean) * (l - mean)).sum() };
        let variance =
            (DAY_SPREAD_WEIGHT * DAY_SPREAD * DAY_SPREAD + squares(&now, a) + squares(&before, b))
                / (DAY_SPREAD_WEIGHT + 2.0 * (n - 1.0));
        let spread = libm::sqrt(2.0 * variance / n);
        let p = normal_cdf((a - b - libm::log1p(by)) / spread);
        p.is_finite().then_some(p)
    }

    /// Slope per day of a figure over the last week, by least squares.
    fn slope(&self, figure: impl Fn(&DailyMetrics) -> Option<f64>) -> Option<f64> {
        let from = self.days.len().saturating_sub(TREND_DAYS);
        let points: Vec<(f64, f64)> = self
            .days
            .get(from..)?
            .iter()
            .enumerate()
            .filter_map(|(i, d)| Some((i as f64, figure(d)?)))
            .collect();
        if points.len() < 3 {
            return None;
        }
        let n = points.len() as f64;
        let (x, y) = points
            .iter()
            .fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
        let (up, down) = points.iter().fold((0.0, 0.0), |(up, down), p| {
            (up + (p.0 - x) * (p.1 - y), down + (p.0 - x) * (p.0 - x))
        });
        ratio(up, down).filter(|s| s.is_finite())
    }

    /// Days until the first line is crossed as things go.
    fn days_until_critical(&self) -> Option<f64> {
        let ln = |v: f64| (v > 0.0).then(|| libm::log(v));
        // A trend crosses a relative line when three days of it make the change.
        let relative = |slope: Option<f64>, gone: Option<f64>, line: f64| {
            let (slope, gone) = (slope?, gone.unwrap_or(0.0));
            let left = line - libm::log1p(gone.max(-0.999));
            (slope * line > 0.0).then(|| (left / slope).max(0.0))
        };
        let ctr = relative(
            self.slope(|d| ln(d.ctr)),
            self.change(|d| d.ctr, CTR_DAYS),
            libm::log1p(-CTR_FALL),
        );
        let cpm = relative(
            self.slope(|d| ln(d.cpm)),
            self.change(|d| d.cpm, CTR_DAYS),
            libm::log1p(CPM_RISE),
        );
        let often = self.slope(|d| d.frequency).and_then(|slope| {
            let left = FREQUENCY_MAX - self.frequency()?;
            (slope > 0.0).then(|| (left / slope).max(0.0))
        });
        [ctr, cpm, often]
            .into_iter()
            .flatten()
            .filter(|days| *days <= HORIZON_DAYS)
            .reduce(f64::min)
    }

    /// The gravest sign with the reasons of all.
    fn answer(&self, mut signs: Vec<Sign>) -> Fatigue {
        signs.sort_by_key(|sign| std::cmp::Reverse(sign.status));
        let Some(gravest) = signs.first() else {
            let short = self.days.len() <= CTR_DAYS;
            return Fatigue {
                status: Status::Healthy,
                confidence: if short { 0.5 } else { 0.8 },
                reason: if short {
                    format!("{} days are too few to see a fall", self.days.len())
                } else {
                    "no sign of fatigue".to_owned()
                },
                days_until_critical: self.days_until_critical(),
                recommendation: Recommendation::Continue,
            };
        };
        let reasons: Vec<&str> = signs.iter().map(|s| s.reason.as_str()).collect();
        Fatigue {
            status: gravest.status,
            confidence: gravest.confidence,
            reason: reasons.join("; "),
            days_until_critical: Some(0.0),
            recommendation: Recommendation::RefreshCreative,
        }
    }
}

#[cfg(test)]
mod tests;
