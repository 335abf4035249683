//! Between SQLite's values and the contract's: rows, ids, names, versions and positions.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::types::{FromSqlError, Type, ValueRef};
use rusqlite::{Connection, Row as SqlRow};

use super::sums;
use crate::contract::{Extract, NamedRow, Position, Row, RowId, Version};

/// Versions use all 64 bits, SQLite's integers are signed: the same bits, and only equality matters.
pub(super) fn version_to_sql(version: Version) -> i64 {
    version.cast_signed()
}

pub(super) fn version_of_sql(version: i64) -> Version {
    version.cast_unsigned()
}

/// Big-endian, so that ids that rise are appended to their index; NULL for none, which the index leaves out.
pub(super) fn id_to_sql(id: RowId) -> Option<[u8; 16]> {
    (!id.is_none()).then(|| id.0.to_be_bytes())
}

/// The columns of a row as [`row_at`] reads them, of the table called `r`.
pub(super) const ROW: &str = "r.id, r.version, r.body, r.aside, r.extract, r.sum";

/// The row in the columns from `first`; see [`ROW`]. An error if its sum is not that of a row called `name`.
pub(super) fn row_at(row: &SqlRow<'_>, first: usize, name: &str) -> rusqlite::Result<Row> {
    let extract = extract_at(row, first + 4)?;
    let found = Row { extract, ..plain_row_at(row, first)? };
    match sums::of_row(name, &found) == row.get::<_, i64>(first + 5)? {
        true => Ok(found),
        false => Err(damaged(first + 5, "a row is damaged: its sum is another one")),
    }
}

/// The same where all may be NULL, which is no row.
pub(super) fn row_if_any_at(
    row: &SqlRow<'_>,
    first: usize,
    name: &str,
) -> rusqlite::Result<Option<Row>> {
    match is_null(row, first + 1)? {
        true => Ok(None),
        false => row_at(row, first, name).map(Some),
    }
}

/// A row in the columns from `first` and its name in the column before.
pub(super) fn named_row_at(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<NamedRow> {
    let name = name_at(row, first - 1)?;
    let found = row_at(row, first, &name)?;
    Ok((name, found))
}

/// A row of the log, in four columns from `first`: id, version, body, aside. All may be NULL, which is no row.
pub(super) fn logged_row_at(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Option<Row>> {
    match is_null(row, first + 1)? {
        true => Ok(None),
        false => plain_row_at(row, first).map(Some),
    }
}

/// Id, version, body and aside.
fn plain_row_at(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Row> {
    Ok(Row {
        id: id_at(row, first)?,
        version: version_of_sql(row.get(first + 1)?),
        body: bytes_at(row, first + 2)?,
        aside: bytes_at(row, first + 3)?,
        extract: Extract::default(),
    })
}

fn is_null(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<bool> {
    Ok(matches!(row.get_ref(column)?, ValueRef::Null))
}

pub(super) fn id_at(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<RowId> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(RowId::NONE),
        value => {
            let bytes = value.as_blob()?.try_into();
            let bytes = bytes.map_err(|_| damaged(column, "an id does not have 16 bytes"))?;
            Ok(RowId(u128::from_be_bytes(bytes)))
        }
    }
}

pub(super) fn extract_at(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Extract> {
    Extract::decode(bytes_at(row, column)?).ok_or_else(|| damaged(column, "an extract is damaged"))
}

pub(super) fn name_at(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Arc<str>> {
    Ok(row.get_ref(column)?.as_str()?.into())
}

pub(super) fn bytes_at(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Bytes> {
    let bytes = row.get_ref(column)?.as_blob()?;
    Ok(if bytes.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(bytes) })
}

/// A value that we never write.
pub(super) fn damaged(column: usize, what: &'static str) -> rusqlite::Error {
    let cause = FromSqlError::Other(what.into());
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(cause))
}

/// The line of table `state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The newest commit.
    pub(super) position: Position,
    /// Every change after this sequence is in the log.
    pub(super) log_oldest: u64,
    pub(super) log_changes: u64,
    pub(super) log_bytes: u64,
    /// Raised whenever a namespace gets another space.
    pub(super) generation: u64,
}

impl State {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        const SQL: &str =
            "SELECT era, sequence, log_oldest, log_changes, log_bytes, generation, sum FROM state";
        connection.prepare_cached(SQL)?.query_row([], |row| {
            let found = Self {
                position: Position { era: count_at(row, 0)?, sequence: count_at(row, 1)? },
                log_oldest: count_at(row, 2)?,
                log_changes: count_at(row, 3)?,
                log_bytes: count_at(row, 4)?,
                generation: count_at(row, 5)?,
            };
            match found.sum() == row.get::<_, i64>(6)? {
                true => Ok(found),
                false => Err(damaged(6, "the state is damaged: its sum is another one")),
            }
        })
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        const SQL: &str = "UPDATE state SET era = ?1, sequence = ?2, log_oldest = ?3,
            log_changes = ?4, log_bytes = ?5, generation = ?6, sum = ?7";
        let [era, sequence, oldest, changes, bytes, generation] = self.numbers();
        connection.prepare_cached(SQL)?.execute([
            era,
            sequence,
            oldest,
            changes,
            bytes,
            generation,
            self.sum(),
        ])?;
        Ok(())
    }

    fn numbers(&self) -> [i64; 6] {
        let Position { era, sequence } = self.position;
        [era, sequence, self.log_oldest, self.log_changes, self.log_bytes, self.generation]
            .map(u64::cast_signed)
    }

    fn sum(&self) -> i64 {
        sums::of_numbers(self.numbers(), 0).cast_signed()
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
