//! What must be so in the end (L1): all work is done, unless a `BLOCK` reference stands in the way of a cascade.

use std::collections::BTreeSet;

use bowline_graph::{Behaviour, Held};
use bowline_store::{Key, RowId, layout};

use super::{Graph, Pending, Place};

impl Graph {
    /// What is left of work that nothing stands in the way of; nothing in the end.
    pub(in crate::judge) fn unfinished(&self) -> Vec<String> {
        let tasks = self.tasks.iter().map(|((deployment, name), since)| {
            format!("L1: task {name} of {deployment}, since {:.3}", since.as_secs_f64())
        });
        let blockades = self.inbound.values().filter(|(_, inbound)| !inbound.blockades.is_empty());
        let blockades = blockades.map(|(_, inbound)| format!("L1: blockades of {inbound}"));
        let deletions = self.deletions.iter();
        let deletions = deletions.filter_map(|(uid, pending)| self.why_pending(*uid, pending));
        let orphans = self.aliases.iter().filter(|(_, uid)| !self.deletions.contains_key(uid));
        let orphans = orphans.map(|((deployment, key), _)| {
            format!("S5: {deployment} keeps the name {} taken for nothing", key.name)
        });
        tasks.chain(blockades).chain(deletions).chain(orphans).collect()
    }

    /// Why a deletion should be finished, and is not. `None`: something stands in its way.
    fn why_pending(&self, uid: RowId, pending: &Pending) -> Option<String> {
        let name = pending.names.first()?;
        let kept = self.by_uid.get(&uid);
        let finalizers = kept.and_then(|place| self.resources.get(place)).map(|r| &r.finalizers);
        if let Some(finalizers) = finalizers.filter(|finalizers| !finalizers.is_empty()) {
            return Some(format!("L1: {name} is deleted, and held by {finalizers:?}"));
        }
        let mut stands = false;
        for (place, held) in self.referrers_of(uid).filter(|(place, _)| Some(*place) != kept) {
            match held.behaviour {
                Behaviour::Cascade if self.is_held_up(place) => stands = true,
                Behaviour::Cascade => {
                    return Some(format!("L1: {name} is deleted, and {place} with it is not"));
                }
                Behaviour::Unset => {
                    let path = &held.path;
                    return Some(format!("L1: {name} is deleted, and {place} has it in {path:?}"));
                }
                Behaviour::Block => return Some(format!("S2: {place} refers to {name}")),
            }
        }
        let sources = self.inbound.get(&uid).map(|(_, inbound)| inbound.to_string());
        let told = format!("L1: the deletion of {name} waits for nothing: {sources:?}");
        (!stands).then_some(told)
    }

    /// Whether something blocks the deletion of a resource, or of what is to be deleted in the same commit; or the deletion
    /// of a namesake in another version has taken its name and is not finished. One that is marked is deleted already, and
    /// waits for what its own deletion waits for.
    fn is_held_up(&self, place: &Place) -> bool {
        let own = self.resources.get(place).filter(|found| found.is_marked).map(|found| found.uid);
        if let Some((uid, pending)) = own.and_then(|uid| Some((uid, self.deletions.get(&uid)?))) {
            return self.why_pending(uid, pending).is_none();
        }
        let together = self.together(place);
        if together.iter().any(|place| self.is_name_taken(place)) {
            return true;
        }
        let uids = together.iter().filter_map(|place| self.resources.get(place)).map(|r| r.uid);
        uids.flat_map(|uid| self.referrers_of(uid)).any(|(referrer, held)| {
            let stays = !together.contains(referrer) || self.is_kept_back(referrer);
            held.behaviour == Behaviour::Block && stays
        })
    }

    /// Whether a deletion would only mark a resource: it goes on to refer to what it refers to.
    fn is_kept_back(&self, place: &Place) -> bool {
        let Some(found) = self.resources.get(place).filter(|_| place.kind.is_kept()) else {
            return false;
        };
        let is_referred_to = || self.referrers_of(found.uid).any(|(referrer, _)| referrer != place);
        !found.finalizers.is_empty() || is_referred_to()
    }

    fn is_name_taken(&self, place: &Place) -> bool {
        let own = (place.kind, place.name.to_string());
        let mut names = place.kind.counterpart(&place.name).into_iter().chain([own]);
        names.any(|(kind, name)| {
            let table = layout::aliases(kind.version(), &kind.full());
            let key = Key { table, name: name.as_str().into() };
            self.aliases.contains_key(&(place.deployment.clone(), key))
        })
    }

    /// A resource, and what the commit that deletes it deletes too.
    fn together(&self, place: &Place) -> BTreeSet<Place> {
        let mut found = BTreeSet::from([place.clone()]);
        let mut todo = vec![place.clone()];
        while let Some(next) = todo.pop() {
            let Some(resource) = self.resources.get(&next) else { continue };
            for (referrer, held) in self.referrers_of(resource.uid) {
                let is_local = referrer.deployment == next.deployment;
                let is_marked = || self.resources.get(referrer).is_some_and(|r| r.is_marked);
                let is_taken = is_sync_cascade(held) && is_local && !is_marked();
                if is_taken && found.insert(referrer.clone()) {
                    todo.push(referrer.clone());
                }
            }
        }
        found
    }
}

fn is_sync_cascade(held: &Held) -> bool {
    held.behaviour == Behaviour::Cascade && held.is_sync
}
