//! A store on which somebody is just faster: something is written right before an ownership row is.

use std::sync::Mutex;

use async_trait::async_trait;
use bowline_store::{
    Backend, Batch, Changes, CommitError, Key, Memory, Position, Row, Snapshot, StoreError, Write,
};
use tokio::sync::watch;

/// A store in memory.
#[derive(Debug, Default)]
pub struct Sneaky {
    inner: Memory,
    /// Committed before the next commit that writes an ownership row.
    pub first: Mutex<Option<Batch>>,
}

#[async_trait]
impl Backend for Sneaky {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.inner.snapshot().await
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        self.inner.get(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        let is_row = |write: &Write| matches!(write, Write::Put { key, .. } if &*key.table.kind == "~ownership");
        let first = batch.writes.iter().any(is_row).then(|| self.first.lock().unwrap().take());
        if let Some(first) = first.flatten() {
            self.inner.commit(first).await?;
        }
        self.inner.commit(batch).await
    }

    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        self.inner.changes(after, limit).await
    }

    async fn start_at(&self, position: Position) -> Result<(), CommitError> {
        self.inner.start_at(position).await
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.inner.head()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
