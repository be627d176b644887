//! `roasd move`: the SQLite database into an empty PostgreSQL, with proof.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::context::{Out, print_json};
use super::table::TextTable;
use super::{Exit, audit, complain};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Environment};
use crate::domain::time::{self, Timestamp};
use crate::store::copy::{Compared, CopyError, LEFT_OUT, Move, Phase, Progress, Standing};
use crate::store::{self, StoreError};

/// What `move` takes.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Stop the daemon first: nothing may write to the file meanwhile. The file is only read, and stays as it
is. The target must be empty: createdb --owner USER DATABASE. A move that was interrupted goes on when
the same command is given again, and until it is finished no daemon starts on the target. At the end both
sides are read back and compared value by value, and the audit log is verified on the target.

Exit code: 0 when both sides are the same, 1 when not, 2 for a wrong command line or configuration.")]
pub struct MoveArgs {
    /// Where to.
    #[command(flatten)]
    pub to: Destination,
    /// Write nothing. Tell what would be copied into an empty target, and compare one that holds a copy.
    #[arg(long)]
    pub check: bool,
}

/// The address of the target, from one of several places.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Destination {
    /// The target's address. Everybody on this machine can read a command line: leave the password
    /// to ~/.pgpass, or give the address by --to-env or --to-file.
    #[arg(long = "to", value_name = "URL")]
    pub url: Option<String>,
    /// The environment variable that holds the target's address.
    #[arg(long = "to-env", value_name = "NAME")]
    pub env: Option<String>,
    /// The file that holds the target's address.
    #[arg(long = "to-file", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

impl Destination {
    /// The address; `Err` says why there is none.
    fn address(&self, environment: &Environment) -> Result<String, String> {
        let (text, origin) = if let Some(url) = &self.url {
            (url.clone(), "--to".to_owned())
        } else if let Some(name) = &self.env {
            let value = environment.get(name);
            let value =
                value.ok_or_else(|| format!("the environment variable {name} is not set"))?;
            (value.to_owned(), format!("environment variable {name}"))
        } else if let Some(file) = &self.file {
            let place = format!("the file {}", file.display());
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("{place} cannot be read: {error}"))?;
            (text.trim_end().to_owned(), place)
        } else {
            return Err("say where to: --to URL".to_owned());
        };
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Ok(text)
        } else {
            // What it says may be a password and is not repeated.
            Err(format!(
                "{origin} is no address of a PostgreSQL; write postgres://USER@HOST:PORT/DATABASE"
            ))
        }
    }

    /// What to write into `config.toml`, and what else it takes.
    fn setting(&self, address: &str) -> (String, Option<String>) {
        let quoted = |text: &str| Value::from(text).to_string();
        if let Some(name) = &self.env {
            return (format!("database_url = {{ env = {} }}", quoted(name)), None);
        }
        if let Some(file) = &self.file {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            let file = quoted(&file.to_string_lossy());
            return (format!("database_url = {{ file = {file} }}"), None);
        }
        let (bare, had_password) = without_password(address);
        let plain = format!("database_url = {}", quoted(&bare));
        let note = had_password.then(|| {
            "with the password in ~/.pgpass of the daemon's user; or keep the address with its password \
             as a systemd credential:\n\n    database_url = { credential = \"roasd-database\" }"
                .to_owned()
        });
        (plain, note)
    }
}

/// An address without its password, and whether it had one.
fn without_password(address: &str) -> (String, bool) {
    let Ok(mut url) = url::Url::parse(address) else {
        return (String::new(), true);
    };
    let in_query = url.query_pairs().any(|(name, _)| name == "password");
    let had = in_query || url.password().is_some();
    let _ = url.set_password(None); // an address without a host has none
    if in_query {
        let kept: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| name != "password")
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
    }
    (url.into(), had)
}

