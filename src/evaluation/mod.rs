//! Roasd's judgement held against known truth, on data made for it. Nothing here is live.

pub mod attribution;
pub mod markets;
