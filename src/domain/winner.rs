//! What makes a past ad a winner, and the text that stands for its creative.

use super::money::Money;
use super::structure::Creative;

/// Impressions below which a click-through rate says nothing.
pub const IMPRESSIONS_MIN: u64 = 1_000;
/// Spend, in main units, below which a return says nothing.
pub const SPEND_MIN: f64 = 50.0;
/// A click-through rate above this makes a winner.
pub const WINNING_CTR: f64 = 0.03;
/// A return of the pipeline above this makes a winner.
pub const WINNING_ROAS: f64 = 3.0;

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
