//! Tokens of the API.

use async_trait::async_trait;

use super::SqliteStore;
use super::faults::fault;
use crate::domain::api_token::ApiToken;
use crate::domain::ids::{TenantId, TokenId};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::sql::tokens::{
    CREATE, LIST, ONE, REVOKE, USED, read, scopes_column, tenant_column,
};
use crate::store::sql::values::{clean, micros, micros_opt};
use crate::store::tokens::TokenStore;

#[async_trait]
impl TokenStore for SqliteStore {
    async fn create_token(&self, token: &ApiToken) -> Result<(), StoreError> {
        let doing = "keeping a token";
        let mut tx = self.write(doing).await?;
        sqlx::query(CREATE)
            .bind(token.id.as_str())
            .bind(tenant_column(token))
            .bind(clean(&token.name))
            .bind(token.hash.as_str())
            .bind(scopes_column(token, doing)?)
            .bind(micros(token.created_at))
            .bind(micros_opt(token.expires_at))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))
    }

    async fn token(&self, id: &TokenId) -> Result<Option<ApiToken>, StoreError> {
        let row = sqlx::query(ONE)
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(fault("reading a token"))?;
        row.as_ref().map(read).transpose()
    }

    async fn tokens(&self, tenant: Option<&TenantId>) -> Result<Vec<ApiToken>, StoreError> {
        let rows = sqlx::query(LIST)
            .bind(tenant.map_or("", TenantId::as_str))
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading the tokens"))?;
        rows.iter().map(read).collect()
    }

    async fn revoke_token(
        &self,
        id: &TokenId,
        now: Timestamp,
    ) -> Result<Option<ApiToken>, StoreError> {
        let doing = "revoking a token";
        let mut tx = self.write(doing).await?;
        let row = sqlx::query(REVOKE)
            .bind(id.as_str())
            .bind(micros(now))
            .fetch_optional(&mut *tx)
            .await
            .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))?;
        row.as_ref().map(read).transpose()
    }

    async fn token_used(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError> {
        let doing = "noting the use of a token";
        let mut tx = self.write(doing).await?;
        sqlx::query(USED)
            .bind(id.as_str())
            .bind(micros(at))
            .execute(&mut *tx)
            .await
            .map_err(fault(doing))?;
        tx.commit().await.map_err(fault(doing))
    }
}
