//! The account's structure and its history.

use async_trait::async_trait;

use super::session::Tx;
use super::{PostgresStore, Section, column};
use crate::domain::change::{BudgetMove, PendingChange, Target};
use crate::domain::ids::{AdId, AdSetId, CampaignId, TenantId};
use crate::domain::money::Money;
use crate::domain::structure::{Account, EntityRef, Structure};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::entities::{Drift, EntityStore};
use crate::store::sql::entities::{
    AD_PLACES, EntityColumns, Step, account, ad_places, budget_move, first_budgets, in_flight,
    known, objects, structure, take_up,
};
use crate::store::sql::values::{TargetColumns, clean, micros};

/// Rows of one statement at most, so that no message grows without bound.
const ROWS_MAX: usize = 2_000;

/// The columns of an object that a read of it writes. A `*` would break prepared statements when a
/// later release adds one.
macro_rules! columns {
    () => {
        "entity_type, id, campaign_id, ad_set_id, name, status, effective_status, budget_type,
         budget_minor, currency, first_daily_budget_minor, objective, shares_budgets,
         has_budget_schedule, smart_promotion, learning_status, learning_last_edit_at, creative_id,
         creative_title, creative_body, creative_description, creative_call_to_action,
         creative_format, creative_link, creative_url_tags, created_at, updated_at"
    };
}

/// Writes objects as they are to be kept.
async fn upsert(
    tx: &mut Tx,
    tenant: &TenantId,
    objects: &[EntityColumns<'_>],
    read_at: Timestamp,
) -> Result<(), StoreError> {
    for chunk in objects.chunks(ROWS_MAX) {
        tx.run(
            sqlx::query(concat!(
                "insert into ad_entities (tenant, first_seen_at, first_currency, ",
                columns!(),
                ")
                 select $1, $2, currency, ",
                columns!(),
                "
                 from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::text[], $9::text[], $10::text[], $11::bigint[], $12::text[],
                     $13::bigint[], $14::text[], $15::bigint[], $16::bigint[], $17::text[],
                     $18::text[], $19::bigint[], $20::text[], $21::text[], $22::text[],
                     $23::text[], $24::text[], $25::text[], $26::text[], $27::text[],
                     $28::bigint[], $29::bigint[])
                     as new (",
                columns!(),
                ")
                 on conflict (tenant, entity_type, id) do update set
                     campaign_id = excluded.campaign_id, ad_set_id = excluded.ad_set_id,
                     name = excluded.name, status = excluded.status,
                     effective_status = excluded.effective_status,
                     budget_type = excluded.budget_type, budget_minor = excluded.budget_minor,
                     currency = excluded.currency, objective = excluded.objective,
                     shares_budgets = excluded.shares_budgets,
                     has_budget_schedule = excluded.has_budget_schedule,
                     smart_promotion = excluded.smart_promotion,
                     learning_status = excluded.learning_status,
                     learning_last_edit_at = excluded.learning_last_edit_at,
                     creative_id = excluded.creative_id,
                     creative_title = excluded.creative_title,
                     creative_body = excluded.creative_body,
                     creative_description = excluded.creative_description,
                     creative_call_to_action = excluded.creative_call_to_action,
                     creative_format = excluded.creative_format,
                     creative_link = excluded.creative_link,
                     creative_url_tags = excluded.creative_url_tags,
                     created_at = excluded.created_at, updated_at = excluded.updated_at,
                     gone_at = null"
            ))
            .bind(tenant.as_str())
            .bind(micros(read_at))
            .bind(column(chunk, |o| o.kind))
            .bind(column(chunk, |o| o.id.as_str()))
            .bind(column(chunk, |o| o.campaign_id))
            .bind(column(chunk, |o| o.ad_set_id))
            .bind(column(chunk, |o| o.name.as_ref()))
            .bind(column(chunk, |o| o.status))
            .bind(column(chunk, |o| o.effective_status.as_ref()))
            .bind(column(chunk, |o| o.budget_type))
            .bind(column(chunk, |o| o.budget_minor))
            .bind(column(chunk, |o| o.currency.as_str()))
            .bind(column(chunk, |o| o.first_daily_budget_minor))
            .bind(column(chunk, |o| o.objective.as_deref()))
            .bind(column(chunk, |o| o.shares_budgets))
            .bind(column(chunk, |o| o.has_budget_schedule))
            .bind(column(chunk, |o| o.smart_promotion.as_deref()))
            .bind(column(chunk, |o| o.learning_status.as_deref()))
            .bind(column(chunk, |o| o.learning_last_edit_at))
            .bind(column(chunk, |o| o.creative_id))
            .bind(column(chunk, |o| o.creative_title.as_deref()))
            .bind(column(chunk, |o| o.creative_body.as_deref()))
            .bind(column(chunk, |o| o.creative_description.as_deref()))
            .bind(column(chunk, |o| o.creative_call_to_action.as_deref()))
            .bind(column(chunk, |o| o.creative_format.as_deref()))
            .bind(column(chunk, |o| o.creative_link.as_deref()))
            .bind(column(chunk, |o| o.creative_url_tags.as_deref()))
            .bind(column(chunk, |o| o.created_at))
            .bind(column(chunk, |o| o.updated_at)),
        )
        .await?;
    }
    Ok(())
}

/// Adds steps to the objects' histories, in their order.
async fn note(
    tx: &mut Tx,
    tenant: &TenantId,
    steps: &[Step],
    at: Timestamp,
) -> Result<(), StoreError> {
    if steps.is_empty() {
        return Ok(());
    }
    let from = column(steps, |step| TargetColumns::of(step.from));
    let to = column(steps, |step| TargetColumns::of(step.to));
    tx.run(
        sqlx::query(
            "insert into ad_entity_history (tenant, at, entity_type, entity_id, campaign_id, field,
                 from_minor, from_currency, to_minor, to_currency, from_status, to_status, is_ours,
                 change_id)
             select $1, $2, entity_type, entity_id, campaign_id, field, from_minor, from_currency,
                 to_minor, to_currency, from_status, to_status, is_ours, change_id
             from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[],
                 $9::bigint[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::text[])
                 with ordinality
                 as new (entity_type, entity_id, campaign_id, field, from_minor, from_currency,
                     to_minor, to_currency, from_status, to_status, is_ours, change_id, place)
             order by place",
        )
        .bind(tenant.as_str())
        .bind(micros(at))
        .bind(column(steps, |step| step.entity.kind().as_str()))
        .bind(column(steps, |step| step.entity.id()))
        .bind(column(steps, |step| step.campaign.as_str()))
        .bind(column(steps, |step| step.field))
        .bind(column(&from, |side| side.minor))
        .bind(column(&from, |side| side.currency.as_deref()))
        .bind(column(&to, |side| side.minor))
        .bind(column(&to, |side| side.currency.as_deref()))
        .bind(column(&from, |side| side.status))
        .bind(column(&to, |side| side.status))
        .bind(column(steps, |step| i64::from(step.change.is_some())))
        .bind(column(steps, |step| step.change.as_deref())),
    )
    .await?;
    Ok(())
}

