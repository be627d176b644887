//! The emergency file. While it is there this node's executors send nothing, whatever else is broken;
//! and as soon as it is seen, the whole installation is paused in the store, so that every other node
//! stops too. When it goes, the pause that was made for it ends; one that a person made stays.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, wall_sleep};
use crate::store::tenants::Held;
use crate::store::{Store, StoreError};

/// How often it is looked for, in the machine's time: two looks and a write fit into a second.
const EVERY: Duration = Duration::from_millis(400);

/// Looks for the file for ever.
pub(super) async fn watch(path: PathBuf, store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    // Named by the file, so that the node that made a pause also ends it, over a restart too.
    let by = format!("file:{}", path.display());
    let mut was_there = None;
    loop {
        let is_there = path.exists();
        if was_there != Some(is_there) {
            match tell(store.as_ref(), &by, is_there, clock.as_ref()).await {
                Ok(()) => was_there = Some(is_there),
                // The file itself holds this node; the others are told when the store is back.
                Err(error) => {
                    tracing::warn!(%error, "the emergency file cannot be told to other nodes: {error}");
                }
            }
        }
        wall_sleep(EVERY).await;
    }
}

async fn tell(
    store: &dyn Store,
    by: &str,
    is_there: bool,
    clock: &dyn Clock,
) -> Result<(), StoreError> {
    if is_there {
        let held = Held {
            by: by.to_owned(),
            reason: "the emergency file is there".to_owned(),
            since: clock.now(),
        };
        if store.pause(None, &held).await? {
            tracing::warn!(%by, "paused: the emergency file is there ({by})");
        }
        return Ok(());
    }
    let tenants = store.tenants().await?;
    let Some(any) = tenants.first() else {
        return Ok(());
    };
    let holds = store.holds(any).await?;
    let is_ours = holds.daemon_paused.is_some_and(|held| held.by == by);
    if is_ours && store.resume(None, by, clock.now()).await? {
        tracing::warn!(%by, "resumed: the emergency file is gone ({by})");
        store.nudge_everyone();
    }
    Ok(())
}
