//! The house policy, `roasd`: the order of ALGORITHM 6.

use super::{Outcome, Policy, PolicyInputs};

/// The decision model of this project.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoasdPolicy;

impl Policy for RoasdPolicy {
    fn name(&self) -> &'static str {
        "roasd"
    }
    fn version(&self) -> u32 {
        1
    }
    fn decide(&self, _inputs: &PolicyInputs) -> Outcome {
        unreachable!("filled in by the next commit")
    }
}
