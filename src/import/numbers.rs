//! Numbers as people's spreadsheets write them: `1,234.56`, `1.234,56`, `1 234,56`, `1'234.56`.
//!
//! `1,234` alone means two things, so the style is decided once per column: by the cells that can
//! only be read one way, else by the rest of the file, else by the rule told in the notes.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use crate::domain::money::{Currency, Money};

/// Units of [`Decimal`] in one.
const SCALE: i128 = 1_000_000_000;
/// Decimal places kept.
const PLACES: usize = 9;
/// Digits before the decimal mark beyond which a number is refused; leaves room to add up a file.
const MAX_WHOLE_DIGITS: usize = 18;

/// An exact decimal number with nine places: the cents of a report are fractions (`1.429999948`),
/// and only a sum of exact values is the account's own total.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal(i128);

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A whole number.
    #[must_use]
    pub const fn from_whole(n: i64) -> Self {
        Self(n as i128 * SCALE)
    }

    /// For statistics.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        // Two exact parts: one division of a large mantissa would round twice.
        (self.0 / SCALE) as f64 + (self.0 % SCALE) as f64 / SCALE as f64
    }

    /// Whether it is below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether it is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether it has no fraction.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.0 % SCALE == 0
    }

    /// The distance from zero.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// As money, rounded to the nearest minor unit, ties away from zero; clamped to what fits.
    #[must_use]
    pub fn to_money(self, currency: Currency) -> Money {
        let unit = SCALE / i128::from(currency.offset());
        let half = if self.0 < 0 { -(unit / 2) } else { unit / 2 };
        let minor = self.0.saturating_add(half) / unit;
        let clamped = i64::try_from(minor).unwrap_or(if minor < 0 { i64::MIN } else { i64::MAX });
        Money::from_minor(clamped, currency)
    }

    /// Reads `-1234.56`: digits, at most one point, nothing else.
    #[must_use]
    pub fn parse_plain(text: &str) -> Option<Self> {
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'));
        plain.then(|| read(text, Style::POINT).ok()).flatten()
    }
}

impl Add for Decimal {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Decimal {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Decimal {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Decimal {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let abs = self.0.unsigned_abs();
        let scale = SCALE.unsigned_abs();
        let fraction = format!("{:09}", abs % scale);
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() {
            f.pad(&format!("{sign}{}", abs / scale))
        } else {
            f.pad(&format!("{sign}{}.{fraction}", abs / scale))
        }
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How the numbers of a column are written: which character is the decimal mark. The other one,
/// spaces and apostrophes group digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    decimal: char,
}

impl Style {
    /// `1,234.56`.
    pub const POINT: Self = Self { decimal: '.' };
    /// `1.234,56`.
    pub const COMMA: Self = Self { decimal: ',' };
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.decimal == ',' {
            "decimal comma"
        } else {
            "decimal point"
        })
    }
}

/// What one cell tells about the style of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// It can only be read with this style.
    Only(Style),
    /// One mark before three digits (`1,234`): with that mark as the decimal mark it is a fraction.
    Either {
        /// The mark.
        mark: char,
    },
    /// It reads the same in both.
    Nothing,
}

/// Whether the cell stands for "no value".
#[must_use]
pub fn is_blank(cell: &str) -> bool {
    let cell = cell.trim();
    cell.is_empty()
        || matches!(cell, "-" | "–" | "—" | "--")
        || cell.eq_ignore_ascii_case("n/a")
        || cell.eq_ignore_ascii_case("null")
        || cell.eq_ignore_ascii_case("nan")
}

/// What `cell` tells about its column.
#[must_use]
pub fn evidence(cell: &str) -> Evidence {
    let Some((_, body, _)) = strip(cell) else {
        return Evidence::Nothing;
    };
    let points = body.matches('.').count();
    let commas = body.matches(',').count();
    match (points, commas) {
        (0, 0) => Evidence::Nothing,
        (0, 1) | (1, 0) => {
            let mark = if commas == 1 { ',' } else { '.' };
            let (whole, fraction) = body.split_once(mark).unwrap_or((&body, ""));
            let decimal = Style { decimal: mark };
            let could_group =
                fraction.len() == 3 && (1..=3).contains(&whole.len()) && !whole.starts_with('0');
            if could_group {
                Evidence::Either { mark }
            } else {
                Evidence::Only(decimal)
            }
        }
        (0, _) => Evidence::Only(Style::POINT),
        (_, 0) => Evidence::Only(Style::COMMA),
        _ if body.rfind('.') > body.rfind(',') => Evidence::Only(Style::POINT),
        _ => Evidence::Only(Style::COMMA),
    }
}

