//! The real binary and the real daemon against the sandbox: the same seed gives the same month, a
//! kill loses nothing and doubles nothing, and one tenant's trouble stays its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use roasd::config::{Config, Environment};
use roasd::domain::audit::ChainedEntry;
use roasd::domain::time;
use roasd::sandbox::{Fault, FaultAction, Journal, Sandbox, Vendor};
use serde_json::Value;

use crate::support::{self, Setup, World};

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

/// How many writes the vendors' journal knows; the demo has no people who edit.
fn accepted(dir: &Path) -> usize {
    Journal::accepted_writes(&Journal::path(dir)).map_or(0, |writes| writes.len())
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
        // What is left can be looked at by a daemon where any other is.
        let config = std::fs::read_to_string(dir.path().join("config.toml")).unwrap();
        assert!(config.contains("listen = \"127.0.0.1:8787\""), "{config}");
        String::from_utf8(done.stdout).unwrap()
    };
    let (first, second) = (run(), run());
    assert!(first.contains("\"executed\""), "{first}");
    assert_eq!(first, second);
}

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

/// The real process is killed at instants that chance picks, in the middle of its work:
/// `ROASD_KILLS=200` kills it so often, `ROASD_KILL_SEED` picks other instants.
#[tokio::test]
async fn kills_lose_nothing_and_nothing_happens_twice() {
    let (kills, seed) = (number("ROASD_KILLS", 2), number("ROASD_KILL_SEED", 1));
    let days = u32::try_from(3 + kills / 8).unwrap();
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut killed = 0;
    for _ in 0..kills {
        let before = accepted(dir.path());
        let mut running = Reaped(demo(dir.path(), days).spawn().unwrap());
        // Some changes are made, some are not; then any instant of the next half second.
        for _ in 0..6_000 {
            let has_begun = accepted(dir.path()) > before;
            if has_begun || running.0.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..500)));
        if running.0.try_wait().unwrap().is_some() {
            break; // the month is over
        }
        running.0.kill().unwrap(); // SIGKILL
        running.0.wait().unwrap();
        killed += 1;
        assert!(accepted(dir.path()) > before, "it works between kills");
    }
    assert!(killed > 0, "the demo ended before it could be killed");

    let done = demo(dir.path(), days).output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}");
    let after = accepted(dir.path());
    println!("killed {killed} times, {after} writes");
    // What Meta accepted is what the audit log says was completed, one to one.
    let file = dir.path().join("config.toml");
    let config = Config::load(Some(&file), &Environment::empty()).unwrap();
    assert_eq!(support::writes_of_roasd(dir.path(), &config).len(), after);
    let end = Sandbox::resume_time(dir.path()).unwrap().unwrap();
    support::checks::all(dir.path(), &config, end, &support::checks::HELD).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_holds_its_tenant_and_no_other() {
    let mut setup = Setup::new(7);
    setup.tenants = &["gym", "shop", "clinic"];
    setup.vendors = |vendors| {
        let gym = vendors.tenants[0].ad_account.to_string();
        vendors.faults = vec![Fault {
            skip: 30,
            ..Fault::next(Vendor::Meta, "GET", &gym, FaultAction::RevokeToken)
        }];
    };
    let world = World::of(setup).await;
    world.run_to(time::hours(3)).await;
    let (status, _) = world.get("/healthz").await;
    assert_eq!(status, 200);
    assert_eq!(world.health().await["status"], "ok");
    world.run_to(time::hours(16)).await;
    let (status, text) = world.get("/healthz").await;
    assert_eq!(status, 503, "a tenant is held for longer than its grace");
    assert!(!text.contains("EAAB-sandbox"), "no token is told");
    let report = world.health().await;
    let tenants = &report["tenants"];
    assert_eq!(tenants["gym"]["state"], "suspended", "{report:#}");
    let reason = tenants["gym"]["suspended"]["reason"].as_str().unwrap();
    assert!(reason.contains("token"), "{reason}");
    for other in ["shop", "clinic"] {
        let other = &tenants[other];
        assert_eq!(other["state"], "running", "{report:#}");
        assert_eq!(other["suspended"], Value::Null, "{report:#}");
        assert_eq!(other["stages"]["sync"]["trouble"], Value::Null);
    }
    world.finish().await;
}

/// A day of two tenants on the store that a URL names (SQLite's file without one): every line
/// of every audit log.
async fn a_day(database: Option<&str>) -> Vec<ChainedEntry> {
    let setup = Setup {
        tenants: &["gym", "shop"],
        ..Setup::new(7)
    };
    let world = World::of(match database {
        Some(url) => setup.set("daemon.database_url", url),
        None => setup,
    })
    .await;
    world.run_to(time::days(1)).await;
    let mut lines = Vec::new();
    for tenant in ["gym", "shop"] {
        lines.extend(world.audit(tenant).await);
    }
    world.finish().await;
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_makes_no_difference() {
    let on_sqlite = a_day(None).await;
    let database = crate::support::postgres::Database::empty().await;
    let on_postgres = a_day(Some(database.url())).await;
    assert!(on_sqlite.len() > 10, "{}", on_sqlite.len());
    assert_eq!(on_sqlite.len(), on_postgres.len());
    for (left, right) in on_sqlite.into_iter().zip(on_postgres) {
        let (left, mut right) = (left.entry, right.entry);
        // Where there may be several nodes, the log names the one that acted.
        if let Some((who, _)) = right.actor.split_once('@') {
            right.actor = who.to_owned();
        }
        assert_eq!(left, right);
    }
}
