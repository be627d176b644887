//! What can be wrong with a file, and what lies in it.

use super::*;
use crate::support::newest_schema;
use roasd::store::{open, open_existing};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::path::Path;

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

async fn try_open(path: &Path) -> Result<Db, StoreError> {
    open(&format!("sqlite:{}", path.display())).await
}

#[track_caller]
fn assert_refused(result: Result<Db, StoreError>, words: &str) {
    match result {
        Err(StoreError::CannotOpen { detail, .. }) => {
            assert!(detail.contains(words), "{detail:?} does not say {words:?}");
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it opened"),
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    // A runtime that is torn down in the middle stands for a killed process: nothing is closed.
    std::thread::spawn({
        let path = path.clone();
        move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let db = try_open(&path).await.unwrap();
                db.append_delivery(&acme(), &inbox::delivery("1"), at(0))
                    .await
                    .unwrap();
                changes::executing(&db, "x", "s1").await;
                std::mem::forget(db);
            });
            runtime.shutdown_background();
        }
    })
    .join()
    .unwrap();
    let db = try_open(&path).await.unwrap();
    assert_eq!(db.inbox_depth(&acme()).await.unwrap().waiting, 1);
    let sent = db.executing_changes(&acme()).await.unwrap();
    assert_eq!(sent.len(), 1);
    let lines = db.audit_lines(&acme(), 0, 99).await.unwrap();
    roasd::domain::audit::verify(&lines).unwrap();
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn closing_leaves_one_whole_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    let db = try_open(&path).await.unwrap();
    db.ensure_tenant(&acme(), "Acme", at(0)).await.unwrap();
    db.close().await;
    assert!(!dir.path().join("roasd.db-wal").exists());
    let db = open_existing(path.to_str().unwrap()).await.unwrap();
    assert_eq!(db.tenants().await.unwrap(), [acme()]);
}

#[tokio::test]
async fn many_may_open_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    let tasks: Vec<_> = (0..24)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move { try_open(&path).await })
        })
        .collect();
    for task in tasks {
        let db = task.await.unwrap().unwrap();
        assert_eq!(
            db.store_status().await.unwrap().schema_version,
            newest_schema()
        );
    }
}

#[tokio::test]
async fn a_newer_schema_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    try_open(&path).await.unwrap().close().await;
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (99, 'later', 1, x'00', 0)",
    )
    .execute(&mut raw(&path).await)
    .await
    .unwrap();
    let error = try_open(&path).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::NewerSchema {
                found: 99,
                known
            } if known == newest_schema()
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_empty_file_is_brought_up_to_date_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    std::fs::write(&path, b"").unwrap();
    let unmigrated = OpenOptions {
        migrate: false,
        ..OpenOptions::default()
    };
    let refused = SqliteStore::open(path.to_str().unwrap(), unmigrated).await;
    assert_refused(refused.map(|s| Arc::new(s) as Db), "roasd migrate");
    try_open(&path).await.unwrap();
}

#[tokio::test]
async fn a_changed_migration_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    try_open(&path).await.unwrap().close().await;
    sqlx::query("update _sqlx_migrations set checksum = x'00'")
        .execute(&mut raw(&path).await)
        .await
        .unwrap();
    assert_refused(try_open(&path).await, "migration 1");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    let text = "this is not a database, it is a letter to a friend\n".repeat(40);
    std::fs::write(&path, &text).unwrap();
    assert_refused(try_open(&path).await, "not a database");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn another_programs_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.db");
    sqlx::query("create table songs (name text)")
        .execute(&mut raw(&path).await)
        .await
        .unwrap();
    assert_refused(try_open(&path).await, "another program");
}

