//! Nodes and leases, by the server's clock: the only one that nodes have in common.

use std::sync::Arc;

use async_trait::async_trait;

use super::session::{self, Reader};
use super::{PostgresStore, column};
use crate::domain::ids::{NodeId, TenantId};
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::store::nodes::{Claim, FORGET_AFTER, Fence, Lease, NodeInfo, NodeStore, SeenNode};
use crate::store::sql::nodes::{claims, fences, read_lease, read_node, span_micros};
use crate::store::sql::values::{clean, micros};
use crate::store::{Store, StoreError};

/// The server's clock as instants are kept.
macro_rules! now {
    () => {
        "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
    };
}

impl PostgresStore {
    /// Takes the connection that is kept for leases.
    async fn upkeep(&self, doing: &'static str) -> Result<Reader, StoreError> {
        session::reader(&self.upkeep, &self.patience, doing).await
    }
}

#[async_trait]
impl NodeStore for PostgresStore {
    fn is_shared(&self) -> bool {
        true
    }

    async fn agree_on_key(&self, check: &str) -> Result<bool, StoreError> {
        let mut tx = session::begin(
            &self.upkeep,
            &self.patience,
            "agreeing on the key of hashes",
        )
        .await?;
        let (agreed,): (String,) = tx
            .one(
                sqlx::query_as(
                    "update daemon_state set key_check = coalesce(key_check, $1) where id = 1
                     returning key_check",
                )
                .bind(check),
            )
            .await?;
        tx.commit().await?;
        Ok(agreed == check)
    }

