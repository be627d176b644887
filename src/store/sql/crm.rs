//! Rows of deals, contacts and pipeline stages, and what tells one state of a deal from another.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::cells::{Cells, Columns};
use super::values::{attribution, clean, clean_opt, corrupt};
use crate::domain::deal::{Contact, ContactFacts, CrmAmount, Deal, PipelineStage};
use crate::domain::ids::{ContactId, DealId};
use crate::domain::time::{Timestamp, from_micros, to_micros};
use crate::domain::visit::KeyedHash;
use crate::store::StoreError;
use crate::store::crm::{CreditedDeal, UnsettledDeal};

const TABLE: &str = "crm_deals";
const CONTACTS: &str = "crm_contacts";
const STAGES: &str = "crm_pipeline_stages";

/// A deal without its history and contacts, which lie in tables of their own.
pub(in crate::store) fn read_bare(row: &impl Cells) -> Result<Deal, StoreError> {
    let row = Columns::of(TABLE, row);
    Ok(Deal {
        id: row.id("id")?,
        name: row.get("name")?,
        pipeline: row.id("pipeline_id")?,
        stage: row.id("stage_id")?,
        amount: row
            .get::<Option<String>>("amount_decimal")?
            .map(|decimal| {
                Ok::<_, StoreError>(CrmAmount {
                    decimal,
                    currency: row.get("amount_currency")?,
                })
            })
            .transpose()?,
        history: Vec::new(),
        contacts: Vec::new(),
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        is_archived: row.flag("is_archived")?,
    })
}

/// Reads rows of deals, in their order; `deals` are the same, with all that belongs to them.
pub(in crate::store) fn read_unsettled<R: Cells>(
    rows: &[R],
    mut deals: BTreeMap<DealId, Deal>,
) -> Result<Vec<UnsettledDeal>, StoreError> {
    rows.iter()
        .map(|row| {
            let columns = Columns::of(TABLE, row);
            let deal = deals
                .remove(&columns.id("id")?)
                .ok_or_else(|| corrupt(TABLE, "a deal is there twice"))?;
            Ok(UnsettledDeal {
                deal,
                revision: columns.get("revision")?,
                attribution: attribution(TABLE, columns)?,
            })
        })
        .collect()
}

/// A deal with its credit, without what settling needs.
pub(in crate::store) fn credited(deal: UnsettledDeal) -> CreditedDeal {
    CreditedDeal {
        deal: deal.deal,
        attribution: deal.attribution,
    }
}

/// When a deal was read that is kept.
pub(in crate::store) fn read_at(row: &impl Cells) -> Result<Timestamp, StoreError> {
    Columns::of(TABLE, row).at("read_at")
}

/// A deal's own row just as it will be read back.
pub(in crate::store) fn as_kept(deal: &Deal) -> Deal {
    Deal {
        name: clean(&deal.name).into_owned(),
        amount: deal.amount.as_ref().map(|amount| CrmAmount {
            decimal: clean(&amount.decimal).into_owned(),
            currency: clean_opt(amount.currency.as_deref()).map(Cow::into_owned),
        }),
        created_at: from_micros(to_micros(deal.created_at)),
        ..deal.clone()
    }
}

/// Whether a deal's own row differs from the one kept. Its stages and contacts lie elsewhere.
pub(in crate::store) fn differs(mut known: Deal, found: &Deal) -> bool {
    // When it last changed is not a fact of the deal that anything is counted by: a note
    // written on it moves that time too.
    known.updated_at = found.updated_at;
    known.history.clone_from(&found.history);
    known.contacts.clone_from(&found.contacts);
    let mut found = as_kept(found);
    if known.name.is_empty() {
        // A name that was erased with its person does not come back.
        found.name.clear();
    }
    known != found
}

/// What a contact tells just as it will be read back.
pub(in crate::store) fn facts_as_kept(facts: &ContactFacts) -> ContactFacts {
    let clean = |text: &Option<String>| clean_opt(text.as_deref()).map(Cow::into_owned);
    ContactFacts {
        roasd_click_id: clean(&facts.roasd_click_id),
        facebook_click_id: clean(&facts.facebook_click_id),
        meta_lead_id: clean(&facts.meta_lead_id),
        ad_id: clean(&facts.ad_id),
        ad_set_id: clean(&facts.ad_set_id),
        campaign_id: clean(&facts.campaign_id),
        first_url: clean(&facts.first_url),
        email: facts.email.clone(),
        phone: facts.phone.clone(),
        created_at: facts.created_at.map(|at| from_micros(to_micros(at))),
    }
}

/// Deals without those who were erased: neither a link to the contact nor the deal's name, which is
/// most often the person's.
pub(in crate::store) fn without_erased<'d>(
    deals: &'d [Deal],
    erased: &BTreeSet<ContactId>,
) -> Cow<'d, [Deal]> {
    let has_erased = |deal: &Deal| deal.contacts.iter().any(|id| erased.contains(id));
    if !deals.iter().any(has_erased) {
        return Cow::Borrowed(deals);
    }
    let mut deals = deals.to_vec();
    for deal in deals.iter_mut().filter(|deal| has_erased(deal)) {
        deal.contacts.retain(|id| !erased.contains(id));
        deal.name.clear();
    }
    Cow::Owned(deals)
}

/// Reads a contact.
pub(in crate::store) fn read_contact(row: &impl Cells) -> Result<Contact, StoreError> {
    let row = Columns::of(CONTACTS, row);
    Ok(Contact {
        id: row.id("id")?,
        facts: ContactFacts {
            roasd_click_id: row.get("roasd_click_id")?,
            facebook_click_id: row.get("facebook_click_id")?,
            meta_lead_id: row.get("meta_lead_id")?,
            ad_id: row.get("ad_id")?,
            ad_set_id: row.get("ad_set_id")?,
            campaign_id: row.get("campaign_id")?,
            first_url: row.get("first_url")?,
            email: row.get::<Option<String>>("email_hash")?.map(KeyedHash),
            phone: row.get::<Option<String>>("phone_hash")?.map(KeyedHash),
            created_at: row.at_opt("created_at")?,
        },
        updated_at: row.at("updated_at")?,
    })
}

/// When a contact was read that is kept.
pub(in crate::store) fn contact_read_at(row: &impl Cells) -> Result<Timestamp, StoreError> {
    Columns::of(CONTACTS, row).at("read_at")
}

/// Reads a stage of a pipeline.
pub(in crate::store) fn read_stage(row: &impl Cells) -> Result<PipelineStage, StoreError> {
    let row = Columns::of(STAGES, row);
    Ok(PipelineStage {
        pipeline: row.id("pipeline_id")?,
        id: row.id("id")?,
        label: row.get("label")?,
        order: row.get("place")?,
        is_won: row.flag("is_won")?,
        is_lost: row.flag("is_lost")?,
    })
}
