//! Draws that depend on what they are for and on nothing else: a key is hashed from the seed and
//! the names of the thing, so the order of calls cannot change a draw.

/// Mixes `x` so that neighbouring inputs give unrelated outputs (the finalizer of `SplitMix64`).
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A key for a text.
pub(super) fn key_of(text: &str) -> u64 {
    let mut key = 0xCBF2_9CE4_8422_2325;
    for byte in text.bytes() {
        key = (key ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    mix(key)
}

/// A source of draws about one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Draw(u64);

impl Draw {
    /// The draws of a whole world.
    pub(super) const fn seeded(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The draws about `part` of this.
    pub(super) const fn of(self, part: u64) -> Self {
        Self(mix(self.0 ^ mix(part)))
    }

    /// The draws about the part named `name`.
    pub(super) fn named(self, name: &str) -> Self {
        self.of(key_of(name))
    }

    /// 64 bits.
    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// A number in `0..n`; 0 when `n` is 0.
    pub(super) const fn below(self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.0 % n }
    }

    /// Uniform in the open interval from 0 to 1.
    pub(super) fn unit(self) -> f64 {
        ((self.0 >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0
    }

    /// Whether something of probability `p` happens.
    pub(super) fn chance(self, p: f64) -> bool {
        self.unit() < p
    }

    /// Normal, mean 0 and variance 1 (Box and Muller).
    pub(super) fn normal(self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.of(1).unit()));
        radius * libm::cos(std::f64::consts::TAU * self.of(2).unit())
    }

    /// Gamma of whole `shape` with this mean.
    pub(super) fn gamma(self, shape: u64, mean: f64) -> f64 {
        let logs: f64 = (0..shape).map(|i| -libm::log(self.of(i).unit())).sum();
        mean * logs / shape.max(1) as f64
    }

    /// Poisson by inversion, so that a larger mean never gives a smaller draw.
    pub(super) fn poisson(self, mean: f64) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        if mean > 60.0 {
            let near = mean + libm::sqrt(mean) * self.normal() + 0.5;
            return near.max(0.0) as u64;
        }
        let mut term = libm::exp(-mean);
        let mut left = self.unit() - term;
        let mut n = 0;
        while left > 0.0 && n < 400 {
            n += 1;
            term *= mean / n as f64;
            left -= term;
        }
        n
    }

    /// `x` as a whole number, rounded up or down by chance so that its mean is kept.
    pub(super) fn whole(self, x: f64) -> u64 {
        let floor = libm::floor(x.max(0.0));
        floor as u64 + u64::from(self.unit() < x - floor)
    }

    /// One of `items`; `None` of none.
    pub(super) fn pick<T>(self, items: &[T]) -> Option<&T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// One of `items`, each as often as its weight says; `None` of none.
    pub(super) fn weighed<T>(self, items: &[(u32, T)]) -> Option<&T> {
        let total: u64 = items.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let mut left = self.below(total);
        for (weight, item) in items {
            match left.checked_sub(u64::from(*weight)) {
                Some(rest) => left = rest,
                None => return Some(item),
            }
        }
        None
    }

    /// A place in a ranking of `n`: the k-th comes about 1/k as often as the first (Zipf's law, by
    /// inversion), which is how models of phones are spread.
    pub(super) fn rank(self, n: u64) -> u64 {
        let span = libm::log(n.max(1) as f64 + 1.0);
        let place = libm::exp(self.unit() * span) as u64;
        place.clamp(1, n.max(1)) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_what_they_say() {
        let n = 20_000;
        let mean = |f: &dyn Fn(Draw) -> f64| {
            (0..n).map(|i| f(Draw::seeded(7).of(i))).sum::<f64>() / n as f64
        };
        let check = |what: &str, got: f64, want: f64, slack: f64| {
            assert!(
                (got - want).abs() < slack,
                "{what}: {got} instead of {want}"
            );
        };
        check("unit", mean(&|d| d.unit()), 0.5, 0.01);
        check("normal", mean(&|d| d.normal()), 0.0, 0.03);
        check("gamma", mean(&|d| d.gamma(2, 3.0)), 3.0, 0.1);
        check("poisson", mean(&|d| d.poisson(0.3) as f64), 0.3, 0.02);
        check(
            "large poisson",
            mean(&|d| d.poisson(80.0) as f64),
            80.0,
            0.5,
        );
        check("whole", mean(&|d| d.whole(2.25) as f64), 2.25, 0.02);
        let third = |d: Draw| f64::from(*d.weighed(&[(1, 0_u8), (2, 1)]).unwrap());
        check("weighed", mean(&third), 2.0 / 3.0, 0.02);
        // ln 2 / ln 1001 and ln 3/2 / ln 1001.
        let is = |d: Draw, k| f64::from(u8::from(d.rank(1_000) == k));
        check("first rank", mean(&|d| is(d, 0)), 0.1003, 0.01);
        check("second rank", mean(&|d| is(d, 1)), 0.0587, 0.01);
    }

    #[test]
    fn nothing_is_picked_of_nothing() {
        let draw = Draw::seeded(1);
        assert_eq!(draw.pick::<u8>(&[]), None);
        assert_eq!(draw.weighed::<u8>(&[]), None);
        assert_eq!(draw.weighed(&[(0, 1_u8)]), None);
        assert_eq!(draw.rank(0), 0);
    }

    #[test]
    fn a_larger_mean_never_gives_a_smaller_draw() {
        for i in 0..2_000 {
            let draw = Draw::seeded(1).of(i);
            assert!(draw.poisson(0.5) <= draw.poisson(0.9));
        }
    }
}
