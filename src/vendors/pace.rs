//! Token buckets on our own clock: `governor` keeps the count, the clock that is handed in keeps
//! the time, so a rehearsal that runs faster is limited at its own pace.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::clock::limiter::LimiterClock;
use crate::domain::time::SignedDuration;

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, LimiterClock, NoOpMiddleware<Nanos>>;

/// Buckets, one a key, that together never give more than `limit` tokens in any span of time.
pub(crate) struct Pace<K: Hash + Eq + Clone> {
    limiter: Limiter<K>,
    clock: LimiterClock,
    burst: u32,
}

impl<K: Hash + Eq + Clone> std::fmt::Debug for Pace<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pace(burst {})", self.burst)
    }
}

impl<K: Hash + Eq + Clone> Pace<K> {
    /// At most `limit` tokens (2 or more) in any window of `span`, at most `burst` at once.
    ///
    /// A bucket gives its burst and what it refills within the span, so the burst is taken off
    /// the refill.
    pub(crate) fn new(limit: u32, span: SignedDuration, burst: u32, clock: Arc<dyn Clock>) -> Self {
        let limit = limit.max(2);
        let burst = burst.clamp(1, limit - 1);
        let refill = limit - burst;
        let span = Duration::try_from(span).unwrap_or(Duration::from_secs(1));
        let period = (span / refill).max(Duration::from_nanos(1));
        let burst_cells = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        // A period of more than zero always makes a quota.
        let quota = Quota::with_period(period)
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst_cells);
        let clock = LimiterClock::new(clock);
        Self {
            limiter: RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()),
            clock,
            burst,
        }
    }

    /// The most tokens that can be taken at once.
    pub(crate) fn burst(&self) -> u32 {
        self.burst
    }

    /// Takes `n` tokens, or none and says how long it takes until they are there.
    pub(crate) fn take(&self, key: &K, n: u32) -> Result<(), SignedDuration> {
        let Some(n) = NonZeroU32::new(n.min(self.burst)) else {
            return Ok(());
        };
        match self.limiter.check_key_n(key, n) {
            // More than the burst was asked for, which the line above rules out.
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(governor::clock::Clock::now(&self.clock));
                // The clock has whole microseconds: a wait rounded down would wake too early.
                let micros = wait.as_nanos().div_ceil(1_000).max(1);
                Err(SignedDuration::from_micros(
                    i64::try_from(micros).unwrap_or(i64::MAX),
                ))
            }
        }
    }

    /// Forgets the keys whose buckets are full again.
    pub(crate) fn forget_idle(&self) {
        self.limiter.retain_recent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SteppedClock;
    use crate::domain::time;
    use crate::domain::time::{Timestamp, seconds};
    use proptest::prelude::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn a_bucket_refills_at_its_rate() {
        let clock = SteppedClock::new(time::from_seconds(1_000_000));
        let pace = Pace::new(40, seconds(100), 10, Arc::new(clock.clone()));
        assert_eq!(pace.burst(), 10);
        assert_eq!(pace.take(&1, 10), Ok(()));
        // 30 tokens in 100 s: one takes 3.3 s.
        let wait = pace.take(&1, 1).unwrap_err();
        assert_eq!(wait, SignedDuration::from_micros(3_333_334));
        assert_eq!(pace.take(&2, 1), Ok(()), "another key has its own bucket");
        clock.advance(wait).await;
        assert_eq!(pace.take(&1, 1), Ok(()));
        assert!(pace.take(&1, 1).is_err());
    }

    #[derive(Debug)]
    struct SetClock(Mutex<Timestamp>);

    #[async_trait::async_trait]
    impl Clock for SetClock {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }
        fn wall(&self) -> Timestamp {
            self.now()
        }
        async fn sleep_until(&self, _at: Timestamp, _key: &str) {}
        fn hold(&self) -> crate::clock::Hold {
            crate::clock::Hold::none()
        }
    }

    #[test]
    fn a_clock_set_back_does_not_close_the_bucket() {
        let at = time::from_seconds(1_000_000);
        let clock = Arc::new(SetClock(Mutex::new(at)));
        let pace = Pace::new(40, seconds(100), 10, clock.clone());
        assert_eq!(pace.take(&1, 10), Ok(()));
        *clock.0.lock().unwrap() = time::sub(at, time::days(1));
        assert!(pace.take(&1, 1).unwrap_err() < seconds(4));
        *clock.0.lock().unwrap() = time::add(time::sub(at, time::days(1)), seconds(4));
        assert_eq!(pace.take(&1, 1), Ok(()));
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_limit(
            limit in 2_u32..200,
            span in 1_i64..400,
            burst in 1_u32..100,
            steps in proptest::collection::vec((0_i64..20_000, 1_u32..40), 1..200),
        ) {
            let clock = Arc::new(SetClock(Mutex::new(time::from_seconds(1_000_000))));
            let pace = Pace::new(limit, seconds(span), burst, clock.clone());
            let mut given: Vec<(Timestamp, u32)> = Vec::new();
            for (millis, n) in steps {
                let now = time::add(clock.now(), time::millis(millis));
                *clock.0.lock().unwrap() = now;
                let n = n.min(pace.burst());
                if pace.take(&0, n).is_ok() {
                    given.push((now, n));
                }
                let from = time::sub(now, seconds(span));
                let sum: u32 = given.iter().filter(|(at, _)| *at > from).map(|(_, n)| n).sum();
                prop_assert!(sum <= limit, "{sum} of {limit}");
            }
        }
    }
}
