//! The account's structure and its history.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::entity_rows::{self as rows, Object, TABLE};
use super::faults::fault;
use super::values::{Columns, TargetColumns, clean, corrupt, entity, micros, money, money_opt};
use crate::domain::change::{BudgetMove, PendingChange, Target};
use crate::domain::ids::TenantId;
use crate::domain::money::{Currency, Money};
use crate::domain::structure::{Account, AccountStatus, Budget, EntityRef, RunStatus, Structure};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::entities::{Drift, EntityStore};

const HISTORY: &str = "ad_entity_history";
const RECORDING: &str = "recording the account's structure";

/// What is kept of an object's settings, and when we last set them ourselves.
struct Known {
    budget: Budget,
    status: RunStatus,
    budget_set_at: Option<Timestamp>,
    status_set_at: Option<Timestamp>,
}

async fn known(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
) -> Result<HashMap<EntityRef, Known>, StoreError> {
    let found = sqlx::query(
        "select entity_type, id as entity_id, budget_type, budget_minor, currency, status,
             budget_set_at, status_set_at
         from ad_entities where tenant = $1",
    )
    .bind(tenant.as_str())
    .fetch_all(conn)
    .await
    .map_err(fault(RECORDING))?;
    found
        .iter()
        .map(|row| {
            let row = Columns::of(TABLE, row);
            let known = Known {
                budget: rows::budget(row)?,
                status: rows::status(row)?,
                budget_set_at: row.at_opt("budget_set_at")?,
                status_set_at: row.at_opt("status_set_at")?,
            };
            Ok((row.entity()?, known))
        })
        .collect()
}

/// Objects and kinds of change that are being sent just now: what Meta says of them is neither
/// before nor after until the change is settled.
async fn in_flight(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
) -> Result<HashSet<(EntityRef, String)>, StoreError> {
    let found: Vec<(String, String, String)> = sqlx::query_as(
        "select entity_type, entity_id, change_type from pending_ad_changes
         where tenant = $1 and status = 'executing'",
    )
    .bind(tenant.as_str())
    .fetch_all(conn)
    .await
    .map_err(fault(RECORDING))?;
    found
        .into_iter()
        .map(|(kind, id, change)| Ok((entity(TABLE, &kind, &id)?, change)))
        .collect()
}

/// A step in an object's history.
struct Step<'a> {
    entity: &'a EntityRef,
    campaign: &'a str,
    from: Option<Target>,
    to: Option<Target>,
    field: &'static str,
    change: Option<&'a str>,
}

async fn note(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    step: Step<'_>,
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
    let step = Step {
        entity: &proposed.entity,
        campaign: proposed.campaign.as_str(),
        from: Some(before),
        to: Some(after),
        field: after.kind().as_str(),
        change: Some(proposed.id.as_str()),
    };
    note(conn, &proposed.tenant, step, now).await
}

