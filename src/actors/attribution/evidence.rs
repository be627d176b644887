//! What the store knows of conversions, gathered for many at once, and what they teach.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::domain::attribution::learning::{self, Learned};
use crate::domain::attribution::traffic::Traffic;
use crate::domain::attribution::{
    self, AttributionRules, Candidates, Conversion, DeviceLookups, HashLookup, Placement,
};
use crate::domain::deal::{Contact, Deal};
use crate::domain::ids::{AdId, ContactId, DealId, LeadId, TenantId, VisitId};
use crate::domain::lead::Leads;
use crate::domain::stages;
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::domain::visit::{KeyedHash, Visit};
use crate::store::leads::LeadKeys;
use crate::store::visits::{ClickLookup, VisitKey};
use crate::store::{Store, StoreError};

/// Conversions gathered by the same statements.
const PIECE: usize = 250;
/// Pieces under way at once.
const PIECES_AT_ONCE: usize = 2;
/// Clicks compared at most per value, the newest: what more share proves nothing.
const CLICKS: u32 = 32;
/// Visits that frequencies are counted over: a week, but no more than tell a value of one in
/// thousands.
const TRAFFIC: SignedDuration = time::days(7);
const TRAFFIC_VISITS: u32 = 20_000;
/// Deals that teach: those of a month, but no more than the model has use for.
const TEACHING: SignedDuration = time::days(30);
const TEACHING_DEALS: usize = 3_000;

/// Where every ad of the account is.
pub type Placements = Arc<BTreeMap<AdId, Placement>>;

/// A deal to be credited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The deal.
    pub deal: DealId,
    /// When it entered its first stage.
    pub at: Timestamp,
    /// Everybody associated with it.
    pub contacts: Vec<ContactId>,
}

impl Asked {
    /// What to ask about a deal.
    #[must_use]
    pub fn of(deal: &Deal) -> Self {
        Self {
            deal: deal.id.clone(),
            at: first_stage_at(deal),
            contacts: deal.contacts.clone(),
        }
    }
}

/// When a deal entered its first stage: what counts as the conversion, for every stage of it.
pub(super) fn first_stage_at(deal: &Deal) -> Timestamp {
    let first = stages::full_history(deal).first().map(|change| change.at);
    first.unwrap_or(deal.created_at)
}

/// Whose device is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByDevice {
    /// Of those that no id names: most conversions carry one, and then nobody is looked for.
    WhereNoneIsNamed,
    /// Of all: those that an id names teach how well the others are recognised.
    Always,
}

/// Gathers all that crediting these conversions takes, by a handful of statements for some hundreds of
/// them, and a few hundreds beside each other: while the one waits for the store the other is put
/// together.
///
/// # Errors
/// When the store does not answer.
pub async fn gather(
    store: &dyn Store,
    tenant: &TenantId,
    asked: &[Asked],
    placements: &Placements,
    rules: &AttributionRules,
    by_device: ByDevice,
) -> Result<Vec<(Conversion, Candidates)>, StoreError> {
    // Put together first: a future made within the stream would not be `Send` for every lifetime.
    let mut pieces = Vec::new();
    for piece in asked.chunks(PIECE) {
        let piece = gather_piece(store, tenant, piece, placements, rules, by_device);
        pieces.push(piece);
    }
    stream::iter(pieces)
        .buffered(PIECES_AT_ONCE)
        .try_fold(Vec::with_capacity(asked.len()), async |mut all, piece| {
            all.extend(piece);
            Ok(all)
        })
        .await
}

async fn gather_piece(
    store: &dyn Store,
    tenant: &TenantId,
    asked: &[Asked],
    placements: &Placements,
    rules: &AttributionRules,
    by_device: ByDevice,
) -> Result<Vec<(Conversion, Candidates)>, StoreError> {
    let mut ids: Vec<ContactId> = asked.iter().flat_map(|a| a.contacts.clone()).collect();
    ids.sort();
    ids.dedup();
    let contacts = store.contacts(tenant, &ids).await?;
    let leads = leads(store, tenant, &contacts).await?;
    let contacts: BTreeMap<_, _> = contacts.into_iter().map(|c| (c.id.clone(), c)).collect();
    let mut gathered: Vec<(Conversion, Candidates)> = asked
        .iter()
        .map(|asked| {
            let of = |id| contacts.get(id).cloned();
            let mut people: Vec<Contact> = asked.contacts.iter().filter_map(of).collect();
            let candidates = Candidates {
                leads: leads.name(&mut people, asked.at),
                placements: placements.clone(),
                ..Candidates::default()
            };
            let conversion = Conversion {
                deal: asked.deal.clone(),
                at: asked.at,
                contacts: people,
                form_visits: Vec::new(),
            };
            (conversion, candidates)
        })
        .collect();
    by_id(store, tenant, &mut gathered, rules).await?;
    recognisable(store, tenant, &mut gathered, rules, by_device).await?;
    Ok(gathered)
}

