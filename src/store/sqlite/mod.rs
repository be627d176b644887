//! The store on SQLite: one file, one writer, a few readers.
//!
//! Writers queue in this process for the one connection that writes, instead of colliding in the
//! database, and every write begins with `begin immediate`: a transaction that reads first and
//! writes later would fail at once if another process had written in between. The file is in WAL
//! mode and, but for rehearsals, synced in full, so what was answered with `Ok` survives a power cut.

mod audit;
mod brought;
mod changes;
pub(in crate::store) mod copy;
mod crm;
mod decisions;
mod entities;
mod erasure;
mod faults;
mod gate;
mod inbox;
mod insights;
mod jobs;
mod lanes;
mod leads;
mod learned;
mod models;
mod nodes;
mod nudges;
mod outbox;
mod privacy;
mod reports;
mod revenue;
mod schema;
mod status;
mod syncs;
mod tenants;
mod tokens;
mod visits;
mod winners;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
pub use visits::CLICK_LOOKUPS;

use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Sqlite, SqliteConnection, Transaction};

use super::nodes::Fence;
use super::sql::nodes::{check_own, deposed};
use super::{Durability, StoreError};
use crate::domain::ids::TenantId;
use faults::{fault, is_busy};

/// Parameters that one statement may have at most. Source: SQLite, `SQLITE_MAX_VARIABLE_NUMBER`.
const BIND_LIMIT: usize = 32_766;

/// How a database is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// Make the file when there is none. Without it a missing file is an error, so that a command
    /// with a mistyped path does not leave an empty database behind.
    pub create: bool,
    /// Bring an older schema up to date. Without it an older schema is an error.
    pub migrate: bool,
    /// What its writes survive.
    pub durability: Durability,
    /// Connections that read, at most.
    pub readers: u32,
    /// Pages that each connection keeps in memory, in KiB.
    pub cache_kib: u32,
    /// How long to wait for another process that holds the write lock.
    pub busy_timeout: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            create: true,
            migrate: true,
            durability: Durability::Machine,
            readers: 3,
            cache_kib: 2_048,
            busy_timeout: Duration::from_secs(5),
        }
    }
}

/// The store in one SQLite file. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
    lanes: lanes::Lanes,
    nudges: nudges::Bell,
    /// What every write of this handle is fenced by.
    fence: Option<Arc<Fence>>,
}

impl SqliteStore {
    /// Opens the database at a path or `sqlite:` URL, makes it if need be and migrates it. Two
    /// processes may do so at once. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::CannotOpen`] with what to do about it, [`StoreError::NewerSchema`] when a newer
    /// roasd made it, [`StoreError::Unavailable`] when the disk fails meanwhile.
    pub async fn open(path_or_url: &str, options: OpenOptions) -> Result<Self, StoreError> {
        let path = path_of(path_or_url)?;
        check_place(&path, options.create)?;
        let connect = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(options.create)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match options.durability {
                Durability::Machine => SqliteSynchronous::Full,
                Durability::Process => SqliteSynchronous::Normal,
            })
            .foreign_keys(true)
            .busy_timeout(options.busy_timeout)
            .pragma("cache_size", format!("-{}", options.cache_kib))
            // Whoever's commit fills so many pages (16 MB) of the WAL writes them into the file: rarely, for
            // a burst waits behind it meanwhile.
            .pragma("wal_autocheckpoint", "4000")
            // A WAL that grew in a burst is given back to the disk.
            .pragma("journal_size_limit", "16777216")
            .disable_statement_logging();
        let writer = open_writer(&connect, options.busy_timeout)
            .await
            .map_err(|error| schema::cannot_open(&path, &error))?;
        schema::prepare(&writer, &path, options.migrate).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers.max(1))
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(30))
            .connect_lazy_with(connect.read_only(true).create_if_missing(false));
        let lanes = lanes::Lanes::start(&writer);
        Ok(Self {
            path,
            writer,
            readers,
            lanes,
            nudges: nudges::Bell::default(),
            fence: None,
        })
    }

    /// Where the database lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a write; nobody else writes until it ends. One for a tenant begins by
    /// [`Self::write_for`].
    async fn write(&self, doing: &'static str) -> Result<Transaction<'static, Sqlite>, StoreError> {
        let mut tx = begin_write(&self.writer, doing).await?;
        if let Some(fence) = &self.fence {
            check_fence(&mut tx, fence, doing).await?;
        }
        Ok(tx)
    }

    /// Begins a write for a tenant.
    async fn write_for(
        &self,
        tenant: &TenantId,
        doing: &'static str,
    ) -> Result<Transaction<'static, Sqlite>, StoreError> {
        check_own(self.fence.as_deref(), tenant, doing)?;
        self.write(doing).await
    }

    /// Writes for a tenant by one statement, and says how many rows it touched. Where no lease is to be
    /// checked with it, it is a transaction by itself.
    async fn write_one(
        &self,
        tenant: &TenantId,
        doing: &'static str,
        statement: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<u64, StoreError> {
        let done = if self.fence.is_none() {
            statement.execute(&self.writer).await
        } else {
            let mut tx = self.write_for(tenant, doing).await?;
            match statement.execute(&mut *tx).await {
                Ok(done) => tx.commit().await.map(|()| done),
                Err(error) => Err(error),
            }
        };
        Ok(done.map_err(fault(doing))?.rows_affected())
    }

    /// Begins a read of several statements that must see one state.
    async fn snapshot(
        &self,
        doing: &'static str,
    ) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.readers.begin().await.map_err(fault(doing))
    }
}

