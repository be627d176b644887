//! Bounds on money: the cap on the sum of daily budgets, the week and the worst day, what one ad
//! set or campaign may have, and the least a budget may be.
//!
//! A daily budget is not a cap: Meta may spend 1.75 times it on a day and 7 times it in a week that
//! begins on Sunday. Source: Meta, "Budgets" (about daily budgets).

use super::{ChangeContext, Limit, RECHECK, Rule};
use crate::domain::money::{Money, Rounding};
use crate::domain::structure::EntityRef;
use crate::domain::time::{self, Timestamp};

/// How many times its daily budget Meta may spend on one day.
pub(super) const WORST_DAY: f64 = 1.75;

/// The same where ad sets may use up to 20 % of each other's budgets: (10 + 2) x 1.75 = 21. Source:
/// Meta, campaign reference, `is_adset_budget_sharing_enabled`.
const WORST_DAY_SHARED: f64 = 2.1;

/// How many times its daily budget an object may cost on one day.
#[must_use]
pub const fn worst_day_factor(shares_budgets: bool) -> f64 {
    if shares_budgets {
        WORST_DAY_SHARED
    } else {
        WORST_DAY
    }
}

/// A budget that is lowered must stay this far above what is spent today. Source: Meta, ad set
/// reference, `daily_budget`.
const ABOVE_SPENT: f64 = 1.10;

/// The upper bounds of a raise of this object's budget.
pub(super) fn upper(ctx: &ChangeContext<'_>, live: Money) -> Vec<Limit> {
    let own = if ctx.sums.includes_this {
        live.minor()
    } else {
        0
    };
    let others = ctx.sums.daily_budgets.minor().saturating_sub(own);
    let mut limits = total(ctx);
    for limit in &mut limits {
        limit.minor = limit.minor.saturating_sub(others);
    }
    let never = |rule, most: Money, reason: String| Limit {
        rule,
        minor: most.minor(),
        opens: None,
        reason,
    };
    let per_campaign = ctx.limits.max_per_campaign;
    match ctx.entity() {
        EntityRef::AdSet(_) => {
            if let Some(most) = ctx.limits.max_per_ad_set {
                let reason = format!("an ad set may have {most} a day at most");
                limits.push(never(Rule::AdSetCeiling, most, reason));
            }
            if let (Some(most), Some(sum)) = (per_campaign, ctx.sums.in_campaign) {
                let siblings = sum.minor().saturating_sub(live.minor()).max(0);
                let room = ctx.money(most.minor().saturating_sub(siblings));
                let reason = format!("the ad sets of a campaign may have {most} a day at most");
                limits.push(never(Rule::CampaignCeiling, room, reason));
            }
        }
        EntityRef::Campaign(_) => {
            if let Some(most) = per_campaign {
                let reason = format!("a campaign may have {most} a day at most");
                limits.push(never(Rule::CampaignCeiling, most, reason));
            }
        }
        EntityRef::Ad(_) => {}
    }
    limits
}

/// The most that the daily budgets of everything able to deliver may sum to.
pub(super) fn total(ctx: &ChangeContext<'_>) -> Vec<Limit> {
    let cap = ctx.limits.daily_cap;
    let mut limits = vec![
        Limit {
            rule: Rule::DailyCap,
            minor: cap.minor(),
            opens: Some(time::add(ctx.now, RECHECK)),
            reason: format!(
                "all daily budgets together may be {cap}, they are {} now",
                ctx.sums.daily_budgets
            ),
        },
        Limit {
            rule: Rule::WeeklyCeiling,
            minor: weekly_room(ctx),
            opens: Some(next_week(ctx)),
            reason: format!(
                "{} is spent since Sunday, and {} is the week's ceiling",
                ctx.sums.spent_this_week,
                week_ceiling(ctx)
            ),
        },
    ];
    limits.extend(spend_per_day(ctx));
    let factor = worst_day_factor(ctx.sums.shares_budgets);
    let worst = cap.scale(factor, Rounding::Down).unwrap_or(cap);
    if ctx.sums.spent_today.minor() > worst.minor() {
        limits.push(Limit {
            rule: Rule::WorstDay,
            minor: 0,
            opens: Some(ctx.next_day()),
            reason: format!(
                "{} is spent today, more than {worst}, the worst day that the cap allows for",
                ctx.sums.spent_today
            ),
        });
    }
    limits
}

