//! What the owner of a target asks its sources, and what the answer binds: the fence that is written, and the conditions
//! under which it is. Pure.
//!
//! *Is it blocked?* fences where nothing blocks. *Does anything refer to it?* fences whatever the answer is. Either way an
//! answer that denies something denies it for as long as the fence is there: what was granted before the question cannot be
//! committed any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bowline_store::{Condition, Key, Position, Range, Row, RowId, Write};
use bowline_wire::bowline::mixin::v1 as wire;

use crate::aside::Aside;
use crate::epoch::Epoch;
use crate::fence::{self, Fence};
use crate::index::{self, Rule};
use crate::reference::{Behaviour, TargetName};

#[cfg(test)]
mod tests;

/// Up to here referrers are counted.
pub const COUNT_MAX: usize = 1_000;
/// So many of them are named.
pub const NAMED_MAX: usize = 10;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// `CheckIfResourceIsBlocked`
    Blockers,
    /// `CheckIfResourceHasDeletionSubscriber`
    Referrers,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub uid: RowId,
    pub epoch: Epoch,
    /// The target's name in each version in which it has one.
    pub names: Vec<TargetName>,
    /// Versions that the question mentions, also those in which the target has no name.
    pub versions: BTreeSet<Arc<str>>,
}

/// What is true at the source, as of one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What blocks, or (see [`About`]) refers; counted to [`COUNT_MAX`].
    pub count: usize,
    /// The first of them.
    pub referrers: Vec<wire::Referrer>,
    pub is_blocked: bool,
    pub holds_any: bool,
    /// The rows of the fences, in the order of the question's names.
    pub fences: Vec<Option<Row>>,
}

/// The answer to one question, and what must commit before it is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    pub holding: wire::check_response::Holding,
    /// Empty if there is nothing to write: then the facts alone bind.
    pub conditions: Vec<Condition>,
    pub writes: Vec<Write>,
}

impl Question {
    /// Neither yes nor no, and no fence: a stored version may hold references of a version that is not mentioned.
    pub fn mismatch() -> Reply {
        let holding =
            wire::check_response::Holding { version_mismatch: true, ..Default::default() };
        Reply { holding, ..Reply::default() }
    }

    /// What to answer, and what to commit. `namespaces` are all that the source stores resources in; `read` is where the
    /// facts were read.
    ///
    /// Why no commit is needed where every fence is high enough: what was granted less is shut out already, and the fence
    /// goes only when nothing is under way that began before it was written.
    pub fn reply(
        &self,
        about: About,
        facts: Facts,
        namespaces: &[Arc<str>],
        read: Position,
    ) -> Reply {
        let has_fence = |row: &Option<Row>| self.is_fence_enough(row.as_ref());
        let is_fenced = facts.fences.iter().all(has_fence);
        let fences = about == About::Referrers || !facts.is_blocked;
        let mut reply = Reply::default();
        if fences && !is_fenced {
            reply.conditions = self.denied(about, &facts, namespaces);
            for (name, row) in self.names.iter().zip(&facts.fences) {
                if !self.is_fence_enough(row.as_ref()) {
                    let fence = Fence { epoch: self.epoch, written: read };
                    let (condition, write) = fence.put(name, row.as_ref());
                    reply.conditions.push(condition);
                    reply.writes.push(write);
                }
            }
        }
        reply.holding = wire::check_response::Holding {
            is_blocked: facts.is_blocked,
            holds_any: facts.holds_any,
            is_fenced: fences || is_fenced,
            count: u32::try_from(facts.count).unwrap_or(u32::MAX),
            referrers: facts.referrers,
            version_mismatch: false,
        };
        reply
    }

    /// A fence is never lowered.
    fn is_fence_enough(&self, row: Option<&Row>) -> bool {
        row.and_then(Fence::of_row).is_some_and(|fence| fence.epoch >= self.epoch)
    }

