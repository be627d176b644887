//! Reading by id: one record, a list, a batch, associations, pipelines.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::record::{contacts_of, show, show_archived};
use super::{Context, Error, Kind, stamp};

/// Inputs that a batch read takes.
const BATCH_MAX: usize = 100;
/// Inputs that a read of associations takes.
const ASSOCIATIONS_MAX: usize = 1_000;

/// Where a page goes on; what is in it is nobody's business.
fn cursor(n: u64) -> String {
    URL_SAFE_NO_PAD.encode(n.to_string())
}

fn parse_cursor(text: &str) -> Result<u64, Error> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::invalid(format!("Invalid paging cursor {text:?}")))
}

/// The call's JSON body.
pub(super) fn body(context: &Context<'_>) -> Result<Value, Error> {
    serde_json::from_slice(&context.call.body)
        .map_err(|cause| Error::invalid(format!("Invalid input JSON: {cause}")))
}

/// A list of strings in a body; empty when missing.
pub(super) fn strings(body: &Value, name: &str) -> Result<Vec<String>, Error> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(value) => serde_json::from_value(value.clone())
            .map_err(|_| Error::invalid(format!("{name} must be an array of strings"))),
    }
}

/// A comma-separated list in the query.
fn listed(context: &Context<'_>, name: &str) -> Vec<String> {
    context
        .call
        .params()
        .filter(|(n, _)| n == name)
        .flat_map(|(_, v)| v.split(','))
        .filter(|v| !v.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The inputs of a batch: what was given as id, and where its page goes on.
fn inputs(body: &Value, most: usize) -> Result<Vec<(String, Option<String>)>, Error> {
    let inputs = body
        .get("inputs")
        .and_then(Value::as_array)
        .ok_or_else(|| Error::invalid("inputs must be an array"))?;
    if inputs.len() > most {
        return Err(Error::invalid(format!(
            "The maximum number of inputs supported in a batch request for is {most}, got {}",
            inputs.len()
        )));
    }
    inputs
        .iter()
        .map(|input| {
            let id = input
                .get("id")
                .and_then(Value::as_str)
                .ok_or_else(|| Error::invalid("each input needs an id, which is a string"))?;
            let after = input.get("after").and_then(Value::as_str);
            Ok((id.to_owned(), after.map(str::to_owned)))
        })
        .collect()
}

fn complete(context: &Context<'_>, results: &[Value], errors: &[Value]) -> (u16, Value) {
    let at = stamp(context.now);
    let mut out = json!({
        "status": "COMPLETE",
        "results": results,
        "startedAt": at,
        "completedAt": at,
    });
    if let (false, Some(map)) = (errors.is_empty(), out.as_object_mut()) {
        map.insert("numErrors".to_owned(), json!(errors.len()));
        map.insert("errors".to_owned(), json!(errors));
    }
    let is_partial = context.is_legacy && !errors.is_empty();
    (if is_partial { 207 } else { 200 }, out)
}

/// `POST …/batch/read`.
pub(super) fn batch(context: &Context<'_>, kind: Kind) -> Result<(u16, Value), Error> {
    let body = body(context)?;
    let (asked, history) = (
        strings(&body, "properties")?,
        strings(&body, "propertiesWithHistory")?,
    );
    if body.get("idProperty").is_some_and(|v| !v.is_null()) {
        return Err(Error::invalid("idProperty is not supported here"));
    }
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    let mut ids: Vec<String> = inputs(&body, BATCH_MAX)?.into_iter().map(|i| i.0).collect();
    // Answers do not come in the order of the question.
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let found = id.parse().ok().and_then(|n| {
            show(
                &context.state.market,
                kind,
                n,
                context.now,
                &asked,
                &history,
            )
        });
        match found {
            Some(record) => results.push(record),
            None => missing.push(id),
        }
    }
    let errors = if missing.is_empty() {
        Vec::new()
    } else {
        vec![json!({
            "status": "error",
            "category": "OBJECT_NOT_FOUND",
            "message": "Could not get some objects, they may be deleted or not exist. Check that ids are valid.",
            "context": { "ids": missing },
        })]
    };
    Ok(complete(context, &results, &errors))
}

/// `GET …/{id}`.
pub(super) fn one(context: &Context<'_>, kind: Kind, id: &str) -> Result<(u16, Value), Error> {
    let asked = listed(context, "properties");
    let history = listed(context, "propertiesWithHistory");
    let id: u64 = id.parse().map_err(|_| Error::missing())?;
    if context.call.param("archived") == Some("true") {
        let found = show_archived(&context.state.market, id, context.now, &asked);
        return found
            .filter(|_| kind == Kind::Deal)
            .map(|record| (200, record))
            .ok_or_else(Error::missing);
    }
    let mut record = show(
        &context.state.market,
        kind,
        id,
        context.now,
        &asked,
        &history,
    )
    .ok_or_else(Error::missing)?;
    associate(context, kind, id, &mut record);
    Ok((200, record))
}

/// Adds the first page of associations when the query asks for them.
fn associate(context: &Context<'_>, kind: Kind, id: u64, record: &mut Value) {
    if kind != Kind::Deal
        || !listed(context, "associations")
            .iter()
            .any(|a| a == "contacts")
    {
        return;
    }
    let page = context.world.config.association_page.max(1);
    let all = contacts_of(&context.state.market, id, context.now).unwrap_or_default();
    if all.is_empty() {
        return;
    }
    let results: Vec<Value> = all
        .iter()
        .take(page)
        .map(|id| json!({"id": id.to_string(), "type": "deal_to_contact"}))
        .collect();
    let mut contacts = json!({ "results": results });
    if let (true, Some(map)) = (all.len() > page, contacts.as_object_mut()) {
        let next = json!({"next": {"after": cursor(page as u64)}});
        map.insert("paging".to_owned(), next);
    }
    if let Some(map) = record.as_object_mut() {
        map.insert("associations".to_owned(), json!({ "contacts": contacts }));
    }
}

/// `GET …`, all records by id.
pub(super) fn list(context: &Context<'_>, kind: Kind) -> Result<(u16, Value), Error> {
    let limit: usize = match context.call.param("limit") {
        None => 10,
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| (1..=100).contains(n))
            .ok_or_else(|| Error::invalid("limit must be between 1 and 100"))?,
    };
    let after = match context.call.param("after").filter(|a| !a.is_empty()) {
        None => 0,
        Some(text) => parse_cursor(text)?,
    };
    let is_archived = context.call.param("archived") == Some("true");
    if is_archived && kind == Kind::Contact {
        return Ok((200, json!({ "results": [] })));
    }
    let asked = listed(context, "properties");
    let history = listed(context, "propertiesWithHistory");
    let market = &context.state.market;
    let from = after + 1;
    let ids: Box<dyn Iterator<Item = u64>> = match kind {
        Kind::Deal => Box::new(market.deals.range(from..).map(|(id, _)| *id)),
        Kind::Contact => Box::new(market.contacts.range(from..).map(|(id, _)| *id)),
    };
    let mut found: Vec<(u64, Value)> = ids
        .filter_map(|id| {
            let found = if is_archived {
                show_archived(market, id, context.now, &asked)
            } else {
                show(market, kind, id, context.now, &asked, &history)
            };
            Some((id, found?))
        })
        .take(limit + 1)
        .collect();
    let has_more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().map(|(id, _)| *id);
    let mut results = Vec::with_capacity(found.len());
    for (id, mut record) in found {
        associate(context, kind, id, &mut record);
        results.push(record);
    }
    let mut out = json!({ "results": results });
    if let (true, Some(last), Some(map)) = (has_more, last, out.as_object_mut()) {
        let after = cursor(last);
        let link = format!(
            "{}/hubspot/{}?limit={limit}&after={after}&archived={is_archived}",
            context.world.base(),
            context.call.path
        );
        map.insert(
            "paging".to_owned(),
            json!({"next": {"after": after, "link": link}}),
        );
    }
    Ok((200, out))
}

