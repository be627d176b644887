//! A graph over the rows of a large index, so that a search looks at some thousand rows of a
//! hundred thousand.
//!
//! It is the layered graph of Malkov and Yashunin, built over the codes that the rows hold anyway:
//! it keeps numbers of rows, never a second copy of a vector, in flat tables that a search walks
//! without allocating at each step. The crate that offers such graphs was not taken: it counts a
//! reference and hashes an id at each step (a third to a quarter of the speed), holds its own copy
//! of every vector, loses its early end under a filter, and ends the process on a truncated file.
//! The same rows make the same links, on every machine.
//!
//! Rows of equal vectors are one node: the same creative runs in many ad sets, and copies would
//! fill each other's links. Rows that came after the graph was built, and nodes that cannot be
//! reached, are looked at one by one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::codes::{Codes, Query};
use super::rows::{Row, Rows};

/// Links of a node above the ground; twice as many on it.
const LINKS: usize = 16;
pub(super) const GROUND_LINKS: usize = 2 * LINKS;
/// Candidates kept while a node's links are chosen.
const BUILD_BREADTH: usize = 100;
const LAYERS_MAX: usize = 8;
/// Marks the end of a node's links.
pub(super) const NONE: u32 = u32::MAX;

/// Links between rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Rows that were there when it was built.
    pub(super) covered: usize,
    /// The row whose vector stands for a node.
    pub(super) faces: Vec<Row>,
    /// Where a node's rows begin in `members`; one more for the end.
    pub(super) starts: Vec<u32>,
    /// The rows of the nodes, node after node.
    pub(super) members: Vec<Row>,
    /// [`GROUND_LINKS`] links a node, filled up with [`NONE`].
    pub(super) ground: Vec<u32>,
    /// Above the ground: the links of those nodes that reach so high. The lowest layer first.
    pub(super) upper: Vec<HashMap<u32, Vec<u32>>>,
    /// Where a search begins.
    pub(super) entry: u32,
    /// Nodes that no path leads to.
    pub(super) loose: Vec<u32>,
}

/// A node with how near it is, ordered by that.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Near(f32, u32);

impl Eq for Near {}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(other.1.cmp(&self.1))
    }
}

impl Graph {
    /// Links the rows that are in; takes a core for a while. `None` when there are none, or when
    /// `is_wanted` says so before it is done.
    #[must_use]
    pub fn build(rows: &Rows, is_wanted: &dyn Fn() -> bool) -> Option<Self> {
        let (faces, starts, members) = group(rows);
        faces.first()?;
        let mut graph = Self {
            covered: rows.len(),
            ground: vec![NONE; faces.len() * GROUND_LINKS],
            upper: Vec::new(),
            entry: 0,
            loose: Vec::new(),
            faces,
            starts,
            members,
        };
        for node in 1..graph.faces.len() as u32 {
            if node.is_multiple_of(256) && !is_wanted() {
                return None;
            }
            graph.link(node, rows);
        }
        graph.find_loose();
        Some(graph)
    }

    /// Links a node with those before it.
    fn link(&mut self, node: u32, rows: &Rows) {
        let top = self.upper.len();
        let height = height(node);
        let codes = rows.codes(self.faces[node as usize]);
        let near = |other: u32| self.near(rows, &codes, other);
        let mut best = Near(near(self.entry), self.entry);
        for layer in (height + 1..=top).rev() {
            best = self.descend(layer, best, near);
        }
        let mut chosen = Vec::new();
        let mut from = vec![best];
        for layer in (0..=height.min(top)).rev() {
            from = self.spread(layer, &from, BUILD_BREADTH, near);
            from.sort_unstable_by(|a, b| b.cmp(a));
            chosen.push((layer, self.choose(rows, &from, LINKS)));
        }
        for (layer, links) in chosen {
            for link in &links {
                self.link_back(layer, *link, node, rows);
            }
            self.set_links(layer, node, &links);
        }
        if height > top {
            self.upper.resize(height, HashMap::new());
            self.entry = node;
        }
    }

