//! What must hold of the graph after every commit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bowline_graph::index::{Rule, active, range_by};
use bowline_graph::{Behaviour, Held, Inbound, TargetName};
use bowline_store::{Key, RowId, layout};

use super::{Changes, Graph, Pending, Place, Resource, marked};
use crate::references::{Said, fields};
use crate::services::Kind;

impl Graph {
    /// Judges the state that a commit has left.
    pub(super) fn judge(
        &mut self,
        deployment: &Arc<str>,
        changes: &Changes,
        now: Duration,
    ) -> Result<(), String> {
        for uid in &changes.begun {
            if let Some(place) = self.by_uid.get(uid).filter(|_| !self.is_marked(*uid)) {
                return Err(format!("S5: {place} has a deletion, and does not say so"));
            }
        }
        let mut deleted = Vec::new();
        for (place, before, after) in &changes.resources {
            let Some(before) = before else { continue };
            let after = after.as_ref().filter(|after| after.uid == before.uid);
            if before.is_marked {
                marked::followed(place, before, after, changes)?;
            } else if after.is_none_or(|after| after.is_marked) {
                self.gone.insert(before.uid);
                deleted.push((place, before, after));
            }
        }
        for (place, before, after) in deleted {
            marked::is_kept(place, before, after)?;
            self.deleted(place, before, now)?;
            self.counts.marked += u64::from(after.is_some());
        }
        for (place, before, after) in &changes.resources {
            let Some(after) = after else { continue };
            let before = before.as_ref().filter(|before| before.uid == after.uid);
            self.written(place, before, after)?;
        }
        for (uid, ended) in &changes.ended {
            if let Some(place) = self.by_uid.get(uid) {
                return Err(format!("S5: the deletion of {place} is finished, and it is there"));
            }
            if let Some((referrer, held)) = self.referrers_of(*uid).next() {
                let how = held.behaviour;
                return Err(format!(
                    "S1: the deletion of {:?} is finished, and {referrer} refers to it ({how:?})",
                    ended.names
                ));
            }
            if let Some((_, inbound)) = self.inbound.get(uid) {
                return Err(format!("S5: a deletion is finished, and there is {inbound}"));
            }
        }
        for (uid, before) in &changes.inbound {
            self.inbound_written(deployment, *uid, before.as_ref())?;
        }
        Ok(())
    }

    /// The deletion of a resource has committed: its row is gone, or says so.
    fn deleted(&mut self, place: &Place, before: &Resource, now: Duration) -> Result<(), String> {
        let uid = before.uid;
        let is_pending = self.deletions.contains_key(&uid);
        // What refers to itself goes together with itself.
        for (referrer, held) in self.referrers_of(uid).filter(|(referrer, _)| *referrer != place) {
            if held.behaviour == Behaviour::Block {
                return Err(format!(
                    "S2: {place} is deleted, and {referrer} refers to it and blocks"
                ));
            }
            if !is_pending {
                let path = &held.path;
                return Err(format!(
                    "S1: {place} is gone without a trace, and {referrer} refers to it by {path:?}"
                ));
            }
        }
        if let Some(pending) = self.deletions.get(&uid) {
            self.is_told_in_all_versions(place, uid, pending)?;
        }
        if let Some((_, inbound)) = self.inbound.get(&uid)
            && (!is_pending || !inbound.is_deleting)
        {
            return Err(format!("S5: {place} is gone, and its inbound part is left: {inbound}"));
        }
        self.counts.at_once += u64::from(!is_pending);
        let cause = before.held.iter().find(|held| self.is_carried_off_by(held));
        self.counts.cascaded += u64::from(cause.is_some());
        if cause.is_none() && !self.is_asked_to_delete(place, now) {
            return Err(format!(
                "{place} is deleted, which nobody asked for and no rule says; it held {:?}",
                before.held
            ));
        }
        Ok(())
    }

