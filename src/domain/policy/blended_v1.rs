//! The predecessor's documented sampler, for comparison and as a fallback: the age-weighted blend of
//! click-through and pipeline ROAS (ALGORITHM 4), a Beta draw on pseudo-counts, a softmax over the
//! draws.
//!
//! What its documentation leaves open and is chosen here: a hundred impressions are one
//! pseudo-count, at most a hundred of them; the softmax has temperature 1; a creative score between
//! 0 and 1 moves an ad's score by up to a fifth either way.

use super::planned::{self, Plan};
use super::roasd::{Identity, Run};
use super::{KillRule, Outcome, Policy, PolicyInputs, PolicyParams};
use crate::domain::bandit::{self, KeyedStream};
use crate::domain::rationale::Rule;
use crate::domain::score;
use crate::domain::verdicts;

const IDENTITY: Identity = Identity {
    name: "blended-v1",
    version: 1,
};

/// Impressions that make one pseudo-count, and the most pseudo-counts.
const PER_COUNT: f64 = 100.0;
const COUNTS_MAX: f64 = 100.0;

/// How far a creative's score moves an ad's.
const CREATIVE: f64 = 0.2;

/// The predecessor's sampler.
#[derive(Debug, Clone, Copy)]
pub struct BlendedV1 {
    /// Whether it stops ads of a raw pipeline ROAS under the line, as it did.
    pub kills: bool,
}

/// One ad as the sampler sees it. What is not a usable number counts as 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlendedAd<'a> {
    /// Its id: keys the draw.
    pub id: &'a str,
    /// Clicks per impression.
    pub ctr: f64,
    /// Pipeline value per unit of spend.
    pub roas: f64,
    /// Hours since creation.
    pub age_hours: f64,
    /// Impressions.
    pub impressions: f64,
    /// What is thought of its creative, 0 to 1, if anything.
    pub creative: Option<f64>,
}

/// What the sampler makes of one ad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    /// Click-through's weight in the blend.
    pub ctr_weight: f64,
    /// The blended score, 0 to 1.
    pub score: f64,
    /// The Beta draw around it, 0 to 1.
    pub draw: f64,
    /// Its share of the whole budget; the shares sum to 1.
    pub share: f64,
}

/// Scores, draws and shares of `ads`, in their order. Draws are kept for the length of `period` (see
/// [`bandit::period`]).
#[must_use]
pub fn sample(ads: &[BlendedAd<'_>], seed: u64, period: i64) -> Vec<Sampled> {
    let drawn: Vec<Sampled> = ads
        .iter()
        .map(|ad| {
            let plain = score::blended(ad.ctr, ad.roas, ad.age_hours, ad.impressions);
            let creative = ad.creative.filter(|c| (0.0..=1.0).contains(c));
            let factor = creative.map_or(1.0, |c| 1.0 + CREATIVE * (2.0 * c - 1.0));
            let score = (plain * factor).clamp(0.0, 1.0);
            let shown = if ad.impressions.is_nan() {
                0.0
            } else {
                ad.impressions
            };
            let counts = (shown / PER_COUNT).clamp(0.0, COUNTS_MAX);
            let mut stream = KeyedStream::new(seed, "blended", ad.id, period);
            Sampled {
                ctr_weight: score::ctr_weight(ad.age_hours),
                score,
                draw: stream.beta(1.0 + score * counts, 1.0 + (1.0 - score) * counts),
                share: 0.0,
            }
        })
        .collect();
    let sum: f64 = drawn.iter().map(|s| libm::exp(s.draw)).sum();
    let shared = |s: &Sampled| Sampled {
        share: libm::exp(s.draw) / sum,
        ..*s
    };
    drawn.iter().map(shared).collect()
}

impl Policy for BlendedV1 {
    fn name(&self) -> &'static str {
        if self.kills {
            IDENTITY.name
        } else {
            "blended-v1-no-kills"
        }
    }

    fn version(&self) -> u32 {
        IDENTITY.version
    }

    fn decide(&self, inputs: &PolicyInputs) -> Outcome {
        let identity = Identity {
            name: self.name(),
            ..IDENTITY
        };
        let why = "Its ads' blended scores, drawn with chance, give it this share of the cap.";
        planned::decide(inputs, identity, why, |run| self.plan(run))
    }
}

