//! What each part gets of the configuration: the one place where keys become values.
//!
//! Every table is taken apart with all its keys named, so that the compiler tells of a key that
//! nobody takes; and `tests/it/config.rs` changes each key and looks for the change in here. From
//! here on nobody sees the configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;

use super::alerts::{AlertParts, TenantAlertParts};
use crate::actors::context::{Schedule, TenantSettings};
use crate::actors::housekeeper::Retention;
use crate::config::{self, Config, Secret, Tenant};
use crate::domain::alert::Severity;
use crate::domain::attribution::AttributionRules;
use crate::domain::fx::FxTable;
use crate::domain::ids::{PageId, TenantId};
use crate::domain::policy::{IgnoranceJoin, KillRule, Mode, PolicyParams};
use crate::domain::stages::StageTable;
use crate::domain::time::SignedDuration;
use crate::http::{ApiLimits, ClickLimits, FormFields, HttpSettings, TenantApi, TenantHttp};
use crate::vendors::hubspot::ClickProperties;
use crate::vendors::hubspot::client::HubSpotClientConfig;
use crate::vendors::hubspot::limits::PortalLimits;
use crate::vendors::meta::client::MetaClientConfig;
use crate::vendors::meta::reports::ReportLimits;
use crate::vendors::meta::throttle::GateConfig;
use crate::vendors::meta::usage::AccessTier;
use crate::vendors::notify::mail::{Encryption, MailConfig};

/// An app at Meta: the installation's, or a tenant's own by its id.
pub type App = Option<String>;

/// What the parts of the daemon get.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Where state is kept.
    pub data_dir: PathBuf,
    /// The database.
    pub database_url: SecretString,
    /// Connections to it, where it is on a server.
    pub database_connections: u32,
    /// This node's name, when it is configured.
    pub node: Option<String>,
    /// How long a tenant stays with a node that is silent.
    pub lease: SignedDuration,
    /// The key of all keyed hashes, when it is configured.
    pub hash_key: Option<SecretString>,
    /// How long a soft stop waits.
    pub shutdown_grace: Duration,
    /// How long things are kept.
    pub retention: Retention,
    /// Who is told what.
    pub alerts: AlertParts,
    /// What HTTP needs to know.
    pub http: HttpSettings,
    /// The limits of each app at Meta.
    pub gates: BTreeMap<App, GateConfig>,
    /// The tenants.
    pub tenants: BTreeMap<TenantId, TenantParts>,
    /// Whether every vendor is a sandbox on this machine.
    pub is_rehearsal: bool,
}

/// What the parts of one tenant get.
#[derive(Debug, Clone)]
pub struct TenantParts {
    /// What its actors need.
    pub settings: TenantSettings,
    /// The app that its calls to Meta are counted for.
    pub app: App,
    /// Its client of Meta.
    pub meta: MetaClientConfig,
    /// Its client of HubSpot, if it has a CRM there.
    pub hubspot: Option<HubSpotClientConfig>,
}

