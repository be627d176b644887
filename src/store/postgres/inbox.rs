//! The inbox of each tenant.

use std::collections::{BTreeMap, HashSet, VecDeque};

use async_trait::async_trait;

use super::lanes::{Fences, Kept, Server, admitted, flags, not_admitted};
use super::{PostgresStore, column};
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::inbox::{
    Appended, ClaimedDelivery, Delivery, DeliveryOutcome, InboxDepth, InboxStore, Quarantined,
};
use crate::store::sql::bodies::told_apart;
use crate::store::sql::cells::Columns;
use crate::store::sql::inbox::{Claim, Keep, Settle, claimed, depth, quarantined};
use crate::store::sql::lane::{Request, Work};
use crate::store::sql::nodes::check_own;
use crate::store::sql::not_one;
use crate::store::sql::values::{at_opt, clean, micros};

/// Keeps deliveries; answers `false` for a repeat.
#[derive(Debug)]
pub(super) struct Keeping(pub(super) Server);

impl Work for Keeping {
    type Asked = Keep;
    type Answer = bool;
    type Kept = Kept;
    const DOING: &'static str = "keeping a delivery";

    fn size(keep: &Keep) -> usize {
        keep.delivery.body.len()
    }

    async fn work(
        &self,
        kept: &mut Kept,
        batch: &[Request<Keep>],
    ) -> Result<Vec<Result<bool, StoreError>>, StoreError> {
        let fences = Fences::of(batch);
        let bodies = column(batch, |r| told_apart(&r.asked.delivery.body));
        // In the order of their keys: two nodes that keep the same deliveries at once would else
        // wait for each other.
        let query = sqlx::query(concat!(
            "with asked as (
                 select * from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[],
                     $5::text[], $6::text[], $7::bytea[], $8::bigint[])
                     as asked (n, node_id, fence, tenant, source, dedup_key, body, now)),
             ",
            admitted!(),
            ",
             new as (
                 insert into inbox (tenant, source, dedup_key, body, received_at, status)
                 select tenant, source, dedup_key, body, now, 'waiting' from admitted
                 order by tenant, source, dedup_key, n
                 on conflict (tenant, source, dedup_key) do nothing
                 returning tenant, source, dedup_key)
             select n, (new.tenant is not null)::int::bigint as done
             from admitted left join new using (tenant, source, dedup_key) order by n"
        ))
        .bind(fences.n)
        .bind(fences.node)
        .bind(fences.token)
        .bind(column(batch, |r| r.asked.tenant.as_str()))
        .bind(column(batch, |r| clean(&r.asked.delivery.source)))
        .bind(column(batch, |r| clean(&r.asked.delivery.dedup_key)))
        .bind(column(&bodies, |body| body.as_ref()))
        .bind(column(batch, |r| micros(r.asked.now)));
        let rows = self.0.rows(kept, Self::DOING, query).await?;
        let is_new = flags(&rows)?;
        let mut seen = HashSet::new();
        Ok((0..)
            .zip(batch)
            .map(|(n, request)| {
                let keep = &request.asked;
                let Some(is_new) = is_new.get(&n) else {
                    return Err(not_admitted(request.fence.as_ref(), Self::DOING));
                };
                // Of several that are the same the first is the new one.
                let key = (
                    &keep.tenant,
                    clean(&keep.delivery.source),
                    clean(&keep.delivery.dedup_key),
                );
                Ok(*is_new && seen.insert(key))
            })
            .collect())
    }
}

/// Claims deliveries.
#[derive(Debug)]
pub(super) struct Claiming(pub(super) Server);

/// Who claims for a tenant at once, until the same time.
type Terms<'r> = (&'r TenantId, i64, i64, Option<(&'r str, i64)>);

impl Claiming {
    /// The requests of a batch in rounds, so that each tenant is claimed for once in a round: those
    /// of the same terms share what is found.
    fn rounds<'r>(batch: &'r [Request<Claim>]) -> VecDeque<BTreeMap<Terms<'r>, Vec<usize>>> {
        let mut rounds: VecDeque<BTreeMap<Terms<'r>, Vec<usize>>> = VecDeque::new();
        for (place, request) in batch.iter().enumerate() {
            let claim = &request.asked;
            let fence = request.fence.as_deref();
            let terms: Terms<'r> = (
                &claim.tenant,
                micros(claim.now),
                micros(claim.lease_until),
                fence.map(|fence| (fence.node.as_str(), fence.token)),
            );
            let round = rounds.iter_mut().find(|round| {
                round.contains_key(&terms)
                    || !round.keys().any(|(tenant, ..)| *tenant == &claim.tenant)
            });
            match round {
                Some(round) => round.entry(terms).or_default().push(place),
                None => rounds.push_back(BTreeMap::from([(terms, vec![place])])),
            }
        }
        rounds
    }
}

