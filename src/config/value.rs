//! The types that settings have, each read from one value of the file with a fault that says what
//! to write instead.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::fault::{Fault, FaultKind};
use super::read::{Context, FromNode, nearest};
use super::secret::{self, Secret, SecretSource};
use super::tree::{Node, Value};
use crate::domain::ids::{AdAccountId, PipelineId, PortalId};
use crate::domain::limits::DurationRange;
use crate::domain::money::{Currency, Money, MoneyError, Percentage};
use crate::domain::time::{SignedDuration, Timestamp};

impl FromNode for String {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let text = cx.text(node, "text", "it in quotes")?;
        if text.trim().is_empty() {
            cx.fault(
                FaultKind::BadValue,
                node,
                "it is empty",
                "state it or remove the line",
            );
            return None;
        }
        Some(text.to_owned())
    }
}

impl FromNode for bool {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        match &node.value {
            Value::Bool(b) => Some(*b),
            Value::Text(t) if node.is_from_environment() && t == "true" => Some(true),
            Value::Text(t) if node.is_from_environment() && t == "false" => Some(false),
            _ => {
                cx.wrong_type(node, "true or false", "true or false, without quotes");
                None
            }
        }
    }
}

impl FromNode for f64 {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let number = match &node.value {
            Value::Float(f) => *f,
            Value::Integer(i) => *i as f64,
            Value::Text(t) if node.is_from_environment() && t.parse::<f64>().is_ok() => {
                t.parse().ok()?
            }
            _ => {
                cx.wrong_type(node, "a number", "a number such as 2.5, without quotes");
                return None;
            }
        };
        if !number.is_finite() {
            cx.fault(
                FaultKind::BadValue,
                node,
                "it is not a finite number",
                "write a number such as 2.5",
            );
            return None;
        }
        cx.in_range(node, number, &number.to_string())
            .then_some(number)
    }
}

fn whole(node: &Node, cx: &mut Context<'_>) -> Option<i64> {
    match &node.value {
        Value::Integer(i) => Some(*i),
        Value::Text(t) if node.is_from_environment() && t.parse::<i64>().is_ok() => t.parse().ok(),
        _ => {
            cx.wrong_type(
                node,
                "a whole number",
                "a whole number such as 15, without quotes",
            );
            None
        }
    }
}

impl FromNode for u32 {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let number = whole(node, cx)?;
        if !cx.in_range(node, number as f64, &number.to_string()) {
            return None;
        }
        let read = Self::try_from(number).ok();
        if read.is_none() {
            cx.fault(
                FaultKind::BadValue,
                node,
                format!("{number} is out of range"),
                "write a whole number from 0 to 4294967295",
            );
        }
        read
    }
}

impl FromNode for PortalId {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let number = match &node.value {
            Value::Text(digits) => digits.parse().ok(),
            Value::Integer(i) => u64::try_from(*i).ok(),
            _ => None,
        };
        let read = number.filter(|n| *n > 0).map(Self);
        if read.is_none() {
            cx.fault(
                FaultKind::BadValue,
                node,
                "this is not a HubSpot account",
                "write its number (Hub ID) such as 12345678",
            );
        }
        read
    }
}

impl FromNode for PathBuf {
    fn read(node: &Node, path: &str, cx: &mut Context<'_>) -> Option<Self> {
        String::read(node, path, cx).map(Self::from)
    }
}

impl FromNode for SocketAddr {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let text = cx.text(node, "an address with a port", "\"127.0.0.1:8787\"")?;
        let text = text.replacen("localhost:", "127.0.0.1:", 1);
        let read = text.parse().ok();
        if read.is_none() {
            cx.fault(
                FaultKind::BadValue,
                node,
                format!("{text:?} is not an IP address with a port"),
                "write for example \"127.0.0.1:8787\" or \"[::1]:8787\"",
            );
        }
        read
    }
}

/// A base address: https, or http on loopback; no user, query or fragment; no slash at its end.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    is_loopback: bool,
}

impl BaseUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// With the reason, when it is not one that roasd would send a token to.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = reqwest::Url::parse(text).map_err(|_| "it is not an address with https://")?;
        let host = url.host_str().ok_or("it names no host")?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback =
            host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has a user name or password in it");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it has a query or fragment in it");
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback => {}
            "http" => {
                return Err("it is not https, so that anyone on the way could read the token");
            }
            _ => return Err("it is not an address with https://"),
        }
        Ok(Self {
            text: url.as_str().trim_end_matches('/').to_owned(),
            is_loopback,
        })
    }

    /// The address without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.is_loopback
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromNode for BaseUrl {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let text = cx.text(node, "an address", "\"https://host\"")?;
        match Self::parse(text) {
            Ok(url) => Some(url),
            // The text is not repeated: it may hold a password.
            Err(why) => {
                let remedy = "write https://host or, on this machine alone, http://127.0.0.1:PORT";
                cx.fault(FaultKind::BadValue, node, why, remedy);
                None
            }
        }
    }
}

