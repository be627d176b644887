//! The gates to Meta, one per app: the installation's own, and one for each app that tenants have of
//! their own. Meta counts by app, so a tenant whose app is throttled stops no other's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::parts::{App, Parts};
use tokio::sync::Notify;

use crate::actors::context::{chain, gate_rows, gate_snapshot};
use crate::actors::placement::SharedGates;
use crate::clock::Clock;
use crate::domain::ids::AdAccountId;
use crate::http::{GateProbe, GateRoom};
use crate::store::Store;
use crate::store::gate::GateRow;
use crate::vendors::meta::throttle::MetaGate;
use crate::vendors::meta::usage::AccessTier;

/// How often usage is kept when nothing rings.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// The gates of a process.
#[derive(Debug)]
pub(super) struct Gates {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    alarm: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    gates: BTreeMap<App, Arc<MetaGate>>,
    apps: BTreeMap<AdAccountId, App>,
}

impl Gates {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            alarm: Arc::default(),
        }
    }

    /// Makes the gates of apps that have none yet.
    pub(super) fn make_missing(&self, parts: &Parts) {
        let mut state = self.lock();
        for (app, config) in &parts.gates {
            let gate = || MetaGate::new(config.clone(), self.clock.clone());
            state
                .gates
                .entry(app.clone())
                .or_insert_with(|| Arc::new(gate().with_alarm(self.alarm.clone())));
        }
    }

    /// Puts limits in force. Gates that are there go on with what Meta told them; those of apps that
    /// nobody uses any more go.
    pub(super) fn configure(&self, parts: &Parts) {
        self.make_missing(parts);
        let mut state = self.lock();
        for (app, config) in &parts.gates {
            if let Some(gate) = state.gates.get(app) {
                gate.configure(config.clone());
            }
        }
        state.gates.retain(|app, _| parts.gates.contains_key(app));
        state.apps = parts
            .tenants
            .values()
            .map(|tenant| (tenant.meta.ad_account.clone(), tenant.app.clone()))
            .collect();
        for (app, gate) in &state.gates {
            gate.expect_accounts(state.apps.values().filter(|of| *of == app).count());
        }
    }

    /// The gate of an app.
    pub(super) fn of(&self, app: &App) -> Option<Arc<MetaGate>> {
        self.lock().gates.get(app).cloned()
    }

    /// Takes over what was kept: each gate what concerns its app and the accounts behind it.
    pub(super) fn restore(&self, rows: &[GateRow]) {
        let state = self.lock();
        for (app, gate) in &state.gates {
            let accounts = state.apps.iter().filter(|(_, of)| *of == app);
            let accounts: Vec<&AdAccountId> = accounts.map(|(account, _)| account).collect();
            gate.restore(gate_snapshot(rows, app.as_deref(), &accounts));
        }
    }

    /// What must be kept.
    pub(super) fn rows(&self) -> Vec<GateRow> {
        let now = self.clock.now();
        let state = self.lock();
        let rows = state.gates.values().map(|gate| gate_rows(gate, now));
        rows.flatten().collect()
    }

    /// Keeps what must outlive the process: at each new cool-down, and usage once in a while. Ends
    /// when it is aborted.
    pub(super) async fn keep(&self, store: &dyn Store) {
        let mut kept = Vec::new();
        loop {
            // The machine's time: a rehearsal's month needs no more writes than an hour does.
            let _ = tokio::time::timeout(KEEP_EVERY, self.alarm.notified()).await;
            let rows = self.rows();
            if rows == kept {
                continue;
            }
            match store.save_gate(&rows).await {
                Ok(()) => kept = rows,
                Err(error) => tracing::warn!(
                    error = %chain(&error),
                    "the gate's cool-downs are not kept yet, and would be forgotten by a restart: {}",
                    chain(&error)
                ),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedGates for Gates {
    fn take_over(&self, rows: &[GateRow]) {
        self.restore(rows);
    }

    /// An ad account's own limits are whole: one node at a time works for its tenant.
    fn share_among(&self, nodes: u32) {
        for gate in self.lock().gates.values() {
            gate.share_among(nodes);
        }
    }
}

/// Tells HTTP how much room an account has.
pub(super) fn probe(gates: Arc<Gates>) -> GateProbe {
    Arc::new(move |account| {
        let app = gates.lock().apps.get(account).cloned().flatten();
        let Some(gate) = gates.of(&app) else {
            return GateRoom::default();
        };
        let room = gate.headroom(account);
        let by_limit = [("app", room.app_percent), ("account", room.account_percent)];
        let by_case = room.by_case.map(|(case, used)| (case.as_str(), used));
        GateRoom {
            by_limit: by_limit.into_iter().chain(by_case).collect(),
            used_percent: room.account_percent.max(room.app_percent),
            tier: match room.tier {
                AccessTier::Development => "development",
                AccessTier::Full => "standard",
            },
            closed: room
                .cool_down
                .map(|c| format!("until {:.0}: {}", c.until, c.reason)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SteppedClock;
    use crate::config::{Config, Environment};
    use crate::domain::time;
    use crate::vendors::meta::throttle::{CallKind, Scope};

    const TENANTS: [(&str, &str); 4] = [
        ("shared", ""),
        ("same", "app_id = '1', app_secret = { env = 'S' },"),
        (
            "own",
            "app_id = '2', app_secret = { env = 'S' }, access_tier = 'standard',",
        ),
        ("own_too", "app_id = '2', app_secret = { env = 'S' },"),
    ];

    fn parts(tenants: &[(&str, &str)], more: &str) -> Parts {
        let mut text = format!("[meta]\napp_id = '1'\n{more}\n");
        for (id, app) in tenants {
            let n = TENANTS.iter().position(|(known, _)| known == id);
            text.push_str(&format!(
                "[tenants.{id}]\nname = '{id}'\ncurrency = 'USD'\nmode = 'direct'\n\
                 budget = {{ daily_cap = '10' }}\n\
                 meta = {{ {app} ad_account = '{}', access_token = {{ env = 'S' }} }}\n",
                n.unwrap()
            ));
        }
        let environment = Environment::from([("S", "secret")]);
        Parts::of(&Config::from_text("test", &text, &environment).unwrap()).unwrap()
    }

    fn account(n: u32) -> AdAccountId {
        AdAccountId::new(n.to_string()).unwrap()
    }

    fn gates(parts: &Parts) -> (SteppedClock, Arc<Gates>) {
        let clock = SteppedClock::new(time::from_seconds(1_800_000_000));
        let gates = Arc::new(Gates::new(Arc::new(clock.clone())));
        gates.configure(parts);
        (clock, gates)
    }

    fn is_closed(gates: &Gates, app: Option<&str>, n: u32) -> bool {
        let gate = gates.of(&app.map(str::to_owned)).unwrap();
        gate.closed(&account(n), CallKind::Read).is_some()
    }

    #[test]
    fn a_throttled_app_stops_its_own_tenants_alone_and_stays_so_over_a_restart() {
        let parts = parts(&TENANTS, "");
        assert_eq!(parts.gates.len(), 2, "the installation's, and one more");
        let (clock, before) = gates(&parts);
        let own = before.of(&Some("2".to_owned())).unwrap();
        let until = time::add(clock.now(), time::hours(1));
        own.cool_down(Scope::App, until, "code 4");
        let accounts = before.of(&None).unwrap();
        accounts.cool_down(Scope::Account(account(0)), until, "code 17");

        let rows = before.rows();
        let scopes: Vec<&str> = rows.iter().map(|row| row.scope.as_str()).collect();
        assert_eq!(scopes, ["act_0", "app:2"]);
        let after = Arc::new(Gates::new(Arc::new(clock.clone())));
        after.configure(&parts);
        after.restore(&rows);
        for gates in [before, after] {
            for (app, n, closed) in [
                (None, 0, true),
                (None, 1, false),
                (Some("2"), 2, true),
                (Some("2"), 3, true),
            ] {
                assert_eq!(is_closed(&gates, app, n), closed, "{n}");
            }
            let told = probe(gates);
            assert!(told(&account(3)).closed.unwrap().ends_with("code 4"));
            assert_eq!(told(&account(1)).closed, None);
            assert_eq!(told(&account(1)).tier, "development");
            let limits: Vec<&str> = told(&account(1)).by_limit.iter().map(|(l, _)| *l).collect();
            let all = [
                "app",
                "account",
                "ads_management",
                "ads_insights",
                "leadgen",
            ];
            assert_eq!(limits, all);
            assert_eq!(told(&account(3)).tier, "standard");
        }
    }

    #[test]
    fn limits_are_put_in_force_and_apps_that_nobody_uses_go() {
        let (clock, gates) = gates(&parts(&TENANTS, ""));
        let until = time::add(clock.now(), time::hours(1));
        let gate = gates.of(&None).unwrap();
        gate.cool_down(Scope::App, until, "code 4");
        gates.configure(&parts(&TENANTS[..2], "access_tier = 'standard'"));
        assert!(gates.of(&Some("2".to_owned())).is_none());
        assert!(is_closed(&gates, None, 1), "what Meta said still holds");
        assert_eq!(gate.headroom(&account(1)).tier, AccessTier::Full);
    }

    #[tokio::test]
    async fn a_cool_down_is_on_disk_before_anybody_stops() {
        let (clock, gates) = gates(&parts(&TENANTS, ""));
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("roasd.db").display());
        let store = crate::store::open(&url).await.unwrap();
        let keeper = tokio::spawn({
            let (gates, store) = (gates.clone(), store.clone());
            async move { gates.keep(store.as_ref()).await }
        });
        let until = time::add(clock.now(), time::minutes(5));
        let gate = gates.of(&None).unwrap();
        gate.cool_down(Scope::Account(account(0)), until, "code 17");
        let mut rows = Vec::new();
        for _ in 0..10_000 {
            rows = store.load_gate().await.unwrap();
            if !rows.is_empty() {
                break;
            }
            tokio::task::yield_now().await;
        }
        keeper.abort();
        let kept: Vec<_> = rows
            .iter()
            .map(|row| (row.scope.as_str(), row.blocked_until))
            .collect();
        assert_eq!(kept, [("act_0", Some(until))]);
    }
}
