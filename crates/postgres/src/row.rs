//! Rows of result sets as rows and positions of the contract, and back.

use std::sync::Arc;

use bowline_store::{Extract, Position, Row, RowId, StoreError};
use bytes::Bytes;
use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use crate::failure::{Failure, corrupt};

/// Bits as they are: the database knows no numbers without sign.
pub(crate) fn to_sql(number: u64) -> i64 {
    number.cast_signed()
}

pub(crate) fn from_sql(number: i64) -> u64 {
    number.cast_unsigned()
}

pub(crate) fn id_to_sql(id: RowId) -> Option<Uuid> {
    (!id.is_none()).then(|| Uuid::from_u128(id.0))
}

fn id_from_sql(id: Option<Uuid>) -> RowId {
    RowId(id.map_or(0, |id| id.as_u128()))
}

/// A column; a type that we never wrote there is damage.
pub(crate) fn column<'r, T: FromSql<'r>>(row: &'r SqlRow, at: usize) -> Result<T, StoreError> {
    row.try_get(at).map_err(|error| StoreError::Corrupt(error.to_string()))
}

pub(crate) fn position_at(row: &SqlRow, at: usize) -> Result<Position, StoreError> {
    let (era, sequence) = (column(row, at)?, column(row, at + 1)?);
    Ok(Position { era: from_sql(era), sequence: from_sql(sequence) })
}

pub(crate) fn name_at(row: &SqlRow, at: usize) -> Result<Arc<str>, StoreError> {
    let bytes: &[u8] = column(row, at)?;
    std::str::from_utf8(bytes).map(Arc::from).map_err(|_| corrupt("a name is not UTF-8"))
}

pub(crate) fn bytes_at(row: &SqlRow, at: usize) -> Result<Bytes, StoreError> {
    let bytes: Option<&[u8]> = column(row, at)?;
    Ok(bytes.map_or_else(Bytes::new, Bytes::copy_from_slice))
}

pub(crate) fn extract_at(row: &SqlRow, at: usize) -> Result<Extract, StoreError> {
    Extract::decode(bytes_at(row, at)?).ok_or_else(|| corrupt("an extract cannot be read"))
}

/// The columns of [`ROW`], from `at` on; `None` where an outer join found no row.
pub(crate) fn row_if_any_at(row: &SqlRow, at: usize) -> Result<Option<Row>, StoreError> {
    let Some(mut found) = line_if_any_at(row, at)? else { return Ok(None) };
    found.extract = extract_at(row, at + 4)?;
    Ok(Some(found))
}

pub(crate) fn row_at(row: &SqlRow, at: usize) -> Result<Row, StoreError> {
    row_if_any_at(row, at)?.ok_or_else(|| corrupt("a row has no version"))
}

/// Id, version, body, aside: the columns that a line of the log has too.
pub(crate) fn line_if_any_at(row: &SqlRow, at: usize) -> Result<Option<Row>, StoreError> {
    let version: Option<i64> = column(row, at + 1)?;
    let Some(version) = version else { return Ok(None) };
    Ok(Some(Row {
        id: id_from_sql(column(row, at)?),
        version: from_sql(version),
        body: bytes_at(row, at + 2)?,
        aside: bytes_at(row, at + 3)?,
        extract: Extract::default(),
    }))
}

/// What is known of the database while its row of `state` is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) position: Position,
    pub(crate) log_oldest: u64,
    pub(crate) log_changes: u64,
    pub(crate) log_bytes: u64,
    pub(crate) last_space: i32,
    pub(crate) min_compatible: i32,
}

impl State {
    /// The columns that [`State::read`] wants.
    pub(crate) const LOCK: &str = "SELECT era, sequence, log_oldest, log_changes, log_bytes, \
        last_space, min_compatible FROM state WHERE id = 1 FOR UPDATE";

    pub(crate) fn read(rows: &[SqlRow]) -> Result<Self, Failure> {
        let row = rows.first().ok_or_else(|| corrupt("state has no row"))?;
        Ok(Self {
            position: position_at(row, 0)?,
            log_oldest: from_sql(column(row, 2)?),
            log_changes: from_sql(column(row, 3)?),
            log_bytes: from_sql(column(row, 4)?),
            last_space: column(row, 5)?,
            min_compatible: column(row, 6)?,
        })
    }

    pub(crate) fn oldest(&self) -> Position {
        Position { sequence: self.log_oldest, ..self.position }
    }
}
