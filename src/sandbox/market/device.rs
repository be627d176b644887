//! What a browser tells of the phone or computer it runs on, and from which address it comes.
//!
//! Everything about a person follows from one draw, so that the same person is met again on the
//! same device. Devices are spread as those of real visitors are: a few phones are everywhere and
//! most models are rare; nearly all clicks on ads open in Facebook's or Instagram's own browser,
//! which tells much more of itself than Safari or Chrome do; screens come in the pixels that pages
//! see, which an owner may have enlarged. Shares are rounded from what StatCounter shows for the
//! three countries; only their order of magnitude matters.

use crate::domain::time::{self, Timestamp};

use super::super::business::Audience;
use super::super::draw::Draw;

/// What a browser tells of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Device {
    pub screen: String,
    pub time_zone: &'static str,
    pub kind: &'static str,
    pub os: String,
    pub browser: String,
    pub user_agent: String,
}

/// What is held in the hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gadget {
    Phone,
    Tablet,
    Computer,
}

/// What a page is opened in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum App {
    /// The browser inside Facebook's app.
    Facebook,
    /// The one inside Instagram's.
    Instagram,
    /// The device's own.
    Own,
}

/// How somebody is online.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Home,
    Work,
    Carrier,
}

impl Line {
    pub(super) fn draw(draw: Draw) -> Self {
        *draw
            .weighed(&[(62, Self::Home), (28, Self::Carrier), (10, Self::Work)])
            .unwrap_or(&Self::Home)
    }
}

/// Somebody who may open a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person {
    draw: Draw,
    audience: Audience,
    zone: &'static str,
}

/// Width and height as pages see them.
type Screen = (u32, u32);

/// Zones of the few who are not where the account is, or whose computer says so.
const AWAY: &[(u32, &str)] = &[
    (20, "America/New_York"),
    (20, "Europe/London"),
    (15, "Europe/Berlin"),
    (10, "America/Chicago"),
    (10, "America/Los_Angeles"),
    (8, "Europe/Paris"),
    (6, "Europe/Madrid"),
    (5, "Europe/Warsaw"),
    (4, "Asia/Dubai"),
    (4, "Asia/Kolkata"),
    (3, "Europe/Istanbul"),
    (2, "Australia/Sydney"),
    (1, "America/Sao_Paulo"),
    (1, "UTC"),
];

/// Screens of iPhones as pages see them, with the hardware behind each.
const IPHONES: &[(u32, (Screen, &str))] = &[
    (25, ((390, 844), "iPhone14,5")),
    (23, ((393, 852), "iPhone15,4")),
    (14, ((430, 932), "iPhone16,2")),
    (11, ((402, 874), "iPhone17,1")),
    (8, ((440, 956), "iPhone17,2")),
    (6, ((428, 926), "iPhone14,3")),
    (7, ((414, 896), "iPhone12,1")),
    (3, ((375, 812), "iPhone14,4")),
    (2, ((375, 667), "iPhone14,6")),
    (1, ((420, 912), "iPhone18,4")),
];

/// Main versions of iOS some weeks after a new one is out.
const IOS: &[(u32, u64)] = &[(55, 26), (22, 27), (14, 18), (4, 17), (3, 16), (2, 15)];

/// The Android phones that are everywhere; the many others follow by rank.
const ANDROIDS: &[(Screen, &str)] = &[
    ((384, 832), "SM-S928B"),
    ((360, 780), "SM-S921B"),
    ((412, 915), "SM-A546B"),
    ((360, 800), "SM-A155F"),
    ((412, 923), "Pixel 8a"),
    ((412, 892), "SM-G991B"),
    ((393, 873), "23117RA68G"),
    ((411, 923), "Pixel 9"),
    ((385, 854), "SM-A536B"),
    ((360, 806), "CPH2609"),
    ((412, 883), "SM-A336B"),
    ((393, 851), "Pixel 7"),
    ((384, 857), "SM-S938B"),
    ((432, 960), "moto g54 5G"),
    ((448, 998), "Pixel 9 Pro XL"),
    ((360, 760), "SM-G973F"),
];
const ANDROIDS_IN_ALL: u64 = 1_600;
const WIDTHS: &[(u32, u32)] = &[
    (40, 360),
    (20, 412),
    (15, 393),
    (8, 384),
    (5, 411),
    (4, 432),
    (3, 424),
    (3, 320),
    (1, 375),
    (1, 480),
];

