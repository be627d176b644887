//! Rows of `pending_ad_changes`, and the audit lines that their moves write.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::faults::fault;
use super::values::{Columns, TargetColumns, clean, corrupt, micros, money_opt, run_status};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::change::{
    ChangeKind, ChangeState, Origin, PendingChange, ProposedChange, Target,
};
use crate::domain::time::Timestamp;
use crate::store::StoreError;

const TABLE: &str = "pending_ad_changes";

/// Who acts when no person does.
pub(super) const ROASD: &str = "roasd";

/// Reads a change.
pub(super) fn read(row: &SqliteRow) -> Result<PendingChange, StoreError> {
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

/// Adds a proposal to the queue.
pub(super) async fn insert(
    conn: &mut SqliteConnection,
    proposed: &ProposedChange,
    state: ChangeState,
    now: Timestamp,
) -> Result<(), StoreError> {
    let doing = "queueing a change";
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
    };
    sqlx::query(
        "insert into pending_ad_changes (id, tenant, entity_type, entity_id, entity_name,
             campaign_id, change_type, currency, expected_minor, requested_minor, expected_status,
             requested_status, reason, decision_id, undoes_change_id, confidence, needs_approval,
             rank, earliest_execute_at, expires_at, proposed_at, status, note, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, $20, $21, $22, 'proposed', $23)",
    )
    .bind(proposed.id.as_str())
    .bind(proposed.tenant.as_str())
    .bind(proposed.entity.kind().as_str())
    .bind(proposed.entity.id())
    .bind(clean(&proposed.entity_name))
    .bind(proposed.campaign.as_str())
    .bind(proposed.requested.kind().as_str())
    .bind(requested.currency)
    .bind(expected.minor)
    .bind(requested.minor)
    .bind(expected.status)
    .bind(requested.status)
    .bind(clean(&proposed.reason))
    .bind(decision)
    .bind(undoes)
    .bind(proposed.confidence)
    .bind(i64::from(proposed.needs_approval))
    .bind(proposed.rank)
    .bind(micros(proposed.earliest_at))
    .bind(micros(proposed.expires_at))
    .bind(micros(proposed.proposed_at))
    .bind(state.as_str())
    .bind(micros(now))
    .execute(conn)
    .await
    .map_err(fault(doing))?;
    Ok(())
}

/// The line of a move, with the values proposed; a move that knows better ones replaces them.
pub(super) fn line(
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
