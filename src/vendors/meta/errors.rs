//! What Meta's error codes mean for us: the table as data, and the error and the cool-down that
//! follow from a row; pure. Code and subcode decide, since texts change; `is_transient` decides
//! nothing that the table knows, since Meta sets it to false on quota errors.
//! Source: Meta, "Error reference" (Marketing API) and "Rate limiting".

use serde_json::Value;

use super::limits::{UseCase, score};
use super::usage::{AccessTier, Usage};
use crate::domain::time::{self, SignedDuration};
use crate::vendors::{Refusal, VendorError};

/// The vendor's name in errors.
pub(crate) const META: &str = "Meta";

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Passing: try again later.
    Temporary,
    /// Ask for less.
    TooMuch,
    /// The whole app is throttled.
    AppLimit,
    /// The account's score is used up.
    AccountLimit,
    /// A limit by the hour is used up; a header says for how many minutes.
    UseCaseLimit,
    /// Too many writes within a second.
    BurstLimit,
    /// This object alone is locked, for an hour or for the day.
    ObjectLocked,
    /// The account, or we, were flagged: stop, a person must look.
    Flagged,
    /// As [`Class::Flagged`], and further calls would make it worse.
    Abuse,
    /// The token, or a right of it, is missing.
    Token,
    /// Not there, or not visible.
    NotFound,
    /// This value will not do.
    BadValue,
    /// The API version is dead.
    DeadVersion,
    /// A report that is not ready yet.
    NotReady,
    /// Any other refusal.
    Permanent,
}

/// Which errors a row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    /// This code with this subcode.
    Pair(i64, i64),
    /// This code with this part in its message: the one case where the number says too little.
    Text(i64, &'static str),
    /// This number as a code or as a subcode: Meta gives it as either.
    Either(i64),
    /// This code, whatever its subcode.
    Code(i64),
    /// This code without a subcode.
    Bare(i64),
    /// Codes from one to another.
    Codes(i64, i64),
}

/// The table; the first row that fits decides.
const TABLE: &[(On, Class)] = &[
    (On::Text(1, "reduce the amount of data"), Class::TooMuch),
    (On::Pair(1, 99), Class::Temporary),
    (On::Pair(2, 1_504_038), Class::TooMuch),
    (On::Pair(100, 1_504_018), Class::TooMuch),
    (On::Pair(100, 1_487_534), Class::TooMuch),
    (On::Pair(-3, 1_504_045), Class::TooMuch),
    (On::Pair(2, 1_504_043), Class::Temporary),
    (On::Pair(-2, 2_490_547), Class::Temporary),
    (On::Pair(2, 1_504_041), Class::Permanent),
    (On::Pair(2, 1_504_042), Class::Permanent),
    (On::Pair(100, 3_191_001), Class::Permanent),
    (On::Pair(2_601, 1_815_107), Class::NotReady),
    (On::Pair(17, 1_885_172), Class::ObjectLocked), // a spend cap, ten a day
    (On::Pair(613, 1_487_742), Class::AccountLimit),
    (On::Pair(613, 1_487_632), Class::ObjectLocked),
    (On::Pair(613, 1_487_225), Class::ObjectLocked),
    (On::Pair(613, 5_044_001), Class::BurstLimit),
    (On::Pair(613, 1_996), Class::Abuse),
    (On::Bare(613), Class::Abuse),
    (On::Pair(100, 33), Class::NotFound),
    (On::Either(368), Class::Flagged),
    (On::Either(1_404_078), Class::Flagged),
    (On::Either(2_859_015), Class::Flagged),
    (On::Either(1_404_163), Class::Flagged),
    (On::Either(3_910_001), Class::Flagged),
    (On::Either(1_885_272), Class::BadValue),
    (On::Either(1_885_650), Class::BadValue),
    (On::Either(1_487_901), Class::BadValue),
    (On::Either(2_238_055), Class::BadValue),
    (On::Either(2_446_307), Class::BadValue),
    (On::Either(1_885_621), Class::BadValue),
    (On::Code(2_635), Class::DeadVersion),
    (On::Code(4), Class::AppLimit),
    (On::Code(341), Class::AppLimit),
    (On::Code(17), Class::AccountLimit),
    (On::Code(613), Class::AccountLimit),
    (On::Code(32), Class::UseCaseLimit),
    (On::Codes(80_000, 80_014), Class::UseCaseLimit),
    (On::Code(102), Class::Token),
    (On::Code(104), Class::Token),
    (On::Code(190), Class::Token),
    (On::Code(3), Class::Token),
    (On::Code(10), Class::Token),
    (On::Codes(200, 299), Class::Token), // 294 among them
    (On::Code(1), Class::Temporary),
    (On::Code(2), Class::Temporary),
    (On::Code(5_000), Class::Temporary),
    (On::Code(100), Class::Permanent),
    (On::Code(2_615), Class::Permanent),
    (On::Either(1_487_007), Class::Permanent),
    (On::Either(1_487_033), Class::Permanent),
    (On::Either(1_487_056), Class::Permanent),
    (On::Either(1_487_566), Class::Permanent),
    (On::Either(1_885_088), Class::Permanent),
];

