//! The tenant's stages and their values, and how far a deal has come through them.

use super::deal::{CrmAmount, Deal, StageChange, StageValue};
use super::ids::{StageName, VendorStageId};
use super::money::Currency;
use super::time::Timestamp;

/// Why a list of stages is not a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadStages {
    /// Two stages have one name.
    #[error("stage {0} is stated twice")]
    Twice(StageName),
    /// Two stages claim one of the CRM's ids.
    #[error("stages {first} and {second} both claim the CRM's stage {id}")]
    Claimed {
        /// The CRM's id.
        id: VendorStageId,
        /// One of them.
        first: StageName,
        /// The other.
        second: StageName,
    },
    /// A stage's value is in another currency.
    #[error("the value of stage {stage} is in {found}, the tenant's currency is {expected}")]
    Currency {
        /// The stage.
        stage: StageName,
        /// The tenant's currency.
        expected: Currency,
        /// The value's.
        found: Currency,
    },
    /// A stage is both won and lost.
    #[error("stage {0} cannot be both won and lost")]
    WonAndLost(StageName),
}

/// A tenant's stages in the order of its funnel. Names and the CRM's ids are unique, all values
/// are in one currency.
#[derive(Debug, Clone, PartialEq)]
pub struct StageTable {
    stages: Vec<StageValue>,
}

impl StageTable {
    /// The table of these stages, given in the order of the funnel.
    ///
    /// # Errors
    /// When a name or a CRM id occurs twice, a value is in another currency than `currency`, or a
    /// stage is both won and lost.
    pub fn new(stages: Vec<StageValue>, currency: Currency) -> Result<Self, BadStages> {
        for (i, stage) in stages.iter().enumerate() {
            if stage.value.currency() != currency {
                return Err(BadStages::Currency {
                    stage: stage.name.clone(),
                    expected: currency,
                    found: stage.value.currency(),
                });
            }
            if stage.is_won && stage.is_lost {
                return Err(BadStages::WonAndLost(stage.name.clone()));
            }
            for earlier in stages.iter().take(i) {
                if earlier.name == stage.name {
                    return Err(BadStages::Twice(stage.name.clone()));
                }
                let shared = stage
                    .vendor_ids
                    .iter()
                    .find(|id| earlier.vendor_ids.contains(id));
                if let Some(id) = shared {
                    return Err(BadStages::Claimed {
                        id: id.clone(),
                        first: earlier.name.clone(),
                        second: stage.name.clone(),
                    });
                }
            }
        }
        Ok(Self { stages })
    }

    /// The stage that the CRM calls `id`: one that claims the id, else one of that very name.
    #[must_use]
    pub fn by_vendor_id(&self, id: &VendorStageId) -> Option<&StageValue> {
        self.stages
            .iter()
            .find(|stage| stage.vendor_ids.contains(id))
            .or_else(|| {
                self.stages
                    .iter()
                    .find(|stage| stage.name.as_str() == id.as_str())
            })
    }

    /// The stage of this name.
    #[must_use]
    pub fn by_name(&self, name: &StageName) -> Option<&StageValue> {
        self.stages.iter().find(|stage| stage.name == *name)
    }

    /// The open stages in order, and the won one: what a deal passes on its way.
    pub fn funnel(&self) -> impl Iterator<Item = &StageValue> {
        self.stages.iter().filter(|stage| !stage.is_lost)
    }

    /// Every stage, in the order given.
    #[must_use]
    pub fn all(&self) -> &[StageValue] {
        &self.stages
    }

    /// Whether the CRM's stage `id` means that the deal is lost.
    #[must_use]
    pub fn is_lost(&self, id: &VendorStageId) -> bool {
        self.by_vendor_id(id).is_some_and(|stage| stage.is_lost)
    }

    /// The place of the CRM's stage `id` in [`StageTable::funnel`], from 0.
    #[must_use]
    pub fn funnel_index(&self, id: &VendorStageId) -> Option<usize> {
        let found = self.by_vendor_id(id)?;
        self.funnel().position(|stage| stage.name == found.name)
    }
}

/// How far a deal has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// For each stage of the funnel, when it was reached; a skipped stage counts as reached at the
    /// time of the later one, one that the deal fell back from as not reached.
    pub entered_at: Vec<Option<Timestamp>>,
    /// When the deal was lost, while it is.
    pub lost_at: Option<Timestamp>,
    /// A won deal's own amount, where the CRM has one; unconverted.
    pub won_amount: Option<CrmAmount>,
}

/// The deal's history in order of time, ending in its present stage even where the history lags
/// behind it.
#[must_use]
pub fn full_history(deal: &Deal) -> Vec<StageChange> {
    let mut history = deal.history.clone();
    history.sort_by_key(|change| change.at);
    if history.last().is_none_or(|last| last.stage != deal.stage) {
        let at = history
            .last()
            .map_or(deal.updated_at, |last| last.at.max(deal.updated_at));
        let stage = deal.stage.clone();
        history.push(StageChange { at, stage });
    }
    history
}

/// How far a deal has come through the funnel. A deal deleted in the CRM has come nowhere.
#[must_use]
pub fn progress(deal: &Deal, stages: &StageTable) -> Progress {
    let mut entered_at: Vec<Option<Timestamp>> = vec![None; stages.funnel().count()];
    let mut lost_at = None;
    if deal.is_archived {
        return Progress {
            entered_at,
            lost_at,
            won_amount: None,
        };
    }
    for change in full_history(deal) {
        if stages.is_lost(&change.stage) {
            lost_at = lost_at.or(Some(change.at));
        } else if let Some(index) = stages.funnel_index(&change.stage) {
            lost_at = None;
            for (place, entered) in entered_at.iter_mut().enumerate() {
                if place > index {
                    *entered = None;
                } else {
                    *entered = entered.or(Some(change.at));
                }
            }
        }
    }
    let is_won = stages
        .by_vendor_id(&deal.stage)
        .is_some_and(|stage| stage.is_won);
    Progress {
        entered_at,
        lost_at,
        won_amount: deal.amount.clone().filter(|_| is_won),
    }
}
