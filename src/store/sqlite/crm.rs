//! Deals, contacts and the stages they passed.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::faults::fault;
use super::{BIND_LIMIT, SqliteStore};
use crate::domain::deal::{Contact, Deal, PipelineStage, StageChange};
use crate::domain::ids::{ContactId, DealId, TenantId};
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::crm::{CreditedDeal, CrmStore, UnsettledDeal};
use crate::store::sql::crm::{
    contact_read_at, credited, differs, facts_as_kept, read_at as kept_at, read_bare, read_contact,
    read_stage, read_unsettled, without_erased,
};
use crate::store::sql::values::{clean, clean_opt, id, micros, micros_opt};

const READING: &str = "reading deals";

/// Asks for deals, within the transaction of what made them wanted.
pub(super) async fn request(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    deals: &[DealId],
    now: Timestamp,
) -> Result<(), StoreError> {
    for deal in deals {
        sqlx::query(
            "insert into deal_requests (tenant, deal_id, first_asked_at, last_asked_at)
             values ($1, $2, $3, $3)
             on conflict (tenant, deal_id) do update set last_asked_at = excluded.last_asked_at
             where excluded.last_asked_at > deal_requests.last_asked_at",
        )
        .bind(tenant.as_str())
        .bind(deal.as_str())
        .bind(micros(now))
        .execute(&mut *conn)
        .await
        .map_err(fault("asking for deals"))?;
    }
    Ok(())
}

/// Contacts that were erased on request: they are not brought back by a later read.
async fn erased(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
) -> Result<BTreeSet<ContactId>, StoreError> {
    let ids: Vec<String> = sqlx::query_scalar("select contact_id from erasures where tenant = $1")
        .bind(tenant.as_str())
        .fetch_all(conn)
        .await
        .map_err(fault("reading who was erased"))?;
    ids.iter().map(|contact| id("erasures", contact)).collect()
}

/// Fills in the histories and contacts of deals read in the same transaction.
async fn complete(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    deals: &mut BTreeMap<DealId, Deal>,
) -> Result<(), StoreError> {
    let ids: Vec<String> = deals.keys().map(|id| id.as_str().to_owned()).collect();
    for chunk in ids.chunks(BIND_LIMIT - 1) {
        let events: Vec<(String, i64, String)> = among(
            "select deal_id, entered_at, stage_id from crm_events where tenant = ",
            tenant,
            " and deal_id",
            chunk,
            " order by deal_id, entered_at, stage_id",
        )
        .build_query_as()
        .persistent(false)
        .fetch_all(&mut *conn)
        .await
        .map_err(fault(READING))?;
        for (deal, at, stage) in events {
            if let Some(deal) = deals.get_mut(&id::<DealId>("crm_events", &deal)?) {
                deal.history.push(StageChange {
                    at: from_micros(at),
                    stage: id("crm_events", &stage)?,
                });
            }
        }
        let contacts: Vec<(String, String)> = among(
            "select deal_id, contact_id from crm_deal_contacts where tenant = ",
            tenant,
            " and deal_id",
            chunk,
            " order by deal_id, contact_id",
        )
        .build_query_as()
        .persistent(false)
        .fetch_all(&mut *conn)
        .await
        .map_err(fault(READING))?;
        for (deal, contact) in contacts {
            if let Some(deal) = deals.get_mut(&id::<DealId>("crm_deal_contacts", &deal)?) {
                deal.contacts.push(id("crm_deal_contacts", &contact)?);
            }
        }
    }
    Ok(())
}

/// A statement with a list of ids in it; the caller keeps the list below the bind limit.
fn among(
    head: &'static str,
    tenant: &TenantId,
    column: &'static str,
    ids: &[String],
    tail: &'static str,
) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(head);
    query.push_bind(tenant.as_str().to_owned());
    query.push(column).push(" in (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id.clone());
    }
    query.push(")").push(tail);
    query
}

/// Reads rows of deals with all that belongs to them, in order of id.
async fn read_all(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    rows: &[SqliteRow],
) -> Result<Vec<UnsettledDeal>, StoreError> {
    let mut deals = BTreeMap::new();
    for row in rows {
        let deal = read_bare(row)?;
        deals.insert(deal.id.clone(), deal);
    }
    complete(conn, tenant, &mut deals).await?;
    read_unsettled(rows, deals)
}

