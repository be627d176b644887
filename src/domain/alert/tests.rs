use super::*;
use crate::domain::audit::{self, AuditEntry, GENESIS_HASH};
use crate::domain::ids::{AdId, AdSetId};
use crate::domain::money::Currency;

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn at(s: i64) -> Timestamp {
    time::from_seconds(1_790_000_000 + s)
}

fn usd(main: i64) -> Money {
    Money::from_minor(main * 100, Currency::USD)
}

fn line(event: AuditEvent, change: impl FnOnce(&mut AuditEntry)) -> ChainedEntry {
    let mut entry = AuditEntry {
        tenant: acme(),
        at: at(0),
        event,
        actor: "roasd".to_owned(),
        change: None,
        entity: Some(EntityRef::AdSet(AdSetId::new("7").unwrap())),
        campaign: None,
        before: None,
        after: None,
        rule: None,
        detail: "because".to_owned(),
        vendor_request: None,
    };
    change(&mut entry);
    audit::chain(entry, 1, GENESIS_HASH)
}

fn told(line: &ChainedEntry) -> Option<AlertKind> {
    let worth = Worth {
        raise_over: usd(10),
    };
    of_audit_line(line, &worth).map(|alert| alert.kind)
}

#[test]
fn a_raise_is_told_from_its_threshold_on() {
    let check = |before: i64, after: i64, expected| {
        let line = line(AuditEvent::Completed, |entry| {
            entry.before = Some(Target::DailyBudget(usd(before)));
            entry.after = Some(Target::DailyBudget(usd(after)));
        });
        assert_eq!(told(&line), expected, "{before} to {after}");
    };
    check(100, 109, None);
    check(100, 110, Some(AlertKind::Raised));
    check(100, 120, Some(AlertKind::Raised));
    check(100, 100, None);
    check(120, 100, None);
}

#[test]
fn a_raise_between_currencies_is_told() {
    let line = line(AuditEvent::Completed, |entry| {
        entry.before = Some(Target::DailyBudget(usd(100)));
        entry.after = Some(Target::DailyBudget(Money::from_minor(
            10_000,
            Currency::EUR,
        )));
    });
    assert_eq!(told(&line), Some(AlertKind::Raised));
}

#[test]
fn a_paused_ad_is_told_and_a_resumed_one_is_not() {
    let check = |entity: EntityRef, status, expected| {
        let line = line(AuditEvent::Completed, |entry| {
            entry.entity = Some(entity);
            entry.after = Some(Target::Status(status));
        });
        assert_eq!(told(&line), expected);
    };
    let ad = EntityRef::Ad(AdId::new("9").unwrap());
    check(ad.clone(), RunStatus::Paused, Some(AlertKind::Killed));
    check(ad, RunStatus::Active, None);
}

#[test]
fn a_guard_that_a_person_can_help_is_told_once_a_day() {
    let key = |rule: Rule, s: i64| {
        let line = line(AuditEvent::Deferred, |entry| {
            entry.rule = Some(rule.as_str().to_owned());
            entry.at = at(s);
        });
        let worth = Worth {
            raise_over: usd(10),
        };
        of_audit_line(&line, &worth).map(|alert| alert.key)
    };
    let first = key(Rule::StaleCrm, 0).unwrap();
    assert_eq!(key(Rule::StaleCrm, 60).unwrap(), first);
    assert_ne!(key(Rule::StaleCrm, 86_400).unwrap(), first);
    assert_ne!(key(Rule::LowCoverage, 0).unwrap(), first);
    // A limit that is reached, as it should be, is no news.
    assert_eq!(key(Rule::Velocity, 0), None);
    assert_eq!(key(Rule::DailyCap, 0), None);
}

#[test]
fn an_end_is_counted_down() {
    let key = |days: i64| token_ends(&acme(), at(0), time::sub(at(0), time::days(days)));
    assert_eq!(key(15), None);
    let keys: Vec<String> = [14, 10, 4, 3, 2, 1, 0, -1]
        .into_iter()
        .map(|days| key(days).unwrap().key)
        .collect();
    let mut distinct = keys.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), 3, "{keys:?}");
    assert!(version_ends("v24.0", at(0), at(-86_400 * 20)).is_none());
    assert!(version_ends("v24.0", at(0), at(-86_400 * 13)).is_some());
}

#[test]
fn the_most_urgent_alert_leads_its_message() {
    let alerts = vec![
        waiting(&acme(), 2, at(5)).unwrap(),
        suspended(&acme(), at(9), "the token was revoked"),
    ];
    let message = compose("Acme", alerts).unwrap();
    assert_eq!(message.severity, Severity::Critical);
    let wanted = "roasd: CRITICAL: Acme: nothing is written any more: the token was revoked \
                  (and 1 more)";
    assert_eq!(message.subject, wanted);
    let text = message.plain();
    assert!(text.find("revoked").unwrap() < text.find("approval").unwrap());
    assert_eq!(text.matches("Next: ").count(), 2);
    assert_eq!(compose("Acme", Vec::new()), None);
}

#[test]
fn a_digest_says_what_a_day_came_to() {
    let mut figures = DayFigures {
        day: time::parse_date("2026-11-30").unwrap(),
        spend: Some(usd(200)),
        pipeline: Some(usd(500)),
        raised: 2,
        lowered: 0,
        paused: 1,
        resumed: 0,
        failed: 0,
        held: vec![("daily_cap".to_owned(), 9)],
        waiting: 0,
    };
    let alert = digest(&acme(), &figures, at(0));
    assert_eq!(
        alert.text,
        "2026-11-30: spent 200.00 USD, stages reached are worth 500.00 USD (ROAS 2.50); \
         changes: 2 raised, 1 paused; held back by daily_cap 9"
    );
    figures.spend = Some(usd(0));
    figures.waiting = 3;
    let alert = digest(&acme(), &figures, at(0));
    assert!(!alert.text.contains("ROAS"), "{}", alert.text);
    assert!(alert.next_step.contains("awaiting_approval"));
    assert_eq!(waiting(&acme(), 0, at(0)), None);
}

#[test]
fn names_survive_the_round_trip() {
    for kind in AlertKind::ALL {
        assert_eq!(AlertKind::parse(kind.as_str()), Some(kind));
    }
    assert_eq!(AlertKind::parse("nonsense"), None);
}
