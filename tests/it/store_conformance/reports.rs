//! What other programs report.

use super::*;
use roasd::store::reports::{ReportSource, ReportedConversion, ReportedResult};

fn conversion(id: &str, s: i64) -> ReportedConversion {
    ReportedConversion {
        id: id.to_owned(),
        kind: "purchase \u{1f3cb}".to_owned(),
        value: usd(4_999),
        at: at(s - 10),
        reported_at: at(s),
        attribution: Some(Attribution {
            visit: None,
            ..credit("a1", Method::UrlParam)
        }),
    }
}

pub(super) async fn a_reported_conversion_reads_back_and_is_replaced(db: Db) {
    let first = conversion("order-1", 5);
    let with_visit = ReportedConversion {
        attribution: Some(credit("a1", Method::UrlParam)),
        ..first.clone()
    };
    let keep = async |kept: &ReportedConversion| {
        let kept = db.record_reported_conversion(&acme(), kept).await;
        kept.unwrap();
    };
    keep(&with_visit).await;
    let read = async |tenant: TenantId| db.reported_conversions(&tenant, None, 9).await.unwrap();
    assert_eq!(read(acme()).await, [first], "the visit is left out");
    let second = ReportedConversion {
        value: usd(1),
        attribution: None,
        ..conversion("order-1", 7)
    };
    keep(&second).await;
    assert_eq!(read(acme()).await, [second]);
    assert!(read(globex()).await.is_empty());
}

pub(super) async fn reported_conversions_are_listed_newest_first(db: Db) {
    for (id, s) in [("a", 1), ("b", 3), ("c", 3), ("d", 2)] {
        db.record_reported_conversion(&acme(), &conversion(id, s))
            .await
            .unwrap();
    }
    let page = async |before: Option<(Timestamp, String)>| -> Vec<String> {
        let found = db.reported_conversions(&acme(), before.as_ref(), 2).await;
        found.unwrap().into_iter().map(|c| c.id).collect()
    };
    assert_eq!(page(None).await, ["c", "b"]);
    assert_eq!(page(Some((at(3), "b".to_owned()))).await, ["d", "a"]);
    assert!(page(Some((at(1), "a".to_owned()))).await.is_empty());
}

pub(super) async fn the_newest_report_of_an_ad_stands(db: Db) {
    let result = |name: &str, minor: i64, spend: Option<i64>, s: i64| ReportedResult {
        ad: ad(name),
        value: usd(minor),
        spend: spend.map(usd),
        reported_at: at(s),
    };
    let crm = [result("b", -5, None, 1), result("a", 7, None, 1)];
    let keep = async |source, results: &[ReportedResult]| {
        let kept = db.record_reported_results(&acme(), source, results).await;
        kept.unwrap();
    };
    keep(ReportSource::Crm, &crm).await;
    keep(ReportSource::Crm, &[result("a", 8, None, 2)]).await;
    keep(ReportSource::Feedback, &[result("a", 9, Some(4), 3)]).await;
    keep(ReportSource::Feedback, &[]).await;
    let read = async |tenant: TenantId, source| db.reported_results(&tenant, source).await.unwrap();
    assert_eq!(
        read(acme(), ReportSource::Crm).await,
        [result("a", 8, None, 2), result("b", -5, None, 1)]
    );
    assert_eq!(
        read(acme(), ReportSource::Feedback).await,
        [result("a", 9, Some(4), 3)]
    );
    assert!(read(globex(), ReportSource::Crm).await.is_empty());
}
