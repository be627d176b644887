//! What a tenant is held by: pauses, parking, freezes. Survives a restart.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::TenantId;
use crate::domain::safety::Trip;
use crate::domain::structure::EntityRef;
use crate::domain::time::Timestamp;

/// Why and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Who did it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// What a tenant is held by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantHolds {
    /// The whole daemon is paused: no write for anyone.
    pub daemon_paused: Option<Held>,
    /// The tenant is paused: no write.
    pub paused: Option<Held>,
    /// Its actors failed too often; an operator resumes it.
    pub parked: Option<Held>,
    /// A vendor does not accept its token, or its account is in trouble: no write until it does.
    pub suspended: Option<Held>,
}

/// Holds of a tenant, and freezes of single objects.
#[async_trait]
pub trait TenantStore {
    /// Makes the tenant known; a second time changes nothing.
    async fn ensure_tenant(
        &self,
        tenant: &TenantId,
        name: &str,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// What holds the tenant.
    async fn holds(&self, tenant: &TenantId) -> Result<TenantHolds, StoreError>;

    /// Pauses a tenant, or with `None` the whole daemon; `false` when it was paused already. Every
    /// tenant concerned gets an audit line.
    async fn pause(&self, tenant: Option<&TenantId>, held: &Held) -> Result<bool, StoreError>;

    /// Ends a pause and a parking and the breakers that are on (with `None` the daemon's own pause
    /// alone); `false` when there was none. A breaker so ended does not trip again before it would
    /// have let go by itself. Every tenant concerned gets an audit line.
    async fn resume(
        &self,
        tenant: Option<&TenantId>,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Trips a breaker until a time; `true` when it was not on. One that is on keeps its beginning and
    /// the later of both ends. One that a person has ended rests until it would have let go by itself,
    /// and does not trip before. A breaker that trips gets an audit line.
    async fn trip_breaker(
        &self,
        tenant: &TenantId,
        trip: &Trip,
        actor: &str,
    ) -> Result<bool, StoreError>;

    /// Breakers of the tenant that are on at `now`, by name.
    async fn breakers(&self, tenant: &TenantId, now: Timestamp) -> Result<Vec<Trip>, StoreError>;

    /// Parks a tenant, or with `None` ends its parking.
    async fn set_parked(&self, tenant: &TenantId, held: Option<&Held>) -> Result<(), StoreError>;

    /// Suspends a tenant, or with `None` ends its suspension.
    async fn set_suspended(&self, tenant: &TenantId, held: Option<&Held>)
    -> Result<(), StoreError>;

    /// Freezes an object until a time, because a person changed it; the later time stands.
    async fn freeze(
        &self,
        tenant: &TenantId,
        entity: &EntityRef,
        until: Timestamp,
        reason: &str,
    ) -> Result<(), StoreError>;

    /// Objects frozen at `now`, with until when and why, by object.
    async fn frozen(
        &self,
        tenant: &TenantId,
        now: Timestamp,
    ) -> Result<Vec<(EntityRef, Timestamp, String)>, StoreError>;

    /// Every tenant ever made known, by id.
    async fn tenants(&self) -> Result<Vec<TenantId>, StoreError>;
}
