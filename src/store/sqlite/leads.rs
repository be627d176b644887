//! Leads of Meta's lead forms.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::ids::{LeadId, TenantId};
use crate::domain::lead::Lead;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::leads::{LeadKeys, LeadStore, WantedLead};
use crate::store::sql::json;
use crate::store::sql::leads::{
    PUT_OFF, RECORD, REQUEST, REQUESTED, UNSETTLE, in_order, leads_by, read, values, wanted,
};
use crate::store::sql::values::{clean, clean_opt, micros, micros_opt};

const BY_ID: &str = leads_by!("id", " in (select value from json_each($2))");
const BY_EMAIL: &str = leads_by!("email_hash", " in (select value from json_each($2))");
const BY_PHONE: &str = leads_by!("phone_hash", " in (select value from json_each($2))");

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
        let doing = "looking up leads";
        let mut leads = Vec::new();
        for (statement, values) in [BY_ID, BY_EMAIL, BY_PHONE].into_iter().zip(values(keys)) {
            if values.is_empty() {
                continue;
            }
            let rows = sqlx::query(statement)
                .bind(tenant.as_str())
                .bind(json(&values, doing)?)
                .fetch_all(&self.readers)
                .await
                .map_err(fault(doing))?;
            for row in &rows {
                leads.push(read(row)?);
            }
        }
        Ok(in_order(leads))
    }
}
