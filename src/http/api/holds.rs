//! Pausing a tenant, and resuming it.

use super::changes::Reason;
use super::route::{Body, Call, Reply, Route, Verb, Whose, serve};
use super::shape::{Shape, answer};
use super::status::Hold;
use crate::domain::api_token::Scope;
use crate::http::Problem;
use crate::store::tenants::{Held, TenantHolds};

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/tenants/{tenant}/pause",
        scope: Scope::Approve,
        whose: Whose::Path,
        about: "Stops every write of a tenant at once, also after a restart. Reading and deciding go on.",
        query: &[],
        body: Some(Body {
            schema: Reason::schema,
            max: 4 * 1024,
            is_optional: true,
        }),
        answer: Holds::schema,
        serve: serve!(pause),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/tenants/{tenant}/resume",
        scope: Scope::Admin,
        whose: Whose::Path,
        about: "Ends a tenant's pause or parking; due changes are judged anew and sent.",
        query: &[],
        body: None,
        answer: Holds::schema,
        serve: serve!(resume),
    },
];

answer! {
    /// What holds a tenant's writes; nothing, where all are null.
    Holds {
        /// Whether this request changed anything.
        changed: bool,
        /// The whole daemon is paused.
        daemon_paused: Option<Hold>,
        /// The tenant is paused.
        paused: Option<Hold>,
        /// Its actors failed too often.
        parked: Option<Hold>,
        /// A vendor refuses it.
        suspended: Option<Hold>,
    }
}

fn shown(changed: bool, holds: &TenantHolds) -> Result<Reply, Problem> {
    let hold = |held: &Option<Held>| held.as_ref().map(Hold::from);
    Reply::json(&Holds {
        changed,
        daemon_paused: hold(&holds.daemon_paused),
        paused: hold(&holds.paused),
        parked: hold(&holds.parked),
        suspended: hold(&holds.suspended),
    })
}

async fn pause(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let held = Held {
        by: call.actor(),
        reason: call.read_or::<Reason>()?.or("paused by the API"),
        since: call.now(),
    };
    let store = &call.state.store;
    let changed = store.pause(Some(tenant), &held).await?;
    shown(changed, &store.holds(tenant).await?)
}

async fn resume(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let store = &call.state.store;
    let changed = store
        .resume(Some(tenant), &call.actor(), call.now())
        .await?;
    store.nudge(tenant);
    shown(changed, &store.holds(tenant).await?)
}
