//! Delivery figures, revisable.

use async_trait::async_trait;

use super::{PostgresStore, Section, column};
use crate::domain::ids::TenantId;
use crate::domain::insight::AdInsight;
use crate::domain::money::Money;
use crate::domain::time::{Date, Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::insights::InsightStore;
use crate::store::sql::insights::{hour, latest, read, spend};
use crate::store::sql::values::{clean, count, micros};

/// Rows of one statement at most, so that no message grows without bound.
const ROWS_MAX: usize = 5_000;

/// The columns of a row. A `*` would break prepared statements when a later release adds one.
macro_rules! columns {
    () => {
        "ad_id, day, hour, ad_set_id, campaign_id, impressions, clicks, spend_minor, currency,
         reach, actions_json"
    };
}

#[async_trait]
impl InsightStore for PostgresStore {
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
        let mut tx = self.write_in(Section::Insights, tenant, doing).await?;
        // The pull read these days whole, so what it does not hold Meta has taken back.
        tx.run(
            sqlx::query(
                "delete from ad_insights
                 where tenant = $1 and day between $2 and $3 and (hour >= 0) = $4
                   and pulled_at <= $5",
            )
            .bind(tenant.as_str())
            .bind(since.to_string())
            .bind(until.to_string())
            .bind(is_hourly)
            .bind(micros(pulled_at)),
        )
        .await?;
        for chunk in latest.chunks(ROWS_MAX) {
            tx.run(
                sqlx::query(concat!(
                    "insert into ad_insights (tenant, pulled_at, ",
                    columns!(),
                    ")
                     select $1, $2, * from unnest($3::text[], $4::text[], $5::bigint[], $6::text[],
                         $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[],
                         $12::bigint[], $13::text[])
                     on conflict (tenant, ad_id, day, hour) do update set
                         ad_set_id = excluded.ad_set_id, campaign_id = excluded.campaign_id,
                         impressions = excluded.impressions, clicks = excluded.clicks,
                         spend_minor = excluded.spend_minor, currency = excluded.currency,
                         reach = excluded.reach, actions_json = excluded.actions_json,
                         pulled_at = excluded.pulled_at
                     where excluded.pulled_at >= ad_insights.pulled_at"
                ))
                .bind(tenant.as_str())
                .bind(micros(pulled_at))
                .bind(column(chunk, |(row, _)| row.ad.as_str()))
                .bind(column(chunk, |(row, _)| row.window.day().to_string()))
                .bind(column(chunk, |(row, _)| hour(row.window)))
                .bind(column(chunk, |(row, _)| row.ad_set.as_str()))
                .bind(column(chunk, |(row, _)| row.campaign.as_str()))
                .bind(column(chunk, |(row, _)| count(row.impressions)))
                .bind(column(chunk, |(row, _)| count(row.clicks)))
                .bind(column(chunk, |(row, _)| row.spend.minor()))
                .bind(column(chunk, |(row, _)| {
                    row.spend.currency().code().to_owned()
                }))
                .bind(column(chunk, |(row, _)| row.reach.map(count)))
                .bind(column(chunk, |(_, actions)| clean(actions))),
            )
            .await?;
        }
        tx.run(
            sqlx::query(
                "insert into insight_watermarks (tenant, granularity, pulled_at)
                 values ($1, $2, $3)
                 on conflict (tenant, granularity) do update set pulled_at = excluded.pulled_at
                 where excluded.pulled_at > insight_watermarks.pulled_at",
            )
            .bind(tenant.as_str())
            .bind(if is_hourly { "hourly" } else { "daily" })
            .bind(micros(pulled_at)),
        )
        .await?;
        tx.commit().await
    }

    async fn daily_insights(
        &self,
        tenant: &TenantId,
        since: Date,
    ) -> Result<Vec<AdInsight>, StoreError> {
        let query = sqlx::query(concat!(
            "select ",
            columns!(),
            " from ad_insights where tenant = $1 and day >= $2 and hour = -1 order by ad_id, day"
        ))
        .bind(tenant.as_str())
        .bind(since.to_string());
        let rows = self.rows("reading daily insights", query).await?;
        rows.iter().map(read).collect()
    }

    async fn hourly_insights(
        &self,
        tenant: &TenantId,
        since: Date,
    ) -> Result<Vec<AdInsight>, StoreError> {
        let query = sqlx::query(concat!(
            "select ",
            columns!(),
            " from ad_insights where tenant = $1 and day >= $2 and hour >= 0
             order by ad_id, day, hour"
        ))
        .bind(tenant.as_str())
        .bind(since.to_string());
        let rows = self.rows("reading hourly insights", query).await?;
        rows.iter().map(read).collect()
    }

    async fn insights_watermark(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError> {
        let select = sqlx::query_as(
            "select pulled_at from insight_watermarks where tenant = $1 and granularity = 'daily'",
        )
        .bind(tenant.as_str());
        let found: Vec<(i64,)> = self
            .list("reading the watermark of insights", select)
            .await?;
        Ok(found.first().map(|(at,)| from_micros(*at)))
    }

    async fn spend_by_day(
        &self,
        tenant: &TenantId,
        since: Date,
    ) -> Result<Vec<(Date, Money)>, StoreError> {
        let select = sqlx::query_as(
            "select day, cast(sum(spend_minor) as bigint), currency from ad_insights
             where tenant = $1 and day >= $2 and hour = -1
             group by day, currency order by day, currency",
        )
        .bind(tenant.as_str())
        .bind(since.to_string());
        spend(self.list("reading spend by day", select).await?)
    }
}
