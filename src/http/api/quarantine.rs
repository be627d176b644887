//! Deliveries that could not be read.

use axum::http::StatusCode;

use super::route::{Call, LIMIT_PARAM, Reply, Route, Verb, Whose, serve};
use super::shape::{Shape, answer};
use crate::domain::api_token::Scope;
use crate::http::Problem;
use crate::store::inbox::Quarantined;

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/tenants/{tenant}/quarantine",
        scope: Scope::Read,
        whose: Whose::Path,
        about: "Deliveries that could not be read, oldest first; those behind `limit` come up as these \
                are settled.",
        query: &[LIMIT_PARAM],
        body: None,
        answer: Quarantine::schema,
        serve: serve!(list),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/tenants/{tenant}/quarantine/{id}",
        scope: Scope::Admin,
        whose: Whose::Path,
        about: "One of them with its bytes, which may tell of people.",
        query: &[],
        body: None,
        answer: QuarantinedBytes::schema,
        serve: serve!(show),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/tenants/{tenant}/quarantine/{id}/retry",
        scope: Scope::Admin,
        whose: Whose::Path,
        about: "Lets it be tried again, for instance by a newer roasd.",
        query: &[],
        body: None,
        answer: QuarantinedView::schema,
        serve: serve!(retry),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/tenants/{tenant}/quarantine/{id}/drop",
        scope: Scope::Admin,
        whose: Whose::Path,
        about: "Throws it away for good.",
        query: &[],
        body: None,
        answer: QuarantinedView::schema,
        serve: serve!(forget),
    },
];

answer! {
    /// The quarantine.
    Quarantine {
        /// Oldest first.
        quarantine: Vec<QuarantinedView>,
        /// How many there are in all.
        total: u64,
    }

    /// A delivery that could not be read.
    QuarantinedView {
        /// Its number.
        id: i64,
        /// Where it came from.
        source: String,
        /// Why it could not be read.
        reason: String,
        /// When it came.
        received_at: String,
        /// How long it is.
        bytes: u64,
    }

    /// A delivery that could not be read, with its bytes.
    QuarantinedBytes {
        /// The delivery.
        delivery: QuarantinedView,
        /// Its bytes as text; what is no text is replaced.
        body: String,
    }
}

fn view(row: &Quarantined) -> QuarantinedView {
    QuarantinedView {
        id: row.id,
        source: row.source.clone(),
        reason: row.reason.clone(),
        received_at: row.received_at.to_string(),
        bytes: row.body.len() as u64,
    }
}

fn none() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "nothing in this tenant's quarantine has that number; GET …/quarantine lists what is there",
    )
}

async fn list(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let store = &call.state.store;
    let rows = store.quarantined(Some(tenant), call.limit()?).await?;
    Reply::json(&Quarantine {
        quarantine: rows.iter().map(view).collect(),
        total: store.inbox_depth(tenant).await?.quarantined,
    })
}

/// The delivery that the path names, if it is the tenant's.
async fn named(call: &Call) -> Result<Quarantined, Problem> {
    let (tenant, _) = call.tenant()?;
    let id: i64 = call.part("id").parse().map_err(|_| none())?;
    let found = call.state.store.quarantined_delivery(tenant, id).await?;
    found.ok_or_else(none)
}

async fn show(call: Call) -> Result<Reply, Problem> {
    let row = named(&call).await?;
    Reply::json(&QuarantinedBytes {
        delivery: view(&row),
        body: String::from_utf8_lossy(&row.body).into_owned(),
    })
}

async fn retry(call: Call) -> Result<Reply, Problem> {
    let row = named(&call).await?;
    let store = &call.state.store;
    if !store.retry_quarantined(row.id, call.now()).await? {
        return Err(none());
    }
    store.nudge(&row.tenant);
    Reply::json(&view(&row))
}

async fn forget(call: Call) -> Result<Reply, Problem> {
    let row = named(&call).await?;
    if !call.state.store.drop_quarantined(row.id).await? {
        return Err(none());
    }
    Reply::json(&view(&row))
}
