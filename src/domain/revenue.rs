//! Synthetic revenue: what a deal's stage is worth, kept as a ledger of differences, so that a
//! deal's entries always sum to the value of its present stage.

use super::attribution::{Credit, Method};
use super::ids::{DealId, StageName};
use super::money::Money;
use super::time::Timestamp;

/// Why an entry was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A stage was reached, skipped to, or fallen back from: the difference.
    Stage,
    /// The amount of a won deal was edited: the difference.
    Amount,
    /// Credit taken from one ad (negative) before it is given to another.
    Reversal,
    /// Credit given to another ad than before.
    Recredit,
}

impl EntryKind {
    /// The name stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Amount => "amount",
            Self::Reversal => "reversal",
            Self::Recredit => "recredit",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "stage" => Self::Stage,
            "amount" => Self::Amount,
            "reversal" => Self::Reversal,
            "recredit" => Self::Recredit,
            _ => return None,
        })
    }
}

/// One line of the ledger. Append-only.
#[derive(Debug, Clone, PartialEq)]
pub struct RevenueEntry {
    /// The deal.
    pub deal: DealId,
    /// The ad credited; `None` while the conversion is unattributed.
    pub credit: Option<Credit>,
    /// The layer that credited it.
    pub method: Option<Method>,
    /// The confidence of the credit; the amount is not multiplied by it.
    pub confidence: f64,
    /// Why.
    pub kind: EntryKind,
    /// The stage the deal is in after it; `None` for a stage the configuration does not name.
    pub stage: Option<StageName>,
    /// The difference, in the tenant's currency.
    pub amount: Money,
    /// Whether this is money earned (a won deal) or expected.
    pub is_cash: bool,
    /// When it happened, by the CRM's clock.
    pub occurred_at: Timestamp,
}
