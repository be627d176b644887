//! The plain types that settings have: text, numbers, paths, ids, lists, words. Each is read from one
//! value of the file, with a fault that says what to write instead.

use std::path::PathBuf;

use super::fault::FaultKind;
use super::read::{Context, FromNode, nearest};
use super::tree::{Node, Value};
use crate::domain::ids::{AdAccountId, CampaignId, PipelineId, PortalId};

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
    CampaignId, "a campaign's id in quotes", "\"120210000000000\"";
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

/// Declares a text that must have some form: what it is, an example, and how it is told.
macro_rules! checked_text {
    ($(#[$doc:meta])* $Name:ident, $what:literal, $example:literal, $is:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $Name(String);

        impl $Name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl $crate::config::read::FromNode for $Name {
            fn read(
                node: &$crate::config::tree::Node,
                _path: &str,
                cx: &mut $crate::config::read::Context<'_>,
            ) -> Option<Self> {
                let text = cx.text(node, concat!($what, " in quotes"), $example)?;
                let is: fn(&str) -> bool = $is;
                if is(text) {
                    return Some(Self(text.to_owned()));
                }
                cx.fault(
                    $crate::config::fault::FaultKind::BadValue,
                    node,
                    format!("{text:?} is not {}", $what),
                    concat!("write for example ", $example),
                );
                None
            }
        }
    };
}
pub(crate) use checked_text;

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
