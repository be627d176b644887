//! What single cells of an ads export mean: ids and names, kinds of result, delivery.

use super::reading::Raw;
use super::{AdRow, CLOSED_WON, Delivery, LEAD};
use crate::domain::ids::{AdId, AdSetId, CampaignId, MAX_LEN};
use crate::import::columns;

pub(super) fn ad_row(raw: &Raw<'_>) -> Result<AdRow, String> {
    let [
        (campaign_id, campaign_name),
        (set_id, set_name),
        (ad_id, ad_name),
    ] = raw.names;
    let campaign_key = match first_of(campaign_id, campaign_name) {
        "" => "(all)".to_owned(),
        key => key.to_owned(),
    };
    let set_key = level_key(&campaign_key, set_id, set_name);
    let ad_key = level_key(&set_key, ad_id, ad_name);
    if [campaign_id, campaign_name, set_id, set_name, ad_id, ad_name]
        .iter()
        .all(|t| t.is_empty())
    {
        return Err("the row names no campaign, ad set or ad".to_owned());
    }
    let bad = |e: crate::domain::ids::BadId| e.to_string();
    Ok(AdRow {
        line: raw.row.line,
        campaign: CampaignId::new(fitted(&campaign_key)).map_err(bad)?,
        campaign_name: first_of(campaign_name, &campaign_key).to_owned(),
        ad_set: AdSetId::new(fitted(&set_key)).map_err(bad)?,
        ad_set_name: first_of(set_name, &set_key).to_owned(),
        ad: AdId::new(fitted(&ad_key)).map_err(bad)?,
        ad_name: first_of(ad_name, &ad_key).to_owned(),
        day: raw.day,
        days: raw.days,
        impressions: raw.impressions,
        clicks: raw.clicks,
        spend: raw.spend,
        counts: raw.counts.clone(),
        value: raw.value,
        delivery: raw.delivery,
    })
}

fn first_of<'t>(a: &'t str, b: &'t str) -> &'t str {
    if a.is_empty() { b } else { a }
}

/// The key of an object: its id, else its name under its parent (names repeat between parents), else
/// the parent itself.
fn level_key(parent: &str, id: &str, name: &str) -> String {
    match (id, name) {
        ("", "") => parent.to_owned(),
        ("", name) => format!("{parent} / {name}"),
        (id, _) => id.to_owned(),
    }
}

/// Names have line breaks and no limit; an id has neither. What is cut off is replaced by a hash, so
/// that two long names stay two.
fn fitted(key: &str) -> String {
    let clean: String = key
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if clean.len() <= MAX_LEN {
        return clean;
    }
    // FNV-1a, 64 bits.
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut end = MAX_LEN - 20;
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…{hash:016x}", clean.get(..end).unwrap_or(""))
}

/// Digits of an id that a spreadsheet has turned into a number with a power of ten.
pub(super) fn is_damaged_id(cell: &str) -> bool {
    cell.split_once(['e', 'E'])
        .is_some_and(|(mantissa, power)| {
            power.starts_with('+')
                && power.len() > 1
                && power.bytes().skip(1).all(|b| b.is_ascii_digit())
                && mantissa.starts_with(|c: char| c.is_ascii_digit())
                && mantissa
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b == b'.' || b == b',')
        })
}

/// An id without what tools put before it to keep spreadsheets from rounding it: `ag:123`, `'123`,
/// `="123"`.
pub(super) fn plain_id(cell: &str) -> &str {
    let bare = cell.trim_start_matches(['\'', '=']).trim_matches('"');
    let digits = bare.split_once(':').map_or(bare, |(head, rest)| {
        let prefix = head.len() <= 2 && head.bytes().all(|b| b.is_ascii_lowercase());
        if prefix { rest } else { bare }
    });
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        digits
    } else {
        cell
    }
}

/// A cell that stands for all values of its column, in rows that sum up.
pub(super) fn is_all(cell: &str) -> bool {
    matches!(
        columns::normal(cell).as_str(),
        "all" | "alle" | "todos" | "todas" | "tous" | "toutes" | "tutti" | "total" | "gesamt"
    )
}

/// The stage that results of this kind count for. Source of the indicators: Meta, ads insights,
/// `action_type`.
pub(super) fn result_stage(kind: &str) -> Option<&'static str> {
    let kind = columns::normal(kind);
    let has = |words: &[&str]| words.iter().any(|w| kind.contains(w));
    if has(&["lead", "clientes potenciales", "prospect", "contatti"]) {
        Some(LEAD)
    } else if has(&[
        "purchase", "kauf", "kaufe", "compra", "achat", "acquist", "aankop",
    ]) {
        Some(CLOSED_WON)
    } else {
        None
    }
}

pub(super) fn delivery(cell: &str) -> Delivery {
    match columns::normal(cell).as_str() {
        "active"
        | "aktiv"
        | "activo"
        | "activa"
        | "actif"
        | "active learning"
        | "ativo"
        | "ativa"
        | "learning"
        | "recently completed learning" => Delivery::Live,
        "inactive" | "not delivering" | "off" | "paused" | "inaktiv" | "inactivo" | "inactiva"
        | "inactif" | "inativo" | "inativa" | "ad off" | "ad set off" | "adset off"
        | "campaign off" | "aus" | "pausiert" => Delivery::Off,
        "archived" | "deleted" | "completed" | "archiviert" | "abgeschlossen" | "geloscht"
        | "archivado" | "completado" | "archive" | "termine" | "concluido" | "arquivado" => {
            Delivery::Ended
        }
        _ => Delivery::Unknown,
    }
}
