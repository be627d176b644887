//! Delivery figures, revisable.

use async_trait::async_trait;

use super::{PostgresStore, Section, column};
use crate::domain::ids::TenantId;
use crate::domain::insight::{AdInsight, ReportWindow};
use crate::domain::money::Money;
use crate::domain::time::{Date, Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::insights::{InsightStore, Pull};
use crate::store::sql::insights::{
    AS_OF, KEPT, as_of, hour, known, latest, read, spend, spend_of_hours, told_apart, uncover,
};
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

/// Bounds the campaigns, which are a list at that place.
macro_rules! of_campaigns {
    ($place:literal) => {
        concat!(
            " and (cardinality(",
            $place,
            "::text[]) = 0 or campaign_id = any(",
            $place,
            "))"
        )
    };
}

#[async_trait]
impl InsightStore for PostgresStore {
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
        let campaigns = column(campaigns, |id| id.as_str().to_owned());
        let latest = latest(rows, doing)?;
        let mut tx = self.write_in(Section::Insights, tenant, doing).await?;
        let mut kept = Vec::new();
        if !is_hourly {
            let query = sqlx::query(sqlx::AssertSqlSafe(format!(
                "{KEPT}{}",
                of_campaigns!("$5")
            )))
            .bind(tenant.as_str())
            .bind(since.as_str())
            .bind(until.as_str())
            .bind(micros(pulled_at))
            .bind(campaigns.clone());
            let rows = tx.rows(query).await?;
            kept = rows.iter().map(known).collect::<Result<_, _>>()?;
        }
        let (found, past) = told_apart(kept, latest, micros(pulled_at));
        // The pull read these days whole, so what it does not hold Meta has taken back.
        tx.run(
            sqlx::query(sqlx::AssertSqlSafe(format!(
                "{}{}",
                uncover(is_hourly),
                of_campaigns!("$5")
            )))
            .bind(tenant.as_str())
            .bind(since.as_str())
            .bind(until.as_str())
            .bind(micros(pulled_at))
            .bind(campaigns),
        )
        .await?;
        for chunk in found.chunks(ROWS_MAX) {
            tx.run(
                sqlx::query(concat!(
                    "insert into ad_insights (tenant, pulled_at, ",
                    columns!(),
                    ", known_since)
                     select $1, $2, * from unnest($3::text[], $4::text[], $5::bigint[], $6::text[],
                         $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[],
                         $12::bigint[], $13::text[], $14::bigint[])
                     on conflict (tenant, ad_id, day, hour) do update set
                         ad_set_id = excluded.ad_set_id, campaign_id = excluded.campaign_id,
                         impressions = excluded.impressions, clicks = excluded.clicks,
                         spend_minor = excluded.spend_minor, currency = excluded.currency,
                         reach = excluded.reach, actions_json = excluded.actions_json,
                         pulled_at = excluded.pulled_at, known_since = excluded.known_since
                     where excluded.pulled_at >= ad_insights.pulled_at"
                ))
                .bind(tenant.as_str())
                .bind(micros(pulled_at))
                .bind(column(chunk, |(row, ..)| row.ad.as_str()))
                .bind(column(chunk, |(row, ..)| row.window.day().to_string()))
                .bind(column(chunk, |(row, ..)| hour(row.window)))
                .bind(column(chunk, |(row, ..)| row.ad_set.as_str()))
                .bind(column(chunk, |(row, ..)| row.campaign.as_str()))
                .bind(column(chunk, |(row, ..)| count(row.impressions)))
                .bind(column(chunk, |(row, ..)| count(row.clicks)))
                .bind(column(chunk, |(row, ..)| row.spend.minor()))
                .bind(column(chunk, |(row, ..)| {
                    row.spend.currency().code().to_owned()
                }))
                .bind(column(chunk, |(row, ..)| row.reach.map(count)))
                .bind(column(chunk, |(_, actions, _)| clean(actions)))
                .bind(column(chunk, |(.., since)| *since)),
            )
            .await?;
        }
        for chunk in past.chunks(ROWS_MAX) {
            tx.run(
                sqlx::query(concat!(
                    "insert into ad_insight_past (tenant, known_until, ",
                    columns!(),
                    ", known_since)
                     select $1, $2, * from unnest($3::text[], $4::text[], $5::bigint[], $6::text[],
                         $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[],
                         $12::bigint[], $13::text[], $14::bigint[])
                     on conflict do nothing"
                ))
                .bind(tenant.as_str())
                .bind(micros(pulled_at))
                .bind(column(chunk, |known| known.row.ad.as_str()))
                .bind(column(chunk, |known| known.row.window.day().to_string()))
                .bind(column(chunk, |known| hour(known.row.window)))
                .bind(column(chunk, |known| known.row.ad_set.as_str()))
                .bind(column(chunk, |known| known.row.campaign.as_str()))
                .bind(column(chunk, |known| count(known.row.impressions)))
                .bind(column(chunk, |known| count(known.row.clicks)))
                .bind(column(chunk, |known| known.row.spend.minor()))
                .bind(column(chunk, |known| {
                    known.row.spend.currency().code().to_owned()
                }))
                .bind(column(chunk, |known| known.row.reach.map(count)))
                .bind(column(chunk, |known| known.actions.as_str()))
                .bind(column(chunk, |known| known.since)),
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

    async fn daily_insights_as_of(
        &self,
        tenant: &TenantId,
        since: Date,
        at: Timestamp,
    ) -> Result<Vec<AdInsight>, StoreError> {
        let query = sqlx::query(AS_OF)
            .bind(tenant.as_str())
            .bind(since.to_string())
            .bind(micros(at));
        let rows = self
            .rows("reading insights as they were known", query)
            .await?;
        let rows = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(as_of(rows))
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

    async fn spend_by_hour(
        &self,
        tenant: &TenantId,
        since: Date,
    ) -> Result<Vec<(ReportWindow, Money)>, StoreError> {
        let select = sqlx::query_as(
            "select day, hour, cast(sum(spend_minor) as bigint), currency from ad_insights
             where tenant = $1 and day >= $2 and hour >= 0
             group by day, hour, currency order by day, hour, currency",
        )
        .bind(tenant.as_str())
        .bind(since.to_string());
        spend_of_hours(self.list("reading spend by hour", select).await?)
    }
}
