//! What roasd knows and decides, as plain values and functions: no I/O, no clock, no chance of its
//! own. Everything outside gathers inputs, asks here, and writes down the answer.

pub mod allocation;
pub mod bandit;
pub mod ids;
pub mod money;
pub mod policy;
pub mod posterior;
pub mod rationale;
pub mod score;
pub mod structure;
pub mod time;
pub mod verdicts;
