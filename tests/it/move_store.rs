//! A SQLite database moves to PostgreSQL whole, or is said not to have.

mod facts;
mod trouble;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use roasd::domain::ids::TenantId;
use roasd::domain::time;
use roasd::store::copy::{COPIED, LEFT_OUT};
use roasd::store::sqlite::{OpenOptions, SqliteStore};
use roasd::store::tenants::Held;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::support::postgres::Database;

/// A database in a directory of its own.
struct File {
    dir: tempfile::TempDir,
}

impl File {
    /// With rows in every table.
    async fn full() -> Self {
        let file = Self::empty().await;
        file.fill().await;
        file
    }

    async fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = Self { dir };
        file.store().await.close().await;
        file
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("roasd.db")
    }

    async fn store(&self) -> std::sync::Arc<dyn roasd::store::Store> {
        let path = self.path();
        let store = SqliteStore::open(path.to_str().unwrap(), OpenOptions::default());
        std::sync::Arc::new(store.await.unwrap())
    }

    async fn raw(&self) -> SqliteConnection {
        raw(&self.path()).await
    }

    /// Adds rows to every table.
    async fn fill(&self) {
        let store = self.store().await;
        let held = Held {
            by: "cli:ada".to_owned(),
            reason: "the page is down".to_owned(),
            since: time::from_seconds(1_790_000_000),
        };
        let acme = TenantId::new("acme").unwrap();
        // The audit log is written by those who know how.
        store
            .ensure_tenant(&acme, "Acme", held.since)
            .await
            .unwrap();
        for _ in 0..20 {
            store.pause(Some(&acme), &held).await.unwrap();
            store
                .resume(Some(&acme), "cli:ada", held.since)
                .await
                .unwrap();
        }
        store.close().await;
        let mut conn = self.raw().await;
        sqlx::raw_sql(include_str!("move_store/rows.sql"))
            .execute(&mut conn)
            .await
            .unwrap();
        for table in COPIED {
            let rows: i64 =
                sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}")))
                    .fetch_one(&mut conn)
                    .await
                    .unwrap();
            assert!(
                rows > 0,
                "{table} is empty: give it rows in move_store/rows.sql"
            );
        }
    }
}

async fn raw(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    options.connect().await.unwrap()
}

/// `roasd move` from a file to a database.
fn moving(from: &Path, to: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roasd"));
    command
        .arg("--database")
        .arg(from)
        .args(["move", "--json", "--to-env", "TARGET"])
        .args(more)
        .env("TARGET", to)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it to its end; gives its exit code, what it printed, and what it complained of.
fn run(from: &Path, to: &str, more: &[&str]) -> (i32, Value, String) {
    let done = moving(from, to, more).output().unwrap();
    outcome(&done)
}

fn outcome(done: &Output) -> (i32, Value, String) {
    let printed = serde_json::from_slice(&done.stdout).unwrap_or_default();
    let complaint = String::from_utf8_lossy(&done.stderr).into_owned();
    (done.status.code().unwrap_or(-1), printed, complaint)
}

/// The tables of a report with one of their columns.
fn each<'v>(report: &'v Value, what: &str) -> Vec<(&'v str, &'v Value)> {
    let tables = report["tables"].as_array().unwrap();
    tables
        .iter()
        .map(|table| (table["table"].as_str().unwrap(), &table[what]))
        .collect()
}

fn left_out(on_postgres: bool) -> BTreeSet<String> {
    LEFT_OUT
        .iter()
        .map(|left_out| left_out.table.to_owned())
        .filter(|table| !on_postgres || table != "sqlite_sequence")
        .collect()
}

