//! The two signatures that Meta's app secret makes: of our calls, and of its webhooks; pure.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// The header is not `sha256=` and 64 hex digits.
    #[error("the signature header is not of the form sha256=<hex>")]
    Malformed,
    /// It is another one's.
    #[error("the signature does not match, check the app secret")]
    Mismatch,
}

/// `appsecret_proof`: lower-case hex HMAC-SHA-256 of the access token, keyed with the app secret.
#[must_use]
pub fn appsecret_proof(app_secret: &[u8], access_token: &[u8]) -> String {
    mac(app_secret, access_token)
        .map_or_else(String::new, |mac| hex::encode(mac.finalize().into_bytes()))
}

/// Checks `X-Hub-Signature-256` of a webhook: HMAC-SHA-256 of the raw body.
///
/// # Errors
/// [`SignatureFault`] when the header is malformed or another secret made it.
pub fn verify_webhook(app_secret: &[u8], body: &[u8], header: &str) -> Result<(), SignatureFault> {
    let digest = header
        .strip_prefix("sha256=")
        .and_then(|text| hex::decode(text).ok())
        .ok_or(SignatureFault::Malformed)?;
    mac(app_secret, body)
        .filter(|_| !app_secret.is_empty())
        .ok_or(SignatureFault::Mismatch)?
        .verify_slice(&digest)
        .map_err(|_| SignatureFault::Mismatch)
}

/// `None` cannot happen: a key of HMAC has any length.
fn mac(key: &[u8], message: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(message);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_has_the_known_answer() {
        assert_eq!(
            appsecret_proof(b"app-secret-0123456789abcdef", b"EAAB-test-token"),
            "914b32b6b55876b4b399e5142dc56b43cd63536c5e79b4f06794e4c30e6b9175"
        );
    }

    #[test]
    fn a_webhook_is_believed_only_with_our_secret() {
        // RFC 4231, case 2.
        let header = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let check = |secret: &str, body: &str, header: &str, expected| {
            let found = verify_webhook(secret.as_bytes(), body.as_bytes(), header);
            assert_eq!(found, expected, "{secret} {body} {header}");
        };
        let body = "what do ya want for nothing?";
        check("Jefe", body, header, Ok(()));
        check("jefe", body, header, Err(SignatureFault::Mismatch));
        check("Jefe", "other", header, Err(SignatureFault::Mismatch));
        check("", body, header, Err(SignatureFault::Mismatch));
        let short = &header[..header.len() - 2];
        check("Jefe", body, short, Err(SignatureFault::Mismatch));
        check("Jefe", body, &header[7..], Err(SignatureFault::Malformed));
        check("Jefe", body, "sha256=zz", Err(SignatureFault::Malformed));
    }
}
