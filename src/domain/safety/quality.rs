//! Whether the data are good enough to act on. A fault holds raises *and* cuts, and the pauses that
//! follow from the same data: a step down on bad data is as dangerous as a step up.

use std::fmt;

use super::Rule;
use crate::domain::coverage::{Coverage, CoverageVerdict};
use crate::domain::limits::QualityLimits;
use crate::domain::time::{self, SignedDuration, Timestamp};

/// What is known about the tenant's data at the moment of judging.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DataQuality {
    /// The age of the newest complete read of the insights; `None` when there was none.
    pub insight_age: Option<SignedDuration>,
    /// The age of the newest complete read of the CRM; `None` when there was none.
    pub crm_age: Option<SignedDuration>,
    /// How conversions were credited within [`QualityLimits::coverage_window`].
    pub coverage: Coverage,
    /// Conversions within [`QualityLimits::silence_window`].
    pub recent_conversions: u64,
    /// How many the time before that window would lead one to expect in it.
    pub expected_conversions: f64,
    /// Whether the account is billed in the tenant's currency, and the CRM's amounts have rates.
    pub currency_agrees: bool,
    /// Whether the account's time zone is known and is the one the figures were read in.
    pub time_zone_agrees: bool,
}

/// Conversions lately, and how many were to be expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Silence {
    /// Conversions within [`QualityLimits::silence_window`].
    pub recent: u64,
    /// How many the time before that window would lead one to expect in it.
    pub expected: f64,
}

impl Silence {
    /// The time before the window that tells what is usual.
    const USUAL: SignedDuration = time::days(28);

    /// Conversions from then on tell whether there is a silence.
    #[must_use]
    pub fn since(limits: &QualityLimits, now: Timestamp) -> Timestamp {
        time::sub(time::sub(now, limits.silence_window), Self::USUAL)
    }

    /// Looks at when conversions were, none before [`Silence::since`].
    #[must_use]
    pub fn of(
        made: impl Iterator<Item = Timestamp> + Clone,
        limits: &QualityLimits,
        now: Timestamp,
    ) -> Self {
        let from = time::sub(now, limits.silence_window);
        let recent = made.clone().filter(|at| *at >= from).count();
        let before = made.clone().count() - recent;
        // A young account's usual is taken over the time it has one.
        let first = made.min().unwrap_or(from);
        let observed = time::between(first, from).as_secs_f64().max(86_400.0);
        Self {
            recent: recent as u64,
            expected: before as f64 * limits.silence_window.as_secs_f64() / observed,
        }
    }
}

/// Something wrong with the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum QualityFault {
    /// The insights are old, or were never read.
    StaleInsights(Option<SignedDuration>),
    /// The CRM's deals are old, or were never read.
    StaleCrm(Option<SignedDuration>),
    /// Too few conversions can be credited.
    LowCoverage(Coverage),
    /// Conversions stopped where some were due.
    ZeroConversions(f64),
    /// The currencies differ or a rate is missing.
    CurrencyMismatch,
    /// The time zones differ or one is unknown.
    TimeZoneMismatch,
}

impl QualityFault {
    /// The guard that it sets off.
    #[must_use]
    pub const fn rule(self) -> Rule {
        match self {
            Self::StaleInsights(_) => Rule::StaleInsights,
            Self::StaleCrm(_) => Rule::StaleCrm,
            Self::LowCoverage(_) => Rule::LowCoverage,
            Self::ZeroConversions(_) => Rule::ZeroConversions,
            Self::CurrencyMismatch => Rule::CurrencyMismatch,
            Self::TimeZoneMismatch => Rule::TimeZoneMismatch,
        }
    }
}

impl fmt::Display for QualityFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aged = |f: &mut fmt::Formatter<'_>, what: &str, age: Option<SignedDuration>| match age {
            Some(age) => write!(
                f,
                "{what} were last read completely {:.1} h ago, which is too old to act on",
                age.as_secs_f64() / 3_600.0
            ),
            None => write!(f, "{what} have never been read completely"),
        };
        match self {
            Self::StaleInsights(age) => aged(f, "the ads' figures", *age),
            Self::StaleCrm(age) => aged(f, "the CRM's deals", *age),
            Self::LowCoverage(coverage) => write!(f, "too few to act on: {coverage}"),
            Self::ZeroConversions(expected) => write!(
                f,
                "no conversion came where about {expected:.0} were due: the tracking is more \
                 likely broken than every ad bad"
            ),
            Self::CurrencyMismatch => f.write_str(
                "the ad account, the tenant and the CRM do not agree on a currency, or a rate is \
                 missing",
            ),
            Self::TimeZoneMismatch => {
                f.write_str("the ad account's time zone is unknown or has changed")
            }
        }
    }
}

impl DataQuality {
    /// Everything that is wrong with the data, the gravest first; empty when they may be acted on.
    #[must_use]
    pub fn faults(&self, limits: &QualityLimits) -> Vec<QualityFault> {
        let old = |age: Option<SignedDuration>, most| age.is_none_or(|age| age > most);
        let coverage = self
            .coverage
            .judge(limits.min_coverage, limits.coverage_min_conversions);
        // A count that is not a number is no reason to trust the silence.
        let silent = self.recent_conversions == 0
            && (self.expected_conversions.is_nan()
                || self.expected_conversions >= limits.silence_expected);
        [
            (!self.currency_agrees).then_some(QualityFault::CurrencyMismatch),
            (!self.time_zone_agrees).then_some(QualityFault::TimeZoneMismatch),
            old(self.insight_age, limits.max_insight_age)
                .then_some(QualityFault::StaleInsights(self.insight_age)),
            old(self.crm_age, limits.max_crm_age).then_some(QualityFault::StaleCrm(self.crm_age)),
            silent.then_some(QualityFault::ZeroConversions(self.expected_conversions)),
            (coverage == CoverageVerdict::Below)
                .then_some(QualityFault::LowCoverage(self.coverage)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
