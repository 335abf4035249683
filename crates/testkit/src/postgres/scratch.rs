//! Directories of one server: on the disk if it is to be durable, in memory where there is room if it is not.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::binaries::Account;
use super::error::PostgresError;

/// Files in memory, on Linux. Making and removing a thousand of them takes a fifth of the time that a busy disk needs.
const MEMORY: &str = "/dev/shm";

/// What must be free there; in containers it often is not.
const ROOM: u64 = 2 * 1024 * 1024 * 1024;

/// A directory that belongs to the account that the server runs as.
pub(super) fn scratch(account: Account, is_durable: bool) -> Result<TempDir, PostgresError> {
    let parent = if is_durable { std::env::temp_dir() } else { fastest() };
    let dir = tempfile::Builder::new().prefix("bowline-pg-").tempdir_in(&parent);
    let dir = dir.map_err(|source| PostgresError::File { path: parent, source })?;
    give_to(dir.path(), account)?;
    Ok(dir)
}

/// Makes `path` the property of the account that the server runs as.
pub(super) fn give_to(path: &Path, account: Account) -> Result<(), PostgresError> {
    let Account::Other { uid, gid } = account else { return Ok(()) };
    chown(path, Some(uid), Some(gid))
        .map_err(|source| PostgresError::File { path: path.to_owned(), source })
}

fn fastest() -> PathBuf {
    // Who says where temporary files go means it.
    let is_chosen = std::env::var_os("TMPDIR").is_some();
    let free = rustix::fs::statvfs(MEMORY).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    if is_chosen || free < ROOM { std::env::temp_dir() } else { PathBuf::from(MEMORY) }
}
