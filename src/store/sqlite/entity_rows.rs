//! Rows of `ad_entities`: a campaign, ad set or ad with its settings.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::faults::fault;
use super::values::{Columns, clean, corrupt, micros, micros_opt, money, run_status};
use crate::domain::ids::TenantId;
use crate::domain::money::Currency;
use crate::domain::structure::{
    Ad, AdSet, Budget, Campaign, Creative, EffectiveStatus, EntityRef, Learning, RunStatus,
};
use crate::domain::time::Timestamp;
use crate::store::StoreError;

pub(super) const TABLE: &str = "ad_entities";

/// An object of any kind, as far as its row goes.
pub(super) enum Object<'a> {
    Campaign(&'a Campaign),
    AdSet(&'a AdSet),
    Ad(&'a Ad),
}

impl Object<'_> {
    pub(super) fn entity(&self) -> EntityRef {
        match self {
            Self::Campaign(c) => EntityRef::Campaign(c.id.clone()),
            Self::AdSet(s) => EntityRef::AdSet(s.id.clone()),
            Self::Ad(a) => EntityRef::Ad(a.id.clone()),
        }
    }

    pub(super) fn campaign(&self) -> &str {
        match self {
            Self::Campaign(c) => c.id.as_str(),
            Self::AdSet(s) => s.campaign.as_str(),
            Self::Ad(a) => a.campaign.as_str(),
        }
    }

    pub(super) fn budget(&self) -> Budget {
        match self {
            Self::Campaign(c) => c.budget,
            Self::AdSet(s) => s.budget,
            Self::Ad(_) => Budget::None,
        }
    }

    pub(super) fn status(&self) -> RunStatus {
        match self {
            Self::Campaign(c) => c.status,
            Self::AdSet(s) => s.status,
            Self::Ad(a) => a.status,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Campaign(c) => &c.name,
            Self::AdSet(s) => &s.name,
            Self::Ad(a) => &a.name,
        }
    }

    fn effective(&self) -> &str {
        match self {
            Self::Campaign(c) => &c.effective.0,
            Self::AdSet(s) => &s.effective.0,
            Self::Ad(a) => &a.effective.0,
        }
    }

    fn times(&self) -> (Timestamp, Timestamp) {
        match self {
            Self::Campaign(c) => (c.created_at, c.updated_at),
            Self::AdSet(s) => (s.created_at, s.updated_at),
            Self::Ad(a) => (a.created_at, a.updated_at),
        }
    }
}

/// The budget in its two columns; the currency is the row's own.
fn budget_columns(budget: Budget) -> (Option<&'static str>, Option<i64>, Option<Currency>) {
    match budget {
        Budget::Daily(money) => (Some("daily"), Some(money.minor()), Some(money.currency())),
        Budget::Lifetime(money) => (
            Some("lifetime"),
            Some(money.minor()),
            Some(money.currency()),
        ),
        Budget::None => (None, None, None),
    }
}

/// Writes an object with the budget and status to keep, which may be others than it was read with.
pub(super) async fn upsert(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    object: &Object<'_>,
    (budget, status): (Budget, RunStatus),
    account: Currency,
    read_at: Timestamp,
) -> Result<(), StoreError> {
    let (kind, minor, currency) = budget_columns(budget);
    let currency = currency.unwrap_or(account).code().to_owned();
    let first_daily = (kind == Some("daily")).then_some(minor).flatten();
    let (created_at, updated_at) = object.times();
    let campaign = match object {
        Object::Campaign(campaign) => Some(*campaign),
        Object::AdSet(_) | Object::Ad(_) => None,
    };
    let learning = match object {
        Object::AdSet(ad_set) => ad_set.learning.as_ref(),
        Object::Campaign(_) | Object::Ad(_) => None,
    };
    let creative = match object {
        Object::Ad(ad) => Some(&ad.creative),
        Object::Campaign(_) | Object::AdSet(_) => None,
    };
    let ad_set = match object {
        Object::Ad(ad) => Some(ad.ad_set.as_str()),
        Object::Campaign(_) | Object::AdSet(_) => None,
    };
    let entity = object.entity();
    sqlx::query(
        "insert into ad_entities (tenant, entity_type, id, campaign_id, ad_set_id, name, status,
             effective_status, budget_type, budget_minor, currency, first_daily_budget_minor,
             first_currency, objective, shares_budgets, has_budget_schedule, smart_promotion,
             learning_status, learning_last_edit_at, creative_id, creative_title, creative_body,
             creative_description, creative_call_to_action, creative_format, creative_link,
             creative_url_tags, created_at, updated_at, first_seen_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $11, $13, $14, $15, $16, $17,
             $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29)
         on conflict (tenant, entity_type, id) do update set
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
             creative_format = excluded.creative_format, creative_link = excluded.creative_link,
             creative_url_tags = excluded.creative_url_tags, created_at = excluded.created_at,
             updated_at = excluded.updated_at, gone_at = null",
    )
    .bind(tenant.as_str())
    .bind(entity.kind().as_str())
    .bind(entity.id())
    .bind(object.campaign())
    .bind(ad_set)
    .bind(clean(object.name()))
    .bind(status.as_str())
    .bind(clean(object.effective()))
    .bind(kind)
    .bind(minor)
    .bind(currency)
    .bind(first_daily)
    .bind(campaign.map(|c| clean(&c.objective)))
    .bind(campaign.map(|c| i64::from(c.shares_budgets)))
    .bind(campaign.map(|c| i64::from(c.has_budget_schedule)))
    .bind(
        campaign
            .and_then(|c| c.smart_promotion.as_deref())
            .map(clean),
    )
    .bind(learning.map(|l| clean(&l.status)))
    .bind(micros_opt(learning.and_then(|l| l.last_significant_edit)))
    .bind(creative.and_then(|c| c.id.as_ref()).map(|id| id.as_str()))
    .bind(creative.map(|c| clean(&c.title)))
    .bind(creative.map(|c| clean(&c.body)))
    .bind(creative.map(|c| clean(&c.description)))
    .bind(creative.map(|c| clean(&c.call_to_action)))
    .bind(creative.map(|c| clean(&c.format)))
    .bind(creative.map(|c| clean(&c.link)))
    .bind(creative.map(|c| clean(&c.url_tags)))
    .bind(micros(created_at))
    .bind(micros(updated_at))
    .bind(micros(read_at))
    .execute(conn)
    .await
    .map_err(fault("recording the account's structure"))?;
    Ok(())
}

