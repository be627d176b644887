use super::*;
use roasd::domain::insight::{ActionCount, AdInsight, ReportWindow};
use roasd::domain::time::{Date, parse_date};

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
