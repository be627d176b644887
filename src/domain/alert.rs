//! What a person is told without having asked: in which words, how urgently, and what to do next.
//!
//! An alert is made from what stands in the store, so a daemon that was away tells of it later, and
//! each has a key, so that the same thing is told once however often it is found. Alerts name ids
//! and amounts and never a person of the CRM.

use std::fmt;

use super::audit::{AuditEvent, ChainedEntry};
use super::change::Target;
use super::ids::TenantId;
use super::money::Money;
use super::safety::Rule;
use super::structure::{EntityRef, RunStatus};
use super::time::{self, SignedDuration, TimeZone, Timestamp};

/// What is older than this when it is found is history: a new channel is not flooded with it.
pub const NEWS: SignedDuration = time::hours(24);

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something was done, as it should be.
    Notice,
    /// Something is held up or failed; nothing is lost.
    Warning,
    /// Nothing goes on before somebody acts.
    Critical,
}

impl Severity {
    /// Every severity, the least first.
    pub const ALL: [Self; 3] = [Self::Notice, Self::Warning, Self::Critical];

    /// The name stored and configured.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an alert tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// An ad was paused.
    Killed,
    /// A budget was raised by much.
    Raised,
    /// A change failed.
    Failed,
    /// Changes are held back for a reason that a person can mend.
    Held,
    /// The account behaves unlike its own past, and changes are held.
    Breaker,
    /// Changes wait for a person's approval.
    Waiting,
    /// A tenant or the daemon was paused or resumed.
    Paused,
    /// A vendor does not accept the tenant's token.
    Suspended,
    /// The tenant's actors failed too often.
    Parked,
    /// A stage has been in trouble for long.
    Down,
    /// The token ends soon.
    TokenEnds,
    /// Meta switches the configured version of its API off.
    VersionEnds,
    /// What happened yesterday.
    Digest,
    /// A person asked whether alerts arrive.
    Trial,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Killed,
        Self::Raised,
        Self::Failed,
        Self::Held,
        Self::Breaker,
        Self::Waiting,
        Self::Paused,
        Self::Suspended,
        Self::Parked,
        Self::Down,
        Self::TokenEnds,
        Self::VersionEnds,
        Self::Digest,
        Self::Trial,
    ];

    /// The name stored and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Raised => "raised",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Breaker => "breaker",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
            Self::Parked => "parked",
            Self::Down => "down",
            Self::TokenEnds => "token_ends",
            Self::VersionEnds => "version_ends",
            Self::Digest => "digest",
            Self::Trial => "trial",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// How urgent it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Killed
            | Self::Raised
            | Self::Waiting
            | Self::Paused
            | Self::Digest
            | Self::Trial => Severity::Notice,
            Self::Failed | Self::Held | Self::Breaker => Severity::Warning,
            Self::Suspended | Self::Parked | Self::Down | Self::TokenEnds | Self::VersionEnds => {
                Severity::Critical
            }
        }
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Whom it is about; `None` for the installation.
    pub tenant: Option<TenantId>,
    /// What it tells of.
    pub kind: AlertKind,
    /// What it tells of, exactly: two alerts of one key are the same.
    pub key: String,
    /// When it happened.
    pub at: Timestamp,
    /// What happened, in a sentence.
    pub text: String,
    /// What to do now, beginning with a verb.
    pub next_step: String,
}

/// What decides whether a line of the audit log is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worth {
    /// A raise of a daily budget by less is not told.
    pub raise_over: Money,
}

