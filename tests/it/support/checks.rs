//! What must hold when a world has come to its end, whatever was done in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use roasd::config::{Config, Tenant};
use roasd::daemon::{Parts, TenantParts};
use roasd::domain::audit::{self, AuditEntry, AuditEvent};
use roasd::domain::change::{ChangeState, PendingChange, Target};
use roasd::domain::ids::{ChangeId, DealId, TenantId};
use roasd::domain::invariants::{self, Sending};
use roasd::domain::money::Money;
use roasd::domain::revenue::{Valuation, valuation};
use roasd::domain::structure::RunStatus;
use roasd::domain::time::Timestamp;
use roasd::sandbox::journal::AcceptedWrite;
use roasd::sandbox::{Entry, Journal};
use roasd::store::Store;
use roasd::store::changes::ChangeFilter;

use super::ALL;

/// What somebody must still settle.
pub(crate) const HELD: [ChangeState; 2] = [ChangeState::Claimed, ChangeState::Executing];

/// Everything there is to ask of the database and the journal in `dir` at `now`. No change may be left
/// in one of the states `unsettled`.
pub(crate) async fn all(dir: &Path, config: &Config, now: Timestamp, unsettled: &[ChangeState]) {
    let url = config.database_url();
    let store = roasd::store::open_existing(url.expose()).await.unwrap();
    let store = store.as_ref();
    let writes = super::writes_of_roasd(dir, config);
    for write in &writes {
        assert_ne!(write.old, write.new, "a change was sent twice: {write:?}");
    }
    let blocked = Journal::read(&Journal::path(dir)).unwrap();
    let blocked: Vec<Entry> = blocked.into_iter().filter(is_blocked).collect();
    assert!(blocked.is_empty(), "calls while Meta blocks: {blocked:?}");
    let parts = Parts::of(config).unwrap();
    for (id, tenant) in &config.tenants {
        let own = writes.iter().filter(|write| write.tenant == id.as_str());
        let own: Vec<&AcceptedWrite> = own.collect();
        let audit = audit_of(store, id).await;
        changes(store, id, &audit, &own, tenant, unsettled).await;
        revenue(store, &parts.tenants[id], now).await;
        budgets(store, &parts.tenants[id]).await;
    }
    store.close().await;
}

fn is_blocked(entry: &Entry) -> bool {
    matches!(entry, Entry::Blocked { .. })
}

async fn audit_of(store: &dyn Store, id: &TenantId) -> Vec<AuditEntry> {
    let lines = store.audit_lines(id, 0, ALL).await.unwrap();
    audit::verify(&lines).unwrap();
    lines.into_iter().map(|line| line.entry).collect()
}

/// INV-3, INV-4, INV-6 and INV-7, nothing left unsettled, and the sandbox's journal beside the log.
async fn changes(
    store: &dyn Store,
    id: &TenantId,
    audit: &[AuditEntry],
    writes: &[&AcceptedWrite],
    tenant: &Tenant,
    unsettled: &[ChangeState],
) {
    let filter = ChangeFilter {
        tenant: Some(id.clone()),
        states: Vec::new(),
        limit: ALL,
    };
    let changes: Vec<PendingChange> = store.changes(&filter).await.unwrap();
    for change in &changes {
        let is_settled = !unsettled.contains(&change.state);
        assert!(is_settled, "left unsettled: {change:?}");
    }
    invariants::one_change_is_open_per_object_and_kind(&changes).unwrap();
    invariants::settled_changes_are_closed_once(&changes, audit).unwrap();
    let owners = changes.iter().map(|change| &change.proposed.tenant);
    let owners = owners.chain(audit.iter().map(|line| &line.tenant));
    invariants::tenants_read_only_their_own(owners.map(|owner| (id, owner))).unwrap();

    let intents = audit.iter().filter(|l| l.event == AuditEvent::Executing);
    let intents: Vec<Sending> = intents.map(intent).collect();
    let currency = tenant.settings.currency;
    let value = |write: &AcceptedWrite| match write.field.as_str() {
        "daily_budget" => {
            let minor = write.new.parse().unwrap();
            Target::DailyBudget(Money::from_minor(minor, currency))
        }
        _ => Target::Status(RunStatus::parse(&write.new).unwrap()),
    };
    // The journal knows no change; the newest intent to send just this is what it was for.
    let calls: Vec<Sending> = writes
        .iter()
        .map(|write| {
            let meant = intents.iter().rev().find(|intent| {
                intent.entity.id() == write.entity
                    && intent.target == value(write)
                    && intent.at <= write.at
            });
            let unknown = || {
                let of_it = intents.iter().filter(|i| i.entity.id() == write.entity);
                let of_it: Vec<_> = of_it.collect();
                panic!("Meta was called without an intent: {write:?}, only {of_it:?}")
            };
            Sending {
                at: write.at,
                ..meant.cloned().unwrap_or_else(unknown)
            }
        })
        .collect();
    invariants::every_call_has_a_committed_intent(&calls, &intents).unwrap();

    // One accepted write for each change that the log says was sent and is in force, and none more.
    let sent = audit
        .iter()
        .filter(|line| line.event == AuditEvent::Completed && line.before != line.after);
    let sent: BTreeSet<&ChangeId> = sent.filter_map(|line| line.change.as_ref()).collect();
    let mut accepted: BTreeMap<&ChangeId, usize> = BTreeMap::new();
    for call in &calls {
        *accepted.entry(&call.change).or_default() += 1;
    }
    for change in &sent {
        assert_eq!(accepted.get(change), Some(&1), "of {change}");
    }
    // A change may be accepted and not completed only because somebody overtook it.
    for change in accepted.keys().filter(|change| !sent.contains(*change)) {
        let end = changes.iter().find(|c| c.proposed.id == **change);
        let state = end.map(|change| change.state);
        assert_eq!(state, Some(ChangeState::Cancelled), "{change} was accepted");
    }
}

fn intent(line: &AuditEntry) -> Sending {
    Sending {
        change: line.change.clone().unwrap(),
        entity: line.entity.clone().unwrap(),
        target: line.after.unwrap(),
        at: line.at,
    }
}

/// INV-1 and INV-2, of every deal that is settled.
async fn revenue(store: &dyn Store, parts: &TenantParts, now: Timestamp) {
    let settings = &parts.settings;
    let id = &settings.id;
    let open = store.unsettled_deals(id, now, ALL).await.unwrap();
    let open: BTreeSet<DealId> = open.into_iter().map(|deal| deal.deal.id).collect();
    for credited in store.deals_since(id, Timestamp::MIN).await.unwrap() {
        let deal = credited.deal;
        let entries = store.deal_ledger(id, &deal.id).await.unwrap();
        invariants::a_stage_entry_is_valued_once(&entries).unwrap();
        if open.contains(&deal.id) {
            continue;
        }
        let currency = settings.currency;
        let value = valuation(&deal, &settings.stages, &settings.fx, currency);
        if let Ok(Valuation::Known { amount, .. }) = value {
            invariants::entries_sum_to_the_stage_value(&entries, &deal.id, amount).unwrap();
        }
    }
}

/// INV-5, of every move there was.
async fn budgets(store: &dyn Store, parts: &TenantParts) {
    let settings = &parts.settings;
    let moves = store.budget_moves(&settings.id, Timestamp::MIN).await;
    invariants::budget_velocity_holds(&moves.unwrap(), &settings.limits).unwrap();
}
