//! Delivery figures, revisable.

use async_trait::async_trait;
use sqlx::query_builder::Separated;
use sqlx::{QueryBuilder, Sqlite};

use super::faults::fault;
use super::{BIND_LIMIT, SqliteStore};
use crate::domain::ids::TenantId;
use crate::domain::insight::{AdInsight, ReportWindow};
use crate::domain::money::Money;
use crate::domain::time::{Date, Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::insights::{InsightStore, Pull};
use crate::store::sql::insights::{
    AS_OF, KEPT, as_of, hour, known, latest, read, spend, spend_of_hours, told_apart, uncover,
};
use crate::store::sql::json;
use crate::store::sql::values::{count, micros};

/// Columns bound per row.
const COLUMNS: usize = 14;

/// Bounds the campaigns, whose ids are a JSON list at that place.
macro_rules! of_campaigns {
    ($place:literal) => {
        concat!(
            " and (",
            $place,
            " = '[]' or campaign_id in (select value from json_each(",
            $place,
            ")))"
        )
    };
}

/// Binds whose row it is, of what, and the figures, in the order of the columns.
fn push_figures(
    values: &mut Separated<'_, Sqlite, &'static str>,
    tenant: &TenantId,
    row: &AdInsight,
) {
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
        .push_bind(row.reach.map(count));
}

#[async_trait]
impl InsightStore for SqliteStore {
    async fn record_pull(
        &self,
        tenant: &TenantId,
        rows: &[AdInsight],
        pull: &Pull,
    ) -> Result<(), StoreError> {
        let doing = "recording insights";
        let Pull {
            since,
            until,
            is_hourly,
            campaigns,
            pulled_at,
        } = pull;
        let (is_hourly, pulled_at) = (*is_hourly, *pulled_at);
        let (since, until) = (since.to_string(), until.to_string());
        let campaigns: Vec<&str> = campaigns.iter().map(|id| id.as_str()).collect();
        let campaigns = json(&campaigns, doing)?;
        let latest = latest(rows, doing)?;
        let mut tx = self.write_for(tenant, doing).await?;
        let mut kept = Vec::new();
        if !is_hourly {
            let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
                "{KEPT}{}",
                of_campaigns!("$5")
            )))
            .bind(tenant.as_str())
            .bind(since.as_str())
            .bind(until.as_str())
            .bind(micros(pulled_at))
            .bind(campaigns.as_str())
            .fetch_all(&mut *tx)
            .await
            .map_err(fault(doing))?;
            kept = rows.iter().map(known).collect::<Result<_, _>>()?;
        }
        let (found, past) = told_apart(kept, latest, micros(pulled_at));
        // The pull read these days whole, so what it does not hold Meta has taken back.
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "{}{}",
            uncover(is_hourly),
            of_campaigns!("$5")
        )))
        .bind(tenant.as_str())
        .bind(since.as_str())
        .bind(until.as_str())
        .bind(micros(pulled_at))
        .bind(campaigns.as_str())
        .execute(&mut *tx)
        .await
        .map_err(fault(doing))?;
        for chunk in found.chunks(BIND_LIMIT / COLUMNS) {
            let mut query = QueryBuilder::new(
                "insert into ad_insights (tenant, ad_id, day, hour, ad_set_id, campaign_id,
                     impressions, clicks, spend_minor, currency, reach, actions_json, pulled_at,
                     known_since) ",
            );
            query.push_values(chunk, |mut values, (row, actions, known_since)| {
                push_figures(&mut values, tenant, row);
                values
                    .push_bind(actions.as_str())
                    .push_bind(micros(pulled_at))
                    .push_bind(*known_since);
            });
            query.push(
                " on conflict (tenant, ad_id, day, hour) do update set
                     ad_set_id = excluded.ad_set_id, campaign_id = excluded.campaign_id,
                     impressions = excluded.impressions, clicks = excluded.clicks,
                     spend_minor = excluded.spend_minor, currency = excluded.currency,
                     reach = excluded.reach, actions_json = excluded.actions_json,
                     pulled_at = excluded.pulled_at, known_since = excluded.known_since
                 where excluded.pulled_at >= ad_insights.pulled_at",
            );
            query
                .build()
                .persistent(false) // its length differs each time
                .execute(&mut *tx)
                .await
                .map_err(fault(doing))?;
        }
        for chunk in past.chunks(BIND_LIMIT / COLUMNS) {
            let mut query = QueryBuilder::new(
                "insert into ad_insight_past (tenant, ad_id, day, hour, ad_set_id, campaign_id,
                     impressions, clicks, spend_minor, currency, reach, actions_json, known_since,
                     known_until) ",
            );
            query.push_values(chunk, |mut values, known| {
                push_figures(&mut values, tenant, &known.row);
                values
                    .push_bind(known.actions.as_str())
                    .push_bind(known.since)
                    .push_bind(micros(pulled_at));
            });
            query.push(" on conflict do nothing");
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

    async fn daily_insights_as_of(
        &self,
        tenant: &TenantId,
        since: Date,
        at: Timestamp,
    ) -> Result<Vec<AdInsight>, StoreError> {
        let rows = sqlx::query(AS_OF)
            .bind(tenant.as_str())
            .bind(since.to_string())
            .bind(micros(at))
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading insights as they were known"))?;
        let rows = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(as_of(rows))
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

    async fn spend_by_hour(
        &self,
        tenant: &TenantId,
        since: Date,
    ) -> Result<Vec<(ReportWindow, Money)>, StoreError> {
        let rows: Vec<(String, i64, i64, String)> = sqlx::query_as(
            "select day, hour, cast(sum(spend_minor) as bigint), currency from ad_insights
             where tenant = $1 and day >= $2 and hour >= 0
             group by day, hour, currency order by day, hour, currency",
        )
        .bind(tenant.as_str())
        .bind(since.to_string())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading spend by hour"))?;
        spend_of_hours(rows)
    }
}
