//! What attribution makes of this market's people, held against the truth: a month of each
//! business, without a daemon, so that several seeds are looked at in seconds.

use std::collections::BTreeMap;

use super::*;
use crate::domain::attribution::{
    self, AttributionRules, Candidates, Conversion, HashLookup, Method, learning, traffic::Traffic,
};
use crate::domain::deal::{Contact as CrmContact, ContactFacts};
use crate::domain::ids::{ContactId, DealId, VisitId};
use crate::domain::visit::{AdParameters, DeviceFacts, KeyedHash, Visit as Seen};
use crate::sandbox::Credits;

/// What the daemon would keep of a page view.
fn seen(visit: &Visit) -> Seen {
    let device = &visit.device;
    let zone = TimeZone::get(device.time_zone).unwrap();
    let facts = DeviceFacts {
        screen: Some(device.screen.clone()),
        time_zone: Some(device.time_zone.to_owned()),
        utc_offset_minutes: Some(zone.to_offset(visit.at).seconds() / 60),
        device_type: Some(device.kind.to_owned()),
        os: Some(device.os.clone()),
        browser: Some(device.browser.clone()),
    };
    let hash = |text: String| visit.consent.then_some(KeyedHash(text));
    Seen {
        id: VisitId::new(&visit.id).unwrap(),
        at: visit.at,
        ad: AdParameters::from_url(&visit.url),
        has_consent: visit.consent,
        fingerprint: facts.canonical().and_then(hash),
        ip: hash(visit.ip.clone()),
        user_agent: hash(device.user_agent.clone()),
    }
}

/// All visits of a month, looked up as the store does.
struct Log(Vec<Seen>);

impl Log {
    fn between(&self, since: Timestamp, until: Timestamp) -> &[Seen] {
        let from = self.0.partition_point(|visit| visit.at < since);
        let to = self.0.partition_point(|visit| visit.at <= until);
        &self.0[from..to]
    }

    fn with(&self, look: &HashLookup, key: fn(&Seen) -> &Option<KeyedHash>) -> Vec<Seen> {
        let all = self.between(look.since, look.until).iter().rev();
        let found =
            all.filter(|visit| visit.ad.ad.is_some() && key(visit).as_ref() == Some(&look.hash));
        found.take(32).cloned().collect()
    }
}

fn contact(market: &Market, id: u64) -> CrmContact {
    let contact = &market.contacts[&id];
    let of = |name: &str| contact.properties.get(name).cloned();
    CrmContact {
        id: ContactId::new(id.to_string()).unwrap(),
        facts: ContactFacts {
            roasd_click_id: of("roasd_click_id"),
            facebook_click_id: of("hs_facebook_click_id"),
            ad_id: of("ad_id"),
            first_url: of("hs_analytics_first_url"),
            ..ContactFacts::default()
        },
        updated_at: contact.created,
    }
}

