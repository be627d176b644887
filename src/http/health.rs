//! How the daemon is: for the service manager, for load balancers, for people and for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::HttpState;
use super::state::TenantHttp;
use crate::actors::handle::{Stage, StageHealth, TenantHealth};

use crate::domain::change::ChangeState;
use crate::domain::ids::TenantId;
use crate::domain::time::{self, Timestamp};
use crate::store::StoreError;
use crate::store::tenants::{Held, TenantHolds};
use crate::telemetry::names;

/// A report of health is used again for so long.
const FRESH: time::SignedDuration = time::seconds(1);

/// `GET /livez`: the process turns and the root of its actors lives.
pub(super) async fn livez(State(state): State<HttpState>) -> Response {
    if state.tree.is_alive() {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the root of the actors has ended\n",
        )
            .into_response()
    }
}

/// `GET /readyz`: the store answers and the actors live.
pub(super) async fn readyz(State(state): State<HttpState>) -> Response {
    match state.store.store_status().await {
        Ok(_) if state.tree.is_alive() => (StatusCode::OK, "ready\n").into_response(),
        Ok(_) => (StatusCode::SERVICE_UNAVAILABLE, "the actors have ended\n").into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

/// `GET /healthz`: everything, as JSON.
pub(super) async fn healthz(State(state): State<HttpState>) -> Response {
    let now = state.clock.wall();
    let cached = {
        let health = state
            .health
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        health
            .as_ref()
            .filter(|(at, _)| time::between(*at, now) < FRESH)
            .map(|(_, r)| r.clone())
    };
    let report = match cached {
        Some(report) => report,
        None => {
            let report = Arc::new(report(&state).await);
            let mut health = state
                .health
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            *health = Some((now, report.clone()));
            report
        }
    };
    let status = StatusCode::from_u16(report.0).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        report.1.clone(),
    )
        .into_response()
}

/// `GET /metrics`, for Prometheus.
pub(super) async fn metrics(State(state): State<HttpState>) -> Response {
    let board = state.tree.health();
    for (tenant, entry) in state.tenants.load().iter() {
        let label = tenant.to_string();
        if let Ok(depth) = state.store.inbox_depth(tenant).await {
            metrics::gauge!(names::INBOX_DEPTH, "tenant" => label.clone())
                .set(depth.waiting as f64);
        }
        if let Ok(counts) = state.store.change_counts(tenant).await {
            for (change_state, count) in counts.iter().filter(|(s, _)| s.is_open()) {
                metrics::gauge!(
                    names::QUEUE_DEPTH,
                    "tenant" => label.clone(), "state" => change_state.as_str()
                )
                .set(*count as f64);
            }
        }
        if let Ok(holds) = state.store.holds(tenant).await {
            let is_paused = holds.paused.is_some() || holds.daemon_paused.is_some();
            metrics::gauge!(names::TENANT_PAUSED, "tenant" => label.clone())
                .set(f64::from(u8::from(is_paused)));
            metrics::gauge!(names::TENANT_PARKED, "tenant" => label.clone())
                .set(f64::from(u8::from(holds.parked.is_some())));
        }
        let room = (state.gate)(&entry.ad_account);
        metrics::gauge!(names::GATE_HEADROOM_RATIO, "tenant" => label.clone())
            .set((1.0 - room.used_percent / 100.0).clamp(0.0, 1.0));
        let stages = board.get(tenant).map(|health| &health.stages);
        for (stage, health) in stages.into_iter().flatten() {
            if let Some(at) = health.last_success {
                metrics::gauge!(
                    names::STAGE_LAST_SUCCESS_SECONDS,
                    "tenant" => label.clone(), "stage" => stage.as_str()
                )
                .set(at.as_second() as f64);
            }
        }
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.metrics.render()).into_response()
}

async fn report(state: &HttpState) -> (u16, String) {
    let now = state.clock.now();
    let store = state.store.store_status().await;
    let board = state.tree.health();
    let tenants = state.tenants.load();
    let mut entries = Map::new();
    let mut is_down = store.is_err() || !state.tree.is_alive();
    let mut has_trouble = false;
    let mut daemon_paused = None;
    for (id, entry) in tenants.iter() {
        let health = board.get(id).cloned().unwrap_or_default();
        let report = tenant_report(state, id, entry, &health, now).await;
        match report {
            Ok(report) => {
                is_down |= report.is_down;
                has_trouble |= report.has_trouble;
                daemon_paused = daemon_paused.or(report.daemon_paused);
                entries.insert(id.to_string(), report.json);
            }
            Err(error) => {
                has_trouble = true;
                entries.insert(id.to_string(), json!({ "trouble": error.to_string() }));
            }
        }
    }
    let status = match (is_down, has_trouble) {
        (true, _) => "down",
        (false, true) => "degraded",
        (false, false) => "ok",
    };
    let uptime = time::between(state.started_at, state.clock.wall()).as_secs();
    let store = match store {
        Ok(s) => json!({ "backend": s.backend, "schema_version": s.schema_version,
            "bytes": s.bytes, "state": "ok" }),
        Err(error) => json!({ "state": "unavailable", "trouble": error.to_string() }),
    };
    let report = json!({
        "status": status, "version": env!("CARGO_PKG_VERSION"), "uptime_seconds": uptime,
        "now": now.to_string(), "store": store, "paused": held(daemon_paused.as_ref()),
        "tenants": entries,
    });
    (if is_down { 503 } else { 200 }, format!("{report:#}\n"))
}

struct TenantReport {
    json: Value,
    is_down: bool,
    has_trouble: bool,
    daemon_paused: Option<Held>,
}

async fn tenant_report(
    state: &HttpState,
    id: &TenantId,
    entry: &TenantHttp,
    health: &TenantHealth,
    now: Timestamp,
) -> Result<TenantReport, StoreError> {
    let holds = state.store.holds(id).await?;
    let inbox = state.store.inbox_depth(id).await?;
    let counts = state.store.change_counts(id).await?;
    let jobs = state.store.job_status(id).await?;
    let mut stages = Map::new();
    let mut is_failing = false;
    for stage in Stage::ALL {
        let stage_health = health.stages.get(&stage).cloned().unwrap_or_default();
        is_failing |= stage_health
            .trouble_since
            .is_some_and(|since| time::between(since, now) > entry.health_grace);
        let job = jobs.iter().find(|job| job.job == stage.as_str());
        let last = stage_health
            .last_success
            .or_else(|| job.and_then(|job| job.last_success));
        stages.insert(stage.to_string(), stage_json(&stage_health, last));
    }
    let is_parked = holds.parked.is_some() || health.parked.is_some();
    let has_trouble = is_parked
        || !health.is_running
        || holds.suspended.is_some()
        || health.stages.values().any(|s| s.trouble.is_some());
    let suspended_too_long = holds
        .suspended
        .as_ref()
        .is_some_and(|held| time::between(held.since, now) > entry.health_grace);
    let parked_too_long = holds.parked.as_ref().map_or(is_parked, |held| {
        time::between(held.since, now) > entry.health_grace
    });
    let open: Map<String, Value> = counts
        .iter()
        .filter(|(change_state, _)| change_state.is_open())
        .map(|(change_state, count): &(ChangeState, u64)| {
            (change_state.to_string(), (*count).into())
        })
        .collect();
    let room = (state.gate)(&entry.ad_account);
    let json = json!({
        "state": state_word(&holds, health),
        "paused": held(holds.paused.as_ref()),
        "parked": held(holds.parked.as_ref()),
        "suspended": held(holds.suspended.as_ref()),
        "restarts": health.restarts,
        "stages": stages,
        "inbox": { "waiting": inbox.waiting, "quarantined": inbox.quarantined,
            "oldest": inbox.oldest_at.map(|at| at.to_string()) },
        "queue": open,
        "gate": { "used_percent": room.used_percent, "tier": room.tier, "closed": room.closed },
    });
    Ok(TenantReport {
        json,
        is_down: suspended_too_long || parked_too_long || is_failing,
        has_trouble,
        daemon_paused: holds.daemon_paused,
    })
}

fn state_word(holds: &TenantHolds, health: &TenantHealth) -> &'static str {
    if holds.parked.is_some() || health.parked.is_some() {
        "parked"
    } else if !health.is_running {
        "down"
    } else if holds.suspended.is_some() {
        "suspended"
    } else if holds.paused.is_some() || holds.daemon_paused.is_some() {
        "paused"
    } else {
        "running"
    }
}

fn stage_json(health: &StageHealth, last_success: Option<Timestamp>) -> Value {
    json!({
        "last_success": last_success.map(|at| at.to_string()),
        "restarts": health.restarts,
        "is_down": health.is_down,
        "trouble": health.trouble,
        "trouble_since": health.trouble_since.map(|at| at.to_string()),
    })
}

fn held(held: Option<&Held>) -> Value {
    held.map_or(
        Value::Null,
        |held| json!({ "by": held.by, "reason": held.reason, "since": held.since.to_string() }),
    )
}
