//! Visits to landing pages: what a click or a form tells. A visit without ad parameters is kept
//! too, since its id is what a form carries into the CRM.

use super::ids::{AdId, AdSetId, CampaignId, VisitId};
use super::time::Timestamp;

/// A keyed hash (HMAC-SHA-256, the first 128 bits in hex) of something personal. The plain value is
/// never kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyedHash(pub String);

/// The parameters that an ad's link carries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdParameters {
    /// Facebook's click id; case-sensitive.
    pub fbclid: Option<String>,
    /// The ad, from `utm_content` or `ad_id`, when it is a plain number (an unreplaced `{{ad.id}}`
    /// is missing).
    pub ad: Option<AdId>,
    /// The ad set, from `utm_term` or `adset_id`, likewise.
    pub ad_set: Option<AdSetId>,
    /// The campaign, from `utm_campaign` or `campaign_id`, likewise.
    pub campaign: Option<CampaignId>,
    /// `utm_source`, as given.
    pub utm_source: Option<String>,
}

impl AdParameters {
    /// Reads the parameters of a landing page's URL, or of a bare query.
    ///
    /// An explicit `ad_id` goes before `utm_content` (and so on): it can mean nothing else. What is
    /// not a plain number of 1 to 20 digits is missing, an unreplaced `{{ad.id}}` above all. The
    /// first usable one of repeated parameters counts. Never fails: a broken URL tells nothing.
    #[must_use]
    pub fn from_url(url: &str) -> Self {
        let pairs = query_pairs(url);
        let first = |name: &'static str| {
            pairs
                .iter()
                .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
                .filter(|value| !value.is_empty() && value.len() <= MAX_VALUE_LEN)
        };
        let number = |explicit: &'static str, utm: &'static str| -> Option<String> {
            first(explicit)
                .chain(first(utm))
                .find(|value| is_vendor_number(value))
                .map(str::to_owned)
        };
        let text = |name: &'static str| {
            first(name)
                .find(|value| !value.contains("{{") && !value.chars().any(char::is_control))
                .map(str::to_owned)
        };
        Self {
            fbclid: text("fbclid"),
            ad: number("ad_id", "utm_content").and_then(|id| AdId::new(id).ok()),
            ad_set: number("adset_id", "utm_term").and_then(|id| AdSetId::new(id).ok()),
            campaign: number("campaign_id", "utm_campaign").and_then(|id| CampaignId::new(id).ok()),
            utm_source: text("utm_source"),
        }
    }

    /// Whether the visit came from an ad that can be named or from Facebook at all.
    #[must_use]
    pub const fn is_from_ad(&self) -> bool {
        self.fbclid.is_some() || self.ad.is_some()
    }
}

/// The longest parameter looked at, in bytes; fbclids stay far below.
const MAX_VALUE_LEN: usize = 1_024;

/// The fbclid in the pixel's cookie `_fbc`: `fb.{subdomain index}.{milliseconds}.{fbclid}`; some
/// libraries append one more part (Meta, Conversions API, parameters fbc and fbp).
#[must_use]
pub fn fbclid_of_cookie(cookie: &str) -> Option<String> {
    let mut parts = cookie.trim().split('.');
    let (version, _index, millis, fbclid) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_plain = fbclid.len() <= MAX_VALUE_LEN && is_plain_token(fbclid);
    (version == "fb" && is_vendor_number(millis) && is_plain).then(|| fbclid.to_owned())
}

/// Whether a text is one or more of A-Z, a-z, 0-9, `_` and `-`, and so needs no escaping anywhere.
#[must_use]
pub fn is_plain_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Whether a text can be an id of Meta: 1 to 20 digits and nothing else.
#[must_use]
pub fn is_vendor_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// The decoded parameters of a URL's query, in order. `+` is a space, a broken `%` stays as it is,
/// bytes that are not UTF-8 are replaced.
#[must_use]
pub fn query_pairs(url: &str) -> Vec<(String, String)> {
    let without_fragment = url.split('#').next().unwrap_or("");
    let query = match without_fragment.split_once('?') {
        Some((_, query)) => query,
        None if without_fragment.contains('=') && !without_fragment.contains("://") => {
            without_fragment
        }
        None => return Vec::new(),
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decoded(key), percent_decoded(value))
        })
        .collect()
}

