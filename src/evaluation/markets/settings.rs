//! Which markets policies are judged on. Those for tuning and those for reporting differ in their
//! seeds and in what they are like; constants of the model are chosen on the first alone.

use crate::domain::ids::StageName;
use crate::domain::money::Money;
use crate::domain::policy::{BudgetLimits, Mode, PolicyParams, Stage};
use crate::domain::time::{self, SignedDuration, Timestamp};
use crate::sandbox::lone::{Lone, LonePlan};
use crate::sandbox::{Business, Character};

/// What figures are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To choose the model's constants by.
    Tuning,
    /// To tell how good it is.
    Reporting,
}

/// The kinds of business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Leads become sales within a week.
    Service,
    /// Purchases within hours.
    Purchases,
    /// Leads become sales within about a month.
    LongCycle,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Service, Self::Purchases, Self::LongCycle];

    /// As a word for reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Purchases => "purchases",
            Self::LongCycle => "long cycle",
        }
    }
}

/// One kind of market.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The kind of business.
    pub kind: Kind,
    business: Business,
    character: Character,
    first_seed: u64,
    history: SignedDuration,
    /// Days that are judged.
    pub days: i64,
}

/// Where the markets' time begins: a Monday.
const START: i64 = 1_790_553_600;

impl Setting {
    /// The market of a kind of business for a purpose.
    #[must_use]
    pub const fn of(kind: Kind, purpose: Purpose) -> Self {
        let (business, cycle) = match kind {
            Kind::Service => (Business::Gym, 1.0),
            Kind::Purchases => (Business::Shop, 1.0),
            Kind::LongCycle => (Business::Clinic, 3.0),
        };
        let character = match purpose {
            // Ads differ less, tire sooner and sell dearer things to fewer than where figures are
            // reported.
            Purpose::Tuning => Character {
                leads: 1.25,
                steps: 0.9,
                days: cycle * 0.85,
                amounts: 1.5,
                set_spread: 0.8,
                ad_spread: 1.25,
                themes: 0.8,
                freshness: 0.7,
                depth: 1.2,
                budgets: 1.3,
            },
            Purpose::Reporting => Character {
                days: cycle,
                ..Character::USUAL
            },
        };
        let (history, days) = match kind {
            Kind::Service | Kind::Purchases => (10, 30),
            Kind::LongCycle => (30, 60),
        };
        Self {
            kind,
            business,
            character,
            first_seed: match purpose {
                Purpose::Tuning => 5_000_000,
                Purpose::Reporting => 1,
            },
            history: time::days(history),
            days,
        }
    }

    /// When judging begins.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        time::from_seconds(START)
    }

    /// When it ends.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        time::add(self.start(), time::days(self.days))
    }

    /// The seed of the `n`th market.
    #[must_use]
    pub const fn seed(&self, n: u64) -> u64 {
        self.first_seed + n
    }

    /// The `n`th market, moved to the start.
    #[must_use]
    pub fn market(&self, n: u64) -> Lone {
        Lone::new(&LonePlan {
            business: self.business,
            character: self.character,
            seed: self.seed(n),
            start: self.start(),
            history: self.history,
        })
    }

    /// How it earns.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match self.kind {
            Kind::Service | Kind::LongCycle => Mode::Pipeline,
            Kind::Purchases => Mode::Direct,
        }
    }

    /// The model's numbers as its owner configures them: the defaults, and how long a sale takes.
    #[must_use]
    pub fn params(&self) -> PolicyParams {
        PolicyParams {
            sales_cycle_days: (self.business.cycle_days() * self.character.days).max(0.25),
            ..PolicyParams::for_mode(self.mode())
        }
    }

    /// The funnel as its owner values it, which is not how it is.
    #[must_use]
    pub fn stages(&self) -> Vec<Stage> {
        let offset = self.business.currency().offset() as f64;
        let stages = self.business.stages();
        let open = stages.get(..stages.len().saturating_sub(1));
        open.unwrap_or_default()
            .iter()
            .filter_map(|s| {
                let name = StageName::new(s.name).ok()?;
                Some(Stage::new(name, s.value_minor as f64 / offset))
            })
            .collect()
    }

    /// The guards, the same for every policy: the daily cap is what the budgets sum to at first.
    #[must_use]
    pub fn limits(&self, market: &Lone) -> BudgetLimits {
        let currency = self.business.currency();
        let cap = market.holders().iter().map(|h| h.budget_minor).sum();
        BudgetLimits::under_cap(
            Money::from_minor(cap, currency),
            Money::from_minor(5 * currency.offset(), currency),
        )
    }
}
