//! The world outside: Meta and HubSpot, behind traits that speak the domain's words.

pub mod embedder;
pub mod hubspot;
pub mod meta;
pub mod notify;

mod http;
mod pace;

pub use http::{SetupError, http_client};

use crate::domain::time::SignedDuration;

/// A cause of another layer, carried along.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong with a vendor, named by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum VendorError {
    /// A passing fault: the same call may succeed later. The call had no effect.
    #[error("{vendor} is not available now: {detail}")]
    Retry {
        /// `Meta` or `HubSpot`.
        vendor: &'static str,
        /// What it said.
        detail: String,
        /// How long it asked us to wait, where it did.
        after: Option<SignedDuration>,
        /// The cause.
        #[source]
        cause: Option<BoxError>,
    },
    /// A limit was hit; the gate already knows. The call had no effect.
    #[error("{vendor} asks us to slow down: {detail}")]
    Throttled {
        /// `Meta` or `HubSpot`.
        vendor: &'static str,
        /// What it said, with code and subcode.
        detail: String,
        /// For how long.
        wait: SignedDuration,
    },
    /// Too much was asked for at once: ask for less.
    #[error("{vendor} cannot answer so much at once: {detail}")]
    TooMuch {
        /// `Meta` or `HubSpot`.
        vendor: &'static str,
        /// What it said.
        detail: String,
    },
    /// The vendor will not do this, now or later, with these values.
    #[error("{vendor} refused: {detail}")]
    Refused {
        /// `Meta` or `HubSpot`.
        vendor: &'static str,
        /// What it said, with code and subcode.
        detail: String,
        /// What kind of refusal.
        kind: Refusal,
        /// The vendor's number of the call.
        request: Option<String>,
    },
    /// The token is bad, expired or lacks rights: hold the tenant, tell a person.
    #[error("{vendor} does not accept the token: {detail}")]
    Unauthorized {
        /// `Meta` or `HubSpot`.
        vendor: &'static str,
        /// What it said.
        detail: String,
    },
    /// No answer, or one that cannot be read: a write may or may not have had its effect.
    #[error("no answer from {vendor}, its effect is unknown: {detail}")]
    Unknown {
        /// `Meta` or `HubSpot`.
        vendor: &'static str,
        /// What was seen instead.
        detail: String,
        /// The cause.
        #[source]
        cause: Option<BoxError>,
    },
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The object is not there, or not visible.
    NotFound,
    /// The value is not allowed (too low, wrong level): it may be dropped or another one tried.
    BadValue,
    /// This object only: try again after an hour (four budget changes an hour).
    ObjectLocked,
    /// The account may not advertise, or was flagged: stop writing for the tenant, tell a person.
    AccountTrouble,
    /// The API version is dead: stop everything, tell the operator.
    DeadVersion,
    /// Any other.
    Other,
}
