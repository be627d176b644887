//! The statements of an erasure; both stores take them as they are, but for the search in bytes.

use super::bodies::unpacked;
use super::cells::{Cells, Columns};
use crate::store::StoreError;
use crate::store::privacy::Erasure;

const TABLE: &str = "erasures";

/// What leads from a contact to what else is kept of the person.
pub(in crate::store) const TRACES: &str =
    "select roasd_click_id, facebook_click_id, meta_lead_id, email_hash, phone_hash
     from crm_contacts where tenant = $1 and id = $2";

/// The traces of a contact, in the order in which the statements take them.
#[derive(Debug, Default)]
pub(in crate::store) struct Traces {
    pub(in crate::store) visit: Option<String>,
    pub(in crate::store) fbclid: Option<String>,
    pub(in crate::store) lead: Option<String>,
    pub(in crate::store) email: Option<String>,
    pub(in crate::store) phone: Option<String>,
}

impl Traces {
    pub(in crate::store) fn read(row: &impl Cells) -> Result<Self, StoreError> {
        let row = Columns::of("crm_contacts", row);
        Ok(Self {
            visit: row.get("roasd_click_id")?,
            fbclid: row.get("facebook_click_id")?,
            lead: row.get("meta_lead_id")?,
            email: row.get("email_hash")?,
            phone: row.get("phone_hash")?,
        })
    }
}

/// Takes tenant, contact, the visit that the contact carries and its fbclid. The visits that its
/// deals are credited by are its own or its company's.
pub(in crate::store) const VISITS: &str = "update click_tracking
     set has_consent = 0, fingerprint = null, ip = null, user_agent = null, fbclid = null
     where tenant = $1
       and (fingerprint is not null or ip is not null or user_agent is not null
           or fbclid is not null)
       and (id = $3 or fbclid = $4 or id in (
           select d.visit_id from crm_deals d
           join crm_deal_contacts l on l.tenant = d.tenant and l.deal_id = d.id
           where l.tenant = $1 and l.contact_id = $2 and d.visit_id is not null))";

/// Takes tenant and contact, as the following do.
pub(in crate::store) const CONVERSIONS: &str = "update conversion_tracking set visit_id = null
     where tenant = $1 and visit_id is not null and deal_id in (
         select deal_id from crm_deal_contacts where tenant = $1 and contact_id = $2)";

pub(in crate::store) const DEALS: &str = "update crm_deals set name = '', visit_id = null
     where tenant = $1 and id in (
         select deal_id from crm_deal_contacts where tenant = $1 and contact_id = $2)";

pub(in crate::store) const LINKS: &str =
    "delete from crm_deal_contacts where tenant = $1 and contact_id = $2";

pub(in crate::store) const CONTACT: &str = "delete from crm_contacts where tenant = $1 and id = $2";

/// Takes tenant, lead id, mail address and telephone number.
pub(in crate::store) const LEADS: &str = "delete from meta_leads
     where tenant = $1 and (id = $2 or email_hash = $3 or phone_hash = $4)
     returning id";

pub(in crate::store) const LEADS_BY_EMAIL: &str =
    "delete from meta_leads where tenant = $1 and email_hash = $2";

pub(in crate::store) const CONTACTS_BY_EMAIL: &str =
    "select id from crm_contacts where tenant = $1 and email_hash = $2 order by id";

pub(in crate::store) const RECEIPT: &str =
    "insert into erasures (tenant, contact_id, erased_at, asked_by, contacts, deals, visits, leads,
         deliveries)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     on conflict (tenant, contact_id) do update set
         erased_at = excluded.erased_at,
         contacts = erasures.contacts + excluded.contacts,
         deals = erasures.deals + excluded.deals,
         visits = erasures.visits + excluded.visits,
         leads = erasures.leads + excluded.leads,
         deliveries = erasures.deliveries + excluded.deliveries
     returning contact_id, erased_at, asked_by, contacts, deals, visits, leads, deliveries";

pub(in crate::store) const READ: &str =
    "select contact_id, erased_at, asked_by, contacts, deals, visits, leads, deliveries
     from erasures where tenant = $1 and contact_id = $2";

/// Reads a receipt.
pub(in crate::store) fn read(row: &impl Cells) -> Result<Erasure, StoreError> {
    let row = Columns::of(TABLE, row);
    Ok(Erasure {
        contact: row.id("contact_id")?,
        at: row.at("erased_at")?,
        asked_by: row.get("asked_by")?,
        contacts: row.count("contacts")?,
        deals: row.count("deals")?,
        visits: row.count("visits")?,
        leads: row.count("leads")?,
        deliveries: row.count("deliveries")?,
    })
}

/// Deliveries that are searched at a time for the name of somebody who is erased.
pub(in crate::store) const SEARCHED: i64 = 500;

/// Whether a delivery, as it is kept, names an id. One that cannot be unpacked tells nothing.
pub(in crate::store) fn delivery_names(kept: &[u8], id: &str) -> bool {
    unpacked(kept).is_ok_and(|body| names(&body, id))
}

/// Whether bytes name an id: as a word of its own, not as a part of a longer number.
fn names(body: &[u8], id: &str) -> bool {
    let word = id.as_bytes();
    let is_apart = |at: Option<&u8>| !at.is_some_and(u8::is_ascii_alphanumeric);
    !word.is_empty()
        && body.windows(word.len()).enumerate().any(|(at, found)| {
            let before = at.checked_sub(1).and_then(|before| body.get(before));
            found == word && is_apart(before) && is_apart(body.get(at + word.len()))
        })
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn an_id_is_a_word() {
        for (body, expected) in [
            (r#"{"objectId":77}"#, true),
            (r#"{"objectId":"77"}"#, true),
            ("[177,778]", false),
            ("77", true),
            ("", false),
        ] {
            assert_eq!(names(body.as_bytes(), "77"), expected, "{body}");
        }
        assert!(!names(b"77", ""));
    }
}
