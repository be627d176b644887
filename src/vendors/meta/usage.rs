//! How much of its limits Meta says is used up; pure. The headers come with many answers, errors
//! too. Source: Meta, "Rate limiting" (Marketing API and Graph API).

use serde_json::Value;

use super::limits::UseCase;
use crate::domain::time::{self, SignedDuration};

/// The access that Meta has granted to the app: how large its limits are. Meta renamed the tiers
/// in 2026 to Limited and Full; the headers still say development and standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessTier {
    /// 60 points in 300 s for an ad account: where every new app begins.
    Development,
    /// 9000 points in 300 s.
    Full,
}

impl AccessTier {
    /// Meta's word for it in headers.
    #[must_use]
    pub const fn header(self) -> &'static str {
        match self {
            Self::Development => "development_access",
            Self::Full => "standard_access",
        }
    }

    /// The tier that a header names.
    #[must_use]
    pub fn of_header(word: &str) -> Option<Self> {
        [Self::Development, Self::Full]
            .into_iter()
            .find(|tier| tier.header() == word)
    }
}

/// Whom a limit belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Share {
    /// The app, whatever the account.
    App,
    /// The ad account that was called.
    Account,
}

/// One percentage of one limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Whose limit.
    pub share: Share,
    /// Which limit, such as `ads_management`.
    pub kind: String,
    /// How much of it is used, in percent.
    pub percent: f64,
    /// The span over which use counts, hence after which a reading says nothing any more.
    pub horizon: SignedDuration,
}

/// What the headers of one answer say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Usage {
    /// The highest percentage of each limit.
    pub readings: Vec<Reading>,
    /// The access that the app really has.
    pub tier: Option<AccessTier>,
    /// How long until the account's score is reset.
    pub account_reset: Option<SignedDuration>,
    /// How long until calls of a use case are let in again, for those that are not let in now.
    pub regains: Vec<(UseCase, SignedDuration)>,
    /// The longest such time of any kind.
    pub regain_any: Option<SignedDuration>,
    /// The percentage of calls alone, of each use case: what its quota can be learned from.
    pub calls: Vec<(UseCase, f64)>,
}

/// Longest wait believed.
const LONGEST: i64 = 24 * 3_600;

impl Usage {
    /// Reads the headers, found by their lower-case names. What is not understood is left out.
    #[must_use]
    pub fn read<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let json = |name| header(name).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let mut usage = Self::default();
        if let Some(app) = json("x-app-usage") {
            usage.take(Share::App, "app", highest(&app), time::hours(1));
        }
        if let Some(account) = json("x-ad-account-usage") {
            let percent = number(account.get("acc_id_util_pct"));
            usage.take(Share::Account, "account", percent, time::seconds(300));
            usage.tier(&account);
            usage.account_reset = number(account.get("reset_time_duration"))
                .and_then(|s| span(s, 1))
                .filter(|span| span.is_positive());
        }
        if let Some(cases) = json("x-business-use-case-usage") {
            let objects = cases.as_object().into_iter().flat_map(|map| map.values());
            for case in objects.filter_map(Value::as_array).flatten() {
                usage.use_case(case);
            }
        }
        if let Some(insights) = json("x-fb-ads-insights-throttle") {
            let app = number(insights.get("app_id_util_pct"));
            usage.take(Share::App, "insights", app, time::hours(1));
            let account = number(insights.get("acc_id_util_pct"));
            usage.take(Share::Account, "insights", account, time::hours(1));
            usage.tier(&insights);
        }
        usage
    }

    fn use_case(&mut self, object: &Value) {
        let kind = object
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("other");
        // The key is a business or an account, not always the one called; it is counted as ours,
        // since a limit that seems too close only slows us down.
        self.take(Share::Account, kind, highest(object), time::hours(1));
        self.tier(object);
        // Minutes, unlike the account's seconds.
        let regain = number(object.get("estimated_time_to_regain_access"))
            .and_then(|minutes| span(minutes, 60))
            .filter(|span| span.is_positive());
        self.regain_any = self.regain_any.max(regain);
        let Some(case) = UseCase::of_limit(kind) else {
            return;
        };
        if let Some(regain) = regain {
            keep_most(&mut self.regains, case, regain);
        }
        if let Some(calls) = number(object.get("call_count")) {
            keep_most(&mut self.calls, case, calls);
        }
    }

    /// How long until calls of a use case are let in again, when they are not now.
    #[must_use]
    pub fn regain(&self, case: UseCase) -> Option<SignedDuration> {
        let found = self.regains.iter().find(|(of, _)| *of == case);
        found.map(|(_, span)| *span)
    }

    fn take(&mut self, share: Share, kind: &str, percent: Option<f64>, horizon: SignedDuration) {
        let Some(percent) = percent else { return };
        let known = self
            .readings
            .iter_mut()
            .find(|reading| reading.share == share && reading.kind == kind);
        match known {
            Some(reading) => reading.percent = reading.percent.max(percent),
            None => self.readings.push(Reading {
                share,
                kind: kind.chars().take(40).collect(),
                percent,
                horizon,
            }),
        }
    }

    fn tier(&mut self, object: &Value) {
        let word = object.get("ads_api_access_tier").and_then(Value::as_str);
        let Some(tier) = word.and_then(AccessTier::of_header) else {
            return;
        };
        self.tier = Some(self.tier.map_or(tier, |known| known.min(tier)));
    }

    /// The highest percentage of all.
    #[must_use]
    pub fn highest(&self) -> Option<f64> {
        self.readings.iter().map(|r| r.percent).reduce(f64::max)
    }
}

