//! What a tenant is held by. Who holds one, or all, locks their queues first: no intent is committed
//! after a pause has returned.

use async_trait::async_trait;

use super::session::Tx;
use super::{PostgresStore, Section, audit, lock};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::ids::TenantId;
use crate::domain::safety::Trip;
use crate::domain::structure::EntityRef;
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::sql::tenants::{
    BREAKERS, END_BREAKERS, TRIP, TRIP_LONGER, Tripping, holds, line, resumed, trip, trip_line,
    tripping,
};
use crate::store::sql::values::{clean, corrupt, entity, id, micros};
use crate::store::tenants::{Held, TenantHolds, TenantStore};

/// Names a tenant that only a hold has named so far.
async fn ensure_row(tx: &mut Tx, tenant: &TenantId) -> Result<(), StoreError> {
    tx.run(
        sqlx::query(
            "insert into tenant_state (tenant, name) values ($1, $1)
             on conflict (tenant) do nothing",
        )
        .bind(tenant.as_str()),
    )
    .await?;
    Ok(())
}

fn tenant_ids(names: Vec<(String,)>) -> Result<Vec<TenantId>, StoreError> {
    names
        .iter()
        .map(|(name,)| id("tenant_state", name))
        .collect()
}

impl PostgresStore {
    /// Begins a write on the holds of a tenant, or of all there are, under their locks; returns
    /// whom it concerns.
    async fn write_holds(
        &self,
        tenant: Option<&TenantId>,
        doing: &'static str,
    ) -> Result<(Tx, Vec<TenantId>), StoreError> {
        if let Some(tenant) = tenant {
            let tx = self.write_in(Section::Queue, tenant, doing).await?;
            return Ok((tx, vec![tenant.clone()]));
        }
        let mut tx = self.write(doing).await?;
        let names = tx
            .list(sqlx::query_as(
                "select tenant from tenant_state order by tenant",
            ))
            .await?;
        let concerned = tenant_ids(names)?;
        lock(&mut tx, Section::Queue, &concerned).await?;
        Ok((tx, concerned))
    }
}

/// Tells the tenants concerned in their audit logs.
async fn tell(
    tx: &mut Tx,
    concerned: Vec<TenantId>,
    event: AuditEvent,
    actor: &str,
    detail: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let entries: Vec<AuditEntry> = concerned
        .into_iter()
        .map(|tenant| line(tenant, event, actor, detail, at))
        .collect();
    audit::append(tx, &entries).await?;
    Ok(())
}

#[async_trait]
impl TenantStore for PostgresStore {
    async fn ensure_tenant(
        &self,
        tenant: &TenantId,
        name: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write_for(tenant, "making a tenant known").await?;
        tx.run(
            sqlx::query(
                "insert into tenant_state (tenant, name, created_at) values ($1, $2, $3)
                 on conflict (tenant) do update set
                     name = excluded.name, created_at = excluded.created_at
                 where tenant_state.created_at is null",
            )
            .bind(tenant.as_str())
            .bind(clean(name))
            .bind(micros(now)),
        )
        .await?;
        tx.commit().await
    }

    async fn holds(&self, tenant: &TenantId) -> Result<TenantHolds, StoreError> {
        let mut tx = self.snapshot("reading a tenant's holds").await?;
        let daemon = tx
            .row(sqlx::query(
                "select paused_by, paused_reason, paused_since from daemon_state where id = 1",
            ))
            .await?
            .ok_or_else(|| corrupt("daemon_state", "its one row is gone"))?;
        let row = tx
            .row(
                sqlx::query(
                    "select paused_by, paused_reason, paused_since, parked_by, parked_reason,
                         parked_since, suspended_by, suspended_reason, suspended_since
                     from tenant_state where tenant = $1",
                )
                .bind(tenant.as_str()),
            )
            .await?;
        holds(&daemon, row.as_ref())
    }

    async fn pause(&self, tenant: Option<&TenantId>, held: &Held) -> Result<bool, StoreError> {
        let (mut tx, concerned) = self.write_holds(tenant, "pausing").await?;
        let query = match tenant {
            Some(tenant) => {
                ensure_row(&mut tx, tenant).await?;
                sqlx::query(
                    "update tenant_state
                     set paused_by = $1, paused_reason = $2, paused_since = $3
                     where tenant = $4 and paused_since is null",
                )
            }
            None => sqlx::query(
                "update daemon_state set paused_by = $1, paused_reason = $2, paused_since = $3
                 where $4 = '' and paused_since is null",
            ),
        };
        let done = tx
            .run(
                query
                    .bind(clean(&held.by))
                    .bind(clean(&held.reason))
                    .bind(micros(held.since))
                    .bind(tenant.map_or("", TenantId::as_str)),
            )
            .await?;
        let is_new = done == 1;
        if is_new {
            let event = AuditEvent::Paused;
            tell(
                &mut tx,
                concerned,
                event,
                &held.by,
                &held.reason,
                held.since,
            )
            .await?;
        }
        tx.commit().await?;
        Ok(is_new)
    }

