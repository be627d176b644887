//! The account's rates and what its campaigns and ad sets lend their ads (ALGORITHM 3.3, 3.4).

use std::collections::BTreeMap;

use super::funnel::Funnel;
use super::gamma::shrunk;
use super::ledger::AdLedger;
use crate::domain::ids::{AdSetId, CampaignId};
use crate::domain::policy::{AdEvidence, PolicyParams};

/// Clicks and spend that stand for an account without any: three units of money a click.
const COST_CLICKS: f64 = 10.0;
const COST_SPEND: f64 = 30.0;

/// How many stages, from the first, a family may differ in.
const FAMILY_STAGES: usize = 2;

/// The account's rates.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Rate of each stage from the one before (r).
    pub rates: Vec<f64>,
    /// Clicks per currency unit (c).
    pub clicks_per_unit: f64,
}

impl Account {
    /// Rates over all ads; those that ended earlier count with less weight.
    #[must_use]
    pub fn of(ledgers: &[AdLedger], funnel: &Funnel, params: &PolicyParams) -> Self {
        let mut sum = Sums::of(funnel.len());
        for ledger in ledgers {
            sum.add(ledger, weight(ledger, params));
        }
        Self {
            rates: funnel
                .stages()
                .iter()
                .enumerate()
                .map(|(k, stage)| {
                    let (n, e) = sum.stage(k);
                    shrunk(params.a_account, stage.prior_rate, n, e)
                })
                .collect(),
            clicks_per_unit: (sum.clicks + COST_CLICKS) / (sum.spend + COST_SPEND),
        }
    }
}

fn weight(ledger: &AdLedger, params: &PolicyParams) -> f64 {
    if ledger.ended {
        params.ended_weight
    } else {
        1.0
    }
}

/// Sums over a group of ads.
#[derive(Debug, Clone)]
struct Sums {
    clicks: f64,
    spend: f64,
    stages: Vec<(f64, f64)>,
}

impl Sums {
    fn of(stages: usize) -> Self {
        Self {
            clicks: 0.0,
            spend: 0.0,
            stages: vec![(0.0, 0.0); stages],
        }
    }

    fn add(&mut self, ledger: &AdLedger, weight: f64) {
        self.clicks += weight * ledger.clicks_now;
        self.spend += weight * ledger.spend_now;
        for (slot, (n, e)) in self
            .stages
            .iter_mut()
            .zip(ledger.successes.iter().zip(&ledger.exposure))
        {
            slot.0 += weight * n;
            slot.1 += weight * e;
        }
    }

    fn stage(&self, k: usize) -> (f64, f64) {
        self.stages.get(k).copied().unwrap_or((0.0, 0.0))
    }
}

/// What each ad set lends its ads.
#[derive(Debug, Clone, Default)]
pub struct Family {
    /// Clicks per unit by ad set.
    clicks_per_unit: BTreeMap<(CampaignId, AdSetId), f64>,
    /// Rates of the first stages by ad set; empty while the hierarchy is off.
    means: BTreeMap<(CampaignId, AdSetId), Vec<f64>>,
}

impl Family {
    /// Groups `ads`, whose ledgers run in parallel.
    #[must_use]
    pub fn of(
        ads: &[&AdEvidence],
        ledgers: &[AdLedger],
        account: &Account,
        params: &PolicyParams,
    ) -> Self {
        let stages = account.rates.len();
        let mut sets: BTreeMap<(CampaignId, AdSetId), Sums> = BTreeMap::new();
        let mut campaigns: BTreeMap<CampaignId, Sums> = BTreeMap::new();
        for (ad, ledger) in ads.iter().zip(ledgers) {
            let weight = weight(ledger, params);
            sets.entry((ad.campaign.clone(), ad.ad_set.clone()))
                .or_insert_with(|| Sums::of(stages))
                .add(ledger, weight);
            if params.hierarchy {
                campaigns
                    .entry(ad.campaign.clone())
                    .or_insert_with(|| Sums::of(stages))
                    .add(ledger, weight);
            }
        }
        let means = if params.hierarchy {
            sets.iter()
                .map(|(key, set)| {
                    let means = account
                        .rates
                        .iter()
                        .enumerate()
                        .map(|(k, rate)| {
                            if k >= FAMILY_STAGES {
                                return *rate;
                            }
                            let (n, e) = campaigns.get(&key.0).map_or((0.0, 0.0), |c| c.stage(k));
                            let of_campaign = shrunk(params.a_campaign, *rate, n, e);
                            let (n, e) = set.stage(k);
                            shrunk(params.a_ad_set, of_campaign, n, e)
                        })
                        .collect();
                    (key.clone(), means)
                })
                .collect()
        } else {
            BTreeMap::new()
        };
        let clicks_per_unit = sets
            .into_iter()
            .map(|(key, set)| {
                let mean = shrunk(
                    params.a_cost,
                    account.clicks_per_unit,
                    set.clicks,
                    set.spend,
                );
                (key, mean)
            })
            .collect();
        Self {
            clicks_per_unit,
            means,
        }
    }

    /// Prior rate of each stage for an ad, before damping and look-alikes (f).
    #[must_use]
    pub fn means(&self, ad: &AdEvidence, account: &Account) -> Vec<f64> {
        if self.means.is_empty() {
            return account.rates.clone();
        }
        self.means
            .get(&(ad.campaign.clone(), ad.ad_set.clone()))
            .unwrap_or(&account.rates)
            .clone()
    }

    /// Prior clicks per unit for an ad.
    #[must_use]
    pub fn clicks_per_unit(&self, ad: &AdEvidence, account: &Account) -> f64 {
        self.clicks_per_unit
            .get(&(ad.campaign.clone(), ad.ad_set.clone()))
            .copied()
            .unwrap_or(account.clicks_per_unit)
    }
}
