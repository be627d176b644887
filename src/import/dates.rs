//! Dates as exports write them. The order of day and month is decided from the whole column.

use crate::domain::time::{self, Date, TimeZone, Timestamp};

/// Which of two numbers is the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOrder {
    /// 24/11/2026.
    DayFirst,
    /// 11/24/2026.
    MonthFirst,
}

impl DateOrder {
    /// The order of `dmy` or `mdy`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "dmy" => Some(Self::DayFirst),
            "mdy" => Some(Self::MonthFirst),
            _ => None,
        }
    }

    /// In words: `day/month/year`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::DayFirst => "day/month/year",
            Self::MonthFirst => "month/day/year",
        }
    }
}

/// A date in a cell, before the order of its column is known, and the seconds into the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    form: Form,
    seconds: i64,
    /// Seconds east of UTC, where the cell says so.
    offset: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Known { year: i16, month: i8, day: i8 },
    Open { first: i8, second: i8, year: i16 },
}

/// What one cell tells about the order of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderEvidence {
    /// It is only a date in this order.
    Only(DateOrder),
    /// It is a different date in each order.
    Either,
    /// It is the same date in both.
    Nothing,
}

impl Written {
    /// Reads a cell: `2026-11-24`, `24.11.2026`, `11/24/2026`, `24/11/26`, `Nov 24, 2026`,
    /// `24 de noviembre de 2026`, each with a time after it or none. `None` for anything else.
    #[must_use]
    pub fn read(cell: &str) -> Option<Self> {
        let cell = cell.trim();
        if cell.len() > 64 || cell.is_empty() {
            return None;
        }
        let (date, rest) = split_time(cell);
        let (seconds, offset) = read_time(rest)?;
        let form = read_numeric(date).or_else(|| read_worded(date))?;
        let written = Self {
            form,
            seconds,
            offset,
        };
        // A date in neither order is none.
        let fits = |order| written.date(order).is_some();
        (fits(DateOrder::DayFirst) || fits(DateOrder::MonthFirst)).then_some(written)
    }

    /// What it tells about its column.
    #[must_use]
    pub fn evidence(&self) -> OrderEvidence {
        let Form::Open { first, second, .. } = self.form else {
            return OrderEvidence::Nothing;
        };
        match (
            self.date(DateOrder::DayFirst),
            self.date(DateOrder::MonthFirst),
        ) {
            (Some(_), None) => OrderEvidence::Only(DateOrder::DayFirst),
            (None, Some(_)) => OrderEvidence::Only(DateOrder::MonthFirst),
            _ if first == second => OrderEvidence::Nothing,
            _ => OrderEvidence::Either,
        }
    }

    /// The calendar date in `order`; `None` when it has none.
    #[must_use]
    pub fn date(&self, order: DateOrder) -> Option<Date> {
        let (year, month, day) = match (self.form, order) {
            (Form::Known { year, month, day }, _) => (year, month, day),
            (
                Form::Open {
                    first,
                    second,
                    year,
                },
                DateOrder::DayFirst,
            ) => (year, second, first),
            (
                Form::Open {
                    first,
                    second,
                    year,
                },
                DateOrder::MonthFirst,
            ) => (year, first, second),
        };
        if !(1990..=2200).contains(&year) {
            return None;
        }
        Date::new(year, month, day).ok()
    }

    /// The instant in `order`; a time without an offset is taken as UTC.
    #[must_use]
    pub fn instant(&self, order: DateOrder) -> Option<Timestamp> {
        let start = time::day_start(self.date(order)?, &TimeZone::UTC);
        Some(time::add(
            start,
            time::seconds(self.seconds - self.offset.unwrap_or(0)),
        ))
    }
}

/// Cuts a cell where its time begins: at the `T` of ISO 8601, or before the first word with a colon.
fn split_time(cell: &str) -> (&str, &str) {
    if let Some((date, rest)) = cell.split_once('T')
        && date.ends_with(|c: char| c.is_ascii_digit())
    {
        return (date, rest);
    }
    let Some(colon) = cell.find(':') else {
        return (cell, "");
    };
    let head = cell.get(..colon).unwrap_or(cell);
    match head.rfind(|c: char| c.is_whitespace()) {
        Some(at) => {
            let (date, rest) = cell.split_at_checked(at).unwrap_or((cell, ""));
            let date = date.trim_end();
            // "24.11.2026 um 14:05", "Nov 24, 2026 at 2:05 PM"
            let date = [" um", " at", " a las", " à", " às"]
                .iter()
                .find_map(|word| date.strip_suffix(word))
                .unwrap_or(date);
            (date.trim_end().trim_end_matches(','), rest.trim_start())
        }
        None => (cell, ""),
    }
}

