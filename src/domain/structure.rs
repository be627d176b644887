//! The structure of an ad account: campaigns, ad sets, ads, who owns the budget, and what roasd
//! must not touch, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::ids::{AdAccountId, AdId, AdSetId, CampaignId, CreativeId, TenantId};
use super::money::{Currency, Money};
use super::time::{TimeZone, Timestamp};

/// The kinds of object that a change can be made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityKind {
    /// A campaign.
    Campaign,
    /// An ad set.
    AdSet,
    /// An ad.
    Ad,
}

impl EntityKind {
    /// The name stored and shown: `campaign`, `adset`, `ad`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Campaign => "campaign",
            Self::AdSet => "adset",
            Self::Ad => "ad",
        }
    }
}

impl EntityKind {
    /// The word people use: `campaign`, `ad set`, `ad`.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Campaign => "campaign",
            Self::AdSet => "ad set",
            Self::Ad => "ad",
        }
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One campaign, ad set or ad.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityRef {
    /// A campaign.
    Campaign(CampaignId),
    /// An ad set.
    AdSet(AdSetId),
    /// An ad.
    Ad(AdId),
}

impl EntityRef {
    /// The kind of object.
    #[must_use]
    pub const fn kind(&self) -> EntityKind {
        match self {
            Self::Campaign(_) => EntityKind::Campaign,
            Self::AdSet(_) => EntityKind::AdSet,
            Self::Ad(_) => EntityKind::Ad,
        }
    }

    /// The object's id at Meta.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Campaign(id) => id.as_str(),
            Self::AdSet(id) => id.as_str(),
            Self::Ad(id) => id.as_str(),
        }
    }

    /// The object of this kind and id.
    ///
    /// # Errors
    /// When the id is not one.
    pub fn new(kind: EntityKind, id: &str) -> Result<Self, super::ids::BadId> {
        Ok(match kind {
            EntityKind::Campaign => Self::Campaign(CampaignId::new(id)?),
            EntityKind::AdSet => Self::AdSet(AdSetId::new(id)?),
            EntityKind::Ad => Self::Ad(AdId::new(id)?),
        })
    }
}

impl fmt::Display for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind().noun(), self.id())
    }
}

/// The status that can be set. Source: Meta, ad set reference, `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunStatus {
    /// May deliver.
    Active,
    /// Does not deliver.
    Paused,
    /// Can only be renamed or deleted.
    Archived,
    /// Gone.
    Deleted,
}

impl RunStatus {
    /// Meta's name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Paused => "PAUSED",
            Self::Archived => "ARCHIVED",
            Self::Deleted => "DELETED",
        }
    }

    /// The status of Meta's name; `None` for a name we do not know.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "ACTIVE" => Self::Active,
            "PAUSED" => Self::Paused,
            "ARCHIVED" => Self::Archived,
            "DELETED" => Self::Deleted,
            _ => return None,
        })
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What Meta says an object really does; new values appear without notice, so it is kept as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EffectiveStatus(pub String);

impl EffectiveStatus {
    /// Whether the object itself may deliver now. `WITH_ISSUES` and reviews do not count.
    #[must_use]
    pub fn delivers(&self) -> bool {
        matches!(self.0.as_str(), "ACTIVE" | "IN_PROCESS")
    }
}

/// The budget set on a campaign or an ad set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// So much a day, on average over the week; Meta may spend 1.75 times as much on one day.
    Daily(Money),
    /// So much in all, until the end date.
    Lifetime(Money),
    /// Not set at this level.
    None,
}

impl Budget {
    /// The daily budget, if it is one.
    #[must_use]
    pub const fn daily(self) -> Option<Money> {
        match self {
            Self::Daily(money) => Some(money),
            Self::Lifetime(_) | Self::None => None,
        }
    }
}

/// The state of an ad account. Source: Meta, ad account reference, `account_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountStatus {
    /// May advertise (1), also within a grace period (9).
    Active,
    /// Disabled (2) or closed (101 and others).
    Disabled,
    /// A bill is unpaid (3).
    Unsettled,
    /// Any other state, by Meta's number.
    Other(i64),
}

impl AccountStatus {
    /// The state of Meta's number.
    #[must_use]
    pub const fn from_number(n: i64) -> Self {
        match n {
            1 | 9 => Self::Active,
            2 | 100 | 101 => Self::Disabled,
            3 => Self::Unsettled,
            other => Self::Other(other),
        }
    }

    /// Meta's number for it.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Active => 1,
            Self::Disabled => 2,
            Self::Unsettled => 3,
            Self::Other(n) => n,
        }
    }
}

/// An ad account.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Its id.
    pub id: AdAccountId,
    /// Its name.
    pub name: String,
    /// Whether it may advertise.
    pub status: AccountStatus,
    /// What it is billed in.
    pub currency: Currency,
    /// The IANA name of the zone that decides its days and hours.
    pub time_zone_name: String,
    /// The least daily budget of an object, where Meta says so.
    pub min_daily_budget: Option<Money>,
}

