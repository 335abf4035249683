//! The graph, as the commits of all stores make it: every resource with what it refers to, every shadow, every fence.
//!
//! Rows are read with the codecs of the crate `graph`; what must hold of them is said here and in `rules`, by nobody whose
//! work is judged. Each commit is taken over as a whole and then judged: nothing in the world happens in between.
//! - S1: every committed reference leads to a shadow of its owner: the row of that very resource, or its deletion.
//! - S2, S3: once a resource's row is gone by its deletion, or says that it is being deleted, no `BLOCK` reference to it is left, and none of any kind begins.
//! - S5: what is kept of references is what the document says; an index entry each; no shadow is doubled.
//! - A row that is marked is deleted, and stays until no finalizer is in it: `marked`.
//! - Every foreign reference has its deployment among the sources of its target: what deletions rest on.
//! - Nothing goes or is changed without a client's wish or a rule that says so.
//!
//! `quiet` has what must be so in the end.

mod counts;
mod marked;
mod quiet;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_graph::fence::Fence;
use bowline_graph::{Aside, Epoch, Held, Inbound, TargetName, deletion, index};
use bowline_store::{Key, Row, RowId, Value, Write};
use prost_reflect::DynamicMessage;

use super::{decode, text};
use crate::fleet::client::Wish;
use crate::references::{Said, said};
use crate::services::Kind;
pub use counts::Counts;

/// So long after its answer a request may still be carried out: doubled, or in a process that stood still.
const LATE: Duration = Duration::from_secs(20);

/// Fields with references that a write sets, with the names that it sets them to.
pub type Wanted = Vec<(&'static str, Vec<String>)>;

/// A resource in a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// `devices.sim.test@east`.
    pub(super) deployment: Arc<str>,
    pub(super) kind: Kind,
    pub(super) name: Arc<str>,
}

/// What is committed of a resource.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) uid: RowId,
    pub(super) version: u64,
    pub(super) value: String,
    pub(super) said: BTreeSet<Said>,
    pub(super) held: Vec<Held>,
    /// Entries of the reverse index.
    entries: Vec<Value>,
    /// Which resource may be referred to, by the row.
    active: Option<Value>,
    /// Its deletion has committed, and its row is kept.
    pub(super) is_marked: bool,
    /// Whether its document says so.
    says_deleting: bool,
    pub(super) finalizers: BTreeSet<String>,
}

/// A deletion that has committed and is not finished.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) deployment: Arc<str>,
    pub(super) names: Vec<TargetName>,
}

/// A request to delete something.
#[derive(Clone, Copy, Debug)]
struct Asked {
    since: Duration,
    until: Option<Duration>,
}

/// What one commit has changed.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) resources: Vec<(Place, Option<Resource>, Option<Resource>)>,
    pub(super) inbound: BTreeMap<RowId, Option<Inbound>>,
    pub(super) begun: Vec<RowId>,
    pub(super) ended: Vec<(RowId, Pending)>,
    pub(super) notes: Vec<String>,
    problem: Option<String>,
}

/// See the module's header.
#[derive(Default)]
pub(super) struct Graph {
    resources: BTreeMap<Place, Resource>,
    by_uid: BTreeMap<RowId, Place>,
    /// By what they refer to.
    referrers: BTreeMap<RowId, BTreeSet<Place>>,
    /// With the deployments that keep them.
    inbound: BTreeMap<RowId, (Arc<str>, Inbound)>,
    /// The highest epoch that a target has had.
    epochs: BTreeMap<RowId, Epoch>,
    deletions: BTreeMap<RowId, Pending>,
    /// Resources whose deletion has committed.
    gone: BTreeSet<RowId>,
    fences: BTreeMap<(Arc<str>, Arc<str>), Epoch>,
    tasks: BTreeMap<(Arc<str>, Arc<str>), Duration>,
    aliases: BTreeMap<(Arc<str>, Key), RowId>,
    /// The highest version that a name has had in a store.
    versions: BTreeMap<Place, u64>,
    deletes: BTreeMap<(Kind, String), Vec<Asked>>,
    /// What writes want, by their values.
    wanted: BTreeMap<String, Wish>,
    pub(super) counts: Counts,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.deployment)
    }
}

impl Resource {
    fn read(kind: Kind, name: &str, row: &Row) -> Result<Self, String> {
        let document = decode(kind, row);
        let aside = Aside::decode(&row.aside)
            .map_err(|error| format!("S5: what is beside {name} cannot be read: {error}"))?;
        let entries = row.extract.entries().filter(|entry| entry.index == index::REFERENCES);
        let metadata = document.get_field_by_name("metadata");
        let metadata = metadata.as_ref().and_then(|metadata| metadata.as_message());
        Ok(Self {
            is_marked: index::is_marked(row),
            says_deleting: metadata
                .is_some_and(|metadata| metadata.has_field_by_name("delete_time")),
            finalizers: metadata.map(finalizers).unwrap_or_default(),
            uid: row.id,
            version: row.version,
            value: text(&document, "value"),
            said: said(kind, name, &document),
            held: aside.references,
            entries: entries.map(|entry| entry.value).collect(),
            active: row.extract.field(index::ACTIVE),
        })
    }

