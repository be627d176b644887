//! Rows of `pending_ad_changes`, and what a move of a change writes besides.

use super::cells::{Cells, Columns};
use super::not_one;
use super::values::{TargetColumns, corrupt, money_opt, run_status, target};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::change::{
    ChangeKind, ChangeState, Origin, PastAction, PendingChange, ProposedChange, Target,
};
use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::changes::Settlement;
use crate::store::nodes::Fence;

const TABLE: &str = "pending_ad_changes";

/// Who acts when no person does: roasd, and which node of it where there are several.
pub(in crate::store) fn acting(fence: Option<&Fence>) -> String {
    fence.map_or_else(
        || "roasd".to_owned(),
        |fence| format!("roasd@{}", fence.node),
    )
}

/// When a tenant's queue wants to be looked at next.
pub(in crate::store) const NEXT_DUE: &str = "select min(case status
         when 'executing' then updated_at
         when 'claimed' then claim_lease_until
         when 'pending' then
             case when earliest_execute_at < expires_at then earliest_execute_at else expires_at end
         else expires_at end)
     from pending_ad_changes
     where tenant = $1 and status in ('awaiting_approval', 'pending', 'claimed', 'executing')";

/// What was sent. A line `executing` was committed just before each call, so these are the calls,
/// also those whose answer never came. The line that follows says what came of it.
pub(in crate::store) const PAST_ACTIONS: &str =
    "select entity_type, entity_id, campaign_id, at, after_minor, after_currency, after_status
     from ad_change_history h
     where tenant = $1 and event = 'executing' and at >= $2
       and coalesce((select n.event from ad_change_history n
           where n.tenant = h.tenant and n.change_id = h.change_id and n.sequence > h.sequence
           order by n.sequence limit 1), '') not in ('deferred', 'failed')
     order by at, sequence";

/// Reads a change.
pub(in crate::store) fn read(row: &impl Cells) -> Result<PendingChange, StoreError> {
    let row = Columns::of(TABLE, row);
    let kind: &str = row.get("change_type")?;
    let kind = ChangeKind::parse(kind)
        .ok_or_else(|| corrupt(TABLE, format!("{kind:?} is no kind of change")))?;
    let value = |minor: &str, status: &str| -> Result<Option<Target>, StoreError> {
        Ok(match kind {
            ChangeKind::Budget => {
                money_opt(TABLE, row.get(minor)?, row.text("currency")?)?.map(Target::DailyBudget)
            }
            ChangeKind::Status => row
                .text(status)?
                .map(|name| run_status(TABLE, name))
                .transpose()?
                .map(Target::Status),
        })
    };
    let missing = || corrupt(TABLE, "a change has no value");
    let state: &str = row.get("status")?;
    let origin = match (row.id_opt("decision_id")?, row.id_opt("undoes_change_id")?) {
        (Some(decision), None) => Origin::Decision(decision),
        // What undoes itself undoes nothing: that is how a stop is written down.
        (None, Some(change)) if change == row.id("id")? => Origin::Stop,
        (None, Some(change)) => Origin::Undo(change),
        _ => return Err(corrupt(TABLE, "a change has no one origin")),
    };
    Ok(PendingChange {
        proposed: ProposedChange {
            id: row.id("id")?,
            tenant: row.id("tenant")?,
            entity: row.entity()?,
            entity_name: row.get("entity_name")?,
            campaign: row.id("campaign_id")?,
            expected: value("expected_minor", "expected_status")?.ok_or_else(missing)?,
            requested: value("requested_minor", "requested_status")?.ok_or_else(missing)?,
            reason: row.get("reason")?,
            origin,
            confidence: row.get("confidence")?,
            needs_approval: row.flag("needs_approval")?,
            rank: row.get("rank")?,
            earliest_at: row.at("earliest_execute_at")?,
            expires_at: row.at("expires_at")?,
            proposed_at: row.at("proposed_at")?,
        },
        state: ChangeState::parse(state)
            .ok_or_else(|| corrupt(TABLE, format!("{state:?} is no state")))?,
        attempt: row.get("attempt")?,
        note: row.get("note")?,
        rule: row.get("rule")?,
        intent: value("intent_minor", "intent_status")?,
        updated_at: row.at("updated_at")?,
    })
}

