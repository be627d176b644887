//! Stores to measure, each of its own and gone with its [`Home`].

use std::fmt;
use std::sync::Arc;

use roasd::domain::ids::TenantId;
use roasd::store::Store;
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::runtime::Runtime;

/// The server to measure, if any.
pub(crate) fn server() -> Option<String> {
    std::env::var("ROASD_TEST_POSTGRES_URL").ok()
}

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        })
    }
}

/// Those that can be measured here.
pub(crate) fn backends() -> Vec<Backend> {
    let mut backends = vec![Backend::Sqlite];
    backends.extend(server().map(|_| Backend::Postgres));
    backends
}

/// Whose data is measured.
pub(crate) fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

/// A store of its own, which goes with this.
pub(crate) struct Home {
    pub(crate) runtime: Runtime,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) url: String,
    _dir: tempfile::TempDir,
}

impl Home {
    /// An empty store.
    pub(crate) fn new(backend: Backend) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let url = match backend {
            Backend::Sqlite => format!("sqlite:{}", dir.path().join("roasd.db").display()),
            Backend::Postgres => {
                let mut url: url::Url = server().unwrap().parse().unwrap();
                url.set_path(&database());
                runtime.block_on(on_server("create database"));
                url.into()
            }
        };
        let store = runtime.block_on(roasd::store::open(&url)).unwrap();
        Self {
            runtime,
            store,
            url,
            _dir: dir,
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.runtime.block_on(self.store.close());
        if self.url.starts_with("postgres") {
            self.runtime.block_on(on_server("drop database"));
        }
    }
}

/// One at a time in each process.
fn database() -> String {
    format!("roasd_bench_{}", std::process::id())
}

async fn on_server(what: &str) {
    let mut conn = sqlx::PgConnection::connect(&server().unwrap())
        .await
        .unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("{what} {}", database())))
        .execute(&mut conn)
        .await
        .unwrap();
}
