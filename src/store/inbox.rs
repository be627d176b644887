//! Deliveries as they came, claimed, settled or quarantined with their bytes.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{DealId, TenantId};
use crate::domain::time::Timestamp;

/// A delivery to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Where it came from, such as `hubspot.webhook`.
    pub source: String,
    /// What makes it one: a second delivery of the same source and key is a repeat.
    pub dedup_key: String,
    /// The bytes, as they came.
    pub body: Vec<u8>,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is kept.
    New,
    /// It was there already, which is a success.
    Repeat,
}

/// A delivery that an actor holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// Its row.
    pub id: i64,
    /// Where it came from.
    pub source: String,
    /// The bytes.
    pub body: Vec<u8>,
    /// When it came.
    pub received_at: Timestamp,
    /// The number of this claim, from 1: the fencing token.
    pub attempt: i64,
}

/// A delivery, or a part of one, that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its row.
    pub id: i64,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it came from.
    pub source: String,
    /// The bytes.
    pub body: Vec<u8>,
    /// Why it could not be read.
    pub reason: String,
    /// When it came.
    pub received_at: Timestamp,
}

/// How full an inbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InboxDepth {
    /// Deliveries not settled yet.
    pub waiting: u64,
    /// When the oldest of them came.
    pub oldest_at: Option<Timestamp>,
    /// Deliveries in quarantine.
    pub quarantined: u64,
}

/// What a delivery came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryOutcome {
    /// Deals to be read from the CRM.
    pub wanted: Vec<DealId>,
    /// Parts that could not be read: bytes and reason.
    pub poison: Vec<(Vec<u8>, String)>,
    /// Whether it tells of people: its bytes are then forgotten as it is settled, since what they led
    /// to is kept elsewhere, where an erasure finds it.
    pub is_personal: bool,
}

/// The inbox of each tenant.
#[async_trait]
pub trait InboxStore {
    /// Keeps a delivery. The same source and key again is a [`Appended::Repeat`] and changes
    /// nothing, also after the first was settled.
    async fn append_delivery(
        &self,
        tenant: &TenantId,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Appended, StoreError>;

    /// Claims up to `limit` waiting deliveries, oldest first, until `lease_until`. A delivery is
    /// held by one claim at a time; a claim whose lease ran out can be claimed again. Each claim
    /// counts an attempt before the work begins.
    async fn claim_deliveries(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedDelivery>, StoreError>;

    /// Settles a claimed delivery: its wanted deals are requested and its poison parts are
    /// quarantined in the same transaction; the bytes of one that is personal are forgotten. A claim that was lost meanwhile is a `WrongCount`.
    async fn settle_delivery(
        &self,
        tenant: &TenantId,
        id: i64,
        attempt: i64,
        outcome: &DeliveryOutcome,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Puts a claimed delivery as a whole into quarantine.
    async fn quarantine_delivery(
        &self,
        tenant: &TenantId,
        id: i64,
        attempt: i64,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// The quarantine of one tenant or of all, oldest first.
    async fn quarantined(
        &self,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<Vec<Quarantined>, StoreError>;

    /// The delivery of that number, if it is in the tenant's quarantine.
    async fn quarantined_delivery(
        &self,
        tenant: &TenantId,
        id: i64,
    ) -> Result<Option<Quarantined>, StoreError>;

    /// Lets a quarantined delivery wait for work again, its attempts back at zero; `false` when
    /// there is none of that id.
    async fn retry_quarantined(&self, id: i64, now: Timestamp) -> Result<bool, StoreError>;

    /// Drops a quarantined delivery for good; `false` when there is none of that id.
    async fn drop_quarantined(&self, id: i64) -> Result<bool, StoreError>;

    /// When the newest delivery came that was worked off and is still kept.
    async fn newest_delivery(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError>;

    /// How full the inbox is.
    async fn inbox_depth(&self, tenant: &TenantId) -> Result<InboxDepth, StoreError>;
}
