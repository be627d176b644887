//! Meta's JSON, read into the domain's values; pure. A row that cannot be read is named and left
//! out, the others stand. Ids and money are texts there, numbers now and then; unknown fields are
//! passed over; what is zero is often missing.
//! Source: Meta, Marketing API reference (campaign, ad set, ad, insights, activities).

use serde::Deserialize;
use serde_json::Value;

use super::errors::Envelope;
use super::reports::ReportState;
use super::{Activity, Cursor, InsightsQuery, LiveSettings, Page};
use crate::domain::ids::{AdAccountId, AdId, AdSetId, CampaignId, CreativeId};
use crate::domain::insight::{ActionCount, AdInsight, ReportWindow};
use crate::domain::money::{Currency, Money};
use crate::domain::structure::{
    Account, AccountStatus, Ad, AdSet, Budget, Campaign, Creative, EffectiveStatus, EntityRef,
    Learning, RunStatus,
};
use crate::domain::time::{self, Timestamp};

pub(super) const ACCOUNT_FIELDS: &str =
    "id,name,account_status,currency,timezone_name,min_daily_budget";
pub(super) const CAMPAIGN_FIELDS: &str = "id,name,status,effective_status,daily_budget,\
    lifetime_budget,objective,is_adset_budget_sharing_enabled,is_budget_schedule_enabled,\
    smart_promotion_type,created_time,updated_time";
pub(super) const AD_SET_FIELDS: &str = "id,campaign_id,name,status,effective_status,daily_budget,\
    lifetime_budget,learning_stage_info,created_time,updated_time";
pub(super) const AD_FIELDS: &str = "id,adset_id,campaign_id,name,status,effective_status,\
    created_time,updated_time,creative{id,name,title,body,object_type,object_story_spec,\
    asset_feed_spec,call_to_action_type,video_id,image_hash,effective_object_story_id,url_tags,\
    link_url}";
pub(super) const INSIGHT_FIELDS: &str = "ad_id,adset_id,campaign_id,account_currency,date_start,\
    date_stop,spend,impressions,clicks,inline_link_clicks,reach,actions";
/// Reach does not exist by the hour.
pub(super) const HOURLY_INSIGHT_FIELDS: &str = "ad_id,adset_id,campaign_id,account_currency,\
    date_start,date_stop,spend,impressions,clicks,inline_link_clicks,actions";
pub(super) const REPORT_FIELDS: &str = "async_status,async_percent_completion,error_code,\
    error_subcode,error_message,error_user_title,error_user_msg";
pub(super) const HOURLY: &str = "hourly_stats_aggregated_by_advertiser_time_zone";
pub(super) const ACTIVITY_FIELDS: &str = "actor_id,actor_name,application_id,event_time,\
    event_type,object_id,object_type,extra_data";

/// The fields that settings are read from, by kind of object.
pub(super) fn settings_fields(entity: &EntityRef) -> &'static str {
    match entity {
        EntityRef::Campaign(_) => {
            "id,account_id,status,daily_budget,lifetime_budget,budget_remaining,updated_time"
        }
        EntityRef::AdSet(_) => {
            "id,account_id,status,daily_budget,lifetime_budget,budget_remaining,updated_time,\
             learning_stage_info"
        }
        EntityRef::Ad(_) => "id,account_id,status,updated_time",
    }
}

/// A text that may have come as a number or a truth value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Loose(String);

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            Value::Number(n) => Ok(Self(n.to_string())),
            Value::Bool(b) => Ok(Self(b.to_string())),
            Value::Null => Ok(Self(String::new())),
            Value::Array(_) | Value::Object(_) => {
                Err(serde::de::Error::custom("not a plain value"))
            }
        }
    }
}

type Text = Option<Loose>;

/// The text of a field, unless it is missing or empty.
fn text(field: &Text) -> Option<&str> {
    field
        .as_ref()
        .map(|loose| loose.0.as_str())
        .filter(|text| !text.is_empty())
}

fn need<'a>(name: &str, field: &'a Text) -> Result<&'a str, String> {
    text(field).ok_or_else(|| format!("it has no {name}"))
}

fn owned(field: &Text) -> String {
    text(field).unwrap_or_default().to_owned()
}

/// Reads `2015-02-28T08:49:14+0000`, which RFC 3339 does not know, or RFC 3339.
fn instant(name: &str, field: &Text) -> Result<Timestamp, String> {
    let text = need(name, field)?;
    Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", text)
        .or_else(|_| text.parse())
        .map_err(|_| format!("its {name} {text:?} is not a time"))
}

