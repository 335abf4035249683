//! What a save comes to: which of its references are new, and what the commit requires and writes for them.
//!
//! New references to targets of the own deployment become conditions; those to others were granted beforehand, and the
//! commit requires that no fence above the grant has been written since. What was held before needs nothing: as long as
//! this resource holds it, its target can only go by what the reference itself says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bowline_node::DeploymentId;
use bowline_store::{Condition, Key, Row, RowId, Write, layout};
use bowline_wire::bowline::graph::v1 as stored;

use crate::aside::{self, Held};
use crate::epoch::Epoch;
use crate::reference::{Behaviour, Entry, TargetName};
use crate::{fence, index, task};

/// What is different between what a resource held and what its document now says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Of the document, to targets that the resource held at least as strictly.
    pub kept: Vec<Held>,
    /// Of the document, and not so.
    pub new: Vec<Entry>,
    /// Each target that the resource holds no more, or less strictly: its strictest reference of before.
    pub dropped: Vec<Held>,
}

/// Compares what is held with what a document says.
///
/// An entry is new if its target was not held, or less strictly: the owner of the target has decided by what it knew.
pub fn diff(held: &[Held], entries: &[Entry]) -> Diff {
    let mut strictest = aside::strictest(held);
    let mut diff = Diff::default();
    for entry in entries {
        match strictest.get(&entry.target) {
            Some(held) if held.behaviour <= entry.behaviour => {
                diff.kept.push(Held::of(entry, held.uid, held.region.clone()));
            }
            _ => diff.new.push(entry.clone()),
        }
    }
    for entry in entries {
        if strictest.get(&entry.target).is_some_and(|held| entry.behaviour <= held.behaviour) {
            strictest.remove(&entry.target);
        }
    }
    diff.dropped = strictest.into_values().cloned().collect();
    diff
}

/// What a resource that is being deleted still holds of what it held, by what its document now says; `said` is what the
/// document said before.
///
/// Where the schema has become stricter since a reference was made, it stays as it was made: the document has said so all
/// along.
///
/// # Errors
/// Entries of the document whose targets it did not hold at least as strictly: it gains none any more.
pub fn remaining(
    held: &[Held],
    said: &[Entry],
    entries: &[Entry],
) -> Result<Vec<Held>, Vec<Entry>> {
    let (mut kept, mut gained) = (Vec::new(), Vec::new());
    for entry in entries {
        let to_it = held.iter().filter(|held| held.target == entry.target);
        match to_it.min_by_key(|held| (held.path != entry.path, held.behaviour)) {
            Some(held) if held.behaviour <= entry.behaviour => {
                kept.push(Held::of(entry, held.uid, held.region.clone()));
            }
            Some(held) if said.contains(entry) => {
                kept.push(Held { path: entry.path.clone(), ..held.clone() });
            }
            _ => gained.push(entry.clone()),
        }
    }
    kept.sort();
    if gained.is_empty() { Ok(kept) } else { Err(gained) }
}

impl Diff {
    /// The targets of new references, each with the strictest behaviour; without the resource itself.
    pub fn wanted(&self, own: &TargetName) -> BTreeMap<TargetName, Behaviour> {
        let mut wanted = BTreeMap::new();
        for entry in self.new.iter().filter(|entry| entry.target != *own) {
            let behaviour = wanted.entry(entry.target.clone()).or_insert(entry.behaviour);
            *behaviour = entry.behaviour.min(*behaviour);
        }
        wanted
    }
}

/// What a new reference rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Footing {
    /// The target is of this deployment; this is the one that was seen.
    Local { uid: RowId },
    /// Its owner granted it.
    Granted(Grant),
}

/// What the owner of a target has granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub owner: DeploymentId,
    pub epoch: Epoch,
    pub uid: RowId,
    /// The blockade that is to be confirmed or withdrawn; `None`: the owner put none.
    pub blockade: Option<[u8; 16]>,
}

/// The resource that is saved.
#[derive(Clone, Debug)]
pub struct Saved<'a> {
    pub own: &'a TargetName,
    pub uid: RowId,
    /// 16 bytes for the task that the save may leave, new for every attempt.
    pub task_id: [u8; 16],
    /// Milliseconds since 1970.
    pub now_millis: i64,
}

/// What a commit requires and writes for the references of a resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SavePlan {
    /// All that the resource then holds, sorted by path and target.
    pub references: Vec<Held>,
    /// What it lets go of: [`Diff::dropped`].
    pub dropped: Vec<Held>,
    pub conditions: Vec<Condition>,
    /// At most one: the confirmation of blockades.
    pub task: Option<stored::Task>,
    /// Where the task goes.
    pub task_key: Option<Key>,
}

