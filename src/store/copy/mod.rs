//! One store into another: a SQLite file into an empty PostgreSQL database, whole or not at all.
//!
//! The file is read as it is at one instant and is never written. Its content has a checksum, which
//! stands in the target while the copy is not finished; so only the same content goes on with it, and
//! no daemon opens it meanwhile. Rows go in the order of their keys in batches that are there whole or
//! not at all: what is there already is known by the greatest key. At the end both sides are read back
//! through the same code, value by value, and the mark goes only when they agree.

pub(in crate::store) mod tables;
pub(in crate::store) mod values;

use std::path::Path;

use futures_util::{StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};
use sqlx::sqlite::SqliteRow;
use tokio::sync::mpsc;

use super::StoreError;
use super::postgres::copy::{self as postgres, Target};
use super::sqlite::copy::{self as sqlite, Source};
use tables::Table;
pub use tables::{COPIED, LEFT_OUT, LeftOut};
pub use values::Sum;
use values::{KeyValue, Tally};

/// So many bytes go at once, save for a single row that is larger.
const BATCH_BYTES: usize = 4 << 20;

/// So many rows lie between two words about progress.
const TELL_EVERY: u64 = 10_000;

/// Why a copy cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One of the two stores cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The target is in use.
    #[error(
        "{place} is not empty ({table} has rows), and was left as it is; `roasd move --check` compares it \
         with the file; to copy, name a new database: createdb --owner USER DATABASE"
    )]
    NotEmpty {
        /// The target.
        place: String,
        /// A table that has rows.
        table: &'static str,
    },
    /// The target holds a part of something else.
    #[error(
        "{place} holds an unfinished copy of other content (begun from {begun_from}, which may have \
         changed since), and was left as it is; make the database anew and start again: dropdb \
         DATABASE && createdb --owner USER DATABASE"
    )]
    OtherCopy {
        /// The target.
        place: String,
        /// What was being copied.
        begun_from: String,
    },
    /// A table is not the same on both sides.
    #[error(
        "the table {table} has other columns in the file than in PostgreSQL: one of them was altered \
         by hand; bring them in line"
    )]
    Shape {
        /// The table.
        table: &'static str,
    },
    /// A value cannot be taken over as it is.
    #[error("the row {key} of {table} cannot be copied: its {column} is {detail}")]
    Unfit {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
        /// The row.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Somebody wrote to the file while it was copied.
    #[error(
        "{path} was written to while it was copied (by a command such as `roasd pause`?), so the copy \
         lacks what is new and is not finished; make the target anew and start again"
    )]
    SourceMoved {
        /// The file.
        path: String,
    },
}

/// What stands in a target while the copy is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Mark {
    /// Where the copy comes from, for people.
    pub(in crate::store) source: String,
    /// The checksum of all that is copied.
    pub(in crate::store) content: String,
}

/// What is being done to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is read in the file.
    Reading,
    /// Its rows are added to the target.
    Copying,
    /// It is read back from the target.
    Verifying,
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// To which table.
    pub table: &'static str,
    /// Its rows that are done.
    pub rows: u64,
}

/// Is told how far the work is.
pub type Watch<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// How a target stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is nothing in it.
    Empty,
    /// A copy of this content was begun.
    Unfinished,
    /// There are rows in it, in this table for one.
    Used(&'static str),
}

/// A table on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// The table.
    pub table: &'static str,
    /// In the file.
    pub source: Sum,
    /// In the target.
    pub target: Sum,
    /// The first key that only one side has, or whose rows differ.
    pub first_difference: Option<String>,
}

impl Compared {
    /// Whether both sides have the same.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.source == self.target
    }
}

/// A file and the database that it is copied into.
pub struct Move {
    source: Source,
    target: Target,
    tables: Vec<(Table, Sum)>,
    mark: Mark,
}

impl std::fmt::Debug for Move {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Move")
            .field("mark", &self.mark)
            .finish_non_exhaustive()
    }
}

impl Move {
    /// Opens both sides and reads all of the file once. The caller sees to it that no daemon runs on
    /// the file. Unless it `may_write`, nothing is written to the target either.
    ///
    /// # Errors
    /// When a side cannot be opened, or a row of the file cannot be copied.
    pub async fn open(
        source_url: &str,
        target_url: &str,
        may_write: bool,
        watch: Watch<'_>,
    ) -> Result<Self, CopyError> {
        // What can be refused is refused before all is read.
        let mut target = Target::open(target_url, may_write).await?;
        if may_write
            && target.mark().await?.is_none()
            && let Some(table) = target.written_table().await?
        {
            return Err(not_empty(&target, table));
        }
        let source = Source::open(source_url).await?;
        let mut moving = Self {
            tables: Vec::new(),
            mark: Mark {
                source: format!("sqlite:{}", source.path().display()),
                content: String::new(),
            },
            target,
            source,
        };
        moving.survey(watch).await?;
        Ok(moving)
    }

