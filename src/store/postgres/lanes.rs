//! What shares its commits: deliveries and visits as they come in, claims and settlements. Each lane
//! does a whole batch by one statement, which is a transaction of its own: one message to the server
//! and one sync for all.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::postgres::{PgPool, PgRow};

use super::session::{self, Patience, Reader, Statement};
use super::{inbox, visits};
use crate::store::StoreError;
use crate::store::nodes::Fence;
use crate::store::sql::cells::Columns;
use crate::store::sql::lane::{Lane, Request, Rush};
use crate::store::sql::nodes::deposed;

/// Workers for deliveries: while the commit of one waits for the disk the other puts the next
/// together. Whoever delivers comes in crowds, and more workers would only make the batches smaller.
const KEEPERS: usize = 2;

/// Workers for claims, and for settlements. Each of these is waited for by one who can do nothing else
/// meanwhile, so on a slow disk a second wait costs more than a smaller batch.
const HELPERS: usize = 4;

/// The part of each lane's statement that lets only holders through. Before it stands `asked`, with
/// the number of each request as `n` and what it is fenced by (or nothing) as `node_id` and `fence`;
/// `admitted` is what may be written. As in `check_fence`, a lease that is looked at is held until
/// the commit.
macro_rules! admitted {
    () => {
        "held as materialized (
             select l.tenant, l.fence from tenant_leases as l
             where (l.tenant, l.node_id, l.fence) in (
                 select asked.tenant, asked.node_id, asked.fence from asked)
             order by l.tenant for key share of l),
         admitted as materialized (
             select asked.* from asked
             where asked.fence is null
                 or exists (select 1 from held
                     where held.tenant = asked.tenant and held.fence = asked.fence))"
    };
}
pub(super) use admitted;

/// The numbers, nodes and tokens of a batch, as `asked` has them.
pub(super) struct Fences<'r> {
    pub(super) n: Vec<i64>,
    pub(super) node: Vec<Option<&'r str>>,
    pub(super) token: Vec<Option<i64>>,
}

impl<'r> Fences<'r> {
    pub(super) fn of<T>(batch: &'r [Request<T>]) -> Self {
        let fence = |request: &'r Request<T>| request.fence.as_deref();
        Self {
            n: (0..).take(batch.len()).collect(),
            node: batch
                .iter()
                .map(|request| fence(request).map(|fence| fence.node.as_str()))
                .collect(),
            token: batch
                .iter()
                .map(|request| fence(request).map(|fence| fence.token))
                .collect(),
        }
    }
}

/// What a statement says of each request that was admitted: whether it was done.
pub(super) fn flags(rows: &[PgRow]) -> Result<HashMap<i64, bool>, StoreError> {
    rows.iter()
        .map(|row| {
            let row = Columns::of("a batch", row);
            Ok((row.get("n")?, row.flag("done")?))
        })
        .collect()
}

/// What a request is answered that was not admitted.
pub(super) fn not_admitted(fence: Option<&Arc<Fence>>, doing: &'static str) -> StoreError {
    match fence {
        Some(fence) => deposed(fence, doing),
        None => StoreError::Broken {
            doing,
            cause: "a request without a fence was not admitted".into(),
        },
    }
}

/// The server that a lane works on.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pool: PgPool,
    patience: Patience,
}

/// The connection that a worker keeps while there is work.
pub(super) type Kept = Option<Reader>;

impl Server {
    /// Runs a batch's statement on the connection that is kept, which is given up if it fails.
    pub(super) async fn rows(
        &self,
        kept: &mut Kept,
        doing: &'static str,
        statement: Statement<'_>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let mut session = match kept.take() {
            Some(session) => session,
            None => session::reader(&self.pool, &self.patience, doing).await?,
        };
        let rows = session.rows(statement).await?;
        *kept = Some(session);
        Ok(rows)
    }
}

/// The lanes of one store.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    pub(super) deliveries: Lane<inbox::Keeping>,
    pub(super) claims: Lane<inbox::Claiming>,
    pub(super) settlements: Lane<inbox::Settling>,
    pub(super) visits: Lane<visits::Keeping>,
    /// Of those who wait for the acknowledgement of a delivery.
    pub(super) rush: Rush,
}

impl Lanes {
    /// Starts them.
    pub(super) fn start(pool: &PgPool, patience: &Patience) -> Self {
        let server = || Server {
            pool: pool.clone(),
            patience: patience.clone(),
        };
        Self {
            deliveries: Lane::start(inbox::Keeping(server()), KEEPERS),
            claims: Lane::start(inbox::Claiming(server()), HELPERS),
            settlements: Lane::start(inbox::Settling(server()), HELPERS),
            visits: Lane::start(visits::Keeping(server()), KEEPERS),
            rush: Rush::default(),
        }
    }
}