/// A month's credits, and the sum of the confidences by layer.
fn month(business: Business, seed: u64) -> (Credits, BTreeMap<Method, f64>) {
    let mut market = Market::new(&tests::plan(business, seed));
    let until = time::add(market.start, time::days(30));
    market.advance(until);
    let events = market.take_events(until).into_iter();
    let log = Log(events
        .filter_map(|(_, event)| match event {
            Event::Visit(visit) => Some(seen(&visit)),
            Event::Crm(_) | Event::Lead(_) => None,
        })
        .collect());
    let by_id: BTreeMap<&str, &Seen> = log.0.iter().map(|v| (v.id.as_str(), v)).collect();
    let rules = AttributionRules::default();
    let (mut said, mut gathered) = (Vec::new(), Vec::new());
    let mut confidence = BTreeMap::new();
    for deal in market.deals.values().filter(|deal| deal.created <= until) {
        let contacts: Vec<CrmContact> = deal
            .contacts
            .iter()
            .map(|id| contact(&market, *id))
            .collect();
        let wanted = attribution::lookups(&contacts);
        let form_visits = wanted.visit_ids.iter();
        let conversion = Conversion {
            deal: DealId::new(deal.id.to_string()).unwrap(),
            at: deal.created,
            form_visits: form_visits
                .filter_map(|id| by_id.get(id.as_str()).copied().cloned())
                .collect(),
            contacts,
        };
        let by_fbclid = log.between(Timestamp::MIN, deal.created).iter();
        let mut found = Candidates {
            by_fbclid: by_fbclid
                .filter(|v| {
                    v.ad.fbclid
                        .as_ref()
                        .is_some_and(|id| wanted.fbclids.contains(id))
                })
                .cloned()
                .collect(),
            ..Candidates::default()
        };
        if let Some(device) = attribution::device_lookups(&conversion, &rules) {
            if let Some(look) = &device.fingerprint {
                found.by_fingerprint = log.with(look, |visit| &visit.fingerprint);
            }
            if let Some(look) = &device.ip {
                found.by_ip = log.with(look, |visit| &visit.ip);
            }
        }
        gathered.push((conversion, found));
    }
    gathered.sort_by_key(|(conversion, _)| conversion.at);
    let (mut learned, mut learned_at) = (None, Timestamp::MIN);
    for (n, (conversion, found)) in gathered.iter().enumerate() {
        // Each day with what the days before have taught, as the daemon does.
        if learned.is_none() || time::between(learned_at, conversion.at) > time::days(1) {
            learned_at = conversion.at;
            let week = time::sub(learned_at, time::days(7));
            let traffic = Traffic::of(log.between(week, learned_at), week, learned_at);
            learned = Some(learning::learn(traffic, &gathered[..n], &rules));
        }
        let Some(learned) = &learned else { continue };
        let verdict = attribution::attribute(conversion, found, &rules, &learned.model, until);
        if let Some(credit) = &verdict.attribution {
            *confidence.entry(credit.method).or_insert(0.0) += credit.confidence;
        }
        said.push((conversion.deal.clone(), verdict.attribution));
    }
    let origins = market.origins(until);
    let credits = origins.judge(said.iter().map(|(deal, credit)| (deal, credit.as_ref())));
    (credits, confidence)
}

#[test]
fn what_is_recognised_is_mostly_right_and_seldom_organic() {
    const SEEDS: u64 = 4;
    for business in [Business::Gym, Business::Shop, Business::Clinic] {
        let (mut credits, mut sure) = (Credits::default(), BTreeMap::new());
        for seed in 1..=SEEDS {
            let (month, confidence) = month(business, seed);
            credits = credits.and(&month);
            for (method, sum) in confidence {
                *sure.entry(method).or_insert(0.0) += sum;
            }
        }
        let mut told = format!("{business:?}, {SEEDS} months:");
        for method in [Method::UrlParam, Method::Fingerprint, Method::Probabilistic] {
            let layer = credits.by(method);
            let mean = sure.get(&method).copied().unwrap_or(0.0) / layer.deals.max(1) as f64;
            told += &format!(
                " {method} {} of {} right, {} organic, mean confidence {mean:.2};",
                layer.right, layer.deals, layer.organic
            );
        }
        let (organic, claimed) = credits.organic();
        told += &format!(
            " unattributed {}, {} of them organic; {claimed} of {organic} organic claimed",
            credits.unattributed, credits.unattributed_organic
        );
        println!("{told}");
        let ads = credits.url_param.deals + credits.fingerprint.deals + credits.probabilistic.deals
            - claimed
            + credits.unattributed
            - credits.unattributed_organic;
        let precise = |method, floor: f64| {
            let layer = credits.by(method);
            assert!(
                layer.precision().is_none_or(|p| p >= floor),
                "{method}: {told}"
            );
        };
        precise(Method::UrlParam, 1.0);
        precise(Method::Fingerprint, 0.85);
        precise(Method::Probabilistic, 0.85);
        assert!(claimed as f64 <= 0.05 * organic as f64, "{told}");
        // Layers two and three have something to do, though most deals name their ad themselves.
        let recognised = credits.fingerprint.deals + credits.probabilistic.deals;
        assert!(recognised as f64 >= 0.07 * ads as f64, "{told}");
        let named = credits.url_param.deals as f64 / ads as f64;
        assert!((0.55..0.75).contains(&named), "{told}");
    }
}
