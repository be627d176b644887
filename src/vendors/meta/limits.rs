//! Meta's four systems of limits as numbers and counters; pure. Any of them may bite, and each
//! counts for itself:
//!
//! 1. the ad account's score: a read is 1 point, a write 3, and it decays ([`score`]);
//! 2. bursts of writes: [`MUTATIONS_PER_SECOND`] for an app and account;
//! 3. use cases: calls of an account in a rolling hour, the more the more ads are active
//!    ([`quota`]), counted by a [`Meter`] that believes Meta's headers more than the formula;
//! 4. insights of the whole app, of which only a header and an error tell.
//!
//! Source: Meta, "Rate limiting" (Marketing API).

use std::collections::VecDeque;

use super::usage::AccessTier;
use crate::domain::time::{self, SignedDuration, Timestamp};

/// Points that a read costs.
pub const READ_POINTS: u32 = 1;
/// Points that a write costs.
pub const WRITE_POINTS: u32 = 3;
/// Writes that Meta takes within a second from one app for one account.
pub const MUTATIONS_PER_SECOND: u32 = 100;
/// The span over which use cases count.
pub const HOUR: SignedDuration = time::hours(1);
/// Fewer own calls, or a smaller percentage, tell nothing of the whole: Meta rounds.
const LEARN_CALLS: u64 = 20;
const LEARN_PERCENT: f64 = 5.0;

/// An account's score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// The most points.
    pub points: u32,
    /// How long a full score takes to decay.
    pub decay: SignedDuration,
    /// How long calls are refused once it was full; calls made meanwhile lengthen that.
    pub block: SignedDuration,
}

/// The score of a tier.
#[must_use]
pub const fn score(tier: AccessTier) -> Score {
    let decay = time::seconds(300);
    match tier {
        AccessTier::Development => Score {
            points: 60,
            decay,
            block: time::seconds(300),
        },
        AccessTier::Full => Score {
            points: 9_000,
            decay,
            block: time::seconds(60),
        },
    }
}

/// What calls are for, as Meta counts them by the hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UseCase {
    /// Reading and changing campaigns, ad sets and ads.
    Management,
    /// Reading figures.
    Insights,
    /// Reading the leads of lead forms.
    Leads,
}

impl UseCase {
    /// Every use case.
    pub const ALL: [Self; 3] = [Self::Management, Self::Insights, Self::Leads];

    /// Meta's name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Management => "ads_management",
            Self::Insights => "ads_insights",
            Self::Leads => "leadgen",
        }
    }

    /// The use case of a limit that a header names; `None` for limits that concern every call, and
    /// for those of use cases that roasd has none of, which only make it slower than it need be.
    #[must_use]
    pub fn of_limit(name: &str) -> Option<Self> {
        match name {
            // `insights` is the platform's own limit, of another header.
            "insights" => Some(Self::Insights),
            _ => Self::ALL.into_iter().find(|case| case.as_str() == name),
        }
    }
}

/// Calls of an account in a rolling hour; `None` where Meta's number needs what roasd does not
/// know (leads: 4,800 for each lead of the last 90 days, in a day).
#[must_use]
pub fn quota(case: UseCase, tier: AccessTier, active_ads: u64, user_errors: u64) -> Option<f64> {
    let (base, each, error) = match (case, tier) {
        (UseCase::Management, AccessTier::Development) => (300.0, 40.0, 0.0),
        (UseCase::Management, AccessTier::Full) => (100_000.0, 40.0, 0.0),
        (UseCase::Insights, AccessTier::Development) => (600.0, 400.0, 0.001),
        (UseCase::Insights, AccessTier::Full) => (190_000.0, 400.0, 0.001),
        (UseCase::Leads, _) => return None,
    };
    let quota: f64 = base + each * active_ads as f64 - error * user_errors as f64;
    Some(quota.max(1.0))
}

/// Counts by minute over the last hour: 61 numbers at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollingHour(VecDeque<(i64, u64)>);

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

impl RollingHour {
    /// Counts `n` at `now`. What a clock that was set back counts goes to the last minute known.
    pub fn add(&mut self, now: Timestamp, n: u64) {
        self.forget(now);
        match self.0.back_mut() {
            Some((last, count)) if *last >= minute(now) => *count += n,
            _ => self.0.push_back((minute(now), n)),
        }
    }

    /// How many in the hour before `now`, to the minute and never too few.
    #[must_use]
    pub fn count(&self, now: Timestamp) -> u64 {
        let first = minute(now) - 60;
        let counted = self.0.iter().filter(|(at, _)| *at >= first);
        counted.map(|(_, n)| n).sum()
    }

    /// When so much has fallen out that less than `most` is left.
    #[must_use]
    pub fn falls_below(&self, most: f64, now: Timestamp) -> Timestamp {
        let mut left = self.count(now) as f64;
        let first = minute(now) - 60;
        for (at, n) in self.0.iter().filter(|(at, _)| *at >= first) {
            if left < most {
                break;
            }
            left -= *n as f64;
            let out = time::from_seconds((at + 61) * 60);
            if left < most {
                return out.max(now);
            }
        }
        now
    }

    fn forget(&mut self, now: Timestamp) {
        while self.0.front().is_some_and(|(at, _)| *at < minute(now) - 60) {
            self.0.pop_front();
        }
    }
}

/// The calls of one use case of one account, and what they are a part of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Meter {
    calls: RollingHour,
    errors: RollingHour,
    learned: Option<f64>,
}

