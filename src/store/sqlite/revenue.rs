//! The ledger of synthetic revenue and the attempts of attribution behind it.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::attribution::gap::Gap;
use crate::domain::attribution::{Attempt, Method};
use crate::domain::coverage::Cohort;
use crate::domain::deal::StageValue;
use crate::domain::ids::{AdId, DealId, TenantId};
use crate::domain::money::Currency;
use crate::domain::revenue::RevenueEntry;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::revenue::{RevenueStore, RevenueTotals, SettledDeal};
use crate::store::sql::revenue::{
    BY_QUARTER, COVERAGE, CohortRow, by_quarter, check_entries, cohorts, read_attempts, read_entry,
    totals,
};
use crate::store::sql::values::{CreditColumns, clean, clean_opt, id, micros, micros_opt};
use crate::store::sql::{json, not_one};

const DOING: &str = "settling a deal";

/// Writes the credit into the deal and takes it off the unsettled ones.
///
/// Settling moves both revisions on, so that a second settling of the same state is noticed and
/// nothing is counted twice; if the deal changed meanwhile its revision stays ahead.
async fn settle_row(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    settled: &SettledDeal,
    now: Timestamp,
) -> Result<(), StoreError> {
    let credit = CreditColumns::of(settled.attribution.as_ref());
    let done = sqlx::query(
        "update crm_deals
         set revision = revision + 1, settled_revision = $3 + 1, settled_at = $4, retry_at = $5,
             fault = $6, method = $7, confidence = $8, ad_id = $9, ad_set_id = $10,
             campaign_id = $11, visit_id = $12, clicked_at = $13, reason = $14, gap = $15
         where tenant = $1 and id = $2 and settled_revision <= $3 and revision >= $3",
    )
    .bind(tenant.as_str())
    .bind(settled.deal.as_str())
    .bind(settled.revision)
    .bind(micros(now))
    .bind(micros_opt(settled.retry_at))
    .bind(clean_opt(settled.fault.as_deref()))
    .bind(credit.method)
    .bind(credit.confidence)
    .bind(credit.ad_id)
    .bind(credit.ad_set_id)
    .bind(credit.campaign_id)
    .bind(credit.visit_id)
    .bind(credit.clicked_at)
    .bind(credit.reason)
    .bind(settled.gap.map(Gap::as_str))
    .execute(conn)
    .await
    .map_err(fault(DOING))?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(not_one(DOING, done.rows_affected()))
    }
}

async fn write_attempts(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    settled: &SettledDeal,
    now: Timestamp,
) -> Result<(), StoreError> {
    for attempt in &settled.attempts {
        let runners_up: Vec<(&str, f64)> = attempt
            .runners_up
            .iter()
            .map(|(ad, confidence)| (ad.as_str(), *confidence))
            .collect();
        // A deal without a credit is tried again for a week: what a layer said the last time is
        // not said again.
        sqlx::query(
            "insert into attribution_performance_log (tenant, deal_id, at, method, succeeded,
                 confidence, reason, runners_up_json)
             select $1, $2, $3, $4, $5, $6, $7, $8
             where not exists (
                 select 1 from attribution_performance_log
                 where id = (
                         select max(id) from attribution_performance_log
                         where tenant = $1 and deal_id = $2 and method = $4)
                     and succeeded = $5 and confidence = $6 and reason = $7
                     and runners_up_json = $8)",
        )
        .bind(tenant.as_str())
        .bind(settled.deal.as_str())
        .bind(micros(now))
        .bind(attempt.method.as_str())
        .bind(i64::from(attempt.succeeded))
        .bind(attempt.confidence)
        .bind(clean(&attempt.reason))
        .bind(json(&runners_up, DOING)?)
        .execute(&mut *conn)
        .await
        .map_err(fault(DOING))?;
    }
    Ok(())
}

