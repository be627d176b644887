//! The housekeeper over real SQLite and stepped time: what is old goes every midnight, of every
//! tenant; what goes wrong shows, and stops nobody.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use roasd::actors::handle::{Handle, HealthBoard, Single, StageHealth};
use roasd::actors::housekeeper::{Housekeeping, Retention};
use roasd::actors::root::{self, RootArgs, RootMsg};
use roasd::clock::{Clock, SteppedClock};
use roasd::domain::ids::{TenantId, VisitId};
use roasd::domain::time::{self, SignedDuration, Timestamp};
use roasd::domain::visit::{AdParameters, Visit};
use roasd::store::Store;
use roasd::store::jobs::JobStatus;
use roasd::store::privacy::Forgettable;
use roasd::telemetry::Metrics;
use sqlx::{ConnectOptions as _, Connection as _};

/// Ten in the morning.
const START: i64 = 1_790_000_000 - 1_790_000_000 % 86_400 + 36_000;

struct House {
    dir: tempfile::TempDir,
    clock: SteppedClock,
    store: Arc<dyn Store>,
    retention: Arc<ArcSwap<Retention>>,
    tree: Option<(
        Handle,
        ractor::ActorRef<RootMsg>,
        tokio::task::JoinHandle<()>,
    )>,
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn start() -> Timestamp {
    time::from_seconds(START)
}

impl House {
    /// A house with two tenants that no configuration names, and a tree without any.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("roasd.db").display());
        let store = roasd::store::open(&url).await.unwrap();
        for name in ["acme", "globex"] {
            store
                .ensure_tenant(&tenant(name), name, start())
                .await
                .unwrap();
        }
        Self {
            dir,
            clock: SteppedClock::new(start()),
            store,
            retention: Arc::new(ArcSwap::from_pointee(Retention {
                visits: time::days(90),
                deliveries: time::days(30),
            })),
            tree: None,
        }
    }

    async fn open(&mut self) {
        let hold = self.clock.hold();
        let started = root::start(RootArgs {
            tenants: Vec::new(),
            store: self.store.clone(),
            clock: Arc::new(self.clock.clone()),
            seed: 1,
            look_every: time::hours(1),
            board: Arc::new(HealthBoard::default()),
            housekeeping: Housekeeping {
                retention: self.retention.clone(),
                tenants: Arc::default(),
                metrics: Metrics::install().unwrap(),
            },
            alerting: Arc::default(),
            placing: None,
            hold,
        });
        self.tree = Some(started.await.unwrap());
    }

    async fn close(&mut self) {
        let (_, root, task) = self.tree.take().unwrap();
        root.stop(None);
        task.await.unwrap();
    }

    fn health(&self) -> StageHealth {
        self.tree.as_ref().unwrap().0.single(Single::Housekeeper)
    }

    async fn visit(&self, of: &str, id: &str, age: SignedDuration) {
        let visit = Visit {
            id: VisitId::new(id).unwrap(),
            at: time::sub(start(), age),
            ad: AdParameters::default(),
            has_consent: false,
            fingerprint: None,
            ip: None,
            user_agent: None,
        };
        assert!(self.store.record_visit(&tenant(of), &visit).await.unwrap());
    }

    /// Which of these visits are left.
    async fn left<'i>(&self, of: &str, ids: &[&'i str]) -> Vec<&'i str> {
        let mut left = Vec::new();
        for id in ids {
            let visit = VisitId::new(id).unwrap();
            let found = self.store.visit(&tenant(of), &visit).await.unwrap();
            if found.is_some() {
                left.push(*id);
            }
        }
        left
    }

    async fn run(&self, of: &str) -> JobStatus {
        let jobs = self.store.job_status(&tenant(of)).await.unwrap();
        jobs.into_iter().find(|j| j.job == "housekeeper").unwrap()
    }

    async fn sql(&self, statement: &'static str) {
        let path: &Path = &self.dir.path().join("roasd.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut raw = options.connect().await.unwrap();
        sqlx::query(statement).execute(&mut raw).await.unwrap();
        raw.close().await.unwrap();
    }
}

