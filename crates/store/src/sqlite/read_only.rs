//! A view of a store that this process does not have open, and that another one may be writing to: for backups.

use std::path::Path;
use std::sync::Arc;

use bowline_base::Seams;
use rusqlite::{Connection, OpenFlags};

use super::failure::{OpenError, store_error};
use super::names::Names;
use super::readers::Readers;
use super::row::State;
use super::spaces::Spaces;
use super::{Shared, Sqlite, SqliteOptions, format};
use crate::contract::{Position, Snapshot, StoreError};
use crate::observe::Observers;
use crate::tail::Tail;

impl Sqlite {
    /// What the store at `path` holds now, whether or not a process serves from it. Writes nothing, and takes no lock that
    /// a writer would wait for; as long as it is held, the write-ahead log of the store grows.
    ///
    /// # Errors
    /// As [`Sqlite::open`] but for [`OpenError::InUse`]; [`OpenError::File`] if there is no file.
    pub async fn view(
        path: impl AsRef<Path>,
        seams: Seams,
    ) -> Result<Box<dyn Snapshot>, OpenError> {
        let path = path.as_ref().to_owned();
        let failed = |source| OpenError::Store { path: path.clone(), source };
        let (own, file) = (seams.clone(), path.clone());
        let viewed = seams.blocking(move || open(&file, own)).await;
        viewed.unwrap_or_else(|| Err(failed(StoreError::Closed)))
    }
}

fn open(path: &Path, seams: Seams) -> Result<Box<dyn Snapshot>, OpenError> {
    let failed = |source| OpenError::Store { path: path.to_owned(), source };
    // SQLite's own answer would not tell what is wrong.
    let file = |source| OpenError::File { path: path.to_owned(), source };
    std::fs::File::open(path).map_err(file)?;
    let options = SqliteOptions::default();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| failed(store_error(error)))?;
    if format::check_view(path, &connection)? {
        return Err(OpenError::NotAStore { path: path.to_owned() });
    }
    let (position, names, spaces) =
        begin(&connection).map_err(|error| failed(store_error(error)))?;
    let shared = Shared {
        names,
        tail: Tail::new(position, options.tail_limits()),
        observers: Observers::default(),
    };
    let limits = options.reader_limits();
    let readers = Arc::new(Readers::new(path.to_owned(), limits, Arc::new(shared), seams));
    readers.adopt(connection, position, Arc::new(spaces)).map_err(failed)
}

/// Fixes the view first, so that no name comes between.
fn begin(connection: &Connection) -> rusqlite::Result<(Position, Names, Spaces)> {
    connection.execute_batch("BEGIN")?;
    let state = State::read(connection)?;
    Ok((state.position, Names::load(connection)?, Spaces::load(connection)?))
}
