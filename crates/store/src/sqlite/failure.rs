//! What went wrong: opening errors, and SQLite's result codes in the contract's terms.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Error, ErrorCode};

use crate::contract::StoreError;

/// Why a file could not be opened as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{path} has store format {found}, and this program reads only format {known}: a newer program wrote it"
    )]
    NewerFormat { path: PathBuf, found: i64, known: i64 },
    #[error(
        "{path} has store format {found}, and this program reads only format {known}: serve it with the program that \
         wrote it, or move it away to start with an empty store"
    )]
    OlderFormat { path: PathBuf, found: i64, known: i64 },
    #[error("{path} is in use by another process")]
    InUse { path: PathBuf },
    #[error("{path} is a database of something else")]
    NotAStore { path: PathBuf },
    #[error("cannot open or lock {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot open store {path}")]
    Store {
        path: PathBuf,
        #[source]
        source: StoreError,
    },
}

/// What a failed statement says about the store. For a failed COMMIT see [`commit_failure`].
pub(super) fn store_error(error: Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Unavailable(Box::new(error))
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Corrupt(error.to_string())
        }
        _ => unless_wrong_type(error),
    }
}

/// A column of a type that we never write is damage too, and so is a table that our statements do not fit.
fn unless_wrong_type(error: Error) -> StoreError {
    match error {
        Error::InvalidColumnType(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::FromSqlConversionFailure(..)
        | Error::Utf8Error(..)
        | Error::SqlInputError { .. }
        | Error::InvalidColumnIndex(_)
        | Error::QueryReturnedNoRows => StoreError::Corrupt(error.to_string()),
        error => StoreError::Failed(Box::new(error)),
    }
}

/// Why a whole group did not commit.
#[derive(Debug)]
pub(super) enum GroupFailure {
    /// Nothing of it happened.
    Undone(StoreError),
    /// It did not happen as far as this process is concerned, but may be found after a crash: the flush failed.
    Unknown(Arc<Error>),
}

impl GroupFailure {
    /// The error for one of the jobs of the group.
    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            Self::Undone(error) => error,
            Self::Unknown(error) => StoreError::Unavailable(Box::new(error)),
        }
    }
}

impl From<StoreError> for GroupFailure {
    fn from(error: StoreError) -> Self {
        Self::Undone(error)
    }
}

impl From<Error> for GroupFailure {
    fn from(error: Error) -> Self {
        Self::Undone(store_error(error))
    }
}

/// A full disk fails the write of a frame, and a commit whose last frame is not whole never happened.
/// Any other failure may come from the flush, after all frames were handed to the operating system.
pub(super) fn commit_failure(error: Error) -> GroupFailure {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => {
            GroupFailure::Undone(store_error(error))
        }
        _ => GroupFailure::Unknown(Arc::new(error)),
    }
}