/// Enters a move of ours into the object's history and its known settings, within the transaction
/// that settles the change.
pub(super) async fn note_our_move(
    tx: &mut Tx,
    change: &PendingChange,
    before: Target,
    after: Target,
    now: Timestamp,
) -> Result<(), StoreError> {
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
    tx.run(query.bind(micros(now))).await?;
    let step = Step::ours(change, before, after);
    note(tx, &proposed.tenant, &[step], now).await
}

/// Records the account; `false` when a later read of it is kept.
async fn record_account(
    tx: &mut Tx,
    tenant: &TenantId,
    account: &Account,
    read_at: Timestamp,
) -> Result<bool, StoreError> {
    let done = tx
        .run(
            sqlx::query(
                "insert into ad_accounts (tenant, account_id, name, account_status, currency,
                     time_zone, min_daily_budget_minor, read_at)
                 values ($1, $2, $3, $4, $5, $6, $7, $8)
                 on conflict (tenant) do update set
                     account_id = excluded.account_id, name = excluded.name,
                     account_status = excluded.account_status, currency = excluded.currency,
                     time_zone = excluded.time_zone,
                     min_daily_budget_minor = excluded.min_daily_budget_minor,
                     read_at = excluded.read_at
                 where excluded.read_at >= ad_accounts.read_at",
            )
            .bind(tenant.as_str())
            .bind(account.id.digits())
            .bind(clean(&account.name))
            .bind(account.status.number())
            .bind(account.currency.code())
            .bind(clean(&account.time_zone_name))
            .bind(account.min_daily_budget.map(Money::minor))
            .bind(micros(read_at)),
        )
        .await?;
    Ok(done == 1)
}

