//! HubSpot's limits, kept for one portal: its burst and its searches are paced on our clock by what
//! HubSpot's answers say is left, less what other software of the customer's is to have; a 429 makes
//! all calls of the portal wait. Source: HubSpot, "API usage guidelines".

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::clock::Clock;
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::vendors::pace::Pace;

/// The longest that a call waits for its turn; what takes longer is left for later.
const PATIENCE: SignedDuration = time::minutes(1);
/// The most calls of a portal that are under way at once.
const WIDEST: f64 = 8.0;

/// What a portal may be asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PortalLimits {
    /// Calls in ten seconds, until HubSpot's answers say how many there are. 100 for Free and
    /// Starter, 190 above.
    pub per_ten_seconds: u32,
    /// Searches a second; HubSpot allows five to all software together.
    pub searches_per_second: u32,
    /// The share of the ten seconds' calls that is left to others, from 0 to 1.
    pub burst_left: f64,
    /// The share of the day's calls that is left to others, from 0 to 1.
    pub day_left: f64,
}

impl Default for PortalLimits {
    fn default() -> Self {
        Self {
            per_ten_seconds: 100,
            searches_per_second: 3,
            burst_left: 0.5,
            day_left: 0.3,
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

/// What HubSpot's answer says is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Left {
    /// Calls in an interval, in all and left.
    burst: Option<(u32, u32)>,
    interval: Option<SignedDuration>,
    /// Calls in a day, in all and left.
    day: Option<(u64, u64)>,
}

impl Left {
    fn read(headers: &HeaderMap) -> Self {
        let number = |name: &str| {
            let text = headers.get(name)?.to_str().ok()?;
            text.trim().parse::<u64>().ok()
        };
        let small = |name: &str| number(name).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let interval = number("x-hubspot-ratelimit-interval-milliseconds")
            .and_then(|millis| i64::try_from(millis).ok())
            .map(|millis| time::millis(millis.clamp(1, 3_600_000)));
        Self {
            burst: small("x-hubspot-ratelimit-max")
                .filter(|most| *most > 0)
                .zip(small("x-hubspot-ratelimit-remaining")),
            interval,
            day: number("x-hubspot-ratelimit-daily")
                .filter(|most| *most > 0)
                .zip(number("x-hubspot-ratelimit-daily-remaining")),
        }
    }
}

/// How many calls may be under way at once: one more for each round that went well, half as many
/// after a refusal or a fault.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Width(f64);

impl Width {
    fn grow(&mut self) {
        self.0 = (self.0 + 1.0 / self.0).min(WIDEST);
    }

    fn shrink(&mut self) {
        self.0 = (self.0 / 2.0).max(1.0);
    }

    fn calls(self) -> usize {
        // From 1 to 8.
        self.0 as usize
    }
}

#[derive(Debug)]
struct Calls {
    /// When calls were made within the interval.
    made: VecDeque<Timestamp>,
    most: u32,
    interval: SignedDuration,
    width: Width,
    /// Until when calls rest, by whether they are searches.
    blocked: BTreeMap<bool, Timestamp>,
}

/// The pace of one portal.
#[derive(Debug)]
pub(super) struct PortalPace {
    limits: PortalLimits,
    calls: Mutex<Calls>,
    searches: Pace<()>,
    clock: Arc<dyn Clock>,
}

impl PortalPace {
    pub(super) fn new(limits: PortalLimits, clock: Arc<dyn Clock>) -> Self {
        let searches = limits.searches_per_second.max(1);
        Self {
            limits,
            calls: Mutex::new(Calls {
                made: VecDeque::new(),
                most: limits.per_ten_seconds,
                interval: time::seconds(10),
                width: Width(2.0),
                blocked: BTreeMap::new(),
            }),
            // One more in the span, since one at once is taken off the refill.
            searches: Pace::new(searches + 1, time::seconds(1), 1, clock.clone()),
            clock,
        }
    }

    /// Waits until a call may be made; `Err` says how long it would take where that is too long to
    /// wait for. To be called under a hold.
    pub(super) async fn turn(&self, is_search: bool, key: &str) -> Result<(), SignedDuration> {
        loop {
            let now = self.clock.now();
            let wait = match self.rests_for(is_search, now) {
                Some(wait) => wait,
                None if is_search => match self.searches.take(&(), 1) {
                    Ok(()) => return Ok(()),
                    Err(wait) => wait,
                },
                None => match self.take(now) {
                    Ok(()) => return Ok(()),
                    Err(wait) => wait,
                },
            };
            if wait > PATIENCE {
                return Err(wait);
            }
            self.clock.sleep_until(time::add(now, wait), key).await;
        }
    }

    /// Counts one more call within our share of the interval.
    fn take(&self, now: Timestamp) -> Result<(), SignedDuration> {
        let mut calls = self.lock();
        let interval = calls.interval;
        // A clock that was set back has made calls in the future, which count for nothing.
        let is_over = |at: &Timestamp| time::between(*at, now) >= interval || *at > now;
        while calls.made.front().is_some_and(is_over) {
            calls.made.pop_front();
        }
        let share = f64::from(calls.most) * (1.0 - self.limits.burst_left);
        if calls.made.len() < (share as usize).max(1) {
            calls.made.push_back(now);
            return Ok(());
        }
        let first = calls.made.front().copied().unwrap_or(now);
        Err(time::between(now, time::add(first, interval)).max(time::millis(1)))
    }

    /// How many calls may be under way at once.
    pub(super) fn width(&self) -> usize {
        self.lock().width.calls()
    }

    /// Heeds an answer that came, whatever it says.
    pub(super) fn heed(&self, headers: &HeaderMap) {
        let left = Left::read(headers);
        let now = self.clock.now();
        let mut rest = None;
        {
            let mut calls = self.lock();
            if let Some(interval) = left.interval {
                calls.interval = interval;
            }
            if let Some((most, remaining)) = left.burst {
                calls.most = most;
                // Others have used up their part and more.
                if remaining < most / 20 {
                    rest = Some(calls.interval / 2);
                }
            }
        }
        if let Some((most, remaining)) = left.day
            && (remaining as f64) < most as f64 * self.limits.day_left
        {
            // The day ends at a midnight that we do not know: asked again each hour.
            rest = Some(Policy::Daily.wait(1));
        }
        if let Some(rest) = rest {
            self.rest_until(false, time::add(now, rest));
        }
    }

    /// Notes that a call went well, or did not.
    pub(super) fn note(&self, is_well: bool) {
        let mut calls = self.lock();
        if is_well {
            calls.width.grow();
        } else {
            calls.width.shrink();
        }
    }

    fn rests_for(&self, is_search: bool, now: Timestamp) -> Option<SignedDuration> {
        let until = self.lock().blocked.get(&is_search).copied();
        until
            .filter(|until| *until > now)
            .map(|until| time::between(now, until))
    }

    /// Lets no call (or no search) pass for `span`.
    pub(super) fn rest(&self, is_search: bool, span: SignedDuration) {
        self.rest_until(is_search, time::add(self.clock.now(), span));
    }

    fn rest_until(&self, is_search: bool, until: Timestamp) {
        let mut calls = self.lock();
        let known = calls.blocked.entry(is_search).or_insert(until);
        *known = until.max(*known);
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
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
                    pace.turn(is_search, "hubspot").await.unwrap();
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
    async fn searches_are_three_a_second() {
        let times = turns(true, 31).await;
        // To the limiter's own precision.
        let took = time::between(times[0], times[30]) - time::seconds(10);
        assert!(took.abs() < time::millis(1), "{took:#}");
    }

    fn stepped() -> (SteppedClock, PortalPace) {
        let clock = SteppedClock::new(time::from_seconds(1_800_000_000));
        let pace = PortalPace::new(PortalLimits::default(), Arc::new(clock.clone()));
        (clock, pace)
    }

    fn headers(of: &[(&'static str, u64)]) -> HeaderMap {
        of.iter()
            .map(|(name, n)| (name.parse().unwrap(), (*n).into()))
            .collect()
    }

    #[tokio::test]
    async fn a_rest_holds_all_calls_of_its_kind() {
        let (clock, pace) = stepped();
        pace.rest(false, time::seconds(10));
        pace.rest(false, time::seconds(1));
        let now = clock.now();
        assert_eq!(pace.rests_for(true, now), None);
        assert_eq!(pace.rests_for(false, now), Some(time::seconds(10)));
        let until = time::add(now, time::seconds(10));
        assert_eq!(pace.rests_for(false, until), None);
        // What takes an hour is not waited for.
        pace.rest(false, time::hours(1));
        assert_eq!(pace.turn(false, "hubspot").await, Err(time::hours(1)));
    }

    #[test]
    fn answers_say_how_much_there_is() {
        let (clock, pace) = stepped();
        let now = clock.now();
        let fits = |pace: &PortalPace| (0..500).take_while(|_| pace.take(now).is_ok()).count();
        pace.heed(&headers(&[
            ("x-hubspot-ratelimit-max", 190),
            ("x-hubspot-ratelimit-remaining", 189),
            ("x-hubspot-ratelimit-interval-milliseconds", 10_000),
        ]));
        assert_eq!(fits(&pace), 95);
        assert_eq!(pace.rests_for(false, now), None);
        // Others are busy.
        pace.heed(&headers(&[
            ("x-hubspot-ratelimit-max", 190),
            ("x-hubspot-ratelimit-remaining", 4),
        ]));
        assert_eq!(pace.rests_for(false, now), Some(time::seconds(5)));
    }

    #[test]
    fn a_part_of_the_day_is_left_to_others() {
        let day = |left| {
            let (clock, pace) = stepped();
            pace.heed(&headers(&[
                ("x-hubspot-ratelimit-daily", 250_000),
                ("x-hubspot-ratelimit-daily-remaining", left),
            ]));
            pace.rests_for(false, clock.now())
        };
        assert_eq!(day(75_001), None);
        assert_eq!(day(74_999), Some(time::hours(1)));
    }

    #[test]
    fn the_width_grows_by_rounds_and_halves() {
        let (_, pace) = stepped();
        let mut widths = vec![pace.width()];
        for _ in 0..60 {
            pace.note(true);
            widths.push(pace.width());
        }
        assert!(widths.is_sorted() && widths[60] == 8, "{widths:?}");
        pace.note(false);
        assert_eq!(pace.width(), 4);
        (0..9).for_each(|_| pace.note(false));
        assert_eq!(pace.width(), 1);
    }
}