/// The columns of a proposal that say where it comes from and what it asks for.
pub(in crate::store) struct ProposalColumns<'a> {
    pub(in crate::store) expected: TargetColumns,
    pub(in crate::store) requested: TargetColumns,
    pub(in crate::store) decision: Option<&'a str>,
    pub(in crate::store) undoes: Option<&'a str>,
    pub(in crate::store) state: ChangeState,
}

impl<'a> ProposalColumns<'a> {
    /// The columns of a proposal whose two values are of one kind and currency.
    pub(in crate::store) fn of(
        proposed: &'a ProposedChange,
        doing: &'static str,
    ) -> Result<Self, StoreError> {
        let expected = TargetColumns::of(Some(proposed.expected));
        let requested = TargetColumns::of(Some(proposed.requested));
        if expected.currency != requested.currency {
            return Err(StoreError::Broken {
                doing,
                cause: "the value expected and the one requested are not of one kind and currency"
                    .into(),
            });
        }
        let (decision, undoes) = match &proposed.origin {
            Origin::Decision(id) => (Some(id.as_str()), None),
            Origin::Undo(id) => (None, Some(id.as_str())),
            Origin::Stop => (None, Some(proposed.id.as_str())),
        };
        Ok(Self {
            expected,
            requested,
            decision,
            undoes,
            state: if proposed.needs_approval {
                ChangeState::AwaitingApproval
            } else {
                ChangeState::Pending
            },
        })
    }
}

/// The columns of the value that is about to be sent.
pub(in crate::store) fn intent(
    change: &PendingChange,
    target: Target,
    doing: &'static str,
) -> Result<TargetColumns, StoreError> {
    let intent = TargetColumns::of(Some(target));
    let requested = TargetColumns::of(Some(change.proposed.requested));
    if change.proposed.requested.kind() != target.kind() || intent.currency != requested.currency {
        return Err(StoreError::Broken {
            doing,
            cause: "the value to send is not of the kind and currency proposed".into(),
        });
    }
    Ok(intent)
}

/// The change a claim is on, if the claim still holds.
pub(in crate::store) fn held(
    found: Option<PendingChange>,
    tenant: &TenantId,
    attempt: i64,
    doing: &'static str,
) -> Result<PendingChange, StoreError> {
    match found {
        Some(change)
            if change.proposed.tenant == *tenant
                && change.attempt == attempt
                && matches!(change.state, ChangeState::Claimed | ChangeState::Executing) =>
        {
            Ok(change)
        }
        _ => Err(not_one(doing, 0)),
    }
}

/// The line of a move, with the values proposed; a move that knows better ones replaces them.
pub(in crate::store) fn line(
    proposed: &ProposedChange,
    event: AuditEvent,
    actor: &str,
    detail: &str,
    now: Timestamp,
) -> AuditEntry {
    AuditEntry {
        tenant: proposed.tenant.clone(),
        at: now,
        event,
        actor: actor.to_owned(),
        change: Some(proposed.id.clone()),
        entity: Some(proposed.entity.clone()),
        campaign: Some(proposed.campaign.clone()),
        before: Some(proposed.expected),
        after: Some(proposed.requested),
        rule: None,
        detail: detail.to_owned(),
        vendor_request: None,
    }
}

/// The line that says a value is about to be sent.
pub(in crate::store) fn intent_line(
    change: &PendingChange,
    before: Target,
    target: Target,
    by: &str,
    now: Timestamp,
) -> AuditEntry {
    let proposed = &change.proposed;
    AuditEntry {
        before: Some(before),
        after: Some(target),
        ..line(proposed, AuditEvent::Executing, by, &proposed.reason, now)
    }
}

/// What a move writes into a change besides its state.
pub(in crate::store) struct Move<'a> {
    pub(in crate::store) next: ChangeState,
    pub(in crate::store) attempt: i64,
    pub(in crate::store) earliest: Timestamp,
    pub(in crate::store) rule: Option<&'a str>,
    pub(in crate::store) note: &'a str,
}

impl<'a> Move<'a> {
    /// Ends a change, or sends it on, and leaves the rest as it is.
    pub(in crate::store) fn to(change: &PendingChange, next: ChangeState, note: &'a str) -> Self {
        Self {
            next,
            attempt: change.attempt,
            earliest: change.proposed.earliest_at,
            rule: None,
            note,
        }
    }
}