/// Main versions of Android, each with the build that its phones name.
const ANDROID: &[(u32, (u64, &str))] = &[
    (20, (16, "BP2A.250605.031")),
    (26, (15, "AP3A.240905.015")),
    (22, (14, "UP1A.231005.007")),
    (15, (13, "TP1A.220624.014")),
    (9, (12, "SP1A.210812.016")),
    (5, (11, "RP1A.200720.012")),
    (3, (10, "QP1A.190711.020")),
];

/// Panels of PCs and how much Windows enlarges on them, in hundredths.
const PANELS: &[(u32, Screen)] = &[
    (45, (1920, 1080)),
    (14, (2560, 1440)),
    (10, (1366, 768)),
    (8, (1920, 1200)),
    (6, (3840, 2160)),
    (5, (2560, 1600)),
    (3, (1600, 900)),
    (3, (2880, 1800)),
    (3, (3440, 1440)),
    (2, (1680, 1050)),
    (1, (1280, 1024)),
];
const SCALES: &[(u32, u32)] = &[(55, 100), (25, 125), (15, 150), (3, 175), (2, 200)];
const MACS: &[(u32, Screen)] = &[
    (30, (1440, 900)),
    (20, (1512, 982)),
    (14, (1470, 956)),
    (12, (1728, 1117)),
    (8, (1920, 1080)),
    (6, (2560, 1440)),
    (5, (1680, 1050)),
    (3, (1710, 1107)),
    (2, (1800, 1169)),
];
const IPADS: &[(u32, Screen)] = &[
    (35, (810, 1080)),
    (30, (820, 1180)),
    (20, (768, 1024)),
    (10, (834, 1194)),
    (5, (1024, 1366)),
];

/// Addresses of companies, and of the gateways behind which carriers put their customers.
const OFFICES: u64 = 60;
const GATEWAYS: u64 = 96;
/// Addresses of homes: two ranges that are set aside for benchmarks.
const HOMES: u64 = 131_000;

impl Person {
    pub(super) const fn new(draw: Draw, audience: Audience, zone: &'static str) -> Self {
        Self {
            draw,
            audience,
            zone,
        }
    }

    /// Whether this person consents to being recognised; asked once, and remembered.
    pub(super) fn consents(self) -> bool {
        self.draw.named("consent").chance(self.audience.consents)
    }

    /// The browser of `app` on this person's `gadget`, as it is at `at`: apps and systems are
    /// brought up to date in between.
    pub(super) fn device(self, gadget: Gadget, app: App, at: Timestamp) -> Device {
        let time_zone = if self.draw.named("away").chance(0.05) {
            let away = self.draw.named("zone").weighed(AWAY);
            away.copied().unwrap_or(self.zone)
        } else {
            self.zone
        };
        let is_apple = self.draw.named("apple").chance(self.audience.iphones);
        let seen = match (gadget, is_apple) {
            (Gadget::Phone, true) => self.iphone(app, at),
            (Gadget::Phone, false) => self.android(app, at),
            (Gadget::Tablet, _) => self.ipad(app, at),
            (Gadget::Computer, _) => self.computer(at),
        };
        let kind = match gadget {
            Gadget::Phone => "mobile",
            Gadget::Tablet => "tablet",
            Gadget::Computer => "desktop",
        };
        let (width, height) = seen.screen;
        Device {
            screen: format!("{width}x{height}"),
            time_zone,
            kind,
            os: seen.os,
            browser: seen.browser,
            user_agent: seen.user_agent,
        }
    }

    fn iphone(self, app: App, at: Timestamp) -> Seen {
        let draw = self.draw.named("iphone");
        let ((width, height), hardware) = *draw
            .named("model")
            .weighed(IPHONES)
            .unwrap_or(&((390, 844), "iPhone14,5"));
        // Display zoom.
        let screen = if draw.named("zoom").chance(0.05) {
            (width * 82 / 100, height * 82 / 100)
        } else {
            (width, height)
        };
        self.apple(draw, app, at, screen, hardware, "iPhone")
    }

