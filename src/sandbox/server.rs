//! The HTTP side: reads a call, lets the faults at it, hands it to the vendor's skin and sends the
//! answer. Beside the two vendors there is `/_sandbox/…`, for whoever runs the sandbox.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::serve::ListenerExt as _;
use futures_util::StreamExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::domain::ids::TenantId;

use super::edits::CrmEdit;
use super::faults::{Fault, FaultAction, HumanEdit, Vendor};
use super::journal::Journal;
use super::world::World;
use super::{Totals, hubspot, meta};

/// A body beyond this is refused.
const BODY_MAX: usize = 4 << 20;

/// One call as the skins see it.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub method: String,
    /// What follows the vendor's host, without the leading slash and the query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    params: Vec<(String, String)>,
}

impl Call {
    /// The call with the parameters of its query and, if it is a form, of its body.
    pub(super) fn new(
        method: &str,
        path: &str,
        query: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Self {
        let mut params = pairs(query);
        let is_form = headers
            .get("content-type")
            .and_then(|v| v.to_str().ok())
            .is_some_and(|v| v.starts_with("application/x-www-form-urlencoded"));
        if is_form {
            params.extend(pairs(&String::from_utf8_lossy(&body)));
        }
        Self {
            method: method.to_owned(),
            path: path.trim_start_matches('/').to_owned(),
            headers,
            body,
            params,
        }
    }

    /// The first parameter of this name.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// All parameters, in order.
    pub(super) fn params(&self) -> impl Iterator<Item = &(String, String)> {
        self.params.iter()
    }

    /// The same call with further parameters; its own stay in force.
    pub(super) fn with_params(&self, more: &[(String, String)]) -> Self {
        let mut call = self.clone();
        for pair in more {
            if call.param(&pair.0).is_none() {
                call.params.push(pair.clone());
            }
        }
        call
    }
}

/// Names and values of `a=b&c=d`, decoded.
fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        })
        .collect()
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => out.push(b' '),
            b'%' => {
                let byte = tail.get(..2).and_then(|two| hex::decode(two).ok());
                if let Some(byte) = byte {
                    out.extend(byte);
                    rest = tail.get(2..).unwrap_or_default();
                } else {
                    out.push(b'%');
                }
            }
            other => out.push(*other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What a skin answers.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A JSON answer.
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::of(status, "application/json; charset=UTF-8", body.to_string())
    }

    fn of(status: u16, kind: &str, body: String) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), kind.to_owned())],
            body: body.into_bytes(),
        }
    }

    /// The answer with further headers.
    pub(super) fn with_headers(mut self, headers: Vec<(String, String)>) -> Self {
        self.headers.extend(headers);
        self
    }

    fn response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// HMAC-SHA256 of the parts, one after the other.
pub(super) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // A key of any length is taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Answers calls until it is aborted.
pub(super) async fn serve(listener: TcpListener, world: Arc<World>) {
    let router = Router::new().fallback(handle).with_state(world);
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    if let Err(cause) = axum::serve(listener, router).await {
        tracing::error!(%cause, "the sandbox no longer listens");
    }
}

