//! The API: one table of routes, from which requests are served and `/openapi.json` is made.

mod changes;
mod coverage;
mod deals;
mod decisions;
mod holds;
mod ledger;
mod openapi;
mod quarantine;
mod reported;
pub(super) mod route;
pub(super) mod shape;
mod status;
mod words;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, RawPathParams, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use serde::Deserialize;
use serde_json::Value;

use self::route::{Call, Route, Verb, Whose, bad_field};
use super::clicks::visitor;
use super::state::TenantHttp;
use super::{HttpState, Problem, auth, predecessor};
use crate::domain::api_token::ApiToken;
use crate::domain::ids::TenantId;

/// Every route of the API.
fn routes() -> Vec<&'static Route> {
    let groups: [&'static [Route]; 9] = [
        status::ROUTES,
        decisions::ROUTES,
        changes::ROUTES,
        deals::ROUTES,
        coverage::ROUTES,
        ledger::ROUTES,
        holds::ROUTES,
        quarantine::ROUTES,
        reported::ROUTES,
    ];
    let predecessors = predecessor::ROUTES.into_iter();
    groups.into_iter().chain(predecessors).flatten().collect()
}

/// The routes, as axum serves them.
pub(super) fn router() -> Router<HttpState> {
    let routes = routes();
    let document = Bytes::from(openapi::document(&routes).to_string());
    let mut by_path: BTreeMap<&'static str, MethodRouter<HttpState>> = BTreeMap::new();
    for route in routes {
        let methods = by_path.remove(route.path).unwrap_or_default();
        by_path.insert(route.path, add(methods, route));
    }
    let described = get(move || {
        let document = document.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], document) }
    });
    by_path
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| {
            router.route(path, methods)
        })
        .route("/openapi.json", described)
}

/// One closure for all routes: each further one would be compiled by itself.
fn add(methods: MethodRouter<HttpState>, route: &'static Route) -> MethodRouter<HttpState> {
    let filter = match route.verb {
        Verb::Get => MethodFilter::GET,
        Verb::Post => MethodFilter::POST,
    };
    let served = on(
        filter,
        move |State(state): State<HttpState>,
              ConnectInfo(peer): ConnectInfo<SocketAddr>,
              params: RawPathParams,
              uri: Uri,
              headers: HeaderMap,
              body: Body| async move {
            let path = params
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let asked = Asked {
                state,
                peer,
                path,
                uri,
                headers,
                body,
            };
            answer(route, asked)
                .await
                .unwrap_or_else(|problem| problem.into_response())
        },
    );
    methods.merge(served)
}

/// A request as it came.
struct Asked {
    state: HttpState,
    peer: SocketAddr,
    path: BTreeMap<String, String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
}

async fn answer(route: &'static Route, asked: Asked) -> Result<Response, Problem> {
    let ip = visitor(asked.peer.ip(), &asked.headers);
    let token = auth::token_of(&asked.state, &asked.headers, ip).await?;
    if !token.allows(route.scope) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "this token lacks the scope {0}; `roasd token create --scope {0}` makes one that has it",
                route.scope
            ),
        ));
    }
    let body = match &route.body {
        Some(taken) => whole(asked.body, taken.max).await?,
        None => Bytes::new(),
    };
    let tenant = match route.whose {
        Whose::Nobodys => None,
        Whose::Path => {
            let named = asked.path.get("tenant").map_or("", String::as_str);
            Some(tenant_of(&asked.state, &token, named)?)
        }
        Whose::Token => Some(tenant_by_token(&asked.state, &token, &body)?),
    };
    let pairs = url::form_urlencoded::parse(asked.uri.query().unwrap_or("").as_bytes());
    let query: BTreeMap<String, String> = pairs.into_owned().collect();
    let unknown = query
        .keys()
        .find(|name| !route.query.iter().any(|param| param.name == name.as_str()));
    if let Some(name) = unknown {
        // A misspelt filter must not give more than was asked for.
        let known: Vec<&str> = route.query.iter().map(|param| param.name).collect();
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!(
                "there is no parameter {:?} here; there are: {}",
                name.chars().take(40).collect::<String>(),
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            ),
        ));
    }
    let call = Call {
        state: asked.state,
        token,
        tenant,
        path: asked.path,
        query,
        body,
    };
    Ok((route.serve)(call).await?.into_response())
}

/// The whole body, if it is not larger than it may be.
async fn whole(body: Body, max: usize) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, max).await.map_err(|_| {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is cut off or larger than {max} bytes; send less at once"),
        )
    })
}

/// The tenant that a path names, if the token is for it.
fn tenant_of(
    state: &HttpState,
    token: &ApiToken,
    named: &str,
) -> Result<(TenantId, TenantHttp), Problem> {
    let foreign = || {
        // Whether there is such a tenant is nothing to a token of another.
        Problem::new(
            StatusCode::FORBIDDEN,
            "this token is for another tenant; `roasd token list` shows for which",
        )
    };
    let missing = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            "there is no such tenant; GET /v1/tenants lists them",
        )
    };
    let id = TenantId::new(named).map_err(|_| match token.tenant {
        Some(_) => foreign(),
        None => missing(),
    })?;
    if !token.is_for(&id) {
        return Err(foreign());
    }
    let settings = state.settings.load();
    let entry = settings.tenants.get(&id).cloned();
    Ok((id, entry.ok_or_else(missing)?))
}

/// The tenant that a token names; a `tenant_id` in the body must agree.
fn tenant_by_token(
    state: &HttpState,
    token: &ApiToken,
    body: &[u8],
) -> Result<(TenantId, TenantHttp), Problem> {
    #[derive(Deserialize)]
    struct Head {
        tenant_id: Option<Value>,
    }
    // A body that cannot be read is told of by whoever reads all of it.
    let head: Option<Head> = serde_json::from_slice(body).ok();
    let stated = match head.and_then(|head| head.tenant_id) {
        None => None,
        Some(Value::String(stated)) => Some(stated),
        Some(_) => return Err(bad_field("tenant_id", "give a text, or leave it out")),
    };
    match (&token.tenant, stated) {
        (Some(own), None) => tenant_of(state, token, own.as_str()),
        (Some(own), Some(stated)) if stated == own.as_str() => {
            tenant_of(state, token, own.as_str())
        }
        (Some(own), Some(_)) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "tenant_id is not the tenant of this token, which is for {own}; leave it out or \
                     send that tenant's token"
            ),
        )),
        (None, Some(stated)) => tenant_of(state, token, &stated),
        (None, None) => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "this token is for every tenant: name one in the field tenant_id (a text)",
        )),
    }
}
