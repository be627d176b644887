//! One index for many: whoever searches takes what is there and waits for nobody, whoever writes
//! puts a changed copy in its place, and links are built beside both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::Index;

/// An index that is searched while it is written and while its links are built.
#[derive(Debug)]
pub struct Shared {
    current: ArcSwap<Index>,
    writing: Mutex<()>,
    is_building: AtomicBool,
}

impl Shared {
    /// Shares an index.
    #[must_use]
    pub fn new(index: Index) -> Self {
        Self {
            current: ArcSwap::from_pointee(index),
            writing: Mutex::new(()),
            is_building: AtomicBool::new(false),
        }
    }

    /// The index as it is now; it stays so in the caller's hands.
    #[must_use]
    pub fn load(&self) -> Arc<Index> {
        self.current.load_full()
    }

    /// Changes the index: searches see all of `change` or nothing.
    pub fn update<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut index = Index::clone(&self.current.load());
        let answer = change(&mut index);
        self.current.store(Arc::new(index));
        answer
    }

    /// Builds links where they are due, with what was written meanwhile, and puts all in place at
    /// once. Takes a core for a while; `false` when there was nothing to do, another is at it, or
    /// `is_wanted` ended it.
    pub fn build_links(&self, is_wanted: &dyn Fn() -> bool) -> bool {
        let snapshot = self.load();
        if !snapshot.are_links_due() || self.is_building.swap(true, Ordering::AcqRel) {
            return false;
        }
        let _done = Reset(&self.is_building);
        let Some(mut linked) = snapshot.linked(is_wanted) else {
            return false;
        };
        self.update(|index| {
            linked.follow(index);
            *index = linked;
        });
        true
    }
}

/// Lowers a flag, also when a panic passes by.
struct Reset<'a>(&'a AtomicBool);

impl Drop for Reset<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
