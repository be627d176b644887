//! Rows of what is reported; both stores take the statements as they are.

use super::cells::{Cells, Columns};
use super::values::{attribution, money};
use crate::store::StoreError;
use crate::store::reports::{ReportedConversion, ReportedResult};

const CONVERSIONS: &str = "reported_conversions";
const RESULTS: &str = "reported_results";

pub(in crate::store) const RECORD_CONVERSION: &str =
    "insert into reported_conversions (tenant, id, kind, value_minor, currency, occurred_at,
         reported_at, method, confidence, ad_id, ad_set_id, campaign_id, clicked_at, reason)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
     on conflict (tenant, id) do update set
         kind = excluded.kind, value_minor = excluded.value_minor, currency = excluded.currency,
         occurred_at = excluded.occurred_at, reported_at = excluded.reported_at,
         method = excluded.method, confidence = excluded.confidence, ad_id = excluded.ad_id,
         ad_set_id = excluded.ad_set_id, campaign_id = excluded.campaign_id,
         clicked_at = excluded.clicked_at, reason = excluded.reason";

pub(in crate::store) const LIST_CONVERSIONS: &str =
    "select id, kind, value_minor, currency, occurred_at, reported_at, method, confidence, ad_id,
         ad_set_id, campaign_id, cast(null as text) as visit_id, clicked_at, reason
     from reported_conversions
     where tenant = $1 and (reported_at, id) < ($2, $3)
     order by reported_at desc, id desc limit $4";

pub(in crate::store) const RECORD_RESULT: &str =
    "insert into reported_results (tenant, source, ad_id, value_minor, spend_minor, currency,
         reported_at)
     values ($1, $2, $3, $4, $5, $6, $7)
     on conflict (tenant, source, ad_id) do update set
         value_minor = excluded.value_minor, spend_minor = excluded.spend_minor,
         currency = excluded.currency, reported_at = excluded.reported_at";

pub(in crate::store) const LIST_RESULTS: &str =
    "select ad_id, value_minor, spend_minor, currency, reported_at from reported_results
     where tenant = $1 and source = $2 order by ad_id";

/// Reads a conversion.
pub(in crate::store) fn read_conversion(
    row: &impl Cells,
) -> Result<ReportedConversion, StoreError> {
    let row = Columns::of(CONVERSIONS, row);
    Ok(ReportedConversion {
        id: row.get("id")?,
        kind: row.get("kind")?,
        value: money(CONVERSIONS, row.get("value_minor")?, row.get("currency")?)?,
        at: row.at("occurred_at")?,
        reported_at: row.at("reported_at")?,
        attribution: attribution(CONVERSIONS, row)?,
    })
}

/// Reads what an ad is said to have brought.
pub(in crate::store) fn read_result(row: &impl Cells) -> Result<ReportedResult, StoreError> {
    let row = Columns::of(RESULTS, row);
    let currency: &str = row.get("currency")?;
    let spend: Option<i64> = row.get("spend_minor")?;
    Ok(ReportedResult {
        ad: row.id("ad_id")?,
        value: money(RESULTS, row.get("value_minor")?, currency)?,
        spend: spend
            .map(|minor| money(RESULTS, minor, currency))
            .transpose()?,
        reported_at: row.at("reported_at")?,
    })
}
