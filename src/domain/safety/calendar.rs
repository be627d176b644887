//! When nothing, or no raise, is sent: blackouts and business hours, in the account's own zone.
//!
//! Both are wall-clock times: "18:00" is 18:00 by the account's clocks on either side of a clock
//! change. A span that ends in a skipped hour ends after the gap; one that ends in a repeated hour
//! ends at its second coming, so that what is held is never sent early.

use std::fmt;
use std::str::FromStr;

use super::{ChangeContext, Rule, Verdict, defer};
use crate::domain::autonomy::ActionKind;
use crate::domain::time::{self, Date, DateTime, Time, TimeZone, Timestamp};

const MINUTES_OF_DAY: i64 = 24 * 60;
const MINUTES_OF_WEEK: i64 = 7 * MINUTES_OF_DAY;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A text that names no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no such time")]
pub struct BadSpan(pub String);

/// The minute of the day of `09:30`; `24:00` is the day's end.
fn minute_of_day(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (hours.parse::<i64>().ok()?, minutes.parse::<i64>().ok()?);
    let minute = hours * 60 + minutes;
    ((0..60).contains(&minutes) && (0..=MINUTES_OF_DAY).contains(&minute)).then_some(minute)
}

/// The day of the week, from 0 for Monday.
fn day_of_week(text: &str) -> Option<i64> {
    let found = DAYS.iter().position(|name| *name == text)?;
    i64::try_from(found).ok()
}

fn day_name(day: i64) -> &'static str {
    usize::try_from(day)
        .ok()
        .and_then(|day| DAYS.get(day))
        .map_or("?", |name| *name)
}

/// A span in which the policy changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blackout {
    /// Whole days, both included: `2026-12-24..2026-12-26`, or one day.
    Days(Date, Date),
    /// Every week from one minute to another, the latter not included: `Fri 18:00..Mon 08:00`.
    /// Minutes count from Monday's midnight.
    Weekly(i64, i64),
}

impl FromStr for Blackout {
    type Err = BadSpan;

    fn from_str(text: &str) -> Result<Self, BadSpan> {
        let bad = || BadSpan(text.to_owned());
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        if let (Ok(from), Ok(to)) = (time::parse_date(from), time::parse_date(to)) {
            return (from <= to).then_some(Self::Days(from, to)).ok_or_else(bad);
        }
        let minute = |text: &str| {
            let (day, at) = text.split_once(' ')?;
            Some(day_of_week(day)? * MINUTES_OF_DAY + minute_of_day(at)?)
        };
        match (minute(from), minute(to)) {
            (Some(from), Some(to)) if from % MINUTES_OF_WEEK != to % MINUTES_OF_WEEK => {
                Ok(Self::Weekly(from % MINUTES_OF_WEEK, to % MINUTES_OF_WEEK))
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Blackout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minute = |minute: i64| {
            let (day, rest) = (minute / MINUTES_OF_DAY, minute % MINUTES_OF_DAY);
            format!("{} {:02}:{:02}", day_name(day), rest / 60, rest % 60)
        };
        match self {
            Self::Days(from, to) if from == to => write!(f, "{from}"),
            Self::Days(from, to) => write!(f, "{from}..{to}"),
            Self::Weekly(from, to) => write!(f, "{}..{}", minute(*from), minute(*to)),
        }
    }
}

impl Blackout {
    /// When it ends, if `now` is in it.
    #[must_use]
    pub fn ends(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = zone.to_datetime(now);
        match *self {
            Self::Days(from, to) => (from..=to)
                .contains(&local.date())
                .then(|| time::day_start(time::add_days(to, 1), zone)),
            Self::Weekly(from, to) => {
                let at = minute_of_week(local);
                let into = (at - from).rem_euclid(MINUTES_OF_WEEK);
                let length = (to - from).rem_euclid(MINUTES_OF_WEEK);
                (into < length).then(|| {
                    let minutes = minute_of(local) + length - into;
                    wall_clock(local.date(), minutes, zone, now)
                })
            }
        }
    }
}

fn minute_of(local: DateTime) -> i64 {
    i64::from(local.hour()) * 60 + i64::from(local.minute())
}

fn minute_of_week(local: DateTime) -> i64 {
    let day = i64::from(local.date().weekday().to_monday_zero_offset());
    day * MINUTES_OF_DAY + minute_of(local)
}

/// The instant `minutes` of wall-clock time after the midnight of `day`; of a repeated one the
/// later that is still to come.
fn wall_clock(day: Date, minutes: i64, zone: &TimeZone, now: Timestamp) -> Timestamp {
    let day = time::add_days(day, minutes.div_euclid(MINUTES_OF_DAY));
    let rest = minutes.rem_euclid(MINUTES_OF_DAY);
    let part = |n: i64| i8::try_from(n).unwrap_or(0);
    let at = Time::new(part(rest / 60), part(rest % 60), 0, 0).unwrap_or(Time::midnight());
    let ambiguous = zone.to_ambiguous_timestamp(DateTime::from_parts(day, at));
    let found = ambiguous
        .later()
        .unwrap_or_else(|_| time::day_start(day, zone));
    if found > now {
        found
    } else {
        time::add(now, super::RECHECK)
    }
}

/// The hours in which a business looks after its ads: `Mon..Fri 09:00..18:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusinessHours {
    first: i64,
    last: i64,
    opens: i64,
    closes: i64,
}

impl FromStr for BusinessHours {
    type Err = BadSpan;

