//! Leads of Meta's lead forms.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{LeadId, TenantId};
use crate::domain::lead::Lead;
use crate::domain::time::Timestamp;
use crate::domain::visit::KeyedHash;

/// A lead that is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedLead {
    /// The lead.
    pub id: LeadId,
    /// When a webhook told of it.
    pub told_at: Timestamp,
    /// How often it was tried.
    pub attempt: u32,
}

/// What leads are looked up by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeadKeys {
    /// Their ids.
    pub ids: Vec<LeadId>,
    /// Mail addresses.
    pub emails: Vec<KeyedHash>,
    /// Telephone numbers.
    pub phones: Vec<KeyedHash>,
}

/// Leads, each kept once.
#[async_trait]
pub trait LeadStore {
    /// Asks for leads to be read; asking twice is asking once, also after one was read or given up.
    async fn request_leads(
        &self,
        tenant: &TenantId,
        leads: &[LeadId],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Leads that are due to be read, longest due first.
    async fn requested_leads(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<WantedLead>, StoreError>;

    /// Records a lead as Meta has it; it is no longer to be read. Deals of contacts that carry its
    /// id, its mail address or its number become unsettled. A lead that nobody asked for (or that was
    /// erased since) is left out.
    async fn record_lead(&self, tenant: &TenantId, lead: &Lead) -> Result<(), StoreError>;

    /// Notes why a lead could not be read, counts the attempt, and says when to try again; never
    /// again with `None`.
    async fn put_off_lead(
        &self,
        tenant: &TenantId,
        id: &LeadId,
        until: Option<Timestamp>,
        fault: &str,
    ) -> Result<(), StoreError>;

    /// Leads that were read and have one of the keys, in order of id.
    async fn leads(&self, tenant: &TenantId, keys: &LeadKeys) -> Result<Vec<Lead>, StoreError>;
}
