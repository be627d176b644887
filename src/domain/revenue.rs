//! Synthetic revenue: what a deal's stage is worth, kept as a ledger of differences, so that a
//! deal's entries always sum to the value of its present stage.

use std::collections::BTreeMap;

use super::attribution::{Attribution, Credit, Method};
use super::deal::Deal;
use super::fx::FxError;
use super::ids::{AdId, DealId, StageName, VendorStageId};
use super::money::{Currency, Money, MoneyError, Rounding};
use super::stages::full_history;
use super::time::Timestamp;

pub use super::fx::FxTable;
pub use super::stages::{Progress, StageTable, progress};

/// Why an entry was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A stage was reached, skipped to, or fallen back from: the difference.
    Stage,
    /// The amount of a won deal was edited: the difference.
    Amount,
    /// Credit taken from one ad before it is given to another, or because the deal was deleted.
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

/// Why a deal's ledger cannot be moved; it holds the tenant, since a guess would move budgets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevenueFault {
    /// The won deal's amount is in a currency that has no rate, or is no number.
    #[error("the amount of deal {deal} cannot be used")]
    Amount {
        /// The deal.
        deal: DealId,
        /// Why.
        #[source]
        cause: FxError,
    },
    /// The deal's earlier entries, a stage's value or the rates are in another currency.
    #[error(
        "the ledger of deal {deal} is in {found}, the tenant's currency is {expected}; was the tenant's currency changed?"
    )]
    Currency {
        /// The deal.
        deal: DealId,
        /// The tenant's currency.
        expected: Currency,
        /// The other one.
        found: Currency,
    },
    /// A sum does not fit.
    #[error("the ledger of deal {deal} does not add up")]
    Sum {
        /// The deal.
        deal: DealId,
        /// Why.
        #[source]
        cause: MoneyError,
    },
}

impl RevenueFault {
    /// The deal that is at fault.
    #[must_use]
    pub const fn deal(&self) -> &DealId {
        match self {
            Self::Amount { deal, .. } | Self::Currency { deal, .. } | Self::Sum { deal, .. } => {
                deal
            }
        }
    }
}

/// What a deal is worth at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Valuation {
    /// The value of a stage that the configuration names.
    Known {
        /// The stage.
        stage: StageName,
        /// Its value, or the won deal's own amount.
        amount: Money,
        /// Whether it is money earned.
        is_cash: bool,
    },
    /// The configuration does not name the stage: the deal keeps the value it had.
    UnknownStage(VendorStageId),
    /// The deal was deleted in the CRM: it is worth nothing.
    Deleted,
}

/// What a deal is worth at present: the value of its stage, of a won deal its own amount where it
/// is known.
///
/// # Errors
/// [`RevenueFault`] when the amount cannot be converted into `currency`.
pub fn valuation(
    deal: &Deal,
    stages: &StageTable,
    fx: &FxTable,
    currency: Currency,
) -> Result<Valuation, RevenueFault> {
    if deal.is_archived {
        return Ok(Valuation::Deleted);
    }
    let Some(stage) = stages.by_vendor_id(&deal.stage) else {
        return Ok(Valuation::UnknownStage(deal.stage.clone()));
    };
    let own = match &deal.amount {
        Some(amount) if stage.is_won => {
            fx.convert(amount, Rounding::Nearest)
                .map_err(|cause| RevenueFault::Amount {
                    deal: deal.id.clone(),
                    cause,
                })?
        }
        _ => None,
    };
    let amount = match own {
        Some(amount) => amount,
        None if stage.is_lost => Money::zero(currency),
        None => stage.value,
    };
    in_currency(deal, amount, currency)?;
    Ok(Valuation::Known {
        stage: stage.name.clone(),
        amount,
        is_cash: stage.is_won,
    })
}

/// Whom an amount stands with: the ad and the layer that credited it.
type Holder = (Option<AdId>, Option<Method>);

/// What one holder has of a deal, expected and earned apart.
#[derive(Clone)]
struct Holding {
    credit: Option<Credit>,
    confidence: f64,
    expected: Money,
    cash: Money,
}

