//! Values and rates that change: every deal is worth what the configuration in force says of its
//! stage, also one that nothing happened to since. The end of the world asks it of every deal.

use roasd::domain::ids::StageName;
use roasd::domain::money::Money;
use roasd::domain::revenue::EntryKind;
use roasd::domain::time;

use crate::support::{World, tenant};

/// Deals in a stage of this name, with how many entries each has and what they come to.
async fn in_stage(world: &World, name: &str) -> Vec<(String, usize, i64)> {
    let stages = &world.parts().tenants[&tenant("gym")].settings.stages;
    let store = world.store();
    let mut found = Vec::new();
    let all = store
        .deals_since(&tenant("gym"), time::from_seconds(0))
        .await;
    for deal in all.unwrap() {
        let stage = stages.by_vendor_id(&deal.deal.stage);
        if stage.is_none_or(|stage| stage.name.as_str() != name) {
            continue;
        }
        let ledger = store.deal_ledger(&tenant("gym"), &deal.deal.id).await;
        let ledger = ledger.unwrap();
        let sum = ledger.iter().map(|entry| entry.amount.minor()).sum();
        found.push((deal.deal.id.to_string(), ledger.len(), sum));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_value_reaches_every_deal_by_a_difference() {
    let mut world = World::new(11).await;
    world.run_to(time::days(4)).await;
    let name = StageName::new("appointment_scheduled").unwrap();
    let before = in_stage(&world, name.as_str()).await;
    assert!(before.len() > 2, "{before:?}");
    let old = before[0].2;
    let value = Money::from_minor(
        old + 12_345,
        world.config().tenants[&tenant("gym")].settings.currency,
    );
    world
        .reload(|config| {
            let gym = config.tenants.get_mut(&tenant("gym")).unwrap();
            let stage = gym.stages.iter_mut().find(|s| s.value.name == name);
            stage.unwrap().value.value = value;
        })
        .await;
    world.run_for(time::minutes(10)).await;
    let after = in_stage(&world, name.as_str()).await;
    let of = |id: &str| after.iter().find(|(known, ..)| known == id);
    let mut restated = 0;
    for (id, entries, _) in &before {
        // Those that have moved on meanwhile are another matter.
        let Some((_, entries_now, sum)) = of(id) else {
            continue;
        };
        assert_eq!(*sum, value.minor(), "of {id}");
        assert_eq!(*entries_now, entries + 1, "one difference for {id}");
        restated += 1;
    }
    assert!(restated > 2, "{before:?} then {after:?}");
    let (store, gym, id) = (world.store(), tenant("gym"), after[0].0.parse().unwrap());
    let ledger = store.deal_ledger(&gym, &id).await.unwrap();
    drop(store);
    assert_eq!(ledger.last().unwrap().kind, EntryKind::Amount);
    world.finish().await;
}
