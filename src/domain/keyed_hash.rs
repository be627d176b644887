//! Keyed hashes of what is personal: the plain value is never kept, and without the key nobody can
//! try out addresses.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::visit::KeyedHash;

/// Makes keyed hashes. It holds the key as the state of a hash that has taken it in, which tells
/// nothing of it.
#[derive(Clone)]
pub struct KeyedHasher(Option<Hmac<Sha256>>);

impl fmt::Debug for KeyedHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHasher")
    }
}

impl KeyedHasher {
    /// A hasher with this key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        // HMAC takes keys of any length; were there none, nothing would match, which is safe.
        Self(Hmac::<Sha256>::new_from_slice(key).ok())
    }

    /// The hash of `value` as a `kind` of thing: equal values of two kinds have two hashes. The
    /// first 128 bits of HMAC-SHA-256, in hex.
    #[must_use]
    pub fn hash(&self, kind: &str, value: &str) -> KeyedHash {
        let Some(mut mac) = self.0.clone() else {
            return KeyedHash(String::new());
        };
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        let digest = mac.finalize().into_bytes();
        KeyedHash(hex::encode(digest.get(..16).unwrap_or_default()))
    }

    /// The hash of a mail address: the same however it is written in capitals or set off by blanks,
    /// as the CRM and Meta's forms each do (Meta, Conversions API: "trim, lowercase"). `None` for a
    /// text that is no address.
    #[must_use]
    pub fn email(&self, text: &str) -> Option<KeyedHash> {
        let plain = text.trim().to_lowercase();
        let is_address = plain.len() <= 254
            && plain.split_once('@').is_some_and(|(user, host)| {
                !user.is_empty() && host.contains('.') && !host.contains('@')
            });
        is_address.then(|| self.hash("email", &plain))
    }

    /// The hash of a telephone number: digits alone, without the zeros or the plus in front (Meta,
    /// likewise). A number without its country's code is another than the one with it: nobody knows
    /// here which country is meant. `None` for what has too few digits to be one.
    #[must_use]
    pub fn phone(&self, text: &str) -> Option<KeyedHash> {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let digits = digits.trim_start_matches('0');
        (7..=15)
            .contains(&digits.len())
            .then(|| self.hash("phone", digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // HMAC-SHA-256 of kind, a zero byte and value, made with another implementation.
        let hasher = KeyedHasher::new(b"roasd-test-key");
        let check = |kind, value, expected: &str| assert_eq!(hasher.hash(kind, value).0, expected);
        check("ip", "203.0.113.7", "0476d22928a50221cb2a020ce1326e9a");
        check("device", "", "5ff36248f1fae4e90487733de592ccb2");
    }

    #[test]
    fn equal_values_meet_under_one_key_and_kind_only() {
        let a = KeyedHasher::new(b"one key");
        let b = KeyedHasher::new(b"another key");
        assert_eq!(a.hash("ip", "203.0.113.7"), a.hash("ip", "203.0.113.7"));
        assert_ne!(a.hash("ip", "203.0.113.7"), a.hash("ip", "203.0.113.8"));
        assert_ne!(a.hash("ip", "x"), a.hash("ua", "x"));
        assert_ne!(a.hash("ip", "x"), b.hash("ip", "x"));
        assert_eq!(a.hash("ip", "x").0.len(), 32);
        assert!(!format!("{a:?}").contains("one key"));
    }

    #[test]
    fn people_are_the_same_however_they_are_written() {
        let hasher = KeyedHasher::new(b"one key");
        let email = |text: &str| hasher.email(text);
        assert_eq!(
            email(" Ana.Adams@Example.com\n"),
            email("ana.adams@example.com")
        );
        assert_ne!(email("ana@example.com"), email("ben@example.com"));
        for bad in [
            "",
            "ana",
            "@example.com",
            "ana@",
            "ana@localhost",
            "a@b@c.de",
        ] {
            assert_eq!(email(bad), None, "{bad}");
        }
        let phone = |text: &str| hasher.phone(text);
        assert_eq!(phone("+1 (650) 555-1212"), phone("0016505551212"));
        assert_ne!(phone("+1 650 555 1212"), phone("+1 650 555 1213"));
        for bad in ["", "12345", "call me", "1234567890123456"] {
            assert_eq!(phone(bad), None, "{bad}");
        }
    }
}
