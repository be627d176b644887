//! What the webhooks of all vendors have in common: a delivery is kept, counted and handed on.

use axum::http::StatusCode;

use super::{HttpState, Problem};
use crate::domain::ids::TenantId;
use crate::domain::time::{self, Timestamp};
use crate::store::inbox::{Appended, Delivery};
use crate::telemetry::names;

/// Keeps a delivery for a tenant and wakes its intake; on disk when it returns whether it is new.
pub(super) async fn keep(
    state: &HttpState,
    tenant: &TenantId,
    delivery: &Delivery,
) -> Result<Appended, Problem> {
    let now = state.clock.now();
    let appended = state.store.append_delivery(tenant, delivery, now).await;
    let appended = appended.map_err(|error| {
        count("not_stored");
        Problem::store(&error)
    })?;
    count(match appended {
        Appended::New => "kept",
        Appended::Repeat => "repeated",
    });
    state.tree.nudge_intake(tenant);
    Ok(appended)
}

/// What a caller is told whose deliveries cannot be checked for want of the setting `key`. `what` is
/// what the operator is told of it.
pub(super) fn unready(key: &str, what: &str) -> Problem {
    count("not_configured");
    tracing::error!(key, "{what}: set {key}");
    let detail = format!("webhooks cannot be checked here: set {key}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(300)
}

/// Measures how long a delivery that arrived at `arrived_at`, in wall time, has taken.
pub(super) fn measure(state: &HttpState, arrived_at: Timestamp) {
    let took = time::between(arrived_at, state.clock.wall());
    metrics::histogram!(names::WEBHOOK_ACK_SECONDS).record(took.as_secs_f64().max(0.0));
}

/// Counts what became of a delivery.
pub(super) fn count(outcome: &'static str) {
    metrics::counter!(names::WEBHOOKS_TOTAL, "outcome" => outcome).increment(1);
}
