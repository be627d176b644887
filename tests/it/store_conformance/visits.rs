use super::*;
use roasd::domain::visit::{AdParameters, KeyedHash, Visit};
use roasd::store::visits::{ClickLookup, VisitKey};

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

pub(super) fn lookup(key: VisitKey, from: i64, to: i64) -> ClickLookup {
    ClickLookup {
        key,
        from: at(from),
        to: at(to),
    }
}

async fn found(db: &Db, key: &VisitKey) -> Vec<String> {
    let lookups = [lookup(key.clone(), 0, 10)];
    let found = db.clicks_by(&acme(), &lookups, 10).await.unwrap();
    found[0].iter().map(|visit| visit.id.to_string()).collect()
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
    ] {
        assert_eq!(found(&db, &key).await, ["d", "c", "b"], "{key:?}");
        let is_fbclid = matches!(key, VisitKey::Fbclid(_));
        let one = [lookup(key, 0, 10)];
        let one = db.clicks_by(&acme(), &one, 1).await.unwrap();
        let mut newest = visit("d", 10);
        newest.ad.utm_source = None;
        newest.ad.fbclid = newest.ad.fbclid.filter(|_| is_fbclid);
        assert_eq!(one, [[newest]]);
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

pub(super) async fn clicks_name_an_ad(db: Db) {
    record(&db, &visit("a", 0)).await;
    let plain = Visit {
        ad: AdParameters {
            ad: None,
            ..visit("b", 5).ad
        },
        ..visit("b", 5)
    };
    record(&db, &plain).await;
    for key in [
        VisitKey::Fbclid("IwAR1".to_owned()),
        VisitKey::Fingerprint(hash("device")),
        VisitKey::Ip(hash("ip")),
    ] {
        assert_eq!(found(&db, &key).await, ["a"]);
    }
}

pub(super) async fn many_lookups_are_answered_at_once(db: Db) {
    // More than go into one statement, each with a value and a window of its own.
    for n in 0..40 {
        let click = Visit {
            fingerprint: Some(hash(&format!("d{}", n % 10))),
            ip: Some(hash(&format!("i{}", n % 4))),
            ..visit(&format!("v{n:02}"), n)
        };
        record(&db, &click).await;
    }
    let lookups: Vec<ClickLookup> = (0..2_500)
        .map(|n| match n % 3 {
            0 => lookup(
                VisitKey::Fingerprint(hash(&format!("d{}", n % 11))),
                n % 7,
                35,
            ),
            1 => lookup(VisitKey::Ip(hash(&format!("i{}", n % 5))), 0, n % 50),
            _ => lookup(VisitKey::Fbclid("IwAR1".to_owned()), n % 40, n % 40 + 1),
        })
        .collect();
    let all = db.clicks_by(&acme(), &lookups, 3).await.unwrap();
    assert_eq!(all.len(), lookups.len());
    assert!(all.iter().any(|found| found.len() == 3) && all.iter().any(Vec::is_empty));
    for (asked, found) in lookups.iter().zip(&all).step_by(97) {
        let alone = db.clicks_by(&acme(), std::slice::from_ref(asked), 3).await;
        assert_eq!(&alone.unwrap()[0], found, "{asked:?}");
        for click in found {
            assert!(asked.from <= click.at && click.at <= asked.to);
        }
        assert!(found.is_sorted_by(|a, b| a.at >= b.at));
    }
    assert!(db.clicks_by(&acme(), &[], 3).await.unwrap().is_empty());
}

pub(super) async fn visits_are_read_by_id_and_by_time(db: Db) {
    for (id, s) in [("a", 0), ("b", 5), ("c", 10), ("d", 11)] {
        record(&db, &visit(id, s)).await;
    }
    let ids = ["d", "b", "none", "b"].map(|id| id.parse().unwrap());
    let found = db.visits(&acme(), &ids).await.unwrap();
    assert_eq!(found, [visit("b", 5), visit("d", 11)]);
    let between = async |limit| {
        let found = db.visits_between(&acme(), at(0), at(10), limit).await;
        let ids = found.unwrap().into_iter().map(|visit| visit.id.to_string());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(between(9).await, ["c", "b", "a"]);
    assert_eq!(between(2).await, ["c", "b"]);
}
