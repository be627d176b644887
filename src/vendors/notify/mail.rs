//! Mail by SMTP, over TLS unless the server is on this machine.

use async_trait::async_trait;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use secrecy::{ExposeSecret as _, SecretString};

use super::{Notifier, NotifyError, PATIENCE};
use crate::domain::alert::Message;
use crate::domain::time::Timestamp;

/// How the connection to the server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// TLS from the first byte, usually on port 465.
    Tls,
    /// TLS after a greeting, usually on port 587; refused when the server offers none.
    StartTls,
    /// None; for a server on this machine.
    None,
}

/// How mail is sent.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept private.
    pub encryption: Encryption,
    /// The user, and the password.
    pub login: Option<(String, SecretString)>,
    /// Who it is from.
    pub from: String,
    /// Whom it is to.
    pub to: Vec<String>,
}

/// Why mail cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum MailSetupError {
    /// An address is not one.
    #[error("{address:?} is not a mail address such as \"Ads <ads@example.com>\"")]
    BadAddress {
        /// What was given.
        address: String,
    },
    /// A password, or what is in the mail, would go over the network in plain text.
    #[error("mail to {host:?} must be encrypted: only a server on this machine may do without")]
    PlainText {
        /// The server.
        host: String,
    },
    /// The TLS set-up failed.
    #[error("mail cannot be set up, check the certificate store of this machine")]
    Tls(#[source] lettre::transport::smtp::Error),
}

/// A mailbox or several.
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mail {
    /// Mail as configured.
    ///
    /// # Errors
    /// See [`MailSetupError`].
    pub fn new(config: MailConfig) -> Result<Self, MailSetupError> {
        let mailbox = |address: &str| {
            address
                .parse::<Mailbox>()
                .map_err(|_| MailSetupError::BadAddress {
                    address: address.to_owned(),
                })
        };
        type Transport = AsyncSmtpTransport<Tokio1Executor>;
        let builder = match config.encryption {
            Encryption::Tls => Transport::relay(&config.host).map_err(MailSetupError::Tls)?,
            Encryption::StartTls => {
                Transport::starttls_relay(&config.host).map_err(MailSetupError::Tls)?
            }
            Encryption::None if is_here(&config.host) => Transport::builder_dangerous(&config.host),
            Encryption::None => {
                return Err(MailSetupError::PlainText { host: config.host });
            }
        };
        let mut builder = builder.port(config.port).timeout(Some(PATIENCE));
        if let Some((user, password)) = config.login {
            let password = password.expose_secret().to_owned();
            builder = builder.credentials(Credentials::new(user, password));
        }
        Ok(Self {
            transport: builder.build(),
            from: mailbox(&config.from)?,
            to: config
                .to
                .iter()
                .map(|address| mailbox(address))
                .collect::<Result<_, _>>()?,
        })
    }

    fn mail(&self, message: &Message) -> Result<lettre::Message, lettre::error::Error> {
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .subject(message.subject.replace(['\r', '\n'], " "));
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        let plain = SinglePart::builder()
            .header(ContentType::TEXT_PLAIN)
            .body(message.plain());
        mail.multipart(MultiPart::mixed().singlepart(plain))
    }
}

fn is_here(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[async_trait]
impl Notifier for Mail {
    async fn send(&self, message: &Message, _now: Timestamp) -> Result<(), NotifyError> {
        const CHANNEL: &str = "the mail server";
        let mail = self.mail(message).map_err(|error| NotifyError::Refused {
            channel: CHANNEL,
            detail: error.to_string(),
        })?;
        match self.transport.send(mail).await {
            Ok(_) => Ok(()),
            // A mailbox that is refused today may be made tomorrow: the message waits for it.
            Err(error) => Err(NotifyError::Retry {
                channel: CHANNEL,
                detail: error.status().map_or_else(
                    || "it does not answer".to_owned(),
                    |code| format!("it answered {code}"),
                ),
                cause: Some(Box::new(error)),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::{compose, waiting};
    use crate::domain::ids::TenantId;
    use crate::domain::time;

    fn config() -> MailConfig {
        MailConfig {
            host: "127.0.0.1".to_owned(),
            port: 2_525,
            encryption: Encryption::None,
            login: None,
            from: "roasd <roasd@example.com>".to_owned(),
            to: vec!["buyer@example.com".to_owned()],
        }
    }

    #[test]
    fn plain_text_is_for_this_machine() {
        assert!(Mail::new(config()).is_ok());
        let away = MailConfig {
            host: "mail.example.com".to_owned(),
            ..config()
        };
        let refused = Mail::new(away).err().unwrap();
        assert!(
            matches!(refused, MailSetupError::PlainText { .. }),
            "{refused}"
        );
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for bad in ["", "nobody", "a@b\r\nBcc: c@d"] {
            let to = MailConfig {
                to: vec![bad.to_owned()],
                ..config()
            };
            let refused = Mail::new(to).err().unwrap();
            assert!(
                matches!(refused, MailSetupError::BadAddress { .. }),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_subject_cannot_bring_headers_along() {
        let tenant = TenantId::new("acme").unwrap();
        let alert = waiting(&tenant, 2, time::from_seconds(1_790_000_000)).unwrap();
        let message = compose("Acme\r\nBcc: thief@example.com", vec![alert]).unwrap();
        let mail = Mail::new(config()).unwrap().mail(&message).unwrap();
        // Long lines are folded.
        let raw = String::from_utf8(mail.formatted())
            .unwrap()
            .replace("\r\n ", " ");
        assert!(!raw.contains("\r\nBcc:"), "{raw}");
        assert!(raw.contains("2 changes wait for your approval"), "{raw}");
    }
}
