//! Connections that read: a pool, leases on it, and snapshots, which are a read transaction on one lease.
//!
//! Single reads and snapshots draw from separate allowances, so that whoever holds a snapshot can still read a row.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bowline_base::Seams;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Shared;
use super::failure::store_error;
use super::format::open_reader;
use super::query::Reading;
use super::row::State;
use crate::contract::{Key, NameRange, NamedRow, Position, Row, Snapshot, StoreError};

/// The connections that read one file.
pub(super) struct Readers {
    path: PathBuf,
    cache_bytes: usize,
    idle: Mutex<Vec<Connection>>,
    reads: Arc<Semaphore>,
    snapshots: Arc<Semaphore>,
    shared: Arc<Shared>,
    seams: Seams,
}

/// How many may read at a time; others wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReaderLimits {
    pub(super) reads_max: usize,
    pub(super) snapshots_max: usize,
    pub(super) cache_bytes: usize,
}

/// One connection, given back when dropped.
struct Lease {
    /// Absent only while it is being given back.
    connection: Option<Connection>,
    readers: Arc<Readers>,
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new(
        path: PathBuf,
        limits: ReaderLimits,
        shared: Arc<Shared>,
        seams: Seams,
    ) -> Self {
        Self {
            path,
            cache_bytes: limits.cache_bytes,
            idle: Mutex::default(),
            reads: Arc::new(Semaphore::new(limits.reads_max.max(1))),
            snapshots: Arc::new(Semaphore::new(limits.snapshots_max.max(1))),
            shared,
            seams,
        }
    }

    /// Runs `read` on a connection of the pool, where it may block.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Reading<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = acquire(&self.reads).await?;
        let readers = self.clone();
        self.run(move || {
            let lease = readers.lease(permit)?;
            lease.with(read)
        })
        .await
    }

    pub(super) async fn snapshot(self: &Arc<Self>) -> Result<Box<dyn Snapshot>, StoreError> {
        let permit = acquire(&self.snapshots).await?;
        let readers = self.clone();
        let snapshot = self.run(move || {
            let lease = readers.lease(permit)?;
            let position = lease.with(|reading| begin(reading.connection))?;
            Ok(SqliteSnapshot { lease: Some(lease), readers, position })
        });
        Ok(Box::new(snapshot.await?))
    }

    /// Refuses new readers. Those at work go on.
    pub(super) fn close(&self) {
        self.reads.close();
        self.snapshots.close();
        self.idle().clear();
    }

    fn lease(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Result<Lease, StoreError> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open_reader(&self.path, self.cache_bytes).map_err(store_error)?,
        };
        Ok(Lease { connection: Some(connection), readers: self.clone(), _permit: permit })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.reads.is_closed()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.seams.blocking(work).await;
        // No answer: the runtime is shutting down and ran nothing.
        answer.unwrap_or(Err(StoreError::Closed))
    }
}

async fn acquire(allowance: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, StoreError> {
    allowance.clone().acquire_owned().await.map_err(|_| StoreError::Closed)
}

/// Starts a read transaction and fixes its view by reading the position.
fn begin(connection: &Connection) -> Result<Position, StoreError> {
    let begin = || {
        connection.prepare_cached("BEGIN")?.execute([])?;
        State::read(connection)
    };
    begin().map(|state| state.position).map_err(store_error)
}

impl Lease {
    fn with<T>(
        &self,
        work: impl FnOnce(&Reading<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.connection.as_ref().ok_or(StoreError::Closed)?;
        work(&Reading { connection, tables: &self.readers.shared.tables })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let is_clean = connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok();
        if is_clean && !self.readers.reads.is_closed() {
            self.readers.idle().push(connection);
        }
    }
}

/// A read transaction. The lease is away while a thread works with it, and lost if the caller gave up meanwhile.
struct SqliteSnapshot {
    lease: Option<Lease>,
    readers: Arc<Readers>,
    position: Position,
}

impl SqliteSnapshot {
    async fn run<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&Reading<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let lease = self.lease.take().ok_or(StoreError::Closed)?;
        let work = move || {
            let answer = lease.with(read);
            Ok((lease, answer))
        };
        let (lease, answer) = self.readers.run(work).await?;
        self.lease = Some(lease);
        answer
    }
}

#[async_trait]
impl Snapshot for SqliteSnapshot {
    fn position(&self) -> Position {
        self.position
    }

    async fn batch_get(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        let keys = keys.to_vec();
        self.run(move |reading| keys.iter().map(|key| reading.row(key)).collect()).await
    }

    async fn scan(
        &mut self,
        range: &NameRange,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<NamedRow>, StoreError> {
        if limit == 0 || range.is_void() {
            return Ok(Vec::new());
        }
        let range = range.clone();
        self.run(move |reading| reading.scan(&range, limit, descending)).await
    }
}
