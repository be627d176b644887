//! Rows of `ad_entities` and `ad_entity_history`: a campaign, ad set or ad with its settings, and what
//! a read of the structure means for what was known of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::cells::{Cells, Columns};
use super::values::{clean, corrupt, entity, id, micros, micros_opt, money, money_opt, run_status};
use crate::domain::change::{BudgetMove, PendingChange, Target};
use crate::domain::ids::{AdId, AdSetId, CampaignId};
use crate::domain::money::{Currency, Money};
use crate::domain::structure::{
    Account, AccountStatus, Ad, AdSet, Budget, Campaign, Creative, EffectiveStatus, EntityRef,
    Learning, RunStatus, Structure,
};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::entities::Drift;

const TABLE: &str = "ad_entities";
const ACCOUNTS: &str = "ad_accounts";
const HISTORY: &str = "ad_entity_history";

/// An object of any kind, as far as its row goes.
pub(in crate::store) enum Object<'a> {
    Campaign(&'a Campaign),
    AdSet(&'a AdSet),
    Ad(&'a Ad),
}

impl<'a> Object<'a> {
    pub(in crate::store) fn entity(&self) -> EntityRef {
        match self {
            Self::Campaign(c) => EntityRef::Campaign(c.id.clone()),
            Self::AdSet(s) => EntityRef::AdSet(s.id.clone()),
            Self::Ad(a) => EntityRef::Ad(a.id.clone()),
        }
    }

    pub(in crate::store) fn campaign(&self) -> &'a str {
        match self {
            Self::Campaign(c) => c.id.as_str(),
            Self::AdSet(s) => s.campaign.as_str(),
            Self::Ad(a) => a.campaign.as_str(),
        }
    }

    pub(in crate::store) fn budget(&self) -> Budget {
        match self {
            Self::Campaign(c) => c.budget,
            Self::AdSet(s) => s.budget,
            Self::Ad(_) => Budget::None,
        }
    }

    pub(in crate::store) fn status(&self) -> RunStatus {
        match self {
            Self::Campaign(c) => c.status,
            Self::AdSet(s) => s.status,
            Self::Ad(a) => a.status,
        }
    }

    fn name(&self) -> &'a str {
        match self {
            Self::Campaign(c) => &c.name,
            Self::AdSet(s) => &s.name,
            Self::Ad(a) => &a.name,
        }
    }

    fn effective(&self) -> &'a str {
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

/// The columns of an object.
pub(in crate::store) struct EntityColumns<'a> {
    pub(in crate::store) kind: &'static str,
    pub(in crate::store) id: String,
    pub(in crate::store) campaign_id: &'a str,
    pub(in crate::store) ad_set_id: Option<&'a str>,
    pub(in crate::store) name: Cow<'a, str>,
    pub(in crate::store) status: &'static str,
    pub(in crate::store) effective_status: Cow<'a, str>,
    pub(in crate::store) budget_type: Option<&'static str>,
    pub(in crate::store) budget_minor: Option<i64>,
    pub(in crate::store) currency: String,
    pub(in crate::store) first_daily_budget_minor: Option<i64>,
    pub(in crate::store) objective: Option<Cow<'a, str>>,
    pub(in crate::store) shares_budgets: Option<i64>,
    pub(in crate::store) has_budget_schedule: Option<i64>,
    pub(in crate::store) smart_promotion: Option<Cow<'a, str>>,
    pub(in crate::store) learning_status: Option<Cow<'a, str>>,
    pub(in crate::store) learning_last_edit_at: Option<i64>,
    pub(in crate::store) creative_id: Option<&'a str>,
    pub(in crate::store) creative_title: Option<Cow<'a, str>>,
    pub(in crate::store) creative_body: Option<Cow<'a, str>>,
    pub(in crate::store) creative_description: Option<Cow<'a, str>>,
    pub(in crate::store) creative_call_to_action: Option<Cow<'a, str>>,
    pub(in crate::store) creative_format: Option<Cow<'a, str>>,
    pub(in crate::store) creative_link: Option<Cow<'a, str>>,
    pub(in crate::store) creative_url_tags: Option<Cow<'a, str>>,
    pub(in crate::store) created_at: i64,
    pub(in crate::store) updated_at: i64,
}