impl Parts {
    /// What the parts get of `config`.
    ///
    /// # Errors
    /// When a tenant's stages or rates do not fit together.
    pub fn of(config: &Config) -> anyhow::Result<Self> {
        let Config {
            daemon,
            clock: _, // the clock itself is handed in
            privacy,
            clicks,
            api,
            meta,
            hubspot,
            alerts,
            tenants,
            files: _,
            warnings: _,
        } = config;
        let config::Daemon {
            listen,
            public_url,
            data_dir,
            database_url: _, // below, with its default
            database_connections,
            node,
            lease,
            log: _, // logs are set up before anything else
            log_format: _,
            shutdown_grace,
            health_grace,
        } = daemon;
        let config::Privacy {
            hash_key,
            consent,
            visit_retention,
            inbox_retention,
        } = privacy;
        let config::Clicks {
            per_address_per_minute,
            per_tenant_per_second,
        } = *clicks;
        let config::Api {
            per_token_per_second,
            per_address_per_minute: api_per_address_per_minute,
            refused_per_address_per_minute,
        } = *api;
        let parts = tenants.iter().map(|(id, tenant)| {
            let parts = tenant_parts(tenant, meta, hubspot, *consent)
                .with_context(|| format!("the settings of tenant {id} cannot be used"))?;
            Ok((id.clone(), parts))
        });
        let parts: BTreeMap<TenantId, TenantParts> = parts.collect::<anyhow::Result<_>>()?;
        let http = HttpSettings {
            tenants: tenants
                .iter()
                .filter_map(|(id, tenant)| {
                    let settings = &parts.get(id)?.settings;
                    let http = tenant_http(tenant, settings, *health_grace, *consent);
                    Some((id.clone(), http))
                })
                .collect(),
            public_url: public_url.as_ref().map(|url| url.as_str().to_owned()),
            client_secret: hubspot.client_secret.as_ref().map(value),
            app_secret: meta.app_secret.as_ref().map(value),
            verify_token: meta.verify_token.as_ref().map(value),
            clicks: ClickLimits {
                per_address_per_minute,
                per_tenant_per_second,
            },
            api: ApiLimits {
                per_token_per_second,
                per_address_per_minute: api_per_address_per_minute,
                refused_per_address_per_minute,
            },
        };
        let alerts = alert_parts(alerts, tenants, *health_grace, meta);
        Ok(Self {
            listen: *listen,
            data_dir: data_dir.clone(),
            database_url: config.database_url().value().clone(),
            database_connections: *database_connections,
            node: node.as_ref().map(|name| name.as_str().to_owned()),
            lease: *lease,
            hash_key: hash_key.as_ref().map(value),
            shutdown_grace: shutdown_grace.unsigned_abs(),
            retention: Retention {
                visits: *visit_retention,
                deliveries: *inbox_retention,
            },
            alerts,
            http,
            gates: gates(config),
            tenants: parts,
            is_rehearsal: meta.base_url.is_loopback() && hubspot.base_url.is_loopback(),
        })
    }
}

fn alert_parts(
    alerts: &config::Alerts,
    tenants: &config::Tenants,
    grace: SignedDuration,
    meta: &config::MetaSettings,
) -> AlertParts {
    let config::Alerts {
        slack,
        webhook_url,
        webhook_secret,
        mail_host: _, // these below
        mail_port: _,
        mail_encryption: _,
        mail_user: _,
        mail_password: _,
        mail_from: _,
        mail_to: _,
        from,
        group_for,
        raise_over,
        digest,
        digest_hour,
    } = alerts;
    let address = |address: &config::MailAddress| address.as_str().to_owned();
    let own = |tenant: &Tenant| {
        let config::TenantAlerts { slack, mail_to } = &tenant.settings.alerts;
        TenantAlertParts {
            slack: slack.as_ref().map(value),
            mail_to: mail_to.iter().map(address).collect(),
        }
    };
    AlertParts {
        slack: slack.as_ref().map(value),
        webhook: webhook_url
            .as_ref()
            .map(|url| (url.as_str().to_owned(), webhook_secret.as_ref().map(value))),
        mail: mail_config(alerts),
        from: match from {
            config::AlertLevel::Notice => Severity::Notice,
            config::AlertLevel::Warning => Severity::Warning,
            config::AlertLevel::Critical => Severity::Critical,
        },
        group_for: *group_for,
        raise_over: raise_over.fraction(),
        digest_hour: digest.then(|| u8::try_from(*digest_hour).unwrap_or(0)),
        grace,
        version: meta.api_version.as_str().to_owned(),
        tenants: tenants
            .iter()
            .map(|(id, tenant)| (id.clone(), own(tenant)))
            .collect(),
    }
}

/// Mail, where a server is stated; that the addresses are there was checked.
fn mail_config(alerts: &config::Alerts) -> Option<MailConfig> {
    let login = alerts.mail_user.clone().zip(alerts.mail_password.as_ref());
    Some(MailConfig {
        host: alerts.mail_host.clone()?,
        port: u16::try_from(alerts.mail_port).unwrap_or(u16::MAX),
        encryption: match alerts.mail_encryption {
            config::MailEncryption::StartTls => Encryption::StartTls,
            config::MailEncryption::Tls => Encryption::Tls,
            config::MailEncryption::None => Encryption::None,
        },
        login: login.map(|(user, password)| (user, value(password))),
        from: alerts.mail_from.as_ref()?.as_str().to_owned(),
        to: alerts
            .mail_to
            .iter()
            .map(|to| to.as_str().to_owned())
            .collect(),
    })
}

fn value(secret: &Secret) -> SecretString {
    secret.value().clone()
}

