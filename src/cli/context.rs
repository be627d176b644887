//! What the commands that look into the daemon's database share: the store, the time, how ids and
//! times are shown and found again.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Bound::{Excluded, Unbounded};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::run::clock_of;
use crate::clock::Clock;
use crate::config::{Config, ConfigFaults, Environment};
use crate::domain::change::{PendingChange, Target};
use crate::domain::ids::TenantId;
use crate::domain::time::{self, Timestamp};
use crate::store::changes::ChangeFilter;
use crate::store::{self, Store};

/// Where a command writes.
pub type Out<'a> = &'a mut (dyn Write + Send);

/// So many of the newest changes are looked at to find ids again.
const KNOWN_CHANGES: u32 = 5_000;

/// The shortest that an id is cut to.
const SHORTEST: usize = 8;

/// What a command over the store is given.
#[derive(Clone)]
pub struct CliContext {
    /// The configuration.
    pub config: Config,
    /// The daemon's database.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether a program reads the output.
    pub json: bool,
    /// Whether a person looks at it on a terminal.
    pub is_terminal: bool,
}

impl std::fmt::Debug for CliContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CliContext")
            .field("json", &self.json)
            .field("is_terminal", &self.is_terminal)
            .finish_non_exhaustive()
    }
}

impl CliContext {
    /// Opens the database that the configuration names; there must be one.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub async fn open(config: Config, json: bool, is_terminal: bool) -> anyhow::Result<Self> {
        let store = store::open_existing(config.database_url().expose()).await?;
        let clock = clock_of(&config);
        Ok(Self {
            config,
            store,
            clock,
            json,
            is_terminal,
        })
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Every tenant of the configuration or the database, by id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tenants(&self) -> anyhow::Result<BTreeSet<TenantId>> {
        let mut tenants: BTreeSet<TenantId> = self.config.tenants.keys().cloned().collect();
        tenants.extend(self.store.tenants().await?);
        Ok(tenants)
    }

    /// The tenants a command is about: the one named, or all. `Err` in the answer is what to tell
    /// somebody who named one that is not there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn chosen(
        &self,
        named: Option<&TenantId>,
    ) -> anyhow::Result<Result<Vec<TenantId>, String>> {
        let known = self.tenants().await?;
        let Some(named) = named else {
            return Ok(Ok(known.into_iter().collect()));
        };
        if known.contains(named) {
            return Ok(Ok(vec![named.clone()]));
        }
        let known: Vec<&str> = known.iter().map(TenantId::as_str).collect();
        Ok(Err(format!(
            "there is no tenant {named}; the tenants are: {}",
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            }
        )))
    }

    /// The change that an id or the beginning of one names; `Err` in the answer says why there is
    /// none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find_change(&self, id: &str) -> anyhow::Result<Result<PendingChange, String>> {
        if let Some(change) = self.store.change(id).await? {
            return Ok(Ok(change));
        }
        let fits: Vec<String> = self
            .newest_changes()
            .await?
            .into_iter()
            .map(|change| change.proposed.id.to_string())
            .filter(|known| !id.is_empty() && known.starts_with(id))
            .take(5)
            .collect();
        Ok(Err(if fits.is_empty() {
            format!("there is no change {id}; `roasd changes list --all` shows them")
        } else {
            format!("several changes begin with {id}: {}", fits.join(", "))
        }))
    }

    /// Cuts ids of changes as short as they can be and still be found again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn shortener(&self) -> anyhow::Result<Shortener> {
        let changes = self.newest_changes().await?;
        Ok(Shortener::new(
            changes.iter().map(|c| c.proposed.id.to_string()),
        ))
    }

    async fn newest_changes(&self) -> anyhow::Result<Vec<PendingChange>> {
        let filter = ChangeFilter {
            limit: KNOWN_CHANGES,
            ..ChangeFilter::default()
        };
        Ok(self.store.changes(&filter).await?)
    }
}

/// Reads the configuration for a command; without its file when a database is named, so that the
/// daemon can be paused while its configuration is broken.
///
/// # Errors
/// With every fault of the configuration.
pub fn load_config(
    file: Option<&Path>,
    database: Option<&str>,
    environment: &Environment,
) -> Result<Config, ConfigFaults> {
    match database {
        None => Config::load(file, environment),
        Some(database) => {
            let url = Value::String(if database.contains(':') {
                database.to_owned()
            } else {
                format!("sqlite:{database}")
            });
            let text = format!("[daemon]\ndatabase_url = {url}\n");
            Config::from_text("--database", &text, environment)
        }
    }
}

/// Who acts, for the audit log: the person behind `sudo`, else the user.
#[must_use]
pub fn actor() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|user| !user.is_empty());
    format!("cli:{}", user.as_deref().unwrap_or("unknown"))
}

/// Reads a time of an argument: an instant, or a day, which begins at midnight in UTC.
///
/// # Errors
/// With what may be written.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    let day = || time::parse_date(text).map(|day| time::day_start(day, &time::TimeZone::UTC));
    text.parse::<Timestamp>()
        .or_else(|_| day())
        .map_err(|_| "write 2026-11-24T08:00:00Z, or 2026-11-24 for midnight (UTC)".to_owned())
}

/// Writes JSON for a program.
///
/// # Errors
/// When the output cannot be written.
pub fn print_json(out: Out<'_>, value: &Value) -> anyhow::Result<()> {
    writeln!(out, "{value:#}").context("the output cannot be written")
}

/// Text of others, fit for a terminal: no control characters, which could move its cursor.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| *c == '\n' || !c.is_control())
        .collect()
}

