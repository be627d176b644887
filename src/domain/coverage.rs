//! How many conversions get credited, by which layer, and whether that is enough to act on.

use std::collections::BTreeMap;
use std::fmt;

use super::attribution::Method;
use super::attribution::gap::Gap;
use super::money::{Money, Percentage};
use super::time::{self, Date, TimeZone, Timestamp};

/// Deals made at about the same time that were credited alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cohort {
    /// When the quarter of an hour began that they were made in.
    pub at: Timestamp,
    /// The layer that credited them; `None`: credited to nobody.
    pub method: Option<Method>,
    /// Why nobody was; `None` where somebody was, or where nobody has looked yet.
    pub gap: Option<Gap>,
    /// How many.
    pub deals: u64,
    /// What their entries in the ledger come to.
    pub value: Money,
}

/// Conversions of a period, by the layer that credited them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Credited by an id.
    pub url_param: u64,
    /// Credited by a fingerprint.
    pub fingerprint: u64,
    /// Credited by likelihood.
    pub probabilistic: u64,
    /// Credited to nobody.
    pub unattributed: u64,
}

/// Whether the share credited is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoverageVerdict {
    /// Too few conversions to tell; nothing is held for that.
    TooFew,
    /// At or above the floor.
    Enough,
    /// Below the floor: budgets would follow the credited minority.
    Below,
}

impl Coverage {
    /// Counts deals by how they were credited: the one count that guards, reports and gauges go by.
    #[must_use]
    pub fn of(cohorts: &[Cohort]) -> Self {
        let mut coverage = Self::default();
        for cohort in cohorts {
            coverage.add(cohort);
        }
        coverage
    }

    fn add(&mut self, cohort: &Cohort) {
        let count = match cohort.method {
            Some(Method::UrlParam) => &mut self.url_param,
            Some(Method::Fingerprint) => &mut self.fingerprint,
            Some(Method::Probabilistic) => &mut self.probabilistic,
            None => &mut self.unattributed,
        };
        *count = count.saturating_add(cohort.deals);
    }

    /// Conversions credited by `method`.
    #[must_use]
    pub const fn by(&self, method: Method) -> u64 {
        match method {
            Method::UrlParam => self.url_param,
            Method::Fingerprint => self.fingerprint,
            Method::Probabilistic => self.probabilistic,
        }
    }

    /// Conversions credited to an ad.
    #[must_use]
    pub const fn credited(&self) -> u64 {
        self.url_param + self.fingerprint + self.probabilistic
    }

    /// All conversions.
    #[must_use]
    pub const fn conversions(&self) -> u64 {
        self.credited() + self.unattributed
    }

    /// The share credited, 0 to 1; `None` without conversions.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let all = self.conversions();
        (all > 0).then(|| self.credited() as f64 / all as f64)
    }

    /// Whether the share credited reaches `floor`; below `least` conversions it says nothing.
    #[must_use]
    pub fn judge(&self, floor: Percentage, least: u32) -> CoverageVerdict {
        match self.share() {
            Some(share) if self.conversions() >= u64::from(least) => {
                if share >= floor.fraction() {
                    CoverageVerdict::Enough
                } else {
                    CoverageVerdict::Below
                }
            }
            _ => CoverageVerdict::TooFew,
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(share) = self.share() else {
            return f.write_str("no conversions yet");
        };
        write!(
            f,
            "{} of {} conversions credited to an ad ({:.0} %): {} by an id, {} by fingerprint, \
             {} by likelihood",
            self.credited(),
            self.conversions(),
            share * 100.0,
            self.url_param,
            self.fingerprint,
            self.probabilistic
        )
    }
}

/// One day of the ad account.
#[derive(Debug, Clone, PartialEq)]
pub struct DayOfCoverage {
    /// The day.
    pub day: Date,
    /// The deals made on it.
    pub coverage: Coverage,
    /// What Meta counts of the tenant's result action on it; `None` where its figures of that day
    /// were not read.
    pub by_meta: Option<f64>,
}

/// Deals that are credited to nobody for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapCount {
    /// The reason; `None` where nobody has looked since reasons are kept.
    pub gap: Option<Gap>,
    /// How many.
    pub deals: u64,
    /// What their entries in the ledger come to.
    pub value: Money,
}

/// Days side by side, and what is missing in them.
#[derive(Debug, Clone, PartialEq)]
pub struct CoverageDays {
    /// All days from the first to the last, in order.
    pub days: Vec<DayOfCoverage>,
    /// All of them together.
    pub total: Coverage,
    /// Why deals have no ad, the most money first, then the most deals.
    pub gaps: Vec<GapCount>,
}

