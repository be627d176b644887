//! Visits to landing pages, as the pages report them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::pace::{Pace, TooFast};
use super::state::TenantHttp;
use super::{HttpState, Problem, agent};
use crate::domain::ids::{TenantId, VisitId};
use crate::domain::naming::Naming;
use crate::domain::visit::{AdParameters, DeviceFacts, Visit, fbclid_of_cookie, is_plain_token};
use crate::telemetry::names;

/// A report of a visit.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    visit_id: Option<String>,
    url: String,
    consent: Option<bool>,
    /// The pixel's cookie, which remembers the fbclid of an earlier page.
    fbc: Option<String>,
    device: Option<Device>,
}

#[derive(Debug, Default, Deserialize)]
struct Device {
    screen: Option<String>,
    time_zone: Option<String>,
    utc_offset_minutes: Option<i32>,
    device_type: Option<String>,
    os: Option<String>,
    browser: Option<String>,
}

/// `OPTIONS /t/{tenant}/click`.
pub(super) async fn preflight(
    State(state): State<HttpState>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (tenant, entry) = tenant_of(&state, &tenant)?;
    let origin = allowed_origin(&state, &tenant, &entry, &headers)?;
    Ok(with_cors(StatusCode::NO_CONTENT.into_response(), origin))
}

/// `POST /t/{tenant}/click`: answered only when the visit is on disk.
pub(super) async fn click(
    State(state): State<HttpState>,
    Path(tenant): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let (tenant, entry) = tenant_of(&state, &tenant)?;
    let origin = allowed_origin(&state, &tenant, &entry, &headers)?;
    let answered = take(&state, &tenant, &entry, peer.ip(), &headers, &body).await;
    // The page may read a refusal too.
    Ok(with_cors(answered.into_response(), origin))
}

async fn take(
    state: &HttpState,
    tenant: &TenantId,
    entry: &TenantHttp,
    peer: IpAddr,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Problem> {
    let ip = visitor(peer, headers);
    pace(state)
        .check(tenant, ip, &state.hasher)
        .map_err(|limit| {
            let (outcome, seconds) = match limit {
                TooFast::Address => ("address_too_fast", per_minute(state)),
                TooFast::Tenant => ("tenant_too_fast", 1),
            };
            count(tenant, outcome);
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many reports").retry_after(seconds)
        })?;
    let unreadable = |detail: String| {
        count(tenant, "unreadable");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    };
    let mut report: Report = serde_json::from_slice(body)
        .map_err(|error| unreadable(format!("the report is not readable: {error}")))?;
    if headers.get("sec-gpc").is_some_and(|value| value == "1") {
        // The visitor's browser says no for every site (Global Privacy Control).
        report.consent = Some(false);
    }
    let user_agent = headers
        .get(header::USER_AGENT)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default();
    let id = match &report.visit_id {
        Some(text) => page_visit_id(text).ok_or_else(|| {
            unreadable("visit_id must be 8 to 64 of A-Z, a-z, 0-9, _ and -".to_owned())
        })?,
        None => mint(state, tenant),
    };
    let answer = Json(serde_json::json!({ "visit_id": id.as_str() }));
    if agent::is_bot(&user_agent) {
        count(tenant, "bot");
    } else {
        let is_answer = report.consent.is_some();
        let visit = visit(state, entry, id, report, ip, &user_agent);
        count(tenant, keep(state, tenant, &visit, is_answer).await?);
    }
    Ok((StatusCode::ACCEPTED, answer).into_response())
}

/// Keeps a visit, or what its visitor has answered meanwhile to the question for consent. Returns
/// what became of it.
async fn keep(
    state: &HttpState,
    tenant: &TenantId,
    visit: &Visit,
    is_answer: bool,
) -> Result<&'static str, Problem> {
    let refused = |error| {
        count(tenant, "not_stored");
        Problem::store(&error)
    };
    let is_new = state.store.record_visit(tenant, visit).await;
    if is_new.map_err(refused)? {
        return Ok("kept");
    }
    if is_answer {
        let changed = state.store.set_consent(tenant, visit).await;
        changed.map_err(refused)?;
    }
    Ok("repeated")
}

fn count(tenant: &TenantId, outcome: &'static str) {
    metrics::counter!(names::CLICKS_TOTAL, "tenant" => tenant.to_string(), "outcome" => outcome)
        .increment(1);
}

/// The counters of the limits in force: made anew, and empty, when the configuration changes them.
fn pace(state: &HttpState) -> Arc<Pace> {
    let limits = state.settings.load().clicks;
    let pace = state.click_pace.load_full();
    if pace.limits == limits {
        return pace;
    }
    let pace = Arc::new(Pace::new(limits, state.clock.clone()));
    state.click_pace.store(pace.clone());
    pace
}

/// Seconds until an address that was too fast may report again.
fn per_minute(state: &HttpState) -> u32 {
    let limits = state.settings.load().clicks;
    60_u32.div_ceil(limits.per_address_per_minute.max(1))
}

