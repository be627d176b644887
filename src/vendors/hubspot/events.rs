//! HubSpot's webhook deliveries, read into events; pure. An event is a hint: events come twice,
//! late and out of order, and the deal that is read afterwards is the truth.
//! Source: HubSpot, "Webhooks API".

use serde_json::Value;

use crate::domain::ids::{ContactId, DealId, PortalId, VendorStageId};
use crate::domain::time::{self, Timestamp};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// A deal was made.
    DealCreation(DealId),
    /// A deal entered a stage.
    StageChange {
        /// The deal.
        deal: DealId,
        /// The stage.
        stage: VendorStageId,
    },
    /// Another property of a deal changed, or was cleared.
    DealPropertyChange {
        /// The deal.
        deal: DealId,
        /// The property's name.
        property: String,
        /// Its new value; `None` when it was cleared.
        value: Option<String>,
    },
    /// A deal was deleted.
    DealDeletion(DealId),
    /// A deleted deal came back.
    DealRestore(DealId),
    /// Deals became one.
    DealMerge {
        /// What is left of them; it can be a third deal.
        into: DealId,
        /// The deals that were merged, the primary one among them.
        from: Vec<DealId>,
    },
    /// A deal was connected with a contact, or cut off from one.
    DealAssociation {
        /// The deal.
        deal: DealId,
        /// The contact, where the event tells.
        contact: Option<ContactId>,
        /// Whether they were cut off.
        is_removed: bool,
    },
    /// A property of a contact changed, or the contact was made, deleted or restored.
    ContactChange(ContactId),
    /// Contacts became one.
    ContactMerge {
        /// What is left of them.
        into: ContactId,
        /// The contacts that were merged.
        from: Vec<ContactId>,
    },
    /// A person asked to be forgotten: erase their data.
    PrivacyDeletion(ContactId),
    /// Anything else, by its type: nothing to do.
    Other(String),
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSpotEvent {
    /// The account, which names the tenant.
    pub portal: PortalId,
    /// When it happened, by HubSpot's clock.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
    dedup_key: String,
}

impl HubSpotEvent {
    /// The same for every delivery of the event, however often it is tried, and different for
    /// different events: event ids alone are not unique.
    #[must_use]
    pub fn dedup_key(&self) -> &str {
        &self.dedup_key
    }

    /// Every deal that may have changed.
    #[must_use]
    pub fn deals(&self) -> Vec<DealId> {
        match &self.kind {
            // The merged ones are gone by now, which must be found out as well.
            EventKind::DealMerge { into, from } => {
                let mut deals = from.clone();
                deals.push(into.clone());
                deals
            }
            _ => self.deal().cloned().into_iter().collect(),
        }
    }

    /// The one deal that it is about.
    #[must_use]
    pub fn deal(&self) -> Option<&DealId> {
        match &self.kind {
            EventKind::DealCreation(deal)
            | EventKind::StageChange { deal, .. }
            | EventKind::DealPropertyChange { deal, .. }
            | EventKind::DealDeletion(deal)
            | EventKind::DealRestore(deal)
            | EventKind::DealMerge { into: deal, .. }
            | EventKind::DealAssociation { deal, .. } => Some(deal),
            EventKind::ContactChange(_)
            | EventKind::ContactMerge { .. }
            | EventKind::PrivacyDeletion(_)
            | EventKind::Other(_) => None,
        }
    }
}

/// An event that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {index} of the delivery cannot be read: {reason}")]
pub struct BadEvent {
    /// Why.
    pub reason: String,
    /// Its place in the delivery, from 0.
    pub index: usize,
    /// Its bytes, or the whole delivery's where it cannot be taken apart.
    pub bytes: Vec<u8>,
}