/// Seconds into the day and offset of `14:05`, `14:05:09.123Z`, `2:05 PM`, `14:05 +02:00`.
fn read_time(text: &str) -> Option<(i64, Option<i64>)> {
    let text = text.trim();
    if text.is_empty() {
        return Some((0, None));
    }
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.'))
        .unwrap_or(text.len());
    let (clock, rest) = text.split_at_checked(end)?;
    let mut parts = clock.split(':');
    let mut hour: i64 = parts.next()?.parse().ok()?;
    let minute: i64 = parts.next()?.parse().ok()?;
    let second: i64 = match parts.next() {
        Some(s) => s.split('.').next()?.parse().ok()?,
        None => 0,
    };
    if parts.next().is_some() {
        return None;
    }
    let mut rest = rest
        .trim()
        .to_ascii_lowercase()
        .replace(['\u{a0}', '\u{202f}'], "");
    for (word, is_evening) in [("am", false), ("a.m.", false), ("pm", true), ("p.m.", true)] {
        if let Some(after) = rest.strip_prefix(word) {
            if !(1..=12).contains(&hour) {
                return None;
            }
            hour = hour % 12 + if is_evening { 12 } else { 0 };
            rest = after.trim().to_owned();
            break;
        }
    }
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
        return None;
    }
    let offset = match rest.as_str() {
        "" | "uhr" => None,
        "z" | "utc" | "gmt" => Some(0),
        other => {
            let (sign, digits) = match other.split_at_checked(1)? {
                ("+", digits) => (1, digits),
                ("-", digits) => (-1, digits),
                _ => return None,
            };
            let digits: String = digits.chars().filter(|c| *c != ':').collect();
            if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let n: i64 = digits.parse().ok()?;
            Some(sign * (n / 100 * 3_600 + n % 100 * 60))
        }
    };
    Some((hour * 3_600 + minute * 60 + second, offset))
}

fn read_numeric(text: &str) -> Option<Form> {
    let mark = text.chars().find(|c| matches!(c, '-' | '/' | '.'))?;
    let parts: Vec<&str> = text.split(mark).map(str::trim).collect();
    let [a, b, c] = parts.as_slice() else {
        return None;
    };
    let number = |s: &str| -> Option<i16> {
        (s.bytes().all(|b| b.is_ascii_digit()) && (1..=4).contains(&s.len()))
            .then(|| s.parse().ok())
            .flatten()
    };
    let small = |s: &str| {
        number(s)
            .filter(|_| s.len() <= 2)
            .and_then(|n| i8::try_from(n).ok())
    };
    if a.len() == 4 {
        return Some(Form::Known {
            year: number(a)?,
            month: small(b)?,
            day: small(c)?,
        });
    }
    let year = match c.len() {
        4 => number(c)?,
        2 => 2_000 + number(c)?,
        _ => return None,
    };
    if mark == '.' {
        // With points the day is always first.
        return Some(Form::Known {
            year,
            month: small(b)?,
            day: small(a)?,
        });
    }
    Some(Form::Open {
        first: small(a)?,
        second: small(b)?,
        year,
    })
}

/// Beginnings of month names in English, German, Spanish, French, Portuguese, Italian and Dutch,
/// accents folded; longer before shorter where one begins the other.
const MONTHS: &[(&str, i8)] = &[
    ("jan", 1),
    ("ene", 1),
    ("gen", 1),
    ("feb", 2),
    ("fev", 2),
    ("mar", 3),
    ("maerz", 3),
    ("mrz", 3),
    ("maart", 3),
    ("apr", 4),
    ("abr", 4),
    ("avr", 4),
    ("may", 5),
    ("mai", 5),
    ("mag", 5),
    ("mei", 5),
    ("juin", 6),
    ("jun", 6),
    ("giu", 6),
    ("juil", 7),
    ("jul", 7),
    ("lug", 7),
    ("aug", 8),
    ("ago", 8),
    ("aou", 8),
    ("sep", 9),
    ("set", 9),
    ("oct", 10),
    ("okt", 10),
    ("out", 10),
    ("ott", 10),
    ("nov", 11),
    ("dec", 12),
    ("dez", 12),
    ("dic", 12),
];

