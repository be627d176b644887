//! What goes wrong in the middle, and what must not be done at all.

use roasd::store::copy::{CopyError, Move};
use roasd::store::{StoreError, open};
use sqlx::postgres::PgConnection;

use super::*;

async fn exec(conn: &mut PgConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(conn).await.unwrap();
}

async fn count(conn: &mut PgConnection, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(conn).await.unwrap()
}

/// Copies everything, and ends without the last step as a process that was killed would.
async fn unfinished(file: &File, target: &Database) {
    let url = format!("sqlite:{}", file.path().display());
    let mut moving = Move::open(&url, target.url(), true, &mut |_| {})
        .await
        .unwrap();
    moving.copy(&mut |_| {}).await.unwrap();
    moving.close().await;
}

#[tokio::test]
async fn a_kill_in_the_middle_costs_only_time() {
    let file = File::full().await;
    // One batch and a half.
    sqlx::raw_sql(
        "insert into inbox (tenant, source, body, received_at, status)
         with recursive up (i) as (select 1 union all select i + 1 from up where i < 90)
         select 'acme', 'hubspot', randomblob(65536), i, 'waiting' from up",
    )
    .execute(&mut file.raw().await)
    .await
    .unwrap();
    let target = Database::migrated().await;
    let mut gate = target.raw().await;
    exec(&mut gate, "select pg_advisory_lock(77)").await;
    exec(
        &mut gate,
        "create function wait() returns trigger language plpgsql as $$
         begin perform pg_advisory_xact_lock(77); return new; end $$;
         create trigger wait before insert on inbox for each row when (new.id = 115)
             execute function wait();",
    )
    .await;
    let mut killed = moving(&file.path(), target.url(), &[]).spawn().unwrap();
    let mut look = target.raw().await;
    let waiting = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
         where d.datname = current_database() and l.locktype = 'advisory' and not l.granted";
    while count(&mut look, waiting).await == 0 {
        assert!(
            killed.try_wait().unwrap().is_none(),
            "it ended before it was killed"
        );
    }
    killed.kill().unwrap(); // SIGKILL
    killed.wait().unwrap();
    let there = count(&mut look, "select count(*) from inbox").await;
    assert!(there > 0 && there < 115, "{there}");
    // What the server still had of it ends before the table is to be had again.
    exec(&mut gate, "select pg_advisory_unlock(77)").await;
    exec(
        &mut gate,
        "drop trigger wait on inbox; drop function wait()",
    )
    .await;

    // Nobody takes a part for the whole.
    let error = open(target.url()).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("roasd move"), "{error}");
    // Nor may another file go on with it.
    let (code, _, complaint) = run(&File::full().await.path(), target.url(), &[]);
    assert_eq!(code, 1);
    assert!(complaint.contains("other content"), "{complaint}");

    let (code, report, complaint) = run(&file.path(), target.url(), &[]);
    assert_eq!(code, 0, "{complaint} {report:#}");
    assert_eq!(report["is_resumed"], true);
    let (copied, rows) = (&report["copied"], &report["rows"]);
    assert!(copied.as_u64() > Some(0) && copied.as_u64() < rows.as_u64());
    assert_eq!(each(&report, "checksum"), each(&report, "target_checksum"));
    // The same as what goes over without a stop.
    let other = Database::empty().await;
    let (code, whole, _) = run(&file.path(), other.url(), &[]);
    assert_eq!(code, 0);
    assert_eq!(
        each(&report, "target_checksum"),
        each(&whole, "target_checksum")
    );
    open(target.url()).await.unwrap().close().await;
}

#[tokio::test]
async fn a_tampered_row_is_found_and_named() {
    let file = File::full().await;
    let target = Database::empty().await;
    unfinished(&file, &target).await;
    let mut conn = target.raw().await;
    exec(
        &mut conn,
        "update crm_deals set confidence = confidence + 1e-15 where id = 'deal-7';
         delete from gate_state where scope = 'scope-3'",
    )
    .await;
    let (code, report, _) = run(&file.path(), target.url(), &[]);
    assert_eq!(code, 1);
    let differing: Vec<_> = each(&report, "first_difference")
        .into_iter()
        .filter(|(_, first)| !first.is_null())
        .collect();
    assert_eq!(
        differing,
        [
            ("crm_deals", &Value::from("tenant=acme id=deal-7")),
            // Only what comes after the greatest key is copied again.
            ("gate_state", &Value::from("scope=scope-3")),
        ]
    );
    assert_eq!(
        (&report["ok"], &report["is_finished"]),
        (&false.into(), &false.into())
    );
    assert!(open(target.url()).await.is_err());
}

