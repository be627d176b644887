//! What owners do without roasd, for comparison: leave budgets alone, write rules, or sample
//! conversion rates.

use std::collections::BTreeMap;

use super::planned::{self, Plan};
use super::roasd::{Identity, Run};
use super::{Outcome, Policy, PolicyInputs};
use crate::domain::bandit::{self, KeyedStream};
use crate::domain::rationale::Rule;

/// Changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeftAlone;

impl Policy for LeftAlone {
    fn name(&self) -> &'static str {
        "left-alone"
    }

    fn version(&self) -> u32 {
        1
    }

    fn decide(&self, inputs: &PolicyInputs) -> Outcome {
        let identity = Identity {
            name: self.name(),
            version: self.version(),
        };
        planned::decide(inputs, identity, "Budgets are left alone.", |_| {
            Plan::default()
        })
    }
}

/// Rules as ad managers write them, once a day: stop an ad whose leads (direct: purchases) cost twice
/// the account's, raise a budget by a fifth where the pipeline returns a fifth more than the
/// account, lower it by a fifth where it returns a fifth less.
#[derive(Debug, Clone, Copy, Default)]
pub struct RulesEngine;

/// Twice the account's cost per lead stops an ad.
const DEAR: f64 = 2.0;
/// The step, and the margin that calls for one.
const FIFTH: f64 = 0.2;

impl Policy for RulesEngine {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn version(&self) -> u32 {
        1
    }

    fn decide(&self, inputs: &PolicyInputs) -> Outcome {
        let identity = Identity {
            name: self.name(),
            version: self.version(),
        };
        let why = "The rule on the return of its pipeline against the account's.";
        planned::decide(inputs, identity, why, |run| {
            if run.inputs.first_decision_of_day {
                by_rules(run)
            } else {
                Plan::default()
            }
        })
    }
}

fn by_rules(run: &Run<'_>) -> Plan {
    let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    let (mut spend, mut leads, mut value) = (0.0, 0.0, 0.0);
    for ad in run.live() {
        let Some(ledger) = run.beliefs.ads.get(ad).map(|b| &b.ledger) else {
            continue;
        };
        spend += ledger.spend;
        leads += ledger.reached.first().copied().unwrap_or(0.0);
        value += ledger.pipeline_value.max(0.0);
        if let Some(place) = run.entity_of.get(ad).copied().flatten() {
            let sum = sums.entry(place).or_default();
            sum.0 += ledger.spend;
            sum.1 += ledger.pipeline_value.max(0.0);
        }
    }
    if spend <= 0.0 || leads <= 0.0 {
        return Plan::default();
    }
    let line = DEAR * spend / leads;
    let is_dear = |ad: &usize| {
        run.beliefs.ads.get(*ad).is_some_and(|b| {
            let own = b.ledger.reached.first().copied().unwrap_or(0.0);
            b.ledger.spend > line * own.max(1.0)
        })
    };
    let why = "Its leads cost more than twice the account's.";
    let account = value / spend;
    let targets = sums
        .into_iter()
        .filter(|(_, (spend, _))| *spend > 0.0 && account > 0.0)
        .filter_map(|(place, (spend, value))| {
            let budget = run.entities.get(place)?.given.budget.to_f64();
            let ratio = value / spend / account;
            let factor = if ratio > 1.0 + FIFTH {
                1.0 + FIFTH
            } else if ratio < 1.0 - FIFTH {
                1.0 - FIFTH
            } else {
                1.0
            };
            Some((place, budget * factor))
        })
        .collect();
    Plan {
        kills: run
            .live()
            .filter(is_dear)
            .map(|ad| (ad, Rule::Compared(why)))
            .collect(),
        targets,
    }
}

/// Thompson sampling as textbooks have it: a Beta draw of each ad's share of clicks that become a
/// lead (direct: a purchase), and budgets in proportion to the draws.
#[derive(Debug, Clone, Copy, Default)]
pub struct BetaThompson;

