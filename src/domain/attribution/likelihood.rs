//! How likely it is that a click and a form came from the same person: Bayes over the clicks of a
//! window, in which a rare value weighs more than a shared one.
//!
//! The hypotheses are "this click brought them", one for each click that shares something with the
//! form, and "none of these did": no ad, or a click that left no trace. With `s` the share of forms
//! that a click which can be found brought, `g` the density of the time from click to form, `r` the
//! rate of clicks, `m` the chance that one person's two visits agree in just these traits, and `u`
//! the chance that somebody whom no ad brought has the values agreed in, a click's weight against
//! "none" is
//!
//! ```text
//! s / (1 - s) * g(age) / r * m(traits, age) / u(values)
//! ```
//!
//! `m / u` is the likelihood ratio of record linkage (I. P. Fellegi, A. B. Sunter, "A theory for
//! record linkage", JASA 64, 1969), with `u` by value; `g / r` stands for all clicks, found or not,
//! so that among many clicks the same agreement proves less.

use super::probability::Probability;
use crate::domain::time::SignedDuration;

/// Whether two visits have the same value of a trait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// They do.
    Same,
    /// They do not.
    Differs,
    /// One of them does not tell.
    Unknown,
}

impl Agreement {
    /// Compares two values.
    pub fn of<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> Self {
        match (a, b) {
            (Some(a), Some(b)) if a == b => Self::Same,
            (Some(_), Some(_)) => Self::Differs,
            (None, _) | (_, None) => Self::Unknown,
        }
    }

    const fn allows(self, is_same: bool) -> bool {
        match self {
            Self::Same => is_same,
            Self::Differs => !is_same,
            Self::Unknown => true,
        }
    }
}

/// What a click and a form have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// The device's fingerprint.
    pub fingerprint: Agreement,
    /// The user agent.
    pub user_agent: Agreement,
    /// The IP address.
    pub ip: Agreement,
}

/// All eight ways in which three traits agree or differ.
pub(super) const PATTERNS: usize = 8;

impl Traits {
    /// The pattern of what is known to be the same, below [`PATTERNS`].
    pub(super) fn shared(self) -> usize {
        let bit = |agreement, bit| usize::from(agreement == Agreement::Same) * bit;
        bit(self.fingerprint, 4) + bit(self.user_agent, 2) + bit(self.ip, 1)
    }

    /// The patterns that these traits may be; several where something is unknown.
    pub(super) fn patterns(self) -> impl Iterator<Item = usize> {
        (0..PATTERNS).filter(move |pattern| {
            self.fingerprint.allows(pattern & 4 != 0)
                && self.user_agent.allows(pattern & 2 != 0)
                && self.ip.allows(pattern & 1 != 0)
        })
    }
}

/// Steps of the time from click to form, by their ends in seconds.
const GAP_ENDS: [i64; GAPS] = [
    300, 900, 3_600, 10_800, 21_600, 43_200, 86_400, 172_800, 345_600, 604_800, 2_592_000,
];
pub(super) const GAPS: usize = 11;
/// What stays the same within the hour, within the day, and for longer.
pub(super) const SPANS: usize = 3;

/// A step of the time from click to form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap(usize);

impl Gap {
    /// The step that an age falls into; what is older than 30 days falls into the last.
    #[must_use]
    pub fn of(age: SignedDuration) -> Self {
        let seconds = age.as_secs();
        let step = GAP_ENDS.iter().position(|end| seconds < *end);
        Self(step.unwrap_or(GAPS - 1))
    }

    /// Its place among the steps.
    pub(super) const fn index(self) -> usize {
        self.0
    }

    /// Which of the spans it lies in.
    pub(super) const fn span(self) -> usize {
        match self.0 {
            0..=2 => 0,
            3..=6 => 1,
            _ => 2,
        }
    }

    fn hours(self) -> f64 {
        let start = self.0.checked_sub(1).map_or(0, |before| GAP_ENDS[before]);
        (GAP_ENDS[self.0] - start) as f64 / 3_600.0
    }
}

/// A click that may have brought the form, weighed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// How long before the form it was.
    pub gap: Gap,
    /// What they have in common.
    pub traits: Traits,
    /// The chance that somebody whom no ad brought has the values in common; above 0.
    pub by_chance: Probability,
}

/// How people come back from a click to the form: learned from the tenant's own deals and drawn to
/// [`Linkage::SHIPPED`] while there are few.
#[derive(Debug, Clone, PartialEq)]
pub struct Linkage {
    /// The share of forms without an id that a click which can be found brought.
    pub findable: Probability,
    /// The chance of each step of time from click to form; they sum to 1.
    pub(super) delay: [f64; GAPS],
    /// The chance of each pattern of agreement, by span; each sums to 1. A pattern that agrees in
    /// neither fingerprint nor address is never looked up and has none.
    pub(super) agreement: [[f64; PATTERNS]; SPANS],
}

