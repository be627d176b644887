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
//! the right side. So whatever cannot be among the nearest is passed over, and only the rest is
//! looked at whole.
//!
//! A code is kept in two halves, c = 16·u + l - 136, in places of their own. The upper ones alone
//! make a coarser vector, 16·(u - 8), for which the same holds with a larger |r|. A scan is bound by
//! the bytes it reads: it reads the upper halves of all, an eighth of the whole vectors, and the rest
//! of few.

use super::distance::{CODE_LANES, dot, dot_half};

/// How far the square of a vector's length may be from 1.
pub const UNIT_TOLERANCE: f32 = 1e-3;
/// So long is a vector of that square at most.
const LONGEST: f64 = 1.000_51;
/// The largest code of a row: its upper half stays within 1 to 15.
const ROW_MAX: f32 = 119.0;
/// The largest code of a query.
const QUERY_MAX: f32 = 127.0;
/// What is added to a code to make both halves whole numbers from 0 to 15.
const SHIFT: i16 = 136;

/// What is kept of a coded vector beside its codes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// What a code of 1 stands for.
    pub step: f32,
    /// At least the length of what the codes leave out.
    pub residual: f32,
    /// At least the length of what the upper halves alone leave out.
    pub coarse: f32,
}

/// Codes for vectors of `dimension` numbers: padded with zeros, which change no product.
#[must_use]
pub const fn row_length(dimension: usize) -> usize {
    dimension.next_multiple_of(CODE_LANES)
}

/// The nearest whole numbers within ±`max` of the vector in steps, and the step.
fn round(vector: &[f32], max: f32) -> (Vec<i8>, f32) {
    let mut codes = vec![0; row_length(vector.len())];
    let largest = vector.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
    if largest == 0.0 {
        return (codes, 0.0);
    }
    let per_step = max / largest;
    for (x, code) in vector.iter().zip(&mut codes) {
        // Rounded by adding and cutting off: `round` is a call into the C library on x86.
        let near = (x * per_step).clamp(-max, max);
        *code = (near + f32::copysign(0.5, near)) as i8;
    }
    (codes, largest / max)
}

/// At least the length of the vector less these whole numbers of steps.
fn lost(vector: &[f32], step: f32, codes: impl Iterator<Item = i16>) -> f32 {
    let square: f64 = vector
        .iter()
        .zip(codes)
        .map(|(x, code)| {
            let rest = f64::from(*x) - f64::from(step) * f64::from(code);
            rest * rest
        })
        .sum();
    // Rounded up past all that the sum and the change to 32 bits can have lost.
    (square.sqrt() * 1.000_001) as f32
}

/// Codes a vector into its upper and lower halves, each of half [`row_length`] bytes.
pub fn encode(vector: &[f32], upper: &mut [u8], lower: &mut [u8]) -> Scale {
    let (codes, step) = round(vector, ROW_MAX);
    let halves = |code: i8| {
        let shifted = i16::from(code) + SHIFT;
        ((shifted >> 4) as u8, (shifted & 15) as u8)
    };
    let (stretches, _) = codes.as_chunks::<CODE_LANES>();
    let middle = CODE_LANES / 2;
    let places = upper.chunks_mut(middle).zip(lower.chunks_mut(middle));
    for (stretch, (upper, lower)) in stretches.iter().zip(places) {
        let (first, second) = stretch.split_at(middle);
        let pairs = first.iter().zip(second);
        for ((first, second), (upper, lower)) in pairs.zip(upper.iter_mut().zip(lower)) {
            let ((u, l), (v, m)) = (halves(*first), halves(*second));
            (*upper, *lower) = (u | v << 4, l | m << 4);
        }
    }
    let coarse = codes
        .iter()
        .map(|code| 16 * (i16::from(halves(*code).0) - 8));
    Scale {
        step,
        residual: lost(vector, step, codes.iter().map(|code| i16::from(*code))),
        coarse: lost(vector, step, coarse),
    }
}

/// The codes of a vector that others are compared with.
#[derive(Debug, Clone)]
pub struct Codes {
    codes: Vec<i8>,
    sum: i32,
    step: f32,
}

impl Codes {
    fn new(codes: Vec<i8>, step: f32) -> Self {
        let sum = codes.iter().map(|code| i32::from(*code)).sum();
        Self { codes, sum, step }
    }

    /// The codes of a row, put together again.
    #[must_use]
    pub fn of_row(upper: &[u8], lower: &[u8], scale: Scale) -> Self {
        let whole = |u: u8, l: u8| (i16::from(u) * 16 + i16::from(l) - SHIFT) as i8;
        let middle = CODE_LANES / 2;
        let stretches = upper.chunks(middle).zip(lower.chunks(middle));
        let codes = stretches
            .flat_map(|(upper, lower)| {
                let pairs = || upper.iter().zip(lower);
                let first = pairs().map(move |(u, l)| whole(u & 15, l & 15));
                first
                    .chain(pairs().map(move |(u, l)| whole(u >> 4, l >> 4)))
                    .collect::<Vec<_>>()
            })
            .collect();
        Self::new(codes, scale.step)
    }

