//! Amounts: money, its currency, shares of it, exchange rates.

use std::collections::BTreeMap;

use super::fault::FaultKind;
use super::read::{Context, FromNode};
use super::tree::{Node, Value};
use crate::domain::money::{Currency, Money, MoneyError, Percentage};

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
