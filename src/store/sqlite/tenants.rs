//! What a tenant is held by.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::faults::fault;
use super::{SqliteStore, audit};
use crate::domain::audit::AuditEvent;
use crate::domain::ids::TenantId;
use crate::domain::safety::Trip;
use crate::domain::structure::EntityRef;
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::sql::tenants::{
    BREAKERS, END_BREAKERS, TRIP, TRIP_LONGER, Tripping, holds, line, resumed, trip, trip_line,
    tripping,
};
use crate::store::sql::values::{clean, entity, id, micros};
use crate::store::tenants::{Held, TenantHolds, TenantStore};

/// Names a tenant that only a hold has named so far.
async fn ensure_row(conn: &mut SqliteConnection, tenant: &TenantId) -> Result<(), StoreError> {
    sqlx::query(
        "insert into tenant_state (tenant, name) values ($1, $1) on conflict (tenant) do nothing",
    )
    .bind(tenant.as_str())
    .execute(conn)
    .await
    .map_err(fault("naming a tenant"))?;
    Ok(())
}

async fn known(conn: &mut SqliteConnection) -> Result<Vec<TenantId>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar("select tenant from tenant_state order by tenant")
        .fetch_all(conn)
        .await
        .map_err(fault("reading the tenants"))?;
    names.iter().map(|name| id("tenant_state", name)).collect()
}

/// Tells the tenants concerned (all, for the daemon's own pause) in their audit logs.
async fn tell(
    conn: &mut SqliteConnection,
    tenant: Option<&TenantId>,
    event: AuditEvent,
    actor: &str,
    detail: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let concerned = match tenant {
        Some(tenant) => vec![tenant.clone()],
        None => known(&mut *conn).await?,
    };
    for tenant in concerned {
        let entry = line(tenant, event, actor, detail, at);
        audit::append(&mut *conn, &entry).await?;
    }
    Ok(())
}

impl SqliteStore {
    /// Sets or ends one of a tenant's holds; the statement names its columns.
    async fn set_hold(
        &self,
        doing: &'static str,
        statement: &'static str,
        tenant: &TenantId,
        held: Option<&Held>,
    ) -> Result<(), StoreError> {
        let mut tx = self.write_for(tenant, doing).await?;
        ensure_row(&mut tx, tenant).await?;
        sqlx::query(statement)
            .bind(tenant.as_str())
            .bind(held.map(|held| clean(&held.by)))
            .bind(held.map(|held| clean(&held.reason)))
            .bind(held.map(|held| micros(held.since)))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))
    }
}

