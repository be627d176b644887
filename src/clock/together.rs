//! Things under way together on one task, in stepped time too: as many holds as are awake, so that
//! time moves only when all of them sleep.

use std::future::Future;
use std::pin::pin;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::{Clock, Hold};

/// Carries out two things at once. To be called under a hold, which the first of them takes.
pub(crate) async fn both<A, B>(clock: &dyn Clock, a: A, b: B) -> (A::Output, B::Output)
where
    A: Future,
    B: Future,
{
    let second = clock.hold();
    match select(pin!(a), pin!(b)).await {
        Either::Left((a, b)) => {
            drop(second);
            (a, b.await)
        }
        Either::Right((b, a)) => {
            drop(second);
            (a.await, b)
        }
    }
}

/// Carries out many things, at most `width` of them at once, which is asked for before each; the
/// outcomes are in the order of the things. The first fault ends all. To be called under a hold.
///
/// # Errors
/// With the first fault.
pub(crate) async fn all<T, E, F>(
    clock: &dyn Clock,
    width: impl Fn() -> usize,
    things: Vec<F>,
) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    // Let go after those that run, which take up their own when they are given up asleep.
    let mut holds: Vec<Hold> = Vec::new();
    let mut done: Vec<(usize, T)> = Vec::with_capacity(things.len());
    let mut waiting = things.into_iter().enumerate();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < width().max(1) {
            let Some((place, thing)) = waiting.next() else {
                break;
            };
            // The first goes under the caller's hold, and one that follows another under that one's.
            if holds.len() < running.len() {
                holds.push(clock.hold());
            }
            running.push(async move { (place, thing.await) });
        }
        holds.truncate(running.len().saturating_sub(1));
        match running.next().await {
            Some((place, outcome)) => done.push((place, outcome?)),
            None => break,
        }
    }
    done.sort_unstable_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, outcome)| outcome).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SteppedClock, sleep};
    use crate::domain::time;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn sleeps_overlap_and_no_more_than_allowed_run() {
        let clock = SteppedClock::new(time::from_seconds(1_800_000_000));
        let start = clock.now();
        let hold = clock.hold();
        let task = tokio::spawn({
            let clock = clock.clone();
            async move {
                let (awake, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
                let things: Vec<_> = (1..=9)
                    .map(|n| {
                        let (clock, awake, most) = (&clock, &awake, &most);
                        async move {
                            let now = awake.fetch_add(1, Ordering::Relaxed) + 1;
                            most.fetch_max(now, Ordering::Relaxed);
                            tokio::task::yield_now().await;
                            sleep(clock, time::seconds(10 - n), "thing").await;
                            awake.fetch_sub(1, Ordering::Relaxed);
                            Ok::<_, ()>(n)
                        }
                    })
                    .collect();
                let done = all(&clock, || 3, things).await.unwrap();
                assert_eq!(done, (1..=9).collect::<Vec<_>>());
                assert_eq!(most.load(Ordering::Relaxed), 3);
                let long = sleep(&clock, time::seconds(5), "long");
                let short = sleep(&clock, time::seconds(2), "short");
                both(&clock, long, short).await;
                let ended = clock.now();
                drop(hold);
                ended
            }
        });
        clock.advance(time::hours(1)).await;
        let took = time::between(start, task.await.unwrap());
        // 9, 8 and 7 seconds begin; each that ends lets the next begin, so that three end at 13 and the
        // last at 16; and five at the end.
        assert_eq!(took, time::seconds(16 + 5));
    }

    #[tokio::test]
    async fn a_fault_ends_those_that_sleep() {
        let clock = SteppedClock::new(time::from_seconds(1_800_000_000));
        let hold = clock.hold();
        let task = tokio::spawn({
            let clock = clock.clone();
            async move {
                let things: Vec<_> = [5, 1, 7]
                    .into_iter()
                    .map(|n| {
                        let clock = &clock;
                        async move {
                            sleep(clock, time::seconds(n), "thing").await;
                            if n == 1 { Err("one") } else { Ok(n) }
                        }
                    })
                    .collect();
                let ended = all(&clock, || 8, things).await;
                let at = clock.now();
                drop(hold);
                (ended, at)
            }
        });
        clock.advance(time::hours(1)).await;
        let (ended, at) = task.await.unwrap();
        assert_eq!(ended, Err("one"));
        assert_eq!(at, time::from_seconds(1_800_000_001));
    }
}
