//! Credits a conversion to at most one visit, by the first layer that succeeds.

use std::fmt;

use crate::domain::ids::{AdId, AdSetId, CampaignId, VisitId};
use crate::domain::time::Timestamp;

/// The layers, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// roasd's click id, an fbclid, a Meta lead id or an ad id in the link's parameters.
    UrlParam,
    /// The device's keyed fingerprint within the window.
    Fingerprint,
    /// IP, user agent and closeness in time, as a likelihood ratio.
    Probabilistic,
}

impl Method {
    /// The name stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UrlParam => "url_param",
            Self::Fingerprint => "fingerprint",
            Self::Probabilistic => "probabilistic",
        }
    }

    /// The method of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "url_param" => Self::UrlParam,
            "fingerprint" => Self::Fingerprint,
            "probabilistic" => Self::Probabilistic,
            _ => return None,
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The ad that gets the credit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credit {
    /// The ad.
    pub ad: AdId,
    /// Its ad set, where known.
    pub ad_set: Option<AdSetId>,
    /// Its campaign, where known.
    pub campaign: Option<CampaignId>,
}

/// A conversion credited.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    /// The layer that succeeded.
    pub method: Method,
    /// How sure, above 0 and up to 1: of the matches that say 0.7, 70 % should be right.
    pub confidence: f64,
    /// The ad.
    pub credit: Credit,
    /// The visit, where the evidence is one.
    pub visit: Option<VisitId>,
    /// When the click was, as far as known.
    pub clicked_at: Option<Timestamp>,
    /// The evidence in words.
    pub reason: String,
}

/// What one layer answered; every attempt is logged.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The layer.
    pub method: Method,
    /// Whether it gave the credit.
    pub succeeded: bool,
    /// Its confidence in the best candidate, 0 when there was none.
    pub confidence: f64,
    /// Why, in words; names no personal data.
    pub reason: String,
    /// The next best candidates, best first, with their confidence.
    pub runners_up: Vec<(AdId, f64)>,
}
