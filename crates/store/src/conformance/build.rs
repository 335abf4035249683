//! Short ways to write keys, rows, values and batches in cases, and to read what a store has.

use std::sync::Arc;

use bytes::Bytes;

use crate::contract::{
    Backend, Batch, Change, Changes, CommitError, Condition, Extract, Hit, Index, IndexRange, Key,
    NameRange, NamedRow, Position, Range, Row, RowId, Table, Value, Version, Write,
};

use super::{Failure, Verdict, ensure};

/// The namespace that most cases use.
pub(super) const V1: &str = "v1";

pub(super) fn table_in(namespace: &str, kind: &str) -> Table {
    Table { namespace: namespace.into(), kind: kind.into() }
}

pub(super) fn table(kind: &str) -> Table {
    table_in(V1, kind)
}

pub(super) fn key_in(namespace: &str, kind: &str, name: &str) -> Key {
    Key { table: table_in(namespace, kind), name: name.into() }
}

/// A key in the table that most cases use.
pub(super) fn key(name: &str) -> Key {
    key_in(V1, "Device", name)
}

pub(super) fn index_in(namespace: &str, name: &str) -> Index {
    Index { namespace: namespace.into(), name: name.into() }
}

/// An index of the namespace that most cases use.
pub(super) fn index(name: &str) -> Index {
    index_in(V1, name)
}

/// A row whose body tells its version.
pub(super) fn row(version: Version) -> Row {
    Row::new(version, format!("body {version}"))
}

/// Such a row with an id.
pub(super) fn identified(version: Version, id: u128) -> Row {
    Row { id: RowId(id), ..row(version) }
}

/// Such a row with one field.
pub(super) fn with_field(version: Version, field: &str, value: Value) -> Row {
    Row { extract: Extract::builder().field(field, value).build(), ..row(version) }
}

/// Such a row with index entries.
pub(super) fn indexed(version: Version, entries: &[(&str, &str)]) -> Row {
    let add = |extract: crate::contract::ExtractBuilder, (index, value): &(&str, &str)| {
        extract.entry(index, Value::text(value))
    };
    Row { extract: entries.iter().fold(Extract::builder(), add).build(), ..row(version) }
}

/// The row as the log has it.
pub(super) fn logged(row: Row) -> Row {
    Row { extract: Extract::default(), ..row }
}

pub(super) fn range(from: &str, to: Option<&str>) -> NameRange {
    NameRange { table: table("Device"), from: from.into(), to: to.map(str::to_owned) }
}

pub(super) fn batch() -> Batch {
    Batch::default()
}

/// Batches as chains of words; for cases and tests only.
pub(super) trait Building: Sized {
    fn when(self, condition: Condition) -> Self;
    fn write(self, write: Write) -> Self;

    fn at(self, name: &str, version: Version) -> Self {
        self.when(Condition::RowAt { key: key(name), version })
    }

    fn absent(self, name: &str) -> Self {
        self.when(Condition::RowAbsent { key: key(name) })
    }

    fn field_is(self, name: &str, field: &str, value: Value) -> Self {
        self.when(Condition::FieldIs { key: key(name), field: field.into(), value })
    }

    fn field_at_most(self, name: &str, field: &str, value: Value) -> Self {
        self.when(Condition::FieldAtMost { key: key(name), field: field.into(), value })
    }

    fn not_removed_since(self, name: &str, since: Position) -> Self {
        self.when(Condition::NotRemovedSince { key: key(name), since })
    }

    fn none_in(self, from: &str, to: Option<&str>) -> Self {
        self.when(Condition::NoRowInRange { range: Range::Names(range(from, to)) })
    }

    fn none_indexed(self, range: IndexRange) -> Self {
        self.when(Condition::NoRowInRange { range: Range::Index(range) })
    }

    fn put(self, name: &str, version: Version) -> Self {
        self.put_row(name, row(version))
    }

    fn put_row(self, name: &str, row: Row) -> Self {
        self.put_at(key(name), row)
    }

    fn put_at(self, key: Key, row: Row) -> Self {
        self.write(Write::put(key, row))
    }

    fn remove(self, name: &str) -> Self {
        self.remove_at(key(name))
    }

    fn remove_at(self, key: Key) -> Self {
        self.write(Write::Remove { key })
    }

