//! Keeps one tenant's index of past ads, and publishes each ad's look-alikes for the optimizer, so
//! that a decision never waits for a search. The store holds the truth; the index here is a cache
//! of it, rebuilt at start.
//!
//! What look-alikes may lend is judged on the past ads themselves, each left out in turn
//! (`domain/retrieval.rs`): where they foretell nothing, they are published as unlike.

pub mod like;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::context::{Context, Neighbours, weather};
use super::stage::{Broken, Progress, Stage, Work};
use crate::domain::ids::AdId;
use crate::domain::money::Money;
use crate::domain::retrieval;
use crate::domain::structure::Structure;
use crate::domain::time::{self, Timestamp};
use crate::domain::winner::{self, Outcome};
use crate::index::shared::Shared;
use crate::index::{Index, cases};
use crate::store::StoreError;
use crate::store::winners::PastAd;

/// How often the stage looks by itself; the sync nudges it besides.
const LOOK_EVERY: time::SignedDuration = time::hours(6);
/// Outcomes are looked at this often; new ads at once.
const REFRESH_EVERY: time::SignedDuration = time::hours(12);
/// Past ads recorded in one transaction.
const RECORDED_AT_ONCE: usize = 500;
/// How far back an ad's figures count as its outcome.
const EVIDENCE_DAYS: i64 = 365;

/// The work of the winners stage.
pub struct WinnersWork {
    context: Arc<Context>,
    index: Arc<Shared>,
    texts: BTreeMap<AdId, String>,
    left_out: BTreeSet<AdId>,
    is_loaded: bool,
    refreshed_at: Option<Timestamp>,
    /// Whether something was taken in that is not yet recorded and published.
    is_behind: bool,
    /// Share of the look-alikes' evidence that is believed. All of it until that can be judged: what
    /// few ads lend is held back by the strength of `priors.text`, which was set with that in mind.
    weight: f64,
}

impl WinnersWork {
    /// The work of one tenant.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let index = Index::new(context.embedder.dimension());
        Self {
            context,
            index: Arc::new(Shared::new(index)),
            texts: BTreeMap::new(),
            left_out: BTreeSet::new(),
            is_loaded: false,
            refreshed_at: None,
            is_behind: false,
            weight: 1.0,
        }
    }
}

#[async_trait]
impl Work for WinnersWork {
    fn stage(&self) -> Stage {
        Stage::Winners
    }

    async fn look(&mut self) -> Result<Progress, Broken> {
        match self.refresh().await {
            Ok(true) => Ok(Progress::Advanced),
            Ok(false) => Ok(Progress::Idle),
            Err(error) => weather(&error),
        }
    }

    fn next_tick(&self) -> Timestamp {
        time::add(self.context.clock.now(), LOOK_EVERY)
    }
}

impl WinnersWork {
    async fn refresh(&mut self) -> Result<bool, StoreError> {
        let context = self.context.clone();
        let (store, tenant) = (&context.store, &context.tenant);
        let now = context.clock.now();
        let is_due = self
            .refreshed_at
            .is_none_or(|at| time::add(at, REFRESH_EVERY) <= now);
        if !self.is_loaded || is_due {
            let past = store.past_ads(&tenant.id, context.embedder.model()).await?;
            self.take_in(past);
        }
        let Some((structure, _)) = store.structure(&tenant.id).await? else {
            return Ok(false);
        };
        let fresh = self.embed_new(&structure);
        // What the store refuses below must not be forgotten until the next time all is looked at.
        self.is_behind |= fresh > 0 || is_due;
        if !self.is_behind {
            return Ok(false);
        }
        let outcomes = self.outcomes(now).await?;
        let records = self.records(&structure, &outcomes, now);
        // A vector is three kilobytes: a large account at once would keep other writers waiting.
        for some in records.chunks(RECORDED_AT_ONCE) {
            store.record_past_ads(&tenant.id, some).await?;
        }
        self.weight = self.judge(&records);
        self.publish(&structure);
        self.is_behind = false;
        self.refreshed_at = Some(now);
        self.link();
        let winners = records.iter().filter(|past| past.is_winner).count();
        tracing::debug!(
            tenant.id = %tenant.id, ads = records.len(), winners, new = fresh,
            weight = self.weight,
            "the index of {} holds {} past ads, {winners} of them winners", tenant.id, records.len()
        );
        Ok(true)
    }