impl CoverageDays {
    /// The days from `first` to `last` in `zone`, of deals by cohort and Meta's counts by day. Cohorts
    /// of other days are left out.
    #[must_use]
    pub fn of(
        cohorts: &[Cohort],
        by_meta: &BTreeMap<Date, f64>,
        zone: &TimeZone,
        first: Date,
        last: Date,
    ) -> Self {
        let mut days = BTreeMap::new();
        let mut day = first;
        while day <= last {
            days.insert(day, Coverage::default());
            let next = time::add_days(day, 1);
            if next <= day {
                break; // the calendar's end
            }
            day = next;
        }
        let mut total = Coverage::default();
        let mut gaps: BTreeMap<Option<Gap>, GapCount> = BTreeMap::new();
        for cohort in cohorts {
            let Some(of_day) = days.get_mut(&time::day_of(cohort.at, zone)) else {
                continue;
            };
            of_day.add(cohort);
            total.add(cohort);
            if cohort.method.is_none() {
                let count = gaps.entry(cohort.gap).or_insert(GapCount {
                    gap: cohort.gap,
                    deals: 0,
                    value: Money::zero(cohort.value.currency()),
                });
                count.deals = count.deals.saturating_add(cohort.deals);
                // A sum that does not fit stays the largest that did: it is shown, not booked.
                count.value = count.value.checked_add(cohort.value).unwrap_or(count.value);
            }
        }
        let mut gaps: Vec<GapCount> = gaps.into_values().collect();
        gaps.sort_by_key(|gap| std::cmp::Reverse((gap.value.minor(), gap.deals)));
        let days = days.into_iter().map(|(day, coverage)| DayOfCoverage {
            day,
            coverage,
            by_meta: by_meta.get(&day).copied(),
        });
        Self {
            days: days.collect(),
            total,
            gaps,
        }
    }

    /// What Meta counts in all days that its figures were read of; `None` without any.
    #[must_use]
    pub fn by_meta(&self) -> Option<f64> {
        let counts = self.days.iter().filter_map(|day| day.by_meta);
        counts.fold(None, |sum, count| Some(sum.unwrap_or(0.0) + count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;

    fn check(credited: u64, unattributed: u64, expected: CoverageVerdict) {
        let coverage = Coverage {
            url_param: credited,
            unattributed,
            ..Coverage::default()
        };
        let floor = Percentage::from_fraction(0.3).unwrap();
        assert_eq!(coverage.judge(floor, 10), expected, "{coverage}");
    }

    #[test]
    fn the_floor_is_judged_once_there_is_something_to_judge() {
        check(0, 0, CoverageVerdict::TooFew);
        check(0, 9, CoverageVerdict::TooFew);
        check(0, 10, CoverageVerdict::Below);
        check(2, 8, CoverageVerdict::Below);
        check(3, 7, CoverageVerdict::Enough);
        check(10, 0, CoverageVerdict::Enough);
    }

    fn cohort(day: i64, method: Option<Method>, gap: Option<Gap>, deals: u64) -> Cohort {
        Cohort {
            at: time::from_seconds(1_790_000_000 + day * 86_400),
            method,
            gap,
            deals,
            value: Money::from_minor(i64::try_from(deals).unwrap() * 100, Currency::USD),
        }
    }

    #[test]
    fn coverage_is_told_in_plain_numbers() {
        let coverage = Coverage::of(&[
            cohort(0, Some(Method::UrlParam), None, 2),
            cohort(0, Some(Method::Fingerprint), None, 1),
            cohort(1, None, Some(Gap::NoVisit), 1),
            cohort(1, Some(Method::Probabilistic), None, 1),
        ]);
        assert_eq!(
            coverage.to_string(),
            "4 of 5 conversions credited to an ad (80 %): 2 by an id, 1 by fingerprint, \
             1 by likelihood"
        );
        assert_eq!(Coverage::default().to_string(), "no conversions yet");
        assert_eq!(Coverage::default().share(), None);
    }

    #[test]
    fn days_are_those_of_the_account_and_gaps_are_sorted_by_money() {
        // 13:33 in UTC on the 21st, so the 22nd in Auckland.
        let zone = TimeZone::get("Pacific/Auckland").unwrap();
        let day = |text| time::parse_date(text).unwrap();
        let cohorts = [
            cohort(0, Some(Method::UrlParam), None, 3),
            cohort(0, None, Some(Gap::NoVisit), 1),
            cohort(1, None, Some(Gap::TagsMissing), 2),
            cohort(1, None, Some(Gap::NoVisit), 4),
            cohort(1, None, None, 1),
            cohort(2, None, Some(Gap::NoClick), 9),
        ];
        let meta = BTreeMap::from([(day("2026-09-22"), 4.0), (day("2026-09-24"), 50.0)]);
        let (first, last) = (day("2026-09-21"), day("2026-09-23"));
        let found = CoverageDays::of(&cohorts, &meta, &zone, first, last);
        let told: Vec<_> = found
            .days
            .iter()
            .map(|d| (d.coverage.conversions(), d.coverage.url_param, d.by_meta))
            .collect();
        assert_eq!(told, [(0, 0, None), (4, 3, Some(4.0)), (7, 0, None)]);
        assert_eq!(
            (found.total.conversions(), found.by_meta()),
            (11, Some(4.0))
        );
        let gaps: Vec<_> = found.gaps.iter().map(|g| (g.gap, g.deals)).collect();
        assert_eq!(
            gaps,
            [
                (Some(Gap::NoVisit), 5),
                (Some(Gap::TagsMissing), 2),
                (None, 1)
            ]
        );
    }
}
