//! Policies that were read because the watches did not know them, or because somebody doubted what they said. Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::Known;
use crate::place::{Holder, Place};
use crate::policy::Policy;

/// For how long an answer that was read goes before what the watches say, if these did not change since. A watch that is
/// alive is never so far behind.
const LIFETIME: Duration = Duration::from_secs(10);
/// The same of a holder that is being deleted. Its policy stays as it is, but no watch tells when the deletion is finished.
const DELETING_LIFETIME: Duration = Duration::from_secs(1);
/// Most answers, and most doubts, that are kept.
const ENTRIES_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct Cold {
    read: HashMap<Holder, Read>,
    doubted: BTreeSet<Holder>,
    /// Those of them that somebody is changing: at which of the releases.
    released: HashMap<Holder, u64>,
    /// How often something was released.
    releases: u64,
    doubted_rows: BTreeSet<(Arc<str>, Place)>,
}

struct Read {
    known: Known,
    /// What the watches said when it was read.
    mirrored: Option<Arc<Policy>>,
    until: Duration,
}

impl Cold {
    /// The policy that counts now, given what the watches say; `None`: it has to be read.
    pub(super) fn answer(
        &mut self,
        holder: &Holder,
        mirrored: Option<&Arc<Policy>>,
        now: Duration,
    ) -> Option<Known> {
        let said = || mirrored.cloned().map(Known::active);
        // The usual case is that nothing was ever read.
        if self.read.is_empty() && self.doubted.is_empty() {
            return said();
        }
        if self.doubted.contains(holder) {
            return None;
        }
        let Some(read) = self.read.get(holder) else { return said() };
        let Known { policy, is_deleting } = &read.known;
        if read.mirrored.as_ref() != mirrored || (mirrored == Some(policy) && !is_deleting) {
            // The watches have moved on, or caught up.
            self.read.remove(holder);
            return said();
        }
        (now < read.until).then(|| read.known.clone())
    }

    /// Whether there is something to [`keep`](Cold::keep).
    pub(super) fn has(&self, holder: &Holder) -> bool {
        self.read.contains_key(holder)
    }

    /// The owner of a holder that the watches do not know cannot be asked: what it said last counts for another while.
    pub(super) fn keep(&mut self, holder: &Holder, now: Duration) -> Option<Known> {
        let read = self.read.get_mut(holder)?;
        read.until = now + LIFETIME;
        Some(read.known.clone())
    }

    /// Takes note of what was read at `now`, when the watches said `mirrored`; [`releases`](Cold::releases) were `asked`
    /// before.
    pub(super) fn note(
        &mut self,
        holder: Holder,
        known: Known,
        mirrored: Option<Arc<Policy>>,
        (asked, now): (u64, Duration),
    ) {
        // A question that was asked before may have an answer from before.
        if self.released.get(&holder).is_none_or(|at| *at <= asked) {
            self.doubted.remove(&holder);
            self.released.remove(&holder);
        }
        if self.read.len() >= ENTRIES_MAX {
            self.read.clear();
        }
        let lifetime = if known.is_deleting { DELETING_LIFETIME } else { LIFETIME };
        self.read.insert(holder, Read { known, mirrored, until: now + lifetime });
    }

    /// The holder does not exist.
    pub(super) fn forget(&mut self, holder: &Holder) {
        self.doubted.remove(holder);
        self.released.remove(holder);
        self.read.remove(holder);
    }

    /// Somebody changes the policy of the place's holder, which until then counts as it was: it has to be read before anything
    /// new is made by it. What the watches say may be older than the change before.
    pub(super) fn released(&mut self, place: &Place) {
        let Some(holder) = &place.holder else { return };
        if self.released.len() >= ENTRIES_MAX {
            self.released.clear();
        }
        self.releases += 1;
        self.released.insert(holder.clone(), self.releases);
        self.doubted.insert(holder.clone());
    }