#[tokio::test]
async fn the_house_is_kept_at_the_start_and_then_every_midnight() {
    let mut house = House::new().await;
    for of in ["acme", "globex"] {
        house.visit(of, "old", time::days(91)).await;
        house.visit(of, "tonight", time::hours(90 * 24 - 10)).await;
        house.visit(of, "young", time::days(1)).await;
    }
    house.open().await;
    house.clock.advance(time::minutes(1)).await;
    let ids = ["old", "tonight", "young"];
    for of in ["acme", "globex"] {
        assert_eq!(house.left(of, &ids).await, ["tonight", "young"], "{of}");
        assert_eq!(house.run(of).await.detail, "forgot 1 visits");
    }
    let kept_at = house.health().last_success.unwrap();
    assert_eq!(kept_at, time::add(start(), time::seconds(1)));
    // Fourteen hours to midnight.
    house.clock.advance(time::hours(13)).await;
    assert_eq!(house.health().last_success, Some(kept_at));
    house.clock.advance(time::hours(1)).await;
    let midnight = time::add(start(), time::hours(14));
    assert_eq!(house.health().last_success, Some(midnight));
    assert_eq!(house.left("acme", &ids).await, ["young"]);

    house.retention.store(Arc::new(Retention {
        visits: time::days(1),
        ..**house.retention.load()
    }));
    house.clock.advance(time::days(1)).await;
    assert_eq!(house.left("globex", &ids).await, [""; 0]);
    let nothing = "nothing was old enough to be forgotten";
    house.clock.advance(time::days(1)).await;
    assert_eq!(house.run("acme").await.detail, nothing);
    house.close().await;
}

#[tokio::test]
async fn a_restart_keeps_no_house_that_was_kept_today() {
    let mut house = House::new().await;
    for restarts in 0..3 {
        house.open().await;
        house.clock.advance(time::hours(2)).await;
        let at = time::add(start(), time::hours(2 * restarts) + time::seconds(1));
        assert_eq!(house.health().last_success, Some(at), "it looked");
        house.close().await;
    }
    let (acme, far) = (tenant("acme"), time::add(start(), time::days(999)));
    let store = house.store.clone();
    let runs = async || store.forget(&acme, Forgettable::Runs, far, 99).await;
    assert_eq!(runs().await.unwrap(), 1);
    // A daemon that was down at midnight makes up for it.
    house.clock.advance(time::days(3)).await;
    house.open().await;
    house.clock.advance(time::hours(2)).await;
    assert_eq!(runs().await.unwrap(), 1);
    house.close().await;
}

#[tokio::test]
async fn more_than_a_batch_goes_to_the_end() {
    let mut house = House::new().await;
    let rows = "insert into click_tracking (tenant, id, at, has_consent)
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 2500)
        select 'acme', 'v' || i, i, 0 from n";
    house.sql(rows).await;
    house.open().await;
    house.clock.advance(time::minutes(1)).await;
    assert_eq!(house.run("acme").await.detail, "forgot 2500 visits");
    assert_eq!(house.left("acme", &["v1", "v2500"]).await, [""; 0]);
    house.close().await;
}

#[tokio::test]
async fn a_store_that_is_out_is_waited_for() {
    let mut house = House::new().await;
    house.open().await;
    house.clock.advance(time::hours(20)).await;
    assert_eq!(house.health().trouble, None);
    house.store.close().await;
    house.clock.advance(time::days(1)).await;
    let health = house.health();
    let trouble = health.trouble.unwrap();
    assert!(trouble.contains("not available"), "{trouble}");
    let midnight = time::add(start(), time::hours(38));
    assert_eq!(health.trouble_since, Some(midnight));
    assert_eq!(
        health.last_report,
        Some(time::add(midnight, time::hours(6)))
    );
    assert_eq!((health.restarts, health.is_down), (0, false));
    house.close().await;
}

#[tokio::test]
async fn one_that_fails_too_often_rests_until_the_next_day() {
    let mut house = House::new().await;
    house.visit("acme", "old", time::days(99)).await;
    house.sql("alter table click_tracking rename to lost").await;
    house.open().await;
    house.clock.advance(time::hours(2)).await;
    let health = house.health();
    assert_eq!((health.restarts, health.is_down), (4, true));
    assert!(health.trouble.unwrap().contains("refused"));
    // The table is what every tenant's house needs; both were seen to.
    assert!(house.run("globex").await.detail.contains("refused"));
    house.clock.advance(time::hours(11)).await;
    assert_eq!(house.health().restarts, 4, "it rests");

    house.sql("alter table lost rename to click_tracking").await;
    house.clock.advance(time::hours(2)).await;
    let health = house.health();
    assert_eq!((health.trouble, health.is_down), (None, false));
    assert_eq!(house.left("acme", &["old"]).await, [""; 0]);
    house.close().await;
}
