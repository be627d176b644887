//! Revenue and spend by ad and day.

use std::collections::BTreeMap;

use super::route::{
    CURSOR_PARAM, Call, Kind, LIMIT_PARAM, Param, Reply, Route, Verb, Whose, bad_query, serve,
};
use super::shape::{Shape, answer};
use super::words::Amount;
use crate::domain::api_token::Scope;
use crate::domain::attribution::Credit;
use crate::domain::money::{Currency, Money};
use crate::domain::time::{self, Date, TimeZone};
use crate::http::Problem;

/// Days looked at unless asked for others, the last one included.
const DAYS: i64 = 7;
/// Days looked at most.
const DAYS_MAX: i64 = 92;

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/v1/tenants/{tenant}/ledger",
    scope: Scope::Read,
    whose: Whose::Path,
    about: "What each ad spent and brought on each day, in the ad account's time: newest day first, \
            then by ad.",
    query: &[
        Param {
            name: "from",
            kind: Kind::Date,
            about: "The first day; six days before `to` unless stated, 91 at most.",
        },
        Param {
            name: "to",
            kind: Kind::Date,
            about: "The last day, itself included; today unless stated.",
        },
        Param {
            name: "ad",
            kind: Kind::Text,
            about: "Only this ad; `none` for what no ad has the credit of.",
        },
        LIMIT_PARAM,
        CURSOR_PARAM,
    ],
    body: None,
    answer: Ledger::schema,
    serve: serve!(list),
}];

answer! {
    /// Revenue and spend.
    Ledger {
        /// The first day looked at.
        from: String,
        /// The last one.
        to: String,
        /// The time zone of the days.
        time_zone: String,
        /// Newest day first, then by ad.
        days: Vec<LedgerDay>,
        /// Where to go on; null at the end.
        next: Option<String>,
    }

    /// What one ad spent and brought on one day.
    LedgerDay {
        /// The day.
        day: String,
        /// The ad; null for what no ad has the credit of.
        ad: Option<String>,
        /// What was spent, as Meta says so far; null where nothing is known.
        spend: Option<Amount>,
        /// What came into the ledger on that day, expected and earned together: the sum of its
        /// entries, which is negative where deals went back.
        pipeline: Amount,
        /// What was earned of it.
        cash: Amount,
    }

    /// An ad and where it is.
    CreditedAd {
        /// The ad.
        id: String,
        /// Its ad set, where known.
        ad_set: Option<String>,
        /// Its campaign, where known.
        campaign: Option<String>,
    }
}

impl CreditedAd {
    pub(super) fn of(credit: &Credit) -> Self {
        Self {
            id: credit.ad.to_string(),
            ad_set: credit.ad_set.as_ref().map(ToString::to_string),
            campaign: credit.campaign.as_ref().map(ToString::to_string),
        }
    }
}

/// What is summed: by day counted backwards, ad (none first) and currency.
type Key = (std::cmp::Reverse<Date>, Option<String>, Currency);

struct Sum {
    spend: Option<Money>,
    pipeline: Money,
    cash: Money,
}

fn day_of_query(call: &Call, name: &str) -> Result<Option<Date>, Problem> {
    let text = call.query.get(name);
    let wrong = || bad_query(name, "give a day such as 2026-11-30");
    text.map(|text| time::parse_date(text).map_err(|_| wrong()))
        .transpose()
}

async fn list(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let limit = call.limit()? as usize;
    let store = &call.state.store;
    let structure = store.structure(tenant).await?;
    // Before the account was read nothing was spent that is known of.
    let zone = structure.and_then(|(structure, _)| structure.account.time_zone());
    let zone = zone.unwrap_or(TimeZone::UTC);
    let to = day_of_query(&call, "to")?.unwrap_or_else(|| time::day_of(call.now(), &zone));
    let from = day_of_query(&call, "from")?.unwrap_or_else(|| time::add_days(to, 1 - DAYS));
    if from > to || time::add_days(from, DAYS_MAX) <= to {
        return Err(bad_query(
            "from",
            "it must not be after `to`, nor more than 91 days before it",
        ));
    }
    let wanted = call.query.get("ad").map(String::as_str);
    let is_wanted = |ad: Option<&str>| match wanted {
        None => true,
        Some("none") => ad.is_none(),
        Some(wanted) => ad == Some(wanted),
    };
    let begin = time::day_start(from, &zone);
    let end = time::day_start(time::add_days(to, 1), &zone);
    let mut rows = Rows(BTreeMap::new());
    for (ad, quarter, totals) in store.revenue_by_ad_between(tenant, begin, end).await? {
        let ad = ad.map(|ad| ad.to_string());
        if is_wanted(ad.as_deref()) {
            let day = time::day_of(quarter, &zone);
            let sum = rows.at(day, ad, totals.pipeline.currency());
            sum.pipeline = added(sum.pipeline, totals.pipeline)?;
            sum.cash = added(sum.cash, totals.cash)?;
        }
    }
    for row in store.daily_insights(tenant, from).await? {
        let (day, ad) = (row.window.day(), row.ad.to_string());
        if day <= to && is_wanted(Some(&ad)) {
            let sum = rows.at(day, Some(ad), row.spend.currency());
            let zero = Money::zero(row.spend.currency());
            sum.spend = Some(added(sum.spend.unwrap_or(zero), row.spend)?);
        }
    }
    let after = call.cursor(place)?;
    let mut left = rows
        .0
        .into_iter()
        .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after));
    let shown: Vec<(Key, Sum)> = left.by_ref().take(limit).collect();
    let next = left.next().and(shown.last()).map(|(key, _)| {
        let (day, ad, currency) = key;
        format!(
            "{}.{}.{}",
            day.0,
            currency.code(),
            ad.as_deref().unwrap_or("")
        )
    });
    let days = shown.into_iter().map(|((day, ad, _), sum)| LedgerDay {
        day: day.0.to_string(),
        ad,
        spend: sum.spend.map(Amount::from),
        pipeline: sum.pipeline.into(),
        cash: sum.cash.into(),
    });
    Reply::json(&Ledger {
        from: from.to_string(),
        to: to.to_string(),
        time_zone: zone.iana_name().unwrap_or("UTC").to_owned(),
        days: days.collect(),
        next,
    })
}

/// The sums, in the order in which they are told.
struct Rows(BTreeMap<Key, Sum>);

impl Rows {
    fn at(&mut self, day: Date, ad: Option<String>, currency: Currency) -> &mut Sum {
        let zero = Money::zero(currency);
        let key = (std::cmp::Reverse(day), ad, currency);
        self.0.entry(key).or_insert(Sum {
            spend: None,
            pipeline: zero,
            cash: zero,
        })
    }
}

/// Where a list goes on.
fn place(text: &str) -> Option<Key> {
    let mut parts = text.splitn(3, '.');
    let day = time::parse_date(parts.next()?).ok()?;
    let currency = Currency::new(parts.next()?).ok()?;
    let ad = Some(parts.next()?.to_owned()).filter(|ad| !ad.is_empty());
    Some((std::cmp::Reverse(day), ad, currency))
}

fn added(a: Money, b: Money) -> Result<Money, Problem> {
    a.checked_add(b).map_err(|error| {
        tracing::error!(%error, "the ledger does not sum: {error}");
        Problem::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "the amounts of a day do not sum; ask for fewer days",
        )
    })
}
