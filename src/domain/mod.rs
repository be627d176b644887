//! What roasd knows and decides, as plain values and functions: no I/O, no clock, no chance of its
//! own. Everything outside gathers inputs, asks here, and writes down the answer.

pub mod allocation;
pub mod api_token;
pub mod attribution;
pub mod audit;
pub mod autonomy;
pub mod bandit;
pub mod change;
pub mod coverage;
pub mod deal;
pub mod fx;
pub mod ids;
pub mod insight;
pub mod invariants;
pub mod keyed_hash;
pub mod lead;
pub mod limits;
pub mod money;
pub mod naming;
pub mod plan;
pub mod policy;
pub mod posterior;
pub mod rationale;
pub mod revaluation;
pub mod revenue;
pub mod safety;
pub mod score;
pub mod stages;
pub mod stop;
pub mod structure;
pub mod time;
pub mod undo;
pub mod verdicts;
pub mod visit;
pub mod winner;
pub mod worth;
