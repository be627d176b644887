//! Errors as RFC 9457 problem details.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::store::StoreError;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// When a caller should come again while the store is out.
const STORE_RETRY_SECONDS: u32 = 30;
/// When a caller should come again whose request took too long.
const SLOW_RETRY_SECONDS: u32 = 5;

/// A problem, as told to the caller.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    retry_after_seconds: Option<u32>,
}

impl Problem {
    /// A problem of this status. `detail` must not help an attacker.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            retry_after_seconds: None,
        }
    }

    /// The same, and when to come again.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The same, told of a part of what was asked.
    #[must_use]
    pub(super) fn within(mut self, part: &str) -> Self {
        self.detail = format!("{part}: {}", self.detail);
        self
    }

    /// There is nothing at that address, or nothing that the caller may know of.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing here")
    }

    /// The store does not take it now: the caller should come again.
    #[must_use]
    pub fn store(error: &StoreError) -> Self {
        tracing::error!(%error, "a request was not stored: {error}");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "it cannot be stored now; come again",
        )
        .retry_after(STORE_RETRY_SECONDS)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a request was not answered: {error}");
        match error {
            StoreError::Unavailable { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the database does not answer now; come again",
            )
            .retry_after(STORE_RETRY_SECONDS),
            StoreError::Corrupt { .. }
            | StoreError::WrongCount { .. }
            | StoreError::Deposed { .. }
            | StoreError::NewerSchema { .. }
            | StoreError::CannotOpen { .. }
            | StoreError::Broken { .. } => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "it cannot be done; the log of roasd says why",
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("problem"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Gives the framework's own refusals (a body too large, a method not allowed, a time-out) the
/// shape of all others.
pub(super) async fn as_problems(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_ours = match response.headers().get(header::CONTENT_TYPE) {
        Some(kind) => status.is_server_error() || kind == PROBLEM_JSON,
        None => false,
    };
    if is_ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let problem = match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, "the body is too large"),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(status, "this method is not allowed here, see Allow")
        }
        StatusCode::NOT_FOUND => Problem::not_found(),
        StatusCode::SERVICE_UNAVAILABLE => {
            Problem::new(status, "it took too long; come again").retry_after(SLOW_RETRY_SECONDS)
        }
        other => Problem::new(other, "the request cannot be read"),
    };
    let mut shaped = problem.into_response();
    if let Some(allow) = response.headers().get(header::ALLOW) {
        shaped.headers_mut().insert(header::ALLOW, allow.clone());
    }
    shaped
}
