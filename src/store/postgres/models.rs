//! Versions of what moves budgets.

use async_trait::async_trait;

use super::PostgresStore;
use super::session::Tx;
use crate::domain::ids::TenantId;
use crate::domain::model::{HistoryLine, VersionName};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::models::{ModelStore, ModelVersion, RoleChange, RoleChanged, ShadowRun};
use crate::store::sql::models::{
    EVALUATED, KEEP_SHADOW, LIST, Line, READ_SHADOWS, REGISTER, ROLES, SET_ROLE, TELL, TOLD,
    constants_json, entered, flags, judge, read, read_line, read_shadow, replaced,
};
use crate::store::sql::values::{clean, micros};

/// Two that change roles at once must not both find the same champion.
async fn lock(tx: &mut Tx) -> Result<(), StoreError> {
    tx.run(sqlx::query(
        "lock table model_registry in share row exclusive mode",
    ))
    .await?;
    Ok(())
}

/// Writes a line of history.
async fn tell(tx: &mut Tx, line: &Line<'_>) -> Result<(), StoreError> {
    let query = sqlx::query(TELL)
        .bind(clean(line.model))
        .bind(line.version.as_str())
        .bind(line.event.as_str())
        .bind(line.before.map(VersionName::as_str))
        .bind(clean(line.actor))
        .bind(clean(line.reason))
        .bind(line.evidence_json.map(clean))
        .bind(micros(line.at));
    tx.run(query).await?;
    Ok(())
}

#[async_trait]
impl ModelStore for PostgresStore {
    async fn register_model(&self, model: &ModelVersion) -> Result<(), StoreError> {
        let mut tx = self.write("registering a version").await?;
        lock(&mut tx).await?;
        let query = sqlx::query(REGISTER)
            .bind(clean(&model.model))
            .bind(model.version.as_str())
            .bind(constants_json(&model.constants))
            .bind(clean(&model.revision))
            .bind(micros(model.registered_at))
            .bind(clean(&model.policy))
            .bind(i64::from(model.policy_version))
            .bind(flags(model.role).1);
        if tx.run(query).await? > 0 {
            let reason = entered(model);
            tell(&mut tx, &Line::registered(model, &reason)).await?;
        }
        tx.commit().await
    }

    async fn models(&self) -> Result<Vec<ModelVersion>, StoreError> {
        let rows = self.rows("reading the versions", sqlx::query(LIST)).await?;
        rows.iter().map(read).collect()
    }

    async fn change_role(&self, change: &RoleChange) -> Result<RoleChanged, StoreError> {
        let mut tx = self.write("changing what a version does").await?;
        lock(&mut tx).await?;
        let rows = tx
            .rows(sqlx::query(ROLES).bind(clean(&change.model)))
            .await?;
        let changes = match judge(&rows, &change.version, change.role)? {
            Ok(changes) => changes,
            Err(unchanged) => return Ok(unchanged),
        };
        for (version, role) in &changes {
            let (is_champion, is_challenger) = flags(*role);
            let query = sqlx::query(SET_ROLE)
                .bind(clean(&change.model))
                .bind(version.as_str())
                .bind(is_champion)
                .bind(is_challenger);
            tx.run(query).await?;
        }
        let before = replaced(&changes);
        tell(&mut tx, &Line::changed(change, before.as_ref())).await?;
        tx.commit().await?;
        Ok(RoleChanged::Done(before))
    }

    async fn record_evaluation(
        &self,
        model: &str,
        version: &VersionName,
        evaluation_json: &str,
        actor: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write("keeping an evaluation").await?;
        let query = sqlx::query(EVALUATED)
            .bind(clean(model))
            .bind(version.as_str())
            .bind(clean(evaluation_json));
        if tx.run(query).await? == 0 {
            return Ok(false);
        }
        let line = Line::evaluated(model, version, evaluation_json, actor, at);
        tell(&mut tx, &line).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn model_history(&self, model: &str) -> Result<Vec<HistoryLine>, StoreError> {
        let query = sqlx::query(TOLD).bind(clean(model));
        let rows = self.rows("reading the history of versions", query).await?;
        rows.iter().map(read_line).collect()
    }

    async fn record_shadows(
        &self,
        tenant: &TenantId,
        shadows: &[ShadowRun],
    ) -> Result<(), StoreError> {
        let mut tx = self.write("keeping what challengers decided").await?;
        for shadow in shadows {
            let query = sqlx::query(KEEP_SHADOW)
                .bind(tenant.as_str())
                .bind(shadow.version.as_str())
                .bind(micros(shadow.at))
                .bind(shadow.run.as_str())
                .bind(clean(&shadow.changes_json))
                .bind(i64::from(shadow.changes))
                .bind(i64::from(shadow.shared));
            tx.run(query).await?;
        }
        tx.commit().await
    }

    async fn shadows(
        &self,
        tenant: &TenantId,
        version: &VersionName,
        since: Timestamp,
    ) -> Result<Vec<ShadowRun>, StoreError> {
        let query = sqlx::query(READ_SHADOWS)
            .bind(tenant.as_str())
            .bind(version.as_str())
            .bind(micros(since));
        let rows = self
            .rows("reading what a challenger decided", query)
            .await?;
        rows.iter().map(read_shadow).collect()
    }
}
