//! The backend contract: rows, conditional commits, ordered changes. What every backend promises, and nothing more.
//!
//! A backend keeps the rows of one deployment. It knows nothing of references, regions or versions beyond opaque
//! namespaces. The conformance suite (`conformance`) runs against every backend; `layout` says which rows there are.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use crate::extract::{Entry, Extract, ExtractBuilder, Value};
pub use crate::range::{IndexRange, NameRange, Range};

/// A set of rows of one kind in one namespace; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table {
    /// One per API version, opaque here; or one that starts with `~`, whose rows are not in the change log.
    pub namespace: Arc<str>,
    /// The resource kind, or an internal one that starts with `~`.
    pub kind: Arc<str>,
}

/// An index of the rows of one namespace, over all kinds that have entries in it; cheap to clone.
///
/// Declared indexes and reverse indexes are the same here: entries that rows bring with them ([`Extract`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Index {
    pub namespace: Arc<str>,
    /// At most [`INDEX_NAME_BYTES_MAX`].
    pub name: Arc<str>,
}

/// Where a row is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub table: Table,
    /// Any UTF-8 string up to [`NAME_BYTES_MAX`]; order is by bytes.
    pub name: Arc<str>,
}

/// Longest name of a row. With a value of an index it fits into the index pages of every backend
/// (PostgreSQL's limit is 2,704 bytes).
pub const NAME_BYTES_MAX: usize = 2_048;

/// Longest value of an index entry or a field.
pub const VALUE_BYTES_MAX: usize = 512;

/// Longest name of an index, a namespace, a kind.
pub const INDEX_NAME_BYTES_MAX: usize = 512;

/// Longest encoded [`Extract`] of a row.
pub const EXTRACT_BYTES_MAX: usize = 1024 * 1024;

/// Most writes in one batch.
pub const BATCH_WRITES_MAX: usize = 65_536;

/// Largest row, in bytes of body and aside together.
pub const ROW_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A value that never returns under the same key, not even when the row is removed and made anew.
/// The writer chooses it, above any that the key had: see [`Position::sequence`].
pub type Version = u64;

impl Table {
    /// Rows of internal kinds or namespaces (`~…`) are bookkeeping: their changes are not in the change log.
    pub fn is_internal(&self) -> bool {
        self.kind.starts_with('~') || self.namespace.starts_with('~')
    }
}

/// What a row is called by those who must find it whatever its name is in some API version: the resource's uid.
///
/// It never returns and never changes. At most one row of a table has it. Ids that rise with time (UUIDv7) are the
/// cheap ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(pub u128);

impl RowId {
    /// The row is found by its name only. Any number of rows may have it.
    pub const NONE: Self = Self(0);

    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// What is kept under a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub id: RowId,
    pub version: Version,
    /// The document, protobuf bytes.
    pub body: Bytes,
    /// What is kept beside the document (metadata of types that have no field for it, the outbound part of a shadow).
    pub aside: Bytes,
    /// What conditions and indexes look at.
    pub extract: Extract,
}

impl Row {
    /// A row that has only a version and a body.
    pub fn new(version: Version, body: impl Into<Bytes>) -> Self {
        Self { version, body: body.into(), ..Self::default() }
    }
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
///
/// Those marked *shared* cost no write, and commits that only require them do not disturb each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The row is there, at this version.
    RowAt { key: Key, version: Version },
    /// There is no such row.
    RowAbsent { key: Key },
    /// The row is there and its field holds exactly this value. *Shared.*
    FieldIs { key: Key, field: Arc<str>, value: Value },
    /// The number in the field is `value` or less, or there is no such row or field. *Shared.*
    ///
    /// Values compare by bytes; numbers and tuples of numbers made by [`Value`] compare as such.
    FieldAtMost { key: Key, field: Arc<str>, value: Value },
    /// No commit after `since` has removed the row. Fails too if `since` is so far back that nobody can tell.
    /// For rows of internal tables it fails always, since the log does not tell.
    ///
    /// With [`Condition::RowAbsent`] it makes sure that a version above `since` is one that the key never had.
    NotRemovedSince { key: Key, since: Position },
    /// No row in the range is left by this batch: what it removes does not count, what it puts does. Phantom-proof.
    NoRowInRange { range: Range },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put {
        key: Key,
        row: Row,
        /// The document as JSON, for backends in which people query bodies; see [`Backend::wants_readable`].
        readable: Option<Bytes>,
    },
    /// Removing an absent row is no error and no change.
    Remove { key: Key },
    /// Replaces what indexes and people see of a row, if it is there at this version; otherwise nothing happens.
    ///
    /// Not in the log, and the row keeps its version: the resource is the same. Not beside
    /// [`Condition::NoRowInRange`] in one batch.
    Reindex { key: Key, version: Version, extract: Extract, readable: Option<Bytes> },
    /// Exchanges all rows and index entries of two namespaces, at a cost that does not depend on their number.
    ///
    /// Not a change of any row: the log says nothing of it. Whoever swaps tells the readers.
    Swap { a: Arc<str>, b: Arc<str> },
    /// Removes all rows and index entries of a namespace. Not in the log. Readers see it at once; the space is
    /// freed in slices afterwards.
    Drop { namespace: Arc<str> },
}