fn id<T: std::str::FromStr<Err = crate::domain::ids::BadId>>(
    name: &str,
    field: &Text,
) -> Result<T, String> {
    need(name, field)?
        .parse()
        .map_err(|bad: crate::domain::ids::BadId| bad.to_string())
}

/// Whole minor units; missing and zero are the same at Meta.
fn minor(name: &str, field: &Text, currency: Currency) -> Result<Option<Money>, String> {
    let Some(text) = text(field) else {
        return Ok(None);
    };
    match text.parse::<i64>() {
        Ok(0) => Ok(None),
        Ok(n) if n > 0 => Ok(Some(Money::from_minor(n, currency))),
        Ok(_) | Err(_) => Err(format!(
            "its {name} {text:?} is not a number of minor units"
        )),
    }
}

fn count(name: &str, field: &Text) -> Result<Option<u64>, String> {
    text(field)
        .map(|text| {
            text.parse()
                .map_err(|_| format!("its {name} {text:?} is not a count"))
        })
        .transpose()
}

fn budget(daily: &Text, lifetime: &Text, currency: Currency) -> Result<Budget, String> {
    let daily = minor("daily_budget", daily, currency)?;
    let lifetime = minor("lifetime_budget", lifetime, currency)?;
    match (daily, lifetime) {
        (Some(_), Some(_)) => Err("it has a daily and a lifetime budget".to_owned()),
        (Some(money), None) => Ok(Budget::Daily(money)),
        (None, Some(money)) => Ok(Budget::Lifetime(money)),
        (None, None) => Ok(Budget::None),
    }
}

fn status(field: &Text) -> Result<RunStatus, String> {
    let name = need("status", field)?;
    RunStatus::parse(name).ok_or_else(|| format!("its status {name:?} is not known"))
}

fn is_true(field: &Text) -> bool {
    text(field) == Some("true")
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("it has another shape: {error}"))
}

#[derive(Deserialize)]
struct PageWire {
    data: Vec<Value>,
    #[serde(default)]
    paging: Option<PagingWire>,
}

#[derive(Deserialize)]
struct PagingWire {
    #[serde(default)]
    cursors: Option<CursorsWire>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize)]
struct CursorsWire {
    #[serde(default)]
    after: Text,
}

/// Reads a page. `after` is where it began: a page that leads back to itself would never end.
///
/// # Errors
/// When it is no page, or has a next one that cannot be reached: an end that is none would make
/// objects look deleted.
pub(super) fn page<T>(
    body: Value,
    after: Option<&Cursor>,
    row: impl Fn(Value) -> Result<T, String>,
) -> Result<Page<T>, String> {
    let wire: PageWire = parse(body)?;
    let next = match wire.paging {
        Some(paging) => next_cursor(paging)?,
        None => None,
    };
    if next.is_some() && next.as_ref() == after {
        return Err("the next page begins where this one did".to_owned());
    }
    let mut page = Page {
        rows: Vec::with_capacity(wire.data.len()),
        next,
        faults: Vec::new(),
    };
    for value in wire.data {
        let name = ["id", "ad_id", "object_id"]
            .iter()
            .find_map(|key| value.get(key).and_then(Value::as_str))
            .unwrap_or("a row without id")
            .to_owned();
        match row(value) {
            Ok(row) => page.rows.push(row),
            Err(fault) => page.faults.push(format!("{name}: {fault}")),
        }
    }
    Ok(page)
}

/// `next` holds the token: only its cursor is taken, and it is never kept or logged.
fn next_cursor(paging: PagingWire) -> Result<Option<Cursor>, String> {
    let Some(next) = paging.next else {
        return Ok(None);
    };
    let given = paging
        .cursors
        .and_then(|cursors| text(&cursors.after).map(ToOwned::to_owned));
    let cursor = given.or_else(|| {
        let url = reqwest::Url::parse(&next).ok()?;
        url.query_pairs()
            .find_map(|(key, value)| (key == "after").then(|| value.into_owned()))
    });
    match cursor {
        Some(cursor) => Ok(Some(Cursor(cursor))),
        None => Err("there is a next page but no cursor to it".to_owned()),
    }
}

#[derive(Deserialize)]
struct AccountWire {
    id: Text,
    name: Text,
    account_status: Text,
    currency: Text,
    timezone_name: Text,
    min_daily_budget: Text,
}