    fn ipad(self, app: App, at: Timestamp) -> Seen {
        let draw = self.draw.named("ipad");
        let screen = *draw.named("model").weighed(IPADS).unwrap_or(&(810, 1080));
        self.apple(draw, app, at, screen, "iPad13,18", "iPad")
    }

    fn apple(
        self,
        draw: Draw,
        app: App,
        at: Timestamp,
        screen: Screen,
        hardware: &str,
        name: &str,
    ) -> Seen {
        let major = *draw.named("os").weighed(IOS).unwrap_or(&26);
        // Only the newest system still gets a new minor version now and then.
        let minor = match major {
            27 => release(draw.named("minor"), 0, 40.0, at),
            _ => 3 + draw.named("minor").below(5),
        };
        let system = format!("{major}.{minor}");
        // Since iOS 26 the system in front is frozen; what stands behind it tells more.
        let front = if major >= 26 {
            "18_7".to_owned()
        } else {
            format!("{major}_{minor}")
        };
        let engine = format!(
            "Mozilla/5.0 ({name}; CPU {} {front} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)",
            if name == "iPad" { "OS" } else { "iPhone OS" },
        );
        let language = self.audience.language;
        let (browser, user_agent) = match app {
            App::Facebook => {
                let version = release(draw.named("facebook"), 585, 7.0, at);
                (
                    format!("Facebook {version}.0"),
                    format!(
                        "{engine} Mobile/15E148 [FBAN/FBIOS;FBAV/{version}.0.0.{}.108;FBBV/{};FBDV/{hardware};FBMD/{name};FBSN/iOS;FBSV/{system};FBSS/3;FBID/{};FBLC/{language};FBOP/5]",
                        40 + version % 9,
                        830_000_000 + version * 1_037_123,
                        if name == "iPad" { "tablet" } else { "phone" },
                    ),
                )
            }
            App::Instagram => {
                let version = release(draw.named("instagram"), 452, 7.0, at);
                (
                    format!("Instagram {version}.0"),
                    format!(
                        "{engine} Mobile/15E148 Instagram {version}.0.0.{}.82 ({hardware}; iOS {}; {language}; {}; scale=3.00; {}x{}; {})",
                        20 + version % 13,
                        system.replace('.', "_"),
                        language.replace('_', "-"),
                        screen.0 * 3,
                        screen.1 * 3,
                        840_000_000 + version * 1_240_551,
                    ),
                )
            }
            App::Own if draw.named("chrome").chance(0.13) => {
                let version = release(draw.named("chrome"), 153, 28.0, at);
                (
                    format!("Chrome {version}"),
                    format!("{engine} CriOS/{version}.0.7204.156 Mobile/15E148 Safari/604.1"),
                )
            }
            App::Own => (
                format!("Safari {system}"),
                format!("{engine} Version/{system} Mobile/15E148 Safari/604.1"),
            ),
        };
        Seen {
            screen,
            os: format!("iOS {system}"),
            browser,
            user_agent,
        }
    }

