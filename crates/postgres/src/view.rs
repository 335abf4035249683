//! The state that a batch is judged on: what was read when the group began, and what the batches before it would leave.

use std::collections::HashMap;
use std::sync::Arc;

use bowline_store::plan::{RowEffect, View};
use bowline_store::{Key, Position, Range, Row, RowId, StoreError, Table, Value, Version};

use crate::needs::{Base, Needs, range_key};

/// What the batches of a group have come to so far.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    rows: HashMap<Key, Option<Row>>,
    ids: HashMap<(Table, RowId), Option<Arc<str>>>,
    removals: HashMap<Key, Position>,
}

impl Overlay {
    pub(crate) fn add(&mut self, effect: &RowEffect, position: Position) {
        let id = |row: &Option<Row>| row.as_ref().map_or(RowId::NONE, |row| row.id);
        let (before, after) = (id(&effect.before), id(&effect.after));
        let table = &effect.key.table;
        if before != after {
            self.set_id(table, before, None);
            self.set_id(table, after, Some(effect.key.name.clone()));
        }
        if effect.after.is_none() && effect.is_logged {
            self.removals.insert(effect.key.clone(), position);
        }
        self.rows.insert(effect.key.clone(), effect.after.clone());
    }

    fn set_id(&mut self, table: &Table, id: RowId, name: Option<Arc<str>>) {
        if !id.is_none() {
            self.ids.insert((table.clone(), id), name);
        }
    }
}

/// For judging one batch. What it asks for and was not read is noted in `missing`, and the judgement is void then.
pub(crate) struct GroupView<'g> {
    pub(crate) base: &'g Base,
    pub(crate) overlay: &'g Overlay,
    pub(crate) missing: Needs,
}

impl<'g> GroupView<'g> {
    pub(crate) fn new(base: &'g Base, overlay: &'g Overlay) -> Self {
        Self { base, overlay, missing: Needs::default() }
    }

    fn miss<T>(&mut self, note: impl FnOnce(&mut Needs)) -> Result<T, StoreError> {
        note(&mut self.missing);
        Err(StoreError::Unavailable("a group has not read what it needs".into()))
    }

    /// Body and aside may be empty.
    fn known(&mut self, key: &Key) -> Result<Option<&'g Row>, StoreError> {
        if let Some(row) = self.overlay.rows.get(key) {
            return Ok(row.as_ref());
        }
        match self.base.rows.get(key) {
            Some(read) => Ok(read.row.as_ref()),
            None => self.miss(|needs| {
                needs.rows.insert(key.clone(), false);
            }),
        }
    }
}

impl View for GroupView<'_> {
    fn row(&mut self, key: &Key) -> Result<Option<Row>, StoreError> {
        if let Some(row) = self.overlay.rows.get(key) {
            return Ok(row.clone());
        }
        match self.base.rows.get(key) {
            Some(read) if read.is_whole || read.row.is_none() => Ok(read.row.clone()),
            _ => self.miss(|needs| {
                needs.namespaces.insert(key.table.namespace.clone());
                needs.rows.insert(key.clone(), true);
            }),
        }
    }

    fn version(&mut self, key: &Key) -> Result<Option<Version>, StoreError> {
        Ok(self.known(key)?.map(|row| row.version))
    }

    fn field(&mut self, key: &Key, field: &str) -> Result<Option<Option<Value>>, StoreError> {
        Ok(self.known(key)?.map(|row| row.extract.field(field)))
    }

    fn name_of(&mut self, table: &Table, id: RowId) -> Result<Option<Arc<str>>, StoreError> {
        let place = (table.clone(), id);
        if let Some(name) = self.overlay.ids.get(&place).or_else(|| self.base.ids.get(&place)) {
            return Ok(name.clone());
        }
        self.miss(|needs| {
            needs.ids.insert(place);
        })
    }

    fn removed_since(&mut self, key: &Key, since: Position) -> Result<bool, StoreError> {
        if since < self.base.state.oldest() {
            return Ok(true);
        }
        if let Some(removed) = self.overlay.removals.get(key) {
            return Ok(*removed > since);
        }
        let era = self.base.state.position.era;
        match self.base.removals.get(key) {
            // Lines of an era before this one are gone from the log.
            Some(removed) => Ok(removed.is_some_and(|sequence| Position { era, sequence } > since)),
            None => self.miss(|needs| {
                needs.removals.insert(key.clone());
            }),
        }
    }

    fn keys_in(&mut self, range: &Range, limit: usize) -> Result<Vec<Key>, StoreError> {
        let wanted = limit + self.overlay.rows.len();
        let Some(read) = self.base.ranges.get(&range_key(range)) else {
            return self.miss(|needs| needs.ranges.push((range.clone(), wanted)));
        };
        let is_untouched = |key: &&Key| !self.overlay.rows.contains_key(key);
        let mut keys: Vec<Key> = read.keys.iter().filter(is_untouched).cloned().collect();
        for (key, row) in &self.overlay.rows {
            if row.as_ref().is_some_and(|row| range.contains_row(key, &row.extract)) {
                keys.push(key.clone());
            }
        }
        if keys.len() < limit && !read.is_all {
            // Entries of one row may come many times, so ask for more each time.
            let wanted = wanted.max(4 * read.keys.len() + 64);
            return self.miss(|needs| needs.ranges.push((range.clone(), wanted)));
        }
        keys.sort_unstable();
        keys.truncate(limit);
        Ok(keys)
    }
}