    /// Finds the tables, how they are on the other side, and what is in them.
    async fn survey(&mut self, watch: Watch<'_>) -> Result<(), CopyError> {
        for name in COPIED {
            let mut table = self.source.table(name).await?;
            if self.target.has_tables() {
                let there = self.target.table(name).await?;
                if !table.is_like(&there) {
                    return Err(CopyError::Shape { table: name });
                }
                table.identity = there.identity;
            }
            let mut tally = Tally::new();
            let mut rows = self.source.rows(&table, None);
            while let Some(row) = rows.next().await.transpose().map_err(sqlite::told)? {
                tally.take(&table, &row)?;
                tell(watch, Phase::Reading, name, tally.rows());
            }
            drop(rows);
            self.tables.push((table, tally.sum()));
        }
        let content = self
            .tables
            .iter()
            .fold(Sha256::new(), |content, (table, sum)| {
                content.chain_update(format!("{} {} {}\n", table.name, sum.rows, sum.checksum))
            });
        self.mark.content = hex::encode(content.finalize());
        Ok(())
    }

    /// The file.
    #[must_use]
    pub fn source_path(&self) -> &Path {
        self.source.path()
    }

    /// The target, without a password.
    #[must_use]
    pub fn target_place(&self) -> &str {
        self.target.place()
    }

    /// The tables of the file and what is in them.
    pub fn sums(&self) -> impl Iterator<Item = (&'static str, &Sum)> {
        self.tables.iter().map(|(table, sum)| (table.name, sum))
    }

    /// Tables of the file that roasd does not know, and so does not copy.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn foreign_tables(&mut self) -> Result<Vec<String>, CopyError> {
        Ok(self.source.foreign_tables().await?)
    }

    /// How the target stands.
    ///
    /// # Errors
    /// When it holds an unfinished copy of other content, or does not answer.
    pub async fn standing(&mut self) -> Result<Standing, CopyError> {
        if !self.target.has_tables() {
            return Ok(Standing::Empty);
        }
        match self.target.mark().await? {
            Some(mark) if mark.content == self.mark.content => Ok(Standing::Unfinished),
            Some(mark) => Err(CopyError::OtherCopy {
                place: self.target.place().to_owned(),
                begun_from: mark.source,
            }),
            None => Ok(match self.target.written_table().await? {
                Some(table) => Standing::Used(table),
                None => Standing::Empty,
            }),
        }
    }

    /// Copies all that is not there yet; returns how many rows that were.
    ///
    /// # Errors
    /// When the target is in use or the work is interrupted; doing the same again then goes on.
    pub async fn copy(&mut self, watch: Watch<'_>) -> Result<u64, CopyError> {
        if self.standing().await? != Standing::Unfinished
            && let Some(table) = self.target.begin(&self.mark).await?
        {
            return Err(not_empty(&self.target, table));
        }
        let mut copied = 0;
        for (table, _) in &self.tables {
            let after = self.target.last_key(table).await?;
            copied += copy_table(
                &mut self.source,
                &mut self.target,
                table,
                after.as_deref(),
                watch,
            )
            .await?;
            self.target.analyze(table).await?;
        }
        Ok(copied)
    }

    /// Reads back all that is in the target and compares it with the file.
    ///
    /// # Errors
    /// When a side cannot be read.
    pub async fn compare(&mut self, watch: Watch<'_>) -> Result<Vec<Compared>, CopyError> {
        let mut all = Vec::new();
        for (table, source) in &self.tables {
            let mut tally = Tally::new();
            let mut rows = self.target.rows(table);
            while let Some(row) = rows.next().await.transpose().map_err(postgres::told)? {
                tally.take(table, &row)?;
                tell(watch, Phase::Verifying, table.name, tally.rows());
            }
            drop(rows);
            let target = tally.sum();
            let first_difference = if *source == target {
                None
            } else {
                first_difference(&mut self.source, &mut self.target, table).await?
            };
            all.push(Compared {
                table: table.name,
                source: source.clone(),
                target,
                first_difference,
            });
        }
        Ok(all)
    }

    /// Declares the copy finished, so that a daemon can be started on it. To be called when
    /// [`Self::compare`] found no difference.
    ///
    /// # Errors
    /// When the file was written to meanwhile, or the target does not answer.
    pub async fn finish(mut self) -> Result<(), CopyError> {
        let mut numbers = Vec::new();
        for (table, _) in &self.tables {
            if table.identity.is_some() {
                numbers.push((table, self.source.last_number(table).await?));
            }
        }
        let path = self.source.path().display().to_string();
        if self.source.release().await? {
            return Err(CopyError::SourceMoved { path });
        }
        self.target.finish(&numbers).await?;
        self.target.close().await;
        Ok(())
    }

    /// Leaves everything as it is.
    pub async fn close(self) {
        self.target.close().await;
    }
}

