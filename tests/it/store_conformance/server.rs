//! What can be wrong with a server, and what lies on it.

use super::*;
use crate::support::newest_schema;
use roasd::domain::ids::NodeId;
use roasd::domain::time::SignedDuration;
use roasd::store::nodes::NodeInfo;
use roasd::store::nudges::Nudge;
use roasd::store::postgres::OpenOptions as PostgresOptions;
use roasd::store::{open, open_existing};
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use std::time::Duration;

async fn exec(conn: &mut PgConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(conn).await.unwrap();
}

async fn store(database: &Database, options: PostgresOptions) -> Db {
    // Some of these options have no patience, and a busy machine may be late.
    for _ in 0..9 {
        if let Ok(store) = PostgresStore::open(database.url(), options.clone()).await {
            return Arc::new(store);
        }
    }
    let store = PostgresStore::open(database.url(), options).await.unwrap();
    Arc::new(store)
}

fn impatient() -> PostgresOptions {
    PostgresOptions {
        lock_timeout: Duration::from_millis(50),
        statement_timeout: Duration::from_millis(500),
        acquire_timeout: Duration::from_millis(300),
        ..PostgresOptions::default()
    }
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

#[track_caller]
fn assert_weather<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::Unavailable { .. })),
        "{result:?}"
    );
}

/// The connections of every store on the database, ended as an operator would end them.
async fn terminate(conn: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .fetch_one(conn)
    .await
    .unwrap()
}

#[tokio::test]
async fn an_attempt_is_logged_when_its_answer_changed() {
    let database = Database::migrated().await;
    let db = store(&database, PostgresOptions::default()).await;
    let log = async || {
        sqlx::query_as(revenue::ATTEMPTS)
            .fetch_all(&mut database.raw().await)
            .await
            .unwrap()
    };
    revenue::an_attempt_is_logged_when_its_answer_changed(db, log).await;
}