#[tokio::test]
async fn a_truncated_file_does_not_open_as_empty() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    try_open(&path).await.unwrap().close().await;
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = try_open(&path).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[tokio::test]
async fn a_wrong_place_is_named() {
    let dir = tempfile::tempdir().unwrap();
    assert_refused(try_open(dir.path()).await, "directory");
    let nowhere = dir.path().join("no/such/roasd.db");
    assert_refused(try_open(&nowhere).await, "does not exist");
    let missing = dir.path().join("roasd.db");
    let opened = open_existing(missing.to_str().unwrap()).await;
    assert_refused(opened, "no such file");
    assert!(!missing.exists());
    assert_refused(open("mysql://u:secret@h/db").await, "postgres:");
    let error = open("mysql://u:secret@h/db").await.map(|_| ());
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test]
async fn a_held_lock_is_weather() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    let impatient = OpenOptions {
        busy_timeout: std::time::Duration::from_millis(20),
        ..OpenOptions::default()
    };
    let db = SqliteStore::open(path.to_str().unwrap(), impatient)
        .await
        .unwrap();
    let db: Db = Arc::new(db);
    let mut other = raw(&path).await;
    sqlx::query("begin immediate")
        .execute(&mut other)
        .await
        .unwrap();
    let append = db
        .append_delivery(&acme(), &inbox::delivery("1"), at(0))
        .await;
    for error in [
        append.map(|_| ()).unwrap_err(),
        db.ensure_tenant(&acme(), "x", at(0)).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }
    assert!(db.tenants().await.unwrap().is_empty(), "reading goes on");
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    db.ensure_tenant(&acme(), "x", at(0)).await.unwrap();
}

#[tokio::test]
async fn a_row_written_by_hand_is_corrupt_not_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    let db = try_open(&path).await.unwrap();
    db.propose(&proposal(&acme(), "x", "s1", 12_000), at(0))
        .await
        .unwrap();
    sqlx::query("update pending_ad_changes set currency = 'XXX'")
        .execute(&mut raw(&path).await)
        .await
        .unwrap();
    let error = db.change("x").await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn the_logs_can_only_be_added_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    let db = try_open(&path).await.unwrap();
    changes::executing(&db, "x", "s1").await;
    rest::decide(&db, &acme(), "r1", 1, &[("a", "kill")]).await;
    crm::record(&db, &[deal("d", "lead", 1)], 5).await;
    let entries = vec![revenue::entry("d", None, 100, 1)];
    db.settle_deal(&acme(), &revenue::settled("d", 1, entries), at(6))
        .await
        .unwrap();
    let mut other = raw(&path).await;
    for statement in [
        "update ad_change_history set detail = 'nothing happened'",
        "delete from ad_change_history",
        "update revenue_ledger set amount_minor = 1",
        "delete from revenue_ledger",
        "update decisions set action = 'hold'",
        "delete from decisions",
    ] {
        let error = sqlx::query(statement)
            .execute(&mut other)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("append-only"),
            "{statement}: {error}"
        );
    }
    // The schema itself refuses a second open change and a second end.
    let twice = "insert into pending_ad_changes (id, tenant, entity_type, entity_id, entity_name,
             campaign_id, change_type, currency, expected_minor, requested_minor, reason,
             decision_id, confidence, needs_approval, rank, earliest_execute_at, expires_at,
             proposed_at, status, note, updated_at)
         select 'copy', tenant, entity_type, entity_id, entity_name, campaign_id, change_type,
             currency, expected_minor, requested_minor, reason, decision_id, confidence,
             needs_approval, rank, earliest_execute_at, expires_at, proposed_at, 'pending', note,
             updated_at
         from pending_ad_changes";
    let error = sqlx::query(twice).execute(&mut other).await.unwrap_err();
    assert!(error.to_string().contains("UNIQUE"), "{error}");
}

#[tokio::test]
async fn an_attempt_is_logged_when_its_answer_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    let db = try_open(&path).await.unwrap();
    let log = async || {
        sqlx::query_as(revenue::ATTEMPTS)
            .fetch_all(&mut raw(&path).await)
            .await
            .unwrap()
    };
    revenue::an_attempt_is_logged_when_its_answer_changed(db, log).await;
}

