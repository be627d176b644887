//! Clicks that somebody else's pages report, and the ads that conversions are credited to. A reported
//! conversion is kept beside the ledger and moves no budget by itself.

use serde_json::Value;

use super::SMALL_BODY_MAX;
use super::revenue::amount;
use crate::actors::handle::Traces;
use crate::domain::api_token::Scope;
use crate::domain::attribution::{AttributionRules, Method, Verdict};
use crate::domain::ids::{AdId, AdSetId, CampaignId};
use crate::domain::time::{SignedDuration, Timestamp};
use crate::domain::visit::{AdParameters, DeviceFacts, KeyedHash, Visit};
use crate::http::Problem;
use crate::http::api::route::{Body, Call, Reply, Route, Verb, Whose, bad_field, serve};
use crate::http::api::shape::{Shape, answer, request};
use crate::http::clicks::{mint, page_visit_id};
use crate::store::reports::ReportedConversion;

/// The longest id or name of a conversion, in bytes.
const NAME_MAX: usize = 256;

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/api/ml/attribution/track-click",
        scope: Scope::Ingest,
        whose: Whose::Token,
        about: "Keeps a click on an ad; answered once it is on disk. A second one of the same click_id \
                changes nothing.",
        query: &[],
        body: Some(Body {
            schema: TrackedClick::schema,
            max: SMALL_BODY_MAX,
            is_optional: false,
        }),
        answer: ClickTracked::schema,
        serve: serve!(track),
    },
    Route {
        verb: Verb::Post,
        path: "/api/ml/attribution/attribute-conversion",
        scope: Scope::Ingest,
        whose: Whose::Token,
        about: "Credits a conversion to an ad and keeps it as reported, beside the ledger of deals: it \
                moves no budget by itself. A second one of the same conversion_id takes its place.",
        query: &[],
        body: Some(Body {
            schema: Conversion::schema,
            max: SMALL_BODY_MAX,
            is_optional: false,
        }),
        answer: ConversionCredit::schema,
        serve: serve!(attribute),
    },
];

request! {
    /// A click on an ad. Address, browser and device are kept as keyed hashes, and only with consent.
    TrackedClick {
        /// The ad.
        ad_id: String,
        /// Its campaign.
        campaign_id: String,
        /// Its ad set.
        adset_id: Option<String>,
        /// Facebook's click id.
        fbclid: Option<String>,
        /// The click's own id, 8 to 64 of A-Z, a-z, 0-9, _ and -; made where there is none.
        click_id: Option<String>,
        /// The visitor's address.
        ip_address: Option<String>,
        /// The visitor's browser, as it calls itself.
        user_agent: Option<String>,
        /// `mobile`, `tablet` or `desktop`.
        device_type: Option<String>,
        /// The visitor's device: `screen` (or `screen_resolution`), `time_zone` (or `timezone`),
        /// `utc_offset_minutes`, `os` (or `platform`), `browser`.
        fingerprint_components: Option<Value>,
        /// The page, whose parameters are read too.
        landing_page_url: Option<String>,
        /// Where the visitor came from.
        utm_source: Option<String>,
        /// Whether the visitor consented to being recognised; where none is needed, silence is one.
        consent: Option<bool>,
    }

    /// A conversion.
    Conversion {
        /// Its id.
        conversion_id: String,
        /// What it is.
        conversion_type: String,
        /// What it is worth, in main units.
        conversion_value: f64,
        /// When it happened, in ISO 8601; in UTC where no offset is given.
        conversion_timestamp: String,
        /// Facebook's click id.
        fbclid: Option<String>,
        /// The id of the visit, as track-click or roasd's script gave it.
        click_id: Option<String>,
        /// The device, as track-click answered it.
        fingerprint_hash: Option<String>,
        /// The device, as track-click takes it.
        fingerprint_components: Option<Value>,
        /// `mobile`, `tablet` or `desktop`.
        device_type: Option<String>,
        /// The visitor's address.
        ip_address: Option<String>,
        /// The visitor's browser.
        user_agent: Option<String>,
        /// Whether the visitor consented to being recognised.
        consent: Option<bool>,
    }
}

