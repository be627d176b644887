//! HubSpot's CRM API over the markets, in the version of 2026-09 and the older forms of its paths.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::domain::time::{self, SignedDuration, Timestamp};

use super::draw::Draw;
use super::server::{Answer, Call};
use super::world::{State, Tenant, World};

mod read;
mod record;
mod search;

/// Searches that an account may make in a second, all its apps together.
const SEARCHES_PER_SECOND: usize = 5;
/// Calls that an app may make in ten seconds.
const CALLS_PER_TEN_SECONDS: usize = 190;

/// What was called lately.
#[derive(Debug, Default)]
pub(super) struct Limits {
    calls: VecDeque<Timestamp>,
    searches: VecDeque<Timestamp>,
}

/// Counts one more in a rolling window; false when it is full.
fn count(
    seen: &mut VecDeque<Timestamp>,
    most: usize,
    window: SignedDuration,
    now: Timestamp,
) -> bool {
    while seen
        .front()
        .is_some_and(|at| time::between(*at, now) >= window)
    {
        seen.pop_front();
    }
    let has_room = seen.len() < most;
    if has_room {
        seen.push_back(now);
    }
    has_room
}

/// An error in HubSpot's envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Error {
    status: u16,
    message: String,
    category: &'static str,
    /// Set on throttles, which are shaped differently.
    policy: Option<&'static str>,
}

impl Error {
    fn new(status: u16, category: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            category,
            policy: None,
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "VALIDATION_ERROR", message)
    }

    fn missing() -> Self {
        Self::new(404, "OBJECT_NOT_FOUND", "resource not found")
    }

    fn throttled(policy: &'static str, message: &str) -> Self {
        Self {
            status: 429,
            message: message.to_owned(),
            category: "RATE_LIMITS",
            policy: Some(policy),
        }
    }

    fn body(&self, correlation: &str) -> Value {
        match self.policy {
            Some(policy) => json!({
                "status": "error",
                "message": self.message,
                "errorType": "RATE_LIMIT",
                "correlationId": correlation,
                "policyName": policy,
                "requestId": correlation,
            }),
            None => json!({
                "status": "error",
                "message": self.message,
                "correlationId": correlation,
                "category": self.category,
            }),
        }
    }
}

fn ten_secondly() -> Error {
    Error::throttled(
        "TEN_SECONDLY_ROLLING",
        "You have reached your ten_secondly_rolling limit.",
    )
}

/// The burst throttle, as a fault.
pub(super) fn throttled(world: &World) -> Answer {
    let correlation = correlation(world, world.clock.now());
    let error = ten_secondly();
    Answer::json(error.status, &error.body(&correlation))
}

/// A name for a call in the form of a UUID.
fn correlation(world: &World, now: Timestamp) -> String {
    let draw = Draw::seeded(super::draw::key_of(&world.trace(now)));
    let (a, b) = (draw.bits(), draw.of(1).bits());
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xFFFF,
        a & 0xFFF,
        (b >> 48) & 0xFFF,
        b & 0xFFFF_FFFF_FFFF
    )
}

/// HubSpot's way to write a time.
fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// All that a part of the API needs to answer.
struct Context<'a> {
    world: &'a World,
    tenant: &'a Tenant,
    state: &'a State,
    now: Timestamp,
    call: &'a Call,
    /// Whether partial answers have status 207, as in the older forms.
    is_legacy: bool,
}

/// What there is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Deal,
    Contact,
}

impl Kind {
    /// By its name or type id.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "deals" | "deal" | "0-3" => Some(Self::Deal),
            "contacts" | "contact" | "0-1" => Some(Self::Contact),
            _ => None,
        }
    }
}

/// Answers one call.
pub(super) fn answer(world: &World, call: &Call) -> Answer {
    let mut headers = Vec::new();
    match route(world, call, &mut headers) {
        Ok((status, body)) => Answer::json(status, &body).with_headers(headers),
        Err(error) => {
            let correlation = correlation(world, world.clock.now());
            headers.push(("x-hubspot-correlation-id".to_owned(), correlation.clone()));
            Answer::json(error.status, &error.body(&correlation)).with_headers(headers)
        }
    }
}

fn route(
    world: &World,
    call: &Call,
    headers: &mut Vec<(String, String)>,
) -> Result<(u16, Value), Error> {
    let token = call
        .headers
        .get("authorization")
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("Bearer "));
    let tenant = world
        .tenants
        .iter()
        .find(|t| token == Some(t.spec.hubspot_token.as_str()));
    let refused = || {
        Error::new(
            401,
            "INVALID_AUTHENTICATION",
            "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview",
        )
    };
    let tenant = tenant.ok_or_else(refused)?;
    let (mut state, now) = world.at_now(tenant);
    if !state.hubspot_token_is_valid {
        return Err(refused());
    }
    let (api, rest, is_legacy) = parts(&call.path).ok_or_else(Error::missing)?;
    let is_search = rest.last() == Some(&"search");
    if world.config.is_unlimited {
        for (name, value) in [("max", "1000000"), ("remaining", "999999")] {
            headers.push((format!("x-hubspot-ratelimit-{name}"), value.to_owned()));
        }
    } else {
        charge(&mut state.limits, is_search, now, headers)?;
    }
    let context = Context {
        world,
        tenant,
        state: &state,
        now,
        call,
        is_legacy,
    };
    dispatch(&context, api, &rest)
}

