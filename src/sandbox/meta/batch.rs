//! Batches: `POST /` with up to 50 calls, each counted, answered and refused by itself.

use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::faults::{FaultAction, Vendor};
use super::super::server::{Answer, Call, meta_error};
use super::super::world::World;
use super::Error;

/// Calls of one batch at most.
const MOST: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    method: String,
    relative_url: String,
    #[serde(default)]
    body: String,
}

/// Whether a call is a batch: to the root, or to a version's.
pub(super) fn is_one(call: &Call) -> bool {
    let path = call.path.trim_matches('/');
    let is_root = path.is_empty() || (path.starts_with('v') && !path.contains('/'));
    call.method == "POST" && is_root && call.param("batch").is_some()
}

/// Answers a batch: a list of answers, `null` for a call that was not run.
pub(super) fn answer(world: &World, call: &Call) -> Answer {
    let refused = |message: &str| meta_error(world, &Error::bad(message));
    let text = call.param("batch").unwrap_or_default();
    let Ok(calls) = serde_json::from_str::<Vec<Inner>>(text) else {
        return refused("Param batch must be an array of requests");
    };
    if calls.is_empty() || calls.len() > MOST {
        return refused("Too many requests in batch message. Maximum batch size is 50");
    }
    let tells = call.param("include_headers") != Some("false");
    let answers: Vec<Value> = calls
        .iter()
        .map(|inner| one(world, call, inner, tells))
        .collect();
    Answer::json(200, &Value::Array(answers))
}

fn one(world: &World, outer: &Call, inner: &Inner, tells_headers: bool) -> Value {
    let target = inner.relative_url.trim_start_matches('/');
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    if let Some(token) = outer.headers.get("authorization") {
        headers.insert("authorization", token.clone());
    }
    let form = axum::http::HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert("content-type", form);
    let body = inner.body.clone().into();
    let shared: Vec<(String, String)> = ["access_token", "appsecret_proof"]
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), outer.param(name)?.to_owned())))
        .collect();
    let call = Call::new(&inner.method, path, query, headers, body).with_params(&shared);
    let named = format!("/meta/{target}");
    let answer = match world.faults().strike(Vendor::Meta, &inner.method, &named) {
        Some(FaultAction::NotRun | FaultAction::DropBefore) => return Value::Null,
        Some(FaultAction::Error { code, subcode }) => {
            let message = "An unexpected error has occurred.".to_owned();
            meta_error(world, &Error::new(code, subcode, message))
        }
        Some(FaultAction::Throttle) => meta_error(world, &Error::throttled_account()),
        Some(FaultAction::ReduceData) => meta_error(world, &Error::reduce_data()),
        // The others strike connections, of which a batch has one.
        Some(_) | None => super::answer(world, &call),
    };
    let mut told = json!({
        "code": answer.status,
        "body": String::from_utf8_lossy(&answer.body),
    });
    if tells_headers && let Some(told) = told.as_object_mut() {
        let headers: Vec<Value> = answer
            .headers
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        told.insert("headers".to_owned(), headers.into());
    }
    told
}
