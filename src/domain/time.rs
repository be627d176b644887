//! Time as the domain sees it: instants, spans, and the calendar days of an ad account.
//!
//! All use of the calendar library goes through this file. Nothing here reads a clock: `now` is
//! always an argument.

pub use jiff::SignedDuration;
pub use jiff::Timestamp;
pub use jiff::civil::{Date, DateTime, Time};
pub use jiff::tz::TimeZone;

/// Whole microseconds since the Unix epoch: the resolution at which instants are stored.
#[must_use]
pub fn to_micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// The instant `micros` microseconds after the Unix epoch; clamped to the calendar's range.
#[must_use]
pub fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// The instant `millis` milliseconds after the Unix epoch; clamped to the calendar's range.
#[must_use]
pub fn from_millis(millis: i64) -> Timestamp {
    from_micros(millis.saturating_mul(1_000))
}

/// The instant `seconds` seconds after the Unix epoch; clamped to the calendar's range.
#[must_use]
pub fn from_seconds(seconds: i64) -> Timestamp {
    from_micros(seconds.saturating_mul(1_000_000))
}

/// `at` moved by `by`, clamped to the calendar's range instead of failing.
#[must_use]
pub fn add(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(if by.is_negative() {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// `at` moved back by `by`, clamped.
#[must_use]
pub fn sub(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(if by.is_negative() {
        Timestamp::MAX
    } else {
        Timestamp::MIN
    })
}

/// The signed span from `from` to `to`.
#[must_use]
pub fn between(from: Timestamp, to: Timestamp) -> SignedDuration {
    to.duration_since(from)
}

/// Hours from `from` to `to`, negative when `to` is earlier.
#[must_use]
pub fn hours_between(from: Timestamp, to: Timestamp) -> f64 {
    between(from, to).as_secs_f64() / 3_600.0
}

/// Days of 24 hours from `from` to `to`, negative when `to` is earlier.
#[must_use]
pub fn days_between(from: Timestamp, to: Timestamp) -> f64 {
    between(from, to).as_secs_f64() / 86_400.0
}

/// `d` days of 24 hours.
#[must_use]
pub const fn days(d: i64) -> SignedDuration {
    SignedDuration::from_hours(d * 24)
}

/// `h` hours.
#[must_use]
pub const fn hours(h: i64) -> SignedDuration {
    SignedDuration::from_hours(h)
}

/// `m` minutes.
#[must_use]
pub const fn minutes(m: i64) -> SignedDuration {
    SignedDuration::from_mins(m)
}

/// `s` seconds.
#[must_use]
pub const fn seconds(s: i64) -> SignedDuration {
    SignedDuration::from_secs(s)
}

/// `ms` milliseconds.
#[must_use]
pub const fn millis(ms: i64) -> SignedDuration {
    SignedDuration::from_millis(ms)
}

/// The calendar day of `at` in `zone`.
#[must_use]
pub fn day_of(at: Timestamp, zone: &TimeZone) -> Date {
    zone.to_datetime(at).date()
}

/// The wall-clock hour (0 to 23) of `at` in `zone`.
#[must_use]
pub fn hour_of(at: Timestamp, zone: &TimeZone) -> u8 {
    u8::try_from(zone.to_datetime(at).hour()).unwrap_or(0)
}

/// The instant at which `day` begins in `zone`. Where midnight does not exist (a change to
/// summer time at midnight), the first instant that does.
#[must_use]
pub fn day_start(day: Date, zone: &TimeZone) -> Timestamp {
    day.to_zoned(zone.clone())
        .map_or(Timestamp::MAX, |z| z.timestamp())
}

/// The instant at which wall-clock hour `hour` of `day` begins in `zone`. Of a repeated hour, the
/// first; of a skipped one, the instant after the gap.
#[must_use]
pub fn hour_start(day: Date, hour: u8, zone: &TimeZone) -> Timestamp {
    let hour = i8::try_from(hour.min(23)).unwrap_or(0);
    zone.to_ambiguous_timestamp(day.at(hour, 0, 0, 0))
        .compatible()
        .unwrap_or_else(|_| day_start(day, zone))
}

/// The day `n` days after `day` (before, when negative), clamped to the calendar's range.
#[must_use]
pub fn add_days(day: Date, n: i64) -> Date {
    day.saturating_add(days(n))
}

/// Reads `2026-11-24`.
///
/// # Errors
/// When `text` is not a calendar date in that form.
pub fn parse_date(text: &str) -> Result<Date, jiff::Error> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_when_its_zone_says_so() {
        let tz = TimeZone::get("America/New_York").unwrap();
        let at: Timestamp = "2026-11-24T03:00:00Z".parse().unwrap();
        assert_eq!(day_of(at, &tz), parse_date("2026-11-23").unwrap());
        assert_eq!(hour_of(at, &tz), 22);
        assert_eq!(
            day_start(parse_date("2026-11-24").unwrap(), &tz),
            "2026-11-24T05:00:00Z".parse().unwrap()
        );
    }

    #[test]
    fn a_day_of_a_clock_change_has_23_or_25_hours() {
        let tz = TimeZone::get("Europe/Berlin").unwrap();
        for (day, hours) in [
            ("2026-03-29", 23.0),
            ("2026-10-25", 25.0),
            ("2026-10-26", 24.0),
        ] {
            let day = parse_date(day).unwrap();
            let length = hours_between(day_start(day, &tz), day_start(add_days(day, 1), &tz));
            assert!((length - hours).abs() < 1e-9, "{day}: {length}");
        }
    }

    #[test]
    fn micros_survive_the_round_trip() {
        for micros in [0, 1, -1, 1_790_000_000_123_456] {
            assert_eq!(to_micros(from_micros(micros)), micros);
        }
        assert_eq!(from_micros(i64::MAX), Timestamp::MAX);
    }
}
