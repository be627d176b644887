//! The inbox of each tenant.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::{QueryBuilder, SqliteConnection};

use super::SqliteStore;
use super::crm::request;
use super::faults::fault;
use super::lanes::{Together, news};
use crate::domain::ids::{DealId, TenantId};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::inbox::{
    Appended, ClaimedDelivery, Delivery, DeliveryOutcome, InboxDepth, InboxStore, Quarantined,
};
use crate::store::sql::bodies::packed;
use crate::store::sql::inbox::{Claim, Keep, Settle, claimed, depth, quarantined};
use crate::store::sql::nodes::check_own;
use crate::store::sql::values::{at_opt, clean, micros};
use crate::store::sql::{json, not_one};

/// Keeps deliveries; answers `false` for a repeat.
#[derive(Debug)]
pub(super) struct Keeping;

impl Together for Keeping {
    type Asked = Keep;
    type Answer = bool;
    const DOING: &'static str = "keeping a delivery";
    const BY_ONE_STATEMENT: usize = usize::MAX;

    fn size(keep: &Keep) -> usize {
        keep.delivery.body.len()
    }

    async fn all(
        conn: &mut SqliteConnection,
        asked: &[&Keep],
    ) -> Result<Vec<Result<bool, StoreError>>, StoreError> {
        let key = |keep: &Keep| {
            (
                keep.tenant.as_str().to_owned(),
                clean(&keep.delivery.source).into_owned(),
                clean(&keep.delivery.dedup_key).into_owned(),
            )
        };
        let mut query = QueryBuilder::new(
            "insert into inbox (tenant, source, dedup_key, body, received_at, status) ",
        );
        query.push_values(asked, |mut values, keep| {
            let (tenant, source, dedup_key) = key(keep);
            values
                .push_bind(tenant)
                .push_bind(source)
                .push_bind(dedup_key)
                .push_bind(keep.delivery.body.as_slice())
                .push_bind(micros(keep.now))
                .push("'waiting'");
        });
        query.push(
            " on conflict (tenant, source, dedup_key) do nothing
             returning tenant, source, dedup_key",
        );
        let written: Vec<(String, String, String)> = query
            .build_query_as()
            .persistent(false) // its length differs each time
            .fetch_all(conn)
            .await
            .map_err(fault(Self::DOING))?;
        let asked = asked.iter().map(|keep| key(keep));
        Ok(news(asked, written.into_iter()))
    }
}

/// Claims deliveries.
#[derive(Debug)]
pub(super) struct Claiming;

impl Together for Claiming {
    type Asked = Claim;
    type Answer = Vec<ClaimedDelivery>;
    const DOING: &'static str = "claiming deliveries";
    const BY_ONE_STATEMENT: usize = 1;

    async fn all(
        conn: &mut SqliteConnection,
        asked: &[&Claim],
    ) -> Result<Vec<Result<Vec<ClaimedDelivery>, StoreError>>, StoreError> {
        let mut results = Vec::with_capacity(asked.len());
        for claim in asked {
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
            .fetch_all(&mut *conn)
            .await
            .map_err(fault(Self::DOING))?;
            let mut deliveries = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
            deliveries.sort_unstable_by_key(|delivery| delivery.id); // `returning` promises no order
            results.push(Ok(deliveries));
        }
        Ok(results)
    }
}

/// Settles deliveries.
#[derive(Debug)]
pub(super) struct Settling;

impl Together for Settling {
    type Asked = Settle;
    type Answer = ();
    const DOING: &'static str = "settling a delivery";
    /// Deals asked for. The more share a commit the less each costs, for they lie all over a table …
    const SIZE_MAX: usize = 20_000;
    /// … but the acknowledgement of a delivery may have to wait behind it.
    const SIZE_MAX_IN_RUSH: usize = 2_500;

    fn size(settle: &Settle) -> usize {
        settle.outcome.wanted.len() + settle.outcome.poison.len()
    }

    async fn all(
        conn: &mut SqliteConnection,
        asked: &[&Settle],
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let doing = Self::DOING;
        let rows: Vec<_> = asked
            .iter()
            .map(|settle| {
                let is_personal = i64::from(settle.outcome.is_personal);
                let tenant = settle.tenant.as_str();
                (
                    tenant,
                    settle.id,
                    settle.attempt,
                    micros(settle.now),
                    is_personal,
                )
            })
            .collect();
        let settled: Vec<(i64, i64, String)> = sqlx::query_as(
            "update inbox set status = 'settled', settled_at = asked.now, lease_until = null,
                 body = case asked.is_personal when 1 then x'' else body end
             from (select value ->> 0 as tenant, value ->> 1 as id, value ->> 2 as attempt,
                     value ->> 3 as now, value ->> 4 as is_personal from json_each($1)) as asked
             where inbox.tenant = asked.tenant and inbox.id = asked.id
               and inbox.attempt = asked.attempt and inbox.status = 'claimed'
             returning id, attempt, source",
        )
        .bind(json(&rows, doing)?)
        .fetch_all(&mut *conn)
        .await
        .map_err(fault(doing))?;
        let mut settled: BTreeMap<_, _> = settled
            .into_iter()
            .map(|(id, attempt, source)| ((id, attempt), source))
            .collect();
        let mut results = Vec::with_capacity(asked.len());
        let mut wanted: BTreeMap<&TenantId, BTreeMap<&DealId, Timestamp>> = BTreeMap::new();
        for settle in asked {
            let Some(source) = settled.remove(&(settle.id, settle.attempt)) else {
                results.push(Err(not_one(doing, 0)));
                continue;
            };
            let of_tenant = wanted.entry(&settle.tenant).or_default();
            for deal in &settle.outcome.wanted {
                let last = of_tenant.entry(deal).or_insert(settle.now);
                *last = (*last).max(settle.now);
            }
            for (body, reason) in &settle.outcome.poison {
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
                .execute(&mut *conn)
                .await
                .map_err(fault(doing))?;
            }
            results.push(Ok(()));
        }
        for (tenant, deals) in wanted {
            request(conn, tenant, deals).await?;
        }
        Ok(results)
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
        let _in_rush = self.lanes.rush.join();
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
        self.lanes.rush.give_way().await;
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
