//! Makes the channels on which people are told out of what the configuration says of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::SecretString;

use crate::actors::outbox::{Alerting, Channel, TenantAlerting};
use crate::domain::alert::{Severity, Worth};
use crate::domain::ids::TenantId;
use crate::domain::money::Rounding;
use crate::domain::time::SignedDuration;
use crate::vendors::meta::versions;
use crate::vendors::notify::Notifier;
use crate::vendors::notify::mail::{Mail, MailConfig};
use crate::vendors::notify::slack::Slack;
use crate::vendors::notify::webhook::Webhook;

/// What the outbox gets of the configuration.
#[derive(Debug, Clone)]
pub struct AlertParts {
    /// A chat.
    pub slack: Option<SecretString>,
    /// A program, and the secret that signs what it is told.
    pub webhook: Option<(String, Option<SecretString>)>,
    /// Mail.
    pub mail: Option<MailConfig>,
    /// What is less urgent is not sent.
    pub from: Severity,
    /// How long what is not critical waits for more.
    pub group_for: SignedDuration,
    /// The share of a tenant's daily cap from which on a raise is told.
    pub raise_over: f64,
    /// From which hour on the digest is sent.
    pub digest_hour: Option<u8>,
    /// How long a stage may be in trouble.
    pub grace: SignedDuration,
    /// The version of Meta's API that all use who state no other.
    pub version: String,
    /// What tenants have of their own.
    pub tenants: BTreeMap<TenantId, TenantAlertParts>,
}

/// The channels of one tenant alone.
#[derive(Debug, Clone)]
pub struct TenantAlertParts {
    /// A chat.
    pub slack: Option<SecretString>,
    /// Addresses.
    pub mail_to: Vec<String>,
}

impl super::Parts {
    /// The channels, made.
    ///
    /// # Errors
    /// When an address cannot be used; names the key of the configuration.
    pub fn alerting(&self, http: &reqwest::Client) -> anyhow::Result<Alerting> {
        let parts = &self.alerts;
        let mut channels = Vec::new();
        let mut add = |name: &str, tenant: Option<&TenantId>, notifier: Arc<dyn Notifier>| {
            channels.push(Channel {
                name: match tenant {
                    Some(tenant) => format!("{tenant}/{name}"),
                    None => name.to_owned(),
                },
                tenant: tenant.cloned(),
                from: parts.from,
                notifier,
            });
        };
        let slack = |address: &SecretString, key: &str| {
            Slack::new(http.clone(), address.clone())
                .map(Arc::new)
                .with_context(|| format!("{key} cannot be used"))
        };
        let mail = |config: MailConfig, key: &str| {
            Mail::new(config)
                .map(Arc::new)
                .with_context(|| format!("{key} cannot be used"))
        };
        if let Some(address) = &parts.slack {
            add("slack", None, slack(address, "alerts.slack")?);
        }
        if let Some((address, secret)) = &parts.webhook {
            let webhook = Webhook::new(http.clone(), address, secret.clone())
                .context("alerts.webhook_url cannot be used")?;
            add("webhook", None, Arc::new(webhook));
        }
        // A server may be there for the tenants' own addresses alone.
        if let Some(config) = parts.mail.as_ref().filter(|mail| !mail.to.is_empty()) {
            add("mail", None, mail(config.clone(), "alerts.mail_host")?);
        }
        for (id, own) in &parts.tenants {
            if let Some(address) = &own.slack {
                let key = format!("tenants.{id}.alerts.slack");
                add("slack", Some(id), slack(address, &key)?);
            }
            if let (Some(server), false) = (&parts.mail, own.mail_to.is_empty()) {
                let config = MailConfig {
                    to: own.mail_to.clone(),
                    ..server.clone()
                };
                let key = format!("tenants.{id}.alerts.mail_to");
                add("mail", Some(id), mail(config, &key)?);
            }
        }
        let tenants = self.tenants.iter().map(|(id, tenant)| {
            let settings = &tenant.settings;
            let cap = settings.limits.daily_cap;
            let raise_over = cap.scale(parts.raise_over, Rounding::Nearest)?;
            let alerting = TenantAlerting {
                name: settings.name.clone(),
                worth: Worth { raise_over },
            };
            anyhow::Ok((id.clone(), alerting))
        });
        Ok(Alerting {
            channels,
            tenants: tenants.collect::<anyhow::Result<_>>()?,
            group_for: parts.group_for,
            digest_hour: parts.digest_hour,
            grace: parts.grace,
            version: versions::end_of(&parts.version).map(|ends| (parts.version.clone(), ends)),
        })
    }
}
