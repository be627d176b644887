//! The people behind clicks: their devices, their addresses, whether they consent, and what of
//! their path survives until the CRM.

use std::collections::BTreeMap;

use crate::domain::time::{self, Timestamp};

use super::super::draw::Draw;
use super::{Event, Market};

/// What a browser tells of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Device {
    pub screen: &'static str,
    pub kind: &'static str,
    pub os: String,
    pub browser: String,
    pub user_agent: String,
}

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
}

const PHONES: &[(&str, &str)] = &[
    ("1170x2532", "iPhone"),
    ("1179x2556", "iPhone"),
    ("1290x2796", "iPhone"),
    ("1125x2436", "iPhone"),
    ("828x1792", "iPhone"),
    ("1206x2622", "iPhone"),
    ("1080x2400", "SM-A546B"),
    ("1080x2340", "SM-S921B"),
    ("1440x3120", "SM-S928B"),
    ("1080x2412", "CPH2609"),
    ("1080x2424", "Pixel 9"),
    ("1440x3120", "Pixel 8 Pro"),
    ("720x1600", "SM-A156B"),
    ("1220x2712", "23113RKC6G"),
];
const DESKTOPS: &[(&str, &str)] = &[
    ("1920x1080", "Windows NT 10.0; Win64; x64"),
    ("1536x864", "Windows NT 10.0; Win64; x64"),
    ("2560x1440", "Windows NT 10.0; Win64; x64"),
    ("1440x900", "Macintosh; Intel Mac OS X 10_15_7"),
    ("1728x1117", "Macintosh; Intel Mac OS X 10_15_7"),
    ("3440x1440", "X11; Linux x86_64"),
];

fn device(draw: Draw, update: u64) -> Device {
    let os_minor = draw.named("os minor").below(6) + update;
    let browser = 139 + draw.named("browser").below(5) + update;
    if draw.named("desktop").chance(0.2) {
        let (screen, platform) = draw
            .named("model")
            .pick(DESKTOPS)
            .copied()
            .unwrap_or(("1920x1080", "Windows NT 10.0; Win64; x64"));
        let os = match platform {
            p if p.starts_with("Windows") => "Windows 11".to_owned(),
            p if p.starts_with("Mac") => format!("macOS 15.{os_minor}"),
            _ => "Linux".to_owned(),
        };
        return Device {
            screen,
            kind: "desktop",
            os,
            browser: format!("Chrome {browser}"),
            user_agent: format!(
                "Mozilla/5.0 ({platform}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{browser}.0.0.0 Safari/537.36"
            ),
        };
    }
    let (screen, model) = draw
        .named("model")
        .pick(PHONES)
        .copied()
        .unwrap_or(("1170x2532", "iPhone"));
    if model == "iPhone" {
        let major = 17 + draw.named("os").below(3);
        return Device {
            screen,
            kind: "mobile",
            os: format!("iOS {major}.{os_minor}"),
            browser: format!("Safari {major}.{os_minor}"),
            user_agent: format!(
                "Mozilla/5.0 (iPhone; CPU iPhone OS {major}_{os_minor} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{major}.{os_minor} Mobile/15E148 Safari/604.1"
            ),
        };
    }
    let major = 13 + draw.named("os").below(4);
    Device {
        screen,
        kind: "mobile",
        os: format!("Android {major}"),
        browser: format!("Chrome {browser}"),
        user_agent: format!(
            "Mozilla/5.0 (Linux; Android {major}; {model}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{browser}.0.{}.0 Mobile Safari/537.36",
            6_000 + browser * 7 + os_minor
        ),
    }
}

/// An address of the benchmark range for one household, or one of a few shared by many.
fn address(draw: Draw) -> String {
    if draw.named("shared").chance(0.12) {
        return format!("203.0.113.{}", 1 + draw.named("office").below(6));
    }
    let n = draw.named("home").below(131_000);
    format!("198.{}.{}.{}", 18 + n / 65_536, (n / 256) % 256, n % 256)
}

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

/// How a lead's way to the form is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// The form carries the id of the visit that the click opened.
    VisitId,
    /// HubSpot's own click-id property.
    ClickId,
    /// The landing URL that HubSpot keeps.
    FirstUrl,
    /// A later visit from the same device, without ad parameters.
    SameDevice,
    /// A later visit from the same address, the browser updated in between.
    SameAddress,
    /// Nothing.
    None,
}

