//! Deals and contacts as HubSpot shows them: every value a string or null.

use serde_json::{Map, Value, json};

use crate::domain::time::{self, Timestamp};

use super::super::market::decimal;
use super::super::market::{Contact, Deal, Market};
use super::{Kind, stamp};

/// Properties of deals that there are.
const DEAL: &[&str] = &[
    "amount",
    "amount_in_home_currency",
    "closedate",
    "createdate",
    "deal_currency_code",
    "dealname",
    "dealstage",
    "dealtype",
    "hs_analytics_source",
    "hs_analytics_source_data_1",
    "hs_analytics_source_data_2",
    "hs_closed_amount",
    "hs_createdate",
    "hs_deal_stage_probability",
    "hs_is_closed",
    "hs_is_closed_won",
    "hs_lastmodifieddate",
    "hs_merged_object_ids",
    "hs_object_id",
    "hubspot_owner_id",
    "pipeline",
];

/// Properties of contacts that there are, those that the customer made included.
const CONTACT: &[&str] = &[
    "ad_id",
    "createdate",
    "email",
    "fbclid",
    "firstname",
    "hs_analytics_first_timestamp",
    "hs_analytics_first_url",
    "hs_analytics_last_url",
    "hs_analytics_source",
    "hs_analytics_source_data_1",
    "hs_analytics_source_data_2",
    "hs_facebook_ad_clicked",
    "hs_facebook_click_id",
    "hs_google_click_id",
    "hs_object_id",
    "lastmodifieddate",
    "lastname",
    "leadgen_id",
    "mobilephone",
    "phone",
    "roasd_click_id",
    "utm_campaign",
    "utm_content",
    "utm_medium",
    "utm_source",
    "utm_term",
];

/// What a record shows when nobody asked for anything.
const DEAL_DEFAULT: &[&str] = &["amount", "closedate", "dealname", "dealstage", "pipeline"];
const CONTACT_DEFAULT: &[&str] = &["email", "firstname", "lastname"];
/// What it shows always.
const DEAL_ALWAYS: &[&str] = &["createdate", "hs_lastmodifieddate", "hs_object_id"];
const CONTACT_ALWAYS: &[&str] = &["createdate", "hs_object_id", "lastmodifieddate"];

/// A deal's property at `at`; `None` for one that there is not, or before the deal is.
pub(super) fn deal_property(
    market: &Market,
    deal: &Deal,
    name: &str,
    at: Timestamp,
) -> Option<Value> {
    if !DEAL.contains(&name) {
        return None;
    }
    let view = deal.view(at)?;
    let stage = market.business.stages().get(view.stage)?;
    let is_won = stage.probability == "1.0";
    let amount = view.amount_minor.map(decimal);
    Some(match name {
        "amount" | "amount_in_home_currency" => json!(amount),
        "hs_closed_amount" if is_won => json!(amount),
        "hs_closed_amount" => json!("0"),
        "closedate" if stage.is_closed => json!(stamp(view.stage_since)),
        // A guess into the future, as salespeople's are.
        "closedate" => json!(stamp(time::add(deal.created, time::days(30)))),
        "createdate" | "hs_createdate" => json!(stamp(deal.created)),
        "deal_currency_code" => json!(market.currency.code()),
        "dealname" => json!(deal.name),
        "dealstage" => json!(stage.hubspot_stage),
        "hs_deal_stage_probability" => json!(stage.probability),
        "hs_is_closed" => json!(stage.is_closed.to_string()),
        "hs_is_closed_won" => json!(is_won.to_string()),
        "hs_lastmodifieddate" => json!(stamp(view.modified)),
        "hs_merged_object_ids" => {
            let merged = deal.merged.iter().filter(|(t, _)| *t <= at);
            let ids: Vec<String> = merged.map(|(_, id)| id.to_string()).collect();
            if ids.is_empty() {
                Value::Null
            } else {
                json!(ids.join(";"))
            }
        }
        "hs_object_id" => json!(deal.id.to_string()),
        "pipeline" => json!(market.business.pipeline()),
        "hs_analytics_source" => deal
            .contacts
            .iter()
            .filter_map(|id| market.contacts.get(id)?.properties.get(name))
            .next()
            .map_or(Value::Null, |source| json!(source)),
        _ => Value::Null,
    })
}

fn contact_property(contact: &Contact, name: &str) -> Option<Value> {
    if !CONTACT.contains(&name) {
        return None;
    }
    Some(match name {
        "createdate" | "lastmodifieddate" => json!(stamp(contact.created)),
        "hs_object_id" => json!(contact.id.to_string()),
        _ => contact
            .properties
            .get(name)
            .map_or(Value::Null, |value| json!(value)),
    })
}

fn version(value: &Value, at: Timestamp) -> Value {
    json!({"value": value, "timestamp": stamp(at), "sourceType": "CRM_UI", "sourceId": "userId:7"})
}

