//! Reading rows on one connection: used by snapshots and by the writer, which judges batches on what it has written.
//!
//! Index scans are in [`super::index`].

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::failure::store_error;
use super::names::{Names, Place};
use super::row::{
    ROW, State, count_at, extract_at, id_to_sql, name_at, named_row_at, row_at, row_if_any_at,
    version_of_sql,
};
use super::spaces::Spaces;
use crate::contract::{
    Key, NameRange, NamedRow, Position, Row, RowId, StoreError, Table, Value, Version,
};

/// What one connection sees, with the spaces of the same time.
pub(super) struct Reading<'c> {
    pub(super) connection: &'c Connection,
    pub(super) names: &'c Names,
    pub(super) spaces: &'c Spaces,
}

/// The row and the position it was read at, in one statement and therefore one view.
pub(super) fn row_now(
    connection: &Connection,
    names: &Names,
    key: &Key,
) -> Result<(Option<Row>, Position), StoreError> {
    let (mut place, mut generation) = names.place_now(&key.table);
    let mut seen = SeenRow::read(connection, place, &key.name).map_err(store_error)?;
    if place.is_none() {
        // The table may have come between asking for its place and reading, and the row with it.
        (place, generation) = names.place_now(&key.table);
        if place.is_none() {
            return Ok((None, seen.position));
        }
        seen = SeenRow::read(connection, place, &key.name).map_err(store_error)?;
    }
    match seen.generation == generation {
        true => Ok((seen.row, seen.position)),
        false => row_in_transaction(connection, names, key),
    }
}

/// What [`row_now`] does in the moment of a swap: with spaces that were read in the same view.
fn row_in_transaction(
    connection: &Connection,
    names: &Names,
    key: &Key,
) -> Result<(Option<Row>, Position), StoreError> {
    let view = connection.unchecked_transaction().map_err(store_error)?;
    let spaces = Spaces::load(&view).map_err(store_error)?;
    let position = State::read(&view).map_err(store_error)?.position;
    let row = Reading { connection: &view, names, spaces: &spaces }.row(key)?;
    view.finish().map_err(store_error)?;
    Ok((row, position))
}

struct SeenRow {
    row: Option<Row>,
    position: Position,
    generation: u64,
}

impl SeenRow {
    fn read(connection: &Connection, place: Option<Place>, name: &str) -> rusqlite::Result<Self> {
        const SQL: &str = "SELECT s.era, s.sequence, s.generation,
            r.id, r.version, r.body, r.aside, r.extract, r.sum
            FROM state s LEFT JOIN rows r ON r.space = ?1 AND r.kind = ?2 AND r.name = ?3";
        let Place { space, kind } = place.unwrap_or(Place::NOWHERE);
        connection.prepare_cached(SQL)?.query_row(params![space, kind, name], |row| {
            Ok(Self {
                row: row_if_any_at(row, 3, name)?,
                position: Position { era: count_at(row, 0)?, sequence: count_at(row, 1)? },
                generation: count_at(row, 2)?,
            })
        })
    }
}

