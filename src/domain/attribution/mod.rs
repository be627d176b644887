//! Credits a conversion to at most one visit, by the first layer that succeeds.

pub mod calibration;
pub mod gap;
mod layers;
pub mod learning;
pub mod likelihood;
pub mod probability;
mod recognition;
pub mod reliability;
pub mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use calibration::Calibration;
use gap::Gap;
use likelihood::Linkage;
use traffic::Traffic;

use crate::domain::deal::Contact;
use crate::domain::ids::{AdId, AdSetId, CampaignId, DealId, VisitId};
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::domain::visit::{KeyedHash, Visit};

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

/// A conversion to be credited: a deal's stage event, and what is known of the people behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversion {
    /// The deal.
    pub deal: DealId,
    /// When it happened, by the CRM's clock; only clicks up to then count. Callers give the time of
    /// the deal's *first* stage for every stage of it, so that a later click never takes the credit.
    pub at: Timestamp,
    /// Everybody associated with the deal.
    pub contacts: Vec<Contact>,
    /// The visits whose ids those contacts carry; see [`lookups`].
    pub form_visits: Vec<Visit>,
}

impl Conversion {
    /// The visit that layers two and three compare: the earliest one a contact carries, not later
    /// than the conversion.
    #[must_use]
    pub fn form_visit(&self) -> Option<&Visit> {
        self.form_visits
            .iter()
            .filter(|visit| visit.at <= self.at)
            .min_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)))
    }

    /// When the window opens in which a click counts for layer one; it closes at [`Self::at`].
    #[must_use]
    pub fn click_window_opens(&self, rules: &AttributionRules) -> Timestamp {
        time::sub(self.at, rules.click_window)
    }
}

/// Where an ad is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Its ad set.
    pub ad_set: AdSetId,
    /// Its campaign.
    pub campaign: CampaignId,
}

/// What Meta says about one of its lead forms' leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaLead {
    /// Meta's lead id.
    pub id: String,
    /// When the form was sent.
    pub at: Timestamp,
    /// The ad it came from.
    pub credit: Credit,
}

/// What the caller has found; see [`lookups`] and [`device_lookups`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Candidates {
    /// Visits that carry one of the contacts' fbclids, within [`AttributionRules::click_window`].
    pub by_fbclid: Vec<Visit>,
    /// Meta's leads with one of the contacts' lead ids.
    pub leads: Vec<MetaLead>,
    /// Clicks with the form visit's fingerprint, within [`AttributionRules::fingerprint_window`].
    pub by_fingerprint: Vec<Visit>,
    /// Clicks with its IP address, within [`AttributionRules::probabilistic_window`].
    pub by_ip: Vec<Visit>,
    /// Every ad the account holds or held. A number in a link that is not in here is no ad of the
    /// account (`utm_content=2`) and gets no credit. Empty means that the structure has not been
    /// read yet: then every number counts.
    pub placements: Arc<BTreeMap<AdId, Placement>>,
}

/// Windows and bounds of the layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttributionRules {
    /// Whether layers two and three need the visitor's consent; 7 days of fingerprints without it
    /// is for jurisdictions that allow it.
    pub needs_consent: bool,
    /// How old a click may be for its id to count. An ad id that stands in a contact's properties
    /// has no time of its own and counts whenever it was written.
    pub click_window: SignedDuration,
    /// How old a click may be for its fingerprint to count.
    pub fingerprint_window: SignedDuration,
    /// The most confidence a fingerprint gives; a cap gives way as deals of known truth bear out
    /// what is said, see [`Calibration::cap`].
    pub fingerprint_cap: f64,
    /// How old a click may be for its IP address to count.
    pub probabilistic_window: SignedDuration,
    /// The most confidence likelihood gives.
    pub probabilistic_cap: f64,
    /// The least calibrated posterior that is a match.
    pub min_confidence: f64,
    /// How many times as likely as the next ad the best one must be.
    pub min_lead: f64,
    /// For how long after it an unattributed conversion is tried again.
    pub retry_window: SignedDuration,
}

impl AttributionRules {
    /// The `min_confidence` of the shipped configuration.
    pub const SHIPPED_MIN_CONFIDENCE: f64 = 0.40;
}

impl Default for AttributionRules {
    fn default() -> Self {
        Self {
            needs_consent: true,
            click_window: time::days(90),
            fingerprint_window: time::days(7),
            fingerprint_cap: 0.90,
            probabilistic_window: time::hours(24),
            probabilistic_cap: 0.70,
            min_confidence: Self::SHIPPED_MIN_CONFIDENCE,
            min_lead: 2.0,
            retry_window: time::days(7),
        }
    }
}

