//! What all sources together say: by name, who has the resource and what it is. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::follow::Cut;
use crate::id::DeploymentId;

/// What is known, by name.
#[derive(Debug)]
pub(super) struct Entries<T> {
    names: BTreeMap<Arc<str>, Vec<Held<T>>>,
    /// Of the newest statement.
    stamp: u64,
    is_truncated: bool,
}

/// What one source said of a name. Usually one source has a resource; while it moves it can be two.
#[derive(Debug)]
struct Held<T> {
    source: DeploymentId,
    /// The larger, the later it was said.
    stamp: u64,
    value: Arc<T>,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { names: BTreeMap::new(), stamp: 0, is_truncated: false }
    }
}

impl<T: PartialEq> Entries<T> {
    /// Takes over a cut of what `source` said; at most `max` names are kept. Says whether anything is another now.
    pub(super) fn apply(&mut self, source: &DeploymentId, cut: Cut<T>, max: usize) -> bool {
        let mut is_changed = false;
        if cut.replaces {
            let kept: BTreeSet<&Arc<str>> = cut
                .changes
                .iter()
                .filter(|(_, value)| value.is_some())
                .map(|(name, _)| name)
                .collect();
            is_changed |=
                self.retain(source, |name| kept.contains(name) || cut.unread.contains(name));
        }
        for (name, value) in cut.changes {
            is_changed |= match value {
                Some(value) => self.put(source, name, value, max),
                None => self.remove(source, &name),
            };
        }
        is_changed
    }

    /// Forgets all that `source` said. Says whether that was anything.
    pub(super) fn drop_source(&mut self, source: &DeploymentId) -> bool {
        self.retain(source, |_| false)
    }

    fn put(&mut self, source: &DeploymentId, name: Arc<str>, value: T, max: usize) -> bool {
        if self.names.len() >= max && !self.names.contains_key(&name) {
            if !self.is_truncated {
                tracing::error!(max, %name, "a mirror is full; what comes beyond is left out");
            }
            // That is news once.
            return !std::mem::replace(&mut self.is_truncated, true);
        }
        self.stamp += 1;
        let stamp = self.stamp;
        let held = self.names.entry(name).or_default();
        match held.iter_mut().find(|held| held.source == *source) {
            // Said again, not said anew: who said it last stays as it was.
            Some(same) if *same.value == value => false,
            Some(old) => {
                *old = Held { source: source.clone(), stamp, value: Arc::new(value) };
                true
            }
            None => {
                held.push(Held { source: source.clone(), stamp, value: Arc::new(value) });
                true
            }
        }
    }

    fn remove(&mut self, source: &DeploymentId, name: &str) -> bool {
        let Some(held) = self.names.get_mut(name) else { return false };
        let before = held.len();
        held.retain(|held| held.source != *source);
        let is_changed = held.len() != before;
        if held.is_empty() {
            self.names.remove(name);
        }
        is_changed
    }

    fn retain(&mut self, source: &DeploymentId, keep: impl Fn(&Arc<str>) -> bool) -> bool {
        let mut is_changed = false;
        self.names.retain(|name, held| {
            if !keep(name) {
                let before = held.len();
                held.retain(|held| held.source != *source);
                is_changed |= held.len() != before;
            }
            !held.is_empty()
        });
        is_changed
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<T>> {
        newest(self.names.get(name)?).map(|held| held.value.clone())
    }

    pub(super) fn source_of(&self, name: &str) -> Option<DeploymentId> {
        newest(self.names.get(name)?).map(|held| held.source.clone())
    }

    pub(super) fn all(&self) -> BTreeMap<Arc<str>, Arc<T>> {
        let of = |(name, held): (&Arc<str>, &Vec<Held<T>>)| {
            Some((name.clone(), newest(held)?.value.clone()))
        };
        self.names.iter().filter_map(of).collect()
    }

    /// How many resources `source` has. Cost: one step per name; for size checks only.
    pub(super) fn count(&self, source: &DeploymentId) -> usize {
        self.names.values().filter(|held| held.iter().any(|held| held.source == *source)).count()
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.is_truncated
    }
}

fn newest<T>(held: &[Held<T>]) -> Option<&Held<T>> {
    held.iter().max_by_key(|held| held.stamp)
}
