//! How long one decision takes: an account of 1,000 ads in 100 ad sets, and one ten times that,
//! each ad with 30 days of delivery and a few deals.
#![expect(
    clippy::expect_used,
    reason = "a bench stops at its first wrong constant"
)]

use divan::Bencher;
use roasd::domain::ids::{AdId, AdSetId, CampaignId, StageName};
use roasd::domain::money::{Currency, Money};
use roasd::domain::policy::{
    AdEvidence, AdState, Bucket, BudgetEntity, BudgetLimits, DealEvidence, Mode, Policy,
    PolicyInputs, PolicyParams, Record, RoasdPolicy, Stage,
};
use roasd::domain::structure::EntityRef;
use roasd::domain::time::{Timestamp, from_seconds, hours, sub};

fn main() {
    divan::main();
}

const NOW_SECONDS: i64 = 1_790_000_000;

fn ago(hours_ago: i64) -> Timestamp {
    sub(from_seconds(NOW_SECONDS), hours(hours_ago))
}

fn account(sets: usize) -> PolicyInputs {
    let campaign = CampaignId::new("c").expect("an id");
    let usd = |minor| Money::from_minor(minor, Currency::USD);
    let set = |s: usize| AdSetId::new(format!("set{s}")).expect("an id");
    let ads = (0..sets * 10).map(|i| AdEvidence {
        ad: AdId::new(format!("ad{i}")).expect("an id"),
        name: format!("Ad {i}"),
        ad_set: set(i / 10),
        campaign: campaign.clone(),
        created_at: Some(ago(30 * 24)),
        state: if i % 7 == 0 {
            AdState::Rotated
        } else {
            AdState::Live
        },
        untouchable: None,
        record: Record::Dated {
            buckets: (0..30)
                .map(|day| Bucket {
                    at: ago(day * 24 + 12),
                    impressions: 900.0,
                    clicks: (i % 13) as f64 + 4.0,
                    spend: (i % 5) as f64 + 3.0,
                })
                .collect(),
            deals: (0..i % 9)
                .map(|d| {
                    let age = 24 * (d as i64 + 2);
                    DealEvidence {
                        weight: 0.9,
                        reached: vec![
                            Some(ago(age)),
                            (d % 3 == 0).then(|| ago(age - 20)),
                            (d % 6 == 0).then(|| ago(age - 30)),
                            (i % 11 == 0 && d == 0).then(|| ago(age - 40)),
                        ],
                        lost_at: None,
                        amount: None,
                    }
                })
                .collect(),
        },
        neighbours: (1..=20)
            .filter_map(|n| {
                let other = AdId::new(format!("ad{}", (i + n * 7) % (sets * 10))).ok()?;
                Some((other, 1.0 - n as f64 / 25.0))
            })
            .collect(),
    });
    let stage = |name: &str, value| Stage::new(StageName::new(name).expect("a name"), value);
    PolicyInputs {
        now: from_seconds(NOW_SECONDS),
        seed: 1,
        mode: Mode::Pipeline,
        currency: Currency::USD,
        stages: vec![
            stage("lead", 0.0),
            stage("appointment_scheduled", 2_250.0),
            stage("show_up", 9_000.0),
            stage("closed_won", 15_000.0),
        ],
        params: PolicyParams::default(),
        limits: BudgetLimits::under_cap(usd(sets as i64 * 5_000), usd(500)),
        first_decision_of_day: true,
        entities: (0..sets)
            .map(|s| {
                let entity = EntityRef::AdSet(set(s));
                BudgetEntity::steady(entity, format!("Set {s}"), campaign.clone(), usd(5_000))
            })
            .collect(),
        ads: ads.collect(),
        deals_total: sets as f64 * 40.0,
        deals_attributed: sets as f64 * 30.0,
    }
}

#[divan::bench(args = [100, 1_000])]
fn one_decision_by_ad_sets_of_ten_ads(bencher: Bencher<'_, '_>, sets: usize) {
    let inputs = account(sets);
    bencher.bench_local(|| RoasdPolicy.decide(divan::black_box(&inputs)));
}
