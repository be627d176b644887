//! The guards: whether a change may be sent now, judged at execution on fresh state and durable
//! history, whoever proposed it.
//!
//! A change that a person asked for (an undo) is exempt from doubts about the data, from the quiet
//! times and from the least useful size; never from a bound on money, velocity or cadence. A stop of
//! all spend passes a pause and every count as well: it only ever saves money.

mod breakers;
mod cadence;
mod calendar;
mod ceilings;
mod learning;
mod quality;
mod sentences;
mod velocity;

use std::fmt;

use super::autonomy::{ActionKind, Autonomy, AutonomyRules};
use super::change::{BudgetMove, Origin, PastAction, PendingChange, Target, action_kind};
use super::limits::GuardLimits;
use super::money::{Currency, Money, Rounding};
use super::structure::{AccountStatus, EntityRef, HandsOff, RunStatus};
use super::time::{self, SignedDuration, TimeZone, Timestamp};

pub use breakers::{Breaker, Trip, Vitals, trips};
pub use calendar::{BadSpan, Blackout, BusinessHours, Calendar};
pub use ceilings::worst_day_factor;
pub use quality::{DataQuality, QualityFault, Silence};
pub use velocity::{Bounds, budget_bounds};

/// After how long a change is judged again where nothing says when its guard will let go.
pub const RECHECK: SignedDuration = time::minutes(15);

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// The guards. Their names are stored with every change they hold, refuse or clip.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $name,)+
        }

        impl Rule {
            /// Every guard.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name stored and shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

rules! {
    /// Nobody executed it in time.
    Expired = "expired",
    /// The tenant or the daemon is paused.
    Paused = "paused",
    /// The tenant is parked after repeated failures.
    TenantParked = "tenant_parked",
    /// The object is one that roasd leaves alone.
    HandsOff = "hands_off",
    /// The value in force could not be read, or a fact that a guard needs is missing.
    UnknownState = "unknown_state",
    /// The tenant no longer grants this kind of action.
    Autonomy = "autonomy",
    /// The account may not advertise.
    AccountTrouble = "account_trouble",
    /// Currencies do not agree.
    CurrencyMismatch = "currency_mismatch",
    /// Time zones do not agree.
    TimeZoneMismatch = "time_zone_mismatch",
    /// A person edited the object lately.
    HumanEdit = "human_edit",
    /// The insights are old.
    StaleInsights = "stale_insights",
    /// The CRM's deals are old.
    StaleCrm = "stale_crm",
    /// Too few conversions are credited.
    LowCoverage = "low_coverage",
    /// Conversions stopped.
    ZeroConversions = "zero_conversions",
    /// The object does not run, so that its budget is not raised.
    NotRunning = "not_running",
    /// The change is too small to be worth it.
    MinChange = "min_change",
    /// A significant edit was made lately.
    LearningQuiet = "learning_quiet",
    /// The campaign had its actions of this hour.
    ActionsPerHour = "actions_per_hour",
    /// The budget had its changes of this day.
    AdSetCadence = "ad_set_cadence",
    /// Meta locks a budget after four changes an hour.
    MetaCadence = "meta_cadence",
    /// The tenant had its changes of this day.
    ChangesPerDay = "changes_per_day",
    /// The tenant had its paused ads of this day.
    KillsPerDay = "kills_per_day",
    /// It is the ad set's last ad that delivers.
    LastLiveAd = "last_live_ad",
    /// Too far from a value held within the velocity window.
    Velocity = "velocity",
    /// Too far from a value held within 24 hours.
    DailyVelocity = "daily_velocity",
    /// The sum of daily budgets would exceed the cap.
    DailyCap = "daily_cap",
    /// The week's spend would exceed its ceiling.
    WeeklyCeiling = "weekly_ceiling",
    /// A day on which Meta overspends as far as it may would exceed its ceiling.
    SpendPerDay = "spend_per_day",
    /// Today's spend is beyond the worst day that the cap allows for.
    WorstDay = "worst_day",
    /// Above what one ad set may have.
    AdSetCeiling = "ad_set_ceiling",
    /// Above what one campaign may have.
    CampaignCeiling = "campaign_ceiling",
    /// Below the least budget.
    Floor = "floor",
    /// Less than 10 % above what is already spent today, which Meta refuses.
    AboveSpent10 = "above_spent_10",
    /// The owner wants no changes now.
    Blackout = "blackout",
    /// It waits until somebody is at work.
    BusinessHours = "business_hours",
    /// Money leaves much faster than it does at these hours.
    BreakerSpendRate = "breaker_spend_rate",
    /// A lead costs much more than it did.
    BreakerCostPerLead = "breaker_cost_per_lead",
    /// Meta refuses change after change.
    BreakerErrors = "breaker_errors",
}

impl Rule {
    /// The guard of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.as_str() == name)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is read from Meta just before the write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSettings {
    /// The value in force of what is to be changed; `None` when it could not be read.
    pub value: Option<Target>,
    /// The object's status.
    pub status: RunStatus,
    /// What the object has spent today, in account time.
    pub spent_today: Money,
    /// When Meta last counted an edit of it as significant.
    pub last_significant_edit: Option<Timestamp>,
}

/// The sums over the account that ceilings are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountSums {
    /// The daily budgets of everything that can deliver, this object's included if it can.
    pub daily_budgets: Money,
    /// Whether this object's budget is part of `daily_budgets`.
    pub includes_this: bool,
    /// The daily budgets within this object's campaign, for an ad set that holds its own.
    pub in_campaign: Option<Money>,
    /// The daily budget that begins to count when this object is resumed; `None` when none does.
    pub resume_adds: Option<Money>,
    /// Spent today, in account time.
    pub spent_today: Money,
    /// Spent since the account's week began on Sunday, today included.
    pub spent_this_week: Money,
    /// What everything that can deliver costs on a day on which Meta overspends as far as it may.
    pub worst_day: Money,
    /// Whether this object's ad sets may use each other's budgets, which makes its worst day worse.
    pub shares_budgets: bool,
}

