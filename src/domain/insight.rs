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
            Self::Hour(day, hour) => time::add(time::hour_start(day, hour, zone), time::hours(1)),
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
