//! A connection set up like the writer's, for [`crate::baseline`] only: SQLite itself makes the checkpoints.

use std::path::Path;

use bowline_base::Seams;
use rusqlite::Connection;

use super::failure::{OpenError, store_error};
use super::{SqliteOptions, format};

/// Opens a new file with our tables and settings.
pub(crate) fn open(
    path: &Path,
    options: &SqliteOptions,
    seams: &Seams,
) -> Result<Connection, OpenError> {
    let failed = |error| OpenError::Store { path: path.to_owned(), source: store_error(error) };
    let connection = format::open_writer(path, options, seams)?;
    let pages = i64::from(options.checkpoint_pages);
    connection.pragma_update(None, "wal_autocheckpoint", pages).map_err(failed)?;
    Ok(connection)
}
