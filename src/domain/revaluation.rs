//! Notices that stage values or rates were changed, and remembers how far the deals have been valued
//! anew: a deal's sum is the value of its stage under the configuration in force, also of deals that
//! nothing happened to since.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::fx::FxTable;
use super::ids::DealId;
use super::stages::StageTable;

/// Tells one set of stage values and rates from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuationMark(String);

impl ValuationMark {
    /// The mark of these values and rates. How sure the owner is of a value is no part of it, nor is
    /// the order in which one stage's ids are given.
    #[must_use]
    pub fn of(stages: &StageTable, fx: &FxTable) -> Self {
        let mut text = String::new();
        for stage in stages.all() {
            let mut ids: Vec<&str> = stage.vendor_ids.iter().map(|id| id.as_str()).collect();
            ids.sort_unstable();
            let kind = (stage.is_won, stage.is_lost);
            let (name, value) = (stage.name.as_str(), stage.value.minor());
            let currency = stage.value.currency();
            // The debug form quotes names, so that no name can look like two.
            let _ = writeln!(text, "{name:?} {value} {currency} {kind:?} {ids:?}");
        }
        for (from, rate) in fx.rates() {
            let _ = writeln!(text, "{from:?} {rate}");
        }
        let _ = write!(text, "{:?}", fx.company_currency());
        let digest = Sha256::digest(text.as_bytes());
        Self(hex::encode(digest.get(..16).unwrap_or_default()))
    }
}

/// How far the deals have been valued by the values in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revaluation {
    /// All of them.
    Done,
    /// Those up to this one, in the order of ids; none yet without one.
    After(Option<DealId>),
}

impl Revaluation {
    /// What a note of [`Revaluation::note`] says while `mark` is in force: a note of other values,
    /// none, or one that nobody wrote like this means beginning anew.
    #[must_use]
    pub fn of(note: Option<&str>, mark: &ValuationMark) -> Self {
        let rest = note.and_then(|note| note.strip_prefix(mark.0.as_str()));
        match rest {
            Some("") => Self::Done,
            Some(rest) => {
                let id = rest.strip_prefix(' ').and_then(|id| DealId::new(id).ok());
                Self::After(id)
            }
            None => Self::After(None),
        }
    }

    /// The note to keep.
    #[must_use]
    pub fn note(&self, mark: &ValuationMark) -> String {
        match self {
            Self::Done => mark.0.clone(),
            Self::After(Some(id)) => format!("{} {id}", mark.0),
            Self::After(None) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deal::StageValue;
    use crate::domain::ids::{StageName, VendorStageId};
    use crate::domain::money::{Currency, Money};

    fn stage() -> StageValue {
        let id = |text| VendorStageId::new(text).unwrap();
        StageValue {
            name: StageName::new("show").unwrap(),
            value: Money::from_minor(900, Currency::USD),
            confidence: 0.5,
            vendor_ids: vec![id("1"), id("2")],
            is_won: false,
            is_lost: false,
        }
    }

    fn mark(change: impl Fn(&mut StageValue), fx: FxTable) -> ValuationMark {
        let mut stage = stage();
        change(&mut stage);
        let table = StageTable::new(vec![stage], Currency::USD).unwrap();
        ValuationMark::of(&table, &fx)
    }

    fn usd() -> FxTable {
        FxTable::new(Currency::USD)
    }

    #[test]
    fn whatever_changes_a_deals_value_changes_the_mark() {
        let same = mark(|_| {}, usd());
        assert_eq!(mark(|s| s.confidence = 0.9, usd()), same);
        assert_eq!(mark(|s| s.vendor_ids.reverse(), usd()), same);
        let others = [
            mark(|s| s.value = Money::from_minor(901, Currency::USD), usd()),
            mark(|s| s.name = StageName::new("shown").unwrap(), usd()),
            mark(|s| s.vendor_ids.truncate(1), usd()),
            mark(|s| s.is_won = true, usd()),
            mark(|s| s.is_lost = true, usd()),
            mark(|_| {}, usd().with_rate("EUR", "1.1").unwrap()),
            mark(|_| {}, usd().with_rate("EUR", "1.11").unwrap()),
            mark(|_| {}, usd().with_company_currency("EUR")),
        ];
        for (place, other) in others.iter().enumerate() {
            assert_ne!(*other, same, "{place}");
            assert!(!others[..place].contains(other), "{place}");
        }
        // 1.10 is 1.1.
        assert_eq!(
            mark(|_| {}, usd().with_rate("EUR", "1.10").unwrap()),
            others[5]
        );
    }

    #[test]
    fn a_note_is_of_the_values_in_force_or_of_none() {
        let (mine, other) = (mark(|_| {}, usd()), mark(|s| s.is_won = true, usd()));
        let id = DealId::new("17 b").unwrap();
        for state in [Revaluation::Done, Revaluation::After(Some(id))] {
            let note = state.note(&mine);
            assert_eq!(Revaluation::of(Some(&note), &mine), state);
            let anew = Revaluation::After(None);
            assert_eq!(Revaluation::of(Some(&note), &other), anew);
        }
        for note in [None, Some(""), Some("rubbish")] {
            assert_eq!(Revaluation::of(note, &mine), Revaluation::After(None));
        }
    }
}
