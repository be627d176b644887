//! The real binary and the real daemon against the sandbox: the same seed gives the same month, a
//! kill loses nothing and doubles nothing, and one tenant's trouble stays its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use roasd::clock::{Clock, SteppedClock};
use roasd::config::{Config, Environment};
use roasd::daemon::Daemon;
use roasd::domain::audit;
use roasd::domain::ids::TenantId;
use roasd::domain::time;
use roasd::sandbox::{DeliverTo, Fault, FaultAction, Journal, Sandbox, SandboxConfig, Vendor};
use roasd::store::open;

const TENANTS: [&str; 3] = ["gym", "shop", "clinic"];

fn demo(dir: &Path, days: u32) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roasd"));
    command.args([
        "demo",
        "--json",
        "--seed",
        "7",
        "--days",
        &days.to_string(),
        "--dir",
    ]);
    command
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn writes_of_roasd(dir: &Path) -> Vec<roasd::sandbox::journal::AcceptedWrite> {
    Journal::accepted_writes(&Journal::path(dir)).unwrap_or_default()
}

/// Ends the child if the test ends first.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_same_seed_gives_the_same_result() {
    let run = || {
        let dir = tempfile::tempdir().unwrap();
        let done = demo(dir.path(), 2).output().unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8(done.stdout).unwrap()
    };
    let (first, second) = (run(), run());
    assert!(first.contains("\"executed\""), "{first}");
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_kill_loses_nothing_and_nothing_happens_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut killed = Reaped(demo(dir.path(), 3).spawn().unwrap());
    // In the middle of the work: some changes are made, some are not.
    for _ in 0..6_000 {
        if writes_of_roasd(dir.path()).len() >= 5 || killed.0.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(
        killed.0.try_wait().unwrap().is_none(),
        "the demo ended before it could be killed"
    );
    killed.0.kill().unwrap(); // SIGKILL
    killed.0.wait().unwrap();
    let before = writes_of_roasd(dir.path()).len();
    assert!(before >= 5, "{before}");

    let done = demo(dir.path(), 3).output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let writes = writes_of_roasd(dir.path());
    assert!(writes.len() > before, "it went on after the restart");
    for write in &writes {
        assert_ne!(write.old, write.new, "a change was sent twice: {write:?}");
    }
    // What Meta accepted is what the audit log says was completed, one to one.
    let store = open(&format!(
        "sqlite://{}",
        dir.path().join("roasd.db").display()
    ))
    .await
    .unwrap();
    let mut completed = BTreeMap::new();
    for tenant in TENANTS {
        let lines = store
            .audit_lines(&TenantId::new(tenant).unwrap(), 0, 100_000)
            .await
            .unwrap();
        audit::verify(&lines).unwrap();
        for line in lines {
            let entry = line.entry;
            if entry.event == audit::AuditEvent::Completed && entry.before != entry.after {
                *completed
                    .entry(entry.entity.unwrap().id().to_owned())
                    .or_insert(0) += 1;
            }
        }
        let open: Vec<_> = store
            .executing_changes(&TenantId::new(tenant).unwrap())
            .await
            .unwrap();
        assert!(open.is_empty(), "left unsettled: {open:?}");
    }
    let mut accepted = BTreeMap::new();
    for write in writes {
        *accepted.entry(write.entity).or_insert(0) += 1;
    }
    assert_eq!(completed, accepted);
    store.close().await;
}

#[test]
fn a_panic_restarts_one_stage_and_touches_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let done = demo(dir.path(), 1)
        .arg("--verbose")
        .env("ROASD_REHEARSE_PANIC", "gym/optimizer@1..2")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{log}");
    let restarts = log.matches("failed and is started again").count();
    assert_eq!(restarts, 2, "{log}");
    assert_eq!(
        log.matches("optimizer of gym failed and is started again")
            .count(),
        2,
        "{log}"
    );
    let result: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    for tenant in ["gym", "shop"] {
        let executed = result["tenants"][tenant]["executed"].as_u64().unwrap();
        assert!(executed > 0, "{tenant}: {result:#}");
    }
}

