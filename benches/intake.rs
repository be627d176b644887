//! How fast signed deliveries and visits are taken in: `cargo bench --bench intake`.
//!
//! The real daemon, as a process of its own, beside a floor: the same HTTP server doing only the HMAC
//! and a durable append. With `-- --peer NAME ADDRESS PID…` the same load goes to another server, whose
//! processes are counted.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints what it measured, and one whose set-up fails has nothing to measure"
)]

#[path = "support/load.rs"]
mod load;
#[path = "support/mod.rs"]
mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use load::{EVENTS, PATH, PUBLIC_URL, Run, SECRET};
use roasd::domain::time;
use roasd::vendors::hubspot::signature::{SignedRequest, TOLERANCE, verify_v3};
use support::{Backend, Home, backends, tenant};
use tokio::sync::{mpsc, oneshot};

const DELIVERIES: usize = 4_000;
const VISITS: usize = 20_000;
const CONNECTIONS: usize = 32;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let after = |flag: &str| {
        let place = args.iter().position(|arg| arg == flag)?;
        Some(&args[place + 1..])
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(rest) = after("--floor") {
        runtime.block_on(serve_floor(&rest[0], Path::new(&rest[1])));
        return;
    }
    head();
    let requests = Arc::new(load::deliveries(DELIVERIES));
    if let Some([name, address, pids @ ..]) = after("--peer") {
        let pids: Vec<u32> = pids.iter().filter_map(|pid| pid.parse().ok()).collect();
        runtime.block_on(measure(name, address, &pids, &requests, EVENTS));
        return;
    }
    runtime.block_on(floor(&requests));
    for backend in backends() {
        runtime.block_on(async {
            let daemon = Daemon::start(backend).await;
            let pids = [daemon.child.id()];
            let name = backend.to_string();
            measure(&name, &daemon.address, &pids, &requests, EVENTS).await;
            daemon.drain().await;
            let visits = Arc::new(load::visits(VISITS));
            measure(
                &format!("{name}, visits"),
                &daemon.address,
                &pids,
                &visits,
                1,
            )
            .await;
            daemon.end().await;
        });
    }
}

fn head() {
    println!(
        "{:<18} {:>10} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8}",
        "", "events/s", "p50 ms", "p99 ms", "CPU µs/ev", "idle MiB", "most MiB", "refused"
    );
}

