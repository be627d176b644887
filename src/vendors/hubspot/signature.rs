//! The signatures of HubSpot's webhooks; pure. Version 3 covers method, address, body and time;
//! 1 and 2 stop no replay and are checked only where a tenant allows them.
//! Source: HubSpot, "Validating requests".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::domain::time::{self, SignedDuration, Timestamp};

/// How old a signed request may be, and how far ahead its clock.
pub const TOLERANCE: SignedDuration = time::minutes(5);

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// No secret is configured, so nothing can be believed.
    #[error("no client secret is configured for HubSpot")]
    NoSecret,
    /// The time is not a number of milliseconds.
    #[error("the request's timestamp is not a number of milliseconds")]
    BadTimestamp,
    /// It is older than five minutes: a replay, or our clock is ahead.
    #[error("the request is older than 5 minutes, check the clock of this machine")]
    TooOld,
    /// It is from the future: our clock is behind.
    #[error("the request is more than 5 minutes ahead, check the clock of this machine")]
    TooNew,
    /// It is not Base64 or hex.
    #[error("the signature is malformed")]
    Malformed,
    /// Another secret, address or body was signed.
    #[error("the signature does not match, check the client secret and daemon.public_url")]
    Mismatch,
}

/// A request as it came, with what HubSpot signed it by.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// Such as `POST`.
    pub method: &'a str,
    /// The whole address as HubSpot called it, from the configured public one, with its query as
    /// it came.
    pub uri: &'a str,
    /// The raw body.
    pub body: &'a [u8],
    /// `X-HubSpot-Request-Timestamp`, as it came.
    pub timestamp: &'a str,
    /// `X-HubSpot-Signature-v3`, as it came.
    pub signature: &'a str,
}

/// Checks `X-HubSpot-Signature-v3`: Base64 of HMAC-SHA-256 over method, address, raw body and the
/// timestamp as it came. `tolerance` is [`TOLERANCE`], stretched where a rehearsal's `now` runs
/// faster than the network.
///
/// # Errors
/// [`SignatureFault`] when the request is not HubSpot's, or is stale.
pub fn verify_v3(
    secret: &[u8],
    request: &SignedRequest<'_>,
    now: Timestamp,
    tolerance: SignedDuration,
) -> Result<(), SignatureFault> {
    if secret.is_empty() {
        return Err(SignatureFault::NoSecret);
    }
    let at: i64 = request
        .timestamp
        .parse()
        .map_err(|_| SignatureFault::BadTimestamp)?;
    let age = time::between(time::from_millis(at), now);
    if age > tolerance {
        return Err(SignatureFault::TooOld);
    }
    if age < -tolerance {
        return Err(SignatureFault::TooNew);
    }
    let signature = STANDARD
        .decode(request.signature)
        .map_err(|_| SignatureFault::Malformed)?;
    // A key of HMAC has any length, so this never fails.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| SignatureFault::NoSecret)?;
    mac.update(request.method.as_bytes());
    mac.update(decoded(request.uri).as_bytes());
    mac.update(request.body);
    mac.update(request.timestamp.as_bytes());
    mac.verify_slice(&signature)
        .map_err(|_| SignatureFault::Mismatch)
}

/// Checks `X-HubSpot-Signature` version 1: hex SHA-256 of secret and body.
///
/// # Errors
/// [`SignatureFault`] when it does not match.
pub fn verify_v1(secret: &[u8], body: &[u8], signature: &str) -> Result<(), SignatureFault> {
    verify_digest(secret, &[body], signature)
}

/// Checks `X-HubSpot-Signature` version 2: hex SHA-256 of secret, method, address and body.
///
/// # Errors
/// [`SignatureFault`] when it does not match.
pub fn verify_v2(
    secret: &[u8],
    method: &str,
    uri: &str,
    body: &[u8],
    signature: &str,
) -> Result<(), SignatureFault> {
    verify_digest(
        secret,
        &[method.as_bytes(), uri.as_bytes(), body],
        signature,
    )
}

fn verify_digest(secret: &[u8], parts: &[&[u8]], signature: &str) -> Result<(), SignatureFault> {
    if secret.is_empty() {
        return Err(SignatureFault::NoSecret);
    }
    let given = hex::decode(signature).map_err(|_| SignatureFault::Malformed)?;
    let mut digest = Sha256::new();
    digest.update(secret);
    for part in parts {
        digest.update(part);
    }
    if bool::from(digest.finalize().as_slice().ct_eq(&given)) {
        Ok(())
    } else {
        Err(SignatureFault::Mismatch)
    }
}

/// The escapes that HubSpot decodes before it signs; no others.
const ESCAPES: [(&str, char); 12] = [
    ("3A", ':'),
    ("2F", '/'),
    ("3F", '?'),
    ("40", '@'),
    ("21", '!'),
    ("24", '$'),
    ("27", '\''),
    ("28", '('),
    ("29", ')'),
    ("2A", '*'),
    ("2C", ','),
    ("3B", ';'),
];

