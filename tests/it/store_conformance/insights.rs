use super::*;
use roasd::domain::insight::{ActionCount, AdInsight, ReportWindow};
use roasd::domain::time::{Date, parse_date};
use roasd::store::insights::Pull;

pub(super) fn day(n: i64) -> Date {
    time::add_days(parse_date("2026-11-01").unwrap(), n)
}

pub(super) fn daily(name: &str, n: i64, spend: i64) -> AdInsight {
    AdInsight {
        ad: ad(name),
        ad_set: "s1".parse().unwrap(),
        campaign: "c1".parse().unwrap(),
        window: ReportWindow::Day(day(n)),
        impressions: 1_000,
        clicks: 10,
        spend: usd(spend),
        reach: Some(900),
        actions: vec![ActionCount {
            kind: "lead".to_owned(),
            count: 2.5,
        }],
    }
}

fn hourly(name: &str, n: i64, hour: u8, spend: i64) -> AdInsight {
    AdInsight {
        window: ReportWindow::Hour(day(n), hour),
        reach: None,
        actions: Vec::new(),
        ..daily(name, n, spend)
    }
}

async fn pull(db: &Db, rows: &[AdInsight], days: (i64, i64), s: i64) {
    db.record_insights(&acme(), rows, day(days.0), day(days.1), false, at(s))
        .await
        .unwrap();
}

async fn all(db: &Db) -> Vec<AdInsight> {
    db.daily_insights(&acme(), day(0)).await.unwrap()
}

pub(super) async fn a_restated_row_replaces(db: Db) {
    pull(&db, &[daily("a", 0, 100)], (0, 0), 1).await;
    pull(&db, &[daily("a", 0, 130)], (0, 0), 2).await;
    assert_eq!(all(&db).await, [daily("a", 0, 130)]);
    // Within one pull the later row stands.
    pull(&db, &[daily("a", 0, 1), daily("a", 0, 2)], (0, 0), 3).await;
    assert_eq!(all(&db).await, [daily("a", 0, 2)]);
}

pub(super) async fn a_row_that_meta_took_back_goes(db: Db) {
    let rows = [
        daily("a", 0, 1),
        daily("a", 1, 2),
        daily("b", 1, 3),
        daily("b", 2, 4),
    ];
    pull(&db, &rows, (0, 2), 1).await;
    pull(&db, &[daily("b", 1, 9)], (1, 1), 2).await;
    let wanted = [daily("a", 0, 1), daily("b", 1, 9), daily("b", 2, 4)];
    assert_eq!(all(&db).await, wanted);
    pull(&db, &[], (0, 2), 3).await;
    assert!(all(&db).await.is_empty());
}

pub(super) async fn hourly_and_daily_are_separate(db: Db) {
    pull(&db, &[daily("a", 0, 5)], (0, 0), 1).await;
    let hours = [hourly("a", 0, 23, 2), hourly("a", 0, 0, 1)];
    db.record_insights(&acme(), &hours, day(0), day(0), true, at(2))
        .await
        .unwrap();
    let found = db.hourly_insights(&acme(), day(0)).await.unwrap();
    assert_eq!(found, [hours[1].clone(), hours[0].clone()]);
    assert_eq!(all(&db).await, [daily("a", 0, 5)]);
    pull(&db, &[], (0, 0), 3).await;
    assert_eq!(db.hourly_insights(&acme(), day(0)).await.unwrap().len(), 2);
    assert!(
        db.hourly_insights(&acme(), day(1))
            .await
            .unwrap()
            .is_empty()
    );
    let mark = db.insights_watermark(&acme()).await.unwrap();
    assert_eq!(mark, Some(at(3)), "of the daily figures");
}

pub(super) async fn an_older_pull_changes_nothing(db: Db) {
    pull(&db, &[daily("a", 0, 130)], (0, 0), 2).await;
    pull(&db, &[daily("a", 0, 100)], (0, 0), 1).await;
    assert_eq!(all(&db).await, [daily("a", 0, 130)]);
}

pub(super) async fn the_watermark_never_moves_back(db: Db) {
    assert_eq!(db.insights_watermark(&acme()).await.unwrap(), None);
    for (s, wanted) in [(5, 5), (3, 5), (7, 7)] {
        pull(&db, &[], (0, 0), s).await;
        let mark = db.insights_watermark(&acme()).await.unwrap();
        assert_eq!(mark, Some(at(wanted)));
    }
}

