//! Some weeks of a made-up tenant: clicks, visits and deals, with the ad that caused each deal.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::Settings;
use super::people::{Address, People, Seen};
use crate::domain::deal::{Contact, ContactFacts};
use crate::domain::ids::{AdId, ContactId, DealId, VisitId};
use crate::domain::time::{self, Timestamp};
use crate::domain::visit::{AdParameters, KeyedHash, Visit};

/// A click on an ad. What it shows is stored only with consent.
#[derive(Debug, Clone)]
pub(super) struct Click {
    pub hours: f64,
    pub ad: usize,
    pub seen: Seen,
    pub has_consent: bool,
    /// Its visit, by place.
    pub visit: usize,
}

/// A deal and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Deal {
    pub id: DealId,
    pub hours: f64,
    /// The ad whose click caused it, if any did.
    pub truth: Option<usize>,
    pub contact: Contact,
    /// The visit that the form was sent on, by place, and what it shows whether stored or not.
    pub form: Option<(usize, Seen)>,
}

/// The whole of it.
#[derive(Debug)]
pub(super) struct World {
    pub settings: Settings,
    pub people: People,
    /// The chance that a click on each ad leads to a deal.
    pub rates: Vec<f64>,
    /// By time.
    pub clicks: Vec<Click>,
    pub visits: Vec<Visit>,
    /// By time.
    pub deals: Vec<Deal>,
}

/// When hour 0 is.
const START: i64 = 1_790_000_000;
/// A click of the last days that somebody clicks again after.
const AGAIN_WITHIN: f64 = 72.0;
/// Clicks at the homes of which other members of the household send forms.
pub(super) const HOUSEHOLD_WITHIN: f64 = 168.0;

pub(super) fn at(hours: f64) -> Timestamp {
    time::from_micros(START * 1_000_000 + (hours * 3.6e9) as i64)
}

pub(super) fn ad_id(ad: usize) -> Option<AdId> {
    AdId::new((7_000 + ad).to_string()).ok()
}

/// How a deal that an ad caused is remembered.
#[derive(Debug, Clone, Copy)]
enum Trail {
    /// The form was sent on the click's own visit.
    Landing,
    /// The form was sent on a later visit, and the CRM kept the click's id.
    Kept,
    /// The CRM kept the click's id, and nothing of the form.
    CrmOnly,
    /// The form was sent on a later visit, and the click's id is lost.
    Lost,
    /// They called.
    Nothing,
}

struct Maker {
    settings: Settings,
    people: People,
    rates: Vec<f64>,
    rng: ChaCha12Rng,
    visits: Vec<Visit>,
    deals: Vec<Deal>,
}

impl World {
    /// Makes the weeks of these settings from a seed.
    pub(super) fn new(settings: &Settings, seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let rates = (0..settings.ads)
            .map(|_| {
                let normal: f64 = rng.sample(rand_distr::StandardNormal);
                settings.deals_per_click * libm::exp(0.5 * normal - 0.125)
            })
            .collect();
        let mut maker = Maker {
            people: People::new(settings.population.clone()),
            settings: settings.clone(),
            rates,
            rng,
            visits: Vec::new(),
            deals: Vec::new(),
        };
        let clicks = maker.clicks();
        maker.plain_visits();
        maker.caused(&clicks);
        maker.organic(&clicks);
        let Maker {
            people,
            rates,
            visits,
            mut deals,
            ..
        } = maker;
        deals.sort_by(|a, b| a.hours.total_cmp(&b.hours));
        Self {
            settings: settings.clone(),
            people,
            rates,
            clicks,
            visits,
            deals,
        }
    }
}

impl Maker {
    fn chance(&mut self, p: f64) -> bool {
        self.rng.random::<f64>() < p
    }

    /// Times of a Poisson process, in hours.
    fn times(&mut self, per_day: f64) -> Vec<f64> {
        let mut times = Vec::new();
        let mut now = 0.0;
        loop {
            let gap: f64 = self.rng.sample(rand_distr::Exp1);
            now += gap * 24.0 / per_day;
            if now >= self.settings.days * 24.0 {
                return times;
            }
            times.push(now);
        }
    }

    fn visit(&mut self, hours: f64, seen: &Seen, consent: bool, ad: AdParameters) -> Option<usize> {
        let hash = |text: String| consent.then_some(KeyedHash(text));
        let address = match seen.address {
            Address::Home(n) => format!("h{n}"),
            Address::Gateway(n) => format!("g{n}"),
            Address::Office(n) => format!("o{n}"),
        };
        self.visits.push(Visit {
            id: VisitId::new(format!("v{}", self.visits.len())).ok()?,
            at: at(hours),
            ad,
            has_consent: consent,
            fingerprint: hash(format!("{:?}", seen.fingerprint())),
            ip: hash(address),
            user_agent: hash(format!("{:?}", seen.user_agent())),
        });
        Some(self.visits.len() - 1)
    }

