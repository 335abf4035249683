//! Reading rows on one connection: used by snapshots and by the writer, which judges batches on what it has written.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::failure::store_error;
use super::row::{count_at, name_at, row_at, row_if_any_at, version_of_sql};
use super::tables::Tables;
use crate::contract::{Key, NameRange, NamedRow, Position, Row, StoreError, Version};

/// What one connection sees.
pub(super) struct Reading<'c> {
    pub(super) connection: &'c Connection,
    pub(super) tables: &'c Tables,
}

impl Reading<'_> {
    /// The row and the position it was read at, in one statement and therefore one view.
    pub(super) fn row_now(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        if let Some(id) = self.tables.id(&key.table) {
            return self.row_with_position(id, &key.name);
        }
        // No table has the number 0, so this reads only the position.
        let absent = self.row_with_position(0, &key.name)?;
        // The table may have come between asking for its number and reading, and the row with it.
        match self.tables.id(&key.table) {
            None => Ok(absent),
            Some(id) => self.row_with_position(id, &key.name),
        }
    }

    fn row_with_position(
        &self,
        table_id: i64,
        name: &str,
    ) -> Result<(Option<Row>, Position), StoreError> {
        const SQL: &str = "SELECT s.era, s.sequence, r.version, r.body, r.aside
            FROM state s LEFT JOIN rows r ON r.table_id = ?1 AND r.name = ?2";
        let read = || {
            self.connection.prepare_cached(SQL)?.query_row(params![table_id, name], |row| {
                let position = Position { era: count_at(row, 0)?, sequence: count_at(row, 1)? };
                Ok((row_if_any_at(row, 2)?, position))
            })
        };
        read().map_err(store_error)
    }

    pub(super) fn row(&self, key: &Key) -> Result<Option<Row>, StoreError> {
        const SQL: &str = "SELECT version, body, aside FROM rows WHERE table_id = ?1 AND name = ?2";
        let Some(id) = self.tables.id(&key.table) else { return Ok(None) };
        let read = || {
            self.connection
                .prepare_cached(SQL)?
                .query_row(params![id, &*key.name], |row| row_at(row, 0))
                .optional()
        };
        read().map_err(store_error)
    }

    pub(super) fn version(&self, key: &Key) -> Result<Option<Version>, StoreError> {
        const SQL: &str = "SELECT version FROM rows WHERE table_id = ?1 AND name = ?2";
        let Some(id) = self.tables.id(&key.table) else { return Ok(None) };
        let read = || {
            self.connection
                .prepare_cached(SQL)?
                .query_row(params![id, &*key.name], |row| row.get(0).map(version_of_sql))
                .optional()
        };
        read().map_err(store_error)
    }

    pub(super) fn scan(
        &self,
        range: &NameRange,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<NamedRow>, StoreError> {
        let order = if descending { "DESC" } else { "ASC" };
        self.range(range, "name, version, body, aside", order, limit, |row| {
            Ok((name_at(row, 0)?, row_at(row, 1)?))
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
        let Some(id) = self.tables.id(&range.table) else { return Ok(Vec::new()) };
        let below = if range.to.is_some() { "AND name < ?4" } else { "AND ?4 IS NULL" };
        let sql = format!(
            "SELECT {columns} FROM rows WHERE table_id = ?1 AND name >= ?2 {below}
             ORDER BY name {order} LIMIT ?3"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = || -> rusqlite::Result<Vec<T>> {
            let mut statement = self.connection.prepare_cached(&sql)?;
            statement.query_map(params![id, range.from, limit, range.to], each)?.collect()
        };
        read().map_err(store_error)
    }
}

impl Reading<'_> {
    /// The first names of a range, in order, at most `limit`.
    pub(super) fn names(
        &self,
        range: &NameRange,
        limit: usize,
    ) -> Result<Vec<Arc<str>>, StoreError> {
        self.range(range, "name", "ASC", limit, |row| name_at(row, 0))
    }
}
