//! Finds the past ads whose texts are nearest to one.

pub mod scan;

use crate::domain::ids::AdId;

/// Why a vector cannot be indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadVector {
    /// It is of another length than the index.
    #[error("the vector has {found} numbers where the index has {expected}")]
    Length {
        /// The index's length.
        expected: usize,
        /// The vector's length.
        found: usize,
    },
    /// It holds a number that is none, or its length is not 1.
    #[error("the vector is not a finite one of unit length")]
    NotUnit,
}

/// An index of one tenant's past ads under one embedder.
pub trait WinnerIndex {
    /// Adds an ad, or replaces its vector.
    ///
    /// # Errors
    /// When the vector does not fit; the index stays as it is.
    fn insert(&mut self, ad: AdId, vector: &[f32]) -> Result<(), BadVector>;

    /// Takes an ad out; `false` when it was not in.
    fn remove(&mut self, ad: &AdId) -> bool;

    /// The vector of an ad.
    fn vector(&self, ad: &AdId) -> Option<&[f32]>;

    /// The `k` nearest ads that `keep` keeps, nearest first, each with its cosine; of equally near
    /// ones the lesser id first. A vector that does not fit finds nothing.
    fn search(&self, vector: &[f32], k: usize, keep: &dyn Fn(&AdId) -> bool) -> Vec<(AdId, f32)>;
}
