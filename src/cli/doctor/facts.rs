//! What there is to know of a tenant's data: all of a bounded time, and bounded in number.

use std::collections::{BTreeMap, BTreeSet};

use crate::actors::context::TenantSettings;
use crate::actors::housekeeper::worth;
use crate::cli::context::CliContext;
use crate::cli::coverage::Report;
use crate::domain::attribution::reliability::Band;
use crate::domain::coverage::{Coverage, CoverageDays, CoverageVerdict};
use crate::domain::ids::{AdId, ContactId, DealId};
use crate::domain::money::Money;
use crate::domain::safety::Silence;
use crate::domain::structure::Ad;
use crate::domain::time::{self, Timestamp};
use crate::domain::worth::StageWorth;
use crate::store::crm::CreditedDeal;
use crate::store::tenants::TenantHolds;

/// The days looked at.
const DAYS: u32 = 14;
/// Of a long list, so many are looked at: the newest visits, contacts of the newest deals, faults.
const LOOKED_AT: u32 = 1_000;

/// The newest visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VisitFacts {
    /// How many were looked at.
    pub seen: u64,
    /// Of them, those with consent …
    pub with_consent: u64,
    /// … and those that name an ad.
    pub with_ad: u64,
}

/// The contacts of the newest deals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContactCounts {
    /// How many were looked at.
    pub seen: u64,
    /// Of them, those with the id of a visit …
    pub with_click_id: u64,
    /// … and those with another id of an ad, a click or a lead.
    pub with_any: u64,
}

/// What is known of a tenant's data.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// When it was looked at.
    pub now: Timestamp,
    /// The days looked at.
    pub days: u32,
    /// What the tenant is held by.
    pub holds: TenantHolds,
    /// Deliveries in quarantine.
    pub quarantined: u64,
    /// When Meta's figures were read.
    pub insights_at: Option<Timestamp>,
    /// When the CRM was read.
    pub crm_at: Option<Timestamp>,
    /// What the sync last complained of.
    pub trouble: Option<String>,
    /// Whether a CRM is configured.
    pub has_crm: bool,
    /// The account's ads.
    pub ads: Vec<Ad>,
    /// What each of them spent, where it delivered.
    pub spend_by_ad: BTreeMap<AdId, Money>,
    /// Clicks that Meta counts.
    pub clicks: u64,
    /// Coverage by day and reason.
    pub coverage: CoverageDays,
    /// The guard's count.
    pub guard: Coverage,
    /// What it makes of it.
    pub verdict: CoverageVerdict,
    /// How often recognised visitors were credited right.
    pub reliability: Vec<Band>,
    /// Whether most deals are credited by an id all the same.
    pub tells_ids: bool,
    /// Visits.
    pub visits: VisitFacts,
    /// Contacts.
    pub contacts: ContactCounts,
    /// When the newest webhook came that is kept.
    pub delivery_at: Option<Timestamp>,
    /// Deals that changed.
    pub deals_changed: u64,
    /// Deals lately, and how many were due.
    pub silence: Silence,
    /// Deals by the label of a stage that is not configured.
    pub unmapped: BTreeMap<String, u64>,
    /// Configured stages that the CRM does not have.
    pub stages_missing: Vec<String>,
    /// Deals that cannot be valued, with the reason.
    pub faults: Vec<(String, String)>,
    /// What stages have been worth.
    pub worth: Vec<StageWorth>,
}

