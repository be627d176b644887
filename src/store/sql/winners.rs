//! Rows of `winners`.

use super::cells::{Cells, Columns};
use super::values::{corrupt, money};
use crate::store::StoreError;
use crate::store::winners::PastAd;

const TABLE: &str = "winners";

/// A vector as it is kept.
pub(in crate::store) fn to_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

pub(in crate::store) fn from_bytes(bytes: &[u8]) -> Result<Vec<f32>, StoreError> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    if rest.is_empty() {
        Ok(numbers.iter().map(|b| f32::from_le_bytes(*b)).collect())
    } else {
        Err(corrupt(TABLE, "a vector has a broken number"))
    }
}

/// Reads a past ad.
pub(in crate::store) fn read(row: &impl Cells) -> Result<PastAd, StoreError> {
    let row = Columns::of(TABLE, row);
    Ok(PastAd {
        ad: row.id("ad_id")?,
        name: row.get("name")?,
        text: row.get("text")?,
        format: row.get("format")?,
        call_to_action: row.get("call_to_action")?,
        theme: row.get("theme")?,
        made_at: row.at_opt("made_at")?,
        model: row.get("model")?,
        vector: from_bytes(row.get("vector")?)?,
        impressions: row.count("impressions")?,
        clicks: row.count("clicks")?,
        spend: money(TABLE, row.get("spend_minor")?, row.get("currency")?)?,
        pipeline: money(
            TABLE,
            row.get("pipeline_minor")?,
            row.get("pipeline_currency")?,
        )?,
        is_winner: row.flag("is_winner")?,
        is_mature: row.flag("is_mature")?,
        is_by_hand: row.flag("is_by_hand")?,
        is_left_out: row.flag("is_left_out")?,
        updated_at: row.at("updated_at")?,
    })
}
