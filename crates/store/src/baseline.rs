//! The measuring stick: the bare SQLite loop that a durable create is compared with. No queue, no conditions, no readers.
//!
//! It writes the same rows, index entries and log lines into the same tables with the same settings as [`crate::Sqlite`], in groups of a fixed size with
//! one flush each, from one thread that does nothing else. What a store loses against it is the price of being a store.

use std::path::Path;
use std::time::Duration;

use bowline_base::Seams;
use rusqlite::params;

use crate::contract::{Row, StoreError};
use crate::sqlite::{OpenError, SqliteOptions, bare};

/// The kind of the rows, as index entries name it.
pub const KIND: &str = "devices.example.com/Device";

/// What the bare loop is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaselineOptions {
    /// Rows to create.
    pub rows: u64,
    /// Rows per flush.
    pub group: u64,
    /// Whether to write the change log as well, as the store does; without it, it is the least that durable rows cost.
    pub with_log: bool,
}

/// Creates rows in a new file at `path` and answers how long that took. Blocks.
///
/// `make` gives the name and the row with a number; the time that it takes counts. As many index entries are written as the
/// extract of the row has.
///
/// # Errors
/// [`OpenError::Store`] for whatever fails, also after opening.
pub fn create_rows(
    path: &Path,
    options: BaselineOptions,
    seams: &Seams,
    mut make: impl FnMut(u64) -> (String, Row),
) -> Result<Duration, OpenError> {
    let settings = SqliteOptions::default();
    let connection = bare::open(path, &settings, seams)?;
    let mut run = || -> rusqlite::Result<Duration> {
        let begun = seams.clock.monotonic();
        let mut at = 0;
        while at < options.rows {
            let end = (at + options.group.max(1)).min(options.rows);
            let rows = (at..end).map(|n| (n, make(n)));
            create_group(&connection, rows, options.with_log)?;
            at = end;
        }
        Ok(seams.clock.monotonic().saturating_sub(begun))
    };
    run().map_err(|error| OpenError::Store {
        path: path.to_owned(),
        source: StoreError::Failed(Box::new(error)),
    })
}

/// Namespace, space and kind have the number 1; an index has its number among the entries of its row.
fn create_group(
    connection: &rusqlite::Connection,
    rows: impl Iterator<Item = (u64, (String, Row))>,
    with_log: bool,
) -> rusqlite::Result<()> {
    let mut put =
        connection.prepare_cached("INSERT INTO rows VALUES (1, 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    let mut enter = connection.prepare_cached("INSERT INTO entries VALUES (1, ?1, ?2, ?3, ?4)")?;
    let mut log = connection.prepare_cached(
        "INSERT INTO log VALUES (?1, 1, 1, ?2, NULL, NULL, NULL, NULL, ?3, ?4, ?5, ?6, ?7)",
    )?;
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    for (n, (name, row)) in rows {
        let id = (!row.id.is_none()).then(|| row.id.0.to_be_bytes());
        let version = row.version.cast_signed();
        let extract = &**row.extract.as_bytes();
        // In place of a checksum: as many bytes, for nothing.
        let sum = version.wrapping_mul(0x1e37_79b9_7f4a_7c15);
        put.execute(params![name, id, version, &*row.body, &*row.aside, extract, sum])?;
        for (index, entry) in (1_i64..).zip(row.extract.entries()) {
            enter.execute(params![index, entry.value.as_bytes(), KIND, name])?;
        }
        if with_log {
            let line = n.cast_signed() << 20;
            log.execute(params![line, name, id, version, &*row.body, &*row.aside, sum])?;
        }
    }
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}
