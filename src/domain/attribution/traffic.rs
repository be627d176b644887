//! How common each value is among a tenant's visitors: what agreement by chance would take.
//!
//! Frequencies are counted over the tenant's own visits of some days. Two things make plain counting
//! wrong. A value seen once or twice is not as common as that: nearly all such values belong to one
//! person each, and the few that do not are told by how many values were seen once, twice, three
//! times. This is Good and Turing's estimate (I. J. Good, "The population frequencies of species and
//! the estimation of population parameters", Biometrika 40, 1953):
//! the chance of a value seen `r` times in `n` visits is `(r + 1) N(r + 1) / (N(r) n)`, `N(r)` being
//! the number of values seen `r` times. And visitors whom no ad brought use other devices than those
//! who click on ads (nearly all of the latter are in the browser of an app), so that the chance is
//! drawn toward what is seen among visits that name no ad, as far as there are enough to tell.

use std::collections::BTreeMap;

use super::probability::Probability;
use crate::domain::time::{self, Timestamp};
use crate::domain::visit::{KeyedHash, Visit};

/// Above this count the share itself is the best estimate.
const RARE: usize = 6;
/// No value is taken for rarer than one in this many times the visits seen.
const RAREST: f64 = 50.0;
/// How many visits without an ad are worth as much as all visits together in saying how much rarer a
/// value is among them.
const PLAIN_PRIOR: f64 = 2.0;

/// The share of visitors without an id whom an ad did bring, by a click that left no trace: their
/// devices are those of clickers.
const UNTRACED: f64 = 0.10;

/// How often a value was seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Seen {
    all: f64,
    /// In visits that name no ad.
    plain: f64,
}

/// The values of one trait.
#[derive(Debug, Clone, PartialEq, Default)]
struct Values {
    seen: BTreeMap<String, Seen>,
    of: Seen,
    /// The chance of a value seen this many times.
    rare: [f64; RARE],
}

impl Values {
    fn of(counted: impl Iterator<Item = (String, bool)>) -> Self {
        let mut values = Self::default();
        for (value, is_plain) in counted {
            let plain = f64::from(u8::from(is_plain));
            let seen = values.seen.entry(value).or_default();
            seen.all += 1.0;
            seen.plain += plain;
            values.of.all += 1.0;
            values.of.plain += plain;
        }
        let mut by_count = [0.0_f64; RARE + 2];
        for seen in values.seen.values() {
            if let Some(n) = by_count.get_mut(seen.all as usize) {
                *n += 1.0;
            }
        }
        let n = values.of.all.max(1.0);
        let mut least = 1.0 / (RAREST * n);
        for r in 1..RARE {
            // Half a value more above and one more below, so that neither is ever none.
            let (here, next) = (by_count[r] + 1.0, by_count[r + 1] + 0.5);
            let turing = (r as f64 + 1.0) * next / (here * n);
            // What was seen more often is not less common.
            least = turing.clamp(least, (r as f64 / n).max(least));
            values.rare[r] = least;
        }
        values.rare[0] = values.rare[1];
        values
    }

    /// The chance that somebody whom no ad brought has this value; it was seen at least `times`.
    fn chance(&self, value: &str, times: usize) -> Probability {
        if self.of.all < 1.0 {
            // Nothing has been seen yet: any agreement may be one by chance.
            return Probability::ONE;
        }
        let (all, ratio) = self.all_and_plain(value, times);
        Probability::nearest(all * (UNTRACED + (1.0 - UNTRACED) * ratio))
    }

    /// The chance of the value among all, and how many times as common it is among visits that name
    /// no ad.
    fn all_and_plain(&self, value: &str, times: usize) -> (f64, f64) {
        let seen = self.seen.get(value).copied().unwrap_or_default();
        let counted = self.share(seen.all);
        // The form itself is one of those without an ad, and says nothing of others.
        let others = (seen.plain - 1.0).max(0.0);
        let ratio = (others + PLAIN_PRIOR) / (counted * self.of.plain + PLAIN_PRIOR);
        (self.share(seen.all.max(times as f64)), ratio)
    }

    /// The chance of a value seen so often.
    fn share(&self, count: f64) -> f64 {
        match self.rare.get(count as usize) {
            Some(rare) => *rare,
            None => count / self.of.all.max(count),
        }
    }
}

/// What a tenant's visits of some days look like.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Traffic {
    fingerprints: Values,
    user_agents: Values,
    devices: Values,
    addresses: Values,
    visits: u64,
    clicks_per_hour: f64,
}

/// A fingerprint and a user agent as one value: the second follows from the first for the most part,
/// so that their chances must not be multiplied.
fn device(fingerprint: &KeyedHash, user_agent: &KeyedHash) -> String {
    format!("{} {}", fingerprint.0, user_agent.0)
}

