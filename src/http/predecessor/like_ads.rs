//! What is like an ad: vectors that callers bring are searched by vectors alone, in a space of their
//! own; a text is compared with the winners among the tenant's past ads. No budget moves by it.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::SMALL_BODY_MAX;
use super::revenue::Nothing;
use crate::actors::handle::{Like, LikeError};
use crate::domain::api_token::Scope;
use crate::domain::ids::AdId;
use crate::http::Problem;
use crate::http::api::route::{Body, Call, Reply, Route, Verb, Whose, bad_field, serve};
use crate::http::api::shape::{Shape, answer, request};
use crate::store::winners::PastAd;

/// The largest body with a vector, in bytes: 8,192 numbers of 17 digits have room.
const VECTOR_BODY_MAX: usize = 256 * 1_024;
/// The longest text that is taken, in bytes.
const TEXT_MAX: usize = 16 * 1_024;
/// The longest metadata, in bytes.
const METADATA_MAX: usize = 4 * 1_024;
/// Matches that are given unless asked for more or fewer.
const MATCHES: u64 = 5;
/// Matches that are given at most.
const MATCHES_MAX: u64 = 100;

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/api/ml/rag/add-winner",
        scope: Scope::Ingest,
        whose: Whose::Token,
        about: "Keeps a vector for an ad, in a space that callers alone fill; in place of an older one of \
                that ad.",
        query: &[],
        body: Some(Body {
            schema: NewWinner::schema,
            max: VECTOR_BODY_MAX,
            is_optional: false,
        }),
        answer: WinnerTaken::schema,
        serve: serve!(add),
    },
    Route {
        verb: Verb::Post,
        path: "/api/ml/rag/find-similar",
        scope: Scope::Read,
        whose: Whose::Token,
        about: "Finds the ads whose vectors are most like one, among those that callers brought; or the \
                winners among past ads that are most like a text.",
        query: &[],
        body: Some(Body {
            schema: Sought::schema,
            max: VECTOR_BODY_MAX,
            is_optional: false,
        }),
        answer: Found::schema,
        serve: serve!(find),
    },
    Route {
        verb: Verb::Post,
        path: "/api/ml/rag/stats",
        scope: Scope::Read,
        whose: Whose::Token,
        about: "How much there is to compare with.",
        query: &[],
        body: Some(Body {
            schema: Nothing::schema,
            max: SMALL_BODY_MAX,
            is_optional: true,
        }),
        answer: Compared::schema,
        serve: serve!(stats),
    },
];

request! {
    /// A vector for an ad.
    NewWinner {
        /// The ad, in the caller's words.
        ad_id: String,
        /// The vector: finite numbers, not all zero, as many as in those that were brought before.
        embedding: Vec<f64>,
        /// What else to keep of it, 4,096 bytes at most; given back with a match.
        metadata: Option<BTreeMap<String, Value>>,
    }

    /// What to look for: one of a vector, by either name, and a text.
    Sought {
        /// A vector, to be compared with those that callers brought.
        embedding: Option<Vec<f64>>,
        /// The same, by another name.
        query_embedding: Option<Vec<f64>>,
        /// A text, to be compared with what past winners say.
        text: Option<String>,
        /// How many matches at most, 1 to 100; 5 unless stated.
        k: Option<u64>,
    }
}

answer! {
    /// A vector that is kept.
    WinnerTaken {
        /// `ok`.
        status: String,
        /// The ad.
        ad_id: String,
        /// How many vectors the tenant's callers have brought.
        total_winners: u64,
    }

    /// What was found.
    Found {
        /// The most alike first.
        matches: Vec<Match>,
    }

    /// An ad that is like what was asked for.
    Match {
        /// The ad.
        ad_id: String,
        /// The cosine of the two vectors, -1 to 1.
        similarity: f64,
        /// What was kept of it; of a past ad what it says and what came of it.
        metadata: BTreeMap<String, Value>,
    }

    /// How much there is to compare with.
    Compared {
        /// The tenant.
        tenant_id: String,
        /// Vectors that callers brought.
        total_winners: u64,
        /// Their length; null while there are none.
        dimension: Option<u64>,
        /// How many of that length are kept at most; null while there are none.
        room: Option<u64>,
        /// roasd's own past ads.
        past_ads: PastAds,
    }

    /// roasd's own past ads.
    PastAds {
        /// All of them.
        total: u64,
        /// Those that won.
        winners: u64,
        /// Those whose outcome can be judged and that did not win.
        losers: u64,
        /// Those that an operator left out.
        left_out: u64,
        /// What makes vectors of their texts.
        model: String,
        /// The length of those.
        dimension: u64,
    }
}