    /// A deletion says what its resource was called, also in the other version, and keeps all of it taken.
    fn is_told_in_all_versions(
        &self,
        place: &Place,
        uid: RowId,
        pending: &Pending,
    ) -> Result<(), String> {
        let own = (place.kind, place.name.to_string());
        let meant: BTreeSet<_> =
            place.kind.counterpart(&place.name).into_iter().chain([own]).collect();
        let told: BTreeSet<_> = pending.names.iter().filter_map(kind_and_name).collect();
        if told != meant || told.len() != pending.names.len() {
            return Err(format!("S5: {place} is deleted, and called {:?}", pending.names));
        }
        for (kind, name) in meant {
            let table = layout::aliases(kind.version(), &kind.full());
            let key = Key { table, name: name.as_str().into() };
            if self.aliases.get(&(place.deployment.clone(), key)) != Some(&uid) {
                return Err(format!("S5: {place} is deleted, and its name {name} is not taken"));
            }
        }
        Ok(())
    }

    /// Whether the deletion of what this reference leads to deletes who holds it.
    fn is_carried_off_by(&self, held: &Held) -> bool {
        held.behaviour == Behaviour::Cascade && self.gone.contains(&held.uid)
    }

    /// A resource was created or changed.
    fn written(
        &mut self,
        place: &Place,
        before: Option<&Resource>,
        after: &Resource,
    ) -> Result<(), String> {
        self.one_to_one(place, before, after)?;
        self.is_marked_rightly(place, before, after)?;
        for held in &after.held {
            self.leads_somewhere(place, held)?;
            let is_new = before.is_none_or(|before| !had(before, held));
            if is_new {
                self.begins(place, held)?;
            }
        }
        match before {
            Some(before) if before.value == after.value => {
                self.changed_by_rule(place, before, after)
            }
            _ => self.changed_by_wish(place, before, after),
        }
    }

    /// S5.
    fn one_to_one(
        &mut self,
        place: &Place,
        before: Option<&Resource>,
        after: &Resource,
    ) -> Result<(), String> {
        let is_deleted = self.deletions.contains_key(&after.uid) || self.gone.contains(&after.uid);
        if is_deleted && !after.is_marked {
            return Err(format!("S5: {place} is written, and is deleted already"));
        }
        if after.active != (!after.is_marked).then(|| active(after.uid)) {
            return Err(format!("S5: {place} does not say rightly whether it may be referred to"));
        }
        let newest = self.versions.insert(place.clone(), after.version);
        if newest.is_some_and(|newest| newest >= after.version) {
            return Err(format!("{place} has version {} again, or a lower one", after.version));
        }
        let taken = |pending: &Pending| {
            let mut names = pending.names.iter();
            names.any(|name| is_name_of(place, name))
        };
        if before.is_none() && self.deletions.values().any(taken) {
            return Err(format!("S5: {place} is made while the name is still taken by a deletion"));
        }
        if before.is_none() && self.has_namesake(place) {
            self.counts.namesakes += 1;
        }
        let kept: BTreeSet<Said> = after.held.iter().filter_map(said_of).collect();
        if kept != after.said || kept.len() != after.held.len() {
            return Err(format!(
                "S5: {place} says {:?}, and kept of it is {:?}",
                after.said, after.held
            ));
        }
        indexed(place, after)
    }

    /// Whether another resource is what this one is called in the other version. Today resources of two versions are
    /// stored, and made, beside each other.
    fn has_namesake(&self, place: &Place) -> bool {
        let other = place.kind.counterpart(&place.name);
        other.is_some_and(|(kind, name)| self.uid(kind, &name).is_some())
    }

