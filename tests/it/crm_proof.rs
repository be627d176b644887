//! A day of webhooks of three tenants, of which some are lost, doubled and late, while people edit,
//! delete, restore and merge, and the daemon is killed every hour: in the end the ledger says what the
//! CRM says, to the cent.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;
use roasd::cli::demo::{PUBLIC_URL, Settings, write_config};
use roasd::clock::{Clock, SystemClock, since_boot, wall_sleep};
use roasd::domain::time;
use roasd::sandbox::{DeliverTo, Sandbox, SandboxConfig, WebhookWeather};
use serde_json::Value;

use crate::sync_journey::{random_edit, sums, truth};

/// Hours, and how much faster than on the wall they go by.
const HOURS: i64 = 24;
const SPEED: f64 = 900.0;
const PATIENCE: Duration = Duration::from_secs(90);

/// The daemon's process.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn roasd(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roasd"));
    command
        .arg("--config")
        .arg(dir.join("config.toml"))
        .envs(
            ["GYM", "SHOP", "CLINIC"]
                .map(|name| (format!("ROASD__TENANTS__{name}__AUTONOMY"), "observe")),
        )
        .envs(["GYM", "SHOP", "CLINIC"].map(|name| {
            (
                format!("ROASD__TENANTS__{name}__SCHEDULE__SYNC_EVERY"),
                "1h",
            )
        }))
        .stdin(Stdio::null());
    command
}

fn start(dir: &Path) -> Process {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("daemon.log"))
        .unwrap();
    let child = roasd(dir)
        .arg("run")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    Process(child.unwrap())
}

fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("daemon.log")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_bad_weather_and_kills_ends_in_the_crms_truth() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut vendors = SandboxConfig::demo(dir.path(), 5);
    vendors.weather = WebhookWeather {
        lost: 0.05,
        duplicated: 0.05,
        late: 0.10,
    };
    vendors.visit_sample = 0.02;
    let begin = vendors.start;
    let anchor = time::from_seconds(SystemClock::real().now().as_second());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::scaled(SPEED, begin, anchor));
    let sandbox = Sandbox::start(vendors, clock.clone()).await.unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let settings = Settings {
        listen: address,
        clock: Some((SPEED, begin, anchor)),
        poll: time::minutes(5),
    };
    write_config(dir.path(), &sandbox, &settings).unwrap();
    let mut daemon = start(dir.path());
    sandbox
        .start_deliveries(DeliverTo {
            base: format!("http://{address}"),
            public_url: PUBLIC_URL.to_owned(),
        })
        .unwrap();
    let mut rng = ChaCha12Rng::seed_from_u64(5);
    let specs = sandbox.config().tenants.clone();
    let (mut edits, mut kills) = (0, 0);
    for hour in 1..=HOURS {
        for part in 1..=4 {
            let at = time::add(begin, time::hours(hour - 1) + time::minutes(part * 14));
            clock.sleep_until(at, "proof").await;
            for spec in &specs {
                let deals = sandbox.crm(&spec.tenant).unwrap();
                let stages = spec.business.stages().iter();
                let stages: Vec<_> = stages.map(|s| s.hubspot_stage).collect();
                if let Some(edit) = random_edit(&mut rng, &deals, &stages) {
                    edits += i32::from(sandbox.crm_edit(&spec.tenant, &edit).is_ok());
                }
            }
        }
        clock
            .sleep_until(time::add(begin, time::hours(hour)), "proof")
            .await;
        // At any instant, whatever it is at.
        daemon.0.kill().unwrap();
        daemon.0.wait().unwrap();
        kills += 1;
        daemon = start(dir.path());
    }
    assert!(edits > 100, "{edits} edits");
    // What is late arrives, and the list tells of deletions that no webhook told of.
    let ready = since_boot();
    while reqwest::get(format!("http://{address}/livez"))
        .await
        .is_err()
    {
        assert!(since_boot() - ready < PATIENCE, "{}", log(dir.path()));
        wall_sleep(Duration::from_millis(50)).await;
    }
    let late = time::add(clock.now(), time::hours(1));
    clock.sleep_until(late, "proof").await;
    let asked = roasd(dir.path())
        .args(["sync", "--full", "--json"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(
        asked.status.success(),
        "{complaint} {text}: {}",
        log(dir.path())
    );
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["tenants"].as_array().unwrap().len(), specs.len());

    // Deals go on to move by themselves, so that the ledger is held against the CRM while nothing
    // more can happen: a file of the store is read while its daemon looks on.
    let url = format!("sqlite:{}", dir.path().join("roasd.db").display());
    let store = roasd::store::open_existing(&url).await.unwrap();
    let waited = since_boot();
    for spec in &specs {
        loop {
            let crm = truth(spec.business, &sandbox.crm(&spec.tenant).unwrap());
            let kept = sums(&*store, spec.tenant.as_str()).await;
            if kept == crm && !crm.is_empty() {
                break;
            }
            let (tenant, log) = (&spec.tenant, log(dir.path()));
            assert!(
                since_boot() - waited < PATIENCE,
                "{tenant} after {kills} kills: {kept:?} is not {crm:?}: {log}"
            );
            wall_sleep(Duration::from_millis(100)).await;
        }
    }
    store.close().await;
    drop(daemon);
    sandbox.stop().await;
}