/// Reads `"6h"`, `"1h 30m"`, `"500ms"`; units ms, s, m, h, d (24 hours), w.
pub(crate) fn parse_duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = SignedDuration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: i64 = number.parse().ok()?;
        let millis: i64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        let part = SignedDuration::from_millis(number.checked_mul(millis)?);
        total = total.checked_add(part)?;
        rest = tail.trim_start();
    }
    Some(total)
}

impl FromNode for SignedDuration {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        const EXAMPLE: &str = "a number with a unit (ms, s, m, h, d, w) such as \"6h\"";
        let text = cx.text(node, "a duration", EXAMPLE)?;
        let Some(span) = parse_duration(text) else {
            let problem = format!("{text:?} is not a duration");
            cx.fault(
                FaultKind::BadValue,
                node,
                problem,
                format!("write {EXAMPLE}"),
            );
            return None;
        };
        cx.in_range(node, span.as_secs_f64(), text).then_some(span)
    }
}

impl FromNode for DurationRange {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        const EXAMPLE: &str = "two durations with two dots between them such as \"3s..18s\"";
        let text = cx.text(node, "a range of durations", EXAMPLE)?;
        let ends = text
            .split_once("..")
            .and_then(|(min, max)| Some((parse_duration(min)?, parse_duration(max)?)));
        let Some((min, max)) = ends else {
            let problem = format!("{text:?} is not a range of durations");
            cx.fault(
                FaultKind::BadValue,
                node,
                problem,
                format!("write {EXAMPLE}"),
            );
            return None;
        };
        let range = Self::new(min, max);
        if range.is_none() {
            let problem = format!("{text:?} ends before it begins");
            cx.fault(
                FaultKind::BadValue,
                node,
                problem,
                "write the shorter one first",
            );
            return None;
        }
        cx.in_range(node, max.as_secs_f64(), text).then_some(range?)
    }
}

impl FromNode for Percentage {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        const EXAMPLE: &str = "a number with a percent sign, in quotes, such as \"20%\"";
        let text = cx.text(node, "a percentage", EXAMPLE)?;
        match Self::parse(text) {
            Ok(share) => cx.in_range(node, share.fraction(), text).then_some(share),
            Err(error) => {
                cx.fault(
                    FaultKind::BadValue,
                    node,
                    error.to_string(),
                    format!("write {EXAMPLE}"),
                );
                None
            }
        }
    }
}

impl FromNode for Currency {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let text = cx.text(node, "a currency", "its three letters such as \"USD\"")?;
        match Self::new(text) {
            Ok(currency) => Some(currency),
            Err(error) => {
                let upper = text.to_uppercase();
                let remedy = if Self::new(&upper).is_ok() {
                    format!("write {upper:?}")
                } else {
                    "write the ad account's three letters such as \"USD\"".to_owned()
                };
                cx.fault(FaultKind::BadValue, node, error.to_string(), remedy);
                None
            }
        }
    }
}

/// Currencies whose unit is worth about as much as a dollar: those that the default amounts fit.
const NEAR_THE_DOLLAR: &[&str] = &["USD", "EUR", "GBP", "CHF", "CAD", "AUD", "NZD", "SGD"];

/// Whether the default amounts make sense in this currency: 200.00 does not, in yen.
pub(crate) fn is_near_the_dollar(currency: Currency) -> bool {
    NEAR_THE_DOLLAR.contains(&currency.code())
}

impl FromNode for Money {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        const EXAMPLE: &str = "the amount in main units, in quotes, such as \"12.50\"";
        let text = cx.text(node, "an amount of money", EXAMPLE)?;
        // Without a currency nothing but the form can be judged; the currency's own fault is
        // reported where it stands.
        let currency = cx.currency;
        let money = match Self::parse(text, currency.unwrap_or(Currency::USD)) {
            Ok(money) => money,
            Err(MoneyError::TooPrecise { .. }) if currency.is_none() => return None,
            Err(error) => {
                let remedy = match (&error, currency) {
                    (MoneyError::TooPrecise { .. }, Some(c)) if c.offset() == 1 => {
                        format!("{c} has no decimals: write a whole number in quotes")
                    }
                    _ => format!("write {EXAMPLE}, without a currency"),
                };
                cx.fault(FaultKind::BadValue, node, error.to_string(), remedy);
                return None;
            }
        };
        let currency = currency?;
        if node.is_default() && !money.is_zero() && !is_near_the_dollar(currency) {
            cx.fault(
                FaultKind::Missing,
                node,
                format!("the default {text:?} is meant for currencies near the dollar, not for {currency}"),
                format!("state the amount in {currency}"),
            );
            return None;
        }
        if money.is_negative() {
            cx.fault(
                FaultKind::BadValue,
                node,
                format!("{text:?} is negative"),
                "write an amount of 0 or more",
            );
            return None;
        }
        cx.in_range(node, money.to_f64(), text).then_some(money)
    }
}