impl BlendedV1 {
    fn plan(self, run: &Run<'_>) -> Plan {
        let params = PolicyParams {
            kill_rule: KillRule::Raw,
            ..run.params
        };
        let kills: Vec<(usize, Rule)> = run
            .live()
            .filter(|ad| {
                let subject = run.subject(*ad);
                self.kills && subject.is_some_and(|s| verdicts::kills(&params, &s, 0.0))
            })
            .map(|ad| (ad, Rule::KillRaw))
            .collect();
        let places: Vec<usize> = run
            .live()
            .filter(|ad| kills.iter().all(|(killed, _)| killed != ad))
            .collect();
        let ads: Vec<BlendedAd<'_>> = places
            .iter()
            .filter_map(|ad| {
                let ledger = &run.beliefs.ads.get(*ad)?.ledger;
                Some(BlendedAd {
                    id: run.ads.get(*ad)?.ad.as_str(),
                    ctr: ledger.ctr(),
                    roas: ledger.raw_roas().unwrap_or(0.0),
                    age_hours: ledger.age_days * 24.0,
                    impressions: ledger.impressions,
                    creative: None,
                })
            })
            .collect();
        let period = bandit::period(run.inputs.now, run.params.hold_hours);
        let sampled = sample(&ads, run.inputs.seed, period);
        let weights: Vec<(usize, f64)> = places
            .into_iter()
            .zip(sampled.iter().map(|s| s.share))
            .collect();
        Plan {
            targets: run.split(&weights),
            kills,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::tests_support::{ad, ad_set, deal, inputs, with_deals};
    use crate::domain::policy::{Action, Mode};
    use proptest::prelude::*;

    fn one(ctr: f64, roas: f64, impressions: f64) -> BlendedAd<'static> {
        BlendedAd {
            id: "1",
            ctr,
            roas,
            age_hours: 48.0,
            impressions,
            creative: None,
        }
    }

    #[test]
    fn the_score_is_the_worked_example_and_a_creative_moves_it_by_a_fifth() {
        let plain = sample(&[one(0.02, 1.5, 2_000.0)], 1, 0)[0];
        assert!((plain.score - 0.368_429).abs() < 1e-6);
        assert!((plain.ctr_weight - 0.5).abs() < 1e-12);
        assert_eq!(plain.share, 1.0);
        let liked = BlendedAd {
            creative: Some(1.0),
            ..one(0.02, 1.5, 2_000.0)
        };
        assert!((sample(&[liked], 1, 0)[0].score / plain.score - 1.2).abs() < 1e-12);
    }

    #[test]
    fn draws_come_nearer_to_the_score_with_impressions() {
        let spread = |impressions: f64| {
            let draws = (0..400).map(|p| {
                let s = sample(&[one(0.02, 1.5, impressions)], 1, p)[0];
                (s.draw - s.score).abs()
            });
            draws.sum::<f64>() / 400.0
        };
        assert!(spread(9_000.0) < 0.6 * spread(300.0));
    }

    #[test]
    fn it_judges_by_what_has_closed_and_so_stops_what_has_not_had_time() {
        // Three leads of yesterday, none further: the pipeline is worth nothing yet.
        let young = with_deals(ad("1", "s", 300.0, 400.0), vec![deal(&[Some(1.0)]); 3]);
        let won = deal(&[Some(9.0), Some(8.0), Some(7.0), Some(6.0)]);
        let mut given = inputs(Mode::Pipeline);
        given.ads = vec![young, with_deals(ad("2", "s", 300.0, 400.0), vec![won])];
        given.entities = vec![ad_set("s", 5_000)];
        let outcome = BlendedV1 { kills: true }.decide(&given);
        let killed: Vec<_> = outcome
            .changes()
            .filter(|d| d.action == Action::Kill)
            .collect();
        assert_eq!(killed.len(), 1);
        assert_eq!(killed[0].subject.id(), "1");
        let calm = BlendedV1 { kills: false }.decide(&given);
        assert!(calm.changes().all(|d| d.action != Action::Kill));
    }

    proptest! {
        #[test]
        fn shares_are_shares_whatever_is_sent(
            ads in prop::collection::vec((any::<f64>(), any::<f64>(), any::<f64>(), any::<f64>(), prop::option::of(any::<f64>())), 1..30),
        ) {
            let ads: Vec<BlendedAd<'_>> = ads
                .into_iter()
                .map(|(ctr, roas, age_hours, impressions, creative)| BlendedAd {
                    id: "x", ctr, roas, age_hours, impressions, creative,
                })
                .collect();
            let sampled = sample(&ads, 3, 9);
            let sum: f64 = sampled.iter().map(|s| s.share).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9, "{sum}");
            for s in &sampled {
                for value in [s.score, s.draw, s.share, s.ctr_weight] {
                    prop_assert!((0.0..=1.0).contains(&value), "{s:?}");
                }
            }
        }
    }
}
