//! Visits to landing pages.

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::{QueryBuilder, SqliteConnection};

use super::SqliteStore;
use super::faults::fault;
use super::lanes::{Together, news};
use crate::domain::ids::{TenantId, VisitId};
use crate::domain::time::Timestamp;
use crate::domain::visit::Visit;
use crate::store::StoreError;
use crate::store::sql::cells::Columns;
use crate::store::sql::json;
use crate::store::sql::nodes::check_own;
use crate::store::sql::values::{clean_opt, corrupt, micros};
use crate::store::sql::visits::{AT_ONCE, CHUNK, Keep, SET_CONSENT, by_column, hash, read};
use crate::store::visits::{ClickLookup, VisitStore};

/// Keeps visits; answers `false` for one that is kept already. Hashes without consent are left out.
#[derive(Debug)]
pub(super) struct Keeping;

impl Together for Keeping {
    type Asked = Keep;
    type Answer = bool;
    const DOING: &'static str = "keeping a visit";
    const BY_ONE_STATEMENT: usize = usize::MAX;

    async fn all(
        conn: &mut SqliteConnection,
        asked: &[&Keep],
    ) -> Result<Vec<Result<bool, StoreError>>, StoreError> {
        let mut query = QueryBuilder::new(
            "insert into click_tracking (tenant, id, at, fbclid, ad_id, ad_set_id, campaign_id,
                 utm_source, has_consent, fingerprint, ip, user_agent) ",
        );
        query.push_values(asked, |mut values, Keep { tenant, visit }| {
            values
                .push_bind(tenant.as_str())
                .push_bind(visit.id.as_str())
                .push_bind(micros(visit.at))
                .push_bind(clean_opt(visit.ad.fbclid.as_deref()))
                .push_bind(visit.ad.ad.as_ref().map(|id| id.as_str()))
                .push_bind(visit.ad.ad_set.as_ref().map(|id| id.as_str()))
                .push_bind(visit.ad.campaign.as_ref().map(|id| id.as_str()))
                .push_bind(clean_opt(visit.ad.utm_source.as_deref()))
                .push_bind(i64::from(visit.has_consent))
                .push_bind(hash(visit, &visit.fingerprint))
                .push_bind(hash(visit, &visit.ip))
                .push_bind(hash(visit, &visit.user_agent));
        });
        query.push(" on conflict (tenant, id) do nothing returning tenant, id");
        let written: Vec<(String, String)> = query
            .build_query_as()
            .persistent(false) // its length differs each time
            .fetch_all(conn)
            .await
            .map_err(fault(Self::DOING))?;
        let written = written
            .iter()
            .map(|(tenant, id)| (tenant.as_str(), id.as_str()));
        let asked = asked
            .iter()
            .map(|keep| (keep.tenant.as_str(), keep.visit.id.as_str()));
        Ok(news(asked, written))
    }
}

/// Looks clicks of many keys up at once: `$2` is a list of `[value, from, to]`. One statement per
/// column, so that each has its index, which for device and address holds all that is read; the inner
/// query reads no more than the limit. A lookup's clicks are one row: what a row costs on its way
/// between the threads is more than what it costs to read.
macro_rules! clicks_by {
    ($column:literal) => {
        concat!(
            "select asked.key as n, (
                 select json_group_array(json_array(k.id, k.at, k.ad_id, k.ad_set_id, k.campaign_id,
                     k.has_consent, k.fingerprint, k.ip, k.user_agent))
                 from (select c.id, c.at, c.ad_id, c.ad_set_id, c.campaign_id, c.has_consent,
                         c.fingerprint, c.ip, c.user_agent
                     from click_tracking as c
                     where c.tenant = $1 and c.",
            $column,
            " = json_extract(asked.value, '$[0]')
                         and c.ad_id is not null
                         and c.at between json_extract(asked.value, '$[1]')
                             and json_extract(asked.value, '$[2]')
                     order by c.at desc, c.id desc limit $3) as k) as found
             from json_each($2) as asked"
        )
    };
}

