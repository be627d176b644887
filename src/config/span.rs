//! Spans of time and points in it, as settings write them.

use super::fault::FaultKind;
use super::read::{Context, FromNode};
use super::tree::{Node, Value};
use crate::domain::limits::DurationRange;
use crate::domain::time::{SignedDuration, Timestamp};

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
}