impl Work for Claiming {
    type Asked = Claim;
    type Answer = Vec<ClaimedDelivery>;
    type Kept = Kept;
    const DOING: &'static str = "claiming deliveries";

    async fn work(
        &self,
        kept: &mut Kept,
        batch: &[Request<Claim>],
    ) -> Result<Vec<Result<Vec<ClaimedDelivery>, StoreError>>, StoreError> {
        let mut results: Vec<_> = batch
            .iter()
            .map(|request| Err(not_admitted(request.fence.as_ref(), Self::DOING)))
            .collect();
        for round in Self::rounds(batch) {
            let (terms, askers): (Vec<Terms<'_>>, Vec<Vec<usize>>) = round.into_iter().unzip();
            let limit = |places: &Vec<usize>| -> i64 {
                let limits = places.iter().filter_map(|place| batch.get(*place));
                limits.map(|request| i64::from(request.asked.limit)).sum()
            };
            let query = sqlx::query(concat!(
                "with asked as (
                     select * from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[],
                         $5::bigint[], $6::bigint[], $7::bigint[])
                         as asked (n, node_id, fence, tenant, now, until, most)),
                 ",
                admitted!(),
                ",
                 due as materialized (
                     select admitted.n, admitted.until, found.id
                     from admitted cross join lateral (
                         select id from inbox
                         where tenant = admitted.tenant and settled_at is null
                           and (status = 'waiting'
                               or (status = 'claimed' and lease_until <= admitted.now))
                         order by id limit admitted.most
                         for update skip locked) as found),
                 claimed as (
                     update inbox set status = 'claimed', attempt = attempt + 1,
                         lease_until = due.until
                     from due where inbox.id = due.id
                     returning due.n, inbox.id, source, body, received_at, attempt)
                 select n, id, source, body, received_at, attempt
                 from admitted left join claimed using (n) order by n, id"
            ))
            .bind((0..).take(terms.len()).collect::<Vec<i64>>())
            .bind(column(&terms, |(.., fence)| fence.map(|(node, _)| node)))
            .bind(column(&terms, |(.., fence)| fence.map(|(_, token)| token)))
            .bind(column(&terms, |(tenant, ..)| tenant.as_str()))
            .bind(column(&terms, |(_, now, ..)| *now))
            .bind(column(&terms, |(_, _, until, _)| *until))
            .bind(column(&askers, limit));
            let rows = self.0.rows(kept, Self::DOING, query).await?;
            let mut found: BTreeMap<i64, VecDeque<ClaimedDelivery>> = BTreeMap::new();
            for row in &rows {
                let columns = Columns::of("inbox", row);
                let of_terms = found.entry(columns.get("n")?).or_default();
                if columns.get::<Option<i64>>("id")?.is_some() {
                    of_terms.push_back(claimed(row)?);
                }
            }
            for (n, places) in (0..).zip(askers) {
                let Some(mut found) = found.remove(&n) else {
                    continue; // not admitted, as the result says already
                };
                for place in places {
                    let most = batch.get(place).map_or(0, |request| request.asked.limit);
                    let most = usize::try_from(most).unwrap_or(usize::MAX).min(found.len());
                    if let Some(result) = results.get_mut(place) {
                        *result = Ok(found.drain(..most).collect());
                    }
                }
            }
        }
        Ok(results)
    }
}

/// Settles deliveries.
#[derive(Debug)]
pub(super) struct Settling(pub(super) Server);

impl Work for Settling {
    type Asked = Settle;
    type Answer = ();
    type Kept = Kept;
    const DOING: &'static str = "settling a delivery";

    fn size(settle: &Settle) -> usize {
        let bodies = settle.outcome.poison.iter().map(|(body, _)| body.len());
        bodies.sum()
    }

