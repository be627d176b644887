//! The ledger of synthetic revenue and the attempts of attribution behind it.

use async_trait::async_trait;

use super::session::Tx;
use super::{PostgresStore, column};
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
use crate::store::sql::{json, last_of_each, not_one};

/// Writes the credit into the deal and takes it off the unsettled ones.
///
/// Settling moves both revisions on, so that a second settling of the same state is noticed and
/// nothing is counted twice; if the deal changed meanwhile its revision stays ahead.
async fn settle_row(
    tx: &mut Tx,
    tenant: &TenantId,
    settled: &SettledDeal,
    now: Timestamp,
) -> Result<(), StoreError> {
    let credit = CreditColumns::of(settled.attribution.as_ref());
    let done = tx
        .run(
            sqlx::query(
                "update crm_deals
                 set revision = revision + 1, settled_revision = $3 + 1, settled_at = $4,
                     retry_at = $5, fault = $6, method = $7, confidence = $8, ad_id = $9,
                     ad_set_id = $10, campaign_id = $11, visit_id = $12, clicked_at = $13,
                     reason = $14, gap = $15
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
            .bind(settled.gap.map(Gap::as_str)),
        )
        .await?;
    if done == 1 {
        Ok(())
    } else {
        Err(not_one(tx.doing(), done))
    }
}

async fn write_attempts(
    tx: &mut Tx,
    tenant: &TenantId,
    settled: &SettledDeal,
    now: Timestamp,
) -> Result<(), StoreError> {
    let attempts = &settled.attempts;
    if attempts.is_empty() {
        return Ok(());
    }
    let runners_up = attempts
        .iter()
        .map(|attempt| {
            let pairs: Vec<(&str, f64)> = attempt
                .runners_up
                .iter()
                .map(|(ad, confidence)| (ad.as_str(), *confidence))
                .collect();
            json(&pairs, tx.doing())
        })
        .collect::<Result<Vec<_>, _>>()?;
    // A deal without a credit is tried again for a week: what a layer said the last time is not
    // said again.
    tx.run(
        sqlx::query(
            "insert into attribution_performance_log (tenant, deal_id, at, method, succeeded,
                 confidence, reason, runners_up_json)
             select $1, $2, $3, method, succeeded, confidence, reason, runners_up_json
             from unnest($4::text[], $5::bigint[], $6::double precision[], $7::text[], $8::text[])
                 with ordinality
                 as new (method, succeeded, confidence, reason, runners_up_json, place)
             where not exists (
                 select 1 from attribution_performance_log as old
                 where old.id = (
                         select max(last.id) from attribution_performance_log as last
                         where last.tenant = $1 and last.deal_id = $2
                             and last.method = new.method)
                     and old.succeeded = new.succeeded and old.confidence = new.confidence
                     and old.reason = new.reason
                     and old.runners_up_json = new.runners_up_json)
             order by place",
        )
        .bind(tenant.as_str())
        .bind(settled.deal.as_str())
        .bind(micros(now))
        .bind(column(attempts, |attempt| attempt.method.as_str()))
        .bind(column(attempts, |attempt| i64::from(attempt.succeeded)))
        .bind(column(attempts, |attempt| attempt.confidence))
        .bind(column(attempts, |attempt| clean(&attempt.reason)))
        .bind(runners_up),
    )
    .await?;
    Ok(())
}

async fn write_conversions(
    tx: &mut Tx,
    tenant: &TenantId,
    settled: &SettledDeal,
    now: Timestamp,
) -> Result<(), StoreError> {
    let conversions = last_of_each(&settled.conversions, |c| (c.at, c.stage.as_str()));
    if conversions.is_empty() {
        return Ok(());
    }
    let credit = CreditColumns::of(settled.attribution.as_ref());
    tx.run(
        sqlx::query(
            "insert into conversion_tracking (tenant, deal_id, at, stage, value_minor, currency,
                 method, confidence, ad_id, ad_set_id, campaign_id, visit_id, clicked_at,
                 updated_at)
             select $1, $2, at, stage, value_minor, currency, $7, $8, $9, $10, $11, $12, $13, $14
             from unnest($3::bigint[], $4::text[], $5::bigint[], $6::text[])
                 as new (at, stage, value_minor, currency)
             on conflict (tenant, deal_id, at, stage) do update set
                 value_minor = excluded.value_minor, currency = excluded.currency,
                 method = excluded.method, confidence = excluded.confidence,
                 ad_id = excluded.ad_id, ad_set_id = excluded.ad_set_id,
                 campaign_id = excluded.campaign_id, visit_id = excluded.visit_id,
                 clicked_at = excluded.clicked_at, updated_at = excluded.updated_at",
        )
        .bind(tenant.as_str())
        .bind(settled.deal.as_str())
        .bind(column(&conversions, |c| micros(c.at)))
        .bind(column(&conversions, |c| c.stage.as_str()))
        .bind(column(&conversions, |c| c.value.minor()))
        .bind(column(&conversions, |c| {
            c.value.currency().code().to_owned()
        }))
        .bind(credit.method)
        .bind(credit.confidence)
        .bind(credit.ad_id)
        .bind(credit.ad_set_id)
        .bind(credit.campaign_id)
        .bind(credit.visit_id)
        .bind(credit.clicked_at)
        .bind(micros(now)),
    )
    .await?;
    Ok(())
}