impl Facts {
    /// Looks.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn gather(
        tenant: &TenantSettings,
        has_crm: bool,
        ctx: &CliContext,
    ) -> anyhow::Result<Self> {
        let (store, id, now) = (&ctx.store, &tenant.id, ctx.now());
        let report = Report::gather(tenant, DAYS, ctx).await?;
        let first = report.days.days.first().map(|day| day.day);
        let from = time::sub(now, time::days(i64::from(DAYS)));
        let structure = store.structure(id).await?;
        let mut spend_by_ad: BTreeMap<AdId, Money> = BTreeMap::new();
        let mut clicks = 0;
        if let Some(first) = first {
            for row in store.daily_insights(id, first).await? {
                clicks += row.clicks;
                let spent = spend_by_ad
                    .entry(row.ad)
                    .or_insert_with(|| Money::zero(row.spend.currency()));
                *spent = spent.checked_add(row.spend).unwrap_or(*spent);
            }
        }
        let seen = store.visits_between(id, from, now, LOOKED_AT).await?;
        let visits = VisitFacts {
            seen: seen.len() as u64,
            with_consent: seen.iter().filter(|visit| visit.has_consent).count() as u64,
            with_ad: seen.iter().filter(|visit| visit.ad.ad.is_some()).count() as u64,
        };
        let usual = Silence::since(&tenant.limits.quality, now);
        let deals = store.deals_since(id, usual.min(from)).await?;
        let created = deals.iter().map(|deal| deal.deal.created_at);
        let created = created.filter(|at| *at >= usual);
        let silence = Silence::of(created, &tenant.limits.quality, now);
        let recent: Vec<&CreditedDeal> = deals
            .iter()
            .filter(|deal| deal.deal.created_at >= from && !deal.deal.is_archived)
            .collect();
        let labels = store.pipeline_stages(id).await?;
        let crm_at = store.cursor(id, "crm.watermark").await?;
        let crm_at = crm_at.and_then(|text| text.parse::<i64>().ok());
        let jobs = store.job_status(id).await?;
        let sync = jobs.into_iter().find(|job| job.job == "sync");
        let total = &report.days.total;
        Ok(Self {
            now,
            days: DAYS,
            holds: store.holds(id).await?,
            quarantined: store.inbox_depth(id).await?.quarantined,
            insights_at: store.insights_watermark(id).await?,
            crm_at: crm_at.map(time::from_micros),
            trouble: sync
                .filter(|job| job.last_end > job.last_success && !job.detail.is_empty())
                .map(|job| job.detail),
            has_crm,
            ads: structure.map_or_else(Vec::new, |(structure, _)| {
                structure.ads.into_values().collect()
            }),
            spend_by_ad,
            clicks,
            tells_ids: total.url_param * 2 > total.conversions(),
            guard: report.guard,
            verdict: report.verdict,
            reliability: report.reliability,
            coverage: report.days,
            visits,
            contacts: contacts(tenant, &recent, ctx).await?,
            delivery_at: store.newest_delivery(id).await?,
            deals_changed: deals.iter().filter(|d| d.deal.updated_at >= from).count() as u64,
            silence,
            unmapped: unmapped(tenant, &recent, |stage| {
                labels
                    .iter()
                    .find(|known| known.id.as_str() == stage)
                    .map_or_else(
                        || stage.to_owned(),
                        |known| format!("{} ({stage})", known.label),
                    )
            }),
            stages_missing: if labels.is_empty() {
                Vec::new()
            } else {
                let in_crm: BTreeSet<_> = labels
                    .iter()
                    .filter_map(|known| Some(&tenant.stages.by_vendor_id(&known.id)?.name))
                    .collect();
                let missing = tenant.stages.all().iter();
                let missing = missing.filter(|stage| !in_crm.contains(&stage.name));
                missing.map(|stage| stage.name.to_string()).collect()
            },
            faults: store
                .faulty_deals(id, LOOKED_AT)
                .await?
                .into_iter()
                .map(|(deal, fault): (DealId, String)| (deal.to_string(), fault))
                .collect(),
            worth: worth::learn(store.as_ref(), tenant, now).await?,
        })
    }
}

/// Deals whose present stage nobody values, by the stage's label.
fn unmapped(
    tenant: &TenantSettings,
    deals: &[&CreditedDeal],
    label: impl Fn(&str) -> String,
) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for deal in deals {
        if tenant.stages.by_vendor_id(&deal.deal.stage).is_none() {
            *found.entry(label(deal.deal.stage.as_str())).or_default() += 1;
        }
    }
    found
}

async fn contacts(
    tenant: &TenantSettings,
    deals: &[&CreditedDeal],
    ctx: &CliContext,
) -> anyhow::Result<ContactCounts> {
    let mut newest: Vec<&&CreditedDeal> = deals.iter().collect();
    newest.sort_by_key(|deal| std::cmp::Reverse(deal.deal.created_at));
    let ids = newest.iter().flat_map(|deal| deal.deal.contacts.iter());
    let ids: BTreeSet<ContactId> = ids.take(LOOKED_AT as usize).cloned().collect();
    let ids: Vec<ContactId> = ids.into_iter().collect();
    let mut counts = ContactCounts::default();
    for contact in ctx.store.contacts(&tenant.id, &ids).await? {
        let facts = contact.facts;
        counts.seen += 1;
        let is_there = |text: &Option<String>| text.as_ref().is_some_and(|t| !t.trim().is_empty());
        counts.with_click_id += u64::from(is_there(&facts.roasd_click_id));
        let others = [&facts.facebook_click_id, &facts.meta_lead_id, &facts.ad_id];
        counts.with_any += u64::from(others.into_iter().any(is_there));
    }
    Ok(counts)
}
