//! Finds what is like a vector or a text, for whoever asks from outside: vectors that callers brought
//! lie in a space of their own, by which roasd decides nothing, and texts are compared with the
//! winners among a tenant's past ads.
//!
//! The store is the truth. What is kept in memory here is brought up to it at each question, and
//! bounded: of few tenants, and of each so many numbers at most.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as AsyncMutex;

use crate::clock::Clock;
use crate::domain::ids::{AdId, TenantId};
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::index::{DIMENSION_MAX, Index};
use crate::store::brought::{Brought, BroughtVector};
use crate::store::winners::PastAd;
use crate::store::{Store, StoreError};
use crate::vendors::embedder::Embedder;

/// Tenants whose vectors are kept in memory.
const TENANTS_KEPT: usize = 8;
/// Numbers in all vectors of a tenant: 80 MiB with their codes.
const NUMBERS_MAX: usize = 16 * 1_024 * 1_024;
/// Vectors of a tenant, however short: so many are scanned in a millisecond.
const VECTORS_MAX: usize = 20_000;
/// How long past ads are taken as they were read; their figures change a few times a day.
const PAST_STAND: SignedDuration = time::minutes(1);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LikeError {
    /// The vector has no use.
    #[error("{0}")]
    Vector(&'static str),
    /// It is of another length than those that were brought before.
    #[error("it has {found} numbers where the vectors that were brought before have {expected}")]
    Length {
        /// Theirs.
        expected: usize,
        /// Its own.
        found: usize,
    },
    /// There is room for no more.
    #[error("{room} vectors of this length are kept, and no more")]
    Full {
        /// How many.
        room: u64,
    },
    /// The text has nothing to go by.
    #[error("it has no word to go by")]
    Text,
    /// The store does not answer.
    #[error("the vectors cannot be read or written")]
    Store(#[from] StoreError),
}

/// An ad that is like what was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Like<T> {
    /// The ad.
    pub ad: AdId,
    /// The cosine, -1 to 1.
    pub similarity: f32,
    /// What is known of it.
    pub about: T,
}

/// How many past ads a tenant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PastCounts {
    /// All of them.
    pub ads: u64,
    /// Winners.
    pub winners: u64,
    /// Those whose outcome can be judged and that did not win.
    pub losers: u64,
    /// Those that an operator left out, which are none of the others.
    pub left_out: u64,
}

/// What there is to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LikeStats {
    /// Vectors that were brought.
    pub vectors: u64,
    /// Their length; `None` while there are none.
    pub dimension: Option<u64>,
    /// How many of that length there may be.
    pub room: Option<u64>,
    /// Past ads.
    pub past: PastCounts,
    /// What makes vectors of their texts.
    pub model: String,
    /// The length of those.
    pub model_dimension: u64,
}

/// The vectors that a tenant's callers brought, as of a revision.
struct Space {
    revision: i64,
    index: Index,
}

impl Default for Space {
    fn default() -> Self {
        Self {
            revision: 0,
            index: Index::new(0),
        }
    }
}

/// A tenant's past ads, as they were read.
struct Past {
    read_at: Timestamp,
    /// Of the winners.
    index: Index,
    /// The winners, their vectors left out.
    winners: BTreeMap<AdId, PastAd>,
    counts: PastCounts,
}

#[derive(Default)]
struct Known {
    space: AsyncMutex<Space>,
    past: AsyncMutex<Option<Arc<Past>>>,
}

/// Finds what is like something.
pub struct LikeAds {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    embedder: Arc<dyn Embedder>,
    /// Of each tenant, the one asked for last at the end.
    known: Mutex<Vec<(TenantId, Arc<Known>)>>,
}

