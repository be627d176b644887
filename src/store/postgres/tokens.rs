//! Tokens of the API.

use async_trait::async_trait;

use super::PostgresStore;
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
impl TokenStore for PostgresStore {
    async fn create_token(&self, token: &ApiToken) -> Result<(), StoreError> {
        let doing = "keeping a token";
        let mut tx = self.write(doing).await?;
        let query = sqlx::query(CREATE)
            .bind(token.id.as_str())
            .bind(tenant_column(token))
            .bind(clean(&token.name))
            .bind(token.hash.as_str())
            .bind(scopes_column(token, doing)?)
            .bind(micros(token.created_at))
            .bind(micros_opt(token.expires_at));
        tx.run(query).await?;
        tx.commit().await
    }

    async fn token(&self, id: &TokenId) -> Result<Option<ApiToken>, StoreError> {
        let query = sqlx::query(ONE).bind(id.as_str());
        let row = self.row("reading a token", query).await?;
        row.as_ref().map(read).transpose()
    }

    async fn tokens(&self, tenant: Option<&TenantId>) -> Result<Vec<ApiToken>, StoreError> {
        let query = sqlx::query(LIST).bind(tenant.map_or("", TenantId::as_str));
        let rows = self.rows("reading the tokens", query).await?;
        rows.iter().map(read).collect()
    }

    async fn revoke_token(
        &self,
        id: &TokenId,
        now: Timestamp,
    ) -> Result<Option<ApiToken>, StoreError> {
        let mut tx = self.write("revoking a token").await?;
        let query = sqlx::query(REVOKE).bind(id.as_str()).bind(micros(now));
        let row = tx.row(query).await?;
        tx.commit().await?;
        row.as_ref().map(read).transpose()
    }

    async fn token_used(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("noting the use of a token").await?;
        let query = sqlx::query(USED).bind(id.as_str()).bind(micros(at));
        tx.run(query).await?;
        tx.commit().await
    }
}
