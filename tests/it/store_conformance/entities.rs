use std::collections::BTreeMap;

use super::*;
use roasd::domain::ids::AdAccountId;
use roasd::domain::structure::{
    Account, AccountStatus, Ad, AdSet, Budget, Campaign, Creative, EffectiveStatus, Learning,
    RunStatus, Structure,
};

/// A campaign with one ad set of this daily budget and one ad.
pub(super) fn structure(minor: i64) -> Structure {
    let active = || EffectiveStatus("ACTIVE".to_owned());
    let campaign = Campaign {
        id: "c1".parse().unwrap(),
        name: "Spring".to_owned(),
        status: RunStatus::Active,
        effective: active(),
        budget: Budget::None,
        objective: "OUTCOME_LEADS".to_owned(),
        shares_budgets: true,
        has_budget_schedule: false,
        smart_promotion: Some("GUIDED_CREATION".to_owned()),
        created_at: at(-100),
        updated_at: at(-50),
    };
    let set = AdSet {
        id: "s1".parse().unwrap(),
        campaign: campaign.id.clone(),
        name: "Morning classes".to_owned(),
        status: RunStatus::Active,
        effective: active(),
        budget: Budget::Daily(usd(minor)),
        learning: Some(Learning {
            status: "LEARNING".to_owned(),
            last_significant_edit: Some(at(-40)),
        }),
        created_at: at(-99),
        updated_at: at(-49),
    };
    let one = Ad {
        id: ad("a1"),
        ad_set: set.id.clone(),
        campaign: campaign.id.clone(),
        name: "Video 1".to_owned(),
        status: RunStatus::Paused,
        effective: EffectiveStatus("PAUSED".to_owned()),
        creative: Creative {
            id: Some("cr1".parse().unwrap()),
            title: "Get fit".to_owned(),
            body: "Now".to_owned(),
            url_tags: "ad_id={{ad.id}}".to_owned(),
            ..Creative::default()
        },
        created_at: at(-98),
        updated_at: at(-48),
    };
    Structure {
        account: Account {
            id: AdAccountId::new("act_12").unwrap(),
            name: "Gym".to_owned(),
            status: AccountStatus::Active,
            currency: Currency::USD,
            time_zone_name: "Europe/Berlin".to_owned(),
            min_daily_budget: Some(usd(100)),
        },
        campaigns: BTreeMap::from([(campaign.id.clone(), campaign)]),
        ad_sets: BTreeMap::from([(set.id.clone(), set)]),
        ads: BTreeMap::from([(one.id.clone(), one)]),
    }
}

async fn read(db: &Db, structure: &Structure, s: i64) -> Vec<roasd::store::entities::Drift> {
    db.record_structure(&acme(), structure, at(s))
        .await
        .unwrap()
}

async fn kept(db: &Db) -> Structure {
    db.structure(&acme()).await.unwrap().unwrap().0
}

pub(super) async fn a_structure_reads_back_whole(db: Db) {
    assert!(db.structure(&acme()).await.unwrap().is_none());
    let mut whole = structure(10_000);
    whole.account.status = AccountStatus::Other(7);
    let lifetime = Campaign {
        id: "c2".parse().unwrap(),
        budget: Budget::Lifetime(usd(5)),
        smart_promotion: None,
        ..whole.campaigns.values().next().unwrap().clone()
    };
    whole.campaigns.insert(lifetime.id.clone(), lifetime);
    read(&db, &whole, 3).await;
    let found = db.structure(&acme()).await.unwrap();
    assert_eq!(found, Some((whole.clone(), at(3))));
    let places = whole.ads.into_values();
    let places: Vec<_> = places.map(|ad| (ad.id, ad.ad_set, ad.campaign)).collect();
    assert_eq!(db.ad_places(&acme()).await.unwrap(), places);
}

pub(super) async fn a_first_read_is_no_drift(db: Db) {
    assert!(read(&db, &structure(10_000), 1).await.is_empty());
    assert!(read(&db, &structure(10_000), 2).await.is_empty());
    assert!(db.budget_moves(&acme(), at(0)).await.unwrap().is_empty());
}

pub(super) async fn a_foreign_edit_is_drift_and_history(db: Db) {
    read(&db, &structure(10_000), 1).await;
    let mut edited = structure(15_000);
    edited.ads.values_mut().next().unwrap().status = RunStatus::Active;
    let drift = read(&db, &edited, 5).await;
    assert_eq!(drift.len(), 2);
    assert_eq!(drift[0].entity, ad_set("s1"));
    assert_eq!(
        drift[0].budget,
        Some((Some(usd(10_000)), Some(usd(15_000))))
    );
    assert_eq!(drift[0].status, None);
    assert_eq!(
        drift[1].status,
        Some((RunStatus::Paused, RunStatus::Active))
    );
    let moves = db.budget_moves(&acme(), at(5)).await.unwrap();
    assert_eq!(moves.len(), 1);
    assert!(!moves[0].is_ours);
    assert_eq!((moves[0].from, moves[0].to), (usd(10_000), usd(15_000)));
    assert_eq!((moves[0].at, moves[0].campaign.as_str()), (at(5), "c1"));
    assert!(db.budget_moves(&acme(), at(6)).await.unwrap().is_empty());
    assert!(read(&db, &edited, 6).await.is_empty(), "told once");
    // An older read says nothing new.
    assert!(read(&db, &structure(10_000), 4).await.is_empty());
    assert_eq!(kept(&db).await, edited);
}

pub(super) async fn our_own_move_is_no_drift(db: Db) {
    read(&db, &structure(10_000), 0).await;
    changes::executing(&db, "x", "s1").await;
    let done = changes::completed();
    db.settle_change(&acme(), &change_id("x"), 1, &done, at(3))
        .await
        .unwrap();
    assert!(read(&db, &structure(12_000), 4).await.is_empty());
    assert_eq!(db.budget_moves(&acme(), at(0)).await.unwrap().len(), 1);
}

pub(super) async fn what_is_being_sent_is_no_drift(db: Db) {
    read(&db, &structure(10_000), 0).await;
    changes::executing(&db, "x", "s1").await;
    // Meta has it already, the answer is still on its way.
    assert!(read(&db, &structure(12_000), 3).await.is_empty());
    assert_eq!(kept(&db).await, structure(10_000), "until it is settled");
}

pub(super) async fn a_read_from_before_our_move_does_not_undo_it(db: Db) {
    read(&db, &structure(10_000), 0).await;
    changes::executing(&db, "x", "s1").await;
    let done = changes::completed();
    db.settle_change(&acme(), &change_id("x"), 1, &done, at(9))
        .await
        .unwrap();
    assert!(read(&db, &structure(10_000), 8).await.is_empty());
    assert_eq!(kept(&db).await, structure(12_000));
    let later = read(&db, &structure(10_000), 10).await;
    assert_eq!(later.len(), 1, "now it is somebody's edit");
}

pub(super) async fn what_is_gone_is_left_out_and_may_return(db: Db) {
    read(&db, &structure(10_000), 1).await;
    let mut smaller = structure(10_000);
    smaller.ads.clear();
    assert!(read(&db, &smaller, 2).await.is_empty());
    assert_eq!(kept(&db).await, smaller);
    assert!(read(&db, &structure(10_000), 3).await.is_empty());
    assert_eq!(kept(&db).await, structure(10_000));
}

pub(super) async fn first_budgets_stay(db: Db) {
    read(&db, &structure(10_000), 1).await;
    read(&db, &structure(15_000), 2).await;
    let first = db.first_budgets(&acme()).await.unwrap();
    assert_eq!(first, [(ad_set("s1"), usd(10_000))]);
}