/// Copies the configured SQLite database and compares both sides.
///
/// # Errors
/// When a daemon runs on the file, a side cannot be read or written, or the target is in use.
pub async fn run(
    args: &MoveArgs,
    config: &Config,
    environment: &Environment,
    is_json: bool,
    is_terminal: bool,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    let source = config.database_url();
    let Some(file) = store::file_of(source.expose()) else {
        complain(
            "the configured database is on PostgreSQL already; to copy a file, name it: \
             roasd --database FILE move --to URL",
        );
        return Ok(Exit::Usage);
    };
    let address = match args.to.address(environment) {
        Ok(address) => address,
        Err(problem) => {
            complain(&problem);
            return Ok(Exit::Usage);
        }
    };
    if !file.exists() {
        complain(&format!(
            "there is no database {}; name the daemon's: roasd --database FILE move --to URL",
            file.display()
        ));
        return Ok(Exit::Usage);
    }
    // Until the end, so that no daemon starts in the middle.
    let _lock = crate::daemon::lock_database(source.expose())
        .context("the daemon must be stopped for a move (systemctl stop roasd)")?;
    let mut screen = Screen {
        bar: bar(is_json),
        clock: SystemClock::real(),
        is_json,
        is_terminal,
        out,
    };
    let began = screen.clock.wall();
    let mut watch = |progress| show(&screen.bar, progress);
    let mut moving = Move::open(source.expose(), &address, !args.check, &mut watch).await?;
    let standing = moving.standing().await?;
    if args.check && !matches!(standing, Standing::Used(_)) {
        screen.forecast(&mut moving, standing).await?;
        moving.close().await;
        return Ok(Exit::Done);
    }
    let mut done = Done {
        from: format!("sqlite:{}", moving.source_path().display()),
        to: moving.target_place().to_owned(),
        foreign: moving.foreign_tables().await?,
        is_check: args.check,
        read_s: seconds_since(began, &screen.clock),
        ..Done::default()
    };
    if !args.check {
        let began = screen.clock.wall();
        let mut watch = |progress| show(&screen.bar, progress);
        done.is_resumed = standing == Standing::Unfinished;
        done.copied = moving.copy(&mut watch).await.map_err(interrupted)?;
        done.copy_s = seconds_since(began, &screen.clock);
    }
    let began = screen.clock.wall();
    let mut watch = |progress| show(&screen.bar, progress);
    done.tables = moving.compare(&mut watch).await.map_err(interrupted)?;
    done.verify_s = seconds_since(began, &screen.clock);
    screen.bar.finish_and_clear();
    if args.check || !done.is_same() {
        moving.close().await;
    } else {
        moving.finish().await?;
        done.audit = verify_audit(&address).await?;
        (done.setting, done.note) = args.to.setting(&address);
    }
    screen.report(&done)?;
    Ok(if done.is_whole() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// What to do about trouble in the middle.
fn interrupted(error: CopyError) -> anyhow::Error {
    let passes = matches!(error, CopyError::Store(StoreError::Unavailable { .. }));
    let error = anyhow::Error::new(error);
    if passes {
        error.context("not finished; the same command goes on where this one stopped")
    } else {
        error
    }
}

/// The audit log of a tenant on the target.
#[derive(Debug)]
struct Chain {
    tenant: String,
    lines: i64,
    broken: Option<(i64, String)>,
}

/// Opens the target as a daemon would, and checks every chain in it.
async fn verify_audit(address: &str) -> anyhow::Result<Vec<Chain>> {
    let store = store::open_existing(address).await?;
    let mut chains = Vec::new();
    for tenant in store.tenants().await? {
        let checked = audit::check(&tenant, &*store).await?;
        chains.push(Chain {
            tenant: tenant.to_string(),
            lines: checked.lines,
            broken: checked.broken,
        });
    }
    store.close().await;
    Ok(chains)
}

/// What came of it.
#[derive(Debug, Default)]
struct Done {
    from: String,
    to: String,
    tables: Vec<Compared>,
    foreign: Vec<String>,
    audit: Vec<Chain>,
    copied: u64,
    is_resumed: bool,
    is_check: bool,
    read_s: f64,
    copy_s: f64,
    verify_s: f64,
    setting: String,
    note: Option<String>,
}

impl Done {
    fn is_same(&self) -> bool {
        self.tables.iter().all(Compared::is_same)
    }

    fn is_whole(&self) -> bool {
        self.is_same() && self.audit.iter().all(|chain| chain.broken.is_none())
    }

    fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.source.rows).sum()
    }

    fn to_json(&self) -> Value {
        let tables: Vec<_> = self
            .tables
            .iter()
            .map(|table| {
                json!({
                    "table": table.table,
                    "rows": table.source.rows,
                    "checksum": table.source.checksum,
                    "target_rows": table.target.rows,
                    "target_checksum": table.target.checksum,
                    "ok": table.is_same(),
                    "first_difference": table.first_difference,
                })
            })
            .collect();
        let chain = |chain: &Chain| {
            json!({
                "tenant": chain.tenant,
                "lines": chain.lines,
                "holds": chain.broken.is_none(),
            })
        };
        json!({
            "from": self.from,
            "to": self.to,
            "ok": self.is_whole(),
            "is_finished": !self.setting.is_empty(),
            "is_resumed": self.is_resumed,
            "rows": self.rows(),
            "copied": self.copied,
            "tables": tables,
            "not_copied": not_copied(&self.foreign),
            "audit": self.audit.iter().map(chain).collect::<Vec<_>>(),
            "seconds": { "read": self.read_s, "copy": self.copy_s, "verify": self.verify_s },
            "setting": self.setting,
        })
    }
}

