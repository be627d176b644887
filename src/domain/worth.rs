//! What a deal in each stage has really been worth: how many of those that reached it were won, after
//! how long, and for how much. It is shown beside the configured value and never takes its place.
//!
//! Of a deal that is still open nobody knows the end (right censoring): it counts only for the time it
//! had. A deal that reached a stage is one of three kinds: it will be won, after a delay with an
//! Erlang-2 distribution; it will be marked as lost, after another such delay; or it is over and nobody
//! will ever say so. Shares and delays are found by expectation maximisation (A. P. Dempster, N. M.
//! Laird, D. B. Rubin, JRSS B 39, 1977; the mixture with a share that never ends is J. W. Boag's, JRSS
//! B 11, 1949). Both are drawn to what is configured, with the weight of a few deals.
//!
//! Intervals hold what an open deal leaves unknown: the information of the complete data less the part
//! that is missing (T. A. Louis, JRSS B 44, 1982). They leave out that a market changes.

use super::deal::Deal;
use super::fx::FxTable;
use super::ids::StageName;
use super::money::{Currency, Money, MoneyError, Rounding};
use super::posterior::delay::matured;
use super::stages::{StageTable, full_history};
use super::time::{self, Timestamp};

/// Deals that weigh as much as the configured rate.
const RATE_DEALS: f64 = 8.0;
/// Deals that weigh as much as the usual delays and as the configured value of a sale.
const DELAY_DEALS: f64 = 5.0;
const SALE_DEALS: f64 = 5.0;
/// The spread of a sale's amount before any was seen, as a share of it.
const SALE_SPREAD: f64 = 0.5;
/// Of the deals that are not won, the share that is believed beforehand to be marked as lost.
const MARKED: f64 = 0.8;
/// Rounds of expectation maximisation.
const ROUNDS: usize = 60;
/// The 95 % quantile of the normal distribution: intervals hold nine in ten.
const Z90: f64 = 1.644_853_626_951_472_2;
/// Deals' worth of knowledge from which on a drift is told.
const ENOUGH: f64 = 20.0;
/// A difference that is not worth a word.
const SMALL: f64 = 0.10;
/// An interval whose lower end is a smaller share of its upper one tells nothing yet.
const TELLING: f64 = 0.05;

/// How a deal stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// It may still be won.
    Open,
    /// It is won, for its own amount where it has one.
    Won(Timestamp, Option<Money>),
    /// It is marked as lost.
    Lost(Timestamp),
}

/// A deal's way through the funnel.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// For each stage of the funnel, when the deal first came at least as far.
    pub reached: Vec<Option<Timestamp>>,
    /// How it stands.
    pub end: End,
}

impl Course {
    /// The way of a deal; `None` for one that was deleted, which tells nothing. An amount without a
    /// rate is left out.
    #[must_use]
    pub fn of(deal: &Deal, stages: &StageTable, fx: &FxTable) -> Option<Self> {
        if deal.is_archived {
            return None;
        }
        let history = full_history(deal);
        let mut reached = vec![None; stages.funnel().count()];
        for change in &history {
            if let Some(index) = stages.funnel_index(&change.stage) {
                for entered in reached.iter_mut().take(index + 1) {
                    *entered = entered.or(Some(change.at));
                }
            }
        }
        let since = history.last().map_or(deal.updated_at, |change| change.at);
        let end = match stages.by_vendor_id(&deal.stage) {
            Some(stage) if stage.is_won => {
                let amount = deal.amount.as_ref();
                let own = amount.map(|amount| fx.convert(amount, Rounding::Nearest));
                End::Won(since, own.and_then(Result::ok).flatten())
            }
            Some(stage) if stage.is_lost => End::Lost(since),
            _ => End::Open,
        };
        Some(Self { reached, end })
    }
}

/// A number and what it is between in nine cases of ten.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The likeliest.
    pub mid: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies in it.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// What one stage has been worth.
#[derive(Debug, Clone, PartialEq)]
pub struct StageWorth {
    /// The stage.
    pub stage: StageName,
    /// What it is worth by the configuration.
    pub configured: Money,
    /// Deals that reached it.
    pub deals: u64,
    /// Of them, those that are won …
    pub won: u64,
    /// … and those that are marked as lost; the others are open.
    pub lost: u64,
    /// How many deals' full course what is known of them is worth.
    pub known: f64,
    /// The share that is won in the end.
    pub rate: Interval,
    /// Mean days from the stage to the sale.
    pub days_to_won: f64,
    /// What a deal in it is worth, in main units.
    pub worth: Interval,
}

impl StageWorth {
    /// The value that the deals bear out, to two figures.
    #[must_use]
    pub fn suggested(&self) -> Money {
        let currency = self.configured.currency();
        Money::from_f64(two_figures(self.worth.mid), currency, Rounding::Nearest)
            .unwrap_or(self.configured)
    }

