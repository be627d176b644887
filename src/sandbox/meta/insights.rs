//! Insights: what the ads did, by account day or account hour, a little short at first and settled
//! over three days.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::domain::time::{self, Date, Timestamp};

use super::super::draw::Draw;
use super::super::faults::ReportFate;
use super::super::market::{Level, Market};
use super::objects::{Filter, filtering, paged, report_draw, wanted};
use super::{Context, Error, World};

/// A report that was ordered.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Report {
    at: Timestamp,
    node: Option<usize>,
    params: Vec<(String, String)>,
    fate: Option<ReportFate>,
}

/// Decides what becomes of the report that this answer names.
pub(in crate::sandbox) fn doom(world: &World, answer: &[u8], fate: &ReportFate) {
    let body: Value = serde_json::from_slice(answer).unwrap_or_default();
    let Some(run) = body.get("report_run_id").and_then(Value::as_str) else {
        return;
    };
    for tenant in &world.tenants {
        if let Some(report) = tenant.lock().reports.get_mut(run) {
            report.fate = Some(fate.clone());
        }
    }
}

const HOURLY: &str = "hourly_stats_aggregated_by_advertiser_time_zone";

/// Fields that are known; those that this sandbox has no value for are never given.
const KNOWN: &[&str] = &[
    "account_id",
    "account_name",
    "account_currency",
    "campaign_id",
    "campaign_name",
    "adset_id",
    "adset_name",
    "ad_id",
    "ad_name",
    "date_start",
    "date_stop",
    "spend",
    "impressions",
    "reach",
    "frequency",
    "clicks",
    "inline_link_clicks",
    "outbound_clicks",
    "unique_clicks",
    "cpm",
    "cpc",
    "ctr",
    "actions",
    "action_values",
    "cost_per_action_type",
    "conversions",
    "conversion_values",
    "conversion_leads",
    "results",
    "attribution_setting",
    "optimization_goal",
    "objective",
    "video_p25_watched_actions",
    "video_p50_watched_actions",
    "video_p75_watched_actions",
    "video_p100_watched_actions",
    "video_thruplay_watched_actions",
    "quality_ranking",
    "engagement_rate_ranking",
    "conversion_rate_ranking",
    "updated_time",
    "created_time",
    "purchase_roas",
    "website_purchase_roas",
    "buying_type",
];

/// Rows that one synchronous call may compute.
const ROWS_MAX: usize = 20_000;
/// Rows that a report may compute.
const REPORT_ROWS_MAX: usize = 200_000;

/// What a row sums up.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    spend_milli: u64,
    impressions: u64,
    clicks: u64,
    leads: u64,
    value_minor: i64,
}

/// What was asked.
struct Query {
    level: Level,
    is_account: bool,
    since: Date,
    until: Date,
    /// Days in one row; 0 for all.
    increment: i64,
    is_hourly: bool,
    fields: Vec<String>,
    filters: Vec<Filter>,
}

/// Place of a row: entity, first day, last day, hour.
type Key = (usize, Date, Date, u8);

/// `GET …/insights`
pub(super) fn read(context: &Context<'_>, top: Option<usize>) -> Result<Value, Error> {
    rows(context, top, ROWS_MAX)
}

fn rows(context: &Context<'_>, top: Option<usize>, most: usize) -> Result<Value, Error> {
    let query = query(context, top)?;
    let mut sums: Vec<(Key, Sum)> = sums(context, top, &query, most)?.into_iter().collect();
    debug_assert!(context.state.market.moved_to() >= context.now);
    // Rows exist only where something was delivered.
    sums.retain(|(_, sum)| sum.impressions > 0 || sum.spend_milli > 0);
    paged(context, sums, 25, |(key, sum)| {
        Value::Object(row(context, &query, key, sum))
    })
}

/// `POST …/insights`: orders a report.
pub(super) fn submit(context: &mut Context<'_>) -> Result<Value, Error> {
    query(context, None)?;
    let id = format!(
        "69{:013}",
        report_draw(context)
            .named(context.trace)
            .below(9_999_999_999_999)
    );
    let report = Report {
        at: context.now,
        node: None,
        params: context.call.params().cloned().collect(),
        fate: None,
    };
    context.state.reports.insert(id.clone(), report);
    Ok(json!({ "report_run_id": id }))
}

