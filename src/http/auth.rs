//! Who asks: tokens as they are presented, checked against those that are kept.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, StatusCode, header};

use super::pace::ApiPace;
use super::{HttpState, Problem};
use crate::domain::api_token::{ApiToken, id_in};
use crate::domain::ids::TokenId;
use crate::domain::time::{self, SignedDuration, Timestamp};

/// How long a token that was read counts without another look, in wall time: so long may one that was
/// revoked be good on another node, and a little more.
const FRESH: SignedDuration = time::seconds(1);
/// Tokens remembered at most.
const REMEMBERED: usize = 4_096;
/// How coarsely the last use is noted.
const USE_NOTED_EVERY: SignedDuration = time::hours(1);

/// The tokens of this second.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<TokenId, (Timestamp, Arc<ApiToken>)>>);

impl Tokens {
    fn fresh(&self, id: &TokenId, wall: Timestamp) -> Option<Arc<ApiToken>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, token) = known.get(id)?;
        // A clock that was set back must not keep a token for ever.
        let is_fresh = (SignedDuration::ZERO..FRESH).contains(&time::between(*at, wall));
        is_fresh.then(|| token.clone())
    }

    fn remember(&self, token: &Arc<ApiToken>, wall: Timestamp) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(token.id.clone(), (wall, token.clone()));
    }

    /// Takes a better copy of a token that is remembered; it is as old as before.
    fn refine(&self, token: Arc<ApiToken>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, kept)) = known.get_mut(&token.id) {
            *kept = token;
        }
    }
}

/// The token of a request, once its address and itself have not asked too often.
pub(super) async fn token_of(
    state: &HttpState,
    headers: &HeaderMap,
    ip: IpAddr,
) -> Result<Arc<ApiToken>, Problem> {
    let pace = pace(state);
    if !pace.addresses.takes(ip, &state.hasher) {
        return Err(too_fast("of this address", "api.per_address_per_minute"));
    }
    let found = match presented(headers) {
        Some(text) => look_up(state, text).await?.ok_or(WRONG),
        None => Err(MISSING),
    };
    match found {
        Ok(token) if pace.tokens.check_key(&token.id).is_ok() => {
            note_use(state, &token).await;
            Ok(token)
        }
        Ok(_) => Err(too_fast("with this token", "api.per_token_per_second")),
        Err(_) if !pace.refused.takes(ip, &state.hasher) => Err(too_fast(
            "of this address with a token that is missing or wrong",
            "api.refused_per_address_per_minute",
        )),
        Err(detail) => Err(Problem::new(StatusCode::UNAUTHORIZED, detail)),
    }
}

const MISSING: &str = "a token is needed: send `Authorization: Bearer roasd_…`; \
                       `roasd token create` makes one";
const WRONG: &str = "the token is not known, revoked or expired; `roasd token list --all` shows which \
                     there are";

fn too_fast(what: &str, key: &str) -> Problem {
    let detail = format!("too many requests {what}; come again later (bounded by {key})");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(2)
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, text) = value.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then_some(text.trim())
}

/// The token with this text, if there is one that counts. All that is wrong with one looks alike.
async fn look_up(state: &HttpState, text: &str) -> Result<Option<Arc<ApiToken>>, Problem> {
    let Some(id) = id_in(text) else {
        return Ok(None);
    };
    let wall = state.clock.wall();
    let token = match state.tokens.fresh(&id, wall) {
        Some(token) => Some(token),
        None => {
            let token = state.store.token(&id).await?.map(Arc::new);
            if let Some(token) = &token {
                state.tokens.remember(token, wall);
            }
            token
        }
    };
    let counts = |token: &Arc<ApiToken>| token.is(text) && token.ended(state.clock.now()).is_none();
    Ok(token.filter(counts))
}

/// Notes that a token is used, once in an hour. That it cannot be noted hinders nobody.
async fn note_use(state: &HttpState, token: &Arc<ApiToken>) {
    let now = state.clock.now();
    let is_noted = token
        .last_used_at
        .is_some_and(|at| time::between(at, now) < USE_NOTED_EVERY);
    if is_noted {
        return;
    }
    let hour = time::from_seconds(now.as_second() - now.as_second().rem_euclid(3_600));
    if let Err(error) = state.store.token_used(&token.id, hour).await {
        tracing::warn!(token = %token.id, %error, "the use of a token was not noted: {error}");
    }
    let noted = ApiToken {
        last_used_at: Some(hour),
        ..ApiToken::clone(token)
    };
    state.tokens.refine(Arc::new(noted));
}

/// The counters of the limits in force: made anew, and empty, when the configuration changes them.
fn pace(state: &HttpState) -> Arc<ApiPace> {
    let limits = state.settings.load().api;
    let pace = state.api_pace.load_full();
    if pace.limits == limits {
        return pace;
    }
    let pace = Arc::new(ApiPace::new(limits, state.clock.clone()));
    state.api_pace.store(pace.clone());
    pace
}