    /// As they are multiplied.
    #[must_use]
    pub fn as_slice(&self) -> &[i8] {
        &self.codes
    }

    /// The scalar product with a row of which only the upper halves are looked at; `upper` is their
    /// product.
    #[must_use]
    #[inline]
    pub fn coarse(&self, upper: i32, scale: Scale) -> f32 {
        (16 * upper - 128 * self.sum) as f32 * (self.step * scale.step)
    }

    /// The scalar product with a row, given the product of its upper halves.
    #[must_use]
    #[inline]
    pub fn fine(&self, upper: i32, lower: &[u8], scale: Scale) -> f32 {
        let lower = dot_half(&self.codes, lower);
        (16 * upper + lower - i32::from(SHIFT) * self.sum) as f32 * (self.step * scale.step)
    }

    /// The scalar product with a row.
    #[must_use]
    #[inline]
    pub fn with(&self, (upper, lower, scale): (&[u8], &[u8], Scale)) -> f32 {
        self.fine(dot_half(&self.codes, upper), lower, scale)
    }
}

/// A vector that others are compared with.
#[derive(Debug, Clone)]
pub struct Query {
    vector: Vec<f32>,
    codes: Codes,
    /// The part of the error bound that grows with the other's residual.
    per_residual: f32,
    /// The part that does not.
    fixed: f32,
}

impl Query {
    /// Codes a vector of about unit length.
    #[must_use]
    pub fn new(vector: &[f32]) -> Self {
        let (codes, step) = round(vector, QUERY_MAX);
        let residual = lost(vector, step, codes.iter().map(|code| i16::from(*code)));
        let residual = f64::from(residual);
        // What `dot` itself may be off, its terms added in lanes of 32 (a rounding each, for the
        // product and for the sum), and the few roundings of an estimate.
        let roundings = vector.len() as f64 / 32.0 + 80.0;
        let slack = roundings * f64::from(f32::EPSILON) / 2.0 * LONGEST * LONGEST * 1.01;
        Self {
            vector: vector.to_vec(),
            codes: Codes::new(codes, step),
            per_residual: ((LONGEST + residual) * 1.000_001) as f32,
            fixed: ((residual * LONGEST + slack) * 1.000_001) as f32,
        }
    }

    /// The codes.
    #[must_use]
    pub const fn codes(&self) -> &Codes {
        &self.codes
    }

    /// How far [`Query::exact`] can be from an estimate that leaves out so much of a row.
    #[must_use]
    #[inline]
    pub fn margin(&self, residual: f32) -> f32 {
        residual * self.per_residual + self.fixed
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

    fn coded(vector: &[f32]) -> (Vec<u8>, Vec<u8>, Scale) {
        let half = row_length(vector.len()) / 2;
        let (mut upper, mut lower) = (vec![0; half], vec![0; half]);
        let scale = encode(vector, &mut upper, &mut lower);
        (upper, lower, scale)
    }

    proptest! {
        #[test]
        fn the_margin_holds(
            (x, y) in (1_usize..300).prop_flat_map(|n| (any_vector(n), any_vector(n)))
        ) {
            let query = Query::new(&x);
            let (upper, lower, scale) = coded(&y);
            let exact = query.exact(&y);
            let first = dot_half(query.codes().as_slice(), &upper);
            for (estimate, residual) in [
                (query.codes().coarse(first, scale), scale.coarse),
                (query.codes().fine(first, &lower, scale), scale.residual),
            ] {
                let (error, margin) = ((exact - estimate).abs(), query.margin(residual));
                prop_assert!(error <= margin, "{error} > {margin}");
            }
        }

        #[test]
        fn halves_put_together_are_the_codes(x in any_vector(97), y in any_vector(97)) {
            let (upper, lower, scale) = coded(&x);
            let codes = Codes::of_row(&upper, &lower, scale);
            let (whole, step) = round(&x, ROW_MAX);
            prop_assert_eq!(codes.as_slice(), &whole);
            prop_assert_eq!(codes.step, step);
            let (upper, lower, scale) = coded(&y);
            let (others, other_step) = round(&y, ROW_MAX);
            let product: i32 = whole.iter().zip(&others).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
            prop_assert_eq!(codes.with((&upper, &lower, scale)), product as f32 * (step * other_step));
        }
    }

    #[test]
    fn the_margin_is_of_use() {
        // 768 dense numbers: the codes leave out under a hundredth of the length, the upper halves
        // an eighth.
        let x = unit((0..768).map(|i| ((i * 37 % 101) as f32) - 50.0).collect()).unwrap();
        let (_, _, scale) = coded(&x);
        assert!(scale.residual < 0.006 && scale.coarse < 0.09, "{scale:?}");
        assert!(Query::new(&x).margin(scale.residual) < 0.012);
    }

    #[test]
    fn no_numbers_are_no_codes() {
        let (upper, lower, scale) = coded(&[0.0; 5]);
        assert_eq!((scale.step, scale.residual, scale.coarse), (0.0, 0.0, 0.0));
        let codes = Codes::of_row(&upper, &lower, scale);
        assert!(codes.as_slice().iter().all(|code| *code == 0));
    }
}