#[tokio::test]
async fn what_was_acknowledged_outlives_the_process() {
    let database = Database::migrated().await;
    // A runtime that is torn down in the middle stands for a killed process: nothing is closed.
    std::thread::spawn({
        let url = database.url().to_owned();
        move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let db = open(&url).await.unwrap();
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
    let db = open(database.url()).await.unwrap();
    assert_eq!(db.inbox_depth(&acme()).await.unwrap().waiting, 1);
    assert_eq!(db.executing_changes(&acme()).await.unwrap().len(), 1);
    let lines = db.audit_lines(&acme(), 0, 99).await.unwrap();
    roasd::domain::audit::verify(&lines).unwrap();
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn many_may_open_and_migrate_at_once() {
    let database = Database::empty().await;
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let url = database.url().to_owned();
            tokio::spawn(async move { open(&url).await })
        })
        .collect();
    for task in tasks {
        let db = task.await.unwrap().unwrap();
        let status = db.store_status().await.unwrap();
        assert_eq!(
            (status.schema_version, status.backend),
            (newest_schema(), "postgres")
        );
    }
}

/// What a release adds are tables, and columns that have a default; what it drops, the release before
/// did not use. So a node that runs goes on when one of the next release has migrated, with all
/// the statements that its connections have prepared.
#[tokio::test]
async fn a_node_goes_on_after_a_later_release_has_migrated() {
    let (db, database) = on_postgres().await;
    isolation::nothing_of_one_tenant_is_read_for_another(db.clone()).await;
    let mut conn = database.raw().await;
    exec(
        &mut conn,
        "do $$ declare place text; begin
             for place in select tablename from pg_tables where schemaname = 'public' loop
                 execute format(
                     'alter table %I add column of_a_later_release bigint not null default 7', place);
             end loop;
         end $$;
         create table of_a_later_release (id bigint primary key);
         insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (99, 'later', true, ''::bytea, 0)",
    )
    .await;
    // The promise is about tenants that nothing is known of yet.
    exec(
        &mut conn,
        "set session_replication_role = replica;
         do $$ declare place text; begin
             for place in select tablename from pg_tables where schemaname = 'public'
                 and tablename not in ('_sqlx_migrations', 'daemon_state') loop
                 execute format('truncate %I cascade', place);
             end loop;
         end $$",
    )
    .await;
    isolation::nothing_of_one_tenant_is_read_for_another(db.clone()).await;
    let lines = db.audit_lines(&acme(), 0, 99).await.unwrap();
    roasd::domain::audit::verify(&lines).unwrap();
    assert!(!lines.is_empty());
    assert_eq!(db.store_status().await.unwrap().schema_version, 99);
}

#[tokio::test]
async fn a_newer_schema_is_named() {
    let database = Database::migrated().await;
    exec(
        &mut database.raw().await,
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (99, 'later', true, ''::bytea, 0)",
    )
    .await;
    let error = open(database.url()).await.map(|_| ()).unwrap_err();
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
async fn an_empty_database_is_brought_up_to_date_or_named() {
    let database = Database::empty().await;
    assert_refused(open_existing(database.url()).await, "roasd migrate");
    let unmigrated = PostgresOptions {
        migrate: false,
        ..PostgresOptions::default()
    };
    let refused = PostgresStore::open(database.url(), unmigrated).await;
    assert_refused(refused.map(|s| Arc::new(s) as Db), "roasd migrate");
    let tables: i64 =
        sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
            .fetch_one(&mut database.raw().await)
            .await
            .unwrap();
    assert_eq!(tables, 0, "nothing was made");
    open(database.url()).await.unwrap();
    open_existing(database.url()).await.unwrap();
}

#[tokio::test]
async fn a_changed_migration_is_named() {
    let database = Database::migrated().await;
    exec(
        &mut database.raw().await,
        "update _sqlx_migrations set checksum = '\\x00'",
    )
    .await;
    assert_refused(open(database.url()).await, "migration 1");
}

#[tokio::test]
async fn another_programs_database_is_left_alone() {
    let database = Database::empty().await;
    let mut raw = database.raw().await;
    exec(&mut raw, "create table songs (name text)").await;
    assert_refused(open(database.url()).await, "another program");
    // Beside it there is room.
    exec(&mut raw, "create schema roasd").await;
    let own = format!("{}?options=-c%20search_path=roasd", database.url());
    let db = open(&own).await.unwrap();
    db.ensure_tenant(&acme(), "Acme", at(0)).await.unwrap();
    let found: i64 = sqlx::query_scalar("select count(*) from roasd.tenant_state")
        .fetch_one(&mut raw)
        .await
        .unwrap();
    assert_eq!(found, 1);
}

#[tokio::test]
async fn a_wrong_place_is_named_and_the_password_is_not() {
    let database = Database::migrated().await;
    let with = |change: &dyn Fn(&mut url::Url)| {
        let mut url: url::Url = database.url().parse().unwrap();
        url.set_password(Some("hunter2")).unwrap();
        change(&mut url);
        String::from(url)
    };
    let right: url::Url = database.url().parse().unwrap();
    let password = right.password().unwrap().to_owned();
    let wrong_password = with(&|_| {});
    let no_database = with(&|url| {
        url.set_password(Some(&password)).unwrap();
        url.set_path("nowhere");
    });
    let no_server = with(&|url| url.set_port(Some(1)).unwrap());
    let no_tls = with(&|url| {
        url.set_password(Some(&password)).unwrap();
        url.set_query(Some("sslmode=require"));
    });
    assert_refused(open(&wrong_password).await, "password");
    assert_refused(open(&no_database).await, "createdb");
    assert_refused(open(&no_tls).await, "TLS");
    assert_weather(open(&no_server).await.map(|_| ()));
    for url in [wrong_password, no_database, no_server, no_tls] {
        let error = open(&url).await.map(|_| ()).unwrap_err();
        let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains(&password), "{shown}");
    }
    let db = open(database.url()).await.unwrap();
    let status = db.store_status().await.unwrap();
    assert!(status.place.contains(database.name()), "{}", status.place);
    assert!(!status.place.contains(&password), "{}", status.place);
}

#[tokio::test]
async fn connections_are_set_up_as_they_must_be() {
    let database = Database::migrated().await;
    let db = open(database.url()).await.unwrap();
    db.tenants().await.unwrap();
    let name: String = sqlx::query_scalar(
        "select application_name from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .fetch_one(&mut database.raw().await)
    .await
    .unwrap();
    assert_eq!(name, concat!("roasd ", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_held_lock_is_weather() {
    let database = Database::migrated().await;
    let db = store(&database, impatient()).await;
    let mut other = database.raw().await;
    exec(
        &mut other,
        "begin; lock table inbox, tenant_state in share mode",
    )
    .await;
    assert_weather(
        db.append_delivery(&acme(), &inbox::delivery("1"), at(0))
            .await,
    );
    assert_weather(db.ensure_tenant(&acme(), "x", at(0)).await);
    assert!(db.tenants().await.unwrap().is_empty(), "reading goes on");
    exec(&mut other, "rollback").await;
    db.ensure_tenant(&acme(), "x", at(0)).await.unwrap();
}

#[tokio::test]
async fn a_slow_statement_is_weather() {
    let database = Database::migrated().await;
    let options = PostgresOptions {
        lock_timeout: Duration::from_secs(60),
        ..impatient()
    };
    let db = store(&database, options).await;
    let mut other = database.raw().await;
    exec(
        &mut other,
        "begin; lock table tenant_state in access exclusive mode",
    )
    .await;
    assert_weather(db.tenants().await);
    exec(&mut other, "rollback").await;
    assert!(db.tenants().await.unwrap().is_empty());
}

#[tokio::test]
async fn no_free_connection_is_weather() {
    let database = Database::migrated().await;
    let options = PostgresOptions {
        connections: 1,
        lock_timeout: Duration::from_secs(60),
        statement_timeout: Duration::from_secs(60),
        ..impatient()
    };
    let db = store(&database, options).await;
    let mut other = database.raw().await;
    exec(
        &mut other,
        "begin; lock table tenant_state in access exclusive mode",
    )
    .await;
    let waits = tokio::spawn({
        let db = db.clone();
        async move { db.tenants().await }
    });
    while db.models().await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_weather(db.models().await);
    exec(&mut other, "rollback").await;
    assert!(waits.await.unwrap().unwrap().is_empty());
    assert!(db.models().await.unwrap().is_empty());
}

#[tokio::test]
async fn broken_connections_are_weather_and_heal() {
    let database = Database::migrated().await;
    let db = store(&database, PostgresOptions::default()).await;
    db.ensure_tenant(&acme(), "Acme", at(0)).await.unwrap();
    let mut other = database.raw().await;
    exec(&mut other, "begin; lock table tenant_state in share mode").await;
    let cut_off = tokio::spawn({
        let db = db.clone();
        async move { db.ensure_tenant(&globex(), "Globex", at(0)).await }
    });
    let waiting = "select exists (select 1 from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock')";
    while !sqlx::query_scalar::<_, bool>(waiting)
        .fetch_one(&mut other)
        .await
        .unwrap()
    {
        tokio::task::yield_now().await;
    }
    assert!(terminate(&mut other).await >= 1);
    assert_weather(cut_off.await.unwrap());
    exec(&mut other, "rollback").await;
    // Idle connections that were ended are found out before use, but for one that was used within
    // the last second: that one may fail once.
    for _ in 0..3 {
        terminate(&mut other).await;
        let _ = db.tenants().await;
        assert_eq!(db.tenants().await.unwrap(), [acme()]);
        db.append_delivery(&acme(), &inbox::delivery("1"), at(0))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_read_only_server_is_weather_and_heals() {
    let database = Database::migrated().await;
    let db = open(database.url()).await.unwrap();
    db.ensure_tenant(&acme(), "Acme", at(0)).await.unwrap();
    let mut other = database.raw().await;
    let name = database.name();
    database
        .on_server(&format!(
            "alter database {name} set default_transaction_read_only = on"
        ))
        .await;
    terminate(&mut other).await;
    let _ = db.tenants().await;
    assert_weather(db.ensure_tenant(&globex(), "x", at(0)).await);
    assert_weather(
        db.append_delivery(&acme(), &inbox::delivery("1"), at(0))
            .await,
    );
    assert_eq!(db.tenants().await.unwrap(), [acme()], "reading goes on");
    database
        .on_server(&format!(
            "alter database {name} reset default_transaction_read_only"
        ))
        .await;
    terminate(&mut other).await;
    let _ = db.tenants().await;
    db.ensure_tenant(&globex(), "x", at(0)).await.unwrap();
}

#[tokio::test]
async fn a_bad_append_fails_alone() {
    let database = Database::migrated().await;
    let db = open(database.url()).await.unwrap();
    // Longer than any key of an index may be, and not to be compressed.
    let endless: String = (0..20_000_u32)
        .map(|n| {
            char::from(b'a' + u8::try_from((n.wrapping_mul(2_654_435_761) >> 13) % 26).unwrap())
        })
        .collect();
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let key = if n == 7 {
                endless.clone()
            } else {
                n.to_string()
            };
            let db = db.clone();
            tokio::spawn(async move {
                db.append_delivery(&acme(), &inbox::delivery(&key), at(0))
                    .await
            })
        })
        .collect();
    for (n, task) in tasks.into_iter().enumerate() {
        let kept = task.await.unwrap();
        if n == 7 {
            assert!(matches!(kept, Err(StoreError::Broken { .. })), "{kept:?}");
        } else {
            kept.unwrap();
        }
    }
    assert_eq!(db.inbox_depth(&acme()).await.unwrap().waiting, 19);
}

/// Two nodes do everything at once for one tenant: nobody waits in a circle, nothing is refused by
/// the schema, and the audit log stays one chain.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_waits_in_a_circle() {
    let database = Database::migrated().await;
    let nodes = [
        open(database.url()).await.unwrap(),
        open(database.url()).await.unwrap(),
    ];
    let mut tasks = Vec::new();
    for task in 0..6 {
        let db = nodes[task % 2].clone();
        tasks.push(tokio::spawn(async move {
            for n in 0..12 {
                busy(&db, task, n).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let lines = nodes[0].audit_lines(&acme(), 0, 99_999).await.unwrap();
    roasd::domain::audit::verify(&lines).unwrap();
    assert!(lines.len() > 50);
}

/// A little of everything. That somebody else was first is no fault.
async fn busy(db: &Db, task: usize, n: i64) {
    fn fine<T>(result: Result<T, StoreError>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(StoreError::WrongCount { .. }) => None,
            Err(other) => panic!("{other:?}"),
        }
    }
    let a = acme();
    let held = roasd::store::tenants::Held {
        by: "cli".to_owned(),
        reason: "x".to_owned(),
        since: at(n),
    };
    let id = format!("{task}-{n}");
    for set in ["s1", "s2"] {
        let change = format!("{id}-{set}");
        fine(
            db.propose(&proposal(&a, &change, set, 11_000 + n), at(n))
                .await,
        );
    }
    if let Some(claimed) = fine(db.claim_change(&a, at(n), at(n + 9)).await).flatten() {
        let change = claimed.change.proposed.id;
        let attempt = claimed.change.attempt;
        let (from, to) = (budget(10_000), budget(11_000));
        let sent = db.mark_executing(&a, &change, attempt, from, to, at(n));
        if fine(sent.await).is_some() {
            let done = changes::completed();
            fine(db.settle_change(&a, &change, attempt, &done, at(n)).await);
        }
    }
    fine(
        db.record_structure(&a, &entities::structure(10_000 + n), at(n))
            .await,
    );
    let mut deals: Vec<Deal> = ["d1", "d2", "d3", "d4"]
        .map(|id| deal(id, &format!("stage-{n}"), n))
        .to_vec();
    let mut wanted: Vec<DealId> = deals.iter().map(|deal| deal.id.clone()).collect();
    if task % 2 == 1 {
        deals.reverse();
        wanted.reverse();
    }
    fine(db.request_deals(&a, &wanted, at(n)).await);
    fine(db.record_deals(&a, &deals, &wanted[..1], at(n)).await);
    let contacts = [
        crm::contact("contact-d1", &id),
        crm::contact("contact-d2", &id),
    ];
    fine(db.record_contacts(&a, &contacts, at(n)).await);
    for due in fine(db.unsettled_deals(&a, at(n), 9).await).unwrap() {
        let name = due.deal.id.as_str();
        let entries = vec![revenue::entry(name, Some("a1"), 100, n)];
        let settled = revenue::settled(name, due.revision, entries);
        fine(db.settle_deal(&a, &settled, at(n)).await);
    }
    let rows = [insights::daily("a1", 0, n), insights::daily("a2", 0, n)];
    let day = insights::day(0);
    fine(db.record_insights(&a, &rows, day, day, false, at(n)).await);
    for key in [n, n + 1, n + 2] {
        let delivery = inbox::delivery(&key.to_string());
        fine(db.append_delivery(&a, &delivery, at(n)).await);
    }
    for row in fine(db.claim_deliveries(&a, at(n), at(n + 9), 3).await).unwrap() {
        let outcome = roasd::store::inbox::DeliveryOutcome {
            wanted: wanted.clone(),
            poison: Vec::new(),
            is_personal: false,
        };
        fine(
            db.settle_delivery(&a, row.id, row.attempt, &outcome, at(n))
                .await,
        );
    }
    match n % 4 {
        0 => drop(fine(db.pause(Some(&a), &held).await)),
        1 => drop(fine(db.pause(None, &held).await)),
        2 => drop(fine(db.resume(None, "cli", at(n)).await)),
        _ => drop(fine(db.resume(Some(&a), "cli", at(n)).await)),
    }
    fine(db.expire_changes(&a, at(n)).await);
}

#[tokio::test]
async fn a_holder_prolongs_while_it_writes_and_nobody_takes_over() {
    let database = Database::migrated().await;
    let db = open(database.url()).await.unwrap();
    let fence = nodes::claim(&db, "a", SignedDuration::ZERO).await.unwrap();
    let mut writer = database.raw().await;
    exec(
        &mut writer,
        "begin; select 1 from tenant_leases where tenant = 'acme' for key share",
    )
    .await;
    let held = std::slice::from_ref(&fence);
    let kept = db.renew_leases(held, SignedDuration::ZERO, at(0)).await;
    assert_eq!(kept.unwrap().len(), 1, "without waiting");
    let hour = SignedDuration::from_hours(1);
    assert_eq!(nodes::claim(&db, "b", hour).await, None);
    exec(&mut writer, "commit").await;
    assert!(nodes::claim(&db, "b", hour).await.is_some());
}

#[tokio::test]
async fn a_node_long_silent_is_forgotten() {
    let database = Database::migrated().await;
    let db = open(database.url()).await.unwrap();
    let info = |id: &str| NodeInfo {
        id: NodeId::new(id).unwrap(),
        host: "h".to_owned(),
        version: "1".to_owned(),
    };
    db.register_node(&info("old"), at(0)).await.unwrap();
    exec(
        &mut database.raw().await,
        "update nodes set heartbeat_at = heartbeat_at - 86400000000",
    )
    .await;
    let seen = db.nodes(at(0)).await.unwrap().remove(0);
    assert!(seen.silent_for >= SignedDuration::from_hours(24));
    db.register_node(&info("new"), at(0)).await.unwrap();
    let nodes = db.nodes(at(0)).await.unwrap();
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0].node, info("new"));
}

#[tokio::test]
async fn a_nudge_crosses_nodes_and_a_listener_comes_back() {
    let database = Database::migrated().await;
    let here = open(database.url()).await.unwrap();
    let there = open(database.url()).await.unwrap();
    let mut heard = there.nudges();
    assert_eq!(heard.next().await, Some(Nudge::Any));
    here.nudge(&acme());
    assert_eq!(heard.next().await, Some(Nudge::Tenant(acme())));
    terminate(&mut database.raw().await).await;
    assert_eq!(
        heard.next().await,
        Some(Nudge::Any),
        "it may have missed one"
    );
    let _ = here.tenants().await;
    here.nudge(&globex());
    assert_eq!(heard.next().await, Some(Nudge::Tenant(globex())));
}

#[tokio::test]
async fn a_row_written_by_hand_is_corrupt_not_a_panic() {
    let database = Database::migrated().await;
    let db = open(database.url()).await.unwrap();
    db.propose(&proposal(&acme(), "x", "s1", 12_000), at(0))
        .await
        .unwrap();
    exec(
        &mut database.raw().await,
        "update pending_ad_changes set currency = 'XXX'",
    )
    .await;
    let error = db.change("x").await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn the_logs_can_only_be_added_to() {
    let database = Database::migrated().await;
    let db = open(database.url()).await.unwrap();
    changes::executing(&db, "x", "s1").await;
    rest::decide(&db, &acme(), "r1", 1, &[("a", "kill")]).await;
    crm::record(&db, &[deal("d", "lead", 1)], 5).await;
    let entries = vec![revenue::entry("d", None, 100, 1)];
    db.settle_deal(&acme(), &revenue::settled("d", 1, entries), at(6))
        .await
        .unwrap();
    let mut other = database.raw().await;
    for statement in [
        "update ad_change_history set detail = 'nothing happened'",
        "delete from ad_change_history",
        "truncate ad_change_history",
        "update revenue_ledger set amount_minor = 1",
        "delete from revenue_ledger",
        "truncate revenue_ledger",
        "update decisions set action = 'hold'",
        "delete from decisions",
        "truncate decisions",
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
    // The schema itself refuses a second open change.
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
    assert!(error.to_string().contains("one_open"), "{error}");
}

/// The columns of every table and view, in their order.
async fn columns(raw: &mut PgConnection) -> Vec<(String, String, String)> {
    sqlx::query_as(
        "select table_name::text, column_name::text, data_type::text
         from information_schema.columns
         where table_schema = 'public' and table_name <> '_sqlx_migrations'
         order by table_name::text collate \"C\", ordinal_position",
    )
    .fetch_all(raw)
    .await
    .unwrap()
}

#[tokio::test]
async fn tables_and_views_are_those_of_sqlite() {
    let database = Database::migrated().await;
    let found = columns(&mut database.raw().await).await;
    for name in files::TABLES {
        assert!(found.iter().any(|(table, ..)| table == name), "{name}");
    }
    let (_sqlite, dir) = on_sqlite().await;
    let mut file = {
        use sqlx::ConnectOptions as _;
        sqlx::sqlite::SqliteConnectOptions::new()
            .filename(dir.path().join("roasd.db"))
            .connect()
            .await
            .unwrap()
    };
    let wanted: Vec<(String, String)> = sqlx::query_as(
        "select m.name, c.name from sqlite_master m join pragma_table_info(m.name) c
         where m.type in ('table', 'view') and m.name not like 'sqlite_%'
           and m.name not like '_sqlx%'
         order by m.name, c.cid",
    )
    .fetch_all(&mut file)
    .await
    .unwrap();
    let names: Vec<_> = found
        .iter()
        .map(|(table, column, _)| (table.clone(), column.clone()))
        .collect();
    assert_eq!(names, wanted);
}

#[tokio::test]
async fn tables_have_four_kinds_of_column_and_views_those_of_reports() {
    let database = Database::migrated().await;
    let mut raw = database.raw().await;
    for (table, column, kind) in columns(&mut raw).await {
        let view = table.starts_with("v_");
        let allowed: &[&str] = if view {
            &[
                "bigint",
                "boolean",
                "date",
                "numeric",
                "text",
                "timestamp with time zone",
            ]
        } else {
            &["bigint", "bytea", "double precision", "text"]
        };
        let place = format!("{table}.{column} is {kind}");
        assert!(allowed.contains(&kind.as_str()), "{place}");
        if view && (column == "at" || column.ends_with("_at") || column.ends_with("_until")) {
            assert_eq!(kind, "timestamp with time zone", "{place}");
        }
        if view && (column.contains("budget_") || column == "value" || column.ends_with("percent"))
        {
            assert_eq!(kind, "numeric", "{place}");
        }
    }
    for view in files::VIEWS {
        sqlx::query(*view).fetch_all(&mut raw).await.unwrap();
    }
}

#[tokio::test]
async fn views_show_money_and_time_as_people_read_them() {
    let database = Database::migrated().await;
    let db = open(database.url()).await.unwrap();
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
    let rows = sqlx::query(
        "select to_char(changed_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as at,
             budget_before::text, budget_after::text, change_percent::text, currency
         from v_recent_budget_changes order by currency desc",
    )
    .fetch_all(&mut database.raw().await)
    .await
    .unwrap();
    let shown: Vec<Vec<String>> = rows
        .iter()
        .map(|row| (0..5).map(|column| row.get(column)).collect())
        .collect();
    let time = "2026-09-21T14:13:23Z";
    assert_eq!(
        shown,
        [
            [time, "100.50", "120.00", "19.4", "USD"],
            [time, "10050.00", "12000.00", "19.4", "JPY"],
        ]
    );
}

#[tokio::test]
async fn currencies_are_those_of_the_domain() {
    let database = Database::migrated().await;
    let mut kept: Vec<(String, i64)> = sqlx::query_as("select code, minor_offset from currencies")
        .fetch_all(&mut database.raw().await)
        .await
        .unwrap();
    let mut known: Vec<_> = Currency::all()
        .map(|currency| (currency.code().to_owned(), currency.offset()))
        .collect();
    kept.sort();
    known.sort();
    assert_eq!(kept, known);
}
