//! How the daemon is: for the service manager, for load balancers, for people and for Prometheus.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::HttpState;
use super::snapshot::{self, Snapshot, TenantView};
use crate::actors::handle::{Single, Stage, StageHealth};
use crate::domain::change::ChangeState;
use crate::domain::ids::TenantId;
use crate::domain::safety::{Breaker, Trip};
use crate::domain::time::{self, Timestamp};
use crate::store::jobs::JobStatus;
use crate::store::status::TenantOverview;
use crate::store::tenants::Held;
use crate::telemetry::names;

/// `GET /livez`: the process turns and the root of its actors lives.
pub(super) async fn livez(State(state): State<HttpState>) -> Response {
    if state.tree.is_alive() {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        unready("the root of the actors has ended")
    }
}

/// `GET /readyz`: the store answers, the actors live, and every tenant's were started once.
pub(super) async fn readyz(State(state): State<HttpState>) -> Response {
    if let Err(error) = state.store.store_status().await {
        return unready(&error.to_string());
    }
    if !state.tree.is_alive() {
        return unready("the root of the actors has ended");
    }
    // Once ready, a tenant that a reload adds or that fails takes no traffic from the others.
    if !state.was_ready.load(Ordering::Relaxed) {
        let board = state.tree.health();
        let is_started = |id: &TenantId| {
            board.get(id).is_some_and(|health| {
                health.is_running || health.parked.is_some() || health.restarts > 0
            })
        };
        if let Some(id) = state
            .settings
            .load()
            .tenants
            .keys()
            .find(|id| !is_started(id))
        {
            return unready(&format!("the actors of tenant {id} are not started yet"));
        }
        state.was_ready.store(true, Ordering::Relaxed);
    }
    (StatusCode::OK, "ready\n").into_response()
}

fn unready(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}

/// `GET /healthz`: everything, as JSON; 503 while the store is out, the actors have ended, or a
/// tenant has been in trouble for longer than its grace.
pub(super) async fn healthz(State(state): State<HttpState>) -> Response {
    let snapshot = snapshot::look(&state).await;
    let is_down = snapshot.store.is_err()
        || !snapshot.is_alive
        || snapshot.tenants.values().any(|view| view.is_down);
    let has_trouble = snapshot
        .tenants
        .values()
        .any(|view| !view.troubles.is_empty() || view.rows.is_err());
    let has_trouble = has_trouble
        || snapshot.singles.values().any(|h| h.trouble.is_some())
        || snapshot.placement.trouble.is_some();
    let status = match (is_down, has_trouble) {
        (true, _) => "down",
        (false, true) => "degraded",
        (false, false) => "ok",
    };
    let uptime = time::between(state.started_at, state.clock.wall()).as_secs();
    let tenants: Map<String, Value> = snapshot
        .tenants
        .iter()
        .map(|(id, view)| (id.to_string(), tenant_json(&snapshot, view)))
        .collect();
    let report = json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime,
        "now": snapshot.now.to_string(),
        "store": store_json(&snapshot),
        "actors": if snapshot.is_alive { "alive" } else { "ended" },
        "paused": held(daemon_paused(&snapshot)),
        "pause_file": snapshot.is_pause_file_there,
        "housekeeper": single_json(&snapshot, Single::Housekeeper),
        "outbox": single_json(&snapshot, Single::Outbox),
        "placement": one_of_each_json(&snapshot.placement),
        "tenants": tenants,
    });
    let code = if is_down {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    let kind = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (code, kind, format!("{report:#}\n")).into_response()
}

/// `GET /metrics`, for Prometheus: what was counted, and gauges as of this second.
pub(super) async fn metrics(State(state): State<HttpState>) -> Response {
    let snapshot = snapshot::look(&state).await;
    for (id, view) in &snapshot.tenants {
        gauge(id, view, &snapshot);
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.metrics.render()).into_response()
}

