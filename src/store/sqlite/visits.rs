//! Visits to landing pages.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::faults::fault;
use super::lanes::Each;
use crate::domain::ids::{TenantId, VisitId};
use crate::domain::time::Timestamp;
use crate::domain::visit::{ValueFrequency, Visit};
use crate::store::StoreError;
use crate::store::sql::nodes::check_own;
use crate::store::sql::values::{clean_opt, micros, uncount};
use crate::store::sql::visits::{Keep, SET_CONSENT, hash, read};
use crate::store::visits::{VisitKey, VisitStore};

/// Keeps visits; answers `false` for one that is kept already. Hashes without consent are left out.
#[derive(Debug)]
pub(super) struct Keeping;

impl Each for Keeping {
    type Asked = Keep;
    type Answer = bool;
    const DOING: &'static str = "keeping a visit";

    async fn one(conn: &mut SqliteConnection, keep: &Keep) -> Result<bool, StoreError> {
        let visit = &keep.visit;
        let done = sqlx::query(
            "insert into click_tracking (tenant, id, at, fbclid, ad_id, ad_set_id, campaign_id,
                 utm_source, has_consent, fingerprint, ip, user_agent)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             on conflict (tenant, id) do nothing",
        )
        .bind(keep.tenant.as_str())
        .bind(visit.id.as_str())
        .bind(micros(visit.at))
        .bind(clean_opt(visit.ad.fbclid.as_deref()))
        .bind(visit.ad.ad.as_ref().map(|id| id.as_str()))
        .bind(visit.ad.ad_set.as_ref().map(|id| id.as_str()))
        .bind(visit.ad.campaign.as_ref().map(|id| id.as_str()))
        .bind(clean_opt(visit.ad.utm_source.as_deref()))
        .bind(i64::from(visit.has_consent))
        .bind(hash(visit, &visit.fingerprint))
        .bind(hash(visit, &visit.ip))
        .bind(hash(visit, &visit.user_agent))
        .execute(conn)
        .await
        .map_err(fault(Self::DOING))?;
        Ok(done.rows_affected() == 1)
    }
}

/// The value of a key, and the statements that look it up: one per column, so that each has its
/// index.
fn lookup(key: &VisitKey) -> (&str, &'static str, &'static str) {
    match key {
        VisitKey::Fbclid(value) => (
            value,
            "select * from click_tracking
             where tenant = $1 and fbclid = $2 and at between $3 and $4
             order by at desc, id desc limit $5",
            "select count(*) from click_tracking
             where tenant = $1 and fbclid = $2 and at between $3 and $4 and has_consent = 1",
        ),
        VisitKey::Fingerprint(hash) => (
            &hash.0,
            "select * from click_tracking
             where tenant = $1 and fingerprint = $2 and at between $3 and $4
             order by at desc, id desc limit $5",
            "select count(*) from click_tracking
             where tenant = $1 and fingerprint = $2 and at between $3 and $4 and has_consent = 1",
        ),
        VisitKey::Ip(hash) => (
            &hash.0,
            "select * from click_tracking
             where tenant = $1 and ip = $2 and at between $3 and $4
             order by at desc, id desc limit $5",
            "select count(*) from click_tracking
             where tenant = $1 and ip = $2 and at between $3 and $4 and has_consent = 1",
        ),
        VisitKey::UserAgent(hash) => (
            &hash.0,
            "select * from click_tracking
             where tenant = $1 and user_agent = $2 and at between $3 and $4
             order by at desc, id desc limit $5",
            "select count(*) from click_tracking
             where tenant = $1 and user_agent = $2 and at between $3 and $4 and has_consent = 1",
        ),
    }
}

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

    async fn visits_by(
        &self,
        tenant: &TenantId,
        key: &VisitKey,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<Visit>, StoreError> {
        let (value, statement, _) = lookup(key);
        let rows = sqlx::query(statement)
            .bind(tenant.as_str())
            .bind(value)
            .bind(micros(from))
            .bind(micros(to))
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(fault("looking up visits"))?;
        rows.iter().map(read).collect()
    }

    async fn visit_frequency(
        &self,
        tenant: &TenantId,
        key: &VisitKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<ValueFrequency, StoreError> {
        let doing = "counting visits";
        let (value, _, statement) = lookup(key);
        let mut tx = self.snapshot(doing).await?;
        let with_value: i64 = sqlx::query_scalar(statement)
            .bind(tenant.as_str())
            .bind(value)
            .bind(micros(from))
            .bind(micros(to))
            .fetch_one(&mut *tx)
            .await
            .map_err(fault(doing))?;
        let of: i64 = sqlx::query_scalar(
            "select count(*) from click_tracking
             where tenant = $1 and at between $2 and $3 and has_consent = 1",
        )
        .bind(tenant.as_str())
        .bind(micros(from))
        .bind(micros(to))
        .fetch_one(&mut *tx)
        .await
        .map_err(fault(doing))?;
        Ok(ValueFrequency {
            with_value: uncount(with_value),
            of: uncount(of),
        })
    }

    async fn ad_clicks_between(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<u64, StoreError> {
        let found: i64 = sqlx::query_scalar(
            "select count(*) from click_tracking
             where tenant = $1 and at between $2 and $3 and ad_id is not null",
        )
        .bind(tenant.as_str())
        .bind(micros(from))
        .bind(micros(to))
        .fetch_one(&self.readers)
        .await
        .map_err(fault("counting clicks"))?;
        Ok(uncount(found))
    }
}