impl<'a> EntityColumns<'a> {
    /// The columns of an object with the budget and status to keep, which may be others than it was
    /// read with.
    pub(in crate::store) fn of(
        object: &Object<'a>,
        (budget, status): (Budget, RunStatus),
        account: Currency,
    ) -> Self {
        let (budget_type, budget_minor, currency) = budget_columns(budget);
        let (created_at, updated_at) = object.times();
        let campaign = match *object {
            Object::Campaign(campaign) => Some(campaign),
            Object::AdSet(_) | Object::Ad(_) => None,
        };
        let learning = match *object {
            Object::AdSet(ad_set) => ad_set.learning.as_ref(),
            Object::Campaign(_) | Object::Ad(_) => None,
        };
        let ad = match *object {
            Object::Ad(ad) => Some(ad),
            Object::Campaign(_) | Object::AdSet(_) => None,
        };
        let creative = ad.map(|ad| &ad.creative);
        let entity = object.entity();
        Self {
            kind: entity.kind().as_str(),
            id: entity.id().to_owned(),
            campaign_id: object.campaign(),
            ad_set_id: ad.map(|ad| ad.ad_set.as_str()),
            name: clean(object.name()),
            status: status.as_str(),
            effective_status: clean(object.effective()),
            budget_type,
            budget_minor,
            currency: currency.unwrap_or(account).code().to_owned(),
            first_daily_budget_minor: (budget_type == Some("daily"))
                .then_some(budget_minor)
                .flatten(),
            objective: campaign.map(|c| clean(&c.objective)),
            shares_budgets: campaign.map(|c| i64::from(c.shares_budgets)),
            has_budget_schedule: campaign.map(|c| i64::from(c.has_budget_schedule)),
            smart_promotion: campaign
                .and_then(|c| c.smart_promotion.as_deref())
                .map(clean),
            learning_status: learning.map(|l| clean(&l.status)),
            learning_last_edit_at: micros_opt(learning.and_then(|l| l.last_significant_edit)),
            creative_id: creative.and_then(|c| c.id.as_ref()).map(|id| id.as_str()),
            creative_title: creative.map(|c| clean(&c.title)),
            creative_body: creative.map(|c| clean(&c.body)),
            creative_description: creative.map(|c| clean(&c.description)),
            creative_call_to_action: creative.map(|c| clean(&c.call_to_action)),
            creative_format: creative.map(|c| clean(&c.format)),
            creative_link: creative.map(|c| clean(&c.link)),
            creative_url_tags: creative.map(|c| clean(&c.url_tags)),
            created_at: micros(created_at),
            updated_at: micros(updated_at),
        }
    }
}