answer! {
    /// A click that is kept.
    ClickTracked {
        /// `click_tracked`.
        status: String,
        /// The click's id.
        click_id: String,
        /// For how many days it counts.
        attribution_window_days: f64,
        /// The device's keyed hash, to be sent with a conversion; null without consent, or where too
        /// little is known of the device.
        fingerprint_hash: Option<String>,
    }

    /// The ad that a conversion is credited to.
    ConversionCredit {
        /// Whether there is one.
        success: bool,
        /// The click.
        attributed_click_id: Option<String>,
        /// `url_param`, `fingerprint` or `probabilistic`.
        attribution_method: Option<String>,
        /// How sure, 0 to 1.
        attribution_confidence: f64,
        /// How old a click may be for the layer that answered.
        attribution_window_hours: f64,
        /// The evidence in words.
        reason: String,
        /// The ad.
        ad_id: Option<String>,
        /// Its campaign, where known.
        campaign_id: Option<String>,
    }
}

/// What is told of a device.
fn device(components: Option<&Value>, device_type: Option<String>) -> Option<String> {
    let components = components?;
    let text = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| components.get(name)?.as_str());
        found.map(str::to_owned)
    };
    let offset = components.get("utc_offset_minutes").and_then(Value::as_i64);
    let facts = DeviceFacts {
        screen: text(["screen", "screen_resolution"]),
        time_zone: text(["time_zone", "timezone"]),
        utc_offset_minutes: offset.and_then(|minutes| i32::try_from(minutes).ok()),
        device_type: device_type.or_else(|| text(["device_type", "device"])),
        os: text(["os", "platform"]),
        browser: text(["browser", "browser_name"]),
    };
    facts.canonical()
}

/// A keyed hash of what is told, with consent.
fn hashed(call: &Call, consents: bool, kind: &str, text: Option<&str>) -> Option<KeyedHash> {
    let text = text
        .map(str::trim)
        .filter(|text| consents && !text.is_empty());
    text.map(|text| call.state.hasher.hash(kind, text))
}

/// An address as its hash is made everywhere.
fn address(text: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let ip: std::net::IpAddr = text
        .parse()
        .map_err(|_| bad_field("ip_address", "give an address of IPv4 or IPv6"))?;
    Ok(Some(ip.to_canonical().to_string()))
}

async fn track(call: Call) -> Result<Reply, Problem> {
    let (tenant, entry) = call.tenant()?;
    let click: TrackedClick = call.read()?;
    let consents = click.consent.unwrap_or(!entry.requires_consent);
    let url = click.landing_page_url.as_deref().unwrap_or_default();
    let told = AdParameters::from_url(url);
    let ad_set = click.adset_id.as_deref().map(AdSetId::new).transpose();
    let ad = AdParameters {
        fbclid: click.fbclid.clone().or(told.fbclid),
        ad: Some(AdId::new(&click.ad_id).map_err(|bad| bad_field("ad_id", bad))?),
        ad_set: ad_set.map_err(|bad| bad_field("adset_id", bad))?,
        campaign: Some(
            CampaignId::new(&click.campaign_id).map_err(|bad| bad_field("campaign_id", bad))?,
        ),
        utm_source: click.utm_source.clone().or(told.utm_source),
    };
    let id = match &click.click_id {
        Some(text) => page_visit_id(text).ok_or_else(|| {
            bad_field(
                "click_id",
                "give 8 to 64 of A-Z, a-z, 0-9, _ and -, or none",
            )
        })?,
        None => mint(&call.state, tenant),
    };
    let device = device(
        click.fingerprint_components.as_ref(),
        click.device_type.clone(),
    );
    let ip = address(click.ip_address.as_deref())?;
    let visit = Visit {
        id,
        at: call.now(),
        ad,
        has_consent: consents,
        fingerprint: hashed(&call, consents, "device", device.as_deref()),
        ip: hashed(&call, consents, "ip", ip.as_deref()),
        user_agent: hashed(&call, consents, "user_agent", click.user_agent.as_deref()),
    };
    call.state.store.record_visit(tenant, &visit).await?;
    Reply::json(&ClickTracked {
        status: "click_tracked".to_owned(),
        click_id: visit.id.to_string(),
        attribution_window_days: hours(entry.api.attribution.click_window) / 24.0,
        fingerprint_hash: visit.fingerprint.map(|hash| hash.0),
    })
}

