use super::*;
use roasd::store::inbox::{Appended, ClaimedDelivery, Delivery, DeliveryOutcome};

pub(super) fn delivery(key: &str) -> Delivery {
    Delivery {
        source: "hubspot.webhook".to_owned(),
        dedup_key: key.to_owned(),
        body: format!("{{\"key\":\"{key}\"}}\0\u{1}").into_bytes(),
    }
}

async fn append(db: &Db, key: &str) -> Appended {
    db.append_delivery(&acme(), &delivery(key), at(0))
        .await
        .unwrap()
}

async fn claim(db: &Db, s: i64, limit: u32) -> Vec<ClaimedDelivery> {
    db.claim_deliveries(&acme(), at(s), at(s + 60), limit)
        .await
        .unwrap()
}

async fn settle(db: &Db, id: i64, attempt: i64) -> Result<(), StoreError> {
    db.settle_delivery(&acme(), id, attempt, &DeliveryOutcome::default(), at(5))
        .await
}

pub(super) async fn a_repeat_changes_nothing(db: Db) {
    assert_eq!(append(&db, "1").await, Appended::New);
    assert_eq!(append(&db, "1").await, Appended::Repeat);
    assert_eq!(append(&db, "2").await, Appended::New);
    let other = Delivery {
        source: "meta.webhook".to_owned(),
        ..delivery("1")
    };
    let kept = db.append_delivery(&acme(), &other, at(0)).await.unwrap();
    assert_eq!(kept, Appended::New);
    let claimed = claim(&db, 1, 10).await;
    assert_eq!(claimed.len(), 3);
    assert_eq!(claimed[0].body, delivery("1").body, "to the byte");
    assert_eq!(claimed[0].received_at, at(0));
}

pub(super) async fn a_repeat_after_settling_is_a_repeat(db: Db) {
    append(&db, "1").await;
    let claimed = claim(&db, 1, 1).await.remove(0);
    settle(&db, claimed.id, 1).await.unwrap();
    assert_eq!(append(&db, "1").await, Appended::Repeat);
    assert!(claim(&db, 100, 1).await.is_empty());
}

pub(super) async fn a_row_is_claimed_once_by_eight(db: Db) {
    for n in 0..50 {
        append(&db, &n.to_string()).await;
    }
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let some = claim(&db, 1, 3).await;
                    if some.is_empty() {
                        return mine;
                    }
                    mine.extend(some.into_iter().map(|c| c.id));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all.sort_unstable();
    let found = all.len();
    all.dedup();
    assert_eq!((found, all.len()), (50, 50));
}

pub(super) async fn oldest_first_and_no_more_than_asked(db: Db) {
    for n in 0..5 {
        append(&db, &n.to_string()).await;
    }
    let keys: Vec<_> = claim(&db, 1, 3).await.into_iter().map(|c| c.body).collect();
    assert_eq!(keys, ["0", "1", "2"].map(|key| delivery(key).body));
    assert_eq!(claim(&db, 1, 3).await.len(), 2);
}

pub(super) async fn each_claim_counts_and_a_lapsed_one_is_lost(db: Db) {
    append(&db, "1").await;
    let first = claim(&db, 0, 1).await.remove(0);
    assert!(claim(&db, 59, 1).await.is_empty());
    let second = claim(&db, 60, 1).await.remove(0);
    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert_lost(settle(&db, first.id, first.attempt).await);
    let late = db
        .quarantine_delivery(&acme(), first.id, 1, "late", at(61))
        .await;
    assert_lost(late);
    settle(&db, second.id, second.attempt).await.unwrap();
    assert_lost(settle(&db, second.id, second.attempt).await);
}

pub(super) async fn settling_asks_for_deals_and_quarantines_parts(db: Db) {
    append(&db, "1").await;
    let claimed = claim(&db, 1, 1).await.remove(0);
    let outcome = DeliveryOutcome {
        wanted: vec![deal_id("7"), deal_id("8")],
        poison: vec![(b"\0bad".to_vec(), "no object id".to_owned())],
        is_personal: false,
    };
    let lost = db
        .settle_delivery(&acme(), claimed.id, 9, &outcome, at(2))
        .await;
    assert_lost(lost);
    assert!(db.requested_deals(&acme(), 9).await.unwrap().is_empty());
    assert!(db.quarantined(None, 9).await.unwrap().is_empty());
    db.settle_delivery(&acme(), claimed.id, 1, &outcome, at(2))
        .await
        .unwrap();
    let wanted = db.requested_deals(&acme(), 9).await.unwrap();
    assert_eq!(wanted, [deal_id("7"), deal_id("8")]);
    let parts = db.quarantined(Some(&acme()), 9).await.unwrap();
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].body, b"\0bad");
    assert_eq!(parts[0].reason, "no object id");
    assert_eq!(parts[0].source, "hubspot.webhook");
}

pub(super) async fn poison_keeps_its_bytes(db: Db) {
    append(&db, "1").await;
    let claimed = claim(&db, 1, 1).await.remove(0);
    db.quarantine_delivery(&acme(), claimed.id, 1, "not JSON", at(2))
        .await
        .unwrap();
    assert!(claim(&db, 1_000, 1).await.is_empty());
    let found = db.quarantined(None, 9).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, claimed.id);
    assert_eq!(found[0].tenant, acme());
    assert_eq!(found[0].body, delivery("1").body);
    assert_eq!(found[0].reason, "not JSON");
    assert_eq!(found[0].received_at, at(0));
    assert_eq!(append(&db, "1").await, Appended::Repeat);
}

