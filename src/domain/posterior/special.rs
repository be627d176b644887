//! Special functions in portable code: the same bits on every machine.

/// ψ(x), the derivative of ln Γ, for x > 0: upward recurrence to x ≥ 6, then the asymptotic
/// series (Abramowitz and Stegun 6.3.5, 6.3.18).
#[must_use]
pub fn digamma(x: f64) -> f64 {
    let mut x = x.max(1e-300);
    let mut sum = 0.0;
    while x < 6.0 {
        sum -= 1.0 / x;
        x += 1.0;
    }
    let i = 1.0 / (x * x);
    let series = i
        * (1.0 / 12.0
            - i * (1.0 / 120.0
                - i * (1.0 / 252.0
                    - i * (1.0 / 240.0
                        - i * (1.0 / 132.0 - i * (691.0 / 32_760.0 - i * (1.0 / 12.0)))))));
    sum + libm::log(x) - 0.5 / x - series
}

/// ψ′(x), the second derivative of ln Γ, for x > 0 (Abramowitz and Stegun 6.4.6, 6.4.12).
#[must_use]
pub fn trigamma(x: f64) -> f64 {
    // Below this ψ′ is 1/x² to the last bit, and above it the sum stays finite.
    let mut x = x.max(1e-100);
    let mut sum = 0.0;
    while x < 6.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let i = 1.0 / (x * x);
    let series = 1.0
        + 0.5 / x
        + i * (1.0 / 6.0
            - i * (1.0 / 30.0
                - i * (1.0 / 42.0
                    - i * (1.0 / 30.0
                        - i * (5.0 / 66.0 - i * (691.0 / 2_730.0 - i * (7.0 / 6.0)))))));
    sum + series / x
}

/// Φ(z), the standard normal distribution function.
#[must_use]
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// Φ⁻¹(u), the standard normal quantile. `u` outside (0, 1) is moved to its nearest inside.
///
/// A rational start (Abramowitz and Stegun 26.2.23, error under 4.5e-4) sharpened by Halley's
/// method to the accuracy of [`normal_cdf`]. The lower tail is used for both halves, where the
/// distribution function loses no digits.
#[must_use]
pub fn normal_quantile(u: f64) -> f64 {
    if u.is_nan() {
        return 0.0;
    }
    let u = u.clamp(1e-300, 1.0 - f64::EPSILON / 2.0);
    let upper = u > 0.5;
    // 1 - u is exact for u in [0.5, 1].
    let p = if upper { 1.0 - u } else { u };
    let t = libm::sqrt(-2.0 * libm::log(p));
    let start = t
        - (2.515_517 + t * (0.802_853 + t * 0.010_328))
            / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
    let mut z = -start;
    for _ in 0..3 {
        let density = libm::exp(-0.5 * z * z) * 0.398_942_280_401_432_7;
        if density <= 0.0 {
            break;
        }
        let off = (normal_cdf(z) - p) / density;
        z -= off / (1.0 + 0.5 * z * off);
    }
    if upper { -z } else { z }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(actual: f64, expected: f64) {
        assert!(
            (actual - expected).abs() <= 1e-12 * expected.abs().max(1.0),
            "{actual} is not {expected}"
        );
    }

    #[test]
    fn digamma_at_known_points() {
        let euler = 0.577_215_664_901_532_9;
        check(digamma(1.0), -euler);
        check(digamma(2.0), 1.0 - euler);
        check(digamma(0.5), -euler - 2.0 * std::f64::consts::LN_2);
        check(digamma(100.0), 4.600_161_852_738_087);
    }

    #[test]
    fn trigamma_at_known_points() {
        let zeta2 = std::f64::consts::PI * std::f64::consts::PI / 6.0;
        check(trigamma(1.0), zeta2);
        check(trigamma(2.0), zeta2 - 1.0);
        check(trigamma(0.5), 3.0 * zeta2);
        check(trigamma(15.0), 0.068_938_227_847_683_98);
    }

    #[test]
    fn normal_distribution_at_known_points() {
        check(normal_cdf(0.0), 0.5);
        check(normal_cdf(1.0), 0.841_344_746_068_542_9);
        check(normal_cdf(-3.0), 0.001_349_898_031_630_094_6);
    }

    #[test]
    fn the_quantile_undoes_the_distribution() {
        check(normal_quantile(0.5), 0.0);
        check(normal_quantile(0.975), 1.959_963_984_540_054);
        check(normal_quantile(1e-10), -6.361_340_902_404_056);
        for step in 1..1_000 {
            let u = f64::from(step) / 1_000.0;
            check(normal_cdf(normal_quantile(u)), u);
            check(normal_quantile(u), -normal_quantile(1.0 - u));
        }
    }

    #[test]
    fn no_input_leaves_the_numbers() {
        for x in [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
            -1.0,
            1.0,
            2.0,
            1e-320,
        ] {
            assert!(normal_quantile(x).is_finite(), "{x}");
        }
        for x in [0.0, -1.0, 1e-320, 1e300] {
            assert!(digamma(x).is_finite() && trigamma(x).is_finite(), "{x}");
        }
    }
}
