//! Visits to landing pages.

use std::collections::HashSet;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::lanes::{Fences, Kept, Server, admitted, flags, not_admitted};
use super::{PostgresStore, column};
use crate::domain::ids::{TenantId, VisitId};
use crate::domain::time::Timestamp;
use crate::domain::visit::Visit;
use crate::store::StoreError;
use crate::store::sql::cells::Columns;
use crate::store::sql::lane::{Request, Work};
use crate::store::sql::nodes::check_own;
use crate::store::sql::values::{clean_opt, corrupt, micros};
use crate::store::sql::visits::{AT_ONCE, CHUNK, Found, Keep, SET_CONSENT, by_column, hash, read};
use crate::store::visits::{ClickLookup, VisitStore};

/// The columns of a visit. A `*` would break prepared statements when a later release adds one.
macro_rules! columns {
    () => {
        "id, at, fbclid, ad_id, ad_set_id, campaign_id, utm_source, has_consent, fingerprint, ip,
         user_agent"
    };
}

/// Keeps visits; answers `false` for one that is kept already. Hashes without consent are left out.
#[derive(Debug)]
pub(super) struct Keeping(pub(super) Server);

impl Work for Keeping {
    type Asked = Keep;
    type Answer = bool;
    type Kept = Kept;
    const DOING: &'static str = "keeping a visit";

    async fn work(
        &self,
        kept: &mut Kept,
        batch: &[Request<Keep>],
    ) -> Result<Vec<Result<bool, StoreError>>, StoreError> {
        let fences = Fences::of(batch);
        let visits = column(batch, |request| &request.asked.visit);
        let query = sqlx::query(concat!(
            "with asked as (
                 select * from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[],
                     $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[],
                     $11::text[], $12::bigint[], $13::text[], $14::text[], $15::text[])
                     as asked (n, node_id, fence, tenant, ",
            columns!(),
            ")),
             ",
            admitted!(),
            ",
             new as (
                 insert into click_tracking (tenant, ",
            columns!(),
            ")
                 select tenant, ",
            columns!(),
            " from admitted order by tenant, id, n
                 on conflict (tenant, id) do nothing
                 returning tenant, id)
             select n, (new.tenant is not null)::int::bigint as done
             from admitted left join new using (tenant, id)"
        ))
        .bind(fences.n)
        .bind(fences.node)
        .bind(fences.token)
        .bind(column(batch, |request| request.asked.tenant.as_str()))
        .bind(column(&visits, |visit| visit.id.as_str()))
        .bind(column(&visits, |visit| micros(visit.at)))
        .bind(column(&visits, |visit| {
            clean_opt(visit.ad.fbclid.as_deref())
        }))
        .bind(column(&visits, |visit| {
            visit.ad.ad.as_ref().map(|id| id.as_str())
        }))
        .bind(column(&visits, |visit| {
            visit.ad.ad_set.as_ref().map(|id| id.as_str())
        }))
        .bind(column(&visits, |visit| {
            visit.ad.campaign.as_ref().map(|id| id.as_str())
        }))
        .bind(column(&visits, |visit| {
            clean_opt(visit.ad.utm_source.as_deref())
        }))
        .bind(column(&visits, |visit| i64::from(visit.has_consent)))
        .bind(column(&visits, |visit| hash(visit, &visit.fingerprint)))
        .bind(column(&visits, |visit| hash(visit, &visit.ip)))
        .bind(column(&visits, |visit| hash(visit, &visit.user_agent)));
        let rows = self.0.rows(kept, Self::DOING, query).await?;
        let is_new = flags(&rows)?;
        let mut seen = HashSet::new();
        Ok((0..)
            .zip(batch)
            .map(|(n, request)| match is_new.get(&n) {
                // Of several that are the same the first is the new one.
                Some(is_new) => {
                    let key = (&request.asked.tenant, &request.asked.visit.id);
                    Ok(*is_new && seen.insert(key))
                }
                None => Err(not_admitted(request.fence.as_ref(), Self::DOING)),
            })
            .collect())
    }
}

/// Looks clicks of many keys up at once. One statement per column, so that each has its index, which
/// for device and address holds all that is read; the inner query reads no more than the limit. A
/// lookup's clicks are one row of arrays: a row for each click costs more on its way than to find.
macro_rules! clicks_by {
    ($column:literal) => {
        concat!(
            "select asked.n, found.* from unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[])
                 as asked (n, value, since, until)
             cross join lateral (
                 select array_agg(id) as ids, array_agg(at) as times, array_agg(ad_id) as ads,
                     array_agg(ad_set_id) as ad_sets, array_agg(campaign_id) as campaigns,
                     array_agg(has_consent) as consents, array_agg(fingerprint) as fingerprints,
                     array_agg(ip) as ips, array_agg(user_agent) as user_agents
                 from (
                     select id, at, ad_id, ad_set_id, campaign_id, has_consent, fingerprint, ip,
                         user_agent
                     from click_tracking
                     where tenant = $1 and ",
            $column,
            " = asked.value and ad_id is not null
                         and at between asked.since and asked.until
                     order by at desc, id desc limit $6) as click) as found"
        )
    };
}

/// The clicks that answer a lookup.
fn clicks(row: &PgRow) -> Result<Vec<Found>, sqlx::Error> {
    let Some(ids) = row.try_get::<Option<Vec<String>>, _>("ids")? else {
        return Ok(Vec::new());
    };
    let texts = |name| row.try_get::<Vec<Option<String>>, _>(name);
    let numbers = |name| row.try_get::<Vec<i64>, _>(name);
    let (times, consents) = (numbers("times")?, numbers("consents")?);
    let (ads, ad_sets, campaigns) = (texts("ads")?, texts("ad_sets")?, texts("campaigns")?);
    let fingerprints = texts("fingerprints")?;
    let (ips, user_agents) = (texts("ips")?, texts("user_agents")?);
    let ads = ads.into_iter().zip(ad_sets).zip(campaigns);
    let people = fingerprints.into_iter().zip(ips).zip(user_agents);
    let clicks = ids
        .into_iter()
        .zip(times)
        .zip(ads)
        .zip(consents)
        .zip(people);
    Ok(clicks
        .map(
            |((((id, at), ((ad, ad_set), campaign)), consent), ((fingerprint, ip), user_agent))| {
                (
                    id,
                    at,
                    ad,
                    ad_set,
                    campaign,
                    consent,
                    fingerprint,
                    ip,
                    user_agent,
                )
            },
        )
        .collect())
}

/// The statements that look clicks up by fbclid, fingerprint and address, for whoever wants to see
/// their plans.
pub const CLICK_LOOKUPS: [&str; 3] = [
    clicks_by!("fbclid"),
    clicks_by!("fingerprint"),
    clicks_by!("ip"),
];

#[async_trait]
impl VisitStore for PostgresStore {
    async fn record_visit(&self, tenant: &TenantId, visit: &Visit) -> Result<bool, StoreError> {
        check_own(self.fence.as_deref(), tenant, Keeping::DOING)?;
        let keep = Keep {
            tenant: tenant.clone(),
            visit: visit.clone(),
        };
        self.lanes.visits.ask(keep, self.fence.clone()).await
    }

