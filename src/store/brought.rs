//! Vectors that somebody brings for ads: in a space of their own, apart from those that roasd makes.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{AdId, TenantId};
use crate::domain::time::Timestamp;

/// A vector that somebody brings.
#[derive(Debug, Clone, PartialEq)]
pub struct BroughtVector {
    /// The ad it stands for, in the words of whoever brings it.
    pub ad: AdId,
    /// The vector, of unit length.
    pub vector: Vec<f32>,
    /// What else was said of the ad: a JSON object.
    pub metadata: String,
    /// When it was brought.
    pub at: Timestamp,
}

/// A vector that is kept, with its place in the order of all changes.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptVector {
    /// Greater than that of any vector kept or replaced before it.
    pub revision: i64,
    /// The ad.
    pub ad: AdId,
    /// The vector.
    pub vector: Vec<f32>,
}

/// What became of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    /// It is kept.
    Kept {
        /// How many are now.
        vectors: u64,
    },
    /// The vectors of other ads have another length.
    OtherLength {
        /// Theirs.
        expected: usize,
    },
    /// There is room for no more.
    Full,
}

/// Vectors that somebody brings.
#[async_trait]
pub trait BroughtStore {
    /// Keeps a vector, in place of an older one of that ad. It is refused, and nothing changes, where
    /// the vectors of other ads have another length, or are `room` or more.
    async fn bring_vector(
        &self,
        tenant: &TenantId,
        brought: &BroughtVector,
        room: u64,
    ) -> Result<Brought, StoreError>;

    /// The vectors that were kept or replaced after a revision, in that order; 0 is before all.
    async fn brought_vectors(
        &self,
        tenant: &TenantId,
        after: i64,
    ) -> Result<Vec<KeptVector>, StoreError>;

    /// What was said of these ads; those that nobody brought are left out.
    async fn brought_metadata(
        &self,
        tenant: &TenantId,
        ads: &[AdId],
    ) -> Result<BTreeMap<AdId, String>, StoreError>;
}