/// What a line of the audit log has to tell, if it is worth telling.
#[must_use]
pub fn of_audit_line(line: &ChainedEntry, worth: &Worth) -> Option<Alert> {
    let entry = &line.entry;
    let tenant = &entry.tenant;
    let object = entry.entity.as_ref().map(ToString::to_string);
    let object = object.as_deref().unwrap_or("an object");
    let change = entry.change.as_ref().map(ToString::to_string);
    let change = change.as_deref().unwrap_or("ID");
    let alert = |kind, text, next_step| {
        Some(Alert {
            tenant: Some(tenant.clone()),
            kind,
            key: format!("{tenant}/{kind}/{}", line.sequence),
            at: entry.at,
            text,
            next_step,
        })
    };
    let look = || format!("run: roasd explain {change} (why), roasd changes undo {change} (back)");
    match entry.event {
        AuditEvent::Completed => match (entry.before, entry.after, entry.entity.as_ref()) {
            (_, Some(Target::Status(RunStatus::Paused)), Some(EntityRef::Ad(_))) => {
                let text = format!("{object} was paused: {}", entry.detail);
                alert(AlertKind::Killed, text, look())
            }
            (Some(Target::DailyBudget(before)), Some(Target::DailyBudget(after)), _)
                if is_large(before, after, worth.raise_over) =>
            {
                let text = format!(
                    "the daily budget of {object} was raised from {before} to {after}: {}",
                    entry.detail
                );
                alert(AlertKind::Raised, text, look())
            }
            _ => None,
        },
        AuditEvent::Failed => {
            let text = format!("a change of {object} failed: {}", entry.detail);
            let next = format!("run: roasd changes show {change}");
            alert(AlertKind::Failed, text, next)
        }
        AuditEvent::Deferred | AuditEvent::Refused => {
            let rule = entry.rule.as_deref().and_then(Rule::parse)?;
            if !is_mendable(rule) {
                return None;
            }
            let text = format!("changes are held back ({rule}): {}", entry.detail);
            let day = time::day_of(entry.at, &TimeZone::UTC);
            Some(Alert {
                tenant: Some(tenant.clone()),
                kind: AlertKind::Held,
                // Every change meets the guard, and the tenant hears of it once a day.
                key: format!("{tenant}/held/{rule}/{day}"),
                at: entry.at,
                text,
                next_step: format!("run: roasd status {tenant} and mend what it names"),
            })
        }
        AuditEvent::BreakerTripped => {
            let text = format!("a breaker tripped: {}", entry.detail);
            alert(
                AlertKind::Breaker,
                text,
                format!(
                    "look at the account, then run: roasd resume {tenant}; it ends by itself too"
                ),
            )
        }
        AuditEvent::Paused => {
            let text = format!("{} paused roasd: {}", entry.actor, entry.detail);
            alert(
                AlertKind::Paused,
                text,
                format!("run: roasd resume {tenant} when it may go on"),
            )
        }
        AuditEvent::Resumed => {
            let text = format!("{} resumed roasd", entry.actor);
            let next = "nothing is to be done".to_owned();
            alert(AlertKind::Paused, text, next)
        }
        AuditEvent::Proposed
        | AuditEvent::Approved
        | AuditEvent::Rejected
        | AuditEvent::Executing
        | AuditEvent::Cancelled
        | AuditEvent::Expired
        | AuditEvent::ForeignEdit => None,
    }
}

/// Whether a raise is worth telling. One whose size cannot be said is.
fn is_large(before: Money, after: Money, over: Money) -> bool {
    let Ok(raise) = after.checked_sub(before) else {
        return true;
    };
    let is_raise = !raise.is_negative() && !raise.is_zero();
    is_raise && raise.compare(over).is_none_or(std::cmp::Ordering::is_ge)
}

/// Whether a guard holds for a reason that lasts until a person acts, rather than for a while or
/// because a limit is reached as it should be.
const fn is_mendable(rule: Rule) -> bool {
    match rule {
        Rule::UnknownState
        | Rule::AccountTrouble
        | Rule::CurrencyMismatch
        | Rule::TimeZoneMismatch
        | Rule::StaleInsights
        | Rule::StaleCrm
        | Rule::LowCoverage
        | Rule::ZeroConversions => true,
        Rule::Expired
        | Rule::Paused
        | Rule::TenantParked
        | Rule::HandsOff
        | Rule::Autonomy
        | Rule::HumanEdit
        | Rule::NotRunning
        | Rule::MinChange
        | Rule::LearningQuiet
        | Rule::ActionsPerHour
        | Rule::AdSetCadence
        | Rule::MetaCadence
        | Rule::ChangesPerDay
        | Rule::SpendPerDay
        | Rule::Blackout
        | Rule::BusinessHours
        // Told once, when it tripped.
        | Rule::BreakerSpendRate
        | Rule::BreakerCostPerLead
        | Rule::BreakerErrors
        | Rule::KillsPerDay
        | Rule::LastLiveAd
        | Rule::Velocity
        | Rule::DailyVelocity
        | Rule::DailyCap
        | Rule::WeeklyCeiling
        | Rule::WorstDay
        | Rule::AdSetCeiling
        | Rule::CampaignCeiling
        | Rule::Floor
        | Rule::AboveSpent10 => false,
    }
}