/// The leads that these contacts may have left in Meta's forms.
async fn leads(
    store: &dyn Store,
    tenant: &TenantId,
    contacts: &[Contact],
) -> Result<Leads, StoreError> {
    let mut keys = LeadKeys::default();
    for facts in contacts.iter().map(|contact| &contact.facts) {
        let id = facts.meta_lead_id.as_deref().map(LeadId::new);
        keys.ids.extend(id.into_iter().flatten());
        keys.emails.extend(facts.email.clone());
        keys.phones.extend(facts.phone.clone());
    }
    Ok(Leads::of(store.leads(tenant, &keys).await?))
}

/// Finds what the contacts name: their form visits, and the clicks of their fbclids.
pub(super) async fn by_id(
    store: &dyn Store,
    tenant: &TenantId,
    gathered: &mut [(Conversion, Candidates)],
    rules: &AttributionRules,
) -> Result<(), StoreError> {
    let wanted: Vec<_> = gathered
        .iter()
        .map(|(conversion, _)| attribution::lookups(&conversion.contacts))
        .collect();
    let mut ids: Vec<VisitId> = wanted.iter().flat_map(|w| w.visit_ids.clone()).collect();
    ids.sort();
    ids.dedup();
    let visits = store.visits(tenant, &ids).await?;
    let visits: BTreeMap<VisitId, Visit> = visits.into_iter().map(|v| (v.id.clone(), v)).collect();
    let (mut places, mut lookups) = (Vec::new(), Vec::new());
    for (place, (wanted, (conversion, _))) in wanted.iter().zip(gathered.iter_mut()).enumerate() {
        let found = wanted.visit_ids.iter().filter_map(|id| visits.get(id));
        conversion.form_visits = found.cloned().collect();
        for fbclid in &wanted.fbclids {
            places.push(place);
            lookups.push(ClickLookup {
                key: VisitKey::Fbclid(fbclid.clone()),
                from: conversion.click_window_opens(rules),
                to: conversion.at,
            });
        }
    }
    let found = store.clicks_by(tenant, &lookups, CLICKS).await?;
    for (place, clicks) in places.into_iter().zip(found) {
        if let Some((_, candidates)) = gathered.get_mut(place) {
            candidates.by_fbclid.extend(clicks);
        }
    }
    Ok(())
}

/// Finds the clicks that share the form's device or address.
pub(super) async fn recognisable(
    store: &dyn Store,
    tenant: &TenantId,
    gathered: &mut [(Conversion, Candidates)],
    rules: &AttributionRules,
    by_device: ByDevice,
) -> Result<(), StoreError> {
    type Into = fn(&mut Candidates) -> &mut Vec<Visit>;
    let (mut places, mut lookups): (Vec<(usize, Into)>, Vec<ClickLookup>) = Default::default();
    for (place, (conversion, candidates)) in gathered.iter().enumerate() {
        if by_device == ByDevice::WhereNoneIsNamed
            && attribution::is_named(conversion, candidates, rules)
        {
            continue;
        }
        let Some(DeviceLookups { fingerprint, ip }) =
            attribution::device_lookups(conversion, rules)
        else {
            continue;
        };
        let mut look = |found: Option<HashLookup>, key: fn(KeyedHash) -> VisitKey, into: Into| {
            let Some(HashLookup { hash, since, until }) = found else {
                return;
            };
            places.push((place, into));
            lookups.push(ClickLookup {
                key: key(hash),
                from: since,
                to: until,
            });
        };
        look(fingerprint, VisitKey::Fingerprint, |found| {
            &mut found.by_fingerprint
        });
        look(ip, VisitKey::Ip, |found| &mut found.by_ip);
    }
    let found = store.clicks_by(tenant, &lookups, CLICKS).await?;
    for ((place, into), clicks) in places.into_iter().zip(found) {
        if let Some((_, candidates)) = gathered.get_mut(place) {
            *into(candidates) = clicks;
        }
    }
    Ok(())
}

/// Learns from what a tenant's visits and deals have been up to `now`.
///
/// # Errors
/// When the store does not answer.
pub async fn learn(
    store: &dyn Store,
    tenant: &TenantId,
    placements: &Placements,
    rules: &AttributionRules,
    now: Timestamp,
) -> Result<Learned, StoreError> {
    let from = time::sub(now, TRAFFIC);
    let visits = store
        .visits_between(tenant, from, now, TRAFFIC_VISITS)
        .await?;
    let traffic = Traffic::of(&visits, from, now);
    drop(visits);
    let deals = store.deals_since(tenant, time::sub(now, TEACHING)).await?;
    let mut asked: Vec<Asked> = deals.iter().map(|deal| Asked::of(&deal.deal)).collect();
    asked.sort_by(|a, b| (b.at, &a.deal).cmp(&(a.at, &b.deal)));
    asked.truncate(TEACHING_DEALS);
    let deals = gather(store, tenant, &asked, placements, rules, ByDevice::Always).await?;
    Ok(learning::learn(traffic, &deals, rules))
}

/// Where the account's ads are, as far as its structure has been read.
///
/// # Errors
/// When the store does not answer.
pub async fn placements(store: &dyn Store, tenant: &TenantId) -> Result<Placements, StoreError> {
    let places = store.ad_places(tenant).await?;
    let placed = places
        .into_iter()
        .map(|(ad, ad_set, campaign)| (ad, Placement { ad_set, campaign }));
    Ok(Arc::new(placed.collect()))
}
