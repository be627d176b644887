//! Accounts, campaigns, ad sets, ads and their history as JSON: ids and money are strings, only
//! fields that were asked for are given, and an unknown field is an error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::domain::time::{self, Timestamp};

use super::super::draw::Draw;
use super::super::market::{Activity, Level, Market, Node};
use super::{Context, Error};

/// A field asked for, with those asked for inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    name: String,
    inner: Vec<Wanted>,
}

impl Wanted {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Reads `a,b{c,d},e`.
pub(super) fn wanted(text: &str) -> Result<Vec<Wanted>, Error> {
    let mut stack: Vec<Vec<Wanted>> = vec![Vec::new()];
    let mut name = String::new();
    let bad = || Error::new(2500, 0, format!("Syntax error in fields: {text:?}"));
    let push = |stack: &mut Vec<Vec<Wanted>>, name: &mut String| {
        let name = std::mem::take(name);
        let name = name.trim();
        if let (false, Some(top)) = (name.is_empty(), stack.last_mut()) {
            top.push(Wanted {
                name: name.to_owned(),
                inner: Vec::new(),
            });
        }
    };
    for c in text.chars() {
        match c {
            ',' => push(&mut stack, &mut name),
            '{' => {
                push(&mut stack, &mut name);
                stack.push(Vec::new());
            }
            '}' => {
                push(&mut stack, &mut name);
                let inner = stack.pop().ok_or_else(bad)?;
                let top = stack.last_mut().ok_or_else(bad)?;
                top.last_mut().ok_or_else(bad)?.inner = inner;
            }
            c => name.push(c),
        }
    }
    push(&mut stack, &mut name);
    match (stack.pop(), stack.is_empty()) {
        (Some(all), true) => Ok(all),
        _ => Err(bad()),
    }
}

/// Picks the wanted fields of `all`; a name that neither is there nor is `known` is an error.
fn select(all: &Map<String, Value>, known: &[&str], fields: &[Wanted]) -> Result<Value, Error> {
    let mut out = Map::new();
    for field in fields {
        match all.get(&field.name) {
            Some(Value::Object(inner)) if !field.inner.is_empty() => {
                out.insert(field.name.clone(), select(inner, CREATIVE, &field.inner)?);
            }
            Some(value) => {
                out.insert(field.name.clone(), value.clone());
            }
            None if known.contains(&field.name.as_str()) => {}
            None => {
                return Err(Error::bad(&format!(
                    "Tried accessing nonexisting field ({})",
                    field.name
                )));
            }
        }
    }
    if let Some(id) = all.get("id") {
        out.insert("id".to_owned(), id.clone());
    }
    Ok(Value::Object(out))
}

const ACCOUNT: &[&str] = &[
    "age",
    "business_name",
    "funding_source_details",
    "owner",
    "tax_id",
    "user_tasks",
    "capabilities",
];
const CAMPAIGN: &[&str] = &[
    "daily_budget",
    "lifetime_budget",
    "budget_remaining",
    "bid_strategy",
    "spend_cap",
    "issues_info",
    "stop_time",
    "smart_promotion_type",
    "advantage_state_info",
    "last_budget_toggling_time",
    "pacing_type",
    "adlabels",
];
const AD_SET: &[&str] = &[
    "daily_budget",
    "lifetime_budget",
    "budget_remaining",
    "daily_min_spend_target",
    "daily_spend_cap",
    "lifetime_min_spend_target",
    "lifetime_spend_cap",
    "bid_strategy",
    "bid_amount",
    "bid_constraints",
    "learning_stage_info",
    "issues_info",
    "end_time",
    "adset_schedule",
    "pacing_type",
    "targeting",
    "is_budget_schedule_enabled",
    "budget_schedules",
];
const AD: &[&str] = &[
    "issues_info",
    "ad_review_feedback",
    "failed_delivery_checks",
    "last_updated_by_app_id",
    "bid_amount",
    "tracking_specs",
    "conversion_specs",
];
const CREATIVE: &[&str] = &[
    "title",
    "body",
    "object_story_spec",
    "asset_feed_spec",
    "call_to_action_type",
    "video_id",
    "thumbnail_url",
    "image_hash",
    "image_url",
    "effective_object_story_id",
    "url_tags",
    "link_url",
    "name",
    "object_type",
    "id",
    "status",
    "object_story_id",
    "account_id",
];
const ACTIVITY: &[&str] = &[
    "translated_event_type",
    "date_time_in_timezone",
    "application_name",
];

/// Meta's form of an instant: no colon in the offset.
pub(super) fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn fields(context: &Context<'_>, default: &str) -> Result<Vec<Wanted>, Error> {
    wanted(context.call.param("fields").unwrap_or(default))
}

/// `GET /act_…`
pub(super) fn account(context: &Context<'_>) -> Result<Value, Error> {
    select(&account_map(context), ACCOUNT, &fields(context, "id")?)
}

/// `GET /me/adaccounts`
pub(super) fn my_accounts(context: &Context<'_>) -> Result<Value, Error> {
    context.need(&["ads_read", "ads_management", "business_management"])?;
    let row = select(&account_map(context), ACCOUNT, &fields(context, "id")?)?;
    paged(context, vec![row], 25, |row| row)
}

fn account_map(context: &Context<'_>) -> Map<String, Value> {
    let market = &context.state.market;
    let account = &context.tenant.spec.ad_account;
    let offset = market.zone.to_offset(context.now).seconds();
    let spent: u64 = market
        .cells()
        .flat_map(|(_, cells)| cells.iter().map(|c| c.spend_milli))
        .sum();
    map(json!({
        "id": account.to_string(),
        "account_id": account.digits(),
        "name": format!("{} ads", context.tenant.spec.tenant),
        "account_status": 1,
        "disable_reason": 0,
        "currency": market.currency.code(),
        "timezone_id": 1,
        "timezone_name": market.business.zone(),
        "timezone_offset_hours_utc": f64::from(offset) / 3_600.0,
        "min_daily_budget": market.minimum_minor().to_string(),
        "spend_cap": "0",
        "amount_spent": (spent / 1_000).to_string(),
        "balance": "0",
        "created_time": instant(time::sub(market.born, time::days(400))),
    }))
}

/// `GET /act_…/minimum_budgets`
pub(super) fn minimum_budgets(context: &Context<'_>) -> Value {
    let market = &context.state.market;
    let least = market.minimum_minor();
    json!({"data": [{
        "currency": market.currency.code(),
        "min_daily_budget_imp": least.to_string(),
        "min_daily_budget_high_freq": (least * 5).to_string(),
        "min_daily_budget_low_freq": (least * 40).to_string(),
        "min_daily_budget_video_views": least.to_string(),
    }]})
}

/// `GET /{id}`
pub(super) fn object(context: &Context<'_>, node: usize) -> Result<Value, Error> {
    render(context, node, &fields(context, "id")?)
}

fn render(context: &Context<'_>, node: usize, fields: &[Wanted]) -> Result<Value, Error> {
    let market = &context.state.market;
    let Some(own) = market.nodes.get(node) else {
        return Err(Error::missing("get", ""));
    };
    let account = context.tenant.spec.ad_account.digits();
    let mut all = map(json!({
        "id": own.id,
        "account_id": account,
        "name": own.name,
        "status": own.status.as_str(),
        "configured_status": own.status.as_str(),
        "effective_status": market.effective_status(node),
        "created_time": instant(own.created),
        "updated_time": instant(own.updated),
    }));
    let known = match own.level {
        Level::Campaign => {
            campaign(market, own, &mut all);
            CAMPAIGN
        }
        Level::AdSet => {
            ad_set(context, node, own, &mut all);
            AD_SET
        }
        Level::Ad => {
            ad(context, node, own, &mut all);
            AD
        }
    };
    if let Some(budget) = own.daily_budget {
        let left = budget - market.spent_today_minor(node, context.now);
        all.insert("daily_budget".into(), json!(budget.to_string()));
        all.insert("budget_remaining".into(), json!(left.max(0).to_string()));
        all.insert("bid_strategy".into(), json!("LOWEST_COST_WITHOUT_CAP"));
    }
    select(&all, known, fields)
}

fn campaign(market: &Market, own: &Node, all: &mut Map<String, Value>) {
    all.extend(map(json!({
        "objective": market.business.objective().0,
        "buying_type": "AUCTION",
        "special_ad_categories": [],
        "is_adset_budget_sharing_enabled": false,
        "is_budget_schedule_enabled": false,
        "start_time": instant(own.created),
    })));
}

fn ad_set(context: &Context<'_>, node: usize, own: &Node, all: &mut Map<String, Value>) {
    let market = &context.state.market;
    let campaign = own.parent.and_then(|p| market.nodes.get(p));
    all.extend(map(json!({
        "campaign_id": campaign.map_or("", |c| c.id.as_str()),
        "billing_event": "IMPRESSIONS",
        "optimization_goal": market.business.objective().1,
        "promoted_object": {"pixel_id": "700000000000001", "custom_event_type":
            if market.business.has_campaign_budgets() { "PURCHASE" } else { "LEAD" }},
        "attribution_spec": [
            {"event_type": "CLICK_THROUGH", "window_days": 7},
            {"event_type": "VIEW_THROUGH", "window_days": 1},
        ],
        "start_time": instant(own.created),
    })));
    if let Some(learning) = market.learning(node, context.now) {
        all.insert(
            "learning_stage_info".into(),
            json!({
                "status": learning.status,
                "conversions": learning.conversions,
                "last_sig_edit_ts": time::to_micros(learning.last_sig_edit) / 1_000_000,
                "attribution_windows": ["7d_click", "1d_view"],
                "dynamic_lp_status": "NONE",
                "dynamic_lp_conversions_threshold": 50,
                "dynamic_lp_days_threshold": 7,
            }),
        );
    }
}

fn ad(context: &Context<'_>, node: usize, own: &Node, all: &mut Map<String, Value>) {
    let market = &context.state.market;
    let set = own.parent.and_then(|p| market.nodes.get(p));
    let campaign = set.and_then(|s| s.parent).and_then(|p| market.nodes.get(p));
    all.insert("adset_id".into(), json!(set.map(|s| s.id.as_str())));
    all.insert("campaign_id".into(), json!(campaign.map(|c| c.id.as_str())));
    if let Some(app) = &own.last_application {
        all.insert("last_updated_by_app_id".into(), json!(app));
    }
    all.insert("creative".into(), creative(market, node, own));
}

/// The text lives in one of three places, as it does at Meta.
fn creative(market: &Market, node: usize, own: &Node) -> Value {
    let Some(ad) = &own.ad else {
        return Value::Null;
    };
    let link = market.business.landing_page();
    let mut all = json!({
        "id": ad.creative,
        "name": format!("{} {}", own.name, ad.creative),
        "object_type": "SHARE",
        "call_to_action_type": "LEARN_MORE",
        "thumbnail_url": format!("https://scontent.example.com/{}.jpg?oe=6720&oh=00", ad.creative),
        "url_tags": "utm_source={{site_source_name}}&utm_medium=paid_social&utm_campaign={{campaign.id}}&utm_term={{adset.id}}&utm_content={{ad.id}}",
    });
    let page = "100000000000001";
    let (key, value) = match node % 3 {
        0 => (
            "object_story_spec",
            json!({"page_id": page, "link_data": {"message": ad.body, "name": ad.headline, "link": link,
                "call_to_action": {"type": "LEARN_MORE"}}}),
        ),
        1 => (
            "object_story_spec",
            json!({"page_id": page, "video_data": {"message": ad.body, "title": ad.headline, "video_id": "4400000001",
                "image_url": "https://scontent.example.com/v.jpg",
                "call_to_action": {"type": "LEARN_MORE", "value": {"link": link}}}}),
        ),
        _ => (
            "asset_feed_spec",
            json!({"bodies": [{"text": ad.body}], "titles": [{"text": ad.headline}],
                "call_to_action_types": ["LEARN_MORE"], "link_urls": [{"website_url": link}]}),
        ),
    };
    if let Some(map) = all.as_object_mut() {
        map.insert(key.to_owned(), value);
        if node.is_multiple_of(3) {
            map.insert("title".to_owned(), json!(ad.headline));
            map.insert("body".to_owned(), json!(ad.body));
        }
    }
    all
}

/// One condition of `filtering`.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    pub field: String,
    pub operator: String,
    pub value: Value,
}

