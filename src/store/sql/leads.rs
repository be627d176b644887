//! Rows of `meta_leads`; both stores take the statements as they are.

use super::cells::{Cells, Columns};
use crate::domain::ids::LeadId;
use crate::domain::lead::Lead;
use crate::domain::visit::KeyedHash;
use crate::store::StoreError;
use crate::store::leads::{LeadKeys, WantedLead};

const TABLE: &str = "meta_leads";

pub(in crate::store) const REQUEST: &str =
    "insert into meta_leads (tenant, id, told_at, due_at) values ($1, $2, $3, $3)
     on conflict (tenant, id) do nothing";

pub(in crate::store) const REQUESTED: &str = "select id, told_at, attempt from meta_leads
     where tenant = $1 and due_at is not null and due_at <= $2 order by due_at, id limit $3";

pub(in crate::store) const RECORD: &str =
    "update meta_leads set due_at = null, fault = null, attempt = attempt + 1, made_at = $3,
         form_id = $4, ad_id = $5, ad_set_id = $6, campaign_id = $7, email_hash = $8,
         phone_hash = $9
     where tenant = $1 and id = $2";

/// The deals that a lead may be credited for: their contacts carry its id, or its person.
pub(in crate::store) const UNSETTLE: &str = "update crm_deals set revision = revision + 1
     where tenant = $1 and id in (
         select l.deal_id from crm_deal_contacts l
         join crm_contacts c on c.tenant = l.tenant and c.id = l.contact_id
         where l.tenant = $1
           and (c.meta_lead_id = $2 or c.email_hash = $3 or c.phone_hash = $4))";

pub(in crate::store) const PUT_OFF: &str =
    "update meta_leads set due_at = $3, fault = $4, attempt = attempt + 1
     where tenant = $1 and id = $2";

/// Leads by many values of one column, which the backend says how to compare with.
macro_rules! leads_by {
    ($column:literal, $among:literal) => {
        concat!(
            "select id, made_at, form_id, ad_id, ad_set_id, campaign_id, email_hash, phone_hash
             from meta_leads where tenant = $1 and made_at is not null and ",
            $column,
            $among
        )
    };
}
pub(in crate::store) use leads_by;

/// Ids, mail addresses and telephone numbers, each as plain values.
pub(in crate::store) fn values(keys: &LeadKeys) -> [Vec<&str>; 3] {
    [
        keys.ids.iter().map(LeadId::as_str).collect(),
        keys.emails.iter().map(|hash| hash.0.as_str()).collect(),
        keys.phones.iter().map(|hash| hash.0.as_str()).collect(),
    ]
}

/// Reads a lead.
pub(in crate::store) fn read(row: &impl Cells) -> Result<Lead, StoreError> {
    let row = Columns::of(TABLE, row);
    let hash = |name: &str| Ok::<_, StoreError>(row.get::<Option<String>>(name)?.map(KeyedHash));
    Ok(Lead {
        id: row.id("id")?,
        made_at: row.at("made_at")?,
        form: row.get("form_id")?,
        ad: row.id_opt("ad_id")?,
        ad_set: row.id_opt("ad_set_id")?,
        campaign: row.id_opt("campaign_id")?,
        email: hash("email_hash")?,
        phone: hash("phone_hash")?,
    })
}

/// Reads a lead that is to be read.
pub(in crate::store) fn wanted(row: &impl Cells) -> Result<WantedLead, StoreError> {
    let row = Columns::of(TABLE, row);
    Ok(WantedLead {
        id: row.id("id")?,
        told_at: row.at("told_at")?,
        attempt: u32::try_from(row.get::<i64>("attempt")?).unwrap_or(u32::MAX),
    })
}

/// Leads without repeats, in order of id.
pub(in crate::store) fn in_order(mut leads: Vec<Lead>) -> Vec<Lead> {
    leads.sort_by(|a, b| a.id.cmp(&b.id));
    leads.dedup_by(|a, b| a.id == b.id);
    leads
}
