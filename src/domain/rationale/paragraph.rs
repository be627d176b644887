//! The rationale in plain words.

use std::fmt::Write as _;

use super::{Belief, Bound, BudgetTrail, Evidence, Rationale, Rule};
use crate::domain::money::{Currency, Money, Rounding};
use crate::domain::policy::{Action, Move};

impl Rationale {
    /// What is done, on what evidence, what is expected, and what would change it.
    #[must_use]
    pub fn paragraph(&self) -> String {
        let mut sentences = vec![self.headline()];
        sentences.push(counted(&self.evidence, self.currency));
        if let Some(belief) = &self.belief {
            sentences.push(expected(belief, self.currency));
        }
        sentences.push(self.reason());
        if self.evidence.totals_only {
            sentences.push(
                "Only lifetime totals are known: all of it counts as mature and spend stands for \
                 the budget where no days are given."
                    .to_owned(),
            );
        }
        if !self.would_change.is_empty() {
            sentences.push(format!(
                "What would change it: {}.",
                self.would_change.join("; ")
            ));
        }
        sentences.retain(|s| !s.is_empty());
        sentences.join(" ")
    }

    fn label(&self) -> String {
        let kind = self.subject.kind().noun();
        if self.name.is_empty() {
            format!("{kind} {}", self.subject.id())
        } else {
            format!("{kind} \u{201c}{}\u{201d}", self.name)
        }
    }

    fn headline(&self) -> String {
        let label = self.label();
        // A cut entity may well be one to scale, but saying so here would confuse.
        let scale = if self.scale && self.action != Action::Cut {
            " Marked to scale."
        } else {
            ""
        };
        // Without days, spend stands for the budget, and it is of no day.
        let pace = if self.evidence.totals_only {
            ""
        } else {
            " a day"
        };
        match (self.action, self.change) {
            (Action::Raise, Move::Budget { from, to }) => {
                format!(
                    "Raise {label} from {} to {}{pace}.{scale}",
                    plain(from),
                    with_code(to)
                )
            }
            (Action::Cut, Move::Budget { from, to }) => {
                format!(
                    "Cut {label} from {} to {}{pace}.{scale}",
                    plain(from),
                    with_code(to)
                )
            }
            (Action::Kill, _) => format!("Pause {label} for good."),
            (Action::Rotate, _) => format!("Pause {label} for now."),
            (Action::Return, _) => format!("Let {label} run again."),
            (_, Move::Budget { from, .. }) => {
                format!("Leave {label} at {}{pace}.{scale}", with_code(from))
            }
            (_, Move::Status { .. }) => format!("Leave {label} as it is."),
        }
    }

    /// The reason in one sentence.
    #[must_use]
    pub fn reason(&self) -> String {
        let t = &self.thresholds;
        let code = self.currency.code();
        let chance = self.belief.as_ref().map_or(0.0, |b| b.p_below_kill);
        match &self.rule {
            Rule::WaterLevel => self
                .budget
                .as_ref()
                .map_or_else(String::new, |b| level(b, code)),
            Rule::TooSmall => {
                "It is where it should be: a better budget is too close to this one to be worth a \
                 change."
                    .to_owned()
            }
            Rule::RateLimited => {
                "It waits: the changes allowed in this campaign this hour are used up.".to_owned()
            }
            Rule::BadInput => {
                "Some of its figures are not usable numbers, so nothing is changed until they are."
                    .to_owned()
            }
            Rule::Untouchable(why) => format!("It must not be touched: {why}."),
            Rule::CapUnreachable => {
                "Budgets are over the daily cap and cannot come down faster than the limits allow, \
                 so nothing is raised."
                    .to_owned()
            }
            Rule::KillPosterior => format!(
                "The chance that it returns less than {} {code} per {code} is {}, and {} is enough \
                 to stop it.",
                short(t.kill_roas),
                percent(chance),
                percent(t.p_kill),
            ),
            Rule::KillRaw => format!(
                "Its pipeline is worth less than {} {code} per {code} spent.",
                short(t.kill_roas)
            ),
            Rule::KillHalfAverage => "Its score is under half the account's average.".to_owned(),
            Rule::Compared(why) => (*why).to_owned(),
            Rule::Rotation { best, p_better } => format!(
                "The chance that ad {best} in the same ad set is better is {}, and {} is enough to \
                 give it this ad's share.",
                percent(*p_better),
                percent(t.p_rotate),
            ),
            Rule::Returned {
                best: Some(best),
                p_better,
            } => format!(
                "The chance that ad {best}, which runs in its place, is better has come down to {}.",
                percent(*p_better)
            ),
            Rule::Returned { best: None, .. } => {
                "No other ad of its ad set is live any more.".to_owned()
            }
        }
    }
}

