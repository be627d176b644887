//! Erasing one person on request.

use async_trait::async_trait;

use super::session::Tx;
use super::{PostgresStore, Section};
use crate::domain::ids::{ContactId, TenantId};
use crate::domain::time::Timestamp;
use crate::domain::visit::KeyedHash;
use crate::store::StoreError;
use crate::store::privacy::{Erasure, ErasureStore};
use crate::store::sql::erasure::{
    CONTACT, CONTACTS_BY_EMAIL, CONVERSIONS, DEALS, LEADS, LEADS_BY_EMAIL, LINKS, READ, RECEIPT,
    SEARCHED, TRACES, Traces, VISITS, delivery_names, read,
};
use crate::store::sql::not_one;
use crate::store::sql::values::{clean, count, id, micros};

const DOING: &str = "erasing a contact";

/// Runs a statement that takes tenant and contact.
async fn run(
    tx: &mut Tx,
    statement: &'static str,
    tenant: &TenantId,
    contact: &ContactId,
) -> Result<u64, StoreError> {
    let query = sqlx::query(statement);
    tx.run(query.bind(tenant.as_str()).bind(contact.as_str()))
        .await
}

/// Takes the bytes from deliveries that name one of `ids`; those in quarantine are dropped with them.
/// What came from a SQLite file may be packed, and is searched here and not by the server.
async fn clear_deliveries(tx: &mut Tx, tenant: &TenantId, ids: &[&str]) -> Result<u64, StoreError> {
    let words: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes()).collect();
    let (mut cleared, mut after) = (0, 0_i64);
    loop {
        let select = sqlx::query_as(
            "select id, body from inbox
             where tenant = $1 and id > $2 and settled_at is not null
               and status in ('settled', 'quarantined')
               and (substring(body for 4) = '\\x006c7a34'::bytea
                   or exists (select 1 from unnest($3::bytea[]) as word
                       where position(word in body) > 0))
             order by id limit $4 for update",
        )
        .bind(tenant.as_str())
        .bind(after)
        .bind(&words)
        .bind(SEARCHED);
        let rows: Vec<(i64, Vec<u8>)> = tx.list(select).await?;
        let Some((last, _)) = rows.last() else {
            return Ok(cleared);
        };
        after = *last;
        for (row, body) in &rows {
            if !ids.iter().any(|id| delivery_names(body, id)) {
                continue;
            }
            let query = sqlx::query(
                "update inbox set body = ''::bytea,
                     status = case status when 'quarantined' then 'dropped' else status end
                 where id = $1",
            );
            cleared += tx.run(query.bind(row)).await?;
        }
    }
}

#[async_trait]
impl ErasureStore for PostgresStore {
    async fn erase_contact(
        &self,
        tenant: &TenantId,
        contact: &ContactId,
        asked_by: &str,
        now: Timestamp,
    ) -> Result<Erasure, StoreError> {
        // With what is recorded of the CRM: a read under way would else bring the contact back.
        let mut tx = self.write_in(Section::Crm, tenant, DOING).await?;
        let query = sqlx::query(TRACES);
        let row = tx
            .row(query.bind(tenant.as_str()).bind(contact.as_str()))
            .await?;
        let traces = row.as_ref().map(Traces::read).transpose()?;
        let traces = traces.unwrap_or_default();
        let query = sqlx::query(VISITS)
            .bind(tenant.as_str())
            .bind(contact.as_str())
            .bind(traces.visit)
            .bind(traces.fbclid);
        let visits = tx.run(query).await?;
        let select = sqlx::query_as(LEADS)
            .bind(tenant.as_str())
            .bind(traces.lead)
            .bind(traces.email)
            .bind(traces.phone);
        let leads: Vec<(String,)> = tx.list(select).await?;
        run(&mut tx, CONVERSIONS, tenant, contact).await?;
        let deals = run(&mut tx, DEALS, tenant, contact).await?;
        run(&mut tx, LINKS, tenant, contact).await?;
        let contacts = run(&mut tx, CONTACT, tenant, contact).await?;
        let words: Vec<&str> = std::iter::once(contact.as_str())
            .chain(leads.iter().map(|(lead,)| lead.as_str()))
            .collect();
        let deliveries = clear_deliveries(&mut tx, tenant, &words).await?;
        let query = sqlx::query(RECEIPT)
            .bind(tenant.as_str())
            .bind(contact.as_str())
            .bind(micros(now))
            .bind(clean(asked_by))
            .bind(count(contacts))
            .bind(count(deals))
            .bind(count(visits))
            .bind(count(leads.len() as u64))
            .bind(count(deliveries));
        let row = tx.row(query).await?;
        let receipt = row.as_ref().map(read).transpose()?;
        tx.commit().await?;
        receipt.ok_or_else(|| not_one(DOING, 0))
    }

    async fn erasure(
        &self,
        tenant: &TenantId,
        contact: &ContactId,
    ) -> Result<Option<Erasure>, StoreError> {
        let query = sqlx::query(READ)
            .bind(tenant.as_str())
            .bind(contact.as_str());
        let row = self.row("reading the receipt of an erasure", query).await?;
        row.as_ref().map(read).transpose()
    }

    async fn contacts_of(
        &self,
        tenant: &TenantId,
        email: &KeyedHash,
    ) -> Result<Vec<ContactId>, StoreError> {
        let select = sqlx::query_as(CONTACTS_BY_EMAIL)
            .bind(tenant.as_str())
            .bind(&email.0);
        let ids: Vec<(String,)> = self.list("looking up a contact", select).await?;
        ids.iter().map(|(text,)| id("crm_contacts", text)).collect()
    }

    async fn erase_leads(&self, tenant: &TenantId, email: &KeyedHash) -> Result<u64, StoreError> {
        let mut tx = self.write_for(tenant, DOING).await?;
        let query = sqlx::query(LEADS_BY_EMAIL);
        let erased = tx.run(query.bind(tenant.as_str()).bind(&email.0)).await?;
        tx.commit().await?;
        Ok(erased)
    }
}
