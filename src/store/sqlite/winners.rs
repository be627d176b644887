//! Past ads: their text, its vector, and what came of them.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::faults::fault;
use super::values::{Columns, clean, corrupt, count, micros, money};
use crate::domain::ids::TenantId;
use crate::store::StoreError;
use crate::store::winners::{PastAd, WinnerStore};

const TABLE: &str = "winners";

fn to_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn from_bytes(bytes: &[u8]) -> Result<Vec<f32>, StoreError> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    if rest.is_empty() {
        Ok(numbers.iter().map(|b| f32::from_le_bytes(*b)).collect())
    } else {
        Err(corrupt(TABLE, "a vector has a broken number"))
    }
}

fn read(row: &SqliteRow) -> Result<PastAd, StoreError> {
    let row = Columns::of(TABLE, row);
    Ok(PastAd {
        ad: row.id("ad_id")?,
        name: row.get("name")?,
        text: row.get("text")?,
        model: row.get("model")?,
        vector: from_bytes(row.get("vector")?)?,
        impressions: row.count("impressions")?,
        clicks: row.count("clicks")?,
        spend: money(TABLE, row.get("spend_minor")?, row.get("currency")?)?,
        pipeline: money(
            TABLE,
            row.get("pipeline_minor")?,
            row.get("pipeline_currency")?,
        )?,
        is_winner: row.flag("is_winner")?,
        updated_at: row.at("updated_at")?,
    })
}

#[async_trait]
impl WinnerStore for SqliteStore {
    async fn record_past_ads(&self, tenant: &TenantId, ads: &[PastAd]) -> Result<(), StoreError> {
        let doing = "recording past ads";
        let mut tx = self.write(doing).await?;
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
