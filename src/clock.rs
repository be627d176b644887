//! Time as a value that is handed in: the machine's, a faster one for rehearsals, and one that
//! steps from due time to due time.
//!
//! # Holds
//!
//! [`SteppedClock`] moves only when nothing is in flight. Whatever is under way says so by a
//! [`Hold`]: a message carries one until its handler has returned, a request until it is answered.
//! [`Clock::sleep_until`] is called *under* a hold, sets it aside while it waits and takes it up
//! again before it returns, so there is no instant between "woken" and "at work" in which time
//! could run away. On the machine's clock a hold is nothing.

pub(crate) mod limiter;
pub(crate) mod together;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};

use crate::domain::time::{self, SignedDuration, Timestamp};

/// Where a component reads the time and waits for it.
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time that decisions, schedules and vendors live by.
    fn now(&self) -> Timestamp;

    /// The machine's own time, for leases, heartbeats and time-outs, which a rehearsal must not
    /// speed up. On a stepped clock the same as [`Clock::now`].
    fn wall(&self) -> Timestamp;

    /// The span of [`Clock::now`] that goes by while `span` goes by on the machine: leases must
    /// outlast work that takes real time, however fast a rehearsal runs.
    fn stretch(&self, span: SignedDuration) -> SignedDuration {
        span
    }

    /// Waits until [`Clock::now`] is at least `at`; returns at once when it is. To be called under
    /// a [`Hold`]. Of sleepers due at the same instant a stepped clock wakes the one with the
    /// least `key` first, each only when the one before has let go.
    async fn sleep_until(&self, at: Timestamp, key: &str);

    /// Says that something is in flight until the value is dropped.
    fn hold(&self) -> Hold;
}

/// Time since the machine started, on a clock that nobody sets and that goes on while the machine
/// sleeps or the process is stopped: what leases are watched by.
#[must_use]
pub fn since_boot() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    std::time::Duration::new(seconds, nanos)
}

/// Waits in the machine's own time, whatever time the rest lives by: for leases and heartbeats, which
/// other processes measure.
#[expect(
    clippy::disallowed_methods,
    reason = "what other processes measure cannot be rehearsed at another speed"
)]
pub async fn wall_sleep(span: std::time::Duration) {
    tokio::time::sleep(span).await;
}

/// Waits for `span` on `clock`; see [`Clock::sleep_until`].
pub async fn sleep(clock: &dyn Clock, span: SignedDuration, key: &str) {
    clock.sleep_until(time::add(clock.now(), span), key).await;
}

/// Something in flight; see the module's page.
#[derive(Debug)]
pub struct Hold(Option<Arc<Shared>>);

impl Hold {
    /// A hold on nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        match &self.0 {
            Some(shared) => shared.hold(),
            None => Self(None),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            let mut state = shared.lock();
            state.let_go();
            state.step();
        }
    }
}

/// The machine's clock, or a scaled one for rehearsals: `epoch + speed * (wall - anchor)`.
#[derive(Debug, Clone)]
pub struct SystemClock {
    speed: f64,
    epoch: Timestamp,
    anchor: Timestamp,
}

impl SystemClock {
    /// The machine's own time.
    #[must_use]
    pub fn real() -> Self {
        Self {
            speed: 1.0,
            epoch: Timestamp::UNIX_EPOCH,
            anchor: Timestamp::UNIX_EPOCH,
        }
    }

    /// A clock that read `epoch` when the machine's read `anchor` and runs `speed` times as fast.
    #[must_use]
    pub fn scaled(speed: f64, epoch: Timestamp, anchor: Timestamp) -> Self {
        Self {
            speed,
            epoch,
            anchor,
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that all others are handed"
    )]
    fn machine() -> Timestamp {
        time::from_micros(time::to_micros(Timestamp::now()))
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let wall = Self::machine();
        if (self.speed - 1.0).abs() < f64::EPSILON && self.epoch == self.anchor {
            return wall;
        }
        let elapsed = time::between(self.anchor, wall).as_secs_f64() * self.speed;
        let elapsed = SignedDuration::try_from_secs_f64(elapsed).unwrap_or(SignedDuration::MAX);
        time::from_micros(time::to_micros(time::add(self.epoch, elapsed)))
    }

