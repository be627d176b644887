//! Brings a database to the schema this roasd knows, or says why not.

use sqlx::Connection;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;

use super::connect::{OpenOptions, Server};
use super::faults::{fault, is_weather};
use crate::store::StoreError;
use crate::store::sql::schema::{self, Script, refuse};

const DOING: &str = "preparing the schema";

/// The lock that whoever migrates holds, "roas".
const MIGRATING: i64 = 0x726f_6173;

const SCRIPTS: &[Script] = &[
    (
        1,
        "init",
        include_str!("../../../migrations/postgres/0001_init.sql"),
    ),
    (
        2,
        "retention",
        include_str!("../../../migrations/postgres/0002_retention.sql"),
    ),
    (
        3,
        "released_leases",
        include_str!("../../../migrations/postgres/0003_released_leases.sql"),
    ),
    (
        4,
        "clicks",
        include_str!("../../../migrations/postgres/0004_clicks.sql"),
    ),
    (
        5,
        "leads",
        include_str!("../../../migrations/postgres/0005_leads.sql"),
    ),
    (
        6,
        "syncs",
        include_str!("../../../migrations/postgres/0006_syncs.sql"),
    ),
    (
        7,
        "coverage",
        include_str!("../../../migrations/postgres/0007_coverage.sql"),
    ),
    (
        8,
        "decisions_by_time",
        include_str!("../../../migrations/postgres/0008_decisions_by_time.sql"),
    ),
    (
        9,
        "covering_clicks",
        include_str!("../../../migrations/postgres/0009_covering_clicks.sql"),
    ),
    (
        10,
        "figures_as_of",
        include_str!("../../../migrations/postgres/0010_figures_as_of.sql"),
    ),
    (
        11,
        "breakers",
        include_str!("../../../migrations/postgres/0011_breakers.sql"),
    ),
    (
        13,
        "past_ads",
        include_str!("../../../migrations/postgres/0013_past_ads.sql"),
    ),
    (
        17,
        "learned",
        include_str!("../../../migrations/postgres/0017_learned.sql"),
    ),
    (
        18,
        "reported",
        include_str!("../../../migrations/postgres/0018_reported.sql"),
    ),
    (
        19,
        "packed_bodies",
        include_str!("../../../migrations/postgres/0019_packed_bodies.sql"),
    ),
    (
        20,
        "models",
        include_str!("../../../migrations/postgres/0020_models.sql"),
    ),
    (
        21,
        "spend_sums",
        include_str!("../../../migrations/postgres/0021_spend_sums.sql"),
    ),
];

/// Migrates the database if need be. All migrations are one transaction, under a lock: a process
/// killed meanwhile leaves the old schema whole, and of several that start at once the first does
/// the work.
pub(super) async fn prepare(server: &Server, options: &OpenOptions) -> Result<(), StoreError> {
    let mut conn = server.connect(options.acquire_timeout).await?;
    if is_unfinished(&mut conn).await? {
        return Err(refuse(
            &server.place,
            "a copy into it was begun and not finished; run the same `roasd move` again, which goes \
             on where it stopped, or make the database anew",
        ));
    }
    bring_up(&mut conn, server, options).await?;
    let _ = conn.close().await; // the work is done
    Ok(())
}

/// Migrates the database if need be, whatever is in it.
pub(super) async fn bring_up(
    conn: &mut PgConnection,
    server: &Server,
    options: &OpenOptions,
) -> Result<(), StoreError> {
    let migrator = schema::migrator(SCRIPTS);
    if !is_current(conn, &migrator, &server.place).await? {
        check_owner(conn, server, options).await?;
        migrate(conn, &migrator, &server.place).await?;
    }
    Ok(())
}

/// Whether a copy into the database was begun and not finished: what is there is not all.
pub(super) async fn is_unfinished(conn: &mut PgConnection) -> Result<bool, StoreError> {
    exists(conn, "roasd_unfinished_copy")
        .await
        .map_err(fault(DOING))
}

