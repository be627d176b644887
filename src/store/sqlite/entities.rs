//! The account's structure and its history.

use async_trait::async_trait;
use sqlx::{QueryBuilder, SqliteConnection};

use super::faults::fault;
use super::{BIND_LIMIT, SqliteStore};
use crate::domain::change::{BudgetMove, PendingChange, Target};
use crate::domain::ids::{AdId, AdSetId, CampaignId, TenantId};
use crate::domain::money::{Currency, Money};
use crate::domain::structure::{Account, Budget, EntityRef, RunStatus, Structure};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::entities::{Drift, EntityStore};
use crate::store::sql::entities::{
    AD_PLACES, EntityColumns, Object, Step, account, ad_places, budget_move, first_budgets,
    in_flight, known, objects, structure, take_up,
};
use crate::store::sql::values::{TargetColumns, clean, micros};

const RECORDING: &str = "recording the account's structure";

/// An object with the budget and status to keep, which may be others than it was read with.
type Kept<'a> = (Object<'a>, (Budget, RunStatus));

/// Columns of a row that [`upsert`] binds.
const COLUMNS: usize = 30;

/// Writes objects.
async fn upsert(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    objects: &[Kept<'_>],
    account: Currency,
    read_at: Timestamp,
) -> Result<(), StoreError> {
    for chunk in objects.chunks(BIND_LIMIT / COLUMNS) {
        let mut query = QueryBuilder::new(
            "insert into ad_entities (tenant, entity_type, id, campaign_id, ad_set_id, name, status,
                 effective_status, budget_type, budget_minor, currency, first_daily_budget_minor,
                 first_currency, objective, shares_budgets, has_budget_schedule, smart_promotion,
                 learning_status, learning_last_edit_at, creative_id, creative_title,
                 creative_body, creative_description, creative_call_to_action, creative_format,
                 creative_link, creative_url_tags, created_at, updated_at, first_seen_at) ",
        );
        query.push_values(chunk, |mut values, (object, settings)| {
            let columns = EntityColumns::of(object, *settings, account);
            values
                .push_bind(tenant.as_str())
                .push_bind(columns.kind)
                .push_bind(columns.id)
                .push_bind(columns.campaign_id)
                .push_bind(columns.ad_set_id)
                .push_bind(columns.name)
                .push_bind(columns.status)
                .push_bind(columns.effective_status)
                .push_bind(columns.budget_type)
                .push_bind(columns.budget_minor)
                .push_bind(columns.currency.clone())
                .push_bind(columns.first_daily_budget_minor)
                .push_bind(columns.currency)
                .push_bind(columns.objective)
                .push_bind(columns.shares_budgets)
                .push_bind(columns.has_budget_schedule)
                .push_bind(columns.smart_promotion)
                .push_bind(columns.learning_status)
                .push_bind(columns.learning_last_edit_at)
                .push_bind(columns.creative_id)
                .push_bind(columns.creative_title)
                .push_bind(columns.creative_body)
                .push_bind(columns.creative_description)
                .push_bind(columns.creative_call_to_action)
                .push_bind(columns.creative_format)
                .push_bind(columns.creative_link)
                .push_bind(columns.creative_url_tags)
                .push_bind(columns.created_at)
                .push_bind(columns.updated_at)
                .push_bind(micros(read_at));
        });
        query.push(
            " on conflict (tenant, entity_type, id) do update set
                 campaign_id = excluded.campaign_id, ad_set_id = excluded.ad_set_id,
                 name = excluded.name, status = excluded.status,
                 effective_status = excluded.effective_status, budget_type = excluded.budget_type,
                 budget_minor = excluded.budget_minor, currency = excluded.currency,
                 objective = excluded.objective, shares_budgets = excluded.shares_budgets,
                 has_budget_schedule = excluded.has_budget_schedule,
                 smart_promotion = excluded.smart_promotion,
                 learning_status = excluded.learning_status,
                 learning_last_edit_at = excluded.learning_last_edit_at,
                 creative_id = excluded.creative_id, creative_title = excluded.creative_title,
                 creative_body = excluded.creative_body,
                 creative_description = excluded.creative_description,
                 creative_call_to_action = excluded.creative_call_to_action,
                 creative_format = excluded.creative_format,
                 creative_link = excluded.creative_link,
                 creative_url_tags = excluded.creative_url_tags, created_at = excluded.created_at,
                 updated_at = excluded.updated_at, gone_at = null",
        );
        query
            .build()
            .execute(&mut *conn)
            .await
            .map_err(fault(RECORDING))?;
    }
    Ok(())
}