impl Traffic {
    /// Counts visits between two times, in any order. Those without consent have nothing to count.
    ///
    /// The same device on the same address counts once: it is nearly always the same person, whose
    /// second visit makes nothing more common.
    #[must_use]
    pub fn of(visits: &[Visit], from: Timestamp, to: Timestamp) -> Self {
        type Key<'a> = (
            Option<&'a KeyedHash>,
            Option<&'a KeyedHash>,
            Option<&'a KeyedHash>,
        );
        let mut persons: BTreeMap<Key<'_>, bool> = BTreeMap::new();
        let (mut clicks, mut seen) = (0_u64, 0_u64);
        let mut first = to;
        for visit in visits {
            if !visit.has_consent || visit.at < from || visit.at > to {
                continue;
            }
            seen += 1;
            first = first.min(visit.at);
            let is_plain = visit.ad.ad.is_none();
            clicks += u64::from(!is_plain);
            let key = (
                visit.fingerprint.as_ref(),
                visit.user_agent.as_ref(),
                visit.ip.as_ref(),
            );
            *persons.entry(key).or_default() |= is_plain;
        }
        let values = |of: fn(&Key<'_>) -> Option<String>| {
            Values::of(
                persons
                    .iter()
                    .filter_map(|(key, is_plain)| Some((of(key)?, *is_plain))),
            )
        };
        // A tenant that began yesterday has no week of clicks.
        let hours = time::hours_between(first, to).max(1.0);
        Self {
            fingerprints: values(|key| key.0.map(|hash| hash.0.clone())),
            user_agents: values(|key| key.1.map(|hash| hash.0.clone())),
            devices: values(|key| Some(device(key.0?, key.1?))),
            addresses: values(|key| key.2.map(|hash| hash.0.clone())),
            visits: seen,
            clicks_per_hour: clicks as f64 / hours,
        }
    }

    /// Visits counted.
    #[must_use]
    pub const fn visits(&self) -> u64 {
        self.visits
    }

    /// Clicks that name an ad and may be recognised, per hour; never 0.
    #[must_use]
    pub fn clicks_per_hour(&self) -> f64 {
        self.clicks_per_hour.max(0.01)
    }

    /// The chance of a fingerprint among visitors whom no ad brought.
    #[must_use]
    pub fn fingerprint(&self, hash: &KeyedHash) -> Probability {
        self.fingerprints.chance(&hash.0, 1)
    }

    /// How many times as common a fingerprint is among visitors whom no ad brought as among all.
    pub(super) fn plain_ratio(&self, hash: &KeyedHash) -> f64 {
        self.fingerprints.all_and_plain(&hash.0, 1).1
    }

    /// The chance of a user agent.
    #[must_use]
    pub fn user_agent(&self, hash: &KeyedHash) -> Probability {
        self.user_agents.chance(&hash.0, 1)
    }

    /// The chance of a fingerprint and a user agent together.
    #[must_use]
    pub fn device(&self, fingerprint: &KeyedHash, user_agent: &KeyedHash) -> Probability {
        self.devices.chance(&device(fingerprint, user_agent), 1)
    }

    /// The chance of an IP address that at least `devices` were seen on.
    #[must_use]
    pub fn address(&self, hash: &KeyedHash, devices: usize) -> Probability {
        self.addresses.chance(&hash.0, devices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{AdId, VisitId};
    use crate::domain::visit::AdParameters;

    fn hash(text: impl Into<String>) -> KeyedHash {
        KeyedHash(text.into())
    }

    fn at(minutes: i64) -> Timestamp {
        time::from_seconds(1_790_000_000 + minutes * 60)
    }

    fn visit(n: i64, fingerprint: &str, ip: &str, is_click: bool) -> Visit {
        Visit {
            id: VisitId::new(format!("v{n}")).unwrap(),
            at: at(n),
            ad: AdParameters {
                ad: is_click.then(|| AdId::new("5").unwrap()),
                ..AdParameters::default()
            },
            has_consent: true,
            fingerprint: Some(hash(fingerprint)),
            ip: Some(hash(ip)),
            user_agent: Some(hash("agent")),
        }
    }

    #[test]
    fn a_value_of_one_person_is_rarer_than_its_count() {
        // A thousand homes of one person each, and a gateway with a thousand more.
        let visits: Vec<Visit> = (0..2_000)
            .map(|n| {
                let home = if n < 1_000 {
                    format!("home {n}")
                } else {
                    "gateway".to_owned()
                };
                visit(n, &format!("device {n}"), &home, n % 2 == 0)
            })
            .collect();
        let traffic = Traffic::of(&visits, at(0), at(2_000));
        let chance = |ip: &str| traffic.address(&hash(ip), 1).get();
        assert!((chance("gateway") - 0.5).abs() < 0.01);
        assert!(chance("home 7") < 0.1 / 2_000.0, "{}", chance("home 7"));
        assert_eq!(chance("home 7"), chance("never seen"));
        // Somewhere else it was seen more often.
        assert!(traffic.address(&hash("new gateway"), 200).get() > 0.09);
        assert!((traffic.clicks_per_hour() - 30.0).abs() < 0.1);
    }

    #[test]
    fn a_value_that_only_clickers_have_is_rare_among_others() {
        let visits: Vec<Visit> = (0..4_000)
            .map(|n| {
                let is_click = n % 2 == 0;
                let model = if n % 5 != 0 {
                    "other".to_owned()
                } else if is_click {
                    "in the app".to_owned()
                } else {
                    "own browser".to_owned()
                };
                visit(n, &model, &format!("home {n}"), is_click)
            })
            .collect();
        let traffic = Traffic::of(&visits, at(0), at(4_000));
        let chance = |model: &str| traffic.fingerprint(&hash(model)).get();
        assert!((chance("other") - 0.8).abs() < 0.01);
        assert!(chance("own browser") > 0.18, "{}", chance("own browser"));
        assert!(chance("in the app") < 0.02, "{}", chance("in the app"));
    }

    #[test]
    fn a_person_who_comes_back_makes_nothing_common() {
        let one: Vec<Visit> = (0..50).map(|n| visit(n, "device", "home", true)).collect();
        let mut visits = one;
        visits.extend((50..1_050).map(|n| visit(n, &format!("d{n}"), &format!("h{n}"), true)));
        let traffic = Traffic::of(&visits, at(0), at(1_050));
        assert!(traffic.fingerprint(&hash("device")).get() < 0.001);
        assert_eq!(traffic.visits(), 1_050);
    }

    #[test]
    fn without_visits_agreement_proves_nothing() {
        let traffic = Traffic::default();
        assert_eq!(traffic.fingerprint(&hash("x")), Probability::ONE);
        assert!(traffic.clicks_per_hour() > 0.0);
    }
}