fn gauge(id: &TenantId, view: &TenantView, snapshot: &Snapshot) {
    let tenant = id.to_string();
    let flag = |is_set: bool| f64::from(u8::from(is_set));
    if let Ok(rows) = &view.rows {
        metrics::gauge!(names::INBOX_DEPTH, "tenant" => tenant.clone())
            .set(rows.inbox.waiting as f64);
        // States without any change too, or a queue that was worked off would stay as it was.
        for open in ChangeState::ALL.into_iter().filter(|state| state.is_open()) {
            let labels = [
                ("tenant", tenant.clone()),
                ("state", open.as_str().to_owned()),
            ];
            metrics::gauge!(names::QUEUE_DEPTH, &labels).set(count_of(rows, open) as f64);
        }
        let is_paused = rows.holds.paused.is_some()
            || rows.holds.daemon_paused.is_some()
            || snapshot.is_pause_file_there;
        metrics::gauge!(names::TENANT_PAUSED, "tenant" => tenant.clone()).set(flag(is_paused));
        let is_parked = rows.holds.parked.is_some() || view.health.parked.is_some();
        metrics::gauge!(names::TENANT_PARKED, "tenant" => tenant.clone()).set(flag(is_parked));
        for breaker in Breaker::ALL {
            let is_on = |trip: &Trip| trip.breaker == breaker && trip.is_on(snapshot.now);
            let labels = [
                ("tenant", tenant.clone()),
                ("breaker", breaker.as_str().to_owned()),
            ];
            let is_on = rows.breakers.iter().any(is_on);
            metrics::gauge!(names::BREAKER_TRIPPED, &labels).set(flag(is_on));
        }
    }
    metrics::gauge!(names::GATE_HEADROOM_RATIO, "tenant" => tenant.clone(), "kind" => "meta")
        .set(headroom_percent(view) / 100.0);
    for (limit, used) in &view.room.by_limit {
        let labels = [
            ("tenant", tenant.clone()),
            ("kind", format!("meta_{limit}")),
        ];
        metrics::gauge!(names::GATE_HEADROOM_RATIO, &labels).set(headroom(*used) / 100.0);
    }
    metrics::gauge!(names::GATE_CLOSED, "tenant" => tenant.clone())
        .set(flag(view.room.closed.is_some()));
    metrics::gauge!(names::GATE_FULL_TIER, "tenant" => tenant.clone())
        .set(flag(view.room.tier == "standard"));
    for stage in Stage::ALL {
        if let Some(at) = last_success(view, stage) {
            let labels = [
                ("tenant", tenant.clone()),
                ("stage", stage.as_str().to_owned()),
            ];
            metrics::gauge!(names::STAGE_LAST_SUCCESS_SECONDS, &labels).set(at.as_second() as f64);
        }
    }
}

fn count_of(rows: &TenantOverview, state: ChangeState) -> u64 {
    let found = rows.changes.iter().find(|(found, _)| *found == state);
    found.map_or(0, |(_, count)| *count)
}

fn headroom_percent(view: &TenantView) -> f64 {
    headroom(view.room.used_percent)
}

fn headroom(used_percent: f64) -> f64 {
    (100.0 - used_percent).clamp(0.0, 100.0)
}

/// By the actors since their start, else by the store.
fn last_success(view: &TenantView, stage: Stage) -> Option<Timestamp> {
    let told = view.health.stages.get(&stage).and_then(|h| h.last_success);
    told.or_else(|| job(view, stage).and_then(|job| job.last_success))
}

fn job(view: &TenantView, stage: Stage) -> Option<&JobStatus> {
    let jobs = view.rows.as_ref().ok()?;
    jobs.jobs.iter().find(|job| job.job == stage.as_str())
}

fn daemon_paused(snapshot: &Snapshot) -> Option<&Held> {
    snapshot
        .tenants
        .values()
        .filter_map(|view| view.rows.as_ref().ok())
        .find_map(|rows| rows.holds.daemon_paused.as_ref())
}

fn store_json(snapshot: &Snapshot) -> Value {
    match &snapshot.store {
        Ok(status) => json!({
            "state": "ok", "backend": status.backend, "schema_version": status.schema_version,
            "bytes": status.bytes,
        }),
        Err(trouble) => json!({ "state": "unavailable", "trouble": trouble }),
    }
}