impl Filter {
    /// Whether a text meets the condition.
    pub(super) fn admits(&self, text: &str) -> bool {
        match &self.value {
            Value::Array(all) => {
                let hit = all.iter().any(|v| v.as_str() == Some(text));
                hit != self.operator.starts_with("NOT")
            }
            Value::String(v) => (v == text) != self.operator.starts_with("NOT"),
            _ => false,
        }
    }
}

/// Reads `filtering`.
pub(super) fn filtering(context: &Context<'_>) -> Result<Vec<Filter>, Error> {
    let Some(text) = context.call.param("filtering") else {
        return Ok(Vec::new());
    };
    let bad = || Error::bad("Param filtering must be an array of {field, operator, value}");
    let rows: Vec<Value> = serde_json::from_str(text).map_err(|_| bad())?;
    rows.into_iter()
        .map(|row| {
            Ok(Filter {
                field: row["field"].as_str().ok_or_else(bad)?.to_owned(),
                operator: row["operator"].as_str().ok_or_else(bad)?.to_owned(),
                value: row.get("value").ok_or_else(bad)?.clone(),
            })
        })
        .collect()
}

/// `GET …/campaigns`, `/adsets`, `/ads`, of the account or of an object.
pub(super) fn edge(context: &Context<'_>, edge: &str, top: Option<usize>) -> Result<Value, Error> {
    let market = &context.state.market;
    let (level, prefix) = match edge {
        "campaigns" => (Level::Campaign, "campaign"),
        "adsets" => (Level::AdSet, "adset"),
        _ => (Level::Ad, "ad"),
    };
    let statuses: Option<Vec<String>> = match context.call.param("effective_status") {
        None => None,
        Some(text) => Some(
            serde_json::from_str(text)
                .map_err(|_| Error::bad("Param effective_status must be an array of enums"))?,
        ),
    };
    let mut since = match context.call.param("updated_since") {
        None => None,
        Some(text) => Some(
            text.parse::<i64>()
                .map_err(|_| Error::bad("Param updated_since must be an integer"))?,
        ),
    };
    let mut admit: Vec<Filter> = Vec::new();
    for filter in filtering(context)? {
        if filter.field == format!("{prefix}.updated_time") || filter.field == "updated_time" {
            let at = filter
                .value
                .as_i64()
                .or_else(|| filter.value.as_str().and_then(|v| v.parse().ok()));
            since = Some(at.ok_or_else(|| Error::bad("Filtering value must be a time"))?);
        } else if filter.field == "effective_status"
            || filter.field == format!("{prefix}.effective_status")
            || ["campaign.id", "adset.id", "ad.id"].contains(&filter.field.as_str())
        {
            admit.push(filter);
        } else {
            return Err(Error::bad(&format!(
                "Filtering field {} is invalid",
                filter.field
            )));
        }
    }
    let wanted = fields(context, "id")?;
    let mut rows = Vec::new();
    for (i, node) in market.nodes.iter().enumerate() {
        if node.level != level || top.is_some_and(|top| !market.is_under(i, top)) {
            continue;
        }
        let effective = market.effective_status(i);
        let shown = match &statuses {
            // Deleted and archived objects appear only when asked for.
            None => {
                effective != "ARCHIVED" && effective != "DELETED"
                    || admit.iter().any(|f| f.field.ends_with("effective_status"))
            }
            Some(list) => list.iter().any(|s| s == effective),
        };
        let is_new = since.is_none_or(|s| time::to_micros(node.updated) / 1_000_000 > s);
        let admitted = admit.iter().all(|f| {
            if f.field.ends_with("effective_status") {
                return f.admits(effective);
            }
            (0..market.nodes.len())
                .filter(|above| market.is_under(i, *above))
                .filter_map(|above| market.nodes.get(above))
                .any(|n| name_of(n.level) == f.field && f.admits(&n.id))
        });
        if shown && is_new && admitted {
            rows.push(render(context, i, &wanted)?);
        }
    }
    paged(context, rows, 25, |row| row)
}

