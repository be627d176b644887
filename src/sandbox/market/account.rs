//! What can be seen and edited in an ad account: campaigns, ad sets, ads, their statuses and
//! budgets, who changed what, and the rules that Meta holds edits to.

use crate::domain::time::{self, Timestamp};

use super::Market;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sandbox) enum Level {
    Campaign,
    AdSet,
    Ad,
}

/// A status that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Status {
    Active,
    Paused,
    Archived,
    Deleted,
}

impl Status {
    pub(in crate::sandbox) fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Paused, Self::Archived, Self::Deleted]
            .into_iter()
            .find(|s| s.as_str() == text)
    }

    pub(in crate::sandbox) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Paused => "PAUSED",
            Self::Archived => "ARCHIVED",
            Self::Deleted => "DELETED",
        }
    }
}

/// What only an ad has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct AdNode {
    pub creative: String,
    pub headline: &'static str,
    pub body: &'static str,
}

/// A campaign, an ad set or an ad.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sandbox) struct Node {
    pub id: String,
    pub level: Level,
    pub parent: Option<usize>,
    pub name: String,
    pub status: Status,
    /// In minor units, where this node holds a budget.
    pub daily_budget: Option<i64>,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub last_application: Option<String>,
    pub ad: Option<AdNode>,
    /// Times of the last budget changes.
    budget_changes: Vec<Timestamp>,
    locked_until: Option<Timestamp>,
    paused_since: Option<Timestamp>,
    pub last_sig_edit: Timestamp,
}

impl Node {
    pub(super) fn new(
        id: String,
        level: Level,
        parent: Option<usize>,
        name: &str,
        daily_budget: Option<i64>,
        created: Timestamp,
    ) -> Self {
        Self {
            id,
            level,
            parent,
            name: name.to_owned(),
            status: Status::Active,
            daily_budget,
            created,
            updated: created,
            last_application: None,
            ad: None,
            budget_changes: Vec::new(),
            locked_until: None,
            paused_since: None,
            last_sig_edit: created,
        }
    }
}

/// What a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Field {
    Status,
    DailyBudget,
    Name,
}

impl Field {
    pub(in crate::sandbox) fn parse(text: &str) -> Option<Self> {
        [Self::Status, Self::DailyBudget, Self::Name]
            .into_iter()
            .find(|f| f.as_str() == text)
    }

    pub(in crate::sandbox) const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::DailyBudget => "daily_budget",
            Self::Name => "name",
        }
    }
}

/// One field of one node set to a value by an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Write {
    pub node: usize,
    pub field: Field,
    pub value: String,
    pub application_id: String,
    pub validate_only: bool,
}

/// Why Meta refuses a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) enum Refusal {
    Unknown,
    Gone,
    BadValue(String),
    TooLow { minimum_minor: i64 },
    BelowSpent { floor_minor: i64 },
    WrongLevel,
    TooOften,
}

/// What a write did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Applied {
    pub old: String,
    pub new: String,
}

/// One line of the account's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Activity {
    pub at: Timestamp,
    pub node: usize,
    pub application_id: String,
    pub event_type: &'static str,
    pub old: String,
    pub new: String,
}

/// Where an ad set stands in its learning phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) struct Learning {
    pub status: &'static str,
    pub conversions: u64,
    pub last_sig_edit: Timestamp,
}

/// Changes of one ad set's budget that an hour allows.
const CHANGES_PER_HOUR: usize = 4;
/// Beyond this relative size a budget change is a significant edit here; Meta names no number.
const SIGNIFICANT: f64 = 0.25;

impl Market {
    /// The smallest daily budget, in minor units.
    pub(in crate::sandbox) fn minimum_minor(&self) -> i64 {
        // One main unit, of whatever currency.
        self.currency.offset()
    }

    fn chain(&self, node: usize) -> impl Iterator<Item = &Node> {
        let mut next = Some(node);
        std::iter::from_fn(move || {
            let node = self.nodes.get(next?)?;
            next = node.parent;
            Some(node)
        })
    }

