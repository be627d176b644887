//! How often: actions of a campaign in an hour, changes of a budget in a day and in an hour, ads
//! paused in a day.

use super::{ChangeContext, Rule, Verdict, defer, refuse};
use crate::domain::change::{ChangeKind, Target};
use crate::domain::structure::{EntityKind, RunStatus};
use crate::domain::time::{self, SignedDuration, Timestamp};

/// An ad set's budget may change four times an hour, after which Meta locks it for an hour (613 /
/// 1487632); the same is kept for campaigns. Source: Meta, ad set reference.
pub(super) const META_BUDGET_CHANGES_PER_HOUR: u32 = 4;

/// When one more may follow on `times` without `limit` being passed within `window`: `Ok` for
/// now, else the time, or `None` when never. Times in the future (a clock set back) count too.
fn room(
    times: impl Iterator<Item = Timestamp>,
    limit: u32,
    window: SignedDuration,
    now: Timestamp,
) -> Result<(), Option<Timestamp>> {
    let opens = time::sub(now, window);
    let mut recent: Vec<Timestamp> = times.filter(|at| *at > opens).collect();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if recent.len() < limit {
        return Ok(());
    }
    recent.sort();
    // When this one has left the window, limit - 1 are left in it.
    let blocking = limit
        .checked_sub(1)
        .and_then(|_| recent.get(recent.len() - limit));
    Err(blocking.map(|at| time::add(*at, window)))
}

fn answer(
    ctx: &ChangeContext<'_>,
    rule: Rule,
    room: Result<(), Option<Timestamp>>,
    reason: String,
) -> Option<Verdict> {
    match room {
        Ok(()) => None,
        Err(Some(until)) => Some(defer(ctx, rule, until, reason)),
        Err(None) => Some(refuse(rule, reason)),
    }
}

/// Actions on the change's campaign and all below it within an hour.
pub(super) fn actions_per_hour(ctx: &ChangeContext<'_>) -> Option<Verdict> {
    let limit = ctx.limits.actions_per_campaign_per_hour;
    let campaign = &ctx.change.proposed.campaign;
    let times = ctx
        .actions
        .iter()
        .filter(|action| action.campaign == *campaign)
        .map(|action| action.at);
    answer(
        ctx,
        Rule::ActionsPerHour,
        room(times, limit, time::hours(1), ctx.now),
        format!("a campaign takes {limit} actions an hour, and it had them"),
    )
}

/// Changes of this budget within a day (ours), and within an hour (anybody's, for Meta's sake).
pub(super) fn budget_changes(ctx: &ChangeContext<'_>) -> Option<Verdict> {
    let limit = ctx.limits.changes_per_ad_set_per_day;
    let ours = ctx
        .actions
        .iter()
        .filter(|a| a.entity == *ctx.entity() && a.target.kind() == ChangeKind::Budget)
        .map(|action| action.at);
    let of_day = answer(
        ctx,
        Rule::AdSetCadence,
        room(ours, limit, time::hours(24), ctx.now),
        format!("a budget is changed {limit} time(s) a day at most, and it was"),
    );
    let anybodys = ctx
        .history
        .iter()
        .filter(|m| m.entity == *ctx.entity())
        .map(|m| m.at);
    of_day.or_else(|| {
        let limit = META_BUDGET_CHANGES_PER_HOUR;
        answer(
            ctx,
            Rule::MetaCadence,
            room(anybodys, limit, time::hours(1), ctx.now),
            format!("Meta locks a budget that changes more than {limit} times an hour"),
        )
    })
}

/// Budgets changed and objects resumed by us within a day. A pause only takes risk away: it has a
/// count of its own and is not held back for others.
pub(super) fn changes_per_day(ctx: &ChangeContext<'_>) -> Option<Verdict> {
    let limit = ctx.limits.changes_per_day;
    let changes = ctx
        .actions
        .iter()
        .filter(|a| a.target != Target::Status(RunStatus::Paused))
        .map(|action| action.at);
    answer(
        ctx,
        Rule::ChangesPerDay,
        room(changes, limit, time::hours(24), ctx.now),
        format!("an account takes {limit} changes a day, and it had them"),
    )
}

/// Ads of the tenant paused by us within a day.
pub(super) fn kills_per_day(ctx: &ChangeContext<'_>) -> Option<Verdict> {
    let limit = ctx.limits.kills_per_day;
    let kills = ctx
        .actions
        .iter()
        .filter(|a| {
            a.entity.kind() == EntityKind::Ad && a.target == Target::Status(RunStatus::Paused)
        })
        .map(|action| action.at);
    answer(
        ctx,
        Rule::KillsPerDay,
        room(kills, limit, time::hours(24), ctx.now),
        format!("{limit} ads are paused a day at most, and they were"),
    )
}
