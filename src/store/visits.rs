//! Visits to landing pages.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{TenantId, VisitId};
use crate::domain::time::Timestamp;
use crate::domain::visit::{KeyedHash, Visit};

/// A value that clicks are looked up by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VisitKey {
    /// Facebook's click id, to the letter.
    Fbclid(String),
    /// The device.
    Fingerprint(KeyedHash),
    /// The IP address.
    Ip(KeyedHash),
}

/// A value to look for, and when: from `from` to `to`, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClickLookup {
    /// The value.
    pub key: VisitKey,
    /// The beginning of the window.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
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

    /// The visits of those ids that are kept, in order of id.
    async fn visits(&self, tenant: &TenantId, ids: &[VisitId]) -> Result<Vec<Visit>, StoreError>;

    /// For each lookup, in their order, the visits with its value in its window that name an ad:
    /// newest first, `limit` at most for each. Of their link's parameters they have the ids alone, and
    /// the fbclid where it was looked for: nothing else is compared. Many are answered at the cost of
    /// few statements, and none reads more than is found in its window.
    async fn clicks_by(
        &self,
        tenant: &TenantId,
        lookups: &[ClickLookup],
        limit: u32,
    ) -> Result<Vec<Vec<Visit>>, StoreError>;

    /// Visits from `from` to `to` (both inclusive), newest first, `limit` at most.
    async fn visits_between(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<Visit>, StoreError>;
}
