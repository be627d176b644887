//! What the winners among past ads share, and what the losers share: for whoever makes the next ad.

use std::collections::{BTreeMap, BTreeSet};

/// Ads that must show a thing before it is told.
const SEEN_MIN: u64 = 3;
/// Standard deviations on each side of the interval: 90 %.
const Z: f64 = 1.645;
/// Letters of a word that is worth telling.
const LETTERS_MIN: usize = 3;
/// Words of a hook.
const HOOK_WORDS: usize = 4;

/// A past ad, as a brief sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PastCreative {
    /// Its text: headline first, each part a line.
    pub text: String,
    /// `image`, `video` and so on.
    pub format: String,
    /// What its button says.
    pub call_to_action: String,
    /// What its landing page is about.
    pub theme: String,
    /// Whether it won.
    pub is_winner: bool,
}

/// What kind of thing ads share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trait {
    /// How they begin.
    Hook,
    /// A word or a pair of words.
    Term,
    /// The button.
    CallToAction,
    /// The format.
    Format,
    /// The landing page.
    Theme,
}

impl Trait {
    /// The name in tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hook => "hook",
            Self::Term => "term",
            Self::CallToAction => "call to action",
            Self::Format => "format",
            Self::Theme => "landing page",
        }
    }
}

/// Something that several ads share.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    /// Its kind.
    pub kind: Trait,
    /// What it is.
    pub what: String,
    /// Winners that have it.
    pub winners: u64,
    /// Losers that have it.
    pub losers: u64,
    /// The share of winners among the ads that have it.
    pub share: f64,
    /// Where that share lies with 90 % confidence.
    pub interval: (f64, f64),
    /// Whether the whole interval is on its side of the share of winners among all.
    pub is_sure: bool,
}

/// What past ads share.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Brief {
    /// Ads looked at.
    pub ads: u64,
    /// Winners among them.
    pub winners: u64,
    /// What tells winners, the surest first.
    pub of_winners: Vec<Shared>,
    /// What tells losers, the surest first.
    pub of_losers: Vec<Shared>,
}

/// Finds what winners and losers among these ads share, `limit` things of each at most. Many things
/// are compared, so some are sure by chance: a brief is a place to begin, not a proof.
#[must_use]
pub fn brief(ads: &[PastCreative], limit: usize) -> Brief {
    let total = ads.len() as u64;
    let winners = ads.iter().filter(|ad| ad.is_winner).count() as u64;
    let mut counts: BTreeMap<(Trait, String), (u64, u64)> = BTreeMap::new();
    for ad in ads {
        for thing in things(ad) {
            let count = counts.entry(thing).or_default();
            if ad.is_winner {
                count.0 += 1;
            } else {
                count.1 += 1;
            }
        }
    }
    let base = winners as f64 / (total as f64).max(1.0);
    let mut of_winners = Vec::new();
    let mut of_losers = Vec::new();
    for ((kind, what), (won, lost)) in counts {
        // What nearly every ad has tells nothing.
        if won + lost < SEEN_MIN || won + lost == total {
            continue;
        }
        let share = won as f64 / (won + lost) as f64;
        let interval = wilson(won, won + lost);
        let shared = |is_sure| Shared {
            kind,
            what: what.clone(),
            winners: won,
            losers: lost,
            share,
            interval,
            is_sure,
        };
        if share > base {
            of_winners.push(shared(interval.0 > base));
        } else if share < base {
            of_losers.push(shared(interval.1 < base));
        }
    }
    of_winners.sort_by(|a, b| b.interval.0.total_cmp(&a.interval.0));
    of_losers.sort_by(|a, b| a.interval.1.total_cmp(&b.interval.1));
    Brief {
        ads: total,
        winners,
        of_winners: distinct(of_winners, limit),
        of_losers: distinct(of_losers, limit),
    }
}

/// Leaves out words that only repeat a longer thing told before, with the same counts.
fn distinct(all: Vec<Shared>, limit: usize) -> Vec<Shared> {
    let mut told: Vec<Shared> = Vec::new();
    for shared in all {
        let repeats = |other: &Shared| {
            (other.winners, other.losers) == (shared.winners, shared.losers)
                && (other.what.contains(&shared.what) || shared.what.contains(&other.what))
        };
        if let Some(other) = told.iter_mut().find(|other| repeats(other)) {
            if other.what.len() < shared.what.len() && other.kind == shared.kind {
                *other = shared;
            }
        } else if told.len() < limit {
            told.push(shared);
        } else {
            break;
        }
    }
    told
}

/// Each thing once, however often the ad says it.
fn things(ad: &PastCreative) -> BTreeSet<(Trait, String)> {
    let mut things = BTreeSet::new();
    for (kind, what) in [
        (Trait::CallToAction, &ad.call_to_action),
        (Trait::Format, &ad.format),
        (Trait::Theme, &ad.theme),
    ] {
        let what = what.replace('_', " ").trim().to_lowercase();
        if !what.is_empty() {
            things.insert((kind, what));
        }
    }
    let lower = ad.text.to_lowercase();
    for line in lower.lines() {
        let words: Vec<&str> = words(line).collect();
        for (i, word) in words.iter().enumerate() {
            if is_telling(word) {
                things.insert((Trait::Term, (*word).to_owned()));
            }
            if let Some(next) = words.get(i + 1)
                && (is_telling(word) || is_telling(next))
            {
                things.insert((Trait::Term, format!("{word} {next}")));
            }
        }
    }
    let first: Vec<&str> = lower
        .lines()
        .next()
        .map(words)
        .into_iter()
        .flatten()
        .collect();
    if first.len() >= 2 {
        let hook = first.get(..HOOK_WORDS).unwrap_or(&first);
        things.insert((Trait::Hook, hook.join(" ")));
    }
    things
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '%')
        .filter(|word| !word.is_empty())
}

