//! Versions of the policy; one champion per model.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::time::Timestamp;

/// A version of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelVersion {
    /// The policy's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its parameters, as JSON.
    pub params_json: String,
    /// The revision of the code.
    pub revision: String,
    /// Whether it decides.
    pub is_champion: bool,
    /// When it was registered.
    pub registered_at: Timestamp,
}

/// The registry.
#[async_trait]
pub trait ModelStore {
    /// Registers a version; a version known by name and version stays as it is. The first version
    /// of a name is its champion.
    async fn register_model(&self, model: &ModelVersion) -> Result<(), StoreError>;

    /// Every version, by name and time.
    async fn models(&self) -> Result<Vec<ModelVersion>, StoreError>;
}
