//! What roasd remembers, behind traits that speak the domain's words.
//!
//! * One method is one transaction: when it has returned `Ok`, all of it is on disk.
//! * "Not found" is `Option`; a write that touched another number of rows than it must is an error.
//! * Every method names its tenant; nothing of one tenant is read for another.
//! * No method reads a clock.
//!
//! Each sentence of a method's documentation is a promise, and `tests/it/store_conformance.rs`
//! tests it on every backend.

pub mod audit;
pub mod brought;
pub mod changes;
pub mod copy;
pub mod crm;
mod decision_json;
pub mod decisions;
pub mod entities;
pub mod gate;
pub mod inbox;
pub mod insights;
pub mod jobs;
pub mod leads;
pub mod learned;
pub mod models;
pub mod nodes;
pub mod nudges;
pub mod outbox;
pub mod postgres;
pub mod privacy;
pub mod reports;
pub mod revenue;
mod sql;
pub mod sqlite;
pub mod status;
pub mod syncs;
pub mod tenants;
pub mod tokens;
pub mod visits;
pub mod winners;

use std::sync::Arc;

use postgres::PostgresStore;
use sqlite::SqliteStore;

/// Everything a backend keeps: the sum of the small traits.
pub trait Store:
    audit::AuditStore
    + brought::BroughtStore
    + changes::ChangeStore
    + crm::CrmStore
    + decisions::DecisionStore
    + entities::EntityStore
    + gate::GateStore
    + inbox::InboxStore
    + insights::InsightStore
    + jobs::JobStore
    + leads::LeadStore
    + learned::LearnedStore
    + models::ModelStore
    + nodes::NodeStore
    + nudges::NudgeStore
    + outbox::OutboxStore
    + privacy::RetentionStore
    + privacy::ErasureStore
    + reports::ReportStore
    + revenue::RevenueStore
    + status::StatusStore
    + syncs::SyncStore
    + tenants::TenantStore
    + tokens::TokenStore
    + visits::VisitStore
    + winners::WinnerStore
    + Send
    + Sync
{
}

impl<T> Store for T where
    T: audit::AuditStore
        + brought::BroughtStore
        + changes::ChangeStore
        + crm::CrmStore
        + decisions::DecisionStore
        + entities::EntityStore
        + gate::GateStore
        + inbox::InboxStore
        + insights::InsightStore
        + jobs::JobStore
        + leads::LeadStore
        + learned::LearnedStore
        + models::ModelStore
        + nodes::NodeStore
        + nudges::NudgeStore
        + outbox::OutboxStore
        + privacy::RetentionStore
        + privacy::ErasureStore
        + reports::ReportStore
        + revenue::RevenueStore
        + status::StatusStore
        + syncs::SyncStore
        + tenants::TenantStore
        + tokens::TokenStore
        + visits::VisitStore
        + winners::WinnerStore
        + Send
        + Sync
{
}

/// Opens the store that a URL names, makes it if need be and migrates it. A `postgres:` URL is a
/// database on a server, anything else a file of SQLite's.
///
/// # Errors
/// [`StoreError::CannotOpen`], [`StoreError::NewerSchema`] or [`StoreError::Unavailable`], each with
/// what to do about it.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    let connections = postgres::OpenOptions::default().connections;
    open_with(url, true, connections, Durability::Machine).await
}

/// What it is that a file's writes survive once they are answered. A server goes by its own settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The end of the machine: every commit waits for the disk.
    Machine,
    /// The end of the process. A power cut takes the last seconds, and leaves the file whole: for
    /// rehearsals, which can be repeated.
    Process,
}

/// Opens as [`open`] does, with so many connections to a server at most.
///
/// # Errors
/// As [`open`].
pub async fn open_pooled(
    url: &str,
    connections: u32,
    durability: Durability,
) -> Result<Arc<dyn Store>, StoreError> {
    open_with(url, true, connections, durability).await
}

/// The file that a URL's database is, for a database that serves one daemon alone; `None` for one
/// that many share.
#[must_use]
pub fn file_of(url: &str) -> Option<std::path::PathBuf> {
    sqlite::path_of(url)
        .ok()
        .filter(|_| !url.starts_with("postgres"))
}

/// Opens a store that is there already; for commands that look into a daemon's database.
///
/// # Errors
/// As [`open`], and [`StoreError::CannotOpen`] when there is none.
pub async fn open_existing(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    let connections = postgres::OpenOptions::default().connections;
    open_with(url, false, connections, Durability::Machine).await
}

async fn open_with(
    url: &str,
    create: bool,
    connections: u32,
    durability: Durability,
) -> Result<Arc<dyn Store>, StoreError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => {
            let options = postgres::OpenOptions {
                create,
                connections,
                ..postgres::OpenOptions::default()
            };
            Ok(Arc::new(PostgresStore::open(url, options).await?))
        }
        Some(scheme) if scheme != "sqlite" => Err(StoreError::CannotOpen {
            // The rest of the URL may hold a password and is not repeated.
            url: format!("{scheme}:…"),
            detail: "no store is known by this scheme; give a sqlite: or postgres: URL".to_owned(),
        }),
        _ => {
            let options = sqlite::OpenOptions {
                create,
                durability,
                ..sqlite::OpenOptions::default()
            };
            Ok(Arc::new(SqliteStore::open(url, options).await?))
        }
    }
}

/// A cause of another layer, carried along.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong with the store, named by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is down, busy, full or read-only: weather. Nothing was written, unless the
    /// connection broke just as the commit was answered: try later, and let the repeat find out.
    #[error("the database is not available ({doing})")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        cause: BoxError,
    },
    /// A row cannot be read back: it was written by another version or by hand.
    #[error("a row of {table} cannot be read: {detail}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A write touched another number of rows than it must: somebody else was there first.
    #[error("{doing} touched {found} rows where it must touch {expected}")]
    WrongCount {
        /// What was being done.
        doing: &'static str,
        /// Rows it must touch.
        expected: u64,
        /// Rows it touched.
        found: u64,
    },
    /// Another node works for the tenant by now, or nobody. Nothing was written; this node must
    /// stop working for it.
    #[error("tenant {tenant} is no longer this node's ({doing}); nothing was written")]
    Deposed {
        /// What was being done.
        doing: &'static str,
        /// The tenant.
        tenant: crate::domain::ids::TenantId,
    },
    /// The database was made by a newer roasd.
    #[error(
        "the database is at schema version {found}, this roasd knows {known}; \
         install the newer roasd again or restore a backup"
    )]
    NewerSchema {
        /// The version found.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// The database cannot be opened at all.
    #[error("the database {url} cannot be opened: {detail}")]
    CannotOpen {
        /// Where it was looked for, without a password.
        url: String,
        /// What is wrong and what to do.
        detail: String,
    },
    /// A statement is wrong or a constraint was broken: a bug, not weather.
    #[error("the database refused {doing}")]
    Broken {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        cause: BoxError,
    },
}
