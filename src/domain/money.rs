//! Money: whole minor units and a currency, never floating point at rest.
//!
//! "Minor unit" is Meta's: its offset table differs from ISO 4217 (HUF, TWD, COP, IDR and CRC have
//! no minor unit there; BHD and JOD have hundredths). Source: Meta, "Currencies" (Marketing API
//! reference). A currency that is not in the table is refused: a guessed offset multiplies
//! someone's budget by a hundred.

use std::cmp::Ordering;
use std::fmt;

/// A currency that an ad account can be held in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// Currencies without a minor unit at Meta (offset 1).
const OFFSET_1: &[&str] = &[
    "CLP", "COP", "CRC", "HUF", "ISK", "IDR", "JPY", "KRW", "PYG", "TWD", "VND",
];

/// Currencies with hundredths at Meta (offset 100).
const OFFSET_100: &[&str] = &[
    "AED", "ARS", "AUD", "BDT", "BGN", "BHD", "BOB", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK",
    "DZD", "EGP", "EUR", "GBP", "GTQ", "HKD", "HNL", "ILS", "INR", "JOD", "KES", "LKR", "MAD",
    "MOP", "MXN", "MYR", "NGN", "NIO", "NOK", "NZD", "PEN", "PHP", "PKR", "PLN", "QAR", "RON",
    "RSD", "SAR", "SEK", "SGD", "THB", "TRY", "UAH", "USD", "UYU", "ZAR",
];

impl Currency {
    /// United States dollar.
    pub const USD: Self = Self(*b"USD");
    /// Euro.
    pub const EUR: Self = Self(*b"EUR");
    /// Japanese yen; has no minor unit.
    pub const JPY: Self = Self(*b"JPY");

    /// The currency with this three-letter code.
    ///
    /// # Errors
    /// [`MoneyError::UnknownCurrency`] when Meta's table does not hold it.
    pub fn new(code: &str) -> Result<Self, MoneyError> {
        let known = OFFSET_1
            .iter()
            .chain(OFFSET_100)
            .any(|known| *known == code);
        match <[u8; 3]>::try_from(code.as_bytes()) {
            Ok(bytes) if known => Ok(Self(bytes)),
            _ => Err(MoneyError::UnknownCurrency(code.chars().take(16).collect())),
        }
    }

    /// The three-letter code.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// Minor units in one main unit: 1 or 100.
    #[must_use]
    pub fn offset(self) -> i64 {
        if OFFSET_1.contains(&self.code()) {
            1
        } else {
            100
        }
    }

    /// Every currency known, in no particular order.
    pub fn all() -> impl Iterator<Item = Self> {
        OFFSET_1
            .iter()
            .chain(OFFSET_100)
            .filter_map(|code| Self::new(code).ok())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::str::FromStr for Currency {
    type Err = MoneyError;
    fn from_str(code: &str) -> Result<Self, MoneyError> {
        Self::new(code)
    }
}

/// Why an amount cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The code is not in Meta's table.
    #[error("currency {0:?} is not one that Meta bills in; its minor unit is unknown")]
    UnknownCurrency(String),
    /// The text is not a decimal number.
    #[error("{0:?} is not an amount of money such as \"12.50\"")]
    NotAnAmount(String),
    /// The text has more decimals than the currency.
    #[error("{text:?} has more decimals than {currency} has")]
    TooPrecise {
        /// What was given.
        text: String,
        /// The currency asked for.
        currency: Currency,
    },
    /// The amount does not fit 64 bits.
    #[error("an amount in {0} is too large")]
    Overflow(Currency),
    /// Two currencies met in one sum.
    #[error("{left} and {right} cannot be added: they are different currencies")]
    Mixed {
        /// The currency on the left.
        left: Currency,
        /// The currency on the right.
        right: Currency,
    },
}

/// How a fraction of a minor unit is settled; named at each use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Toward minus infinity: for caps and ceilings.
    Down,
    /// Toward plus infinity: for floors.
    Up,
    /// To the nearest, ties away from zero: for reports and targets.
    Nearest,
}

/// An amount of money: minor units of a currency. May be negative (a reversal).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

impl Money {
    /// `minor` minor units of `currency`.
    #[must_use]
    pub const fn from_minor(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing, in `currency`.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// Minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Main units as a float, for statistics only.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.minor as f64 / self.currency.offset() as f64
    }