/// That a vendor does not accept the tenant's token, or the account is in trouble.
#[must_use]
pub fn suspended(tenant: &TenantId, since: Timestamp, reason: &str) -> Alert {
    standing(
        tenant,
        AlertKind::Suspended,
        since,
        format!("nothing is written any more: {reason}"),
        format!("run: roasd check --online --tenant {tenant}, then renew what it names"),
    )
}

/// That the tenant's actors failed too often.
#[must_use]
pub fn parked(tenant: &TenantId, since: Timestamp, reason: &str) -> Alert {
    standing(
        tenant,
        AlertKind::Parked,
        since,
        format!("it failed too often and was parked: {reason}"),
        format!("read the log, mend the cause, then run: roasd resume {tenant}"),
    )
}

/// That a stage has been in trouble for longer than its grace.
#[must_use]
pub fn down(tenant: &TenantId, stage: &str, since: Timestamp, reason: &str) -> Alert {
    let mut alert = standing(
        tenant,
        AlertKind::Down,
        since,
        format!("its {stage} has not worked since {since:.0}: {reason}"),
        format!("run: roasd status {tenant}; it goes on by itself when the cause is gone"),
    );
    alert.key = format!("{}/{stage}", alert.key);
    alert
}

/// A state that began at `since` and lasts: told once per beginning.
fn standing(
    tenant: &TenantId,
    kind: AlertKind,
    since: Timestamp,
    text: String,
    next_step: String,
) -> Alert {
    Alert {
        tenant: Some(tenant.clone()),
        kind,
        key: format!("{tenant}/{kind}/{}", time::to_micros(since)),
        at: since,
        text,
        next_step,
    }
}

/// That so many changes wait for approval; told once a day.
#[must_use]
pub fn waiting(tenant: &TenantId, count: u64, now: Timestamp) -> Option<Alert> {
    let noun = match count {
        0 => return None,
        1 => "change waits",
        _ => "changes wait",
    };
    let day = time::day_of(now, &TimeZone::UTC);
    Some(Alert {
        tenant: Some(tenant.clone()),
        kind: AlertKind::Waiting,
        key: format!("{tenant}/waiting/{day}"),
        at: now,
        text: format!("{count} {noun} for your approval"),
        next_step: format!(
            "run: roasd changes list --tenant {tenant} --state awaiting_approval, then roasd \
             changes approve ID; what nobody approves lapses"
        ),
    })
}

/// How long before its end a token or an API version is told of: at the first look within 14 days,
/// and again within 3 days and on the last one.
fn countdown(ends: Timestamp, now: Timestamp) -> Option<u8> {
    let left = time::between(now, ends);
    if left > time::days(14) {
        None
    } else if left > time::days(3) {
        Some(14)
    } else if left > time::days(1) {
        Some(3)
    } else {
        Some(1)
    }
}

/// That the tenant's token at Meta ends soon, or has ended.
#[must_use]
pub fn token_ends(tenant: &TenantId, ends: Timestamp, now: Timestamp) -> Option<Alert> {
    let step = countdown(ends, now)?;
    Some(Alert {
        tenant: Some(tenant.clone()),
        kind: AlertKind::TokenEnds,
        key: format!("{tenant}/token_ends/{}/{step}", time::to_micros(ends)),
        at: now,
        text: format!("its token at Meta ends at {ends:.0}; nothing is read or written after that"),
        next_step: "renew it in the business portfolio, put it where meta.access_token names it, \
                    and run: systemctl reload roasd"
            .to_owned(),
    })
}

/// That Meta switches a version of its API off soon, or has.
#[must_use]
pub fn version_ends(version: &str, ends: Timestamp, now: Timestamp) -> Option<Alert> {
    let step = countdown(ends, now)?;
    let day = time::day_of(ends, &TimeZone::UTC);
    Some(Alert {
        tenant: None,
        kind: AlertKind::VersionEnds,
        key: format!("version_ends/{version}/{step}"),
        at: now,
        text: format!("Meta switches version {version} of its Marketing API off on {day}"),
        next_step: "set meta.api_version to a newer one, run: roasd check --online, and reload"
            .to_owned(),
    })
}

