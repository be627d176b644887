//! Events of HubSpot that somebody else received: they enter the inbox as if HubSpot had sent them, and
//! are answered when they are on disk. What the deal brings is read from the CRM afterwards.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::SMALL_BODY_MAX;
use crate::domain::api_token::Scope;
use crate::http::api::route::{Body, Call, Reply, Route, Verb, Whose, serve};
use crate::http::api::shape::{Defs, Shape, answer};
use crate::http::{Problem, intake, webhooks};
use crate::store::inbox::Appended;
use crate::vendors::hubspot::events::{self, EventKind};

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Post,
    path: "/api/ml/process-hubspot-event",
    scope: Scope::Ingest,
    whose: Whose::Token,
    about: "Takes one event of a HubSpot webhook; answered once it is on disk.",
    query: &[],
    body: Some(Body {
        schema: event,
        max: SMALL_BODY_MAX,
        is_optional: false,
    }),
    answer: EventTaken::schema,
    serve: serve!(take),
}];

answer! {
    /// What became of an event.
    EventTaken {
        /// `queued`, or `already_known` for one that came before.
        status: String,
        /// The deal that it is about, if any.
        deal_id: Option<String>,
        /// What happens with it next.
        led_to: String,
    }
}

/// An event as HubSpot sends it; fields that are not named here may be there too.
fn event(_: &mut Defs) -> Value {
    let id = json!({ "type": ["integer", "string"] });
    json!({
        "type": "object",
        "description": "One event of a webhook, as HubSpot sends it.",
        "properties": {
            "subscriptionType": { "type": "string" },
            "portalId": id,
            "objectId": id,
            "occurredAt": { "type": "integer", "description": "In milliseconds since 1970." },
            "eventId": id,
            "subscriptionId": id,
            "propertyName": { "type": "string" },
            "propertyValue": { "type": "string" },
            "tenant_id": { "type": "string", "description": "The tenant; must be the token's." },
        },
        "required": ["subscriptionType", "portalId", "occurredAt"],
    })
}

async fn take(call: Call) -> Result<Reply, Problem> {
    let (tenant, entry) = call.tenant()?;
    let unreadable = |why: String| {
        let detail =
            format!("one event of a HubSpot webhook is asked for, as HubSpot sends it: {why}");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    };
    let parsed = events::parse(&call.body);
    let mut read = parsed.events();
    let event = match (read.pop(), read.is_empty()) {
        (Some(Ok(event)), true) => event,
        (Some(Err(bad)), true) => return Err(unreadable(bad.reason)),
        (_, false) => return Err(unreadable("these are several; send each alone".to_owned())),
        (None, true) => return Err(unreadable("this is none".to_owned())),
    };
    if entry.portal.is_some_and(|own| own != event.portal) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "portalId is not the account of this token's tenant; send it with the token of the tenant \
             whose account it is",
        ));
    }
    // The same event by HubSpot itself is another delivery: deals are read once all the same.
    let delivery = webhooks::delivery(&call.body, &parsed);
    let appended = intake::keep(&call.state, tenant, &delivery).await?;
    let status = match appended {
        Appended::New => "queued",
        Appended::Repeat => "already_known",
    };
    let led_to = match (&event.kind, event.deal()) {
        (EventKind::PrivacyDeletion(_), _) => "the contact is forgotten",
        (EventKind::Other(_), _) => "nothing: roasd has no use for events of this type",
        (_, Some(_)) => {
            "the deal is read from the CRM, credited and valued; GET /v1/tenants/{tenant}/deals/{id} \
             shows what it came to"
        }
        (_, None) => "the deals of the contact are read from the CRM",
    };
    Reply::json(&EventTaken {
        status: status.to_owned(),
        deal_id: event.deal().map(ToString::to_string),
        led_to: led_to.to_owned(),
    })
}