fn hours(span: SignedDuration) -> f64 {
    span.as_secs_f64() / 3_600.0
}

/// An instant in ISO 8601, in UTC where no offset is given.
fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse().or_else(|_| format!("{text}Z").parse()).ok()
}

fn name(field: &str, text: &str) -> Result<(), Problem> {
    let is_fit = (1..=NAME_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    is_fit
        .then_some(())
        .ok_or_else(|| bad_field(field, "give 1 to 256 bytes without control characters"))
}

async fn attribute(call: Call) -> Result<Reply, Problem> {
    let (tenant, entry) = call.tenant()?;
    let said: Conversion = call.read()?;
    name("conversion_id", &said.conversion_id)?;
    name("conversion_type", &said.conversion_type)?;
    let value = amount(&entry.api, "conversion_value", said.conversion_value)?;
    let at = instant(&said.conversion_timestamp).ok_or_else(|| {
        bad_field(
            "conversion_timestamp",
            "give a time such as 2026-11-30T12:00:00Z",
        )
    })?;
    let consents = said.consent.unwrap_or(!entry.requires_consent);
    let device = device(
        said.fingerprint_components.as_ref(),
        said.device_type.clone(),
    );
    // What track-click answered is the hash itself; anything else finds nothing.
    let told = said.fingerprint_hash.clone().filter(|_| consents);
    let told = told.map(KeyedHash);
    let ip = address(said.ip_address.as_deref())?;
    let traces = Traces {
        has_consent: consents,
        fingerprint: told.or_else(|| hashed(&call, consents, "device", device.as_deref())),
        ip: hashed(&call, consents, "ip", ip.as_deref()),
        user_agent: hashed(&call, consents, "user_agent", said.user_agent.as_deref()),
        click_id: said.click_id.clone(),
        fbclid: said.fbclid.clone(),
    };
    let rules = &entry.api.attribution;
    let verdict = call
        .state
        .reported
        .attribute(tenant, rules, at, traces)
        .await?;
    let conversion = ReportedConversion {
        id: said.conversion_id.clone(),
        kind: said.conversion_type.clone(),
        value,
        at,
        reported_at: call.now(),
        attribution: verdict.attribution.clone(),
    };
    let store = &call.state.store;
    store
        .record_reported_conversion(tenant, &conversion)
        .await?;
    Reply::json(&credited(&verdict, rules))
}

fn credited(verdict: &Verdict, rules: &AttributionRules) -> ConversionCredit {
    let found = verdict.attribution.as_ref();
    let window = match found.map(|found| found.method) {
        Some(Method::UrlParam) | None => rules.click_window,
        Some(Method::Fingerprint) => rules.fingerprint_window,
        Some(Method::Probabilistic) => rules.probabilistic_window,
    };
    let nothing = || {
        let answers = verdict.attempts.iter();
        let answers: Vec<String> = answers
            .map(|attempt| format!("{}: {}", attempt.method, attempt.reason))
            .collect();
        answers.join("; ")
    };
    ConversionCredit {
        success: found.is_some(),
        attributed_click_id: found.and_then(|found| Some(found.visit.as_ref()?.to_string())),
        attribution_method: found.map(|found| found.method.as_str().to_owned()),
        attribution_confidence: found.map_or(0.0, |found| found.confidence),
        attribution_window_hours: hours(window),
        reason: found.map_or_else(nothing, |found| found.reason.clone()),
        ad_id: found.map(|found| found.credit.ad.to_string()),
        campaign_id: found.and_then(|found| Some(found.credit.campaign.as_ref()?.to_string())),
    }
}
