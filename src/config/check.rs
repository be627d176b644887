//! What settings must be to one another: faults that no single value has.

use std::collections::BTreeMap;

use super::amount::is_near_the_dollar;
use super::daemon::AccessTier;
use super::fault::{Fault, FaultKind, Place};
use super::read::Context;
use super::stages::{Stage, Template};
use super::tenant::{Mode, TenantSettings};
use super::{Config, join};

/// Reports a fault of a key that was read, or of its table when it stands on its default.
fn fault(cx: &mut Context<'_>, kind: FaultKind, key: &str, problem: String, remedy: &str) {
    let place = place_of(cx, key);
    cx.faults.push(Fault {
        place,
        key: key.to_owned(),
        kind,
        problem,
        remedy: remedy.to_owned(),
    });
}

/// Notes something that is not wrong and still not good.
fn warning(cx: &mut Context<'_>, key: &str, problem: &str, remedy: &str) {
    let place = place_of(cx, key);
    cx.warnings.push(Fault {
        place,
        key: key.to_owned(),
        kind: FaultKind::Conflict,
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    });
}

fn place_of(cx: &Context<'_>, key: &str) -> Place {
    let mut path = key;
    loop {
        if let Some(place) = cx.places.get(path) {
            return place.clone();
        }
        match path.rsplit_once('.') {
            Some((parent, _)) => path = parent,
            None => break,
        }
    }
    cx.owner.clone().unwrap_or_else(|| Place::whole("default"))
}

/// The stages in force: the tenant's own, else the template's.
pub(super) fn stages(
    settings: &TenantSettings,
    path: &str,
    cx: &mut Context<'_>,
) -> Option<Vec<Stage>> {
    if let Some(stages) = &settings.stages {
        return Some(stages.0.clone());
    }
    let template = match (settings.template, settings.mode) {
        (Some(template), _) => template,
        (None, Mode::Direct) => Template::Ecommerce,
        (None, Mode::Pipeline) => {
            fault(
                cx,
                FaultKind::Missing,
                &join(path, "stages"),
                "nothing says what a stage is worth".to_owned(),
                "list them in a table [tenants.<id>.stages], or add template = \"service\"",
            );
            return None;
        }
    };
    if !is_near_the_dollar(settings.currency) {
        fault(
            cx,
            FaultKind::Missing,
            &join(path, "stages"),
            format!(
                "the template {template} is meant for currencies near the dollar, not for {}",
                settings.currency
            ),
            "list the stages with values of your own",
        );
        return None;
    }
    Some(template.stages(settings.currency))
}

/// What one tenant's settings must be to one another.
pub(super) fn tenant(settings: &TenantSettings, path: &str, cx: &mut Context<'_>) {
    let budget = &settings.budget;
    if settings.mode == Mode::Pipeline && settings.hubspot.is_none() {
        fault(
            cx,
            FaultKind::Missing,
            &join(path, "hubspot"),
            "a tenant in pipeline mode needs a CRM".to_owned(),
            "add hubspot = { portal_id = …, access_token = { env = \"NAME\" } }",
        );
    }
    let ceilings = [
        ("daily_cap", Some(budget.daily_cap)),
        ("max_per_ad_set", budget.max_per_ad_set),
        ("max_per_campaign", budget.max_per_campaign),
        ("max_spend_per_day", budget.max_spend_per_day),
        ("max_spend_per_week", budget.max_spend_per_week),
    ];
    for (name, ceiling) in ceilings {
        let Some(ceiling) = ceiling else { continue };
        if ceiling.minor() < budget.min_per_ad_set.minor() {
            fault(
                cx,
                FaultKind::Conflict,
                &join(path, &format!("budget.{name}")),
                format!(
                    "{ceiling} is below min_per_ad_set, {}",
                    budget.min_per_ad_set
                ),
                "raise the one or lower the other",
            );
        }
    }
    for (name, share) in [("fuzz", budget.fuzz), ("min_change", budget.min_change)] {
        if share >= budget.max_change {
            fault(
                cx,
                FaultKind::Conflict,
                &join(path, &format!("budget.{name}")),
                format!(
                    "{share} is not below max_change, {}: no change could be sent",
                    budget.max_change
                ),
                "lower it",
            );
        }
    }
    let ages = [
        ("max_insight_age", settings.quality.max_insight_age),
        ("max_crm_age", settings.quality.max_crm_age),
    ];
    for (name, age) in ages {
        if age <= settings.schedule.sync_every {
            fault(
                cx,
                FaultKind::Conflict,
                &join(path, &format!("quality.{name}")),
                "it is not longer than schedule.sync_every: the data would always be too old"
                    .to_owned(),
                "make it at least twice as long as sync_every",
            );
        }
    }
    if settings.meta.app_id.is_some() != settings.meta.app_secret.is_some() {
        fault(
            cx,
            FaultKind::Conflict,
            &join(path, "meta"),
            "a tenant's own app has both an id and a secret".to_owned(),
            "state app_id and app_secret, or neither",
        );
    }
    if settings.meta.access_tier.is_some() && settings.meta.app_id.is_none() {
        fault(
            cx,
            FaultKind::Conflict,
            &join(path, "meta.access_tier"),
            "a tier is an app's, and this tenant has no app of its own".to_owned(),
            "state app_id and app_secret too, or set [meta] access_tier",
        );
    }
}