/// The entries that move a deal's ledger from its present sum to the value of its present stage.
///
/// - The sum over `previous` and the entries returned is the value of the present stage, and all
///   of it stands with the ad credited now. Asked again with the entries added, there are none.
/// - Expected and earned money are kept apart: a won deal's expectation is taken back
///   (`is_cash` false) and its amount entered (`is_cash` true), so that the sum over the entries
///   with `is_cash` is money earned.
/// - A credit that moves to another ad, or to the same ad by another layer, is a
///   [`EntryKind::Reversal`] and a [`EntryKind::Recredit`]. A confidence that was merely calibrated
///   anew moves nothing.
/// - A lost deal is taken back; a deleted one is reversed to nothing.
/// - In a stage that the configuration does not name a deal keeps its value ([`valuation`] says
///   so); a changed credit still moves.
///
/// `at` is the time of what called for this (the CRM's event); a stage entry carries the
/// time at which the CRM says the stage was entered.
///
/// # Errors
/// [`RevenueFault`] when an amount has no rate or currencies do not agree; nothing is entered.
pub fn entries_for(
    deal: &Deal,
    attribution: Option<&Attribution>,
    previous: &[RevenueEntry],
    stages: &StageTable,
    fx: &FxTable,
    currency: Currency,
    at: Timestamp,
) -> Result<Vec<RevenueEntry>, RevenueFault> {
    let sum = |a: Money, b: Money| {
        a.checked_add(b).map_err(|cause| RevenueFault::Sum {
            deal: deal.id.clone(),
            cause,
        })
    };
    let zero = Money::zero(currency);
    let mut holdings: BTreeMap<Holder, Holding> = BTreeMap::new();
    let (mut expected, mut cash) = (zero, zero);
    for entry in previous.iter().filter(|entry| entry.deal == deal.id) {
        in_currency(deal, entry.amount, currency)?;
        let key = (entry.credit.as_ref().map(|c| c.ad.clone()), entry.method);
        let holding = holdings.entry(key).or_insert_with(|| Holding {
            credit: entry.credit.clone(),
            confidence: entry.confidence,
            expected: zero,
            cash: zero,
        });
        if entry.is_cash {
            holding.cash = sum(holding.cash, entry.amount)?;
            cash = sum(cash, entry.amount)?;
        } else {
            holding.expected = sum(holding.expected, entry.amount)?;
            expected = sum(expected, entry.amount)?;
        }
    }
    let last_stage = previous
        .iter()
        .rev()
        .find(|entry| entry.deal == deal.id)
        .and_then(|entry| entry.stage.clone());
    let (stage, want_expected, want_cash, kind) = match valuation(deal, stages, fx, currency)? {
        Valuation::Known {
            stage,
            amount,
            is_cash,
        } => {
            let same_stage = last_stage.as_ref() == Some(&stage);
            let kind = if same_stage && is_cash {
                EntryKind::Amount
            } else {
                EntryKind::Stage
            };
            let (e, c) = if is_cash {
                (zero, amount)
            } else {
                (amount, zero)
            };
            (Some(stage), e, c, kind)
        }
        Valuation::UnknownStage(_) => (None, expected, cash, EntryKind::Stage),
        Valuation::Deleted => (last_stage.clone(), zero, zero, EntryKind::Reversal),
    };
    // A value restated for the same stage happens now; entering a stage happened when it did.
    let entered = if stage.is_some() && last_stage == stage {
        at
    } else {
        full_history(deal).last().map_or(at, |change| change.at)
    };
    let now_with: Holder = (
        attribution.map(|a| a.credit.ad.clone()),
        attribution.map(|a| a.method),
    );
    let line =
        |credit: Option<Credit>, method, confidence, kind, amount, is_cash, when| RevenueEntry {
            deal: deal.id.clone(),
            credit,
            method,
            confidence,
            kind,
            stage: stage.clone(),
            amount,
            is_cash,
            occurred_at: when,
        };
    let minus = |a: Money, b: Money| {
        a.checked_sub(b).map_err(|cause| RevenueFault::Sum {
            deal: deal.id.clone(),
            cause,
        })
    };
    let mut entries = Vec::new();
    // A deal that is to be worth nothing is taken back from whoever holds it, not passed on first.
    let own_now = |holder: &Holder| *holder == now_with;
    for (is_cash, want, held) in [(false, want_expected, expected), (true, want_cash, cash)] {
        let part = |h: &Holding| if is_cash { h.cash } else { h.expected };
        let mut moved = zero;
        for (holder, holding) in holdings.iter().filter(|(holder, _)| !own_now(holder)) {
            let amount = part(holding);
            if amount.is_zero() {
                continue;
            }
            moved = sum(moved, amount)?;
            let back = minus(zero, amount)?;
            let kind = if want.is_zero() && kind != EntryKind::Reversal {
                kind
            } else {
                EntryKind::Reversal
            };
            entries.push(line(
                holding.credit.clone(),
                holder.1,
                holding.confidence,
                kind,
                back,
                is_cash,
                if kind == EntryKind::Reversal {
                    at
                } else {
                    entered
                },
            ));
        }
        let credit = || attribution.map(|a| a.credit.clone());
        let confidence = attribution.map_or(0.0, |a| a.confidence);
        let mut own = minus(held, moved)?;
        if !moved.is_zero() && !want.is_zero() {
            let kind = EntryKind::Recredit;
            entries.push(line(
                credit(),
                now_with.1,
                confidence,
                kind,
                moved,
                is_cash,
                at,
            ));
            own = held;
        }
        let difference = minus(want, own)?;
        if !difference.is_zero() {
            let when = match kind {
                EntryKind::Stage => entered,
                EntryKind::Amount | EntryKind::Reversal | EntryKind::Recredit => at,
            };
            entries.push(line(
                credit(),
                now_with.1,
                confidence,
                kind,
                difference,
                is_cash,
                when,
            ));
        }
    }
    Ok(entries)
}

fn in_currency(deal: &Deal, amount: Money, currency: Currency) -> Result<(), RevenueFault> {
    if amount.currency() == currency {
        Ok(())
    } else {
        Err(RevenueFault::Currency {
            deal: deal.id.clone(),
            expected: currency,
            found: amount.currency(),
        })
    }
}
