//! The change log on disk: lines appended by the writer, read by pages, cut off at the old end in slices.
//!
//! A line holds the row before and after, so that reading needs no other table and old rows need not be kept elsewhere;
//! and the number of the namespace, not of its space, so that it stays true when spaces are exchanged. Its key is the sequence shifted by [`INDEX_BITS`] plus the index within the commit: appending is then the cheapest
//! insert that SQLite has.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, params};

use super::failure::store_error;
use super::names::{Names, TableNumbers};
use super::row::{State, id_to_sql, logged_row_at, name_at, version_to_sql};
use super::sums;
use crate::contract::{BATCH_WRITES_MAX, Change, Changes, Key, Position, Row, StoreError};

/// Room for the index within a commit.
const INDEX_BITS: u32 = 20;
const _: () = assert!(BATCH_WRITES_MAX < 1 << INDEX_BITS, "every index of a batch fits");

/// No commit has a sequence above this one.
pub(super) const SEQUENCE_MAX: u64 = (1 << (63 - INDEX_BITS)) - 1;

/// A page read from disk ends after this many bytes, so that long bodies do not pile up in memory.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

fn line_id(sequence: u64, index: u64) -> i64 {
    ((sequence << INDEX_BITS) | index).cast_signed()
}

/// The highest key of `sequence`, there or not.
fn last_line_id(sequence: u64) -> i64 {
    line_id(sequence, (1 << INDEX_BITS) - 1)
}

fn sequence_of(line_id: i64) -> u64 {
    line_id.cast_unsigned() >> INDEX_BITS
}

/// Appends lines within the writer's transaction.
pub(super) struct Append<'c>(CachedStatement<'c>);

impl<'c> Append<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let sql = "INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        connection.prepare_cached(sql).map(Self)
    }

    /// Writes the line of `change`, which is number `index` of its commit.
    pub(super) fn line(
        &mut self,
        state: &mut State,
        index: usize,
        table: TableNumbers,
        change: &Change,
    ) -> rusqlite::Result<()> {
        let index = u64::try_from(index).unwrap_or(u64::MAX);
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        let line = line_id(change.position.sequence, index);
        self.0.execute(params![
            line,
            table.namespace,
            table.kind,
            &*change.key.name,
            before.and_then(|row| id_to_sql(row.id)),
            before.map(|row| version_to_sql(row.version)),
            before.map(|row| &*row.body),
            before.map(|row| &*row.aside),
            after.and_then(|row| id_to_sql(row.id)),
            after.map(|row| version_to_sql(row.version)),
            after.map(|row| &*row.body),
            after.map(|row| &*row.aside),
            sums::of_line(line, [table.namespace, table.kind], change),
        ])?;
        state.log_changes += 1;
        state.log_bytes += line_bytes(change);
        Ok(())
    }
}

/// What a line counts in the size of the log; the SQL in [`cut`] counts the same.
fn line_bytes(change: &Change) -> u64 {
    let row = |row: &Option<Row>| row.as_ref().map_or(0, |r| r.body.len() + r.aside.len());
    (change.key.name.len() + row(&change.before) + row(&change.after)) as u64
}

/// How long the log may get.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLimits {
    pub(super) changes_max: u64,
    pub(super) bytes_max: u64,
}

impl LogLimits {
    pub(super) fn is_exceeded(self, state: &State) -> bool {
        state.log_changes > self.changes_max || state.log_bytes > self.bytes_max
    }
}

/// Removes the oldest commits while the log is too long, about `lines_max` lines.
pub(super) fn cut(
    connection: &Connection,
    state: &mut State,
    limits: LogLimits,
    lines_max: usize,
) -> rusqlite::Result<()> {
    if !limits.is_exceeded(state) {
        return Ok(());
    }
    let Some(last) = last_to_cut(connection, state, limits, lines_max)? else { return Ok(()) };
    let id = last_line_id(last);
    let (changes, bytes): (i64, i64) = connection
        .prepare_cached(&format!(
            "SELECT count(*), coalesce(sum({SIZE}), 0) FROM log WHERE id <= ?1"
        ))?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection.prepare_cached("DELETE FROM log WHERE id <= ?1")?.execute([id])?;
    state.log_oldest = last;
    state.log_changes = state.log_changes.saturating_sub(changes.unsigned_abs());
    state.log_bytes = state.log_bytes.saturating_sub(bytes.unsigned_abs());
    Ok(())
}

/// SQL for [`line_bytes`].
const SIZE: &str = "octet_length(name) \
    + coalesce(octet_length(before_body) + octet_length(before_aside), 0) \
    + coalesce(octet_length(after_body) + octet_length(after_aside), 0)";

