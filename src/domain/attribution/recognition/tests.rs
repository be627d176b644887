//! Layers two and three at their edges: windows, consent, ambiguity, rarity.

use super::super::tests::{ask, at, check, conversion, hash, nothing, traffic, visit};
use super::super::{Attribution, Verdict, attribute, device_lookups};
use super::*;
use crate::domain::attribution::calibration::{Calibration, Judged};
use proptest::prelude::*;

fn by_fingerprint(visits: Vec<Visit>) -> Candidates {
    Candidates {
        by_fingerprint: visits,
        ..nothing()
    }
}

fn by_ip(visits: Vec<Visit>) -> Candidates {
    Candidates {
        by_ip: visits,
        ..nothing()
    }
}

const FINGERPRINT: Option<(Method, &str)> = Some((Method::Fingerprint, "1"));
const PROBABILISTIC: Option<(Method, &str)> = Some((Method::Probabilistic, "1"));

/// The verdict where that many of 2,000 visitors share what the form shows, a third its address and
/// the others its phone. No cap hides how sure it is.
fn among(sharing: i64, found: &Candidates) -> Verdict {
    let model = Model::shipped(traffic(sharing));
    let uncapped = AttributionRules {
        fingerprint_cap: 1.0,
        probabilistic_cap: 1.0,
        ..AttributionRules::default()
    };
    attribute(&conversion(), found, &uncapped, &model, at(101))
}

/// A click on ad 1 from another device at the form's address.
fn at_home(hours: i64) -> Visit {
    let mut click = visit("v", hours, Some("1"));
    click.fingerprint = Some(hash("another"));
    click.user_agent = Some(hash("another"));
    click
}

#[test]
fn a_rare_fingerprint_is_a_match_within_seven_days() {
    let c = conversion();
    let click = |hours| {
        let mut click = visit("v", hours, Some("1"));
        click.ip = Some(hash("elsewhere"));
        by_fingerprint(vec![click])
    };
    check(&c, &click(98), FINGERPRINT);
    check(&c, &click(99), FINGERPRINT);
    check(&c, &click(99 - 6 * 24), FINGERPRINT);
    check(&c, &click(99 - 7 * 24 - 1), None);
    check(&c, &click(100), None); // after the form
    let found = by_fingerprint(vec![visit("v", 98, Some("1"))]);
    let confidence = ask(&c, &found).attribution.unwrap().confidence;
    assert_eq!(
        confidence, 0.90,
        "never more on nothing but what is shipped"
    );
    // A popular phone is not a person.
    assert_eq!(among(1_200, &click(98)).attribution, None);
    // Another device's visit and one without an ad are no candidates.
    let mut other = visit("v", 98, Some("1"));
    (other.fingerprint, other.ip) = (Some(hash("another")), Some(hash("elsewhere")));
    check(&c, &by_fingerprint(vec![other, visit("w", 98, None)]), None);
}

#[test]
fn an_address_is_a_match_within_a_day_when_it_is_rare() {
    let c = conversion();
    check(&c, &by_ip(vec![at_home(98)]), PROBABILISTIC);
    check(&c, &by_ip(vec![at_home(99 - 25)]), None);
    let found = by_ip(vec![at_home(98)]);
    let confidence = ask(&c, &found).attribution.unwrap().confidence;
    assert_eq!(
        confidence, 0.70,
        "never more on nothing but what is shipped"
    );
    // An address that many come from is none.
    assert_eq!(among(1_500, &found).attribution, None);
    // Nor is one that many devices clicked from, though no count has heard of it yet.
    let crowd: Vec<Visit> = (0..30)
        .map(|n| {
            let mut click = at_home(98);
            click.id = crate::domain::ids::VisitId::new(format!("c{n}")).unwrap();
            click.fingerprint = Some(hash(&format!("phone {n}")));
            click.ad.ad = Some(AdId::new((n + 1).to_string()).unwrap());
            click
        })
        .collect();
    check(&c, &by_ip(crowd), None);
}

#[test]
fn what_differs_speaks_against_a_match() {
    let said = |edit: fn(&mut Visit)| {
        let mut click = visit("v", 98, Some("1"));
        edit(&mut click);
        let verdict = among(300, &by_fingerprint(vec![click]));
        verdict.attempts[1].confidence
    };
    let same = said(|_| {});
    let unknown = said(|click| click.user_agent = None);
    let other = said(|click| click.user_agent = Some(hash("chrome")));
    // Everybody with that phone has that user agent: not to know it costs nothing.
    assert!(same > other && unknown > other, "{same} {unknown} {other}");
    assert!(said(|click| click.ip = Some(hash("elsewhere"))) < same);
}

#[test]
fn without_consent_nobody_is_recognised() {
    let mut c = conversion();
    let found = by_fingerprint(vec![visit("v", 98, Some("1"))]);
    c.form_visits[0].has_consent = false;
    check(&c, &found, None);
    assert!(device_lookups(&c, &AttributionRules::default()).is_none());
    let free = AttributionRules {
        needs_consent: false,
        ..AttributionRules::default()
    };
    let model = Model::shipped(traffic(0));
    assert!(
        attribute(&c, &found, &free, &model, at(101))
            .attribution
            .is_some()
    );
    // Nor is a click whose visitor did not consent; an id that names the ad needs none.
    let mut click = visit("v", 98, Some("1"));
    click.has_consent = false;
    check(&conversion(), &by_fingerprint(vec![click.clone()]), None);
    check(&conversion(), &by_ip(vec![click]), None);
    c.form_visits[0].ad.ad = Some(AdId::new("5").unwrap());
    check(&c, &found, Some((Method::UrlParam, "5")));
}

