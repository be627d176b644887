use super::*;
use roasd::domain::attribution::Attempt;
use roasd::domain::insight::{AdInsight, ReportWindow};
use roasd::domain::time::TimeZone;
use roasd::store::decisions::RunRecord;
use roasd::store::inbox::DeliveryOutcome;
use roasd::store::jobs::JobOutcome;
use roasd::store::privacy::Forgettable;
use roasd::store::revenue::SettledDeal;

const DAY: i64 = 86_400;

async fn forget(db: &Db, what: Forgettable, s: i64, limit: u32) -> u64 {
    db.forget(&acme(), what, at(s), limit).await.unwrap()
}

/// One row of each kind, of `day` days into the tests' own time.
async fn fill(db: &Db, day: i64) {
    let (a, s) = (acme(), day * DAY);
    let visit = visits::visit(&format!("v{day}"), s);
    assert!(db.record_visit(&a, &visit).await.unwrap());
    let lead = [format!("{day}").parse().unwrap()];
    db.request_leads(&a, &lead, at(s)).await.unwrap();
    let delivery = inbox::delivery(&day.to_string());
    db.append_delivery(&a, &delivery, at(s)).await.unwrap();
    let lease = at(s + 60);
    let claimed = db.claim_deliveries(&a, at(s), lease, 9).await.unwrap();
    let outcome = DeliveryOutcome::default();
    for row in claimed {
        db.settle_delivery(&a, row.id, row.attempt, &outcome, at(s))
            .await
            .unwrap();
    }
    let message = outbox::message("slack", Some(acme()), &day.to_string(), s);
    db.enqueue(&[message], at(s)).await.unwrap();
    let id = format!("d{day}");
    db.record_deals(&a, &[deal(&id, "lead", s)], &[], at(s))
        .await
        .unwrap();
    let unsettled = db.unsettled_deals(&a, at(s), 9).await.unwrap();
    let settled = SettledDeal {
        deal: deal_id(&id),
        revision: unsettled[0].revision,
        attribution: None,
        gap: None,
        attempts: vec![Attempt {
            method: Method::UrlParam,
            succeeded: false,
            confidence: 0.0,
            reason: "no id".to_owned(),
            runners_up: Vec::new(),
        }],
        conversions: Vec::new(),
        entries: Vec::new(),
        retry_at: None,
        fault: None,
    };
    db.settle_deal(&a, &settled, at(s)).await.unwrap();
    db.record_job(&a, "sync", at(s), at(s), &JobOutcome::Succeeded, "")
        .await
        .unwrap();
    rest::decide(db, &a, &format!("r{day}"), s, &[("a", "hold")]).await;
    let today = time::day_of(at(s), &TimeZone::UTC);
    for (is_hourly, window) in [
        (false, ReportWindow::Day(today)),
        (true, ReportWindow::Hour(today, 7)),
    ] {
        let row = |spend| AdInsight {
            window,
            ..insights::daily("1", 0, spend)
        };
        // Restated once, so that there is something from before.
        for (spend, s) in [(90, s - 1), (100, s)] {
            db.record_insights(&a, &[row(spend)], today, today, is_hourly, at(s))
                .await
                .unwrap();
        }
    }
}

pub(super) async fn what_is_older_is_forgotten_and_no_more(db: Db) {
    for day in [0, 1, 2] {
        fill(&db, day).await;
    }
    for what in Forgettable::ALL {
        let name = what.as_str();
        let others = db.forget(&globex(), what, at(9 * DAY), 9).await.unwrap();
        assert_eq!(others, 0, "{name}: nothing is Globex's");
        assert_eq!(forget(&db, what, 0, 9).await, 0, "{name}: of that instant");
        assert_eq!(forget(&db, what, DAY, 9).await, 1, "{name}");
        assert_eq!(forget(&db, what, DAY, 9).await, 0, "{name}: once");
    }
    let gone = db.visit(&acme(), &"v0".parse().unwrap()).await.unwrap();
    assert_eq!(gone, None);
    let kept = db.visit(&acme(), &"v1".parse().unwrap()).await.unwrap();
    assert_eq!(kept, Some(visits::visit("v1", DAY)));
    for what in Forgettable::ALL {
        assert_eq!(forget(&db, what, 9 * DAY, 9).await, 2, "{}", what.as_str());
    }
}

pub(super) async fn the_oldest_go_first_and_no_more_than_asked(db: Db) {
    for day in [2, 0, 1] {
        fill(&db, day).await;
    }
    for what in Forgettable::ALL {
        let name = what.as_str();
        assert_eq!(forget(&db, what, 9 * DAY, 1).await, 1, "{name}");
        assert_eq!(forget(&db, what, DAY, 9).await, 0, "{name}: it was day 0");
        assert_eq!(forget(&db, what, 9 * DAY, 2).await, 2, "{name}");
    }
}

pub(super) async fn deliveries_that_need_somebody_stay(db: Db) {
    let a = acme();
    for key in ["quarantined", "dropped", "claimed", "waiting"] {
        let delivery = inbox::delivery(key);
        db.append_delivery(&a, &delivery, at(0)).await.unwrap();
    }
    let claimed = db.claim_deliveries(&a, at(0), at(60), 3).await.unwrap();
    for row in &claimed[..2] {
        db.quarantine_delivery(&a, row.id, row.attempt, "odd", at(1))
            .await
            .unwrap();
    }
    assert!(db.drop_quarantined(claimed[1].id).await.unwrap());
    assert_eq!(forget(&db, Forgettable::Deliveries, 9 * DAY, 9).await, 1);
    let depth = db.inbox_depth(&a).await.unwrap();
    assert_eq!((depth.waiting, depth.quarantined), (2, 1));
}

pub(super) async fn daily_figures_stay(db: Db) {
    fill(&db, 0).await;
    assert_eq!(
        forget(&db, Forgettable::HourlyInsights, 9 * DAY, 9).await,
        1
    );
    let day = time::day_of(at(0), &TimeZone::UTC);
    let daily: Vec<AdInsight> = db.daily_insights(&acme(), day).await.unwrap();
    assert_eq!(daily.len(), 1);
    assert!(db.hourly_insights(&acme(), day).await.unwrap().is_empty());
}

pub(super) async fn a_decision_stays_without_its_inputs(db: Db) {
    fill(&db, 0).await;
    let (tenant, run, decision) = db.decision("r0-a").await.unwrap().unwrap();
    assert!(!run.inputs_json.is_empty());
    assert_eq!(forget(&db, Forgettable::Inputs, DAY, 9).await, 1);
    let forgotten = RunRecord {
        inputs_json: String::new(),
        ..run
    };
    let found = db.decision("r0-a").await.unwrap();
    assert_eq!(found, Some((tenant, forgotten, decision)));
}

pub(super) async fn the_last_run_stays_known(db: Db) {
    fill(&db, 0).await;
    let before = db.job_status(&acme()).await.unwrap();
    assert_eq!(forget(&db, Forgettable::Runs, DAY, 9).await, 1);
    assert_eq!(db.job_status(&acme()).await.unwrap(), before);
    assert_eq!(before[0].last_success, Some(at(0)));
}
