//! Short ways to write keys, rows and batches in cases.

use bytes::Bytes;

use crate::contract::{
    Backend, Batch, Change, Changes, CommitError, Condition, Key, NameRange, Position, Row, Table,
    Version, Write,
};

use super::Failure;

pub(super) fn table(kind: &str) -> Table {
    Table { namespace: "v1".into(), kind: kind.into() }
}

/// A key in the table that most cases use.
pub(super) fn key(name: &str) -> Key {
    Key { table: table("Device"), name: name.into() }
}

/// A row whose body tells its version.
pub(super) fn row(version: Version) -> Row {
    Row { version, body: Bytes::from(format!("body {version}")), aside: Bytes::new() }
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

    fn not_removed_since(self, name: &str, since: Position) -> Self {
        self.when(Condition::NotRemovedSince { key: key(name), since })
    }

    fn none_in(self, from: &str, to: Option<&str>) -> Self {
        self.when(Condition::NoRowInRange { range: range(from, to) })
    }

    fn put(self, name: &str, version: Version) -> Self {
        self.write(Write::Put { key: key(name), row: row(version) })
    }

    fn remove(self, name: &str) -> Self {
        self.write(Write::Remove { key: key(name) })
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

/// Whether `batch` committed; an error unless it did or a condition failed.
pub(super) async fn succeeds(store: &dyn Backend, batch: Batch) -> Result<bool, Failure> {
    match store.commit(batch).await {
        Ok(_) => Ok(true),
        Err(CommitError::ConditionFailed { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
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
