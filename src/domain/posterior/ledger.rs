//! Counts and mature exposure of each ad (ALGORITHM 3.2), from evidence that is checked first:
//! what is not a usable number is dropped and counted, never computed with.

use super::delay::{discount, matured};
use super::funnel::Funnel;
use crate::domain::policy::{
    AdEvidence, AdState, Bucket, DealEvidence, LifetimeTotals, PolicyParams, Record,
};
use crate::domain::time::{Timestamp, days_between, to_micros};

/// No count, amount or spend above this is believed.
const MOST: f64 = 1e12;

/// Half-life of the spend that says where the next unit goes, days.
const RECENT_DAYS: f64 = 2.0;

/// Half-life of spend per day, days.
const PACE_DAYS: f64 = 5.0;

/// Days an ad is taken to be old when nothing says when it began.
const OLD_DAYS: f64 = 30.0;

fn usable(value: f64) -> bool {
    (0.0..=MOST).contains(&value)
}

/// One deal with its times as ages and its stages in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Deal {
    weight: f64,
    /// Days since each stage was reached, 0 for the future; never older at a later stage.
    ages: Vec<Option<f64>>,
    lost: bool,
    amount: Option<f64>,
}

impl Deal {
    /// Reads one deal; `None` when its weight is not usable.
    fn read(deal: &DealEvidence, funnel: &Funnel, now: Timestamp) -> Option<Self> {
        if !usable(deal.weight) {
            return None;
        }
        let age = |at: Timestamp| days_between(at, now).max(0.0);
        let mut ages: Vec<Option<f64>> = (0..funnel.len())
            .map(|k| {
                deal.reached
                    .get(funnel.offset() + k)
                    .copied()
                    .flatten()
                    .map(age)
            })
            .collect();
        // A skipped stage counts as reached with the later one, and one recorded after its
        // successor as reached at the same time.
        let mut later: Option<f64> = None;
        for slot in ages.iter_mut().rev() {
            *slot = match (*slot, later) {
                (Some(own), Some(later)) => Some(own.max(later)),
                (own, later) => own.or(later),
            };
            later = *slot;
        }
        let won = ages.last().copied().flatten();
        // Lost before it was won: it was reopened.
        let lost = deal
            .lost_at
            .is_some_and(|at| won.is_none_or(|won| age(at) <= won));
        Some(Self {
            weight: deal.weight.min(1.0),
            ages,
            lost,
            amount: deal.amount.filter(|a| a.abs() <= MOST),
        })
    }

    /// Days since stage `k` was reached, if it was.
    #[must_use]
    pub fn age_at(&self, k: usize) -> Option<f64> {
        self.ages.get(k).copied().flatten()
    }

    fn has_reached(&self, k: usize, win: usize) -> bool {
        self.age_at(k).is_some() && !(self.lost && k == win)
    }

    /// What it is worth as it stands.
    fn value(&self, funnel: &Funnel) -> f64 {
        if self.lost {
            return 0.0;
        }
        match self.ages.iter().rposition(Option::is_some) {
            Some(k) if k == funnel.win() => self.amount.unwrap_or(funnel.value(k)),
            Some(k) => funnel.value(k),
            None => 0.0,
        }
    }
}