/// Why a cell is no number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotANumber {
    /// What is wrong, with the cell in it.
    pub what: String,
}

/// Reads `cell` in `style`. Currency signs and codes around the number, a percent sign, a trailing
/// or typographic minus and accountants' parentheses are understood.
///
/// # Errors
/// When the cell is not such a number, or is too large.
pub fn read(cell: &str, style: Style) -> Result<Decimal, NotANumber> {
    let shown = || -> String { cell.trim().chars().take(40).collect() };
    let not = || NotANumber {
        what: format!("{:?} is not a number", shown()),
    };
    let (negative, body, exponent) = strip(cell).ok_or_else(not)?;
    let (whole, fraction) = match body.rsplit_once(style.decimal) {
        Some((whole, fraction)) => (whole, fraction),
        None => (body.as_str(), ""),
    };
    let group = if style.decimal == ',' { '.' } else { ',' };
    if whole.contains(style.decimal) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotANumber {
            what: format!("{:?} is not a number with a {style}", shown()),
        });
    }
    let digits = ungroup(whole, group).ok_or_else(|| NotANumber {
        what: format!(
            "{:?} is not a number with a {style}: its digits are not in groups of three",
            shown()
        ),
    })?;
    if digits.is_empty() && fraction.is_empty() {
        return Err(not());
    }
    let too_large = || NotANumber {
        what: format!("{:?} is too large", shown()),
    };
    // With an exponent the mark only moves: digits and the place of the mark say everything.
    let mut all = digits;
    let mark = i32::try_from(all.len()).map_err(|_| too_large())? + exponent;
    all.push_str(fraction);
    let leading = all.bytes().take_while(|b| *b == b'0').count();
    let whole_digits = i64::from(mark) - i64::try_from(leading).unwrap_or(i64::MAX);
    if whole_digits > MAX_WHOLE_DIGITS as i64 && leading < all.len() {
        return Err(too_large());
    }
    let mut value: i128 = 0;
    let last = mark + PLACES as i32;
    for place in leading as i32..last {
        let digit = usize::try_from(place)
            .ok()
            .and_then(|p| all.as_bytes().get(p))
            .map_or(0, |b| i128::from(b - b'0'));
        value = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(digit))
            .ok_or_else(too_large)?;
    }
    let next = usize::try_from(last)
        .ok()
        .and_then(|p| all.as_bytes().get(p));
    if next.is_some_and(|b| *b >= b'5') {
        value = value.saturating_add(1);
    }
    Ok(Decimal(if negative { -value } else { value }))
}

/// The sign, the digits with their marks, and the power of ten of a cell; `None` when anything else
/// is in it. Spaces of all kinds and apostrophes between digits are dropped: they only group.
fn strip(cell: &str) -> Option<(bool, String, i32)> {
    let mut text = cell.trim();
    let mut negative = false;
    if let Some(inner) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
        negative = true;
        text = inner.trim();
    }
    // What may stand around a number: a sign, a currency's sign or code, a percent sign.
    let mut signs = 0;
    loop {
        let before = text;
        text = text.trim_matches(|c: char| c.is_whitespace() || is_currency_sign(c) || c == '%');
        for minus in ['-', '−'] {
            if let Some(rest) = text
                .strip_prefix(minus)
                .or_else(|| text.strip_suffix(minus))
            {
                negative = true;
                signs += 1;
                text = rest;
            }
        }
        if let Some(rest) = text.strip_prefix('+') {
            signs += 1;
            text = rest;
        }
        text = strip_code(text);
        if text == before {
            break;
        }
    }
    if signs > 1 {
        return None;
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, power)) => {
            let power = power.strip_prefix('+').unwrap_or(power);
            let digits = power.strip_prefix('-').unwrap_or(power);
            if digits.is_empty() || digits.len() > 2 || !digits.bytes().all(|b| b.is_ascii_digit())
            {
                return None;
            }
            (mantissa, power.parse().ok()?)
        }
        None => (text, 0),
    };
    let mut body = String::with_capacity(mantissa.len());
    let mut previous_digit = false;
    for c in mantissa.chars() {
        match c {
            '0'..='9' => body.push(c),
            '.' | ',' => body.push(c),
            // A group mark stands after a digit only.
            c if previous_digit && (c.is_whitespace() || matches!(c, '\'' | '’')) => {}
            _ => return None,
        }
        previous_digit = c.is_ascii_digit();
    }
    body.bytes()
        .any(|b| b.is_ascii_digit())
        .then_some((negative, body, exponent))
}

