//! What policies for comparison share with the house policy: they choose ads to stop and aim
//! budgets; bounds, cap, rationing and explanations are the same for all.

use std::collections::BTreeMap;

use super::budgets::{self, Aim};
use super::roasd::{Identity, Run};
use super::statuses;
use super::{AdState, Outcome, PolicyInputs};
use crate::domain::rationale::Rule;

/// What a policy for comparison wants.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Places of ads to pause for good, and why.
    pub(super) kills: Vec<(usize, Rule)>,
    /// Budgets by place of the entity, main units; the others stay.
    pub(super) targets: BTreeMap<usize, f64>,
}

/// Carries out a plan within the guards. `why` is the reason of every budget.
pub(super) fn decide(
    inputs: &PolicyInputs,
    identity: Identity,
    why: &'static str,
    plan: impl FnOnce(&Run<'_>) -> Plan,
) -> Outcome {
    let run = Run::new(inputs, identity);
    let plan = if run.unbelievable {
        Plan::default()
    } else {
        plan(&run)
    };
    let mut allowance = run.allowance();
    let statuses = statuses::planned(&run, plan.kills, &mut allowance);
    let aim = Aim::At(&plan.targets, why);
    let budgets = budgets::decide(&run, &statuses, &mut allowance, aim);
    run.outcome(&statuses, budgets)
}

impl Run<'_> {
    /// Places of the live ads.
    pub(super) fn live(&self) -> impl Iterator<Item = usize> {
        let ads = self.ads.iter().enumerate();
        ads.filter(|(_, ad)| ad.state == AdState::Live)
            .map(|(i, _)| i)
    }

    /// Splits the cap by each live ad's weight and sums the shares of each entity's ads.
    pub(super) fn split(&self, weights: &[(usize, f64)]) -> BTreeMap<usize, f64> {
        let all: f64 = weights.iter().map(|(_, w)| w).sum();
        let cap = self.inputs.limits.daily_cap.to_f64();
        let mut targets = BTreeMap::new();
        if all.is_finite() && all > 0.0 {
            for (ad, weight) in weights {
                if let Some(place) = self.entity_of.get(*ad).copied().flatten() {
                    *targets.entry(place).or_insert(0.0) += cap * weight / all;
                }
            }
        }
        targets
    }
}
