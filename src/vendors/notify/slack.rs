//! Incoming webhooks as Slack has them; Mattermost, Discord (with `/slack`) and others take the same.

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Notifier, NotifyError, post};
use crate::domain::alert::{Message, Severity};
use crate::domain::time::Timestamp;
use crate::vendors::SetupError;
use crate::vendors::http::secure_url;

/// The longest text sent: Slack cuts one of 40,000 characters, others much shorter ones.
const LONGEST: usize = 3_500;

/// An incoming webhook. Its address is its secret.
pub struct Slack {
    http: reqwest::Client,
    address: SecretString,
}

impl Slack {
    /// A channel at `address`.
    ///
    /// # Errors
    /// When the address is not one that a secret may be sent to.
    pub fn new(http: reqwest::Client, address: SecretString) -> Result<Self, SetupError> {
        secure_url(address.expose_secret()).map_err(|error| error.without_address())?;
        Ok(Self { http, address })
    }
}

#[async_trait]
impl Notifier for Slack {
    async fn send(&self, message: &Message, _now: Timestamp) -> Result<(), NotifyError> {
        let body = serde_json::json!({ "text": text(message) });
        let request = self.http.post(self.address.expose_secret()).json(&body);
        post("the chat", request).await
    }
}

/// The message in Slack's markup, in which three characters stand for something else.
fn text(message: &Message) -> String {
    let mut text = String::new();
    for (i, alert) in message.alerts.iter().enumerate() {
        let sign = match alert.kind.severity() {
            Severity::Critical => ":rotating_light: ",
            Severity::Warning => ":warning: ",
            Severity::Notice => "",
        };
        let line = format!(
            "{sign}*{}*: {}\n_Next: {}_\n",
            escape(&message.name),
            escape(&alert.text),
            escape(&alert.next_step)
        );
        if text.len() + line.len() > LONGEST {
            let left = message.alerts.len() - i;
            text.push_str(&format!("… and {left} more; run: roasd alerts list\n"));
            break;
        }
        text.push_str(&line);
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::{compose, waiting};
    use crate::domain::ids::TenantId;
    use crate::domain::time;

    #[test]
    fn markup_is_escaped_and_length_bounded() {
        let tenant = TenantId::new("acme").unwrap();
        let now = time::from_seconds(1_790_000_000);
        let one = waiting(&tenant, 2, now).unwrap();
        let message = compose("A & <B>", vec![one.clone()]).unwrap();
        let said = text(&message);
        assert!(
            said.starts_with("*A &amp; &lt;B&gt;*: 2 changes wait"),
            "{said}"
        );

        let message = compose("Acme", vec![one; 100]).unwrap();
        let said = text(&message);
        assert!(said.len() < LONGEST + 100, "{}", said.len());
        assert!(said.contains("more; run: roasd alerts list"), "{said}");
    }

    #[test]
    fn an_address_that_is_refused_is_not_repeated() {
        let http = crate::vendors::http_client(std::time::Duration::from_secs(1)).unwrap();
        let address = SecretString::from("http://hooks.example.com/services/SECRET");
        let error = Slack::new(http, address).err().unwrap().to_string();
        assert!(!error.contains("SECRET"), "{error}");
        assert!(error.contains("https"), "{error}");
    }
}
