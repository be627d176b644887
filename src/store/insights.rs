//! Delivery figures, revisable.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{CampaignId, TenantId};
use crate::domain::insight::{AdInsight, ReportWindow};
use crate::domain::money::Money;
use crate::domain::time::{Date, Timestamp};

/// What a pull of figures covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// First day.
    pub since: Date,
    /// Last day, inclusive.
    pub until: Date,
    /// Hours, or days.
    pub is_hourly: bool,
    /// These campaigns alone; all of the account when there are none.
    pub campaigns: Vec<CampaignId>,
    /// When it began.
    pub pulled_at: Timestamp,
}

/// Figures of ads by day and hour.
#[async_trait]
pub trait InsightStore {
    /// Records figures: a row of the same ad and window is replaced, never added to. What the pull
    /// covered was read whole: days and campaigns of it that hold no row for an ad that had one lose
    /// it (Meta took it back); hourly and daily rows are separate. The watermark (the time of the
    /// pull) moves in the same transaction and never backwards; a pull older than a row kept leaves
    /// that row alone. What a daily row was before is kept, where it was another; see
    /// [`InsightStore::daily_insights_as_of`].
    async fn record_pull(
        &self,
        tenant: &TenantId,
        rows: &[AdInsight],
        pull: &Pull,
    ) -> Result<(), StoreError>;

    /// [`InsightStore::record_pull`] of every campaign.
    async fn record_insights(
        &self,
        tenant: &TenantId,
        rows: &[AdInsight],
        since: Date,
        until: Date,
        is_hourly: bool,
        pulled_at: Timestamp,
    ) -> Result<(), StoreError> {
        let pull = Pull {
            since,
            until,
            is_hourly,
            campaigns: Vec::new(),
            pulled_at,
        };
        self.record_pull(tenant, rows, &pull).await
    }

    /// Daily rows from `since` on as they were known at `at`, by ad and day: what was pulled later
    /// is left out, and what was restated or taken back since is as it was. Reaches as far back as
    /// [`super::privacy::Forgettable::PastInsights`] is kept.
    async fn daily_insights_as_of(
        &self,
        tenant: &TenantId,
        since: Date,
        at: Timestamp,
    ) -> Result<Vec<AdInsight>, StoreError>;

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

    /// Spend by hour from `since` on, by day and hour, over all ads.
    async fn spend_by_hour(
        &self,
        tenant: &TenantId,
        since: Date,
    ) -> Result<Vec<(ReportWindow, Money)>, StoreError>;
}
