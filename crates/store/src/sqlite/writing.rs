//! The statements that write one batch, and the state that the next one is judged on.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, params};

use super::Shared;
use super::failure::{GroupFailure, store_error};
use super::log::{self, Append};
use super::names::{Place, TableNumbers};
use super::query::Reading;
use super::row::{State, id_to_sql, version_to_sql};
use super::spaces::Spaces;
use super::sums;
use super::writer::Outcome;
use crate::contract::{
    Change, CommitError, Key, Position, Range, Row, RowId, StoreError, Table, Value, Version,
};
use crate::observe::Changed;
use crate::plan::{Effect, EntryChanges, Plan, RowEffect, Unread, View};
use crate::tail;

/// What a group has written so far, before it is committed.
pub(super) struct Group {
    pub(super) state: State,
    pub(super) spaces: Arc<Spaces>,
    /// What changes for observers.
    pub(super) changed: Vec<Changed>,
    /// Changes that are in the log.
    pub(super) logged: Vec<Arc<Change>>,
    /// Those of them that removed a row.
    pub(super) removals: Vec<Arc<Change>>,
    /// Whether a space is to be freed.
    pub(super) has_dropped: bool,
}

impl Group {
    pub(super) fn new(state: State, spaces: Arc<Spaces>) -> Self {
        let (changed, logged, removals) = (Vec::new(), Vec::new(), Vec::new());
        Self { state, spaces, changed, logged, removals, has_dropped: false }
    }
}

/// The state within a group: the open transaction, and the removals that are not in the tail yet.
pub(super) struct GroupView<'c, 'g> {
    reading: Reading<'g>,
    shared: &'c Shared,
    group: &'g Group,
}

impl View for GroupView<'_, '_> {
    fn row(&mut self, key: &Key) -> Result<Option<Row>, StoreError> {
        self.reading.row(key)
    }

    fn version(&mut self, key: &Key) -> Result<Option<Version>, StoreError> {
        self.reading.version(key)
    }

    fn field(&mut self, key: &Key, field: &str) -> Result<Option<Option<Value>>, StoreError> {
        self.reading.field(key, field)
    }

    fn name_of(&mut self, table: &Table, id: RowId) -> Result<Option<Arc<str>>, StoreError> {
        self.reading.name_of(table, id)
    }

    fn removed_since(&mut self, key: &Key, since: Position) -> Result<bool, StoreError> {
        if since >= self.shared.tail.oldest() {
            return Ok(tail::is_removed_since(self.group.removals.iter(), key, since)
                || self.shared.tail.removed_since(key, since));
        }
        let Some(numbers) = self.reading.names.table(&key.table) else { return Ok(false) };
        let Reading { connection, .. } = self.reading;
        log::removed_since(connection, &self.group.state, numbers, &key.name, since)
            .map_err(store_error)
    }

    fn keys_in(&mut self, range: &Range, limit: usize) -> Result<Vec<Key>, StoreError> {
        match range {
            Range::Names(range) => self.reading.keys_by_name(range, limit),
            Range::Index(range) => self.reading.keys_by_index(range, limit),
        }
    }
}

/// The statements that write, prepared once per group.
pub(super) struct Writing<'c> {
    connection: &'c Connection,
    shared: &'c Shared,
    insert: CachedStatement<'c>,
    /// The same, but does nothing if a row of the name is there.
    insert_new: CachedStatement<'c>,
    /// Leaves the id alone, and so the index of ids.
    update: CachedStatement<'c>,
    update_id: CachedStatement<'c>,
    remove: CachedStatement<'c>,
    insert_entry: CachedStatement<'c>,
    remove_entry: CachedStatement<'c>,
    append: Append<'c>,
}

/// Where a row is, and how the log calls its table.
#[derive(Clone, Copy)]
struct Target {
    numbers: TableNumbers,
    place: Place,
}

impl<'c> Writing<'c> {
    pub(super) fn new(connection: &'c Connection, shared: &'c Shared) -> rusqlite::Result<Self> {
        let prepare = |sql| connection.prepare_cached(sql);
        Ok(Self {
            connection,
            shared,
            insert: prepare("INSERT INTO rows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?,
            insert_new: prepare(
                "INSERT INTO rows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (space, kind, name) DO NOTHING",
            )?,
            update: prepare(
                "UPDATE rows SET version = ?4, body = ?5, aside = ?6, extract = ?7, sum = ?8
                 WHERE space = ?1 AND kind = ?2 AND name = ?3",
            )?,
            update_id: prepare(
                "UPDATE rows SET id = ?4, version = ?5, body = ?6, aside = ?7, extract = ?8, sum = ?9
                 WHERE space = ?1 AND kind = ?2 AND name = ?3",
            )?,
            remove: prepare("DELETE FROM rows WHERE space = ?1 AND kind = ?2 AND name = ?3")?,
            insert_entry: prepare("INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5)")?,
            remove_entry: prepare(
                "DELETE FROM entries WHERE space = ?1 AND index_id = ?2 AND value = ?3
                 AND kind = ?4 AND name = ?5",
            )?,
            append: Append::new(connection)?,
        })
    }

    /// What the batches before have left in `group`.
    pub(super) fn view<'g>(&self, group: &'g Group) -> GroupView<'c, 'g>
    where
        'c: 'g,
    {
        let (connection, names) = (self.connection, &self.shared.names);
        let reading = Reading { connection, names, spaces: &group.spaces };
        GroupView { reading, shared: self.shared, group }
    }

