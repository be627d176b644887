//! The kill switch as a whole: the emergency file, a stop of all spend, and starting again.

use std::time::Duration;

use roasd::actors::spend;
use roasd::clock::{Clock as _, wall_sleep};
use roasd::domain::change::Target;
use roasd::domain::manage::Manage;
use roasd::domain::structure::{EntityRef, RunStatus};
use roasd::domain::time;
use roasd::store::tenants::Held;

use crate::support::{Setup, World, tenant};

/// Whether the installation is paused, within two seconds of the machine's time.
async fn becomes_paused(world: &World, is_paused: bool) -> bool {
    let store = world.store();
    for _ in 0..200 {
        let holds = store.holds(&tenant("gym")).await.unwrap();
        if holds.daemon_paused.is_some() == is_paused {
            return true;
        }
        wall_sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emergency_file_pauses_every_node_through_the_store_and_ends_with_it() {
    let world = World::of(Setup::new(8)).await;
    let file = world.parts().data_dir.join("PAUSE");
    std::fs::write(&file, "").unwrap();
    assert!(becomes_paused(&world, true).await);
    world.run_to(time::hours(6)).await;
    assert!(world.writes().is_empty(), "nothing left");
    // A pause that a person made besides stays when the file goes.
    let store = world.store();
    let held = Held {
        by: "cli:sim".to_owned(),
        reason: "a look".to_owned(),
        since: world.clock.now(),
    };
    store.pause(Some(&tenant("gym")), &held).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(becomes_paused(&world, false).await);
    world.run_to(time::hours(12)).await;
    assert!(world.writes().is_empty(), "the tenant is paused still");
    store
        .resume(Some(&tenant("gym")), "cli:sim", world.clock.now())
        .await
        .unwrap();
    drop(store);
    world.run_to(time::hours(30)).await;
    assert!(!world.writes().is_empty(), "it goes on");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_pauses_what_runs_and_a_restart_resumes_only_that() {
    let mut world = World::of(Setup::new(8)).await;
    world.run_to(time::hours(2)).await;
    let (gym, store) = (tenant("gym"), world.store());
    let (structure, _) = store.structure(&gym).await.unwrap().unwrap();
    let running: Vec<String> = structure
        .campaigns
        .values()
        .filter(|c| c.status == RunStatus::Active)
        .map(|c| c.id.to_string())
        .collect();
    assert!(!running.is_empty());
    let now = world.clock.now();
    let held = Held {
        by: "cli:sim".to_owned(),
        reason: "fraud".to_owned(),
        since: now,
    };
    store.pause(Some(&gym), &held).await.unwrap();
    let before = world.writes().len();
    let manage = Manage::default();
    let stopped = spend::stop(store.as_ref(), &gym, &manage, "cli:sim", now)
        .await
        .unwrap();
    assert_eq!(stopped.campaigns, running.len() as u64);
    drop(store);
    // Over a restart of the process as well.
    world.restart().await;
    world.run_for(time::hours(3)).await;
    let writes = world.writes();
    let mut paused: Vec<&str> = writes[before..].iter().map(|w| w.entity.as_str()).collect();
    paused.sort_unstable();
    let mut wanted: Vec<&str> = running.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    assert_eq!(paused, wanted, "the campaigns, and nothing else");
    assert!(writes[before..].iter().all(|w| w.new == "PAUSED"));

    let store = world.store();
    let now = world.clock.now();
    store.resume(Some(&gym), "cli:sim", now).await.unwrap();
    let again = spend::restart(store.as_ref(), &gym, "cli:sim", now)
        .await
        .unwrap();
    assert_eq!(again.campaigns, running.len() as u64);
    drop(store);
    let after = world.writes().len();
    world.run_for(time::hours(2)).await;
    let resumed = world.writes();
    let statuses = resumed[after..]
        .iter()
        .filter(|w| running.contains(&w.entity));
    let statuses: Vec<&str> = statuses.map(|w| w.new.as_str()).collect();
    assert_eq!(statuses, vec!["ACTIVE"; running.len()]);
    for change in world.changes("gym").await {
        let is_stop = matches!(change.proposed.entity, EntityRef::Campaign(_))
            && change.proposed.requested == Target::Status(RunStatus::Paused);
        assert!(!is_stop || change.intent.is_some(), "{change:?}");
    }
    world.finish().await;
}