/// Meta's error, as its envelope says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// The code.
    pub code: Option<i64>,
    /// The subcode.
    pub subcode: Option<i64>,
    /// What it says, for developers.
    pub message: String,
    /// What it says, for users; often the clearer one.
    pub user_message: String,
    /// Whether Meta calls it passing.
    pub is_transient: bool,
    /// The call's number in Meta's logs.
    pub trace: Option<String>,
}

impl Envelope {
    /// Reads `{"error": {…}}`; `None` when it is not there.
    #[must_use]
    pub fn read(body: &Value) -> Option<Self> {
        let error = body.get("error")?;
        let number = |key: &str| match error.get(key)? {
            Value::Number(n) => n.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let text = |key: &str| {
            let text = error.get(key).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        // An OAuth error may be a bare text.
        let message = error
            .as_str()
            .map_or_else(|| text("message"), ToOwned::to_owned);
        let title = text("error_user_title");
        let user = text("error_user_msg");
        Some(Self {
            code: number("code"),
            subcode: number("error_subcode").filter(|n| *n != 0),
            message,
            user_message: if title.is_empty() || user.is_empty() {
                title + &user
            } else {
                format!("{title}: {user}")
            },
            is_transient: error.get("is_transient").and_then(Value::as_bool) == Some(true),
            trace: error
                .get("fbtrace_id")
                .and_then(Value::as_str)
                .map(ToOwned::to_owned),
        })
    }

    /// Code, subcode and message in one line, not yet cleaned of secrets.
    #[must_use]
    pub fn describe(&self) -> String {
        let code = self
            .code
            .map_or_else(|| "no code".to_owned(), |n| format!("code {n}"));
        let subcode = self.subcode.map_or_else(String::new, |n| format!("/{n}"));
        let user = if self.user_message.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.user_message)
        };
        format!("{code}{subcode}: {}{user}", self.message)
    }
}

/// What to do about an error that came with this HTTP status.
#[must_use]
pub fn classify(envelope: &Envelope, status: u16) -> Class {
    let fits = |on: &On| match *on {
        On::Pair(code, sub) => envelope.code == Some(code) && envelope.subcode == Some(sub),
        On::Text(code, part) => {
            envelope.code == Some(code) && envelope.message.to_lowercase().contains(part)
        }
        On::Either(n) => envelope.code == Some(n) || envelope.subcode == Some(n),
        On::Code(code) => envelope.code == Some(code),
        On::Bare(code) => envelope.code == Some(code) && envelope.subcode.is_none(),
        On::Codes(from, to) => envelope.code.is_some_and(|n| (from..=to).contains(&n)),
    };
    match TABLE.iter().find(|(on, _)| fits(on)) {
        Some((_, class)) => *class,
        None if status == 401 => Class::Token,
        None if status == 429 => Class::AccountLimit,
        None if status >= 500 || envelope.is_transient => Class::Temporary,
        None => Class::Permanent,
    }
}

