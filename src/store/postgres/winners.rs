//! Past ads: their text, its vector, and what came of them.

use async_trait::async_trait;

use super::{PostgresStore, column};
use crate::domain::ids::{AdId, TenantId};
use crate::store::StoreError;
use crate::store::sql::last_of_each;
use crate::store::sql::values::{clean, count, micros, micros_opt};
use crate::store::sql::winners::{read, to_bytes};
use crate::store::winners::{PastAd, WinnerStore};

#[async_trait]
impl WinnerStore for PostgresStore {
    async fn record_past_ads(&self, tenant: &TenantId, ads: &[PastAd]) -> Result<(), StoreError> {
        let ads = last_of_each(ads, |ad| (ad.ad.as_str(), clean(&ad.model)));
        let mut tx = self.write_for(tenant, "recording past ads").await?;
        tx.run(
            sqlx::query(
                "insert into winners (tenant, ad_id, model, name, text, vector, impressions, clicks,
                     spend_minor, pipeline_minor, currency, pipeline_currency, is_winner, updated_at,
                     format, call_to_action, theme, made_at, is_mature, is_by_hand, is_left_out)
                 select $1, new.*,
                     (select coalesce(max(old.is_left_out), 0) from winners old
                      where old.tenant = $1 and old.ad_id = new.ad_id)
                 from unnest($2::text[], $3::text[], $4::text[], $5::text[],
                     $6::bytea[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
                     $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::text[],
                     $16::text[], $17::text[], $18::bigint[], $19::bigint[], $20::bigint[])
                     as new (ad_id, model)
                 order by new.ad_id, new.model
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
            .bind(column(&ads, |ad| ad.ad.as_str()))
            .bind(column(&ads, |ad| clean(&ad.model)))
            .bind(column(&ads, |ad| clean(&ad.name)))
            .bind(column(&ads, |ad| clean(&ad.text)))
            .bind(column(&ads, |ad| to_bytes(&ad.vector)))
            .bind(column(&ads, |ad| count(ad.impressions)))
            .bind(column(&ads, |ad| count(ad.clicks)))
            .bind(column(&ads, |ad| ad.spend.minor()))
            .bind(column(&ads, |ad| ad.pipeline.minor()))
            .bind(column(&ads, |ad| ad.spend.currency().code().to_owned()))
            .bind(column(&ads, |ad| ad.pipeline.currency().code().to_owned()))
            .bind(column(&ads, |ad| i64::from(ad.is_winner)))
            .bind(column(&ads, |ad| micros(ad.updated_at)))
            .bind(column(&ads, |ad| clean(&ad.format)))
            .bind(column(&ads, |ad| clean(&ad.call_to_action)))
            .bind(column(&ads, |ad| clean(&ad.theme)))
            .bind(column(&ads, |ad| micros_opt(ad.made_at)))
            .bind(column(&ads, |ad| i64::from(ad.is_mature)))
            .bind(column(&ads, |ad| i64::from(ad.is_by_hand))),
        )
        .await?;
        tx.commit().await
    }

    async fn past_ads(&self, tenant: &TenantId, model: &str) -> Result<Vec<PastAd>, StoreError> {
        let query = sqlx::query(
            "select ad_id, model, name, text, vector, impressions, clicks, spend_minor,
                 pipeline_minor, currency, pipeline_currency, is_winner, updated_at,
                 format, call_to_action, theme, made_at, is_mature, is_by_hand, is_left_out
             from winners where tenant = $1 and model = $2 order by ad_id",
        )
        .bind(tenant.as_str())
        .bind(clean(model));
        let rows = self.rows("reading past ads", query).await?;
        rows.iter().map(read).collect()
    }

    async fn leave_out(
        &self,
        tenant: &TenantId,
        ad: &AdId,
        is_left_out: bool,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write_for(tenant, "leaving a past ad out").await?;
        let done = tx
            .run(
                sqlx::query("update winners set is_left_out = $3 where tenant = $1 and ad_id = $2")
                    .bind(tenant.as_str())
                    .bind(ad.as_str())
                    .bind(i64::from(is_left_out)),
            )
            .await?;
        tx.commit().await?;
        Ok(done > 0)
    }
}