    async fn work(
        &self,
        kept: &mut Kept,
        batch: &[Request<Settle>],
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let fences = Fences::of(batch);
        let wanted: Vec<(i64, &str)> = (0..)
            .zip(batch)
            .flat_map(|(n, r)| {
                r.asked
                    .outcome
                    .wanted
                    .iter()
                    .map(move |deal| (n, deal.as_str()))
            })
            .collect();
        let poison: Vec<(i64, &(Vec<u8>, String))> = (0..)
            .zip(batch)
            .flat_map(|(n, r)| r.asked.outcome.poison.iter().map(move |part| (n, part)))
            .collect();
        let bodies = column(&poison, |(_, (body, _))| told_apart(body));
        let query = sqlx::query(concat!(
            "with asked as (
                 select * from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[],
                     $5::bigint[], $6::bigint[], $7::bigint[], $13::bigint[])
                     as asked (n, node_id, fence, tenant, id, attempt, now, is_personal)),
             ",
            admitted!(),
            ",
             settled as (
                 update inbox set status = 'settled', settled_at = a.now, lease_until = null,
                     body = case a.is_personal when 1 then ''::bytea else inbox.body end
                 from admitted as a
                 where inbox.tenant = a.tenant and inbox.id = a.id and inbox.attempt = a.attempt
                   and inbox.status = 'claimed'
                 returning a.n, a.now, inbox.tenant, inbox.id, inbox.source),
             asked_for as (
                 insert into deal_requests (tenant, deal_id, first_asked_at, last_asked_at)
                 select tenant, deal_id, min(now), max(now)
                 from unnest($8::bigint[], $9::text[]) as wanted (n, deal_id)
                 join settled using (n)
                 group by tenant, deal_id order by tenant, deal_id
                 on conflict (tenant, deal_id) do update set last_asked_at = excluded.last_asked_at
                 where excluded.last_asked_at > deal_requests.last_asked_at),
             quarantined as (
                 insert into inbox (tenant, source, parent_id, body, received_at, settled_at, status,
                     reason)
                 select tenant, source, id, body, now, now, 'quarantined', reason
                 from unnest($10::bigint[], $11::bytea[], $12::text[]) with ordinality
                     as poison (n, body, reason, place)
                 join settled using (n) order by place)
             select n, (settled.id is not null)::int::bigint as done
             from admitted left join settled using (n)"
        ))
        .bind(fences.n)
        .bind(fences.node)
        .bind(fences.token)
        .bind(column(batch, |r| r.asked.tenant.as_str()))
        .bind(column(batch, |r| r.asked.id))
        .bind(column(batch, |r| r.asked.attempt))
        .bind(column(batch, |r| micros(r.asked.now)))
        .bind(column(&wanted, |(n, _)| *n))
        .bind(column(&wanted, |(_, deal)| *deal))
        .bind(column(&poison, |(n, _)| *n))
        .bind(column(&bodies, |body| body.as_ref()))
        .bind(column(&poison, |(_, (_, reason))| clean(reason)))
        .bind(column(batch, |r| i64::from(r.asked.outcome.is_personal)));
        let rows = self.0.rows(kept, Self::DOING, query).await?;
        let is_settled = flags(&rows)?;
        Ok((0..)
            .zip(batch)
            .map(|(n, request)| match is_settled.get(&n) {
                Some(true) => Ok(()),
                Some(false) => Err(not_one(Self::DOING, 0)),
                None => Err(not_admitted(request.fence.as_ref(), Self::DOING)),
            })
            .collect())
    }
}

#[async_trait]
impl InboxStore for PostgresStore {
    async fn append_delivery(
        &self,
        tenant: &TenantId,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Appended, StoreError> {
        check_own(self.fence.as_deref(), tenant, Keeping::DOING)?;
        let keep = Keep {
            tenant: tenant.clone(),
            delivery: delivery.clone(),
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
                 where tenant = $1 and reason is not null and status = 'quarantined'
                 order by id limit $2",
            )
            .bind(tenant.as_str())
            .bind(i64::from(limit)),
            None => sqlx::query(
                "select id, tenant, source, body, reason, received_at from inbox
                 where reason is not null and status = 'quarantined' order by id limit $1",
            )
            .bind(i64::from(limit)),
        };
        let rows = self.rows("reading the quarantine", query).await?;
        rows.iter().map(quarantined).collect()
    }

    async fn quarantined_delivery(
        &self,
        tenant: &TenantId,
        id: i64,
    ) -> Result<Option<Quarantined>, StoreError> {
        let query = sqlx::query(
            "select id, tenant, source, body, reason, received_at from inbox
             where tenant = $1 and id = $2 and reason is not null and status = 'quarantined'",
        )
        .bind(tenant.as_str())
        .bind(id);
        let row = self.row("reading the quarantine", query).await?;
        row.as_ref().map(quarantined).transpose()
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

    async fn newest_delivery(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError> {
        // By the index that finds what is over.
        let select = sqlx::query_as(
            "select max(received_at) from inbox
             where tenant = $1 and status in ('settled', 'dropped')",
        )
        .bind(tenant.as_str());
        let doing = "reading when the newest delivery came";
        let (newest,): (Option<i64>,) = self.one(doing, select).await?;
        Ok(at_opt(newest))
    }

    async fn inbox_depth(&self, tenant: &TenantId) -> Result<InboxDepth, StoreError> {
        let query = sqlx::query(
            "select
                 (select count(*) from inbox
                  where tenant = $1 and settled_at is null
                    and status in ('waiting', 'claimed')) as waiting,
                 (select min(received_at) from inbox
                  where tenant = $1 and settled_at is null
                    and status in ('waiting', 'claimed')) as oldest_at,
                 (select count(*) from inbox
                  where tenant = $1 and reason is not null
                    and status = 'quarantined') as quarantined",
        )
        .bind(tenant.as_str());
        let row = self.row("reading the inbox's depth", query).await?;
        row.as_ref()
            .map_or_else(|| Ok(InboxDepth::default()), depth)
    }
}
