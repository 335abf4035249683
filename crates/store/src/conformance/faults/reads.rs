//! What faults make of a view and what is read in it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{Fault, Notes};
use crate::contract::{
    Backend, Hit, IndexCursor, IndexRange, Key, NameRange, NamedRow, Position, Row, RowId,
    Snapshot, StoreError, Table,
};

pub(super) struct FaultySnapshot {
    pub(super) good: Box<dyn Snapshot>,
    pub(super) store: Arc<dyn Backend>,
    pub(super) notes: Arc<Mutex<Notes>>,
    pub(super) fault: Fault,
}

impl FaultySnapshot {
    async fn move_on(&mut self) -> Result<(), StoreError> {
        if self.fault == Fault::SnapshotsMove {
            self.good = self.store.snapshot().await?;
        }
        Ok(())
    }

    /// A namespace as one sees it who keeps no account of swaps.
    fn origin(&self, namespace: &Arc<str>) -> Arc<str> {
        self.notes.lock().unwrap().origin(namespace)
    }

    /// Entries that should be gone.
    async fn past(&mut self, range: &IndexRange) -> Result<Vec<Hit>, StoreError> {
        let past = self.notes.lock().unwrap().past.clone();
        let mut hits = Vec::new();
        for (key, row) in past {
            if key.table.namespace != range.index.namespace {
                continue;
            }
            let row = match self.fault {
                Fault::IndexKeepsOldEntries => {
                    let now =
                        self.good.batch_get(std::slice::from_ref(&key)).await?.pop().flatten();
                    let Some(now) = now else { continue };
                    (row, now)
                }
                _ => (row.clone(), row),
            };
            let of_index = row.0.extract.entries().filter(|e| e.index == &*range.index.name);
            let values = of_index.map(|entry| entry.value).filter(|value| range.contains(value));
            hits.extend(values.map(|value| Hit { value, key: key.clone(), row: row.1.clone() }));
        }
        Ok(hits)
    }

    /// Whether a hit comes after the cursor.
    fn is_beyond(&self, hit: &Hit, after: &IndexCursor, descending: bool) -> bool {
        let found = IndexCursor::at(hit);
        let is_beyond = if descending { found < *after } else { found > *after };
        match self.fault {
            Fault::IndexCursorsRepeat => is_beyond || found == *after,
            Fault::IndexCursorsSkip => is_beyond && found.value != after.value,
            _ => is_beyond,
        }
    }
}

#[async_trait]
impl Snapshot for FaultySnapshot {
    fn position(&self) -> Position {
        self.good.position()
    }

    async fn batch_get(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        self.move_on().await?;
        let keys: Vec<_> = keys.iter().map(|key| self.fault.key(key)).collect();
        self.good.batch_get(&keys).await
    }

    async fn batch_get_by_id(
        &mut self,
        table: &Table,
        ids: &[RowId],
    ) -> Result<Vec<Option<NamedRow>>, StoreError> {
        self.move_on().await?;
        let mut table = self.fault.table(table);
        if self.fault == Fault::SwapForgetsIds {
            table.namespace = self.origin(&table.namespace);
        }
        self.good.batch_get_by_id(&table, ids).await
    }

    async fn scan(
        &mut self,
        range: &NameRange,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<NamedRow>, StoreError> {
        self.move_on().await?;
        let mut rows = self.good.scan(&self.fault.name_range(range), limit, descending).await?;
        if self.fault == Fault::ScansLoseTheLastRow && rows.len() > 1 {
            rows.pop();
        }
        Ok(rows)
    }

    async fn scan_index(
        &mut self,
        range: &IndexRange,
        after: Option<&IndexCursor>,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<Hit>, StoreError> {
        self.move_on().await?;
        let mut range = self.fault.index_range(range);
        if self.fault == Fault::SwapForgetsEntries {
            range.index.namespace = self.origin(&range.index.namespace);
        }
        let mut hits = self.good.scan_index(&range, None, usize::MAX, descending).await?;
        let past = self.past(&range).await?;
        if !past.is_empty() {
            hits.extend(past);
            hits.sort_by_key(IndexCursor::at);
            if descending {
                hits.reverse();
            }
        }
        hits.retain(|hit| after.is_none_or(|after| self.is_beyond(hit, after, descending)));
        hits.truncate(limit);
        Ok(hits)
    }

    async fn tables(&mut self) -> Result<Vec<Table>, StoreError> {
        self.move_on().await?;
        match self.fault {
            Fault::ListsEmptyTables => {
                Ok(self.notes.lock().unwrap().tables.iter().cloned().collect())
            }
            _ => self.good.tables().await,
        }
    }
}
