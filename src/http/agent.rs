//! What a browser's user agent tells of its device, for pages whose script does not say it.

/// The device's kind, system and browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agent<'a> {
    pub(super) device_type: &'static str,
    pub(super) os: Option<(&'static str, &'a str)>,
    pub(super) browser: Option<&'static str>,
}

/// Words in a user agent that no visitor's browser has, in small letters.
const BOTS: &[&str] = &[
    "bot",
    "crawler",
    "spider",
    "slurp",
    "facebookexternalhit",
    "facebookcatalog",
    "meta-externalagent",
    "headlesschrome",
    "lighthouse",
    "phantomjs",
    "curl/",
    "wget/",
    "python-",
    "go-http-client",
    "okhttp",
    "monitor",
    "preview",
];

/// Systems by a mark of theirs, the more particular first; iOS and Android have versions that tell
/// devices apart.
const SYSTEMS: &[(&str, &str)] = &[
    ("iPhone OS ", "ios"),
    ("CPU OS ", "ios"),
    ("Android ", "android"),
    ("Windows NT ", "windows"),
    ("Mac OS X ", "macos"),
    ("CrOS ", "chromeos"),
    ("Linux", "linux"),
];

/// Browsers by a mark of theirs: almost each also has the marks of those below it.
const BROWSERS: &[(&str, &str)] = &[
    ("FBAN/", "facebook"),
    ("FBAV/", "facebook"),
    ("Instagram ", "instagram"),
    ("Edg", "edge"),
    ("OPR/", "opera"),
    ("SamsungBrowser/", "samsung"),
    ("FxiOS/", "firefox"),
    ("Firefox/", "firefox"),
    ("CriOS/", "chrome"),
    ("Chrome/", "chrome"),
    ("Safari/", "safari"),
];

/// Whether it is a machine by its own word. One that claims to be a browser is not found out here.
pub(super) fn is_bot(user_agent: &str) -> bool {
    // The one maker of phones whose name ends like a robot's.
    let lower = user_agent.to_lowercase().replace("cubot", "");
    BOTS.iter().any(|word| lower.contains(word))
}

/// Reads a user agent.
pub(super) fn read(user_agent: &str) -> Agent<'_> {
    let has = |mark: &str| user_agent.contains(mark);
    let os = SYSTEMS.iter().find_map(|(mark, name)| {
        let (_, rest) = user_agent.split_once(mark)?;
        let end = rest.find(|c: char| !c.is_ascii_digit());
        Some((*name, rest.get(..end.unwrap_or(rest.len())).unwrap_or("")))
    });
    let browser = BROWSERS.iter().find(|(mark, _)| has(mark));
    let is_tablet = has("iPad") || has("Tablet") || (has("Android") && !has("Mobile"));
    Agent {
        device_type: match () {
            () if is_tablet => "tablet",
            () if has("Mobile") || has("iPhone") => "mobile",
            () => "desktop",
        },
        os,
        browser: browser.map(|(_, name)| *name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_apart() {
        let check = |user_agent: &str, expected: &str| {
            let Agent {
                device_type,
                os,
                browser,
            } = read(user_agent);
            let os = os.map(|(name, version)| format!("{name} {version}"));
            let found = [Some(device_type), os.as_deref(), browser].map(Option::unwrap_or_default);
            assert_eq!(found.join("|"), expected, "{user_agent}");
        };
        check(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 \
             (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "mobile|ios 17|safari",
        );
        check(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 \
             (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/470.0.0.41.107;FBDV/iPhone14,5]",
            "mobile|ios 17|facebook",
        );
        check(
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/126.0.0.0 Mobile Safari/537.36",
            "mobile|android 14|chrome",
        );
        check(
            "Mozilla/5.0 (Linux; Android 13; SM-X200) AppleWebKit/537.36 (KHTML, like Gecko) \
             SamsungBrowser/25.0 Chrome/121.0.0.0 Safari/537.36",
            "tablet|android 13|samsung",
        );
        check(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
            "desktop|windows 10|edge",
        );
        check(
            "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
            "desktop|linux |firefox",
        );
        check("", "desktop||");
        check("Android ", "tablet|android |");
    }

    #[test]
    fn a_machine_that_says_so_is_one() {
        for (user_agent, expected) in [
            ("Googlebot/2.1", true),
            ("Mozilla/5.0 (compatible; AhrefsBot/7.0)", true),
            ("facebookexternalhit/1.1", true),
            (
                "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/126.0.0.0",
                true,
            ),
            ("curl/8.5.0", true),
            ("Mozilla/5.0 (iPhone)", false),
            ("Mozilla/5.0 (Linux; Android 9; CUBOT_X19)", false),
            ("", false),
        ] {
            assert_eq!(is_bot(user_agent), expected, "{user_agent}");
        }
    }
}
