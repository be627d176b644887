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
    /// `image`, `video` and so on; empty when unknown.
    pub format: String,
    /// What its button says; empty when unknown.
    pub call_to_action: String,
    /// What its landing page is about; empty when unknown.
    pub theme: String,
    /// When it was made.
    pub made_at: Option<Timestamp>,
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
    /// Whether there is enough evidence to say that it won or lost.
    pub is_mature: bool,
    /// Whether an operator brought it; it is not of the account.
    pub is_by_hand: bool,
    /// Whether an operator left it out: it lends nothing and is found by nobody. Only
    /// [`WinnerStore::leave_out`] changes this.
    pub is_left_out: bool,
    /// When it was last looked at.
    pub updated_at: Timestamp,
}

/// Past ads.
#[async_trait]
pub trait WinnerStore {
    /// Adds or replaces past ads by ad and model. Whether one is left out stays as it is; a new
    /// model takes it over from the others.
    async fn record_past_ads(&self, tenant: &TenantId, ads: &[PastAd]) -> Result<(), StoreError>;

    /// Every past ad of an embedder, by ad.
    async fn past_ads(&self, tenant: &TenantId, model: &str) -> Result<Vec<PastAd>, StoreError>;

    /// Leaves an ad out under every model, or lets it in again; `false` when there is no such ad.
    async fn leave_out(
        &self,
        tenant: &TenantId,
        ad: &AdId,
        is_left_out: bool,
    ) -> Result<bool, StoreError>;
}
