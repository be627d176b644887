//! The inbox of each tenant.

use async_trait::async_trait;
use sqlx::{Connection, SqliteConnection};

use super::SqliteStore;
use super::crm::request;
use super::faults::fault;
use super::lanes::Each;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::inbox::{
    Appended, ClaimedDelivery, Delivery, DeliveryOutcome, InboxDepth, InboxStore, Quarantined,
};
use crate::store::sql::bodies::packed;
use crate::store::sql::inbox::{Claim, Keep, Settle, claimed, depth, quarantined};
use crate::store::sql::nodes::check_own;
use crate::store::sql::not_one;
use crate::store::sql::values::{at_opt, clean, micros};

/// Keeps deliveries; answers `false` for a repeat.
#[derive(Debug)]
pub(super) struct Keeping;

impl Each for Keeping {
    type Asked = Keep;
    type Answer = bool;
    const DOING: &'static str = "keeping a delivery";
    const IS_ONE_STATEMENT: bool = true;

    async fn one(conn: &mut SqliteConnection, keep: &Keep) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "insert into inbox (tenant, source, dedup_key, body, received_at, status)
             values ($1, $2, $3, $4, $5, 'waiting')
             on conflict (tenant, source, dedup_key) do nothing",
        )
        .bind(keep.tenant.as_str())
        .bind(clean(&keep.delivery.source))
        .bind(clean(&keep.delivery.dedup_key))
        .bind(keep.delivery.body.as_slice())
        .bind(micros(keep.now))
        .execute(conn)
        .await
        .map_err(fault(Self::DOING))?;
        Ok(done.rows_affected() == 1)
    }
}

/// Claims deliveries.
#[derive(Debug)]
pub(super) struct Claiming;

impl Each for Claiming {
    type Asked = Claim;
    type Answer = Vec<ClaimedDelivery>;
    const DOING: &'static str = "claiming deliveries";
    const IS_ONE_STATEMENT: bool = true;

    async fn one(
        conn: &mut SqliteConnection,
        claim: &Claim,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        let rows = sqlx::query(
            "update inbox set status = 'claimed', attempt = attempt + 1, lease_until = $3
             where tenant = $1 and id in (
                 select id from inbox
                 where tenant = $1 and status in ('waiting', 'claimed')
                   and (status = 'waiting' or lease_until <= $2)
                 order by id limit $4)
             returning id, source, body, received_at, attempt",
        )
        .bind(claim.tenant.as_str())
        .bind(micros(claim.now))
        .bind(micros(claim.lease_until))
        .bind(i64::from(claim.limit))
        .fetch_all(conn)
        .await
        .map_err(fault(Self::DOING))?;
        let mut deliveries = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
        deliveries.sort_unstable_by_key(|delivery| delivery.id); // `returning` promises no order
        Ok(deliveries)
    }
}

/// Settles deliveries.
#[derive(Debug)]
pub(super) struct Settling;

impl Each for Settling {
    type Asked = Settle;
    type Answer = ();
    const DOING: &'static str = "settling a delivery";

