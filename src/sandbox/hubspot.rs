//! HubSpot's CRM API over the markets, with its caps: 10,000 hits of a search, five searches a
//! second, 100 records a batch, inner pages of associations.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use crate::domain::time::{self, Timestamp};

use super::market::{Contact, Deal, DealView, Market};
use super::server::{Answer, Call};
use super::world::{State, World};

/// Calls counted against the account's limits.
#[derive(Debug, Default)]
pub(super) struct Limits {
    searches: VecDeque<Timestamp>,
    calls: VecDeque<Timestamp>,
}

/// Calls in ten seconds.
const BURST: usize = 190;
/// Searches in a second.
const SEARCHES: usize = 5;
/// Hits of one search that can be reached.
const REACH: usize = 10_000;

impl Limits {
    fn charge(&mut self, is_search: bool, now: Timestamp) -> Result<(), Answer> {
        let second = time::sub(now, time::seconds(1));
        let ten = time::sub(now, time::seconds(10));
        while self.searches.front().is_some_and(|at| *at <= second) {
            self.searches.pop_front();
        }
        while self.calls.front().is_some_and(|at| *at <= ten) {
            self.calls.pop_front();
        }
        if is_search {
            if self.searches.len() >= SEARCHES {
                return Err(throttled("SECONDLY"));
            }
            self.searches.push_back(now);
        }
        if self.calls.len() >= BURST {
            return Err(throttled("TEN_SECONDLY_ROLLING"));
        }
        self.calls.push_back(now);
        Ok(())
    }
}

/// A 429, as HubSpot words it.
pub(super) fn throttled(policy: &str) -> Answer {
    let message = match policy {
        "SECONDLY" => "You have reached your secondly limit.",
        "DAILY" => "You have reached your daily limit.",
        _ => "You have reached your ten_secondly_rolling limit.",
    };
    Answer::json(
        429,
        &json!({ "status": "error", "message": message, "errorType": "RATE_LIMIT",
            "correlationId": "5f1a5d4e-0000-4000-8000-000000000429", "policyName": policy }),
    )
}

fn error(status: u16, category: &str, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({ "status": "error", "message": message, "category": category,
            "correlationId": "5f1a5d4e-0000-4000-8000-000000000400" }),
    )
}

fn invalid(message: &str) -> Answer {
    error(400, "VALIDATION_ERROR", message)
}

/// Answers one call; `path` is what follows the host.
pub(super) fn answer(world: &World, call: &Call) -> Answer {
    match route(world, call) {
        Ok(body) => Answer::json(200, &body),
        Err(answer) => answer,
    }
}

