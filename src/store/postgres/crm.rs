//! Deals, contacts and the stages they passed. What the CRM said is recorded under the tenant's lock:
//! what is kept is read whole, the news is held against it, and the difference is written whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use sqlx::postgres::PgRow;

use super::session::Tx;
use super::{PostgresStore, Section, column};
use crate::domain::deal::{Contact, ContactFacts, Deal, PipelineStage, StageChange};
use crate::domain::ids::{ContactId, DealId, TenantId};
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::crm::{CreditedDeal, CrmStore, UnsettledDeal};
use crate::store::sql::crm::{
    contact_read_at, credited, facts_as_kept, read_at as kept_at, read_bare, read_contact,
    read_stage, read_unsettled, without_erased,
};
use crate::store::sql::last_of_each;
use crate::store::sql::recording::Recording;
use crate::store::sql::values::{clean, clean_opt, id, micros, micros_opt};

const READING: &str = "reading deals";

/// The columns of a deal. A `*` would break prepared statements when a later release adds one.
macro_rules! columns {
    () => {
        "id, name, pipeline_id, stage_id, amount_decimal, amount_currency, created_at, updated_at,
         is_archived, read_at, revision, method, confidence, ad_id, ad_set_id, campaign_id,
         visit_id, clicked_at, reason"
    };
}

/// The columns of a contact.
macro_rules! contact_columns {
    () => {
        "id, roasd_click_id, facebook_click_id, meta_lead_id, ad_id, ad_set_id, campaign_id,
         first_url, created_at, updated_at, read_at, email_hash, phone_hash"
    };
}

/// Strikes deals off the requests made up to `read_at`.
async fn strike(
    tx: &mut Tx,
    tenant: &TenantId,
    deals: &[&str],
    read_at: Timestamp,
) -> Result<(), StoreError> {
    // In the order in which others ask, so that neither waits for the other for ever.
    tx.run(
        sqlx::query(
            "with struck as materialized (
                 select deal_id from deal_requests
                 where tenant = $1 and deal_id = any ($2) and last_asked_at <= $3
                 order by deal_id for update)
             delete from deal_requests using struck
             where tenant = $1 and deal_requests.deal_id = struck.deal_id",
        )
        .bind(tenant.as_str())
        .bind(deals)
        .bind(micros(read_at)),
    )
    .await?;
    Ok(())
}

async fn events(
    tx: &mut Tx,
    tenant: &TenantId,
    deals: &[&str],
) -> Result<Vec<(String, i64, String)>, StoreError> {
    tx.list(
        sqlx::query_as(
            "select deal_id, entered_at, stage_id from crm_events
             where tenant = $1 and deal_id in (select unnest($2::text[]))
             order by deal_id, entered_at, stage_id",
        )
        .bind(tenant.as_str())
        .bind(deals),
    )
    .await
}

async fn contacts_of(
    tx: &mut Tx,
    tenant: &TenantId,
    deals: &[&str],
) -> Result<Vec<(String, String)>, StoreError> {
    tx.list(
        sqlx::query_as(
            "select deal_id, contact_id from crm_deal_contacts
             where tenant = $1 and deal_id in (select unnest($2::text[]))
             order by deal_id, contact_id",
        )
        .bind(tenant.as_str())
        .bind(deals),
    )
    .await
}

/// Reads rows of deals with all that belongs to them, in their order.
async fn read_all(
    tx: &mut Tx,
    tenant: &TenantId,
    rows: &[PgRow],
) -> Result<Vec<UnsettledDeal>, StoreError> {
    let mut deals = BTreeMap::new();
    for row in rows {
        let deal = read_bare(row)?;
        deals.insert(deal.id.clone(), deal);
    }
    let ids: Vec<String> = deals.keys().map(|id| id.as_str().to_owned()).collect();
    let ids = column(&ids, String::as_str);
    for (deal, at, stage) in events(tx, tenant, &ids).await? {
        if let Some(deal) = deals.get_mut(&id::<DealId>("crm_events", &deal)?) {
            deal.history.push(StageChange {
                at: from_micros(at),
                stage: id("crm_events", &stage)?,
            });
        }
    }
    for (deal, contact) in contacts_of(tx, tenant, &ids).await? {
        if let Some(deal) = deals.get_mut(&id::<DealId>("crm_deal_contacts", &deal)?) {
            deal.contacts.push(id("crm_deal_contacts", &contact)?);
        }
    }
    read_unsettled(rows, deals)
}

