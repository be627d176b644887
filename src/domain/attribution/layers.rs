//! Layer one: an id that names the ad. A layer answers with its attempt, for the log, and with the
//! credit if it has one.

use std::collections::BTreeMap;

use super::{Attempt, Attribution, AttributionRules, Candidates, Conversion, Credit, Method};
use crate::domain::deal::ContactFacts;
use crate::domain::ids::{AdId, AdSetId, CampaignId};
use crate::domain::time::Timestamp;
use crate::domain::visit::{AdParameters, Visit, is_vendor_number};

/// What a layer answers.
pub(super) type Answer = (Attempt, Option<Attribution>);

/// Kinds of first-layer evidence, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    ClickId,
    LeadId,
    Fbclid,
    AdId,
}

impl Evidence {
    const fn in_words(self) -> &'static str {
        match self {
            Self::ClickId => "roasd's click id",
            Self::LeadId => "Meta's lead id",
            Self::Fbclid => "the fbclid of a recorded click",
            Self::AdId => "an ad id in the contact's link parameters",
        }
    }
}

/// What one contact says: one voice for one ad.
struct Voice {
    evidence: Evidence,
    credit: Credit,
    visit: Option<crate::domain::ids::VisitId>,
    clicked_at: Option<Timestamp>,
}

/// Meta's lead id as it stands in CRMs, some of which prefix it with `l:`.
pub(super) fn plain_lead_id(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("l:").unwrap_or(text)
}

/// The fbclids a contact carries: HubSpot's own property and the first page's query.
pub(super) fn fbclids(facts: &ContactFacts) -> Vec<String> {
    let from_url = facts
        .first_url
        .as_deref()
        .and_then(|url| AdParameters::from_url(url).fbclid);
    let own = facts
        .facebook_click_id
        .as_deref()
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .map(str::to_owned);
    let mut ids: Vec<String> = own.into_iter().chain(from_url).collect();
    ids.dedup();
    ids
}

/// Layer one: an id that names the ad.
///
/// Each contact has one voice: its strongest evidence of a click within the window before the
/// conversion.
/// When contacts of one deal name different ads, the ad with most voices gets the credit, then
/// the one with stronger evidence, then the earlier click, which is the one that brought the
/// deal; the confidence falls to the share of voices. When nothing separates them there is no match.
pub(super) fn url_param(
    conversion: &Conversion,
    candidates: &Candidates,
    rules: &AttributionRules,
) -> Answer {
    let opens = conversion.click_window_opens(rules);
    let counts = |at: Timestamp| opens <= at && at <= conversion.at;
    let mut foreign = None;
    let mut voices: Vec<Voice> = Vec::new();
    for contact in &conversion.contacts {
        match voice(&contact.facts, conversion, candidates, &counts) {
            Ok(Some(v)) => voices.push(v),
            Ok(None) => {}
            Err(ad) => foreign = Some(ad),
        }
    }
    // A form visit may be known without its contact (a caller that has the click id alone).
    if conversion.contacts.is_empty() {
        for visit in &conversion.form_visits {
            match credit_of(visit, candidates) {
                Ok(Some(credit)) if counts(visit.at) => {
                    voices.push(of_visit(Evidence::ClickId, visit, credit));
                }
                Ok(_) => {}
                Err(ad) => foreign = Some(ad),
            }
        }
        let clicks = &candidates.by_fbclid;
        if voices.is_empty() {
            let clicks: Vec<&Visit> = clicks.iter().collect();
            voices.extend(by_fbclid(&clicks, candidates, &counts));
        }
    }
    let Some(total) = (!voices.is_empty()).then_some(voices.len()) else {
        let reason = match foreign {
            Some(ad) => format!("the link names {ad}, which is no ad of this account"),
            None if has_old_click(conversion, candidates, rules) => {
                format!(
                    "the click was before the window of {:#}",
                    rules.click_window
                )
            }
            None => "no click id, lead id, known fbclid or ad id from before the conversion".into(),
        };
        return (missed(Method::UrlParam, 0.0, reason, Vec::new()), None);
    };
    let mut by_ad: BTreeMap<AdId, Vec<Voice>> = BTreeMap::new();
    for v in voices {
        by_ad.entry(v.credit.ad.clone()).or_default().push(v);
    }
    // Fewest "missing" voices first, then evidence, then time; unknown times come last.
    let mut ranked: Vec<_> = by_ad
        .into_iter()
        .map(|(ad, mut of_ad)| {
            let click = |v: &Voice| v.clicked_at.unwrap_or(Timestamp::MAX);
            of_ad.sort_by_key(|v| (v.evidence, click(v)));
            let earliest = of_ad.iter().map(click).min().unwrap_or(Timestamp::MAX);
            let best = of_ad.first().map_or(Evidence::AdId, |v| v.evidence);
            let key = (total - of_ad.len(), best, earliest);
            (key, ad, of_ad)
        })
        .collect();
    ranked.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let share = |n: usize| n as f64 / total as f64;
    let runners_up: Vec<_> = ranked
        .iter()
        .skip(1)
        .map(|(_, ad, of_ad)| (ad.clone(), share(of_ad.len())))
        .collect();
    let tied = matches!(ranked.as_slice(), [first, second, ..] if first.0 == second.0);
    let mut ranked = ranked.into_iter();
    let best = ranked.next().and_then(|(_, _, of_ad)| {
        let confidence = share(of_ad.len());
        of_ad.into_iter().next().map(|v| (v, confidence))
    });
    match best {
        Some((v, confidence)) if !tied => {
            let mut reason = format!("{} names the ad", v.evidence.in_words());
            if !runners_up.is_empty() {
                let others = runners_up.len();
                reason.push_str(&format!(
                    "; the deal's contacts disagree, {others} other ad(s) were named"
                ));
            }
            credited(
                Method::UrlParam,
                confidence,
                v.credit,
                v.visit,
                v.clicked_at,
                reason,
                runners_up,
            )
        }
        _ => {
            let reason = "the deal's contacts name different ads, and nothing separates them";
            (
                missed(Method::UrlParam, share(1), reason.into(), runners_up),
                None,
            )
        }
    }
}

