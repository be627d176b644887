//! Walk 1 of `ARCHITECTURE.md`: one conversion, from its webhook to the audit log, each step found
//! in the store by the one before it, and read backwards by `roasd explain`.

use std::sync::Arc;

use roasd::cli::explain::{self, ExplainArgs};
use roasd::cli::{CliContext, Exit};
use roasd::clock::Clock as _;
use roasd::domain::audit::AuditEvent;
use roasd::domain::change::{ChangeState, Origin, PendingChange};
use roasd::domain::ids::{AdId, DealId, DecisionId};
use roasd::domain::policy::{Policy as _, PolicyInputs, Record, RoasdPolicy};
use roasd::domain::time::{self, Timestamp};
use roasd::sandbox::Entry;
use roasd::store::crm::CreditedDeal;
use roasd::store::decisions::{DecisionRecord, RunRecord, inputs_from_json};
use serde_json::Value;

use crate::support::{World, tenant};

/// Deals of which a webhook was acknowledged, each with when it first was.
fn told(world: &World) -> Vec<(DealId, Timestamp)> {
    let mut told: Vec<(DealId, Timestamp)> = Vec::new();
    for entry in world.journal() {
        if let Entry::Delivered { at, id, .. } = entry {
            let deal = DealId::new(id.split('/').next().unwrap()).unwrap();
            if told.iter().all(|(known, _)| *known != deal) {
                told.push((deal, time::from_micros(at)));
            }
        }
    }
    told
}

async fn deal(world: &World, id: &DealId) -> Option<CreditedDeal> {
    world.store().deal(&tenant("gym"), id).await.unwrap()
}

/// A change that a decision after `since` led to and that Meta was sent, with that decision.
async fn sent_since(
    world: &World,
    since: Timestamp,
) -> Option<(PendingChange, RunRecord, DecisionRecord)> {
    for change in world.changes("gym").await {
        let Origin::Decision(id) = &change.proposed.origin else {
            continue;
        };
        let found = world.store().decision(id.as_str()).await.unwrap();
        let (_, run, decision) = found.unwrap();
        if run.at > since && change.state == ChangeState::Completed {
            return Some((change, run, decision));
        }
    }
    None
}

/// How many deals the policy saw credited to an ad.
fn evidence(inputs: &PolicyInputs, ad: &AdId) -> usize {
    let seen = inputs.ads.iter().find(|seen| seen.ad == *ad).unwrap();
    match &seen.record {
        Record::Dated { deals, .. } => deals.len(),
        Record::Totals(_) => 0,
    }
}

