//! Respect for Meta's learning phase: after a significant edit a budget rests, since another edit
//! may start the phase anew. A pause is never held back for it.

use super::{ChangeContext, Rule, Verdict, defer};
use crate::domain::time::{self, SignedDuration};

/// How long a budget rests after an edit that Meta counted as significant. Meta publishes no such
/// span; a day lets one day's delivery settle and agrees with one change a day.
pub const SIGNIFICANT_EDIT_QUIET: SignedDuration = time::hours(24);

/// Holds a budget change of the policy's after a significant edit.
pub(super) fn quiet(ctx: &ChangeContext<'_>) -> Option<Verdict> {
    let edited = ctx.live.last_significant_edit?;
    let until = time::add(edited, SIGNIFICANT_EDIT_QUIET);
    if ctx.is_by_person() || until <= ctx.now {
        return None;
    }
    let reason = "Meta counted a significant edit lately; its learning phase is left in peace";
    Some(defer(ctx, Rule::LearningQuiet, until, reason.into()))
}
