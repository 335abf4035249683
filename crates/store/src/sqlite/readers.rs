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
use super::names::Names;
use super::query::Reading;
use super::row::State;
use super::spaces::Spaces;
use crate::contract::{
    Hit, IndexCursor, IndexRange, Key, NameRange, NamedRow, Position, Row, RowId, Snapshot,
    StoreError, Table,
};

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
        read: impl FnOnce(&Connection, &Names) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = acquire(&self.reads).await?;
        let readers = self.clone();
        self.run(move || {
            let lease = readers.lease(permit)?;
            read(lease.connection()?, &readers.shared.names)
        })
        .await
    }

    pub(super) async fn snapshot(self: &Arc<Self>) -> Result<Box<dyn Snapshot>, StoreError> {
        let permit = acquire(&self.snapshots).await?;
        let readers = self.clone();
        let snapshot = self.run(move || {
            let lease = readers.lease(permit)?;
            let (position, spaces) = begin(lease.connection()?, &readers.shared.names)?;
            Ok(SqliteSnapshot { lease: Some(lease), readers, position, spaces })
        });
        Ok(Box::new(snapshot.await?))
    }

    /// A snapshot on a connection of its own, in which the view is fixed already.
    pub(super) fn adopt(
        self: &Arc<Self>,
        connection: Connection,
        position: Position,
        spaces: Arc<Spaces>,
    ) -> Result<Box<dyn Snapshot>, StoreError> {
        let permit = self.snapshots.clone().try_acquire_owned();
        let permit = permit.map_err(|_| StoreError::Closed)?;
        let readers = self.clone();
        let lease = Lease { connection: Some(connection), readers: self.clone(), _permit: permit };
        Ok(Box::new(SqliteSnapshot { lease: Some(lease), readers, position, spaces }))
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

/// Starts a read transaction and fixes its view by reading the position; the spaces are those of the view.
fn begin(connection: &Connection, names: &Names) -> Result<(Position, Arc<Spaces>), StoreError> {
    let begin = || {
        connection.prepare_cached("BEGIN")?.execute([])?;
        let state = State::read(connection)?;
        // The newest ones, asked for after the view was fixed, have every namespace that has rows in it.
        let mut spaces = names.spaces();
        if spaces.generation() != state.generation {
            spaces = Arc::new(Spaces::load(connection)?);
        }
        Ok((state.position, spaces))
    };
    begin().map_err(store_error)
}

impl Lease {
    fn connection(&self) -> Result<&Connection, StoreError> {
        self.connection.as_ref().ok_or(StoreError::Closed)
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
    spaces: Arc<Spaces>,
}

impl SqliteSnapshot {
    async fn run<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&Reading<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let lease = self.lease.take().ok_or(StoreError::Closed)?;
        let spaces = self.spaces.clone();
        let work = move || {
            let connection = lease.connection()?;
            let names = &lease.readers.shared.names;
            let answer = read(&Reading { connection, names, spaces: &spaces });
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

    async fn batch_get_by_id(
        &mut self,
        table: &Table,
        ids: &[RowId],
    ) -> Result<Vec<Option<NamedRow>>, StoreError> {
        let (table, ids) = (table.clone(), ids.to_vec());
        self.run(move |reading| ids.iter().map(|id| reading.row_by_id(&table, *id)).collect()).await
    }

    async fn scan_index(
        &mut self,
        range: &IndexRange,
        after: Option<&IndexCursor>,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<Hit>, StoreError> {
        if limit == 0 || range.is_void() {
            return Ok(Vec::new());
        }
        let (range, after) = (range.clone(), after.cloned());
        self.run(move |reading| reading.scan_index(&range, after.as_ref(), limit, descending)).await
    }

    async fn index_keys(
        &mut self,
        range: &IndexRange,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        if limit == 0 || range.is_void() {
            return Ok(Vec::new());
        }
        let range = range.clone();
        self.run(move |reading| reading.keys_by_index(&range, limit)).await
    }

    async fn tables(&mut self) -> Result<Vec<Table>, StoreError> {
        self.run(|reading| reading.tables()).await
    }
}
