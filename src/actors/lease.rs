//! The right to work for a tenant, as its actors see it: watched on a clock that never jumps, and
//! looked at as the last step before a call leaves for a vendor.
//!
//! The store's fence keeps a deposed node from writing to the store, but Meta checks no token. So a
//! call leaves only while the lease is good, and whoever takes a tenant over waits until the last
//! call of the late holder must have ended (see [`Lease::settled_after`]).

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::clock::since_boot;
use crate::domain::time::Timestamp;

/// Shared by the placement, which renews it, and the tenant's actors, which look at it.
#[derive(Debug)]
pub struct Lease {
    /// On [`since_boot`]'s clock; `None` for ever.
    good_until: Option<Mutex<Duration>>,
    /// Before this nothing is written to a vendor, and nothing unsettled is settled: a call of the
    /// late holder may still be on its way.
    pub settled_after: Timestamp,
}

impl Lease {
    /// The lease of a node that shares its store with no other.
    #[must_use]
    pub const fn for_ever() -> Self {
        Self {
            good_until: None,
            settled_after: Timestamp::MIN,
        }
    }

    /// A lease that is good until `good_until` on [`since_boot`]'s clock.
    #[must_use]
    pub const fn until(good_until: Duration, settled_after: Timestamp) -> Self {
        Self {
            good_until: Some(Mutex::new(good_until)),
            settled_after,
        }
    }

    /// Prolongs it; a lease is never cut short by a late answer to an earlier renewal.
    pub fn renew(&self, good_until: Duration) {
        if let Some(own) = &self.good_until {
            let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
            *own = (*own).max(good_until);
        }
    }

    /// Ends it at once.
    pub fn end(&self) {
        if let Some(own) = &self.good_until {
            *own.lock().unwrap_or_else(PoisonError::into_inner) = Duration::ZERO;
        }
    }

    /// Whether a call may leave now.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.good_until.as_ref().is_none_or(|until| {
            since_boot() < *until.lock().unwrap_or_else(PoisonError::into_inner)
        })
    }
}

/// Where a tenant's clients find the lease in force. Empty while the tenant is not held here.
#[derive(Debug, Default)]
pub struct LeaseSlot(ArcSwapOption<Lease>);

impl LeaseSlot {
    /// Puts a lease in force, or with `None` none.
    pub fn set(&self, lease: Option<std::sync::Arc<Lease>>) {
        self.0.store(lease);
    }

    /// Whether a call may leave now.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.0.load().as_ref().is_some_and(|lease| lease.is_good())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const FAR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_lease_is_good_until_it_ends_and_never_cut_short() {
        let lease = Lease::until(since_boot() + FAR, Timestamp::MIN);
        assert!(lease.is_good());
        lease.renew(Duration::ZERO);
        assert!(lease.is_good());
        lease.end();
        assert!(!lease.is_good());
        assert!(!Lease::until(Duration::ZERO, Timestamp::MIN).is_good());
        assert!(Lease::for_ever().is_good());
    }

    #[test]
    fn an_empty_slot_lets_nothing_leave() {
        let slot = LeaseSlot::default();
        assert!(!slot.is_good());
        slot.set(Some(Arc::new(Lease::for_ever())));
        assert!(slot.is_good());
        slot.set(None);
        assert!(!slot.is_good());
    }
}
