//! Delivery figures, revisable.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::QueryBuilder;
use sqlx::sqlite::SqliteRow;

use super::faults::fault;
use super::values::{Columns, corrupt, count, day, micros, money};
use super::{BIND_LIMIT, SqliteStore};
use crate::domain::ids::TenantId;
use crate::domain::insight::{ActionCount, AdInsight, ReportWindow};
use crate::domain::money::Money;
use crate::domain::time::{Date, Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::insights::InsightStore;

const TABLE: &str = "ad_insights";

/// The hour column of a daily row.
const WHOLE_DAY: i64 = -1;

/// Columns bound per row.
const COLUMNS: usize = 13;

fn hour(window: ReportWindow) -> i64 {
    window.hour().map_or(WHOLE_DAY, i64::from)
}

fn read(row: &SqliteRow) -> Result<AdInsight, StoreError> {
    let row = Columns::of(TABLE, row);
    let date = day(TABLE, row.get("day")?)?;
    let window = match row.get::<i64>("hour")? {
        WHOLE_DAY => ReportWindow::Day(date),
        hour => ReportWindow::Hour(
            date,
            u8::try_from(hour).map_err(|cause| corrupt(TABLE, cause))?,
        ),
    };
    let actions: Vec<(String, f64)> =
        serde_json::from_str(row.get("actions_json")?).map_err(|cause| corrupt(TABLE, cause))?;
    Ok(AdInsight {
        ad: row.id("ad_id")?,
        ad_set: row.id("ad_set_id")?,
        campaign: row.id("campaign_id")?,
        window,
        impressions: row.count("impressions")?,
        clicks: row.count("clicks")?,
        spend: money(TABLE, row.get("spend_minor")?, row.get("currency")?)?,
        reach: row.get::<Option<i64>>("reach")?.map(super::values::uncount),
        actions: actions
            .into_iter()
            .map(|(kind, count)| ActionCount { kind, count })
            .collect(),
    })
}

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
        // Of two rows of one ad and window in one pull the later stands.
        let mut latest = BTreeMap::new();
        for row in rows {
            let pairs: Vec<(&str, f64)> = row
                .actions
                .iter()
                .map(|action| (action.kind.as_str(), action.count))
                .collect();
            let actions = serde_json::to_string(&pairs).map_err(|cause| StoreError::Broken {
                doing,
                cause: Box::new(cause),
            })?;
            // In JSON a NUL is an escape; it must not come back to life in a reader.
            let actions = actions.replace("\\u0000", "");
            latest.insert((&row.ad, row.window), (row, actions));
        }
        let latest: Vec<_> = latest.into_values().collect();

        let mut tx = self.write(doing).await?;
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
        rows.into_iter()
            .map(|(date, minor, currency)| {
                Ok((day(TABLE, &date)?, money(TABLE, minor, &currency)?))
            })
            .collect()
    }
}
