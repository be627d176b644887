//! Where deals really came from, and how roasd's credits compare with that.

use std::collections::BTreeMap;

use crate::domain::attribution::{Attribution, Method};
use crate::domain::ids::{AdId, DealId};

/// Every deal of a tenant with the ad whose click won it; `None` for one that no ad had a part in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins(pub(super) BTreeMap<DealId, Option<AdId>>);

/// Deals credited by one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerCredits {
    /// All of them.
    pub deals: u64,
    /// Those credited to the ad that won them.
    pub right: u64,
    /// Those that no ad had a part in.
    pub organic: u64,
}

impl LayerCredits {
    /// The share that is right; `None` without deals.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        (self.deals > 0).then(|| self.right as f64 / self.deals as f64)
    }
}

/// How a tenant's credits compare with the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Credits {
    /// Credited by an id.
    pub url_param: LayerCredits,
    /// Credited by a fingerprint.
    pub fingerprint: LayerCredits,
    /// Credited by likelihood.
    pub probabilistic: LayerCredits,
    /// Credited to nobody.
    pub unattributed: u64,
    /// Those of them that no ad had a part in.
    pub unattributed_organic: u64,
}

impl Credits {
    /// What `method` credited.
    #[must_use]
    pub const fn by(&self, method: Method) -> LayerCredits {
        match method {
            Method::UrlParam => self.url_param,
            Method::Fingerprint => self.fingerprint,
            Method::Probabilistic => self.probabilistic,
        }
    }

    /// Deals that no ad had a part in: all, and those credited to an ad none the less.
    #[must_use]
    pub const fn organic(&self) -> (u64, u64) {
        let claimed =
            self.url_param.organic + self.fingerprint.organic + self.probabilistic.organic;
        (claimed + self.unattributed_organic, claimed)
    }

    /// These and those of another tenant or another month.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (sum, more) in [
            (&mut self.url_param, other.url_param),
            (&mut self.fingerprint, other.fingerprint),
            (&mut self.probabilistic, other.probabilistic),
        ] {
            sum.deals += more.deals;
            sum.right += more.right;
            sum.organic += more.organic;
        }
        self.unattributed += other.unattributed;
        self.unattributed_organic += other.unattributed_organic;
        self
    }
}

impl Origins {
    /// Compares credits with the truth. A deal that is not of this market is left out.
    pub fn judge<'a>(
        &self,
        credited: impl IntoIterator<Item = (&'a DealId, Option<&'a Attribution>)>,
    ) -> Credits {
        let mut credits = Credits::default();
        for (deal, attribution) in credited {
            let Some(truth) = self.0.get(deal) else {
                continue;
            };
            let Some(attribution) = attribution else {
                credits.unattributed += 1;
                credits.unattributed_organic += u64::from(truth.is_none());
                continue;
            };
            let layer = match attribution.method {
                Method::UrlParam => &mut credits.url_param,
                Method::Fingerprint => &mut credits.fingerprint,
                Method::Probabilistic => &mut credits.probabilistic,
            };
            layer.deals += 1;
            layer.right += u64::from(truth.as_ref() == Some(&attribution.credit.ad));
            layer.organic += u64::from(truth.is_none());
        }
        credits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::attribution::Credit;

    #[test]
    fn credits_are_held_against_the_truth() {
        let deal = |id: &str| DealId::new(id).unwrap();
        let ad = |id: &str| AdId::new(id).unwrap();
        let by = |method, id: &str| Attribution {
            method,
            confidence: 0.6,
            credit: Credit {
                ad: ad(id),
                ad_set: None,
                campaign: None,
            },
            visit: None,
            clicked_at: None,
            reason: String::new(),
        };
        let origins = Origins(BTreeMap::from([
            (deal("right"), Some(ad("1"))),
            (deal("wrong"), Some(ad("1"))),
            (deal("missed"), Some(ad("1"))),
            (deal("organic"), None),
            (deal("claimed"), None),
        ]));
        let said = [
            (deal("right"), Some(by(Method::Fingerprint, "1"))),
            (deal("wrong"), Some(by(Method::Fingerprint, "2"))),
            (deal("missed"), None),
            (deal("organic"), None),
            (deal("claimed"), Some(by(Method::Probabilistic, "1"))),
            (deal("of somewhere else"), Some(by(Method::UrlParam, "1"))),
        ];
        let credits = origins.judge(said.iter().map(|(deal, by)| (deal, by.as_ref())));
        assert_eq!(credits.fingerprint.precision(), Some(0.5));
        assert_eq!(credits.probabilistic.precision(), Some(0.0));
        assert_eq!(credits.url_param.precision(), None);
        assert_eq!((credits.unattributed, credits.unattributed_organic), (2, 1));
        assert_eq!(credits.organic(), (2, 1));
        let twice = credits.and(&credits);
        assert_eq!((twice.fingerprint.deals, twice.organic()), (4, (4, 2)));
    }
}