fn percent_decoded(text: &str) -> String {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = (hex(bytes.get(at + 1)), hex(bytes.get(at + 2)));
        match (byte, pair) {
            (b'%', (Some(high), Some(low))) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            (b'+', _) => {
                decoded.push(b' ');
                at += 1;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// What a page's script tells about a device, before it is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceFacts {
    /// The screen in pixels, such as `390x844`, in either orientation.
    pub screen: Option<String>,
    /// The IANA name of its time zone.
    pub time_zone: Option<String>,
    /// Its offset from UTC in minutes.
    pub utc_offset_minutes: Option<i32>,
    /// `mobile`, `tablet`, `desktop`.
    pub device_type: Option<String>,
    /// The operating system; of its version the main number counts.
    pub os: Option<String>,
    /// The browser; its version changes within days and does not count.
    pub browser: Option<String>,
}

impl DeviceFacts {
    /// The text that is hashed into a fingerprint: the same for the same device in both
    /// orientations and after a minor update. `None` when too little is known to tell devices
    /// apart: it takes the screen, the zone or the offset, and the system or the browser.
    #[must_use]
    pub fn canonical(&self) -> Option<String> {
        let screen = self.screen.as_deref().and_then(canonical_screen)?;
        let plain = |text: &Option<String>| {
            text.as_deref()
                .map(|t| t.trim().to_lowercase())
                .filter(|t| !t.is_empty())
                .unwrap_or_default()
        };
        let zone = plain(&self.time_zone);
        let offset = self
            .utc_offset_minutes
            .filter(|m| m.abs() <= 24 * 60)
            .map_or_else(String::new, |m| m.to_string());
        let os = main_version(&plain(&self.os));
        let browser = family(&plain(&self.browser));
        if (zone.is_empty() && offset.is_empty()) || (os.is_empty() && browser.is_empty()) {
            return None;
        }
        let fields = [
            screen,
            zone,
            offset,
            family(&plain(&self.device_type)),
            os,
            browser,
        ];
        // Length before text: no two lists of fields give the same line.
        let mut line = String::from("device1");
        for field in fields {
            line.push_str(&format!("|{}:{field}", field.len()));
        }
        Some(line)
    }
}

/// `844 x 390` → `390x844`; a third number (colour depth) is ignored.
fn canonical_screen(text: &str) -> Option<String> {
    let mut sides = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.parse::<u32>()
                .ok()
                .filter(|n| (1..=100_000).contains(n))
        });
    let (a, b) = (sides.next()??, sides.next()??);
    Some(format!("{}x{}", a.min(b), a.max(b)))
}

/// `ios 17.5.1` → `ios 17`.
fn main_version(text: &str) -> String {
    text.split('.').next().unwrap_or("").trim().to_owned()
}

/// `chrome 126.0` → `chrome`.
fn family(text: &str) -> String {
    text.split(|c: char| c.is_ascii_digit() || c == '/')
        .next()
        .unwrap_or("")
        .trim()
        .to_owned()
}