/// Whose calls must rest, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// The whole app's.
    App(SignedDuration),
    /// The account's.
    Account(SignedDuration),
    /// The account's calls of one use case.
    UseCase(UseCase, SignedDuration),
}

impl Rest {
    /// For how long.
    #[must_use]
    pub const fn span(self) -> SignedDuration {
        match self {
            Self::App(span) | Self::Account(span) | Self::UseCase(_, span) => span,
        }
    }
}

/// The use case that a limit by the hour was hit for. Throttles of pages, Instagram, messages and
/// catalogues stop what was called when they came.
#[must_use]
pub fn use_case(code: Option<i64>, asked: UseCase) -> UseCase {
    match code {
        Some(80_000) => UseCase::Insights,
        Some(80_004) => UseCase::Management,
        Some(80_005) => UseCase::Leads,
        _ => asked,
    }
}

/// The rest that a class asks for, of an error with this code that a call of the use case `asked`
/// was answered with. Meta sends no `Retry-After`, so the headers of the same answer say how long,
/// else the published block (300 s, 60 s with full access).
#[must_use]
pub fn rest(
    class: Class,
    code: Option<i64>,
    asked: UseCase,
    usage: &Usage,
    tier: AccessTier,
) -> Option<Rest> {
    let block = score(tier).block;
    match class {
        // Insights' limit of the app is by the hour; five minutes let some of it fall out.
        Class::AppLimit => Some(Rest::App(time::seconds(300))),
        Class::AccountLimit => {
            let reset = usage.account_reset.unwrap_or(block);
            Some(Rest::Account(reset.max(block)))
        }
        Class::UseCaseLimit => {
            let case = use_case(code, asked);
            let regain = usage.regain(case).or(usage.regain_any);
            let span = regain.unwrap_or(time::seconds(300)).max(block);
            Some(Rest::UseCase(case, span))
        }
        Class::BurstLimit => Some(Rest::Account(time::seconds(5))),
        Class::Abuse => Some(Rest::Account(time::hours(1))),
        Class::Temporary
        | Class::TooMuch
        | Class::ObjectLocked
        | Class::Flagged
        | Class::Token
        | Class::NotFound
        | Class::BadValue
        | Class::DeadVersion
        | Class::NotReady
        | Class::Permanent => None,
    }
}

