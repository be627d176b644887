//! Rows of `ad_insights`.

use std::collections::BTreeMap;

use super::cells::{Cells, Columns};
use super::json;
use super::values::{corrupt, day, money, uncount};
use crate::domain::insight::{ActionCount, AdInsight, ReportWindow};
use crate::domain::money::Money;
use crate::domain::time::Date;
use crate::store::StoreError;

const TABLE: &str = "ad_insights";

/// The hour column of a daily row.
const WHOLE_DAY: i64 = -1;

/// The hour column of a row.
pub(in crate::store) fn hour(window: ReportWindow) -> i64 {
    window.hour().map_or(WHOLE_DAY, i64::from)
}

/// Reads a row.
pub(in crate::store) fn read(row: &impl Cells) -> Result<AdInsight, StoreError> {
    let row = Columns::of(TABLE, row);
    let date = day(TABLE, row.get("day")?)?;
    let window = match row.get::<i64>("hour")? {
        WHOLE_DAY => ReportWindow::Day(date),
        hour => ReportWindow::Hour(
            date,
            u8::try_from(hour).map_err(|cause| corrupt(TABLE, cause))?,
        ),
    };
    let actions: Vec<(String, f64)> =
        serde_json::from_str(row.get("actions_json")?).map_err(|cause| corrupt(TABLE, cause))?;
    Ok(AdInsight {
        ad: row.id("ad_id")?,
        ad_set: row.id("ad_set_id")?,
        campaign: row.id("campaign_id")?,
        window,
        impressions: row.count("impressions")?,
        clicks: row.count("clicks")?,
        spend: money(TABLE, row.get("spend_minor")?, row.get("currency")?)?,
        reach: row.get::<Option<i64>>("reach")?.map(uncount),
        actions: actions
            .into_iter()
            .map(|(kind, count)| ActionCount { kind, count })
            .collect(),
    })
}

/// The rows to keep with their actions as JSON, by ad and window: of two rows of one ad and window
/// in one pull the later stands.
pub(in crate::store) fn latest<'r>(
    rows: &'r [AdInsight],
    doing: &'static str,
) -> Result<Vec<(&'r AdInsight, String)>, StoreError> {
    let mut latest = BTreeMap::new();
    for row in rows {
        let pairs: Vec<(&str, f64)> = row
            .actions
            .iter()
            .map(|action| (action.kind.as_str(), action.count))
            .collect();
        // In JSON a NUL is an escape; it must not come back to life in a reader.
        let actions = json(&pairs, doing)?.replace("\\u0000", "");
        latest.insert((&row.ad, row.window), (row, actions));
    }
    Ok(latest.into_values().collect())
}

/// Spend from rows of day, amount and currency, in their order.
pub(in crate::store) fn spend(
    rows: Vec<(String, i64, String)>,
) -> Result<Vec<(Date, Money)>, StoreError> {
    rows.into_iter()
        .map(|(date, minor, currency)| Ok((day(TABLE, &date)?, money(TABLE, minor, &currency)?)))
        .collect()
}
