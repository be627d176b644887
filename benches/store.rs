//! How fast the store takes in, claims and settles: `cargo bench --bench store`.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark whose set-up fails has nothing to measure"
)]
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "what the disk's own sync takes is measured once and printed beside the rest"
)]

mod support;

use std::fmt;
use std::io::{Seek as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use divan::counter::ItemsCount;
use roasd::domain::change::{Origin, ProposedChange, Target};
use roasd::domain::ids::AdId;
use roasd::domain::insight::{AdInsight, ReportWindow};
use roasd::domain::money::{Currency, Money};
use roasd::domain::structure::EntityRef;
use roasd::domain::time::{self, Timestamp};
use roasd::store::Store;
use roasd::store::changes::Settlement;
use roasd::store::inbox::{ClaimedDelivery, Delivery, DeliveryOutcome};
use sqlx::Connection as _;
use support::{Backend, Home, backends, server, tenant};
use tokio::runtime::Runtime;

fn main() {
    say_what_a_sync_costs();
    for backend in backends() {
        say_how_soon_work_starts(backend);
    }
    divan::main();
}

/// What a commit can cost at least: the disk's own sync, measured on the same machine in the same run.
fn say_what_a_sync_costs() {
    const SYNCS: u32 = 200;
    let mut file = tempfile::tempfile().unwrap();
    let begin = Instant::now();
    for _ in 0..SYNCS {
        file.rewind().unwrap();
        file.write_all(&[b'x'; 8_192]).unwrap();
        file.sync_data().unwrap();
    }
    println!(
        "8 KiB written and synced in {:?}, so {:.0} commits/s one after the other",
        begin.elapsed() / SYNCS,
        f64::from(SYNCS) / begin.elapsed().as_secs_f64()
    );
    if let Some(server) = server() {
        let runtime = Runtime::new().unwrap();
        let (fsync, commit): (String, String) = runtime.block_on(async {
            let mut conn = sqlx::PgConnection::connect(&server).await.unwrap();
            sqlx::query_as("select current_setting('fsync'), current_setting('synchronous_commit')")
                .fetch_one(&mut conn)
                .await
                .unwrap()
        });
        println!("PostgreSQL: fsync {fsync}, synchronous_commit {commit}");
    } else {
        println!("PostgreSQL is not measured: ROASD_TEST_POSTGRES_URL is not set");
    }
}

/// The slow ones of [`append_then_claim`], which a median hides.
fn say_how_soon_work_starts(backend: Backend) {
    const TIMES: usize = 2_000;
    let world = World::new(backend);
    let mut took: Vec<_> = (0..TIMES)
        .map(|_| {
            let delivery = world.delivery();
            let begin = Instant::now();
            let claimed = world
                .home
                .runtime
                .block_on(append_and_claim(&world, &delivery));
            let took = begin.elapsed();
            let settled = settle(&*world.home.store, claimed.id, claimed.attempt);
            world.home.runtime.block_on(settled);
            took
        })
        .collect();
    took.sort_unstable();
    println!(
        "{backend}: from append to claim {:?} in the middle, {:?} at most for 99 of 100",
        took[TIMES / 2],
        took[TIMES * 99 / 100]
    );
}

/// A backend and how many work on it at once.
#[derive(Debug, Clone, Copy)]
struct Case(Backend, usize);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

fn cases(workers: &[usize]) -> Vec<Case> {
    backends()
        .into_iter()
        .flat_map(|backend| workers.iter().map(move |n| Case(backend, *n)))
        .collect()
}

fn at(s: i64) -> Timestamp {
    time::from_seconds(1_790_000_000 + s)
}

/// A store of its own, and names for what goes into it.
struct World {
    home: Home,
    next: AtomicU64,
}

impl World {
    fn new(backend: Backend) -> Self {
        Self {
            home: Home::new(backend),
            next: AtomicU64::new(0),
        }
    }

    fn delivery(&self) -> Delivery {
        Delivery {
            source: "hubspot.webhook".to_owned(),
            dedup_key: self.next.fetch_add(1, Ordering::Relaxed).to_string(),
            body: vec![b'x'; 400],
        }
    }

    /// Runs as many tasks at once, and waits for all.
    fn all<F, T>(&self, tasks: usize, task: F)
    where
        F: Fn(usize) -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        self.home.runtime.block_on(async {
            let running: Vec<_> = (0..tasks).map(|n| tokio::spawn(task(n))).collect();
            for one in running {
                one.await.unwrap();
            }
        });
    }

    /// Fills the inbox.
    fn fill(&self, rows: usize) {
        self.all(rows, |_| {
            let (store, delivery) = (self.home.store.clone(), self.delivery());
            async move {
                store
                    .append_delivery(&tenant(), &delivery, at(0))
                    .await
                    .unwrap();
            }
        });
    }
}