/// Reads what is kept of the deals.
async fn begin<'d>(
    tx: &mut Tx,
    tenant: &TenantId,
    deals: &'d [Deal],
) -> Result<Recording<'d>, StoreError> {
    let ids = column(deals, |deal| deal.id.as_str());
    let rows = tx
        .rows(
            sqlx::query(concat!(
                "select ",
                columns!(),
                " from crm_deals where tenant = $1 and id = any ($2) order by id for update"
            ))
            .bind(tenant.as_str())
            .bind(&ids),
        )
        .await?;
    let mut recording = Recording {
        events: events(tx, tenant, &ids).await?.into_iter().collect(),
        ..Recording::default()
    };
    for row in &rows {
        let deal = read_bare(row)?;
        let read_at = kept_at(row)?;
        recording.kept.insert(deal.id.clone(), (deal, read_at));
    }
    for (deal, contact) in contacts_of(tx, tenant, &ids).await? {
        recording.contacts.entry(deal).or_default().insert(contact);
    }
    Ok(recording)
}

/// Writes the differences.
async fn write(
    recording: Recording<'_>,
    tx: &mut Tx,
    tenant: &TenantId,
    read_at: Timestamp,
) -> Result<(), StoreError> {
    if !recording.new_events.is_empty() {
        tx.run(
            sqlx::query(
                "insert into crm_events (tenant, deal_id, entered_at, stage_id)
                     select $1, * from unnest($2::text[], $3::bigint[], $4::text[])
                     on conflict do nothing",
            )
            .bind(tenant.as_str())
            .bind(column(&recording.new_events, |(deal, ..)| *deal))
            .bind(column(&recording.new_events, |(_, at, _)| *at))
            .bind(column(&recording.new_events, |(.., stage)| *stage)),
        )
        .await?;
    }
    if !recording.other_contacts.is_empty() {
        replace_contacts(&recording, tx, tenant).await?;
    }
    let states: Vec<(&Deal, i64)> = recording.states.into_values().collect();
    if states.is_empty() {
        return Ok(());
    }
    tx.run(
            sqlx::query(
                "insert into crm_deals (tenant, read_at, settled_revision, id, name, pipeline_id,
                     stage_id, amount_decimal, amount_currency, created_at, updated_at,
                     is_archived, revision)
                 select $1, $2, 0, * from unnest($3::text[], $4::text[], $5::text[], $6::text[],
                     $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[],
                     $12::bigint[])
                 on conflict (tenant, id) do update set
                     name = case crm_deals.name when '' then '' else excluded.name end, pipeline_id = excluded.pipeline_id,
                     stage_id = excluded.stage_id, amount_decimal = excluded.amount_decimal,
                     amount_currency = excluded.amount_currency,
                     created_at = excluded.created_at, updated_at = excluded.updated_at,
                     is_archived = excluded.is_archived, read_at = excluded.read_at,
                     revision = crm_deals.revision + excluded.revision",
            )
            .bind(tenant.as_str())
            .bind(micros(read_at))
            .bind(column(&states, |(deal, _)| deal.id.as_str()))
            .bind(column(&states, |(deal, _)| clean(&deal.name)))
            .bind(column(&states, |(deal, _)| deal.pipeline.as_str()))
            .bind(column(&states, |(deal, _)| deal.stage.as_str()))
            .bind(column(&states, |(deal, _)| {
                deal.amount.as_ref().map(|amount| clean(&amount.decimal))
            }))
            .bind(column(&states, |(deal, _)| {
                deal.amount
                    .as_ref()
                    .and_then(|amount| clean_opt(amount.currency.as_deref()))
            }))
            .bind(column(&states, |(deal, _)| micros(deal.created_at)))
            .bind(column(&states, |(deal, _)| micros(deal.updated_at)))
            .bind(column(&states, |(deal, _)| i64::from(deal.is_archived)))
            .bind(column(&states, |(_, steps)| *steps)),
        )
        .await?;
    Ok(())
}

