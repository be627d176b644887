//! What is wrong with a tenant's data, from what is known of them: pure, so that each finding can be
//! tried out.

use std::collections::BTreeMap;

use super::facts::Facts;
use crate::actors::context::TenantSettings;
use crate::cli::coverage::percent;
use crate::cli::stages::config_line;
use crate::domain::attribution::gap::Gap;
use crate::domain::coverage::CoverageVerdict;
use crate::domain::money::{Money, Rounding};
use crate::domain::structure::{Ad, RunStatus};
use crate::domain::time::{self, SignedDuration, Timestamp};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something is wrong: decisions are held, or made without what is missing.
    Wrong,
    /// It works, and would work better.
    Weak,
}

impl Severity {
    /// The name shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wrong => "WRONG",
            Self::Weak => "weak",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What kind of thing, a word that stays.
    pub kind: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, in numbers.
    pub evidence: String,
    /// What to do about it.
    pub remedy: String,
    /// The money concerned, where that is known: spend, or what deals are worth.
    pub money: Option<Money>,
}

/// A share of deals from which on a gap is worth a word, and the least number of them.
const GAP_SHARE: f64 = 0.05;
const GAP_DEALS: u64 = 3;
/// So many deals or visits make a silence telling.
const TELLING: u64 = 20;
/// A webhook that has not come for so long, while deals changed, does not come.
const WEBHOOK_SILENCE: SignedDuration = time::days(3);
/// The distance between what matches say and how often they are right that is worth a word.
const MISCALIBRATED: f64 = 0.15;

/// Gathers findings.
struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    fn add(
        &mut self,
        kind: &'static str,
        severity: Severity,
        money: Option<Money>,
        evidence: String,
        remedy: impl Into<String>,
    ) {
        self.list.push(Finding {
            kind,
            severity,
            evidence,
            remedy: remedy.into(),
            money: money.filter(|money| money.minor() != 0),
        });
    }
}

/// Everything that is wrong by what the store knows, the most money first; what has no known price
/// follows, the gravest first.
#[must_use]
pub fn findings(tenant: &TenantSettings, facts: &Facts) -> Vec<Finding> {
    let mut found = Findings { list: Vec::new() };
    holds(tenant, facts, &mut found);
    freshness(tenant, facts, &mut found);
    tags(tenant, facts, &mut found);
    gaps(facts, &mut found);
    intake(tenant, facts, &mut found);
    stages(tenant, facts, &mut found);
    credits(tenant, facts, &mut found);
    sorted(found.list)
}

/// The most money first; what has no known price follows, the gravest first.
#[must_use]
pub(super) fn sorted(mut list: Vec<Finding>) -> Vec<Finding> {
    list.sort_by_key(|one| {
        let money = one
            .money
            .map_or(i64::MIN, |money| money.minor().saturating_abs());
        (std::cmp::Reverse(money), one.severity, one.kind)
    });
    list
}

fn hours(span: SignedDuration) -> String {
    format!("{:.1} h", span.as_secs_f64() / 3_600.0)
}

/// What stops the tenant altogether.
fn holds(tenant: &TenantSettings, facts: &Facts, found: &mut Findings) {
    let id = &tenant.id;
    if let Some(held) = &facts.holds.suspended {
        let evidence = format!("{} refuses roasd: {}", held.by, held.reason);
        let remedy = "roasd check --online names the right or token that is missing";
        found.add("suspended", Severity::Wrong, None, evidence, remedy);
    }
    if let Some(held) = &facts.holds.parked {
        let evidence = format!("its actors failed too often: {}", held.reason);
        let remedy = format!("mend the reason, then roasd resume {id}");
        found.add("parked", Severity::Wrong, None, evidence, remedy);
    }
    if facts.quarantined > 0 {
        let evidence = format!("{} deliveries could not be read", facts.quarantined);
        let remedy = format!("roasd quarantine list --tenant {id}");
        found.add("quarantine", Severity::Weak, None, evidence, remedy);
    }
}