fn not_copied(foreign: &[String]) -> Vec<Value> {
    let known = LEFT_OUT
        .iter()
        .map(|left_out| json!({ "table": left_out.table, "why": left_out.why }));
    let foreign = foreign
        .iter()
        .map(|table| json!({ "table": table, "why": "it is not a table of roasd" }));
    known.chain(foreign).collect()
}

/// Where the outcome is shown.
struct Screen<'a> {
    bar: indicatif::ProgressBar,
    clock: SystemClock,
    is_json: bool,
    is_terminal: bool,
    out: Out<'a>,
}

impl Screen<'_> {
    /// Says what would be done.
    async fn forecast(&mut self, moving: &mut Move, standing: Standing) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        let foreign = moving.foreign_tables().await?;
        let is_begun = standing == Standing::Unfinished;
        if self.is_json {
            let tables: Vec<_> = moving
                .sums()
                .map(|(table, sum)| {
                    json!({ "table": table, "rows": sum.rows, "checksum": sum.checksum })
                })
                .collect();
            let report = json!({
                "to": moving.target_place(),
                "is_begun": is_begun,
                "tables": tables,
                "not_copied": not_copied(&foreign),
            });
            return print_json(self.out, &report);
        }
        let heads = ["table", "rows", "checksum"];
        let mut table = TextTable::new(&heads, self.is_terminal).right(&[1]);
        for (name, sum) in moving.sums() {
            table.row([name, &sum.rows.to_string(), short(&sum.checksum)]);
        }
        writeln!(self.out, "{}\n", table.render())?;
        self.left_out(&foreign)?;
        let place = moving.target_place();
        if is_begun {
            writeln!(
                self.out,
                "A copy of this into {place} was begun; without --check it goes on."
            )?;
        } else {
            writeln!(
                self.out,
                "{place} is empty, and this would be copied into it. Nothing was written."
            )?;
        }
        Ok(())
    }

    fn left_out(&mut self, foreign: &[String]) -> anyhow::Result<()> {
        for left_out in LEFT_OUT {
            writeln!(
                self.out,
                "not copied: {} ({})",
                left_out.table, left_out.why
            )?;
        }
        for table in foreign {
            writeln!(self.out, "NOT COPIED: {table} (it is not a table of roasd)")?;
        }
        Ok(())
    }

    /// Says what was done.
    fn report(&mut self, done: &Done) -> anyhow::Result<()> {
        if self.is_json {
            return print_json(self.out, &done.to_json());
        }
        let heads = ["table", "rows", "checksum", "ok"];
        let mut table = TextTable::new(&heads, self.is_terminal).right(&[1]);
        for compared in &done.tables {
            table.row([
                compared.table,
                &compared.source.rows.to_string(),
                short(&compared.source.checksum),
                &verdict(compared),
            ]);
        }
        writeln!(self.out, "{}\n", table.render())?;
        self.left_out(&done.foreign)?;
        for chain in &done.audit {
            match &chain.broken {
                None => writeln!(
                    self.out,
                    "audit log of {}: {} lines hold",
                    chain.tenant, chain.lines
                )?,
                Some((line, what)) => writeln!(
                    self.out,
                    "audit log of {}: BROKEN at line {line}: {what}. It was so in the file, since both \
                     sides are the same; compare it with a backup",
                    chain.tenant
                )?,
            }
        }
        self.times(done)?;
        self.advice(done)
    }

    fn times(&mut self, done: &Done) -> anyhow::Result<()> {
        let rows = done.rows();
        let whole_s = done.read_s + done.copy_s + done.verify_s;
        write!(self.out, "{rows} rows: read in {:.1} s, ", done.read_s)?;
        if done.copied > 0 {
            let rate = done.copied as f64 / done.copy_s.max(1e-3);
            let (copied, copy_s) = (done.copied, done.copy_s);
            write!(
                self.out,
                "{copied} copied in {copy_s:.1} s ({rate:.0} a second), "
            )?;
        }
        if done.is_resumed {
            write!(self.out, "the rest was there from before, ")?;
        }
        writeln!(
            self.out,
            "read back in {:.1} s; {:.0} rows a second in all",
            done.verify_s,
            rows as f64 / whole_s.max(1e-3)
        )?;
        Ok(())
    }

    fn advice(&mut self, done: &Done) -> anyhow::Result<()> {
        if !done.is_same() {
            let remedy = if done.is_check {
                "A daemon that has run on either since the copy makes them differ. If none has, the \
                 copy must not be used."
            } else {
                "Do not use the copy: make the database anew and start again: dropdb DATABASE && \
                 createdb --owner USER DATABASE"
            };
            let (from, to) = (&done.from, &done.to);
            writeln!(self.out, "\n{from} and {to} are NOT the same. {remedy}")?;
        } else if done.setting.is_empty() {
            writeln!(self.out, "\n{} and {} are the same.", done.from, done.to)?;
        } else {
            writeln!(
                self.out,
                "\nBoth sides are the same. Put this under [daemon] in config.toml, in place of what is \
                 there, and start the daemon:\n\n    {}\n",
                done.setting
            )?;
            if let Some(note) = &done.note {
                writeln!(self.out, "{note}\n")?;
            }
            writeln!(
                self.out,
                "{} was not changed. Nobody brings it up to date from now on: keep it as a backup.",
                done.from
            )?;
        }
        Ok(())
    }
}

