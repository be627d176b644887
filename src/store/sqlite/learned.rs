//! What a tenant's deals have shown.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::attribution::reliability::Band;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::domain::worth::LearnedStage;
use crate::store::StoreError;
use crate::store::learned::LearnedStore;
use crate::store::sql::learned::{read_band, read_stage};
use crate::store::sql::values::{count, micros};

#[async_trait]
impl LearnedStore for SqliteStore {
    async fn record_learned_stages(
        &self,
        tenant: &TenantId,
        stages: &[LearnedStage],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "recording what stages are worth";
        let mut tx = self.write_for(tenant, doing).await?;
        for stage in stages {
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
            .bind(stage.value.currency().code().to_owned())
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn learned_stages(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(LearnedStage, Timestamp)>, StoreError> {
        let rows = sqlx::query(
            "select * from synthetic_revenue_config
             where tenant = $1 and learned_at is not null order by stage",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading what stages are worth"))?;
        rows.iter().map(read_stage).collect()
    }

    async fn record_reliability(
        &self,
        tenant: &TenantId,
        bands: &[Band],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "recording how often matches were right";
        let mut tx = self.write_for(tenant, doing).await?;
        sqlx::query("delete from attribution_reliability where tenant = $1")
            .bind(tenant.as_str())
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        for band in bands {
            sqlx::query(
                "insert into attribution_reliability (tenant, method, tenth, matched, said,
                     was_right, judged_at)
                 values ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(tenant.as_str())
            .bind(band.method.as_str())
            .bind(i64::from(band.tenth))
            .bind(band.matched)
            .bind(band.said)
            .bind(band.was_right)
            .bind(micros(now))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn reliability(&self, tenant: &TenantId) -> Result<Vec<Band>, StoreError> {
        let rows = sqlx::query(
            "select * from attribution_reliability where tenant = $1 order by method, tenth",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading how often matches were right"))?;
        rows.iter().map(read_band).collect()
    }
}