    async fn set_consent(&self, tenant: &TenantId, visit: &Visit) -> Result<bool, StoreError> {
        let mut tx = self
            .write_for(tenant, "keeping a visitor's consent")
            .await?;
        let query = sqlx::query(SET_CONSENT)
            .bind(tenant.as_str())
            .bind(visit.id.as_str())
            .bind(i64::from(visit.has_consent))
            .bind(hash(visit, &visit.fingerprint))
            .bind(hash(visit, &visit.ip))
            .bind(hash(visit, &visit.user_agent));
        let done = tx.run(query).await?;
        tx.commit().await?;
        Ok(done == 1)
    }

    async fn visit(&self, tenant: &TenantId, id: &VisitId) -> Result<Option<Visit>, StoreError> {
        let query = sqlx::query(concat!(
            "select ",
            columns!(),
            " from click_tracking where tenant = $1 and id = $2"
        ))
        .bind(tenant.as_str())
        .bind(id.as_str());
        let row = self.row("reading a visit", query).await?;
        row.as_ref().map(read).transpose()
    }

    async fn visits(&self, tenant: &TenantId, ids: &[VisitId]) -> Result<Vec<Visit>, StoreError> {
        let query = sqlx::query(concat!(
            "select ",
            columns!(),
            " from click_tracking where tenant = $1 and id in (select unnest($2::text[])) order by id"
        ))
        .bind(tenant.as_str())
        .bind(column(ids, |id| id.as_str()));
        let rows = self.rows("reading visits", query).await?;
        rows.iter().map(read).collect()
    }

    async fn clicks_by(
        &self,
        tenant: &TenantId,
        lookups: &[ClickLookup],
        limit: u32,
    ) -> Result<Vec<Vec<Visit>>, StoreError> {
        let columns = by_column(lookups, CLICK_LOOKUPS);
        let mut answers = Vec::new();
        for of in &columns {
            for asked in of.asked.chunks(CHUNK) {
                let query = sqlx::query(of.statement)
                    .bind(tenant.as_str())
                    .bind((0..).take(asked.len()).collect::<Vec<i64>>())
                    .bind(column(asked, |(_, value, _, _)| value.as_str()))
                    .bind(column(asked, |(_, _, from, _)| *from))
                    .bind(column(asked, |(_, _, _, to)| *to))
                    .bind(i64::from(limit));
                answers.push(async move {
                    let rows = self.rows("looking up clicks", query).await?;
                    Ok::<_, StoreError>((of, asked, rows))
                });
            }
        }
        let mut answers = stream::iter(answers).buffer_unordered(AT_ONCE);
        let mut found = vec![Vec::new(); lookups.len()];
        while let Some((of, asked, rows)) = answers.try_next().await? {
            for row in &rows {
                let n = Columns::of("click_tracking", row).get("n")?;
                let clicks = clicks(row).map_err(|error| corrupt("click_tracking", error))?;
                of.put(n, asked, clicks, &mut found)?;
            }
        }
        Ok(found)
    }

    async fn visits_between(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<Visit>, StoreError> {
        let query = sqlx::query(concat!(
            "select ",
            columns!(),
            " from click_tracking where tenant = $1 and at between $2 and $3
             order by at desc, id desc limit $4"
        ))
        .bind(tenant.as_str())
        .bind(micros(from))
        .bind(micros(to))
        .bind(i64::from(limit));
        let rows = self.rows("reading visits", query).await?;
        rows.iter().map(read).collect()
    }
}
