//! When a failed child is started again, and when its parent gives up. Pure; knows no actor.

use std::collections::VecDeque;

use crate::domain::time::{self, SignedDuration, Timestamp};

/// How a supervisor treats failures of one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// The longest wait after the first failure; doubles with each further one.
    pub first_delay: SignedDuration,
    /// The longest wait of all.
    pub longest_delay: SignedDuration,
    /// This many failures are borne within the window; the next one escalates.
    pub intensity: usize,
    /// The window in which failures are counted.
    pub window: SignedDuration,
    /// After so long without a failure the delay starts from the beginning.
    pub clean_after: SignedDuration,
}

impl RestartPolicy {
    /// For a stage of a tenant: 1 s doubling to 5 min, five failures in ten minutes.
    pub const STAGE: Self = Self {
        first_delay: time::seconds(1),
        longest_delay: time::minutes(5),
        intensity: 5,
        window: time::minutes(10),
        clean_after: time::minutes(10),
    };

    /// For a tenant: 30 s doubling to 30 min, three failures in two hours.
    pub const TENANT: Self = Self {
        first_delay: time::seconds(30),
        longest_delay: time::minutes(30),
        intensity: 3,
        window: time::hours(2),
        clean_after: time::hours(2),
    };
}

/// What a supervisor does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Start the child again after this long.
    RestartAfter(SignedDuration),
    /// Too many failures: it is the parent's turn.
    Escalate,
}

/// The failures of one child.
#[derive(Debug, Clone)]
pub struct Failures {
    policy: RestartPolicy,
    recent: VecDeque<Timestamp>,
    in_a_row: u32,
    total: u64,
}

impl Failures {
    /// A child that has not failed yet.
    #[must_use]
    pub fn new(policy: RestartPolicy) -> Self {
        Self {
            policy,
            recent: VecDeque::new(),
            in_a_row: 0,
            total: 0,
        }
    }

    /// Counts a failure at `now`. `share`, from 0 to 1, is the random part of the wait (full
    /// jitter), so that children felled by one cause do not come back in step.
    pub fn record(&mut self, now: Timestamp, share: f64) -> Verdict {
        let quiet = self.recent.back().map(|last| time::between(*last, now));
        if quiet.is_some_and(|quiet| quiet >= self.policy.clean_after) {
            self.in_a_row = 0;
        }
        while self
            .recent
            .front()
            .is_some_and(|first| time::between(*first, now) >= self.policy.window)
        {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.total += 1;
        if self.recent.len() > self.policy.intensity {
            return Verdict::Escalate;
        }
        let doublings = self.in_a_row.min(30);
        self.in_a_row += 1;
        let ceiling = self
            .policy
            .first_delay
            .as_millis()
            .saturating_mul(1_i128 << doublings)
            .min(self.policy.longest_delay.as_millis());
        let share = if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            1.0
        };
        let wait = (ceiling as f64 * share) as i64;
        Verdict::RestartAfter(time::millis(wait.max(1)))
    }

    /// Failures in all.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        time::from_seconds(s)
    }

    #[test]
    fn the_delay_doubles_up_to_its_bound() {
        let policy = RestartPolicy {
            intensity: 100,
            ..RestartPolicy::STAGE
        };
        let mut failures = Failures::new(policy);
        let delays: Vec<_> = (0..11).map(|i| failures.record(at(i), 1.0)).collect();
        let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300];
        assert_eq!(
            delays,
            expected.map(|s| Verdict::RestartAfter(time::seconds(s)))
        );
    }

    #[test]
    fn the_sixth_failure_of_a_stage_in_ten_minutes_escalates() {
        let mut failures = Failures::new(RestartPolicy::STAGE);
        for i in 0..5 {
            assert!(
                matches!(failures.record(at(i), 0.5), Verdict::RestartAfter(_)),
                "{i}"
            );
        }
        assert_eq!(failures.record(at(599), 0.5), Verdict::Escalate);
        assert_eq!(failures.total(), 6);
    }

    #[test]
    fn failures_outside_the_window_do_not_count() {
        let mut failures = Failures::new(RestartPolicy::STAGE);
        for i in 0..50 {
            let verdict = failures.record(at(i * 130), 0.0);
            assert!(matches!(verdict, Verdict::RestartAfter(_)), "{i}");
        }
    }

    #[test]
    fn health_brings_the_delay_back_to_its_beginning() {
        let mut failures = Failures::new(RestartPolicy::STAGE);
        failures.record(at(0), 1.0);
        failures.record(at(1), 1.0);
        assert_eq!(
            failures.record(at(700), 1.0),
            Verdict::RestartAfter(time::seconds(1))
        );
    }

    #[test]
    fn the_random_part_is_all_of_the_delay() {
        let mut failures = Failures::new(RestartPolicy::STAGE);
        assert_eq!(
            failures.record(at(0), 0.25),
            Verdict::RestartAfter(time::millis(250))
        );
        assert_eq!(
            failures.record(at(1), 0.0),
            Verdict::RestartAfter(time::millis(1))
        );
    }
}