/// Reads a delivery: an array of events, or one event alone. What is no JSON at all is one bad
/// event.
#[must_use]
pub fn read_delivery(body: &[u8]) -> Vec<Result<HubSpotEvent, BadEvent>> {
    let bad = |reason: String| {
        vec![Err(BadEvent {
            reason,
            index: 0,
            bytes: body.to_vec(),
        })]
    };
    let events = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Array(events)) => events,
        Ok(event @ Value::Object(_)) => vec![event],
        Ok(_) => return bad("the delivery is neither an array nor an object".to_owned()),
        Err(error) => return bad(format!("the delivery is not JSON: {error}")),
    };
    events
        .iter()
        .enumerate()
        .map(|(index, event)| {
            read_event(event).map_err(|reason| {
                let bytes = event.to_string().into_bytes();
                BadEvent {
                    reason,
                    index,
                    bytes,
                }
            })
        })
        .collect()
}

/// A field as text, from a text or a number.
fn text(event: &Value, key: &str) -> Option<String> {
    match event.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn need(event: &Value, key: &str) -> Result<String, String> {
    text(event, key).ok_or_else(|| format!("it has no {key}"))
}

fn id<T>(text: &str) -> Result<T, String>
where
    T: std::str::FromStr<Err = crate::domain::ids::BadId>,
{
    text.parse()
        .map_err(|bad: crate::domain::ids::BadId| bad.to_string())
}

fn ids<T>(event: &Value) -> Result<Vec<T>, String>
where
    T: std::str::FromStr<Err = crate::domain::ids::BadId>,
{
    let merged = event.get("mergedObjectIds").and_then(Value::as_array);
    let merged = merged.into_iter().flatten().filter_map(|one| match one {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    });
    text(event, "primaryObjectId")
        .into_iter()
        .chain(merged)
        .map(|text| id(&text))
        .collect()
}

fn read_event(event: &Value) -> Result<HubSpotEvent, String> {
    if !event.is_object() {
        return Err("it is not an object".to_owned());
    }
    let kind = text(event, "subscriptionType")
        .or_else(|| text(event, "eventType"))
        .ok_or("it names no subscriptionType")?;
    let portal: u64 = need(event, "portalId")?
        .parse()
        .map_err(|_| "its portalId is not a number")?;
    let occurred = need(event, "occurredAt")?;
    let millis: i64 = occurred
        .parse()
        .ok()
        .filter(|millis| *millis > 0)
        .ok_or_else(|| format!("its occurredAt {occurred:?} is not a time in milliseconds"))?;
    let part = |key| text(event, key).unwrap_or_default();
    let object = text(event, "objectId")
        .or_else(|| {
            text(event, "fromObjectId").map(|from| format!("{from}>{}", part("toObjectId")))
        })
        .or_else(|| text(event, "newObjectId"))
        .unwrap_or_default();
    // Connecting and cutting off differ in nothing else when they happen within a millisecond.
    let removed = event.get("associationRemoved").and_then(Value::as_bool) == Some(true);
    let dedup_key = format!(
        "{portal}/{}/{}/{object}/{}/{millis}{}",
        part("subscriptionId"),
        part("eventId"),
        part("propertyName"),
        if removed { "/removed" } else { "" }
    );
    Ok(HubSpotEvent {
        portal: PortalId(portal),
        at: time::from_millis(millis),
        kind: read_kind(event, &generic(event, &kind))?,
        dedup_key,
    })
}

/// The newer form `object.*` says by a number which kind of object it means.
fn generic(event: &Value, kind: &str) -> String {
    match (kind.strip_prefix("object."), text(event, "objectTypeId")) {
        (Some(what), Some(of)) if of == "0-3" => format!("deal.{what}"),
        (Some(what), Some(of)) if of == "0-1" => format!("contact.{what}"),
        _ => kind.to_owned(),
    }
}

fn read_kind(event: &Value, kind: &str) -> Result<EventKind, String> {
    let deal = || need(event, "objectId").and_then(|text| id::<DealId>(&text));
    let contact = || need(event, "objectId").and_then(|text| id::<ContactId>(&text));
    let merged = || need(event, "newObjectId").or_else(|_| need(event, "objectId"));
    Ok(match kind {
        "deal.creation" => EventKind::DealCreation(deal()?),
        "deal.deletion" => EventKind::DealDeletion(deal()?),
        "deal.restore" => EventKind::DealRestore(deal()?),
        "deal.propertyChange" => property_change(event, deal()?)?,
        "deal.merge" => EventKind::DealMerge {
            into: id(&merged()?)?,
            from: ids(event)?,
        },
        "deal.associationChange" | "contact.associationChange" => association(event, kind)?,
        "contact.privacyDeletion" => EventKind::PrivacyDeletion(contact()?),
        "contact.propertyChange" | "contact.creation" | "contact.deletion" | "contact.restore" => {
            EventKind::ContactChange(contact()?)
        }
        "contact.merge" => EventKind::ContactMerge {
            into: id(&merged()?)?,
            from: ids(event)?,
        },
        other => EventKind::Other(other.chars().take(80).collect()),
    })
}

fn property_change(event: &Value, deal: DealId) -> Result<EventKind, String> {
    let property = need(event, "propertyName")?;
    let value = text(event, "propertyValue").filter(|value| !value.is_empty());
    Ok(match value {
        Some(stage) if property == "dealstage" => EventKind::StageChange {
            deal,
            stage: id(&stage)?,
        },
        value => EventKind::DealPropertyChange {
            deal,
            property,
            value,
        },
    })
}

fn association(event: &Value, kind: &str) -> Result<EventKind, String> {
    let from = need(event, "fromObjectId")?;
    let to = need(event, "toObjectId")?;
    let (deal, contact) = match text(event, "associationType").as_deref() {
        Some("DEAL_TO_CONTACT") => (from, Some(to)),
        Some("CONTACT_TO_DEAL") => (to, Some(from)),
        // A company, a ticket: the deal's contacts are as they were.
        _ => return Ok(EventKind::Other(kind.to_owned())),
    };
    Ok(EventKind::DealAssociation {
        deal: id(&deal)?,
        contact: contact.map(|text| id(&text)).transpose()?,
        is_removed: event.get("associationRemoved").and_then(Value::as_bool) == Some(true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deal(n: u32) -> DealId {
        DealId::new(n.to_string()).unwrap()
    }

    fn contact(n: u32) -> ContactId {
        ContactId::new(n.to_string()).unwrap()
    }

    fn with(more: Value) -> Value {
        let mut event = json!({"eventId": 1, "subscriptionId": 25, "portalId": 33, "appId": 7,
            "occurredAt": 1_462_216_307_945_i64, "attemptNumber": 0, "changeSource": "CRM_UI"});
        let fields = event.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        event
    }

    fn one(more: Value) -> Result<HubSpotEvent, BadEvent> {
        let body = json!([with(more)]).to_string();
        let mut found = read_delivery(body.as_bytes());
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    fn check(more: Value, expected: EventKind) {
        assert_eq!(one(more.clone()).map(|e| e.kind), Ok(expected), "{more}");
    }

    #[test]
    fn each_kind_is_read() {
        let stage = VendorStageId::new("closedwon").unwrap();
        check(
            json!({"subscriptionType": "deal.propertyChange", "objectId": 12,
                "propertyName": "dealstage", "propertyValue": "closedwon"}),
            EventKind::StageChange {
                deal: deal(12),
                stage: stage.clone(),
            },
        );
        check(
            json!({"eventType": "object.propertyChange", "objectTypeId": "0-3", "objectId": "12",
                "propertyName": "dealstage", "propertyValue": "closedwon"}),
            EventKind::StageChange {
                deal: deal(12),
                stage,
            },
        );
        check(
            json!({"subscriptionType": "deal.propertyChange", "objectId": 12,
                "propertyName": "amount", "propertyValue": null}),
            EventKind::DealPropertyChange {
                deal: deal(12),
                property: "amount".to_owned(),
                value: None,
            },
        );
        let plain = |kind: &str| json!({"subscriptionType": kind, "objectId": 12});
        check(plain("deal.creation"), EventKind::DealCreation(deal(12)));
        check(plain("deal.deletion"), EventKind::DealDeletion(deal(12)));
        check(plain("deal.restore"), EventKind::DealRestore(deal(12)));
        check(
            plain("contact.propertyChange"),
            EventKind::ContactChange(contact(12)),
        );
        check(
            plain("contact.privacyDeletion"),
            EventKind::PrivacyDeletion(contact(12)),
        );
        check(
            plain("ticket.creation"),
            EventKind::Other("ticket.creation".to_owned()),
        );
        check(
            json!({"subscriptionType": "deal.merge", "objectId": 1, "primaryObjectId": 1,
                "mergedObjectIds": [2, "3"], "newObjectId": 4}),
            EventKind::DealMerge {
                into: deal(4),
                from: vec![deal(1), deal(2), deal(3)],
            },
        );
        check(
            json!({"subscriptionType": "contact.merge", "primaryObjectId": 1,
                "mergedObjectIds": [2], "newObjectId": 1}),
            EventKind::ContactMerge {
                into: contact(1),
                from: vec![contact(1), contact(2)],
            },
        );
        for (kind, from, to) in [("DEAL_TO_CONTACT", 5, 6), ("CONTACT_TO_DEAL", 6, 5)] {
            check(
                json!({"subscriptionType": "deal.associationChange", "associationType": kind,
                    "fromObjectId": from, "toObjectId": to, "associationRemoved": true}),
                EventKind::DealAssociation {
                    deal: deal(5),
                    contact: Some(contact(6)),
                    is_removed: true,
                },
            );
        }
    }

    #[test]
    fn a_repeat_has_the_same_key_and_another_event_another() {
        let base = json!({"subscriptionType": "deal.propertyChange", "objectId": 12,
            "propertyName": "dealstage", "propertyValue": "a"});
        let key = |change: Value| {
            let mut event = base.clone();
            event
                .as_object_mut()
                .unwrap()
                .extend(change.as_object().unwrap().clone());
            one(event).unwrap().dedup_key().to_owned()
        };
        let first = key(json!({}));
        assert_eq!(first, "33/25/1/12/dealstage/1462216307945");
        assert_eq!(first, key(json!({"attemptNumber": 3, "unknown": [1]})));
        for other in [
            json!({"portalId": 34}),
            json!({"subscriptionId": 26}),
            json!({"eventId": 2}),
            json!({"objectId": 13}),
            json!({"propertyName": "amount"}),
            json!({"occurredAt": 1_462_216_307_946_i64}),
        ] {
            assert_ne!(first, key(other.clone()), "{other}");
        }
    }

    #[test]
    fn one_bad_event_spoils_no_other() {
        let good = with(json!({"subscriptionType": "deal.creation", "objectId": 1}));
        let body = json!([good, {"portalId": 1}, 7, good]).to_string();
        let found = read_delivery(body.as_bytes());
        let ok: Vec<_> = found.iter().map(Result::is_ok).collect();
        assert_eq!(ok, [true, false, false, true]);
        assert_eq!(found[1].clone().unwrap_err().index, 1);
        assert!(read_delivery(good.to_string().as_bytes())[0].is_ok());
        assert!(read_delivery(b"[]").is_empty());
        for garbage in [&b"<html>"[..], b"", b"\xff\xfe", b"[{", b"7", b"null"] {
            let found = read_delivery(garbage);
            assert_eq!(found.len(), 1);
            assert!(found[0].is_err());
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |more: Value, part: &str| {
            let reason = one(more.clone()).unwrap_err().reason;
            assert!(reason.contains(part), "{more}: {reason}");
        };
        check(json!({}), "subscriptionType");
        check(json!({"subscriptionType": "deal.creation"}), "objectId");
        check(
            json!({"subscriptionType": "deal.propertyChange", "objectId": 1}),
            "propertyName",
        );
        check(
            json!({"subscriptionType": "x", "occurredAt": "today"}),
            "occurredAt",
        );
        check(
            json!({"subscriptionType": "x", "portalId": "acme"}),
            "portalId",
        );
    }
}
