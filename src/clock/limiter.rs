//! Our clock for `governor`, which keeps the count of token buckets: a rehearsal that runs faster is
//! limited at its own pace.

use std::sync::{Arc, Mutex, PoisonError};

use governor::nanos::Nanos;

use super::Clock;
use crate::domain::time;

/// Our clock as governor reads it. It never runs backwards: when the machine's clock is set back,
/// the buckets go on filling from where they were, instead of standing still until it caught up.
#[derive(Debug, Clone)]
pub(crate) struct LimiterClock {
    clock: Arc<dyn Clock>,
    /// The last reading, and what is added to the clock's, both in microseconds.
    seen: Arc<Mutex<(i64, i64)>>,
}

impl LimiterClock {
    /// Reads `clock`.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            seen: Arc::default(),
        }
    }
}

impl governor::clock::Clock for LimiterClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let raw = time::to_micros(self.clock.now());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, added) = *seen;
        let reading = raw.saturating_add(added);
        *seen = if reading < last {
            (last, last.saturating_sub(raw))
        } else {
            (reading, added)
        };
        Nanos::new(u64::try_from(seen.0).unwrap_or(0).saturating_mul(1_000))
    }
}
