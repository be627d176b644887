//! How fast a budget may move: never further than a share from *any* value it held in the
//! trailing window, whoever set it and however the moves were cut up.
//!
//! Two windows hold at once, the velocity window and 24 hours: five steps of 20 % in a day look
//! like one jump to Meta and restart the learning phase. A raise is bounded from above and a cut
//! from below: where a person moved a budget far, going part of the way back is no new jump.

use super::{ChangeContext, Limit, Rule};
use crate::domain::change::BudgetMove;
use crate::domain::limits::GuardLimits;
use crate::domain::money::{Money, Rounding};
use crate::domain::structure::EntityRef;
use crate::domain::time::{self, SignedDuration, Timestamp};

const DAY: SignedDuration = time::hours(24);

/// Where a budget may be moved at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The least a cut may set: by the velocity window, and by 24 hours.
    pub lower: (Money, Money),
    /// The most a raise may set, likewise.
    pub upper: (Money, Money),
}

impl Bounds {
    /// The least a cut may set.
    #[must_use]
    pub fn lo(&self) -> Money {
        if self.lower.0.minor() >= self.lower.1.minor() {
            self.lower.0
        } else {
            self.lower.1
        }
    }

    /// The most a raise may set.
    #[must_use]
    pub fn hi(&self) -> Money {
        if self.upper.0.minor() <= self.upper.1.minor() {
            self.upper.0
        } else {
            self.upper.1
        }
    }
}

/// Where the budget of `entity`, `live` now, may be moved at `at`.
#[must_use]
pub fn budget_bounds(
    history: &[BudgetMove],
    entity: &EntityRef,
    live: Money,
    limits: &GuardLimits,
    at: Timestamp,
) -> Bounds {
    let (least, most) = held(history, entity, live, time::sub(at, limits.velocity_window));
    let (least_of_day, most_of_day) = held(history, entity, live, time::sub(at, DAY));
    let up = |minor: i64, share: f64| scaled(live, minor, 1.0 + share, Rounding::Down);
    let down = |minor: i64, share: f64| scaled(live, minor, (1.0 - share).max(0.0), Rounding::Up);
    Bounds {
        lower: (
            down(most, limits.max_change.fraction()),
            down(most_of_day, limits.max_cut_per_day.fraction()),
        ),
        upper: (
            up(least, limits.max_change.fraction()),
            up(least_of_day, limits.max_raise_per_day.fraction()),
        ),
    }
}

/// A value that cannot be scaled bounds at itself: no move.
fn scaled(like: Money, minor: i64, factor: f64, rounding: Rounding) -> Money {
    let held = Money::from_minor(minor, like.currency());
    held.scale(factor, rounding).unwrap_or(held)
}

/// The least and the greatest value held after `opens`, the one in force included.
fn held(history: &[BudgetMove], entity: &EntityRef, live: Money, opens: Timestamp) -> (i64, i64) {
    let mut moves: Vec<&BudgetMove> = history.iter().filter(|m| m.entity == *entity).collect();
    moves.sort_by_key(|m| m.at);
    let (mut least, mut most) = (live.minor(), live.minor());
    for (i, m) in moves.iter().enumerate() {
        let until = moves.get(i + 1).map_or(Timestamp::MAX, |next| next.at);
        for (minor, ended) in [(m.from.minor(), m.at), (m.to.minor(), until)] {
            if ended > opens {
                least = least.min(minor);
                most = most.max(minor);
            }
        }
    }
    (least, most)
}

/// The upper bounds of a raise.
pub(super) fn upper(ctx: &ChangeContext<'_>, live: Money, wanted: Money) -> Vec<Limit> {
    let history = history(ctx, live);
    let bounds = budget_bounds(&history, ctx.entity(), live, ctx.limits, ctx.now);
    let opens = opening(ctx, &history, live, wanted);
    let limits = ctx.limits;
    let window = format!("{:#}", limits.velocity_window);
    vec![
        limit(
            Rule::Velocity,
            bounds.upper.0,
            opens,
            &limits.max_change,
            &window,
        ),
        limit(
            Rule::DailyVelocity,
            bounds.upper.1,
            opens,
            &limits.max_raise_per_day,
            "24h",
        ),
    ]
}

/// The lower bounds of a cut.
pub(super) fn lower(ctx: &ChangeContext<'_>, live: Money, wanted: Money) -> Vec<Limit> {
    let history = history(ctx, live);
    let bounds = budget_bounds(&history, ctx.entity(), live, ctx.limits, ctx.now);
    let opens = opening(ctx, &history, live, wanted);
    let limits = ctx.limits;
    let window = format!("{:#}", limits.velocity_window);
    vec![
        limit(
            Rule::Velocity,
            bounds.lower.0,
            opens,
            &limits.max_change,
            &window,
        ),
        limit(
            Rule::DailyVelocity,
            bounds.lower.1,
            opens,
            &limits.max_cut_per_day,
            "24h",
        ),
    ]
}

fn limit(
    rule: Rule,
    bound: Money,
    opens: Option<Timestamp>,
    share: &impl std::fmt::Display,
    window: &str,
) -> Limit {
    Limit {
        rule,
        minor: bound.minor(),
        opens,
        reason: format!(
            "no budget moves more than {share} from any value it held in the last {window}; \
             the bound is {bound}"
        ),
    }
}

/// The object's history up to the value in force. A last move that led elsewhere means that
/// somebody moved the budget unseen: as far as is known, just now.
fn history(ctx: &ChangeContext<'_>, live: Money) -> Vec<BudgetMove> {
    let entity = ctx.entity();
    let mut moves: Vec<BudgetMove> = ctx
        .history
        .iter()
        .filter(|m| m.entity == *entity)
        .cloned()
        .collect();
    moves.sort_by_key(|m| m.at);
    if let Some(last) = moves.last().filter(|last| last.to != live).cloned() {
        moves.push(BudgetMove {
            at: last.at.max(ctx.now),
            from: last.to,
            to: live,
            is_ours: false,
            ..last
        });
    }
    moves
}

/// The first time from which the bounds leave a useful step toward `wanted`, were nothing to
/// change meanwhile. Bounds only ever move when a value leaves a window, so only those times are
/// tried.
fn opening(
    ctx: &ChangeContext<'_>,
    history: &[BudgetMove],
    live: Money,
    wanted: Money,
) -> Option<Timestamp> {
    let mut times: Vec<Timestamp> = history
        .iter()
        .flat_map(|m| {
            [
                time::add(m.at, ctx.limits.velocity_window),
                time::add(m.at, DAY),
            ]
        })
        .filter(|t| *t > ctx.now)
        .collect();
    times.sort();
    times.into_iter().find(|t| {
        let bounds = budget_bounds(history, ctx.entity(), live, ctx.limits, *t);
        let (live_minor, wanted) = (live.minor(), wanted.minor());
        let reach = if wanted > live_minor {
            bounds.hi().minor().min(wanted).max(live_minor)
        } else {
            bounds.lo().minor().max(wanted).min(live_minor)
        };
        reach != live_minor && super::is_useful(ctx, live, reach)
    })
}
