//! A store in memory whose commits can be held up, and robbed of conditions; it counts looks into it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bowline_store::{
    Backend, Batch, Changes, CommitError, Condition, Key, Memory, Position, Row, Snapshot,
    StoreError, Write,
};
use tokio::sync::{oneshot, watch};

/// Longest wait of a test.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// What is written, and the two ends that a held commit has.
type Held = (&'static str, oneshot::Sender<()>, oneshot::Receiver<()>);
/// Which conditions are meant.
type Conditions = fn(&Condition) -> bool;

#[derive(Default)]
pub struct Gate {
    inner: Memory,
    held: Mutex<Vec<Held>>,
    /// A planted mistake: conditions that commits forget.
    forgotten: Mutex<Option<Conditions>>,
    snapshots: AtomicUsize,
}

/// A commit that is, or will be, held up; dropping it lets the commit go.
pub struct Hold {
    arrived: Option<oneshot::Receiver<()>>,
    go: oneshot::Sender<()>,
}

impl Hold {
    /// Until the commit is there.
    pub async fn arrived(&mut self) {
        let arrived = tokio::time::timeout(PATIENCE, self.arrived.take().unwrap()).await;
        arrived.expect("the commit comes in time").unwrap();
    }

    pub fn go(self) {
        let _ = self.go.send(());
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

impl Gate {
    /// Holds up the next commit that writes or removes a row of this name, once.
    pub fn hold(&self, name: &'static str) -> Hold {
        let (arrived_sender, arrived) = oneshot::channel();
        let (go, go_receiver) = oneshot::channel();
        self.held.lock().unwrap().push((name, arrived_sender, go_receiver));
        Hold { arrived: Some(arrived), go }
    }

    /// From now on commits forget these conditions.
    pub fn forget(&self, conditions: Conditions) {
        *self.forgotten.lock().unwrap() = Some(conditions);
    }

    pub fn snapshots(&self) -> usize {
        self.snapshots.load(Ordering::SeqCst)
    }
}

fn writes(batch: &Batch, name: &str) -> bool {
    batch.writes.iter().any(|write| match write {
        Write::Put { key, .. } | Write::Remove { key } => &*key.name == name,
        _ => false,
    })
}

#[async_trait]
impl Backend for Gate {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.snapshots.fetch_add(1, Ordering::SeqCst);
        self.inner.snapshot().await
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        self.inner.get(key).await
    }

    async fn commit(&self, mut batch: Batch) -> Result<Position, CommitError> {
        let held = {
            let mut held = self.held.lock().unwrap();
            let at = held.iter().position(|(name, ..)| writes(&batch, name));
            at.map(|at| held.remove(at))
        };
        if let Some((_, arrived, go)) = held {
            let _ = arrived.send(());
            // Whoever held it up may be gone: it goes on.
            let _ = go.await;
        }
        if let Some(forgotten) = *self.forgotten.lock().unwrap() {
            batch.conditions.retain(|condition| !forgotten(condition));
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