fn single_json(snapshot: &Snapshot, single: Single) -> Value {
    snapshot
        .singles
        .get(&single)
        .map_or(Value::Null, one_of_each_json)
}

fn one_of_each_json(health: &StageHealth) -> Value {
    json!({
        "last_success": time_json(health.last_success),
        "restarts": health.restarts,
        "is_down": health.is_down,
        "trouble": health.trouble,
        "trouble_since": time_json(health.trouble_since),
    })
}

fn tenant_json(snapshot: &Snapshot, view: &TenantView) -> Value {
    let stages: Map<String, Value> = Stage::ALL
        .into_iter()
        .map(|stage| (stage.to_string(), stage_json(view, stage)))
        .collect();
    let troubles: Vec<Value> = view
        .troubles
        .iter()
        .map(|trouble| json!({ "what": trouble.what, "since": trouble.since.to_string() }))
        .collect();
    let limits: Map<String, Value> = view
        .room
        .by_limit
        .iter()
        .map(|(limit, used)| ((*limit).to_owned(), headroom(*used).into()))
        .collect();
    let mut report = json!({
        "state": state_word(snapshot, view),
        "is_down": view.is_down,
        "node": view.health.elsewhere,
        "troubles": troubles,
        "restarts": view.health.restarts,
        "stages": stages,
        "gate": {
            "headroom_percent": headroom_percent(view), "used_percent": view.room.used_percent,
            "tier": view.room.tier, "closed": view.room.closed,
            "limits": limits,
        },
    });
    let more = match &view.rows {
        Ok(rows) => rows_json(rows),
        Err(trouble) => json!({ "store": trouble }),
    };
    if let (Value::Object(report), Value::Object(more)) = (&mut report, more) {
        report.extend(more);
    }
    report
}

fn rows_json(rows: &TenantOverview) -> Value {
    let queue: Map<String, Value> = ChangeState::ALL
        .into_iter()
        .filter(|state| state.is_open())
        .map(|state| (state.to_string(), count_of(rows, state).into()))
        .collect();
    json!({
        "paused": held(rows.holds.paused.as_ref()),
        "parked": held(rows.holds.parked.as_ref()),
        "suspended": held(rows.holds.suspended.as_ref()),
        "inbox": {
            "waiting": rows.inbox.waiting, "quarantined": rows.inbox.quarantined,
            "oldest": time_json(rows.inbox.oldest_at),
        },
        "queue": queue,
    })
}

fn state_word(snapshot: &Snapshot, view: &TenantView) -> &'static str {
    let holds = view.rows.as_ref().ok().map(|rows| &rows.holds);
    let is_held = |by: fn(&crate::store::tenants::TenantHolds) -> bool| holds.is_some_and(by);
    if view.health.parked.is_some() || is_held(|holds| holds.parked.is_some()) {
        "parked"
    } else if view.health.elsewhere.is_some() && !view.health.is_running {
        "elsewhere"
    } else if !view.health.is_running {
        "stopped"
    } else if is_held(|holds| holds.suspended.is_some()) {
        "suspended"
    } else if snapshot.is_pause_file_there
        || is_held(|holds| holds.paused.is_some() || holds.daemon_paused.is_some())
    {
        "paused"
    } else {
        "running"
    }
}

fn stage_json(view: &TenantView, stage: Stage) -> Value {
    let quiet = StageHealth::default();
    let health = view.health.stages.get(&stage).unwrap_or(&quiet);
    let job = job(view, stage);
    json!({
        "last_success": time_json(last_success(view, stage)),
        "last_end": time_json(job.and_then(|job| job.last_end).max(health.last_report)),
        "said": job.map(|job| job.detail.as_str()),
        "restarts": health.restarts,
        "is_down": health.is_down,
        "trouble": health.trouble,
        "trouble_since": time_json(health.trouble_since),
    })
}

fn time_json(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| at.to_string().into())
}

fn held(held: Option<&Held>) -> Value {
    held.map_or(
        Value::Null,
        |held| json!({ "by": held.by, "reason": held.reason, "since": held.since.to_string() }),
    )
}
