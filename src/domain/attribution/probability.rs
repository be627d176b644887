//! A probability that cannot be anything else.

/// A probability: a finite number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Probability(f64);

/// Odds beyond e^16 to 1 are not told apart: no evidence here is as good as that.
const LOGIT_MAX: f64 = 16.0;

impl Probability {
    /// What is not the case.
    pub const ZERO: Self = Self(0.0);
    /// What is certain.
    pub const ONE: Self = Self(1.0);

    /// A probability; `None` for what is not one.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }

    /// A probability in whole hundredths; above 100 is 1.
    #[must_use]
    pub const fn percent(hundredths: u8) -> Self {
        if hundredths < 100 {
            Self(hundredths as f64 / 100.0)
        } else {
            Self::ONE
        }
    }

    /// The nearest probability; what is not a number is 0.
    #[must_use]
    pub fn nearest(value: f64) -> Self {
        if value.is_nan() {
            Self::ZERO
        } else {
            Self(value.clamp(0.0, 1.0))
        }
    }

    /// The number, from 0 to 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The smaller of two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// ln of the odds, from -16 to 16.
    #[must_use]
    pub fn logit(self) -> f64 {
        let odds = self.0 / (1.0 - self.0);
        libm::log(odds).clamp(-LOGIT_MAX, LOGIT_MAX)
    }

    /// The probability of these ln odds.
    #[must_use]
    pub fn from_logit(logit: f64) -> Self {
        Self::nearest(1.0 / (1.0 + libm::exp(-logit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_probabilities_are_taken() {
        for bad in [-0.001, 1.001, f64::NAN, f64::INFINITY] {
            assert_eq!(Probability::new(bad), None);
        }
        assert_eq!(Probability::new(0.3).map(Probability::get), Some(0.3));
        assert_eq!(Probability::nearest(f64::NAN), Probability::ZERO);
        assert_eq!(Probability::nearest(7.0), Probability::ONE);
    }

    #[test]
    fn odds_lead_there_and_back() {
        for p in [0.001, 0.25, 0.5, 0.97] {
            let p = Probability::nearest(p);
            assert!((Probability::from_logit(p.logit()).get() - p.get()).abs() < 1e-12);
        }
        assert_eq!(Probability::ONE.logit(), 16.0);
        assert_eq!(Probability::ZERO.logit(), -16.0);
    }
}