/// The API, what follows, and whether the form is an older one: `crm/objects/2026-09/…` or
/// `crm/v3/objects/…`.
fn parts(path: &str) -> Option<(&str, Vec<&str>, bool)> {
    let all: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let (head, rest) = all.split_at_checked(3)?;
    match head {
        ["crm", "v3" | "v4", api] => Some((api, rest.to_vec(), true)),
        ["crm", api, "2026-09" | "2026-03"] => Some((api, rest.to_vec(), false)),
        _ => None,
    }
}

fn charge(
    limits: &mut Limits,
    is_search: bool,
    now: Timestamp,
    headers: &mut Vec<(String, String)>,
) -> Result<(), Error> {
    if is_search {
        // Searches have a quota of their own and tell nothing of it.
        return if count(
            &mut limits.searches,
            SEARCHES_PER_SECOND,
            time::seconds(1),
            now,
        ) {
            Ok(())
        } else {
            Err(Error::throttled(
                "SECONDLY",
                "You have reached your secondly limit.",
            ))
        };
    }
    let has_room = count(
        &mut limits.calls,
        CALLS_PER_TEN_SECONDS,
        time::seconds(10),
        now,
    );
    let left = CALLS_PER_TEN_SECONDS.saturating_sub(limits.calls.len());
    for (name, value) in [
        ("x-hubspot-ratelimit-max", CALLS_PER_TEN_SECONDS.to_string()),
        ("x-hubspot-ratelimit-remaining", left.to_string()),
        (
            "x-hubspot-ratelimit-interval-milliseconds",
            "10000".to_owned(),
        ),
    ] {
        headers.push((name.to_owned(), value));
    }
    if has_room {
        Ok(())
    } else {
        Err(ten_secondly())
    }
}

fn dispatch(context: &Context<'_>, api: &str, rest: &[&str]) -> Result<(u16, Value), Error> {
    let kind = |text: &str| {
        Kind::parse(text)
            .ok_or_else(|| Error::invalid(format!("Unable to infer object type from: {text}")))
    };
    match (context.call.method.as_str(), api, rest) {
        ("GET", "pipelines", [of]) if kind(of)? == Kind::Deal => {
            Ok((200, json!({ "results": [read::pipeline(context)] })))
        }
        ("POST", "objects", [of, "search"]) => search::search(context, kind(of)?),
        ("POST", "objects", [of, "batch", "read"]) => read::batch(context, kind(of)?),
        ("GET", "objects", [of]) => read::list(context, kind(of)?),
        ("GET", "objects", [of, id]) => read::one(context, kind(of)?, id),
        ("POST", "associations", [from, to, "batch", "read"])
            if kind(from)? == Kind::Deal && kind(to)? == Kind::Contact =>
        {
            read::associations(context)
        }
        ("GET" | "POST", "objects" | "pipelines" | "associations", _) => Err(Error::missing()),
        (method, ..) => Err(Error::new(
            405,
            "METHOD_NOT_ALLOWED",
            format!("{method} is not supported here"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lets_only_so_many_through() {
        let mut seen = VecDeque::new();
        let at = |ms: i64| time::from_millis(1_000_000 + ms);
        let mut ask = |ms| count(&mut seen, 2, time::seconds(1), at(ms));
        let got: Vec<bool> = [0, 10, 20, 999, 1_000, 1_005, 1_010].map(&mut ask).to_vec();
        assert_eq!(got, [true, true, false, false, true, false, true]);
    }

    #[test]
    fn paths_of_both_forms_are_known() {
        let check = |path: &str, api: &str, rest: &[&str], is_legacy: bool| {
            assert_eq!(parts(path), Some((api, rest.to_vec(), is_legacy)), "{path}");
        };
        check("crm/objects/2026-09/deals", "objects", &["deals"], false);
        check(
            "crm/v3/objects/deals/search",
            "objects",
            &["deals", "search"],
            true,
        );
        check(
            "crm/pipelines/2026-09/deals",
            "pipelines",
            &["deals"],
            false,
        );
        assert_eq!(parts("crm/objects/2019-01/deals"), None);
        assert_eq!(parts("crm"), None);
    }

    #[test]
    fn times_have_milliseconds() {
        let at = time::from_millis(1_726_259_003_333);
        assert_eq!(stamp(at), "2024-09-13T20:23:23.333Z");
        assert_eq!(stamp(time::from_seconds(0)), "1970-01-01T00:00:00.000Z");
    }
}
