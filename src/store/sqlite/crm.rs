//! Deals, contacts and the stages they passed.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::faults::fault;
use super::{BIND_LIMIT, SqliteStore};
use crate::domain::deal::{Contact, ContactFacts, Deal, PipelineStage, StageChange};
use crate::domain::ids::{ContactId, DealId, TenantId};
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::crm::{CreditedDeal, CrmStore, UnsettledDeal};
use crate::store::sql::crm::{
    contact_read_at, credited, facts_as_kept, read_at as kept_at, read_bare, read_contact,
    read_stage, read_unsettled, without_erased,
};
use crate::store::sql::json;
use crate::store::sql::recording::Recording;
use crate::store::sql::values::{clean, clean_opt, id, micros, micros_opt};

const READING: &str = "reading deals";
const RECORDING: &str = "recording what the CRM said";

/// Asks for deals, within the transaction of what made them wanted.
pub(super) async fn request(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    deals: impl IntoIterator<Item = (&DealId, Timestamp)>,
) -> Result<(), StoreError> {
    const DOING: &str = "asking for deals";
    // One statement for all: a statement costs more than the row that it writes, and whoever waits for
    // an acknowledgement waits for this.
    let asked: Vec<_> = deals
        .into_iter()
        .map(|(deal, now)| (deal.as_str(), micros(now)))
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into deal_requests (tenant, deal_id, first_asked_at, last_asked_at)
         select $1, value ->> 0, value ->> 1, value ->> 1 from json_each($2) where true
         on conflict (tenant, deal_id) do update set last_asked_at = excluded.last_asked_at
         where excluded.last_asked_at > deal_requests.last_asked_at",
    )
    .bind(tenant.as_str())
    .bind(json(&asked, DOING)?)
    .execute(&mut *conn)
    .await
    .map_err(fault(DOING))?;
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

/// Reads what is kept of the deals.
async fn begin<'d>(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    deals: &'d [Deal],
) -> Result<Recording<'d>, StoreError> {
    let ids: Vec<&str> = deals.iter().map(|deal| deal.id.as_str()).collect();
    let ids = json(&ids, RECORDING)?;
    let mut recording = Recording::default();
    let rows = sqlx::query(
        "select * from crm_deals
         where tenant = $1 and id in (select value from json_each($2))",
    )
    .bind(tenant.as_str())
    .bind(&ids)
    .fetch_all(&mut *conn)
    .await
    .map_err(fault(RECORDING))?;
    for row in &rows {
        let deal = read_bare(row)?;
        let kept = (deal.id.clone(), (deal, kept_at(row)?));
        recording.kept.extend([kept]);
    }
    let events: Vec<(String, i64, String)> = sqlx::query_as(
        "select deal_id, entered_at, stage_id from crm_events
         where tenant = $1 and deal_id in (select value from json_each($2))",
    )
    .bind(tenant.as_str())
    .bind(&ids)
    .fetch_all(&mut *conn)
    .await
    .map_err(fault(RECORDING))?;
    recording.events.extend(events);
    let contacts: Vec<(String, String)> = sqlx::query_as(
        "select deal_id, contact_id from crm_deal_contacts
         where tenant = $1 and deal_id in (select value from json_each($2))",
    )
    .bind(tenant.as_str())
    .bind(&ids)
    .fetch_all(conn)
    .await
    .map_err(fault(RECORDING))?;
    for (deal, contact) in contacts {
        recording.contacts.entry(deal).or_default().insert(contact);
    }
    Ok(recording)
}

/// Carries out a statement that takes the tenant and many rows as one value: a statement costs two
/// thread switches, and a row as many milliseconds of a backfill.
async fn write_many<R: serde::Serialize>(
    conn: &mut SqliteConnection,
    statement: &'static str,
    tenant: &TenantId,
    rows: &[R],
) -> Result<u64, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query(statement)
        .bind(tenant.as_str())
        .bind(json(rows, RECORDING)?)
        .execute(conn)
        .await
        .map_err(fault(RECORDING))?;
    Ok(done.rows_affected())
}

