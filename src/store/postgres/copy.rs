//! The side that is copied to: an empty database, which tells by a table of its own while a copy
//! into it is not finished.

use std::time::Duration;

use futures_util::stream::BoxStream;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _};

use super::connect::{OpenOptions, Server};
use super::faults::fault;
use super::schema;
use crate::store::StoreError;
use crate::store::copy::tables::{COPIED, FoundColumn, LEFT_OUT, SEEDED, Table};
use crate::store::copy::values::{self, KeyValue};
use crate::store::copy::{CopyError, Mark};

const DOING: &str = "copying into the database";

/// The lock that whoever copies into a database holds, "roac".
const COPYING: i64 = 0x726f_6163;

/// How long the server may take over a batch. One that lost its power would never answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// A database that is copied into.
pub(in crate::store) struct Target {
    place: String,
    conn: PgConnection,
    has_tables: bool,
}

impl Target {
    /// Connects, and makes the tables unless it is only to look.
    pub(in crate::store) async fn open(url: &str, may_write: bool) -> Result<Self, StoreError> {
        let options = OpenOptions {
            create: may_write,
            migrate: may_write,
            // A table may take longer to read than any statement of daily work.
            statement_timeout: Duration::ZERO,
            lock_timeout: Duration::from_secs(10),
            ..OpenOptions::default()
        };
        let server = Server::of(url, &options)?;
        let mut conn = server.connect(options.acquire_timeout).await?;
        if may_write {
            // One copy at a time; that of a process that was killed ends when the server notices.
            sqlx::query("select pg_advisory_lock($1)")
                .bind(COPYING)
                .execute(&mut conn)
                .await
                .map_err(fault("waiting for another `roasd move` into the database"))?;
        }
        let has_tables = may_write || schema::has_tables(&mut conn, &server).await?;
        if has_tables {
            schema::bring_up(&mut conn, &server, &options).await?;
        }
        Ok(Self {
            place: server.place,
            conn,
            has_tables,
        })
    }

    /// Where it is, without a password.
    pub(in crate::store) fn place(&self) -> &str {
        &self.place
    }

    /// Whether there are tables of roasd.
    pub(in crate::store) const fn has_tables(&self) -> bool {
        self.has_tables
    }

    /// How a table looks.
    pub(in crate::store) async fn table(&mut self, name: &'static str) -> Result<Table, CopyError> {
        let columns: Vec<(String, String, i64, bool)> = sqlx::query_as(
            "select a.attname::text, format_type(a.atttypid, null),
                 coalesce(array_position(k.conkey, a.attnum), 0)::bigint, a.attidentity <> ''
             from pg_class c
             join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
             left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
             where c.relname = $1 and c.relnamespace = current_schema()::regnamespace",
        )
        .bind(name)
        .fetch_all(&mut self.conn)
        .await
        .map_err(fault(DOING))?;
        let found = columns
            .into_iter()
            .map(|(name, type_name, key, is_identity)| FoundColumn {
                name,
                type_name,
                key,
                is_identity,
            });
        Table::of(name, found.collect())
    }

    /// The mark of a copy that was begun and not finished.
    pub(in crate::store) async fn mark(&mut self) -> Result<Option<Mark>, StoreError> {
        if !schema::is_unfinished(&mut self.conn).await? {
            return Ok(None);
        }
        let (source, content): (String, String) =
            sqlx::query_as("select source, content from roasd_unfinished_copy")
                .fetch_one(&mut self.conn)
                .await
                .map_err(fault(DOING))?;
        Ok(Some(Mark { source, content }))
    }

