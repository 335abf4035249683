//! Why a backup cannot be written or read, and why it cannot be put into a store.

use std::io;

use crate::contract::{CommitError, StoreError, Table};

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("this is not a backup")]
    NotABackup,
    #[error("the backup has format {found}, and this program knows formats up to {known}")]
    NewerFormat { found: u32, known: u32 },
    /// It was cut off: by a copy that was interrupted, or a disk that was full.
    #[error("the backup ends too early: after byte {offset}, in block {block}")]
    Truncated { block: u64, offset: u64 },
    /// `offset` is where the block begins.
    #[error("the backup is damaged in block {block}, at byte {offset}: {problem}")]
    Damaged { block: u64, offset: u64, problem: &'static str },
    #[error("read the backup")]
    Read(#[source] io::Error),
    #[error("write the backup")]
    Write(#[source] io::Error),
    #[error("read the store")]
    Store(#[from] StoreError),
    /// The store gave what no backup may hold.
    #[error("the store has what cannot be in a backup: {0}")]
    Unfit(&'static str),
    /// More or fewer deployments were written than the header has.
    #[error("the backup does not hold the deployments that its header names")]
    Undeclared,
}

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Only an empty store takes a backup: what is there would be mixed with it.
    #[error("the store is not empty: it has rows of {} in {:?}", table.kind, &*table.namespace)]
    NotEmpty { table: Table },
    /// Another restore into the same store began after this one.
    #[error("another restore into the same store has begun meanwhile")]
    TakenOver,
    #[error("read the store")]
    Store(#[from] StoreError),
    #[error("write to the store")]
    Commit(#[source] CommitError),
}
