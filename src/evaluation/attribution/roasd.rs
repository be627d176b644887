//! What roasd makes of it: the domain's own learning and layers, given what a store would find.

use std::collections::BTreeMap;

use super::world::{Deal, World, ad_id, at};
use crate::domain::attribution::learning::{self, Learned};
use crate::domain::attribution::traffic::Traffic;
use crate::domain::attribution::{
    self, Attribution, AttributionRules, Candidates, Conversion, HashLookup,
};
use crate::domain::ids::AdId;
use crate::domain::time::{self, Timestamp};
use crate::domain::visit::{KeyedHash, Visit};

/// Clicks found per value, as the daemon limits them.
const CLICKS: usize = 32;
/// What is learned stands for a day in the daemon; a week here makes the same of steady traffic.
const LEARN_EVERY_HOURS: f64 = 168.0;

/// What was said of a deal.
pub(super) struct Said {
    pub deal: usize,
    /// By each of the rules.
    pub credits: [Option<Attribution>; 2],
}

/// Clicks by a value, in order of time.
struct Clicks<'w>(BTreeMap<&'w str, Vec<&'w Visit>>);

impl<'w> Clicks<'w> {
    fn by(world: &'w World, of: fn(&'w Visit) -> Option<&'w str>) -> Self {
        let mut clicks: BTreeMap<&str, Vec<&Visit>> = BTreeMap::new();
        for visit in world.visits.iter().filter(|visit| visit.ad.ad.is_some()) {
            if let Some(value) = of(visit) {
                clicks.entry(value).or_default().push(visit);
            }
        }
        for clicks in clicks.values_mut() {
            clicks.sort_by_key(|visit| visit.at);
        }
        Self(clicks)
    }

    fn find(&self, value: &str, since: Timestamp, until: Timestamp) -> Vec<Visit> {
        let all = self.0.get(value).map_or(&[][..], Vec::as_slice);
        let from = all.partition_point(|visit| visit.at < since);
        let to = all.partition_point(|visit| visit.at <= until);
        let found = all.get(from..to).unwrap_or_default().iter().rev();
        found.take(CLICKS).map(|visit| (*visit).clone()).collect()
    }

    fn of(&self, look: Option<HashLookup>) -> Vec<Visit> {
        look.map_or_else(Vec::new, |HashLookup { hash, since, until }| {
            self.find(&hash.0, since, until)
        })
    }
}

fn plain(hash: &Option<KeyedHash>) -> Option<&str> {
    hash.as_ref().map(|hash| hash.0.as_str())
}

/// Credits the deals from hour `from` on by two sets of thresholds, each week with what the weeks
/// before have taught. Also returns what was learned last.
pub(super) fn run(
    world: &World,
    from: f64,
    both: [&AttributionRules; 2],
) -> (Vec<Said>, Option<Learned>) {
    // They differ in thresholds alone: what is found and learned is the same.
    let rules = both[0];
    let by_fbclid = Clicks::by(world, |visit| visit.ad.fbclid.as_deref());
    let by_fingerprint = Clicks::by(world, |visit| plain(&visit.fingerprint));
    let by_ip = Clicks::by(world, |visit| plain(&visit.ip));
    let gather = |deal: &Deal| {
        let form = deal.form.and_then(|(visit, _)| world.visits.get(visit));
        let conversion = Conversion {
            deal: deal.id.clone(),
            at: at(deal.hours),
            contacts: vec![deal.contact.clone()],
            form_visits: form.cloned().into_iter().collect(),
        };
        let opens = conversion.click_window_opens(rules);
        let ids = attribution::lookups(&conversion.contacts).fbclids;
        let mut found = Candidates {
            by_fbclid: ids
                .iter()
                .flat_map(|id| by_fbclid.find(id, opens, conversion.at))
                .collect(),
            ..Candidates::default()
        };
        if let Some(device) = attribution::device_lookups(&conversion, rules) {
            found.by_fingerprint = by_fingerprint.of(device.fingerprint);
            found.by_ip = by_ip.of(device.ip);
        }
        (conversion, found)
    };
    let gathered: Vec<_> = world.deals.iter().map(gather).collect();
    let mut said = Vec::new();
    let mut learned: Option<Learned> = None;
    let mut learn_at = from;
    for (n, deal) in world.deals.iter().enumerate() {
        if deal.hours < from {
            continue;
        }
        if deal.hours >= learn_at {
            let now = at(learn_at);
            let week = time::sub(now, time::days(7));
            let traffic = Traffic::of(&world.visits, week, now);
            let until = world.deals.partition_point(|deal| deal.hours < learn_at);
            let known = gathered.get(..until).unwrap_or_default();
            learned = Some(learning::learn(traffic, known, rules));
            learn_at += LEARN_EVERY_HOURS;
        }
        let (Some((conversion, found)), Some(learned)) = (gathered.get(n), &learned) else {
            continue;
        };
        let credits = both.map(|rules| {
            let model = &learned.model;
            attribution::attribute(conversion, found, rules, model, conversion.at).attribution
        });
        said.push(Said { deal: n, credits });
    }
    (said, learned)
}

/// Whether a credit names the ad of this place.
pub(super) fn names(ad: &AdId, place: usize) -> bool {
    ad_id(place).as_ref() == Some(ad)
}