/// Records one deal; `true` when it differs from before.
async fn record(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    deal: &Deal,
    read_at: Timestamp,
) -> Result<bool, StoreError> {
    let doing = "recording a deal";
    let before = sqlx::query("select * from crm_deals where tenant = $1 and id = $2")
        .bind(tenant.as_str())
        .bind(deal.id.as_str())
        .fetch_optional(&mut *conn)
        .await
        .map_err(fault(doing))?;
    if let Some(row) = &before
        && kept_at(row)? > read_at
    {
        return Ok(false);
    }
    let mut is_new_state = true;
    if let Some(row) = &before {
        is_new_state = differs(read_bare(row)?, deal);
    }
    for change in &deal.history {
        let done = sqlx::query(
            "insert into crm_events (tenant, deal_id, entered_at, stage_id)
             values ($1, $2, $3, $4) on conflict do nothing",
        )
        .bind(tenant.as_str())
        .bind(deal.id.as_str())
        .bind(micros(change.at))
        .bind(change.stage.as_str())
        .execute(&mut *conn)
        .await
        .map_err(fault(doing))?;
        is_new_state |= done.rows_affected() > 0;
    }
    is_new_state |= replace_contacts(conn, tenant, deal).await?;
    sqlx::query(
        "insert into crm_deals (tenant, id, name, pipeline_id, stage_id, amount_decimal,
             amount_currency, created_at, updated_at, is_archived, read_at, revision,
             settled_revision)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, 0)
         on conflict (tenant, id) do update set
             name = case crm_deals.name when '' then '' else excluded.name end, pipeline_id = excluded.pipeline_id,
             stage_id = excluded.stage_id, amount_decimal = excluded.amount_decimal,
             amount_currency = excluded.amount_currency, created_at = excluded.created_at,
             updated_at = excluded.updated_at, is_archived = excluded.is_archived,
             read_at = excluded.read_at, revision = crm_deals.revision + $12",
    )
    .bind(tenant.as_str())
    .bind(deal.id.as_str())
    .bind(clean(&deal.name))
    .bind(deal.pipeline.as_str())
    .bind(deal.stage.as_str())
    .bind(deal.amount.as_ref().map(|amount| clean(&amount.decimal)))
    .bind(
        deal.amount
            .as_ref()
            .and_then(|amount| clean_opt(amount.currency.as_deref())),
    )
    .bind(micros(deal.created_at))
    .bind(micros(deal.updated_at))
    .bind(i64::from(deal.is_archived))
    .bind(micros(read_at))
    .bind(i64::from(is_new_state))
    .execute(conn)
    .await
    .map_err(fault(doing))?;
    Ok(is_new_state)
}

/// Makes a deal's contacts those of `deal`; `true` when they were others.
async fn replace_contacts(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    deal: &Deal,
) -> Result<bool, StoreError> {
    let doing = "recording a deal's contacts";
    let known: Vec<String> = sqlx::query_scalar(
        "select contact_id from crm_deal_contacts where tenant = $1 and deal_id = $2",
    )
    .bind(tenant.as_str())
    .bind(deal.id.as_str())
    .fetch_all(&mut *conn)
    .await
    .map_err(fault(doing))?;
    let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    let wanted: BTreeSet<&str> = deal.contacts.iter().map(|id| id.as_str()).collect();
    if known == wanted {
        return Ok(false);
    }
    sqlx::query("delete from crm_deal_contacts where tenant = $1 and deal_id = $2")
        .bind(tenant.as_str())
        .bind(deal.id.as_str())
        .execute(&mut *conn)
        .await
        .map_err(fault(doing))?;
    for contact in wanted {
        sqlx::query(
            "insert into crm_deal_contacts (tenant, deal_id, contact_id) values ($1, $2, $3)",
        )
        .bind(tenant.as_str())
        .bind(deal.id.as_str())
        .bind(contact)
        .execute(&mut *conn)
        .await
        .map_err(fault(doing))?;
    }
    Ok(true)
}

