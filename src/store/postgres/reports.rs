//! What other programs report.

use async_trait::async_trait;

use super::PostgresStore;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::reports::{ReportSource, ReportStore, ReportedConversion, ReportedResult};
use crate::store::sql::reports::{
    LIST_CONVERSIONS, LIST_RESULTS, RECORD_CONVERSION, RECORD_RESULT, read_conversion, read_result,
};
use crate::store::sql::values::{CreditColumns, clean, micros};

#[async_trait]
impl ReportStore for PostgresStore {
    async fn record_reported_conversion(
        &self,
        tenant: &TenantId,
        conversion: &ReportedConversion,
    ) -> Result<(), StoreError> {
        let doing = "keeping a reported conversion";
        let credit = CreditColumns::of(conversion.attribution.as_ref());
        let mut tx = self.write_for(tenant, doing).await?;
        let query = sqlx::query(RECORD_CONVERSION)
            .bind(tenant.as_str())
            .bind(clean(&conversion.id))
            .bind(clean(&conversion.kind))
            .bind(conversion.value.minor())
            .bind(conversion.value.currency().code().to_owned())
            .bind(micros(conversion.at))
            .bind(micros(conversion.reported_at))
            .bind(credit.method)
            .bind(credit.confidence)
            .bind(credit.ad_id)
            .bind(credit.ad_set_id)
            .bind(credit.campaign_id)
            .bind(credit.clicked_at)
            .bind(credit.reason);
        tx.run(query).await?;
        tx.commit().await
    }

    async fn reported_conversions(
        &self,
        tenant: &TenantId,
        before: Option<&(Timestamp, String)>,
        limit: u32,
    ) -> Result<Vec<ReportedConversion>, StoreError> {
        let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (micros(*at), id.as_str()));
        let query = sqlx::query(LIST_CONVERSIONS)
            .bind(tenant.as_str())
            .bind(at)
            .bind(id)
            .bind(i64::from(limit));
        let rows = self.rows("reading reported conversions", query).await?;
        rows.iter().map(read_conversion).collect()
    }

    async fn record_reported_results(
        &self,
        tenant: &TenantId,
        source: ReportSource,
        results: &[ReportedResult],
    ) -> Result<(), StoreError> {
        let doing = "keeping reported results";
        let mut tx = self.write_for(tenant, doing).await?;
        // In the order of their keys: two that report the same ads would else wait for each other.
        let mut results: Vec<&ReportedResult> = results.iter().collect();
        results.sort_by(|a, b| a.ad.cmp(&b.ad));
        for result in results {
            let query = sqlx::query(RECORD_RESULT)
                .bind(tenant.as_str())
                .bind(source.as_str())
                .bind(result.ad.as_str())
                .bind(result.value.minor())
                .bind(result.spend.map(|spend| spend.minor()))
                .bind(result.value.currency().code().to_owned())
                .bind(micros(result.reported_at));
            tx.run(query).await?;
        }
        tx.commit().await
    }

    async fn reported_results(
        &self,
        tenant: &TenantId,
        source: ReportSource,
    ) -> Result<Vec<ReportedResult>, StoreError> {
        let query = sqlx::query(LIST_RESULTS)
            .bind(tenant.as_str())
            .bind(source.as_str());
        let rows = self.rows("reading reported results", query).await?;
        rows.iter().map(read_result).collect()
    }
}
