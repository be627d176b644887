//! Statements and rows of syncs; both stores take the statements as they are.

use std::collections::BTreeMap;

use super::cells::{Cells, Columns};
use super::values::{attribution, corrupt, micros};
use crate::domain::attribution::Attribution;
use crate::domain::ids::{DealId, TenantId};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::syncs::{ListedPage, SyncCounts, SyncProgress, SyncRequest};

const TABLE: &str = "sync_requests";

pub(in crate::store) const ASK: &str =
    "insert into sync_requests (tenant, asked_at, asked_by, is_full) values ($1, $2, $3, $4)
     on conflict (tenant) do update set
         asked_at = case when excluded.asked_at > sync_requests.asked_at then excluded.asked_at
             else sync_requests.asked_at + 1 end,
         asked_by = excluded.asked_by,
         is_full = case when sync_requests.done_at is null and sync_requests.is_full = 1 then 1
             else excluded.is_full end,
         told_at = null, done_at = null, phase = '', failed = null, listed = 0, searched = 0,
         deals = 0, changed = 0, missing = 0, contacts = 0
     returning asked_at";

pub(in crate::store) const REQUEST: &str =
    "select asked_at, asked_by, is_full, told_at, done_at, phase, failed, listed, searched, deals,
         changed, missing, contacts
     from sync_requests where tenant = $1";

pub(in crate::store) const ASKED: &str =
    "select tenant from sync_requests where done_at is null and told_at is null order by tenant";

pub(in crate::store) const TELL: &str =
    "update sync_requests set told_at = $3, done_at = $4, phase = $5, failed = $6, listed = $7,
         searched = $8, deals = $9, changed = $10, missing = $11, contacts = $12
     where tenant = $1 and asked_at = $2 and done_at is null";

pub(in crate::store) const UNLISTED: &str = "select id from crm_deals
     where tenant = $1 and is_archived = 0 and read_at < $2 and (listed_at is null or listed_at < $2)
       and id > $3
     order by id limit $4";

pub(in crate::store) const MERGE: &str =
    "insert into deal_merges (tenant, from_id, into_id, told_at) values ($1, $2, $3, $4)
     on conflict do nothing";

pub(in crate::store) const UNSETTLE: &str =
    "update crm_deals set revision = revision + 1 where tenant = $1 and id = $2";

/// Statements with a list of ids, which the backend says how to compare with.
macro_rules! listed {
    ($among:literal) => {
        concat!(
            "select id, updated_at, is_archived from crm_deals where tenant = $1 and id ",
            $among
        )
    };
}
macro_rules! mark_listed {
    ($among:literal) => {
        concat!(
            "update crm_deals set listed_at = $3 where tenant = $1 and id ",
            $among
        )
    };
}
macro_rules! open_deals {
    ($among:literal) => {
        concat!(
            "select id from crm_deals
             where tenant = $1 and is_archived = 0 and updated_at >= $3 and id > $4
               and not (stage_id ",
            $among,
            ") order by id limit $5"
        )
    };
}
macro_rules! merged_credits {
    ($among:literal) => {
        concat!(
            "with recursive part (into_id, from_id) as (
                 select into_id, from_id from deal_merges where tenant = $1 and into_id ",
            $among,
            "
                 union
                 select part.into_id, m.from_id from part
                 join deal_merges m on m.tenant = $1 and m.into_id = part.from_id)
             select part.into_id as owner, d.method, d.confidence, d.ad_id, d.ad_set_id,
                 d.campaign_id, d.visit_id, d.clicked_at, d.reason
             from part join crm_deals d on d.tenant = $1 and d.id = part.from_id
             where d.method is not null and part.from_id <> part.into_id
             order by part.into_id, d.id"
        )
    };
}
macro_rules! unsettle_merged {
    ($among:literal) => {
        concat!(
            "update crm_deals set revision = revision + 1
             where tenant = $1 and id in (
                 select into_id from deal_merges where tenant = $1 and from_id ",
            $among,
            ")"
        )
    };
}
pub(in crate::store) use {listed, mark_listed, merged_credits, open_deals, unsettle_merged};

/// Reads a request.
pub(in crate::store) fn read(row: &impl Cells) -> Result<SyncRequest, StoreError> {
    let row = Columns::of(TABLE, row);
    let count = |name| {
        let n: i64 = row.get(name)?;
        u64::try_from(n).map_err(|_| corrupt(TABLE, "a count is below nothing"))
    };
    let done_at = row.at_opt("done_at")?;
    Ok(SyncRequest {
        asked_at: row.at("asked_at")?,
        asked_by: row.get("asked_by")?,
        is_full: row.flag("is_full")?,
        told_at: row.at_opt("told_at")?,
        done_at,
        progress: SyncProgress {
            phase: row.get("phase")?,
            counts: SyncCounts {
                listed: count("listed")?,
                searched: count("searched")?,
                deals: count("deals")?,
                changed: count("changed")?,
                missing: count("missing")?,
                contacts: count("contacts")?,
            },
            is_done: done_at.is_some(),
            failed: row.get("failed")?,
        },
    })
}

/// Counts in the order in which [`TELL`] binds them.
pub(in crate::store) fn counts(counts: &SyncCounts) -> [i64; 6] {
    let SyncCounts {
        listed,
        searched,
        deals,
        changed,
        missing,
        contacts,
    } = *counts;
    [listed, searched, deals, changed, missing, contacts]
        .map(|n| i64::try_from(n).unwrap_or(i64::MAX))
}

/// Of the deals that a page names those to be read, by what is kept of them.
pub(in crate::store) fn to_be_read<R: Cells>(
    page: &ListedPage<'_>,
    kept: &[R],
) -> Result<Vec<DealId>, StoreError> {
    let mut known = BTreeMap::new();
    for row in kept {
        let row = Columns::of("crm_deals", row);
        let (id, updated_at): (DealId, _) = (row.id("id")?, row.at("updated_at")?);
        known.insert(id, (updated_at, row.flag("is_archived")?));
    }
    let is_wanted = |id: &DealId, modified_at: Timestamp| match known.get(id) {
        None => !page.is_archived && modified_at >= page.horizon,
        Some((_, kept_archived)) if page.is_archived => !kept_archived,
        Some((updated_at, kept_archived)) => {
            *kept_archived || micros(*updated_at) != micros(modified_at)
        }
    };
    let mut wanted: Vec<DealId> = page
        .deals
        .iter()
        .filter(|deal| is_wanted(&deal.id, deal.modified_at))
        .map(|deal| deal.id.clone())
        .collect();
    wanted.sort();
    wanted.dedup();
    Ok(wanted)
}

/// Reads a credit of a merged deal.
pub(in crate::store) fn read_credit(
    row: &impl Cells,
) -> Result<Option<(DealId, Attribution)>, StoreError> {
    let row = Columns::of("crm_deals", row);
    let owner = row.id("owner")?;
    Ok(attribution("crm_deals", row)?.map(|credit| (owner, credit)))
}

/// Merges without what is part of itself, in one order.
pub(in crate::store) fn real_merges(merges: &[(DealId, DealId)]) -> Vec<&(DealId, DealId)> {
    let mut merges: Vec<_> = merges.iter().filter(|(from, into)| from != into).collect();
    merges.sort();
    merges.dedup();
    merges
}

/// Reads tenants' names.
pub(in crate::store) fn tenants(names: &[String]) -> Result<Vec<TenantId>, StoreError> {
    names
        .iter()
        .map(|name| super::values::id(TABLE, name))
        .collect()
}