    fn wall(&self) -> Timestamp {
        Self::machine()
    }

    fn stretch(&self, span: SignedDuration) -> SignedDuration {
        let seconds = span.as_secs_f64() * self.speed.max(1.0);
        SignedDuration::try_from_secs_f64(seconds).unwrap_or(span)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that sleeps for everyone"
    )]
    async fn sleep_until(&self, at: Timestamp, _key: &str) {
        loop {
            let left = time::between(self.now(), at).as_secs_f64() / self.speed;
            if left <= 0.0 {
                return;
            }
            // In slices, so that a machine that was suspended or had its clock set wakes on time.
            let slice = std::time::Duration::from_secs_f64(left.clamp(0.000_5, 30.0));
            tokio::time::sleep(slice).await;
        }
    }

    fn hold(&self) -> Hold {
        Hold::none()
    }
}

/// A clock that stands still while anything is in flight and otherwise steps to the next due time.
/// It never passes its limit, so a test or a demo runs it exactly as far as it wants.
#[derive(Debug, Clone)]
pub struct SteppedClock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    me: std::sync::Weak<Shared>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    limit: Timestamp,
    holds: usize,
    next: u64,
    sleepers: BTreeMap<(Timestamp, Arc<str>, u64), oneshot::Sender<()>>,
    /// The limit that was reached with nothing in flight.
    reached: watch::Sender<Timestamp>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self) -> Hold {
        self.lock().holds += 1;
        Hold(self.me.upgrade())
    }
}

impl State {
    fn let_go(&mut self) {
        debug_assert!(self.holds > 0, "somebody sleeps who holds nothing");
        self.holds = self.holds.saturating_sub(1);
    }

    /// Wakes sleepers one after the other while nothing is in flight.
    fn step(&mut self) {
        while self.holds == 0 {
            let due = self.sleepers.first_key_value().map(|((at, ..), _)| *at);
            if due.is_none_or(|at| at > self.limit) {
                self.now = self.now.max(self.limit);
                let limit = self.limit;
                self.reached
                    .send_if_modified(|seen| std::mem::replace(seen, limit) != limit);
                return;
            }
            let Some(((at, ..), waker)) = self.sleepers.pop_first() else {
                return;
            };
            self.now = self.now.max(at);
            // On behalf of the sleeper, which takes it up as its own. One that is being given up at
            // this instant counts on it too: it no longer finds itself listed, and lets go.
            self.holds += 1;
            let _ = waker.send(());
        }
    }
}

impl SteppedClock {
    /// A clock that reads `start` and stays there until it is told to run.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        let start = time::from_micros(time::to_micros(start));
        let (reached, _) = watch::channel(start);
        let state = State {
            now: start,
            limit: start,
            holds: 0,
            next: 0,
            sleepers: BTreeMap::new(),
            reached,
        };
        Self(Arc::new_cyclic(|me| Shared {
            state: Mutex::new(state),
            me: me.clone(),
        }))
    }

    /// Lets time run to `limit` and returns when it is there and nothing is in flight.
    /// The caller must not be under a hold of its own.
    pub async fn run_until(&self, limit: Timestamp) {
        let limit = time::from_micros(time::to_micros(limit));
        let mut reached = {
            let mut state = self.0.lock();
            // A limit that was reached before counts only if nothing is in flight now.
            state.reached.send_replace(Timestamp::MIN);
            let receiver = state.reached.subscribe();
            state.limit = state.limit.max(limit);
            state.step();
            receiver
        };
        // The sender lives in the clock that we hold, so waiting can only end by reaching.
        let _ = reached.wait_for(|seen| *seen >= limit).await;
    }

    /// Lets `span` go by; see [`SteppedClock::run_until`].
    pub async fn advance(&self, span: SignedDuration) {
        let limit = time::add(self.now(), span);
        self.run_until(limit).await;
    }
}

/// A sleeper that has set its hold aside; takes it up again if it is given up before it woke.
struct Waiting<'a> {
    shared: &'a Shared,
    key: (Timestamp, Arc<str>, u64),
    woken: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.woken {
            let mut state = self.shared.lock();
            // If it is no longer listed, the clock has already counted a hold for it.
            if state.sleepers.remove(&self.key).is_some() {
                state.holds += 1;
            }
        }
    }
}

