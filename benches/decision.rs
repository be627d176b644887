//! How long one decision takes: an account of 1,000 ads in 100 ad sets, and ones of ten and a
//! hundred times that, each ad with 30 days of delivery and a few deals. And how long judging one
//! change takes, with a busy day behind it: 400 moves of 100 budgets and 200 actions.
#![expect(
    clippy::expect_used,
    reason = "a bench stops at its first wrong constant"
)]

use divan::Bencher;
use roasd::domain::autonomy::{Autonomy, AutonomyRules};
use roasd::domain::change::{
    BudgetMove, ChangeState, Origin, PastAction, PendingChange, ProposedChange, Target,
};
use roasd::domain::coverage::Coverage;
use roasd::domain::ids::{AdId, AdSetId, CampaignId, ChangeId, DecisionId, StageName, TenantId};
use roasd::domain::money::{Currency, Money};
use roasd::domain::policy::{
    AdEvidence, AdState, Bucket, BudgetEntity, BudgetLimits, DealEvidence, Mode, Policy,
    PolicyInputs, PolicyParams, Record, RoasdPolicy, Stage,
};
use roasd::domain::safety::{
    AccountSums, ChangeContext, DataQuality, LiveSettings, Stops, Verdict, judge,
};
use roasd::domain::structure::{AccountStatus, EntityRef, RunStatus};
use roasd::domain::time::{TimeZone, Timestamp, add, from_seconds, hours, minutes, sub};

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

#[divan::bench(args = [100, 1_000, 10_000])]
fn one_decision_by_ad_sets_of_ten_ads(bencher: Bencher<'_, '_>, sets: usize) {
    let inputs = account(sets);
    bencher.bench_local(|| RoasdPolicy.decide(divan::black_box(&inputs)));
}

fn limits() -> roasd::domain::limits::GuardLimits {
    let text = r#"
[tenants.gym]
name = "Gym"
template = "service"
currency = "USD"
meta = { ad_account = "act_1", access_token = { env = "T" } }
hubspot = { portal_id = 1, access_token = { env = "T" } }
budget = { daily_cap = "100000.00", max_spend_per_day = "200000.00" }
limits = { changes_per_ad_set_per_day = 24, changes_per_day = 1000 }
calendar = { blackouts = ["2026-12-24..2026-12-26", "Sat 06:00..Sat 08:00"], business_hours = "Mon..Sun 00:00..24:00" }
"#;
    let environment = roasd::config::Environment::from([("T", "token")]);
    let config = roasd::config::Config::from_text("config.toml", text, &environment);
    let tenant = TenantId::new("gym").expect("an id");
    config.expect("a configuration").tenants[&tenant].guard_limits()
}

#[divan::bench]
fn one_change_judged(bencher: Bencher<'_, '_>) {
    let now = from_seconds(NOW_SECONDS);
    let usd = |minor| Money::from_minor(minor, Currency::USD);
    let daily = |minor| Target::DailyBudget(usd(minor));
    let set = |n: i64| EntityRef::AdSet(AdSetId::new(format!("{n}")).expect("an id"));
    let campaign = |n: i64| CampaignId::new(format!("{n}")).expect("an id");
    let history: Vec<BudgetMove> = (0..400)
        .map(|n| BudgetMove {
            entity: set(n % 100),
            campaign: campaign(n % 10),
            at: sub(now, minutes(1_400 - n)),
            from: usd(10_000 + n % 7),
            to: usd(10_000 + (n + 1) % 7),
            is_ours: n % 2 == 0,
        })
        .collect();
    let last = history
        .iter()
        .rfind(|m| m.entity == set(5))
        .expect("a move");
    let actions: Vec<PastAction> = (0..200)
        .map(|n| PastAction {
            entity: set(n % 100),
            campaign: campaign(n % 10),
            at: sub(now, minutes(1_400 - n)),
            target: daily(10_000),
        })
        .collect();
    let (expected, requested) = (Target::DailyBudget(last.to), daily(11_000));
    let change = PendingChange {
        proposed: ProposedChange {
            id: ChangeId::new("c").expect("an id"),
            tenant: TenantId::new("gym").expect("an id"),
            entity: set(5),
            entity_name: "Set".to_owned(),
            campaign: campaign(5),
            expected,
            requested,
            reason: "it earns".to_owned(),
            origin: Origin::Decision(DecisionId::new("d").expect("an id")),
            confidence: 0.9,
            needs_approval: false,
            rank: 1,
            earliest_at: now,
            expires_at: add(now, hours(2)),
            proposed_at: now,
        },
        state: ChangeState::Claimed,
        attempt: 1,
        note: String::new(),
        rule: None,
        intent: None,
        updated_at: now,
    };
    let live = LiveSettings {
        value: Some(expected),
        status: RunStatus::Active,
        spent_today: usd(2_000),
        last_significant_edit: None,
    };
    let quality = DataQuality {
        insight_age: Some(minutes(20)),
        crm_age: Some(minutes(20)),
        coverage: Coverage {
            url_param: 20,
            unattributed: 5,
            ..Coverage::default()
        },
        recent_conversions: 5,
        expected_conversions: 6.0,
        currency_agrees: true,
        time_zone_agrees: true,
    };
    let (limits, zone) = (limits(), TimeZone::get("America/New_York").expect("a zone"));
    let autonomy = AutonomyRules::uniform(Autonomy::Auto);
    let context = ChangeContext {
        change: &change,
        live: &live,
        history: &history,
        actions: &actions,
        foreign_edit_at: None,
        hands_off: None,
        live_ads_in_ad_set: None,
        sums: AccountSums {
            daily_budgets: usd(1_000_000),
            includes_this: true,
            in_campaign: Some(usd(100_000)),
            resume_adds: None,
            spent_today: usd(300_000),
            spent_this_week: usd(1_800_000),
            worst_day: usd(1_750_000),
            shares_budgets: false,
        },
        limits: &limits,
        min_daily_budget: Some(usd(100)),
        autonomy: &autonomy,
        quality: &quality,
        breakers: &[],
        stops: Stops::default(),
        account: AccountStatus::Active,
        now,
        zone: &zone,
    };
    // All the way to the last guard.
    let verdict = judge(&context);
    assert!(matches!(verdict, Verdict::Allow { .. }), "{verdict:?}");
    bencher.bench_local(|| judge(divan::black_box(&context)));
}
