//! Vectors that somebody brings.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{PostgresStore, Section, column};
use crate::domain::ids::{AdId, TenantId};
use crate::store::StoreError;
use crate::store::brought::{Brought, BroughtStore, BroughtVector, KeptVector};
use crate::store::sql::brought::{BRING, LIST, OTHERS, judge, read, read_metadata};
use crate::store::sql::values::{clean, micros};
use crate::store::sql::winners::to_bytes;

#[async_trait]
impl BroughtStore for PostgresStore {
    async fn bring_vector(
        &self,
        tenant: &TenantId,
        brought: &BroughtVector,
        room: u64,
    ) -> Result<Brought, StoreError> {
        // Alone in its section: revisions must come to light in their order, and two that see room
        // for one more must not both take it.
        let section = Section::Vectors;
        let mut tx = self.write_in(section, tenant, "keeping a vector").await?;
        let others = sqlx::query(OTHERS)
            .bind(tenant.as_str())
            .bind(brought.ad.as_str());
        let others = tx.rows(others).await?;
        let judged = match others.first() {
            Some(row) => judge(row, brought.vector.len(), room)?,
            None => Brought::Kept { vectors: 1 },
        };
        if !matches!(judged, Brought::Kept { .. }) {
            return Ok(judged);
        }
        let query = sqlx::query(BRING)
            .bind(tenant.as_str())
            .bind(brought.ad.as_str())
            .bind(to_bytes(&brought.vector))
            .bind(clean(&brought.metadata))
            .bind(micros(brought.at));
        tx.run(query).await?;
        tx.commit().await?;
        Ok(judged)
    }

    async fn brought_vectors(
        &self,
        tenant: &TenantId,
        after: i64,
    ) -> Result<Vec<KeptVector>, StoreError> {
        let query = sqlx::query(LIST).bind(tenant.as_str()).bind(after);
        let rows = self.rows("reading brought vectors", query).await?;
        rows.iter().map(read).collect()
    }

    async fn brought_metadata(
        &self,
        tenant: &TenantId,
        ads: &[AdId],
    ) -> Result<BTreeMap<AdId, String>, StoreError> {
        let query = sqlx::query(
            "select ad_id, metadata from brought_vectors
             where tenant = $1 and ad_id = any($2::text[])",
        )
        .bind(tenant.as_str())
        .bind(column(ads, |ad| ad.as_str()));
        let doing = "reading what was said of brought vectors";
        let rows = self.rows(doing, query).await?;
        rows.iter().map(read_metadata).collect()
    }
}