/// Whether a click or lead of an ad is known from before the click window.
pub(super) fn has_old_click(
    conversion: &Conversion,
    candidates: &Candidates,
    rules: &AttributionRules,
) -> bool {
    let opens = conversion.click_window_opens(rules);
    let visits = conversion.form_visits.iter().chain(&candidates.by_fbclid);
    let mut clicks = visits
        .filter(|visit| visit.ad.ad.is_some())
        .map(|visit| visit.at)
        .chain(candidates.leads.iter().map(|lead| lead.at));
    clicks.any(|at| at < opens)
}

/// Whether anything names an ad that is not the account's.
pub(super) fn names_foreign_ad(conversion: &Conversion, candidates: &Candidates) -> bool {
    let visits = conversion.form_visits.iter().chain(&candidates.by_fbclid);
    let mut named = visits.filter_map(|visit| visit.ad.ad.clone());
    named.any(|ad| !is_ours(&ad, candidates))
        || conversion.contacts.iter().any(|contact| {
            let named = named_ads(&contact.facts).into_iter().flatten();
            named
                .into_iter()
                .any(|credit| !is_ours(&credit.ad, candidates))
        })
}

/// One contact's strongest evidence; `Err` names an ad that is not the account's.
fn voice(
    facts: &ContactFacts,
    conversion: &Conversion,
    candidates: &Candidates,
    counts: &dyn Fn(Timestamp) -> bool,
) -> Result<Option<Voice>, AdId> {
    let mut foreign = None;
    if let Some(id) = facts.roasd_click_id.as_deref().map(str::trim) {
        let form = conversion
            .form_visits
            .iter()
            .find(|visit| visit.id.as_str() == id && counts(visit.at));
        if let Some(visit) = form {
            match credit_of(visit, candidates) {
                Ok(Some(credit)) => return Ok(Some(of_visit(Evidence::ClickId, visit, credit))),
                Ok(None) => {}
                Err(ad) => foreign = Some(ad),
            }
        }
    }
    if let Some(id) = facts.meta_lead_id.as_deref().map(plain_lead_id) {
        // Meta's own word: no need to know the ad.
        let lead = candidates.leads.iter().find(|lead| lead.id == id);
        if let Some(lead) = lead.filter(|lead| counts(lead.at)) {
            return Ok(Some(Voice {
                evidence: Evidence::LeadId,
                credit: placed(lead.credit.clone(), candidates),
                visit: None,
                clicked_at: Some(lead.at),
            }));
        }
    }
    let wanted = fbclids(facts);
    let clicks: Vec<&Visit> = candidates
        .by_fbclid
        .iter()
        .filter(|v| v.ad.fbclid.as_ref().is_some_and(|id| wanted.contains(id)))
        .collect();
    if let Some(v) = by_fbclid(&clicks, candidates, counts) {
        return Ok(Some(v));
    }
    for credit in named_ads(facts).into_iter().flatten() {
        if is_ours(&credit.ad, candidates) {
            return Ok(Some(Voice {
                evidence: Evidence::AdId,
                credit: placed(credit, candidates),
                visit: None,
                clicked_at: None,
            }));
        }
        foreign = Some(credit.ad);
    }
    foreign.map_or(Ok(None), Err)
}

