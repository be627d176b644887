//! How the domain's values lie in columns, and back. What cannot be read back is `Corrupt`.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use super::cells::Columns;
use crate::domain::attribution::{Attribution, Credit, Method};
use crate::domain::change::Target;
use crate::domain::ids::BadId;
use crate::domain::money::{Currency, Money};
use crate::domain::structure::{EntityKind, EntityRef, RunStatus};
use crate::domain::time::{self, Date, Timestamp};
use crate::store::StoreError;

/// An instant as it is kept.
pub(in crate::store) fn micros(at: Timestamp) -> i64 {
    time::to_micros(at)
}

/// An instant that may be absent, as it is kept.
pub(in crate::store) fn micros_opt(at: Option<Timestamp>) -> Option<i64> {
    at.map(time::to_micros)
}

/// An instant that may be absent, read back.
pub(in crate::store) fn at_opt(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(time::from_micros)
}

/// Vendor text without NUL characters, which not every database takes.
pub(in crate::store) fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', ""))
    } else {
        Cow::Borrowed(text)
    }
}

/// Vendor text that may be absent, cleaned.
pub(in crate::store) fn clean_opt(text: Option<&str>) -> Option<Cow<'_, str>> {
    text.map(clean)
}

/// A row of `table` that cannot be read.
pub(in crate::store) fn corrupt(table: &'static str, detail: impl Display) -> StoreError {
    StoreError::Corrupt {
        table,
        detail: detail.to_string(),
    }
}

/// Reads an id.
pub(in crate::store) fn id<T: FromStr<Err = BadId>>(
    table: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    text.parse().map_err(|cause| corrupt(table, cause))
}