    fn clicks(&mut self) -> Vec<Click> {
        let mut clicks: Vec<Click> = Vec::new();
        for hours in self.times(self.settings.clicks_per_day) {
            let ad = self.rng.random_range(0..self.settings.ads);
            // Some click another ad within days.
            let before = (self.chance(self.settings.clicks_again) && !clicks.is_empty())
                .then(|| {
                    let from = clicks.partition_point(|c| c.hours < hours - AGAIN_WITHIN);
                    clicks.get(self.rng.random_range(from..clicks.len().max(from + 1)))
                })
                .flatten();
            let (seen, has_consent) = match before {
                Some(before) => (before.seen, before.has_consent),
                None => {
                    let seen = self.people.somebody(true, &mut self.rng);
                    (seen, self.chance(self.settings.consents))
                }
            };
            let parameters = AdParameters {
                fbclid: Some(format!("fb{}", clicks.len())),
                ad: ad_id(ad),
                ..AdParameters::default()
            };
            if let Some(visit) = self.visit(hours, &seen, has_consent, parameters) {
                clicks.push(Click {
                    hours,
                    ad,
                    seen,
                    has_consent,
                    visit,
                });
            }
        }
        clicks
    }

    fn plain_visits(&mut self) {
        for hours in self.times(self.settings.other_visits_per_day) {
            let seen = self.people.somebody(false, &mut self.rng);
            let consent = self.chance(self.settings.consents);
            self.visit(hours, &seen, consent, AdParameters::default());
        }
    }

    fn deal(
        &mut self,
        hours: f64,
        truth: Option<usize>,
        form: Option<(usize, Seen)>,
        edit: impl FnOnce(&mut ContactFacts),
    ) {
        let n = self.deals.len();
        let mut facts = ContactFacts {
            roasd_click_id: form
                .and_then(|(visit, _)| self.visits.get(visit))
                .map(|visit| visit.id.to_string()),
            ..ContactFacts::default()
        };
        edit(&mut facts);
        let (Ok(id), Ok(contact)) = (DealId::new(format!("{n}")), ContactId::new(format!("{n}")))
        else {
            return;
        };
        self.deals.push(Deal {
            id,
            hours,
            truth,
            contact: Contact {
                id: contact,
                facts,
                updated_at: at(hours),
            },
            form,
        });
    }

    fn caused(&mut self, clicks: &[Click]) {
        let trails = [
            (self.settings.landing, Trail::Landing),
            (self.settings.kept, Trail::Kept),
            (self.settings.crm_only, Trail::CrmOnly),
            (self.settings.lost, Trail::Lost),
        ];
        for (n, click) in clicks.iter().enumerate() {
            if !self.chance(self.rates[click.ad]) {
                continue;
            }
            let mut at = self.rng.random::<f64>();
            let mut trail = Trail::Nothing;
            for (share, kind) in trails {
                at -= share;
                if at < 0.0 {
                    trail = kind;
                    break;
                }
            }
            let delay = match trail {
                Trail::Landing => 0.05,
                _ => self.people.delay(&mut self.rng),
            };
            let hours = click.hours + delay;
            if hours >= self.settings.days * 24.0 {
                continue;
            }
            let form = match trail {
                Trail::Landing => Some((click.visit, click.seen)),
                Trail::Kept | Trail::Lost => {
                    let again = self.people.comes_back(&click.seen, delay, &mut self.rng);
                    let parameters = AdParameters::default();
                    let visit = self.visit(hours, &again, click.has_consent, parameters);
                    visit.map(|visit| (visit, again))
                }
                Trail::CrmOnly | Trail::Nothing => None,
            };
            let keeps = matches!(trail, Trail::Kept | Trail::CrmOnly);
            self.deal(hours, Some(click.ad), form, |facts| {
                facts.facebook_click_id = keeps.then(|| format!("fb{n}"));
            });
        }
    }

    fn organic(&mut self, clicks: &[Click]) {
        for hours in self.times(self.settings.organic_per_day) {
            if self.chance(self.settings.organic_calls) {
                self.deal(hours, None, None, |_| {});
                continue;
            }
            if self.chance(self.settings.forwarded) {
                // A friend sent the link, with the parameters of the friend's click.
                let to = clicks.partition_point(|c| c.hours < hours);
                if to > 0 {
                    let click = self.rng.random_range(0..to);
                    let seen = self.people.somebody(false, &mut self.rng);
                    let consent = self.chance(self.settings.consents);
                    let parameters = AdParameters {
                        fbclid: Some(format!("fb{click}")),
                        ad: ad_id(clicks[click].ad),
                        ..AdParameters::default()
                    };
                    if let Some(visit) = self.visit(hours, &seen, consent, parameters) {
                        self.deal(hours, None, Some((visit, seen)), |_| {});
                    }
                }
                continue;
            }
            let mut seen = self.people.somebody(false, &mut self.rng);
            if self.chance(self.settings.households) {
                // Somebody else in the household clicked an ad and had no part in it.
                let homes = at_home(clicks, hours);
                if !homes.is_empty() {
                    seen.address = homes[self.rng.random_range(0..homes.len())].seen.address;
                }
            }
            let consent = self.chance(self.settings.consents);
            if let Some(visit) = self.visit(hours, &seen, consent, AdParameters::default()) {
                self.deal(hours, None, Some((visit, seen)), |_| {});
            }
        }
    }
}

/// The clicks from homes of the week before.
pub(super) fn at_home(clicks: &[Click], hours: f64) -> Vec<&Click> {
    let from = clicks.partition_point(|c| c.hours < hours - HOUSEHOLD_WITHIN);
    let to = clicks.partition_point(|c| c.hours < hours);
    let week = clicks.get(from..to).unwrap_or_default().iter();
    week.filter(|c| c.has_consent && matches!(c.seen.address, Address::Home(_)))
        .collect()
}
