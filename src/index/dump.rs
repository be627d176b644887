//! The links of a large index in a file, so that a start need not build them again. The store is
//! the truth and the file a cache of it: it holds links, names and fingerprints, no vector. One that
//! is missing, cut off, changed by a single bit or of another version is an error here and the
//! links are built anew; one that is older than the store serves as far as its fingerprints agree.
//!
//! It is written beside its place, synced and renamed, so that a process that is killed leaves the
//! old one or the new one.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::graph::{Graph, NONE, fingerprint};
use super::rows::{Row, Rows};
use super::{BadVector, Index};
use crate::domain::ids::AdId;

const MAGIC: &[u8; 16] = b"roasd links v1\r\n";
const SHA: usize = 32;

/// Why a file of links is of no use.
#[derive(Debug, thiserror::Error)]
pub enum BadDump {
    /// It cannot be read.
    #[error("the links cannot be read")]
    Unreadable(#[from] io::Error),
    /// It is not what was written.
    #[error("the links are not what was written: {0}")]
    Damaged(&'static str),
    /// A vector of the store does not fit.
    #[error("a stored vector does not fit")]
    Vector(#[from] BadVector),
}

impl Index {
    /// Writes the links and what they belong to. Without links nothing is written.
    ///
    /// # Errors
    /// When the file cannot be written; an older one stays as it was.
    pub fn dump(&self, path: &Path) -> io::Result<bool> {
        let Some(graph) = &self.graph else {
            return Ok(false);
        };
        let payload = self.payload(graph);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let fresh = path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(MAGIC)?;
        file.write_all(&Sha256::digest(&payload))?;
        file.write_all(&payload)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(true)
    }

    fn payload(&self, graph: &Graph) -> Vec<u8> {
        let mut out = Vec::with_capacity(graph.bytes() + graph.covered() * 40);
        let mut put = |number: usize| out.extend_from_slice(&(number as u32).to_le_bytes());
        put(self.dimension());
        put(graph.covered);
        put(graph.faces.len());
        put(graph.members.len());
        put(graph.loose.len());
        put(graph.upper.len());
        put(graph.entry as usize);
        for list in [&graph.starts, &graph.members, &graph.ground, &graph.loose] {
            list.iter().for_each(|number| put(*number as usize));
        }
        for layer in &graph.upper {
            put(layer.len());
            let sorted: BTreeMap<&u32, &Vec<u32>> = layer.iter().collect();
            for (node, links) in sorted {
                put(*node as usize);
                put(links.len());
                links.iter().for_each(|link| put(*link as usize));
            }
        }
        for row in 0..graph.covered as Row {
            let ad = self.rows.ad(row).as_str();
            out.extend_from_slice(&fingerprint(self.rows.vector(row)).to_le_bytes());
            out.extend_from_slice(&(ad.len() as u32).to_le_bytes());
            out.extend_from_slice(ad.as_bytes());
        }
        out
    }

    /// The index of these ads, with links from a file. Ads that the file does not know, or knows
    /// with another vector, are in all the same; ads that only the file knows are not.
    ///
    /// # Errors
    /// When the file is of no use or a vector does not fit: then [`Index::of`] is what is left.
    pub fn restore(
        path: &Path,
        dimension: usize,
        past: &BTreeMap<AdId, Vec<f32>>,
    ) -> Result<Self, BadDump> {
        let bytes = fs::read(path)?;
        let (graph, known) = parse(&bytes, dimension)?;
        let mut index = Self::new(dimension);
        let nothing = vec![0.0; dimension];
        let places = Arc::make_mut(&mut index.places);
        for (ad, print) in known {
            let same = past.get(&ad).filter(|vector| {
                vector.len() == dimension
                    && fingerprint(vector) == print
                    && !places.contains_key(&ad)
            });
            let row = index
                .rows
                .push(ad.clone(), same.map_or(&nothing, |vector| vector));
            if same.is_some() {
                places.insert(ad, row);
            } else {
                // Its links still lead on, from nowhere in particular.
                index.rows.bury(row);
            }
        }
        index.graph = Some(Arc::new(graph.facing(&index.rows)));
        for (ad, vector) in past {
            index.insert(ad.clone(), vector)?;
        }
        Ok(index)
    }

    /// The index of these ads, without links.
    ///
    /// # Errors
    /// When a vector does not fit.
    pub fn of(dimension: usize, past: &BTreeMap<AdId, Vec<f32>>) -> Result<Self, BadVector> {
        let mut index = Self::new(dimension);
        for (ad, vector) in past {
            index.insert(ad.clone(), vector)?;
        }
        Ok(index)
    }
}

impl Graph {
    /// Lets a living row stand for each node, where one is left.
    fn facing(mut self, rows: &Rows) -> Self {
        for (node, face) in self.faces.iter_mut().enumerate() {
            let members = &self.members[self.starts[node] as usize..self.starts[node + 1] as usize];
            *face = members
                .iter()
                .copied()
                .find(|row| !rows.is_dead(*row))
                .unwrap_or(*face);
        }
        self
    }
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], BadDump> {
        let (taken, rest) = self
            .0
            .split_at_checked(n)
            .ok_or(BadDump::Damaged("it is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, BadDump> {
        let bytes = self.take(4)?.first_chunk().copied().unwrap_or_default();
        Ok(u32::from_le_bytes(bytes))
    }

    fn below(&mut self, end: usize) -> Result<u32, BadDump> {
        let number = self.number()?;
        if (number as usize) < end {
            Ok(number)
        } else {
            Err(BadDump::Damaged("a number leads nowhere"))
        }
    }

    fn list(&mut self, n: usize, end: usize) -> Result<Vec<u32>, BadDump> {
        let mut list = Vec::with_capacity(n.min(self.0.len() / 4));
        for _ in 0..n {
            list.push(self.below(end)?);
        }
        Ok(list)
    }
}

type Known = Vec<(AdId, u64)>;

/// Reads a file: nothing in it is believed, not even after its checksum agreed.
fn parse(bytes: &[u8], dimension: usize) -> Result<(Graph, Known), BadDump> {
    let mut rest = Rest(bytes);
    if rest.take(MAGIC.len())? != MAGIC {
        return Err(BadDump::Damaged("it is of another version"));
    }
    let sum = rest.take(SHA)?;
    if Sha256::digest(rest.0).as_slice() != sum {
        return Err(BadDump::Damaged("its checksum differs"));
    }
    if rest.number()? as usize != dimension {
        return Err(BadDump::Damaged("it is of another dimension"));
    }
    let covered = rest.number()? as usize;
    let nodes = rest.number()? as usize;
    let members = rest.number()? as usize;
    let loose = rest.number()? as usize;
    let layers = rest.number()? as usize;
    let entry = rest.below(nodes)?;
    let starts = rest.list(nodes + 1, members + 1)?;
    if starts.first() != Some(&0)
        || starts.last().map(|end| *end as usize) != Some(members)
        || !starts.is_sorted_by(|a, b| a < b)
    {
        return Err(BadDump::Damaged("its groups are out of order"));
    }
    let members = rest.list(members, covered)?;
    let ground = rest.ground(nodes)?;
    let loose = rest.list(loose, nodes)?;
    let mut upper = Vec::new();
    for _ in 0..layers {
        let mut layer = HashMap::new();
        for _ in 0..rest.number()? {
            let node = rest.below(nodes)?;
            let count = rest.number()? as usize;
            layer.insert(node, rest.list(count, nodes)?);
        }
        upper.push(layer);
    }
    let mut known = Vec::new();
    for _ in 0..covered {
        let print = rest.take(8)?.first_chunk().copied().unwrap_or_default();
        let length = rest.number()? as usize;
        let ad = std::str::from_utf8(rest.take(length)?)
            .ok()
            .and_then(|text| AdId::new(text).ok())
            .ok_or(BadDump::Damaged("a name is none"))?;
        known.push((ad, u64::from_le_bytes(print)));
    }
    if !rest.0.is_empty() {
        return Err(BadDump::Damaged("it is too long"));
    }
    let faces = starts
        .iter()
        .take(nodes)
        .filter_map(|start| members.get(*start as usize).copied())
        .collect();
    let graph = Graph {
        covered,
        faces,
        starts,
        members,
        ground,
        upper,
        entry,
        loose,
    };
    Ok((graph, known))
}

impl Rest<'_> {
    fn ground(&mut self, nodes: usize) -> Result<Vec<u32>, BadDump> {
        let count = nodes * super::graph::GROUND_LINKS;
        let mut list = Vec::with_capacity(count.min(self.0.len() / 4));
        for _ in 0..count {
            let link = self.number()?;
            if link != NONE && link as usize >= nodes {
                return Err(BadDump::Damaged("a link leads nowhere"));
            }
            list.push(link);
        }
        Ok(list)
    }
}
