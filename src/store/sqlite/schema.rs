//! Brings a database to the schema this roasd knows, or says why not.

use std::path::Path;

use sqlx::SqliteConnection;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::SqlitePool;

use super::begin_write;
use super::faults::{fault, is_weather, primary_code};
use crate::store::StoreError;
use crate::store::sql::schema::{self, Script};

/// The mark that the first migration leaves in the file's head: "roas".
const APPLICATION_ID: i64 = 1_919_902_067;

const DOING: &str = "preparing the schema";

const SCRIPTS: &[Script] = &[
    (
        1,
        "init",
        include_str!("../../../migrations/sqlite/0001_init.sql"),
    ),
    (
        2,
        "retention",
        include_str!("../../../migrations/sqlite/0002_retention.sql"),
    ),
    (
        3,
        "released_leases",
        include_str!("../../../migrations/sqlite/0003_released_leases.sql"),
    ),
    (
        4,
        "clicks",
        include_str!("../../../migrations/sqlite/0004_clicks.sql"),
    ),
    (
        5,
        "leads",
        include_str!("../../../migrations/sqlite/0005_leads.sql"),
    ),
    (
        6,
        "syncs",
        include_str!("../../../migrations/sqlite/0006_syncs.sql"),
    ),
    (
        7,
        "coverage",
        include_str!("../../../migrations/sqlite/0007_coverage.sql"),
    ),
    (
        8,
        "decisions_by_time",
        include_str!("../../../migrations/sqlite/0008_decisions_by_time.sql"),
    ),
    (
        9,
        "covering_clicks",
        include_str!("../../../migrations/sqlite/0009_covering_clicks.sql"),
    ),
    (
        10,
        "figures_as_of",
        include_str!("../../../migrations/sqlite/0010_figures_as_of.sql"),
    ),
    (
        11,
        "breakers",
        include_str!("../../../migrations/sqlite/0011_breakers.sql"),
    ),
    (
        13,
        "past_ads",
        include_str!("../../../migrations/sqlite/0013_past_ads.sql"),
    ),
    (
        17,
        "learned",
        include_str!("../../../migrations/sqlite/0017_learned.sql"),
    ),
    (
        18,
        "reported",
        include_str!("../../../migrations/sqlite/0018_reported.sql"),
    ),
    (
        19,
        "packed_bodies",
        include_str!("../../../migrations/sqlite/0019_packed_bodies.sql"),
    ),
    (
        20,
        "models",
        include_str!("../../../migrations/sqlite/0020_models.sql"),
    ),
    (
        21,
        "spend_sums",
        include_str!("../../../migrations/sqlite/0021_spend_sums.sql"),
    ),
];

/// The version a database is at; 0 before the first migration.
pub(super) async fn version(conn: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    Ok(applied(conn)
        .await?
        .last()
        .map_or(0, |(version, _)| *version))
}

/// Checks the file and migrates it. All migrations are one transaction, under the write lock: a
/// process killed meanwhile leaves the old schema whole, and of two that start at once the second
/// finds the work done.
pub(super) async fn prepare(
    writer: &SqlitePool,
    path: &Path,
    migrate: bool,
) -> Result<(), StoreError> {
    let migrator = schema::migrator(SCRIPTS);
    let told = |error: sqlx::Error| cannot_open(path, &error);
    {
        let mut conn = writer.acquire().await.map_err(told)?;
        check_owner(&mut conn, path).await?;
        if is_current(&mut conn, &migrator, path).await? {
            return Ok(());
        }
    }
    if !migrate {
        return Err(is_older(path));
    }
    let mut tx = begin_write(writer, DOING).await?;
    if !is_current(&mut tx, &migrator, path).await? {
        migrator
            .run_direct(None, &mut *tx, false)
            .await
            .map_err(|error| migrate_fault(path, error))?;
    }
    tx.commit().await.map_err(fault(DOING))
}

/// Refuses a file that is not roasd's or not up to date, and writes nothing to it.
pub(super) async fn expect_current(
    conn: &mut SqliteConnection,
    path: &Path,
) -> Result<(), StoreError> {
    check_owner(conn, path).await?;
    if is_current(conn, &schema::migrator(SCRIPTS), path).await? {
        Ok(())
    } else {
        Err(is_older(path))
    }
}

fn is_older(path: &Path) -> StoreError {
    refuse(
        path,
        "its schema is older than this roasd; run `roasd migrate` first",
    )
}

/// What an operator can do about a file that does not open.
pub(super) fn cannot_open(path: &Path, error: &sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(primary_code);
    // Source: SQLite, "Result and Error Codes".
    let remedy = match code {
        Some(5 | 6) => "another process holds it; stop that one or wait for it".to_owned(),
        Some(8) => "it is read-only; let the user that runs roasd write to it".to_owned(),
        Some(10) => "the disk gives errors; see the kernel's log".to_owned(),
        Some(11) => "it is damaged; restore a backup".to_owned(),
        Some(13) => "the disk is full; make room".to_owned(),
        Some(14) => {
            "it cannot be read or written; check the owner and mode of the file and its directory"
                .to_owned()
        }
        Some(26) => "it is not a database; move it away or name another file".to_owned(),
        _ => error.to_string(),
    };
    refuse(path, remedy)
}

fn place(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

fn refuse(path: &Path, detail: impl Into<String>) -> StoreError {
    schema::refuse(&place(path), detail)
}

fn migrate_fault(path: &Path, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)
            if is_weather(&cause) =>
        {
            StoreError::Unavailable {
                doing: DOING,
                cause: Box::new(cause),
            }
        }
        other => refuse(path, other.to_string()),
    }
}

/// Refuses the database of another program.
async fn check_owner(conn: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let told = |error: sqlx::Error| cannot_open(path, &error);
    // At one moment: another process may just be making the tables.
    let (owner, tables): (i64, i64) = sqlx::query_as(
        "select application_id, (select count(*) from sqlite_master) from pragma_application_id",
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(told)?;
    if owner == APPLICATION_ID || tables == 0 {
        return Ok(());
    }
    Err(refuse(
        path,
        "it holds tables of another program; name another file",
    ))
}

/// Whether all migrations are in force, as this roasd knows them.
async fn is_current(
    conn: &mut SqliteConnection,
    migrator: &Migrator,
    path: &Path,
) -> Result<bool, StoreError> {
    let told = |error: sqlx::Error| cannot_open(path, &error);
    let applied = applied(conn).await.map_err(told)?;
    schema::is_current(&applied, migrator, &place(path))
}

/// Migrations in force with their checksums, by version.
async fn applied(conn: &mut SqliteConnection) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    let tables: i64 = sqlx::query_scalar(
        "select count(*) from sqlite_master where type = 'table' and name = '_sqlx_migrations'",
    )
    .fetch_one(&mut *conn)
    .await?;
    if tables == 0 {
        return Ok(Vec::new());
    }
    sqlx::query_as("select version, checksum from _sqlx_migrations order by version")
        .fetch_all(conn)
        .await
}
