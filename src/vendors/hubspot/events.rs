//! HubSpot's webhook deliveries, read into events; pure. An event is a hint: events come twice,
//! late and out of order, and the deal that is read afterwards is the truth.
//! Source: HubSpot, "Webhooks API".

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::value::RawValue;

use super::fields::{Element, Fields};
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
    parse(body).events()
}

/// A delivery taken apart in one pass, its events' fields borrowed from its bytes.
#[derive(Debug)]
pub struct Parsed<'a> {
    body: &'a [u8],
    elements: Result<Vec<Element<'a>>, String>,
}

/// Takes a delivery apart.
#[must_use]
pub fn parse(body: &[u8]) -> Parsed<'_> {
    let not_json = |error: serde_json::Error| format!("the delivery is not JSON: {error}");
    let elements = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => serde_json::from_slice(body).map_err(not_json),
        Some(b'{') => serde_json::from_slice(body)
            .map(|event| vec![event])
            .map_err(not_json),
        _ => Err(
            match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
                Ok(_) => "the delivery is neither an array nor an object".to_owned(),
                Err(error) => not_json(error),
            },
        ),
    };
    Parsed { body, elements }
}

impl<'a> Parsed<'a> {
    fn elements(&self) -> &[Element<'a>] {
        self.elements.as_deref().unwrap_or_default()
    }

    /// The account that each event names, in their order; `None` for one that names none.
    pub fn portals(&self) -> impl Iterator<Item = Option<PortalId>> + '_ {
        self.elements().iter().map(|element| match element {
            Element::Event(fields) => {
                let portal = fields.portal_id.as_deref()?;
                portal.parse().ok().map(PortalId)
            }
            Element::NoEvent => None,
        })
    }

    /// The bytes of each event, in their order.
    #[must_use]
    pub fn raw(&self) -> Vec<&'a RawValue> {
        serde_json::from_slice(self.body)
            .or_else(|_| serde_json::from_slice(self.body).map(|event| vec![event]))
            .unwrap_or_default()
    }

    /// The keys of all events, see [`HubSpotEvent::dedup_key`]; `None` when one of them cannot be
    /// read, or there is none.
    #[must_use]
    pub fn dedup_keys(&self) -> Option<Vec<String>> {
        let elements = self.elements.as_ref().ok()?;
        let keys = elements.iter().map(|element| {
            let event = read_element(element).ok()?;
            Some(event.dedup_key)
        });
        keys.collect::<Option<Vec<_>>>()
            .filter(|keys| !keys.is_empty())
    }

    /// The events, each as far as it can be read.
    #[must_use]
    pub fn events(&self) -> Vec<Result<HubSpotEvent, BadEvent>> {
        let elements = match &self.elements {
            Ok(elements) => elements,
            Err(reason) => {
                return vec![Err(BadEvent {
                    reason: reason.clone(),
                    index: 0,
                    bytes: self.body.to_vec(),
                })];
            }
        };
        let raw = OnceCell::new();
        let bytes = |index: usize| {
            let raw: &Vec<&RawValue> = raw.get_or_init(|| self.raw());
            raw.get(index)
                .map_or(self.body, |event| event.get().as_bytes())
                .to_vec()
        };
        let events = elements.iter().enumerate().map(|(index, element)| {
            read_element(element).map_err(|reason| BadEvent {
                reason,
                index,
                bytes: bytes(index),
            })
        });
        events.collect()
    }
}

/// A text that an event must have; `name` is what the vendor calls it.
fn need<'f>(text: &'f Option<Cow<'_, str>>, name: &str) -> Result<&'f str, String> {
    text.as_deref().ok_or_else(|| format!("it has no {name}"))
}

fn id<T>(text: &str) -> Result<T, String>
where
    T: std::str::FromStr<Err = crate::domain::ids::BadId>,
{
    text.parse()
        .map_err(|bad: crate::domain::ids::BadId| bad.to_string())
}

