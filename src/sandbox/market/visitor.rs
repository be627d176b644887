//! The people behind clicks: how they come to the form, whether they consent, and what of their
//! path survives until the CRM.

use std::collections::BTreeMap;

use crate::domain::time::{self, SignedDuration, Timestamp};

use super::super::draw::Draw;
use super::device::{App, Device, Gadget, Line, Person};
use super::{Event, Market};

/// One page view, as the script on the page reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Visit {
    pub at: Timestamp,
    pub id: String,
    pub url: String,
    pub referrer: String,
    pub consent: bool,
    pub device: Device,
    pub ip: String,
}

/// What a lead left behind.
pub(super) struct Trail {
    pub visits: Vec<Visit>,
    pub created: Timestamp,
    pub properties: BTreeMap<&'static str, String>,
    /// Whether it was a lead form at Meta, and no page.
    pub is_form: bool,
}

/// How long someone who clicked and did nothing may still click another ad and be won by that one.
const WARM: SignedDuration = time::days(5);
/// People remembered for that at most.
const WARM_MAX: usize = 2_000;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn fbclid(draw: Draw) -> String {
    let mut text = "IwY2xjawM".to_owned();
    for i in 0..32 {
        let at = draw.of(i).below(62) as usize;
        text.push(char::from(BASE62.get(at).copied().unwrap_or(b'0')));
    }
    text
}

fn visit_id(draw: Draw) -> String {
    format!("v-{:016x}{:08x}", draw.bits(), draw.of(9).bits() as u32)
}

/// How a lead's way to the form is remembered. Shares are a guess at a small business whose pages
/// carry the script and whose form has the hidden field, with all that goes wrong on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// The form carries the id of the visit that the click opened.
    VisitId,
    /// HubSpot's own click-id property.
    ClickId,
    /// The landing URL that HubSpot keeps.
    FirstUrl,
    /// The form is on another page, and carries the id of that page's visit, minutes later.
    SecondPage,
    /// They come back later in the browser of the click, and fill in the form then.
    SameBrowser,
    /// They come back later on the same device in its own browser, out of the app.
    OwnBrowser,
    /// They come back later on another device, most of them at home.
    OtherDevice,
    /// They call, or write a mail: nothing.
    None,
}

impl Memory {
    fn draw(draw: Draw) -> Self {
        *draw
            .weighed(&[
                (40, Self::VisitId),
                (13, Self::ClickId),
                (13, Self::FirstUrl),
                (8, Self::SecondPage),
                (8, Self::SameBrowser),
                (5, Self::OwnBrowser),
                (5, Self::OtherDevice),
                (8, Self::None),
            ])
            .unwrap_or(&Self::None)
    }
}

/// Where a page is opened: on what, in which browser, over which line.
#[derive(Debug, Clone, Copy)]
struct Seat {
    gadget: Gadget,
    app: App,
    line: Line,
}

impl Seat {
    /// Of a click on an ad: on a phone, in the app that showed it, unless its owner forbade that.
    fn of_click(draw: Draw, site: &str) -> Self {
        let gadget = *draw
            .named("gadget")
            .weighed(&[
                (90, Gadget::Phone),
                (2, Gadget::Tablet),
                (8, Gadget::Computer),
            ])
            .unwrap_or(&Gadget::Phone);
        let is_in_app = gadget != Gadget::Computer && draw.named("in app").chance(0.86);
        let app = match (is_in_app, site) {
            (false, _) => App::Own,
            (true, "ig") => App::Instagram,
            (true, _) => App::Facebook,
        };
        Self {
            gadget,
            app,
            line: Line::draw(draw.named("line")),
        }
    }

    /// Of someone who came by themselves.
    fn of_search(draw: Draw) -> Self {
        let gadget = *draw
            .named("gadget")
            .weighed(&[
                (62, Gadget::Phone),
                (3, Gadget::Tablet),
                (35, Gadget::Computer),
            ])
            .unwrap_or(&Gadget::Phone);
        Self {
            gadget,
            app: App::Own,
            line: Line::draw(draw.named("line")),
        }
    }

