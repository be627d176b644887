//! Why a conversion has no ad, and what its owner can do about it.

use std::fmt;

use super::layers::{self, fbclids};
use super::{Attempt, AttributionRules, Candidates, Conversion, Method, recognition};

/// Why a conversion is credited to no ad: what stood in the way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gap {
    /// The deal has no contact that is known.
    NoContact,
    /// The deal's contacts name different ads, and nothing separates them.
    Contradiction,
    /// A link names an ad that the account does not have, or a number that is none.
    ForeignAd,
    /// The click is older than the click window.
    OutsideWindow,
    /// The contact carries a lead id of Meta's that roasd was never told of.
    LeadUnknown,
    /// The visit came from Meta (it has an fbclid) and its link named no ad.
    TagsMissing,
    /// The contact carries an fbclid, and no visit with it was reported.
    FbclidOnly,
    /// The contact carries the id of a visit that is not kept.
    VisitLost,
    /// The contact carries nothing that leads to a visit or an ad.
    NoVisit,
    /// The visitor did not consent to being recognised, and no id names the ad.
    NoConsent,
    /// Clicks of several ads may have brought the visitor, none clearly ahead.
    Ambiguous,
    /// There were clicks by such a device or from such an address, and that none of them was this
    /// visitor's is likelier.
    Unlikely,
    /// The visitor was compared with those who clicked, and none was like him: most of these no ad
    /// brought.
    NoClick,
}

impl Gap {
    /// All, in the order in which they are looked for.
    pub const ALL: [Self; 13] = [
        Self::NoContact,
        Self::Contradiction,
        Self::ForeignAd,
        Self::OutsideWindow,
        Self::LeadUnknown,
        Self::TagsMissing,
        Self::FbclidOnly,
        Self::VisitLost,
        Self::NoVisit,
        Self::NoConsent,
        Self::Ambiguous,
        Self::Unlikely,
        Self::NoClick,
    ];