impl From<LikeError> for Problem {
    fn from(error: LikeError) -> Self {
        match error {
            LikeError::Store(error) => error.into(),
            LikeError::Text => bad_field("text", error),
            LikeError::Vector(_) | LikeError::Length { .. } => bad_field("embedding", error),
            LikeError::Full { .. } => Self::new(
                StatusCode::CONFLICT,
                format!("{error}; one that is there may be replaced"),
            ),
        }
    }
}

async fn add(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let said: NewWinner = call.read()?;
    let ad = AdId::new(&said.ad_id).map_err(|bad| bad_field("ad_id", bad))?;
    let metadata = said.metadata.unwrap_or_default();
    let metadata = Value::Object(metadata.into_iter().collect()).to_string();
    if metadata.len() > METADATA_MAX {
        let what = format!("it is longer than {METADATA_MAX} bytes");
        return Err(bad_field("metadata", what));
    }
    let like = &call.state.like;
    let total = like
        .bring(tenant, ad.clone(), &said.embedding, metadata)
        .await?;
    Reply::json(&WinnerTaken {
        status: "ok".to_owned(),
        ad_id: ad.to_string(),
        total_winners: total,
    })
}

async fn find(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let said: Sought = call.read()?;
    let k = said.k.unwrap_or(MATCHES);
    if !(1..=MATCHES_MAX).contains(&k) {
        let what = format!("give a number from 1 to {MATCHES_MAX}");
        return Err(bad_field("k", what));
    }
    let (k, like) = (k as usize, &call.state.like);
    let matches = match (said.embedding, said.query_embedding, said.text) {
        (Some(vector), None, None) | (None, Some(vector), None) => {
            let found = like.like_vector(tenant, &vector, k).await?;
            found.into_iter().map(brought).collect()
        }
        (None, None, Some(text)) => {
            if text.len() > TEXT_MAX {
                let what = format!("it is longer than {TEXT_MAX} bytes");
                return Err(bad_field("text", what));
            }
            let found = like.like_text(tenant, &text, k).await?;
            found.into_iter().map(past).collect()
        }
        _ => {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "give one of the fields embedding, query_embedding and text, and not another beside it",
            ));
        }
    };
    Reply::json(&Found { matches })
}

/// As few digits as tell the 32 bits from all others.
fn told(similarity: f32) -> f64 {
    similarity.to_string().parse().unwrap_or(0.0)
}

fn brought(found: Like<String>) -> Match {
    Match {
        ad_id: found.ad.to_string(),
        similarity: told(found.similarity),
        metadata: serde_json::from_str(&found.about).unwrap_or_default(),
    }
}

fn past(found: Like<PastAd>) -> Match {
    let Like {
        ad,
        similarity,
        about,
    } = found;
    let rate = |of: f64, in_all: f64| (in_all > 0.0).then(|| of / in_all);
    let metadata = [
        ("name", json!(about.name)),
        ("text", json!(about.text)),
        ("format", json!(about.format)),
        ("call_to_action", json!(about.call_to_action)),
        ("theme", json!(about.theme)),
        ("impressions", json!(about.impressions)),
        ("clicks", json!(about.clicks)),
        (
            "ctr",
            json!(rate(about.clicks as f64, about.impressions as f64)),
        ),
        ("spend", json!(about.spend.to_f64())),
        ("pipeline_value", json!(about.pipeline.to_f64())),
        (
            "pipeline_roas",
            json!(rate(about.pipeline.to_f64(), about.spend.to_f64())),
        ),
        ("currency", json!(about.spend.currency().code())),
    ];
    Match {
        ad_id: ad.to_string(),
        similarity: told(similarity),
        metadata: metadata
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
    }
}

async fn stats(call: Call) -> Result<Reply, Problem> {
    let (tenant, _) = call.tenant()?;
    let found = call.state.like.stats(tenant).await?;
    Reply::json(&Compared {
        tenant_id: tenant.to_string(),
        total_winners: found.vectors,
        dimension: found.dimension,
        room: found.room,
        past_ads: PastAds {
            total: found.past.ads,
            winners: found.past.winners,
            losers: found.past.losers,
            left_out: found.past.left_out,
            model: found.model,
            dimension: found.model_dimension,
        },
    })
}
