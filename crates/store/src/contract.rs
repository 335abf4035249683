//! The backend contract: rows, conditional commits, ordered changes. What every backend promises, and nothing more.
//!
//! A backend keeps the rows of one deployment. It knows nothing of references, regions or versions beyond opaque
//! namespaces. The conformance suite (`conformance`) runs against every backend.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

/// A set of rows of one kind in one namespace; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table {
    /// One per API version, opaque here.
    pub namespace: Arc<str>,
    /// The resource kind, or an internal one that starts with `~`.
    pub kind: Arc<str>,
}

/// Where a row is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub table: Table,
    /// Any UTF-8 string up to [`NAME_BYTES_MAX`]; order is by bytes.
    pub name: Arc<str>,
}

/// Longest name of a row.
pub const NAME_BYTES_MAX: usize = 4 * 1024;

/// Most writes in one batch.
pub const BATCH_WRITES_MAX: usize = 65_536;

/// Largest row, in bytes of body and aside together.
pub const ROW_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A value that never returns under the same key, not even when the row is removed and made anew.
/// The writer chooses it, above any that the key had: see [`Position::sequence`].
pub type Version = u64;

impl Table {
    /// Rows of internal kinds (`~…`) are bookkeeping: their changes are not in the change log.
    pub fn is_internal(&self) -> bool {
        self.kind.starts_with('~')
    }
}

/// What is kept under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub version: Version,
    /// The document, protobuf bytes.
    pub body: Bytes,
    /// What is kept beside the document (metadata of types that have no field for it); often empty.
    pub aside: Bytes,
}

/// A point in the history of a database. Compares by era, then sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Raised by a restore.
    pub era: u64,
    /// One per commit, in commit-visibility order: who has seen `s` never later finds a change at or below `s`.
    pub sequence: u64,
}

/// What must be true for a batch to commit. Judged at commit, with no write in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The row is there, at this version.
    RowAt { key: Key, version: Version },
    /// There is no such row.
    RowAbsent { key: Key },
    /// No commit after `since` has removed the row. Fails too if `since` is so far back that nobody can tell.
    ///
    /// With [`Condition::RowAbsent`] it makes sure that a version above `since` is one that the key never had.
    NotRemovedSince { key: Key, since: Position },
    /// No row of the table whose name is in `[from, to)` is left by this batch (phantom-proof).
    NoRowInRange { range: NameRange },
}

/// Names of one table from `from` (inclusive) to `to` (exclusive; `None`: to the end), by bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRange {
    pub table: Table,
    pub from: String,
    pub to: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put {
        key: Key,
        row: Row,
    },
    /// Removing an absent row is no error and no change.
    Remove {
        key: Key,
    },
}

/// One atomic unit of work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub conditions: Vec<Condition>,
    /// At most one write per key, at most [`BATCH_WRITES_MAX`] in all. Writes to internal tables (kind starts with `~`) are not in the change log.
    pub writes: Vec<Write>,
}

/// One committed change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub position: Position,
    pub key: Key,
    pub before: Option<Row>,
    pub after: Option<Row>,
}

/// Changes after a position, in commit order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    Page {
        /// Whole commits only: all changes of a position, or none. Shared, since many readers look at the same ones.
        changes: Vec<Arc<Change>>,
        /// Where to go on; at least the position of the last change.
        next: Position,
        /// There was nothing after `next` at the time of reading.
        at_head: bool,
    },
    /// The log no longer reaches back that far (or the position is of another era).
    TooOld { oldest: Position },
}

#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing was written; `condition` is the index in the batch.
    #[error("condition {condition} of the batch does not hold")]
    ConditionFailed { condition: usize },
    /// The batch itself is wrong (two writes to one key, a name that is too long).
    #[error("batch refused: {0}")]
    Malformed(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("store is shut down")]
    Closed,
    #[error("disk is full")]
    Full,
    /// The outcome is unknown or the backend does not answer; a commit may or may not have happened.
    #[error("store does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    #[error("store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A row with its name, as scans give it.
pub type NamedRow = (Arc<str>, Row);

/// A consistent view of the database; holds resources until dropped, so keep it short.
#[async_trait]
pub trait Snapshot: Send {
    /// Everything up to here is visible, nothing after.
    fn position(&self) -> Position;

    /// In the order of `keys`; `None` where there is no row.
    async fn batch_get(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError>;

    /// Up to `limit` rows of `range` in name order (`descending`: from its end).
    ///
    /// The end is reached iff fewer than `limit` rows come back. Cost: one index range scan.
    async fn scan(
        &mut self,
        range: &NameRange,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<NamedRow>, StoreError>;
}

/// A store of one deployment.
#[async_trait]
pub trait Backend: Send + Sync + fmt::Debug {
    /// A consistent view of now: every commit that was acknowledged before the call is in it.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// One row, as of now, with the position of the view it was read in.
    async fn get(&self, key: &Key) -> Result<(Option<Row>, Position), StoreError>;

    /// The row as of now, if that is known without waiting or I/O; `None` says nothing: ask [`Backend::get`] then.
    ///
    /// Takes the parts of a key so that a caller need not build one. Cost: well under a microsecond.
    fn cached(&self, table: &Table, name: &str) -> Option<Row> {
        let _ = (table, name);
        None
    }

    /// Commits `batch` atomically; durable when it returns. Concurrent calls share flushes.
    ///
    /// A batch that changes nothing (conditions only, or it removes what is not there) takes no sequence of its own and
    /// answers the position that its conditions held at. The future may be dropped: the batch then commits or not, wholly.
    async fn commit(&self, batch: Batch) -> Result<Position, CommitError>;

    /// Changes after `after`, whole commits, at least one commit if there is any, about `limit` changes.
    async fn changes(&self, after: Position, limit: usize) -> Result<Changes, StoreError>;

    /// The newest position whose changes can be read; wakes whoever waits on it after every commit.
    fn head(&self) -> tokio::sync::watch::Receiver<Position>;

    /// Finishes what was accepted, then refuses with [`StoreError::Closed`].
    async fn close(&self) -> Result<(), StoreError>;
}
