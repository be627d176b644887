//! Rows of `click_tracking`.

use super::cells::{Cells, Columns};
use super::values::{clean, micros};
use crate::domain::ids::TenantId;
use crate::domain::visit::{AdParameters, KeyedHash, Visit};
use crate::store::StoreError;
use crate::store::visits::{ClickLookup, VisitKey};

const TABLE: &str = "click_tracking";

/// Takes over a visitor's consent.
pub(in crate::store) const SET_CONSENT: &str = "update click_tracking
     set has_consent = $3, fingerprint = $4, ip = $5, user_agent = $6
     where tenant = $1 and id = $2";

/// A visit to keep.
#[derive(Debug)]
pub(in crate::store) struct Keep {
    pub(in crate::store) tenant: TenantId,
    pub(in crate::store) visit: Visit,
}

/// A hash as it is kept: left out when the visitor did not consent.
pub(in crate::store) fn hash<'v>(visit: &'v Visit, hash: &'v Option<KeyedHash>) -> Option<&'v str> {
    hash.as_ref()
        .filter(|_| visit.has_consent)
        .map(|hash| hash.0.as_str())
}

/// Reads a visit.
pub(in crate::store) fn read(row: &impl Cells) -> Result<Visit, StoreError> {
    let row = Columns::of(TABLE, row);
    let hash = |name: &str| Ok::<_, StoreError>(row.get::<Option<String>>(name)?.map(KeyedHash));
    Ok(Visit {
        id: row.id("id")?,
        at: row.at("at")?,
        ad: AdParameters {
            fbclid: row.get("fbclid")?,
            ad: row.id_opt("ad_id")?,
            ad_set: row.id_opt("ad_set_id")?,
            campaign: row.id_opt("campaign_id")?,
            utm_source: row.get("utm_source")?,
        },
        has_consent: row.flag("has_consent")?,
        fingerprint: hash("fingerprint")?,
        ip: hash("ip")?,
        user_agent: hash("user_agent")?,
    })
}

/// Lookups in one statement at most: what a statement answers is held in memory as a whole.
pub(in crate::store) const CHUNK: usize = 1_000;

/// A lookup as it is asked: its place among all, the value, and the window in microseconds.
pub(in crate::store) type Asked = (usize, String, i64, i64);

/// The lookups of each column beside the statement that answers them.
pub(in crate::store) fn by_column(
    lookups: &[ClickLookup],
    [fbclid, fingerprint, ip]: [&'static str; 3],
) -> [(&'static str, Vec<Asked>); 3] {
    let mut columns = [
        (fbclid, Vec::new()),
        (fingerprint, Vec::new()),
        (ip, Vec::new()),
    ];
    for (place, ClickLookup { key, from, to }) in lookups.iter().enumerate() {
        let [(_, by_fbclid), (_, by_fingerprint), (_, by_ip)] = &mut columns;
        let (column, value) = match key {
            VisitKey::Fbclid(value) => (by_fbclid, value),
            VisitKey::Fingerprint(hash) => (by_fingerprint, &hash.0),
            VisitKey::Ip(hash) => (by_ip, &hash.0),
        };
        column.push((place, clean(value).into_owned(), micros(*from), micros(*to)));
    }
    columns
}

/// Puts the visits of an answer, which names its lookups by their place in `asked`, where they belong.
pub(in crate::store) fn spread(
    rows: &[impl Cells],
    asked: &[Asked],
    found: &mut [Vec<Visit>],
) -> Result<(), StoreError> {
    for row in rows {
        let n: i64 = Columns::of(TABLE, row).get("n")?;
        let place = usize::try_from(n).ok().and_then(|n| asked.get(n));
        if let Some(found) = place.and_then(|(place, ..)| found.get_mut(*place)) {
            found.push(read(row)?);
        }
    }
    Ok(())
}
