//! What is to be sent to people.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::ids::TenantId;
use crate::domain::money::Money;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::outbox::{
    ChangeFigures, ClaimedMessage, Delivery, MessageRecord, NewMessage, OutboxDepth, OutboxStore,
};
use crate::store::sql::json;
use crate::store::sql::outbox::{
    COUNT_CHANGES, Counted, SUM_CREDITED, claimed, figures, payload, record, sums,
};
use crate::store::sql::values::{at_opt, clean, micros, uncount};

#[async_trait]
impl OutboxStore for SqliteStore {
    async fn enqueue(&self, messages: &[NewMessage], now: Timestamp) -> Result<u64, StoreError> {
        let doing = "adding to the outbox";
        let mut tx = self.write(doing).await?;
        let mut added = 0;
        for message in messages {
            let alert = &message.alert;
            added += sqlx::query(
                "insert into outbox (tenant, kind, dedup_key, payload_json, created_at, due_at,
                     status)
                 values ($1, $2, $3, $4, $5, $6, 'waiting')
                 on conflict (kind, dedup_key) do nothing",
            )
            .bind(alert.tenant.as_ref().map(TenantId::as_str))
            .bind(clean(&message.channel))
            .bind(clean(&alert.key))
            .bind(payload(alert)?)
            .bind(micros(now))
            .bind(micros(message.due_at))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?
            .rows_affected();
        }
        tx.commit().await.map_err(fault(doing))?;
        Ok(added)
    }

    async fn claim_messages(
        &self,
        channels: &[String],
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedMessage>, StoreError> {
        let doing = "claiming messages";
        let mut tx = self.write(doing).await?;
        let rows = sqlx::query(
            "update outbox
             set status = 'claimed', attempt = attempt + 1, lease_until = $3
             where id in (
                 select id from outbox as m
                 where kind in (select value from json_each($1))
                   and ((status = 'waiting' and due_at <= $2)
                     or (status = 'claimed' and lease_until <= $2)
                     or (status = 'waiting' and attempt = 0 and exists (
                         select 1 from outbox as d
                         where d.status = 'waiting' and d.due_at <= $2
                           and d.kind = m.kind and d.tenant is m.tenant)))
                 order by due_at, id limit $4)
             returning id, tenant, kind, dedup_key, payload_json, attempt",
        )
        .bind(json(channels, doing)?)
        .bind(micros(now))
        .bind(micros(lease_until))
        .bind(limit)
        .fetch_all(&mut *tx)
        .await
        .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        let mut messages = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
        messages.sort_by_key(|message| message.id);
        Ok(messages)
    }

    async fn settle_messages(
        &self,
        claims: &[(i64, i64)],
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "settling messages";
        let (status, sent_at, due_at, error) = match delivery {
            Delivery::Sent => ("sent", Some(now), None, None),
            Delivery::Retry { at, error } => ("waiting", None, Some(*at), Some(error.as_str())),
            Delivery::Failed { error } => ("failed", None, None, Some(error.as_str())),
        };
        let mut tx = self.write(doing).await?;
        for (id, attempt) in claims {
            sqlx::query(
                "update outbox set status = $3, sent_at = $4, due_at = coalesce($5, due_at),
                     error = $6, lease_until = null
                 where id = $1 and attempt = $2 and status = 'claimed'",
            )
            .bind(id)
            .bind(attempt)
            .bind(status)
            .bind(sent_at.map(micros))
            .bind(due_at.map(micros))
            .bind(error.map(clean))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn next_message_at(&self, channels: &[String]) -> Result<Option<Timestamp>, StoreError> {
        let doing = "looking for the next message";
        let at: Option<i64> = sqlx::query_scalar(
            "select min(case when status = 'claimed' then lease_until else due_at end)
             from outbox
             where status in ('waiting', 'claimed') and kind in (select value from json_each($1))",
        )
        .bind(json(channels, doing)?)
        .fetch_one(&self.readers)
        .await
        .map_err(fault(doing))?;
        Ok(at_opt(at))
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError> {
        let (waiting, failed): (i64, i64) = sqlx::query_as(
            "select (select count(*) from outbox where status in ('waiting', 'claimed')),
                    (select count(*) from outbox where status = 'failed')",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(fault("counting messages"))?;
        Ok(OutboxDepth {
            waiting: uncount(waiting),
            failed: uncount(failed),
        })
    }

    async fn messages(
        &self,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<Vec<MessageRecord>, StoreError> {
        let rows = sqlx::query(
            "select tenant, kind, dedup_key, payload_json, status, attempt, sent_at, error
             from outbox where $1 is null or tenant = $1 order by id desc limit $2",
        )
        .bind(tenant.map(TenantId::as_str))
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading messages"))?;
        rows.iter().map(record).collect()
    }

    async fn change_figures(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<ChangeFigures, StoreError> {
        let rows: Vec<Counted> = sqlx::query_as(COUNT_CHANGES)
            .bind(tenant.as_str())
            .bind(micros(from))
            .bind(micros(until))
            .fetch_all(&self.readers)
            .await
            .map_err(fault("counting changes"))?;
        Ok(figures(rows))
    }

    async fn credited_between(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Money>, StoreError> {
        let rows: Vec<(i64, String)> = sqlx::query_as(SUM_CREDITED)
            .bind(tenant.as_str())
            .bind(micros(from))
            .bind(micros(until))
            .fetch_all(&self.readers)
            .await
            .map_err(fault("adding up credited entries"))?;
        sums(rows)
    }
}
