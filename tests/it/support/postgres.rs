//! A PostgreSQL database of its own for each test, on the server that `scripts/test` starts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use roasd::store::postgres::{OpenOptions, PostgresStore};
use roasd::store::status::StatusStore as _;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

/// The lock under which one process makes the template that all copy.
const MAKING_THE_TEMPLATE: i64 = 0x7465_7374;

/// The server, as `scripts/test` says.
///
/// # Panics
/// When it does not: a promise that is not tested on PostgreSQL is not kept there.
fn server() -> url::Url {
    let Ok(url) = std::env::var("ROASD_TEST_POSTGRES_URL") else {
        panic!(
            "ROASD_TEST_POSTGRES_URL is not set: run scripts/test, which starts a throwaway \
             PostgreSQL and says where it is"
        );
    };
    url.parse().unwrap()
}

fn on(database: &str) -> String {
    let mut url = server();
    url.set_path(database);
    url.into()
}

async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().unwrap();
    options.disable_statement_logging().connect().await.unwrap()
}

async fn run(conn: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement.clone()))
        .execute(conn)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// A database that is dropped with this.
pub(crate) struct Database {
    name: String,
    url: String,
}

impl Database {
    /// A database with roasd's tables.
    pub(crate) async fn migrated() -> Self {
        let mut conn = connect(server().as_str()).await;
        let template = template(&mut conn).await;
        Self::create(&mut conn, &format!("template {template}")).await
    }

    /// An empty database.
    pub(crate) async fn empty() -> Self {
        let mut conn = connect(server().as_str()).await;
        Self::create(&mut conn, PLAIN).await
    }

    async fn create(conn: &mut PgConnection, how: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "roasd_test_{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        run(conn, format!("create database {name} {how}")).await;
        Self {
            url: on(&name),
            name,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A connection that is not the store's.
    pub(crate) async fn raw(&self) -> PgConnection {
        connect(&self.url).await
    }

    /// Runs statements on the server, outside the database.
    pub(crate) async fn on_server(&self, statement: &str) {
        run(&mut connect(server().as_str()).await, statement.to_owned()).await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let statement = format!("drop database if exists {} with (force)", self.name);
        // A test that fails is unwinding inside a runtime: this needs one of its own.
        let dropped = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(async { run(&mut connect(server().as_str()).await, statement).await });
        });
        let done = dropped.join();
        assert!(done.is_ok() || std::thread::panicking(), "{done:?}");
    }
}

/// Not sorted byte by byte, as most are not: what depends on the order of names must say so itself.
const PLAIN: &str = "template template0 encoding 'UTF8' locale_provider icu icu_locale 'en-US'";

/// The database that is copied for each test, made by whoever is first.
async fn template(conn: &mut PgConnection) -> String {
    // A server that is kept while working must not hand out the tables of yesterday.
    let mut migrations: Vec<_> = std::fs::read_dir("migrations/postgres")
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    migrations.sort();
    let digest = migrations.iter().fold(Sha256::new(), |digest, file| {
        digest.chain_update(std::fs::read(file).unwrap())
    });
    let name = format!("roasd_template_{}", &hex::encode(digest.finalize())[..12]);
    let exists = "select exists (select 1 from pg_database where datname = $1)";
    let is_there = |exists| sqlx::query_scalar::<_, bool>(exists).bind(name.clone());
    if is_there(exists).fetch_one(&mut *conn).await.unwrap() {
        return name;
    }
    run(
        conn,
        format!("select pg_advisory_lock({MAKING_THE_TEMPLATE})"),
    )
    .await;
    if !is_there(exists).fetch_one(&mut *conn).await.unwrap() {
        let making = format!("{name}_making");
        run(
            conn,
            format!("drop database if exists {making} with (force)"),
        )
        .await;
        run(conn, format!("create database {making} {PLAIN}")).await;
        let store = PostgresStore::open(&on(&making), OpenOptions::default())
            .await
            .unwrap();
        store.close().await;
        rename(conn, &making, &name).await;
    }
    run(
        conn,
        format!("select pg_advisory_unlock({MAKING_THE_TEMPLATE})"),
    )
    .await;
    name
}

/// Renames a database that nobody uses any more; the server may take a moment to notice.
async fn rename(conn: &mut PgConnection, from: &str, to: &str) {
    let statement = format!("alter database {from} rename to {to}");
    for _ in 0..100 {
        let done = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(&mut *conn)
            .await;
        if done.is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    run(conn, statement).await;
}
