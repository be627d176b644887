use super::*;
use crate::domain::ids::AdSetId;
use crate::domain::policy::tests_support::{ad, ad_set, ago, deal, inputs, usd, with_deals};
use crate::domain::policy::{AdState, HeldBudgets, KillRule, LifetimeTotals, Mode, Record};
use crate::domain::rationale::Bound;

fn run(inputs: &PolicyInputs) -> Outcome {
    RoasdPolicy.decide(inputs)
}

fn actions(outcome: &Outcome) -> Vec<(String, Action)> {
    outcome
        .decisions
        .iter()
        .map(|d| (d.subject.to_string(), d.action))
        .collect()
}

fn budget_of(outcome: &Outcome, set: &str) -> i64 {
    let subject = EntityRef::AdSet(AdSetId::new(set).unwrap());
    let found = outcome.decisions.iter().find(|d| d.subject == subject);
    match found.map(|d| d.change) {
        Some(Move::Budget { to, .. }) => to.minor(),
        other => panic!("no budget for {set}: {other:?}"),
    }
}

/// Leads of which some get an appointment, show up and buy.
fn sales(leads: usize, wins: usize) -> Vec<crate::domain::policy::DealEvidence> {
    (0..leads)
        .map(|i| {
            let won = i < wins;
            deal(&[
                Some(9.0),
                won.then_some(7.0),
                won.then_some(5.0),
                won.then_some(3.0),
            ])
        })
        .collect()
}

/// A good and a poor ad set at 100 each, cap 200.
fn two_sets() -> PolicyInputs {
    let mut given = inputs(Mode::Pipeline);
    given.limits.daily_cap = usd(20_000);
    given.entities = vec![ad_set("good", 10_000), ad_set("poor", 10_000)];
    given.ads = vec![
        with_deals(ad("1", "good", 600.0, 1_000.0), sales(40, 8)),
        with_deals(ad("2", "poor", 600.0, 1_000.0), sales(40, 0)),
    ];
    given.deals_total = 80.0;
    given.deals_attributed = 80.0;
    given
}

