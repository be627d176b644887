//! What makes a past ad a winner, and the text that stands for its creative.

use super::money::Money;
use super::structure::Creative;
use super::time::{self, Timestamp};

/// Impressions below which a click-through rate says nothing.
pub const IMPRESSIONS_MIN: u64 = 1_000;
/// Spend, in main units, below which a return says nothing.
pub const SPEND_MIN: f64 = 50.0;
/// A click-through rate above this makes a winner.
pub const WINNING_CTR: f64 = 0.03;
/// A return of the pipeline above this makes a winner.
pub const WINNING_ROAS: f64 = 3.0;
/// Words of a landing page's address that are kept.
const THEME_WORDS: usize = 6;

/// What came of an ad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Times shown.
    pub impressions: u64,
    /// Link clicks.
    pub clicks: u64,
    /// Money spent.
    pub spend: Money,
    /// Ledger value credited to it.
    pub pipeline: Money,
}

impl Outcome {
    /// Nothing yet; `zero` names the currency.
    #[must_use]
    pub const fn empty(zero: Money) -> Self {
        Self {
            impressions: 0,
            clicks: 0,
            spend: zero,
            pipeline: zero,
        }
    }

    /// Clicks per impression, 0 without impressions.
    #[must_use]
    pub fn ctr(&self) -> f64 {
        if self.impressions == 0 {
            0.0
        } else {
            self.clicks as f64 / self.impressions as f64
        }
    }

    /// Pipeline value per unit spent; `None` without spend.
    #[must_use]
    pub fn roas(&self) -> Option<f64> {
        let spend = self.spend.to_f64();
        (spend > 0.0).then(|| self.pipeline.to_f64() / spend)
    }
}

/// Whether an ad counts as a winner: a high click-through rate, or a high return, each with enough
/// evidence. Losers are indexed as well: what look-alikes lend must not be biased by survival.
#[must_use]
pub fn is_winner(outcome: &Outcome) -> bool {
    let by_ctr = outcome.impressions >= IMPRESSIONS_MIN && outcome.ctr() > WINNING_CTR;
    let by_roas = outcome.spend.to_f64() >= SPEND_MIN
        && outcome.roas().is_some_and(|roas| roas > WINNING_ROAS);
    by_ctr || by_roas
}

/// Whether there is enough evidence to say that an ad won or lost: it was shown or paid for often
/// enough, and is older than a sale takes. Without the time it was made it counts as old.
#[must_use]
pub fn is_mature(
    outcome: &Outcome,
    made_at: Option<Timestamp>,
    sales_cycle_days: f64,
    now: Timestamp,
) -> bool {
    let is_seen = outcome.impressions >= IMPRESSIONS_MIN || outcome.spend.to_f64() >= SPEND_MIN;
    let is_old = made_at.is_none_or(|made| {
        let days = time::between(made, now).as_secs_f64() / 86_400.0;
        days >= sales_cycle_days
    });
    is_seen && is_old
}

/// What a landing page is about: the words of its address after the host, without numbers and what
/// is only technique. Empty for a front page.
#[must_use]
pub fn theme_of(link: &str) -> String {
    let rest = link.split_once("://").map_or(link, |(_, rest)| rest);
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let is_telling = |word: &&str| {
        word.chars().count() >= 2
            && !word.chars().any(|c| c.is_ascii_digit())
            && !matches!(*word, "html" | "htm" | "php" | "aspx" | "index" | "www")
    };
    path.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(is_telling)
        .take(THEME_WORDS)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The text that stands for a creative: headline, text, description and call to action. Names and
/// links are left out: they say how an account is kept, not what an ad says.
#[must_use]
pub fn text_of(creative: &Creative) -> String {
    let call = creative.call_to_action.replace('_', " ").to_lowercase();
    [
        &creative.title,
        &creative.body,
        &creative.description,
        &call,
    ]
    .into_iter()
    .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
    .filter(|part| !part.is_empty())
    .collect::<Vec<_>>()
    .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;

    fn outcome(impressions: u64, clicks: u64, spend: i64, pipeline: i64) -> Outcome {
        let usd = |main| Money::from_minor(main * 100, Currency::USD);
        Outcome {
            impressions,
            clicks,
            spend: usd(spend),
            pipeline: usd(pipeline),
        }
    }

    #[test]
    fn a_winner_needs_a_rate_and_the_evidence_for_it() {
        for (given, expected) in [
            (outcome(1_000, 31, 10, 0), true),
            (outcome(1_000, 30, 10, 0), false), // not above
            (outcome(999, 500, 10, 0), false),  // too few impressions
            (outcome(5_000, 10, 50, 151), true),
            (outcome(5_000, 10, 50, 150), false),    // not above
            (outcome(5_000, 10, 49, 10_000), false), // too little spend
            (outcome(0, 0, 0, 0), false),
        ] {
            assert_eq!(is_winner(&given), expected, "{given:?}");
        }
    }

    #[test]
    fn an_outcome_is_mature_with_evidence_and_age() {
        let now = time::from_seconds(1_790_000_000);
        let made = |days: i64| Some(time::add(now, time::hours(-24 * days)));
        for (given, made, expected) in [
            (outcome(1_000, 0, 0, 0), made(6), true),
            (outcome(999, 0, 49, 0), made(60), false),
            (outcome(0, 0, 50, 0), made(6), true),
            (outcome(5_000, 0, 500, 0), made(5), false), // its sales may be under way
            (outcome(5_000, 0, 500, 0), None, true),
        ] {
            let found = is_mature(&given, made, 6.0, now);
            assert_eq!(found, expected, "{given:?} {made:?}");
        }
    }

    #[test]
    fn a_theme_is_what_the_address_says() {
        for (link, expected) in [
            (
                "https://gym.example/free-trial/?utm_source=fb",
                "free trial",
            ),
            (
                "https://gym.example/lp/v2/Summer_Body.html#form",
                "lp summer body",
            ),
            ("https://gym.example", ""),
            ("https://gym.example/", ""),
            ("gym.example/größe", "größe"),
            ("", ""),
        ] {
            assert_eq!(theme_of(link), expected, "{link}");
        }
    }

    #[test]
    fn the_text_is_what_an_ad_says() {
        let creative = Creative {
            title: " Get  fit ".to_owned(),
            body: "Six weeks.\nNo contract.".to_owned(),
            call_to_action: "SIGN_UP".to_owned(),
            link: "https://example.com".to_owned(),
            ..Creative::default()
        };
        assert_eq!(
            text_of(&creative),
            "Get fit\nSix weeks. No contract.\nsign up"
        );
        assert_eq!(text_of(&Creative::default()), "");
    }
}
