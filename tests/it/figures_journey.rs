//! The figures of an account that is large by its settings: parts, reports, and what becomes of those
//! that fail, over the sandbox's HTTP.

use crate::support::{Setup, World, tenant};
use roasd::clock::Clock as _;
use roasd::domain::time;
use roasd::sandbox::{Fault, FaultAction, ReportFate, Vendor};

const PASSES: [&str; 4] = ["3d", "7d", "28d", "hours"];

/// The passes that are under way.
async fn under_way(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for name in PASSES {
        let key = format!("sync.pass.{name}");
        let kept = world.store().cursor(&tenant("gym"), &key).await.unwrap();
        found.extend(kept.filter(|text| !text.is_empty()));
    }
    found
}

async fn days_known(world: &World) -> usize {
    let today = time::day_of(world.clock.now(), &time::TimeZone::UTC);
    let since = time::add_days(today, -27);
    let rows = world.store().spend_by_day(&tenant("gym"), since).await;
    rows.unwrap().len()
}

/// A gym whose account has run for longer than figures are read back.
fn setup(seed: u64) -> Setup {
    Setup {
        vendors: |config| config.history = time::days(40),
        ..Setup::new(seed)
    }
}

fn reports(seed: u64) -> Setup {
    setup(seed).set("meta.reports.from_rows", "1")
}

async fn has_order(world: &World) -> bool {
    let passes = under_way(world).await;
    passes.iter().any(|pass| pass.contains("\"run\""))
}

async fn is_quiet(world: &World) -> bool {
    under_way(world).await.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_fail_are_ordered_again_or_smaller() {
    let world = World::of(reports(31)).await;
    let fates = [
        ReportFate::Missing { looks: 1 },
        ReportFate::Skipped,
        ReportFate::Fails {
            code: 100,
            subcode: 1_487_534,
        },
        ReportFate::Fails {
            code: -2,
            subcode: 2_490_547,
        },
        ReportFate::Slow { seconds: 900 },
    ];
    for (n, fate) in (0..).zip(fates) {
        world.sandbox().add_fault(Fault {
            skip: n,
            ..Fault::next(
                Vendor::Meta,
                "POST",
                "/insights",
                FaultAction::Report { fate },
            )
        });
    }
    // The first pass of all is read at once, since nothing is known yet; then all are ordered.
    let (minute, hours) = (time::minutes(1), time::hours(3));
    world
        .run_until("an order", minute, hours, async || has_order(&world).await)
        .await;
    world
        .run_until("the end of all passes", minute, hours, async || {
            is_quiet(&world).await
        })
        .await;
    assert!(days_known(&world).await >= 27);
    // The control loop goes on meanwhile, and figures stay fresh.
    world.run_for(time::hours(6)).await;
    let mark = world.store().insights_watermark(&tenant("gym")).await;
    let age = time::between(mark.unwrap().unwrap(), world.clock.now());
    assert!(age < time::hours(3), "{age:#}");
    let decided = world.store().latest_run_at(&tenant("gym")).await.unwrap();
    let age = time::between(decided.unwrap(), world.clock.now());
    assert!(age < time::hours(3), "{age:#}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_under_way_outlives_a_restart() {
    let mut world = World::of(reports(32)).await;
    world.sandbox().add_fault(Fault {
        times: 0,
        ..Fault::next(
            Vendor::Meta,
            "POST",
            "/insights",
            FaultAction::Report {
                fate: ReportFate::Slow { seconds: 1_200 },
            },
        )
    });
    world
        .run_until("an order", time::seconds(20), time::hours(3), async || {
            has_order(&world).await
        })
        .await;
    let before = under_way(&world).await;
    let run = |pass: &str| {
        let rest = pass
            .split_once("\"run\":\"")
            .map(|(_, rest)| rest.to_owned());
        rest.and_then(|rest| Some(rest.split_once('"')?.0.to_owned()))
    };
    let ordered: Vec<String> = before.iter().filter_map(|pass| run(pass)).collect();
    world.restart().await;
    world.run_for(time::minutes(2)).await;
    let after = under_way(&world).await.join(" ");
    assert!(
        ordered.iter().all(|run| after.contains(run.as_str())),
        "{after}"
    );
    world.end_faults().await;
    world
        .run_until("the end", time::minutes(1), time::hours(3), async || {
            is_quiet(&world).await
        })
        .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_at_once_is_read_in_parts() {
    let world = World::of(setup(33)).await;
    // Whatever the page's size, 28 days and 14 are too much.
    world.sandbox().add_fault(Fault {
        times: 8,
        ..Fault::next(Vendor::Meta, "GET", "/insights", FaultAction::ReduceData)
    });
    world.run_for(time::hours(2)).await;
    assert!(days_known(&world).await >= 27);
    assert!(is_quiet(&world).await, "nothing is left over");
    let size = world.store().cursor(&tenant("gym"), "sync.size.days").await;
    assert!(size.unwrap().unwrap().contains("at_once"), "it is learned");
    world.finish().await;
}