    fn targets(&self) -> BTreeSet<RowId> {
        self.held.iter().map(|held| held.uid).collect()
    }
}

impl Graph {
    /// A client asks for a write.
    pub(super) fn wants(&mut self, wish: &Wish) {
        self.wanted.insert(wish.value.clone(), wish.clone());
    }

    pub(super) fn is_marked(&self, uid: RowId) -> bool {
        let place = self.by_uid.get(&uid);
        place.and_then(|place| self.resources.get(place)).is_some_and(|found| found.is_marked)
    }

    /// What is being deleted and kept by finalizers, with these.
    pub(super) fn held_by_finalizers(&self) -> Vec<(Kind, String, Vec<String>)> {
        let held = self.resources.iter();
        let held = held.filter(|(_, found)| found.is_marked && !found.finalizers.is_empty());
        let told = held.map(|(place, found)| {
            (place.kind, place.name.to_string(), found.finalizers.iter().cloned().collect())
        });
        told.collect()
    }

    /// A client asks for a deletion.
    pub(super) fn asks_to_delete(&mut self, kind: Kind, name: &str, since: Duration) {
        let asked = self.deletes.entry((kind, name.to_owned())).or_default();
        asked.push(Asked { since, until: None });
    }

    /// It got its answer, or gave up.
    pub(super) fn asked_to_delete(
        &mut self,
        kind: Kind,
        name: &str,
        since: Duration,
        now: Duration,
    ) {
        let asked = self.deletes.entry((kind, name.to_owned())).or_default();
        for one in asked.iter_mut().filter(|one| one.since == since) {
            one.until = Some(now + LATE);
        }
    }

    fn is_asked_to_delete(&self, place: &Place, now: Duration) -> bool {
        let asked = self.deletes.get(&(place.kind, place.name.to_string()));
        asked.into_iter().flatten().any(|one| one.until.is_none_or(|until| until >= now))
    }

    /// Which resource has this name.
    pub(super) fn uid(&self, kind: Kind, name: &str) -> Option<RowId> {
        let named = |place: &&Place| place.kind == kind && *place.name == *name;
        let place = self.resources.keys().find(named)?;
        self.resources.get(place).map(|resource| resource.uid)
    }

    pub(super) fn inbound_of(&self, uid: RowId) -> Option<&Inbound> {
        self.inbound.get(&uid).map(|(_, inbound)| inbound)
    }

    /// What a resource refers to, its parent first.
    pub(super) fn held_by(&self, uid: RowId) -> Vec<Held> {
        let place = self.by_uid.get(&uid);
        let found = place.and_then(|place| self.resources.get(place));
        found.map(|found| found.held.clone()).unwrap_or_default()
    }

    /// Takes over a commit and judges it.
    pub(super) fn commit(
        &mut self,
        deployment: &str,
        writes: &[Write],
        now: Duration,
    ) -> (Vec<String>, Result<(), String>) {
        let deployment: Arc<str> = deployment.into();
        let mut changes = Changes::default();
        for write in writes {
            let (key, row) = match write {
                Write::Put { key, row, .. } => (key, Some(row)),
                Write::Remove { key } => (key, None),
                _ => continue,
            };
            if let Err(problem) = self.take(&deployment, key, row, now, &mut changes) {
                changes.problem.get_or_insert(problem);
            }
        }
        let notes = std::mem::take(&mut changes.notes);
        let judged = match changes.problem.take() {
            Some(problem) => Err(problem),
            None => self.judge(&deployment, &changes, now),
        };
        (notes, judged)
    }

    fn take(
        &mut self,
        deployment: &Arc<str>,
        key: &Key,
        row: Option<&Row>,
        now: Duration,
        changes: &mut Changes,
    ) -> Result<(), String> {
        let (namespace, kind) = (&*key.table.namespace, &*key.table.kind);
        if namespace == deletion::NAMESPACE {
            return self.take_deletion(deployment, key, row, changes);
        }
        if namespace.starts_with("~alias/") {
            let at = (deployment.clone(), key.clone());
            match row {
                Some(row) => drop(self.aliases.insert(at, row.id)),
                None => drop(self.aliases.remove(&at)),
            }
            return Ok(());
        }
        if kind.starts_with("~inbound/") {
            return self.take_inbound(deployment, key, row, changes);
        }
        match (kind, Kind::of(namespace, kind)) {
            ("~fence", _) => self.take_fence(deployment, key, row, changes),
            ("~task", _) => {
                let at = (deployment.clone(), key.name.clone());
                match row {
                    Some(_) => drop(self.tasks.entry(at).or_insert(now)),
                    None => drop(self.tasks.remove(&at)),
                }
                changes.notes.push(format!("task {} {}", key.name, put_or_removed(row)));
                Ok(())
            }
            (_, Some(kind)) => self.take_resource(deployment, kind, &key.name, row, changes),
            _ => Ok(()),
        }
    }