impl FromNode for Timestamp {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        const EXAMPLE: &str = "a time with its offset such as \"2026-01-01T00:00:00Z\"";
        let text = match &node.value {
            Value::Text(text) | Value::Datetime(text) => text,
            _ => {
                cx.wrong_type(node, "a time", EXAMPLE);
                return None;
            }
        };
        let read = text.parse().ok();
        if read.is_none() {
            cx.fault(
                FaultKind::BadValue,
                node,
                format!("{text:?} is not a time"),
                format!("write {EXAMPLE}"),
            );
        }
        read
    }
}

/// An instant given as Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixSeconds(pub Timestamp);

impl FromNode for UnixSeconds {
    fn read(node: &Node, path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let seconds = f64::read(node, path, cx)?;
        let span = SignedDuration::try_from_secs_f64(seconds).ok();
        let read = span.and_then(|span| Timestamp::UNIX_EPOCH.checked_add(span).ok());
        if read.is_none() {
            cx.fault(
                FaultKind::BadValue,
                node,
                "it is not a time",
                "write Unix seconds such as 1790000000",
            );
        }
        read.map(Self)
    }
}

macro_rules! read_id {
    ($($ty:ty, $wanted:literal, $example:literal;)+) => { $(
        impl FromNode for $ty {
            fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
                let text = cx.text(node, $wanted, $example)?;
                match Self::new(text) {
                    Ok(id) => Some(id),
                    Err(error) => {
                        let remedy = concat!("write for example ", $example);
                        cx.fault(FaultKind::BadValue, node, error.to_string(), remedy);
                        None
                    }
                }
            }
        }
    )+ };
}

read_id! {
    AdAccountId, "an ad account in quotes", "\"act_1234567890\"";
    PipelineId, "a pipeline's id in quotes", "\"default\"";
}

impl<T: FromNode> FromNode for Vec<T> {
    fn read(node: &Node, path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let unfolded = node.unfolded();
        let node = unfolded.as_ref().unwrap_or(node);
        let Value::List(items) = &node.value else {
            cx.wrong_type(node, "a list", "it in brackets such as [\"a\", \"b\"]");
            return None;
        };
        let read: Vec<Option<T>> = items.iter().map(|item| T::read(item, path, cx)).collect();
        read.into_iter().collect()
    }
}

/// Reads one of several words.
pub(crate) fn choice<T: Copy>(
    node: &Node,
    cx: &mut Context<'_>,
    words: &[(&'static str, T)],
) -> Option<T> {
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let quoted: Vec<String> = names.iter().map(|word| format!("{word:?}")).collect();
    let all = format!("one of {}", quoted.join(", "));
    let text = cx.text(node, &all, "it in quotes")?;
    let found = words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value);
    if found.is_none() {
        let remedy = nearest(text, &names).map_or_else(
            || format!("write {all}"),
            |near| format!("did you mean {near:?}? It must be {all}"),
        );
        cx.fault(
            FaultKind::BadValue,
            node,
            format!("{text:?} is not known here"),
            remedy,
        );
    }
    found
}

/// Declares an enum whose values are words in the file.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $Name:ident { $( $(#[$doc:meta])* $Word:ident = $text:literal, )+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Name { $( $(#[$doc])* $Word, )+ }

        impl $Name {
            /// The word in the file.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$Word => $text, )+ }
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl $crate::config::read::FromNode for $Name {
            fn read(
                node: &$crate::config::tree::Node,
                _path: &str,
                cx: &mut $crate::config::read::Context<'_>,
            ) -> Option<Self> {
                $crate::config::value::choice(node, cx, &[$( ($text, Self::$Word) ),+])
            }
        }
    };
}
pub(crate) use words;

/// What one unit of each CRM currency is worth in the tenant's, by its three letters. CRMs know
/// currencies that ad accounts do not, so the names are not [`Currency`].
pub type FxRates = BTreeMap<String, f64>;

