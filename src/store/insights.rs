//! Delivery figures, revisable.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::TenantId;
use crate::domain::insight::AdInsight;
use crate::domain::money::Money;
use crate::domain::time::{Date, Timestamp};

/// Figures of ads by day and hour.
#[async_trait]
pub trait InsightStore {
    /// Records figures: a row of the same ad and window is replaced, never added to. Days from
    /// `since` to `until` that were read whole and hold no row for an ad that had one lose it
    /// (Meta took it back); hourly and daily rows are separate. The watermark (the time of the
    /// pull) moves in the same transaction and never backwards; a pull older than a row kept leaves
    /// that row alone.
    async fn record_insights(
        &self,
        tenant: &TenantId,
        rows: &[AdInsight],
        since: Date,
        until: Date,
        is_hourly: bool,
        pulled_at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Daily rows from `since` on, by ad and day.
    async fn daily_insights(
        &self,
        tenant: &TenantId,
        since: Date,
    ) -> Result<Vec<AdInsight>, StoreError>;

    /// Hourly rows from `since` on, by ad, day and hour.
    async fn hourly_insights(
        &self,
        tenant: &TenantId,
        since: Date,
    ) -> Result<Vec<AdInsight>, StoreError>;

    /// When the newest daily figures were pulled.
    async fn insights_watermark(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError>;

    /// Spend by day from `since` on, by day.
    async fn spend_by_day(
        &self,
        tenant: &TenantId,
        since: Date,
    ) -> Result<Vec<(Date, Money)>, StoreError>;
}
