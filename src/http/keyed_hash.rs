//! Keyed hashes of what is personal: the plain value is never kept, and without the key nobody can
//! try out addresses.

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use crate::domain::visit::KeyedHash;

/// Makes keyed hashes.
#[derive(Debug, Clone)]
pub struct KeyedHasher(SecretString);

impl KeyedHasher {
    /// A hasher with this key.
    #[must_use]
    pub const fn new(key: SecretString) -> Self {
        Self(key)
    }

    /// The hash of `value` as a `kind` of thing: equal values of two kinds have two hashes. The
    /// first 128 bits of HMAC-SHA-256, in hex.
    #[must_use]
    pub fn hash(&self, kind: &str, value: &str) -> KeyedHash {
        // HMAC takes keys of any length; were there none, nothing would match, which is safe.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.expose_secret().as_bytes()) else {
            return KeyedHash(String::new());
        };
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        let digest = mac.finalize().into_bytes();
        KeyedHash(hex::encode(digest.get(..16).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // HMAC-SHA-256 of kind, a zero byte and value, made with another implementation.
        let hasher = KeyedHasher::new("roasd-test-key".to_owned().into());
        let check = |kind, value, expected: &str| assert_eq!(hasher.hash(kind, value).0, expected);
        check("ip", "203.0.113.7", "0476d22928a50221cb2a020ce1326e9a");
        check("device", "", "5ff36248f1fae4e90487733de592ccb2");
    }

    #[test]
    fn equal_values_meet_under_one_key_and_kind_only() {
        let a = KeyedHasher::new("one key".to_owned().into());
        let b = KeyedHasher::new("another key".to_owned().into());
        assert_eq!(a.hash("ip", "203.0.113.7"), a.hash("ip", "203.0.113.7"));
        assert_ne!(a.hash("ip", "203.0.113.7"), a.hash("ip", "203.0.113.8"));
        assert_ne!(a.hash("ip", "x"), a.hash("ua", "x"));
        assert_ne!(a.hash("ip", "x"), b.hash("ip", "x"));
        assert_eq!(a.hash("ip", "x").0.len(), 32);
        assert!(!format!("{a:?}").contains("one key"));
    }
}