impl FromNode for FxRates {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let unfolded = node.unfolded();
        let node = unfolded.as_ref().unwrap_or(node);
        if !matches!(node.value, Value::Table(_)) {
            cx.wrong_type(node, "a table", "{ EUR = \"1.08\" }");
            return None;
        }
        let mut rates = Self::new();
        let before = cx.faults.len();
        for entry in node.entries() {
            let code = if entry.node.is_from_environment() {
                entry.name.to_uppercase()
            } else {
                entry.name.clone()
            };
            let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase());
            if !is_code {
                let problem = format!("{code:?} is not a currency");
                cx.fault(
                    FaultKind::BadValue,
                    &entry.node,
                    problem,
                    "write three capital letters such as EUR",
                );
                continue;
            }
            let Some(text) = cx.text(&entry.node, "an exchange rate in quotes", "\"1.08\"") else {
                continue;
            };
            match text.parse::<f64>() {
                Ok(rate) if rate.is_finite() && rate > 0.0 => {
                    rates.insert(code, rate);
                }
                _ => {
                    let problem = format!("{text:?} is not an exchange rate");
                    cx.fault(
                        FaultKind::BadValue,
                        &entry.node,
                        problem,
                        "write a number above 0 in quotes such as \"1.08\"",
                    );
                }
            }
        }
        (cx.faults.len() == before).then_some(rates)
    }
}

impl FromNode for Secret {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let unfolded = node.unfolded();
        let node = unfolded.as_ref().unwrap_or(node);
        const REMEDY: &str =
            "write { env = \"NAME\" }, { file = \"/path\" } or { credential = \"name\" }";
        match &node.value {
            Value::Text(value) if node.is_from_environment() => {
                let variable = node
                    .place
                    .source
                    .trim_start_matches("environment variable ");
                let source = SecretSource::Env(variable.to_owned());
                finish(value.clone(), source, node, cx)
            }
            Value::Table(entries) => {
                let [entry] = entries.as_slice() else {
                    cx.fault(
                        FaultKind::Secret,
                        node,
                        "a secret has exactly one source",
                        REMEDY,
                    );
                    return None;
                };
                let from = &entry.node;
                let Value::Text(name) = &from.value else {
                    cx.fault(
                        FaultKind::Secret,
                        from,
                        "the source of a secret is text",
                        REMEDY,
                    );
                    return None;
                };
                let source = match entry.name.as_str() {
                    "env" => SecretSource::Env(name.clone()),
                    "file" => SecretSource::File(cx.base.join(name)),
                    "credential" => SecretSource::Credential(name.clone()),
                    other => {
                        let problem = format!("{other:?} is not a source of secrets");
                        cx.fault(FaultKind::Secret, from, problem, REMEDY);
                        return None;
                    }
                };
                let value = fetch(&source, node, cx)?;
                finish(value, source, node, cx)
            }
            // The value is not repeated in the fault: it may be the secret itself.
            _ => {
                cx.fault(
                    FaultKind::Secret,
                    node,
                    "a secret must not stand in the file, where backups and repositories carry it on",
                    REMEDY,
                );
                None
            }
        }
    }
}

fn finish(
    value: String,
    source: SecretSource,
    node: &Node,
    cx: &mut Context<'_>,
) -> Option<Secret> {
    match secret::check(&value, &source) {
        Ok(()) => Some(Secret::new(value, source)),
        Err(no) => {
            cx.fault(FaultKind::Secret, node, no.problem, no.remedy);
            None
        }
    }
}

fn fetch(source: &SecretSource, node: &Node, cx: &mut Context<'_>) -> Option<String> {
    let file = match source {
        SecretSource::Env(name) => {
            let value = cx.environment.get(name).map(str::to_owned);
            if value.is_none() {
                let problem = format!("the environment variable {name} is not set");
                let remedy = "set it, or take the secret from a file or a credential";
                cx.fault(FaultKind::Secret, node, problem, remedy);
            }
            return value;
        }
        SecretSource::File(path) => path.clone(),
        SecretSource::Credential(name) => {
            let Some(directory) = cx.environment.get("CREDENTIALS_DIRECTORY") else {
                let problem = format!(
                    "the credential {name:?} cannot be had: $CREDENTIALS_DIRECTORY is not set"
                );
                let remedy =
                    "run under systemd with LoadCredential=, or take the secret from elsewhere";
                cx.fault(FaultKind::Secret, node, problem, remedy);
                return None;
            };
            if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
                let problem = format!("{name:?} is not the name of a credential");
                cx.fault(
                    FaultKind::Secret,
                    node,
                    problem,
                    "write the name that LoadCredential= gives it",
                );
                return None;
            }
            PathBuf::from(directory).join(name)
        }
        SecretSource::Plain => return None,
    };
    match secret::read_file(&file) {
        Ok((value, warning)) => {
            if let Some(problem) = warning {
                cx.warnings.push(Fault {
                    place: node.place.clone(),
                    key: node.key.clone(),
                    kind: FaultKind::Secret,
                    problem,
                    remedy: "chmod 600 it".to_owned(),
                });
            }
            Some(value)
        }
        Err(no) => {
            cx.fault(FaultKind::Secret, node, no.problem, no.remedy);
            None
        }
    }
}