/// `GET /{report}` and `GET /{report}/insights`.
pub(super) fn report(context: &mut Context<'_>, id: &str, rest: &[&str]) -> Result<Value, Error> {
    let Some(report) = context.state.reports.get(id).cloned() else {
        return Err(Error::missing("get", id));
    };
    let secs = time::between(report.at, context.now).as_secs();
    let (status, percent) = match (&report.fate, secs) {
        (Some(ReportFate::Missing { looks }), _) if *looks > 0 => {
            let looks = looks - 1;
            if let Some(report) = context.state.reports.get_mut(id) {
                report.fate = Some(ReportFate::Missing { looks });
            }
            return Err(Error::missing("get", id));
        }
        (_, 0..5) => ("Job Not Started", 0),
        (_, 5..8) => ("Job Started", 0),
        (Some(ReportFate::Fails { .. }), _) => ("Job Failed", 0),
        (Some(ReportFate::Skipped), _) => ("Job Skipped", 0),
        (Some(ReportFate::Slow { seconds }), secs) if secs < *seconds => ("Job Completed", 99),
        (_, 8..30) => ("Job Running", secs * 3),
        _ => ("Job Completed", 100),
    };
    match rest {
        [] => {
            let mut told = json!({"id": id,
                "account_id": context.tenant.spec.ad_account.digits(),
                "async_status": status, "async_percent_completion": percent,
                "time_ref": time::to_micros(report.at) / 1_000_000});
            if let (Some(ReportFate::Fails { code, subcode }), Some(told)) =
                (&report.fate, told.as_object_mut())
                && status == "Job Failed"
            {
                told.insert("error_code".into(), json!(code));
                told.insert("error_subcode".into(), json!(subcode));
                told.insert("error_message".into(), json!("The report failed."));
            }
            Ok(told)
        }
        ["insights"] if percent < 100 => Err(Error::new(
            2601,
            1_815_107,
            "(#2601) Error accessing adreport job.".to_owned(),
        )),
        ["insights"] => {
            let call = context.call.with_params(&report.params);
            let inner = Context {
                world: context.world,
                tenant: context.tenant,
                state: context.state,
                now: context.now,
                call: &call,
                version: context.version,
                trace: context.trace,
            };
            rows(&inner, report.node, REPORT_ROWS_MAX)
        }
        _ => Err(Error::bad("Unsupported get request")),
    }
}

fn query(context: &Context<'_>, top: Option<usize>) -> Result<Query, Error> {
    let call = context.call;
    let market = &context.state.market;
    let own = top.and_then(|t| market.nodes.get(t)).map(|n| n.level);
    let (level, is_account) = match call.param("level") {
        None => (own.unwrap_or(Level::Ad), own.is_none()),
        Some("account") => (Level::Ad, true),
        Some("campaign") => (Level::Campaign, false),
        Some("adset") => (Level::AdSet, false),
        Some("ad") => (Level::Ad, false),
        Some(other) => {
            return Err(Error::bad(&format!(
                "level must be one of ad, adset, campaign, account, not {other}"
            )));
        }
    };
    let is_hourly = match call.param("breakdowns").filter(|b| !b.is_empty()) {
        None => false,
        Some(text) if text == HOURLY || text == format!("[\"{HOURLY}\"]") => true,
        Some(text) => {
            return Err(Error::new(
                100,
                1_504_041,
                format!("(#100) breakdowns {text} is not supported here"),
            ));
        }
    };
    let increment = match call.param("time_increment") {
        None | Some("all_days") => 0,
        Some(text) => text
            .parse::<i64>()
            .ok()
            .filter(|n| (1..=90).contains(n))
            .ok_or_else(|| Error::bad("time_increment must be 1 to 90 or all_days"))?,
    };
    let text = call.param("fields").unwrap_or("impressions,spend");
    let fields: Vec<String> = wanted(text)?.iter().map(|w| w.name().to_owned()).collect();
    for field in &fields {
        if !KNOWN.contains(&field.as_str()) {
            return Err(Error::bad(&format!(
                "{field} is not valid for fields param. please check https://developers.facebook.com/docs/marketing-api/reference/ads-insights/ for all valid values"
            )));
        }
    }
    if is_hourly
        && fields
            .iter()
            .any(|f| f == "reach" || f == "frequency" || f == "unique_clicks")
    {
        return Err(Error::new(
            100,
            1_504_042,
            "(#100) reach, frequency and unique fields cannot be combined with the hourly breakdown".to_owned(),
        ));
    }
    let today = time::day_of(context.now, &market.zone);
    let (since, until) = span(
        call.param("time_range"),
        call.param("date_preset"),
        today,
        market,
    )?;
    Ok(Query {
        level,
        is_account,
        since,
        until,
        increment,
        is_hourly,
        fields,
        filters: filtering(context)?,
    })
}