/// Writes the differences.
async fn write(
    recording: &Recording<'_>,
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    read_at: Timestamp,
) -> Result<(), StoreError> {
    write_many(
        conn,
        "insert into crm_events (tenant, deal_id, entered_at, stage_id)
         select $1, value->>0, value->>1, value->>2 from json_each($2) where true
         on conflict do nothing",
        tenant,
        &recording.new_events,
    )
    .await?;
    let others: Vec<&str> = recording.other_contacts.iter().copied().collect();
    write_many(
        conn,
        "delete from crm_deal_contacts
         where tenant = $1 and deal_id in (select value from json_each($2))",
        tenant,
        &others,
    )
    .await?;
    write_many(
        conn,
        "insert into crm_deal_contacts (tenant, deal_id, contact_id)
         select $1, value->>0, value->>1 from json_each($2)",
        tenant,
        &recording.contact_pairs(),
    )
    .await?;
    let states: Vec<_> = recording
        .states
        .values()
        .map(|(deal, steps)| {
            let amount = deal.amount.as_ref();
            (
                deal.id.as_str(),
                clean(&deal.name),
                deal.pipeline.as_str(),
                deal.stage.as_str(),
                amount.map(|amount| clean(&amount.decimal)),
                amount.and_then(|amount| clean_opt(amount.currency.as_deref())),
                micros(deal.created_at),
                micros(deal.updated_at),
                i64::from(deal.is_archived),
                micros(read_at),
                steps,
            )
        })
        .collect();
    write_many(
        conn,
        "insert into crm_deals (tenant, id, name, pipeline_id, stage_id, amount_decimal,
             amount_currency, created_at, updated_at, is_archived, read_at, revision,
             settled_revision)
         select $1, value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6,
             value->>7, value->>8, value->>9, value->>10, 0
         from json_each($2) where true
         on conflict (tenant, id) do update set
             name = case crm_deals.name when '' then '' else excluded.name end,
             pipeline_id = excluded.pipeline_id, stage_id = excluded.stage_id,
             amount_decimal = excluded.amount_decimal, amount_currency = excluded.amount_currency,
             created_at = excluded.created_at, updated_at = excluded.updated_at,
             is_archived = excluded.is_archived, read_at = excluded.read_at,
             revision = crm_deals.revision + excluded.revision",
        tenant,
        &states,
    )
    .await?;
    Ok(())
}

/// Of contacts those that are to be written: the last of each, unless what is kept is newer. Also
/// names those whose facts are others than before.
async fn differing<'c>(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    contacts: &[&'c Contact],
    read_at: Timestamp,
) -> Result<(Vec<&'c Contact>, Vec<&'c str>), StoreError> {
    let ids: Vec<&str> = contacts.iter().map(|contact| contact.id.as_str()).collect();
    let rows = sqlx::query(
        "select * from crm_contacts
         where tenant = $1 and id in (select value from json_each($2))",
    )
    .bind(tenant.as_str())
    .bind(json(&ids, RECORDING)?)
    .fetch_all(conn)
    .await
    .map_err(fault(RECORDING))?;
    let mut kept: BTreeMap<ContactId, (ContactFacts, Timestamp)> = BTreeMap::new();
    for row in &rows {
        let contact = read_contact(row)?;
        kept.insert(contact.id, (contact.facts, contact_read_at(row)?));
    }
    let (mut written, mut changed) = (BTreeMap::new(), BTreeSet::new());
    for contact in contacts {
        let facts = facts_as_kept(&contact.facts);
        let known = kept.get(&contact.id);
        if known.is_some_and(|(_, kept_at)| *kept_at > read_at) {
            continue;
        }
        if known.is_none_or(|(known, _)| *known != facts) {
            changed.insert(contact.id.as_str());
        }
        kept.insert(contact.id.clone(), (facts, read_at));
        written.insert(contact.id.as_str(), *contact);
    }
    Ok((
        written.into_values().collect(),
        changed.into_iter().collect(),
    ))
}

