//! Breakers: what looks so unlike the account's own past that nobody should act on it before a
//! person has looked, or time has passed. A tripped breaker is stored, so that it outlives the
//! process and holds on every node.

use std::fmt;

use super::{ChangeContext, Rule, Verdict, defer};
use crate::domain::autonomy::ActionKind;
use crate::domain::limits::BreakerLimits;
use crate::domain::money::Money;
use crate::domain::time::{self, Timestamp};

/// The breakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Breaker {
    /// Money leaves much faster than it does at these hours.
    SpendRate,
    /// A lead costs much more than it did.
    CostPerLead,
    /// Meta refuses change after change.
    Errors,
}

impl Breaker {
    /// Every breaker.
    pub const ALL: [Self; 3] = [Self::SpendRate, Self::CostPerLead, Self::Errors];

    /// The name stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SpendRate => "spend_rate",
            Self::CostPerLead => "cost_per_lead",
            Self::Errors => "errors",
        }
    }

    /// The breaker of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|breaker| breaker.as_str() == name)
    }

    /// The guard that it is.
    #[must_use]
    pub const fn rule(self) -> Rule {
        match self {
            Self::SpendRate => Rule::BreakerSpendRate,
            Self::CostPerLead => Rule::BreakerCostPerLead,
            Self::Errors => Rule::BreakerErrors,
        }
    }

    /// Whether it holds this kind of action. Fast spending holds what would spend more; a lead
    /// price that jumped says that the data may be broken, so nothing that follows from them is done;
    /// errors hold all but pauses, which only ever take risk away.
    #[must_use]
    pub const fn holds(self, kind: ActionKind) -> bool {
        match self {
            Self::SpendRate => matches!(kind, ActionKind::Raise | ActionKind::Resume),
            Self::CostPerLead => true,
            Self::Errors => !matches!(kind, ActionKind::Pause),
        }
    }
}

impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A breaker that tripped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trip {
    /// Which.
    pub breaker: Breaker,
    /// When it tripped.
    pub since: Timestamp,
    /// When it lets go by itself.
    pub until: Timestamp,
    /// Why, for the owner.
    pub reason: String,
}

impl Trip {
    /// Whether it still holds.
    #[must_use]
    pub fn is_on(&self, now: Timestamp) -> bool {
        self.until > now
    }
}

/// What the breakers look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vitals {
    /// Spent within [`BreakerLimits::spend_window`].
    pub spent: Money,
    /// Spent at the same hours of an average day of the week before; `None` with fewer than three
    /// such days.
    pub usual_spend: Option<Money>,
    /// Leads within [`BreakerLimits::cost_window`].
    pub leads: u64,
    /// How many the spend of that window would have bought at the price of the four weeks before;
    /// `None` where there was no price.
    pub expected_leads: Option<f64>,
    /// Changes that Meta refused within [`BreakerLimits::error_window`].
    pub failed: u32,
}

/// The breakers that these vitals trip, each until `hold` from now.
#[must_use]
pub fn trips(
    vitals: &Vitals,
    daily_cap: Money,
    limits: &BreakerLimits,
    now: Timestamp,
) -> Vec<Trip> {
    let trip = |breaker, reason| Trip {
        breaker,
        since: now,
        until: time::add(now, limits.hold),
        reason,
    };
    let mut trips = Vec::new();
    if let Some(usual) = vitals.usual_spend {
        let (spent, usual_minor) = (vitals.spent.minor() as f64, usual.minor().max(1) as f64);
        let least = daily_cap.minor() as f64 * limits.spend_least.fraction();
        if spent >= least && spent >= usual_minor * limits.spend_rate {
            trips.push(trip(
                Breaker::SpendRate,
                format!(
                    "{} left in the last {:#}, {:.1} times what leaves at these hours ({usual})",
                    vitals.spent,
                    limits.spend_window,
                    spent / usual_minor
                ),
            ));
        }
    }
    if let Some(expected) = vitals.expected_leads.filter(|n| n.is_finite()) {
        let leads = vitals.leads as f64;
        if expected >= limits.cost_leads && leads * limits.cost_jump <= expected {
            trips.push(trip(
                Breaker::CostPerLead,
                format!(
                    "{} lead(s) came in the last {:#} where the money would have bought {expected:.0}",
                    vitals.leads, limits.cost_window
                ),
            ));
        }
    }
    if vitals.failed >= limits.errors {
        trips.push(trip(
            Breaker::Errors,
            format!(
                "Meta refused {} changes in the last {:#}",
                vitals.failed, limits.error_window
            ),
        ));
    }
    trips
}

