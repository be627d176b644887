//! Erasing one person on request.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::faults::fault;
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
    conn: &mut SqliteConnection,
    statement: &'static str,
    tenant: &TenantId,
    contact: &ContactId,
) -> Result<u64, StoreError> {
    let done = sqlx::query(statement)
        .bind(tenant.as_str())
        .bind(contact.as_str())
        .execute(conn)
        .await
        .map_err(fault(DOING))?;
    Ok(done.rows_affected())
}

/// Takes the bytes from deliveries that name one of `ids`; those in quarantine are dropped with them.
async fn clear_deliveries(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    ids: &[&str],
) -> Result<u64, StoreError> {
    let (mut cleared, mut after) = (0, 0_i64);
    loop {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "select id, body from inbox
             where tenant = $1 and id > $2 and status in ('settled', 'quarantined')
               and body <> x''
             order by id limit $3",
        )
        .bind(tenant.as_str())
        .bind(after)
        .bind(SEARCHED)
        .fetch_all(&mut *conn)
        .await
        .map_err(fault(DOING))?;
        let Some((last, _)) = rows.last() else {
            return Ok(cleared);
        };
        after = *last;
        for (row, body) in &rows {
            if !ids.iter().any(|id| delivery_names(body, id)) {
                continue;
            }
            sqlx::query(
                "update inbox set body = x'',
                     status = case status when 'quarantined' then 'dropped' else status end
                 where id = $1",
            )
            .bind(row)
            .execute(&mut *conn)
            .await
            .map_err(fault(DOING))?;
            cleared += 1;
        }
    }
}

#[async_trait]
impl ErasureStore for SqliteStore {
    async fn erase_contact(
        &self,
        tenant: &TenantId,
        contact: &ContactId,
        asked_by: &str,
        now: Timestamp,
    ) -> Result<Erasure, StoreError> {
        let mut tx = self.write_for(tenant, DOING).await?;
        let row = sqlx::query(TRACES)
            .bind(tenant.as_str())
            .bind(contact.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(fault(DOING))?;
        let traces = row.as_ref().map(Traces::read).transpose()?;
        let traces = traces.unwrap_or_default();
        let visits = sqlx::query(VISITS)
            .bind(tenant.as_str())
            .bind(contact.as_str())
            .bind(traces.visit)
            .bind(traces.fbclid)
            .execute(&mut *tx)
            .await
            .map_err(fault(DOING))?
            .rows_affected();
        let leads: Vec<String> = sqlx::query_scalar(LEADS)
            .bind(tenant.as_str())
            .bind(traces.lead)
            .bind(traces.email)
            .bind(traces.phone)
            .fetch_all(&mut *tx)
            .await
            .map_err(fault(DOING))?;
        run(&mut tx, CONVERSIONS, tenant, contact).await?;
        let deals = run(&mut tx, DEALS, tenant, contact).await?;
        run(&mut tx, LINKS, tenant, contact).await?;
        let contacts = run(&mut tx, CONTACT, tenant, contact).await?;
        let words: Vec<&str> = std::iter::once(contact.as_str())
            .chain(leads.iter().map(String::as_str))
            .collect();
        let deliveries = clear_deliveries(&mut tx, tenant, &words).await?;
        let row = sqlx::query(RECEIPT)
            .bind(tenant.as_str())
            .bind(contact.as_str())
            .bind(micros(now))
            .bind(clean(asked_by))
            .bind(count(contacts))
            .bind(count(deals))
            .bind(count(visits))
            .bind(count(leads.len() as u64))
            .bind(count(deliveries))
            .fetch_optional(&mut *tx)
            .await
            .map_err(fault(DOING))?;
        let receipt = row.as_ref().map(read).transpose()?;
        tx.commit().await.map_err(fault(DOING))?;
        receipt.ok_or_else(|| not_one(DOING, 0))
    }

    async fn erasure(
        &self,
        tenant: &TenantId,
        contact: &ContactId,
    ) -> Result<Option<Erasure>, StoreError> {
        let row = sqlx::query(READ)
            .bind(tenant.as_str())
            .bind(contact.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(fault("reading the receipt of an erasure"))?;
        row.as_ref().map(read).transpose()
    }

    async fn contacts_of(
        &self,
        tenant: &TenantId,
        email: &KeyedHash,
    ) -> Result<Vec<ContactId>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar(CONTACTS_BY_EMAIL)
            .bind(tenant.as_str())
            .bind(&email.0)
            .fetch_all(&self.readers)
            .await
            .map_err(fault("looking up a contact"))?;
        ids.iter().map(|text| id("crm_contacts", text)).collect()
    }

    async fn erase_leads(&self, tenant: &TenantId, email: &KeyedHash) -> Result<u64, StoreError> {
        let mut tx = self.write_for(tenant, DOING).await?;
        let done = sqlx::query(LEADS_BY_EMAIL)
            .bind(tenant.as_str())
            .bind(&email.0)
            .execute(&mut *tx)
            .await
            .map_err(fault(DOING))?;
        tx.commit().await.map_err(fault(DOING))?;
        Ok(done.rows_affected())
    }
}
