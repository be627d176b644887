//! What the daemon serves: health, webhooks and clicks. It can only append to the store and nudge.

mod clicks;
mod error;
mod health;
mod keyed_hash;
mod state;
mod webhooks;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use tower_http::timeout::TimeoutLayer;

pub use error::Problem;
pub use keyed_hash::KeyedHasher;
pub use state::{GateProbe, GateRoom, HttpParts, HttpState, TenantHttp};

/// The longest a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest webhook body.
const WEBHOOK_BODY_MAX: usize = 1024 * 1024;
/// The largest click body.
const CLICK_BODY_MAX: usize = 16 * 1024;

/// The routes.
pub fn router(state: HttpState) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(health::metrics))
        .route(
            "/webhooks/hubspot/{tenant}",
            post(webhooks::for_tenant).layer(DefaultBodyLimit::max(WEBHOOK_BODY_MAX)),
        )
        .route(
            "/webhooks/hubspot",
            post(webhooks::by_portal).layer(DefaultBodyLimit::max(WEBHOOK_BODY_MAX)),
        )
        .route(
            "/t/{tenant}/click",
            post(clicks::click)
                .options(clicks::preflight)
                .layer(DefaultBodyLimit::max(CLICK_BODY_MAX)),
        )
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing here") })
        .layer(middleware::from_fn_with_state(state.clone(), under_a_hold))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            REQUEST_TIMEOUT,
        ))
        .with_state(state)
}

/// Keeps stepped time still while a request is answered.
async fn under_a_hold(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let _hold = state.clock.hold();
    next.run(request).await
}

/// Serves until `shutdown` resolves, then ends softly.
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