async fn health(daemon: &Daemon) -> (u16, serde_json::Value) {
    let url = format!("http://{}/healthz", daemon.address());
    let answer = reqwest::Client::new().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_holds_its_tenant_and_no_other() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut vendors = SandboxConfig::demo(dir.path(), 7);
    let start = vendors.start;
    let gym_account = vendors.tenants[0].ad_account.to_string();
    vendors.faults = vec![Fault {
        skip: 30,
        ..Fault::next(Vendor::Meta, "GET", &gym_account, FaultAction::RevokeToken)
    }];
    let clock = SteppedClock::new(start);
    let hold = clock.hold();
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let sandbox = Sandbox::start(vendors, shared.clone()).await.unwrap();
    let settings = roasd::cli::demo::Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        clock: None,
        poll: time::minutes(30),
    };
    let file = roasd::cli::demo::write_config(dir.path(), &sandbox, &settings).unwrap();
    let config = Config::load(Some(&file), &Environment::empty()).unwrap();
    let daemon = Daemon::start(config, shared, 7, time::hours(1))
        .await
        .unwrap();
    sandbox
        .start_deliveries(DeliverTo {
            base: format!("http://{}", daemon.address()),
            public_url: roasd::cli::demo::PUBLIC_URL.to_owned(),
        })
        .unwrap();
    drop(hold);
    clock.run_until(time::add(start, time::hours(3))).await;
    let (status, report) = health(&daemon).await;
    assert_eq!(
        (status, &report["status"]),
        (200, &"ok".into()),
        "{report:#}"
    );
    clock.run_until(time::add(start, time::hours(16))).await;
    let (status, report) = health(&daemon).await;
    assert_eq!(
        status, 503,
        "a tenant is held for longer than its grace: {report:#}"
    );
    let tenants = &report["tenants"];
    assert_eq!(tenants["gym"]["state"], "suspended", "{report:#}");
    assert!(
        tenants["gym"]["suspended"]["reason"]
            .as_str()
            .unwrap()
            .contains("token")
    );
    for other in ["shop", "clinic"] {
        assert_eq!(tenants[other]["state"], "running", "{report:#}");
        assert_eq!(
            tenants[other]["suspended"],
            serde_json::Value::Null,
            "{report:#}"
        );
        assert_eq!(
            tenants[other]["stages"]["sync"]["trouble"],
            serde_json::Value::Null
        );
    }
    assert!(
        !report.to_string().contains("EAAB-sandbox"),
        "no token is told"
    );
    daemon.stop().await;
    sandbox.stop().await;
}

/// Two days of the demo on the store that a URL names (SQLite's file without one): every line of every
/// audit log.
async fn two_days(database: Option<&str>) -> Vec<audit::ChainedEntry> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let vendors = SandboxConfig::demo(dir.path(), 7);
    let start = vendors.start;
    let clock = SteppedClock::new(start);
    let hold = clock.hold();
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let sandbox = Sandbox::start(vendors, shared.clone()).await.unwrap();
    let settings = roasd::cli::demo::Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        clock: None,
        poll: time::minutes(30),
    };
    let file = roasd::cli::demo::write_config(dir.path(), &sandbox, &settings).unwrap();
    let environment = match database {
        Some(url) => Environment::from([("ROASD__DAEMON__DATABASE_URL", url)]),
        None => Environment::empty(),
    };
    let config = Config::load(Some(&file), &environment).unwrap();
    let daemon = Daemon::start(config, shared, 7, time::hours(1))
        .await
        .unwrap();
    sandbox
        .start_deliveries(DeliverTo {
            base: format!("http://{}", daemon.address()),
            public_url: roasd::cli::demo::PUBLIC_URL.to_owned(),
        })
        .unwrap();
    drop(hold);
    clock.run_until(time::add(start, time::days(2))).await;
    let store = daemon.store();
    let mut lines = Vec::new();
    for tenant in TENANTS {
        let tenant = TenantId::new(tenant).unwrap();
        let some = store.audit_lines(&tenant, 0, 100_000).await.unwrap();
        audit::verify(&some).unwrap();
        lines.extend(some);
    }
    daemon.stop().await;
    sandbox.stop().await;
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_makes_no_difference() {
    let on_sqlite = two_days(None).await;
    let database = crate::support::postgres::Database::empty().await;
    let on_postgres = two_days(Some(database.url())).await;
    assert!(on_sqlite.len() > 20, "{}", on_sqlite.len());
    for (left, right) in on_sqlite.iter().zip(&on_postgres) {
        assert_eq!(left, right);
    }
    assert_eq!(on_sqlite.len(), on_postgres.len());
}