    /// S1 and S2, and what they rest on.
    fn leads_somewhere(&self, place: &Place, held: &Held) -> Result<(), String> {
        let Held { target, uid, .. } = held;
        let is_itself = self.by_uid.get(uid) == Some(place);
        if held.behaviour == Behaviour::Block && self.gone.contains(uid) && !is_itself {
            return Err(format!("S2: {place} refers to {target}, which is deleted, and blocks"));
        }
        let Some(owner) = self.owner(*uid) else {
            return Err(format!("S1: {place} refers to {target}, which has no shadow anywhere"));
        };
        let named = match (self.by_uid.get(uid), self.deletions.get(uid)) {
            (Some(found), _) => is_name_of(found, target) || is_counterpart_of(found, target),
            (None, pending) => pending.is_some_and(|pending| pending.names.contains(target)),
        };
        if !named {
            return Err(format!("S1: {place} refers to {target} with the uid of something else"));
        }
        let is_local = *owner == place.deployment;
        if is_local != held.region.is_none() {
            return Err(format!("{place} takes {target} of {owner} for one of {:?}", held.region));
        }
        if !is_local {
            self.is_listed(place, *uid, target)?;
        }
        Ok(())
    }

    /// The owner of a target knows who may refer to it.
    fn is_listed(
        &self,
        place: &Place,
        uid: RowId,
        target: &dyn std::fmt::Display,
    ) -> Result<(), String> {
        let inbound = self.inbound.get(&uid).map(|(_, inbound)| inbound);
        if inbound.is_some_and(|inbound| lists(inbound, &place.deployment)) {
            return Ok(());
        }
        let told = inbound.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        Err(format!("T23: {place} refers to {target}, whose owner does not know: {told}"))
    }

    /// S3.
    fn begins(&mut self, place: &Place, held: &Held) -> Result<(), String> {
        match held.region {
            None => self.counts.local += 1,
            Some(_) => self.counts.foreign += 1,
        }
        let found = self.by_uid.get(&held.uid);
        let is_translated = found.is_some_and(|found| is_counterpart_of(found, &held.target));
        self.counts.translated += u64::from(is_translated);
        match self.gone.contains(&held.uid) {
            true => Err(format!(
                "S3: {place} begins to refer to {} by {:?}, which is deleted",
                held.target, held.path
            )),
            false => Ok(()),
        }
    }

    /// A save without a new value: no client's, unless a request came once more. It may clear what a deletion says is to be
    /// cleared.
    fn changed_by_rule(
        &mut self,
        place: &Place,
        before: &Resource,
        after: &Resource,
    ) -> Result<(), String> {
        if let Some(added) = after.said.difference(&before.said).next() {
            if self.wanted.contains_key(&after.value) {
                // What it asks for may be another one by now, or what the name leads to in another version.
                return self.changed_by_wish(place, Some(before), after);
            }
            return Err(format!("{place} refers to {added:?}, which nobody asked for"));
        }
        if after.finalizers != before.finalizers {
            let (was, is) = (&before.finalizers, &after.finalizers);
            return Err(format!("{place} has finalizers {is:?} for {was:?}, as nobody asked for"));
        }
        let mut cleared = false;
        for dropped in before.held.iter().filter(|held| !after.held.contains(held)) {
            let is_due = dropped.behaviour == Behaviour::Unset && self.gone.contains(&dropped.uid);
            if !is_due {
                return Err(format!(
                    "{place} lost {:?} to {}, which nobody asked for and no rule says",
                    dropped.path, dropped.target
                ));
            }
            cleared = true;
        }
        self.counts.unset += u64::from(cleared);
        Ok(())
    }

    /// A client's save: refers to what it wanted, and elsewhere to what was there.
    fn changed_by_wish(
        &self,
        place: &Place,
        before: Option<&Resource>,
        after: &Resource,
    ) -> Result<(), String> {
        let Some(wish) = self.wanted.get(&after.value) else { return Ok(()) };
        marked::has_finalizers(place, wish, before, after)?;
        let wanted = &wish.references;
        for field in fields(place.kind) {
            let of_field = |resource: &Resource| -> BTreeSet<String> {
                let said = resource.said.iter().filter(|said| said.0 == field.path);
                said.map(|said| said.2.clone()).collect()
            };
            let expected = match wanted.iter().find(|(name, _)| *name == field.name) {
                Some((_, names)) => names.iter().cloned().collect(),
                None => before.map(of_field).unwrap_or_default(),
            };
            let found = of_field(after);
            if found != expected {
                let (value, path) = (&after.value, field.path);
                return Err(format!(
                    "{place} has {path} {found:?} after {value}, which was to make it {expected:?}"
                ));
            }
        }
        Ok(())
    }

