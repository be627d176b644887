//! What tells how deals that were read differ from those kept; pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::crm::{as_kept, differs};
use super::values::micros;
use crate::domain::deal::Deal;
use crate::domain::ids::DealId;
use crate::domain::time::Timestamp;

/// What is kept of the deals that are to be recorded, and what is to be written of them.
#[derive(Default)]
pub(in crate::store) struct Recording<'d> {
    /// Each deal's own row and when it was read.
    pub(in crate::store) kept: HashMap<DealId, (Deal, Timestamp)>,
    pub(in crate::store) events: HashSet<(String, i64, String)>,
    pub(in crate::store) contacts: HashMap<String, BTreeSet<String>>,
    pub(in crate::store) new_events: Vec<(&'d str, i64, &'d str)>,
    /// Deals whose contacts are others than before.
    pub(in crate::store) other_contacts: BTreeSet<&'d str>,
    /// The last state of each deal, and by how many revisions it moves on.
    pub(in crate::store) states: BTreeMap<&'d str, (&'d Deal, i64)>,
}

impl<'d> Recording<'d> {
    /// Holds a deal against what is kept; `true` when it differs.
    pub(in crate::store) fn take_up(&mut self, deal: &'d Deal, read_at: Timestamp) -> bool {
        let name = deal.id.as_str();
        let mut is_new_state = match self.kept.get(&deal.id) {
            Some((_, kept_at)) if *kept_at > read_at => return false,
            Some((known, _)) => differs(known.clone(), deal),
            None => true,
        };
        for change in &deal.history {
            let (at, stage) = (micros(change.at), change.stage.as_str());
            if self.events.insert((name.to_owned(), at, stage.to_owned())) {
                self.new_events.push((name, at, stage));
                is_new_state = true;
            }
        }
        let wanted: BTreeSet<String> = deal
            .contacts
            .iter()
            .map(|contact| contact.as_str().to_owned())
            .collect();
        let known = self.contacts.entry(name.to_owned()).or_default();
        if *known != wanted {
            *known = wanted;
            self.other_contacts.insert(name);
            is_new_state = true;
        }
        let state = self.states.entry(name).or_insert((deal, 0));
        state.0 = deal;
        state.1 += i64::from(is_new_state);
        self.kept.insert(deal.id.clone(), (as_kept(deal), read_at));
        is_new_state
    }

    /// The contacts of the deals whose contacts are others than before, each with its deal.
    pub(in crate::store) fn contact_pairs(&self) -> Vec<(&'d str, &String)> {
        self.other_contacts
            .iter()
            .filter_map(|deal| self.contacts.get(*deal).map(|contacts| (*deal, contacts)))
            .flat_map(|(deal, contacts)| contacts.iter().map(move |contact| (deal, contact)))
            .collect()
    }
}