async fn handle(State(world): State<Arc<World>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        return dropped();
    };
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or("");
    let method = parts.method.as_str();
    if let Some(rest) = path.strip_prefix("/_sandbox/") {
        return control(&world, method, rest, &body).response();
    }
    let (vendor, rest) = if let Some(rest) = path.strip_prefix("/meta/") {
        (Vendor::Meta, rest)
    } else if let Some(rest) = path.strip_prefix("/hubspot/") {
        (Vendor::Hubspot, rest)
    } else {
        return Answer::of(404, "text/plain", "no such vendor here".to_owned()).response();
    };
    let target = if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    };
    let call = Call::new(method, rest, query, parts.headers, body);
    let answer = || match vendor {
        Vendor::Meta => meta::answer(&world, &call),
        Vendor::Hubspot => hubspot::answer(&world, &call),
    };
    // Listened for from here on: whoever sees the fault strike may release at once.
    let released = world.faults().wait();
    let Some(action) = world.faults().strike(vendor, method, &target) else {
        return answer().response();
    };
    match action {
        FaultAction::Status { status } => {
            Answer::of(status, "text/plain", String::new()).response()
        }
        FaultAction::ReduceData => meta_error(&world, &meta::Error::reduce_data()).response(),
        FaultAction::Throttle => match vendor {
            Vendor::Meta => meta_error(&world, &meta::Error::throttled_account()).response(),
            Vendor::Hubspot => hubspot::throttled(&world).response(),
        },
        FaultAction::Error { code, subcode } => {
            let error = meta::Error::new(code, subcode, "An unexpected error has occurred.".into());
            meta_error(&world, &error).response()
        }
        FaultAction::NotRun => {
            let error = meta::Error::new(2, 0, "Service temporarily unavailable".into());
            meta_error(&world, &error).response()
        }
        FaultAction::Html => Answer::of(
            200,
            "text/html",
            "<!doctype html><title>Sorry</title><p>Something went wrong.".to_owned(),
        )
        .response(),
        FaultAction::Truncate => {
            let mut answer = answer();
            answer.body.truncate(answer.body.len() / 2);
            answer.response()
        }
        FaultAction::BreakBody => broken(answer()),
        FaultAction::DropBefore => dropped(),
        FaultAction::DropAfter => {
            let _ = answer();
            dropped()
        }
        FaultAction::Hold => {
            let answer = answer();
            released.await;
            answer.response()
        }
        FaultAction::Report { fate } => {
            let answer = answer();
            meta::doom(&world, &answer.body, &fate);
            answer.response()
        }
        FaultAction::RevokeToken => {
            change_token(&world, vendor, &call, meta::TokenState::Revoked);
            answer().response()
        }
        FaultAction::ExpireToken => {
            change_token(&world, vendor, &call, meta::TokenState::Expired);
            answer().response()
        }
        FaultAction::RenewToken => {
            change_token(&world, vendor, &call, meta::TokenState::Valid);
            answer().response()
        }
        FaultAction::LimitScopes { scopes } => {
            change_token(&world, vendor, &call, meta::TokenState::Scopes(scopes));
            answer().response()
        }
    }
}

/// An answer whose body breaks before its first byte: the server closes the connection and nothing,
/// not even the status, is sent.
fn dropped() -> Response {
    let broken = std::io::Error::other("the sandbox drops this connection");
    let body = futures_util::stream::once(std::future::ready(Err::<Bytes, _>(broken)));
    let mut response = Response::new(Body::from_stream(body));
    response
        .headers_mut()
        .insert("connection", HeaderValue::from_static("close"));
    response
}

/// An answer that announces its whole body, of which only half comes before the connection ends.
fn broken(answer: Answer) -> Response {
    let whole = answer.body.len();
    let half = Bytes::copy_from_slice(answer.body.get(..whole / 2).unwrap_or_default());
    let parts = futures_util::stream::once(std::future::ready(Ok(half))).chain(
        // A moment later, or the server would never have sent what came before.
        futures_util::stream::once(async {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("the sandbox breaks this connection"))
        }),
    );
    let mut response = answer.response();
    *response.body_mut() = Body::from_stream(parts);
    response
        .headers_mut()
        .insert("content-length", HeaderValue::from(whole));
    response
}

pub(super) fn meta_error(world: &World, error: &meta::Error) -> Answer {
    let trace = world.trace(world.clock.now());
    Answer::json(error.http_status(), &error.body(&trace))
}

/// Does to the caller's token; at HubSpot there is only one thing that can be done.
fn change_token(world: &World, vendor: Vendor, call: &Call, to: meta::TokenState) {
    let token = meta::token_of(&call.headers, call);
    for tenant in &world.tenants {
        match vendor {
            Vendor::Meta if token.as_deref() == Some(&tenant.spec.meta_token) => {
                tenant.lock().meta_token = to.clone();
            }
            Vendor::Hubspot if token.as_deref() == Some(&tenant.spec.hubspot_token) => {
                tenant.lock().hubspot_token_is_valid = to == meta::TokenState::Valid;
            }
            Vendor::Meta | Vendor::Hubspot => {}
        }
    }
}

/// A person's edit as `POST /_sandbox/human-edit` takes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EditRequest {
    tenant: String,
    entity: String,
    field: String,
    value: String,
    #[serde(default = "ads_manager")]
    application_id: String,
}

/// What a person does in the CRM, as `POST /_sandbox/crm-edit` takes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CrmEditRequest {
    tenant: String,
    edit: CrmEdit,
}

fn ads_manager() -> String {
    "119211728144504".to_owned()
}