fn visit(
    state: &HttpState,
    entry: &TenantHttp,
    id: VisitId,
    report: Report,
    ip: IpAddr,
    user_agent: &str,
) -> Visit {
    // Where no consent is needed, silence is one; a visitor's no is a no everywhere.
    let has_consent = report.consent.unwrap_or(!entry.requires_consent);
    let mut ad = AdParameters::from_url(&report.url);
    if has_consent && ad.fbclid.is_none() {
        ad.fbclid = report.fbc.as_deref().and_then(fbclid_of_cookie);
    }
    let said = report.device.unwrap_or_default();
    let told = agent::read(user_agent);
    let os = told.os.map(|(name, version)| format!("{name} {version}"));
    let facts = DeviceFacts {
        screen: said.screen,
        time_zone: said.time_zone,
        utc_offset_minutes: said.utc_offset_minutes,
        device_type: said
            .device_type
            .or_else(|| Some(told.device_type.to_owned())),
        os: said.os.or(os),
        browser: said.browser.or_else(|| told.browser.map(str::to_owned)),
    };
    let hash = |kind: &str, text: &str| {
        let is_told = has_consent && !text.is_empty();
        is_told.then(|| state.hasher.hash(kind, text))
    };
    Visit {
        id,
        at: state.clock.now(),
        ad,
        has_consent,
        fingerprint: facts.canonical().and_then(|text| hash("device", &text)),
        ip: hash("ip", &ip.to_string()),
        user_agent: hash("user_agent", user_agent),
    }
}

/// An id that a page gave: it comes back from the CRM, so it must be plain.
pub(super) fn page_visit_id(text: &str) -> Option<VisitId> {
    let is_plain = (8..=64).contains(&text.len()) && is_plain_token(text);
    is_plain.then(|| VisitId::new(text).ok()).flatten()
}

pub(super) fn mint(state: &HttpState, tenant: &TenantId) -> VisitId {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    // Keyed, so that a visitor cannot guess another's.
    let secret = state.hasher.hash("visit", &format!("{tenant}/{counter}"));
    let seed = u64::from_str_radix(secret.0.get(..16).unwrap_or("0"), 16).unwrap_or(counter);
    Naming {
        seed,
        tenant,
        at: state.clock.now(),
        counter,
    }
    .visit()
}

pub(super) fn tenant_of(
    state: &HttpState,
    tenant: &str,
) -> Result<(TenantId, TenantHttp), Problem> {
    let tenant = TenantId::new(tenant).map_err(|_| Problem::not_found())?;
    let settings = state.settings.load();
    let entry = settings
        .tenants
        .get(&tenant)
        .cloned()
        .ok_or_else(Problem::not_found)?;
    Ok((tenant, entry))
}

/// The page's origin, when it is one of the tenant's. Callers that are no page send none.
fn allowed_origin(
    state: &HttpState,
    tenant: &TenantId,
    entry: &TenantHttp,
    headers: &HeaderMap,
) -> Result<Option<HeaderValue>, Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(None);
    };
    let is_own = |text: &str| entry.click_origins.iter().any(|own| own == text);
    if origin.to_str().is_ok_and(is_own) {
        return Ok(Some(origin.clone()));
    }
    count(tenant, "foreign_page");
    if pace(state).may_complain(tenant) {
        let shown: String = String::from_utf8_lossy(origin.as_bytes())
            .chars()
            .take(80)
            .collect();
        tracing::warn!(
            tenant.id = %tenant, origin = ?shown,
            "a page of {shown:?} reports visits to tenant {tenant} and is refused; if it is the \
             tenant's, add it to click_origins of the tenant (said every ten minutes at most)"
        );
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "this page may not report clicks here: its origin is not among the tenant's click_origins",
    ))
}

fn with_cors(mut response: Response, origin: Option<HeaderValue>) -> Response {
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("POST"),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("content-type"),
        );
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static("86400"),
        );
    }
    response
}

/// Whom the request is from: behind a proxy on this machine, what the proxy says of its own peer
/// (the last hop); what a visitor writes into the header before that is never believed, also not
/// when the last hop cannot be read.
pub(super) fn visitor(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let peer = peer.to_canonical();
    if !peer.is_loopback() {
        return peer;
    }
    let last = headers
        .get_all("x-forwarded-for")
        .iter()
        .next_back()
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.rsplit(',').next())
        .map(str::trim);
    last.and_then(address).map_or(peer, |ip| ip.to_canonical())
}

/// An address, with a port as some proxies write it or without.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    let with_port = || hop.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(text: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static(text));
        headers
    }

    #[test]
    fn only_a_proxy_on_this_machine_is_believed_and_only_its_own_hop() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (peer, header, expected) in [
            ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
            ("127.0.0.1", "1.1.1.1, 203.0.113.7", "203.0.113.7"),
            ("127.0.0.1", "nonsense", "127.0.0.1"),
            ("127.0.0.1", "1.1.1.1, unknown", "127.0.0.1"),
            ("127.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
            ("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
            ("127.0.0.1", "[2001:db8::1]", "2001:db8::1"),
            ("::1", "2001:db8::1", "2001:db8::1"),
            ("::ffff:127.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
            ("::ffff:198.51.100.1", "203.0.113.7", "198.51.100.1"),
            ("198.51.100.1", "203.0.113.7", "198.51.100.1"),
        ] {
            assert_eq!(
                visitor(ip(peer), &forwarded(header)),
                ip(expected),
                "{header}"
            );
        }
    }

    #[test]
    fn a_page_gives_plain_ids_only() {
        assert!(page_visit_id("v-0123456789").is_some());
        for bad in ["short", "has space!", "v-01234567/../x", &"x".repeat(65)] {
            assert!(page_visit_id(bad).is_none(), "{bad}");
        }
    }
}