/// What is counted of one ad.
#[derive(Debug, Clone, PartialEq)]
pub struct AdLedger {
    /// Raw impressions.
    pub impressions: f64,
    /// Raw clicks.
    pub clicks: f64,
    /// Raw spend.
    pub spend: f64,
    /// How many reached each stage, weighted by confidence, undiscounted.
    pub reached: Vec<f64>,
    /// Value of the pipeline as it stands, signed.
    pub pipeline_value: f64,
    /// Discounted clicks (C).
    pub clicks_now: f64,
    /// Discounted spend (S).
    pub spend_now: f64,
    /// Discounted successes per stage (N).
    pub successes: Vec<f64>,
    /// Discounted mature exposure per stage (E).
    pub exposure: Vec<f64>,
    /// Known amounts of wins: their sum, a negative one as 0, and how many.
    pub amounts: (f64, f64),
    /// Spend discounted by two days: where the next unit goes.
    pub recent_spend: f64,
    /// Spend discounted by five days, for spend per day.
    pub pace_spend: f64,
    /// Age of the oldest delivery, days; 1 at least. `None` for totals, whose pace is per day
    /// already.
    pub pace_days: Option<f64>,
    /// Age in days.
    pub age_days: f64,
    /// Whether the ad ended earlier.
    pub ended: bool,
    /// Whether only totals are known.
    pub totals_only: bool,
    /// Inputs dropped as unusable.
    pub bad_inputs: usize,
}

impl AdLedger {
    /// Clicks per impression; 0 without impressions.
    #[must_use]
    pub fn ctr(&self) -> f64 {
        if self.impressions > 0.0 {
            self.clicks / self.impressions
        } else {
            0.0
        }
    }

    /// Pipeline value per unit of spend; `None` without spend.
    #[must_use]
    pub fn raw_roas(&self) -> Option<f64> {
        (self.spend > 0.0).then(|| self.pipeline_value / self.spend)
    }

    fn empty(funnel: &Funnel, ended: bool) -> Self {
        Self {
            impressions: 0.0,
            clicks: 0.0,
            spend: 0.0,
            reached: vec![0.0; funnel.len()],
            pipeline_value: 0.0,
            clicks_now: 0.0,
            spend_now: 0.0,
            successes: vec![0.0; funnel.len()],
            exposure: vec![0.0; funnel.len()],
            amounts: (0.0, 0.0),
            recent_spend: 0.0,
            pace_spend: 0.0,
            pace_days: None,
            age_days: OLD_DAYS,
            ended,
            totals_only: false,
            bad_inputs: 0,
        }
    }
}

/// The usable deals of one ad in a fixed order, and how many were dropped or mended.
#[must_use]
pub fn deals_of(ad: &AdEvidence, funnel: &Funnel, now: Timestamp) -> (Vec<Deal>, usize) {
    let Record::Dated { deals, .. } = &ad.record else {
        return (Vec::new(), 0);
    };
    let mut bad = 0;
    let mut read = Vec::with_capacity(deals.len());
    for deal in deals {
        let mended = deal.weight > 1.0 || deal.amount.is_some_and(|a| a.is_nan() || a.abs() > MOST);
        match Deal::read(deal, funnel, now) {
            Some(deal) => {
                bad += usize::from(mended);
                read.push(deal);
            }
            None => bad += 1,
        }
    }
    // Sums of floats depend on their order, and a decision must not depend on its inputs'.
    read.sort_by(|a, b| {
        let key = |d: &Deal| d.ages.iter().map(|a| a.unwrap_or(-1.0)).collect::<Vec<_>>();
        let (ka, kb) = (key(a), key(b));
        ka.iter()
            .zip(&kb)
            .map(|(x, y)| x.total_cmp(y))
            .find(|o| o.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
            .then(a.weight.total_cmp(&b.weight))
            .then(a.lost.cmp(&b.lost))
            .then_with(|| {
                let amount = |d: &Deal| d.amount.unwrap_or(f64::NEG_INFINITY);
                amount(a).total_cmp(&amount(b))
            })
    });
    (read, bad)
}

/// What one instant's delivery counts, whichever ad's it is.
#[derive(Debug, Clone, Copy)]
struct Weights {
    at: Timestamp,
    age_days: f64,
    cost: f64,
    pace: f64,
    recent: f64,
    first_discount: f64,
    first_matured: f64,
}

/// The weights of instants. An account's ads are reported by the same days and hours, so most are
/// worked out once for all of them; which ones are kept changes no result.
#[derive(Debug)]
pub struct Instants<'a> {
    funnel: &'a Funnel,
    params: &'a PolicyParams,
    now: Timestamp,
    kept: Vec<Option<Weights>>,
}