async fn replace_contacts(
    recording: &Recording<'_>,
    tx: &mut Tx,
    tenant: &TenantId,
) -> Result<(), StoreError> {
    let deals: Vec<&str> = recording.other_contacts.iter().copied().collect();
    let pairs = recording.contact_pairs();
    tx.run(
        sqlx::query("delete from crm_deal_contacts where tenant = $1 and deal_id = any ($2)")
            .bind(tenant.as_str())
            .bind(&deals),
    )
    .await?;
    tx.run(
        sqlx::query(
            "insert into crm_deal_contacts (tenant, deal_id, contact_id)
                 select $1, * from unnest($2::text[], $3::text[])",
        )
        .bind(tenant.as_str())
        .bind(column(&pairs, |(deal, _)| *deal))
        .bind(column(&pairs, |(_, contact)| contact.as_str())),
    )
    .await?;
    Ok(())
}

/// Contacts that were erased on request: they are not brought back by a later read.
async fn erased(tx: &mut Tx, tenant: &TenantId) -> Result<BTreeSet<ContactId>, StoreError> {
    let select = sqlx::query_as("select contact_id from erasures where tenant = $1");
    let ids: Vec<(String,)> = tx.list(select.bind(tenant.as_str())).await?;
    ids.iter()
        .map(|(contact,)| id("erasures", contact))
        .collect()
}

/// Writes the last state of each contact.
async fn write_contacts(
    tx: &mut Tx,
    tenant: &TenantId,
    contacts: &[&Contact],
    read_at: Timestamp,
) -> Result<(), StoreError> {
    let fact = |of: fn(&ContactFacts) -> &Option<String>| {
        column(contacts, |contact| clean_opt(of(&contact.facts).as_deref()))
    };
    tx.run(
        sqlx::query(
            "insert into crm_contacts (tenant, read_at, id, roasd_click_id, facebook_click_id,
                 meta_lead_id, ad_id, ad_set_id, campaign_id, first_url, created_at, updated_at,
                 email_hash, phone_hash)
             select $1, $2, * from unnest($3::text[], $4::text[], $5::text[], $6::text[],
                 $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[], $12::bigint[],
                 $13::text[], $14::text[])
             on conflict (tenant, id) do update set
                 roasd_click_id = excluded.roasd_click_id,
                 facebook_click_id = excluded.facebook_click_id,
                 meta_lead_id = excluded.meta_lead_id, ad_id = excluded.ad_id,
                 ad_set_id = excluded.ad_set_id, campaign_id = excluded.campaign_id,
                 first_url = excluded.first_url, created_at = excluded.created_at,
                 updated_at = excluded.updated_at, read_at = excluded.read_at,
                 email_hash = excluded.email_hash, phone_hash = excluded.phone_hash",
        )
        .bind(tenant.as_str())
        .bind(micros(read_at))
        .bind(column(contacts, |contact| contact.id.as_str()))
        .bind(fact(|facts| &facts.roasd_click_id))
        .bind(fact(|facts| &facts.facebook_click_id))
        .bind(fact(|facts| &facts.meta_lead_id))
        .bind(fact(|facts| &facts.ad_id))
        .bind(fact(|facts| &facts.ad_set_id))
        .bind(fact(|facts| &facts.campaign_id))
        .bind(fact(|facts| &facts.first_url))
        .bind(column(contacts, |contact| {
            micros_opt(contact.facts.created_at)
        }))
        .bind(column(contacts, |contact| micros(contact.updated_at)))
        .bind(column(contacts, |contact| {
            contact.facts.email.as_ref().map(|hash| hash.0.as_str())
        }))
        .bind(column(contacts, |contact| {
            contact.facts.phone.as_ref().map(|hash| hash.0.as_str())
        })),
    )
    .await?;
    Ok(())
}

