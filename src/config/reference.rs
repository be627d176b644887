//! The shipped `config.toml`, written from the declarations of the keys: so it cannot disagree with
//! what the reader does. A test holds the file to what is written here.

use super::alerts::Alerts;
use super::daemon::{Api, Clicks, ClockSettings, Daemon, HubSpotSettings, MetaSettings, Privacy};
use super::read::{Default, Key, Section};
use super::tenant::TenantSettings;

/// The tables of the installation: name, purpose, keys.
fn tables() -> [(&'static str, &'static str, &'static [Key]); 9] {
    [
        ("daemon", Daemon::ABOUT, Daemon::KEYS),
        ("clock", ClockSettings::ABOUT, ClockSettings::KEYS),
        ("privacy", Privacy::ABOUT, Privacy::KEYS),
        ("clicks", Clicks::ABOUT, Clicks::KEYS),
        ("api", Api::ABOUT, Api::KEYS),
        ("meta", MetaSettings::ABOUT, MetaSettings::KEYS),
        ("hubspot", HubSpotSettings::ABOUT, HubSpotSettings::KEYS),
        ("alerts", Alerts::ABOUT, Alerts::KEYS),
        ("defaults", TenantSettings::ABOUT, TenantSettings::KEYS),
    ]
}

/// Every key with its path, tables left out; those of a tenant begin with `tenants.<id>`, those of
/// a stage with `tenants.<id>.stages.<stage>`.
#[must_use]
pub fn all_keys() -> Vec<(String, Key)> {
    fn walk(path: &str, keys: &'static [Key], found: &mut Vec<(String, Key)>) {
        for key in keys {
            let mut path = format!("{path}.{}", key.name);
            let below = (key.keys)();
            if below.is_empty() {
                found.push((path, *key));
            } else {
                if key.name == "stages" {
                    path.push_str(".<stage>");
                }
                walk(&path, below, found);
            }
        }
    }
    let mut found = Vec::new();
    for (name, _, keys) in tables() {
        let path = if name == "defaults" {
            "tenants.<id>"
        } else {
            name
        };
        walk(path, keys, &mut found);
    }
    found
}

/// The shipped file.
#[must_use]
pub fn render() -> String {
    let mut out = String::from(HEAD);
    for (name, about, keys) in tables() {
        table(name, about, keys, &mut out);
    }
    out.push_str(EXAMPLE);
    out
}

fn table(path: &str, about: &str, keys: &'static [Key], out: &mut String) {
    if !out.ends_with("\n\n") {
        out.push('\n');
    }
    prose(about, out);
    out.push_str(&format!("[{path}]\n"));
    let (tables, values): (Vec<&Key>, Vec<&Key>) =
        keys.iter().partition(|key| !(key.keys)().is_empty());
    for key in values
        .into_iter()
        .filter(|key| !(path.starts_with("defaults") && key.is_own))
    {
        prose(key.doc, out);
        let (value, note) = match key.default {
            Default::Text(toml) => (toml, ""),
            Default::Required(toml) => (toml, "  # no default"),
            Default::Optional(toml) => (toml, "  # an example; not set by default"),
            Default::Table => continue,
        };
        out.push_str(&format!("#{} = {value}{note}\n\n", key.name));
    }
    for key in tables.into_iter().filter(|key| !key.is_own) {
        table(
            &format!("{path}.{}", key.name),
            (key.about)(),
            (key.keys)(),
            out,
        );
    }
}

fn prose(doc: &str, out: &mut String) {
    for line in doc.lines() {
        out.push_str(&format!("# {}\n", line.trim().replace('`', "")));
    }
}

const HEAD: &str = r##"# The configuration of roasd: every key, its default and why it is so.
#
# A line that begins with "#" and a letter is a setting on its default: remove the "#" to change it.
# `roasd check` tells every mistake with its line; `systemctl reload roasd` applies changes, and an
# invalid file is refused whole while the old settings stay in force.
#
# More tenants may stand in tenants.d/*.toml beside this file. Any setting can be overridden by the
# environment: ROASD__DAEMON__LISTEN, ROASD__TENANTS__ACME__BUDGET__DAILY_CAP.
#
# Durations have a unit (ms, s, m, h, d, w): "6h". Money is text in main units: "12.50". Percentages
# are text: "20%". Secrets never stand in the file: { env = "NAME" }, { file = "/path" } or
# { credential = "name" }, which is systemd's LoadCredential=.
"##;

const EXAMPLE: &str = r##"# A tenant, to be copied. The name in brackets is its id in addresses, logs and the database; keep it.
#[tenants.acme]
# What people call it.
#name = "Acme Fitness"
# Begin with "observe": roasd decides and records, and touches nothing.
#autonomy = "observe"
# The ad account's currency, in which every amount below is written.
#currency = "USD"
#[tenants.acme.meta]
# The ad account. It belongs to one tenant: a second claim is refused.
#ad_account = "act_1234567890"
# A system user's token with ads_read and ads_management; for lead forms also leads_retrieval.
#access_token = { env = "ACME_META_TOKEN" }
# Facebook pages whose lead forms' leads are this tenant's; each belongs to one tenant.
#page_ids = []
#[tenants.acme.hubspot]
# The account (Hub ID). It belongs to one tenant: a second claim is refused.
#portal_id = 12345678
# A token with read rights on deals, contacts and deal schemas.
#access_token = { env = "ACME_HUBSPOT_TOKEN" }
# Campaigns of the account by id, where roasd is to work on these alone; see [defaults.manage].
#[tenants.acme.manage]
#ids = []
#[tenants.acme.budget]
# The most that all daily budgets together may come to. It has no default: this is your money.
# Meta may spend 1.75 times a daily budget on one day and 7 times it in a week.
#daily_cap = "500.00"
# What a deal in each stage is worth, in order of the funnel. value is already the expectation, and
# confidence is reported, never multiplied in. hubspot_stage is the CRM's id of the stage, or a list
# of ids; without it the stage of the same name is meant. closed_won (or purchase) is the sale: the
# deal's real amount wins when it is known. closed_lost (or lost) is the end without one.
#[tenants.acme.stages]
#lead = { value = "0", confidence = 0.10, description = "Left their details" }
#appointment_scheduled = { value = "2250.00", confidence = 0.60, hubspot_stage = "appointmentscheduled" }
#show_up = { value = "9000.00", confidence = 0.85 }
#closed_won = { value = "15000.00", confidence = 1.00 }
#closed_lost = { value = "0", confidence = 1.00 }
"##;

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment, FaultKind, SHIPPED};
    use super::*;
    use crate::config::tree::{self, Node};

    /// The shipped file with every setting in force.
    fn all_in_force() -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
                rest.to_owned()
            }
            _ => line.to_owned(),
        };
        SHIPPED.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    fn find<'t>(root: &'t Node, path: &str) -> Option<&'t Node> {
        path.split('.').try_fold(root, |node, name| node.get(name))
    }

    /// To write the file anew after a change of a declaration: `ROASD_BLESS=1 cargo nextest run
    /// shipped`.
    #[test]
    fn the_shipped_file_is_what_the_declarations_say() {
        let rendered = render();
        if std::env::var_os("ROASD_BLESS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");
            std::fs::write(path, &rendered).unwrap();
            return;
        }
        for (i, (a, b)) in SHIPPED.lines().zip(rendered.lines()).enumerate() {
            assert_eq!(a, b, "line {} of config.toml", i + 1);
        }
        assert_eq!(SHIPPED.len(), rendered.len());
    }

    #[test]
    fn the_shipped_file_states_the_default_of_every_key() {
        let (root, faults) = tree::parse("config.toml", &all_in_force());
        assert!(faults.is_empty(), "{faults:#?}");
        let keys = all_keys();
        assert!(keys.len() > 100, "{}", keys.len());
        for (path, key) in keys {
            let mut places = vec![path.clone()];
            if path.starts_with("tenants.<id>") {
                places = vec![
                    path.replace("tenants.<id>", "defaults"),
                    path.replace("tenants.<id>", "tenants.acme")
                        .replace("<stage>", "appointment_scheduled"),
                ];
            }
            if path.ends_with("<stage>.description") {
                places = vec!["tenants.acme.stages.lead.description".to_owned()];
            }
            let found = places.iter().find_map(|path| find(&root, path));
            let found = found.unwrap_or_else(|| panic!("{path} is not in config.toml"));
            if let Default::Text(default) = key.default {
                let default = Node::of_default(default, &path);
                assert!(found.same_value(&default), "{path}: {found:?}");
            }
        }
    }

    #[test]
    fn the_shipped_file_is_valid_as_it_is_and_with_every_setting_in_force() {
        let none = Environment::empty();
        let shipped = Config::from_text("config.toml", SHIPPED, &none).unwrap();
        let mut empty = Config::from_text("config.toml", "", &none).unwrap();
        empty.warnings.clone_from(&shipped.warnings);
        assert_eq!(shipped, empty);

        let secrets = Environment::from([
            ("ROASD_HASH_KEY", "0123456789abcdef0123456789abcdef"),
            ("META_APP_SECRET", "x"),
            ("META_VERIFY_TOKEN", "x"),
            ("HUBSPOT_CLIENT_SECRET", "x"),
            ("ACME_META_TOKEN", "x"),
            ("ACME_META_APP_SECRET", "x"),
            ("ACME_HUBSPOT_TOKEN", "x"),
            ("ACME_HUBSPOT_SECRET", "x"),
            ("ROASD_SLACK_URL", "x"),
            ("ROASD_ALERTS_SECRET", "x"),
            ("ROASD_SMTP_PASSWORD", "x"),
            ("ACME_SLACK_URL", "x"),
        ]);
        // A rehearsal's clock is refused with the vendors' real addresses; all else must be fine.
        let faults = Config::from_text("config.toml", &all_in_force(), &secrets).unwrap_err();
        for fault in faults.iter() {
            assert!(
                fault.key.starts_with("clock.") && fault.kind == FaultKind::Conflict,
                "{fault}"
            );
        }
        let without_clock = all_in_force()
            .replace("epoch = \"2026-01-01T00:00:00Z\"", "")
            .replace("anchor = 1790000000", "");
        let config = Config::from_text("config.toml", &without_clock, &secrets).unwrap();
        assert_eq!(config.tenants.len(), 1);
    }

    #[test]
    fn every_default_is_toml() {
        for (path, key) in all_keys() {
            if let Default::Text(toml) = key.default {
                let (_, faults) = tree::parse("", &format!("x = {toml}"));
                assert!(faults.is_empty(), "{path}: {toml}");
            }
            assert!(!key.doc.trim().is_empty(), "{path}");
        }
    }
}