pub(super) async fn figures_are_as_they_were_known(db: Db) {
    let as_of = async |s| {
        db.daily_insights_as_of(&acme(), day(0), at(s))
            .await
            .unwrap()
    };
    let (a, b) = (daily("a", 0, 100), daily("b", 0, 50));
    pull(&db, &[a.clone(), b.clone()], (0, 0), 10).await;
    // As it was, then restated, then as it was again, then taken back.
    pull(&db, &[a.clone(), b.clone()], (0, 0), 20).await;
    let more = daily("a", 0, 130);
    pull(&db, &[more.clone(), b.clone()], (0, 0), 30).await;
    // Twice at one instant, which tells nothing more.
    for _ in 0..2 {
        pull(&db, std::slice::from_ref(&more), (0, 0), 40).await;
    }
    for (s, wanted) in [
        (9, vec![]),
        (10, vec![a.clone(), b.clone()]),
        (29, vec![a.clone(), b.clone()]),
        (30, vec![more.clone(), b.clone()]),
        (39, vec![more.clone(), b.clone()]),
        (40, vec![more.clone()]),
        (9_999, vec![more.clone()]),
    ] {
        assert_eq!(as_of(s).await, wanted, "as of {s}");
    }
    assert_eq!(all(&db).await, std::slice::from_ref(&more));
    // One that was begun before and comes late tells of an ad once.
    pull(&db, &[more.clone(), b.clone()], (0, 0), 35).await;
    assert_eq!(as_of(36).await, [more, b]);
    // Two values were replaced or taken back, and no more is kept of five rows that were the same.
    let what = roasd::store::privacy::Forgettable::PastInsights;
    assert_eq!(db.forget(&acme(), what, at(99), 9).await.unwrap(), 2);
    assert!(
        db.daily_insights_as_of(&globex(), day(0), at(99))
            .await
            .unwrap()
            .is_empty()
    );
}

pub(super) async fn a_pull_of_some_campaigns_leaves_the_others(db: Db) {
    let of = |name: &str, campaign: &str, spend| AdInsight {
        campaign: campaign.parse().unwrap(),
        ..daily(name, 0, spend)
    };
    let rows = [of("a", "c1", 1), of("b", "c2", 2), of("c", "c3", 3)];
    pull(&db, &rows, (0, 0), 1).await;
    let part = Pull {
        since: day(0),
        until: day(0),
        is_hourly: false,
        campaigns: vec!["c1".parse().unwrap(), "c2".parse().unwrap()],
        pulled_at: at(2),
    };
    db.record_pull(&acme(), &[of("b", "c2", 9)], &part)
        .await
        .unwrap();
    assert_eq!(all(&db).await, [of("b", "c2", 9), of("c", "c3", 3)]);
    let before = db.daily_insights_as_of(&acme(), day(0), at(1)).await;
    assert_eq!(before.unwrap(), rows);
}

pub(super) async fn spend_is_summed_by_day(db: Db) {
    let rows = [
        daily("a", 0, 9),
        daily("a", 1, 1),
        daily("b", 1, 2),
        daily("b", 2, 4),
    ];
    pull(&db, &rows, (0, 2), 1).await;
    let found = db.spend_by_day(&acme(), day(1)).await.unwrap();
    assert_eq!(found, [(day(1), usd(3)), (day(2), usd(4))]);
}

pub(super) async fn spend_is_summed_by_hour(db: Db) {
    let hours = [
        hourly("a", 0, 23, 9),
        hourly("a", 1, 5, 1),
        hourly("b", 1, 5, 2),
        hourly("b", 1, 6, 4),
    ];
    db.record_insights(&acme(), &hours, day(0), day(1), true, at(2))
        .await
        .unwrap();
    pull(&db, &[daily("a", 1, 70)], (1, 1), 3).await;
    let found = db.spend_by_hour(&acme(), day(1)).await.unwrap();
    let hour = |hour, spend| (ReportWindow::Hour(day(1), hour), usd(spend));
    assert_eq!(found, [hour(5, 3), hour(6, 4)], "days are no hours");
}

pub(super) async fn ten_thousand_rows_fit(db: Db) {
    let rows: Vec<_> = (0..10_000)
        .map(|n| daily(&format!("ad{}", n / 10), n % 10, n))
        .collect();
    pull(&db, &rows, (0, 9), 1).await;
    let found = all(&db).await;
    assert_eq!(found.len(), 10_000);
    let spend: i64 = found.iter().map(|row| row.spend.minor()).sum();
    assert_eq!(spend, (0..10_000).sum::<i64>());
}
