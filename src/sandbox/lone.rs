//! One market by itself, without vendors, a clock or a disk: what an ad manager and a CRM would show
//! of it, levers to move it by, and the truth that only a simulation knows. For judging policies on
//! thousands of account-months; the same seed meets the same luck whatever is done.

use crate::domain::time::{self, SignedDuration, Timestamp};

use super::business::{Business, Character};
use super::market::{Field, Level, Market, MarketPlan, Write};
use super::{StageSpec, Totals};

/// The application that edits are made by.
const APPLICATION: &str = "lone";

/// What a market is made from.
#[derive(Debug, Clone, Copy)]
pub struct LonePlan {
    /// What it sells.
    pub business: Business,
    /// How it differs from the usual.
    pub character: Character,
    /// Seed of every draw.
    pub seed: u64,
    /// From when it counts.
    pub start: Timestamp,
    /// How long it has run before.
    pub history: SignedDuration,
}

/// Something with a daily budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub id: String,
    /// Whether it is a campaign; else an ad set.
    pub is_campaign: bool,
    /// The campaign it is in, or is.
    pub campaign: String,
    /// Its name.
    pub name: String,
    /// Its daily budget now, minor units.
    pub budget_minor: i64,
}

/// One ad.
#[derive(Debug, Clone, PartialEq)]
pub struct LoneAd {
    /// Its id, its ad set's and its campaign's.
    pub path: [String; 3],
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// Its text.
    pub text: String,
    /// Whether it may deliver.
    pub is_live: bool,
}

/// Delivery of one ad in one hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hour {
    /// When it began.
    pub begins: Timestamp,
    /// Impressions.
    pub impressions: f64,
    /// Clicks.
    pub clicks: f64,
    /// Spend, main units.
    pub spend: f64,
}

/// A deal as the CRM shows it at some time, with the truth of where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct LoneDeal {
    /// Its id.
    pub id: u64,
    /// The place of the ad that caused it among [`Lone::ads`]; `None` where none did.
    pub ad: Option<usize>,
    /// When each stage but the lost one was reached.
    pub reached: Vec<Option<Timestamp>>,
    /// When it was lost, if it is.
    pub lost_at: Option<Timestamp>,
    /// Its amount, minor units, if it is won.
    pub amount_minor: Option<i64>,
}

/// What nobody outside knows of one budget: its return is `r0 b / (1 + b / kappa)` a day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrueResponse {
    /// Return of the first unit.
    pub r0: f64,
    /// Budget at which the average return has halved, main units.
    pub kappa: f64,
}

/// The market.
#[derive(Debug, Clone)]
pub struct Lone(Market);

impl Lone {
    /// A market moved to its start.
    #[must_use]
    pub fn new(plan: &LonePlan) -> Self {
        let mut market = Market::new(&MarketPlan {
            seed: plan.seed,
            tenant: "lone".to_owned(),
            business: plan.business,
            character: plan.character,
            stride: 6,
            account: "10000000001".to_owned(),
            start: plan.start,
            history: plan.history,
            visit_sample: 0.0,
            lead_forms: 0.0,
            backlog_deals: 0,
            backlog_in_one_instant: false,
            backlog_as_lived: false,
            crowded_deal_contacts: 0,
        });
        market.advance(plan.start);
        Self(market)
    }

    /// Moves it.
    pub fn advance(&mut self, to: Timestamp) {
        self.0.advance(to);
        // Nobody is told: whoever asks reads the state.
        let _ = self.0.take_events(to);
    }