/// Takes up one object; tells how it differs from what was known.
async fn take_up(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    object: &Object<'_>,
    known: Option<&Known>,
    in_flight: &HashSet<(EntityRef, String)>,
    account: Currency,
    read_at: Timestamp,
) -> Result<Option<Drift>, StoreError> {
    let entity = object.entity();
    let Some(known) = known else {
        let settings = (object.budget(), object.status());
        rows::upsert(conn, tenant, object, settings, account, read_at).await?;
        return Ok(None);
    };
    let ours = |kind: &str, set_at: Option<Timestamp>| {
        set_at.is_some_and(|at| at > read_at) || in_flight.contains(&(entity.clone(), kind.into()))
    };
    let mut drift = Drift {
        entity: entity.clone(),
        budget: None,
        status: None,
    };
    let mut settings = (object.budget(), object.status());
    if ours("budget", known.budget_set_at) {
        settings.0 = known.budget;
    } else if known.budget.daily() != settings.0.daily() {
        drift.budget = Some((known.budget.daily(), settings.0.daily()));
        let step = Step {
            entity: &entity,
            campaign: object.campaign(),
            from: known.budget.daily().map(Target::DailyBudget),
            to: settings.0.daily().map(Target::DailyBudget),
            field: "budget",
            change: None,
        };
        note(&mut *conn, tenant, step, read_at).await?;
    }
    if ours("status", known.status_set_at) {
        settings.1 = known.status;
    } else if known.status != settings.1 {
        drift.status = Some((known.status, settings.1));
        let step = Step {
            entity: &entity,
            campaign: object.campaign(),
            from: Some(Target::Status(known.status)),
            to: Some(Target::Status(settings.1)),
            field: "status",
            change: None,
        };
        note(&mut *conn, tenant, step, read_at).await?;
    }
    rows::upsert(conn, tenant, object, settings, account, read_at).await?;
    Ok((drift.budget.is_some() || drift.status.is_some()).then_some(drift))
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
        let account = structure.account.currency;
        let mut tx = self.write(RECORDING).await?;
        if !record_account(&mut tx, tenant, &structure.account, read_at).await? {
            return Ok(Vec::new());
        }
        let mut known = known(&mut tx, tenant).await?;
        let in_flight = in_flight(&mut tx, tenant).await?;
        let objects = structure
            .campaigns
            .values()
            .map(Object::Campaign)
            .chain(structure.ad_sets.values().map(Object::AdSet))
            .chain(structure.ads.values().map(Object::Ad));
        let mut drifts = Vec::new();
        for object in objects {
            let before = known.remove(&object.entity());
            let found = take_up(
                &mut tx,
                tenant,
                &object,
                before.as_ref(),
                &in_flight,
                account,
                read_at,
            )
            .await?;
            drifts.extend(found);
        }
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
        let account = sqlx::query("select * from ad_accounts where tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(fault(doing))?;
        let Some(account) = account else {
            return Ok(None);
        };
        let objects =
            sqlx::query("select * from ad_entities where tenant = $1 and gone_at is null")
                .bind(tenant.as_str())
                .fetch_all(&mut *tx)
                .await
                .map_err(fault(doing))?;

        let row = Columns::of("ad_accounts", &account);
        let currency: &str = row.get("currency")?;
        let mut structure = Structure {
            account: Account {
                id: row.id("account_id")?,
                name: row.get("name")?,
                status: AccountStatus::from_number(row.get("account_status")?),
                currency: Currency::new(currency).map_err(|e| corrupt("ad_accounts", e))?,
                time_zone_name: row.get("time_zone")?,
                min_daily_budget: money_opt(
                    "ad_accounts",
                    row.get("min_daily_budget_minor")?,
                    Some(currency),
                )?,
            },
            campaigns: BTreeMap::new(),
            ad_sets: BTreeMap::new(),
            ads: BTreeMap::new(),
        };
        for object in &objects {
            match Columns::of(TABLE, object).get("entity_type")? {
                "campaign" => {
                    let campaign = rows::campaign(object)?;
                    structure.campaigns.insert(campaign.id.clone(), campaign);
                }
                "adset" => {
                    let ad_set = rows::ad_set(object)?;
                    structure.ad_sets.insert(ad_set.id.clone(), ad_set);
                }
                _ => {
                    let ad = rows::ad(object)?;
                    structure.ads.insert(ad.id.clone(), ad);
                }
            }
        }
        Ok(Some((structure, row.at("read_at")?)))
    }

    async fn budget_moves(
        &self,
        tenant: &TenantId,
        since: Timestamp,
    ) -> Result<Vec<BudgetMove>, StoreError> {
        // A daily budget that came or went (in exchange for a lifetime one, say) is in the history
        // too, but it is no move from one amount to another.
        let found = sqlx::query(
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
        found
            .iter()
            .map(|row| {
                let row = Columns::of(HISTORY, row);
                Ok(BudgetMove {
                    entity: row.entity()?,
                    campaign: row.id("campaign_id")?,
                    at: row.at("at")?,
                    from: money(HISTORY, row.get("from_minor")?, row.get("from_currency")?)?,
                    to: money(HISTORY, row.get("to_minor")?, row.get("to_currency")?)?,
                    is_ours: row.flag("is_ours")?,
                })
            })
            .collect()
    }

    async fn first_budgets(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(EntityRef, Money)>, StoreError> {
        let found: Vec<(String, String, i64, String)> = sqlx::query_as(
            "select entity_type, id, first_daily_budget_minor, first_currency from ad_entities
             where tenant = $1 and first_daily_budget_minor is not null",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(fault("reading first budgets"))?;
        let mut budgets = found
            .into_iter()
            .map(|(kind, id, minor, currency)| {
                Ok((entity(TABLE, &kind, &id)?, money(TABLE, minor, &currency)?))
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        budgets.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(budgets)
    }
}
