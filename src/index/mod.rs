//! Finds the past ads whose vectors are nearest to one.
//!
//! `distance.rs` multiplies vectors, `codes.rs` makes bytes of them and proves what that costs,
//! `rows.rs` keeps them, `nearest.rs` picks the nearest in two passes, `graph.rs` says which rows
//! are worth a look in a large index, `dump.rs` keeps that over a restart, `shared.rs` lets one
//! search while another writes.

pub mod cases;
pub mod codes;
pub mod distance;
pub mod dump;
pub mod graph;
pub mod nearest;
pub mod rows;
pub mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;

use codes::{Query, UNIT_TOLERANCE};
use graph::Graph;
use nearest::Nearest;
use rows::{Row, Rows};

use crate::domain::ids::AdId;

/// The longest vector that is taken; products of codes stay exact far beyond it.
pub const DIMENSION_MAX: usize = 8_192;

/// From so many ads on links are built; below, a look at every row takes a millisecond or less and
/// misses nothing.
pub const LINKED_FROM: usize = 20_000;

/// Links are built anew when more than one row in so many is taken out, or newer than the links.
const STALE_SHARE: usize = 5;

/// Nodes that a search by links keeps in sight.
const BREADTH: usize = 64;

/// Why a vector cannot be indexed or searched for.
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

/// The vector of length 1 in the same direction; `None` without numbers, with one that is not
/// finite, or without a direction.
#[must_use]
pub fn to_unit(vector: &[f32]) -> Option<Vec<f32>> {
    let norm = vector
        .iter()
        .map(|x| f64::from(*x) * f64::from(*x))
        .sum::<f64>()
        .sqrt();
    (norm.is_finite() && norm > 1e-30).then(|| {
        vector
            .iter()
            .map(|x| (f64::from(*x) / norm) as f32)
            .collect()
    })
}

/// An index of one tenant's past ads under one embedder. A copy is cheap, shares what it can with
/// its original, and stays as it was when the original changes.
#[derive(Debug, Clone)]
pub struct Index {
    rows: Rows,
    places: Arc<BTreeMap<AdId, Row>>,
    graph: Option<Arc<Graph>>,
}

impl Index {
    /// An empty index of vectors of this length.
    #[must_use]
    pub fn new(dimension: usize) -> Self {
        Self {
            rows: Rows::new(dimension),
            places: Arc::default(),
            graph: None,
        }
    }

    /// The numbers in a vector.
    #[must_use]
    pub const fn dimension(&self) -> usize {
        self.rows.dimension()
    }

