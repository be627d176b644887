//! Visits to landing pages, as the pages report them.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use serde::Deserialize;

use super::state::TenantHttp;
use super::{HttpState, Problem};
use crate::clock::Clock;
use crate::domain::ids::{TenantId, VisitId};
use crate::domain::naming::Naming;
use crate::domain::visit::{AdParameters, DeviceFacts, KeyedHash, Visit};

/// Clicks of one address in a minute, after a burst.
const PER_MINUTE: u32 = 60;
const BURST: u32 = 30;
/// After so many clicks, addresses that have been quiet are forgotten.
const FORGET_EVERY: u64 = 1_000;
/// Words in a user agent that no visitor's browser has.
const BOTS: &[&str] = &[
    "bot",
    "crawler",
    "spider",
    "slurp",
    "facebookexternalhit",
    "headlesschrome",
    "curl/",
    "wget/",
    "python-",
    "monitor",
    "preview",
];

/// A report of a visit.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    visit_id: Option<String>,
    url: String,
    consent: Option<bool>,
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
    let (_, entry) = tenant_of(&state, &tenant)?;
    let origin = allowed_origin(&entry, &headers)?;
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
    let origin = allowed_origin(&entry, &headers)?;
    let ip_hash = state
        .hasher
        .hash("ip", &visitor(peer.ip(), &headers).to_string());
    if !state.click_pace.allows(&ip_hash) {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many reports");
        return Err(problem.retry_after(60 / PER_MINUTE.max(1)));
    }
    let report: Report = serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("the report is not readable: {error}");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    let user_agent = headers
        .get(header::USER_AGENT)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default();
    let visit = visit(&state, &tenant, &entry, report, ip_hash, &user_agent)?;
    let id = visit.id.clone();
    let lower = user_agent.to_lowercase();
    if !BOTS.iter().any(|word| lower.contains(word)) {
        let recorded = state.store.record_visit(&tenant, &visit).await;
        recorded.map_err(|error| Problem::store(&error))?;
    }
    let answer = Json(serde_json::json!({ "visit_id": id.as_str() }));
    Ok(with_cors(
        (StatusCode::ACCEPTED, answer).into_response(),
        origin,
    ))
}

fn visit(
    state: &HttpState,
    tenant: &TenantId,
    entry: &TenantHttp,
    report: Report,
    ip: KeyedHash,
    user_agent: &str,
) -> Result<Visit, Problem> {
    let id = match report.visit_id {
        Some(text) => page_visit_id(&text)?,
        None => mint(state, tenant),
    };
    // Where no consent is needed, silence is one; a visitor's no is a no everywhere.
    let has_consent = report.consent.unwrap_or(!entry.requires_consent);
    let device = report.device.unwrap_or_default();
    let facts = DeviceFacts {
        screen: device.screen,
        time_zone: device.time_zone,
        utc_offset_minutes: device.utc_offset_minutes,
        device_type: device.device_type,
        os: device.os,
        browser: device.browser,
    };
    let fingerprint = facts
        .canonical()
        .map(|text| state.hasher.hash("device", &text));
    let agent = (!user_agent.is_empty()).then(|| state.hasher.hash("user_agent", user_agent));
    Ok(Visit {
        id,
        at: state.clock.now(),
        ad: AdParameters::from_url(&report.url),
        has_consent,
        fingerprint: fingerprint.filter(|_| has_consent),
        ip: Some(ip).filter(|_| has_consent),
        user_agent: agent.filter(|_| has_consent),
    })
}

/// An id that a page gave: it comes back from the CRM, so it must be plain.
fn page_visit_id(text: &str) -> Result<VisitId, Problem> {
    let bad = || {
        let why = "visit_id must be 8 to 64 of A-Z, a-z, 0-9, _ and -";
        Problem::new(StatusCode::BAD_REQUEST, why)
    };
    let is_plain = (8..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !is_plain {
        return Err(bad());
    }
    VisitId::new(text).map_err(|_| bad())
}

fn mint(state: &HttpState, tenant: &TenantId) -> VisitId {
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

fn tenant_of(state: &HttpState, tenant: &str) -> Result<(TenantId, TenantHttp), Problem> {
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
fn allowed_origin(entry: &TenantHttp, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(None);
    };
    let known = origin
        .to_str()
        .is_ok_and(|o| entry.click_origins.iter().any(|own| own == o));
    if known {
        Ok(Some(origin.clone()))
    } else {
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this page may not report clicks here",
        ))
    }
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
fn visitor(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
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

/// Our clock as the limiter wants it.
#[derive(Debug, Clone)]
struct LimiterClock(Arc<dyn Clock>);

impl GovernorClock for LimiterClock {
    type Instant = Nanos;
    fn now(&self) -> Nanos {
        let micros = crate::domain::time::to_micros(self.0.now()).unsigned_abs();
        Nanos::from(micros.saturating_mul(1_000))
    }
}

type Limiter =
    RateLimiter<KeyedHash, DashMapStateStore<KeyedHash>, LimiterClock, NoOpMiddleware<Nanos>>;

/// How fast one address may report.
pub(super) struct Pace {
    limiter: Limiter,
    seen: AtomicU64,
}

impl Pace {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let per_minute = NonZeroU32::new(PER_MINUTE).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(BURST).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(per_minute).allow_burst(burst);
        let limiter = RateLimiter::new(quota, DashMapStateStore::default(), LimiterClock(clock));
        Self {
            limiter,
            seen: AtomicU64::new(0),
        }
    }

    fn allows(&self, ip: &KeyedHash) -> bool {
        if self.seen.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(ip).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SteppedClock;
    use crate::domain::time;

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
        assert!(page_visit_id("v-0123456789").is_ok());
        for bad in ["short", "has space!", "v-01234567/../x", &"x".repeat(65)] {
            assert!(page_visit_id(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn one_address_cannot_flood() {
        let clock = SteppedClock::new(time::from_seconds(1_790_000_000));
        let pace = Pace::new(Arc::new(clock.clone()));
        let ip = KeyedHash("a".to_owned());
        let passed = (0..100).filter(|_| pace.allows(&ip)).count();
        assert_eq!(passed, BURST as usize);
        assert!(pace.allows(&KeyedHash("b".to_owned())));
        clock.advance(time::seconds(60)).await;
        assert!(pace.allows(&ip));
    }
}
