use super::super::facts::{ContactCounts, VisitFacts};
use super::*;
use crate::config::{Config, Environment};
use crate::daemon::Parts;
use crate::domain::attribution::Method;
use crate::domain::attribution::reliability::Band;
use crate::domain::coverage::{Cohort, Coverage, CoverageDays};
use crate::domain::ids::{AdId, AdSetId, CampaignId, StageName};
use crate::domain::money::Currency;
use crate::domain::safety::Silence;
use crate::domain::structure::{Creative, EffectiveStatus};
use crate::domain::time::TimeZone;
use crate::domain::worth::{Interval, StageWorth};
use crate::store::tenants::{Held, TenantHolds};

fn now() -> Timestamp {
    time::from_seconds(1_790_000_000)
}

fn usd(main: i64) -> Money {
    Money::from_minor(main * 100, Currency::USD)
}

fn tenant() -> TenantSettings {
    let text = r#"
[tenants.gym]
name = "Gym"
currency = "USD"
template = "service"
meta = { ad_account = "act_1", access_token = { env = "T" } }
hubspot = { portal_id = 1, access_token = { env = "T" } }
budget = { daily_cap = "500.00" }
"#;
    let config = Config::from_text("config.toml", text, &Environment::from([("T", "t")])).unwrap();
    let parts = Parts::of(&config).unwrap();
    parts.tenants.into_values().next().unwrap().settings
}

fn ad(id: &str, url_tags: &str) -> Ad {
    Ad {
        id: AdId::new(id).unwrap(),
        ad_set: AdSetId::new("1").unwrap(),
        campaign: CampaignId::new("2").unwrap(),
        name: format!("Ad {id}"),
        status: RunStatus::Active,
        effective: EffectiveStatus("ACTIVE".into()),
        creative: Creative {
            id: None,
            title: String::new(),
            body: String::new(),
            description: String::new(),
            call_to_action: String::new(),
            format: String::new(),
            link: "https://gym.example/".into(),
            url_tags: url_tags.into(),
        },
        created_at: now(),
        updated_at: now(),
    }
}

fn cohort(method: Option<Method>, gap: Option<Gap>, deals: u64) -> Cohort {
    Cohort {
        at: time::sub(now(), time::days(1)),
        method,
        gap,
        deals,
        value: usd(i64::try_from(deals).unwrap() * 100),
    }
}

fn coverage(cohorts: &[Cohort], by_meta: f64) -> CoverageDays {
    let today = time::day_of(now(), &TimeZone::UTC);
    let first = time::add_days(today, -13);
    let meta = BTreeMap::from([(today, by_meta)]);
    CoverageDays::of(cohorts, &meta, &TimeZone::UTC, first, today)
}

/// Data that nothing is wrong with.
fn sound() -> Facts {
    let cohorts = [
        cohort(Some(Method::UrlParam), None, 80),
        cohort(None, Some(Gap::NoClick), 20),
    ];
    Facts {
        now: now(),
        days: 14,
        holds: TenantHolds::default(),
        quarantined: 0,
        insights_at: Some(now()),
        crm_at: Some(now()),
        trouble: None,
        has_crm: true,
        ads: vec![ad("1", "utm_content={{ad.id}}")],
        spend_by_ad: BTreeMap::from([(AdId::new("1").unwrap(), usd(700))]),
        clicks: 900,
        coverage: coverage(&cohorts, 100.0),
        guard: Coverage::of(&cohorts),
        verdict: CoverageVerdict::Enough,
        reliability: Vec::new(),
        tells_ids: true,
        visits: VisitFacts {
            seen: 500,
            with_consent: 300,
            with_ad: 200,
        },
        contacts: ContactCounts {
            seen: 100,
            with_click_id: 60,
            with_any: 80,
        },
        delivery_at: Some(now()),
        deals_changed: 100,
        silence: Silence {
            recent: 9,
            expected: 8.0,
        },
        unmapped: BTreeMap::new(),
        stages_missing: Vec::new(),
        faults: Vec::new(),
        worth: Vec::new(),
    }
}

