//! Decisions, and why each was taken.

use axum::http::StatusCode;
use serde_json::Value;

use super::changes::ChangeView;
use super::route::{
    CURSOR_PARAM, Call, Kind, LIMIT_PARAM, Param, Reply, Route, Verb, Whose, serve,
};
use super::shape::{Shape, answer};
use super::words::Object;
use crate::domain::api_token::Scope;
use crate::http::Problem;
use crate::store::decisions::DecisionRecord;

const OBJECT_PARAM: Param = Param {
    name: "object",
    kind: Kind::Text,
    about: "Only those on the campaign, ad set or ad of this id.",
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/tenants/{tenant}/decisions",
        scope: Scope::Read,
        whose: Whose::Path,
        about: "Decisions, newest first.",
        query: &[LIMIT_PARAM, CURSOR_PARAM, OBJECT_PARAM],
        body: None,
        answer: Decisions::schema,
        serve: serve!(list),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/tenants/{tenant}/decisions/{id}",
        scope: Scope::Read,
        whose: Whose::Path,
        about: "One decision with every number behind it, and the change it led to.",
        query: &[],
        body: None,
        answer: Explanation::schema,
        serve: serve!(explain),
    },
];

answer! {
    /// Decisions.
    Decisions {
        /// Newest first.
        decisions: Vec<Decision>,
        /// Where to go on; null at the end.
        next: Option<String>,
    }

    /// A decision.
    Decision {
        /// Its id.
        id: String,
        /// The run of the policy that it belongs to.
        run: String,
        /// When.
        at: String,
        /// What about.
        object: Object,
        /// `raise`, `cut`, `hold`, `kill`, `rotate` or `return`.
        action: String,
        /// The value before, as people read it.
        from: String,
        /// The value decided.
        to: String,
        /// Why, in a paragraph.
        paragraph: String,
        /// The change it led to.
        change: Option<String>,
    }

    /// A decision with every number behind it.
    Explanation {
        /// The decision.
        decision: Decision,
        /// The policy's name.
        policy: String,
        /// Its version.
        policy_version: String,
        /// The seed it drew from, as decimal text: with policy and inputs it gives the same decision.
        seed: String,
        /// Flags of the run, such as `cap_unreachable`.
        flags: Vec<String>,
        /// Evidence, belief, alternatives, the rule that fired, bounds, what would change it; null
        /// where this roasd cannot read what is stored.
        rationale: Value,
        /// The change it led to, as it stands.
        change: Option<ChangeView>,
    }
}

fn shown(decision: DecisionRecord) -> Decision {
    Decision {
        object: Object::new(&decision.entity, &decision.entity_name),
        id: decision.id.to_string(),
        run: decision.run.to_string(),
        at: decision.at.to_string(),
        action: decision.action,
        from: decision.from,
        to: decision.to,
        paragraph: decision.paragraph,
        change: decision.change.map(|id| id.to_string()),
    }
}

async fn list(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let limit = call.limit()?;
    let before = call.cursor(|text| text.parse::<i64>().ok())?;
    let object = call.query.get("object").map(String::as_str);
    let store = &call.state.store;
    let found = store
        .decisions_before(tenant, object, before, limit)
        .await?;
    let is_full = found.len() >= limit as usize;
    let next = found.last().filter(|_| is_full);
    let next = next.map(|(sequence, _)| sequence.to_string());
    let decisions = found.into_iter().map(|(_, decision)| shown(decision));
    Reply::json(&Decisions {
        decisions: decisions.collect(),
        next,
    })
}

async fn explain(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let store = &call.state.store;
    let found = store.decision(call.part("id")).await?;
    let Some((_, run, decision)) = found.filter(|(of, _, _)| of == tenant) else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no decision of this tenant has that id, or more than one begins so; \
             GET …/decisions lists them",
        ));
    };
    let change = match &decision.change {
        Some(id) => store.change(id.as_str()).await?,
        None => None,
    };
    let rationale = serde_json::from_str(&decision.rationale_json).unwrap_or_default();
    Reply::json(&Explanation {
        decision: shown(decision),
        policy: run.policy,
        policy_version: run.version,
        seed: run.seed.to_string(),
        flags: run.flags,
        rationale,
        change: change.as_ref().map(ChangeView::of),
    })
}