#[tokio::test]
async fn a_database_in_use_is_left_alone() {
    let file = File::full().await;
    let target = Database::empty().await;
    let store = open(target.url()).await.unwrap();
    let tenant = TenantId::new("there").unwrap();
    store
        .ensure_tenant(&tenant, "There", time::from_seconds(1))
        .await
        .unwrap();
    store.close().await;
    let (code, _, complaint) = run(&file.path(), target.url(), &[]);
    assert_eq!(code, 1);
    assert!(complaint.contains("not empty (tenant_state"), "{complaint}");
    let (code, report, _) = run(&file.path(), target.url(), &["--check"]);
    assert_eq!((code, &report["ok"]), (1, &false.into()));
    let mut conn = target.raw().await;
    assert_eq!(
        count(&mut conn, "select count(*) from tenant_state").await,
        1
    );
    assert_eq!(count(&mut conn, "select count(*) from inbox").await, 0);
}

#[tokio::test]
async fn a_daemon_keeps_its_file_to_itself() {
    let file = File::full().await;
    let target = Database::empty().await;
    let lock = std::fs::File::create(file.dir.path().join("roasd.db.lock")).unwrap();
    lock.try_lock().unwrap();
    let (code, _, complaint) = run(&file.path(), target.url(), &[]);
    assert_eq!(code, 1);
    assert!(complaint.contains("systemctl stop roasd"), "{complaint}");
    drop(lock);
    assert_eq!(run(&file.path(), target.url(), &["--check"]).0, 0);
}

#[tokio::test]
async fn what_is_written_meanwhile_is_not_lost_in_silence() {
    let file = File::full().await;
    let target = Database::empty().await;
    let url = format!("sqlite:{}", file.path().display());
    let mut moving = Move::open(&url, target.url(), true, &mut |_| {})
        .await
        .unwrap();
    moving.copy(&mut |_| {}).await.unwrap();
    sqlx::query("update daemon_state set paused_reason = 'just now'")
        .execute(&mut file.raw().await)
        .await
        .unwrap();
    // The copy is of one instant whatever is written.
    let compared = moving.compare(&mut |_| {}).await.unwrap();
    assert!(compared.iter().all(|table| table.is_same()));
    let error = moving.finish().await.unwrap_err();
    assert!(matches!(error, CopyError::SourceMoved { .. }), "{error}");
    let (code, _, complaint) = run(&file.path(), target.url(), &[]);
    assert_eq!(code, 1);
    assert!(complaint.contains("may have changed since"), "{complaint}");
}

#[tokio::test]
async fn what_postgres_cannot_hold_is_named() {
    let file = File::full().await;
    let target = Database::empty().await;
    sqlx::query("update crm_contacts set first_url = 'a' || char(0) where id = 'c7'")
        .execute(&mut file.raw().await)
        .await
        .unwrap();
    let (code, _, complaint) = run(&file.path(), target.url(), &[]);
    assert_eq!(code, 1);
    for words in ["tenant=acme id=c7", "crm_contacts", "first_url", "NUL"] {
        assert!(complaint.contains(words), "{complaint}");
    }
}

#[tokio::test]
async fn what_is_no_source_or_no_target_is_told() {
    let file = File::empty().await;
    let target = Database::empty().await;
    let (code, _, complaint) = run(&file.path(), "mysql://h/d", &[]);
    assert_eq!(code, 2);
    assert!(complaint.contains("postgres://USER"), "{complaint}");
    let (code, _, complaint) = run(&file.dir.path().join("none.db"), target.url(), &[]);
    assert_eq!(code, 2);
    assert!(complaint.contains("there is no database"), "{complaint}");
    // An older file is brought up to date by whoever may write to it.
    sqlx::query("delete from _sqlx_migrations where version = 3")
        .execute(&mut file.raw().await)
        .await
        .unwrap();
    let url = format!("sqlite:{}", file.path().display());
    let error = Move::open(&url, target.url(), true, &mut |_| {})
        .await
        .unwrap_err();
    let CopyError::Store(StoreError::CannotOpen { detail, .. }) = error else {
        panic!("{error}");
    };
    assert!(detail.contains("roasd migrate"), "{detail}");
}
