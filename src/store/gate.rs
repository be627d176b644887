//! Usage and cool-downs of the gate to Meta, so that they outlive the process.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::time::Timestamp;

/// What is known of one limit's scope.
#[derive(Debug, Clone, PartialEq)]
pub struct GateRow {
    /// `app`, or `act_…`.
    pub scope: String,
    /// Closed until then.
    pub blocked_until: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// The highest usage that Meta reported last, in percent.
    pub usage_percent: f64,
    /// `development_access` or `standard_access`, where Meta said so.
    pub tier: Option<String>,
    /// When it was last seen.
    pub seen_at: Timestamp,
}

/// The gate's memory. The gate is the app's, not a tenant's.
#[async_trait]
pub trait GateStore {
    /// Replaces the rows of these scopes.
    async fn save_gate(&self, rows: &[GateRow]) -> Result<(), StoreError>;

    /// All rows, by scope.
    async fn load_gate(&self) -> Result<Vec<GateRow>, StoreError>;
}
