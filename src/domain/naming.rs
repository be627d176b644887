//! Names new things: ids that are made from what they stand for and not from chance, so that a
//! replay gives the same ones, and that sort by time like a UUID of version 7.

use sha2::{Digest, Sha256};

use super::ids::{ChangeId, DecisionId, RunId, TenantId, VisitId};
use super::time::Timestamp;

/// What an id is made from. Two things of one kind must differ in at least one field.
#[derive(Debug, Clone, Copy)]
pub struct Naming<'a> {
    /// The seed of the process or run.
    pub seed: u64,
    /// The tenant.
    pub tenant: &'a TenantId,
    /// When the thing was made.
    pub at: Timestamp,
    /// Counts the things made at this instant.
    pub counter: u64,
}

impl Naming<'_> {
    /// The id of a change.
    #[must_use]
    pub fn change(self) -> ChangeId {
        ChangeId::minted(&self.text("change"))
    }

    /// The id of a decision.
    #[must_use]
    pub fn decision(self) -> DecisionId {
        DecisionId::minted(&self.text("decision"))
    }

    /// The id of a run.
    #[must_use]
    pub fn run(self) -> RunId {
        RunId::minted(&self.text("run"))
    }

    /// The id of a visit; `seed` must be secret and differ by process where visitors could guess
    /// one another's.
    #[must_use]
    pub fn visit(self) -> VisitId {
        VisitId::minted(&self.text("visit"))
    }

    /// Milliseconds, version and variant as in a UUID of version 7 (RFC 9562), and 74 bits of
    /// SHA-256 over what the id is made from.
    fn text(self, kind: &str) -> String {
        let mut hash = Sha256::new();
        for part in [kind.as_bytes(), self.tenant.as_str().as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(self.seed.to_be_bytes());
        hash.update(self.at.as_nanosecond().to_be_bytes());
        hash.update(self.counter.to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut bits = [0_u8; 16];
        bits.copy_from_slice(digest.first_chunk::<16>().unwrap_or(&[0; 16]));
        let bits = u128::from_be_bytes(bits);
        let millis = u128::from(self.at.as_millisecond().max(0).unsigned_abs());
        let id = (millis & 0xffff_ffff_ffff) << 80
            | 0x7 << 76
            | (bits >> 64 & 0xfff) << 64
            | 0b10 << 62
            | bits & 0x3fff_ffff_ffff_ffff;
        let hex = format!("{id:032x}");
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or("");
        format!(
            "{}-{}-{}-{}-{}",
            part(0, 8),
            part(8, 12),
            part(12, 16),
            part(16, 20),
            part(20, 32)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time;
    use std::collections::BTreeSet;

    fn naming(tenant: &TenantId, at: i64, counter: u64) -> Naming<'_> {
        Naming {
            seed: 7,
            tenant,
            at: time::from_millis(at),
            counter,
        }
    }

    #[test]
    fn an_id_is_made_from_what_it_stands_for() {
        let (gym, spa) = (TenantId::new("gym").unwrap(), TenantId::new("spa").unwrap());
        let base = naming(&gym, 1_790_000_000_000, 0);
        assert_eq!(base.change(), base.change());
        let mut seen = BTreeSet::from([base.change().to_string()]);
        for other in [
            naming(&spa, 1_790_000_000_000, 0).change().to_string(),
            naming(&gym, 1_790_000_000_001, 0).change().to_string(),
            naming(&gym, 1_790_000_000_000, 1).change().to_string(),
            Naming { seed: 8, ..base }.change().to_string(),
            base.decision().to_string(),
            base.run().to_string(),
            base.visit().to_string(),
        ] {
            assert!(seen.insert(other.clone()), "{other}");
        }
    }

    #[test]
    fn ids_have_the_form_of_a_uuid_and_sort_by_time() {
        let gym = TenantId::new("gym").unwrap();
        let mut last = String::new();
        for i in 0..200 {
            let id = naming(&gym, 1_790_000_000_000 + i, 9).change().to_string();
            assert!(id > last, "{id} after {last}");
            assert_eq!(id.len(), 36);
            assert_eq!(&id[14..15], "7");
            assert!("89ab".contains(&id[19..20]), "{id}");
            last = id;
        }
    }
}
