//! The values of a row, whichever database it came from: what is compared, and what is sent.

use sha2::{Digest as _, Sha256};
use sqlx::{ColumnIndex, Decode, Row, Type};

use super::CopyError;
use super::tables::{Kind, Table};
use crate::store::StoreError;

/// A value of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::store) enum Value<'r> {
    Null,
    Int(i64),
    Real(f64),
    Text(&'r str),
    Bytes(&'r [u8]),
}

/// A value of a key, kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) enum KeyValue {
    Int(i64),
    Text(String),
}

/// A row of either database, read by place.
pub(in crate::store) trait Record {
    fn value(&self, place: usize, kind: Kind) -> Result<Value<'_>, sqlx::Error>;
}

impl<R> Record for R
where
    R: Row,
    usize: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> f64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> &'r str: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> &'r [u8]: Decode<'r, R::Database> + Type<R::Database>,
{
    fn value(&self, place: usize, kind: Kind) -> Result<Value<'_>, sqlx::Error> {
        let value = match kind {
            Kind::Int => self.try_get::<Option<i64>, _>(place)?.map(Value::Int),
            Kind::Real => self.try_get::<Option<f64>, _>(place)?.map(Value::Real),
            Kind::Text => self.try_get::<Option<&str>, _>(place)?.map(Value::Text),
            Kind::Bytes => self.try_get::<Option<&[u8]>, _>(place)?.map(Value::Bytes),
        };
        Ok(value.unwrap_or(Value::Null))
    }
}

/// Reads every value of a row of `table`.
fn each(
    table: &Table,
    row: &impl Record,
    mut take: impl FnMut(Value<'_>),
) -> Result<(), CopyError> {
    for (place, column) in table.columns.iter().enumerate() {
        let value = row
            .value(place, column.kind)
            .map_err(|cause| unfit(table, row, &column.name, &cause.to_string()))?;
        if let Value::Text(text) = value
            && text.as_bytes().contains(&0)
        {
            let detail = "a text with a NUL character, which PostgreSQL does not take";
            return Err(unfit(table, row, &column.name, detail));
        }
        take(value);
    }
    Ok(())
}

/// That a row cannot be copied as it is.
fn unfit(table: &Table, row: &impl Record, column: &str, detail: &str) -> CopyError {
    CopyError::Unfit {
        table: table.name,
        column: column.to_owned(),
        key: key(table, row).map_or_else(|_| "?".to_owned(), |key| shown(table, &key)),
        detail: detail.to_owned(),
    }
}

/// The key of a row.
pub(in crate::store) fn key(table: &Table, row: &impl Record) -> Result<Vec<KeyValue>, CopyError> {
    let odd = |detail: String| {
        CopyError::Store(StoreError::Corrupt {
            table: table.name,
            detail,
        })
    };
    let value = |place: &usize| {
        let kind = table.columns.get(*place).map_or(Kind::Text, |c| c.kind);
        match row
            .value(*place, kind)
            .map_err(|cause| odd(cause.to_string()))?
        {
            Value::Int(n) => Ok(KeyValue::Int(n)),
            Value::Text(text) => Ok(KeyValue::Text(text.to_owned())),
            _ => Err(odd("a row has no key".to_owned())),
        }
    };
    table.key.iter().map(value).collect()
}

/// A key as an operator would look for it: `tenant=acme sequence=17`.
pub(in crate::store) fn shown(table: &Table, key: &[KeyValue]) -> String {
    let parts: Vec<_> = table
        .key_columns()
        .zip(key)
        .map(|(column, value)| match value {
            KeyValue::Int(n) => format!("{}={n}", column.name),
            KeyValue::Text(text) => format!("{}={text}", column.name),
        })
        .collect();
    parts.join(" ")
}

/// A row as bytes that differ when any value differs, its kind included. Real numbers by their bits,
/// so that nothing is rounded away.
pub(in crate::store) fn canonical(
    table: &Table,
    row: &impl Record,
    to: &mut Vec<u8>,
) -> Result<(), CopyError> {
    let mut sized = |tag: u8, bytes: &[u8]| {
        to.push(tag);
        to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        to.extend_from_slice(bytes);
    };
    each(table, row, |value| match value {
        Value::Null => sized(b'n', &[]),
        Value::Int(n) => sized(b'i', &n.to_le_bytes()),
        Value::Real(x) => sized(b'r', &x.to_bits().to_le_bytes()),
        Value::Text(text) => sized(b't', text.as_bytes()),
        Value::Bytes(bytes) => sized(b'b', bytes),
    })
}

/// What opens a batch of rows. Source: PostgreSQL, "COPY", binary format.
pub(in crate::store) const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What ends a batch of rows.
pub(in crate::store) const END: &[u8] = &(-1_i16).to_be_bytes();

/// A row as `copy … (format binary)` takes it.
pub(in crate::store) fn wire(
    table: &Table,
    row: &impl Record,
    to: &mut Vec<u8>,
) -> Result<(), CopyError> {
    let too_large = |what: &str| {
        let detail = format!("more {what} than a row can have");
        unfit(table, row, "a row", &detail)
    };
    let columns = i16::try_from(table.columns.len()).map_err(|_| too_large("columns"))?;
    to.extend_from_slice(&columns.to_be_bytes());
    let mut fits = true;
    let mut field = |bytes: Option<&[u8]>| {
        let length = bytes.map_or(Ok(-1), |bytes| i32::try_from(bytes.len()));
        match length {
            Ok(length) => {
                to.extend_from_slice(&length.to_be_bytes());
                to.extend_from_slice(bytes.unwrap_or_default());
            }
            Err(_) => fits = false,
        }
    };
    each(table, row, |value| match value {
        Value::Null => field(None),
        Value::Int(n) => field(Some(&n.to_be_bytes())),
        Value::Real(x) => field(Some(&x.to_bits().to_be_bytes())),
        Value::Text(text) => field(Some(text.as_bytes())),
        Value::Bytes(bytes) => field(Some(bytes)),
    })?;
    if fits {
        Ok(())
    } else {
        Err(too_large("bytes"))
    }
}

/// Rows of a table: how many, and a checksum over them in the order of their keys.
#[derive(Debug, Clone)]
pub(in crate::store) struct Tally {
    rows: u64,
    digest: Sha256,
    row: Vec<u8>,
}

/// How many rows a table has, and the checksum of their content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Rows.
    pub rows: u64,
    /// SHA-256 over every value of every row in the order of the key.
    pub checksum: String,
}

impl Tally {
    pub(in crate::store) fn new() -> Self {
        Self {
            rows: 0,
            digest: Sha256::new(),
            row: Vec::new(),
        }
    }

    pub(in crate::store) const fn rows(&self) -> u64 {
        self.rows
    }

    /// Counts a row in.
    pub(in crate::store) fn take(
        &mut self,
        table: &Table,
        row: &impl Record,
    ) -> Result<(), CopyError> {
        self.row.clear();
        canonical(table, row, &mut self.row)?;
        self.digest.update(&self.row);
        self.rows += 1;
        Ok(())
    }

    pub(in crate::store) fn sum(self) -> Sum {
        Sum {
            rows: self.rows,
            checksum: hex::encode(self.digest.finalize()),
        }
    }
}