    /// The first table that somebody wrote to.
    pub(in crate::store) async fn written_table(
        &mut self,
    ) -> Result<Option<&'static str>, StoreError> {
        written_table(&mut self.conn).await
    }

    /// Marks an empty database as an unfinished copy, and clears what the migrations put in. Gives
    /// the table that stands in the way if it is not empty.
    pub(in crate::store) async fn begin(
        &mut self,
        mark: &Mark,
    ) -> Result<Option<&'static str>, StoreError> {
        let mut tx = self.conn.begin().await.map_err(fault(DOING))?;
        // Nobody writes between the look and the mark.
        let tables: Vec<_> = daemons_tables().collect();
        let tables = tables.join(", ");
        run(&mut tx, format!("lock table {tables} in share mode")).await?;
        if let Some(table) = written_table(&mut tx).await? {
            return Ok(Some(table));
        }
        run(
            &mut tx,
            "create table roasd_unfinished_copy (source text not null, content text not null)"
                .to_owned(),
        )
        .await?;
        sqlx::query("insert into roasd_unfinished_copy (source, content) values ($1, $2)")
            .bind(&mark.source)
            .bind(&mark.content)
            .execute(&mut *tx)
            .await
            .map_err(fault(DOING))?;
        for (table, _) in SEEDED {
            run(&mut tx, format!("delete from {table}")).await?;
        }
        tx.commit().await.map_err(fault(DOING))?;
        Ok(None)
    }

    /// The greatest key of a table. Batches are committed whole and in the order of the key, so all
    /// rows up to it are there.
    pub(in crate::store) async fn last_key(
        &mut self,
        table: &Table,
    ) -> Result<Option<Vec<KeyValue>>, CopyError> {
        let descending: Vec<_> = table
            .key_columns()
            .map(|column| format!("\"{}\" desc", column.name))
            .collect();
        let statement = format!(
            "select {} from \"{}\" order by {} limit 1",
            table.column_list(),
            table.name,
            descending.join(", ")
        );
        let row = sqlx::query(AssertSqlSafe(statement))
            .fetch_optional(&mut self.conn)
            .await
            .map_err(fault(DOING))?;
        row.map(|row| values::key(table, &row)).transpose()
    }

    /// Adds a batch of rows, all or none.
    pub(in crate::store) async fn append(
        &mut self,
        table: &Table,
        batch: &[u8],
    ) -> Result<u64, StoreError> {
        let statement = format!(
            "copy \"{}\" ({}) from stdin (format binary)",
            table.name,
            table.column_list()
        );
        let sent = async {
            let mut copy = self.conn.copy_in_raw(&statement).await?;
            copy.send(batch).await?;
            copy.finish().await
        };
        match tokio::time::timeout(ANSWER_WITHIN, sent).await {
            Ok(answer) => answer.map_err(fault(DOING)),
            Err(_) => Err(StoreError::Unavailable {
                doing: DOING,
                cause: format!("no answer within {} s", ANSWER_WITHIN.as_secs()).into(),
            }),
        }
    }

    /// The rows of a table in the order of its key. Read as they are taken.
    pub(in crate::store) fn rows<'a>(
        &'a mut self,
        table: &Table,
    ) -> BoxStream<'a, Result<PgRow, sqlx::Error>> {
        sqlx::query(AssertSqlSafe(table.select(false))).fetch(&mut self.conn)
    }

    /// Lets the server look at what is in a table, so that it plans well from the first statement on.
    pub(in crate::store) async fn analyze(&mut self, table: &Table) -> Result<(), StoreError> {
        run(&mut self.conn, format!("analyze \"{}\"", table.name)).await
    }

    /// Takes the mark away; `numbers` are the last ones that tables gave to rows, from which they go
    /// on.
    pub(in crate::store) async fn finish(
        &mut self,
        numbers: &[(&Table, i64)],
    ) -> Result<(), StoreError> {
        let mut tx = self.conn.begin().await.map_err(fault(DOING))?;
        for (table, last) in numbers {
            let Some(column) = &table.identity else {
                continue;
            };
            // A number is given out once, so one that was given to a row since deleted counts.
            let statement = format!(
                "select setval(pg_get_serial_sequence('\"{0}\"', '{column}'),
                     greatest($1, m.last, 1), greatest($1, m.last) > 0)
                 from (select coalesce(max(\"{column}\"), 0) from \"{0}\") as m (last)",
                table.name
            );
            sqlx::query(AssertSqlSafe(statement))
                .bind(last)
                .execute(&mut *tx)
                .await
                .map_err(fault(DOING))?;
        }
        run(&mut tx, "drop table roasd_unfinished_copy".to_owned()).await?;
        tx.commit().await.map_err(fault(DOING))
    }

    pub(in crate::store) async fn close(self) {
        let _ = self.conn.close().await; // the work is done
    }
}

/// How errors of reading it are told.
pub(in crate::store) fn told(error: sqlx::Error) -> StoreError {
    fault("reading the copy")(error)
}

async fn run(conn: &mut PgConnection, statement: String) -> Result<(), StoreError> {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(conn)
        .await
        .map_err(fault(DOING))?;
    Ok(())
}

/// The tables that a daemon writes to.
fn daemons_tables() -> impl Iterator<Item = &'static str> {
    let machinery = LEFT_OUT.iter().filter(|left_out| left_out.is_daemons);
    let machinery = machinery.map(|left_out| left_out.table);
    COPIED.iter().copied().chain(machinery)
}

async fn written_table(conn: &mut PgConnection) -> Result<Option<&'static str>, StoreError> {
    for table in daemons_tables() {
        let seeded = SEEDED.iter().find(|(name, _)| *name == table);
        let written = seeded.map_or("true", |(_, written)| written);
        let statement = format!("select exists (select 1 from \"{table}\" where {written})");
        let is_written: bool = sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_one(&mut *conn)
            .await
            .map_err(fault(DOING))?;
        if is_written {
            return Ok(Some(table));
        }
    }
    Ok(None)
}