async fn write_contacts(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    contacts: &[&Contact],
    read_at: Timestamp,
) -> Result<(), StoreError> {
    let rows: Vec<_> = contacts
        .iter()
        .map(|contact| {
            let facts = &contact.facts;
            let texts = [
                &facts.roasd_click_id,
                &facts.facebook_click_id,
                &facts.meta_lead_id,
                &facts.ad_id,
                &facts.ad_set_id,
                &facts.campaign_id,
                &facts.first_url,
            ];
            (
                contact.id.as_str(),
                texts.map(|text| clean_opt(text.as_deref())),
                micros_opt(facts.created_at),
                micros(contact.updated_at),
                micros(read_at),
                facts.email.as_ref().map(|hash| hash.0.as_str()),
                facts.phone.as_ref().map(|hash| hash.0.as_str()),
            )
        })
        .collect();
    write_many(
        conn,
        "insert into crm_contacts (tenant, id, roasd_click_id, facebook_click_id, meta_lead_id,
             ad_id, ad_set_id, campaign_id, first_url, created_at, updated_at, read_at, email_hash,
             phone_hash)
         select $1, value->>0, value->>'$[1][0]', value->>'$[1][1]', value->>'$[1][2]',
             value->>'$[1][3]', value->>'$[1][4]', value->>'$[1][5]', value->>'$[1][6]', value->>2,
             value->>3, value->>4, value->>5, value->>6
         from json_each($2) where true
         on conflict (tenant, id) do update set
             roasd_click_id = excluded.roasd_click_id,
             facebook_click_id = excluded.facebook_click_id,
             meta_lead_id = excluded.meta_lead_id, ad_id = excluded.ad_id,
             ad_set_id = excluded.ad_set_id, campaign_id = excluded.campaign_id,
             first_url = excluded.first_url, created_at = excluded.created_at,
             updated_at = excluded.updated_at, read_at = excluded.read_at,
             email_hash = excluded.email_hash, phone_hash = excluded.phone_hash",
        tenant,
        &rows,
    )
    .await?;
    Ok(())
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
        request(&mut tx, tenant, deals.iter().map(|deal| (deal, now))).await?;
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
        let erased = erased(&mut tx, tenant).await?;
        let deals = &without_erased(deals, &erased)[..];
        let mut recording = begin(&mut tx, tenant, deals).await?;
        let mut different = 0;
        for deal in deals {
            different += u64::from(recording.take_up(deal, read_at));
        }
        write(&recording, &mut tx, tenant, read_at).await?;
        let missing: Vec<_> = missing
            .iter()
            .map(|deal| (deal.as_str(), micros(read_at)))
            .collect();
        different += write_many(
            &mut tx,
            "update crm_deals
             set is_archived = 1, read_at = new.read_at, revision = revision + 1
             from (select value->>0 as id, value->>1 as read_at from json_each($2)) as new
             where tenant = $1 and crm_deals.id = new.id and is_archived = 0
               and crm_deals.read_at <= new.read_at",
            tenant,
            &missing,
        )
        .await?;
        let read: Vec<_> = deals
            .iter()
            .map(|deal| (deal.id.as_str(), micros(read_at)))
            .chain(missing)
            .collect();
        write_many(
            &mut tx,
            "delete from deal_requests
             where tenant = $1 and deal_id in (select value->>0 from json_each($2))
               and last_asked_at <= (select value->>1 from json_each($2) limit 1)",
            tenant,
            &read,
        )
        .await?;
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
        let contacts: Vec<&Contact> = contacts
            .iter()
            .filter(|contact| !erased.contains(&contact.id))
            .collect();
        let (written, changed) = differing(&mut tx, tenant, &contacts, read_at).await?;
        write_contacts(&mut tx, tenant, &written, read_at).await?;
        write_many(
            &mut tx,
            "update crm_deals set revision = revision + 1
             where tenant = $1 and id in (
                 select deal_id from crm_deal_contacts
                 where tenant = $1 and contact_id in (select value from json_each($2)))",
            tenant,
            &changed,
        )
        .await?;
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
        // Mostly there is none, and that is seen without a snapshot.
        let is_any: bool = sqlx::query_scalar(
            "select exists (select 1 from crm_deals
                 where tenant = $1 and revision > settled_revision)
             or exists (select 1 from crm_deals
                 where tenant = $1 and retry_at is not null and retry_at <= $2)",
        )
        .bind(tenant.as_str())
        .bind(micros(now))
        .fetch_one(&self.readers)
        .await
        .map_err(fault(READING))?;
        if !is_any {
            return Ok(Vec::new());
        }
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

    async fn deals_made_since(
        &self,
        tenant: &TenantId,
        since: Timestamp,
    ) -> Result<Vec<Timestamp>, StoreError> {
        let made: Vec<i64> = sqlx::query_scalar(
            "select created_at from crm_deals
             where tenant = $1 and created_at >= $2 and is_archived = 0 order by created_at",
        )
        .bind(tenant.as_str())
        .bind(micros(since))
        .fetch_all(&self.readers)
        .await
        .map_err(fault(READING))?;
        Ok(made.into_iter().map(from_micros).collect())
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