    /// The ads that are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no ad is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes that vectors, codes and links take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.bytes() + self.graph.as_ref().map_or(0, |graph| graph.bytes())
    }

    /// Whether a vector can be indexed or searched for here.
    ///
    /// # Errors
    /// When it has another length, a number that is none, or is not of unit length.
    pub fn check(&self, vector: &[f32]) -> Result<(), BadVector> {
        if vector.len() != self.dimension() {
            return Err(BadVector::Length {
                expected: self.dimension(),
                found: vector.len(),
            });
        }
        let square = distance::dot(vector, vector);
        if (square - 1.0).abs() < UNIT_TOLERANCE {
            Ok(())
        } else {
            Err(BadVector::NotUnit)
        }
    }

    /// Adds an ad, or replaces its vector.
    ///
    /// # Errors
    /// When the vector does not fit; the index stays as it is.
    pub fn insert(&mut self, ad: AdId, vector: &[f32]) -> Result<(), BadVector> {
        self.check(vector)?;
        if self.vector(&ad) == Some(vector) {
            return Ok(());
        }
        let row = self.rows.push(ad.clone(), vector);
        if let Some(old) = Arc::make_mut(&mut self.places).insert(ad, row) {
            self.rows.bury(old);
        }
        Ok(())
    }

    /// Takes an ad out; `false` when it was not in.
    pub fn remove(&mut self, ad: &AdId) -> bool {
        if !self.places.contains_key(ad) {
            return false;
        }
        if let Some(row) = Arc::make_mut(&mut self.places).remove(ad) {
            self.rows.bury(row);
        }
        true
    }

    /// The vector of an ad.
    #[must_use]
    pub fn vector(&self, ad: &AdId) -> Option<&[f32]> {
        self.places.get(ad).map(|row| self.rows.vector(*row))
    }

    /// The `k` nearest ads that `keep` keeps, nearest first, each with its cosine; of equally near
    /// ones the lesser id first. None is missed, whatever `keep` leaves out.
    ///
    /// # Errors
    /// When the vector does not fit.
    pub fn scan(
        &self,
        vector: &[f32],
        k: usize,
        keep: &dyn Fn(&AdId) -> bool,
    ) -> Result<Vec<(AdId, f32)>, BadVector> {
        self.check(vector)?;
        if k == 0 {
            return Ok(Vec::new());
        }
        let query = Query::new(vector);
        let mut nearest = Nearest::new(&self.rows, &query, k, keep);
        self.rows
            .products(query.codes(), 0, |first, products, scales| {
                nearest.add_stretch(first, products, scales);
            });
        Ok(nearest.find())
    }

    /// The `k` nearest ads: as [`Index::scan`] finds them while the index is small, and nearly so,
    /// many times faster, once it has links. A filter that leaves too few of what the links lead to
    /// has every row looked at, so that none of the nearest is lost to it.
    ///
    /// # Errors
    /// When the vector does not fit.
    pub fn search(
        &self,
        vector: &[f32],
        k: usize,
        keep: &dyn Fn(&AdId) -> bool,
    ) -> Result<Vec<(AdId, f32)>, BadVector> {
        self.search_wide(vector, k, BREADTH.max(2 * k), keep)
    }

    /// The same, with so many nodes kept in sight: more find more and take longer.
    ///
    /// # Errors
    /// When the vector does not fit.
    pub fn search_wide(
        &self,
        vector: &[f32],
        k: usize,
        breadth: usize,
        keep: &dyn Fn(&AdId) -> bool,
    ) -> Result<Vec<(AdId, f32)>, BadVector> {
        let Some(graph) = self.graph.as_ref().filter(|_| k > 0) else {
            return self.scan(vector, k, keep);
        };
        self.check(vector)?;
        let query = Query::new(vector);
        let mut nearest = Nearest::new(&self.rows, &query, k, keep);
        graph.visit(&self.rows, &query, breadth, |row| nearest.add(row));
        let newer = graph.covered() as Row;
        self.rows
            .products(query.codes(), newer, |first, products, scales| {
                nearest.add_stretch(first, products, scales);
            });
        if nearest.are_enough() {
            Ok(nearest.find())
        } else {
            self.scan(vector, k, keep)
        }
    }

    /// Whether most of its rows were taken out or replaced: making it anew frees their memory.
    #[must_use]
    pub fn is_mostly_dead(&self) -> bool {
        self.rows.len() > 2 * self.len() + 64
    }

    /// Whether links should be built: the index is large and has none, or too many rows were taken
    /// out or are newer than they.
    #[must_use]
    pub fn are_links_due(&self) -> bool {
        let newer = self.graph.as_ref().map_or(usize::MAX, |graph| {
            self.rows.len() - graph.covered().min(self.rows.len())
        });
        let dead = self.rows.len() - self.len();
        self.len() >= LINKED_FROM && newer.saturating_add(dead) > self.len() / STALE_SHARE
    }

    /// The same ads in fresh rows, with links.
    #[must_use]
    pub fn linked(&self, is_wanted: &dyn Fn() -> bool) -> Option<Self> {
        let mut rows = Rows::new(self.dimension());
        let mut places = BTreeMap::new();
        for (ad, row) in self.places.iter() {
            places.insert(ad.clone(), rows.push(ad.clone(), self.rows.vector(*row)));
        }
        let graph = Graph::build(&rows, is_wanted)?;
        Some(Self {
            rows,
            places: Arc::new(places),
            graph: Some(Arc::new(graph)),
        })
    }

    /// Takes over what `newer` has otherwise.
    pub(crate) fn follow(&mut self, newer: &Self) {
        let gone: Vec<AdId> = self
            .places
            .keys()
            .filter(|ad| !newer.places.contains_key(*ad))
            .cloned()
            .collect();
        for ad in gone {
            self.remove(&ad);
        }
        for (ad, row) in newer.places.iter() {
            // Both were checked when they came in; an equal vector stays where it is.
            let _ = self.insert(ad.clone(), newer.rows.vector(*row));
        }
    }
}

#[cfg(test)]
mod tests;
