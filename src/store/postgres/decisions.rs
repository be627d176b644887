//! Decisions with the inputs they were made from.

use async_trait::async_trait;

use super::{PostgresStore, column};
use crate::domain::ids::{RunId, TenantId};
use crate::domain::structure::EntityRef;
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::decisions::{DecisionRecord, DecisionStore, RunRecord};
use crate::store::sql::decisions::{in_sequence, only, put_aside, read, read_run};
use crate::store::sql::json;
use crate::store::sql::values::{clean, corrupt, micros};

/// The columns of a decision. A `*` would break prepared statements when a later release adds one.
macro_rules! columns {
    () => {
        "id, tenant, run_id, entity_type, entity_id, entity_name, action, value_from, value_to,
         paragraph, rationale_json, change_id, at"
    };
}

#[async_trait]
impl DecisionStore for PostgresStore {
    async fn record_run(
        &self,
        tenant: &TenantId,
        run: &RunRecord,
        decisions: &[DecisionRecord],
    ) -> Result<(), StoreError> {
        let doing = "recording decisions";
        let flags = json(&run.flags, doing)?;
        let mut tx = self.write_for(tenant, doing).await?;
        tx.run(
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
            .bind(clean(&flags)),
        )
        .await?;
        // In their order, which `sequence` keeps.
        tx.run(
            sqlx::query(
                "insert into decisions (tenant, run_id, id, entity_type, entity_id, entity_name,
                     action, value_from, value_to, paragraph, rationale_json, change_id, at)
                 select $1, $2, id, entity_type, entity_id, entity_name, action, value_from,
                     value_to, paragraph, rationale_json, change_id, at
                 from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[])
                     with ordinality as new (id, entity_type, entity_id, entity_name, action,
                         value_from, value_to, paragraph, rationale_json, change_id, at, place)
                 order by place",
            )
            .bind(tenant.as_str())
            .bind(run.id.as_str())
            .bind(column(decisions, |d| d.id.as_str()))
            .bind(column(decisions, |d| d.entity.kind().as_str()))
            .bind(column(decisions, |d| d.entity.id()))
            .bind(column(decisions, |d| clean(&d.entity_name)))
            .bind(column(decisions, |d| clean(&d.action)))
            .bind(column(decisions, |d| clean(&d.from)))
            .bind(column(decisions, |d| clean(&d.to)))
            .bind(column(decisions, |d| clean(&d.paragraph)))
            .bind(column(decisions, |d| clean(&d.rationale_json)))
            .bind(column(decisions, |d| {
                d.change.as_ref().map(|id| id.as_str())
            }))
            .bind(column(decisions, |d| micros(d.at))),
        )
        .await?;
        tx.commit().await
    }

    async fn decision(
        &self,
        id: &str,
    ) -> Result<Option<(TenantId, RunRecord, DecisionRecord)>, StoreError> {
        if id.is_empty() {
            return Ok(None);
        }
        let mut tx = self.snapshot("reading a decision").await?;
        let rows = tx
            .rows(
                sqlx::query(concat!(
                    "select ",
                    columns!(),
                    " from decisions where id >= $1 and id < $2 order by id limit 2"
                ))
                .bind(clean(id))
                .bind(clean(&format!("{id}\u{10ffff}"))),
            )
            .await?;
        let Some((tenant, decision)) = only(&rows, id)? else {
            return Ok(None);
        };
        let run = tx
            .row(
                sqlx::query(
                    "select id, at, seed, policy, version, inputs_json, flags_json
                     from decision_runs where tenant = $1 and id = $2",
                )
                .bind(tenant.as_str())
                .bind(decision.run.as_str()),
            )
            .await?
            .ok_or_else(|| corrupt("decisions", "a decision belongs to no run"))?;
        Ok(Some((tenant, read_run(&run)?, decision)))
    }

    async fn latest_decisions(&self, tenant: &TenantId) -> Result<Vec<DecisionRecord>, StoreError> {
        let query = sqlx::query(concat!(
            "select ",
            columns!(),
            " from decisions where tenant = $1 and run_id = (
                 select id from decision_runs where tenant = $1 order by at desc, id desc limit 1)"
        ))
        .bind(tenant.as_str());
        let rows = self.rows("reading the newest decisions", query).await?;
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
            Some(_) => sqlx::query(concat!(
                "select sequence, ",
                columns!(),
                " from decisions where tenant = $1 and sequence < $2 and entity_id = $4
                 order by sequence desc limit $3"
            )),
            None => sqlx::query(concat!(
                "select sequence, ",
                columns!(),
                " from decisions where tenant = $1 and sequence < $2 and $4::text is null
                 order by sequence desc limit $3"
            )),
        };
        let query = query
            .bind(tenant.as_str())
            .bind(before.unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .bind(object);
        in_sequence(&self.rows("listing decisions", query).await?)
    }

    async fn latest_run_at(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError> {
        let select = sqlx::query_as("select max(at) from decision_runs where tenant = $1")
            .bind(tenant.as_str());
        let (at,): (Option<i64>,) = self.one("reading when the newest run was", select).await?;
        Ok(at.map(from_micros))
    }

    async fn run_after(
        &self,
        tenant: &TenantId,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Option<RunRecord>, StoreError> {
        let query = sqlx::query(
            "select id, at, seed, policy, version, inputs_json, flags_json from decision_runs
             where tenant = $1 and at > $2 and at <= $3 order by at, id limit 1",
        )
        .bind(tenant.as_str())
        .bind(micros(after))
        .bind(micros(until));
        let rows = self.rows("reading the next run", query).await?;
        rows.first().map(read_run).transpose()
    }

    async fn decisions_of(
        &self,
        tenant: &TenantId,
        run: &RunId,
    ) -> Result<Vec<DecisionRecord>, StoreError> {
        let query = sqlx::query(concat!(
            "select ",
            columns!(),
            " from decisions where tenant = $1 and run_id = $2"
        ))
        .bind(tenant.as_str())
        .bind(run.as_str());
        let rows = self.rows("reading the decisions of a run", query).await?;
        let mut decisions = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        decisions.sort_by(|a, b| a.entity.cmp(&b.entity));
        Ok(decisions)
    }

    async fn ads_put_aside(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(EntityRef, String, Timestamp)>, StoreError> {
        let select = sqlx::query_as(
            "select entity_type, entity_id, action, at from (
                 select distinct on (entity_type, entity_id) entity_type, entity_id, action, at
                 from decisions
                 where tenant = $1 and action in ('kill', 'rotate', 'return')
                 order by entity_type, entity_id, sequence desc) as newest
             where action in ('kill', 'rotate')",
        )
        .bind(tenant.as_str());
        put_aside(
            self.list("reading which ads were put aside", select)
                .await?,
        )
    }
}
