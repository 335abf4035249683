//! What is kept, and how: the backend contract and its backends.

pub mod contract;

pub use contract::{
    Backend, Batch, Change, Changes, CommitError, Condition, Key, NameRange, NamedRow, Position,
    Row, Snapshot, StoreError, Table, Version, Write,
};
