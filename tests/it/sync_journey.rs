//! The CRM read without its webhooks: walks that are broken off, scans of the whole list, syncs that
//! somebody asks for, merges; and both roads to one ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use roasd::cli::sync::{self, SyncArgs};
use roasd::cli::{CliContext, Exit};
use roasd::clock::Clock as _;
use roasd::domain::attribution::Method;
use roasd::domain::ids::DealId;
use roasd::domain::time::{self, Timestamp};
use roasd::sandbox::{Business, CrmDeal, CrmEdit, SandboxConfig};
use roasd::store::Store;
use roasd::store::syncs::SyncRequest;
use serde_json::Value;

use crate::support::{Setup, World, tenant};

/// Nobody writes to Meta, so that the market is the same whatever roasd knows.
fn watching(seed: u64) -> Setup {
    Setup::new(seed)
        .set("tenants.gym.autonomy", "observe")
        .set("tenants.gym.schedule.sync_every", "1h")
}

/// A past of some dozens of deals, so that there is something to lose.
fn with_a_past(vendors: &mut SandboxConfig) {
    vendors.tenants[0].backlog_deals = 60;
    vendors.tenants[0].backlog_as_lived = true;
}

/// The deals that a person can do something with.
fn deals(world: &World) -> Vec<CrmDeal> {
    world.sandbox().crm(&tenant("gym")).unwrap()
}

fn number(deal: &CrmDeal) -> u64 {
    deal.id.as_str().parse().unwrap()
}

fn edit(world: &World, edit: &CrmEdit) {
    world.sandbox().crm_edit(&tenant("gym"), edit).unwrap();
}

/// What the CRM says that a deal is worth, in minor units.
pub(crate) fn worth(business: Business, deal: &CrmDeal) -> i64 {
    let stages = business.stages();
    let stage = stages.iter().find(|s| s.hubspot_stage == deal.stage);
    let stage = stage.unwrap();
    match deal.amount_minor {
        _ if deal.is_archived => 0,
        Some(minor) if stage.probability == "1.0" => minor,
        _ => stage.value_minor,
    }
}

/// Deals with what they are worth by the CRM; those worth nothing are left out.
pub(crate) fn truth(business: Business, deals: &[CrmDeal]) -> BTreeMap<DealId, i64> {
    let worth = deals.iter().map(|d| (d.id.clone(), worth(business, d)));
    worth.filter(|(_, minor)| *minor != 0).collect()
}

/// Deals with what they are worth by the ledger, and to which ad where an id names it.
async fn ledger(store: &dyn Store, name: &str) -> BTreeMap<DealId, (i64, Vec<(String, i64)>)> {
    let id = tenant(name);
    let known = store.deals_since(&id, Timestamp::MIN).await.unwrap();
    let ids: Vec<DealId> = known.into_iter().map(|deal| deal.deal.id).collect();
    let mut sums: BTreeMap<DealId, BTreeMap<String, i64>> = BTreeMap::new();
    for entry in store.deal_ledgers(&id, &ids).await.unwrap() {
        // Whom a device or an address recognises hangs on who else was known by then.
        let is_named = entry.method == Some(Method::UrlParam);
        let ad = entry.credit.filter(|_| is_named);
        let ad = ad.map_or_else(String::new, |credit| credit.ad.to_string());
        let of = sums.entry(entry.deal).or_default().entry(ad).or_default();
        *of += entry.amount.minor();
    }
    let sums = sums.into_iter().map(|(deal, by_ad)| {
        let by_ad: Vec<_> = by_ad.into_iter().filter(|(_, sum)| *sum != 0).collect();
        (deal, (by_ad.iter().map(|(_, sum)| sum).sum(), by_ad))
    });
    sums.filter(|(_, (sum, by_ad))| *sum != 0 || !by_ad.is_empty())
        .collect()
}

/// The ledger by deal alone.
pub(crate) async fn sums(store: &dyn Store, name: &str) -> BTreeMap<DealId, i64> {
    let ledger = ledger(store, name).await;
    ledger
        .into_iter()
        .map(|(deal, (sum, _))| (deal, sum))
        .collect()
}

