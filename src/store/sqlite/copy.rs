//! The side that is copied from: one state of a file, read and never written.

use std::path::{Path, PathBuf};

use futures_util::stream::BoxStream;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::faults::fault;
use super::{check_place, path_of, schema};
use crate::store::StoreError;
use crate::store::copy::CopyError;
use crate::store::copy::tables::{COPIED, FoundColumn, LEFT_OUT, Table};
use crate::store::copy::values::KeyValue;

const DOING: &str = "reading the database to be copied";

/// A file as it was when it was opened.
pub(in crate::store) struct Source {
    path: PathBuf,
    conn: SqliteConnection,
    /// Changes whenever another connection has committed something.
    data_version: i64,
}

impl Source {
    /// Opens a file and holds on to the state that it has now. The file must be up to date: a copy
    /// changes nothing in it, so it does not migrate either.
    pub(in crate::store) async fn open(url: &str) -> Result<Self, StoreError> {
        let path = path_of(url)?;
        check_place(&path, false)?;
        let mut conn = SqliteConnectOptions::new()
            .filename(&path)
            .read_only(true)
            .disable_statement_logging()
            .connect()
            .await
            .map_err(|error| schema::cannot_open(&path, &error))?;
        schema::expect_current(&mut conn, &path).await?;
        let data_version = data_version(&mut conn).await?;
        // The state is that of the first read within.
        sqlx::query("begin")
            .execute(&mut conn)
            .await
            .map_err(fault(DOING))?;
        Ok(Self {
            path,
            conn,
            data_version,
        })
    }

    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    /// How a table looks.
    pub(in crate::store) async fn table(&mut self, name: &'static str) -> Result<Table, CopyError> {
        let columns: Vec<(String, String, i64)> =
            sqlx::query_as("select name, type, pk from pragma_table_info($1)")
                .bind(name)
                .fetch_all(&mut self.conn)
                .await
                .map_err(fault(DOING))?;
        let found = columns
            .into_iter()
            .map(|(name, type_name, key)| FoundColumn {
                name,
                type_name,
                key,
                is_identity: false,
            });
        Table::of(name, found.collect())
    }

    /// Tables in it that are not roasd's.
    pub(in crate::store) async fn foreign_tables(&mut self) -> Result<Vec<String>, StoreError> {
        let all: Vec<String> =
            sqlx::query_scalar("select name from sqlite_master where type = 'table' order by name")
                .fetch_all(&mut self.conn)
                .await
                .map_err(fault(DOING))?;
        let is_ours = |name: &str| {
            COPIED.contains(&name) || LEFT_OUT.iter().any(|left_out| left_out.table == name)
        };
        Ok(all.into_iter().filter(|name| !is_ours(name)).collect())
    }

    /// The rows of a table in the order of its key, from the start or after a key. Read as they are
    /// taken.
    pub(in crate::store) fn rows<'a>(
        &'a mut self,
        table: &Table,
        after: Option<&[KeyValue]>,
    ) -> BoxStream<'a, Result<SqliteRow, sqlx::Error>> {
        let mut query = sqlx::query(AssertSqlSafe(table.select(after.is_some())));
        for value in after.unwrap_or_default() {
            query = match value {
                KeyValue::Int(n) => query.bind(*n),
                KeyValue::Text(text) => query.bind(text.clone()),
            };
        }
        query.fetch(&mut self.conn)
    }

    /// The last number that a table gave to a row, one that was deleted since included.
    pub(in crate::store) async fn last_number(&mut self, table: &Table) -> Result<i64, StoreError> {
        let last: Option<i64> =
            sqlx::query_scalar("select max(seq) from sqlite_sequence where name = $1")
                .bind(table.name)
                .fetch_one(&mut self.conn)
                .await
                .map_err(fault(DOING))?;
        Ok(last.unwrap_or(0))
    }

    /// Lets go of the state; tells whether somebody has written to the file since.
    pub(in crate::store) async fn release(mut self) -> Result<bool, StoreError> {
        sqlx::query("rollback")
            .execute(&mut self.conn)
            .await
            .map_err(fault(DOING))?;
        let is_written = data_version(&mut self.conn).await? != self.data_version;
        let _ = self.conn.close().await; // all is read
        Ok(is_written)
    }
}

/// How errors of reading it are told.
pub(in crate::store) fn told(error: sqlx::Error) -> StoreError {
    fault(DOING)(error)
}

async fn data_version(conn: &mut SqliteConnection) -> Result<i64, StoreError> {
    sqlx::query_scalar("pragma data_version")
        .fetch_one(conn)
        .await
        .map_err(fault(DOING))
}