/// Keeps the larger of what is there and what comes.
fn keep_most<T: PartialOrd>(of: &mut Vec<(UseCase, T)>, case: UseCase, value: T) {
    match of.iter_mut().find(|(known, _)| *known == case) {
        Some((_, known)) if *known < value => *known = value,
        Some(_) => {}
        None => of.push((case, value)),
    }
}

fn number(value: Option<&Value>) -> Option<f64> {
    let number = match value? {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }?;
    (number.is_finite() && number >= 0.0).then_some(number.min(1_000_000.0))
}

fn span(count: f64, unit: i64) -> Option<SignedDuration> {
    let seconds = (count * unit as f64).ceil().min(LONGEST as f64);
    SignedDuration::try_from_secs_f64(seconds).ok()
}

fn highest(object: &Value) -> Option<f64> {
    ["call_count", "total_time", "total_cputime"]
        .iter()
        .filter_map(|key| number(object.get(key)))
        .reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(headers: &[(&str, &'static str)]) -> Usage {
        Usage::read(|name| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v))
    }

    fn check(headers: &[(&str, &'static str)], expected: &[(Share, &str, f64)]) {
        let usage = usage(headers);
        let found: Vec<_> = usage
            .readings
            .iter()
            .map(|r| (r.share, r.kind.as_str(), r.percent))
            .collect();
        assert_eq!(found, expected, "{headers:?}");
    }

    #[test]
    fn each_header_is_read() {
        check(&[], &[]);
        check(
            &[(
                "x-app-usage",
                r#"{"call_count":28,"total_time":25,"total_cputime":31.5}"#,
            )],
            &[(Share::App, "app", 31.5)],
        );
        check(
            &[(
                "x-ad-account-usage",
                r#"{"acc_id_util_pct":9.67,"reset_time_duration":100,"ads_api_access_tier":"standard_access"}"#,
            )],
            &[(Share::Account, "account", 9.67)],
        );
        check(
            &[(
                "x-fb-ads-insights-throttle",
                r#"{"app_id_util_pct":100,"acc_id_util_pct":"10","ads_api_access_tier":"standard_access"}"#,
            )],
            &[
                (Share::App, "insights", 100.0),
                (Share::Account, "insights", 10.0),
            ],
        );
    }

    #[test]
    fn of_several_objects_the_highest_counts_for_each_kind() {
        let header = r#"{
            "123":[
              {"type":"ads_management","call_count":95,"total_cputime":20,"total_time":20,"estimated_time_to_regain_access":0,"ads_api_access_tier":"standard_access"},
              {"type":"ads_insights","call_count":5,"total_cputime":1,"total_time":2,"estimated_time_to_regain_access":0}],
            "456":[
              {"type":"ads_management","call_count":100,"total_cputime":20,"total_time":20,"estimated_time_to_regain_access":19,"ads_api_access_tier":"development_access"},
              {"type":"leadgen","call_count":1,"total_cputime":1,"total_time":3,"estimated_time_to_regain_access":40}],
            "789":"surprise"}"#;
        let header: &'static str = Box::leak(header.to_owned().into_boxed_str());
        let headers = [("x-business-use-case-usage", header)];
        check(
            &headers,
            &[
                (Share::Account, "ads_management", 100.0),
                (Share::Account, "ads_insights", 5.0),
                (Share::Account, "leadgen", 3.0),
            ],
        );
        let usage = usage(&headers);
        assert_eq!(usage.tier, Some(AccessTier::Development), "the lower one");
        assert_eq!(
            usage.regains,
            [
                (UseCase::Management, time::minutes(19)),
                (UseCase::Leads, time::minutes(40)),
            ]
        );
        assert_eq!(
            usage.calls,
            [
                (UseCase::Management, 100.0),
                (UseCase::Insights, 5.0),
                (UseCase::Leads, 1.0),
            ]
        );
        assert_eq!(usage.regain_any, Some(time::minutes(40)));
        assert_eq!(usage.highest(), Some(100.0));
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        check(&[("x-app-usage", "not json")], &[]);
        check(&[("x-app-usage", r#"{"call_count":null}"#)], &[]);
        check(&[("x-app-usage", r#"{"call_count":-3}"#)], &[]);
        check(&[("x-ad-account-usage", "[]")], &[]);
        let usage = usage(&[(
            "x-ad-account-usage",
            r#"{"acc_id_util_pct":1,"reset_time_duration":99999999}"#,
        )]);
        assert_eq!(usage.account_reset, Some(time::hours(24)), "a day at most");
    }
}
