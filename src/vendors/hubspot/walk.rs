//! Walks the search past its cap of 10,000 hits; pure.
//!
//! A window is read oldest first, and each further page begins at the time of the last hit
//! instead of at an offset: a deal that is changed meanwhile leaves the window, and offsets behind
//! it would shift by one and skip a deal. So no query ever comes near the cap either. A millisecond
//! with more deals than a page holds (a bulk import) is read by id. The caller chooses the window:
//! from the stored watermark less an overlap, to now less the time the index lags, and moves the
//! watermark only once the walk is done and stored.

use std::collections::BTreeSet;

use super::SearchPage;
use crate::domain::ids::DealId;
use crate::domain::time::{self, Timestamp};

/// One search to make, 200 hits a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// Deals changed between two times (both inclusive), oldest first.
    Window {
        /// From.
        from: Timestamp,
        /// To.
        to: Timestamp,
        /// Page cursor; the walk never uses it.
        after: Option<String>,
    },
    /// Deals changed at exactly one millisecond, with an id above one, by id.
    Instant {
        /// The millisecond.
        at: Timestamp,
        /// Ids above this one.
        above: Option<DealId>,
        /// Page cursor; the walk never uses it.
        after: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Window,
    Instant { above: Option<DealId> },
    Done,
}

/// A walk through one window. [`Walk::next`] says what to ask,
/// [`Walk::feed`] takes the answer; a call that failed is simply made again.
#[derive(Debug, Clone)]
pub struct Walk {
    from: Timestamp,
    to: Timestamp,
    at: At,
    /// Deals given out that were changed at `from`: the next page begins with them again.
    seen: BTreeSet<DealId>,
}

impl Walk {
    /// A walk through the deals changed from `from` to `to`, both inclusive, in whole
    /// milliseconds.
    #[must_use]
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        let whole = |at: Timestamp| time::from_millis(at.as_millisecond());
        Self {
            from: whole(from),
            to: whole(to),
            at: if from > to { At::Done } else { At::Window },
            seen: BTreeSet::new(),
        }
    }

    /// The walk's place in words, from which [`Walk::resumed`] goes on. `None` when it is done.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        let (from, to) = (self.from.as_millisecond(), self.to.as_millisecond());
        match &self.at {
            At::Window => Some(format!("window {from} {to}")),
            At::Instant { above: None } => Some(format!("instant {from} {to}")),
            At::Instant { above: Some(above) } => Some(format!("instant {from} {to} {above}")),
            At::Done => None,
        }
    }

    /// The walk that was at this place; deals of its millisecond are given out once more. `None` for
    /// what is no place.
    #[must_use]
    pub fn resumed(place: &str) -> Option<Self> {
        let mut words = place.split(' ');
        let kind = words.next()?;
        let mut time = || words.next()?.parse().ok().map(time::from_millis);
        let mut walk = Self::new(time()?, time()?);
        let above = words.next().map(DealId::new).transpose().ok()?;
        match kind {
            "window" => {}
            "instant" => walk.at = At::Instant { above },
            _ => return None,
        }
        Some(walk)
    }

    /// The end of the window.
    #[must_use]
    pub const fn end(&self) -> Timestamp {
        self.to
    }

    /// The search to make, the same until it is answered; `None` when the walk is done.
    #[must_use]
    pub fn next(&self) -> Option<Search> {
        match &self.at {
            At::Window => Some(Search::Window {
                from: self.from,
                to: self.to,
                after: None,
            }),
            At::Instant { above } => Some(Search::Instant {
                at: self.from,
                above: above.clone(),
                after: None,
            }),
            At::Done => None,
        }
    }

    /// Takes the answer to [`Walk::next`] and gives the deals that it brought.
    pub fn feed(&mut self, page: &SearchPage) -> Vec<DealId> {
        match self.at.clone() {
            At::Window => self.window(page),
            At::Instant { above } => self.instant(page, above.as_ref()),
            At::Done => Vec::new(),
        }
    }

    fn window(&mut self, page: &SearchPage) -> Vec<DealId> {
        let last = page.hits.iter().map(|hit| hit.modified_at).max();
        let last = last.map_or(self.from, |last| last.clamp(self.from, self.to));
        let fresh = self.fresh(page);
        let is_whole = u64::try_from(page.hits.len()).is_ok_and(|n| n >= page.total);
        if page.hits.is_empty() || is_whole {
            self.at = At::Done;
        } else if last > self.from {
            self.from = last;
            self.seen = page
                .hits
                .iter()
                .filter(|hit| hit.modified_at >= last)
                .map(|hit| hit.id.clone())
                .collect();
        } else {
            // A whole page of one millisecond: asking again would bring the same page.
            self.at = At::Instant { above: None };
        }
        fresh
    }

    fn instant(&mut self, page: &SearchPage, above: Option<&DealId>) -> Vec<DealId> {
        let fresh = self.fresh(page);
        let last = page
            .hits
            .iter()
            .map(|hit| &hit.id)
            .max_by_key(|id| rank(id));
        let is_whole = u64::try_from(page.hits.len()).is_ok_and(|n| n >= page.total);
        match last {
            // An answer that leads no further would be asked for without end.
            Some(last) if !is_whole && above.is_none_or(|above| rank(above) < rank(last)) => {
                self.at = At::Instant {
                    above: Some(last.clone()),
                };
            }
            Some(_) | None => {
                self.from = time::add(self.from, time::millis(1));
                self.seen.clear();
                self.at = if self.from > self.to {
                    At::Done
                } else {
                    At::Window
                };
            }
        }
        fresh
    }

    fn fresh(&mut self, page: &SearchPage) -> Vec<DealId> {
        page.hits
            .iter()
            .filter(|hit| self.seen.insert(hit.id.clone()))
            .map(|hit| hit.id.clone())
            .collect()
    }
}