pub(super) fn account(body: Value) -> Result<Account, String> {
    let wire: AccountWire = parse(body)?;
    let code = need("currency", &wire.currency)?;
    let currency = Currency::new(code).map_err(|error| error.to_string())?;
    let number = need("account_status", &wire.account_status)?;
    let number = number
        .parse()
        .map_err(|_| "its account_status is not a number".to_owned())?;
    Ok(Account {
        id: AdAccountId::new(need("id", &wire.id)?).map_err(|error| error.to_string())?,
        name: owned(&wire.name),
        status: AccountStatus::from_number(number),
        currency,
        time_zone_name: need("timezone_name", &wire.timezone_name)?.to_owned(),
        min_daily_budget: minor("min_daily_budget", &wire.min_daily_budget, currency)?,
    })
}

#[derive(Deserialize)]
struct CampaignWire {
    id: Text,
    name: Text,
    status: Text,
    effective_status: Text,
    daily_budget: Text,
    lifetime_budget: Text,
    objective: Text,
    is_adset_budget_sharing_enabled: Text,
    is_budget_schedule_enabled: Text,
    smart_promotion_type: Text,
    created_time: Text,
    updated_time: Text,
}

pub(super) fn campaign(row: Value, currency: Currency) -> Result<Campaign, String> {
    let wire: CampaignWire = parse(row)?;
    Ok(Campaign {
        id: id::<CampaignId>("id", &wire.id)?,
        name: owned(&wire.name),
        status: status(&wire.status)?,
        effective: EffectiveStatus(owned(&wire.effective_status)),
        budget: budget(&wire.daily_budget, &wire.lifetime_budget, currency)?,
        objective: owned(&wire.objective),
        shares_budgets: is_true(&wire.is_adset_budget_sharing_enabled),
        has_budget_schedule: is_true(&wire.is_budget_schedule_enabled),
        // An ordinary campaign says GUIDED_CREATION or nothing.
        smart_promotion: text(&wire.smart_promotion_type)
            .filter(|kind| *kind != "GUIDED_CREATION")
            .map(ToOwned::to_owned),
        created_at: instant("created_time", &wire.created_time)?,
        updated_at: instant("updated_time", &wire.updated_time)?,
    })
}

#[derive(Deserialize)]
struct LearningWire {
    status: Text,
    last_sig_edit_ts: Text,
}

impl LearningWire {
    fn last_edit(&self) -> Option<Timestamp> {
        let seconds: i64 = text(&self.last_sig_edit_ts)?.parse().ok()?;
        (seconds > 0).then(|| time::from_seconds(seconds))
    }
}

#[derive(Deserialize)]
struct AdSetWire {
    id: Text,
    campaign_id: Text,
    name: Text,
    status: Text,
    effective_status: Text,
    daily_budget: Text,
    lifetime_budget: Text,
    #[serde(default)]
    learning_stage_info: Option<LearningWire>,
    created_time: Text,
    updated_time: Text,
}

pub(super) fn ad_set(row: Value, currency: Currency) -> Result<AdSet, String> {
    let wire: AdSetWire = parse(row)?;
    Ok(AdSet {
        id: id::<AdSetId>("id", &wire.id)?,
        campaign: id("campaign_id", &wire.campaign_id)?,
        name: owned(&wire.name),
        status: status(&wire.status)?,
        effective: EffectiveStatus(owned(&wire.effective_status)),
        budget: budget(&wire.daily_budget, &wire.lifetime_budget, currency)?,
        learning: wire.learning_stage_info.map(|info| Learning {
            status: owned(&info.status),
            last_significant_edit: info.last_edit(),
        }),
        created_at: instant("created_time", &wire.created_time)?,
        updated_at: instant("updated_time", &wire.updated_time)?,
    })
}

#[derive(Deserialize)]
struct AdWire {
    id: Text,
    adset_id: Text,
    campaign_id: Text,
    name: Text,
    status: Text,
    effective_status: Text,
    created_time: Text,
    updated_time: Text,
    #[serde(default)]
    creative: Value,
}

pub(super) fn ad(row: Value) -> Result<Ad, String> {
    let wire: AdWire = parse(row)?;
    Ok(Ad {
        id: id::<AdId>("id", &wire.id)?,
        ad_set: id("adset_id", &wire.adset_id)?,
        campaign: id("campaign_id", &wire.campaign_id)?,
        name: owned(&wire.name),
        status: status(&wire.status)?,
        effective: EffectiveStatus(owned(&wire.effective_status)),
        creative: creative(&wire.creative),
        created_at: instant("created_time", &wire.created_time)?,
        updated_at: instant("updated_time", &wire.updated_time)?,
    })
}

