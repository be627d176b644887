//! The store on PostgreSQL, for any number of nodes.
//!
//! Transactions run at read committed. What two of them must not do at once for one tenant is done
//! under that tenant's lock (`Section`), which is taken before anything is read that the write
//! depends on: a statement sees what was committed before it began, so the order is lock, then look.
//! Locks are taken in one order everywhere, so that nobody waits in a circle: the lease of a fenced
//! write, the tenant's lock, rows (several of one table in the order of their key).

mod audit;
mod brought;
mod changes;
mod connect;
pub(in crate::store) mod copy;
mod crm;
mod decisions;
mod entities;
mod erasure;
mod faults;
mod gate;
mod inbox;
mod insights;
mod jobs;
mod lanes;
mod leads;
mod learned;
mod models;
mod nodes;
mod nudges;
mod outbox;
mod privacy;
mod reports;
mod revenue;
mod schema;
mod session;
mod status;
mod syncs;
mod tenants;
mod tokens;
mod visits;
mod winners;

use std::sync::Arc;

use sqlx::FromRow;
use sqlx::postgres::{PgPool, PgRow};

use super::StoreError;
use super::nodes::Fence;
use super::sql::nodes::{check_own, deposed};
use crate::domain::ids::TenantId;
pub use connect::OpenOptions;
use session::{Patience, Reader, Select, Statement, Tx};
pub use visits::CLICK_LOOKUPS;

/// The store in one PostgreSQL database. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    server: Arc<connect::Server>,
    pool: PgPool,
    /// The connection that keeps this node's leases, whoever waits for the others meanwhile.
    upkeep: PgPool,
    patience: Patience,
    lanes: lanes::Lanes,
    nudger: nudges::Nudger,
    /// What every write of this handle is fenced by.
    fence: Option<Arc<Fence>>,
}

/// What must not be done twice at once for one tenant.
#[derive(Debug, Clone, Copy)]
enum Section {
    /// The queue of changes, the audit log that tells of it, pauses, and the known settings that
    /// both look at.
    Queue = 0x726f_6101,
    /// Recording what the CRM said.
    Crm = 0x726f_6102,
    /// Recording delivery figures.
    Insights = 0x726f_6103,
    /// Keeping vectors that are brought.
    Vectors = 0x726f_6104,
}

/// Locks that the tenants share out among themselves. Two that fall on one lock wait for each
/// other now and then; more locks would outgrow the server's table when all are taken at once.
const LOTS: u32 = 1_024;

/// The lock that a tenant's name falls on: FNV-1a, the same on every node.
fn lot(tenant: &TenantId) -> i32 {
    let hash = tenant.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    i32::try_from(hash % LOTS).unwrap_or(0)
}

/// The values of one column, row by row.
fn column<'r, T, U>(rows: &'r [T], of: impl FnMut(&'r T) -> U) -> Vec<U> {
    rows.iter().map(of).collect()
}

impl PostgresStore {
    /// Opens the database that a URL names and migrates it. Several nodes may do so at once. Must
    /// be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::CannotOpen`] with what to do about it, [`StoreError::NewerSchema`] when a newer
    /// roasd migrated it, [`StoreError::Unavailable`] when the server is not there.
    pub async fn open(url: &str, options: OpenOptions) -> Result<Self, StoreError> {
        let server = connect::Server::of(url, &options)?;
        schema::prepare(&server, &options).await?;
        let patience = Patience::new(&options);
        let pool = server.pool(&options, &patience);
        let upkeep = server.pool(
            &OpenOptions {
                connections: 1,
                ..options
            },
            &patience,
        );
        Ok(Self {
            lanes: lanes::Lanes::start(&pool, &patience),
            nudger: nudges::Nudger::start(pool.clone(), patience.clone()),
            server: Arc::new(server),
            pool,
            upkeep,
            patience,
            fence: None,
        })
    }

    /// Begins a write; one for a tenant begins by [`Self::write_for`].
    async fn write(&self, doing: &'static str) -> Result<Tx, StoreError> {
        let mut tx = session::begin(&self.pool, &self.patience, doing).await?;
        if let Some(fence) = &self.fence {
            check_fence(&mut tx, fence).await?;
        }
        Ok(tx)
    }

    /// Begins a write for a tenant.
    async fn write_for(&self, tenant: &TenantId, doing: &'static str) -> Result<Tx, StoreError> {
        check_own(self.fence.as_deref(), tenant, doing)?;
        self.write(doing).await
    }

    /// Begins a write for a tenant in a section of which nobody else is in.
    async fn write_in(
        &self,
        section: Section,
        tenant: &TenantId,
        doing: &'static str,
    ) -> Result<Tx, StoreError> {
        let mut tx = self.write_for(tenant, doing).await?;
        lock(&mut tx, section, std::slice::from_ref(tenant)).await?;
        Ok(tx)
    }

    /// Begins a read of several statements that must see one state.
    async fn snapshot(&self, doing: &'static str) -> Result<Tx, StoreError> {
        session::snapshot(&self.pool, &self.patience, doing).await
    }

    async fn reader(&self, doing: &'static str) -> Result<Reader, StoreError> {
        session::reader(&self.pool, &self.patience, doing).await
    }

    /// Reads rows by one statement.
    async fn rows(
        &self,
        doing: &'static str,
        statement: Statement<'_>,
    ) -> Result<Vec<PgRow>, StoreError> {
        self.reader(doing).await?.rows(statement).await
    }

    /// Reads a row, if there is one, by one statement.
    async fn row(
        &self,
        doing: &'static str,
        statement: Statement<'_>,
    ) -> Result<Option<PgRow>, StoreError> {
        self.reader(doing).await?.row(statement).await
    }

    /// Reads plain values by one statement.
    async fn list<T>(
        &self,
        doing: &'static str,
        select: Select<'_, T>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.reader(doing).await?.list(select).await
    }

    /// Reads the plain values of the one row there is, by one statement.
    async fn one<T>(&self, doing: &'static str, select: Select<'_, T>) -> Result<T, StoreError>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.reader(doing).await?.one(select).await
    }
}

/// Enters a section for tenants, and stays in it until the transaction ends.
async fn lock(tx: &mut Tx, section: Section, tenants: &[TenantId]) -> Result<(), StoreError> {
    let mut lots = column(tenants, lot);
    lots.sort_unstable();
    lots.dedup();
    tx.run(
        sqlx::query("select pg_advisory_xact_lock($1, lot) from unnest($2::int[]) as lots (lot)")
            .bind(section as i32)
            .bind(lots),
    )
    .await?;
    Ok(())
}

/// Makes sure that a lease is still the one that was given, until the transaction ends: whoever
/// takes it over locks the row for more than a key share, and so waits. A holder that prolongs it
/// does not.
async fn check_fence(tx: &mut Tx, fence: &Fence) -> Result<(), StoreError> {
    let held = tx
        .row(
            sqlx::query(
                "select 1 from tenant_leases where tenant = $1 and node_id = $2 and fence = $3
                 for key share",
            )
            .bind(fence.tenant.as_str())
            .bind(fence.node.as_str())
            .bind(fence.token),
        )
        .await?;
    if held.is_some() {
        Ok(())
    } else {
        Err(deposed(fence, tx.doing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_falls_on_one_lock_for_ever() {
        // Nodes of two releases must agree during a rolling upgrade.
        for (tenant, wanted) in [("acme", 431), ("globex", 142), ("a", 300)] {
            assert_eq!(lot(&TenantId::new(tenant).unwrap()), wanted, "{tenant}");
        }
    }
}