/// The objects that were merged, the primary one first.
fn merged<T>(event: &Fields<'_>) -> Result<Vec<T>, String>
where
    T: std::str::FromStr<Err = crate::domain::ids::BadId>,
{
    let primary = event.primary_object_id.iter();
    primary
        .chain(&event.merged_object_ids)
        .map(|text| id(text))
        .collect()
}

fn read_element(element: &Element<'_>) -> Result<HubSpotEvent, String> {
    match element {
        Element::Event(fields) => read_event(fields),
        Element::NoEvent => Err("it is not an object".to_owned()),
    }
}

fn read_event(event: &Fields<'_>) -> Result<HubSpotEvent, String> {
    let kind = event.subscription_type.as_deref();
    let kind = kind
        .or(event.event_type.as_deref())
        .ok_or("it names no subscriptionType")?;
    let portal: u64 = need(&event.portal_id, "portalId")?
        .parse()
        .map_err(|_| "its portalId is not a number")?;
    let occurred = need(&event.occurred_at, "occurredAt")?;
    let millis: i64 = occurred
        .parse()
        .ok()
        .filter(|millis| *millis > 0)
        .ok_or_else(|| format!("its occurredAt {occurred:?} is not a time in milliseconds"))?;
    let object: Cow<'_, str> = match (&event.object_id, &event.from_object_id) {
        (Some(object), _) => Cow::Borrowed(object),
        (None, Some(from)) => {
            let to = event.to_object_id.as_deref().unwrap_or_default();
            format!("{from}>{to}").into()
        }
        (None, None) => Cow::Borrowed(event.new_object_id.as_deref().unwrap_or_default()),
    };
    // Connecting and cutting off differ in nothing else when they happen within a millisecond.
    let removed = event.association_removed == Some(true);
    let dedup_key = format!(
        "{portal}/{}/{}/{object}/{}/{millis}{}",
        event.subscription_id.as_deref().unwrap_or_default(),
        event.event_id.as_deref().unwrap_or_default(),
        event.property_name.as_deref().unwrap_or_default(),
        if removed { "/removed" } else { "" }
    );
    Ok(HubSpotEvent {
        portal: PortalId(portal),
        at: time::from_millis(millis),
        kind: read_kind(event, &generic(event, kind))?,
        dedup_key,
    })
}

/// The newer form `object.*` says by a number which kind of object it means.
fn generic<'k>(event: &Fields<'_>, kind: &'k str) -> Cow<'k, str> {
    match (
        kind.strip_prefix("object."),
        event.object_type_id.as_deref(),
    ) {
        (Some(what), Some("0-3")) => format!("deal.{what}").into(),
        (Some(what), Some("0-1")) => format!("contact.{what}").into(),
        _ => Cow::Borrowed(kind),
    }
}

fn read_kind(event: &Fields<'_>, kind: &str) -> Result<EventKind, String> {
    let object = || need(&event.object_id, "objectId");
    let deal = || object().and_then(id::<DealId>);
    let contact = || object().and_then(id::<ContactId>);
    let into = || need(&event.new_object_id, "newObjectId").or_else(|_| object());
    Ok(match kind {
        "deal.creation" => EventKind::DealCreation(deal()?),
        "deal.deletion" => EventKind::DealDeletion(deal()?),
        "deal.restore" => EventKind::DealRestore(deal()?),
        "deal.propertyChange" => property_change(event, deal()?)?,
        "deal.merge" => EventKind::DealMerge {
            into: id(into()?)?,
            from: merged(event)?,
        },
        "deal.associationChange" | "contact.associationChange" => association(event, kind)?,
        "contact.privacyDeletion" => EventKind::PrivacyDeletion(contact()?),
        "contact.propertyChange" | "contact.creation" | "contact.deletion" | "contact.restore" => {
            EventKind::ContactChange(contact()?)
        }
        "contact.merge" => EventKind::ContactMerge {
            into: id(into()?)?,
            from: merged(event)?,
        },
        other => EventKind::Other(other.chars().take(80).collect()),
    })
}

fn property_change(event: &Fields<'_>, deal: DealId) -> Result<EventKind, String> {
    let property = need(&event.property_name, "propertyName")?;
    let value = event.property_value.as_deref();
    Ok(match value.filter(|value| !value.is_empty()) {
        Some(stage) if property == "dealstage" => EventKind::StageChange {
            deal,
            stage: id(stage)?,
        },
        value => EventKind::DealPropertyChange {
            deal,
            property: property.to_owned(),
            value: value.map(str::to_owned),
        },
    })
}