impl Meter {
    /// Counts a call.
    pub fn call(&mut self, now: Timestamp) {
        self.calls.add(now, 1);
    }

    /// Counts an error that was our own fault.
    pub fn user_error(&mut self, now: Timestamp) {
        self.errors.add(now, 1);
    }

    /// Learns from the percentage of calls that a header tells. Own calls that make up so much say
    /// how many there may be: fewer than the formula's where other software calls as well, more
    /// where more ads are active than roasd knows of.
    pub fn learn(&mut self, percent: f64, now: Timestamp) {
        let own = self.calls.count(now);
        if own >= LEARN_CALLS && percent >= LEARN_PERCENT {
            self.learned = Some((own as f64 * 100.0 / percent).max(1.0));
        }
    }

    /// The quota that is counted by.
    #[must_use]
    pub fn quota(
        &self,
        case: UseCase,
        tier: AccessTier,
        active_ads: u64,
        now: Timestamp,
    ) -> Option<f64> {
        // What was learned from an hour without calls is out of date.
        let learned = self.learned.filter(|_| self.calls.count(now) > 0);
        learned.or_else(|| quota(case, tier, active_ads, self.errors.count(now)))
    }

    /// Percent used by own calls, and when that will have fallen below `stop_at` percent.
    #[must_use]
    pub fn used(&self, quota: Option<f64>, stop_at: f64, now: Timestamp) -> (f64, Timestamp) {
        let Some(quota) = quota else {
            return (0.0, now);
        };
        let percent = self.calls.count(now) as f64 * 100.0 / quota;
        let most = quota * stop_at / 100.0;
        (percent, self.calls.falls_below(most, now))
    }

    /// Whether nothing of it counts any more.
    #[must_use]
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.calls.count(now) == 0 && self.errors.count(now) == 0
    }
}

/// The place of an account in a span over which many of them are spread, from 0 to 1; the same in
/// every process and for ever (FNV-1a, and its upper bits mixed once more).
#[must_use]
pub fn place(account: &str) -> f64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in account.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        time::from_seconds(1_800_000_000 + seconds)
    }

    #[test]
    fn quotas_are_those_of_the_formula() {
        use AccessTier::{Development, Full};
        let check = |case, tier, ads, errors, expected| {
            assert_eq!(
                quota(case, tier, ads, errors),
                expected,
                "{case:?} {tier:?}"
            );
        };
        check(UseCase::Management, Development, 0, 0, Some(300.0));
        check(UseCase::Management, Development, 10, 9_999, Some(700.0));
        check(UseCase::Management, Full, 10_000, 0, Some(500_000.0));
        check(UseCase::Insights, Development, 5, 0, Some(2_600.0));
        check(UseCase::Insights, Development, 5, 1_000, Some(2_599.0));
        check(UseCase::Insights, Full, 1, 0, Some(190_400.0));
        check(UseCase::Leads, Full, 1, 0, None);
    }

    #[test]
    fn an_hour_rolls() {
        let mut hour = RollingHour::default();
        for n in 0..120 {
            hour.add(at(n * 60), 1);
            assert!(hour.0.len() <= 61);
        }
        let now = at(119 * 60);
        assert_eq!(hour.count(now), 61, "to the minute, never too few");
        assert_eq!(hour.count(at(119 * 60 + 3_660)), 0);
        // Eleven must fall out before fewer than 51 are left.
        let below = hour.falls_below(51.0, now);
        assert!(hour.count(below) < 51, "{}", hour.count(below));
        assert!(hour.count(time::sub(below, time::seconds(1))) >= 51);
        assert_eq!(hour.falls_below(1_000.0, now), now);
    }

    #[test]
    fn a_clock_that_was_set_back_counts_on() {
        let mut hour = RollingHour::default();
        hour.add(at(7_200), 5);
        hour.add(at(0), 1);
        assert_eq!(hour.count(at(0)), 6);
        assert_eq!(hour.0.len(), 1);
    }

    #[test]
    fn a_meter_believes_the_header_more_than_the_formula() {
        let mut meter = Meter::default();
        let quota_of =
            |meter: &Meter| meter.quota(UseCase::Management, AccessTier::Development, 5, at(0));
        for _ in 0..19 {
            meter.call(at(0));
        }
        meter.learn(50.0, at(0));
        assert_eq!(quota_of(&meter), Some(500.0), "too few calls to tell");
        meter.call(at(0));
        meter.learn(4.0, at(0));
        assert_eq!(quota_of(&meter), Some(500.0), "too few percent to tell");
        meter.learn(50.0, at(0));
        assert_eq!(quota_of(&meter), Some(40.0), "others call as well");
        let (percent, until) = meter.used(quota_of(&meter), 90.0, at(0));
        assert!((percent - 50.0).abs() < 1e-9);
        assert_eq!(until, at(0));
        let (_, until) = meter.used(Some(20.0), 90.0, at(0));
        assert_eq!(time::between(at(0), until), time::minutes(61));
        assert!(meter.is_idle(at(3_700)));
    }

    #[test]
    fn a_thousand_accounts_lie_evenly() {
        let mut slots = [0; 100];
        for n in 0..1_000 {
            let place = place(&format!("act_{}", 100_000_000 + n));
            assert!((0.0..1.0).contains(&place));
            slots[(place * 100.0) as usize] += 1;
        }
        let most = slots.iter().max().unwrap();
        assert!(*most <= 25, "{most} of a thousand in one hundredth");
    }
}
