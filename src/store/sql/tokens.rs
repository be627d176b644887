//! Rows of `api_tokens`; both stores take the statements as they are.

use std::collections::BTreeSet;

use super::cells::{Cells, Columns};
use super::json;
use super::values::corrupt;
use crate::domain::api_token::{ApiToken, Scope};
use crate::domain::ids::TenantId;
use crate::store::StoreError;

const TABLE: &str = "api_tokens";

/// What stands for every tenant in the column of the tenant; no tenant can be called so.
const EVERY_TENANT: &str = "*";

pub(in crate::store) const CREATE: &str =
    "insert into api_tokens (id, tenant, name, token_hash, scopes, created_at, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7)";

pub(in crate::store) const ONE: &str =
    "select id, tenant, name, token_hash, scopes, created_at, expires_at, last_used_at, revoked_at
     from api_tokens where id = $1";

pub(in crate::store) const LIST: &str =
    "select id, tenant, name, token_hash, scopes, created_at, expires_at, last_used_at, revoked_at
     from api_tokens where $1 = '' or tenant = $1 or tenant = '*' order by created_at, id";

pub(in crate::store) const REVOKE: &str =
    "update api_tokens set revoked_at = coalesce(revoked_at, $2) where id = $1
     returning id, tenant, name, token_hash, scopes, created_at, expires_at, last_used_at,
         revoked_at";

pub(in crate::store) const USED: &str = "update api_tokens set last_used_at = $2
     where id = $1 and (last_used_at is null or last_used_at < $2)";

/// The column of the tenant.
pub(in crate::store) fn tenant_column(token: &ApiToken) -> &str {
    token.tenant.as_ref().map_or(EVERY_TENANT, TenantId::as_str)
}

/// The column of the scopes.
pub(in crate::store) fn scopes_column(
    token: &ApiToken,
    doing: &'static str,
) -> Result<String, StoreError> {
    let names: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    json(&names, doing)
}

/// Reads a token.
pub(in crate::store) fn read(row: &impl Cells) -> Result<ApiToken, StoreError> {
    let row = Columns::of(TABLE, row);
    let names: Vec<String> =
        serde_json::from_str(row.get("scopes")?).map_err(|cause| corrupt(TABLE, cause))?;
    let scopes: Option<BTreeSet<Scope>> = names.iter().map(|name| Scope::parse(name)).collect();
    let tenant = match row.get("tenant")? {
        EVERY_TENANT => None,
        _ => Some(row.id("tenant")?),
    };
    Ok(ApiToken {
        id: row.id("id")?,
        tenant,
        name: row.get("name")?,
        hash: row.get("token_hash")?,
        scopes: scopes.ok_or_else(|| corrupt(TABLE, "a token has a scope that is none"))?,
        created_at: row.at("created_at")?,
        expires_at: row.at_opt("expires_at")?,
        last_used_at: row.at_opt("last_used_at")?,
        revoked_at: row.at_opt("revoked_at")?,
    })
}