/// The sum of daily budgets at which the worst day comes to what one day may cost.
fn spend_per_day(ctx: &ChangeContext<'_>) -> Option<Limit> {
    let most = ctx.limits.max_spend_per_day?;
    let sums = &ctx.sums;
    let factor = worst_day_factor(sums.shares_budgets);
    let left = most.minor().saturating_sub(sums.worst_day.minor());
    // Toward less, on either side of nothing.
    let left = (left as f64 / factor).floor() as i64;
    Some(Limit {
        rule: Rule::SpendPerDay,
        minor: sums.daily_budgets.minor().saturating_add(left),
        opens: Some(time::add(ctx.now, RECHECK)),
        reason: format!(
            "a day on which Meta overspends as far as it may costs {} now, and {most} is the most \
             that one may cost",
            sums.worst_day
        ),
    })
}

/// The most that the account's week may cost.
fn week_ceiling(ctx: &ChangeContext<'_>) -> Money {
    let cap = ctx.limits.daily_cap;
    ctx.limits
        .max_spend_per_week
        .unwrap_or_else(|| ctx.money(cap.minor().saturating_mul(7)))
}

/// The sum of daily budgets that leaves the week under its ceiling: spent on average from now on,
/// and, where a ceiling is stated, also when Meta overspends as far as it may.
fn weekly_room(ctx: &ChangeContext<'_>) -> i64 {
    let average = average_room(ctx);
    match ctx.limits.max_spend_per_week {
        Some(ceiling) => average.min(worst_week_room(ctx, ceiling)),
        None => average,
    }
}

/// The sum of daily budgets with which every day from today on may be Meta's worst, or the week
/// comes to seven daily budgets: more than either Meta does not spend. A week that has cost more than
/// seven of the present budgets was not bound by them, so that the second says nothing of it.
fn worst_week_room(ctx: &ChangeContext<'_>, ceiling: Money) -> i64 {
    let sums = &ctx.sums;
    let before = sums.spent_this_week.minor() - sums.spent_today.minor();
    let days = (days_after_today(ctx) + 1) as f64;
    let factor = worst_day_factor(sums.shares_budgets);
    let left = ceiling.minor().saturating_sub(before);
    let by_days = (left as f64 / (days * factor)).floor() as i64;
    if sums.daily_budgets.minor().saturating_mul(7) >= sums.spent_this_week.minor() {
        by_days.max(ceiling.minor() / 7)
    } else {
        by_days
    }
}

/// The sum of daily budgets that, spent from now to the week's end on top of what is spent, comes
/// to the week's ceiling.
fn average_room(ctx: &ChangeContext<'_>) -> i64 {
    let wide = |money: Money| i128::from(money.minor());
    let rest = wide(week_ceiling(ctx)) - wide(ctx.sums.spent_this_week);
    let today = wide(ctx.sums.spent_today).max(0);
    let later = i128::from(days_after_today(ctx));
    // Today still costs what is left of its budget, nothing if it is overspent.
    let with_today = (rest + today).div_euclid(later + 1);
    let room = if with_today >= today {
        with_today
    } else if later > 0 {
        rest.div_euclid(later)
    } else {
        0
    };
    i64::try_from(room.max(0)).unwrap_or(i64::MAX)
}

/// Whole days of the account's week after today: 6 on a Sunday, 0 on a Saturday.
fn days_after_today(ctx: &ChangeContext<'_>) -> i64 {
    let weekday = time::day_of(ctx.now, ctx.zone).weekday();
    6 - i64::from(weekday.to_sunday_zero_offset())
}

fn next_week(ctx: &ChangeContext<'_>) -> Timestamp {
    let today = time::day_of(ctx.now, ctx.zone);
    let sunday = time::add_days(today, days_after_today(ctx) + 1);
    time::day_start(sunday, ctx.zone)
}

/// The lower bounds of a cut of this object's budget.
pub(super) fn lower(ctx: &ChangeContext<'_>) -> Vec<Limit> {
    let spent = ctx.live.spent_today;
    let above = spent.scale(ABOVE_SPENT, Rounding::Up).unwrap_or(spent);
    let floor = floor(ctx);
    vec![
        Limit {
            rule: Rule::Floor,
            minor: floor.minor(),
            opens: None,
            reason: format!("no daily budget is set below {floor}"),
        },
        Limit {
            rule: Rule::AboveSpent10,
            minor: above.minor(),
            opens: Some(ctx.next_day()),
            reason: format!(
                "{spent} is spent today, and Meta takes no budget below {above} until tomorrow"
            ),
        },
    ]
}

/// The least daily budget: the tenant's or Meta's, whichever is higher.
pub(super) fn floor(ctx: &ChangeContext<'_>) -> Money {
    let own = ctx.limits.min_per_ad_set;
    match ctx.min_daily_budget {
        Some(theirs) if theirs.minor() > own.minor() => theirs,
        _ => own,
    }
}
