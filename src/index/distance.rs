//! Products of vectors, as fast as the processor can: the one file of the crate that may say
//! `unsafe`, and only to call what the processor was just asked for and to load 32 bytes from a
//! reference to 32 bytes.
//!
//! Products of floats have the same bits on every machine: the sums are kept in the same lanes and
//! added up in the same order with or without wide registers, and no multiplication is fused with
//! an addition. What a decision was told by its look-alikes can be found again anywhere.
//!
//! There is no path for AVX-512: it could not be run where this was written.
#![expect(
    unsafe_code,
    reason = "wide registers: each block says what makes it sound"
)]

/// Lanes that are summed apart, so that the compiler can use wide registers.
const LANES: usize = 32;

/// Bytes that rows of codes are padded to.
pub const CODE_LANES: usize = 32;

/// The scalar product of two vectors of one length; what is longer is cut.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, it was just asked; that is all the function needs.
        return unsafe { x86::dot(a, b) };
    }
    dot_lanes(a, b)
}

/// The scalar products of a row of codes with each row of `rows`, which holds `out.len()` rows of
/// its length. Codes lie within ±127, and their number is a multiple of [`CODE_LANES`], at most
/// 2^17; a rest beyond that is not looked at.
pub fn dot_codes(query: &[i8], rows: &[i8], out: &mut [i32]) {
    debug_assert_eq!(query.len() % CODE_LANES, 0, "rows are padded");
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, it was just asked; that is all the function needs.
        unsafe { x86::dot_codes(query, rows, out) };
        return;
    }
    dot_codes_plain(query, rows, out);
}

/// The scalar product of two rows of codes, under the same rules.
#[must_use]
pub fn dot_code(a: &[i8], b: &[i8]) -> i32 {
    let mut out = [0];
    dot_codes(a, b, &mut out);
    out[0]
}

#[inline(always)]
fn dot_lanes(a: &[f32], b: &[f32]) -> f32 {
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

fn dot_codes_plain(query: &[i8], rows: &[i8], out: &mut [i32]) {
    if query.is_empty() {
        out.fill(0);
        return;
    }
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        *out = query
            .iter()
            .zip(row)
            .map(|(x, y)| i32::from(*x) * i32::from(*y))
            .sum();
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_shuffle_epi32, _mm256_abs_epi8,
        _mm256_add_epi32, _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_loadu_si256,
        _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi16, _mm256_setzero_si256,
        _mm256_sign_epi8,
    };

    use super::CODE_LANES;

    #[target_feature(enable = "avx2")]
    pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
        super::dot_lanes(a, b)
    }

    /// Four rows at a time, so that the query is loaded once for all of them.
    #[target_feature(enable = "avx2")]
    pub(super) fn dot_codes(query: &[i8], rows: &[i8], out: &mut [i32]) {
        let length = query.len();
        let (query, _) = query.as_chunks::<CODE_LANES>();
        let (fours, last) = out.as_chunks_mut::<4>();
        let mut rest = rows;
        for four in fours {
            let Some((block, after)) = rest.split_at_checked(4 * length) else {
                return;
            };
            rest = after;
            let (a, block) = block.split_at(length);
            let (b, block) = block.split_at(length);
            let (c, d) = block.split_at(length);
            *four = products(query, [a, b, c, d]);
        }
        for one in last {
            let Some((row, after)) = rest.split_at_checked(length) else {
                return;
            };
            rest = after;
            [*one] = products(query, [row]);
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn products<const N: usize>(query: &[[i8; CODE_LANES]], rows: [&[i8]; N]) -> [i32; N] {
        let ones = _mm256_set1_epi16(1);
        let rows = rows.map(|row| &row.as_chunks::<CODE_LANES>().0[..query.len()]);
        let mut sums = [_mm256_setzero_si256(); N];
        for (i, query) in query.iter().enumerate() {
            let query = load(query);
            let size = _mm256_abs_epi8(query);
            for (sum, row) in sums.iter_mut().zip(&rows) {
                // |q| * (x with q's sign) is q * x. Two such products add up to 2 * 127 * 127 at
                // most, which a signed 16-bit number holds: nothing saturates.
                let signed = _mm256_sign_epi8(load(&row[i]), query);
                let pairs = _mm256_maddubs_epi16(size, signed);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        sums.map(|sum| total(sum))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(codes: &[i8; CODE_LANES]) -> __m256i {
        // SAFETY: the reference is to 32 bytes, and the load needs no alignment.
        unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn total(sum: __m256i) -> i32 {
        let four = _mm_add_epi32(
            _mm256_castsi256_si128(sum),
            _mm256_extracti128_si256::<1>(sum),
        );
        let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
        let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b00_00_00_01>(two));
        _mm_cvtsi128_si32(one)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exactly(a: &[f32], b: &[f32]) -> (f64, f64) {
        let products = || a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y));
        (products().sum(), products().map(f64::abs).sum())
    }

    proptest! {
        #[test]
        fn a_product_of_floats_is_as_near_as_its_sums_allow(
            pairs in prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 0..900)
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let (expected, size) = exactly(&a, &b);
            let roundings = (a.len() / LANES + 2 * LANES + 1) as f64;
            let error = (f64::from(dot(&a, &b)) - expected).abs();
            prop_assert!(error <= roundings * f64::from(f32::EPSILON) / 2.0 * size, "{error}");
        }

        #[test]
        fn wide_registers_change_no_bit(
            pairs in prop::collection::vec((-9.0_f32..9.0, -9.0_f32..9.0), 0..900)
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            prop_assert_eq!(dot(&a, &b).to_bits(), dot_lanes(&a, &b).to_bits());
        }

        #[test]
        fn products_of_codes_are_exact(
            lanes in 0_usize..5,
            rows in 0_usize..11,
            codes in prop::collection::vec(-127_i8..=127, 12 * 4 * CODE_LANES)
        ) {
            let length = lanes * CODE_LANES;
            let (query, rest) = codes.split_at(length);
            let stored = &rest[..rows * length];
            let (mut fast, mut plain) = (vec![0; rows], vec![0; rows]);
            dot_codes(query, stored, &mut fast);
            dot_codes_plain(query, stored, &mut plain);
            prop_assert_eq!(&fast, &plain);
            for (row, found) in stored.chunks_exact(length.max(1)).zip(&fast) {
                let floats = |row: &[i8]| row.iter().map(|x| f32::from(*x)).collect::<Vec<_>>();
                prop_assert_eq!(f64::from(*found), exactly(&floats(query), &floats(row)).0);
            }
        }
    }

    #[test]
    fn the_largest_codes_do_not_saturate() {
        let (up, down) = ([127_i8; 8_192], [-127_i8; 8_192]);
        assert_eq!(dot_code(&up, &up), 8_192 * 127 * 127);
        assert_eq!(dot_code(&up, &down), -8_192 * 127 * 127);
        assert_eq!(dot_code(&down, &down), 8_192 * 127 * 127);
    }

    #[test]
    fn the_dot_product_has_no_blind_tail() {
        for n in [1, 31, 32, 33, 768, 771] {
            let a: Vec<f32> = (0..n).map(|i| (i % 7) as f32).collect();
            let plain: f32 = a.iter().map(|x| x * x).sum();
            assert!((dot(&a, &a) - plain).abs() <= plain * 1e-5, "{n}");
        }
    }
}