async fn explained(world: &World, decision: &DecisionId) -> Value {
    let ctx = CliContext {
        config: world.config().clone(),
        store: world.store(),
        clock: Arc::new(world.clock.clone()),
        json: true,
        is_terminal: false,
    };
    let id = decision.to_string();
    let mut out = Vec::new();
    let exit = explain::run(&ExplainArgs { id }, &ctx, &mut out).await;
    assert_eq!(exit.unwrap(), Exit::Done);
    serde_json::from_slice(&out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_moves_a_budget_and_the_log_tells_it_backwards() {
    let world = World::new(8).await;
    let gym = tenant("gym");
    let store = world.store();

    // A webhook is acknowledged, and its deal is read and credited at once, not at the next sync.
    let minute = time::minutes(1);
    let is_told = async || !told(&world).is_empty();
    world
        .run_until("a webhook", minute, time::hours(20), is_told)
        .await;
    let (first, told_at) = told(&world)[0].clone();
    world.run_for(time::minutes(3)).await;
    assert!(deal(&world, &first).await.is_some(), "{first} is known");
    let depth = store.inbox_depth(&gym).await.unwrap();
    assert_eq!((depth.waiting, depth.quarantined), (0, 0));

    // One that came from an ad and has got so far that it is worth something.
    let worth = async || {
        for (id, at) in told(&world) {
            let Some(credited) = deal(&world, &id).await else {
                continue;
            };
            let ledger = store.deal_ledger(&gym, &id).await.unwrap();
            if credited.attribution.is_some() && !ledger.is_empty() {
                return Some((credited, ledger, at));
            }
        }
        None
    };
    let is_worth = async || worth().await.is_some();
    world
        .run_until("revenue", time::hours(1), time::days(3), is_worth)
        .await;
    let (credited, ledger, _) = worth().await.unwrap();
    let attribution = credited.attribution.unwrap();
    let ad = attribution.credit.ad.clone();
    let (structure, _) = store.structure(&gym).await.unwrap().unwrap();
    let placed = &structure.ads[&ad];
    assert_eq!(attribution.credit.campaign.as_ref(), Some(&placed.campaign));
    let clicked_at = attribution.clicked_at;
    assert!(clicked_at.is_none_or(|at| at <= credited.deal.created_at));
    for entry in &ledger {
        assert_eq!(entry.credit.as_ref().map(|c| &c.ad), Some(&ad));
    }
    assert!(ledger[0].amount.minor() > 0, "{ledger:?}");

    // The next decisions see the deal on its ad, and one of them is sent.
    let known_at = world.clock.now();
    let is_sent = async || sent_since(&world, known_at).await.is_some();
    world
        .run_until("a change", time::hours(1), time::days(2), is_sent)
        .await;
    let (change, run, decision) = sent_since(&world, known_at).await.unwrap();
    let inputs = inputs_from_json(&run.inputs_json).unwrap();
    assert!(evidence(&inputs, &ad) > 0, "{ad} has its deal");
    // What was stored is all that went into it.
    let again = RoasdPolicy.decide(&inputs);
    let replayed = again
        .decisions
        .iter()
        .find(|d| d.subject == decision.entity);
    let replayed = replayed.unwrap();
    assert_eq!(replayed.rationale.paragraph(), decision.paragraph);

    // The change became what Meta was sent, and Meta's own number of the call is in the log.
    let lines = store.audit_of_change(&gym, &change.proposed.id).await;
    let lines = lines.unwrap();
    let events: Vec<AuditEvent> = lines.iter().map(|line| line.entry.event).collect();
    let [proposed, .., executing, completed] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(*proposed, AuditEvent::Proposed);
    assert_eq!(*executing, AuditEvent::Executing);
    assert_eq!(*completed, AuditEvent::Completed);
    let end = &lines.last().unwrap().entry;
    let writes = world.writes();
    let write = writes.iter().find(|write| {
        write.entity == decision.entity.id()
            && Some(&write.fbtrace_id) == end.vendor_request.as_ref()
    });
    let write = write.unwrap_or_else(|| panic!("{end:?} in {writes:?}"));
    let times = [
        told_at,
        known_at,
        run.at,
        change.proposed.proposed_at,
        write.at,
        end.at,
    ];
    assert!(times.is_sorted(), "{times:?}");

    let told = explained(&world, &decision.id).await;
    assert_eq!(told["run"], run.id.as_str());
    assert_eq!(told["change"]["id"], change.proposed.id.as_str());
    assert_eq!(told["paragraph"], decision.paragraph);
    let steps = told["audit"].as_array().unwrap();
    let named: Vec<&str> = steps.iter().map(|s| s["event"].as_str().unwrap()).collect();
    let events: Vec<&str> = events.iter().map(|event| event.as_str()).collect();
    assert_eq!(named, events);
    drop(store);
    world.finish().await;
}

/// Webhooks are hints: what a lost one would have told, the next walk finds.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_webhook_costs_time_and_no_revenue() {
    let mut setup = crate::support::Setup::new(7);
    setup.vendors = |vendors| vendors.weather.lost = 1.0;
    let world = World::of(setup).await;
    world.run_to(time::hours(30)).await;
    assert!(told(&world).is_empty());
    let store = world.store();
    let deals = store.deals_since(&tenant("gym"), Timestamp::MIN).await;
    let deals = deals.unwrap();
    let credited = deals.iter().filter(|deal| deal.attribution.is_some());
    assert!(credited.count() > 3, "{} deals", deals.len());
    drop(store);
    world.finish().await;
}