async fn write_conversions(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    settled: &SettledDeal,
    now: Timestamp,
) -> Result<(), StoreError> {
    for conversion in &settled.conversions {
        let credit = CreditColumns::of(settled.attribution.as_ref());
        sqlx::query(
            "insert into conversion_tracking (tenant, deal_id, at, stage, value_minor, currency,
                 method, confidence, ad_id, ad_set_id, campaign_id, visit_id, clicked_at, updated_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             on conflict (tenant, deal_id, at, stage) do update set
                 value_minor = excluded.value_minor, currency = excluded.currency,
                 method = excluded.method, confidence = excluded.confidence,
                 ad_id = excluded.ad_id, ad_set_id = excluded.ad_set_id,
                 campaign_id = excluded.campaign_id, visit_id = excluded.visit_id,
                 clicked_at = excluded.clicked_at, updated_at = excluded.updated_at",
        )
        .bind(tenant.as_str())
        .bind(settled.deal.as_str())
        .bind(micros(conversion.at))
        .bind(conversion.stage.as_str())
        .bind(conversion.value.minor())
        .bind(conversion.value.currency().code().to_owned())
        .bind(credit.method)
        .bind(credit.confidence)
        .bind(credit.ad_id)
        .bind(credit.ad_set_id)
        .bind(credit.campaign_id)
        .bind(credit.visit_id)
        .bind(credit.clicked_at)
        .bind(micros(now))
        .execute(&mut *conn)
        .await
        .map_err(fault(DOING))?;
    }
    Ok(())
}

