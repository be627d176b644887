//! Meta's quotas: the account's score, the hourly use-case quota, the burst of writes and the app's
//! own, with the headers that tell of them. All counted from real calls.

use std::collections::VecDeque;

use serde_json::json;

use crate::domain::time::{self, SignedDuration, Timestamp};

use super::super::AccessTier;
use super::errors::Error;

/// A call that was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Throttle {
    pub error: Error,
    /// Whether the block was already on: such a call lengthens it.
    pub was_blocked: bool,
}

/// Counts by minute over the last hour.
#[derive(Debug, Default)]
struct Hour(VecDeque<(i64, u64)>);

impl Hour {
    fn add(&mut self, now: Timestamp) {
        let minute = time::to_micros(now).div_euclid(60_000_000);
        match self.0.back_mut() {
            Some((last, n)) if *last == minute => *n += 1,
            _ => self.0.push_back((minute, 1)),
        }
    }

    fn count(&mut self, now: Timestamp) -> u64 {
        let minute = time::to_micros(now).div_euclid(60_000_000);
        while self.0.front().is_some_and(|(at, _)| *at <= minute - 60) {
            self.0.pop_front();
        }
        self.0.iter().map(|(_, n)| n).sum()
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100) / whole.max(1)
}

const fn tier_name(tier: AccessTier) -> &'static str {
    match tier {
        AccessTier::Development => "development_access",
        AccessTier::Full => "standard_access",
    }
}

/// One ad account's counters.
#[derive(Debug)]
pub(in crate::sandbox) struct AccountUsage {
    tier: AccessTier,
    points: f64,
    counted_at: Timestamp,
    blocked_until: Option<Timestamp>,
    writes: VecDeque<Timestamp>,
    management: Hour,
    insights: Hour,
}

impl AccountUsage {
    pub(in crate::sandbox) fn new(tier: AccessTier) -> Self {
        Self {
            tier,
            points: 0.0,
            counted_at: Timestamp::MIN,
            blocked_until: None,
            writes: VecDeque::new(),
            management: Hour::default(),
            insights: Hour::default(),
        }
    }

    const fn score(&self) -> (f64, SignedDuration) {
        match self.tier {
            AccessTier::Development => (60.0, time::seconds(300)),
            AccessTier::Full => (9_000.0, time::seconds(60)),
        }
    }

    const fn quota(&self, is_insights: bool, active_ads: u64) -> u64 {
        match (self.tier, is_insights) {
            (AccessTier::Development, false) => 300 + 40 * active_ads,
            (AccessTier::Full, false) => 100_000 + 40 * active_ads,
            (AccessTier::Development, true) => 600 + 400 * active_ads,
            (AccessTier::Full, true) => 190_000 + 400 * active_ads,
        }
    }

    fn decay(&mut self, now: Timestamp) {
        // "Decays over 300 s": a full score is empty after that.
        let (max, _) = self.score();
        let secs = if self.counted_at == Timestamp::MIN {
            0.0
        } else {
            time::between(self.counted_at, now).as_secs_f64().max(0.0)
        };
        self.points = (self.points - max * secs / 300.0).max(0.0);
        self.counted_at = now;
    }

    /// Counts a call: 1 point for a read, 3 for a write.
    pub(super) fn charge(
        &mut self,
        is_write: bool,
        is_insights: bool,
        active_ads: u64,
        now: Timestamp,
    ) -> Result<(), Throttle> {
        self.decay(now);
        let (max, block) = self.score();
        let blocked = |was_blocked| Throttle {
            error: Error::throttled_account(),
            was_blocked,
        };
        if self.blocked_until.is_some_and(|until| now < until) {
            self.blocked_until = Some(time::add(now, block));
            return Err(blocked(true));
        }
        let cost = if is_write { 3.0 } else { 1.0 };
        if self.points + cost > max {
            self.blocked_until = Some(time::add(now, block));
            return Err(blocked(false));
        }
        self.points += cost;
        let quota = self.quota(is_insights, active_ads);
        let hour = if is_insights {
            &mut self.insights
        } else {
            &mut self.management
        };
        if hour.count(now) >= quota {
            let code = if is_insights { 80_000 } else { 80_004 };
            let message = format!(
                "(#{code}) There have been too many calls to this ad-account. Wait a bit and try again."
            );
            return Err(Throttle {
                error: Error::new(code, 2_446_079, message),
                was_blocked: false,
            });
        }
        hour.add(now);
        if is_write {
            while self
                .writes
                .front()
                .is_some_and(|at| time::between(*at, now) >= time::seconds(1))
            {
                self.writes.pop_front();
            }
            if self.writes.len() >= 100 {
                return Err(Throttle {
                    error: Error::new(
                        613,
                        5_044_001,
                        "(#613) Calls to this api have exceeded the rate limit.".to_owned(),
                    ),
                    was_blocked: false,
                });
            }
            self.writes.push_back(now);
        }
        Ok(())
    }

