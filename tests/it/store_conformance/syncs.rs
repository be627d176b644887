use super::crm::{record, settle_all, unsettled};
use super::*;
use roasd::store::revenue::SettledDeal;
use roasd::store::syncs::{ListedDeal, ListedPage, Span, SyncCounts, SyncProgress};

async fn request(db: &Db) -> roasd::store::syncs::SyncRequest {
    db.sync_request(&acme()).await.unwrap().unwrap()
}

fn progress(phase: &str, is_done: bool) -> SyncProgress {
    SyncProgress {
        phase: phase.to_owned(),
        counts: SyncCounts {
            listed: 1,
            searched: 2,
            deals: 3,
            changed: 4,
            missing: 5,
            contacts: 6,
        },
        is_done,
        failed: is_done.then(|| "HubSpot is out".to_owned()),
    }
}

pub(super) async fn a_sync_is_asked_for_taken_up_and_answered(db: Db) {
    assert!(db.sync_request(&acme()).await.unwrap().is_none());
    let name = db.ask_sync(&acme(), "cli:ann", true, at(1)).await.unwrap();
    assert_eq!(name, at(1));
    assert_eq!(db.asked_syncs().await.unwrap(), [acme()]);
    let asked = request(&db).await;
    assert_eq!(
        (asked.is_full, asked.told_at, asked.done_at),
        (true, None, None)
    );
    assert_eq!(asked.asked_by, "cli:ann");
    assert_eq!(asked.progress, SyncProgress::default());

    let told = progress("changed deals", false);
    assert!(db.tell_sync(&acme(), name, &told, at(2)).await.unwrap());
    assert!(db.asked_syncs().await.unwrap().is_empty(), "it is taken up");
    let taken = request(&db).await;
    assert_eq!((taken.told_at, taken.progress), (Some(at(2)), told));

    let done = progress("", true);
    assert!(db.tell_sync(&acme(), name, &done, at(3)).await.unwrap());
    let answered = request(&db).await;
    assert_eq!((answered.done_at, answered.progress), (Some(at(3)), done));
    let late = progress("late", false);
    assert!(!db.tell_sync(&acme(), name, &late, at(4)).await.unwrap());
    assert_eq!(request(&db).await.done_at, Some(at(3)));
}

pub(super) async fn a_sync_asked_for_anew_is_done_anew(db: Db) {
    let first = db.ask_sync(&acme(), "a", true, at(1)).await.unwrap();
    let told = progress("x", false);
    assert!(db.tell_sync(&acme(), first, &told, at(2)).await.unwrap());
    // Of one instant, too, the second is another one.
    let second = db.ask_sync(&acme(), "b", false, at(1)).await.unwrap();
    assert!(second > first);
    let asked = request(&db).await;
    assert!(asked.is_full, "what was asked for is not made less");
    assert_eq!(
        (asked.told_at, asked.progress),
        (None, SyncProgress::default())
    );
    assert!(!db.tell_sync(&acme(), first, &told, at(3)).await.unwrap());
    let done = progress("", true);
    assert!(db.tell_sync(&acme(), second, &done, at(4)).await.unwrap());
    db.ask_sync(&acme(), "c", false, at(5)).await.unwrap();
    assert!(!request(&db).await.is_full, "what is done is over");
}

/// What a page of the list leads to.
async fn listed(db: &Db, deals: &[(&str, i64)], is_archived: bool, scan: i64) -> Vec<DealId> {
    let deals: Vec<_> = deals
        .iter()
        .map(|(id, modified)| ListedDeal {
            id: deal_id(id),
            modified_at: at(*modified),
        })
        .collect();
    let page = ListedPage {
        deals: &deals,
        is_archived,
        scan: at(scan),
        horizon: at(-50),
    };
    db.note_listed(&acme(), &page).await.unwrap()
}

const ALL_DEALS: Span<'_> = Span {
    after: None,
    limit: 9,
};

