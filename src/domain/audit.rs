//! The audit log: what was done to an account, why, and what it was before, as a chain of hashes in
//! which no line can be changed or left out unseen. It holds no personal data, so that erasing a
//! contact never breaks the chain.

use super::change::Target;
use super::ids::{CampaignId, ChangeId, TenantId};
use super::structure::EntityRef;
use super::time::Timestamp;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuditEvent {
    /// A change was proposed.
    Proposed,
    /// A person approved it.
    Approved,
    /// A person rejected it.
    Rejected,
    /// A guard held it back.
    Deferred,
    /// A guard refused it.
    Refused,
    /// The intent to send it was committed.
    Executing,
    /// It was set and read back.
    Completed,
    /// It failed.
    Failed,
    /// A person's edit or a newer change overtook it.
    Cancelled,
    /// Nobody approved it in time.
    Expired,
    /// Somebody else changed an object that roasd manages.
    ForeignEdit,
    /// A tenant, or the whole daemon, was paused.
    Paused,
    /// A tenant, or the whole daemon, was resumed.
    Resumed,
}

impl AuditEvent {
    /// Every event.
    pub const ALL: [Self; 13] = [
        Self::Proposed,
        Self::Approved,
        Self::Rejected,
        Self::Deferred,
        Self::Refused,
        Self::Executing,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
        Self::ForeignEdit,
        Self::Paused,
        Self::Resumed,
    ];

    /// The name stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Deferred => "deferred",
            Self::Refused => "refused",
            Self::Executing => "executing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::ForeignEdit => "foreign_edit",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
        }
    }

    /// The event of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }

    /// Whether the event closes a change; a change has exactly one such line.
    #[must_use]
    pub const fn is_closing(self) -> bool {
        matches!(
            self,
            Self::Rejected
                | Self::Refused
                | Self::Completed
                | Self::Failed
                | Self::Cancelled
                | Self::Expired
        )
    }
}

/// One line, before it is chained.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// The tenant.
    pub tenant: TenantId,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub event: AuditEvent,
    /// Who did it: `roasd`, `cli`, `api:NAME`, `meta:ACTOR`.
    pub actor: String,
    /// The change, where there is one.
    pub change: Option<ChangeId>,
    /// The object.
    pub entity: Option<EntityRef>,
    /// Its campaign.
    pub campaign: Option<CampaignId>,
    /// The value before.
    pub before: Option<Target>,
    /// The value after.
    pub after: Option<Target>,
    /// The guard that held, refused or clipped it.
    pub rule: Option<String>,
    /// Why, in words.
    pub detail: String,
    /// Meta's own number of the call (`fbtrace_id` or request id).
    pub vendor_request: Option<String>,
}

/// A line in its chain.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainedEntry {
    /// Its place in the tenant's chain, from 1.
    pub sequence: i64,
    /// The line.
    pub entry: AuditEntry,
    /// The hash of the line before; 64 zeros for the first.
    pub previous_hash: String,
    /// SHA-256 over the line and `previous_hash`, in hex.
    pub hash: String,
}
