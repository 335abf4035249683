//! The verdict: the one commit in which a deletion becomes true, with all that goes and changes at once.
//!
//! Where nothing is left to wait for, verdict and purge are one, and the name is free at once. Otherwise what is left of the
//! resource are its inbound part, a row of its deletion that importers watch, and its names, which stay taken; of types with
//! asynchronous deletion also its own row, with a mark, and all that it refers to.

use std::collections::BTreeSet;
use std::fmt;

use bowline_node::DeploymentId;
use bowline_store::{Condition, IndexRange, Key, Range, Row, RowId, Write, layout};
use bowline_wire::bowline::mixin::v1 as wire;

use super::{Doomed, Facts, Trace, kept};
use crate::inbound::{self, Inbound};
use crate::index::Rule;
use crate::{TargetName, deletion};

/// Length of a prefix in the reverse index that is about a target, by whatever rule.
const TARGET_BYTES: usize = 32;

/// A commit that deletes.
#[derive(Debug, Default)]
pub struct Verdict {
    pub conditions: Vec<Condition>,
    pub writes: Vec<Write>,
    /// Nothing is left to wait for, of any of the resources.
    pub purges: bool,
    pub deleted: Vec<TargetName>,
    /// Of those, whose rows stay with a mark.
    pub kept: BTreeSet<RowId>,
    pub unset: Vec<Key>,
    /// By resource, for those that have something to wait for.
    pub waits_for: Vec<Wait>,
}

/// What a deletion is finished after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    pub target: TargetName,
    /// Deployments that hold references.
    pub sources: Vec<DeploymentId>,
    /// Resources of this deployment hold some.
    pub is_referred_to_here: bool,
    /// Those who have to let it go.
    pub finalizers: Vec<String>,
}

impl Wait {
    fn is_over(&self) -> bool {
        self.sources.is_empty() && !self.is_referred_to_here && self.finalizers.is_empty()
    }
}

/// `facts` are such that nothing blocks and nobody is left to be asked.
pub(super) fn verdict(facts: &Facts) -> Verdict {
    let kept = kept::kept(facts);
    let goes = facts.doomed.iter().map(|doomed| &doomed.key).filter(|key| !kept.contains(key));
    let leaves = goes.chain(facts.unsets.iter().map(|unset| &unset.key)).collect();
    let mut verdict = Verdict { purges: true, ..Verdict::default() };
    for doomed in &facts.doomed {
        verdict.delete(facts, doomed, &leaves);
    }
    for unset in &facts.unsets {
        let (key, version) = (unset.key.clone(), unset.version);
        verdict.unset.push(key.clone());
        verdict.conditions.push(Condition::RowAt { key, version });
        verdict.writes.push(unset.write.clone());
    }
    verdict
}

impl Verdict {
    /// What becomes of a row that is kept.
    pub fn row_of(&self, key: &Key) -> Option<&Row> {
        self.writes.iter().find_map(|write| match write {
            Write::Put { key: put, row, .. } if put == key => Some(row),
            _ => None,
        })
    }

    fn delete(&mut self, facts: &Facts, doomed: &Doomed, leaves: &BTreeSet<&Key>) {
        let (key, version) = (doomed.key.clone(), doomed.version);
        self.deleted.push(doomed.name.clone());
        self.conditions.push(Condition::RowAt { key, version });
        if doomed.names.is_empty() {
            self.remove(doomed);
            self.free(doomed);
            return;
        }
        self.conditions.push(doomed.inbound_condition());
        let left = doomed.inbound_after();
        let wait = doomed.wait(&left, leaves);
        if wait.is_over() {
            self.remove(doomed);
            self.require_none(doomed.ranges(&facts.spaces));
            let row = doomed.inbound.is_some().then(|| doomed.inbound_key());
            self.writes.extend(row.map(|key| Write::Remove { key }));
            self.free(doomed);
            return;
        }
        self.purges = false;
        match &doomed.mark {
            Some(mark) => {
                self.kept.insert(doomed.uid);
                self.writes.push(mark.write.clone());
            }
            None => self.remove(doomed),
        }
        // Where nothing was seen that refers to it, nothing does: what goes along would have been seen too.
        self.require_none(match wait.sources.is_empty() && !wait.is_referred_to_here {
            true => doomed.ranges(&facts.spaces),
            false => doomed.ranges_of(&facts.spaces, Rule::Block),
        });
        self.leave_behind(facts, doomed, &left);
        self.waits_for.push(wait);
    }

    /// Its row goes.
    fn remove(&mut self, doomed: &Doomed) {
        self.writes.push(Write::Remove { key: doomed.key.clone() });
    }

    /// Its name is free with this very commit.
    fn free(&mut self, doomed: &Doomed) {
        if let Some((condition, write)) = &doomed.left_behind {
            self.conditions.push(condition.clone());
            self.writes.push(write.clone());
        }
    }