    fn take_resource(
        &mut self,
        deployment: &Arc<str>,
        kind: Kind,
        name: &Arc<str>,
        row: Option<&Row>,
        changes: &mut Changes,
    ) -> Result<(), String> {
        let place = Place { deployment: deployment.clone(), kind, name: name.clone() };
        let after = row.map(|row| Resource::read(kind, name, row)).transpose()?;
        let before = match &after {
            Some(after) => self.resources.insert(place.clone(), after.clone()),
            None => self.resources.remove(&place),
        };
        if let Some(before) = &before {
            self.by_uid.remove(&before.uid);
            for target in before.targets() {
                if let Some(referrers) = self.referrers.get_mut(&target) {
                    referrers.remove(&place);
                }
            }
        }
        if let Some(after) = &after {
            self.by_uid.insert(after.uid, place.clone());
            for target in after.targets() {
                self.referrers.entry(target).or_default().insert(place.clone());
            }
        }
        changes.resources.push((place, before, after));
        Ok(())
    }

    fn take_deletion(
        &mut self,
        deployment: &Arc<str>,
        key: &Key,
        row: Option<&Row>,
        changes: &mut Changes,
    ) -> Result<(), String> {
        let uid = uid_of(&key.name).ok_or_else(|| format!("{} names no deletion", key.name))?;
        changes.notes.push(format!("deletion {} {}", key.name, put_or_removed(row)));
        let Some(row) = row else {
            if let Some(ended) = self.deletions.remove(&uid) {
                changes.ended.push((uid, ended));
            }
            return Ok(());
        };
        let deletion = deletion::of_row(row).map_err(|error| error.to_string())?;
        let names = deletion.names.iter().map(TargetName::from).collect();
        self.deletions.insert(uid, Pending { deployment: deployment.clone(), names });
        changes.begun.push(uid);
        self.counts.pending += 1;
        Ok(())
    }

    fn take_inbound(
        &mut self,
        deployment: &Arc<str>,
        key: &Key,
        row: Option<&Row>,
        changes: &mut Changes,
    ) -> Result<(), String> {
        let uid = uid_of(&key.name).ok_or_else(|| format!("{} names no shadow", key.name))?;
        let after = row.map(Inbound::of_row).transpose().map_err(|error| error.to_string())?;
        let told = after.as_ref().map_or_else(|| "removed".to_owned(), one_line);
        changes.notes.push(format!("inbound {}: {told}", key.name));
        let before = match after {
            Some(after) => self.inbound.insert(uid, (deployment.clone(), after)),
            None => self.inbound.remove(&uid),
        };
        self.counts.inbound += 1;
        changes.inbound.insert(uid, before.map(|(_, inbound)| inbound));
        Ok(())
    }

    fn take_fence(
        &mut self,
        deployment: &Arc<str>,
        key: &Key,
        row: Option<&Row>,
        changes: &mut Changes,
    ) -> Result<(), String> {
        let at = (deployment.clone(), key.name.clone());
        let Some(row) = row else {
            self.fences.remove(&at);
            return Ok(());
        };
        let fence = Fence::of_row(row).ok_or_else(|| format!("fence {} says nothing", key.name))?;
        changes.notes.push(format!("fence {} at {}", key.name, fence.epoch));
        self.counts.fences += 1;
        match self.fences.insert(at, fence.epoch) {
            Some(before) if before > fence.epoch => {
                Err(format!("fence {} went from {before} to {}", key.name, fence.epoch))
            }
            _ => Ok(()),
        }
    }

    /// The deployment that has a shadow of this resource.
    fn owner(&self, uid: RowId) -> Option<&Arc<str>> {
        let active = self.by_uid.get(&uid).map(|place| &place.deployment);
        active.or_else(|| self.deletions.get(&uid).map(|pending| &pending.deployment))
    }

    /// What refers to this resource, with how.
    fn referrers_of(&self, uid: RowId) -> impl Iterator<Item = (&Place, &Held)> {
        let places = self.referrers.get(&uid).into_iter().flatten();
        places.flat_map(move |place| {
            let held = self.resources.get(place).into_iter().flat_map(|found| &found.held);
            held.filter(move |held| held.uid == uid).map(move |held| (place, held))
        })
    }
}

fn finalizers(metadata: &DynamicMessage) -> BTreeSet<String> {
    let names = metadata.get_field_by_name("finalizers");
    let names = names.as_ref().and_then(|names| names.as_list()).unwrap_or_default();
    names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

fn uid_of(name: &str) -> Option<RowId> {
    u128::from_str_radix(name, 16).ok().map(RowId)
}

fn put_or_removed(row: Option<&Row>) -> &'static str {
    row.map_or("removed", |_| "put")
}

fn one_line(inbound: &Inbound) -> String {
    inbound.to_string().replace("\n  ", "; ")
}
