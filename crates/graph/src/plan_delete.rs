//! What a deletion comes to, decided from what was read and answered: ask first, blocked, or a verdict with its commit.
//!
//! One plan covers a set of resources: the one that is to go and those that go with it in the same commit. It is judged on
//! the state that this commit leaves, so what it deletes does not block. Reading, asking and committing are the engine's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bowline_node::DeploymentId;
use bowline_store::{Condition, IndexRange, Key, RowId, Version, Write};
use bowline_wire::bowline::mixin::v1 as wire;

use crate::epoch::Epoch;
use crate::inbound::{self, Inbound};
use crate::index::{self, Rule};
use crate::reference::TargetName;

mod cycle;
mod kept;
mod verdict;

#[cfg(test)]
mod tests;

pub use cycle::cycle;
pub use verdict::{Verdict, Wait};

/// Most resources that go or change in one deleting commit.
pub const TOGETHER_MAX: usize = 1_000;
/// Blockers are counted exactly up to this many.
pub const COUNTED_MAX: u32 = 1_000;
/// Most blockers that are named.
pub const NAMED_MAX: usize = 10;

/// All that a plan is made of.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The one that is to go, then those that go with it.
    pub doomed: Vec<Doomed>,
    /// What loses a reference in the same commit.
    pub unsets: Vec<Unset>,
    /// Namespaces in which resources are stored that may refer to others.
    pub spaces: Vec<Arc<str>>,
    /// The newest sequence that was known before anything was read.
    pub sequence: u64,
    pub trace: Trace,
}

/// Why it all happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// `KIND NAME` of what was deleted first.
    pub root_cause: String,
    /// Who asked for that.
    pub actor: String,
    /// Milliseconds since 1970.
    pub delete_millis: i64,
}

/// A resource that is to be deleted.
#[derive(Clone, Debug)]
pub struct Doomed {
    pub key: Key,
    pub version: Version,
    pub uid: RowId,
    /// As the stored version has it.
    pub name: TargetName,
    /// In every version in which it has a name, the stored one included. Empty for types without shadows: nothing refers
    /// to them.
    pub names: Vec<TargetName>,
    /// With the version of its row.
    pub inbound: Option<(Version, Inbound)>,
    /// The epoch of an inbound part that would be made now.
    pub fresh: Epoch,
    /// What refers to it in this deployment, as far as it was read.
    pub referrers: Vec<Referrer>,
    /// There are more that block than were read.
    pub has_more_blockers: bool,
    /// There is more that refers to it, by rules that are worked off afterwards.
    pub has_more: bool,
    /// What its sources answered, if they were asked.
    pub answers: Option<Answers>,
    /// How its row is kept as long as there is something to wait for; only types with asynchronous deletion.
    pub mark: Option<Mark>,
    /// `goten.types.MultiRegionPolicy` of a policy holder, encoded: its deletion keeps it. Empty: it says none.
    pub policy: Vec<u8>,
    /// What is required and written when its name is free: holders of policies leave something for namesakes made later.
    pub left_behind: Option<(Condition, Write)>,
}

/// What becomes of the row of a resource that is deleted and not gone yet.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Those who hold it: as long as there are any it is not gone.
    pub finalizers: Vec<String>,
    /// Puts the row as it is afterwards, with the same references and its mark.
    pub write: Write,
}

/// A resource of this deployment that refers to a doomed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    pub key: Key,
    /// Fields by which it refers; empty text: the parent in its name. None: it was not read, and is only counted.
    pub paths: Vec<String>,
    pub rule: Rule,
}

/// A resource that loses references.
#[derive(Clone, Debug)]
pub struct Unset {
    pub key: Key,
    pub version: Version,
    /// Puts the row as it is afterwards.
    pub write: Write,
}

/// What all sources of a target answered to the questions of one attempt.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// What the attempt wrote.
    pub epoch: Epoch,
    pub grants: u64,
    pub holdings: BTreeMap<DeploymentId, wire::check_response::Holding>,
}

/// What is to be done.
#[derive(Debug)]
pub enum Plan {
    /// Raise the epochs of these and ask their sources.
    NeedsAttempt(Vec<Attempt>),
    Blocked(Blocked),
    Verdict(Verdict),
}

/// A target that others may refer to, by its place among the doomed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub doomed: usize,
    pub sources: Vec<DeploymentId>,
}

/// What stands in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// By name; each that is known, which may be fewer than are counted.
    pub by: BTreeSet<Blocker>,
    /// How many, by deployment (`None`: this one); above [`COUNTED_MAX`] there are more.
    pub counts: BTreeMap<Option<DeploymentId>, u32>,
}

/// A reference that blocks. Compares by the name of who holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blocker {
    pub name: String,
    pub kind: String,
    /// Field by which it refers; empty: the parent in its name.
    pub path: String,
    pub target: TargetName,
    /// `None`: this deployment.
    pub at: Option<DeploymentId>,
}

/// What a deletion comes to.
pub fn plan(facts: &Facts) -> Plan {
    let blocked = blocked(facts);
    if !blocked.counts.is_empty() {
        return Plan::Blocked(blocked);
    }
    let attempts: Vec<_> = facts.doomed.iter().enumerate().filter_map(attempt).collect();
    if !attempts.is_empty() {
        return Plan::NeedsAttempt(attempts);
    }
    Plan::Verdict(verdict::verdict(facts))
}