    /// What is kept of it.
    ///
    /// # Errors
    /// When an amount does not fit.
    pub fn learned(&self) -> Result<LearnedStage, MoneyError> {
        let currency = self.configured.currency();
        let money = |main| Money::from_f64(main, currency, Rounding::Nearest);
        Ok(LearnedStage {
            stage: self.stage.clone(),
            deals: self.deals,
            won: self.won,
            lost: self.lost,
            rate: self.rate,
            days_to_won: self.days_to_won,
            value: money(self.worth.mid)?,
            low: money(self.worth.low)?,
            high: money(self.worth.high)?,
        })
    }

    /// Whether the deals contradict the configured value, and are enough to say so.
    #[must_use]
    pub fn drifts(&self) -> bool {
        let configured = self.configured.to_f64();
        let off = (self.worth.mid - configured).abs();
        self.known >= ENOUGH
            && !self.worth.holds(configured)
            && off > SMALL * configured.max(self.worth.mid)
            // What may be anything contradicts nothing, not even a value of zero.
            && self.worth.low >= TELLING * self.worth.high
    }

    /// What there is to say of the value: "show_up is worth 6,100 on the last 214 deals, configured
    /// 9,000".
    #[must_use]
    pub fn sentence(&self) -> String {
        format!(
            "{} is worth {} on the last {} deals, configured {}",
            self.stage,
            in_thousands(two_figures(self.worth.mid)),
            self.deals,
            in_thousands(self.configured.to_f64()),
        )
    }
}

/// What was learned of a stage, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnedStage {
    /// The stage.
    pub stage: StageName,
    /// Deals that reached it.
    pub deals: u64,
    /// Of them, those that are won …
    pub won: u64,
    /// … and those that are marked as lost.
    pub lost: u64,
    /// The share that is won in the end.
    pub rate: Interval,
    /// Mean days from the stage to the sale.
    pub days_to_won: f64,
    /// What a deal in it is worth.
    pub value: Money,
    /// The lower end of that …
    pub low: Money,
    /// … and the upper.
    pub high: Money,
}

/// Rounded to two figures.
fn two_figures(value: f64) -> f64 {
    if value < 1.0 {
        return (value * 100.0).round() / 100.0;
    }
    let unit = libm::pow(10.0, libm::floor(libm::log10(value)) - 1.0);
    (value / unit).round() * unit
}

/// A number as people write it.
fn in_thousands(value: f64) -> String {
    let cents = (value * 100.0).round() as i64;
    let digits = (cents / 100).unsigned_abs().to_string();
    let mut text = if cents < 0 {
        "-".to_owned()
    } else {
        String::new()
    };
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    match (cents % 100).unsigned_abs() {
        0 => text,
        rest => format!("{text}.{rest:02}"),
    }
}

/// What each stage of the funnel has been worth by `now`, in order. `cycle_days` are the usual days
/// from the first stage to the sale.
#[must_use]
pub fn learn(
    courses: &[Course],
    stages: &StageTable,
    currency: Currency,
    cycle_days: f64,
    now: Timestamp,
) -> Vec<StageWorth> {
    let funnel: Vec<_> = stages.funnel().collect();
    let configured_sale = funnel
        .iter()
        .find(|stage| stage.is_won)
        .map_or_else(|| Money::zero(currency), |stage| stage.value);
    let sale = sale(courses, configured_sale.to_f64());
    let last = funnel.len().saturating_sub(1);
    funnel
        .iter()
        .enumerate()
        .map(|(place, stage)| {
            let seen: Vec<Seen> = courses
                .iter()
                .filter_map(|course| Seen::of(course, place, now))
                .collect();
            let prior = if configured_sale.is_zero() {
                0.5
            } else {
                stage.value.to_f64() / configured_sale.to_f64()
            };
            let steps = (last - place) as f64 / last.max(1) as f64;
            let fit = if stage.is_won {
                Fit::certain(seen.len())
            } else {
                Fit::of(
                    &seen,
                    prior,
                    (cycle_days * steps).max(0.01),
                    cycle_days * 2.0,
                )
            };
            let count = |is: fn(&Seen) -> bool| seen.iter().filter(|one| is(one)).count() as u64;
            StageWorth {
                stage: stage.name.clone(),
                configured: stage.value,
                deals: seen.len() as u64,
                won: count(|one| matches!(one, Seen::Won(_))),
                lost: count(|one| matches!(one, Seen::Lost(_))),
                known: fit.known,
                rate: fit.rate,
                days_to_won: fit.days_to_won,
                worth: product(fit.rate, sale),
            }
        })
        .collect()
}

/// One deal after it reached a stage; days.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Won(f64),
    Lost(f64),
    Open(f64),
}

impl Seen {
    fn of(course: &Course, place: usize, now: Timestamp) -> Option<Self> {
        let from = (*course.reached.get(place)?)?;
        let days = |to| time::days_between(from, to).max(0.0);
        Some(match course.end {
            End::Won(at, _) => Self::Won(days(at)),
            End::Lost(at) => Self::Lost(days(at)),
            End::Open => Self::Open(days(now)),
        })
    }
}