/// The statements that look clicks up by fbclid, fingerprint and address, for whoever wants to see
/// their plans.
pub const CLICK_LOOKUPS: [&str; 3] = [
    clicks_by!("fbclid"),
    clicks_by!("fingerprint"),
    clicks_by!("ip"),
];

#[async_trait]
impl VisitStore for SqliteStore {
    async fn record_visit(&self, tenant: &TenantId, visit: &Visit) -> Result<bool, StoreError> {
        check_own(self.fence.as_deref(), tenant, Keeping::DOING)?;
        let keep = Keep {
            tenant: tenant.clone(),
            visit: visit.clone(),
        };
        self.lanes.visits.ask(keep, self.fence.clone()).await
    }

    async fn set_consent(&self, tenant: &TenantId, visit: &Visit) -> Result<bool, StoreError> {
        let doing = "keeping a visitor's consent";
        let mut tx = self.write_for(tenant, doing).await?;
        let done = sqlx::query(SET_CONSENT)
            .bind(tenant.as_str())
            .bind(visit.id.as_str())
            .bind(i64::from(visit.has_consent))
            .bind(hash(visit, &visit.fingerprint))
            .bind(hash(visit, &visit.ip))
            .bind(hash(visit, &visit.user_agent))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(done.rows_affected() == 1)
    }

    async fn visit(&self, tenant: &TenantId, id: &VisitId) -> Result<Option<Visit>, StoreError> {
        let row = sqlx::query("select * from click_tracking where tenant = $1 and id = $2")
            .bind(tenant.as_str())
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(fault("reading a visit"))?;
        row.as_ref().map(read).transpose()
    }

    async fn visits(&self, tenant: &TenantId, ids: &[VisitId]) -> Result<Vec<Visit>, StoreError> {
        const DOING: &str = "reading visits";
        let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        let rows = sqlx::query(
            "select * from click_tracking
             where tenant = $1 and id in (select value from json_each($2)) order by id",
        )
        .bind(tenant.as_str())
        .bind(json(&ids, DOING)?)
        .fetch_all(&self.readers)
        .await
        .map_err(fault(DOING))?;
        rows.iter().map(read).collect()
    }

    async fn clicks_by(
        &self,
        tenant: &TenantId,
        lookups: &[ClickLookup],
        limit: u32,
    ) -> Result<Vec<Vec<Visit>>, StoreError> {
        const DOING: &str = "looking up clicks";
        let columns = by_column(lookups, CLICK_LOOKUPS);
        let mut answers = Vec::new();
        for column in &columns {
            for asked in column.asked.chunks(CHUNK) {
                let values: Vec<_> = asked
                    .iter()
                    .map(|(_, value, from, to)| (value, from, to))
                    .collect();
                let values = json(&values, DOING)?;
                answers.push(async move {
                    let rows = sqlx::query(column.statement)
                        .bind(tenant.as_str())
                        .bind(values)
                        .bind(i64::from(limit))
                        .fetch_all(&self.readers)
                        .await
                        .map_err(fault(DOING))?;
                    Ok::<_, StoreError>((column, asked, rows))
                });
            }
        }
        let mut answers = stream::iter(answers).buffer_unordered(AT_ONCE);
        let mut found = vec![Vec::new(); lookups.len()];
        while let Some((column, asked, rows)) = answers.try_next().await? {
            for row in &rows {
                let row = Columns::of("click_tracking", row);
                let clicks = row.text("found")?.unwrap_or("[]");
                let clicks = serde_json::from_str(clicks)
                    .map_err(|error| corrupt("click_tracking", error))?;
                column.put(row.get("n")?, asked, clicks, &mut found)?;
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
        let rows = sqlx::query(
            "select * from click_tracking where tenant = $1 and at between $2 and $3
             order by at desc, id desc limit $4",
        )
        .bind(tenant.as_str())
        .bind(micros(from))
        .bind(micros(to))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading visits"))?;
        rows.iter().map(read).collect()
    }
}