    fn link_back(&mut self, layer: usize, from: u32, to: u32, rows: &Rows) {
        let mut links = self.links(layer, from).to_vec();
        links.push(to);
        let room = if layer == 0 { GROUND_LINKS } else { LINKS };
        if links.len() > room {
            let codes = rows.codes(self.faces[from as usize]);
            let mut near: Vec<Near> = links
                .iter()
                .map(|link| Near(self.near(rows, &codes, *link), *link))
                .collect();
            near.sort_unstable_by(|a, b| b.cmp(a));
            links = self.choose(rows, &near, room);
        }
        self.set_links(layer, from, &links);
    }

    /// Of nodes that are near, the nearest first, those that are nearer than any chosen before is to
    /// them: links lead in all directions, and not only into the thickest crowd.
    fn choose(&self, rows: &Rows, near: &[Near], room: usize) -> Vec<u32> {
        let mut chosen: Vec<u32> = Vec::with_capacity(room);
        for Near(nearness, node) in near {
            if chosen.len() == room {
                break;
            }
            let codes = rows.codes(self.faces[*node as usize]);
            if chosen
                .iter()
                .all(|other| self.near(rows, &codes, *other) < *nearness)
            {
                chosen.push(*node);
            }
        }
        chosen
    }

    /// How near a node is to what has these codes.
    #[inline]
    fn near(&self, rows: &Rows, codes: &Codes, node: u32) -> f32 {
        codes.with(rows.halves(self.faces[node as usize]))
    }

    fn set_links(&mut self, layer: usize, node: u32, links: &[u32]) {
        if layer > 0 {
            // A node that reaches higher than all before it opens its layers after this.
            if let Some(layer) = self.upper.get_mut(layer - 1) {
                layer.insert(node, links.to_vec());
            }
            return;
        }
        let places = &mut self.ground[node as usize * GROUND_LINKS..][..GROUND_LINKS];
        places.fill(NONE);
        places
            .iter_mut()
            .zip(links)
            .for_each(|(place, link)| *place = *link);
    }

    fn find_loose(&mut self) {
        let mut is_reached = vec![false; self.faces.len()];
        let mut next = vec![self.entry];
        while let Some(node) = next.pop() {
            if !std::mem::replace(&mut is_reached[node as usize], true) {
                next.extend(self.links(0, node));
            }
        }
        self.loose = (0..self.faces.len() as u32)
            .filter(|node| !is_reached[*node as usize])
            .collect();
    }

    fn links(&self, layer: usize, node: u32) -> &[u32] {
        if layer > 0 {
            let layer = self.upper.get(layer - 1);
            return layer
                .and_then(|layer| layer.get(&node))
                .map_or(&[], Vec::as_slice);
        }
        let places = &self.ground[node as usize * GROUND_LINKS..][..GROUND_LINKS];
        let end = places.iter().position(|link| *link == NONE);
        &places[..end.unwrap_or(GROUND_LINKS)]
    }

    /// Walks one layer for as long as a link leads nearer.
    fn descend(&self, layer: usize, mut best: Near, near: impl Fn(u32) -> f32) -> Near {
        loop {
            let links = self.links(layer, best.1).iter();
            match links.map(|node| Near(near(*node), *node)).max() {
                Some(nearer) if nearer.0 > best.0 => best = nearer,
                _ => return best,
            }
        }
    }

    /// The `breadth` nearest of a layer that links lead to, in no order.
    fn spread(
        &self,
        layer: usize,
        from: &[Near],
        breadth: usize,
        near: impl Fn(u32) -> f32,
    ) -> Vec<Near> {
        let mut seen = vec![0_u64; self.faces.len().div_ceil(64)];
        let mut is_new = |node: u32| {
            let (word, bit) = (&mut seen[node as usize / 64], 1_u64 << (node % 64));
            let is_new = *word & bit == 0;
            *word |= bit;
            is_new
        };
        let mut to_leave: BinaryHeap<Near> = from.iter().copied().collect();
        let mut found: BinaryHeap<Reverse<Near>> = from.iter().copied().map(Reverse).collect();
        from.iter().for_each(|near| {
            is_new(near.1);
        });
        let mut floor = found.peek().map_or(f32::NEG_INFINITY, |worst| worst.0.0);
        while let Some(here) = to_leave.pop() {
            if here.0 < floor && found.len() >= breadth {
                break;
            }
            for node in self.links(layer, here.1) {
                if !is_new(*node) {
                    continue;
                }
                let there = Near(near(*node), *node);
                if found.len() < breadth || there.0 > floor {
                    to_leave.push(there);
                    found.push(Reverse(there));
                    if found.len() > breadth {
                        found.pop();
                    }
                    floor = found.peek().map_or(floor, |worst| worst.0.0);
                }
            }
        }
        found.into_iter().map(|Reverse(near)| near).collect()
    }