fn route(world: &World, call: &Call) -> Result<Value, Answer> {
    let unknown = || error(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.");
    let token = call.bearer().ok_or_else(unknown)?;
    let tenant =
        world.tenants.iter().find(|t| t.spec.hubspot_token == token).ok_or_else(unknown)?;
    let (mut state, now) = world.at_now(tenant);
    if !state.hubspot_token_is_valid {
        return Err(error(401, "EXPIRED_AUTHENTICATION", "The token was revoked."));
    }
    state.limits.charge(call.path.ends_with("/search"), now)?;
    let segments: Vec<&str> = call.path.split('/').filter(|s| !s.is_empty()).collect();
    let lag = world.config.search_lag;
    match (call.method.as_str(), segments.as_slice()) {
        ("GET", ["crm", "pipelines", "2026-09", "deals"]) => Ok(pipelines(&state)),
        ("POST", ["crm", "objects", "2026-09", "deals", "search"]) => {
            search(&state, call, time::sub(now, lag))
        }
        ("POST", ["crm", "objects", "2026-09", kind @ ("deals" | "contacts"), "batch", "read"]) => {
            batch_read(&state, kind, call, now)
        }
        ("GET", ["crm", "objects", "2026-09", kind @ ("deals" | "contacts")]) => {
            list(&state, kind, call, now)
        }
        ("GET", ["crm", "objects", "2026-09", kind @ ("deals" | "contacts"), id]) => {
            let asked = Asked::of_query(call);
            record(&state, kind, id, &asked, now)
                .ok_or_else(|| error(404, "OBJECT_NOT_FOUND", "Object not found."))
        }
        ("POST", ["crm", "associations", "2026-09", "deals", "contacts", "batch", "read"]) => {
            associations(&state, call, world.config.association_page, now)
        }
        _ => Err(error(404, "OBJECT_NOT_FOUND", "No such resource.")),
    }
}

fn pipelines(state: &State) -> Value {
    let business = state.market.business;
    let stages: Vec<Value> = business
        .stages()
        .iter()
        .enumerate()
        .map(|(order, stage)| {
            json!({
                "id": stage.hubspot_stage, "label": stage.label, "displayOrder": order,
                "metadata": { "isClosed": stage.is_closed.to_string(),
                    "probability": stage.probability },
                "archived": false, "createdAt": iso(state.market.born),
                "updatedAt": iso(state.market.born), "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
            })
        })
        .collect();
    json!({ "results": [{ "id": business.pipeline(), "label": "Sales", "displayOrder": 0,
        "archived": false, "stages": stages }] })
}

/// `2026-10-05T00:00:00.000Z`: HubSpot's times have milliseconds.
fn iso(at: Timestamp) -> String {
    format!("{:.3}", time::from_millis(millis(at)))
}

fn millis(at: Timestamp) -> i64 {
    time::to_micros(at).div_euclid(1_000)
}

/// What of a record is asked for.
struct Asked {
    properties: Vec<String>,
    history: Vec<String>,
}

impl Asked {
    fn of_query(call: &Call) -> Self {
        let list = |name| {
            let text = call.param(name).unwrap_or("");
            text.split(',').filter(|p| !p.is_empty()).map(str::to_owned).collect()
        };
        Self { properties: list("properties"), history: list("propertiesWithHistory") }
    }

    fn of_body(body: &Value) -> Self {
        let list = |name: &str| {
            let names = body.get(name).and_then(Value::as_array);
            names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self { properties: list("properties"), history: list("propertiesWithHistory") }
    }
}

fn deal_property(market: &Market, deal: &Deal, view: &DealView, name: &str) -> Option<Value> {
    let stage = market.business.stages().get(view.stage);
    Some(match name {
        "dealname" => json!(deal.name),
        "dealstage" => json!(stage.map(|s| s.hubspot_stage)),
        "pipeline" => json!(market.business.pipeline()),
        "amount" => json!(view.amount_minor.map(super::market_decimal)),
        "createdate" | "hs_createdate" => json!(iso(deal.created)),
        "hs_lastmodifieddate" => json!(iso(view.modified)),
        "hs_object_id" => json!(deal.id.to_string()),
        "hs_is_closed" => json!(stage.is_some_and(|s| s.is_closed).to_string()),
        "hs_is_closed_won" => json!(stage.is_some_and(|s| s.probability == "1.0").to_string()),
        // A guess of the salesperson's, often in the future.
        "closedate" => json!(iso(time::add(deal.created, time::days(30)))),
        // Unknown names are left out without a word; this account has no second currency.
        "deal_currency_code" => Value::Null,
        _ => return None,
    })
}

fn deal_record(market: &Market, deal: &Deal, asked: &Asked, now: Timestamp) -> Option<Value> {
    let view = deal.view(now)?;
    let mut properties = Map::new();
    let always = ["createdate", "hs_lastmodifieddate", "hs_object_id"];
    for name in always.into_iter().chain(asked.properties.iter().map(String::as_str)) {
        if let Some(value) = deal_property(market, deal, &view, name) {
            properties.insert(name.to_owned(), value);
        }
    }
    let mut record = json!({ "id": deal.id.to_string(), "properties": properties,
        "createdAt": iso(deal.created), "updatedAt": iso(view.modified), "archived": false });
    if !asked.history.is_empty() {
        let mut histories = Map::new();
        for name in &asked.history {
            let line = |at: Timestamp, value: String| {
                json!({ "value": value, "timestamp": iso(at), "sourceType": "CRM_UI" })
            };
            let mut lines: Vec<Value> = match name.as_str() {
                "dealstage" => deal
                    .stages
                    .iter()
                    .filter(|(at, _)| *at <= now)
                    .map(|(at, stage)| {
                        let stage = market.business.stages().get(*stage);
                        line(*at, stage.map_or("", |s| s.hubspot_stage).to_owned())
                    })
                    .collect(),
                "amount" => deal
                    .amounts
                    .iter()
                    .filter(|(at, _)| *at <= now)
                    .map(|(at, minor)| line(*at, super::market_decimal(*minor)))
                    .collect(),
                _ => Vec::new(),
            };
            // Newest first.
            lines.reverse();
            histories.insert(name.clone(), Value::Array(lines));
        }
        if let Some(record) = record.as_object_mut() {
            record.insert("propertiesWithHistory".to_owned(), Value::Object(histories));
        }
    }
    Some(record)
}

fn contact_record(contact: &Contact, asked: &Asked, now: Timestamp) -> Option<Value> {
    if contact.created > now {
        return None;
    }
    let mut properties = Map::new();
    let always = ["createdate", "lastmodifieddate", "hs_object_id"];
    for name in always.into_iter().chain(asked.properties.iter().map(String::as_str)) {
        let value = match name {
            "createdate" | "lastmodifieddate" => json!(iso(contact.created)),
            "hs_object_id" => json!(contact.id.to_string()),
            other => contact.properties.get(other).map_or(Value::Null, |text| json!(text)),
        };
        properties.insert(name.to_owned(), value);
    }
    Some(json!({ "id": contact.id.to_string(), "properties": properties,
        "createdAt": iso(contact.created), "updatedAt": iso(contact.created), "archived": false }))
}

fn record(state: &State, kind: &str, id: &str, asked: &Asked, now: Timestamp) -> Option<Value> {
    let id: u64 = id.parse().ok()?;
    if kind == "deals" {
        deal_record(&state.market, state.market.deals.get(&id)?, asked, now)
    } else {
        contact_record(state.market.contacts.get(&id)?, asked, now)
    }
}

fn body_of(call: &Call) -> Result<Value, Answer> {
    serde_json::from_slice(&call.body)
        .map_err(|cause| invalid(&format!("Invalid input JSON: {cause}")))
}

fn inputs(body: &Value, most: usize) -> Result<Vec<&Value>, Answer> {
    let inputs = body.get("inputs").and_then(Value::as_array);
    let inputs: Vec<&Value> = inputs.ok_or_else(|| invalid("inputs is required"))?.iter().collect();
    if inputs.len() > most {
        return Err(invalid(&format!("The maximum number of inputs is {most}")));
    }
    Ok(inputs)
}

fn batch_read(state: &State, kind: &str, call: &Call, now: Timestamp) -> Result<Value, Answer> {
    let body = body_of(call)?;
    let asked = Asked::of_body(&body);
    let most = if asked.history.is_empty() { 100 } else { 50 };
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    for input in inputs(&body, most)? {
        let id = input.get("id").and_then(Value::as_str).unwrap_or("");
        match record(state, kind, id, &asked, now) {
            Some(record) => results.push(record),
            None => missing.push(id.to_owned()),
        }
    }
    // The order of a batch is nobody's promise.
    results.reverse();
    let mut answer = json!({ "status": "COMPLETE", "results": results,
        "startedAt": iso(now), "completedAt": iso(now) });
    if !missing.is_empty()
        && let Some(answer) = answer.as_object_mut()
    {
        answer.insert("numErrors".to_owned(), json!(1));
        answer.insert(
            "errors".to_owned(),
            json!([{ "status": "error", "category": "OBJECT_NOT_FOUND",
                "message": "Could not get some of the objects", "context": { "ids": missing } }]),
        );
    }
    Ok(answer)
}

fn list(state: &State, kind: &str, call: &Call, now: Timestamp) -> Result<Value, Answer> {
    let limit: usize = call.param("limit").unwrap_or("10").parse().unwrap_or(10);
    if limit == 0 || limit > 100 {
        return Err(invalid("limit must be from 1 to 100"));
    }
    let asked = Asked::of_query(call);
    let after: u64 = call.param("after").and_then(|a| a.parse().ok()).unwrap_or(0);
    let is_archived = call.param("archived") == Some("true");
    let market = &state.market;
    let ids: Vec<u64> = if is_archived {
        Vec::new()
    } else if kind == "deals" {
        market.deals.range(after..).map(|(id, _)| *id).collect()
    } else {
        market.contacts.range(after..).map(|(id, _)| *id).collect()
    };
    let mut results = Vec::new();
    let mut next = None;
    for id in ids {
        if let Some(record) = record(state, kind, &id.to_string(), &asked, now) {
            if results.len() == limit {
                next = Some(id);
                break;
            }
            results.push(record);
        }
    }
    let mut answer = json!({ "results": results });
    if let (Some(next), Some(answer)) = (next, answer.as_object_mut()) {
        answer.insert("paging".to_owned(), json!({ "next": { "after": next.to_string() } }));
    }
    Ok(answer)
}

fn associations(
    state: &State,
    call: &Call,
    page: usize,
    now: Timestamp,
) -> Result<Value, Answer> {
    let body = body_of(call)?;
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for input in inputs(&body, 1_000)? {
        let id = input.get("id").and_then(Value::as_str).unwrap_or("");
        let after = input.get("after").and_then(Value::as_str);
        let from: usize = after.and_then(|a| a.parse().ok()).unwrap_or(0);
        let deal = id.parse().ok().and_then(|id: u64| state.market.deals.get(&id));
        let contacts = deal.filter(|d| d.created <= now).map_or(&[][..], |d| &d.contacts);
        if contacts.is_empty() {
            errors.push(json!({ "status": "error", "category": "OBJECT_NOT_FOUND",
                "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
                "message": format!("No contact is associated with deal {id}."),
                "context": { "fromObjectId": [id] } }));
            continue;
        }
        let to: Vec<Value> = contacts
            .iter()
            .skip(from)
            .take(page)
            .map(|contact| {
                json!({ "toObjectId": contact.to_string(), "associationTypes": [
                    { "category": "HUBSPOT_DEFINED", "typeId": 3, "label": null }] })
            })
            .collect();
        let end = from + to.len();
        let mut result = json!({ "from": { "id": id }, "to": to });
        if end < contacts.len()
            && let Some(result) = result.as_object_mut()
        {
            result.insert("paging".to_owned(), json!({ "next": { "after": end.to_string() } }));
        }
        results.push(result);
    }
    let mut answer = json!({ "status": "COMPLETE", "results": results,
        "startedAt": iso(now), "completedAt": iso(now) });
    if !errors.is_empty()
        && let Some(answer) = answer.as_object_mut()
    {
        answer.insert("numErrors".to_owned(), json!(errors.len()));
        answer.insert("errors".to_owned(), Value::Array(errors));
    }
    Ok(answer)
}

/// What a deal is searched and sorted by.
fn key(market: &Market, deal: &Deal, view: &DealView, name: &str) -> Option<Key> {
    Some(match name {
        "hs_lastmodifieddate" => Key::Number(millis(view.modified)),
        "createdate" | "hs_createdate" => Key::Number(millis(deal.created)),
        "hs_object_id" => Key::Number(i64::try_from(deal.id).unwrap_or(i64::MAX)),
        "dealstage" => {
            Key::Text(market.business.stages().get(view.stage)?.hubspot_stage.to_lowercase())
        }
        "pipeline" => Key::Text(market.business.pipeline().to_lowercase()),
        _ => return None,
    })
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i64),
    Text(String),
}

impl Key {
    fn read(&self, text: &str) -> Option<Self> {
        match self {
            Self::Number(_) => text.parse().ok().map(Self::Number),
            Self::Text(_) => Some(Self::Text(text.to_lowercase())),
        }
    }
}

fn fits(key: &Key, filter: &Value) -> Result<bool, Answer> {
    let text = |name: &str| filter.get(name).and_then(Value::as_str);
    let value = |name: &str| {
        text(name)
            .and_then(|text| key.read(text))
            .ok_or_else(|| invalid(&format!("{name} is missing or not of the property's type")))
    };
    Ok(match text("operator").unwrap_or("") {
        "EQ" => *key == value("value")?,
        "NEQ" => *key != value("value")?,
        "LT" => *key < value("value")?,
        "LTE" => *key <= value("value")?,
        "GT" => *key > value("value")?,
        "GTE" => *key >= value("value")?,
        "BETWEEN" => value("value")? <= *key && *key <= value("highValue")?,
        "IN" => filter
            .get("values")
            .and_then(Value::as_array)
            .ok_or_else(|| invalid("values is missing"))?
            .iter()
            .filter_map(Value::as_str)
            .any(|text| key.read(text).as_ref() == Some(key)),
        other => return Err(invalid(&format!("{other:?} is not an operator here"))),
    })
}

fn search(state: &State, call: &Call, seen: Timestamp) -> Result<Value, Answer> {
    if call.body.len() > 3_000 {
        return Err(invalid("The request body must be at most 3000 characters"));
    }
    let body = body_of(call)?;
    let limit = body.get("limit").and_then(Value::as_u64).unwrap_or(10);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 || limit > 200 {
        return Err(invalid("limit must be from 1 to 200"));
    }
    let from = match body.get("after") {
        None | Some(Value::Null) => 0,
        Some(Value::String(text)) => {
            text.parse().map_err(|_| invalid("after must be a number"))?
        }
        Some(Value::Number(n)) => n.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
        Some(_) => return Err(invalid("after must be a number")),
    };
    if from >= REACH {
        return Err(invalid("Requests cannot go beyond the first 10,000 results of a query"));
    }
    let none = Vec::new();
    let groups = body.get("filterGroups").and_then(Value::as_array).unwrap_or(&none);
    if groups.len() > 5 {
        return Err(invalid("There can be at most 5 filter groups"));
    }
    let sorts = body.get("sorts").and_then(Value::as_array).unwrap_or(&none);
    if sorts.len() > 1 {
        return Err(invalid("There can be only one sort"));
    }
    let market = &state.market;
    let mut hits: Vec<(&Deal, DealView)> = Vec::new();
    for deal in market.deals.values() {
        // The index is behind: it knows the deal as it was.
        let Some(view) = deal.view(seen) else { continue };
        let mut is_hit = groups.is_empty();
        for group in groups {
            let filters = group.get("filters").and_then(Value::as_array).unwrap_or(&none);
            if filters.len() > 6 {
                return Err(invalid("There can be at most 6 filters in a group"));
            }
            let mut all = true;
            for filter in filters {
                let name = filter.get("propertyName").and_then(Value::as_str).unwrap_or("");
                let key = key(market, deal, &view, name)
                    .ok_or_else(|| invalid(&format!("{name:?} cannot be searched by")))?;
                all = all && fits(&key, filter)?;
            }
            is_hit = is_hit || all;
        }
        if is_hit {
            hits.push((deal, view));
        }
    }
    if let Some(sort) = sorts.first() {
        let name = sort.get("propertyName").and_then(Value::as_str).unwrap_or("");
        let descends = sort.get("direction").and_then(Value::as_str) == Some("DESCENDING");
        hits.sort_by_cached_key(|(deal, view)| (key(market, deal, view, name), deal.id));
        if descends {
            hits.reverse();
        }
    }
    let asked = Asked::of_body(&body);
    let asked = Asked { properties: asked.properties, history: Vec::new() };
    let total = hits.len();
    let results: Vec<Value> = hits
        .iter()
        .skip(from)
        .take(limit.min(REACH - from))
        .filter_map(|(deal, _)| deal_record(market, deal, &asked, seen))
        .collect();
    let end = from + results.len();
    let mut answer = json!({ "total": total, "results": results });
    if end < total
        && let Some(answer) = answer.as_object_mut()
    {
        answer.insert("paging".to_owned(), json!({ "next": { "after": end.to_string() } }));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sixth_search_in_a_second_is_refused() {
        let mut limits = Limits::default();
        let at = |ms| time::from_millis(1_000_000 + ms);
        for i in 0..5 {
            assert!(limits.charge(true, at(i * 100)).is_ok(), "{i}");
        }
        assert_eq!(limits.charge(true, at(900)).unwrap_err().status, 429);
        assert!(limits.charge(false, at(900)).is_ok(), "only searches are that rare");
        assert!(limits.charge(true, at(1_000)).is_ok());
    }
}
