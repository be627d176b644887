//! What is to be sent to people.

use async_trait::async_trait;

use super::{PostgresStore, column};
use crate::domain::ids::TenantId;
use crate::domain::money::Money;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::outbox::{
    ChangeFigures, ClaimedMessage, Delivery, MessageRecord, NewMessage, OutboxDepth, OutboxStore,
};
use crate::store::sql::outbox::{
    COUNT_CHANGES, Counted, SUM_CREDITED, claimed, figures, payload, record, sums,
};
use crate::store::sql::values::{at_opt, clean, micros, uncount};

#[async_trait]
impl OutboxStore for PostgresStore {
    async fn enqueue(&self, messages: &[NewMessage], now: Timestamp) -> Result<u64, StoreError> {
        let payloads = messages
            .iter()
            .map(|message| payload(&message.alert))
            .collect::<Result<Vec<_>, _>>()?;
        let mut tx = self.write("adding to the outbox").await?;
        let added = tx
            .run(
                sqlx::query(
                    "insert into outbox (tenant, kind, dedup_key, payload_json, due_at, created_at,
                         status)
                     select new.tenant, new.kind, new.dedup_key, new.payload, new.due_at, $6,
                         'waiting'
                     from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
                         as new (tenant, kind, dedup_key, payload, due_at)
                     order by new.kind, new.dedup_key
                     on conflict (kind, dedup_key) do nothing",
                )
                .bind(column(messages, |m| {
                    m.alert.tenant.as_ref().map(TenantId::as_str)
                }))
                .bind(column(messages, |m| clean(&m.channel)))
                .bind(column(messages, |m| clean(&m.alert.key)))
                .bind(payloads)
                .bind(column(messages, |m| micros(m.due_at)))
                .bind(micros(now)),
            )
            .await?;
        tx.commit().await?;
        Ok(added)
    }

    async fn claim_messages(
        &self,
        channels: &[String],
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedMessage>, StoreError> {
        let mut tx = self.write("claiming messages").await?;
        let rows = tx
            .rows(
                sqlx::query(
                    "update outbox
                     set status = 'claimed', attempt = attempt + 1, lease_until = $3
                     where id in (
                         select id from outbox as m
                         where kind = any($1)
                           and ((status = 'waiting' and due_at <= $2)
                             or (status = 'claimed' and lease_until <= $2)
                             or (status = 'waiting' and attempt = 0 and exists (
                                 select 1 from outbox as d
                                 where d.status = 'waiting' and d.due_at <= $2
                                   and d.kind = m.kind
                                   and d.tenant is not distinct from m.tenant)))
                         order by due_at, id limit $4
                         for update skip locked)
                     returning id, tenant, kind, dedup_key, payload_json, attempt",
                )
                .bind(column(channels, |channel| clean(channel)))
                .bind(micros(now))
                .bind(micros(lease_until))
                .bind(i64::from(limit)),
            )
            .await?;
        tx.commit().await?;
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
        let (status, sent_at, due_at, error) = match delivery {
            Delivery::Sent => ("sent", Some(now), None, None),
            Delivery::Retry { at, error } => ("waiting", None, Some(*at), Some(error.as_str())),
            Delivery::Failed { error } => ("failed", None, None, Some(error.as_str())),
        };
        let mut tx = self.write("settling messages").await?;
        tx.run(
            sqlx::query(
                "update outbox set status = $3, sent_at = $4, due_at = coalesce($5, due_at),
                     error = $6, lease_until = null
                 from unnest($1::bigint[], $2::bigint[]) as claims (claimed, at_attempt)
                 where id = claimed and attempt = at_attempt and status = 'claimed'",
            )
            .bind(column(claims, |(id, _)| *id))
            .bind(column(claims, |(_, attempt)| *attempt))
            .bind(status)
            .bind(sent_at.map(micros))
            .bind(due_at.map(micros))
            .bind(error.map(clean)),
        )
        .await?;
        tx.commit().await
    }

    async fn next_message_at(&self, channels: &[String]) -> Result<Option<Timestamp>, StoreError> {
        let select = sqlx::query_as(
            "select min(case when status = 'claimed' then lease_until else due_at end)
             from outbox where status in ('waiting', 'claimed') and kind = any($1)",
        )
        .bind(column(channels, |channel| clean(channel)));
        let (at,): (Option<i64>,) = self.one("looking for the next message", select).await?;
        Ok(at_opt(at))
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError> {
        let select = sqlx::query_as(
            "select (select count(*) from outbox where status in ('waiting', 'claimed')),
                    (select count(*) from outbox where status = 'failed')",
        );
        let (waiting, failed): (i64, i64) = self.one("counting messages", select).await?;
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
        let query = sqlx::query(
            "select tenant, kind, dedup_key, payload_json, status, attempt, sent_at, error
             from outbox where $1::text is null or tenant = $1 order by id desc limit $2",
        )
        .bind(tenant.map(TenantId::as_str))
        .bind(i64::from(limit));
        let rows = self.rows("reading messages", query).await?;
        rows.iter().map(record).collect()
    }

    async fn change_figures(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<ChangeFigures, StoreError> {
        let select = sqlx::query_as(COUNT_CHANGES)
            .bind(tenant.as_str())
            .bind(micros(from))
            .bind(micros(until));
        let rows: Vec<Counted> = self.list("counting changes", select).await?;
        Ok(figures(rows))
    }

    async fn credited_between(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Money>, StoreError> {
        let select = sqlx::query_as(SUM_CREDITED)
            .bind(tenant.as_str())
            .bind(micros(from))
            .bind(micros(until));
        let rows: Vec<(i64, String)> = self.list("adding up credited entries", select).await?;
        sums(rows)
    }
}