/// Data that are old.
fn freshness(tenant: &TenantSettings, facts: &Facts, found: &mut Findings) {
    let quality = &tenant.limits.quality;
    let age = |at: Option<Timestamp>| at.map(|at| time::between(at, facts.now));
    let mut old = |what: &str, at: Option<Timestamp>, most: SignedDuration, kind| {
        let evidence = match age(at) {
            Some(age) if age <= most => return,
            Some(age) => format!(
                "{what} were read {} ago, {} are allowed",
                hours(age),
                hours(most)
            ),
            None => format!("{what} were never read completely"),
        };
        let mut remedy = "see that the daemon runs: roasd status".to_owned();
        if let Some(trouble) = &facts.trouble {
            remedy = format!("{remedy}; it last said: {trouble}");
        }
        found.add(kind, Severity::Wrong, None, evidence, remedy);
    };
    let (insights, crm) = (facts.insights_at, facts.crm_at);
    old(
        "Meta's figures",
        insights,
        quality.max_insight_age,
        "stale_insights",
    );
    if facts.has_crm {
        old("the CRM's deals", crm, quality.max_crm_age, "stale_crm");
    }
}

/// Whether the link of an ad will name it.
fn is_tagged(ad: &Ad) -> bool {
    let named = |text: &str| text.contains("{{ad.id}}");
    named(&ad.creative.url_tags) || named(&ad.creative.link)
}

/// Ads whose links name no ad.
fn tags(tenant: &TenantSettings, facts: &Facts, found: &mut Findings) {
    let zero = Money::zero(tenant.currency);
    let delivering: Vec<&Ad> = facts
        .ads
        .iter()
        .filter(|ad| ad.status == RunStatus::Active && facts.spend_by_ad.contains_key(&ad.id))
        .collect();
    let spend = |ads: &[&Ad]| {
        ads.iter().fold(zero, |sum, ad| {
            let own = facts.spend_by_ad.get(&ad.id).copied().unwrap_or(zero);
            sum.checked_add(own).unwrap_or(sum)
        })
    };
    let bare: Vec<&Ad> = delivering
        .iter()
        .copied()
        .filter(|ad| !is_tagged(ad))
        .collect();
    if bare.is_empty() {
        return;
    }
    // A lead form names its ad without them.
    let severity = if facts.tells_ids {
        Severity::Weak
    } else {
        Severity::Wrong
    };
    let (money, all) = (spend(&bare), spend(&delivering));
    let first: Vec<&str> = bare.iter().take(3).map(|ad| ad.name.as_str()).collect();
    let evidence = format!(
        "{} of {} ads that deliver have no {{{{ad.id}}}} in their URL parameters, on {money} of {all} \
         spent in {} days ({}{})",
        bare.len(),
        delivering.len(),
        facts.days,
        first.join(", "),
        if bare.len() > first.len() {
            ", …"
        } else {
            ""
        },
    );
    let remedy = "set the URL parameters of the README on them; editing an ad restarts its learning, \
                  so begin with new ads";
    found.add("url_tags_missing", severity, Some(money), evidence, remedy);
}

/// Deals without an ad, by the reason; what is grave is whatever keeps roasd from looking.
fn gaps(facts: &Facts, found: &mut Findings) {
    let all = facts.coverage.total.conversions();
    for count in &facts.coverage.gaps {
        let Some(gap) = count.gap.filter(|gap| gap.is_blind()) else {
            continue;
        };
        if count.deals < GAP_DEALS || (count.deals as f64) < GAP_SHARE * all as f64 {
            continue;
        }
        let kind = match gap {
            Gap::NoContact => "deals_without_contact",
            Gap::Contradiction => "contacts_disagree",
            Gap::ForeignAd => "links_name_no_ad",
            Gap::OutsideWindow => "clicks_too_old",
            Gap::LeadUnknown => "lead_forms_not_subscribed",
            Gap::TagsMissing => "clicks_without_tags",
            Gap::FbclidOnly => "fbclid_without_visit",
            Gap::VisitLost => "visits_lost",
            Gap::NoVisit => "forms_without_visit",
            Gap::NoConsent => "no_consent",
            // These were looked for.
            Gap::Ambiguous | Gap::Unlikely | Gap::NoClick => continue,
        };
        let share = count.deals as f64 / all as f64;
        let severity = if share >= 0.3 {
            Severity::Wrong
        } else {
            Severity::Weak
        };
        let evidence = format!(
            "{} of {all} deals of {} days ({}): {}",
            count.deals,
            facts.days,
            percent(Some(share)),
            gap.in_words()
        );
        found.add(kind, severity, Some(count.value), evidence, gap.remedy());
    }
}

