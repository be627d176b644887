//! Leads of Meta's lead forms: who filled in a form, and the ad that showed it.

use std::collections::BTreeMap;

use super::attribution::{Credit, MetaLead};
use super::deal::Contact;
use super::ids::{AdId, AdSetId, CampaignId, LeadId};
use super::time::Timestamp;
use super::visit::KeyedHash;

/// A lead as Meta tells of it. Of the answers only mail address and telephone number are looked at,
/// and kept as keyed hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// Meta's id of it.
    pub id: LeadId,
    /// When the form was sent.
    pub made_at: Timestamp,
    /// The form.
    pub form: Option<String>,
    /// The ad; missing for organic leads, previews, and a token without rights on the ad.
    pub ad: Option<AdId>,
    /// Its ad set.
    pub ad_set: Option<AdSetId>,
    /// Its campaign.
    pub campaign: Option<CampaignId>,
    /// The mail address.
    pub email: Option<KeyedHash>,
    /// The telephone number.
    pub phone: Option<KeyedHash>,
}

impl Lead {
    /// The lead as evidence; `None` when it names no ad.
    #[must_use]
    pub fn evidence(&self) -> Option<MetaLead> {
        Some(MetaLead {
            id: self.id.as_str().to_owned(),
            at: self.made_at,
            credit: Credit {
                ad: self.ad.clone()?,
                ad_set: self.ad_set.clone(),
                campaign: self.campaign.clone(),
            },
        })
    }
}

/// Leads, found by what contacts tell of themselves.
#[derive(Debug, Clone, Default)]
pub struct Leads {
    by_id: BTreeMap<String, Lead>,
    /// Ids by mail address and by telephone number.
    by_person: BTreeMap<KeyedHash, Vec<String>>,
}

impl Leads {
    /// Leads in the order of their ids.
    #[must_use]
    pub fn of(leads: Vec<Lead>) -> Self {
        let mut all = Self::default();
        for lead in leads {
            let id = lead.id.as_str().to_owned();
            for hash in lead.email.iter().chain(&lead.phone) {
                let ids = all.by_person.entry(hash.clone()).or_default();
                ids.push(id.clone());
            }
            all.by_id.insert(id, lead);
        }
        all
    }

    /// The leads of a deal's contacts. A contact that carries no lead's id gets that of the last lead
    /// before the deal with the same mail address or telephone number: Meta's forms and the CRM seldom
    /// share more.
    #[must_use]
    pub fn name(&self, contacts: &mut [Contact], deal_at: Timestamp) -> Vec<MetaLead> {
        let mut named: BTreeMap<&str, &Lead> = BTreeMap::new();
        for facts in contacts.iter_mut().map(|contact| &mut contact.facts) {
            let by_id = facts
                .meta_lead_id
                .as_ref()
                .and_then(|id| self.by_id.get(id));
            let by_person: Vec<&Lead> = facts
                .email
                .iter()
                .chain(&facts.phone)
                .filter_map(|hash| self.by_person.get(hash))
                .flatten()
                .filter_map(|id| self.by_id.get(id))
                .collect();
            if by_id.is_none() {
                let earlier = by_person
                    .iter()
                    .filter(|lead| lead.ad.is_some() && lead.made_at <= deal_at);
                if let Some(last) = earlier.max_by_key(|lead| (lead.made_at, &lead.id)) {
                    facts.meta_lead_id = Some(last.id.as_str().to_owned());
                }
            }
            named.extend(
                by_id
                    .into_iter()
                    .chain(by_person)
                    .map(|lead| (lead.id.as_str(), lead)),
            );
        }
        named.into_values().filter_map(Lead::evidence).collect()
    }
}
