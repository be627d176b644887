//! Vectors that somebody brings.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::ids::{AdId, TenantId};
use crate::store::StoreError;
use crate::store::brought::{Brought, BroughtStore, BroughtVector, KeptVector};
use crate::store::sql::brought::{BRING, LIST, OTHERS, judge, read, read_metadata};
use crate::store::sql::values::{clean, micros};
use crate::store::sql::winners::to_bytes;

#[async_trait]
impl BroughtStore for SqliteStore {
    async fn bring_vector(
        &self,
        tenant: &TenantId,
        brought: &BroughtVector,
        room: u64,
    ) -> Result<Brought, StoreError> {
        let doing = "keeping a vector";
        let mut tx = self.write_for(tenant, doing).await?;
        let others = sqlx::query(OTHERS)
            .bind(tenant.as_str())
            .bind(brought.ad.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(fault(doing))?;
        let judged = judge(&others, brought.vector.len(), room)?;
        if !matches!(judged, Brought::Kept { .. }) {
            return Ok(judged);
        }
        sqlx::query(BRING)
            .bind(tenant.as_str())
            .bind(brought.ad.as_str())
            .bind(to_bytes(&brought.vector))
            .bind(clean(&brought.metadata))
            .bind(micros(brought.at))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        Ok(judged)
    }

    async fn brought_vectors(
        &self,
        tenant: &TenantId,
        after: i64,
    ) -> Result<Vec<KeptVector>, StoreError> {
        let rows = sqlx::query(LIST)
            .bind(tenant.as_str())
            .bind(after)
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading brought vectors"))?;
        rows.iter().map(read).collect()
    }

    async fn brought_metadata(
        &self,
        tenant: &TenantId,
        ads: &[AdId],
    ) -> Result<BTreeMap<AdId, String>, StoreError> {
        let names: Vec<&str> = ads.iter().map(AdId::as_str).collect();
        // A list as JSON: SQLite takes no arrays.
        let names = serde_json::Value::from(names).to_string();
        let rows = sqlx::query(
            "select ad_id, metadata from brought_vectors
             where tenant = $1 and ad_id in (select value from json_each($2))",
        )
        .bind(tenant.as_str())
        .bind(names)
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading what was said of brought vectors"))?;
        rows.iter().map(read_metadata).collect()
    }
}
