//! What a policy is shown of a market: delivery so far, and deals as far as they were credited.

use std::collections::{BTreeMap, BTreeSet};

use super::settings::Setting;
use crate::domain::bandit::KeyedStream;
use crate::domain::ids::{AdId, AdSetId, CampaignId};
use crate::domain::money::Money;
use crate::domain::policy::{
    AdEvidence, AdState, Bucket, BudgetEntity, BudgetLimits, DealEvidence, HeldBudgets,
    PolicyInputs, PolicyParams, Record,
};
use crate::domain::structure::EntityRef;
use crate::domain::time::{self, Timestamp};
use crate::sandbox::lone::{Holder, Lone, LoneAd, LoneDeal};

/// Share of an ad's deals that are credited to it, and to another ad. The rest are credited to none.
const CREDITED: f64 = 0.85;
const MISTAKEN: f64 = 0.04;
/// Share of deals that no ad caused and that are credited to one.
const CLAIMED: f64 = 0.05;
/// How sure a credit says to be.
const CONFIDENCE: f64 = 0.95;
/// Days for which delivery is shown hour by hour.
const HOURLY_DAYS: i64 = 1;

/// What the loop remembers of its own deeds.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// Budgets each entity was given, with times, oldest first.
    pub(super) moves: BTreeMap<String, Vec<(Timestamp, i64, i64)>>,
    /// Ads put aside.
    pub(super) aside: BTreeMap<AdId, AdState>,
    /// First budgets.
    pub(super) first: BTreeMap<String, i64>,
}

/// What does not change while a market runs.
#[derive(Debug, Clone)]
pub(super) struct View {
    setting: Setting,
    seed: u64,
    credits: KeyedStream,
    pub(super) limits: BudgetLimits,
    neighbours: Vec<Vec<(AdId, f64)>>,
}

impl View {
    pub(super) fn new(setting: Setting, seed: u64, market: &Lone) -> Self {
        Self {
            setting,
            seed,
            credits: KeyedStream::new(seed, "credit", "deals", 0),
            limits: setting.limits(market),
            neighbours: neighbours(&market.ads()),
        }
    }

    /// All that is known at `now`.
    pub(super) fn inputs(
        &self,
        market: &Lone,
        memory: &Memory,
        params: PolicyParams,
        now: Timestamp,
        first_decision_of_day: bool,
    ) -> PolicyInputs {
        let ads = market.ads();
        let deals = market.deals(now);
        let mut credited: Vec<Vec<DealEvidence>> = vec![Vec::new(); ads.len()];
        let mut attributed = 0.0;
        for deal in &deals {
            if let Some(to) = self.credit(deal, ads.len())
                && let Some(slot) = credited.get_mut(to)
            {
                attributed += 1.0;
                slot.push(self.evidence(deal));
            }
        }
        let evidence = ads
            .iter()
            .zip(market.delivery())
            .zip(credited)
            .zip(&self.neighbours)
            .filter_map(|(((ad, hours), deals), neighbours)| {
                let id = AdId::new(&ad.path[0]).ok()?;
                let state = if ad.is_live {
                    AdState::Live
                } else {
                    memory
                        .aside
                        .get(&id)
                        .copied()
                        .unwrap_or(AdState::PausedByOwner)
                };
                Some(AdEvidence {
                    name: ad.name.clone(),
                    ad_set: AdSetId::new(&ad.path[1]).ok()?,
                    campaign: CampaignId::new(&ad.path[2]).ok()?,
                    created_at: Some(ad.created),
                    state,
                    untouchable: None,
                    record: Record::Dated {
                        buckets: buckets(hours, now),
                        deals,
                    },
                    neighbours: neighbours.clone(),
                    ad: id,
                })
            })
            .collect();
        PolicyInputs {
            now,
            seed: self.seed,
            mode: self.setting.mode(),
            currency: self.limits.daily_cap.currency(),
            stages: self.setting.stages(),
            params,
            limits: self.limits,
            first_decision_of_day,
            entities: self.entities(&market.holders(), memory, now),
            ads: evidence,
            deals_total: deals.len() as f64,
            deals_attributed: attributed,
        }
    }

    /// The ad that a deal is credited to; by chance, the same in every run of this market.
    fn credit(&self, deal: &LoneDeal, ads: usize) -> Option<usize> {
        let mut chance = self.credits.part(deal.id);
        let (u, which) = (chance.uniform(), chance.uniform());
        let other = (which * ads as f64) as usize;
        match deal.ad {
            Some(ad) if u < CREDITED => Some(ad),
            Some(_) => (u < CREDITED + MISTAKEN).then_some(other),
            None => (u < CLAIMED).then_some(other),
        }
    }

