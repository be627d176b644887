//! The exact index: looks at every vector. Below some ten thousand ads it is as fast as a graph,
//! misses nothing, and filters for free.

use std::collections::BTreeMap;

use super::{BadVector, WinnerIndex};
use crate::domain::ids::AdId;

/// Lanes that are summed apart, so that the compiler can use wide registers.
const LANES: usize = 16;

/// The exact index.
#[derive(Debug, Clone)]
pub struct Scan {
    dimension: usize,
    vectors: BTreeMap<AdId, Box<[f32]>>,
}

impl Scan {
    /// An empty index of vectors of this length.
    #[must_use]
    pub const fn new(dimension: usize) -> Self {
        Self {
            dimension,
            vectors: BTreeMap::new(),
        }
    }

    fn check(&self, vector: &[f32]) -> Result<(), BadVector> {
        if vector.len() != self.dimension {
            return Err(BadVector::Length {
                expected: self.dimension,
                found: vector.len(),
            });
        }
        let norm = dot(vector, vector);
        if (norm - 1.0).abs() < 1e-3 {
            Ok(())
        } else {
            Err(BadVector::NotUnit)
        }
    }
}

impl WinnerIndex for Scan {
    fn insert(&mut self, ad: AdId, vector: &[f32]) -> Result<(), BadVector> {
        self.check(vector)?;
        self.vectors.insert(ad, vector.into());
        Ok(())
    }

    fn remove(&mut self, ad: &AdId) -> bool {
        self.vectors.remove(ad).is_some()
    }

    fn vector(&self, ad: &AdId) -> Option<&[f32]> {
        self.vectors.get(ad).map(AsRef::as_ref)
    }

    fn search(&self, vector: &[f32], k: usize, keep: &dyn Fn(&AdId) -> bool) -> Vec<(AdId, f32)> {
        if self.check(vector).is_err() || k == 0 {
            return Vec::new();
        }
        let mut found: Vec<(&AdId, f32)> = self
            .vectors
            .iter()
            .filter(|(ad, _)| keep(ad))
            .map(|(ad, other)| (ad, dot(vector, other).clamp(-1.0, 1.0)))
            .collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        found.truncate(k);
        found
            .into_iter()
            .map(|(ad, cosine)| (ad.clone(), cosine))
            .collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_lanes.iter().zip(b_lanes) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> AdId {
        AdId::new(text).unwrap()
    }

    fn at(degrees: f32) -> [f32; 2] {
        let radians = degrees.to_radians();
        [radians.cos(), radians.sin()]
    }

    fn index() -> Scan {
        let mut index = Scan::new(2);
        for (name, degrees) in [("a", 0.0), ("b", 10.0), ("c", 90.0), ("d", -10.0)] {
            index.insert(id(name), &at(degrees)).unwrap();
        }
        index
    }

    fn names(found: &[(AdId, f32)]) -> Vec<&str> {
        found.iter().map(|(ad, _)| ad.as_str()).collect()
    }

    #[test]
    fn the_nearest_come_first_and_ties_by_id() {
        let found = index().search(&at(0.0), 3, &|_| true);
        assert_eq!(names(&found), ["a", "b", "d"]);
        assert!((found[1].1 - 10.0_f32.to_radians().cos()).abs() < 1e-6);
    }

    #[test]
    fn a_filter_costs_no_recall() {
        let found = index().search(&at(0.0), 2, &|ad| ad.as_str() > "b");
        assert_eq!(names(&found), ["d", "c"]);
    }

    #[test]
    fn replacing_and_removing_are_seen_at_once() {
        let mut index = index();
        index.insert(id("c"), &at(1.0)).unwrap();
        assert!(index.remove(&id("b")));
        assert!(!index.remove(&id("b")));
        assert_eq!(
            names(&index.search(&at(0.0), 9, &|_| true)),
            ["a", "c", "d"]
        );
        assert_eq!(index.vector(&id("b")), None);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut index = index();
        for bad in [
            vec![1.0],
            vec![0.0, 0.0],
            vec![f32::NAN, 1.0],
            vec![2.0, 0.0],
            vec![],
        ] {
            assert!(index.insert(id("x"), &bad).is_err(), "{bad:?}");
            assert!(index.search(&bad, 3, &|_| true).is_empty(), "{bad:?}");
        }
        assert_eq!(index.vector(&id("x")), None);
    }

    #[test]
    fn the_dot_product_has_no_blind_tail() {
        for n in [1, 15, 16, 17, 768, 771] {
            let a: Vec<f32> = (0..n).map(|i| (i % 7) as f32).collect();
            let plain: f32 = a.iter().map(|x| x * x).sum();
            assert!((dot(&a, &a) - plain).abs() <= plain * 1e-5, "{n}");
        }
    }
}
