//! Deals joined to the ads of an account.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::ads::AccountExport;
use super::deals::DealRow;
use super::numbers::Decimal;
use super::{clip, columns};
use crate::domain::ids::{AdId, AdSetId, CampaignId};

/// Deals with the ads they are credited to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JoinedDeals {
    /// Place in the list of deals, the ad, and its share of the credit. A deal that only its ad set
    /// or campaign is known of is shared between the ads there, by clicks.
    pub credits: Vec<(usize, AdId, f64)>,
    /// How many deals name an ad of the account.
    pub by_ad: usize,
    /// How many name only an ad set.
    pub by_ad_set: usize,
    /// How many name only a campaign.
    pub by_campaign: usize,
    /// How many name something that the account does not have.
    pub unknown: usize,
    /// How many name nothing.
    pub unnamed: usize,
    /// Some of the names that were not found.
    pub unknown_examples: Vec<String>,
}

impl JoinedDeals {
    /// How many deals are credited to at least one ad.
    #[must_use]
    pub const fn matched(&self) -> usize {
        self.by_ad + self.by_ad_set + self.by_campaign
    }
}

/// Joins deals to the ads of an account: by ad id or a name that only one ad has, else by ad set,
/// else by campaign.
#[must_use]
pub fn join(account: &AccountExport, deals: &[DealRow]) -> JoinedDeals {
    let index = Index::of(account);
    let mut joined = JoinedDeals::default();
    for (at, deal) in deals.iter().enumerate() {
        let single = deal
            .ad_keys
            .iter()
            .find_map(|key| index.ads.get(&folded(key)))
            .and_then(only);
        if let Some(ad) = single {
            joined.by_ad += 1;
            joined.credits.push((at, ad.clone(), 1.0));
            continue;
        }
        let set = deal
            .ad_set_keys
            .iter()
            .find_map(|key| index.ad_sets.get(&folded(key)))
            .and_then(only);
        let campaign = || {
            deal.campaign_keys
                .iter()
                .find_map(|key| index.campaigns.get(&folded(key)))
                .and_then(only)
        };
        let members: Option<Vec<(AdId, f64)>> = match set {
            Some(set) => {
                joined.by_ad_set += 1;
                Some(index.members(|(_, s, _)| *s == set))
            }
            None => campaign().map(|campaign| {
                joined.by_campaign += 1;
                index.members(|(c, _, _)| *c == campaign)
            }),
        };
        match members {
            Some(members) => {
                joined
                    .credits
                    .extend(members.into_iter().map(|(ad, share)| (at, ad, share)));
            }
            None => {
                let named = deal
                    .ad_keys
                    .iter()
                    .chain(&deal.ad_set_keys)
                    .chain(&deal.campaign_keys)
                    .next();
                match named {
                    Some(name) => {
                        joined.unknown += 1;
                        if joined.unknown_examples.len() < 5
                            && !joined.unknown_examples.contains(name)
                        {
                            joined.unknown_examples.push(clip(name, 40));
                        }
                    }
                    None => joined.unnamed += 1,
                }
            }
        }
    }
    joined
}

/// Ids and names, folded, to what they name; a name of several things names none.
struct Index<'a> {
    ads: HashMap<String, BTreeSet<&'a AdId>>,
    ad_sets: HashMap<String, BTreeSet<&'a AdSetId>>,
    campaigns: HashMap<String, BTreeSet<&'a CampaignId>>,
    /// Campaign, ad set and clicks of each ad.
    places: BTreeMap<&'a AdId, (&'a CampaignId, &'a AdSetId, Decimal)>,
}

fn folded(key: &str) -> String {
    columns::fold(key.trim())
}

fn only<'s, T: Ord>(set: &'s BTreeSet<&'s T>) -> Option<&'s T> {
    match set.len() {
        1 => set.first().copied(),
        _ => None,
    }
}

impl<'a> Index<'a> {
    fn of(account: &'a AccountExport) -> Self {
        let mut index = Self {
            ads: HashMap::new(),
            ad_sets: HashMap::new(),
            campaigns: HashMap::new(),
            places: BTreeMap::new(),
        };
        for row in &account.rows {
            for key in [row.ad.as_str(), &row.ad_name] {
                index.ads.entry(folded(key)).or_default().insert(&row.ad);
            }
            for key in [row.ad_set.as_str(), &row.ad_set_name] {
                index
                    .ad_sets
                    .entry(folded(key))
                    .or_default()
                    .insert(&row.ad_set);
            }
            for key in [row.campaign.as_str(), &row.campaign_name] {
                index
                    .campaigns
                    .entry(folded(key))
                    .or_default()
                    .insert(&row.campaign);
            }
            index
                .places
                .entry(&row.ad)
                .or_insert((&row.campaign, &row.ad_set, Decimal::ZERO))
                .2 += row.clicks;
        }
        index
    }

    /// The ads of a place, each with its share of the clicks there; equal shares without clicks.
    fn members(
        &self,
        is_in: impl Fn(&(&CampaignId, &AdSetId, Decimal)) -> bool,
    ) -> Vec<(AdId, f64)> {
        let members: Vec<(&AdId, f64)> = self
            .places
            .iter()
            .filter(|(_, place)| is_in(place))
            .map(|(ad, place)| (*ad, place.2.to_f64()))
            .collect();
        let clicks: f64 = members.iter().map(|(_, c)| c).sum();
        let equal = 1.0 / members.len().max(1) as f64;
        members
            .into_iter()
            .map(|(ad, c)| (ad.clone(), if clicks > 0.0 { c / clicks } else { equal }))
            .filter(|(_, share)| *share > 0.0)
            .collect()
    }
}
