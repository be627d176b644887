//! Nodes and leases. One node at most works on a file, but its promises are the same: a process that
//! was started again deposes the one before it.

use std::sync::Arc;

use async_trait::async_trait;

use super::faults::fault;
use super::{SqliteStore, begin_write};
use crate::domain::ids::{NodeId, TenantId};
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::store::nodes::{Claim, FORGET_AFTER, Fence, Lease, NodeInfo, NodeStore, SeenNode};
use crate::store::sql::nodes::{claims, fences, read_lease, read_node};
use crate::store::sql::values::{clean, micros};
use crate::store::{Store, StoreError};

#[async_trait]
impl NodeStore for SqliteStore {
    fn is_shared(&self) -> bool {
        false
    }

    async fn agree_on_key(&self, check: &str) -> Result<bool, StoreError> {
        let doing = "agreeing on the key of hashes";
        let mut tx = begin_write(&self.writer, doing).await?;
        let agreed: String = sqlx::query_scalar(
            "update daemon_state set key_check = coalesce(key_check, $1) where id = 1
             returning key_check",
        )
        .bind(check)
        .fetch_one(&mut *tx)
        .await
        .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(agreed == check)
    }

    async fn register_node(
        &self,
        node: &NodeInfo,
        now: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        let doing = "registering a node";
        let mut tx = begin_write(&self.writer, doing).await?;
        sqlx::query("delete from nodes where heartbeat_at < $1")
            .bind(micros(time::sub(now, FORGET_AFTER)))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        // Two starts within a microsecond, or a clock that went back, are still two.
        let started_at: i64 = sqlx::query_scalar(
            "insert into nodes (id, host, version, started_at, heartbeat_at)
             values ($1, $2, $3, $4, $4)
             on conflict (id) do update set
                 host = excluded.host, version = excluded.version,
                 started_at = max(excluded.started_at, nodes.started_at + 1),
                 heartbeat_at = excluded.heartbeat_at
             returning started_at",
        )
        .bind(node.id.as_str())
        .bind(clean(&node.host))
        .bind(clean(&node.version))
        .bind(micros(now))
        .fetch_one(&mut *tx)
        .await
        .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(time::from_micros(started_at))
    }

    async fn heartbeat(
        &self,
        node: &NodeId,
        started_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let doing = "telling that a node lives";
        let mut tx = begin_write(&self.writer, doing).await?;
        let done =
            sqlx::query("update nodes set heartbeat_at = $3 where id = $1 and started_at = $2")
                .bind(node.as_str())
                .bind(micros(started_at))
                .bind(micros(now))
                .execute(&mut *tx)
                .await
                .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(done.rows_affected() == 1)
    }

    async fn forget_node(&self, node: &NodeId, started_at: Timestamp) -> Result<bool, StoreError> {
        let doing = "forgetting a node";
        let mut tx = begin_write(&self.writer, doing).await?;
        let done = sqlx::query("delete from nodes where id = $1 and started_at = $2")
            .bind(node.as_str())
            .bind(micros(started_at))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(done.rows_affected() == 1)
    }

    async fn nodes(&self, now: Timestamp) -> Result<Vec<SeenNode>, StoreError> {
        let rows = sqlx::query(
            "select id, host, version, started_at, heartbeat_at, $1 as now from nodes order by id",
        )
        .bind(micros(now))
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading the nodes"))?;
        rows.iter().map(read_node).collect()
    }

    async fn claim_leases(
        &self,
        node: &NodeId,
        tenants: &[TenantId],
        ttl: SignedDuration,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError> {
        let doing = "claiming tenants";
        let mut tx = begin_write(&self.writer, doing).await?;
        let mut rows = Vec::new();
        for tenant in tenants {
            let was_free: i64 = sqlx::query_scalar(
                "select coalesce(
                     (select is_released from tenant_leases where tenant = $1), 1)",
            )
            .bind(tenant.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(fault(doing))?;
            let row = sqlx::query(
                "insert into tenant_leases (tenant, node_id, fence, lease_until)
                 values ($1, $2, 1, $3)
                 on conflict (tenant) do update set
                     node_id = excluded.node_id, fence = tenant_leases.fence + 1,
                     lease_until = excluded.lease_until, is_released = 0
                 where tenant_leases.lease_until <= $4 or tenant_leases.node_id = excluded.node_id
                 returning tenant, node_id, fence, $5 as was_free",
            )
            .bind(tenant.as_str())
            .bind(node.as_str())
            .bind(micros(time::add(now, ttl)))
            .bind(micros(now))
            .bind(was_free)
            .fetch_optional(&mut *tx)
            .await
            .map_err(fault(doing))?;
            rows.extend(row);
        }
        tx.commit().await.map_err(fault(doing))?;
        claims(&rows)
    }

    async fn renew_leases(
        &self,
        held: &[Fence],
        ttl: SignedDuration,
        now: Timestamp,
    ) -> Result<Vec<Fence>, StoreError> {
        let doing = "prolonging leases";
        let mut tx = begin_write(&self.writer, doing).await?;
        let mut rows = Vec::new();
        for fence in held {
            let row = sqlx::query(
                "update tenant_leases set lease_until = $4
                 where tenant = $1 and node_id = $2 and fence = $3
                 returning tenant, node_id, fence",
            )
            .bind(fence.tenant.as_str())
            .bind(fence.node.as_str())
            .bind(fence.token)
            .bind(micros(time::add(now, ttl)))
            .fetch_optional(&mut *tx)
            .await
            .map_err(fault(doing))?;
            rows.extend(row);
        }
        tx.commit().await.map_err(fault(doing))?;
        fences(&rows)
    }

    async fn release_leases(
        &self,
        held: &[Fence],
        now: Timestamp,
    ) -> Result<Vec<Fence>, StoreError> {
        let doing = "giving leases up";
        let mut tx = begin_write(&self.writer, doing).await?;
        let mut released = Vec::new();
        for fence in held {
            let done = sqlx::query(
                "update tenant_leases
                 set fence = fence + 1, is_released = 1, lease_until = min(lease_until, $4)
                 where tenant = $1 and node_id = $2 and fence = $3",
            )
            .bind(fence.tenant.as_str())
            .bind(fence.node.as_str())
            .bind(fence.token)
            .bind(micros(now))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
            if done.rows_affected() == 1 {
                released.push(fence.clone());
            }
        }
        tx.commit().await.map_err(fault(doing))?;
        Ok(released)
    }

    async fn leases(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError> {
        let rows = sqlx::query(
            "select tenant, node_id, fence, lease_until, $1 as now from tenant_leases
             order by tenant",
        )
        .bind(micros(now))
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading the leases"))?;
        rows.iter().map(read_lease).collect()
    }

    fn fenced(&self, fence: Fence) -> Arc<dyn Store> {
        Arc::new(Self {
            fence: Some(Arc::new(fence)),
            ..self.clone()
        })
    }
}