fn association(event: &Fields<'_>, kind: &str) -> Result<EventKind, String> {
    let from = need(&event.from_object_id, "fromObjectId")?;
    let to = need(&event.to_object_id, "toObjectId")?;
    let (deal, contact) = match event.association_type.as_deref() {
        Some("DEAL_TO_CONTACT") => (from, to),
        Some("CONTACT_TO_DEAL") => (to, from),
        // A company, a ticket: the deal's contacts are as they were.
        _ => return Ok(EventKind::Other(kind.to_owned())),
    };
    Ok(EventKind::DealAssociation {
        deal: id(deal)?,
        contact: Some(id(contact)?),
        is_removed: event.association_removed == Some(true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

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
    fn the_generic_form_means_the_same() {
        let more = json!({"objectId": 12, "propertyName": "dealstage", "propertyValue": "won",
            "primaryObjectId": 12, "mergedObjectIds": [13], "newObjectId": 12,
            "associationType": "DEAL_TO_CONTACT", "fromObjectId": 12, "toObjectId": 5});
        let whats = [
            "creation",
            "propertyChange",
            "deletion",
            "restore",
            "merge",
            "associationChange",
            "privacyDeletion",
        ];
        for (object, of) in [("deal", "0-3"), ("contact", "0-1")] {
            for what in whats {
                let read = |kind: String, type_id: Option<&str>| {
                    let mut event = more.clone();
                    event["subscriptionType"] = kind.into();
                    event["objectTypeId"] = type_id.into();
                    one(event).unwrap()
                };
                let named = read(format!("{object}.{what}"), None);
                assert_eq!(
                    read(format!("object.{what}"), Some(of)),
                    named,
                    "{object} {what}"
                );
                // People are forgotten, deals are not.
                let is_other = matches!(named.kind, EventKind::Other(_));
                assert_eq!(is_other, (object, what) == ("deal", "privacyDeletion"));
            }
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
        assert_eq!(found[1].clone().unwrap_err().bytes, br#"{"portalId":1}"#);
        assert_eq!(found[2].clone().unwrap_err().bytes, b"7");
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

    #[test]
    fn fields_are_read_as_they_come() {
        // Escapes, a field twice (the last one counts), numbers as texts and the other way round,
        // and values of unheard-of shape.
        let body =
            br#" [ {"subscriptionType":"deal.propert\u0079Change","portalId":"33","objectId":7,
            "objectId":12,"occurredAt":"1462216307945","propertyName":"deal\u0073tage",
            "propertyValue":17.5,"eventId":[{"a":1}],"mergedObjectIds":"none","appId":{"x":[null]},
            "associationRemoved":"yes","unknown":1e999} ] "#;
        let event = read_delivery(body).remove(0).unwrap();
        let stage = VendorStageId::new("17.5").unwrap();
        assert_eq!(
            event.kind,
            EventKind::StageChange {
                deal: deal(12),
                stage
            }
        );
        assert_eq!(event.dedup_key(), "33///12/dealstage/1462216307945");
    }

    #[test]
    fn a_delivery_is_taken_apart_once_for_all() {
        let event = with(json!({"subscriptionType": "deal.creation", "objectId": 1}));
        let body = json!([event, 7, {"portalId": "34"}, {"portalId": -1}]).to_string();
        let parsed = parse(body.as_bytes());
        let portals: Vec<_> = parsed.portals().collect();
        assert_eq!(
            portals,
            [Some(PortalId(33)), None, Some(PortalId(34)), None]
        );
        assert_eq!(parsed.raw().len(), 4);
        assert_eq!(parsed.dedup_keys(), None);
        let body = json!([event, event]).to_string();
        let keys = parse(body.as_bytes()).dedup_keys().unwrap();
        assert_eq!(keys, ["33/25/1/1//1462216307945"; 2]);
        assert_eq!(parse(b"[]").dedup_keys(), None);
        assert_eq!(parse(b"[{").portals().count(), 0);
    }
}
