//! How far a budget may move now (ALGORITHM 5.3), in whole minor units.

use crate::domain::money::{Money, Percentage, Rounding};
use crate::domain::policy::{BudgetEntity, BudgetLimits};
use crate::domain::rationale::Bound;

/// Larger budgets are taken for a slip of the pen.
const MOST_MINOR: i64 = 1_000_000_000_000_000;

/// The least and the greatest budget allowed now, and what sets each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Budget in force, minor units.
    pub current: i64,
    /// Least, minor units; never above the current one.
    pub lowest: i64,
    /// Greatest, minor units; never below the current one.
    pub highest: i64,
    /// What sets the least.
    pub lowest_by: Bound,
    /// What sets the greatest.
    pub highest_by: Bound,
}

/// The bounds of `entity`; `None` when its budgets are not usable: another currency, negative, or
/// beyond belief.
#[must_use]
pub fn bounds(entity: &BudgetEntity, limits: &BudgetLimits) -> Option<Bounds> {
    let currency = limits.daily_cap.currency();
    let all = [
        entity.budget,
        entity.held_6h.min,
        entity.held_6h.max,
        entity.held_24h.min,
        entity.held_24h.max,
        limits.min_budget,
    ];
    if all
        .iter()
        .any(|m| m.currency() != currency || !(0..=MOST_MINOR).contains(&m.minor()))
    {
        return None;
    }
    let current = entity.budget.minor();
    // The budget in force belongs to both windows, whatever the history says.
    let six = (
        entity.held_6h.min.minor().min(current),
        entity.held_6h.max.minor().max(current),
    );
    let day = (
        entity.held_24h.min.minor().min(six.0),
        entity.held_24h.max.minor().max(six.1),
    );
    let floor = |minor, cut: Percentage| {
        by(
            minor,
            (1.0 - cut.fraction()).max(0.0),
            Rounding::Up,
            currency,
        )
    };
    let ceiling =
        |minor, raise: Percentage| by(minor, 1.0 + raise.fraction(), Rounding::Down, currency);
    let floors = [
        (floor(six.1, limits.max_change)?, Bound::Velocity6h),
        (floor(day.1, limits.calm_cut)?, Bound::Calm24h),
        (limits.min_budget.minor(), Bound::Min),
    ];
    let ceilings = [
        (ceiling(six.0, limits.max_change)?, Bound::Velocity6h),
        (ceiling(day.0, limits.calm_raise)?, Bound::Calm24h),
    ];
    let (lowest, lowest_by) = floors
        .into_iter()
        .fold((0, Bound::Min), |a, b| if b.0 > a.0 { b } else { a });
    let (highest, highest_by) =
        ceilings.into_iter().fold(
            (i64::MAX, Bound::None),
            |a, b| if b.0 < a.0 { b } else { a },
        );
    Some(Bounds {
        current,
        lowest: lowest.min(current),
        highest: highest.max(current),
        lowest_by,
        highest_by,
    })
}

fn by(
    minor: i64,
    factor: f64,
    rounding: Rounding,
    currency: crate::domain::money::Currency,
) -> Option<i64> {
    Money::from_minor(minor, currency)
        .scale(factor, rounding)
        .ok()
        .map(Money::minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{AdSetId, CampaignId};
    use crate::domain::money::Currency;
    use crate::domain::policy::HeldBudgets;
    use crate::domain::structure::EntityRef;

    fn usd(minor: i64) -> Money {
        Money::from_minor(minor, Currency::USD)
    }

    fn check(
        budget: i64,
        six: (i64, i64),
        day: (i64, i64),
        min: i64,
        expected: (i64, i64, Bound, Bound),
    ) {
        let mut entity = BudgetEntity::steady(
            EntityRef::AdSet(AdSetId::new("1").unwrap()),
            "a".to_owned(),
            CampaignId::new("1").unwrap(),
            usd(budget),
        );
        let held = |(min, max)| HeldBudgets {
            min: usd(min),
            max: usd(max),
        };
        entity.held_6h = held(six);
        entity.held_24h = held(day);
        let limits = BudgetLimits::under_cap(usd(100_000), usd(min));
        let b = bounds(&entity, &limits).unwrap();
        assert_eq!((b.lowest, b.highest, b.lowest_by, b.highest_by), expected);
    }

    #[test]
    fn a_steady_budget_moves_by_the_calm_bounds() {
        check(
            10_000,
            (10_000, 10_000),
            (10_000, 10_000),
            500,
            (8_100, 11_990, Bound::Calm24h, Bound::Calm24h),
        );
    }

    #[test]
    fn a_budget_raised_within_the_day_has_little_room() {
        check(
            11_500,
            (11_500, 11_500),
            (10_000, 11_500),
            500,
            (9_315, 11_990, Bound::Calm24h, Bound::Calm24h),
        );
        check(
            11_990,
            (10_000, 11_990),
            (10_000, 11_990),
            500,
            (9_712, 11_990, Bound::Calm24h, Bound::Calm24h),
        );
    }

    #[test]
    fn a_bound_on_the_wrong_side_yields_to_the_current_budget() {
        check(
            20_000,
            (10_000, 20_000),
            (10_000, 20_000),
            500,
            (16_200, 20_000, Bound::Calm24h, Bound::Calm24h),
        );
        check(
            300,
            (300, 300),
            (300, 300),
            500,
            (300, 359, Bound::Min, Bound::Calm24h),
        );
        check(0, (0, 0), (0, 0), 0, (0, 0, Bound::Min, Bound::Velocity6h));
    }

    #[test]
    fn cents_round_inward() {
        check(
            333,
            (333, 333),
            (333, 333),
            0,
            (270, 399, Bound::Calm24h, Bound::Velocity6h),
        );
    }

    #[test]
    fn a_budget_in_another_currency_has_no_bounds() {
        let entity = BudgetEntity::steady(
            EntityRef::AdSet(AdSetId::new("1").unwrap()),
            "a".to_owned(),
            CampaignId::new("1").unwrap(),
            Money::from_minor(100, Currency::EUR),
        );
        let limits = BudgetLimits::under_cap(usd(100_000), usd(0));
        assert_eq!(bounds(&entity, &limits), None);
    }
}
