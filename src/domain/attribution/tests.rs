//! The layers at their edges: order, windows, consent, ambiguity, rarity.

use super::*;
use crate::domain::deal::ContactFacts;
use crate::domain::ids::ContactId;
use crate::domain::visit::AdParameters;
use proptest::prelude::*;

fn at(hours: i64) -> Timestamp {
    time::from_seconds(1_790_000_000 + hours * 3_600)
}

fn hash(text: &str) -> KeyedHash {
    KeyedHash(text.to_owned())
}

/// A consenting visit of one device, `hours` after the beginning; `ad` is what its link names.
fn visit(id: &str, hours: i64, ad: Option<&str>) -> Visit {
    Visit {
        id: VisitId::new(id).unwrap(),
        at: at(hours),
        ad: AdParameters {
            ad: ad.map(|ad| AdId::new(ad).unwrap()),
            ..AdParameters::default()
        },
        has_consent: true,
        fingerprint: Some(hash("device")),
        ip: Some(hash("home")),
        user_agent: Some(hash("safari")),
    }
}

fn with_fbclid(mut visit: Visit, fbclid: &str) -> Visit {
    visit.ad.fbclid = Some(fbclid.to_owned());
    visit
}

fn contact(id: &str, edit: impl FnOnce(&mut ContactFacts)) -> Contact {
    let mut facts = ContactFacts::default();
    edit(&mut facts);
    Contact {
        id: ContactId::new(id).unwrap(),
        facts,
        updated_at: at(0),
    }
}

/// A deal of hour 100 with one contact whose form was sent at hour 99 on a page without ad
/// parameters.
fn conversion() -> Conversion {
    Conversion {
        deal: DealId::new("77").unwrap(),
        at: at(100),
        contacts: vec![contact("c1", |f| f.roasd_click_id = Some("form".into()))],
        form_visits: vec![visit("form", 99, None)],
    }
}

fn rare() -> ValueFrequency {
    ValueFrequency {
        with_value: 2,
        of: 2_000,
    }
}

fn common() -> ValueFrequency {
    ValueFrequency {
        with_value: 800,
        of: 2_000,
    }
}

/// Nothing found; rare values; ten ad clicks in each window.
fn nothing() -> Candidates {
    Candidates {
        fingerprint_frequency: rare(),
        ip_frequency: rare(),
        user_agent_frequency: rare(),
        ad_clicks_in_fingerprint_window: 10,
        ad_clicks_in_probabilistic_window: 10,
        ..Candidates::default()
    }
}

fn ask(conversion: &Conversion, candidates: &Candidates) -> Verdict {
    attribute(
        conversion,
        candidates,
        &AttributionRules::default(),
        at(101),
    )
}

fn check(conversion: &Conversion, candidates: &Candidates, expected: Option<(Method, &str)>) {
    let verdict = ask(conversion, candidates);
    let got = verdict
        .attribution
        .as_ref()
        .map(|a| (a.method, a.credit.ad.as_str()));
    assert_eq!(got, expected, "{:#?}", verdict.attempts);
    let tried = verdict.attempts.iter().map(|a| a.method);
    let all = [Method::UrlParam, Method::Fingerprint, Method::Probabilistic];
    assert!(tried.eq(all.into_iter().take(verdict.attempts.len())));
    assert_eq!(verdict.retry_until.is_none(), expected.is_some());
}

fn url(ad: &str) -> Option<(Method, &str)> {
    Some((Method::UrlParam, ad))
}

#[test]
fn the_click_id_names_the_ad() {
    let mut c = conversion();
    c.form_visits = vec![visit("form", 99, Some("5"))];
    check(&c, &nothing(), url("5"));
    let credited = ask(&c, &nothing()).attribution.unwrap();
    assert_eq!(credited.confidence, 1.0);
    assert_eq!(credited.visit, Some(VisitId::new("form").unwrap()));
    assert_eq!(credited.clicked_at, Some(at(99)));
    // A click after the conversion brought nobody.
    c.form_visits = vec![visit("form", 101, Some("5"))];
    check(&c, &nothing(), None);
    // Nor does a visit that the contact does not carry.
    c.form_visits = vec![visit("other", 99, Some("5"))];
    check(&c, &nothing(), None);
    // Without contacts the visit stands for itself (a caller that has the click id alone).
    c.contacts.clear();
    check(&c, &nothing(), url("5"));
}

