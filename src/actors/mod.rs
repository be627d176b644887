//! The tree of actors: a root, one subtree per tenant, in each five stages, one housekeeper,
//! one outbox, and one placement where several nodes share the store.
//! Messages are nudges; the truth is in the store.

pub mod attribution;
mod breakers;
pub mod context;
pub mod executor;
pub mod handle;
pub mod housekeeper;
mod intake;
pub mod lease;
pub mod optimizer;
pub mod outbox;
pub mod placement;
pub mod restart;
pub mod root;
pub mod spend;
pub mod stage;
pub mod sync;
pub mod tenant;
pub mod versions;
pub mod winners;
