//! The mark that a store bears while a backup is put into it, so that nobody takes half of one for a whole.
//!
//! A store that is made beside and renamed at the end needs none. Where there is no such thing (a schema of a PostgreSQL
//! database), the mark is the first row that is written and the last that goes; every batch between requires it, so that of
//! two restores into one store the later one wins and the earlier one fails.

use bowline_base::Seams;
use bytes::Bytes;

use super::error::RestoreError;
use crate::contract::{
    Backend, Batch, CommitError, Condition, Key, Row, StoreError, Table, Version, Write,
};
use crate::layout;

/// The kind of the one row.
pub(super) const KIND: &str = "~restoring";

fn key() -> Key {
    Key { table: layout::common(KIND), name: "restore".into() }
}

/// A mark that this process has set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(Version);

impl Mark {
    /// Marks the store, or takes over the mark that a restore before left.
    pub(super) async fn set(backend: &dyn Backend, seams: &Seams) -> Result<Self, RestoreError> {
        let mut random = [0; 8];
        seams.random.fill(&mut random);
        let version = u64::from_ne_bytes(random);
        let (found, _) = backend.get(&key()).await?;
        let condition = match found {
            None => Condition::RowAbsent { key: key() },
            Some(row) => Condition::RowAt { key: key(), version: row.version },
        };
        let writes = vec![Write::put(key(), Row::new(version, Bytes::new()))];
        commit(backend, Batch { conditions: vec![condition], writes }).await?;
        Ok(Self(version))
    }

    /// What every batch of this restore requires.
    pub(super) fn condition(self) -> Condition {
        Condition::RowAt { key: key(), version: self.0 }
    }

    pub(super) async fn remove(self, backend: &dyn Backend) -> Result<(), RestoreError> {
        let writes = vec![Write::Remove { key: key() }];
        commit(backend, Batch { conditions: vec![self.condition()], writes }).await
    }
}

/// Commits a batch whose only conditions are about the mark.
pub(super) async fn commit(backend: &dyn Backend, batch: Batch) -> Result<(), RestoreError> {
    match backend.commit(batch).await {
        Ok(_) => Ok(()),
        Err(CommitError::ConditionFailed { .. }) => Err(RestoreError::TakenOver),
        Err(error) => Err(RestoreError::Commit(error)),
    }
}

/// Whether a backup is being put into this store, or was and did not come to its end. Cost: one read of a row.
///
/// Who serves from a store asks before: such a store has some of its rows only.
///
/// # Errors
/// That of the read.
pub async fn is_unfinished(backend: &dyn Backend) -> Result<bool, StoreError> {
    Ok(backend.get(&key()).await?.0.is_some())
}

pub(super) fn is_mark(table: &Table) -> bool {
    *table == key().table
}
