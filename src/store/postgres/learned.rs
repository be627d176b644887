//! What a tenant's deals have shown.

use async_trait::async_trait;

use super::{PostgresStore, column};
use crate::domain::attribution::reliability::Band;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::domain::worth::LearnedStage;
use crate::store::StoreError;
use crate::store::learned::LearnedStore;
use crate::store::sql::learned::{read_band, read_stage};
use crate::store::sql::values::{count, micros};

#[async_trait]
impl LearnedStore for PostgresStore {
    async fn record_learned_stages(
        &self,
        tenant: &TenantId,
        stages: &[LearnedStage],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self
            .write_for(tenant, "recording what stages are worth")
            .await?;
        // A handful of rows, once a night.
        for stage in stages {
            tx.run(
                sqlx::query(
                    "update synthetic_revenue_config set
                         learned_rate = $3, learned_rate_low = $4, learned_rate_high = $5,
                         learned_days_to_won = $6, learned_from_deals = $7, learned_won = $8,
                         learned_lost = $9, learned_minor = $10, learned_low_minor = $11,
                         learned_high_minor = $12, learned_at = $13
                     where tenant = $1 and stage = $2 and currency = $14",
                )
                .bind(tenant.as_str())
                .bind(stage.stage.as_str())
                .bind(stage.rate.mid)
                .bind(stage.rate.low)
                .bind(stage.rate.high)
                .bind(stage.days_to_won)
                .bind(count(stage.deals))
                .bind(count(stage.won))
                .bind(count(stage.lost))
                .bind(stage.value.minor())
                .bind(stage.low.minor())
                .bind(stage.high.minor())
                .bind(micros(now))
                .bind(stage.value.currency().code().to_owned()),
            )
            .await?;
        }
        tx.commit().await
    }

    async fn learned_stages(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(LearnedStage, Timestamp)>, StoreError> {
        let query = sqlx::query(
            "select stage, currency, learned_from_deals, learned_won, learned_lost, learned_rate,
                 learned_rate_low, learned_rate_high, learned_days_to_won, learned_minor,
                 learned_low_minor, learned_high_minor, learned_at
             from synthetic_revenue_config
             where tenant = $1 and learned_at is not null order by stage",
        )
        .bind(tenant.as_str());
        let rows = self.rows("reading what stages are worth", query).await?;
        rows.iter().map(read_stage).collect()
    }

    async fn record_reliability(
        &self,
        tenant: &TenantId,
        bands: &[Band],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self
            .write_for(tenant, "recording how often matches were right")
            .await?;
        tx.run(
            sqlx::query("delete from attribution_reliability where tenant = $1")
                .bind(tenant.as_str()),
        )
        .await?;
        tx.run(
            sqlx::query(
                "insert into attribution_reliability (tenant, judged_at, method, tenth, matched,
                     said, was_right)
                 select $1, $2, * from unnest($3::text[], $4::bigint[], $5::double precision[],
                     $6::double precision[], $7::double precision[])",
            )
            .bind(tenant.as_str())
            .bind(micros(now))
            .bind(column(bands, |band| band.method.as_str()))
            .bind(column(bands, |band| i64::from(band.tenth)))
            .bind(column(bands, |band| band.matched))
            .bind(column(bands, |band| band.said))
            .bind(column(bands, |band| band.was_right)),
        )
        .await?;
        tx.commit().await
    }

    async fn reliability(&self, tenant: &TenantId) -> Result<Vec<Band>, StoreError> {
        let query = sqlx::query(
            "select method, tenth, matched, said, was_right
             from attribution_reliability where tenant = $1 order by method, tenth",
        )
        .bind(tenant.as_str());
        let rows = self
            .rows("reading how often matches were right", query)
            .await?;
        rows.iter().map(read_band).collect()
    }
}
