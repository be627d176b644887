//! The built-in embedder: hashed words, pairs of words and parts of words, with sublinear weights.
//! Needs no download; fair on names and short texts, blind to synonyms.

use std::collections::BTreeMap;

use super::Embedder;

/// The length of the vectors.
const DIMENSION: usize = 768;
/// Letters in a part of a word.
const PART: usize = 3;

/// The built-in embedder.
#[derive(Debug, Default, Clone, Copy)]
pub struct Lexical;

impl Embedder for Lexical {
    fn model(&self) -> &str {
        "lexical-1"
    }

    fn dimension(&self) -> usize {
        DIMENSION
    }

    fn embed(&self, text: &str) -> Option<Vec<f32>> {
        let mut counts: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
        let mut add = |kind: u8, text: &str, weight: f64| {
            let entry = counts.entry(hash(kind, text)).or_insert((0.0, weight));
            entry.0 += 1.0;
        };
        let lower = text.to_lowercase();
        let words: Vec<&str> = lower
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| !w.is_empty())
            .collect();
        for word in &words {
            add(0, word, 1.0);
            let framed: Vec<char> = std::iter::once('<')
                .chain(word.chars())
                .chain(std::iter::once('>'))
                .collect();
            for part in framed.windows(PART) {
                add(1, &part.iter().collect::<String>(), 0.3);
            }
        }
        for pair in words.windows(2) {
            add(2, &pair.join(" "), 0.7);
        }
        let mut vector = vec![0.0_f64; DIMENSION];
        for (hash, (count, weight)) in counts {
            // The top bit is the sign, so that collisions cancel instead of adding up.
            let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
            if let Some(slot) = vector.get_mut((hash % DIMENSION as u64) as usize) {
                *slot += sign * weight * (1.0 + libm::log(count));
            }
        }
        let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        (norm > 1e-9).then(|| vector.into_iter().map(|x| (x / norm) as f32).collect())
    }
}

/// FNV-1a with a final mix: the same on every machine and in every version.
fn hash(kind: u8, text: &str) -> u64 {
    let mut h: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in std::iter::once(kind).chain(text.bytes()) {
        h ^= u64::from(byte);
        h = h.wrapping_mul(0x0000_0100_0000_01b3);
    }
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(a: &str, b: &str) -> f32 {
        let (a, b) = (Lexical.embed(a).unwrap(), Lexical.embed(b).unwrap());
        a.iter().zip(&b).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn vectors_have_unit_length() {
        for text in ["a", "Get fit in six weeks", "Größe zählt — jetzt buchen!"] {
            let vector = Lexical.embed(text).unwrap();
            assert_eq!(vector.len(), DIMENSION);
            assert!(
                (vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5,
                "{text}"
            );
        }
    }

    #[test]
    fn a_text_without_words_has_no_vector() {
        for text in ["", "  \n", "!!! — ???"] {
            assert_eq!(Lexical.embed(text), None, "{text:?}");
        }
    }

    #[test]
    fn like_texts_are_near_and_unlike_ones_far() {
        let like = cosine(
            "Book a free trial week at our gym",
            "Your free trial week at the gym",
        );
        let unlike = cosine(
            "Book a free trial week at our gym",
            "Payroll software for accountants",
        );
        assert!(like > 0.4, "{like}");
        assert!(unlike < 0.2, "{unlike}");
        assert!((cosine("Same TEXT", "same text") - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_vector_never_changes_between_versions() {
        let vector = Lexical.embed("free trial").unwrap();
        let filled: Vec<usize> = (0..DIMENSION).filter(|i| vector[*i] != 0.0).collect();
        let sum: usize = filled.iter().sum();
        assert_eq!((filled.len(), sum), (12, 4_325));
    }
}
