//! The audit log: what was done to an account, why, and what it was before, as a chain of hashes in
//! which no line can be changed or left out unseen. It holds no personal data, so that erasing a
//! contact never breaks the chain.

use sha2::{Digest, Sha256};

use super::change::Target;
use super::ids::{CampaignId, ChangeId, TenantId};
use super::structure::EntityRef;
use super::time::{self, Timestamp};

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
    /// A breaker tripped.
    BreakerTripped,
}

impl AuditEvent {
    /// Every event.
    pub const ALL: [Self; 14] = [
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
        Self::BreakerTripped,
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
            Self::BreakerTripped => "breaker_tripped",
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
    /// Who did it: `roasd` (`roasd@NODE` where there are several nodes), `cli`, `api:NAME`, `meta:ACTOR`.
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

/// What stands for the hash before the first line.
pub const GENESIS_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Where a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit log is broken at line {sequence}: {what}")]
pub struct BrokenChain {
    /// The line, by the number it should have.
    pub sequence: i64,
    /// What does not hold.
    pub what: &'static str,
}

/// Puts a line into its chain, after the line whose hash is `previous_hash` ([`GENESIS_HASH`] for
/// the first, whose `sequence` is 1).
#[must_use]
pub fn chain(entry: AuditEntry, sequence: i64, previous_hash: &str) -> ChainedEntry {
    let hash = hash_of(&entry, sequence, previous_hash);
    ChainedEntry {
        sequence,
        entry,
        previous_hash: previous_hash.to_owned(),
        hash,
    }
}

/// Checks one tenant's whole chain, from its first line.
///
/// # Errors
/// The first line that was changed, left out, moved or added.
pub fn verify(entries: &[ChainedEntry]) -> Result<(), BrokenChain> {
    verify_after(0, GENESIS_HASH, entries)
}

/// Checks a part of a tenant's chain that follows the line `sequence` whose hash is `hash`: a chain
/// too long to hold in memory is checked page by page.
///
/// # Errors
/// The first line that was changed, left out, moved or added.
pub fn verify_after(
    sequence: i64,
    hash: &str,
    entries: &[ChainedEntry],
) -> Result<(), BrokenChain> {
    let (mut sequence, mut previous) = (sequence, hash);
    let tenant = entries.first().map(|line| &line.entry.tenant);
    for line in entries {
        sequence = sequence.saturating_add(1);
        let broken = |what| Err(BrokenChain { sequence, what });
        if line.sequence != sequence {
            return broken("a line is missing, doubled or out of order");
        }
        if Some(&line.entry.tenant) != tenant {
            return broken("the line is of another tenant");
        }
        if line.previous_hash != previous {
            return broken("it does not follow from the line before");
        }
        if line.hash != hash_of(&line.entry, line.sequence, &line.previous_hash) {
            return broken("its content is not what was written");
        }
        previous = &line.hash;
    }
    Ok(())
}

/// SHA-256 over the fields in a fixed order, each with its length before it, so that no two lines
/// are the same bytes; times as microseconds, the resolution at rest.
fn hash_of(entry: &AuditEntry, sequence: i64, previous_hash: &str) -> String {
    let mut fields = Fields(Sha256::new());
    fields.text("roasd audit line, version 1");
    fields.number(sequence);
    fields.text(previous_hash);
    let AuditEntry {
        tenant,
        at,
        event,
        actor,
        change,
        entity,
        campaign,
        before,
        after,
        rule,
        detail,
        vendor_request,
    } = entry;
    fields.text(tenant.as_str());
    fields.number(time::to_micros(*at));
    fields.text(event.as_str());
    fields.text(actor);
    fields.maybe(change.as_ref().map(ChangeId::as_str));
    fields.maybe(entity.as_ref().map(|e| e.kind().as_str()));
    fields.maybe(entity.as_ref().map(EntityRef::id));
    fields.maybe(campaign.as_ref().map(CampaignId::as_str));
    fields.target(before.as_ref());
    fields.target(after.as_ref());
    fields.maybe(rule.as_deref());
    fields.text(detail);
    fields.maybe(vendor_request.as_deref());
    hex::encode(fields.0.finalize())
}

struct Fields(Sha256);

impl Fields {
    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    fn number(&mut self, number: i64) {
        self.0.update(number.to_be_bytes());
    }

    fn maybe(&mut self, text: Option<&str>) {
        match text {
            None => self.0.update([0]),
            Some(text) => {
                self.0.update([1]);
                self.text(text);
            }
        }
    }

    fn target(&mut self, target: Option<&Target>) {
        match target {
            None => self.0.update([0]),
            Some(Target::DailyBudget(money)) => {
                self.0.update([1]);
                self.text(money.currency().code());
                self.number(money.minor());
            }
            Some(Target::Status(status)) => {
                self.0.update([2]);
                self.text(status.as_str());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::{Currency, Money};
    use crate::domain::structure::RunStatus;
    use proptest::prelude::*;

    fn entry(detail: &str) -> AuditEntry {
        AuditEntry {
            tenant: TenantId::new("gym").unwrap(),
            at: time::from_seconds(1_790_000_000),
            event: AuditEvent::Completed,
            actor: "roasd".into(),
            change: Some(ChangeId::new("c1").unwrap()),
            entity: Some(EntityRef::Campaign(CampaignId::new("1").unwrap())),
            campaign: Some(CampaignId::new("1").unwrap()),
            before: Some(Target::DailyBudget(Money::from_minor(1_000, Currency::USD))),
            after: Some(Target::DailyBudget(Money::from_minor(1_200, Currency::USD))),
            rule: None,
            detail: detail.into(),
            vendor_request: Some("Abc".into()),
        }
    }

    fn chain_of(details: &[&str]) -> Vec<ChainedEntry> {
        let mut lines: Vec<ChainedEntry> = Vec::new();
        for (i, detail) in details.iter().enumerate() {
            let before = lines
                .last()
                .map_or(GENESIS_HASH.to_owned(), |l| l.hash.clone());
            lines.push(chain(entry(detail), i as i64 + 1, &before));
        }
        lines
    }

    fn broken_at(lines: &[ChainedEntry]) -> Option<i64> {
        verify(lines).err().map(|b| b.sequence)
    }

    #[test]
    fn an_untouched_chain_holds() {
        assert_eq!(verify(&[]), Ok(()));
        assert_eq!(verify(&chain_of(&["a", "b", "c"])), Ok(()));
        let lines = chain_of(&["a", "b", "c"]);
        assert_eq!(verify_after(1, &lines[0].hash, &lines[1..]), Ok(()));
    }

    #[test]
    fn every_field_counts() {
        let base = chain(entry("a"), 1, GENESIS_HASH).hash;
        let edits: Vec<fn(&mut AuditEntry)> = vec![
            |e| e.tenant = TenantId::new("spa").unwrap(),
            |e| e.at = time::add(e.at, time::millis(1)),
            |e| e.event = AuditEvent::Failed,
            |e| e.actor = "cli".into(),
            |e| e.change = None,
            |e| {
                e.entity = Some(EntityRef::AdSet(
                    crate::domain::ids::AdSetId::new("1").unwrap(),
                ))
            },
            |e| e.campaign = None,
            |e| e.before = e.after,
            |e| e.after = Some(Target::DailyBudget(Money::from_minor(1_200, Currency::EUR))),
            |e| e.after = Some(Target::Status(RunStatus::Paused)),
            |e| e.rule = Some(String::new()),
            |e| e.detail = "b".into(),
            |e| e.vendor_request = None,
        ];
        for (i, edit) in edits.into_iter().enumerate() {
            let mut changed = entry("a");
            edit(&mut changed);
            assert_ne!(chain(changed, 1, GENESIS_HASH).hash, base, "edit {i}");
        }
        assert_ne!(chain(entry("a"), 2, GENESIS_HASH).hash, base);
    }

    #[test]
    fn text_cannot_slide_from_one_field_to_the_next() {
        let (mut a, mut b) = (entry("xy"), entry("y"));
        a.actor = "r".into();
        b.actor = "rx".into();
        assert_ne!(
            chain(a, 1, GENESIS_HASH).hash,
            chain(b, 1, GENESIS_HASH).hash
        );
    }

    #[test]
    fn tampering_is_seen_where_it_is() {
        let whole = chain_of(&["a", "b", "c", "d"]);
        let mut edited = whole.clone();
        edited[1].entry.detail = "x".into();
        assert_eq!(broken_at(&edited), Some(2));
        // Rehashing the edited line breaks the next one.
        edited[1] = chain(edited[1].entry.clone(), 2, &edited[1].previous_hash.clone());
        assert_eq!(broken_at(&edited), Some(3));
        let mut removed = whole.clone();
        removed.remove(1);
        assert_eq!(broken_at(&removed), Some(2));
        let mut swapped = whole.clone();
        swapped.swap(1, 2);
        assert_eq!(broken_at(&swapped), Some(2));
        assert_eq!(broken_at(&whole[1..]), Some(1));
        let mut foreign = whole;
        foreign[3].entry.tenant = TenantId::new("spa").unwrap();
        assert_eq!(broken_at(&foreign), Some(4));
    }

    #[test]
    fn the_encoding_never_changes() {
        // A known answer: a different one would break every log already written.
        assert_eq!(chain(entry("a"), 1, GENESIS_HASH).hash, KNOWN_ANSWER);
    }

    // Computed by another program from the description above.
    const KNOWN_ANSWER: &str = "5fbccc433cae3ea148a11b96e30dad27ec2893df596abafdaa4aa820c1601d30";

    proptest! {
        #[test]
        fn any_chain_holds_until_a_line_is_edited(
            details in proptest::collection::vec(".{0,20}", 1..12),
            at in any::<prop::sample::Index>(),
        ) {
            let texts: Vec<&str> = details.iter().map(String::as_str).collect();
            let mut lines = chain_of(&texts);
            prop_assert_eq!(verify(&lines), Ok(()));
            let i = at.index(lines.len());
            lines[i].entry.detail.push('!');
            prop_assert_eq!(verify(&lines).map_err(|b| b.sequence), Err(i as i64 + 1));
        }
    }
}