#[async_trait]
impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        self.0.lock().now
    }

    fn wall(&self) -> Timestamp {
        self.now()
    }

    async fn sleep_until(&self, at: Timestamp, key: &str) {
        let (waker, woken) = oneshot::channel();
        let mut waiting = {
            let mut state = self.0.lock();
            if at <= state.now {
                return;
            }
            state.next += 1;
            let key = (at, Arc::from(key), state.next);
            state.sleepers.insert(key.clone(), waker);
            state.let_go();
            Waiting {
                shared: &self.0,
                key,
                woken: false,
            }
        };
        self.0.lock().step();
        waiting.woken = woken.await.is_ok();
    }

    fn hold(&self) -> Hold {
        self.0.hold()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        time::from_seconds(s)
    }

    #[tokio::test]
    async fn it_steps_to_due_times_in_order_and_by_key() {
        let clock = SteppedClock::new(at(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let hold = clock.hold();
        for (due, key) in [(20, "b"), (10, "z"), (20, "a")] {
            let (clock, seen, hold) = (clock.clone(), seen.clone(), clock.hold());
            tokio::spawn(async move {
                clock.sleep_until(at(due), key).await;
                tokio::task::yield_now().await; // time must stand still meanwhile
                seen.lock().unwrap().push((clock.now(), key));
                drop(hold);
            });
        }
        drop(hold);
        clock.run_until(at(15)).await;
        assert_eq!(*seen.lock().unwrap(), [(at(10), "z")]);
        assert_eq!(clock.now(), at(15));
        clock.run_until(at(30)).await;
        assert_eq!(
            *seen.lock().unwrap(),
            [(at(10), "z"), (at(20), "a"), (at(20), "b")]
        );
    }

    #[tokio::test]
    async fn a_hold_stops_time() {
        let clock = SteppedClock::new(at(0));
        let hold = clock.hold();
        let runner = tokio::spawn({
            let clock = clock.clone();
            async move { clock.run_until(at(5)).await }
        });
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(clock.now(), at(0));
        drop(hold);
        runner.await.unwrap();
        assert_eq!(clock.now(), at(5));
    }

    #[tokio::test]
    async fn a_sleep_given_up_neither_holds_nor_frees() {
        let clock = SteppedClock::new(at(0));
        let hold = clock.hold();
        {
            let sleep = clock.sleep_until(at(100), "x");
            tokio::pin!(sleep);
            assert!(futures_util::poll!(&mut sleep).is_pending());
        }
        drop(hold);
        clock.run_until(at(200)).await;
        assert_eq!(clock.now(), at(200));
        assert_eq!(clock.0.lock().holds, 0);
    }

    /// Given up on one thread while another one wakes it: whichever comes first, the count is right.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_sleep_given_up_as_it_wakes_is_counted_once() {
        let clock = SteppedClock::new(at(0));
        let mut due = 0;
        for _ in 0..2_000 {
            due += 10;
            let hold = clock.hold();
            let sleeper = tokio::spawn({
                let (clock, hold) = (clock.clone(), clock.hold());
                async move {
                    clock.sleep_until(at(due), "x").await;
                    drop(hold);
                }
            });
            tokio::task::yield_now().await;
            drop(hold);
            let run = tokio::spawn({
                let clock = clock.clone();
                async move { clock.run_until(at(due)).await }
            });
            sleeper.abort();
            let _ = sleeper.await;
            run.await.unwrap();
            assert_eq!(clock.0.lock().holds, 0);
        }
    }

    #[test]
    fn a_scaled_clock_runs_faster_from_its_epoch() {
        let anchor = SystemClock::real().now();
        let clock = SystemClock::scaled(1_000_000.0, at(0), anchor);
        let real = SystemClock::real();
        let begin = real.now();
        while time::between(begin, real.now()) < time::millis(5) {
            std::hint::spin_loop();
        }
        assert!(clock.now() >= at(5_000), "{}", clock.now());
        assert!(time::between(clock.wall(), real.now()) < time::minutes(1));
    }
}
