//! Nodes that share the store, which of them works for which tenant, and the fence that keeps out a
//! node that lost one without noticing.
//!
//! Leases are measured by the only clock that nodes have in common, the database's own, so `now` is
//! not looked at on PostgreSQL. SQLite has no clock of its own and one node: there `now` counts.
//! A holder watches its lease on a clock that never jumps, from before the call that gave it.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Store, StoreError};
use crate::domain::ids::{NodeId, TenantId};
use crate::domain::time::{SignedDuration, Timestamp};

/// What a node tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its name.
    pub id: NodeId,
    /// The machine it runs on.
    pub host: String,
    /// The version of roasd.
    pub version: String,
}

/// A node, as last heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenNode {
    /// What it told of itself.
    pub node: NodeInfo,
    /// When it was registered: the mark of this start.
    pub started_at: Timestamp,
    /// When it last said that it lives.
    pub heartbeat_at: Timestamp,
    /// How long ago that was.
    pub silent_for: SignedDuration,
}

/// The right of a node to work for a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The tenant.
    pub tenant: TenantId,
    /// The node.
    pub node: NodeId,
    /// The number of this claim on the tenant. It only grows.
    pub token: i64,
}

/// A claim that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The right that comes with it.
    pub fence: Fence,
    /// Whether the tenant was free: never held, or released by its last holder. Otherwise that one
    /// fell silent, and what it was doing outside the store may still be under way.
    pub was_free: bool,
}

/// A lease on a tenant, in force or lapsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whose it is. After a release the token is one that nobody was given.
    pub fence: Fence,
    /// Until when.
    pub until: Timestamp,
    /// How long that still is; zero when it has lapsed or was released.
    pub left: SignedDuration,
}

/// Nodes that are silent for longer than this are forgotten when another is registered.
pub const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Nodes and leases.
#[async_trait]
pub trait NodeStore {
    /// Whether several nodes may share this store.
    fn is_shared(&self) -> bool;

    /// Whether `check` is what the first who asked gave; whoever asks first is right.
    async fn agree_on_key(&self, check: &str) -> Result<bool, StoreError>;

    /// Makes a node known and returns the mark of this start. A process that was registered under
    /// that name before finds out by its next heartbeat.
    async fn register_node(&self, node: &NodeInfo, now: Timestamp)
    -> Result<Timestamp, StoreError>;

    /// Says that a node lives; `false` when it is not known by that name and start, because another
    /// process took its name or it was forgotten.
    async fn heartbeat(
        &self,
        node: &NodeId,
        started_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Forgets a node that ends; `false` when it is not known by that name and start. Its leases
    /// stay until they are released or lapse.
    async fn forget_node(&self, node: &NodeId, started_at: Timestamp) -> Result<bool, StoreError>;

    /// Every node known, by name.
    async fn nodes(&self, now: Timestamp) -> Result<Vec<SeenNode>, StoreError>;

    /// Claims those of the tenants that nobody holds: never held before, lapsed, released, or held
    /// by a node of this very name. Each is given with a token above every earlier one of its
    /// tenant. One that is being written for just now by its late holder is left for another time.
    async fn claim_leases(
        &self,
        node: &NodeId,
        tenants: &[TenantId],
        ttl: SignedDuration,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError>;

    /// Prolongs leases and returns those that are still held, also ones that had lapsed and that
    /// nobody took. The others are lost for good.
    async fn renew_leases(
        &self,
        held: &[Fence],
        ttl: SignedDuration,
        now: Timestamp,
    ) -> Result<Vec<Fence>, StoreError>;

    /// Gives leases up, after what is being written under them; returns those that were still held.
    /// Nothing is written under their tokens from then on.
    async fn release_leases(
        &self,
        held: &[Fence],
        now: Timestamp,
    ) -> Result<Vec<Fence>, StoreError>;

    /// Every lease there ever was, by tenant, with who holds it or held it last.
    async fn leases(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError>;

    /// The same store for the holder of a lease. Each of its writes first makes sure, in its own
    /// transaction, that the lease is still this one, and fails with [`StoreError::Deposed`] if it
    /// is not; a claim by another node waits for such a write, so none commits after it. A write
    /// that names another tenant is [`StoreError::Broken`]. Reading is free.
    fn fenced(&self, fence: Fence) -> Arc<dyn Store>;
}
