use super::*;
use roasd::domain::visit::{AdParameters, KeyedHash, Visit};
use roasd::store::visits::VisitKey;

fn hash(text: &str) -> KeyedHash {
    KeyedHash(text.to_owned())
}

pub(super) fn visit(id: &str, s: i64) -> Visit {
    Visit {
        id: id.parse().unwrap(),
        at: at(s),
        ad: AdParameters {
            fbclid: Some("IwAR1".to_owned()),
            ad: Some(ad("1")),
            ad_set: Some("2".parse().unwrap()),
            campaign: Some("3".parse().unwrap()),
            utm_source: Some("fb".to_owned()),
        },
        has_consent: true,
        fingerprint: Some(hash("device")),
        ip: Some(hash("ip")),
        user_agent: Some(hash("agent")),
    }
}

async fn record(db: &Db, visit: &Visit) {
    assert!(db.record_visit(&acme(), visit).await.unwrap());
}

async fn found(db: &Db, key: &VisitKey) -> Vec<String> {
    let found = db.visits_by(&acme(), key, at(0), at(10), 10).await.unwrap();
    found.iter().map(|visit| visit.id.to_string()).collect()
}

pub(super) async fn a_visit_is_kept_once(db: Db) {
    let first = visit("v1", 0);
    record(&db, &first).await;
    assert!(!db.record_visit(&acme(), &visit("v1", 9)).await.unwrap());
    let kept = db.visit(&acme(), &first.id).await.unwrap();
    assert_eq!(kept, Some(first));
    let none = "v2".parse().unwrap();
    assert_eq!(db.visit(&acme(), &none).await.unwrap(), None);
}

pub(super) async fn an_answer_changes_the_consent_and_nothing_else(db: Db) {
    let given = visit("v1", 0);
    let silent = Visit {
        has_consent: false,
        fingerprint: None,
        ip: None,
        user_agent: None,
        ..given.clone()
    };
    assert!(!db.set_consent(&acme(), &given).await.unwrap());
    record(&db, &silent).await;
    let later = Visit {
        ad: AdParameters::default(),
        ..visit("v1", 5)
    };
    assert!(db.set_consent(&acme(), &later).await.unwrap());
    assert_eq!(db.visit(&acme(), &given.id).await.unwrap(), Some(given));
    // Hashes that come with a no are left out.
    let no = Visit {
        has_consent: false,
        ..later
    };
    assert!(db.set_consent(&acme(), &no).await.unwrap());
    let kept = db.visit(&acme(), &silent.id).await.unwrap();
    assert_eq!(kept, Some(silent));
    assert!(found(&db, &VisitKey::Ip(hash("ip"))).await.is_empty());
}

pub(super) async fn a_click_id_is_case_sensitive(db: Db) {
    record(&db, &visit("v1", 0)).await;
    let key = |id: &str| VisitKey::Fbclid(id.to_owned());
    assert_eq!(found(&db, &key("IwAR1")).await, ["v1"]);
    assert!(found(&db, &key("iwar1")).await.is_empty());
}

pub(super) async fn visits_are_found_by_each_key(db: Db) {
    for (id, s) in [("a", -1), ("b", 0), ("c", 5), ("d", 10), ("e", 11)] {
        record(&db, &visit(id, s)).await;
    }
    for key in [
        VisitKey::Fbclid("IwAR1".to_owned()),
        VisitKey::Fingerprint(hash("device")),
        VisitKey::Ip(hash("ip")),
        VisitKey::UserAgent(hash("agent")),
    ] {
        assert_eq!(found(&db, &key).await, ["d", "c", "b"], "{key:?}");
        let one = db.visits_by(&acme(), &key, at(0), at(10), 1).await.unwrap();
        assert_eq!(one.len(), 1);
        assert_eq!(one[0], visit("d", 10));
    }
    assert!(found(&db, &VisitKey::Ip(hash("device"))).await.is_empty());
}

pub(super) async fn hashes_need_consent(db: Db) {
    let refused = Visit {
        has_consent: false,
        ..visit("v1", 0)
    };
    record(&db, &refused).await;
    let kept = db.visit(&acme(), &refused.id).await.unwrap().unwrap();
    assert_eq!(
        (kept.fingerprint, kept.ip, kept.user_agent),
        (None, None, None)
    );
    assert_eq!(kept.ad, refused.ad);
    assert!(!kept.has_consent);
}

pub(super) async fn frequency_counts_consent_alone(db: Db) {
    for (id, consent, device) in [("a", true, "x"), ("b", true, "y"), ("c", false, "x")] {
        let visit = Visit {
            has_consent: consent,
            fingerprint: Some(hash(device)),
            ..visit(id, 5)
        };
        record(&db, &visit).await;
    }
    record(&db, &visit("late", 11)).await;
    let count = async |key: VisitKey| {
        let found = db
            .visit_frequency(&acme(), &key, at(0), at(10))
            .await
            .unwrap();
        (found.with_value, found.of)
    };
    assert_eq!(count(VisitKey::Fingerprint(hash("x"))).await, (1, 2));
    assert_eq!(count(VisitKey::Fbclid("IwAR1".to_owned())).await, (2, 2));
    assert_eq!(count(VisitKey::Ip(hash("none"))).await, (0, 2));
}

pub(super) async fn clicks_name_an_ad(db: Db) {
    record(&db, &visit("a", 0)).await;
    record(&db, &visit("b", 10)).await;
    let plain = Visit {
        ad: AdParameters::default(),
        ..visit("c", 5)
    };
    record(&db, &plain).await;
    let count = async |to| db.ad_clicks_between(&acme(), at(0), at(to)).await.unwrap();
    assert_eq!(count(10).await, 2);
    assert_eq!(count(9).await, 1);
}