#[async_trait]
impl CrmStore for PostgresStore {
    async fn request_deals(
        &self,
        tenant: &TenantId,
        deals: &[DealId],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // In the order of their keys, as whoever settles a delivery asks.
        let deals = last_of_each(deals, DealId::as_str);
        let mut tx = self.write_for(tenant, "asking for deals").await?;
        tx.run(
            sqlx::query(
                "insert into deal_requests (tenant, deal_id, first_asked_at, last_asked_at)
                 select $1, deal_id, $3, $3 from unnest($2::text[]) as asked (deal_id)
                 order by deal_id
                 on conflict (tenant, deal_id) do update set last_asked_at = excluded.last_asked_at
                 where excluded.last_asked_at > deal_requests.last_asked_at",
            )
            .bind(tenant.as_str())
            .bind(column(&deals, |deal| deal.as_str()))
            .bind(micros(now)),
        )
        .await?;
        tx.commit().await
    }

    async fn requested_deals(
        &self,
        tenant: &TenantId,
        limit: u32,
    ) -> Result<Vec<DealId>, StoreError> {
        let select = sqlx::query_as(
            "select deal_id from deal_requests where tenant = $1
             order by first_asked_at, deal_id limit $2",
        )
        .bind(tenant.as_str())
        .bind(i64::from(limit));
        let ids: Vec<(String,)> = self
            .list("reading which deals are asked for", select)
            .await?;
        ids.iter()
            .map(|(deal,)| id("deal_requests", deal))
            .collect()
    }

    async fn record_deals(
        &self,
        tenant: &TenantId,
        deals: &[Deal],
        missing: &[DealId],
        read_at: Timestamp,
    ) -> Result<u64, StoreError> {
        let doing = "recording deals";
        let mut tx = self.write_in(Section::Crm, tenant, doing).await?;
        let erased = erased(&mut tx, tenant).await?;
        let deals = &without_erased(deals, &erased)[..];
        let mut recording = begin(&mut tx, tenant, deals).await?;
        let mut different = 0;
        for deal in deals {
            different += u64::from(recording.take_up(deal, read_at));
        }
        write(recording, &mut tx, tenant, read_at).await?;
        if !missing.is_empty() {
            different += tx
                .run(
                    sqlx::query(
                        "update crm_deals
                         set is_archived = 1, read_at = $3, revision = revision + 1
                         where tenant = $1 and id = any ($2) and is_archived = 0
                           and read_at <= $3",
                    )
                    .bind(tenant.as_str())
                    .bind(column(missing, |deal| deal.as_str()))
                    .bind(micros(read_at)),
                )
                .await?;
        }
        let done: Vec<&str> = deals
            .iter()
            .map(|deal| deal.id.as_str())
            .chain(missing.iter().map(DealId::as_str))
            .collect();
        strike(&mut tx, tenant, &done, read_at).await?;
        tx.commit().await?;
        Ok(different)
    }