fn level(b: &BudgetTrail, code: &str) -> String {
    let mut text = format!(
        "The next {code} here should bring back {}",
        short(b.marginal_before)
    );
    match b.water_level {
        Some(level) => {
            let _ = write!(text, ", against {} where budgets level out", short(level));
        }
        None if b.target >= b.highest => text.push_str(", and the cap has room for every raise"),
        None => text.push_str(", and the cap needs every budget at its least"),
    }
    text.push_str(match b.bound {
        Bound::None => ".",
        Bound::Velocity6h => "; the limit on change within 6 hours sets how far it goes.",
        Bound::Calm24h => "; the limit on change within 24 hours sets how far it goes.",
        Bound::Min => "; the least budget sets how far it goes.",
        Bound::Cap => "; the daily cap sets how far it goes.",
        Bound::RateLimit => "; the changes allowed this hour are used up.",
    });
    text
}

fn counted(e: &Evidence, currency: Currency) -> String {
    let mut text = format!("It spent {}", amount(e.spend, currency));
    let _ = write!(text, " for {} clicks", count(e.clicks));
    let stages: Vec<String> = e
        .stages
        .iter()
        .map(|s| {
            format!(
                "{} {}",
                s.stage.as_str().replace('_', " "),
                count(s.reached)
            )
        })
        .collect();
    if !stages.is_empty() {
        let _ = write!(text, " ({})", stages.join(", "));
    }
    match e.raw_roas {
        Some(roas) if e.pipeline_value != 0.0 => {
            let _ = write!(
                text,
                "; so far that is worth {}, {} per {} spent.",
                amount(e.pipeline_value, currency),
                short(roas),
                currency.code()
            );
        }
        _ => text.push('.'),
    }
    text
}

fn expected(b: &Belief, currency: Currency) -> String {
    let code = currency.code();
    format!(
        "Once all of it has had time to close, we expect {} {code} back per {code} (8 times in 10 \
         between {} and {}).",
        short(b.mean_roas),
        short(b.q10),
        short(b.q90),
    )
}

fn plain(money: Money) -> String {
    grouped(&money.to_decimal())
}

fn with_code(money: Money) -> String {
    format!("{} {}", plain(money), money.currency())
}

/// Main units with thousands marked and the currency's code.
#[must_use]
pub fn amount(main: f64, currency: Currency) -> String {
    Money::from_f64(main, currency, Rounding::Nearest)
        .map_or_else(|_| format!("{main:.0} {currency}"), with_code)
}

fn grouped(decimal: &str) -> String {
    let (sign, digits) = match decimal.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", decimal),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut out = String::from(sign);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A share in whole percent; what is nearly certain is not called certain.
#[must_use]
pub fn percent(share: f64) -> String {
    let whole = (share * 100.0).round();
    if share > 0.0 && whole < 1.0 {
        "under 1%".to_owned()
    } else if share < 1.0 && whole > 99.0 {
        "over 99%".to_owned()
    } else {
        format!("{whole:.0}%")
    }
}

/// A ratio with as many digits as a reader needs.
#[must_use]
pub fn short(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 {
        grouped(&format!("{value:.0}"))
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn count(value: f64) -> String {
    if (value - value.round()).abs() < 0.05 {
        grouped(&format!("{value:.0}"))
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_cut_to_what_a_reader_needs() {
        for (value, text) in [
            (0.123, "0.12"),
            (12.34, "12.3"),
            (1234.5, "1,234"),
            (-2.0, "-2.00"),
        ] {
            assert_eq!(short(value), text);
        }
        for (share, text) in [
            (0.0, "0%"),
            (0.001, "under 1%"),
            (0.5, "50%"),
            (0.9999, "over 99%"),
            (1.0, "100%"),
        ] {
            assert_eq!(percent(share), text);
        }
        assert_eq!(amount(1_234_567.5, Currency::USD), "1,234,567.50 USD");
        assert_eq!(amount(-999.0, Currency::JPY), "-999 JPY");
        assert_eq!(count(3.0), "3");
        assert_eq!(count(2.4), "2.4");
    }
}
