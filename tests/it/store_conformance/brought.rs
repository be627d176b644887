//! Vectors that somebody brings.

use super::*;
use roasd::store::brought::{Brought, BroughtVector, KeptVector};

pub(super) fn vector(name: &str, vector: &[f32]) -> BroughtVector {
    BroughtVector {
        ad: ad(name),
        vector: vector.to_vec(),
        metadata: format!("{{\"of\":\"{name} \u{1f3cb}\"}}"),
        at: at(1),
    }
}

async fn bring(db: &Db, name: &str, of: &[f32], room: u64) -> Brought {
    let brought = db.bring_vector(&acme(), &vector(name, of), room).await;
    brought.unwrap()
}

async fn kept(db: &Db, after: i64) -> Vec<KeptVector> {
    db.brought_vectors(&acme(), after).await.unwrap()
}

pub(super) async fn a_vector_is_kept_in_place_of_the_ads_older_one(db: Db) {
    let tiny = f32::MIN_POSITIVE;
    assert_eq!(
        bring(&db, "a", &[0.6, -0.8], 9).await,
        Brought::Kept { vectors: 1 }
    );
    assert_eq!(
        bring(&db, "b", &[1.0, tiny], 9).await,
        Brought::Kept { vectors: 2 }
    );
    let first = kept(&db, 0).await;
    let of: Vec<(&str, &[f32])> = first
        .iter()
        .map(|kept| (kept.ad.as_str(), kept.vector.as_slice()))
        .collect();
    assert_eq!(of, [("a", &[0.6, -0.8][..]), ("b", &[1.0, tiny][..])]);
    assert!(first[0].revision > 0 && first[1].revision > first[0].revision);

    // Who has read so far reads what came after, and nothing twice.
    let seen = first[1].revision;
    assert!(kept(&db, seen).await.is_empty());
    for turn in 0..3 {
        assert_eq!(
            bring(&db, "b", &[0.0, 1.0], 9).await,
            Brought::Kept { vectors: 2 }
        );
        let after = kept(&db, seen).await;
        assert_eq!(after.len(), 1);
        assert_eq!(
            (after[0].ad.as_str(), after[0].vector.as_slice()),
            ("b", &[0.0, 1.0][..])
        );
        assert!(after[0].revision > seen + turn);
    }
    let all: Vec<AdId> = kept(&db, 0).await.into_iter().map(|kept| kept.ad).collect();
    assert_eq!(all, [ad("a"), ad("b")]);
}

pub(super) async fn what_was_said_of_a_vector_is_read_by_ad(db: Db) {
    for name in ["a", "b", "c"] {
        bring(&db, name, &[1.0], 9).await;
    }
    let asked = [ad("c"), ad("nobody"), ad("a"), ad("a")];
    let said = db.brought_metadata(&acme(), &asked).await.unwrap();
    let expected = ["a", "c"].map(|name| (ad(name), vector(name, &[]).metadata));
    assert_eq!(said, expected.into());
    assert!(db.brought_metadata(&acme(), &[]).await.unwrap().is_empty());
    let of_others = db.brought_metadata(&globex(), &asked).await.unwrap();
    assert!(of_others.is_empty());
    assert!(db.brought_vectors(&globex(), 0).await.unwrap().is_empty());
}

pub(super) async fn a_vector_of_another_length_or_beyond_the_room_is_refused(db: Db) {
    bring(&db, "a", &[1.0, 0.0], 2).await;
    // What stands alone may change its length.
    assert_eq!(
        bring(&db, "a", &[1.0, 0.0, 0.0], 2).await,
        Brought::Kept { vectors: 1 }
    );
    bring(&db, "b", &[0.0, 1.0, 0.0], 2).await;
    let before = kept(&db, 0).await;
    let other = Brought::OtherLength { expected: 3 };
    for name in ["a", "c"] {
        assert_eq!(bring(&db, name, &[1.0, 0.0], 9).await, other, "{name}");
    }
    assert_eq!(bring(&db, "c", &[1.0, 0.0, 0.0], 2).await, Brought::Full);
    assert_eq!(kept(&db, 0).await, before, "nothing changed");
    assert_eq!(
        bring(&db, "b", &[0.0, 0.0, 1.0], 2).await,
        Brought::Kept { vectors: 2 }
    );
    // Another tenant's are not counted, nor is their length.
    let of_globex = db.bring_vector(&globex(), &vector("a", &[1.0]), 1).await;
    assert_eq!(of_globex.unwrap(), Brought::Kept { vectors: 1 });
}

pub(super) async fn vectors_brought_at_once_find_their_order_and_room(db: Db) {
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let db = db.clone();
            tokio::spawn(async move { bring(&db, &format!("a{n}"), &[1.0, 0.0], 8).await })
        })
        .collect();
    let mut refused = 0;
    for task in tasks {
        refused += usize::from(task.await.unwrap() == Brought::Full);
    }
    assert_eq!(refused, 4);
    let revisions: Vec<i64> = kept(&db, 0)
        .await
        .iter()
        .map(|kept| kept.revision)
        .collect();
    assert_eq!(revisions.len(), 8);
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
}
