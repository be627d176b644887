//! Rows of `click_tracking`.

use super::cells::{Cells, Columns};
use super::values::{clean, corrupt, id, id_opt, micros};
use crate::domain::ids::TenantId;
use crate::domain::time::from_micros;
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
pub(in crate::store) const CHUNK: usize = 250;

/// Statements under way at once for one who looks clicks up.
pub(in crate::store) const AT_ONCE: usize = 2;

/// A lookup as it is asked: its place among all, the value, and the window in microseconds.
pub(in crate::store) type Asked = (usize, String, i64, i64);

/// The lookups of one column, and the statement that answers them.
pub(in crate::store) struct OfColumn {
    /// The statement.
    pub(in crate::store) statement: &'static str,
    /// What is looked for.
    pub(in crate::store) asked: Vec<Asked>,
    is_fbclid: bool,
}

/// The lookups of each column beside the statement that answers them.
pub(in crate::store) fn by_column(
    lookups: &[ClickLookup],
    statements: [&'static str; 3],
) -> [OfColumn; 3] {
    let mut columns = statements.map(|statement| OfColumn {
        statement,
        asked: Vec::new(),
        is_fbclid: false,
    });
    let [by_fbclid, by_fingerprint, by_ip] = &mut columns;
    by_fbclid.is_fbclid = true;
    for (place, ClickLookup { key, from, to }) in lookups.iter().enumerate() {
        let (column, value) = match key {
            VisitKey::Fbclid(value) => (&mut *by_fbclid, value),
            VisitKey::Fingerprint(hash) => (&mut *by_fingerprint, &hash.0),
            VisitKey::Ip(hash) => (&mut *by_ip, &hash.0),
        };
        let value = clean(value).into_owned();
        column
            .asked
            .push((place, value, micros(*from), micros(*to)));
    }
    columns
}

/// The columns of a click that a lookup answers with, in this order.
pub(in crate::store) type Found = (
    String,
    i64,
    Option<String>,
    Option<String>,
    Option<String>,
    i64,
    Option<String>,
    Option<String>,
    Option<String>,
);

impl OfColumn {
    /// Puts the clicks that answer a lookup where they belong, the newest first. `n` is its place
    /// in `asked`, a chunk of this column's.
    pub(in crate::store) fn put(
        &self,
        n: i64,
        asked: &[Asked],
        clicks: Vec<Found>,
        found: &mut [Vec<Visit>],
    ) -> Result<(), StoreError> {
        let asked = usize::try_from(n).ok().and_then(|n| asked.get(n));
        let Some((place, value, ..)) = asked else {
            return Err(corrupt(TABLE, "an answer belongs to no question"));
        };
        let fbclid = self.is_fbclid.then_some(value);
        let clicks = clicks.into_iter().map(|click| self::click(click, fbclid));
        let mut clicks = clicks.collect::<Result<Vec<_>, _>>()?;
        // They come in this order, but no aggregate promises it.
        clicks.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        if let Some(found) = found.get_mut(*place) {
            *found = clicks;
        }
        Ok(())
    }
}

fn click(found: Found, fbclid: Option<&String>) -> Result<Visit, StoreError> {
    let (visit, at, ad, ad_set, campaign, has_consent, fingerprint, ip, user_agent) = found;
    Ok(Visit {
        id: id(TABLE, &visit)?,
        at: from_micros(at),
        ad: AdParameters {
            fbclid: fbclid.cloned(),
            ad: id_opt(TABLE, ad.as_deref())?,
            ad_set: id_opt(TABLE, ad_set.as_deref())?,
            campaign: id_opt(TABLE, campaign.as_deref())?,
            utm_source: None,
        },
        has_consent: has_consent != 0,
        fingerprint: fingerprint.map(KeyedHash),
        ip: ip.map(KeyedHash),
        user_agent: user_agent.map(KeyedHash),
    })
}
