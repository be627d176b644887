//! Which ad a deal is credited to, how sure, and who else it might have been.

use axum::http::StatusCode;

use super::ledger::CreditedAd;
use super::route::{Call, Reply, Route, Verb, Whose, serve};
use super::shape::{Shape, answer};
use super::words::Amount;
use crate::domain::api_token::Scope;
use crate::domain::attribution::{Attempt, Attribution};
use crate::domain::ids::DealId;
use crate::domain::revenue::RevenueEntry;
use crate::domain::time::Timestamp;
use crate::http::Problem;

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/v1/tenants/{tenant}/deals/{id}",
    scope: Scope::Read,
    whose: Whose::Path,
    about: "Which ad a deal is credited to and how sure, what each layer of attribution answered, and \
            its entries in the ledger.",
    query: &[],
    body: None,
    answer: DealView::schema,
    serve: serve!(show),
}];

answer! {
    /// A deal and its credit. Names of people are not told.
    DealView {
        /// Its id in the CRM.
        deal: String,
        /// The stage it is in, as the CRM calls it.
        stage: String,
        /// When it was made.
        created_at: String,
        /// Deleted or archived in the CRM.
        is_archived: bool,
        /// The credit; null while no ad has it.
        credit: Option<CreditView>,
        /// What each layer answered last, in their order.
        attempts: Vec<AttemptView>,
        /// Its entries in the ledger, oldest first.
        ledger: Vec<EntryView>,
    }

    /// A credit.
    CreditView {
        /// The ad.
        ad: CreditedAd,
        /// The layer: `url_param`, `fingerprint` or `probabilistic`.
        method: String,
        /// How sure, 0 to 1.
        confidence: f64,
        /// When the click was, as far as known.
        clicked_at: Option<String>,
        /// The evidence in words.
        reason: String,
    }

    /// What a layer answered.
    AttemptView {
        /// The layer.
        method: String,
        /// When it was asked.
        at: String,
        /// Whether it gave the credit.
        succeeded: bool,
        /// How sure of its best candidate, 0 to 1.
        confidence: f64,
        /// Why, in words.
        reason: String,
        /// The next best, best first.
        runners_up: Vec<RunnerUp>,
    }

    /// Another ad that it might have been.
    RunnerUp {
        /// The ad.
        ad: String,
        /// How sure, 0 to 1.
        confidence: f64,
    }

    /// An entry of the ledger: a difference, so that a deal's entries sum to what it is worth.
    EntryView {
        /// `stage`, `amount`, `reversal` or `recredit`.
        kind: String,
        /// The stage.
        stage: Option<String>,
        /// The difference.
        amount: Amount,
        /// Whether it is money earned.
        is_cash: bool,
        /// The ad that has it.
        ad: Option<String>,
        /// When it happened.
        occurred_at: String,
    }
}

pub(super) fn credit(found: &Attribution) -> CreditView {
    CreditView {
        ad: CreditedAd::of(&found.credit),
        method: found.method.as_str().to_owned(),
        confidence: found.confidence,
        clicked_at: found.clicked_at.map(|at| at.to_string()),
        reason: found.reason.clone(),
    }
}

fn attempt((at, attempt): (Timestamp, Attempt)) -> AttemptView {
    let runners_up = attempt.runners_up.into_iter();
    AttemptView {
        method: attempt.method.as_str().to_owned(),
        at: at.to_string(),
        succeeded: attempt.succeeded,
        confidence: attempt.confidence,
        reason: attempt.reason,
        runners_up: runners_up
            .map(|(ad, confidence)| RunnerUp {
                ad: ad.to_string(),
                confidence,
            })
            .collect(),
    }
}

fn entry(entry: RevenueEntry) -> EntryView {
    EntryView {
        kind: entry.kind.as_str().to_owned(),
        stage: entry.stage.map(|stage| stage.to_string()),
        amount: entry.amount.into(),
        is_cash: entry.is_cash,
        ad: entry.credit.map(|credit| credit.ad.to_string()),
        occurred_at: entry.occurred_at.to_string(),
    }
}

async fn show(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let store = &call.state.store;
    let missing = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            "the CRM has told of no such deal; give the id that the CRM has for it",
        )
    };
    let id = DealId::new(call.part("id")).map_err(|_| missing())?;
    let found = store.deal(tenant, &id).await?.ok_or_else(missing)?;
    let attempts = store.attempts(tenant, &id).await?;
    let ledger = store.deal_ledger(tenant, &id).await?;
    Reply::json(&DealView {
        deal: id.to_string(),
        stage: found.deal.stage.to_string(),
        created_at: found.deal.created_at.to_string(),
        is_archived: found.deal.is_archived,
        credit: found.attribution.as_ref().map(credit),
        attempts: attempts.into_iter().map(attempt).collect(),
        ledger: ledger.into_iter().map(entry).collect(),
    })
}