impl Account {
    /// The zone that decides the account's days; `None` when the name is unknown here.
    #[must_use]
    pub fn time_zone(&self) -> Option<TimeZone> {
        TimeZone::get(&self.time_zone_name).ok()
    }

    /// Why nothing may be written for the tenant that says it bills in `currency`, and what to do
    /// about it; `None` when nothing is wrong.
    #[must_use]
    pub fn trouble(&self, tenant: &TenantId, currency: Currency) -> Option<String> {
        let id = &self.id;
        if self.currency != currency {
            return Some(format!(
                "ad account {id} bills in {}, the configuration says currency = \"{currency}\"; \
                 correct tenants.{tenant}.currency",
                self.currency
            ));
        }
        if self.time_zone().is_none() {
            return Some(format!(
                "the time zone {:?} of ad account {id} is not known here; update the tzdata package",
                self.time_zone_name
            ));
        }
        match self.status {
            AccountStatus::Active => None,
            AccountStatus::Disabled => Some(format!(
                "ad account {id} is disabled; Ads Manager says why and how to appeal"
            )),
            AccountStatus::Unsettled => Some(format!(
                "ad account {id} has an unpaid bill; settle it in Ads Manager"
            )),
            AccountStatus::Other(n) => Some(format!(
                "ad account {id} is in state {n} at Meta; Ads Manager says what it waits for"
            )),
        }
    }
}

