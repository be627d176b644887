//! HTTP for both skins: takes a call apart, breaks it if a fault says so, and hands it on.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::domain::ids::TenantId;
use crate::domain::time;

use super::faults::{Fault, FaultAction, HumanEdit, Vendor};
use super::journal::Journal;
use super::world::World;
use super::{hubspot, meta};

/// The largest body that is read.
const BODY_MAX: usize = 4 * 1024 * 1024;

/// A call, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub method: String,
    /// What follows `/meta/` or `/hubspot/`.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    params: Vec<(String, String)>,
}

impl Call {
    /// The first parameter of this name, of the query or the form.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All parameters, those of the query first.
    pub(super) fn params(&self) -> impl Iterator<Item = &(String, String)> {
        self.params.iter()
    }

    /// The same call with these parameters added, where it has none of the name.
    pub(super) fn with_params(&self, params: &[(String, String)]) -> Self {
        let mut call = self.clone();
        for (name, value) in params {
            if call.param(name).is_none() {
                call.params.push((name.clone(), value.clone()));
            }
        }
        call
    }

    /// The token of an `Authorization: Bearer` header.
    pub(super) fn bearer(&self) -> Option<&str> {
        self.headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
    }
}

/// An answer before it is sent.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Answer {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let body = body.to_string().into_bytes();
        Self { status, content_type: "application/json; charset=UTF-8", body, headers: Vec::new() }
    }

    pub(super) fn with_headers(mut self, headers: Vec<(String, String)>) -> Self {
        self.headers.extend(headers);
        self
    }

    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (
                header::HeaderName::try_from(name.as_str()),
                HeaderValue::try_from(value.as_str()),
            ) {
                headers.append(name, value);
            }
        }
        response
    }
}

pub(super) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of any length, so there is always one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Listens until the task is ended.
pub(super) async fn serve(listener: tokio::net::TcpListener, world: Arc<World>) {
    let router = Router::new().fallback(handle).with_state(world);
    if let Err(cause) = axum::serve(listener, router).await {
        tracing::error!(%cause, "the sandbox does not listen any more");
    }
}

async fn handle(
    State(world): State<Arc<World>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        return Answer::json(413, &json!({ "message": "the body is too large" })).into_response();
    };
    let path = uri.path().to_owned();
    let (vendor, rest) = if let Some(rest) = path.strip_prefix("/meta/") {
        (Vendor::Meta, rest)
    } else if let Some(rest) = path.strip_prefix("/hubspot/") {
        (Vendor::Hubspot, rest)
    } else if let Some(rest) = path.strip_prefix("/_sandbox/") {
        return control(&world, method.as_str(), rest, &body).into_response();
    } else {
        return Answer::json(404, &json!({ "message": "neither Meta nor HubSpot" })).into_response();
    };
    let mut params = query_pairs(uri.query().unwrap_or(""));
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.starts_with("application/x-www-form-urlencoded"));
    if is_form {
        params.extend(query_pairs(&String::from_utf8_lossy(&body)));
    }
    let call = Call {
        method: method.as_str().to_owned(),
        path: rest.to_owned(),
        headers,
        body: body.to_vec(),
        params,
    };
    let target = uri.path_and_query().map_or(path.as_str(), |p| p.as_str()).to_owned();
    match world.faults().strike(vendor, &call.method, &target) {
        None => answer(&world, vendor, &call).into_response(),
        Some(action) => broken(&world, vendor, &call, action).await,
    }
}

fn answer(world: &World, vendor: Vendor, call: &Call) -> Answer {
    match vendor {
        Vendor::Meta => meta::answer(world, call),
        Vendor::Hubspot => hubspot::answer(world, call),
    }
}

async fn broken(world: &World, vendor: Vendor, call: &Call, action: FaultAction) -> Response {
    let meta_error = |error: meta::Error| {
        let trace = world.trace(world.clock.now());
        Answer::json(error.status(), &error.body(&trace)).into_response()
    };
    match action {
        FaultAction::Status { status } => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() =
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            response
        }
        FaultAction::ReduceData => meta_error(meta::Error::reduce_data()),
        FaultAction::Throttle => match vendor {
            Vendor::Meta => meta_error(meta::Error::throttled_account()),
            Vendor::Hubspot => hubspot::throttled("TEN_SECONDLY_ROLLING").into_response(),
        },
        FaultAction::Error { code, subcode } => meta_error(meta::Error::new(
            code,
            subcode,
            format!("(#{code}) An error on purpose"),
        )),
        FaultAction::Html => {
            let mut response = Response::new(Body::from(
                "<!DOCTYPE html><html><body><h1>Sorry, something went wrong.</h1></body></html>",
            ));
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            response
        }
        FaultAction::Truncate => {
            let mut answer = answer(world, vendor, call);
            answer.body.truncate(answer.body.len() / 2);
            answer.into_response()
        }
        FaultAction::DropBefore => dropped(),
        FaultAction::DropAfter => {
            let _ = answer(world, vendor, call);
            dropped()
        }
        FaultAction::Hold => {
            let answer = answer(world, vendor, call);
            world.faults().wait().await;
            answer.into_response()
        }
        FaultAction::RevokeToken => {
            revoke(world, vendor, call);
            answer(world, vendor, call).into_response()
        }
    }
}

