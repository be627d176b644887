//! The nearest of what two passes show: estimates with a margin first, then whole vectors, and of
//! these only the ones that can still be among the nearest.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::codes::{Query, Scale};
use super::rows::{Row, Rows};
use crate::domain::ids::AdId;

/// A number that can be ordered; none here is NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ordered(f32);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    /// The lesser is the greater, so that a heap's top is the least.
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0)
    }
}

/// The `k` greatest numbers seen.
#[derive(Debug)]
struct Greatest {
    k: usize,
    heap: BinaryHeap<Ordered>,
}

impl Greatest {
    fn new(k: usize) -> Self {
        Self {
            k,
            heap: BinaryHeap::new(),
        }
    }

    fn add(&mut self, number: f32) {
        if self.heap.len() < self.k {
            self.heap.push(Ordered(number));
        } else if let Some(mut least) = self.heap.peek_mut()
            && least.0 < number
        {
            *least = Ordered(number);
        }
    }

    /// The least of the `k`; below it nothing belongs to them.
    fn floor(&self) -> f32 {
        match self.heap.peek() {
            Some(least) if self.heap.len() >= self.k => least.0,
            _ => f32::NEG_INFINITY,
        }
    }
}

/// Gathers estimates and finds the nearest.
pub struct Nearest<'a> {
    rows: &'a Rows,
    query: &'a Query,
    keep: &'a dyn Fn(&AdId) -> bool,
    k: usize,
    /// What is surely reached, at the least.
    sure: Greatest,
    /// Rows that may be among the nearest, each with the most that it can reach.
    candidates: Vec<(f32, Row)>,
}

impl<'a> Nearest<'a> {
    /// Will find the `k` nearest that `keep` keeps.
    #[must_use]
    pub fn new(
        rows: &'a Rows,
        query: &'a Query,
        k: usize,
        keep: &'a dyn Fn(&AdId) -> bool,
    ) -> Self {
        Self {
            rows,
            query,
            keep,
            k,
            sure: Greatest::new(k),
            candidates: Vec::new(),
        }
    }

    /// Looks at a stretch of rows, the first of which is `first`. The filter is asked only about
    /// rows that can still be among the nearest, so it costs next to nothing.
    pub fn add_stretch(&mut self, first: Row, products: &[i32], scales: &[Scale]) {
        let mut floor = self.sure.floor();
        let codes = self.query.codes();
        for (i, (upper, scale)) in products.iter().zip(scales).enumerate() {
            let most = codes.coarse(*upper, *scale) + self.query.margin(scale.coarse);
            if most >= floor {
                let row = first + i as Row;
                let (_, lower, _) = self.rows.halves(row);
                self.weigh(row, codes.fine(*upper, lower, *scale), *scale);
                floor = self.sure.floor();
            }
        }
    }

    fn weigh(&mut self, row: Row, estimate: f32, scale: Scale) {
        let margin = self.query.margin(scale.residual);
        if estimate + margin >= self.sure.floor() {
            self.take(row, estimate, margin);
        }
    }

    fn take(&mut self, row: Row, estimate: f32, margin: f32) {
        if !self.rows.is_dead(row) && (self.keep)(self.rows.ad(row)) {
            self.sure.add(estimate - margin);
            self.candidates.push((estimate + margin, row));
        }
    }

    /// Looks at one row.
    pub fn add(&mut self, row: Row) {
        let halves = self.rows.halves(row);
        self.weigh(row, self.query.codes().with(halves), halves.2);
    }

    /// Whether as many were kept as are asked for.
    #[must_use]
    pub fn are_enough(&self) -> bool {
        self.sure.heap.len() >= self.k
    }

    /// The nearest by their whole vectors, of equally near ones the lesser id first.
    #[must_use]
    pub fn find(mut self) -> Vec<(AdId, f32)> {
        let floor = self.sure.floor();
        self.candidates.retain(|(most, _)| *most >= floor);
        self.candidates
            .sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut reached = Greatest::new(self.k);
        let mut found: Vec<(&AdId, f32)> = Vec::new();
        for (most, row) in &self.candidates {
            if *most < reached.floor() {
                break;
            }
            let exact = self.query.exact(self.rows.vector(*row));
            reached.add(exact);
            found.push((self.rows.ad(*row), exact));
        }
        found.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        found.truncate(self.k);
        found
            .into_iter()
            .map(|(ad, cosine)| (ad.clone(), cosine.clamp(-1.0, 1.0)))
            .collect()
    }
}