/// The budget kept in a row.
fn budget(row: Columns<'_>) -> Result<Budget, StoreError> {
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
fn status(row: Columns<'_>) -> Result<RunStatus, StoreError> {
    run_status(TABLE, row.get("status")?)
}

fn campaign(row: &impl Cells) -> Result<Campaign, StoreError> {
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

fn ad_set(row: &impl Cells) -> Result<AdSet, StoreError> {
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

fn ad(row: &impl Cells) -> Result<Ad, StoreError> {
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

/// Reads the account.
pub(in crate::store) fn account(row: &impl Cells) -> Result<(Account, Timestamp), StoreError> {
    let row = Columns::of(ACCOUNTS, row);
    let currency: &str = row.get("currency")?;
    let account = Account {
        id: row.id("account_id")?,
        name: row.get("name")?,
        status: AccountStatus::from_number(row.get("account_status")?),
        currency: Currency::new(currency).map_err(|e| corrupt(ACCOUNTS, e))?,
        time_zone_name: row.get("time_zone")?,
        min_daily_budget: money_opt(ACCOUNTS, row.get("min_daily_budget_minor")?, Some(currency))?,
    };
    Ok((account, row.at("read_at")?))
}

/// Puts the structure together from the rows of its objects.
pub(in crate::store) fn structure<R: Cells>(
    account: Account,
    objects: &[R],
) -> Result<Structure, StoreError> {
    let mut structure = Structure {
        account,
        campaigns: BTreeMap::new(),
        ad_sets: BTreeMap::new(),
        ads: BTreeMap::new(),
    };
    for object in objects {
        match Columns::of(TABLE, object).get("entity_type")? {
            "campaign" => {
                let campaign = campaign(object)?;
                structure.campaigns.insert(campaign.id.clone(), campaign);
            }
            "adset" => {
                let ad_set = ad_set(object)?;
                structure.ad_sets.insert(ad_set.id.clone(), ad_set);
            }
            _ => {
                let ad = ad(object)?;
                structure.ads.insert(ad.id.clone(), ad);
            }
        }
    }
    Ok(structure)
}

/// Where the ads are.
pub(in crate::store) const AD_PLACES: &str = "
    select id, ad_set_id, campaign_id from ad_entities
    where tenant = $1 and entity_type = 'ad' and gone_at is null order by id";

/// Reads what [`AD_PLACES`] finds.
pub(in crate::store) fn ad_places(
    rows: Vec<(String, String, String)>,
) -> Result<Vec<(AdId, AdSetId, CampaignId)>, StoreError> {
    rows.iter()
        .map(|(ad, ad_set, campaign)| {
            Ok((id(TABLE, ad)?, id(TABLE, ad_set)?, id(TABLE, campaign)?))
        })
        .collect()
}

/// Every object of a structure.
pub(in crate::store) fn objects(structure: &Structure) -> impl Iterator<Item = Object<'_>> {
    structure
        .campaigns
        .values()
        .map(Object::Campaign)
        .chain(structure.ad_sets.values().map(Object::AdSet))
        .chain(structure.ads.values().map(Object::Ad))
}

/// What is kept of an object's settings, and when we last set them ourselves.
pub(in crate::store) struct Known {
    budget: Budget,
    status: RunStatus,
    budget_set_at: Option<Timestamp>,
    status_set_at: Option<Timestamp>,
}

/// Reads what is known of the objects.
pub(in crate::store) fn known<R: Cells>(
    rows: &[R],
) -> Result<HashMap<EntityRef, Known>, StoreError> {
    rows.iter()
        .map(|row| {
            let row = Columns::of(TABLE, row);
            let known = Known {
                budget: budget(row)?,
                status: status(row)?,
                budget_set_at: row.at_opt("budget_set_at")?,
                status_set_at: row.at_opt("status_set_at")?,
            };
            Ok((row.entity()?, known))
        })
        .collect()
}

/// Objects and kinds of change that are being sent just now: what Meta says of them is neither
/// before nor after until the change is settled.
pub(in crate::store) type InFlight = HashSet<(EntityRef, String)>;

/// Reads what is being sent from rows of kind, id and kind of change.
pub(in crate::store) fn in_flight(
    rows: Vec<(String, String, String)>,
) -> Result<InFlight, StoreError> {
    rows.into_iter()
        .map(|(kind, id, change)| Ok((entity(TABLE, &kind, &id)?, change)))
        .collect()
}

/// A step in an object's history.
pub(in crate::store) struct Step {
    pub(in crate::store) entity: EntityRef,
    pub(in crate::store) campaign: String,
    pub(in crate::store) from: Option<Target>,
    pub(in crate::store) to: Option<Target>,
    pub(in crate::store) field: &'static str,
    pub(in crate::store) change: Option<String>,
}

impl Step {
    /// A move of ours.
    pub(in crate::store) fn ours(change: &PendingChange, before: Target, after: Target) -> Self {
        let proposed = &change.proposed;
        Self {
            entity: proposed.entity.clone(),
            campaign: proposed.campaign.as_str().to_owned(),
            from: Some(before),
            to: Some(after),
            field: after.kind().as_str(),
            change: Some(proposed.id.as_str().to_owned()),
        }
    }
}

/// What a read of one object comes to.
pub(in crate::store) struct TakenUp {
    /// The settings to keep.
    pub(in crate::store) settings: (Budget, RunStatus),
    /// Steps to add to its history.
    pub(in crate::store) steps: Vec<Step>,
    /// How it differs from what was known.
    pub(in crate::store) drift: Option<Drift>,
}

/// Takes up one object.
pub(in crate::store) fn take_up(
    object: &Object<'_>,
    known: Option<&Known>,
    in_flight: &InFlight,
    read_at: Timestamp,
) -> TakenUp {
    let mut settings = (object.budget(), object.status());
    let mut steps = Vec::new();
    let Some(known) = known else {
        return TakenUp {
            settings,
            steps,
            drift: None,
        };
    };
    let entity = object.entity();
    let ours = |kind: &str, set_at: Option<Timestamp>| {
        set_at.is_some_and(|at| at > read_at) || in_flight.contains(&(entity.clone(), kind.into()))
    };
    let step = |from, to, field| Step {
        entity: entity.clone(),
        campaign: object.campaign().to_owned(),
        from,
        to,
        field,
        change: None,
    };
    let mut drift = Drift {
        entity: entity.clone(),
        budget: None,
        status: None,
    };
    if ours("budget", known.budget_set_at) {
        settings.0 = known.budget;
    } else if known.budget.daily() != settings.0.daily() {
        let (from, to) = (known.budget.daily(), settings.0.daily());
        drift.budget = Some((from, to));
        let target = |money: Option<Money>| money.map(Target::DailyBudget);
        steps.push(step(target(from), target(to), "budget"));
    }
    if ours("status", known.status_set_at) {
        settings.1 = known.status;
    } else if known.status != settings.1 {
        let (from, to) = (known.status, settings.1);
        drift.status = Some((from, to));
        let target = |status| Some(Target::Status(status));
        steps.push(step(target(from), target(to), "status"));
    }
    let drifted = drift.budget.is_some() || drift.status.is_some();
    TakenUp {
        settings,
        steps,
        drift: drifted.then_some(drift),
    }
}

/// Reads a move from one daily budget to another.
pub(in crate::store) fn budget_move(row: &impl Cells) -> Result<BudgetMove, StoreError> {
    let row = Columns::of(HISTORY, row);
    Ok(BudgetMove {
        entity: row.entity()?,
        campaign: row.id("campaign_id")?,
        at: row.at("at")?,
        from: money(HISTORY, row.get("from_minor")?, row.get("from_currency")?)?,
        to: money(HISTORY, row.get("to_minor")?, row.get("to_currency")?)?,
        is_ours: row.flag("is_ours")?,
    })
}

/// First budgets from rows of kind, id, amount and currency, by object.
pub(in crate::store) fn first_budgets(
    rows: Vec<(String, String, i64, String)>,
) -> Result<Vec<(EntityRef, Money)>, StoreError> {
    let mut budgets = rows
        .into_iter()
        .map(|(kind, id, minor, currency)| {
            Ok((entity(TABLE, &kind, &id)?, money(TABLE, minor, &currency)?))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    budgets.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(budgets)
}
