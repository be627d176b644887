//! What changed between two configurations, and for whom: pure.

use super::Config;
use super::read::Section;
use crate::domain::ids::TenantId;

/// The difference between the configuration in force and a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Keys that only a restart of the daemon puts into force.
    pub daemon_restart_needed: Vec<String>,
    /// Keys of the installation that apply at once.
    pub applied_live: Vec<String>,
    /// Tenants to start.
    pub tenants_added: Vec<TenantId>,
    /// Tenants to stop.
    pub tenants_removed: Vec<TenantId>,
    /// Tenants to restart with new settings.
    pub tenants_changed: Vec<TenantId>,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Keys of the installation that apply without a restart of anything.
const LIVE: [&str; 30] = [
    "daemon.public_url",
    "daemon.log",
    "daemon.shutdown_grace",
    "daemon.health_grace",
    "privacy.visit_retention",
    "privacy.inbox_retention",
    "clicks.per_address_per_minute",
    "clicks.per_tenant_per_second",
    "api.per_token_per_second",
    "api.per_address_per_minute",
    "api.refused_per_address_per_minute",
    "meta.verify_token",
    "meta.access_tier",
    "meta.limits",
    "hubspot.client_secret",
    "alerts.slack",
    "alerts.webhook_url",
    "alerts.webhook_secret",
    "alerts.mail_host",
    "alerts.mail_port",
    "alerts.mail_encryption",
    "alerts.mail_user",
    "alerts.mail_password",
    "alerts.mail_from",
    "alerts.mail_to",
    "alerts.from",
    "alerts.group_for",
    "alerts.raise_over",
    "alerts.digest",
    "alerts.digest_hour",
];

/// Whether a key of the installation is part of what every tenant is started with: how visits are
/// read, and the settings of the vendors, from which each has clients of its own.
fn is_every_tenants(key: &str) -> bool {
    let is_vendors = key.starts_with("meta.") || key.starts_with("hubspot.");
    key == "privacy.consent" || (is_vendors && !LIVE.contains(&key))
}

/// What changes when `new` takes the place of `old`.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Changes {
    let mut changes = Changes::default();
    let mut keys: Vec<String> = Vec::new();
    let mut add = |table: &str, names: Vec<&'static str>| {
        keys.extend(names.iter().map(|name| format!("{table}.{name}")));
    };
    add("daemon", old.daemon.differing(&new.daemon));
    add("clock", old.clock.differing(&new.clock));
    add("privacy", old.privacy.differing(&new.privacy));
    add("clicks", old.clicks.differing(&new.clicks));
    add("api", old.api.differing(&new.api));
    add("meta", old.meta.differing(&new.meta));
    add("hubspot", old.hubspot.differing(&new.hubspot));
    add("alerts", old.alerts.differing(&new.alerts));
    let mut restarts_tenants = false;
    for key in keys {
        let is_every_tenants = is_every_tenants(&key);
        restarts_tenants |= is_every_tenants;
        if is_every_tenants || LIVE.contains(&key.as_str()) {
            changes.applied_live.push(key);
        } else {
            changes.daemon_restart_needed.push(key);
        }
    }
    for (id, tenant) in &new.tenants {
        match old.tenants.get(id) {
            None => changes.tenants_added.push(id.clone()),
            Some(before) if restarts_tenants || before != tenant => {
                changes.tenants_changed.push(id.clone());
            }
            Some(_) => {}
        }
    }
    let gone = old
        .tenants
        .keys()
        .filter(|id| !new.tenants.contains_key(id));
    changes.tenants_removed = gone.cloned().collect();
    changes
}

#[cfg(test)]
mod tests {
    use super::super::Environment;
    use super::*;

    fn config(text: &str, token: &str) -> Config {
        let environment = Environment::from([("T", token)]);
        Config::from_text("test", text, &environment).unwrap()
    }

    fn tenant(id: &str, account: u32, cap: &str) -> String {
        format!(
            "[tenants.{id}]\nname = '{id}'\ncurrency = 'USD'\nmode = 'direct'\n\
             meta = {{ ad_account = 'act_{account}', access_token = {{ env = 'T' }} }}\n\
             budget = {{ daily_cap = '{cap}' }}\n"
        )
    }

    fn names(ids: &[TenantId]) -> Vec<&str> {
        ids.iter().map(TenantId::as_str).collect()
    }

    #[test]
    fn the_same_is_no_change() {
        let text = tenant("a", 1, "10");
        assert!(diff(&config(&text, "x"), &config(&text, "x")).is_empty());
    }

    #[test]
    fn only_the_tenants_that_changed_are_restarted() {
        let old = config(
            &(tenant("a", 1, "10") + &tenant("b", 2, "10") + &tenant("c", 3, "10")),
            "x",
        );
        let new = config(
            &(tenant("b", 2, "10") + &tenant("c", 3, "11") + &tenant("d", 4, "10")),
            "x",
        );
        let changes = diff(&old, &new);
        assert_eq!(names(&changes.tenants_added), ["d"]);
        assert_eq!(names(&changes.tenants_removed), ["a"]);
        assert_eq!(names(&changes.tenants_changed), ["c"]);
        assert!(changes.daemon_restart_needed.is_empty());
    }

    #[test]
    fn a_new_token_is_a_change_though_the_file_is_the_same() {
        let text = tenant("a", 1, "10");
        let changes = diff(&config(&text, "x"), &config(&text, "y"));
        assert_eq!(names(&changes.tenants_changed), ["a"]);
    }

    #[test]
    fn what_concerns_no_tenant_restarts_none() {
        let tenants = tenant("a", 1, "10");
        let changed = |lines: &str| {
            let old = config(&tenants, "x");
            diff(&old, &config(&format!("{lines}\n{tenants}"), "x"))
        };
        for (lines, key) in [
            (
                "[privacy]\nvisit_retention = '10d'",
                "privacy.visit_retention",
            ),
            (
                "[privacy]\ninbox_retention = '10d'",
                "privacy.inbox_retention",
            ),
            ("[meta.limits]\nslow_at = '40%'", "meta.limits"),
            ("[meta]\naccess_tier = 'standard'", "meta.access_tier"),
            ("[daemon]\nlog = 'debug'", "daemon.log"),
        ] {
            let changes = diff_of(&changed(lines));
            assert_eq!(changes, (vec![key.to_owned()], Vec::new()), "{lines}");
        }
        let changes = diff_of(&changed("[privacy]\nconsent = false"));
        let all = vec!["a".to_owned()];
        assert_eq!(changes, (vec!["privacy.consent".to_owned()], all));
    }

    /// What applies at once, and whom it restarts.
    fn diff_of(changes: &Changes) -> (Vec<String>, Vec<String>) {
        let restarted = names(&changes.tenants_changed);
        let restarted = restarted.into_iter().map(str::to_owned).collect();
        (changes.applied_live.clone(), restarted)
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        let tenants = tenant("a", 1, "10");
        let old = config(&tenants, "x");
        let new = config(
            &format!(
                "[daemon]\nlisten = '127.0.0.1:1'\nlog = 'debug'\n[meta]\napi_version = 'v26.0'\n{tenants}"
            ),
            "x",
        );
        let changes = diff(&old, &new);
        assert_eq!(changes.daemon_restart_needed, ["daemon.listen"]);
        assert_eq!(changes.applied_live, ["daemon.log", "meta.api_version"]);
        assert_eq!(names(&changes.tenants_changed), ["a"]);
    }
}
