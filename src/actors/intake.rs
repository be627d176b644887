//! What deliveries ask for, whoever sent them: deals and leads to be read, people to be forgotten.

use super::context::Context;
use crate::domain::ids::{ContactId, DealId, LeadId};
use crate::store::StoreError;
use crate::store::inbox::{ClaimedDelivery, DeliveryOutcome};
use crate::vendors::hubspot::events::{self as hubspot, EventKind};
use crate::vendors::meta::events as meta;

/// What a delivery asks for.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// What it is settled with.
    pub(super) outcome: DeliveryOutcome,
    /// Leads to be read.
    pub(super) leads: Vec<LeadId>,
    /// Contacts whose deals are to be read again.
    pub(super) contacts: Vec<ContactId>,
    /// Deals that became another one, each with that one.
    pub(super) merges: Vec<(DealId, DealId)>,
    /// Contacts to be forgotten.
    pub(super) erased: Vec<ContactId>,
}

/// Reads a delivery; what cannot be read is poison.
pub(super) fn read(delivery: &ClaimedDelivery) -> Read {
    let mut read = match delivery.source.as_str() {
        meta::SOURCE => of_meta(&delivery.body),
        _ => of_hubspot(&delivery.body),
    };
    read.outcome.wanted.sort();
    read.outcome.wanted.dedup();
    read
}

fn of_meta(body: &[u8]) -> Read {
    let mut read = Read::default();
    // A lead's id leads to a person.
    read.outcome.is_personal = true;
    for lead in meta::read(body) {
        match lead {
            Ok(lead) => read.leads.push(lead),
            Err(bad) => {
                let reason = bad.to_string();
                read.outcome.poison.push((bad.bytes, reason));
            }
        }
    }
    read
}

fn of_hubspot(body: &[u8]) -> Read {
    let mut read = Read::default();
    for event in hubspot::read_delivery(body) {
        let event = match event {
            Ok(event) => event,
            Err(bad) => {
                let reason = bad.to_string();
                read.outcome.poison.push((bad.bytes, reason));
                continue;
            }
        };
        read.outcome.wanted.extend(event.deals());
        let contacts = match event.kind {
            EventKind::ContactChange(contact) => vec![contact],
            // The merged one's deals hang on the other now, with what it tells of its click.
            EventKind::ContactMerge { into, mut from } => {
                from.push(into);
                from
            }
            EventKind::PrivacyDeletion(contact) => {
                read.erased.push(contact.clone());
                vec![contact]
            }
            EventKind::DealAssociation { contact, .. } => {
                read.outcome.is_personal |= contact.is_some();
                Vec::new()
            }
            EventKind::DealMerge { into, from } => {
                let merges = from.into_iter().map(|from| (from, into.clone()));
                read.merges.extend(merges);
                Vec::new()
            }
            EventKind::DealCreation(_)
            | EventKind::StageChange { .. }
            | EventKind::DealPropertyChange { .. }
            | EventKind::DealDeletion(_)
            | EventKind::DealRestore(_)
            | EventKind::Other(_) => Vec::new(),
        };
        read.outcome.is_personal |= !contacts.is_empty();
        read.contacts.extend(contacts);
    }
    // Who is forgotten has no deals any more.
    let Read {
        contacts, erased, ..
    } = &mut read;
    contacts.retain(|contact| !erased.contains(contact));
    contacts.sort();
    contacts.dedup();
    read
}

