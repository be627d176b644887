//! The queue of pending changes. Each move writes its audit line in its own transaction.

use async_trait::async_trait;
use sqlx::{QueryBuilder, SqliteConnection};

use super::faults::fault;
use super::{SqliteStore, audit, entities};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::change::{ChangeState, PastAction, PendingChange, ProposedChange, Target};
use crate::domain::ids::{ChangeId, TenantId};
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::changes::{ChangeFilter, ChangeStore, ClaimedChange, Proposal, Settlement};
use crate::store::sql::changes::{
    Move, NEXT_DUE, PAST_ACTIONS, ProposalColumns, acting, held, intent, intent_line, lapsing,
    line, only, past_action, read, settling,
};
use crate::store::sql::not_one;
use crate::store::sql::values::{clean, micros};

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

/// Marks an open change as cancelled in favour of another.
async fn supersede(
    conn: &mut SqliteConnection,
    old: &PendingChange,
    new: &ChangeId,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let note = format!("superseded by change {new}");
    let step = Move::to(old, ChangeState::Cancelled, &note);
    let entry = line(&old.proposed, AuditEvent::Cancelled, by, &note, now);
    make(conn, old, step, &entry, now, "superseding a change").await
}

/// Adds a proposal to the queue.
async fn insert(
    conn: &mut SqliteConnection,
    proposed: &ProposedChange,
    now: Timestamp,
) -> Result<(), StoreError> {
    let doing = "queueing a change";
    let columns = ProposalColumns::of(proposed, doing)?;
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
    .bind(columns.requested.currency)
    .bind(columns.expected.minor)
    .bind(columns.requested.minor)
    .bind(columns.expected.status)
    .bind(columns.requested.status)
    .bind(clean(&proposed.reason))
    .bind(columns.decision)
    .bind(columns.undoes)
    .bind(proposed.confidence)
    .bind(i64::from(proposed.needs_approval))
    .bind(proposed.rank)
    .bind(micros(proposed.earliest_at))
    .bind(micros(proposed.expires_at))
    .bind(micros(proposed.proposed_at))
    .bind(columns.state.as_str())
    .bind(micros(now))
    .execute(conn)
    .await
    .map_err(fault(doing))?;
    Ok(())
}

#[async_trait]
impl ChangeStore for SqliteStore {
    async fn propose(
        &self,
        proposed: &ProposedChange,
        now: Timestamp,
    ) -> Result<Proposal, StoreError> {
        let doing = "proposing a change";
        let mut tx = self.write_for(&proposed.tenant, doing).await?;
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
        let by = acting(self.fence.as_deref());
        if let Some(row) = open {
            let old = read(&row)?;
            let old_id = old.proposed.id.clone();
            if old.state == ChangeState::Executing {
                return Ok(Proposal::Busy(old_id));
            }
            if old.proposed.requested == proposed.requested {
                return Ok(Proposal::SameAsOpen(old_id));
            }
            supersede(&mut tx, &old, &proposed.id, &by, now).await?;
            outcome = Proposal::Superseded(old_id);
        }
        insert(&mut tx, proposed, now).await?;
        let entry = line(proposed, AuditEvent::Proposed, &by, &proposed.reason, now);
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
        let mut tx = self.write_for(tenant, doing).await?;
        let row = sqlx::query(
            "update pending_ad_changes
             set status = 'claimed', attempt = attempt + 1, claimed_at = $2,
                 claim_lease_until = $3, updated_at = $2
             where tenant = $1 and id = (
                 select id from pending_ad_changes
                 where tenant = $1 and status in ('pending', 'claimed') and expires_at > $2
                   and ((status = 'pending' and earliest_execute_at <= $2)
                        or (status = 'claimed' and claim_lease_until <= $2))
                   and (coalesce(undoes_change_id = id, 0)
                        or (not exists (select 1 from daemon_state where paused_since is not null)
                            and not exists (select 1 from tenant_state
                                where tenant = $1 and paused_since is not null)))
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
        let mut tx = self.write_for(tenant, doing).await?;
        let change = held(find(&mut tx, id, doing).await?, tenant, attempt, doing)?;
        let intent = intent(&change, target, doing)?;
        let done = sqlx::query(
            "update pending_ad_changes
             set status = 'executing', intent_minor = $4, intent_status = $5, updated_at = $6,
                 claim_lease_until = null, note = 'being sent'
             where tenant = $1 and id = $2 and attempt = $3 and status = 'claimed'
               and not exists (select 1 from tenant_state
                   where tenant = $1 and suspended_since is not null)
               and (coalesce(undoes_change_id = id, 0)
                    or (not exists (select 1 from daemon_state where paused_since is not null)
                        and not exists (select 1 from tenant_state
                            where tenant = $1 and paused_since is not null)))",
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
        let by = acting(self.fence.as_deref());
        let entry = intent_line(&change, before, target, &by, now);
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
        let mut tx = self.write_for(tenant, doing).await?;
        let change = held(find(&mut tx, id, doing).await?, tenant, attempt, doing)?;
        if let Settlement::Completed {
            before,
            after,
            was_sent: true,
            ..
        } = settlement
        {
            entities::note_our_move(&mut tx, &change, *before, *after, now).await?;
        }
        let by = acting(self.fence.as_deref());
        let (step, entry) = settling(&change, settlement, &by, now);
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
        let mut tx = self.write_for(tenant, doing).await?;
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
        let by = acting(self.fence.as_deref());
        for row in &rows {
            let change = read(row)?;
            let (step, entry) = lapsing(&change, &by, now);
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
        only(&rows, id)
    }

    async fn changes_before(
        &self,
        filter: &ChangeFilter,
        before: Option<&(Timestamp, ChangeId)>,
    ) -> Result<Vec<PendingChange>, StoreError> {
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
        if let Some((at, id)) = before {
            query
                .push(" and (proposed_at, id) < (")
                .push_bind(micros(*at));
            query.push(", ").push_bind(id.as_str()).push(")");
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
        let due: Option<i64> = sqlx::query_scalar(NEXT_DUE)
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
        let rows = sqlx::query(PAST_ACTIONS)
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
