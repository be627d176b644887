//! Turns the text of a creative into a vector.

pub mod lexical;

/// An embedder. Vectors are of unit length; those of different embedders never mix.
pub trait Embedder: Send + Sync {
    /// Its name and version, kept with each vector.
    fn model(&self) -> &str;

    /// The length of its vectors.
    fn dimension(&self) -> usize;

    /// The vector of a text; `None` when the text has nothing to go by.
    fn embed(&self, text: &str) -> Option<Vec<f32>>;
}
