//! Visits to landing pages.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{TenantId, VisitId};
use crate::domain::time::Timestamp;
use crate::domain::visit::{KeyedHash, ValueFrequency, Visit};

/// A value that visits are looked up by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VisitKey {
    /// Facebook's click id, to the letter.
    Fbclid(String),
    /// The device.
    Fingerprint(KeyedHash),
    /// The IP address.
    Ip(KeyedHash),
    /// The user agent.
    UserAgent(KeyedHash),
}

/// Visits, each kept once.
#[async_trait]
pub trait VisitStore {
    /// Keeps a visit; `false` when one of that id is kept already, which stays as it is.
    /// Hashes of a visitor without consent are left out.
    async fn record_visit(&self, tenant: &TenantId, visit: &Visit) -> Result<bool, StoreError>;

    /// Takes over whether the visitor consents, and with it the hashes: those of `visit` with
    /// consent, none without. All else of the kept visit stays; `false` when there is none.
    async fn set_consent(&self, tenant: &TenantId, visit: &Visit) -> Result<bool, StoreError>;

    /// The visit of that id.
    async fn visit(&self, tenant: &TenantId, id: &VisitId) -> Result<Option<Visit>, StoreError>;

    /// Visits with that value from `from` to `to` (both inclusive), newest first, `limit` at most.
    async fn visits_by(
        &self,
        tenant: &TenantId,
        key: &VisitKey,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<Visit>, StoreError>;

    /// How common a value is among the visits from `from` to `to` with consent.
    async fn visit_frequency(
        &self,
        tenant: &TenantId,
        key: &VisitKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<ValueFrequency, StoreError>;

    /// Visits from `from` to `to` that name an ad.
    async fn ad_clicks_between(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<u64, StoreError>;
}
