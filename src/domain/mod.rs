//! What roasd knows and decides, as plain values and functions: no I/O, no clock, no chance of its
//! own. Everything outside gathers inputs, asks here, and writes down the answer.

pub mod attribution;
pub mod audit;
pub mod autonomy;
pub mod change;
pub mod deal;
pub mod ids;
pub mod insight;
pub mod limits;
pub mod money;
pub mod revenue;
pub mod structure;
pub mod time;
pub mod visit;
