//! HubSpot's webhooks: checked, kept as they came, and only then acknowledged.
//!
//! To a caller whose signature is wrong, a tenant that is not there looks like one that is.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::intake::{self, count};
use super::state::TenantHttp;
use super::{HttpSettings, HttpState, Problem};
use crate::domain::ids::{PortalId, TenantId};
use crate::domain::time;
use crate::store::inbox::Delivery;
use crate::vendors::hubspot::events::{self, Parsed};
use crate::vendors::hubspot::signature;

const SIGNATURE: &str = "x-hubspot-signature-v3";
const TIMESTAMP: &str = "x-hubspot-request-timestamp";
/// The source of these deliveries in the inbox.
const SOURCE: &str = "hubspot.webhook";

type Tenants = BTreeMap<TenantId, TenantHttp>;

/// `POST /webhooks/hubspot/{tenant}`.
pub(super) async fn for_tenant(
    State(state): State<HttpState>,
    Path(tenant): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let settings = state.settings.load();
    let request = Request::new(&state, &settings, &uri, &headers, &body);
    let found = TenantId::new(&tenant).ok();
    let Some((tenant, entry)) = found.and_then(|id| settings.tenants.get_key_value(&id)) else {
        return Err(request.check_as_nobody());
    };
    request.check(secret_of(&settings, entry))?;
    let parsed = events::parse(&body);
    match addressed(&parsed) {
        Addressed::Nobody => {}
        Addressed::One(portal) if Some(portal) == entry.portal => {}
        Addressed::One(_) | Addressed::Several(_) => return Err(foreign()),
    }
    request.keep(tenant, &body, &parsed).await?;
    Ok(request.acknowledge())
}

/// `POST /webhooks/hubspot`: the portal names the tenant.
pub(super) async fn for_portal(
    State(state): State<HttpState>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let settings = state.settings.load();
    let tenants = &settings.tenants;
    let request = Request::new(&state, &settings, &uri, &headers, &body);
    let parsed = events::parse(&body);
    match addressed(&parsed) {
        Addressed::One(portal) => {
            let Some((tenant, entry)) = by_portal(tenants, portal) else {
                return Err(request.check_as_nobody());
            };
            request.check(secret_of(&settings, entry))?;
            request.keep(tenant, &body, &parsed).await?;
        }
        Addressed::Nobody => {
            // Nothing names a tenant; where there is but one, it is that one's to quarantine.
            let mut connected = tenants.iter().filter(|(_, entry)| entry.portal.is_some());
            let only = connected.next().filter(|_| connected.next().is_none());
            let shared = settings.client_secret.as_ref();
            request.check(only.map_or(shared, |(_, entry)| secret_of(&settings, entry)))?;
            let (tenant, _) = only.ok_or_else(|| {
                count("unreadable");
                Problem::new(StatusCode::BAD_REQUEST, "no event names its portalId")
            })?;
            request.keep(tenant, &body, &parsed).await?;
        }
        Addressed::Several(parts) => {
            request.check(settings.client_secret.as_ref())?;
            // A tenant with an app of its own is not spoken to by the shared one.
            let known: Vec<_> = parts
                .iter()
                .filter_map(|(portal, events)| Some((by_portal(tenants, *portal)?, events)))
                .filter(|((_, entry), _)| entry.client_secret.is_none())
                .collect();
            if known.is_empty() {
                return Err(foreign());
            }
            for ((tenant, _), own) in known {
                let body = joined(own);
                request.keep(tenant, &body, &events::parse(&body)).await?;
            }
        }
    }
    Ok(request.acknowledge())
}

fn by_portal(tenants: &Tenants, portal: PortalId) -> Option<(&TenantId, &TenantHttp)> {
    tenants
        .iter()
        .find(|(_, entry)| entry.portal == Some(portal))
}

fn secret_of<'a>(settings: &'a HttpSettings, entry: &'a TenantHttp) -> Option<&'a SecretString> {
    entry
        .client_secret
        .as_ref()
        .or(settings.client_secret.as_ref())
}

fn refused() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "the signature is missing, stale or wrong",
    )
}

fn foreign() -> Problem {
    count("wrong_portal");
    tracing::warn!("a signed webhook was refused: its portalId is not the tenant's");
    Problem::new(
        StatusCode::FORBIDDEN,
        "this account's events are not taken here",
    )
}

/// One request, from its arrival to its acknowledgement.
struct Request<'a> {
    state: &'a HttpState,
    settings: &'a HttpSettings,
    path: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
    arrived_at: time::Timestamp,
}

impl<'a> Request<'a> {
    fn new(
        state: &'a HttpState,
        settings: &'a HttpSettings,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        body: &'a [u8],
    ) -> Self {
        Self {
            state,
            settings,
            path: uri
                .path_and_query()
                .map_or(uri.path(), |path| path.as_str()),
            headers,
            body,
            arrived_at: state.clock.wall(),
        }
    }

    /// Checks the signature of version 3; the older ones stop no replay and are not taken.
    fn check(&self, secret: Option<&SecretString>) -> Result<(), Problem> {
        let unready =
            |key: &str| intake::unready(key, "a webhook came, but its signature cannot be checked");
        let public = self.settings.public_url.as_deref();
        let public = public.ok_or_else(|| unready("daemon.public_url"))?;
        let secret = secret.ok_or_else(|| unready("hubspot.client_secret"))?;
        let header = |name: &str| {
            let value = self.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default()
        };
        signature::verify_v3(
            secret.expose_secret().as_bytes(),
            &signature::SignedRequest {
                method: "POST",
                uri: &format!("{}{}", public.trim_end_matches('/'), self.path),
                body: self.body,
                timestamp: header(TIMESTAMP),
                signature: header(SIGNATURE),
            },
            // The vendors' clock: in a rehearsal they live by the same faster one.
            self.state.clock.now(),
            self.state.clock.stretch(signature::TOLERANCE),
        )
        .map_err(|fault| {
            count("bad_signature");
            tracing::warn!(%fault, "a webhook was refused: {fault}");
            refused()
        })
    }