    fn android(self, app: App, at: Timestamp) -> Seen {
        let draw = self.draw.named("android");
        let rank = draw.named("model").rank(ANDROIDS_IN_ALL);
        let (screen, model) = match ANDROIDS.get(rank as usize) {
            Some((screen, model)) => (*screen, (*model).to_owned()),
            None => rare_model(rank),
        };
        // Whoever wants larger or smaller letters gets a screen of other pixels.
        let size = *draw
            .named("size")
            .weighed(&[(84, 100), (6, 110), (5, 88), (3, 121), (2, 133)])
            .unwrap_or(&100_u32);
        let screen = (screen.0 * 100 / size, screen.1 * 100 / size);
        let (major, build) = *draw
            .named("os")
            .weighed(ANDROID)
            .unwrap_or(&(15, "AP3A.240905.015"));
        let version = release(draw.named("chrome"), 153, 28.0, at);
        let patch = 6_000 + version * 9 + draw.named("patch").below(3) * 40;
        let engine = format!(
            "Mozilla/5.0 (Linux; Android {major}; {model} Build/{build}; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/{version}.0.{patch}.58 Mobile Safari/537.36"
        );
        let (browser, user_agent) = match app {
            App::Facebook => {
                let app = release(draw.named("facebook"), 585, 7.0, at);
                (
                    format!("Facebook {app}.0"),
                    format!(
                        "{engine} [FB_IAB/FB4A;FBAV/{app}.0.0.{}.74;IABMV/1;]",
                        30 + app % 11
                    ),
                )
            }
            App::Instagram => {
                let app = release(draw.named("instagram"), 452, 7.0, at);
                (
                    format!("Instagram {app}.0"),
                    format!(
                        "{engine} Instagram {app}.0.0.{}.84 Android ({}/{major}; 420dpi; {}x{}; {model}; {}; {})",
                        20 + app % 13,
                        major + 19,
                        screen.0 * 3,
                        screen.1 * 3,
                        self.audience.language,
                        790_000_000 + app * 1_240_551,
                    ),
                )
            }
            App::Own => {
                // Chrome no longer names the model or the system.
                let reduced = format!(
                    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Mobile Safari/537.36"
                );
                if model.starts_with("SM-") && draw.named("samsung").chance(0.25) {
                    let browser = release(draw.named("internet"), 29, 90.0, at);
                    let agent =
                        reduced.replace("Chrome/", &format!("SamsungBrowser/{browser}.0 Chrome/"));
                    (format!("Samsung Internet {browser}"), agent)
                } else if draw.named("firefox").chance(0.04) {
                    (
                        format!("Firefox {version}"),
                        format!(
                            "Mozilla/5.0 (Android {major}; Mobile; rv:{version}.0) Gecko/{version}.0 Firefox/{version}.0"
                        ),
                    )
                } else {
                    (format!("Chrome {version}"), reduced)
                }
            }
        };
        Seen {
            screen,
            os: format!("Android {major}"),
            browser,
            user_agent,
        }
    }

    fn computer(self, at: Timestamp) -> Seen {
        let draw = self.draw.named("computer");
        let version = release(draw.named("version"), 153, 28.0, at);
        let chrome = |platform: &str| {
            format!(
                "Mozilla/5.0 ({platform}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
            )
        };
        let firefox = |platform: &str| {
            format!("Mozilla/5.0 ({platform}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0")
        };
        let system = *draw
            .named("system")
            .weighed(&[(68, "windows"), (27, "mac"), (3, "linux"), (2, "chromeos")])
            .unwrap_or(&"windows");
        let brand = draw.named("browser");
        let (screen, os, browser, user_agent) = match system {
            "mac" => {
                let platform = "Macintosh; Intel Mac OS X 10_15_7";
                let screen = *draw.named("screen").weighed(MACS).unwrap_or(&(1440, 900));
                let safari = 3 + draw.named("safari").below(5);
                let (browser, agent) = match brand.weighed(&[(50, 0), (42, 1), (8, 2)]) {
                    Some(1) => (format!("Chrome {version}"), chrome(platform)),
                    Some(2) => (format!("Firefox {version}"), firefox(platform)),
                    _ => (
                        format!("Safari 26.{safari}"),
                        format!(
                            "Mozilla/5.0 ({platform}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.{safari} Safari/605.1.15"
                        ),
                    ),
                };
                (screen, "macOS 10.15".to_owned(), browser, agent)
            }
            other => {
                let (platform, os) = match other {
                    "linux" => ("X11; Linux x86_64", "Linux".to_owned()),
                    "chromeos" => ("X11; CrOS x86_64 14541.0.0", "ChromeOS".to_owned()),
                    _ => {
                        let major = if draw.named("old").chance(0.24) {
                            10
                        } else {
                            11
                        };
                        ("Windows NT 10.0; Win64; x64", format!("Windows {major}"))
                    }
                };
                let panel = *draw
                    .named("screen")
                    .weighed(PANELS)
                    .unwrap_or(&(1920, 1080));
                let scale = *draw.named("scale").weighed(SCALES).unwrap_or(&100);
                let screen = (panel.0 * 100 / scale, panel.1 * 100 / scale);
                let pick = brand.weighed(&[(64, 0), (22, 1), (9, 2), (5, 3)]);
                let (browser, agent) = match pick {
                    Some(1) if other == "windows" => {
                        let agent = format!("{} Edg/{version}.0.0.0", chrome(platform));
                        (format!("Edge {version}"), agent)
                    }
                    Some(2) => (format!("Firefox {version}"), firefox(platform)),
                    Some(3) => {
                        let agent = format!("{} OPR/{}.0.0.0", chrome(platform), version - 16);
                        (format!("Opera {}", version - 16), agent)
                    }
                    _ => (format!("Chrome {version}"), chrome(platform)),
                };
                (screen, os, browser, agent)
            }
        };
        Seen {
            screen,
            os,
            browser,
            user_agent,
        }
    }