impl Write {
    /// A put without a readable form.
    pub fn put(key: Key, row: Row) -> Self {
        Self::Put { key, row, readable: None }
    }
}

/// One atomic unit of work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub conditions: Vec<Condition>,
    /// At most one write per key, at most [`BATCH_WRITES_MAX`] in all. Writes to internal tables are not in the change
    /// log. A namespace that is swapped or dropped is not written otherwise by the same batch.
    pub writes: Vec<Write>,
}

/// One committed change of one row. Its rows are without [`Extract`].
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
    /// Another row of the table has the id of the row that this write puts. Nothing was written.
    #[error("write {write} of the batch puts a row whose id another row has")]
    IdTaken { write: usize },
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

/// A row that an index led to. A row with several entries in the range is found once for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub value: Value,
    pub key: Key,
    pub row: Row,
}

/// An entry of an index, as a place: index scans go on after it, in their direction. Compares as the index is ordered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexCursor {
    pub value: Value,
    pub kind: Arc<str>,
    pub name: Arc<str>,
}

impl IndexCursor {
    /// The place of an entry that was read.
    pub fn at(hit: &Hit) -> Self {
        let (kind, name) = (hit.key.table.kind.clone(), hit.key.name.clone());
        Self { value: hit.value.clone(), kind, name }
    }
}

/// Entries that [`Snapshot::index_keys`] reads at once where it has to read their rows.
const KEYS_PAGE: usize = 128;

/// A consistent view of the database; holds resources until dropped, so keep it short.
#[async_trait]
pub trait Snapshot: Send {
    /// Everything up to here is visible, nothing after.
    fn position(&self) -> Position;

    /// In the order of `keys`; `None` where there is no row.
    async fn batch_get(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError>;

    /// Rows of a table by id, in the order of `ids`; `None` where no row has it. [`RowId::NONE`] is nobody's.
    async fn batch_get_by_id(
        &mut self,
        table: &Table,
        ids: &[RowId],
    ) -> Result<Vec<Option<NamedRow>>, StoreError>;

    /// Up to `limit` rows of `range` in name order (`descending`: from its end).
    ///
    /// The end is reached iff fewer than `limit` rows come back. Cost: one index range scan.
    async fn scan(
        &mut self,
        range: &NameRange,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<NamedRow>, StoreError>;

    /// Up to `limit` entries of `range` with their rows, by value, kind, name (`descending`: from the end), those
    /// beyond `after` only.
    ///
    /// The end is reached iff fewer than `limit` come back. Cost: one index range scan and a row each.
    async fn scan_index(
        &mut self,
        range: &IndexRange,
        after: Option<&IndexCursor>,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<Hit>, StoreError>;

    /// The keys of rows with entries in `range`, each once, at most `limit`; in no particular order.
    ///
    /// All of them iff fewer than `limit` come back. Cost: one index range scan, and no rows where a backend can do
    /// without; what is damaged in the rows is then not seen.
    async fn index_keys(
        &mut self,
        range: &IndexRange,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let (mut keys, mut after) = (BTreeSet::new(), None);
        while keys.len() < limit {
            let hits = self.scan_index(range, after.as_ref(), KEYS_PAGE, false).await?;
            let is_end = hits.len() < KEYS_PAGE;
            after = hits.last().map(IndexCursor::at);
            keys.extend(hits.into_iter().map(|hit| hit.key));
            if is_end {
                break;
            }
        }
        Ok(keys.into_iter().take(limit).collect())
    }

    /// The tables that have rows, in order. Cost: a look-up per table that ever was, not a scan.
    async fn tables(&mut self) -> Result<Vec<Table>, StoreError>;
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

    /// Makes the next commit come after `position`, with an empty log behind it: for a database that is being restored
    /// or moved here. Every position before it is too old from then on.
    ///
    /// # Errors
    /// [`CommitError::Malformed`] if `position` is before the present one.
    async fn start_at(&self, position: Position) -> Result<(), CommitError>;

    /// Whether puts should bring a readable form of their documents.
    fn wants_readable(&self) -> bool {
        false
    }

    /// The newest position whose changes can be read; wakes whoever waits on it after every commit.
    ///
    /// Where several processes write to one database it can be behind a snapshot for a moment.
    fn head(&self) -> tokio::sync::watch::Receiver<Position>;

    /// Finishes what was accepted, then refuses with [`StoreError::Closed`].
    async fn close(&self) -> Result<(), StoreError>;
}