    fn from_str(text: &str) -> Result<Self, BadSpan> {
        let read = || {
            let (days, hours) = text.split_once(' ')?;
            let (first, last) = days.split_once("..").unwrap_or((days, days));
            let (opens, closes) = hours.split_once("..")?;
            let read = Self {
                first: day_of_week(first)?,
                last: day_of_week(last)?,
                opens: minute_of_day(opens)?,
                closes: minute_of_day(closes)?,
            };
            (read.opens < read.closes).then_some(read)
        };
        read().ok_or_else(|| BadSpan(text.to_owned()))
    }
}

impl fmt::Display for BusinessHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            first,
            last,
            opens,
            closes,
        } = *self;
        write!(f, "{}", day_name(first))?;
        if first != last {
            write!(f, "..{}", day_name(last))?;
        }
        write!(
            f,
            " {:02}:{:02}..{:02}:{:02}",
            opens / 60,
            opens % 60,
            closes / 60,
            closes % 60
        )
    }
}

impl BusinessHours {
    fn has_day(&self, day: Date) -> bool {
        let day = i64::from(day.weekday().to_monday_zero_offset());
        (day - self.first).rem_euclid(7) <= (self.last - self.first).rem_euclid(7)
    }

    /// When they next begin, if `now` is outside of them.
    #[must_use]
    pub fn open_at(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = zone.to_datetime(now);
        let today = local.date();
        if self.has_day(today) && (self.opens..self.closes).contains(&minute_of(local)) {
            return None;
        }
        let before_opening = minute_of(local) < self.opens;
        let next = (0..=7)
            .filter(|ahead| *ahead > 0 || before_opening)
            .map(|ahead| time::add_days(today, ahead))
            .find(|day| self.has_day(*day))
            .unwrap_or(today);
        Some(wall_clock(next, self.opens, zone, now))
    }
}

/// When the policy may act.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calendar {
    /// Spans in which it changes nothing.
    pub blackouts: Vec<Blackout>,
    /// Hours outside of which nothing is raised or resumed; with `None` there are no such hours.
    pub business_hours: Option<BusinessHours>,
    /// Whether cuts and pauses wait for business hours too.
    pub holds_all: bool,
}

