//! Who is told what, by which channel.

use super::address::BaseUrl;
use super::read::{default, optional, section};
use super::secret::Secret;
use super::value::{checked_text, words};
use crate::domain::money::Percentage;
use crate::domain::time::SignedDuration;

section! {
    /// Who is told of what happens: paused ads, large raises, tenants that are held, tokens and API
    /// versions that end. Without a channel nobody is; `roasd alerts test` shows whether they arrive.
    pub struct Alerts {
        /// The address of an incoming webhook of Slack, or of a chat that takes the same (Mattermost,
        /// Discord with /slack). It is its own secret.
        slack: Option<Secret> = optional("{ env = \"ROASD_SLACK_URL\" }"),
        /// A program of yours that takes alerts as JSON by POST …
        webhook_url: Option<BaseUrl> = optional("\"https://ops.example.com/roasd\""),
        /// … signed by this secret, in the header Roasd-Signature.
        webhook_secret: Option<Secret> = optional("{ env = \"ROASD_ALERTS_SECRET\" }"),
        /// The server that takes mail (SMTP); with it go mail_from and mail_to.
        mail_host: Option<String> = optional("\"smtp.example.com\""),
        /// Its port.
        mail_port: u32 = default("587").within(1.0, 65_535.0),
        /// How the connection is kept private: "starttls" (usual on 587), "tls" (on 465), or "none",
        /// for a server on this machine alone.
        mail_encryption: MailEncryption = default("\"starttls\""),
        /// The user …
        mail_user: Option<String> = optional("\"roasd\""),
        /// … and the password.
        mail_password: Option<Secret> = optional("{ env = \"ROASD_SMTP_PASSWORD\" }"),
        /// Who mails are from.
        mail_from: Option<MailAddress> = optional("\"roasd <roasd@example.com>\""),
        /// Whom they are to.
        mail_to: Vec<MailAddress> = default("[]"),
        /// What is less urgent is not sent: "notice" (what was done, what waits for approval),
        /// "warning" (what is held or failed), "critical" (nothing goes on before somebody acts).
        from: AlertLevel = default("\"notice\""),
        /// How long what is not critical waits for more, to come as one message.
        group_for: SignedDuration = default("\"10m\"").within(0.0, 86_400.0),
        /// A raise of a daily budget is told from this share of the tenant's daily_cap on.
        raise_over: Percentage = default("\"10%\"").within(0.0, 1.0),
        /// Whether each tenant has a daily digest: spend, what its deals are worth, what was changed
        /// and held back.
        digest: bool = default("true"),
        /// From which hour of the account's day on the digest of the day before is sent.
        digest_hour: u32 = default("8").within(0.0, 23.0),
    }
}

section! {
    /// Where, besides, this tenant's alerts go.
    pub struct TenantAlerts {
        /// An incoming webhook for this tenant's alone.
        slack: Option<Secret> = optional("{ env = \"ACME_SLACK_URL\" }"),
        /// Addresses for this tenant's alone; the server is `alerts.mail_host`.
        mail_to: Vec<MailAddress> = default("[]"),
    }
}

words! {
    /// How urgent something must be to be told.
    pub enum AlertLevel {
        /// What was done, and what waits for approval.
        Notice = "notice",
        /// What is held or failed.
        Warning = "warning",
        /// Nothing goes on before somebody acts.
        Critical = "critical",
    }
}

words! {
    /// How the connection to a mail server is kept private.
    pub enum MailEncryption {
        /// TLS after a greeting.
        StartTls = "starttls",
        /// TLS from the first byte.
        Tls = "tls",
        /// None.
        None = "none",
    }
}

checked_text! {
    /// A mail address, with a name or without.
    MailAddress, "a mail address", "\"Ads <ads@example.com>\"",
    |text| {
        let bare = match text.rsplit_once('<') {
            Some((_, rest)) => rest.strip_suffix('>').unwrap_or_default(),
            None => text,
        };
        let is_plain = |part: &str| {
            !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control())
        };
        !text.chars().any(char::is_control)
            && bare.rsplit_once('@').is_some_and(|(user, host)| is_plain(user) && is_plain(host))
    }
}
