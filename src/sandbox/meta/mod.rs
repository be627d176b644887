//! Meta's Graph and Marketing API over the markets: tokens, versions, quotas, and who may see what.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::domain::time::{self, Timestamp};

use super::journal::Entry;
use super::server::{Answer, Call};
use super::world::{State, Tenant, World};

mod batch;
mod errors;
mod insights;
mod leads;
pub(super) mod limits;
mod objects;
mod writes;

pub(super) use errors::Error;
pub(super) use insights::{Report, doom};

/// Whether a token still opens the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenState {
    /// All rights.
    Valid,
    /// The app was removed.
    Revoked,
    /// Its 60 days are over.
    Expired,
    /// These rights only, such as `ads_read`.
    Scopes(Vec<String>),
}

impl TokenState {
    fn may(&self, scope: &str) -> bool {
        match self {
            Self::Valid => true,
            Self::Revoked | Self::Expired => false,
            Self::Scopes(scopes) => scopes.iter().any(|s| s == scope),
        }
    }

    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Revoked => Err(Error::token(
                458,
                "The user has not authorized application.",
            )),
            Self::Expired => Err(Error::token(463, "Session has expired.")),
            Self::Valid | Self::Scopes(_) => Ok(()),
        }
    }
}

/// All that a part of the API needs to answer.
pub(super) struct Context<'a> {
    pub world: &'a World,
    pub tenant: &'a Tenant,
    pub state: &'a mut State,
    pub now: Timestamp,
    pub call: &'a Call,
    pub version: &'a str,
    pub trace: &'a str,
}

impl Context<'_> {
    /// Refuses what the token may not do.
    fn need(&self, scopes: &[&str]) -> Result<(), Error> {
        if scopes.iter().any(|s| self.state.meta_token.may(s)) {
            Ok(())
        } else {
            let scope = scopes.first().copied().unwrap_or("ads_read");
            Err(Error::new(
                200,
                0,
                format!("(#200) Requires {scope} permission to manage the object"),
            ))
        }
    }
}

/// The token, from the header or else from the parameters.
pub(super) fn token_of(headers: &HeaderMap, call: &Call) -> Option<String> {
    headers
        .get("authorization")
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("Bearer "))
        .map(str::to_owned)
        .or_else(|| call.param("access_token").map(str::to_owned))
}

/// Answers one call. `path` is what follows the host.
pub(super) fn answer(world: &World, call: &Call) -> Answer {
    if batch::is_one(call) {
        return batch::answer(world, call);
    }
    let now = world.clock.now();
    let trace = world.trace(now);
    let mut headers = vec![
        ("x-fb-trace-id".to_owned(), trace.clone()),
        ("facebook-api-version".to_owned(), "v25.0".to_owned()),
    ];
    let result = route(world, call, now, &trace, &mut headers);
    let (status, body) = match result {
        Ok(body) => (200, body),
        Err(error) => (error.status(), error.body(&trace)),
    };
    Answer::json(status, &body).with_headers(headers)
}

fn route(
    world: &World,
    call: &Call,
    now: Timestamp,
    trace: &str,
    headers: &mut Vec<(String, String)>,
) -> Result<Value, Error> {
    let mut segments = call.path.split('/').filter(|s| !s.is_empty());
    let mut first = segments.next().unwrap_or("");
    let mut version = "";
    let looks = first.strip_prefix('v').is_some_and(|v| {
        v.split_once('.').is_some_and(|(a, b)| {
            !a.is_empty()
                && a.bytes().all(|c| c.is_ascii_digit())
                && b.bytes().all(|c| c.is_ascii_digit())
        })
    });
    if looks {
        version = first;
        first = segments.next().unwrap_or("");
    }
    let rest: Vec<&str> = segments.collect();
    if first == "debug_token" {
        return debug_token(world, call, now);
    }
    if !world.config.versions.iter().any(|v| v == version) {
        return Err(Error::new(
            2635,
            0,
            format!(
                "(#2635) You are calling a deprecated version of the Ads API. Please update to the latest version: {}.",
                world.config.versions.last().map_or("v25.0", |v| v.as_str())
            ),
        ));
    }
    let token = token_of(&call.headers, call).ok_or_else(|| {
        Error::new(
            104,
            0,
            "An access token is required to request this resource.".to_owned(),
        )
    })?;
    let tenant = world
        .tenants
        .iter()
        .find(|t| t.spec.meta_token == token)
        .ok_or_else(|| {
            Error::new(
                190,
                0,
                "Invalid OAuth access token - Cannot parse access token".to_owned(),
            )
        })?;
    let (mut state, now) = world.at_now(tenant);
    let result = charged(world, tenant, &mut state, call, now, first).and_then(|()| {
        state.meta_token.check()?;
        prove(world, call, &token)?;
        let mut context = Context {
            world,
            tenant,
            state: &mut state,
            now,
            call,
            version,
            trace,
        };
        dispatch(&mut context, first, &rest)
    });
    let active = state.market.active_ads();
    let account = tenant.spec.ad_account.digits();
    headers.extend(state.usage.headers(account, active, now));
    let mut app = world
        .app
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    headers.push(app.header(now));
    result
}

/// Counts the call against every quota; an error when one is used up.
fn charged(
    world: &World,
    tenant: &Tenant,
    state: &mut State,
    call: &Call,
    now: Timestamp,
    first: &str,
) -> Result<(), Error> {
    let is_write = call.method == "POST" && !call.path.ends_with("/insights");
    let is_insights = call.path.ends_with("/insights");
    let active = state.market.active_ads();
    let mut app = world
        .app
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let charged = app
        .charge(now)
        .and_then(|()| state.usage.charge(is_write, is_insights, active, now));
    drop(app);
    charged.map_err(|throttle| {
        if throttle.was_blocked {
            world.record(&Entry::Blocked {
                at: time::to_micros(now),
                tenant: tenant.spec.tenant.as_str().to_owned(),
                call: format!("{} {first}", call.method),
                code: throttle.error.code,
            });
        }
        throttle.error
    })
}