    /// The amount nearest to `main` main units under `rounding`: the one place where a float
    /// becomes money.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] when `main` is not finite or too large.
    pub fn from_f64(main: f64, currency: Currency, rounding: Rounding) -> Result<Self, MoneyError> {
        let scaled = main * currency.offset() as f64;
        // A product such as 4.35 * 100 lies a hair beside the whole number meant.
        let snapped = if (scaled - scaled.round()).abs() < 1e-6 {
            scaled.round()
        } else {
            scaled
        };
        let whole = match rounding {
            Rounding::Down => snapped.floor(),
            Rounding::Up => snapped.ceil(),
            Rounding::Nearest => snapped.round(),
        };
        if whole.is_finite() && whole.abs() < 9.0e18 {
            Ok(Self {
                minor: whole as i64,
                currency,
            })
        } else {
            Err(MoneyError::Overflow(currency))
        }
    }

    /// Reads main units such as `"5339.5"` or `"-12"` exactly.
    ///
    /// # Errors
    /// When the text is not a decimal number, or has more decimals than the currency.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        match Self::parse_rounded(text, currency)? {
            (money, true) => Ok(money),
            (_, false) => Err(MoneyError::TooPrecise {
                text: text.to_owned(),
                currency,
            }),
        }
    }

    /// Reads main units, rounding surplus decimals to the nearest minor unit: for reports, whose
    /// figures are sums of fractions (`"1.429999948"`).
    ///
    /// # Errors
    /// When the text is not a decimal number or does not fit.
    pub fn parse_nearest(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        Self::parse_rounded(text, currency).map(|(money, _)| money)
    }

    fn parse_rounded(text: &str, currency: Currency) -> Result<(Self, bool), MoneyError> {
        let not = || MoneyError::NotAnAmount(text.chars().take(32).collect());
        let trimmed = text.trim();
        let (negative, digits) = match trimmed.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, trimmed),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction)
        {
            return Err(not());
        }
        let places = if currency.offset() == 100 { 2 } else { 0 };
        let mut minor: i64 = 0;
        let kept = whole
            .bytes()
            .chain(fraction.bytes().chain(std::iter::repeat(b'0')).take(places));
        for b in kept {
            minor = minor
                .checked_mul(10)
                .and_then(|m| m.checked_add(i64::from(b - b'0')))
                .ok_or(MoneyError::Overflow(currency))?;
        }
        let rest = fraction.get(places..).unwrap_or("");
        let exact = rest.bytes().all(|b| b == b'0');
        if rest.bytes().next().is_some_and(|b| b >= b'5') {
            minor = minor.checked_add(1).ok_or(MoneyError::Overflow(currency))?;
        }
        Ok((
            Self {
                minor: if negative { -minor } else { minor },
                currency,
            },
            exact,
        ))
    }

    /// The sum.
    ///
    /// # Errors
    /// When the currencies differ or the sum does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.same(other)?;
        let minor = self
            .minor
            .checked_add(other.minor)
            .ok_or(MoneyError::Overflow(self.currency))?;
        Ok(Self { minor, ..self })
    }

    /// The difference.
    ///
    /// # Errors
    /// When the currencies differ or the difference does not fit.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.same(other)?;
        let minor = self
            .minor
            .checked_sub(other.minor)
            .ok_or(MoneyError::Overflow(self.currency))?;
        Ok(Self { minor, ..self })
    }

    /// `self` times `factor`, rounded as named.
    ///
    /// # Errors
    /// When the product is not finite or does not fit.
    pub fn scale(self, factor: f64, rounding: Rounding) -> Result<Self, MoneyError> {
        let product = self.minor as f64 * factor;
        let snapped = if (product - product.round()).abs() < 1e-6 {
            product.round()
        } else {
            product
        };
        let whole = match rounding {
            Rounding::Down => snapped.floor(),
            Rounding::Up => snapped.ceil(),
            Rounding::Nearest => snapped.round(),
        };
        if whole.is_finite() && whole.abs() < 9.0e18 {
            Ok(Self {
                minor: whole as i64,
                ..self
            })
        } else {
            Err(MoneyError::Overflow(self.currency))
        }
    }

    /// The order of two amounts of one currency; `None` across currencies.
    #[must_use]
    pub fn compare(self, other: Self) -> Option<Ordering> {
        (self.currency == other.currency).then(|| self.minor.cmp(&other.minor))
    }

    /// Whether the amount is below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.minor < 0
    }

    /// Whether the amount is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// Main units with the currency's decimals and without its code: `1234.50`.
    #[must_use]
    pub fn to_decimal(self) -> String {
        let offset = self.currency.offset();
        if offset == 1 {
            return self.minor.to_string();
        }
        let sign = if self.minor < 0 { "-" } else { "" };
        let abs = self.minor.unsigned_abs();
        let offset = offset.unsigned_abs();
        format!("{sign}{}.{:02}", abs / offset, abs % offset)
    }

    fn same(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::Mixed {
                left: self.currency,
                right: other.currency,
            })
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.to_decimal(), self.currency))
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_decimal(), self.currency)
    }
}

/// A share of a whole, as a fraction: 0.2 is 20 %. Finite and not negative.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percentage(f64);

