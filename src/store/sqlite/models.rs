//! Versions of the policy.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::store::StoreError;
use crate::store::models::{ModelStore, ModelVersion};
use crate::store::sql::models::read;
use crate::store::sql::values::{clean, micros};

#[async_trait]
impl ModelStore for SqliteStore {
    async fn register_model(&self, model: &ModelVersion) -> Result<(), StoreError> {
        let doing = "registering a policy";
        let mut tx = self.write(doing).await?;
        // The first of a name is its champion; a later one becomes it by promotion alone.
        sqlx::query(
            "insert into model_registry (name, version, params_json, revision, is_champion,
                 registered_at)
             select $1, $2, $3, $4,
                 case when exists (select 1 from model_registry where name = $1) then 0 else 1 end,
                 $5
             where true
             on conflict (name, version) do nothing",
        )
        .bind(clean(&model.name))
        .bind(clean(&model.version))
        .bind(clean(&model.params_json))
        .bind(clean(&model.revision))
        .bind(micros(model.registered_at))
        .execute(&mut *tx)
        .await
        .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))
    }

    async fn models(&self) -> Result<Vec<ModelVersion>, StoreError> {
        let rows = sqlx::query(
            "select name, version, params_json, revision, is_champion, registered_at
             from model_registry order by name, registered_at, version",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading the policies"))?;
        rows.iter().map(read).collect()
    }
}