impl Reading<'_> {
    pub(super) fn place(&self, table: &Table) -> Option<Place> {
        self.spaces.place(self.names.table(table)?)
    }

    pub(super) fn row(&self, key: &Key) -> Result<Option<Row>, StoreError> {
        const SQL: &str = "SELECT r.id, r.version, r.body, r.aside, r.extract, r.sum FROM rows r
            WHERE r.space = ?1 AND r.kind = ?2 AND r.name = ?3";
        self.one(SQL, key, |row| row_at(row, 0, &key.name))
    }

    pub(super) fn version(&self, key: &Key) -> Result<Option<Version>, StoreError> {
        const SQL: &str = "SELECT version FROM rows WHERE space = ?1 AND kind = ?2 AND name = ?3";
        self.one(SQL, key, |row| row.get(0).map(version_of_sql))
    }

    pub(super) fn field(
        &self,
        key: &Key,
        field: &str,
    ) -> Result<Option<Option<Value>>, StoreError> {
        const SQL: &str = "SELECT extract FROM rows WHERE space = ?1 AND kind = ?2 AND name = ?3";
        self.one(SQL, key, |row| Ok(extract_at(row, 0)?.field(field)))
    }

    fn one<T>(
        &self,
        sql: &str,
        key: &Key,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let Some(Place { space, kind }) = self.place(&key.table) else { return Ok(None) };
        let found = self.connection.prepare_cached(sql).and_then(|mut statement| {
            statement.query_row(params![space, kind, &*key.name], read).optional()
        });
        found.map_err(store_error)
    }

    /// The name of the row that has an id.
    pub(super) fn name_of(&self, table: &Table, id: RowId) -> Result<Option<Arc<str>>, StoreError> {
        const SQL: &str = "SELECT name FROM rows WHERE space = ?1 AND kind = ?2 AND id = ?3";
        self.by_id(SQL, table, id, |row| name_at(row, 0))
    }

    pub(super) fn row_by_id(
        &self,
        table: &Table,
        id: RowId,
    ) -> Result<Option<NamedRow>, StoreError> {
        const SQL: &str =
            "SELECT r.name, r.id, r.version, r.body, r.aside, r.extract, r.sum FROM rows r
            WHERE r.space = ?1 AND r.kind = ?2 AND r.id = ?3";
        self.by_id(SQL, table, id, |row| named_row_at(row, 1))
    }

    fn by_id<T>(
        &self,
        sql: &str,
        table: &Table,
        id: RowId,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let Some(Place { space, kind }) = self.place(table) else { return Ok(None) };
        // NULL, which is what no id is, equals nothing.
        let found = self.connection.prepare_cached(sql).and_then(|mut statement| {
            statement.query_row(params![space, kind, id_to_sql(id)], read).optional()
        });
        found.map_err(store_error)
    }

    pub(super) fn scan(
        &self,
        range: &NameRange,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<NamedRow>, StoreError> {
        let order = if descending { "DESC" } else { "ASC" };
        let columns = format!("r.name, {ROW}");
        self.range(range, &columns, order, limit, |row| named_row_at(row, 1))
    }

    /// The first names of a range, in order, at most `limit`.
    pub(super) fn keys_by_name(
        &self,
        range: &NameRange,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.range(range, "r.name", "ASC", limit, |row| {
            Ok(Key { table: range.table.clone(), name: name_at(row, 0)? })
        })
    }

    fn range<T>(
        &self,
        range: &NameRange,
        columns: &str,
        order: &str,
        limit: usize,
        each: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let Some(Place { space, kind }) = self.place(&range.table) else { return Ok(Vec::new()) };
        let below = if range.to.is_some() { "AND r.name < ?5" } else { "AND ?5 IS NULL" };
        let sql = format!(
            "SELECT {columns} FROM rows r
             WHERE r.space = ?1 AND r.kind = ?2 AND r.name >= ?3 {below}
             ORDER BY r.name {order} LIMIT ?4"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = || -> rusqlite::Result<Vec<T>> {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let bounds = params![space, kind, range.from, limit, range.to];
            statement.query_map(bounds, each)?.collect()
        };
        read().map_err(store_error)
    }

    /// The tables that have rows, in order. One look-up for each, and one more per namespace.
    pub(super) fn tables(&self) -> Result<Vec<Table>, StoreError> {
        let mut tables = Vec::new();
        for (namespace, number) in self.names.namespaces() {
            let Some(space) = self.spaces.of(number) else { continue };
            for kind in self.kinds_in(space).map_err(store_error)? {
                let name = self.names.kind_of(kind).ok_or_else(|| {
                    StoreError::Corrupt(format!("there are rows of kind {kind}, which is unknown"))
                })?;
                tables.push(Table { namespace: namespace.clone(), kind: name });
            }
        }
        tables.sort_unstable();
        Ok(tables)
    }

    fn kinds_in(&self, space: i64) -> rusqlite::Result<Vec<i64>> {
        const SQL: &str =
            "SELECT kind FROM rows WHERE space = ?1 AND kind > ?2 ORDER BY kind LIMIT 1";
        let mut statement = self.connection.prepare_cached(SQL)?;
        let (mut kinds, mut last) = (Vec::new(), i64::MIN);
        while let Some(kind) = statement.query_row([space, last], |row| row.get(0)).optional()? {
            kinds.push(kind);
            last = kind;
        }
        Ok(kinds)
    }
}