/// A mail server needs somebody that mails are from, and addresses need a server.
fn mail(config: &Config, cx: &mut Context<'_>) {
    let alerts = &config.alerts;
    let missing = |cx: &mut Context<'_>, key: &str, problem: &str, remedy: &str| {
        fault(cx, FaultKind::Missing, key, problem.to_owned(), remedy);
    };
    if alerts.mail_host.is_some() && alerts.mail_from.is_none() {
        missing(
            cx,
            "alerts.mail_from",
            "mail_host is stated and nobody that mails are from",
            "add for example mail_from = \"roasd <roasd@example.com>\"",
        );
    }
    if alerts.mail_host.is_none() {
        const REMEDY: &str = "state alerts.mail_host";
        let problem = "there are addresses for mail and no server";
        if !alerts.mail_to.is_empty() {
            missing(cx, "alerts.mail_to", problem, REMEDY);
        }
        for (id, tenant) in &config.tenants {
            if !tenant.settings.alerts.mail_to.is_empty() {
                let key = format!("tenants.{id}.alerts.mail_to");
                missing(cx, &key, problem, REMEDY);
            }
        }
    }
}

/// What the installation and its tenants must be to one another.
pub(super) fn together(config: &Config, cx: &mut Context<'_>) {
    clock(config, cx);
    mail(config, cx);
    claims(config, cx);
    tiers(config, cx);
    let limits = &config.meta.limits;
    if limits.slow_at >= limits.stop_reads_at {
        fault(
            cx,
            FaultKind::Conflict,
            "meta.limits.slow_at",
            format!(
                "{} is not below stop_reads_at, {}",
                limits.slow_at, limits.stop_reads_at
            ),
            "slow down before stopping",
        );
    }
    if config
        .privacy
        .hash_key
        .as_ref()
        .is_some_and(|key| key.expose().len() < 16)
    {
        fault(
            cx,
            FaultKind::Secret,
            "privacy.hash_key",
            "it is shorter than 16 characters, so that hashes could be guessed".to_owned(),
            "make one by `openssl rand -hex 32`",
        );
    }
    let checks_webhooks = config.hubspot.client_secret.is_some()
        || config
            .tenants
            .values()
            .filter_map(|tenant| tenant.settings.hubspot.as_ref())
            .any(|hubspot| hubspot.client_secret.is_some());
    if checks_webhooks && config.daemon.public_url.is_none() {
        warning(
            cx,
            "daemon.public_url",
            "a HubSpot client secret is given and no public_url: no webhook can be checked, and all are refused",
            "state the address that HubSpot calls",
        );
    }
    if config.tenants.is_empty() {
        warning(
            cx,
            "tenants",
            "there is no tenant, so there is nothing to do",
            "add [tenants.<id>]",
        );
    }
    for (id, tenant) in &config.tenants {
        if tenant.settings.attribution.click_window > config.privacy.visit_retention {
            warning(
                cx,
                &format!("tenants.{id}.attribution.click_window"),
                "visits are forgotten (privacy.visit_retention) before their window closes",
                "shorten the window or keep visits longer",
            );
        }
    }
}

