//! Past ads as cases for judging what look-alikes are worth.

use std::collections::BTreeMap;

use super::Index;
use crate::domain::ids::AdId;
use crate::domain::retrieval::{Case, similarity};

/// A case for each of these ads that is in the index: what happened to it, in what exposure, and
/// its `k` nearest among them.
#[must_use]
pub fn cases(index: &Index, past: &[(&AdId, f64, f64)], k: usize) -> Vec<Case> {
    let indexed: Vec<(&AdId, &[f32], f64, f64)> = past
        .iter()
        .filter_map(|(ad, events, exposure)| Some((*ad, index.vector(ad)?, *events, *exposure)))
        .collect();
    let places: BTreeMap<&AdId, usize> = indexed
        .iter()
        .enumerate()
        .map(|(place, (ad, ..))| (*ad, place))
        .collect();
    indexed
        .iter()
        .map(|(ad, vector, events, exposure)| {
            let keep = |other: &AdId| other != *ad && places.contains_key(other);
            // A vector that is in the index fits it.
            let near = index.search(vector, k, &keep).unwrap_or_default();
            Case {
                events: *events,
                exposure: *exposure,
                near: near
                    .iter()
                    .filter_map(|(other, cosine)| {
                        Some((*places.get(other)?, similarity(f64::from(*cosine))))
                    })
                    .collect(),
            }
        })
        .collect()
}

/// What one conversion is worth among ads with these values: the least that any has. `None` when
/// none has any.
#[must_use]
pub fn least_worth(values: impl Iterator<Item = f64>) -> Option<f64> {
    let least = values
        .filter(|value| *value > 0.0)
        .fold(f64::INFINITY, f64::min);
    least.is_finite().then_some(least)
}