/// Holds a change of the policy's outside of its times.
pub(super) fn hold(ctx: &ChangeContext<'_>, kind: ActionKind) -> Option<Verdict> {
    if ctx.is_by_person() {
        return None;
    }
    let calendar = &ctx.limits.calendar;
    let blackout = calendar
        .blackouts
        .iter()
        .filter_map(|blackout| Some((blackout, blackout.ends(ctx.now, ctx.zone)?)))
        .max_by_key(|(_, ends)| *ends);
    if let Some((blackout, ends)) = blackout {
        let reason = format!("nothing is changed during the blackout {blackout}");
        return Some(defer(ctx, Rule::Blackout, ends, reason));
    }
    let hours = calendar.business_hours.as_ref()?;
    let spends = matches!(kind, ActionKind::Raise | ActionKind::Resume);
    if !spends && !calendar.holds_all {
        return None;
    }
    let opens = hours.open_at(ctx.now, ctx.zone)?;
    let reason = format!("a {kind} waits for business hours, {hours}");
    Some(defer(ctx, Rule::BusinessHours, opens, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    #[test]
    fn spans_are_read_and_shown_alike() {
        for text in [
            "2026-12-24..2026-12-26",
            "2026-12-31",
            "Fri 18:00..Mon 08:00",
            "Sat 00:00..Mon 00:00",
        ] {
            assert_eq!(text.parse::<Blackout>().unwrap().to_string(), text);
        }
        for text in [
            "Mon..Fri 09:00..18:00",
            "Sat 10:00..24:00",
            "Fri..Tue 00:00..12:30",
        ] {
            assert_eq!(text.parse::<BusinessHours>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "2026-12-26..2026-12-24",
            "Fri 18:00..Fri 18:00",
            "Sun 24:00..Mon 00:00",
            "Fri 18:60..Mon 08:00",
            "Fri 25:00..Mon 08:00",
            "fri 18:00..Mon 08:00",
            "2026-13-01",
        ] {
            assert!(text.parse::<Blackout>().is_err(), "{text}");
        }
        for text in [
            "Mon..Fri",
            "Mon..Fri 18:00..09:00",
            "Mon 9:00..18:00",
            "09:00..18:00",
        ] {
            assert!(text.parse::<BusinessHours>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_blackout_of_days_is_the_accounts_days() {
        let york = zone("America/New_York");
        let eve: Blackout = "2026-12-24..2026-12-25".parse().unwrap();
        let ends = Some(at("2026-12-26T05:00:00Z"));
        for (now, expected) in [
            ("2026-12-24T04:59:59Z", None),
            ("2026-12-24T05:00:00Z", ends),
            ("2026-12-26T04:59:59Z", ends),
            ("2026-12-26T05:00:00Z", None),
        ] {
            assert_eq!(eve.ends(at(now), &york), expected, "{now}");
        }
    }

    #[test]
    fn a_weekly_blackout_goes_over_the_weeks_end_and_over_clock_changes() {
        let berlin = zone("Europe/Berlin");
        let weekend: Blackout = "Fri 18:00..Mon 08:00".parse().unwrap();
        for (now, ends) in [
            // Winter: one hour ahead of UTC.
            ("2026-11-27T16:59:59Z", None),
            ("2026-11-27T17:00:00Z", Some("2026-11-30T07:00:00Z")),
            ("2026-11-30T06:59:59Z", Some("2026-11-30T07:00:00Z")),
            ("2026-11-30T07:00:00Z", None),
            // Clocks go forward on Sunday: 08:00 comes an hour sooner.
            ("2026-03-27T17:00:00Z", Some("2026-03-30T06:00:00Z")),
            // And back: an hour later.
            ("2026-10-23T16:00:00Z", Some("2026-10-26T07:00:00Z")),
        ] {
            assert_eq!(weekend.ends(at(now), &berlin), ends.map(at), "{now}");
        }
        // It ends in the hour that is skipped: after the gap. In one that comes twice: the second time.
        let night: Blackout = "Sun 01:00..Sun 02:30".parse().unwrap();
        let spring = night.ends(at("2026-03-29T00:30:00Z"), &berlin);
        assert_eq!(spring, Some(at("2026-03-29T01:30:00Z")));
        let autumn = night.ends(at("2026-10-25T00:10:00Z"), &berlin);
        assert_eq!(autumn, Some(at("2026-10-25T01:30:00Z")));
        let second = night.ends(at("2026-10-25T01:10:00Z"), &berlin);
        assert_eq!(second, Some(at("2026-10-25T01:30:00Z")));
    }

    #[test]
    fn business_hours_open_when_the_zone_says_so() {
        let york = zone("America/New_York");
        let office: BusinessHours = "Mon..Fri 09:00..18:00".parse().unwrap();
        for (now, opens) in [
            ("2026-11-25T13:59:59Z", Some("2026-11-25T14:00:00Z")), // a Wednesday
            ("2026-11-25T14:00:00Z", None),
            ("2026-11-25T22:59:59Z", None),
            ("2026-11-25T23:00:00Z", Some("2026-11-26T14:00:00Z")),
            ("2026-11-27T23:00:00Z", Some("2026-11-30T14:00:00Z")), // Friday night
            // Over the change to summer time: 09:00 is 13:00 UTC on Monday.
            ("2026-03-06T23:00:00Z", Some("2026-03-09T13:00:00Z")),
        ] {
            assert_eq!(office.open_at(at(now), &york), opens.map(at), "{now}");
        }
        // A week that wraps, and a single day.
        let bar: BusinessHours = "Fri..Mon 18:00..24:00".parse().unwrap();
        assert_eq!(
            bar.open_at(at("2026-11-29T23:30:00Z"), &TimeZone::UTC),
            None
        );
        let tuesday = bar.open_at(at("2026-12-01T12:00:00Z"), &TimeZone::UTC);
        assert_eq!(tuesday, Some(at("2026-12-04T18:00:00Z")));
        let sunday: BusinessHours = "Sun 10:00..12:00".parse().unwrap();
        let after = sunday.open_at(at("2026-11-29T12:00:00Z"), &TimeZone::UTC);
        assert_eq!(after, Some(at("2026-12-06T10:00:00Z")));
    }
}
