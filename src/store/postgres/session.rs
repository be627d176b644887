//! A connection with its manners: every statement says what was being done when it fails, and none
//! is waited for for ever.

use std::ops::DerefMut;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgPool, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::{FromRow, Postgres, Transaction};
use tokio::time::Instant;

use super::connect::OpenOptions;
use super::faults::{connection_is_lost, fault};
use crate::store::StoreError;

/// A statement with its parameters.
pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// A statement whose rows are read as plain values.
pub(super) type Select<'q, T> = QueryAs<'q, Postgres, T, PgArguments>;

/// A transaction. Dropped, it is rolled back.
pub(super) type Tx = Session<Transaction<'static, Postgres>>;

/// A connection for one statement, which is a transaction of its own.
pub(super) type Reader = Session<PoolConnection<Postgres>>;

/// How long connections stay in doubt after one broke or gave no answer.
const DOUBT: Duration = Duration::from_secs(60);

/// How long an answer is waited for. A server that is alive answers or refuses within its own
/// time-outs; one that lost its power or its network says nothing at all, and the operating system
/// would wait a quarter of an hour for it.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    answer: Duration,
    doubt_until: Arc<Mutex<Option<Instant>>>,
}

impl Patience {
    /// A little longer than the server lets a statement run.
    pub(super) fn new(options: &OpenOptions) -> Self {
        Self {
            answer: options.statement_timeout + options.acquire_timeout,
            doubt_until: Arc::default(),
        }
    }

    /// Whether a connection broke or gave no answer lately, so that others may be dead too.
    pub(super) fn is_in_doubt(&self) -> bool {
        let until = self
            .doubt_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    async fn answer<T>(
        &self,
        doing: &'static str,
        asked: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let answer = tokio::time::timeout(self.answer, asked).await;
        if answer.as_ref().map_or(true, |answer| {
            answer.as_ref().is_err_and(connection_is_lost)
        }) {
            *self
                .doubt_until
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + DOUBT);
        }
        match answer {
            Ok(answer) => answer.map_err(fault(doing)),
            Err(_) => Err(StoreError::Unavailable {
                doing,
                cause: format!("no answer within {} s", self.answer.as_secs()).into(),
            }),
        }
    }
}

/// A connection on which one thing is being done.
pub(super) struct Session<C> {
    conn: C,
    patience: Patience,
    doing: &'static str,
}

/// Begins a transaction that writes.
pub(super) async fn begin(
    pool: &PgPool,
    patience: &Patience,
    doing: &'static str,
) -> Result<Tx, StoreError> {
    begin_with(pool, patience, doing, "begin").await
}

/// Begins a transaction that reads, and sees one state.
pub(super) async fn snapshot(
    pool: &PgPool,
    patience: &Patience,
    doing: &'static str,
) -> Result<Tx, StoreError> {
    let statement = "begin isolation level repeatable read, read only";
    begin_with(pool, patience, doing, statement).await
}

/// Begins in a task of its own, which is not cut off when whoever asks gives up. The driver takes a
/// `begin` that is dropped half-way for one that never was: the connection would go back to the pool
/// with an open transaction, in which the next statement that is to be a transaction of its own is
/// answered and never committed. A transaction that nobody waits for any more is rolled back.
async fn begin_with(
    pool: &PgPool,
    patience: &Patience,
    doing: &'static str,
    statement: &'static str,
) -> Result<Tx, StoreError> {
    let pool = pool.clone();
    let within = patience.answer;
    let begun = tokio::spawn(async move {
        // Whoever is silent for so long is gone: the connection is let go, so that the pool replaces it.
        tokio::time::timeout(within, pool.begin_with(statement))
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
    });
    let begun = async { begun.await.map_err(|_| sqlx::Error::WorkerCrashed)? };
    Ok(Session {
        conn: patience.answer(doing, begun).await?,
        patience: patience.clone(),
        doing,
    })
}

/// Takes a connection for one statement.
pub(super) async fn reader(
    pool: &PgPool,
    patience: &Patience,
    doing: &'static str,
) -> Result<Reader, StoreError> {
    Ok(Session {
        conn: pool.acquire().await.map_err(fault(doing))?,
        patience: patience.clone(),
        doing,
    })
}

impl<C: DerefMut<Target = PgConnection>> Session<C> {
    /// What is being done.
    pub(super) const fn doing(&self) -> &'static str {
        self.doing
    }

    /// Runs a statement; returns how many rows it touched.
    pub(super) async fn run(&mut self, statement: Statement<'_>) -> Result<u64, StoreError> {
        let asked = statement.execute(&mut *self.conn);
        let done = self.patience.answer(self.doing, asked).await?;
        Ok(done.rows_affected())
    }

    /// The rows of a statement.
    pub(super) async fn rows(
        &mut self,
        statement: Statement<'_>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let asked = statement.fetch_all(&mut *self.conn);
        self.patience.answer(self.doing, asked).await
    }

    /// The row of a statement, if it has one.
    pub(super) async fn row(
        &mut self,
        statement: Statement<'_>,
    ) -> Result<Option<PgRow>, StoreError> {
        let asked = statement.fetch_optional(&mut *self.conn);
        self.patience.answer(self.doing, asked).await
    }

    /// The rows of a statement as plain values.
    pub(super) async fn list<T>(&mut self, select: Select<'_, T>) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let asked = select.fetch_all(&mut *self.conn);
        self.patience.answer(self.doing, asked).await
    }

    /// The one row of a statement as plain values.
    pub(super) async fn one<T>(&mut self, select: Select<'_, T>) -> Result<T, StoreError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let asked = select.fetch_one(&mut *self.conn);
        self.patience.answer(self.doing, asked).await
    }
}

impl Tx {
    /// Makes it last: when this has returned `Ok`, all of it is on disk.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        self.patience.answer(self.doing, self.conn.commit()).await
    }

    /// The connection itself, for what has statements of its own.
    pub(super) fn raw(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}
