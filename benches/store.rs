//! How fast the store takes in, claims and settles: `cargo bench --bench store`.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark whose set-up fails has nothing to measure"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use divan::counter::ItemsCount;
use roasd::domain::change::{Origin, ProposedChange, Target};
use roasd::domain::ids::{AdId, TenantId};
use roasd::domain::insight::{AdInsight, ReportWindow};
use roasd::domain::money::{Currency, Money};
use roasd::domain::structure::EntityRef;
use roasd::domain::time::{self, Timestamp};
use roasd::store::changes::{ChangeStore, Settlement};
use roasd::store::inbox::{Delivery, DeliveryOutcome, InboxStore};
use roasd::store::insights::InsightStore;
use roasd::store::sqlite::{OpenOptions, SqliteStore};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

fn at(s: i64) -> Timestamp {
    time::from_seconds(1_790_000_000 + s)
}

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

struct World {
    runtime: Runtime,
    store: SqliteStore,
    dir: tempfile::TempDir,
    next: AtomicU64,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let store = runtime.block_on(open(&dir));
        Self {
            runtime,
            store,
            dir,
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
}

async fn open(dir: &tempfile::TempDir) -> SqliteStore {
    let path = dir.path().join("roasd.db");
    SqliteStore::open(path.to_str().unwrap(), OpenOptions::default())
        .await
        .unwrap()
}

/// From a path to a store that answers, on a database that exists.
#[divan::bench]
fn open_existing(bencher: divan::Bencher<'_, '_>) {
    let world = World::new();
    bencher.bench_local(|| world.runtime.block_on(open(&world.dir)));
}

/// Deliveries acknowledged, each synced to disk, by so many senders at once.
#[divan::bench(args = [1, 8, 64])]
fn append_delivery(bencher: divan::Bencher<'_, '_>, producers: usize) {
    const EACH: usize = 32;
    let world = World::new();
    bencher
        .counter(ItemsCount::new(producers * EACH))
        .bench_local(|| {
            world.runtime.block_on(async {
                let tasks: Vec<_> = (0..producers)
                    .map(|_| {
                        let store = world.store.clone();
                        let deliveries: Vec<_> = (0..EACH).map(|_| world.delivery()).collect();
                        tokio::spawn(async move {
                            for delivery in deliveries {
                                store
                                    .append_delivery(&tenant(), &delivery, at(0))
                                    .await
                                    .unwrap();
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
        });
}

/// Fifty deliveries claimed at once, and each settled by itself.
#[divan::bench]
fn claim_and_settle(bencher: divan::Bencher<'_, '_>) {
    const ROWS: u32 = 50;
    let world = World::new();
    bencher
        .counter(ItemsCount::new(ROWS))
        .with_inputs(|| {
            world.runtime.block_on(async {
                for _ in 0..ROWS {
                    world
                        .store
                        .append_delivery(&tenant(), &world.delivery(), at(0))
                        .await
                        .unwrap();
                }
            });
        })
        .bench_local_values(|()| {
            world.runtime.block_on(async {
                let claimed = world
                    .store
                    .claim_deliveries(&tenant(), at(1), at(60), ROWS)
                    .await
                    .unwrap();
                for row in claimed {
                    world
                        .store
                        .settle_delivery(
                            &tenant(),
                            row.id,
                            row.attempt,
                            &DeliveryOutcome::default(),
                            at(2),
                        )
                        .await
                        .unwrap();
                }
            });
        });
}

/// A pull of ten thousand rows that replaces the one before.
#[divan::bench]
fn record_insights(bencher: divan::Bencher<'_, '_>) {
    let world = World::new();
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
                .runtime
                .block_on(
                    world
                        .store
                        .record_insights(&tenant(), &rows, first, last, false, pulled),
                )
                .unwrap();
        });
}

/// One change from proposal to settlement: four commits, four audit lines.
#[divan::bench]
fn change_from_proposal_to_settlement(bencher: divan::Bencher<'_, '_>) {
    let world = World::new();
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
        let (tenant, store) = (tenant(), &world.store);
        world.runtime.block_on(async {
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