fn clock(config: &Config, cx: &mut Context<'_>) {
    let clock = &config.clock;
    let is_fast = (clock.speed - 1.0).abs() > f64::EPSILON;
    if clock.epoch.is_some() != clock.anchor.is_some() {
        let key = if clock.epoch.is_some() {
            "clock.anchor"
        } else {
            "clock.epoch"
        };
        let problem = "epoch and anchor only mean something together".to_owned();
        fault(
            cx,
            FaultKind::Missing,
            key,
            problem,
            "state both, or neither",
        );
    } else if is_fast && clock.epoch.is_none() {
        let problem = "a clock that does not run at real speed needs a beginning".to_owned();
        fault(
            cx,
            FaultKind::Missing,
            "clock.epoch",
            problem,
            "state epoch and anchor",
        );
    }
    if !is_fast && clock.epoch.is_none() {
        return;
    }
    let key = if is_fast {
        "clock.speed"
    } else {
        "clock.epoch"
    };
    let urls = [
        ("meta.base_url", &config.meta.base_url),
        ("hubspot.base_url", &config.hubspot.base_url),
    ];
    for (name, url) in urls {
        if !url.is_loopback() {
            fault(
                cx,
                FaultKind::Conflict,
                key,
                format!("time that is not real is for rehearsals, and {name} is {url}, which is"),
                "remove [clock], or point every vendor address at the sandbox on 127.0.0.1",
            );
        }
    }
}

/// An app has one tier, whichever tenants use it.
fn tiers(config: &Config, cx: &mut Context<'_>) {
    let mut tiers: BTreeMap<&str, (AccessTier, String)> = BTreeMap::new();
    if let Some(app) = &config.meta.app_id {
        let key = "meta.access_tier".to_owned();
        tiers.insert(app, (config.meta.access_tier, key));
    }
    for (id, tenant) in &config.tenants {
        let meta = &tenant.settings.meta;
        let (Some(app), Some(tier)) = (&meta.app_id, meta.access_tier) else {
            continue;
        };
        let key = format!("tenants.{id}.meta.access_tier");
        match tiers.get(app.as_str()) {
            Some((known, first)) if *known != tier => fault(
                cx,
                FaultKind::Conflict,
                &key,
                format!("the app {app} is {known} by {first}"),
                "an app has one tier: state the same, or leave it out here",
            ),
            Some(_) => {}
            None => {
                tiers.insert(app, (tier, key));
            }
        }
    }
}

/// An ad account, a portal and a page each belong to one tenant.
fn claims(config: &Config, cx: &mut Context<'_>) {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for (id, tenant) in &config.tenants {
        let account = &tenant.settings.meta.ad_account;
        let portal = tenant
            .settings
            .hubspot
            .as_ref()
            .map(|hubspot| hubspot.portal_id);
        let mut claims = vec![("meta.ad_account", format!("the ad account {account}"))];
        claims.extend(
            portal.map(|portal| ("hubspot.portal_id", format!("the HubSpot account {portal}"))),
        );
        let pages = tenant.settings.meta.page_ids.iter();
        claims.extend(pages.map(|page| ("meta.page_ids", format!("the page {}", page.as_str()))));
        for (name, what) in claims {
            let key = format!("tenants.{id}.{name}");
            let Some(owner) = owners.get(&what) else {
                owners.insert(what, key);
                continue;
            };
            let first = place_of(cx, owner);
            let problem = format!("{what} belongs to {owner} already ({first})");
            fault(
                cx,
                FaultKind::Conflict,
                &key,
                problem,
                "give it to one tenant",
            );
        }
    }
}
