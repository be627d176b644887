//! What other programs reported, as they did.

use super::deals::{CreditView, credit};
use super::route::{CURSOR_PARAM, Call, LIMIT_PARAM, Reply, Route, Verb, Whose, serve};
use super::shape::{Shape, answer};
use super::words::Amount;
use crate::domain::api_token::Scope;
use crate::domain::time::{self, Timestamp};
use crate::http::Problem;
use crate::store::reports::{ReportSource, ReportedResult};

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/tenants/{tenant}/reported/conversions",
        scope: Scope::Read,
        whose: Whose::Path,
        about: "Conversions that were reported, newest report first, and the ads they were credited to. \
                They stand beside the ledger and move no budget.",
        query: &[LIMIT_PARAM, CURSOR_PARAM],
        body: None,
        answer: ReportedConversions::schema,
        serve: serve!(conversions),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/tenants/{tenant}/reported/ads",
        scope: Scope::Read,
        whose: Whose::Path,
        about: "What ads are said to have brought, by source and ad: totals of a CRM job, and feedback.",
        query: &[],
        body: None,
        answer: ReportedAds::schema,
        serve: serve!(ads),
    },
];

answer! {
    /// Conversions that were reported.
    ReportedConversions {
        /// Newest report first.
        conversions: Vec<ReportedConversionView>,
        /// Where to go on; null at the end.
        next: Option<String>,
    }

    /// A conversion that was reported.
    ReportedConversionView {
        /// Its id.
        id: String,
        /// What it is.
        kind: String,
        /// What it is said to be worth.
        value: Amount,
        /// When it happened.
        at: String,
        /// When it was reported.
        reported_at: String,
        /// The credit; null where no ad has it.
        credit: Option<CreditView>,
    }

    /// What ads are said to have brought.
    ReportedAds {
        /// By source, then by ad.
        ads: Vec<ReportedAd>,
    }

    /// What an ad is said to have brought.
    ReportedAd {
        /// `crm` or `feedback`.
        source: String,
        /// The ad.
        ad: String,
        /// What it brought.
        value: Amount,
        /// What it spent, where that was said.
        spend: Option<Amount>,
        /// When it was reported.
        reported_at: String,
    }
}

/// Where a list goes on: after the one reported then, of that id.
fn place(text: &str) -> Option<(Timestamp, String)> {
    let (micros, id) = text.split_once('.')?;
    let id = String::from_utf8(hex::decode(id).ok()?).ok()?;
    Some((time::from_micros(micros.parse().ok()?), id))
}

async fn conversions(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let limit = call.limit()?;
    let before = call.cursor(place)?;
    let store = &call.state.store;
    let found = store
        .reported_conversions(tenant, before.as_ref(), limit)
        .await?;
    let is_full = found.len() >= limit as usize;
    let next = found.last().filter(|_| is_full);
    let next = next.map(|last| {
        // Others' ids hold what an address cannot.
        let id = hex::encode(&last.id);
        format!("{}.{id}", time::to_micros(last.reported_at))
    });
    let conversions = found.into_iter().map(|found| ReportedConversionView {
        value: found.value.into(),
        at: found.at.to_string(),
        reported_at: found.reported_at.to_string(),
        credit: found.attribution.as_ref().map(credit),
        id: found.id,
        kind: found.kind,
    });
    Reply::json(&ReportedConversions {
        conversions: conversions.collect(),
        next,
    })
}

async fn ads(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let mut ads = Vec::new();
    for source in [ReportSource::Crm, ReportSource::Feedback] {
        let found = call.state.store.reported_results(tenant, source).await?;
        ads.extend(found.into_iter().map(|found| shown(source, &found)));
    }
    Reply::json(&ReportedAds { ads })
}

fn shown(source: ReportSource, found: &ReportedResult) -> ReportedAd {
    ReportedAd {
        source: source.as_str().to_owned(),
        ad: found.ad.to_string(),
        value: found.value.into(),
        spend: found.spend.map(Amount::from),
        reported_at: found.reported_at.to_string(),
    }
}