/// A campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Campaign {
    /// Its id.
    pub id: CampaignId,
    /// Its name.
    pub name: String,
    /// The status set.
    pub status: RunStatus,
    /// The status in effect.
    pub effective: EffectiveStatus,
    /// The budget set here; set means that the campaign owns its ad sets' budget.
    pub budget: Budget,
    /// `OUTCOME_LEADS`, `OUTCOME_SALES`, and so on.
    pub objective: String,
    /// Whether its ad sets share up to 20 % of their budgets.
    pub shares_budgets: bool,
    /// Whether scheduled temporary raises are on, which make the daily budget not what is spent.
    pub has_budget_schedule: bool,
    /// A legacy Advantage+ kind, which cannot be edited from v26 on; `None` for ordinary ones.
    pub smart_promotion: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The learning phase of an ad set. Source: Meta, ad set reference, `learning_stage_info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learning {
    /// `LEARNING`, `SUCCESS` or `FAIL` (learning limited).
    pub status: String,
    /// When the last significant edit was made.
    pub last_significant_edit: Option<Timestamp>,
}

/// An ad set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdSet {
    /// Its id.
    pub id: AdSetId,
    /// The campaign it is in.
    pub campaign: CampaignId,
    /// Its name.
    pub name: String,
    /// The status set.
    pub status: RunStatus,
    /// The status in effect.
    pub effective: EffectiveStatus,
    /// The budget set here; none under a campaign budget.
    pub budget: Budget,
    /// Its learning phase, where Meta says so.
    pub learning: Option<Learning>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What an ad shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Creative {
    /// Its id.
    pub id: Option<CreativeId>,
    /// The headline.
    pub title: String,
    /// The text.
    pub body: String,
    /// The line below the headline.
    pub description: String,
    /// `LEARN_MORE`, `SIGN_UP`, and so on.
    pub call_to_action: String,
    /// `image`, `video`, `carousel`, `dynamic`, `post`, or empty when unknown.
    pub format: String,
    /// Where it leads.
    pub link: String,
    /// What Meta appends to the link; ids in it make ad-level attribution possible.
    pub url_tags: String,
}

/// An ad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ad {
    /// Its id.
    pub id: AdId,
    /// The ad set it is in.
    pub ad_set: AdSetId,
    /// The campaign it is in.
    pub campaign: CampaignId,
    /// Its name.
    pub name: String,
    /// The status set.
    pub status: RunStatus,
    /// The status in effect.
    pub effective: EffectiveStatus,
    /// What it shows.
    pub creative: Creative,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Why roasd leaves an object alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandsOff {
    /// It is archived or deleted.
    Ended,
    /// It has a lifetime budget.
    LifetimeBudget,
    /// It has no budget of its own.
    NoBudgetHere,
    /// Scheduled raises change what is spent.
    BudgetSchedule,
    /// A legacy Advantage+ campaign, which Meta lets nobody edit.
    LegacyAdvantage(String),
    /// The object it belongs to is not known.
    UnknownParent,
    /// Its owner did not give it to roasd (`manage`).
    NotManaged,
}

impl fmt::Display for HandsOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("it is archived or deleted"),
            Self::LifetimeBudget => {
                f.write_str("it has a lifetime budget, which roasd leaves alone")
            }
            Self::NoBudgetHere => f.write_str("no daily budget is set on it"),
            Self::BudgetSchedule => {
                f.write_str("scheduled raises are on, so its daily budget is not what is spent")
            }
            Self::LegacyAdvantage(kind) => {
                write!(
                    f,
                    "it is a legacy Advantage+ campaign ({kind}), which cannot be edited"
                )
            }
            Self::UnknownParent => f.write_str("the campaign or ad set it belongs to is not known"),
            Self::NotManaged => f.write_str("its campaign is not among those under `manage`"),
        }
    }
}

/// An account with all that is in it, as last read.
#[derive(Debug, Clone, PartialEq)]
pub struct Structure {
    /// The account.
    pub account: Account,
    /// Its campaigns.
    pub campaigns: BTreeMap<CampaignId, Campaign>,
    /// Its ad sets.
    pub ad_sets: BTreeMap<AdSetId, AdSet>,
    /// Its ads.
    pub ads: BTreeMap<AdId, Ad>,
}

impl Structure {
    /// The object that holds the budget which feeds this ad set: its campaign under a campaign
    /// budget, else the ad set itself.
    #[must_use]
    pub fn budget_owner(&self, ad_set: &AdSet) -> EntityRef {
        match self.campaigns.get(&ad_set.campaign) {
            Some(campaign) if campaign.budget != Budget::None => {
                EntityRef::Campaign(campaign.id.clone())
            }
            _ => EntityRef::AdSet(ad_set.id.clone()),
        }
    }

    /// The budget, name and status of an object; `None` when it is not known.
    #[must_use]
    pub fn settings(&self, entity: &EntityRef) -> Option<(Budget, &str, RunStatus)> {
        match entity {
            EntityRef::Campaign(id) => self
                .campaigns
                .get(id)
                .map(|c| (c.budget, c.name.as_str(), c.status)),
            EntityRef::AdSet(id) => self
                .ad_sets
                .get(id)
                .map(|s| (s.budget, s.name.as_str(), s.status)),
            EntityRef::Ad(id) => self
                .ads
                .get(id)
                .map(|a| (Budget::None, a.name.as_str(), a.status)),
        }
    }

    /// The campaign an object belongs to (itself, for a campaign).
    #[must_use]
    pub fn campaign_of(&self, entity: &EntityRef) -> Option<&Campaign> {
        let id = match entity {
            EntityRef::Campaign(id) => id,
            EntityRef::AdSet(id) => &self.ad_sets.get(id)?.campaign,
            EntityRef::Ad(id) => &self.ads.get(id)?.campaign,
        };
        self.campaigns.get(id)
    }

    /// Why the budget of a campaign or ad set must be left alone; `None` when it may be moved.
    #[must_use]
    pub fn budget_hands_off(&self, entity: &EntityRef) -> Option<HandsOff> {
        let Some((budget, _, status)) = self.settings(entity) else {
            return Some(HandsOff::UnknownParent);
        };
        if matches!(status, RunStatus::Archived | RunStatus::Deleted) {
            return Some(HandsOff::Ended);
        }
        if let Some(reason) = self.campaign_hands_off(entity) {
            return Some(reason);
        }
        match budget {
            Budget::Daily(_) => None,
            Budget::Lifetime(_) => Some(HandsOff::LifetimeBudget),
            Budget::None => Some(HandsOff::NoBudgetHere),
        }
    }

    /// Why the status of an object must be left alone; `None` when it may be set.
    #[must_use]
    pub fn status_hands_off(&self, entity: &EntityRef) -> Option<HandsOff> {
        match self.settings(entity) {
            None => Some(HandsOff::UnknownParent),
            Some((_, _, RunStatus::Archived | RunStatus::Deleted)) => Some(HandsOff::Ended),
            Some(_) => match self.campaign_hands_off(entity) {
                // Pausing an ad does not touch what a schedule does to a budget.
                Some(HandsOff::BudgetSchedule) | None => None,
                reason => reason,
            },
        }
    }

    fn campaign_hands_off(&self, entity: &EntityRef) -> Option<HandsOff> {
        let Some(campaign) = self.campaign_of(entity) else {
            return Some(HandsOff::UnknownParent);
        };
        if matches!(campaign.status, RunStatus::Archived | RunStatus::Deleted) {
            return Some(HandsOff::Ended);
        }
        // Source: Meta, v26 changelog: these two kinds cannot be edited at all.
        if let Some(kind @ ("AUTOMATED_SHOPPING_ADS" | "SMART_APP_PROMOTION")) =
            campaign.smart_promotion.as_deref()
        {
            return Some(HandsOff::LegacyAdvantage(kind.to_owned()));
        }
        campaign
            .has_budget_schedule
            .then_some(HandsOff::BudgetSchedule)
    }

    /// Whatever holds a budget that can be spent now, by id.
    #[must_use]
    pub fn delivering_owners(&self) -> BTreeSet<EntityRef> {
        self.ad_sets
            .values()
            .filter(|set| self.ad_set_delivers(set))
            .map(|set| self.budget_owner(set))
            .collect()
    }

    /// Whether an ad set, its campaign and at least one of its ads may deliver.
    #[must_use]
    pub fn ad_set_delivers(&self, ad_set: &AdSet) -> bool {
        ad_set.status == RunStatus::Active
            && self
                .campaigns
                .get(&ad_set.campaign)
                .is_some_and(|c| c.status == RunStatus::Active)
            && self
                .ads
                .values()
                .any(|ad| ad.ad_set == ad_set.id && ad.status == RunStatus::Active)
    }
}