    /// The address that this person comes from on `line` at `at`.
    pub(super) fn address(self, line: Line, at: Timestamp) -> String {
        let draw = self.draw.named("address");
        let days = time::days_between(Timestamp::UNIX_EPOCH, at);
        match line {
            Line::Home => {
                let is_nightly = draw.named("nightly").chance(self.audience.nightly);
                let lease = if is_nightly { 1.0 } else { 75.0 };
                let phase = draw.named("phase").unit();
                let n = draw.of((days / lease + phase) as u64).below(HOMES);
                format!("198.{}.{}.{}", 18 + n / 65_536, (n / 256) % 256, n % 256)
            }
            Line::Work => format!("203.0.113.{}", 1 + draw.named("office").rank(OFFICES)),
            // A phone on the move comes out of another gateway every few hours.
            Line::Carrier => {
                let n = draw
                    .named("gateway")
                    .of((days * 8.0) as u64)
                    .below(GATEWAYS);
                format!("192.0.2.{}", 1 + n)
            }
        }
    }
}

/// What is told of a device, without its kind and zone.
struct Seen {
    screen: Screen,
    os: String,
    browser: String,
    user_agent: String,
}

/// One of the many models that few people have.
fn rare_model(rank: u64) -> (Screen, String) {
    let draw = Draw::seeded(rank).named("rare model");
    let width = *draw.named("width").weighed(WIDTHS).unwrap_or(&360);
    // From 16:9 of old phones to the longest of today's, most of them long.
    let longer = draw.named("ratio").unit().max(draw.named("again").unit());
    let height = (f64::from(width) * (1.78 + 0.47 * longer)) as u32;
    let n = 100 + draw.named("number").below(900);
    let model = match draw.named("brand").below(7) {
        0 | 1 => format!("SM-A{n}F"),
        2 => format!("CPH2{n}"),
        3 => format!("2{n}PN0DC"),
        4 => format!("RMX3{n}"),
        5 => format!("moto g{}", n % 90),
        _ => format!("V2{n}"),
    };
    ((width, height), model)
}

