//! HubSpot's limits, kept for one portal: its burst and its searches are paced on our clock, and
//! a 429 makes all calls of the portal wait. Source: HubSpot, "API usage guidelines".

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::clock::Clock;
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::vendors::pace::Pace;

/// What a portal may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortalLimits {
    /// Calls in ten seconds, of which we use half: other software of the customer's needs some.
    /// 100 for Free and Starter, 190 above.
    pub per_ten_seconds: u32,
    /// Searches a second; HubSpot allows five to all software together.
    pub searches_per_second: u32,
}

impl Default for PortalLimits {
    fn default() -> Self {
        Self {
            per_ten_seconds: 100,
            searches_per_second: 4,
        }
    }
}

/// Which limit a 429 is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The day's calls are used up, until midnight of the portal.
    Daily,
    /// The ten seconds' calls.
    TenSeconds,
    /// The second's searches.
    Second,
}

impl Policy {
    /// Reads a 429's body.
    #[must_use]
    pub fn read(body: Option<&Value>) -> Self {
        let text = |key| body.and_then(|body| body.get(key)).and_then(Value::as_str);
        match text("policyName") {
            Some("DAILY") => Self::Daily,
            Some("SECONDLY") => Self::Second,
            Some("TEN_SECONDLY_ROLLING") => Self::TenSeconds,
            // The search's answer is known by its message alone.
            _ => match text("message").map(str::to_lowercase) {
                Some(message) if message.contains("daily") => Self::Daily,
                Some(message) if message.contains("ten_secondly") => Self::TenSeconds,
                Some(message) if message.contains("secondly") => Self::Second,
                _ => Self::TenSeconds,
            },
        }
    }

    /// How long to wait after the `attempt`-th refusal (from 1). The day's end is at a midnight
    /// that we do not know, so it is asked again each hour.
    #[must_use]
    pub fn wait(self, attempt: u32) -> SignedDuration {
        let times = i64::from(attempt.clamp(1, 10));
        match self {
            Self::Daily => time::hours(1),
            Self::TenSeconds => time::seconds(10 * times),
            Self::Second => time::seconds(times),
        }
    }
}

/// The pace of one portal.
#[derive(Debug)]
pub(super) struct PortalPace {
    calls: Pace<()>,
    searches: Pace<()>,
    /// Until when calls rest, by whether they are searches.
    blocked: Mutex<BTreeMap<bool, Timestamp>>,
    clock: Arc<dyn Clock>,
}

impl PortalPace {
    pub(super) fn new(limits: PortalLimits, clock: Arc<dyn Clock>) -> Self {
        let calls = limits.per_ten_seconds / 2;
        let searches = limits.searches_per_second.max(1);
        Self {
            calls: Pace::new(calls, time::seconds(10), calls / 2, clock.clone()),
            // One more in the span, since one at once is taken off the refill.
            searches: Pace::new(searches + 1, time::seconds(1), 1, clock.clone()),
            blocked: Mutex::default(),
            clock,
        }
    }

    /// Waits until a call may be made. To be called under a hold.
    pub(super) async fn turn(&self, is_search: bool, key: &str) {
        loop {
            let now = self.clock.now();
            if let Some(until) = self.blocked_until(is_search, now) {
                self.clock.sleep_until(until, key).await;
                continue;
            }
            let pace = if is_search {
                &self.searches
            } else {
                &self.calls
            };
            match pace.take(&(), 1) {
                Ok(()) => return,
                Err(wait) => self.clock.sleep_until(time::add(now, wait), key).await,
            }
        }
    }

    fn blocked_until(&self, is_search: bool, now: Timestamp) -> Option<Timestamp> {
        let blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        blocked
            .get(&is_search)
            .copied()
            .filter(|until| *until > now)
    }

    /// Lets no call (or no search) pass for `span`.
    pub(super) fn rest(&self, is_search: bool, span: SignedDuration) {
        let until = time::add(self.clock.now(), span);
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        let known = blocked.entry(is_search).or_insert(until);
        *known = until.max(*known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SteppedClock;
    use serde_json::json;

    #[test]
    fn a_429_says_which_limit() {
        let check = |body: Value, policy, seconds| {
            let found = Policy::read(Some(&body));
            assert_eq!(found, policy, "{body}");
            assert_eq!(found.wait(2), time::seconds(seconds));
        };
        check(json!({"policyName": "DAILY"}), Policy::Daily, 3_600);
        check(
            json!({"policyName": "TEN_SECONDLY_ROLLING"}),
            Policy::TenSeconds,
            20,
        );
        check(json!({"policyName": "SECONDLY"}), Policy::Second, 2);
        check(
            json!({"message": "You have reached your secondly limit."}),
            Policy::Second,
            2,
        );
        check(
            json!({"message": "You have reached your daily limit."}),
            Policy::Daily,
            3_600,
        );
        check(
            json!({"message": "You have reached your ten_secondly_rolling limit."}),
            Policy::TenSeconds,
            20,
        );
        check(json!({}), Policy::TenSeconds, 20);
        assert_eq!(Policy::read(None), Policy::TenSeconds);
    }

    /// The times at which `count` calls pass.
    async fn turns(is_search: bool, count: usize) -> Vec<Timestamp> {
        let clock = SteppedClock::new(time::from_seconds(1_800_000_000));
        let pace = PortalPace::new(PortalLimits::default(), Arc::new(clock.clone()));
        let hold = clock.hold();
        let task = tokio::spawn({
            let clock = clock.clone();
            async move {
                let mut times = Vec::new();
                for _ in 0..count {
                    pace.turn(is_search, "hubspot").await;
                    times.push(clock.now());
                }
                drop(hold);
                times
            }
        });
        clock.advance(time::hours(1)).await;
        task.await.unwrap()
    }

    #[tokio::test]
    async fn half_of_the_burst_is_left_to_others() {
        let times = turns(false, 200).await;
        for end in &times {
            let from = time::sub(*end, time::seconds(10));
            let within = times.iter().filter(|at| **at > from && *at <= end).count();
            assert!(within <= 50, "{within}");
        }
        let all = time::between(times[0], times[199]);
        assert!(all < time::seconds(80), "{all}: the share is used");
    }

    #[tokio::test]
    async fn searches_are_four_a_second() {
        let times = turns(true, 41).await;
        assert_eq!(time::between(times[0], times[40]), time::seconds(10));
    }

    #[tokio::test]
    async fn a_rest_holds_all_calls_of_its_kind() {
        let clock = SteppedClock::new(time::from_seconds(1_800_000_000));
        let pace = PortalPace::new(PortalLimits::default(), Arc::new(clock.clone()));
        pace.rest(false, time::seconds(10));
        pace.rest(false, time::seconds(1));
        let now = clock.now();
        assert_eq!(pace.blocked_until(true, now), None);
        let until = time::add(now, time::seconds(10));
        assert_eq!(pace.blocked_until(false, now), Some(until));
        assert_eq!(pace.blocked_until(false, until), None);
    }
}
