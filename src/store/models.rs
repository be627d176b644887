//! Versions of what moves budgets: who decides, who decides beside it, and how that came about.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{RunId, TenantId};
use crate::domain::model::{Constants, Event, HistoryLine, Role, VersionName};
use crate::domain::time::Timestamp;

/// A version of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelVersion {
    /// The model.
    pub model: String,
    /// The version's name.
    pub version: VersionName,
    /// The policy that it is.
    pub policy: String,
    /// The version of the policy's code.
    pub policy_version: u32,
    /// Where it differs from a tenant's configuration.
    pub constants: Constants,
    /// The release that entered it.
    pub revision: String,
    /// What it does.
    pub role: Role,
    /// How it fared on simulated markets, as JSON, the last time that it was tried.
    pub evaluation_json: Option<String>,
    /// When it was entered.
    pub registered_at: Timestamp,
}

/// What is to become of a version.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleChange {
    /// The model.
    pub model: String,
    /// The version.
    pub version: VersionName,
    /// What it is to do.
    pub role: Role,
    /// How it is told in the history.
    pub event: Event,
    /// Who does it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What was known, as JSON.
    pub evidence_json: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What became of a [`RoleChange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleChanged {
    /// It is done; a new champion took the place of the one named here.
    Done(Option<VersionName>),
    /// It does that already; nothing was written.
    Already,
    /// A model has a champion: another is made one first. Nothing was written.
    IsChampion,
    /// There is no such version.
    Unknown,
}

/// What a challenger decided in one run of the champion's. Nothing of it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowRun {
    /// The champion's run.
    pub run: RunId,
    /// The challenger.
    pub version: VersionName,
    /// When.
    pub at: Timestamp,
    /// What it would have changed, as JSON: a list of object, action and value.
    pub changes_json: String,
    /// How many changes that is.
    pub changes: u32,
    /// How many of them the champion made too: of the same kind, on the same object.
    pub shared: u32,
}

/// The registry.
#[async_trait]
pub trait ModelStore {
    /// Enters a version, with a line of history; one known by model and name stays as it is. The
    /// first of a model is its champion, whatever its role says; a later one that is to be champion
    /// rests.
    async fn register_model(&self, model: &ModelVersion) -> Result<(), StoreError>;

    /// Every version, by model and time.
    async fn models(&self) -> Result<Vec<ModelVersion>, StoreError>;

    /// Gives a version another role, with a line of history. A new champion and the end of the old
    /// one, which becomes a challenger, are one transaction: there is one champion at every time.
    async fn change_role(&self, change: &RoleChange) -> Result<RoleChanged, StoreError>;

    /// Keeps how a version fared on simulated markets, with a line of history; false when there is
    /// no such version.
    async fn record_evaluation(
        &self,
        model: &str,
        version: &VersionName,
        evaluation_json: &str,
        actor: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// What happened to the versions of a model, in the order of time.
    async fn model_history(&self, model: &str) -> Result<Vec<HistoryLine>, StoreError>;

    /// Keeps what challengers decided; what is kept of a run and version stays.
    async fn record_shadows(
        &self,
        tenant: &TenantId,
        shadows: &[ShadowRun],
    ) -> Result<(), StoreError>;

    /// What a version decided in the shadow since then, in the order of time.
    async fn shadows(
        &self,
        tenant: &TenantId,
        version: &VersionName,
        since: Timestamp,
    ) -> Result<Vec<ShadowRun>, StoreError>;
}