fn control(world: &World, method: &str, path: &str, body: &[u8]) -> Answer {
    let said = |status, text: String| Answer::json(status, &json!({ "message": text }));
    match (method, path) {
        ("POST", "faults") => {
            let one_or_more = match body.first() {
                Some(b'[') => serde_json::from_slice::<Vec<Fault>>(body),
                _ => serde_json::from_slice::<Fault>(body).map(|fault| vec![fault]),
            };
            match one_or_more {
                Ok(faults) => {
                    let n = faults.len();
                    for fault in faults {
                        world.faults().add(fault);
                    }
                    said(200, format!("{n} added"))
                }
                Err(cause) => said(400, cause.to_string()),
            }
        }
        ("DELETE", "faults") => {
            world.faults().clear();
            said(200, "no faults".to_owned())
        }
        ("POST", "release") => {
            world.faults().release();
            said(200, "released".to_owned())
        }
        ("GET", "journal") => match std::fs::read_to_string(Journal::path(&world.config.dir)) {
            Ok(text) => Answer::of(200, "application/x-ndjson", text),
            Err(cause) => said(500, cause.to_string()),
        },
        ("GET", "state") => Answer::json(200, &state(world)),
        ("POST", "crm-edit") => {
            let done = serde_json::from_slice::<CrmEditRequest>(body)
                .map_err(|cause| cause.to_string())
                .and_then(|request| {
                    let tenant =
                        TenantId::new(&request.tenant).map_err(|cause| cause.to_string())?;
                    world.crm_edit(&tenant, &request.edit)
                });
            match done {
                Ok(()) => said(200, "done".to_owned()),
                Err(why) => said(400, why),
            }
        }
        ("POST", "human-edit") => {
            let parsed = serde_json::from_slice::<EditRequest>(body)
                .map_err(|cause| cause.to_string())
                .and_then(|edit| {
                    let tenant = TenantId::new(&edit.tenant).map_err(|cause| cause.to_string())?;
                    Ok(HumanEdit {
                        tenant,
                        at: None,
                        entity: edit.entity,
                        field: edit.field,
                        value: edit.value,
                        application_id: edit.application_id,
                    })
                });
            match parsed.and_then(|edit| world.human_edit(&edit)) {
                Ok(()) => said(200, "done".to_owned()),
                Err(why) => said(400, why),
            }
        }
        _ => said(404, format!("no {method} /_sandbox/{path}")),
    }
}

fn totals(totals: &Totals) -> Value {
    json!({
        "spend": totals.spend.to_decimal(),
        "impressions": totals.impressions,
        "clicks": totals.clicks,
        "leads": totals.leads,
        "wins": totals.wins,
        "pipeline_value": totals.pipeline_value.to_decimal(),
        "revenue_seen": totals.revenue_seen.to_decimal(),
        "revenue_final": totals.revenue_final.to_decimal(),
        "revenue_expected": totals.revenue_expected.to_decimal(),
    })
}

fn state(world: &World) -> Value {
    let now = world.clock.now();
    let tenants: Vec<Value> = world
        .tenants
        .iter()
        .map(|tenant| {
            let name = &tenant.spec.tenant;
            let truth = world.truth(name, now).map(|t| totals(&t));
            let baseline = world.baseline(name, now).map(|t| totals(&t));
            let state = tenant.lock();
            let nodes: Vec<Value> = state
                .market
                .nodes
                .iter()
                .enumerate()
                .map(|(i, node)| {
                    json!({
                        "id": node.id,
                        "name": node.name,
                        "status": node.status.as_str(),
                        "effective_status": state.market.effective_status(i),
                        "daily_budget_minor": node.daily_budget,
                    })
                })
                .collect();
            json!({
                "tenant": name.as_str(),
                "currency": state.market.currency.code(),
                "truth": truth,
                "baseline": baseline,
                "nodes": nodes,
            })
        })
        .collect();
    json!({ "now": now.to_string(), "tenants": tenants })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let check = |text: &str, name: &str, value: &str| {
            assert_eq!(pairs(text), [(name.to_owned(), value.to_owned())], "{text}");
        };
        check("a=b", "a", "b");
        check("a=b+c%20d", "a", "b c d");
        check("f=%5B%22x%22%5D", "f", "[\"x\"]");
        check("a=%zz%", "a", "%zz%");
        check("n=%C3%A4", "n", "ä");
        assert!(pairs("&&").is_empty());
    }

    #[test]
    fn own_parameters_stay_in_force() {
        let call = Call::new("GET", "/x", "limit=5", HeaderMap::new(), Bytes::new());
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        let call = call.with_params(&[pair("limit", "9"), pair("level", "ad")]);
        assert_eq!(call.param("limit"), Some("5"));
        assert_eq!(call.param("level"), Some("ad"));
    }
}
