//! The queue of pending changes. Each move writes its audit line in its own transaction, under the
//! tenant's lock; a claim needs none, since it takes what nobody else has locked.

use async_trait::async_trait;

use super::session::Tx;
use super::{PostgresStore, Section, audit, column, entities, lock};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::change::{
    ChangeState, Origin, PastAction, PendingChange, ProposedChange, Target,
};
use crate::domain::ids::{ChangeId, TenantId};
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::changes::{ChangeFilter, ChangeStore, ClaimedChange, Proposal, Settlement};
use crate::store::sql::changes::{
    Move, NEXT_DUE, PAST_ACTIONS, ProposalColumns, acting, held, intent, intent_line, lapsing,
    line, only, past_action, read, settling,
};
use crate::store::sql::nodes::check_own;
use crate::store::sql::not_one;
use crate::store::sql::values::{clean, id as read_id, micros};

/// The columns of a change. A `*` would break prepared statements when a later release adds one.
macro_rules! columns {
    () => {
        "id, tenant, entity_type, entity_id, entity_name, campaign_id, change_type, currency,
         expected_minor, requested_minor, intent_minor, expected_status, requested_status,
         intent_status, reason, decision_id, undoes_change_id, confidence, needs_approval, rank,
         earliest_execute_at, expires_at, proposed_at, status, attempt, rule, note, updated_at"
    };
}