    /// Rows that were there when the graph was built: those after them it does not know.
    #[must_use]
    pub const fn covered(&self) -> usize {
        self.covered
    }

    /// The rows of the `breadth` nodes that are nearest, as far as the links lead to them.
    pub fn visit(&self, rows: &Rows, query: &Query, breadth: usize, mut then: impl FnMut(Row)) {
        let near = |node: u32| self.near(rows, query.codes(), node);
        let mut best = Near(near(self.entry), self.entry);
        for layer in (1..=self.upper.len()).rev() {
            best = self.descend(layer, best, near);
        }
        let found = self.spread(0, &[best], breadth, near);
        let found = found.into_iter().map(|Near(_, node)| node);
        for node in found.chain(self.loose.iter().copied()) {
            let (from, to) = (self.starts[node as usize], self.starts[node as usize + 1]);
            self.members[from as usize..to as usize]
                .iter()
                .for_each(|row| then(*row));
        }
    }

    /// Bytes that the links take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let flat = self.ground.len() + self.faces.len() + self.starts.len() + self.members.len();
        let upper: usize = self
            .upper
            .iter()
            .flat_map(HashMap::values)
            .map(|links| links.capacity() + 8)
            .sum();
        (flat + upper) * size_of::<u32>()
    }
}

/// The highest layer that a node reaches: each has one node in [`LINKS`] of the one below. Drawn
/// from the node's number alone.
fn height(node: u32) -> usize {
    let mut x = (u64::from(node) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    // Each four zero bits are one chance in sixteen.
    (x.trailing_zeros() as usize / LINKS.ilog2() as usize).min(LAYERS_MAX)
}

/// Rows with equal vectors together: the first of each group, where groups begin, their rows.
fn group(rows: &Rows) -> (Vec<Row>, Vec<u32>, Vec<Row>) {
    let mut by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut groups: Vec<Vec<Row>> = Vec::new();
    for row in (0..rows.len() as Row).filter(|row| !rows.is_dead(*row)) {
        let vector = rows.vector(row);
        let same_hash = by_hash.entry(fingerprint(vector)).or_default();
        let same = same_hash
            .iter()
            .find(|group| rows.vector(groups[**group][0]) == vector);
        if let Some(group) = same {
            groups[*group].push(row);
        } else {
            same_hash.push(groups.len());
            groups.push(vec![row]);
        }
    }
    let mut starts = vec![0];
    let mut members = Vec::new();
    for group in &groups {
        members.extend_from_slice(group);
        starts.push(members.len() as u32);
    }
    let faces = groups.iter().map(|group| group[0]).collect();
    (faces, starts, members)
}

/// A number that differs for vectors that differ, as good as always; the same on every machine.
#[must_use]
pub(super) fn fingerprint(vector: &[f32]) -> u64 {
    // Four chains at a time: one alone would wait for its own multiplications.
    let mut chains = [
        0xcbf2_9ce4_8422_2325_u64,
        0x9e37_79b9_7f4a_7c15,
        0xc2b2_ae3d_27d4_eb4f,
        0x1656_67b1_9e37_79f9,
    ];
    let (fours, rest) = vector.as_chunks::<4>();
    let mut mix = |at: usize, x: f32| {
        chains[at] = (chains[at] ^ u64::from(x.to_bits())).wrapping_mul(0x0000_0100_0000_01b3);
    };
    for four in fours {
        four.iter().enumerate().for_each(|(at, x)| mix(at, *x));
    }
    rest.iter().for_each(|x| mix(0, *x));
    chains.into_iter().fold(vector.len() as u64, |all, chain| {
        (all.rotate_left(17) ^ chain ^ (chain >> 29)).wrapping_mul(0xff51_afd7_ed55_8ccd)
    })
}
