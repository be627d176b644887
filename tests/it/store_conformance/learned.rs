use super::*;
use roasd::domain::attribution::reliability::Band;
use roasd::domain::deal::StageValue;
use roasd::domain::ids::StageName;
use roasd::domain::worth::{Interval, LearnedStage};

fn stage(name: &str, minor: i64) -> StageValue {
    StageValue {
        name: StageName::new(name).unwrap(),
        value: usd(minor),
        confidence: 0.6,
        vendor_ids: Vec::new(),
        is_won: false,
        is_lost: false,
    }
}

fn learned(name: &str, minor: i64) -> LearnedStage {
    LearnedStage {
        stage: StageName::new(name).unwrap(),
        deals: 214,
        won: 80,
        lost: 120,
        rate: Interval {
            mid: 0.4,
            low: 0.35,
            high: 0.46,
        },
        days_to_won: 2.5,
        value: usd(minor),
        low: usd(minor - 10),
        high: usd(minor + 10),
    }
}

async fn mirror(db: &Db, stages: &[StageValue], s: i64) {
    db.record_stage_values(&acme(), stages, at(s))
        .await
        .unwrap();
}

pub(super) async fn what_stages_are_worth_stands_beside_the_configuration(db: Db) {
    let (a, stages) = (acme(), [stage("lead", 1), stage("show_up", 900)]);
    mirror(&db, &stages, 0).await;
    assert!(db.learned_stages(&a).await.unwrap().is_empty());
    let found = [learned("show_up", 610), learned("gone", 1)];
    let write = db.record_learned_stages(&a, &found, at(5));
    write.await.unwrap();
    let kept = db.learned_stages(&a).await.unwrap();
    assert_eq!(kept, [(learned("show_up", 610), at(5))]);
    // Mirroring anew leaves it, and a later night replaces it.
    mirror(&db, &stages, 6).await;
    assert_eq!(db.learned_stages(&a).await.unwrap(), kept);
    let later = [learned("show_up", 620)];
    let write = db.record_learned_stages(&a, &later, at(7));
    write.await.unwrap();
    let kept = db.learned_stages(&a).await.unwrap();
    assert_eq!(kept, [(learned("show_up", 620), at(7))]);
    // A stage that is no longer configured goes with what was learned of it.
    mirror(&db, &stages[..1], 8).await;
    assert!(db.learned_stages(&a).await.unwrap().is_empty());
}

pub(super) async fn reliability_is_replaced(db: Db) {
    let band = |method, tenth, matched| Band {
        method,
        tenth,
        matched,
        said: 0.65,
        was_right: matched / 2.0,
    };
    let first = [
        band(Method::Fingerprint, 6, 10.5),
        band(Method::Fingerprint, 9, 3.0),
        band(Method::Probabilistic, 4, 1.0),
    ];
    let a = acme();
    for bands in [&first[..], &first[1..2], &[]] {
        let write = db.record_reliability(&a, bands, at(1));
        write.await.unwrap();
        assert_eq!(db.reliability(&a).await.unwrap(), bands);
    }
}
