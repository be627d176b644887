//! Rows of what was learned.

use super::cells::{Cells, Columns};
use super::values::{corrupt, money};
use crate::domain::attribution::Method;
use crate::domain::attribution::reliability::Band;
use crate::domain::time::Timestamp;
use crate::domain::worth::{Interval, LearnedStage};
use crate::store::StoreError;

const STAGES: &str = "synthetic_revenue_config";
const BANDS: &str = "attribution_reliability";

/// Reads what was learned of a stage, and when.
pub(in crate::store) fn read_stage(
    row: &impl Cells,
) -> Result<(LearnedStage, Timestamp), StoreError> {
    let row = Columns::of(STAGES, row);
    let code: &str = row.get("currency")?;
    let amount = |name| money(STAGES, row.get(name)?, code);
    let stage = LearnedStage {
        stage: row.id("stage")?,
        deals: row.count("learned_from_deals")?,
        won: row.count("learned_won")?,
        lost: row.count("learned_lost")?,
        rate: Interval {
            mid: row.get("learned_rate")?,
            low: row.get("learned_rate_low")?,
            high: row.get("learned_rate_high")?,
        },
        days_to_won: row.get("learned_days_to_won")?,
        value: amount("learned_minor")?,
        low: amount("learned_low_minor")?,
        high: amount("learned_high_minor")?,
    };
    Ok((stage, row.at("learned_at")?))
}

/// Reads how often the matches of a band were right.
pub(in crate::store) fn read_band(row: &impl Cells) -> Result<Band, StoreError> {
    let row = Columns::of(BANDS, row);
    let method: &str = row.get("method")?;
    let tenth: i64 = row.get("tenth")?;
    Ok(Band {
        method: Method::parse(method)
            .ok_or_else(|| corrupt(BANDS, format!("{method:?} is no layer")))?,
        tenth: u8::try_from(tenth).map_err(|_| corrupt(BANDS, format!("{tenth} is no tenth")))?,
        matched: row.get("matched")?,
        said: row.get("said")?,
        was_right: row.get("was_right")?,
    })
}
