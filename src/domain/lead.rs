//! Leads of Meta's lead forms: who filled in a form, and the ad that showed it.

use super::attribution::{Credit, MetaLead};
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

    /// Whether the person of these hashes may have filled it in.
    #[must_use]
    pub fn is_of(&self, email: Option<&KeyedHash>, phone: Option<&KeyedHash>) -> bool {
        let meets = |own: &Option<KeyedHash>, other: Option<&KeyedHash>| {
            own.as_ref().is_some_and(|own| other == Some(own))
        };
        meets(&self.email, email) || meets(&self.phone, phone)
    }
}
