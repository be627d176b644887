//! Whether an audience has tired of an ad, by the days that a caller sends.

use super::SMALL_BODY_MAX;
use crate::domain::api_token::Scope;
use crate::domain::fatigue::{self, DailyMetrics};
use crate::domain::ids::AdId;
use crate::http::Problem;
use crate::http::api::route::{Body, Call, Reply, Route, Verb, Whose, bad_field, serve};
use crate::http::api::shape::{Shape, answer, request};

/// Days taken at most.
const DAYS_MAX: usize = 400;

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Post,
    path: "/api/ml/fatigue/check",
    scope: Scope::Read,
    whose: Whose::Token,
    about: "Says whether an audience has tired of an ad: by the four usual rules, or by a posterior that \
            asks whether the fall could be chance.",
    query: &[],
    body: Some(Body {
        schema: Watched::schema,
        max: SMALL_BODY_MAX,
        is_optional: false,
    }),
    answer: Tired::schema,
    serve: serve!(check),
}];

request! {
    /// An ad's days.
    Watched {
        /// The ad.
        ad_id: String,
        /// Its days, oldest first.
        metrics_history: Vec<Day>,
        /// `rule` (the four rules to the letter, unless stated) or `posterior`.
        method: Option<String>,
    }

    /// One day.
    Day {
        /// Clicks per impression: as a ratio, or in percent where it is above 0.15 on most days.
        ctr: f64,
        /// Impressions per person reached; left out where reach is not known.
        frequency: Option<f64>,
        /// Price of a thousand impressions.
        cpm: f64,
        /// Impressions.
        impressions: f64,
    }
}

answer! {
    /// How tired the audience is.
    Tired {
        /// The ad.
        ad_id: String,
        /// `HEALTHY`, `FATIGUING`, `SATURATED` or `AUDIENCE_EXHAUSTED`: the gravest sign.
        status: String,
        /// How sure, 0 to 1.
        confidence: f64,
        /// Why, in a sentence.
        reason: String,
        /// Days until the first sign shows, if things go on: 0 where one does; null where none is in
        /// sight within two months.
        days_until_critical: Option<f64>,
        /// `REFRESH_CREATIVE` or `CONTINUE`.
        recommendation: String,
    }
}

/// A figure that is finite and not negative.
fn figure(day: usize, name: &str, value: f64) -> Result<f64, Problem> {
    let field = || format!("metrics_history[{day}].{name}");
    let is_fit = (0.0..=1e12).contains(&value);
    is_fit
        .then_some(value)
        .ok_or_else(|| bad_field(&field(), "give a number from 0 to 1e12"))
}

async fn check(call: Call) -> Result<Reply, Problem> {
    call.tenant()?;
    let said: Watched = call.read()?;
    let ad = AdId::new(&said.ad_id).map_err(|bad| bad_field("ad_id", bad))?;
    if said.metrics_history.len() > DAYS_MAX {
        let what = format!("{DAYS_MAX} days at most, oldest first");
        return Err(bad_field("metrics_history", what));
    }
    let mut history = Vec::with_capacity(said.metrics_history.len());
    for (n, day) in said.metrics_history.iter().enumerate() {
        let frequency = day.frequency.map(|value| figure(n, "frequency", value));
        history.push(DailyMetrics {
            ctr: figure(n, "ctr", day.ctr)?,
            frequency: frequency.transpose()?,
            cpm: figure(n, "cpm", day.cpm)?,
            impressions: figure(n, "impressions", day.impressions)?,
        });
    }
    let history = fatigue::with_ctr_as_ratio(&history);
    let found = match said.method.as_deref() {
        None | Some("rule") => fatigue::by_rule(&history),
        Some("posterior") => fatigue::by_posterior(&history),
        Some(_) => return Err(bad_field("method", "give \"rule\" or \"posterior\"")),
    };
    Reply::json(&Tired {
        ad_id: ad.to_string(),
        status: found.status.as_str().to_owned(),
        confidence: found.confidence,
        reason: found.reason,
        days_until_critical: found.days_until_critical,
        recommendation: found.recommendation.as_str().to_owned(),
    })
}