fn revoke(world: &World, vendor: Vendor, call: &Call) {
    for tenant in &world.tenants {
        match vendor {
            Vendor::Meta => {
                if meta::token_of(&call.headers, call).as_ref() == Some(&tenant.spec.meta_token) {
                    tenant.lock().meta_token = meta::TokenState::Revoked;
                }
            }
            Vendor::Hubspot => {
                if call.bearer() == Some(tenant.spec.hubspot_token.as_str()) {
                    tenant.lock().hubspot_token_is_valid = false;
                }
            }
        }
    }
}

/// An answer whose body breaks off at once: the connection is closed under the caller.
fn dropped() -> Response {
    let broken = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "dropped on purpose");
    let stream = futures_util::stream::once(async move { Err::<Bytes, _>(broken) });
    Response::new(Body::from_stream(stream))
}

/// Parts of a query or form, percent-decoded; `+` is a space.
fn query_pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(byte) = bytes.get(i) {
        let hex = bytes.get(i + 1..i + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match (byte, hex.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                i += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            (other, _) => out.push(*other),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What tests and rehearsals steer the sandbox by.
fn control(world: &World, method: &str, path: &str, body: &[u8]) -> Answer {
    let bad = |why: String| Answer::json(400, &json!({ "message": why }));
    match (method, path) {
        ("POST", "faults") => match serde_json::from_slice::<Vec<Fault>>(body) {
            Ok(faults) => {
                for fault in faults {
                    world.faults().add(fault);
                }
                Answer::json(200, &json!({ "success": true }))
            }
            Err(error) => bad(error.to_string()),
        },
        ("DELETE", "faults") => {
            world.faults().clear();
            Answer::json(200, &json!({ "success": true }))
        }
        ("POST", "release") => {
            world.faults().release();
            Answer::json(200, &json!({ "success": true }))
        }
        ("GET", "journal") => match Journal::read(&Journal::path(&world.config.dir)) {
            Ok(entries) => match serde_json::to_value(&entries) {
                Ok(entries) => Answer::json(200, &entries),
                Err(error) => bad(error.to_string()),
            },
            Err(error) => bad(error.to_string()),
        },
        ("GET", "state") => {
            let now = world.clock.now();
            let tenants: Vec<Value> = world
                .tenants
                .iter()
                .filter_map(|tenant| {
                    let totals = world.truth(&tenant.spec.tenant, now)?;
                    Some(json!({
                        "tenant": tenant.spec.tenant.as_str(),
                        "spend": totals.spend.to_decimal(),
                        "leads": totals.leads,
                        "wins": totals.wins,
                        "revenue_seen": totals.revenue_seen.to_decimal(),
                    }))
                })
                .collect();
            Answer::json(200, &json!({ "now": time::to_micros(now), "tenants": tenants }))
        }
        ("POST", "human-edit") => match human_edit(body) {
            Ok(edit) => match world.human_edit(&edit) {
                Ok(()) => Answer::json(200, &json!({ "success": true })),
                Err(why) => bad(why),
            },
            Err(why) => bad(why),
        },
        _ => Answer::json(404, &json!({ "message": "no such control" })),
    }
}

fn human_edit(body: &[u8]) -> Result<HumanEdit, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let text = |name: &str| {
        value.get(name).and_then(Value::as_str).ok_or_else(|| format!("{name} is missing"))
    };
    Ok(HumanEdit {
        tenant: TenantId::new(text("tenant")?).map_err(|bad| bad.to_string())?,
        at: None,
        entity: text("entity")?.to_owned(),
        field: text("field")?.to_owned(),
        value: text("value")?.to_owned(),
        application_id: "119211728144504".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        assert_eq!(
            query_pairs("a=1+2&b=%7B%22x%22%3A1%7D&c&d=%zz"),
            [("a", "1 2"), ("b", "{\"x\":1}"), ("c", ""), ("d", "%zz")]
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
    }
}
