//! The migrations, and how a database stands to them.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::store::StoreError;

/// A migration: its number, its name and what it does.
pub(in crate::store) type Script = (i64, &'static str, &'static str);

/// The migrations in their order. The caller holds the lock under which they are run.
pub(in crate::store) fn migrator(scripts: &[Script]) -> Migrator {
    let mut migrator = Migrator::with_migrations(
        scripts
            .iter()
            .map(|&(version, name, sql)| {
                Migration::new(
                    version,
                    name.into(),
                    MigrationType::Simple,
                    sql.into_sql_str(),
                    false,
                )
            })
            .collect(),
    );
    migrator.set_locking(false);
    migrator
}

/// That the database at `place` cannot be opened.
pub(in crate::store) fn refuse(place: &str, detail: impl Into<String>) -> StoreError {
    StoreError::CannotOpen {
        url: place.to_owned(),
        detail: detail.into(),
    }
}

/// Whether all migrations are in force, as this roasd knows them. `applied` are those in force with
/// their checksums, by version.
pub(in crate::store) fn is_current(
    applied: &[(i64, Vec<u8>)],
    migrator: &Migrator,
    place: &str,
) -> Result<bool, StoreError> {
    let known = migrator.iter().map(|m| m.version).max().unwrap_or(0);
    if let Some((found, _)) = applied.last().filter(|(found, _)| *found > known) {
        return Err(StoreError::NewerSchema {
            found: *found,
            known,
        });
    }
    for (version, checksum) in applied {
        if !migrator
            .iter()
            .any(|m| m.version == *version && m.checksum.as_ref() == checksum.as_slice())
        {
            return Err(refuse(
                place,
                format!(
                    "migration {version} in it is not the one this roasd ships; install the roasd \
                     that made it or restore a backup"
                ),
            ));
        }
    }
    Ok(applied.len() == migrator.iter().len())
}
