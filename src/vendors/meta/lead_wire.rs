//! A lead in Meta's JSON, read into the domain's values; pure. Of the answers only mail address and
//! telephone number are looked at, and only their hashes leave this file.
//! Source: Meta, Marketing API, lead ads, retrieving leads.

use serde_json::Value;

use crate::domain::ids::{AdId, AdSetId, CampaignId, LeadId};
use crate::domain::keyed_hash::KeyedHasher;
use crate::domain::lead::Lead;
use crate::domain::time::{self, Timestamp};
use crate::domain::visit::{KeyedHash, is_vendor_number};

pub(super) const LEAD_FIELDS: &str =
    "id,created_time,ad_id,adset_id,campaign_id,form_id,is_organic,field_data";

/// Reads the lead `id`.
pub(super) fn lead(
    body: &Value,
    id: &LeadId,
    hasher: Option<&KeyedHasher>,
) -> Result<Lead, String> {
    if text(body, "id").as_deref() != Some(id.as_str()) {
        return Err("it described another lead".to_owned());
    }
    let number = |key: &str| text(body, key).filter(|text| is_vendor_number(text));
    // What came without an ad is nobody's credit, whatever else it names.
    let is_organic = body.get("is_organic").and_then(Value::as_bool) == Some(true);
    let ad = number("ad_id").filter(|_| !is_organic);
    let answer = |part: &str, hash: &dyn Fn(&KeyedHasher, &str) -> Option<KeyedHash>| {
        answers(body, part).find_map(|text| hash(hasher?, text))
    };
    Ok(Lead {
        id: id.clone(),
        made_at: made_at(body)?,
        form: text(body, "form_id"),
        ad: ad.and_then(|id| AdId::new(id).ok()),
        ad_set: number("adset_id").and_then(|id| AdSetId::new(id).ok()),
        campaign: number("campaign_id").and_then(|id| CampaignId::new(id).ok()),
        email: answer("email", &|hasher, text| hasher.email(text)),
        phone: answer("phone", &|hasher, text| hasher.phone(text)),
    })
}

/// The answers to questions whose name has `part` in it: `email`, `work_email`, `phone_number`.
fn answers<'b>(body: &'b Value, part: &str) -> impl Iterator<Item = &'b str> {
    let fields = body.get("field_data").and_then(Value::as_array);
    let named = move |field: &&Value| {
        let name = field.get("name").and_then(Value::as_str);
        name.is_some_and(|name| name.to_lowercase().contains(part))
    };
    fields
        .into_iter()
        .flatten()
        .filter(named)
        .filter_map(|field| field.get("values")?.as_array())
        .flatten()
        .filter_map(Value::as_str)
}

fn made_at(body: &Value) -> Result<Timestamp, String> {
    let text = text(body, "created_time").ok_or("it has no created_time")?;
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(time::from_seconds(seconds));
    }
    Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", &text)
        .map_err(|_| format!("its created_time {text:?} is no time"))
}

fn text(body: &Value, key: &str) -> Option<String> {
    match body.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hasher() -> KeyedHasher {
        KeyedHasher::new(b"one key")
    }

    fn id() -> LeadId {
        LeadId::new("444").unwrap()
    }

    #[test]
    fn a_lead_names_its_ad_and_hides_its_person() {
        let body = json!({"id": "444", "created_time": "2026-10-05T09:30:00+0000",
            "ad_id": "120001", "adset_id": 22, "campaign_id": "33", "form_id": "5",
            "is_organic": false, "field_data": [
                {"name": "full_name", "values": ["Ana Adams"]},
                {"name": "email", "values": [" Ana@Example.com"]},
                {"name": "phone_number", "values": ["+16505551212"]}]});
        let read = lead(&body, &id(), Some(&hasher())).unwrap();
        assert_eq!(read.ad.as_ref().map(AdId::as_str), Some("120001"));
        assert_eq!(read.ad_set.as_ref().map(AdSetId::as_str), Some("22"));
        assert_eq!(read.email, hasher().email("ana@example.com"));
        assert_eq!(read.phone, hasher().phone("0016505551212"));
        assert_eq!(read.made_at, time::from_seconds(1_791_192_600));
        let shown = format!("{read:?}");
        assert!(!shown.contains("Ana") && !shown.contains("650"), "{shown}");
        let blind = lead(&body, &id(), None).unwrap();
        assert_eq!((blind.email, blind.phone), (None, None));
    }

    #[test]
    fn what_is_missing_is_missing_and_what_is_wrong_is_told() {
        let organic = json!({"id": "444", "created_time": 1_791_192_600, "is_organic": true,
            "ad_id": "120001"});
        let read = lead(&organic, &id(), Some(&hasher())).unwrap();
        assert_eq!((read.ad.clone(), read.evidence()), (None, None));
        for (bad, why) in [
            (json!({"id": "445", "created_time": 1}), "another lead"),
            (json!({"id": "444"}), "created_time"),
            (json!({"id": "444", "created_time": "soon"}), "no time"),
        ] {
            let fault = lead(&bad, &id(), None).unwrap_err();
            assert!(fault.contains(why), "{fault}");
        }
    }
}
