//! How long Meta's Marketing API answers in each version.
//!
//! Meta publishes an end some months ahead. Source: Meta, Marketing API changelog, table of versions,
//! as of autumn 2026; the ends in Graph's own table are later and not those of ads.

use crate::domain::time::{self, Date, TimeZone, Timestamp};

/// Versions whose end is published, with the day on which they end.
const ENDS: [(&str, (i16, i8, i8)); 3] = [
    ("v22.0", (2026, 2, 19)),
    ("v23.0", (2026, 6, 9)),
    ("v24.0", (2026, 10, 6)),
];

/// When a version such as `v24.0` ends, at the beginning of that day in UTC; `None` where no end is
/// published.
#[must_use]
pub fn end_of(version: &str) -> Option<Timestamp> {
    let (_, (year, month, day)) = ENDS.iter().find(|(known, _)| *known == version)?;
    let day = Date::new(*year, *month, *day).ok()?;
    Some(time::day_start(day, &TimeZone::UTC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_ends_are_days() {
        for (version, _) in ENDS {
            assert!(end_of(version).is_some(), "{version}");
        }
        let end = end_of("v24.0").unwrap();
        assert_eq!(time::day_of(end, &TimeZone::UTC).to_string(), "2026-10-06");
        assert_eq!(end_of("v25.0"), None);
        assert_eq!(end_of("nonsense"), None);
    }
}
