//! Rows of `brought_vectors`; both stores take most statements as they are.

use super::cells::{Cells, Columns};
use super::winners::from_bytes;
use crate::domain::ids::AdId;
use crate::store::StoreError;
use crate::store::brought::{Brought, KeptVector};

const TABLE: &str = "brought_vectors";

/// How many others there are, and the length of one of them in bytes.
pub(in crate::store) const OTHERS: &str =
    "select (select count(*) from brought_vectors where tenant = $1 and ad_id <> $2) as others,
         cast((select length(vector) from brought_vectors where tenant = $1 and ad_id <> $2
               limit 1) as bigint) as bytes";

pub(in crate::store) const BRING: &str =
    "insert into brought_vectors (tenant, ad_id, vector, metadata, brought_at, revision)
     values ($1, $2, $3, $4, $5,
         (select coalesce(max(revision), 0) + 1 from brought_vectors where tenant = $1))
     on conflict (tenant, ad_id) do update set
         vector = excluded.vector, metadata = excluded.metadata,
         brought_at = excluded.brought_at, revision = excluded.revision";

pub(in crate::store) const LIST: &str = "select revision, ad_id, vector from brought_vectors
     where tenant = $1 and revision > $2 order by revision";

/// What is to be done with a vector, by what [`OTHERS`] tells: `Kept` says that it may be.
pub(in crate::store) fn judge(
    row: &impl Cells,
    length: usize,
    room: u64,
) -> Result<Brought, StoreError> {
    let row = Columns::of(TABLE, row);
    let others = row.count("others")?;
    let bytes: Option<i64> = row.get("bytes")?;
    let expected = bytes.map(|bytes| usize::try_from(bytes).unwrap_or(0) / size_of::<f32>());
    Ok(match expected {
        Some(expected) if expected != length => Brought::OtherLength { expected },
        _ if others >= room => Brought::Full,
        _ => Brought::Kept {
            vectors: others + 1,
        },
    })
}

/// Reads a vector.
pub(in crate::store) fn read(row: &impl Cells) -> Result<KeptVector, StoreError> {
    let row = Columns::of(TABLE, row);
    Ok(KeptVector {
        revision: row.get("revision")?,
        ad: row.id("ad_id")?,
        vector: from_bytes(row.get("vector")?)?,
    })
}

/// Reads what was said of an ad.
pub(in crate::store) fn read_metadata(row: &impl Cells) -> Result<(AdId, String), StoreError> {
    let row = Columns::of(TABLE, row);
    Ok((row.id("ad_id")?, row.get("metadata")?))
}
