//! The vectors of an index, in rows that never move: each whole and in codes. Rows lie in blocks
//! behind counted references, so that a copy of all of them costs next to nothing and whoever
//! searches an old copy keeps it while a new one is written.

use std::sync::Arc;

use super::codes::{Codes, Scale, encode, row_length};
use super::distance;
use crate::domain::ids::AdId;

/// Rows in a block.
pub const BLOCK: usize = 1_024;

/// The number of a row.
pub type Row = u32;

#[derive(Debug, Clone)]
struct Block {
    ads: Vec<AdId>,
    scales: Vec<Scale>,
    upper: Vec<u8>,
    lower: Vec<u8>,
    vectors: Vec<f32>,
}

/// The rows.
#[derive(Debug, Clone)]
pub struct Rows {
    dimension: usize,
    length: usize,
    blocks: Vec<Arc<Block>>,
    /// A bit for each row that is taken out.
    dead: Arc<Vec<u64>>,
}

impl Rows {
    /// No rows.
    #[must_use]
    pub fn new(dimension: usize) -> Self {
        Self {
            dimension,
            length: 0,
            blocks: Vec::new(),
            dead: Arc::default(),
        }
    }

    /// The numbers in a vector.
    #[must_use]
    pub const fn dimension(&self) -> usize {
        self.dimension
    }

    /// Rows, those that are taken out among them.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no row.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds a row. The vector must have been checked.
    pub fn push(&mut self, ad: AdId, vector: &[f32]) -> Row {
        let at = self.length;
        if at.is_multiple_of(BLOCK) {
            self.blocks.push(Arc::new(Block {
                ads: Vec::new(),
                scales: Vec::new(),
                upper: Vec::new(),
                lower: Vec::new(),
                vectors: Vec::new(),
            }));
        }
        let half = row_length(self.dimension) / 2;
        if let Some(block) = self.blocks.last_mut().map(Arc::make_mut) {
            let from = block.upper.len();
            block.upper.resize(from + half, 0);
            block.lower.resize(from + half, 0);
            let (upper, lower) = (&mut block.upper[from..], &mut block.lower[from..]);
            block.scales.push(encode(vector, upper, lower));
            block.vectors.extend_from_slice(vector);
            block.ads.push(ad);
        }
        self.length += 1;
        if at / 64 >= self.dead.len() {
            Arc::make_mut(&mut self.dead).push(0);
        }
        at as Row
    }

    /// Takes a row out.
    pub fn bury(&mut self, row: Row) {
        if let Some(bits) = Arc::make_mut(&mut self.dead).get_mut(row as usize / 64) {
            *bits |= 1 << (row % 64);
        }
    }

    /// Whether a row is taken out.
    #[must_use]
    #[inline]
    pub fn is_dead(&self, row: Row) -> bool {
        self.dead
            .get(row as usize / 64)
            .is_some_and(|bits| bits >> (row % 64) & 1 == 1)
    }

    /// The ad of a row.
    #[must_use]
    pub fn ad(&self, row: Row) -> &AdId {
        &self.block(row).ads[row as usize % BLOCK]
    }

    /// The whole vector of a row.
    #[must_use]
    pub fn vector(&self, row: Row) -> &[f32] {
        let at = row as usize % BLOCK * self.dimension;
        &self.block(row).vectors[at..at + self.dimension]
    }

    /// The halves of the codes of a row, the upper ones first.
    #[must_use]
    #[inline]
    pub fn halves(&self, row: Row) -> (&[u8], &[u8], Scale) {
        let block = self.block(row);
        let (at, half) = (row as usize % BLOCK, row_length(self.dimension) / 2);
        (
            &block.upper[at * half..(at + 1) * half],
            &block.lower[at * half..(at + 1) * half],
            block.scales[at],
        )
    }

    /// The codes of a row, to compare others with.
    #[must_use]
    pub fn codes(&self, row: Row) -> Codes {
        let (upper, lower, scale) = self.halves(row);
        Codes::of_row(upper, lower, scale)
    }

    /// The products of a query's codes with the upper halves of the rows from `from` on, block by
    /// block: `then` is told the first row of each stretch, the products and the scales.
    pub fn products(&self, query: &Codes, from: Row, mut then: impl FnMut(Row, &[i32], &[Scale])) {
        let mut products = [0; BLOCK];
        let half = row_length(self.dimension) / 2;
        let mut first = from as usize;
        while first < self.length {
            let block = &self.blocks[first / BLOCK];
            let skipped = first % BLOCK;
            let (upper, scales) = (&block.upper[skipped * half..], &block.scales[skipped..]);
            let out = &mut products[..scales.len()];
            distance::dot_halves(query.as_slice(), upper, out);
            then(first as Row, out, scales);
            first += scales.len();
        }
    }

    #[inline]
    fn block(&self, row: Row) -> &Block {
        &self.blocks[row as usize / BLOCK]
    }

    /// Bytes that the rows take, the names of the ads left out.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.blocks
            .iter()
            .map(|block| {
                block.upper.capacity()
                    + block.lower.capacity()
                    + block.vectors.capacity() * size_of::<f32>()
                    + block.scales.capacity() * size_of::<Scale>()
            })
            .sum()
    }
}
