//! Decisions with the inputs they were made from.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::ids::{RunId, TenantId};
use crate::domain::structure::EntityRef;
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::decisions::{DecisionRecord, DecisionStore, RunRecord};
use crate::store::sql::decisions::{in_sequence, only, put_aside, read, read_run};
use crate::store::sql::json;
use crate::store::sql::values::{clean, micros};

#[async_trait]
impl DecisionStore for SqliteStore {
    async fn record_run(
        &self,
        tenant: &TenantId,
        run: &RunRecord,
        decisions: &[DecisionRecord],
    ) -> Result<(), StoreError> {
        let doing = "recording decisions";
        let flags = json(&run.flags, doing)?;
        let mut tx = self.write_for(tenant, doing).await?;
        sqlx::query(
            "insert into decision_runs (id, tenant, at, seed, policy, version, inputs_json,
                 flags_json)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(run.id.as_str())
        .bind(tenant.as_str())
        .bind(micros(run.at))
        .bind(run.seed.cast_signed())
        .bind(clean(&run.policy))
        .bind(clean(&run.version))
        .bind(clean(&run.inputs_json))
        .bind(flags)
        .execute(&mut *tx)
        .await
        .map_err(fault(doing))?;
        for decision in decisions {
            sqlx::query(
                "insert into decisions (id, tenant, run_id, entity_type, entity_id, entity_name,
                     action, value_from, value_to, paragraph, rationale_json, change_id, at)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            )
            .bind(decision.id.as_str())
            .bind(tenant.as_str())
            .bind(run.id.as_str())
            .bind(decision.entity.kind().as_str())
            .bind(decision.entity.id())
            .bind(clean(&decision.entity_name))
            .bind(clean(&decision.action))
            .bind(clean(&decision.from))
            .bind(clean(&decision.to))
            .bind(clean(&decision.paragraph))
            .bind(clean(&decision.rationale_json))
            .bind(decision.change.as_ref().map(|id| id.as_str()))
            .bind(micros(decision.at))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn decision(
        &self,
        id: &str,
    ) -> Result<Option<(TenantId, RunRecord, DecisionRecord)>, StoreError> {
        let doing = "reading a decision";
        if id.is_empty() {
            return Ok(None);
        }
        let mut tx = self.snapshot(doing).await?;
        let rows =
            sqlx::query("select * from decisions where id >= $1 and id < $2 order by id limit 2")
                .bind(id)
                .bind(format!("{id}\u{10ffff}"))
                .fetch_all(&mut *tx)
                .await
                .map_err(fault(doing))?;
        let Some((tenant, decision)) = only(&rows, id)? else {
            return Ok(None);
        };
        let run = sqlx::query("select * from decision_runs where tenant = $1 and id = $2")
            .bind(tenant.as_str())
            .bind(decision.run.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(fault(doing))?;
        Ok(Some((tenant, read_run(&run)?, decision)))
    }

    async fn latest_decisions(&self, tenant: &TenantId) -> Result<Vec<DecisionRecord>, StoreError> {
        let rows = sqlx::query(
            "select * from decisions where tenant = $1 and run_id = (
                 select id from decision_runs where tenant = $1 order by at desc, id desc limit 1)",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading the newest decisions"))?;
        let mut decisions = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        decisions.sort_by(|a, b| a.entity.cmp(&b.entity));
        Ok(decisions)
    }

    async fn decisions_before(
        &self,
        tenant: &TenantId,
        object: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, DecisionRecord)>, StoreError> {
        // Two statements: each has an index of its own.
        let query = match object {
            Some(_) => sqlx::query(
                "select * from decisions where tenant = $1 and sequence < $2 and entity_id = $4
                 order by sequence desc limit $3",
            ),
            None => sqlx::query(
                "select * from decisions where tenant = $1 and sequence < $2 and $4 is null
                 order by sequence desc limit $3",
            ),
        };
        let rows = query
            .bind(tenant.as_str())
            .bind(before.unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .bind(object)
            .fetch_all(&self.readers)
            .await
            .map_err(fault("listing decisions"))?;
        in_sequence(&rows)
    }

    async fn latest_run_at(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> =
            sqlx::query_scalar("select max(at) from decision_runs where tenant = $1")
                .bind(tenant.as_str())
                .fetch_one(&self.readers)
                .await
                .map_err(fault("reading when the newest run was"))?;
        Ok(at.map(from_micros))
    }

    async fn run_after(
        &self,
        tenant: &TenantId,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Option<RunRecord>, StoreError> {
        let row = sqlx::query(
            "select * from decision_runs where tenant = $1 and at > $2 and at <= $3
             order by at, id limit 1",
        )
        .bind(tenant.as_str())
        .bind(micros(after))
        .bind(micros(until))
        .fetch_optional(&self.readers)
        .await
        .map_err(fault("reading the next run"))?;
        row.as_ref().map(read_run).transpose()
    }

    async fn decisions_of(
        &self,
        tenant: &TenantId,
        run: &RunId,
    ) -> Result<Vec<DecisionRecord>, StoreError> {
        let rows = sqlx::query("select * from decisions where tenant = $1 and run_id = $2")
            .bind(tenant.as_str())
            .bind(run.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading the decisions of a run"))?;
        let mut decisions = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        decisions.sort_by(|a, b| a.entity.cmp(&b.entity));
        Ok(decisions)
    }

    async fn ads_put_aside(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(EntityRef, String, Timestamp)>, StoreError> {
        let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
            "select d.entity_type, d.entity_id, d.action, d.at from decisions d
             where d.tenant = $1 and d.action in ('kill', 'rotate') and d.sequence = (
                 select max(n.sequence) from decisions n
                 where n.tenant = $1 and n.entity_type = d.entity_type
                   and n.entity_id = d.entity_id and n.action in ('kill', 'rotate', 'return'))",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading which ads were put aside"))?;
        put_aside(rows)
    }
}
