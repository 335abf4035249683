//! A store in memory in which single commits can be held up, so that races happen that are otherwise too narrow to hit.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bowline_store::{
    Backend, Batch, Changes, CommitError, Condition, Key, Memory, Position, Row, Snapshot,
    StoreError, Write,
};
use tokio::sync::{oneshot, watch};

/// Whether a batch is one that is to be held up.
type Matches = Box<dyn Fn(&Batch) -> bool + Send>;

/// Conditions that a deletion forgets, by mistake.
pub type Mistake = fn(&Condition) -> bool;

#[derive(Default)]
pub struct Gate {
    inner: Memory,
    held: Mutex<Vec<(Matches, Held)>>,
    /// A planted mistake: conditions that deletions forget.
    forgotten: Mutex<Option<Mistake>>,
    pub commits: AtomicUsize,
}

struct Held {
    arrived: oneshot::Sender<()>,
    go: oneshot::Receiver<()>,
}

/// A commit that is, or will be, held up; dropping it lets the commit go.
pub struct Hold {
    arrived: Option<oneshot::Receiver<()>>,
    go: Option<oneshot::Sender<()>>,
}

impl Hold {
    /// Until the commit is there.
    pub async fn arrived(&mut self) {
        let arrived = self.arrived.take().unwrap();
        let arrived = tokio::time::timeout(std::time::Duration::from_secs(20), arrived).await;
        arrived.expect("the commit comes in time").unwrap();
    }

    pub fn go(mut self) {
        let _ = self.go.take().unwrap().send(());
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

impl Gate {
    /// Holds up the next commit that matches, once.
    pub fn hold(&self, matches: impl Fn(&Batch) -> bool + Send + 'static) -> Hold {
        let (arrived_sender, arrived) = oneshot::channel();
        let (go, go_receiver) = oneshot::channel();
        let held = Held { arrived: arrived_sender, go: go_receiver };
        self.held.lock().unwrap().push((Box::new(matches), held));
        Hold { arrived: Some(arrived), go: Some(go) }
    }

    /// Holds up the next commit that removes this resource.
    pub fn hold_removal(&self, name: &'static str) -> Hold {
        self.hold(move |batch| {
            let removes =
                |write: &Write| matches!(write, Write::Remove { key } if &*key.name == name);
            batch.writes.iter().any(removes)
        })
    }

    /// From now on deletions of nodes commit without these conditions.
    pub fn forget(&self, conditions: Mistake) {
        *self.forgotten.lock().unwrap() = Some(conditions);
    }

    fn with_mistakes(&self, mut batch: Batch) -> Batch {
        let is_node = |write: &Write| matches!(write, Write::Remove { key } if &*key.table.kind == "base.test/Node");
        if let Some(forgotten) = *self.forgotten.lock().unwrap()
            && batch.writes.iter().any(is_node)
        {
            batch.conditions.retain(|condition| !forgotten(condition));
        }
        batch
    }

    pub fn commits(&self) -> usize {
        self.commits.load(Ordering::SeqCst)
    }

    fn taken(&self, batch: &Batch) -> Option<Held> {
        let mut held = self.held.lock().unwrap();
        let at = held.iter().position(|(matches, _)| matches(batch))?;
        Some(held.remove(at).1)
    }
}

#[async_trait]
impl Backend for Gate {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.inner.snapshot().await
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        self.inner.get(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        if let Some(held) = self.taken(&batch) {
            let _ = held.arrived.send(());
            // Whoever held it up is gone: it goes on.
            let _ = held.go.await;
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(self.with_mistakes(batch)).await
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