/// From an address to a store that answers, on a database that exists.
#[divan::bench(args = backends())]
fn open_existing(bencher: divan::Bencher<'_, '_>, backend: Backend) {
    let world = World::new(backend);
    bencher.bench_local(|| {
        world.home.runtime.block_on(async {
            let store = roasd::store::open_existing(&world.home.url).await.unwrap();
            store.tenants().await.unwrap();
            store.close().await;
        });
    });
}

/// Appends one after the other.
async fn append_each(store: Arc<dyn Store>, deliveries: Vec<Delivery>) {
    for delivery in deliveries {
        store
            .append_delivery(&tenant(), &delivery, at(0))
            .await
            .unwrap();
    }
}

/// Deliveries acknowledged, each synced to disk, by so many senders at once.
#[divan::bench(args = cases(&[1, 8, 64, 256]))]
fn append_delivery(bencher: divan::Bencher<'_, '_>, Case(backend, producers): Case) {
    const EACH: usize = 32;
    let world = World::new(backend);
    bencher
        .counter(ItemsCount::new(producers * EACH))
        .bench_local(|| {
            world.all(producers, |_| {
                let store = world.home.store.clone();
                let deliveries: Vec<_> = (0..EACH).map(|_| world.delivery()).collect();
                append_each(store, deliveries)
            });
        });
}

async fn settle(store: &dyn Store, id: i64, attempt: i64) {
    let nothing = DeliveryOutcome::default();
    store
        .settle_delivery(&tenant(), id, attempt, &nothing, at(2))
        .await
        .unwrap();
}

/// Deliveries claimed one by one and settled one by one, by so many workers at once.
#[divan::bench(args = cases(&[1, 8]))]
fn claim_one_settle_one(bencher: divan::Bencher<'_, '_>, Case(backend, workers): Case) {
    const EACH: usize = 32;
    let world = World::new(backend);
    bencher
        .counter(ItemsCount::new(workers * EACH))
        .with_inputs(|| world.fill(workers * EACH))
        .bench_local_values(|()| {
            world.all(workers, |_| {
                let store = world.home.store.clone();
                async move {
                    for _ in 0..EACH {
                        let claimed = store
                            .claim_deliveries(&tenant(), at(1), at(60), 1)
                            .await
                            .unwrap();
                        for row in claimed {
                            settle(&*store, row.id, row.attempt).await;
                        }
                    }
                }
            });
        });
}

