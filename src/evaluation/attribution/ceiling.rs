//! The best that anybody could do: Bayes with the generator's own probabilities, over every click of
//! the window, by brute force. It knows each ad's rate of deals, the popularity of every device and
//! line, how people come back, and how many deals no ad caused. Of visits it sees what is stored, as
//! roasd does: hashes, which are equal or are not.

use std::collections::BTreeMap;

use super::people::{Address, Seen};
use super::world::{World, at_home};

/// How far back it looks, in hours: the window of the fingerprint layer.
const WINDOW: f64 = 168.0;

/// The likeliest ad behind a form without an id, with its posterior.
pub(super) fn likeliest(world: &World, hours: f64, form: &Seen) -> Option<(usize, f64)> {
    let people = &world.people;
    let settings = &world.settings;
    let from = world.clicks.partition_point(|c| c.hours < hours - WINDOW);
    let to = world.clicks.partition_point(|c| c.hours <= hours);
    let mut by_ad: BTreeMap<usize, f64> = BTreeMap::new();
    let mut total = 0.0;
    for click in world.clicks.get(from..to)?.iter().filter(|c| c.has_consent) {
        let delay = hours - click.hours;
        // Forms per hour that look like this one and that this click sends now, per click.
        let weight = world.rates[click.ad]
            * settings.lost
            * people.delay_density(delay)
            * people.comes_back_chance(&click.seen, form, delay);
        *by_ad.entry(click.ad).or_default() += weight;
        total += weight;
    }
    // The same of forms that no ad caused.
    let per_hour = settings.organic_per_day / 24.0
        * (1.0 - settings.organic_calls)
        * (1.0 - settings.forwarded)
        * settings.consents;
    let anywhere = people.address_chance(form.address);
    let address = if matches!(form.address, Address::Home(_)) {
        let homes = at_home(&world.clicks, hours);
        let same = homes.iter().filter(|c| c.seen.address == form.address);
        let shared = same.count() as f64 / homes.len().max(1) as f64;
        settings.households * shared + (1.0 - settings.households) * anywhere
    } else {
        (1.0 - settings.households) * anywhere
    };
    total += per_hour * people.device_chance(form, false) * address;
    let (ad, best) = by_ad.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some((ad, best / total))
}
