//! Makes what is said agree with how often it is right.
//!
//! Platt's map (J. C. Platt, "Probabilistic outputs for support vector machines", 1999) on the odds:
//! `logit(p') = a + b logit(p)`, `b` above 0, so that the order of two matches never changes. `a` and
//! `b` start from what is shipped, 0 and 1 with a standard deviation of one half, and so move
//! only as far as a tenant's own deals bear it out.

use super::probability::Probability;

/// One match whose truth is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// What was said.
    pub said: Probability,
    /// Whether it was the right ad.
    pub is_right: bool,
    /// For how many such matches it stands, above 0.
    pub weight: f64,
}

/// A monotone map from what is said to how often that is right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    intercept: f64,
    slope: f64,
    deals: u64,
}

/// 1 / variance of what is believed of `a` and `b` beforehand.
const PRIOR_PRECISION: f64 = 4.0;
/// The least slope: a map that is nearly flat would say the same of everything.
const SLOPE_MIN: f64 = 0.2;
/// Deals whose truth is known that weigh as much as a shipped cap.
const CAP_DEALS: f64 = 50.0;
/// Newton's steps; it converges in a handful.
const STEPS: usize = 25;

impl Calibration {
    /// What holds until a tenant's own deals say otherwise: taken at its word.
    pub const SHIPPED: Self = Self {
        intercept: 0.0,
        slope: 1.0,
        deals: 0,
    };

    /// Fits the map to matches whose truth is known, of `deals` deals.
    #[must_use]
    pub fn fit(judged: &[Judged], deals: u64) -> Self {
        let (mut a, mut b) = (0.0_f64, 1.0_f64);
        for _ in 0..STEPS {
            // Gradient and curvature of the log posterior.
            let (mut ga, mut gb) = (-PRIOR_PRECISION * a, -PRIOR_PRECISION * (b - 1.0));
            let (mut aa, mut ab, mut bb) = (PRIOR_PRECISION, 0.0, PRIOR_PRECISION);
            for one in judged {
                let x = one.said.logit();
                let p = Probability::from_logit(a + b * x).get();
                let off = one.weight * (f64::from(u8::from(one.is_right)) - p);
                let curve = one.weight * p * (1.0 - p);
                ga += off;
                gb += off * x;
                aa += curve;
                ab += curve * x;
                bb += curve * x * x;
            }
            let determinant = aa * bb - ab * ab;
            let step_a = (bb * ga - ab * gb) / determinant;
            let step_b = (aa * gb - ab * ga) / determinant;
            // Short steps: far from the end the curve is no parabola.
            a += step_a.clamp(-1.0, 1.0);
            b = (b + step_b.clamp(-0.5, 0.5)).max(SLOPE_MIN);
        }
        Self {
            intercept: a,
            slope: b,
            deals,
        }
    }

    /// What to say instead.
    #[must_use]
    pub fn apply(self, said: Probability) -> Probability {
        Probability::from_logit(self.intercept + self.slope * said.logit())
    }

    /// The most a layer may say, given its shipped cap: that cap holds for what nobody has verified, and
    /// gives way as the tenant's own deals bear out what is said.
    #[must_use]
    pub fn cap(self, shipped: Probability) -> Probability {
        let known = self.deals as f64;
        let own = known / (known + CAP_DEALS);
        Probability::nearest(shipped.get() + (1.0 - shipped.get()) * own)
    }

    /// Deals with known truth behind it.
    #[must_use]
    pub const fn deals(self) -> u64 {
        self.deals
    }

    /// `a`, in ln odds.
    #[must_use]
    pub const fn intercept(self) -> f64 {
        self.intercept
    }

    /// `b`, above 0.
    #[must_use]
    pub const fn slope(self) -> f64 {
        self.slope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` matches that said `said`, of which `right` are right.
    fn of(said: f64, n: usize, right: usize) -> impl Iterator<Item = Judged> {
        (0..n).map(move |i| Judged {
            said: Probability::nearest(said),
            is_right: i < right,
            weight: 1.0,
        })
    }

    fn at(calibration: Calibration, said: f64) -> f64 {
        calibration.apply(Probability::nearest(said)).get()
    }

    #[test]
    fn with_no_deals_it_says_what_it_was_told() {
        let fit = Calibration::fit(&[], 0);
        for p in [0.1, 0.5, 0.9] {
            assert!((at(fit, p) - p).abs() < 1e-9);
            assert!((at(Calibration::SHIPPED, p) - p).abs() < 1e-9);
        }
        let cap = Probability::percent(70);
        assert_eq!(fit.cap(cap), cap);
    }

    #[test]
    fn many_deals_outweigh_what_is_shipped_and_few_do_not() {
        let judged = |n: usize| {
            let low = of(0.3, n, n / 10);
            low.chain(of(0.9, n, n * 6 / 10)).collect::<Vec<_>>()
        };
        let many = Calibration::fit(&judged(2_000), 2_000);
        assert!((at(many, 0.9) - 0.6).abs() < 0.01, "{}", at(many, 0.9));
        assert!((at(many, 0.3) - 0.1).abs() < 0.01, "{}", at(many, 0.3));
        let few = Calibration::fit(&judged(3), 3);
        assert!(at(few, 0.9) > 0.65, "{}", at(few, 0.9));
        assert!(many.cap(Probability::percent(70)).get() > 0.98);
    }

    #[test]
    fn the_order_of_matches_never_changes() {
        // The surer, the more often wrong: no such map is drawn.
        let judged: Vec<_> = of(0.9, 500, 50).chain(of(0.2, 500, 400)).collect();
        let fit = Calibration::fit(&judged, 1_000);
        assert!(at(fit, 0.9) > at(fit, 0.2));
    }
}