    /// Takes in what the store holds: at start, and later what an operator did meanwhile.
    fn take_in(&mut self, past: Vec<PastAd>) {
        let (texts, left_out) = (&mut self.texts, &mut self.left_out);
        let known: BTreeMap<AdId, Vec<f32>> = past
            .into_iter()
            .filter_map(|past| {
                if past.is_left_out {
                    left_out.insert(past.ad);
                    return None;
                }
                left_out.remove(&past.ad);
                texts.insert(past.ad.clone(), past.text);
                Some((past.ad, past.vector))
            })
            .collect();
        if self.is_loaded {
            self.index.update(|index| {
                left_out.iter().for_each(|ad| {
                    index.remove(ad);
                });
                for (ad, vector) in known {
                    // A vector of another length is an old embedder's: its ad is embedded anew.
                    if index.insert(ad.clone(), &vector).is_err() {
                        texts.remove(&ad);
                    }
                }
            });
            return;
        }
        let dimension = self.context.embedder.dimension();
        let fits = |vector: &Vec<f32>| Index::new(dimension).check(vector).is_ok();
        let (known, unfit): (BTreeMap<_, _>, BTreeMap<_, _>) =
            known.into_iter().partition(|(_, vector)| fits(vector));
        unfit.keys().for_each(|ad| {
            texts.remove(ad);
        });
        let index = self.restore(&known);
        self.index.update(|empty| *empty = index);
        self.is_loaded = true;
    }

    /// The index with its links, where they are kept and good; else without.
    fn restore(&self, known: &BTreeMap<AdId, Vec<f32>>) -> Index {
        let dimension = self.context.embedder.dimension();
        if known.len() >= crate::index::LINKED_FROM
            && let Some(path) = self.links_path()
        {
            match Index::restore(&path, dimension, known) {
                Ok(index) => return index,
                Err(error) => tracing::info!(
                    tenant.id = %self.context.tenant.id, %error,
                    "the links of past ads are built anew: {error}"
                ),
            }
        }
        // All vectors were checked.
        Index::of(dimension, known).unwrap_or_else(|_| Index::new(dimension))
    }

    fn links_path(&self) -> Option<PathBuf> {
        let folder = self.context.links_folder.as_ref()?;
        let model = self.context.embedder.model().replace(['/', '\\', ':'], "-");
        Some(folder.join(format!("{}.{model}.links", self.context.tenant.id)))
    }

    /// Builds the links of a large index beside everything else, and keeps them in a file. Whatever
    /// happens meanwhile, the index is searched as it is.
    fn link(&self) {
        if !self.index.load().are_links_due() {
            return;
        }
        let (index, path) = (self.index.clone(), self.links_path());
        let (context, lease) = (self.context.clone(), self.context.lease.clone());
        tokio::task::spawn_blocking(move || {
            // A tenant that has gone to another node needs no links here.
            if index.build_links(&|| lease.is_good())
                && let Some(path) = path
                && let Err(error) = index.load().dump(&path)
            {
                tracing::warn!(
                    tenant.id = %context.tenant.id, %error, path = %path.display(),
                    "the links of past ads are not kept, the next start builds them again: {error}"
                );
            }
        });
    }

    /// Embeds what is new or says something else than before; how many that were.
    fn embed_new(&mut self, structure: &Structure) -> usize {
        let mut fresh = Vec::new();
        for ad in structure.ads.values() {
            let text = winner::text_of(&ad.creative);
            if self.left_out.contains(&ad.id) || self.texts.get(&ad.id) == Some(&text) {
                continue;
            }
            if let Some(vector) = self.context.embedder.embed(&text) {
                fresh.push((ad.id.clone(), text, vector));
            }
        }
        if fresh.is_empty() {
            return 0;
        }
        let texts = &mut self.texts;
        self.index.update(|index| {
            let mut taken = 0;
            for (ad, text, vector) in fresh {
                if index.insert(ad.clone(), &vector).is_ok() {
                    texts.insert(ad, text);
                    taken += 1;
                }
            }
            taken
        })
    }