/// Has every deal of the CRM read now, so that nothing is behind.
async fn caught_up(world: &World) {
    let (store, gym) = (world.store(), tenant("gym"));
    let ids: Vec<DealId> = deals(world).into_iter().map(|deal| deal.id).collect();
    let now = world.clock.now();
    store.request_deals(&gym, &ids, now).await.unwrap();
    world.daemon().handle().nudge_intake(&gym);
    world.run_for(time::minutes(1)).await;
}

/// That the ledger says what the CRM says.
async fn assert_true(world: &World) {
    caught_up(world).await;
    let crm = truth(Business::Gym, &deals(world));
    assert_eq!(sums(&*world.store(), "gym").await, crm);
}

/// Asks for a sync and runs until it is answered.
async fn synced(world: &World, is_full: bool) -> SyncRequest {
    let (store, gym) = (world.store(), tenant("gym"));
    let now = world.clock.now();
    let asked = store.ask_sync(&gym, "test", is_full, now).await.unwrap();
    world.daemon().handle().nudge_sync(&gym);
    let answer = async || {
        let request = store.sync_request(&gym).await.unwrap();
        request.filter(|r| r.asked_at >= asked && r.done_at.is_some())
    };
    world
        .run_until("a sync", time::seconds(30), time::hours(2), async || {
            answer().await.is_some()
        })
        .await;
    let answer = answer().await.unwrap();
    assert_eq!(answer.progress.failed, None);
    // What it brought is credited.
    world.run_for(time::minutes(5)).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_is_broken_off_goes_on_where_it_was() {
    let mut setup = watching(3);
    setup.vendors = |vendors: &mut SandboxConfig| {
        vendors.weather.lost = 1.0;
        vendors.tenants[0].backlog_deals = 5_000;
        vendors.tenants[0].backlog_as_lived = true;
    };
    let mut world = World::of(setup).await;
    let gym = tenant("gym");
    let place = async |world: &World| {
        let place = world.store().cursor(&gym, "crm.walk").await.unwrap();
        place.filter(|place| !place.is_empty())
    };
    let is_half_way = async || place(&world).await.is_some();
    world
        .run_until("half a walk", time::seconds(1), time::hours(1), is_half_way)
        .await;
    let known = async |world: &World| {
        let store = world.store();
        store.deals_since(&gym, Timestamp::MIN).await.unwrap().len()
    };
    let before = (place(&world).await.unwrap(), known(&world).await);
    assert!((200..5_000).contains(&before.1), "{before:?}");
    world.restart().await;
    world
        .run_until(
            "the whole walk",
            time::minutes(1),
            time::hours(2),
            async || place(&world).await.is_none(),
        )
        .await;
    world.run_for(time::minutes(5)).await;
    assert!(known(&world).await >= 5_000);
    // Credit keeps up: two of three of the past deals name their ad.
    let credited = world.store().deals_since(&gym, Timestamp::MIN).await;
    let credited = credited.unwrap();
    let credited = credited.iter().filter(|d| d.attribution.is_some()).count();
    assert!(credited >= 3_200, "{credited}");
    assert_true(&world).await;
    world.finish().await;
}

/// A deal that was deleted or restored without a word is found by the list, not by the search.
#[tokio::test(flavor = "multi_thread")]
async fn the_whole_list_finds_what_was_deleted_and_restored() {
    let mut setup = watching(7);
    setup.vendors = |vendors: &mut SandboxConfig| {
        with_a_past(vendors);
        vendors.weather.lost = 1.0;
    };
    let world = World::of(setup).await;
    world.run_to(time::hours(30)).await;
    let worthy = deals(&world);
    let worthy = worthy.iter().filter(|d| worth(Business::Gym, d) > 0);
    let deal = number(worthy.clone().next().unwrap());
    let other = number(worthy.clone().nth(1).unwrap());
    edit(&world, &CrmEdit::Delete { deal });
    edit(&world, &CrmEdit::Delete { deal: other });
    world.run_for(time::hours(3)).await;
    let kept = sums(&*world.store(), "gym").await;
    let id = DealId::new(deal.to_string()).unwrap();
    assert!(kept[&id] > 0, "a search does not tell of what is gone");

    let answer = synced(&world, true).await;
    assert!(answer.progress.counts.listed > 3, "{answer:?}");
    let after = sums(&*world.store(), "gym").await;
    assert!(!after.contains_key(&id));
    assert_true(&world).await;
    edit(&world, &CrmEdit::Restore { deal });
    synced(&world, true).await;
    let after = sums(&*world.store(), "gym").await;
    assert!(after.contains_key(&id));
    assert_true(&world).await;
    world.finish().await;
}

/// The credit of a merged deal goes to what is left of it, though that be a third deal.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_carries_the_credit_over_to_a_third_deal() {
    let mut setup = watching(8);
    setup.vendors = |vendors: &mut SandboxConfig| vendors.weather.lost = 0.0;
    let world = World::of(setup).await;
    world.run_to(time::hours(40)).await;
    let store = world.store();
    let before = ledger(&*store, "gym").await;
    let credited = before
        .iter()
        .find(|(_, (sum, by))| *sum > 0 && by.len() == 1 && !by[0].0.is_empty());
    let (id, (sum, by_ad)) = credited.unwrap();
    let primary: u64 = id.as_str().parse().unwrap();
    let others = deals(&world);
    let plain = |d: &&CrmDeal| worth(Business::Gym, d) == 0 && !d.is_archived && d.id != *id;
    let other = number(others.iter().find(plain).unwrap());
    let (is_third, gone) = (true, id.clone());
    edit(
        &world,
        &CrmEdit::Merge {
            primary,
            other,
            is_third,
        },
    );
    world.run_for(time::hours(2)).await;
    let after = ledger(&*store, "gym").await;
    assert!(!after.contains_key(&gone), "it is part of another");
    let third = deals(&world);
    let mut third = third
        .iter()
        .map(|d| &d.id)
        .filter(|d| d.as_str().starts_with('4'));
    let third = third.next_back().unwrap();
    let (left, left_by) = &after[third];
    assert!(left >= sum && left_by[0].0 == by_ad[0].0, "{left_by:?}");
    assert_true(&world).await;
    drop(store);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_a_sync_is_told_what_was_read() {
    let world = World::of(watching(8)).await;
    world.run_to(time::hours(5)).await;
    let ctx = CliContext {
        config: world.config().clone(),
        store: world.store(),
        clock: Arc::new(world.clock.clone()),
        json: true,
        is_terminal: false,
    };
    let args = SyncArgs {
        tenant: Some(tenant("gym")),
        full: true,
        no_wait: false,
    };
    let asked = tokio::spawn({
        let (ctx, args) = (ctx.clone(), args.clone());
        async move {
            let mut out = Vec::new();
            let exit = sync::run(&args, &ctx, &mut out).await.unwrap();
            (exit, out)
        }
    });
    while !asked.is_finished() {
        world.run_for(time::seconds(5)).await;
        tokio::task::yield_now().await;
    }
    let (exit, out) = asked.await.unwrap();
    assert_eq!(exit, Exit::Done);
    let told: Value = serde_json::from_slice(&out).unwrap();
    let told = &told["tenants"][0];
    assert_eq!(told["tenant"], "gym");
    assert_eq!(told["failed"], Value::Null);
    let there = deals(&world).len() as u64;
    let listed = told["read"]["listed"].as_u64().unwrap();
    assert!((1..=there).contains(&listed), "{told} of {there}");

    // The lock is let go with the daemon, and then nobody would read anything.
    let mut stranger = ctx.clone();
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("roasd.db").display());
    let text = format!("[daemon]\ndatabase_url = {url:?}\n");
    let none = roasd::config::Environment::from([] as [(&str, &str); 0]);
    stranger.config = roasd::config::Config::from_text("test", &text, &none).unwrap();
    let exit = sync::run(&args, &stranger, &mut Vec::new()).await.unwrap();
    assert_eq!(exit, Exit::Failed);
    drop((ctx, stranger));
    world.finish().await;
}

