//! A row of either database, read column by column. What cannot be read is `Corrupt`.

use std::str::FromStr;

use sqlx::{ColumnIndex, Decode, Row, Type};

use super::values::{at_opt, corrupt, entity, id, id_opt, uncount};
use crate::domain::ids::BadId;
use crate::domain::structure::EntityRef;
use crate::domain::time::{self, Timestamp};
use crate::store::StoreError;

/// A row of either database, as far as its columns go: whole numbers, real numbers, texts and bytes
/// are all the kinds of column there are.
pub(in crate::store) trait Cells {
    fn int(&self, name: &str) -> Result<Option<i64>, sqlx::Error>;
    fn real(&self, name: &str) -> Result<Option<f64>, sqlx::Error>;
    fn text(&self, name: &str) -> Result<Option<&str>, sqlx::Error>;
    fn bytes(&self, name: &str) -> Result<Option<&[u8]>, sqlx::Error>;
}

impl<R> Cells for R
where
    R: Row,
    for<'n> &'n str: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> f64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> &'r str: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> &'r [u8]: Decode<'r, R::Database> + Type<R::Database>,
{
    fn int(&self, name: &str) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(name)
    }

    fn real(&self, name: &str) -> Result<Option<f64>, sqlx::Error> {
        self.try_get(name)
    }

    fn text(&self, name: &str) -> Result<Option<&str>, sqlx::Error> {
        self.try_get(name)
    }

    fn bytes(&self, name: &str) -> Result<Option<&[u8]>, sqlx::Error> {
        self.try_get(name)
    }
}

/// What a column can be read as.
pub(in crate::store) trait FromCell<'r>: Sized {
    /// Reads it; `None` when the column is empty and the type cannot say so.
    fn from_cell(row: &'r dyn Cells, name: &str) -> Result<Option<Self>, sqlx::Error>;
}

impl<'r, T: FromCell<'r>> FromCell<'r> for Option<T> {
    fn from_cell(row: &'r dyn Cells, name: &str) -> Result<Option<Self>, sqlx::Error> {
        T::from_cell(row, name).map(Some)
    }
}

impl<'r> FromCell<'r> for i64 {
    fn from_cell(row: &'r dyn Cells, name: &str) -> Result<Option<Self>, sqlx::Error> {
        row.int(name)
    }
}

impl<'r> FromCell<'r> for f64 {
    fn from_cell(row: &'r dyn Cells, name: &str) -> Result<Option<Self>, sqlx::Error> {
        row.real(name)
    }
}

impl<'r> FromCell<'r> for &'r str {
    fn from_cell(row: &'r dyn Cells, name: &str) -> Result<Option<Self>, sqlx::Error> {
        row.text(name)
    }
}

impl<'r> FromCell<'r> for String {
    fn from_cell(row: &'r dyn Cells, name: &str) -> Result<Option<Self>, sqlx::Error> {
        Ok(row.text(name)?.map(str::to_owned))
    }
}

impl<'r> FromCell<'r> for &'r [u8] {
    fn from_cell(row: &'r dyn Cells, name: &str) -> Result<Option<Self>, sqlx::Error> {
        row.bytes(name)
    }
}

impl<'r> FromCell<'r> for Vec<u8> {
    fn from_cell(row: &'r dyn Cells, name: &str) -> Result<Option<Self>, sqlx::Error> {
        Ok(row.bytes(name)?.map(<[u8]>::to_vec))
    }
}

/// A row of `table`, read column by column.
#[derive(Clone, Copy)]
pub(in crate::store) struct Columns<'r> {
    table: &'static str,
    row: &'r dyn Cells,
}

impl<'r> Columns<'r> {
    pub(in crate::store) const fn of(table: &'static str, row: &'r dyn Cells) -> Self {
        Self { table, row }
    }

    /// The value of a column.
    pub(in crate::store) fn get<T: FromCell<'r>>(self, name: &str) -> Result<T, StoreError> {
        T::from_cell(self.row, name)
            .map_err(|cause| corrupt(self.table, cause))?
            .ok_or_else(|| corrupt(self.table, format!("{name} is empty")))
    }

    /// A text that may be absent.
    pub(in crate::store) fn text(self, name: &str) -> Result<Option<&'r str>, StoreError> {
        self.get(name)
    }

    /// A flag.
    pub(in crate::store) fn flag(self, name: &str) -> Result<bool, StoreError> {
        Ok(self.get::<i64>(name)? != 0)
    }

    /// An instant.
    pub(in crate::store) fn at(self, name: &str) -> Result<Timestamp, StoreError> {
        Ok(time::from_micros(self.get(name)?))
    }

    /// An instant that may be absent.
    pub(in crate::store) fn at_opt(self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(at_opt(self.get(name)?))
    }

    /// A count.
    pub(in crate::store) fn count(self, name: &str) -> Result<u64, StoreError> {
        Ok(uncount(self.get(name)?))
    }

    /// An id.
    pub(in crate::store) fn id<T: FromStr<Err = BadId>>(self, name: &str) -> Result<T, StoreError> {
        id(self.table, self.get(name)?)
    }

    /// An id that may be absent.
    pub(in crate::store) fn id_opt<T: FromStr<Err = BadId>>(
        self,
        name: &str,
    ) -> Result<Option<T>, StoreError> {
        id_opt(self.table, self.text(name)?)
    }

    /// The object that `entity_type` and `entity_id` name.
    pub(in crate::store) fn entity(self) -> Result<EntityRef, StoreError> {
        entity(self.table, self.get("entity_type")?, self.get("entity_id")?)
    }
}
