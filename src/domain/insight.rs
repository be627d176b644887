//! Delivery figures of an ad as Meta reports them. A later report of the same window replaces the
//! earlier one: Meta restates the last days of spend, and adding them would count money twice.

use super::ids::{AdId, AdSetId, CampaignId};
use super::money::Money;
use super::time::{self, Date, TimeZone, Timestamp};

/// The window that a row of figures covers, in the ad account's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReportWindow {
    /// A whole day.
    Day(Date),
    /// An hour of a day, 0 to 23. Of the hour that a clock change repeats Meta gives one row.
    Hour(Date, u8),
}

impl ReportWindow {
    /// The day it lies in.
    #[must_use]
    pub const fn day(self) -> Date {
        match self {
            Self::Day(day) | Self::Hour(day, _) => day,
        }
    }

    /// The hour, for an hourly row.
    #[must_use]
    pub const fn hour(self) -> Option<u8> {
        match self {
            Self::Day(_) => None,
            Self::Hour(_, hour) => Some(hour),
        }
    }

    /// When it begins in `zone`.
    #[must_use]
    pub fn begins(self, zone: &TimeZone) -> Timestamp {
        match self {
            Self::Day(day) => time::day_start(day, zone),
            Self::Hour(day, hour) => time::hour_start(day, hour, zone),
        }
    }

    /// When it ends in `zone`.
    #[must_use]
    pub fn ends(self, zone: &TimeZone) -> Timestamp {
        match self {
            Self::Day(day) => time::day_start(time::add_days(day, 1), zone),
            // The row of an hour that a clock change repeats covers both of them, and that of one
            // that it skips covers none: it ends where the next hour of the clock begins.
            Self::Hour(day, hour) if hour >= 23 => time::day_start(time::add_days(day, 1), zone),
            Self::Hour(day, hour) => time::hour_start(day, hour + 1, zone),
        }
    }
}

/// The count of one kind of action. Kinds overlap (`lead` holds the pixel's and the form's leads):
/// they must never be summed.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionCount {
    /// Meta's `action_type`.
    pub kind: String,
    /// How many.
    pub count: f64,
}

/// One ad's figures in one window.
#[derive(Debug, Clone, PartialEq)]
pub struct AdInsight {
    /// The ad.
    pub ad: AdId,
    /// Its ad set.
    pub ad_set: AdSetId,
    /// Its campaign.
    pub campaign: CampaignId,
    /// What the row covers.
    pub window: ReportWindow,
    /// Times shown.
    pub impressions: u64,
    /// Link clicks.
    pub clicks: u64,
    /// Money spent; not negative.
    pub spend: Money,
    /// People reached, on daily rows.
    pub reach: Option<u64>,
    /// Actions that Meta itself counted.
    pub actions: Vec<ActionCount>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of a day's hours, in minutes.
    fn hours(day: &str, zone: &str) -> Vec<i64> {
        let zone = TimeZone::get(zone).unwrap();
        let day = time::parse_date(day).unwrap();
        let mut at = ReportWindow::Day(day).begins(&zone);
        let mut lengths = Vec::new();
        for hour in 0..24 {
            let window = ReportWindow::Hour(day, hour);
            // Hours lie end to end, whatever the clock does.
            assert_eq!(window.begins(&zone), at, "{day} {hour}");
            at = window.ends(&zone);
            lengths.push(time::between(window.begins(&zone), at).as_mins());
        }
        assert_eq!(at, ReportWindow::Day(day).ends(&zone), "{day}");
        lengths
    }

    fn check(day: &str, zone: &str, odd: &[(usize, i64)]) {
        let mut expected = vec![60; 24];
        for (hour, length) in odd {
            expected[*hour] = *length;
        }
        assert_eq!(hours(day, zone), expected, "{day} in {zone}");
    }

    #[test]
    fn the_hours_of_a_day_of_a_clock_change_are_as_long_as_they_were() {
        check("2026-11-24", "Europe/Berlin", &[]);
        check("2026-03-29", "Europe/Berlin", &[(2, 0)]);
        check("2026-10-25", "Europe/Berlin", &[(2, 120)]);
        check("2026-03-08", "America/New_York", &[(2, 0)]);
        check("2026-11-01", "America/New_York", &[(1, 120)]);
        // By half an hour, and at midnight.
        check("2026-10-04", "Australia/Lord_Howe", &[(2, 30)]);
        check("2026-04-05", "Australia/Lord_Howe", &[(1, 90)]);
        check("2026-09-06", "America/Santiago", &[(0, 0)]);
    }
}