/// What does not come in.
fn intake(tenant: &TenantSettings, facts: &Facts, found: &mut Findings) {
    let (visits, days) = (facts.visits, facts.days);
    if facts.clicks >= TELLING && visits.seen == 0 {
        let evidence = format!(
            "{} clicks at Meta in {days} days and not one visit",
            facts.clicks
        );
        let remedy = "put the script of the README on every landing page and list the pages' origins \
                      in click_origins";
        found.add("no_visits", Severity::Weak, None, evidence, remedy);
    }
    if visits.seen >= TELLING && visits.with_consent == 0 {
        let evidence = format!("none of the last {} visits carries consent", visits.seen);
        let remedy = "let the consent manager call roasd.consent(true), or set data-consent on the tag; \
                      without it only ids can name an ad";
        found.add("no_consent_signal", Severity::Weak, None, evidence, remedy);
    }
    if visits.seen >= TELLING && visits.with_ad == 0 && facts.clicks >= TELLING {
        let evidence = format!("none of the last {} visits names an ad", visits.seen);
        let remedy = "see that redirects keep the query, and that the ads have URL parameters";
        found.add("visits_name_no_ad", Severity::Weak, None, evidence, remedy);
    }
    let contacts = &facts.contacts;
    if contacts.seen >= TELLING && contacts.with_click_id == 0 {
        let severity = if contacts.with_any == 0 {
            Severity::Wrong
        } else {
            Severity::Weak
        };
        let evidence = format!(
            "of {} contacts none has a click id, {} have another id of an ad or click",
            contacts.seen, contacts.with_any
        );
        let remedy = "make the contact property roasd_click_id in HubSpot and put a hidden field of \
                      that name into the forms";
        found.add("crm_property_missing", severity, None, evidence, remedy);
    }
    let quiet = facts
        .delivery_at
        .is_none_or(|at| time::between(at, facts.now) > WEBHOOK_SILENCE);
    if facts.has_crm && quiet && facts.deals_changed >= TELLING {
        let last = facts
            .delivery_at
            .map_or_else(|| "ever".to_owned(), |at| format!("since {at:.0}"));
        let evidence = format!(
            "no webhook {last}, while {} deals changed in {days} days",
            facts.deals_changed
        );
        let remedy = format!(
            "subscribe the app in HubSpot to deals with /webhooks/hubspot/{}; until then deals are \
             read every {}",
            tenant.id,
            hours(tenant.schedule.sync_every)
        );
        found.add("webhooks_silent", Severity::Weak, None, evidence, remedy);
    }
    let limits = &tenant.limits.quality;
    let silence = &facts.silence;
    if silence.recent == 0 && silence.expected >= limits.silence_expected {
        let evidence = format!(
            "no deal for {}, where about {:.0} were due",
            hours(limits.silence_window),
            silence.expected
        );
        let remedy = "look at forms and the CRM: broken tracking is likelier than bad ads";
        found.add("tracking_silent", Severity::Wrong, None, evidence, remedy);
    }
    if let Some(by_meta) = facts.coverage.by_meta() {
        let deals = facts.coverage.total.conversions() as f64;
        if by_meta >= TELLING as f64 && deals < 0.5 * by_meta {
            let evidence = format!(
                "Meta counts {by_meta:.0} of {} in {days} days, the CRM has {deals:.0} deals",
                tenant.result_action
            );
            let remedy = "see that every lead becomes a deal in one of the pipelines, or state the \
                          action that a deal stands for as meta.result_action";
            found.add("crm_behind_meta", Severity::Weak, None, evidence, remedy);
        }
    }
}

