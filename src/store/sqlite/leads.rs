//! Leads of Meta's lead forms.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::ids::{LeadId, TenantId};
use crate::domain::lead::Lead;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::leads::{LeadKeys, LeadStore, WantedLead};
use crate::store::sql::leads::{
    BY_EMAIL, BY_ID, BY_PHONE, PUT_OFF, RECORD, REQUEST, REQUESTED, UNSETTLE, in_order, read,
    wanted,
};
use crate::store::sql::values::{clean, clean_opt, micros, micros_opt};

#[async_trait]
impl LeadStore for SqliteStore {
    async fn request_leads(
        &self,
        tenant: &TenantId,
        leads: &[LeadId],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "asking for leads";
        let mut tx = self.write_for(tenant, doing).await?;
        for lead in leads {
            sqlx::query(REQUEST)
                .bind(tenant.as_str())
                .bind(lead.as_str())
                .bind(micros(now))
                .execute(&mut *tx)
                .await
                .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn requested_leads(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<WantedLead>, StoreError> {
        let rows = sqlx::query(REQUESTED)
            .bind(tenant.as_str())
            .bind(micros(now))
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading which leads are asked for"))?;
        rows.iter().map(wanted).collect()
    }

    async fn record_lead(&self, tenant: &TenantId, lead: &Lead) -> Result<(), StoreError> {
        let doing = "recording a lead";
        let mut tx = self.write_for(tenant, doing).await?;
        let (email, phone) = (lead.email.as_ref(), lead.phone.as_ref());
        let done = sqlx::query(RECORD)
            .bind(tenant.as_str())
            .bind(lead.id.as_str())
            .bind(micros(lead.made_at))
            .bind(clean_opt(lead.form.as_deref()))
            .bind(lead.ad.as_ref().map(|id| id.as_str()))
            .bind(lead.ad_set.as_ref().map(|id| id.as_str()))
            .bind(lead.campaign.as_ref().map(|id| id.as_str()))
            .bind(email.map(|hash| hash.0.as_str()))
            .bind(phone.map(|hash| hash.0.as_str()))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        if done.rows_affected() == 1 {
            sqlx::query(UNSETTLE)
                .bind(tenant.as_str())
                .bind(lead.id.as_str())
                .bind(email.map(|hash| hash.0.as_str()))
                .bind(phone.map(|hash| hash.0.as_str()))
                .execute(&mut *tx)
                .await
                .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn put_off_lead(
        &self,
        tenant: &TenantId,
        id: &LeadId,
        until: Option<Timestamp>,
        fault_text: &str,
    ) -> Result<(), StoreError> {
        let doing = "putting off a lead";
        let mut tx = self.write_for(tenant, doing).await?;
        sqlx::query(PUT_OFF)
            .bind(tenant.as_str())
            .bind(id.as_str())
            .bind(micros_opt(until))
            .bind(clean(fault_text))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))
    }

    async fn leads(&self, tenant: &TenantId, keys: &LeadKeys) -> Result<Vec<Lead>, StoreError> {
        let ids = keys.ids.iter().map(|id| (BY_ID, id.as_str()));
        let emails = keys.emails.iter().map(|hash| (BY_EMAIL, hash.0.as_str()));
        let phones = keys.phones.iter().map(|hash| (BY_PHONE, hash.0.as_str()));
        let mut leads = Vec::new();
        for (statement, key) in ids.chain(emails).chain(phones) {
            let rows = sqlx::query(statement)
                .bind(tenant.as_str())
                .bind(key)
                .fetch_all(&self.readers)
                .await
                .map_err(fault("looking up leads"))?;
            for row in &rows {
                leads.push(read(row)?);
            }
        }
        Ok(in_order(leads))
    }
}
