//! What holds for every input, also for garbage.

use proptest::prelude::*;

use super::*;
use crate::domain::money::{Currency, Money, Percentage};
use crate::domain::policy::{Bucket, DealEvidence};

fn number(wild: bool) -> BoxedStrategy<f64> {
    if wild {
        prop_oneof![
            8 => 0.0..500.0_f64,
            1 => Just(f64::NAN),
            1 => Just(f64::INFINITY),
            1 => Just(-5.0),
            1 => Just(1e300),
            1 => Just(0.0),
        ]
        .boxed()
    } else {
        (0.0..500.0_f64).boxed()
    }
}

fn deals(wild: bool) -> impl Strategy<Value = Vec<DealEvidence>> {
    let age = prop::option::of(-2.0..60.0_f64);
    let one = (
        if wild {
            number(true)
        } else {
            (0.0..=1.0_f64).boxed()
        },
        prop::collection::vec(age.clone(), 0..5),
        prop::option::weighted(0.2, -1.0..30.0_f64),
        prop::option::of(if wild {
            number(true)
        } else {
            (-100.0..20_000.0_f64).boxed()
        }),
    )
        .prop_map(|(weight, reached, lost, amount)| DealEvidence {
            weight,
            lost_at: lost.map(ago),
            amount,
            ..deal(&reached)
        });
    prop::collection::vec(one, 0..6)
}

fn one_ad(wild: bool) -> impl Strategy<Value = AdEvidence> {
    let buckets = prop::collection::vec(
        (-1.0..40.0_f64, number(wild), number(wild), number(wild)),
        0..6,
    );
    (
        (0..12_u8, 0..4_u8, 0..5_u8),
        prop::option::of(-1.0..40.0_f64),
        buckets,
        deals(wild),
        prop::collection::vec((0..12_u8, -1.0..1.0_f64), 0..4),
        prop::option::weighted(0.2, number(wild)),
    )
        .prop_map(
            |((id, set, state), created, buckets, deals, near, totals)| {
                let mut ad = ad(&format!("a{id}"), &format!("s{set}"), 0.0, 0.0);
                ad.state = [
                    AdState::Live,
                    AdState::Live,
                    AdState::Rotated,
                    AdState::PausedByOwner,
                    AdState::Ended,
                ][usize::from(state)];
                ad.created_at = created.map(ago);
                ad.record = match totals {
                    Some(n) => Record::Totals(LifetimeTotals {
                        impressions: n * 50.0,
                        clicks: n,
                        spend: n * 2.0,
                        reached: vec![n / 10.0, n / 90.0],
                        ..LifetimeTotals::default()
                    }),
                    None => Record::Dated {
                        buckets: buckets
                            .into_iter()
                            .map(|(at, impressions, clicks, spend)| Bucket {
                                at: ago(at),
                                impressions: impressions * 30.0,
                                clicks,
                                spend,
                            })
                            .collect(),
                        deals,
                    },
                };
                ad.neighbours = near
                    .into_iter()
                    .map(|(id, cosine)| (AdId::new(format!("a{id}")).unwrap(), cosine))
                    .collect();
                ad
            },
        )
}

fn entity() -> impl Strategy<Value = BudgetEntity> {
    (
        0..4_u8,
        0..30_000_i64,
        0.6..1.0_f64,
        1.0..1.5_f64,
        0..18_u32,
        prop::option::weighted(0.1, Just("held".to_owned())),
    )
        .prop_map(|(id, budget, low, high, used, untouchable)| {
            let mut entity = ad_set(&format!("s{id}"), budget);
            entity.held_24h = HeldBudgets {
                min: usd((budget as f64 * low) as i64),
                max: usd((budget as f64 * high) as i64),
            };
            entity.actions_in_last_hour = used;
            entity.untouchable = untouchable;
            entity
        })
}

