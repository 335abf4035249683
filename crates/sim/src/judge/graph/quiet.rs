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
        let mut stands = false;
        for (place, held) in self.referrers_of(uid) {
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
    /// of a namesake in another version has taken its name and is not finished.
    fn is_held_up(&self, place: &Place) -> bool {
        let together = self.together(place);
        if together.iter().any(|place| self.is_name_taken(place)) {
            return true;
        }
        let uids = together.iter().filter_map(|place| self.resources.get(place)).map(|r| r.uid);
        uids.flat_map(|uid| self.referrers_of(uid)).any(|(referrer, held)| {
            held.behaviour == Behaviour::Block && !together.contains(referrer)
        })
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
                let is_taken = is_sync_cascade(held) && referrer.deployment == next.deployment;
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
