//! How well conversions are attributed, on made-up tenants of whom the truth is known.
//!
//! The generator loses what is lost in life: parameters, consent, devices, people who call; it puts
//! phones behind carriers' gateways, gives thousands the same model, lets households share an address
//! and friends forward links, and makes deals that no ad caused. The learner sees what a store would
//! hold and nothing of the generator's numbers; the ceiling sees them all.

mod ceiling;
pub mod diagram;
mod people;
mod predecessor;
mod roasd;
pub mod score;
mod settings;
mod world;

use crate::domain::attribution::learning::Learned;
use crate::domain::attribution::{Attribution, AttributionRules, Method};
pub use score::{Answer, Scores};
pub use settings::Settings;
use world::World;

/// Which made-up tenants are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Those that the model was made on.
    Tuning,
    /// Those that figures are reported on: other seeds and other settings, never looked at when a
    /// constant was chosen.
    Reporting,
}

/// What one policy said of every deal.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// With the thresholds it decides by.
    pub decided: Vec<Answer>,
    /// Its best guess and how sure it is, whatever the thresholds.
    pub guessed: Vec<Answer>,
}

/// All policies on the same deals.
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// Weeks and deals behind it.
    pub tenants: usize,
    /// roasd's layers.
    pub roasd: Policy,
    /// The rules of the system it replaces.
    pub predecessor: Policy,
    /// Who knows the generator's own probabilities.
    pub ceiling: Policy,
    /// What each tenant's last learning came to.
    pub learned: Vec<(&'static str, Learned)>,
}

/// Deals before this share of a tenant's time teach, and are not judged.
const TEACHING: f64 = 0.5;

/// Makes the tenants from a seed and asks every policy about their deals. `scale` shortens their time:
/// 1 for figures, less for a test.
#[must_use]
pub fn evaluate(purpose: Purpose, seed: u64, scale: f64) -> Evaluation {
    let (tenants, base) = match purpose {
        Purpose::Tuning => (&Settings::TUNED[..], 1_000_003),
        Purpose::Reporting => (&Settings::REPORTED[..], 7_919),
    };
    let mut evaluation = Evaluation::default();
    for (n, settings) in (0_u64..).zip(tenants) {
        let mut settings = settings.clone();
        settings.days *= scale;
        let world = World::new(&settings, seed.wrapping_mul(base).wrapping_add(n));
        ask(&world, &mut evaluation);
        evaluation.tenants += 1;
    }
    evaluation
}

fn ask(world: &World, into: &mut Evaluation) {
    let from = world.settings.days * 24.0 * TEACHING;
    let rules = AttributionRules {
        min_confidence: AttributionRules::SHIPPED_MIN_CONFIDENCE,
        ..AttributionRules::default()
    };
    let open = AttributionRules {
        min_confidence: 0.0,
        min_lead: 0.0,
        fingerprint_cap: 1.0,
        probabilistic_cap: 1.0,
        ..rules
    };
    let (said, learned) = roasd::run(world, from, [&rules, &open]);
    into.learned
        .extend(learned.map(|learned| (world.settings.name(), learned)));
    let mut named = Vec::new();
    for said in &said {
        let Some(deal) = world.deals.get(said.deal) else {
            continue;
        };
        let [decided, guessed] = said.credits.each_ref().map(|credit| {
            let judge = |credit: &Attribution| {
                let right = deal
                    .truth
                    .is_some_and(|ad| roasd::names(&credit.credit.ad, ad));
                (credit.method, right, credit.confidence)
            };
            Answer::new(deal.truth.is_some(), credit.as_ref().map(judge))
        });
        named.push(decided);
        into.roasd.decided.push(decided);
        into.roasd.guessed.push(guessed);
    }
    // Whom an id names is the same for all three.
    let judged = world.deals.iter().filter(|deal| deal.hours >= from);
    for (deal, named) in judged.zip(named) {
        if named.by(Method::UrlParam) {
            for policy in [&mut into.predecessor, &mut into.ceiling] {
                policy.decided.push(named);
                policy.guessed.push(named);
            }
            continue;
        }
        let is_caused = deal.truth.is_some();
        let answer = |guess: Option<(usize, Method, f64)>| {
            let judge = |(ad, method, sure)| (method, deal.truth == Some(ad), sure);
            Answer::new(is_caused, guess.map(judge))
        };
        let form = deal.form.map(|(_, seen)| seen);
        let guess = answer(predecessor::guess(world, deal.hours, form.as_ref()));
        into.predecessor.decided.push(guess);
        into.predecessor.guessed.push(guess);
        // Consent binds the ceiling too.
        let visible = deal.form.filter(|(visit, _)| {
            world
                .visits
                .get(*visit)
                .is_some_and(|visit| visit.has_consent)
        });
        let best = visible
            .and_then(|(_, seen)| ceiling::likeliest(world, deal.hours, &seen))
            .map(|(ad, sure)| (ad, Method::Probabilistic, sure));
        into.ceiling.guessed.push(answer(best));
        let sure = best.filter(|(_, _, sure)| *sure >= rules.min_confidence);
        into.ceiling.decided.push(answer(sure));
    }
}