async fn write_entries(
    tx: &mut Tx,
    tenant: &TenantId,
    settled: &SettledDeal,
    now: Timestamp,
) -> Result<(), StoreError> {
    let entries = &settled.entries;
    if entries.is_empty() {
        return Ok(());
    }
    let credits = column(entries, |entry| entry.credit.as_ref());
    // In their order, which `sequence` keeps.
    tx.run(
        sqlx::query(
            "insert into revenue_ledger (tenant, deal_id, recorded_at, ad_id, ad_set_id,
                 campaign_id, method, confidence, kind, stage, amount_minor, currency, is_cash,
                 occurred_at)
             select $1, $2, $3, ad_id, ad_set_id, campaign_id, method, confidence, kind, stage,
                 amount_minor, currency, is_cash, occurred_at
             from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::double precision[],
                 $9::text[], $10::text[], $11::bigint[], $12::text[], $13::bigint[],
                 $14::bigint[]) with ordinality
                 as new (ad_id, ad_set_id, campaign_id, method, confidence, kind, stage,
                     amount_minor, currency, is_cash, occurred_at, place)
             order by place",
        )
        .bind(tenant.as_str())
        .bind(settled.deal.as_str())
        .bind(micros(now))
        .bind(column(&credits, |credit| credit.map(|c| c.ad.as_str())))
        .bind(column(&credits, |credit| {
            credit.and_then(|c| c.ad_set.as_ref()).map(|id| id.as_str())
        }))
        .bind(column(&credits, |credit| {
            credit
                .and_then(|c| c.campaign.as_ref())
                .map(|id| id.as_str())
        }))
        .bind(column(entries, |entry| entry.method.map(Method::as_str)))
        .bind(column(entries, |entry| entry.confidence))
        .bind(column(entries, |entry| entry.kind.as_str()))
        .bind(column(entries, |entry| {
            entry.stage.as_ref().map(|stage| stage.as_str())
        }))
        .bind(column(entries, |entry| entry.amount.minor()))
        .bind(column(entries, |entry| {
            entry.amount.currency().code().to_owned()
        }))
        .bind(column(entries, |entry| i64::from(entry.is_cash)))
        .bind(column(entries, |entry| micros(entry.occurred_at))),
    )
    .await?;
    Ok(())
}

#[async_trait]
impl RevenueStore for PostgresStore {
    async fn settle_deals(
        &self,
        tenant: &TenantId,
        settled: &[SettledDeal],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "settling a deal";
        for settled in settled {
            check_entries(settled, doing)?;
        }
        let mut tx = self.write_for(tenant, doing).await?;
        for settled in settled {
            settle_row(&mut tx, tenant, settled, now).await?;
            write_attempts(&mut tx, tenant, settled, now).await?;
            write_conversions(&mut tx, tenant, settled, now).await?;
            write_entries(&mut tx, tenant, settled, now).await?;
        }
        tx.commit().await
    }

    async fn attempts(
        &self,
        tenant: &TenantId,
        deal: &DealId,
    ) -> Result<Vec<(Timestamp, Attempt)>, StoreError> {
        let query = sqlx::query(
            "select at, method, succeeded, confidence, reason, runners_up_json
             from attribution_performance_log where id in (
                 select max(id) from attribution_performance_log
                 where tenant = $1 and deal_id = $2 group by method)",
        )
        .bind(tenant.as_str())
        .bind(deal.as_str());
        let rows = self.rows("reading what the layers answered", query).await?;
        read_attempts(&rows)
    }

    async fn deal_ledger(
        &self,
        tenant: &TenantId,
        deal: &DealId,
    ) -> Result<Vec<RevenueEntry>, StoreError> {
        let query = sqlx::query(
            "select deal_id, ad_id, ad_set_id, campaign_id, method, confidence, kind, stage,
                 amount_minor, currency, is_cash, occurred_at
             from revenue_ledger where tenant = $1 and deal_id = $2 order by sequence",
        )
        .bind(tenant.as_str())
        .bind(deal.as_str());
        let rows = self.rows("reading a deal's ledger", query).await?;
        rows.iter().map(read_entry).collect()
    }