/// Ids are numbers without leading zeros: the longer one is the larger.
fn rank(id: &DealId) -> (usize, &str) {
    (id.as_str().len(), id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::hubspot::ChangedDeal;
    use proptest::prelude::*;

    const PAGE: usize = 200;
    const CAP: usize = 10_000;

    fn deal(id: u64, millis: i64) -> ChangedDeal {
        ChangedDeal {
            id: DealId::new(id.to_string()).unwrap(),
            modified_at: time::from_millis(millis),
        }
    }

    /// The search as documented: its order among equal times is any, here by `mix`.
    fn answer(deals: &[ChangedDeal], search: &Search, page: usize, mix: u64) -> SearchPage {
        let number = |id: &DealId| id.as_str().parse::<u64>().unwrap();
        let mut hits: Vec<_> = deals
            .iter()
            .filter(|d| match search {
                Search::Window { from, to, .. } => (*from..=*to).contains(&d.modified_at),
                Search::Instant { at, above, .. } => {
                    d.modified_at == *at && above.as_ref().is_none_or(|a| number(&d.id) > number(a))
                }
            })
            .cloned()
            .collect();
        match search {
            Search::Window { .. } => hits.sort_by_key(|d| {
                let shuffled = number(&d.id).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ mix);
                (d.modified_at, shuffled)
            }),
            Search::Instant { .. } => hits.sort_by_key(|d| number(&d.id)),
        }
        let total = hits.len() as u64;
        hits.truncate(page.min(CAP));
        SearchPage {
            total,
            hits,
            after: None,
        }
    }

    fn walk(deals: &[ChangedDeal], from: i64, to: i64, page: usize) -> (Vec<DealId>, u64) {
        let mut walk = Walk::new(time::from_millis(from), time::from_millis(to));
        let mut found = Vec::new();
        let mut calls = 0;
        while let Some(search) = walk.next() {
            calls += 1;
            assert!(calls < 100_000, "the walk does not end");
            found.extend(walk.feed(&answer(deals, &search, page, calls)));
        }
        (found, calls)
    }

    fn expected(deals: &[ChangedDeal], from: i64, to: i64) -> Vec<DealId> {
        let window = time::from_millis(from)..=time::from_millis(to);
        let inside = deals.iter().filter(|d| window.contains(&d.modified_at));
        let mut ids: Vec<_> = inside.map(|d| d.id.clone()).collect();
        ids.sort();
        ids
    }

    #[test]
    fn more_than_the_cap_in_all_and_in_one_millisecond() {
        let mut deals: Vec<_> = (0..12_000)
            .map(|n| deal(n + 1, 1_000 + n as i64 / 3))
            .collect();
        deals.extend((0..10_500).map(|n| deal(20_000 + n, 3_000)));
        let (mut found, calls) = walk(&deals, 0, 1_000_000, PAGE);
        found.sort();
        assert_eq!(found, expected(&deals, 0, 1_000_000));
        assert!(calls < 130, "{calls} calls for 22,500 deals");
    }

    #[test]
    fn a_deal_that_leaves_while_walking_hides_no_other() {
        let mut deals: Vec<_> = (0..1_000).map(|n| deal(n + 1, 1_000 + n as i64)).collect();
        let mut walk = Walk::new(time::from_millis(0), time::from_millis(5_000));
        let mut found = Vec::new();
        let mut round = 0;
        while let Some(search) = walk.next() {
            found.extend(walk.feed(&answer(&deals, &search, PAGE, 1)));
            // The oldest deals are changed, so all others move up.
            for deal in deals.iter_mut().skip(round * 7).take(7) {
                deal.modified_at = time::from_millis(9_000);
            }
            round += 1;
        }
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 1_000);
    }

    #[test]
    fn an_empty_window_takes_one_call_and_a_turned_one_none() {
        assert_eq!(walk(&[], 0, 10, PAGE), (Vec::new(), 1));
        assert_eq!(walk(&[], 10, 0, PAGE), (Vec::new(), 0));
    }

    #[test]
    fn what_is_no_place_is_not_gone_on_with() {
        for bad in ["", "window", "window 1", "window a b", "house 1 2"] {
            assert!(Walk::resumed(bad).is_none(), "{bad}");
        }
        let place = "instant 5 9 123";
        assert_eq!(
            Walk::resumed(place).unwrap().place().as_deref(),
            Some(place)
        );
    }

    #[test]
    fn ids_are_ordered_as_numbers() {
        // As text 9 is above 10, and the walk would go round for ever.
        let deals: Vec<_> = (8..=12).map(|n| deal(n, 5)).collect();
        let (mut found, _) = walk(&deals, 0, 10, 2);
        found.sort();
        assert_eq!(found, expected(&deals, 0, 10));
    }

    proptest! {
        #[test]
        fn a_walk_that_is_broken_off_anywhere_misses_none(
            times in proptest::collection::vec(0_i64..30, 0..300),
            page in 1_usize..30,
            breaks in proptest::collection::vec(1_u64..6, 1..20),
        ) {
            let deals: Vec<_> = (1..).zip(&times).map(|(n, at)| deal(n, *at)).collect();
            let mut walk = Walk::new(time::from_millis(0), time::from_millis(40));
            let mut found = BTreeSet::new();
            let mut breaks = breaks.into_iter().cycle();
            let mut left = breaks.next().unwrap();
            let mut calls = 0;
            while let Some(search) = walk.next() {
                calls += 1;
                prop_assert!(calls < 10_000, "the walk does not end");
                found.extend(walk.feed(&answer(&deals, &search, page, calls)));
                left -= 1;
                if left == 0 && let Some(place) = walk.place() {
                    walk = Walk::resumed(&place).unwrap();
                    left = breaks.next().unwrap();
                }
                left = left.max(1);
            }
            let found: Vec<_> = found.into_iter().collect();
            prop_assert_eq!(found, expected(&deals, 0, 40));
        }

        #[test]
        fn every_changed_deal_is_given_once(
            times in proptest::collection::vec(0_i64..60, 0..400),
            from in 0_i64..30,
            length in 0_i64..60,
            page in 1_usize..30,
        ) {
            let deals: Vec<_> = times
                .iter()
                .enumerate()
                .map(|(n, at)| deal(n as u64 + 1, *at))
                .collect();
            let (mut found, _) = walk(&deals, from, from + length, page);
            found.sort();
            prop_assert_eq!(found, expected(&deals, from, from + length));
        }
    }
}
