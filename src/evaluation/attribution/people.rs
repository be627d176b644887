//! The people of a made-up tenant: on what device, over which line, and how they come back. Every
//! draw stands beside its own probability, which is what the ceiling of the evaluation knows and no
//! learner may read.

use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

/// What a page is opened in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum App {
    Facebook,
    Instagram,
    Own,
}

/// Where a page is opened from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Address {
    /// A household's own.
    Home(u32),
    /// A gateway behind which a carrier puts its customers.
    Gateway(u32),
    /// A company's.
    Office(u32),
}

/// All that a page view shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    pub model: u32,
    /// The owner's settings: display zoom, time zone.
    pub variant: u32,
    pub app: App,
    /// The version of the app or browser.
    pub version: u32,
    pub address: Address,
}

impl Seen {
    /// What the fingerprint tells apart.
    pub(super) const fn fingerprint(&self) -> (u32, u32, App) {
        (self.model, self.variant, self.app)
    }

    /// What the user agent does: an own browser does not name the model any more, only the system.
    pub(super) const fn user_agent(&self) -> (u32, App, u32) {
        let named = match self.app {
            App::Facebook | App::Instagram => self.model,
            App::Own => self.model % 2,
        };
        (named, self.app, self.version)
    }
}

/// Sizes and shares of a population.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Population {
    /// Phone models; their popularity falls with rank to this power.
    pub models: u32,
    pub popularity: f64,
    /// Clicks on ads opened in an app, and other visits likewise; the rest is in own browsers.
    pub clicks_in_app: f64,
    pub others_in_app: f64,
    /// Homes, carriers' gateways and companies, and the share of visits from each.
    pub homes: u32,
    pub gateways: u32,
    pub offices: u32,
    pub line: [f64; 3],
    /// Who comes back on the same device and browser, and on the same device in its own browser; the
    /// rest is on another device.
    pub same_browser: f64,
    pub own_browser: f64,
    /// Who comes back over the same kind of line; others draw anew.
    pub same_line: f64,
    /// The time from click to form: shares and medians in hours of three log-normal parts.
    pub delay: [(f64, f64); 3],
}

/// Settings of owners, and versions, by share.
const VARIANTS: [f64; 6] = [0.72, 0.11, 0.07, 0.05, 0.03, 0.02];
const VERSIONS: [f64; 7] = [0.42, 0.23, 0.14, 0.09, 0.06, 0.04, 0.02];
/// The spread of each part of the delay, in ln hours.
const SPREAD: f64 = 0.9;
/// A home that keeps its address until the next visit.
const HOME_STAYS: f64 = 0.92;
/// A phone that keeps its gateway within the hour.
const GATEWAY_STAYS: f64 = 0.80;
/// Days after which an app has been brought up to date, in the mean.
const UPDATED_AFTER: f64 = 12.0;

/// A draw by shares that sum to 1.
fn pick(weights: &[f64], rng: &mut ChaCha12Rng) -> usize {
    let mut at = rng.random::<f64>();
    for (i, weight) in weights.iter().enumerate() {
        at -= weight;
        if at < 0.0 {
            return i;
        }
    }
    weights.len().saturating_sub(1)
}

fn share(weights: &[f64], of: u32) -> f64 {
    weights.get(of as usize).copied().unwrap_or(0.0)
}

/// A population with the weights that follow from it.
#[derive(Debug, Clone)]
pub(super) struct People {
    pub of: Population,
    models: Vec<f64>,
    offices: Vec<f64>,
}

impl People {
    pub(super) fn new(of: Population) -> Self {
        let by_rank = |n: u32, power: f64| {
            let weight = |rank| libm::pow(f64::from(rank), -power);
            let total: f64 = (1..=n).map(weight).sum();
            (1..=n)
                .map(|rank| weight(rank) / total)
                .collect::<Vec<f64>>()
        };
        Self {
            models: by_rank(of.models, of.popularity),
            offices: by_rank(of.offices, 0.7),
            of,
        }
    }

    fn apps(&self, is_click: bool) -> [f64; 3] {
        let in_app = if is_click {
            self.of.clicks_in_app
        } else {
            self.of.others_in_app
        };
        [0.55 * in_app, 0.45 * in_app, 1.0 - in_app]
    }