/// The days asked for. An invalid range is ignored, not refused, as at Meta.
fn span(
    range: Option<&str>,
    preset: Option<&str>,
    today: Date,
    market: &Market,
) -> Result<(Date, Date), Error> {
    if let Some(range) = range {
        let parsed = serde_json::from_str::<Value>(range).ok().and_then(|v| {
            let day = |name: &str| time::parse_date(v.get(name)?.as_str()?).ok();
            Some((day("since")?, day("until")?))
        });
        if let Some((since, until)) = parsed.filter(|(since, until)| since <= until) {
            let oldest = time::add_days(today, -37 * 31);
            if until < oldest {
                return Err(Error::new(
                    100,
                    3_018,
                    "(#3018) The start date of the time range cannot be beyond 37 months from the current date".to_owned(),
                ));
            }
            return Ok((since, until.min(today)));
        }
    }
    let ago = |n: i64| time::add_days(today, -n);
    Ok(match preset.unwrap_or("last_30d") {
        "today" => (today, today),
        "yesterday" => (ago(1), ago(1)),
        "last_3d" => (ago(3), ago(1)),
        "last_7d" => (ago(7), ago(1)),
        "last_14d" => (ago(14), ago(1)),
        "last_28d" => (ago(28), ago(1)),
        "last_30d" => (ago(30), ago(1)),
        "maximum" => (time::day_of(market.born, &market.zone), today),
        other => return Err(Error::bad(&format!("date_preset {other} is not valid"))),
    })
}

/// How much of a day is reported at `now`: a few per cent short at first, whole after three days.
fn settled(market: &Market, draw: Draw, ad: usize, day: Date, now: Timestamp) -> f64 {
    let end = time::day_start(time::add_days(day, 1), &market.zone);
    let age = time::days_between(end, now).max(0.0);
    let short = 0.01
        + 0.04
            * draw
                .of(ad as u64)
                .of(super::super::epoch_day(day).unsigned_abs())
                .unit();
    1.0 - short * (1.0 - (age / 3.0).min(1.0))
}

fn sums(
    context: &Context<'_>,
    top: Option<usize>,
    query: &Query,
    most: usize,
) -> Result<BTreeMap<Key, Sum>, Error> {
    let market = &context.state.market;
    let draw = report_draw(context);
    // The account's days and hours of the world's hours, once for all ads.
    let first = time::day_start(query.since, &market.zone).max(market.born);
    let last = time::day_start(time::add_days(query.until, 1), &market.zone);
    let hour_of = |at: Timestamp| {
        usize::try_from(time::between(market.born, at).as_secs().div_euclid(3_600)).unwrap_or(0)
    };
    let (from, to) = (hour_of(first), hour_of(last));
    let places: Vec<(usize, Date, u8)> = (from..to)
        .map(|i| {
            let at = time::add(market.born, time::hours(i64::try_from(i).unwrap_or(0)));
            (
                i,
                time::day_of(at, &market.zone),
                time::hour_of(at, &market.zone),
            )
        })
        .collect();
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    for (ad, cells) in market.cells() {
        if top.is_some_and(|top| !market.is_under(ad, top)) || !admitted(market, ad, query)? {
            continue;
        }
        let node = if query.is_account {
            0
        } else {
            level_of(market, ad, query.level)
        };
        let mut share = (None, 1.0);
        for (i, day, hour) in &places {
            let Some(cell) = cells.get(*i).filter(|c| c.spend_milli > 0) else {
                continue;
            };
            if share.0 != Some(*day) {
                share = (Some(*day), settled(market, draw, ad, *day, context.now));
            }
            let luck = draw.of(ad as u64).named("cell").of(*i as u64);
            let part = |n: u64, what: u64| {
                libm::floor(n as f64 * share.1 + luck.of(what).unit().min(0.999_999)) as u64
            };
            let (since, until) = window(query, *day);
            let key = (node, since, until, if query.is_hourly { *hour } else { 0 });
            let sum = sums.entry(key).or_default();
            sum.spend_milli += libm::floor(cell.spend_milli as f64 * share.1) as u64;
            sum.impressions += part(cell.impressions, 1).min(cell.impressions);
            sum.clicks += part(cell.clicks, 2).min(cell.clicks);
            sum.leads += cell.leads;
            sum.value_minor += cell.lead_value_minor;
        }
        if sums.len() > most {
            return Err(Error::reduce_data());
        }
    }
    Ok(sums)
}

