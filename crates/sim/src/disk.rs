//! Disks: a memory store that outlives the processes which use it, with latency, failures, and crashes between.
//!
//! A commit takes a while before it happens and a while until it is acknowledged; a process that crashes in between
//! leaves it undone, or done with nobody told. Several processes may use one disk, as several may use one database.
//! What was visible once never goes away: that is what the real backends promise, whose own suites show it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bowline_store::memory::Memory;
use bowline_store::{
    Backend, Batch, Changes, CommitError, Hit, IndexCursor, IndexRange, Key, NameRange, NamedRow,
    Position, Row, RowId, Snapshot, StoreError, Table,
};
use futures::FutureExt;
use futures::channel::oneshot;

use crate::planted::Fault;
use crate::world::{ProcessId, World};

/// How often [`Fault::WritesLost`] strikes.
const WRITES_LOST: f64 = 0.02;

/// How a disk misbehaves. Probabilities are per operation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DiskFaults {
    /// Longest time before an operation happens, and again before it is acknowledged.
    pub latency_max: Duration,
    /// A commit fails and did not happen.
    pub fails: f64,
    /// A commit happens and is answered as failed.
    pub answer_lost: f64,
    /// A read fails.
    pub read_fails: f64,
}

/// Sees every commit at the moment it happens, whoever is told of it later.
pub trait Witness: Send + Sync {
    /// `batch` has just become visible on `disk`. Nothing else happens in the world meanwhile.
    fn committed(&self, disk: &Disk, process: ProcessId, batch: &Batch);
}

/// What of a deployment survives its processes.
pub struct Disk {
    name: String,
    world: World,
    memory: Arc<Memory>,
    faults: Mutex<DiskFaults>,
    witness: Option<Arc<dyn Witness>>,
    planted: Option<Fault>,
}

/// A disk as one process sees it.
#[derive(Debug)]
struct Mounted {
    disk: Arc<Disk>,
    process: ProcessId,
    is_closed: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error("the simulated disk failed")]
struct Broken;

