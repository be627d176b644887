//! HubSpot's webhooks: checked, kept as they came, and only then acknowledged.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::{HttpState, Problem};
use crate::domain::ids::TenantId;
use crate::store::inbox::Delivery;
use crate::telemetry::names;
use crate::vendors::hubspot::events;
use crate::vendors::hubspot::signature;

const SIGNATURE: &str = "x-hubspot-signature-v3";
const TIMESTAMP: &str = "x-hubspot-request-timestamp";

/// `POST /webhooks/hubspot/{tenant}`.
pub(super) async fn for_tenant(
    State(state): State<HttpState>,
    Path(tenant): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    // A tenant that is not there and a signature that is wrong look alike from outside.
    let tenant = TenantId::new(&tenant).map_err(|_| refused())?;
    let tenants = state.tenants.load();
    let entry = tenants.get(&tenant).ok_or_else(refused)?;
    let secret = entry
        .client_secret
        .as_ref()
        .or(state.client_secret.as_ref());
    let path = uri.path_and_query().map_or(uri.path(), |p| p.as_str());
    check(&state, secret, path, &headers, &body)?;
    let portal = portal_of(&body);
    if portal.is_some() && portal != entry.portal {
        count("wrong_portal");
        return Err(refused());
    }
    keep(&state, &tenant, &body).await
}

/// `POST /webhooks/hubspot`: the portal names the tenant.
pub(super) async fn by_portal(
    State(state): State<HttpState>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let path = uri.path_and_query().map_or(uri.path(), |p| p.as_str());
    check(&state, state.client_secret.as_ref(), path, &headers, &body)?;
    let portal = portal_of(&body).ok_or_else(|| {
        count("unreadable");
        Problem::new(StatusCode::BAD_REQUEST, "no event names its portalId")
    })?;
    let tenants = state.tenants.load();
    let tenant = tenants
        .iter()
        .find(|(_, entry)| entry.portal == Some(portal));
    let (tenant, _) = tenant.ok_or_else(|| {
        count("wrong_portal");
        refused()
    })?;
    keep(&state, tenant, &body).await
}

fn refused() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "the signature is not accepted")
}

fn count(outcome: &'static str) {
    metrics::counter!(names::WEBHOOKS_TOTAL, "outcome" => outcome).increment(1);
}

fn portal_of(body: &[u8]) -> Option<crate::domain::ids::PortalId> {
    events::read_delivery(body)
        .into_iter()
        .flatten()
        .map(|event| event.portal)
        .next()
}

fn check(
    state: &HttpState,
    secret: Option<&SecretString>,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), Problem> {
    let unready = |key: &str| {
        count("not_configured");
        tracing::error!(key, "a webhook came, but it cannot be checked: set {key}");
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "webhooks are not set up here",
        )
    };
    let public = state
        .public_url
        .as_deref()
        .ok_or_else(|| unready("daemon.public_url"))?;
    let secret = secret.ok_or_else(|| unready("hubspot.client_secret"))?;
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("")
    };
    let uri = format!("{}{path}", public.trim_end_matches('/'));
    // The vendors' clock: in a rehearsal they live by the same faster one.
    signature::verify_v3(
        secret.expose_secret().as_bytes(),
        "POST",
        &uri,
        body,
        header(TIMESTAMP),
        header(SIGNATURE),
        state.clock.now(),
    )
    .map_err(|fault| {
        count("bad_signature");
        tracing::warn!(%fault, "a webhook was refused: {fault}");
        refused()
    })
}

async fn keep(state: &HttpState, tenant: &TenantId, body: &[u8]) -> Result<StatusCode, Problem> {
    let delivery = Delivery {
        source: "hubspot.webhook".to_owned(),
        dedup_key: dedup_key(body),
        body: body.to_vec(),
    };
    let kept = state
        .store
        .append_delivery(tenant, &delivery, state.clock.now())
        .await;
    if let Err(error) = kept {
        count("not_stored");
        return Err(Problem::store(&error));
    }
    count("kept");
    state.tree.nudge_intake(tenant);
    Ok(StatusCode::NO_CONTENT)
}

/// The same for every try of one delivery: made of its events' own keys, since the number of the
/// attempt is in the body. What cannot be read stands for itself.
fn dedup_key(body: &[u8]) -> String {
    let mut hash = Sha256::new();
    let events = events::read_delivery(body);
    if events.iter().all(Result::is_ok) && !events.is_empty() {
        let mut keys: Vec<String> = events
            .into_iter()
            .flatten()
            .map(|event| event.dedup_key().to_owned())
            .collect();
        keys.sort();
        for key in keys {
            hash.update((key.len() as u64).to_be_bytes());
            hash.update(key);
        }
    } else {
        hash.update(body);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u64, attempt: u64) -> String {
        format!(
            r#"{{"eventId":{id},"subscriptionId":1,"portalId":33,"occurredAt":1790000000000,"subscriptionType":"deal.creation","attemptNumber":{attempt},"objectId":5}}"#
        )
    }

    #[test]
    fn another_try_is_the_same_delivery_and_another_event_is_not() {
        let key = |text: &str| dedup_key(text.as_bytes());
        let first = format!("[{},{}]", event(1, 0), event(2, 0));
        let again = format!("[{},{}]", event(2, 3), event(1, 3));
        assert_eq!(key(&first), key(&again));
        assert_ne!(key(&first), key(&format!("[{}]", event(1, 0))));
        assert_ne!(key("[not json"), key("[not json "));
    }
}