const fn is_currency_sign(c: char) -> bool {
    matches!(
        c,
        '$' | '€' | '£' | '¥' | '₹' | '₺' | '₩' | '₫' | '₱' | '₴' | '₪' | '฿' | '₦'
    )
}

/// Drops a currency's letters at either end: `USD 12`, `12 EUR`, `R$ 12`, `12 zł`, `Fr. 12`.
fn strip_code(text: &str) -> &str {
    const CODES: &[&str] = &[
        "R", "US", "CA", "A", "NZ", "HK", "S", "MX", "kr", "zł", "Kč", "Fr.", "Ft", "lei", "C",
    ];
    let fits =
        |code: &str| (code.len() == 3 && Currency::new(code).is_ok()) || CODES.contains(&code);
    let is_part = |c: char| c.is_alphabetic() || c == '.';
    let head_end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    if let Some((head, rest)) = text.split_at_checked(head_end)
        && !head.is_empty()
        && fits(head)
    {
        return rest;
    }
    let tail_start = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_alphabetic())
        .last()
        .map_or(text.len(), |(at, _)| at);
    match text.split_at_checked(tail_start) {
        Some((rest, tail)) if !tail.is_empty() && fits(tail) => rest,
        _ => text,
    }
}

/// The digits of the whole part, its group marks checked and dropped: groups of three, or of two
/// before the last (Indian).
fn ungroup(whole: &str, group: char) -> Option<String> {
    if whole.contains(|c: char| !c.is_ascii_digit() && c != group) {
        return None;
    }
    let parts: Vec<&str> = whole.split(group).collect();
    if let [first, middle @ .., last] = parts.as_slice() {
        let threes = middle.iter().all(|p| p.len() == 3);
        let twos = middle.iter().all(|p| p.len() == 2) && first.len() <= 2;
        if !(1..=3).contains(&first.len()) || last.len() != 3 || !(threes || twos) {
            return None;
        }
    }
    Some(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(cell: &str, style: Style, expected: &str) {
        assert_eq!(read(cell, style).unwrap().to_string(), expected, "{cell}");
    }

    #[test]
    fn numbers_are_read_in_their_column_s_style() {
        check("1,234.56", Style::POINT, "1234.56");
        check("1.234,56", Style::COMMA, "1234.56");
        check("1 234,56", Style::COMMA, "1234.56");
        check("1\u{a0}234\u{202f}567,5", Style::COMMA, "1234567.5");
        check("1'234.5", Style::POINT, "1234.5");
        check("12,34,567.8", Style::POINT, "1234567.8");
        check("1.429999948", Style::POINT, "1.429999948");
        check("0.1234567895", Style::POINT, "0.12345679");
        check("$1,234", Style::POINT, "1234");
        check("R$ 1.234,5", Style::COMMA, "1234.5");
        check("12,50 €", Style::COMMA, "12.5");
        check("USD 12.50", Style::POINT, "12.5");
        check("12 EUR", Style::COMMA, "12");
        check("(12.5)", Style::POINT, "-12.5");
        check("−12,5", Style::COMMA, "-12.5");
        check("12.5-", Style::POINT, "-12.5");
        check("2.5%", Style::POINT, "2.5");
        check("1.43E-05", Style::POINT, "0.0000143");
        check("1,2E+3", Style::COMMA, "1200");
        check(".5", Style::POINT, "0.5");
        check("000", Style::POINT, "0");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for cell in [
            "",
            "abc",
            "1,23,4",
            "1.2.3",
            "12a",
            "--1",
            "1-2",
            ".",
            ",",
            "$",
            "1e999",
            "1,,234",
            "e5",
            "9999999999999999999",
            "1E+30",
            ",123",
            "½",
            "0x10",
            "NaN",
            "inf",
        ] {
            assert!(read(cell, Style::POINT).is_err(), "{cell}");
        }
        assert!(read("1,5", Style::POINT).is_err());
        assert!(read("1.5", Style::COMMA).is_err());
    }

    #[test]
    fn only_some_cells_tell_the_style() {
        let only = |s| Evidence::Only(s);
        for (cell, expected) in [
            ("1,234.5", only(Style::POINT)),
            ("1.234,5", only(Style::COMMA)),
            ("1,234,567", only(Style::POINT)),
            ("1.234.567", only(Style::COMMA)),
            ("1.5", only(Style::POINT)),
            ("1,50", only(Style::COMMA)),
            ("0,123", only(Style::COMMA)),
            ("1234,567", only(Style::COMMA)),
            ("1,234", Evidence::Either { mark: ',' }),
            ("12.345", Evidence::Either { mark: '.' }),
            ("1234", Evidence::Nothing),
            ("", Evidence::Nothing),
        ] {
            assert_eq!(evidence(cell), expected, "{cell}");
        }
    }

    #[test]
    fn cents_are_settled_once_in_a_sum() {
        let third = Decimal::parse_plain("0.333333333").unwrap();
        let sum: Decimal = [third, third, third].into_iter().sum();
        assert_eq!(sum.to_money(Currency::USD).to_decimal(), "1.00");
        assert_eq!(third.to_money(Currency::USD).to_decimal(), "0.33");
        let half = Decimal::parse_plain("-0.005").unwrap();
        assert_eq!(half.to_money(Currency::USD).to_decimal(), "-0.01");
        assert_eq!(
            Decimal::parse_plain("1.5")
                .unwrap()
                .to_money(Currency::JPY)
                .minor(),
            2
        );
        assert_eq!(Decimal::parse_plain("1,5"), None);
    }

    /// Writes minor units with these marks.
    fn write(units: i64, places: usize, group: &str, mark: &str) -> String {
        let divisor = 10_u64.pow(u32::try_from(places).unwrap());
        let (whole, fraction) = (
            units.unsigned_abs() / divisor,
            units.unsigned_abs() % divisor,
        );
        let digits = whole.to_string();
        let mut grouped = String::new();
        for (i, c) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i) % 3 == 0 {
                grouped.push_str(group);
            }
            grouped.push(c);
        }
        let sign = if units < 0 { "-" } else { "" };
        if places == 0 {
            format!("{sign}{grouped}")
        } else {
            format!("{sign}{grouped}{mark}{fraction:0places$}")
        }
    }

    proptest! {
        #[test]
        fn a_number_survives_every_way_of_writing_it(
            units in -99_999_999_999_i64..99_999_999_999, places in 0_usize..=6, way in 0_usize..8,
        ) {
            let (group, mark, style) = [
                (",", ".", Style::POINT), ("", ".", Style::POINT), ("'", ".", Style::POINT), (" ", ".", Style::POINT),
                (".", ",", Style::COMMA), ("", ",", Style::COMMA), ("\u{202f}", ",", Style::COMMA), ("’", ",", Style::COMMA),
            ][way];
            let text = write(units, places, group, mark);
            let expected = Decimal(i128::from(units) * SCALE / 10_i128.pow(u32::try_from(places).unwrap()));
            prop_assert_eq!(read(&text, style).unwrap(), expected, "{}", text);
            // What a cell says about its style is never wrong.
            if let Evidence::Only(said) = evidence(&text) {
                prop_assert_eq!(said, style, "{}", text);
            }
        }

        #[test]
        fn no_cell_makes_it_panic(cell in "\\PC{0,30}|[0-9.,eE+ '()$%-]{0,40}") {
            for style in [Style::POINT, Style::COMMA] {
                if let Ok(value) = read(&cell, style) {
                    let _ = value.to_money(Currency::USD);
                    prop_assert_eq!(Decimal::parse_plain(&value.to_string()), Some(value));
                }
            }
            let _ = evidence(&cell);
        }
    }
}