/// `POST …/associations/…/deals/contacts/batch/read`.
pub(super) fn associations(context: &Context<'_>) -> Result<(u16, Value), Error> {
    let body = body(context)?;
    let page = context.world.config.association_page.max(1);
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for (id, after) in inputs(&body, ASSOCIATIONS_MAX)? {
        let all = id
            .parse()
            .ok()
            .and_then(|n| contacts_of(&context.state.market, n, context.now))
            .unwrap_or_default();
        if all.is_empty() {
            errors.push(json!({
                "status": "error",
                "category": "OBJECT_NOT_FOUND",
                "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
                "message": format!("No contact is associated with deal {id}."),
                "context": {"fromObjectId": [id], "fromObjectType": ["deal"], "toObjectType": ["contact"]},
            }));
            continue;
        }
        let from = match after {
            None => 0,
            Some(text) => usize::try_from(parse_cursor(&text)?).unwrap_or(usize::MAX),
        };
        let to: Vec<Value> = all
            .iter()
            .skip(from)
            .take(page)
            .map(|contact| {
                json!({
                    "toObjectId": contact.to_string(),
                    "associationTypes": [
                        {"category": "HUBSPOT_DEFINED", "typeId": 3, "label": null},
                    ],
                })
            })
            .collect();
        let next = from.saturating_add(page);
        let mut result = json!({"from": {"id": id}, "to": to});
        if let (true, Some(map)) = (next < all.len(), result.as_object_mut()) {
            let paging = json!({"next": {"after": cursor(next as u64)}});
            map.insert("paging".to_owned(), paging);
        }
        results.push(result);
    }
    Ok(complete(context, &results, &errors))
}

/// The tenant's one pipeline.
pub(super) fn pipeline(context: &Context<'_>) -> Value {
    let business = context.tenant.spec.business;
    let at = stamp(context.state.market.born);
    let stages: Vec<Value> = business
        .stages()
        .iter()
        .enumerate()
        .map(|(i, stage)| {
            json!({
                "id": stage.hubspot_stage,
                "label": stage.label,
                "displayOrder": i,
                "metadata": {
                    "isClosed": stage.is_closed.to_string(),
                    "probability": stage.probability,
                },
                "archived": false,
                "createdAt": at,
                "updatedAt": at,
                "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
            })
        })
        .collect();
    json!({
        "id": business.pipeline(),
        "label": "Sales",
        "displayOrder": 0,
        "archived": false,
        "createdAt": at,
        "updatedAt": at,
        "stages": stages,
    })
}
