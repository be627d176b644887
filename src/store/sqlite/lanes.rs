//! What shares its commits: deliveries and visits as they come in, claims and settlements.

use std::marker::PhantomData;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use super::faults::fault;
use super::{begin_write, check_fence, inbox, visits};
use crate::store::StoreError;
use crate::store::sql::lane::{Lane, Request, Work};

/// Work that is done for one after the other within a transaction that all share.
pub(super) trait Each: Send + Sync + 'static {
    /// What is asked for.
    type Asked: Send + Sync + 'static;
    /// What is answered.
    type Answer: Send + 'static;
    /// What is being done.
    const DOING: &'static str;
    /// Whether that is a single statement: one that comes alone needs no transaction around it.
    const IS_ONE_STATEMENT: bool = false;

    /// Does it for one. What it refuses must leave nothing behind.
    fn one(
        conn: &mut SqliteConnection,
        asked: &Self::Asked,
    ) -> impl Future<Output = Result<Self::Answer, StoreError>> + Send;
}

/// Does work for each of a batch.
pub(super) struct ByTurns<E> {
    writer: SqlitePool,
    each: PhantomData<E>,
}

impl<E: Each> Work for ByTurns<E> {
    type Asked = E::Asked;
    type Answer = E::Answer;
    type Kept = ();
    const DOING: &'static str = E::DOING;

    async fn work(
        &self,
        _: &mut (),
        batch: &[Request<E::Asked>],
    ) -> Result<Vec<Result<E::Answer, StoreError>>, StoreError> {
        if E::IS_ONE_STATEMENT
            && let [Request { asked, fence: None }] = batch
        {
            let conn = self.writer.acquire().await;
            let done = E::one(&mut *conn.map_err(fault(E::DOING))?, asked).await;
            return Ok(vec![done]);
        }
        let mut tx = begin_write(&self.writer, E::DOING).await?;
        let mut results = Vec::with_capacity(batch.len());
        for Request { asked, fence } in batch {
            let result = match fence {
                Some(fence) => match check_fence(&mut tx, fence, E::DOING).await {
                    Ok(()) => E::one(&mut tx, asked).await,
                    Err(error) => Err(error),
                },
                None => E::one(&mut tx, asked).await,
            };
            // A statement that is refused undoes itself alone; when the disk fails, all is undone.
            if let Err(error @ StoreError::Unavailable { .. }) = result {
                return Err(error);
            }
            results.push(result);
        }
        tx.commit().await.map_err(fault(E::DOING))?;
        Ok(results)
    }
}

/// The lanes of one store.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    pub(super) deliveries: Lane<ByTurns<inbox::Keeping>>,
    pub(super) claims: Lane<ByTurns<inbox::Claiming>>,
    pub(super) settlements: Lane<ByTurns<inbox::Settling>>,
    pub(super) visits: Lane<ByTurns<visits::Keeping>>,
}

impl Lanes {
    /// Starts them.
    pub(super) fn start(writer: &SqlitePool) -> Self {
        Self {
            deliveries: lane(writer),
            claims: lane(writer),
            settlements: lane(writer),
            visits: lane(writer),
        }
    }
}

fn lane<E: Each>(writer: &SqlitePool) -> Lane<ByTurns<E>> {
    let work = ByTurns {
        writer: writer.clone(),
        each: PhantomData,
    };
    Lane::start(work, 1)
}