fn read_worded(text: &str) -> Option<Form> {
    let folded = super::columns::fold(text);
    let mut words = folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty() && !matches!(*w, "de" | "del" | "of" | "the"));
    let (mut month, mut numbers) = (None, Vec::new());
    for word in words.by_ref().take(6) {
        if let Some(digits) = word
            .strip_suffix("st")
            .or_else(|| word.strip_suffix("nd"))
            .or_else(|| word.strip_suffix("rd"))
            .or_else(|| word.strip_suffix("th"))
            .or_else(|| word.strip_suffix("er"))
            .or(Some(word))
            .filter(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_digit()))
        {
            numbers.push(digits.to_owned());
        } else if let Some((_, n)) = MONTHS.iter().find(|(name, _)| word.starts_with(name)) {
            if month.replace(*n).is_some() {
                return None;
            }
        } else if numbers.is_empty() && month.is_none() {
            // A weekday may stand first: "Tue, Nov 24, 2026".
        } else {
            return None;
        }
    }
    if words.next().is_some() {
        return None;
    }
    let [a, b] = numbers.as_slice() else {
        return None;
    };
    let (day, year) = if a.len() == 4 { (b, a) } else { (a, b) };
    if year.len() != 4 || day.len() > 2 {
        return None;
    }
    Some(Form::Known {
        year: year.parse().ok()?,
        month: month?,
        day: day.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(cell: &str, day_first: &str, month_first: &str) {
        let text = |order| {
            Written::read(cell)
                .and_then(|w| w.date(order))
                .map_or_else(|| "-".to_owned(), |d| d.to_string())
        };
        assert_eq!(text(DateOrder::DayFirst), day_first, "{cell}");
        assert_eq!(text(DateOrder::MonthFirst), month_first, "{cell}");
    }

    #[test]
    fn dates_are_read_as_they_are_written() {
        let day = "2026-11-24";
        for cell in [
            "2026-11-24",
            "2026/11/24",
            "24.11.2026",
            "24.11.26",
            "Nov 24, 2026",
            "24 November 2026",
            "24. November 2026",
            "24 de noviembre de 2026",
            "24 de nov. de 2026",
            "24 nov. 2026",
            "Tue, Nov 24, 2026",
            "2026-11-24T14:05:00Z",
            "2026-11-24 14:05",
            "24.11.2026 14:05",
            "November 24th, 2026 at 2:05 PM",
            "2026 Nov 24",
        ] {
            check(cell, day, day);
        }
        check("11/24/2026", "-", day);
        check("24/11/2026", day, "-");
        check("24-11-26", day, "-");
        check("03/04/2026", "2026-04-03", "2026-03-04");
        check("1er août 2026", "2026-08-01", "2026-08-01");
        check("5. März 2026", "2026-03-05", "2026-03-05");
        for cell in [
            "",
            "All",
            "2026",
            "31/31/2026",
            "2026-13-01",
            "2026-02-30",
            "24 Foo 2026",
            "1/2/3",
            "24.11",
            "yesterday",
            "2026-11-24 25:00",
            "0000-00-00",
            "1/1/0001",
            "2026-11-24 14:05 Mars",
            "Total 24 Nov 2026 sums up to 7",
        ] {
            assert_eq!(Written::read(cell), None, "{cell}");
        }
    }

    #[test]
    fn a_time_and_its_offset_make_an_instant() {
        for (cell, expected) in [
            ("2026-11-24", "2026-11-24T00:00:00Z"),
            ("2026-11-24 14:05", "2026-11-24T14:05:00Z"),
            ("2026-11-24T14:05:09.5+02:00", "2026-11-24T12:05:09Z"),
            ("11/24/2026 2:05 PM", "2026-11-24T14:05:00Z"),
            ("11/24/2026 12:05 AM", "2026-11-24T00:05:00Z"),
        ] {
            let at = Written::read(cell).unwrap().instant(DateOrder::MonthFirst);
            assert_eq!(at.unwrap().to_string(), expected, "{cell}");
        }
    }

    #[test]
    fn a_date_tells_its_order_only_where_it_must() {
        for (cell, expected) in [
            ("13/01/2026", OrderEvidence::Only(DateOrder::DayFirst)),
            ("01/13/2026", OrderEvidence::Only(DateOrder::MonthFirst)),
            ("01/02/2026", OrderEvidence::Either),
            ("02/02/2026", OrderEvidence::Nothing),
            ("01.02.2026", OrderEvidence::Nothing),
            ("2026-01-02", OrderEvidence::Nothing),
        ] {
            assert_eq!(Written::read(cell).unwrap().evidence(), expected, "{cell}");
        }
    }

    proptest! {
        #[test]
        fn no_cell_makes_it_panic(cell in "\\PC{0,40}|[0-9/.: -]{0,30}") {
            if let Some(written) = Written::read(&cell) {
                let _ = written.instant(DateOrder::DayFirst);
                let _ = written.evidence();
            }
        }
    }
}
