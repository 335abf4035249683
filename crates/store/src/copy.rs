//! Copying one namespace into another while it is written to: the bulk in slices, then what changed meanwhile.
//!
//! State-based, so that every step can be repeated: a row is copied as it is at the moment of the commit, which a condition
//! makes sure of. Whoever copies keeps the key and the position to go on from; after [`Copy::follow`] has reached the head with
//! writes held, both namespaces are the same, and [`crate::Write::Swap`] can make the copy the current one.

use std::sync::Arc;

use crate::contract::{
    Backend, Batch, Changes, CommitError, Condition, Key, NameRange, Position, Row, StoreError,
    Table, Write,
};

/// From where to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    pub from: Arc<str>,
    pub to: Arc<str>,
}

/// How far [`Copy::follow`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Everything up to here is copied.
    To { position: Position, at_head: bool },
    /// The log does not reach back: start over with the bulk.
    TooOld,
}

/// A row that changes faster than it can be copied this often in a row is left to the next round.
const ATTEMPTS_MAX: usize = 16;

impl Copy {
    /// Copies about `limit` rows after `after`, in key order, and answers the last key, or `None` when there are no more.
    ///
    /// # Errors
    /// Those of [`Backend::commit`]; what was copied before stays.
    pub async fn slice(
        &self,
        backend: &dyn Backend,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Option<Key>, CommitError> {
        let rows = self.read(backend, after, limit.max(1)).await?;
        let Some((last, _)) = rows.last() else { return Ok(None) };
        let last = last.clone();
        let conditions = rows.iter().map(|(key, row)| at(key, row)).collect();
        let writes = rows.iter().map(|(key, row)| Write::put(self.target(key), row.clone()));
        match backend.commit(Batch { conditions, writes: writes.collect() }).await {
            Ok(_) => {}
            // Somebody wrote to one of them; then one by one.
            Err(CommitError::ConditionFailed { .. }) => {
                for (key, _) in &rows {
                    self.one(backend, key).await?;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(Some(last))
    }

    /// Copies what changed after `after`: about `limit` changes.
    ///
    /// # Errors
    /// Those of [`Backend::commit`] and [`Backend::changes`].
    pub async fn follow(
        &self,
        backend: &dyn Backend,
        after: Position,
        limit: usize,
    ) -> Result<Followed, CommitError> {
        let (changes, position, at_head) = match backend.changes(after, limit).await? {
            Changes::Page { changes, next, at_head } => (changes, next, at_head),
            Changes::TooOld { .. } => return Ok(Followed::TooOld),
        };
        let ours = changes.iter().map(|change| &change.key);
        let keys: std::collections::BTreeSet<&Key> =
            ours.filter(|key| key.table.namespace == self.from).collect();
        for key in keys {
            self.one(backend, key).await?;
        }
        Ok(Followed::To { position, at_head })
    }

    /// Makes the copy of one row what the row is.
    async fn one(&self, backend: &dyn Backend, key: &Key) -> Result<(), CommitError> {
        let target = self.target(key);
        for _ in 0..ATTEMPTS_MAX {
            let (row, _) = backend.get(key).await?;
            let (condition, write) = match row {
                Some(row) => (at(key, &row), Write::put(target.clone(), row)),
                None => (
                    Condition::RowAbsent { key: key.clone() },
                    Write::Remove { key: target.clone() },
                ),
            };
            match backend.commit(Batch { conditions: vec![condition], writes: vec![write] }).await {
                Err(CommitError::ConditionFailed { .. }) => {}
                done => return done.map(drop),
            }
        }
        Err(StoreError::Unavailable("a row changes faster than it is copied".into()).into())
    }

    async fn read(
        &self,
        backend: &dyn Backend,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Row)>, StoreError> {
        let mut snapshot = backend.snapshot().await?;
        let tables = snapshot.tables().await?;
        let ours = |table: &Table| {
            table.namespace == self.from && after.is_none_or(|after| *table >= after.table)
        };
        let mut found = Vec::new();
        for table in tables.into_iter().filter(ours) {
            let mut range = NameRange::all(table);
            if let Some(after) = after.filter(|after| after.table == range.table) {
                range.from = format!("{}\0", after.name);
            }
            let rows = snapshot.scan(&range, limit - found.len(), false).await?;
            let key = |name| Key { table: range.table.clone(), name };
            found.extend(rows.into_iter().map(|(name, row)| (key(name), row)));
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    fn target(&self, key: &Key) -> Key {
        let table = Table { namespace: self.to.clone(), kind: key.table.kind.clone() };
        Key { table, name: key.name.clone() }
    }
}

fn at(key: &Key, row: &Row) -> Condition {
    Condition::RowAt { key: key.clone(), version: row.version }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Extract, RowId, Value};
    use crate::memory::Memory;

    const COPY: fn() -> Copy = || Copy { from: "v1".into(), to: "~v2".into() };

    fn key(namespace: &str, kind: &str, n: usize) -> Key {
        let table = Table { namespace: namespace.into(), kind: kind.into() };
        Key { table, name: format!("r{n:03}").into() }
    }

    fn row(n: usize, version: u64) -> Row {
        let extract = Extract::builder().entry("by", Value::number(version)).build();
        Row { id: RowId(n as u128 + 1), extract, ..Row::new(version, "body") }
    }

    async fn commit(store: &Memory, write: Write) {
        store.commit(Batch { conditions: vec![], writes: vec![write] }).await.unwrap();
    }

    async fn contents(store: &Memory, namespace: &str) -> Vec<(Arc<str>, Arc<str>, Row)> {
        let mut snapshot = store.snapshot().await.unwrap();
        let mut all = Vec::new();
        for table in snapshot.tables().await.unwrap() {
            if &*table.namespace == namespace {
                let range = NameRange::all(table.clone());
                let rows = snapshot.scan(&range, usize::MAX, false).await.unwrap();
                all.extend(rows.into_iter().map(|(name, row)| (table.kind.clone(), name, row)));
            }
        }
        all
    }

    async fn follow_to_head(store: &Memory, mut after: Position) {
        loop {
            match COPY().follow(store, after, 3).await.unwrap() {
                Followed::To { at_head: true, .. } => return,
                Followed::To { position, .. } => after = position,
                Followed::TooOld => panic!("the log reaches back"),
            }
        }
    }

    #[tokio::test]
    async fn a_copy_under_writes_ends_equal_and_can_be_swapped_in() {
        let store = Memory::new();
        for n in 0..20 {
            commit(&store, Write::put(key("v1", if n % 2 == 0 { "A" } else { "B" }, n), row(n, 1)))
                .await;
        }
        let begun = *store.head().borrow();
        let mut after = None;
        let mut step = 0;
        while let Some(last) = COPY().slice(&store, after.as_ref(), 3).await.unwrap() {
            // Rows before and after the place of copying change, go and come.
            commit(&store, Write::put(key("v1", "A", 2 * (step % 10)), row(2 * (step % 10), 2)))
                .await;
            commit(&store, Write::Remove { key: key("v1", "B", 2 * (step % 10) + 1) }).await;
            if step < 5 {
                commit(&store, Write::put(key("v1", "C", 100 + step), row(100 + step, 1))).await;
            }
            after = Some(last);
            step += 1;
            assert!(step < 50, "copying does not come to an end");
        }
        follow_to_head(&store, begun).await;
        let expected = contents(&store, "v1").await;
        assert!(expected.len() > 10);
        assert_eq!(contents(&store, "~v2").await, expected);

        commit(&store, Write::put(key("v1", "A", 0), row(0, 9))).await;
        commit(&store, Write::Swap { a: "v1".into(), b: "~v2".into() }).await;
        assert_eq!(contents(&store, "v1").await, expected);
    }

    #[tokio::test]
    async fn a_slice_that_meets_a_writer_copies_what_the_writer_left() {
        let store = Memory::new();
        commit(&store, Write::put(key("v1", "A", 1), row(1, 1))).await;
        commit(&store, Write::put(key("~v2", "A", 1), row(1, 1))).await;
        commit(&store, Write::Remove { key: key("v1", "A", 1) }).await;
        COPY().one(&store, &key("v1", "A", 1)).await.unwrap();
        assert_eq!(contents(&store, "~v2").await, []);
    }
}