    /// Writes one batch as the next commit of `group`; without effects it is none.
    pub(super) fn write(&mut self, group: &mut Group, plan: Plan) -> Result<Outcome, GroupFailure> {
        let Plan { effects, unread } = plan;
        if let Some(Unread { effect, condition }) = unread
            && !self.insert_unread(group, &effects[effect])?
        {
            return Ok(Err(CommitError::ConditionFailed { condition }));
        }
        if effects.is_empty() {
            return Ok(Ok(group.state.position));
        }
        group.state.position.sequence += 1;
        for (index, effect) in effects.into_iter().enumerate() {
            let is_written = unread.is_some_and(|unread| unread.effect == index);
            match effect {
                Effect::Row(effect) => self.write_effect(group, index, effect, is_written)?,
                Effect::Swap { a, b } => self.swap(group, a, b)?,
                Effect::Drop { namespace } => self.drop_namespace(group, namespace)?,
            }
        }
        Ok(Ok(group.state.position))
    }

    /// Inserts the row that must be absent; false if it is there, and then nothing was written.
    fn insert_unread(&mut self, group: &Group, effect: &Effect) -> Result<bool, GroupFailure> {
        let Effect::Row(RowEffect { key, after: Some(row), .. }) = effect else {
            return Err(StoreError::Corrupt("an unread effect that puts no row".into()).into());
        };
        let place = self.target(group, &key.table)?.place;
        Ok(insert(&mut self.insert_new, place, key, row)? > 0)
    }

    fn write_effect(
        &mut self,
        group: &mut Group,
        index: usize,
        effect: RowEffect,
        is_written: bool,
    ) -> Result<(), GroupFailure> {
        let target = self.target(group, &effect.key.table)?;
        if !is_written {
            self.write_row(target.place, &effect)?;
        }
        self.write_entries(target.place, &effect)?;
        if let Some(change) = effect.change(group.state.position) {
            self.append.line(&mut group.state, index, target.numbers, &change)?;
            let change = Arc::new(change);
            if change.after.is_none() {
                group.removals.push(change.clone());
            }
            group.logged.push(change);
        }
        group.changed.push(Changed::Row { key: effect.key, after: effect.after });
        Ok(())
    }

    fn target(&self, group: &Group, table: &Table) -> Result<Target, StoreError> {
        let numbers = self.shared.names.table(table);
        let target = numbers
            .and_then(|numbers| Some(Target { numbers, place: group.spaces.place(numbers)? }));
        target.ok_or_else(|| StoreError::Corrupt("a written table has no number".into()))
    }

    fn write_row(&mut self, place: Place, effect: &RowEffect) -> rusqlite::Result<()> {
        let Place { space, kind } = place;
        let (key, name) = (&effect.key, &*effect.key.name);
        match (&effect.before, &effect.after) {
            (None, None) => {}
            (None, Some(row)) => drop(insert(&mut self.insert, place, key, row)?),
            (Some(_), None) => drop(self.remove.execute(params![space, kind, name])?),
            (Some(before), Some(row)) if before.id == row.id => {
                let version = version_to_sql(row.version);
                let extract = &**row.extract.as_bytes();
                let sum = sums::of_row(name, row);
                self.update.execute(params![
                    space,
                    kind,
                    name,
                    version,
                    &*row.body,
                    &*row.aside,
                    extract,
                    sum
                ])?;
            }
            (Some(_), Some(row)) => drop(insert(&mut self.update_id, place, key, row)?),
        }
        Ok(())
    }

    fn write_entries(&mut self, place: Place, effect: &RowEffect) -> Result<(), GroupFailure> {
        let EntryChanges { gone, new } = effect.entries();
        let Key { table, name } = &effect.key;
        let changes = gone.into_iter().map(|entry| (entry, false));
        for (entry, is_new) in changes.chain(new.into_iter().map(|entry| (entry, true))) {
            let index = self.shared.names.index(entry.index).ok_or_else(|| {
                StoreError::Corrupt(format!("index {} has no number", entry.index))
            })?;
            let statement = if is_new { &mut self.insert_entry } else { &mut self.remove_entry };
            let value = entry.value.as_bytes();
            statement.execute(params![place.space, index, value, &*table.kind, &**name])?;
        }
        Ok(())
    }

    fn swap(&mut self, group: &mut Group, a: Arc<str>, b: Arc<str>) -> Result<(), GroupFailure> {
        let numbers = (self.shared.names.namespace(&a), self.shared.names.namespace(&b));
        let (Some(number_a), Some(number_b)) = numbers else {
            return Err(StoreError::Corrupt("a swapped namespace has no number".into()).into());
        };
        Arc::make_mut(&mut group.spaces).swap(self.connection, number_a, number_b)?;
        group.changed.extend([Changed::Namespace(a), Changed::Namespace(b)]);
        Ok(())
    }

    fn drop_namespace(
        &mut self,
        group: &mut Group,
        namespace: Arc<str>,
    ) -> Result<(), GroupFailure> {
        // One that has no number never had a row.
        if let Some(number) = self.shared.names.namespace(&namespace) {
            Arc::make_mut(&mut group.spaces).drop(self.connection, number)?;
            group.has_dropped = true;
        }
        group.changed.push(Changed::Namespace(namespace));
        Ok(())
    }
}

/// Runs a statement that takes all columns of a row.
fn insert(
    statement: &mut CachedStatement<'_>,
    place: Place,
    key: &Key,
    row: &Row,
) -> rusqlite::Result<usize> {
    statement.execute(params![
        place.space,
        place.kind,
        &*key.name,
        id_to_sql(row.id),
        version_to_sql(row.version),
        &*row.body,
        &*row.aside,
        &**row.extract.as_bytes(),
        sums::of_row(&key.name, row),
    ])
}