pub(super) async fn a_list_tells_what_is_not_as_it_is_kept(db: Db) {
    let kept = ["a", "b", "c", "d"].map(|id| deal(id, "lead", 1));
    record(&db, &kept, 5).await;
    let gone = [deal_id("c")];
    db.record_deals(&acme(), &[], &gone, at(6)).await.unwrap();
    let page = [("a", 1), ("b", 7), ("c", 1), ("new", 3), ("old", -60)];
    let wanted = listed(&db, &page, false, 10).await;
    assert_eq!(wanted, ["b", "c", "new"].map(deal_id));
    let wanted = listed(&db, &[("a", 1), ("c", 1), ("never", 1)], true, 10).await;
    assert_eq!(wanted, [deal_id("a")]);
    // "d" was named by no list of this scan; "c" is kept as archived.
    let unlisted = async |scan, span| db.unlisted_deals(&acme(), at(scan), span).await.unwrap();
    assert_eq!(unlisted(10, ALL_DEALS).await, [deal_id("d")]);
    let every = ["a", "b", "d"].map(deal_id);
    assert_eq!(unlisted(11, ALL_DEALS).await, every, "by a later scan");
    let after = deal_id("a");
    let span = Span {
        after: Some(&after),
        limit: 1,
    };
    assert_eq!(unlisted(11, span).await, [deal_id("b")]);
    // What was read since the scan began is there, whatever the list said.
    record(&db, &[deal("d", "lead", 1)], 10).await;
    assert!(unlisted(10, ALL_DEALS).await.is_empty());
}

pub(super) async fn open_deals_are_those_that_are_there_and_not_closed(db: Db) {
    let deals = [
        deal("a", "lead", 10),
        deal("b", "won", 10),
        deal("c", "lead", 1),
        deal("d", "demo", 10),
        deal("e", "lead", 10),
    ];
    record(&db, &deals, 20).await;
    let gone = [deal_id("e")];
    db.record_deals(&acme(), &[], &gone, at(21)).await.unwrap();
    let closed = ["won", "lost"].map(|stage| VendorStageId::new(stage).unwrap());
    let open = async |closed: &[VendorStageId], span| {
        db.open_deals(&acme(), closed, at(5), span).await.unwrap()
    };
    assert_eq!(open(&closed, ALL_DEALS).await, ["a", "d"].map(deal_id));
    assert_eq!(open(&[], ALL_DEALS).await, ["a", "b", "d"].map(deal_id));
    let after = deal_id("a");
    let span = Span {
        after: Some(&after),
        limit: 1,
    };
    assert_eq!(open(&closed, span).await, [deal_id("d")]);
}

pub(super) async fn merged_deals_hand_their_credit_on(db: Db) {
    record(&db, &["a", "b", "c"].map(|id| deal(id, "lead", 1)), 5).await;
    let revision = unsettled(&db, 5).await[0].1;
    let credited = SettledDeal {
        attribution: Some(credit("a1", Method::UrlParam)),
        ..super::revenue::settled("a", revision, Vec::new())
    };
    db.settle_deal(&acme(), &credited, at(6)).await.unwrap();
    settle_all(&db, 6, None).await;
    let pair = |from: &str, into: &str| (deal_id(from), deal_id(into));
    let merges = [pair("a", "b"), pair("b", "b")];
    db.record_merges(&acme(), &merges, at(7)).await.unwrap();
    let open: Vec<_> = unsettled(&db, 8).await.into_iter().map(|d| d.0).collect();
    assert_eq!(open, ["b"], "what is left is settled anew");
    settle_all(&db, 8, None).await;
    db.record_merges(&acme(), &merges, at(9)).await.unwrap();
    assert!(
        unsettled(&db, 9).await.is_empty(),
        "told of twice it is one"
    );

    let credits = async |id: &str| {
        let found = db.merged_credits(&acme(), &[deal_id(id)]).await.unwrap();
        let ads = found.into_iter();
        ads.map(|(into, credit)| (into.to_string(), credit.credit.ad))
            .collect::<Vec<_>>()
    };
    assert_eq!(credits("b").await, [("b".to_owned(), ad("a1"))]);
    assert!(credits("c").await.is_empty());
    // By way of another, and round in a circle that nobody should have made.
    let merges = [pair("b", "c"), pair("c", "a")];
    db.record_merges(&acme(), &merges, at(10)).await.unwrap();
    assert_eq!(credits("c").await, [("c".to_owned(), ad("a1"))]);
    assert!(credits("a").await.is_empty(), "its own is not inherited");
    settle_all(&db, 11, None).await;
    let gone = [deal_id("b")];
    db.unsettle_merged(&acme(), &gone).await.unwrap();
    let open: Vec<_> = unsettled(&db, 12).await.into_iter().map(|d| d.0).collect();
    assert_eq!(open, ["c"]);
}