/// How long between two tries to open a file that another process is just opening.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Opens the connection that writes. The switch to WAL mode, and the clean-up by the last one that
/// closes, answer "busy" at once instead of waiting for the time-out, so they are waited out here.
async fn open_writer(
    connect: &SqliteConnectOptions,
    within: Duration,
) -> Result<SqlitePool, sqlx::Error> {
    let mut tries = within.as_millis() / TRY_AGAIN_AFTER.as_millis();
    loop {
        let opened = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(connect.clone())
            .await;
        match opened {
            Err(error) if tries > 0 && is_busy(&error) => tries -= 1,
            outcome => return outcome,
        }
        #[expect(clippy::disallowed_methods, reason = "another process is waited for")]
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
}

async fn begin_write(
    writer: &SqlitePool,
    doing: &'static str,
) -> Result<Transaction<'static, Sqlite>, StoreError> {
    writer
        .begin_with("begin immediate")
        .await
        .map_err(fault(doing))
}

/// Makes sure that a lease is still the one that was given; nobody else writes meanwhile.
async fn check_fence(
    conn: &mut SqliteConnection,
    fence: &Fence,
    doing: &'static str,
) -> Result<(), StoreError> {
    let held: Option<i64> = sqlx::query_scalar(
        "select 1 from tenant_leases where tenant = $1 and node_id = $2 and fence = $3",
    )
    .bind(fence.tenant.as_str())
    .bind(fence.node.as_str())
    .bind(fence.token)
    .fetch_optional(conn)
    .await
    .map_err(fault(doing))?;
    if held.is_some() {
        Ok(())
    } else {
        Err(deposed(fence, doing))
    }
}

/// The file that a path or URL names.
pub(super) fn path_of(path_or_url: &str) -> Result<PathBuf, StoreError> {
    let path = path_or_url.strip_prefix("sqlite:").unwrap_or(path_or_url);
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path == ":memory:" || path.contains('?') {
        return Err(StoreError::CannotOpen {
            url: path_or_url.to_owned(),
            detail: "name a file, such as sqlite:/var/lib/roasd/roasd.db".to_owned(),
        });
    }
    Ok(PathBuf::from(path))
}

/// Finds what the database itself would tell only by a number.
fn check_place(path: &Path, create: bool) -> Result<(), StoreError> {
    let cannot = |detail: String| {
        Err(StoreError::CannotOpen {
            url: format!("sqlite:{}", path.display()),
            detail,
        })
    };
    if path.is_dir() {
        return cannot("it is a directory; name a file in it".to_owned());
    }
    if path.exists() {
        return Ok(());
    }
    if !create {
        return cannot(
            "there is no such file; give the path of the daemon's database, or start the daemon, \
             which makes it"
                .to_owned(),
        );
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => cannot(format!(
            "its directory {} does not exist; create it, owned by the user that runs roasd",
            folder.display()
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file() {
        for (given, path) in [
            ("/var/lib/roasd.db", "/var/lib/roasd.db"),
            ("sqlite:/var/lib/roasd.db", "/var/lib/roasd.db"),
            ("sqlite:///var/lib/roasd.db", "/var/lib/roasd.db"),
            ("sqlite://roasd.db", "roasd.db"),
            ("sqlite:roasd.db", "roasd.db"),
        ] {
            assert_eq!(path_of(given).unwrap(), PathBuf::from(path), "{given}");
        }
        for bad in ["", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=ro"] {
            assert!(path_of(bad).is_err(), "{bad}");
        }
    }
}