/// The ads that a contact's own property and the query of its first page name.
fn named_ads(facts: &ContactFacts) -> [Option<Credit>; 2] {
    let from_url = facts.first_url.as_deref().map(AdParameters::from_url);
    let from_url = from_url.unwrap_or_default();
    let property = |text: &Option<String>| {
        text.as_deref()
            .map(str::trim)
            .filter(|id| is_vendor_number(id))
            .map(str::to_owned)
    };
    let own = property(&facts.ad_id).and_then(|id| AdId::new(id).ok());
    [
        own.map(|ad| Credit {
            ad,
            ad_set: property(&facts.ad_set_id).and_then(|id| AdSetId::new(id).ok()),
            campaign: property(&facts.campaign_id).and_then(|id| CampaignId::new(id).ok()),
        }),
        from_url.ad.map(|ad| Credit {
            ad,
            ad_set: from_url.ad_set,
            campaign: from_url.campaign,
        }),
    ]
}

/// The earliest click of an fbclid that names an ad. A forwarded link carries the fbclid on, so
/// that one which was seen with two ads proves nothing.
fn by_fbclid(
    clicks: &[&Visit],
    candidates: &Candidates,
    counts: &dyn Fn(Timestamp) -> bool,
) -> Option<Voice> {
    let mut named: Vec<(&Visit, Credit)> = clicks
        .iter()
        .filter(|visit| counts(visit.at))
        .filter_map(|visit| Some((*visit, credit_of(visit, candidates).ok()??)))
        .collect();
    named.sort_by(|a, b| (a.0.at, &a.0.id).cmp(&(b.0.at, &b.0.id)));
    let ads = named.iter().map(|(_, credit)| &credit.ad);
    if ads.clone().min() != ads.max() {
        return None;
    }
    let (visit, credit) = named.into_iter().next()?;
    Some(of_visit(Evidence::Fbclid, visit, credit))
}

fn of_visit(evidence: Evidence, visit: &Visit, credit: Credit) -> Voice {
    Voice {
        evidence,
        credit,
        visit: Some(visit.id.clone()),
        clicked_at: Some(visit.at),
    }
}

fn is_ours(ad: &AdId, candidates: &Candidates) -> bool {
    candidates.placements.is_empty() || candidates.placements.contains_key(ad)
}

/// The ad a visit names; `Err` when it is not the account's.
pub(super) fn credit_of(visit: &Visit, candidates: &Candidates) -> Result<Option<Credit>, AdId> {
    let Some(ad) = visit.ad.ad.clone() else {
        return Ok(None);
    };
    if !is_ours(&ad, candidates) {
        return Err(ad);
    }
    Ok(Some(placed(
        Credit {
            ad,
            ad_set: visit.ad.ad_set.clone(),
            campaign: visit.ad.campaign.clone(),
        },
        candidates,
    )))
}

/// The account's structure knows better than a link where an ad is.
fn placed(credit: Credit, candidates: &Candidates) -> Credit {
    match candidates.placements.get(&credit.ad) {
        Some(place) => Credit {
            ad: credit.ad,
            ad_set: Some(place.ad_set.clone()),
            campaign: Some(place.campaign.clone()),
        },
        None => credit,
    }
}

pub(super) fn missed(
    method: Method,
    confidence: f64,
    reason: String,
    runners_up: Vec<(AdId, f64)>,
) -> Attempt {
    Attempt {
        method,
        succeeded: false,
        confidence,
        reason,
        runners_up,
    }
}

pub(super) fn credited(
    method: Method,
    confidence: f64,
    credit: Credit,
    visit: Option<crate::domain::ids::VisitId>,
    clicked_at: Option<Timestamp>,
    reason: String,
    runners_up: Vec<(AdId, f64)>,
) -> Answer {
    let attempt = Attempt {
        method,
        succeeded: true,
        confidence,
        reason: reason.clone(),
        runners_up,
    };
    let attribution = Attribution {
        method,
        confidence,
        credit,
        visit,
        clicked_at,
        reason,
    };
    (attempt, Some(attribution))
}