    /// Whether a node and all above it are on.
    pub(in crate::sandbox) fn is_live(&self, node: usize) -> bool {
        self.chain(node).all(|n| n.status == Status::Active)
    }

    /// Whether `node` is `top` or below it.
    pub(in crate::sandbox) fn is_under(&self, node: usize, top: usize) -> bool {
        let mut next = Some(node);
        while let Some(at) = next {
            if at == top {
                return true;
            }
            next = self.nodes.get(at).and_then(|n| n.parent);
        }
        false
    }

    /// The status that counts: the node's own, or that of what is above it.
    pub(in crate::sandbox) fn effective_status(&self, node: usize) -> &'static str {
        let Some(own) = self.nodes.get(node) else {
            return "DELETED";
        };
        if own.status != Status::Active {
            return own.status.as_str();
        }
        let above = self.chain(node).skip(1).collect::<Vec<_>>();
        let off = |level: Level| {
            above
                .iter()
                .any(|n| n.level == level && n.status != Status::Active)
        };
        if off(Level::Campaign) {
            "CAMPAIGN_PAUSED"
        } else if off(Level::AdSet) {
            "ADSET_PAUSED"
        } else {
            "ACTIVE"
        }
    }

    /// Ads that may deliver, for the sizes of Meta's quotas.
    pub(in crate::sandbox) fn active_ads(&self) -> u64 {
        let live = (0..self.nodes.len())
            .filter(|i| self.nodes.get(*i).is_some_and(|n| n.level == Level::Ad))
            .filter(|i| self.is_live(*i));
        live.count() as u64
    }

    /// Where an ad set stands in learning; `None` while it is off.
    pub(in crate::sandbox) fn learning(&self, node: usize, now: Timestamp) -> Option<Learning> {
        let own = self.nodes.get(node)?;
        if own.level != Level::AdSet || !self.is_live(node) {
            return None;
        }
        let conversions = self.leads_since(node, own.last_sig_edit).min(50);
        let age = time::days_between(own.last_sig_edit, now);
        let status = match (conversions >= 50, age >= 7.0) {
            (true, _) => "SUCCESS",
            (false, false) => "LEARNING",
            (false, true) => "FAIL",
        };
        Some(Learning {
            status,
            conversions: if status == "SUCCESS" { 0 } else { conversions },
            last_sig_edit: own.last_sig_edit,
        })
    }

    /// Judges a write by Meta's rules and, unless it is only to be validated, makes it.
    ///
    /// # Errors
    /// With the rule that forbids it. A budget change too many locks the ad set for an hour.
    pub(in crate::sandbox) fn apply(
        &mut self,
        write: &Write,
        now: Timestamp,
    ) -> Result<Applied, Refusal> {
        let spent = self.spent_today_minor(write.node, now);
        let minimum = self.minimum_minor();
        let node = self.nodes.get(write.node).ok_or(Refusal::Unknown)?;
        match node.status {
            Status::Deleted => return Err(Refusal::Gone),
            // "An archived object can only be renamed or deleted."
            Status::Archived if write.field == Field::Name || write.value == "DELETED" => {}
            Status::Archived => return Err(Refusal::Gone),
            Status::Active | Status::Paused => {}
        }
        let applied = match write.field {
            Field::Name => Applied {
                old: node.name.clone(),
                new: write.value.clone(),
            },
            Field::Status => {
                let new = Status::parse(&write.value).ok_or_else(|| {
                    Refusal::BadValue("status must be one of the following values: ACTIVE, PAUSED, DELETED, ARCHIVED".to_owned())
                })?;
                Applied {
                    old: node.status.as_str().to_owned(),
                    new: new.as_str().to_owned(),
                }
            }
            Field::DailyBudget => {
                if node.level == Level::Ad {
                    return Err(Refusal::BadValue("an ad has no daily_budget".to_owned()));
                }
                let new: i64 = write
                    .value
                    .parse()
                    .ok()
                    .filter(|_| write.value.bytes().all(|b| b.is_ascii_digit()))
                    .ok_or_else(|| {
                        Refusal::BadValue("daily_budget must be an integer".to_owned())
                    })?;
                let old = node.daily_budget.ok_or(Refusal::WrongLevel)?;
                if new < minimum {
                    return Err(Refusal::TooLow {
                        minimum_minor: minimum,
                    });
                }
                // "The new value must be at least 10 % above what is already spent."
                let floor = (spent * 11 + 9) / 10;
                if new < old && new < floor {
                    return Err(Refusal::BelowSpent { floor_minor: floor });
                }
                Applied {
                    old: old.to_string(),
                    new: new.to_string(),
                }
            }
        };
        if write.validate_only {
            return Ok(applied);
        }
        if applied.old != applied.new {
            self.commit(write, &applied, now)?;
        }
        Ok(applied)
    }

    fn commit(&mut self, write: &Write, applied: &Applied, now: Timestamp) -> Result<(), Refusal> {
        let Some(node) = self.nodes.get_mut(write.node) else {
            return Err(Refusal::Unknown);
        };
        let mut significant = false;
        let event_type = match (write.field, node.level) {
            (Field::DailyBudget, level) => {
                if level == Level::AdSet {
                    node.count_budget_change(now)?;
                }
                let new: i64 = applied.new.parse().unwrap_or(0);
                let old = node.daily_budget.unwrap_or(0).max(1) as f64;
                significant = (new as f64 / old - 1.0).abs() > SIGNIFICANT;
                node.daily_budget = Some(new);
                if level == Level::AdSet {
                    "update_ad_set_budget"
                } else {
                    "update_campaign_budget"
                }
            }
            (Field::Status, level) => {
                let was = node.status;
                node.status = Status::parse(&applied.new).unwrap_or(was);
                if node.status == Status::Active {
                    let rested = node.paused_since.take();
                    significant = rested.is_some_and(|at| time::days_between(at, now) >= 7.0);
                } else {
                    node.paused_since.get_or_insert(now);
                }
                match level {
                    Level::Campaign => "update_campaign_run_status",
                    Level::AdSet => "update_ad_set_run_status",
                    Level::Ad => "update_ad_run_status",
                }
            }
            (Field::Name, level) => {
                node.name.clone_from(&applied.new);
                match level {
                    Level::Campaign => "update_campaign_name",
                    Level::AdSet => "update_ad_set_name",
                    Level::Ad => "update_ad_friendly_name",
                }
            }
        };
        node.updated = now;
        node.last_application = Some(write.application_id.clone());
        self.activities.push(Activity {
            at: now,
            node: write.node,
            application_id: write.application_id.clone(),
            event_type,
            old: applied.old.clone(),
            new: applied.new.clone(),
        });
        if significant {
            self.relearn(write.node, now);
        }
        Ok(())
    }

    /// A significant edit puts the ad sets at or below (or, for an ad, above) the node into learning.
    fn relearn(&mut self, node: usize, now: Timestamp) {
        let touched: Vec<usize> = (0..self.nodes.len())
            .filter(|i| self.nodes.get(*i).is_some_and(|n| n.level == Level::AdSet))
            .filter(|i| self.is_under(*i, node) || self.is_under(node, *i))
            .collect();
        for i in touched {
            if let Some(set) = self.nodes.get_mut(i) {
                set.last_sig_edit = now;
            }
        }
    }
}

impl Node {
    fn count_budget_change(&mut self, now: Timestamp) -> Result<(), Refusal> {
        if self.locked_until.is_some_and(|until| now < until) {
            return Err(Refusal::TooOften);
        }
        self.budget_changes
            .retain(|at| time::between(*at, now) < time::hours(1));
        if self.budget_changes.len() >= CHANGES_PER_HOUR {
            self.locked_until = Some(time::add(now, time::hours(1)));
            return Err(Refusal::TooOften);
        }
        self.budget_changes.push(now);
        Ok(())
    }
}
