use super::*;
use roasd::domain::alert::{self, Alert, AlertKind};
use roasd::store::outbox::{Delivery, MessageStatus, NewMessage, OutboxDepth};

/// An alert of a tenant, or of the installation, under a key of its own.
fn alert(of: Option<TenantId>, key: &str) -> Alert {
    Alert {
        tenant: of,
        kind: AlertKind::Held,
        key: key.to_owned(),
        at: at(1),
        text: format!("{key}: \u{1f6a8} held\0 back"),
        next_step: "look".to_owned(),
    }
}

pub(super) fn message(channel: &str, of: Option<TenantId>, key: &str, due: i64) -> NewMessage {
    NewMessage {
        channel: channel.to_owned(),
        alert: alert(of, key),
        due_at: at(due),
    }
}

fn channels(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The keys of what is claimed at a time.
async fn claim(db: &Db, names: &[&str], now: i64) -> Vec<(String, i64, i64)> {
    let claimed = db
        .claim_messages(&channels(names), at(now), at(now + 60), 10)
        .await
        .unwrap();
    claimed
        .into_iter()
        .map(|m| (m.alert.key, m.id, m.attempt))
        .collect()
}

fn keys(claimed: &[(String, i64, i64)]) -> Vec<&str> {
    claimed.iter().map(|(key, ..)| key.as_str()).collect()
}

pub(super) async fn an_alert_is_told_once_on_each_channel(db: Db) {
    let of = || Some(acme());
    let both = [
        message("slack", of(), "a", 5),
        message("mail", of(), "a", 5),
    ];
    assert_eq!(db.enqueue(&both, at(0)).await.unwrap(), 2);
    assert_eq!(db.enqueue(&both, at(9)).await.unwrap(), 0);
    let claimed = claim(&db, &["slack"], 5).await;
    assert_eq!(keys(&claimed), ["a"]);
    let (_, id, attempt) = claimed[0];
    db.settle_messages(&[(id, attempt)], &Delivery::Sent, at(6))
        .await
        .unwrap();
    assert_eq!(db.enqueue(&both, at(9)).await.unwrap(), 0, "nor once sent");
    assert!(claim(&db, &["slack"], 99).await.is_empty());
    let told = db.messages(Some(&acme()), 9).await.unwrap();
    // One statement may add several in any order.
    let mut told = told;
    told.sort_by(|a, b| a.channel.cmp(&b.channel));
    let states: Vec<_> = told
        .iter()
        .map(|m| (m.channel.as_str(), m.status, m.attempts, m.sent_at))
        .collect();
    let wanted = [
        ("mail", MessageStatus::Waiting, 0, None),
        ("slack", MessageStatus::Sent, 1, Some(at(6))),
    ];
    assert_eq!(states, wanted);
    // What a database cannot hold is left out; the rest comes back as it was.
    assert_eq!(told[0].alert.text, "a: \u{1f6a8} held back");
    assert_eq!(told[0].alert.tenant, of());
    assert!(db.messages(Some(&globex()), 9).await.unwrap().is_empty());
}

pub(super) async fn a_message_takes_along_what_waits_for_the_same_ear(db: Db) {
    let messages = [
        message("slack", Some(acme()), "due", 5),
        message("slack", Some(acme()), "later", 500),
        message("slack", Some(globex()), "others", 500),
        message("mail", Some(acme()), "elsewhere", 500),
        message("slack", None, "the installation's", 500),
    ];
    db.enqueue(&messages, at(0)).await.unwrap();
    assert!(claim(&db, &["slack", "mail"], 4).await.is_empty());
    let names = channels(&["slack", "mail"]);
    assert_eq!(db.next_message_at(&names).await.unwrap(), Some(at(5)));
    let claimed = claim(&db, &["slack", "mail"], 5).await;
    assert_eq!(keys(&claimed), ["due", "later"]);
    let mut rest = claim(&db, &["slack", "mail"], 500).await;
    rest.sort();
    let wanted = ["due", "elsewhere", "later", "others", "the installation's"];
    assert_eq!(keys(&rest), wanted, "the claims of the first two ran out");
    assert_eq!(db.next_message_at(&channels(&["no"])).await.unwrap(), None);
}

pub(super) async fn what_did_not_arrive_is_tried_again_at_its_time(db: Db) {
    db.enqueue(&[message("slack", None, "a", 0)], at(0))
        .await
        .unwrap();
    let claimed = claim(&db, &["slack"], 0).await;
    let retry = Delivery::Retry {
        at: at(50),
        error: "it answered 503".to_owned(),
    };
    let (_, id, first) = claimed[0];
    db.settle_messages(&[(id, first)], &retry, at(1))
        .await
        .unwrap();
    assert!(claim(&db, &["slack"], 49).await.is_empty());
    let again = claim(&db, &["slack"], 50).await;
    assert_eq!(again, [("a".to_owned(), id, 2)]);
    // Whoever still holds the first claim settles nothing any more.
    db.settle_messages(&[(id, first)], &Delivery::Sent, at(51))
        .await
        .unwrap();
    let failed = Delivery::Failed {
        error: "it answered 400".to_owned(),
    };
    db.settle_messages(&[(id, 2)], &failed, at(52))
        .await
        .unwrap();
    let told = db.messages(None, 9).await.unwrap();
    assert_eq!(told[0].status, MessageStatus::Failed);
    assert_eq!(told[0].error.as_deref(), Some("it answered 400"));
    let depth = db.outbox_depth().await.unwrap();
    let wanted = OutboxDepth {
        waiting: 0,
        failed: 1,
    };
    assert_eq!(depth, wanted);
}

pub(super) async fn one_claim_of_many_gets_a_message(db: Db) {
    let messages: Vec<_> = (0..8)
        .map(|i| message("slack", Some(acme()), &format!("k{i}"), 0))
        .collect();
    db.enqueue(&messages, at(0)).await.unwrap();
    let names = channels(&["slack"]);
    let claims = (0..4).map(|_| db.claim_messages(&names, at(1), at(60), 3));
    let mut seen = Vec::new();
    for claimed in futures_util::future::join_all(claims).await {
        seen.extend(claimed.unwrap().into_iter().map(|m| m.alert.key));
    }
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all, "none twice: {seen:?}");
    assert!((6..=8).contains(&all), "{seen:?}");
}