/// Words of more than two letters that hold sentences together, in English, German, French and
/// Spanish. They differ between winners and losers by chance alone. "You" and its like are not among
/// them: whom an ad speaks to is worth telling.
const BETWEEN_WORDS: &[&str] = &[
    "and", "are", "but", "for", "from", "has", "have", "into", "its", "not", "our", "out", "than",
    "that", "the", "their", "them", "then", "there", "these", "they", "this", "was", "were",
    "which", "while", "who", "will", "with", "als", "auch", "auf", "aus", "bei", "das", "dass",
    "dem", "den", "der", "des", "die", "ein", "eine", "einem", "einen", "einer", "für", "ist",
    "mit", "nach", "nicht", "oder", "sich", "sind", "und", "von", "wie", "wird", "zum", "zur",
    "aux", "avec", "ces", "cette", "dans", "est", "les", "leur", "mais", "par", "pas", "pour",
    "que", "qui", "sans", "ses", "son", "sur", "une", "con", "como", "del", "las", "los", "más",
    "para", "pero", "por", "sin", "sus", "una",
];

fn is_telling(word: &str) -> bool {
    let is_long = word.chars().count() >= LETTERS_MIN || word.chars().all(|c| c.is_ascii_digit());
    is_long && !BETWEEN_WORDS.contains(&word)
}

/// Wilson's interval of a share.
fn wilson(hits: u64, of: u64) -> (f64, f64) {
    let (n, p) = (of as f64, hits as f64 / of as f64);
    let middle = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ad(text: &str, format: &str, is_winner: bool) -> PastCreative {
        PastCreative {
            text: text.to_owned(),
            format: format.to_owned(),
            call_to_action: "SIGN_UP".to_owned(),
            theme: String::new(),
            is_winner,
        }
    }

    fn account() -> Vec<PastCreative> {
        let mut ads = Vec::new();
        for i in 0..12 {
            ads.push(ad(
                &format!("Free trial week {i}\nNo contract."),
                "video",
                true,
            ));
            ads.push(ad(
                &format!("Last chance, offer {i}\nNo contract."),
                "image",
                i == 0,
            ));
        }
        ads
    }

    fn named(list: &[Shared], what: &str) -> Option<Shared> {
        list.iter().find(|shared| shared.what == what).cloned()
    }

    #[test]
    fn what_winners_and_losers_share_is_told_with_counts() {
        let brief = brief(&account(), 20);
        assert_eq!((brief.ads, brief.winners), (24, 13));
        let video = named(&brief.of_winners, "video").unwrap();
        assert_eq!((video.winners, video.losers, video.is_sure), (12, 0, true));
        assert_eq!(video.kind, Trait::Format);
        assert!(video.interval.0 > 0.8 && video.interval.1 > 0.999);
        assert!(named(&brief.of_winners, "free trial").is_some());
        let image = named(&brief.of_losers, "image").unwrap();
        assert_eq!((image.winners, image.losers), (1, 11));
        assert!(named(&brief.of_losers, "last chance").is_some());
    }

    #[test]
    fn what_all_share_tells_nothing() {
        let brief = brief(&account(), 50);
        for told in brief.of_winners.iter().chain(&brief.of_losers) {
            assert!(!told.what.contains("contract"), "{told:?}");
            assert_ne!(told.what, "sign up");
        }
    }

    #[test]
    fn a_word_within_a_told_pair_is_not_told_again() {
        let brief = brief(&account(), 20);
        let about = |part: &str| {
            let terms = brief.of_winners.iter().filter(|s| s.kind == Trait::Term);
            terms
                .filter(|s| s.what.split(' ').any(|word| word == part))
                .count()
        };
        assert_eq!(about("free"), 1);
    }

    #[test]
    fn few_or_no_ads_make_an_empty_brief() {
        assert_eq!(brief(&[], 5), Brief::default());
        let one = brief(&[ad("Free trial", "video", true)], 5);
        assert_eq!((one.ads, one.of_winners.len()), (1, 0));
    }

    #[test]
    fn words_that_hold_sentences_together_tell_nothing() {
        let ad = |text: &str, is_winner| PastCreative {
            text: text.to_owned(),
            is_winner,
            ..PastCreative::default()
        };
        let mut ads = vec![ad("one two three four\nthe coach and the plan", true); 4];
        ads.extend(vec![ad("cheap plan", false); 4]);
        let found = brief(&ads, 20);
        let terms: Vec<&str> = found
            .of_winners
            .iter()
            .filter(|shared| shared.kind == Trait::Term)
            .map(|shared| shared.what.as_str())
            .collect();
        assert!(terms.iter().any(|term| term.contains("coach")), "{terms:?}");
        assert!(
            !terms.contains(&"the") && !terms.contains(&"and"),
            "{terms:?}"
        );
        assert!(!terms.contains(&"and the"), "{terms:?}");
    }

    #[test]
    fn any_script_is_read() {
        let mut ads = Vec::new();
        for i in 0..5 {
            ads.push(ad("נסה בחינם 💪 שבוע", "video", true));
            ads.push(ad(&format!("💸💸 {i}"), "video", false));
        }
        let brief = brief(&ads, 5);
        assert!(
            named(&brief.of_winners, "נסה בחינם שבוע").is_some(),
            "{brief:?}"
        );
    }

    #[test]
    fn wilsons_interval_is_the_known_one() {
        let (low, high) = wilson(8, 10);
        assert!(
            (low - 0.5404).abs() < 1e-3 && (high - 0.9315).abs() < 1e-3,
            "{low} {high}"
        );
        assert_eq!(wilson(0, 5).0, 0.0);
    }
}