/// A target for programs.
#[must_use]
pub fn target_json(target: Target) -> Value {
    match target {
        Target::DailyBudget(money) => json!({
            "daily_budget": { "minor": money.minor(), "currency": money.currency().code() }
        }),
        Target::Status(status) => json!({ "status": status.as_str() }),
    }
}

/// A change for programs.
#[must_use]
pub fn change_json(change: &PendingChange) -> Value {
    use crate::domain::change::Origin;
    let p = &change.proposed;
    let (decision, undoes) = match &p.origin {
        Origin::Decision(id) => (Some(id.as_str()), None),
        Origin::Undo(id) => (None, Some(id.as_str())),
        Origin::Stop => (None, None),
    };
    json!({
        "id": p.id.as_str(),
        "tenant": p.tenant.as_str(),
        "entity": { "kind": p.entity.kind().as_str(), "id": p.entity.id(), "name": p.entity_name },
        "campaign": p.campaign.as_str(),
        "from": target_json(p.expected),
        "to": target_json(p.requested),
        "sent": change.intent.map(target_json),
        "state": change.state.as_str(),
        "rule": change.rule,
        "note": change.note,
        "reason": p.reason,
        "decision": decision,
        "undoes": undoes,
        "confidence": p.confidence,
        "attempt": change.attempt,
        "proposed_at": p.proposed_at.to_string(),
        "earliest_at": p.earliest_at.to_string(),
        "expires_at": p.expires_at.to_string(),
        "updated_at": change.updated_at.to_string(),
    })
}

/// Cuts ids to a length at which each still names one thing.
#[derive(Debug, Clone, Default)]
pub struct Shortener(BTreeSet<String>);

impl Shortener {
    /// For these ids.
    pub fn new(ids: impl IntoIterator<Item = String>) -> Self {
        Self(ids.into_iter().collect())
    }

    /// The shortest beginning of `id`, of at least eight characters, that no other id shares.
    #[must_use]
    pub fn short<'a>(&self, id: &'a str) -> &'a str {
        let common = |other: &String| {
            id.char_indices()
                .zip(other.chars())
                .find(|((_, a), b)| a != b)
                .map_or_else(|| id.len().min(other.len()), |((at, _), _)| at)
        };
        let before = self
            .0
            .range::<str, _>((Unbounded, Excluded(id)))
            .next_back()
            .map_or(0, common);
        let after = self
            .0
            .range::<str, _>((Excluded(id), Unbounded))
            .next()
            .map_or(0, common);
        let keep = SHORTEST.max(before.max(after) + 1);
        id.char_indices()
            .nth(keep)
            .and_then(|(at, _)| id.get(..at))
            .unwrap_or(id)
    }
}

/// How long ago, or how far ahead, in one unit: `3 h ago`, `in 5 min`.
#[must_use]
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = time::between(at, now).as_secs();
    let (size, ahead) = (seconds.unsigned_abs(), seconds < 0);
    let span = match size {
        0..=4 => return "just now".to_owned(),
        5..=119 => format!("{size} s"),
        120..=7_199 => format!("{} min", size / 60),
        7_200..=172_799 => format!("{} h", size / 3_600),
        _ => format!("{} days", size / 86_400),
    };
    if ahead {
        format!("in {span}")
    } else {
        format!("{span} ago")
    }
}

/// An instant in UTC to the second: `2026-11-24 09:00:00Z`.
#[must_use]
pub fn utc(at: Timestamp) -> String {
    let second = time::from_seconds(at.as_second()).to_string();
    second.replace('T', " ")
}

/// An instant in UTC with its distance: `2026-11-24 09:00:00Z (3 h ago)`.
#[must_use]
pub fn when(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", utc(at), ago(at, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_one_unit() {
        let now = time::from_seconds(1_790_000_000);
        for (seconds, told) in [
            (0, "just now"),
            (4, "just now"),
            (59, "59 s ago"),
            (120, "2 min ago"),
            (7_200, "2 h ago"),
            (172_800, "2 days ago"),
            (-90, "in 90 s"),
            (-86_400, "in 24 h"),
        ] {
            assert_eq!(ago(time::from_seconds(1_790_000_000 - seconds), now), told);
        }
        let at = time::from_millis(1_790_000_000_250);
        assert_eq!(when(at, now), "2026-09-21 14:13:20Z (just now)");
    }

    #[test]
    fn an_id_is_cut_no_shorter_than_it_can_be_found_again() {
        let ids = [
            "abcdefgh-1",
            "abcdefgh-2x",
            "zz",
            "abcdefghi",
            "mmmmmmmmmmmm",
        ];
        let shortener = Shortener::new(ids.map(str::to_owned));
        for (id, short) in [
            ("abcdefgh-1", "abcdefgh-1"),
            ("abcdefgh-2x", "abcdefgh-2"),
            ("abcdefghi", "abcdefghi"),
            ("zz", "zz"),
            ("mmmmmmmmmmmm", "mmmmmmmm"),
        ] {
            assert_eq!(shortener.short(id), short);
            let fits = ids.iter().filter(|known| known.starts_with(short));
            assert_eq!(fits.count(), 1, "{short}");
        }
    }

    #[test]
    fn a_database_can_be_named_without_a_configuration() {
        let none = Environment::from([] as [(&str, &str); 0]);
        let config = load_config(None, Some("/var/lib/roasd/roasd.db"), &none).unwrap();
        assert_eq!(
            config.database_url().expose(),
            "sqlite:/var/lib/roasd/roasd.db"
        );
        assert!(config.tenants.is_empty());
    }
}
