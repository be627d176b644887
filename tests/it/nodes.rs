//! Several real daemons on one PostgreSQL and one sandbox: tenants are spread, move when their node
//! ends however it ends, and what one node hears another does.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use roasd::domain::ids::TenantId;
use roasd::store::nodes::Lease;

use crate::support::fleet::Fleet;

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_spread_and_move_when_a_node_ends() {
    let mut fleet = Fleet::new(6, 1.0).await;
    fleet.start("a").await;
    fleet.until_spread(&[("a", 6)]).await;
    // A new node takes its share, and no more than that moves.
    let before: BTreeSet<TenantId> = held_by(&fleet.leases().await, "a");
    fleet.start("b").await;
    fleet.until_spread(&[("a", 3), ("b", 3)]).await;
    let kept = held_by(&fleet.leases().await, "a");
    assert!(kept.is_subset(&before));
    fleet.start("c").await;
    fleet.until_spread(&[("a", 2), ("b", 2), ("c", 2)]).await;
    // One that is told to stop hands over what it holds.
    fleet.signal("b", "-TERM");
    fleet.until_spread(&[("a", 3), ("c", 3)]).await;
    // One that is killed is missed.
    fleet.signal("c", "-KILL");
    fleet.until_spread(&[("a", 6)]).await;
    let health = reqwest::get(format!(
        "http://127.0.0.1:{}/healthz",
        fleet.nodes["a"].port
    ))
    .await
    .unwrap();
    let health: serde_json::Value = health.json().await.unwrap();
    assert_eq!(health["placement"]["trouble"], serde_json::Value::Null);
    for tenant in health["tenants"].as_object().unwrap().values() {
        assert_eq!(tenant["node"], serde_json::Value::Null, "{tenant:#}");
    }
    fleet.finish().await;
}

fn held_by(leases: &[Lease], node: &str) -> BTreeSet<TenantId> {
    let held = leases.iter().filter(|l| l.fence.node.as_str() == node);
    held.map(|lease| lease.fence.tenant.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_stopped_past_its_lease_writes_nothing_more() {
    // Fast enough that changes are made all the time.
    let mut fleet = Fleet::new(3, 2_000.0).await;
    fleet.start("a").await;
    fleet.start("b").await;
    fleet
        .until("tenants on both", async || fleet.spread().await.len() == 2)
        .await;
    fleet.until("a write", async || fleet.writes() > 0).await;
    fleet.signal("a", "-STOP");
    fleet.until_spread(&[("b", 3)]).await;
    let taken: BTreeMap<TenantId, i64> = fleet
        .leases()
        .await
        .into_iter()
        .map(|lease| (lease.fence.tenant, lease.fence.token))
        .collect();
    fleet.signal("a", "-CONT");
    // It finds out, and takes a share again, by new claims.
    fleet
        .until("a takes part again", async || {
            fleet.leases().await.iter().any(|lease| {
                lease.fence.node.as_str() == "a" && lease.fence.token > taken[&lease.fence.tenant]
            })
        })
        .await;
    let log = fleet.logs();
    assert!(log.contains("is another node's by now"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    fleet.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_hears_another_does() {
    let mut fleet = Fleet::new(2, 1.0).await;
    fleet.start("a").await;
    fleet.start("b").await;
    fleet.until_spread(&[("a", 1), ("b", 1)]).await;
    let gym = TenantId::new("gym").unwrap();
    let holder = fleet.leases().await;
    let holder = holder.iter().find(|l| l.fence.tenant == gym).unwrap();
    let other = if holder.fence.node.as_str() == "a" {
        "b"
    } else {
        "a"
    };
    // The webhook comes to the node that does not work for the gym.
    let answer = fleet.webhook(other, &gym).await;
    assert!(answer.is_success(), "{answer}: {}", fleet.logs());
    let took = fleet
        .until("the delivery is read", async || {
            fleet.store.inbox_depth(&gym).await.unwrap().waiting == 0
        })
        .await;
    // The poll of a stage by itself comes after minutes.
    assert!(took < Duration::from_secs(10), "{took:?}");
    fleet.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_key_is_refused() {
    let mut fleet = Fleet::new(1, 1.0).await;
    fleet.start("a").await;
    let refused = Command::new(env!("CARGO_BIN_EXE_roasd"))
        .arg("--config")
        .arg(fleet.dir.path().join("config.toml"))
        .arg("run")
        .env("ROASD__DAEMON__DATABASE_URL", fleet.url())
        .env("ROASD__DAEMON__DATA_DIR", fleet.dir.path().join("z-data"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("privacy.hash_key"), "{told}");
    fleet.finish().await;
}

/// A number that the environment may raise: the short form is a test, the long one a measurement.
fn number(name: &str, short: u32) -> u32 {
    std::env::var(name).map_or(short, |given| given.parse().unwrap())
}

/// Long with `ROASD_PROOF_KILLS=20 ROASD_PROOF_TENANTS=60 ROASD_PROOF_LEASE=6 ROASD_PROOF_SPEED=200`.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_however_nodes_and_server_end() {
    let tenants = number("ROASD_PROOF_TENANTS", 6);
    let lease = format!("{}s", number("ROASD_PROOF_LEASE", 2));
    let speed = f64::from(number("ROASD_PROOF_SPEED", 1_000));
    let mut fleet = Fleet::on_a_server_of_its_own(tenants, speed, &lease).await;
    let names = ["a", "b", "c"];
    for name in names {
        fleet.start(name).await;
    }
    fleet.deliver().await;
    fleet.until_all_run_on(&names).await;
    fleet.until_writes(3).await;
    let mut took = Vec::new();
    for round in 0..number("ROASD_PROOF_KILLS", 2) {
        let victim = names[round as usize % names.len()];
        let others: Vec<&str> = names.into_iter().filter(|name| *name != victim).collect();
        fleet.kill(victim);
        took.push(fleet.until_all_run_on(&others).await);
        if round % 5 == 1 {
            fleet.crash_the_server().await;
        }
        fleet.start(victim).await;
        fleet.until_all_run_on(&names).await;
    }
    took.sort();
    let writes = fleet.writes();
    println!("{tenants} tenants, leases of {lease}, {writes} writes; takeovers took {took:.1?}");
    fleet.until_settled().await;
    fleet.check_inbox().await;
    fleet.finish().await;
}