impl LikeAds {
    /// Finds by what `store` knows, and texts by `embedder`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, embedder: Arc<dyn Embedder>) -> Self {
        Self {
            store,
            clock,
            embedder,
            known: Mutex::default(),
        }
    }

    /// Keeps a vector for an ad, in place of an older one; how many there are then.
    ///
    /// # Errors
    /// When the vector has no use beside the others, there is no room, or the store does not answer.
    pub async fn bring(
        &self,
        tenant: &TenantId,
        ad: AdId,
        vector: &[f64],
        metadata: String,
    ) -> Result<u64, LikeError> {
        let vector = unit(vector)?;
        let found = vector.len();
        let room = room(found);
        let brought = BroughtVector {
            ad,
            vector,
            metadata,
            at: self.clock.now(),
        };
        match self.store.bring_vector(tenant, &brought, room).await? {
            Brought::Kept { vectors } => Ok(vectors),
            Brought::OtherLength { expected } => Err(LikeError::Length { expected, found }),
            Brought::Full => Err(LikeError::Full { room }),
        }
    }

    /// The `k` ads whose brought vectors are most like this one, with what was said of them.
    ///
    /// # Errors
    /// When the vector cannot be compared with the others, or the store does not answer.
    pub async fn like_vector(
        &self,
        tenant: &TenantId,
        vector: &[f64],
        k: usize,
    ) -> Result<Vec<Like<String>>, LikeError> {
        let vector = unit(vector)?;
        let index = self.space(tenant).await?;
        if index.is_empty() {
            return Ok(Vec::new());
        }
        let other = |_| LikeError::Length {
            expected: index.dimension(),
            found: vector.len(),
        };
        let near = index.scan(&vector, k, &|_| true).map_err(other)?;
        let ads: Vec<AdId> = near.iter().map(|(ad, _)| ad.clone()).collect();
        let mut said = self.store.brought_metadata(tenant, &ads).await?;
        Ok(near
            .into_iter()
            .map(|(ad, similarity)| Like {
                about: said.remove(&ad).unwrap_or_default(),
                ad,
                similarity,
            })
            .collect())
    }

    /// The `k` winners among past ads that are most like a text.
    ///
    /// # Errors
    /// When the text has nothing to go by, or the store does not answer.
    pub async fn like_text(
        &self,
        tenant: &TenantId,
        text: &str,
        k: usize,
    ) -> Result<Vec<Like<PastAd>>, LikeError> {
        let vector = self.embedder.embed(text).ok_or(LikeError::Text)?;
        let past = self.past(tenant).await?;
        // The embedder's own vectors are of its length.
        let near = past.index.search(&vector, k, &|_| true);
        Ok(near
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(ad, similarity)| {
                let about = past.winners.get(&ad)?.clone();
                Some(Like {
                    ad,
                    similarity,
                    about,
                })
            })
            .collect())
    }

    /// What there is to compare with.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn stats(&self, tenant: &TenantId) -> Result<LikeStats, LikeError> {
        let index = self.space(tenant).await?;
        let past = self.past(tenant).await?;
        let dimension = Some(index.dimension()).filter(|_| !index.is_empty());
        Ok(LikeStats {
            vectors: index.len() as u64,
            dimension: dimension.map(|dimension| dimension as u64),
            room: dimension.map(room),
            past: past.counts,
            model: self.embedder.model().to_owned(),
            model_dimension: self.embedder.dimension() as u64,
        })
    }

    fn known(&self, tenant: &TenantId) -> Arc<Known> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let place = all.iter().position(|(id, _)| id == tenant);
        let entry = match place {
            Some(place) => all.remove(place),
            None => (tenant.clone(), Arc::default()),
        };
        let known = entry.1.clone();
        all.push(entry);
        if all.len() > TENANTS_KEPT {
            all.remove(0);
        }
        known
    }

    /// The vectors as the store has them now.
    async fn space(&self, tenant: &TenantId) -> Result<Index, StoreError> {
        let known = self.known(tenant);
        let mut space = known.space.lock().await;
        if space.index.is_mostly_dead() {
            *space = Space::default();
        }
        let newer = self.store.brought_vectors(tenant, space.revision).await?;
        for kept in newer {
            // The store lets no other length in beside others: this one has taken the only place.
            if kept.vector.len() != space.index.dimension() {
                space.index = Index::new(kept.vector.len());
            }
            if let Err(error) = space.index.insert(kept.ad.clone(), &kept.vector) {
                tracing::error!(
                    tenant.id = %tenant, ad.id = %kept.ad, %error,
                    "the vector that was brought for {} is passed over: {error}", kept.ad
                );
            }
            space.revision = kept.revision;
        }
        Ok(space.index.clone())
    }

    async fn past(&self, tenant: &TenantId) -> Result<Arc<Past>, StoreError> {
        let known = self.known(tenant);
        let mut past = known.past.lock().await;
        let now = self.clock.now();
        if let Some(past) = past.as_ref()
            && now < time::add(past.read_at, PAST_STAND)
        {
            return Ok(past.clone());
        }
        let read = self.store.past_ads(tenant, self.embedder.model()).await?;
        let fresh = Arc::new(Past::of(read, self.embedder.dimension(), now));
        *past = Some(fresh.clone());
        Ok(fresh)
    }
}