    fn reindex(self, name: &str, version: Version, extract: Extract) -> Self {
        self.write(Write::Reindex { key: key(name), version, extract, readable: None })
    }

    fn swap(self, a: &str, b: &str) -> Self {
        self.write(Write::Swap { a: a.into(), b: b.into() })
    }

    fn drop_all(self, namespace: &str) -> Self {
        self.write(Write::Drop { namespace: namespace.into() })
    }
}

impl Building for Batch {
    fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }
}

/// The version of a row, read now.
pub(super) async fn version_of(
    store: &dyn Backend,
    name: &str,
) -> Result<Option<Version>, Failure> {
    Ok(store.get(&key(name)).await?.0.map(|row| row.version))
}

/// All rows of a table, by name, read now.
pub(super) async fn rows_of(store: &dyn Backend, table: &Table) -> Result<Vec<NamedRow>, Failure> {
    let all = NameRange::all(table.clone());
    Ok(store.snapshot().await?.scan(&all, usize::MAX, false).await?)
}

/// All entries of an index, read now.
pub(super) async fn hits_of(store: &dyn Backend, index: Index) -> Result<Vec<Hit>, Failure> {
    let all = IndexRange::all(index);
    Ok(store.snapshot().await?.scan_index(&all, None, usize::MAX, false).await?)
}

/// Entries as value and name, for comparing and for reading.
pub(super) fn found(hits: &[Hit]) -> Vec<(String, Arc<str>)> {
    let text = |value: &Value| String::from_utf8_lossy(value.as_bytes()).into_owned();
    hits.iter().map(|hit| (text(&hit.value), hit.key.name.clone())).collect()
}

/// What [`found`] should give.
pub(super) fn pairs(expected: &[(&str, &str)]) -> Vec<(String, Arc<str>)> {
    expected.iter().map(|(value, name)| ((*value).to_owned(), (*name).into())).collect()
}

/// Whether `batch` committed; an error unless it did or a condition failed.
pub(super) async fn succeeds(store: &dyn Backend, batch: Batch) -> Result<bool, Failure> {
    match store.commit(batch).await {
        Ok(_) => Ok(true),
        Err(CommitError::ConditionFailed { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Fails unless `batch` is refused as malformed.
pub(super) async fn is_refused(store: &dyn Backend, what: &str, batch: Batch) -> Verdict {
    let outcome = store.commit(batch).await;
    let is_refused = matches!(outcome, Err(CommitError::Malformed(_)));
    ensure(is_refused, || format!("{what}: found {outcome:?}, expected a refusal"))
}

/// All changes after `after`, read in pages of `limit`, and the position at the end.
pub(super) async fn all_changes(
    store: &dyn Backend,
    after: Position,
    limit: usize,
) -> Result<(Vec<Change>, Position), Failure> {
    let (mut all, mut from) = (Vec::new(), after);
    loop {
        match store.changes(from, limit).await? {
            Changes::TooOld { oldest } => {
                return Err(Failure::new(format!("{from:?} is too old, oldest is {oldest:?}")));
            }
            Changes::Page { changes, next, at_head } => {
                if !at_head && next <= from {
                    return Err(Failure::new(format!("a page after {from:?} goes on at {next:?}")));
                }
                all.extend(changes.iter().map(|change| Change::clone(change)));
                from = next;
                if at_head {
                    return Ok((all, from));
                }
            }
        }
    }
}

/// The next position of the same era.
pub(super) fn next(position: Position) -> Position {
    Position { sequence: position.sequence + 1, ..position }
}

/// Bytes that break text handling and prefix arithmetic.
pub(super) fn hostile_values() -> Vec<Value> {
    let short: [&[u8]; 14] = [
        b"",
        b"\0",
        b"\0\0",
        b"\x01",
        b"'",
        b"A",
        b"a",
        b"a\0",
        b"a\0b",
        b"a\xff",
        b"ab",
        b"\xc3\xa9",
        b"\xff",
        b"\xff\xff",
    ];
    let mut values: Vec<_> =
        short.into_iter().map(|bytes| Value::from(Bytes::from_static(bytes))).collect();
    values.push(Value::from(vec![0xff; crate::contract::VALUE_BYTES_MAX]));
    values
}