impl Memory {
    fn draw(draw: Draw) -> Self {
        let u = draw.unit();
        match u {
            _ if u < 0.42 => Self::VisitId,
            _ if u < 0.57 => Self::ClickId,
            _ if u < 0.72 => Self::FirstUrl,
            _ if u < 0.84 => Self::SameDevice,
            _ if u < 0.92 => Self::SameAddress,
            _ => Self::None,
        }
    }
}

impl Market {
    fn landing_url(&self, ad: usize, click: Draw) -> (String, BTreeMap<&'static str, String>) {
        let id = |node: usize| self.nodes.get(node).map_or(String::new(), |n| n.id.clone());
        let ad_node = self.ads.get(ad).map_or(0, |a| a.node);
        let set_node = self.nodes.get(ad_node).and_then(|n| n.parent).unwrap_or(0);
        let campaign = self.nodes.get(set_node).and_then(|n| n.parent).unwrap_or(0);
        let source = if click.named("site").chance(0.45) {
            "ig"
        } else {
            "fb"
        };
        let tags = BTreeMap::from([
            ("utm_source", source.to_owned()),
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

    fn visit(&self, at: Timestamp, url: &str, is_ad: bool, who: Draw, draw: Draw) -> Visit {
        Visit {
            at,
            id: visit_id(draw.named("visit")),
            url: url.to_owned(),
            referrer: if is_ad {
                "https://l.facebook.com/".to_owned()
            } else {
                String::new()
            },
            consent: true,
            device: device(who, 0),
            ip: address(who),
        }
    }

    /// A click that came to nothing.
    pub(super) fn idle_visit(&mut self, ad: usize, click: Draw, clicked: Timestamp) {
        let (url, _) = self.landing_url(ad, click);
        let mut visit = self.visit(clicked, &url, true, click.named("who"), click);
        visit.consent = !click.named("consent").chance(0.1);
        let key = (clicked, click.bits(), 0);
        self.pending.insert(key, Event::Visit(visit));
    }

    /// What a lead's click leaves behind.
    pub(super) fn trail(&self, ad: usize, _set: usize, click: Draw, clicked: Timestamp) -> Trail {
        let who = click.named("who");
        let (url, tags) = self.landing_url(ad, click);
        let mut first = self.visit(clicked, &url, true, who, click);
        let soon = |at: Timestamp| {
            let minutes = click.named("form").gamma(2, 6.0).clamp(0.5, 90.0);
            time::add(at, time::millis((minutes * 60_000.0) as i64))
        };
        let later = |mean_hours: f64, most: f64| {
            let hours = click.named("later").gamma(2, mean_hours).clamp(0.4, most);
            time::add(clicked, time::millis((hours * 3_600_000.0) as i64))
        };
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
            Memory::SameDevice | Memory::SameAddress => {
                let same_device = memory == Memory::SameDevice;
                let at = if same_device {
                    later(34.0, 156.0)
                } else {
                    later(5.0, 22.0)
                };
                let again = click.named("again");
                let mut second = self.visit(at, self.business.landing_page(), false, who, again);
                if same_device {
                    second.ip = address(again);
                } else {
                    second.device = device(who, 1);
                }
                properties.insert("roasd_click_id", second.id.clone());
                properties.insert("hs_analytics_source", "DIRECT_TRAFFIC".to_owned());
                created = soon(at);
                visits.push(first);
                visits.push(second);
            }
            Memory::None => {
                properties.insert("hs_analytics_source", "OFFLINE".to_owned());
                if click.named("silent").chance(0.5) {
                    first.consent = false;
                    visits.push(first);
                }
            }
        }
        Trail {
            visits,
            created,
            properties,
        }
    }

    /// What someone who came by themselves leaves behind.
    pub(super) fn organic_trail(
        &self,
        person: Draw,
        visited: Timestamp,
    ) -> (Timestamp, BTreeMap<&'static str, String>, Option<Visit>) {
        let mut properties = BTreeMap::from([("hs_analytics_source", "ORGANIC_SEARCH".to_owned())]);
        let created = time::add(visited, time::minutes(4));
        let visit = person.named("tracked").chance(0.6).then(|| {
            let page = self.business.landing_page();
            let visit = self.visit(visited, page, false, person.named("who"), person);
            properties.insert("roasd_click_id", visit.id.clone());
            visit
        });
        (created, properties, visit)
    }
}