async fn write_entries(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    settled: &SettledDeal,
    now: Timestamp,
) -> Result<(), StoreError> {
    for entry in &settled.entries {
        let credit = entry.credit.as_ref();
        sqlx::query(
            "insert into revenue_ledger (tenant, deal_id, ad_id, ad_set_id, campaign_id, method,
                 confidence, kind, stage, amount_minor, currency, is_cash, occurred_at, recorded_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(tenant.as_str())
        .bind(entry.deal.as_str())
        .bind(credit.map(|c| c.ad.as_str()))
        .bind(credit.and_then(|c| c.ad_set.as_ref()).map(|id| id.as_str()))
        .bind(
            credit
                .and_then(|c| c.campaign.as_ref())
                .map(|id| id.as_str()),
        )
        .bind(entry.method.map(Method::as_str))
        .bind(entry.confidence)
        .bind(entry.kind.as_str())
        .bind(entry.stage.as_ref().map(|stage| stage.as_str()))
        .bind(entry.amount.minor())
        .bind(entry.amount.currency().code().to_owned())
        .bind(i64::from(entry.is_cash))
        .bind(micros(entry.occurred_at))
        .bind(micros(now))
        .execute(&mut *conn)
        .await
        .map_err(fault(DOING))?;
    }
    Ok(())
}

#[async_trait]
impl RevenueStore for SqliteStore {
    async fn settle_deals(
        &self,
        tenant: &TenantId,
        settled: &[SettledDeal],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for settled in settled {
            check_entries(settled, DOING)?;
        }
        let mut tx = self.write_for(tenant, DOING).await?;
        for settled in settled {
            settle_row(&mut tx, tenant, settled, now).await?;
            write_attempts(&mut tx, tenant, settled, now).await?;
            write_conversions(&mut tx, tenant, settled, now).await?;
            write_entries(&mut tx, tenant, settled, now).await?;
        }
        tx.commit().await.map_err(fault(DOING))
    }

    async fn attempts(
        &self,
        tenant: &TenantId,
        deal: &DealId,
    ) -> Result<Vec<(Timestamp, Attempt)>, StoreError> {
        let rows = sqlx::query(
            "select * from attribution_performance_log where id in (
                 select max(id) from attribution_performance_log
                 where tenant = $1 and deal_id = $2 group by method)",
        )
        .bind(tenant.as_str())
        .bind(deal.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading what the layers answered"))?;
        read_attempts(&rows)
    }

    async fn deal_ledger(
        &self,
        tenant: &TenantId,
        deal: &DealId,
    ) -> Result<Vec<RevenueEntry>, StoreError> {
        let rows = sqlx::query(
            "select * from revenue_ledger where tenant = $1 and deal_id = $2 order by sequence",
        )
        .bind(tenant.as_str())
        .bind(deal.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading a deal's ledger"))?;
        rows.iter().map(read_entry).collect()
    }

    async fn deal_ledgers(
        &self,
        tenant: &TenantId,
        deals: &[DealId],
    ) -> Result<Vec<RevenueEntry>, StoreError> {
        let doing = "reading the ledgers of deals";
        let deals: Vec<&str> = deals.iter().map(DealId::as_str).collect();
        let rows = sqlx::query(
            "select * from revenue_ledger
             where tenant = $1 and deal_id in (select value from json_each($2)) order by sequence",
        )
        .bind(tenant.as_str())
        .bind(json(&deals, doing)?)
        .fetch_all(&self.readers)
        .await
        .map_err(fault(doing))?;
        rows.iter().map(read_entry).collect()
    }

    async fn revenue_by_ad(
        &self,
        tenant: &TenantId,
        from: Timestamp,
    ) -> Result<Vec<(Option<AdId>, RevenueTotals)>, StoreError> {
        // Entries of two currencies are two rows: adding them is nobody's intent.
        let rows: Vec<(Option<String>, i64, i64, String)> = sqlx::query_as(
            "select ad_id, cast(sum(amount_minor) as bigint),
                 cast(sum(case when is_cash = 1 then amount_minor else 0 end) as bigint), currency
             from revenue_ledger
             where tenant = $1 and occurred_at >= $2
             group by ad_id, currency",
        )
        .bind(tenant.as_str())
        .bind(micros(from))
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading revenue by ad"))?;
        totals(rows)
    }

    async fn revenue_by_ad_between(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Option<AdId>, Timestamp, RevenueTotals)>, StoreError> {
        let rows = sqlx::query_as(BY_QUARTER)
            .bind(tenant.as_str())
            .bind(micros(from))
            .bind(micros(to))
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading revenue by ad and time"))?;
        by_quarter(rows)
    }

    async fn coverage(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        currency: Currency,
    ) -> Result<Vec<Cohort>, StoreError> {
        let rows: Vec<CohortRow> = sqlx::query_as(COVERAGE)
            .bind(tenant.as_str())
            .bind(micros(from))
            .bind(currency.code().to_owned())
            .fetch_all(&self.readers)
            .await
            .map_err(fault("counting what is credited"))?;
        cohorts(rows, currency)
    }

    async fn faulty_deals(
        &self,
        tenant: &TenantId,
        limit: u32,
    ) -> Result<Vec<(DealId, String)>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "select id, fault from crm_deals where tenant = $1 and fault is not null
             order by id limit $2",
        )
        .bind(tenant.as_str())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading faulty deals"))?;
        rows.into_iter()
            .map(|(deal, fault)| Ok((id("crm_deals", &deal)?, fault)))
            .collect()
    }

    async fn record_stage_values(
        &self,
        tenant: &TenantId,
        stages: &[StageValue],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "mirroring the stage values";
        let names = json(
            &stages.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
            doing,
        )?;
        let mut tx = self.write_for(tenant, doing).await?;
        // A stage that is no longer configured goes; what was learned of the others stays.
        sqlx::query(
            "delete from synthetic_revenue_config
             where tenant = $1 and stage not in (select value from json_each($2))",
        )
        .bind(tenant.as_str())
        .bind(names)
        .execute(&mut *tx)
        .await
        .map_err(fault(doing))?;
        for stage in stages {
            let vendor_ids: Vec<&str> = stage.vendor_ids.iter().map(|id| id.as_str()).collect();
            sqlx::query(
                "insert into synthetic_revenue_config (tenant, stage, value_minor, currency,
                     confidence, vendor_ids_json, is_won, is_lost, updated_at)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                 on conflict (tenant, stage) do update set
                     value_minor = excluded.value_minor, currency = excluded.currency,
                     confidence = excluded.confidence, vendor_ids_json = excluded.vendor_ids_json,
                     is_won = excluded.is_won, is_lost = excluded.is_lost,
                     updated_at = excluded.updated_at",
            )
            .bind(tenant.as_str())
            .bind(stage.name.as_str())
            .bind(stage.value.minor())
            .bind(stage.value.currency().code().to_owned())
            .bind(stage.confidence)
            .bind(json(&vendor_ids, doing)?)
            .bind(i64::from(stage.is_won))
            .bind(i64::from(stage.is_lost))
            .bind(micros(now))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }
}