/// Reads an id that may be absent.
pub(in crate::store) fn id_opt<T: FromStr<Err = BadId>>(
    table: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, StoreError> {
    text.map(|text| id(table, text)).transpose()
}

/// Reads an amount of money.
pub(in crate::store) fn money(
    table: &'static str,
    minor: i64,
    code: &str,
) -> Result<Money, StoreError> {
    Currency::new(code)
        .map(|currency| Money::from_minor(minor, currency))
        .map_err(|cause| corrupt(table, cause))
}

/// Reads an amount that may be absent; one without a currency is corrupt.
pub(in crate::store) fn money_opt(
    table: &'static str,
    minor: Option<i64>,
    code: Option<&str>,
) -> Result<Option<Money>, StoreError> {
    match (minor, code) {
        (None, _) => Ok(None),
        (Some(minor), Some(code)) => money(table, minor, code).map(Some),
        (Some(_), None) => Err(corrupt(table, "an amount has no currency")),
    }
}

/// Reads a status.
pub(in crate::store) fn run_status(
    table: &'static str,
    name: &str,
) -> Result<RunStatus, StoreError> {
    RunStatus::parse(name).ok_or_else(|| corrupt(table, format!("{name:?} is no status")))
}

/// Reads which object a row is about.
pub(in crate::store) fn entity(
    table: &'static str,
    kind: &str,
    id: &str,
) -> Result<EntityRef, StoreError> {
    let kind = match kind {
        "campaign" => EntityKind::Campaign,
        "adset" => EntityKind::AdSet,
        "ad" => EntityKind::Ad,
        other => return Err(corrupt(table, format!("{other:?} is no kind of object"))),
    };
    EntityRef::new(kind, id).map_err(|cause| corrupt(table, cause))
}

/// Reads a calendar day.
pub(in crate::store) fn day(table: &'static str, text: &str) -> Result<Date, StoreError> {
    time::parse_date(text).map_err(|cause| corrupt(table, cause))
}

/// A count as it is kept; one beyond 63 bits is kept as the largest.
pub(in crate::store) fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A count read back.
pub(in crate::store) fn uncount(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A target in its three columns: amount, currency, status.
pub(in crate::store) struct TargetColumns {
    pub(in crate::store) minor: Option<i64>,
    pub(in crate::store) currency: Option<String>,
    pub(in crate::store) status: Option<&'static str>,
}

impl TargetColumns {
    /// The columns of a target; all empty when there is none.
    pub(in crate::store) fn of(target: Option<Target>) -> Self {
        match target {
            Some(Target::DailyBudget(money)) => Self {
                minor: Some(money.minor()),
                currency: Some(money.currency().code().to_owned()),
                status: None,
            },
            Some(Target::Status(status)) => Self {
                minor: None,
                currency: None,
                status: Some(status.as_str()),
            },
            None => Self {
                minor: None,
                currency: None,
                status: None,
            },
        }
    }
}

/// Reads a target from its three columns.
pub(in crate::store) fn target(
    table: &'static str,
    minor: Option<i64>,
    currency: Option<&str>,
    status: Option<&str>,
) -> Result<Option<Target>, StoreError> {
    match (minor, status) {
        (None, None) => Ok(None),
        (Some(minor), None) => {
            Ok(money_opt(table, Some(minor), currency)?.map(Target::DailyBudget))
        }
        (None, Some(status)) => Ok(Some(Target::Status(run_status(table, status)?))),
        (Some(_), Some(_)) => Err(corrupt(table, "a value is a budget and a status at once")),
    }
}

/// Reads a layer that may be absent.
pub(in crate::store) fn method_opt(
    table: &'static str,
    name: Option<&str>,
) -> Result<Option<Method>, StoreError> {
    name.map(|name| {
        Method::parse(name).ok_or_else(|| corrupt(table, format!("{name:?} is no layer")))
    })
    .transpose()
}

/// The columns of a credit: the same in `crm_deals` and `conversion_tracking`.
#[derive(Debug, Default)]
pub(in crate::store) struct CreditColumns<'a> {
    pub(in crate::store) method: Option<&'static str>,
    pub(in crate::store) confidence: Option<f64>,
    pub(in crate::store) ad_id: Option<&'a str>,
    pub(in crate::store) ad_set_id: Option<&'a str>,
    pub(in crate::store) campaign_id: Option<&'a str>,
    pub(in crate::store) visit_id: Option<&'a str>,
    pub(in crate::store) clicked_at: Option<i64>,
    pub(in crate::store) reason: Option<Cow<'a, str>>,
}

impl<'a> CreditColumns<'a> {
    /// The columns of a credit; all empty when there is none.
    pub(in crate::store) fn of(attribution: Option<&'a Attribution>) -> Self {
        attribution.map_or_else(Self::default, |a| Self {
            method: Some(a.method.as_str()),
            confidence: Some(a.confidence),
            ad_id: Some(a.credit.ad.as_str()),
            ad_set_id: a.credit.ad_set.as_ref().map(|id| id.as_str()),
            campaign_id: a.credit.campaign.as_ref().map(|id| id.as_str()),
            visit_id: a.visit.as_ref().map(|id| id.as_str()),
            clicked_at: micros_opt(a.clicked_at),
            reason: Some(clean(&a.reason)),
        })
    }
}

/// Reads a credit from its columns.
pub(in crate::store) fn attribution(
    table: &'static str,
    row: Columns<'_>,
) -> Result<Option<Attribution>, StoreError> {
    let Some(method) = method_opt(table, row.text("method")?)? else {
        return Ok(None);
    };
    let credit = credit(
        table,
        row.text("ad_id")?,
        row.text("ad_set_id")?,
        row.text("campaign_id")?,
    )?;
    Ok(Some(Attribution {
        method,
        confidence: row.get("confidence")?,
        credit: credit.ok_or_else(|| corrupt(table, "a credit names no ad"))?,
        visit: row.id_opt("visit_id")?,
        clicked_at: row.at_opt("clicked_at")?,
        reason: row.text("reason")?.unwrap_or_default().to_owned(),
    }))
}

/// Reads the ad that has a credit.
pub(in crate::store) fn credit(
    table: &'static str,
    ad: Option<&str>,
    ad_set: Option<&str>,
    campaign: Option<&str>,
) -> Result<Option<Credit>, StoreError> {
    let Some(ad) = id_opt(table, ad)? else {
        return Ok(None);
    };
    Ok(Some(Credit {
        ad,
        ad_set: id_opt(table, ad_set)?,
        campaign: id_opt(table, campaign)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_characters_are_left_out() {
        for (given, kept) in [
            ("", ""),
            ("plain", "plain"),
            ("a\0b\0", "ab"),
            ("ä\0🦀", "ä🦀"),
        ] {
            assert_eq!(clean(given), kept);
        }
    }

    #[test]
    fn a_target_survives_its_columns() {
        for wanted in [
            None,
            Some(Target::Status(RunStatus::Paused)),
            Some(Target::DailyBudget(Money::from_minor(
                12_345,
                Currency::JPY,
            ))),
        ] {
            let columns = TargetColumns::of(wanted);
            let found = target(
                "t",
                columns.minor,
                columns.currency.as_deref(),
                columns.status,
            );
            assert_eq!(found.unwrap(), wanted);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (found, word) in [
            (money("t", 1, "XXX").map(|_| ()), "XXX"),
            (entity("t", "adgroup", "1").map(|_| ()), "adgroup"),
            (entity("t", "ad", "").map(|_| ()), "empty"),
            (day("t", "2026-13-01").map(|_| ()), "month"),
            (money_opt("t", Some(1), None).map(|_| ()), "currency"),
        ] {
            let text = found.unwrap_err().to_string();
            assert!(text.contains("row of t"), "{text}");
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn a_count_is_never_negative() {
        assert_eq!(count(u64::MAX), i64::MAX);
        assert_eq!(uncount(-1), 0);
        assert_eq!(uncount(count(7)), 7);
    }
}
