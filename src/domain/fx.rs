//! Converts the CRM's amounts into the tenant's currency by configured rates, exactly: no float
//! between two amounts of money.

use std::collections::BTreeMap;

use super::deal::CrmAmount;
use super::money::{Currency, Money, MoneyError, Rounding};

/// Why an amount cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FxError {
    /// No rate is configured.
    #[error("no rate from {from} into {into}; state fx = {{ {from} = \"…\" }} for the tenant")]
    NoRate {
        /// The CRM's currency.
        from: String,
        /// The tenant's currency.
        into: Currency,
    },
    /// The amount or the rate is not a decimal number.
    #[error("{0:?} is not a decimal number")]
    NotDecimal(String),
    /// A rate must be above zero.
    #[error("the rate of {0} must be above zero")]
    BadRate(String),
    /// The result does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// A decimal number held exactly: `digits` / 10^`places`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal {
    digits: i128,
    places: u32,
}

impl Decimal {
    fn parse(text: &str) -> Result<Self, FxError> {
        let not = || FxError::NotDecimal(text.chars().take(32).collect());
        let trimmed = text.trim();
        let (negative, number) = match trimmed.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, trimmed),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let fraction = fraction.trim_end_matches('0');
        let digit = |b: u8| b.is_ascii_digit();
        if number.trim_matches('.').is_empty()
            || !whole.bytes().all(digit)
            || !fraction.bytes().all(digit)
            || whole.len() + fraction.len() > 18
        {
            return Err(not());
        }
        let mut digits = 0_i128;
        for b in whole.bytes().chain(fraction.bytes()) {
            digits = digits * 10 + i128::from(b - b'0'); // at most 18 digits
        }
        Ok(Self {
            digits: if negative { -digits } else { digits },
            places: u32::try_from(fraction.len()).map_err(|_| not())?,
        })
    }
}

/// Rates into one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FxTable {
    into: Currency,
    company: String,
    rates: BTreeMap<String, Decimal>,
}

impl FxTable {
    /// A table without rates: only amounts in `into` can be had. A deal without a currency of its
    /// own counts as held in `into`.
    #[must_use]
    pub fn new(into: Currency) -> Self {
        Self {
            into,
            company: into.code().to_owned(),
            rates: BTreeMap::new(),
        }
    }

    /// States the currency of deals that name none (the CRM company's own).
    #[must_use]
    pub fn with_company_currency(mut self, code: &str) -> Self {
        self.company = canonical(code);
        self
    }

    /// States that one unit of `code` is `rate` units of the table's currency. The code need not
    /// be one that Meta bills in.
    ///
    /// # Errors
    /// When `rate` is not a decimal number above zero.
    pub fn with_rate(mut self, code: &str, rate: &str) -> Result<Self, FxError> {
        let parsed = Decimal::parse(rate)?;
        if parsed.digits <= 0 {
            return Err(FxError::BadRate(code.chars().take(16).collect()));
        }
        self.rates.insert(canonical(code), parsed);
        Ok(self)
    }

    /// The rates, by the code converted from.
    pub fn rates(&self) -> impl Iterator<Item = (&str, impl std::fmt::Display + use<>)> {
        let rates = self.rates.iter();
        rates.map(|(from, rate)| (from.as_str(), format!("{}e-{}", rate.digits, rate.places)))
    }

    /// The currency of deals that name none.
    #[must_use]
    pub fn company_currency(&self) -> &str {
        &self.company
    }

    /// The currency converted into.
    #[must_use]
    pub const fn into_currency(&self) -> Currency {
        self.into
    }

    /// The amount in the table's currency, rounded as named. `None` for a blank amount.
    ///
    /// # Errors
    /// When there is no rate, the amount is not a number, or the result does not fit.
    pub fn convert(
        &self,
        amount: &CrmAmount,
        rounding: Rounding,
    ) -> Result<Option<Money>, FxError> {
        if amount.decimal.trim().is_empty() {
            return Ok(None);
        }
        let value = Decimal::parse(&amount.decimal)?;
        let code = match amount.currency.as_deref().map(canonical) {
            Some(code) if !code.is_empty() => code,
            _ => self.company.clone(),
        };
        let rate = if code == self.into.code() {
            Decimal {
                digits: 1,
                places: 0,
            }
        } else {
            *self.rates.get(&code).ok_or(FxError::NoRate {
                from: code,
                into: self.into,
            })?
        };
        let overflow = || MoneyError::Overflow(self.into);
        // Each factor has at most 18 digits, the offset three: 39 would overflow, 18 + 18 + 3 may.
        let scaled = value
            .digits
            .checked_mul(rate.digits)
            .and_then(|n| n.checked_mul(i128::from(self.into.offset())))
            .ok_or_else(overflow)?;
        let divisor = 10_i128
            .checked_pow(value.places + rate.places)
            .ok_or_else(overflow)?;
        let (down, rest) = (scaled.div_euclid(divisor), scaled.rem_euclid(divisor));
        let up = match rounding {
            Rounding::Down => false,
            Rounding::Up => rest > 0,
            // Ties away from zero: up for a positive amount, down for a negative one.
            Rounding::Nearest => match (rest * 2).cmp(&divisor) {
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Equal => scaled > 0,
                std::cmp::Ordering::Greater => true,
            },
        };
        let minor = i64::try_from(down + i128::from(up)).map_err(|_| overflow())?;
        Ok(Some(Money::from_minor(minor, self.into)))
    }
}