#[tokio::test]
async fn every_table_is_copied_or_left_out_for_a_reason() {
    let copied: BTreeSet<String> = COPIED.iter().map(|table| (*table).to_owned()).collect();
    assert_eq!(copied.len(), COPIED.len(), "a table is there twice");
    let file = File::empty().await;
    let on_sqlite: Vec<String> =
        sqlx::query_scalar("select name from sqlite_master where type = 'table'")
            .fetch_all(&mut file.raw().await)
            .await
            .unwrap();
    let on_sqlite: BTreeSet<String> = on_sqlite.into_iter().collect();
    assert_eq!(on_sqlite, &copied | &left_out(false));
    let database = Database::migrated().await;
    let on_postgres: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
            .fetch_all(&mut database.raw().await)
            .await
            .unwrap();
    let on_postgres: BTreeSet<String> = on_postgres.into_iter().collect();
    assert_eq!(on_postgres, &copied | &left_out(true));
    for left_out in LEFT_OUT {
        assert!(!left_out.why.is_empty(), "{}", left_out.table);
    }
}

#[tokio::test]
async fn a_row_comes_after_those_it_refers_to() {
    let database = Database::migrated().await;
    let references: Vec<(String, String)> = sqlx::query_as(
        "select conrelid::regclass::text, confrelid::regclass::text
         from pg_constraint where contype = 'f'",
    )
    .fetch_all(&mut database.raw().await)
    .await
    .unwrap();
    let place = |table: &str| COPIED.iter().position(|known| *known == table);
    assert!(!references.is_empty());
    for (from, to) in references {
        assert!(place(&to) < place(&from), "{from} refers to {to}");
    }
}

#[tokio::test]
async fn all_that_is_in_the_file_is_in_the_target() {
    let file = File::full().await;
    let target = Database::empty().await;
    // What is not yet in the file itself but beside it is its content as well.
    let mut conn = file.raw().await;
    sqlx::query("update gate_state set reason = 'only in the log'")
        .execute(&mut conn)
        .await
        .unwrap();
    let wal = file.dir.path().join("roasd.db-wal");
    let bytes = || {
        (
            std::fs::read(file.path()).unwrap(),
            std::fs::read(&wal).unwrap(),
        )
    };
    let before = bytes();
    assert!(!before.1.is_empty());

    let (code, forecast, complaint) = run(&file.path(), target.url(), &["--check"]);
    assert_eq!((code, complaint.as_str()), (0, ""));
    let (code, report, complaint) = run(&file.path(), target.url(), &[]);
    assert_eq!(code, 0, "{complaint} {report:#}");
    assert_eq!(report["is_finished"], true);
    assert_eq!(report["copied"], report["rows"]);
    assert_eq!(each(&forecast, "checksum"), each(&report, "checksum"));
    assert_eq!(each(&report, "checksum"), each(&report, "target_checksum"));
    assert_eq!(each(&report, "rows"), each(&report, "target_rows"));
    assert_eq!(each(&report, "rows").len(), COPIED.len());
    assert_eq!(report["setting"], "database_url = { env = \"TARGET\" }");
    assert_eq!(bytes(), before, "the file was changed");
    let chains = report["audit"].as_array().unwrap();
    assert!(chains.iter().any(|chain| chain["lines"] == 40));
    assert!(chains.iter().all(|chain| chain["holds"] == true));

    // Numbers go on where they were, after those of rows that were deleted since too.
    let last: Vec<(String, i64)> = sqlx::query_as("select name, seq from sqlite_sequence")
        .fetch_all(&mut conn)
        .await
        .unwrap();
    assert_eq!(last.len(), 8);
    for (table, last) in last {
        let next: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
            "select nextval(pg_get_serial_sequence('{table}', a.attname))
             from pg_attribute a where a.attrelid = '{table}'::regclass and a.attidentity <> ''"
        )))
        .fetch_one(&mut target.raw().await)
        .await
        .unwrap();
        assert_eq!(next, last + 1, "{table}");
    }
}

#[tokio::test]
async fn an_empty_installation_moves_too() {
    let file = File::empty().await;
    let target = Database::empty().await;
    let (code, report, complaint) = run(&file.path(), target.url(), &[]);
    assert_eq!(code, 0, "{complaint} {report:#}");
    let next: i64 = sqlx::query_scalar("select nextval(pg_get_serial_sequence('inbox', 'id'))")
        .fetch_one(&mut target.raw().await)
        .await
        .unwrap();
    assert_eq!(next, 1);
}