fn verdict(compared: &Compared) -> String {
    if compared.is_same() {
        return "ok".to_owned();
    }
    let rows = if compared.source.rows == compared.target.rows {
        String::new()
    } else {
        format!(", {} rows in the target", compared.target.rows)
    };
    let first = compared
        .first_difference
        .as_deref()
        .map_or(String::new(), |key| format!(", first at {key}"));
    format!("DIFFERS{rows}{first}")
}

/// As much of a checksum as a person compares.
fn short(checksum: &str) -> &str {
    checksum.get(..16).unwrap_or(checksum)
}

fn seconds_since(began: Timestamp, clock: &SystemClock) -> f64 {
    time::between(began, clock.wall()).as_secs_f64()
}

fn bar(is_json: bool) -> indicatif::ProgressBar {
    if is_json {
        return indicatif::ProgressBar::hidden();
    }
    // Draws on standard error, and only where that is a terminal.
    let bar = indicatif::ProgressBar::new_spinner();
    if let Ok(style) = indicatif::ProgressStyle::with_template("  {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &indicatif::ProgressBar, progress: Progress) {
    let Progress { phase, table, rows } = progress;
    let doing = match phase {
        Phase::Reading => "reading",
        Phase::Copying => "copying",
        Phase::Verifying => "reading back",
    };
    bar.set_message(format!("{doing} {table}: {rows} rows"));
    bar.tick();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        for (given, wanted, had) in [
            ("postgres://u@h:5/d", "postgres://u@h:5/d", false),
            ("postgres://u:secret@h/d", "postgres://u@h/d", true),
            (
                "postgres://u@h/d?sslmode=require&password=secret",
                "postgres://u@h/d?sslmode=require",
                true,
            ),
            ("postgres:///d?password=secret", "postgres:///d", true),
        ] {
            assert_eq!(without_password(given), (wanted.to_owned(), had), "{given}");
        }
    }

    #[test]
    fn the_setting_names_where_the_address_came_from() {
        let from_env = Destination {
            env: Some("PG".to_owned()),
            ..Destination::default()
        };
        let environment = Environment::from([("PG", "postgres://u:secret@h/d")]);
        let address = from_env.address(&environment).unwrap();
        assert_eq!(address, "postgres://u:secret@h/d");
        let (line, note) = from_env.setting(&address);
        assert_eq!(line, "database_url = { env = \"PG\" }");
        assert_eq!(note, None);
        let plain = Destination {
            url: Some(address.clone()),
            ..Destination::default()
        };
        let (line, note) = plain.setting(&address);
        assert_eq!(line, "database_url = \"postgres://u@h/d\"");
        assert!(note.is_some_and(|note| note.contains("credential") && !note.contains("secret")));
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        let environment = Environment::from([("PG", "hunter2")]);
        for (env, words) in [("PG", "postgres://USER"), ("NONE", "NONE is not set")] {
            let to = Destination {
                env: Some(env.to_owned()),
                ..Destination::default()
            };
            let problem = to.address(&environment).unwrap_err();
            assert!(problem.contains(words), "{problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
