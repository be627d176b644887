//! `roasd migrate`: makes the database, or brings it up to date.

use serde_json::json;

use super::Exit;
use super::context::{Out, print_json};
use crate::config::Config;
use crate::store;

/// What `migrate` takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct MigrateArgs {}

/// Makes the database if need be and migrates it; on one that is up to date it changes nothing.
///
/// # Errors
/// When the database cannot be opened, or was made by a newer roasd.
pub async fn run(
    _: &MigrateArgs,
    config: &Config,
    is_json: bool,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    let store = store::open(config.database_url().expose()).await?;
    let status = store.store_status().await?;
    store.close().await;
    if is_json {
        print_json(
            out,
            &json!({
                "backend": status.backend,
                "place": status.place,
                "schema_version": status.schema_version,
                "bytes": status.bytes,
            }),
        )?;
    } else {
        writeln!(
            out,
            "{} is at schema version {}, the newest this roasd knows",
            status.place, status.schema_version
        )?;
    }
    Ok(Exit::Done)
}