    async fn resume(
        &self,
        tenant: Option<&TenantId>,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (mut tx, concerned) = self.write_holds(tenant, "resuming").await?;
        let query = match tenant {
            Some(tenant) => sqlx::query(
                "update tenant_state
                 set paused_by = null, paused_reason = null, paused_since = null,
                     parked_by = null, parked_reason = null, parked_since = null
                 where tenant = $1 and (paused_since is not null or parked_since is not null)",
            )
            .bind(tenant.as_str()),
            None => sqlx::query(
                "update daemon_state
                 set paused_by = null, paused_reason = null, paused_since = null
                 where paused_since is not null",
            ),
        };
        let mut was_held = tx.run(query).await? == 1;
        if let Some(tenant) = tenant {
            let end = sqlx::query(END_BREAKERS)
                .bind(tenant.as_str())
                .bind(micros(now));
            was_held |= tx.run(end).await? > 0;
        }
        if was_held {
            let detail = resumed(tenant);
            tell(&mut tx, concerned, AuditEvent::Resumed, actor, detail, now).await?;
        }
        tx.commit().await?;
        Ok(was_held)
    }

    async fn trip_breaker(
        &self,
        tenant: &TenantId,
        trip: &Trip,
        actor: &str,
    ) -> Result<bool, StoreError> {
        let doing = "tripping a breaker";
        let mut tx = self.write_in(Section::Queue, tenant, doing).await?;
        let rows: Vec<(i64, Option<i64>)> = tx
            .list(
                sqlx::query_as(
                    "select tripped_until, rests_until from breakers
                     where tenant = $1 and breaker = $2",
                )
                .bind(tenant.as_str())
                .bind(trip.breaker.as_str()),
            )
            .await?;
        let (since, until) = (micros(trip.since), micros(trip.until));
        let is_new = match tripping(rows.first().copied(), since, until) {
            Tripping::Nothing => return Ok(false),
            Tripping::Longer => {
                tx.run(
                    sqlx::query(TRIP_LONGER)
                        .bind(tenant.as_str())
                        .bind(trip.breaker.as_str())
                        .bind(until),
                )
                .await?;
                false
            }
            Tripping::Anew => {
                tx.run(
                    sqlx::query(TRIP)
                        .bind(tenant.as_str())
                        .bind(trip.breaker.as_str())
                        .bind(since)
                        .bind(until)
                        .bind(clean(&trip.reason)),
                )
                .await?;
                audit::append(&mut tx, &[trip_line(tenant, trip, actor)]).await?;
                true
            }
        };
        tx.commit().await?;
        Ok(is_new)
    }

    async fn breakers(&self, tenant: &TenantId, now: Timestamp) -> Result<Vec<Trip>, StoreError> {
        let query = sqlx::query(BREAKERS)
            .bind(tenant.as_str())
            .bind(micros(now));
        let rows = self.rows("reading the breakers", query).await?;
        rows.iter().map(trip).collect()
    }

    async fn set_parked(&self, tenant: &TenantId, held: Option<&Held>) -> Result<(), StoreError> {
        let doing = "parking a tenant";
        let mut tx = self.write_in(Section::Queue, tenant, doing).await?;
        ensure_row(&mut tx, tenant).await?;
        tx.run(
            sqlx::query(
                "update tenant_state set parked_by = $2, parked_reason = $3, parked_since = $4
                 where tenant = $1",
            )
            .bind(tenant.as_str())
            .bind(held.map(|held| clean(&held.by)))
            .bind(held.map(|held| clean(&held.reason)))
            .bind(held.map(|held| micros(held.since))),
        )
        .await?;
        tx.commit().await
    }

    async fn set_suspended(
        &self,
        tenant: &TenantId,
        held: Option<&Held>,
    ) -> Result<(), StoreError> {
        let doing = "suspending a tenant";
        let mut tx = self.write_in(Section::Queue, tenant, doing).await?;
        ensure_row(&mut tx, tenant).await?;
        tx.run(
            sqlx::query(
                "update tenant_state
                 set suspended_by = $2, suspended_reason = $3, suspended_since = $4
                 where tenant = $1",
            )
            .bind(tenant.as_str())
            .bind(held.map(|held| clean(&held.by)))
            .bind(held.map(|held| clean(&held.reason)))
            .bind(held.map(|held| micros(held.since))),
        )
        .await?;
        tx.commit().await
    }

    async fn freeze(
        &self,
        tenant: &TenantId,
        entity: &EntityRef,
        until: Timestamp,
        reason: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.write_for(tenant, "freezing an object").await?;
        tx.run(
            sqlx::query(
                "insert into frozen_objects (tenant, entity_type, entity_id, frozen_until, reason)
                 values ($1, $2, $3, $4, $5)
                 on conflict (tenant, entity_type, entity_id) do update set
                     frozen_until = excluded.frozen_until, reason = excluded.reason
                 where excluded.frozen_until > frozen_objects.frozen_until",
            )
            .bind(tenant.as_str())
            .bind(entity.kind().as_str())
            .bind(entity.id())
            .bind(micros(until))
            .bind(clean(reason)),
        )
        .await?;
        tx.commit().await
    }

    async fn frozen(
        &self,
        tenant: &TenantId,
        now: Timestamp,
    ) -> Result<Vec<(EntityRef, Timestamp, String)>, StoreError> {
        let select = sqlx::query_as(
            "select entity_type, entity_id, frozen_until, reason from frozen_objects
             where tenant = $1 and frozen_until > $2",
        )
        .bind(tenant.as_str())
        .bind(micros(now));
        let rows: Vec<(String, String, i64, String)> =
            self.list("reading what is frozen", select).await?;
        let mut frozen = rows
            .into_iter()
            .map(|(kind, id, until, reason)| {
                let object = entity("frozen_objects", &kind, &id)?;
                Ok((object, from_micros(until), reason))
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        frozen.sort();
        Ok(frozen)
    }

    async fn tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        let select = sqlx::query_as("select tenant from tenant_state order by tenant");
        tenant_ids(self.list("reading the tenants", select).await?)
    }
}