/// What stops everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stops {
    /// The whole daemon is paused.
    pub daemon_paused: bool,
    /// The tenant is paused.
    pub tenant_paused: bool,
    /// The tenant is parked.
    pub tenant_parked: bool,
}

/// All that a change is judged by.
#[derive(Debug, Clone)]
pub struct ChangeContext<'a> {
    /// The change.
    pub change: &'a PendingChange,
    /// What Meta says now.
    pub live: &'a LiveSettings,
    /// The budgets held within 24 hours and the velocity window, whoever set them, with the last
    /// move before each window opened; moves of other objects are ignored.
    pub history: &'a [BudgetMove],
    /// roasd's actions on the tenant's account within 24 hours.
    pub actions: &'a [PastAction],
    /// When somebody else last edited this object.
    pub foreign_edit_at: Option<Timestamp>,
    /// Why the object is left alone, if it is.
    pub hands_off: Option<&'a HandsOff>,
    /// Ads of the ad set that can deliver, this one included; needed to pause an ad.
    pub live_ads_in_ad_set: Option<u32>,
    /// The account's sums.
    pub sums: AccountSums,
    /// The tenant's limits.
    pub limits: &'a GuardLimits,
    /// Meta's own least daily budget.
    pub min_daily_budget: Option<Money>,
    /// The tenant's autonomy as it is now.
    pub autonomy: &'a AutonomyRules,
    /// How good the data are.
    pub quality: &'a DataQuality,
    /// Breakers that tripped; those whose time is over are ignored.
    pub breakers: &'a [Trip],
    /// What is paused.
    pub stops: Stops,
    /// Whether the account may advertise.
    pub account: AccountStatus,
    /// The time.
    pub now: Timestamp,
    /// The account's time zone.
    pub zone: &'a TimeZone,
}

impl ChangeContext<'_> {
    /// Whether a person asked for the change.
    #[must_use]
    pub const fn is_by_person(&self) -> bool {
        self.change.proposed.origin.is_person()
    }

    const fn entity(&self) -> &EntityRef {
        &self.change.proposed.entity
    }

    const fn currency(&self) -> Currency {
        self.limits.daily_cap.currency()
    }

    fn money(&self, minor: i64) -> Money {
        Money::from_minor(minor, self.currency())
    }

    fn next_day(&self) -> Timestamp {
        let today = time::day_of(self.now, self.zone);
        time::day_start(time::add_days(today, 1), self.zone)
    }

    /// Every amount that is compared is in the tenant's currency.
    fn currencies_agree(&self) -> bool {
        let budget = |target: &Target| match target {
            Target::DailyBudget(money) => Some(*money),
            Target::Status(_) => None,
        };
        let proposed = &self.change.proposed;
        let limits = self.limits;
        [
            budget(&proposed.requested),
            budget(&proposed.expected),
            self.live.value.as_ref().and_then(budget),
            Some(self.live.spent_today),
            Some(limits.min_per_ad_set),
            limits.max_per_ad_set,
            limits.max_per_campaign,
            limits.max_spend_per_day,
            limits.max_spend_per_week,
            self.min_daily_budget,
            Some(self.sums.daily_budgets),
            self.sums.in_campaign,
            self.sums.resume_adds,
            Some(self.sums.spent_today),
            Some(self.sums.spent_this_week),
            Some(self.sums.worst_day),
        ]
        .into_iter()
        .flatten()
        .chain(
            self.history
                .iter()
                .filter(|m| m.entity == proposed.entity)
                .flat_map(|m| [m.from, m.to]),
        )
        .all(|money| money.currency() == self.currency())
    }
}