/// The limits of the installation's app, and of each app that tenants have of their own. The latter
/// have Meta's small tier unless a tenant says more: a new app that claims the large one is blocked.
fn gates(config: &Config) -> BTreeMap<App, GateConfig> {
    let config::MetaAppLimits {
        app_calls_per_hour,
        account_share,
        write_reserve,
        slow_at,
        stop_reads_at,
        sync_spread,
    } = &config.meta.limits;
    let reserve = write_reserve.fraction();
    let gate = |app: App, tier: config::AccessTier| GateConfig {
        app,
        tier: match tier {
            config::AccessTier::Development => AccessTier::Development,
            config::AccessTier::Standard => AccessTier::Full,
        },
        headroom: 1.0 - account_share.fraction(),
        // As much again as writes have is for pauses.
        read_share: 1.0 - 2.0 * reserve,
        write_share: reserve,
        app_calls_per_hour: *app_calls_per_hour,
        slow_at: slow_at.fraction() * 100.0,
        stop_at: stop_reads_at.fraction() * 100.0,
        sync_spread: *sync_spread,
        ..GateConfig::default()
    };
    let mut gates = BTreeMap::from([(None, gate(None, config.meta.access_tier))]);
    for tenant in config.tenants.values() {
        let app = app_of(tenant, &config.meta);
        let stated = tenant.settings.meta.access_tier;
        if app.is_some() && (stated.is_some() || !gates.contains_key(&app)) {
            let tier = stated.unwrap_or(config::AccessTier::Development);
            gates.insert(app.clone(), gate(app, tier));
        }
    }
    gates
}

/// The app that a tenant's calls are counted for.
fn app_of(tenant: &Tenant, meta: &config::MetaSettings) -> App {
    let own = tenant.settings.meta.app_id.clone();
    own.filter(|app| meta.app_id.as_ref() != Some(app))
}

fn tenant_http(
    tenant: &Tenant,
    actors: &TenantSettings,
    health_grace: SignedDuration,
    consent: bool,
) -> TenantHttp {
    let described = tenant.stages.iter().filter_map(|stage| {
        let description = stage.description.clone()?;
        Some((stage.value.name.clone(), description))
    });
    let hubspot = tenant.settings.hubspot.as_ref();
    let origins = tenant.settings.click_origins.iter();
    TenantHttp {
        portal: hubspot.map(|h| h.portal_id),
        client_secret: hubspot.and_then(|h| h.client_secret.as_ref()).map(value),
        ad_account: tenant.settings.meta.ad_account.clone(),
        pages: tenant
            .settings
            .meta
            .page_ids
            .iter()
            .filter_map(page)
            .collect(),
        app_secret: tenant.settings.meta.app_secret.as_ref().map(value),
        click_origins: origins.map(|origin| origin.as_str().to_owned()).collect(),
        form_fields: hubspot.map(form_fields).unwrap_or_default(),
        click_window: tenant.settings.attribution.click_window,
        health_grace,
        requires_consent: consent,
        api: Arc::new(TenantApi {
            name: actors.name.clone(),
            currency: actors.currency,
            stages: actors.stages.clone(),
            descriptions: described.collect(),
            attribution: actors.attribution,
            mode: actors.mode,
            params: actors.params,
            prior_rates: actors.prior_rates.clone(),
            result_action: actors.result_action.clone(),
        }),
    }
}

fn page(number: &config::PageNumber) -> Option<PageId> {
    PageId::new(number.as_str()).ok()
}

/// The fields of forms that the script fills are named as the CRM's properties are: that is how a
/// form's fields find their property.
fn form_fields(hubspot: &config::TenantHubSpot) -> FormFields {
    let copied = [
        (&hubspot.fbclid_property, vec!["fbclid"]),
        (&hubspot.ad_id_property, vec!["ad_id", "utm_content"]),
        (&hubspot.ad_set_id_property, vec!["adset_id", "utm_term"]),
        (
            &hubspot.campaign_id_property,
            vec!["campaign_id", "utm_campaign"],
        ),
        (&hubspot.utm_content_property, vec!["utm_content"]),
    ];
    FormFields {
        click_id: hubspot.click_id_property.as_str().to_owned(),
        copied: copied
            .map(|(property, from)| (property.as_str().to_owned(), from))
            .into(),
    }
}

fn tenant_parts(
    tenant: &Tenant,
    meta: &config::MetaSettings,
    hubspot: &config::HubSpotSettings,
    consent: bool,
) -> anyhow::Result<TenantParts> {
    let hubspot = tenant.settings.hubspot.as_ref().map(|own| {
        let limits = hubspot;
        hubspot_client(own, limits)
    });
    Ok(TenantParts {
        settings: tenant_settings(tenant, meta, consent)?,
        app: app_of(tenant, meta),
        meta: meta_client(&tenant.settings.meta, meta),
        hubspot,
    })
}

