//! How often what the lower layers say is right, where an id tells the truth: the calibration, shown.
//!
//! The deals are those that [`super::learning`] asks blind: each as it was, and each once more as if no
//! ad had brought it, in the tenant's own proportion of the two. They are the deals that the
//! calibration was fitted to, so that its agreement with them is not a proof.

use super::calibration::{Calibration, Judged};
use super::probability::Probability;
use super::{AttributionRules, Method};

/// The matches of a layer that say about the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// The layer.
    pub method: Method,
    /// 6 for matches that say 60 % or more and less than 70 %; 9 holds 100 % too.
    pub tenth: u8,
    /// How many there were. A deal stands for the share of deals like it, so this is no whole number.
    pub matched: f64,
    /// What they say, on average.
    pub said: f64,
    /// How many of them named the right ad.
    pub was_right: f64,
}

impl Band {
    /// The share that was right.
    #[must_use]
    pub fn share_right(&self) -> f64 {
        self.was_right / self.matched
    }

    /// "of matches by fingerprint that say 60 to 70 %, 64 % were right (of about 41 whose ad an id
    /// tells)".
    #[must_use]
    pub fn in_words(&self) -> String {
        let from = u32::from(self.tenth) * 10;
        format!(
            "of matches by {} that say {from} to {} %, {:.0} % were right (of about {:.0} whose ad \
             an id tells)",
            self.method,
            from + 10,
            self.share_right() * 100.0,
            self.matched,
        )
    }
}

/// The tenth that a confidence falls into.
#[must_use]
pub fn tenth(confidence: f64) -> u8 {
    (confidence * 10.0).floor().clamp(0.0, 9.0) as u8
}

/// The most that a layer says.
pub(super) fn cap(
    method: Method,
    rules: &AttributionRules,
    calibration: Calibration,
) -> Probability {
    calibration.cap(Probability::nearest(match method {
        Method::Fingerprint => rules.fingerprint_cap,
        Method::UrlParam | Method::Probabilistic => rules.probabilistic_cap,
    }))
}

/// Sorts judged matches into bands, as they would be told now; those that would be no match are left
/// out.
pub(super) fn bands(
    judged: &[(Method, Judged)],
    calibration: Calibration,
    rules: &AttributionRules,
) -> Vec<Band> {
    let mut bands: std::collections::BTreeMap<(Method, u8), Band> = Default::default();
    for (method, one) in judged {
        let said = calibration.apply(one.said);
        if said.get() < rules.min_confidence {
            continue;
        }
        let said = said.min(cap(*method, rules, calibration)).get();
        let band = bands.entry((*method, tenth(said))).or_insert(Band {
            method: *method,
            tenth: tenth(said),
            matched: 0.0,
            said: 0.0,
            was_right: 0.0,
        });
        band.matched += one.weight;
        band.said += one.weight * said;
        band.was_right += one.weight * f64::from(u8::from(one.is_right));
    }
    let bands = bands.into_values().filter(|band| band.matched > 0.0);
    bands
        .map(|band| Band {
            said: band.said / band.matched,
            ..band
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_are_sorted_by_what_they_say() {
        let rules = AttributionRules::default();
        let one = |said, is_right, weight| Judged {
            said: Probability::nearest(said),
            is_right,
            weight,
        };
        let judged = [
            (Method::Fingerprint, one(0.62, true, 1.0)),
            (Method::Fingerprint, one(0.68, false, 3.0)),
            (Method::Fingerprint, one(0.99, true, 1.0)),
            (Method::Probabilistic, one(0.99, true, 0.5)),
            // No match at all.
            (Method::Probabilistic, one(0.2, false, 9.0)),
        ];
        let found = bands(&judged, Calibration::SHIPPED, &rules);
        let told: Vec<_> = found
            .iter()
            .map(|b| (b.method, b.tenth, b.matched))
            .collect();
        assert_eq!(
            told,
            [
                (Method::Fingerprint, 6, 4.0),
                // The shipped caps: 0.9 and 0.7.
                (Method::Fingerprint, 9, 1.0),
                (Method::Probabilistic, 7, 0.5),
            ]
        );
        assert!((found[0].share_right() - 0.25).abs() < 1e-12);
        assert!((found[0].said - 0.665).abs() < 1e-12);
        assert_eq!(
            found[0].in_words(),
            "of matches by fingerprint that say 60 to 70 %, 25 % were right (of about 4 whose ad an \
             id tells)"
        );
        assert_eq!((tenth(0.0), tenth(1.0), tenth(0.699)), (0, 9, 6));
    }
}