    async fn deal_ledgers(
        &self,
        tenant: &TenantId,
        deals: &[DealId],
    ) -> Result<Vec<RevenueEntry>, StoreError> {
        let query = sqlx::query(
            "select deal_id, ad_id, ad_set_id, campaign_id, method, confidence, kind, stage,
                 amount_minor, currency, is_cash, occurred_at
             from revenue_ledger where tenant = $1 and deal_id in (select unnest($2::text[])) order by sequence",
        )
        .bind(tenant.as_str())
        .bind(column(deals, DealId::as_str));
        let rows = self.rows("reading the ledgers of deals", query).await?;
        rows.iter().map(read_entry).collect()
    }

    async fn revenue_by_ad(
        &self,
        tenant: &TenantId,
        from: Timestamp,
    ) -> Result<Vec<(Option<AdId>, RevenueTotals)>, StoreError> {
        // Entries of two currencies are two rows: adding them is nobody's intent.
        let select = sqlx::query_as(
            "select ad_id, cast(sum(amount_minor) as bigint),
                 cast(sum(case when is_cash = 1 then amount_minor else 0 end) as bigint), currency
             from revenue_ledger
             where tenant = $1 and occurred_at >= $2
             group by ad_id, currency",
        )
        .bind(tenant.as_str())
        .bind(micros(from));
        totals(self.list("reading revenue by ad", select).await?)
    }

    async fn revenue_by_ad_between(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Option<AdId>, Timestamp, RevenueTotals)>, StoreError> {
        let select = sqlx::query_as(BY_QUARTER)
            .bind(tenant.as_str())
            .bind(micros(from))
            .bind(micros(to));
        by_quarter(self.list("reading revenue by ad and time", select).await?)
    }

    async fn coverage(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        currency: Currency,
    ) -> Result<Vec<Cohort>, StoreError> {
        let select = sqlx::query_as(COVERAGE)
            .bind(tenant.as_str())
            .bind(micros(from))
            .bind(currency.code().to_owned());
        let rows: Vec<CohortRow> = self.list("counting what is credited", select).await?;
        cohorts(rows, currency)
    }

    async fn faulty_deals(
        &self,
        tenant: &TenantId,
        limit: u32,
    ) -> Result<Vec<(DealId, String)>, StoreError> {
        let select = sqlx::query_as(
            "select id, fault from crm_deals where tenant = $1 and fault is not null
             order by id limit $2",
        )
        .bind(tenant.as_str())
        .bind(i64::from(limit));
        let rows: Vec<(String, String)> = self.list("reading faulty deals", select).await?;
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
        let stages = last_of_each(stages, |stage| stage.name.as_str());
        let vendor_ids = stages
            .iter()
            .map(|stage| {
                let ids: Vec<&str> = stage.vendor_ids.iter().map(|id| id.as_str()).collect();
                json(&ids, doing)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut tx = self.write_for(tenant, doing).await?;
        // A stage that is no longer configured goes; what was learned of the others stays.
        tx.run(
            sqlx::query(
                "delete from synthetic_revenue_config where tenant = $1 and stage <> all ($2)",
            )
            .bind(tenant.as_str())
            .bind(column(&stages, |stage| stage.name.as_str())),
        )
        .await?;
        tx.run(
            sqlx::query(
                "insert into synthetic_revenue_config (tenant, updated_at, stage, value_minor,
                     currency, confidence, vendor_ids_json, is_won, is_lost)
                 select $1, $2, * from unnest($3::text[], $4::bigint[], $5::text[],
                     $6::double precision[], $7::text[], $8::bigint[], $9::bigint[])
                 on conflict (tenant, stage) do update set
                     value_minor = excluded.value_minor, currency = excluded.currency,
                     confidence = excluded.confidence, vendor_ids_json = excluded.vendor_ids_json,
                     is_won = excluded.is_won, is_lost = excluded.is_lost,
                     updated_at = excluded.updated_at",
            )
            .bind(tenant.as_str())
            .bind(micros(now))
            .bind(column(&stages, |stage| stage.name.as_str()))
            .bind(column(&stages, |stage| stage.value.minor()))
            .bind(column(&stages, |stage| {
                stage.value.currency().code().to_owned()
            }))
            .bind(column(&stages, |stage| stage.confidence))
            .bind(vendor_ids)
            .bind(column(&stages, |stage| i64::from(stage.is_won)))
            .bind(column(&stages, |stage| i64::from(stage.is_lost))),
        )
        .await?;
        tx.commit().await
    }
}