    /// Somebody new.
    pub(super) fn somebody(&self, is_click: bool, rng: &mut ChaCha12Rng) -> Seen {
        let apps = [App::Facebook, App::Instagram, App::Own];
        Seen {
            model: pick(&self.models, rng) as u32,
            variant: pick(&VARIANTS, rng) as u32,
            app: apps[pick(&self.apps(is_click), rng)],
            version: pick(&VERSIONS, rng) as u32,
            address: self.somewhere(rng),
        }
    }

    pub(super) fn device_chance(&self, seen: &Seen, is_click: bool) -> f64 {
        share(&self.models, seen.model)
            * share(&VARIANTS, seen.variant)
            * share(&self.apps(is_click), seen.app as u32)
            * share(&VERSIONS, seen.version)
    }

    fn somewhere(&self, rng: &mut ChaCha12Rng) -> Address {
        match pick(&self.of.line, rng) {
            0 => Address::Home(rng.random_range(0..self.of.homes)),
            1 => Address::Gateway(rng.random_range(0..self.of.gateways)),
            _ => Address::Office(pick(&self.offices, rng) as u32),
        }
    }

    pub(super) fn address_chance(&self, address: Address) -> f64 {
        match address {
            Address::Home(_) => self.of.line[0] / f64::from(self.of.homes),
            Address::Gateway(_) => self.of.line[1] / f64::from(self.of.gateways),
            Address::Office(n) => self.of.line[2] * share(&self.offices, n),
        }
    }

    /// The same person `hours` later, without the click's id.
    pub(super) fn comes_back(&self, before: &Seen, hours: f64, rng: &mut ChaCha12Rng) -> Seen {
        let address = self.address_again(before.address, hours, rng);
        let how = rng.random::<f64>();
        if how < self.of.same_browser {
            let mut again = Seen { address, ..*before };
            if rng.random::<f64>() < updated(hours) {
                again.version = pick(&VERSIONS, rng) as u32;
            }
            again
        } else if how < self.of.same_browser + self.of.own_browser {
            Seen {
                app: App::Own,
                version: pick(&VERSIONS, rng) as u32,
                address,
                ..*before
            }
        } else {
            Seen {
                address,
                ..self.somebody(false, rng)
            }
        }
    }

    /// The chance that whoever was seen as `before` is seen as `after` that much later, to somebody
    /// who sees what is stored: whether two hashes are equal. That a phone's own browser belongs to
    /// the phone of an app's browser cannot be seen in them, so there it may be any.
    pub(super) fn comes_back_chance(&self, before: &Seen, after: &Seen, hours: f64) -> f64 {
        let is_device = before.model == after.model && before.variant == after.variant;
        let version = share(&VERSIONS, after.version);
        let same_browser = if is_device && before.app == after.app {
            let kept = f64::from(u8::from(before.version == after.version));
            (1.0 - updated(hours)) * kept + updated(hours) * version
        } else {
            0.0
        };
        let own_browser = match (before.app, after.app) {
            (_, App::Facebook | App::Instagram) => 0.0,
            (App::Own, App::Own) => f64::from(u8::from(is_device)) * version,
            (App::Facebook | App::Instagram, App::Own) => {
                share(&self.models, after.model) * share(&VARIANTS, after.variant) * version
            }
        };
        let Population {
            same_browser: same,
            own_browser: own,
            ..
        } = self.of;
        let device = same * same_browser
            + own * own_browser
            + (1.0 - same - own) * self.device_chance(after, false);
        device * self.address_again_chance(before.address, after.address, hours)
    }

    fn address_again(&self, before: Address, hours: f64, rng: &mut ChaCha12Rng) -> Address {
        let anew = if rng.random::<f64>() < self.of.same_line {
            match before {
                Address::Home(_) => Address::Home(rng.random_range(0..self.of.homes)),
                Address::Gateway(_) => Address::Gateway(rng.random_range(0..self.of.gateways)),
                Address::Office(n) => Address::Office(n),
            }
        } else {
            self.somewhere(rng)
        };
        // Everybody has one home and one office.
        let stays = match (before, anew) {
            (Address::Home(_), Address::Home(_)) => HOME_STAYS,
            (Address::Gateway(_), Address::Gateway(_)) if hours < 1.0 => GATEWAY_STAYS,
            (Address::Office(_), Address::Office(_)) => 1.0,
            _ => 0.0,
        };
        if rng.random::<f64>() < stays {
            before
        } else {
            anew
        }
    }