fn not_empty(target: &Target, table: &'static str) -> CopyError {
    CopyError::NotEmpty {
        place: target.place().to_owned(),
        table,
    }
}

fn tell(watch: Watch<'_>, phase: Phase, table: &'static str, rows: u64) {
    if rows % TELL_EVERY == 1 {
        watch(Progress { phase, table, rows });
    }
}

/// Rows as they are sent.
struct Batch {
    bytes: Vec<u8>,
    rows: u64,
}

impl Batch {
    fn new() -> Self {
        Self {
            bytes: values::HEAD.to_vec(),
            rows: 0,
        }
    }

    /// The bytes, with what ends them.
    fn sealed(mut self) -> Self {
        self.bytes.extend_from_slice(values::END);
        self
    }
}

/// Copies the rows of a table after a key. While the server takes in one batch, the next is read.
async fn copy_table(
    source: &mut Source,
    target: &mut Target,
    table: &Table,
    after: Option<&[KeyValue]>,
    watch: Watch<'_>,
) -> Result<u64, CopyError> {
    let (to_write, mut batches) = mpsc::channel(1);
    let reading = async move {
        let mut rows = source.rows(table, after);
        read_batches(table, &mut rows, to_write).await
    };
    let writing = async move {
        let mut copied = 0;
        while let Some(batch) = batches.recv().await {
            let Batch { bytes, rows } = batch;
            target.append(table, &bytes).await?;
            copied += rows;
            watch(Progress {
                phase: Phase::Copying,
                table: table.name,
                rows: copied,
            });
        }
        Ok::<_, CopyError>(copied)
    };
    let (read, written) = tokio::join!(reading, writing);
    let copied = written?;
    read?;
    Ok(copied)
}

/// Hands on rows in batches, until there are none or nobody takes them any more.
async fn read_batches(
    table: &Table,
    rows: &mut (impl futures_util::Stream<Item = Result<SqliteRow, sqlx::Error>> + Unpin),
    to: mpsc::Sender<Batch>,
) -> Result<(), CopyError> {
    let mut batch = Batch::new();
    while let Some(row) = rows.try_next().await.map_err(sqlite::told)? {
        values::wire(table, &row, &mut batch.bytes)?;
        batch.rows += 1;
        if batch.bytes.len() >= BATCH_BYTES {
            let full = std::mem::replace(&mut batch, Batch::new());
            if to.send(full.sealed()).await.is_err() {
                return Ok(());
            }
        }
    }
    if batch.rows > 0 {
        // Whoever takes them knows why it stopped.
        let _ = to.send(batch.sealed()).await;
    }
    Ok(())
}

/// The first key at which the two sides differ.
async fn first_difference(
    source: &mut Source,
    target: &mut Target,
    table: &Table,
) -> Result<Option<String>, CopyError> {
    let mut there = target.rows(table);
    let mut here = source.rows(table, None);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        let a = here.try_next().await.map_err(sqlite::told)?;
        let b = there.try_next().await.map_err(postgres::told)?;
        let key = match (&a, &b) {
            (None, None) => return Ok(None),
            (Some(row), None) => values::key(table, row)?,
            (None, Some(row)) => values::key(table, row)?,
            (Some(a), Some(b)) => {
                left.clear();
                right.clear();
                values::canonical(table, a, &mut left)?;
                values::canonical(table, b, &mut right)?;
                if left == right {
                    continue;
                }
                // The smaller key is the one that the other side lacks.
                values::key(table, a)?.min(values::key(table, b)?)
            }
        };
        return Ok(Some(values::shown(table, &key)));
    }
}