#[async_trait]
impl TenantStore for SqliteStore {
    async fn ensure_tenant(
        &self,
        tenant: &TenantId,
        name: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "making a tenant known";
        let mut tx = self.write_for(tenant, doing).await?;
        sqlx::query(
            "insert into tenant_state (tenant, name, created_at) values ($1, $2, $3)
             on conflict (tenant) do update set
                 name = excluded.name, created_at = excluded.created_at
             where tenant_state.created_at is null",
        )
        .bind(tenant.as_str())
        .bind(clean(name))
        .bind(micros(now))
        .execute(&mut *tx)
        .await
        .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))
    }

    async fn holds(&self, tenant: &TenantId) -> Result<TenantHolds, StoreError> {
        let doing = "reading a tenant's holds";
        let mut tx = self.snapshot(doing).await?;
        let daemon = sqlx::query("select * from daemon_state where id = 1")
            .fetch_one(&mut *tx)
            .await
            .map_err(fault(doing))?;
        let row = sqlx::query("select * from tenant_state where tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(fault(doing))?;
        holds(&daemon, row.as_ref())
    }

    async fn pause(&self, tenant: Option<&TenantId>, held: &Held) -> Result<bool, StoreError> {
        let doing = "pausing";
        let mut tx = match tenant {
            Some(tenant) => self.write_for(tenant, doing).await?,
            None => self.write(doing).await?,
        };
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
        let done = query
            .bind(clean(&held.by))
            .bind(clean(&held.reason))
            .bind(micros(held.since))
            .bind(tenant.map_or("", TenantId::as_str))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        let paused = done.rows_affected() == 1;
        if paused {
            let event = AuditEvent::Paused;
            tell(&mut tx, tenant, event, &held.by, &held.reason, held.since).await?;
        }
        tx.commit().await.map_err(fault(doing))?;
        Ok(paused)
    }

    async fn resume(
        &self,
        tenant: Option<&TenantId>,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let doing = "resuming";
        let mut tx = match tenant {
            Some(tenant) => self.write_for(tenant, doing).await?,
            None => self.write(doing).await?,
        };
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
        let done = query.execute(&mut *tx).await.map_err(fault(doing))?;
        let mut was_held = done.rows_affected() == 1;
        if let Some(tenant) = tenant {
            let ended = sqlx::query(END_BREAKERS)
                .bind(tenant.as_str())
                .bind(micros(now))
                .execute(&mut *tx)
                .await
                .map_err(fault(doing))?;
            was_held |= ended.rows_affected() > 0;
        }
        if was_held {
            let detail = resumed(tenant);
            tell(&mut tx, tenant, AuditEvent::Resumed, actor, detail, now).await?;
        }
        tx.commit().await.map_err(fault(doing))?;
        Ok(was_held)
    }

    async fn trip_breaker(
        &self,
        tenant: &TenantId,
        trip: &Trip,
        actor: &str,
    ) -> Result<bool, StoreError> {
        let doing = "tripping a breaker";
        let mut tx = self.write_for(tenant, doing).await?;
        let row: Option<(i64, Option<i64>)> = sqlx::query_as(
            "select tripped_until, rests_until from breakers where tenant = $1 and breaker = $2",
        )
        .bind(tenant.as_str())
        .bind(trip.breaker.as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(fault(doing))?;
        let (since, until) = (micros(trip.since), micros(trip.until));
        let is_new = match tripping(row, since, until) {
            Tripping::Nothing => return Ok(false),
            Tripping::Longer => {
                sqlx::query(TRIP_LONGER)
                    .bind(tenant.as_str())
                    .bind(trip.breaker.as_str())
                    .bind(until)
                    .execute(&mut *tx)
                    .await
                    .map_err(fault(doing))?;
                false
            }
            Tripping::Anew => {
                sqlx::query(TRIP)
                    .bind(tenant.as_str())
                    .bind(trip.breaker.as_str())
                    .bind(since)
                    .bind(until)
                    .bind(clean(&trip.reason))
                    .execute(&mut *tx)
                    .await
                    .map_err(fault(doing))?;
                audit::append(&mut tx, &trip_line(tenant, trip, actor)).await?;
                true
            }
        };
        tx.commit().await.map_err(fault(doing))?;
        Ok(is_new)
    }

    async fn breakers(&self, tenant: &TenantId, now: Timestamp) -> Result<Vec<Trip>, StoreError> {
        let rows = sqlx::query(BREAKERS)
            .bind(tenant.as_str())
            .bind(micros(now))
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading the breakers"))?;
        rows.iter().map(trip).collect()
    }

    async fn set_parked(&self, tenant: &TenantId, held: Option<&Held>) -> Result<(), StoreError> {
        let statement = "update tenant_state
             set parked_by = $2, parked_reason = $3, parked_since = $4 where tenant = $1";
        self.set_hold("parking a tenant", statement, tenant, held)
            .await
    }

    async fn set_suspended(
        &self,
        tenant: &TenantId,
        held: Option<&Held>,
    ) -> Result<(), StoreError> {
        let statement = "update tenant_state
             set suspended_by = $2, suspended_reason = $3, suspended_since = $4 where tenant = $1";
        self.set_hold("suspending a tenant", statement, tenant, held)
            .await
    }

    async fn freeze(
        &self,
        tenant: &TenantId,
        entity: &EntityRef,
        until: Timestamp,
        reason: &str,
    ) -> Result<(), StoreError> {
        let doing = "freezing an object";
        let mut tx = self.write_for(tenant, doing).await?;
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
        .bind(clean(reason))
        .execute(&mut *tx)
        .await
        .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))
    }

    async fn frozen(
        &self,
        tenant: &TenantId,
        now: Timestamp,
    ) -> Result<Vec<(EntityRef, Timestamp, String)>, StoreError> {
        let rows: Vec<(String, String, i64, String)> = sqlx::query_as(
            "select entity_type, entity_id, frozen_until, reason from frozen_objects
             where tenant = $1 and frozen_until > $2",
        )
        .bind(tenant.as_str())
        .bind(micros(now))
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading what is frozen"))?;
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
        let mut tx = self.snapshot("reading the tenants").await?;
        known(&mut tx).await
    }
}
