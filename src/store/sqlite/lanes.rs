//! What shares its commits: deliveries and visits as they come in, claims and settlements. Each lane
//! does a whole batch within one transaction and by few statements: a statement's way to the thread
//! that runs it and back costs more than most of what it does.

use std::collections::HashSet;
use std::marker::PhantomData;
use std::sync::Arc;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use super::faults::fault;
use super::{begin_write, check_fence, inbox, visits};
use crate::store::StoreError;
use crate::store::nodes::Fence;
use crate::store::sql::lane::{BATCH_BYTES_MAX, Lane, Request, Rush, Work, no_answer};

/// Work that is done for many within a transaction that all share.
pub(super) trait Together: Send + Sync + 'static {
    /// What is asked for.
    type Asked: Send + Sync + 'static;
    /// What is answered.
    type Answer: Send + 'static;
    /// What is being done.
    const DOING: &'static str;
    /// How many are done by a single statement: that needs no transaction around it.
    const BY_ONE_STATEMENT: usize = 0;
    /// The size that a batch may have …
    const SIZE_MAX: usize = BATCH_BYTES_MAX;
    /// … and the one that it may have while somebody waits for the acknowledgement of a delivery.
    const SIZE_MAX_IN_RUSH: usize = Self::SIZE_MAX;

    /// How much one adds to a batch.
    fn size(_asked: &Self::Asked) -> usize {
        0
    }

    /// Does it for all of them, and answers each in their order. An error undoes all.
    fn all(
        conn: &mut SqliteConnection,
        asked: &[&Self::Asked],
    ) -> impl Future<Output = Result<Vec<Result<Self::Answer, StoreError>>, StoreError>> + Send;
}

/// Does work for a batch.
pub(super) struct Batches<T> {
    writer: SqlitePool,
    rush: Rush,
    together: PhantomData<T>,
}

impl<T: Together> Work for Batches<T> {
    type Asked = T::Asked;
    type Answer = T::Answer;
    type Kept = ();
    const DOING: &'static str = T::DOING;

    fn size_max(&self) -> usize {
        if self.rush.is_on() {
            T::SIZE_MAX_IN_RUSH
        } else {
            T::SIZE_MAX
        }
    }

    fn size(asked: &T::Asked) -> usize {
        T::size(asked)
    }

    async fn work(
        &self,
        _: &mut (),
        batch: &[Request<T::Asked>],
    ) -> Result<Vec<Result<T::Answer, StoreError>>, StoreError> {
        let is_fenced = batch.iter().any(|request| request.fence.is_some());
        if !is_fenced && batch.len() <= T::BY_ONE_STATEMENT {
            let asked: Vec<_> = batch.iter().map(|request| &request.asked).collect();
            let conn = self.writer.acquire().await;
            return T::all(&mut *conn.map_err(fault(T::DOING))?, &asked).await;
        }
        let mut tx = begin_write(&self.writer, T::DOING).await?;
        let mut held = Held::default();
        let mut admitted = Vec::with_capacity(batch.len());
        let mut results = Vec::with_capacity(batch.len());
        for Request { asked, fence } in batch {
            let refused = held.check(&mut tx, fence.as_ref(), T::DOING).await?;
            if refused.is_none() {
                admitted.push(asked);
            }
            results.push(refused);
        }
        // A statement for none of them would be none.
        let mut answers = if admitted.is_empty() {
            Vec::new().into_iter()
        } else {
            let answers = T::all(&mut tx, &admitted).await?;
            tx.commit().await.map_err(fault(T::DOING))?;
            answers.into_iter()
        };
        let results = results.into_iter().map(|refused| match refused {
            Some(refused) => Err(refused),
            None => answers.next().unwrap_or_else(|| Err(no_answer(T::DOING))),
        });
        Ok(results.collect())
    }
}

/// The leases of a batch that are known to be held: nobody else writes meanwhile, so each is looked at
/// once.
#[derive(Default)]
struct Held(Vec<Arc<Fence>>);

impl Held {
    /// Why a request may not be done, if it may not.
    async fn check(
        &mut self,
        conn: &mut SqliteConnection,
        fence: Option<&Arc<Fence>>,
        doing: &'static str,
    ) -> Result<Option<StoreError>, StoreError> {
        let Some(fence) = fence.filter(|fence| !self.0.contains(fence)) else {
            return Ok(None);
        };
        match check_fence(conn, fence, doing).await {
            Ok(()) => {
                self.0.push(fence.clone());
                Ok(None)
            }
            Err(deposed @ StoreError::Deposed { .. }) => Ok(Some(deposed)),
            Err(error) => Err(error),
        }
    }
}

/// The lanes of one store.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    pub(super) deliveries: Lane<Batches<inbox::Keeping>>,
    pub(super) claims: Lane<Batches<inbox::Claiming>>,
    pub(super) settlements: Lane<Batches<inbox::Settling>>,
    pub(super) visits: Lane<Batches<visits::Keeping>>,
    /// Of those who wait for the acknowledgement of a delivery.
    pub(super) rush: Rush,
}

impl Lanes {
    /// Starts them.
    pub(super) fn start(writer: &SqlitePool) -> Self {
        let rush = Rush::default();
        Self {
            deliveries: lane(writer, &rush),
            claims: lane(writer, &rush),
            settlements: lane(writer, &rush),
            visits: lane(writer, &rush),
            rush,
        }
    }
}

fn lane<T: Together>(writer: &SqlitePool, rush: &Rush) -> Lane<Batches<T>> {
    let work = Batches {
        writer: writer.clone(),
        rush: rush.clone(),
        together: PhantomData,
    };
    Lane::start(work, 1)
}

/// Which of those asked for are new, by the keys of what was written: of several that are the same the
/// first is.
pub(super) fn news<K: std::hash::Hash + Eq>(
    asked: impl Iterator<Item = K>,
    written: impl Iterator<Item = K>,
) -> Vec<Result<bool, StoreError>> {
    let mut written: HashSet<K> = written.collect();
    asked.map(|key| Ok(written.remove(&key))).collect()
}