#[test]
fn a_click_before_its_window_names_no_ad() {
    let rules = AttributionRules {
        click_window: time::hours(10),
        ..AttributionRules::default()
    };
    let credited = |c: &Conversion, found: &Candidates| {
        let verdict = attribute(c, found, &rules, at(101));
        let reason = verdict.attempts[0].reason.clone();
        (verdict.attribution.map(|a| a.credit.ad.to_string()), reason)
    };
    // The edge itself is in the window, for every kind of click.
    for (hours, is_in) in [(90, true), (89, false)] {
        let ad = is_in.then(|| "5".to_owned());
        let mut by_click_id = conversion();
        by_click_id.form_visits = vec![visit("form", hours, Some("5"))];
        let mut alone = by_click_id.clone();
        alone.contacts.clear();
        let mut by_lead = conversion();
        by_lead.contacts = vec![contact("c1", |f| f.meta_lead_id = Some("900".into()))];
        let mut by_fbclid = conversion();
        by_fbclid.contacts = vec![contact("c1", |f| f.facebook_click_id = Some("AbC".into()))];
        let mut found = nothing();
        found.by_fbclid = vec![with_fbclid(visit("v", hours, Some("5")), "AbC")];
        let mut leads = nothing();
        leads.leads = vec![MetaLead {
            id: "900".into(),
            at: at(hours),
            credit: Credit {
                ad: AdId::new("5").unwrap(),
                ad_set: None,
                campaign: None,
            },
        }];
        for (c, found) in [
            (&by_click_id, &nothing()),
            (&alone, &nothing()),
            (&by_lead, &leads),
            (&by_fbclid, &found),
        ] {
            let (got, reason) = credited(c, found);
            assert_eq!(got, ad, "{hours}: {reason}");
            assert_eq!(reason.contains("before the window of 10h"), !is_in);
        }
    }
    // A link without a time of its own counts.
    let mut c = conversion();
    c.contacts = vec![contact("c1", |f| f.ad_id = Some("5".into()))];
    assert_eq!(credited(&c, &nothing()).0.as_deref(), Some("5"));
}

#[test]
fn stronger_evidence_goes_first() {
    let mut c = conversion();
    c.form_visits = vec![visit("form", 99, Some("1"))];
    c.contacts = vec![contact("c1", |f| {
        f.roasd_click_id = Some(" form ".into());
        f.meta_lead_id = Some("l:900".into());
        f.facebook_click_id = Some("AbC".into());
        f.ad_id = Some("4".into());
        f.first_url = Some("https://x.test/?utm_content=5".into());
    })];
    let mut found = nothing();
    found.by_fbclid = vec![with_fbclid(visit("v", 98, Some("3")), "AbC")];
    found.leads = vec![MetaLead {
        id: "900".into(),
        at: at(99),
        credit: Credit {
            ad: AdId::new("2").unwrap(),
            ad_set: None,
            campaign: None,
        },
    }];
    check(&c, &found, url("1"));
    c.form_visits.clear();
    check(&c, &found, url("2"));
    found.leads[0].at = at(101);
    check(&c, &found, url("3"));
    found.by_fbclid[0].at = at(101);
    check(&c, &found, url("4"));
    c.contacts[0].facts.ad_id = Some("{{ad.id}}".into());
    check(&c, &found, url("5"));
    c.contacts[0].facts.first_url = None;
    check(&c, &found, None);
}

#[test]
fn an_fbclid_names_an_ad_only_through_a_click_that_does() {
    let mut c = conversion();
    c.contacts = vec![contact("c1", |f| f.facebook_click_id = Some("AbC".into()))];
    let found = |visits: Vec<Visit>| Candidates {
        by_fbclid: visits,
        ..nothing()
    };
    check(
        &c,
        &found(vec![with_fbclid(visit("v", 1, None), "AbC")]),
        None,
    );
    check(
        &c,
        &found(vec![with_fbclid(visit("v", 1, Some("3")), "aBc")]),
        None,
    );
    check(
        &c,
        &found(vec![with_fbclid(visit("v", 1, Some("3")), "AbC")]),
        url("3"),
    );
    let forwarded = vec![
        with_fbclid(visit("v", 1, Some("3")), "AbC"),
        with_fbclid(visit("w", 2, Some("4")), "AbC"),
    ];
    check(&c, &found(forwarded), None);
    // The one in the first page's query counts as well.
    c.contacts = vec![contact("c1", |f| {
        f.first_url = Some("https://x.test/?fbclid=AbC".into())
    })];
    check(
        &c,
        &found(vec![with_fbclid(visit("v", 1, Some("3")), "AbC")]),
        url("3"),
    );
}

