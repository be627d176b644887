//! One route of the API: everything that is told of it and everything that serves it, in one place.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::shape::Defs;
use crate::domain::api_token::{ApiToken, Scope};
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::http::state::TenantHttp;
use crate::http::{HttpState, Problem};

/// The most that a list gives at once.
const LIMIT_MAX: u32 = 500;
/// What a list gives at once unless asked for more or less.
const LIMIT: u32 = 50;

/// The method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Verb {
    Get,
    Post,
}

/// What says whose a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Whose {
    /// Nobody's: it is about the token itself.
    Nobodys,
    /// `{tenant}` in the path.
    Path,
    /// The token; where that is for all tenants, `tenant_id` in the body.
    Token,
}

/// What a parameter of a query holds.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) enum Kind {
    Text,
    Count,
    Date,
}

/// A parameter of a query; all may be left out.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Param {
    pub(in crate::http) name: &'static str,
    pub(in crate::http) kind: Kind,
    pub(in crate::http) about: &'static str,
}

/// How many, at most.
pub(in crate::http) const LIMIT_PARAM: Param = Param {
    name: "limit",
    kind: Kind::Count,
    about: "How many at most, 1 to 500; 50 unless stated.",
};

/// Where to go on.
pub(in crate::http) const CURSOR_PARAM: Param = Param {
    name: "cursor",
    kind: Kind::Text,
    about: "Where to go on: the `next` of the answer before.",
};

/// What a route takes as its body.
#[derive(Clone, Copy)]
pub(in crate::http) struct Body {
    pub(in crate::http) schema: fn(&mut Defs) -> Value,
    /// The largest it may be, in bytes.
    pub(in crate::http) max: usize,
    /// Whether it may be left out.
    pub(in crate::http) is_optional: bool,
}

/// What serves a route.
pub(in crate::http) type Serve =
    fn(Call) -> Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send>>;

/// A route.
pub(in crate::http) struct Route {
    pub(in crate::http) verb: Verb,
    pub(in crate::http) path: &'static str,
    pub(in crate::http) scope: Scope,
    pub(in crate::http) whose: Whose,
    /// What it does, in a line.
    pub(in crate::http) about: &'static str,
    pub(in crate::http) query: &'static [Param],
    pub(in crate::http) body: Option<Body>,
    pub(in crate::http) answer: fn(&mut Defs) -> Value,
    pub(in crate::http) serve: Serve,
}

/// What serves a route, of an async function.
macro_rules! serve {
    ($function:path) => {
        |call| Box::pin($function(call))
    };
}
pub(in crate::http) use serve;

/// A request that may be answered: its token counts, allows it, and is for its tenant.
pub(in crate::http) struct Call {
    pub(in crate::http) state: HttpState,
    pub(in crate::http) token: Arc<ApiToken>,
    /// Whose it is.
    pub(in crate::http) tenant: Option<(TenantId, TenantHttp)>,
    pub(in crate::http) path: BTreeMap<String, String>,
    pub(in crate::http) query: BTreeMap<String, String>,
    pub(in crate::http) body: Bytes,
}

impl Call {
    /// The tenant, which every route but those of nobody has.
    pub(in crate::http) fn tenant(&self) -> Result<(&TenantId, &TenantHttp), Problem> {
        let found = self.tenant.as_ref().map(|(id, entry)| (id, entry));
        found.ok_or_else(Problem::not_found)
    }

    /// Who asks, for the audit log: the token by its id, which names nobody.
    pub(in crate::http) fn actor(&self) -> String {
        format!("api:{}", self.token.id)
    }

    /// A part of the path.
    pub(in crate::http) fn part(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// The body, read.
    pub(in crate::http) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // serde repeats short values of the body; what is personal is not logged, only said back.
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!(
                    "the body is not what is asked for here: {error}; /openapi.json has the form"
                ),
            )
        })
    }

    /// The body, read where there is one.
    pub(in crate::http) fn read_or<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.body.trim_ascii().is_empty() {
            return Ok(T::default());
        }
        self.read()
    }

    /// The parameter `limit`.
    pub(in crate::http) fn limit(&self) -> Result<u32, Problem> {
        let Some(text) = self.query.get("limit") else {
            return Ok(LIMIT);
        };
        text.parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| bad_query("limit", "give a number from 1 to 500"))
    }

    /// The parameter `cursor`, read by `parse`.
    pub(in crate::http) fn cursor<T>(
        &self,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let wrong = || bad_query("cursor", "give the `next` of the answer before, as it came");
        let text = self.query.get("cursor");
        text.map(|text| parse(text).ok_or_else(wrong)).transpose()
    }

    /// The time now.
    pub(in crate::http) fn now(&self) -> Timestamp {
        self.state.clock.now()
    }
}

/// What is wrong with a parameter of the query, and what to do.
pub(in crate::http) fn bad_query(name: &str, what: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        format!("the parameter {name} cannot be used: {what}"),
    )
}

/// What is wrong with a field of the body, and what to do.
pub(in crate::http) fn bad_field(name: &str, what: impl std::fmt::Display) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        format!("the field {name} cannot be used: {what}"),
    )
}

/// An answer.
#[derive(Debug)]
pub(in crate::http) struct Reply(String);

impl Reply {
    /// An answer of this shape.
    pub(in crate::http) fn json<T: Serialize>(shape: &T) -> Result<Self, Problem> {
        serde_json::to_string(shape).map(Self).map_err(|error| {
            tracing::error!(%error, "an answer cannot be written: {error}");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the answer cannot be written; the log of roasd says why",
            )
        })
    }

    pub(in crate::http) fn into_response(self) -> Response {
        let kind = [
            (header::CONTENT_TYPE, "application/json"),
            // What one tenant may see is nobody else's.
            (header::CACHE_CONTROL, "no-store"),
        ];
        (StatusCode::OK, kind, self.0).into_response()
    }
}