const fn name_of(level: Level) -> &'static str {
    match level {
        Level::Campaign => "campaign.id",
        Level::AdSet => "adset.id",
        Level::Ad => "ad.id",
    }
}

/// `GET …/activities`, newest first; of the last week unless `since` says otherwise.
pub(super) fn activities(context: &Context<'_>, top: Option<usize>) -> Result<Value, Error> {
    let market = &context.state.market;
    let bound = |name: &str, default: i64| match context.call.param(name) {
        None => Ok(default),
        Some(text) => text
            .parse::<i64>()
            .ok()
            .or_else(|| {
                let day = time::parse_date(text).ok()?;
                Some(time::to_micros(time::day_start(day, &market.zone)) / 1_000_000)
            })
            .ok_or_else(|| Error::bad(&format!("Param {name} must be a time"))),
    };
    let now = time::to_micros(context.now) / 1_000_000;
    let (since, until) = (bound("since", now - 7 * 86_400)?, bound("until", now)?);
    let oid = context.call.param("oid");
    let wanted = fields(context, "event_time,event_type")?;
    let mut rows = Vec::new();
    for activity in market.activities.iter().rev() {
        let at = time::to_micros(activity.at) / 1_000_000;
        let Some(node) = market.nodes.get(activity.node) else {
            continue;
        };
        if at < since
            || at > until
            || oid.is_some_and(|oid| oid != node.id)
            || top.is_some_and(|top| !market.is_under(activity.node, top))
        {
            continue;
        }
        let mut all = activity_map(context, activity, node);
        all.remove("id");
        rows.push(select(&all, ACTIVITY, &wanted)?);
    }
    paged(context, rows, 25, |row| row)
}