/// The move that a settlement of a held change makes, and its line.
pub(in crate::store) fn settling<'a>(
    change: &PendingChange,
    settlement: &'a Settlement,
    by: &str,
    now: Timestamp,
) -> (Move<'a>, AuditEntry) {
    let proposed = &change.proposed;
    match settlement {
        Settlement::Completed {
            before,
            after,
            was_sent,
            vendor_request,
            clipped_by,
        } => {
            let note = if *was_sent {
                "set and read back"
            } else {
                "was in force already"
            };
            let mut step = Move::to(change, ChangeState::Completed, note);
            step.rule = clipped_by.as_deref();
            let entry = AuditEntry {
                before: Some(*before),
                after: Some(*after),
                rule: clipped_by.clone(),
                vendor_request: vendor_request.clone(),
                ..line(proposed, AuditEvent::Completed, by, note, now)
            };
            (step, entry)
        }
        Settlement::Failed {
            detail,
            vendor_request,
        } => {
            let entry = AuditEntry {
                after: Some(change.intent.unwrap_or(proposed.requested)),
                vendor_request: vendor_request.clone(),
                ..line(proposed, AuditEvent::Failed, by, detail, now)
            };
            (Move::to(change, ChangeState::Failed, detail), entry)
        }
        Settlement::Cancelled { found, detail } => {
            let entry = AuditEntry {
                before: found.or(Some(proposed.expected)),
                ..line(proposed, AuditEvent::Cancelled, by, detail, now)
            };
            (Move::to(change, ChangeState::Cancelled, detail), entry)
        }
        Settlement::Deferred {
            until,
            rule,
            detail,
            counts,
        } => {
            let step = Move {
                next: ChangeState::Pending,
                attempt: change.attempt - i64::from(!counts),
                earliest: *until,
                rule: Some(rule),
                note: detail,
            };
            let entry = AuditEntry {
                rule: Some(rule.clone()),
                ..line(proposed, AuditEvent::Deferred, by, detail, now)
            };
            (step, entry)
        }
        Settlement::Refused { rule, detail } => {
            let mut step = Move::to(change, ChangeState::Refused, detail);
            step.rule = Some(rule);
            let entry = AuditEntry {
                rule: Some(rule.clone()),
                ..line(proposed, AuditEvent::Refused, by, detail, now)
            };
            (step, entry)
        }
    }
}

/// The move of a change whose time is over, and its line.
pub(in crate::store) fn lapsing(
    change: &PendingChange,
    by: &str,
    now: Timestamp,
) -> (Move<'static>, AuditEntry) {
    let (next, event, note) = if change.state == ChangeState::AwaitingApproval {
        let note = "nobody approved it in time";
        (ChangeState::Expired, AuditEvent::Expired, note)
    } else {
        let note = "its time was over before it could be sent";
        (ChangeState::Cancelled, AuditEvent::Cancelled, note)
    };
    let entry = line(&change.proposed, event, by, note, now);
    (Move::to(change, next, note), entry)
}

/// The one of up to two changes whose ids begin with `id` that it names: an id that is the
/// beginning of another is still itself.
pub(in crate::store) fn only<R: Cells>(
    rows: &[R],
    id: &str,
) -> Result<Option<PendingChange>, StoreError> {
    match rows {
        [only] => read(only).map(Some),
        [first, _] => Ok(Some(read(first)?).filter(|c| c.proposed.id.as_str() == id)),
        _ => Ok(None),
    }
}

/// Reads a call from the line that was committed before it; `None` when it set nothing.
pub(in crate::store) fn past_action(row: &impl Cells) -> Result<Option<PastAction>, StoreError> {
    const TABLE: &str = "ad_change_history";
    let row = Columns::of(TABLE, row);
    let sent = target(
        TABLE,
        row.get("after_minor")?,
        row.text("after_currency")?,
        row.text("after_status")?,
    )?;
    let (Some(_), Some(target)) = (row.text("entity_type")?, sent) else {
        return Ok(None);
    };
    Ok(Some(PastAction {
        entity: row.entity()?,
        campaign: row
            .id_opt("campaign_id")?
            .ok_or_else(|| corrupt(TABLE, "an action names no campaign"))?,
        at: row.at("at")?,
        target,
    }))
}
