//! What a tenant's deals have shown, kept for people and reports. roasd decides by none of it.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::attribution::reliability::Band;
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::domain::worth::LearnedStage;

/// What was learned of stages and of credits.
#[async_trait]
pub trait LearnedStore {
    /// Puts what was learned of stages beside their configured values; a stage that is not mirrored is
    /// left out. The configured value stays as it is, whatever was learned.
    async fn record_learned_stages(
        &self,
        tenant: &TenantId,
        stages: &[LearnedStage],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// What was learned of stages, and when, by stage.
    async fn learned_stages(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(LearnedStage, Timestamp)>, StoreError>;

    /// Replaces how often matches were right.
    async fn record_reliability(
        &self,
        tenant: &TenantId,
        bands: &[Band],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// How often matches were right, by layer and confidence.
    async fn reliability(&self, tenant: &TenantId) -> Result<Vec<Band>, StoreError>;
}
