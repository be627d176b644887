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
                "{} is spent since Sunday, and seven times {cap} is the week's ceiling",
                ctx.sums.spent_this_week
            ),
        },
    ];
    let worst = cap.scale(WORST_DAY, Rounding::Down).unwrap_or(cap);
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

/// The sum of daily budgets that, spent from now to the week's end on top of what is spent, comes
/// to seven times the cap.
fn weekly_room(ctx: &ChangeContext<'_>) -> i64 {
    let wide = |money: Money| i128::from(money.minor());
    let rest = 7 * wide(ctx.limits.daily_cap) - wide(ctx.sums.spent_this_week);
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
