//! The sync that a person asked for by `roasd sync`: every part of it is read whether it is due or
//! not, and how far it is stands in the store.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::Part;
use crate::actors::context::Context;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::syncs::{SyncCounts, SyncProgress};

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Asked {
    asked_at: Timestamp,
    /// Whether the CRM's whole list is to be read.
    pub(super) is_full: bool,
    /// What is still to be read.
    left: BTreeSet<Part>,
    /// What was read.
    pub(super) counts: SyncCounts,
}

impl Asked {
    /// The request that waits in the store, unless it is the one `at_work` on; looked for only when
    /// somebody said that there may be one.
    pub(super) async fn look_for(
        context: &Context,
        at_work: Option<Self>,
    ) -> Result<Option<Self>, StoreError> {
        if !context.sync_asked.swap(false, Ordering::Relaxed) {
            return Ok(at_work);
        }
        let request = match context.store.sync_request(&context.tenant.id).await {
            Ok(request) => request,
            Err(error) => {
                context.sync_asked.store(true, Ordering::Relaxed);
                return Err(error);
            }
        };
        let Some(request) = request.filter(|request| request.done_at.is_none()) else {
            return Ok(at_work);
        };
        if let Some(at_work) = at_work.filter(|asked| asked.asked_at == request.asked_at) {
            return Ok(Some(at_work));
        }
        let of = |full: bool| {
            Part::ALL
                .into_iter()
                .filter(move |part| part.is_asked(full))
        };
        let asked = Self {
            asked_at: request.asked_at,
            is_full: request.is_full,
            left: of(request.is_full).collect(),
            counts: SyncCounts::default(),
        };
        asked.tell(context, false, None).await?;
        Ok(Some(asked))
    }

    pub(super) fn wants(&self, part: Part) -> bool {
        self.left.contains(&part)
    }

    pub(super) fn is_through(&mut self, part: Part) {
        self.left.remove(&part);
    }

    /// Tells how far the request is; `None` when it is answered, by all that was asked for or by what
    /// went wrong.
    pub(super) async fn told(
        self,
        context: &Context,
        troubles: &[String],
    ) -> Result<Option<Self>, StoreError> {
        let failed = (!troubles.is_empty()).then(|| troubles.join("; "));
        let is_done = self.left.is_empty() || failed.is_some();
        let is_told = self.tell(context, is_done, failed).await?;
        if !is_told {
            // Somebody has asked anew meanwhile.
            context.sync_asked.store(true, Ordering::Relaxed);
        }
        Ok((!is_done && is_told).then_some(self))
    }

    async fn tell(
        &self,
        context: &Context,
        is_done: bool,
        failed: Option<String>,
    ) -> Result<bool, StoreError> {
        let next = self.left.iter().next();
        let progress = SyncProgress {
            phase: next.map_or_else(String::new, |part| part.told().to_owned()),
            counts: self.counts,
            is_done,
            failed,
        };
        let now = context.clock.now();
        let id = &context.tenant.id;
        context
            .store
            .tell_sync(id, self.asked_at, &progress, now)
            .await
    }
}