fn decoded(uri: &str) -> String {
    let mut parts = uri.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let escape = ESCAPES
            .iter()
            .find_map(|(code, c)| part.strip_prefix(code).map(|rest| (*c, rest)));
        match escape {
            Some((c, rest)) => {
                out.push(c);
                out.push_str(rest);
            }
            None => {
                out.push('%');
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"roasd-test-client-secret";
    const TIME: &str = "1790000000123";
    const BODY: &[u8] = br#"[{"eventId":3816279340,"subscriptionId":25,"portalId":33,"appId":1160452,"occurredAt":1790000000000,"subscriptionType":"deal.propertyChange","attemptNumber":0,"objectId":1246965,"propertyName":"dealstage","propertyValue":"closedwon","changeSource":"CRM_UI"}]"#;
    const URI: &str = "https://hooks.example.com/webhooks/hubspot";
    const SIGNATURE: &str = "CX2N9Z3dFMylsi8oAyBxcQ51nHqufxwStWjunF8WXes=";

    const GOOD: SignedRequest<'_> = SignedRequest {
        method: "POST",
        uri: URI,
        body: BODY,
        timestamp: TIME,
        signature: SIGNATURE,
    };

    fn now() -> Timestamp {
        time::from_millis(1_790_000_000_123)
    }

    #[test]
    fn known_answers() {
        assert_eq!(BODY.len(), 258);
        let check = |uri: &str, signature: &str| {
            let request = SignedRequest {
                uri,
                signature,
                ..GOOD
            };
            let found = verify_v3(SECRET, &request, now(), TOLERANCE);
            assert_eq!(found, Ok(()), "{uri}");
        };
        check(URI, SIGNATURE);
        check(
            "https://hooks.example.com/webhooks/hubspot?tenant=acme%2Fwest&t=a%20b",
            "PT7e1pZPPzFuyP/CripHaFUyutr9e9raqc7ZF3k5JBg=",
        );
        let v1 = "8376d624b7834a6fd292df613a33f4373d61061362f729b962d8cc877df9c620";
        assert_eq!(verify_v1(SECRET, BODY, v1), Ok(()));
        assert_eq!(verify_v1(b"other", BODY, v1), Err(SignatureFault::Mismatch));
        let v2 = verify_v2(
            b"yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
            "POST",
            "https://www.example.com/webhook_uri",
            br#"{"example_field":"example_value"}"#,
            "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900",
        );
        assert_eq!(v2, Ok(()));
    }

    #[test]
    fn anything_changed_is_refused() {
        use SignatureFault::{BadTimestamp, Malformed, Mismatch, NoSecret, TooNew, TooOld};
        let check = |secret: &[u8], request: SignedRequest<'_>, expected| {
            let found = verify_v3(secret, &request, now(), TOLERANCE);
            assert_eq!(found, Err(expected), "{request:?}");
        };
        check(b"other", GOOD, Mismatch);
        check(b"", GOOD, NoSecret);
        let changed = |change: fn(&mut SignedRequest<'_>), expected| {
            let mut request = GOOD;
            change(&mut request);
            check(SECRET, request, expected);
        };
        changed(|r| r.method = "PUT", Mismatch);
        changed(|r| r.uri = "https://evil/", Mismatch);
        changed(|r| r.body = b"[]", Mismatch);
        changed(|r| r.timestamp = "1790000000124", Mismatch);
        changed(|r| r.timestamp = "soon", BadTimestamp);
        changed(|r| r.timestamp = "1789999700122", TooOld);
        changed(|r| r.timestamp = "1790000300124", TooNew);
        changed(|r| r.signature = "no base64!", Malformed);
        changed(|r| r.signature = "", Mismatch);
        changed(|r| r.signature = &SIGNATURE[..40], Mismatch);
        // A rehearsal whose clock runs faster than the network bears more.
        let late = SignedRequest {
            timestamp: "1789999700122",
            ..GOOD
        };
        let found = verify_v3(SECRET, &late, now(), TOLERANCE * 2);
        assert_eq!(
            found,
            Err(Mismatch),
            "old enough, and signed with another time"
        );
    }

    #[test]
    fn only_the_listed_escapes_are_decoded() {
        let check = |uri: &str, expected: &str| assert_eq!(decoded(uri), expected);
        check("%3A%2F%3F%40%21%24%27%28%29%2A%2C%3B", ":/?@!$'()*,;");
        check("%20%2B%3D%26%25%23", "%20%2B%3D%26%25%23");
        check("a%2", "a%2");
        check("%", "%");
        check("%252F", "%252F");
        check("ä%2F", "ä/");
    }
}
