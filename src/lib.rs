//! roasd moves Meta ad budget toward the ads whose leads become revenue in the CRM, and never does
//! anything to an ad account that its owner could not explain, cap or undo.
//!
//! `ARCHITECTURE.md` in the root of the repository is the map of this crate. In reading order:

pub mod actors;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod evaluation;
pub mod http;
pub mod import;
pub mod index;
pub mod sandbox;
pub mod store;
pub mod telemetry;
pub mod vendors;
