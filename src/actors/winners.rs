//! Keeps one tenant's index of past ads, and publishes each ad's look-alikes for the optimizer, so
//! that a decision never waits for a search. The store holds the truth; the index here is a cache
//! of it, rebuilt at start.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::context::{Context, Neighbours, weather};
use super::stage::{Broken, Progress, Stage, Work};
use crate::domain::ids::AdId;
use crate::domain::money::Money;
use crate::domain::time::{self, Timestamp};
use crate::domain::winner::{self, Outcome};
use crate::index::Index;
use crate::store::StoreError;
use crate::store::winners::PastAd;

/// How often the stage looks by itself; the sync nudges it besides.
const LOOK_EVERY: time::SignedDuration = time::hours(6);
/// Outcomes are looked at this often; new ads at once.
const REFRESH_EVERY: time::SignedDuration = time::hours(12);
/// How far back an ad's figures count as its outcome.
const EVIDENCE_DAYS: i64 = 365;

/// The work of the winners stage.
pub struct WinnersWork {
    context: Arc<Context>,
    index: Index,
    texts: BTreeMap<AdId, String>,
    is_loaded: bool,
    refreshed_at: Option<Timestamp>,
}

impl WinnersWork {
    /// The work of one tenant.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let index = Index::new(context.embedder.dimension());
        Self {
            context,
            index,
            texts: BTreeMap::new(),
            is_loaded: false,
            refreshed_at: None,
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
        let Context {
            store,
            tenant,
            clock,
            embedder,
            ..
        } = context.as_ref();
        if !self.is_loaded {
            for past in store.past_ads(&tenant.id, embedder.model()).await? {
                // A vector of another length is an old embedder's: its ad is embedded anew.
                if self.index.insert(past.ad.clone(), &past.vector).is_ok() {
                    self.texts.insert(past.ad, past.text);
                }
            }
            self.is_loaded = true;
        }
        let Some((structure, _)) = store.structure(&tenant.id).await? else {
            return Ok(false);
        };
        let now = clock.now();
        let mut has_new = false;
        let mut fresh = Vec::new();
        for ad in structure.ads.values() {
            let text = winner::text_of(&ad.creative);
            if self.texts.get(&ad.id) == Some(&text) {
                continue;
            }
            if let Some(vector) = embedder.embed(&text)
                && self.index.insert(ad.id.clone(), &vector).is_ok()
            {
                self.texts.insert(ad.id.clone(), text);
                fresh.push(ad.id.clone());
                has_new = true;
            }
        }
        let is_due = self
            .refreshed_at
            .is_none_or(|at| time::add(at, REFRESH_EVERY) <= now);
        if !has_new && !is_due {
            return Ok(false);
        }
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
        for (ad, totals) in store.revenue_by_ad(&tenant.id, Timestamp::MIN).await? {
            if let Some(ad) = ad {
                let outcome = outcomes.entry(ad).or_insert_with(|| Outcome::empty(zero));
                outcome.pipeline = totals.pipeline;
            }
        }
        let mut records = Vec::new();
        for ad in structure.ads.values() {
            let (Some(text), Some(vector)) = (self.texts.get(&ad.id), self.index.vector(&ad.id))
            else {
                continue;
            };
            let outcome = outcomes
                .get(&ad.id)
                .copied()
                .unwrap_or_else(|| Outcome::empty(zero));
            records.push(PastAd {
                ad: ad.id.clone(),
                name: ad.name.clone(),
                text: text.clone(),
                model: embedder.model().to_owned(),
                vector: vector.to_vec(),
                impressions: outcome.impressions,
                clicks: outcome.clicks,
                spend: outcome.spend,
                pipeline: outcome.pipeline,
                is_winner: winner::is_winner(&outcome),
                updated_at: now,
            });
        }
        store.record_past_ads(&tenant.id, &records).await?;
        if has_new || context.neighbours.load().is_empty() {
            self.publish(&structure.ads.keys().cloned().collect::<Vec<_>>());
        }
        self.refreshed_at = Some(now);
        let winners = records.iter().filter(|past| past.is_winner).count();
        tracing::debug!(
            tenant.id = %tenant.id, ads = records.len(), winners, new = fresh.len(),
            "the index of {} holds {} past ads, {winners} of them winners", tenant.id, records.len()
        );
        Ok(true)
    }

    fn publish(&self, ads: &[AdId]) {
        let k = self.context.tenant.params.k_text;
        let neighbours: Neighbours = ads
            .iter()
            .filter_map(|ad| {
                let vector = self.index.vector(ad)?;
                let found = self.index.search(vector, k, &|other| other != ad).ok()?;
                let found = found
                    .into_iter()
                    .map(|(id, cosine)| (id, f64::from(cosine)));
                Some((ad.clone(), found.collect()))
            })
            .collect();
        self.context.neighbours.store(Arc::new(neighbours));
    }
}
