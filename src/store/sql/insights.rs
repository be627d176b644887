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

pub(in crate::store) fn spend_of_hours(
    rows: Vec<(String, i64, i64, String)>,
) -> Result<Vec<(ReportWindow, Money)>, StoreError> {
    rows.into_iter()
        .map(|(date, hour, minor, currency)| {
            let hour = u8::try_from(hour).map_err(|cause| corrupt(TABLE, cause))?;
            let window = ReportWindow::Hour(day(TABLE, &date)?, hour);
            Ok((window, money(TABLE, minor, &currency)?))
        })
        .collect()
}

/// Takes away what a pull covers, by the names of [`KEPT`]; `$4` is the pull's time. What follows bounds
/// the campaigns.
pub(in crate::store) const fn uncover(is_hourly: bool) -> &'static str {
    // Written out, since only so is an index of these rows alone of use.
    if is_hourly {
        "delete from ad_insights
         where tenant = $1 and day between $2 and $3 and hour >= 0 and pulled_at <= $4"
    } else {
        "delete from ad_insights
         where tenant = $1 and day between $2 and $3 and hour = -1 and pulled_at <= $4"
    }
}

/// Daily rows that a pull covers, as they are kept; `$1` is the tenant, `$2` and `$3` are the days, `$4`
/// the pull's time. What follows bounds the campaigns.
pub(in crate::store) const KEPT: &str = "
    select ad_id, day, hour, ad_set_id, campaign_id, impressions, clicks, spend_minor, currency,
        reach, actions_json, known_since
    from ad_insights
    where tenant = $1 and day between $2 and $3 and hour = -1 and pulled_at <= $4";

/// A daily row with since when it has been known so.
#[derive(Debug)]
pub(in crate::store) struct Known {
    pub(in crate::store) row: AdInsight,
    pub(in crate::store) actions: String,
    pub(in crate::store) since: i64,
}

/// Reads a row of [`KEPT`].
pub(in crate::store) fn known(row: &impl Cells) -> Result<Known, StoreError> {
    let columns = Columns::of(TABLE, row);
    Ok(Known {
        row: read(row)?,
        actions: columns.get::<&str>("actions_json")?.to_owned(),
        since: columns.get("known_since")?,
    })
}

/// Tells what a pull found as it was from what it found another, or gone: since when each of its rows
/// has been known, and what was known until it. Of two pulls at the same instant the second adds
/// nothing to what the first put aside.
pub(in crate::store) fn told_apart(
    kept: Vec<Known>,
    rows: Vec<(&AdInsight, String)>,
    pulled_at: i64,
) -> (Vec<(&AdInsight, String, i64)>, Vec<Known>) {
    let mut kept: BTreeMap<_, _> = kept
        .into_iter()
        .map(|known| ((known.row.ad.clone(), known.row.window), known))
        .collect();
    let mut past = Vec::new();
    let found = rows
        .into_iter()
        .map(|(row, actions)| {
            let since = match kept.remove(&(row.ad.clone(), row.window)) {
                Some(known) if known.row == *row => known.since,
                Some(known) => {
                    past.push(known);
                    pulled_at
                }
                None => pulled_at,
            };
            (row, actions, since)
        })
        .collect();
    past.extend(kept.into_values());
    past.retain(|known| known.since < pulled_at);
    (found, past)
}

/// Daily rows as they were known; `$1` is the tenant, `$2` the first day, `$3` the instant. Where a
/// pull came late, after a newer one had found the row gone, two tell of the same: [`as_of`] takes the
/// one that was found last.
pub(in crate::store) const AS_OF: &str = "
    select ad_id, day, hour, ad_set_id, campaign_id, impressions, clicks, spend_minor, currency,
        reach, actions_json, known_since
    from ad_insights where tenant = $1 and day >= $2 and hour = -1 and known_since <= $3
    union all
    select ad_id, day, hour, ad_set_id, campaign_id, impressions, clicks, spend_minor, currency,
        reach, actions_json, known_since
    from ad_insight_past
    where tenant = $1 and day >= $2 and known_since <= $3 and known_until > $3
    order by 1, 2, 12 desc";

/// One row of each ad and day of what [`AS_OF`] finds.
pub(in crate::store) fn as_of(mut rows: Vec<AdInsight>) -> Vec<AdInsight> {
    rows.dedup_by(|next, kept| next.ad == kept.ad && next.window == kept.window);
    rows
}
