//! Meta's webhooks of lead forms: checked, kept as they came, and only then acknowledged. The page
//! names the tenant.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::intake::{self, count};
use super::state::TenantHttp;
use super::{HttpSettings, HttpState, Problem};
use crate::domain::ids::{PageId, TenantId};
use crate::domain::visit::is_plain_token;
use crate::store::inbox::Delivery;
use crate::vendors::meta::events;
use crate::vendors::meta::signature::verify_webhook;

const SIGNATURE: &str = "x-hub-signature-256";
/// The longest challenge that is said back, in bytes.
const CHALLENGE_MAX: usize = 256;

/// What Meta asks before it sends anything (Meta, Webhooks, verification requests).
#[derive(Debug, Deserialize)]
pub(super) struct Verification {
    #[serde(rename = "hub.mode")]
    mode: Option<String>,
    #[serde(rename = "hub.verify_token")]
    token: Option<String>,
    #[serde(rename = "hub.challenge")]
    challenge: Option<String>,
}

/// `GET /webhooks/meta`: says the challenge back to whoever knows the verify token.
pub(super) async fn verify(
    State(state): State<HttpState>,
    Query(asked): Query<Verification>,
) -> Result<Response, Problem> {
    let settings = state.settings.load();
    let own = settings.verify_token.as_ref();
    let own = own.ok_or_else(|| unready("meta.verify_token"))?;
    let said = asked.token.unwrap_or_default();
    let is_known = bool::from(own.expose_secret().as_bytes().ct_eq(said.as_bytes()));
    let challenge = asked.challenge.unwrap_or_default();
    let is_plain = challenge.len() <= CHALLENGE_MAX && is_plain_token(&challenge);
    if asked.mode.as_deref() != Some("subscribe") || !is_known || !is_plain {
        count("bad_verification");
        tracing::warn!(
            "somebody asked to verify /webhooks/meta with another token than meta.verify_token; if \
             it was Meta, state the same there and in the app's webhook settings"
        );
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the verify token is wrong",
        ));
    }
    let mut response = challenge.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    Ok(response)
}

/// `POST /webhooks/meta`.
pub(super) async fn deliver(
    State(state): State<HttpState>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let arrived_at = state.clock.wall();
    let settings = state.settings.load();
    let pages = events::by_page(&body);
    let secret = signer(&settings, pages.as_ref(), &headers, &body)?;
    let Some(pages) = pages else {
        // Signed, and about something else than pages: nothing that was asked for.
        count("not_wanted");
        return Ok(StatusCode::OK);
    };
    let (own, strange) = by_tenant(&settings, pages, secret);
    for page in &strange {
        count("unknown_page");
        tracing::warn!(
            page = %page,
            "Meta told of leads of page {page}, which is no tenant's: add it to meta.page_ids of the \
             tenant whose it is, or end the page's subscription; nothing was kept"
        );
    }
    let is_whole = own.len() == 1 && strange.is_empty();
    for (tenant, entries) in own {
        let bytes = match is_whole {
            true => body.to_vec(),
            false => events::joined(&entries),
        };
        let delivery = Delivery {
            source: events::SOURCE.to_owned(),
            dedup_key: dedup_key(&bytes),
            body: bytes,
        };
        intake::keep(&state, tenant, &delivery).await?;
    }
    intake::measure(&state, arrived_at);
    // Also where no page is known: Meta ends a subscription whose deliveries are refused.
    Ok(StatusCode::OK)
}

type Pages<'b> = BTreeMap<Option<PageId>, Vec<&'b RawValue>>;

/// The secret that signed a delivery: the installation's, or that of an app of one of the tenants
/// whose pages it tells of.
fn signer<'s>(
    settings: &'s HttpSettings,
    pages: Option<&Pages<'_>>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<&'s SecretString, Problem> {
    let named = |entry: &TenantHttp| {
        pages.is_some_and(|pages| {
            let mut own = entry.pages.iter();
            own.any(|page| pages.contains_key(&Some(page.clone())))
        })
    };
    let of_tenants = settings
        .tenants
        .values()
        .filter(|entry| named(entry))
        .filter_map(|entry| entry.app_secret.as_ref());
    let mut secrets = settings.app_secret.iter().chain(of_tenants).peekable();
    if secrets.peek().is_none() {
        return Err(unready("meta.app_secret"));
    }
    let said = headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
    let said = said.unwrap_or_default();
    secrets
        .find(|secret| verify_webhook(secret.expose_secret().as_bytes(), body, said).is_ok())
        .ok_or_else(|| {
            count("bad_signature");
            tracing::warn!(
                "a delivery to /webhooks/meta was refused: no known app secret signed it; check \
                 meta.app_secret"
            );
            Problem::new(
                StatusCode::UNAUTHORIZED,
                "the signature is missing or wrong",
            )
        })
}

/// The entries of each tenant that the signing app speaks for, and the pages that are nobody's.
fn by_tenant<'s, 'b>(
    settings: &'s HttpSettings,
    pages: Pages<'b>,
    secret: &SecretString,
) -> (BTreeMap<&'s TenantId, Vec<&'b RawValue>>, Vec<String>) {
    let speaks_for = |entry: &TenantHttp| {
        let own = entry.app_secret.as_ref().or(settings.app_secret.as_ref());
        own.is_some_and(|own| own.expose_secret() == secret.expose_secret())
    };
    let mut own: BTreeMap<&TenantId, Vec<&RawValue>> = BTreeMap::new();
    let mut strange = Vec::new();
    for (page, entries) in pages {
        let mut tenants = settings.tenants.iter();
        let tenant = page.as_ref().and_then(|page| {
            tenants.find(|(_, entry)| entry.pages.contains(page) && speaks_for(entry))
        });
        match tenant {
            Some((tenant, _)) => own.entry(tenant).or_default().extend(entries),
            None => strange.push(page.map_or_else(
                || "(none)".to_owned(),
                |page| page.as_str().chars().take(32).collect(),
            )),
        }
    }
    (own, strange)
}

/// The same for every try of one delivery, whose time may differ: made of its leads' ids. What cannot
/// be read stands for itself.
fn dedup_key(body: &[u8]) -> String {
    let mut hash = Sha256::new();
    let leads: Result<Vec<_>, _> = events::read(body).into_iter().collect();
    match leads {
        Ok(mut leads) if !leads.is_empty() => {
            leads.sort();
            for lead in leads {
                hash.update(lead.as_str());
                hash.update([0]);
            }
        }
        _ => hash.update(body),
    }
    hex::encode(hash.finalize())
}

fn unready(key: &str) -> Problem {
    let what = "Meta called /webhooks/meta, but it cannot be checked that it was Meta";
    intake::unready(key, what)
}
