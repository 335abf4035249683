//! A store that makes races happen which are otherwise too narrow to hit: it does things just before the real ones.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bowline_store::{
    Backend, Batch, Changes, CommitError, Key, Memory, Position, Row, Snapshot, StoreError, Write,
};
use tokio::sync::watch;

/// A store in memory, with somebody else at work on it.
#[derive(Debug, Default)]
pub struct Meddler {
    inner: Memory,
    /// Before the next commit, somebody makes and removes the rows that it puts, at the versions it wants.
    pub makes_and_removes: AtomicBool,
    /// The next save is in somebody's way, and before its name is looked at again, the very same save of somebody else is
    /// carried out.
    pub has_twin: AtomicBool,
    twin: Mutex<Option<Vec<Write>>>,
    /// The change log answers this late, so that watches lag behind the rows.
    pub log_delay: Mutex<Duration>,
}

fn is_resource(write: &Write) -> bool {
    matches!(write, Write::Put { key, .. } if !key.table.is_internal())
}

#[async_trait]
impl Backend for Meddler {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.inner.snapshot().await
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        let puts = |write: &Write| {
            is_resource(write) && matches!(write, Write::Put { key: put, .. } if put == key)
        };
        let twin = self.twin.lock().unwrap().take_if(|writes| writes.iter().any(puts));
        if let Some(writes) = twin {
            let done = self.inner.commit(Batch { conditions: vec![], writes }).await;
            done.expect("nothing is in its way");
        }
        self.inner.get(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        let is_save = batch.writes.iter().any(is_resource);
        if is_save && self.has_twin.swap(false, Ordering::SeqCst) {
            *self.twin.lock().unwrap() = Some(batch.writes);
            return Err(CommitError::ConditionFailed { condition: 0 });
        }
        if is_save && self.makes_and_removes.swap(false, Ordering::SeqCst) {
            for write in batch.writes.iter().filter(|write| is_resource(write)) {
                let Write::Put { key, .. } = write else { continue };
                let made = Batch { conditions: vec![], writes: vec![write.clone()] };
                self.inner.commit(made).await?;
                let removed = vec![Write::Remove { key: key.clone() }];
                self.inner.commit(Batch { conditions: vec![], writes: removed }).await?;
            }
        }
        self.inner.commit(batch).await
    }

    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        let delay = *self.log_delay.lock().unwrap();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
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
