//! Which campaigns roasd works on, where the owner does not give it all of them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::ids::CampaignId;
use super::structure::{Campaign, EntityRef, HandsOff, Structure};

/// A pattern for names: `*` stands for any text, `?` for one character; capitals do not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

/// An empty pattern, which would fit nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it fits no name")]
pub struct EmptyGlob;

impl FromStr for Glob {
    type Err = EmptyGlob;

    fn from_str(text: &str) -> Result<Self, EmptyGlob> {
        if text.is_empty() {
            return Err(EmptyGlob);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Glob {
    /// Whether the whole of a name fits. Takes time in proportion to the product of both lengths.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let pattern: Vec<char> = self.0.to_lowercase().chars().collect();
        let name: Vec<char> = name.to_lowercase().chars().collect();
        // Which beginnings of the name the pattern so far fits.
        let mut fits = vec![false; name.len() + 1];
        if let Some(first) = fits.first_mut() {
            *first = true;
        }
        for symbol in pattern {
            let mut next = Vec::with_capacity(fits.len());
            for at in 0..=name.len() {
                let here = fits.get(at).copied().unwrap_or(false);
                let before = at.checked_sub(1);
                let one_less = before.and_then(|b| fits.get(b)).copied().unwrap_or(false);
                let is_same = before.and_then(|b| name.get(b)) == Some(&symbol);
                next.push(match symbol {
                    '*' => here || before.and_then(|b| next.get(b)).copied().unwrap_or(false),
                    '?' => one_less,
                    _ => one_less && is_same,
                });
            }
            fits = next;
        }
        fits.last().copied().unwrap_or(false)
    }
}

/// The campaigns that roasd works on: those that are named by id or whose name fits a pattern; all of
/// them where neither is stated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manage {
    /// By id.
    pub ids: BTreeSet<CampaignId>,
    /// By name.
    pub names: Vec<Glob>,
}

impl Manage {
    /// Whether a campaign is one of them.
    #[must_use]
    pub fn selects(&self, campaign: &Campaign) -> bool {
        (self.ids.is_empty() && self.names.is_empty())
            || self.ids.contains(&campaign.id)
            || self.names.iter().any(|name| name.fits(&campaign.name))
    }

    /// Why the budget of an object must be left alone; `None` when it may be moved.
    #[must_use]
    pub fn budget_hands_off(&self, structure: &Structure, entity: &EntityRef) -> Option<HandsOff> {
        structure
            .budget_hands_off(entity)
            .or_else(|| self.unmanaged(structure, entity))
    }

    /// Why the status of an object must be left alone; `None` when it may be set.
    #[must_use]
    pub fn status_hands_off(&self, structure: &Structure, entity: &EntityRef) -> Option<HandsOff> {
        structure
            .status_hands_off(entity)
            .or_else(|| self.unmanaged(structure, entity))
    }

    fn unmanaged(&self, structure: &Structure, entity: &EntityRef) -> Option<HandsOff> {
        let campaign = structure.campaign_of(entity)?;
        (!self.selects(campaign)).then_some(HandsOff::NotManaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::tests_support::account;
    use crate::domain::structure::RunStatus;

    #[test]
    fn a_pattern_fits_whole_names() {
        for (pattern, name, fits) in [
            ("Leads", "leads", true),
            ("Leads", "Leads 2", false),
            ("Leads*", "Leads 2", true),
            ("*2", "Leads 2", true),
            ("*ea*2*", "Leads 2", true),
            ("L?ads*", "Leads", true),
            ("L?ads", "Lads", false),
            ("*", "", true),
            ("?", "", false),
            ("[auto]*", "[AUTO] Gym", true),
            ("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("ÄÖ*", "äöü", true),
        ] {
            assert_eq!(
                pattern.parse::<Glob>().unwrap().fits(name),
                fits,
                "{pattern} {name}"
            );
        }
        assert_eq!("".parse::<Glob>(), Err(EmptyGlob));
    }

    #[test]
    fn what_is_not_selected_is_left_alone() {
        let structure = account(100, RunStatus::Active);
        let set = structure
            .ad_sets
            .keys()
            .next()
            .cloned()
            .map(EntityRef::AdSet);
        let campaign = structure
            .campaigns
            .keys()
            .next()
            .cloned()
            .map(EntityRef::Campaign);
        let (set, campaign) = (set.unwrap(), campaign.unwrap());
        let by_name = |pattern: &str| Manage {
            ids: BTreeSet::new(),
            names: vec![pattern.parse().unwrap()],
        };
        let by_id = |id: &str| Manage {
            ids: [CampaignId::new(id).unwrap()].into(),
            names: Vec::new(),
        };
        for (manage, is_managed) in [
            (Manage::default(), true),
            (by_name("lead*"), true),
            (by_name("brand*"), false),
            (by_id("1"), true),
            (by_id("2"), false),
        ] {
            let expected = (!is_managed).then_some(HandsOff::NotManaged);
            assert_eq!(manage.budget_hands_off(&structure, &set), expected);
            assert_eq!(manage.status_hands_off(&structure, &campaign), expected);
        }
        // A better reason is told first.
        let none = by_name("brand*").budget_hands_off(&structure, &campaign);
        assert_eq!(none, Some(HandsOff::NoBudgetHere));
    }
}
