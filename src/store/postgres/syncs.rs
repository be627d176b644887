//! Syncs that a person asks for, scans of the CRM's whole list, and merged deals.

use async_trait::async_trait;

use super::{PostgresStore, Section, column};
use crate::domain::attribution::Attribution;
use crate::domain::ids::{DealId, TenantId, VendorStageId};
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::sql::syncs::{
    ASK, ASKED, MERGE, REQUEST, TELL, UNLISTED, UNSETTLE, counts, listed, mark_listed,
    merged_credits, open_deals, read, read_credit, real_merges, tenants, to_be_read,
    unsettle_merged,
};
use crate::store::sql::values::{clean, clean_opt, id, micros};
use crate::store::syncs::{ListedPage, Span, SyncProgress, SyncRequest, SyncStore};

const READING: &str = "reading which deals are there";

fn ids(found: &[(String,)]) -> Result<Vec<DealId>, StoreError> {
    found.iter().map(|(deal,)| id("crm_deals", deal)).collect()
}

#[async_trait]
impl SyncStore for PostgresStore {
    async fn ask_sync(
        &self,
        tenant: &TenantId,
        by: &str,
        is_full: bool,
        now: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        let mut tx = self.write_for(tenant, "asking for a sync").await?;
        let (asked_at,): (i64,) = tx
            .one(
                sqlx::query_as(ASK)
                    .bind(tenant.as_str())
                    .bind(micros(now))
                    .bind(clean(by))
                    .bind(i64::from(is_full)),
            )
            .await?;
        tx.commit().await?;
        Ok(from_micros(asked_at))
    }

    async fn sync_request(&self, tenant: &TenantId) -> Result<Option<SyncRequest>, StoreError> {
        let query = sqlx::query(REQUEST).bind(tenant.as_str());
        let rows = self.rows("reading which sync is asked for", query).await?;
        rows.first().map(read).transpose()
    }

    async fn asked_syncs(&self) -> Result<Vec<TenantId>, StoreError> {
        let names: Vec<(String,)> = self
            .list("reading which syncs are asked for", sqlx::query_as(ASKED))
            .await?;
        tenants(&names.into_iter().map(|(name,)| name).collect::<Vec<_>>())
    }

    async fn tell_sync(
        &self,
        tenant: &TenantId,
        asked_at: Timestamp,
        progress: &SyncProgress,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write_for(tenant, "telling how far a sync is").await?;
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
        let done = tx.run(query).await?;
        tx.commit().await?;
        Ok(done == 1)
    }

    async fn note_listed(
        &self,
        tenant: &TenantId,
        page: &ListedPage<'_>,
    ) -> Result<Vec<DealId>, StoreError> {
        let doing = "noting which deals are listed";
        let named = column(page.deals, |deal| deal.id.as_str());
        let mut tx = self.write_in(Section::Crm, tenant, doing).await?;
        let kept = tx
            .rows(
                sqlx::query(listed!("= any ($2)"))
                    .bind(tenant.as_str())
                    .bind(&named),
            )
            .await?;
        if !page.is_archived {
            tx.run(
                sqlx::query(mark_listed!("= any ($2)"))
                    .bind(tenant.as_str())
                    .bind(&named)
                    .bind(micros(page.scan)),
            )
            .await?;
        }
        tx.commit().await?;
        to_be_read(page, &kept)
    }

    async fn unlisted_deals(
        &self,
        tenant: &TenantId,
        scan: Timestamp,
        span: Span<'_>,
    ) -> Result<Vec<DealId>, StoreError> {
        let select = sqlx::query_as(UNLISTED)
            .bind(tenant.as_str())
            .bind(micros(scan))
            .bind(span.after.map_or("", DealId::as_str))
            .bind(i64::from(span.limit));
        ids(&self.list(READING, select).await?)
    }

    async fn open_deals(
        &self,
        tenant: &TenantId,
        closed: &[VendorStageId],
        since: Timestamp,
        span: Span<'_>,
    ) -> Result<Vec<DealId>, StoreError> {
        let select = sqlx::query_as(open_deals!("= any ($2)"))
            .bind(tenant.as_str())
            .bind(column(closed, VendorStageId::as_str))
            .bind(micros(since))
            .bind(span.after.map_or("", DealId::as_str))
            .bind(i64::from(span.limit));
        ids(&self.list(READING, select).await?)
    }

    async fn record_merges(
        &self,
        tenant: &TenantId,
        merges: &[(DealId, DealId)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "noting merged deals";
        let mut tx = self.write_in(Section::Crm, tenant, doing).await?;
        for (from, into) in real_merges(merges) {
            let done = tx
                .run(
                    sqlx::query(MERGE)
                        .bind(tenant.as_str())
                        .bind(from.as_str())
                        .bind(into.as_str())
                        .bind(micros(now)),
                )
                .await?;
            if done == 1 {
                let query = sqlx::query(UNSETTLE);
                tx.run(query.bind(tenant.as_str()).bind(into.as_str()))
                    .await?;
            }
        }
        tx.commit().await
    }

    async fn merged_credits(
        &self,
        tenant: &TenantId,
        deals: &[DealId],
    ) -> Result<Vec<(DealId, Attribution)>, StoreError> {
        let query = sqlx::query(merged_credits!("= any ($2)"))
            .bind(tenant.as_str())
            .bind(column(deals, DealId::as_str));
        let rows = self
            .rows("reading the credits of merged deals", query)
            .await?;
        rows.iter()
            .filter_map(|row| read_credit(row).transpose())
            .collect()
    }

    async fn unsettle_merged(&self, tenant: &TenantId, deals: &[DealId]) -> Result<(), StoreError> {
        let doing = "unsettling merged deals";
        let mut tx = self.write_in(Section::Crm, tenant, doing).await?;
        tx.run(
            sqlx::query(unsettle_merged!("= any ($2)"))
                .bind(tenant.as_str())
                .bind(column(deals, DealId::as_str)),
        )
        .await?;
        tx.commit().await
    }
}