/// Holds what a tripped breaker holds. A person's own request knows better, but for errors.
pub(super) fn hold(ctx: &ChangeContext<'_>, kind: ActionKind) -> Option<Verdict> {
    let trip = ctx
        .breakers
        .iter()
        .filter(|trip| trip.is_on(ctx.now) && trip.breaker.holds(kind))
        .filter(|trip| !ctx.is_by_person() || trip.breaker == Breaker::Errors)
        .max_by_key(|trip| trip.until)?;
    let reason = format!("a breaker tripped: {}", trip.reason);
    Some(defer(ctx, trip.breaker.rule(), trip.until, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::{Currency, Percentage};

    fn usd(minor: i64) -> Money {
        Money::from_minor(minor, Currency::USD)
    }

    fn limits() -> BreakerLimits {
        BreakerLimits {
            spend_rate: 3.0,
            spend_window: time::hours(3),
            spend_least: Percentage::from_fraction(0.10).unwrap(),
            cost_jump: 4.0,
            cost_window: time::hours(48),
            cost_leads: 12.0,
            errors: 5,
            error_window: time::hours(1),
            hold: time::hours(6),
        }
    }

    fn calm() -> Vitals {
        Vitals {
            spent: usd(10_000),
            usual_spend: Some(usd(9_000)),
            leads: 14,
            expected_leads: Some(15.0),
            failed: 0,
        }
    }

    fn check(edit: impl FnOnce(&mut Vitals), expected: &[Breaker]) {
        let mut vitals = calm();
        edit(&mut vitals);
        let now = time::from_seconds(1_790_000_000);
        let tripped = trips(&vitals, usd(100_000), &limits(), now);
        let found: Vec<Breaker> = tripped.iter().map(|trip| trip.breaker).collect();
        assert_eq!(found, expected, "{vitals:?}");
        for trip in tripped {
            assert_eq!(
                (trip.since, trip.until),
                (now, time::add(now, time::hours(6)))
            );
            assert!(trip.is_on(now) && !trip.is_on(trip.until), "{trip:?}");
        }
    }

    #[test]
    fn each_trips_at_its_edge_and_not_before() {
        check(|_| {}, &[]);
        check(|v| v.spent = usd(26_999), &[]);
        check(|v| v.spent = usd(27_000), &[Breaker::SpendRate]);
        // Three times of little is little.
        check(
            |v| (v.spent, v.usual_spend) = (usd(9_999), Some(usd(100))),
            &[],
        );
        check(
            |v| (v.spent, v.usual_spend) = (usd(10_000), Some(usd(100))),
            &[Breaker::SpendRate],
        );
        check(|v| (v.spent, v.usual_spend) = (usd(90_000), None), &[]);
        check(|v| (v.leads, v.expected_leads) = (3, Some(11.9)), &[]);
        check(|v| (v.leads, v.expected_leads) = (4, Some(15.9)), &[]);
        check(
            |v| (v.leads, v.expected_leads) = (4, Some(16.0)),
            &[Breaker::CostPerLead],
        );
        check(
            |v| (v.leads, v.expected_leads) = (0, Some(12.0)),
            &[Breaker::CostPerLead],
        );
        check(|v| (v.leads, v.expected_leads) = (0, None), &[]);
        check(|v| (v.leads, v.expected_leads) = (0, Some(f64::NAN)), &[]);
        check(|v| v.failed = 4, &[]);
        check(|v| v.failed = 5, &[Breaker::Errors]);
    }

    #[test]
    fn names_survive_the_round_trip() {
        for breaker in Breaker::ALL {
            assert_eq!(Breaker::parse(breaker.as_str()), Some(breaker));
        }
    }
}
