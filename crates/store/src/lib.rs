//! What is kept, and how: the backend contract, its backends, the read cache over them, and the suite that they all pass.
//!
//! Start at [`contract`]. Nothing here knows resources, references or protocols.

pub mod baseline;
mod batch;
pub mod cache;
pub mod conformance;
pub mod contract;
pub mod memory;
pub mod observe;
mod plan;
pub mod sqlite;
mod tail;

pub use cache::{CacheOptions, Cached};
pub use contract::{
    Backend, Batch, Change, Changes, CommitError, Condition, Key, NameRange, NamedRow, Position,
    Row, Snapshot, StoreError, Table, Version, Write,
};
pub use memory::Memory;
pub use observe::{CommitObserver, Observable};
pub use sqlite::{OpenError, Sqlite, SqliteOptions};