/// Whether roasd's tables are there; refuses the database of another program.
pub(super) async fn has_tables(
    conn: &mut PgConnection,
    server: &Server,
) -> Result<bool, StoreError> {
    if version(conn).await.map_err(fault(DOING))? > 0 {
        return Ok(true);
    }
    refuse_foreign(conn, server).await?;
    Ok(false)
}

/// Refuses the database of another program, and whatever the options forbid.
async fn check_owner(
    conn: &mut PgConnection,
    server: &Server,
    options: &OpenOptions,
) -> Result<(), StoreError> {
    let cannot = |detail: &str| Err(refuse(&server.place, detail));
    if version(conn).await.map_err(fault(DOING))? == 0 {
        if !options.create {
            return cannot(
                "it holds no tables of roasd; give the address of the daemon's database, or run \
                 `roasd migrate`, which makes them",
            );
        }
        refuse_foreign(conn, server).await?;
    }
    if !options.migrate {
        return cannot("its schema is older than this roasd; run `roasd migrate` first");
    }
    Ok(())
}

/// Refuses the database of another program.
async fn refuse_foreign(conn: &mut PgConnection, server: &Server) -> Result<(), StoreError> {
    let foreign: Option<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c
         where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
           and not exists (select 1 from pg_depend d
               where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
         order by c.relname limit 1",
    )
    .fetch_optional(conn)
    .await
    .map_err(fault(DOING))?;
    // Another node may have made them since.
    if foreign.is_some_and(|table| table != "_sqlx_migrations") {
        return Err(refuse(
            &server.place,
            "it holds tables of another program; name another database, or a schema of its own: \
             ?options=-c%20search_path=roasd",
        ));
    }
    Ok(())
}

async fn migrate(
    conn: &mut PgConnection,
    migrator: &Migrator,
    place: &str,
) -> Result<(), StoreError> {
    let mut tx = conn.begin().await.map_err(fault(DOING))?;
    // A large table may take longer than any statement of daily work.
    for setting in [
        "set local statement_timeout = 0",
        "set local lock_timeout = '60s'",
        "set local idle_in_transaction_session_timeout = '60s'",
    ] {
        sqlx::query(setting)
            .execute(&mut *tx)
            .await
            .map_err(fault(DOING))?;
    }
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(MIGRATING)
        .execute(&mut *tx)
        .await
        .map_err(fault(DOING))?;
    if !is_current(&mut tx, migrator, place).await? {
        migrator
            .run_direct(None, &mut *tx, false)
            .await
            .map_err(|error| migrate_fault(place, error))?;
    }
    tx.commit().await.map_err(fault(DOING))
}

fn migrate_fault(place: &str, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)
            if is_weather(&cause) =>
        {
            StoreError::Unavailable {
                doing: DOING,
                cause: Box::new(cause),
            }
        }
        other => refuse(place, other.to_string()),
    }
}

/// Whether all migrations are in force, as this roasd knows them.
async fn is_current(
    conn: &mut PgConnection,
    migrator: &Migrator,
    place: &str,
) -> Result<bool, StoreError> {
    let applied = applied(conn).await.map_err(fault(DOING))?;
    schema::is_current(&applied, migrator, place)
}

/// The version a database is at; 0 before the first migration.
pub(super) async fn version(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    Ok(applied(conn)
        .await?
        .last()
        .map_or(0, |(version, _)| *version))
}

/// Migrations in force with their checksums, by version.
async fn applied(conn: &mut PgConnection) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    if !exists(conn, "_sqlx_migrations").await? {
        return Ok(Vec::new());
    }
    sqlx::query_as("select version, checksum from _sqlx_migrations order by version")
        .fetch_all(conn)
        .await
}

/// Whether there is a table of this name.
async fn exists(conn: &mut PgConnection, table: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select 1 from pg_class
             where relname = $1 and relnamespace = current_schema()::regnamespace)",
    )
    .bind(table)
    .fetch_one(conn)
    .await
}