    /// Conditions that keep true what the answer denies.
    fn denied(&self, about: About, facts: &Facts, namespaces: &[Arc<str>]) -> Vec<Condition> {
        let uid = self.uid;
        let range = |namespace: &Arc<str>, name: &TargetName| match (facts.holds_any, about) {
            (false, _) => Some(index::range_to(namespace, name, uid)),
            (true, About::Blockers) => Some(index::range_by(namespace, name, uid, Rule::Block)),
            (true, About::Referrers) => None,
        };
        let all = namespaces
            .iter()
            .flat_map(|namespace| self.names.iter().filter_map(move |name| range(namespace, name)));
        all.map(|range| Condition::NoRowInRange { range: Range::Index(range) }).collect()
    }

    /// Where the fences are.
    pub fn fence_keys(&self) -> Vec<Key> {
        self.names.iter().map(fence::key).collect()
    }
}

/// Kind, name and namespace: the order in which referrers are named.
type Place = (Arc<str>, Arc<str>, Arc<str>);

/// The first of many referrers by kind and name, and how many there are; memory is bounded by [`COUNT_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Tally {
    seen: BTreeSet<Key>,
    first: BTreeMap<Place, Vec<wire::Referrer>>,
}

impl Tally {
    /// Whether there is no use in looking further.
    pub fn is_full(&self) -> bool {
        self.seen.len() >= COUNT_MAX
    }

    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// Takes note of a resource that refers to one of `names`, once however often it is met.
    pub fn note(&mut self, key: &Key, row: &Row, about: About, names: &[TargetName]) {
        if self.is_full() || !self.seen.insert(key.clone()) {
            return;
        }
        let place = (key.table.kind.clone(), key.name.clone(), key.table.namespace.clone());
        if self.first.len() >= NAMED_MAX
            && self.first.last_key_value().is_some_and(|(last, _)| *last < place)
        {
            return;
        }
        self.first.insert(place, referrers(key, row, about, names));
        if self.first.len() > NAMED_MAX {
            self.first.pop_last();
        }
    }

    /// The first of them, at most [`NAMED_MAX`].
    pub fn into_referrers(self) -> Vec<wire::Referrer> {
        self.first.into_values().flatten().take(NAMED_MAX).collect()
    }
}

/// The references of a resource to a target: one for each field. None if what is stored beside it does not decode.
pub fn referrers(key: &Key, row: &Row, about: About, names: &[TargetName]) -> Vec<wire::Referrer> {
    let aside = Aside::decode(&row.aside).unwrap_or_default();
    let counts = |behaviour| about == About::Referrers || behaviour == Behaviour::Block;
    let held = aside.references.iter();
    let held = held.filter(|held| counts(held.behaviour) && names.contains(&held.target));
    held.map(|held| wire::Referrer {
        kind: key.table.kind.to_string(),
        version: key.table.namespace.to_string(),
        name: key.name.to_string(),
        path: held.path.clone(),
        behaviour: wire::Behaviour::from(held.behaviour).into(),
    })
    .collect()
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = &self.holding;
        let words = [
            (said.version_mismatch, "version mismatch"),
            (said.is_blocked, "blocked"),
            (said.holds_any, "holds some"),
            (!said.holds_any && !said.version_mismatch, "holds nothing"),
            (said.is_fenced, "fenced"),
        ];
        let words: Vec<_> = words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        f.write_str(&words.join(", "))?;
        for condition in &self.conditions {
            match condition {
                Condition::NoRowInRange { range } => {
                    write!(f, "\n  if nothing in a range of {}", range.namespace())?;
                }
                Condition::RowAbsent { key } => write!(f, "\n  if no {}", key.name)?,
                Condition::RowAt { key, version } => {
                    write!(f, "\n  if {} at {version}", key.name)?;
                }
                other => write!(f, "\n  if {other:?}")?,
            }
        }
        for write in &self.writes {
            if let Write::Put { key, row, .. } = write {
                let epoch = Fence::of_row(row).map(|fence| fence.epoch).unwrap_or_default();
                write!(f, "\n  fence {} at {epoch}", key.name)?;
            }
        }
        Ok(())
    }
}
