//! Respect for Meta's learning phase: after a significant edit a budget rests, since another edit
//! may start the phase anew. A pause is never held back for it.

use super::{ChangeContext, Rule, Verdict, defer};
use crate::domain::time;

/// Holds a budget change of the policy's after a significant edit.
pub(super) fn quiet(ctx: &ChangeContext<'_>) -> Option<Verdict> {
    let edited = ctx.live.last_significant_edit?;
    let until = time::add(edited, ctx.limits.significant_edit_quiet);
    if ctx.is_by_person() || until <= ctx.now {
        return None;
    }
    let reason = "Meta counted a significant edit lately; its learning phase is left in peace";
    Some(defer(ctx, Rule::LearningQuiet, until, reason.into()))
}