/// Whether its sources are still to be asked.
fn attempt((at, doomed): (usize, &Doomed)) -> Option<Attempt> {
    let (_, inbound) = doomed.inbound.as_ref()?;
    if inbound.sources.is_empty() || doomed.valid_answers().is_some() {
        return None;
    }
    let sources = inbound.sources.iter().map(|source| source.deployment.clone()).collect();
    Some(Attempt { doomed: at, sources })
}

/// What blocks, here and as far as others have answered.
fn blocked(facts: &Facts) -> Blocked {
    let kept = kept::kept(facts);
    let keys = facts.doomed.iter().map(|doomed| &doomed.key).filter(|key| !kept.contains(key));
    let keys: BTreeSet<_> = keys.collect();
    let mut blocked = Blocked::default();
    for doomed in &facts.doomed {
        let is_left = |key: &Key| !keys.contains(key) && *key != doomed.key;
        let stays = |r: &&Referrer| r.rule == Rule::Block && is_left(&r.key);
        let mut count: u32 = 0;
        for referrer in doomed.referrers.iter().filter(stays) {
            count += 1;
            blocked.by.extend(local_blocker(doomed, referrer));
        }
        blocked.count(None, count + if doomed.has_more_blockers { COUNTED_MAX + 1 } else { 0 });
        for (source, holding) in doomed.valid_answers().into_iter().flat_map(|a| &a.holdings) {
            if holding.is_blocked {
                blocked.add_foreign(&doomed.name, source, holding.count.max(1), &holding.referrers);
            }
        }
    }
    blocked
}

fn local_blocker(doomed: &Doomed, referrer: &Referrer) -> Option<Blocker> {
    Some(Blocker {
        name: referrer.key.name.to_string(),
        kind: referrer.key.table.kind.to_string(),
        path: referrer.paths.first()?.clone(),
        target: doomed.name.clone(),
        at: None,
    })
}

impl Blocked {
    /// Takes in what a source says that it holds.
    pub fn add_foreign<'r>(
        &mut self,
        target: &TargetName,
        source: &DeploymentId,
        count: u32,
        referrers: impl IntoIterator<Item = &'r wire::Referrer>,
    ) {
        self.count(Some(source.clone()), count);
        self.by.extend(referrers.into_iter().map(|referrer| Blocker {
            name: referrer.name.clone(),
            kind: referrer.kind.clone(),
            path: referrer.path.clone(),
            target: target.clone(),
            at: Some(source.clone()),
        }));
    }

    fn count(&mut self, at: Option<DeploymentId>, count: u32) {
        if count > 0 {
            let sum = self.counts.entry(at).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Of all deployments.
    pub fn total(&self) -> u32 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// A number of blockers as people are told.
pub fn counted(count: u32) -> String {
    if count > COUNTED_MAX { format!("more than {COUNTED_MAX}") } else { count.to_string() }
}

impl Doomed {
    /// The answers, if they are about the inbound part as it is: no grant and no other attempt came between.
    fn valid_answers(&self) -> Option<&Answers> {
        let (_, inbound) = self.inbound.as_ref()?;
        self.answers.as_ref().filter(|answers| {
            let all = |source: &inbound::Source| answers.holdings.contains_key(&source.deployment);
            answers.epoch == inbound.epoch
                && answers.grants == inbound.grants
                && inbound.sources.iter().all(all)
        })
    }

    /// Where all lies that refers to it.
    pub fn ranges(&self, spaces: &[Arc<str>]) -> Vec<IndexRange> {
        self.each_range(spaces, |space, name| index::range_to(space, name, self.uid))
    }

    /// Where that lies which refers to it by this rule.
    pub fn ranges_of(&self, spaces: &[Arc<str>], rule: Rule) -> Vec<IndexRange> {
        self.each_range(spaces, |space, name| index::range_by(space, name, self.uid, rule))
    }

    fn each_range(
        &self,
        spaces: &[Arc<str>],
        range: impl Fn(&Arc<str>, &TargetName) -> IndexRange,
    ) -> Vec<IndexRange> {
        spaces.iter().flat_map(|space| self.names.iter().map(|name| range(space, name))).collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsAttempt(attempts) => {
                f.write_str("ask")?;
                attempts.iter().try_for_each(|attempt| {
                    let sources: Vec<_> = attempt.sources.iter().map(ToString::to_string).collect();
                    write!(f, "\n  about {}: {}", attempt.doomed, sources.join(", "))
                })
            }
            Self::Blocked(blocked) => blocked.fmt(f),
            Self::Verdict(verdict) => verdict.fmt(f),
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("blocked")?;
        for (at, count) in &self.counts {
            let at = at.as_ref().map_or_else(|| "here".to_owned(), ToString::to_string);
            write!(f, "\n  {at}: {}", counted(*count))?;
        }
        for Blocker { name, kind, path, target, .. } in self.by.iter().take(NAMED_MAX) {
            let path = if path.is_empty() { "parent" } else { path };
            write!(f, "\n  {kind} {name} ({path}) refers to {}", target.name)?;
        }
        Ok(())
    }
}