#[test]
fn two_ads_equally_likely_are_no_match() {
    let c = conversion();
    let two = |a: i64, b: i64| vec![visit("v", a, Some("1")), visit("w", b, Some("2"))];
    check(&c, &by_fingerprint(two(98, 98)), None);
    let attempts = ask(&c, &by_fingerprint(two(98, 98))).attempts;
    assert_eq!(attempts[1].runners_up.len(), 1);
    assert!(attempts[1].reason.contains("no match"), "{attempts:?}");
    // Much later is likelier, and two clicks on one ad are not two ads.
    check(&c, &by_fingerprint(two(98, 98 - 5 * 24)), FINGERPRINT);
    let mut again = two(98, 98);
    again[1].ad.ad = Some(AdId::new("1").unwrap());
    check(&c, &by_fingerprint(again.clone()), FINGERPRINT);
    // The last of equally likely clicks stands for the ad.
    again[1].at = time::sub(again[1].at, time::minutes(5));
    let credited = ask(&c, &by_fingerprint(again)).attribution.unwrap();
    assert_eq!(credited.clicked_at, Some(at(98)));
    // The same visit found twice, or by both values, is one click.
    let one = visit("v", 98, Some("1"));
    let mut both = by_fingerprint(vec![one.clone(), one.clone()]);
    both.by_ip = vec![one.clone()];
    let found_once = by_fingerprint(vec![one]);
    assert_eq!(
        among(1_000, &both).attempts[1].confidence,
        among(1_000, &found_once).attempts[1].confidence
    );
}

#[test]
fn calibration_moves_what_is_said_and_lifts_the_cap_it_has_borne_out() {
    let found = by_fingerprint(vec![visit("v", 98, Some("1"))]);
    let confidence = |right: usize| {
        let judged: Vec<Judged> = (0..1_000)
            .map(|n| Judged {
                said: Probability::from_logit(if n % 2 == 0 { 1.0 } else { 8.0 }),
                is_right: n < right,
                weight: 1.0,
            })
            .collect();
        let model = Model {
            calibration: Calibration::fit(&judged, 1_000),
            ..Model::shipped(traffic(0))
        };
        let rules = AttributionRules::default();
        let verdict = attribute(&conversion(), &found, &rules, &model, at(101));
        verdict
            .attribution
            .map(|Attribution { confidence, .. }| confidence)
    };
    assert!(confidence(990).unwrap() > 0.95);
    assert!(confidence(500) < confidence(990));
    assert!(confidence(50) < confidence(500));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is found, confidence keeps to its layer's cap, clicks to their window, and the order
    /// in which the visits were found changes nothing.
    #[test]
    fn no_layer_says_more_than_it_may(
        clicks in proptest::collection::vec((0i64..200, 0u8..4, any::<bool>(), any::<bool>()), 0..10),
        sharing in 0i64..50,
    ) {
        let visits: Vec<Visit> = clicks
            .iter()
            .enumerate()
            .map(|(i, (hours, ad, consent, same))| {
                let ad = (*ad > 0).then(|| ad.to_string());
                let mut v = visit(&format!("v{i}"), *hours, ad.as_deref());
                v.has_consent = *consent;
                if !same {
                    v.user_agent = Some(hash("other"));
                    v.fingerprint = Some(hash("other"));
                }
                v
            })
            .collect();
        let model = Model::shipped(traffic(sharing * sharing));
        let mut found = Candidates {
            by_fingerprint: visits.clone(),
            by_ip: visits.clone(),
            ..Candidates::default()
        };
        let rules = AttributionRules::default();
        let verdict = attribute(&conversion(), &found, &rules, &model, at(101));
        if let Some(a) = &verdict.attribution {
            let (cap, hours) = match a.method {
                Method::UrlParam => (1.0, i64::MAX),
                Method::Fingerprint => (0.9, 7 * 24),
                Method::Probabilistic => (0.7, 24),
            };
            prop_assert!(a.confidence >= rules.min_confidence && a.confidence <= cap);
            let clicked = a.clicked_at.unwrap();
            prop_assert!(clicked <= at(99));
            prop_assert!(time::between(clicked, at(99)) <= time::hours(hours));
            let click = visits.iter().find(|v| Some(&v.id) == a.visit.as_ref()).unwrap();
            prop_assert!(click.has_consent);
        }
        for attempt in &verdict.attempts {
            prop_assert!((0.0..=1.0).contains(&attempt.confidence));
            prop_assert!(attempt.runners_up.is_sorted_by(|a, b| a.1 >= b.1));
        }
        found.by_fingerprint.reverse();
        found.by_ip.reverse();
        prop_assert_eq!(verdict, attribute(&conversion(), &found, &rules, &model, at(101)));
    }
}