fn activity_map(context: &Context<'_>, activity: &Activity, node: &Node) -> Map<String, Value> {
    let is_ours = activity.application_id == context.world.config.app_id;
    let object_type = match node.level {
        Level::Campaign => "CAMPAIGN_GROUP",
        Level::AdSet => "CAMPAIGN",
        Level::Ad => "ADGROUP",
    };
    let extra = json!({
        "old_value": activity.old,
        "new_value": activity.new,
        "currency": context.state.market.currency.code(),
    });
    map(json!({
        "actor_id": if is_ours { "122100000000001" } else { "100050000000001" },
        "actor_name": if is_ours { "roasd" } else { "Marketing" },
        "application_id": activity.application_id,
        "event_time": instant(activity.at),
        "event_type": activity.event_type,
        "object_id": node.id,
        "object_name": node.name,
        "object_type": object_type,
        "extra_data": extra.to_string(),
    }))
}

fn cursor(at: usize) -> String {
    STANDARD.encode(format!("sandbox:{at}"))
}

/// One page of `rows` with cursors; `next` contains the token, as it does at Meta. Only the rows of
/// the page are made by `show`.
pub(super) fn paged<T>(
    context: &Context<'_>,
    rows: Vec<T>,
    default_limit: usize,
    show: impl FnMut(T) -> Value,
) -> Result<Value, Error> {
    let limit = match context.call.param("limit") {
        None => default_limit,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| Error::bad("Param limit must be a positive integer"))?
            .min(1_000),
    };
    let from = match context.call.param("after").filter(|a| !a.is_empty()) {
        None => 0,
        Some(text) => STANDARD
            .decode(text)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| text.strip_prefix("sandbox:")?.parse::<usize>().ok())
            .ok_or_else(|| Error::bad("Invalid cursor"))?,
    };
    let total = rows.len();
    let page: Vec<Value> = rows.into_iter().skip(from).take(limit).map(show).collect();
    let to = from + page.len();
    let mut paging = Map::new();
    if !page.is_empty() {
        paging.insert(
            "cursors".into(),
            json!({"before": cursor(from), "after": cursor(to)}),
        );
    }
    if to < total {
        let base = format!("{}/meta/{}", context.world.base(), context.call.path);
        let mut url = reqwest::Url::parse(&base)
            .map_err(|_| Error::new(1, 0, "An unknown error has occurred".to_owned()))?;
        {
            let mut pairs = url.query_pairs_mut();
            let token = &context.tenant.spec.meta_token;
            pairs.append_pair("access_token", token);
            for (name, value) in context.call.params() {
                if name != "after" && name != "access_token" {
                    pairs.append_pair(name, value);
                }
            }
            pairs.append_pair("after", &cursor(to));
        }
        paging.insert("next".into(), json!(url.as_str()));
    }
    let mut out = json!({ "data": page });
    if let (false, Some(map)) = (paging.is_empty(), out.as_object_mut()) {
        map.insert("paging".into(), Value::Object(paging));
    }
    Ok(out)
}

/// Draws for reports about one account.
pub(super) fn report_draw(context: &Context<'_>) -> Draw {
    Draw::seeded(context.world.config.seed)
        .named(context.tenant.spec.tenant.as_str())
        .named("report")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_nest() {
        let all = wanted("id,creative{id,body},name").unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(all[1].inner.len(), 2);
        for bad in ["a{b", "a}", "{a}"] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn instants_have_no_colon_in_the_offset() {
        assert_eq!(instant(time::from_seconds(0)), "1970-01-01T00:00:00+0000");
    }
}
