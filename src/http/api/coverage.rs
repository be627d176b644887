//! Which share of conversions is credited to an ad, day by day, and why the others are not.

use std::collections::BTreeMap;

use super::route::{Call, Kind, Param, Reply, Route, Verb, Whose, bad_query, serve};
use super::shape::{Shape, answer};
use super::words::Amount;
use crate::domain::api_token::Scope;
use crate::domain::coverage::{Coverage, CoverageDays};
use crate::domain::time::{self, Date, TimeZone};
use crate::http::Problem;

/// Days shown unless asked for more or less.
const DAYS: i64 = 14;
/// Days shown at most.
const DAYS_MAX: i64 = 366;

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/v1/tenants/{tenant}/coverage",
    scope: Scope::Read,
    whose: Whose::Path,
    about: "Which share of deals is credited to an ad, by the day they were made on and by layer, beside \
            what Meta counts, and why the others are not.",
    query: &[Param {
        name: "days",
        kind: Kind::Count,
        about: "How many days, today included: 1 to 366; 14 unless stated.",
    }],
    body: None,
    answer: CoverageView::schema,
    serve: serve!(show),
}];

answer! {
    /// Coverage.
    CoverageView {
        /// The time zone of the days.
        time_zone: String,
        /// Oldest first.
        days: Vec<CoverageDay>,
        /// All days together.
        total: CoverageCount,
        /// Why deals have no ad, the most money first.
        gaps: Vec<GapView>,
    }

    /// The coverage of a day.
    CoverageDay {
        /// The day.
        day: String,
        /// The deals made on it.
        deals: CoverageCount,
        /// What Meta counts of the tenant's result action on it; null where its figures were not read.
        by_meta: Option<f64>,
    }

    /// Deals by the layer that credited them.
    CoverageCount {
        /// By an id.
        url_param: u64,
        /// By a device.
        fingerprint: u64,
        /// By likelihood.
        probabilistic: u64,
        /// Credited to nobody.
        unattributed: u64,
        /// The share credited, 0 to 1; null without deals.
        share: Option<f64>,
    }

    /// A reason for which deals have no ad.
    GapView {
        /// Its name; null where nobody has looked yet.
        gap: Option<String>,
        /// In words.
        reason: Option<String>,
        /// What to do about it.
        remedy: Option<String>,
        /// How many deals.
        deals: u64,
        /// What their entries in the ledger come to.
        value: Amount,
    }
}

impl From<&Coverage> for CoverageCount {
    fn from(coverage: &Coverage) -> Self {
        Self {
            url_param: coverage.url_param,
            fingerprint: coverage.fingerprint,
            probabilistic: coverage.probabilistic,
            unattributed: coverage.unattributed,
            share: coverage.share(),
        }
    }
}

async fn show(call: Call) -> Result<Reply, Problem> {
    let (tenant, entry) = call.tenant()?;
    let days = match call.query.get("days").map(|text| text.parse()) {
        None => DAYS,
        Some(Ok(days)) if (1..=DAYS_MAX).contains(&days) => days,
        Some(_) => return Err(bad_query("days", "give a number from 1 to 366")),
    };
    let store = &call.state.store;
    let structure = store.structure(tenant).await?;
    let zone = structure.and_then(|(structure, _)| structure.account.time_zone());
    let zone = zone.unwrap_or(TimeZone::UTC);
    let last = time::day_of(call.now(), &zone);
    let first = time::add_days(last, 1 - days);
    let from = time::day_start(first, &zone);
    let cohorts = store.coverage(tenant, from, entry.api.currency).await?;
    let mut by_meta: BTreeMap<Date, f64> = BTreeMap::new();
    for row in store.daily_insights(tenant, first).await? {
        let actions = row.actions.iter();
        let own = actions.filter(|action| action.kind == entry.api.result_action);
        *by_meta.entry(row.window.day()).or_default() += own.map(|own| own.count).sum::<f64>();
    }
    let found = CoverageDays::of(&cohorts, &by_meta, &zone, first, last);
    let shown = found.days.iter().map(|day| CoverageDay {
        day: day.day.to_string(),
        deals: CoverageCount::from(&day.coverage),
        by_meta: day.by_meta,
    });
    let gaps = found.gaps.iter().map(|gap| GapView {
        gap: gap.gap.map(|gap| gap.as_str().to_owned()),
        reason: gap.gap.map(|gap| gap.in_words().to_owned()),
        remedy: gap.gap.map(|gap| gap.remedy().to_owned()),
        deals: gap.deals,
        value: gap.value.into(),
    });
    Reply::json(&CoverageView {
        time_zone: zone.iana_name().unwrap_or("UTC").to_owned(),
        days: shown.collect(),
        total: CoverageCount::from(&found.total),
        gaps: gaps.collect(),
    })
}
