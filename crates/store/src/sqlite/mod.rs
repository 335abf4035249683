//! The embedded backend: SQLite in WAL mode, one file per deployment, one writer with group commit, many readers.
//!
//! A commit that was answered has been flushed to the disk (`synchronous = FULL`). Start at [`Sqlite`]; `writer` is where
//! commits happen, `readers` where views come from, `log` what changes are read from when memory no longer has them.

pub(crate) mod bare;
mod check;
mod checkpoint;
mod executor;
mod failure;
mod format;
mod index;
mod log;
mod names;
mod query;
mod read_only;
mod readers;
mod row;
mod spaces;
mod sums;
mod writer;
mod writing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bowline_base::Seams;
use tokio::sync::{oneshot, watch};

pub use executor::Executor;
pub use failure::OpenError;

use self::executor::{GroupLimits, Queue};
use self::failure::store_error;
use self::log::LogLimits;
use self::names::Names;
use self::readers::{ReaderLimits, Readers};
use self::row::State;
use self::writer::{Job, Outcome, Task, Writer};
use crate::batch;
use crate::contract::{
    Backend, Batch, Changes, CommitError, Key, Position, Row, Snapshot, StoreError,
};
use crate::observe::{CommitObserver, Observable, Observers};
use crate::tail::{Found, Tail, TailLimits};

/// Settings of a [`Sqlite`] store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Who runs the writer.
    pub executor: Executor,
    /// Batches that share one flush at most.
    pub group_batches_max: usize,
    /// A group takes no more batches once its rows have this many bytes.
    pub group_bytes_max: usize,
    /// Batches that wait for the writer before committing has to wait to be accepted.
    pub queue_batches_max: usize,
    /// Single reads at a time.
    pub reads_max: usize,
    /// Snapshots held at a time; asking for one more waits. Never ask for a second one while holding one.
    pub snapshots_max: usize,
    /// Changes in the log on disk.
    pub log_changes_max: u64,
    /// Bytes of rows in the log on disk, about.
    pub log_bytes_max: u64,
    /// Newest changes that are also in memory, so that watching near the head reads no disk.
    pub tail_changes_max: usize,
    /// Bytes of those.
    pub tail_bytes_max: usize,
    /// Pages (4 KiB) of the write-ahead log that are copied into the file at a time, between two groups; four times as
    /// many while there is more to write than can be. Measured: 500 keep the slowest of 100 commits at 7,000 a second
    /// under 15 ms where 4,000 take 30 to 70 ms, and cost a fifth of the throughput.
    pub checkpoint_pages: u32,
    /// Page cache of the writer, in bytes.
    pub writer_cache_bytes: usize,
    /// Page cache of each reader, in bytes.
    pub reader_cache_bytes: usize,
    /// The file refuses to grow beyond this many bytes: commits fail with [`StoreError::Full`].
    pub size_max: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            executor: Executor::Thread,
            group_batches_max: 256,
            group_bytes_max: 8 * 1024 * 1024,
            queue_batches_max: 4096,
            reads_max: 4,
            snapshots_max: 16,
            log_changes_max: 1_000_000,
            log_bytes_max: 1024 * 1024 * 1024,
            tail_changes_max: 100_000,
            tail_bytes_max: 32 * 1024 * 1024,
            checkpoint_pages: 500,
            writer_cache_bytes: 64 * 1024 * 1024,
            reader_cache_bytes: 2 * 1024 * 1024,
            size_max: None,
        }
    }
}

impl SqliteOptions {
    /// The log in memory never reaches back further than settings allow the one on disk.
    fn tail_limits(&self) -> TailLimits {
        let count = usize::try_from(self.log_changes_max).unwrap_or(usize::MAX);
        let bytes = usize::try_from(self.log_bytes_max).unwrap_or(usize::MAX);
        TailLimits {
            changes_max: self.tail_changes_max.min(count),
            bytes_max: self.tail_bytes_max.min(bytes),
        }
    }

    fn group_limits(&self) -> GroupLimits {
        GroupLimits {
            jobs_max: self.group_batches_max.max(1),
            weight_max: self.group_bytes_max.max(1),
            queue_max: self.queue_batches_max.max(1),
        }
    }

    fn reader_limits(&self) -> ReaderLimits {
        ReaderLimits {
            reads_max: self.reads_max,
            snapshots_max: self.snapshots_max,
            cache_bytes: self.reader_cache_bytes,
        }
    }