    /// The stages of its pipeline in order, the lost one last.
    #[must_use]
    pub const fn stages(&self) -> &'static [StageSpec] {
        self.0.business.stages()
    }

    /// What holds budgets, in a fixed order.
    #[must_use]
    pub fn holders(&self) -> Vec<Holder> {
        let nodes = self.0.nodes.iter();
        nodes
            .filter_map(|node| {
                let is_campaign = node.level == Level::Campaign;
                let parent = node.parent.and_then(|p| self.0.nodes.get(p));
                Some(Holder {
                    id: node.id.clone(),
                    is_campaign,
                    campaign: parent.map_or_else(|| node.id.clone(), |p| p.id.clone()),
                    name: node.name.clone(),
                    budget_minor: node.daily_budget?,
                })
            })
            .collect()
    }

    /// Its ads, in a fixed order.
    #[must_use]
    pub fn ads(&self) -> Vec<LoneAd> {
        let cells = self.0.cells().enumerate();
        cells
            .filter_map(|(place, (node, _))| {
                let own = self.0.nodes.get(node)?;
                let ad = own.ad.as_ref()?;
                Some(LoneAd {
                    path: self.0.path_of(place),
                    name: own.name.clone(),
                    created: own.created,
                    text: format!("{} {}", ad.headline, ad.body),
                    is_live: self.0.is_live(node),
                })
            })
            .collect()
    }

    /// Hourly delivery of every ad, in the order of [`Self::ads`].
    pub fn delivery(&self) -> impl Iterator<Item = impl Iterator<Item = Hour>> {
        let offset = self.0.currency.offset() as f64;
        self.0.cells().map(move |(_, cells)| {
            cells.iter().enumerate().map(move |(hour, cell)| Hour {
                begins: time::add(self.0.born, time::hours(hour as i64)),
                impressions: cell.impressions as f64,
                clicks: cell.clicks as f64,
                spend: cell.spend_milli as f64 / 1_000.0 / offset,
            })
        })
    }

    /// The deals of the CRM at `at`.
    #[must_use]
    pub fn deals(&self, at: Timestamp) -> Vec<LoneDeal> {
        let last = self.stages().len().saturating_sub(1);
        let known = self.0.deals.values().filter(|d| d.created <= at);
        known
            .map(|deal| {
                let mut reached = vec![None; last];
                let mut lost_at = None;
                for (when, stage) in deal.stages.iter().filter(|(when, _)| *when <= at) {
                    lost_at = (*stage == last).then_some(*when);
                    if let Some(slot) = reached.get_mut(*stage) {
                        let _ = slot.get_or_insert(*when);
                    }
                }
                let is_won = reached.last().copied().flatten().is_some();
                let amount = deal.amounts.iter().rfind(|(when, _)| *when <= at);
                LoneDeal {
                    id: deal.id,
                    ad: deal.click.map(|(ad, _)| ad),
                    reached,
                    lost_at,
                    amount_minor: amount.filter(|_| is_won).map(|(_, minor)| *minor),
                }
            })
            .collect()
    }

    /// Sets a daily budget. False where Meta would refuse it.
    pub fn set_budget(&mut self, id: &str, minor: i64, at: Timestamp) -> bool {
        self.write(id, Field::DailyBudget, minor.to_string(), at)
    }

    /// Pauses an ad or lets it run. False where Meta would refuse it.
    pub fn set_live(&mut self, id: &str, live: bool, at: Timestamp) -> bool {
        let status = if live { "ACTIVE" } else { "PAUSED" };
        self.write(id, Field::Status, status.to_owned(), at)
    }

    fn write(&mut self, id: &str, field: Field, value: String, at: Timestamp) -> bool {
        let Some(node) = self.0.find(id) else {
            return false;
        };
        let write = Write {
            node,
            field,
            value,
            application_id: APPLICATION.to_owned(),
            validate_only: false,
        };
        self.0.apply(&write, at).is_ok()
    }

    /// What really happened from the start until `until`.
    #[must_use]
    pub fn totals(&self, until: Timestamp) -> Totals {
        self.0.totals(until)
    }

    /// What a unit spent on each ad brings at the prices of its first budget, in the order of
    /// [`Self::ads`].
    #[must_use]
    pub fn true_returns(&self) -> Vec<f64> {
        self.0
            .true_roas()
            .into_iter()
            .map(|(_, roas)| roas)
            .collect()
    }

    /// How each budget truly responds when the ads at `live` deliver, in the order of
    /// [`Self::holders`].
    #[must_use]
    pub fn true_responses(&self, live: &[bool]) -> Vec<TrueResponse> {
        self.0.true_responses(live)
    }
}
