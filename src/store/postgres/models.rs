//! Versions of the policy.

use async_trait::async_trait;

use super::PostgresStore;
use crate::store::StoreError;
use crate::store::models::{ModelStore, ModelVersion};
use crate::store::sql::models::read;
use crate::store::sql::values::{clean, micros};

#[async_trait]
impl ModelStore for PostgresStore {
    async fn register_model(&self, model: &ModelVersion) -> Result<(), StoreError> {
        let mut tx = self.write("registering a policy").await?;
        // Two nodes that start at once with two versions must not both find themselves the first.
        tx.run(sqlx::query(
            "lock table model_registry in share row exclusive mode",
        ))
        .await?;
        // The first of a name is its champion; a later one becomes it by promotion alone.
        tx.run(
            sqlx::query(
                "insert into model_registry (name, version, params_json, revision, is_champion,
                     registered_at)
                 select $1, $2, $3, $4,
                     case when exists (select 1 from model_registry where name = $1)
                         then 0 else 1 end,
                     $5
                 on conflict (name, version) do nothing",
            )
            .bind(clean(&model.name))
            .bind(clean(&model.version))
            .bind(clean(&model.params_json))
            .bind(clean(&model.revision))
            .bind(micros(model.registered_at)),
        )
        .await?;
        tx.commit().await
    }

    async fn models(&self) -> Result<Vec<ModelVersion>, StoreError> {
        let query = sqlx::query(
            "select name, version, params_json, revision, is_champion, registered_at
             from model_registry order by name, registered_at, version",
        );
        let rows = self.rows("reading the policies", query).await?;
        rows.iter().map(read).collect()
    }
}
