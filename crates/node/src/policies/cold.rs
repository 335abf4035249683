//! Policies that were read because the watches did not know them, or because somebody doubted what they said. Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::place::{Holder, Place};
use crate::policy::Policy;

/// For how long an answer that was read goes before what the watches say, if these did not change since. A watch that is
/// alive is never so far behind.
const LIFETIME: Duration = Duration::from_secs(10);
/// Most answers, and most doubts, that are kept.
const ENTRIES_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct Cold {
    read: HashMap<Holder, Read>,
    doubted: BTreeSet<Holder>,
    doubted_rows: BTreeSet<(Arc<str>, Place)>,
}

struct Read {
    policy: Arc<Policy>,
    /// What the watches said when it was read.
    mirrored: Option<Arc<Policy>>,
    at: Duration,
}

impl Cold {
    /// The policy that counts now, given what the watches say; `None`: it has to be read.
    pub(super) fn answer(
        &mut self,
        holder: &Holder,
        mirrored: Option<&Arc<Policy>>,
        now: Duration,
    ) -> Option<Arc<Policy>> {
        // The usual case is that nothing was ever read.
        if self.read.is_empty() && self.doubted.is_empty() {
            return mirrored.cloned();
        }
        if self.doubted.contains(holder) {
            return None;
        }
        let Some(read) = self.read.get(holder) else { return mirrored.cloned() };
        if read.mirrored.as_ref() != mirrored || mirrored == Some(&read.policy) {
            // The watches have moved on, or caught up.
            self.read.remove(holder);
            return mirrored.cloned();
        }
        (now.saturating_sub(read.at) < LIFETIME).then(|| read.policy.clone())
    }

    /// Takes note of what was read at `now`, when the watches said `mirrored`.
    pub(super) fn note(
        &mut self,
        holder: Holder,
        policy: Arc<Policy>,
        mirrored: Option<Arc<Policy>>,
        now: Duration,
    ) {
        self.doubted.remove(&holder);
        if self.read.len() >= ENTRIES_MAX {
            self.read.clear();
        }
        self.read.insert(holder, Read { policy, mirrored, at: now });
    }

    /// The holder does not exist.
    pub(super) fn forget(&mut self, holder: &Holder) {
        self.doubted.remove(holder);
        self.read.remove(holder);
    }

    pub(super) fn doubt(&mut self, service: &str, place: &Place) {
        if self.doubted.len().max(self.doubted_rows.len()) >= ENTRIES_MAX {
            self.doubted.clear();
            self.doubted_rows.clear();
        }
        self.doubted.extend(place.holder.clone());
        self.doubted_rows.insert((service.into(), place.clone()));
    }

    /// Whether the row of the place is in doubt; no longer after this.
    pub(super) fn take_doubt(&mut self, service: &str, place: &Place) -> bool {
        !self.doubted_rows.is_empty() && self.doubted_rows.remove(&(service.into(), place.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Part;

    fn policy(region: &str) -> Arc<Policy> {
        Arc::new(Policy::new(region, [region]))
    }

    fn holder() -> Holder {
        Holder { kind: "iam.test/Project".into(), name: "projects/p".into() }
    }

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn what_the_watches_say_counts_if_nothing_was_read() {
        let mut cold = Cold::default();
        let said = policy("north");
        assert_eq!(cold.answer(&holder(), Some(&said), NOW), Some(said));
        assert_eq!(cold.answer(&holder(), None, NOW), None);
    }

    #[test]
    fn what_was_read_counts_until_the_watches_move() {
        let (old, read, next) = (policy("north"), policy("south"), policy("east"));
        let mut cold = Cold::default();
        cold.note(holder(), read.clone(), Some(old.clone()), NOW);
        assert_eq!(cold.answer(&holder(), Some(&old), NOW), Some(read));
        assert_eq!(cold.answer(&holder(), Some(&next), NOW), Some(next.clone()));
        assert_eq!(cold.answer(&holder(), Some(&old), NOW), Some(old), "forgotten for good");
    }

    #[test]
    fn what_was_read_is_read_anew_when_the_watches_stay_behind() {
        let mut cold = Cold::default();
        cold.note(holder(), policy("south"), Some(policy("north")), NOW);
        assert_eq!(cold.answer(&holder(), Some(&policy("north")), NOW + LIFETIME), None);
    }

    #[test]
    fn a_doubt_is_settled_by_reading() {
        let mut cold = Cold::default();
        let place = Place { holder: Some(holder()), part: Part::Control };
        cold.doubt("devices.test", &place);
        assert_eq!(cold.answer(&holder(), Some(&policy("north")), NOW), None);
        assert!(cold.take_doubt("devices.test", &place));
        assert!(!cold.take_doubt("devices.test", &place));
        cold.note(holder(), policy("north"), Some(policy("north")), NOW);
        let said = policy("north");
        assert_eq!(cold.answer(&holder(), Some(&said), NOW), Some(said));
    }
}