fn window(query: &Query, day: Date) -> (Date, Date) {
    if query.increment == 0 {
        return (query.since, query.until);
    }
    let n = super::super::epoch_day(day) - super::super::epoch_day(query.since);
    let since = time::add_days(query.since, n / query.increment * query.increment);
    let until = time::add_days(since, query.increment - 1).min(query.until);
    (since, until)
}

fn level_of(market: &Market, ad: usize, level: Level) -> usize {
    let mut at = ad;
    while let Some(node) = market.nodes.get(at) {
        if node.level == level {
            break;
        }
        match node.parent {
            Some(parent) => at = parent,
            None => break,
        }
    }
    at
}

fn admitted(market: &Market, ad: usize, query: &Query) -> Result<bool, Error> {
    for filter in &query.filters {
        let level = match filter.field.as_str() {
            "campaign.id" => Level::Campaign,
            "adset.id" => Level::AdSet,
            "ad.id" => Level::Ad,
            // Zero rows do not exist here anyway.
            "impressions" | "spend" | "ad.impressions" => continue,
            other => {
                return Err(Error::bad(&format!("Filtering field {other} is invalid")));
            }
        };
        let id = market
            .nodes
            .get(level_of(market, ad, level))
            .map_or("", |n| n.id.as_str());
        if !filter.admits(id) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Main units, as reports have them.
fn main_units(milli: u64, offset: i64) -> String {
    let offset = offset.unsigned_abs().max(1);
    if offset == 1 {
        return format!("{}", (milli + 500) / 1_000);
    }
    let minor = (milli + 500) / 1_000;
    let text = format!("{}.{:02}", minor / offset, minor % offset);
    // Trailing zeros are left out: 5339.5
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A row under construction: only what was asked for is worked out, since a report has thousands.
struct Row<'a> {
    wanted: &'a [String],
    fields: Map<String, Value>,
}

impl Row<'_> {
    fn put(&mut self, name: &str, value: impl FnOnce() -> Value) {
        if self.wanted.iter().any(|wanted| wanted == name) {
            self.fields.insert(name.to_owned(), value());
        }
    }
}

fn row(
    context: &Context<'_>,
    query: &Query,
    (node, since, until, hour): Key,
    sum: Sum,
) -> Map<String, Value> {
    let market = &context.state.market;
    let mut row = Row {
        wanted: &query.fields,
        fields: Map::new(),
    };
    let spec = &context.tenant.spec;
    row.put("account_id", || json!(spec.ad_account.digits()));
    row.put("account_name", || json!(format!("{} ads", spec.tenant)));
    row.put("account_currency", || json!(market.currency.code()));
    if !query.is_account {
        let mut at = Some(node);
        while let Some(own) = at.and_then(|i| market.nodes.get(i)) {
            let (id, name) = match own.level {
                Level::Campaign => ("campaign_id", "campaign_name"),
                Level::AdSet => ("adset_id", "adset_name"),
                Level::Ad => ("ad_id", "ad_name"),
            };
            row.put(id, || json!(own.id));
            row.put(name, || json!(own.name));
            at = own.parent;
        }
        row.put("objective", || json!(market.business.objective().0));
        row.put("buying_type", || json!("AUCTION"));
        if query.level != Level::Campaign {
            row.put("optimization_goal", || json!(market.business.objective().1));
            row.put("attribution_setting", || json!("7d_click_1d_view"));
        }
    }
    let spend = main_units(sum.spend_milli, market.currency.offset());
    let main = sum.spend_milli as f64 / 1_000.0 / market.currency.offset() as f64;
    // Values are strings, and missing when zero.
    if spend != "0" {
        row.put("spend", || json!(spend));
    }
    if sum.impressions > 0 {
        let shown = sum.impressions as f64;
        row.put("impressions", || json!(sum.impressions.to_string()));
        row.put("cpm", || json!(format!("{:.6}", main * 1_000.0 / shown)));
        let reach = ((shown * 0.82) as u64).max(1);
        row.put("reach", || json!(reach.to_string()));
        row.put("frequency", || {
            json!(format!("{:.6}", shown / reach as f64))
        });
    }
    if sum.clicks > 0 {
        let clicks = sum.clicks.to_string();
        row.put("clicks", || json!(clicks));
        row.put("inline_link_clicks", || json!(clicks));
        row.put("unique_clicks", || json!(clicks));
        row.put(
            "outbound_clicks",
            || json!([{"action_type": "outbound_click", "value": clicks}]),
        );
        row.put("cpc", || json!(format!("{:.6}", main / sum.clicks as f64)));
        if sum.impressions > 0 {
            let ctr = sum.clicks as f64 * 100.0 / sum.impressions as f64;
            row.put("ctr", || json!(format!("{ctr:.6}")));
        }
    }
    let kinds: &[&str] = if market.business.has_campaign_budgets() {
        &[
            "purchase",
            "omni_purchase",
            "offsite_conversion.fb_pixel_purchase",
        ]
    } else {
        &["lead", "offsite_conversion.fb_pixel_lead"]
    };
    // Even a click is an action, so that a row without any has no list.
    if sum.clicks > 0 || (sum.leads > 0 && !query.is_hourly) {
        row.put("actions", || actions(kinds, query, sum));
    }
    if sum.value_minor > 0 && !query.is_hourly {
        row.put("action_values", || {
            let milli = sum.value_minor.unsigned_abs() * 1_000;
            let value = main_units(milli, market.currency.offset());
            kinds
                .iter()
                .map(|kind| json!({"action_type": kind, "value": value, "7d_click": value}))
                .collect()
        });
    }
    row.put("updated_time", || {
        json!(time::day_of(context.now, &market.zone).to_string())
    });
    let mut fields = row.fields;
    fields.insert("date_start".into(), json!(since.to_string()));
    fields.insert("date_stop".into(), json!(until.to_string()));
    if query.is_hourly {
        fields.insert(
            HOURLY.into(),
            json!(format!("{hour:02}:00:00 - {hour:02}:59:59")),
        );
    }
    fields
}

/// Nested and overlapping types; none that happen off Meta when asked by hour.
fn actions(kinds: &[&str], query: &Query, sum: Sum) -> Value {
    let mut list = Vec::new();
    let mut add = |kind: &str, n: u64, windows: bool| {
        if n > 0 {
            let n = n.to_string();
            list.push(if windows {
                json!({"action_type": kind, "value": n, "7d_click": n})
            } else {
                json!({"action_type": kind, "value": n})
            });
        }
    };
    add("link_click", sum.clicks, false);
    if !query.is_hourly {
        add("landing_page_view", sum.clicks * 9 / 10, false);
        for kind in kinds {
            add(kind, sum.leads, true);
        }
    }
    json!(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spend_is_in_main_units_without_trailing_zeros() {
        let check = |milli, offset, want: &str| assert_eq!(main_units(milli, offset), want);
        check(533_950_000, 100, "5339.5");
        check(1_000, 100, "0.01");
        check(400, 100, "0");
        check(120_000, 100, "1.2");
        check(1_000_000, 100, "10");
        check(1_000_000, 1, "1000");
    }
}