    /// The headers about the account.
    pub(super) fn headers(
        &mut self,
        account: &str,
        active_ads: u64,
        now: Timestamp,
    ) -> Vec<(String, String)> {
        self.decay(now);
        let (max, _) = self.score();
        let tier = tier_name(self.tier);
        let blocked = self.blocked_until.filter(|until| now < *until);
        let wait = blocked.map_or(0, |until| time::between(now, until).as_secs());
        let score = if blocked.is_some() {
            100.0
        } else {
            (self.points / max * 10_000.0).round() / 100.0
        };
        let reset = if blocked.is_some() {
            wait
        } else {
            (self.points / max * 300.0).ceil() as i64
        };
        let mut rows = Vec::new();
        for (kind, is_insights) in [("ads_management", false), ("ads_insights", true)] {
            let quota = self.quota(is_insights, active_ads);
            let hour = if is_insights {
                &mut self.insights
            } else {
                &mut self.management
            };
            let used = percent(hour.count(now), quota);
            rows.push(json!({
                "type": kind,
                "call_count": used,
                "total_cputime": used / 2,
                "total_time": used / 2,
                "estimated_time_to_regain_access": if used >= 100 { 60 } else { (wait + 59) / 60 },
                "ads_api_access_tier": tier,
            }));
        }
        let insights_used = percent(self.insights.count(now), self.quota(true, active_ads));
        vec![
            (
                "x-ad-account-usage".to_owned(),
                json!({"acc_id_util_pct": score, "reset_time_duration": reset,
                    "ads_api_access_tier": tier})
                .to_string(),
            ),
            (
                "x-business-use-case-usage".to_owned(),
                json!({ account: rows }).to_string(),
            ),
            (
                "x-fb-ads-insights-throttle".to_owned(),
                json!({"app_id_util_pct": insights_used, "acc_id_util_pct": insights_used,
                    "ads_api_access_tier": tier})
                .to_string(),
            ),
        ]
    }
}

/// The app's counter, across all its accounts.
#[derive(Debug)]
pub(in crate::sandbox) struct AppUsage {
    quota: u64,
    calls: Hour,
}

impl AppUsage {
    pub(in crate::sandbox) fn new(tier: AccessTier) -> Self {
        Self {
            quota: match tier {
                AccessTier::Development => 5_000,
                AccessTier::Full => 200_000,
            },
            calls: Hour::default(),
        }
    }

    pub(super) fn charge(&mut self, now: Timestamp) -> Result<(), Throttle> {
        if self.calls.count(now) >= self.quota {
            return Err(Throttle {
                error: Error::new(4, 0, "(#4) Application request limit reached".to_owned()),
                was_blocked: true,
            });
        }
        self.calls.add(now);
        Ok(())
    }

    pub(super) fn header(&mut self, now: Timestamp) -> (String, String) {
        let used = percent(self.calls.count(now), self.quota);
        (
            "x-app-usage".to_owned(),
            json!({"call_count": used, "total_time": used / 2, "total_cputime": used / 2})
                .to_string(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        time::from_seconds(1_000_000 + s)
    }

    #[test]
    fn sixty_points_then_a_block_that_calls_lengthen() {
        let mut usage = AccountUsage::new(AccessTier::Development);
        for _ in 0..20 {
            usage.charge(true, false, 5, at(0)).unwrap();
        }
        let first = usage.charge(false, false, 5, at(0)).unwrap_err();
        assert_eq!((first.error.code, first.error.subcode), (17, 2_446_079));
        assert!(!first.was_blocked);
        let again = usage.charge(false, false, 5, at(299)).unwrap_err();
        assert!(again.was_blocked);
        assert!(
            usage
                .charge(false, false, 5, at(598))
                .unwrap_err()
                .was_blocked
        );
        assert!(usage.charge(false, false, 5, at(900)).is_ok());
    }

    #[test]
    fn the_score_decays() {
        let mut usage = AccountUsage::new(AccessTier::Development);
        for _ in 0..20 {
            usage.charge(true, false, 5, at(0)).unwrap();
        }
        assert!(usage.charge(true, false, 5, at(20)).is_ok());
        let headers = usage.headers("1", 5, at(20));
        assert!(headers[0].1.contains("98.33"), "{}", headers[0].1);
    }
}
