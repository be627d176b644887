//! What roasd knows and decides, as plain values and functions: no I/O, no clock, no chance of its
//! own. Everything outside gathers inputs, asks here, and writes down the answer.

pub mod ids;
pub mod money;
pub mod policy;
pub mod rationale;
pub mod structure;
pub mod time;