/// Places for kept instants; a power of two.
const INSTANTS: usize = 1_024;

impl<'a> Instants<'a> {
    /// None kept yet.
    #[must_use]
    pub fn new(funnel: &'a Funnel, params: &'a PolicyParams, now: Timestamp) -> Self {
        Self {
            funnel,
            params,
            now,
            kept: vec![None; INSTANTS],
        }
    }

    fn weights(&mut self, at: Timestamp) -> Weights {
        let mixed = to_micros(at)
            .cast_unsigned()
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = (mixed >> 54) as usize;
        if let Some(Some(kept)) = self.kept.get(place)
            && kept.at == at
        {
            return *kept;
        }
        let age_days = days_between(at, self.now).max(0.0);
        let (first_discount, first_matured) =
            self.funnel.stages().first().map_or((0.0, 0.0), |first| {
                (
                    discount(age_days, first.half_life_days),
                    matured(age_days, first.delay_days),
                )
            });
        let fresh = Weights {
            at,
            age_days,
            cost: discount(age_days, self.params.half_life_cost),
            pace: discount(age_days, PACE_DAYS),
            recent: discount(age_days, RECENT_DAYS),
            first_discount,
            first_matured,
        };
        if let Some(slot) = self.kept.get_mut(place) {
            *slot = Some(fresh);
        }
        fresh
    }
}

/// Counts one ad.
#[must_use]
pub fn count(ad: &AdEvidence, deals: &[Deal], instants: &mut Instants<'_>) -> AdLedger {
    let (funnel, now) = (instants.funnel, instants.now);
    let mut ledger = AdLedger::empty(funnel, ad.state == AdState::Ended);
    match &ad.record {
        Record::Dated { buckets, .. } => {
            count_buckets(&mut ledger, buckets, instants);
            count_deals(&mut ledger, deals, funnel);
        }
        Record::Totals(totals) => count_totals(&mut ledger, totals, funnel),
    }
    if let Some(created) = ad.created_at {
        ledger.age_days = days_between(created, now).max(0.0);
    }
    ledger
}

fn count_buckets(ledger: &mut AdLedger, buckets: &[Bucket], instants: &mut Instants<'_>) {
    let order = |a: &&Bucket, b: &&Bucket| {
        a.at.cmp(&b.at)
            .then(a.spend.total_cmp(&b.spend))
            .then(a.clicks.total_cmp(&b.clicks))
            .then(a.impressions.total_cmp(&b.impressions))
    };
    let mut sorted: Vec<&Bucket> = buckets.iter().collect();
    if !sorted.is_sorted_by(|a, b| order(a, b).is_le()) {
        sorted.sort_by(order);
    }
    let mut oldest: Option<f64> = None;
    for bucket in sorted {
        if !(usable(bucket.impressions) && usable(bucket.clicks) && usable(bucket.spend)) {
            ledger.bad_inputs += 1;
            continue;
        }
        let weights = instants.weights(bucket.at);
        oldest = Some(oldest.unwrap_or(0.0).max(weights.age_days));
        ledger.impressions += bucket.impressions;
        ledger.clicks += bucket.clicks;
        ledger.spend += bucket.spend;
        ledger.clicks_now += bucket.clicks * weights.cost;
        ledger.spend_now += bucket.spend * weights.cost;
        ledger.pace_spend += bucket.spend * weights.pace;
        ledger.recent_spend += bucket.spend * weights.recent;
        if let Some(exposure) = ledger.exposure.first_mut() {
            *exposure += bucket.clicks * weights.first_discount * weights.first_matured;
        }
    }
    if let Some(oldest) = oldest {
        ledger.age_days = oldest;
        ledger.pace_days = Some(oldest.max(1.0));
    }
}

