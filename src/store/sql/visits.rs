//! Rows of `click_tracking`.

use super::cells::{Cells, Columns};
use crate::domain::ids::TenantId;
use crate::domain::visit::{AdParameters, KeyedHash, Visit};
use crate::store::StoreError;

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