fn meta_client(own: &config::TenantMeta, meta: &config::MetaSettings) -> MetaClientConfig {
    let config::TenantMeta {
        ad_account,
        access_token,
        page_ids: _,      // HTTP's
        result_action: _, // the reports'
        api_version,
        app_id,
        app_secret,
        access_tier: _, // the gate's
    } = own;
    let config::MetaSettings {
        base_url,
        api_version: usual_version,
        app_id: usual_app,
        app_secret: usual_secret,
        verify_token: _, // HTTP's
        access_tier: _,  // the gate's
        request_timeout,
        limits: _,  // the gate's
        reports: _, // the sync's
    } = meta;
    MetaClientConfig {
        base_url: base_url.as_str().to_owned(),
        api_version: api_version
            .as_ref()
            .unwrap_or(usual_version)
            .as_str()
            .to_owned(),
        ad_account: ad_account.clone(),
        token: value(access_token),
        app_id: app_id.as_ref().or(usual_app.as_ref()).cloned(),
        app_secret: app_secret.as_ref().or(usual_secret.as_ref()).map(value),
        timeout: request_timeout.unsigned_abs(),
    }
}

fn hubspot_client(
    own: &config::TenantHubSpot,
    hubspot: &config::HubSpotSettings,
) -> HubSpotClientConfig {
    let config::TenantHubSpot {
        portal_id,
        access_token,
        client_secret: _, // HTTP's
        pipelines,
        company_currency: _, // the actors', with the rates
        click_id_property,
        fbclid_property,
        lead_id_property,
        ad_id_property,
        ad_set_id_property,
        campaign_id_property,
        utm_content_property,
        first_url_property,
    } = own;
    let config::HubSpotSettings {
        base_url,
        api_version,
        client_secret: _, // HTTP's
        calls_per_10s,
        burst_left_to_others,
        day_left_to_others,
        searches_per_second,
        request_timeout,
    } = hubspot;
    let name = |property: &config::PropertyName| property.as_str().to_owned();
    HubSpotClientConfig {
        base_url: base_url.as_str().to_owned(),
        api_version: api_version.as_str().to_owned(),
        portal: *portal_id,
        token: value(access_token),
        pipelines: pipelines.clone(),
        properties: ClickProperties {
            roasd_click_id: name(click_id_property),
            facebook_click_id: name(fbclid_property),
            meta_lead_id: name(lead_id_property),
            ad_id: vec![name(ad_id_property), name(utm_content_property)],
            ad_set_id: vec![name(ad_set_id_property)],
            campaign_id: vec![name(campaign_id_property)],
            first_url: name(first_url_property),
        },
        limits: PortalLimits {
            per_ten_seconds: *calls_per_10s,
            searches_per_second: *searches_per_second,
            burst_left: burst_left_to_others.fraction(),
            day_left: day_left_to_others.fraction(),
        },
        timeout: request_timeout.unsigned_abs(),
    }
}

