//! Vectors in a byte per number, with a proven bound on what that costs.
//!
//! A vector x becomes whole numbers c within ±127 and a scale s, so that x = s·c + r. What is lost,
//! |r|, is measured when it is made, not assumed. For two vectors of about unit length
//!
//! ```text
//! x·y = s_x s_y (c_x·c_y) + r_x·(s_y c_y) + x·r_y
//! |x·y - s_x s_y (c_x·c_y)| <= |r_x| (|y| + |r_y|) + |x| |r_y|
//! ```
//!
//! by Cauchy and Schwarz: the product of the codes, which is exact, tells the true one to within
//! the right side. So a scan over the codes, a quarter of the bytes, may pass over whatever cannot
//! be among the nearest, and only the rest is looked at exactly.

use super::distance::{CODE_LANES, dot};

/// How far the square of a vector's length may be from 1.
pub const UNIT_TOLERANCE: f32 = 1e-3;
/// So long is a vector of that square at most.
const LONGEST: f64 = 1.000_51;
/// The largest code.
const CODE_MAX: f32 = 127.0;

/// What is kept of a coded vector beside its codes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// What a code of 1 stands for.
    pub step: f32,
    /// At least the length of what the codes leave out.
    pub residual: f32,
}

/// A row of codes for vectors of `dimension` numbers: padded with zeros, which change no product.
#[must_use]
pub const fn row_length(dimension: usize) -> usize {
    dimension.next_multiple_of(CODE_LANES)
}

/// Codes a vector into `row`, which has [`row_length`] places.
pub fn encode(vector: &[f32], row: &mut [i8]) -> Scale {
    let largest = vector.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
    row.fill(0);
    if largest == 0.0 {
        return Scale {
            step: 0.0,
            residual: 0.0,
        };
    }
    let step = largest / CODE_MAX;
    let per_step = CODE_MAX / largest;
    let mut lost = 0.0_f64;
    for (x, code) in vector.iter().zip(row) {
        // Rounded by adding and taking away: `round` is a call into the C library on x86.
        let near = (x * per_step).clamp(-CODE_MAX, CODE_MAX);
        *code = (near + f32::copysign(0.5, near)) as i8;
        let rest = f64::from(*x) - f64::from(step) * f64::from(*code);
        lost += rest * rest;
    }
    Scale {
        step,
        // Rounded up past all that the sum above and the change to 32 bits can have lost.
        residual: (lost.sqrt() * 1.000_001) as f32,
    }
}

/// A vector that others are compared with.
#[derive(Debug, Clone)]
pub struct Query {
    vector: Vec<f32>,
    codes: Vec<i8>,
    step: f32,
    /// The part of the error bound that grows with the other's residual.
    per_residual: f32,
    /// The part that does not.
    fixed: f32,
}

impl Query {
    /// Codes a vector of about unit length.
    #[must_use]
    pub fn new(vector: &[f32]) -> Self {
        let mut codes = vec![0; row_length(vector.len())];
        let scale = encode(vector, &mut codes);
        let residual = f64::from(scale.residual);
        // What `dot` itself may be off, its terms added in lanes of 32 (a rounding each, for the
        // product and for the sum), and the few roundings of `estimate`.
        let roundings = vector.len() as f64 / 32.0 + 80.0;
        let slack = roundings * f64::from(f32::EPSILON) / 2.0 * LONGEST * LONGEST * 1.01;
        Self {
            vector: vector.to_vec(),
            codes,
            step: scale.step,
            per_residual: ((LONGEST + residual) * 1.000_001) as f32,
            fixed: ((residual * LONGEST + slack) * 1.000_001) as f32,
        }
    }

    /// The codes.
    #[must_use]
    pub fn codes(&self) -> &[i8] {
        &self.codes
    }

    /// The scalar product as the codes tell it.
    #[must_use]
    #[inline]
    pub fn estimate(&self, product: i32, scale: Scale) -> f32 {
        product as f32 * (self.step * scale.step)
    }

    /// How far [`Query::exact`] can be from [`Query::estimate`].
    #[must_use]
    #[inline]
    pub fn margin(&self, scale: Scale) -> f32 {
        scale.residual * self.per_residual + self.fixed
    }

    /// The scalar product with a whole vector.
    #[must_use]
    pub fn exact(&self, vector: &[f32]) -> f32 {
        dot(&self.vector, vector)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::distance::dot_code;
    use super::*;

    fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
        let square = dot(&vector, &vector);
        ((square - 1.0).abs() < UNIT_TOLERANCE).then_some(vector)
    }

    /// Dense vectors, sparse ones with spikes, and vectors whose numbers differ by many orders.
    fn any_vector(n: usize) -> impl Strategy<Value = Vec<f32>> {
        let number = prop_oneof![
            3 => -1.0_f32..1.0,
            2 => Just(0.0_f32),
            1 => (-30.0_f32..0.0).prop_map(f32::exp2),
        ];
        prop::collection::vec(number, n).prop_filter_map("no direction", unit)
    }

    proptest! {
        #[test]
        fn the_margin_holds(
            (x, y) in (1_usize..300).prop_flat_map(|n| (any_vector(n), any_vector(n)))
        ) {
            let query = Query::new(&x);
            let mut row = vec![0; row_length(y.len())];
            let scale = encode(&y, &mut row);
            let estimate = query.estimate(dot_code(query.codes(), &row), scale);
            let error = (query.exact(&y) - estimate).abs();
            prop_assert!(error <= query.margin(scale), "{error} > {}", query.margin(scale));
        }

        #[test]
        fn a_vector_and_itself_are_within_the_margin_of_one(x in any_vector(97)) {
            let query = Query::new(&x);
            let mut row = vec![0; row_length(x.len())];
            let scale = encode(&x, &mut row);
            let product = dot_code(query.codes(), &row);
            prop_assert!((query.estimate(product, scale) - 1.0).abs() <= query.margin(scale) + UNIT_TOLERANCE);
        }
    }

    #[test]
    fn the_margin_is_of_use() {
        // 768 dense numbers: what the codes leave out is under a hundredth of the length.
        let x = unit((0..768).map(|i| ((i * 37 % 101) as f32) - 50.0).collect()).unwrap();
        let mut row = vec![0; 768];
        let scale = encode(&x, &mut row);
        assert!(scale.residual < 0.006, "{scale:?}");
        assert!(Query::new(&x).margin(scale) < 0.012);
    }

    #[test]
    fn no_numbers_are_no_codes() {
        let mut row = [1; 32];
        let scale = encode(&[0.0; 5], &mut row);
        assert_eq!((scale.step, scale.residual, row), (0.0, 0.0, [0; 32]));
    }
}
