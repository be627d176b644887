//! How many conversions get credited, by which layer, and whether that is enough to act on.

use std::fmt;

use super::attribution::Method;
use super::money::Percentage;

/// Conversions of a period, by the layer that credited them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Credited by an id.
    pub url_param: u64,
    /// Credited by a fingerprint.
    pub fingerprint: u64,
    /// Credited by likelihood.
    pub probabilistic: u64,
    /// Credited to nobody.
    pub unattributed: u64,
}

/// Whether the share credited is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoverageVerdict {
    /// Too few conversions to tell; nothing is held for that.
    TooFew,
    /// At or above the floor.
    Enough,
    /// Below the floor: budgets would follow the credited minority.
    Below,
}

impl Coverage {
    /// Counts conversions by how each was credited.
    pub fn of(methods: impl IntoIterator<Item = Option<Method>>) -> Self {
        let mut coverage = Self::default();
        for method in methods {
            let count = match method {
                Some(Method::UrlParam) => &mut coverage.url_param,
                Some(Method::Fingerprint) => &mut coverage.fingerprint,
                Some(Method::Probabilistic) => &mut coverage.probabilistic,
                None => &mut coverage.unattributed,
            };
            *count += 1;
        }
        coverage
    }

    /// Conversions credited by `method`.
    #[must_use]
    pub const fn by(&self, method: Method) -> u64 {
        match method {
            Method::UrlParam => self.url_param,
            Method::Fingerprint => self.fingerprint,
            Method::Probabilistic => self.probabilistic,
        }
    }

    /// Conversions credited to an ad.
    #[must_use]
    pub const fn credited(&self) -> u64 {
        self.url_param + self.fingerprint + self.probabilistic
    }

    /// All conversions.
    #[must_use]
    pub const fn conversions(&self) -> u64 {
        self.credited() + self.unattributed
    }

    /// The share credited, 0 to 1; `None` without conversions.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let all = self.conversions();
        (all > 0).then(|| self.credited() as f64 / all as f64)
    }

    /// Whether the share credited reaches `floor`; below `least` conversions it says nothing.
    #[must_use]
    pub fn judge(&self, floor: Percentage, least: u32) -> CoverageVerdict {
        match self.share() {
            Some(share) if self.conversions() >= u64::from(least) => {
                if share >= floor.fraction() {
                    CoverageVerdict::Enough
                } else {
                    CoverageVerdict::Below
                }
            }
            _ => CoverageVerdict::TooFew,
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(share) = self.share() else {
            return f.write_str("no conversions yet");
        };
        write!(
            f,
            "{} of {} conversions credited to an ad ({:.0} %): {} by an id, {} by fingerprint, \
             {} by likelihood",
            self.credited(),
            self.conversions(),
            share * 100.0,
            self.url_param,
            self.fingerprint,
            self.probabilistic
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(credited: u64, unattributed: u64, expected: CoverageVerdict) {
        let coverage = Coverage {
            url_param: credited,
            unattributed,
            ..Coverage::default()
        };
        let floor = Percentage::from_fraction(0.3).unwrap();
        assert_eq!(coverage.judge(floor, 10), expected, "{coverage}");
    }

    #[test]
    fn the_floor_is_judged_once_there_is_something_to_judge() {
        check(0, 0, CoverageVerdict::TooFew);
        check(0, 9, CoverageVerdict::TooFew);
        check(0, 10, CoverageVerdict::Below);
        check(2, 8, CoverageVerdict::Below);
        check(3, 7, CoverageVerdict::Enough);
        check(10, 0, CoverageVerdict::Enough);
    }

    #[test]
    fn coverage_is_told_in_plain_numbers() {
        let coverage = Coverage::of([
            Some(Method::UrlParam),
            Some(Method::Fingerprint),
            Some(Method::UrlParam),
            None,
            Some(Method::Probabilistic),
        ]);
        assert_eq!(
            coverage.to_string(),
            "4 of 5 conversions credited to an ad (80 %): 2 by an id, 1 by fingerprint, \
             1 by likelihood"
        );
        assert_eq!(Coverage::default().to_string(), "no conversions yet");
        assert_eq!(Coverage::default().share(), None);
    }
}
