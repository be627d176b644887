//! Budgets (ALGORITHM 5): money moves to where the next unit earns most, within bounds.
//!
//! Floats end here. What comes out of [`fit()`] is whole minor units, dither included, and is sent as
//! it is.

pub mod bounds;
pub mod fit;

pub use bounds::{Bounds, bounds};
pub use fit::{Candidate, Fit, Placed, fit};

/// How an entity's return saturates: `R(b) = r0 b / (1 + b / kappa)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Response {
    /// Return of the first unit.
    pub r0: f64,
    /// Spend at which the average return has halved, main units.
    pub kappa: f64,
}

impl Response {
    /// The response of an entity with draw `draw` at a spend of `spend_per_day`.
    #[must_use]
    pub fn new(draw: f64, spend_per_day: f64, kappa: f64) -> Self {
        let kappa = if kappa.is_finite() {
            kappa.max(0.01)
        } else {
            0.01
        };
        let r0 = draw * (1.0 + spend_per_day.max(0.0) / kappa);
        Self {
            r0: if r0.is_nan() {
                0.0
            } else {
                r0.clamp(0.0, 1e100)
            },
            kappa,
        }
    }

    /// Return of the next unit at budget `b`.
    #[must_use]
    pub fn marginal(self, b: f64) -> f64 {
        let fullness = 1.0 + b.max(0.0) / self.kappa;
        self.r0 / (fullness * fullness)
    }

    /// The budget at which the next unit returns `level`.
    #[must_use]
    pub fn budget_at(self, level: f64) -> f64 {
        self.kappa * (libm::sqrt(self.r0 / level) - 1.0)
    }
}

/// Where water-filling put the budgets.
#[derive(Debug, Clone, PartialEq)]
pub struct Water {
    /// A budget for each entity, in the order given.
    pub budgets: Vec<f64>,
    /// The marginal return they level out at; `None` where the bounds decided alone.
    pub level: Option<f64>,
    /// Even the least budgets exceed the cap.
    pub unreachable: bool,
}

/// Maximises the sum of returns within each entity's `(response, lowest, highest)` and a cap.
#[must_use]
pub fn fill(entities: &[(Response, f64, f64)], cap: f64) -> Water {
    let lowest: f64 = entities.iter().map(|(_, lo, _)| lo).sum();
    let highest: f64 = entities.iter().map(|(_, _, hi)| hi).sum();
    let bounded = |budgets, unreachable| Water {
        budgets,
        level: None,
        unreachable,
    };
    if lowest >= cap {
        let budgets = entities.iter().map(|(_, lo, _)| *lo).collect();
        return bounded(budgets, lowest > cap);
    }
    if highest <= cap {
        return bounded(entities.iter().map(|(_, _, hi)| *hi).collect(), false);
    }
    let at = |level: f64| {
        entities
            .iter()
            .map(move |(response, lo, hi)| response.budget_at(level).max(*lo).min(*hi))
    };
    let (mut low, mut high) = (libm::log(1e-9), libm::log(1e6));
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if at(libm::exp(middle)).sum::<f64>() <= cap {
            high = middle;
        } else {
            low = middle;
        }
    }
    let level = libm::exp(high);
    let budgets: Vec<f64> = at(level).collect();
    if budgets.iter().sum::<f64>() <= cap {
        Water {
            budgets,
            level: Some(level),
            unreachable: false,
        }
    } else {
        // Returns beyond every level tried: nothing tells the entities apart, so none is raised.
        bounded(entities.iter().map(|(_, lo, _)| *lo).collect(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bounds: (f64, f64), cap: f64, expected: &[f64], level: Option<f64>) {
        let entities: Vec<_> = [1.5, 1.8, 2.4]
            .iter()
            .map(|r0| {
                (
                    Response {
                        r0: *r0,
                        kappa: 200.0,
                    },
                    bounds.0,
                    bounds.1,
                )
            })
            .collect();
        let water = fill(&entities, cap);
        for (b, e) in water.budgets.iter().zip(expected) {
            assert!((b - e).abs() <= 1e-6 * e, "{water:?} is not {expected:?}");
        }
        if let Some(level) = level {
            let found = libm::sqrt(water.level.unwrap());
            assert!((found - level).abs() < 1e-6, "{found}");
        }
    }

    #[test]
    fn water_filling_of_the_worked_example() {
        check(
            (50.0, 150.0),
            300.0,
            &[67.828_751, 93.391_697, 138.779_551],
            Some(0.914_573),
        );
        check((80.0, 120.0), 300.0, &[80.0, 100.0, 120.0], None);
    }

    #[test]
    fn bounds_decide_where_the_cap_does_not() {
        check((50.0, 90.0), 300.0, &[90.0, 90.0, 90.0], None);
        check((100.0, 150.0), 300.0, &[100.0, 100.0, 100.0], None);
        let water = fill(&[(Response::new(1.0, 1.0, 1.0), 10.0, 20.0)], 9.0);
        assert!(water.unreachable && water.budgets == [10.0]);
    }

    #[test]
    fn the_next_unit_returns_less_the_more_is_spent() {
        let r = Response::new(2.0, 50.0, 100.0);
        assert!((r.r0 - 3.0).abs() < 1e-12);
        assert!((r.marginal(100.0) - 0.75).abs() < 1e-12);
        assert!((r.budget_at(0.75) - 100.0).abs() < 1e-9);
        assert!(
            Response::new(f64::NAN, 1.0, f64::NAN)
                .marginal(5.0)
                .is_finite()
        );
    }
}