fn prove(world: &World, call: &Call, token: &str) -> Result<(), Error> {
    let Some(secret) = &world.config.app_secret else {
        return Ok(());
    };
    match call.param("appsecret_proof") {
        None => Err(Error::new(
            100,
            0,
            "API calls from the server require an appsecret_proof argument".to_owned(),
        )),
        Some(proof) if proof == appsecret_proof(secret, token) => Ok(()),
        Some(_) => Err(Error::new(
            100,
            0,
            "Invalid appsecret_proof provided in the API argument".to_owned(),
        )),
    }
}

/// Lowercase hex of HMAC-SHA256 with the app secret as key and the token as message.
fn appsecret_proof(secret: &str, token: &str) -> String {
    hex::encode(super::server::hmac_sha256(
        secret.as_bytes(),
        &[token.as_bytes()],
    ))
}

fn debug_token(world: &World, call: &Call, now: Timestamp) -> Result<Value, Error> {
    let input = call
        .param("input_token")
        .ok_or_else(|| Error::bad("The parameter input_token is required"))?;
    let app_token = format!(
        "{}|{}",
        world.config.app_id,
        world.config.app_secret.as_deref().unwrap_or("")
    );
    let caller = token_of(&call.headers, call).unwrap_or_default();
    let known = world.tenants.iter().any(|t| t.spec.meta_token == caller);
    if caller != app_token && !known {
        return Err(Error::new(
            190,
            0,
            "Invalid OAuth access token - Cannot parse access token".to_owned(),
        ));
    }
    let Some(tenant) = world.tenants.iter().find(|t| t.spec.meta_token == input) else {
        return Ok(json!({"data": {"is_valid": false, "scopes": [],
            "error": {"code": 190, "message": "Malformed access token"}}}));
    };
    let (state, _) = world.at_now(tenant);
    let all = [
        "ads_management",
        "ads_read",
        "business_management",
        "leads_retrieval",
    ];
    let (is_valid, scopes): (bool, Vec<String>) = match &state.meta_token {
        TokenState::Valid => (true, all.iter().map(|s| (*s).to_owned()).collect()),
        TokenState::Scopes(scopes) => (true, scopes.clone()),
        TokenState::Revoked | TokenState::Expired => (false, Vec::new()),
    };
    Ok(json!({"data": {
        "app_id": world.config.app_id,
        "type": "SYSTEM_USER",
        "application": "roasd sandbox",
        "is_valid": is_valid,
        "expires_at": 0,
        "data_access_expires_at": 0,
        "issued_at": time::to_micros(world.config.start.min(now)) / 1_000_000,
        "scopes": scopes,
    }}))
}

fn dispatch(context: &mut Context<'_>, first: &str, rest: &[&str]) -> Result<Value, Error> {
    let method = context.call.method.as_str();
    let account = context.tenant.spec.ad_account.to_string();
    match (method, first, rest) {
        ("GET", "me", ["adaccounts"]) => objects::my_accounts(context),
        ("GET", "me", []) => Ok(json!({"id": "122100000000001", "name": "roasd"})),
        (_, act, rest) if act.starts_with("act_") => {
            if act != account {
                return Err(Error::new(
                    200,
                    0,
                    format!(
                        "(#200) Ad account owner has NOT grant ads_management or ads_read permission (account {act})"
                    ),
                ));
            }
            context.need(&["ads_read", "ads_management"])?;
            match (method, rest) {
                ("GET", []) => objects::account(context),
                ("GET", ["insights"]) => insights::read(context, None),
                ("POST", ["insights"]) => insights::submit(context),
                ("GET", ["activities"]) => objects::activities(context, None),
                ("GET", ["minimum_budgets"]) => Ok(objects::minimum_budgets(context)),
                ("GET", [edge @ ("campaigns" | "adsets" | "ads")]) => {
                    objects::edge(context, edge, None)
                }
                _ => Err(unsupported(method, context.call)),
            }
        }
        ("GET", id, []) if leads::is_known(context, id) => {
            context.need(&["leads_retrieval"])?;
            leads::read(context, id)
        }
        ("GET", id, rest) => {
            context.need(&["ads_read", "ads_management"])?;
            if context.state.reports.contains_key(id) {
                return insights::report(context, id, rest);
            }
            let node = context.state.market.find(id);
            let node = node
                .filter(|_| !id.contains('/'))
                .ok_or_else(|| Error::missing("get", id))?;
            match rest {
                [] => objects::object(context, node),
                ["insights"] => insights::read(context, Some(node)),
                ["activities"] => objects::activities(context, Some(node)),
                [edge @ ("adsets" | "ads")] => objects::edge(context, edge, Some(node)),
                _ => Err(unsupported(method, context.call)),
            }
        }
        ("POST", id, []) if !id.is_empty() => {
            context.need(&["ads_management"])?;
            writes::write(context, id)
        }
        _ => Err(unsupported(method, context.call)),
    }
}

fn unsupported(method: &str, call: &Call) -> Error {
    Error::bad(&format!(
        "Unsupported {} request. Unknown path components: {}",
        method.to_lowercase(),
        call.path
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_that_of_the_documentation() {
        assert_eq!(
            appsecret_proof("app-secret-0123456789abcdef", "EAAB-test-token"),
            "914b32b6b55876b4b399e5142dc56b43cd63536c5e79b4f06794e4c30e6b9175"
        );
    }
}