    async fn one(conn: &mut SqliteConnection, settle: &Settle) -> Result<(), StoreError> {
        let doing = Self::DOING;
        // A savepoint, so that of what is refused in the middle nothing stays.
        let mut tx = conn.begin().await.map_err(fault(doing))?;
        let source: Option<String> = sqlx::query_scalar(
            "update inbox set status = 'settled', settled_at = $4, lease_until = null,
                 body = case $5 when 1 then x'' else body end
             where tenant = $1 and id = $2 and attempt = $3 and status = 'claimed'
             returning source",
        )
        .bind(settle.tenant.as_str())
        .bind(settle.id)
        .bind(settle.attempt)
        .bind(micros(settle.now))
        .bind(i64::from(settle.outcome.is_personal))
        .fetch_optional(&mut *tx)
        .await
        .map_err(fault(doing))?;
        let Some(source) = source else {
            return Err(not_one(doing, 0));
        };
        let outcome = &settle.outcome;
        request(&mut tx, &settle.tenant, &outcome.wanted, settle.now).await?;
        for (body, reason) in &outcome.poison {
            sqlx::query(
                "insert into inbox (tenant, source, parent_id, body, received_at, status, reason)
                 values ($1, $2, $3, $4, $5, 'quarantined', $6)",
            )
            .bind(settle.tenant.as_str())
            .bind(&source)
            .bind(settle.id)
            .bind(&*packed(body))
            .bind(micros(settle.now))
            .bind(clean(reason))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }
}

#[async_trait]
impl InboxStore for SqliteStore {
    async fn append_delivery(
        &self,
        tenant: &TenantId,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Appended, StoreError> {
        check_own(self.fence.as_deref(), tenant, Keeping::DOING)?;
        // Packed here, by whoever asks, and not by the one who writes for all.
        let keep = Keep {
            tenant: tenant.clone(),
            delivery: Delivery {
                source: delivery.source.clone(),
                dedup_key: delivery.dedup_key.clone(),
                body: packed(&delivery.body).into_owned(),
            },
            now,
        };
        let is_new = self.lanes.deliveries.ask(keep, self.fence.clone()).await?;
        Ok(if is_new {
            Appended::New
        } else {
            Appended::Repeat
        })
    }

    async fn claim_deliveries(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        check_own(self.fence.as_deref(), tenant, Claiming::DOING)?;
        let claim = Claim {
            tenant: tenant.clone(),
            now,
            lease_until,
            limit,
        };
        self.lanes.claims.ask(claim, self.fence.clone()).await
    }

    async fn settle_delivery(
        &self,
        tenant: &TenantId,
        id: i64,
        attempt: i64,
        outcome: &DeliveryOutcome,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        check_own(self.fence.as_deref(), tenant, Settling::DOING)?;
        let settle = Settle {
            tenant: tenant.clone(),
            id,
            attempt,
            outcome: outcome.clone(),
            now,
        };
        self.lanes.settlements.ask(settle, self.fence.clone()).await
    }

    async fn quarantine_delivery(
        &self,
        tenant: &TenantId,
        id: i64,
        attempt: i64,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "quarantining a delivery";
        let mut tx = self.write_for(tenant, doing).await?;
        let done = sqlx::query(
            "update inbox set status = 'quarantined', settled_at = $4, lease_until = null,
                 reason = $5
             where tenant = $1 and id = $2 and attempt = $3 and status = 'claimed'",
        )
        .bind(tenant.as_str())
        .bind(id)
        .bind(attempt)
        .bind(micros(now))
        .bind(clean(reason))
        .execute(&mut *tx)
        .await
        .map_err(fault(doing))?;
        if done.rows_affected() != 1 {
            return Err(not_one(doing, done.rows_affected()));
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn quarantined(
        &self,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<Vec<Quarantined>, StoreError> {
        let doing = "reading the quarantine";
        let rows = match tenant {
            Some(tenant) => sqlx::query(
                "select id, tenant, source, body, reason, received_at from inbox
                 where tenant = $1 and status = 'quarantined' order by id limit $2",
            )
            .bind(tenant.as_str())
            .bind(i64::from(limit)),
            None => sqlx::query(
                "select id, tenant, source, body, reason, received_at from inbox
                 where status = 'quarantined' order by id limit $1",
            )
            .bind(i64::from(limit)),
        }
        .fetch_all(&self.readers)
        .await
        .map_err(fault(doing))?;
        rows.iter().map(quarantined).collect()
    }

    async fn quarantined_delivery(
        &self,
        tenant: &TenantId,
        id: i64,
    ) -> Result<Option<Quarantined>, StoreError> {
        let row = sqlx::query(
            "select id, tenant, source, body, reason, received_at from inbox
             where tenant = $1 and id = $2 and status = 'quarantined'",
        )
        .bind(tenant.as_str())
        .bind(id)
        .fetch_optional(&self.readers)
        .await
        .map_err(fault("reading the quarantine"))?;
        row.as_ref().map(quarantined).transpose()
    }

    async fn retry_quarantined(&self, id: i64, now: Timestamp) -> Result<bool, StoreError> {
        let _ = now; // it waits from when it came, not from when somebody looked
        let doing = "retrying a quarantined delivery";
        let mut tx = self.write(doing).await?;
        let done = sqlx::query(
            "update inbox set status = 'waiting', attempt = 0, lease_until = null,
                 settled_at = null, reason = null
             where id = $1 and status = 'quarantined'",
        )
        .bind(id)
        .execute(&mut *tx)
        .await
        .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(done.rows_affected() == 1)
    }

    async fn drop_quarantined(&self, id: i64) -> Result<bool, StoreError> {
        let doing = "dropping a quarantined delivery";
        let mut tx = self.write(doing).await?;
        // The row stays without its bytes, so that the vendor's repeat is still a repeat.
        let done = sqlx::query(
            "update inbox set status = 'dropped', body = x'' where id = $1 and status = 'quarantined'",
        )
        .bind(id)
        .execute(&mut *tx)
        .await
        .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(done.rows_affected() == 1)
    }

    async fn newest_delivery(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError> {
        // By the index that finds what is over.
        let newest: Option<i64> = sqlx::query_scalar(
            "select max(received_at) from inbox
             where tenant = $1 and status in ('settled', 'dropped')",
        )
        .bind(tenant.as_str())
        .fetch_one(&self.readers)
        .await
        .map_err(fault("reading when the newest delivery came"))?;
        Ok(at_opt(newest))
    }

    async fn inbox_depth(&self, tenant: &TenantId) -> Result<InboxDepth, StoreError> {
        let row = sqlx::query(
            "select
                 (select count(*) from inbox
                  where tenant = $1 and status in ('waiting', 'claimed')) as waiting,
                 (select min(received_at) from inbox
                  where tenant = $1 and status in ('waiting', 'claimed')) as oldest_at,
                 (select count(*) from inbox
                  where tenant = $1 and status = 'quarantined') as quarantined",
        )
        .bind(tenant.as_str())
        .fetch_one(&self.readers)
        .await
        .map_err(fault("reading the inbox's depth"))?;
        depth(&row)
    }
}