impl Disk {
    /// An empty disk; `planted` is what is wrong with it on purpose.
    pub fn new(
        world: &World,
        name: impl Into<String>,
        witness: Option<Arc<dyn Witness>>,
        planted: Option<Fault>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            world: world.clone(),
            memory: Arc::new(Memory::new()),
            faults: Mutex::default(),
            witness,
            planted,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn set_faults(&self, faults: DiskFaults) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// The store of a deployment that runs in `process`.
    pub fn mount(self: &Arc<Self>, process: ProcessId) -> Arc<dyn Backend> {
        let disk = self.clone();
        Arc::new(Mounted { disk, process, is_closed: AtomicBool::new(false) })
    }

    /// One row as it is, without time or failure: for those who judge.
    pub fn row(&self, key: &Key) -> Option<Row> {
        now(self.memory.get(key))?.ok()?.0
    }

    /// All rows of the tables that `wanted` picks, without time or failure.
    pub fn rows(&self, wanted: impl Fn(&Table) -> bool) -> Vec<(Table, NamedRow)> {
        let Some(Ok(mut snapshot)) = now(self.memory.snapshot()) else { return Vec::new() };
        let tables = now(snapshot.tables()).and_then(Result::ok).unwrap_or_default();
        let mut found = Vec::new();
        for table in tables.into_iter().filter(|table| wanted(table)) {
            let rows = now(snapshot.scan(&NameRange::all(table.clone()), usize::MAX, false));
            let rows = rows.and_then(Result::ok).unwrap_or_default();
            found.extend(rows.into_iter().map(|row| (table.clone(), row)));
        }
        found
    }

    fn faults(&self) -> DiskFaults {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn takes_time(&self) {
        let longest = self.faults().latency_max;
        if !longest.is_zero() {
            let time = self.world.between(Duration::ZERO, longest);
            self.world.sleep(time).await;
        }
    }

    async fn read_may_fail(&self) -> Result<(), StoreError> {
        self.takes_time().await;
        match self.world.chance(self.faults().read_fails) {
            true => Err(broken()),
            false => Ok(()),
        }
    }

    async fn commit(&self, process: ProcessId, batch: Batch) -> Result<Position, CommitError> {
        self.takes_time().await;
        let faults = self.faults();
        if self.world.chance(faults.fails) {
            self.world.note(format!("{}: a commit fails", self.name));
            return Err(broken().into());
        }
        let position = self.apply(process, batch)?;
        self.takes_time().await;
        if self.world.chance(faults.answer_lost) {
            self.world.note(format!("{}: commit {} is said to fail", self.name, position.sequence));
            return Err(broken().into());
        }
        Ok(position)
    }

    fn apply(&self, process: ProcessId, mut batch: Batch) -> Result<Position, CommitError> {
        if let Some(fault) = self.planted {
            let read = |key: &Key| self.row(key);
            fault.spoil_batch(&mut batch, &read, &|probability| self.world.chance(probability));
            if fault == Fault::WritesLost && self.world.chance(WRITES_LOST) {
                return Ok(*self.memory.head().borrow());
            }
        }
        let seen = self.witness.as_ref().map(|witness| (witness, batch.clone()));
        let position = now(self.memory.commit(batch)).unwrap_or_else(|| Err(broken().into()))?;
        if let Some((witness, batch)) = seen {
            witness.committed(self, process, &batch);
        }
        Ok(position)
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the memory store does is done when it is first polled.
fn now<T>(work: impl Future<Output = T>) -> Option<T> {
    work.now_or_never()
}

fn broken() -> StoreError {
    StoreError::Unavailable(Box::new(Broken))
}

impl Mounted {
    fn check_open(&self) -> Result<(), StoreError> {
        match self.is_closed.load(Ordering::Acquire) {
            true => Err(StoreError::Closed),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Backend for Mounted {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.check_open()?;
        self.disk.read_may_fail().await?;
        let snapshot = self.disk.memory.snapshot().await?;
        Ok(Box::new(SlowSnapshot { disk: self.disk.clone(), snapshot }))
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        self.check_open()?;
        self.disk.read_may_fail().await?;
        let found = self.disk.memory.get(key).await;
        self.disk.takes_time().await;
        found
    }

    /// The commit goes on when nobody waits for it any more, as it does behind a real backend's queue.
    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        self.check_open()?;
        let (sender, receiver) = oneshot::channel();
        let (disk, process) = (self.disk.clone(), self.process);
        let work = async move {
            // Whoever asked may have given up.
            let _ = sender.send(disk.commit(process, batch).await);
        };
        self.disk.world.spawn(self.process, "commit", Box::pin(work));
        receiver.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        self.check_open()?;
        self.disk.read_may_fail().await?;
        self.disk.memory.changes(after, limit).await
    }

    async fn start_at(&self, position: Position) -> Result<(), CommitError> {
        self.disk.memory.start_at(position).await
    }

    fn head(&self) -> tokio::sync::watch::Receiver<Position> {
        self.disk.memory.head()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.is_closed.store(true, Ordering::Release);
        Ok(())
    }
}

/// A snapshot whose reads take time, so that others commit meanwhile.
struct SlowSnapshot {
    disk: Arc<Disk>,
    snapshot: Box<dyn Snapshot>,
}

#[async_trait]
impl Snapshot for SlowSnapshot {
    fn position(&self) -> Position {
        self.snapshot.position()
    }

    async fn batch_get(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        self.disk.read_may_fail().await?;
        let mut rows = self.snapshot.batch_get(keys).await?;
        if let Some(fault) = self.disk.planted {
            fault.spoil_rows(keys, &mut rows);
        }
        Ok(rows)
    }

    async fn batch_get_by_id(
        &mut self,
        table: &Table,
        ids: &[RowId],
    ) -> Result<Vec<Option<NamedRow>>, StoreError> {
        self.disk.read_may_fail().await?;
        self.snapshot.batch_get_by_id(table, ids).await
    }

    async fn scan(
        &mut self,
        range: &NameRange,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<NamedRow>, StoreError> {
        self.disk.read_may_fail().await?;
        self.snapshot.scan(range, limit, descending).await
    }

    async fn scan_index(
        &mut self,
        range: &IndexRange,
        after: Option<&IndexCursor>,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<Hit>, StoreError> {
        self.disk.read_may_fail().await?;
        self.snapshot.scan_index(range, after, limit, descending).await
    }

    async fn index_keys(
        &mut self,
        range: &IndexRange,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.disk.read_may_fail().await?;
        self.snapshot.index_keys(range, limit).await
    }

    async fn tables(&mut self) -> Result<Vec<Table>, StoreError> {
        self.disk.read_may_fail().await?;
        self.snapshot.tables().await
    }
}