async fn note(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    step: Step,
    at: Timestamp,
) -> Result<(), StoreError> {
    let from = TargetColumns::of(step.from);
    let to = TargetColumns::of(step.to);
    sqlx::query(
        "insert into ad_entity_history (tenant, entity_type, entity_id, campaign_id, at, field,
             from_minor, from_currency, to_minor, to_currency, from_status, to_status, is_ours,
             change_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(tenant.as_str())
    .bind(step.entity.kind().as_str())
    .bind(step.entity.id())
    .bind(step.campaign)
    .bind(micros(at))
    .bind(step.field)
    .bind(from.minor)
    .bind(from.currency)
    .bind(to.minor)
    .bind(to.currency)
    .bind(from.status)
    .bind(to.status)
    .bind(i64::from(step.change.is_some()))
    .bind(step.change)
    .execute(conn)
    .await
    .map_err(fault("writing an object's history"))?;
    Ok(())
}

/// Enters a move of ours into the object's history and its known settings, within the transaction
/// that settles the change.
pub(super) async fn note_our_move(
    conn: &mut SqliteConnection,
    change: &PendingChange,
    before: Target,
    after: Target,
    now: Timestamp,
) -> Result<(), StoreError> {
    let doing = "noting a move of ours";
    let proposed = &change.proposed;
    let columns = TargetColumns::of(Some(after));
    let query = match after {
        Target::DailyBudget(_) => sqlx::query(
            "update ad_entities
             set budget_type = 'daily', budget_minor = $4, currency = $5, budget_set_at = $6
             where tenant = $1 and entity_type = $2 and id = $3",
        )
        .bind(proposed.tenant.as_str())
        .bind(proposed.entity.kind().as_str())
        .bind(proposed.entity.id())
        .bind(columns.minor)
        .bind(columns.currency),
        Target::Status(_) => sqlx::query(
            "update ad_entities set status = $4, status_set_at = $5
             where tenant = $1 and entity_type = $2 and id = $3",
        )
        .bind(proposed.tenant.as_str())
        .bind(proposed.entity.kind().as_str())
        .bind(proposed.entity.id())
        .bind(columns.status),
    };
    query
        .bind(micros(now))
        .execute(&mut *conn)
        .await
        .map_err(fault(doing))?;
    let step = Step::ours(change, before, after);
    note(conn, &proposed.tenant, step, now).await
}

/// Records the account; `false` when a later read of it is kept.
async fn record_account(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    account: &Account,
    read_at: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "insert into ad_accounts (tenant, account_id, name, account_status, currency, time_zone,
             min_daily_budget_minor, read_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (tenant) do update set
             account_id = excluded.account_id, name = excluded.name,
             account_status = excluded.account_status, currency = excluded.currency,
             time_zone = excluded.time_zone,
             min_daily_budget_minor = excluded.min_daily_budget_minor, read_at = excluded.read_at
         where excluded.read_at >= ad_accounts.read_at",
    )
    .bind(tenant.as_str())
    .bind(account.id.digits())
    .bind(clean(&account.name))
    .bind(account.status.number())
    .bind(account.currency.code())
    .bind(clean(&account.time_zone_name))
    .bind(account.min_daily_budget.map(Money::minor))
    .bind(micros(read_at))
    .execute(conn)
    .await
    .map_err(fault(RECORDING))?;
    Ok(done.rows_affected() == 1)
}