/// The error of a class. `detail` is fit to be logged. A passing fault of a write leaves its
/// effect unknown: Meta says "try again" also after it has done the work.
#[must_use]
pub fn error(
    class: Class,
    detail: String,
    request: Option<String>,
    rest: Option<Rest>,
    is_write: bool,
) -> VendorError {
    let vendor = META;
    let refused = |kind, detail| VendorError::Refused {
        vendor,
        detail,
        kind,
        request,
    };
    match class {
        Class::Temporary if is_write => VendorError::Unknown {
            vendor,
            detail,
            cause: None,
        },
        Class::Temporary | Class::NotReady => VendorError::Retry {
            vendor,
            detail,
            after: None,
            cause: None,
        },
        Class::TooMuch => VendorError::TooMuch { vendor, detail },
        Class::AppLimit | Class::AccountLimit | Class::UseCaseLimit | Class::BurstLimit => {
            VendorError::Throttled {
                vendor,
                detail,
                wait: rest.map_or(time::minutes(5), Rest::span),
            }
        }
        Class::ObjectLocked => refused(Refusal::ObjectLocked, detail),
        Class::Flagged | Class::Abuse => refused(Refusal::AccountTrouble, detail),
        Class::Token => VendorError::Unauthorized { vendor, detail },
        Class::NotFound => refused(Refusal::NotFound, detail),
        Class::BadValue => refused(Refusal::BadValue, detail),
        Class::DeadVersion => refused(Refusal::DeadVersion, detail),
        Class::Permanent => refused(Refusal::Other, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(code: i64, subcode: i64, status: u16, expected: Class) {
        let body = json!({"error": {"message": "m", "code": code, "error_subcode": subcode}});
        let envelope = Envelope::read(&body).unwrap();
        assert_eq!(classify(&envelope, status), expected, "{code}/{subcode}");
    }

    #[test]
    fn every_row_of_the_fact_sheet_has_its_class() {
        use Class::*;
        check(1, 99, 400, Temporary);
        check(1, 0, 500, Temporary);
        check(2, 0, 500, Temporary);
        check(5000, 0, 400, Temporary);
        check(2, 1_504_038, 400, TooMuch);
        check(100, 1_504_018, 400, TooMuch);
        check(2, 1_504_043, 400, Temporary);
        check(-2, 2_490_547, 400, Temporary);
        check(2, 1_504_041, 400, Permanent);
        check(2, 1_504_042, 400, Permanent);
        check(100, 3_191_001, 400, Permanent);
        check(100, 1_487_534, 400, TooMuch);
        check(-3, 1_504_045, 400, TooMuch);
        check(4, 0, 400, AppLimit);
        check(4, 1_504_022, 400, AppLimit);
        check(4, 1_504_039, 403, AppLimit);
        check(17, 0, 400, AccountLimit);
        check(17, 2_446_079, 400, AccountLimit);
        check(613, 1_487_742, 400, AccountLimit);
        for code in [32, 80_001, 80_002, 80_005, 80_006, 80_008, 80_009] {
            check(code, 0, 400, UseCaseLimit);
        }
        for code in [80_000, 80_003, 80_004, 80_014] {
            check(code, 0, 400, UseCaseLimit);
            check(code, 2_446_079, 400, UseCaseLimit);
        }
        check(613, 1_487_632, 400, ObjectLocked);
        check(613, 1_487_225, 400, ObjectLocked);
        check(613, 5_044_001, 400, BurstLimit);
        check(613, 0, 400, Abuse);
        check(613, 1_996, 400, Abuse);
        check(17, 1_885_172, 400, ObjectLocked);
        check(341, 0, 400, AppLimit);
        for number in [368, 1_404_078, 2_859_015, 1_404_163, 3_910_001] {
            check(number, 0, 400, Flagged);
            check(100, number, 400, Flagged);
        }
        for code in [102, 104, 190, 10, 200, 250, 294, 299, 3] {
            check(code, 0, 400, Token);
        }
        for subcode in [458, 463, 460, 467, 464, 459, 492] {
            check(190, subcode, 401, Token);
        }
        check(100, 33, 400, NotFound);
        check(100, 0, 400, Permanent);
        check(2_615, 0, 400, Permanent);
        for number in [1_487_007, 1_487_033, 1_487_056, 1_487_566, 1_885_088] {
            check(number, 0, 400, Permanent);
            check(100, number, 400, Permanent);
        }
        for number in [
            1_885_272, 1_885_650, 1_487_901, 2_238_055, 2_446_307, 1_885_621,
        ] {
            check(100, number, 400, BadValue);
            check(number, 0, 400, BadValue);
        }
        check(2_635, 0, 400, DeadVersion);
        check(2_601, 1_815_107, 400, NotReady);
        // Not in the sheet.
        check(999_999, 0, 500, Temporary);
        check(999_999, 0, 429, AccountLimit);
        check(999_999, 0, 401, Token);
        check(999_999, 0, 400, Permanent);
    }

    #[test]
    fn no_row_is_hidden_by_one_above_it() {
        for (at, (on, class)) in TABLE.iter().enumerate() {
            let (code, subcode, message) = match *on {
                On::Pair(code, sub) => (code, Some(sub), ""),
                On::Text(code, part) => (code, None, part),
                On::Either(n) => (100, Some(n), ""),
                On::Code(n) => (n, Some(7), ""),
                On::Bare(n) | On::Codes(n, _) => (n, None, ""),
            };
            let envelope = Envelope {
                code: Some(code),
                subcode,
                message: message.to_owned(),
                ..Envelope::default()
            };
            let found = classify(&envelope, 400);
            // Rows below that are more general may give the same class by another way.
            let general = matches!(on, On::Either(_)) && *class == Class::Permanent;
            assert!(found == *class || general, "row {at} {on:?}: {found:?}");
        }
    }

    #[test]
    fn the_message_decides_where_code_1_says_too_little() {
        let body = json!({"error": {"code": 1,
            "message": "Please reduce the amount of data you're asking for, then retry"}});
        assert_eq!(
            classify(&Envelope::read(&body).unwrap(), 500),
            Class::TooMuch
        );
    }

    #[test]
    fn an_envelope_is_read_as_it_comes() {
        let body = json!({"error": {"message": "Invalid parameter", "type": "OAuthException",
            "code": "100", "error_subcode": 1_885_272, "is_transient": false,
            "error_user_title": "Budget too low", "error_user_msg": "Raise it",
            "error_data": "{\"blame_field_specs\":[[\"daily_budget\"]]}", "fbtrace_id": "Axy"}});
        let envelope = Envelope::read(&body).unwrap();
        assert_eq!(
            envelope.describe(),
            "code 100/1885272: Invalid parameter (Budget too low: Raise it)"
        );
        assert_eq!(envelope.trace.as_deref(), Some("Axy"));
        assert_eq!(Envelope::read(&json!({"data": []})), None);
        let bare = Envelope::read(&json!({"error": "invalid_grant"})).unwrap();
        assert_eq!(bare.describe(), "no code: invalid_grant");
    }

    #[test]
    fn the_headers_say_how_long_to_rest() {
        let usage = Usage {
            account_reset: Some(time::seconds(170)),
            regain_any: Some(time::minutes(19)),
            ..Usage::default()
        };
        let none = Usage::default();
        let check = |class, usage: &Usage, tier, expected| {
            let rest = rest(class, None, UseCase::Management, usage, tier);
            assert_eq!(rest, expected, "{class:?} {tier:?}");
        };
        use AccessTier::{Development, Full};
        let account = |s| Some(Rest::Account(time::seconds(s)));
        check(Class::AccountLimit, &none, Development, account(300));
        check(Class::AccountLimit, &none, Full, account(60));
        check(Class::AccountLimit, &usage, Full, account(170));
        let case = |case, s| Some(Rest::UseCase(case, time::seconds(s)));
        let management = UseCase::Management;
        check(Class::UseCaseLimit, &usage, Full, case(management, 19 * 60));
        check(Class::UseCaseLimit, &none, Full, case(management, 300));
        check(Class::BurstLimit, &usage, Full, account(5));
        check(Class::Abuse, &usage, Full, account(3_600));
        let app = Some(Rest::App(time::seconds(300)));
        check(Class::AppLimit, &usage, Full, app);
        for class in [Class::Temporary, Class::ObjectLocked, Class::Token] {
            check(class, &usage, Full, None);
        }
    }

    #[test]
    fn a_limit_by_the_hour_stops_its_own_use_case() {
        let usage = Usage {
            regains: vec![
                (UseCase::Insights, time::minutes(7)),
                (UseCase::Management, time::minutes(19)),
            ],
            regain_any: Some(time::minutes(19)),
            ..Usage::default()
        };
        for (code, asked, case, minutes) in [
            (80_000, UseCase::Management, UseCase::Insights, 7),
            (80_004, UseCase::Insights, UseCase::Management, 19),
            (80_005, UseCase::Management, UseCase::Leads, 19),
            (80_001, UseCase::Leads, UseCase::Leads, 19),
            (80_003, UseCase::Insights, UseCase::Insights, 7),
            (32, UseCase::Leads, UseCase::Leads, 19),
        ] {
            let class = Class::UseCaseLimit;
            let found = rest(class, Some(code), asked, &usage, AccessTier::Full);
            let expected = Some(Rest::UseCase(case, time::minutes(minutes)));
            assert_eq!(found, expected, "{code}");
        }
    }

    #[test]
    fn a_passing_fault_of_a_write_leaves_its_effect_unknown() {
        let of = |class, is_write| error(class, String::new(), None, None, is_write);
        assert!(matches!(
            of(Class::Temporary, true),
            VendorError::Unknown { .. }
        ));
        assert!(matches!(
            of(Class::Temporary, false),
            VendorError::Retry { .. }
        ));
        assert!(matches!(
            of(Class::AppLimit, true),
            VendorError::Throttled { .. }
        ));
    }
}