fn drifting() -> StageWorth {
    StageWorth {
        stage: StageName::new("show_up").unwrap(),
        configured: usd(9_000),
        deals: 214,
        won: 80,
        lost: 120,
        known: 205.0,
        rate: Interval {
            mid: 0.4,
            low: 0.35,
            high: 0.46,
        },
        days_to_won: 3.0,
        worth: Interval {
            mid: 6_100.0,
            low: 5_200.0,
            high: 7_000.0,
        },
    }
}

/// Exactly this is found, with these words in it, when the data are sound but for `spoil`.
fn check(kind: &str, severity: Severity, words: &[&str], spoil: impl Fn(&mut Facts)) {
    let mut facts = sound();
    spoil(&mut facts);
    let found = findings(&tenant(), &facts);
    let kinds: Vec<_> = found.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [kind], "{found:?}");
    assert_eq!(found[0].severity, severity, "{found:?}");
    let text = format!("{} | {}", found[0].evidence, found[0].remedy);
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

#[test]
fn nothing_is_wrong_with_sound_data() {
    assert_eq!(findings(&tenant(), &sound()), []);
}

#[test]
fn each_fault_is_found_with_its_numbers_and_remedy() {
    use Severity::{Weak, Wrong};
    let held = || Held {
        by: "Meta".into(),
        reason: "the token ended".into(),
        since: now(),
    };
    let days_ago = |n| Some(time::sub(now(), time::days(n)));
    let gap = |gap, deals| {
        move |facts: &mut Facts| {
            let cohorts = [
                cohort(Some(Method::UrlParam), None, 100 - deals),
                cohort(None, Some(gap), deals),
            ];
            facts.coverage = coverage(&cohorts, 100.0);
        }
    };
    check(
        "suspended",
        Wrong,
        &["the token ended", "check --online"],
        |f| {
            f.holds.suspended = Some(held());
        },
    );
    check("parked", Wrong, &["roasd resume gym"], |f| {
        f.holds.parked = Some(held())
    });
    check("quarantine", Weak, &["2 deliveries"], |f| f.quarantined = 2);
    check(
        "stale_insights",
        Wrong,
        &["48.0 h ago", "3.0 h", "HTTP 500"],
        |f| {
            f.insights_at = days_ago(2);
            f.trouble = Some("HTTP 500".into());
        },
    );
    check("stale_crm", Wrong, &["never read"], |f| f.crm_at = None);
    check(
        "url_tags_missing",
        Weak,
        &["1 of 2 ads", "300.00 USD of 1000.00 USD"],
        |f| {
            f.ads.push(ad("2", "utm_source=fb"));
            f.spend_by_ad.insert(AdId::new("2").unwrap(), usd(300));
        },
    );
    check("url_tags_missing", Wrong, &["Ad 1"], |f| {
        f.ads = vec![ad("1", "")];
        f.tells_ids = false;
    });
    check(
        "deals_without_contact",
        Weak,
        &["9 of 100 deals", "associate"],
        gap(Gap::NoContact, 9),
    );
    check(
        "forms_without_visit",
        Wrong,
        &["40 of 100", "(40 %)"],
        gap(Gap::NoVisit, 40),
    );
    check(
        "no_consent",
        Weak,
        &["did not consent"],
        gap(Gap::NoConsent, 10),
    );
    check(
        "lead_forms_not_subscribed",
        Weak,
        &["leadgen"],
        gap(Gap::LeadUnknown, 10),
    );
    check(
        "clicks_without_tags",
        Weak,
        &["URL parameters"],
        gap(Gap::TagsMissing, 10),
    );
    check(
        "clicks_too_old",
        Weak,
        &["click_window"],
        gap(Gap::OutsideWindow, 10),
    );
    check("no_visits", Weak, &["900 clicks", "click_origins"], |f| {
        f.visits = VisitFacts::default();
    });
    check(
        "no_consent_signal",
        Weak,
        &["500 visits", "roasd.consent"],
        |f| {
            f.visits.with_consent = 0;
        },
    );
    check("visits_name_no_ad", Weak, &["redirects"], |f| {
        f.visits.with_ad = 0
    });
    check(
        "crm_property_missing",
        Weak,
        &["of 100 contacts", "80 have"],
        |f| {
            f.contacts.with_click_id = 0;
        },
    );
    check("crm_property_missing", Wrong, &["roasd_click_id"], |f| {
        f.contacts.with_click_id = 0;
        f.contacts.with_any = 0;
    });
    check(
        "webhooks_silent",
        Weak,
        &["no webhook ever", "100 deals"],
        |f| f.delivery_at = None,
    );
    check("webhooks_silent", Weak, &["since 2026"], |f| {
        f.delivery_at = days_ago(4)
    });
    check("tracking_silent", Wrong, &["48.0 h", "about 8"], |f| {
        f.silence.recent = 0
    });
    check(
        "crm_behind_meta",
        Weak,
        &["Meta counts 300 of lead", "100 deals"],
        |f| {
            let cohorts = [cohort(Some(Method::UrlParam), None, 100)];
            f.coverage = coverage(&cohorts, 300.0);
        },
    );
    check(
        "stage_unmapped",
        Wrong,
        &["12 deals", "Demo (77): 9"],
        |f| {
            f.unmapped = BTreeMap::from([("Demo (77)".into(), 9), ("78".into(), 3)]);
        },
    );
    check(
        "stage_not_in_crm",
        Weak,
        &["show_up", "hubspot_stage"],
        |f| {
            f.stages_missing = vec!["show_up".into()];
        },
    );
    check(
        "currency_without_rate",
        Wrong,
        &["1 deals", "no rate", "tenants.gym.fx"],
        |f| {
            f.faults = vec![("7".into(), "no rate from CHF into USD".into())];
        },
    );
    let words = [
        "6,100 on the last 214 deals",
        "show_up = { value = \"6100.00\"",
    ];
    check("stage_value_drifts", Weak, &words, |f| {
        f.worth = vec![drifting()]
    });
    check(
        "low_coverage",
        Wrong,
        &["floor is 30%", "roasd coverage gym"],
        |f| {
            f.verdict = CoverageVerdict::Below;
        },
    );
    let words = ["60 to 70 %", "30 % were right"];
    check("credits_miscalibrated", Weak, &words, |f| {
        f.reliability = vec![Band {
            method: Method::Fingerprint,
            tenth: 6,
            matched: 50.0,
            said: 0.65,
            was_right: 15.0,
        }];
    });
}