    async fn record_contacts(
        &self,
        tenant: &TenantId,
        contacts: &[Contact],
        read_at: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "recording contacts";
        let mut tx = self.write_in(Section::Crm, tenant, doing).await?;
        let erased = erased(&mut tx, tenant).await?;
        let contacts: Vec<Contact> = contacts
            .iter()
            .filter(|contact| !erased.contains(&contact.id))
            .cloned()
            .collect();
        let contacts = contacts.as_slice();
        let rows = tx
            .rows(
                sqlx::query(concat!(
                    "select ",
                    contact_columns!(),
                    " from crm_contacts where tenant = $1 and id = any ($2)"
                ))
                .bind(tenant.as_str())
                .bind(column(contacts, |contact| contact.id.as_str())),
            )
            .await?;
        let mut kept: HashMap<ContactId, (ContactFacts, Timestamp)> = HashMap::new();
        for row in &rows {
            let contact = read_contact(row)?;
            kept.insert(contact.id, (contact.facts, contact_read_at(row)?));
        }
        let mut changed = BTreeSet::new();
        let mut written = Vec::new();
        for contact in contacts {
            let facts = facts_as_kept(&contact.facts);
            match kept.get(&contact.id) {
                Some((_, kept_at)) if *kept_at > read_at => continue,
                Some((known, _)) if *known == facts => {}
                _ => {
                    changed.insert(contact.id.as_str());
                }
            }
            kept.insert(contact.id.clone(), (facts, read_at));
            written.push(contact);
        }
        let written: Vec<&Contact> = last_of_each(&written, |contact| contact.id.as_str())
            .into_iter()
            .copied()
            .collect();
        if !written.is_empty() {
            write_contacts(&mut tx, tenant, &written, read_at).await?;
        }
        if !changed.is_empty() {
            tx.run(
                sqlx::query(
                    "update crm_deals set revision = revision + 1
                     where tenant = $1 and id in (
                         select deal_id from crm_deal_contacts
                         where tenant = $1 and contact_id = any ($2))",
                )
                .bind(tenant.as_str())
                .bind(changed.into_iter().collect::<Vec<_>>()),
            )
            .await?;
        }
        tx.commit().await
    }

    async fn deals_of(
        &self,
        tenant: &TenantId,
        contacts: &[ContactId],
    ) -> Result<Vec<DealId>, StoreError> {
        let select = sqlx::query_as(
            "select distinct deal_id from crm_deal_contacts
             where tenant = $1 and contact_id in (select unnest($2::text[])) order by deal_id",
        )
        .bind(tenant.as_str())
        .bind(column(contacts, |contact| contact.as_str()));
        let deals: Vec<(String,)> = self.list("reading the deals of contacts", select).await?;
        deals
            .iter()
            .map(|(deal,)| id("crm_deal_contacts", deal))
            .collect()
    }

    async fn contacts(
        &self,
        tenant: &TenantId,
        ids: &[ContactId],
    ) -> Result<Vec<Contact>, StoreError> {
        let query = sqlx::query(concat!(
            "select ",
            contact_columns!(),
            " from crm_contacts where tenant = $1 and id in (select unnest($2::text[])) order by id"
        ))
        .bind(tenant.as_str())
        .bind(column(ids, |id| id.as_str()));
        let rows = self.rows("reading contacts", query).await?;
        rows.iter().map(read_contact).collect()
    }

    async fn unsettled_deals(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<UnsettledDeal>, StoreError> {
        let mut tx = self.snapshot(READING).await?;
        let rows = tx
            .rows(
                sqlx::query(concat!(
                    "select ",
                    columns!(),
                    " from crm_deals where tenant = $1 and id in (
                         select id from crm_deals where tenant = $1 and revision > settled_revision
                         union
                         select id from crm_deals
                         where tenant = $1 and retry_at is not null and retry_at <= $2)
                     order by id limit $3"
                ))
                .bind(tenant.as_str())
                .bind(micros(now))
                .bind(i64::from(limit)),
            )
            .await?;
        read_all(&mut tx, tenant, &rows).await
    }