/// What the guards say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be sent, now, with this value.
    Allow {
        /// The value to send: what was requested, or less of it.
        target: Target,
        /// The guard that took something off.
        clipped_by: Option<Rule>,
    },
    /// It waits, and is judged again then.
    Defer {
        /// The guard.
        rule: Rule,
        /// Not before this time; always later than now.
        until: Timestamp,
        /// Why, for the owner.
        reason: String,
    },
    /// It is given up: waiting would not help.
    Refuse {
        /// The guard.
        rule: Rule,
        /// Why, for the owner.
        reason: String,
    },
    /// Somebody else changed the value since it was proposed: theirs wins and it is cancelled.
    Overtaken {
        /// The value found.
        found: Target,
    },
    /// The value is in force already: nothing is sent and it is complete.
    AlreadyInForce,
}

impl Verdict {
    /// The guard that spoke, if one did.
    #[must_use]
    pub const fn rule(&self) -> Option<Rule> {
        match self {
            Self::Allow { clipped_by, .. } => *clipped_by,
            Self::Defer { rule, .. } | Self::Refuse { rule, .. } => Some(*rule),
            Self::Overtaken { .. } | Self::AlreadyInForce => None,
        }
    }
}

fn defer(ctx: &ChangeContext<'_>, rule: Rule, until: Timestamp, reason: String) -> Verdict {
    Verdict::Defer {
        rule,
        until: until.max(time::add(ctx.now, time::seconds(1))),
        reason,
    }
}

fn recheck(ctx: &ChangeContext<'_>, rule: Rule, reason: impl Into<String>) -> Verdict {
    defer(ctx, rule, time::add(ctx.now, RECHECK), reason.into())
}

fn refuse(rule: Rule, reason: impl Into<String>) -> Verdict {
    Verdict::Refuse {
        rule,
        reason: reason.into(),
    }
}

/// Judges a change on fresh state. The first guard that objects speaks; the order is that of
/// certainty: what forbids any write, what the account says, the data, then the bounds.
#[must_use]
pub fn judge(ctx: &ChangeContext<'_>) -> Verdict {
    let proposed = &ctx.change.proposed;
    let kind = action_kind(proposed.expected, proposed.requested);
    if let Some(verdict) = stopped(ctx).or_else(|| granted(ctx, kind)) {
        return verdict;
    }
    if !ctx.currencies_agree() {
        let reason = "the amounts to compare are not all in the tenant's currency";
        return refuse(Rule::CurrencyMismatch, reason);
    }
    // Read before write: a value that is neither the one expected nor the one requested is
    // somebody else's, and wins.
    let Some(found) = ctx.live.value else {
        let reason = "the value in force could not be read";
        return recheck(ctx, Rule::UnknownState, reason);
    };
    // An earlier attempt may have sent it, clipped, and not have heard the answer.
    if found == proposed.requested || ctx.change.intent == Some(found) {
        return Verdict::AlreadyInForce;
    }
    if found != proposed.expected {
        return Verdict::Overtaken { found };
    }
    let held = breakers::hold(ctx, kind)
        .or_else(|| doubts(ctx))
        .or_else(|| calendar::hold(ctx, kind));
    if let Some(verdict) = held {
        return verdict;
    }
    match (found, proposed.requested) {
        (Target::DailyBudget(live), Target::DailyBudget(wanted)) => budget(ctx, live, wanted),
        (_, Target::Status(RunStatus::Active)) => resume(ctx),
        (_, Target::Status(RunStatus::Paused)) => pause(ctx),
        (_, Target::Status(other)) => refuse(
            Rule::HandsOff,
            format!("roasd never sets the status {other}"),
        ),
        (Target::Status(_), Target::DailyBudget(_)) => {
            refuse(Rule::UnknownState, "no daily budget was in force")
        }
    }
}

