//! What people do in the CRM: move deals, edit amounts, delete, restore and merge.

use serde::{Deserialize, Serialize};

use crate::domain::ids::DealId;

/// Something that a person does to a deal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "does", rename_all = "snake_case", deny_unknown_fields)]
pub enum CrmEdit {
    /// Puts a deal into a stage, by its name in HubSpot.
    Stage {
        /// The deal.
        deal: u64,
        /// The stage.
        stage: String,
    },
    /// Writes an amount, in minor units.
    Amount {
        /// The deal.
        deal: u64,
        /// The amount.
        minor: i64,
    },
    /// Deletes a deal; it can be restored.
    Delete {
        /// The deal.
        deal: u64,
    },
    /// Restores a deleted deal.
    Restore {
        /// The deal.
        deal: u64,
    },
    /// Merges a deal into another, or both into a third that is made for it.
    Merge {
        /// The deal whose stage and amount stay.
        primary: u64,
        /// The other.
        other: u64,
        /// Whether what is left is a third deal.
        is_third: bool,
    },
}

/// A deal as the CRM has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrmDeal {
    /// Its id.
    pub id: DealId,
    /// Its stage, by its name in HubSpot.
    pub stage: &'static str,
    /// Its amount in minor units, once known.
    pub amount_minor: Option<i64>,
    /// Whether it is deleted, or part of another by now.
    pub is_archived: bool,
}
