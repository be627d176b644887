//! What several answers have in common.

use super::shape::answer;
use crate::domain::change::Target;
use crate::domain::money::Money;
use crate::domain::structure::EntityRef;

answer! {
    /// An amount of money.
    Amount {
        /// In whole minor units of its currency: cents, or yen.
        minor: i64,
        /// The same in main units, as decimal text.
        decimal: String,
        /// The currency's ISO code.
        currency: String,
    }

    /// An object of the ad account.
    Object {
        /// `campaign`, `adset` or `ad`.
        kind: String,
        /// Its id at Meta.
        id: String,
        /// Its name when it was looked at.
        name: String,
    }

    /// What a setting is or is to be: one of both is null.
    Setting {
        /// The daily budget.
        daily_budget: Option<Amount>,
        /// The status.
        status: Option<String>,
    }
}

impl From<Money> for Amount {
    fn from(money: Money) -> Self {
        Self {
            minor: money.minor(),
            decimal: money.to_decimal(),
            currency: money.currency().code().to_owned(),
        }
    }
}

impl From<Target> for Setting {
    fn from(target: Target) -> Self {
        match target {
            Target::DailyBudget(money) => Self {
                daily_budget: Some(money.into()),
                status: None,
            },
            Target::Status(status) => Self {
                daily_budget: None,
                status: Some(status.as_str().to_owned()),
            },
        }
    }
}

impl Object {
    pub(super) fn new(entity: &EntityRef, name: &str) -> Self {
        Self {
            kind: entity.kind().as_str().to_owned(),
            id: entity.id().to_owned(),
            name: name.to_owned(),
        }
    }
}
