//! How fast clicks are taken and the API is used: so many of an address, so many of a tenant or a
//! token, in memory that does not grow with who comes.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::clock::limiter::LimiterClock;
use crate::domain::ids::{TenantId, TokenId};
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

/// How fast the API is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiLimits {
    /// Requests with one token in a second; as many may come at once as in two.
    pub per_token_per_second: u32,
    /// Requests of one address in a minute; half of them may come at once.
    pub per_address_per_minute: u32,
    /// Requests of one address in a minute whose token is missing or wrong.
    pub refused_per_address_per_minute: u32,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            per_token_per_second: 50,
            per_address_per_minute: 6_000,
            refused_per_address_per_minute: 30,
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

/// Counts by address, in cells of a part of its keyed hash: 65,536 and never more, whoever calls. Two
/// addresses in one cell share its pace, and nobody without the key can aim at a cell.
pub(super) struct Addresses(Limiter<u16>);

impl Addresses {
    fn new(per_minute: u32, clock: LimiterClock) -> Self {
        let quota =
            Quota::per_minute(at_least_one(per_minute)).allow_burst(at_least_one(per_minute / 2));
        Self(RateLimiter::new(quota, DashMapStateStore::default(), clock))
    }

    /// Counts one more of the address; `false` when that is too many.
    pub(super) fn takes(&self, ip: IpAddr, hasher: &KeyedHasher) -> bool {
        let cell = hasher.hash("pace", &network(ip).to_string()).0;
        let cell = cell
            .get(..4)
            .and_then(|hex| u16::from_str_radix(hex, 16).ok());
        self.0.check_key(&cell.unwrap_or_default()).is_ok()
    }
}

fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

fn per_second<K: std::hash::Hash + Eq + Clone>(n: u32, clock: LimiterClock) -> Limiter<K> {
    let quota = Quota::per_second(at_least_one(n)).allow_burst(at_least_one(n.saturating_mul(2)));
    RateLimiter::new(quota, DashMapStateStore::default(), clock)
}

/// Counts requests to the API.
pub(super) struct ApiPace {
    pub(super) limits: ApiLimits,
    pub(super) addresses: Addresses,
    pub(super) refused: Addresses,
    /// Only tokens that are kept are asked about.
    pub(super) tokens: Limiter<TokenId>,
}

impl ApiPace {
    pub(super) fn new(limits: ApiLimits, clock: Arc<dyn Clock>) -> Self {
        let clock = LimiterClock::new(clock);
        Self {
            limits,
            addresses: Addresses::new(limits.per_address_per_minute, clock.clone()),
            refused: Addresses::new(limits.refused_per_address_per_minute, clock.clone()),
            tokens: per_second(limits.per_token_per_second, clock),
        }
    }
}

/// Counts reports.
pub(super) struct Pace {
    pub(super) limits: ClickLimits,
    addresses: Addresses,
    /// Only tenants that are configured are asked about.
    tenants: Limiter<TenantId>,
    /// When a tenant's log may say again that a foreign page reported.
    complaints: Limiter<TenantId>,
}

impl Pace {
    pub(super) fn new(limits: ClickLimits, clock: Arc<dyn Clock>) -> Self {
        let clock = LimiterClock::new(clock);
        let complaint = Quota::per_hour(at_least_one(6)).allow_burst(NonZeroU32::MIN);
        Self {
            limits,
            addresses: Addresses::new(limits.per_address_per_minute, clock.clone()),
            tenants: per_second(limits.per_tenant_per_second, clock.clone()),
            complaints: RateLimiter::new(complaint, DashMapStateStore::default(), clock),
        }
    }

    pub(super) fn check(
        &self,
        tenant: &TenantId,
        ip: IpAddr,
        hasher: &KeyedHasher,
    ) -> Result<(), TooFast> {
        // The address first: one that floods uses up its own share and not the tenant's.
        if !self.addresses.takes(ip, hasher) {
            return Err(TooFast::Address);
        }
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
        assert!(pace.addresses.0.len() <= 65_536);
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