    fn log_limits(&self) -> LogLimits {
        LogLimits { changes_max: self.log_changes_max, bytes_max: self.log_bytes_max }
    }
}

/// What the writer and the readers of one file share.
#[derive(Debug)]
struct Shared {
    names: Names,
    tail: Tail,
    observers: Observers,
}

/// A store in one SQLite file. Dropping it lets the writer finish what was accepted; [`Backend::close`] waits for that.
pub struct Sqlite {
    path: PathBuf,
    shared: Arc<Shared>,
    readers: Arc<Readers>,
    queue: Queue<Writer>,
}

impl Sqlite {
    /// Opens the store at `path`, or makes one if there is no file. Recovers from a crash.
    ///
    /// Blocks on the disk: milliseconds as a rule, longer after a crash. Run it through [`Seams::blocking`] where that
    /// would disturb others.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while another process (or this one) has it open; [`OpenError::NewerFormat`] and
    /// [`OpenError::OlderFormat`] if another program wrote it; [`OpenError::NotAStore`] for any other SQLite database or file.
    pub fn open(
        path: impl AsRef<Path>,
        options: SqliteOptions,
        seams: Seams,
    ) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let lock = format::lock(&path)?;
        let connection = format::open_writer(&path, &options, &seams)?;
        let failed = |e| OpenError::Store { path: path.clone(), source: store_error(e) };
        connection.set_prepared_statement_cache_capacity(64);
        let state = State::read(&connection).map_err(failed)?;
        let shared = Arc::new(Shared {
            names: Names::load(&connection).map_err(failed)?,
            tail: Tail::new(state.position, options.tail_limits()),
            observers: Observers::default(),
        });
        let writer = Writer::new(connection, lock, shared.clone(), state, &options);
        let queue = Queue::start(options.executor, writer, options.group_limits())
            .map_err(|source| OpenError::File { path: path.clone(), source })?;
        let readers = Readers::new(path.clone(), options.reader_limits(), shared.clone(), seams);
        Ok(Self { path, shared, readers: Arc::new(readers), queue })
    }

    async fn submit(&self, task: Task) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let weight = task.weight();
        let job = Job { task, weight, reply };
        self.queue.submit(job).await.map_err(|_| StoreError::Closed)?;
        let lost = || StoreError::Unavailable("the writer ended without an answer".into());
        outcome.await.unwrap_or_else(|_| Err(lost().into()))
    }

    /// Reads the whole file and answers what is wrong with it, in words for people; nothing if it is sound.
    ///
    /// For rows and the log damage is told by whoever reads them; this finds it where nobody reads, and what reading cannot
    /// tell: rows that are under another key than they should be, and index entries that are missing. Cost: all of the file is
    /// read, more than once.
    ///
    /// # Errors
    /// Those of reading; damage is none.
    pub async fn check(&self) -> Result<Vec<String>, StoreError> {
        self.readers.read(check::check).await
    }

    async fn changes_on_disk(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        self.readers
            .read(move |connection, names| {
                let view = connection.unchecked_transaction().map_err(store_error)?;
                let changes = log::read(&view, names, after, limit)?;
                view.finish().map_err(store_error)?;
                Ok(changes)
            })
            .await
    }
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.readers.snapshot().await
    }

    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError> {
        let key = key.clone();
        self.readers.read(move |connection, names| query::row_now(connection, names, &key)).await
    }

    async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        batch::check(&batch)?;
        self.submit(Task::Commit(batch)).await
    }

    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError> {
        if self.readers.is_closed() {
            return Err(StoreError::Closed);
        }
        if after.era == self.shared.tail.position().era
            && let Found::Page(page) = self.shared.tail.page(after, limit)
        {
            return Ok(page);
        }
        self.changes_on_disk(after, limit).await
    }

    async fn start_at(&self, position: Position) -> Result<(), CommitError> {
        self.submit(Task::StartAt(position)).await.map(drop)
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.shared.tail.head()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.readers.close();
        self.queue.close().await;
        Ok(())
    }
}

impl Observable for Sqlite {
    fn observe(&self, observer: Arc<dyn CommitObserver>) {
        self.shared.observers.add(observer);
    }
}

#[cfg(test)]
mod tests;