pub(super) async fn a_long_delivery_keeps_its_bytes(db: Db) {
    let event = r#"{"eventId":1,"subscriptionType":"deal.propertyChange","objectId":7},"#;
    let bodies = [
        event.repeat(400).into_bytes(),
        (0..40_000_u32).flat_map(u32::to_be_bytes).collect(),
        // What a compressed body begins with in SQLite, and more of the same.
        b"\0lz4".repeat(2_000),
        b"\0lz4".to_vec(),
    ];
    for (n, body) in bodies.iter().enumerate() {
        let delivery = Delivery {
            body: body.clone(),
            ..delivery(&n.to_string())
        };
        db.append_delivery(&acme(), &delivery, at(0)).await.unwrap();
    }
    let claimed = claim(&db, 1, 9).await;
    let found: Vec<_> = claimed.iter().map(|claimed| &claimed.body).collect();
    assert!(found.iter().copied().eq(&bodies), "to the byte");
    let outcome = DeliveryOutcome {
        poison: vec![(bodies[0].clone(), "odd".to_owned())],
        ..DeliveryOutcome::default()
    };
    db.settle_delivery(&acme(), claimed[0].id, 1, &outcome, at(2))
        .await
        .unwrap();
    db.quarantine_delivery(&acme(), claimed[1].id, 1, "odd", at(2))
        .await
        .unwrap();
    let kept = db.quarantined(None, 9).await.unwrap();
    let kept: Vec<_> = kept.iter().map(|kept| &kept.body).collect();
    assert_eq!(kept, [&bodies[1], &bodies[0]]);
}

pub(super) async fn a_retried_delivery_starts_over(db: Db) {
    append(&db, "1").await;
    let claimed = claim(&db, 1, 1).await.remove(0);
    assert!(!db.retry_quarantined(claimed.id, at(2)).await.unwrap());
    db.quarantine_delivery(&acme(), claimed.id, 1, "x", at(2))
        .await
        .unwrap();
    assert!(db.retry_quarantined(claimed.id, at(3)).await.unwrap());
    assert!(db.quarantined(None, 9).await.unwrap().is_empty());
    let again = claim(&db, 4, 1).await.remove(0);
    assert_eq!((again.id, again.attempt), (claimed.id, 1));
    assert_eq!(again.body, delivery("1").body);
}

pub(super) async fn a_dropped_delivery_stays_known(db: Db) {
    append(&db, "1").await;
    let claimed = claim(&db, 1, 1).await.remove(0);
    assert!(!db.drop_quarantined(claimed.id).await.unwrap());
    db.quarantine_delivery(&acme(), claimed.id, 1, "x", at(2))
        .await
        .unwrap();
    assert!(db.drop_quarantined(claimed.id).await.unwrap());
    assert!(!db.drop_quarantined(claimed.id).await.unwrap());
    assert!(!db.retry_quarantined(claimed.id, at(3)).await.unwrap());
    assert!(db.quarantined(None, 9).await.unwrap().is_empty());
    assert_eq!(append(&db, "1").await, Appended::Repeat);
}

pub(super) async fn depth_counts_what_waits(db: Db) {
    for (n, s) in [("1", 10), ("2", 20), ("3", 30)] {
        db.append_delivery(&acme(), &delivery(n), at(s))
            .await
            .unwrap();
    }
    let claimed = claim(&db, 40, 2).await;
    let depth = db.inbox_depth(&acme()).await.unwrap();
    assert_eq!((depth.waiting, depth.quarantined), (3, 0));
    assert_eq!(depth.oldest_at, Some(at(10)));
    settle(&db, claimed[0].id, 1).await.unwrap();
    db.quarantine_delivery(&acme(), claimed[1].id, 1, "x", at(41))
        .await
        .unwrap();
    let depth = db.inbox_depth(&acme()).await.unwrap();
    assert_eq!((depth.waiting, depth.quarantined), (1, 1));
    assert_eq!(depth.oldest_at, Some(at(30)));
}

pub(super) async fn many_appends_at_once_are_all_kept(db: Db) {
    let tasks: Vec<_> = (0..300)
        .map(|n| {
            let db = db.clone();
            // Each key comes twice; one of the two is the first.
            tokio::spawn(async move { append(&db, &(n / 2).to_string()).await })
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        new += usize::from(task.await.unwrap() == Appended::New);
    }
    assert_eq!(new, 150);
    assert_eq!(db.inbox_depth(&acme()).await.unwrap().waiting, 150);
}

pub(super) async fn a_quarantined_delivery_is_read_by_its_tenant_alone(db: Db) {
    append(&db, "1").await;
    let claimed = claim(&db, 1, 1).await.remove(0);
    let id = claimed.id;
    let read = async |tenant: TenantId| db.quarantined_delivery(&tenant, id).await.unwrap();
    assert_eq!(read(acme()).await, None, "it is not in quarantine");
    db.quarantine_delivery(&acme(), id, 1, "not JSON", at(2))
        .await
        .unwrap();
    let found = read(acme()).await.unwrap();
    assert_eq!((found.id, found.reason.as_str()), (id, "not JSON"));
    assert_eq!(found.body, delivery("1").body);
    assert_eq!(read(globex()).await, None);
}

pub(super) async fn the_newest_delivery_is_the_newest_worked_off(db: Db) {
    let newest = async || db.newest_delivery(&acme()).await.unwrap();
    assert_eq!(newest().await, None);
    for (n, s) in [("1", 10), ("2", 20), ("3", 30)] {
        db.append_delivery(&acme(), &delivery(n), at(s))
            .await
            .unwrap();
    }
    assert_eq!(newest().await, None, "none is worked off");
    let claimed = claim(&db, 40, 2).await;
    settle(&db, claimed[1].id, 1).await.unwrap();
    assert_eq!(newest().await, Some(at(20)));
    settle(&db, claimed[0].id, 1).await.unwrap();
    assert_eq!(newest().await, Some(at(20)));
}
