//! Past ads: their text, its vector, and what came of them.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::ids::{AdId, TenantId};
use crate::store::StoreError;
use crate::store::sql::values::{clean, count, micros, micros_opt};
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
                     spend_minor, pipeline_minor, currency, pipeline_currency, is_winner, updated_at,
                     format, call_to_action, theme, made_at, is_mature, is_by_hand, is_left_out)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
                     $15, $16, $17, $18, $19, $20,
                     (select coalesce(max(is_left_out), 0) from winners
                      where tenant = $1 and ad_id = $2))
                 on conflict (tenant, ad_id, model) do update set
                     name = excluded.name, text = excluded.text, vector = excluded.vector,
                     impressions = excluded.impressions, clicks = excluded.clicks,
                     spend_minor = excluded.spend_minor, pipeline_minor = excluded.pipeline_minor,
                     currency = excluded.currency, pipeline_currency = excluded.pipeline_currency,
                     is_winner = excluded.is_winner, updated_at = excluded.updated_at,
                     format = excluded.format, call_to_action = excluded.call_to_action,
                     theme = excluded.theme, made_at = excluded.made_at,
                     is_mature = excluded.is_mature, is_by_hand = excluded.is_by_hand",
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
            .bind(clean(&ad.format))
            .bind(clean(&ad.call_to_action))
            .bind(clean(&ad.theme))
            .bind(micros_opt(ad.made_at))
            .bind(i64::from(ad.is_mature))
            .bind(i64::from(ad.is_by_hand))
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

    async fn leave_out(
        &self,
        tenant: &TenantId,
        ad: &AdId,
        is_left_out: bool,
    ) -> Result<bool, StoreError> {
        let doing = "leaving a past ad out";
        let mut tx = self.write_for(tenant, doing).await?;
        let done =
            sqlx::query("update winners set is_left_out = $3 where tenant = $1 and ad_id = $2")
                .bind(tenant.as_str())
                .bind(ad.as_str())
                .bind(i64::from(is_left_out))
                .execute(&mut *tx)
                .await
                .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(done.rows_affected() > 0)
    }
}