/// One change by id, of whichever tenant, held until the transaction ends.
async fn find(tx: &mut Tx, id: &ChangeId) -> Result<Option<PendingChange>, StoreError> {
    let row = tx
        .row(
            sqlx::query(concat!(
                "select ",
                columns!(),
                " from pending_ad_changes where id = $1 for update"
            ))
            .bind(id.as_str()),
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// Moves changes that were just read in this transaction, and writes the lines that tell it.
async fn make(
    tx: &mut Tx,
    moves: Vec<(&PendingChange, Move<'_>, AuditEntry)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let doing = tx.doing();
    if moves
        .iter()
        .any(|(change, step, _)| !change.state.may_become(step.next))
    {
        return Err(not_one(doing, 0));
    }
    // What was to be sent is told by the audit log; a change that waits again intends nothing.
    let done = tx
        .run(
            sqlx::query(
                "update pending_ad_changes as c
                 set status = m.status, attempt = m.attempt, earliest_execute_at = m.earliest,
                     rule = m.rule, note = m.note, updated_at = $1, claim_lease_until = null,
                     intent_minor = case when m.status = 'pending' then null
                         else c.intent_minor end,
                     intent_status = case when m.status = 'pending' then null
                         else c.intent_status end
                 from unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
                         $7::text[], $8::text[])
                     as m (tenant, id, status, attempt, earliest, rule, note)
                 where c.tenant = m.tenant and c.id = m.id",
            )
            .bind(micros(now))
            .bind(column(&moves, |(change, ..)| {
                change.proposed.tenant.as_str()
            }))
            .bind(column(&moves, |(change, ..)| change.proposed.id.as_str()))
            .bind(column(&moves, |(_, step, _)| step.next.as_str()))
            .bind(column(&moves, |(_, step, _)| step.attempt))
            .bind(column(&moves, |(_, step, _)| micros(step.earliest)))
            .bind(column(&moves, |(_, step, _)| step.rule.map(clean)))
            .bind(column(&moves, |(_, step, _)| clean(step.note))),
        )
        .await?;
    if usize::try_from(done) != Ok(moves.len()) {
        return Err(not_one(doing, done));
    }
    let entries: Vec<AuditEntry> = moves.into_iter().map(|(_, _, entry)| entry).collect();
    audit::append(tx, &entries).await?;
    Ok(())
}

/// Marks an open change as cancelled in favour of another.
async fn supersede(
    tx: &mut Tx,
    old: &PendingChange,
    new: &ChangeId,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let note = format!("superseded by change {new}");
    let step = Move::to(old, ChangeState::Cancelled, &note);
    let entry = line(&old.proposed, AuditEvent::Cancelled, by, &note, now);
    make(tx, vec![(old, step, entry)], now).await
}

/// Adds a proposal to the queue.
async fn insert(tx: &mut Tx, proposed: &ProposedChange, now: Timestamp) -> Result<(), StoreError> {
    let columns = ProposalColumns::of(proposed, "queueing a change")?;
    tx.run(
        sqlx::query(
            "insert into pending_ad_changes (id, tenant, entity_type, entity_id, entity_name,
                 campaign_id, change_type, currency, expected_minor, requested_minor,
                 expected_status, requested_status, reason, decision_id, undoes_change_id,
                 confidence, needs_approval, rank, earliest_execute_at, expires_at, proposed_at,
                 status, note, updated_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                 $18, $19, $20, $21, $22, 'proposed', $23)",
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
        .bind(micros(now)),
    )
    .await?;
    Ok(())
}

/// Whether the tenant or the daemon is paused, which holds all but a stop, or the tenant suspended.
/// Who pauses locks the tenant's queue first, so what is found here stays true until the transaction
/// ends; the daemon's row is held as well, for tenants that it does not know yet.
async fn is_held_back(tx: &mut Tx, tenant: &TenantId, is_stop: bool) -> Result<bool, StoreError> {
    let daemon = tx
        .row(sqlx::query(
            "select 1 from daemon_state where id = 1 and paused_since is null for share",
        ))
        .await?;
    let held = tx
        .row(
            sqlx::query(
                "select 1 from tenant_state
                 where tenant = $1
                     and (suspended_since is not null or (paused_since is not null and not $2))",
            )
            .bind(tenant.as_str())
            .bind(is_stop),
        )
        .await?;
    Ok((daemon.is_none() && !is_stop) || held.is_some())
}

impl PostgresStore {
    /// Begins a write on a change of whichever tenant, under its tenant's lock.
    async fn write_on(&self, id: &ChangeId, doing: &'static str) -> Result<Option<Tx>, StoreError> {
        let mut tx = self.write(doing).await?;
        let owner: Vec<(String,)> = tx
            .list(
                sqlx::query_as("select tenant from pending_ad_changes where id = $1")
                    .bind(id.as_str()),
            )
            .await?;
        let [(tenant,)] = owner.as_slice() else {
            return Ok(None);
        };
        let tenant: TenantId = read_id("pending_ad_changes", tenant)?;
        check_own(self.fence.as_deref(), &tenant, doing)?;
        lock(&mut tx, Section::Queue, &[tenant]).await?;
        Ok(Some(tx))
    }
}

#[async_trait]
impl ChangeStore for PostgresStore {
    async fn propose(
        &self,
        proposed: &ProposedChange,
        now: Timestamp,
    ) -> Result<Proposal, StoreError> {
        let doing = "proposing a change";
        let mut tx = self
            .write_in(Section::Queue, &proposed.tenant, doing)
            .await?;
        if let Some(same) = find(&mut tx, &proposed.id).await?
            && same.proposed.tenant == proposed.tenant
        {
            return Ok(Proposal::SameAsOpen(proposed.id.clone()));
        }
        let open = tx
            .row(
                sqlx::query(concat!(
                    "select ",
                    columns!(),
                    " from pending_ad_changes
                     where tenant = $1 and entity_type = $2 and entity_id = $3 and change_type = $4
                       and status in ('awaiting_approval', 'pending', 'claimed', 'executing')
                     for update"
                ))
                .bind(proposed.tenant.as_str())
                .bind(proposed.entity.kind().as_str())
                .bind(proposed.entity.id())
                .bind(proposed.requested.kind().as_str()),
            )
            .await?;
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
        audit::append(&mut tx, &[entry]).await?;
        tx.commit().await?;
        Ok(outcome)
    }

    async fn claim_change(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<ClaimedChange>, StoreError> {
        let mut tx = self.write_for(tenant, "claiming a change").await?;
        let row = tx
            .row(
                sqlx::query(concat!(
                    "with due as materialized (
                         select id as due_id from pending_ad_changes
                         where tenant = $1 and status in ('pending', 'claimed') and expires_at > $2
                           and ((status = 'pending' and earliest_execute_at <= $2)
                                or (status = 'claimed' and claim_lease_until <= $2))
                           and (coalesce(undoes_change_id = id, false)
                                or (not exists (select 1 from daemon_state
                                        where paused_since is not null)
                                    and not exists (select 1 from tenant_state
                                        where tenant = $1 and paused_since is not null)))
                         order by rank, proposed_at, id limit 1
                         for update skip locked)
                     update pending_ad_changes
                     set status = 'claimed', attempt = attempt + 1, claimed_at = $2,
                         claim_lease_until = $3, updated_at = $2
                     from due where id = due_id
                     returning ",
                    columns!()
                ))
                .bind(tenant.as_str())
                .bind(micros(now))
                .bind(micros(lease_until)),
            )
            .await?;
        let change = row.as_ref().map(read).transpose()?;
        tx.commit().await?;
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
        let mut tx = self.write_in(Section::Queue, tenant, doing).await?;
        let change = held(find(&mut tx, id).await?, tenant, attempt, doing)?;
        let intent = intent(&change, target, doing)?;
        let is_stop = change.proposed.origin == Origin::Stop;
        if is_held_back(&mut tx, tenant, is_stop).await? {
            return Err(not_one(doing, 0));
        }
        let done = tx
            .run(
                sqlx::query(
                    "update pending_ad_changes
                     set status = 'executing', intent_minor = $4, intent_status = $5,
                         updated_at = $6, claim_lease_until = null, note = 'being sent'
                     where tenant = $1 and id = $2 and attempt = $3 and status = 'claimed'",
                )
                .bind(tenant.as_str())
                .bind(id.as_str())
                .bind(attempt)
                .bind(intent.minor)
                .bind(intent.status)
                .bind(micros(now)),
            )
            .await?;
        if done != 1 {
            return Err(not_one(doing, done));
        }
        let by = acting(self.fence.as_deref());
        audit::append(&mut tx, &[intent_line(&change, before, target, &by, now)]).await?;
        tx.commit().await
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
        let mut tx = self.write_in(Section::Queue, tenant, doing).await?;
        let change = held(find(&mut tx, id).await?, tenant, attempt, doing)?;
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
        make(&mut tx, vec![(&change, step, entry)], now).await?;
        tx.commit().await
    }

    async fn executing_changes(&self, tenant: &TenantId) -> Result<Vec<PendingChange>, StoreError> {
        let query = sqlx::query(concat!(
            "select ",
            columns!(),
            " from pending_ad_changes where tenant = $1 and status = 'executing'
             order by updated_at, proposed_at, id"
        ))
        .bind(tenant.as_str());
        let rows = self.rows("reading what is being sent", query).await?;
        rows.iter().map(read).collect()
    }

    async fn approve_change(
        &self,
        id: &ChangeId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Option<PendingChange>, StoreError> {
        let Some(mut tx) = self.write_on(id, "approving a change").await? else {
            return Ok(None);
        };
        let Some(change) = find(&mut tx, id).await?.filter(|change| {
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
        make(&mut tx, vec![(&change, step, entry)], now).await?;
        let approved = find(&mut tx, id).await?;
        tx.commit().await?;
        Ok(approved)
    }

    async fn reject_change(
        &self,
        id: &ChangeId,
        actor: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<PendingChange>, StoreError> {
        let Some(mut tx) = self.write_on(id, "rejecting a change").await? else {
            return Ok(None);
        };
        let Some(change) = find(&mut tx, id)
            .await?
            .filter(|change| change.state.may_become(ChangeState::Rejected))
        else {
            return Ok(None);
        };
        let step = Move::to(&change, ChangeState::Rejected, reason);
        let entry = line(&change.proposed, AuditEvent::Rejected, actor, reason, now);
        make(&mut tx, vec![(&change, step, entry)], now).await?;
        let rejected = find(&mut tx, id).await?;
        tx.commit().await?;
        Ok(rejected)
    }

    async fn expire_changes(&self, tenant: &TenantId, now: Timestamp) -> Result<u64, StoreError> {
        let doing = "letting changes lapse";
        let mut tx = self.write_in(Section::Queue, tenant, doing).await?;
        let rows = tx
            .rows(
                sqlx::query(concat!(
                    "select ",
                    columns!(),
                    " from pending_ad_changes
                     where tenant = $1 and expires_at <= $2
                       and status in ('awaiting_approval', 'pending', 'claimed')
                       and (status <> 'claimed' or claim_lease_until <= $2)
                     order by proposed_at, id
                     for update"
                ))
                .bind(tenant.as_str())
                .bind(micros(now)),
            )
            .await?;
        let lapsed = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if lapsed.is_empty() {
            return Ok(0);
        }
        let by = acting(self.fence.as_deref());
        let moves = column(&lapsed, |change| {
            let (step, entry) = lapsing(change, &by, now);
            (change, step, entry)
        });
        make(&mut tx, moves, now).await?;
        tx.commit().await?;
        Ok(u64::try_from(lapsed.len()).unwrap_or(u64::MAX))
    }

    async fn change(&self, id: &str) -> Result<Option<PendingChange>, StoreError> {
        if id.is_empty() {
            return Ok(None);
        }
        let query = sqlx::query(concat!(
            "select ",
            columns!(),
            " from pending_ad_changes where id >= $1 and id < $2 order by id limit 2"
        ))
        .bind(clean(id))
        .bind(clean(&format!("{id}\u{10ffff}")));
        let rows = self.rows("reading a change", query).await?;
        only(&rows, id)
    }

    async fn changes_before(
        &self,
        filter: &ChangeFilter,
        before: Option<&(Timestamp, ChangeId)>,
    ) -> Result<Vec<PendingChange>, StoreError> {
        let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (micros(*at), id.as_str()));
        let query = match &filter.tenant {
            Some(tenant) => sqlx::query(concat!(
                "select ",
                columns!(),
                " from pending_ad_changes
                 where tenant = $3 and (cardinality($1::text[]) = 0 or status = any ($1))
                   and (proposed_at, id) < ($4, $5)
                 order by proposed_at desc, id desc limit $2"
            ))
            .bind(column(&filter.states, |state| state.as_str()))
            .bind(i64::from(filter.limit))
            .bind(tenant.as_str())
            .bind(at)
            .bind(id),
            None => sqlx::query(concat!(
                "select ",
                columns!(),
                " from pending_ad_changes
                 where (cardinality($1::text[]) = 0 or status = any ($1))
                   and (proposed_at, id) < ($3, $4)
                 order by proposed_at desc, id desc limit $2"
            ))
            .bind(column(&filter.states, |state| state.as_str()))
            .bind(i64::from(filter.limit))
            .bind(at)
            .bind(id),
        };
        let rows = self.rows("listing changes", query).await?;
        rows.iter().map(read).collect()
    }

    async fn next_due(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError> {
        let select = sqlx::query_as(NEXT_DUE).bind(tenant.as_str());
        let (due,): (Option<i64>,) = self
            .one("reading when the next change is due", select)
            .await?;
        Ok(due.map(from_micros))
    }

    async fn past_actions(
        &self,
        tenant: &TenantId,
        since: Timestamp,
    ) -> Result<Vec<PastAction>, StoreError> {
        let query = sqlx::query(PAST_ACTIONS)
            .bind(tenant.as_str())
            .bind(micros(since));
        let rows = self.rows("reading past actions", query).await?;
        rows.iter()
            .filter_map(|row| past_action(row).transpose())
            .collect()
    }
}
