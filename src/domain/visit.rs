//! Visits to landing pages: what a click or a form tells. A visit without ad parameters is kept
//! too, since its id is what a form carries into the CRM.

use super::ids::{AdId, AdSetId, CampaignId, VisitId};
use super::time::Timestamp;

/// A keyed hash (HMAC-SHA-256, the first 128 bits in hex) of something personal. The plain value is
/// never kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyedHash(pub String);

/// The parameters that an ad's link carries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdParameters {
    /// Facebook's click id; case-sensitive.
    pub fbclid: Option<String>,
    /// The ad, from `utm_content` or `ad_id`, when it is a plain number (an unreplaced `{{ad.id}}`
    /// is missing).
    pub ad: Option<AdId>,
    /// The ad set, from `utm_term` or `adset_id`, likewise.
    pub ad_set: Option<AdSetId>,
    /// The campaign, from `utm_campaign` or `campaign_id`, likewise.
    pub campaign: Option<CampaignId>,
    /// `utm_source`, as given.
    pub utm_source: Option<String>,
}

impl AdParameters {
    /// Whether the visit came from an ad that can be named or from Facebook at all.
    #[must_use]
    pub const fn is_from_ad(&self) -> bool {
        self.fbclid.is_some() || self.ad.is_some()
    }
}

/// One visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Its id, given by the page's script or by us.
    pub id: VisitId,
    /// When it was made.
    pub at: Timestamp,
    /// What the ad's link told.
    pub ad: AdParameters,
    /// Whether the visitor consented to being recognised; without it the hashes below are absent.
    pub has_consent: bool,
    /// The device: screen, time zone and offset, device type, OS, browser.
    pub fingerprint: Option<KeyedHash>,
    /// The IP address.
    pub ip: Option<KeyedHash>,
    /// The user agent.
    pub user_agent: Option<KeyedHash>,
}

/// How common a value is among the tenant's visits; a shared one proves little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ValueFrequency {
    /// Visits with this value in the window.
    pub with_value: u64,
    /// Visits in the window.
    pub of: u64,
}