/// What a queue of one's own would do on the same server, with nothing kept of what a delivery is: eight
/// connections, each taking a row that nobody else has locked and marking it done.
#[divan::bench(args = backends().split_off(1))]
fn bare_skip_locked_loop(bencher: divan::Bencher<'_, '_>, backend: Backend) {
    const WORKERS: usize = 8;
    const EACH: usize = 32;
    let world = World::new(backend);
    let connect = || async { sqlx::PgConnection::connect(&world.home.url).await.unwrap() };
    let mut loader = world.home.runtime.block_on(async {
        let mut conn = connect().await;
        sqlx::raw_sql(
            "create table jobs (id bigint generated always as identity primary key,
                 status bigint not null default 0, attempt bigint not null default 0, body bytea);
             create index jobs_open on jobs (id) where status = 0",
        )
        .execute(&mut conn)
        .await
        .unwrap();
        conn
    });
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            Arc::new(tokio::sync::Mutex::new(
                world.home.runtime.block_on(connect()),
            ))
        })
        .collect();
    bencher
        .counter(ItemsCount::new(WORKERS * EACH))
        .with_inputs(|| {
            world.home.runtime.block_on(async {
                sqlx::query(
                    "insert into jobs (body)
                     select decode(repeat('78', 400), 'hex') from generate_series(1, $1)",
                )
                .bind(i64::try_from(WORKERS * EACH).unwrap())
                .execute(&mut loader)
                .await
                .unwrap();
            });
        })
        .bench_local_values(|()| {
            world.all(WORKERS, |n| {
                let conn = workers[n].clone();
                async move {
                    let mut conn = conn.lock().await;
                    for _ in 0..EACH {
                        let (id, _): (i64, Vec<u8>) = sqlx::query_as(
                            "update jobs set status = 1, attempt = attempt + 1 where id = (
                                 select id from jobs where status = 0 order by id limit 1
                                 for update skip locked)
                             returning id, body",
                        )
                        .fetch_one(&mut *conn)
                        .await
                        .unwrap();
                        sqlx::query("update jobs set status = 2 where id = $1")
                            .bind(id)
                            .execute(&mut *conn)
                            .await
                            .unwrap();
                    }
                }
            });
        });
    drop(workers);
}

/// Deliveries claimed fifty at once and settled as they are done, by so many workers at once.
#[divan::bench(args = cases(&[1, 8]))]
fn claim_fifty_settle_each(bencher: divan::Bencher<'_, '_>, Case(backend, workers): Case) {
    const ROWS: u32 = 50;
    const TIMES: usize = 4;
    let world = World::new(backend);
    let rows = workers * TIMES * 50;
    bencher
        .counter(ItemsCount::new(rows))
        .with_inputs(|| world.fill(rows))
        .bench_local_values(|()| {
            world.all(workers, |_| {
                let store = world.home.store.clone();
                async move {
                    for _ in 0..TIMES {
                        let claimed = store
                            .claim_deliveries(&tenant(), at(1), at(60), ROWS)
                            .await
                            .unwrap();
                        let settled = claimed
                            .iter()
                            .map(|row| settle(&*store, row.id, row.attempt));
                        futures_util::future::join_all(settled).await;
                    }
                }
            });
        });
}

/// How long after it was sent a delivery is claimed, with one that claims and one that sends: the time
/// from the append's call to the claim's return.
#[divan::bench(args = backends())]
fn append_then_claim(bencher: divan::Bencher<'_, '_>, backend: Backend) {
    let world = World::new(backend);
    bencher.bench_local(|| {
        let delivery = world.delivery();
        world
            .home
            .runtime
            .block_on(append_and_claim(&world, &delivery))
    });
}

async fn append_and_claim(world: &World, delivery: &Delivery) -> ClaimedDelivery {
    world
        .home
        .store
        .append_delivery(&tenant(), delivery, at(0))
        .await
        .unwrap();
    let claimed = world
        .home
        .store
        .claim_deliveries(&tenant(), at(1), at(60), 1)
        .await
        .unwrap();
    claimed.into_iter().next().unwrap()
}