#[test]
fn a_number_that_is_no_ad_of_the_account_gets_no_credit() {
    let mut c = conversion();
    c.contacts = vec![contact("c1", |f| {
        f.first_url = Some("https://x.test/?utm_content=2".into())
    })];
    let mut found = nothing();
    let place = |ad_set: &str| Placement {
        ad_set: AdSetId::new(ad_set).unwrap(),
        campaign: CampaignId::new("7").unwrap(),
    };
    found.placements.insert(AdId::new("5").unwrap(), place("6"));
    check(&c, &found, None);
    assert!(
        ask(&c, &found).attempts[0]
            .reason
            .contains("no ad of this account")
    );
    c.contacts = vec![contact("c1", |f| {
        f.first_url = Some("https://x.test/?utm_content=5&utm_term=999".into());
    })];
    let credit = ask(&c, &found).attribution.unwrap().credit;
    // The structure knows better than the link where the ad is.
    assert_eq!(credit.ad_set, Some(AdSetId::new("6").unwrap()));
    assert_eq!(credit.campaign, Some(CampaignId::new("7").unwrap()));
}

#[test]
fn contacts_that_disagree_vote() {
    let named = |id: &str, ad: &str| contact(id, |f| f.ad_id = Some(ad.into()));
    let mut c = conversion();
    c.contacts = vec![
        named("a", "1"),
        named("b", "2"),
        named("c", "2"),
        contact("d", |_| {}),
    ];
    check(&c, &nothing(), url("2"));
    let verdict = ask(&c, &nothing());
    let credited = verdict.attribution.unwrap();
    assert!((credited.confidence - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!(
        verdict.attempts[0].runners_up,
        [(AdId::new("1").unwrap(), 1.0 / 3.0)]
    );
    // A tie without anything that separates is no match.
    c.contacts = vec![named("a", "1"), named("b", "2")];
    check(&c, &nothing(), None);
    // Stronger evidence breaks it, and so does the earlier click.
    c.form_visits = vec![visit("f1", 98, Some("1")), visit("f2", 97, Some("2"))];
    c.contacts = vec![
        named("a", "1"),
        contact("b", |f| f.roasd_click_id = Some("f2".into())),
    ];
    check(&c, &nothing(), url("2"));
    c.contacts = vec![
        contact("a", |f| f.roasd_click_id = Some("f1".into())),
        contact("b", |f| f.roasd_click_id = Some("f2".into())),
    ];
    check(&c, &nothing(), url("2"));
    assert_eq!(ask(&c, &nothing()).attribution.unwrap().confidence, 0.5);
}

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

#[test]
fn a_rare_fingerprint_is_a_match_within_seven_days() {
    let c = conversion();
    let click = |hours| by_fingerprint(vec![visit("v", hours, Some("1"))]);
    check(&c, &click(98), FINGERPRINT);
    check(&c, &click(99), FINGERPRINT);
    check(&c, &click(99 - 7 * 24 - 1), None);
    check(&c, &click(100), None); // after the form
    let confidence = ask(&c, &click(98)).attribution.unwrap().confidence;
    assert_eq!(confidence, 0.90, "never more");
    let mut shared = click(98);
    shared.fingerprint_frequency = common();
    check(&c, &shared, None);
    let mut crowded = click(98);
    crowded.ad_clicks_in_fingerprint_window = 100_000;
    check(&c, &crowded, None);
    // Another device's visit and one without an ad are no candidates.
    let mut other = visit("v", 98, Some("1"));
    other.fingerprint = Some(hash("another"));
    check(&c, &by_fingerprint(vec![other, visit("w", 98, None)]), None);
}

#[test]
fn an_address_is_a_match_within_a_day_when_it_is_rare() {
    let c = conversion();
    let click = |hours| by_ip(vec![visit("v", hours, Some("1"))]);
    check(&c, &click(98), PROBABILISTIC);
    check(&c, &click(99 - 25), None);
    let confidence = ask(&c, &click(98)).attribution.unwrap().confidence;
    assert_eq!(confidence, 0.70, "never more");
    let mut shared = click(98);
    (shared.ip_frequency, shared.user_agent_frequency) = (common(), common());
    check(&c, &shared, None);
    // Another user agent on the same address speaks against it.
    let ratio = |agent: Option<&str>| {
        let mut v = visit("v", 98, Some("1"));
        v.user_agent = agent.map(hash);
        let mut found = by_ip(vec![v]);
        found.ip_frequency = ValueFrequency {
            with_value: 400,
            of: 2_000,
        };
        ask(&c, &found).attempts[2].confidence
    };
    let (same, unknown, other) = (ratio(Some("safari")), ratio(None), ratio(Some("chrome")));
    assert!(
        same > unknown && unknown > other,
        "{same} {unknown} {other}"
    );
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
    assert!(attribute(&c, &found, &free, at(101)).attribution.is_some());
    // Nor is a click whose visitor did not consent; an id that names the ad needs none.
    let mut click = visit("v", 98, Some("1"));
    click.has_consent = false;
    check(&conversion(), &by_fingerprint(vec![click.clone()]), None);
    check(&conversion(), &by_ip(vec![click]), None);
    c.form_visits[0].ad.ad = Some(AdId::new("5").unwrap());
    check(&c, &found, url("5"));
}

#[test]
fn two_ads_equally_likely_are_no_match() {
    let c = conversion();
    let two = |a: i64, b: i64| vec![visit("v", a, Some("1")), visit("w", b, Some("2"))];
    check(&c, &by_fingerprint(two(98, 98)), None);
    check(&c, &by_ip(two(98, 98)), None);
    let attempts = ask(&c, &by_fingerprint(two(98, 98))).attempts;
    assert_eq!(attempts[1].runners_up.len(), 1);
    assert!(attempts[1].reason.contains("no match"));
    // Much later is likelier, and two clicks on one ad are not two ads.
    check(&c, &by_fingerprint(two(98, 98 - 5 * 24)), FINGERPRINT);
    let mut again = two(98, 97);
    again[1].ad.ad = Some(AdId::new("1").unwrap());
    check(&c, &by_fingerprint(again.clone()), FINGERPRINT);
    // The last click of the ad stands for it.
    let credited = ask(&c, &by_fingerprint(again)).attribution.unwrap();
    assert_eq!(credited.clicked_at, Some(at(98)));
    // The same visit found twice is one click.
    let doubled = vec![visit("v", 98, Some("1")), visit("v", 98, Some("1"))];
    assert_eq!(
        ask(&c, &by_ip(doubled)).attempts[2],
        ask(&c, &by_ip(vec![visit("v", 98, Some("1"))])).attempts[2]
    );
}

#[test]
fn an_unattributed_conversion_is_tried_again_until_its_window_closes() {
    let rules = AttributionRules::default();
    let until = time::add(at(100), rules.retry_window);
    let retry = |now| attribute(&conversion(), &nothing(), &rules, now).retry_until;
    assert_eq!(retry(at(101)), Some(until));
    assert_eq!(retry(time::sub(until, time::seconds(1))), Some(until));
    assert_eq!(retry(until), None);
}

#[test]
fn lookups_say_what_to_gather() {
    let contacts = [
        contact("a", |f| {
            f.roasd_click_id = Some("v1".into());
            f.facebook_click_id = Some("AbC".into());
            f.meta_lead_id = Some("l:12".into());
        }),
        contact("b", |f| {
            f.roasd_click_id = Some(" ".into());
            f.first_url = Some("https://x.test/?fbclid=Xy".into());
        }),
    ];
    let wanted = lookups(&contacts);
    assert_eq!(
        wanted.visit_ids,
        BTreeSet::from([VisitId::new("v1").unwrap()])
    );
    assert_eq!(
        wanted.fbclids,
        BTreeSet::from(["AbC".to_owned(), "Xy".to_owned()])
    );
    assert_eq!(wanted.lead_ids, BTreeSet::from(["12".to_owned()]));
    let device = device_lookups(&conversion(), &AttributionRules::default()).unwrap();
    let fingerprint = device.fingerprint.unwrap();
    assert_eq!(fingerprint.hash, hash("device"));
    assert_eq!(
        (fingerprint.since, fingerprint.until),
        (at(99 - 7 * 24), at(99))
    );
    assert_eq!(device.probabilistic_window, (at(75), at(99)));
    let mut late = conversion();
    late.form_visits[0].at = at(101);
    assert!(device_lookups(&late, &AttributionRules::default()).is_none());
}

proptest! {
    /// Whatever is found, confidence keeps to its layer's cap, clicks to their window, and the order
    /// in which the visits were found changes nothing.
    #[test]
    fn no_layer_says_more_than_it_may(
        clicks in proptest::collection::vec((0i64..200, 0u8..4, any::<bool>(), any::<bool>()), 0..10),
        with_value in 0u64..3_000,
        of in 0u64..3_000,
        in_window in 0u64..500,
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
        let frequency = ValueFrequency { with_value, of };
        let mut found = Candidates {
            by_fingerprint: visits.clone(),
            by_ip: visits.clone(),
            fingerprint_frequency: frequency,
            ip_frequency: frequency,
            user_agent_frequency: frequency,
            ad_clicks_in_fingerprint_window: in_window,
            ad_clicks_in_probabilistic_window: in_window,
            ..Candidates::default()
        };
        let verdict = ask(&conversion(), &found);
        if let Some(a) = &verdict.attribution {
            let (cap, hours) = match a.method {
                Method::UrlParam => (1.0, i64::MAX),
                Method::Fingerprint => (0.9, 7 * 24),
                Method::Probabilistic => (0.7, 24),
            };
            prop_assert!(a.confidence >= 0.5 && a.confidence <= cap);
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
        prop_assert_eq!(verdict, ask(&conversion(), &found));
    }
}
