//! Looking a whole file over for damage.

use rusqlite::{Connection, Row as SqlRow, params};

use super::failure::store_error;
use super::log;
use super::names::Names;
use super::row::{ROW, State, name_at, row_at};
use crate::contract::{Changes, Position, Row, StoreError};

/// Damages that are told; there is no point in more.
const TOLD_MAX: usize = 100;

/// Lines of the log that are read at a time.
const LOG_PAGE: usize = 1_000;

/// What is wrong with the file that `connection` has open.
pub(super) fn check(connection: &Connection, names: &Names) -> Result<Vec<String>, StoreError> {
    let view = connection.unchecked_transaction().map_err(store_error)?;
    let mut wrong = Wrong(Vec::new());
    wrong.note(check_structure(&view))?;
    wrong.note(check_rows(&view, names))?;
    wrong.note(check_log(&view, names))?;
    view.finish().map_err(store_error)?;
    Ok(wrong.0)
}

struct Wrong(Vec<String>);

impl Wrong {
    /// Damage that ends a check is one more thing that is wrong; other errors are none.
    fn note(&mut self, found: Result<Vec<String>, StoreError>) -> Result<(), StoreError> {
        match found {
            Ok(found) => self.0.extend(found),
            Err(StoreError::Corrupt(what)) => self.0.push(what),
            Err(error) => return Err(error),
        }
        self.0.truncate(TOLD_MAX);
        Ok(())
    }
}

/// SQLite's own check: pages, the order of keys, and whether indexes and tables agree.
fn check_structure(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let read = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare("PRAGMA integrity_check")?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    let found = read().map_err(store_error)?;
    Ok(if found == ["ok"] { Vec::new() } else { found })
}

/// Every row has the right sum, a table, and its index entries, which are all that there are.
fn check_rows(connection: &Connection, names: &Names) -> Result<Vec<String>, StoreError> {
    let sql = format!("SELECT r.space, r.kind, r.name, {ROW} FROM rows r");
    let (mut wrong, mut entries) = (Vec::new(), 0);
    let mut statement = connection.prepare(&sql).map_err(store_error)?;
    let mut rows = statement.query([]).map_err(store_error)?;
    while let Some(row) = rows.next().map_err(store_error)? {
        match RowAt::read(row).and_then(|row| row.check(connection, names)) {
            Ok(count) => entries += count,
            Err(error) => wrong.push(describe(error)?),
        }
        if wrong.len() == TOLD_MAX {
            return Ok(wrong);
        }
    }
    let found = count(connection, "SELECT count(*) FROM entries")?;
    if wrong.is_empty() && found != entries {
        wrong.push(format!("there are {found} index entries, and rows have {entries}"));
    }
    Ok(wrong)
}

fn describe(error: StoreError) -> Result<String, StoreError> {
    match error {
        StoreError::Corrupt(what) => Ok(what),
        error => Err(error),
    }
}

fn count(connection: &Connection, sql: &str) -> Result<i64, StoreError> {
    connection.query_row(sql, [], |row| row.get(0)).map_err(store_error)
}

/// A row with where it is.
struct RowAt {
    space: i64,
    kind: i64,
    name: std::sync::Arc<str>,
    row: Row,
}

impl RowAt {
    fn read(row: &SqlRow<'_>) -> Result<Self, StoreError> {
        let read = || {
            let name = name_at(row, 2)?;
            let found = row_at(row, 3, &name)?;
            Ok(Self { space: row.get(0)?, kind: row.get(1)?, name, row: found })
        };
        read().map_err(store_error)
    }

    /// How many entries it has, all of which are there.
    fn check(&self, connection: &Connection, names: &Names) -> Result<i64, StoreError> {
        const SPACE: &str = "SELECT EXISTS (SELECT 1 FROM namespaces WHERE space = ?1
            UNION ALL SELECT 1 FROM dropped WHERE space = ?1)";
        const ENTRY: &str = "SELECT EXISTS (SELECT 1 FROM entries WHERE space = ?1
            AND index_id = ?2 AND value = ?3 AND kind = ?4 AND name = ?5)";
        let Self { space, kind, name, row } = self;
        let is_there = |sql: &str, given: &[&dyn rusqlite::ToSql]| -> Result<bool, StoreError> {
            let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
            statement.query_row(given, |row| row.get(0)).map_err(store_error)
        };
        if !is_there(SPACE, params![space])? {
            return Err(self.damaged("is in an unknown space"));
        }
        let Some(kind) = names.kind_of(*kind) else {
            return Err(self.damaged("is of an unknown kind"));
        };
        // Of a dropped space some entries are freed already.
        let is_dropped =
            is_there("SELECT EXISTS (SELECT 1 FROM dropped WHERE space = ?1)", params![space])?;
        let mut entries = 0;
        for entry in row.extract.entries() {
            let index = names.index(entry.index);
            let value = entry.value.as_bytes();
            let found = is_there(ENTRY, params![space, index, value, &*kind, &**name])?;
            if !found && !is_dropped {
                return Err(self.damaged("is missing from an index"));
            }
            entries += i64::from(found);
        }
        Ok(entries)
    }

    fn damaged(&self, how: &str) -> StoreError {
        StoreError::Corrupt(format!("row {} {how}", self.name))
    }
}

/// Every line can be read, and there are as many as there should be.
fn check_log(connection: &Connection, names: &Names) -> Result<Vec<String>, StoreError> {
    let state = State::read(connection).map_err(store_error)?;
    let mut after = Position { sequence: state.log_oldest, ..state.position };
    let mut lines = 0;
    while let Changes::Page { changes, next, at_head } =
        log::read(connection, names, after, LOG_PAGE)?
    {
        lines += changes.len() as u64;
        after = next;
        if at_head {
            break;
        }
    }
    match lines == state.log_changes {
        true => Ok(Vec::new()),
        false => Ok(vec![format!("the log has {lines} lines of {}", state.log_changes)]),
    }
}
