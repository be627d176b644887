//! The queue of pending changes. Each move writes its audit line in its own transaction.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, SqliteConnection};

use super::change_rows::{ROASD, insert, line, read};
use super::faults::{fault, not_one};
use super::values::{Columns, TargetColumns, clean, corrupt, micros, target};
use super::{SqliteStore, audit, entities};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::change::{ChangeState, PastAction, PendingChange, ProposedChange, Target};
use crate::domain::ids::{ChangeId, TenantId};
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::changes::{ChangeFilter, ChangeStore, ClaimedChange, Proposal, Settlement};

/// One change by id, of whichever tenant.
async fn find(
    conn: &mut SqliteConnection,
    id: &ChangeId,
    doing: &'static str,
) -> Result<Option<PendingChange>, StoreError> {
    let row = sqlx::query("select * from pending_ad_changes where id = $1")
        .bind(id.as_str())
        .fetch_optional(conn)
        .await
        .map_err(fault(doing))?;
    row.as_ref().map(read).transpose()
}

/// The change a claim is on, if the claim still holds.
async fn held(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    id: &ChangeId,
    attempt: i64,
    doing: &'static str,
) -> Result<PendingChange, StoreError> {
    match find(conn, id, doing).await? {
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

/// What a move writes into a change besides its state.
struct Move<'a> {
    next: ChangeState,
    attempt: i64,
    earliest: Timestamp,
    rule: Option<&'a str>,
    note: &'a str,
}

/// Moves a change that was just read in this transaction, and writes the line that tells it.
async fn make(
    conn: &mut SqliteConnection,
    change: &PendingChange,
    step: Move<'_>,
    entry: &AuditEntry,
    now: Timestamp,
    doing: &'static str,
) -> Result<(), StoreError> {
    if !change.state.may_become(step.next) {
        return Err(not_one(doing, 0));
    }
    // What was to be sent is told by the audit log; a change that waits again intends nothing.
    let done = sqlx::query(
        "update pending_ad_changes
         set status = $3, attempt = $4, earliest_execute_at = $5, rule = $6, note = $7,
             updated_at = $8, claim_lease_until = null,
             intent_minor = case when $3 = 'pending' then null else intent_minor end,
             intent_status = case when $3 = 'pending' then null else intent_status end
         where tenant = $1 and id = $2",
    )
    .bind(change.proposed.tenant.as_str())
    .bind(change.proposed.id.as_str())
    .bind(step.next.as_str())
    .bind(step.attempt)
    .bind(micros(step.earliest))
    .bind(step.rule.map(clean))
    .bind(clean(step.note))
    .bind(micros(now))
    .execute(&mut *conn)
    .await
    .map_err(fault(doing))?;
    if done.rows_affected() != 1 {
        return Err(not_one(doing, done.rows_affected()));
    }
    audit::append(conn, entry).await?;
    Ok(())
}

impl<'a> Move<'a> {
    /// Ends a change, or sends it on, and leaves the rest as it is.
    fn to(change: &PendingChange, next: ChangeState, note: &'a str) -> Self {
        Self {
            next,
            attempt: change.attempt,
            earliest: change.proposed.earliest_at,
            rule: None,
            note,
        }
    }
}

/// Marks an open change as cancelled in favour of another.
async fn supersede(
    conn: &mut SqliteConnection,
    old: &PendingChange,
    by: &ChangeId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let note = format!("superseded by change {by}");
    let step = Move::to(old, ChangeState::Cancelled, &note);
    let entry = line(&old.proposed, AuditEvent::Cancelled, ROASD, &note, now);
    make(conn, old, step, &entry, now, "superseding a change").await
}

fn past_action(row: &SqliteRow) -> Result<Option<PastAction>, StoreError> {
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

#[async_trait]
impl ChangeStore for SqliteStore {
    async fn propose(
        &self,
        proposed: &ProposedChange,
        now: Timestamp,
    ) -> Result<Proposal, StoreError> {
        let doing = "proposing a change";
        let mut tx = self.write(doing).await?;
        if let Some(same) = find(&mut tx, &proposed.id, doing).await?
            && same.proposed.tenant == proposed.tenant
        {
            return Ok(Proposal::SameAsOpen(proposed.id.clone()));
        }
        let open = sqlx::query(
            "select * from pending_ad_changes
             where tenant = $1 and entity_type = $2 and entity_id = $3 and change_type = $4
               and status in ('awaiting_approval', 'pending', 'claimed', 'executing')",
        )
        .bind(proposed.tenant.as_str())
        .bind(proposed.entity.kind().as_str())
        .bind(proposed.entity.id())
        .bind(proposed.requested.kind().as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(fault(doing))?;
        let mut outcome = Proposal::Queued;
        if let Some(row) = open {
            let old = read(&row)?;
            let old_id = old.proposed.id.clone();
            if old.state == ChangeState::Executing {
                return Ok(Proposal::Busy(old_id));
            }
            if old.proposed.requested == proposed.requested {
                return Ok(Proposal::SameAsOpen(old_id));
            }
            supersede(&mut tx, &old, &proposed.id, now).await?;
            outcome = Proposal::Superseded(old_id);
        }
        let state = if proposed.needs_approval {
            ChangeState::AwaitingApproval
        } else {
            ChangeState::Pending
        };
        insert(&mut tx, proposed, state, now).await?;
        let entry = line(proposed, AuditEvent::Proposed, ROASD, &proposed.reason, now);
        audit::append(&mut tx, &entry).await?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(outcome)
    }

    async fn claim_change(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<ClaimedChange>, StoreError> {
        let doing = "claiming a change";
        let mut tx = self.write(doing).await?;
        let row = sqlx::query(
            "update pending_ad_changes
             set status = 'claimed', attempt = attempt + 1, claimed_at = $2,
                 claim_lease_until = $3, updated_at = $2
             where tenant = $1 and id = (
                 select id from pending_ad_changes
                 where tenant = $1 and status in ('pending', 'claimed') and expires_at > $2
                   and ((status = 'pending' and earliest_execute_at <= $2)
                        or (status = 'claimed' and claim_lease_until <= $2))
                 order by rank, proposed_at, id limit 1)
             returning *",
        )
        .bind(tenant.as_str())
        .bind(micros(now))
        .bind(micros(lease_until))
        .fetch_optional(&mut *tx)
        .await
        .map_err(fault(doing))?;
        let change = row.as_ref().map(read).transpose()?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(change.map(|change| ClaimedChange {
            change,
            lease_until,
        }))
    }

    async fn mark_executing(
        &self,
        tenant: &TenantId,
        id: &ChangeId,
        attempt: i64,
        before: Target,
        target: Target,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "committing the intent of a change";
        let mut tx = self.write(doing).await?;
        let change = held(&mut tx, tenant, id, attempt, doing).await?;
        let intent = TargetColumns::of(Some(target));
        let requested = TargetColumns::of(Some(change.proposed.requested));
        if change.proposed.requested.kind() != target.kind()
            || intent.currency != requested.currency
        {
            return Err(StoreError::Broken {
                doing,
                cause: "the value to send is not of the kind and currency proposed".into(),
            });
        }
        let done = sqlx::query(
            "update pending_ad_changes
             set status = 'executing', intent_minor = $4, intent_status = $5, updated_at = $6,
                 claim_lease_until = null, note = 'being sent'
             where tenant = $1 and id = $2 and attempt = $3 and status = 'claimed'
               and not exists (select 1 from daemon_state where paused_since is not null)
               and not exists (select 1 from tenant_state where tenant = $1
                   and (paused_since is not null or suspended_since is not null))",
        )
        .bind(tenant.as_str())
        .bind(id.as_str())
        .bind(attempt)
        .bind(intent.minor)
        .bind(intent.status)
        .bind(micros(now))
        .execute(&mut *tx)
        .await
        .map_err(fault(doing))?;
        if done.rows_affected() != 1 {
            return Err(not_one(doing, done.rows_affected()));
        }
        let entry = AuditEntry {
            before: Some(before),
            after: Some(target),
            ..line(
                &change.proposed,
                AuditEvent::Executing,
                ROASD,
                &change.proposed.reason,
                now,
            )
        };
        audit::append(&mut tx, &entry).await?;
        tx.commit().await.map_err(fault(doing))
    }

    async fn settle_change(
        &self,
        tenant: &TenantId,
        id: &ChangeId,
        attempt: i64,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "settling a change";
        let mut tx = self.write(doing).await?;
        let change = held(&mut tx, tenant, id, attempt, doing).await?;
        let proposed = &change.proposed;
        let (step, entry) = match settlement {
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
                if *was_sent {
                    entities::note_our_move(&mut tx, &change, *before, *after, now).await?;
                }
                let mut step = Move::to(&change, ChangeState::Completed, note);
                step.rule = clipped_by.as_deref();
                let entry = AuditEntry {
                    before: Some(*before),
                    after: Some(*after),
                    rule: clipped_by.clone(),
                    vendor_request: vendor_request.clone(),
                    ..line(proposed, AuditEvent::Completed, ROASD, note, now)
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
                    ..line(proposed, AuditEvent::Failed, ROASD, detail, now)
                };
                (Move::to(&change, ChangeState::Failed, detail), entry)
            }
            Settlement::Cancelled { found, detail } => {
                let entry = AuditEntry {
                    before: found.or(Some(proposed.expected)),
                    ..line(proposed, AuditEvent::Cancelled, ROASD, detail, now)
                };
                (Move::to(&change, ChangeState::Cancelled, detail), entry)
            }
            Settlement::Deferred {
                until,
                rule,
                detail,
                counts,
            } => {
                let step = Move {
                    next: ChangeState::Pending,
                    attempt: attempt - i64::from(!counts),
                    earliest: *until,
                    rule: Some(rule),
                    note: detail,
                };
                let entry = AuditEntry {
                    rule: Some(rule.clone()),
                    ..line(proposed, AuditEvent::Deferred, ROASD, detail, now)
                };
                (step, entry)
            }
            Settlement::Refused { rule, detail } => {
                let mut step = Move::to(&change, ChangeState::Refused, detail);
                step.rule = Some(rule);
                let entry = AuditEntry {
                    rule: Some(rule.clone()),
                    ..line(proposed, AuditEvent::Refused, ROASD, detail, now)
                };
                (step, entry)
            }
        };
        make(&mut tx, &change, step, &entry, now, doing).await?;
        tx.commit().await.map_err(fault(doing))
    }

    async fn executing_changes(&self, tenant: &TenantId) -> Result<Vec<PendingChange>, StoreError> {
        let rows = sqlx::query(
            "select * from pending_ad_changes where tenant = $1 and status = 'executing'
             order by updated_at, proposed_at, id",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading what is being sent"))?;
        rows.iter().map(read).collect()
    }

    async fn approve_change(
        &self,
        id: &ChangeId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Option<PendingChange>, StoreError> {
        let doing = "approving a change";
        let mut tx = self.write(doing).await?;
        let Some(change) = find(&mut tx, id, doing).await?.filter(|change| {
            change.state == ChangeState::AwaitingApproval && change.proposed.expires_at > now
        }) else {
            return Ok(None);
        };
        let note = format!("approved by {actor}");
        let step = Move {
            earliest: now,
            ..Move::to(&change, ChangeState::Pending, &note)
        };
        let entry = line(&change.proposed, AuditEvent::Approved, actor, &note, now);
        make(&mut tx, &change, step, &entry, now, doing).await?;
        let approved = find(&mut tx, id, doing).await?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(approved)
    }

    async fn reject_change(
        &self,
        id: &ChangeId,
        actor: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<PendingChange>, StoreError> {
        let doing = "rejecting a change";
        let mut tx = self.write(doing).await?;
        let Some(change) = find(&mut tx, id, doing)
            .await?
            .filter(|change| change.state.may_become(ChangeState::Rejected))
        else {
            return Ok(None);
        };
        let step = Move::to(&change, ChangeState::Rejected, reason);
        let entry = line(&change.proposed, AuditEvent::Rejected, actor, reason, now);
        make(&mut tx, &change, step, &entry, now, doing).await?;
        let rejected = find(&mut tx, id, doing).await?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(rejected)
    }

    async fn expire_changes(&self, tenant: &TenantId, now: Timestamp) -> Result<u64, StoreError> {
        let doing = "letting changes lapse";
        let mut tx = self.write(doing).await?;
        let rows = sqlx::query(
            "select * from pending_ad_changes
             where tenant = $1 and expires_at <= $2
               and status in ('awaiting_approval', 'pending', 'claimed')
               and (status <> 'claimed' or claim_lease_until <= $2)
             order by proposed_at, id",
        )
        .bind(tenant.as_str())
        .bind(micros(now))
        .fetch_all(&mut *tx)
        .await
        .map_err(fault(doing))?;
        let mut lapsed = 0;
        for row in &rows {
            let change = read(row)?;
            let (next, event, note) = if change.state == ChangeState::AwaitingApproval {
                let note = "nobody approved it in time";
                (ChangeState::Expired, AuditEvent::Expired, note)
            } else {
                let note = "its time was over before it could be sent";
                (ChangeState::Cancelled, AuditEvent::Cancelled, note)
            };
            let entry = line(&change.proposed, event, ROASD, note, now);
            let step = Move::to(&change, next, note);
            make(&mut tx, &change, step, &entry, now, doing).await?;
            lapsed += 1;
        }
        tx.commit().await.map_err(fault(doing))?;
        Ok(lapsed)
    }

    async fn change(&self, id: &str) -> Result<Option<PendingChange>, StoreError> {
        if id.is_empty() {
            return Ok(None);
        }
        let rows = sqlx::query(
            "select * from pending_ad_changes where id >= $1 and id < $2 order by id limit 2",
        )
        .bind(id)
        .bind(format!("{id}\u{10ffff}"))
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading a change"))?;
        match rows.as_slice() {
            [only] => read(only).map(Some),
            // An id that is the beginning of another is still itself.
            [first, _] => Ok(Some(read(first)?).filter(|c| c.proposed.id.as_str() == id)),
            _ => Ok(None),
        }
    }

    async fn changes(&self, filter: &ChangeFilter) -> Result<Vec<PendingChange>, StoreError> {
        let mut query = QueryBuilder::new("select * from pending_ad_changes where 1 = 1");
        if let Some(tenant) = &filter.tenant {
            query.push(" and tenant = ").push_bind(tenant.as_str());
        }
        if !filter.states.is_empty() {
            query.push(" and status in (");
            let mut list = query.separated(", ");
            for state in &filter.states {
                list.push_bind(state.as_str());
            }
            query.push(")");
        }
        query
            .push(" order by proposed_at desc, id desc limit ")
            .push_bind(i64::from(filter.limit));
        let rows = query
            .build()
            .fetch_all(&self.readers)
            .await
            .map_err(fault("listing changes"))?;
        rows.iter().map(read).collect()
    }

    async fn next_due(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError> {
        let due: Option<i64> = sqlx::query_scalar(
            "select min(case status
                 when 'executing' then updated_at
                 when 'claimed' then claim_lease_until
                 when 'pending' then min(earliest_execute_at, expires_at)
                 else expires_at end)
             from pending_ad_changes
             where tenant = $1
               and status in ('awaiting_approval', 'pending', 'claimed', 'executing')",
        )
        .bind(tenant.as_str())
        .fetch_one(&self.readers)
        .await
        .map_err(fault("reading when the next change is due"))?;
        Ok(due.map(from_micros))
    }

    async fn past_actions(
        &self,
        tenant: &TenantId,
        since: Timestamp,
    ) -> Result<Vec<PastAction>, StoreError> {
        // A line `executing` was committed just before each call, so these are the calls, also
        // those whose answer never came. The line that follows says what came of it.
        let rows = sqlx::query(
            "select entity_type, entity_id, campaign_id, at, after_minor, after_currency,
                 after_status
             from ad_change_history h
             where tenant = $1 and event = 'executing' and at >= $2
               and coalesce((select n.event from ad_change_history n
                   where n.tenant = h.tenant and n.change_id = h.change_id
                     and n.sequence > h.sequence
                   order by n.sequence limit 1), '') not in ('deferred', 'failed')
             order by at, sequence",
        )
        .bind(tenant.as_str())
        .bind(micros(since))
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading past actions"))?;
        rows.iter()
            .filter_map(|row| past_action(row).transpose())
            .collect()
    }
}
