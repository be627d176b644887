//! What a tenant's own deals teach the two lower layers.
//!
//! How people come back is learned from all forms without an id, though nobody says which of them an
//! ad brought: expectation maximisation weighs each click by its posterior and takes the weighted
//! shares for the next round (A. P. Dempster, N. M. Laird, D. B. Rubin, JRSS B 39, 1977, as record
//! linkage uses it). The share of forms that a click brought comes out of the same, so the chance
//! that no ad caused a deal is the tenant's own.
//!
//! How far the answers are to be trusted is learned from deals that layer one settled although their
//! form was sent on another visit than the click. There the lower layers are asked blind: once as it
//! was, and once with the clicks of the true ad taken out, as if no ad had brought them.

use super::calibration::{Calibration, Judged};
use super::likelihood::{GAPS, Linkage, Match, PATTERNS};
use super::probability::Probability;
use super::recognition::{self, Click};
use super::reliability::{self, Band};
use super::traffic::Traffic;
use super::{AttributionRules, Candidates, Conversion, Method, Model, layers};
use crate::domain::ids::AdId;
use crate::domain::visit::Visit;

/// Forms that weigh as much as what is shipped: of the share, of the delay, and of each span.
const SHARE_FORMS: f64 = 20.0;
const DELAY_FORMS: f64 = 20.0;
const AGREEMENT_FORMS: f64 = 20.0;
/// Rounds of expectation maximisation.
const ROUNDS: usize = 30;
/// What is less likely than this is never credited, and teaches nothing about what is.
const WORTH_JUDGING: f64 = 0.02;
/// The share of ad-caused forms whose click can be found, before it was seen.
const FINDABLE_OF_CAUSED: f64 = 0.60;

/// What was learned, and from how much.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// What the layers go by.
    pub model: Model,
    /// Forms without an id that may be compared.
    pub forms: u64,
    /// Deals that layer one settled and that have another form visit than their click.
    pub known: u64,
    /// How often the lower layers were right on them.
    pub reliability: Vec<Band>,
}

/// A form and what was found for it.
struct Example<'a> {
    form: &'a Visit,
    candidates: &'a Candidates,
    found: Vec<Match>,
    ads: Vec<AdId>,
    /// The ad, where layer one names it.
    truth: Option<AdId>,
}

/// Learns from deals, each with the clicks found by device whether or not layer one settled it.
#[must_use]
pub fn learn(
    traffic: Traffic,
    deals: &[(Conversion, Candidates)],
    rules: &AttributionRules,
) -> Learned {
    let examples: Vec<Example<'_>> = deals
        .iter()
        .filter_map(|(conversion, candidates)| example(conversion, candidates, rules, &traffic))
        .collect();
    let linkage = maximise(&examples, traffic.clicks_per_hour());
    let known = examples.iter().filter(|e| e.truth.is_some()).count() as u64;
    let forms = examples.len() as u64 - known;
    let mut model = Model {
        traffic,
        linkage,
        calibration: Calibration::SHIPPED,
    };
    let judged = judge(&examples, known, rules, &model);
    if known > 0 {
        let all: Vec<Judged> = judged.iter().map(|(_, one)| *one).collect();
        model.calibration = Calibration::fit(&all, known);
    }
    let reliability = reliability::bands(&judged, model.calibration, rules);
    Learned {
        model,
        forms,
        known,
        reliability,
    }
}

fn example<'a>(
    conversion: &'a Conversion,
    candidates: &'a Candidates,
    rules: &AttributionRules,
    traffic: &Traffic,
) -> Option<Example<'a>> {
    let form = recognition::comparable(conversion, rules).ok()?;
    // A form sent on the click's own visit says nothing about coming back.
    if form.ad.ad.is_some() {
        return None;
    }
    let (_, credited) = layers::url_param(conversion, candidates, rules);
    let truth = match credited {
        // Contacts that disagree are no truth.
        Some(credit) if credit.confidence < 1.0 => return None,
        Some(credit) => Some(credit.credit.ad),
        None => None,
    };
    let clicks = recognition::clicks(form, candidates, rules, traffic);
    Some(Example {
        form,
        candidates,
        found: clicks.iter().map(|click| click.found).collect(),
        ads: clicks.into_iter().map(|click| click.credit.ad).collect(),
        truth,
    })
}