/// The release of something that an owner has at `at`, when one comes every `days` and `first` was
/// the newest in October 2026. Some are brought up to date at once and some weeks later.
fn release(owner: Draw, first: u64, days: f64, at: Timestamp) -> u64 {
    // 2026-10-01.
    let since = time::days_between(time::from_seconds(1_790_812_800), at);
    let lag = owner.named("lag").gamma(2, 0.8 * days);
    first.saturating_add_signed(libm::floor((since - lag) / days) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Business;
    use std::collections::{BTreeMap, BTreeSet};

    fn people(business: Business, n: u64) -> impl Iterator<Item = Person> {
        let zone = business.zone();
        (0..n).map(move |i| Person::new(Draw::seeded(3).of(i), business.audience(), zone))
    }

    fn now() -> Timestamp {
        time::from_seconds(1_791_500_000)
    }

    /// Shares of the commonest of `of` and how many there are of it once.
    fn spread(of: impl Iterator<Item = String>) -> (f64, usize, usize) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        of.for_each(|value| *counts.entry(value).or_default() += 1);
        let all: usize = counts.values().sum();
        let most = counts.values().max().copied().unwrap_or(0);
        let once = counts.values().filter(|n| **n == 1).count();
        (most as f64 / all as f64, counts.len(), once)
    }

    #[test]
    fn a_few_devices_are_everywhere_and_most_are_rare() {
        for business in [Business::Gym, Business::Shop, Business::Clinic] {
            let phones =
                || people(business, 2_000).map(|p| p.device(Gadget::Phone, App::Facebook, now()));
            let (most, kinds, once) =
                spread(phones().map(|d| format!("{} {} {}", d.screen, d.time_zone, d.os)));
            assert!((0.01..0.2).contains(&most), "{business:?} {most}");
            assert!(kinds > 150 && once > 80, "{business:?} {kinds} {once}");
            let (most, kinds, once) = spread(phones().map(|d| d.user_agent));
            assert!(most < 0.1, "{business:?} {most}");
            assert!(kinds > 300 && once > 150, "{business:?} {kinds} {once}");
            let computers = people(business, 2_000)
                .map(|p| p.device(Gadget::Computer, App::Own, now()).user_agent);
            let (most, kinds, _) = spread(computers);
            assert!((0.2..0.6).contains(&most), "{business:?} {most}");
            assert!(kinds > 15, "{business:?} {kinds}");
        }
    }

    #[test]
    fn a_device_stays_and_its_apps_do_not() {
        let later = time::add(now(), time::days(20));
        let (mut same, mut updated) = (0, 0);
        for person in people(Business::Clinic, 400) {
            let then = person.device(Gadget::Phone, App::Facebook, now());
            let today = person.device(Gadget::Phone, App::Facebook, later);
            assert_eq!(then, person.device(Gadget::Phone, App::Facebook, now()));
            assert_eq!(then.screen, today.screen);
            assert_eq!(then.time_zone, today.time_zone);
            same += usize::from(then.os == today.os);
            updated += usize::from(then.user_agent != today.user_agent);
            let soon = time::add(now(), time::minutes(5));
            let soon = person.device(Gadget::Phone, App::Facebook, soon);
            assert_eq!(then.screen, soon.screen);
        }
        assert!(same > 300, "{same}");
        assert!(updated > 350, "an app is updated every week: {updated}");
    }

    #[test]
    fn apps_name_themselves_as_metas_do() {
        let agents = |app| {
            people(Business::Gym, 200)
                .map(move |p| p.device(Gadget::Phone, app, now()))
                .collect::<Vec<_>>()
        };
        for device in agents(App::Facebook) {
            let says = &device.user_agent;
            assert!(says.contains("FBAV/"), "{says}");
            assert!(
                says.contains("[FBAN/FBIOS;") || says.contains("[FB_IAB/FB4A;"),
                "{says}"
            );
            assert!(device.browser.starts_with("Facebook "), "{device:?}");
        }
        for device in agents(App::Instagram) {
            assert!(device.user_agent.contains(" Instagram 4"), "{device:?}");
        }
        for device in agents(App::Own) {
            assert!(!device.user_agent.contains("FBAV"), "{device:?}");
            assert!(!device.user_agent.contains("Instagram"), "{device:?}");
        }
    }

    #[test]
    fn homes_keep_their_address_and_carriers_share_theirs() {
        let distinct = |line, at| {
            people(Business::Clinic, 1_000)
                .map(|p| p.address(line, at))
                .collect::<BTreeSet<_>>()
                .len()
        };
        assert!(distinct(Line::Home, now()) > 980);
        assert_eq!(distinct(Line::Carrier, now()), GATEWAYS as usize);
        assert!(distinct(Line::Work, now()) <= OFFICES as usize);
        let kept = |line, span| {
            let later = time::add(now(), span);
            people(Business::Clinic, 1_000)
                .filter(|p| p.address(line, now()) == p.address(line, later))
                .count()
        };
        let days = kept(Line::Home, time::days(3));
        assert!((650..800).contains(&days), "some change nightly: {days}");
        let weeks = kept(Line::Home, time::days(40));
        assert!((250..500).contains(&weeks), "all change at last: {weeks}");
        assert!(kept(Line::Carrier, time::hours(6)) < 60);
        assert_eq!(kept(Line::Work, time::days(40)), 1_000);
    }

    #[test]
    fn most_consent_and_some_do_not() {
        for business in [Business::Gym, Business::Shop, Business::Clinic] {
            let wanted = business.audience().consents;
            let some = people(business, 2_000).filter(|p| p.consents()).count();
            assert!((some as f64 / 2_000.0 - wanted).abs() < 0.04, "{some}");
            assert!((0.5..1.0).contains(&wanted), "{business:?}");
        }
    }
}
