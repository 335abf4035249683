//! What is kept, and how: the backend contract, its backends, the read cache over them, and the suite that they all pass.
//!
//! Start at [`contract`]. Nothing here knows resources, references or protocols.

pub mod backup;
pub mod baseline;
pub mod batch;
pub mod cache;
pub mod conformance;
pub mod contract;
pub mod copy;
mod extract;
pub mod incarnation;
pub mod layout;
pub mod memory;
pub mod observe;
pub mod plan;
mod range;
pub mod ring;
pub mod sqlite;
pub mod tail;
pub mod upkeep;

pub use cache::{CacheOptions, Cached};
pub use contract::{
    Backend, Batch, Change, Changes, CommitError, Condition, Entry, Extract, ExtractBuilder, Hit,
    Index, IndexCursor, IndexRange, Key, NameRange, NamedRow, Position, Range, Row, RowId,
    Snapshot, StoreError, Table, Value, Version, Write,
};
pub use memory::Memory;
pub use observe::{CommitObserver, Observable};
pub use sqlite::{OpenError, Sqlite, SqliteOptions};
