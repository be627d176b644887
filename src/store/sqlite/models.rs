//! Versions of what moves budgets.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::faults::fault;
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

/// Writes a line of history.
async fn tell(
    conn: &mut SqliteConnection,
    doing: &'static str,
    line: &Line<'_>,
) -> Result<(), StoreError> {
    sqlx::query(TELL)
        .bind(clean(line.model))
        .bind(line.version.as_str())
        .bind(line.event.as_str())
        .bind(line.before.map(VersionName::as_str))
        .bind(clean(line.actor))
        .bind(clean(line.reason))
        .bind(line.evidence_json.map(clean))
        .bind(micros(line.at))
        .execute(conn)
        .await
        .map_err(fault(doing))?;
    Ok(())
}

#[async_trait]
impl ModelStore for SqliteStore {
    async fn register_model(&self, model: &ModelVersion) -> Result<(), StoreError> {
        let doing = "registering a version";
        let mut tx = self.write(doing).await?;
        let done = sqlx::query(REGISTER)
            .bind(clean(&model.model))
            .bind(model.version.as_str())
            .bind(constants_json(&model.constants))
            .bind(clean(&model.revision))
            .bind(micros(model.registered_at))
            .bind(clean(&model.policy))
            .bind(i64::from(model.policy_version))
            .bind(flags(model.role).1)
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        if done.rows_affected() > 0 {
            let reason = entered(model);
            let line = Line::registered(model, &reason);
            tell(&mut tx, doing, &line).await?;
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn models(&self) -> Result<Vec<ModelVersion>, StoreError> {
        let rows = sqlx::query(LIST)
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading the versions"))?;
        rows.iter().map(read).collect()
    }

    async fn change_role(&self, change: &RoleChange) -> Result<RoleChanged, StoreError> {
        let doing = "changing what a version does";
        let mut tx = self.write(doing).await?;
        let rows = sqlx::query(ROLES)
            .bind(clean(&change.model))
            .fetch_all(&mut *tx)
            .await
            .map_err(fault(doing))?;
        let changes = match judge(&rows, &change.version, change.role)? {
            Ok(changes) => changes,
            Err(unchanged) => return Ok(unchanged),
        };
        for (version, role) in &changes {
            let (is_champion, is_challenger) = flags(*role);
            sqlx::query(SET_ROLE)
                .bind(clean(&change.model))
                .bind(version.as_str())
                .bind(is_champion)
                .bind(is_challenger)
                .execute(&mut *tx)
                .await
                .map_err(fault(doing))?;
        }
        let before = replaced(&changes);
        tell(&mut tx, doing, &Line::changed(change, before.as_ref())).await?;
        tx.commit().await.map_err(fault(doing))?;
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
        let doing = "keeping an evaluation";
        let mut tx = self.write(doing).await?;
        let done = sqlx::query(EVALUATED)
            .bind(clean(model))
            .bind(version.as_str())
            .bind(clean(evaluation_json))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let line = Line::evaluated(model, version, evaluation_json, actor, at);
        tell(&mut tx, doing, &line).await?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(true)
    }

    async fn model_history(&self, model: &str) -> Result<Vec<HistoryLine>, StoreError> {
        let rows = sqlx::query(TOLD)
            .bind(clean(model))
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading the history of versions"))?;
        rows.iter().map(read_line).collect()
    }

    async fn record_shadows(
        &self,
        tenant: &TenantId,
        shadows: &[ShadowRun],
    ) -> Result<(), StoreError> {
        let doing = "keeping what challengers decided";
        let mut tx = self.write(doing).await?;
        for shadow in shadows {
            sqlx::query(KEEP_SHADOW)
                .bind(tenant.as_str())
                .bind(shadow.version.as_str())
                .bind(micros(shadow.at))
                .bind(shadow.run.as_str())
                .bind(clean(&shadow.changes_json))
                .bind(i64::from(shadow.changes))
                .bind(i64::from(shadow.shared))
                .execute(&mut *tx)
                .await
                .map_err(fault(doing))?;
        }
        tx.commit().await.map_err(fault(doing))
    }

    async fn shadows(
        &self,
        tenant: &TenantId,
        version: &VersionName,
        since: Timestamp,
    ) -> Result<Vec<ShadowRun>, StoreError> {
        let rows = sqlx::query(READ_SHADOWS)
            .bind(tenant.as_str())
            .bind(version.as_str())
            .bind(micros(since))
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading what a challenger decided"))?;
        rows.iter().map(read_shadow).collect()
    }
}