    /// What a caller is told who calls a tenant that is not there: only one who holds the shared
    /// secret may learn that it is not.
    fn check_as_nobody(&self) -> Problem {
        if self.settings.client_secret.is_none() {
            count("bad_signature");
            return refused();
        }
        match self.check(self.settings.client_secret.as_ref()) {
            Ok(()) => foreign(),
            Err(problem) => problem,
        }
    }

    /// Keeps a delivery for a tenant and wakes its intake; on disk when it returns.
    async fn keep(
        &self,
        tenant: &TenantId,
        body: &[u8],
        parsed: &Parsed<'_>,
    ) -> Result<(), Problem> {
        intake::keep(self.state, tenant, &delivery(body, parsed)).await?;
        Ok(())
    }

    fn acknowledge(&self) -> StatusCode {
        intake::measure(self.state, self.arrived_at);
        StatusCode::NO_CONTENT
    }
}

/// Whose events a delivery has.
#[derive(Debug)]
enum Addressed<'a> {
    /// No event says.
    Nobody,
    /// One account's; events that do not say are taken for its too.
    One(PortalId),
    /// More than one account's, each with its events as they came.
    Several(BTreeMap<PortalId, Vec<&'a RawValue>>),
}

fn addressed<'a>(parsed: &Parsed<'a>) -> Addressed<'a> {
    let mut portals = parsed.portals().flatten();
    let Some(first) = portals.next() else {
        return Addressed::Nobody;
    };
    if portals.all(|portal| portal == first) {
        return Addressed::One(first);
    }
    let mut parts: BTreeMap<PortalId, Vec<&RawValue>> = BTreeMap::new();
    for (portal, event) in parsed.portals().zip(parsed.raw()) {
        if let Some(portal) = portal {
            parts.entry(portal).or_default().push(event);
        }
    }
    match parts.is_empty() {
        true => Addressed::Nobody, // bytes that are no text
        false => Addressed::Several(parts),
    }
}

fn joined(events: &[&RawValue]) -> Vec<u8> {
    let events: Vec<&str> = events.iter().map(|event| event.get()).collect();
    format!("[{}]", events.join(",")).into_bytes()
}

/// A delivery of HubSpot's, as it is kept.
pub(super) fn delivery(body: &[u8], parsed: &Parsed<'_>) -> Delivery {
    Delivery {
        source: SOURCE.to_owned(),
        dedup_key: dedup_key(body, parsed),
        body: body.to_vec(),
    }
}

/// The same for every try of one delivery: made of its events' own keys, since the number of the
/// attempt is in the body. What cannot be read stands for itself.
fn dedup_key(body: &[u8], parsed: &Parsed<'_>) -> String {
    let mut hash = Sha256::new();
    match parsed.dedup_keys() {
        Some(mut keys) => {
            keys.sort_unstable();
            for key in keys {
                hash.update((key.len() as u64).to_be_bytes());
                hash.update(key);
            }
        }
        None => hash.update(body),
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(portal: u64, id: u64, attempt: u64) -> String {
        format!(
            r#"{{"eventId":{id},"subscriptionId":1,"portalId":{portal},"occurredAt":1790000000000,"subscriptionType":"deal.creation","attemptNumber":{attempt},"objectId":5}}"#
        )
    }

    #[test]
    fn another_try_is_the_same_delivery_and_another_event_is_not() {
        let key = |text: &str| dedup_key(text.as_bytes(), &events::parse(text.as_bytes()));
        let first = format!("[{},{}]", event(33, 1, 0), event(33, 2, 0));
        let again = format!("[{},{}]", event(33, 2, 3), event(33, 1, 3));
        assert_eq!(key(&first), key(&again));
        assert_ne!(key(&first), key(&format!("[{}]", event(33, 1, 0))));
        assert_ne!(key("[not json"), key("[not json "));
    }

    #[test]
    fn a_delivery_is_its_accounts() {
        let (own, other) = (event(33, 1, 0), event(34, 2, 0));
        let check = |body: &str, expected: &str| {
            let found = match addressed(&events::parse(body.as_bytes())) {
                Addressed::Nobody => "nobody".to_owned(),
                Addressed::One(portal) => portal.to_string(),
                Addressed::Several(parts) => {
                    let bodies = parts.values().map(|events| joined(events));
                    let bodies = bodies.map(|body| String::from_utf8(body).unwrap());
                    bodies.collect::<Vec<_>>().join(" and ")
                }
            };
            assert_eq!(found, expected, "{body}");
        };
        check(&format!("[{own}]"), "33");
        check(&own, "33");
        check(r#"[{"portalId":"33"}]"#, "33");
        check(&format!("[7,{own},{{}}]"), "33");
        check(
            &format!("[{other}, {own},{own}]"),
            &format!("[{own},{own}] and [{other}]"),
        );
        for garbage in [
            "",
            "[]",
            "[{",
            "7",
            "null",
            r#"[{"portalId":-1}]"#,
            "<html>",
        ] {
            check(garbage, "nobody");
        }
    }
}
