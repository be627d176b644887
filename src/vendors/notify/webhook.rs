//! A program of the owner's that is told by HTTP: JSON, signed when a secret is configured.
//!
//! `Roasd-Signature: t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 of `SECONDS.BODY` under the
//! secret. The receiver compares in constant time and refuses what is older than some minutes.

use async_trait::async_trait;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use sha2::Sha256;

use super::{Notifier, NotifyError, post};
use crate::domain::alert::Message;
use crate::domain::time::{self, Timestamp};
use crate::vendors::SetupError;
use crate::vendors::http::secure_url;

/// The header of the signature.
pub const SIGNATURE: &str = "roasd-signature";

/// A receiver of alerts.
pub struct Webhook {
    http: reqwest::Client,
    address: String,
    secret: Option<SecretString>,
}

impl Webhook {
    /// A receiver at `address`; what is sent is signed by `secret`.
    ///
    /// # Errors
    /// When the address is not one that alerts may be sent to.
    pub fn new(
        http: reqwest::Client,
        address: &str,
        secret: Option<SecretString>,
    ) -> Result<Self, SetupError> {
        secure_url(address)?;
        Ok(Self {
            http,
            address: address.to_owned(),
            secret,
        })
    }
}

#[async_trait]
impl Notifier for Webhook {
    async fn send(&self, message: &Message, now: Timestamp) -> Result<(), NotifyError> {
        let body = body(message);
        let mut request = self
            .http
            .post(&self.address)
            .header(reqwest::header::CONTENT_TYPE, "application/json");
        if let Some(secret) = &self.secret {
            request = request.header(SIGNATURE, signature(secret, now, &body));
        }
        post("the webhook", request.body(body)).await
    }
}

fn body(message: &Message) -> String {
    let alerts: Vec<_> = message
        .alerts
        .iter()
        .map(|alert| {
            json!({
                "tenant": alert.tenant.as_ref().map(|tenant| tenant.as_str()),
                "kind": alert.kind.as_str(),
                "severity": alert.kind.severity().as_str(),
                "key": alert.key,
                "at": alert.at.to_string(),
                "text": alert.text,
                "next_step": alert.next_step,
            })
        })
        .collect();
    json!({
        "severity": message.severity.as_str(),
        "name": message.name,
        "subject": message.subject,
        "alerts": alerts,
    })
    .to_string()
}

fn signature(secret: &SecretString, now: Timestamp, body: &str) -> String {
    let seconds = time::to_micros(now).div_euclid(1_000_000);
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        // HMAC takes keys of every length.
        return String::new();
    };
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body.as_bytes());
    format!(
        "t={seconds},v1={}",
        hex::encode(mac.finalize().into_bytes())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_documented_one() {
        // printf '1790000000.{}' | openssl dgst -sha256 -hmac whsec
        let said = signature(
            &SecretString::from("whsec"),
            time::from_seconds(1_790_000_000),
            "{}",
        );
        assert_eq!(
            said,
            "t=1790000000,v1=7782ea78090bcceac513c09959e7f393ee96edc4c6653f7802ea6b63eac7b3ae"
        );
    }
}