    async fn unsettle_deals(
        &self,
        tenant: &TenantId,
        after: Option<&DealId>,
        limit: u32,
    ) -> Result<Option<DealId>, StoreError> {
        let after = after.map_or("", DealId::as_str);
        let mut tx = self.write_for(tenant, "unsettling deals").await?;
        let (last,): (Option<String>,) = tx
            .one(
                sqlx::query_as(
                    "select max(id) from (
                         select id from crm_deals where tenant = $1 and id > $2
                         order by id limit $3) as next",
                )
                .bind(tenant.as_str())
                .bind(after)
                .bind(i64::from(limit)),
            )
            .await?;
        if let Some(last) = &last {
            tx.run(
                sqlx::query(
                    "update crm_deals set revision = revision + 1
                     where tenant = $1 and id > $2 and id <= $3 and revision <= settled_revision",
                )
                .bind(tenant.as_str())
                .bind(after)
                .bind(last),
            )
            .await?;
        }
        tx.commit().await?;
        last.map(|last| id("crm_deals", &last)).transpose()
    }

    async fn deal(
        &self,
        tenant: &TenantId,
        id: &DealId,
    ) -> Result<Option<CreditedDeal>, StoreError> {
        let mut tx = self.snapshot(READING).await?;
        let rows = tx
            .rows(
                sqlx::query(concat!(
                    "select ",
                    columns!(),
                    " from crm_deals where tenant = $1 and id = $2"
                ))
                .bind(tenant.as_str())
                .bind(id.as_str()),
            )
            .await?;
        Ok(read_all(&mut tx, tenant, &rows).await?.pop().map(credited))
    }

    async fn deals_since(
        &self,
        tenant: &TenantId,
        since: Timestamp,
    ) -> Result<Vec<CreditedDeal>, StoreError> {
        let mut tx = self.snapshot(READING).await?;
        let rows = tx
            .rows(
                sqlx::query(concat!(
                    "select ",
                    columns!(),
                    " from crm_deals where tenant = $1 and created_at >= $2 order by id"
                ))
                .bind(tenant.as_str())
                .bind(micros(since)),
            )
            .await?;
        let deals = read_all(&mut tx, tenant, &rows).await?;
        Ok(deals.into_iter().map(credited).collect())
    }

    async fn deals_made_since(
        &self,
        tenant: &TenantId,
        since: Timestamp,
    ) -> Result<Vec<Timestamp>, StoreError> {
        let select = sqlx::query_as(
            "select created_at from crm_deals
             where tenant = $1 and created_at >= $2 and is_archived = 0 order by created_at",
        )
        .bind(tenant.as_str())
        .bind(micros(since));
        let made: Vec<(i64,)> = self.list(READING, select).await?;
        Ok(made.into_iter().map(|(at,)| from_micros(at)).collect())
    }

    async fn record_pipeline_stages(
        &self,
        tenant: &TenantId,
        stages: &[PipelineStage],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "recording pipeline stages";
        let mut tx = self.write_in(Section::Crm, tenant, doing).await?;
        tx.run(
            sqlx::query("delete from crm_pipeline_stages where tenant = $1").bind(tenant.as_str()),
        )
        .await?;
        tx.run(
            sqlx::query(
                "insert into crm_pipeline_stages (tenant, read_at, pipeline_id, id, label, place,
                     is_won, is_lost)
                 select $1, $2, * from unnest($3::text[], $4::text[], $5::text[], $6::bigint[],
                     $7::bigint[], $8::bigint[])",
            )
            .bind(tenant.as_str())
            .bind(micros(now))
            .bind(column(stages, |stage| stage.pipeline.as_str()))
            .bind(column(stages, |stage| stage.id.as_str()))
            .bind(column(stages, |stage| clean(&stage.label)))
            .bind(column(stages, |stage| stage.order))
            .bind(column(stages, |stage| i64::from(stage.is_won)))
            .bind(column(stages, |stage| i64::from(stage.is_lost))),
        )
        .await?;
        tx.commit().await
    }

    async fn pipeline_stages(&self, tenant: &TenantId) -> Result<Vec<PipelineStage>, StoreError> {
        let query = sqlx::query(
            "select pipeline_id, id, label, place, is_won, is_lost from crm_pipeline_stages
             where tenant = $1 order by pipeline_id, place, id",
        )
        .bind(tenant.as_str());
        let rows = self.rows("reading pipeline stages", query).await?;
        rows.iter().map(read_stage).collect()
    }
}
