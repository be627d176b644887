//! Past ads: their text, its vector, and what came of them.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{AdId, TenantId};
use crate::domain::money::Money;
use crate::domain::time::Timestamp;

/// A past ad. Winners and losers alike, so that what they lend is not biased by survival.
#[derive(Debug, Clone, PartialEq)]
pub struct PastAd {
    /// The ad.
    pub ad: AdId,
    /// Its name.
    pub name: String,
    /// The text that stands for its creative.
    pub text: String,
    /// The embedder that made the vector; vectors of different embedders never mix.
    pub model: String,
    /// The vector, of unit length.
    pub vector: Vec<f32>,
    /// Times shown.
    pub impressions: u64,
    /// Link clicks.
    pub clicks: u64,
    /// Money spent.
    pub spend: Money,
    /// Ledger value credited to it.
    pub pipeline: Money,
    /// Whether it counts as a winner.
    pub is_winner: bool,
    /// When it was last looked at.
    pub updated_at: Timestamp,
}

/// Past ads.
#[async_trait]
pub trait WinnerStore {
    /// Adds or replaces past ads by ad and model.
    async fn record_past_ads(&self, tenant: &TenantId, ads: &[PastAd]) -> Result<(), StoreError>;

    /// Every past ad of an embedder, by ad.
    async fn past_ads(&self, tenant: &TenantId, model: &str) -> Result<Vec<PastAd>, StoreError>;
}
