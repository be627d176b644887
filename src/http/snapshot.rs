//! What is known of the daemon at one instant: gathered once for a storm of probes, and judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::HttpState;
use super::state::{GateRoom, TenantHttp};
use crate::actors::handle::{Single, StageHealth, TenantHealth};
use crate::domain::ids::TenantId;
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::store::status::{StoreStatus, TenantOverview};
use crate::store::tenants::TenantHolds;

/// A snapshot is used again for so long.
const FRESH: SignedDuration = time::seconds(1);

/// What health remembers between two looks.
#[derive(Default)]
pub(super) struct Memory {
    last: Option<(Timestamp, Arc<Snapshot>)>,
    /// When a tenant was first seen with its actors not running.
    stopped_since: BTreeMap<TenantId, Timestamp>,
}

/// Everything at one instant.
pub(super) struct Snapshot {
    /// When.
    pub(super) now: Timestamp,
    /// The store's answer, or why there is none.
    pub(super) store: Result<StoreStatus, String>,
    /// Whether the root of the actors is alive.
    pub(super) is_alive: bool,
    /// Whether the emergency file is there.
    pub(super) is_pause_file_there: bool,
    /// What each says that a node has one of.
    pub(super) singles: BTreeMap<Single, StageHealth>,
    /// What the one says that places tenants, where several nodes share the store.
    pub(super) placement: StageHealth,
    /// Each tenant.
    pub(super) tenants: BTreeMap<TenantId, TenantView>,
}

/// One tenant.
pub(super) struct TenantView {
    /// What its actors say.
    pub(super) health: TenantHealth,
    /// What the store says, or why it says nothing.
    pub(super) rows: Result<TenantOverview, String>,
    /// The gate to its ad account.
    pub(super) room: GateRoom,
    /// What is wrong.
    pub(super) troubles: Vec<Trouble>,
    /// Whether something has been wrong for longer than its grace.
    pub(super) is_down: bool,
}

/// Something wrong with a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What.
    pub(super) what: String,
    /// Since when.
    pub(super) since: Timestamp,
}

/// The snapshot of this second. Probes that come together wait for one look.
pub(super) async fn look(state: &HttpState) -> Arc<Snapshot> {
    let mut memory = state.memory.lock().await;
    let wall = state.clock.wall();
    if let Some((at, snapshot)) = &memory.last
        // A clock that was set back must not keep an old snapshot for ever.
        && (SignedDuration::ZERO..FRESH).contains(&time::between(*at, wall))
    {
        return snapshot.clone();
    }
    let snapshot = Arc::new(gather(state, &mut memory.stopped_since).await);
    memory.last = Some((wall, snapshot.clone()));
    snapshot
}

async fn gather(state: &HttpState, stopped_since: &mut BTreeMap<TenantId, Timestamp>) -> Snapshot {
    let now = state.clock.now();
    let store = state.store.store_status().await;
    let board = state.tree.health();
    let settings = state.settings.load_full();
    let entries = &settings.tenants;
    // Another node's tenant is that one's to tell of.
    let runs = |health: &TenantHealth| health.is_running || health.elsewhere.is_some();
    stopped_since.retain(|id, _| entries.contains_key(id) && !board.get(id).is_some_and(runs));
    let ids: Vec<TenantId> = entries.keys().cloned().collect();
    let mut rows = state.store.overview(&ids).await;
    let mut tenants = BTreeMap::new();
    for (id, entry) in entries.iter() {
        let health = board.get(id).cloned().unwrap_or_default();
        let stopped = (!runs(&health)).then(|| *stopped_since.entry(id.clone()).or_insert(now));
        let rows = match &mut rows {
            Ok(rows) => Ok(rows.remove(id).unwrap_or_default()),
            Err(error) => Err(error.to_string()),
        };
        let holds = rows.as_ref().ok().map(|rows| &rows.holds);
        let mut troubles = troubles(&health, holds, stopped);
        // A breaker does what it is for: it is told, and nothing is down for it.
        let is_down = is_down(&troubles, entry, now);
        let trips = rows.iter().flat_map(|rows| &rows.breakers);
        troubles.extend(trips.filter(|trip| trip.is_on(now)).map(|trip| Trouble {
            what: format!("a breaker tripped: {}", trip.reason),
            since: trip.since,
        }));
        let view = TenantView {
            room: (state.gate)(&entry.ad_account),
            is_down,
            health,
            rows,
            troubles,
        };
        tenants.insert(id.clone(), view);
    }
    Snapshot {
        now,
        store: store.map_err(|error| error.to_string()),
        is_alive: state.tree.is_alive(),
        is_pause_file_there: (state.pause_file)(),
        singles: Single::ALL
            .map(|single| (single, state.tree.single(single)))
            .into(),
        placement: state.tree.placement(),
        tenants,
    }
}

fn troubles(
    health: &TenantHealth,
    holds: Option<&TenantHolds>,
    stopped_since: Option<Timestamp>,
) -> Vec<Trouble> {
    let mut found = Vec::new();
    let parked = holds.and_then(|holds| holds.parked.as_ref());
    if let Some(held) = parked {
        let what = format!("parked: {}", held.reason);
        let since = held.since;
        found.push(Trouble { what, since });
    } else if let Some(since) = stopped_since {
        let what = match &health.parked {
            Some(why) => format!("parked: {why}"),
            None => "its actors do not run".to_owned(),
        };
        found.push(Trouble { what, since });
    }
    if let Some(held) = holds.and_then(|holds| holds.suspended.as_ref()) {
        let what = format!("suspended: {}", held.reason);
        let since = held.since;
        found.push(Trouble { what, since });
    }
    for (stage, health) in &health.stages {
        if let (Some(why), Some(since)) = (&health.trouble, health.trouble_since) {
            let what = format!("{stage}: {why}");
            found.push(Trouble { what, since });
        }
    }
    found
}

fn is_down(troubles: &[Trouble], entry: &TenantHttp, now: Timestamp) -> bool {
    troubles
        .iter()
        .any(|trouble| time::between(trouble.since, now) > entry.health_grace)
}