    /// Where it stands with releases: to be asked before a policy is read.
    pub(super) fn releases(&self) -> u64 {
        self.releases
    }

    pub(super) fn is_settled(&self, place: &Place) -> bool {
        self.released.is_empty()
            || place.holder.as_ref().is_none_or(|holder| !self.released.contains_key(holder))
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

    fn active(region: &str) -> Option<Known> {
        Some(Known::active(policy(region)))
    }

    const NOW: Duration = Duration::from_secs(100);
    const AT: (u64, Duration) = (0, NOW);

    #[test]
    fn what_the_watches_say_counts_if_nothing_was_read() {
        let mut cold = Cold::default();
        let said = policy("north");
        assert_eq!(cold.answer(&holder(), Some(&said), NOW), active("north"));
        assert_eq!(cold.answer(&holder(), None, NOW), None);
    }

    #[test]
    fn what_was_read_counts_until_the_watches_move() {
        let (old, next) = (policy("north"), policy("east"));
        let mut cold = Cold::default();
        cold.note(holder(), Known::active(policy("south")), Some(old.clone()), AT);
        assert_eq!(cold.answer(&holder(), Some(&old), NOW), active("south"));
        assert_eq!(cold.answer(&holder(), Some(&next), NOW), active("east"));
        assert_eq!(cold.answer(&holder(), Some(&old), NOW), active("north"), "forgotten for good");
    }

    #[test]
    fn what_was_read_is_read_anew_when_the_watches_stay_behind() {
        let mut cold = Cold::default();
        cold.note(holder(), Known::active(policy("south")), Some(policy("north")), AT);
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
        cold.note(holder(), Known::active(policy("north")), Some(policy("north")), AT);
        assert_eq!(cold.answer(&holder(), Some(&policy("north")), NOW), active("north"));
    }

    #[test]
    fn a_policy_that_is_being_changed_is_settled_when_it_was_read() {
        let mut cold = Cold::default();
        let place = Place { holder: Some(holder()), part: Part::Control };
        assert!(cold.is_settled(&place));
        cold.released(&place);
        assert_eq!(cold.answer(&holder(), Some(&policy("north")), NOW), None);
        assert!(!cold.is_settled(&place));
        let read = |cold: &mut Cold, asked| {
            cold.note(holder(), Known::active(policy("east")), Some(policy("north")), (asked, NOW));
        };
        read(&mut cold, 0);
        assert!(!cold.is_settled(&place), "it was asked before");
        let asked = cold.releases();
        read(&mut cold, asked);
        assert_eq!(cold.answer(&holder(), Some(&policy("north")), NOW), active("east"));
        assert!(cold.is_settled(&place));
    }

    #[test]
    fn what_was_read_of_a_deletion_is_soon_asked_again_and_kept_while_nobody_answers() {
        let mut cold = Cold::default();
        let deleting = Some(Known::deleting(policy("south")));
        cold.note(holder(), Known::deleting(policy("south")), None, AT);
        assert_eq!(cold.answer(&holder(), None, NOW), deleting);
        let later = NOW + DELETING_LIFETIME;
        assert_eq!(cold.answer(&holder(), None, later), None, "it may be finished");
        assert_eq!(cold.keep(&holder(), later), deleting, "its owner cannot be reached");
        assert_eq!(cold.answer(&holder(), None, later + DELETING_LIFETIME), deleting);
        let anew = policy("east");
        assert_eq!(cold.answer(&holder(), Some(&anew), later), active("east"), "it is made anew");
        assert_eq!(cold.keep(&holder(), later), None);
    }

    #[test]
    fn a_deletion_counts_before_the_watches_have_told_of_it() {
        let mut cold = Cold::default();
        let had = policy("south");
        cold.note(holder(), Known::deleting(had.clone()), Some(had.clone()), AT);
        assert_eq!(cold.answer(&holder(), Some(&had), NOW), Some(Known::deleting(had)));
    }
}