impl Policy for BetaThompson {
    fn name(&self) -> &'static str {
        "beta-thompson"
    }

    fn version(&self) -> u32 {
        1
    }

    fn decide(&self, inputs: &PolicyInputs) -> Outcome {
        let identity = Identity {
            name: self.name(),
            version: self.version(),
        };
        let why = "Its ads' conversion rates, drawn with chance, give it this share of the cap.";
        planned::decide(inputs, identity, why, |run| {
            let period = bandit::period(run.inputs.now, run.params.hold_hours);
            let weights: Vec<(usize, f64)> = run
                .live()
                .filter_map(|ad| {
                    let ledger = &run.beliefs.ads.get(ad)?.ledger;
                    let id = run.ads.get(ad)?.ad.as_str();
                    let won = ledger.reached.first().copied().unwrap_or(0.0);
                    let mut stream = KeyedStream::new(run.inputs.seed, "beta", id, period);
                    let missed = (ledger.clicks - won).max(0.0);
                    Some((ad, stream.beta(1.0 + won, 1.0 + missed)))
                })
                .collect();
            Plan {
                kills: Vec::new(),
                targets: run.split(&weights),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::tests_support::{ad, ad_set, deal, inputs, with_deals};
    use crate::domain::policy::{Action, Mode, named};

    fn account() -> PolicyInputs {
        let mut given = inputs(Mode::Pipeline);
        let won = || deal(&[Some(9.0), Some(8.0), Some(7.0), Some(6.0)]);
        let good = with_deals(ad("1", "a", 300.0, 400.0), vec![won(); 8]);
        let fair = with_deals(ad("2", "b", 300.0, 400.0), vec![deal(&[Some(9.0)]); 8]);
        let dear = with_deals(ad("3", "b", 300.0, 400.0), vec![deal(&[Some(9.0)])]);
        given.ads = vec![good, fair, dear];
        given.entities = vec![ad_set("a", 5_000), ad_set("b", 5_000)];
        given.limits.daily_cap = given.entities[0]
            .budget
            .checked_add(given.entities[1].budget)
            .unwrap();
        given
    }

    fn actions(outcome: &Outcome) -> Vec<(String, Action)> {
        let changes = outcome.changes();
        changes
            .map(|d| (d.subject.id().to_owned(), d.action))
            .collect()
    }

    #[test]
    fn left_alone_changes_nothing() {
        assert_eq!(actions(&LeftAlone.decide(&account())), []);
    }

    #[test]
    fn rules_stop_the_dear_ad_and_move_a_fifth_once_a_day() {
        let found = actions(&RulesEngine.decide(&account()));
        assert_eq!(found[0], ("3".to_owned(), Action::Kill));
        assert!(
            found.contains(&("a".to_owned(), Action::Raise)),
            "{found:?}"
        );
        assert!(found.contains(&("b".to_owned(), Action::Cut)), "{found:?}");
        let later = PolicyInputs {
            first_decision_of_day: false,
            ..account()
        };
        assert_eq!(actions(&RulesEngine.decide(&later)), []);
    }

    #[test]
    fn sampling_follows_the_conversion_rate_and_not_the_money() {
        let found = actions(&BetaThompson.decide(&account()));
        assert!(found.iter().all(|(_, a)| *a != Action::Kill));
        let mut given = account();
        // Many leads that never come to anything.
        if let crate::domain::policy::Record::Dated { deals, .. } = &mut given.ads[1].record {
            deals.extend(vec![deal(&[Some(9.0)]); 60]);
        }
        let found = actions(&BetaThompson.decide(&given));
        assert!(
            found.contains(&("b".to_owned(), Action::Raise)),
            "{found:?}"
        );
    }

    #[test]
    fn every_policy_is_found_by_its_name() {
        for name in [
            "roasd",
            "blended-v1",
            "left-alone",
            "rules",
            "beta-thompson",
        ] {
            assert_eq!(named(name).map(Policy::name), Some(name));
        }
        assert!(named("oracle").is_none());
    }
}
