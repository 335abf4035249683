//! The file: its tables, its format number, its lock, and how connections to it are set up.
//!
//! | table | what |
//! | --- | --- |
//! | `namespaces`, `kinds`, `indexes` | small numbers for names, and the space of each namespace (see [`super::spaces`]) |
//! | `rows` | the rows with their sums (see [`super::sums`]), keyed by space, kind and name; those with an id are found by it as well |
//! | `entries` | the index entries of the rows, keyed by space, index, value, kind, name |
//! | `log` | one line per change, keyed by sequence and index within the commit (see [`super::log`]) |
//! | `state` | one line: era and sequence of the newest commit, what the log holds, the generation of the spaces |
//! | `dropped` | spaces that no namespace has any more, and whose rows are still to be freed |
//! | `meta` | facts about the file for people and tools |

use std::cmp::Ordering;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bowline_base::Seams;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::SqliteOptions;
use super::failure::{OpenError, store_error};
use super::row::State;

/// Raised by every change that another program cannot read. There is none yet that reads two.
pub(super) const FORMAT: i64 = 3;

/// "Bowl", so that `file` and we can tell our files from others.
const APPLICATION_ID: i64 = 0x426f_776c;

/// How long to wait for another tool that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// In `entries` the kind is a name and not a number, since entries are in the order of names.
const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  era INTEGER NOT NULL, sequence INTEGER NOT NULL,
  log_oldest INTEGER NOT NULL, log_changes INTEGER NOT NULL, log_bytes INTEGER NOT NULL,
  generation INTEGER NOT NULL, sum INTEGER NOT NULL
);
INSERT INTO state VALUES (1, 0, 0, 0, 0, 0, 0, 0);
CREATE TABLE namespaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, space INTEGER NOT NULL);
CREATE TABLE kinds (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE indexes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE dropped (space INTEGER PRIMARY KEY);
CREATE TABLE rows (
  space INTEGER NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL,
  id BLOB, version INTEGER NOT NULL, body BLOB NOT NULL, aside BLOB NOT NULL, extract BLOB NOT NULL,
  sum INTEGER NOT NULL,
  PRIMARY KEY (space, kind, name)
) WITHOUT ROWID;
CREATE UNIQUE INDEX rows_by_id ON rows (space, kind, id) WHERE id IS NOT NULL;
CREATE TABLE entries (
  space INTEGER NOT NULL, index_id INTEGER NOT NULL, value BLOB NOT NULL,
  kind TEXT NOT NULL, name TEXT NOT NULL,
  PRIMARY KEY (space, index_id, value, kind, name)
) WITHOUT ROWID;
CREATE TABLE log (
  id INTEGER PRIMARY KEY, namespace INTEGER NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL,
  before_id BLOB, before_version INTEGER, before_body BLOB, before_aside BLOB,
  after_id BLOB, after_version INTEGER, after_body BLOB, after_aside BLOB,
  sum INTEGER NOT NULL
);
";

/// Keeps other processes away from a file for as long as it lives.
#[derive(Debug)]
pub(super) struct FileLock {
    _file: File,
}

/// Locks the store at `path` by a file beside it: locks on the file itself would meet SQLite's own.
pub(super) fn lock(path: &Path) -> Result<FileLock, OpenError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let failed = |source| OpenError::File { path: beside.clone(), source };
    let file = File::options().create(true).append(true).open(&beside).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(FileLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Opens the one connection that writes, and makes the tables if the file is new.
pub(super) fn open_writer(
    path: &Path,
    options: &SqliteOptions,
    seams: &Seams,
) -> Result<Connection, OpenError> {
    let failed = |error| OpenError::Store { path: path.to_owned(), source: store_error(error) };
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    let is_new = check_format(path, &connection)?;
    set_up_writer(&connection, options).map_err(failed)?;
    if is_new {
        create(&mut connection, seams).map_err(failed)?;
    }
    Ok(connection)
}

/// Opens a connection that can only read.
pub(super) fn open_reader(path: &Path, cache_bytes: usize) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    keep_plans(&connection)?;
    check_pages(&connection)?;
    set_cache(&connection, cache_bytes)?;
    Ok(connection)
}

/// Sets up a connection that only looks; as [`check_format`].
pub(super) fn check_view(path: &Path, connection: &Connection) -> Result<bool, OpenError> {
    let failed = |error| OpenError::Store { path: path.to_owned(), source: store_error(error) };
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    check_pages(connection).map_err(failed)?;
    check_format(path, connection)
}

/// Whether the file is new; an error if it is not ours or of another format.
fn check_format(path: &Path, connection: &Connection) -> Result<bool, OpenError> {
    let failed = |error| OpenError::Store { path: path.to_owned(), source: store_error(error) };
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (id, found) = match (pragma("application_id"), pragma("user_version")) {
        (Ok(id), Ok(found)) => (id, found),
        (Err(error), _) | (_, Err(error)) => {
            return Err(match error.sqlite_error_code() {
                // The second is what SQLite says of a file format that it does not know.
                Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::Unknown) => {
                    OpenError::NotAStore { path: path.to_owned() }
                }
                _ => failed(error),
            });
        }
    };
    if id == APPLICATION_ID {
        let path = path.to_owned();
        return match found.cmp(&FORMAT) {
            Ordering::Greater => Err(OpenError::NewerFormat { path, found, known: FORMAT }),
            Ordering::Less => Err(OpenError::OlderFormat { path, found, known: FORMAT }),
            Ordering::Equal => Ok(false),
        };
    }
    let any = connection
        .query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(()))
        .optional()
        .map_err(failed)?;
    match any {
        Some(()) => Err(OpenError::NotAStore { path: path.to_owned() }),
        None => Ok(true),
    }
}

fn set_up_writer(connection: &Connection, options: &SqliteOptions) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Checkpoints are made by the writer, between groups; see `checkpoint`.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    keep_plans(connection)?;
    check_pages(connection)?;
    set_cache(connection, options.writer_cache_bytes)?;
    set_size_max(connection, options.size_max)
}

/// Prepared statements keep their plan whatever is bound to them. Otherwise each range that is scanned is planned anew.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// Looks at the cells of every page that is read from the file, so that most damage is told and not walked into.
fn check_pages(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cell_size_check", true)
}

fn set_cache(connection: &Connection, bytes: usize) -> rusqlite::Result<()> {
    // Negative: in KiB.
    let kib = i64::try_from(bytes / 1024).unwrap_or(i64::MAX);
    connection.pragma_update(None, "cache_size", -kib)
}

fn set_size_max(connection: &Connection, bytes: Option<u64>) -> rusqlite::Result<()> {
    let Some(bytes) = bytes else { return Ok(()) };
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
    // The pragma answers the value that it set, so it is a query.
    connection.pragma_update_and_check(None, "max_page_count", pages.max(1), |_| Ok(()))
}

fn create(connection: &mut Connection, seams: &Seams) -> rusqlite::Result<()> {
    let incarnation = seams.new_uid().to_string();
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    State::default().write(&transaction)?;
    transaction.execute("INSERT INTO meta VALUES ('incarnation', ?1)", params![incarnation])?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}
