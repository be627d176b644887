//! Leads of Meta's lead forms.

use async_trait::async_trait;

use super::{PostgresStore, Section};
use crate::domain::ids::{LeadId, TenantId};
use crate::domain::lead::Lead;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::leads::{LeadKeys, LeadStore, WantedLead};
use crate::store::sql::leads::{
    PUT_OFF, RECORD, REQUEST, REQUESTED, UNSETTLE, in_order, leads_by, read, values, wanted,
};
use crate::store::sql::values::{clean, clean_opt, micros, micros_opt};

const BY_ID: &str = leads_by!("id", " = any ($2)");
const BY_EMAIL: &str = leads_by!("email_hash", " = any ($2)");
const BY_PHONE: &str = leads_by!("phone_hash", " = any ($2)");

#[async_trait]
impl LeadStore for PostgresStore {
    async fn request_leads(
        &self,
        tenant: &TenantId,
        leads: &[LeadId],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write_for(tenant, "asking for leads").await?;
        // In the order of their keys: two that ask for the same leads would else wait for each other.
        let mut leads: Vec<&LeadId> = leads.iter().collect();
        leads.sort();
        for lead in leads {
            let query = sqlx::query(REQUEST)
                .bind(tenant.as_str())
                .bind(lead.as_str())
                .bind(micros(now));
            tx.run(query).await?;
        }
        tx.commit().await
    }

    async fn requested_leads(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<WantedLead>, StoreError> {
        let query = sqlx::query(REQUESTED)
            .bind(tenant.as_str())
            .bind(micros(now))
            .bind(i64::from(limit));
        let rows = self
            .rows("reading which leads are asked for", query)
            .await?;
        rows.iter().map(wanted).collect()
    }

    async fn record_lead(&self, tenant: &TenantId, lead: &Lead) -> Result<(), StoreError> {
        // With what is recorded of the CRM: a contact that is being recorded would else be missed.
        let doing = "recording a lead";
        let mut tx = self.write_in(Section::Crm, tenant, doing).await?;
        let (email, phone) = (lead.email.as_ref(), lead.phone.as_ref());
        let query = sqlx::query(RECORD)
            .bind(tenant.as_str())
            .bind(lead.id.as_str())
            .bind(micros(lead.made_at))
            .bind(clean_opt(lead.form.as_deref()))
            .bind(lead.ad.as_ref().map(|id| id.as_str()))
            .bind(lead.ad_set.as_ref().map(|id| id.as_str()))
            .bind(lead.campaign.as_ref().map(|id| id.as_str()))
            .bind(email.map(|hash| hash.0.as_str()))
            .bind(phone.map(|hash| hash.0.as_str()));
        if tx.run(query).await? == 1 {
            let query = sqlx::query(UNSETTLE)
                .bind(tenant.as_str())
                .bind(lead.id.as_str())
                .bind(email.map(|hash| hash.0.as_str()))
                .bind(phone.map(|hash| hash.0.as_str()));
            tx.run(query).await?;
        }
        tx.commit().await
    }

    async fn put_off_lead(
        &self,
        tenant: &TenantId,
        id: &LeadId,
        until: Option<Timestamp>,
        fault: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.write_for(tenant, "putting off a lead").await?;
        let query = sqlx::query(PUT_OFF)
            .bind(tenant.as_str())
            .bind(id.as_str())
            .bind(micros_opt(until))
            .bind(clean(fault));
        tx.run(query).await?;
        tx.commit().await
    }

    async fn leads(&self, tenant: &TenantId, keys: &LeadKeys) -> Result<Vec<Lead>, StoreError> {
        let mut leads = Vec::new();
        for (statement, values) in [BY_ID, BY_EMAIL, BY_PHONE].into_iter().zip(values(keys)) {
            if values.is_empty() {
                continue;
            }
            let query = sqlx::query(statement).bind(tenant.as_str()).bind(&values);
            for row in &self.rows("looking up leads", query).await? {
                leads.push(read(row)?);
            }
        }
        Ok(in_order(leads))
    }
}