#[test]
fn small_gaps_and_short_histories_are_no_findings() {
    let quiet = |spoil: fn(&mut Facts)| {
        let mut facts = sound();
        spoil(&mut facts);
        assert_eq!(findings(&tenant(), &facts), []);
    };
    quiet(|f| f.coverage = coverage(&[cohort(None, Some(Gap::NoVisit), 2)], 0.0));
    quiet(|f| {
        let cohorts = [
            cohort(Some(Method::UrlParam), None, 97),
            cohort(None, Some(Gap::NoVisit), 3),
        ];
        f.coverage = coverage(&cohorts, 100.0);
    });
    quiet(|f| {
        f.visits = VisitFacts::default();
        f.clicks = 3;
    });
    quiet(|f| f.contacts = ContactCounts::default());
    quiet(|f| {
        f.delivery_at = None;
        f.deals_changed = 2;
    });
    quiet(|f| {
        f.has_crm = false;
        f.crm_at = None;
    });
}

#[test]
fn the_most_money_comes_first() {
    let mut facts = sound();
    facts.quarantined = 1;
    facts.crm_at = None;
    facts.ads = vec![ad("1", "")];
    let cohorts = [
        cohort(Some(Method::UrlParam), None, 90),
        cohort(None, Some(Gap::NoVisit), 10),
    ];
    facts.coverage = coverage(&cohorts, 100.0);
    let found = findings(&tenant(), &facts);
    let told: Vec<_> = found.iter().map(|one| (one.kind, one.money)).collect();
    assert_eq!(
        told,
        [
            ("forms_without_visit", Some(usd(1_000))),
            ("url_tags_missing", Some(usd(700))),
            ("stale_crm", None),
            ("quarantine", None),
        ]
    );
}
