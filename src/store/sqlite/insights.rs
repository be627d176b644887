//! Delivery figures, revisable.

use async_trait::async_trait;
use sqlx::QueryBuilder;

use super::faults::fault;
use super::{BIND_LIMIT, SqliteStore};
use crate::domain::ids::TenantId;
use crate::domain::insight::AdInsight;
use crate::domain::money::Money;
use crate::domain::time::{Date, Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::insights::InsightStore;
use crate::store::sql::insights::{hour, latest, read, spend};
use crate::store::sql::values::{count, micros};

/// Columns bound per row.
const COLUMNS: usize = 13;

#[async_trait]
impl InsightStore for SqliteStore {
    async fn record_insights(
        &self,
        tenant: &TenantId,
        rows: &[AdInsight],
        since: Date,
        until: Date,
        is_hourly: bool,
        pulled_at: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "recording insights";
        let latest = latest(rows, doing)?;
        let mut tx = self.write_for(tenant, doing).await?;
        // The pull read these days whole, so what it does not hold Meta has taken back.
        sqlx::query(
            "delete from ad_insights
             where tenant = $1 and day between $2 and $3 and (hour >= 0) = $4 and pulled_at <= $5",
        )
        .bind(tenant.as_str())
        .bind(since.to_string())
        .bind(until.to_string())
        .bind(i64::from(is_hourly))
        .bind(micros(pulled_at))
        .execute(&mut *tx)
        .await
        .map_err(fault(doing))?;
        for chunk in latest.chunks(BIND_LIMIT / COLUMNS) {
            let mut query = QueryBuilder::new(
                "insert into ad_insights (tenant, ad_id, day, hour, ad_set_id, campaign_id,
                     impressions, clicks, spend_minor, currency, reach, actions_json, pulled_at) ",
            );
            query.push_values(chunk, |mut values, (row, actions)| {
                values
                    .push_bind(tenant.as_str())
                    .push_bind(row.ad.as_str())
                    .push_bind(row.window.day().to_string())
                    .push_bind(hour(row.window))
                    .push_bind(row.ad_set.as_str())
                    .push_bind(row.campaign.as_str())
                    .push_bind(count(row.impressions))
                    .push_bind(count(row.clicks))
                    .push_bind(row.spend.minor())
                    .push_bind(row.spend.currency().code().to_owned())
                    .push_bind(row.reach.map(count))
                    .push_bind(actions.as_str())
                    .push_bind(micros(pulled_at));
            });
            query.push(
                " on conflict (tenant, ad_id, day, hour) do update set
                     ad_set_id = excluded.ad_set_id, campaign_id = excluded.campaign_id,
                     impressions = excluded.impressions, clicks = excluded.clicks,
                     spend_minor = excluded.spend_minor, currency = excluded.currency,
                     reach = excluded.reach, actions_json = excluded.actions_json,
                     pulled_at = excluded.pulled_at
                 where excluded.pulled_at >= ad_insights.pulled_at",
            );
            query
                .build()
                .persistent(false) // its length differs each time
                .execute(&mut *tx)
                .await
                .map_err(fault(doing))?;
        }
        sqlx::query(
            "insert into insight_watermarks (tenant, granularity, pulled_at) values ($1, $2, $3)
             on conflict (tenant, granularity) do update set pulled_at = excluded.pulled_at
             where excluded.pulled_at > insight_watermarks.pulled_at",
        )
        .bind(tenant.as_str())
        .bind(if is_hourly { "hourly" } else { "daily" })
        .bind(micros(pulled_at))
        .execute(&mut *tx)
        .await
        .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))
    }

    async fn daily_insights(
        &self,
        tenant: &TenantId,
        since: Date,
    ) -> Result<Vec<AdInsight>, StoreError> {
        let rows = sqlx::query(
            "select * from ad_insights where tenant = $1 and day >= $2 and hour = -1
             order by ad_id, day",
        )
        .bind(tenant.as_str())
        .bind(since.to_string())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading daily insights"))?;
        rows.iter().map(read).collect()
    }

    async fn hourly_insights(
        &self,
        tenant: &TenantId,
        since: Date,
    ) -> Result<Vec<AdInsight>, StoreError> {
        let rows = sqlx::query(
            "select * from ad_insights where tenant = $1 and day >= $2 and hour >= 0
             order by ad_id, day, hour",
        )
        .bind(tenant.as_str())
        .bind(since.to_string())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading hourly insights"))?;
        rows.iter().map(read).collect()
    }

    async fn insights_watermark(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> = sqlx::query_scalar(
            "select pulled_at from insight_watermarks where tenant = $1 and granularity = 'daily'",
        )
        .bind(tenant.as_str())
        .fetch_optional(&self.readers)
        .await
        .map_err(fault("reading the watermark of insights"))?;
        Ok(at.map(from_micros))
    }

    async fn spend_by_day(
        &self,
        tenant: &TenantId,
        since: Date,
    ) -> Result<Vec<(Date, Money)>, StoreError> {
        let rows: Vec<(String, i64, String)> = sqlx::query_as(
            "select day, cast(sum(spend_minor) as bigint), currency from ad_insights
             where tenant = $1 and day >= $2 and hour = -1
             group by day, currency order by day, currency",
        )
        .bind(tenant.as_str())
        .bind(since.to_string())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading spend by day"))?;
        spend(rows)
    }
}
