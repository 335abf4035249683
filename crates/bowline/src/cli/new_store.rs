//! SQLite files that a restore makes: hidden until every one of them is complete, then given their names.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowline::storage;
use bowline_base::Seams;
use bowline_store::{Backend, Sqlite, SqliteOptions};

use super::error::Error;
use super::part_file::sync_folder_of;

/// The files of one restore. Dropped before [`NewStores::publish`], they are removed.
pub(crate) struct NewStores {
    folder: PathBuf,
    /// Only one restore at a time makes files in a folder.
    _lock: File,
    /// Where each is now, and where it is to be.
    files: Vec<(PathBuf, PathBuf)>,
}

/// What SQLite and we keep beside a file.
const BESIDE: [&str; 3] = ["-wal", "-shm", ".lock"];

impl NewStores {
    /// Makes sure that none of `services` has a store below `folder`.
    pub(crate) fn begin(folder: &Path, services: &[String]) -> Result<Self, Error> {
        let folder = folder.to_owned();
        let lock_path = storage::file(&folder, "any").with_file_name(".restore.lock");
        let failed = |source| Error::Write { path: lock_path.clone(), source };
        if let Some(region) = lock_path.parent() {
            std::fs::create_dir_all(region).map_err(failed)?;
        }
        let lock = File::options().create(true).append(true).open(&lock_path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: lock_path }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        for service in services {
            check_absent(&storage::file(&folder, service))?;
        }
        Ok(Self { folder, _lock: lock, files: Vec::new() })
    }

    /// Makes a hidden store. What a killed restore left in its place is removed.
    pub(crate) fn create(
        &mut self,
        service: &str,
        seams: &Seams,
    ) -> Result<Arc<dyn Backend>, Error> {
        let path = storage::file(&self.folder, service);
        let hidden = storage::restoring_file(&self.folder, service);
        remove(&hidden);
        let opened = Sqlite::open(&hidden, SqliteOptions::default(), seams.clone());
        self.files.push((hidden, path));
        Ok(Arc::new(opened.map_err(storage::OpenError::from)?))
    }

    /// Gives all stores their names. They must have been closed.
    pub(crate) fn publish(mut self) -> Result<(), Error> {
        for (hidden, path) in &self.files {
            publish(hidden, path)?;
        }
        if let Some((_, path)) = self.files.first() {
            sync_folder_of(path).map_err(|source| Error::Write { path: path.clone(), source })?;
        }
        self.files.clear();
        Ok(())
    }
}

impl Drop for NewStores {
    fn drop(&mut self) {
        self.files.iter().for_each(|(hidden, _)| remove(hidden));
    }
}

/// Nothing may be there: not a store, and not the log of one, which SQLite would take for that of the new one.
fn check_absent(path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    let log = beside(path, "-wal");
    match has_bytes(&log) {
        true => Err(Error::Exists { path: log }),
        false => Ok(()),
    }
}

fn has_bytes(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

fn publish(hidden: &Path, path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let log = beside(hidden, "-wal");
    if has_bytes(&log) {
        return Err(failed(std::io::Error::other("the write-ahead log was not copied into it")));
    }
    File::open(hidden).and_then(|file| file.sync_all()).map_err(failed)?;
    // Unlike a rename this fails if somebody has made a store there meanwhile.
    std::fs::hard_link(hidden, path).map_err(failed)?;
    remove(hidden);
    Ok(())
}

/// What cannot be removed is found by the next restore, which tells.
fn remove(path: &Path) {
    for suffix in BESIDE {
        let _ = std::fs::remove_file(beside(path, suffix));
    }
    let _ = std::fs::remove_file(path);
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    beside.into()
}