impl Percentage {
    /// The fraction `fraction` (0.2 for 20 %).
    ///
    /// # Errors
    /// When it is negative or not finite.
    pub fn from_fraction(fraction: f64) -> Result<Self, BadPercentage> {
        if fraction.is_finite() && fraction >= 0.0 {
            Ok(Self(fraction))
        } else {
            Err(BadPercentage(fraction.to_string()))
        }
    }

    /// Reads `"20%"` or `"2.5 %"`.
    ///
    /// # Errors
    /// When the text is not a number followed by a percent sign, or is negative.
    pub fn parse(text: &str) -> Result<Self, BadPercentage> {
        text.trim()
            .strip_suffix('%')
            .and_then(|n| n.trim().parse::<f64>().ok())
            .filter(|n| n.is_finite() && *n >= 0.0)
            .map(|n| Self(n / 100.0))
            .ok_or_else(|| BadPercentage(text.to_owned()))
    }

    /// As a fraction.
    #[must_use]
    pub const fn fraction(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = (self.0 * 10_000.0).round() / 100.0;
        write!(f, "{hundredths}%")
    }
}

/// A text that is not a percentage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a percentage such as \"20%\"")]
pub struct BadPercentage(String);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usd(minor: i64) -> Money {
        Money::from_minor(minor, Currency::USD)
    }

    #[test]
    fn yen_have_no_minor_unit_and_forints_none_at_meta() {
        for (code, offset) in [
            ("JPY", 1),
            ("HUF", 1),
            ("TWD", 1),
            ("USD", 100),
            ("BHD", 100),
        ] {
            assert_eq!(Currency::new(code).unwrap().offset(), offset, "{code}");
        }
    }

    #[test]
    fn an_unknown_currency_is_refused() {
        for code in ["", "XXX", "usd", "US", "USDT", "€"] {
            assert!(Currency::new(code).is_err(), "{code}");
        }
    }

    #[test]
    fn amounts_are_read_exactly() {
        for (text, minor) in [
            ("0", 0),
            ("5339.5", 533_950),
            ("-12", -1_200),
            (" 7.00 ", 700),
            (".5", 50),
            ("3.", 300),
            ("1.2300", 123),
        ] {
            assert_eq!(Money::parse(text, Currency::USD), Ok(usd(minor)), "{text}");
        }
        for bad in [
            "", ".", "-", "1,5", "1e3", "NaN", "12 USD", "--1", "0x1", "1.2.3",
        ] {
            assert!(Money::parse(bad, Currency::USD).is_err(), "{bad}");
        }
        assert!(matches!(
            Money::parse("1.005", Currency::USD),
            Err(MoneyError::TooPrecise { .. })
        ));
        assert!(Money::parse("10.5", Currency::JPY).is_err());
        assert!(Money::parse("99999999999999999999", Currency::USD).is_err());
    }

    #[test]
    fn reports_round_to_the_nearest_cent() {
        assert_eq!(
            Money::parse_nearest("1.429999948", Currency::USD),
            Ok(usd(143))
        );
        assert_eq!(Money::parse_nearest("-1.505", Currency::USD), Ok(usd(-151)));
    }

    #[test]
    fn currencies_do_not_mix() {
        let yen = Money::from_minor(1, Currency::JPY);
        assert!(usd(1).checked_add(yen).is_err());
        assert_eq!(usd(1).compare(yen), None);
    }

    #[test]
    fn rounding_is_what_was_named() {
        assert_eq!(usd(101).scale(0.5, Rounding::Down), Ok(usd(50)));
        assert_eq!(usd(101).scale(0.5, Rounding::Up), Ok(usd(51)));
        assert_eq!(usd(1_000).scale(1.2, Rounding::Down), Ok(usd(1_200)));
        assert!(usd(1).scale(f64::NAN, Rounding::Down).is_err());
        assert_eq!(
            Money::from_f64(4.35, Currency::USD, Rounding::Down),
            Ok(usd(435))
        );
    }

    #[test]
    fn percentages_have_a_sign() {
        assert_eq!(Percentage::parse("20%").unwrap().fraction(), 0.2);
        assert_eq!(Percentage::parse("2.5 %").unwrap().to_string(), "2.5%");
        for bad in ["20", "%", "-5%", "nan%", "inf%"] {
            assert!(Percentage::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn decimal_text_survives_the_round_trip(minor in any::<i64>(), i in 0usize..60) {
            let all: Vec<_> = Currency::all().collect();
            let money = Money::from_minor(minor.max(-i64::MAX), all[i % all.len()]);
            prop_assert_eq!(Money::parse(&money.to_decimal(), money.currency()), Ok(money));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = Money::parse(&text, Currency::USD);
        }
    }
}