fn account(wild: bool) -> impl Strategy<Value = PolicyInputs> {
    (
        any::<bool>(),
        any::<u64>(),
        prop::collection::vec(entity(), if wild { 0..5 } else { 2..5 }),
        prop::collection::vec(one_ad(wild), if wild { 0..12 } else { 2..16 }),
        0..60_000_i64,
        (any::<bool>(), any::<bool>()),
        (number(wild), number(wild)),
        0.0..0.05_f64,
    )
        .prop_map(
            move |(direct, seed, entities, ads, cap, (first, hierarchy), deals, fuzz)| {
                let mut given = inputs(if direct { Mode::Direct } else { Mode::Pipeline });
                given.seed = seed;
                given.entities = entities;
                given.ads = ads;
                if !wild {
                    name_apart(&mut given);
                }
                given.limits.daily_cap = usd(cap);
                given.limits.fuzz = Percentage::from_fraction(fuzz).unwrap();
                given.first_decision_of_day = first;
                given.params.hierarchy = hierarchy;
                given.params.ignorance_spend = 10.0;
                given.params.min_spend_for_kill = 20.0;
                given.params.rotate_spend = 10.0;
                given.params.kill_roas = [0.5, 5.0, 50.0][(seed % 3) as usize];
                (given.deals_total, given.deals_attributed) = deals;
                if wild {
                    given.params.kappa_mult = deals.0;
                    given.params.a_cost = deals.1;
                    given.stages[0].value = deals.0;
                }
                given
            },
        )
}

/// Leaves repeated ids to the wild accounts.
fn name_apart(given: &mut PolicyInputs) {
    for (i, ad) in given.ads.iter_mut().enumerate() {
        ad.ad = AdId::new(format!("a{i}")).unwrap();
    }
    for (i, entity) in given.entities.iter_mut().enumerate() {
        entity.entity = EntityRef::AdSet(AdSetId::new(format!("s{i}")).unwrap());
    }
}

fn cap_is_kept(given: &PolicyInputs, outcome: &Outcome) -> Result<(), TestCaseError> {
    if outcome.flags.contains(&Flag::CapUnreachable) {
        prop_assert!(outcome.decisions.iter().all(|d| d.action != Action::Raise));
    } else {
        prop_assert!(
            outcome.budget_after.minor() <= given.limits.daily_cap.minor(),
            "{} > {}",
            outcome.budget_after,
            given.limits.daily_cap
        );
    }
    Ok(())
}

fn velocity_is_kept(given: &PolicyInputs, outcome: &Outcome) -> Result<(), TestCaseError> {
    for d in &outcome.decisions {
        let Move::Budget { from, to } = d.change else {
            continue;
        };
        let entity = given
            .entities
            .iter()
            .find(|e| e.entity == d.subject && e.budget == from)
            .unwrap();
        let (to, now) = (to.minor() as f64, from.minor() as f64);
        if to > now {
            let most = (entity.held_6h.min.minor() as f64 * 1.2)
                .min(entity.held_24h.min.minor() as f64 * 1.199);
            prop_assert!(to <= most + 1e-6, "{to} above {most}");
        } else if to < now {
            let least = (entity.held_6h.max.minor() as f64 * 0.8)
                .max(entity.held_24h.max.minor() as f64 * 0.81);
            prop_assert!(to >= least - 1e-6, "{to} below {least}");
        }
    }
    Ok(())
}

fn statuses_are_lawful(given: &PolicyInputs, outcome: &Outcome) -> Result<(), TestCaseError> {
    for d in &outcome.decisions {
        let EntityRef::Ad(id) = &d.subject else {
            continue;
        };
        let reading = outcome.readings.iter().find(|r| r.ad == *id).unwrap();
        match d.action {
            Action::Kill => prop_assert!(!reading.in_ignorance_zone),
            Action::Rotate => {
                prop_assert!(given.first_decision_of_day);
                let still_live = outcome.readings.iter().any(|r| {
                    let paused = outcome.decisions.iter().any(|d| {
                        d.subject == EntityRef::Ad(r.ad.clone())
                            && matches!(d.action, Action::Kill | Action::Rotate)
                    });
                    r.ad_set == reading.ad_set
                        && r.campaign == reading.campaign
                        && r.state == AdState::Live
                        && !paused
                });
                prop_assert!(still_live, "the last live ad was rotated out");
            }
            Action::Return => prop_assert_eq!(reading.state, AdState::Rotated),
            Action::Raise | Action::Cut => prop_assert!(false, "a budget on an ad"),
            Action::Hold => {}
        }
    }
    Ok(())
}