/// What a day came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayFigures {
    /// The day, in the account's time.
    pub day: time::Date,
    /// What the account spent; `None` where it was not read.
    pub spend: Option<Money>,
    /// What the stages that deals reached are worth, as far as it is credited to ads.
    pub pipeline: Option<Money>,
    /// Budgets raised.
    pub raised: u64,
    /// Budgets lowered.
    pub lowered: u64,
    /// Ads paused.
    pub paused: u64,
    /// Ads let run again.
    pub resumed: u64,
    /// Changes that failed.
    pub failed: u64,
    /// Changes held back or refused, by the guard, the most frequent first.
    pub held: Vec<(String, u64)>,
    /// Changes that wait for approval now.
    pub waiting: u64,
}

/// The daily digest.
#[must_use]
pub fn digest(tenant: &TenantId, figures: &DayFigures, now: Timestamp) -> Alert {
    let DayFigures {
        day,
        spend,
        pipeline,
        raised,
        lowered,
        paused,
        resumed,
        failed,
        held,
        waiting,
    } = figures;
    let mut said = vec![match (spend, pipeline) {
        (Some(spend), Some(pipeline)) => {
            let roas = if spend.is_zero() {
                String::new()
            } else {
                format!(" (ROAS {:.2})", pipeline.to_f64() / spend.to_f64())
            };
            format!("spent {spend}, stages reached are worth {pipeline}{roas}")
        }
        (Some(spend), None) => format!("spent {spend}"),
        (None, _) => "no figures of the day were read".to_owned(),
    }];
    let done = [
        (*raised, "raised"),
        (*lowered, "lowered"),
        (*paused, "paused"),
        (*resumed, "resumed"),
        (*failed, "failed"),
    ];
    let done: Vec<String> = done
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    said.push(if done.is_empty() {
        "nothing was changed".to_owned()
    } else {
        format!("changes: {}", done.join(", "))
    });
    if !held.is_empty() {
        let held: Vec<String> = held
            .iter()
            .take(3)
            .map(|(rule, count)| format!("{rule} {count}"))
            .collect();
        said.push(format!("held back by {}", held.join(", ")));
    }
    let next_step = if *waiting > 0 {
        said.push(format!("{waiting} wait for approval"));
        format!("run: roasd changes list --tenant {tenant} --state awaiting_approval")
    } else {
        format!("run: roasd changes list --tenant {tenant} to see each")
    };
    Alert {
        tenant: Some(tenant.clone()),
        kind: AlertKind::Digest,
        key: format!("{tenant}/digest/{day}"),
        at: now,
        text: format!("{day}: {}", said.join("; ")),
        next_step,
    }
}

/// Several alerts of one tenant as one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The most urgent of them.
    pub severity: Severity,
    /// Whom it is about, for the eye.
    pub name: String,
    /// A line for a subject or a notification.
    pub subject: String,
    /// What it tells, the most urgent first.
    pub alerts: Vec<Alert>,
}

/// Puts alerts of one tenant, called `name`, into one message; `None` when there are none.
#[must_use]
pub fn compose(name: &str, mut alerts: Vec<Alert>) -> Option<Message> {
    alerts
        .sort_by(|a, b| (b.kind.severity(), a.at, &a.key).cmp(&(a.kind.severity(), b.at, &b.key)));
    // What people call a tenant goes into headers and markup.
    let name = name.replace(char::is_control, " ");
    let first = alerts.first()?;
    let severity = first.kind.severity();
    let text: String = first.text.chars().take(120).collect();
    let more = match alerts.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let urgent = match severity {
        Severity::Critical => "CRITICAL: ",
        Severity::Warning => "warning: ",
        Severity::Notice => "",
    };
    Some(Message {
        severity,
        subject: format!("roasd: {urgent}{name}: {text}{more}"),
        alerts,
        name,
    })
}

impl Message {
    /// The message as plain text, a paragraph an alert.
    #[must_use]
    pub fn plain(&self) -> String {
        let mut text = String::new();
        for alert in &self.alerts {
            text.push_str(&format!(
                "[{}] {}: {}\n  Next: {}.\n  ({:.0})\n\n",
                alert.kind.severity(),
                self.name,
                alert.text,
                alert.next_step,
                alert.at
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests;
