//! What is to be sent to people: each alert once per channel, until it has arrived.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::alert::Alert;
use crate::domain::ids::TenantId;
use crate::domain::money::Money;
use crate::domain::time::Timestamp;

/// An alert on its way to one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The channel, by the name it is configured under.
    pub channel: String,
    /// What is told.
    pub alert: Alert,
    /// Not before then, so that others can join it.
    pub due_at: Timestamp,
}

/// One that was claimed to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedMessage {
    /// Its number.
    pub id: i64,
    /// The channel.
    pub channel: String,
    /// What is told.
    pub alert: Alert,
    /// Which attempt this is, from 1; the claim's token.
    pub attempt: i64,
}

/// How an attempt to send ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It arrived.
    Sent,
    /// Not now; again at a later time.
    Retry {
        /// When.
        at: Timestamp,
        /// Why not now.
        error: String,
    },
    /// Never: the channel refuses it, or it was tried often enough.
    Failed {
        /// Why.
        error: String,
    },
}

/// How far a message has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageStatus {
    /// It waits for its time, or for the next attempt.
    Waiting,
    /// It is being sent.
    Claimed,
    /// It arrived.
    Sent,
    /// It was given up.
    Failed,
}

impl MessageStatus {
    /// The name stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Claimed => "claimed",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

/// A message and how far it has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecord {
    /// The channel.
    pub channel: String,
    /// What is told.
    pub alert: Alert,
    /// How far it has got.
    pub status: MessageStatus,
    /// Attempts so far.
    pub attempts: i64,
    /// When it arrived.
    pub sent_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// How many messages are in each state that is not over well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxDepth {
    /// Those that wait or are being sent.
    pub waiting: u64,
    /// Those that were given up.
    pub failed: u64,
}

/// What the changes of a day came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeFigures {
    /// Budgets raised.
    pub raised: u64,
    /// Budgets lowered.
    pub lowered: u64,
    /// Objects paused.
    pub paused: u64,
    /// Objects resumed.
    pub resumed: u64,
    /// Changes that failed.
    pub failed: u64,
    /// Changes held back or refused at least once, by the guard's name, the most frequent first.
    pub held: Vec<(String, u64)>,
}

/// The outbox.
#[async_trait]
pub trait OutboxStore {
    /// Adds messages; one whose channel and alert's key are known stays as it is. Says how many
    /// are new.
    async fn enqueue(&self, messages: &[NewMessage], now: Timestamp) -> Result<u64, StoreError>;

    /// Claims messages of `channels` that are due or whose claim ran out, and with each all that wait
    /// for their first attempt to tell the same tenant on the same channel; oldest first. Counts an
    /// attempt.
    async fn claim_messages(
        &self,
        channels: &[String],
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedMessage>, StoreError>;

    /// Settles claimed messages, by number and attempt; one that somebody else claimed meanwhile
    /// stays as it is.
    async fn settle_messages(
        &self,
        claims: &[(i64, i64)],
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// When the next message of `channels` is due; a claimed one when its claim runs out.
    async fn next_message_at(&self, channels: &[String]) -> Result<Option<Timestamp>, StoreError>;

    /// How many wait or were given up.
    async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError>;

    /// Messages, the newest first.
    async fn messages(
        &self,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<Vec<MessageRecord>, StoreError>;

    /// What the audit log says of a tenant's changes from `from` on and before `until`.
    async fn change_figures(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<ChangeFigures, StoreError>;

    /// What the ledger's entries that occurred from `from` on and before `until` add up to, as far
    /// as they are credited to ads; a sum for each currency.
    async fn credited_between(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Money>, StoreError>;
}