    /// Of the same person another time.
    fn again(self, memory: Memory, draw: Draw) -> Self {
        let line = if draw.named("same line").chance(0.45) {
            self.line
        } else {
            Line::draw(draw.named("line"))
        };
        match memory {
            Memory::OwnBrowser => Self {
                app: App::Own,
                line,
                ..self
            },
            Memory::OtherDevice => Self {
                gadget: match self.gadget {
                    Gadget::Phone | Gadget::Tablet => Gadget::Computer,
                    Gadget::Computer => Gadget::Phone,
                },
                app: App::Own,
                line: if draw.named("at home").chance(0.7) {
                    Line::Home
                } else {
                    line
                },
            },
            Memory::SecondPage => self,
            Memory::VisitId
            | Memory::ClickId
            | Memory::FirstUrl
            | Memory::SameBrowser
            | Memory::None => Self { line, ..self },
        }
    }
}

impl Market {
    fn person(&self, draw: Draw) -> Person {
        Person::new(draw, self.business.audience(), self.business.zone())
    }

    fn site(click: Draw) -> &'static str {
        if click.named("site").chance(0.45) {
            "ig"
        } else {
            "fb"
        }
    }

    fn landing_url(&self, ad: usize, click: Draw) -> (String, BTreeMap<&'static str, String>) {
        let id = |node: usize| self.nodes.get(node).map_or(String::new(), |n| n.id.clone());
        let ad_node = self.ads.get(ad).map_or(0, |a| a.node);
        let set_node = self.nodes.get(ad_node).and_then(|n| n.parent).unwrap_or(0);
        let campaign = self.nodes.get(set_node).and_then(|n| n.parent).unwrap_or(0);
        let tags = BTreeMap::from([
            ("utm_source", Self::site(click).to_owned()),
            ("utm_medium", "paid_social".to_owned()),
            ("utm_campaign", id(campaign)),
            ("utm_term", id(set_node)),
            ("utm_content", id(ad_node)),
            ("fbclid", fbclid(click.named("fbclid"))),
        ]);
        let query: Vec<String> = tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let url = format!("{}?{}", self.business.landing_page(), query.join("&"));
        (url, tags)
    }

    fn visit(&self, at: Timestamp, url: &str, who: Person, seat: Seat, draw: Draw) -> Visit {
        Visit {
            at,
            id: visit_id(draw.named("visit")),
            url: url.to_owned(),
            referrer: if url.contains("fbclid") {
                "https://l.facebook.com/".to_owned()
            } else {
                String::new()
            },
            consent: who.consents(),
            device: who.device(seat.gadget, seat.app, at),
            ip: who.address(seat.line, at),
        }
    }

    /// A click that came to nothing.
    pub(super) fn idle_visit(&mut self, ad: usize, click: Draw, clicked: Timestamp) {
        let (url, _) = self.landing_url(ad, click);
        let who = click.named("who");
        let seat = Seat::of_click(who, Self::site(click));
        let visit = self.visit(clicked, &url, self.person(who), seat, click);
        let key = (clicked, click.bits(), 0);
        self.pending.insert(key, Event::Visit(visit));
        self.warm.push_back((clicked, who));
        let opens = time::sub(clicked, WARM);
        while self.warm.len() > WARM_MAX || self.warm.front().is_some_and(|(at, _)| *at < opens) {
            self.warm.pop_front();
        }
    }

    /// Who is behind a click that becomes a lead: now and then somebody who has clicked on another
    /// ad before. The credit is due to the click that won them, the earlier one makes it hard to see.
    fn winner_of(&self, click: Draw, clicked: Timestamp) -> Draw {
        let earlier = (click.named("warm").chance(0.10))
            .then(|| click.named("which").below(self.warm.len() as u64) as usize)
            .and_then(|n| self.warm.get(n))
            .filter(|(at, _)| *at < clicked);
        earlier.map_or(click.named("who"), |(_, who)| *who)
    }

    /// What a lead's click leaves behind.
    pub(super) fn trail(&self, ad: usize, click: Draw, clicked: Timestamp) -> Trail {
        let draw = self.winner_of(click, clicked);
        let who = self.person(draw);
        let seat = Seat::of_click(draw, Self::site(click));
        let (url, tags) = self.landing_url(ad, click);
        let first = self.visit(clicked, &url, who, seat, click);
        let soon = |at: Timestamp| {
            let minutes = click.named("form").gamma(2, 6.0).clamp(1.5, 90.0);
            time::add(at, time::millis((minutes * 60_000.0) as i64))
        };
        // Half of those who come back do so the same evening, the others within two weeks.
        let later = || {
            let draw = click.named("later");
            let hours = if click.named("same evening").chance(0.55) {
                draw.gamma(2, 5.0).clamp(0.4, 20.0)
            } else {
                draw.gamma(2, 60.0).clamp(8.0, 336.0)
            };
            time::add(clicked, time::millis((hours * 3_600_000.0) as i64))
        };
        if click.named("at meta").chance(self.lead_forms) {
            // The CRM gets what was typed, minutes later, from whatever carries it over.
            return Trail {
                visits: Vec::new(),
                created: soon(clicked),
                properties: BTreeMap::from([("hs_analytics_source", "PAID_SOCIAL".to_owned())]),
                is_form: true,
            };
        }
        let memory = Memory::draw(click.named("memory"));
        let mut properties = BTreeMap::new();
        properties.insert("hs_analytics_source", "PAID_SOCIAL".to_owned());
        let mut visits = Vec::new();
        let mut created = soon(clicked);
        match memory {
            Memory::VisitId => {
                properties.insert("roasd_click_id", first.id.clone());
                visits.push(first);
            }
            Memory::ClickId => {
                if let Some(fbclid) = tags.get("fbclid") {
                    properties.insert("hs_facebook_click_id", fbclid.clone());
                }
                visits.push(first);
            }
            Memory::FirstUrl => {
                // The script was blocked; HubSpot's own tracking saw the landing page.
                properties.insert("hs_analytics_first_url", url);
                for name in ["utm_source", "utm_medium", "utm_campaign", "utm_content"] {
                    if let Some(value) = tags.get(name) {
                        properties.insert(name, value.clone());
                    }
                }
                if click.named("lead form").chance(0.3) {
                    let lead = 900_000_000_000_000 + click.named("leadgen").below(99_999_999_999);
                    properties.insert("leadgen_id", lead.to_string());
                    if let Some(ad) = tags.get("utm_content") {
                        properties.insert("ad_id", ad.clone());
                    }
                }
            }
            Memory::SecondPage | Memory::SameBrowser | Memory::OwnBrowser | Memory::OtherDevice => {
                let at = if memory == Memory::SecondPage {
                    let seconds = click.named("second page").gamma(2, 150.0).max(20.0);
                    time::add(clicked, time::millis((seconds * 1_000.0) as i64))
                } else {
                    properties.insert("hs_analytics_source", "DIRECT_TRAFFIC".to_owned());
                    later()
                };
                let again = click.named("again");
                let seat = seat.again(memory, again);
                let second = self.visit(at, self.business.landing_page(), who, seat, again);
                properties.insert("roasd_click_id", second.id.clone());
                created = soon(at);
                visits.push(first);
                visits.push(second);
            }
            Memory::None => {
                properties.insert("hs_analytics_source", "OFFLINE".to_owned());
                if click.named("script").chance(0.85) {
                    visits.push(first);
                }
            }
        }
        Trail {
            visits,
            created,
            properties,
            is_form: false,
        }
    }

    /// Somebody who came by themselves and only looked.
    pub(super) fn organic_look(&mut self, person: Draw, visited: Timestamp) {
        let visit = self.organic_visit(person, visited);
        let key = (visited, person.bits(), 0);
        self.pending.insert(key, Event::Visit(visit));
    }

    fn organic_visit(&self, person: Draw, visited: Timestamp) -> Visit {
        let page = self.business.landing_page();
        let who = person.named("who");
        let seat = Seat::of_search(who);
        self.visit(visited, page, self.person(who), seat, person)
    }

    /// What someone who came by themselves leaves behind.
    pub(super) fn organic_trail(
        &self,
        person: Draw,
        visited: Timestamp,
    ) -> (Timestamp, BTreeMap<&'static str, String>, Option<Visit>) {
        let mut properties = BTreeMap::from([("hs_analytics_source", "ORGANIC_SEARCH".to_owned())]);
        let created = time::add(visited, time::minutes(4));
        let visit = person.named("tracked").chance(0.85).then(|| {
            let visit = self.organic_visit(person, visited);
            properties.insert("roasd_click_id", visit.id.clone());
            visit
        });
        (created, properties, visit)
    }
}