/// The mean amount of a sale, main units.
fn sale(courses: &[Course], configured: f64) -> Interval {
    let amounts: Vec<f64> = courses
        .iter()
        .filter_map(|course| match course.end {
            // Without an amount of its own a sale is booked at the configured value.
            End::Won(_, amount) => Some(amount.map_or(configured, Money::to_f64)),
            End::Open | End::Lost(_) => None,
        })
        .collect();
    let n = amounts.len() as f64 + SALE_DEALS;
    let mean = (configured * SALE_DEALS + amounts.iter().sum::<f64>()) / n;
    let spread = SALE_DEALS * (SALE_SPREAD * mean) * (SALE_SPREAD * mean)
        + amounts.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
    let error = libm::sqrt(spread / n / n);
    let far = if mean > 0.0 {
        libm::exp(Z90 * error / mean)
    } else {
        1.0
    };
    Interval {
        mid: mean,
        low: mean / far,
        high: mean * far,
    }
}

/// The product of two independent numbers, their errors added on the logarithm.
fn product(a: Interval, b: Interval) -> Interval {
    let mid = a.mid * b.mid;
    let side = |a_end: f64, b_end: f64| {
        if a_end <= 0.0 || b_end <= 0.0 || mid <= 0.0 {
            return 0.0;
        }
        let (x, y) = (libm::log(a_end / a.mid), libm::log(b_end / b.mid));
        libm::sqrt(x * x + y * y)
    };
    let down = libm::exp(-side(a.low, b.low));
    Interval {
        mid,
        low: if a.low <= 0.0 || b.low <= 0.0 {
            0.0
        } else {
            mid * down
        },
        high: mid * libm::exp(side(a.high, b.high)),
    }
}

/// The shares and delays of a stage.
struct Fit {
    rate: Interval,
    days_to_won: f64,
    known: f64,
}

impl Fit {
    /// Of the sale itself.
    fn certain(deals: usize) -> Self {
        Self {
            rate: Interval {
                mid: 1.0,
                low: 1.0,
                high: 1.0,
            },
            days_to_won: 0.0,
            known: deals as f64,
        }
    }

    fn of(seen: &[Seen], prior: f64, days_to_won: f64, days_to_lost: f64) -> Self {
        // Neither nothing nor all: deals must be able to say otherwise.
        let prior = prior.clamp(0.002, 0.98);
        let n = seen.len() as f64;
        let (mut won, mut marked) = (prior, (1.0 - prior) * MARKED);
        let (mut to_won, mut to_lost) = (days_to_won, days_to_lost);
        for _ in 0..ROUNDS {
            let mut wins = RATE_DEALS * prior;
            let mut losses = RATE_DEALS * (1.0 - prior) * MARKED;
            let (mut win_days, mut win_weight) = (DELAY_DEALS * days_to_won, DELAY_DEALS);
            let (mut loss_days, mut loss_weight) = (DELAY_DEALS * days_to_lost, DELAY_DEALS);
            for one in seen {
                match *one {
                    Seen::Won(days) => {
                        wins += 1.0;
                        win_days += days;
                        win_weight += 1.0;
                    }
                    Seen::Lost(days) => {
                        losses += 1.0;
                        loss_days += days;
                        loss_weight += 1.0;
                    }
                    Seen::Open(age) => {
                        let (p, q) = open(age, won, marked, to_won, to_lost);
                        wins += p;
                        losses += q;
                        win_days += p * expected_after(age, to_won);
                        win_weight += p;
                        loss_days += q * expected_after(age, to_lost);
                        loss_weight += q;
                    }
                }
            }
            won = wins / (RATE_DEALS + n);
            marked = losses / (RATE_DEALS + n);
            to_won = win_days / win_weight;
            to_lost = loss_days / loss_weight;
        }
        let variance = won * (1.0 - won);
        let missing: f64 = seen
            .iter()
            .map(|one| match *one {
                Seen::Won(_) | Seen::Lost(_) => 0.0,
                Seen::Open(age) => {
                    let (p, _) = open(age, won, marked, to_won, to_lost);
                    (p * (1.0 - p) / variance).min(1.0)
                }
            })
            .sum();
        let known = (n - missing).max(0.0);
        let error = Z90 / libm::sqrt((RATE_DEALS + known) * variance);
        let logit = libm::log(won / (1.0 - won));
        let back = |x: f64| 1.0 / (1.0 + libm::exp(-x));
        Self {
            rate: Interval {
                mid: won,
                low: back(logit - error),
                high: back(logit + error),
            },
            days_to_won: to_won,
            known,
        }
    }
}

/// The chances that a deal still open at this age will be won, and will be marked as lost.
fn open(age: f64, won: f64, marked: f64, to_won: f64, to_lost: f64) -> (f64, f64) {
    let win = won * (1.0 - matured(age, to_won));
    let loss = marked * (1.0 - matured(age, to_lost));
    let never = (1.0 - won - marked).max(0.0);
    let all = (win + loss + never).max(1e-300);
    (win / all, loss / all)
}

/// The mean of an Erlang-2 delay of this mean, given that it is longer than `age`.
fn expected_after(age: f64, mean: f64) -> f64 {
    let x = 2.0 * age / mean.max(1e-9);
    (x * x + 2.0 * x + 2.0) / (1.0 + x) * mean / 2.0
}

#[cfg(test)]
mod tests;
