//! A server that crashes, restarts, or falls silent under load: weather, of which nothing that was
//! acknowledged is lost, and which passes by itself.

use super::*;
use crate::support::cluster::{Cluster, Stop};
use roasd::store::open;
use roasd::store::postgres::OpenOptions as PostgresOptions;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Appends, changes and audit lines go on all the while; what was answered with `Ok` is there in the
/// end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_loses_nothing_acknowledged() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let db = open(&cluster.url()).await.unwrap();
    let load = Arc::new(Load::default());
    let writers: Vec<_> = (0..4)
        .map(|task| {
            let (db, load) = (db.clone(), load.clone());
            tokio::spawn(async move { keep_writing(&db, task, &load).await })
        })
        .collect();
    let cluster = tokio::task::spawn_blocking({
        let load = load.clone();
        move || {
            load.wait_for_some();
            for how in [Stop::Immediate, Stop::Fast, Stop::Immediate] {
                cluster.stop(how);
                cluster.again();
                load.wait_for_some();
            }
            cluster
        }
    })
    .await
    .unwrap();
    load.is_over.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeSet::new();
    let mut lines = 0;
    let mut weather = 0;
    for writer in writers {
        let done = writer.await.unwrap();
        acknowledged.extend(done.deliveries);
        lines += done.lines;
        weather += done.weather;
    }
    assert!(weather > 0, "the restarts were noticed");
    let mut kept = BTreeSet::new();
    loop {
        let some = db
            .claim_deliveries(&acme(), at(0), at(60), 500)
            .await
            .unwrap();
        if some.is_empty() {
            break;
        }
        kept.extend(some.into_iter().map(|delivery| delivery.body));
    }
    let missing: Vec<_> = acknowledged.difference(&kept).collect();
    assert!(missing.is_empty(), "{} are lost", missing.len());
    let found = db.audit_lines(&acme(), 0, u32::MAX).await.unwrap();
    roasd::domain::audit::verify(&found).unwrap();
    assert!(found.len() >= lines);
    drop(cluster);
}

/// What the writers and the one who restarts know of each other.
#[derive(Default)]
struct Load {
    acknowledged: AtomicUsize,
    is_over: AtomicBool,
}

impl Load {
    /// Lets the writers get on.
    fn wait_for_some(&self) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + 40;
        while self.acknowledged.load(Ordering::Relaxed) < enough {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[derive(Default)]
struct Written {
    deliveries: Vec<Vec<u8>>,
    lines: usize,
    weather: usize,
}

async fn keep_writing(db: &Db, task: usize, load: &Load) -> Written {
    let mut written = Written::default();
    for n in 0.. {
        if load.is_over.load(Ordering::Relaxed) {
            break;
        }
        let delivery = inbox::delivery(&format!("{task}/{n}"));
        match db.append_delivery(&acme(), &delivery, at(0)).await {
            Ok(_) => {
                written.deliveries.push(delivery.body);
                load.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(StoreError::Unavailable { .. }) => written.weather += 1,
            Err(other) => panic!("{other:?}"),
        }
        match db.append_audit(&audit::entry(&acme(), "x")).await {
            Ok(_) => written.lines += 1,
            Err(StoreError::Unavailable { .. }) => written.weather += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    written
}

#[tokio::test]
async fn the_urls_tls_options_are_honoured() {
    let (cluster, authority) = tokio::task::spawn_blocking(|| {
        let cluster = Cluster::start();
        let authority = cluster.certify();
        cluster.stop(Stop::Fast);
        cluster.again();
        (cluster, authority)
    })
    .await
    .unwrap();
    let encrypted = async |parameters: &str| -> Result<bool, StoreError> {
        let url = format!("{}?{parameters}", cluster.url());
        let db = open(&url).await?;
        db.tenants().await?;
        use sqlx::ConnectOptions as _;
        let options: sqlx::postgres::PgConnectOptions = cluster.url().parse().unwrap();
        let found = sqlx::query_scalar(
            "select bool_and(s.ssl) from pg_stat_ssl s join pg_stat_activity a using (pid)
             where a.application_name like 'roasd %'",
        )
        .fetch_one(&mut options.connect().await.unwrap())
        .await
        .unwrap();
        db.close().await;
        Ok(found)
    };
    let authority = authority.display();
    let full = format!("sslmode=verify-full&sslrootcert={authority}");
    assert!(encrypted(&full).await.unwrap());
    assert!(encrypted("sslmode=require").await.unwrap());
    assert!(!encrypted("sslmode=disable").await.unwrap());
    // Signed by nobody whom this machine trusts.
    let refused = encrypted("sslmode=verify-full").await;
    assert!(
        matches!(refused, Err(StoreError::CannotOpen { .. })),
        "{refused:?}"
    );
}

/// Stands between the store and its server, and can fall silent without closing anything, as a
/// machine does that lost its power.
struct Wire {
    port: u16,
    /// Connections that were made before this many falls are dead.
    falls: watch::Sender<u32>,
}

impl Wire {
    async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (falls, fell) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let mut fell = fell.clone();
                tokio::spawn(async move {
                    let born = *fell.borrow();
                    let (mut near, mut far) = (near, far);
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                        _ = fell.wait_for(|falls| *falls != born) => {}
                    }
                    // The server hears the end, the store hears nothing.
                    let _ = far.shutdown().await;
                    std::future::pending::<()>().await;
                    drop(near);
                });
            }
        });
        Self { port, falls }
    }

    fn fall_silent(&self) {
        self.falls.send_modify(|falls| *falls += 1);
    }
}

/// Reads until there is an answer: these time-outs are short, and a busy machine may be late.
async fn answered(db: &Db) {
    for _ in 0..9 {
        if db.tenants().await.is_ok() {
            return;
        }
    }
    db.tenants().await.unwrap();
}

#[tokio::test]
async fn a_server_that_vanishes_is_given_up_and_the_next_one_found() {
    let database = Database::migrated().await;
    let mut url: url::Url = database.url().parse().unwrap();
    let wire = Wire::to(url.port().unwrap()).await;
    url.set_port(Some(wire.port)).unwrap();
    let options = PostgresOptions {
        connections: 3,
        acquire_timeout: Duration::from_secs(3),
        statement_timeout: Duration::from_millis(500),
        ..PostgresOptions::default()
    };
    let store = PostgresStore::open(url.as_str(), options).await.unwrap();
    let db: Db = Arc::new(store);
    for round in 0..2 {
        let all = (0..3).map(|_| {
            let db = db.clone();
            tokio::spawn(async move { answered(&db).await })
        });
        for one in all.collect::<Vec<_>>() {
            one.await.unwrap();
        }
        wire.fall_silent();
        // Each try is given up within its time-outs; the dead connections are as many as the pool's.
        // On a busy machine also the next server may be late for time-outs as short as these.
        let mut tries = 0;
        while let Err(error) = db.ensure_tenant(&acme(), "Acme", at(0)).await {
            tries += 1;
            assert!(tries < 40, "{round}: {error}");
        }
        while let Err(error) = db
            .append_delivery(&acme(), &inbox::delivery("1"), at(0))
            .await
        {
            tries += 1;
            assert!(tries < 40, "{round}: {error}");
        }
    }
}