/// What layers two and three go by.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// How common the values of visitors are.
    pub traffic: Traffic,
    /// How people come back.
    pub linkage: Linkage,
    /// How far the answers are to be trusted.
    pub calibration: Calibration,
}

impl Model {
    /// What holds for a tenant with this traffic before its deals have taught anything.
    #[must_use]
    pub const fn shipped(traffic: Traffic) -> Self {
        Self {
            traffic,
            linkage: Linkage::SHIPPED,
            calibration: Calibration::SHIPPED,
        }
    }
}

/// What came of a conversion.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The credit; `None` while unattributed.
    pub attribution: Option<Attribution>,
    /// What each layer answered, in order; layers after the one that succeeded were not asked.
    pub attempts: Vec<Attempt>,
    /// Why there is no credit; `None` where there is.
    pub gap: Option<Gap>,
    /// Until when an unattributed conversion is worth another try; `None` when credited or when
    /// its window has closed.
    pub retry_until: Option<Timestamp>,
}

/// What to look for before [`attribute`] is asked, from the contacts alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lookups {
    /// Visits with these ids go into [`Conversion::form_visits`].
    pub visit_ids: BTreeSet<VisitId>,
    /// Visits with these fbclids go into [`Candidates::by_fbclid`].
    pub fbclids: BTreeSet<String>,
    /// Leads with these ids go into [`Candidates::leads`].
    pub lead_ids: BTreeSet<String>,
}

/// Says what to look for, from what the contacts carry.
#[must_use]
pub fn lookups(contacts: &[Contact]) -> Lookups {
    let mut wanted = Lookups::default();
    for facts in contacts.iter().map(|contact| &contact.facts) {
        let visit = facts.roasd_click_id.as_deref().map(str::trim);
        wanted
            .visit_ids
            .extend(visit.and_then(|id| VisitId::new(id).ok()));
        wanted.fbclids.extend(layers::fbclids(facts));
        let lead = facts.meta_lead_id.as_deref().map(layers::plain_lead_id);
        wanted
            .lead_ids
            .extend(lead.filter(|id| !id.is_empty()).map(str::to_owned));
    }
    wanted
}

/// A keyed hash to look for, and when: from `since` to `until`, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashLookup {
    /// The hash.
    pub hash: KeyedHash,
    /// The beginning of the window.
    pub since: Timestamp,
    /// Its end: the form visit.
    pub until: Timestamp,
}

/// What to look for once the form visit is known, for layers two and three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLookups {
    /// Clicks with this fingerprint go into [`Candidates::by_fingerprint`].
    pub fingerprint: Option<HashLookup>,
    /// Clicks with this IP address go into [`Candidates::by_ip`].
    pub ip: Option<HashLookup>,
}

/// Says what to look for by the form visit's device; `None` when there is no form visit that may be
/// compared.
#[must_use]
pub fn device_lookups(conversion: &Conversion, rules: &AttributionRules) -> Option<DeviceLookups> {
    let form = recognition::comparable(conversion, rules).ok()?;
    let hash = |hash: &Option<KeyedHash>, span| {
        hash.clone().map(|hash| HashLookup {
            hash,
            since: time::sub(form.at, span),
            until: form.at,
        })
    };
    Some(DeviceLookups {
        fingerprint: hash(&form.fingerprint, rules.fingerprint_window),
        ip: hash(&form.ip, rules.probabilistic_window),
    })
}

/// Asks layer one alone, whose answer needs no device: whether it gives the credit.
#[must_use]
pub fn is_named(
    conversion: &Conversion,
    candidates: &Candidates,
    rules: &AttributionRules,
) -> bool {
    layers::url_param(conversion, candidates, rules).1.is_some()
}

/// Credits a conversion by the first layer that succeeds.
#[must_use]
pub fn attribute(
    conversion: &Conversion,
    candidates: &Candidates,
    rules: &AttributionRules,
    model: &Model,
    now: Timestamp,
) -> Verdict {
    let mut answers = vec![layers::url_param(conversion, candidates, rules)];
    if answers.iter().all(|(_, credit)| credit.is_none()) {
        answers.extend(recognition::recognise(conversion, candidates, rules, model));
    }
    let (attempts, credits): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
    let attribution = credits.into_iter().flatten().next();
    let until = time::add(conversion.at, rules.retry_window);
    let retry_until = (attribution.is_none() && now < until).then_some(until);
    let gap = attribution
        .is_none()
        .then(|| gap::gap(conversion, candidates, rules, &attempts));
    Verdict {
        attribution,
        attempts,
        gap,
        retry_until,
    }
}

#[cfg(test)]
mod tests;
