//! Between SQLite's values and the contract's: rows, names, versions and positions.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row as SqlRow};

use crate::contract::{Position, Row, Version};

/// Versions use all 64 bits, SQLite's integers are signed: the same bits, and only equality matters.
pub(super) fn version_to_sql(version: Version) -> i64 {
    version.cast_signed()
}

pub(super) fn version_of_sql(version: i64) -> Version {
    version.cast_unsigned()
}

/// The row in the columns from `first`: version, body, aside.
pub(super) fn row_at(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Row> {
    Ok(Row {
        version: version_of_sql(row.get(first)?),
        body: bytes_at(row, first + 1)?,
        aside: bytes_at(row, first + 2)?,
    })
}

/// The same where all three may be NULL, which is no row.
pub(super) fn row_if_any_at(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Option<Row>> {
    match row.get_ref(first)? {
        ValueRef::Null => Ok(None),
        _ => row_at(row, first).map(Some),
    }
}

pub(super) fn name_at(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Arc<str>> {
    Ok(row.get_ref(column)?.as_str()?.into())
}

fn bytes_at(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Bytes> {
    let bytes = row.get_ref(column)?.as_blob()?;
    Ok(if bytes.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(bytes) })
}

/// The line of table `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The newest commit.
    pub(super) position: Position,
    /// Every change after this sequence is in the log.
    pub(super) log_oldest: u64,
    pub(super) log_changes: u64,
    pub(super) log_bytes: u64,
}

impl State {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        connection
            .prepare_cached("SELECT era, sequence, log_oldest, log_changes, log_bytes FROM state")?
            .query_row([], |row| {
                Ok(Self {
                    position: Position { era: count_at(row, 0)?, sequence: count_at(row, 1)? },
                    log_oldest: count_at(row, 2)?,
                    log_changes: count_at(row, 3)?,
                    log_bytes: count_at(row, 4)?,
                })
            })
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "UPDATE state SET sequence = ?1, log_oldest = ?2, log_changes = ?3, log_bytes = ?4",
            )?
            .execute([
                self.position.sequence.cast_signed(),
                self.log_oldest.cast_signed(),
                self.log_changes.cast_signed(),
                self.log_bytes.cast_signed(),
            ])?;
        Ok(())
    }

    /// Where reading the log can start at the earliest.
    pub(super) fn oldest(&self) -> Position {
        Position { era: self.position.era, sequence: self.log_oldest }
    }
}

/// A number that we wrote and that is never negative.
pub(super) fn count_at(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}
