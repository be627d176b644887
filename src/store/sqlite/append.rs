//! Group commit: appends that arrive while another commit is on its way to the disk share the next
//! one. A lone append waits for nobody; under load one sync serves many.

use std::sync::Arc;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;
use tokio::sync::{mpsc, oneshot};

use super::faults::fault;
use super::{begin_write, check_fence, inbox, visits};
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::domain::visit::Visit;
use crate::store::StoreError;
use crate::store::inbox::Delivery;
use crate::store::nodes::Fence;

/// Appends that share a commit at most, so that no transaction grows without bound.
const BATCH_MAX: usize = 256;

const DOING: &str = "appending what came in";

/// One thing to append.
#[derive(Debug)]
pub(super) enum Append {
    /// A delivery.
    Delivery(TenantId, Delivery, Timestamp),
    /// A visit.
    Visit(TenantId, Visit),
}

type Answer = Result<bool, StoreError>;

/// An append that waits for its commit.
#[derive(Debug)]
struct Waiting {
    append: Append,
    fence: Option<Arc<Fence>>,
    answer: oneshot::Sender<Answer>,
}

/// The way to the task that appends. The task ends with the last of its senders.
#[derive(Debug, Clone)]
pub(super) struct Appender(mpsc::Sender<Waiting>);

impl Appender {
    /// Starts the task.
    pub(super) fn start(writer: SqlitePool) -> Self {
        let (sender, mut receiver) = mpsc::channel(BATCH_MAX);
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
                commit(&writer, std::mem::take(&mut batch)).await;
            }
        });
        Self(sender)
    }

    /// Appends, under a fence if there is one; `true` when it was new. Returns when it is on disk.
    pub(super) async fn append(&self, append: Append, fence: Option<Arc<Fence>>) -> Answer {
        let gone = || StoreError::Unavailable {
            doing: DOING,
            cause: "the store is closed".into(),
        };
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            append,
            fence,
            answer,
        };
        self.0.send(waiting).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Writes a batch in one transaction and tells each how it went, after the commit.
async fn commit(writer: &SqlitePool, batch: Vec<Waiting>) {
    match write(writer, &batch).await {
        Ok(results) => {
            for (waiting, result) in batch.into_iter().zip(results) {
                let _ = waiting.answer.send(result); // whoever asked may be gone; the row is kept
            }
        }
        Err(error) => {
            // All share the failure: nothing of the batch was written.
            let told = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            for waiting in batch {
                let _ = waiting.answer.send(Err(StoreError::Unavailable {
                    doing: DOING,
                    cause: told.clone().into(),
                }));
            }
        }
    }
}

async fn write(writer: &SqlitePool, batch: &[Waiting]) -> Result<Vec<Answer>, StoreError> {
    let mut tx = begin_write(writer, DOING).await?;
    let mut results = Vec::with_capacity(batch.len());
    for Waiting { append, fence, .. } in batch {
        let result = insert(&mut tx, append, fence.as_deref()).await;
        // A statement that is refused undoes itself alone; when the disk fails, all is undone.
        if let Err(error @ StoreError::Unavailable { .. }) = result {
            return Err(error);
        }
        results.push(result);
    }
    tx.commit().await.map_err(fault(DOING))?;
    Ok(results)
}

async fn insert(conn: &mut SqliteConnection, append: &Append, fence: Option<&Fence>) -> Answer {
    if let Some(fence) = fence {
        check_fence(conn, fence, DOING).await?;
    }
    match append {
        Append::Delivery(tenant, delivery, now) => {
            inbox::insert_delivery(conn, tenant, delivery, *now).await
        }
        Append::Visit(tenant, visit) => visits::insert_visit(conn, tenant, visit).await,
    }
}