/// Forgets a contact that HubSpot was told to forget. The receipt is in the store, where `roasd erase`
/// shows it.
pub(super) async fn erase(context: &Context, contact: &ContactId) -> Result<(), StoreError> {
    let Context {
        store,
        tenant,
        clock,
        ..
    } = context;
    let receipt = store
        .erase_contact(&tenant.id, contact, "hubspot", clock.now())
        .await?;
    tracing::info!(
        tenant.id = %tenant.id, deals = receipt.deals, visits = receipt.visits,
        leads = receipt.leads, deliveries = receipt.deliveries,
        "a contact of tenant {} was erased, as HubSpot asked: {} deals, {} visits, {} leads and {} \
         deliveries no longer tell of the person",
        tenant.id, receipt.deals, receipt.visits, receipt.leads, receipt.deliveries
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use serde_json::{Value, json};

    fn delivered(source: &str, body: &Value) -> Read {
        read(&ClaimedDelivery {
            id: 1,
            source: source.to_owned(),
            body: body.to_string().into_bytes(),
            received_at: Timestamp::UNIX_EPOCH,
            attempt: 1,
        })
    }

    fn event(kind: &str, more: &Value) -> Value {
        let mut event = json!({"eventId": 1, "subscriptionId": 2, "portalId": 3,
            "occurredAt": 1_790_000_000_000_i64, "subscriptionType": kind});
        let fields = event.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        event
    }

    /// What each type of event of the vendor's list leads to: deals to read, contacts whose deals
    /// are to be read, contacts to erase, and whether its bytes are forgotten.
    #[test]
    fn every_type_of_event_leads_to_something() {
        let check =
            |kind: &str, more: Value, deals: &[&str], contacts: &[&str], erased: &[&str]| {
                let read = delivered("hubspot.webhook", &json!([event(kind, &more)]));
                let wanted: Vec<_> = read.outcome.wanted.iter().map(|id| id.as_str()).collect();
                let changed: Vec<_> = read.contacts.iter().map(ContactId::as_str).collect();
                let gone: Vec<_> = read.erased.iter().map(ContactId::as_str).collect();
                assert_eq!(
                    (wanted.as_slice(), changed.as_slice()),
                    (deals, contacts),
                    "{kind}"
                );
                assert_eq!(gone, erased, "{kind}");
                assert!(read.outcome.poison.is_empty() && read.leads.is_empty());
                read.outcome.is_personal
            };
        let of = |id: u32| json!({ "objectId": id });
        for kind in ["deal.creation", "deal.deletion", "deal.restore"] {
            assert!(!check(kind, of(7), &["7"], &[], &[]));
        }
        let stage = json!({"objectId": 7, "propertyName": "dealstage", "propertyValue": "lead"});
        assert!(!check("deal.propertyChange", stage, &["7"], &[], &[]));
        let merge = json!({"primaryObjectId": 7, "mergedObjectIds": [8], "newObjectId": 9});
        check("deal.merge", merge.clone(), &["7", "8", "9"], &[], &[]);
        assert!(check("contact.merge", merge, &[], &["7", "8", "9"], &[]));
        let link =
            json!({"associationType": "DEAL_TO_CONTACT", "fromObjectId": 7, "toObjectId": 5});
        assert!(check("deal.associationChange", link, &["7"], &[], &[]));
        for kind in ["contact.creation", "contact.deletion", "contact.restore"] {
            assert!(check(kind, of(5), &[], &["5"], &[]));
        }
        let name = json!({"objectId": 5, "propertyName": "email", "propertyValue": "a@b.de"});
        assert!(check("contact.propertyChange", name, &[], &["5"], &[]));
        assert!(check("contact.privacyDeletion", of(5), &[], &[], &["5"]));
        assert!(!check("ticket.creation", of(5), &[], &[], &[]));
    }

    #[test]
    fn a_delivery_of_meta_asks_for_its_leads() {
        let lead = json!({"object": "page", "entry": [{"id": "7", "changes": [
            {"field": "leadgen", "value": {"leadgen_id": "444"}}, {"field": "leadgen"}]}]});
        let read = delivered(meta::SOURCE, &lead);
        assert_eq!(read.leads, [LeadId::new("444").unwrap()]);
        assert_eq!(read.outcome.poison.len(), 1);
        assert!(read.outcome.is_personal && read.outcome.wanted.is_empty());
    }
}