/// What an ad shows has three homes: the story of a link or a video, the feed of assets that Meta
/// mixes, and the creative's own fields. The first that says something wins.
fn creative(value: &Value) -> Creative {
    let first = |pointers: &[&str]| {
        pointers
            .iter()
            .filter_map(|pointer| value.pointer(pointer).and_then(Value::as_str))
            .find(|text| !text.is_empty())
            .unwrap_or_default()
            .to_owned()
    };
    let has = |pointer: &str| match value.pointer(pointer) {
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(_) | None => false,
    };
    let format = if has("/asset_feed_spec") {
        "dynamic"
    } else if has("/object_story_spec/link_data/child_attachments") {
        "carousel"
    } else if has("/object_story_spec/video_data") || has("/video_id") {
        "video"
    } else if has("/object_story_spec/link_data") || has("/image_hash") {
        "image"
    } else if has("/effective_object_story_id") {
        "post"
    } else {
        ""
    };
    Creative {
        id: CreativeId::new(first(&["/id"])).ok(),
        title: first(&[
            "/object_story_spec/link_data/name",
            "/object_story_spec/video_data/title",
            "/asset_feed_spec/titles/0/text",
            "/title",
        ]),
        body: first(&[
            "/object_story_spec/link_data/message",
            "/object_story_spec/video_data/message",
            "/asset_feed_spec/bodies/0/text",
            "/body",
        ]),
        description: first(&[
            "/object_story_spec/link_data/description",
            "/object_story_spec/video_data/link_description",
            "/asset_feed_spec/descriptions/0/text",
        ]),
        call_to_action: first(&[
            "/object_story_spec/link_data/call_to_action/type",
            "/object_story_spec/video_data/call_to_action/type",
            "/asset_feed_spec/call_to_action_types/0",
            "/call_to_action_type",
        ]),
        format: format.to_owned(),
        link: first(&[
            "/object_story_spec/link_data/link",
            "/object_story_spec/video_data/call_to_action/value/link",
            "/asset_feed_spec/link_urls/0/website_url",
            "/link_url",
        ]),
        url_tags: first(&["/url_tags"]),
    }
}

#[derive(Deserialize)]
struct InsightWire {
    ad_id: Text,
    adset_id: Text,
    campaign_id: Text,
    account_currency: Text,
    date_start: Text,
    date_stop: Text,
    spend: Text,
    impressions: Text,
    clicks: Text,
    inline_link_clicks: Text,
    reach: Text,
    #[serde(default)]
    actions: Vec<ActionWire>,
    hourly_stats_aggregated_by_advertiser_time_zone: Text,
}

#[derive(Deserialize)]
struct ActionWire {
    action_type: Text,
    value: Text,
}

/// How a report stands; `None` when it has no status.
pub(super) fn report(body: &Value) -> Option<ReportState> {
    let number = |key: &str| body.get(key).and_then(Value::as_i64);
    let words = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let error = Envelope {
        code: number("error_code"),
        subcode: number("error_subcode").filter(|n| *n != 0),
        message: words("error_message").to_owned(),
        user_message: words("error_user_msg").to_owned(),
        ..Envelope::default()
    };
    let status = body.get("async_status")?.as_str()?;
    let percent = body.get("async_percent_completion").and_then(Value::as_f64);
    Some(ReportState::of(status, percent, &error))
}

pub(super) fn insights(
    body: Value,
    after: Option<&Cursor>,
    currency: Currency,
    query: &InsightsQuery,
) -> Result<Page<AdInsight>, String> {
    // Meta leaves out what is zero, so a row without link clicks had none as long as another row
    // has some; only a page that knows none at all is counted by clicks of any kind.
    let knows_link_clicks = body
        .get("data")
        .and_then(Value::as_array)
        .is_some_and(|rows| {
            rows.iter()
                .any(|row| row.get("inline_link_clicks").is_some())
        });
    page(body, after, |row| {
        insight(row, currency, query, knows_link_clicks)
    })
}