/// Stages that nobody values, are not there, or are worth something else.
fn stages(tenant: &TenantSettings, facts: &Facts, found: &mut Findings) {
    let at = format!("tenants.{}.stages", tenant.id);
    let mut unmapped: Vec<(&String, &u64)> = facts.unmapped.iter().collect();
    unmapped.sort_by_key(|(_, deals)| std::cmp::Reverse(**deals));
    if !unmapped.is_empty() {
        let deals: u64 = facts.unmapped.values().sum();
        let told: Vec<String> = unmapped
            .iter()
            .take(5)
            .map(|(stage, deals)| format!("{stage}: {deals}"))
            .collect();
        let evidence = format!(
            "{deals} deals of {} days are in stages that nobody values ({})",
            facts.days,
            told.join(", ")
        );
        let remedy = format!("add them to {at}; until then these deals keep the value they had");
        found.add("stage_unmapped", Severity::Wrong, None, evidence, remedy);
    }
    if !facts.stages_missing.is_empty() {
        let evidence = format!(
            "the CRM has no stage for {}",
            facts.stages_missing.join(", ")
        );
        let remedy = format!("state hubspot_stage for each in {at}");
        found.add("stage_not_in_crm", Severity::Weak, None, evidence, remedy);
    }
    if !facts.faults.is_empty() {
        let (_, first) = facts
            .faults
            .first()
            .map_or(("", ""), |(id, text)| (id, text));
        let evidence = format!("{} deals cannot be valued: {first}", facts.faults.len());
        let remedy = format!(
            "state the rate in tenants.{}.fx; budgets are held until then",
            tenant.id
        );
        found.add(
            "currency_without_rate",
            Severity::Wrong,
            None,
            evidence,
            remedy,
        );
    }
    for stage in facts.worth.iter().filter(|stage| stage.drifts()) {
        let off = stage.worth.mid - stage.configured.to_f64();
        let open = (stage.deals - stage.won - stage.lost) as f64;
        let money = Money::from_f64((off * open).abs(), tenant.currency, Rounding::Nearest).ok();
        let evidence = format!("{}; {open:.0} of them are still open", stage.sentence());
        let remedy = format!("in {at}: {}", config_line(tenant, stage));
        found.add(
            "stage_value_drifts",
            Severity::Weak,
            money,
            evidence,
            remedy,
        );
    }
}

/// Whether credits are many and sure enough.
fn credits(tenant: &TenantSettings, facts: &Facts, found: &mut Findings) {
    if facts.verdict == CoverageVerdict::Below {
        let value = facts
            .coverage
            .gaps
            .iter()
            .fold(None, |sum: Option<Money>, gap| {
                Some(sum.map_or(gap.value, |sum| sum.checked_add(gap.value).unwrap_or(sum)))
            });
        let evidence = format!(
            "{}; the floor is {}",
            facts.guard, tenant.limits.quality.min_coverage
        );
        let remedy = format!(
            "budgets are held; roasd coverage {} has the reasons",
            tenant.id
        );
        found.add("low_coverage", Severity::Wrong, value, evidence, remedy);
    }
    let mut off: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for band in &facts.reliability {
        let distance = (band.said - band.share_right()).abs();
        if band.matched >= TELLING as f64 && distance > MISCALIBRATED {
            off.entry(band.method.as_str())
                .or_default()
                .push(band.in_words());
        }
    }
    for bands in off.into_values() {
        let remedy = "decisions weigh by what matches say; raise attribution.min_confidence, or put \
                      ids into links and forms";
        found.add(
            "credits_miscalibrated",
            Severity::Weak,
            None,
            bands.join("; "),
            remedy,
        );
    }
}

#[cfg(test)]
mod tests;