impl Linkage {
    /// What is assumed of a tenant of whom nothing is known: most people who come back do so within
    /// a day, on the same device, and a phone changes its address within hours. Only the order of
    /// magnitude matters beside the rarity of the values.
    pub const SHIPPED: Self = Self {
        findable: Probability::percent(30),
        delay: [
            0.16, 0.12, 0.12, 0.10, 0.09, 0.11, 0.12, 0.09, 0.06, 0.02, 0.01,
        ],
        // By fingerprint, user agent, address: 000 001 010 011 100 101 110 111.
        agreement: [
            [0.0, 0.08, 0.0, 0.02, 0.02, 0.03, 0.15, 0.70],
            [0.0, 0.10, 0.0, 0.02, 0.05, 0.05, 0.30, 0.48],
            [0.0, 0.03, 0.0, 0.01, 0.13, 0.06, 0.47, 0.30],
        ],
    };

    /// What the match of one click weighs against a click of its age taken at random, without the
    /// share of forms that clicks brought. `clicks_per_hour` is above 0.
    #[must_use]
    pub fn weight(&self, found: &Match, clicks_per_hour: f64) -> f64 {
        let density = self.delay[found.gap.index()] / found.gap.hours();
        let stays: f64 = found
            .traits
            .patterns()
            .map(|pattern| self.agreement[found.gap.span()][pattern])
            .sum();
        density / clicks_per_hour * stays / found.by_chance.get().max(1e-12)
    }

    /// The posterior of each click; they sum to at most 1, and the rest is "none of these".
    #[must_use]
    pub fn posterior(&self, found: &[Match], clicks_per_hour: f64) -> Vec<Probability> {
        let share = self.findable.get();
        let weights: Vec<f64> = found
            .iter()
            .map(|m| share * self.weight(m, clicks_per_hour))
            .collect();
        let total = weights.iter().sum::<f64>() + (1.0 - share).max(1e-9);
        weights
            .into_iter()
            .map(|weight| Probability::nearest(weight / total))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time;
    use proptest::prelude::*;

    const ALL: Traits = Traits {
        fingerprint: Agreement::Same,
        user_agent: Agreement::Same,
        ip: Agreement::Same,
    };

    fn found(minutes: i64, traits: Traits, by_chance: f64) -> Match {
        Match {
            gap: Gap::of(time::minutes(minutes)),
            traits,
            by_chance: Probability::nearest(by_chance),
        }
    }

    fn one(found: Match, clicks_per_hour: f64) -> f64 {
        Linkage::SHIPPED.posterior(&[found], clicks_per_hour)[0].get()
    }

    #[test]
    fn what_is_shipped_is_a_distribution() {
        let shipped = Linkage::SHIPPED;
        assert!((shipped.delay.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        for span in shipped.agreement {
            assert!((span.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn a_rare_value_weighs_more_than_a_shared_one() {
        assert!(one(found(30, ALL, 1e-5), 50.0) > 0.95);
        assert!(one(found(30, ALL, 0.05), 50.0) < 0.30);
        // Worked by hand: .3/.7 * (.12/.75/50) * .7/1e-4.
        let weight: f64 = 0.3 / 0.7 * (0.12 / 0.75 / 50.0) * 0.7 / 1e-4;
        assert!((one(found(30, ALL, 1e-4), 50.0) - weight / (1.0 + weight)).abs() < 1e-9);
    }

    #[test]
    fn the_same_evidence_proves_less_among_more_clicks_and_after_longer() {
        let evidence = |minutes| found(minutes, ALL, 1e-4);
        assert!(one(evidence(30), 5.0) > one(evidence(30), 500.0));
        assert!(one(evidence(30), 50.0) > one(evidence(3_000), 50.0));
    }

    #[test]
    fn what_differs_speaks_against_and_what_is_unknown_does_not() {
        let with = |user_agent| found(30, Traits { user_agent, ..ALL }, 1e-3);
        let [same, unknown, differs] = [Agreement::Same, Agreement::Unknown, Agreement::Differs]
            .map(|agreement| one(with(agreement), 50.0));
        assert!(
            unknown >= same && same > differs,
            "{unknown} {same} {differs}"
        );
    }

    proptest! {
        #[test]
        fn posteriors_are_a_distribution(
            found in proptest::collection::vec((0i64..100_000, 0usize..27, 0.0f64..=1.0), 0..12),
            rate in 0.01f64..10_000.0,
        ) {
            let kinds = [Agreement::Same, Agreement::Differs, Agreement::Unknown];
            let found: Vec<Match> = found.into_iter().map(|(minutes, n, chance)| Match {
                gap: Gap::of(time::minutes(minutes)),
                traits: Traits {
                    fingerprint: kinds[n % 3],
                    user_agent: kinds[n / 3 % 3],
                    ip: kinds[n / 9],
                },
                by_chance: Probability::nearest(chance),
            }).collect();
            let p = Linkage::SHIPPED.posterior(&found, rate);
            prop_assert_eq!(p.len(), found.len());
            prop_assert!(p.iter().map(|p| p.get()).sum::<f64>() <= 1.0 + 1e-9);
        }
    }
}
