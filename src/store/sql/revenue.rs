//! Rows of the ledger and what is read from it.

use super::cells::{Cells, Columns};
use super::values::{corrupt, credit, id_opt, method_opt, money, uncount};
use crate::domain::attribution::gap::Gap;
use crate::domain::attribution::{Attempt, Method};
use crate::domain::coverage::Cohort;
use crate::domain::ids::AdId;
use crate::domain::money::{Currency, Money};
use crate::domain::revenue::{EntryKind, RevenueEntry};
use crate::domain::time::{Timestamp, from_micros};
use crate::store::StoreError;
use crate::store::revenue::{RevenueTotals, SettledDeal};

const TABLE: &str = "revenue_ledger";

/// Reads an entry.
pub(in crate::store) fn read_entry(row: &impl Cells) -> Result<RevenueEntry, StoreError> {
    let row = Columns::of(TABLE, row);
    let kind: &str = row.get("kind")?;
    Ok(RevenueEntry {
        deal: row.id("deal_id")?,
        credit: credit(
            TABLE,
            row.text("ad_id")?,
            row.text("ad_set_id")?,
            row.text("campaign_id")?,
        )?,
        method: method_opt(TABLE, row.text("method")?)?,
        confidence: row.get("confidence")?,
        kind: EntryKind::parse(kind)
            .ok_or_else(|| corrupt(TABLE, format!("{kind:?} is no kind of entry")))?,
        stage: row.id_opt("stage")?,
        amount: money(TABLE, row.get("amount_minor")?, row.get("currency")?)?,
        is_cash: row.flag("is_cash")?,
        occurred_at: row.at("occurred_at")?,
    })
}

const LOG: &str = "attribution_performance_log";

/// Reads what a layer answered, and when.
fn read_attempt(row: &impl Cells) -> Result<(Timestamp, Attempt), StoreError> {
    let row = Columns::of(LOG, row);
    let method: &str = row.get("method")?;
    let runners_up: Vec<(String, f64)> = serde_json::from_str(row.get("runners_up_json")?)
        .map_err(|bad| corrupt(LOG, format!("runners-up that are no list: {bad}")))?;
    let runners_up = runners_up.into_iter().map(|(ad, sure)| {
        let ad = AdId::new(ad).map_err(|bad| corrupt(LOG, bad.to_string()))?;
        Ok((ad, sure))
    });
    let attempt = Attempt {
        method: Method::parse(method)
            .ok_or_else(|| corrupt(LOG, format!("{method:?} is no layer")))?,
        succeeded: row.flag("succeeded")?,
        confidence: row.get("confidence")?,
        reason: row.get::<&str>("reason")?.to_owned(),
        runners_up: runners_up.collect::<Result<_, StoreError>>()?,
    };
    Ok((row.at("at")?, attempt))
}

/// Reads what each layer last answered, in the order of the layers.
pub(in crate::store) fn read_attempts(
    rows: &[impl Cells],
) -> Result<Vec<(Timestamp, Attempt)>, StoreError> {
    let mut attempts: Vec<_> = rows.iter().map(read_attempt).collect::<Result<_, _>>()?;
    attempts.sort_by_key(|(_, attempt)| attempt.method);
    Ok(attempts)
}

/// Refuses entries that are another deal's.
pub(in crate::store) fn check_entries(
    settled: &SettledDeal,
    doing: &'static str,
) -> Result<(), StoreError> {
    if settled
        .entries
        .iter()
        .all(|entry| entry.deal == settled.deal)
    {
        Ok(())
    } else {
        Err(StoreError::Broken {
            doing,
            cause: "an entry is another deal's".into(),
        })
    }
}

/// Totals from rows of ad, pipeline, cash and currency, by ad.
pub(in crate::store) fn totals(
    rows: Vec<(Option<String>, i64, i64, String)>,
) -> Result<Vec<(Option<AdId>, RevenueTotals)>, StoreError> {
    let mut totals = rows
        .into_iter()
        .map(|(ad, pipeline, cash, currency)| {
            let totals = RevenueTotals {
                pipeline: money(TABLE, pipeline, &currency)?,
                cash: money(TABLE, cash, &currency)?,
            };
            Ok((id_opt(TABLE, ad.as_deref())?, totals))
        })
        .collect::<Result<Vec<(Option<AdId>, _)>, StoreError>>()?;
    totals.sort_by(|a, b| (&a.0, a.1.pipeline.currency()).cmp(&(&b.0, b.1.pipeline.currency())));
    Ok(totals)
}

/// Totals by ad and quarter of an hour; all instants are after 1970, so that the division rounds down.
pub(in crate::store) const BY_QUARTER: &str = "select ad_id, occurred_at / 900000000 as quarter,
         cast(sum(amount_minor) as bigint),
         cast(sum(case when is_cash = 1 then amount_minor else 0 end) as bigint), currency
     from revenue_ledger
     where tenant = $1 and occurred_at >= $2 and occurred_at < $3
     group by ad_id, quarter, currency";

/// Totals from rows of [`BY_QUARTER`].
pub(in crate::store) fn by_quarter(
    rows: Vec<(Option<String>, i64, i64, i64, String)>,
) -> Result<Vec<(Option<AdId>, Timestamp, RevenueTotals)>, StoreError> {
    let mut totals = rows
        .into_iter()
        .map(|(ad, quarter, pipeline, cash, currency)| {
            let totals = RevenueTotals {
                pipeline: money(TABLE, pipeline, &currency)?,
                cash: money(TABLE, cash, &currency)?,
            };
            let begins = from_micros(quarter.saturating_mul(900_000_000));
            Ok((id_opt(TABLE, ad.as_deref())?, begins, totals))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    totals.sort_by(|a: &(Option<AdId>, Timestamp, RevenueTotals), b| {
        (&a.0, a.1, a.2.pipeline.currency()).cmp(&(&b.0, b.1, b.2.pipeline.currency()))
    });
    Ok(totals)
}

/// A row of [`COVERAGE`]: slot, layer, gap, deals and minor units.
pub(in crate::store) type CohortRow = (i64, Option<String>, Option<String>, i64, i64);

/// Deals by quarter of an hour, layer and gap. It reads the same on both sides.
pub(in crate::store) const COVERAGE: &str = "
    select d.created_at / 900000000 as slot, d.method, d.gap, count(*) as deals,
        cast(coalesce(sum((
            select sum(l.amount_minor) from revenue_ledger as l
            where l.tenant = d.tenant and l.deal_id = d.id and l.currency = $3)), 0) as bigint)
    from crm_deals as d
    where d.tenant = $1 and d.created_at >= $2 and d.is_archived = 0
    group by 1, 2, 3 order by 1, 2 nulls first, 3 nulls first";

/// Reads rows of [`COVERAGE`].
pub(in crate::store) fn cohorts(
    rows: Vec<CohortRow>,
    currency: Currency,
) -> Result<Vec<Cohort>, StoreError> {
    let cohort = |(slot, method, gap, deals, minor): CohortRow| {
        let method = method_opt("crm_deals", method.as_deref())?;
        let gap = gap.map(|name| {
            Gap::parse(&name)
                .ok_or_else(|| corrupt("crm_deals", format!("{name:?} is no reason for a gap")))
        });
        Ok(Cohort {
            at: from_micros(slot.saturating_mul(SLOT)),
            method,
            gap: gap.transpose()?,
            deals: uncount(deals),
            value: Money::from_minor(minor, currency),
        })
    };
    rows.into_iter().map(cohort).collect()
}

/// A quarter of an hour, in microseconds: every time zone's days begin on one.
const SLOT: i64 = 900_000_000;