    fn evidence(&self, deal: &LoneDeal) -> DealEvidence {
        let offset = self.limits.daily_cap.currency().offset() as f64;
        DealEvidence {
            weight: CONFIDENCE,
            reached: deal.reached.clone(),
            lost_at: deal.lost_at,
            amount: deal.amount_minor.map(|minor| minor as f64 / offset),
        }
    }

    fn entities(&self, holders: &[Holder], memory: &Memory, now: Timestamp) -> Vec<BudgetEntity> {
        let money = |minor| Money::from_minor(minor, self.limits.daily_cap.currency());
        let held = |holder: &Holder, hours| {
            let since = time::sub(now, time::hours(hours));
            let moves = memory.moves.get(&holder.id).into_iter().flatten();
            let values = moves
                .filter(|(at, ..)| *at > since)
                .flat_map(|(_, from, to)| [*from, *to])
                .chain([holder.budget_minor]);
            let (min, max) = values.fold((i64::MAX, i64::MIN), |(a, b), v| (a.min(v), b.max(v)));
            HeldBudgets {
                min: money(min),
                max: money(max),
            }
        };
        let entity = |holder: &Holder| {
            let reference = if holder.is_campaign {
                EntityRef::Campaign(CampaignId::new(&holder.id).ok()?)
            } else {
                EntityRef::AdSet(AdSetId::new(&holder.id).ok()?)
            };
            let campaign = CampaignId::new(&holder.campaign).ok()?;
            // One change a day of each budget, as is shipped.
            let moved = memory.moves.get(&holder.id).and_then(|m| m.last());
            let rests = moved.is_some_and(|(at, ..)| time::add(*at, time::hours(24)) > now);
            Some(BudgetEntity {
                held_6h: held(holder, 6),
                held_24h: held(holder, 24),
                reference_budget: memory.first.get(&holder.id).map(|minor| money(*minor)),
                untouchable: rests.then(|| "its budget was changed within the last day".to_owned()),
                ..BudgetEntity::steady(
                    reference,
                    holder.name.clone(),
                    campaign,
                    money(holder.budget_minor),
                )
            })
        };
        holders.iter().filter_map(entity).collect()
    }
}

/// Days as one, the last one hour by hour.
fn buckets(hours: impl Iterator<Item = crate::sandbox::lone::Hour>, now: Timestamp) -> Vec<Bucket> {
    let recent = time::sub(now, time::days(HOURLY_DAYS));
    let mut out: Vec<Bucket> = Vec::new();
    let mut open: Option<(i64, Bucket)> = None;
    for hour in hours {
        let at = time::add(hour.begins, time::minutes(30));
        let one = Bucket {
            at,
            impressions: hour.impressions,
            clicks: hour.clicks,
            spend: hour.spend,
        };
        if at >= recent {
            out.extend(open.take().map(|(_, bucket)| bucket));
            out.push(one);
            continue;
        }
        let day = time::to_micros(hour.begins).div_euclid(86_400_000_000);
        match &mut open {
            Some((of, bucket)) if *of == day => {
                bucket.impressions += one.impressions;
                bucket.clicks += one.clicks;
                bucket.spend += one.spend;
            }
            _ => {
                out.extend(open.take().map(|(_, bucket)| bucket));
                let noon = time::from_micros(day * 86_400_000_000 + 43_200_000_000);
                open = Some((day, Bucket { at: noon, ..one }));
            }
        }
    }
    out.extend(open.map(|(_, bucket)| bucket));
    out
}

/// Cosines of the ads' texts as bags of words.
fn neighbours(ads: &[LoneAd]) -> Vec<Vec<(AdId, f64)>> {
    let bags: Vec<BTreeSet<String>> = ads
        .iter()
        .map(|ad| {
            let words = ad.text.to_lowercase();
            let words = words.split(|c: char| !c.is_alphanumeric());
            words.filter(|w| w.len() > 2).map(str::to_owned).collect()
        })
        .collect();
    let cosine = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
        let both = a.intersection(b).count() as f64;
        both / ((a.len() * b.len()).max(1) as f64).sqrt()
    };
    bags.iter()
        .enumerate()
        .map(|(i, own)| {
            ads.iter()
                .zip(&bags)
                .enumerate()
                .filter(|(j, _)| *j != i)
                .filter_map(|(_, (ad, bag))| Some((AdId::new(&ad.path[0]).ok()?, cosine(own, bag))))
                .collect()
        })
        .collect()
}
