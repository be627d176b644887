//! Syncs that a person asks for, scans of the CRM's whole list, and merged deals.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::attribution::Attribution;
use crate::domain::ids::{DealId, TenantId, VendorStageId};
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::sql::json;
use crate::store::sql::syncs::{
    ASK, ASKED, MERGE, REQUEST, TELL, UNLISTED, UNSETTLE, counts, listed, mark_listed,
    merged_credits, open_deals, read, read_credit, real_merges, tenants, to_be_read,
    unsettle_merged,
};
use crate::store::sql::values::{clean, clean_opt, id, micros};
use crate::store::syncs::{ListedPage, Span, SyncProgress, SyncRequest, SyncStore};

const READING: &str = "reading which deals are there";

/// A list of ids as one value.
fn list<'i>(ids: impl Iterator<Item = &'i str>, doing: &'static str) -> Result<String, StoreError> {
    json(&ids.collect::<Vec<_>>(), doing)
}

fn ids(found: &[String]) -> Result<Vec<DealId>, StoreError> {
    found.iter().map(|deal| id("crm_deals", deal)).collect()
}

#[async_trait]
impl SyncStore for SqliteStore {
    async fn ask_sync(
        &self,
        tenant: &TenantId,
        by: &str,
        is_full: bool,
        now: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        let doing = "asking for a sync";
        let mut tx = self.write_for(tenant, doing).await?;
        let asked_at: i64 = sqlx::query_scalar(ASK)
            .bind(tenant.as_str())
            .bind(micros(now))
            .bind(clean(by))
            .bind(i64::from(is_full))
            .fetch_one(&mut *tx)
            .await
            .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(from_micros(asked_at))
    }

    async fn sync_request(&self, tenant: &TenantId) -> Result<Option<SyncRequest>, StoreError> {
        let row = sqlx::query(REQUEST)
            .bind(tenant.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(fault("reading which sync is asked for"))?;
        row.as_ref().map(read).transpose()
    }

    async fn asked_syncs(&self) -> Result<Vec<TenantId>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar(ASKED)
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading which syncs are asked for"))?;
        tenants(&names)
    }

    async fn tell_sync(
        &self,
        tenant: &TenantId,
        asked_at: Timestamp,
        progress: &SyncProgress,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let doing = "telling how far a sync is";
        let mut tx = self.write_for(tenant, doing).await?;
        let mut query = sqlx::query(TELL)
            .bind(tenant.as_str())
            .bind(micros(asked_at))
            .bind(micros(now))
            .bind(progress.is_done.then(|| micros(now)))
            .bind(clean(&progress.phase))
            .bind(clean_opt(progress.failed.as_deref()));
        for count in counts(&progress.counts) {
            query = query.bind(count);
        }
        let done = query.execute(&mut *tx).await.map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(done.rows_affected() == 1)
    }

    async fn note_listed(
        &self,
        tenant: &TenantId,
        page: &ListedPage<'_>,
    ) -> Result<Vec<DealId>, StoreError> {
        let doing = "noting which deals are listed";
        let named = list(page.deals.iter().map(|deal| deal.id.as_str()), doing)?;
        let mut tx = self.write_for(tenant, doing).await?;
        let kept = sqlx::query(listed!("in (select value from json_each($2))"))
            .bind(tenant.as_str())
            .bind(&named)
            .fetch_all(&mut *tx)
            .await
            .map_err(fault(doing))?;
        if !page.is_archived {
            sqlx::query(mark_listed!("in (select value from json_each($2))"))
                .bind(tenant.as_str())
                .bind(&named)
                .bind(micros(page.scan))
                .execute(&mut *tx)
                .await
                .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))?;
        to_be_read(page, &kept)
    }

    async fn unlisted_deals(
        &self,
        tenant: &TenantId,
        scan: Timestamp,
        span: Span<'_>,
    ) -> Result<Vec<DealId>, StoreError> {
        let found: Vec<String> = sqlx::query_scalar(UNLISTED)
            .bind(tenant.as_str())
            .bind(micros(scan))
            .bind(span.after.map_or("", DealId::as_str))
            .bind(i64::from(span.limit))
            .fetch_all(&self.readers)
            .await
            .map_err(fault(READING))?;
        ids(&found)
    }

    async fn open_deals(
        &self,
        tenant: &TenantId,
        closed: &[VendorStageId],
        since: Timestamp,
        span: Span<'_>,
    ) -> Result<Vec<DealId>, StoreError> {
        let closed = list(closed.iter().map(VendorStageId::as_str), READING)?;
        let found: Vec<String> =
            sqlx::query_scalar(open_deals!("in (select value from json_each($2))"))
                .bind(tenant.as_str())
                .bind(closed)
                .bind(micros(since))
                .bind(span.after.map_or("", DealId::as_str))
                .bind(i64::from(span.limit))
                .fetch_all(&self.readers)
                .await
                .map_err(fault(READING))?;
        ids(&found)
    }

    async fn record_merges(
        &self,
        tenant: &TenantId,
        merges: &[(DealId, DealId)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "noting merged deals";
        let mut tx = self.write_for(tenant, doing).await?;
        for (from, into) in real_merges(merges) {
            let done = sqlx::query(MERGE)
                .bind(tenant.as_str())
                .bind(from.as_str())
                .bind(into.as_str())
                .bind(micros(now))
                .execute(&mut *tx)
                .await
                .map_err(fault(doing))?;
            if done.rows_affected() == 1 {
                sqlx::query(UNSETTLE)
                    .bind(tenant.as_str())
                    .bind(into.as_str())
                    .execute(&mut *tx)
                    .await
                    .map_err(fault(doing))?;
            }
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn merged_credits(
        &self,
        tenant: &TenantId,
        deals: &[DealId],
    ) -> Result<Vec<(DealId, Attribution)>, StoreError> {
        let doing = "reading the credits of merged deals";
        let deals = list(deals.iter().map(DealId::as_str), doing)?;
        let rows = sqlx::query(merged_credits!("in (select value from json_each($2))"))
            .bind(tenant.as_str())
            .bind(deals)
            .fetch_all(&self.readers)
            .await
            .map_err(fault(doing))?;
        rows.iter()
            .filter_map(|row| read_credit(row).transpose())
            .collect()
    }

    async fn unsettle_merged(&self, tenant: &TenantId, deals: &[DealId]) -> Result<(), StoreError> {
        let doing = "unsettling merged deals";
        let deals = list(deals.iter().map(DealId::as_str), doing)?;
        let mut tx = self.write_for(tenant, doing).await?;
        sqlx::query(unsettle_merged!("in (select value from json_each($2))"))
            .bind(tenant.as_str())
            .bind(deals)
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))
    }
}
