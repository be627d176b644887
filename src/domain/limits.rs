//! A tenant's limits as plain values: what the guards hold every change against, whoever proposed
//! it. They are read from the configuration and never computed by the policy that they bound.

use std::fmt;

use super::money::{Money, Percentage};
use super::safety::Calendar;
use super::time::SignedDuration;

/// A span of time to be drawn from: `min` to `max`, both inclusive, neither negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DurationRange {
    min: SignedDuration,
    max: SignedDuration,
}

impl DurationRange {
    /// No span at all.
    pub const ZERO: Self = Self {
        min: SignedDuration::ZERO,
        max: SignedDuration::ZERO,
    };

    /// The range from `min` to `max`; `None` when `min` is negative or exceeds `max`.
    #[must_use]
    pub fn new(min: SignedDuration, max: SignedDuration) -> Option<Self> {
        (!min.is_negative() && min <= max).then_some(Self { min, max })
    }

    /// The shortest span.
    #[must_use]
    pub const fn min(self) -> SignedDuration {
        self.min
    }

    /// The longest span.
    #[must_use]
    pub const fn max(self) -> SignedDuration {
        self.max
    }

    /// The span at `share` (0 to 1) of the way from the shortest to the longest; `share` outside
    /// of that range is clamped, and one that is not a number counts as 0.
    #[must_use]
    pub fn at(self, share: f64) -> SignedDuration {
        let width = (self.max - self.min).as_millis() as f64;
        let share = if share.is_nan() {
            0.0
        } else {
            share.clamp(0.0, 1.0)
        };
        self.min + SignedDuration::from_millis((width * share) as i64)
    }
}

impl fmt::Display for DurationRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}..{:#}", self.min, self.max)
    }
}

/// What bounds every change of one tenant. The guards judge against it at execution time.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardLimits {
    /// The most that the daily budgets of everything able to deliver may sum to.
    pub daily_cap: Money,
    /// No daily budget is set below this; Meta's own minimum, where higher, wins.
    pub min_per_ad_set: Money,
    /// No ad set's daily budget is set above this.
    pub max_per_ad_set: Option<Money>,
    /// No campaign's daily budget, or sum of its ad sets' budgets, is set above this.
    pub max_per_campaign: Option<Money>,
    /// The most that one day may cost when Meta overspends as far as it may.
    pub max_spend_per_day: Option<Money>,
    /// The most that a week, from Sunday on, may cost; seven times the cap when it is not stated.
    pub max_spend_per_week: Option<Money>,
    /// The farthest a budget may stray from any value it held within [`Self::velocity_window`].
    pub max_change: Percentage,
    /// The window of [`Self::max_change`].
    pub velocity_window: SignedDuration,
    /// The farthest a budget may rise above the least value it held within 24 hours.
    pub max_raise_per_day: Percentage,
    /// The farthest a budget may fall below the greatest value it held within 24 hours.
    pub max_cut_per_day: Percentage,
    /// A change smaller than this share of the present budget is not sent.
    pub min_change: Percentage,
    /// The width of the recorded dither around a target budget, on either side.
    pub fuzz: Percentage,
    /// Actions on one campaign and all below it within an hour.
    pub actions_per_campaign_per_hour: u32,
    /// Budget changes of one ad set (or campaign that holds the budget) within 24 hours.
    pub changes_per_ad_set_per_day: u32,
    /// Budgets changed and objects resumed for the tenant within 24 hours, all together.
    pub changes_per_day: u32,
    /// Ads paused for the tenant within 24 hours, kills and rotations together.
    pub kills_per_day: u32,
    /// Whether the last ad of an ad set that delivers may be paused.
    pub may_pause_last_ad: bool,
    /// How long a budget rests after an edit that Meta counted as significant.
    pub significant_edit_quiet: SignedDuration,
    /// How long an object that a person edited is left alone.
    pub human_edit_quiet: SignedDuration,
    /// Whether the vendor is asked before each raise if it would take it.
    pub ask_before_raise: bool,
    /// The random wait before each write.
    pub jitter: DurationRange,
    /// The random wait before each read.
    pub read_jitter: DurationRange,
    /// When the data are too poor to act on.
    pub quality: QualityLimits,
    /// When the policy may act.
    pub calendar: Calendar,
    /// What looks too strange to act on.
    pub breakers: BreakerLimits,
}

/// When a breaker trips, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerLimits {
    /// Spend this many times the usual of these hours trips [`super::safety::Breaker::SpendRate`].
    pub spend_rate: f64,
    /// The window that spend is taken over.
    pub spend_window: SignedDuration,
    /// Less than this share of the daily cap never does.
    pub spend_least: Percentage,
    /// Leads this many times fewer than the money would have bought before trip
    /// [`super::safety::Breaker::CostPerLead`].
    pub cost_jump: f64,
    /// The window that leads and their cost are taken over.
    pub cost_window: SignedDuration,
    /// Fewer expected leads than this say nothing.
    pub cost_leads: f64,
    /// Changes refused by Meta that trip [`super::safety::Breaker::Errors`].
    pub errors: u32,
    /// The window they are counted in.
    pub error_window: SignedDuration,
    /// For how long a tripped breaker holds after what tripped it was last seen.
    pub hold: SignedDuration,
}

/// When the data are too poor to act on: raises *and* cuts are held, never guessed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QualityLimits {
    /// The oldest that the newest complete read of the insights may be.
    pub max_insight_age: SignedDuration,
    /// The oldest that the newest complete read of the CRM may be.
    pub max_crm_age: SignedDuration,
    /// The least share of conversions that must be attributed to an ad.
    pub min_coverage: Percentage,
    /// The trailing window in which the share is taken.
    pub coverage_window: SignedDuration,
    /// Below this many conversions in the window the share says nothing and is not judged.
    pub coverage_min_conversions: u32,
    /// No conversion for this long, where [`Self::silence_expected`] were due, means that the
    /// tracking is broken rather than that the ads are bad.
    pub silence_window: SignedDuration,
    /// How many conversions the time before would lead one to expect in the silent window.
    pub silence_expected: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{millis, seconds};

    #[test]
    fn a_range_has_two_ends_in_order() {
        assert!(DurationRange::new(seconds(3), seconds(18)).is_some());
        assert!(DurationRange::new(seconds(18), seconds(3)).is_none());
        assert!(DurationRange::new(seconds(-1), seconds(3)).is_none());
        assert!(DurationRange::new(seconds(3), seconds(3)).is_some());
    }

    #[test]
    fn a_draw_stays_inside() {
        let range = DurationRange::new(seconds(3), seconds(18)).unwrap();
        for (share, expected) in [
            (0.0, seconds(3)),
            (0.5, millis(10_500)),
            (1.0, seconds(18)),
            (7.0, seconds(18)),
            (-1.0, seconds(3)),
            (f64::NAN, seconds(3)),
        ] {
            assert_eq!(range.at(share), expected, "{share}");
        }
    }
}