/// One visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Its id, given by the page's script or by us.
    pub id: VisitId,
    /// When it was made.
    pub at: Timestamp,
    /// What the ad's link told.
    pub ad: AdParameters,
    /// Whether the visitor consented to being recognised; without it the hashes below are absent.
    pub has_consent: bool,
    /// The device: screen, time zone and offset, device type, OS, browser.
    pub fingerprint: Option<KeyedHash>,
    /// The IP address.
    pub ip: Option<KeyedHash>,
    /// The user agent.
    pub user_agent: Option<KeyedHash>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(url: &str, ad: Option<&str>, ad_set: Option<&str>, fbclid: Option<&str>) {
        let read = AdParameters::from_url(url);
        assert_eq!(read.ad.as_ref().map(AdId::as_str), ad, "ad of {url}");
        assert_eq!(
            read.ad_set.as_ref().map(AdSetId::as_str),
            ad_set,
            "ad set of {url}"
        );
        assert_eq!(read.fbclid.as_deref(), fbclid, "fbclid of {url}");
    }

    #[test]
    fn ad_parameters_are_read_from_a_landing_url() {
        check(
            "https://x.test/p?utm_content=123&utm_term=45",
            Some("123"),
            Some("45"),
            None,
        );
        check(
            "https://x.test/?ad_id=9&utm_content=8",
            Some("9"),
            None,
            None,
        );
        check(
            "https://x.test/?utm_content=8&ad_id=%7B%7Bad.id%7D%7D",
            Some("8"),
            None,
            None,
        );
        check(
            "https://x.test/?utm_content={{ad.id}}&utm_term={{adset.id}}",
            None,
            None,
            None,
        );
        check(
            "https://x.test/?utm_content=%7B%7Bad.id%7D%7D",
            None,
            None,
            None,
        );
        check("https://x.test/?utm_content=summer-sale", None, None, None);
        check("https://x.test/?utm_content=12a", None, None, None);
        check(
            "https://x.test/?utm_content=123456789012345678901",
            None,
            None,
            None,
        );
        check(
            "https://x.test/?utm_content=&utm_content=7",
            Some("7"),
            None,
            None,
        );
        check("https://x.test/?utm_content=%37%38", Some("78"), None, None);
        check("https://x.test/?UTM_Content=7", Some("7"), None, None);
        check(
            "https://x.test/?fbclid=IwAR0_aB%2Dc&x",
            None,
            None,
            Some("IwAR0_aB-c"),
        );
        check(
            "https://x.test/?fbclid=ABC#ad_id=5",
            None,
            None,
            Some("ABC"),
        );
        check("https://x.test/page", None, None, None);
        check("", None, None, None);
        check("utm_content=5&fbclid=a", Some("5"), None, Some("a"));
        check("https://x.test/a=5", None, None, None);
        check("https://x.test/?fbclid=%", None, None, Some("%"));
        check("https://x.test/?fbclid=a%00b", None, None, None);
        check("https://x.test/?fbclid=%zz1", None, None, Some("%zz1"));
    }

    #[test]
    fn the_pixels_cookie_has_the_fbclid() {
        let check = |cookie: &str, expected: Option<&str>| {
            assert_eq!(fbclid_of_cookie(cookie).as_deref(), expected, "{cookie}");
        };
        check("fb.1.1554763741205.AbCdEf_g-H", Some("AbCdEf_g-H"));
        check("fb.2.1554763741205.AbC.extra", Some("AbC"));
        for bad in [
            "",
            "fb.1.1554763741205",
            "fb.1.1554763741205.",
            "AbC",
            "fb.1.x.AbC",
        ] {
            check(bad, None);
        }
        check("fb.1.1554763741205.a b", None);
    }

    #[test]
    fn the_case_of_an_fbclid_is_kept() {
        let a = AdParameters::from_url("https://x.test/?fbclid=AbC");
        let b = AdParameters::from_url("https://x.test/?fbclid=aBc");
        assert_ne!(a.fbclid, b.fbclid);
    }

    fn phone() -> DeviceFacts {
        DeviceFacts {
            screen: Some("390x844".into()),
            time_zone: Some("Europe/Berlin".into()),
            utc_offset_minutes: Some(60),
            device_type: Some("mobile".into()),
            os: Some("iOS 17.5".into()),
            browser: Some("Safari 17.5".into()),
        }
    }

    #[test]
    fn a_device_keeps_its_text_when_turned_or_updated() {
        let turned = DeviceFacts {
            screen: Some("844 x 390 x 24".into()),
            os: Some("ios 17.6.1".into()),
            browser: Some(" Safari/17.6".into()),
            ..phone()
        };
        assert_eq!(phone().canonical(), turned.canonical());
        assert!(phone().canonical().is_some());
    }

    #[test]
    fn devices_that_differ_have_different_texts() {
        for other in [
            DeviceFacts {
                screen: Some("414x896".into()),
                ..phone()
            },
            DeviceFacts {
                time_zone: Some("Europe/Paris".into()),
                ..phone()
            },
            DeviceFacts {
                utc_offset_minutes: Some(-60),
                ..phone()
            },
            DeviceFacts {
                utc_offset_minutes: None,
                ..phone()
            },
            DeviceFacts {
                device_type: Some("tablet".into()),
                ..phone()
            },
            DeviceFacts {
                os: Some("iOS 18".into()),
                ..phone()
            },
            DeviceFacts {
                browser: Some("Chrome".into()),
                ..phone()
            },
        ] {
            assert_ne!(phone().canonical(), other.canonical(), "{other:?}");
        }
    }

    #[test]
    fn too_little_is_no_fingerprint() {
        for poor in [
            DeviceFacts::default(),
            DeviceFacts {
                screen: None,
                ..phone()
            },
            DeviceFacts {
                screen: Some("wide".into()),
                ..phone()
            },
            DeviceFacts {
                screen: Some("0x0".into()),
                ..phone()
            },
            DeviceFacts {
                time_zone: None,
                utc_offset_minutes: None,
                ..phone()
            },
            DeviceFacts {
                os: None,
                browser: Some(" ".into()),
                ..phone()
            },
        ] {
            assert_eq!(poor.canonical(), None, "{poor:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_a_url_never_panics(url in "\\PC{0,80}") {
            let _ = AdParameters::from_url(&url);
        }

        #[test]
        fn what_was_encoded_is_decoded(text in "\\PC{0,30}") {
            let encoded: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
            let pairs = query_pairs(&format!("https://x.test/?k={encoded}"));
            prop_assert_eq!(pairs, vec![("k".to_owned(), text)]);
        }
    }
}