    /// The name stored and shown to programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoContact => "no_contact",
            Self::Contradiction => "contradiction",
            Self::ForeignAd => "foreign_ad",
            Self::OutsideWindow => "outside_window",
            Self::LeadUnknown => "lead_unknown",
            Self::TagsMissing => "tags_missing",
            Self::FbclidOnly => "fbclid_only",
            Self::VisitLost => "visit_lost",
            Self::NoVisit => "no_visit",
            Self::NoConsent => "no_consent",
            Self::Ambiguous => "ambiguous",
            Self::Unlikely => "unlikely",
            Self::NoClick => "no_click",
        }
    }

    /// The gap of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|gap| gap.as_str() == name)
    }

    /// What is the matter, for people.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::NoContact => "the deal has no contact",
            Self::Contradiction => "its contacts name different ads",
            Self::ForeignAd => "the link names no ad of this account",
            Self::OutsideWindow => "the click is older than the window",
            Self::LeadUnknown => "a Meta lead that Meta did not tell of",
            Self::TagsMissing => "it came from Meta, the link names no ad",
            Self::FbclidOnly => "an fbclid alone, and no visit with it",
            Self::VisitLost => "the visit was not reported, or is no longer kept",
            Self::NoVisit => "the contact leads to no visit",
            Self::NoConsent => "the visitor did not consent",
            Self::Ambiguous => "several ads are about as likely",
            Self::Unlikely => "clicks like it, probably others'",
            Self::NoClick => "no click like it; most of these no ad brought",
        }
    }

    /// What its owner can do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NoContact => "associate deals with their contacts in the CRM",
            Self::Contradiction => "see whether strangers share a deal, or a form is tested",
            Self::ForeignAd => "correct the URL parameters; each ad account is a tenant of its own",
            Self::OutsideWindow => "attribution.click_window can be raised",
            Self::LeadUnknown => {
                "subscribe the app to leadgen of the page and list it in meta.page_ids"
            }
            Self::TagsMissing => "give the ads the URL parameters of the README",
            Self::FbclidOnly => "put the script on the landing pages, or URL parameters on the ads",
            Self::VisitLost => {
                "list the pages' origins in click_origins; see roasd_clicks_total for refusals"
            }
            Self::NoVisit => {
                "put the script on the pages and a hidden roasd_click_id field into the forms"
            }
            Self::NoConsent => "URL parameters on the ads need no consent; nor does a lead form",
            Self::Ambiguous | Self::Unlikely => {
                "an id leaves no doubt: URL parameters on the ads, hidden fields in the forms"
            }
            Self::NoClick => "nothing, where they came by themselves",
        }
    }

    /// Whether it says that roasd could not look, rather than that it looked and found none.
    #[must_use]
    pub const fn is_blind(self) -> bool {
        match self {
            Self::NoContact
            | Self::Contradiction
            | Self::ForeignAd
            | Self::OutsideWindow
            | Self::LeadUnknown
            | Self::TagsMissing
            | Self::FbclidOnly
            | Self::VisitLost
            | Self::NoVisit
            | Self::NoConsent => true,
            Self::Ambiguous | Self::Unlikely | Self::NoClick => false,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a conversion that no layer credited was not.
pub(super) fn gap(
    conversion: &Conversion,
    candidates: &Candidates,
    rules: &AttributionRules,
    attempts: &[Attempt],
) -> Gap {
    if conversion.contacts.is_empty() && conversion.form_visits.is_empty() {
        return Gap::NoContact;
    }
    let of = |method| {
        attempts
            .iter()
            .find(move |attempt| attempt.method == method)
    };
    // Layer one is sure of an ad only where it gives the credit or is torn.
    if of(Method::UrlParam).is_some_and(|attempt| attempt.confidence > 0.0) {
        return Gap::Contradiction;
    }
    if layers::names_foreign_ad(conversion, candidates) {
        return Gap::ForeignAd;
    }
    if layers::has_old_click(conversion, candidates, rules) {
        return Gap::OutsideWindow;
    }
    let facts = || conversion.contacts.iter().map(|contact| &contact.facts);
    let has_lead = facts().any(|facts| {
        let id = facts.meta_lead_id.as_deref().map(layers::plain_lead_id);
        id.is_some_and(|id| !id.is_empty())
    });
    if has_lead && candidates.leads.is_empty() {
        return Gap::LeadUnknown;
    }
    let visits = || conversion.form_visits.iter().chain(&candidates.by_fbclid);
    if visits().any(|visit| visit.ad.fbclid.is_some() && visit.ad.ad.is_none()) {
        return Gap::TagsMissing;
    }
    let form = recognition::comparable(conversion, rules);
    let has_fbclid = facts().any(|facts| !fbclids(facts).is_empty());
    let has_id = facts().any(|facts| {
        let id = facts.roasd_click_id.as_deref().map(str::trim);
        id.is_some_and(|id| !id.is_empty())
    });
    match form {
        Err(_) if conversion.form_visit().is_some() => return Gap::NoConsent,
        Err(_) if has_fbclid && candidates.by_fbclid.is_empty() => return Gap::FbclidOnly,
        Err(_) if has_id => return Gap::VisitLost,
        Err(_) => return Gap::NoVisit,
        Ok(_) => {}
    }
    let recognised = [Method::Fingerprint, Method::Probabilistic];
    let best = recognised
        .into_iter()
        .filter_map(of)
        .max_by(|a, b| a.confidence.total_cmp(&b.confidence));
    match best {
        // Likely enough one by one or together, and not credited: another was as likely.
        Some(best) if best.confidence > 0.0 => {
            let others: f64 = best.runners_up.iter().map(|(_, sure)| sure).sum();
            if best.confidence + others >= rules.min_confidence {
                Gap::Ambiguous
            } else {
                Gap::Unlikely
            }
        }
        _ => Gap::NoClick,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gap_has_a_name_a_reason_and_a_remedy() {
        for gap in Gap::ALL {
            assert_eq!(Gap::parse(gap.as_str()), Some(gap));
            assert!(!gap.in_words().is_empty() && !gap.remedy().is_empty());
        }
        assert_eq!(Gap::parse("rain"), None);
    }
}