    async fn outcomes(&self, now: Timestamp) -> Result<BTreeMap<AdId, Outcome>, StoreError> {
        let (store, tenant) = (&self.context.store, &self.context.tenant);
        let since = time::add_days(time::day_of(now, &time::TimeZone::UTC), -EVIDENCE_DAYS);
        let mut outcomes: BTreeMap<AdId, Outcome> = BTreeMap::new();
        let zero = Money::zero(tenant.currency);
        for row in store.daily_insights(&tenant.id, since).await? {
            let outcome = outcomes
                .entry(row.ad)
                .or_insert_with(|| Outcome::empty(zero));
            outcome.impressions += row.impressions;
            outcome.clicks += row.clicks;
            outcome.spend = outcome
                .spend
                .checked_add(row.spend)
                .unwrap_or(outcome.spend);
        }
        let from = time::day_start(since, &time::TimeZone::UTC);
        for (ad, totals) in store.revenue_by_ad(&tenant.id, from).await? {
            // What is in another currency cannot be set against what was spent.
            if let Some(ad) = ad.filter(|_| totals.pipeline.currency() == tenant.currency) {
                let outcome = outcomes.entry(ad).or_insert_with(|| Outcome::empty(zero));
                outcome.pipeline = totals.pipeline;
            }
        }
        Ok(outcomes)
    }

    fn records(
        &self,
        structure: &Structure,
        outcomes: &BTreeMap<AdId, Outcome>,
        now: Timestamp,
    ) -> Vec<PastAd> {
        let tenant = &self.context.tenant;
        let none = Outcome::empty(Money::zero(tenant.currency));
        let cycle = tenant.params.sales_cycle_days;
        let index = self.index.load();
        structure
            .ads
            .values()
            .filter_map(|ad| {
                let (text, vector) = (self.texts.get(&ad.id)?, index.vector(&ad.id)?);
                let outcome = outcomes.get(&ad.id).copied().unwrap_or(none);
                Some(PastAd {
                    ad: ad.id.clone(),
                    name: ad.name.clone(),
                    text: text.clone(),
                    format: ad.creative.format.clone(),
                    call_to_action: ad.creative.call_to_action.clone(),
                    theme: winner::theme_of(&ad.creative.link),
                    made_at: Some(ad.created_at),
                    model: self.context.embedder.model().to_owned(),
                    vector: vector.to_vec(),
                    impressions: outcome.impressions,
                    clicks: outcome.clicks,
                    spend: outcome.spend,
                    pipeline: outcome.pipeline,
                    is_winner: winner::is_winner(&outcome),
                    is_mature: winner::is_mature(&outcome, Some(ad.created_at), cycle, now),
                    is_by_hand: false,
                    is_left_out: false,
                    updated_at: now,
                })
            })
            .collect()
    }

    /// What look-alikes may lend: judged by value for a click, which is what they lend about.
    fn judge(&self, records: &[PastAd]) -> f64 {
        let params = &self.context.tenant.params;
        let mature = || records.iter().filter(|past| past.is_mature);
        let worths = mature().map(|past| past.pipeline.to_f64());
        let Some(unit) = cases::least_worth(worths) else {
            return 1.0;
        };
        let past: Vec<(&AdId, f64, f64)> = mature()
            .map(|past| {
                let events = (past.pipeline.to_f64() / unit).max(0.0);
                (&past.ad, events, past.clicks as f64)
            })
            .collect();
        let cases = cases::cases(&self.index.load(), &past, params.k_text);
        retrieval::judge(&cases, params.a_text).map_or(1.0, |judgement| judgement.weight)
    }

    fn publish(&self, structure: &Structure) {
        let k = self.context.tenant.params.k_text;
        let index = self.index.load();
        let neighbours: Neighbours = structure
            .ads
            .keys()
            .filter_map(|ad| {
                let vector = index.vector(ad)?;
                // What an operator brought has no ledger that could lend anything.
                let keep = |other: &AdId| other != ad && structure.ads.contains_key(other);
                let found = index.search(vector, k, &keep).ok()?;
                let found = found
                    .into_iter()
                    .map(|(id, cosine)| (id, retrieval::weighed(f64::from(cosine), self.weight)));
                Some((ad.clone(), found.collect()))
            })
            .collect();
        self.context.neighbours.store(Arc::new(neighbours));
    }
}