#[async_trait]
impl EntityStore for SqliteStore {
    async fn record_structure(
        &self,
        tenant: &TenantId,
        structure: &Structure,
        read_at: Timestamp,
    ) -> Result<Vec<Drift>, StoreError> {
        let mut tx = self.write_for(tenant, RECORDING).await?;
        if !record_account(&mut tx, tenant, &structure.account, read_at).await? {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(
            "select entity_type, id as entity_id, budget_type, budget_minor, currency, status,
                 budget_set_at, status_set_at
             from ad_entities where tenant = $1",
        )
        .bind(tenant.as_str())
        .fetch_all(&mut *tx)
        .await
        .map_err(fault(RECORDING))?;
        let mut known = known(&rows)?;
        let rows = sqlx::query_as(
            "select entity_type, entity_id, change_type from pending_ad_changes
             where tenant = $1 and status = 'executing'",
        )
        .bind(tenant.as_str())
        .fetch_all(&mut *tx)
        .await
        .map_err(fault(RECORDING))?;
        let in_flight = in_flight(rows)?;
        let mut drifts = Vec::new();
        let mut kept = Vec::new();
        for object in objects(structure) {
            let before = known.remove(&object.entity());
            let found = take_up(&object, before.as_ref(), &in_flight, read_at);
            for step in found.steps {
                note(&mut tx, tenant, step, read_at).await?;
            }
            drifts.extend(found.drift);
            kept.push((object, found.settings));
        }
        let account = structure.account.currency;
        upsert(&mut tx, tenant, &kept, account, read_at).await?;
        for gone in known.keys() {
            sqlx::query(
                "update ad_entities set gone_at = $4
                 where tenant = $1 and entity_type = $2 and id = $3 and gone_at is null",
            )
            .bind(tenant.as_str())
            .bind(gone.kind().as_str())
            .bind(gone.id())
            .bind(micros(read_at))
            .execute(&mut *tx)
            .await
            .map_err(fault(RECORDING))?;
        }
        tx.commit().await.map_err(fault(RECORDING))?;
        Ok(drifts)
    }

    async fn structure(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<(Structure, Timestamp)>, StoreError> {
        let doing = "reading the account's structure";
        let mut tx = self.snapshot(doing).await?;
        let row = sqlx::query("select * from ad_accounts where tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(fault(doing))?;
        let Some(row) = row else {
            return Ok(None);
        };
        let objects =
            sqlx::query("select * from ad_entities where tenant = $1 and gone_at is null")
                .bind(tenant.as_str())
                .fetch_all(&mut *tx)
                .await
                .map_err(fault(doing))?;
        let (account, read_at) = account(&row)?;
        Ok(Some((structure(account, &objects)?, read_at)))
    }

    async fn ad_places(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(AdId, AdSetId, CampaignId)>, StoreError> {
        let rows = sqlx::query_as(AD_PLACES)
            .bind(tenant.as_str())
            .fetch_all(&self.readers)
            .await
            .map_err(fault("reading where the ads are"))?;
        ad_places(rows)
    }

    async fn budget_moves(
        &self,
        tenant: &TenantId,
        since: Timestamp,
    ) -> Result<Vec<BudgetMove>, StoreError> {
        // A daily budget that came or went (in exchange for a lifetime one, say) is in the history
        // too, but it is no move from one amount to another.
        let rows = sqlx::query(
            "select * from ad_entity_history
             where tenant = $1 and field = 'budget' and at >= $2
               and from_minor is not null and to_minor is not null
             order by at, sequence",
        )
        .bind(tenant.as_str())
        .bind(micros(since))
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading budget moves"))?;
        rows.iter().map(budget_move).collect()
    }

    async fn first_budgets(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(EntityRef, Money)>, StoreError> {
        let rows = sqlx::query_as(
            "select entity_type, id, first_daily_budget_minor, first_currency from ad_entities
             where tenant = $1 and first_daily_budget_minor is not null",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading first budgets"))?;
        first_budgets(rows)
    }
}
