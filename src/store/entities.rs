//! The account's structure and its history.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::change::BudgetMove;
use crate::domain::ids::{AdId, AdSetId, CampaignId, TenantId};
use crate::domain::money::Money;
use crate::domain::structure::{EntityRef, RunStatus, Structure};
use crate::domain::time::Timestamp;

/// A difference between what was known of an object and what Meta says now.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// The object.
    pub entity: EntityRef,
    /// Budget known and found, where they differ.
    pub budget: Option<(Option<Money>, Option<Money>)>,
    /// Status known and found, where they differ.
    pub status: Option<(RunStatus, RunStatus)>,
}

/// The structure, as last read.
#[async_trait]
pub trait EntityStore {
    /// Replaces the structure. Objects that are gone are kept as ended, not forgotten. Every budget
    /// and status that differs from the one kept is added to the history at `read_at` as somebody
    /// else's move, and returned. A first read returns nothing and begins each object's history.
    /// A read from before our own last move of an object (`read_at` is when the reading began), or
    /// made while a change of it is being sent, does not touch that setting; a read older than the
    /// one kept changes nothing.
    async fn record_structure(
        &self,
        tenant: &TenantId,
        structure: &Structure,
        read_at: Timestamp,
    ) -> Result<Vec<Drift>, StoreError>;

    /// The structure as last read, with the time of reading; objects that are gone are left out.
    async fn structure(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<(Structure, Timestamp)>, StoreError>;

    /// The ad set and the campaign of every ad that is not gone.
    async fn ad_places(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(AdId, AdSetId, CampaignId)>, StoreError>;

    /// Moves of every object from one daily budget to another from `since` on, whoever made them,
    /// oldest first.
    async fn budget_moves(
        &self,
        tenant: &TenantId,
        since: Timestamp,
    ) -> Result<Vec<BudgetMove>, StoreError>;

    /// The daily budget each object had when it was first seen, by object.
    async fn first_budgets(&self, tenant: &TenantId)
    -> Result<Vec<(EntityRef, Money)>, StoreError>;
}