    fn address_again_chance(&self, before: Address, after: Address, hours: f64) -> f64 {
        let is_same = f64::from(u8::from(before == after));
        let [home, carrier, office] = self.of.line;
        let (homes, gateways) = (
            1.0 / f64::from(self.of.homes),
            1.0 / f64::from(self.of.gateways),
        );
        let (is_kind, redrawn, given_kind) = match (before, after) {
            (Address::Home(_), Address::Home(_)) => {
                (1.0, home, HOME_STAYS * is_same + (1.0 - HOME_STAYS) * homes)
            }
            (_, Address::Home(_)) => (0.0, home, homes),
            (Address::Gateway(_), Address::Gateway(_)) if hours < 1.0 => {
                let anew = (1.0 - GATEWAY_STAYS) * gateways;
                (1.0, carrier, GATEWAY_STAYS * is_same + anew)
            }
            (Address::Gateway(_), Address::Gateway(_)) => (1.0, carrier, gateways),
            (_, Address::Gateway(_)) => (0.0, carrier, gateways),
            (Address::Office(_), Address::Office(_)) => (1.0, office, is_same),
            (_, Address::Office(n)) => (0.0, office, share(&self.offices, n)),
        };
        (self.of.same_line * is_kind + (1.0 - self.of.same_line) * redrawn) * given_kind
    }

    /// Hours from click to form.
    pub(super) fn delay(&self, rng: &mut ChaCha12Rng) -> f64 {
        let part = pick(&self.of.delay.map(|(share, _)| share), rng);
        let normal: f64 = rng.sample(rand_distr::StandardNormal);
        self.of.delay[part].1 * libm::exp(SPREAD * normal)
    }

    /// The density of that delay, per hour.
    pub(super) fn delay_density(&self, hours: f64) -> f64 {
        let hours = hours.max(1e-4);
        let part = |(share, median): (f64, f64)| {
            let z = libm::log(hours / median) / SPREAD;
            let scale = hours * SPREAD * libm::sqrt(std::f64::consts::TAU);
            share * libm::exp(-z * z / 2.0) / scale
        };
        self.of.delay.into_iter().map(part).sum()
    }
}

/// The chance that the app has been brought up to date within these hours.
fn updated(hours: f64) -> f64 {
    1.0 - libm::exp(-hours / 24.0 / UPDATED_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::attribution::Settings;
    use rand::SeedableRng as _;

    #[test]
    fn draws_follow_their_stated_chances() {
        let mut population = Settings::REPORTED[0].population.clone();
        (
            population.models,
            population.homes,
            population.gateways,
            population.offices,
        ) = (3, 4, 3, 2);
        let people = People::new(population);
        let mut rng = ChaCha12Rng::seed_from_u64(5);
        let before = Seen {
            app: App::Own,
            ..people.somebody(true, &mut rng)
        };
        for hours in [0.5, 30.0] {
            let mut counts = std::collections::BTreeMap::new();
            const N: u32 = 60_000;
            for _ in 0..N {
                let after = people.comes_back(&before, hours, &mut rng);
                *counts.entry(after).or_insert(0_u32) += 1;
            }
            let mut total = 0.0;
            for (after, n) in counts {
                let p = people.comes_back_chance(&before, &after, hours);
                total += p;
                let off = (f64::from(n) - p * f64::from(N)).abs();
                let sd = (p * f64::from(N)).sqrt().max(1.0);
                assert!(off < 5.0 * sd, "{after:?}: {n} of {N}, stated {p}");
            }
            assert!(total > 0.97 && total < 1.0 + 1e-9, "{total}");
        }
        let steps = 200_000;
        let sum: f64 = (0..steps)
            .map(|i| people.delay_density(f64::from(i) * 0.01 + 0.005) * 0.01)
            .sum();
        assert!((sum - 1.0).abs() < 0.01, "{sum}");
    }
}