    fn require_none(&mut self, ranges: Vec<IndexRange>) {
        let none = |range| Condition::NoRowInRange { range: Range::Index(range) };
        self.conditions.extend(ranges.into_iter().map(none));
    }

    /// What is there until the purge.
    fn leave_behind(&mut self, facts: &Facts, doomed: &Doomed, left: &Inbound) {
        // Above any version that the rows ever had: their names do not return before a purge, which is a commit later.
        let fresh = facts.sequence + 1;
        let version = doomed.inbound.as_ref().map_or(fresh, |(version, _)| version + 1);
        self.writes.push(Write::put(doomed.inbound_key(), left.row(version)));
        let row = deletion::row(&doomed.deletion(&facts.trace), fresh);
        self.writes.push(Write::put(deletion::key(&doomed.name.kind, doomed.uid), row));
        for name in &doomed.names {
            let table = layout::aliases(&name.version, &name.kind);
            let key = Key { table, name: name.name.clone() };
            self.conditions.push(Condition::RowAbsent { key: key.clone() });
            let row = Row { id: doomed.uid, ..Row::new(fresh, "") };
            self.writes.push(Write::put(key, row));
        }
    }
}

impl Doomed {
    fn inbound_key(&self) -> Key {
        inbound::key(&self.name.kind, self.uid)
    }

    /// That the inbound part is the one that was read. Its version tells more than epoch and grants, which a confirmation
    /// leaves alone; what it is replaced with was made of all of it.
    fn inbound_condition(&self) -> Condition {
        let key = self.inbound_key();
        match &self.inbound {
            None => Condition::RowAbsent { key },
            Some((version, _)) => Condition::RowAt { key, version: *version },
        }
    }

    /// What its deletion is finished after; `leaves` is what refers to nothing any more.
    fn wait(&self, left: &Inbound, leaves: &BTreeSet<&Key>) -> Wait {
        let finalizers = self.mark.as_ref().map(|mark| mark.finalizers.clone());
        Wait {
            target: self.name.clone(),
            sources: left.sources.iter().map(|source| source.deployment.clone()).collect(),
            is_referred_to_here: self.is_referred_to(|key| !leaves.contains(key)),
            finalizers: finalizers.unwrap_or_default(),
        }
    }

    /// The inbound part with the verdict in it: without the sources that hold nothing.
    pub(super) fn inbound_after(&self) -> Inbound {
        let new = || Inbound::new(self.name.clone(), self.fresh);
        let inbound = self.inbound.as_ref().map_or_else(new, |(_, inbound)| inbound.clone());
        let holdings = self.valid_answers().into_iter().flat_map(|answers| &answers.holdings);
        let hold_nothing = holdings.filter(|(_, holding)| !holding.holds_any);
        inbound.verdict(&hold_nothing.map(|(source, _)| source.clone()).collect())
    }

    fn deletion(&self, trace: &Trace) -> wire::Deletion {
        let Trace { root_cause, actor, delete_millis } = trace.clone();
        let uid = self.uid.0.to_be_bytes().to_vec();
        let names = self.names.iter().map(Into::into).collect();
        wire::Deletion { uid, names, root_cause, actor, delete_millis, policy: self.policy.clone() }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.purges { "delete and purge" } else { "delete" })?;
        self.deleted.iter().try_for_each(|name| write!(f, " {}", name.name))?;
        for condition in &self.conditions {
            write!(f, "\n  if {}", told(condition))?;
        }
        for write in &self.writes {
            match write {
                Write::Put { key, row, .. } => {
                    write!(f, "\n  put {} at {}", place(key), row.version)?
                }
                Write::Remove { key } => write!(f, "\n  remove {}", place(key))?,
                other => write!(f, "\n  {other:?}")?,
            }
        }
        for wait in &self.waits_for {
            let here = wait.is_referred_to_here.then(|| "this deployment".to_owned());
            let sources = wait.sources.iter().map(ToString::to_string);
            let finalizers = wait.finalizers.iter().map(|name| format!("finalizer {name}"));
            let whom: Vec<_> = sources.chain(here).chain(finalizers).collect();
            write!(f, "\n  {} waits for {}", wait.target.name, whom.join(", "))?;
        }
        Ok(())
    }
}

fn told(condition: &Condition) -> String {
    match condition {
        Condition::RowAt { key, version } => format!("{} is at {version}", place(key)),
        Condition::RowAbsent { key } => format!("no {}", place(key)),
        Condition::NoRowInRange { range: Range::Index(range) } => {
            let all = range.from.as_bytes().len() == TARGET_BYTES;
            let what = if all { "refers" } else { "blocks" };
            format!("nothing in {} {what}", range.index.namespace)
        }
        other => format!("{other:?}"),
    }
}

fn place(key: &Key) -> String {
    format!("{} {} {}", key.table.namespace, key.table.kind, key.name)
}
