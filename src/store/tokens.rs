//! Tokens of the API, by their hashes. They are the installation's: one may be for all tenants.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::api_token::ApiToken;
use crate::domain::ids::{TenantId, TokenId};
use crate::domain::time::Timestamp;

/// Tokens.
#[async_trait]
pub trait TokenStore {
    /// Keeps a new token. One whose id or hash is there already is an error.
    async fn create_token(&self, token: &ApiToken) -> Result<(), StoreError>;

    /// The token of that id, revoked or not.
    async fn token(&self, id: &TokenId) -> Result<Option<ApiToken>, StoreError>;

    /// Every token that is good for a tenant (those for all too), or every one there is; the oldest
    /// first. Revoked ones are among them.
    async fn tokens(&self, tenant: Option<&TenantId>) -> Result<Vec<ApiToken>, StoreError>;

    /// Revokes a token and returns it; `None` when there is none. One that was revoked keeps the time
    /// of the first time.
    async fn revoke_token(
        &self,
        id: &TokenId,
        now: Timestamp,
    ) -> Result<Option<ApiToken>, StoreError>;

    /// Notes that a token was used; never moves back.
    async fn token_used(&self, id: &TokenId, at: Timestamp) -> Result<(), StoreError>;
}
