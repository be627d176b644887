//! Meta's webhooks of lead forms, as far as roasd reads them; pure. A page that has other fields
//! subscribed tells of those in the same deliveries: they are passed over.
//!
//! Shape: `{"object":"page","entry":[{"id","time","changes":[{"field":"leadgen","value":{"leadgen_id",
//! "page_id","form_id","ad_id","created_time"}}]}]}` (Meta, Webhooks reference, page, leadgen); may
//! repeat, and may come minutes late.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::ids::{LeadId, PageId};

/// The source of these deliveries in the inbox.
pub const SOURCE: &str = "meta.webhook";

/// An entry that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an entry of Meta's delivery cannot be read: {reason}")]
pub struct BadEntry {
    /// Why.
    pub reason: String,
    /// Its bytes, or the whole delivery's where it cannot be taken apart.
    pub bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Delivery<'a> {
    object: String,
    #[serde(borrow)]
    entry: Vec<&'a RawValue>,
}

/// The entries of a delivery by their page, as they came; those that name none are nobody's.
/// `None` when it is no delivery about pages.
#[must_use]
pub fn by_page(body: &[u8]) -> Option<BTreeMap<Option<PageId>, Vec<&RawValue>>> {
    let delivery: Delivery<'_> = serde_json::from_slice(body).ok()?;
    if delivery.object != "page" {
        return None;
    }
    let mut pages: BTreeMap<Option<PageId>, Vec<&RawValue>> = BTreeMap::new();
    for entry in delivery.entry {
        let page = serde_json::from_str::<Value>(entry.get()).ok();
        let page = page.and_then(|entry| text(entry.get("id")));
        let page = page.and_then(|page| PageId::new(page).ok());
        pages.entry(page).or_default().push(entry);
    }
    Some(pages)
}

/// Some entries as a delivery of their own.
#[must_use]
pub fn joined(entries: &[&RawValue]) -> Vec<u8> {
    let entries: Vec<&str> = entries.iter().map(|entry| entry.get()).collect();
    format!(r#"{{"object":"page","entry":[{}]}}"#, entries.join(",")).into_bytes()
}

/// Reads a delivery: the leads it tells of, and what cannot be read.
#[must_use]
pub fn read(body: &[u8]) -> Vec<Result<LeadId, BadEntry>> {
    let bad = |reason: &str, bytes: &[u8]| {
        Err(BadEntry {
            reason: reason.to_owned(),
            bytes: bytes.to_vec(),
        })
    };
    let Some(pages) = by_page(body) else {
        return vec![bad("it is not a delivery about pages", body)];
    };
    let mut leads = Vec::new();
    for entry in pages.into_values().flatten() {
        let bytes = entry.get().as_bytes();
        let read: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let Some(changes) = read.get("changes").and_then(Value::as_array) else {
            // `messaging` and the like.
            continue;
        };
        let is_lead = |change: &&Value| change.get("field").is_some_and(|f| f == "leadgen");
        for change in changes.iter().filter(is_lead) {
            let id = text(change.pointer("/value/leadgen_id"));
            leads.push(match id.and_then(|id| LeadId::new(id).ok()) {
                Some(id) => Ok(id),
                None => bad("a change of leadgen has no leadgen_id", bytes),
            });
        }
    }
    leads
}

/// A field as text, from a text or a whole number.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) if n.is_u64() => Some(n.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"{"object":"page","entry":[
        {"id":"77","time":1790000000,"changes":[
            {"field":"leadgen","value":{"leadgen_id":"444","page_id":"77","form_id":"5","ad_id":"1"}},
            {"field":"feed","value":{"item":"post"}}]},
        {"id":78,"time":1790000000,"changes":[{"field":"leadgen","value":{"leadgen_id":445}}]},
        {"id":"77","messaging":[]}]}"#;

    #[test]
    fn leads_are_read_and_all_else_is_passed_over() {
        let leads: Vec<_> = read(TWO.as_bytes())
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(
            leads.iter().map(LeadId::as_str).collect::<Vec<_>>(),
            ["444", "445"]
        );
        let bad = r#"{"object":"page","entry":[{"id":"7","changes":[{"field":"leadgen"}]}]}"#;
        assert!(read(bad.as_bytes())[0].is_err());
        for garbage in ["", "[]", "{}", r#"{"object":"user","entry":[]}"#, "<html>"] {
            assert!(read(garbage.as_bytes())[0].is_err(), "{garbage}");
        }
        assert!(read(br#"{"object":"page","entry":[]}"#).is_empty());
    }

    #[test]
    fn entries_belong_to_their_pages() {
        let pages = by_page(TWO.as_bytes()).unwrap();
        let of = |page: &str| &pages[&Some(PageId::new(page).unwrap())];
        assert_eq!((of("77").len(), of("78").len()), (2, 1));
        let own = joined(of("78"));
        assert_eq!(read(&own)[0].as_ref().unwrap().as_str(), "445");
        let nameless = br#"{"object":"page","entry":[{"changes":[]}]}"#;
        assert!(by_page(nameless).unwrap().contains_key(&None));
    }
}
