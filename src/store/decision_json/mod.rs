//! Decisions as they are stored: what a policy was given, and why it decided as it did, as JSON.
//!
//! Inputs are read back and give the same decisions bit for bit. A rationale is only ever shown.

mod exact;
mod inputs;
mod rationale;

pub use inputs::{inputs_from_json, inputs_json};
pub use rationale::rationale_json;

/// Why stored inputs cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum BadInputs {
    /// The text is not JSON of the form that this version writes.
    #[error("the stored inputs were written by another version or are damaged")]
    Form(#[source] serde_json::Error),
    /// A value is not one that the domain knows.
    #[error("the stored inputs hold {value:?}, which is no {what}")]
    Value {
        /// What it should be.
        what: &'static str,
        /// What it is.
        value: String,
    },
}