#[test]
fn money_moves_to_the_ad_set_that_sells() {
    let outcome = run(&two_sets());
    assert_eq!(
        actions(&outcome),
        [
            ("ad set good".to_owned(), Action::Raise),
            ("ad set poor".to_owned(), Action::Cut)
        ]
    );
    assert_eq!(outcome.budget_before, usd(20_000));
    assert!(outcome.budget_after.minor() <= 20_000);
    assert!(outcome.water_level.is_some());
    let raise = &outcome.decisions[0];
    assert!(raise.scale);
    let text = raise.rationale.paragraph();
    println!("{text}\n{}", outcome.decisions[1].rationale.paragraph());
    for part in [
        "Raise ad set \u{201c}Set good\u{201d} from 100.00 to",
        "1,000.00 USD",
        "closed won 8",
        "8 times in 10",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn a_single_entity_is_moved_by_bounds_and_cap_alone() {
    let mut given = two_sets();
    given.entities.truncate(1);
    given.ads.truncate(1);
    assert_eq!(budget_of(&run(&given), "good"), 11_990);
    given.limits.daily_cap = usd(10_500);
    assert_eq!(budget_of(&run(&given), "good"), 10_500);
    assert!(
        run(&given)
            .decisions
            .iter()
            .all(|d| d.action != Action::Rotate)
    );
}

#[test]
fn nothing_live_is_an_empty_decision() {
    let mut given = two_sets();
    for ad in &mut given.ads {
        ad.state = AdState::PausedByOwner;
    }
    let outcome = run(&given);
    assert!(outcome.decisions.is_empty());
    assert!(outcome.flags.contains(&Flag::NothingLive));
    let outcome = run(&inputs(Mode::Pipeline));
    assert!(outcome.decisions.is_empty());
    assert!(outcome.flags.contains(&Flag::NothingLive));
}

#[test]
fn a_cap_below_the_least_budgets_raises_nothing() {
    let mut given = two_sets();
    given.limits.daily_cap = usd(800);
    let outcome = run(&given);
    assert!(outcome.flags.contains(&Flag::CapUnreachable));
    assert_eq!(budget_of(&outcome, "good"), 8_100);
    assert_eq!(budget_of(&outcome, "poor"), 8_100);
    assert_eq!(outcome.decisions[0].rationale.rule, Rule::CapUnreachable);
}

#[test]
fn an_entity_with_bad_input_is_held_and_still_counts_toward_the_cap() {
    let mut given = two_sets();
    if let Record::Dated { buckets, .. } = &mut given.ads[1].record {
        buckets[0].clicks = f64::NAN;
    }
    let outcome = run(&given);
    assert!(outcome.flags.contains(&Flag::BadInput));
    assert_eq!(outcome.bad_inputs, 1);
    assert_eq!(budget_of(&outcome, "poor"), 10_000);
    assert_eq!(
        budget_of(&outcome, "good"),
        10_000,
        "the cap leaves no room"
    );
    let poor = &outcome.decisions[1];
    assert_eq!(
        (poor.action, &poor.rationale.rule),
        (Action::Hold, &Rule::BadInput)
    );
}

#[test]
fn the_untouchable_take_no_part_but_their_budget_counts() {
    let mut given = two_sets();
    given.entities[1].untouchable = Some("it is in a learning test".to_owned());
    let outcome = run(&given);
    assert_eq!(budget_of(&outcome, "poor"), 10_000);
    assert_eq!(budget_of(&outcome, "good"), 10_000);
    given.ads[1].state = AdState::PausedByOwner;
    assert_eq!(
        budget_of(&run(&given), "good"),
        11_990,
        "it cannot deliver any more"
    );
}

#[test]
fn a_win_without_value_holds_everything() {
    let mut given = two_sets();
    for stage in &mut given.stages {
        stage.value = 0.0;
    }
    let outcome = run(&given);
    assert!(outcome.changes().next().is_none());
    assert!(outcome.flags.contains(&Flag::BadInput));
    given.stages.clear();
    assert!(run(&given).changes().next().is_none());
}

/// One ad set with a good ad, and one that spent much for nothing.
fn good_and_hopeless() -> PolicyInputs {
    let mut given = two_sets();
    given.ads[1] = ad("2", "good", 3_000.0, 90_000.0);
    given.entities.truncate(1);
    given
}

#[test]
fn an_ad_that_surely_loses_is_killed_and_its_share_goes_to_its_sibling() {
    let given = good_and_hopeless();
    let outcome = run(&given);
    let kill = &outcome.decisions[0];
    assert_eq!(
        actions(&outcome)[0],
        ("ad 2".to_owned(), Action::Kill),
        "{:?}",
        outcome.readings[1].belief
    );
    assert_eq!(
        kill.change,
        Move::Status {
            from: AdState::Live,
            to: AdState::Killed
        }
    );
    let entity = &outcome.decisions[1].rationale;
    assert_eq!(entity.live_ads, [(AdId::new("1").unwrap(), 1.0)]);
    println!("{}", kill.rationale.paragraph());
    assert!(!kill.rationale.would_change.is_empty());
}

#[test]
fn nothing_is_killed_in_the_ignorance_zone_whatever_the_rule() {
    for rule in [KillRule::Posterior, KillRule::Raw, KillRule::HalfAverage] {
        let mut given = good_and_hopeless();
        given.params.kill_rule = rule;
        assert!(
            run(&given)
                .decisions
                .iter()
                .any(|d| d.action == Action::Kill),
            "{rule:?}"
        );
        given.ads[1].created_at = Some(ago(1.0));
        assert!(
            run(&given)
                .decisions
                .iter()
                .all(|d| d.action != Action::Kill),
            "{rule:?}"
        );
    }
}

#[test]
fn a_weaker_sibling_rotates_on_the_first_decision_of_the_day_alone() {
    let mut given = two_sets();
    given.ads[1] = with_deals(ad("2", "good", 600.0, 1_000.0), sales(40, 0));
    given.entities.truncate(1);
    let outcome = run(&given);
    assert_eq!(actions(&outcome)[0], ("ad 2".to_owned(), Action::Rotate));
    println!("{}", outcome.decisions[0].rationale.paragraph());
    given.first_decision_of_day = false;
    assert_eq!(
        actions(&run(&given)),
        [("ad set good".to_owned(), Action::Raise)]
    );
    // Without actions left it waits, and stays in the entity's account.
    given.first_decision_of_day = true;
    given.entities[0].actions_in_last_hour = 15;
    let outcome = run(&given);
    assert!(outcome.changes().next().is_none());
    assert!(outcome.flags.contains(&Flag::Rationed));
    assert_eq!(outcome.decisions[0].rationale.rule, Rule::RateLimited);
    assert_eq!(
        outcome.decisions[1]
            .rationale
            .budget
            .as_ref()
            .unwrap()
            .bound,
        Bound::RateLimit
    );
}

#[test]
fn a_rotated_ad_returns_when_the_other_is_no_longer_better() {
    let mut given = two_sets();
    given.entities.truncate(1);
    given.ads[1] = with_deals(ad("2", "good", 600.0, 1_000.0), sales(40, 16));
    given.ads[1].state = AdState::Rotated;
    let outcome = run(&given);
    assert_eq!(actions(&outcome)[0], ("ad 2".to_owned(), Action::Return));
    println!("{}", outcome.decisions[0].rationale.paragraph());
    given.ads[1].state = AdState::Killed;
    assert!(
        run(&given)
            .decisions
            .iter()
            .all(|d| d.action != Action::Return)
    );
}

#[test]
fn an_ad_set_that_comes_back_gets_only_the_room_under_the_cap() {
    let mut given = two_sets();
    given.entities[1].budget = usd(10_000);
    given.ads[1].state = AdState::Rotated;
    for (cap, expected) in [
        (20_000, Some(10_000)),
        (19_000, Some(9_000)),
        (15_000, None),
    ] {
        given.limits.daily_cap = usd(cap);
        let outcome = run(&given);
        let returned = outcome.decisions.iter().any(|d| d.action == Action::Return);
        assert_eq!(returned, expected.is_some(), "{cap}");
        assert!(outcome.budget_after.minor() <= cap);
        if let Some(most) = expected {
            assert!(budget_of(&outcome, "poor") <= most, "{cap}");
        }
    }
}

#[test]
fn an_account_without_a_lead_is_ordered_by_the_blended_score() {
    let mut given = two_sets();
    given.ads = vec![ad("1", "good", 600.0, 100.0), ad("2", "poor", 600.0, 100.0)];
    for (ad, impressions) in given.ads.iter_mut().zip([100.0, 4_000.0]) {
        if let Record::Dated { buckets, .. } = &mut ad.record {
            for bucket in buckets {
                bucket.impressions = impressions;
            }
        }
    }
    let outcome = run(&given);
    assert!(outcome.flags.contains(&Flag::NoLeadYet));
    let (a, b) = (&outcome.readings[0], &outcome.readings[1]);
    assert!(a.blended_score > b.blended_score);
    assert!(a.belief.draw > b.belief.draw);
}

#[test]
fn the_dither_is_inside_the_bounds_and_recorded() {
    let mut given = two_sets();
    given.entities.truncate(1);
    given.ads.truncate(1);
    given.limits.daily_cap = usd(11_000);
    given.limits.fuzz = crate::domain::money::Percentage::parse("3%").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        given.seed = seed;
        let outcome = run(&given);
        let budget = budget_of(&outcome, "good");
        assert!((10_000..=11_000).contains(&budget), "{budget}");
        seen.insert(budget);
        let trail = outcome.decisions[0].rationale.budget.clone().unwrap();
        let sent = budget as f64 / 100.0;
        assert!((trail.target * (1.0 + trail.dither) - sent).abs() < 0.011);
    }
    assert!(seen.len() > 5, "{seen:?}");
}

#[test]
fn calls_inside_a_day_stop_at_the_calm_bound() {
    let mut given = two_sets();
    given.entities[0].budget = usd(11_990);
    given.entities[0].held_24h = HeldBudgets {
        min: usd(10_000),
        max: usd(11_990),
    };
    given.entities[0].held_6h = HeldBudgets::steady(usd(11_990));
    given.limits.daily_cap = usd(50_000);
    assert_eq!(budget_of(&run(&given), "good"), 11_990);
}

#[test]
fn totals_are_enough_for_advice() {
    let mut given = inputs(Mode::Pipeline);
    given.stages = [("lead", 10.0), ("closed_won", 100.0)]
        .map(|(name, value)| {
            let name = crate::domain::ids::StageName::new(name).unwrap();
            crate::domain::policy::Stage::new(name, value)
        })
        .to_vec();
    given.entities = vec![ad_set("a", 40_000), ad_set("b", 40_000)];
    given.limits.daily_cap = usd(80_000);
    given.ads = [("1", "a", [60.0, 30.0]), ("2", "b", [60.0, 2.0])]
        .map(|(id, set, reached)| {
            AdEvidence::from_totals(
                AdId::new(id).unwrap(),
                format!("Ad {id}"),
                AdSetId::new(set).unwrap(),
                CampaignId::new("c").unwrap(),
                LifetimeTotals {
                    impressions: 90_000.0,
                    clicks: 400.0,
                    spend: 400.0,
                    reached: reached.to_vec(),
                    ..LifetimeTotals::default()
                },
            )
        })
        .to_vec();
    let outcome = run(&given);
    assert_eq!(
        actions(&outcome),
        [
            ("ad set a".to_owned(), Action::Raise),
            ("ad set b".to_owned(), Action::Cut)
        ]
    );
    assert!(outcome.flags.contains(&Flag::TotalsOnly));
    let text = outcome.decisions[0].rationale.paragraph();
    println!("{text}");
    assert!(text.contains("Only lifetime totals are known"));
    let reading = &outcome.readings[0];
    assert_eq!(
        reading.evidence.raw_roas,
        Some((30.0 * 10.0 + 30.0 * 100.0) / 400.0)
    );
}

#[test]
fn repeated_ids_hold_what_they_belong_to() {
    let mut given = two_sets();
    given.ads.push(given.ads[1].clone());
    let outcome = run(&given);
    assert!(outcome.flags.contains(&Flag::BadInput));
    assert_eq!(outcome.readings.len(), 1);
    let mut given = two_sets();
    given.entities.push(given.entities[1].clone());
    let outcome = run(&given);
    assert_eq!(budget_of(&outcome, "poor"), 10_000);
}

#[test]
fn campaigns_carry_budgets_too() {
    let mut given = two_sets();
    let campaign = CampaignId::new("c").unwrap();
    given.entities = vec![BudgetEntity::steady(
        EntityRef::Campaign(campaign.clone()),
        "All".to_owned(),
        campaign,
        usd(10_000),
    )];
    let outcome = run(&given);
    assert_eq!(
        actions(&outcome),
        [("campaign c".to_owned(), Action::Raise)]
    );
    assert_eq!(outcome.decisions[0].rationale.live_ads.len(), 2);
}

mod laws;
