//! What the daemon serves: health, webhooks, clicks and their script, and the API. It can only append to the store and nudge.

mod agent;
mod api;
mod auth;
mod clicks;
mod error;
mod health;
mod intake;
mod leads;
mod pace;
mod predecessor;
mod script;
mod snapshot;
mod state;
mod webhooks;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tracing::Span;

pub use error::Problem;
pub use pace::{ApiLimits, ClickLimits};
pub use script::FormFields;
pub use state::{
    GateProbe, GateRoom, HttpParts, HttpSettings, HttpState, PauseFileProbe, TenantApi, TenantHttp,
    Tree,
};

/// The longest a request may take, its body's arrival included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest webhook body, in bytes.
const WEBHOOK_BODY_MAX: usize = 1024 * 1024;
/// The largest click body, in bytes.
const CLICK_BODY_MAX: usize = 16 * 1024;

/// The routes. Clicks need to know the peer's address: serve it as [`serve`] does.
pub fn router(state: HttpState) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(health::metrics))
        .route(
            "/webhooks/hubspot/{tenant}",
            post(webhooks::for_tenant).layer(RequestBodyLimitLayer::new(WEBHOOK_BODY_MAX)),
        )
        .route(
            "/webhooks/hubspot",
            post(webhooks::for_portal).layer(RequestBodyLimitLayer::new(WEBHOOK_BODY_MAX)),
        )
        .route(
            "/webhooks/meta",
            get(leads::verify)
                .post(leads::deliver)
                .layer(RequestBodyLimitLayer::new(WEBHOOK_BODY_MAX)),
        )
        .route("/t/{tenant}", get(script::script))
        .route(
            "/t/{tenant}/click",
            post(clicks::click)
                .options(clicks::preflight)
                .layer(RequestBodyLimitLayer::new(CLICK_BODY_MAX)),
        )
        .merge(api::router())
        .fallback(|| async { Problem::not_found() })
        .layer(middleware::from_fn_with_state(state.clone(), under_a_hold))
        // 503 and not 408: what is slow here is most likely the disk, and HubSpot comes again.
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            REQUEST_TIMEOUT,
        ))
        .layer(middleware::from_fn(error::as_problems))
        .layer(
            // The path alone: queries and headers carry click ids, signatures and addresses.
            TraceLayer::new_for_http()
                .make_span_with(|request: &Request| {
                    let path = request.uri().path();
                    tracing::debug_span!("request", method = %request.method(), path)
                })
                .on_request(())
                .on_body_chunk(())
                .on_eos(())
                .on_failure(())
                .on_response(|response: &Response, took: Duration, _: &Span| {
                    let (status, ms) = (response.status().as_u16(), took.as_millis());
                    tracing::debug!(status, ms, "answered {status} in {ms} ms");
                }),
        )
        .with_state(state)
}

/// Keeps stepped time still while a request is answered.
async fn under_a_hold(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let _hold = state.clock.hold();
    next.run(request).await
}

/// Serves until `shutdown` resolves, then ends softly: no new connection is taken, and requests
/// under way are answered.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: tokio::net::TcpListener,
    state: HttpState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let service = router(state).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(shutdown)
        .await
}