/// A new reference that nothing was found out about: a mistake of whoever plans.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing is known of {target}, which is newly referred to")]
pub struct Unfounded {
    pub target: TargetName,
}

/// Puts the plan together. `footings` has an entry for each of [`Diff::wanted`].
///
/// # Errors
/// If it has not.
pub fn plan(
    saved: &Saved<'_>,
    diff: Diff,
    footings: &BTreeMap<TargetName, Footing>,
) -> Result<SavePlan, Unfounded> {
    let wanted = diff.wanted(saved.own);
    let mut plan = SavePlan { references: diff.kept, dropped: diff.dropped, ..SavePlan::default() };
    for entry in &diff.new {
        let held = match footings.get(&entry.target) {
            // It is there if this commit is, and goes only together with what it refers to.
            _ if entry.target == *saved.own => Held::of(entry, saved.uid, None),
            Some(Footing::Local { uid }) => Held::of(entry, *uid, None),
            Some(Footing::Granted(grant)) => Held::of(entry, grant.uid, region_of(&grant.owner)),
            None => return Err(Unfounded { target: entry.target.clone() }),
        };
        plan.references.push(held);
    }
    plan.references.sort();
    let footings = wanted.keys().filter_map(|target| Some((target, footings.get(target)?)));
    let mut confirmations = Vec::new();
    for (target, footing) in footings {
        match footing {
            Footing::Local { uid } => plan.conditions.push(is_active(target, *uid)),
            Footing::Granted(grant) => {
                plan.conditions.push(fence::condition(target, grant.epoch));
                confirmations.extend(grant.confirmation(target));
            }
        }
    }
    if !confirmations.is_empty() {
        plan.task_key = Some(task::key(task::kind::CONFIRM_BLOCKADES, &saved.task_id));
        plan.task = Some(stored::Task {
            r#type: task::kind::CONFIRM_BLOCKADES.to_owned(),
            kind: saved.own.kind.to_string(),
            name: saved.own.name.to_string(),
            confirmations,
            create_millis: saved.now_millis,
            ..stored::Task::default()
        });
    }
    Ok(plan)
}

impl SavePlan {
    /// The row of the task, if there is one.
    pub fn task_write(&self) -> Option<Write> {
        let (task, key) = (self.task.as_ref()?, self.task_key.clone()?);
        Some(Write::put(key, task::row(task, 1)))
    }
}

/// What a commit requires of a target of its own deployment: it is there, the one that was seen, and not being deleted.
pub fn is_active(target: &TargetName, uid: RowId) -> Condition {
    let field = index::ACTIVE.into();
    Condition::FieldIs { key: key(target), field, value: index::active(uid) }
}

/// The row of a target of the own deployment.
pub fn key(target: &TargetName) -> Key {
    let table = layout::resources(&target.version, &target.kind);
    Key { table, name: target.name.clone() }
}

/// Whether the row says that it may be referred to.
pub fn may_be_referred_to(row: &Row) -> bool {
    row.extract.field(index::ACTIVE) == Some(index::active(row.id))
}

/// Deployments that know of no regions have none to remember.
fn region_of(owner: &DeploymentId) -> Option<Arc<str>> {
    (!owner.region.is_empty()).then(|| owner.region.clone())
}

impl Grant {
    fn confirmation(&self, target: &TargetName) -> Option<stored::Confirmation> {
        let blockade = self.blockade?;
        Some(stored::Confirmation {
            service: self.owner.service.to_string(),
            region: self.owner.region.to_string(),
            kind: target.kind.to_string(),
            version: target.version.to_string(),
            name: target.name.to_string(),
            uid: self.uid.0.to_be_bytes().to_vec(),
            blockade_id: blockade.to_vec(),
        })
    }
}

impl fmt::Display for SavePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for held in &self.references {
            let path = if held.path.is_empty() { "parent" } else { &held.path };
            write!(f, "holds {path}: {:?} {}", held.behaviour, held.target)?;
            match &held.region {
                Some(region) => writeln!(f, " in {region}")?,
                None => writeln!(f)?,
            }
        }
        for held in &self.dropped {
            writeln!(f, "lets go of {}", held.target)?;
        }
        for condition in &self.conditions {
            match condition {
                Condition::FieldIs { key, .. } => writeln!(f, "requires active {}", key.name)?,
                Condition::FieldAtMost { key, value, .. } => {
                    let epoch = Epoch::of_value(value).unwrap_or_default();
                    writeln!(f, "requires no fence above {epoch} at {}", key.name)?;
                }
                other => writeln!(f, "requires {other:?}")?,
            }
        }
        for confirmation in self.task.iter().flat_map(|task| &task.confirmations) {
            let stored::Confirmation { service, region, name, .. } = confirmation;
            writeln!(f, "leaves to confirm {name} at {service}@{region}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