/// Marks objects that are no longer in the account.
async fn mark_gone(
    tx: &mut Tx,
    tenant: &TenantId,
    gone: &[&EntityRef],
    read_at: Timestamp,
) -> Result<(), StoreError> {
    if gone.is_empty() {
        return Ok(());
    }
    tx.run(
        sqlx::query(
            "update ad_entities as e set gone_at = $4
             from unnest($2::text[], $3::text[]) as gone (entity_type, id)
             where e.tenant = $1 and e.entity_type = gone.entity_type and e.id = gone.id
               and e.gone_at is null",
        )
        .bind(tenant.as_str())
        .bind(column(gone, |entity| entity.kind().as_str()))
        .bind(column(gone, |entity| entity.id()))
        .bind(micros(read_at)),
    )
    .await?;
    Ok(())
}

#[async_trait]
impl EntityStore for PostgresStore {
    async fn record_structure(
        &self,
        tenant: &TenantId,
        structure: &Structure,
        read_at: Timestamp,
    ) -> Result<Vec<Drift>, StoreError> {
        let doing = "recording the account's structure";
        // A change that is settled meanwhile would be undone.
        let mut tx = self.write_in(Section::Queue, tenant, doing).await?;
        if !record_account(&mut tx, tenant, &structure.account, read_at).await? {
            return Ok(Vec::new());
        }
        let rows = tx
            .rows(
                sqlx::query(
                    "select entity_type, id as entity_id, budget_type, budget_minor, currency,
                         status, budget_set_at, status_set_at
                     from ad_entities where tenant = $1",
                )
                .bind(tenant.as_str()),
            )
            .await?;
        let mut known = known(&rows)?;
        let rows = tx
            .list(
                sqlx::query_as(
                    "select entity_type, entity_id, change_type from pending_ad_changes
                     where tenant = $1 and status = 'executing'",
                )
                .bind(tenant.as_str()),
            )
            .await?;
        let in_flight = in_flight(rows)?;
        let mut kept = Vec::new();
        let mut steps = Vec::new();
        let mut drifts = Vec::new();
        for object in objects(structure) {
            let before = known.remove(&object.entity());
            let found = take_up(&object, before.as_ref(), &in_flight, read_at);
            let account = structure.account.currency;
            kept.push(EntityColumns::of(&object, found.settings, account));
            steps.extend(found.steps);
            drifts.extend(found.drift);
        }
        note(&mut tx, tenant, &steps, read_at).await?;
        upsert(&mut tx, tenant, &kept, read_at).await?;
        let gone: Vec<&EntityRef> = known.keys().collect();
        mark_gone(&mut tx, tenant, &gone, read_at).await?;
        tx.commit().await?;
        Ok(drifts)
    }

    async fn structure(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<(Structure, Timestamp)>, StoreError> {
        let mut tx = self.snapshot("reading the account's structure").await?;
        let row = tx
            .row(
                sqlx::query(
                    "select account_id, name, account_status, currency, time_zone,
                         min_daily_budget_minor, read_at
                     from ad_accounts where tenant = $1",
                )
                .bind(tenant.as_str()),
            )
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let objects = tx
            .rows(
                sqlx::query(concat!(
                    "select ",
                    columns!(),
                    " from ad_entities where tenant = $1 and gone_at is null"
                ))
                .bind(tenant.as_str()),
            )
            .await?;
        let (account, read_at) = account(&row)?;
        Ok(Some((self::structure(account, &objects)?, read_at)))
    }

    async fn ad_places(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(AdId, AdSetId, CampaignId)>, StoreError> {
        let query = sqlx::query_as(AD_PLACES).bind(tenant.as_str());
        let rows = self.list("reading where the ads are", query).await?;
        ad_places(rows)
    }

    async fn budget_moves(
        &self,
        tenant: &TenantId,
        since: Timestamp,
    ) -> Result<Vec<BudgetMove>, StoreError> {
        // A daily budget that came or went (in exchange for a lifetime one, say) is in the history
        // too, but it is no move from one amount to another.
        let query = sqlx::query(
            "select entity_type, entity_id, campaign_id, at, from_minor, from_currency, to_minor,
                 to_currency, is_ours
             from ad_entity_history
             where tenant = $1 and field = 'budget' and at >= $2
               and from_minor is not null and to_minor is not null
             order by at, sequence",
        )
        .bind(tenant.as_str())
        .bind(micros(since));
        let rows = self.rows("reading budget moves", query).await?;
        rows.iter().map(budget_move).collect()
    }

    async fn first_budgets(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(EntityRef, Money)>, StoreError> {
        let select = sqlx::query_as(
            "select entity_type, id, first_daily_budget_minor, first_currency from ad_entities
             where tenant = $1 and first_daily_budget_minor is not null",
        )
        .bind(tenant.as_str());
        first_budgets(self.list("reading first budgets", select).await?)
    }
}