/// What forbids any write.
fn stopped(ctx: &ChangeContext<'_>) -> Option<Verdict> {
    if ctx.now >= ctx.change.proposed.expires_at {
        let reason = "it was not executed in time, and what it was decided on is old";
        return Some(refuse(Rule::Expired, reason));
    }
    // A stop is what a pause is for.
    let is_stop = ctx.change.proposed.origin == Origin::Stop;
    if ctx.stops.daemon_paused && !is_stop {
        return Some(recheck(ctx, Rule::Paused, "roasd is paused"));
    }
    if ctx.stops.tenant_paused && !is_stop {
        return Some(recheck(ctx, Rule::Paused, "the tenant is paused"));
    }
    if ctx.stops.tenant_parked {
        let reason = "the tenant is parked until an operator resumes it";
        return Some(recheck(ctx, Rule::TenantParked, reason));
    }
    if let Some(why) = ctx.hands_off {
        return Some(refuse(Rule::HandsOff, why.to_string()));
    }
    let trouble = match ctx.account {
        AccountStatus::Active => return None,
        AccountStatus::Disabled => "Meta has disabled the ad account".to_owned(),
        AccountStatus::Unsettled => "the ad account has an unpaid bill".to_owned(),
        AccountStatus::Other(n) => format!("the ad account is in state {n} at Meta"),
    };
    Some(recheck(ctx, Rule::AccountTrouble, trouble))
}

/// Whether the tenant grants this kind of action still; it may have thought better of it since.
fn granted(ctx: &ChangeContext<'_>, kind: ActionKind) -> Option<Verdict> {
    if ctx.is_by_person() {
        return None;
    }
    let was_approved = ctx.change.proposed.needs_approval;
    match ctx.autonomy.for_action(kind) {
        Autonomy::Observe => Some(refuse(
            Rule::Autonomy,
            format!("the tenant only observes a {kind}"),
        )),
        Autonomy::Approve if !was_approved => Some(refuse(
            Rule::Autonomy,
            format!("a {kind} needs a person's approval by now, and nobody gave it"),
        )),
        Autonomy::Approve | Autonomy::Auto => None,
    }
}

/// Doubts about the data and a person's recent edit; a person's own request knows better.
fn doubts(ctx: &ChangeContext<'_>) -> Option<Verdict> {
    if ctx.is_by_person() {
        return None;
    }
    if let Some(edited) = ctx.foreign_edit_at {
        let until = time::add(edited, ctx.limits.human_edit_quiet);
        if until > ctx.now {
            let reason = "a person edited it lately, and their edit stands for a while";
            return Some(defer(ctx, Rule::HumanEdit, until, reason.into()));
        }
    }
    let faults = ctx.quality.faults(&ctx.limits.quality);
    let first = faults.first()?;
    Some(recheck(ctx, first.rule(), first.to_string()))
}

/// A budget: cadence first, then the bounds, which may clip it.
fn budget(ctx: &ChangeContext<'_>, live: Money, wanted: Money) -> Verdict {
    if !ctx.is_by_person() {
        if ctx.live.status != RunStatus::Active && wanted.minor() > live.minor() {
            let reason = format!(
                "it is {}, so that its budget is not raised",
                ctx.live.status
            );
            return refuse(Rule::NotRunning, reason);
        }
        if !is_useful(ctx, live, wanted.minor()) {
            let least = ctx.limits.min_change;
            let reason = format!("from {live} to {wanted} is less than {least}: not worth an edit");
            return refuse(Rule::MinChange, reason);
        }
    }
    let held = cadence::actions_per_hour(ctx)
        .or_else(|| cadence::budget_changes(ctx))
        .or_else(|| cadence::changes_per_day(ctx))
        .or_else(|| learning::quiet(ctx));
    if let Some(verdict) = held {
        return verdict;
    }
    if wanted.minor() > live.minor() {
        raise(ctx, live, wanted)
    } else {
        cut(ctx, live, wanted)
    }
}

/// A bound on a budget, and what to do when it leaves nothing of the change.
struct Limit {
    rule: Rule,
    /// The budget must not be above (a raise) or below (a cut) this, in minor units.
    minor: i64,
    /// When the bound may give way; `None` when waiting does not help.
    opens: Option<Timestamp>,
    reason: String,
}