/// All values of a deal's property until `at`, newest first.
fn deal_history(market: &Market, deal: &Deal, name: &str, at: Timestamp) -> Option<Value> {
    let mut versions: Vec<Value> = match name {
        "dealstage" => deal
            .stages
            .iter()
            .filter(|(t, _)| *t <= at)
            .map(|(t, stage)| {
                let stage = market.business.stages().get(*stage);
                version(&json!(stage.map_or("", |s| s.hubspot_stage)), *t)
            })
            .collect(),
        "amount" => deal
            .amounts
            .iter()
            .filter(|(t, _)| *t <= at)
            .map(|(t, minor)| version(&json!(decimal(*minor)), *t))
            .collect(),
        _ => vec![version(
            &deal_property(market, deal, name, at)?,
            deal.created,
        )],
    };
    versions.reverse();
    Some(Value::Array(versions))
}

#[expect(clippy::too_many_arguments, reason = "what a record is, once")]
fn record(
    id: u64,
    created: Timestamp,
    updated: Timestamp,
    names: &[&[&str]],
    asked: &[String],
    history: &[String],
    value: impl Fn(&str) -> Option<Value>,
    versions: impl Fn(&str) -> Option<Value>,
) -> Value {
    let [always, default] = names else {
        return Value::Null;
    };
    let mut properties = Map::new();
    let mut put = |name: &str| {
        if let Some(value) = value(name) {
            properties.insert(name.to_owned(), value);
        }
    };
    always.iter().for_each(|name| put(name));
    if asked.is_empty() {
        default.iter().for_each(|name| put(name));
    }
    asked.iter().chain(history).for_each(|name| put(name));
    let mut out = json!({
        "id": id.to_string(),
        "properties": properties,
        "createdAt": stamp(created),
        "updatedAt": stamp(updated),
        "archived": false,
    });
    if let (false, Some(map)) = (history.is_empty(), out.as_object_mut()) {
        let all: Map<String, Value> = history
            .iter()
            .filter_map(|name| Some((name.clone(), versions(name)?)))
            .collect();
        map.insert("propertiesWithHistory".to_owned(), Value::Object(all));
    }
    out
}

/// One record at `at` with the properties asked for; `None` while there is none, or only an archived
/// one.
pub(super) fn show(
    market: &Market,
    kind: Kind,
    id: u64,
    at: Timestamp,
    asked: &[String],
    history: &[String],
) -> Option<Value> {
    let is_archived = |id| {
        let view = market.deals.get(&id).and_then(|deal| deal.view(at));
        view.is_some_and(|view| view.is_archived)
    };
    if kind == Kind::Deal && is_archived(id) {
        return None;
    }
    show_any(market, kind, id, at, asked, history)
}

/// One archived deal.
pub(super) fn show_archived(
    market: &Market,
    id: u64,
    at: Timestamp,
    asked: &[String],
) -> Option<Value> {
    let view = market.deals.get(&id)?.view(at)?;
    if !view.is_archived {
        return None;
    }
    let mut record = show_any(market, Kind::Deal, id, at, asked, &[])?;
    let fields = record.as_object_mut()?;
    fields.insert("archived".to_owned(), json!(true));
    fields.insert("archivedAt".to_owned(), json!(stamp(view.modified)));
    Some(record)
}

fn show_any(
    market: &Market,
    kind: Kind,
    id: u64,
    at: Timestamp,
    asked: &[String],
    history: &[String],
) -> Option<Value> {
    match kind {
        Kind::Deal => {
            let deal = market.deals.get(&id)?;
            let view = deal.view(at)?;
            Some(record(
                id,
                deal.created,
                view.modified,
                &[DEAL_ALWAYS, DEAL_DEFAULT],
                asked,
                history,
                |name| deal_property(market, deal, name, at),
                |name| deal_history(market, deal, name, at),
            ))
        }
        Kind::Contact => {
            let contact = market.contacts.get(&id).filter(|c| c.created <= at)?;
            Some(record(
                id,
                contact.created,
                contact.created,
                &[CONTACT_ALWAYS, CONTACT_DEFAULT],
                asked,
                history,
                |name| contact_property(contact, name),
                |name| {
                    let value = contact_property(contact, name)?;
                    Some(json!([version(&value, contact.created)]))
                },
            ))
        }
    }
}

/// The contacts of a deal that are there at `at`, by id.
pub(super) fn contacts_of(market: &Market, deal: u64, at: Timestamp) -> Option<Vec<u64>> {
    let is_known = |view: super::super::market::DealView| !view.is_archived;
    let deal = market.deals.get(&deal)?;
    let deal = deal.view(at).filter(|view| is_known(*view)).map(|_| deal)?;
    let is_there = |id: &&u64| market.contacts.get(id).is_some_and(|c| c.created <= at);
    Some(deal.contacts.iter().filter(is_there).copied().collect())
}
