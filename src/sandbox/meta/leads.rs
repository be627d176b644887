//! Leads of lead forms, as Meta shows them.

use serde_json::{Map, Value, json};

use super::super::market::FormLead;
use super::{Context, Error};
use crate::domain::time::Timestamp;

/// Fields that a lead shows when nobody asked for any.
const DEFAULT: &str = "id,created_time,field_data";

fn find<'c>(context: &'c Context<'_>, id: &str) -> Option<&'c FormLead> {
    let lead = context.state.market.leads.get(&id.parse().ok()?)?;
    (lead.created <= context.now).then_some(lead)
}

pub(super) fn is_known(context: &Context<'_>, id: &str) -> bool {
    find(context, id).is_some()
}

/// `GET /{lead}`.
pub(super) fn read(context: &Context<'_>, id: &str) -> Result<Value, Error> {
    let lead = find(context, id).ok_or_else(|| Error::missing("get", id))?;
    let market = &context.state.market;
    let [ad, ad_set, campaign] = market.path_of(lead.ad);
    let asked = context.call.param("fields").unwrap_or(DEFAULT);
    let mut shown = Map::from_iter([("id".to_owned(), json!(id))]);
    for name in asked.split(',').map(str::trim) {
        let value = match name {
            "id" => continue,
            "created_time" => json!(instant(lead.created)),
            "ad_id" => json!(ad),
            "adset_id" => json!(ad_set),
            "campaign_id" => json!(campaign),
            "form_id" => json!("330000000000001"),
            "is_organic" => json!(false),
            "field_data" => json!([
                {"name": "full_name", "values": ["Somebody"]},
                {"name": "email", "values": [lead.email]},
            ]),
            other => {
                return Err(Error::bad(&format!(
                    "(#100) Tried accessing nonexisting field ({other}) on node type (LeadgenLead)"
                )));
            }
        };
        shown.insert(name.to_owned(), value);
    }
    Ok(Value::Object(shown))
}

/// `2026-10-05T09:30:00+0000`.
fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}