pub(super) async fn a_day_is_counted_by_its_changes(db: Db) {
    use roasd::domain::audit::{AuditEntry, AuditEvent};
    let line = |event, id: &str, rule: Option<&str>, s| AuditEntry {
        tenant: acme(),
        at: at(s),
        event,
        actor: "roasd".to_owned(),
        change: Some(change_id(id)),
        entity: None,
        campaign: None,
        before: Some(Target::DailyBudget(usd(100))),
        after: Some(Target::DailyBudget(usd(120))),
        rule: rule.map(str::to_owned),
        detail: String::new(),
        vendor_request: None,
    };
    let lower = AuditEntry {
        after: Some(Target::DailyBudget(usd(90))),
        ..line(AuditEvent::Completed, "b", None, 5)
    };
    for entry in [
        line(AuditEvent::Completed, "a", None, 5),
        lower,
        line(AuditEvent::Failed, "c", None, 5),
        line(AuditEvent::Deferred, "d", Some("daily_cap"), 5),
        line(AuditEvent::Deferred, "d", Some("daily_cap"), 6),
        line(AuditEvent::Deferred, "e", Some("daily_cap"), 6),
        line(AuditEvent::Refused, "f", Some("floor"), 6),
        line(AuditEvent::Completed, "g", None, 100),
    ] {
        db.append_audit(&entry).await.unwrap();
    }
    let figures = db.change_figures(&acme(), at(0), at(100)).await.unwrap();
    assert_eq!((figures.raised, figures.lowered, figures.failed), (1, 1, 1));
    let held = [("daily_cap".to_owned(), 2), ("floor".to_owned(), 1)];
    assert_eq!(figures.held, held, "a change that is held twice is one");
    let others = db.change_figures(&globex(), at(0), at(100)).await.unwrap();
    assert_eq!(others, Default::default());
    let credited = db.credited_between(&acme(), at(0), at(100)).await.unwrap();
    assert!(credited.is_empty());
    assert!(alert::compose("x", Vec::new()).is_none());
}
