//! Scans of indexes: their entries in order, each with its row.

use rusqlite::Row as SqlRow;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use super::failure::store_error;
use super::query::Reading;
use super::row::{ROW, bytes_at, name_at, row_if_any_at};
use crate::contract::{Hit, IndexCursor, IndexRange, Key, Row, StoreError, Table, Value};

/// Values for the parameters of a statement, by name.
type Given<'q> = Vec<(&'static str, ToSqlOutput<'q>)>;

/// Where a scan begins and ends, as SQL over parameters.
#[derive(Default)]
pub(super) struct Bounds<'q> {
    pub(super) sql: String,
    given: Given<'q>,
}

impl<'q> Bounds<'q> {
    /// Of the range and the cursor only the narrower bound is told: SQLite seeks by one of two, and not the better one.
    pub(super) fn new(
        range: &'q IndexRange,
        after: Option<&'q IndexCursor>,
        descending: bool,
    ) -> Self {
        let mut bounds = Self::default();
        match after {
            Some(after) if !descending && after.value >= range.from => bounds.cursor(">", after),
            _ => bounds.value(">=", ":from", range.from.as_bytes()),
        }
        let is_below = |after: &IndexCursor| range.to.as_ref().is_none_or(|to| after.value < *to);
        match (after, &range.to) {
            (Some(after), _) if descending && is_below(after) => bounds.cursor("<", after),
            (_, Some(to)) => bounds.value("<", ":to", to.as_bytes()),
            (_, None) => {}
        }
        bounds
    }

    fn value(&mut self, compare: &str, parameter: &'static str, value: &'q [u8]) {
        self.sql += &format!(" AND e.value {compare} {parameter}");
        self.given.push((parameter, ToSqlOutput::Borrowed(ValueRef::Blob(value))));
    }

    fn cursor(&mut self, compare: &str, after: &'q IndexCursor) {
        self.sql += &format!(
            " AND (e.value, e.kind, e.name) {compare} (:cursor, :cursor_kind, :cursor_name)"
        );
        let text = |text: &'q str| ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()));
        let value = ToSqlOutput::Borrowed(ValueRef::Blob(after.value.as_bytes()));
        self.given.extend([
            (":cursor", value),
            (":cursor_kind", text(&after.kind)),
            (":cursor_name", text(&after.name)),
        ]);
    }
}

/// The rows are joined from the left, so that an entry without one is seen: it is damage.
pub(super) fn hits_sql(bounds: &str, descending: bool) -> String {
    let order = if descending { "DESC" } else { "ASC" };
    format!(
        "SELECT e.value, e.kind, e.name, {ROW} FROM entries e
         LEFT JOIN kinds k ON k.name = e.kind
         LEFT JOIN rows r ON r.space = e.space AND r.kind = k.id AND r.name = e.name
         WHERE e.space = :space AND e.index_id = :index{bounds}
         ORDER BY e.value {order}, e.kind {order}, e.name {order} LIMIT :limit"
    )
}

/// Without an ORDER BY, SQLite goes along the index and stops at the limit.
pub(super) fn keys_sql(bounds: &str) -> String {
    format!(
        "SELECT DISTINCT e.kind, e.name FROM entries e
         WHERE e.space = :space AND e.index_id = :index{bounds} LIMIT :limit"
    )
}

impl Reading<'_> {
    pub(super) fn scan_index(
        &self,
        range: &IndexRange,
        after: Option<&IndexCursor>,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<Hit>, StoreError> {
        let Bounds { sql: bounds, given } = Bounds::new(range, after, descending);
        let sql = hits_sql(&bounds, descending);
        self.entries(&sql, given, range, limit, |row| hit_at(row, range))
    }

    /// The keys of the first rows of a range, each once, at most `limit`.
    pub(super) fn keys_by_index(
        &self,
        range: &IndexRange,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let Bounds { sql: bounds, given } = Bounds::new(range, None, false);
        let sql = keys_sql(&bounds);
        self.entries(&sql, given, range, limit, |row| Ok(key_at(row, 0, range)?))
    }

    fn entries<T>(
        &self,
        sql: &str,
        mut given: Given<'_>,
        range: &IndexRange,
        limit: usize,
        mut each: impl FnMut(&SqlRow<'_>) -> Result<T, EntryError>,
    ) -> Result<Vec<T>, StoreError> {
        let namespace = self.names.namespace(&range.index.namespace);
        let space = namespace.and_then(|namespace| self.spaces.of(namespace));
        let (Some(space), Some(index)) = (space, self.names.index(&range.index.name)) else {
            return Ok(Vec::new());
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let numbers = [(":space", space), (":index", index), (":limit", limit)];
        given.extend(numbers.map(|(name, number)| (name, ToSqlOutput::from(number))));
        let given: Vec<_> =
            given.iter().map(|(name, value)| (*name, value as &dyn ToSql)).collect();
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        let mut rows = statement.query(given.as_slice()).map_err(store_error)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(store_error)? {
            found.push(each(row).map_err(EntryError::into_store_error)?);
        }
        Ok(found)
    }
}

/// Why an entry cannot be told.
enum EntryError {
    Sql(rusqlite::Error),
    NoRow(Key),
}

impl From<rusqlite::Error> for EntryError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl EntryError {
    fn into_store_error(self) -> StoreError {
        match self {
            Self::Sql(error) => store_error(error),
            Self::NoRow(key) => StoreError::Corrupt(format!(
                "an index names {}, which is not there or has no such entry",
                key.name
            )),
        }
    }
}

fn key_at(row: &SqlRow<'_>, first: usize, range: &IndexRange) -> rusqlite::Result<Key> {
    let table = Table { namespace: range.index.namespace.clone(), kind: name_at(row, first)? };
    Ok(Key { table, name: name_at(row, first + 1)? })
}

fn hit_at(row: &SqlRow<'_>, range: &IndexRange) -> Result<Hit, EntryError> {
    let value: Value = bytes_at(row, 0)?.into();
    let key = key_at(row, 1, range)?;
    // The entry itself has no sum; the extract of its row, which has one, vouches for it.
    let has_entry = |row: &Row| {
        row.extract.entries().any(|e| e.value == value && e.index == &*range.index.name)
    };
    match row_if_any_at(row, 3, &key.name)? {
        Some(row) if has_entry(&row) => Ok(Hit { value, key, row }),
        _ => Err(EntryError::NoRow(key)),
    }
}
