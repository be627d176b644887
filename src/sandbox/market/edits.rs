//! People's edits of deals.

use crate::domain::ids::DealId;
use crate::domain::time::Timestamp;

use super::super::edits::{CrmDeal, CrmEdit};
use super::{CrmEvent, CrmKind, Deal, Event, Market, decimal};

/// Deals made by merging have ids from here on.
const MERGED: u64 = 40_000_000_000;

/// Puts a value into a history at its place; of one instant the later stands.
fn put<T>(history: &mut Vec<(Timestamp, T)>, at: Timestamp, value: T) {
    let place = history.partition_point(|(t, _)| *t <= at);
    history.insert(place, (at, value));
}

impl Market {
    /// The deals of the CRM at `at`, by id.
    pub(in crate::sandbox) fn crm(&self, at: Timestamp) -> Vec<CrmDeal> {
        let of = |deal: &Deal| {
            let view = deal.view(at)?;
            Some(CrmDeal {
                id: DealId::new(deal.id.to_string()).ok()?,
                stage: self.business.stages().get(view.stage)?.hubspot_stage,
                amount_minor: view.amount_minor,
                is_archived: view.is_archived,
            })
        };
        self.deals.values().filter_map(of).collect()
    }

    /// Does what a person does at `at`; says why it cannot be done.
    pub(in crate::sandbox) fn edit(&mut self, edit: &CrmEdit, at: Timestamp) -> Result<(), String> {
        match edit {
            CrmEdit::Stage { deal, stage } => {
                let stages = self.business.stages();
                let place = stages.iter().position(|s| s.hubspot_stage == stage);
                let place = place.ok_or_else(|| format!("there is no stage {stage:?}"))?;
                put(&mut self.there(*deal, at)?.stages, at, place);
                self.tell(
                    *deal,
                    at,
                    CrmKind::Property {
                        name: "dealstage",
                        value: stage.clone(),
                    },
                );
            }
            CrmEdit::Amount { deal, minor } => {
                put(&mut self.there(*deal, at)?.amounts, at, *minor);
                self.tell(
                    *deal,
                    at,
                    CrmKind::Property {
                        name: "amount",
                        value: decimal(*minor),
                    },
                );
            }
            CrmEdit::Delete { deal } => {
                self.archive(*deal, at)?;
                self.tell(*deal, at, CrmKind::Deletion);
            }
            CrmEdit::Restore { deal } => {
                let found = self.deals.get_mut(deal);
                let found = found.filter(|d| d.view(at).is_some_and(|v| v.is_archived));
                let found = found.ok_or_else(|| format!("deal {deal} is not deleted"))?;
                if found.is_merged {
                    return Err(format!("deal {deal} is part of another"));
                }
                put(&mut found.archived, at, false);
                self.tell(*deal, at, CrmKind::Restore);
            }
            CrmEdit::Merge {
                primary,
                other,
                is_third,
            } => self.merge(*primary, *other, *is_third, at)?,
        }
        Ok(())
    }

    /// A deal that is there at `at`.
    fn there(&mut self, deal: u64, at: Timestamp) -> Result<&mut Deal, String> {
        let found = self.deals.get_mut(&deal);
        found
            .filter(|d| d.view(at).is_some_and(|v| !v.is_archived))
            .ok_or_else(|| format!("there is no deal {deal}"))
    }

    /// Takes a deal away; what it would have become is forgotten.
    fn archive(&mut self, deal: u64, at: Timestamp) -> Result<(), String> {
        let found = self.there(deal, at)?;
        found.stages.retain(|(t, _)| *t <= at);
        found.amounts.retain(|(t, _)| *t <= at);
        put(&mut found.archived, at, true);
        self.pending
            .retain(|(t, of, _), event| *of != deal || *t <= at || !matches!(event, Event::Crm(_)));
        Ok(())
    }

    fn merge(
        &mut self,
        primary: u64,
        other: u64,
        is_third: bool,
        at: Timestamp,
    ) -> Result<(), String> {
        if primary == other {
            return Err("a deal is not merged with itself".to_owned());
        }
        self.there(other, at)?;
        let first = self.there(primary, at)?.clone();
        let second = self.there(other, at)?.clone();
        let mut gone = vec![other];
        let into = if is_third {
            gone.push(primary);
            MERGED + self.deals.range(MERGED..50_000_000_000).count() as u64
        } else {
            primary
        };
        if is_third {
            let past = |t: &Timestamp| *t <= at;
            let mut made = Deal {
                id: into,
                merged: Vec::new(),
                ..first
            };
            made.stages.retain(|(t, _)| past(t));
            made.amounts.retain(|(t, _)| past(t));
            made.since = Some(at);
            self.deals.insert(into, made);
        }
        for deal in &gone {
            self.archive(*deal, at)?;
            if let Some(deal) = self.deals.get_mut(deal) {
                deal.is_merged = true;
            }
        }
        if let Some(left) = self.deals.get_mut(&into) {
            for contact in second.contacts {
                if !left.contacts.contains(&contact) {
                    left.contacts.push(contact);
                }
            }
            left.merged.extend(gone.iter().map(|deal| (at, *deal)));
        }
        self.tell(
            into,
            at,
            CrmKind::Merge {
                primary,
                others: vec![other],
            },
        );
        for deal in gone {
            self.tell(deal, at, CrmKind::Deletion);
        }
        Ok(())
    }

    /// Books what HubSpot tells of an edit.
    fn tell(&mut self, deal: u64, at: Timestamp, kind: CrmKind) {
        let free = (100..=u8::MAX).find(|n| !self.pending.contains_key(&(at, deal, *n)));
        if let Some(n) = free {
            let event = CrmEvent { at, deal, kind };
            self.pending.insert((at, deal, n), Event::Crm(event));
        }
    }
}