impl Past {
    fn of(read: Vec<PastAd>, dimension: usize, read_at: Timestamp) -> Self {
        let mut counts = PastCounts {
            ads: read.len() as u64,
            ..PastCounts::default()
        };
        let mut index = Index::new(dimension);
        let mut winners = BTreeMap::new();
        for mut past in read {
            if past.is_left_out {
                counts.left_out += 1;
            } else if past.is_winner {
                counts.winners += 1;
                let vector = std::mem::take(&mut past.vector);
                // One of another length is an older embedder's, and is soon made anew.
                if index.insert(past.ad.clone(), &vector).is_ok() {
                    winners.insert(past.ad.clone(), past);
                }
            } else if past.is_mature {
                counts.losers += 1;
            }
        }
        Self {
            read_at,
            index,
            winners,
            counts,
        }
    }
}

/// How many vectors of a length a tenant may have.
fn room(dimension: usize) -> u64 {
    (NUMBERS_MAX / dimension.max(1)).min(VECTORS_MAX) as u64
}

/// The vector of length 1 in the same direction.
fn unit(vector: &[f64]) -> Result<Vec<f32>, LikeError> {
    let bad = |what| Err(LikeError::Vector(what));
    if vector.is_empty() {
        return bad("it has no numbers");
    }
    if vector.len() > DIMENSION_MAX {
        return bad("it has more than 8192 numbers");
    }
    if vector.iter().any(|x| !x.is_finite()) {
        return bad("a number in it is not finite");
    }
    let largest = vector.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    if largest == 0.0 {
        return bad("it is zero throughout, which has no direction");
    }
    // Brought to a size at which squares neither overflow nor vanish.
    let scaled = vector.iter().map(|x| x / largest);
    let norm = scaled.clone().map(|x| x * x).sum::<f64>().sqrt();
    Ok(scaled.map(|x| (x / norm) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_of_any_size_has_a_direction() {
        for size in [1.0, 1e-310, 1e-40, 1e30, 1e300] {
            let found = unit(&[3.0 * size, -4.0 * size]).unwrap();
            assert!(
                (found[0] - 0.6).abs() < 1e-6 && (found[1] + 0.8).abs() < 1e-6,
                "{size}"
            );
        }
        assert_eq!(unit(&[0.0, 5e-324]).unwrap(), [0.0, 1.0]);
    }

    #[test]
    fn a_vector_without_a_direction_has_no_use() {
        for vector in [
            &[] as &[f64],
            &[0.0, -0.0],
            &[1.0, f64::NAN],
            &[f64::INFINITY],
            &vec![1.0; DIMENSION_MAX + 1],
        ] {
            let found = unit(vector);
            assert!(matches!(found, Err(LikeError::Vector(_))), "{found:?}");
        }
        assert!(unit(&vec![1.0; DIMENSION_MAX]).is_ok());
    }

    #[test]
    fn room_is_bounded_in_numbers() {
        for (dimension, expected) in [(1, 20_000), (768, 20_000), (1_536, 10_922), (8_192, 2_048)] {
            assert_eq!(room(dimension), expected, "{dimension}");
        }
    }
}
