//! Walk 2 of `ARCHITECTURE.md`: rows of figures, from Meta's pages through the store to what the
//! policy sees, and in passing to the look-alikes of each ad.

use roasd::clock::Clock as _;
use roasd::domain::money::Money;
use roasd::domain::policy::{PolicyInputs, Record};
use roasd::domain::time::{self, TimeZone, Timestamp};
use roasd::store::decisions::inputs_from_json;
use roasd::vendors::embedder::Embedder as _;
use roasd::vendors::embedder::lexical::Lexical;

use crate::support::{Setup, World, tenant};

/// What Meta's figures come to for a day, and how many rows they are.
async fn told(world: &World, day: time::Date) -> (Money, usize) {
    let (store, gym) = (world.store(), tenant("gym"));
    let spend = store.spend_by_day(&gym, day).await.unwrap();
    let of_day = spend.iter().find(|(of, _)| *of == day);
    let rows = store.daily_insights(&gym, day).await.unwrap();
    let rows = rows.iter().filter(|row| row.window.day() == day);
    (of_day.map(|(_, money)| *money).unwrap(), rows.count())
}

/// What was really spent on a day.
fn truth(world: &World, day: time::Date, zone: &TimeZone) -> i64 {
    let until = |at| {
        let totals = world.sandbox().truth(&tenant("gym"), at);
        totals.unwrap().spend.minor()
    };
    let next = time::add_days(day, 1);
    until(time::day_start(next, zone)) - until(time::day_start(day, zone))
}

fn spend_seen(inputs: &PolicyInputs) -> f64 {
    let buckets = inputs.ads.iter().flat_map(|ad| match &ad.record {
        Record::Dated { buckets, .. } => buckets.as_slice(),
        Record::Totals(_) => &[],
    });
    buckets.map(|bucket| bucket.spend).sum()
}

async fn watermark(world: &World) -> Timestamp {
    let watermark = world.store().insights_watermark(&tenant("gym")).await;
    watermark.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restated_figure_replaces_itself_and_reaches_the_policy_once() {
    let setup = Setup::new(7).set("tenants.gym.schedule.decide_every", "24h");
    let world = World::of(setup).await;
    let (store, gym) = (world.store(), tenant("gym"));
    world.run_to(time::hours(3)).await;
    let (structure, _) = store.structure(&gym).await.unwrap().unwrap();
    let zone = structure.account.time_zone().unwrap();
    let ads = structure.ads.len();
    let first_mark = watermark(&world).await;

    // The first whole day of the account, a few hours after its end: Meta has not counted it all.
    let day = time::add_days(time::day_of(world.start, &zone), 1);
    let ended = time::day_start(time::add_days(day, 1), &zone);
    world
        .clock
        .run_until(time::add(ended, time::hours(3)))
        .await;
    let (early, rows) = told(&world, day).await;
    let really = truth(&world, day, &zone);
    assert!(early.minor() < really, "{early} of {really}");
    assert!(early.minor() > really * 9 / 10, "{early} of {really}");
    assert_eq!(rows, ads, "one row an ad");
    let hourly = store.hourly_insights(&gym, day).await.unwrap();
    let by_hour = hourly.iter().filter(|row| row.window.day() == day);
    let by_hour: i64 = by_hour.map(|row| row.spend.minor()).sum();
    let rounding = (24 * ads) as i64;
    assert!((by_hour - early.minor()).abs() <= rounding, "{by_hour}");
    let second_mark = watermark(&world).await;
    assert!(second_mark > first_mark);

    // Every look-alike that was published went into the decision, and no ad is its own.
    let past = store.past_ads(&gym, Lexical.model()).await.unwrap();
    assert_eq!(past.len(), ads);
    let run_at = store.latest_run_at(&gym).await.unwrap().unwrap();
    let decision = &store.latest_decisions(&gym).await.unwrap()[0];
    let (_, run, _) = store.decision(decision.id.as_str()).await.unwrap().unwrap();
    let inputs = inputs_from_json(&run.inputs_json).unwrap();
    assert_eq!(inputs.ads.len(), ads);
    for ad in &inputs.ads {
        assert_eq!(ad.neighbours.len(), (ads - 1).min(20), "of {}", ad.ad);
        assert!(ad.neighbours.iter().all(|(other, _)| *other != ad.ad));
    }
    let spent = world.sandbox().truth(&gym, run_at).unwrap().spend.to_f64();
    // The hour under way is in the truth as a whole, and Meta is a few per cent short.
    let share = spend_seen(&inputs) / spent;
    assert!((0.85..=1.0).contains(&share), "the policy saw {share}");

    // When Meta has counted it all, what is kept is all of it and not more.
    world.clock.run_until(time::add(ended, time::days(4))).await;
    let (late, rows) = told(&world, day).await;
    assert!((late.minor() - really).abs() <= ads as i64, "{late}");
    assert_eq!(rows, ads);
    let mark = watermark(&world).await;
    assert!(mark > second_mark);
    let age = time::between(mark, world.clock.now());
    assert!(age <= world.parts().tenants[&gym].settings.schedule.sync_every * 2);
    drop(store);
    world.finish().await;
}