fn all_numbers_are_numbers(outcome: &Outcome) -> Result<(), TestCaseError> {
    let text = format!("{outcome:?}");
    prop_assert!(!text.contains("NaN"), "{text}");
    prop_assert!(!text.contains("inf"), "{text}");
    for d in &outcome.decisions {
        let text = d.rationale.paragraph();
        prop_assert!(!text.contains("NaN") && !text.contains(" inf"), "{text}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_decision_keeps_cap_velocity_and_the_last_live_ad(given in account(false)) {
        let outcome = run(&given);
        cap_is_kept(&given, &outcome)?;
        velocity_is_kept(&given, &outcome)?;
        statuses_are_lawful(&given, &outcome)?;
        all_numbers_are_numbers(&outcome)?;
    }

    #[test]
    fn garbage_gives_neither_garbage_nor_a_broken_limit(given in account(true)) {
        let outcome = run(&given);
        cap_is_kept(&given, &outcome)?;
        statuses_are_lawful(&given, &outcome)?;
        all_numbers_are_numbers(&outcome)?;
    }

    #[test]
    fn policies_for_comparison_keep_the_same_limits(given in account(false), wild in account(true)) {
        for name in ["blended-v1", "left-alone", "rules", "beta-thompson"] {
            let policy = crate::domain::policy::named(name).unwrap();
            let outcome = policy.decide(&given);
            cap_is_kept(&given, &outcome)?;
            velocity_is_kept(&given, &outcome)?;
            all_numbers_are_numbers(&outcome)?;
            let outcome = policy.decide(&wild);
            cap_is_kept(&wild, &outcome)?;
            all_numbers_are_numbers(&outcome)?;
        }
    }

    #[test]
    fn the_order_of_the_inputs_changes_no_bit(given in account(true)) {
        let mut turned = given.clone();
        turned.entities.reverse();
        turned.ads.reverse();
        for ad in &mut turned.ads {
            ad.neighbours.reverse();
            if let Record::Dated { buckets, deals } = &mut ad.record {
                buckets.reverse();
                deals.reverse();
            }
        }
        let (a, b) = (run(&given), run(&turned));
        prop_assert_eq!(format!("{a:?}"), format!("{b:?}"));
        prop_assert_eq!(a, b);
    }
}

#[test]
fn budgets_beyond_belief_are_held() {
    for budget in [
        usd(-5),
        usd(i64::MAX),
        Money::from_minor(10_000, Currency::EUR),
    ] {
        let mut given = two_sets();
        given.entities[0].budget = budget;
        let outcome = run(&given);
        assert_eq!(outcome.decisions[0].action, Action::Hold, "{budget}");
        assert_eq!(outcome.decisions[0].rationale.rule, Rule::BadInput);
    }
}

#[test]
fn the_accounts_tried_lead_to_every_action_and_flag() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut actions, mut flags) = (BTreeMap::new(), BTreeMap::new());
    for _ in 0..400 {
        let given = account(false).new_tree(&mut runner).unwrap().current();
        let outcome = run(&given);
        for d in &outcome.decisions {
            *actions.entry(d.action).or_insert(0) += 1;
        }
        for flag in outcome.flags {
            *flags.entry(flag).or_insert(0) += 1;
        }
    }
    println!("{actions:?} {flags:?}");
    assert_eq!(actions.len(), 6, "{actions:?}");
    // These accounts are clean; the wild ones are not.
    assert_eq!(flags.len(), 5, "{flags:?}");
}