/// Tables and views that reports rely on, by the names in the documentation.
pub(super) const TABLES: &[&str] = &[
    "inbox",
    "crm_events",
    "crm_deals",
    "crm_contacts",
    "crm_pipeline_stages",
    "deal_requests",
    "deal_merges",
    "sync_requests",
    "click_tracking",
    "meta_leads",
    "erasures",
    "conversion_tracking",
    "attribution_performance_log",
    "attribution_reliability",
    "reported_conversions",
    "reported_results",
    "synthetic_revenue_config",
    "revenue_ledger",
    "ad_entities",
    "ad_entity_history",
    "ad_insights",
    "decisions",
    "decision_runs",
    "pending_ad_changes",
    "ad_change_history",
    "winners",
    "brought_vectors",
    "model_registry",
    "model_history",
    "shadow_decisions",
    "job_execution_history",
    "sync_cursors",
    "api_tokens",
    "outbox",
    "gate_state",
    "tenant_state",
    "frozen_objects",
    "nodes",
    "tenant_leases",
];
pub(super) const VIEWS: &[&str] = &[
    "select * from v_recent_budget_changes",
    "select * from v_campaign_activity_summary",
    "select * from v_safety_check_failures",
    "select * from v_attribution_recovery_rate",
    "select * from v_active_clicks",
    "select * from v_unattributed_conversions",
    "select * from v_conversion_attribution_summary",
    "select * from v_job_queue_health",
    "select * from v_failed_jobs",
    "select * from v_rate_limit_status",
    "select * from v_stage_values",
];

#[tokio::test]
async fn every_table_is_there_and_every_view_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    let db = try_open(&path).await.unwrap();
    let mut conn = raw(&path).await;
    for table in TABLES {
        let found: i64 = sqlx::query_scalar(
            "select count(*) from sqlite_master where type = 'table' and name = $1",
        )
        .bind(table)
        .fetch_one(&mut conn)
        .await
        .unwrap();
        assert_eq!(found, 1, "{table}");
    }
    let loose: Vec<String> = sqlx::query_scalar(
        "select name from pragma_table_list
         where schema = 'main' and type = 'table' and strict = 0
           and name not like 'sqlite_%' and name not like '_sqlx%'",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(loose.is_empty(), "not strict: {loose:?}");
    for view in VIEWS {
        sqlx::query(*view).fetch_all(&mut conn).await.unwrap();
    }
    drop(db);
}

#[tokio::test]
async fn views_show_money_and_time_as_people_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    let db = try_open(&path).await.unwrap();
    let yen = |minor| Target::DailyBudget(Money::from_minor(minor, Currency::JPY));
    for (id, set, before, after) in [
        ("usd", "s1", budget(10_050), budget(12_000)),
        ("jpy", "s2", yen(10_050), yen(12_000)),
    ] {
        let change = ProposedChange {
            expected: before,
            requested: after,
            ..proposal(&acme(), id, set, 0)
        };
        db.propose(&change, at(0)).await.unwrap();
        db.claim_change(&acme(), at(1), at(60)).await.unwrap();
        let id = change_id(id);
        db.mark_executing(&acme(), &id, 1, before, after, at(2))
            .await
            .unwrap();
        let done = roasd::store::changes::Settlement::Completed {
            before,
            after,
            was_sent: true,
            vendor_request: None,
            clipped_by: None,
        };
        db.settle_change(&acme(), &id, 1, &done, at(3))
            .await
            .unwrap();
    }
    let rows: Vec<(String, f64, f64, String)> = sqlx::query_as(
        "select changed_at, budget_before, budget_after, currency from v_recent_budget_changes
         order by currency desc",
    )
    .fetch_all(&mut raw(&path).await)
    .await
    .unwrap();
    let time = "2026-09-21T14:13:23Z".to_owned();
    assert_eq!(
        rows,
        [
            (time.clone(), 100.5, 120.0, "USD".to_owned()),
            (time, 10_050.0, 12_000.0, "JPY".to_owned()),
        ]
    );
}

#[tokio::test]
async fn currencies_are_those_of_the_domain() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    try_open(&path).await.unwrap();
    let mut kept: Vec<(String, i64)> = sqlx::query_as("select code, minor_offset from currencies")
        .fetch_all(&mut raw(&path).await)
        .await
        .unwrap();
    let mut known: Vec<_> = Currency::all()
        .map(|currency| (currency.code().to_owned(), currency.offset()))
        .collect();
    kept.sort();
    known.sort();
    assert_eq!(kept, known);
}