fn insight(
    row: Value,
    currency: Currency,
    query: &InsightsQuery,
    knows_link_clicks: bool,
) -> Result<AdInsight, String> {
    let wire: InsightWire = parse(row)?;
    if let Some(code) = text(&wire.account_currency).filter(|code| *code != currency.code()) {
        return Err(format!("it is in {code}, not in {currency}"));
    }
    let day = need("date_start", &wire.date_start)?;
    let stop = need("date_stop", &wire.date_stop)?;
    if day != stop {
        return Err(format!("it covers {day} to {stop} instead of one day"));
    }
    let day = time::parse_date(day).map_err(|_| format!("its date {day:?} is not a date"))?;
    // Meta ignores a range that it does not like, instead of refusing it.
    if day < query.since || day > query.until {
        return Err(format!("its day {day} was not asked for"));
    }
    let hour = text(&wire.hourly_stats_aggregated_by_advertiser_time_zone);
    let window = match (query.is_hourly, hour) {
        (false, None) => ReportWindow::Day(day),
        (true, Some(hour)) => ReportWindow::Hour(day, self::hour(hour)?),
        (true, None) => return Err("it names no hour".to_owned()),
        (false, Some(_)) => return Err("it is of an hour, days were asked for".to_owned()),
    };
    let spend = Money::parse_nearest(text(&wire.spend).unwrap_or("0"), currency)
        .map_err(|error| error.to_string())?;
    if spend.is_negative() {
        return Err(format!("its spend is {spend}"));
    }
    let clicks = if knows_link_clicks {
        count("inline_link_clicks", &wire.inline_link_clicks)?
    } else {
        count("clicks", &wire.clicks)?
    };
    Ok(AdInsight {
        ad: id("ad_id", &wire.ad_id)?,
        ad_set: id("adset_id", &wire.adset_id)?,
        campaign: id("campaign_id", &wire.campaign_id)?,
        window,
        impressions: count("impressions", &wire.impressions)?.unwrap_or(0),
        clicks: clicks.unwrap_or(0),
        spend,
        reach: count("reach", &wire.reach)?.filter(|_| !query.is_hourly),
        actions: wire.actions.iter().filter_map(action).collect(),
    })
}

/// Reads `13:00:00 - 13:59:59`.
fn hour(range: &str) -> Result<u8, String> {
    range
        .split(':')
        .next()
        .and_then(|hour| hour.trim().parse().ok())
        .filter(|hour| *hour < 24)
        .ok_or_else(|| format!("its hour {range:?} is not one"))
}

fn action(wire: &ActionWire) -> Option<ActionCount> {
    let count: f64 = text(&wire.value)?.parse().ok()?;
    (count.is_finite() && count >= 0.0).then_some(ActionCount {
        kind: text(&wire.action_type)?.to_owned(),
        count,
    })
}

#[derive(Deserialize)]
struct ActivityWire {
    event_time: Text,
    event_type: Text,
    object_id: Text,
    actor_name: Text,
    actor_id: Text,
    application_id: Text,
    #[serde(default)]
    extra_data: Value,
}

pub(super) fn activity(row: Value) -> Result<Activity, String> {
    let wire: ActivityWire = parse(row)?;
    Ok(Activity {
        at: instant("event_time", &wire.event_time)?,
        kind: need("event_type", &wire.event_type)?.to_owned(),
        object_id: owned(&wire.object_id),
        actor: text(&wire.actor_name)
            .or(text(&wire.actor_id))
            .unwrap_or_default()
            .to_owned(),
        application_id: text(&wire.application_id)
            .filter(|id| *id != "0")
            .map(ToOwned::to_owned),
        extra: match wire.extra_data {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        },
    })
}

#[derive(Deserialize)]
struct SettingsWire {
    id: Text,
    account_id: Text,
    status: Text,
    daily_budget: Text,
    lifetime_budget: Text,
    budget_remaining: Text,
    updated_time: Text,
    #[serde(default)]
    learning_stage_info: Option<LearningWire>,
}

pub(super) fn settings(
    body: Value,
    entity: &EntityRef,
    account: &AdAccountId,
    currency: Currency,
) -> Result<LiveSettings, String> {
    let wire: SettingsWire = parse(body)?;
    let found = need("id", &wire.id)?;
    if found != entity.id() {
        return Err(format!("it is {found}, {} was asked for", entity.id()));
    }
    if let Some(other) = text(&wire.account_id)
        && other.trim_start_matches("act_") != account.digits()
    {
        return Err(format!("it belongs to act_{other}, not to {account}"));
    }
    let budget = match entity {
        EntityRef::Ad(_) => Budget::None,
        EntityRef::Campaign(_) | EntityRef::AdSet(_) => {
            budget(&wire.daily_budget, &wire.lifetime_budget, currency)?
        }
    };
    Ok(LiveSettings {
        entity: entity.clone(),
        status: status(&wire.status)?,
        budget,
        updated_at: instant("updated_time", &wire.updated_time)?,
        last_significant_edit: wire.learning_stage_info.and_then(|info| info.last_edit()),
        spent_today: spent_today(budget, &wire.budget_remaining),
    })
}

/// What is spent of a daily budget. Meta names only what remains of it; a remainder that does not
/// fit the budget tells nothing.
fn spent_today(budget: Budget, remaining: &Text) -> Option<Money> {
    let daily = budget.daily()?;
    let remaining: i64 = text(remaining)?.parse().ok()?;
    (0..=daily.minor())
        .contains(&remaining)
        .then(|| Money::from_minor(daily.minor() - remaining, daily.currency()))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
