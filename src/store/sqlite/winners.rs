//! Past ads: their text, its vector, and what came of them.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::ids::TenantId;
use crate::store::StoreError;
use crate::store::sql::values::{clean, count, micros};
use crate::store::sql::winners::{read, to_bytes};
use crate::store::winners::{PastAd, WinnerStore};

#[async_trait]
impl WinnerStore for SqliteStore {
    async fn record_past_ads(&self, tenant: &TenantId, ads: &[PastAd]) -> Result<(), StoreError> {
        let doing = "recording past ads";
        let mut tx = self.write_for(tenant, doing).await?;
        for ad in ads {
            sqlx::query(
                "insert into winners (tenant, ad_id, model, name, text, vector, impressions, clicks,
                     spend_minor, pipeline_minor, currency, pipeline_currency, is_winner, updated_at)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
                 on conflict (tenant, ad_id, model) do update set
                     name = excluded.name, text = excluded.text, vector = excluded.vector,
                     impressions = excluded.impressions, clicks = excluded.clicks,
                     spend_minor = excluded.spend_minor, pipeline_minor = excluded.pipeline_minor,
                     currency = excluded.currency, pipeline_currency = excluded.pipeline_currency,
                     is_winner = excluded.is_winner, updated_at = excluded.updated_at",
            )
            .bind(tenant.as_str())
            .bind(ad.ad.as_str())
            .bind(clean(&ad.model))
            .bind(clean(&ad.name))
            .bind(clean(&ad.text))
            .bind(to_bytes(&ad.vector))
            .bind(count(ad.impressions))
            .bind(count(ad.clicks))
            .bind(ad.spend.minor())
            .bind(ad.pipeline.minor())
            .bind(ad.spend.currency().code())
            .bind(ad.pipeline.currency().code())
            .bind(i64::from(ad.is_winner))
            .bind(micros(ad.updated_at))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn past_ads(&self, tenant: &TenantId, model: &str) -> Result<Vec<PastAd>, StoreError> {
        let rows =
            sqlx::query("select * from winners where tenant = $1 and model = $2 order by ad_id")
                .bind(tenant.as_str())
                .bind(model)
                .fetch_all(&self.readers)
                .await
                .map_err(fault("reading past ads"))?;
        rows.iter().map(read).collect()
    }
}