/// Records one contact; `true` when its facts differ from before.
async fn record_contact(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    contact: &Contact,
    read_at: Timestamp,
) -> Result<bool, StoreError> {
    let doing = "recording a contact";
    let before = sqlx::query("select * from crm_contacts where tenant = $1 and id = $2")
        .bind(tenant.as_str())
        .bind(contact.id.as_str())
        .fetch_optional(&mut *conn)
        .await
        .map_err(fault(doing))?;
    let mut differs = true;
    if let Some(row) = &before {
        if contact_read_at(row)? > read_at {
            return Ok(false);
        }
        differs = read_contact(row)?.facts != facts_as_kept(&contact.facts);
    }
    let facts = &contact.facts;
    sqlx::query(
        "insert into crm_contacts (tenant, id, roasd_click_id, facebook_click_id, meta_lead_id,
             ad_id, ad_set_id, campaign_id, first_url, created_at, updated_at, read_at, email_hash,
             phone_hash)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
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
    .bind(contact.id.as_str())
    .bind(clean_opt(facts.roasd_click_id.as_deref()))
    .bind(clean_opt(facts.facebook_click_id.as_deref()))
    .bind(clean_opt(facts.meta_lead_id.as_deref()))
    .bind(clean_opt(facts.ad_id.as_deref()))
    .bind(clean_opt(facts.ad_set_id.as_deref()))
    .bind(clean_opt(facts.campaign_id.as_deref()))
    .bind(clean_opt(facts.first_url.as_deref()))
    .bind(micros_opt(facts.created_at))
    .bind(micros(contact.updated_at))
    .bind(micros(read_at))
    .bind(facts.email.as_ref().map(|hash| hash.0.as_str()))
    .bind(facts.phone.as_ref().map(|hash| hash.0.as_str()))
    .execute(conn)
    .await
    .map_err(fault(doing))?;
    Ok(differs)
}

#[async_trait]
impl CrmStore for SqliteStore {
    async fn request_deals(
        &self,
        tenant: &TenantId,
        deals: &[DealId],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "asking for deals";
        let mut tx = self.write_for(tenant, doing).await?;
        request(&mut tx, tenant, deals, now).await?;
        tx.commit().await.map_err(fault(doing))
    }

