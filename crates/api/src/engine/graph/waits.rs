//! What unfinished deletions wait for, as far as this process knows: so that whoever takes it out of their way wakes them.
//!
//! All of it is in memory, and none of it is needed: what is not known here is tried again by the clock. A commit that takes
//! nothing away looks at nothing, and one that does looks at a flag where nothing waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bowline_store::RowId;

/// Resources that are known to be in the way; when there are more, all are forgotten, and found again as they are met.
const KNOWN_MAX: usize = 16_384;

/// The waits of one deployment.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    state: Mutex<State>,
    /// Something waits, or is to be tried now.
    has_any: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Resources that stay for the time being, and the deletions (by what was deleted) that wait for them.
    by_blocked: BTreeMap<RowId, BTreeSet<RowId>>,
    /// Deletions that are to be tried again now.
    urgent: BTreeSet<RowId>,
}

impl State {
    fn hurry(&mut self, deleted: impl IntoIterator<Item = RowId>) {
        if self.urgent.len() >= KNOWN_MAX {
            self.urgent.clear();
        }
        self.urgent.extend(deleted);
    }
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The deletion of `deleted` waits: for all that refers to it, and for references to `blocked` to go.
    pub(crate) fn wait(&self, deleted: RowId, blocked: impl IntoIterator<Item = RowId>) {
        let mut state = self.lock();
        if state.by_blocked.len() >= KNOWN_MAX {
            state.by_blocked.clear();
        }
        for uid in blocked.into_iter().take(KNOWN_MAX).chain([deleted]) {
            state.by_blocked.entry(uid).or_default().insert(deleted);
        }
        self.has_any.store(true, Ordering::Release);
    }

    /// A resource, or a reference to it, is gone: whether something waited for that, which is now urgent.
    pub(crate) fn freed(&self, uid: RowId) -> bool {
        if !self.has_any.load(Ordering::Acquire) {
            return false;
        }
        let mut state = self.lock();
        let Some(deleted) = state.by_blocked.remove(&uid) else { return false };
        state.hurry(deleted);
        true
    }

    /// A deletion is to be tried now, whatever it waits for.
    pub(crate) fn hurry(&self, deleted: RowId) {
        self.lock().hurry([deleted]);
        self.has_any.store(true, Ordering::Release);
    }

    /// Whether a deletion is to be tried again now; says so once.
    pub(crate) fn take_urgent(&self, deleted: RowId) -> bool {
        self.has_any.load(Ordering::Acquire) && self.lock().urgent.remove(&deleted)
    }

    /// A deletion waits for nothing any more.
    pub(crate) fn finished(&self, deleted: RowId) {
        if !self.has_any.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.lock();
        state.by_blocked.remove(&deleted);
        state.urgent.remove(&deleted);
        if state.by_blocked.is_empty() && state.urgent.is_empty() {
            self.has_any.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_urgent_once_when_what_it_waits_for_is_freed() {
        let waits = Waits::default();
        assert!(!waits.freed(RowId(7)));
        waits.wait(RowId(1), [RowId(7), RowId(8)]);
        waits.wait(RowId(2), [RowId(7)]);
        assert!(!waits.take_urgent(RowId(1)));
        assert!(waits.freed(RowId(7)));
        assert!(!waits.freed(RowId(7)), "it is noted again when it is met again");
        assert_eq!(
            [1, 1, 2, 3].map(|uid| waits.take_urgent(RowId(uid))),
            [true, false, true, false]
        );
        assert!(waits.freed(RowId(2)), "a reference to what is deleted is gone");
        assert!(waits.take_urgent(RowId(2)));
    }

    #[test]
    fn what_is_finished_is_forgotten_and_what_is_known_is_bounded() {
        let waits = Waits::default();
        waits.wait(RowId(1), []);
        waits.finished(RowId(1));
        assert!(!waits.freed(RowId(1)) && !waits.has_any.load(Ordering::Acquire));
        for uid in 0..3 * KNOWN_MAX as u128 {
            waits.wait(RowId(uid), [RowId(uid + (1 << 64))]);
        }
        assert!(waits.lock().by_blocked.len() <= KNOWN_MAX + 2);
    }
}