    async fn register_node(
        &self,
        node: &NodeInfo,
        _now: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        let mut tx = session::begin(&self.upkeep, &self.patience, "registering a node").await?;
        tx.run(
            sqlx::query(concat!(
                "delete from nodes where heartbeat_at < ",
                now!(),
                " - $1"
            ))
            .bind(span_micros(FORGET_AFTER)),
        )
        .await?;
        // Two starts within a microsecond, or a clock that went back, are still two.
        let (started_at,): (i64,) = tx
            .one(
                sqlx::query_as(concat!(
                    "insert into nodes (id, host, version, started_at, heartbeat_at)
                     select $1, $2, $3, now, now from (select ",
                    now!(),
                    " as now) as clock
                     on conflict (id) do update set
                         host = excluded.host, version = excluded.version,
                         started_at = greatest(excluded.started_at, nodes.started_at + 1),
                         heartbeat_at = excluded.heartbeat_at
                     returning started_at"
                ))
                .bind(node.id.as_str())
                .bind(clean(&node.host))
                .bind(clean(&node.version)),
            )
            .await?;
        tx.commit().await?;
        Ok(time::from_micros(started_at))
    }

    async fn heartbeat(
        &self,
        node: &NodeId,
        started_at: Timestamp,
        _now: Timestamp,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query(concat!(
            "update nodes set heartbeat_at = ",
            now!(),
            " where id = $1 and started_at = $2"
        ))
        .bind(node.as_str())
        .bind(micros(started_at));
        let mut session = self.upkeep("telling that a node lives").await?;
        Ok(session.run(query).await? == 1)
    }

    async fn forget_node(&self, node: &NodeId, started_at: Timestamp) -> Result<bool, StoreError> {
        let query = sqlx::query("delete from nodes where id = $1 and started_at = $2")
            .bind(node.as_str())
            .bind(micros(started_at));
        let mut session = self.upkeep("forgetting a node").await?;
        Ok(session.run(query).await? == 1)
    }

    async fn nodes(&self, _now: Timestamp) -> Result<Vec<SeenNode>, StoreError> {
        let query = sqlx::query(concat!(
            "select id, host, version, started_at, heartbeat_at, ",
            now!(),
            " as now from nodes order by id"
        ));
        let rows = self.upkeep("reading the nodes").await?.rows(query).await?;
        rows.iter().map(read_node).collect()
    }

    async fn claim_leases(
        &self,
        node: &NodeId,
        tenants: &[TenantId],
        ttl: SignedDuration,
        _now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError> {
        let names = column(tenants, TenantId::as_str);
        let mut tx = session::begin(&self.upkeep, &self.patience, "claiming tenants").await?;
        // Whoever writes under a lease holds its row by a key share, which this lock does not go
        // with: a tenant that is just being written for is skipped, and from here on no write under
        // the old token begins.
        let mut rows = tx
            .rows(
                sqlx::query(concat!(
                    "with free as materialized (
                         select tenant, is_released from tenant_leases
                         where tenant = any ($2) and (lease_until <= ",
                    now!(),
                    " or node_id = $1)
                         order by tenant for update skip locked)
                     update tenant_leases as l
                     set node_id = $1, fence = l.fence + 1, is_released = 0, lease_until = ",
                    now!(),
                    " + $3
                     from free where l.tenant = free.tenant
                     returning l.tenant, l.node_id, l.fence, free.is_released as was_free"
                ))
                .bind(node.as_str())
                .bind(&names)
                .bind(span_micros(ttl)),
            )
            .await?;
        rows.extend(
            tx.rows(
                sqlx::query(concat!(
                    "insert into tenant_leases (tenant, node_id, fence, lease_until)
                     select tenant, $1, 1, ",
                    now!(),
                    " + $3 from unnest($2::text[]) as asked (tenant) order by tenant
                     on conflict (tenant) do nothing
                     returning tenant, node_id, fence, 1::bigint as was_free"
                ))
                .bind(node.as_str())
                .bind(&names)
                .bind(span_micros(ttl)),
            )
            .await?,
        );
        tx.commit().await?;
        claims(&rows)
    }

    async fn renew_leases(
        &self,
        held: &[Fence],
        ttl: SignedDuration,
        _now: Timestamp,
    ) -> Result<Vec<Fence>, StoreError> {
        // Does not touch the key, so it waits for nobody who writes under the lease.
        let query = sqlx::query(concat!(
            "update tenant_leases as l set lease_until = ",
            now!(),
            " + $4
             from unnest($1::text[], $2::text[], $3::bigint[]) as held (tenant, node_id, fence)
             where l.tenant = held.tenant and l.node_id = held.node_id and l.fence = held.fence
             returning l.tenant, l.node_id, l.fence"
        ))
        .bind(column(held, |fence| fence.tenant.as_str()))
        .bind(column(held, |fence| fence.node.as_str()))
        .bind(column(held, |fence| fence.token))
        .bind(span_micros(ttl));
        fences(&self.upkeep("prolonging leases").await?.rows(query).await?)
    }

    async fn release_leases(
        &self,
        held: &[Fence],
        _now: Timestamp,
    ) -> Result<Vec<Fence>, StoreError> {
        // Waits for what is being written under the leases.
        let query = sqlx::query(concat!(
            "with held as materialized (
                 select l.tenant, l.node_id, l.fence from tenant_leases as l
                 join unnest($1::text[], $2::text[], $3::bigint[]) as h (tenant, node_id, fence)
                     on l.tenant = h.tenant and l.node_id = h.node_id and l.fence = h.fence
                 order by l.tenant for update of l)
             update tenant_leases as l
             set fence = l.fence + 1, is_released = 1, lease_until = least(l.lease_until, ",
            now!(),
            ")
             from held where l.tenant = held.tenant
             returning held.tenant, held.node_id, held.fence"
        ))
        .bind(column(held, |fence| fence.tenant.as_str()))
        .bind(column(held, |fence| fence.node.as_str()))
        .bind(column(held, |fence| fence.token));
        fences(&self.upkeep("giving leases up").await?.rows(query).await?)
    }

    async fn leases(&self, _now: Timestamp) -> Result<Vec<Lease>, StoreError> {
        let query = sqlx::query(concat!(
            "select tenant, node_id, fence, lease_until, ",
            now!(),
            " as now from tenant_leases order by tenant"
        ));
        let rows = self.upkeep("reading the leases").await?.rows(query).await?;
        rows.iter().map(read_lease).collect()
    }

    fn fenced(&self, fence: Fence) -> Arc<dyn Store> {
        Arc::new(Self {
            fence: Some(Arc::new(fence)),
            ..self.clone()
        })
    }
}