/// The address of a database: plain when it has no password, else a secret.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseUrl(pub Secret);

impl FromNode for DatabaseUrl {
    fn read(node: &Node, path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let secret = match &node.value {
            Value::Text(text) if !node.is_from_environment() => {
                let has_password = reqwest::Url::parse(text).is_ok_and(|u| u.password().is_some());
                if has_password || text.contains("password=") {
                    cx.fault(
                        FaultKind::Secret,
                        node,
                        "the address holds a password, which must not stand in the file",
                        "write { env = \"NAME\" }, { file = \"/path\" } or { credential = \"name\" }",
                    );
                    return None;
                }
                Secret::new(text.clone(), SecretSource::Plain)
            }
            _ => Secret::read(node, path, cx)?,
        };
        let known = ["sqlite:", "postgres:", "postgresql:"];
        if known
            .iter()
            .any(|scheme| secret.expose().starts_with(scheme))
        {
            return Some(Self(secret));
        }
        cx.fault(
            FaultKind::BadValue,
            node,
            "this is not the address of a database",
            "write \"sqlite:///path/roasd.db\" or \"postgres://host/name\"",
        );
        None
    }
}

/// A filter of log lines, as `tracing` reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The filter's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromNode for LogFilter {
    fn read(node: &Node, path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let text = String::read(node, path, cx)?;
        match tracing_subscriber::EnvFilter::try_new(&text) {
            Ok(_) => Some(Self(text)),
            Err(error) => {
                let remedy = "write a level such as \"info\" or \"info,roasd::actors=debug\"";
                cx.fault(
                    FaultKind::BadValue,
                    node,
                    format!("{text:?} is not a filter: {error}"),
                    remedy,
                );
                None
            }
        }
    }
}

/// A web page's origin: scheme, host and port, and nothing after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// The origin as browsers send it, or `*`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromNode for Origin {
    fn read(node: &Node, _path: &str, cx: &mut Context<'_>) -> Option<Self> {
        let text = cx.text(node, "an origin", "\"https://www.example.com\"")?;
        let origin = reqwest::Url::parse(text).ok().map(|u| u.origin());
        let ascii = origin
            .filter(|o| o.is_tuple())
            .map(|o| o.ascii_serialization());
        if ascii.as_deref() == Some(text.trim_end_matches('/')) {
            return ascii.map(Self);
        }
        cx.fault(
            FaultKind::BadValue,
            node,
            format!("{text:?} is not an origin"),
            ascii.map_or_else(
                || "write for example \"https://www.example.com\"".to_owned(),
                |near| format!("write {near:?}"),
            ),
        );
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{days, hours, millis, minutes, seconds};

    #[test]
    fn durations_need_a_unit() {
        for (text, span) in [
            ("6h", hours(6)),
            ("90d", days(90)),
            ("2w", days(14)),
            ("500ms", millis(500)),
            ("1h 30m", minutes(90)),
            ("1h30m", minutes(90)),
            ("15 s", seconds(15)),
            ("0s", seconds(0)),
        ] {
            assert_eq!(parse_duration(text), Some(span), "{text}");
        }
        for bad in [
            "",
            "6",
            "h",
            "6x",
            "-6h",
            "6.5h",
            "6h 3",
            "99999999999999999w",
            "six",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_is_never_sent_in_the_clear() {
        for (text, loopback) in [
            ("https://graph.facebook.com", false),
            ("https://graph.facebook.com/", false),
            ("http://127.0.0.1:9001", true),
            ("http://localhost:9001/meta", true),
            ("http://[::1]:9001", true),
        ] {
            let url = BaseUrl::parse(text).unwrap();
            assert_eq!(url.is_loopback(), loopback, "{text}");
            assert!(!url.as_str().ends_with('/'), "{text}");
        }
        for bad in [
            "http://graph.facebook.com",
            "http://127.0.0.1.evil.com",
            "http://localhost.evil.com",
            "ftp://127.0.0.1",
            "https://user:pw@host",
            "https://host?x=1",
            "graph.facebook.com",
            "",
        ] {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
