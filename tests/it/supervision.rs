//! What happens when a part fails: it is started again ever later, then its parent fails, then the
//! tenant is parked until a person resumes it; and nobody else notices.

use roasd::actors::handle::{Stage, StageHealth, TenantHealth};
use roasd::clock::Clock as _;
use roasd::domain::time::{self, SignedDuration, Timestamp};
use roasd::store::jobs::JobStatus;
use roasd::store::tenants::Held;

use crate::support::{Setup, World, tenant};

/// The gym fails on cue, the shop does not.
async fn failing(cue: &'static str) -> World {
    let mut setup = Setup::new(7);
    setup.tenants = &["gym", "shop"];
    setup.panic = Some(cue);
    World::of(setup).await
}

fn health(world: &World, name: &str) -> TenantHealth {
    let mut all = world.daemon().handle().health();
    all.remove(&tenant(name)).unwrap()
}

fn executor(world: &World) -> StageHealth {
    health(world, "gym").stages[&Stage::Executor].clone()
}

/// When, in steps of `step`, a count went up.
async fn rises(
    world: &World,
    step: SignedDuration,
    times: usize,
    count: impl Fn(&World) -> u64,
) -> Vec<Timestamp> {
    let mut seen = count(world);
    let mut at = Vec::new();
    while at.len() < times {
        world.run_for(step).await;
        let now = count(world);
        for _ in seen..now {
            at.push(world.clock.now());
        }
        seen = now;
        let passed = time::between(world.start, world.clock.now());
        assert!(passed < time::hours(3), "only {} of {times}", at.len());
    }
    at
}

/// What lies between one time and the next.
fn gaps(times: &[Timestamp]) -> Vec<SignedDuration> {
    let pairs = times.windows(2);
    pairs.map(|pair| time::between(pair[0], pair[1])).collect()
}

async fn job(world: &World, name: &str, stage: &str) -> JobStatus {
    let jobs = world.store().job_status(&tenant(name)).await.unwrap();
    jobs.into_iter().find(|job| job.job == stage).unwrap()
}

