//! Layer one at its edges: order, windows, disagreement; and what all layers share.

use super::*;
use crate::domain::deal::ContactFacts;
use crate::domain::ids::ContactId;
use crate::domain::visit::AdParameters;

pub(super) fn at(hours: i64) -> Timestamp {
    time::from_seconds(1_790_000_000 + hours * 3_600)
}

pub(super) fn hash(text: &str) -> KeyedHash {
    KeyedHash(text.to_owned())
}

/// A consenting visit of one device, `hours` after the beginning; `ad` is what its link names.
pub(super) fn visit(id: &str, hours: i64, ad: Option<&str>) -> Visit {
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

pub(super) fn contact(id: &str, edit: impl FnOnce(&mut ContactFacts)) -> Contact {
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
pub(super) fn conversion() -> Conversion {
    Conversion {
        deal: DealId::new("77").unwrap(),
        at: at(100),
        contacts: vec![contact("c1", |f| f.roasd_click_id = Some("form".into()))],
        form_visits: vec![visit("form", 99, None)],
    }
}

/// A week of 2,000 visitors, each on a device and an address of their own, but for those who share
/// what the conversion's form shows; one in ten clicked an ad.
pub(super) fn traffic(sharing: i64) -> Traffic {
    let visits: Vec<Visit> = (0..2_000)
        .map(|n| {
            let mut visit = visit(&format!("t{n}"), 0, (n % 10 == 0).then_some("5"));
            visit.at = time::add(at(-68), time::minutes(5 * n));
            if n >= sharing {
                visit.fingerprint = Some(hash(&format!("device {n}")));
                visit.user_agent = Some(hash(&format!("agent {n}")));
                visit.ip = Some(hash(&format!("home {n}")));
            } else if n % 3 == 0 {
                // They share the address, each on a device of their own.
                visit.fingerprint = Some(hash(&format!("device {n}")));
                visit.user_agent = Some(hash(&format!("agent {n}")));
            } else {
                // They have the same phone, each at home.
                visit.ip = Some(hash(&format!("home {n}")));
            }
            visit
        })
        .collect();
    Traffic::of(&visits, at(-68), at(100))
}

/// Nothing found.
pub(super) fn nothing() -> Candidates {
    Candidates::default()
}

pub(super) fn ask(conversion: &Conversion, candidates: &Candidates) -> Verdict {
    attribute(
        conversion,
        candidates,
        &AttributionRules::default(),
        &Model::shipped(traffic(0)),
        at(101),
    )
}

pub(super) fn check(
    conversion: &Conversion,
    candidates: &Candidates,
    expected: Option<(Method, &str)>,
) {
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
        let verdict = attribute(
            c,
            found,
            &rules,
            &Model::shipped(Traffic::default()),
            at(101),
        );
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
    Arc::make_mut(&mut found.placements).insert(AdId::new("5").unwrap(), place("6"));
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

#[test]
fn an_unattributed_conversion_is_tried_again_until_its_window_closes() {
    let rules = AttributionRules::default();
    let until = time::add(at(100), rules.retry_window);
    let model = Model::shipped(Traffic::default());
    let retry = |now| attribute(&conversion(), &nothing(), &rules, &model, now).retry_until;
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
    let ip = device.ip.unwrap();
    assert_eq!((ip.since, ip.until), (at(75), at(99)));
    let mut late = conversion();
    late.form_visits[0].at = at(101);
    assert!(device_lookups(&late, &AttributionRules::default()).is_none());
}
