//! The inbox of each tenant.

use std::collections::HashSet;

use async_trait::async_trait;

use super::append::Append;
use super::crm::request;
use super::session::Tx;
use super::{PostgresStore, column};
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::inbox::{
    Appended, ClaimedDelivery, Delivery, DeliveryOutcome, InboxDepth, InboxStore, Quarantined,
};
use crate::store::sql::inbox::{claimed, depth, quarantined};
use crate::store::sql::nodes::check_own;
use crate::store::sql::not_one;
use crate::store::sql::values::{clean, micros};

/// What makes a delivery one, as it is kept: its tenant, source and key.
pub(super) type Key = (String, String, String);

/// What makes a delivery one.
pub(super) fn key(tenant: &TenantId, delivery: &Delivery) -> Key {
    (
        tenant.as_str().to_owned(),
        clean(&delivery.source).into_owned(),
        clean(&delivery.dedup_key).into_owned(),
    )
}

/// Keeps deliveries; returns those that are no repeats. They are written in the order of their keys:
/// two nodes that keep the same ones at once would else wait for each other.
pub(super) async fn insert_deliveries(
    tx: &mut Tx,
    deliveries: &[(&TenantId, &Delivery, Timestamp)],
) -> Result<HashSet<Key>, StoreError> {
    if deliveries.is_empty() {
        return Ok(HashSet::new());
    }
    let new: Vec<Key> = tx
        .list(
            sqlx::query_as(
                "insert into inbox (tenant, source, dedup_key, body, received_at, status)
                 select tenant, source, dedup_key, body, received_at, 'waiting'
                 from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bigint[])
                     as new (tenant, source, dedup_key, body, received_at)
                 order by tenant, source, dedup_key
                 on conflict (tenant, source, dedup_key) do nothing
                 returning tenant, source, dedup_key",
            )
            .bind(column(deliveries, |(tenant, ..)| tenant.as_str()))
            .bind(column(deliveries, |(_, delivery, _)| {
                clean(&delivery.source)
            }))
            .bind(column(deliveries, |(_, delivery, _)| {
                clean(&delivery.dedup_key)
            }))
            .bind(column(deliveries, |(_, delivery, _)| {
                delivery.body.as_slice()
            }))
            .bind(column(deliveries, |(_, _, now)| micros(*now))),
        )
        .await?;
    Ok(new.into_iter().collect())
}

#[async_trait]
impl InboxStore for PostgresStore {
    async fn append_delivery(
        &self,
        tenant: &TenantId,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Appended, StoreError> {
        check_own(self.fence.as_deref(), tenant, "keeping a delivery")?;
        let append = Append::Delivery(tenant.clone(), delivery.clone(), now);
        Ok(if self.appends.append(append, self.fence.clone()).await? {
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
        let mut tx = self.write_for(tenant, "claiming deliveries").await?;
        let rows = tx
            .rows(
                sqlx::query(
                    "with due as materialized (
                         select id from inbox
                         where tenant = $1 and status in ('waiting', 'claimed')
                           and (status = 'waiting' or lease_until <= $2)
                         order by id limit $4
                         for update skip locked)
                     update inbox set status = 'claimed', attempt = attempt + 1, lease_until = $3
                     from due where inbox.id = due.id
                     returning inbox.id, source, body, received_at, attempt",
                )
                .bind(tenant.as_str())
                .bind(micros(now))
                .bind(micros(lease_until))
                .bind(i64::from(limit)),
            )
            .await?;
        tx.commit().await?;
        claimed(&rows)
    }

    async fn settle_delivery(
        &self,
        tenant: &TenantId,
        id: i64,
        attempt: i64,
        outcome: &DeliveryOutcome,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "settling a delivery";
        let mut tx = self.write_for(tenant, doing).await?;
        let settled: Vec<(String,)> = tx
            .list(
                sqlx::query_as(
                    "update inbox set status = 'settled', settled_at = $4, lease_until = null
                     where tenant = $1 and id = $2 and attempt = $3 and status = 'claimed'
                     returning source",
                )
                .bind(tenant.as_str())
                .bind(id)
                .bind(attempt)
                .bind(micros(now)),
            )
            .await?;
        let [(source,)] = settled.as_slice() else {
            return Err(not_one(doing, 0));
        };
        request(&mut tx, tenant, &outcome.wanted, now).await?;
        if !outcome.poison.is_empty() {
            tx.run(
                sqlx::query(
                    "insert into inbox (tenant, source, parent_id, body, received_at, status, reason)
                     select $1, $2, $3, body, $4, 'quarantined', reason
                     from unnest($5::bytea[], $6::text[]) as poison (body, reason)",
                )
                .bind(tenant.as_str())
                .bind(source)
                .bind(id)
                .bind(micros(now))
                .bind(column(&outcome.poison, |(body, _)| body.as_slice()))
                .bind(column(&outcome.poison, |(_, reason)| clean(reason))),
            )
            .await?;
        }
        tx.commit().await
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
        let done = tx
            .run(
                sqlx::query(
                    "update inbox set status = 'quarantined', settled_at = $4, lease_until = null,
                         reason = $5
                     where tenant = $1 and id = $2 and attempt = $3 and status = 'claimed'",
                )
                .bind(tenant.as_str())
                .bind(id)
                .bind(attempt)
                .bind(micros(now))
                .bind(clean(reason)),
            )
            .await?;
        if done != 1 {
            return Err(not_one(doing, done));
        }
        tx.commit().await
    }

    async fn quarantined(
        &self,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<Vec<Quarantined>, StoreError> {
        let query = match tenant {
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
        };
        let rows = self.rows("reading the quarantine", query).await?;
        rows.iter().map(quarantined).collect()
    }

    async fn retry_quarantined(&self, id: i64, now: Timestamp) -> Result<bool, StoreError> {
        let _ = now; // it waits from when it came, not from when somebody looked
        let mut tx = self.write("retrying a quarantined delivery").await?;
        let done = tx
            .run(
                sqlx::query(
                    "update inbox set status = 'waiting', attempt = 0, lease_until = null,
                         settled_at = null, reason = null
                     where id = $1 and status = 'quarantined'",
                )
                .bind(id),
            )
            .await?;
        tx.commit().await?;
        Ok(done == 1)
    }

    async fn drop_quarantined(&self, id: i64) -> Result<bool, StoreError> {
        let mut tx = self.write("dropping a quarantined delivery").await?;
        // The row stays without its bytes, so that the vendor's repeat is still a repeat.
        let done = tx
            .run(
                sqlx::query(
                    "update inbox set status = 'dropped', body = ''::bytea
                     where id = $1 and status = 'quarantined'",
                )
                .bind(id),
            )
            .await?;
        tx.commit().await?;
        Ok(done == 1)
    }

    async fn inbox_depth(&self, tenant: &TenantId) -> Result<InboxDepth, StoreError> {
        let query = sqlx::query(
            "select
                 (select count(*) from inbox
                  where tenant = $1 and status in ('waiting', 'claimed')) as waiting,
                 (select min(received_at) from inbox
                  where tenant = $1 and status in ('waiting', 'claimed')) as oldest_at,
                 (select count(*) from inbox
                  where tenant = $1 and status = 'quarantined') as quarantined",
        )
        .bind(tenant.as_str());
        let row = self.row("reading the inbox's depth", query).await?;
        row.as_ref()
            .map_or_else(|| Ok(InboxDepth::default()), depth)
    }
}