fn raise(ctx: &ChangeContext<'_>, live: Money, wanted: Money) -> Verdict {
    let mut limits = velocity::upper(ctx, live, wanted);
    limits.extend(ceilings::upper(ctx, live));
    // Of equal bounds the first stated speaks.
    let tightest = limits.into_iter().min_by_key(|limit| limit.minor);
    let Some(limit) = tightest.filter(|limit| limit.minor < wanted.minor()) else {
        return in_bounds(ctx, wanted, None);
    };
    if limit.minor <= live.minor() || !is_useful(ctx, live, limit.minor) {
        return give_way(ctx, limit);
    }
    in_bounds(ctx, ctx.money(limit.minor), Some(limit.rule))
}

fn cut(ctx: &ChangeContext<'_>, live: Money, wanted: Money) -> Verdict {
    let mut limits = velocity::lower(ctx, live, wanted);
    limits.extend(ceilings::lower(ctx));
    // `max_by_key` gives the last of equals, and the first stated is to speak.
    let tightest = limits.into_iter().rev().max_by_key(|limit| limit.minor);
    let Some(limit) = tightest.filter(|limit| limit.minor > wanted.minor()) else {
        return in_bounds(ctx, wanted, None);
    };
    if limit.minor >= live.minor() || !is_useful(ctx, live, limit.minor) {
        return give_way(ctx, limit);
    }
    in_bounds(ctx, ctx.money(limit.minor), Some(limit.rule))
}

fn give_way(ctx: &ChangeContext<'_>, limit: Limit) -> Verdict {
    match limit.opens {
        Some(until) => defer(ctx, limit.rule, until, limit.reason),
        None => refuse(limit.rule, limit.reason),
    }
}

fn in_bounds(ctx: &ChangeContext<'_>, target: Money, clipped_by: Option<Rule>) -> Verdict {
    let floor = ceilings::floor(ctx);
    if target.minor() < floor.minor() {
        let reason = format!("{target} is below the least daily budget, {floor}");
        return refuse(Rule::Floor, reason);
    }
    Verdict::Allow {
        target: Target::DailyBudget(target),
        clipped_by,
    }
}

/// Whether a move from `live` to `minor` is worth an edit. A person's is, unless it is none.
fn is_useful(ctx: &ChangeContext<'_>, live: Money, minor: i64) -> bool {
    let step = live.minor().abs_diff(minor);
    let least = if ctx.is_by_person() {
        1
    } else {
        let share = ctx.limits.min_change.fraction();
        live.scale(share, Rounding::Up)
            .map_or(u64::MAX, |money| money.minor().unsigned_abs())
            .max(1)
    };
    step >= least
}

fn pause(ctx: &ChangeContext<'_>) -> Verdict {
    if ctx.change.proposed.origin == Origin::Stop {
        return allow_status(RunStatus::Paused);
    }
    if let Some(verdict) = cadence::actions_per_hour(ctx) {
        return verdict;
    }
    if matches!(ctx.entity(), EntityRef::Ad(_)) {
        match ctx.live_ads_in_ad_set {
            None => {
                let reason = "it is not known how many ads of the ad set deliver";
                return recheck(ctx, Rule::UnknownState, reason);
            }
            Some(0 | 1) if !ctx.limits.may_pause_last_ad => {
                let reason = "it is the last ad of its ad set that delivers";
                return refuse(Rule::LastLiveAd, reason);
            }
            Some(_) => {}
        }
        if let Some(verdict) = cadence::kills_per_day(ctx) {
            return verdict;
        }
    }
    allow_status(RunStatus::Paused)
}

fn resume(ctx: &ChangeContext<'_>) -> Verdict {
    let held = cadence::actions_per_hour(ctx).or_else(|| cadence::changes_per_day(ctx));
    if let Some(verdict) = held {
        return verdict;
    }
    let adds = ctx.sums.resume_adds.map_or(0, Money::minor);
    let after = ctx.sums.daily_budgets.minor().saturating_add(adds);
    for limit in ceilings::total(ctx) {
        if adds > 0 && after > limit.minor {
            return give_way(ctx, limit);
        }
    }
    allow_status(RunStatus::Active)
}

const fn allow_status(status: RunStatus) -> Verdict {
    Verdict::Allow {
        target: Target::Status(status),
        clipped_by: None,
    }
}

#[cfg(test)]
mod tests;
