//! What is learned of stages' worth, held against what this market's own probabilities make of it.

use super::journey::{UNDONE, step};
use super::*;
use crate::domain::deal::{CrmAmount, Deal as CrmDeal, StageChange, StageValue};
use crate::domain::fx::FxTable;
use crate::domain::ids::{DealId, PipelineId, StageName, VendorStageId};
use crate::domain::money::Money;
use crate::domain::stages::StageTable;
use crate::domain::worth::{self, Course};

fn table(market: &Market) -> StageTable {
    let stages = market.business.stages().iter().map(|stage| StageValue {
        name: StageName::new(stage.name).unwrap(),
        value: Money::from_minor(stage.value_minor, market.currency),
        confidence: 1.0,
        vendor_ids: vec![VendorStageId::new(stage.hubspot_stage).unwrap()],
        is_won: stage.probability == "1.0",
        is_lost: stage.probability == "0.0" && stage.is_closed,
    });
    StageTable::new(stages.collect(), market.currency).unwrap()
}

/// A deal as the CRM has it at `until`.
fn seen(market: &Market, deal: &Deal, until: Timestamp) -> Option<CrmDeal> {
    let view = deal.view(until)?;
    let id =
        |stage: usize| VendorStageId::new(market.business.stages()[stage].hubspot_stage).unwrap();
    let history = deal.stages.iter().filter(|(at, _)| *at <= until);
    Some(CrmDeal {
        id: DealId::new(deal.id.to_string()).unwrap(),
        name: String::new(),
        pipeline: PipelineId::new("p").unwrap(),
        stage: id(view.stage),
        amount: view.amount_minor.map(|minor| CrmAmount {
            decimal: Money::from_minor(minor, market.currency).to_decimal(),
            currency: None,
        }),
        history: history
            .map(|(at, stage)| StageChange {
                at: *at,
                stage: id(*stage),
            })
            .collect(),
        contacts: Vec::new(),
        created_at: deal.created,
        updated_at: view.modified,
        is_archived: false,
    })
}

/// The chance that a deal which has come to stage `k` is a sale in the end.
fn truth(market: &Market, deal: &Deal, k: usize) -> f64 {
    let funnel = market.business.funnel();
    let quality = deal
        .click
        .map_or(1.0, |(ad, _)| market.ads[ad].hidden.quality);
    let steps = k..funnel.steps.len();
    let won: f64 = steps.map(|i| step(&funnel, i, quality)).product();
    won * (1.0 - UNDONE)
}

/// Of the open stages, how many intervals there are, how many hold the truth of the rate, and of the
/// worth.
fn judged(business: Business, seed: u64, days: i64) -> (u64, u64, u64) {
    let mut market = Market::new(&tests::plan(business, seed));
    let until = time::add(market.start, time::days(days));
    market.advance(until);
    let stages = table(&market);
    let fx = FxTable::new(market.currency);
    let deals: Vec<(&Deal, Course)> = market
        .deals
        .values()
        .filter(|deal| deal.created <= until)
        .filter_map(|deal| {
            Some((
                deal,
                Course::of(&seen(&market, deal, until)?, &stages, &fx)?,
            ))
        })
        .collect();
    let courses: Vec<Course> = deals.iter().map(|(_, course)| course.clone()).collect();
    let cycle: f64 = market.business.funnel().days.iter().sum();
    let learned = worth::learn(&courses, &stages, market.currency, cycle, until);
    let mean_sale = market.business.funnel().amount_minor / market.currency.offset() as f64;
    let (mut all, mut rates, mut worths) = (0, 0, 0);
    for (k, stage) in learned.iter().enumerate() {
        let reached: Vec<f64> = deals
            .iter()
            .filter(|(_, course)| course.reached[k].is_some())
            .map(|(deal, _)| truth(&market, deal, k))
            .collect();
        if k >= market.business.funnel().steps.len() || reached.is_empty() {
            continue;
        }
        let truth = reached.iter().sum::<f64>() / reached.len() as f64;
        all += 1;
        rates += u64::from(stage.rate.holds(truth));
        worths += u64::from(stage.worth.holds(truth * mean_sale));
    }
    (all, rates, worths)
}

/// Intervals that claim nine in ten hold the truth about as often.
#[test]
fn intervals_of_stages_hold_the_truth_as_often_as_they_claim() {
    let (mut all, mut rates, mut worths) = (0, 0, 0);
    for business in [Business::Gym, Business::Clinic] {
        for seed in 1..=10 {
            for days in [20, 45] {
                let (a, r, w) = judged(business, seed, days);
                (all, rates, worths) = (all + a, rates + r, worths + w);
            }
        }
    }
    println!("of {all} intervals of 90 % {rates} hold the rate, {worths} the worth");
    assert_eq!(all, 120);
    for held in [rates, worths] {
        let share = held as f64 / all as f64;
        assert!((0.82..=1.0).contains(&share), "{held} of {all}");
    }
}
