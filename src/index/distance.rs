//! Products of vectors, as fast as the processor can: the one file of the crate that may say
//! `unsafe`, and only to call what the processor was just asked for and to load 32 bytes from 32
//! bytes.
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

/// Codes that rows are padded to a multiple of.
pub const CODE_LANES: usize = 64;

/// Bytes of half-codes that are taken at once: two in each.
const HALF_LANES: usize = CODE_LANES / 2;

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

/// The scalar products of codes with each row of `rows`, which holds `out.len()` rows of half-codes,
/// two in a byte: in each stretch of 32 bytes the low halves belong to the first 32 codes, the high
/// ones to the next 32. The codes' number is a multiple of [`CODE_LANES`], at most 2^16; a rest
/// beyond that is not looked at.
pub fn dot_halves(codes: &[i8], rows: &[u8], out: &mut [i32]) {
    debug_assert_eq!(codes.len() % CODE_LANES, 0, "rows are padded");
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, it was just asked; that is all the function needs.
        unsafe { x86::dot_halves(codes, rows, out) };
        return;
    }
    dot_halves_plain(codes, rows, out);
}

/// The scalar product with one row, under the same rules.
#[must_use]
pub fn dot_half(codes: &[i8], row: &[u8]) -> i32 {
    let mut out = [0];
    dot_halves(codes, row, &mut out);
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

fn dot_halves_plain(codes: &[i8], rows: &[u8], out: &mut [i32]) {
    if codes.is_empty() {
        out.fill(0);
        return;
    }
    for (row, out) in rows.chunks_exact(codes.len() / 2).zip(out) {
        let stretches = codes.as_chunks::<CODE_LANES>().0.iter();
        *out = stretches
            .zip(row.as_chunks::<HALF_LANES>().0)
            .map(|(codes, bytes)| {
                let (first, second) = codes.split_at(HALF_LANES);
                let low = first.iter().zip(bytes);
                let low = low.map(|(code, byte)| i32::from(*code) * i32::from(byte & 15));
                let high = second.iter().zip(bytes);
                let high = high.map(|(code, byte)| i32::from(*code) * i32::from(byte >> 4));
                low.sum::<i32>() + high.sum::<i32>()
            })
            .sum();
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_shuffle_epi32, _mm256_add_epi16,
        _mm256_add_epi32, _mm256_and_si256, _mm256_castsi256_si128, _mm256_extracti128_si256,
        _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8,
        _mm256_set1_epi16, _mm256_setzero_si256, _mm256_srli_epi16,
    };

    use super::{CODE_LANES, HALF_LANES};

    /// Stretches whose sums a signed 16-bit number holds.
    const SAFE: usize = 4;

    #[target_feature(enable = "avx2")]
    pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
        super::dot_lanes(a, b)
    }

    /// Four rows at a time, so that the codes are loaded once for all of them.
    #[target_feature(enable = "avx2")]
    pub(super) fn dot_halves(codes: &[i8], rows: &[u8], out: &mut [i32]) {
        let length = codes.len() / 2;
        let (codes, _) = codes.as_chunks::<CODE_LANES>();
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
            *four = products(codes, [a, b, c, d]);
        }
        for one in last {
            let Some((row, after)) = rest.split_at_checked(length) else {
                return;
            };
            rest = after;
            [*one] = products(codes, [row]);
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn products<const N: usize>(codes: &[[i8; CODE_LANES]], rows: [&[u8]; N]) -> [i32; N] {
        let (ones, low) = (_mm256_set1_epi16(1), _mm256_set1_epi8(15));
        let rows = rows.map(|row| &row.as_chunks::<HALF_LANES>().0[..codes.len()]);
        let mut sums = [_mm256_setzero_si256(); N];
        for (some, codes) in codes.chunks(SAFE).enumerate() {
            let mut small = [_mm256_setzero_si256(); N];
            for (i, codes) in codes.iter().enumerate() {
                let (first, second) = (load(codes, 0), load(codes, HALF_LANES));
                for (small, row) in small.iter_mut().zip(&rows) {
                    let bytes = load_bytes(&row[some * SAFE + i]);
                    let (even, odd) = (
                        _mm256_and_si256(bytes, low),
                        _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low),
                    );
                    // Two products of at most 15 * 128 each, twice, four times: below 2^15.
                    let pairs = _mm256_add_epi16(
                        _mm256_maddubs_epi16(even, first),
                        _mm256_maddubs_epi16(odd, second),
                    );
                    *small = _mm256_add_epi16(*small, pairs);
                }
            }
            for (sum, small) in sums.iter_mut().zip(small) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(small, ones));
            }
        }
        sums.map(|sum| total(sum))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(codes: &[i8; CODE_LANES], from: usize) -> __m256i {
        let half: &[i8] = &codes[from..from + HALF_LANES];
        // SAFETY: the slice is of 32 bytes, and the load needs no alignment.
        unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load_bytes(bytes: &[u8; HALF_LANES]) -> __m256i {
        // SAFETY: the reference is to 32 bytes, and the load needs no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
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
        fn products_of_halves_are_exact(
            lanes in 0_usize..7,
            rows in 0_usize..11,
            codes in prop::collection::vec(-128_i8..=127, 6 * CODE_LANES),
            bytes in prop::collection::vec(0_u8..=255, 11 * 6 * HALF_LANES)
        ) {
            let codes = &codes[..lanes * CODE_LANES];
            let length = lanes * HALF_LANES;
            let stored = &bytes[..rows * length];
            let (mut fast, mut plain) = (vec![0; rows], vec![0; rows]);
            dot_halves(codes, stored, &mut fast);
            dot_halves_plain(codes, stored, &mut plain);
            prop_assert_eq!(&fast, &plain);
            for (row, found) in stored.chunks_exact(length.max(1)).zip(&fast) {
                let halves: Vec<f32> = row
                    .chunks_exact(HALF_LANES)
                    .flat_map(|bytes| {
                        let low = bytes.iter().map(|byte| f32::from(byte & 15));
                        low.chain(bytes.iter().map(|byte| f32::from(byte >> 4)))
                    })
                    .collect();
                let codes: Vec<f32> = codes.iter().map(|code| f32::from(*code)).collect();
                prop_assert_eq!(f64::from(*found), exactly(&codes, &halves).0);
            }
        }
    }

    #[test]
    fn the_largest_codes_do_not_saturate() {
        let row = [255_u8; 4_096];
        for code in [127_i8, -128] {
            let expected = 8_192 * 15 * i32::from(code);
            assert_eq!(dot_half(&[code; 8_192], &row), expected);
        }
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
