//! The ledger of synthetic revenue and the attempts of attribution behind it.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::attribution::gap::Gap;
use crate::domain::attribution::{Attempt, Attribution};
use crate::domain::coverage::Cohort;
use crate::domain::deal::StageValue;
use crate::domain::ids::{AdId, DealId, StageName, TenantId};
use crate::domain::money::{Currency, Money};
use crate::domain::revenue::RevenueEntry;
use crate::domain::time::Timestamp;

/// One stage event of a deal, as a conversion.
#[derive(Debug, Clone, PartialEq)]
pub struct ConversionRow {
    /// The stage entered.
    pub stage: StageName,
    /// When.
    pub at: Timestamp,
    /// What the stage is worth.
    pub value: Money,
}

/// What settling a deal writes.
#[derive(Debug, Clone, PartialEq)]
pub struct SettledDeal {
    /// The deal.
    pub deal: DealId,
    /// The state of the deal that was looked at.
    pub revision: i64,
    /// The credit now.
    pub attribution: Option<Attribution>,
    /// Why there is none; `None` where there is.
    pub gap: Option<Gap>,
    /// What each layer answered; empty when nothing was tried.
    pub attempts: Vec<Attempt>,
    /// The deal's stage events.
    pub conversions: Vec<ConversionRow>,
    /// New ledger entries.
    pub entries: Vec<RevenueEntry>,
    /// When to try the attribution again.
    pub retry_at: Option<Timestamp>,
    /// What stands in the way, in words: a currency without a rate, an unknown stage.
    pub fault: Option<String>,
}

/// Totals of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct RevenueTotals {
    /// Expected and earned together: the sum of all entries.
    pub pipeline: Money,
    /// Earned: the sum of entries of won deals.
    pub cash: Money,
}

/// The ledger, append-only.
#[async_trait]
pub trait RevenueStore: Sync {
    /// Settles deals, all in one transaction. Of each: credit, attempts, conversions (one per deal, stage and time, updated in
    /// place) and ledger entries. If the deal has a newer revision by now it stays unsettled, and what
    /// was written stands. Entries are only ever added. Settling from one revision a second time is a
    /// `WrongCount`, so that nothing counts twice; then none of the deals is settled. A layer's attempt
    /// is logged when its answer is another than its last one on this deal.
    async fn settle_deals(
        &self,
        tenant: &TenantId,
        settled: &[SettledDeal],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Settles one deal, as [`RevenueStore::settle_deals`] does many.
    async fn settle_deal(
        &self,
        tenant: &TenantId,
        settled: &SettledDeal,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let settled = std::slice::from_ref(settled);
        self.settle_deals(tenant, settled, now).await
    }

    /// What each layer last answered on a deal, in the order of the layers, and when.
    async fn attempts(
        &self,
        tenant: &TenantId,
        deal: &DealId,
    ) -> Result<Vec<(Timestamp, Attempt)>, StoreError>;

    /// A deal's entries, in the order they were made.
    async fn deal_ledger(
        &self,
        tenant: &TenantId,
        deal: &DealId,
    ) -> Result<Vec<RevenueEntry>, StoreError>;

    /// The entries of these deals, each deal's in the order they were made.
    async fn deal_ledgers(
        &self,
        tenant: &TenantId,
        deals: &[DealId],
    ) -> Result<Vec<RevenueEntry>, StoreError>;

    /// Totals per ad credited (`None`: unattributed) of entries that occurred from `from` on, by ad;
    /// an ad with entries in two currencies has a row for each.
    async fn revenue_by_ad(
        &self,
        tenant: &TenantId,
        from: Timestamp,
    ) -> Result<Vec<(Option<AdId>, RevenueTotals)>, StoreError>;

    /// Totals per ad credited and quarter of an hour (which begins then) of entries that occurred from
    /// `from` on and before `to`: every day of every time zone is made of such quarters. By ad, time
    /// and currency.
    async fn revenue_by_ad_between(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Option<AdId>, Timestamp, RevenueTotals)>, StoreError>;

    /// Deals made from `from` on that are not deleted, by quarter of an hour, layer and gap, with what
    /// their entries in `currency` come to. It reads no more than the deals of that time.
    async fn coverage(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        currency: Currency,
    ) -> Result<Vec<Cohort>, StoreError>;

    /// Deals whose settling met a fault, with the fault, by id.
    async fn faulty_deals(
        &self,
        tenant: &TenantId,
        limit: u32,
    ) -> Result<Vec<(DealId, String)>, StoreError>;

    /// Mirrors the stage values in force into `synthetic_revenue_config`.
    async fn record_stage_values(
        &self,
        tenant: &TenantId,
        stages: &[StageValue],
        now: Timestamp,
    ) -> Result<(), StoreError>;
}
