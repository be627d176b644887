//! Decisions with the inputs they were made from, so that each can be explained and replayed.

use async_trait::async_trait;

pub use super::decision_json::{BadInputs, inputs_from_json, inputs_json, rationale_json};

use super::StoreError;
use crate::domain::ids::{ChangeId, DecisionId, RunId, TenantId};
use crate::domain::structure::EntityRef;
use crate::domain::time::Timestamp;

/// One run of the policy over a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// When it was made.
    pub at: Timestamp,
    /// The seed it drew from.
    pub seed: u64,
    /// The policy's name.
    pub policy: String,
    /// The policy's version.
    pub version: String,
    /// All inputs, as JSON: with seed and version they give the same decisions bit for bit. Empty
    /// when they were forgotten.
    pub inputs_json: String,
    /// Flags of the run, such as `cap_unreachable`.
    pub flags: Vec<String>,
}

/// One decision.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionRecord {
    /// Its id.
    pub id: DecisionId,
    /// The run it belongs to.
    pub run: RunId,
    /// The object.
    pub entity: EntityRef,
    /// The object's name, for people.
    pub entity_name: String,
    /// `raise`, `cut`, `hold`, `kill`, `rotate`, `return`.
    pub action: String,
    /// The value before, as shown.
    pub from: String,
    /// The value decided, as shown.
    pub to: String,
    /// The paragraph that a media buyer reads.
    pub paragraph: String,
    /// The whole rationale, as JSON.
    pub rationale_json: String,
    /// The change it led to.
    pub change: Option<ChangeId>,
    /// When.
    pub at: Timestamp,
}

/// Decisions, append-only.
#[async_trait]
pub trait DecisionStore {
    /// Records a run with its decisions.
    async fn record_run(
        &self,
        tenant: &TenantId,
        run: &RunRecord,
        decisions: &[DecisionRecord],
    ) -> Result<(), StoreError>;

    /// One decision with its run, of whichever tenant; `id` may be a prefix that fits only one.
    async fn decision(
        &self,
        id: &str,
    ) -> Result<Option<(TenantId, RunRecord, DecisionRecord)>, StoreError>;

    /// The decisions of the newest run, by object.
    async fn latest_decisions(&self, tenant: &TenantId) -> Result<Vec<DecisionRecord>, StoreError>;

    /// Decisions with their sequence, newest first, `limit` at most: on the object of that id, or on
    /// any; from behind the one of sequence `before`. Sequences only grow.
    async fn decisions_before(
        &self,
        tenant: &TenantId,
        object: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, DecisionRecord)>, StoreError>;

    /// When the newest run was made.
    async fn latest_run_at(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError>;

    /// The first run after `after` and not after `until`, inputs included. Runs of one tenant are
    /// never made at the same instant.
    async fn run_after(
        &self,
        tenant: &TenantId,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Option<RunRecord>, StoreError>;

    /// Every decision of a run, by object.
    async fn decisions_of(
        &self,
        tenant: &TenantId,
        run: &RunId,
    ) -> Result<Vec<DecisionRecord>, StoreError>;

    /// Ads whose newest decision to set their status was of `action` (`kill` or `rotate`) and that
    /// no later decision returned, with its time, by object.
    async fn ads_put_aside(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(EntityRef, String, Timestamp)>, StoreError>;
}
