//! What ads are said to have brought: kept as reported and shown. Totals without deals cannot enter the
//! ledger, in which every amount is a deal's.

use std::collections::BTreeMap;

use super::revenue::amount;
use super::{LARGE_BODY_MAX, SMALL_BODY_MAX};
use crate::domain::api_token::Scope;
use crate::domain::ids::AdId;
use crate::domain::money::{Money, Rounding};
use crate::http::Problem;
use crate::http::api::route::{Body, Call, Reply, Route, Verb, Whose, bad_field, serve};
use crate::http::api::shape::{Shape, answer, request};
use crate::http::state::TenantApi;
use crate::store::reports::{ReportSource, ReportedResult};

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/api/ml/ingest-crm-data",
        scope: Scope::Ingest,
        whose: Whose::Token,
        about: "Keeps what ads are said to have brought, as reported. Totals without deals do not enter \
                the ledger and move no budget.",
        query: &[],
        body: Some(Body {
            schema: CrmTotals::schema,
            max: LARGE_BODY_MAX,
            is_optional: false,
        }),
        answer: TotalsTaken::schema,
        serve: serve!(ingest),
    },
    Route {
        verb: Verb::Post,
        path: "/api/ml/battle-hardened/feedback",
        scope: Scope::Ingest,
        whose: Whose::Token,
        about: "Keeps how an ad turned out over its life so far; the next select for it knows.",
        query: &[],
        body: Some(Body {
            schema: Feedback::schema,
            max: SMALL_BODY_MAX,
            is_optional: false,
        }),
        answer: FeedbackTaken::schema,
        serve: serve!(feedback),
    },
];

request! {
    /// What ads are said to have brought.
    CrmTotals {
        /// Synthetic revenue in main units, by ad; may be negative.
        ad_performances: BTreeMap<String, f64>,
    }

    /// How an ad turned out.
    Feedback {
        /// The ad.
        ad_id: String,
        /// The value of its pipeline over its life, in main units.
        actual_pipeline_value: f64,
        /// What it spent over its life, in main units.
        actual_spend: f64,
    }
}

answer! {
    /// Totals that are kept.
    TotalsTaken {
        /// `ok`.
        status: String,
        /// How many ads.
        updated_ads: u64,
        /// How many were sent.
        total_received: u64,
    }

    /// Feedback that is kept.
    FeedbackTaken {
        /// `feedback_registered`.
        status: String,
        /// The ad.
        ad_id: String,
        /// The value over the spend; null where nothing was spent.
        actual_roas: Option<f64>,
        /// When.
        timestamp: String,
    }
}

fn ad(field: &str, text: &str) -> Result<AdId, Problem> {
    AdId::new(text).map_err(|bad| bad_field(field, bad))
}

/// An amount in main units, of either sign.
fn signed(tenant: &TenantApi, field: &str, main: f64) -> Result<Money, Problem> {
    Money::from_f64(main, tenant.currency, Rounding::Nearest)
        .map_err(|_| bad_field(field, "give an amount in main units"))
}

async fn ingest(call: Call) -> Result<Reply, Problem> {
    let (tenant, entry) = call.tenant()?;
    let said: CrmTotals = call.read()?;
    let results = said
        .ad_performances
        .iter()
        .map(|(id, value)| {
            Ok(ReportedResult {
                ad: ad("ad_performances", id)?,
                value: signed(&entry.api, "ad_performances", *value)?,
                spend: None,
                reported_at: call.now(),
            })
        })
        .collect::<Result<Vec<_>, Problem>>()?;
    let store = &call.state.store;
    store
        .record_reported_results(tenant, ReportSource::Crm, &results)
        .await?;
    let count = results.len() as u64;
    Reply::json(&TotalsTaken {
        status: "ok".to_owned(),
        updated_ads: count,
        total_received: count,
    })
}

async fn feedback(call: Call) -> Result<Reply, Problem> {
    let (tenant, entry) = call.tenant()?;
    let said: Feedback = call.read()?;
    let result = ReportedResult {
        ad: ad("ad_id", &said.ad_id)?,
        value: signed(
            &entry.api,
            "actual_pipeline_value",
            said.actual_pipeline_value,
        )?,
        spend: Some(amount(&entry.api, "actual_spend", said.actual_spend)?),
        reported_at: call.now(),
    };
    let store = &call.state.store;
    store
        .record_reported_results(tenant, ReportSource::Feedback, &[result])
        .await?;
    let roas = said.actual_pipeline_value / said.actual_spend;
    Reply::json(&FeedbackTaken {
        status: "feedback_registered".to_owned(),
        ad_id: said.ad_id.clone(),
        actual_roas: Some(roas).filter(|roas| roas.is_finite()),
        timestamp: call.now().to_string(),
    })
}
