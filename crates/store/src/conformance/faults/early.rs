//! The naive way to number commits: from a counter, before they happen, as `nextval` and timestamps do it.
//!
//! Two commits can then become visible in the other order than their numbers. Who reads in between goes on after the
//! higher one, and never learns of the lower one. Rows are right all the same; only the order of changes is not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bowline_base::Seams;
use tokio::sync::watch;

use crate::contract::{
    Backend, Batch, Change, Changes, CommitError, Hit, IndexCursor, IndexRange, Key, NameRange,
    NamedRow, Position, Row, RowId, Snapshot, StoreError, Table,
};

#[derive(Debug)]
pub(in super::super) struct Early {
    good: Arc<dyn Backend>,
    seams: Seams,
    counter: AtomicU64,
    log: Mutex<BTreeMap<Position, Vec<Arc<Change>>>>,
    head: watch::Sender<Position>,
}

impl Early {
    pub(in super::super) fn new(good: Arc<dyn Backend>, seams: Seams) -> Self {
        let (counter, log) = (AtomicU64::new(0), Mutex::default());
        Self { good, seams, counter, log, head: watch::Sender::new(Position::default()) }
    }

    async fn pause(&self) {
        let mut micros = [0; 1];
        self.seams.random.fill(&mut micros);
        self.seams.clock.sleep(Duration::from_micros(8 * u64::from(micros[0]))).await;
    }
}

#[async_trait]
impl Backend for Early {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let position = *self.head.borrow();
        Ok(Box::new(EarlySnapshot { good: self.good.snapshot().await?, position }))
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        let position = *self.head.borrow();
        Ok((self.good.get(key).await?.0, position))
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        // So that one that fails takes no number.
        let conditions = batch.conditions.clone();
        self.good.commit(Batch { conditions, writes: vec![] }).await?;
        let sequence = self.counter.fetch_add(1, Ordering::SeqCst) + 1;
        let position = Position { era: 0, sequence };
        self.pause().await;
        let good = self.good.commit(batch).await?;
        let before = Position { sequence: good.sequence - 1, ..good };
        let Changes::Page { changes, .. } = self.good.changes(before, 1).await? else {
            return Err(CommitError::Malformed("the log is too short for this"));
        };
        let changes = changes.iter().filter(|change| change.position == good);
        let changes = changes.map(|change| Arc::new(Change { position, ..Change::clone(change) }));
        self.log.lock().unwrap().insert(position, changes.collect());
        self.head.send_if_modified(|head| {
            let is_higher = position > *head;
            *head = position.max(*head);
            is_higher
        });
        Ok(position)
    }

    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        let log = self.log.lock().unwrap();
        let mut changes = Vec::new();
        for (position, of_commit) in log.range(after..).filter(|(p, _)| **p > after) {
            if changes.len() >= limit.max(1) {
                let last = changes.last().map_or(after, |change: &Arc<Change>| change.position);
                return Ok(Changes::Page { changes, next: last, at_head: false });
            }
            changes.extend(of_commit.iter().cloned());
            debug_assert!(*position > after, "the range begins after it");
        }
        let next = log.last_key_value().map_or(after, |(last, _)| *last);
        Ok(Changes::Page { changes, next, at_head: true })
    }

    async fn start_at(&self, position: Position) -> Result<(), CommitError> {
        self.good.start_at(position).await
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.good.close().await
    }
}

/// A good view under the number that was the highest when it was opened.
struct EarlySnapshot {
    good: Box<dyn Snapshot>,
    position: Position,
}

#[async_trait]
impl Snapshot for EarlySnapshot {
    fn position(&self) -> Position {
        self.position
    }

    async fn batch_get(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        self.good.batch_get(keys).await
    }

    async fn batch_get_by_id(
        &mut self,
        table: &Table,
        ids: &[RowId],
    ) -> Result<Vec<Option<NamedRow>>, StoreError> {
        self.good.batch_get_by_id(table, ids).await
    }

    async fn scan(
        &mut self,
        range: &NameRange,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<NamedRow>, StoreError> {
        self.good.scan(range, limit, descending).await
    }

    async fn scan_index(
        &mut self,
        range: &IndexRange,
        after: Option<&IndexCursor>,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<Hit>, StoreError> {
        self.good.scan_index(range, after, limit, descending).await
    }

    async fn tables(&mut self) -> Result<Vec<Table>, StoreError> {
        self.good.tables().await
    }
}