/// Sends the load and prints what it came to.
async fn measure(
    name: &str,
    address: &str,
    pids: &[u32],
    requests: &Arc<Vec<Vec<u8>>>,
    events: usize,
) {
    let (idle, cpu) = (load::resident_mib(pids), load::cpu_seconds(pids));
    let most = Arc::new(std::sync::Mutex::new(idle));
    let watcher = tokio::spawn({
        let (watched, most) = (pids.to_vec(), most.clone());
        async move {
            loop {
                let now = load::resident_mib(&watched);
                {
                    let mut most = most.lock().unwrap();
                    *most = most.max(now);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let run: Run = load::send(address, requests, CONNECTIONS).await;
    let cpu = load::cpu_seconds(pids) - cpu;
    watcher.abort();
    let most = most.lock().unwrap().max(load::resident_mib(pids));
    let count = (requests.len() * events) as f64;
    let ms = |took: Duration| took.as_secs_f64() * 1_000.0;
    println!(
        "{name:<18} {:>10.0} {:>8.1} {:>8.1} {:>9.2} {idle:>8.1} {most:>8.1} {:>8}",
        count / run.took.as_secs_f64(),
        ms(run.percentile(50)),
        ms(run.percentile(99)),
        cpu * 1e6 / count,
        run.refused,
    );
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn until_it_serves(address: &str) {
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The daemon, on a store of its own.
struct Daemon {
    child: Child,
    address: String,
    home: Home,
    _dir: tempfile::TempDir,
}

impl Daemon {
    async fn start(backend: Backend) -> Self {
        let home = tokio::task::spawn_blocking(move || Home::new(backend))
            .await
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let address = free_address();
        // Nobody listens where the vendors would be: what is measured ends where they are asked.
        let config = format!(
            r#"
[daemon]
listen = "{address}"
public_url = "{PUBLIC_URL}"
data_dir = "{dir}"
[clicks]
per_tenant_per_second = 1000000
[meta]
base_url = "http://127.0.0.1:9"
[hubspot]
base_url = "http://127.0.0.1:9"
client_secret = {{ env = "BENCH_SECRET" }}
[tenants.acme]
name = "Bench"
mode = "pipeline"
currency = "USD"
meta = {{ ad_account = "act_1", access_token = {{ env = "BENCH_SECRET" }} }}
hubspot = {{ portal_id = 33, access_token = {{ env = "BENCH_SECRET" }}, pipelines = ["default"] }}
budget = {{ daily_cap = "500.00" }}
[tenants.acme.stages]
lead = {{ value = "100.00", confidence = 0.1, hubspot_stage = "appointmentscheduled" }}
closed_won = {{ value = "1000.00", confidence = 1.0, hubspot_stage = "closedwon" }}
"#,
            dir = dir.path().display()
        );
        let file = dir.path().join("config.toml");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_roasd"))
            .args(["--config", file.to_str().unwrap(), "run"])
            .env("BENCH_SECRET", SECRET)
            .env("ROASD__DAEMON__DATABASE_URL", &home.url)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        until_it_serves(&address).await;
        Self {
            child,
            address,
            home,
            _dir: dir,
        }
    }

    /// Waits until all deliveries are settled, and says how fast that went.
    async fn drain(&self) {
        let tenant = tenant();
        let depth = async || self.home.store.inbox_depth(&tenant).await.unwrap().waiting;
        let (begin, waiting) = (Instant::now(), depth().await);
        while depth().await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = begin.elapsed();
        println!(
            "  of {DELIVERIES} deliveries {waiting} waited when the last was acknowledged; they were \
             read and settled in {:.2} s ({:.0} events/s)",
            took.as_secs_f64(),
            (waiting as usize * EVENTS) as f64 / took.as_secs_f64().max(0.02)
        );
    }

    async fn end(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        tokio::task::spawn_blocking(move || drop(self.home))
            .await
            .unwrap();
    }
}

/// Measures the floor, as a process of its own.
async fn floor(requests: &Arc<Vec<Vec<u8>>>) {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--floor", &address, dir.path().to_str().unwrap()])
        .spawn()
        .unwrap();
    until_it_serves(&address).await;
    measure("floor", &address, &[child.id()], requests, EVENTS).await;
    let _ = child.kill();
    let _ = child.wait();
}

type Append = (Bytes, oneshot::Sender<()>);

/// The floor: checks the signature, appends the bytes to a file, and answers when they are synced.
async fn serve_floor(address: &str, dir: &Path) {
    let mut file = std::fs::File::create(dir.join("log")).unwrap();
    let (sender, mut receiver) = mpsc::channel::<Append>(1_024);
    std::thread::spawn(move || {
        let mut batch = Vec::new();
        while receiver.blocking_recv_many(&mut batch, 256) > 0 {
            for (body, _) in &batch {
                file.write_all(body).unwrap();
            }
            file.sync_data().unwrap();
            for (_, answer) in batch.drain(..) {
                let _ = answer.send(());
            }
        }
    });
    let router = axum::Router::new()
        .route(PATH, axum::routing::post(keep))
        .with_state(sender);
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    axum::serve(listener, router).await.unwrap();
}

async fn keep(
    State(sender): State<mpsc::Sender<Append>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap();
    let timestamp = header("x-hubspot-request-timestamp");
    let request = SignedRequest {
        method: "POST",
        uri: &format!("{PUBLIC_URL}{PATH}"),
        body: &body,
        timestamp,
        signature: header("x-hubspot-signature-v3"),
    };
    let now = time::from_millis(timestamp.parse().unwrap());
    if verify_v3(SECRET.as_bytes(), &request, now, TOLERANCE).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let (answer, answered) = oneshot::channel();
    sender.send((body, answer)).await.unwrap();
    answered.await.unwrap();
    StatusCode::NO_CONTENT
}
