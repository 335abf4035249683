//! What a group of batches has to read before it can be judged, and what was read.
//!
//! Needs are foretold from the batches, so that one round trip does as a rule; what `view` still misses is read in
//! another one, in the same transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bowline_store::{Batch, Condition, Key, Range, Row, RowId, Table, Write};

use crate::row::State;

/// What has to be read.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Rows, and whether with body.
    pub(crate) rows: BTreeMap<Key, bool>,
    pub(crate) ids: BTreeSet<(Table, RowId)>,
    pub(crate) removals: BTreeSet<Key>,
    /// Ranges, and how many keys of each.
    pub(crate) ranges: Vec<(Range, usize)>,
    pub(crate) namespaces: BTreeSet<Arc<str>>,
}

/// Keys read beyond those that a batch needs, since batches before it in the group may have removed some.
const SPARE_KEYS: usize = 8;

impl Needs {
    /// What `batches` will need, as far as can be told.
    pub(crate) fn foretell<'b>(batches: impl IntoIterator<Item = &'b Batch>) -> Self {
        let mut needs = Self::default();
        for batch in batches {
            for condition in &batch.conditions {
                needs.add_condition(condition, batch.writes.len());
            }
            batch.writes.iter().for_each(|write| needs.add_write(write, &batch.conditions));
        }
        needs
    }

    fn add_condition(&mut self, condition: &Condition, writes: usize) {
        match condition {
            Condition::RowAt { key, .. }
            | Condition::RowAbsent { key }
            | Condition::FieldIs { key, .. }
            | Condition::FieldAtMost { key, .. } => self.add_row(key, false),
            Condition::NotRemovedSince { key, .. } => {
                self.removals.insert(key.clone());
            }
            Condition::NoRowInRange { range } => {
                if !range.is_void() {
                    self.ranges.push((range.clone(), writes + 1 + SPARE_KEYS));
                }
            }
        }
    }

    fn add_write(&mut self, write: &Write, conditions: &[Condition]) {
        match write {
            Write::Put { key, row, .. } => {
                self.add_row(key, true);
                // A row that is there keeps its id as a rule, and then nobody asks who has it.
                let is_there = |condition: &Condition| matches!(condition, Condition::RowAt { key: at, .. } if at == key);
                if !row.id.is_none() && !conditions.iter().take(8).any(is_there) {
                    self.ids.insert((key.table.clone(), row.id));
                }
            }
            Write::Remove { key } | Write::Reindex { key, .. } => self.add_row(key, true),
            Write::Swap { a, b } => self.namespaces.extend([a.clone(), b.clone()]),
            Write::Drop { namespace } => {
                self.namespaces.insert(namespace.clone());
            }
        }
    }

    fn add_row(&mut self, key: &Key, whole: bool) {
        if whole && !self.namespaces.contains(&key.table.namespace) {
            self.namespaces.insert(key.table.namespace.clone());
        }
        match self.rows.get_mut(key) {
            Some(known) => *known |= whole,
            None => {
                self.rows.insert(key.clone(), whole);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.ids.is_empty()
            && self.removals.is_empty()
            && self.ranges.is_empty()
            && self.namespaces.is_empty()
    }
}

/// A row as it was read: perhaps without body and aside.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) row: Option<Row>,
    pub(crate) is_whole: bool,
}

/// The first keys of a range.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) keys: Vec<Key>,
    pub(crate) is_all: bool,
}

/// A range as something to look up by.
pub(crate) type RangeKey = (bool, Arc<str>, Arc<str>, Vec<u8>, Option<Vec<u8>>);

pub(crate) fn range_key(range: &Range) -> RangeKey {
    match range {
        Range::Names(range) => {
            let Table { namespace, kind } = range.table.clone();
            let to = range.to.as_ref().map(|to| to.as_bytes().to_vec());
            (false, namespace, kind, range.from.as_bytes().to_vec(), to)
        }
        Range::Index(range) => {
            let to = range.to.as_ref().map(|to| to.as_bytes().to_vec());
            let from = range.from.as_bytes().to_vec();
            (true, range.index.namespace.clone(), range.index.name.clone(), from, to)
        }
    }
}

/// The state that a group begins with, as far as it was read.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) state: State,
    pub(crate) rows: HashMap<Key, Read>,
    pub(crate) ids: HashMap<(Table, RowId), Option<Arc<str>>>,
    /// The sequence of the last removal that the log has.
    pub(crate) removals: HashMap<Key, Option<u64>>,
    pub(crate) ranges: BTreeMap<RangeKey, Keys>,
    /// Spaces of namespaces that are written.
    pub(crate) spaces: HashMap<Arc<str>, i32>,
}

impl Base {
    pub(crate) fn new(state: State) -> Self {
        Self {
            state,
            rows: HashMap::new(),
            ids: HashMap::new(),
            removals: HashMap::new(),
            ranges: BTreeMap::new(),
            spaces: HashMap::new(),
        }
    }
}