    /// The inbound part of a shadow was written or removed.
    fn inbound_written(
        &mut self,
        deployment: &Arc<str>,
        uid: RowId,
        before: Option<&Inbound>,
    ) -> Result<(), String> {
        let owner = self.owner(uid).cloned();
        if let Some((_, after)) = self.inbound.get(&uid) {
            let after = after.clone();
            if owner.as_ref() != Some(deployment) {
                return Err(format!("S5: {deployment} has an inbound part of nothing: {after}"));
            }
            if lists(&after, deployment) {
                return Err(format!("{deployment} lists itself as a source: {after}"));
            }
            if after.is_deleting != self.deletions.contains_key(&uid) {
                return Err(format!("S5: an inbound part and its deletion disagree: {after}"));
            }
            let highest = self.epochs.entry(uid).or_insert(after.epoch);
            if *highest > after.epoch {
                return Err(format!("an epoch was {highest} before: {after}"));
            }
            *highest = after.epoch;
            if before.is_some_and(|before| before.grants > after.grants) {
                return Err(format!("grants went back: {after}"));
            }
        }
        let Some(owner) = owner else { return Ok(()) };
        let foreign = self.referrers_of(uid).filter(|(place, _)| place.deployment != owner);
        for (place, held) in foreign {
            self.is_listed(place, uid, &held.target)?;
        }
        Ok(())
    }
}

/// Whether a resource has this name in the version that it is stored in.
fn is_name_of(place: &Place, name: &TargetName) -> bool {
    kind_and_name(name).is_some_and(|(kind, name)| kind == place.kind && *name == *place.name)
}

/// Whether it has this name in another version.
fn is_counterpart_of(place: &Place, name: &TargetName) -> bool {
    let there = place.kind.counterpart(&place.name);
    there.is_some() && there == kind_and_name(name)
}

fn kind_and_name(name: &TargetName) -> Option<(Kind, String)> {
    Some((Kind::of(&name.version, &name.kind)?, name.name.to_string()))
}

/// Whether a resource held the same target at least as strictly: then nothing begins.
pub(super) fn had(before: &Resource, held: &Held) -> bool {
    before.held.iter().any(|old| old.uid == held.uid && old.behaviour <= held.behaviour)
}

fn lists(inbound: &Inbound, deployment: &str) -> bool {
    inbound.sources.iter().any(|source| source.deployment.to_string() == deployment)
}

fn said_of(held: &Held) -> Option<Said> {
    let kind = Kind::of(&held.target.version, &held.target.kind)?;
    let name = held.target.name.to_string();
    Some((held.path.clone(), kind, name, held.behaviour, held.is_sync))
}

/// An entry of the reverse index for each reference, and no other.
fn indexed(place: &Place, after: &Resource) -> Result<(), String> {
    let namespace: Arc<str> = place.kind.version().into();
    let wrong = |what: &str| Err(format!("S5: the reverse index {what} of {place}"));
    let mut meant = BTreeSet::new();
    // What is marked is not held up by itself.
    for held in after.held.iter().filter(|held| !(after.is_marked && held.uid == after.uid)) {
        let rule = Rule::of(held.behaviour, held.is_sync);
        let range = range_by(&namespace, &held.target, held.uid, rule);
        let found = after.entries.iter().filter(|entry| {
            range.contains(entry) && bowline_graph::index::read(entry) == Some((rule, held.uid))
        });
        let found: Vec<_> = found.collect();
        if found.len() != 1 {
            return wrong("lacks a reference");
        }
        meant.extend(found);
    }
    if meant.len() != after.entries.len() {
        return wrong("has more than the references");
    }
    Ok(())
}