fn count_deals(ledger: &mut AdLedger, deals: &[Deal], funnel: &Funnel) {
    let win = funnel.win();
    for deal in deals {
        let Some(age) = deal.age_at(0) else { continue };
        ledger.pipeline_value += deal.weight * deal.value(funnel);
        if deal.has_reached(win, win)
            && let Some(amount) = deal.amount
        {
            ledger.amounts.0 += amount.max(0.0);
            ledger.amounts.1 += 1.0;
        }
        for (k, stage) in funnel.stages().iter().enumerate() {
            let has_reached = deal.has_reached(k, win);
            let weight = deal.weight * discount(age, stage.half_life_days);
            if has_reached {
                add(&mut ledger.reached, k, deal.weight);
                add(&mut ledger.successes, k, weight);
            }
            let Some(entered) = k.checked_sub(1).and_then(|before| deal.age_at(before)) else {
                continue;
            };
            let share = if has_reached || deal.lost {
                1.0
            } else {
                matured(entered, stage.delay_days)
            };
            add(&mut ledger.exposure, k, weight * share);
        }
    }
}

fn count_totals(ledger: &mut AdLedger, totals: &LifetimeTotals, funnel: &Funnel) {
    let mut bad = 0;
    let mut take = |value: f64| {
        if usable(value) {
            value
        } else {
            bad += 1;
            0.0
        }
    };
    ledger.totals_only = true;
    ledger.impressions = take(totals.impressions);
    ledger.clicks = take(totals.clicks);
    ledger.spend = take(totals.spend);
    let days = totals.days.filter(|d| usable(*d)).map(|d| d.max(1.0));
    ledger.age_days = days.unwrap_or(OLD_DAYS);
    ledger.clicks_now = ledger.clicks;
    ledger.spend_now = ledger.spend;
    ledger.recent_spend = ledger.spend;
    ledger.pace_spend = ledger.spend / days.unwrap_or(1.0);
    let win = funnel.win();
    let mut reached: Vec<f64> = (0..funnel.len())
        .map(|k| {
            take(
                totals
                    .reached
                    .get(funnel.offset() + k)
                    .copied()
                    .unwrap_or(0.0),
            )
        })
        .collect();
    let given = totals
        .pipeline_value
        .map(|v| if v.abs() <= MOST { v } else { take(v) });
    if totals.reached.is_empty()
        && let Some(value) = given
    {
        // A value without counts is taken as so many of the stage that tells quality.
        let stage = if funnel.value(funnel.quality()) > 0.0 {
            funnel.quality()
        } else {
            win
        };
        if funnel.value(stage) > 0.0 {
            add(&mut reached, stage, value.max(0.0) / funnel.value(stage));
        }
    }
    // Whoever reached a stage has reached those before it.
    let mut later: f64 = 0.0;
    for slot in reached.iter_mut().rev() {
        later = later.max(*slot);
        *slot = later;
    }
    let (sum, priced) = totals
        .amounts
        .filter(|(sum, count)| sum.abs() <= MOST && usable(*count))
        .unwrap_or((0.0, 0.0));
    ledger.amounts = (sum.max(0.0), priced);
    let at = |k: usize| reached.get(k).copied().unwrap_or(0.0);
    ledger.pipeline_value = given.unwrap_or_else(|| {
        let open: f64 = (0..win)
            .map(|k| (at(k) - at(k + 1)) * funnel.value(k))
            .sum();
        open + sum + (at(win) - priced).max(0.0) * funnel.value(win)
    });
    ledger.exposure = std::iter::once(ledger.clicks)
        .chain(reached.iter().copied())
        .take(funnel.len())
        .collect();
    ledger.successes.clone_from(&reached);
    ledger.reached = reached;
    ledger.bad_inputs = bad;
}

fn add(values: &mut [f64], k: usize, more: f64) {
    if let Some(value) = values.get_mut(k) {
        *value += more;
    }
}
