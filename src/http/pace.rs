//! How fast clicks are taken: so many of an address, so many of a tenant, in memory that does not
//! grow with either.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::clock::limiter::LimiterClock;
use crate::domain::ids::TenantId;
use crate::domain::keyed_hash::KeyedHasher;

/// How fast clicks are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClickLimits {
    /// Reports of one address in a minute; half of them may come at once.
    pub per_address_per_minute: u32,
    /// Reports to one tenant in a second; as many may come at once as in two.
    pub per_tenant_per_second: u32,
}

impl Default for ClickLimits {
    fn default() -> Self {
        Self {
            per_address_per_minute: 60,
            per_tenant_per_second: 500,
        }
    }
}

/// Which of the limits was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooFast {
    Address,
    Tenant,
}

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, LimiterClock, NoOpMiddleware<Nanos>>;

/// Counts reports.
pub(super) struct Pace {
    pub(super) limits: ClickLimits,
    /// By a part of the keyed hash of the address: 65,536 cells and never more, whoever calls. Two
    /// visitors in one cell share its pace, and nobody without the key can aim at a cell.
    addresses: Limiter<u16>,
    /// Only tenants that are configured are asked about.
    tenants: Limiter<TenantId>,
    /// When a tenant's log may say again that a foreign page reported.
    complaints: Limiter<TenantId>,
}

impl Pace {
    pub(super) fn new(limits: ClickLimits, clock: Arc<dyn Clock>) -> Self {
        let clock = LimiterClock::new(clock);
        let count = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let address = Quota::per_minute(count(limits.per_address_per_minute))
            .allow_burst(count(limits.per_address_per_minute / 2));
        let tenant = Quota::per_second(count(limits.per_tenant_per_second))
            .allow_burst(count(limits.per_tenant_per_second.saturating_mul(2)));
        let complaint = Quota::per_hour(count(6)).allow_burst(NonZeroU32::MIN);
        Self {
            limits,
            addresses: RateLimiter::new(address, DashMapStateStore::default(), clock.clone()),
            tenants: RateLimiter::new(tenant, DashMapStateStore::default(), clock.clone()),
            complaints: RateLimiter::new(complaint, DashMapStateStore::default(), clock),
        }
    }

    pub(super) fn check(
        &self,
        tenant: &TenantId,
        ip: IpAddr,
        hasher: &KeyedHasher,
    ) -> Result<(), TooFast> {
        let cell = hasher.hash("pace", &network(ip).to_string()).0;
        let cell = cell
            .get(..4)
            .and_then(|hex| u16::from_str_radix(hex, 16).ok());
        // The address first: one that floods uses up its own share and not the tenant's.
        self.addresses
            .check_key(&cell.unwrap_or_default())
            .map_err(|_| TooFast::Address)?;
        self.tenants.check_key(tenant).map_err(|_| TooFast::Tenant)
    }

    pub(super) fn may_complain(&self, tenant: &TenantId) -> bool {
        self.complaints.check_key(tenant).is_ok()
    }
}

/// What one customer of a provider holds: an address of version 4, a /64 of version 6, in which
/// every device makes up addresses as it likes.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() & !u128::from(u64::MAX)).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SteppedClock;
    use crate::domain::time;

    fn tenant(id: &str) -> TenantId {
        TenantId::new(id).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn hasher() -> KeyedHasher {
        KeyedHasher::new(b"a key of the tests")
    }

    #[tokio::test]
    async fn one_address_cannot_flood() {
        let clock = SteppedClock::new(time::from_seconds(1_790_000_000));
        let pace = Pace::new(ClickLimits::default(), Arc::new(clock.clone()));
        let check = |address: &str| pace.check(&tenant("gym"), ip(address), &hasher());
        let passed = (0..100).filter(|_| check("203.0.113.7").is_ok()).count();
        assert_eq!(passed, 30);
        assert_eq!(check("203.0.113.7"), Err(TooFast::Address));
        assert_eq!(check("203.0.113.8"), Ok(()));
        clock.advance(time::seconds(60)).await;
        assert_eq!(check("203.0.113.7"), Ok(()));
    }

    #[tokio::test]
    async fn many_addresses_cannot_flood_a_tenant_nor_fill_the_memory() {
        let clock = SteppedClock::new(time::from_seconds(1_790_000_000));
        let pace = Pace::new(ClickLimits::default(), Arc::new(clock));
        let hasher = hasher();
        let addresses = (0..100_000_u32).map(|n| IpAddr::from(n.to_be_bytes()));
        let passed = addresses
            .filter(|ip| pace.check(&tenant("gym"), *ip, &hasher).is_ok())
            .count();
        assert_eq!(passed, 1_000);
        assert!(pace.addresses.len() <= 65_536);
        assert_eq!(
            pace.check(&tenant("spa"), ip("203.0.113.7"), &hasher),
            Ok(())
        );
    }

    #[test]
    fn a_device_does_not_multiply_by_its_addresses() {
        assert_eq!(network(ip("2001:db8::1")), network(ip("2001:db8::ffff:2")));
        assert_ne!(network(ip("2001:db8::1")), network(ip("2001:db8:0:1::1")));
        assert_ne!(network(ip("203.0.113.7")), network(ip("203.0.113.8")));
    }
}