fn canonical(code: &str) -> String {
    code.trim().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> FxTable {
        FxTable::new(Currency::USD)
            .with_rate("EUR", "1.08")
            .and_then(|t| t.with_rate("KWD", "3.25"))
            .and_then(|t| t.with_rate("JPY", "0.0066"))
            .unwrap()
    }

    fn check(decimal: &str, currency: Option<&str>, minor: i64) {
        let amount = CrmAmount {
            decimal: decimal.into(),
            currency: currency.map(str::to_owned),
        };
        let got = table().convert(&amount, Rounding::Nearest).unwrap();
        assert_eq!(
            got,
            Some(Money::from_minor(minor, Currency::USD)),
            "{decimal} {currency:?}"
        );
    }

    #[test]
    fn amounts_are_converted_exactly() {
        check("100", None, 10_000);
        check("100.005", Some("USD"), 10_001);
        check("-100.005", Some("USD"), -10_001);
        check("1500.50", Some("EUR"), 162_054);
        check("1", Some("eur"), 108);
        check("10", Some("KWD"), 3_250);
        check("10000", Some("JPY"), 6_600);
        check("0", Some("EUR"), 0);
        check(".5", Some("EUR"), 54);
        check("1000000000000.01", None, 100_000_000_000_001);
    }

    #[test]
    fn the_rounding_is_the_one_named() {
        let cent = |text: &str, rounding| {
            let amount = CrmAmount {
                decimal: text.into(),
                currency: None,
            };
            table().convert(&amount, rounding).unwrap().unwrap().minor()
        };
        assert_eq!(cent("0.019", Rounding::Down), 1);
        assert_eq!(cent("0.011", Rounding::Up), 2);
        assert_eq!(cent("-0.011", Rounding::Down), -2);
        assert_eq!(cent("-0.019", Rounding::Up), -1);
    }

    #[test]
    fn a_currency_without_a_rate_is_refused() {
        let amount = CrmAmount {
            decimal: "1".into(),
            currency: Some("GBP".into()),
        };
        assert!(matches!(
            table().convert(&amount, Rounding::Nearest),
            Err(FxError::NoRate { from, .. }) if from == "GBP"
        ));
        let company = table().with_company_currency("GBP");
        let own = CrmAmount {
            decimal: "1".into(),
            currency: None,
        };
        assert!(company.convert(&own, Rounding::Nearest).is_err());
    }

    #[test]
    fn what_is_no_number_is_refused_and_blank_is_unknown() {
        for bad in [
            "-",
            ".",
            "1,5",
            "1e3",
            "NaN",
            "1.2.3",
            "12345678901234567890",
        ] {
            let amount = CrmAmount {
                decimal: bad.into(),
                currency: None,
            };
            assert!(
                table().convert(&amount, Rounding::Nearest).is_err(),
                "{bad}"
            );
        }
        let blank = CrmAmount {
            decimal: "  ".into(),
            currency: Some("GBP".into()),
        };
        assert_eq!(table().convert(&blank, Rounding::Nearest), Ok(None));
        for bad in ["0", "-1", "", "x"] {
            assert!(
                FxTable::new(Currency::USD).with_rate("EUR", bad).is_err(),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_rate_of_one_changes_nothing(minor in -1_000_000_000_000i64..1_000_000_000_000) {
            let money = Money::from_minor(minor, Currency::USD);
            let table = FxTable::new(Currency::USD).with_rate("XAF", "1.000").unwrap();
            let amount = CrmAmount {
                decimal: money.to_decimal(),
                currency: Some("XAF".into()),
            };
            prop_assert_eq!(table.convert(&amount, Rounding::Nearest), Ok(Some(money)));
        }

        #[test]
        fn conversion_never_panics(text in ".{0,30}", code in "[A-Z]{0,3}") {
            let amount = CrmAmount { decimal: text, currency: Some(code) };
            let _ = table().convert(&amount, Rounding::Nearest);
        }
    }
}