/// What happens to the word of a change.
#[derive(Debug, Clone, Copy)]
enum Road {
    /// Webhooks alone would do.
    Webhooks,
    /// None ever comes.
    Sync,
    /// Twice, late, out of order, or never.
    Weather,
}

/// Something that a person might do now.
pub(crate) fn random_edit(
    rng: &mut ChaCha12Rng,
    deals: &[CrmDeal],
    stages: &[&'static str],
) -> Option<CrmEdit> {
    let there: Vec<&CrmDeal> = deals.iter().filter(|d| !d.is_archived).collect();
    let deal = number(there.choose(rng)?);
    Some(match rng.random_range(0..10) {
        // Forward, backward, past others, open again, lost.
        0..=4 => CrmEdit::Stage {
            deal,
            stage: (*stages.choose(rng)?).to_owned(),
        },
        // A refund, too.
        5..=6 => CrmEdit::Amount {
            deal,
            minor: rng.random_range(0..9_000) * 50,
        },
        7 => CrmEdit::Delete { deal },
        8 => CrmEdit::Merge {
            primary: deal,
            other: number(there.iter().find(|d| number(d) != deal)?),
            is_third: rng.random_bool(0.5),
        },
        _ => {
            let gone: Vec<&CrmDeal> = deals.iter().filter(|d| d.is_archived).collect();
            CrmEdit::Restore {
                deal: number(gone.choose(rng)?),
            }
        }
    })
}

/// A day and a half of edits by one road; the ledger by deal and ad, and what the CRM says.
async fn by_road(
    seed: u64,
    road: Road,
) -> (
    BTreeMap<DealId, (i64, Vec<(String, i64)>)>,
    BTreeMap<DealId, i64>,
) {
    let mut setup = watching(seed);
    setup.vendors = match road {
        Road::Webhooks => |vendors| {
            with_a_past(vendors);
            vendors.weather.lost = 0.0;
            vendors.weather.duplicated = 0.0;
            vendors.weather.late = 0.0;
        },
        Road::Sync => |vendors| {
            with_a_past(vendors);
            vendors.weather.lost = 1.0;
        },
        Road::Weather => |vendors| {
            with_a_past(vendors);
            vendors.weather.lost = 0.3;
            vendors.weather.duplicated = 0.3;
            vendors.weather.late = 0.4;
        },
    };
    let world = World::of(setup).await;
    let stages: Vec<_> = Business::Gym
        .stages()
        .iter()
        .map(|s| s.hubspot_stage)
        .collect();
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    for _ in 0..72 {
        world.run_for(time::minutes(30)).await;
        if let Some(edit) = random_edit(&mut rng, &deals(&world), &stages) {
            // A deal that is part of another is not restored.
            let _ = world.sandbox().crm_edit(&tenant("gym"), &edit);
        }
    }
    // What is late arrives; what nobody told of is in the list.
    world.run_for(time::hours(2)).await;
    synced(&world, true).await;
    let end = time::hours(42);
    world.run_to(end).await;
    caught_up(&world).await;
    let ledger = ledger(&*world.store(), "gym").await;
    let truth = truth(Business::Gym, &deals(&world));
    world.finish().await;
    (ledger, truth)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_roads_end_in_the_same_ledger_whatever_the_order() {
    for seed in [11, 12, 13] {
        let (by_webhooks, truth) = by_road(seed, Road::Webhooks).await;
        let sums = by_webhooks
            .iter()
            .map(|(deal, (sum, _))| (deal.clone(), *sum));
        let sums: BTreeMap<DealId, i64> = sums.filter(|(_, sum)| *sum != 0).collect();
        assert_eq!(sums, truth, "seed {seed}");
        assert!(truth.len() > 5, "seed {seed}: {truth:?}");
        for road in [Road::Sync, Road::Weather] {
            let (by_road, same) = by_road(seed, road).await;
            assert_eq!(same, truth, "seed {seed}, {road:?}: another market");
            assert_eq!(by_road, by_webhooks, "seed {seed}, {road:?}");
        }
    }
}
