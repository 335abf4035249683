//! A backend that breaks its promises, so that the checks are seen to fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bowline_store::{
    Backend, Batch, Changes, CommitError, Key, Memory, Position, Row, Snapshot, StoreError,
};
use tokio::sync::watch;

/// The promise that is broken, every tenth time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Acknowledges a commit that never happens.
    LostCommit,
    /// Runs a commit whose answer was lost once more.
    DoneTwice,
    /// Leaves a commit out of the feed.
    Gap,
    /// Gives the newest commit of the feed twice.
    Repetition,
    /// Says that it failed for good, though one could retry.
    WrongError,
}

#[derive(Debug)]
pub(crate) struct Faulty {
    good: Memory,
    fault: Fault,
    calls: AtomicU64,
}

impl Faulty {
    pub(crate) fn backend(fault: Fault) -> Arc<dyn Backend> {
        Arc::new(Self { good: Memory::new(), fault, calls: AtomicU64::new(0) })
    }

    /// Whether it is time for the fault.
    fn strikes(&self, fault: Fault) -> bool {
        fault == self.fault && self.calls.fetch_add(1, Ordering::SeqCst) % 10 == 9
    }
}

#[async_trait]
impl Backend for Faulty {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.good.snapshot().await
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        self.good.get(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        if self.strikes(Fault::LostCommit) {
            let position = *self.good.head().borrow();
            return Ok(Position { sequence: position.sequence + 1_000_000, ..position });
        }
        if self.strikes(Fault::WrongError) {
            return Err(StoreError::Corrupt("no".to_owned()).into());
        }
        if self.strikes(Fault::DoneTwice) {
            self.good.commit(batch.clone()).await?;
        }
        self.good.commit(batch).await
    }

    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        let mut from = after;
        if after.sequence > 1 && self.strikes(Fault::Repetition) {
            from.sequence -= 1;
        }
        let page = self.good.changes(from, limit).await?;
        let Changes::Page { mut changes, next, at_head } = page else { return Ok(page) };
        if !changes.is_empty() && self.strikes(Fault::Gap) {
            let first = changes[0].position;
            changes.retain(|change| change.position != first);
        }
        Ok(Changes::Page { changes, next, at_head })
    }

    async fn start_at(&self, position: Position) -> Result<(), CommitError> {
        self.good.start_at(position).await
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.good.head()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.good.close().await
    }
}