/// All stages of a tenant but these never failed, and the tenant never did.
fn untouched(health: &TenantHealth, but: &[Stage]) {
    assert!(health.is_running);
    assert_eq!((health.restarts, &health.parked), (0, &None));
    for (stage, health) in &health.stages {
        if !but.contains(stage) {
            assert_eq!((health.restarts, health.is_down), (0, false), "{stage}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_is_started_again_ever_later_and_no_other_is_touched() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let world = failing("gym/executor@1..5").await;
        let step = time::millis(10);
        let falls = rises(&world, step, 5, |world| executor(world).restarts).await;
        let health = executor(&world);
        assert!(health.is_down);
        assert_eq!(
            health.trouble_since,
            Some(falls[0]).map(|at| {
                // It failed at its first look, a millisecond after the beginning.
                assert_eq!(at, time::add(world.start, step));
                time::add(world.start, time::millis(1))
            })
        );
        let delays = gaps(&falls);
        for (n, delay) in delays.iter().enumerate() {
            let most = time::seconds(1 << n) + step;
            assert!(*delay <= most, "{n}: {delay:#} of {most:#}");
        }
        assert!(delays[3] > time::seconds(1), "it doubles: {delays:?}");
        runs.push(falls);
        if runs.len() == 2 {
            // The sixth look is good: it is well again, and has forgotten nothing.
            world.run_for(time::seconds(16)).await;
            let health = executor(&world);
            assert_eq!((health.trouble, health.is_down), (None, false));
            assert_eq!(health.restarts, 5);
            world.run_to(time::hours(3)).await;
            assert!(!world.writes().is_empty(), "it works");
        }
        untouched(&self::health(&world, "gym"), &[Stage::Executor]);
        untouched(&self::health(&world, "shop"), &[]);
        assert!(job(&world, "shop", "sync").await.last_success.is_some());
        world.finish().await;
    }
    assert_eq!(runs[0], runs[1], "the same seed draws the same delays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_fails_too_often_is_parked_until_a_person_resumes_it() {
    // Six failures in a row fail the tenant, four failures of the tenant park it.
    let mut world = failing("gym/executor@1..24").await;
    let step = time::seconds(1);
    let falls = rises(&world, step, 4, |world| health(world, "gym").restarts).await;
    for (n, delay) in gaps(&falls).into_iter().enumerate() {
        // Its own wait, and those of its executor before the sixth failure.
        let most = time::seconds((30 << n) + 1 + 2 + 4 + 8 + 16) + step;
        assert!(delay <= most, "{n}: {delay:#} of {most:#}");
    }
    let gym = health(&world, "gym");
    assert!(!gym.is_running);
    let why = gym.parked.unwrap();
    assert!(why.contains("executor of gym failed too often"), "{why}");
    let id = tenant("gym");
    let parked = world.store().holds(&id).await.unwrap().parked.unwrap();
    assert_eq!((parked.by.as_str(), &parked.reason), ("roasd", &why));
    assert!(time::between(parked.since, falls[3]) < step);

    // It shows, and the shop goes on as if nothing were.
    let report = world.health().await;
    assert_eq!(report["tenants"]["gym"]["state"], "parked", "{report:#}");
    assert_eq!(report["status"], "degraded");
    world.run_to(time::hours(7)).await;
    let (status, _) = world.get("/healthz").await;
    assert_eq!(status, 503, "for longer than its grace");
    untouched(&health(&world, "shop"), &[]);
    let writes = |world: &World, of: &str| {
        let writes = world.writes();
        writes.iter().filter(|write| write.tenant == of).count()
    };
    assert!(writes(&world, "shop") > 0);
    assert_eq!(writes(&world, "gym"), 0);

    // A restart of the daemon does not undo it; a person does.
    world.restart().await;
    world.run_for(time::hours(1)).await;
    assert_eq!(world.health().await["tenants"]["gym"]["state"], "parked");
    let now = world.clock.now();
    assert!(world.store().resume(Some(&id), "ada", now).await.unwrap());
    world.run_for(time::minutes(2)).await;
    let report = world.health().await;
    assert_eq!(report["tenants"]["gym"]["state"], "running", "{report:#}");
    world.run_for(time::hours(8)).await;
    assert_eq!(world.health().await["status"], "ok");
    assert!(writes(&world, "gym") > 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_tenant_has_its_failures_forgiven() {
    let world = failing("gym/executor@1..36").await;
    let id = tenant("gym");
    let park = async || {
        let is_parked = async || world.store().holds(&id).await.unwrap().parked.is_some();
        let minute = time::minutes(1);
        world
            .run_until("parking", minute, time::hours(1), is_parked)
            .await;
        health(&world, "gym").restarts
    };
    assert_eq!(park().await, 4);
    let now = world.clock.now();
    world.store().resume(Some(&id), "ada", now).await.unwrap();
    // Two more failures of the tenant are borne; had the first four counted, one would park it.
    world.run_for(time::minutes(20)).await;
    let gym = health(&world, "gym");
    assert!(gym.is_running, "{gym:?}");
    assert_eq!(gym.restarts, 2);
    assert_eq!(world.store().holds(&id).await.unwrap().parked, None);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_tenant_is_not_parked_and_a_parked_one_stays_paused() {
    let world = failing("gym/executor@1..24").await;
    let id = tenant("gym");
    let held = Held {
        by: "ada".to_owned(),
        reason: "budget review".to_owned(),
        since: world.clock.now(),
    };
    world.store().pause(Some(&id), &held).await.unwrap();
    world.run_to(time::hours(1)).await;
    let holds = world.store().holds(&id).await.unwrap();
    assert_eq!(holds.paused, Some(held));
    assert!(holds.parked.is_some(), "a panic is a panic, paused or not");
    world.finish().await;
}
