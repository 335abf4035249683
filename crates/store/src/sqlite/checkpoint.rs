//! When the write-ahead log goes back into the database file: by the writer, between groups, in slices.
//!
//! SQLite's own way makes one commit out of many wait for all of it. A checkpoint copies what was written since the last
//! one, so that doing it often keeps each short; and because the writer does it, nothing is added meanwhile and the log
//! starts over at its beginning, which bounds its size. A reader of an old snapshot can keep it from starting over.

use rusqlite::Connection;
use rusqlite::wal::CheckpointMode;

/// Under more load than can be carried everybody waits anyway, and what counts is how much gets done: fewer and larger
/// slices then, since a page that was written many times is copied once.
const FULL_SLICES: u32 = 4;

/// A log longer than this many slices is worth a warning.
const WARN_SLICES: u32 = 64;

/// Sizes in pages of the write-ahead log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checkpoints {
    /// A slice: this many pages at most are copied between two groups (and those of one group more).
    pub(super) slice_pages: u32,
    /// A log longer than this is told about: somebody holds an old snapshot.
    pub(super) warn_pages: u32,
    is_warned: bool,
}

impl Checkpoints {
    pub(super) fn new(slice_pages: u32) -> Self {
        let slice_pages = slice_pages.max(1);
        let warn_pages = slice_pages.saturating_mul(WARN_SLICES);
        Self { slice_pages, warn_pages, is_warned: false }
    }

    /// `is_full`: the group took all that it may, so there are more batches than can be written.
    pub(super) fn after_group(&mut self, connection: &Connection, is_full: bool) {
        let slice =
            if is_full { self.slice_pages.saturating_mul(FULL_SLICES) } else { self.slice_pages };
        if self.waiting_pages(connection) >= slice {
            self.copy(connection);
        }
    }

    /// Leaves a file without a log, as far as readers allow.
    pub(super) fn at_end(&self, connection: &Connection) {
        if let Err(error) = connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE) {
            tracing::warn!(error = %bowline_base::chain(&error), "last checkpoint failed");
        }
    }

    /// Pages in the log that are not in the database file yet.
    fn waiting_pages(&mut self, connection: &Connection) -> u32 {
        let Ok((log, copied)) = connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::NOOP)
        else {
            return 0;
        };
        let pages = u32::try_from(log).unwrap_or(0);
        self.warn_if_long(pages);
        pages.saturating_sub(u32::try_from(copied).unwrap_or(0))
    }

    fn copy(&self, connection: &Connection) {
        // Failing is no harm: the log stays, and the next slice tries again.
        if let Err(error) = connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE) {
            tracing::warn!(error = %bowline_base::chain(&error), "checkpoint failed");
        }
    }

    fn warn_if_long(&mut self, pages: u32) {
        let is_long = pages > self.warn_pages;
        if is_long && !self.is_warned {
            tracing::warn!(pages, "the write-ahead log grows: a snapshot is held for long");
        }
        self.is_warned = is_long;
    }
}