/// The budget kept in a row.
pub(super) fn budget(row: Columns<'_>) -> Result<Budget, StoreError> {
    let Some(kind) = row.text("budget_type")? else {
        return Ok(Budget::None);
    };
    let money = money(TABLE, row.get("budget_minor")?, row.get("currency")?)?;
    match kind {
        "daily" => Ok(Budget::Daily(money)),
        "lifetime" => Ok(Budget::Lifetime(money)),
        other => Err(corrupt(TABLE, format!("{other:?} is no kind of budget"))),
    }
}

/// The status kept in a row.
pub(super) fn status(row: Columns<'_>) -> Result<RunStatus, StoreError> {
    run_status(TABLE, row.get("status")?)
}

pub(super) fn campaign(row: &SqliteRow) -> Result<Campaign, StoreError> {
    let row = Columns::of(TABLE, row);
    Ok(Campaign {
        id: row.id("id")?,
        name: row.get("name")?,
        status: status(row)?,
        effective: EffectiveStatus(row.get("effective_status")?),
        budget: budget(row)?,
        objective: row.text("objective")?.unwrap_or_default().to_owned(),
        shares_budgets: row.flag("shares_budgets")?,
        has_budget_schedule: row.flag("has_budget_schedule")?,
        smart_promotion: row.get("smart_promotion")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

pub(super) fn ad_set(row: &SqliteRow) -> Result<AdSet, StoreError> {
    let row = Columns::of(TABLE, row);
    let learning = row
        .get::<Option<String>>("learning_status")?
        .map(|status| {
            Ok::<_, StoreError>(Learning {
                status,
                last_significant_edit: row.at_opt("learning_last_edit_at")?,
            })
        })
        .transpose()?;
    Ok(AdSet {
        id: row.id("id")?,
        campaign: row.id("campaign_id")?,
        name: row.get("name")?,
        status: status(row)?,
        effective: EffectiveStatus(row.get("effective_status")?),
        budget: budget(row)?,
        learning,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

pub(super) fn ad(row: &SqliteRow) -> Result<Ad, StoreError> {
    let row = Columns::of(TABLE, row);
    let text = |name: &str| Ok::<_, StoreError>(row.text(name)?.unwrap_or_default().to_owned());
    Ok(Ad {
        id: row.id("id")?,
        ad_set: row
            .id_opt("ad_set_id")?
            .ok_or_else(|| corrupt(TABLE, "an ad has no ad set"))?,
        campaign: row.id("campaign_id")?,
        name: row.get("name")?,
        status: status(row)?,
        effective: EffectiveStatus(row.get("effective_status")?),
        creative: Creative {
            id: row.id_opt("creative_id")?,
            title: text("creative_title")?,
            body: text("creative_body")?,
            description: text("creative_description")?,
            call_to_action: text("creative_call_to_action")?,
            format: text("creative_format")?,
            link: text("creative_link")?,
            url_tags: text("creative_url_tags")?,
        },
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}