    async fn requested_deals(
        &self,
        tenant: &TenantId,
        limit: u32,
    ) -> Result<Vec<DealId>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar(
            "select deal_id from deal_requests where tenant = $1
             order by first_asked_at, deal_id limit $2",
        )
        .bind(tenant.as_str())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading which deals are asked for"))?;
        ids.iter().map(|deal| id("deal_requests", deal)).collect()
    }

    async fn record_deals(
        &self,
        tenant: &TenantId,
        deals: &[Deal],
        missing: &[DealId],
        read_at: Timestamp,
    ) -> Result<u64, StoreError> {
        let doing = "recording deals";
        let mut tx = self.write_for(tenant, doing).await?;
        let mut different = 0;
        let erased = erased(&mut tx, tenant).await?;
        for deal in without_erased(deals, &erased).iter() {
            different += u64::from(record(&mut tx, tenant, deal, read_at).await?);
        }
        for deal in missing {
            let done = sqlx::query(
                "update crm_deals
                 set is_archived = 1, read_at = $3, revision = revision + 1
                 where tenant = $1 and id = $2 and is_archived = 0 and read_at <= $3",
            )
            .bind(tenant.as_str())
            .bind(deal.as_str())
            .bind(micros(read_at))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
            different += done.rows_affected();
        }
        for deal in deals.iter().map(|deal| &deal.id).chain(missing) {
            sqlx::query(
                "delete from deal_requests
                 where tenant = $1 and deal_id = $2 and last_asked_at <= $3",
            )
            .bind(tenant.as_str())
            .bind(deal.as_str())
            .bind(micros(read_at))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))?;
        Ok(different)
    }

    async fn record_contacts(
        &self,
        tenant: &TenantId,
        contacts: &[Contact],
        read_at: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "recording contacts";
        let mut tx = self.write_for(tenant, doing).await?;
        let erased = erased(&mut tx, tenant).await?;
        for contact in contacts
            .iter()
            .filter(|contact| !erased.contains(&contact.id))
        {
            if !record_contact(&mut tx, tenant, contact, read_at).await? {
                continue;
            }
            sqlx::query(
                "update crm_deals set revision = revision + 1
                 where tenant = $1 and id in (
                     select deal_id from crm_deal_contacts where tenant = $1 and contact_id = $2)",
            )
            .bind(tenant.as_str())
            .bind(contact.id.as_str())
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn deals_of(
        &self,
        tenant: &TenantId,
        contacts: &[ContactId],
    ) -> Result<Vec<DealId>, StoreError> {
        let mut deals = BTreeSet::new();
        for contact in contacts {
            let found: Vec<String> = sqlx::query_scalar(
                "select deal_id from crm_deal_contacts where tenant = $1 and contact_id = $2",
            )
            .bind(tenant.as_str())
            .bind(contact.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading the deals of contacts"))?;
            for deal in found {
                deals.insert(id("crm_deal_contacts", &deal)?);
            }
        }
        Ok(deals.into_iter().collect())
    }

    async fn contacts(
        &self,
        tenant: &TenantId,
        ids: &[ContactId],
    ) -> Result<Vec<Contact>, StoreError> {
        let ids: Vec<String> = ids.iter().map(|id| id.as_str().to_owned()).collect();
        let mut contacts = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(BIND_LIMIT - 1) {
            let rows = among(
                "select * from crm_contacts where tenant = ",
                tenant,
                " and id",
                chunk,
                "",
            )
            .build()
            .persistent(false)
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading contacts"))?;
            for row in &rows {
                contacts.push(read_contact(row)?);
            }
        }
        contacts.sort_by(|a, b| a.id.cmp(&b.id));
        contacts.dedup_by(|a, b| a.id == b.id);
        Ok(contacts)
    }

    async fn unsettled_deals(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<UnsettledDeal>, StoreError> {
        let mut tx = self.snapshot(READING).await?;
        let rows = sqlx::query(
            "select * from crm_deals where tenant = $1 and id in (
                 select id from crm_deals where tenant = $1 and revision > settled_revision
                 union
                 select id from crm_deals
                 where tenant = $1 and retry_at is not null and retry_at <= $2)
             order by id limit $3",
        )
        .bind(tenant.as_str())
        .bind(micros(now))
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(fault(READING))?;
        read_all(&mut tx, tenant, &rows).await
    }

    async fn unsettle_deals(
        &self,
        tenant: &TenantId,
        after: Option<&DealId>,
        limit: u32,
    ) -> Result<Option<DealId>, StoreError> {
        let doing = "unsettling deals";
        let after = after.map_or("", DealId::as_str);
        let mut tx = self.write_for(tenant, doing).await?;
        let last: Option<String> = sqlx::query_scalar(
            "select max(id) from (
                 select id from crm_deals where tenant = $1 and id > $2 order by id limit $3)",
        )
        .bind(tenant.as_str())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_one(&mut *tx)
        .await
        .map_err(fault(doing))?;
        if let Some(last) = &last {
            sqlx::query(
                "update crm_deals set revision = revision + 1
                 where tenant = $1 and id > $2 and id <= $3 and revision <= settled_revision",
            )
            .bind(tenant.as_str())
            .bind(after)
            .bind(last)
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))?;
        last.map(|last| id("crm_deals", &last)).transpose()
    }

    async fn deal(
        &self,
        tenant: &TenantId,
        id: &DealId,
    ) -> Result<Option<CreditedDeal>, StoreError> {
        let mut tx = self.snapshot(READING).await?;
        let rows = sqlx::query("select * from crm_deals where tenant = $1 and id = $2")
            .bind(tenant.as_str())
            .bind(id.as_str())
            .fetch_all(&mut *tx)
            .await
            .map_err(fault(READING))?;
        Ok(read_all(&mut tx, tenant, &rows).await?.pop().map(credited))
    }

    async fn deals_since(
        &self,
        tenant: &TenantId,
        since: Timestamp,
    ) -> Result<Vec<CreditedDeal>, StoreError> {
        let mut tx = self.snapshot(READING).await?;
        let rows = sqlx::query(
            "select * from crm_deals where tenant = $1 and created_at >= $2 order by id",
        )
        .bind(tenant.as_str())
        .bind(micros(since))
        .fetch_all(&mut *tx)
        .await
        .map_err(fault(READING))?;
        let deals = read_all(&mut tx, tenant, &rows).await?;
        Ok(deals.into_iter().map(credited).collect())
    }

    async fn record_pipeline_stages(
        &self,
        tenant: &TenantId,
        stages: &[PipelineStage],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "recording pipeline stages";
        let mut tx = self.write_for(tenant, doing).await?;
        sqlx::query("delete from crm_pipeline_stages where tenant = $1")
            .bind(tenant.as_str())
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        for stage in stages {
            sqlx::query(
                "insert into crm_pipeline_stages (tenant, pipeline_id, id, label, place, is_won,
                     is_lost, read_at)
                 values ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(tenant.as_str())
            .bind(stage.pipeline.as_str())
            .bind(stage.id.as_str())
            .bind(clean(&stage.label))
            .bind(stage.order)
            .bind(i64::from(stage.is_won))
            .bind(i64::from(stage.is_lost))
            .bind(micros(now))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn pipeline_stages(&self, tenant: &TenantId) -> Result<Vec<PipelineStage>, StoreError> {
        let rows = sqlx::query(
            "select * from crm_pipeline_stages where tenant = $1 order by pipeline_id, place, id",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading pipeline stages"))?;
        rows.iter().map(read_stage).collect()
    }
}
