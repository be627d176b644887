//! Group commit: appends that arrive while another commit is on its way to the disk share the next
//! one. A lone append waits for nobody; under load one sync serves many.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::postgres::PgPool;
use tokio::sync::{mpsc, oneshot};

use super::session::{self, Patience, Tx};
use super::{column, inbox, visits};
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::domain::visit::Visit;
use crate::store::StoreError;
use crate::store::inbox::Delivery;
use crate::store::nodes::Fence;
use crate::store::sql::nodes::{deposed, fences};

/// Appends that share a commit at most, so that no transaction grows without bound.
const BATCH_MAX: usize = 256;

/// Bytes that share a commit at most, except for one append that is larger by itself.
const BATCH_BYTES_MAX: usize = 4 * 1_024 * 1_024;

const DOING: &str = "appending what came in";

/// One thing to append.
#[derive(Debug)]
pub(super) enum Append {
    /// A delivery.
    Delivery(TenantId, Delivery, Timestamp),
    /// A visit.
    Visit(TenantId, Visit),
}

impl Append {
    fn bytes(&self) -> usize {
        match self {
            Self::Delivery(_, delivery, _) => delivery.body.len(),
            Self::Visit(..) => 0, // its parts are bounded
        }
    }
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
    pub(super) fn start(pool: PgPool, patience: Patience) -> Self {
        let (sender, mut receiver) = mpsc::channel(BATCH_MAX);
        tokio::spawn(async move {
            let mut arrived = Vec::new();
            while receiver.recv_many(&mut arrived, BATCH_MAX).await > 0 {
                for batch in cut(std::mem::take(&mut arrived)) {
                    commit(&pool, &patience, batch).await;
                }
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

/// Cuts what arrived into batches of a bearable size.
fn cut(arrived: Vec<Waiting>) -> Vec<Vec<Waiting>> {
    let mut batches: Vec<Vec<Waiting>> = Vec::new();
    let mut bytes = 0;
    for waiting in arrived {
        bytes += waiting.append.bytes();
        match batches.last_mut() {
            Some(batch) if bytes <= BATCH_BYTES_MAX => batch.push(waiting),
            _ => {
                bytes = waiting.append.bytes();
                batches.push(vec![waiting]);
            }
        }
    }
    batches
}

/// Writes a batch in one transaction and tells each how it went, after the commit.
async fn commit(pool: &PgPool, patience: &Patience, batch: Vec<Waiting>) {
    match write(pool, patience, &batch.iter().collect::<Vec<_>>()).await {
        Ok(results) => tell(batch, results),
        // The server undoes the whole transaction for one append that it refuses, so each gets one
        // of its own and only the bad one fails.
        Err(StoreError::Broken { .. }) if batch.len() > 1 => {
            let mut results = Vec::with_capacity(batch.len());
            for waiting in &batch {
                let alone = write(pool, patience, &[waiting]).await;
                results.push(alone.and_then(|mut one| one.pop().unwrap_or(Ok(false))));
            }
            tell(batch, results);
        }
        Err(error) => {
            // All share the failure: nothing of the batch was written.
            let told = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            let broken = matches!(error, StoreError::Broken { .. });
            let results = batch
                .iter()
                .map(|_| {
                    let cause = told.clone().into();
                    Err(if broken {
                        StoreError::Broken {
                            doing: DOING,
                            cause,
                        }
                    } else {
                        StoreError::Unavailable {
                            doing: DOING,
                            cause,
                        }
                    })
                })
                .collect();
            tell(batch, results);
        }
    }
}

fn tell(batch: Vec<Waiting>, results: Vec<Answer>) {
    for (waiting, result) in batch.into_iter().zip(results) {
        let _ = waiting.answer.send(result); // whoever asked may be gone; the row is kept
    }
}

async fn write(
    pool: &PgPool,
    patience: &Patience,
    batch: &[&Waiting],
) -> Result<Vec<Answer>, StoreError> {
    let mut deliveries = Vec::new();
    let mut visits = Vec::new();
    let mut asked = Vec::new();
    for waiting in batch {
        asked.extend(waiting.fence.as_deref());
    }
    let mut tx = session::begin(pool, patience, DOING).await?;
    let held = held(&mut tx, &asked).await?;
    let is_held = |waiting: &Waiting| {
        waiting
            .fence
            .as_deref()
            .is_none_or(|fence| held.contains(&(fence.tenant.clone(), fence.token)))
    };
    for waiting in batch.iter().filter(|waiting| is_held(waiting)) {
        match &waiting.append {
            Append::Delivery(tenant, delivery, now) => deliveries.push((tenant, delivery, *now)),
            Append::Visit(tenant, visit) => visits.push((tenant, visit)),
        }
    }
    let mut new_deliveries = inbox::insert_deliveries(&mut tx, &deliveries).await?;
    let mut new_visits = visits::insert_visits(&mut tx, &visits).await?;
    tx.commit().await?;
    // The first of several that are the same is the new one.
    Ok(batch
        .iter()
        .map(
            |waiting| match (&waiting.append, waiting.fence.as_deref()) {
                (_, Some(fence)) if !is_held(waiting) => Err(deposed(fence, DOING)),
                (Append::Delivery(tenant, delivery, _), _) => {
                    Ok(new_deliveries.remove(&inbox::key(tenant, delivery)))
                }
                (Append::Visit(tenant, visit), _) => {
                    Ok(new_visits.remove(&visits::key(tenant, visit)))
                }
            },
        )
        .collect())
}

/// Which of the fences are still those that were given, until the transaction ends.
async fn held(
    tx: &mut Tx,
    fences_asked: &[&Fence],
) -> Result<HashSet<(TenantId, i64)>, StoreError> {
    if fences_asked.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = tx
        .rows(
            sqlx::query(
                "select l.tenant, l.node_id, l.fence from tenant_leases l
                 where (l.tenant, l.node_id, l.fence) in (
                     select tenant, node_id, fence
                     from unnest($1::text[], $2::text[], $3::bigint[])
                         as asked (tenant, node_id, fence))
                 order by l.tenant for key share of l",
            )
            .bind(column(fences_asked, |fence| fence.tenant.as_str()))
            .bind(column(fences_asked, |fence| fence.node.as_str()))
            .bind(column(fences_asked, |fence| fence.token)),
        )
        .await?;
    let held = fences(&rows)?;
    Ok(held
        .into_iter()
        .map(|fence| (fence.tenant, fence.token))
        .collect())
}