/// The last sequence that has to go in this slice.
fn last_to_cut(
    connection: &Connection,
    state: &State,
    limits: LogLimits,
    lines_max: usize,
) -> rusqlite::Result<Option<u64>> {
    let mut left = *state;
    let mut last = None;
    let sql = format!("SELECT id, {SIZE} FROM log ORDER BY id LIMIT ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([i64::try_from(lines_max).unwrap_or(i64::MAX)])?;
    while limits.is_exceeded(&left)
        && let Some(row) = rows.next()?
    {
        last = Some(sequence_of(row.get(0)?));
        let bytes: i64 = row.get(1)?;
        left.log_changes = left.log_changes.saturating_sub(1);
        left.log_bytes = left.log_bytes.saturating_sub(bytes.unsigned_abs());
    }
    Ok(last)
}

/// Commits that are looked through for a removal that memory no longer tells; beyond that it costs too much to know.
const REMOVAL_COMMITS_MAX: u64 = 256;

/// Whether a commit after `since` removed the row, or may have.
pub(super) fn removed_since(
    connection: &Connection,
    state: &State,
    table: TableNumbers,
    name: &str,
    since: Position,
) -> rusqlite::Result<bool> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM log WHERE id > ?1 AND after_version IS NULL
        AND namespace = ?2 AND kind = ?3 AND name = ?4)";
    if since >= state.position {
        return Ok(false);
    }
    let commits = state.position.sequence.saturating_sub(since.sequence);
    if since < state.oldest() || commits > REMOVAL_COMMITS_MAX {
        return Ok(true);
    }
    let from = last_line_id(since.sequence);
    let given = params![from, table.namespace, table.kind, name];
    connection.prepare_cached(SQL)?.query_row(given, |row| row.get(0))
}

/// Reads changes after `after` on a connection that is inside a read transaction.
pub(super) fn read(
    connection: &Connection,
    names: &Names,
    after: Position,
    limit: usize,
) -> Result<Changes, StoreError> {
    let state = State::read(connection).map_err(store_error)?;
    if after.era != state.position.era || after > state.position || after < state.oldest() {
        return Ok(Changes::TooOld { oldest: state.oldest() });
    }
    let (changes, is_whole) = read_lines(connection, names, after, limit.max(1))?;
    let last = changes.last().map_or(after, |change| change.position);
    let next = if is_whole { state.position } else { last };
    Ok(Changes::Page { changes, next, at_head: is_whole })
}

/// Whole commits after `after`, and whether that was all.
fn read_lines(
    connection: &Connection,
    names: &Names,
    after: Position,
    limit: usize,
) -> Result<(Vec<Arc<Change>>, bool), StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM log WHERE id > ?1 ORDER BY id")
        .map_err(store_error)?;
    let mut rows = statement.query([last_line_id(after.sequence)]).map_err(store_error)?;
    let (mut changes, mut bytes) = (Vec::<Arc<Change>>::new(), 0);
    while let Some(row) = rows.next().map_err(store_error)? {
        let sequence = sequence_of(row.get(0).map_err(store_error)?);
        let is_full = changes.len() >= limit || bytes >= PAGE_BYTES_MAX;
        if is_full && changes.last().is_some_and(|last| last.position.sequence != sequence) {
            return Ok((changes, false));
        }
        let change = change_of(row, names, Position { sequence, ..after })?;
        bytes += usize::try_from(line_bytes(&change)).unwrap_or(usize::MAX);
        changes.push(Arc::new(change));
    }
    Ok((changes, true))
}

fn change_of(
    row: &rusqlite::Row<'_>,
    names: &Names,
    position: Position,
) -> Result<Change, StoreError> {
    let number = |column| row.get::<_, i64>(column).map_err(store_error);
    let numbers = TableNumbers { namespace: number(1)?, kind: number(2)? };
    let table = names.table_of(numbers).ok_or_else(|| {
        StoreError::Corrupt(format!("the log names an unknown table, {numbers:?}"))
    })?;
    let change = Change {
        position,
        key: Key { table, name: name_at(row, 3).map_err(store_error)? },
        before: logged_row_at(row, 4).map_err(store_error)?,
        after: logged_row_at(row, 8).map_err(store_error)?,
    };
    let sum = sums::of_line(number(0)?, [numbers.namespace, numbers.kind], &change);
    match sum == number(12)? {
        true => Ok(change),
        false => Err(StoreError::Corrupt("a line of the log is damaged".into())),
    }
}

/// Makes the log empty, with `position` as its end.
pub(super) fn start_at(
    connection: &Connection,
    state: &mut State,
    position: Position,
) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM log", [])?;
    *state = State {
        position,
        log_oldest: position.sequence,
        log_changes: 0,
        log_bytes: 0,
        generation: state.generation,
    };
    state.write(connection)
}