/// Finds the linkage under which the forms are likeliest, drawn to what is shipped.
fn maximise(examples: &[Example<'_>], clicks_per_hour: f64) -> Linkage {
    let shipped = Linkage::SHIPPED;
    let mut linkage = shipped.clone();
    for _ in 0..ROUNDS {
        let mut brought = SHARE_FORMS * shipped.findable.get();
        let mut forms = SHARE_FORMS;
        let mut delay = shipped.delay.map(|share| share * DELAY_FORMS);
        let mut agreement = shipped
            .agreement
            .map(|span| span.map(|share| share * AGREEMENT_FORMS));
        for example in examples {
            forms += f64::from(u8::from(example.truth.is_none()));
            if example.found.is_empty() {
                continue;
            }
            let posterior = linkage.posterior(&example.found, clicks_per_hour);
            let could = |ad: &AdId| example.truth.as_ref().is_none_or(|truth| truth == ad);
            let mine = || {
                let all = example.found.iter().zip(&posterior).zip(&example.ads);
                all.filter(|(_, ad)| could(ad)).map(|(pair, _)| pair)
            };
            // Where the ad is known, only the chance of its own clicks and of none is left.
            let all: f64 = posterior.iter().map(|p| p.get()).sum();
            let left = 1.0 - all + mine().map(|(_, p)| p.get()).sum::<f64>();
            for (found, p) in mine() {
                let p = p.get() / left.max(1e-12);
                if example.truth.is_none() {
                    brought += p;
                }
                delay[found.gap.index()] += p;
                let span = found.gap.span();
                let stays = linkage.agreement[span];
                let total: f64 = found.traits.patterns().map(|n| stays[n]).sum();
                for n in found.traits.patterns() {
                    agreement[span][n] += p * stays[n] / total.max(1e-12);
                }
            }
        }
        linkage = Linkage {
            findable: Probability::nearest(brought / forms),
            delay: shares::<GAPS>(delay),
            agreement: agreement.map(shares::<PATTERNS>),
        };
    }
    linkage
}

fn shares<const N: usize>(counts: [f64; N]) -> [f64; N] {
    let total: f64 = counts.iter().sum();
    counts.map(|count| count / total.max(1e-12))
}

/// Asks blind where the truth is known, and says how right the answers are.
fn judge(
    examples: &[Example<'_>],
    known: u64,
    rules: &AttributionRules,
    model: &Model,
) -> Vec<(Method, Judged)> {
    if known == 0 {
        return Vec::new();
    }
    let labelled = || {
        let known = examples.iter();
        known.filter_map(|example| Some((example, example.truth.as_ref()?)))
    };
    // How often the click can be found where an ad is known to be the cause, with what is shipped as
    // as many deals again.
    let found = labelled()
        .filter(|(e, truth)| e.ads.contains(truth))
        .count() as f64;
    let findable = (found + SHARE_FORMS * FINDABLE_OF_CAUSED) / (known as f64 + SHARE_FORMS);
    let caused = (model.linkage.findable.get() / findable).clamp(0.05, 0.95);
    // Without its ad a form stands for one that no ad caused, in so far as such forms are sent from
    // devices like it: those in the browser of an app hardly are.
    let likeness = |e: &Example<'_>| {
        let fingerprint = e.form.fingerprint.as_ref();
        fingerprint.map_or(1.0, |hash| model.traffic.plain_ratio(hash))
    };
    let likenesses: f64 = labelled().map(|(e, _)| likeness(e)).sum();
    let mut judged = Vec::new();
    for (example, truth) in labelled() {
        let asked = |without: Option<&AdId>| {
            let mut clicks: Vec<Click<'_>> =
                recognition::clicks(example.form, example.candidates, rules, &model.traffic);
            if let Some(ad) = without {
                let device = |click: &Click<'_>| {
                    let visit = click.visit;
                    (visit.fingerprint.clone(), visit.user_agent.clone())
                };
                let of_ad = clicks.iter().filter(|click| click.credit.ad == *ad);
                let devices: Vec<_> = of_ad.map(device).collect();
                // Their other clicks go too: somebody whom no ad brought has none.
                clicks.retain(|click| click.credit.ad != *ad && !devices.contains(&device(click)));
            }
            recognition::likeliest(clicks, model)
        };
        let mut judge = |answer: Option<(AdId, Probability, Method)>, weight| {
            if let Some((ad, said, method)) = answer
                && said.get() >= WORTH_JUDGING
            {
                let one = Judged {
                    said,
                    is_right: ad == *truth,
                    weight,
                };
                judged.push((method, one));
            }
        };
        judge(asked(None), caused);
        let like = likeness(example) * known as f64 / likenesses.max(1e-9);
        judge(asked(Some(truth)), (1.0 - caused) * like);
    }
    judged
}