/// Events as HubSpot sends them, a hundred to a delivery, from the append by eight senders to the
/// deals that they ask for, each another one: claimed fifty deliveries at once, settled as they are done.
#[divan::bench(args = backends())]
fn events_in_hundreds(bencher: divan::Bencher<'_, '_>, backend: Backend) {
    const SENDERS: usize = 8;
    const EACH: usize = 8;
    const EVENTS: usize = 100;
    let world = World::new(backend);
    bencher
        .counter(ItemsCount::new(SENDERS * EACH * EVENTS))
        .bench_local(|| {
            world.all(SENDERS, |_| {
                let store = world.home.store.clone();
                let deliveries: Vec<_> = (0..EACH)
                    .map(|_| Delivery {
                        body: vec![b'x'; EVENTS * 220],
                        ..world.delivery()
                    })
                    .collect();
                append_each(store, deliveries)
            });
            let mut settled = 0;
            while settled < SENDERS * EACH {
                settled += world.home.runtime.block_on(async {
                    let claimed = world
                        .home
                        .store
                        .claim_deliveries(&tenant(), at(1), at(60), 50)
                        .await
                        .unwrap();
                    let outcomes: Vec<_> = claimed
                        .iter()
                        .map(|row| DeliveryOutcome {
                            wanted: (0..EVENTS)
                                .map(|n| format!("{}{n:02}", row.id).parse().unwrap())
                                .collect(),
                            poison: Vec::new(),
                            is_personal: false,
                        })
                        .collect();
                    let tenant = tenant();
                    let settling = claimed.iter().zip(&outcomes).map(|(row, outcome)| {
                        let (store, tenant) = (&world.home.store, &tenant);
                        store.settle_delivery(tenant, row.id, row.attempt, outcome, at(2))
                    });
                    for done in futures_util::future::join_all(settling).await {
                        done.unwrap();
                    }
                    claimed.len()
                });
            }
        });
}

/// A pull of ten thousand rows that replaces the one before.
#[divan::bench(args = backends())]
fn record_insights(bencher: divan::Bencher<'_, '_>, backend: Backend) {
    let world = World::new(backend);
    let first = time::parse_date("2026-11-01").unwrap();
    let rows: Vec<_> = (0..10_000_i64)
        .map(|n| AdInsight {
            ad: AdId::new(format!("ad{}", n / 10)).unwrap(),
            ad_set: "s1".parse().unwrap(),
            campaign: "c1".parse().unwrap(),
            window: ReportWindow::Day(time::add_days(first, n % 10)),
            impressions: 1_000,
            clicks: 10,
            spend: Money::from_minor(n, Currency::USD),
            reach: Some(900),
            actions: Vec::new(),
        })
        .collect();
    bencher
        .counter(ItemsCount::new(rows.len()))
        .bench_local(|| {
            let pulled = at(i64::try_from(world.next.fetch_add(1, Ordering::Relaxed)).unwrap());
            let last = time::add_days(first, 9);
            world
                .home
                .runtime
                .block_on(world.home.store.record_insights(
                    &tenant(),
                    &rows,
                    first,
                    last,
                    false,
                    pulled,
                ))
                .unwrap();
        });
}

/// One change from proposal to settlement: four commits, four audit lines.
#[divan::bench(args = backends())]
fn change_from_proposal_to_settlement(bencher: divan::Bencher<'_, '_>, backend: Backend) {
    let world = World::new(backend);
    let budget = |minor| Target::DailyBudget(Money::from_minor(minor, Currency::USD));
    let mut proposed = ProposedChange {
        id: "x".parse().unwrap(),
        tenant: tenant(),
        entity: EntityRef::AdSet("s1".parse().unwrap()),
        entity_name: "Morning classes".to_owned(),
        campaign: "c1".parse().unwrap(),
        expected: budget(10_000),
        requested: budget(12_000),
        reason: "it earns".to_owned(),
        origin: Origin::Decision("d1".parse().unwrap()),
        confidence: 0.9,
        needs_approval: false,
        rank: 1,
        earliest_at: at(0),
        expires_at: at(86_400),
        proposed_at: at(0),
    };
    let settlement = Settlement::Completed {
        before: budget(10_000),
        after: budget(12_000),
        was_sent: true,
        vendor_request: None,
        clipped_by: None,
    };
    bencher.bench_local(|| {
        let number = world.next.fetch_add(1, Ordering::Relaxed);
        proposed.id = format!("x{number}").parse().unwrap();
        let (tenant, store) = (tenant(), &world.home.store);
        world.home.runtime.block_on(async {
            store.propose(&proposed, at(0)).await.unwrap();
            let claimed = store.claim_change(&tenant, at(1), at(60)).await.unwrap();
            let id = claimed.unwrap().change.proposed.id;
            store
                .mark_executing(&tenant, &id, 1, budget(10_000), budget(12_000), at(2))
                .await
                .unwrap();
            store
                .settle_change(&tenant, &id, 1, &settlement, at(3))
                .await
                .unwrap();
        });
    });
}