/// The settings that the actors of a tenant need.
fn tenant_settings(
    tenant: &Tenant,
    meta: &config::MetaSettings,
    consent: bool,
) -> anyhow::Result<TenantSettings> {
    let config::TenantSettings {
        name,
        autonomy,
        approvals_expire,
        mode,
        currency,
        template: _,      // the stages are made of it
        click_origins: _, // HTTP's
        fx,
        meta: own_meta,
        hubspot: _, // the client's, and the currency of its deals below
        manage: _,  // as it is in force
        budget: _,  // the guards', with the limits and the quality
        alerts: _,  // the outbox's
        limits: _,
        quality: _,
        calendar: _,
        breakers: _,
        schedule,
        attribution,
        rules,
        challengers,
        stages: _, // as they are in force
    } = &tenant.settings;
    let config::AttributionSettings {
        click_window,
        fingerprint_window,
        probabilistic_window,
        min_confidence,
        retry_for,
    } = attribution;
    let config::Schedule {
        sync_every,
        decide_every,
        executor_poll,
    } = schedule;
    let config::MetaReports {
        from_rows,
        deadline,
        in_flight,
    } = &meta.reports;
    let stages = tenant.stages.iter().map(|stage| stage.value.clone());
    let mut rates = FxTable::new(*currency).with_company_currency(&tenant.crm_currency());
    for (code, rate) in fx {
        rates = rates.with_rate(code, &rate.to_string())?;
    }
    let prior_rates = rules.prior_rates.iter().flatten();
    Ok(TenantSettings {
        id: tenant.id.clone(),
        name: name.clone(),
        mode: match mode {
            config::Mode::Pipeline => Mode::Pipeline,
            config::Mode::Direct => Mode::Direct,
        },
        currency: *currency,
        limits: tenant.guard_limits(),
        autonomy: *autonomy,
        manage: tenant.settings.manage(),
        challengers: *challengers,
        approval_expiry: *approvals_expire,
        stages: StageTable::new(stages.collect(), *currency)?,
        fx: rates,
        params: policy_params(tenant),
        prior_rates: prior_rates.map(|share| share.0).collect(),
        attribution: AttributionRules {
            needs_consent: consent,
            click_window: *click_window,
            fingerprint_window: *fingerprint_window,
            probabilistic_window: *probabilistic_window,
            min_confidence: *min_confidence,
            retry_window: *retry_for,
            ..AttributionRules::default()
        },
        schedule: Schedule {
            sync_every: *sync_every,
            decide_every: *decide_every,
            executor_poll: *executor_poll,
        },
        result_action: own_meta.result_action.clone().unwrap_or_else(|| {
            let usual = match mode {
                config::Mode::Pipeline => "lead",
                config::Mode::Direct => "purchase",
            };
            usual.to_owned()
        }),
        reports: ReportLimits {
            from_rows: u64::from(*from_rows),
            deadline: *deadline,
            in_flight: *in_flight as usize,
        },
        app_id: own_meta.app_id.as_ref().or(meta.app_id.as_ref()).cloned(),
    })
}

fn policy_params(tenant: &Tenant) -> PolicyParams {
    let config::Rules {
        sales_cycle_days: _, // the mode's when it is not stated
        min_spend_for_kill,
        kill_roas,
        p_kill,
        kill_rule,
        scale_roas,
        p_scale,
        p_rotate,
        p_return,
        rotate_spend,
        kappa_mult,
        hierarchy,
        look_alikes,
        draws,
        draws_hold,
        prior_rates: _, // the funnel's
        ignorance_zone,
        priors,
        half_lives,
    } = &tenant.settings.rules;
    let config::IgnoranceZone { days, spend, join } = ignorance_zone;
    let config::PriorStrengths {
        account,
        campaign,
        ad_set,
        lead,
        appointment,
        late,
        clicks,
        text,
        damping,
        damping_sd,
    } = priors;
    let config::HalfLives {
        cost: half_life_cost,
        lead: half_life_lead,
        appointment: half_life_appointment,
        late: half_life_late,
    } = half_lives;
    PolicyParams {
        sales_cycle_days: tenant.sales_cycle_days(),
        a_account: *account,
        a_campaign: *campaign,
        a_ad_set: *ad_set,
        a_first: *lead,
        a_quality: *appointment,
        a_later: *late,
        a_cost: *clicks,
        half_life_cost: *half_life_cost,
        half_life_lead: *half_life_lead,
        half_life_appointment: *half_life_appointment,
        half_life_late: *half_life_late,
        delta0: *damping,
        delta_sd: *damping_sd,
        a_text: *text,
        k_text: *look_alikes as usize,
        hierarchy: *hierarchy,
        kappa_mult: *kappa_mult,
        ignorance_join: match join {
            config::Join::Or => IgnoranceJoin::Or,
            config::Join::And => IgnoranceJoin::And,
        },
        ignorance_days: *days,
        ignorance_spend: spend.to_f64(),
        kill_rule: match kill_rule {
            config::KillRule::Posterior => KillRule::Posterior,
            config::KillRule::Raw => KillRule::Raw,
            config::KillRule::HalfAverage => KillRule::HalfAverage,
        },
        min_spend_for_kill: min_spend_for_kill.to_f64(),
        kill_roas: *kill_roas,
        p_kill: *p_kill,
        scale_roas: *scale_roas,
        p_scale: *p_scale,
        p_rotate: *p_rotate,
        p_return: *p_return,
        rotate_spend: rotate_spend.to_f64(),
        draws: *draws,
        hold_hours: draws_hold.as_secs_f64() / 3_600.0,
        ..PolicyParams::default()
    }
}
