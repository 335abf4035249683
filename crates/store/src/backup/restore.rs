//! Putting the rows of a backup into an empty store, in batches, and setting where its history goes on.

use std::sync::Arc;

use bowline_base::Seams;

use super::error::RestoreError;
use super::mark::{self, Mark};
use super::row::bytes_of;
use crate::contract::{Backend, Batch, Key, NameRange, NamedRow, Position, Table, Write};
use crate::layout;

/// Rows in a batch, at most.
const BATCH_ROWS_MAX: usize = 4_096;

/// A batch takes no more rows once it has this many bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Rows that are removed at once when what an earlier restore left is cleared away.
const CLEAR_ROWS_MAX: usize = 1_024;

/// What keeps a store with half of a backup in it from being taken for a good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nobody can find the store before it is complete: it gets its name then.
    Hidden,
    /// A mark in the store, which [`super::is_unfinished`] looks for. What an unfinished restore has left is cleared away.
    Marked,
}

/// One deployment that is being restored. Dropped before [`Restore::finish`], it leaves a store that is no good.
pub struct Restore {
    backend: Arc<dyn Backend>,
    mark: Option<Mark>,
    writes: Vec<Write>,
    bytes: usize,
}

/// Where the history of a restored store goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The next commit comes after this.
    pub position: Position,
}

impl Restore {
    /// Makes sure that `backend` is empty, and marks it if it is to be.
    ///
    /// # Errors
    /// [`RestoreError::NotEmpty`], or what the store answers.
    pub async fn begin(
        backend: Arc<dyn Backend>,
        guard: Guard,
        seams: &Seams,
    ) -> Result<Self, RestoreError> {
        let tables = backend.snapshot().await?.tables().await?;
        let was_marked = tables.iter().any(mark::is_mark);
        if let (Some(table), false) = (tables.first(), was_marked && guard == Guard::Marked) {
            return Err(RestoreError::NotEmpty { table: table.clone() });
        }
        let mark = match guard {
            Guard::Hidden => None,
            Guard::Marked => Some(Mark::set(&*backend, seams).await?),
        };
        let restore = Self { backend, mark, writes: Vec::new(), bytes: 0 };
        restore.clear(tables).await?;
        Ok(restore)
    }

    /// Puts rows. What was put is there for good only after [`Restore::finish`].
    ///
    /// Memory: a batch of about four megabytes, or one row.
    ///
    /// # Errors
    /// [`RestoreError::TakenOver`], [`RestoreError::Commit`].
    pub async fn rows(&mut self, table: &Table, rows: Vec<NamedRow>) -> Result<(), RestoreError> {
        for (name, row) in rows {
            if self.writes.len() >= BATCH_ROWS_MAX || self.bytes >= BATCH_BYTES {
                self.flush().await?;
            }
            self.bytes += bytes_of(&name, &row);
            self.writes.push(Write::put(Key { table: table.clone(), name }, row));
        }
        Ok(())
    }

    /// Writes what is left and makes the next commit come after `position`.
    ///
    /// The store goes on from a later position than asked for only if writing the rows took more commits than their
    /// history had; nobody has seen positions between, so nothing is mistaken for something else. Removing a mark is a
    /// commit of its own, which changes nothing that the log tells of.
    ///
    /// # Errors
    /// As [`Restore::rows`].
    pub async fn finish(mut self, position: Position) -> Result<Restored, RestoreError> {
        self.flush().await?;
        if self.mark.is_some() {
            // Moving the history has no conditions of its own.
            self.commit(Vec::new()).await?;
        }
        let present = self.backend.snapshot().await?.position();
        let position = position.max(present);
        self.backend.start_at(position).await.map_err(RestoreError::Commit)?;
        if let Some(mark) = self.mark {
            mark.remove(&*self.backend).await?;
        }
        Ok(Restored { position })
    }

    /// The store that is being written to.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub(super) async fn flush(&mut self) -> Result<(), RestoreError> {
        self.bytes = 0;
        let writes = std::mem::take(&mut self.writes);
        if writes.is_empty() {
            return Ok(());
        }
        self.commit(writes).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), RestoreError> {
        let conditions = self.mark.iter().map(|mark| mark.condition()).collect();
        mark::commit(&*self.backend, Batch { conditions, writes }).await
    }

    /// Removes what an earlier restore left in `tables`.
    async fn clear(&self, tables: Vec<Table>) -> Result<(), RestoreError> {
        let (common, others): (Vec<_>, Vec<_>) =
            tables.into_iter().partition(|table| &*table.namespace == layout::COMMON);
        let mut namespaces: Vec<_> = others.into_iter().map(|table| table.namespace).collect();
        namespaces.dedup();
        for namespace in namespaces {
            self.commit(vec![Write::Drop { namespace }]).await?;
        }
        // The mark is in this namespace, so it cannot be dropped as a whole.
        for table in common.iter().filter(|table| !mark::is_mark(table)) {
            while self.clear_some(table).await? {}
        }
        Ok(())
    }

    /// Whether there may be more.
    async fn clear_some(&self, table: &Table) -> Result<bool, RestoreError> {
        let all = NameRange::all(table.clone());
        let rows = self.backend.snapshot().await?.scan(&all, CLEAR_ROWS_MAX, false).await?;
        let is_full = rows.len() == CLEAR_ROWS_MAX;
        let remove = |(name, _)| Write::Remove { key: Key { table: table.clone(), name } };
        let writes: Vec<_> = rows.into_iter().map(remove).collect();
        if !writes.is_empty() {
            self.commit(writes).await?;
        }
        Ok(is_full)
    }
}
